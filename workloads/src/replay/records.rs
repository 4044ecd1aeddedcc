//! The records of nodes, run through the core again: every step has to come out as it did.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use checker::verdict::CheckReport;
use dynamo_node::record::{self, Life, Replayed, Together};
use dyno_command::{document, exit, output};
use serde::Serialize;
use serde_json::json;

use crate::plan::{FaultName, Plan};
use crate::run::verdict::{INVALID, REFUSED, VALID};

/// So many breaches are told; all are counted.
const MOST_TOLD: usize = 100;

/// Where a run keeps the records of its nodes.
pub const FOLDER: &str = "records";

/// What came of the records of one node: one for each start of its process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NodeRecords {
    /// How many records there are.
    pub records: usize,
    /// How many steps came out as they were recorded.
    pub equal: u64,
    /// How many of the records end in the middle of a step: their process was killed.
    pub cut_short: usize,
    /// The first step that came out otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<String>,
}

/// What came of all records in a folder.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// By node.
    pub nodes: BTreeMap<String, NodeRecords>,
    /// What all of them say together.
    pub together: Together,
    /// How large they are.
    pub bytes: u64,
    /// How long it took, by the clock, with a thread for each core.
    pub time: Duration,
}

impl Records {
    /// How many steps came out as they were recorded.
    #[must_use]
    pub fn equal(&self) -> u64 {
        self.nodes.values().map(|node| node.equal).sum()
    }

    /// The first difference of each node that has one.
    pub fn differences(&self) -> impl Iterator<Item = &str> {
        self.nodes.values().filter_map(|node| node.difference.as_deref())
    }
}

/// Where the records are: in a run's folder they have one of their own.
pub(super) fn folder_of(run: &Path) -> PathBuf {
    let of_run = run.join(FOLDER);
    if of_run.is_dir() { of_run } else { run.to_owned() }
}

/// Whether a directory of such a run holds all that was synced to it: no fault of the plan takes something
/// from one that goes on as the same.
fn keeps(plan: &Plan) -> bool {
    let takes = |fault: &FaultName| {
        fault.nature().loses_a_disk && !matches!(fault, FaultName::Wipe | FaultName::Replace)
    };
    !plan.faults.iter().any(takes)
}

/// Replays all records in `folder`, or, if it is the folder of a run, all that the run has left.
///
/// # Errors
/// If there is none, or one cannot be read.
pub fn replay(folder: &Path) -> Result<Records, record::ReplayError> {
    let files = record::files(&folder_of(folder))?;
    let started = Instant::now();
    let bytes = files.iter().filter_map(|file| fs::metadata(file).ok()).map(|meta| meta.len());
    let mut all = Records { bytes: bytes.sum(), ..Records::default() };
    let mut lives = Vec::new();
    // By name: those of a node in the order of its starts.
    for (file, replayed) in each(&files) {
        all.add(&file, replayed?, &mut lives);
    }
    // Of records without their run it is not known what befell their disks.
    let keeps = Plan::read(&folder.join("plan.toml")).is_ok_and(|plan| keeps(&plan));
    all.together = Together::of(&lives, keeps);
    all.time = started.elapsed();
    Ok(all)
}

/// Replays every file, on as many threads as there are cores, the largest first.
fn each(files: &[PathBuf]) -> Vec<(PathBuf, Result<Replayed, record::ReplayError>)> {
    let size = |file: &PathBuf| fs::metadata(file).map_or(0, |meta| meta.len());
    let mut waiting = files.to_vec();
    waiting.sort_by_key(size);
    let (waiting, done) = (std::sync::Mutex::new(waiting), std::sync::Mutex::new(Vec::new()));
    let next = || waiting.lock().expect("no one panics with the lock held").pop();
    let work = || {
        while let Some(file) = next() {
            let replayed = record::replay_file(&file);
            done.lock().expect("no one panics with the lock held").push((file, replayed));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let mut done = done.into_inner().expect("every thread has ended well");
    done.sort_by(|(a, _), (b, _)| a.cmp(b));
    done
}

impl Records {
    /// What the records say together.
    #[must_use]
    pub fn white_box(&self) -> CheckReport {
        let Together { events, acknowledged, hints, restarts, breaches } = &self.together;
        let report = match breaches.first() {
            Some(first) => CheckReport::invalid(first.to_string()),
            None => CheckReport::valid_if_judged(
                self.together.judged(),
                "no event, acknowledgement, hint or restart was recorded",
            ),
        };
        report
            .with("events", *events)
            .with("acknowledged", *acknowledged)
            .with("hints", *hints)
            .with("restarts", *restarts)
            .with("breaches", &breaches[..breaches.len().min(MOST_TOLD)])
            .with("breach_count", breaches.len())
    }

    fn add(&mut self, file: &Path, mut replayed: Replayed, lives: &mut Vec<Life>) {
        lives.append(&mut replayed.lives);
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let node = name.split('-').next().unwrap_or_default().to_owned();
        let of = self.nodes.entry(node).or_default();
        of.records += replayed.records;
        of.equal += replayed.steps;
        of.cut_short += replayed.cut_short;
        if of.difference.is_none() {
            of.difference = replayed.difference.map(|difference| difference.to_string());
        }
    }
}

/// `dyno replay --record`; the status to exit with.
pub(super) fn run(folder: &Path, with_json: bool) -> u8 {
    let records = match replay(folder) {
        Ok(records) => records,
        Err(error) => {
            output::refuse(&error);
            return REFUSED;
        }
    };
    for (node, of) in &records.nodes {
        let NodeRecords { records, equal, cut_short, difference } = of;
        let steps = format!("{equal} steps equal in {records} records");
        output::say(format_args!("{node}: {steps}, {cut_short} of them cut short"));
        if let Some(difference) = difference {
            output::say(difference);
        }
    }
    let (steps, seconds) = (records.equal(), records.time.as_secs_f64());
    let speed = steps as f64 / seconds.max(1e-9);
    let megabytes = records.bytes as f64 / 1e6;
    output::say(format_args!(
        "{steps} steps, {megabytes:.1} MB in {seconds:.2} s: {speed:.0} steps/s"
    ));
    let Together { events, acknowledged, hints, restarts, breaches } = &records.together;
    output::say(format_args!(
        "together: {events} events, {acknowledged} acknowledged puts, {hints} hints delivered, {restarts} \
         restarts on what was kept; {} breaches",
        breaches.len()
    ));
    breaches.iter().take(MOST_TOLD).for_each(output::say);
    let differs = records.differences().next().is_some() || !breaches.is_empty();
    let status = if differs { INVALID } else { VALID };
    if with_json {
        let body = json!({
            "on": "records", "nodes": records.nodes, "together": records.white_box(), "steps": steps,
            "bytes": records.bytes,
            "seconds": seconds, "steps_per_second": speed,
        });
        output::say(document("replay", Some(exit::verdict(status)), body));
    }
    status
}
