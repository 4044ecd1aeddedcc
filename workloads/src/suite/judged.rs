//! From what a command printed and exited with to what it found. A command whose word and whose status differ
//! has not worked.

use std::collections::BTreeMap;

use dyno_command::exit::{INVALID, REFUSED, UNKNOWN, VALID, verdict};
use dyno_command::one_line;
use serde_json::Value;

use super::outcome::{Found, Ops, Proven};

/// As many reasons are kept.
const MOST_REASONS: usize = 8;

/// What a command said.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Said {
    pub(super) found: Found,
    pub(super) why: Vec<String>,
    /// The command that shows the first finding again, if it is another one than the unit's.
    pub(super) again: Option<String>,
    pub(super) seeds: u64,
    pub(super) ops: Ops,
    pub(super) faults: BTreeMap<String, Proven>,
}

/// Reads it. `status` is what it exited with, if it did.
pub(super) fn read(command: &str, status: Option<i32>, stdout: &str, stderr: &str) -> Said {
    let last = stdout.lines().last().unwrap_or_default();
    let document = serde_json::from_str::<Value>(last).ok();
    let document = document.filter(|document| document["command"] == command);
    let Some(document) = document else { return without(status, stderr) };
    let mut said = Said {
        found: found(status, document["verdict"].as_str()),
        why: reasons(&document),
        again: None,
        seeds: 1,
        ops: part(&document["ops"]),
        faults: part(&document["faults"]),
    };
    if command == "sim" {
        said.seeds = document["seeds"].as_u64().unwrap_or_default();
        said.again = document["violations"][0]["again"].as_str().map(str::to_owned);
    }
    if said.found == Found::Broken && said.why.is_empty() {
        said.why = without(status, stderr).why;
    }
    said
}

/// What the status and the document say, if they say the same.
fn found(status: Option<i32>, said: Option<&str>) -> Found {
    let status = status.and_then(|status| u8::try_from(status).ok());
    match status {
        Some(status) if said != Some(verdict(status)) => Found::Broken,
        Some(VALID) => Found::Valid,
        Some(INVALID) => Found::Invalid,
        Some(UNKNOWN) => Found::Unknown,
        _ => Found::Broken,
    }
}

/// Of a command that left no document.
fn without(status: Option<i32>, stderr: &str) -> Said {
    let how = match status {
        None => "it was killed".to_owned(),
        Some(status) if status == i32::from(REFUSED) => "it was refused".to_owned(),
        Some(status) => format!("it exited with {status} and no document"),
    };
    let last = stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let why = vec![if last.is_empty() { how } else { format!("{how}: {}", one_line(&last)) }];
    let (ops, faults) = (Ops::default(), BTreeMap::new());
    Said { found: Found::Broken, why, again: None, seeds: 0, ops, faults }
}

fn part<T: serde::de::DeserializeOwned + Default>(value: &Value) -> T {
    T::deserialize(value).unwrap_or_default()
}

/// Those of `dyno test`, by verdict; or the violations of `dyno sim`, or else its doubts.
fn reasons(document: &Value) -> Vec<String> {
    let sentences = |kind: &'static str| {
        let all = document["reasons"][kind].as_array().into_iter().flatten();
        all.filter_map(Value::as_str).map(move |why| format!("{kind}: {}", one_line(&why)))
    };
    let failures = |kind: &str| {
        let all = document[kind].as_array().into_iter().flatten().cloned();
        all.map(|failure| {
            let text = |name: &str| failure[name].as_str().unwrap_or_default().to_owned();
            format!("seed {}: {}: {}", failure["seed"], text("check"), one_line(&text("what")))
        })
    };
    let nondeterministic = document["nondeterministic"].as_array().into_iter().flatten();
    let nondeterministic =
        nondeterministic.map(|seed| format!("seed {seed} ran differently twice"));
    let left_out = document["left_out"].as_u64().filter(|count| *count > 0);
    let left_out = left_out.map(|count| format!("{count} seeds were not run"));
    let mut all: Vec<_> =
        ["property", "coverage", "harness"].into_iter().flat_map(sentences).collect();
    all.extend(failures("violations").chain(nondeterministic).chain(left_out));
    if document["verdict"] != "valid" && all.is_empty() {
        all.extend(failures("unknown"));
    }
    let more = all.len().saturating_sub(MOST_REASONS);
    all.truncate(MOST_REASONS);
    if more > 0 {
        all.push(format!("and {more} more"));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_whose_word_and_status_differ_has_not_worked() {
        let line =
            |verdict: &str| format!("noise\n{{\"command\":\"test\",\"verdict\":\"{verdict}\"}}\n");
        let found = |status, verdict: &str| read("test", status, &line(verdict), "").found;
        assert_eq!(found(Some(0), "valid"), Found::Valid);
        assert_eq!(found(Some(1), "invalid"), Found::Invalid);
        assert_eq!(found(Some(2), "unknown"), Found::Unknown);
        assert_eq!(found(Some(255), "unknown"), Found::Broken);
        assert_eq!(found(Some(0), "invalid"), Found::Broken);
        assert_eq!(found(Some(1), "valid"), Found::Broken);
        assert_eq!(found(None, "valid"), Found::Broken);
        // Another command's document is none.
        assert_eq!(read("sim", Some(0), &line("valid"), "").found, Found::Broken);
    }

    #[test]
    fn without_a_document_the_last_word_on_standard_error_says_why() {
        let said = read("test", Some(254), "", "info: starting\nerror: no such plan\n\n");
        assert_eq!(said.why, ["it was refused: error: no such plan"]);
        assert_eq!(read("test", None, "", "").why, ["it was killed"]);
    }

    #[test]
    fn counts_and_reasons_are_taken_from_the_document() {
        let document = r#"{"command":"test","verdict":"invalid",
            "reasons":{"property":["a","b"],"harness":["c"]},
            "ops":{"ok":5,"fail":1,"info":2},"faults":{"kill":{"installed":3,"proven":2,"healed":2}}}"#;
        let said = read("test", Some(1), &document.replace('\n', ""), "");
        assert_eq!(said.why, ["property: a", "property: b", "harness: c"]);
        assert_eq!(said.ops, Ops { ok: 5, fail: 1, info: 2 });
        assert_eq!((said.faults["kill"].installed, said.faults["kill"].proven), (3, 2));
        let document = r#"{"command":"sim","verdict":"invalid","seeds":7,
            "violations":[{"seed":3,"check":"cart","what":"lost","again":"dyno replay x"}]}"#;
        let said = read("sim", Some(1), &document.replace('\n', ""), "");
        assert_eq!((said.seeds, said.again.as_deref()), (7, Some("dyno replay x")));
        assert_eq!(said.why, ["seed 3: cart: lost"]);
    }
}
