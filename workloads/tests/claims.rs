//! `dyno claims`, from the command line.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::{Command, Output};

fn claims(words: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_dyno");
    Command::new(program).arg("claims").args(words).args(["--states", "20000"]).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const WEAK: [&str; 9] = ["-n", "2", "-r", "1", "-w", "1", "--quorum", "strict", "--no-cache"];

#[test]
fn a_refuted_cell_is_told_and_replayed_on_real_processes() {
    for on in ["core", "sim"] {
        let output = claims(&[&["why", "fresh/none", "--replay", on], &WEAK[..]].concat());
        let told = text(&output);
        assert!(told.contains("REFUTED in 2 steps"), "{told}");
        assert!(told.contains("regular-gets is broken, as recorded"), "{told}");
        assert_eq!(output.status.code(), Some(1), "a broken property replays as one");
    }
    let output = claims(&[&["why", "fresh/none", "--replay", "local"], &WEAK[..]].concat());
    let told = text(&output);
    assert!(told.contains("states and") && told.contains("outputs equal"), "{told}");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn what_cannot_be_asked_is_refused_with_what_can() {
    for (words, part) in [
        (["why", "strong/none"], "`strong` is no property; there are no-lost-ack"),
        (["why", "fresh/flood"], "`flood` is no class of faults; there are none, slow-link"),
        (["why", "fresh"], "a cell is a row and a column"),
    ] {
        let output = claims(&words);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains(part) && told.lines().count() == 1, "{told}");
        assert_eq!(output.status.code(), Some(254));
    }
}

#[test]
fn claims_of_a_file_are_as_expected_contradicted_or_undecided() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("claims.toml");
    let (given, path) = ("{ n = 2, r = 1, w = 1, quorum = \"strict\" }", file.to_str().unwrap());
    let status = |property: &str, expect: &str, more: &str| {
        let text = format!(
            "[[claim]]\nsays = \"s\"\ngiven = {given}\nproperty = \"{property}\"\n\
             expect = \"{expect}\"\n{more}"
        );
        std::fs::write(&file, text).unwrap();
        claims(&["check", path, "--no-cache"]).status.code()
    };
    assert_eq!(status("fresh", "refuted", ""), Some(0));
    assert_eq!(status("fresh", "holds", ""), Some(1));
    assert_eq!(status("no-lost-ack", "holds", ""), Some(0));
    assert_eq!(status("t-stale", "holds", "bound = { t_ms = 10, p = 0.999 }"), Some(2));
    assert_eq!(status("fersh", "holds", ""), Some(254));
}

#[test]
fn a_prediction_has_a_seed() {
    let program = env!("CARGO_BIN_EXE_dyno");
    let words =
        ["claims", "predict", "-r", "1", "-w", "1", "--fit", "wan", "--trials", "2000", "--json"];
    let run = || Command::new(program).args(words).output().unwrap().stdout;
    assert_eq!(run(), run());
    assert!(String::from_utf8_lossy(&run()).contains("\"coordinator\":\"home\""));
}

/// The text of a file, with parts replaced.
fn altered(file: &std::path::Path, parts: &[(&str, &str)]) {
    let mut text = std::fs::read_to_string(file).unwrap();
    for (from, to) in parts {
        assert!(text.contains(from), "{from}: {text}");
        text = text.replace(from, to);
    }
    std::fs::write(file, text).unwrap();
}

/// A run of a weak cluster is measured; the same run said to be of one whose gets are proven to be fresh is
/// the loudest there is.
#[test]
fn a_run_is_measured_beside_its_prediction_and_contradicts_what_is_proven() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let program = env!("CARGO_BIN_EXE_dyno");
    let test =
        ["test", "--cluster", "sim", "--quorum", "strict", "-r", "1", "-w", "1", "--seed", "1"];
    let more = ["--time", "2s", "--rate", "40", "--faults", "partition", "--record", "--no-report"];
    let ran = Command::new(program).args(test).args(more).args(["--out", out]).output().unwrap();
    assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stderr));
    let weak = ["-n", "3", "-r", "1", "-w", "1", "--quorum", "strict", "--no-cache", "--runs", out];
    let output = claims(&weak);
    let told = text(&output);
    let told = told.lines().find(|line| line.starts_with("  partition: MEASURED")).unwrap();
    assert!(told.contains("gets fresh at once, 1 simulated run, predicted"), "{told}");
    assert_eq!(output.status.code(), Some(0));
    let predicted = text(&claims_alone(&["predict", "--runs", out]));
    assert!(
        predicted.contains("as recorded") && predicted.contains("fresh at    0 ms"),
        "{predicted}"
    );
    let run =
        std::fs::read_dir(folder.path().join("cart")).unwrap().next().unwrap().unwrap().path();
    altered(&run.join("plan.toml"), &[("\nr = 1\n", "\nr = 2\n"), ("\nw = 1\n", "\nw = 2\n")]);
    let proven =
        ["-n", "3", "-r", "2", "-w", "2", "--quorum", "strict", "--no-cache", "--runs", out];
    let output = claims(&proven);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("WHAT IS PROVEN WAS SEEN TO BE BROKEN"), "{told}");
    assert!(told.contains("fresh/partition of 3/2/2 strict dotted plain is PROVEN"), "{told}");
    assert_eq!(output.status.code(), Some(1));
}

fn claims_alone(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dyno")).arg("claims").args(words).output().unwrap()
}

#[test]
fn every_path_that_is_kept_replays() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().to_str().unwrap();
    let weak = ["-n", "2", "-r", "1", "-w", "1", "--quorum", "strict", "--cache", cache];
    let searched = claims(&[&["why", "fresh/crash"], &weak[..]].concat());
    assert_eq!(searched.status.code(), Some(0));
    let output = claims_alone(&["replay", "--cache", cache]);
    let told = text(&output);
    let rate = |on: &str| {
        let line = told.lines().find(|line| line.starts_with(on)).unwrap();
        line.ends_with("100.0 %")
    };
    assert!(rate("core:") && rate("simulator:"), "{told}");
    assert_eq!(output.status.code(), Some(0));
    let output = claims_alone(&["replay", "--cache", cache, "--on", "local", "--most", "2"]);
    assert!(text(&output).contains("real nodes: 2 of 2 replay"), "{}", text(&output));
}
