//! What GitHub shows of a night that runs there: annotations beside the step, and the summary of the job.

use std::fs::OpenOptions;
use std::io::{self, Write};

use dyno_command::output;

use super::page;
use super::summary::{Finding, Summary};

/// GitHub shows ten annotations of a kind a step; the last says how many more there are.
const MOST_ANNOTATED: usize = 9;
/// GitHub takes 1 MiB; the rest is in the files of the night.
const MOST_SUMMARY: usize = 900 << 10;

/// Tells GitHub, if it runs this.
pub(super) fn tell(summary: &Summary) {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if variable("GITHUB_ACTIONS").is_some_and(|value| value == "true") {
        annotations(summary).into_iter().for_each(output::say);
    }
    if let Some(path) = variable("GITHUB_STEP_SUMMARY") {
        let file = OpenOptions::new().append(true).create(true).open(&path);
        let written: io::Result<()> =
            file.and_then(|mut file| file.write_all(markdown(summary).as_bytes()));
        if let Err(error) = written {
            // It is in the files of the night, too.
            output::note(format_args!("warning: {}: {error}", path.to_string_lossy()));
        }
    }
}

/// A command of the runner each: an error a finding, a warning a doubt.
fn annotations(summary: &Summary) -> Vec<String> {
    let mut lines = Vec::new();
    for (kind, findings) in [("error", &summary.findings), ("warning", &summary.doubts)] {
        let line = |finding: &Finding| {
            let Finding { name, why, again, .. } = finding;
            let text = format!("{}\nsee it again: {again}", why.join("\n"));
            format!("::{kind} title={}::{}", property(name), data(&text))
        };
        lines.extend(findings.iter().take(MOST_ANNOTATED).map(line));
        if let Some(more) = findings.len().checked_sub(MOST_ANNOTATED).filter(|more| *more > 0) {
            lines.push(format!("::{kind} title={}::and {more} more", property(&summary.suite)));
        }
    }
    if summary.verdict() == "unknown" && summary.doubts.is_empty() {
        let why = data(&summary.reasons.join("\n"));
        lines.push(format!("::warning title={}::{why}", property(&summary.suite)));
    }
    lines
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

fn markdown(summary: &Summary) -> String {
    let mut text = page::text(summary);
    if text.len() > MOST_SUMMARY {
        let end = (0..=MOST_SUMMARY).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text += "\n[...]\n";
    }
    // A fence longer than any in the text.
    format!("### {}: {}\n\n``````text\n{text}``````\n", summary.suite, summary.verdict())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_command_of_the_runner_is_escaped() {
        assert_eq!(data("50 %\nmore"), "50 %25%0Amore");
        assert_eq!(property("a: b, c"), "a%3A b%2C c");
    }
}
