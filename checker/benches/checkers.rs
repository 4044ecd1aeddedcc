//! The sibling and causal rows of the speed table: `cargo bench -p checker --bench checkers`.
//!
//! Each row is one check of one large history, timed alone; building the history is not counted.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Instant;

use checker::budget::{Budget, resident_bytes};
use checker::causal::Causal;
use checker::history::History;
use checker::op::{Kind, Op};
use checker::sessions::Sessions;
use checker::siblings::Siblings;
use checker::verdict::{CheckReport, Checker};
use rand::prelude::*;
use serde_json::Value;

fn main() {
    let siblings = siblings(1_000_000, 10_000, 100);
    row("siblings, 1 M puts and gets, 10 k keys", &Siblings::default(), &siblings);
    row("siblings strict, the same", &Siblings::strict(), &siblings);
    drop(siblings);
    let registers = registers(100_000, 300, 100);
    row("causal, 100 k events, 300 sessions", &Causal::default(), &registers);
    row("sessions, the same", &Sessions, &registers);
}

fn row(name: &str, checker: &dyn Checker, history: &History) {
    let started = Instant::now();
    let CheckReport { verdict, reason, .. } = checker.check(history, &Budget::UNLIMITED);
    let took = started.elapsed().as_secs_f64();
    let held = resident_bytes().unwrap_or(0) >> 20;
    let reason = reason.unwrap_or_default();
    println!("{name:45} {verdict:8} {took:8.3} s  {held} MiB held, history included  {reason}");
}

/// A store that keeps siblings, on one replica: get, then put with its context or the one before.
fn siblings(ops: usize, keys: usize, processes: u64) -> History {
    let mut rng = StdRng::seed_from_u64(1);
    let mut lines: Vec<Op> = Vec::with_capacity(2 * ops + 4 * keys);
    let mut held: Vec<Vec<u64>> = vec![Vec::new(); keys];
    let mut last: Vec<(u64, Vec<u64>)> = vec![(0, Vec::new()); keys];
    let mut push = |op: Op| {
        let index = lines.len() as u64;
        lines.push(Op { index, ..op.at(index) });
        index
    };
    let name = |key: usize| format!("k{key}");
    for step in 0..ops / 2 {
        let key = rng.random_range(0..keys);
        let process = step as u64 % processes;
        let get = Op::invoke(process, "get").key(name(key));
        push(get.clone());
        let seen = held[key].clone();
        let got = push(get.completed(Kind::Ok).value(seen.clone()));
        // Now and then the put comes from someone who had read before.
        let stale = last[key].0 > 0 && rng.random_bool(0.2);
        let (context, covers) = if stale { last[key].clone() } else { (got, seen.clone()) };
        let value = step as u64;
        let put = Op::invoke(process, "put").key(name(key)).value(value).context(context);
        push(put.clone());
        push(put.completed(Kind::Ok));
        held[key].retain(|version| !covers.contains(version));
        held[key].push(value);
        last[key] = (got, seen);
    }
    for (key, held) in held.iter().enumerate() {
        let get = Op::invoke(0, "get").key(name(key)).finally();
        push(get.clone());
        push(get.completed(Kind::Ok).value(held.clone()));
    }
    History::numbered(lines).expect("one op after the other")
}

/// Registers that are read and written in turn by many sessions.
fn registers(events: usize, sessions: u64, keys: usize) -> History {
    let mut rng = StdRng::seed_from_u64(2);
    let mut held: Vec<Value> = vec![Value::Null; keys];
    let mut lines = Vec::with_capacity(2 * events);
    for event in 0..events {
        let key = rng.random_range(0..keys);
        let session = rng.random_range(0..sessions);
        let op = |f| Op::invoke(session, f).key(format!("k{key}"));
        let (invoke, result) = if rng.random_bool(0.5) {
            held[key] = event.into();
            (op("write").value(event), None)
        } else {
            (op("read"), Some(held[key].clone()))
        };
        let mut done = invoke.completed(Kind::Ok);
        done.value = result.or(done.value);
        lines.extend([invoke, done]);
    }
    History::numbered(lines).expect("one op after the other")
}
