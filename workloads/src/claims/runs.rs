//! Runs that were kept, and what they tell of their settings: how stale gets were, beside what is predicted
//! of how long their messages took, and which promises were broken.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use checker::budget::Budget;
use checker::history::History;
use checker::siblings::measure::{Get, Measured, measure};
use checker::staleness::Quorum;
use checker::staleness::pbs::Legs as Halves;
use dyno_claims::observed::{Fresh, Observed, Within};
use dyno_claims::pbs::{Coordinator, Legs, predict_by};
use dyno_claims::{Column, Property, Setting};
use dyno_command::output;
use serde_json::Value;

use super::legs;
use crate::plan::{ClusterKind, FaultName, Plan, PlanError, Source};
use crate::run::store::Store;

/// Trials of a prediction.
const TRIALS: usize = 200_000;
/// Nanoseconds in a millisecond.
const MILLI: f64 = 1e6;

/// A run that was read, with what its staleness is predicted from.
pub(super) struct Run {
    pub(super) observed: Observed,
    /// How its messages took, in words.
    pub(super) legs: String,
}

/// Every run in these folders, or below them. What is no run is passed over; a run that cannot be read is
/// said to be.
///
/// # Errors
/// If there is no run at all.
pub(super) fn read(
    folders: &[PathBuf],
    waits: &[f64],
    puts: &[u32],
) -> Result<Vec<Run>, PlanError> {
    let mut runs = Vec::new();
    for folder in folders {
        let mut found = Vec::new();
        find(folder, &mut found);
        if found.is_empty() {
            let folder = folder.display();
            return Err(PlanError(format!(
                "--runs {folder}: no run is there: `dyno test` makes one, with history.jsonl and verdict.json"
            )));
        }
        for dir in found {
            match one(&dir, waits, puts) {
                Ok(run) => runs.push(run),
                Err(why) => output::note(format_args!("{}: left out: {why}", dir.display())),
            }
        }
    }
    Ok(runs)
}

fn find(folder: &Path, found: &mut Vec<PathBuf>) {
    if folder.join("history.jsonl").is_file() && folder.join("plan.toml").is_file() {
        return found.push(folder.to_owned());
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut below: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        // `latest` is a link to one that is there by itself.
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect();
    below.sort();
    below.iter().for_each(|folder| find(folder, found));
}

fn one(dir: &Path, waits: &[f64], puts: &[u32]) -> Result<Run, String> {
    let store = Store::open(dir).map_err(|error| error.to_string())?;
    let (plan, _) = Source::read(&store.path("plan.toml")).map_err(|error| error.to_string())?;
    let verdict = store.path("verdict.json");
    let verdict =
        std::fs::read_to_string(&verdict).map_err(|error| format!("verdict.json: {error}"))?;
    let verdict: Value =
        serde_json::from_str(&verdict).map_err(|error| format!("verdict.json: {error}"))?;
    let history =
        History::read(store.path("history.jsonl")).map_err(|error| error.to_string())?.resolved();
    let nanos: Vec<u64> = waits.iter().map(|wait| (wait * MILLI) as u64).collect();
    let measured = measure(&history, &nanos, &Budget::UNLIMITED).map_err(|why| why.to_string())?;
    let setting = Setting::of(&plan.cluster.settings);
    let recorded = legs::recorded(dir, plan.cluster.kind);
    let (legs, told) = match recorded {
        Some(legs) => {
            let (puts, gets) = (legs.puts.len(), legs.gets.len());
            (Some(legs), format!("ways of {puts} puts and {gets} gets, as recorded"))
        }
        None => (by_latency(&history, &setting), "half of how long requests took".to_owned()),
    };
    let (column, faults) = what_went_wrong(&plan, &verdict);
    let is = |name: &str| verdict.get(name).and_then(Value::as_str) == Some("valid");
    let observed = Observed {
        name: dir.display().to_string(),
        setting,
        is_simulated: plan.cluster.kind == ClusterKind::Sim,
        column,
        faults,
        is_covered: is("coverage") && is("harness"),
        fresh: fresh(&measured.gets, waits, legs.as_ref(), &setting),
        within: puts.iter().map(|k| within(&measured.gets, *k)).collect(),
        broken: broken(&measured),
    };
    Ok(Run { observed, legs: told })
}

/// What was broken, how often.
pub(super) fn broken(measured: &Measured) -> BTreeMap<Property, u64> {
    let stale = measured.gets.iter().filter(|get| get.stale.is_some()).count() as u64;
    let (own, seen) = (measured.own_missed, measured.seen_missed);
    let siblings = u64::from(measured.most_siblings > 1);
    BTreeMap::from([
        (Property::NoLostAck, measured.lost),
        (Property::Fresh, stale),
        (Property::ReadYourWrites, own),
        (Property::MonotonicReads, seen),
        (Property::Causal, own + seen),
        (Property::Linearizable, stale),
        (Property::NoResurrection, measured.resurrected),
        (Property::OneSibling, siblings),
    ])
}

/// The column of what went wrong, and in words what did. Where a host was only slow a fallback was asked.
fn what_went_wrong(plan: &Plan, verdict: &Value) -> (Option<Column>, String) {
    let mut words = Vec::new();
    let mut columns = Vec::new();
    let mut is_other = false;
    for fault in &plan.faults {
        let installed = verdict.pointer(&format!("/faults/{fault}/installed"));
        let installed = installed.and_then(Value::as_u64).unwrap_or_default();
        if installed == 0 {
            continue;
        }
        words.push(format!("{fault} came {installed} times"));
        match column(*fault) {
            Some(column) => columns.push(column),
            None => is_other = true,
        }
    }
    let hints = verdict.pointer("/counters/hints_stored").and_then(Value::as_u64);
    if columns.is_empty() && !is_other && hints.is_some_and(|hints| hints > 0) {
        words.push("fallbacks were asked for slow hosts".to_owned());
        columns.push(Column::SlowLink);
    }
    let column = if is_other { None } else { Column::of_kinds(&columns) };
    let told = if words.is_empty() { "nothing went wrong".to_owned() } else { words.join(", ") };
    (column, told)
}

/// What a fault of a run is in the table; none if no column has its like.
fn column(fault: FaultName) -> Option<Column> {
    match fault {
        FaultName::Kill => Some(Column::Crash),
        FaultName::Partition => Some(Column::Partition),
        FaultName::Pause => Some(Column::Pause),
        FaultName::Delay | FaultName::Rate => Some(Column::SlowLink),
        FaultName::Wipe => Some(Column::Wipe),
        FaultName::Join | FaultName::Leave | FaultName::Replace => Some(Column::Membership),
        _ => None,
    }
}

fn within(gets: &[Get], k: u32) -> Within {
    let good = gets.iter().filter(|get| get.missed < k as usize).count() as u64;
    Within { k, good, all: gets.len() as u64 }
}

/// At each wait: the gets that had something to show by then, and what is predicted of just their ages.
fn fresh(gets: &[Get], waits: &[f64], legs: Option<&Legs>, setting: &Setting) -> Vec<Fresh> {
    let sizes = [setting.n, setting.r, setting.w];
    let curves = legs.and_then(|legs| {
        let of = |coordinator| predict_by(sizes, coordinator, legs, TRIALS, 1);
        Some([of(Coordinator::Home)?, of(Coordinator::Outside)?])
    });
    let at = |(place, t_ms): (usize, &f64)| {
        let due = gets.iter().filter_map(|get| Some((get, get.ages[place]?)));
        let (mut good, mut all, mut sums) = (0, 0, [0.0; 2]);
        for (get, age) in due {
            all += 1;
            // Stale by less than that is as claimed.
            good += u64::from(get.stale.is_none_or(|stale| (stale as f64) < t_ms * MILLI));
            for (sum, curve) in sums.iter_mut().zip(curves.iter().flatten()) {
                *sum += curve.fresh(age as f64 / MILLI);
            }
        }
        let [a, b] = sums;
        Fresh { t_ms: *t_ms, good, all, predicted: curves.as_ref().map(|_| [a.min(b), a.max(b)]) }
    };
    waits.iter().enumerate().map(at).collect()
}

/// Where nodes did not record: the ways that requests' own times speak of, each by itself.
fn by_latency(history: &History, setting: &Setting) -> Option<Legs> {
    let took = |is_get: bool| -> Vec<u64> {
        let own = history.pairs().filter(|pair| (pair.f() == "get") == is_get && !pair.is_final());
        own.filter_map(|pair| Some(pair.acknowledged_at()? - pair.invoke.time)).collect()
    };
    let Setting { n, r, w, .. } = *setting;
    let quorum = Quorum { n: n as u64, r: r as u64, w: w as u64 };
    let halves = Halves::of_operations(&took(false), &took(true), quorum)?;
    let pairs = |there: &[u64], back: &[u64]| {
        let ways = there.iter().zip(back);
        ways.map(|(there, back)| vec![[*there as f64 / MILLI, *back as f64 / MILLI]]).collect()
    };
    Some(Legs {
        puts: pairs(&halves.write, &halves.ack),
        gets: pairs(&halves.read, &halves.response),
    })
}
