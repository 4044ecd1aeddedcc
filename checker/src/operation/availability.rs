//! How the store served while it was broken: availability and latency within each fault's time.
//!
//! When a fault is in force is told by the nemesis ops. A value `{"step": "inject", "fault": id}` or
//! `"heal"` says so outright: from the `ok` of the injection, which proved it, to the `invoke` of
//! the healing. Else the names say it: `heal-f` (or `stop-f`, `end-f`) heals `f`, `stop` heals
//! `start` as in Jepsen, and of two ops of one name the `invoke` installs and the `ok` heals. One
//! that is never healed is in force to the end.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::history::op::{Kind, Op, Process};
use crate::history::{History, Outcome};
use crate::judge::budget::Budget;
use crate::judge::finding::{Findings, time};
use crate::judge::stats::{distribution, quantile};
use crate::judge::verdict::{CheckReport, Checker};

/// A time in which a fault was in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The fault's name.
    pub fault: String,
    /// From here, in nanoseconds.
    pub from: u64,
    /// To here.
    pub to: u64,
    /// The line that tells of its beginning.
    pub begun_by: u64,
}

impl Window {
    fn new(fault: String, begun: &Op, to: u64) -> Self {
        Self { fault, from: begun.time, to, begun_by: begun.index }
    }
}

/// The faults' windows, in order of their beginning.
pub fn windows(history: &History) -> Vec<Window> {
    let end = history.ops().last().map_or(0, |op| op.time);
    let mut open: BTreeMap<(String, u64), &Op> = BTreeMap::new();
    let mut windows = Vec::new();
    for op in history.iter().filter(|op| op.process == Process::Nemesis) {
        match turn(op) {
            None => {}
            Some((fault, Turn::Begins)) => _ = open.entry(fault).or_insert(op),
            Some((fault, Turn::Ends)) => {
                let begun = open.remove(&fault);
                windows.extend(begun.map(|begun| Window::new(fault.0, begun, op.time)));
            }
        }
    }
    windows.extend(open.into_iter().map(|(fault, begun)| Window::new(fault.0, begun, end)));
    windows.sort_by(|a, b| (a.from, &a.fault).cmp(&(b.from, &b.fault)));
    windows
}

enum Turn {
    Begins,
    Ends,
}

/// Which fault a nemesis op makes begin or end: its name, and its number where it has one.
fn turn(op: &Op) -> Option<((String, u64), Turn)> {
    let field = |name| op.value.as_ref().and_then(|value| value.get(name));
    let number = field("fault").and_then(Value::as_u64).unwrap_or(0);
    let fault = |name: &str| (name.to_owned(), number);
    if let Some(step) = field("step").and_then(Value::as_str) {
        return match (step, op.kind) {
            ("inject", Kind::Ok) => Some((fault(&op.f), Turn::Begins)),
            ("heal", Kind::Invoke) => Some((fault(&op.f), Turn::Ends)),
            _ => None,
        };
    }
    let healed = ["heal-", "stop-", "end-"].iter().find_map(|prefix| op.f.strip_prefix(prefix));
    match (healed, &*op.f, op.kind) {
        (Some(name), ..) => Some((fault(name), Turn::Ends)),
        (None, "stop" | "heal", _) => Some((fault("start"), Turn::Ends)),
        (None, f, Kind::Invoke | Kind::Info) => Some((fault(f), Turn::Begins)),
        (None, f, Kind::Ok) => Some((fault(f), Turn::Ends)),
        (None, _, Kind::Fail) => None,
    }
}

/// The checker: demands, of the operations begun within each window, a share that is `ok` and a
/// bound on the 99.9th percentile of their latency. Without demands nothing is judged: it answers
/// unknown, with the numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Availability {
    /// At least this share ends `ok`, from 0 to 1.
    pub least_ok: Option<f64>,
    /// Of those, 99.9 % within so many milliseconds.
    pub p999_ms: Option<f64>,
}

impl Checker for Availability {
    fn name(&self) -> &str {
        "availability"
    }

    fn check(&self, history: &History, budget: &Budget) -> CheckReport {
        let meter = budget.start();
        // By beginning, with outcome and latency: windows are slices of this.
        let ops: Vec<(u64, Outcome, u64)> = history
            .pairs()
            .map(|pair| {
                let took = pair.acknowledged_at().map_or(0, |at| at - pair.invoke.time);
                (pair.invoke.time, pair.outcome(), took)
            })
            .collect();
        if ops.is_empty() {
            return CheckReport::unknown("there are no operations");
        }
        let mut findings = Findings::default();
        let mut rows = Vec::new();
        let mut judged = 0;
        let windows = windows(history);
        for window in &windows {
            if let Err(exhausted) = meter.look() {
                return CheckReport::unknown(exhausted.to_string());
            }
            let from = ops.partition_point(|(begun, ..)| *begun < window.from);
            let to = ops.partition_point(|(begun, ..)| *begun <= window.to);
            rows.push(self.judge(window, &ops[from..to], &mut judged, &mut findings));
        }
        let demands = self.least_ok.is_some() || self.p999_ms.is_some();
        let nothing = match (demands, windows.is_empty()) {
            (false, _) => "neither a share nor a latency is demanded: this only measures",
            (true, true) => "no fault was in force: nothing was tried",
            (true, false) => "no operation began while a fault was in force",
        };
        findings.report(judged, nothing).with("windows", rows).with("overall", summary(&ops))
    }
}

impl Availability {
    fn judge(
        &self,
        window: &Window,
        ops: &[(u64, Outcome, u64)],
        judged: &mut usize,
        findings: &mut Findings,
    ) -> Value {
        let mut row = summary(ops);
        let share = row["ok_share"].as_f64().filter(|_| self.least_ok.is_some());
        let p999 = row["latency_ms"]["p999"].as_f64().filter(|_| self.p999_ms.is_some());
        *judged += if share.is_some() || p999.is_some() { ops.len() } else { 0 };
        let times = format!("{} to {}", time(window.from), time(window.to));
        if let (Some(least), Some(share)) = (self.least_ok, share)
            && share < least
        {
            let what = format!(
                "under {} ({times}) {:.1} % of the operations were ok, not {:.1} %",
                window.fault,
                share * 100.0,
                least * 100.0
            );
            findings.add("availability", "", Vec::new(), what);
        }
        if let (Some(most), Some(p999)) = (self.p999_ms, p999)
            && p999 > most
        {
            let what = format!(
                "under {} ({times}) the 99.9th percentile took {p999:.1} ms, not {most:.1} ms",
                window.fault
            );
            findings.add("latency", "", Vec::new(), what);
        }
        row["fault"] = json!(window.fault);
        row["from"] = json!(window.from);
        row["to"] = json!(window.to);
        row
    }
}

fn summary(ops: &[(u64, Outcome, u64)]) -> Value {
    let count = |outcome| ops.iter().filter(|(_, found, _)| *found == outcome).count();
    let ok = ops.iter().filter(|(_, outcome, _)| *outcome == Outcome::Ok);
    let mut latency: Vec<f64> = ok.map(|(.., took)| *took as f64 / 1e6).collect();
    let ok_share = (!ops.is_empty()).then(|| latency.len() as f64 / ops.len() as f64);
    let mut quantiles = distribution(&mut latency);
    quantiles["p999"] = json!(quantile(&latency, 0.999));
    json!({
        "ok": count(Outcome::Ok),
        "fail": count(Outcome::Fail),
        "info": count(Outcome::Info),
        "ok_share": ok_share,
        "latency_ms": quantiles,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::verdict::Verdict;

    fn nemesis(kind: Kind, f: &'static str, time: u64) -> Op {
        Op::new(Process::Nemesis, kind, f).at(time)
    }

    fn history() -> History {
        let ms = 1_000_000;
        let op = |at: u64, took: u64, kind| {
            let invoke = Op::invoke(at, "get").at(at * ms);
            let done = invoke.completed(kind).at((at + took) * ms);
            [invoke, done]
        };
        let mut lines =
            vec![nemesis(Kind::Invoke, "kill", 10 * ms), nemesis(Kind::Ok, "kill", 20 * ms)];
        for at in 0..30 {
            let kind = if (12..15).contains(&at) { Kind::Fail } else { Kind::Ok };
            lines.extend(op(at, if at == 16 { 3 } else { 1 }, kind));
        }
        lines.sort_by_key(|op| (op.time, op.kind));
        History::numbered(lines).unwrap()
    }

    #[test]
    fn a_fault_is_in_force_from_install_to_heal() {
        let spans = |lines: &History| -> Vec<_> {
            let windows = windows(lines).into_iter();
            windows.map(|window| (window.fault, window.from, window.to)).collect()
        };
        assert_eq!(spans(&history()), [("kill".to_owned(), 10_000_000, 20_000_000)]);
        let jepsen = vec![nemesis(Kind::Info, "start", 1), nemesis(Kind::Info, "stop", 4)];
        let jepsen = History::numbered(jepsen).unwrap();
        assert_eq!(spans(&jepsen), [("start".to_owned(), 1, 4)]);
        let step = |kind, step: &str, fault: u64, time| {
            nemesis(kind, "pause", time).value(json!({"step": step, "fault": fault}))
        };
        let lines = vec![
            step(Kind::Invoke, "inject", 1, 1),
            step(Kind::Ok, "inject", 1, 2),
            step(Kind::Ok, "inject", 2, 3),
            step(Kind::Invoke, "heal", 1, 5),
            step(Kind::Ok, "heal", 1, 6),
        ];
        let found = windows(&History::numbered(lines).unwrap());
        let times: Vec<_> = found.iter().map(|window| (window.from, window.to)).collect();
        assert_eq!(times, [(2, 5), (3, 6)]);
    }

    #[test]
    fn demands_are_judged_within_the_window() {
        let check = |least_ok, p999_ms| {
            let demand = Availability { least_ok, p999_ms };
            demand.check(&history(), &Budget::UNLIMITED)
        };
        assert_eq!(check(Some(0.7), Some(3.0)).verdict(), Verdict::Valid);
        let report = check(Some(0.8), None);
        assert!(report.reason.unwrap().contains("72.7 % of the operations were ok"));
        assert_eq!(check(None, Some(2.9)).verdict(), Verdict::Invalid);
        assert_eq!(check(None, None).details["windows"][0]["ok"], 8);
    }

    #[test]
    fn a_demand_without_a_fault_is_not_met_by_luck() {
        let op = Op::invoke(0, "get");
        let history = History::numbered(vec![op.clone(), op.completed(Kind::Ok)]).unwrap();
        let demand = Availability { least_ok: Some(0.5), p999_ms: None };
        assert_eq!(demand.check(&history, &Budget::UNLIMITED).verdict(), Verdict::Unknown);
    }
}
