//! A run in the list: what its `verdict.json` says, as far as the list needs it.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use checker::verdict::Verdict;
use serde::{Deserialize, Serialize};

/// A verdict larger than this is none of ours.
const LARGEST: u64 = 256 << 20;

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// It broke a promise.
    Invalid,
    /// It proves nothing.
    Unknown,
    /// It wrote to its history a moment ago, and has no verdict yet.
    Running,
    /// It ended without a verdict, as when its driver was killed.
    Ended,
    /// It kept all promises.
    Valid,
}

impl State {
    /// All of them, the worst first.
    pub(crate) const ALL: [Self; 5] =
        [Self::Invalid, Self::Unknown, Self::Running, Self::Ended, Self::Valid];

    /// The word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Unknown => "unknown",
            Self::Running => "running",
            Self::Ended => "ended",
            Self::Valid => "valid",
        }
    }
}

impl From<Verdict> for State {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Valid => Self::Valid,
            Verdict::Unknown => Self::Unknown,
            Verdict::Invalid => Self::Invalid,
        }
    }
}

/// A run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Run {
    /// Its folder, relative to the root, with `/` between.
    pub path: String,
    /// How far it came, or what came of it.
    pub state: State,
    /// The three verdicts, where there are any.
    pub three: Option<[Verdict; 3]>,
    /// The first reason why it is not valid.
    pub reason: Option<String>,
    /// The plan's name; that of the folder above, where nothing says.
    pub plan: String,
    /// Its seed.
    pub seed: Option<u64>,
    /// The command that does it again.
    pub again: String,
    /// When it began, in UTC, as RFC 3339 has it.
    pub began: String,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Operations that were ok, failed, and of which nobody knows.
    pub ops: [u64; 3],
    /// The 99th percentile of what was ok, in milliseconds.
    pub p99_ms: f64,
    /// Acknowledged writes that are gone, and that cannot be read.
    pub lost: [u64; 2],
    /// The faults it planned.
    pub faults: Vec<String>,
    /// Of each fault how often it was injected and proven.
    pub tried: BTreeMap<String, [u64; 2]>,
    /// The checks that are not valid.
    pub failed: Vec<String>,
    /// What the nodes counted.
    pub counters: BTreeMap<String, u64>,
    /// The cluster in a few words: `5 nodes local, 3/2/2, sloppy, dotted, plain`.
    pub cluster: String,
    /// What built the program: its commit where that is known, else its version.
    pub build: String,
    /// Is `build` a commit?
    pub is_commit: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Document {
    verdict: Option<Verdict>,
    property: Option<Verdict>,
    coverage: Option<Verdict>,
    harness: Option<Verdict>,
    reasons: Reasons,
    plan: String,
    seed: Option<u64>,
    again: String,
    setup: Setup,
    seconds: f64,
    ops: Ops,
    latency_ms: Latency,
    checks: BTreeMap<String, Check>,
    faults: BTreeMap<String, Fault>,
    counters: BTreeMap<String, u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reasons {
    property: Vec<String>,
    coverage: Vec<String>,
    harness: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Setup {
    dyno: String,
    commit: Option<String>,
    changed: bool,
    began: String,
    faults: Vec<String>,
    cluster: Cluster,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cluster {
    kind: String,
    nodes: u64,
    n: u64,
    r: u64,
    w: u64,
    quorum: String,
    versioning: String,
    read: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ops {
    ok: u64,
    fail: u64,
    info: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Latency {
    p99: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Check {
    verdict: Option<Verdict>,
    lost_count: u64,
    unreadable_count: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fault {
    installed: u64,
    proven: u64,
}

impl Run {
    /// A run without a verdict.
    pub(super) fn without_verdict(path: &str, state: State, reason: Option<String>) -> Self {
        let plan = path.rsplit_once('/').map_or("", |(above, _)| above);
        Self {
            path: path.to_owned(),
            state,
            three: None,
            reason,
            plan: plan.rsplit('/').next().unwrap_or_default().to_owned(),
            seed: None,
            again: String::new(),
            began: String::new(),
            seconds: 0.0,
            ops: [0; 3],
            p99_ms: 0.0,
            lost: [0; 2],
            faults: Vec::new(),
            tried: BTreeMap::new(),
            failed: Vec::new(),
            counters: BTreeMap::new(),
            cluster: String::new(),
            build: String::new(),
            is_commit: false,
        }
    }

    /// The run whose verdict lies at `file`.
    pub(super) fn read(path: &str, file: &Path) -> Self {
        let text = std::fs::File::open(file).and_then(|file| {
            let mut text = Vec::new();
            file.take(LARGEST).read_to_end(&mut text)?;
            Ok(text)
        });
        let document = text.map_err(|error| error.to_string()).and_then(|text| {
            serde_json::from_slice::<Document>(&text).map_err(|error| error.to_string())
        });
        match document {
            Ok(document) => Self::of(path, document),
            Err(error) => {
                let reason = format!("verdict.json cannot be read: {error}");
                Self::without_verdict(path, State::Ended, Some(reason))
            }
        }
    }

    pub(super) fn of(path: &str, document: Document) -> Self {
        let Document { reasons, setup, ops, checks, .. } = document;
        let reason =
            reasons.property.into_iter().chain(reasons.coverage).chain(reasons.harness).next();
        let state = document.verdict.map_or(State::Ended, State::from);
        let failed = |check: &Check| check.verdict.is_some_and(|said| said != Verdict::Valid);
        let sum = |of: fn(&Check) -> u64| checks.values().map(of).sum();
        let three = document.property.zip(document.coverage).zip(document.harness);
        let mut run = Self::without_verdict(path, state, reason);
        if !document.plan.is_empty() {
            run.plan = document.plan;
        }
        run.three = three.map(|((property, coverage), harness)| [property, coverage, harness]);
        run.seed = document.seed;
        run.again = document.again;
        run.began = setup.began;
        run.seconds = document.seconds;
        run.ops = [ops.ok, ops.fail, ops.info];
        run.p99_ms = document.latency_ms.p99;
        run.lost = [sum(|check| check.lost_count), sum(|check| check.unreadable_count)];
        run.faults = setup.faults;
        let tried = document.faults.into_iter();
        run.tried = tried.map(|(name, fault)| (name, [fault.installed, fault.proven])).collect();
        let names = checks.iter().filter(|(_, check)| failed(check));
        run.failed = names.map(|(name, _)| name.clone()).collect();
        run.counters = document.counters;
        let Cluster { kind, nodes, n, r, w, quorum, versioning, read } = setup.cluster;
        run.cluster = format!("{nodes} nodes {kind}, {n}/{r}/{w}, {quorum}, {versioning}, {read}");
        // What was built of a commit and something else says nothing of the commit.
        run.is_commit = setup.commit.is_some() && !setup.changed;
        run.build = match setup.commit {
            Some(commit) if setup.changed => {
                format!("{} and changes", commit.chars().take(10).collect::<String>())
            }
            Some(commit) => commit,
            None => setup.dyno,
        };
        run
    }

    /// The folder's own name.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// The night it belongs to: the day on which it began; that of its folder's name, where nothing says.
    pub(crate) fn day(&self) -> String {
        if let Some(day) = self.began.get(..10).filter(|day| day.as_bytes()[4] == b'-') {
            return day.to_owned();
        }
        match self.name().get(..8).filter(|day| day.bytes().all(|byte| byte.is_ascii_digit())) {
            Some(day) => format!("{}-{}-{}", &day[..4], &day[4..6], &day[6..]),
            None => String::new(),
        }
    }

    /// When it began, to sort by: also of a run that is not over.
    pub(crate) fn when(&self) -> String {
        let name: String =
            self.name().chars().take(16).filter(char::is_ascii_alphanumeric).collect();
        let said: String = self.began.chars().filter(char::is_ascii_alphanumeric).collect();
        if said.is_empty() { name } else { said }
    }
}
