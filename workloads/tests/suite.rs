//! `dyno suite`: nights that hold, nights that do not, and nights of which nobody may say that they hold.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use dyno::suite::expand;
use dyno::suite::file::SuiteFile;
use dyno::suite::night::{Head, Night};
use dyno::suite::outcome::{Attempt, Found, Ops, Outcome};
use dyno::suite::summary::Summary;
use dyno::suite::unit::{Build, Role, Unit, Work};
use rand::seq::{IndexedMutRandom, IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Holds, and takes seconds.
const HOLDS: &str = r#"
[[test]]
name = "cut"
clusters = ["sim"]
seeds = "0..3"
time = "8s"
faults = [["partition"]]

[[sim]]
name = "drawn"
seeds = "0..4"
each = 2
"#;

/// The same, and a store that loses.
const LOSES: &str = r#"
[[test]]
name = "calm"
clusters = ["sim"]
seeds = "0..2"
time = "3s"
versioning = ["lww", "dotted"]
faults = [[]]
"#;

/// Another scheduler's word about the machine that runs these tests is not for them.
const VARIABLES: &[&str] = &[
    "DYNO_LOG",
    "DYNO_SHARD",
    "DYNO_SHARDS",
    "JOB_COMPLETION_INDEX",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_ARRAY_TASK_COUNT",
    "AWS_BATCH_JOB_ARRAY_INDEX",
    "AWS_BATCH_JOB_ARRAY_SIZE",
    "CI_NODE_INDEX",
    "CI_NODE_TOTAL",
    "CIRCLE_NODE_INDEX",
    "CIRCLE_NODE_TOTAL",
    "BUILDKITE_PARALLEL_JOB",
    "BUILDKITE_PARALLEL_JOB_COUNT",
    "GITHUB_ACTIONS",
    "GITHUB_STEP_SUMMARY",
];

struct Bench(tempfile::TempDir);

impl Bench {
    fn of(suite: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("tiny.toml"), suite).unwrap();
        Self(dir)
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dyno"));
        command.arg("suite").args(line.split_whitespace()).current_dir(self.0.path());
        for name in VARIABLES {
            command.env_remove(name);
        }
        command.stdin(Stdio::null());
        command
    }

    fn ran(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// What a command exits with, and its document.
    fn told(&self, line: &str) -> (i32, Value) {
        let ran = self.ran(&format!("{line} --json"));
        let text = String::from_utf8(ran.stdout.clone()).unwrap();
        let last = text.lines().last().unwrap_or_else(|| panic!("dyno suite {line}: {ran:?}"));
        (ran.status.code().unwrap(), serde_json::from_str(last).unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The outcomes that are sealed in a folder, by unit, each with the folder's name.
    fn sealed(&self, out: &str) -> BTreeMap<String, (String, Outcome)> {
        let read = |entry: fs::DirEntry| {
            let text = fs::read_to_string(entry.path().join("outcome.json")).unwrap();
            let outcome: Outcome = serde_json::from_str(&text).unwrap();
            (outcome.unit.id.clone(), (entry.file_name().into_string().unwrap(), outcome))
        };
        let entries = fs::read_dir(self.path(out).join("units")).unwrap();
        entries.map(|entry| read(entry.unwrap())).collect()
    }

    /// Starts a suite, and returns when the first of its units is sealed.
    fn started(&self, line: &str) -> (Child, BufReader<std::process::ChildStderr>) {
        let mut command = self.command(line);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut told = String::new();
        while !told.lines().any(|line| line.starts_with("[1/")) {
            assert!(stderr.read_line(&mut told).unwrap() > 0, "it ended by itself: {told}");
        }
        (child, stderr)
    }
}

fn reasons(document: &Value) -> String {
    document["reasons"].to_string()
}

fn canary(bench: &Bench, out: &str) -> PathBuf {
    let sealed = bench.sealed(out);
    let (folder, _) = sealed.values().find(|(_, of)| of.unit.role == Role::Canary).unwrap();
    bench.path(out).join("units").join(folder)
}

#[test]
fn a_night_in_which_all_holds_is_valid_and_says_what_was_tried() {
    let bench = Bench::of(HOLDS);
    let (status, night) = bench.told("tiny.toml --out out");
    assert_eq!((status, night["verdict"].as_str()), (0, Some("valid")), "{night}");
    // Three with faults, their control, two batches of drawn days.
    assert_eq!(night["units"]["valid"], 6, "{night}");
    assert_eq!(night["seeds"], 8);
    assert!(night["faults"]["partition"]["proven"].as_u64().unwrap() >= 3, "{night}");
    assert!(night["canaries"].as_array().unwrap().iter().all(|canary| canary["caught"] == true));
    assert_eq!(night["canaries"].as_array().unwrap().len(), 2, "of dyno test and dyno sim");
    let fault_of = |cell: &Value| cell["fault"].as_str().unwrap().to_owned();
    let cells: Vec<_> = night["cells"].as_array().unwrap().iter().map(fault_of).collect();
    assert_eq!(cells, ["none", "partition"]);
    let junit = fs::read_to_string(bench.path("out/shard-1-of-1.xml")).unwrap();
    assert!(junit.contains("failures=\"0\"") && junit.contains("tests=\"8\""), "{junit}");
    assert!(!bench.path("out/aside").exists());
    // Again: nothing is left to be done.
    let before = bench.sealed("out");
    let (status, again) = bench.told("tiny.toml --out out");
    assert_eq!((status, &again["units"]), (0, &night["units"]));
    assert!(bench.sealed("out") == before);
}

#[test]
fn a_unit_that_finds_something_is_run_again_kept_whole_and_makes_the_night_invalid() {
    let bench = Bench::of(LOSES);
    let summary = bench.path("summary.md");
    let mut command = bench.command("tiny.toml --out out --json");
    command.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", &summary);
    let ran = command.output().unwrap();
    let text = String::from_utf8(ran.stdout).unwrap();
    let night: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((ran.status.code(), night["verdict"].as_str()), (Some(1), Some("invalid")));
    // It goes on after a failure.
    assert_eq!(
        (night["units"]["invalid"].as_u64(), night["units"]["valid"].as_u64()),
        (Some(2), Some(2))
    );
    for finding in night["findings"].as_array().unwrap() {
        assert_eq!((finding["times"].as_u64(), finding["runs"].as_u64()), (Some(2), Some(2)));
        let folder = bench.0.path().join(finding["folder"].as_str().unwrap());
        assert!(folder.join("attempt-1/canary").exists() || folder.join("attempt-1/cart").exists());
        assert!(finding["again"].as_str().unwrap().ends_with("&& dyno test plan.toml"));
        let again = Command::new(env!("CARGO_BIN_EXE_dyno"))
            .args(["test", "plan.toml", "--no-report"])
            .current_dir(&folder)
            .output()
            .unwrap();
        assert_eq!(again.status.code(), Some(1), "{finding}");
    }
    let annotations = text.lines().filter(|line| line.starts_with("::error ")).count();
    assert_eq!(annotations, 2, "{text}");
    assert!(fs::read_to_string(summary).unwrap().starts_with("### tiny: invalid\n"));
    // A scheduler that asks whether the shard is done is told so.
    assert_eq!(bench.ran("tiny.toml --out out --exit shard").status.code(), Some(0));
}

#[test]
fn a_suite_that_was_stopped_goes_on_and_judges_nothing_twice() {
    for signal in [Signal::INT, Signal::KILL] {
        let bench = Bench::of(HOLDS);
        let (mut child, rest) = bench.started("tiny.toml --out out");
        kill_process(Pid::from_child(&child), signal).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.code(), (signal == Signal::INT).then_some(255), "{signal:?}");
        drop(rest);
        let before = bench.sealed("out");
        assert!(!before.is_empty() && before.len() < 8, "{} sealed", before.len());
        let (status, merged) = bench.told("merge out");
        assert_eq!((status, merged["verdict"].as_str()), (2, Some("unknown")), "{merged}");

        let ran = bench.ran("tiny.toml --out out");
        let (said, told) =
            [ran.stdout, ran.stderr].map(|text| String::from_utf8(text).unwrap()).into();
        assert_eq!(ran.status.code(), Some(0), "{told}");
        assert!(said.starts_with("tiny: valid\n"), "{said}");
        let run = told.lines().filter(|line| line.starts_with('[')).count();
        assert_eq!(run, 8 - before.len(), "{told}");
        let after = bench.sealed("out");
        assert_eq!(after.len(), 8);
        for (id, sealed) in before {
            assert_eq!(after[&id], sealed, "was run again");
        }
        assert!(after.values().all(|(_, outcome)| outcome.attempts.len() == 1));
        assert!(!bench.path("out/aside").exists());
    }
}

#[test]
fn a_night_without_its_canary_is_unknown() {
    let bench = Bench::of(HOLDS);
    assert_eq!(bench.ran("tiny.toml --out out").status.code(), Some(0));
    let canary = canary(&bench, "out");
    let path = canary.join("outcome.json");
    // It found nothing: neither does anybody else here.
    let mut outcome: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    outcome["found"] = "valid".into();
    fs::write(&path, outcome.to_string()).unwrap();
    let (status, night) = bench.told("merge out");
    assert_eq!((status, night["verdict"].as_str()), (2, Some("unknown")));
    assert!(reasons(&night).contains("the canary of shard 1/1 is valid"), "{night}");
    // It is missing.
    fs::remove_dir_all(&canary).unwrap();
    let (status, night) = bench.told("merge out");
    assert_eq!(status, 2);
    assert!(reasons(&night).contains("the canary of shard 1/1 is missing"), "{night}");
}

#[test]
fn the_shards_of_a_suite_together_are_the_suite_and_a_hole_is_named() {
    let bench = Bench::of(HOLDS);
    let (status, whole) = bench.told("tiny.toml --out whole");
    assert_eq!(status, 0);
    for index in 1..=3 {
        let (status, shard) = bench.told(&format!("tiny.toml --shard {index}/3 --out s{index}"));
        assert_eq!(status, 0, "{shard}");
        assert_eq!(shard["shard"], format!("{index}/3"));
    }
    let (status, merged) = bench.told("merge s3 s1 s2 s1 --out night");
    assert_eq!((status, merged["verdict"].as_str()), (0, Some("valid")), "{merged}");
    for field in ["units", "seeds", "ops", "faults", "cells"] {
        assert_eq!(merged[field], whole[field], "{field}");
    }
    let judged = |out: &str| {
        let sealed = bench.sealed(out).into_values();
        let judged = sealed.filter(|(_, outcome)| outcome.unit.role != Role::Canary);
        let known = |(_, of): (_, Outcome)| (of.unit.name, (of.found, of.seeds, of.ops, of.faults));
        judged.map(known).collect::<BTreeMap<_, _>>()
    };
    let mut union = BTreeMap::new();
    for out in ["s1", "s2", "s3"] {
        for (name, known) in judged(out) {
            assert!(union.insert(name, known).is_none(), "two shards run the same");
        }
    }
    assert_eq!(union, judged("whole"));
    assert!(fs::read_to_string(bench.path("night/night.txt")).unwrap().starts_with("tiny: valid"));

    let (status, hole) = bench.told("merge s1 s3");
    assert_eq!((status, hole["verdict"].as_str()), (2, Some("unknown")));
    assert!(reasons(&hole).contains("the canary of shard 2/3 is missing"), "{hole}");
    assert_eq!(hole["missing"].as_array().unwrap().len(), 2, "{hole}");
}

/// A lab that nobody may have here, as in a container without the right to make namespaces.
fn without_namespaces(bench: &Bench, line: &str) -> Output {
    use std::os::unix::fs::PermissionsExt;
    let fake = bench.path("fake");
    fs::create_dir_all(&fake).unwrap();
    fs::write(fake.join("unshare"), "#!/bin/sh\nexit 1\n").unwrap();
    fs::set_permissions(fake.join("unshare"), fs::Permissions::from_mode(0o755)).unwrap();
    bench.command(line).env("PATH", fake).output().unwrap()
}

#[test]
fn what_a_machine_cannot_run_is_listed_with_the_reason_and_counts_only_where_it_may_lack() {
    let hosts = "clusters = [\"lab\"]\nseeds = \"0\"\ntime = \"3s\"\nfaults = [[]]\n";
    for (may, expected) in [(true, "valid"), (false, "unknown")] {
        let bench =
            Bench::of(&format!("{HOLDS}\n[[test]]\nname = \"hosts\"\nwhere_able = {may}\n{hosts}"));
        let ran = without_namespaces(&bench, "tiny.toml --out out --json");
        let text = String::from_utf8(ran.stdout).unwrap();
        let night: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(night["verdict"], expected, "{night}");
        assert_eq!(night["units"]["skipped"], 1);
        let skipped = night["skipped"].as_array().unwrap();
        // With its canary.
        assert_eq!(skipped.len(), 2, "{night}");
        assert!(skipped.iter().all(|unit| unit["lacks"].as_str().unwrap().starts_with("lab")));
        let junit = fs::read_to_string(bench.path("out/shard-1-of-1.xml")).unwrap();
        assert_eq!(junit.contains("skipped=\"2\""), may, "{junit}");
    }
}

#[test]
fn a_run_that_takes_too_long_is_ended_and_did_not_work() {
    let bench = Bench::of(&HOLDS.replacen("[[test]]", "limit = \"1ms\"\n[[test]]", 1));
    let (status, night) = bench.told("tiny.toml --out out");
    assert_eq!((status, night["verdict"].as_str()), (2, Some("unknown")), "{night}");
    assert_eq!(
        (night["units"]["broken"].as_u64(), night["units"]["valid"].as_u64()),
        (Some(6), Some(0))
    );
    assert!(night["doubts"][0]["why"][0].as_str().unwrap().contains("longer than 1ms"), "{night}");
    assert_eq!(night["doubts"][0]["runs"], 1);
    assert!(reasons(&night).contains("the canary of shard 1/1 is broken"), "{night}");
}

#[test]
fn what_is_not_of_one_night_is_refused() {
    let bench = Bench::of(HOLDS);
    fs::write(bench.path("other.toml"), HOLDS.replace("0..3", "0..2")).unwrap();
    let cut = "--budget 1ms";
    for (line, status) in [
        (format!("tiny.toml --out a {cut}"), 2),
        (format!("tiny.toml --shift 7 --out b {cut}"), 2),
        (format!("tiny.toml --shard 1/2 --out c {cut}"), 2),
        (format!("other.toml --out a {cut}"), 254),
        (format!("tiny.toml --shard 1/2 --out a {cut}"), 254),
        (format!("tiny.toml --shard 1/2 --exit shard --out c {cut}"), 255),
        ("merge a b".to_owned(), 254),
        ("merge a c".to_owned(), 254),
        ("merge nowhere".to_owned(), 254),
        ("merge a".to_owned(), 2),
    ] {
        let ran = bench.ran(&line);
        let told = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.code(), Some(status), "dyno suite {line}: {told}");
        assert!(status != 254 || told.lines().count() == 1, "dyno suite {line}: {told}");
    }
    // Another build.
    let path = bench.path("a/suite.json");
    let mut head: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    head["build"]["program"] = "0123456789abcdef".into();
    fs::create_dir_all(bench.path("d")).unwrap();
    fs::write(bench.path("d/suite.json"), head.to_string()).unwrap();
    let ran = bench.ran("merge a d");
    assert_eq!(ran.status.code(), Some(254));
    assert!(String::from_utf8(ran.stderr).unwrap().contains("another build of dyno"));
}

#[test]
fn a_shard_is_told_by_the_scheduler_and_contradictions_are_refused() {
    let bench = Bench::of(HOLDS);
    let line = "tiny.toml --budget 1ms --out out";
    let told =
        bench.command(line).env("CI_NODE_INDEX", "2").env("CI_NODE_TOTAL", "3").output().unwrap();
    let said = String::from_utf8(told.stderr).unwrap();
    assert!(said.starts_with("tiny: shard 2/3 (CI_NODE_INDEX=2 of 3 (GitLab))"), "{said}");
    let refused = bench.command(line).env("JOB_COMPLETION_INDEX", "2").output().unwrap();
    assert_eq!(refused.status.code(), Some(254));
    let contradicts = bench.command(line).env("CI_NODE_TOTAL", "3").output().unwrap();
    assert_eq!(contradicts.status.code(), Some(254));
}

fn suites() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("suites");
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn build() -> Build {
    Build { dyno: "0.1.0".to_owned(), program: "0123456789abcdef".to_owned() }
}

#[test]
fn the_suites_that_come_with_dyno_can_be_run_and_every_plan_with_faults_has_its_control() {
    assert_eq!(suites().len(), 3);
    for path in suites() {
        let file = SuiteFile::read(&path).unwrap();
        let suite = expand(&file, &path, &build(), 0).unwrap();
        let ids: BTreeSet<_> = suite.units.iter().map(|(unit, _)| &unit.id).collect();
        let names: BTreeSet<_> = suite.units.iter().map(|(unit, _)| &unit.name).collect();
        assert_eq!((ids.len(), names.len()), (suite.units.len(), suite.units.len()), "{path:?}");
        for (unit, work) in &suite.units {
            let faulty = work.plan().is_some_and(|plan| !plan.faults.is_empty());
            assert_eq!(unit.control.is_some(), faulty, "{}", unit.name);
            let has_control = unit.control.as_ref().is_none_or(|control| ids.contains(control));
            assert!(has_control, "{}", unit.name);
        }
        let again = expand(&file, &path, &build(), 0).unwrap();
        assert_eq!(again.digest, suite.digest);
        assert_ne!(expand(&file, &path, &build(), 1).unwrap().digest, suite.digest);
        // What there is time for comes after what has to be run, and is mixed.
        let required = suite.units.partition_point(|(unit, _)| !unit.optional);
        let rest = &suite.units[required..];
        assert!(required > 0 && rest.iter().all(|(unit, _)| unit.optional), "{path:?}");
        let parts = |units: &[(Unit, Work)]| {
            units.iter().map(|(unit, _)| unit.part.clone()).collect::<BTreeSet<_>>()
        };
        assert_eq!(parts(&rest[..rest.len() / 20]), parts(rest), "{path:?}");
        for total in [1, 3, 16] {
            let shards = suite.shards(total);
            let canaries = |units: &[(Unit, Work)]| {
                units.iter().filter(|(unit, _)| unit.role == Role::Canary).count()
            };
            assert!(shards.iter().all(|units| canaries(units) > 0), "{path:?}");
            let all = shards.iter().map(|units| units.len() - canaries(units)).sum::<usize>();
            assert_eq!(all, suite.units.len(), "{path:?}");
        }
    }
}

#[test]
fn whole_nodes_are_units_with_a_canary_of_their_own() {
    let text = r#"
        [[sim]]
        name = "whole"
        shell = true
        seeds = "0..4"
        each = 2
        [[sim]]
        name = "power"
        shell = true
        crashes = true
        seeds = "0..2"
    "#;
    let expanded = |text: &str| {
        let suite = SuiteFile::parse(text, "tiny.toml").unwrap();
        let suite = SuiteFile { name: "tiny".to_owned(), ..suite };
        expand(&suite, Path::new("tiny.toml"), &build(), 0)
    };
    let shards = expanded(text).unwrap().shards(1);
    let names: Vec<_> = shards[0].iter().map(|(unit, _)| &*unit.name).collect();
    assert_eq!(
        names,
        [
            "canary: whole nodes, lww, all drawn, shard 1/1",
            "whole: whole nodes, all drawn, seed 0..2",
            "whole: whole nodes, all drawn, seed 2..4",
            "power: whole nodes, power cuts everywhere, seed 0..2",
        ]
    );
    for (from, to, why) in [
        ("shell = true\n        crashes", "crashes", "add shell = true"),
        ("crashes = true", "cuts = true", "no ways of cutting links"),
    ] {
        let refused = expanded(&text.replace(from, to)).err().unwrap().to_string();
        assert!(refused.contains("power") && refused.contains(why), "{refused}");
    }
}

/// A night of four shards that is known whole, unit by unit.
fn whole(rng: &mut ChaCha8Rng) -> (Head, Vec<Outcome>) {
    let suite = SuiteFile::parse(HOLDS, "tiny.toml").unwrap();
    let suite = SuiteFile { name: "tiny".to_owned(), ..suite };
    let suite = expand(&suite, Path::new("tiny.toml"), &build(), 0).unwrap();
    let head = Head::of(&suite, 4);
    let outcome = |unit: &Unit, found: Found, ms: u64| Outcome {
        schema: 1,
        suite: head.digest.clone(),
        build: head.build.clone(),
        unit: unit.clone(),
        found,
        lacks: None,
        attempts: vec![Attempt {
            found,
            status: Some(0),
            why: vec![],
            again: "dyno test plan.toml".to_owned(),
            ms,
        }],
        seeds: 1,
        ops: Ops { ok: ms, ..Ops::default() },
        faults: BTreeMap::new(),
        host: "here".to_owned(),
        began: String::new(),
        ms,
    };
    let mut outcomes = Vec::new();
    for (_, unit) in &head.units {
        let usual = if unit.role == Role::Canary { Found::Invalid } else { Found::Valid };
        outcomes.push(outcome(unit, usual, rng.random_range(0..9)));
        if rng.random_ratio(1, 5) {
            let found = [Found::Valid, Found::Invalid, Found::Unknown, Found::Skipped];
            outcomes.push(outcome(unit, *found.choose(rng).unwrap(), rng.random_range(0..9)));
        }
    }
    (head, outcomes)
}

#[test]
fn the_order_of_a_merge_and_what_is_merged_twice_change_nothing() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for _ in 0..1000 {
        let (head, outcomes) = whole(&mut rng);
        let night = |outcomes: &[&Outcome]| {
            let mut night = Night::of(head.clone(), None);
            for outcome in outcomes {
                night.add((*outcome).clone(), Path::new(&outcome.unit.id));
            }
            night
        };
        let all = night(&outcomes.iter().collect::<Vec<_>>());
        // Folders that overlap, in any order, some named twice, joined pair by pair.
        let mut parts: Vec<Vec<&Outcome>> = vec![Vec::new(); rng.random_range(1..6)];
        for outcome in &outcomes {
            for _ in 0..rng.random_range(1..3) {
                parts.choose_mut(&mut rng).unwrap().push(outcome);
            }
        }
        parts.extend(parts.choose(&mut rng).cloned());
        parts.iter_mut().for_each(|part| part.shuffle(&mut rng));
        parts.shuffle(&mut rng);
        let mut nights: Vec<_> = parts.iter().map(|part| night(part)).collect();
        while nights.len() > 1 {
            let other = nights.swap_remove(rng.random_range(0..nights.len()));
            let at = rng.random_range(0..nights.len());
            nights[at].join(&other).unwrap();
        }
        assert!(nights[0] == all);
        assert_eq!(Summary::of(&nights[0]), Summary::of(&all));
    }
}

#[test]
fn no_night_with_a_hole_is_valid_and_no_finding_is_hidden() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    for _ in 0..300 {
        let (head, outcomes) = whole(&mut rng);
        let plain: BTreeMap<_, _> =
            outcomes.iter().rev().map(|of| (of.unit.id.clone(), of)).collect();
        let left_out = plain.keys().collect::<Vec<_>>().choose(&mut rng).unwrap().to_string();
        let mut night = Night::of(head, None);
        for outcome in plain.values().filter(|outcome| outcome.unit.id != left_out) {
            night.add((*outcome).clone(), Path::new("x"));
        }
        let summary = Summary::of(&night);
        assert_ne!(summary.verdict(), "valid");
        // A later pass hides no finding.
        for (finding, pass) in [(Found::Invalid, Found::Valid), (Found::Valid, Found::Invalid)] {
            let judged = plain.values().find(|of| of.unit.role == Role::Judged).unwrap();
            for found in [finding, pass] {
                night.add(Outcome { found, ..(**judged).clone() }, Path::new("x"));
            }
            assert_eq!(Summary::of(&night).verdict(), "invalid");
        }
    }
}

#[test]
fn a_unit_with_two_results_is_unknown_and_a_stranger_is_named() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let (head, outcomes) = whole(&mut rng);
    let first: BTreeMap<_, _> = outcomes.iter().rev().map(|of| (of.unit.id.clone(), of)).collect();
    let mut night = Night::of(head, None);
    for outcome in first.values() {
        night.add((*outcome).clone(), Path::new("x"));
    }
    let reasons = |night: &Night| Summary::of(night).reasons.join("; ");
    let before = reasons(&night);
    let judged = first.values().find(|of| of.unit.role == Role::Judged).unwrap();
    let unknown = Outcome { found: Found::Unknown, ..(**judged).clone() };
    let mut doubled = night.clone();
    doubled.add(unknown, Path::new("y"));
    assert_eq!(Summary::of(&doubled).units.doubled, 1);
    assert!(!before.contains("is unknown") && reasons(&doubled).contains("is unknown"));
    let other = Build { program: "another".to_owned(), ..build() };
    night.add(Outcome { build: other, ..(**judged).clone() }, Path::new("y"));
    assert!(reasons(&night).contains("another suite or build"), "{}", reasons(&night));
}
