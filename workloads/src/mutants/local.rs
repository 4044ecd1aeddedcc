//! The layer of real processes: runs of `dyno test` on this machine, a plan for each bug, until one of
//! the checks fails.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use checker::history::History;
use dynamo_protocol::mutant::Mutant;
use dynamo_protocol::{Quorum, Settings, Versioning};

use super::table::Seeded;
use super::{Control, Hunt, Hunter, Layer};
use crate::interrupt::Interrupt;
use crate::plan::{FaultName, Plan, Role, Span, Target};
use crate::run::verdict::Document;
use crate::run::{Finished, LOGS, Order, run};
use crate::simulated::run::broken;

/// Bugs of the simulator's disk and host, bugs that need a disk that fails, and one that needs a wipe
/// under a strict quorum, which no plan may ask for yet: nothing on a local cluster shows them.
const OUT_OF_REACH: &[Mutant] = &[
    Mutant::CoordinatorUnsynced,
    Mutant::ErrorAsAbsent,
    Mutant::AmnesiacVotes,
    Mutant::AckUnsynced,
    Mutant::SyncErrorSwallowed,
    Mutant::DamageAccepted,
    Mutant::TornBatch,
    Mutant::FullDiskAcks,
];

/// How many runs each bug gets.
pub(super) struct Local {
    pub(super) runs: u64,
}

impl Hunter for Local {
    fn layer(&self) -> Layer {
        Layer::Local
    }

    fn hunt(&self, seeded: &Seeded, checks: &[&'static str]) -> Hunt {
        let mut hunt = Hunt::default();
        // Nor do plans change the membership yet.
        let untold = [OUT_OF_REACH, Mutant::OF_MEMBERSHIP, Mutant::OF_TOMBSTONES, Mutant::OF_SHELL];
        if untold.iter().any(|mutants| mutants.contains(&seeded.mutant)) {
            return hunt;
        }
        let mut failed = BTreeSet::new();
        for seed in 1..=self.runs {
            hunt.effort += 1;
            failed.extend(broken_by(&plan(seeded.mutant, seed), seed));
            if let Some(by) = failed.iter().find(|name| checks.contains(&name.as_str())) {
                hunt.killed = Some((by.clone(), format!("seed {seed}")));
                break;
            }
        }
        hunt.failed = failed.into_iter().collect();
        hunt
    }

    fn control(&self, rows: &[(&'static str, Seeded)]) -> Control {
        let started = Instant::now();
        let mut control = Control { effort: 0, seconds: 0.0, false_positives: Vec::new() };
        let mut done: Vec<Plan> = Vec::new();
        for (_, seeded) in rows {
            let plan = plan(seeded.mutant, 1);
            // Those two are no bugs of the code: the plan asks for them.
            let asks = plan.cluster.settings.versioning != Versioning::Dotted;
            if asks || done.contains(&plan) || OUT_OF_REACH.contains(&seeded.mutant) {
                continue;
            }
            control.effort += 1;
            for name in broken_by(&plan, 1) {
                control.false_positives.push(format!("{}: {name}", seeded.mutant.name()));
            }
            done.push(plan);
        }
        control.seconds = started.elapsed().as_secs_f64();
        control
    }
}

/// The plan that shows a bug soonest: few carts, so that many write the same key, and the faults
/// whose handling it gets wrong.
fn plan(mutant: Mutant, seed: u64) -> Plan {
    use FaultName::{Bitflip, Kill, Partition, Pause, Reset, Rollback};
    let mut plan = Plan { seed: Some(seed), time: Span::secs(6), ..Plan::default() };
    "mutant".clone_into(&mut plan.name);
    plan.workload.carts = 4;
    plan.fault.hold = Span::millis(1_000);
    plan.faults = match mutant {
        Mutant::PlainClocks
        | Mutant::ContextIgnored
        | Mutant::BlindOverwrite
        | Mutant::MergeDropsValues
        | Mutant::StoreOverwrites
        | Mutant::LastWriterWins => vec![Partition],
        Mutant::RetryMints | Mutant::CopyMints => vec![Pause, Reset],
        Mutant::HintsVolatile | Mutant::HandoffNotResumed => vec![Partition, Kill],
        Mutant::ActorReused => vec![Partition],
        Mutant::HintGoneAtSend | Mutant::HintsExpire => vec![Kill, Reset, Partition],
        Mutant::RollbackIgnored => vec![Rollback],
        Mutant::DirectoryBelieved => vec![Rollback, Bitflip],
        _ => vec![Kill, Pause, Partition],
    };
    match mutant {
        Mutant::PlainClocks => plan.cluster.settings.versioning = Versioning::Paper,
        Mutant::LastWriterWins => plan.cluster.settings.versioning = Versioning::Lww,
        Mutant::FirstReply | Mutant::SloppyAsStrict => {
            plan.cluster.settings.quorum = Quorum::Strict
        }
        // Fallbacks that take over for two homes at a time are rarer the more nodes there are.
        Mutant::FallbackTwice | Mutant::HostTwice => plan.cluster.nodes = 4,
        // Several disks to lose: one of each kind at least.
        Mutant::RollbackIgnored | Mutant::DirectoryBelieved => {
            let cluster = &mut plan.cluster;
            (cluster.nodes, cluster.settings) = (6, Settings::new([4, 2, 4]));
            plan.time = Span::secs(10);
        }
        Mutant::HintsVolatile | Mutant::HintGoneAtSend | Mutant::ActorReused => {
            hints_alone(&mut plan)
        }
        _ => {}
    }
    plan
}

/// One home a key: while it is out of reach a hint is the only copy, and it stays one for a while.
fn hints_alone(plan: &mut Plan) {
    let cluster = &mut plan.cluster;
    (cluster.nodes, cluster.settings) = (4, Settings::new([1, 1, 1]));
    cluster.settings.timing.handoff = Duration::from_millis(700);
    plan.time = Span::secs(10);
    // Of one home there is no second.
    plan.fault.targets = [Role::One, Role::Coordinator, Role::Fallback].map(Target::Role).to_vec();
    plan.fault.hold = Span::millis(600);
    plan.fault.gap = Span::millis(100);
}

/// Does a run; what it broke, rule by rule.
fn broken_by(plan: &Plan, seed: u64) -> Vec<String> {
    let folder =
        std::env::temp_dir().join(format!("dyno-mutant-{:016x}", crate::hosts::remote::unique()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let Ok(runtime) = runtime else { return vec!["no runtime".to_owned()] };
    let interrupt = Interrupt::never();
    let order = Order {
        plan,
        seed,
        command: "dyno mutants --layer local",
        out: &folder,
        page: false,
        interrupt,
    };
    let broken = match runtime.block_on(run(&order)) {
        Ok(Finished { store, document }) => {
            let history = History::read(store.path("history.jsonl")).unwrap_or_default();
            names(&document, &history)
        }
        Err(error) => vec![error.to_string()],
    };
    // What cannot be removed is left to the system.
    let _ = std::fs::remove_dir_all(&folder);
    broken
}

fn names(document: &Document, history: &History) -> Vec<String> {
    let reports: Vec<_> = document.checks.clone().into_iter().collect();
    let mut names: Vec<_> = broken(&reports, history).iter().flat_map(|v| v.names()).collect();
    // As the simulator calls them: what logs tell are panics.
    names.iter_mut().filter(|name| **name == LOGS).for_each(|name| *name = "assertion".to_owned());
    names.extend(document.reasons.harness.iter().cloned());
    names
}
