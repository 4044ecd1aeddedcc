//! Operations in words, a line each, human-readable.
//!
//! `#17 (line 18)` is the operation whose completion has the index 17 in the history, on line 18 of
//! the file.

use std::fmt::Write;

use crate::history::op::Op;
use crate::history::{History, Outcome, Pair};
use crate::judge::finding::{shown, shown_all, span, time};
use crate::judge::minimize::Minimal;
use crate::siblings::versions::context;

/// The operations of a history, one line each, in order of invocation.
pub fn in_words(history: &History) -> String {
    let lines = history.pairs().map(|pair| line(Some(history), &pair, |index| index) + "\n");
    lines.collect()
}

/// The operations of a small history under the names they have in the whole one.
pub fn minimal_in_words(minimal: &Minimal) -> String {
    let original = |index: u64| minimal.original[index as usize];
    let small = Some(&minimal.history);
    let lines = minimal.history.pairs().map(|pair| line(small, &pair, original) + "\n");
    lines.collect()
}

/// The operations of these names, in order of invocation; of many the first.
pub fn witness_in_words(history: &History, names: &[u64]) -> Vec<String> {
    const MOST: usize = 12;
    let mut pairs: Vec<Pair<'_>> = names.iter().filter_map(|name| history.pair(*name)).collect();
    pairs.sort_by_key(|pair| pair.invoke.index);
    pairs.dedup_by_key(|pair| pair.invoke.index);
    let mut lines: Vec<String> =
        pairs.iter().take(MOST).map(|pair| line(Some(history), pair, |index| index)).collect();
    if pairs.len() > MOST {
        lines.push(format!("and {} more", pairs.len() - MOST));
    }
    lines
}

/// An operation that has ended.
pub fn operation(invoke: &Op, completion: &Op) -> String {
    line(None, &Pair { invoke, completion: Some(completion) }, |index| index)
}

fn line(history: Option<&History>, pair: &Pair<'_>, original: impl Fn(u64) -> u64) -> String {
    let name = original(pair.name());
    let place = match history.and_then(|history| history.place(pair.name())) {
        Some((line, index)) if index == name => format!("line {line}"),
        Some((line, index)) => format!("line {line}, :index {index}"),
        None => format!("line {}", name + 1),
    };
    let process = match history {
        Some(history) => history.process_shown(pair.invoke.process),
        None => pair.invoke.process.to_string(),
    };
    let begun = pair.invoke.time;
    let ended = pair
        .completion
        .map_or_else(|| "never ended".to_owned(), |op| format!("took {}", span(begun, op.time)));
    let mut text =
        format!("#{name} ({place})  {}, {ended}  process {process}  {}", time(begun), pair.f(),);
    if let Some(key) = pair.key() {
        let _ = write!(text, " {key:?}");
    }
    let reads = matches!(pair.f(), "get" | "home" | "read");
    if let (false, Some(value)) = (reads, &pair.invoke.value) {
        let _ = write!(text, " {}", shown(value));
    }
    if let Some(get) = context(pair) {
        let _ = write!(text, " with the context of #{}", original(get));
    }
    if let Some(node) = pair.node() {
        let _ = write!(text, " through {node}");
    }
    match (pair.outcome(), reads) {
        (Outcome::Ok, true) => {
            let result = match pair.result() {
                None => "nothing".to_owned(),
                Some(serde_json::Value::Array(all)) => shown_all(all),
                Some(value) => shown(value),
            };
            let _ = write!(text, " -> {result}");
        }
        (Outcome::Ok, false) => text.push_str(", acknowledged"),
        (Outcome::Fail, _) => text.push_str(", failed"),
        (Outcome::Info, _) => text.push_str(", outcome unknown"),
    }
    if pair.is_final() {
        text.push_str(" (final)");
    }
    text
}
