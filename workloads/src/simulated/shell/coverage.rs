//! What happened in runs at all: what never does was not tried.

use serde::{Deserialize, Serialize};

/// How often each thing happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Gets that were answered.
    pub gets: u64,
    /// Puts with a context that were acknowledged.
    pub puts: u64,
    /// Puts without one.
    pub blind_puts: u64,
    /// Deletes that were acknowledged.
    pub deletes: u64,
    /// Empty values that were put.
    pub empty_values: u64,
    /// Values of 50 kB and more that were put.
    pub large_values: u64,
    /// Runs in which a session had several requests open.
    pub pipelined: u64,
    /// Requests that a client of the ring made.
    pub driven: u64,
    /// Requests that were refused for a cap.
    pub capped: u64,
    /// Requests that were open when their node was told to stop.
    pub open_at_stop: u64,
    /// Nodes that were told to stop.
    pub stops: u64,
    /// Nodes that were killed.
    pub kills: u64,
    /// Machines that lost power.
    pub power_cuts: u64,
    /// Commits that disks failed.
    pub failed_commits: u64,
    /// Commits of processes that had ended by then: never made.
    pub lost_commits: u64,
    /// Starts on a directory that was there.
    pub restarts: u64,
    /// Times at which nodes were cut off from others.
    pub cuts: u64,
    /// Pieces that waited for a cut to be mended.
    pub held_pieces: u64,
    /// Writes that arrived in two pieces.
    pub split_writes: u64,
    /// Connections that were broken off.
    pub resets: u64,
    /// Hints that went to whom they were for.
    pub hints_delivered: u64,
    /// Requests that were told that there was no quorum in time, or refused for want of one.
    pub unavailable: u64,
    /// Events whose records were held against each other.
    pub events_judged: u64,
    /// Acknowledgements whose holders were looked at.
    pub acknowledgements_judged: u64,
    /// Restarts of which it was seen that nothing was forgotten.
    pub restarts_judged: u64,
}

impl Coverage {
    /// Each by its name.
    #[must_use]
    pub fn rows(&self) -> Vec<(String, u64)> {
        let rows = serde_json::to_value(self).unwrap_or_default();
        let rows = rows.as_object().into_iter().flatten();
        rows.map(|(name, count)| (name.clone(), count.as_u64().unwrap_or(0))).collect()
    }

    /// What never happened.
    #[must_use]
    pub fn never(&self) -> Vec<String> {
        let never = self.rows().into_iter().filter(|(_, count)| *count == 0);
        never.map(|(name, _)| name).collect()
    }

    /// Adds what happened in another run.
    pub fn add(&mut self, other: &Self) {
        let (ours, theirs) = (serde_json::to_value(&self), other.rows());
        let Ok(mut ours) = ours else { return };
        for (name, count) in theirs {
            let sum = ours[&name].as_u64().unwrap_or(0) + count;
            ours[name] = sum.into();
        }
        if let Ok(sum) = serde_json::from_value(ours) {
            *self = sum;
        }
    }
}
