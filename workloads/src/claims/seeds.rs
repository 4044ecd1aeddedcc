//! Simulated runs of a setting whose ring changes: where the model has no room for a newcomer that is
//! filled, so many seeds in which nothing was found are what can be said.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use checker::budget::Budget;
use checker::siblings::measure::measure;
use dynamo_protocol::Settings;
use dyno_claims::observed::Seeded;
use dyno_claims::{Property, Setting};
use model::interrupt;

use super::runs::broken;
use crate::plan::{ClusterKind, ClusterPlan, FaultName, Plan, PlanError, Span};
use crate::simulated::run::{Options, run};
use crate::simulated::scenario::Scenario;

/// How long clients work in each.
const TIME: Span = Span::secs(10);
/// Nodes beside the homes: of those that stay in one may stand in for a home, and more may go.
const MORE: u16 = 2;

fn plan(setting: &Setting) -> Result<Plan, PlanError> {
    let cluster = ClusterPlan {
        kind: ClusterKind::Sim,
        nodes: u16::try_from(setting.n).unwrap_or(u16::MAX).saturating_add(MORE),
        // What members hold they compare, or nobody who joins would be filled.
        settings: Settings { anti_entropy: true, ..setting.settings() },
        ..ClusterPlan::default()
    };
    let faults = vec![FaultName::Join, FaultName::Leave, FaultName::Replace];
    let plan = Plan { time: TIME, faults, cluster, ..Plan::default() };
    plan.check()?;
    Ok(plan)
}

/// Runs seeds 0 to `seeds`, so many at a time.
///
/// # Errors
/// If the plan cannot be.
pub(super) fn changing(setting: &Setting, seeds: u64, jobs: usize) -> Result<Seeded, PlanError> {
    let plan = plan(setting)?;
    let next = AtomicU64::new(0);
    let one_after_another = || {
        let mut seeded = Seeded::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds || interrupt::asked() {
                return seeded;
            }
            let outcome = run(&Scenario::of_plan(&plan, seed), seed, Options::default());
            let history = outcome.history.resolved();
            let Ok(measured) = measure(&history, &[], &Budget::UNLIMITED) else { continue };
            seeded.seeds += 1;
            seeded.epochs += outcome.counters.epochs;
            seeded.gets += measured.gets.len() as u64;
            for (property, count) in broken(&measured) {
                if count > 0 {
                    let first = seeded.broken.entry(property).or_insert((0, seed));
                    *first = (first.0 + 1, first.1.min(seed));
                }
            }
        }
    };
    let mut all = Seeded { again: again(&plan), ..Seeded::default() };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(one_after_another)).collect();
        for thread in threads {
            let Ok(part) = thread.join() else { continue };
            all.seeds += part.seeds;
            all.epochs += part.epochs;
            all.gets += part.gets;
            add(&mut all.broken, part.broken);
        }
    });
    Ok(all)
}

fn add(all: &mut BTreeMap<Property, (u64, u64)>, part: BTreeMap<Property, (u64, u64)>) {
    for (property, (count, first)) in part {
        let sum = all.entry(property).or_insert((0, first));
        *sum = (sum.0 + count, sum.1.min(first));
    }
}

/// The command that runs one of them, but for its seed.
fn again(plan: &Plan) -> String {
    let faults: Vec<_> = plan.faults.iter().map(ToString::to_string).collect();
    let ClusterPlan { nodes, settings, .. } = &plan.cluster;
    format!(
        "dyno test --cluster sim --nodes {nodes} --time {} --faults {} -n {} -r {} -w {} --quorum {} \
         --versioning {} --read {}",
        plan.time,
        faults.join(","),
        settings.n,
        settings.r,
        settings.w,
        settings.quorum,
        settings.versioning,
        settings.read
    )
}
