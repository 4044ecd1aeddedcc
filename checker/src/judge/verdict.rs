//! What a checker says: valid, invalid or unknown, why, and with what numbers.
//!
//! A valid report is made of how much was [`Judged`], of which there is no zero: who judged nothing
//! cannot say valid.

use std::num::NonZeroU64;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::history::History;
use crate::judge::budget::Budget;

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

    /// All together; unknown when there are none.
    pub fn all(verdicts: impl IntoIterator<Item = Self>) -> Self {
        verdicts.into_iter().reduce(Self::and).unwrap_or(Self::Unknown)
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

/// How much was judged: answers that could have been wrong, whatever those are to a checker
/// (`docs/checkers.md` has them in a table). It is never nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Judged(NonZeroU64);

impl Judged {
    /// So many; none where there was nothing to judge.
    pub fn new(count: usize) -> Option<Self> {
        NonZeroU64::new(count as u64).map(Self)
    }

    /// How many.
    pub fn count(self) -> u64 {
        self.0.get()
    }
}

/// An answer with how much was judged for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Valid(Judged),
    Unknown(u64),
    /// Unknown, and nothing was begun.
    Refused,
    Invalid(u64),
}

/// What one checker found. As JSON the details stand beside verdict, count and reason.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckReport {
    answer: Answer,
    /// In one sentence: why not valid.
    pub reason: Option<String>,
    /// The checker's own numbers and witnesses.
    pub details: Map<String, Value>,
}

impl CheckReport {
    fn new(answer: Answer, reason: Option<String>) -> Self {
        Self { answer, reason, details: Map::new() }
    }

    /// A valid report, of so much that was judged.
    pub fn valid(judged: Judged) -> Self {
        Self::new(Answer::Valid(judged), None)
    }

    /// Valid if something was judged, else unknown; `nothing` says what was not there, as `no read
    /// was answered`.
    pub fn valid_if_judged(count: usize, nothing: &str) -> Self {
        Judged::new(count)
            .map_or_else(|| Self::unknown(format!("nothing was judged: {nothing}")), Self::valid)
    }

    /// An invalid report, and why.
    pub fn invalid(reason: impl Into<String>) -> Self {
        Self::new(Answer::Invalid(0), Some(reason.into()))
    }

    /// An unknown report, and why.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self::new(Answer::Unknown(0), Some(reason.into()))
    }

    /// An unknown report of a history that is none of the checker's, and why: nothing of it was judged.
    pub fn refused(reason: impl Into<String>) -> Self {
        Self::new(Answer::Refused, Some(reason.into()))
    }

    /// With how much was judged, where it is not valid: a valid one says so already.
    pub fn judging(mut self, count: usize) -> Self {
        self.answer = match self.answer {
            Answer::Valid(judged) => Answer::Valid(judged),
            Answer::Refused => Answer::Refused,
            Answer::Unknown(_) => Answer::Unknown(count as u64),
            Answer::Invalid(_) => Answer::Invalid(count as u64),
        };
        self
    }

    /// A report as it was written; none of what is no report. What does not say why says that.
    pub fn of_json(report: &Value) -> Option<Self> {
        let reason = report.get("reason").and_then(Value::as_str);
        let reason = reason.unwrap_or("it does not say why");
        let judged = report.get("judged").and_then(Value::as_u64).unwrap_or(0) as usize;
        let mut read = match report.get("verdict")?.as_str()? {
            "valid" => Self::valid_if_judged(judged, "its report does not say how much"),
            "invalid" => Self::invalid(reason).judging(judged),
            _ => Self::unknown(reason).judging(judged),
        };
        for (name, value) in report.as_object()? {
            if !matches!(name.as_str(), "verdict" | "judged" | "reason") {
                read = read.with(name, value);
            }
        }
        Some(read)
    }

    /// The same report, but invalid, for this reason.
    pub fn refuted(self, reason: impl Into<String>) -> Self {
        let answer = Answer::Invalid(self.judged());
        Self { answer, reason: Some(reason.into()), ..self }
    }

    /// The same report, but unknown, for this reason: what it said proves nothing.
    pub fn doubted(self, reason: impl Into<String>) -> Self {
        let answer = Answer::Unknown(self.judged());
        Self { answer, reason: Some(reason.into()), ..self }
    }

    /// The answer.
    pub fn verdict(&self) -> Verdict {
        match self.answer {
            Answer::Valid(_) => Verdict::Valid,
            Answer::Unknown(_) | Answer::Refused => Verdict::Unknown,
            Answer::Invalid(_) => Verdict::Invalid,
        }
    }

    /// Whether the history was refused: it is none of the checker's.
    pub fn is_refused(&self) -> bool {
        self.answer == Answer::Refused
    }

    /// How much was judged. Never 0 where it is valid.
    pub fn judged(&self) -> u64 {
        match self.answer {
            Answer::Valid(judged) => judged.count(),
            Answer::Unknown(count) | Answer::Invalid(count) => count,
            Answer::Refused => 0,
        }
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

impl Serialize for CheckReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("verdict", &self.verdict())?;
        map.serialize_entry("judged", &self.judged())?;
        if let Some(reason) = &self.reason {
            map.serialize_entry("reason", reason)?;
        }
        for (name, value) in &self.details {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Something that judges a history.
pub trait Checker: Send + Sync {
    /// Its name in reports.
    fn name(&self) -> &str;

    /// Operations of which a history of its own has some: it passes over all others in silence. None where
    /// it refuses every history that has another operation.
    fn operations(&self) -> Option<&'static [&'static str]> {
        None
    }

    /// Judges the history within the budget. Out of budget is `unknown`, never `valid`, and so is a
    /// history with nothing to judge.
    fn check(&self, history: &History, budget: &Budget) -> CheckReport;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_wins() {
        use Verdict::{Invalid, Unknown, Valid};
        assert_eq!(Verdict::all([]), Unknown);
        assert_eq!(Verdict::all([Valid, Unknown, Valid]), Unknown);
        assert_eq!(Verdict::all([Invalid, Unknown]), Invalid);
    }

    #[test]
    fn details_stand_beside_the_verdict() {
        let report = CheckReport::invalid("two were lost").judging(7).with("lost", 2);
        let json = serde_json::to_string(&report).unwrap();
        let expected = r#"{"verdict":"invalid","judged":7,"reason":"two were lost","lost":2}"#;
        assert_eq!(json, expected);
        let json = serde_json::to_string(&CheckReport::valid_if_judged(3, "")).unwrap();
        assert_eq!(json, r#"{"verdict":"valid","judged":3}"#);
    }

    #[test]
    fn who_judged_nothing_cannot_say_valid() {
        assert_eq!(Judged::new(0), None);
        let report = CheckReport::valid_if_judged(0, "no read was answered");
        assert_eq!((report.verdict(), report.judged()), (Verdict::Unknown, 0));
        let reason = "nothing was judged: no read was answered";
        assert_eq!(report.reason.as_deref(), Some(reason));
        for count in [0, 5] {
            let unknown = CheckReport::unknown("out of time").judging(count);
            assert_eq!(unknown.doubted("still").verdict(), Verdict::Unknown);
        }
        let refused = CheckReport::refused("no register").judging(5);
        assert_eq!((refused.verdict(), refused.judged()), (Verdict::Unknown, 0));
        assert!(refused.is_refused() && !refused.doubted("still").is_refused());
        let refuted = CheckReport::valid_if_judged(2, "").refuted("one was lost");
        assert_eq!((refuted.verdict(), refuted.judged()), (Verdict::Invalid, 2));
    }
}
