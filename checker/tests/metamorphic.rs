//! What does not matter does not matter: other names, another start, other keys first.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use checker::budget::Budget;
use checker::causal::Causal;
use checker::collections::SetFull;
use checker::history::History;
use checker::history::op::{Op, Process};
use checker::sessions::Sessions;
use checker::siblings::Siblings;
use checker::siblings::cart::Cart;
use checker::staleness::Staleness;
use checker::verdict::{Checker, Verdict};
use common::store::{Bug, Setup, run};
use common::{register_oracle, simple_oracle};
use rand::prelude::*;

fn histories() -> Vec<(Vec<Box<dyn Checker>>, History)> {
    let mut all: Vec<(Vec<Box<dyn Checker>>, History)> = Vec::new();
    let bugs =
        [Bug::None, Bug::DropSibling, Bug::KeepDominated, Bug::StaleRead, Bug::FailedAppears];
    for seed in 0..25 {
        let mut rng = StdRng::seed_from_u64(seed);
        let bug = bugs[seed as usize % bugs.len()];
        let setup = Setup { bug, seed, carts: true, keys: 4, info: 20, ..Setup::default() };
        let stores: Vec<Box<dyn Checker>> = vec![
            Box::new(Siblings::default()),
            Box::new(Siblings::strict()),
            Box::new(Cart::default()),
        ];
        all.push((stores, run(setup)));
        let registers: Vec<Box<dyn Checker>> =
            vec![Box::new(Causal::default()), Box::new(Sessions), Box::new(Staleness::default())];
        all.push((registers, register_oracle::generate(&mut rng)));
        all.push((vec![Box::new(SetFull::default())], simple_oracle::sets(&mut rng)));
    }
    all
}

/// The verdicts stay when every history is changed so.
fn unchanged_by(what: &str, change: impl Fn(&History) -> History) {
    let mut seen = [0; 3];
    for (checkers, history) in histories() {
        let changed = change(&history);
        for checker in checkers {
            let verdict = |history| checker.check(history, &Budget::UNLIMITED).verdict();
            let before = verdict(&history);
            assert_eq!(before, verdict(&changed), "{what} changes {}", checker.name());
            seen[before as usize] += 1;
        }
    }
    assert!(seen[Verdict::Valid as usize] > 20 && seen[Verdict::Invalid as usize] > 20, "{seen:?}");
}

fn with(history: &History, change: impl Fn(&mut Op)) -> History {
    let mut ops = history.ops().to_vec();
    ops.iter_mut().for_each(change);
    History::from_ops(ops).expect("the structure stays")
}

#[test]
fn the_names_of_processes() {
    unchanged_by("renaming", |history| {
        with(history, |op| {
            if let Process::Client(id) = &mut op.process {
                *id = (*id * 7919 + 13) % 1_000_003;
            }
        })
    });
}

#[test]
fn when_the_clock_started_and_how_fast_it_ran() {
    unchanged_by("another start", |history| with(history, |op| op.time += 1_000_000_007));
    unchanged_by("another rate", |history| with(history, |op| op.time *= 3));
}

#[test]
fn the_names_of_keys_and_nodes() {
    unchanged_by("other keys", |history| {
        with(history, |op| {
            op.key = op.key.as_ref().map(|key| key.chars().rev().collect::<String>().into());
            op.node = op.node.as_ref().map(|node| format!("host-{node}").into());
        })
    });
}

#[test]
fn faults_beside_the_operations() {
    unchanged_by("a nemesis", |history| {
        let mut ops = Vec::new();
        let mut moved = Vec::new();
        for op in history {
            if op.index % 5 == 0 {
                let kill = Op::new(Process::Nemesis, checker::history::op::Kind::Info, "kill");
                ops.push(kill.at(op.time));
            }
            moved.push(ops.len() as u64);
            ops.push(op.clone());
        }
        for op in &mut ops {
            op.context = op.context.map(|get| moved[get as usize]);
        }
        History::numbered(ops).expect("the nemesis is free to act")
    });
}

#[test]
fn the_order_of_independent_keys() {
    // Each key's operations one after another, by processes of their own.
    unchanged_by("keys one by one", |history| {
        let mut order: Vec<&Op> = history.iter().collect();
        order.sort_by_key(|op| op.key.clone());
        let apart = order.windows(2).any(|two| two[0].key != two[1].key);
        if !apart || history.pairs().any(|pair| pair.f() == "read") {
            // Registers: sessions span keys, so that keys are not independent.
            return history.clone();
        }
        let key_number = |op: &Op| op.key.as_ref().map_or(0, |key| key.as_bytes()[1] as u64);
        let span = history.ops().last().map_or(0, |op| op.time) + 10;
        let mut new_index = vec![0; order.len()];
        for (new, op) in (0..).zip(&order) {
            new_index[op.index as usize] = new;
        }
        let ops = order.iter().map(|op| {
            let mut op = (*op).clone();
            op.time += key_number(&op) * span;
            if let Process::Client(id) = &mut op.process {
                *id = *id * 1000 + op.key.as_ref().map_or(0, |key| key.as_bytes()[1] as u64);
            }
            op.context = op.context.map(|get| new_index[get as usize]);
            op
        });
        History::numbered(ops.collect()).expect("each key was sound by itself")
    });
}
