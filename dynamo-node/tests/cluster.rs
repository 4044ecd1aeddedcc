//! Whole nodes over real connections.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Cluster, bound_socket, eventually, on_disk, options, peers};
use dynamo_node::record::replay;
use dynamo_node::{ClientError, Options, ReplicaState, Storage, start};
use dynamo_protocol::{NodeId, Quorum, Settings, Timing, View};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn values(values: Vec<Bytes>) -> BTreeSet<Bytes> {
    values.into_iter().collect()
}

#[tokio::test]
async fn what_is_put_through_one_node_is_got_through_every_other() {
    let cluster = Cluster::start(3).await;
    cluster.client(NodeId(1)).put("k", "", "v").await.unwrap();
    for id in 1..=3 {
        assert_eq!(cluster.client(NodeId(id)).get("k").await.unwrap().values, ["v"]);
    }
    cluster.stop().await;
}

#[tokio::test]
async fn concurrent_puts_are_siblings_until_a_put_with_their_context() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client(NodeId(1));
    assert_eq!(client.get("k").await.unwrap(), dynamo_node::Got::default());
    client.put("k", "", "a").await.unwrap();
    client.put("k", "", "b").await.unwrap();
    let got = client.get("k").await.unwrap();
    assert_eq!(values(got.values), values(vec!["a".into(), "b".into()]));
    client.put("k", got.context, "c").await.unwrap();
    let got = client.get("k").await.unwrap();
    assert_eq!(got.values, ["c"]);
    client.delete("k", got.context).await.unwrap();
    assert!(client.get("k").await.unwrap().values.is_empty());
    cluster.stop().await;
}

#[tokio::test]
async fn what_was_put_alone_is_overwritten_without_a_get() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client(NodeId(1));
    let put = client.put("k", "", "a").await.unwrap();
    let put = client.put("k", put.context.unwrap(), "b").await.unwrap();
    assert_eq!(client.get("k").await.unwrap().values, ["b"]);
    let blind = client.put("k", "", "c").await.unwrap();
    assert_eq!(blind.context, None, "its client has not read what stands beside it");
    let deleted = client.delete("k", put.context.unwrap()).await.unwrap();
    assert_eq!(deleted.context, None);
    assert_eq!(client.get("k").await.unwrap().values, ["c"]);
    cluster.stop().await;
}

#[tokio::test]
async fn a_node_that_is_no_home_forwards() {
    let cluster = Cluster::start(5).await;
    let (homes, others) = cluster.preference_list("k");
    cluster.client(others[0]).put("k", "", "v").await.unwrap();
    assert_eq!(cluster.client(others[1]).get("k").await.unwrap().values, ["v"]);
    let status = cluster.status(others[0]).await;
    assert_eq!(status.counters.unwrap().forwarded, 1);
    eventually("all homes have it", async || {
        let mut found = 0;
        for home in &homes {
            if let ReplicaState::Found(record) =
                cluster.admin(*home).read_replica("k").await.unwrap()
            {
                assert_eq!(record.values, ["v"]);
                found += 1;
            }
        }
        found == 3
    })
    .await;
    let elsewhere = cluster.admin(others[0]).read_replica("k").await.unwrap();
    assert!(matches!(elsewhere, ReplicaState::Absent(_)), "{elsewhere:?}");
    cluster.stop().await;
}

#[tokio::test]
async fn a_fallback_keeps_a_hint_until_its_target_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(4).await;
    let (homes, _) = cluster.preference_list("k");
    let down = homes[2];
    let address = cluster.addresses[&down].clone();
    cluster.nodes.remove(&down).unwrap().stop().await.unwrap();
    // The first put waits for the dead home until it is suspected, or is told at once that it is.
    for put in 0..3 {
        cluster.client(homes[0]).put("k", "", format!("v{put}")).await.unwrap();
    }
    let hints = async || {
        let mut held = 0;
        for node in cluster.nodes.keys() {
            held += cluster.status(*node).await.hints_held;
        }
        held
    };
    eventually("a hint is held", async || hints().await > 0).await;

    let listener = TcpListener::bind(&address).await.unwrap();
    let mut options = options(down, 4, peers(&cluster.addresses, down));
    options.storage = on_disk(&folder);
    // It is looked at before it is refilled.
    options.settings.timing.exchange = Timing::MOST;
    let back = start(options, listener).await.unwrap();
    eventually("the hint is delivered", async || hints().await == 0).await;
    let replica = cluster.admin(down).read_replica("k").await.unwrap();
    let ReplicaState::Found(record) = replica else { panic!("{replica:?}") };
    assert_eq!(record.values.len(), 3);
    assert!(cluster.status(down).await.amnesiac, "it came back on an empty directory");
    back.stop().await.unwrap();
    cluster.stop().await;
}

/// Two homes of three lose their disks, and wait for each other for good.
#[tokio::test]
async fn a_cluster_that_waits_for_lost_disks_serves_again_by_an_operators_word() {
    let strict = |options: &mut Options| options.settings.quorum = Quorum::Strict;
    let mut cluster = Cluster::start_with(3, strict).await;
    cluster.client(NodeId(3)).put("k", "", "v").await.unwrap();
    eventually("all have it", async || cluster.status(NodeId(3)).await.open_operations == 0).await;
    for id in [1, 2].map(NodeId) {
        cluster.nodes.remove(&id).unwrap().stop().await.unwrap();
        let listener = TcpListener::bind(&cluster.addresses[&id]).await.unwrap();
        let mut options = options(id, 3, peers(&cluster.addresses, id));
        strict(&mut options);
        cluster.nodes.insert(id, start(options, listener).await.unwrap());
    }
    let client = cluster.client(NodeId(3));
    eventually("they hold it again", async || {
        let read = async |id| cluster.admin(id).read_replica("k").await.unwrap();
        let held = [read(NodeId(1)).await, read(NodeId(2)).await];
        held.iter().all(|replica| matches!(replica, ReplicaState::Found(_)))
    })
    .await;
    assert!(client.get("k").await.is_err(), "one of three votes");

    let admin = cluster.admin(NodeId(1));
    assert!(admin.accept_loss().await.unwrap() > 0);
    assert_eq!(admin.accept_loss().await.unwrap(), 0, "it counts everywhere by now");
    eventually("two of three vote", async || {
        client.get("k").await.is_ok_and(|got| got.values == ["v"])
    })
    .await;
    let status = cluster.status(NodeId(1)).await;
    assert_eq!((status.amnesiac, status.losses_accepted), (false, 1));
    // Now the other is refilled by both.
    eventually("the other counts, too", async || !cluster.status(NodeId(2)).await.amnesiac).await;
    assert_eq!(cluster.status(NodeId(2)).await.losses_accepted, 0);
    cluster.stop().await;
}

/// Puts and deletes `key`.
async fn delete(cluster: &Cluster, key: &'static str) {
    let client = cluster.client(NodeId(1));
    client.put(key, "", "v").await.unwrap();
    let got = client.get(key).await.unwrap();
    client.delete(key, got.context).await.unwrap();
}

/// Whether none of `nodes` holds anything of `key` as a home.
async fn is_gone(cluster: &Cluster, key: &'static str, nodes: &[NodeId]) -> bool {
    for node in nodes {
        let replica = cluster.admin(*node).read_replica(key).await.unwrap();
        if !matches!(replica, ReplicaState::Absent(_)) {
            return false;
        }
    }
    true
}

#[tokio::test]
async fn a_deleted_key_leaves_nothing_behind_unless_a_member_is_down() {
    let mut cluster = Cluster::start(4).await;
    delete(&cluster, "k").await;
    let all: Vec<_> = cluster.nodes.keys().copied().collect();
    eventually("nobody holds anything of it", async || is_gone(&cluster, "k", &all).await).await;
    let (mut dropped, (homes, others)) = (0, cluster.preference_list("k"));
    for node in &all {
        dropped += cluster.status(*node).await.counters.unwrap().tombstones_dropped;
    }
    assert!(dropped >= homes.len() as u64, "{dropped} of {}", homes.len());

    // One that is down may have a hint.
    let down = cluster.nodes.remove(&others[0]).unwrap();
    down.stop().await.unwrap();
    delete(&cluster, "k").await;
    eventually("its first home knows who keeps the tombstone", async || {
        let status = cluster.status(homes[0]).await;
        status.tombstones == 1 && status.tombstones_kept_by == [u32::from(others[0].0)]
    })
    .await;
    assert!(!is_gone(&cluster, "k", &homes[..1]).await);
    cluster.stop().await;
}

/// Puts `keys` of 100 bytes, a few hundred at a time, through `client`.
async fn put_all(client: &dynamo_node::Client, keys: std::ops::Range<usize>) {
    let mut puts = tokio::task::JoinSet::<Result<_, ClientError>>::new();
    for index in keys {
        if puts.len() >= 256 {
            puts.join_next().await.unwrap().unwrap().unwrap();
        }
        let client = client.clone();
        puts.spawn(async move { client.put(format!("k{index}"), "", vec![b'v'; 100]).await });
    }
    while let Some(put) = puts.join_next().await {
        put.unwrap().unwrap();
    }
}

/// A node of three loses its disk, which had so many keys, and comes back while others are put; how long it
/// takes until it counts again.
async fn refill(keys: usize, patience: Duration) -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let storage = |id: NodeId| Storage::Disk(folder.path().join(id.to_string()));
    let quickly = |options: &mut Options| {
        options.storage = storage(options.me);
        options.settings.timing.exchange = Duration::from_millis(100);
        // A busy machine is no fault of the refill's.
        options.settings.timing.deadline = Duration::from_secs(5);
    };
    let mut cluster = Cluster::start_with(3, quickly).await;
    let client = cluster.client(NodeId(1)).with_deadline(Duration::from_secs(10));
    put_all(&client, 0..keys).await;
    let lost = NodeId(3);
    cluster.nodes.remove(&lost).unwrap().stop().await.unwrap();
    std::fs::remove_dir_all(folder.path().join(lost.to_string())).unwrap();

    let listener = TcpListener::bind(&cluster.addresses[&lost]).await.unwrap();
    let mut options = options(lost, 3, peers(&cluster.addresses, lost));
    quickly(&mut options);
    let began = Instant::now();
    let back = start(options, listener).await.unwrap();
    assert!(cluster.status(lost).await.amnesiac, "an empty directory cannot tell why it is empty");
    let load = tokio::spawn(async move { put_all(&client, keys..keys + keys / 10).await });
    while cluster.status(lost).await.amnesiac {
        assert!(began.elapsed() < patience, "it is an amnesiac still");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let took = began.elapsed();
    load.await.unwrap();
    let counters = cluster.status(lost).await.counters.unwrap();
    assert_eq!(counters.refilled, 1);
    for index in (0..keys).step_by(keys / 50) {
        let replica = cluster.admin(lost).read_replica(format!("k{index}")).await.unwrap();
        assert!(matches!(replica, ReplicaState::Found(_)), "k{index}: {replica:?}");
    }
    back.stop().await.unwrap();
    cluster.stop().await;
    took
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_its_disk_is_refilled_and_votes_again() {
    refill(1000, Duration::from_secs(60)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement of half a minute: run it with --nocapture on a quiet machine"]
async fn how_long_a_hundred_thousand_keys_take_to_be_refilled() {
    let took = refill(100_000, Duration::from_secs(300)).await;
    println!("100,000 keys of 100 bytes were refilled under load in {took:?}");
}

#[tokio::test]
async fn many_requests_are_under_way_on_one_session() {
    // So many at once are an overload on a machine that does other things: what is tried here is the session.
    let patient = |options: &mut Options| {
        options.settings.timing.deadline = Duration::from_secs(30);
    };
    let cluster = Cluster::start_with(3, patient).await;
    let client = cluster.client(NodeId(1)).with_deadline(Duration::from_secs(40));
    let mut puts = tokio::task::JoinSet::new();
    for index in 0..2000 {
        let client = client.clone();
        puts.spawn(async move { client.put(format!("k{}", index % 500), "", "v").await });
    }
    while let Some(put) = puts.join_next().await {
        put.unwrap().unwrap();
    }
    let counters = cluster.status(NodeId(1)).await.counters.unwrap();
    assert_eq!(counters.acknowledged + counters.forwarded, 2000);
    cluster.stop().await;
}

#[tokio::test]
async fn values_of_a_mebibyte_get_through_and_longer_ones_are_refused() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client(NodeId(1)).with_deadline(Duration::from_secs(10));
    let value = Bytes::from(vec![7; 1 << 20]);
    for _ in 0..4 {
        client.put("k", "", value.clone()).await.unwrap();
    }
    assert_eq!(client.get("k").await.unwrap().values, vec![value; 4]);
    let longer = vec![7; (1 << 20) + 1];
    let refused = client.put("k", "", longer).await.unwrap_err();
    assert!(matches!(refused, ClientError::Refused(_)), "{refused}");
    let unsendable = client.put("k", "", vec![7; 20 << 20]).await.unwrap_err();
    assert!(matches!(unsendable, ClientError::Refused(_)), "{unsendable}");
    assert_eq!(client.get("k").await.unwrap().values.len(), 4);
    cluster.stop().await;
}

#[tokio::test]
async fn a_mangled_context_is_refused() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client(NodeId(1));
    client.put("k", "", "v").await.unwrap();
    let mut context = client.get("k").await.unwrap().context.to_vec();
    context[5] ^= 1;
    let refused = client.put("k", context, "w").await.unwrap_err();
    assert_eq!(refused, ClientError::Refused("the context is malformed".to_owned()));
    assert_eq!(client.get("k").await.unwrap().values, ["v"]);
    cluster.stop().await;
}

#[tokio::test]
async fn strict_quorums_refuse_when_homes_are_gone() {
    let mut cluster =
        Cluster::start_with(3, |options| options.settings.quorum = Quorum::Strict).await;
    for id in [2, 3] {
        cluster.nodes.remove(&NodeId(id)).unwrap().stop().await.unwrap();
    }
    let client = cluster.client(NodeId(1));
    eventually("a put is refused", async || {
        matches!(client.put("k", "", "v").await, Err(ClientError::Refused(_)))
    })
    .await;
    cluster.stop().await;
}

#[tokio::test]
async fn nodes_that_disagree_about_the_cluster_refuse_each_other() {
    let cluster = Cluster::start_with(3, |options| {
        if options.me == NodeId(3) {
            options.cluster = "another".to_owned();
        }
    })
    .await;
    let client = cluster.client(NodeId(3));
    let error = client.put("k", "", "v").await.unwrap_err();
    assert!(matches!(error, ClientError::Refused(_) | ClientError::Indeterminate(_)));
    let received = cluster.status(NodeId(3)).await.counters.unwrap().messages_received;
    assert_eq!(received, 0);
    // The others are enough for each other.
    cluster.client(NodeId(1)).put("k", "", "v").await.unwrap();
    for id in [1, 2] {
        let values = cluster.client(NodeId(id)).get("k").await.unwrap().values;
        assert_eq!(values, ["v"]);
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_request_that_cannot_be_sent_is_refused_and_one_that_broke_is_indeterminate() {
    let closed = bound_socket();
    let refused =
        dynamo_node::Client::new(closed.local_addr().unwrap().to_string()).put("k", "", "v").await;
    assert!(matches!(refused, Err(ClientError::Refused(_))), "{refused:?}");

    // Accepts connections and never says a word: nothing was sent, since no session was opened.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = dynamo_node::Client::new(silent.local_addr().unwrap().to_string());
    let refused = client.with_deadline(Duration::from_millis(100)).put("k", "", "v").await;
    assert!(matches!(refused, Err(ClientError::Refused(_))), "{refused:?}");

    // One node of three: the put is sent and finds no quorum before the node is gone.
    let mut cluster = Cluster::start(3).await;
    for id in [2, 3] {
        cluster.nodes.remove(&NodeId(id)).unwrap().stop().await.unwrap();
    }
    let client = cluster.client(NodeId(1)).with_deadline(Duration::from_millis(20));
    let late = client.put("k", "", "v").await;
    assert!(late.is_err());
    cluster.stop().await;
}

#[tokio::test]
async fn a_client_reconnects_to_a_node_that_was_started_again() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client(NodeId(1));
    client.put("k", "", "v").await.unwrap();
    cluster.nodes.remove(&NodeId(1)).unwrap().stop().await.unwrap();
    let refused = client.get("k").await;
    assert!(refused.is_err());
    let listener = TcpListener::bind(&cluster.addresses[&NodeId(1)]).await.unwrap();
    let options = options(NodeId(1), 3, peers(&cluster.addresses, NodeId(1)));
    let back = start(options, listener).await.unwrap();
    eventually(
        "it answers again",
        async || matches!(client.get("k").await, Ok(got) if got.values == ["v"]),
    )
    .await;
    back.stop().await.unwrap();
    cluster.stop().await;
}

#[tokio::test]
async fn a_stop_answers_what_is_open_and_refuses_what_comes_after() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client(NodeId(1)).with_deadline(Duration::from_secs(10));
    client.get("k").await.unwrap();
    let mut puts = tokio::task::JoinSet::new();
    for index in 0..200 {
        let client = client.clone();
        puts.spawn(async move { client.put(format!("k{index}"), "", "v").await });
    }
    let first = puts.join_next().await.unwrap().unwrap();
    first.unwrap();
    cluster.admin(NodeId(1)).stop().await.unwrap();
    while let Some(put) = puts.join_next().await {
        match put.unwrap() {
            Ok(_) | Err(ClientError::Refused(_) | ClientError::Overloaded { .. }) => {}
            Err(error @ ClientError::Indeterminate(_)) => panic!("left unanswered: {error}"),
        }
    }
    cluster.stop().await;
}

#[tokio::test]
async fn the_clock_is_not_set_without_fault_hooks() {
    let cluster = Cluster::start(3).await;
    let skew = dynamo_protocol::Skew { offset_us: 1_000_000, ..dynamo_protocol::Skew::NONE };
    let refused = cluster.admin(NodeId(1)).set_clock(skew).await.unwrap_err();
    assert!(matches!(&refused, ClientError::Refused(why) if why.contains("--fault-hooks")));
    cluster.stop().await;
}

#[tokio::test]
async fn an_address_book_with_a_gap_or_a_stranger_is_refused() {
    for book in [vec![2], vec![2, 3, 4], vec![1, 2, 3]] {
        let book = book.into_iter().map(|id| (NodeId(id), "127.0.0.1:1".to_owned()));
        let options = options(NodeId(1), 3, book.collect::<BTreeMap<_, _>>());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let error = start(options, listener).await.unwrap_err();
        assert!(error.to_string().contains("--peer"), "{error}");
    }
}

#[tokio::test]
async fn what_a_cluster_did_replays_from_its_records() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start_with(4, |options| {
        options.record = Some(folder.path().join(options.me.to_string()));
    })
    .await;
    let client = cluster.client(NodeId(1));
    for index in 0..100 {
        let key = format!("k{}", index % 10);
        let got = client.get(key.clone()).await.unwrap();
        let context = if index % 3 == 0 { Bytes::new() } else { got.context };
        client.put(key, context, format!("v{index}")).await.unwrap();
    }
    cluster.nodes.remove(&NodeId(4)).unwrap().stop().await.unwrap();
    for index in 0..20 {
        client.put(format!("k{index}"), "", "with a node down").await.unwrap();
    }
    cluster.stop().await;
    let mut steps = 0;
    for id in 1..=4 {
        let replayed = replay(&folder.path().join(NodeId(id).to_string())).unwrap();
        assert!(replayed.difference.is_none(), "{}", replayed.difference.unwrap());
        assert_eq!((replayed.records, replayed.cut_short), (1, 0));
        steps += replayed.steps;
    }
    assert!(steps > 1000, "{steps} steps");
}

#[tokio::test]
async fn a_record_begins_with_what_lay_in_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let records = folder.path().join("records");
    let member = dynamo_protocol::Member::new(NodeId(1), 4);
    let settings = Settings::new([1, 1, 1]);
    let view = View::genesis(&settings, vec![member]).unwrap();
    for round in 0..2 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut options = Options::new(NodeId(1), settings, view.clone(), BTreeMap::new());
        options.storage = on_disk(&folder);
        options.genesis = round == 0;
        options.record = Some(records.clone());
        let node = start(options, listener).await.unwrap();
        let client = dynamo_node::Client::new(node.address().to_string());
        assert_eq!(client.get("k").await.unwrap().values.len(), round);
        client.put("k", "", format!("v{round}")).await.unwrap();
        node.stop().await.unwrap();
    }
    let replayed = replay(&records).unwrap();
    assert!(replayed.difference.is_none(), "{}", replayed.difference.unwrap());
    assert_eq!(replayed.records, 2);
}

#[cfg(feature = "faults")]
#[tokio::test]
async fn a_clock_that_is_ahead_makes_the_last_writer_lose() {
    let cluster = Cluster::start_with(3, |options| {
        options.settings.versioning = dynamo_protocol::Versioning::Lww;
        options.fault_hooks = true;
    })
    .await;
    let ahead = dynamo_protocol::Skew { offset_us: 3_600_000_000, ..dynamo_protocol::Skew::NONE };
    cluster.admin(NodeId(1)).set_clock(ahead).await.unwrap();
    cluster.client(NodeId(1)).put("k", "", "first").await.unwrap();
    cluster.client(NodeId(2)).put("k", "", "last").await.unwrap();
    eventually("all homes have both", async || {
        let mut both = 0;
        for id in 1..=3 {
            let replica = cluster.admin(NodeId(id)).read_replica("k").await.unwrap();
            both += usize::from(matches!(replica, ReplicaState::Found(r) if r.versions == 2));
        }
        both == 3
    })
    .await;
    assert_eq!(cluster.client(NodeId(3)).get("k").await.unwrap().values, ["first"]);
    cluster.stop().await;
}

/// Three nodes that write to disks of their own and are there to be tampered with.
#[cfg(feature = "faults")]
async fn hooked(folder: &tempfile::TempDir) -> Cluster {
    Cluster::start_with(3, |options| {
        let data = folder.path().join(format!("data-{}", options.me));
        options.storage = Storage::Disk(data);
        options.fault_hooks = true;
    })
    .await
}

#[cfg(feature = "faults")]
#[tokio::test]
async fn a_node_whose_write_or_sync_fails_or_whose_disk_is_full_ends_and_says_why() {
    use dynamo_node::Hooks;
    let once = [
        (Hooks { fail_writes: 1, ..Hooks::default() }, "a write failed"),
        (Hooks { fail_syncs: 1, ..Hooks::default() }, "a sync failed"),
        (Hooks { room: Some(100), ..Hooks::default() }, "no space is left"),
    ];
    for (hooks, why) in once {
        let folder = tempfile::tempdir().unwrap();
        let mut cluster = hooked(&folder).await;
        cluster.admin(NodeId(1)).hooks(1, Some(hooks)).await.unwrap();
        // Whoever answers it, it is not that node.
        let _ = cluster.client(NodeId(1)).put("k", "", vec![7; 200]).await;
        let ended = cluster.nodes.remove(&NodeId(1)).unwrap().ended().await.unwrap_err();
        assert!(ended.to_string().contains(why), "{ended}");
        cluster.stop().await;
    }
}

#[cfg(feature = "faults")]
#[tokio::test]
async fn nothing_is_acknowledged_that_waits_for_its_sync() {
    use dynamo_node::Hooks;
    let folder = tempfile::tempdir().unwrap();
    let cluster = hooked(&folder).await;
    let hold = Hooks { hold: true, ..Hooks::default() };
    for id in 1..=3 {
        cluster.admin(NodeId(id)).hooks(1, Some(hold.clone())).await.unwrap();
    }
    let put = cluster.client(NodeId(1)).put("k", "", "v").await;
    assert!(put.is_err(), "{put:?}");
    assert!(cluster.admin(NodeId(1)).hooks(1, None).await.unwrap().held > 0);
    for id in 1..=3 {
        cluster.admin(NodeId(id)).hooks(1, Some(Hooks::default())).await.unwrap();
    }
    cluster.client(NodeId(2)).put("k", "", "w").await.unwrap();
    cluster.stop().await;
}

/// What the four ways to hold syncs up leave of a put through node 1: who holds, and whether it is
/// acknowledged.
#[cfg(feature = "faults")]
async fn acknowledged(durability: dynamo_node::Durability, held: &[u16]) -> bool {
    use dynamo_node::Hooks;
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_with(3, |options| {
        options.storage = Storage::Disk(folder.path().join(options.me.to_string()));
        (options.fault_hooks, options.durability) = (true, durability);
    })
    .await;
    cluster.client(NodeId(1)).put("k", "", "before").await.unwrap();
    for id in held {
        let hold = Hooks { hold: true, ..Hooks::default() };
        cluster.admin(NodeId(*id)).hooks(1, Some(hold)).await.unwrap();
    }
    let put = cluster.client(NodeId(1)).put("k", "", "v").await;
    for id in held {
        cluster.admin(NodeId(*id)).hooks(1, Some(Hooks::default())).await.unwrap();
    }
    cluster.client(NodeId(2)).put("k", "", "after").await.unwrap();
    cluster.stop().await;
    put.is_ok()
}

#[cfg(feature = "faults")]
#[tokio::test]
async fn a_put_waits_for_w_syncs_or_for_its_coordinators_or_for_none() {
    use dynamo_node::Durability::{Buffered, One, Sync};
    assert!(!acknowledged(Sync, &[2, 3]).await);
    assert!(!acknowledged(Sync, &[1]).await);
    assert!(acknowledged(One, &[2, 3]).await, "one durable copy is enough");
    assert!(!acknowledged(One, &[1]).await, "and there has to be one");
    assert!(acknowledged(Buffered, &[1, 2, 3]).await);
}

#[cfg(feature = "faults")]
#[tokio::test]
async fn messages_that_are_lost_sent_twice_or_overtaken_are_counted_and_borne() {
    use dynamo_node::Hooks;
    let folder = tempfile::tempdir().unwrap();
    let cluster = hooked(&folder).await;
    let hooks = Hooks { lose: 50_000, duplicate: 300_000, reorder: 300_000, ..Hooks::default() };
    for id in 1..=3 {
        cluster.admin(NodeId(id)).hooks(1, Some(hooks.clone())).await.unwrap();
    }
    let client = cluster.client(NodeId(1));
    for round in 0..100 {
        let _ = client.put(format!("k{round}"), "", "v").await;
    }
    let hooked = cluster.admin(NodeId(1)).hooks(1, Some(Hooks::default())).await.unwrap();
    assert!(hooked.lost > 0 && hooked.duplicated > 0 && hooked.reordered > 0, "{hooked:?}");
    client.put("k", "", "v").await.unwrap();
    assert_eq!(cluster.client(NodeId(3)).get("k").await.unwrap().values, ["v"]);
    cluster.stop().await;
}

#[tokio::test]
async fn a_client_that_knows_the_ring_asks_homes_and_goes_on_when_one_is_gone() {
    use dynamo_node::ClusterClient;
    let mut cluster = Cluster::start(5).await;
    let seeds: Vec<_> = cluster.addresses.values().cloned().collect();
    let client = ClusterClient::new(["127.0.0.1:1".to_owned(), seeds[0].clone()]);
    let keys: Vec<_> = (0..20).map(|number| format!("key-{number}")).collect();
    for key in &keys {
        client.put(key.clone(), "", "one").await.unwrap();
    }
    let mut forwarded = 0;
    for node in cluster.nodes.keys() {
        forwarded += cluster.status(*node).await.counters.unwrap().forwarded;
    }
    assert_eq!(forwarded, 0, "each was asked of a home");
    let (homes, _) = cluster.preference_list(&keys[0]);
    cluster.nodes.remove(&homes[0]).unwrap().stop().await.unwrap();
    for key in &keys {
        let got = client.get(key.clone()).await.unwrap();
        assert_eq!(got.values, ["one"]);
        client.put(key.clone(), got.context, "two").await.unwrap();
    }
    cluster.stop().await;
}

/// Stands before a node: what it answers comes late, or never.
struct Before {
    silent: Arc<AtomicBool>,
}

impl Before {
    fn start(listener: TcpListener, node: String, late: Duration) -> Self {
        let silent = Arc::new(AtomicBool::new(false));
        let hushed = Arc::clone(&silent);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(node) = TcpStream::connect(&node).await else { continue };
                let (mut asks, mut hears) = client.into_split();
                let (mut answers, mut asked) = node.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut asks, &mut asked).await });
                let hushed = Arc::clone(&hushed);
                tokio::spawn(async move {
                    let mut bytes = vec![0; 1 << 16];
                    while let Ok(count @ 1..) = answers.read(&mut bytes).await {
                        tokio::time::sleep(late).await;
                        if hushed.load(Ordering::SeqCst) {
                            continue;
                        }
                        if hears.write_all(&bytes[..count]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { silent }
    }
}

/// Three nodes, and clients reach the first through something that stands before it.
async fn behind(late: Duration) -> (Cluster, Before) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let told = listener.local_addr().unwrap().to_string();
    let cluster = Cluster::start_with(3, |options| {
        if options.me == NodeId(1) {
            options.advertise = Some(told.clone());
        }
    })
    .await;
    let (node, admin) = (cluster.addresses[&NodeId(1)].clone(), cluster.admin(NodeId(2)));
    let before = Before::start(listener, node, late);
    eventually("node 2 has heard where clients reach node 1", async || {
        admin.ring().await.unwrap().addresses.get(&NodeId(1)) == Some(&told)
    })
    .await;
    (cluster, before)
}

#[tokio::test]
async fn a_put_goes_to_the_node_that_answered_the_get_it_is_made_of() {
    use dynamo_node::ClusterClient;
    // A session opens with one wait for the node, and each answer is another: together well below the
    // deadline.
    let (cluster, _before) = behind(Duration::from_millis(400)).await;
    let client = ClusterClient::new([cluster.addresses[&NodeId(2)].clone()]);
    let keys: Vec<_> = (0..60).map(|number| format!("key-{number}")).collect();
    let keys = keys.iter().filter(|key| cluster.preference_list(key).0[0] == NodeId(1)).take(8);
    let puts = async || cluster.status(NodeId(1)).await.counters.unwrap().acknowledged;
    let mut count = 0;
    for key in keys {
        // Whichever home is asked first, the slow one is not waited for.
        let got = client.get(key.clone()).await.unwrap();
        client.put(key.clone(), got.context, "v").await.unwrap();
        // Any client takes such a context, and so does a delete.
        let got = client.get(key.clone()).await.unwrap();
        assert_eq!(got.values, ["v"]);
        cluster.client(NodeId(3)).put(key.clone(), got.context, "w").await.unwrap();
        let got = client.get(key.clone()).await.unwrap();
        client.delete(key.clone(), got.context).await.unwrap();
        count += 1;
    }
    assert!(count > 2 && puts().await == 0, "{} of {count}", puts().await);
    // Without a context nothing is known, and the key's first home is asked.
    let blind = (0..60).map(|number| format!("key-{number}"));
    let mut blind = blind.filter(|key| cluster.preference_list(key).0[0] == NodeId(1));
    client.put(blind.next_back().unwrap(), "", "v").await.unwrap();
    assert_eq!(puts().await, 1);
    cluster.stop().await;
}

#[tokio::test]
async fn a_put_that_may_have_been_applied_is_asked_of_nobody_else() {
    use dynamo_node::ClusterClient;
    let (cluster, before) = behind(Duration::ZERO).await;
    let client = ClusterClient::new([cluster.addresses[&NodeId(2)].clone()]);
    let client = client.with_deadline(Duration::from_millis(300));
    let keys = (0..60).map(|number| format!("key-{number}"));
    let mut keys = keys.filter(|key| cluster.preference_list(key).0[0] == NodeId(1));
    let key = keys.next_back().unwrap();
    client.put(key.clone(), "", "one").await.unwrap();
    let context = cluster.client(NodeId(3)).get(key.clone()).await.unwrap().context;
    before.silent.store(true, Ordering::SeqCst);
    let put = client.put(key.clone(), context, "two").await;
    assert!(matches!(put, Err(ClientError::Indeterminate(_))), "{put:?}");
    // A get may be asked twice: it changes nothing.
    eventually("the put is there, once", async || {
        client.get(key.clone()).await.unwrap().values == ["two"]
    })
    .await;
    cluster.stop().await;
}
