//! The head: did it hold, why not, what was it, how is it done again.

use checker::verdict::Verdict;
use maud::{Markup, html};

use crate::subject::{Part, Subject};

/// A verdict's sign, so that it is not told by its colour alone.
pub(super) fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "\u{2713}",
        Verdict::Invalid => "\u{2717}",
        Verdict::Unknown => "?",
    }
}

/// The head of the page.
pub(super) fn head(subject: &Subject, has_fates: bool) -> Markup {
    let verdict = subject.verdict.unwrap_or(Verdict::Unknown);
    html! {
        header class=(format!("head {verdict}")) {
            div.verdict {
                span.sign aria-hidden="true" { (sign(verdict)) }
                h1 { span.word { (verdict.as_str().to_uppercase()) ":" } " " (subject.headline) }
                button.theme type="button" id="theme" title="light or dark (key t)" { "Light / dark" }
            }
            ul.three aria-label="The verdicts" { @for part in &subject.verdicts { (three(part)) } }
            (reasons(subject))
            dl.facts {
                @for (name, what) in &subject.facts { div { dt { (name) } dd { (what) } } }
            }
            @if let Some(again) = &subject.again {
                div.again {
                    span { "See it again:" }
                    code id="again" { (again) }
                    button type="button" id="copy" { "Copy" }
                }
            }
            @for note in &subject.notes { p.note { (note) } }
            (links(subject, has_fates))
        }
    }
}

fn three(part: &Part) -> Markup {
    html! {
        li class=(part.verdict) title=(part.question) {
            span.sign aria-hidden="true" { (sign(part.verdict)) }
            b { (part.name) " " (part.verdict) }
            small { (part.question) }
        }
    }
}

/// Why it is not valid: the first reason, and the others on demand.
fn reasons(subject: &Subject) -> Markup {
    let reasons = subject.verdicts.iter().flat_map(|part| part.reasons.iter());
    let reasons: Vec<&String> = reasons.collect();
    let Some((first, others)) = reasons.split_first() else { return html! {} };
    html! {
        p.reason { (first) }
        @if !others.is_empty() {
            details.others {
                @let word = if others.len() == 1 { "reason" } else { "reasons" };
                summary { "and " (others.len()) " more " (word) }
                ul { @for reason in others { li { (reason) } } }
            }
        }
    }
}

fn links(subject: &Subject, has_fates: bool) -> Markup {
    let failed = subject.verdict == Some(Verdict::Invalid);
    html! {
        nav aria-label="Parts of this page" {
            @if failed { a href="#why" { "Why" } }
            @if has_fates { a href="#fate" { "Fate of writes" } }
            @if !subject.faults.is_empty() { a href="#coverage" { "Faults" } }
            a href="#latency" { "Latency" }
            a href="#timeline" { "Timeline" }
            a href="#checks" { "Checks" }
            @if !subject.links.is_empty() { a href="#files" { "Files" } }
        }
    }
}
