//! The sibling and causal rows.

use checker::budget::Budget;
use checker::causal::Causal;
use checker::formats::compact;
use checker::history::History;
use checker::history::op::{Kind, Op};
use checker::sessions::Sessions;
use checker::siblings::Siblings;
use checker::siblings::stream::check_siblings;
use checker::verdict::{Checker, Verdict};
use rand::prelude::*;
use serde_json::Value;

use crate::{Measured, OnDisk, made_by_parent, timed};

/// Of one check of one history in memory; its making is not counted.
fn held(checker: &dyn Checker, history: &History, runs: usize) -> Measured {
    let times = timed(runs, || {
        let report = checker.check(history, &Budget::UNLIMITED);
        assert_eq!(report.verdict(), Verdict::Valid, "{report:?}");
    });
    Measured { times, peak: None, note: "history in memory included".to_owned() }
}

pub(crate) fn causal() -> Measured {
    held(&Causal::default(), &registers(100_000, 300, 100), 5)
}

pub(crate) fn sessions() -> Measured {
    held(&Sessions, &registers(100_000, 300, 100), 3)
}

pub(crate) fn siblings_held() -> Measured {
    let history = History::numbered(puts_and_gets(1_000_000, 10_000, 100));
    held(&Siblings::default(), &history.expect("one op after the other"), 3)
}

pub(crate) fn siblings() -> Measured {
    from_file(&Siblings::default())
}

pub(crate) fn siblings_strict() -> Measured {
    from_file(&Siblings::strict())
}

fn from_file(rules: &Siblings) -> Measured {
    let path = made_by_parent(|| {
        let (on_disk, file) = OnDisk::create(false);
        let mut writer = compact::Writer::new(file).expect("room for a history");
        for op in puts_and_gets(1_000_000, 10_000, 100) {
            writer.append(&op).expect("room for a history");
        }
        writer.finish().expect("room for a history");
        on_disk
    });
    let mut verdict = Verdict::Unknown;
    let times = timed(5, || {
        let open = std::fs::File::open(&path).expect("it is there");
        let report = check_siblings(open, rules, &mut Budget::UNLIMITED.start());
        verdict = report.expect("a sound file").expect("nothing to find").verdict();
    });
    assert_eq!(verdict, Verdict::Valid);
    let bytes = std::fs::metadata(&path).map_or(0, |data| data.len());
    let note = format!("decode and check of {:.1} MB on disk", bytes as f64 / 1e6);
    Measured { times, peak: None, note }
}

/// A store that keeps siblings, on one replica: get, then put with its context or the one before.
fn puts_and_gets(ops: usize, keys: usize, processes: u64) -> Vec<Op> {
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
    lines
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
