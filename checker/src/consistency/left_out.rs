//! What a history of a store with siblings has beside reads and writes of registers, which those who
//! judge registers leave out by rule, and say so.
//!
//! - A `home` read asks one replica what it holds, and not the store.
//! - A get that returned several siblings read no register. To leave out a read takes a constraint away:
//!   nothing right becomes wrong.
//!
//! But a delete takes away only what its client had seen, and of siblings leaves the rest, as no write
//! of a register does: a history that has both is none of registers.

use serde_json::{Value, json};

use crate::history::{Outcome, Pair};
use crate::judge::verdict::CheckReport;

/// How much was left out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LeftOut {
    homes: usize,
    several: usize,
    deletes: usize,
}

impl LeftOut {
    /// Takes note of an operation. Is it one to be left out?
    pub(crate) fn takes(&mut self, pair: &Pair<'_>) -> bool {
        let (is_home, has_several) = (is_home(pair), has_several(pair));
        self.homes += usize::from(is_home);
        self.several += usize::from(has_several);
        self.deletes += usize::from(pair.f() == "delete");
        is_home || has_several
    }

    /// Why the rest is no history of registers, if it is none.
    pub(crate) fn refusal(self) -> Option<String> {
        (self.several > 0 && self.deletes > 0).then(|| {
            format!(
                "{} gets returned several siblings, and a delete leaves those its client had not \
                 seen: these are no registers (see the spec siblings)",
                self.several
            )
        })
    }

    /// The report, with what it does not speak of.
    pub(crate) fn noted_in(self, report: CheckReport) -> CheckReport {
        if self.homes == 0 && self.several == 0 {
            return report;
        }
        report.with(
            "left_out",
            json!({"home_reads": self.homes, "gets_of_several_siblings": self.several}),
        )
    }
}

/// Does it ask one replica?
pub(crate) fn is_home(pair: &Pair<'_>) -> bool {
    pair.f() == "home"
}

/// Did it return several siblings?
pub(crate) fn has_several(pair: &Pair<'_>) -> bool {
    pair.f() == "get"
        && pair.outcome() == Outcome::Ok
        && pair.result().and_then(Value::as_array).is_some_and(|siblings| siblings.len() > 1)
}
