//! The list of runs.

use std::collections::BTreeSet;
use std::sync::Arc;

use dyno_page::words::grouped;
use maud::{Markup, html};

use super::{address, build, faults, frame, link, state};
use crate::index::{Run, Runs, State};
use crate::query::{PAGE, Query, Sort};

/// A page of what is asked for: `found` is all of it.
pub(crate) fn page(query: &Query, runs: &Runs, found: &[Arc<Run>]) -> Markup {
    let last = found.len().div_ceil(PAGE).saturating_sub(1);
    let at = query.page.min(last);
    let shown = found.iter().skip(at * PAGE).take(PAGE);
    let body = html! {
        h1 { "Runs" }
        (form(query, runs))
        p.note {
            (count(found, runs))
            @if last > 0 { " Page " (at + 1) " of " (last + 1) "." }
        }
        div.scroll tabindex="0" role="group" aria-label="Runs, may be scrolled" {
            table.runs {
                thead { tr { @for column in COLUMNS { (heading(query, column)) } } }
                tbody { @for run in shown { (row(run)) } }
            }
        }
        nav.pages aria-label="Pages of the list" {
            @if at > 0 { a rel="prev" href=(turned(query, at - 1)) { "\u{2190} page " (at) } }
            @if at < last { a rel="next" href=(turned(query, at + 1)) { "page " (at + 2) " \u{2192}" } }
        }
    };
    frame("Runs", "/", &body)
}

/// The columns: their names, and what they sort by.
const COLUMNS: [(&str, Option<Sort>); 11] = [
    ("verdict", Some(Sort::State)),
    ("run", Some(Sort::Began)),
    ("plan", Some(Sort::Plan)),
    ("seed", Some(Sort::Seed)),
    ("lost", Some(Sort::Lost)),
    ("operations", Some(Sort::Ops)),
    ("p99", Some(Sort::P99)),
    ("took", Some(Sort::Seconds)),
    ("faults", None),
    ("cluster", None),
    ("build", None),
];

fn turned(query: &Query, page: usize) -> String {
    Query { page, ..query.clone() }.address()
}

fn heading(query: &Query, (name, sort): (&str, Option<Sort>)) -> Markup {
    let Some(sort) = sort else { return html! { th scope="col" { (name) } } };
    let is_it = query.sort == sort;
    let order = match (is_it, query.falls()) {
        (false, _) => None,
        (true, true) => Some("descending"),
        (true, false) => Some("ascending"),
    };
    let arrow = order.map(|order| if order == "ascending" { " \u{25b2}" } else { " \u{25bc}" });
    html! {
        th scope="col" aria-sort=[order] {
            a href=(query.by(sort).address()) { (name) @if let Some(arrow) = arrow { (arrow) } }
        }
    }
}

fn count(found: &[Arc<Run>], runs: &Runs) -> String {
    let of = |state: State| found.iter().filter(|run| run.state == state).count();
    let told = State::ALL.into_iter().filter(|state| of(*state) > 0);
    let told: Vec<String> =
        told.map(|state| format!("{} {}", grouped(of(state) as u64), state.as_str())).collect();
    let all = match (found.len(), runs.all.len()) {
        (0, 0) => return "There are no runs here yet: `dyno test` makes one.".to_owned(),
        (0, _) => return "No run is like that.".to_owned(),
        (found, all) if found == all => format!("{} runs", grouped(all as u64)),
        (found, all) => format!("{} of {} runs", grouped(found as u64), grouped(all as u64)),
    };
    format!("{all}: {}.", told.join(", "))
}

fn form(query: &Query, runs: &Runs) -> Markup {
    let plans: BTreeSet<&str> = runs.all.iter().map(|run| run.plan.as_str()).collect();
    let names: BTreeSet<&str> =
        runs.all.iter().flat_map(|run| &run.faults).map(String::as_str).collect();
    let fault_names = ["none"].into_iter().chain(names);
    let sort = if query.sort == Sort::Began { "" } else { query.sort.as_str() };
    html! {
        form.tools action="/" method="get" aria-label="Filters" {
            label { "plan " (select("plan", plans, &query.plan)) }
            label { "verdict "
                (select("state", State::ALL.map(State::as_str), query.state.map_or("", State::as_str)))
            }
            label { "fault " (select("fault", fault_names, &query.fault)) }
            label { "seed "
                input.short name="seed" inputmode="numeric" value=[query.seed];
            }
            label { "text "
                input name="q" value=(query.q) placeholder="path, reason, cluster, build";
            }
            @if !sort.is_empty() { input type="hidden" name="sort" value=(sort); }
            @if query.is_turned { input type="hidden" name="turned" value="1"; }
            button type="submit" { "Show" }
            a href="/" { "all" }
        }
    }
}

fn select<'a>(name: &str, values: impl IntoIterator<Item = &'a str>, chosen: &str) -> Markup {
    html! {
        select name=(name) {
            option value="" { "all" }
            @for value in values {
                option value=(value) selected[value == chosen] { (value) }
            }
        }
    }
}

fn row(run: &Run) -> Markup {
    let lost: u64 = run.lost.iter().sum();
    let [ok, fail, info] = run.ops;
    let others = format!("{} failed, {} unknown", grouped(fail), grouped(info));
    html! {
        tr class=(run.state.as_str()) {
            td { (state(run.state)) }
            th scope="row" {
                (link(run))
                @if let Some(reason) = &run.reason { small.why title=(reason) { (reason) } }
                small.more {
                    a href=(address("history", &run.path)) { "history" }
                    @if run.three.is_some() { " " a href=(address("compare", &run.path)) { "compare" } }
                }
            }
            td { (run.plan) }
            td.number { @if let Some(seed) = run.seed { (seed) } }
            td.number class=(if lost > 0 { "bad" } else { "" }) {
                @if run.three.is_some() { (grouped(lost)) }
            }
            td.number title=(others) { @if run.three.is_some() { (grouped(ok)) } }
            td.number { @if run.three.is_some() { (format!("{:.1} ms", run.p99_ms)) } }
            td.number { @if run.three.is_some() { (format!("{:.1} s", run.seconds)) } }
            td { @if run.three.is_some() { (faults(&run.faults)) } }
            td { (run.cluster) }
            td { code { (build(run)) } }
        }
    }
}
