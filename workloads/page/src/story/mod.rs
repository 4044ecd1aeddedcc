//! What a checker found, as a story: a few operations, what each did, what used what, and sentences that
//! somebody understands who has never seen the store.

mod cart;
mod finding;
mod operation;
mod order;

use std::collections::{BTreeMap, HashSet};

use checker::history::{History, Outcome, Pair};
use checker::verdict::{CheckReport, Verdict};
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::faults::Band;
use crate::words::{at, short, thing};

pub(crate) use operation::story as of_operation;

/// As many operations are drawn in a story.
const MOST_DRAWN: usize = 10;

/// One finding, told.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Story {
    /// The check that found it.
    pub check: String,
    /// It in a few words.
    pub title: String,
    /// What kind of thing it is: the same for findings that look alike, whatever they befell.
    pub shape: String,
    /// What happened, sentence by sentence, in order.
    pub steps: Vec<Step>,
    /// The operations that matter, in order of their beginning.
    pub ops: Vec<Part>,
    /// What leads from one to another.
    pub arrows: Vec<Arrow>,
    /// The faults that were in force meanwhile.
    pub bands: Vec<Band>,
    /// In what order the operations can have happened, all but the one that fits nowhere.
    pub order: Option<Order>,
}

/// A sentence, and the operation it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Step {
    /// The operation, by its name.
    pub op: Option<u64>,
    /// The sentence.
    pub text: String,
}

/// What an operation is in a story.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// What was promised and is gone.
    Victim,
    /// What did it.
    Culprit,
    /// Where it shows.
    Shows,
    /// What it takes to understand the rest.
    Beside,
}

/// An operation in a story.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Part {
    /// Its name.
    pub name: u64,
    /// Who did it, as the history calls them.
    pub process: String,
    /// When it began, in nanoseconds.
    pub from: u64,
    /// When it ended, if it did.
    pub to: Option<u64>,
    /// What is known of it.
    #[serde(serialize_with = "in_a_word")]
    pub outcome: Outcome,
    /// What it did, in a few words.
    pub label: String,
    /// Where the request went.
    pub node: Option<String>,
    /// Its part.
    pub role: Role,
}

/// Why something leads from one operation to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Why {
    /// The put builds on what the get returned.
    Context,
    /// The put took the place of the other, which it had not seen.
    Replaced,
}

/// From one operation to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Arrow {
    /// From this one.
    pub from: u64,
    /// To this one.
    pub to: u64,
    /// Why.
    pub why: Why,
}

/// An order that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Order {
    /// The operations that it explains, first to last.
    pub explained: Vec<u64>,
    /// The one that fits nowhere.
    pub stuck: u64,
}

fn in_a_word<S: Serializer>(outcome: &Outcome, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(match outcome {
        Outcome::Ok => "ok",
        Outcome::Fail => "fail",
        Outcome::Info => "info",
    })
}

/// What checkers found, `most` findings of each check: the worst first.
#[must_use]
pub(crate) fn stories(
    checks: &BTreeMap<String, CheckReport>,
    history: &History,
    bands: &[Band],
    most: usize,
) -> Vec<Story> {
    let teller = Teller { history, bands, most };
    let wrong = checks.iter().filter(|(_, report)| report.verdict() == Verdict::Invalid);
    let told = wrong.flat_map(|(check, report)| {
        let mut stories = cart::stories(&teller, report);
        if stories.is_empty() {
            stories = finding::stories(&teller, report);
        }
        stories.into_iter().map(|story| Story { check: check.clone(), ..story })
    });
    let mut told: Vec<Story> = told.collect();
    // What shows operations before what only says so.
    told.sort_by_key(|story| story.ops.is_empty());
    told
}

/// The operations of the finding that is told first, by their names: those of which it is worth knowing what
/// nodes did.
#[must_use]
pub fn witness(checks: &BTreeMap<String, CheckReport>, history: &History) -> Vec<u64> {
    let first = stories(checks, history, &[], 1).into_iter().next();
    first.map(|story| story.ops.iter().map(|op| op.name).collect()).unwrap_or_default()
}

/// Every operation that a report of what is wrong names: none of them is ever left out of the page.
#[must_use]
pub(crate) fn marked(checks: &BTreeMap<String, CheckReport>) -> HashSet<u64> {
    let mut marked = HashSet::new();
    for report in checks.values().filter(|report| report.verdict() == Verdict::Invalid) {
        marked.extend(report.witness());
        for list in ["violations", "lost", "unreadable", "under_replicated"] {
            for finding in listed(report, list) {
                let ops = finding["ops"].as_array().into_iter().flatten();
                marked.extend(ops.filter_map(Value::as_u64));
                marked.extend(
                    ["add", "overwritten_by"].iter().filter_map(|at| finding[*at].as_u64()),
                );
            }
        }
    }
    marked
}

/// The findings in a list of a report.
fn listed<'a>(report: &'a CheckReport, list: &str) -> &'a [Value] {
    report.details.get(list).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Who tells stories of a history.
pub(crate) struct Teller<'a> {
    /// The history.
    pub history: &'a History,
    /// The faults in it.
    pub bands: &'a [Band],
    /// As many findings of one check are told.
    pub most: usize,
}

impl<'a> Teller<'a> {
    /// The get whose context a put used.
    pub(crate) fn context(&self, pair: &Pair<'a>) -> Option<Pair<'a>> {
        let get = pair.invoke.context.or_else(|| pair.completion?.context)?;
        self.history.pair(get)
    }

    fn part(&self, pair: &Pair<'a>, role: Role, label: String) -> Part {
        Part {
            name: pair.name(),
            process: self.history.process_shown(pair.invoke.process),
            from: pair.invoke.time,
            to: pair.completion.map(|op| op.time),
            outcome: pair.outcome(),
            label,
            node: pair.node().map(str::to_owned),
            role,
        }
    }

    /// The faults that were in force, and proven to be, at some time of these.
    fn meanwhile(&self, from: u64, to: u64) -> Vec<Band> {
        let overlaps = |band: &&Band| band.is_proven && band.from <= to && band.to >= from;
        self.bands.iter().filter(overlaps).cloned().collect()
    }
}

/// The faults in force, in a sentence; none of none.
fn in_force(bands: &[Band]) -> Option<String> {
    let told = bands.iter().take(4);
    let told =
        told.map(|band| format!("{} ({} to {})", band.in_words(), at(band.from), at(band.to)));
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| format!("In force meanwhile, and proven: {}.", told.join("; ")))
}

/// What an operation did, in a few words.
pub(crate) fn label(pair: &Pair<'_>) -> String {
    let f = pair.f();
    let argument = pair.invoke.value.as_ref().filter(|value| !value.is_null());
    let reads = matches!(f, "get" | "home" | "read");
    match (argument, reads) {
        (Some(value), false) => match changed(value) {
            Some(change) => format!("{f} {change}"),
            None => format!("{f} {}", short(value)),
        },
        (_, _) => match (pair.outcome(), pair.result()) {
            (Outcome::Ok, Some(value)) => format!("{f}: {}", short(value)),
            (Outcome::Ok, None) if reads => format!("{f}: nothing"),
            _ => f.to_owned(),
        },
    }
}

/// What a put of a cart changes: `+milk`, `-eggs`.
fn changed(value: &Value) -> Option<String> {
    let added = value.get("add").map(|item| format!("+{}", thing(item)));
    added.or_else(|| value.get("remove").map(|item| format!("-{}", thing(item))))
}
