//! The file of a suite: which plans, seeds, clusters and settings are combined.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use dynamo_protocol::{Partitioning, Quorum, ReadMode, Versioning};
use dyno_command::Span;
use serde::{Deserialize, Deserializer};

use crate::plan::{ClusterKind, FaultName, PlanError, of_text};
use crate::simulated::cli::Seeds;

/// A suite as it is written.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuiteFile {
    /// Names the suite; that of the file, where a file does not say.
    #[serde(default)]
    pub name: String,
    /// How long it may take, where the command line does not say.
    #[serde(default)]
    pub budget: Option<Span>,
    /// A unit that takes longer is ended, and counts as one that did not work.
    #[serde(default = "usual_limit")]
    pub limit: Span,
    /// Runs of `dyno test`.
    #[serde(default, rename = "test")]
    pub tests: Vec<Tests>,
    /// Many simulated days at a time, by `dyno sim`.
    #[serde(default, rename = "sim")]
    pub sims: Vec<Days>,
}

/// Runs of `dyno test`: every combination of what is listed, a unit each.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tests {
    /// Names them; that of the plan, where nothing is said.
    pub name: Option<String>,
    /// The plan, from the folder of the suite's file; without one, what `dyno test` does without one.
    pub plan: Option<PathBuf>,
    /// Where they run.
    pub clusters: Vec<ClusterKind>,
    /// The seeds that have to be run.
    #[serde(deserialize_with = "seeds")]
    pub seeds: Seeds,
    /// Seeds that are run after all that has to be, for as long as there is time.
    #[serde(default, deserialize_with = "more_seeds")]
    pub more: Option<Seeds>,
    /// Where a machine cannot do it, it is skipped and the night counts without it.
    #[serde(default)]
    pub where_able: bool,
    /// How long clients work, instead of what the plan says.
    pub time: Option<Span>,
    /// Sets of faults, instead of the plan's.
    pub faults: Option<Vec<Vec<FaultName>>>,
    /// Numbers of nodes.
    pub nodes: Option<Vec<u16>>,
    /// Homes of a key, answers of a get, copies of a put.
    pub nrw: Option<Vec<Nrw>>,
    /// Modes of quorums.
    pub quorum: Option<Vec<Quorum>>,
    /// Modes of versions.
    pub versioning: Option<Vec<Versioning>>,
    /// Modes of gets.
    pub read: Option<Vec<ReadMode>>,
    /// With anti-entropy, or without it.
    pub anti_entropy: Option<Vec<bool>>,
    /// Ways of cutting the ring.
    pub partitioning: Option<Vec<Partitioning>>,
}

/// Days of `dyno sim`: so many seeds a unit.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Days {
    /// Names them; that of the plan, or `days`, where nothing is said.
    pub name: Option<String>,
    /// The plan, from the folder of the suite's file; without one every seed draws its scenario.
    pub plan: Option<PathBuf>,
    /// The seeds that have to be run.
    #[serde(deserialize_with = "seeds")]
    pub seeds: Seeds,
    /// Seeds that are run after all that has to be, for as long as there is time.
    #[serde(default, deserialize_with = "more_seeds")]
    pub more: Option<Seeds>,
    /// Whether each seed is the number of a way of cutting links, in place of the plan's faults.
    #[serde(default)]
    pub cuts: bool,
    /// Whether whole nodes are simulated, and not their core alone: every seed draws all.
    #[serde(default)]
    pub shell: bool,
    /// Whether power goes at every point in the work of their disks, in place of what seeds draw.
    #[serde(default)]
    pub crashes: bool,
    /// How many of them are a unit.
    #[serde(default = "usual_each")]
    pub each: u64,
}

/// N, R and W, as in `3/2/2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nrw(pub [usize; 3]);

const fn usual_limit() -> Span {
    Span::secs(1800)
}

const fn usual_each() -> u64 {
    500
}

fn seeds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Seeds, D::Error> {
    of_text(deserializer, str::parse)
}

fn more_seeds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Seeds>, D::Error> {
    seeds(deserializer).map(Some)
}

impl SuiteFile {
    /// Reads a suite.
    ///
    /// # Errors
    /// One line with place and mend.
    pub fn read(path: &Path) -> Result<Self, PlanError> {
        let what = "a suite is a TOML file: docs/nights.md says what stands in it";
        let text = dyno_command::read_text(path, what).map_err(PlanError)?;
        let mut suite = Self::parse(&text, &path.display().to_string())?;
        if suite.name.is_empty() {
            suite.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        }
        Ok(suite)
    }

    /// Parses a suite; `origin` names it in errors.
    ///
    /// # Errors
    /// Names the line, the column and the mend.
    pub fn parse(text: &str, origin: &str) -> Result<Self, PlanError> {
        toml::from_str(text).map_err(|error| PlanError::of_toml(&error, text, origin))
    }
}

impl FromStr for Nrw {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not N, R and W: write 3/2/2");
        let numbers: Result<Vec<usize>, _> = text.split('/').map(str::parse).collect();
        let numbers: Result<[usize; 3], _> = numbers.map_err(|_| wrong())?.try_into();
        numbers.map(Self).map_err(|_| wrong())
    }
}

impl fmt::Display for Nrw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [n, r, w] = self.0;
        write!(f, "{n}/{r}/{w}")
    }
}

impl<'de> Deserialize<'de> for Nrw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        of_text(deserializer, str::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        SuiteFile::parse(text, "s.toml").unwrap_err().0
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_mend() {
        let text = "[[test]]\nclusters = [\"sim\"]\nseeds = \"3..1\"\n";
        assert!(
            told(text).starts_with("s.toml:3:9: `3..1` is no range of seeds"),
            "{}",
            told(text)
        );
        let text = "[[test]]\nclusters = [\"sim\"]\nseeds = \"1\"\nnrw = [\"3/2\"]\n";
        assert_eq!(told(text), "s.toml:4:8: `3/2` is not N, R and W: write 3/2/2");
        let text = "[[test]]\nclusters = [\"sim\"]\nseeds = \"1\"\nqorum = [\"strict\"]\n";
        assert!(told(text).ends_with("is `quorum` meant?"), "{}", told(text));
        assert!(told("[[sim]]\nseeds = \"0..9\"\neach = -1\n").starts_with("s.toml:3:8: "));
    }
}
