//! The page of a run as a file: where it is made, where not, and that it changes no verdict.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::STALE_READ;
use serde_json::Value;

fn dyno(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dyno"));
    command.args(words).stdin(Stdio::null()).output().unwrap()
}

/// A simulated run in `out`: its folder, and how it ended.
fn run(out: &Path, flags: &[&str]) -> (PathBuf, Output) {
    let dir = out.display().to_string();
    let words = ["test", "--cluster", "sim", "--time", "4s", "--seed", "1", "--out", &dir];
    let ran = dyno(&[&words[..], flags].concat());
    (fs::canonicalize(out.join("latest")).unwrap(), ran)
}

fn verdict(dir: &Path) -> Value {
    serde_json::from_slice(&fs::read(dir.join("verdict.json")).unwrap()).unwrap()
}

fn analyze(dir: &Path, flags: &[&str]) -> (Output, Value) {
    let dir = dir.display().to_string();
    let ran = dyno(&[&["analyze", &dir, "--json"][..], flags].concat());
    let said = String::from_utf8(ran.stdout.clone()).unwrap();
    let last = said.lines().last().unwrap_or_default().to_owned();
    (ran, serde_json::from_str(&last).unwrap_or_default())
}

#[test]
fn every_run_has_a_page_unless_it_is_left_out() {
    let out = tempfile::tempdir().unwrap();
    let (dir, ran) = run(out.path(), &["--versioning", "lww"]);
    let page = fs::read_to_string(dir.join("report.html")).unwrap();
    assert!(page.contains("was acknowledged, and is gone"));
    assert!(page.contains("takes the place of"));
    let said = String::from_utf8(ran.stdout).unwrap();
    assert!(said.contains("report.html"), "{said}");
    let (dir, ran) = run(out.path(), &["--no-report"]);
    assert!(!dir.join("report.html").exists());
    assert!(!String::from_utf8(ran.stdout).unwrap().contains("report.html"));
}

#[test]
fn a_stored_run_is_judged_again_as_it_was() {
    for flags in [&["--versioning", "lww"][..], &[]] {
        let out = tempfile::tempdir().unwrap();
        let (dir, ran) = run(out.path(), &[flags, &["--no-report"]].concat());
        let stored = verdict(&dir);
        let before = fs::read(dir.join("verdict.json")).unwrap();
        let (again, told) = analyze(&dir, &[]);
        assert_eq!(again.status.code(), ran.status.code(), "{again:?}");
        for field in
            ["verdict", "property", "coverage", "harness", "reasons", "seed", "ops", "again"]
        {
            assert_eq!(told[field], stored[field], "{field} with {flags:?}");
        }
        assert_eq!(fs::read(dir.join("verdict.json")).unwrap(), before, "it stays as it was");
        assert!(dir.join("report.html").exists());
    }
}

#[test]
fn a_verdict_says_by_what_where_and_on_which_history_it_was_given() {
    let out = tempfile::tempdir().unwrap();
    let (dir, _) = run(out.path(), &["--no-report"]);
    let told = verdict(&dir);
    let cluster = &told["setup"]["cluster"];
    assert_eq!([&cluster["n"], &cluster["r"], &cluster["w"]], [3, 2, 2]);
    assert_eq!([&cluster["quorum"], &cluster["versioning"]], ["sloppy", "dotted"]);
    assert!(told["setup"]["cpus"].as_u64() > Some(0) && told["setup"]["os"].is_string(), "{told}");
    let history = fs::read_to_string(dir.join("history.jsonl")).unwrap();
    assert_eq!(told["judged"]["lines"], history.lines().count());
    assert_eq!(told["judged"]["bytes"], history.len());
    assert_eq!(told["judged"]["sha256"].as_str().map(str::len), Some(64));
    let says_so = || {
        let said = String::from_utf8(analyze(&dir, &[]).0.stderr).unwrap();
        said.contains("is not what verdict.json was given on")
    };
    assert!(!says_so(), "it is the same");
    let shorter = history.trim_end().rsplit_once('\n').unwrap().0.to_owned() + "\n";
    fs::write(dir.join("history.jsonl"), shorter).unwrap();
    assert!(says_so());
}

#[test]
fn a_run_whose_driver_was_killed_is_judged_on_what_there_is() {
    let out = tempfile::tempdir().unwrap();
    let (dir, _) = run(out.path(), &["--no-report"]);
    fs::remove_file(dir.join("verdict.json")).unwrap();
    let history = fs::read(dir.join("history.jsonl")).unwrap();
    fs::write(dir.join("history.jsonl"), &history[..history.len() / 2]).unwrap();
    let (ran, told) = analyze(&dir, &[]);
    // It never says valid of what was never finished.
    assert_eq!(ran.status.code(), Some(255), "{ran:?}");
    assert_eq!(told["verdict"], "unknown");
    assert_eq!(verdict(&dir)["verdict"], "unknown");
    let page = fs::read_to_string(dir.join("report.html")).unwrap();
    assert!(page.contains("the driver ended before it had a verdict"));
    // That its last line was cut short is told wherever the history is looked at.
    assert!(page.contains("history.jsonl is cut short"));
    let of = dir.display().to_string();
    for words in [&["show", &of][..], &["export", &of, "--to", "parquet"]] {
        let ran = dyno(words);
        assert_eq!(ran.status.code(), Some(0), "{ran:?}");
        let said = String::from_utf8([ran.stdout, ran.stderr].concat()).unwrap();
        assert!(said.contains("history.jsonl is cut short"), "{words:?}: {said}");
    }
    let told = dyno(&["show", &of, "--json"]);
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert!(told["torn"]["bytes"].as_u64() > Some(0), "{told}");
}

#[test]
fn what_cannot_be_shown_is_refused_with_the_mend() {
    let out = tempfile::tempdir().unwrap();
    let (dir, _) = run(out.path(), &["--no-report"]);
    let refusal = |of: &Path| {
        let ran = dyno(&["show", &of.display().to_string()]);
        assert_eq!(ran.status.code(), Some(254), "{ran:?}");
        String::from_utf8(ran.stderr).unwrap()
    };
    let told = refusal(&out.path().join("nosuch"));
    assert!(told.contains("there is no such folder"), "{told}");
    let told = refusal(out.path());
    assert!(told.contains(dir.file_name().unwrap().to_str().unwrap()), "{told}");
    fs::write(dir.join("verdict.json"), "{\"schema\":1,").unwrap();
    let told = refusal(&dir);
    assert!(told.contains("move it away, then `dyno analyze "), "{told}");
}

#[test]
fn another_specification_counts_for_the_property() {
    let out = tempfile::tempdir().unwrap();
    let (dir, _) = run(out.path(), &["--no-report"]);
    let (_, told) = analyze(&dir, &["--spec", "siblings-strict"]);
    assert!(told["checks"].get("siblings-strict").is_some(), "{}", told["checks"]);
}

#[test]
fn a_page_that_cannot_be_made_is_told_and_changes_no_verdict() {
    let out = tempfile::tempdir().unwrap();
    let (dir, ran) = run(out.path(), &["--no-report"]);
    fs::create_dir(dir.join("report.html")).unwrap();
    let (again, told) = analyze(&dir, &[]);
    assert_eq!(again.status.code(), ran.status.code());
    assert_eq!(told["verdict"], verdict(&dir)["verdict"]);
    let said = String::from_utf8(again.stderr).unwrap();
    assert!(said.contains("no page: "), "{said}");
}

#[test]
fn a_foreign_history_has_a_page_with_the_order_that_was_tried() {
    let dir = tempfile::tempdir().unwrap();
    let (history, page) = (dir.path().join("h.edn"), dir.path().join("page.html"));
    fs::write(&history, STALE_READ).unwrap();
    let (file, to) = (history.display().to_string(), page.display().to_string());
    let ran = dyno(&["check", &file, "--spec", "register", "--report", &to]);
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("fits nowhere in it"));
}

#[test]
fn a_trace_that_is_kept_has_its_page_beside_it_and_so_has_its_replay() {
    let out = tempfile::tempdir().unwrap();
    let plan = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans/lww.toml");
    let (plan, dir) = (plan.display().to_string(), out.path().display().to_string());
    let ran = dyno(&["sim", "--plan", &plan, "--seeds", "1", "--out", &dir]);
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    let trace = out.path().join("seed-1-cart.json");
    let beside = fs::read_to_string(trace.with_extension("html")).unwrap();
    let page = out.path().join("replayed.html");
    let (trace, to) = (trace.display().to_string(), page.display().to_string());
    let ran = dyno(&["replay", &trace, "--on", "sim", "--report", &to]);
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    assert!(beside.contains("was acknowledged, and is gone"));
    assert_eq!(fs::read_to_string(page).unwrap(), beside);
}

#[test]
fn a_terminal_is_told_what_the_page_says() {
    let out = tempfile::tempdir().unwrap();
    let (dir, _) = run(out.path(), &["--versioning", "lww"]);
    let page = fs::read_to_string(dir.join("report.html")).unwrap();
    let dir = dir.display().to_string();
    let show = |flags: &[&str]| {
        let ran = dyno(&[&["show", &dir][..], flags].concat());
        assert_eq!(ran.status.code(), Some(0), "{ran:?}");
        String::from_utf8(ran.stdout).unwrap()
    };
    let told: Value = serde_json::from_str(&show(&["--json"])).unwrap();
    assert_eq!(told["command"], "show");
    assert_eq!(told["said"], "invalid");
    let plain = show(&[]);
    assert!(plain.contains("what took its place"), "{plain}");
    for step in told["story"]["steps"].as_array().unwrap() {
        let said = step["text"].as_str().unwrap();
        assert!(page.contains(&said.replace('"', "&quot;")), "{said}");
    }
    let add = told["story"]["ops"][0]["name"].to_string();
    assert!(show(&["--op", &add]).contains("Finding 1 names it"));
    assert!(show(&["--lost", "2"]).contains("Finding 2 of"));
    assert!(show(&["--key", "cart-1"]).contains("operations on \"cart-1\""));
    let refused = dyno(&["show", &dir, "--lost", "999999"]);
    assert_eq!(refused.status.code(), Some(254), "{refused:?}");
}

#[test]
fn a_run_without_a_verdict_is_to_be_judged_before_it_is_shown() {
    let out = tempfile::tempdir().unwrap();
    let (dir, _) = run(out.path(), &["--no-report"]);
    fs::remove_file(dir.join("verdict.json")).unwrap();
    let ran = dyno(&["show", &dir.display().to_string()]);
    assert_eq!(ran.status.code(), Some(254), "{ran:?}");
    assert!(String::from_utf8(ran.stderr).unwrap().contains("dyno analyze"), "it names the mend");
}
