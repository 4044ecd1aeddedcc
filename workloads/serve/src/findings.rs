//! What was found in all runs, gathered by what findings have in common.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use checker::history::History;
use checker::verdict::CheckReport;
use dyno_page::{Signature, sightings};
use serde_json::Value;

use crate::index::{Run, Runs, State};
use crate::root::Root;

/// As long is read for one look; a later look goes on.
const PATIENCE: Duration = Duration::from_millis(1500);
/// A history that is longer is left out: it would have to be held in memory.
const LONGEST: u64 = 1 << 30;

/// What one run has of one signature.
#[derive(Clone, Debug)]
struct Seen {
    signature: Signature,
    count: u64,
    /// The first of its findings: its number, and its title.
    first: (usize, String),
    /// By fault that was over before them how many there are.
    preceded: BTreeMap<String, u64>,
    /// How many no fault preceded.
    unpreceded: u64,
}

/// Findings of all runs that have one signature.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    /// How many there are.
    pub count: u64,
    /// The runs that have some, the latest first: with the number of the first in it, and its title.
    pub runs: Vec<(Arc<Run>, usize, String)>,
    /// By fault that was over before them how many there are.
    pub preceded: BTreeMap<String, u64>,
    /// How many no fault preceded.
    pub unpreceded: u64,
}

/// All that was found.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// By signature: what needs no fault first, then what the most runs have.
    pub clusters: Vec<(Signature, Cluster)>,
    /// How many invalid runs there are, and how many of them were read.
    pub invalid: usize,
    /// How many of them were read.
    pub read: usize,
    /// Runs that could not be read, and why.
    pub unread: Vec<(Arc<Run>, String)>,
}

/// What the history of one run showed, or why it does not tell.
type Answer = Result<Arc<Vec<Seen>>, String>;

/// What was read before.
#[derive(Default)]
pub(crate) struct Findings(Mutex<HashMap<String, (Arc<Run>, Answer)>>);

impl Findings {
    /// Gathers what was found; reads histories for a second or two, and says how many are left. Not for a
    /// thread that serves.
    pub(crate) fn gather(&self, root: &Root, runs: &Runs) -> Gathered {
        let mut known = self.0.lock().expect("no one panics with the lock held");
        // A run that was judged again has another verdict, and one that is gone has no findings.
        known.retain(|path, (of, _)| runs.get(path).is_some_and(|run| Arc::ptr_eq(run, of)));
        let begun = Instant::now();
        let mut gathered = Gathered::default();
        let mut clusters: BTreeMap<Signature, Cluster> = BTreeMap::new();
        for run in runs.all.iter().filter(|run| run.state == State::Invalid) {
            gathered.invalid += 1;
            if !known.contains_key(&run.path) && begun.elapsed() < PATIENCE {
                known.insert(run.path.clone(), (run.clone(), read(root, run)));
            }
            match known.get(&run.path) {
                None => continue,
                Some((_, Err(why))) => gathered.unread.push((run.clone(), why.clone())),
                Some((_, Ok(seen))) => seen.iter().for_each(|seen| {
                    add(clusters.entry(seen.signature.clone()).or_default(), run, seen);
                }),
            }
            gathered.read += 1;
        }
        gathered.clusters = clusters.into_iter().collect();
        gathered.clusters.sort_by_key(|(signature, cluster)| {
            (!signature.during.is_empty(), std::cmp::Reverse(cluster.runs.len()))
        });
        gathered
    }
}

fn add(cluster: &mut Cluster, run: &Arc<Run>, seen: &Seen) {
    cluster.count += seen.count;
    cluster.unpreceded += seen.unpreceded;
    for (fault, count) in &seen.preceded {
        *cluster.preceded.entry(fault.clone()).or_default() += count;
    }
    cluster.runs.push((run.clone(), seen.first.0, seen.first.1.clone()));
}

/// Reads what one run found.
fn read(root: &Root, run: &Run) -> Answer {
    let open = |name: &str| {
        let path = format!("{}/{name}", run.path);
        root.open(&path).map(|(_, path)| path).ok_or_else(|| format!("it has no {name}"))
    };
    let verdict = fs::read(open("verdict.json")?).map_err(|error| error.to_string())?;
    let verdict: Value = serde_json::from_slice(&verdict).map_err(|error| error.to_string())?;
    let checks = verdict.get("checks").and_then(Value::as_object).into_iter().flatten();
    let checks: BTreeMap<String, CheckReport> = checks
        .filter_map(|(name, report)| Some((name.clone(), CheckReport::of_json(report)?)))
        .collect();
    let history = open("history.jsonl")?;
    if fs::metadata(&history).is_ok_and(|meta| meta.len() > LONGEST) {
        return Err("its history is too long to be read here: `dyno show` tells of it".to_owned());
    }
    let history = History::read(&history).map_err(|error| error.to_string())?;
    let mut all: BTreeMap<Signature, Seen> = BTreeMap::new();
    for found in sightings(&checks, &history) {
        let seen = all.entry(found.signature.clone()).or_insert_with(|| Seen {
            signature: found.signature,
            count: 0,
            first: (found.number, found.title),
            preceded: BTreeMap::new(),
            unpreceded: 0,
        });
        seen.count += 1;
        seen.unpreceded += u64::from(found.preceded_by.is_empty());
        for fault in found.preceded_by {
            *seen.preceded.entry(fault).or_default() += 1;
        }
    }
    Ok(Arc::new(all.into_values().collect()))
}
