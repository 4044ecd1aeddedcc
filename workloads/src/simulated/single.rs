//! `dyno test --cluster sim`: one plan under virtual time, judged and reported as on real nodes.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use checker::history::History;
use checker::verdict::CheckReport;
use dynamo_sim::replay;
use dynamo_sim::trace::Trace;

use super::run::{Options, Outcome, run};
use super::scenario::Scenario;
use crate::interpreter::Tally;
use crate::plan::Plan;
use crate::run::RECORDS;
use crate::run::finish::Closing;
use crate::run::progress::simulated;
use crate::run::store::Store;
use crate::run::verdict::{Document, Latency};

/// Runs the plan in the simulator; leaves the history in `store` and what is known beside it in `document`.
///
/// # Errors
/// If the history cannot be written.
pub fn bench(plan: &Plan, seed: u64, store: &Store, document: &mut Document) -> Result<Closing> {
    let scenario = Scenario::of_plan(plan, seed);
    let now = AtomicU64::default();
    let options = Options { record: plan.cluster.record, now: Some(&now), ..Options::default() };
    let mut outcome = simulated(plan.time.0, &now, || run(&scenario, seed, options));
    outcome.history = std::mem::take(&mut outcome.history).resolved();
    write(&outcome, store)?;
    document.seconds = outcome.simulated.as_secs_f64();
    document.ops = outcome.counts;
    document.latency_ms = latency(&outcome.history);
    let fired = outcome.counters;
    document.counters = BTreeMap::from([
        ("hints_stored".to_owned(), fired.hints_stored),
        ("hints_delivered".to_owned(), fired.hints_delivered),
        ("read_repairs".to_owned(), fired.read_repairs),
        ("keys_synced".to_owned(), fired.keys_synced),
        ("epochs_entered".to_owned(), fired.epochs),
        ("hints_adopted".to_owned(), fired.hints_adopted),
        ("strays_dropped".to_owned(), fired.strays_dropped),
        ("forwarded".to_owned(), fired.forwarded),
        ("rolled_back".to_owned(), fired.rolled_back),
    ]);
    let mut checks = white_box(&outcome);
    if let Some(trace) = &outcome.trace {
        let path = store.path("trace.json");
        std::fs::write(&path, trace.to_json()).with_context(|| path.display().to_string())?;
        checks.insert(RECORDS.to_owned(), on_the_core(trace));
    }
    let epochs = if plan.changes_the_ring() { outcome.epochs } else { Vec::new() };
    Ok(Closing { checks, doubts: outcome.doubts, epochs, ..Closing::default() })
}

/// The steps of all nodes, run through the bare core again.
fn on_the_core(trace: &Trace) -> CheckReport {
    let started = Instant::now();
    match replay::on_core(trace) {
        Ok(replayed) => CheckReport::valid_if_judged(replayed.compared, "no step was compared")
            .with("steps", replayed.compared)
            .with("seconds", started.elapsed().as_secs_f64()),
        Err(error) => CheckReport::invalid(error.to_string()),
    }
}

/// What only the simulator can see, as reports beside the checkers' own.
fn white_box(outcome: &Outcome) -> BTreeMap<String, CheckReport> {
    let said: Vec<_> = outcome.reports.iter().map(|(name, _)| name).collect();
    let seen = outcome.violations.iter().filter(|violation| !said.contains(&&violation.check));
    seen.map(|seen| (seen.check.clone(), CheckReport::invalid(seen.what.clone()))).collect()
}

fn write(outcome: &Outcome, store: &Store) -> Result<()> {
    let path = store.path("history.jsonl");
    let named = || path.display().to_string();
    let file = std::fs::File::create(&path).with_context(named)?;
    let mut file = std::io::BufWriter::new(file);
    for op in outcome.history.ops() {
        serde_json::to_writer(&mut file, op).with_context(named)?;
        file.write_all(b"\n").with_context(named)?;
    }
    file.flush().with_context(named)
}

/// Of operations that were ok, from the history itself.
pub(crate) fn latency(history: &History) -> Latency {
    let tally = Tally::default();
    for pair in history.pairs() {
        if let Some(completion) = pair.completion {
            let took = Duration::from_nanos(completion.time - pair.invoke.time);
            tally.count(completion.kind, took);
        }
    }
    Latency::of(&tally)
}
