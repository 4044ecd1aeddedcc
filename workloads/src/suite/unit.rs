//! A unit: the least that is run and judged as one, a pure function of plan, seed, cluster and build.

use std::ops::Range;

use dynamo_protocol::Versioning;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::hosts::remote::Binary;
use crate::plan::{ClusterKind, FaultName, Plan};
use crate::suite::shard::Shard;

/// What is run.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// `dyno test` of a plan that has its seed.
    Test(Box<Plan>),
    /// `dyno sim` of some seeds: days of a plan, or drawn.
    Sim(Option<Box<Plan>>, Range<u64>),
    /// `dyno sim --cuts`: every way of cutting the links of a plan's nodes whose number is among these.
    Cuts(Box<Plan>, Range<u64>),
    /// `dyno sim --shell` of some seeds: whole nodes.
    Shell(Versioning, Range<u64>),
    /// `dyno sim --shell --crashes` of some: power goes at every point in the work of their disks.
    Crashes(Range<u64>),
}

/// What a unit is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It is what the night is about.
    Judged,
    /// The same without faults.
    Control,
    /// A store that loses writes: who does not find that out finds nothing.
    Canary,
}

/// The cluster and the modes of a plan, as the table of a night has them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mode {
    /// `sim`, `local`, `ssh` or `lab`.
    pub cluster: String,
    /// `sloppy` or `strict`.
    pub quorum: String,
    /// `dotted`, `paper` or `lww`.
    pub versioning: String,
    /// `plain` or `atomic`.
    pub read: String,
}

/// A unit as all shards know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Sixteen hexadecimal digits, of what it does and of the build that does it.
    pub id: String,
    /// In words. No two units of a suite have the same.
    pub name: String,
    /// The name without the seed: units of one cell try the same thing.
    pub cell: String,
    /// The part of the suite's file that it comes from.
    pub part: String,
    /// What it is there for.
    pub role: Role,
    /// The shard it belongs to, of a canary.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub shard: Option<Shard>,
    /// It is run only if there is time.
    pub optional: bool,
    /// It may be skipped where a machine cannot do it.
    pub where_able: bool,
    /// The same without faults.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub control: Option<String>,
    /// The faults that are to happen.
    pub faults: Vec<FaultName>,
    /// How many seeds it runs.
    pub seeds: u64,
    /// Its modes; none where every seed draws them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mode: Option<Mode>,
}

/// The program that runs units, by its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// Its version.
    pub dyno: String,
    /// The first sixteen hexadecimal digits of its SHA-256.
    pub program: String,
}

impl Build {
    /// The program that is running now.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn own() -> std::io::Result<Self> {
        let program = Binary::own()?.hash()[..16].to_owned();
        Ok(Self { dyno: env!("CARGO_PKG_VERSION").to_owned(), program })
    }
}

impl Work {
    /// The name of the command that does it.
    #[must_use]
    pub fn command(&self) -> &'static str {
        match self {
            Self::Test(_) => "test",
            Self::Sim(..) | Self::Cuts(..) | Self::Shell(..) | Self::Crashes(_) => "sim",
        }
    }

    /// The plan, if there is one.
    #[must_use]
    pub fn plan(&self) -> Option<&Plan> {
        match self {
            Self::Test(plan) | Self::Cuts(plan, _) => Some(plan),
            Self::Sim(plan, _) => plan.as_deref(),
            Self::Shell(..) | Self::Crashes(_) => None,
        }
    }

    /// The faults that are to happen.
    #[must_use]
    pub fn faults(&self) -> Vec<FaultName> {
        match self {
            Self::Cuts(..) => vec![FaultName::Partition],
            _ => self.plan().map(|plan| plan.faults.clone()).unwrap_or_default(),
        }
    }

    /// How many seeds.
    #[must_use]
    pub fn seeds(&self) -> u64 {
        match self {
            Self::Test(_) => 1,
            _ => self.range().map_or(0, |seeds| seeds.end - seeds.start),
        }
    }

    /// Which seeds `dyno sim` runs.
    pub(super) fn range(&self) -> Option<&Range<u64>> {
        match self {
            Self::Test(_) => None,
            Self::Sim(_, seeds)
            | Self::Cuts(_, seeds)
            | Self::Shell(_, seeds)
            | Self::Crashes(seeds) => Some(seeds),
        }
    }

    /// Whether it takes one core and no more: then others may be run beside it.
    #[must_use]
    pub fn takes_one_core(&self) -> bool {
        matches!(self, Self::Test(plan) if plan.cluster.kind == ClusterKind::Sim)
    }

    /// All that it depends on but for the build.
    #[must_use]
    pub fn text(&self) -> String {
        let plan = self.plan().map(Plan::to_toml).unwrap_or_default();
        match self {
            Self::Test(_) => format!("test\n{plan}"),
            Self::Sim(_, seeds) => format!("sim {}..{}\n{plan}", seeds.start, seeds.end),
            Self::Cuts(_, seeds) => format!("cuts {}..{}\n{plan}", seeds.start, seeds.end),
            Self::Shell(versioning, seeds) => {
                format!("shell {versioning} {}..{}\n", seeds.start, seeds.end)
            }
            Self::Crashes(seeds) => format!("crashes {}..{}\n", seeds.start, seeds.end),
        }
    }

    /// The seeds in a word.
    pub(crate) fn seeds_text(&self) -> String {
        match self {
            Self::Test(plan) => plan.seed.unwrap_or_default().to_string(),
            _ => self
                .range()
                .map_or_else(String::new, |seeds| format!("{}..{}", seeds.start, seeds.end)),
        }
    }
}

impl Mode {
    /// Of a plan.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let settings = &plan.cluster.settings;
        Self {
            cluster: plan.cluster.kind.to_string(),
            quorum: settings.quorum.to_string(),
            versioning: settings.versioning.to_string(),
            read: settings.read.to_string(),
        }
    }
}

impl Unit {
    /// A unit of `part` that does `work` under `build`.
    #[must_use]
    pub fn new(part: &str, role: Role, work: &Work, build: &Build) -> Self {
        let cell = cell(part, role, work);
        Self {
            id: hash(&[&build.program, &work.text()]),
            name: format!("{cell}, seed {}", work.seeds_text()),
            cell,
            part: part.to_owned(),
            role,
            shard: None,
            optional: false,
            where_able: false,
            control: None,
            faults: work.faults(),
            seeds: work.seeds(),
            mode: work.plan().map(Mode::of),
        }
    }

    /// The name of its folder.
    #[must_use]
    pub fn folder(&self) -> String {
        format!("{}-{}", self.part, self.id)
    }
}

/// The first sixteen hexadecimal digits of the SHA-256 of texts, each with its length before it.
#[must_use]
pub fn hash(texts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update((text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// `faults: local, 5 nodes 3/2/2, sloppy dotted plain, kill+pause`
fn cell(part: &str, role: Role, work: &Work) -> String {
    let lead = match role {
        Role::Judged | Role::Canary => "",
        Role::Control => "control of ",
    };
    let drawn = match work {
        Work::Shell(Versioning::Dotted, _) => "whole nodes, all drawn".to_owned(),
        Work::Shell(versioning, _) => format!("whole nodes, {versioning}, all drawn"),
        Work::Crashes(_) => "whole nodes, power cuts everywhere".to_owned(),
        _ => "sim, all drawn".to_owned(),
    };
    let Some(plan) = work.plan() else { return format!("{lead}{part}: {drawn}") };
    let cluster = &plan.cluster;
    let settings = &cluster.settings;
    let command = match work {
        Work::Test(_) | Work::Shell(..) | Work::Crashes(_) => "",
        Work::Sim(..) => "days of ",
        Work::Cuts(..) => "ways of cutting ",
    };
    let mut text = format!(
        "{lead}{part}: {command}{}, {} nodes {}/{}/{}, {} {} {}",
        cluster.kind,
        cluster.nodes,
        settings.n,
        settings.r,
        settings.w,
        settings.quorum,
        settings.versioning,
        settings.read,
    );
    let usual = Plan::default().cluster.settings;
    if settings.anti_entropy != usual.anti_entropy {
        text += if settings.anti_entropy { " anti-entropy" } else { " no-anti-entropy" };
    }
    if settings.partitioning != usual.partitioning {
        text += &format!(" {}", settings.partitioning);
    }
    format!("{text}, {}", faults(&work.faults()))
}

/// `kill+pause`, or `no faults`.
fn faults(names: &[FaultName]) -> String {
    let names: Vec<_> = names.iter().map(|name| name.as_str()).collect();
    if names.is_empty() { "no faults".to_owned() } else { names.join("+") }
}
