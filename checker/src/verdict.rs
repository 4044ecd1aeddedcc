//! What a checker says: valid, invalid or unknown, why, and with what numbers.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::budget::Budget;
use crate::history::History;

/// Three answers. The order is that of [`Verdict::and`]: the worst wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The property holds for this history.
    Valid,
    /// It cannot be told: out of budget, nothing to judge, or the checker broke.
    Unknown,
    /// The property does not hold, and there is a witness.
    Invalid,
}

impl Verdict {
    /// Both together: invalid beats unknown beats valid.
    pub fn and(self, other: Self) -> Self {
        self.max(other)
    }

    /// All together; valid when there are none.
    pub fn all(verdicts: impl IntoIterator<Item = Self>) -> Self {
        verdicts.into_iter().fold(Self::Valid, Self::and)
    }

    /// The word for it: `valid`, `unknown` or `invalid`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Unknown => "unknown",
            Self::Invalid => "invalid",
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one checker found. As JSON the details stand beside verdict and reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    /// The answer.
    pub verdict: Verdict,
    /// In one sentence: why not valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The checker's own numbers and witnesses.
    #[serde(flatten)]
    pub details: Map<String, Value>,
}

impl CheckReport {
    /// A valid report without details.
    pub fn valid() -> Self {
        Self { verdict: Verdict::Valid, reason: None, details: Map::new() }
    }

    /// An invalid report, and why.
    pub fn invalid(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Invalid, reason: Some(reason.into()), details: Map::new() }
    }

    /// An unknown report, and why.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Unknown, reason: Some(reason.into()), details: Map::new() }
    }

    /// Adds a detail.
    pub fn with(mut self, name: &str, value: impl Serialize) -> Self {
        // Only a map with keys that are no strings cannot become JSON; no detail is one.
        let value = serde_json::to_value(value).expect("a detail is plain data");
        self.details.insert(name.to_owned(), value);
        self
    }

    /// The operations that show it, where the checker names them: the detail `witness`.
    pub fn witness(&self) -> Vec<u64> {
        let witness = self.details.get("witness").and_then(Value::as_array);
        witness.into_iter().flatten().filter_map(Value::as_u64).collect()
    }
}

/// Something that judges a history.
pub trait Checker: Send + Sync {
    /// Its name in reports.
    fn name(&self) -> &str;

    /// Judges the history within the budget. Out of budget is `unknown`, never `valid`.
    fn check(&self, history: &History, budget: &Budget) -> CheckReport;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_wins() {
        use Verdict::{Invalid, Unknown, Valid};
        assert_eq!(Verdict::all([]), Valid);
        assert_eq!(Verdict::all([Valid, Unknown, Valid]), Unknown);
        assert_eq!(Verdict::all([Invalid, Unknown]), Invalid);
    }

    #[test]
    fn details_stand_beside_the_verdict() {
        let report = CheckReport::invalid("two were lost").with("lost", 2);
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(json, r#"{"verdict":"invalid","reason":"two were lost","lost":2}"#);
        assert_eq!(serde_json::from_str::<CheckReport>(&json).unwrap(), report);
        let json = serde_json::to_string(&CheckReport::valid()).unwrap();
        assert_eq!(json, r#"{"verdict":"valid"}"#);
    }
}
