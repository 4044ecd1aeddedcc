//! `dyno check`, as its users call it: a line a file, and the exit status of the worst.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::path::{Path, PathBuf};

use checker::cli::{CheckArgs, check};
use checker::formats::compact;
use checker::generate::{Settings, generate};
use checker::history::op::{Kind, Op};
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
    let status = check(&command.check, &mut out, &mut err, &mut |_| {});
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
    assert_eq!(call(&["--json", &good, &broken]).0, 254);
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
    assert_eq!((status, &lines[0]["verdict"]), (254, &json!("unknown")));
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

#[test]
fn registers_and_siblings_stream_whatever_their_form() {
    let dir = tempfile::tempdir().unwrap();
    let settings =
        |violations| Settings { ops: 20_000, violations, seed: 5, ..Settings::default() };
    for violations in [0, 1] {
        let mut ops = Vec::new();
        let mut packed = compact::Writer::new(Vec::new()).unwrap();
        generate(&settings(violations), |op| {
            ops.push(op.clone());
            packed.append(op)
        })
        .unwrap();
        let lines = write(dir.path(), &format!("lines{violations}"), &ops);
        let small = dir.path().join(format!("compact{violations}"));
        std::fs::write(&small, packed.finish().unwrap()).unwrap();
        let small = small.to_string_lossy().into_owned();
        for spec in [&[][..], &["--spec", "register"]] {
            let (status, found, _) = call(&[spec, &["--json", &lines, &small]].concat());
            assert_eq!(status, violations as u8, "{found:?}");
            for one in &found {
                assert_eq!(one["spec"], "register");
                assert_eq!(one["ops"], 40_000, "lines");
                assert_eq!(one["details"]["engines"], json!(["zones"]));
                assert_eq!(one["witness"].as_array().unwrap().is_empty(), violations == 0);
            }
        }
        if violations == 1 {
            let (_, _, said) = call(&["--minimize", &small]);
            assert!(said.contains("20000") || said.contains("invalid"), "{said}");
        }
    }
    let store = run(Setup { seed: 3, ..Setup::default() });
    let file = write(dir.path(), "siblings", store.ops());
    let (status, found, _) = call(&["--json", "--spec", "siblings", &file]);
    assert_eq!((status, &found[0]["ops"]), (0, &json!(store.len())));
    assert_eq!(found[0]["details"]["lines"], json!(store.len()), "it was streamed");
}

#[test]
fn what_cannot_stream_is_told_by_the_ordinary_reader() {
    let dir = tempfile::tempdir().unwrap();
    let mut ops = Vec::new();
    generate(&Settings { ops: 50, ..Settings::default() }, |op| {
        ops.push(op.clone());
        Ok(())
    })
    .unwrap();
    let whole: String = ops.iter().map(|op| serde_json::to_string(op).unwrap() + "\n").collect();
    let lost = whole.replacen("{\"index\":7,", "{\"index\":8,", 1);
    let (status, found, _) = call(&["--json", &write_text(dir.path(), "lost", &lost)]);
    assert_eq!(status, 254);
    assert!(found[0]["reason"].as_str().unwrap().contains("a line was lost"), "{found:?}");
    let torn = &whole[..whole.len() - 10];
    let (status, found, _) = call(&["--json", &write_text(dir.path(), "torn", torn)]);
    assert_eq!((status, &found[0]["ops"]), (0, &json!(ops.len() - 1)), "{found:?}");
}

#[test]
fn hostile_files_end_in_an_error_or_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let op = "{\"index\":0,\"time\":0,\"process\":0,\"type\":\"invoke\",\"f\":\"write\"";
    let compact = |tail: &[u8]| [&compact::MAGIC[..], &[compact::VERSION], tail].concat();
    let many = "{\"index\":0".repeat(100_000);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("deep", format!("{op},\"value\":{}", "[".repeat(1 << 20)).into_bytes()),
        ("deep edn", "[{:a ".repeat(1 << 18).into_bytes()),
        ("huge number", format!("{op},\"value\":1{}}}\n", "0".repeat(1 << 16)).into_bytes()),
        ("huge time", "{\"index\":0,\"time\":1e400,\"process\":0}\n".into()),
        ("huge process", "{:process 9999999999999999999999, :type :invoke, :f :read}".into()),
        ("nul", vec![0; 1 << 16]),
        ("nul in a line", format!("{op}}}\0\n").into_bytes()),
        ("one long line", many.into_bytes()),
        ("no end", format!("{op},\"value\":\"{}", "x".repeat(17 << 20)).into_bytes()),
        ("a block that lies", compact(&[0xff, 0xff, 0xff, 0x03, 1, 2, 3, 4])),
        ("a block too long", compact(&[0xff; 64])),
        ("cut short", compact(&[9, 0, 0])),
        ("etcd", "INFO  jepsen.util - 4\t:invoke\t:write\t[[[[".into()),
        ("binary", b"PK\x03\x04\xff\xfe".to_vec()),
    ];
    for (name, bytes) in cases {
        let file = dir.path().join("hostile");
        std::fs::write(&file, bytes).unwrap();
        for spec in [&[][..], &["--spec", "register"], &["--spec", "siblings"], &["--lenient"]] {
            let file = file.to_str().unwrap();
            let (status, found, _) =
                call(&[spec, &["--json", "--memory", "512MiB", file]].concat());
            assert!(matches!(status, 2 | 254), "{name} {spec:?}: {status} {found:?}");
            assert_eq!(found[0]["verdict"], "unknown", "{name}");
            assert!(found[0]["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
        }
    }
}

#[test]
fn a_quorum_is_asked_for_its_prediction() {
    let dir = tempfile::tempdir().unwrap();
    let history = |process, f: &'static str, from: u64, value: u64| {
        let op = Op::invoke(process, f).at(from * 1_000_000);
        let op = if f == "write" { op.value(value) } else { op };
        [op.clone(), op.completed(Kind::Ok).value(value).at((from + 3) * 1_000_000)]
    };
    let ops =
        (0..40).flat_map(|n| [history(0, "write", 10 * n, n), history(1, "read", 10 * n + 5, n)]);
    let ops: Vec<Op> =
        ops.flatten().enumerate().map(|(at, op)| Op { index: at as u64, ..op }).collect();
    let file = write(dir.path(), "h", &ops);
    let ask = |quorum: &str| call(&["--json", "--spec", "staleness", "--quorum", quorum, &file]).1;
    let strict = &ask("3,2,2")[0]["details"]["fresh_by_age"][0];
    assert_eq!((strict["fresh"].as_f64(), strict["predicted"].as_f64()), (Some(1.0), Some(1.0)));
    assert!(ask("3,1,1")[0]["details"]["fresh_by_age"][0]["predicted"].is_number());
    let refused = Command::try_parse_from(["check", "--quorum", "3,4,1", "h"]);
    assert!(refused.is_err());
}

#[test]
fn what_is_left_out_is_said_to_people() {
    let dir = tempfile::tempdir().unwrap();
    let op = |process, f: &'static str, value: Value| {
        let op = Op::invoke(process, f).key("k");
        let op = if f == "put" { op.value(value.clone()) } else { op };
        let mut done = op.completed(Kind::Ok);
        done.value = Some(value);
        [op, done]
    };
    let ops = [
        op(0, "put", json!("a")),
        op(0, "get", json!(["a"])),
        op(1, "get", json!(["a", "b"])),
        op(1, "home", json!([])),
    ];
    let ops: Vec<Op> = ops.concat().into_iter().zip(0..).map(|(op, n)| op.at(n)).collect();
    let history = checker::history::History::numbered(ops).unwrap();
    let file = write(dir.path(), "h", history.ops());
    let (status, _, said) = call(&["--spec", "register", &file]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("left out: 1 gets of several siblings, 1 home reads"), "{said}");
}

#[test]
fn a_history_of_something_else_is_refused_by_every_spec_and_one_of_nothing_by_none() {
    let dir = tempfile::tempdir().unwrap();
    let line = |f: &'static str| {
        let op = Op::invoke(0, f).key("k").value("x");
        [op.clone(), op.completed(Kind::Ok)]
    };
    let ops = checker::history::History::numbered(line("teleport").to_vec()).unwrap();
    let other = write(dir.path(), "other", ops.ops());
    let empty = write_text(dir.path(), "nothing.jsonl", "");
    let names = checker::cli::Spec::all().iter().map(|spec| spec.name());
    // Availability is of operations whatever they are.
    for spec in names.filter(|name| *name != "availability") {
        let (status, lines, said) = call(&["--json", "--spec", spec, &other]);
        assert_eq!((status, &lines[0]["verdict"]), (254, &json!("unknown")), "{spec}: {said}");
        assert_eq!(lines[0]["judged"], 0, "{said}");
        assert!(said.contains("teleport"), "{spec}: {said}");
        let (status, lines, said) = call(&["--json", "--spec", spec, &empty]);
        assert_eq!((status, &lines[0]["verdict"]), (2, &json!("unknown")), "{said}");
    }
    let (status, lines, said) = call(&["--json", &other]);
    assert_eq!((status, &lines[0]["verdict"]), (2, &json!("unknown")), "no --spec: {said}");
}
