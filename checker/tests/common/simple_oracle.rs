//! Random histories of sets, counters and registers in time, and oracles by the definition.

use checker::collections::{CounterBounds, SetFull};
use checker::history::op::{Kind, Op};
use checker::history::{History, Outcome, Pair};
use rand::prelude::*;
use serde_json::{Value, json};

/// Overlapping operations: `next` draws one, `answer` says what a read returns, given the
/// invocations so far.
pub fn overlapping(
    rng: &mut StdRng,
    steps: usize,
    mut next: impl FnMut(&mut StdRng, u64) -> Op,
    mut answer: impl FnMut(&mut StdRng, &[Op], &Op) -> Value,
) -> History {
    let mut lines: Vec<Op> = Vec::new();
    let mut open: Vec<Op> = Vec::new();
    let mut idle: Vec<u64> = Vec::new();
    let (mut processes, mut time, mut drawn) = (0, 0, 0);
    for _ in 0..steps {
        time += rng.random_range(0..3);
        if !open.is_empty() && rng.random_bool(0.55) {
            let invoke = open.swap_remove(rng.random_range(0..open.len()));
            let is_read = invoke.f == "read";
            let kind = *[Kind::Ok, Kind::Ok, Kind::Ok, Kind::Ok, Kind::Info, Kind::Fail]
                .choose(rng)
                .expect("not empty");
            let mut done = invoke.completed(kind);
            if is_read && kind == Kind::Ok {
                done = done.value(answer(rng, &lines, &invoke));
            }
            if let (checker::history::op::Process::Client(id), true) =
                (invoke.process, kind != Kind::Info)
            {
                idle.push(id);
            }
            lines.push(done.at(time));
        } else {
            let process = idle.pop().unwrap_or_else(|| {
                processes += 1;
                processes - 1
            });
            drawn += 1;
            let mut op = next(rng, drawn);
            op.process = checker::history::op::Process::Client(process);
            op = op.at(time);
            lines.push(op.clone());
            open.push(op);
        }
    }
    History::numbered(lines).expect("one operation open a process")
}

pub fn sets(rng: &mut StdRng) -> History {
    let wild = rng.random_bool(0.5);
    let next = |rng: &mut StdRng, n: u64| match rng.random_range(0..10) {
        0..5 => Op::invoke(0, "add").value(n % 6),
        5 => Op::invoke(0, "remove").value(rng.random_range(0..6)),
        _ => Op::invoke(0, "read"),
    };
    let answer = |rng: &mut StdRng, lines: &[Op], _: &Op| -> Value {
        let begun = |op: &&Op| op.f == "add" && op.kind == Kind::Invoke;
        let failed = |value: &Value| {
            lines.iter().any(|op| op.kind == Kind::Fail && op.value.as_ref() == Some(value))
        };
        let added = lines.iter().filter(begun).filter_map(|op| op.value.clone());
        let mut all: Vec<Value> = added.filter(|value| wild || !failed(value)).collect();
        all.sort_by_key(|value| value.as_u64());
        all.dedup();
        if wild {
            all.retain(|_| rng.random_bool(0.8));
            if rng.random_bool(0.03) {
                all.push(json!(77));
            }
        }
        all.into()
    };
    overlapping(rng, 16, next, answer)
}

/// Read against element, as set-full defines them.
pub fn set_holds(rules: &SetFull, history: &History) -> bool {
    let of = |f: &str| history.pairs().filter(|pair| pair.f() == f).collect::<Vec<_>>();
    let (adds, removes) = (of("add"), of("remove"));
    let mut reads = of("read");
    reads.retain(|read| read.outcome() == Outcome::Ok);
    let shows = |read: &Pair<'_>, value: &Value| {
        let all = read.result().and_then(Value::as_array).expect("reads return lists");
        all.iter().filter(|shown| *shown == value).count()
    };
    let ended = |pair: &Pair<'_>| pair.acknowledged_at().expect("it is ok");
    let explained = reads.iter().all(|read| {
        read.result().and_then(Value::as_array).expect("a list").iter().all(|value| {
            let mut possible = adds.iter().filter(|add| add.outcome() != Outcome::Fail);
            shows(read, value) == 1
                && possible.any(|add| {
                    add.invoke.value.as_ref() == Some(value) && add.invoke.time <= ended(read)
                })
        })
    });
    let kept = adds.iter().filter(|add| add.outcome() == Outcome::Ok).all(|add| {
        let value = add.invoke.value.as_ref().expect("adds have values");
        let shown = reads.iter().filter(|read| shows(read, value) > 0).map(&ended).min();
        let acked = adds.iter().filter(|other| other.invoke.value.as_ref() == Some(value));
        let acked = acked.filter_map(Pair::acknowledged_at).min().expect("this one");
        let known = shown.map_or(acked, |shown| shown.min(acked));
        let excused = |read: &Pair<'_>| {
            removes.iter().any(|remove| {
                remove.invoke.value.as_ref() == Some(value)
                    && remove.outcome() != Outcome::Fail
                    && remove.invoke.time <= ended(read)
            })
        };
        let stale =
            |read: &Pair<'_>| shows(read, value) == 0 && read.invoke.time > known && !excused(read);
        let last_without = reads.iter().rev().find(|read| shows(read, value) == 0);
        let lost = reads.last().is_some_and(stale);
        let late = rules.linearizable && last_without.is_some_and(stale);
        !lost && !late
    });
    explained && kept
}

pub fn counters(rng: &mut StdRng) -> History {
    let next = |rng: &mut StdRng, _: u64| match rng.random_range(0..5) {
        0 => Op::invoke(0, "read"),
        1 => Op::invoke(0, "dec"),
        _ => Op::invoke(0, "add").value(rng.random_range(-1..3)),
    };
    let off = rng.random_range(0..2);
    let answer = |rng: &mut StdRng, lines: &[Op], _: &Op| -> Value {
        let sure = lines.iter().filter(|op| op.kind == Kind::Ok && op.f != "read");
        let sum: i64 =
            sure.map(|op| op.value.as_ref().map_or(-1, |v| v.as_i64().expect("n"))).sum();
        (sum + if off > 0 { rng.random_range(-4..5) } else { 0 }).into()
    };
    overlapping(rng, 14, next, answer)
}

/// Is each read the sum of all sure adds and of some possible ones, at the least and the most?
pub fn counter_holds(_: &CounterBounds, history: &History) -> bool {
    let amount =
        |pair: &Pair<'_>| pair.invoke.value.as_ref().map_or(-1, |v| v.as_i64().expect("n"));
    let adds: Vec<Pair<'_>> = history.pairs().filter(|pair| pair.f() != "read").collect();
    let reads = history.pairs().filter(|pair| pair.f() == "read");
    reads.filter(|read| read.outcome() == Outcome::Ok).all(|read| {
        let value = read.result().and_then(Value::as_i64).expect("reads return numbers");
        let (mut sure, mut possible) = (0, Vec::new());
        for add in adds.iter().filter(|add| add.outcome() != Outcome::Fail) {
            if add.acknowledged_at().is_some_and(|at| at < read.invoke.time) {
                sure += amount(add);
            } else if add.invoke.time <= read.acknowledged_at().expect("it is ok") {
                possible.push(amount(add));
            }
        }
        let sums: Vec<i64> = super::fuzz::subsets(possible.len())
            .map(|some| {
                let chosen = (0..possible.len()).filter(|at| some >> at & 1 == 1);
                sure + chosen.map(|at| possible[at]).sum::<i64>()
            })
            .collect();
        let (least, most) = (sums.iter().min(), sums.iter().max());
        least.is_some_and(|least| value >= *least) && most.is_some_and(|most| value <= *most)
    })
}

pub fn registers(rng: &mut StdRng) -> History {
    let next = |rng: &mut StdRng, n: u64| match rng.random_range(0..2) {
        0 => Op::invoke(0, "write").value(n),
        _ => Op::invoke(0, "read"),
    };
    let answer = |rng: &mut StdRng, lines: &[Op], _: &Op| -> Value {
        let failed = |value: &Value| {
            lines.iter().any(|op| op.kind == Kind::Fail && op.value.as_ref() == Some(value))
        };
        let begun = lines.iter().filter(|op| op.f == "write" && op.kind == Kind::Invoke);
        let values: Vec<Value> =
            begun.filter_map(|op| op.value.clone()).filter(|value| !failed(value)).collect();
        let back = *[0, 1, 1, 2, 3].choose(rng).expect("not empty");
        values.iter().rev().nth(back).cloned().unwrap_or(Value::Null)
    };
    let mut history = overlapping(rng, 12, next, answer);
    // A value read whose write fails afterwards is another matter: only times are tested here.
    while history.pairs().any(|pair| pair.f() == "write" && pair.outcome() == Outcome::Fail) {
        history = overlapping(rng, 12, next, answer);
    }
    history
}

/// Is there an order of all operations, each within its time, with reads begun `shift` earlier?
pub fn linearizable(history: &History, shift: u64) -> bool {
    struct Call {
        begun: i128,
        ended: i128,
        value: Value,
        is_write: bool,
        optional: bool,
    }
    let calls: Vec<Call> = history
        .pairs()
        .filter(|pair| pair.f() == "write" || pair.outcome() == Outcome::Ok)
        .map(|pair| {
            let is_write = pair.f() == "write";
            let begun = i128::from(pair.invoke.time) - if is_write { 0 } else { shift.into() };
            let value = if is_write { pair.invoke.value.clone() } else { pair.result().cloned() };
            Call {
                begun,
                ended: pair.acknowledged_at().map_or(i128::MAX, i128::from),
                value: value.expect("every call has one"),
                is_write,
                optional: pair.outcome() != Outcome::Ok,
            }
        })
        .collect();
    fn search(calls: &[Call], done: u32, value: &Value, dead: &mut Vec<(u32, Value)>) -> bool {
        let left = (0..calls.len()).filter(|at| done >> at & 1 == 0);
        let left: Vec<usize> = left.collect();
        if left.iter().all(|&at| calls[at].optional) {
            return true;
        }
        if dead.contains(&(done, value.clone())) {
            return false;
        }
        let first_end = left.iter().map(|&at| calls[at].ended).min().expect("some are left");
        for at in left {
            let call = &calls[at];
            if call.begun > first_end || !call.is_write && &call.value != value {
                continue;
            }
            if search(calls, done | 1 << at, &call.value, dead) {
                return true;
            }
        }
        dead.push((done, value.clone()));
        false
    }
    search(&calls, 0, &Value::Null, &mut Vec::new())
}
