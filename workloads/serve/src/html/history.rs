//! A history as a table.

use checker::history::op::Kind;
use dyno_page::words::{at, cut, grouped};
use maud::{Markup, html};

use super::{address, frame};
use crate::search::{Found, Line, Search};

/// As many characters of a value are shown.
const LONGEST: usize = 240;

/// A page of lines of the run at `path`.
pub(crate) fn page(path: &str, search: &Search, found: &Found) -> Markup {
    let here = address("history", path);
    let next = found.next.map(|at| Search { at, ..search.clone() });
    let as_lines = format!("{}as=jsonl", and(&search.address()));
    let share = |place: u64| 100.0 * place as f64 / found.length.max(1) as f64;
    let body = html! {
        h1 { "History of " a href=(address("run", path)) { (path) } }
        (form(&here, search))
        p.note {
            (grouped(found.lines.len() as u64)) " lines from "
            (format!("{:.1} %", share(search.at))) " to "
            (format!("{:.1} %", share(found.next.unwrap_or(found.length)))) " of "
            (grouped(found.length)) " bytes. "
            a href=(format!("{here}{as_lines}")) { "All of them as lines of JSON" }
        }
        @if let Some(error) = &found.error { p.bad { "It cannot be read on: " (error) } }
        div.scroll tabindex="0" role="group" aria-label="Lines, may be scrolled" {
            table.lines {
                thead { tr {
                    @for name in ["line", "at", "process", "type", "f", "key", "node", "value"] {
                        th scope="col" { (name) }
                    }
                } }
                tbody { @for line in &found.lines { (row(line)) } }
            }
        }
        nav.pages aria-label="Pages of the table" {
            @if search.at > 0 {
                @let start = Search { at: 0, ..search.clone() };
                a href=(format!("{here}{}", start.address())) { "from the start" }
            }
            @if let Some(next) = next {
                a rel="next" href=(format!("{here}{}", next.address())) { "go on \u{2192}" }
            } @else {
                span.note { "This is the end of it." }
            }
        }
    };
    frame(&format!("History of {path}"), "", &body)
}

/// An address that takes one parameter more.
fn and(address: &str) -> String {
    if address.len() > 1 { format!("{address}&") } else { address.to_owned() }
}

fn form(here: &str, search: &Search) -> Markup {
    html! {
        form.tools action=(here) method="get" aria-label="Search" {
            label { "text " input name="q" value=(search.q) placeholder="as it stands in the file"; }
            label { "key " input name="key" value=(search.key); }
            label { "f " input.short name="f" value=(search.f) placeholder="get, put"; }
            label { "process " input.short name="process" value=(search.process); }
            label { "type " select name="type" {
                option value="" { "all" }
                @for kind in ["invoke", "ok", "fail", "info"] {
                    option value=(kind) selected[kind == search.kind] { (kind) }
                }
            } }
            button type="submit" { "Search" }
            a href=(here) { "all" }
        }
    }
}

fn row(line: &Line) -> Markup {
    let op = &line.op;
    let kind = match op.kind {
        Kind::Invoke => "invoke",
        Kind::Ok => "ok",
        Kind::Fail => "fail",
        Kind::Info => "info",
    };
    html! {
        tr class=(kind) {
            th scope="row" { "#" (op.index) }
            td.number { (at(op.time)) }
            td { (op.process) }
            td { (kind) }
            td { (op.f) }
            td { @if let Some(key) = &op.key { (cut(key.to_string(), 60)) } }
            td { @if let Some(node) = &op.node { (cut(node.to_string(), 30)) } }
            td.value {
                @if let Some(value) = &line.value { code { (cut(value.clone(), LONGEST)) } }
                @if let Some(context) = op.context { " " small { "builds on #" (context) } }
                @if let Some(error) = &op.error { " " small.bad { (cut(error.to_string(), LONGEST)) } }
                @if op.is_final { " " small { "final" } }
            }
        }
    }
}
