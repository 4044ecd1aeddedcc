use std::collections::BTreeMap;

use serde_json::Value;

use crate::consistency::registers::NO_READ;
use crate::history::{History, Outcome, Pair};
use crate::judge::budget::{Budget, Exhausted, Meter};
use crate::judge::finding::Findings;
use crate::judge::verdict::{CheckReport, Checker};

/// A counter that is added to, one a key: every read lies between what is sure and what is possible.
///
/// Least: all that was surely added before the read began, and every decrement that may have
/// happened before it ended. Most: the other way round. `add` may have a negative value; `inc` and
/// `dec` count one where they say no other.
#[derive(Clone, Copy, Debug, Default)]
pub struct CounterBounds;

impl Checker for CounterBounds {
    fn name(&self) -> &str {
        "counter-bounds"
    }

    fn operations(&self) -> Option<&'static [&'static str]> {
        Some(&["add", "inc", "dec"])
    }

    fn check(&self, history: &History, budget: &Budget) -> CheckReport {
        let mut meter = budget.start();
        match judge(history, &mut meter) {
            Ok(report) => report,
            Err(Stop::Budget(exhausted)) => CheckReport::unknown(exhausted.to_string()),
            Err(Stop::NoAmount(op)) => {
                CheckReport::refused(format!("op {op} says no whole number: no counter"))
            }
        }
    }
}

enum Stop {
    Budget(Exhausted),
    NoAmount(u64),
}

/// A moment at which a bound moves, and by how much.
type Steps = Vec<(u64, i128)>;

/// Each key is a counter of its own.
fn judge(history: &History, meter: &mut Meter) -> Result<CheckReport, Stop> {
    let mut keys: BTreeMap<&str, Vec<Pair<'_>>> = BTreeMap::new();
    for pair in history.pairs() {
        keys.entry(pair.key().unwrap_or("")).or_default().push(pair);
    }
    let (mut findings, mut reads) = (Findings::default(), 0);
    for pairs in keys.into_values() {
        reads += judge_one(pairs, &mut findings, meter)?;
    }
    Ok(findings.report(reads, NO_READ).with("reads", reads))
}

/// How many reads there were.
fn judge_one(
    pairs: Vec<Pair<'_>>,
    findings: &mut Findings,
    meter: &mut Meter,
) -> Result<usize, Stop> {
    // Of increments and of decrements: when they may have happened, and when they surely have.
    let mut possible: [Steps; 2] = Default::default();
    let mut sure: [Steps; 2] = Default::default();
    let mut reads = Vec::new();
    for pair in pairs {
        meter.tick().map_err(Stop::Budget)?;
        match pair.f() {
            "add" | "inc" | "dec" if pair.outcome() != Outcome::Fail => {
                let amount = amount(&pair).ok_or(Stop::NoAmount(pair.name()))?;
                let sign = usize::from(amount < 0);
                possible[sign].push((pair.invoke.time, amount));
                sure[sign].extend(pair.acknowledged_at().map(|at| (at, amount)));
            }
            "read" | "get" if pair.outcome() == Outcome::Ok => reads.push(pair),
            _ => {}
        }
    }
    let [possible_up, possible_down] = possible.map(Sums::of);
    let [sure_up, sure_down] = sure.map(Sums::of);
    for read in &reads {
        let (begun, ended) = (read.invoke.time, read.acknowledged_at().unwrap_or(u64::MAX));
        let least = sure_up.before(begun) + possible_down.until(ended);
        let most = possible_up.until(ended) + sure_down.before(begun);
        let value = match read.result() {
            None | Some(Value::Null) => 0,
            Some(value) => i128::from(value.as_i64().ok_or(Stop::NoAmount(read.name()))?),
        };
        if value < least || value > most {
            let what =
                format!("read #{} returned {value}, not within {least} and {most}", read.name());
            findings.add("out_of_bounds", "", vec![read.name()], what);
        }
    }
    Ok(reads.len())
}

fn amount(pair: &Pair<'_>) -> Option<i128> {
    let said = match &pair.invoke.value {
        None | Some(Value::Null) if pair.f() != "add" => 1,
        value => i128::from(value.as_ref()?.as_i64()?),
    };
    Some(if pair.f() == "dec" { -said } else { said })
}

/// Sums of steps up to a time.
struct Sums {
    times: Vec<u64>,
    /// One more than times: the sum before each, and of all.
    sums: Vec<i128>,
}

impl Sums {
    fn of(mut steps: Steps) -> Self {
        steps.sort_unstable_by_key(|step| step.0);
        let mut sums = vec![0];
        for (at, (_, amount)) in steps.iter().enumerate() {
            sums.push(sums[at] + amount);
        }
        Self { times: steps.into_iter().map(|step| step.0).collect(), sums }
    }

    fn before(&self, time: u64) -> i128 {
        self.sums[self.times.partition_point(|at| *at < time)]
    }

    fn until(&self, time: u64) -> i128 {
        self.sums[self.times.partition_point(|at| *at <= time)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::op::{Kind, Op};
    use crate::judge::verdict::Verdict;

    fn done(key: &'static str, f: &'static str, at: u64, value: i64) -> Vec<Op> {
        let op = Op::invoke(at, f).key(key).at(at);
        match f {
            "add" => vec![op.clone().value(value), op.completed(Kind::Ok).at(at + 1)],
            _ => vec![op.clone(), op.completed(Kind::Ok).value(value).at(at + 1)],
        }
    }

    #[test]
    fn what_was_added_to_one_counter_is_nothing_to_another() {
        let judged = |of_b| {
            let ops = [
                done("a", "add", 0, 5),
                done("b", "add", 2, 1),
                done("a", "read", 4, 5),
                done("b", "read", 6, of_b),
            ];
            let history = History::numbered(ops.concat()).unwrap();
            CounterBounds.check(&history, &Budget::UNLIMITED)
        };
        assert_eq!((judged(1).verdict(), judged(1).judged()), (Verdict::Valid, 2));
        assert_eq!(judged(6).verdict(), Verdict::Invalid);
    }
}
