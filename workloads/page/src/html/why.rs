//! Why: each finding as a story, the first one open, and a table of all.

use std::collections::BTreeMap;

use checker::history::History;
use checker::verdict::Verdict;
use maud::{Markup, html};

use crate::space_time::section;
use crate::story::{Role, Story};
use crate::subject::Subject;
use crate::svg::picture;
use crate::versions;
use crate::words::grouped;

/// The section.
pub(super) fn why(
    subject: &Subject,
    history: &History,
    stories: &[Story],
    found: usize,
    unlisted: &BTreeMap<String, u64>,
) -> Markup {
    if stories.is_empty() && found == 0 {
        return html! {};
    }
    let wrong = subject.checks.values().any(|report| report.verdict() == Verdict::Invalid);
    html! {
        section id="why" aria-label="Why" {
            @for (at, story) in stories.iter().enumerate() {
                @if at == 0 { (first(story, subject, history)) } @else { (other(at, story)) }
            }
            @if wrong { (all(found, unlisted)) }
        }
    }
}

fn first(story: &Story, subject: &Subject, history: &History) -> Markup {
    html! {
        article.story-box {
            h2 { (story.title) }
            @if let Some(hint) = &subject.hint { p.hint { (hint) } }
            (told(0, story))
            (versions::section(story, history))
            (section(story, &subject.messages))
        }
    }
}

fn other(at: usize, story: &Story) -> Markup {
    html! {
        details.story-box {
            summary { span.check { (story.check) } " " (story.title) }
            (told(at, story))
        }
    }
}

fn told(at: usize, story: &Story) -> Markup {
    let picture = picture(story, &format!("story-{at}"));
    let class = if picture.is_some() { "told" } else { "told words" };
    html! {
        div class=(class) {
            @if let Some(picture) = picture {
                figure {
                    div.scroll tabindex="0" role="group" aria-label="Timeline, may be scrolled" { (picture) }
                    (legend(story))
                }
            }
            ol.steps {
                @for step in &story.steps {
                    li {
                        @if let Some(op) = step.op {
                            button.ref type="button" data-op=(op) { "#" (op) } " "
                        }
                        (step.text)
                    }
                }
            }
        }
    }
}

fn legend(story: &Story) -> Markup {
    let has = |role| story.ops.iter().any(|op| op.role == role);
    html! {
        figcaption {
            @if has(Role::Victim) { span.key.victim { "what was promised" } }
            @if has(Role::Culprit) { span.key.culprit { "what took its place" } }
            @if has(Role::Shows) { span.key.shows { "where it shows" } }
            @if !story.arrows.is_empty() {
                span.key.arrowkey { "arrow: a put builds on what a get had shown" }
            }
            @if !story.bands.is_empty() { span.key.bandkey { "a fault was in force" } }
            @if story.order.is_some() { span.key.orderkey { "numbers: the order that was tried" } }
            span.key { "#n: line n+1 of the history; time is not to scale" }
        }
    }
}

fn all(found: usize, unlisted: &BTreeMap<String, u64>) -> Markup {
    html! {
        details.all id="all-findings" {
            summary { "All " (grouped(found as u64)) " findings as a table" }
            @for (check, more) in unlisted {
                p.note { (check) " counted " (grouped(*more)) " more, which it does not list." }
            }
            div id="findings-table" {}
        }
    }
}
