//! The versions of a key as a graph: what the client of each put had seen, and so covers, and which of them
//! are still there in the end. What a version is, and what covers what, is as
//! [`checker::siblings`] has it: a value is its put's, and a put covers what its context's get returned.

mod lanes;
mod picture;
mod words;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use checker::history::{History, Outcome, Pair};
use serde_json::Value;

use crate::story::label;

pub(crate) use picture::section;
pub(crate) use words::{lines, rows};

/// All versions of a key, in the order in which their puts began.
#[derive(Debug)]
pub(crate) struct Graph {
    pub key: String,
    pub versions: Vec<Version>,
    pub ends: Ends,
}

/// A put or delete that did not fail.
#[derive(Debug)]
pub(crate) struct Version {
    /// The name of the operation.
    pub put: u64,
    /// What it did, in a few words.
    pub label: String,
    /// Where the request went.
    pub node: Option<String>,
    is_delete: bool,
    is_acknowledged: bool,
    /// What its client had seen.
    pub covers: Vec<usize>,
    /// The first that covers it, of those that happened.
    pub covered_by: Option<usize>,
    /// How many gets showed it.
    pub shown: u64,
    /// The homes that hold it in the end; where none was asked, the nodes through which the last gets
    /// show it.
    pub held: Vec<String>,
}

/// What is known of the end of a history.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// Homes were asked for what they hold; these did not answer.
    Homes(Vec<String>),
    /// Only gets were made when all was healed.
    Gets,
    /// Nobody looked.
    Unknown,
}

/// What became of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is there.
    Held,
    /// A later one that its client made knowingly stands for it.
    Covered,
    /// It was acknowledged, nothing stands for it, and it is nowhere.
    Gone,
    /// The same, but for a home that did not answer.
    Unsure,
    /// It was not acknowledged, and never seen.
    Maybe,
    /// It is the last word of its client, and nobody looked.
    Open,
    /// It is a delete: it shows nothing itself.
    Delete,
}

impl Fate {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Covered => "covered",
            Self::Gone => "gone",
            Self::Unsure => "unsure",
            Self::Maybe => "maybe",
            Self::Open => "open",
            Self::Delete => "delete",
        }
    }
}

impl Graph {
    /// Of a key on which at least one put builds on what a get returned; none of another.
    pub(crate) fn of(history: &History, key: &str) -> Option<Self> {
        let ops: Vec<Pair<'_>> = history.pairs().filter(|pair| pair.key() == Some(key)).collect();
        let writes: Vec<&Pair<'_>> = ops
            .iter()
            .filter(|pair| matches!(pair.f(), "put" | "delete") && pair.outcome() != Outcome::Fail)
            .collect();
        if writes.iter().all(|put| context(history, put).is_none()) {
            return None;
        }
        let of_value: HashMap<&Value, usize> = (0..)
            .zip(&writes)
            .filter(|(_, pair)| pair.f() == "put")
            .filter_map(|(at, pair)| Some((pair.invoke.value.as_ref()?, at)))
            .collect();
        let mut versions: Vec<Version> = writes
            .iter()
            .map(|put| {
                let get = context(history, put);
                let mut covers = get.map_or_else(Vec::new, |get| returned(&get, &of_value));
                covers.sort_unstable();
                Version::of(put, covers)
            })
            .collect();
        for get in ops.iter().filter(|pair| pair.f() == "get") {
            returned(get, &of_value).into_iter().for_each(|at| versions[at].shown += 1);
        }
        let (ends, last) = ends(&ops);
        for (node, read) in last {
            returned(&read, &of_value)
                .into_iter()
                .for_each(|at| versions[at].held.push(node.to_owned()));
        }
        let happened: Vec<bool> = versions.iter().map(Version::happened).collect();
        for by in (0..versions.len()).filter(|by| happened[*by]) {
            for at in versions[by].covers.clone() {
                versions[at].covered_by.get_or_insert(by);
            }
        }
        Some(Self { key: key.to_owned(), versions, ends })
    }

    pub(crate) fn fate(&self, at: usize) -> Fate {
        let version = &self.versions[at];
        match (&version.held[..], version.covered_by) {
            ([_, ..], _) => Fate::Held,
            ([], Some(_)) => Fate::Covered,
            ([], None) if version.is_delete => Fate::Delete,
            ([], None) if !version.happened() => Fate::Maybe,
            ([], None) => match &self.ends {
                Ends::Unknown => Fate::Open,
                Ends::Homes(silent) if !silent.is_empty() => Fate::Unsure,
                // One that was shown once and never acknowledged may be dropped again.
                _ if !version.is_acknowledged => Fate::Maybe,
                Ends::Homes(_) | Ends::Gets => Fate::Gone,
            },
        }
    }
}

impl Version {
    fn of(put: &Pair<'_>, covers: Vec<usize>) -> Self {
        Self {
            put: put.name(),
            label: label(put),
            node: put.node().map(str::to_owned),
            is_delete: put.f() == "delete",
            is_acknowledged: put.outcome() == Outcome::Ok,
            covers,
            covered_by: None,
            shown: 0,
            held: Vec::new(),
        }
    }

    /// Is it known that it was written? Of a delete without an answer that cannot be told; what it may have
    /// deleted is not called gone.
    fn happened(&self) -> bool {
        self.is_acknowledged || self.is_delete || self.shown > 0 || !self.held.is_empty()
    }
}

/// The get that a put builds on.
fn context<'a>(history: &'a History, put: &Pair<'a>) -> Option<Pair<'a>> {
    history.pair(put.invoke.context.or_else(|| put.completion?.context)?)
}

/// The versions that a read returned, each once.
fn returned(read: &Pair<'_>, of_value: &HashMap<&Value, usize>) -> Vec<usize> {
    let values = read.result().and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let known: BTreeSet<usize> =
        values.iter().filter_map(|value| of_value.get(value)).copied().collect();
    known.into_iter().collect()
}

/// What is known of the end: of each home its last answer, or of each node the last get through it.
fn ends<'a>(ops: &[Pair<'a>]) -> (Ends, BTreeMap<&'a str, Pair<'a>>) {
    let last = |f: &str| -> BTreeMap<&'a str, Pair<'a>> {
        let reads = ops
            .iter()
            .filter(|pair| pair.f() == f && pair.is_final() && pair.outcome() == Outcome::Ok);
        reads.filter_map(|pair| Some((pair.node()?, *pair))).collect()
    };
    let homes = last("home");
    let asked = ops.iter().filter(|pair| pair.f() == "home" && pair.is_final());
    let silent: BTreeSet<&str> =
        asked.filter_map(Pair::node).filter(|node| !homes.contains_key(node)).collect();
    if !homes.is_empty() || !silent.is_empty() {
        let silent = silent.into_iter().map(str::to_owned).collect();
        return (Ends::Homes(silent), homes);
    }
    match last("get") {
        gets if gets.is_empty() => (Ends::Unknown, gets),
        gets => (Ends::Gets, gets),
    }
}

#[cfg(test)]
mod tests;
