//! From a history to verdicts: which checkers, with which claims.

use std::collections::BTreeMap;
use std::time::Duration;

use checker::budget::Budget;
use checker::compose::compose;
use checker::history::History;
use checker::history::wellformed::WellFormed;
use checker::siblings::Siblings;
use checker::siblings::cart::Cart;
use checker::siblings::weaker::{Newest, Unrivalled};
use checker::verdict::{CheckReport, Checker, Verdict};
use dynamo_protocol::{ReadMode, Settings, Versioning};

use crate::plan::{ClusterKind, FaultName, Plan, WorkloadName};
use crate::run::claims::{self, NotEntitled};
use crate::run::coverage::FaultCoverage;
use crate::run::noticed;

/// A run of a minute is judged in a second; past this the answer is unknown.
pub(super) const TIME: Duration = Duration::from_secs(120);
/// The memory of the whole process, while checkers run.
pub(super) const MEMORY: u64 = 4 << 30;

/// The name of the check that judges the record and not the store.
const RECORD: &str = "well_formed";

/// Runs every checker the plan's claims call for.
#[must_use]
pub fn check(
    plan: &Plan,
    faults: &BTreeMap<FaultName, FaultCoverage>,
    history: &History,
) -> BTreeMap<String, CheckReport> {
    let mut checks = composed(&checkers_of(plan, faults), history);
    // Of simulated nodes the simulator's invariants know more than the nemesis asks.
    if plan.cluster.kind != ClusterKind::Sim {
        checks.extend(noticed::judge(history).map(|report| (noticed::CHECK.to_owned(), report)));
    }
    checks
}

/// Who judges the history of a run in which these faults were done.
pub(super) fn checkers_of(
    plan: &Plan,
    faults: &BTreeMap<FaultName, FaultCoverage>,
) -> Vec<Box<dyn Checker>> {
    let lost = faults.iter().filter(|(name, _)| name.nature().loses_a_disk);
    let lost = lost.map(|(_, fault)| fault.installed).sum::<u64>();
    let lost = usize::try_from(lost).unwrap_or(usize::MAX);
    // However many were lost one after the other, no more were at a time.
    let lost = if plan.refills() { lost.min(plan.most_lost()) } else { lost };
    // Of the clocks of other hosts nobody knows.
    let clocks_differ =
        plan.faults.contains(&FaultName::Clock) || plan.cluster.kind == ClusterKind::Ssh;
    let grounds = Grounds { lost, clocks_differ, only_its_own: false };
    checkers(plan.workload.name, &plan.cluster.settings, grounds)
}

/// What a store is held to, beside what its settings promise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grounds {
    /// How many disks were lost.
    pub(crate) lost: usize,
    /// Clocks were, or may be, further apart than those of [one host](Newest::ONE_HOST).
    pub(crate) clocks_differ: bool,
    /// Under lww and the paper's clocks a run shows what they lose, for it is held to what dotted versions
    /// keep, and to what they promise themselves; or it is held to that alone, and shows whether they keep
    /// it.
    pub(crate) only_its_own: bool,
}

/// Who judges the history of a workload.
pub(crate) fn checkers(
    workload: WorkloadName,
    settings: &Settings,
    grounds: Grounds,
) -> Vec<Box<dyn Checker>> {
    let mut checkers: Vec<Box<dyn Checker>> = Vec::new();
    match settings.versioning {
        Versioning::Lww if !grounds.clocks_differ => {
            checkers
                .push(Box::new(Newest { skew: Newest::ONE_HOST, strict: settings.quorums_meet() }));
        }
        // A disk that was lost has counted what others still hold, and counts it again.
        Versioning::Paper if grounds.lost == 0 => checkers.push(Box::new(Unrivalled)),
        _ => {}
    }
    if grounds.only_its_own && settings.versioning != Versioning::Dotted {
        checkers.push(Box::new(WellFormed::default()));
        return checkers;
    }
    let (cart, siblings) = entitled(settings, grounds.lost);
    if workload.is_of_carts() {
        checkers.push(Box::new(cart));
    }
    let claims = claims::of(workload, settings).into_iter();
    let claims = claims.filter(|claim| claim.not_entitled.is_none());
    checkers.extend(claims.map(|claim| claim.checker));
    checkers.push(Box::new(siblings));
    checkers.push(Box::new(WellFormed::default()));
    checkers
}

/// What a workload could be held to and its plan is not entitled to, with what would have been said.
#[must_use]
pub fn not_entitled(plan: &Plan, history: &History) -> BTreeMap<String, NotEntitled> {
    let claims = claims::of(plan.workload.name, &plan.cluster.settings).into_iter();
    let not = claims.filter_map(|claim| {
        let why = claim.not_entitled?;
        let name = claim.checker.name().to_owned();
        let report = composed(&[claim.checker], history).remove(&name)?;
        Some((name, NotEntitled { why, would_be: report.verdict(), reason: report.reason }))
    });
    not.collect()
}

fn composed(checkers: &[Box<dyn Checker>], history: &History) -> BTreeMap<String, CheckReport> {
    let checkers: Vec<&dyn Checker> = checkers.iter().map(AsRef::as_ref).collect();
    compose(&checkers, history, &Budget { time: Some(TIME), memory: Some(MEMORY) })
}

/// What may be asked of a cluster, real or simulated, that has lost so many disks.
pub(crate) fn entitled(settings: &Settings, lost: usize) -> (Cart, Siblings) {
    // An acknowledged add is on W homes once all hints are delivered, less the disks that were lost.
    let cart = Cart { copies: Some(settings.w.saturating_sub(lost)), enforce_copies: true };
    // A home that has forgotten does not vote: quorums meet as before.
    let meet = settings.quorums_meet();
    let siblings = Siblings {
        // The settling gets have made homes agree, and none has forgotten what only it knew.
        converged: lost == 0,
        strict: meet,
        sessions: meet && settings.read == ReadMode::Atomic,
    };
    (cart, siblings)
}

/// What the checkers say of the store, and why.
#[must_use]
pub fn property(checks: &BTreeMap<String, CheckReport>) -> (Verdict, Vec<String>) {
    said(checks.iter().filter(|(name, _)| *name != RECORD))
}

/// What they say of the record.
#[must_use]
pub fn record(checks: &BTreeMap<String, CheckReport>) -> (Verdict, Vec<String>) {
    said(checks.iter().filter(|(name, _)| *name == RECORD))
}

fn said<'a>(checks: impl Iterator<Item = (&'a String, &'a CheckReport)>) -> (Verdict, Vec<String>) {
    let checks: Vec<_> = checks.collect();
    let verdict = Verdict::all(checks.iter().map(|(_, report)| report.verdict()));
    let reasons = checks.iter().filter(|(_, report)| report.verdict() != Verdict::Valid);
    let reasons = reasons.map(|(name, report)| {
        let reason = report.reason.as_deref().unwrap_or("it does not say why");
        format!("{name}: {reason}")
    });
    (verdict, reasons.collect())
}

#[cfg(test)]
mod tests {
    use dynamo_protocol::Quorum;

    use super::*;

    #[test]
    fn a_lost_disk_lessens_the_copies_promised_and_the_claim_to_converge() {
        let settings = Plan::default().cluster.settings;
        let of = |lost| entitled(&settings, lost);
        assert_eq!((of(0).0.copies, of(1).0.copies), (Some(2), Some(1)));
        assert!(of(0).1.converged && !of(1).1.converged);
    }

    #[test]
    fn lww_and_the_papers_clocks_are_held_to_what_they_promise_where_it_can_be_told() {
        let names = |versioning, lost, clocks_differ, only_its_own| {
            let settings = Settings { versioning, ..Plan::default().cluster.settings };
            let grounds = Grounds { lost, clocks_differ, only_its_own };
            let all = checkers(WorkloadName::Cart, &settings, grounds);
            all.iter().map(|checker| checker.name().to_owned()).collect::<Vec<_>>().join(" ")
        };
        let all = "cart siblings well_formed";
        assert_eq!(names(Versioning::Dotted, 0, false, true), all);
        assert_eq!(names(Versioning::Lww, 1, false, false), format!("newest {all}"));
        assert_eq!(names(Versioning::Lww, 0, true, false), all);
        assert_eq!(names(Versioning::Lww, 0, false, true), "newest well_formed");
        assert_eq!(names(Versioning::Paper, 0, true, false), format!("unrivalled {all}"));
        assert_eq!(names(Versioning::Paper, 1, false, true), "well_formed");
    }

    #[test]
    fn only_strict_quorums_that_meet_claim_freshness() {
        let mut settings = Plan::default().cluster.settings;
        let of = |settings: &Settings| entitled(settings, 0).1;
        assert!(!of(&settings).strict);
        settings.quorum = Quorum::Strict;
        assert!(of(&settings).strict && !of(&settings).sessions);
        settings.r = 1;
        assert!(!of(&settings).strict);
    }
}
