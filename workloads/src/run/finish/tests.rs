//! The final phase over clients and a cluster of nothing.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use checker::history::History;
use dynamo_protocol::Key;

use super::*;
use crate::cluster::fake::FakeCluster;
use crate::interpreter::Tally;
use crate::plan::Plan;
use crate::run::journal::Journal;

/// Answers as it is told to.
struct Scripted<F>(F);

impl<F: Fn(&Call) -> Completion + Send + Sync + 'static> Client for Scripted<F> {
    async fn call(&self, _: Worker, call: Call, _: Option<Bytes>) -> Completion {
        (self.0)(&call)
    }
}

fn nothing() -> Completion {
    Completion::Ok { values: vec![], context: Some(Bytes::new()) }
}

struct Finished {
    closing: Closing,
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Finished {
    fn history(&self) -> History {
        History::read(&self.path).unwrap()
    }

    fn finals(&self) -> usize {
        let history = self.history();
        history.pairs().filter(|pair| pair.f() == "get" && pair.is_final()).count()
    }
}

async fn finished(
    cluster: Arc<FakeCluster>,
    client: impl Fn(&Call) -> Completion + Send + Sync + 'static,
) -> Finished {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    let journal = Arc::new(Journal::create(&path).unwrap());
    let tally = Arc::new(Tally::default());
    let client = Arc::new(Counted::new(Scripted(client), cluster.clone()));
    let mut interpreter = Interpreter::new(client, journal, tally, 4);
    let view = Plan::default().view().unwrap();
    let keys = BTreeSet::from(["cart-1".into(), "cart-2".into()]);
    let patience = Duration::from_millis(100);
    let (view, keys) = (&view, &keys);
    let phase = Phase { cluster: &*cluster, view, keys, patience, exchange: None };
    let closing = finish(&phase, &mut interpreter).await.unwrap();
    Finished { closing, _dir: dir, path }
}

fn cluster() -> Arc<FakeCluster> {
    Arc::new(FakeCluster::new(5, false))
}

#[tokio::test]
async fn reads_that_all_succeed_finish_a_run() {
    let finished = finished(cluster(), |_| nothing()).await;
    assert!(finished.closing.doubts.is_empty(), "{:?}", finished.closing);
    assert!(finished.closing.checks.is_empty());
    assert_eq!(finished.finals(), 10, "two keys through five nodes");
}

#[tokio::test]
async fn homes_that_cannot_be_read_are_no_empty_carts_and_no_accusation() {
    let Closing { checks, doubts, .. } = finished(cluster(), |call| match call.action {
        Action::Home => Completion::Info("no answer".to_owned()),
        _ => nothing(),
    })
    .await
    .closing;
    assert!(doubts[0].contains("6 homes could not be read"), "{doubts:?}");
    assert!(checks.is_empty(), "{checks:?}");
}

#[tokio::test]
async fn gets_that_a_store_at_rest_never_answers_are_its_own_doing() {
    let finished = finished(cluster(), |call| match call.action {
        Action::Get => Completion::Fail("no".to_owned()),
        _ => nothing(),
    })
    .await;
    let what = finished.closing.checks[FINAL_READS].reason.clone().unwrap();
    assert!(what.contains("10 final reads never succeeded, the first: cart-1 from n1"), "{what}");
    assert!(finished.closing.doubts.is_empty(), "{:?}", finished.closing.doubts);
}

#[tokio::test]
async fn gets_that_stand_ins_may_have_answered_are_no_final_reads_and_are_made_again() {
    let cluster = cluster();
    let (impatient, times) = (cluster.clone(), std::sync::atomic::AtomicU64::new(0));
    let finished = finished(cluster, move |call| {
        if call.is_final && call.action == Action::Get && times.fetch_add(1, Ordering::SeqCst) < 9 {
            impatient.set(NodeId(2), |node| node.suspicions += 1);
        }
        nothing()
    })
    .await;
    assert!(finished.closing.doubts.is_empty(), "{:?}", finished.closing);
    assert_eq!(finished.finals(), 10);
    let history = finished.history();
    let gets = history.pairs().filter(|pair| pair.f() == "get" && pair.acknowledged_at().is_some());
    assert!(gets.count() >= 2 + 9 + 10);
}

#[tokio::test]
async fn gets_that_never_count_leave_the_run_in_doubt() {
    let cluster = cluster();
    let impatient = cluster.clone();
    let finished = finished(cluster, move |call| {
        if call.is_final {
            impatient.set(NodeId(2), |node| node.suspicions += 1);
        }
        nothing()
    })
    .await;
    let Closing { checks, doubts, .. } = &finished.closing;
    assert!(doubts[0].contains("10 final reads never counted"), "{doubts:?}");
    assert!(checks.is_empty(), "{checks:?}");
    assert_eq!(finished.finals(), 0);
}

#[tokio::test]
async fn homes_that_differ_are_brought_to_agree_before_anything_is_final() {
    let agreed = AtomicBool::new(false);
    let finished = finished(cluster(), move |call| match call.action {
        // The second get repairs, and not the first.
        Action::Get => {
            agreed.store(true, Ordering::SeqCst);
            nothing()
        }
        _ if call.node == NodeId(1) && !agreed.load(Ordering::SeqCst) => {
            Completion::Ok { values: vec!["old".into()], context: None }
        }
        _ => nothing(),
    })
    .await;
    assert!(finished.closing.doubts.is_empty(), "{:?}", finished.closing);
    assert_eq!(finished.finals(), 10);
}

#[tokio::test]
async fn a_host_that_is_lost_leaves_the_keys_of_others_judged() {
    let cluster = cluster();
    let view = Plan::default().view().unwrap();
    let of = |key| view.homes(&Key::from(key)).iter().collect::<BTreeSet<_>>();
    let lost = **of("cart-1").difference(&of("cart-2")).next().unwrap();
    cluster.set(lost, |node| node.lost = true);
    let finished = finished(cluster, move |call| match call.node {
        node if node == lost => Completion::Fail("no route".to_owned()),
        _ => nothing(),
    })
    .await;
    let Closing { checks, doubts, .. } = &finished.closing;
    assert!(checks.is_empty() && doubts.is_empty(), "{checks:?} {doubts:?}");
    assert_eq!(finished.finals(), 4, "cart-2 through the four that are left");
}

#[tokio::test]
async fn nodes_that_share_one_disk_are_told_by_what_a_stranger_holds() {
    let finished = finished(cluster(), |_| Completion::Ok {
        values: vec!["everywhere".into()],
        context: Some(Bytes::new()),
    })
    .await;
    let untried = &finished.closing.untried;
    assert!(untried.len() == 1 && untried[0].contains("is no home of cart-1"), "{untried:?}");
}
