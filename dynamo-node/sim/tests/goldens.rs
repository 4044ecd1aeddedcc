//! Golden scenarios: scripts of one situation each, with what the cluster does written below every command.
//! `goldens/README.md` tells how to read and write them.
//!
//! `UPDATE=1 cargo golden` rewrites the results. It is fine to do so when a change is *meant* to alter what
//! nodes do; read the difference line by line first. `TRACES=FOLDER cargo golden` writes each as a trace.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "goldens/player.rs"]
mod player;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use dynamo_sim::replay::{on_core, on_sim};
use dynamo_sim::trace::Trace;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

fn goldens() -> Vec<(String, String)> {
    player::goldens(&folder())
}

fn play(name: &str, script: &str) -> player::Played {
    player::play(name, script).unwrap_or_else(|why| panic!("{name}.txt, {why}"))
}

#[test]
fn every_golden_does_what_its_script_says() {
    let traces = std::env::var_os("TRACES").map(PathBuf::from);
    let updates = std::env::var_os("UPDATE").is_some();
    let mut differing = Vec::new();
    for (name, script) in goldens() {
        let played = match player::play(&name, &script) {
            Ok(played) => played,
            Err(why) => {
                differing.push(format!("{name}.txt, {why}"));
                continue;
            }
        };
        if let Some(folder) = &traces {
            fs::create_dir_all(folder).unwrap();
            fs::write(folder.join(format!("{name}.json")), played.trace.to_json()).unwrap();
        }
        if script == played.text {
            continue;
        }
        if updates {
            // In one go: another test may be reading it.
            let written = folder().join(format!("{name}.new"));
            fs::write(&written, &played.text).unwrap();
            fs::rename(&written, written.with_extension("txt")).unwrap();
            continue;
        }
        let mut lines = script.lines().zip(played.text.lines()).enumerate();
        let first = lines.find(|(_, (says, does))| says != does);
        let (line, (says, does)) = first.unwrap_or((script.lines().count(), ("", "more or less")));
        differing.push(format!("{name}.txt, line {}\n  says: {says}\n  does: {does}", line + 1));
    }
    let how = "UPDATE=1 writes what they do now";
    assert!(differing.is_empty(), "{how}\n{}", differing.join("\n"));
}

#[test]
fn every_golden_is_a_trace_that_replays() {
    for (name, script) in goldens() {
        let trace = play(&name, &script).trace;
        let read = Trace::parse(&trace.to_json()).unwrap();
        assert_eq!(read, trace, "{name}");
        let digests = trace.steps.iter().filter(|entry| entry.digest.is_some()).count();
        let replayed = on_core(&read).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!((replayed.steps, replayed.compared), (trace.steps.len(), digests), "{name}");
        let watched = on_sim(&read).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!((watched.compared, watched.breaches), (digests, vec![]), "{name}");
    }
}

/// The rules of `docs/protocol.md`, each with the goldens that its last paragraph names.
fn rules() -> Vec<(String, BTreeSet<String>)> {
    let page = folder().join("../../../../docs/protocol.md");
    let page = fs::read_to_string(page).unwrap();
    let rules = page.split("\n### ").skip(1).map(|rule| {
        let number = rule.split('.').next().unwrap().to_owned();
        let checked = rule.split("*Checked*:").nth(1).unwrap_or_default();
        let checked = checked.split("\n\n").next().unwrap_or_default();
        let golden = checked.split("golden").nth(1).unwrap_or_default();
        let golden = golden.split(';').next().unwrap_or_default();
        let names = golden.split('`').skip(1).step_by(2).map(str::to_owned);
        (number, names.collect())
    });
    rules.collect()
}

#[test]
fn goldens_name_the_rules_they_show_and_the_rules_name_them() {
    let mut said: Vec<_> =
        rules().into_iter().map(|(number, _)| (number, BTreeSet::new())).collect();
    for (name, script) in goldens() {
        let line = script.lines().find(|line| line.ends_with("of docs/protocol.md."));
        let line = line.unwrap_or_else(|| panic!("{name}.txt names no rule of docs/protocol.md"));
        for number in line.split(|c: char| !c.is_ascii_digit()).filter(|word| !word.is_empty()) {
            let rule = said.iter_mut().find(|(rule, _)| rule == number);
            let (_, names) = rule.unwrap_or_else(|| panic!("{name}.txt: no rule {number}"));
            names.insert(name.clone());
        }
    }
    for ((rule, by_goldens), (_, by_page)) in said.iter().zip(&rules()) {
        let differ: Vec<_> = by_goldens.symmetric_difference(by_page).collect();
        let who = "a golden names the rule, or docs/protocol.md the golden, and not both";
        assert!(differ.is_empty(), "rule {rule}: {who}: {differ:?}");
    }
}
