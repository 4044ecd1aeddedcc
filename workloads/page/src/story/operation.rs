//! The story of one operation: what it was, what it built on, what built on it, and what became of it.

use checker::history::Pair;
use checker::siblings::fates::{Fate, WriteFate};

use super::finding::{arrows, told};
use super::{Role, Step, Story, Teller, in_force, label};
use crate::words::{Clock, cut, quoted, span};

/// As many operations that build on it are told; of the others there is a number.
const MOST_AFTER: usize = 6;

/// The story of `pair`; `fate` is what became of it, if it wrote and that is known.
pub(crate) fn story(teller: &Teller<'_>, pair: &Pair<'_>, fate: Option<&WriteFate>) -> Story {
    let before = teller.context(pair);
    let is_after =
        |other: &Pair<'_>| teller.context(other).is_some_and(|get| get.name() == pair.name());
    let after: Vec<Pair<'_>> = teller.history.pairs().filter(is_after).collect();
    let told_after = after.iter().take(MOST_AFTER);
    let drawn: Vec<Pair<'_>> = before.iter().chain([pair]).chain(told_after).copied().collect();
    let (from, to) = span_of(&drawn);
    let clock = Clock::within(to - from);
    let mut steps: Vec<Step> = Vec::new();
    for shown in &drawn {
        let mut step = told(teller, shown, clock);
        if shown.name() == pair.name() {
            if let Some(get) = &before {
                step.text += &format!(" It builds on what #{} had shown.", get.name());
            }
            if let Some(error) = pair.completion.and_then(|op| op.error.as_deref()) {
                step.text += &format!(" The error: {}.", quoted(error));
            }
        } else if before.is_none_or(|get| get.name() != shown.name()) {
            step.text += &format!(" It builds on #{}.", pair.name());
        }
        steps.push(step);
    }
    if after.len() > MOST_AFTER {
        let text = format!("{} more build on #{}.", after.len() - MOST_AFTER, pair.name());
        steps.push(Step { op: None, text });
    }
    steps.extend(fate.map(|fate| Step { op: Some(pair.name()), text: became(fate) }));
    let own_end = pair.completion.map_or(pair.invoke.time, |op| op.time);
    let bands = teller.meanwhile(pair.invoke.time, own_end);
    let none = || "No fault was in force while it ran.".to_owned();
    steps.push(Step { op: None, text: in_force(&bands).unwrap_or_else(none) });
    let key = pair.key().map(|key| format!(" of {}", quoted(key))).unwrap_or_default();
    Story {
        title: cut(format!("Operation #{}: {}{key}", pair.name(), label(pair)), 160),
        steps,
        ops: drawn.iter().map(|of| teller.part(of, Role::Beside, label(of))).collect(),
        arrows: arrows(teller, &drawn),
        bands,
        ..Story::default()
    }
}

fn span_of(pairs: &[Pair<'_>]) -> (u64, u64) {
    let times = pairs.iter().flat_map(|pair| [Some(pair.invoke), pair.completion]).flatten();
    let times = times.map(|op| op.time);
    (times.clone().min().unwrap_or(0), times.max().unwrap_or(0))
}

/// What became of a write, in a sentence.
fn became(fate: &WriteFate) -> String {
    match fate.fate {
        Fate::Read => "It was kept: every later read saw it.".to_owned(),
        Fate::Late => format!(
            "It was kept, and seen late: for {} after it was acknowledged some reads missed it.",
            span(fate.late)
        ),
        Fate::Lost => "It is lost: acknowledged, and gone in the end.".to_owned(),
        Fate::Unreadable => {
            "It cannot be read: a replica holds it, final reads miss it.".to_owned()
        }
        Fate::Unknown => "What became of it is not known: no later read tells.".to_owned(),
        Fate::Resurfaced => "It removed an item, which came back: siblings were merged.".to_owned(),
    }
}
