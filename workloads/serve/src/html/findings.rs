//! What all runs found, gathered.

use dyno_page::Signature;
use dyno_page::words::grouped;
use maud::{Markup, html};

use super::{address, frame, link};
use crate::findings::{Cluster, Gathered};

/// As many runs of a cluster are named.
const MOST_RUNS: usize = 12;

/// The page; `dir` is the folder as it was named. It says how many runs are still to be read.
pub(crate) fn page(gathered: &Gathered, dir: &str) -> Markup {
    let Gathered { clusters, invalid, read, unread } = gathered;
    let body = html! {
        h1 { "Findings" }
        p.note {
            "What the invalid runs found, gathered by the check that found it, what kind of thing it is "
            "and the faults that were in force while it happened. What needs no fault stands first. "
            (grouped(*read as u64)) " of " (grouped(*invalid as u64)) " invalid runs were read"
            @if read < invalid { "; " a href="/findings" { "read on" } } "."
        }
        @if clusters.is_empty() && unread.is_empty() && read == invalid {
            p { "Nothing was found wrong in any run." }
        }
        @for (signature, cluster) in clusters { (told(signature, cluster, dir)) }
        @if !unread.is_empty() {
            section {
                h2 { "Runs that do not tell" }
                ul { @for (run, why) in unread { li { (link(run)) ": " (why) } } }
            }
        }
    };
    frame("Findings", "/findings", &body)
}

fn told(signature: &Signature, cluster: &Cluster, dir: &str) -> Markup {
    let during = match signature.during.as_slice() {
        [] => "with no fault in force".to_owned(),
        some => format!("while {} in force", names(some)),
    };
    let runs = cluster.runs.len();
    html! {
        section.cluster {
            h2 { span.check { (signature.check) } " " (signature.shape) ", " (during) }
            p {
                b { (grouped(cluster.count)) }
                @if cluster.count == 1 { " finding in " } @else { " findings in " }
                b { (grouped(runs as u64)) } @if runs == 1 { " run" } @else { " runs" } ". "
                (preceded(cluster))
            }
            ul.runs {
                @for (run, number, title) in cluster.runs.iter().take(MOST_RUNS) {
                    li {
                        (link(run)) " " span { (title) } " "
                        code.show { "dyno show " (dir) "/" (run.path) " --lost " (number) } " "
                        a href=(address("compare", &run.path)) { "compare" }
                    }
                }
                @if runs > MOST_RUNS { li { "and " (grouped((runs - MOST_RUNS) as u64)) " more runs" } }
            }
        }
    }
}

/// `kill and pause were`.
fn names(faults: &[String]) -> String {
    match faults {
        [one] => format!("{one} was"),
        [first @ .., last] => format!("{} and {last} were", first.join(", ")),
        [] => String::new(),
    }
}

fn preceded(cluster: &Cluster) -> Markup {
    let mut before = cluster.preceded.iter();
    html! {
        @if let Some((fault, count)) = before.next() {
            (fault) " had come before " (grouped(*count)) " of them"
            @for (fault, count) in before { ", " (fault) " before " (grouped(*count)) }
            "; "
        }
        @if cluster.unpreceded == cluster.count { b { "not preceded by any fault." } }
        @else if cluster.unpreceded == 0 { "each was preceded by some fault." }
        @else { "not preceded by any fault: " (grouped(cluster.unpreceded)) "." }
    }
}
