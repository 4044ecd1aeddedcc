//! The page, put together.

mod charts;
mod checks;
mod coverage;
mod head;
mod why;

use checker::budget::Budget;
use checker::history::History;
use checker::siblings::fates::fates;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::{Value, json};

use crate::assets;
use crate::faults::bands;
use crate::findings::rows;
use crate::ops::table;
use crate::planes::packed;
use crate::story::{marked, stories};
use crate::subject::Subject;

/// What may be spent on the fates of writes.
const FOR_FATES: std::time::Duration = std::time::Duration::from_secs(10);

/// As many findings of one check are told as stories; all are listed.
const MOST_TOLD: usize = 4;

/// The page of a subject and its history.
#[must_use]
pub fn html(subject: &Subject, history: &History) -> String {
    let bands = bands(history);
    let stories = stories(&subject.checks, history, &bands, MOST_TOLD);
    let fates = fates(history, &Budget { time: Some(FOR_FATES), memory: None });
    let (found, unlisted) = rows(&subject.checks, history);
    let (table, columns) = table(history, &fates, &marked(&subject.checks));
    let is_sampled = table.one_in > 1;
    let facts = charts::Facts {
        total: table.total,
        one_in: is_sampled.then_some(table.one_in),
        keys_left_out: table.keys_left_out,
        fates: &fates,
        processes: table.lanes.iter().max().map_or(0, |most| *most as usize + 1),
        nodes: table.nodes.len().saturating_sub(1),
        has_faults: !bands.is_empty(),
    };
    let body = html! {
        (head::head(subject, !fates.writes.is_empty()))
        main {
            (why::why(subject, history, &stories, found.len(), &unlisted))
            (charts::fate(&facts))
            (coverage::coverage(subject))
            (charts::tools(&facts))
            (charts::latency(&facts))
            (charts::timeline(&facts))
            (checks::checks(subject))
            (checks::files(subject))
        }
    };
    let data = json!({ "table": table, "bands": bands });
    page(
        subject,
        &body,
        &[
            data_block("data", &data),
            packed_block("key-names", &packed(json!(table.keys).to_string().as_bytes())),
            packed_block("columns", &columns),
            packed_block("findings", &packed(json!(found).to_string().as_bytes())),
        ],
    )
}

fn page(subject: &Subject, body: &Markup, data: &[Markup]) -> String {
    let script = assets::script();
    let verdict = subject.verdict.map_or("report", |verdict| verdict.as_str());
    let title = format!("{verdict}: {}", subject.name);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(assets::policy(&script));
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(assets::STYLE)) }
            }
            body {
                (body)
                @for block in data { (block) }
                script { (PreEscaped(script)) }
            }
        }
    };
    page.into_string()
}

/// Data for the script, as JSON. A `<` in it would end it early, or begin a comment.
fn data_block(id: &str, data: &Value) -> Markup {
    let text = data.to_string().replace('<', "\\u003c");
    html! { script type="application/json" id=(id) { (PreEscaped(text)) } }
}

/// Packed data for the script: base64, which has no `<`.
fn packed_block(id: &str, packed: &str) -> Markup {
    html! { script type="text/plain" id=(id) { (PreEscaped(packed)) } }
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
