//! The compact form holds what JSON lines hold, and hostile bytes end in an error.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use checker::budget::Budget;
use checker::formats::compact::{self, CompactError, Layout, Writer};
use checker::generate::{SPECS, Settings, generate};
use checker::history::History;
use checker::history::op::{Kind, Op, Process};
use checker::linearizable::stream::check_registers;
use checker::linearizable::{Linearizable, named};
use checker::siblings::Siblings;
use checker::siblings::stream::check_siblings;
use checker::spec::Register;
use checker::verdict::{Checker, Verdict};
use common::sibling_oracle;
use common::store::{Bug, Setup, run};
use rand::prelude::*;
use serde_json::{Value, json};

fn packed(ops: &[Op]) -> Vec<u8> {
    packed_as(Layout::default(), ops)
}

fn packed_as(layout: Layout, ops: &[Op]) -> Vec<u8> {
    let mut writer = Writer::with_layout(Vec::new(), layout).unwrap();
    ops.iter().for_each(|op| writer.append(op).unwrap());
    writer.finish().unwrap()
}

/// A state after every few rows.
const IN_PIECES: Layout = Layout { block: 40, apart: 60, share: 0 };

/// Where the payloads of the blocks of a file are, and whether they are states.
fn blocks(bytes: &[u8]) -> Vec<(std::ops::Range<usize>, bool)> {
    let mut blocks = Vec::new();
    let mut at = 9;
    loop {
        let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        if length == 0 {
            break blocks;
        }
        let payload = at + 8..at + 8 + (length & !(1 << 31)) as usize;
        at = payload.end;
        blocks.push((payload, length >> 31 == 1));
    }
}

/// The same bytes with another payload in a block, and its checksum.
fn with_sum(mut bytes: Vec<u8>, block: std::ops::Range<usize>) -> Vec<u8> {
    let sum = crc32c::crc32c(&bytes[block.clone()]);
    bytes[block.start - 4..block.start].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn unpacked(bytes: &[u8]) -> Result<History, CompactError> {
    compact::read(bytes, &mut Budget::UNLIMITED.start())
}

fn generated(settings: &Settings) -> Vec<Op> {
    let mut ops = Vec::new();
    generate(settings, |op| {
        ops.push(op.clone());
        Ok(())
    })
    .unwrap();
    ops
}

#[test]
fn generated_histories_survive_a_round_trip() {
    for spec in SPECS {
        let settings = Settings {
            spec: spec.to_owned(),
            ops: 5000,
            keys: 3,
            indeterminate: 0.02,
            ..Settings::default()
        };
        let ops = generated(&settings);
        assert_eq!(unpacked(&packed(&ops)).unwrap().ops(), ops, "{spec}");
    }
}

/// A sound history with every field there is, present or not, in every place.
fn anything(rng: &mut StdRng) -> Vec<Op> {
    let mut ops: Vec<Op> = Vec::new();
    let mut open: Vec<Op> = Vec::new();
    let (mut time, mut next) = (0, 0);
    for _ in 0..rng.random_range(0..60) {
        time += [0, 1, 1000, 1 << 40][rng.random_range(0..4)];
        let mut op = if rng.random_bool(0.1) {
            Op::new(Process::Nemesis, Kind::Info, "kill")
        } else if open.is_empty() || rng.random_bool(0.5) {
            next += [1, 1 << 50][rng.random_range(0..2)];
            Op::invoke(next, ["get", "put", "other"][rng.random_range(0..3)])
        } else {
            let begun = open.swap_remove(rng.random_range(0..open.len()));
            begun.completed([Kind::Ok, Kind::Fail, Kind::Info][rng.random_range(0..3)])
        };
        let begins = op.kind == Kind::Invoke;
        let put_ends = op.f == "put" && op.kind == Kind::Ok;
        if begins && rng.random_bool(0.8) {
            op.key = Some(["a", "b", ""][rng.random_range(0..3)].into());
        }
        if begins && rng.random_bool(0.2) {
            op.context = Some(rng.random_range(0..100));
        }
        if !put_ends && rng.random_bool(0.5) {
            op.value = Some(value(rng));
        }
        if rng.random_bool(0.2) {
            op.error = Some(["timed out", "\u{e9}"][rng.random_range(0..2)].into());
        }
        if rng.random_bool(0.3) {
            op.node = Some(["n1", "n2"][rng.random_range(0..2)].into());
        }
        if !begins && rng.random_bool(0.2) {
            // A completion need not repeat them.
            op.key = None;
            op.context = None;
        }
        op.is_final = rng.random_bool(0.1);
        if rng.random_bool(0.1) {
            op.extra = Some(Box::new([("zone".to_owned(), value(rng))].into_iter().collect()));
        }
        op.time = time;
        op.index = ops.len() as u64;
        if begins {
            open.push(op.clone());
        }
        ops.push(op);
    }
    ops
}

fn value(rng: &mut StdRng) -> Value {
    match rng.random_range(0..8) {
        0 => Value::Null,
        1 => json!(i64::MIN),
        2 => json!(u64::MAX),
        3 => json!((1_i64 << 60) - 1),
        4 => json!(-(1_i64 << 60)),
        5 => json!(["x", { "y": 1.5 }]),
        6 => json!("text \u{1F600}"),
        _ => json!(rng.random_range(-3..3)),
    }
}

#[test]
fn every_field_survives_a_round_trip() {
    for seed in 0..3000 {
        let ops = anything(&mut StdRng::seed_from_u64(seed));
        for layout in [Layout::default(), IN_PIECES] {
            let bytes = packed_as(layout, &ops);
            let history = unpacked(&bytes).unwrap_or_else(|error| panic!("{seed}: {error}"));
            assert_eq!(history.ops(), ops, "seed {seed}");
        }
    }
}

#[test]
fn integers_in_any_order_are_told_apart() {
    for seed in 0..300 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut next = 0;
        let mut ops = Vec::new();
        for time in 0..rng.random_range(1..200) {
            // Onwards by one, ahead, back, and what was there before.
            next += [1, 1, 1, 5, -7, -1][rng.random_range(0..6)];
            let key = ["a", "b"][rng.random_range(0..2)];
            let write = Op::invoke(time, "write").key(key).value(next).at(time);
            ops.push(Op { index: time, ..write });
        }
        let history = unpacked(&packed(&ops)).unwrap();
        assert_eq!(history.ops(), ops, "seed {seed}");
    }
}

#[test]
fn what_is_cut_short_is_read_as_far_as_it_goes() {
    let ops = generated(&Settings { ops: 30_000, ..Settings::default() });
    let bytes = packed(&ops);
    for share in [0.3, 0.6, 0.999] {
        let cut = (bytes.len() as f64 * share) as usize;
        let history = unpacked(&bytes[..cut]).unwrap();
        assert!(history.torn().is_some());
        assert_eq!(history.ops(), &ops[..history.len()]);
    }
    for cut in 0..9 {
        assert!(matches!(unpacked(&bytes[..cut]), Err(CompactError::Other)), "{cut}");
    }
    assert!(unpacked(&bytes).unwrap().torn().is_none());
}

#[test]
fn any_damage_is_seen() {
    let ops = generated(&Settings { ops: 300, indeterminate: 0.1, ..Settings::default() });
    let bytes = packed(&ops);
    let mut rng = StdRng::seed_from_u64(3);
    for _ in 0..2000 {
        let mut damaged = bytes.clone();
        let at = rng.random_range(0..damaged.len());
        damaged[at] ^= 1 << rng.random_range(0..8);
        match unpacked(&damaged) {
            Err(_) => {}
            // A length that grew past the end is as if the file were cut short there.
            Ok(history) => assert!(history.torn().is_some(), "byte {at}"),
        }
    }
}

/// Blocks with a right checksum and nonsense in them.
#[test]
fn nonsense_ends_in_an_error() {
    let ops = generated(&Settings { ops: 100, ..Settings::default() });
    let bytes = packed(&ops);
    let mut rng = StdRng::seed_from_u64(5);
    let mut errors = 0;
    for _ in 0..20_000 {
        let mut damaged = bytes.clone();
        let end = damaged.len() - 16;
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(17..end);
            damaged[at] = rng.random();
        }
        let sum = crc32c::crc32c(&damaged[17..end]);
        damaged[13..17].copy_from_slice(&sum.to_le_bytes());
        errors += u32::from(unpacked(&damaged).is_err());
        let _ = check_registers(|| Ok(damaged.as_slice()), &mut Budget::UNLIMITED.start());
    }
    assert!(errors > 10_000, "{errors}");
}

#[test]
fn a_state_that_is_not_what_the_rows_lead_to_is_seen() {
    let settings = Settings { ops: 60, keys: 3, indeterminate: 0.2, ..Settings::default() };
    let bytes = packed_as(IN_PIECES, &generated(&settings));
    let states: Vec<_> = blocks(&bytes).into_iter().filter(|(_, is_state)| *is_state).collect();
    assert!(states.len() > 3, "{}", states.len());
    for (state, _) in states {
        for at in state.clone() {
            for change in [1, 2, 0x80] {
                let mut other = bytes.clone();
                other[at] ^= change;
                let other = with_sum(other, state.clone());
                let error = unpacked(&other).unwrap_err();
                assert!(matches!(error, CompactError::Damaged { .. }), "byte {at}: {error}");
                // Whoever begins there may be led beyond the check before the lie is found out.
                let mut meter = Budget::UNLIMITED.start();
                match check_registers(|| Ok(other.as_slice()), &mut meter) {
                    Err(CompactError::Damaged { .. }) | Ok(None) => {}
                    told => panic!("byte {at}: {told:?}"),
                }
            }
        }
    }
}

#[test]
fn pieces_that_are_cut_short_or_nonsense_are_left_to_the_ordinary_way() {
    let settings = Settings { ops: 60, keys: 3, indeterminate: 0.2, ..Settings::default() };
    let bytes = packed_as(IN_PIECES, &generated(&settings));
    let check = |bytes: &[u8]| check_registers(|| Ok(bytes), &mut Budget::UNLIMITED.start());
    assert_eq!(check(&bytes).unwrap().unwrap().verdict(), Verdict::Valid);
    for cut in 9..bytes.len() {
        assert!(check(&bytes[..cut]).unwrap().is_none(), "{cut}");
    }
    for (rows, _) in blocks(&bytes).into_iter().filter(|(_, is_state)| !is_state) {
        for at in rows.clone() {
            let mut other = bytes.clone();
            other[at] ^= 0x15;
            // It is another history then, or none.
            let other = with_sum(other, rows.clone());
            if let (Ok(Some(report)), Ok(history)) = (check(&other), unpacked(&other)) {
                let whole = Linearizable::new(Register::default());
                let whole = whole.check(&history, &Budget::UNLIMITED);
                assert_eq!(report.verdict(), whole.verdict(), "byte {at}");
            }
        }
    }
}

#[test]
fn a_large_file_without_states_is_read_piece_by_piece_too() {
    let mut ops = Vec::new();
    for time in 0..100 {
        let value = format!("{time}{}", "x".repeat(100_000));
        let write = Op::invoke(time % 7, "write").value(value).at(2 * time);
        ops.push(write.clone());
        ops.push(write.completed(Kind::Ok).at(2 * time + 1));
    }
    let stale = Op::invoke(3, "read").at(300);
    let value = ops[0].value.clone().unwrap();
    ops.extend([stale.clone(), stale.completed(Kind::Ok).value(value).at(301)]);
    let never = Layout { apart: usize::MAX, ..Layout::default() };
    for layout in [never, Layout::default()] {
        let bytes = packed_as(layout, &ops);
        let checked = check_registers(|| Ok(bytes.as_slice()), &mut Budget::UNLIMITED.start());
        let report = checked.unwrap().unwrap();
        assert_eq!((report.verdict(), report.witness().len()), (Verdict::Invalid, 3), "{layout:?}");
    }
}

#[test]
fn another_version_and_another_file_are_named() {
    let mut bytes = packed(&[]);
    assert!(compact::is_compact(&bytes));
    assert_eq!(unpacked(&bytes).unwrap().len(), 0);
    bytes[8] = 9;
    let error = unpacked(&bytes).unwrap_err().to_string();
    assert!(error.contains("version 9"), "{error}");
    assert!(matches!(unpacked(b"{\"index\":0}\n"), Err(CompactError::Other)));
}

#[test]
fn a_value_repeated_without_end_stays_within_the_budget() {
    let large = Op::invoke(0, "put").value("x".repeat(100_000));
    let mut writer = Writer::new(Vec::new()).unwrap();
    writer.append(&large).unwrap();
    for process in 1..20_000 {
        writer.append(&Op { process: Process::Client(process), ..large.clone() }).unwrap();
    }
    let bytes = writer.finish().unwrap();
    assert!(bytes.len() < 400_000, "{} bytes stand for 2 GB", bytes.len());
    let held = checker::budget::resident_bytes().unwrap();
    let budget = Budget { time: None, memory: Some(held + (200 << 20)) };
    let error = compact::read(bytes.as_slice(), &mut budget.start()).unwrap_err();
    assert!(matches!(error, CompactError::Budget { .. }), "{error}");
}

#[test]
fn registers_are_judged_from_the_stream_as_from_the_history() {
    let (mut valid, mut invalid, mut refused) = (0, 0, 0);
    for seed in 0..600 {
        let settings = Settings {
            ops: 60,
            keys: 1 + (seed % 3) as u32,
            values: [0, 0, 0, 50][seed as usize % 4],
            violations: seed / 2 % 2,
            indeterminate: [0.0, 0.1][seed as usize % 2],
            seed,
            ..Settings::default()
        };
        let ops = generated(&settings);
        let bytes = packed_as([Layout::default(), IN_PIECES][seed as usize / 8 % 2], &ops);
        let streamed =
            check_registers(|| Ok(bytes.as_slice()), &mut Budget::UNLIMITED.start()).unwrap();
        let Some(streamed) = streamed else {
            refused += 1;
            continue;
        };
        let history = History::from_ops(ops).unwrap();
        let whole = Linearizable::new(Register::default()).check(&history, &Budget::UNLIMITED);
        assert_eq!(streamed.verdict(), whole.verdict(), "seed {seed}");
        assert_eq!(streamed.details["calls"], history.pairs().count(), "seed {seed}");
        match streamed.verdict() {
            Verdict::Invalid => {
                // Two ends of each of two zones, and the writes of the two values.
                assert!((1..=6).contains(&streamed.witness().len()), "{streamed:?}");
                assert_eq!(streamed.reason, whole.reason, "seed {seed}");
                invalid += 1;
            }
            _ => valid += 1,
        }
    }
    println!("{valid} valid, {invalid} invalid, {refused} refused");
    assert!(valid > 100 && invalid > 100 && refused > 10);
}

#[test]
fn registers_are_judged_piece_by_piece_and_witnesses_read_from_the_middle() {
    let (mut valid, mut invalid) = (0, 0);
    for seed in 0..8 {
        let settings = Settings {
            ops: 100_000,
            keys: [1, 70][seed as usize / 4],
            processes: 20,
            violations: seed % 2,
            indeterminate: [0.0, 0.01][seed as usize / 2 % 2],
            seed,
            ..Settings::default()
        };
        let ops = generated(&settings);
        let bytes = packed(&ops);
        let checked = check_registers(|| Ok(bytes.as_slice()), &mut Budget::UNLIMITED.start());
        let streamed = checked.unwrap().unwrap();
        let history = History::from_ops(ops).unwrap();
        let whole = Linearizable::new(Register::default()).check(&history, &Budget::UNLIMITED);
        assert_eq!(
            (streamed.verdict(), &streamed.reason),
            (whole.verdict(), &whole.reason),
            "{seed}"
        );
        assert_eq!(streamed.witness(), whole.witness(), "{seed}");
        assert_eq!(streamed.details["calls"], history.pairs().count(), "{seed}");
        match streamed.verdict() {
            Verdict::Valid => valid += 1,
            Verdict::Invalid => invalid += 1,
            Verdict::Unknown => {}
        }
    }
    assert_eq!((valid, invalid), (4, 4));
}

#[test]
fn failed_writes_and_strange_histories_are_told_apart_from_the_stream() {
    let write = Op::invoke(0, "write").value(1);
    let again = Op::invoke(2, "write").value(1).at(2);
    let read = Op::invoke(1, "read").at(4);
    let ops = |ops: &[Op]| packed(ops);
    let check = |bytes: &[u8]| {
        check_registers(|| Ok(bytes), &mut Budget::UNLIMITED.start()).unwrap().map(|r| r.verdict())
    };
    let failed = [write.clone(), write.completed(Kind::Fail).at(1)];
    let seen = [read.clone(), read.completed(Kind::Ok).value(1).at(5)];
    let retried = [again.clone(), again.completed(Kind::Ok).at(3)];
    assert_eq!(check(&ops(&[&failed[..], &seen].concat())), Some(Verdict::Invalid));
    assert_eq!(check(&ops(&[&failed[..], &retried, &seen].concat())), Some(Verdict::Valid));
    // A write that is done wrote what it began with, whatever its completion says.
    let nothing = [read.clone(), read.completed(Kind::Ok).value(Value::Null).at(5)];
    for done in [write.completed(Kind::Ok), write.completed(Kind::Ok).value(Value::Null)] {
        let done = [write.clone(), done.at(1)];
        assert_eq!(check(&ops(&[&done[..], &seen].concat())), Some(Verdict::Valid));
        assert_eq!(check(&ops(&[&done[..], &nothing].concat())), Some(Verdict::Invalid));
    }
    let mut unsaid = write.completed(Kind::Ok).at(1);
    unsaid.value = None;
    assert_eq!(
        check(&ops(&[&[write.clone(), unsaid][..], &nothing].concat())),
        Some(Verdict::Invalid)
    );
    // What the nemesis does is nothing to a register.
    let kill = Op::new(Process::Nemesis, Kind::Info, "kill").key("n1").at(3);
    let retried_too = [&failed[..], &retried, std::slice::from_ref(&kill), &seen].concat();
    assert_eq!(check(&ops(&retried_too)), Some(Verdict::Valid));
    // What ends by another name than it began by is for a closer look.
    let renamed = [write.clone(), Op { f: "read".into(), ..write.completed(Kind::Ok).at(1) }];
    assert_eq!(check(&ops(&renamed)), None);
    // Two invocations of one process, which no sound history has.
    assert_eq!(check(&ops(&[write.clone(), write.clone()])), None);
    let report = named("register").unwrap();
    let history = History::numbered([&failed[..], &seen].concat()).unwrap();
    let report = report.check(&history, &Budget::UNLIMITED);
    assert!(report.reason.unwrap().contains("only the failed op #1 wrote"));
}

#[test]
fn siblings_are_judged_from_the_stream_as_from_the_history() {
    let mut counts = [0; 4];
    let bugs = [Bug::None, Bug::None, Bug::DropSibling, Bug::FailedAppears];
    for seed in 0..3000 {
        let mut rng = StdRng::seed_from_u64(seed);
        let converged = rng.random();
        let rules = Siblings { converged, strict: rng.random(), sessions: rng.random() };
        let history = if seed % 10 == 0 {
            let bug = bugs[seed as usize / 10 % bugs.len()];
            run(Setup { bug, seed, deletes: rng.random(), steps: 60, info: 20, ..Setup::default() })
        } else {
            sibling_oracle::generate(&mut rng)
        };
        let bytes = packed(history.ops());
        let streamed = check_siblings(bytes.as_slice(), &rules, &mut Budget::UNLIMITED.start());
        let whole = rules.check(&history, &Budget::UNLIMITED);
        match streamed.unwrap() {
            Some(mut streamed) => {
                assert_eq!(streamed.verdict(), whole.verdict(), "seed {seed}: {whole:?}");
                assert_eq!(streamed.details.remove("lines"), Some(json!(history.len())));
                assert_eq!(streamed, whole, "seed {seed}");
                counts[whole.verdict() as usize] += 1;
            }
            None => {
                // What is wrong must be told in words; nothing else is beyond the stream here.
                assert_eq!(whole.verdict(), Verdict::Invalid, "seed {seed}: {whole:?}");
                counts[3] += 1;
            }
        }
    }
    println!("valid, invalid, unknown, left to the ordinary way: {counts:?}");
    assert!(counts[Verdict::Valid as usize] > 300 && counts[3] > 300, "{counts:?}");
    assert_eq!(counts[Verdict::Invalid as usize], 0);
}

#[test]
fn what_is_no_sound_history_of_siblings_is_left_to_the_ordinary_way() {
    let put = |process, value: i64| Op::invoke(process, "put").key("k").value(value);
    let get = Op::invoke(9, "get").key("k");
    let check = |ops: &[Op]| {
        let bytes = packed(ops);
        let checked = check_siblings(&*bytes, &Siblings::default(), &mut Budget::UNLIMITED.start());
        checked.unwrap().map(|report| report.verdict())
    };
    let done = |op: &Op| [op.clone(), op.completed(Kind::Ok)];
    let got = |value: Value| {
        [get.clone().finally(), get.clone().finally().completed(Kind::Ok).value(value)]
    };
    let sound = [&done(&put(0, 1))[..], &got(json!([1]))].concat();
    assert_eq!(check(&sound), Some(Verdict::Valid));
    for ops in [
        // A value written twice, a context from nowhere, a list that is none, a value from nowhere.
        [&done(&put(0, 1))[..], &done(&put(1, 1)), &got(json!([1]))].concat(),
        [&done(&put(0, 1).context(7))[..], &got(json!([1]))].concat(),
        [&done(&put(0, 1))[..], &got(json!(1))].concat(),
        [&done(&put(0, 1))[..], &got(json!([2]))].concat(),
        [&done(&put(0, 1))[..], &got(json!([1, 1]))].concat(),
        // Another operation writes what a get returns.
        [&done(&Op::invoke(3, "other").key("k").value(2))[..], &got(json!([2]))].concat(),
    ] {
        assert_eq!(check(&ops), None, "{ops:?}");
    }
}
