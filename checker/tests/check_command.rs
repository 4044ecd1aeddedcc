//! `dyno check`, as its users call it: a line a file, and the exit status of the worst.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::path::{Path, PathBuf};

use checker::cli::{CheckArgs, check};
use checker::op::{Kind, Op};
use clap::Parser;
use common::Script;
use common::store::{Bug, Setup, run};
use serde_json::{Value, json};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    check: CheckArgs,
}

fn call(args: &[&str]) -> (u8, Vec<Value>, String) {
    let args = ["check"].iter().chain(args);
    let command = Command::try_parse_from(args).expect("the arguments are sound");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = check(&command.check, &mut out, &mut err);
    let out = String::from_utf8(out).expect("text");
    let lines = out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    (status, lines, out + &String::from_utf8(err).expect("text"))
}

fn write(dir: &Path, name: &str, ops: &[Op]) -> String {
    let text: String = ops.iter().map(|op| serde_json::to_string(op).unwrap() + "\n").collect();
    write_text(dir, name, &text)
}

fn write_text(dir: &Path, name: &str, text: &str) -> String {
    let path: PathBuf = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_string_lossy().into_owned()
}

#[test]
fn the_worst_verdict_is_the_exit_status() {
    let dir = tempfile::tempdir().unwrap();
    let history = |bug| run(Setup { bug, carts: true, seed: 3, ..Setup::default() });
    let good = write(dir.path(), "good", history(Bug::None).ops());
    let bad = write(dir.path(), "bad", history(Bug::DropSibling).ops());
    let empty = write_text(dir.path(), "empty", "");
    let broken = write_text(dir.path(), "broken", "{\"index\":0,\"time\":0}\n{}\n");
    assert_eq!(call(&["--json", &good]).0, 0);
    assert_eq!(call(&["--json", "--spec", "siblings", &empty, &good]).0, 2);
    assert_eq!(call(&["--json", &good, &broken]).0, 255);
    let (status, lines, _) = call(&["--json", &good, &broken, &bad]);
    assert_eq!(status, 1);
    let verdicts: Vec<&Value> = lines.iter().map(|line| &line["verdict"]).collect();
    assert_eq!(verdicts, ["valid", "unknown", "invalid"]);
    assert_eq!(lines[0]["spec"], "cart", "told by the operations");
    assert_eq!(lines[2]["schema"], 1);
    assert!(!lines[2]["witness"].as_array().unwrap().is_empty());
    assert!(lines[1]["reason"].as_str().unwrap().starts_with("line 1, column"), "{}", lines[1]);
    let (status, _, said) = call(&["--json", &good, "/nonexistent"]);
    assert_eq!(status, 254);
    assert!(said.contains("/nonexistent"));
}

#[test]
fn a_finding_is_minimised_and_told_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let mut script = Script::new();
    let got = script.get(0, "k", &[]);
    script.put(0, "k", "v1", Some(got), Kind::Ok);
    let put = script.put(1, "k", "v2", Some(got), Kind::Ok);
    script.put(2, "other", "w", None, Kind::Ok);
    let last = script.final_get(3, "k", "n1", &["v1".into()]);
    script.final_get(3, "other", "n1", &["w".into()]);
    let file = write(dir.path(), "h", script.history().ops());
    let (status, _, said) = call(&["--spec", "siblings", "--minimize", &file]);
    assert_eq!(status, 1);
    assert!(said.contains(&format!("final get #{last} of \"k\" returned [\"v1\"]")), "{said}");
    assert!(said.contains(&format!("put #{put} of \"v2\" was acknowledged")), "{said}");
    assert!(!said.contains("other"), "what does not matter is gone: {said}");
}

#[test]
fn linearizability_and_foreign_forms_are_a_spec_away() {
    let dir = tempfile::tempdir().unwrap();
    let log = |read: u32| {
        format!(
            "INFO  jepsen.util - 0\t:invoke\t:write\t1\nINFO  jepsen.util - 0\t:ok\t:write\t1\n\
             INFO  jepsen.util - 1\t:invoke\t:cas\t[1 2]\nINFO  jepsen.util - 1\t:ok\t:cas\t[1 2]\n\
             INFO  jepsen.util - 0\t:invoke\t:read\tnil\nINFO  jepsen.util - 0\t:ok\t:read\t{read}\n"
        )
    };
    let good = write_text(dir.path(), "good", &log(2));
    let bad = write_text(dir.path(), "bad", &log(1));
    let (status, lines, _) = call(&["--json", &good]);
    assert_eq!((status, &lines[0]["spec"]), (0, &json!("cas-register")), "{lines:?}");
    assert_eq!(call(&["--json", &bad]).0, 1);
}

#[test]
fn a_repeated_value_is_no_history_to_judge_by() {
    let dir = tempfile::tempdir().unwrap();
    let mut script = Script::new();
    script.put(0, "k", 1, None, Kind::Ok);
    script.put(0, "k", 1, None, Kind::Ok);
    script.final_get(1, "k", "n1", &[1.into()]);
    let file = write(dir.path(), "h", script.history().ops());
    let (status, lines, _) = call(&["--json", &file]);
    assert_eq!((status, &lines[0]["verdict"]), (255, &json!("unknown")));
    assert!(lines[0]["reason"].as_str().unwrap().contains("not well-formed"));
}

#[test]
fn out_of_budget_is_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let history = run(Setup { steps: 3000, ..Setup::default() });
    let file = write(dir.path(), "h", history.ops());
    for bound in [["--memory", "1kB"], ["--budget", "0s"]] {
        let (status, lines, _) = call(&["--json", bound[0], bound[1], &file]);
        assert_eq!((status, &lines[0]["verdict"]), (2, &json!("unknown")), "{bound:?}");
    }
}
