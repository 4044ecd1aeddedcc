//! What a page is about: told by who made the run, in plain words and numbers.

use std::collections::BTreeMap;

use checker::verdict::{CheckReport, Verdict};

/// Everything a page says beside what stands in the history.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// What was judged: a plan, or a file.
    pub name: String,
    /// The summary; none of what is not known.
    pub verdict: Option<Verdict>,
    /// The summary in a few words.
    pub headline: String,
    /// The verdicts that make it up.
    pub verdicts: Vec<Part>,
    /// What the run was, in the order in which it is told: a name and what it is.
    pub facts: Vec<(String, String)>,
    /// What should be known of the store to understand what was found.
    pub hint: Option<String>,
    /// The command that does it again.
    pub again: Option<String>,
    /// What checkers said, by their names.
    pub checks: BTreeMap<String, CheckReport>,
    /// The faults that were to happen, if any were.
    pub faults: Vec<FaultRow>,
    /// What nodes sent each other for the operations of the first finding, in order, where they recorded it.
    pub messages: Vec<Carried>,
    /// What was counted, by name.
    pub counters: Vec<(String, u64)>,
    /// Files beside the page: what they are, and where, relative to it.
    pub links: Vec<(String, String)>,
    /// What should be known of how this page came about.
    pub notes: Vec<String>,
}

/// One of the verdicts of a run.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// What it answers.
    pub question: String,
    /// The answer.
    pub verdict: Verdict,
    /// Why it is not valid.
    pub reasons: Vec<String>,
}

/// A message between two nodes, or between a client and the node that it asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// For which operation of the history it was sent, by its name.
    pub op: u64,
    /// Who sent it; a client is `client`.
    pub from: String,
    /// Whom it was for.
    pub to: String,
    /// When it was sent, in nanoseconds of the history, by the clocks of the nodes.
    pub sent: u64,
    /// When it was taken in; none where that is not recorded.
    pub taken: Option<u64>,
    /// What it is: `store`, `fetched`.
    pub what: String,
    /// The versions it carries, each in a word, if it carries any: of an answer to a read, what its sender
    /// holds.
    pub holds: Option<Vec<String>>,
}

/// How one kind of fault was tried.
#[derive(Clone, Debug, Default)]
pub struct FaultRow {
    /// Its name.
    pub name: String,
    /// How often it was injected.
    pub injected: u64,
    /// How often it was seen to be in force.
    pub proven: u64,
    /// How often it was seen to be over.
    pub healed: u64,
    /// How often it could not be done.
    pub skipped: u64,
    /// Gets that began and succeeded while it was in force, of keys it touches.
    pub gets_ok: u64,
    /// Puts, likewise.
    pub puts_ok: u64,
}
