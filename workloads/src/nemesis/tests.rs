use checker::history::History;
use checker::history::op::{Op, Process};
use checker::verdict::{CheckReport, Verdict};
use serde_json::json;

use super::aim::Aim;
use super::draw::Draw;
use super::faults::eio::Fails;
use super::faults::powercut::{By, Powercut};
use super::faults::rollback::How;
use super::faults::{Bitflip, Diskfull, Eio, Kill, Pause, Rollback, Wipe};
use super::*;
use crate::cluster::fake::FakeCluster;
use crate::plan::{FaultName, Plan};
use crate::run::coverage;
use crate::run::noticed;
use crate::run::rings::Rings;

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

const FLIPPED: Bitflip = Bitflip { node: A, bits: 1, seed: 7 };
const CUT_OFF: Rollback = Rollback { node: A, how: How::Cut(50) };
const PUT_BACK: Rollback = Rollback { node: A, how: How::PutBack };

fn once(id: FaultId, fault: Fault) -> Episode {
    Episode { id, at: Duration::ZERO, hold: Duration::from_millis(1), fault, aim: None }
}

/// One of each kind, as a plan for six nodes draws them.
fn one_of_each() -> Vec<Episode> {
    let mut plan = Plan { faults: FaultName::ALL.to_vec(), ..Plan::default() };
    plan.cluster.nodes = 6;
    (plan.cluster.settings.n, plan.cluster.settings.w) = (4, 4);
    let view = plan.view().unwrap();
    let drawn = |kind: &FaultName| kind.draw(&mut Draw::new(&plan, 1, &view), Duration::ZERO);
    let mut faults: Vec<_> = FaultName::ALL.iter().filter_map(drawn).collect();
    // Who left is hit by none.
    faults.sort_by_key(|fault| fault.name() == FaultName::Leave);
    (1..).zip(faults).map(|(id, fault)| once(id, fault)).collect()
}

/// The history of these faults of `cluster`, one after the other.
async fn history(cluster: FakeCluster, episodes: Vec<Episode>) -> History {
    history_within(cluster, episodes, 100).await
}

/// The same, each step of which may take so many milliseconds.
async fn history_within(cluster: FakeCluster, episodes: Vec<Episode>, patience: u64) -> History {
    let turns: Vec<_> = episodes.into_iter().map(|episode| vec![episode]).collect();
    history_in_turns(cluster, &turns, patience).await
}

/// The same, those of one turn at once.
async fn history_in_turns(cluster: FakeCluster, turns: &[Vec<Episode>], patience: u64) -> History {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    let journal = Arc::new(Journal::create(&path).unwrap());
    let time = Duration::from_secs(60);
    let terms = Terms { most_lost: 9, refills: true, changes: true, deadline: Duration::ZERO };
    let mut nemesis = Nemesis::new(Arc::new(cluster), journal, terms, time);
    nemesis.patience = Duration::from_millis(patience);
    for episodes in turns {
        nemesis.run(episodes).await.unwrap();
    }
    assert!(nemesis.in_force().is_empty());
    History::read(&path).unwrap()
}

/// What the history of a run against `cluster` shows of each fault.
async fn covered(
    cluster: FakeCluster,
    episodes: Vec<Episode>,
) -> BTreeMap<FaultName, coverage::FaultCoverage> {
    seen(&history(cluster, episodes).await)
}

fn seen(history: &History) -> BTreeMap<FaultName, coverage::FaultCoverage> {
    let plan = Plan { faults: FaultName::ALL.to_vec(), ..Plan::default() };
    let view = plan.view().unwrap();
    coverage::judge(&plan, &Rings::only(view), history, &BTreeMap::new()).faults
}

#[tokio::test]
async fn faults_that_are_done_are_proven_and_healed() {
    // A power cut takes its time.
    let history = history_within(FakeCluster::new(6, false), one_of_each(), 1_000).await;
    for (name, fault) in seen(&history) {
        let of_it = history.iter().filter(|op| op.f == name.as_str());
        let said: Vec<_> = of_it.filter_map(|op| op.error.clone()).collect();
        let done = (fault.installed, fault.proven, fault.healed);
        assert_eq!(done, (1, 1, 1), "{name}: {said:?}");
    }
}

#[tokio::test]
async fn a_cluster_that_only_says_it_does_faults_proves_none() {
    for (name, fault) in covered(FakeCluster::new(6, true), one_of_each()).await {
        assert_eq!((fault.installed, fault.proven), (1, 0), "{name}");
    }
}

/// What the history of a run of one fault shows of disks.
async fn judged(cluster: FakeCluster, fault: impl Into<Fault>) -> Option<CheckReport> {
    noticed::judge(&history(cluster, vec![once(1, fault.into())]).await)
}

#[tokio::test]
async fn nodes_that_do_not_notice_what_befell_their_disks_are_accused_and_nobody_else() {
    for (fault, rule) in [
        (Fault::from(Wipe(A)), "WipeUnnoticed"),
        (CUT_OFF.into(), "RollbackUnnoticed"),
        (PUT_BACK.into(), "RollbackUnnoticed"),
    ] {
        let report = judged(FakeCluster::blind(3), fault.clone()).await.unwrap();
        assert_eq!(report.verdict(), Verdict::Invalid, "{fault:?}");
        assert_eq!(report.details["violations"][0]["rule"], rule);
        let report = judged(FakeCluster::new(3, false), fault.clone()).await.unwrap();
        assert_eq!(report.verdict(), Verdict::Valid, "{fault:?}");
        // What was not done cannot be noticed.
        assert!(judged(FakeCluster::new(3, true), fault.clone()).await.is_none(), "{fault:?}");
    }
}

#[tokio::test]
async fn what_a_disk_can_tell_by_itself_is_not_left_to_peers() {
    for (fault, rule) in [
        (Fault::from(CUT_OFF), Some("RollbackUnnoticed")),
        (FLIPPED.into(), Some("DamageUnnoticed")),
        (PUT_BACK.into(), None),
    ] {
        let cluster = FakeCluster::new(3, false);
        cluster.set(A, |node| node.rolled_back = 1);
        let report = judged(cluster, fault.clone()).await.unwrap();
        let found = report.details.get("violations").map(|found| found[0]["rule"].clone());
        assert_eq!(found, rule.map(Value::from), "{fault:?}");
    }
}

#[tokio::test]
async fn a_node_that_loses_what_it_had_told_or_cannot_start_after_a_power_cut_is_accused() {
    let cut = || Powercut { nodes: vec![A, B], by: By::Disk };
    let refuses = Some("the engine is corrupt: wipe the directory");
    let no_port = Some("the address is in use");
    for (unsynced, refuses, is_accused) in
        [(false, None, false), (true, None, true), (false, refuses, true), (false, no_port, false)]
    {
        let cluster = FakeCluster::new(3, false);
        cluster.set(A, |node| (node.unsynced, node.refuses) = (unsynced, refuses));
        let report = judged(cluster, cut()).await;
        let found = report.map(|report| report.details["violations"][0]["rule"].clone());
        assert_eq!(found, is_accused.then(|| "SyncedLost".into()), "{refuses:?}");
    }
    // Nothing was cut: nothing is held against anybody.
    assert!(judged(FakeCluster::new(3, true), cut()).await.is_none());
}

/// A node of which a write failed.
fn failed() -> [Fault; 3] {
    let eio = |at| Fault::from(Eio { node: A, at });
    [Diskfull { node: A, room: 9 }.into(), eio(Fails::Write), eio(Fails::Sync)]
}

#[tokio::test]
async fn a_node_that_goes_on_after_a_failed_write_or_does_not_say_why_it_ends_is_accused() {
    for fault in failed() {
        for (last_words, rule) in [
            (Some("ended with exit status: 1: the storage failed: no space"), None),
            (Some("ended with exit status: 0"), Some("FailureUntold")),
            (Some("ended with signal: 6 (SIGABRT)"), Some("FailureUntold")),
            (None, Some("FailureIgnored")),
        ] {
            // It takes some seconds to be sure that it does.
            if last_words.is_none() && !matches!(fault, Fault::Diskfull(_)) {
                continue;
            }
            let cluster = FakeCluster::new(3, false);
            cluster.set(A, |node| node.last_words = last_words);
            let history = history_within(cluster, vec![once(1, fault.clone())], 10_000).await;
            let report = noticed::judge(&history).unwrap();
            let found = report.details.get("violations").map(|found| found[0]["rule"].clone());
            assert_eq!(found, rule.map(Value::from), "{fault:?} {last_words:?}");
        }
        assert!(judged(FakeCluster::new(3, true), fault.clone()).await.is_none(), "{fault:?}");
    }
}

#[tokio::test]
async fn a_process_that_is_down_already_cannot_be_killed_and_that_is_said() {
    let cluster = FakeCluster::new(3, false);
    cluster.kill(A).await.unwrap();
    let kill = covered(cluster, vec![once(1, Kill(vec![A]).into())]).await[&FaultName::Kill];
    assert_eq!((kill.skipped, kill.installed), (1, 0));
}

#[tokio::test]
async fn a_fault_of_a_process_that_another_one_holds_waits_for_it_however_long_that_takes() {
    let (patience, long) = (50, Duration::from_millis(250));
    let pause = Episode { hold: long, ..once(1, Pause(vec![A]).into()) };
    let kill = Episode { at: long / 10, ..once(2, Kill(vec![A, B]).into()) };
    let cluster = FakeCluster::new(3, false);
    let history = history_in_turns(cluster, &[vec![pause, kill]], patience).await;
    let seen = seen(&history);
    for name in [FaultName::Pause, FaultName::Kill] {
        let fault = &seen[&name];
        assert_eq!((fault.installed, fault.healed, fault.skipped), (1, 1, 0), "{name}");
    }
}

#[tokio::test]
async fn what_a_broken_run_left_is_healed() {
    let cluster = FakeCluster::new(3, false);
    cluster.kill(A).await.unwrap();
    cluster.pause(B).await.unwrap();
    let episodes = one_of_each();
    let flow = crate::hosts::proxy::Pair::nodes(A, B);
    cluster.shape(episodes[2].id, vec![(flow, crate::hosts::proxy::Shape::CUT)]).await.unwrap();
    assert_eq!(heal_all(&cluster, &episodes).await, [] as [String; 0]);
    for node in cluster.nodes() {
        assert!(matches!(cluster.life(node), Life::Runs(_)));
    }
    assert_eq!(cluster.shaped(flow), crate::hosts::proxy::Shape::PASS);
}

/// What the history of one pause that is aimed says of whom it hits; hints come while it waits.
async fn chosen(aim: Aim, cluster: FakeCluster, lines: &[Op]) -> (Value, Value) {
    let cluster = Arc::new(cluster);
    let journal = Arc::new(Journal::in_memory());
    for line in lines {
        journal.append(line.clone()).unwrap();
    }
    let terms = Terms { most_lost: 9, refills: true, changes: true, deadline: Duration::ZERO };
    let nemesis = Nemesis::new(cluster.clone(), journal.clone(), terms, Duration::from_secs(60));
    let hold = Duration::from_millis(600);
    let episode = Episode { aim: Some(aim), hold, ..once(1, Pause(vec![A]).into()) };
    let hints = async {
        sleep(hold / 6).await;
        cluster.set(NodeId(3), |node| node.hints += 1);
    };
    let (done, ()) = tokio::join!(nemesis.run(std::slice::from_ref(&episode)), hints);
    done.unwrap();
    let lines = journal.take();
    let injected = lines.iter().find(|line| line.f == "pause").unwrap();
    let value = injected.value.clone().unwrap();
    assert_eq!((injected.kind, &value["step"]), (Kind::Invoke, &Value::from("inject")));
    (value["nodes"].clone(), value["chosen"].clone())
}

#[tokio::test]
async fn a_fault_hits_who_has_just_acknowledged_unless_he_cannot_be_hit() {
    let put = |node: &str| Op::new(Process::Client(1), Kind::Ok, "put").node(node);
    let lines = [put("n3"), put("n2")];
    let why = json!({ "by": "acknowledged", "why": "it answered the newest acknowledged put" });
    let told = chosen(Aim::Acknowledged, FakeCluster::new(3, false), &lines).await;
    assert_eq!(told, (json!(["n2"]), why.clone()));
    let cluster = FakeCluster::new(3, false);
    cluster.kill(B).await.unwrap();
    assert_eq!(chosen(Aim::Acknowledged, cluster, &lines).await, (json!(["n3"]), why));
    let (nodes, told) = chosen(Aim::Acknowledged, FakeCluster::new(3, false), &[]).await;
    assert_eq!(nodes, json!(["n1"]));
    assert!(told["stands_in"].as_str().unwrap().starts_with("nobody"), "{told}");
}

#[tokio::test]
async fn a_fault_waits_for_a_hint_and_hits_whom_it_is_for() {
    // Of the fake's nodes each stores hints for all others, or for none.
    let (nodes, told) = chosen(Aim::Hinted, FakeCluster::new(3, false), &[]).await;
    assert_eq!((nodes, &told["why"]), (json!(["n1"]), &json!("n3 stored a hint for it")));
    let cluster = FakeCluster::new(3, false);
    cluster.kill(NodeId(3)).await.unwrap();
    let (nodes, told) = chosen(Aim::Hinted, cluster, &[]).await;
    let missed = "no hint was stored within 300 ms for anybody who may be hit";
    assert_eq!((nodes, &told["stands_in"]), (json!(["n1"]), &json!(missed)));
}
