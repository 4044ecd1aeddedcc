//! Command lines and plans as people, and chance, write them: what is refused is refused in one line, before
//! anything starts, and every subcommand speaks alike.
#![allow(clippy::unwrap_used)]

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use clap::{Arg, ArgAction};
use dyno::cli;
use dyno::nemesis::schedule::schedule;
use dyno::plan::{ClusterKind, Plan, Source};
use dyno::simulated::scenario::Scenario;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

/// How many plans, and how many command lines, are drawn: a sample, or as many as DYNO_DRAWS says.
fn draws() -> u64 {
    std::env::var("DYNO_DRAWS").ok().and_then(|count| count.parse().ok()).unwrap_or(300)
}

/// Longer than any plan takes to be read and drawn from, on a machine that does seven other things.
const PATIENCE: Duration = Duration::from_secs(60);

const NUMBERS: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "5",
    "25",
    "26",
    "64",
    "255",
    "256",
    "1000",
    "65535",
    "65536",
    "4000000000",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "99999999999999999999999",
    "-1",
    "0.5",
    "1e-300",
    "1e300",
    "nan",
    "inf",
    "-0.0",
    "007",
    "1_000",
];
const SPANS: &[&str] = &[
    "0s",
    "1ns",
    "1ms",
    "100ms",
    "1s",
    "30",
    "30s",
    "5m",
    "10h",
    "7d",
    "300d",
    "1y",
    "99999999999h",
    "1e9",
    "-1s",
    "s",
    "1.5m",
    "1m 30s",
    "30 apples",
    "0.0000000001s",
];
const WORDS: &[&str] = &[
    "",
    "none",
    "kill",
    "kill,kill",
    "wipe",
    "partition,delay,rate,reset",
    "local",
    "sim",
    "ssh",
    "lab",
    "strict",
    "sloppy",
    "paper",
    "lww",
    "atomic",
    "memory",
    "fjall",
    "cart",
    "n1",
    "n1,n2",
    "home:2",
    "home:0",
    "home:18446744073709551615",
    "n0",
    "n99",
    "n1->n2",
    "n1->n1",
    "cuts",
    "one",
    "../x",
    "latest",
    "2GiB",
    "0B",
    "1e300GiB",
    "12288",
    "3,2,2",
    "9,9,9",
    "0..3",
    "7..3",
    "0..18446744073709551615",
    "p,p",
    "pgp",
    "pppppppppppppppp",
    "z",
    "debug",
    "nonsense=nothing=",
    "127.0.0.1:0",
    "2=here",
    "2=127.0.0.1:1",
    "00ff",
    "\u{e4}\u{202e}\n",
    "/",
    "/dev/null",
    "no-such-file",
    "weak",
    "same_old_context_dotted",
    "register",
    "core",
];

fn text(rng: &mut ChaCha8Rng) -> String {
    let pool = [NUMBERS, SPANS, WORDS].choose(rng).unwrap();
    (*pool.choose(rng).unwrap()).to_owned()
}

/// A value as TOML has it, of any kind.
fn value(rng: &mut ChaCha8Rng) -> String {
    let quoted = |text: &str| format!("{text:?}");
    match rng.random_range(0..8) {
        0..3 => (*NUMBERS.choose(rng).unwrap()).to_owned(),
        3..5 => quoted(SPANS.choose(rng).unwrap()),
        5 => quoted(WORDS.choose(rng).unwrap()),
        6 => {
            let count = rng.random_range(0..4);
            let list: Vec<_> = (0..count).map(|_| quoted(WORDS.choose(rng).unwrap())).collect();
            format!("[{}]", list.join(", "))
        }
        _ => "true".to_owned(),
    }
}

/// The default plan with some values replaced, sometimes with bytes flipped or cut off.
fn plan(rng: &mut ChaCha8Rng) -> String {
    let whole = include_str!("../plans/default.toml");
    // Those that are left out by default are written too.
    let written = |line: &str| match line.strip_prefix("# ") {
        Some(setting) if setting.starts_with("seed = ") || setting.starts_with("rate = ") => {
            setting.to_owned()
        }
        _ => line.to_owned(),
    };
    let mut lines: Vec<String> = whole.lines().map(written).collect();
    let is_setting = |at: &usize| !lines[*at].starts_with('#') && lines[*at].contains(" = ");
    let settings: Vec<_> = (0..lines.len()).filter(is_setting).collect();
    for _ in 0..rng.random_range(1..4) {
        let at = *settings.choose(rng).unwrap();
        let name = lines[at].split(" = ").next().unwrap().to_owned();
        lines[at] = format!("{name} = {}", value(rng));
    }
    let mut text = lines.join("\n");
    if rng.random_ratio(1, 8) {
        let at = rng.random_range(0..text.len());
        if text.is_char_boundary(at) {
            if rng.random() { text.truncate(at) } else { text.insert(at, rng.random::<char>()) }
        }
    }
    text
}

fn one_clear_line(told: &str, what: &str) {
    let told = dyno_command::one_line(&told);
    assert!(told.len() > 10 && told.lines().count() == 1, "{what}: {told:?}");
    assert!(!told.contains("panicked") && !told.contains("Err("), "{what}: {told}");
}

#[test]
fn a_drawn_plan_runs_or_is_refused_in_one_clear_line() {
    let (mut refused, mut ran) = (0, 0);
    for draw in 0..draws() {
        let mut rng = ChaCha8Rng::seed_from_u64(draw);
        let text = plan(&mut rng);
        let begun = Instant::now();
        let source = Source::of("plan.toml", &text);
        let checked = Plan::parse(&text, "plan.toml").and_then(|mut plan| {
            // As when the file is read: a plan without a name has the file's.
            if plan.name.is_empty() {
                "plan".clone_into(&mut plan.name);
            }
            source.check(&plan).map(|()| plan)
        });
        match checked {
            Err(error) => {
                one_clear_line(&error.0, &text);
                assert!(
                    error.0.starts_with("plan.toml:"),
                    "draw {draw}: no place: {error}\n{text}"
                );
                refused += 1;
            }
            Ok(plan) => {
                // All that is made of a plan before anything starts.
                let view = plan.view().unwrap();
                let faults = schedule(&plan, draw, &view).len();
                assert!(faults <= 300_000, "draw {draw}: {faults} faults");
                let mut simulated = plan.clone();
                simulated.cluster.kind = ClusterKind::Sim;
                if simulated.check().is_ok() && plan.time.0 <= Duration::from_secs(3600) {
                    drop(Scenario::of_plan(&simulated, draw));
                }
                assert_eq!(Plan::parse(&plan.to_toml(), "plan.toml"), Ok(plan), "draw {draw}");
                ran += 1;
            }
        }
        assert!(begun.elapsed() < PATIENCE, "draw {draw} took {:?}:\n{text}", begun.elapsed());
    }
    assert!(refused > draws() / 3 && ran > draws() / 50, "{refused} refused, {ran} not");
}

/// Every subcommand that does something, as the words that name it, with its flags.
fn subcommands() -> Vec<(Vec<String>, Vec<Arg>)> {
    fn collect(words: &[String], command: &clap::Command, all: &mut Vec<(Vec<String>, Vec<Arg>)>) {
        let inner: Vec<_> = command.get_subcommands().collect();
        if inner.is_empty() {
            all.push((words.to_vec(), command.get_arguments().cloned().collect()));
        }
        for command in inner {
            let words: Vec<_> =
                words.iter().cloned().chain([command.get_name().to_owned()]).collect();
            collect(&words, command, all);
        }
    }
    let mut all = Vec::new();
    collect(&["dyno".to_owned()], &cli::command_line(), &mut all);
    assert!(all.len() > 15, "{all:?}");
    all
}

fn drawn_line(rng: &mut ChaCha8Rng, all: &[(Vec<String>, Vec<Arg>)]) -> Vec<String> {
    let (words, args) = all.choose(rng).unwrap();
    let mut line = words.clone();
    for arg in args {
        if !arg.is_required_set() && rng.random_ratio(3, 4) {
            continue;
        }
        let flag = match (arg.get_long(), arg.get_short()) {
            (Some(long), _) => Some(format!("--{long}")),
            (None, Some(short)) => Some(format!("-{short}")),
            (None, None) => None,
        };
        line.extend(flag);
        if !matches!(arg.get_action(), ArgAction::SetTrue | ArgAction::Help | ArgAction::Version) {
            line.push(text(rng));
        }
    }
    if rng.random_ratio(1, 10) {
        line.push(text(rng));
    }
    line
}

#[test]
fn a_drawn_command_line_is_taken_or_refused_in_one_clear_line() {
    let all = subcommands();
    for draw in 0..draws() {
        let mut rng = ChaCha8Rng::seed_from_u64(draw);
        let line = drawn_line(&mut rng, &all);
        let begun = Instant::now();
        if let Err(told) = cli::refusal(&line) {
            one_clear_line(&told, &line.join(" "));
        }
        assert!(begun.elapsed() < PATIENCE, "{line:?} took {:?}", begun.elapsed());
    }
}

fn dyno(dir: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dyno"));
    command.args(line.split_whitespace()).current_dir(dir).env_remove("DYNO_LOG");
    command.stdin(Stdio::null());
    command
}

fn ran(dir: &Path, line: &str) -> Output {
    dyno(dir, line).output().unwrap()
}

#[test]
fn what_is_refused_before_it_starts_exits_with_254_in_every_subcommand() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("trace.json"), "{\"schema\": 1, \"name\": ").unwrap();
    std::fs::write(dir.path().join("history.jsonl"), "this is no history\n").unwrap();
    std::fs::write(dir.path().join("plan.toml"), "[workload]\ncarts = 4000000000\n").unwrap();
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    for name in ["trace", "plan.bin", "hosts.toml"] {
        std::fs::write(dir.path().join(name), b"no \xfftext").unwrap();
    }
    for line in [
        "",
        "mutiny",
        "test --no-such-flag",
        "test plan.toml",
        "test --plan plan.toml",
        "test no-such-plan.toml",
        "test -w 4",
        "test --nodes 0",
        "sim --plan plan.toml",
        "sim plan.toml",
        "sim --seeds 7..3",
        "sim --jobs 999999",
        "suite",
        "suite no-such-suite.toml",
        "suite plan.toml",
        "suite plan.toml --shard 5/4",
        "suite plan.toml --until soon",
        "suite list",
        "suite merge",
        "suite merge empty",
        "lab",
        "lab up --nodes 0",
        "lab up --nodes 61",
        "lab status --dir none",
        "lab exec --dir none -- true",
        "doctor --cluster cloud",
        "doctor --cluster sim",
        "model",
        "model check no-such-scenario",
        "model check --script p,p -w 9",
        "model check --script p --crashes 255",
        "model check --jobs -1",
        "model explore",
        "check",
        "check no-such-file",
        "check history.jsonl",
        "check empty",
        "check --budget soon trace.json",
        "check history.jsonl trace.json --report page.html",
        "replay trace.json --on core --report page.html",
        "analyze",
        "analyze empty",
        "analyze empty --spec stack",
        "show",
        "show empty",
        "show empty --op 1 --lost 2",
        "serve no-such-folder",
        "export empty --to edn",
        "export empty --to parquet",
        "serve empty --port 65536",
        "generate --processes 100000000",
        "generate --ops 10 --violations 100",
        "generate --indeterminate 7",
        "generate --spec stack",
        "replay",
        "replay trace.json",
        "replay no-such-trace",
        "replay trace",
        "test plan.bin",
        "doctor --cluster ssh --hosts hosts.toml",
        "check trace",
        "replay --record empty",
        "node",
        "node serve --id 1 --members 1 --engine memory -w 3 -n 1 -r 1",
        "node serve --id 1",
        "node serve --id 1 --members 1 -n 1 -r 1 -w 1 --engine memory --hedge 5s",
        "node get --at here",
        "node put --at 127.0.0.1:1 --context xyz k v",
        "node get --at 127.0.0.1:1 --timeout never k",
    ] {
        let ran = ran(dir.path(), line);
        let helps = matches!(line, "" | "lab" | "model" | "node");
        // What is said of each file goes with what is said of the files that can be judged.
        let judged = line.starts_with("check");
        let said = if judged { [&ran.stdout[..], &ran.stderr].concat() } else { ran.stderr };
        let said = String::from_utf8(said).unwrap();
        assert!(!said.contains("stream did not"), "dyno {line} tells no mend: {said}");
        assert_eq!(ran.status.code(), Some(254), "dyno {line}: {said}");
        assert!(!said.is_empty() && !said.contains("panicked"), "dyno {line}: {said}");
        assert!(helps || judged || ran.stdout.is_empty(), "dyno {line} says more than why");
        assert!(helps || judged || said.lines().count() == 1, "dyno {line}: {said}");
    }
}

#[test]
fn every_json_document_is_an_object_with_schema_command_and_verdict() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("suite.toml"), "[[sim]]\nseeds = \"0..9\"\n").unwrap();
    let lines = [
        ("model list --json", "model list", None),
        ("model check --script p --json", "model check", Some("valid")),
        ("doctor --cluster local --json", "doctor", None),
        ("generate --ops 20 -o h.jsonl --json", "generate", None),
        ("check h.jsonl --json", "check", Some("valid")),
        ("sim --seeds 0..1 --json", "sim", Some("valid")),
        ("lab down --dir none --json", "lab down", None),
        ("lab sweep --json", "lab sweep", None),
        ("test --cluster sim --time 1s --faults none --json", "test", None),
        ("analyze results/latest --json", "analyze", None),
        ("show results/latest --json", "show", None),
        ("export results/latest --to edn --json", "export", None),
        ("export results/latest --to parquet --json", "export", None),
        ("suite list suite.toml --json", "suite list", None),
        ("replay --record none --json", "", None),
    ];
    for (line, command, verdict) in lines {
        let ran = ran(dir.path(), line);
        let said = String::from_utf8(ran.stdout.clone()).unwrap();
        let Some(last) = said.lines().last() else {
            assert!(command.is_empty() && ran.status.code() == Some(254), "{line}: {ran:?}");
            continue;
        };
        let document: Value =
            serde_json::from_str(last).unwrap_or_else(|_| panic!("{line}: {said}"));
        assert_eq!(document["schema"], 1, "{line}");
        assert_eq!(document["command"], command, "{line}");
        assert!(document.get("verdict").is_some(), "{line}");
        if let Some(verdict) = verdict {
            assert_eq!(document["verdict"], verdict, "{line}: {said}");
        }
    }
}

#[test]
fn every_subcommand_that_ends_by_itself_speaks_json() {
    for (words, args) in subcommands() {
        let words = words[1..].join(" ");
        // These run until they are told to stop, run another's command, or speak to a driver.
        let mute = [
            "node serve",
            "node join",
            "node replace",
            "lab exec",
            "lab keeper",
            "lab host",
            "agent",
            "agent serve",
        ];
        let speaks = args.iter().any(|arg| arg.get_long() == Some("json"));
        assert_eq!(speaks, !mute.contains(&words.as_str()), "dyno {words}");
    }
}

#[test]
fn a_full_disk_or_a_reader_that_left_is_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    for line in [
        "model list",
        "--help",
        "generate --ops 20000",
        "doctor --cluster local",
        "sim --seeds 0..1",
        "test --cluster sim --time 1s --faults none",
    ] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ran = dyno(dir.path(), line).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.code(), Some(255), "dyno {line} >/dev/full: {said}");
        assert!(
            said.contains("No space left") && !said.contains("panicked"),
            "dyno {line}: {said}"
        );

        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran = dyno(dir.path(), line).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8(ran.stderr).unwrap();
        assert!(!said.contains("panicked"), "dyno {line} | true: {said}");
        assert!(matches!(ran.status.code(), Some(0 | 2)), "dyno {line} | true: {said}");

        let full = || File::options().write(true).open("/dev/full").unwrap();
        let ran = dyno(dir.path(), line).stdout(full()).stderr(full()).status().unwrap();
        assert_eq!(ran.code(), Some(255), "dyno {line} with both full");
    }
}
