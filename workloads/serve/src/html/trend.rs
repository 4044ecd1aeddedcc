//! How plans change from night to night.

use std::sync::Arc;

use dyno_page::words::grouped;
use maud::{Markup, html};

use super::{address, frame, short, sign, state};
use crate::index::{Run, State};
use crate::trend::{Night, Series};

/// As many runs are drawn, and as many nights told, of a plan.
const MOST_RUNS: usize = 240;
const MOST_NIGHTS: usize = 60;

/// The columns of nights.
const NIGHT: [&str; 7] =
    ["night", "runs", "invalid", "unknown", "lost", "operations", "longest p99"];

/// The page.
pub(crate) fn page(series: &[Series]) -> Markup {
    let body = html! {
        h1 { "Trend" }
        p.note {
            "A plan on one kind of cluster at a time, those whose last build fails first. "
            "A mark a run, the latest at the right; a line between two where the build changed."
        }
        @if series.is_empty() { p { "No run here has a verdict." } }
        @for series in series { (plan(series)) }
    };
    frame("Trend", "/trend", &body)
}

fn plan(series: &Series) -> Markup {
    let skipped = series.runs.len().saturating_sub(MOST_RUNS);
    let runs = &series.runs[skipped..];
    html! {
        section {
            h2 { (series.plan) " " small { (series.cluster) } }
            (since(series))
            ol.strip aria-label="Runs, the latest last" { @for (at, run) in runs.iter().enumerate() {
                (mark(at.checked_sub(1).map(|before| &runs[before]), run))
            } }
            @if skipped > 0 { p.note { (grouped(skipped as u64)) " earlier runs are not drawn." } }
            (nights(&series.nights))
        }
    }
}

fn since(series: &Series) -> Markup {
    let what = |is_commit| if is_commit { "commit" } else { "version" };
    html! {
        @if let Some(since) = &series.since {
            p.since {
                (state(State::Invalid)) " since " (what(since.is_commit)) " "
                code { (short(&since.bad, since.is_commit)) } " ("
                a href=(address("run", &since.run)) { "its first failing run" } ")"
                @match &since.good {
                    Some(good) => { "; the last good one is " code { (short(good, since.is_commit)) } "." }
                    None => { "; none before it is known to be good." }
                }
            }
        }
    }
}

fn mark(before: Option<&Arc<Run>>, run: &Arc<Run>) -> Markup {
    let is_new = before.is_some_and(|before| before.build != run.build);
    let class = format!("{}{}", run.state.as_str(), if is_new { " new" } else { "" });
    let lost: u64 = run.lost.iter().sum();
    let title = format!("{}: {}, {lost} lost, build {}", run.path, run.state.as_str(), run.build);
    html! {
        li class=(class) {
            a href=(address("run", &run.path)) title=(title) aria-label=(title) { (sign(run.state)) }
        }
    }
}

/// A number that should be none is marked.
fn bad(count: u64) -> &'static str {
    if count > 0 { "bad" } else { "" }
}

fn nights(nights: &[Night]) -> Markup {
    html! {
        div.scroll tabindex="0" role="group" aria-label="Nights, may be scrolled" {
            table.nights {
                thead { tr {
                    @for name in NIGHT {
                        th scope="col" { (name) }
                    }
                } }
                tbody { @for night in nights.iter().rev().take(MOST_NIGHTS) {
                    @let [runs, invalid, unknown] = night.runs.map(|count| count as u64);
                    tr {
                        th scope="row" { (night.day) }
                        td.number { (grouped(runs)) }
                        td.number class=(bad(invalid)) { (grouped(invalid)) }
                        td.number { (grouped(unknown)) }
                        td.number class=(bad(night.lost)) { (grouped(night.lost)) }
                        td.number { (grouped(night.ops)) }
                        td.number { (format!("{:.1} ms", night.p99_ms)) }
                    }
                } }
            }
        }
        @if nights.len() > MOST_NIGHTS {
            p.note { (grouped((nights.len() - MOST_NIGHTS) as u64)) " earlier nights are not told." }
        }
    }
}
