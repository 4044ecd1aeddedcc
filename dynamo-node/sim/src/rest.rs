//! Whether a cluster rests, and whether its homes agree: what is asked at the end of a run.

use dynamo_protocol::membership::Seat;
use dynamo_protocol::{Key, NodeId, Place, Record, Summary};

use crate::bench::Bench;

impl Bench {
    /// The first node that suspects a peer, and that peer.
    #[must_use]
    pub fn suspicion(&self) -> Option<(NodeId, NodeId)> {
        self.view().everybody().find_map(|id| {
            let peer = self.host(id).node()?.suspected().next()?;
            Some((id, peer))
        })
    }

    /// What keeps the cluster from being at rest: a process that does not run or suspects another, a hint, an
    /// operation, a write that is not on disk or a change of the membership that is not decided. Hints that
    /// are damaged do not: they are lost.
    #[must_use]
    pub fn unrest(&self) -> Option<String> {
        let all = || self.view().everybody();
        if let Some(id) = all().find(|id| self.host(*id).node().is_none()) {
            return Some(format!("{id} does not run"));
        }
        if let Some((id, peer)) = self.suspicion() {
            return Some(format!("{id} suspects {peer}"));
        }
        all().find_map(|id| self.unrest_of(id))
    }

    fn unrest_of(&self, id: NodeId) -> Option<String> {
        let (disk, node) = (self.host(id).disk(), self.host(id).node()?);
        // What it says waits behind them: until then it is silent.
        if disk.applied() != disk.synced() {
            return Some(format!("{id} has writes under way to its disk"));
        }
        // Keys may be about to have other homes.
        if let Some(edit) = node.proposes().filter(|_| self.can_decide()) {
            return Some(format!("{id} asks the others to agree: {edit}"));
        }
        let epoch = self.view().epoch();
        match (disk.hints_left(), node.open_operations()) {
            (0, 0) if !node.is_proven() => {
                Some(format!("{id} has not been told by all that its directory is whole"))
            }
            (0, 0) if node.view().epoch() < epoch => {
                Some(format!("{id} does not know of epoch {epoch}"))
            }
            (0, 0) if node.filling() > 0 => {
                Some(format!("{id} does not count yet in {} ranges", node.filling()))
            }
            (0, 0) if node.has_strays() => {
                Some(format!("{id} holds records of which it is no home"))
            }
            (0, 0) => None,
            (hints, open) => {
                Some(format!("{id} holds {hints} hints and has {open} operations open"))
            }
        }
    }

    /// Whether a majority of the members have the directories by which they vote. Without one nothing is ever
    /// decided, unless an operator takes it upon himself.
    fn can_decide(&self) -> bool {
        let members: Vec<_> = self.view().history().latest().ring_members().collect();
        let votes = |seat: &&Seat| {
            self.host(seat.node).disk().meta().directory(seat.node) == seat.directory
        };
        let voters = members.iter().copied().filter(votes).count();
        2 * voters > members.len()
    }

    /// What the homes of `key` hold, if they do not agree although every one of them was told all that the
    /// others hold.
    ///
    /// Of a settled key each home drops the tombstone, and forgets actors, at its own time: so one that holds
    /// nothing agrees with one that holds a tombstone, and of two contexts only the actors count that both
    /// name.
    #[must_use]
    pub fn divided(&self, key: &Key) -> Option<String> {
        let place = Place::home(key.clone());
        let homes = self.view().homes(key).iter();
        let held: Vec<_> = homes.map(|id| (id, self.host(*id).disk().durable(&place))).collect();
        let pairs = held
            .iter()
            .enumerate()
            .flat_map(|(at, one)| held[at + 1..].iter().map(move |other| (one.1, other.1)));
        if pairs.into_iter().all(|(one, other)| agree(one, other)) {
            return None;
        }
        let told = held.iter().map(|(id, record)| match record {
            Some(record) => format!("{id} holds {:?}", record.set),
            None => format!("{id} holds nothing"),
        });
        Some(told.collect::<Vec<_>>().join("; "))
    }
}

fn agree(one: Option<&Record>, other: Option<&Record>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(record), None) | (None, Some(record)) => record.is_tombstone(),
        (Some(one), Some(other)) => match (one.set.summary(), other.set.summary()) {
            (Summary::Dotted(mine, live), Summary::Dotted(theirs, also_live)) => {
                let is_forgotten = |counter: u64| counter == 0;
                live == also_live
                    && mine.iter().all(|(actor, counter)| {
                        let other = theirs.get(&actor);
                        other == counter || is_forgotten(other)
                    })
            }
            (one, other) => one == other,
        },
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use dynamo_protocol::{Actor, Dot, DottedSet, Identity, Siblings, Version, VersionVector};

    use super::*;

    const A: Actor = Actor { identity: Identity(1), birth: 1 };
    const B: Actor = Actor { identity: Identity(2), birth: 2 };

    fn record(context: &[(Actor, u64)], live: &[(Actor, u64, Option<&'static str>)]) -> Record {
        let version = |(actor, counter, value): &(Actor, u64, Option<&'static str>)| Version {
            dot: Dot { actor: *actor, counter: *counter },
            timestamp: 0,
            value: value.map(Bytes::from),
        };
        let context: VersionVector = context.iter().copied().collect();
        let set = DottedSet::from_parts(context, live.iter().map(version).collect()).unwrap();
        Record { set: Siblings::Dotted(set), minter: None, amnesiac: false }
    }

    #[test]
    fn homes_agree_if_they_hold_the_same_and_what_a_home_let_go_is_missed_by_none() {
        let deleted = record(&[(A, 2)], &[(A, 2, None)]);
        let written = record(&[(A, 2), (B, 1)], &[(B, 1, Some("v"))]);
        let forgotten = record(&[(B, 1)], &[(B, 1, Some("v"))]);
        for (one, other) in
            [(Some(&deleted), None), (None, None), (Some(&written), Some(&forgotten))]
        {
            assert!(agree(one, other) && agree(other, one), "{one:?} {other:?}");
        }
        let (behind, beside) = (
            record(&[(A, 1), (B, 1)], &[(B, 1, Some("v"))]),
            record(&[(A, 2), (B, 1)], &[(A, 2, Some("w")), (B, 1, Some("v"))]),
        );
        let differ = [
            (&written, None),
            (&written, Some(&deleted)),
            (&written, Some(&behind)),
            (&written, Some(&beside)),
        ];
        for (one, other) in differ {
            assert!(!agree(Some(one), other) && !agree(other, Some(one)), "{one:?} {other:?}");
        }
    }
}
