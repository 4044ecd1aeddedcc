//! `dyno sim` and `dyno replay`, as commands.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use checker::history::op::{Kind, Process};
use dynamo_protocol::NodeId;
use dynamo_sim::trace::Step;
use dyno::nemesis::schedule::schedule;
use dyno::plan::{ClusterKind, FaultName, Plan, Span, Target};
use dyno::simulated::batch::Batch;
use dyno::simulated::run::{Options, run};
use dyno::simulated::scenario::Scenario;
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

/// Homes do not compare what they hold, and no hint is delivered while it lasts: what a run waits for at its
/// end does not come.
#[test]
fn a_cluster_that_repairs_nothing_does_not_come_to_rest() {
    let folder = tempfile::tempdir().unwrap();
    let plan = "time = \"10s\"\nfaults = [\"partition\"]\n[cluster]\nkind = \"sim\"\n";
    let repairs = |repairs: &str| {
        fs::write(folder.path().join("plan.toml"), format!("{plan}{repairs}")).unwrap();
        let judged =
            document(&dyno(&["test", "plan.toml", "--seed", "3", "--json"], folder.path()));
        let at_rest = judged["checks"]["at-rest"]["verdict"].as_str().map(str::to_owned);
        (judged["property"].as_str().unwrap().to_owned(), at_rest)
    };
    let invalid = || "invalid".to_owned();
    let nothing = "anti_entropy = false\nhandoff = \"10m\"\n";
    assert_eq!(repairs(nothing), (invalid(), Some(invalid())));
    assert_eq!(repairs("").0, "valid");
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
fn a_plan_whose_members_come_and_go_runs_under_virtual_time() {
    let folder = tempfile::tempdir().unwrap();
    let faults = "kill,pause,partition,join,leave,replace,wipe,losehints";
    let line = format!("test --cluster sim --nodes 6 --faults {faults} --time 60s --seed 1 --json");
    let run = dyno(&line.split(' ').collect::<Vec<_>>(), folder.path());
    let verdict = document(&run);
    assert_eq!(run.status.code(), Some(0), "{:#}", verdict["reasons"]);
    for name in faults.split(',') {
        let fault = &verdict["faults"][name];
        assert!(
            fault["proven"].as_u64() > Some(0) && fault["proven"] == fault["healed"],
            "{name}: {fault}"
        );
    }
    for name in ["join", "leave", "replace"] {
        assert!(verdict["faults"][name]["moved_keys"].as_u64() > Some(0), "{name}");
    }
    assert!(verdict["memberships"].as_array().unwrap().len() > 5);
}

/// Whoever is to be filled takes what counted before: a lost disk in between must not be replaced too early.
#[test]
fn a_disk_of_a_strict_cluster_is_lost_while_a_member_joins_and_all_come_to_count() {
    let folder = tempfile::tempdir().unwrap();
    let line =
        "test --cluster sim --nodes 6 --quorum strict --faults join,wipe --time 20s --seed 1";
    let run = dyno(&line.split(' ').chain(["--json"]).collect::<Vec<_>>(), folder.path());
    let verdict = document(&run);
    assert_eq!(run.status.code(), Some(0), "{:#}", verdict["reasons"]);
    let joined = verdict["faults"]["join"]["moved_keys"].as_u64();
    let lost = verdict["faults"]["wipe"]["healed"].as_u64();
    assert!(joined > Some(0) && lost > Some(0), "{:#}", verdict["faults"]);
}

#[test]
fn a_plan_whose_disks_go_back_and_are_damaged_runs_under_virtual_time() {
    let folder = tempfile::tempdir().unwrap();
    let line =
        "test --cluster sim --nodes 6 -n 4 -r 2 -w 3 --faults rollback,bitflip --time 20s --seed 1";
    let args: Vec<_> = line.split(' ').chain(["--json"]).collect();
    let run = dyno(&args, folder.path());
    let verdict = document(&run);
    assert_eq!(run.status.code(), Some(0), "{:#}", verdict["reasons"]);
    for fault in ["rollback", "bitflip"] {
        let fault = &verdict["faults"][fault];
        assert!(
            fault["proven"].as_u64() > Some(0) && fault["proven"] == fault["healed"],
            "{fault}"
        );
    }
    assert!(verdict["counters"]["rolled_back"].as_u64() > Some(0), "{verdict}");
}

/// A member whose disk goes back may only later be told so by its peers, and go on with another directory,
/// which the ring has to name before any change is finished. While one fault has a process no other does, and
/// a join starts its newcomer once.
#[test]
fn disks_go_back_and_processes_end_while_a_member_joins_and_all_of_it_is_proven_and_healed() {
    let folder = tempfile::tempdir().unwrap();
    for (faults, seed) in
        [("rollback,join", "0"), ("rollback,join", "1"), ("kill,rollback,join", "0")]
    {
        let line = format!(
            "test --cluster sim --nodes 6 -n 4 -r 2 -w 4 --faults {faults} --time 15s --seed {seed} --json"
        );
        let run = dyno(&line.split(' ').collect::<Vec<_>>(), folder.path());
        let verdict = document(&run);
        assert_eq!(run.status.code(), Some(0), "{faults} {seed}: {:#}", verdict["reasons"]);
    }
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

/// A fault of a run: what it is called, whom it hits, and from when to when in microseconds.
type Told = (String, Vec<String>, u64, u64);

/// The faults that a plan has on real nodes.
fn scheduled(plan: &Plan, seed: u64) -> BTreeMap<u64, Told> {
    let micros = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap();
    let told = schedule(plan, seed, &plan.view().unwrap()).into_iter().map(|episode| {
        let whom = whom(&episode.fault.told());
        let until = micros(episode.at) + micros(episode.hold);
        (episode.id, (episode.fault.name().to_string(), whom, micros(episode.at), until))
    });
    told.collect()
}

/// The links, or else the nodes.
fn whom(told: &Value) -> Vec<String> {
    let whom = told.get("cuts").unwrap_or(&told["nodes"]).as_array().unwrap();
    whom.iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}

/// The faults that a history shows to have been in force, and to have been healed.
fn told(history: &str) -> BTreeMap<u64, Told> {
    let mut told = BTreeMap::new();
    let lines = history.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    for line in lines.filter(|line| line["process"] == "nemesis" && line["type"] == "ok") {
        let (value, at) = (&line["value"], line["time"].as_u64().unwrap() / 1_000);
        let name = line["f"].as_str().unwrap().to_owned();
        let fault = value["fault"].as_u64().unwrap();
        let entry = told.entry(fault).or_insert((name, whom(value), at, 0));
        if value["step"] == "heal" {
            entry.3 = at;
        }
    }
    told
}

fn shipped() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans");
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_plan_has_the_same_faults_on_real_nodes_under_virtual_time_and_in_a_batch_of_seeds() {
    let folder = tempfile::tempdir().unwrap();
    let mut simulated = 0;
    for (file, seed) in shipped().into_iter().zip(1..) {
        // Shorter: what is compared is there in a few seconds.
        let mut plan = Plan { time: Span::secs(4), ..Plan::read(&file).unwrap() };
        // Whose faults `dyno sim --cuts` makes.
        if plan.faults.is_empty() {
            continue;
        }
        let name = file.file_name().unwrap().to_str().unwrap();
        fs::write(folder.path().join(name), plan.to_toml()).unwrap();
        plan.cluster.kind = ClusterKind::Local;
        let real = scheduled(&plan, seed);
        assert!(real.len() > 1, "{name}");

        let number = seed.to_string();
        let args = ["test", name, "--cluster", "sim", "--seed", &number, "--out", &number];
        let alone = dyno(&args, folder.path());
        plan.cluster.kind = ClusterKind::Sim;
        if let Err(refused) = plan.check() {
            let batch = dyno(&["sim", "--plan", name, "--seeds", &number], folder.path());
            for output in [alone, batch] {
                let said = String::from_utf8(output.stderr).unwrap();
                assert_eq!(output.status.code(), Some(254), "{said}");
                assert!(said.contains(&refused.0), "{said}");
            }
            continue;
        }
        let history = folder.path().join(&number).join("latest/history.jsonl");
        let alone = fs::read_to_string(history).unwrap();
        assert_eq!(told(&alone), real, "{name}");

        let batch = Batch {
            seeds: seed..seed + 1,
            plan: Some(plan),
            cuts: false,
            jobs: 1,
            until_covered: false,
        };
        let outcome = run(&batch.scenario(seed), seed, Options::default());
        let history = outcome.history.resolved();
        let lines = history.ops().iter().map(|op| serde_json::to_string(op).unwrap() + "\n");
        assert!(alone == lines.collect::<String>(), "{name}: alone it is another run");
        simulated += 1;
    }
    assert!(simulated >= 5, "{simulated} plans");
}

#[test]
fn a_plan_that_aims_at_one_node_touches_no_other_whatever_the_seed() {
    let mut plan = Plan { time: Span::secs(4), faults: vec![FaultName::Kill], ..Plan::default() };
    plan.cluster.kind = ClusterKind::Sim;
    plan.fault.targets = vec![Target::Node(NodeId(1))];
    let batch = Batch { seeds: 0..4, plan: Some(plan), cuts: false, jobs: 1, until_covered: false };
    for seed in batch.seeds.clone() {
        let options = Options { record: true, ..Options::default() };
        let outcome = run(&batch.scenario(seed), seed, options);
        let steps = outcome.trace.unwrap().steps.into_iter().map(|entry| entry.step);
        let ended: Vec<_> = steps
            .filter_map(|step| match step {
                Step::Crash { node, .. } => Some(node),
                _ => None,
            })
            .collect();
        assert!(ended.len() > 1 && ended.iter().all(|node| *node == NodeId(1)), "{ended:?}");
    }
}

#[test]
fn what_the_model_found_broken_is_invalid_when_it_is_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let scenarios = ["weak", "last-writer-wins", "buffered"];
    let args = [&["model", "check"], &scenarios[..], &["--out", "traces", "--json"]].concat();
    let checked = dyno(&args, folder.path());
    assert_eq!(checked.status.code(), Some(0), "broken as expected");
    let text = String::from_utf8(checked.stdout).unwrap();
    let (mut broken, mut reached) = (Vec::new(), 0);
    for report in text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        for (property, judgement) in report["properties"].as_object().unwrap() {
            let Some(file) = judgement["file"].as_str() else { continue };
            let again = dyno(&["replay", file, "--json"], folder.path());
            let said = String::from_utf8(again.stdout.clone()).unwrap();
            if judgement["verdict"] == "violated" {
                assert_eq!(again.status.code(), Some(1), "{file}: {said}");
                assert_eq!(document(&again)["verdict"], "invalid", "{file}");
                assert!(said.contains(property), "{file}: {said}");
                broken.push(property.clone());
            } else {
                assert_eq!(again.status.code(), Some(0), "{file}: {said}");
                reached += 1;
            }
        }
    }
    for property in ["regular-gets", "contexts-closed", "acknowledged-kept"] {
        assert!(broken.iter().any(|found| found == property), "{property}: {broken:?}");
    }
    assert!(reached > 0);
}

/// Those that judge registers, and those that judge what clients of a store with siblings do.
const ENTITLED: [&str; 12] = [
    "register",
    "cas-register",
    "sequential-register",
    "causal",
    "causal-convergent",
    "sessions",
    "staleness",
    "siblings",
    "siblings-strict",
    "siblings-converged",
    "convergence",
    "cart",
];

#[test]
fn a_runs_own_history_is_judged_under_every_spec_that_is_entitled_to_it() {
    let strict = "quorum = \"strict\"\nread = \"atomic\"\n";
    for (faults, cluster, is_sound) in [("", strict, true), ("\"kill\", \"partition\"", "", false)]
    {
        let folder = tempfile::tempdir().unwrap();
        let plan = format!(
            "time = \"4s\"\nfaults = [{faults}]\n[cluster]\nkind = \"sim\"\n{cluster}\
             [workload]\nconcurrency = 8\nthink = \"20ms\"\ncarts = 3\n"
        );
        fs::write(folder.path().join("plan.toml"), plan).unwrap();
        let ran = dyno(&["test", "plan.toml", "--seed", "5", "--out", "runs"], folder.path());
        assert!(matches!(ran.status.code(), Some(0 | 2)), "{ran:?}");
        for spec in ENTITLED {
            let checked = dyno(&["check", "runs/latest", "--spec", spec, "--json"], folder.path());
            let judged = document(&checked);
            assert_ne!(judged["verdict"], "unknown", "{spec}: {judged}");
            assert!(judged["judged"].as_u64().unwrap() > 0, "{spec}: {judged}");
            // What is sound to the run's own checkers is so to all.
            assert!(!is_sound || judged["verdict"] == "valid", "{spec}: {judged}");
        }
        for spec in ["mutex", "queue", "counter", "total-queue", "unique-ids", "kv"] {
            let checked = dyno(&["check", "runs/latest", "--spec", spec], folder.path());
            assert_eq!(checked.status.code(), Some(254), "{spec}: {checked:?}");
        }
    }
}

/// Whether the process does something of its own when it is asked to end: the bit of SIGINT in the mask of
/// caught signals, see proc(5).
fn catches_interrupts(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
    u64::from_str_radix(mask, 16).unwrap() & 0b10 != 0
}

#[test]
fn seeds_that_are_interrupted_keep_what_they_have_found() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dyno"));
    command.args(["sim", "--seeds", "0..100000000", "--json"]).current_dir(folder.path());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while !catches_interrupts(child.id()) {
        std::thread::yield_now();
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(255), "{ended:?}");
    let document = document(&ended);
    let (ran, left) = (&document["seeds"], &document["left_out"]);
    assert!(ran.as_u64() > Some(0));
    assert_eq!(ran.as_u64().unwrap() + left.as_u64().unwrap(), 100_000_000);
    assert_eq!(document["verdict"], "unknown");
    assert_eq!(document["violations"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_way_of_cutting_links_is_in_force_and_loses_nothing() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans/cuts.toml");
    let plan = Plan::read(&path).unwrap();
    let nodes: Vec<_> = plan.nodes();
    let batch =
        Batch { seeds: 0..4096, plan: Some(plan), cuts: true, jobs: 1, until_covered: false };
    let done = |way: u64| {
        let outcome = run(&batch.scenario(way), way, Options::default());
        assert_eq!(outcome.violations, [], "way {way}");
        outcome.counts.ok
    };
    assert_eq!(dyno::simulated::cuts::way(&nodes, 4095).len(), 12);
    // Alone, no node reaches a quorum: little is done while all links are cut.
    let (none, all) = (done(0), done(4095));
    assert!(all < none * 7 / 10, "{all} of {none}");
    for way in (1..4096).step_by(97) {
        done(way);
    }
}

#[test]
fn ways_of_cutting_links_that_there_are_not_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("plan.toml"),
        "time = \"3s\"\nfaults = []\n[cluster]\nnodes = 3\n",
    )
    .unwrap();
    for (args, status) in [
        (vec!["sim", "--cuts", "--seeds", "0..2", "plan.toml"], 0),
        (vec!["sim", "--cuts", "--seeds", "0..65", "plan.toml"], 254),
        (vec!["sim", "--cuts", "--seeds", "0..2"], 254),
    ] {
        let output = dyno(&args, folder.path());
        assert_eq!(output.status.code(), Some(status), "{args:?}: {output:?}");
    }
}

#[test]
fn seeds_that_were_to_cover_everything_and_were_too_few_are_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let run = dyno(&["sim", "--until-covered", "--seeds", "0..3", "--json"], folder.path());
    let found = document(&run);
    assert_eq!(found["verdict"], "unknown", "{found}");
    let never: Vec<_> = found["never"].as_array().unwrap().iter().collect();
    assert!(
        never.contains(&&"a fault of every kind on a cluster of every kind".into()),
        "{never:?}"
    );
    let run = dyno(&["sim", "--seeds", "0..3", "--json"], folder.path());
    assert_eq!(document(&run)["verdict"], "valid", "three seeds are not asked for so much");
}

/// A node that stood still drops a stray by the word of its homes, which is old by then: one of them has left
/// since, and let go of it when all later homes had it.
#[test]
fn a_stray_may_go_by_the_word_of_a_home_that_has_left_since() {
    let folder = tempfile::tempdir().unwrap();
    for seed in ["30029", "33884", "79204"] {
        let output = dyno(&["sim", "--seeds", seed], folder.path());
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "seed {seed}: {said}");
    }
}

/// Who was hit by faults that are aimed at what the cluster does, as the history tells it: who they should
/// have been is told from the lines before.
#[test]
fn faults_hit_who_has_just_acknowledged_or_whom_a_hint_is_for_and_the_same_in_every_run() {
    let text = r#"
        name = "aimed"
        time = "20s"
        faults = ["partition", "pause", "kill"]
        [cluster]
        kind = "sim"
        [fault]
        overlap = 1
        shapes = ["one"]
        targets = ["acknowledged", "hinted"]
    "#;
    let plan = Plan::parse(text, "aimed.toml").unwrap();
    plan.check().unwrap();
    let history = |seed| run(&Scenario::of_plan(&plan, seed), seed, Options::default()).history;
    let mut met: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 0..6 {
        let (lines, again) = (history(seed), history(seed));
        assert!(lines.ops() == again.ops(), "seed {seed}");
        // The last of them is who answered last.
        let mut acknowledged = Vec::new();
        for op in lines.ops() {
            if op.kind == Kind::Ok && matches!(&*op.f, "put" | "delete") {
                let node = op.node.as_deref().unwrap();
                acknowledged.retain(|other| *other != node);
                acknowledged.push(node);
            }
            let Some(value) = op.value.as_ref().filter(|_| op.process == Process::Nemesis) else {
                continue;
            };
            let by = value["chosen"]["by"].as_str();
            let (Some(by), Some(why)) = (by, value["chosen"]["why"].as_str()) else { continue };
            let hit = value["nodes"][0].as_str().unwrap();
            if by == "acknowledged" {
                // The newest, unless another fault has it.
                assert!(
                    acknowledged.iter().rev().take(3).any(|node| *node == hit),
                    "seed {seed}: {value}"
                );
                assert_eq!(why, "it answered the newest acknowledged put");
                let is_newest = acknowledged.last() == Some(&hit);
                *met.entry("newest".to_owned()).or_default() += usize::from(is_newest);
            } else {
                assert!(why.ends_with(" stored a hint for it") && !why.starts_with(hit), "{why}");
            }
            *met.entry(by.to_owned()).or_default() += 1;
        }
    }
    assert!(met["acknowledged"] > 10 && met["hinted"] > 5, "{met:?}");
    assert!(met["newest"] * 10 > met["acknowledged"] * 7, "{met:?}");
}
