//! The graph of a key in a terminal: a line a version, its chain at the left.

use serde_json::{Value, json};

use super::lanes::Lanes;
use super::{Ends, Fate, Graph};
use crate::words::cut;

/// As many chains are drawn side by side.
const MOST_LANES: usize = 12;

/// What a version is now, in words.
pub(super) fn fate(graph: &Graph, at: usize) -> String {
    let version = &graph.versions[at];
    let held = version.held.join(", ");
    let by =
        version.covered_by.map(|by| format!("#{}", graph.versions[by].put)).unwrap_or_default();
    match (graph.fate(at), &graph.ends) {
        (Fate::Held, Ends::Homes(_)) if by.is_empty() => format!("held by {held}"),
        (Fate::Held, Ends::Homes(_)) => format!("still held by {held}, though {by} covers it"),
        (Fate::Held, _) => format!("shown through {held} in the end"),
        (Fate::Covered, _) => format!("covered by {by}"),
        (Fate::Gone, Ends::Homes(_)) => "GONE: nothing covers it, and no home holds it".to_owned(),
        (Fate::Gone, _) => "GONE: nothing covers it, and no last get shows it".to_owned(),
        (Fate::Unsure, Ends::Homes(silent)) => {
            format!("nothing covers it; it may be on {}, not asked with success", silent.join(", "))
        }
        (Fate::Unsure | Fate::Open, _) => "nothing covers it".to_owned(),
        (Fate::Maybe, _) => "it may never have been written".to_owned(),
        (Fate::Delete, _) => "a delete".to_owned(),
    }
}

/// A line a version.
pub(crate) fn lines(graph: &Graph) -> Vec<String> {
    let all: Vec<usize> = (0..graph.versions.len()).collect();
    let parents: Vec<Vec<usize>> =
        graph.versions.iter().map(|version| version.covers.clone()).collect();
    let lanes = Lanes::of(graph, &all, &parents);
    let label = |at: usize| {
        let version = &graph.versions[at];
        let via = version.node.as_ref().map(|node| format!(" via {}", cut(node.clone(), 12)));
        format!("{}{}", cut(version.label.clone(), 32), via.unwrap_or_default())
    };
    let wide = all.iter().map(|at| label(*at).chars().count()).max().unwrap_or(0);
    let line = |at: usize| {
        let version = &graph.versions[at];
        let chains = chains(&lanes, at);
        let over: Vec<String> =
            version.covers.iter().map(|from| format!("#{}", graph.versions[*from].put)).collect();
        let over = if over.is_empty() { "nothing".to_owned() } else { over.join(" ") };
        format!(
            "  {chains}  #{:<7} {:<wide$}  over {over}: {}",
            version.put,
            label(at),
            fate(graph, at)
        )
    };
    all.iter().map(|at| line(*at)).collect()
}

/// The chains at a version: `*` is its own, `|` one that goes on.
fn chains(lanes: &Lanes, at: usize) -> String {
    let sign = |lane: usize| match (lanes.of[at] == lane, lanes.open[at].get(lane)) {
        (true, _) => '*',
        (false, Some(true)) => '|',
        (false, _) => ' ',
    };
    let drawn: Vec<String> =
        (0..lanes.count.min(MOST_LANES)).map(|lane| sign(lane).to_string()).collect();
    let more = if lanes.of[at] >= MOST_LANES { " *" } else { "" };
    drawn.join(" ") + more
}

/// The same for programs.
pub(crate) fn rows(graph: &Graph) -> Vec<Value> {
    let put = |at: usize| graph.versions[at].put;
    let row = |at: usize| {
        let version = &graph.versions[at];
        let covers: Vec<u64> = version.covers.iter().map(|from| put(*from)).collect();
        json!({
            "put": version.put, "covers": covers, "covered_by": version.covered_by.map(put),
            "shown": version.shown, "held": version.held, "fate": graph.fate(at).as_str(),
        })
    };
    (0..graph.versions.len()).map(row).collect()
}
