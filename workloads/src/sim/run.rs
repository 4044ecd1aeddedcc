//! One simulated run, from its scenario to what it violated.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use checker::budget::Budget;
use checker::cart::Cart;
use checker::compose::check_safe;
use checker::history::History;
use checker::siblings::Siblings;
use checker::verdict::{CheckReport, Checker, Verdict};
use checker::wellformed::WellFormed;
use dynamo_protocol::{Digest, Key, NodeId, Place, ReadMode, View};
use dynamo_sim::World;
use dynamo_sim::trace::{Cluster, Trace};
use dynamo_sim::world::{Conditions, Mechanisms};
use serde_json::Value;

use super::interpreter::Interpreter;
use super::scenario::Scenario;
use crate::finish::{
    AT_REST, Closing, FINAL_READS, SETTLING, differing, final_reads, of_homes, settling_reads,
};
use crate::generator::{Action, GivenUp, Read, Reads, TimeLimit};
use crate::interpreter::Counts;
use crate::workload::Workload;
use crate::workload::cart::Carts;

/// How long the healed cluster may take to come to rest once its links carry as they should, in virtual
/// time.
const REST_PATIENCE: Duration = Duration::from_secs(60);
/// How long what was sent over links before they were healed may be under way.
const MOST_UNDER_WAY: Duration = Duration::from_secs(300);
/// What one node asks of another takes no longer when all is well: two ways and two syncs of a quick disk.
/// Nodes that do not wait for each other as long as this are not blamed for anything.
const TURN: Duration = Duration::from_millis(2);
/// Between two looks at whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// The check that says so.
    pub check: String,
    /// What it says.
    pub what: String,
    /// Of a check of several rules, those that are broken.
    pub rules: Vec<String>,
}

impl Violation {
    /// Of a check that is one rule.
    #[must_use]
    pub fn new(check: &str, what: String) -> Self {
        Self { check: check.to_owned(), what, rules: Vec::new() }
    }

    /// What is broken, by name: the check, and with a slash behind it each of its rules.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        let rules = self.rules.iter().map(|rule| format!("{}/{rule}", self.check));
        std::iter::once(self.check.clone()).chain(rules)
    }
}

/// What a run found and what it took.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Nothing, if all is well; sorted by check.
    pub violations: Vec<Violation>,
    /// Why a check could not tell.
    pub unknown: Vec<Violation>,
    /// What the harness itself could not find out.
    pub doubts: Vec<String>,
    /// Virtual time.
    pub simulated: Duration,
    /// Steps of nodes and links.
    pub events: u64,
    /// Of everything that happened.
    pub hash: Option<Digest>,
    /// What nodes did.
    pub mechanisms: Mechanisms,
    /// What clients did.
    pub counts: Counts,
    /// What the checkers said.
    pub reports: Vec<(String, CheckReport)>,
    /// The history.
    pub history: History,
    /// Every step, if it was asked for.
    pub trace: Option<Trace>,
}

/// What is run beside a scenario.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// Keep every step.
    pub record: bool,
    /// A view made earlier for this cluster.
    pub view: Option<&'a Arc<View>>,
    /// Where the virtual time is told as it passes, in microseconds.
    pub now: Option<&'a AtomicU64>,
}

/// Runs a scenario; a panic of the core is a violation like any other.
#[must_use]
pub fn run(scenario: &Scenario, seed: u64, options: Options<'_>) -> Outcome {
    let run = || play(scenario, seed, options);
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<&str>().copied().map(str::to_owned);
        let said = said.or_else(|| panic.downcast_ref::<String>().cloned());
        let what = said.unwrap_or_else(|| "no message".to_owned());
        let violations = vec![Violation::new("assertion", what)];
        Outcome { violations, ..Outcome::default() }
    })
}

fn play(scenario: &Scenario, seed: u64, options: Options<'_>) -> Outcome {
    let made = || Arc::new(scenario.cluster.view().expect("a scenario's cluster was checked"));
    let view = options.view.map_or_else(made, Arc::clone);
    let conditions =
        Conditions { cluster: scenario.cluster, network: scenario.network, sync: scenario.sync };
    let mut world = World::new(conditions, view, seed);
    if options.record {
        world.record();
    }
    let (workers, timeout) = (scenario.workload.concurrency, scenario.workload.timeout.0);
    let mut interpreter = Interpreter::new(world, &scenario.faults, workers, timeout);
    interpreter.tell(options.now);
    let carts = Carts::new(&scenario.workload, scenario.nodes(), seed);
    let mut limited = TimeLimit::new(carts, scenario.time);
    interpreter.run(&mut limited);
    let closing = Finish { interpreter: &mut interpreter, closing: Closing::default() }
        .phase(limited.into_inner().keys());
    judge(scenario, interpreter, closing)
}

/// The final phase, as on real nodes ([`crate::finish`]): heal, come to rest, read every home, bring homes
/// to agree, then let every key be got through every node.
struct Finish<'a, 'b> {
    interpreter: &'a mut Interpreter<'b>,
    closing: Closing,
}

impl Finish<'_, '_> {
    fn phase(mut self, keys: &BTreeSet<Arc<str>>) -> Closing {
        self.world().mend();
        // What waits behind a message that takes an hour takes an hour too.
        let carries_from = self.world().last_arrival();
        let rests = self.rests(carries_from);
        self.world().sweep();
        if rests {
            self.read_all(keys);
        }
        self.closing
    }

    fn world(&mut self) -> &mut World {
        self.interpreter.world()
    }

    fn read_all(&mut self, keys: &BTreeSet<Arc<str>>) {
        let view = Arc::clone(self.world().bench().view());
        let nodes: Vec<_> = view.ids().collect();
        self.world().mark_homes();
        self.interpreter.run(&mut Reads::new(Action::Home, true, of_homes(&view, keys)));
        let mut differ = keys.clone();
        for round in 0..SETTLING {
            self.interpreter.run(&mut settling_reads(&nodes, &differ, round));
            if !self.rests(0) {
                return;
            }
            let mut homes = Reads::new(Action::Home, false, of_homes(&view, &differ));
            self.interpreter.run(&mut homes);
            differ = differing(&view, &differ, homes.answers());
            if differ.is_empty() {
                break;
            }
        }
        self.world().mark_finals();
        let mut reads = final_reads(&nodes, keys);
        self.interpreter.run(&mut reads);
        self.unread(reads.given_up());
        if self.rests(0) {
            keys.iter().for_each(|key| self.converged(&Key::from(&**key)));
        }
    }

    /// Waits for rest; whether it came. Links carry as they should from `carries_from` on.
    fn rests(&mut self, carries_from: u64) -> bool {
        let now = self.world().now();
        let under_way = Duration::from_micros(carries_from.saturating_sub(now));
        if under_way > MOST_UNDER_WAY {
            self.closing.doubts.push(format!(
                "the cluster is not at rest: what slow links took on arrives {under_way:?} after the end"
            ));
            return false;
        }
        let patience = under_way + REST_PATIENCE;
        for _ in 0..patience.as_micros() / LOOK_AGAIN.as_micros() {
            if self.world().is_quiet() {
                return true;
            }
            self.interpreter.idle(LOOK_AGAIN);
        }
        let Some(unrest) = self.world().unrest() else { return true };
        self.blame(AT_REST, format!("the cluster is not at rest after {patience:?}: {unrest}"));
        false
    }

    fn unread(&mut self, given_up: &[GivenUp]) {
        let Some(GivenUp { read: Read { key, node }, why, .. }) = given_up.first() else { return };
        let count = given_up.len();
        let what =
            format!("{count} final reads never succeeded, the first: {key} from {node}: {why}");
        if given_up.iter().all(|given_up| given_up.answered) {
            self.closing.doubts.push(what);
        } else {
            self.blame(FINAL_READS, what);
        }
    }

    /// Gets of a quiet cluster have repaired what they found stale: all homes hold one set now.
    fn converged(&mut self, key: &Key) {
        let bench = self.world().bench();
        let homes = bench.view().homes(key);
        let place = Place::home(key.clone());
        let held = |node: &NodeId| bench.host(*node).disk().durable(&place).map(|r| &r.set);
        let sets: Vec<_> = homes.iter().map(held).collect();
        if sets.windows(2).any(|pair| pair[0] != pair[1]) {
            self.blame(
                "convergence",
                format!("after its final gets {key} differs between its homes"),
            );
        }
    }

    fn blame(&mut self, check: &str, what: String) {
        let timing = self.world().bench().cluster().settings.timing;
        let patience = timing.patience.min(timing.deadline);
        if patience < TURN {
            let doubt = format!("{what}; but nodes wait for each other for {patience:?} only");
            self.closing.doubts.push(doubt);
        } else {
            self.closing.checks.entry(check.to_owned()).or_insert(CheckReport::invalid(what));
        }
    }
}

fn judge(scenario: &Scenario, mut interpreter: Interpreter<'_>, closing: Closing) -> Outcome {
    let counts = interpreter.counts();
    let trace = interpreter.world().take_trace("a simulated run");
    let (world, history) = interpreter.finish();
    let said_at_the_end = |(check, report): (String, CheckReport)| {
        Violation::new(&check, report.reason.unwrap_or_default())
    };
    let mut violations: Vec<_> = closing.checks.into_iter().map(said_at_the_end).collect();
    for (at, breach) in world.breaches() {
        let what = format!("{} at {:.6} s: {}", breach.node, *at as f64 / 1e6, breach.what);
        violations.push(Violation::new(breach.check, what));
    }
    let mut outcome = Outcome {
        simulated: Duration::from_micros(world.now()),
        events: world.events(),
        hash: Some(world.event_hash()),
        mechanisms: *world.mechanisms(),
        doubts: closing.doubts,
        counts,
        trace,
        ..Outcome::default()
    };
    match history {
        Ok(history) => {
            outcome.reports = check(&scenario.cluster, scenario.losses(), &history);
            outcome.history = history;
        }
        Err(error) => {
            violations.push(Violation::new("well_formed", error.to_string()));
        }
    }
    said(&outcome.reports, &outcome.history, &mut violations, &mut outcome.unknown);
    violations.sort();
    outcome.violations = violations;
    outcome
}

/// Sorts what checkers said into what is violated and what cannot be told.
pub(super) fn said(
    reports: &[(String, CheckReport)],
    history: &History,
    violations: &mut Vec<Violation>,
    unknown: &mut Vec<Violation>,
) {
    for (name, report) in reports {
        let what = report.reason.clone().unwrap_or_else(|| "it does not say why".to_owned());
        let rules = broken_rules(report, history);
        let said = Violation { check: name.clone(), what, rules };
        match report.verdict() {
            Verdict::Invalid => violations.push(said),
            Verdict::Unknown => unknown.push(said),
            Verdict::Valid => {}
        }
    }
}

/// What reports say is violated, rule by rule.
#[cfg(feature = "mutants")]
pub(crate) fn broken(reports: &[(String, CheckReport)], history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    said(reports, history, &mut violations, &mut Vec::new());
    violations
}

/// The rules a report says are broken. An acknowledged write that a read lacks is `lost` if the read
/// came when all was healed and at rest, and else only `stale`.
fn broken_rules(report: &CheckReport, history: &History) -> Vec<String> {
    let count = |name: &str| report.details.get(name).and_then(Value::as_u64).unwrap_or(0);
    let mut rules = BTreeSet::new();
    for (counted, rule) in [
        ("lost_count", "lost"),
        ("unreadable_count", "unreadable"),
        ("under_replicated_count", "copies"),
    ] {
        if count(counted) > 0 {
            rules.insert(rule.to_owned());
        }
    }
    let listed = report.details.get("violations").and_then(Value::as_array);
    for finding in listed.into_iter().flatten() {
        let Some(rule) = finding["rule"].as_str() else { continue };
        let read = finding["ops"].as_array().and_then(|ops| ops.last()?.as_u64());
        let is_final = read.and_then(|read| history.get(read)).is_some_and(|op| op.is_final);
        rules.insert(match (rule, is_final) {
            ("V2", true) => "lost".to_owned(),
            ("V2", false) => "stale".to_owned(),
            _ => rule.to_owned(),
        });
    }
    rules.into_iter().collect()
}

/// Runs the checkers the claims of a cluster call for, some copies of a key having been lost.
pub(super) fn check(
    cluster: &Cluster,
    losses: usize,
    history: &History,
) -> Vec<(String, CheckReport)> {
    let cart =
        Cart { copies: Some(cluster.settings.w.saturating_sub(losses)), enforce_copies: true };
    // Quorums of homes that vote meet. A home that has forgotten does not vote.
    let fresh = cluster.settings.quorums_meet();
    let siblings = Siblings {
        converged: losses == 0,
        strict: fresh,
        sessions: fresh && cluster.settings.read == ReadMode::Atomic,
    };
    let checkers: [&dyn Checker; 3] = [&cart, &siblings, &WellFormed::default()];
    let budget = Budget { time: Some(Duration::from_secs(60)), memory: None };
    let check = |checker: &&dyn Checker| {
        (checker.name().to_owned(), check_safe(*checker, history, &budget))
    };
    checkers.iter().map(check).collect()
}

#[cfg(test)]
mod tests {
    use checker::op::{Elsewhere, Op};

    use super::*;

    /// The same run, but that some of its reads showed nothing.
    fn blinded(history: &History, read: impl Fn(&Op) -> bool) -> History {
        let mut ops = history.ops().to_vec();
        let seen = |op: &&mut Op| read(op) && matches!(op.elsewhere, Some(Elsewhere::Lines(_)));
        for op in ops.iter_mut().filter(seen) {
            op.elsewhere = Some(Elsewhere::Lines([].into()));
        }
        History::from_ops(ops).unwrap()
    }

    #[test]
    fn checkers_say_the_same_of_values_that_stand_elsewhere_and_in_their_own_lines() {
        for seed in 0..8 {
            let scenario = Scenario::drawn(seed);
            let outcome = run(&scenario, seed, Options::default());
            assert_eq!(outcome.violations, []);
            let all = blinded(&outcome.history, |_| false);
            let lost = blinded(&outcome.history, |op| op.is_final);
            for (history, verdict) in [(all, Verdict::Valid), (lost, Verdict::Invalid)] {
                let judge =
                    |history: &History| check(&scenario.cluster, scenario.losses(), history);
                let brief = judge(&history);
                assert_eq!(brief[0].1.verdict(), verdict);
                let whole = judge(&history.resolved());
                let text = |reports| serde_json::to_string(reports).unwrap();
                assert_eq!(text(&brief), text(&whole));
            }
        }
    }
}
