//! The rules of docs/protocol.md that one record alone cannot show: what a node was told by others, whether
//! it was so, and whether a directory was all that its node had said of it when it started again. They are
//! those that the simulator holds against every step of its worlds, as far as they can be told of steps of
//! which nobody knows in which order they were taken: no clock is asked.
//!
//! | check | what | from |
//! |---|---|---|
//! | `one-value-a-dot` | no event is two writes | rule 2 |
//! | `minted-once` | no forwarded put becomes two events that others hear of | rule 8 |
//! | `copies-at-ack` | W hosts said to who acknowledges a put that they have it, and took it in | rule 6 |
//! | `stored-is-held` | who says that it has something, has it | rule 3 |
//! | `hint-accounting` | a hint goes when its target has just that, or the holder as a home | rule 7 |
//! | `told-is-durable` | a directory is as far at the next start as its node had told others | rule 13 |
//! | `recovery-oracle` | and holds what it held then: no batch in part, none left out | rule 13 |

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

use dynamo_protocol::{Dot, Identity, NodeId, OpId};
use serde::Serialize;

use super::life::Life;

/// Something that is not as it has to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Breach {
    /// Which of the checks.
    pub check: &'static str,
    /// Whose.
    #[serde(serialize_with = "name")]
    pub node: NodeId,
    /// What.
    pub what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.check, self.node, self.what)
    }
}

fn name<S: serde::Serializer>(node: &NodeId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(node)
}

/// What the records of a cluster say together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Together {
    /// Events that others heard of.
    pub events: usize,
    /// Puts that were acknowledged, and whose holders were looked at.
    pub acknowledged: usize,
    /// Hints that went since their target has them.
    pub hints: usize,
    /// Starts of a node on the directory that it had before, and was not lost.
    pub restarts: usize,
    /// What is wrong.
    pub breaches: Vec<Breach>,
}

impl Together {
    /// How much was judged.
    #[must_use]
    pub fn judged(&self) -> usize {
        self.events + self.acknowledged + self.hints + self.restarts
    }

    /// Of all lives of all nodes, each node's in the order of its starts. Where disks may have lost what was
    /// synced, or were never made to sync, `keeps` is false, and restarts are not judged.
    #[must_use]
    pub fn of(lives: &[Life], keeps: bool) -> Self {
        let mut all = Self::default();
        lives.iter().for_each(|life| all.breaches.extend(life.breaches.iter().cloned()));
        let heard = all.one_value_a_dot(lives);
        all.minted_once(lives, &heard);
        all.copies(lives);
        if keeps {
            all.restarts(lives);
        }
        all
    }

    fn breach(&mut self, check: &'static str, node: NodeId, what: String) {
        self.breaches.push(Breach { check, node, what });
    }

    /// All events that were heard of.
    fn one_value_a_dot(&mut self, lives: &[Life]) -> HashSet<Dot> {
        let mut wrote: HashMap<Dot, (u64, NodeId)> = HashMap::new();
        for life in lives {
            for (dot, value) in &life.events {
                let (before, by) = *wrote.entry(*dot).or_insert((*value, life.node));
                if before != *value {
                    let what = format!("{dot} is one value to {}, and another to {by}", life.node);
                    self.breach("one-value-a-dot", life.node, what);
                }
            }
        }
        self.events = wrote.len();
        wrote.into_keys().collect()
    }

    fn minted_once(&mut self, lives: &[Life], heard: &HashSet<Dot>) {
        let mut became: HashMap<OpId, (Dot, NodeId)> = HashMap::new();
        for life in lives {
            for (op, dot) in life.minted.iter().filter(|(_, dot)| heard.contains(dot)) {
                let (before, by) = *became.entry(*op).or_insert((*dot, life.node));
                if before != *dot {
                    let what = format!("{op} became {before} at {by}, and {dot} at {}", life.node);
                    self.breach("minted-once", life.node, what);
                }
            }
        }
    }

    /// What was said to be held was taken in by whom it was said. What a record does not tell of its node is
    /// held against nobody: it may end early, for want of room, or since its node went on while it was read.
    fn copies(&mut self, lives: &[Life]) {
        let mut told_until: HashMap<(NodeId, Identity), u64> = HashMap::new();
        for life in lives {
            for (position, identity, _) in &life.kept {
                let until = told_until.entry((life.node, *identity)).or_default();
                *until = (*until).max(*position);
            }
        }
        // Of the batch in which it ends a record may have a part.
        let is_told = |life: &Life, op: OpId, host: NodeId| {
            let said = life.heard.get(&(op, host));
            said.is_some_and(|(identity, at)| told_until.get(&(host, *identity)) > Some(at))
        };
        let mut took: HashMap<(OpId, NodeId), HashSet<u64>> = HashMap::new();
        for life in lives {
            for (op, set) in &life.stored {
                took.entry((*op, life.node)).or_default().insert(*set);
            }
        }
        for life in lives {
            self.acknowledged += life.acknowledged.len();
            for (op, holders) in &life.acknowledged {
                let others = holders.iter().filter(|host| is_told(life, *op, **host));
                for host in others.filter(|host| !took.contains_key(&(*op, **host))) {
                    let what =
                        format!("{op} is acknowledged with {host}, which did not take it in");
                    self.breach("copies-at-ack", life.node, what);
                }
            }
            let delivered = life.delivered.iter();
            for (op, target, hint) in delivered.filter(|(op, to, _)| is_told(life, *op, *to)) {
                self.hints += 1;
                if !took.get(&(*op, *target)).is_some_and(|sets| sets.contains(hint)) {
                    let what =
                        format!("a hint for {target} goes, which took something else in by {op}");
                    self.breach("hint-accounting", life.node, what);
                }
            }
        }
    }

    fn restarts(&mut self, lives: &[Life]) {
        let told = told(lives);
        let mut before: BTreeMap<NodeId, (usize, &Life)> = BTreeMap::new();
        for (at, life) in lives.iter().enumerate() {
            // Of one that took no step the next start tells.
            let Some((identity, position)) = life.began else { continue };
            let Some((earlier, past)) = before.insert(life.node, (at, life)) else { continue };
            let then = past.kept.iter().take_while(|kept| kept.0 <= position).last();
            // Another directory, or one that was put back: what was lost with that is not its node's
            // fault.
            let Some((_, _, held)) = then.filter(|kept| kept.1 == identity) else { continue };
            // What is durable was recorded before: else the record ends early, and tells not what was held.
            if past.kept.last().is_some_and(|last| last.0 < position) {
                continue;
            }
            self.restarts += 1;
            if let Some(far) = told.get(&earlier).filter(|far| **far > position) {
                let what =
                    format!("it told others of position {far}, and starts again at {position}");
                self.breach("told-is-durable", life.node, what);
            } else if *held != life.found {
                let what = format!("at position {position} it does not hold what it held there");
                self.breach("recovery-oracle", life.node, what);
            }
        }
    }
}

/// By life, how far its directory had come by what others heard from it: they name its incarnation, or
/// acknowledge to them what no other life of that node took in.
fn told(lives: &[Life]) -> HashMap<usize, u64> {
    let by_incarnation: HashMap<u64, usize> =
        lives.iter().enumerate().map(|(at, life)| (life.incarnation, at)).collect();
    let mut took: HashMap<(OpId, NodeId), BTreeSet<usize>> = HashMap::new();
    for (at, life) in lives.iter().enumerate() {
        life.stored.iter().for_each(|(op, _)| {
            took.entry((*op, life.node)).or_default().insert(at);
        });
    }
    let mut told: HashMap<usize, u64> = HashMap::new();
    let mut tell = |life: usize, position: u64| {
        let far = told.entry(life).or_default();
        *far = (*far).max(position);
    };
    for life in lives {
        for (incarnation, position) in &life.told {
            if let Some(teller) = by_incarnation.get(incarnation) {
                tell(*teller, *position);
            }
        }
        for (heard, (_, position)) in &life.heard {
            let takers = took.get(heard).filter(|takers| takers.len() == 1);
            takers.into_iter().flatten().for_each(|taker| tell(*taker, *position));
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use dynamo_protocol::{
        Actor, Envelope, Epoch, Event, Input, Key, MemoryStore, Message, Meta, Output, Place, Role,
        Settings, Siblings, Versioning, View,
    };

    use super::super::Start;
    use super::super::watch::Applied;
    use super::*;

    const DIRECTORY: Identity = Identity(7);
    const OP: OpId = OpId { incarnation: 1, seq: 3 };

    /// A life that began at this position with nothing on disk; its incarnation is 10 times the node and the
    /// position.
    fn life(node: u16, position: u64) -> Life {
        let settings = Settings::new([3, 2, 2]);
        let members = (1..=3).map(|id| dynamo_protocol::Member::new(NodeId(id), 4)).collect();
        let epochs = View::genesis(&settings, members).unwrap().history().epochs().to_vec();
        let incarnation = 10 * u64::from(node) + position;
        let start = dynamo_protocol::Start::proven(Meta::genesis(DIRECTORY), incarnation);
        let mut life = Life::new(&Start { me: NodeId(node), settings, epochs, start });
        life.began = Some((DIRECTORY, position));
        life.kept = vec![(position, DIRECTORY, 0)];
        life
    }

    fn dot(counter: u64) -> Dot {
        Dot { actor: Actor { identity: DIRECTORY, birth: 0 }, counter }
    }

    fn checks(lives: &[Life]) -> Vec<&'static str> {
        Together::of(lives, true).breaches.into_iter().map(|breach| breach.check).collect()
    }

    /// The first heard the second say at position 2 that it has what the operation brought; what is recorded
    /// of the second goes on for so long.
    fn heard(until: u64) -> [Life; 2] {
        let (mut one, mut two) = (life(1, 1), life(2, 1));
        one.heard.insert((OP, NodeId(2)), (DIRECTORY, 2));
        two.kept.push((until, DIRECTORY, 0));
        [one, two]
    }

    #[test]
    fn what_was_acknowledged_was_taken_in_by_whom_it_is_said_of() {
        let lives = |until: u64| {
            let [mut one, two] = heard(until);
            one.acknowledged.push((OP, vec![NodeId(1), NodeId(2)]));
            [one, two]
        };
        let [one, mut two] = lives(3);
        two.stored.insert((OP, 5));
        let together = Together::of(&[one, two], true);
        assert_eq!((together.acknowledged, together.breaches), (1, vec![]));
        assert_eq!(checks(&lives(3)), ["copies-at-ack"]);
        assert!(checks(&lives(2)).is_empty(), "its record may end before");
        let [alone, _] = lives(3);
        assert!(checks(&[alone]).is_empty(), "of whom nothing was recorded nothing is known");
    }

    #[test]
    fn a_hint_goes_when_its_target_took_in_just_that() {
        let lives = |took: u64| {
            let [mut holder, mut target] = heard(3);
            holder.delivered.push((OP, NodeId(2), 5));
            target.stored.insert((OP, took));
            [holder, target]
        };
        assert_eq!(Together::of(&lives(5), true).hints, 1);
        assert!(checks(&lives(5)).is_empty());
        assert_eq!(checks(&lives(6)), ["hint-accounting"]);
    }

    #[test]
    fn an_event_is_one_write_and_a_forwarded_put_one_event() {
        let lives = |second: u64, value: u64| {
            let (mut one, mut two) = (life(1, 1), life(2, 1));
            one.minted.push((OP, dot(1)));
            two.minted.push((OP, dot(second)));
            one.events = HashMap::from([(dot(1), 5), (dot(2), 6)]);
            two.events = HashMap::from([(dot(1), value)]);
            [one, two]
        };
        assert!(checks(&lives(1, 5)).is_empty());
        assert_eq!(checks(&lives(2, 5)), ["minted-once"]);
        assert_eq!(checks(&lives(1, 6)), ["one-value-a-dot"]);
        assert!(checks(&lives(3, 5)).is_empty(), "one that nobody heard of may have been undone");
    }

    #[test]
    fn a_directory_is_at_the_next_start_what_it_was_and_as_far_as_was_told() {
        let lives = |start: u64, found: u64, told: u64| {
            let (mut before, mut after, mut other) = (life(1, 1), life(1, start), life(2, 1));
            before.kept.extend([(2, DIRECTORY, 20), (3, DIRECTORY, 30)]);
            after.found = found;
            other.told = HashMap::from([(before.incarnation, told)]);
            [before, after, other]
        };
        let together = Together::of(&lives(3, 30, 3), true);
        assert_eq!((together.restarts, together.breaches), (1, vec![]));
        assert!(checks(&lives(2, 20, 2)).is_empty(), "what nobody was told of may be gone");
        assert_eq!(checks(&lives(2, 20, 3)), ["told-is-durable"]);
        assert_eq!(checks(&lives(3, 20, 3)), ["recovery-oracle"]);
        assert_eq!(Together::of(&lives(2, 20, 3), false).breaches, []);
        let mut wiped = lives(2, 0, 3);
        wiped[1].began = Some((Identity(8), 1));
        assert_eq!(Together::of(&wiped, true).restarts, 0, "another directory");
        let ends_early = Together::of(&lives(4, 40, 3), true);
        assert_eq!((ends_early.restarts, ends_early.breaches), (0, vec![]));
    }

    #[test]
    fn an_acknowledgement_tells_too_how_far_a_directory_is() {
        let (mut before, after, mut other) = (life(1, 1), life(1, 2), life(2, 1));
        before.kept.push((2, DIRECTORY, 0));
        before.stored.insert((OP, 5));
        other.heard = HashMap::from([((OP, NodeId(1)), (DIRECTORY, 9))]);
        assert_eq!(checks(&[before, after, other]), ["told-is-durable"]);
    }

    /// A step of a node that holds nothing: what is wrong with it.
    fn alone(
        message: Option<Message>,
        outputs: &[Output],
        applied: Vec<Applied>,
    ) -> Vec<&'static str> {
        let (mut life, store) = (life(1, 1), MemoryStore::new(Meta::genesis(DIRECTORY)));
        let input = message.map_or(Input::Started, |message| Input::Peer(envelope(2, 1, message)));
        life.given(&input, [1, 1], &store);
        life.came(outputs, applied, &store);
        life.breaches.iter().map(|breach| breach.check).collect()
    }

    fn envelope(from: u16, to: u16, message: Message) -> Envelope {
        let (from, to) = (NodeId(from), NodeId(to));
        let (identity, position, epoch) = (DIRECTORY, 1, Epoch::GENESIS);
        Envelope { from, identity, position, epoch, era: 0, to, heard: None, message }
    }

    fn stored() -> Message {
        Message::Stored { op: OP, result: Ok(()), counts: true }
    }

    #[test]
    fn who_says_that_it_has_something_has_it() {
        let (role, key) = (Role::Home, Key::from("k"));
        let mut set = dynamo_protocol::DottedSet::default();
        let version = dynamo_protocol::Version { dot: dot(1), timestamp: 0, value: None };
        set.write(&dynamo_protocol::VersionVector::default(), version);
        let set = Siblings::Dotted(set);
        let store = Message::Store { op: OP, role, key, set, lasts: false };
        let says = Output::Send(envelope(1, 2, stored()));
        assert_eq!(alone(Some(store.clone()), &[says], vec![]), ["stored-is-held"]);
        assert!(alone(Some(store), &[], vec![]).is_empty());
    }

    #[test]
    fn who_acknowledges_has_heard_of_as_many_copies() {
        let acknowledged = |holders: &[u16]| {
            let holders = holders.iter().copied().map(NodeId).collect();
            [Output::Event(Event::Acknowledged { op: OP, holders })]
        };
        assert!(alone(Some(stored()), &acknowledged(&[1, 2]), vec![]).is_empty());
        assert_eq!(alone(Some(stored()), &acknowledged(&[1]), vec![]), ["copies-at-ack"]);
        assert_eq!(alone(Some(stored()), &acknowledged(&[2, 2]), vec![]), ["copies-at-ack"]);
        assert_eq!(alone(None, &acknowledged(&[1, 2]), vec![]), ["copies-at-ack"]);
    }

    #[test]
    fn a_hint_goes_by_its_targets_word_and_no_other() {
        let hint = || {
            let place = Place { role: Role::Hint(NodeId(2)), key: Key::from("k") };
            let set = Siblings::empty(Versioning::Dotted);
            let before = dynamo_protocol::Record { set, minter: None, amnesiac: false };
            vec![Applied { place, before: Some(before), now: None }]
        };
        let told = |target: u16| [Output::Event(Event::HintDelivered(NodeId(target)))];
        assert!(alone(Some(stored()), &told(2), hint()).is_empty());
        assert_eq!(alone(Some(stored()), &[], hint()), ["hint-accounting"]);
        assert_eq!(alone(Some(stored()), &told(3), hint()), ["hint-accounting"]);
        assert_eq!(alone(None, &told(2), hint()), ["hint-accounting"]);
        assert_eq!(alone(None, &[Output::Event(Event::HintAdopted)], hint()), ["hint-accounting"]);
    }
}
