//! The pages, drawn of what is known: everything that comes from a run stands in them as text.

pub(crate) mod chart;
pub(crate) mod compare;
pub(crate) mod findings;
pub(crate) mod history;
pub(crate) mod list;
pub(crate) mod live;
pub(crate) mod trend;

use maud::{DOCTYPE, Markup, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::index::{Run, State};

/// What stands for itself in the path of an address.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'/');

/// The style: that of the page of a run, and what lists need beside it.
pub(crate) fn style() -> String {
    [dyno_page::STYLE, include_str!("../../assets/serve.css")].concat()
}

/// The script of a run that goes on.
pub(crate) const LIVE: &str = include_str!("../../assets/live.js");

/// The address of something about a path below the root.
pub(crate) fn address(what: &str, path: &str) -> String {
    format!("/{what}/{}", utf8_percent_encode(path, PLAIN))
}

/// A page with its head and its ways to the others.
pub(crate) fn frame(title: &str, here: &str, body: &Markup) -> Markup {
    let ways = [("/", "Runs"), ("/findings", "Findings"), ("/trend", "Trend")];
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="stylesheet" href="/style.css";
            }
            body.list {
                nav.ways aria-label="Pages" {
                    b { "Dynamometer" }
                    @for (to, name) in ways {
                        @if to == here { a href=(to) aria-current="page" { (name) } }
                        @else { a href=(to) { (name) } }
                    }
                }
                main { (body) }
            }
        }
    }
}

/// A page that says why there is none.
pub(crate) fn refusal(title: &str, why: &str) -> Markup {
    frame(title, "", &html! { h1 { (title) } p { (why) } p { a href="/" { "All runs" } } })
}

/// A state's sign, so that it is not told by its colour alone.
fn sign(state: State) -> &'static str {
    match state {
        State::Valid => "\u{2713}",
        State::Invalid => "\u{2717}",
        State::Unknown => "?",
        State::Running => "\u{25b6}",
        State::Ended => "\u{25fb}",
    }
}

/// A state with its sign.
fn state(state: State) -> Markup {
    html! { span class=(format!("state {}", state.as_str())) {
        span aria-hidden="true" { (sign(state)) } " " (state.as_str())
    } }
}

/// Where a run is looked at.
fn link(run: &Run) -> Markup {
    let what = if run.state == State::Running { "live" } else { "run" };
    html! { a href=(address(what, &run.path)) { (run.path) } }
}

/// What built a run, short enough to be read.
fn build(run: &Run) -> String {
    short(&run.build, run.is_commit)
}

/// A commit as people write it; a version as it is.
fn short(build: &str, is_commit: bool) -> String {
    if is_commit { build.chars().take(10).collect() } else { build.to_owned() }
}

/// Faults by their names.
fn faults(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
