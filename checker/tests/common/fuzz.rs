//! Checkers against oracles that try everything, on random small histories.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use checker::budget::Budget;
use checker::history::History;
use checker::history::op::{Kind, Process};
use checker::verdict::{Checker, Verdict};
use rand::prelude::*;

/// How many histories a fuzz looks at: few by default, as many as `FUZZ_HISTORIES` says.
pub fn histories() -> u64 {
    let asked = std::env::var("FUZZ_HISTORIES").ok();
    asked.map_or(20_000, |asked| asked.parse().expect("FUZZ_HISTORIES is a number"))
}

/// Compares checker and oracle, prints the counts, and demands that neither answer is rare.
pub fn agree<C: Checker>(
    name: &str,
    checker: impl Fn(&mut StdRng) -> C + Sync,
    generate: impl Fn(&mut StdRng) -> History + Sync,
    oracle: impl Fn(&C, &History) -> bool + Sync,
) {
    let (valid, invalid, next) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let base: u64 = std::env::var("FUZZ_SEED").map_or(0, |seed| seed.parse().expect("a number"));
    let threads = if histories() > 100_000 { 2 } else { 1 };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= histories() {
                        break;
                    }
                    let mut rng = StdRng::seed_from_u64(base.wrapping_add(seed));
                    let checker = checker(&mut rng);
                    let history = generate(&mut rng);
                    let expected = oracle(&checker, &history);
                    let report = checker.check(&history, &Budget::UNLIMITED);
                    for silent in silent(&history) {
                        let silent_report = checker.check(&silent, &Budget::UNLIMITED);
                        let verdict = silent_report.verdict();
                        assert_ne!(
                            verdict,
                            Verdict::Valid,
                            "{name}, seed {seed}: {silent_report:?}"
                        );
                    }
                    let found = match report.verdict() {
                        Verdict::Valid => true,
                        Verdict::Invalid => false,
                        // Nothing to judge: the oracle agrees with anything. Or a clock too coarse
                        // to tell, which may hide a violation.
                        Verdict::Unknown => {
                            let reason = report.reason.as_deref().unwrap_or_default();
                            let coarse = reason.contains("too coarse");
                            assert!(expected || coarse, "{name}, seed {seed}: unknown: {reason}");
                            continue;
                        }
                    };
                    if found != expected {
                        let lines: Vec<String> = history
                            .iter()
                            .map(|op| serde_json::to_string(op).expect("an op is plain data"))
                            .collect();
                        panic!(
                            "{name}, seed {seed}: the oracle says {expected}, the checker \
                             {report:?}\n{}",
                            lines.join("\n")
                        );
                    }
                    let count = if found { &valid } else { &invalid };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let (valid, invalid) = (valid.into_inner(), invalid.into_inner());
    println!("{name}: {valid} valid, {invalid} invalid, 0 disagreements");
    let rare = (valid + invalid) * 3 / 10;
    assert!(valid >= rare && invalid >= rare, "{name}: one answer is too rare to be tested");
}

/// The history as it would be if nothing had been answered: all refused, and all indeterminate. There
/// is nothing to judge in it, whatever the checker.
fn silent(history: &History) -> [History; 2] {
    let all = |kind: Kind| {
        let mut ops = history.ops().to_vec();
        for op in ops.iter_mut().filter(|op| op.is_client() && op.kind != Kind::Invoke) {
            op.kind = kind;
            op.value = history.pair(op.index).and_then(|pair| pair.invoke.value.clone());
        }
        // A process ends with what it never learned the outcome of: each op is another's.
        let mut lives: HashMap<Process, u64> = HashMap::new();
        for (at, op) in (0..).zip(&mut ops) {
            if !op.is_client() || kind == Kind::Fail {
                continue;
            }
            if op.kind == Kind::Invoke {
                lives.insert(op.process, at);
            }
            op.process = Process::Client(lives[&op.process]);
        }
        // A context names a get that was answered.
        ops.iter_mut().for_each(|op| op.context = None);
        History::from_ops(ops).expect("it is as sound as it was")
    };
    [all(Kind::Fail), all(Kind::Info)]
}

/// All subsets of `set`, as masks over its indices.
pub fn subsets(n: usize) -> impl Iterator<Item = u32> {
    assert!(n < 20, "too many subsets");
    0..1_u32 << n
}
