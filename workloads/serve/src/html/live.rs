//! A run that goes on.

use maud::{Markup, html};

use super::{address, frame};

/// The page of the run at `path`: its script asks for what happened, and draws it.
pub(crate) fn page(path: &str) -> Markup {
    let body = html! {
        h1 { "Live: " (path) }
        p id="how" role="status" { "Waiting for the first second." }
        dl.facts id="numbers" {
            @for (id, name) in [
                ("at", "at"), ("ok", "ok"), ("fail", "failed"), ("info", "unknown"), ("rate", "ok a second"),
                ("p50", "p50"), ("p99", "p99"), ("force", "in force"),
            ] {
                div { dt { (name) } dd id=(id) { "\u{2013}" } }
            }
        }
        h2 { "Operations a second " small { "ok; dashed: failed; dotted: unknown" } }
        canvas id="rates" role="img" aria-label="Operations a second by outcome" {}
        h2 { "How long they took " small { "median; dashed: 99 %" } }
        canvas id="spans" role="img" aria-label="Median and 99th percentile, on a logarithmic scale" {}
        noscript {
            p {
                "Without a script this page does not move: "
                a href=(address("history", path)) { "the history so far" }
            }
        }
        script src="/live.js" data-events=(address("events", path)) data-run=(address("run", path)) defer {}
    };
    frame(&format!("Live: {path}"), "", &body)
}
