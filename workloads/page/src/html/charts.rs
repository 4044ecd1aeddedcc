//! The large views: what they are, what they leave out, and where the script draws them.

use std::collections::BTreeMap;

use checker::siblings::fates::{Fate, Fates};
use maud::{Markup, html};

use crate::words::grouped;

/// What is known of the operations.
pub(super) struct Facts<'a> {
    /// How many there were.
    pub(super) total: usize,
    /// One in so many is in the page, if not all are.
    pub(super) one_in: Option<usize>,
    /// Keys without a name in the page.
    pub(super) keys_left_out: usize,
    /// What became of writes.
    pub(super) fates: &'a Fates,
    /// Lanes of processes.
    pub(super) processes: usize,
    /// Nodes.
    pub(super) nodes: usize,
    /// Was any fault tried?
    pub(super) has_faults: bool,
}

/// The fate of every acknowledged write.
pub(super) fn fate(facts: &Facts<'_>) -> Markup {
    let writes = &facts.fates.writes;
    if writes.is_empty() {
        return html! {};
    }
    let mut counts: BTreeMap<Fate, u64> = BTreeMap::new();
    writes.iter().for_each(|write| *counts.entry(write.fate).or_default() += 1);
    let count = |fate| counts.get(&fate).copied().unwrap_or(0);
    let told = [
        (Fate::Read, "read", "every later read saw it"),
        (Fate::Late, "late", "some later reads missed it, then all saw it"),
        (Fate::Lost, "lost", "gone, though acknowledged"),
        (Fate::Unreadable, "unreadable", "a replica holds it, reads miss it"),
        (Fate::Unknown, "unknown", "no later read tells"),
        (Fate::Resurfaced, "resurfaced", "a removal that was undone: siblings merged"),
    ];
    html! {
        section id="fate" {
            h2 { "What became of every acknowledged write" }
            p.note {
                "Each of " (grouped(writes.len() as u64)) " acknowledged writes, at the time it was sent. "
                "Late ones stand the higher the longer they were missing."
                @if facts.fates.left_out > 0 {
                    " " (grouped(facts.fates.left_out as u64)) " more are not told: it would take too long."
                }
            }
            ul.fates {
                @for (fate, name, meaning) in told {
                    li class=(name) {
                        i.swatch aria-hidden="true" {}
                        b { (grouped(count(fate))) } " " (name) " " small { (meaning) }
                    }
                }
            }
            (canvas("fate-chart", "What became of every acknowledged write, by the time it was sent"))
        }
    }
}

/// What is above all charts on operations: filters, and what is in force of them.
pub(super) fn tools(facts: &Facts<'_>) -> Markup {
    html! {
        section.tools id="tools" aria-label="Filters" {
            label { "key " input id="filter-key" list="keys" placeholder="all" autocomplete="off"; }
            datalist id="keys" {}
            label { "operation " select id="filter-f" { option value="" { "all" } } }
            label { "outcome " select id="filter-outcome" {
                option value="" { "all" }
                option value="0" { "ok" }
                option value="1" { "failed" }
                option value="2" { "unknown" }
            } }
            @if facts.nodes > 0 { label { "node " select id="filter-node" { option value="" { "all" } } } }
            button type="button" id="reset" title="all of it (key 0)" { "Show all" }
            output id="shown" {}
            @if let Some(one_in) = facts.one_in {
                p.note {
                    "Of " (grouped(facts.total as u64)) " operations one in " (one_in)
                    " is drawn, and every one that something is wrong with."
                }
            }
            @if facts.keys_left_out > 0 {
                p.note {
                    (grouped(facts.keys_left_out as u64))
                    " keys have no name of their own here: they are (others)."
                }
            }
        }
    }
}

/// Latency, quantiles and rate.
pub(super) fn latency(facts: &Facts<'_>) -> Markup {
    html! {
        section id="latency" {
            h2 { "How long each operation took" }
            ul.legend {
                li.ok { i.swatch aria-hidden="true" {} "ok" }
                li.fail { i.swatch aria-hidden="true" {} "failed: surely not done" }
                li.info { i.swatch aria-hidden="true" {} "unknown: maybe done" }
                li.quantiles { i.swatch aria-hidden="true" {} "of those ok: median, 99 %, longest" }
                @if facts.has_faults {
                    li.bands { i.swatch aria-hidden="true" {} "a fault was in force, and proven to be" }
                }
            }
            (canvas("latency-chart", "How long each operation took, on a logarithmic scale, by its begin"))
            h3 { "Operations a second" }
            (canvas("rate-chart", "Operations a second by outcome"))
        }
    }
}

/// The timeline.
pub(super) fn timeline(facts: &Facts<'_>) -> Markup {
    html! {
        section id="timeline" {
            h2 { "Who did what when" }
            div.lanes role="radiogroup" aria-label="Lanes" {
                label {
                    input type="radio" name="lanes" value="process" checked;
                    " a lane a process (" (facts.processes) ")"
                }
                @if facts.nodes > 0 {
                    label {
                        input type="radio" name="lanes" value="node";
                        " a lane a node (" (facts.nodes) "), with what befell it"
                    }
                }
            }
            (canvas("timeline-chart", "Operations by process or node"))
            p.note {
                "Drag to move, wheel or + and - to zoom, arrow keys to move, 0 for all of it; n and p go to the "
                "next and the previous thing that is wrong. Far out it shows how many operations there were, "
                "near by each of them; what is wrong is always marked "
                span.flag { "\u{25bc}" } "."
            }
        }
        aside id="detail" aria-live="polite" hidden {}
    }
}

fn canvas(id: &str, what: &str) -> Markup {
    html! { div.chart { canvas id=(id) tabindex="0" role="img" aria-label=(what) {} div.tip hidden {} } }
}
