//! Traces on real processes, step by step: equal to the core, or a difference that is named.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

// Shared with the tests that play goldens in the simulator.
#[path = "../../dynamo-node/sim/tests/goldens/player.rs"]
mod player;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use dynamo_protocol::{Identity, Key, NodeId, RequestId, Role, Timer, Versioning};
use dynamo_sim::Recorder;
use dynamo_sim::disk::DiskFault;
use dynamo_sim::trace::{Cluster, Op, Step, Sync, Trace};
use dyno::simulated::run::{Options, run};
use dyno::simulated::scenario::Scenario;
use dyno::simulated::shrink::shrink;
use serde_json::Value;

const DYNO: &str = env!("CARGO_BIN_EXE_dyno");

/// Replays on real processes; the exit status, what was found, and the errors.
fn replayed(path: &Path, more: &[&str]) -> (Option<i32>, Value, String) {
    let mut command = Command::new(DYNO);
    command.arg("replay").arg(path).args(["--on", "local", "--json"]).args(more);
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let last = text.lines().last().unwrap_or("null");
    let found = serde_json::from_str(last).unwrap_or(Value::Null);
    (output.status.code(), found, String::from_utf8(output.stderr).unwrap())
}

fn kept(folder: &tempfile::TempDir, trace: &Trace) -> PathBuf {
    let path = folder.path().join("trace.json");
    fs::write(&path, trace.to_json()).unwrap();
    path
}

fn is_equal(trace: &Trace) {
    let folder = tempfile::tempdir().unwrap();
    let (status, found, errors) = replayed(&kept(&folder, trace), &[]);
    assert_eq!(status, Some(0), "{}: {found:#} {errors}", trace.name);
    assert_eq!(found["steps"], trace.steps.len());
    let touched = trace.steps.iter().filter(|entry| entry.digest.is_some()).count();
    assert!(found["compared"].as_u64().unwrap() >= touched as u64, "{found:#}");
}

/// A scenario under way.
struct Scene(Recorder);

impl Scene {
    fn new(cluster: Cluster) -> Self {
        let mut scene = Self(Recorder::new(cluster).unwrap());
        for node in cluster.ids() {
            scene.take(Step::Start { node, incarnation: u64::from(node.0), spare: None });
        }
        scene
    }

    fn take(&mut self, step: Step) {
        let at = self.0.bench().now() + 7;
        self.0.take_at(at, step.clone()).unwrap_or_else(|why| panic!("{step:?}: {why}"));
    }

    fn put(&mut self, node: u16, request: u64, read: Option<u64>) {
        let value = Some(format!("v{request}").into());
        let op = Op::Put { key: "k".into(), value, read: read.map(RequestId), made_up: None };
        self.take(Step::Client { node: NodeId(node), request: RequestId(request), op });
    }

    fn get(&mut self, node: u16, request: u64) {
        let op = Op::Get { key: "k".into() };
        self.take(Step::Client { node: NodeId(node), request: RequestId(request), op });
    }

    /// Delivers everything that can arrive, until nothing is under way.
    fn drain(&mut self) {
        loop {
            let bench = self.0.bench();
            let can_arrive = bench.flight().find(|(_, sent)| {
                bench.host(sent.to).node().is_some() && !bench.is_cut(sent.from, sent.to)
            });
            let Some((message, _)) = can_arrive else { return };
            self.take(Step::Deliver { message, again: false });
        }
    }

    /// The first timer of `node` that `wanted` takes runs out.
    fn timer(&mut self, node: u16, wanted: impl Fn(&Timer) -> bool) {
        let timers = self.0.bench().host(NodeId(node)).timers();
        let timer = *timers.iter().find(|timer| wanted(timer)).unwrap();
        self.take(Step::Timer { node: NodeId(node), timer });
    }

    /// The homes of the key in their order, then the others.
    fn nodes(&self) -> Vec<u16> {
        let (homes, others) = self.0.bench().view().preference_list(&Key::from("k"));
        homes.iter().chain(others).map(|node| node.0).collect()
    }
}

#[test]
fn a_trace_written_by_hand_needs_no_digests() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces/put-crash-get.json");
    let (status, found, errors) = replayed(&path, &[]);
    assert_eq!(status, Some(0), "{found:#} {errors}");
    assert_eq!((&found["steps"], &found["compared"]), (&13.into(), &12.into()));
    assert!(found["outputs"].as_u64().unwrap() > 15, "{found:#}");
}

#[test]
fn every_golden_comes_out_equal() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dynamo-node/sim/tests/goldens");
    let goldens = player::goldens(&folder);
    let replay = |(name, script): &(String, String)| {
        let played = player::play(name, script).unwrap();
        assert!(played.text == *script, "{name}: `cargo golden` tells how it differs");
        is_equal(&played.trace);
    };
    // A few at a time: their processes wait for their disks more than they compute.
    std::thread::scope(|threads| {
        for part in goldens.chunks(goldens.len().div_ceil(4)) {
            threads.spawn(|| part.iter().for_each(replay));
        }
    });
}

#[test]
fn crash_wipe_partition_hint_forgotten_and_damaged_records_come_out_equal() {
    let mut scene = Scene::new(Cluster::new(4, [3, 2, 2]));
    let [a, b, c, d] = scene.nodes()[..] else { unreachable!() };
    let id = NodeId;
    scene.put(a, 1, None);
    scene.drain();
    // A home is cut off; its fallback takes a hint.
    for other in [a, c, d] {
        scene.take(Step::Cut { from: id(other), to: id(b) });
        scene.take(Step::Cut { from: id(b), to: id(other) });
    }
    scene.get(a, 2);
    scene.drain();
    scene.put(a, 3, Some(2));
    scene.drain();
    scene.timer(a, |timer| matches!(timer, Timer::Hedge(_)));
    scene.drain();
    // The fallback crashes and starts again on its hint; the home forgets its record.
    scene.take(Step::Crash { node: id(d), keep: 0 });
    scene.take(Step::Disk { node: id(b), fault: DiskFault::Forget(Role::Home, "k".into()) });
    scene.take(Step::Start { node: id(d), incarnation: 77, spare: None });
    for other in [a, c, d] {
        scene.take(Step::Heal { from: id(other), to: id(b) });
        scene.take(Step::Heal { from: id(b), to: id(other) });
    }
    scene.drain();
    scene.put(b, 4, None);
    scene.drain();
    // One is wiped, one damaged while it is down, one cannot read.
    scene.take(Step::Crash { node: id(c), keep: 0 });
    scene.take(Step::Wipe { node: id(c), identity: Identity(999) });
    scene.take(Step::Start { node: id(c), incarnation: 78, spare: None });
    scene.take(Step::Crash { node: id(a), keep: 0 });
    scene.take(Step::Disk { node: id(a), fault: DiskFault::Damage(Role::Home, "k".into()) });
    scene.take(Step::Start { node: id(a), incarnation: 79, spare: None });
    scene.take(Step::Disk { node: id(b), fault: DiskFault::ReadsFail(1) });
    scene.take(Step::Unreachable { node: id(a), peer: id(d) });
    scene.get(a, 5);
    scene.drain();
    scene.take(Step::Pause { node: id(b) });
    scene.take(Step::Resume { node: id(b) });
    scene.put(a, 6, Some(5));
    scene.drain();
    is_equal(&scene.0.finish("by hand"));
}

#[test]
fn what_was_not_synced_is_gone_after_a_crash_and_what_was_kept_is_there() {
    for keep in [0, 1] {
        let mut scene = Scene::new(Cluster { sync: Sync::Explicit, ..Cluster::new(3, [3, 2, 2]) });
        scene.put(1, 1, None);
        scene.take(Step::Synced { node: NodeId(1), changes: 1 });
        scene.put(1, 2, None);
        scene.take(Step::Crash { node: NodeId(1), keep });
        scene.take(Step::Start { node: NodeId(1), incarnation: 9, spare: None });
        scene.get(1, 3);
        scene.drain();
        scene.take(Step::Disk { node: NodeId(2), fault: DiskFault::WritesFail(1) });
        scene.put(2, 4, Some(3));
        is_equal(&scene.0.finish(format!("power cut, {keep} kept")));
    }
}

#[test]
fn a_shrunk_seed_comes_out_equal() {
    let losing = |seed| {
        let mut scenario = Scenario::drawn(seed);
        if scenario.cluster.spares > 0 {
            // Stepped processes have the membership that they begin with.
            return None;
        }
        // Held to what dotted versions keep.
        scenario.cluster.settings.versioning = Versioning::Lww;
        scenario.is_drawn = false;
        scenario.time = Duration::from_secs(1);
        let lost = |violations: &[_]| {
            violations.iter().any(|v: &dyno::simulated::run::Violation| v.check == "cart")
        };
        let fails = lost(&run(&scenario, seed, Options::default()).violations);
        fails.then(|| shrink(&scenario, seed, "cart", 60)).flatten()
    };
    let shrunk = (0..50).find_map(losing).unwrap();
    // It is shown again by the whole trace; a part is enough here.
    let mut trace = shrunk.trace;
    trace.steps.truncate(600);
    is_equal(&trace);
}

/// A `dyno` whose nodes are told another W than the trace says.
fn with_another_w(folder: &Path) -> PathBuf {
    let path = folder.join("dyno-with-another-w");
    let script = format!("#!/bin/sh\nexec {DYNO} \"$@\" -w 3\n");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn a_node_that_does_otherwise_is_caught_and_its_first_difference_named() {
    let mut scene = Scene::new(Cluster::new(3, [3, 2, 2]));
    scene.put(1, 1, None);
    scene.drain();
    let trace = scene.0.finish("acknowledged at two");
    is_equal(&trace);
    let folder = tempfile::tempdir().unwrap();
    let program = with_another_w(folder.path());
    let more = ["--binary", program.to_str().unwrap()];
    let (status, found, errors) = replayed(&kept(&folder, &trace), &more);
    assert_eq!(status, Some(1), "{found:#} {errors}");
    let difference = &found["difference"];
    assert_eq!((&difference["step"], &difference["node"]), (&6.into(), &"n1".into()));
    let expected = difference["expected"].as_str().unwrap();
    assert!(expected.contains("Acknowledged") || expected.contains("Done"), "{difference:#}");
}

#[test]
fn a_digest_that_is_wrong_in_the_trace_is_a_difference() {
    let mut scene = Scene::new(Cluster::new(3, [3, 2, 2]));
    scene.put(1, 1, None);
    let mut trace = scene.0.finish("another state");
    trace.steps[3].digest = trace.steps[0].digest;
    let folder = tempfile::tempdir().unwrap();
    let (status, found, _) = replayed(&kept(&folder, &trace), &[]);
    assert_eq!(status, Some(1), "{found:#}");
    assert_eq!(found["difference"]["step"], 3);
}

#[test]
fn what_no_process_can_do_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |trace: &Trace, expected: &str| {
        let (status, _, errors) = replayed(&kept(&folder, trace), &[]);
        assert_eq!(status, Some(254), "{errors}");
        assert!(errors.contains(expected) && errors.lines().count() == 1, "{errors}");
    };
    let mut scene = Scene::new(Cluster::new(3, [3, 2, 2]));
    scene.take(Step::Disk { node: NodeId(1), fault: DiskFault::LoseSyncs(1) });
    let mut trace = scene.0.finish("lost syncs");
    refused(&trace, "step 3: lose-syncs");
    trace.steps[3].step = Step::Deliver { message: 4, again: false };
    refused(&trace, "step 3: message 4 is not under way");
    let (status, _, errors) = replayed(&kept(&folder, &trace), &["--binary", "/bin/false"]);
    assert_eq!(status, Some(255), "{errors}");
    fs::write(folder.path().join("trace.json"), "{}").unwrap();
    let (status, _, errors) = replayed(&folder.path().join("trace.json"), &[]);
    assert_eq!(status, Some(254), "{errors}");
}
