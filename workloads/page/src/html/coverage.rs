//! Coverage: was it tried hard enough? Holes are marked.

use maud::{Markup, html};

use crate::subject::{FaultRow, Subject};
use crate::words::grouped;

/// Which mechanism a counter tells of, for who does not know its name; these stand first.
const MECHANISMS: [(&str, &str); 6] = [
    ("hints_stored", "hints stored: a stand-in kept a write for a node that was away"),
    ("hints_delivered", "hints delivered: the node came back and got it"),
    ("read_repairs", "read repairs: a read found a stale replica and mended it"),
    ("keys_synced", "keys synced: replicas compared what they hold and mended it"),
    ("forwarded", "forwarded: a node passed a request on to one that keeps the key"),
    ("rolled_back", "rollbacks noticed: a node found that its disk had lost its end"),
];

/// Which operations count for a fault.
const DURING: &str = "of keys it touches, begun and ended during it";

/// The section; nothing where no fault was planned and nothing was counted.
pub(super) fn coverage(subject: &Subject) -> Markup {
    if subject.faults.is_empty() && subject.counters.is_empty() {
        return html! {};
    }
    html! {
        section id="coverage" {
            h2 { "Was it tried hard enough?" }
            @if !subject.faults.is_empty() { (table(&subject.faults)) }
            @if !subject.counters.is_empty() { (counters(subject)) }
        }
    }
}

fn table(faults: &[FaultRow]) -> Markup {
    html! {
        div.scroll tabindex="0" role="group" aria-label="Faults, may be scrolled" {
            table.coverage {
                thead { tr {
                    th scope="col" { "fault" }
                    th scope="col" { "injected" }
                    th scope="col" title="seen to be in force" { "proven" }
                    th scope="col" title="seen to be over" { "healed" }
                    th scope="col" title="could not be done" { "skipped" }
                    th scope="col" title=(DURING) { "gets ok during it" }
                    th scope="col" title=(DURING) { "puts ok during it" }
                } }
                tbody {
                    @for fault in faults {
                        tr {
                            th scope="row" { (fault.name) }
                            (cell(fault.injected, fault.injected == 0))
                            (cell(fault.proven, fault.proven < fault.injected))
                            (cell(fault.healed, fault.healed < fault.injected))
                            (cell(fault.skipped, fault.skipped > 0))
                            (cell(fault.gets_ok, fault.gets_ok == 0))
                            (cell(fault.puts_ok, fault.puts_ok == 0))
                        }
                    }
                }
            }
        }
        p.note { "A hole is marked \u{25b2}: something that was to be tried and was not." }
    }
}

fn cell(count: u64, is_hole: bool) -> Markup {
    html! {
        @if is_hole {
            td.hole { span aria-label="hole" { "\u{25b2}" } " " (grouped(count)) }
        } @else {
            td { (grouped(count)) }
        }
    }
}

fn counters(subject: &Subject) -> Markup {
    let counters = &subject.counters;
    let count = |name: &str| counters.iter().find(|(of, _)| of == name).map(|(_, count)| *count);
    let told = MECHANISMS.iter().filter_map(|(name, what)| Some((name, what, count(name)?)));
    // The verdict says which of them had to fire.
    let reasons = || subject.verdicts.iter().flat_map(|part| &part.reasons);
    let is_hole = |name: &str| reasons().any(|reason| reason.starts_with(name));
    html! {
        h3 { "What the nodes did about it" }
        ul.mechanisms {
            @for (name, what, count) in told {
                @let (words, meaning) = what.split_once(": ").unwrap_or((what, ""));
                li class=(if is_hole(name) { "hole" } else { "some" }) {
                    @if is_hole(name) { span aria-label="hole" { "\u{25b2}" } " " }
                    b { (grouped(count)) } " " (words) " " small { (meaning) }
                }
            }
        }
        details {
            summary { "All " (counters.len()) " counters" }
            ul.counters { @for (name, count) in counters { li { (name) " " b { (grouped(*count)) } } } }
        }
    }
}
