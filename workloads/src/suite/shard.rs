//! Which share of a suite this process runs, and who says so: a flag, or the scheduler that started it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::plan::{PlanError, of_text};

/// More shards than any scheduler has.
const MOST: u32 = 100_000;
/// Says both, as `--shard` does.
const BOTH: &str = "DYNO_SHARD";
/// Says how many there are, as `--shards` does, where a scheduler says only which one this is.
const TOTAL: &str = "DYNO_SHARDS";

/// One of so many shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard {
    index: u32,
    total: u32,
}

/// A shard, and who said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Which one.
    pub shard: Shard,
    /// Who said so, in words.
    pub by: String,
}

/// How a scheduler tells its tasks which they are.
struct Scheduler {
    name: &'static str,
    index: &'static str,
    /// What the first task is told.
    first: First,
    total: Option<&'static str>,
}

enum First {
    Is(u64),
    /// The variables that say so, and how far the next one is from it.
    Told(&'static str, &'static str),
}

const SCHEDULERS: &[Scheduler] = &[
    Scheduler {
        name: "Kubernetes",
        index: "JOB_COMPLETION_INDEX",
        first: First::Is(0),
        total: None,
    },
    Scheduler {
        name: "Slurm",
        index: "SLURM_ARRAY_TASK_ID",
        first: First::Told("SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_STEP"),
        total: Some("SLURM_ARRAY_TASK_COUNT"),
    },
    Scheduler {
        name: "AWS Batch",
        index: "AWS_BATCH_JOB_ARRAY_INDEX",
        first: First::Is(0),
        total: Some("AWS_BATCH_JOB_ARRAY_SIZE"),
    },
    Scheduler {
        name: "GitLab",
        index: "CI_NODE_INDEX",
        first: First::Is(1),
        total: Some("CI_NODE_TOTAL"),
    },
    Scheduler {
        name: "CircleCI",
        index: "CIRCLE_NODE_INDEX",
        first: First::Is(0),
        total: Some("CIRCLE_NODE_TOTAL"),
    },
    Scheduler {
        name: "Buildkite",
        index: "BUILDKITE_PARALLEL_JOB",
        first: First::Is(0),
        total: Some("BUILDKITE_PARALLEL_JOB_COUNT"),
    },
];

impl Shard {
    /// The whole suite.
    pub const WHOLE: Self = Self { index: 1, total: 1 };

    /// The `index`-th, from 1, of `total`.
    ///
    /// # Errors
    /// If there is no such shard.
    pub fn new(index: u32, total: u32) -> Result<Self, String> {
        if (1..=MOST).contains(&total) && (1..=total).contains(&index) {
            return Ok(Self { index, total });
        }
        Err(format!("there is no shard {index}/{total}: they are 1/{total} to {total}/{total}"))
    }

    /// Which one, from 1.
    #[must_use]
    pub fn index(self) -> u32 {
        self.index
    }

    /// How many there are.
    #[must_use]
    pub fn total(self) -> u32 {
        self.total
    }
}

impl Told {
    /// The shard of this process: the one of `--shard`, or else what the environment says; `total` is of
    /// `--shards`.
    ///
    /// # Errors
    /// If two say different things, or somebody says which one but not of how many.
    pub fn find(
        flag: Option<Shard>,
        total: Option<u32>,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, PlanError> {
        find(flag, total, environment).map_err(PlanError)
    }
}

fn find(
    flag: Option<Shard>,
    total: Option<u32>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Told, String> {
    if let Some(shard) = flag {
        let contradicts = total.is_some_and(|total| total != shard.total);
        return match contradicts {
            true => Err(format!("--shard {shard} and --shards {}: say one", total.unwrap_or(0))),
            false => Ok(Told { shard, by: "--shard".to_owned() }),
        };
    }
    let total = match (total, number(environment, TOTAL)?) {
        (Some(flag), _) => Some((u64::from(flag), "--shards")),
        (None, told) => told.map(|total| (total, TOTAL)),
    };
    let mut claims = Vec::new();
    if let Some(text) = environment(BOTH) {
        let shard: Shard = text.parse().map_err(|error| format!("{BOTH}: {error}"))?;
        if let Some((total, by)) = total.filter(|(total, _)| *total != u64::from(shard.total)) {
            return Err(format!("{BOTH}={shard} and {by} {total}: say one"));
        }
        claims.push(Told { shard, by: format!("{BOTH}={text}") });
    }
    for scheduler in SCHEDULERS {
        claims.extend(scheduler.claim(total, environment)?);
    }
    // Some number the only task of a job that is not cut up: that says nothing against anybody.
    if claims.iter().any(|told| told.shard != Shard::WHOLE) {
        claims.retain(|told| told.shard != Shard::WHOLE);
    }
    if let [first, rest @ ..] = &claims[..] {
        let other = rest.iter().find(|other| other.shard != first.shard);
        if let Some(other) = other {
            return Err(format!(
                "{} is shard {}, and {} is shard {}: say which it is with --shard",
                first.by, first.shard, other.by, other.shard
            ));
        }
        return Ok(first.clone());
    }
    match total {
        Some((total, by)) if total > 1 => Err(format!(
            "{by} says that there are {total} shards, nobody which one this is: use --shard"
        )),
        _ => Ok(Told { shard: Shard::WHOLE, by: "nobody has cut the suite up".to_owned() }),
    }
}

impl Scheduler {
    /// What it says, if it runs this.
    fn claim(
        &self,
        total: Option<(u64, &str)>,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Told>, String> {
        let Self { name, index, .. } = self;
        let own = match self.total {
            Some(variable) => number(environment, variable)?.map(|total| (total, variable)),
            None => None,
        };
        let Some(at) = number(environment, index)? else {
            // A task that does not know which one it is would run everything, and all would be green.
            return match own {
                Some((total, variable)) if total > 1 => Err(format!(
                    "{variable}={total} ({name}), but {index} is not set: name the shard with --shard"
                )),
                _ => Ok(None),
            };
        };
        if let (Some((own, variable)), Some((total, by))) = (own, total)
            && own != total
        {
            return Err(format!("{variable}={own} ({name}) and {by} {total}: say one"));
        }
        let Some((total, _)) = own.or(total) else {
            return Err(format!(
                "{index}={at} ({name}) says which shard this is, nobody of how many: use --shards, or {TOTAL}"
            ));
        };
        let (first, step) = match self.first {
            First::Is(first) => (first, 1),
            First::Told(first, step) => (
                number(environment, first)?.unwrap_or(0),
                number(environment, step)?.unwrap_or(1).max(1),
            ),
        };
        let by = format!("{index}={at} of {total} ({name})");
        let from_first = at.checked_sub(first).map(|distance| distance / step);
        let place = from_first.and_then(|place| u32::try_from(place).ok()?.checked_add(1));
        let shard = place.zip(u32::try_from(total).ok());
        match shard.map(|(index, total)| Shard::new(index, total)) {
            Some(Ok(shard)) => Ok(Some(Told { shard, by })),
            _ => Err(format!("{by}: there is no such shard; is the array without holes?")),
        }
    }
}

fn number(environment: &dyn Fn(&str) -> Option<String>, name: &str) -> Result<Option<u64>, String> {
    let Some(text) = environment(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    let wrong = |_| format!("{name}={text} is no number");
    text.parse().map(Some).map_err(wrong)
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no shard: write 1/4, which is the first of four");
        let (index, total) = text.split_once('/').ok_or_else(wrong)?;
        let number = |text: &str| text.parse().map_err(|_| wrong());
        Self::new(number(index)?, number(total)?)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.total)
    }
}

impl Serialize for Shard {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Shard {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        of_text(deserializer, str::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(
        flags: (Option<&str>, Option<u32>),
        environment: &[(&str, &str)],
    ) -> Result<String, String> {
        let flag = flags.0.map(|shard| shard.parse().unwrap());
        let variable = |name: &str| {
            let found = environment.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        find(flag, flags.1, &variable).map(|told| told.shard.to_string())
    }

    #[test]
    fn every_scheduler_tells_its_tasks_which_they_are() {
        let table: &[(&[(&str, &str)], &str)] = &[
            (&[], "1/1"),
            (&[("DYNO_SHARD", "2/5")], "2/5"),
            (&[("JOB_COMPLETION_INDEX", "0"), ("DYNO_SHARDS", "4")], "1/4"),
            (
                &[
                    ("SLURM_ARRAY_TASK_ID", "12"),
                    ("SLURM_ARRAY_TASK_MIN", "5"),
                    ("SLURM_ARRAY_TASK_COUNT", "8"),
                ],
                "8/8",
            ),
            (
                &[
                    ("SLURM_ARRAY_TASK_ID", "6"),
                    ("SLURM_ARRAY_TASK_MIN", "0"),
                    ("SLURM_ARRAY_TASK_STEP", "2"),
                    ("SLURM_ARRAY_TASK_COUNT", "4"),
                ],
                "4/4",
            ),
            (&[("AWS_BATCH_JOB_ARRAY_INDEX", "0"), ("AWS_BATCH_JOB_ARRAY_SIZE", "9")], "1/9"),
            (&[("CI_NODE_INDEX", "3"), ("CI_NODE_TOTAL", "3")], "3/3"),
            (&[("CI_NODE_TOTAL", "1")], "1/1"),
            (&[("CIRCLE_NODE_INDEX", "1"), ("CIRCLE_NODE_TOTAL", "2")], "2/2"),
            (&[("BUILDKITE_PARALLEL_JOB", "1"), ("BUILDKITE_PARALLEL_JOB_COUNT", "2")], "2/2"),
            // CircleCI numbers the one task of a job that is not cut up, too.
            (
                &[("CIRCLE_NODE_INDEX", "0"), ("CIRCLE_NODE_TOTAL", "1"), ("DYNO_SHARD", "2/3")],
                "2/3",
            ),
        ];
        for (environment, shard) in table {
            assert_eq!(told((None, None), environment).as_deref(), Ok(*shard), "{environment:?}");
        }
        let kubernetes = [("JOB_COMPLETION_INDEX", "3")];
        assert_eq!(told((None, Some(4)), &kubernetes).as_deref(), Ok("4/4"));
        let gitlab = [("CI_NODE_INDEX", "1"), ("CI_NODE_TOTAL", "3")];
        assert_eq!(told((Some("2/5"), None), &gitlab).as_deref(), Ok("2/5"));
    }

    #[test]
    fn contradictions_and_an_index_without_a_total_are_refused() {
        let table: &[(&[(&str, &str)], &str)] = &[
            (&[("JOB_COMPLETION_INDEX", "0")], "nobody of how many"),
            (&[("CI_NODE_TOTAL", "3")], "CI_NODE_INDEX is not set"),
            (&[("CI_NODE_INDEX", "0"), ("CI_NODE_TOTAL", "3")], "no such shard"),
            (&[("CI_NODE_INDEX", "4"), ("CI_NODE_TOTAL", "3")], "no such shard"),
            (&[("CI_NODE_INDEX", "one"), ("CI_NODE_TOTAL", "3")], "is no number"),
            (&[("DYNO_SHARDS", "3")], "nobody which one"),
            (&[("DYNO_SHARD", "2")], "write 1/4"),
            (&[("DYNO_SHARD", "2/3"), ("DYNO_SHARDS", "4")], "say one"),
            (
                &[("DYNO_SHARD", "2/3"), ("CI_NODE_INDEX", "1"), ("CI_NODE_TOTAL", "3")],
                "DYNO_SHARD=2/3 is shard 2/3, and CI_NODE_INDEX=1 of 3 (GitLab) is shard 1/3",
            ),
            (
                &[
                    ("SLURM_ARRAY_TASK_ID", "7"),
                    ("SLURM_ARRAY_TASK_MIN", "1"),
                    ("SLURM_ARRAY_TASK_COUNT", "3"),
                ],
                "without holes",
            ),
        ];
        for (environment, why) in table {
            let error = told((None, None), environment).unwrap_err();
            assert!(error.contains(why), "{environment:?}: {error}");
        }
        let gitlab = [("CI_NODE_INDEX", "1"), ("CI_NODE_TOTAL", "3")];
        assert!(told((None, Some(4)), &gitlab).unwrap_err().contains("say one"));
        assert!(told((Some("1/4"), Some(3)), &[]).unwrap_err().contains("say one"));
        assert!("0/3".parse::<Shard>().is_err() && "4/3".parse::<Shard>().is_err());
    }
}
