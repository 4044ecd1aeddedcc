//! The story of a finding of any checker: what it says, and what the operations it names did.

use std::collections::BTreeSet;

use checker::history::{Outcome, Pair};
use checker::verdict::CheckReport;
use serde_json::Value;

use super::{Arrow, MOST_DRAWN, Part, Role, Step, Story, Teller, Why, label, listed, order};
use crate::words::{Clock, cut, quoted, span};

/// What a report of what is wrong names: each of its findings, or what it says as a whole.
pub(super) fn stories(teller: &Teller<'_>, report: &CheckReport) -> Vec<Story> {
    let order = order::of(report);
    let found: Vec<_> = listed(report, "violations").iter().take(teller.most).collect();
    if found.is_empty() {
        let said = report.reason.as_deref().unwrap_or("it does not say why");
        return vec![story(teller, None, &report.witness(), said, order)];
    }
    let stories = found.iter().enumerate().map(|(at, finding)| {
        let ops = finding["ops"].as_array().into_iter().flatten().filter_map(Value::as_u64);
        let ops: Vec<u64> = ops.collect();
        let what = finding["what"].as_str().or(report.reason.as_deref()).unwrap_or_default();
        // The order is of the first.
        let order = order.clone().filter(|_| at == 0);
        story(teller, finding["rule"].as_str(), &ops, what, order)
    });
    stories.collect()
}

fn story(
    teller: &Teller<'_>,
    rule: Option<&str>,
    names: &[u64],
    what: &str,
    order: Option<super::Order>,
) -> Story {
    let named: Vec<Pair<'_>> = names.iter().filter_map(|name| teller.history.pair(*name)).collect();
    let drawn = drawn(teller, &named);
    let stuck = order.as_ref().map(|order| order.stuck);
    let role = |pair: &Pair<'_>| match stuck {
        Some(stuck) if pair.name() == stuck => Role::Shows,
        Some(_) => Role::Beside,
        None if named.last().is_some_and(|last| last.name() == pair.name()) => Role::Shows,
        None if named.first().is_some_and(|first| first.name() == pair.name()) => Role::Victim,
        None => Role::Beside,
    };
    let ops: Vec<Part> =
        drawn.iter().map(|pair| teller.part(pair, role(pair), label(pair))).collect();
    let mut steps = vec![];
    if let Some(meaning) = rule.and_then(meaning) {
        steps.push(Step { op: None, text: meaning.to_owned() });
    }
    steps.push(Step { op: None, text: what.to_owned() });
    let times = drawn.iter().flat_map(|pair| [Some(pair.invoke), pair.completion]).flatten();
    let times = times.map(|op| op.time);
    let clock = Clock::within(times.clone().max().unwrap_or(0) - times.min().unwrap_or(0));
    steps.extend(drawn.iter().map(|pair| told(teller, pair, clock)));
    if let Some(order) = &order {
        steps.push(Step { op: Some(order.stuck), text: fits_nowhere(order) });
    }
    let left_out = names.len().saturating_sub(named.len().min(MOST_DRAWN));
    if left_out > 0 {
        steps.push(Step { op: None, text: format!("{left_out} more operations show it.") });
    }
    let from = ops.iter().map(|op| op.from).min();
    let to = ops.iter().filter_map(|op| op.to).max();
    let bands = from.zip(to).map(|(from, to)| teller.meanwhile(from, to)).unwrap_or_default();
    let arrows = arrows(teller, &drawn);
    let title = match rule.and_then(heading) {
        Some(heading) => {
            let key = named.first().and_then(|pair| pair.key());
            let key = key.map(|key| format!(" (key {})", quoted(key))).unwrap_or_default();
            format!("{heading}{key}")
        }
        None => cut(what.to_owned(), 160),
    };
    let shape = rule.map_or_else(
        || "as a whole".to_owned(),
        |rule| heading(rule).map_or_else(|| rule.replace('_', " "), str::to_owned),
    );
    Story { title, shape, steps, ops, arrows, bands, order, ..Story::default() }
}

/// The operations to draw: those that are named, the last of them always, and the gets whose contexts they
/// used while there is room.
fn drawn<'a>(teller: &Teller<'a>, named: &[Pair<'a>]) -> Vec<Pair<'a>> {
    let mut names = BTreeSet::new();
    let mut drawn = Vec::new();
    let contexts: Vec<Pair<'a>> =
        named.iter().take(4).filter_map(|pair| teller.context(pair)).collect();
    for pair in named.last().into_iter().chain(named).chain(&contexts) {
        if drawn.len() < MOST_DRAWN && names.insert(pair.name()) {
            drawn.push(*pair);
        }
    }
    drawn.sort_by_key(|pair| pair.invoke.index);
    drawn
}

pub(super) fn arrows(teller: &Teller<'_>, drawn: &[Pair<'_>]) -> Vec<Arrow> {
    let is_drawn = |name: u64| drawn.iter().any(|pair| pair.name() == name);
    let contexts = drawn.iter().filter_map(|pair| {
        let get = pair.invoke.context.or_else(|| pair.completion?.context)?;
        let get = teller.history.pair(get)?.name();
        is_drawn(get).then_some(Arrow { from: get, to: pair.name(), why: Why::Context })
    });
    contexts.collect()
}

pub(super) fn told(teller: &Teller<'_>, pair: &Pair<'_>, clock: Clock) -> Step {
    let process = teller.history.process_shown(pair.invoke.process);
    let begun = pair.invoke.time;
    let ended = match (pair.outcome(), pair.completion) {
        (Outcome::Ok, Some(op)) => format!("answered after {}", span(op.time - begun)),
        (Outcome::Fail, Some(op)) => format!("failed after {}", span(op.time - begun)),
        (_, Some(op)) => {
            format!("given up after {}: whether it happened is not known", span(op.time - begun))
        }
        (_, None) => "never answered".to_owned(),
    };
    let through = pair.node().map(|node| format!(" through {node}")).unwrap_or_default();
    let key = pair.key().map(|key| format!(" of {}", quoted(key))).unwrap_or_default();
    let text = format!(
        "Process {process}{through}: {}{key} at {}, {ended}.",
        label(pair),
        clock.at(begun)
    );
    Step { op: Some(pair.name()), text }
}

fn fits_nowhere(order: &super::Order) -> String {
    let names: Vec<String> = order.explained.iter().map(|name| format!("#{name}")).collect();
    format!(
        "Tried: {} is an order that explains all the others and keeps to real time. #{} fits nowhere in \
         it, nor in any other order.",
        if names.is_empty() { "nothing".to_owned() } else { names.join(", then ") },
        order.stuck
    )
}

/// What broke a rule, in a few words.
fn heading(rule: &str) -> Option<&'static str> {
    Some(match rule {
        "no_order" | "no_sequential_order" => "No order explains what was answered",
        "nobody_wrote" | "thin_air" | "from_the_future" => {
            "A read returned what nobody had written"
        }
        "V0" | "integrity" => "A read returned what was not written like this",
        "V1" => "A replaced value stands beside what replaced it",
        "V2" | "lost" => "An acknowledged write is gone",
        "unreadable" => "An acknowledged write cannot be read any more",
        "V3" | "diverged" => "Nodes do not agree in the end",
        "V4" => "A client saw less than before",
        "V5" => "What was deleted came back",
        "read_your_writes" => "A client did not see its own write",
        "monotonic_reads" => "A client saw less than before",
        "monotonic_writes" => "Writes of one client are seen out of order",
        "writes_follow_reads" => "A write is seen before what led to it",
        "cyclic_co" | "cyclic_cf" | "cyclic_hb" | "write_co_read" | "write_co_init_read"
        | "write_hb_init_read" => "An effect is seen without its cause",
        _ => return None,
    })
}

/// What a rule means, for who has never heard of it.
fn meaning(rule: &str) -> Option<&'static str> {
    Some(match rule {
        "no_order" => {
            "Seen from outside, each operation must seem to happen at one instant between its call and its \
             answer. No choice of instants explains what was answered here."
        }
        "no_sequential_order" => {
            "All operations must seem to happen one after the other, those of each process in its own \
             order. No such order explains what was answered here."
        }
        "nobody_wrote" | "thin_air" => "A read returned a value that nothing had written.",
        "from_the_future" => "A read returned a value before the write of it began.",
        "V0" | "integrity" => {
            "Every value that is read must have been written, whole, by a put that may have happened."
        }
        "V1" => {
            "Two values may stand side by side only if neither was written by who had seen the other."
        }
        "V2" | "lost" => {
            "A write that was acknowledged must stay until something takes its place that was made by who \
             had seen it. This one is gone."
        }
        "unreadable" => "A replica still holds the write, but reads do not find it.",
        "V3" | "diverged" => {
            "When all is healed and quiet, every node must give the same answer. These do not."
        }
        "V4" => "A client must see its own writes, and never less than it saw before.",
        "V5" => "What an acknowledged delete took away must not come back.",
        "unknown_item" => "A read shows an item that nobody put there.",
        "stale" => "A read returned what had been replaced too long before.",
        "read_your_writes" => "A client must see its own writes.",
        "monotonic_reads" => "A client must never see less than it saw before.",
        "monotonic_writes" => {
            "Writes of one client must be seen in the order in which it made them."
        }
        "writes_follow_reads" => {
            "What a client writes after it read something must come after what it read, for everybody."
        }
        "cyclic_co" | "cyclic_cf" | "cyclic_hb" | "write_co_read" | "write_co_init_read" => {
            "What was caused by something must come after it, for everybody. Here it would have to come \
             before itself."
        }
        "duplicate" | "repeated_id" => "What may be given once was given twice.",
        "out_of_bounds" => "A counter showed what no order of the increments can make.",
        _ => return None,
    })
}
