//! Operations in words, a line each, for people who look for what went wrong.

use std::fmt::Write;

use crate::finding::{seconds, shown, shown_all};
use crate::history::{History, Outcome, Pair};
use crate::minimize::Minimal;
use crate::versions::context;

/// The operations of a history, one line each, in order of invocation.
pub fn in_words(history: &History) -> String {
    lines(history, |index| index)
}

/// The operations of a small history under the names they have in the whole one.
pub fn minimal_in_words(minimal: &Minimal) -> String {
    lines(&minimal.history, |index| minimal.original[index as usize])
}

fn lines(history: &History, original: impl Fn(u64) -> u64) -> String {
    let mut text = String::new();
    for pair in history.pairs() {
        let _ = writeln!(text, "{}", line(history, &pair, &original));
    }
    text
}

fn line(history: &History, pair: &Pair<'_>, original: impl Fn(u64) -> u64) -> String {
    let ended = pair.completion.map_or_else(|| "open".to_owned(), |op| seconds(op.time));
    let mut text = format!(
        "#{:<6} {} to {ended}  process {}  {}",
        original(pair.name()),
        seconds(pair.invoke.time),
        history.process_shown(pair.invoke.process),
        pair.f(),
    );
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
