//! Two runs side by side.

use std::collections::BTreeSet;
use std::sync::Arc;

use dyno_page::words::{at, grouped};
use maud::{Markup, html};

use super::chart::rate;
use super::{address, build, faults, frame, link, state};
use crate::index::Run;
use crate::tail::Tail;

/// A run and what its history tells, if that can be read.
pub(crate) struct Side {
    /// The run.
    pub run: Arc<Run>,
    /// Its history.
    pub tail: Result<Tail, String>,
}

/// The page; without a second run it says that there is none to compare with.
pub(crate) fn page(one: &Side, other: Option<&Side>, is_chosen: bool) -> Markup {
    let body = html! {
        h1 { "Two runs side by side" }
        @match other {
            None => p {
                "There is no passing run to hold " (link(&one.run)) " against. "
                "Another is named in the address: " code { "?with=PATH" } "."
            },
            Some(other) => {
                @if is_chosen {
                    p.note {
                        "The second is the passing run that is most like the first: same plan, then cluster, "
                        "faults, seed, and the nearest in time."
                    }
                }
                (table(&one.run, &other.run))
                (charts(one, other))
                (schedules(one, other))
            }
        }
    };
    frame("Two runs side by side", "", &body)
}

/// What is told of a run, by name.
fn rows(run: &Run) -> Vec<(String, String)> {
    let [ok, fail, info] = run.ops.map(grouped);
    let [lost, unreadable] = run.lost.map(grouped);
    let seed = run.seed.map(|seed| seed.to_string()).unwrap_or_default();
    let mut rows: Vec<(String, String)> = [
        ("plan", run.plan.clone()),
        ("seed", seed),
        ("cluster", run.cluster.clone()),
        ("faults", faults(&run.faults)),
        ("build", build(run)),
        ("began", run.began.clone()),
        ("took", format!("{:.1} s", run.seconds)),
        ("operations", format!("{ok} ok, {fail} failed, {info} unknown")),
        ("p99", format!("{:.1} ms", run.p99_ms)),
        ("lost", format!("{lost}, and {unreadable} unreadable")),
        ("checks not valid", faults(&run.failed)),
    ]
    .map(|(name, what)| (name.to_owned(), what))
    .to_vec();
    for (fault, [installed, proven]) in &run.tried {
        rows.push((fault.clone(), format!("{installed} injected, {proven} proven")));
    }
    for (counter, count) in &run.counters {
        rows.push((counter.replace('_', " "), grouped(*count)));
    }
    rows
}

fn table(one: &Run, other: &Run) -> Markup {
    let (left, right) = (rows(one), rows(other));
    let mut names: Vec<&String> = Vec::new();
    let mut seen = BTreeSet::new();
    for (name, _) in left.iter().chain(&right) {
        if seen.insert(name) {
            names.push(name);
        }
    }
    let of = |rows: &[(String, String)], name: &str| {
        let found = rows.iter().find(|(of, _)| of == name);
        found.map_or_else(|| "\u{2013}".to_owned(), |(_, what)| what.clone())
    };
    html! {
        div.scroll tabindex="0" role="group" aria-label="Both runs, may be scrolled" {
            table.sides {
                thead { tr {
                    th scope="col" {}
                    @for run in [one, other] {
                        th scope="col" { (state(run.state)) " " (link(run)) }
                    }
                } }
                tbody { @for name in names {
                    @let (left, right) = (of(&left, name), of(&right, name));
                    tr class=(if left == right { "same" } else { "differs" }) {
                        th scope="row" {
                            (name)
                            @if left != right { span.sign title="differs" { " \u{2260}" } }
                        }
                        td { (left) }
                        td { (right) }
                    }
                } }
            }
        }
        @for run in [one, other] {
            @if let Some(reason) = &run.reason { p.note { (run.name()) ": " (reason) } }
        }
    }
}

fn charts(one: &Side, other: &Side) -> Markup {
    let told = |side: &Side| {
        let seconds = side.tail.as_ref().map_or(&[][..], Tail::seconds);
        (seconds.len(), seconds.iter().flat_map(|second| second.ops).max().unwrap_or(0))
    };
    let (left, right) = (told(one), told(other));
    let (span, most) = (left.0.max(right.0), left.1.max(right.1));
    html! {
        section {
            h2 { "Operations a second, and the faults in force" }
            div.two {
                @for side in [one, other] {
                    figure {
                        @match &side.tail {
                            Ok(tail) => (rate(tail.seconds(), &tail.bands(), span, most)),
                            Err(why) => p.note { (why) },
                        }
                        figcaption {
                            (side.run.path) " "
                            a href=(address("history", &side.run.path)) { "history" }
                        }
                    }
                }
            }
        }
    }
}

/// The faults of both, one after the other as they were proven: with one seed they are the same ones.
fn schedules(one: &Side, other: &Side) -> Markup {
    let bands = |side: &Side| {
        let bands = side.tail.as_ref().map(Tail::bands).unwrap_or_default();
        bands.into_iter().filter(|band| band.is_proven).collect::<Vec<_>>()
    };
    let (left, right) = (bands(one), bands(other));
    let count = left.len().max(right.len());
    html! {
        @if count > 0 {
            section {
                h2 { "Faults in order" }
                div.scroll tabindex="0" role="group" aria-label="Faults, may be scrolled" {
                    table.sides { tbody { @for place in 0..count {
                        @let pair = [left.get(place), right.get(place)];
                        @let words = pair.map(|band| band.map(|band| band.in_words()));
                        tr class=(if words[0] == words[1] { "same" } else { "differs" }) {
                            th scope="row" { (place + 1) }
                            @for band in pair {
                                td { @if let Some(band) = band {
                                    (band.in_words()) " " small { (at(band.from)) " to " (at(band.to)) }
                                } }
                            }
                        }
                    } } }
                }
            }
        }
    }
}
