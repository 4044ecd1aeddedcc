//! The linearizability engines agree with an oracle that tries every order, and their witnesses
//! are what they claim to be.
//!
//! `FUZZ_HISTORIES=10000000 cargo test --release -p checker --test linear_oracles` is the long
//! mode.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeSet;

use checker::budget::Budget;
use checker::formats::compact::{Layout, Writer};
use checker::history::op::{Kind, Op, Process};
use checker::history::{History, Outcome, Pair};
use checker::linearizable::stream::check_registers;
use checker::linearizable::{Engine, Linearizable, named};
use checker::sequential::Sequential;
use checker::spec::{Kv, Queue, Register, Spec};
use checker::verdict::{CheckReport, Checker, Verdict};
use common::fuzz::{agree, histories, subsets};
use common::objects::{Object, dones, generate, has_order, in_program_order, in_real_time};
use rand::prelude::*;
use serde_json::Value;

struct Named(Box<dyn Checker>);

impl Checker for Named {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn check(&self, history: &History, budget: &Budget) -> CheckReport {
        self.0.check(history, budget)
    }
}

fn is_linearizable(spec: &str, history: &History) -> bool {
    has_order(spec, &dones(spec, history), in_real_time)
}

fn check(spec: &'static str, unique: bool) {
    let object = Object { spec, unique };
    agree(
        &format!("linearizable {spec}{}", if unique { ", unique writes" } else { "" }),
        |_| Named(named(spec).unwrap()),
        |rng| generate(object, rng),
        |_, history| is_linearizable(spec, history),
    );
}

#[test]
fn zones_of_unique_writes() {
    check("register", true);
}

/// Registers straight from the compact form, where that is enough.
struct Streamed {
    /// Of small pieces several workers read each a few.
    layout: Layout,
    /// So many other keys come before.
    others: u64,
}

impl Checker for Streamed {
    fn name(&self) -> &str {
        "streamed"
    }

    fn check(&self, history: &History, budget: &Budget) -> CheckReport {
        let mut writer = Writer::with_layout(Vec::new(), self.layout).unwrap();
        for other in 0..self.others {
            let write = Op::invoke(1000 + other, "write").key(format!("other {other}")).value(1);
            writer.append(&write).unwrap();
            writer.append(&write.completed(Kind::Ok)).unwrap();
        }
        history.iter().for_each(|op| writer.append(op).unwrap());
        let bytes = writer.finish().unwrap();
        let streamed = check_registers(|| Ok(bytes.as_slice()), &mut budget.start()).unwrap();
        streamed.unwrap_or_else(|| named("register").unwrap().check(history, budget))
    }
}

fn layout(rng: &mut StdRng) -> Layout {
    if rng.random_bool(0.6) {
        return Layout::default();
    }
    let [block, apart] = [rng.random_range(1..60), rng.random_range(0..90)];
    Layout { block, apart, share: rng.random_range(0..2) }
}

/// A completion of a write may lack its value, or have another: what is written is what its
/// invocation says.
fn with_strange_completions(history: &History, rng: &mut StdRng) -> History {
    let mut ops = history.ops().to_vec();
    for op in ops.iter_mut().filter(|op| op.kind == Kind::Ok && op.f == "write") {
        match rng.random_range(0..12) {
            0 => op.value = None,
            1 => op.value = Some(Value::Null),
            2 => op.value = Some(rng.random_range(0..4).into()),
            _ => {}
        }
    }
    History::from_ops(ops).unwrap()
}

#[test]
fn registers_from_the_stream() {
    agree(
        "streamed registers, unique writes",
        |rng| Streamed {
            layout: layout(rng),
            others: if rng.random_bool(0.1) { rng.random_range(0..70) } else { 0 },
        },
        |rng| {
            let history = generate(Object { spec: "register", unique: true }, rng);
            with_strange_completions(&history, rng)
        },
        |_, history| is_linearizable("register", history),
    );
}

#[test]
fn the_search_on_unique_writes() {
    agree(
        "search, register, unique writes",
        |_| Linearizable::new(Register::default()).engine(Engine::Search),
        |rng| generate(Object { spec: "register", unique: true }, rng),
        |_, history| is_linearizable("register", history),
    );
}

#[test]
fn registers() {
    check("register", false);
}

#[test]
fn cas_registers() {
    check("cas-register", false);
}

#[test]
fn cas_registers_of_unique_values() {
    check("cas-register", true);
}

#[test]
fn mutexes() {
    check("mutex", false);
}

#[test]
fn owned_mutexes() {
    check("owned-mutex", false);
}

#[test]
fn sets() {
    check("set", false);
}

#[test]
fn queues() {
    check("queue", true);
}

#[test]
fn queues_of_repeated_elements() {
    check("queue", false);
}

#[test]
fn counters() {
    check("counter", false);
}

#[test]
fn multi_registers() {
    check("multi-register", false);
}

#[test]
fn kv_stores() {
    check("kv", false);
}

fn check_sequential<S: Spec + Clone>(spec: S, unique: bool) {
    let name: &'static str = Box::leak(spec.name().to_owned().into_boxed_str());
    let object = Object { spec: name, unique };
    agree(
        &format!("sequential {name}{}", if unique { ", unique writes" } else { "" }),
        |_| Sequential::new(spec.clone()),
        |rng| generate(object, rng),
        |_, history| has_order(name, &dones(name, history), in_program_order),
    );
}

#[test]
fn sequential_registers_of_unique_writes() {
    check_sequential(Register::default(), true);
}

#[test]
fn sequential_registers() {
    check_sequential(Register::default(), false);
}

#[test]
fn sequential_queues() {
    check_sequential(Queue, true);
}

#[test]
fn sequential_kv_stores() {
    check_sequential(Kv::default(), false);
}

/// The part of a history made of the operations with these names.
fn part(history: &History, names: &BTreeSet<u64>) -> History {
    let mut ops: Vec<Op> = Vec::new();
    for op in history {
        if history.pair(op.index).is_some_and(|pair| names.contains(&pair.name())) {
            ops.push(op.clone());
        }
    }
    History::numbered(ops).unwrap()
}

/// Can some of what is not among these operations explain them? Each of the others may have happened,
/// when it did, or not.
fn others_explain(spec: &str, history: &History, names: &BTreeSet<u64>) -> bool {
    let changes =
        |pair: &Pair<'_>| pair.outcome() != Outcome::Fail && !matches!(pair.f(), "read" | "get");
    let others = history.pairs().filter(|pair| !names.contains(&pair.name()) && changes(pair));
    let others: Vec<u64> = others.map(|pair| pair.name()).collect();
    subsets(others.len()).any(|some| {
        let chosen = (0..others.len()).filter(|at| some >> at & 1 == 1).map(|at| others[at]);
        is_linearizable(spec, &part(history, &names.iter().copied().chain(chosen).collect()))
    })
}

/// Some histories for a slower look than a comparison of verdicts.
fn each_history(spec: &'static str, unique: bool, mut look: impl FnMut(u64, &History)) {
    for seed in 0..histories().min(200_000) / 4 {
        let mut rng = StdRng::seed_from_u64(seed + 1_000_000);
        look(seed, &generate(Object { spec, unique }, &mut rng));
    }
}

#[test]
fn a_witness_is_wrong_by_itself_and_small() {
    for (spec, unique) in [
        ("register", true),
        ("register", false),
        ("cas-register", true),
        ("cas-register", false),
        ("owned-mutex", false),
        ("mutex", false),
        ("set", false),
        ("queue", true),
        ("counter", false),
        ("multi-register", false),
        ("kv", false),
    ] {
        let checker = named(spec).unwrap();
        let (mut sizes, mut coarse) = (Vec::new(), 0);
        each_history(spec, unique, |seed, history| {
            let report = checker.check(history, &Budget::UNLIMITED);
            if report.verdict() != Verdict::Invalid {
                return;
            }
            let names: BTreeSet<u64> = report.witness().into_iter().collect();
            let alone = part(history, &names);
            assert!(!is_linearizable(spec, &alone), "{spec}, seed {seed}: {report:?}");
            // Of these what is left out had no effect as a whole (an acquire with its release, what
            // was overwritten since), which a part of it may have.
            let explained = |names: &BTreeSet<u64>| {
                !matches!(spec, "owned-mutex" | "mutex" | "counter" | "kv")
                    && others_explain(spec, history, names)
            };
            assert!(
                !explained(&names),
                "{spec}, seed {seed}: what was left out explains {report:?}"
            );
            if report.details["minimal"] == false {
                // Two processes that each call again at one instant: see the rule for equal times.
                coarse += 1;
                return;
            }
            let reads = alone.pairs().filter(|pair| matches!(pair.f(), "read" | "get"));
            for read in reads {
                let but: BTreeSet<u64> =
                    alone.pairs().map(|pair| pair.name()).filter(|n| *n != read.name()).collect();
                // To be left out it would have to be needless whenever the others happened.
                let needed = matches!(spec, "counter" | "kv")
                    || is_linearizable(spec, &part(&alone, &but))
                    || others_explain(spec, history, &but);
                assert!(needed, "{spec}, seed {seed}: {report:?}");
            }
            sizes.push(names.len());
        });
        sizes.sort_unstable();
        assert!(coarse < sizes.len() / 5, "{spec}: {coarse} of {}", sizes.len());
        println!(
            "{spec}: {} witnesses, median {}, largest {}",
            sizes.len(),
            sizes[sizes.len() / 2],
            sizes[sizes.len() - 1]
        );
    }
}

#[test]
fn a_witness_of_unique_writes_has_no_value_too_many() {
    let checker = named("register").unwrap();
    each_history("register", true, |seed, history| {
        let report = checker.check(history, &Budget::UNLIMITED);
        let names: BTreeSet<u64> = report.witness().into_iter().collect();
        assert!(names.len() <= 6, "seed {seed}: {report:?}");
        let alone = part(history, &names);
        let value = |name: u64| {
            let pair = alone.pair(name).unwrap();
            pair.invoke.value.clone().or(pair.result().cloned())
        };
        for gone in alone.pairs().map(|pair| value(pair.name())) {
            let rest = alone.pairs().map(|pair| pair.name()).filter(|name| value(*name) != gone);
            let rest = part(&alone, &rest.collect());
            assert!(is_linearizable("register", &rest), "seed {seed}: {report:?}");
        }
    });
}

fn verdict(spec: &str, ops: Vec<Op>) -> Verdict {
    let history = History::numbered(ops).unwrap();
    named(spec).unwrap().check(&history, &Budget::UNLIMITED).verdict()
}

#[test]
fn names_and_times_and_keys_do_not_matter() {
    for (spec, unique) in [("register", true), ("register", false), ("queue", true), ("kv", false)]
    {
        each_history(spec, unique, |seed, history| {
            let ops = history.ops().to_vec();
            let right = verdict(spec, ops.clone());
            let change = |f: fn(&mut Op)| {
                let mut changed = ops.clone();
                changed.iter_mut().for_each(f);
                changed
            };
            let renamed = change(|op| {
                if let Process::Client(id) = op.process {
                    op.process = Process::Client(id.wrapping_mul(7) ^ 3);
                }
            });
            assert_eq!(verdict(spec, renamed), right, "{spec}, seed {seed}: processes");
            let later = change(|op| op.time = op.time * 3 + 1_000);
            assert_eq!(verdict(spec, later), right, "{spec}, seed {seed}: time");
            let swapped = change(|op| {
                let other = if op.key.as_deref() == Some("k0") { "k1" } else { "k0" };
                op.key = Some(other.into());
            });
            assert_eq!(verdict(spec, swapped), right, "{spec}, seed {seed}: keys");
        });
    }
}

#[test]
fn taking_out_what_nobody_read_leaves_a_valid_history_valid() {
    each_history("register", false, |seed, history| {
        if !is_linearizable("register", history) {
            return;
        }
        let seen: Vec<_> =
            history.pairs().filter(|p| p.f() == "read").filter_map(|p| p.result()).collect();
        let kept = history.pairs().filter(|pair| {
            pair.f() != "write" || seen.iter().any(|v| Some(*v) == pair.invoke.value.as_ref())
        });
        let kept = part(history, &kept.map(|pair| pair.name()).collect());
        let checker = named("register").unwrap();
        let report = checker.check(&kept, &Budget::UNLIMITED);
        assert_ne!(report.verdict(), Verdict::Invalid, "seed {seed}: {report:?}");
    });
}
