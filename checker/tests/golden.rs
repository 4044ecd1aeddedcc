//! Small histories written by hand, with the verdict of every checker that has something to say.
//!
//! Each file of `tests/golden` holds cases: a line `# name: spec verdict, spec verdict, ...`, then
//! the operations in short, one a line:
//!
//! ```text
//! 0 1-4 put k a           process 0, from 1 to 4, acknowledged
//! 0 5-6 get k [a] g1      returned [a]; called g1
//! 1 7-8 put k b <g1       with the context of g1
//! 1 9-? delete k <g1      outcome unknown; `9-x` failed
//! 2 20-21 get! k [b] @n1  a final get through n1; home! reads n1's own replica
//! ```

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use checker::budget::Budget;
use checker::cli::Spec;
use checker::history::History;
use checker::history::op::{Kind, Op};
use serde_json::Value;

struct Line {
    invoke: Op,
    begun: u64,
    ended: Option<u64>,
    kind: Kind,
    result: Option<Value>,
    called: Option<String>,
    context: Option<String>,
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| match text.strip_prefix('[') {
        Some(list) => {
            let list = list.trim_end_matches(']').split(',').filter(|item| !item.is_empty());
            list.map(value).collect()
        }
        None => text.into(),
    })
}

fn parse(text: &str) -> Line {
    let mut words = text.split_whitespace();
    let mut word = || words.next().unwrap_or_else(|| panic!("a word is missing: {text}"));
    let process = word().parse().expect("a process");
    let (begun, ended) = word().split_once('-').expect("from-to");
    let f = word().to_owned();
    let is_final = f.ends_with('!');
    let f = f.trim_end_matches('!').to_owned();
    let kind = match ended {
        "?" => Kind::Info,
        "x" => Kind::Fail,
        _ => Kind::Ok,
    };
    let reads = matches!(f.as_str(), "get" | "home" | "read" | "dequeue" | "generate" | "drain");
    let mut invoke = Op::invoke(process, f).key(word());
    invoke.is_final = is_final;
    let mut line = Line {
        invoke,
        begun: begun.parse().expect("a time"),
        ended: ended.parse().ok(),
        kind,
        result: None,
        called: None,
        context: None,
    };
    for word in words {
        match word.split_at(1) {
            ("<", get) => line.context = Some(get.to_owned()),
            ("@", node) => line.invoke = line.invoke.node(node),
            _ if reads && line.result.is_none() => line.result = Some(value(word)),
            _ if !reads && line.invoke.value.is_none() => {
                line.invoke = line.invoke.value(value(word));
            }
            _ => line.called = Some(word.to_owned()),
        }
    }
    line
}

/// Of what stands at one time: ends come after what begins there.
const ENDS: u8 = 1;

fn history(lines: &[&str]) -> History {
    let lines: Vec<Line> = lines.iter().map(|line| parse(line)).collect();
    // Completions before invocations of one time would make them strictly ordered: a tie is not.
    // But a process ends one thing before it begins the next.
    let mut events: Vec<(u64, u8, usize)> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let in_turn = lines.iter().any(|other| {
            other.invoke.process == line.invoke.process && other.ended == Some(line.begun)
        });
        events.push((line.begun, if in_turn { 2 } else { 0 }, at));
        let end = line.ended.unwrap_or(if line.kind == Kind::Fail { line.begun + 1 } else { 999 });
        events.push((end, ENDS, at));
    }
    events.sort_unstable();
    let mut names = BTreeMap::new();
    for (index, (_, rank, at)) in events.iter().enumerate() {
        if let (&ENDS, Some(called)) = (rank, &lines[*at].called) {
            names.insert(called.clone(), index as u64);
        }
    }
    let ops = events.iter().map(|(time, rank, at)| {
        let line = &lines[*at];
        let mut op = line.invoke.clone().at(*time);
        if *rank == ENDS {
            op = op.completed(line.kind);
            if line.kind == Kind::Ok && line.result.is_some() {
                op.value.clone_from(&line.result);
            }
        }
        op.context = line.context.as_ref().map(|get| names[get]);
        op
    });
    History::numbered(ops.collect()).expect("the case is a sound history")
}

#[test]
fn every_case_has_the_verdicts_it_should() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let (mut cases, mut verdicts, mut wrong) = (0, BTreeMap::<String, u32>::new(), Vec::new());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for case in text.split("\n# ").map(|case| case.trim_start_matches("# ")) {
            let (title, body) = case.split_once('\n').expect("a title and operations");
            let (name, expected) = title.split_once(": ").expect("name: verdicts");
            let lines: Vec<&str> = body.lines().filter(|line| !line.trim().is_empty()).collect();
            let history = history(&lines);
            cases += 1;
            for expected in expected.split(", ") {
                let (spec, verdict) = expected.split_once(' ').expect("spec verdict");
                let spec = Spec::named(spec).unwrap_or_else(|| panic!("{name}: no spec {spec}"));
                let report = spec.checker().check(&history, &Budget::UNLIMITED);
                *verdicts.entry(verdict.to_owned()).or_default() += 1;
                if report.verdict().as_str() != verdict {
                    wrong.push(format!("{name}: {expected}, but {report:?}"));
                }
                if verdict == "invalid" && !matches!(spec.name(), "availability" | "register") {
                    assert!(!report.witness().is_empty(), "{name}: {spec:?} names no witness");
                }
            }
        }
    }
    println!("{cases} cases: {verdicts:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases >= 60, "{cases} cases only");
}
