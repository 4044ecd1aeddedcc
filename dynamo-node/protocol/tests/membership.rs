//! Memberships, histories and the register under chance: whatever is asked, in whatever order, and however
//! bad the network is.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::cell::Cell;
use std::collections::BTreeSet;
use std::convert::Infallible;

use dynamo_protocol::membership::{
    Ballots, Call, Directory, Durable, Edit, History, HistoryError, Membership, Registrar, Told,
};
use dynamo_protocol::{Identity, Member, NodeId, Zone};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;

/// N.
const HOMES: usize = 2;
/// How many of the calls that were sent are the latest.
const LATELY: usize = 12;

fn genesis(members: u16) -> History {
    let members: Vec<_> = (1..=members).map(|id| Member::new(NodeId(id), 2)).collect();
    History::genesis(HOMES, Membership::genesis(HOMES, &members).unwrap()).unwrap()
}

/// Few nodes and directories, so that edits meet.
fn edit() -> impl Strategy<Value = Edit> {
    let node = (1..=6u16).prop_map(NodeId);
    let directory = prop_oneof![
        (1..=6u16).prop_map(|node| Directory::Founder(NodeId(node))),
        (1..=4u64).prop_map(|identity| Directory::Drawn(Identity(identity))),
    ];
    let tokens = 0..=3u16;
    let zone = prop::option::of((1..=2u16).prop_map(Zone));
    prop_oneof![
        (node.clone(), directory.clone(), tokens.clone(), zone).prop_map(
            |(node, directory, tokens, zone)| Edit::Join { node, directory, tokens, zone }
        ),
        node.clone().prop_map(|node| Edit::Leave { node }),
        (node.clone(), directory.clone(), any::<bool>())
            .prop_map(|(node, directory, forced)| Edit::Gone { node, directory, forced }),
        (node.clone(), directory.clone(), directory).prop_map(|(node, from, to)| Edit::Replace {
            node,
            from,
            to
        }),
        node.clone().prop_map(|node| Edit::Cancel { node }),
        (node, tokens).prop_map(|(node, tokens)| Edit::Weigh { node, tokens }),
    ]
}

/// What must be true of every epoch that follows `before`.
fn check_epoch(before: &Membership, edit: &Edit, after: &Membership) {
    assert_eq!(after.epoch().0, before.epoch().0 + 1);
    assert!(after.ring_members().count() >= HOMES);
    assert!(after.gone().starts_with(before.gone()), "gone is for ever");
    let directories: BTreeSet<_> = after.seats().iter().map(|seat| seat.directory).collect();
    assert_eq!(directories.len(), after.seats().len(), "a directory is one member's");
    assert!(after.gone().iter().all(|gone| !directories.contains(gone)));
    assert!(after.seats().is_sorted_by_key(|seat| seat.node));
    let touched = |of: &Membership| of.seat(edit.node()).copied();
    assert!(touched(before) != touched(after), "an edit changes something");
    for seat in before.seats().iter().filter(|seat| seat.node != edit.node()) {
        assert_eq!(after.seat(seat.node), Some(seat), "and nothing else");
    }
    let found = Edit::between(before, after, HOMES).expect("one_edit");
    assert_eq!(before.edited(&found, HOMES).as_ref(), Ok(after));
}

/// The epochs that those of the `edits` make that are taken.
fn made(edits: &[Edit]) -> Vec<Membership> {
    let mut epochs = genesis(4).epochs().to_vec();
    for edit in edits {
        let last = epochs.last().unwrap();
        if let Ok(next) = last.edited(edit, HOMES) {
            check_epoch(last, edit, &next);
            epochs.push(next);
        }
    }
    epochs
}

proptest! {
    #[test]
    fn every_edit_that_is_taken_makes_an_epoch_by_the_rules(
        edits in proptest::collection::vec(edit(), 0..40)
    ) {
        let epochs = made(&edits);
        let history = History::new(HOMES, epochs.clone()).unwrap();
        prop_assert_eq!(history.epochs(), &epochs[..]);
    }

    #[test]
    fn a_history_takes_in_what_follows_and_nothing_else(
        edits in proptest::collection::vec(edit(), 0..40),
        from in any::<Index>(),
        to in any::<Index>(),
        known in any::<Index>(),
    ) {
        let epochs = made(&edits);
        let (from, to) = (from.index(epochs.len()), to.index(epochs.len()));
        let known = 1 + known.index(epochs.len());
        let history = History::new(HOMES, epochs[..known].to_vec()).unwrap();
        let told = if from <= to { &epochs[from..=to] } else { &[] };
        match history.news(told) {
            Ok(news) => {
                let missing = if from <= to { epochs.get(known..=to) } else { None };
                prop_assert_eq!(&news[..], missing.unwrap_or(&[]));
            }
            Err(HistoryError::Gap { .. }) => prop_assert!(from > known),
            Err(error) => prop_assert!(false, "{error}"),
        }
    }

    #[test]
    fn an_epoch_that_was_tampered_with_is_no_edit(
        edits in proptest::collection::vec(edit(), 1..40),
        at in any::<Index>(),
    ) {
        let mut epochs = made(&edits);
        prop_assume!(epochs.len() > 2);
        // An epoch that is left out, and its number given to the next.
        epochs.remove(1 + at.index(epochs.len() - 2));
        prop_assert!(History::new(HOMES, epochs).is_err());
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// A node is asked for an edit.
    Ask(usize, Edit),
    /// Something of what was ever sent arrives, be it for the third time, or of what was sent lately.
    Deliver { any: Index, late: bool },
    /// A proposer begins a higher ballot.
    Again(usize),
    /// A process ends and starts again on its disk.
    Crash(usize),
}

fn step(hosts: usize) -> impl Strategy<Value = Step> {
    let host = 0..hosts;
    prop_oneof![
        2 => (host.clone(), edit()).prop_map(|(host, edit)| Step::Ask(host, edit)),
        4 => any::<Index>().prop_map(|any| Step::Deliver { any, late: true }),
        30 => any::<Index>().prop_map(|any| Step::Deliver { any, late: false }),
        2 => host.clone().prop_map(Step::Again),
        1 => host.prop_map(Step::Crash),
    ]
}

struct Host {
    node: NodeId,
    registrar: Registrar,
    epochs: Vec<Membership>,
    ballots: Option<Ballots>,
}

impl Host {
    fn start(node: NodeId, epochs: Vec<Membership>, ballots: Option<Ballots>) -> Self {
        let history = History::new(HOMES, epochs.clone()).unwrap();
        let named = (Identity(u64::from(node.0)), Directory::Founder(node));
        let registrar = Registrar::new(node, named, history, ballots).unwrap();
        Self { node, registrar, epochs, ballots }
    }

    fn take(
        &mut self,
        verb: impl FnOnce(&mut Registrar, &mut dyn FnMut(&Durable) -> Result<(), Infallible>) -> Told,
    ) -> Told {
        let Self { registrar, epochs, ballots, .. } = self;
        verb(registrar, &mut |durable| {
            epochs.extend_from_slice(&durable.epochs);
            *ballots = Some(durable.ballots);
            Ok(())
        })
    }
}

/// Runs the steps; the longest history.
fn run(steps: Vec<Step>) -> History {
    let epochs = genesis(5).epochs().to_vec();
    let start = |id| Host::start(NodeId(id), epochs.clone(), None);
    let mut hosts: Vec<_> = (1..=5).map(start).collect();
    let mut sent: Vec<(NodeId, NodeId, Call)> = Vec::new();
    let mut decided = genesis(5);
    for step in steps {
        let (at, told) = match step {
            Step::Ask(at, edit) => {
                let ask = |registrar: &mut Registrar, mut write: &mut dyn FnMut(&Durable) -> _| {
                    registrar.propose(edit, None, &mut write).unwrap_or_default()
                };
                (at, hosts[at].take(ask))
            }
            Step::Deliver { any, late } if !sent.is_empty() => {
                let lately = if late { 0 } else { sent.len().saturating_sub(LATELY) };
                let (from, to, call) = any.get(&sent[lately..]).clone();
                let Some(at) = hosts.iter().position(|host| host.node == to) else { continue };
                let told = hosts[at].take(|registrar, mut write| {
                    let Ok(told) = registrar.receive(from, call, &mut write);
                    told
                });
                (at, told)
            }
            Step::Deliver { .. } => continue,
            Step::Again(at) => {
                let told = hosts[at].take(|registrar, mut write| {
                    let Ok(told) = registrar.again(&mut write);
                    told
                });
                (at, told)
            }
            Step::Crash(at) => {
                let Host { node, epochs, ballots, .. } = &hosts[at];
                hosts[at] = Host::start(*node, epochs.clone(), *ballots);
                continue;
            }
        };
        let host = &hosts[at];
        sent.extend(told.calls.into_iter().map(|(to, call)| (host.node, to, call)));
        assert_eq!(host.registrar.history().epochs(), host.epochs, "durable");
        let history = host.registrar.history();
        let news = decided.news(history.epochs()).expect("one_ring_a_number");
        if !news.is_empty() {
            decided = history.clone();
        }
    }
    decided
}

/// Five members, of which any may leave or be removed and none is wiped.
#[test]
fn there_is_one_ring_a_number() {
    let runs = 400;
    let decided = Cell::new(0);
    let config = ProptestConfig { cases: runs, failure_persistence: None, ..Default::default() };
    let mut runner = TestRunner::new(config);
    let steps = proptest::collection::vec(step(5), 200..600);
    let ran = runner.run(&steps, |steps| {
        let latest = run(steps).latest().clone();
        decided.set(decided.get() + latest.epoch().0 - 1);
        prop_assert!(latest.ring_members().count() >= HOMES);
        Ok(())
    });
    ran.unwrap();
    assert!(decided.get() > u64::from(runs), "{} epochs in {runs} runs", decided.get());
}
