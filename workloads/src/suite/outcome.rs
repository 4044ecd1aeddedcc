//! What became of a unit: the file that seals it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::unit::{Build, Unit};

/// What was found of a unit, or in one attempt at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Found {
    /// All holds, and it was tried.
    Valid,
    /// Something does not hold.
    Invalid,
    /// It cannot be told, or was not tried.
    Unknown,
    /// The run itself did not work.
    Broken,
    /// This machine lacks what it needs.
    Skipped,
}

/// One run of the unit's command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// What it found.
    pub found: Found,
    /// What the command exited with; none if it was killed.
    pub status: Option<i32>,
    /// Why it is not valid, in sentences.
    pub why: Vec<String>,
    /// The command that shows it again, in the unit's folder.
    pub again: String,
    /// How long it took.
    pub ms: u64,
}

/// Clients' operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ops {
    /// That were done.
    pub ok: u64,
    /// That were not done.
    pub fail: u64,
    /// Of which nobody knows.
    pub info: u64,
}

/// What is known of a kind of fault, over all attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Proven {
    /// How often it was injected.
    pub installed: u64,
    /// How often it was seen to be in force.
    pub proven: u64,
    /// How often it was seen to be over.
    pub healed: u64,
    /// How often it could not be done.
    pub skipped: u64,
    /// Gets of keys it touches that began and succeeded while it was in force.
    pub ok_gets_during: u64,
    /// Puts, likewise.
    pub ok_puts_during: u64,
}

/// What became of a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Of this document's form.
    pub schema: u32,
    /// The digest of its suite.
    pub suite: String,
    /// The program that ran it.
    pub build: Build,
    /// Of what.
    pub unit: Unit,
    /// What was found.
    pub found: Found,
    /// Why it was skipped, if it was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lacks: Option<String>,
    /// All runs of it, in their order.
    pub attempts: Vec<Attempt>,
    /// How many seeds were run.
    pub seeds: u64,
    /// Clients' operations.
    pub ops: Ops,
    /// By fault.
    pub faults: BTreeMap<String, Proven>,
    /// The name of the machine.
    pub host: String,
    /// When it began, in UTC, as RFC 3339 has it.
    pub began: String,
    /// How long all of it took.
    pub ms: u64,
}

impl Found {
    /// In a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Unknown => "unknown",
            Self::Broken => "broken",
            Self::Skipped => "skipped",
        }
    }

    /// Of several attempts: invalid once is invalid, whatever came later; otherwise the last one counts.
    #[must_use]
    pub fn of(attempts: &[Attempt]) -> Self {
        let is_invalid = attempts.iter().any(|attempt| attempt.found == Self::Invalid);
        let last = attempts.last().map_or(Self::Broken, |attempt| attempt.found);
        if is_invalid { Self::Invalid } else { last }
    }
}

impl Proven {
    /// Adds another count.
    pub fn add(&mut self, other: &Self) {
        self.installed += other.installed;
        self.proven += other.proven;
        self.healed += other.healed;
        self.skipped += other.skipped;
        self.ok_gets_during += other.ok_gets_during;
        self.ok_puts_during += other.ok_puts_during;
    }
}

impl Ops {
    /// Adds another count.
    pub fn add(&mut self, other: &Self) {
        self.ok += other.ok;
        self.fail += other.fail;
        self.info += other.info;
    }
}

impl Outcome {
    /// The attempt that tells most: the first invalid one, or the last.
    #[must_use]
    pub fn telling(&self) -> Option<&Attempt> {
        let invalid = self.attempts.iter().find(|attempt| attempt.found == Found::Invalid);
        invalid.or(self.attempts.last())
    }

    /// How many of its runs found what counts.
    #[must_use]
    pub fn times(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.found == self.found).count()
    }

    /// As the file that seals it.
    ///
    /// # Panics
    /// Never: it is plain data.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("an outcome is plain data")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_once_is_invalid() {
        let attempt =
            |found| Attempt { found, status: None, why: vec![], again: String::new(), ms: 0 };
        let found =
            |all: &[Found]| Found::of(&all.iter().copied().map(attempt).collect::<Vec<_>>());
        assert_eq!(found(&[Found::Invalid, Found::Valid]), Found::Invalid);
        assert_eq!(found(&[Found::Broken, Found::Valid]), Found::Valid);
        assert_eq!(found(&[Found::Broken, Found::Broken]), Found::Broken);
        assert_eq!(found(&[]), Found::Broken);
    }
}
