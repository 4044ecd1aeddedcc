//! `dyno sim` and `dyno replay`, as commands.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Last-writer-wins loses concurrent adds: what a store does that breaks its word, in a normal build.
const LOSING: &str = r#"
time = "3s"
faults = ["kill", "partition"]

[cluster]
kind = "sim"
versioning = "lww"

[workload]
rate = 200
carts = 2
"#;

fn dyno(args: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dyno")).args(args).current_dir(folder).output().unwrap()
}

/// The document, which is the last line.
fn document(output: &Output) -> Value {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

#[test]
fn a_shrunk_trace_shows_the_same_violation_by_the_printed_command() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("plan.toml"), LOSING).unwrap();
    let args = ["sim", "--seeds", "0..2", "--plan", "plan.toml", "--out", "traces", "--json"];
    let found = dyno(&args, folder.path());
    assert_eq!(found.status.code(), Some(1));
    let document = document(&found);
    let replayed = document["violations"].as_array().unwrap().iter().filter_map(|violation| {
        let command = violation["again"].as_str().unwrap();
        let args: Vec<_> = command.strip_prefix("dyno replay ")?.split(' ').collect();
        let again = dyno(&[&["replay"], &args[..], &["--json"]].concat(), folder.path());
        assert_eq!(again.status.code(), Some(1), "{command}");
        let judged = self::document(&again);
        let checks: Vec<_> =
            judged["violations"].as_array().unwrap().iter().map(|v| &v["check"]).collect();
        assert!(checks.contains(&&violation["check"]), "{command}: {checks:?}");
        assert!(judged["steps"].as_u64().unwrap() > 0);
        Some(())
    });
    assert_eq!(replayed.count(), 2, "one trace a seed");
}

#[test]
fn figures_of_a_clean_batch_are_one_line_of_json() {
    let folder = tempfile::tempdir().unwrap();
    let found = dyno(&["sim", "--seeds", "0..3", "--json"], folder.path());
    assert_eq!(found.status.code(), Some(0));
    let document = document(&found);
    assert_eq!(document["schema"], 1);
    assert_eq!(document["seeds"], 3);
    for figure in ["simulated_seconds", "wall_seconds", "cpu_seconds", "events"] {
        assert!(document[figure].as_f64().unwrap() > 0.0, "{figure}");
    }
    for list in ["violations", "unknown", "nondeterministic"] {
        assert_eq!(document[list].as_array().unwrap().len(), 0, "{list}");
    }
}
