//! Oracles for queues, ids, convergence, lag and availability: the definitions, tried out.

use std::collections::BTreeMap;

use checker::availability::Availability;
use checker::collections::{TotalQueue, UniqueIds};
use checker::convergence::Convergence;
use checker::history::op::{Kind, Op, Process};
use checker::history::{History, Outcome, Pair};
use checker::staleness::Staleness;
use rand::prelude::*;
use serde_json::{Value, json};

use super::simple_oracle::overlapping;

/// Queues that lose, double and invent a little; some dequeues and drains of unknown outcome.
pub fn queues(rng: &mut StdRng) -> History {
    let odd = rng.random_bool(0.4);
    let repeats = rng.random_range(2..6);
    let next = |rng: &mut StdRng, n: u64| match rng.random_range(0..9) {
        0..4 => Op::invoke(0, "enqueue").value(n % repeats),
        4..8 => Op::invoke(0, "read"),
        _ => Op::invoke(0, "drain"),
    };
    // `overlapping` answers reads: a dequeue is drawn as one, and named afterwards.
    let mut taken: Vec<Value> = Vec::new();
    let answer = |rng: &mut StdRng, lines: &[Op], _: &Op| -> Value {
        let begun = lines.iter().filter(|op| op.f == "enqueue" && op.kind == Kind::Invoke);
        let mut left: Vec<Value> = begun.filter_map(|op| op.value.clone()).collect();
        for gone in &taken {
            if let Some(at) = left.iter().position(|value| value == gone) {
                left.remove(at);
            }
        }
        if odd && rng.random_bool(0.2) {
            return rng.random_range(0..6).into();
        }
        let Some(value) = left.first().cloned() else { return Value::Null };
        taken.push(value.clone());
        value
    };
    let history = overlapping(rng, 14, next, answer);
    let mut held: Vec<Value> = Vec::new();
    let mut lines: Vec<Op> = history.ops().to_vec();
    for op in &mut lines {
        match (&*op.f, op.kind) {
            ("enqueue", Kind::Ok) => held.extend(op.value.clone()),
            ("read", kind) => {
                op.f = "dequeue".into();
                if let (Kind::Ok, Some(value)) = (kind, &op.value)
                    && let Some(at) = held.iter().position(|held| held == value)
                {
                    held.remove(at);
                }
            }
            ("drain", Kind::Ok) => op.value = Some(std::mem::take(&mut held).into()),
            _ => {}
        }
    }
    // Most end with a queue that is seen empty.
    let end = lines.last().map_or(0, |op| op.time) + rng.random_range(0..3);
    if rng.random_bool(0.8) {
        let drain = Op::invoke(1000, "drain").at(end);
        let rest = if odd && rng.random_bool(0.3) { Vec::new() } else { held };
        lines.extend([drain.clone(), drain.completed(Kind::Ok).value(rest).at(end)]);
    }
    History::numbered(lines).expect("one operation open a process")
}

/// Can each element dequeued be given an enqueue of its own that began before the dequeue ended,
/// and each enqueue acknowledged before the queue was seen empty a dequeue?
pub fn queue_holds(_: &TotalQueue, history: &History) -> bool {
    let mut enqueues: Vec<Pair<'_>> = Vec::new();
    let mut dequeues: Vec<(Value, u64)> = Vec::new();
    let (mut free, mut drained, mut empty) = (0, false, None);
    for pair in history.pairs() {
        let ended = pair.acknowledged_at();
        match (pair.f(), pair.outcome()) {
            ("enqueue", Outcome::Ok | Outcome::Info) => enqueues.push(pair),
            ("dequeue", Outcome::Info) => free += 1,
            ("drain", Outcome::Info) => drained = true,
            ("dequeue", Outcome::Ok) if pair.result().is_some_and(|value| !value.is_null()) => {
                dequeues.push((pair.result().expect("it is some").clone(), ended.expect("ok")));
            }
            ("dequeue", Outcome::Ok) => empty = empty.max(Some(pair.invoke.time)),
            ("drain", Outcome::Ok) => {
                let all = pair.result().and_then(Value::as_array).expect("a list");
                dequeues.extend(all.iter().map(|value| (value.clone(), ended.expect("ok"))));
                empty = empty.max(Some(pair.invoke.time));
            }
            _ => {}
        }
    }
    let required = |pair: &Pair<'_>| pair.acknowledged_at().is_some_and(|at| Some(at) < empty);
    fn matched(
        dequeues: &[(Value, u64)],
        enqueues: &[Pair<'_>],
        used: u32,
        missing_at: &dyn Fn(u32) -> bool,
    ) -> bool {
        let Some(((value, ended), rest)) = dequeues.split_first() else { return missing_at(used) };
        (0..enqueues.len()).any(|at| {
            let pair = &enqueues[at];
            used >> at & 1 == 0
                && pair.invoke.value.as_ref() == Some(value)
                && pair.invoke.time <= *ended
                && matched(rest, enqueues, used | 1 << at, missing_at)
        })
    }
    let enough = |used: u32| {
        let missing = (0..enqueues.len())
            .filter(|at| used >> at & 1 == 0 && required(&enqueues[*at]))
            .count();
        drained || missing <= free
    };
    matched(&dequeues, &enqueues, 0, &enough)
}

pub fn ids(rng: &mut StdRng) -> History {
    let most = rng.random_range(4..20);
    let lines = (0..rng.random_range(2..16)).flat_map(|process| {
        let generate = Op::invoke(process, "generate");
        let kind = *[Kind::Ok, Kind::Ok, Kind::Info, Kind::Fail].choose(rng).expect("four");
        let id = rng.random_range(0..most);
        let id = if rng.random_bool(0.8) { json!(id) } else { json!(format!("{id}")) };
        [generate.clone(), generate.completed(kind).value(id)]
    });
    History::numbered(lines.collect()).expect("one after the other")
}

pub fn ids_differ(_: &UniqueIds, history: &History) -> bool {
    let given: Vec<&Value> = history.pairs().filter_map(|pair| pair.result()).collect();
    (0..given.len()).all(|a| (0..a).all(|b| given[a] != given[b]))
}

pub fn final_reads(rng: &mut StdRng) -> History {
    let odd = rng.random_bool(0.7);
    let lines = (0..rng.random_range(1..9)).flat_map(|process| {
        let key = *["a", "a", "b"].choose(rng).expect("two");
        let node = *["n1", "n2", "n3"].choose(rng).expect("three");
        let f = *["get", "home"].choose(rng).expect("two");
        let mut read = Op::invoke(process, f).key(key).node(node);
        read.is_final = rng.random_bool(0.8);
        let kind = if rng.random_bool(0.9) { Kind::Ok } else { Kind::Info };
        let mut set = vec![json!(1), json!("x")];
        set.shuffle(rng);
        if odd && rng.random_bool(0.4) {
            set.pop();
        }
        [read.clone(), read.completed(kind).value(set)]
    });
    History::numbered(lines.collect()).expect("one after the other")
}

/// Of any two last answers to one key: the same elements?
pub fn all_agree(_: &Convergence, history: &History) -> bool {
    let answers =
        || history.pairs().filter(|pair| pair.is_final() && pair.outcome() == Outcome::Ok);
    // What a home held before a get of the key had repaired it says nothing.
    let repaired_later = |home: &Pair<'_>| {
        answers().any(|get| {
            get.f() == "get" && get.key() == home.key() && get.name() > home.invoke.index
        })
    };
    let answers: Vec<Pair<'_>> =
        answers().filter(|pair| pair.f() == "get" || !repaired_later(pair)).collect();
    let place = |pair: &Pair<'_>| {
        (pair.key().map(str::to_owned), pair.f().to_owned(), pair.node().map(str::to_owned))
    };
    let is_last =
        |at: usize| answers[at + 1..].iter().all(|later| place(later) != place(&answers[at]));
    let counts = |pair: &Pair<'_>| {
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for value in pair.result().and_then(Value::as_array).expect("a list") {
            *counts.entry(value.to_string()).or_default() += 1;
        }
        counts
    };
    let last: Vec<&Pair<'_>> =
        (0..answers.len()).filter(|at| is_last(*at)).map(|at| &answers[at]).collect();
    last.iter().all(|a| last.iter().all(|b| a.key() != b.key() || counts(a) == counts(b)))
}

/// Registers of which some are read late.
pub fn lagging(rng: &mut StdRng) -> History {
    let furthest = rng.random_range(0..7);
    let next = |rng: &mut StdRng, n: u64| match rng.random_range(0..2) {
        0 => Op::invoke(0, "write").value(n),
        _ => Op::invoke(0, "read"),
    };
    let answer = |rng: &mut StdRng, lines: &[Op], _: &Op| -> Value {
        let begun = lines.iter().filter(|op| op.f == "write" && op.kind == Kind::Invoke);
        let failed =
            |op: &Op| lines.iter().any(|end| end.kind == Kind::Fail && end.value == op.value);
        let values: Vec<Value> =
            begun.filter(|op| !failed(op)).filter_map(|op| op.value.clone()).collect();
        let back = rng.random_range(0..=furthest);
        values.iter().rev().nth(back).cloned().unwrap_or(Value::Null)
    };
    loop {
        let history = overlapping(rng, 28, next, answer);
        let fails = |pair: Pair<'_>| pair.f() == "write" && pair.outcome() == Outcome::Fail;
        if !history.pairs().any(fails) {
            return history;
        }
    }
}

/// Lag and staleness of every read, as defined: the most of each.
pub fn lag_and_staleness(history: &History) -> Option<(u64, u64)> {
    let writes: Vec<Pair<'_>> = history
        .pairs()
        .filter(|pair| pair.f() == "write" && pair.outcome() != Outcome::Fail)
        .collect();
    let reads = history.pairs().filter(|pair| pair.f() == "read" && pair.outcome() == Outcome::Ok);
    let each = reads.map(|read| {
        let begun = read.invoke.time;
        let value = read.result().filter(|value| !value.is_null());
        let returned = value.map(|value| {
            let mut writers = writes.iter().filter(|w| w.invoke.value.as_ref() == Some(value));
            writers.next().expect("only what was written is read")
        });
        let newer = writes.iter().filter(|other| match &returned {
            None => true,
            Some(write) => write.acknowledged_at().is_some_and(|known| other.invoke.time > known),
        });
        let done: Vec<u64> =
            newer.filter_map(Pair::acknowledged_at).filter(|at| *at < begun).collect();
        let stale = done.iter().min().map_or(0, |first| begun - first);
        (done.len() as u64, stale)
    });
    each.fold(None, |most: Option<(u64, u64)>, (lag, stale)| {
        let (most_lag, most_stale) = most.unwrap_or_default();
        Some((most_lag.max(lag), most_stale.max(stale)))
    })
}

pub fn lag_holds(rules: &Staleness, history: &History) -> bool {
    let most = rules.most_lag.expect("asked for");
    lag_and_staleness(history).is_none_or(|(lag, _)| lag <= most)
}

/// Operations under a fault or two.
pub fn under_faults(rng: &mut StdRng) -> History {
    let mut ops: Vec<Op> = Vec::new();
    for process in 0..rng.random_range(1..10) {
        let get = Op::invoke(process, "get").at(rng.random_range(0..30));
        let kind = *[Kind::Ok, Kind::Ok, Kind::Ok, Kind::Fail, Kind::Info].choose(rng).expect("5");
        ops.extend([get.clone(), get.completed(kind).at(get.time + rng.random_range(0..10))]);
    }
    for fault in 0..rng.random_range(0..3_u64) {
        let from = rng.random_range(0..25);
        let step = |step: &str, kind, time| {
            let value = json!({"step": step, "fault": fault});
            Op::new(Process::Nemesis, kind, "kill").value(value).at(time)
        };
        ops.push(step("inject", Kind::Ok, from));
        if rng.random_bool(0.7) {
            ops.push(step("heal", Kind::Invoke, from + rng.random_range(0..10)));
        }
    }
    // Stable: what a process began comes before what it ended.
    ops.sort_by_key(|op| op.time);
    History::numbered(ops).expect("one operation a process")
}

/// In each window, end included: at least this share ok, and 99.9 % of those this quick.
pub fn available(rules: &Availability, history: &History) -> bool {
    let end = history.ops().last().map_or(0, |op| op.time);
    let of = |op: &Op, name: &str| op.value.as_ref().and_then(|value| value.get(name)).cloned();
    let nemesis = || history.iter().filter(|op| op.process == Process::Nemesis);
    nemesis().filter(|op| of(op, "step") == Some(json!("inject"))).all(|inject| {
        let healed = nemesis().find(|op| {
            op.index > inject.index
                && of(op, "step") == Some(json!("heal"))
                && of(op, "fault") == of(inject, "fault")
        });
        let to = healed.map_or(end, |op| op.time);
        let within: Vec<Pair<'_>> =
            history.pairs().filter(|pair| (inject.time..=to).contains(&pair.invoke.time)).collect();
        let mut took: Vec<u64> = within
            .iter()
            .filter_map(|pair| Some(pair.acknowledged_at()? - pair.invoke.time))
            .collect();
        took.sort_unstable();
        let share = took.len() as f64 / within.len().max(1) as f64;
        // Fewer than a thousand: the 99.9th percentile is the slowest.
        let slowest = took.last().map_or(0.0, |took| *took as f64 / 1e6);
        let enough = rules.least_ok.is_none_or(|least| within.is_empty() || share >= least);
        enough && rules.p999_ms.is_none_or(|most| slowest <= most)
    })
}
