//! What all nodes of a cluster are told at their start and keep for life.
//!
//! What can change while they live, who the members are and who is home of what, is a
//! [`View`](crate::View).

use std::fmt::Debug;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::mode::{Quorum, ReadMode, Versioning};
use crate::ring::Partitioning;

/// The settings of a cluster. Nodes and test drivers, plans, traces and records have this one type; a plan
/// and the flags of commands write it in a human-readable way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// N: how many homes a key has.
    pub n: usize,
    /// R: how many slots answer before a get does.
    pub r: usize,
    /// W: how many slots hold a put durably before it is acknowledged.
    pub w: usize,
    /// Sloppy or strict.
    pub quorum: Quorum,
    /// How versions are told apart.
    pub versioning: Versioning,
    /// Plain or atomic gets.
    pub read: ReadMode,
    /// Whether homes compare what they hold, and bring each other up to date, without being asked.
    pub anti_entropy: bool,
    /// Into which ranges the ring is cut, and who holds them.
    pub partitioning: Partitioning,
    /// What puts are refused for.
    pub limits: Limits,
    /// How long to wait. The one part in which nodes of one cluster may differ: it decides how soon
    /// something happens, never what an acknowledgement means.
    pub timing: Timing,
}

/// What a put is refused for. Peers' messages and merges are never refused: what was accepted
/// once has to be carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Longest key, in bytes.
    pub key_bytes: usize,
    /// Longest value, in bytes.
    pub value_bytes: usize,
    /// Most live versions of one key, the new one included.
    pub siblings: usize,
    /// Most actors a key's context may name.
    pub actors: usize,
    /// Most bytes of all live values of one key together, the new one included. Merges may exceed it, by
    /// what nodes took in that did not hear of each other.
    pub set_bytes: usize,
}

/// How long the node waits for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timing {
    /// The hedging delay: after this a silent replica is suspected, and in sloppy mode a fallback is
    /// asked as well.
    pub hedge: Duration,
    /// After this a request is answered "timed out", whatever is still open.
    pub deadline: Duration,
    /// Between two pings of a peer that is suspected.
    pub ping: Duration,
    /// Between two looks at the hints for one target.
    pub handoff: Duration,
    /// Between two exchanges with other homes ([anti-entropy](Settings::anti_entropy)).
    pub exchange: Duration,
}

/// A setting that no cluster can run with.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field} = {value}: {bound}")]
pub struct SettingsError {
    /// Which, by its path in [`Settings`]: `w`, `timing.ping`.
    pub field: &'static str,
    /// What it was to be.
    pub value: String,
    /// What it can be.
    pub bound: String,
}

impl Settings {
    /// N, R and W; everything else at its default.
    #[must_use]
    pub fn new([n, r, w]: [usize; 3]) -> Self {
        Self { n, r, w, ..Self::default() }
    }

    /// Refuses what no cluster can run with.
    ///
    /// # Errors
    /// The first setting that is out of its bounds, and the bounds.
    pub fn check(&self) -> Result<(), SettingsError> {
        let Self { n, r, w, partitioning, limits, timing, .. } = self;
        if *n == 0 {
            return Err(refused("n", n, "a key needs a home: at least 1"));
        }
        for (field, value) in [("r", r), ("w", w)] {
            if !(1..=*n).contains(value) {
                return Err(refused(field, value, format!("from 1 to {n}, which is n")));
            }
        }
        if !partitioning.is_possible() {
            let bound = format!("from 1 to {} partitions, a power of two", Partitioning::MOST);
            return Err(SettingsError {
                field: "partitioning",
                value: partitioning.to_string(),
                bound,
            });
        }
        limits.check()?;
        timing.check()
    }

    /// Whether every R homes that answer a get and every W that hold a put have one in common.
    #[must_use]
    pub fn quorums_meet(&self) -> bool {
        self.quorum == Quorum::Strict && self.r + self.w > self.n
    }

    /// Between two exchanges of a node with other homes, if it has any.
    #[must_use]
    pub fn exchange(&self) -> Option<Duration> {
        self.anti_entropy.then_some(self.timing.exchange)
    }

    /// What nodes of one cluster have to agree on: all but how long they wait.
    #[must_use]
    pub fn agreed(&self) -> Self {
        Self { timing: Timing::default(), ..*self }
    }
}

impl Limits {
    /// The largest any of them can be: longer than this nothing can be sent.
    pub const MOST: usize = u32::MAX as usize;

    fn check(&self) -> Result<(), SettingsError> {
        for (field, value) in [
            ("limits.key_bytes", self.key_bytes),
            ("limits.value_bytes", self.value_bytes),
            ("limits.siblings", self.siblings),
            ("limits.actors", self.actors),
            ("limits.set_bytes", self.set_bytes),
        ] {
            if !(1..=Self::MOST).contains(&value) {
                return Err(refused(field, value, format!("from 1 to {}", Self::MOST)));
            }
        }
        Ok(())
    }
}

impl Timing {
    /// Below this no clock of a host is worth its name.
    pub const LEAST: Duration = Duration::from_millis(1);
    /// No node waits longer for anything.
    pub const MOST: Duration = Duration::from_secs(600);

    fn check(&self) -> Result<(), SettingsError> {
        for (field, value) in [
            ("timing.hedge", self.hedge),
            ("timing.deadline", self.deadline),
            ("timing.ping", self.ping),
            ("timing.handoff", self.handoff),
            ("timing.exchange", self.exchange),
        ] {
            if !(Self::LEAST..=Self::MOST).contains(&value) {
                let bound = format!("from {:?} to {:?}", Self::LEAST, Self::MOST);
                return Err(refused(field, value, bound));
            }
        }
        if self.hedge >= self.deadline {
            let deadline = self.deadline;
            let bound = format!(
                "must be below the deadline, {deadline:?}: a request must have time left when a silent \
                 replica is given up"
            );
            return Err(refused("timing.hedge", self.hedge, bound));
        }
        Ok(())
    }
}

fn refused(field: &'static str, value: impl Debug, bound: impl Into<String>) -> SettingsError {
    SettingsError { field, value: format!("{value:?}"), bound: bound.into() }
}

impl Default for Settings {
    /// N=3, R=2, W=2, sloppy, dotted, plain gets, anti-entropy, ranges between tokens.
    fn default() -> Self {
        Self {
            n: 3,
            r: 2,
            w: 2,
            quorum: Quorum::Sloppy,
            versioning: Versioning::Dotted,
            read: ReadMode::Plain,
            anti_entropy: true,
            partitioning: Partitioning::Tokens,
            limits: Limits::default(),
            timing: Timing::default(),
        }
    }
}

impl Default for Limits {
    /// Key 1 KiB, value 1 MiB, 256 siblings, 256 actors, 16 MiB for a key's values together.
    ///
    /// Those are sixteen of the largest values. A get carries a key's whole set from R homes to its client
    /// within one deadline, a put carries it to all of them: at three times as much, gets that came together
    /// were answered too late, and the puts of other keys refused.
    fn default() -> Self {
        Self {
            key_bytes: 1 << 10,
            value_bytes: 1 << 20,
            siblings: 256,
            actors: 256,
            set_bytes: 16 << 20,
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            hedge: Duration::from_millis(100),
            deadline: Duration::from_secs(1),
            ping: Duration::from_millis(100),
            handoff: Duration::from_millis(200),
            exchange: Duration::from_secs(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut Settings), expected: &str) {
        let mut settings = Settings::default();
        change(&mut settings);
        assert_eq!(settings.check().unwrap_err().to_string(), expected);
    }

    #[test]
    fn the_default_settings_can_be_run() {
        assert_eq!(Settings::default().check(), Ok(()));
    }

    #[test]
    fn every_field_out_of_its_bounds_is_named_with_them() {
        check(|s| s.n = 0, "n = 0: a key needs a home: at least 1");
        check(|s| s.r = 4, "r = 4: from 1 to 3, which is n");
        check(|s| s.w = 0, "w = 0: from 1 to 3, which is n");
        for partitions in [0, 48, 32_768] {
            check(
                |s| s.partitioning = Partitioning::Equal { partitions },
                &format!(
                    "partitioning = equal:{partitions}: from 1 to 16384 partitions, a power of two"
                ),
            );
        }
        check(|s| s.limits.key_bytes = 0, "limits.key_bytes = 0: from 1 to 4294967295");
        check(|s| s.limits.value_bytes = 0, "limits.value_bytes = 0: from 1 to 4294967295");
        check(|s| s.limits.siblings = 0, "limits.siblings = 0: from 1 to 4294967295");
        check(|s| s.limits.actors = 0, "limits.actors = 0: from 1 to 4294967295");
        check(|s| s.limits.set_bytes = 0, "limits.set_bytes = 0: from 1 to 4294967295");
        let (zero, long) = (Duration::ZERO, Duration::from_secs(601));
        check(|s| s.timing.ping = zero, "timing.ping = 0ns: from 1ms to 600s");
        check(|s| s.timing.handoff = long, "timing.handoff = 601s: from 1ms to 600s");
        check(|s| s.timing.deadline = long, "timing.deadline = 601s: from 1ms to 600s");
        check(
            |s| s.timing.hedge = s.timing.deadline,
            "timing.hedge = 1s: must be below the deadline, 1s: a request must have time left when a \
             silent replica is given up",
        );
    }

    #[test]
    fn nodes_agree_on_everything_but_how_long_they_wait() {
        let ours = Settings::default();
        let mut theirs = ours;
        theirs.timing.ping *= 2;
        assert_eq!(ours.agreed(), theirs.agreed());
        theirs.limits.siblings += 1;
        assert_ne!(ours.agreed(), theirs.agreed());
    }
}
