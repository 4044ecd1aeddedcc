//! The rings there were in a run, and which of them was in force when.

use checker::history::History;
use checker::history::op::{Kind, Process};
use dynamo_protocol::membership::Membership;
use dynamo_protocol::{Key, NodeId, Settings, View, ViewError};
use serde_json::Value;

/// One after the other, from the genesis on.
#[derive(Clone, Debug)]
pub struct Rings {
    /// By epoch; each from some time on, in nanoseconds.
    views: Vec<(u64, View)>,
}

impl Rings {
    /// One that never changed.
    #[must_use]
    pub fn only(view: View) -> Self {
        Self { views: vec![(0, view)] }
    }

    /// Those of these memberships. When they came about the nemesis has seen.
    ///
    /// # Errors
    /// If they are no history of a cluster.
    pub fn of(
        settings: &Settings,
        epochs: &[Membership],
        history: &History,
    ) -> Result<Self, ViewError> {
        let mut views = Vec::new();
        for last in 1..=epochs.len() {
            let view = View::of(settings, epochs[..last].to_vec())?;
            let since = if last == 1 { Some(0) } else { seen(history, view.epoch().0) };
            views.extend(since.map(|since| (since, view)));
        }
        Ok(Self { views })
    }

    /// The homes of a key at that time.
    #[must_use]
    pub fn homes(&self, key: &str, time: u64) -> &[NodeId] {
        let view = self.views.iter().rev().find(|(since, _)| *since <= time);
        view.map_or(&[], |(_, view)| view.homes(&Key::from(key)))
    }

    /// The homes of a key in the end.
    #[must_use]
    pub fn last_homes(&self, key: &str) -> &[NodeId] {
        self.homes(key, u64::MAX)
    }

    /// How many members the cluster began with.
    #[must_use]
    pub fn founders(&self) -> usize {
        self.views.first().map_or(0, |(_, view)| view.members().len())
    }
}

/// When the nemesis saw first that members go by this epoch or a later one.
fn seen(history: &History, epoch: u64) -> Option<u64> {
    let seen = history.iter().filter(|op| op.process == Process::Nemesis && op.kind == Kind::Ok);
    let later = seen.filter(|op| {
        let proof = op.value.as_ref().and_then(|value| value.get("proof"));
        let named = proof.and_then(|proof| proof.get("epoch")).and_then(Value::as_u64);
        named.is_some_and(|named| named >= epoch)
    });
    later.map(|op| op.time).min()
}

#[cfg(test)]
mod tests {
    use checker::history::op::Op;
    use dynamo_protocol::membership::{Directory, Edit};
    use dynamo_protocol::{Identity, Member};
    use serde_json::json;

    use super::*;

    #[test]
    fn homes_are_those_of_the_ring_that_was_seen_last() {
        let settings = Settings::default();
        let members = (1..=3).map(|id| Member::new(NodeId(id), 8)).collect();
        let first = View::genesis(&settings, members).unwrap();
        let directory = Directory::Drawn(Identity(9));
        let joins = Edit::Join { node: NodeId(4), directory, tokens: 8, zone: None };
        let genesis = first.history().latest().clone();
        let second = genesis.edited(&joins, settings.n).unwrap();
        let seen = Op::new(Process::Nemesis, Kind::Ok, "join")
            .value(json!({ "proof": { "epoch": second.epoch().0 } }))
            .at(50);
        let history = History::numbered(vec![seen]).unwrap();
        let rings = Rings::of(&settings, &[genesis, second], &history).unwrap();
        let key = (0..).map(|n| format!("k{n}"));
        let has_the_fourth = |key: &String| rings.last_homes(key).contains(&NodeId(4));
        let key = key.into_iter().find(has_the_fourth).unwrap();
        assert_eq!(rings.homes(&key, 49), first.homes(&Key::from(key.as_str())));
        assert!(rings.homes(&key, 50).contains(&NodeId(4)));
        assert_eq!(rings.founders(), 3);
    }
}
