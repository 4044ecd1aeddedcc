//! One simulated run, from its scenario to what it violated.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use checker::budget::Budget;
use checker::compose::check_safe;
use checker::history::History;
use checker::verdict::{CheckReport, Checker, Verdict};
use dynamo_protocol::membership::Membership;
use dynamo_protocol::{Digest, Key, Settings, View};
use dynamo_sim::trace::{Cluster, Trace};
use dynamo_sim::world::{Conditions, Counters};
use dynamo_sim::{Bench, World};
use futures::FutureExt;
use serde_json::Value;

use super::scenario::Scenario;
use crate::interpreter::Counts;
use crate::interpreter::virtual_time::Interpreter;
use crate::interpreter::virtual_time::Met;
use crate::nemesis::Terms;
use crate::plan::WorkloadName;
use crate::run::finish::script::{Script, Stage};
use crate::run::finish::{AT_REST, CONVERGENCE, Closing};
use crate::run::judge::{Grounds, checkers};
use crate::workload::Workload;
use crate::workload::cart::Carts;
use crate::workload::generator::{Reads, TimeLimit};

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
    /// The memberships there were.
    pub epochs: Vec<Membership>,
    /// Virtual time.
    pub simulated: Duration,
    /// Steps of nodes and links.
    pub events: u64,
    /// Of everything that happened.
    pub hash: Option<Digest>,
    /// What nodes did.
    pub counters: Counters,
    /// What clients did.
    pub counts: Counts,
    /// How often they met.
    pub met: Met,
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
    let settings = &scenario.cluster.settings;
    let terms = Terms {
        most_lost: settings.w - 1,
        refills: settings.anti_entropy,
        changes: scenario.changes_the_ring(),
        deadline: settings.timing.deadline,
    };
    let faults = (&*scenario.faults, terms);
    let mut interpreter = Interpreter::new(world, faults, workers, timeout);
    interpreter.tell(options.now);
    let carts = Carts::new(&scenario.workload, scenario.nodes(), seed);
    let mut limited = TimeLimit::new(carts, scenario.time);
    interpreter.run(&mut limited);
    interpreter.end_faults();
    let finish = Finish { interpreter: &mut interpreter, settings: scenario.cluster.settings };
    let phase = finish.phase(limited.into_inner().keys()).now_or_never();
    let closing = phase.expect("under virtual time nothing is waited for");
    judge(scenario, interpreter, closing)
}

/// The final phase of simulated nodes ([`crate::run::finish`]): all heals at once, and whether they rest is
/// seen.
struct Finish<'a, 'b> {
    interpreter: &'a mut Interpreter<'b>,
    settings: Settings,
}

impl Finish<'_, '_> {
    async fn phase(mut self, keys: &BTreeSet<Arc<str>>) -> Closing {
        let mut closing = Closing::default();
        self.world().mend();
        // What waits behind a message that takes an hour takes an hour too.
        let carries_from = self.world().last_arrival();
        let rests = self.waits(carries_from, &mut closing);
        self.world().sweep();
        if rests {
            self.read_all(keys, &mut closing).await.expect("a history in memory can be written");
        }
        closing
    }

    fn world(&mut self) -> &mut World {
        self.interpreter.world()
    }

    async fn read_all(
        &mut self,
        keys: &BTreeSet<Arc<str>>,
        closing: &mut Closing,
    ) -> anyhow::Result<()> {
        let view = Arc::clone(self.world().bench().view());
        let here: Vec<_> = view.ids().collect();
        let (gone, patience) = (BTreeSet::new(), self.patience());
        let exchange = self.settings.exchange();
        let script = Script { view: &view, keys, here: &here, gone: &gone, patience, exchange };
        self.world().mark_homes();
        let Some(whole) = script.settle(self, closing).await? else { return Ok(()) };
        self.world().mark_finals();
        script.read_finals(&whole, self, closing).await?;
        if self.waits(0, closing) {
            let bench = self.world().bench();
            if let Some(what) = keys.iter().find_map(|key| divided(bench, &Key::from(&**key))) {
                self.blame(CONVERGENCE, what, closing);
            }
        }
        Ok(())
    }

    /// How long nodes wait for each other at least.
    fn patience(&self) -> Duration {
        self.settings.timing.hedge.min(self.settings.timing.deadline)
    }

    /// Waits for rest; whether it came. Links carry as they should from `carries_from` on.
    fn waits(&mut self, carries_from: u64, closing: &mut Closing) -> bool {
        let now = self.world().now();
        let under_way = Duration::from_micros(carries_from.saturating_sub(now));
        if under_way > MOST_UNDER_WAY {
            closing.doubts.push(format!(
                "the cluster is not at rest: what slow links took on arrives {under_way:?} after the end"
            ));
            return false;
        }
        let patience = under_way + REST_PATIENCE;
        for _ in 0..patience.as_micros() / LOOK_AGAIN.as_micros() {
            if self.world().bench().unrest().is_none() {
                return true;
            }
            self.interpreter.idle(LOOK_AGAIN);
        }
        let Some(unrest) = self.world().bench().unrest() else { return true };
        let what = format!("the cluster is not at rest after {patience:?}: {unrest}");
        self.blame(AT_REST, what, closing);
        false
    }

    fn blame(&self, check: &str, what: String, closing: &mut Closing) {
        match self.has_turns() {
            Ok(()) => closing.blame(check, what),
            Err(why) => closing.doubts.push(format!("{what}; but {why}")),
        }
    }

    /// Whether nodes wait for each other as long as a turn takes when all is well.
    fn has_turns(&self) -> Result<(), String> {
        let patience = self.patience();
        let hasty = || format!("nodes wait for each other for {patience:?} only");
        if patience < TURN { Err(hasty()) } else { Ok(()) }
    }
}

impl Stage for Finish<'_, '_> {
    async fn read(&mut self, reads: &mut Reads) -> anyhow::Result<()> {
        self.interpreter.run(reads);
        Ok(())
    }

    async fn rests(&mut self, closing: &mut Closing) -> bool {
        self.waits(0, closing)
    }

    async fn pause(&mut self, time: Duration) {
        self.interpreter.idle(time);
    }

    /// All is mended at once.
    async fn is_up(&mut self) -> Result<(), String> {
        self.has_turns()
    }
}

/// Gets of a quiet cluster have repaired what they found stale: all homes agree now; else what they hold. Of
/// real nodes nobody knows what their disks hold but they themselves.
pub(super) fn divided(bench: &Bench, key: &Key) -> Option<String> {
    let held = bench.divided(key)?;
    Some(format!("after its final gets {key} differs between its homes: {held}"))
}

fn judge(scenario: &Scenario, mut interpreter: Interpreter<'_>, closing: Closing) -> Outcome {
    let (counts, met) = (interpreter.counts(), interpreter.met());
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
        counters: *world.counters(),
        doubts: closing.doubts,
        epochs: world.bench().view().history().epochs().to_vec(),
        counts,
        met,
        trace,
        ..Outcome::default()
    };
    match history {
        Ok(history) => {
            let workload = scenario.workload.name;
            outcome.reports = check(&scenario.cluster, scenario.grounds(), workload, &history);
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
    grounds: Grounds,
    workload: WorkloadName,
    history: &History,
) -> Vec<(String, CheckReport)> {
    let checkers = checkers(workload, &cluster.settings, grounds);
    // One after the other and without a look at the memory: other seeds run beside this one.
    let budget = Budget { time: Some(Duration::from_secs(60)), memory: None };
    let check =
        |checker: &dyn Checker| (checker.name().to_owned(), check_safe(checker, history, &budget));
    checkers.iter().map(|checker| check(checker.as_ref())).collect()
}

#[cfg(test)]
mod tests {
    use checker::history::op::{Elsewhere, Op};

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
                let workload = scenario.workload.name;
                let judge = |history: &History| {
                    check(&scenario.cluster, scenario.grounds(), workload, history)
                };
                let brief = judge(&history);
                assert_eq!(brief[0].1.verdict(), verdict);
                let whole = judge(&history.resolved());
                let text = |reports| serde_json::to_string(reports).unwrap();
                assert_eq!(text(&brief), text(&whole));
            }
        }
    }
}
