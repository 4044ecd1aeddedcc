//! Each check with its verdict and its numbers; and the files beside the page.

use checker::verdict::{CheckReport, Verdict};
use maud::{Markup, html};
use serde_json::Value;

use super::head::sign;
use crate::subject::Subject;
use crate::words::grouped;

/// The section of checks.
pub(super) fn checks(subject: &Subject) -> Markup {
    html! {
        section id="checks" {
            h2 { "Checks" }
            div.scroll tabindex="0" role="group" aria-label="Checks, may be scrolled" {
                table.checks {
                    thead {
                        tr {
                            @for name in ["check", "verdict", "judged", "says"] { th scope="col" { (name) } }
                        }
                    }
                    tbody { @for (name, report) in &subject.checks { (row(name, report)) } }
                }
            }
        }
    }
}

fn row(name: &str, report: &CheckReport) -> Markup {
    let verdict = report.verdict();
    html! {
        tr {
            th scope="row" { (name) @if let Some(what) = meaning(name) { small { (what) } } }
            td class=(format!("said {verdict}")) { span aria-hidden="true" { (sign(verdict)) } " " (verdict) }
            td.number { (grouped(report.judged())) }
            td {
                @if let Some(reason) = &report.reason { p { (reason) } }
                @else if verdict == Verdict::Valid { p { "nothing wrong" } }
                ul.numbers {
                    @for (name, value) in &report.details {
                        @if let Some(number) = number(value) {
                            li { (name.replace('_', " ")) " " b { (number) } }
                        }
                    }
                }
            }
        }
    }
}

/// What a check asks, where it is one of those that every run has.
fn meaning(name: &str) -> Option<&'static str> {
    Some(match name {
        "cart" => "no acknowledged item is lost",
        "siblings" => "the last reads return what nothing acknowledged has replaced",
        "well_formed" => "the record of the run is sound",
        "records" => "what nodes did is what the core does",
        "white-box" => "what nodes did keeps the protocol's rules",
        "disks" => "nodes noticed what befell their disks",
        "convergence" => "replicas come to hold the same",
        "at-rest" => "the healed cluster comes to rest",
        "final-reads" => "the healed cluster answers",
        _ => return None,
    })
}

/// A detail that is a number, a word or a few numbers.
fn number(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => {
            Some(number.as_u64().map_or_else(|| short(number.as_f64()), grouped))
        }
        Value::Bool(it) => Some(if *it { "yes" } else { "no" }.to_owned()),
        Value::Object(fields) if fields.len() <= 8 && fields.values().all(Value::is_number) => {
            let told = fields
                .iter()
                .map(|(name, value)| format!("{name} {}", number(value).unwrap_or_default()));
            Some(told.collect::<Vec<_>>().join(", "))
        }
        _ => None,
    }
}

fn short(number: Option<f64>) -> String {
    let number = number.unwrap_or_default();
    let text = if number.abs() < 10.0 { format!("{number:.2}") } else { format!("{number:.1}") };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The section of files.
pub(super) fn files(subject: &Subject) -> Markup {
    if subject.links.is_empty() {
        return html! {};
    }
    html! {
        section id="files" {
            h2 { "Files beside this page" }
            ul.files {
                @for (what, path) in &subject.links { li { a href=(path) { (path) } " " small { (what) } } }
            }
        }
    }
}
