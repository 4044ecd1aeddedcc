//! What a node leaves when it ends in order, and what the next start does with it.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use dynamo_node::storage::{Engine, FjallEngine, Space, Write};
use dynamo_node::{Client, Ended, Fatal, Options, Running, Storage, start};
use dynamo_protocol::{Member, NodeId, Settings, View};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// A cluster of one, on the directory at `path`.
async fn serve(path: &Path, genesis: bool) -> (Running, Client) {
    let settings = Settings::new([1, 1, 1]);
    let view = View::genesis(&settings, vec![Member::new(NodeId(1), 16)]).unwrap();
    let mut options = Options::new(NodeId(1), settings, view, BTreeMap::new());
    (options.genesis, options.storage) = (genesis, Storage::Disk(path.to_owned()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let node = start(options, listener).await.unwrap();
    let client = Client::new(node.address().to_string());
    (node, client)
}

/// A node that was stopped with some keys.
async fn stopped(path: &Path) {
    let (node, client) = serve(path, true).await;
    for n in 0..20 {
        client.put(format!("k{n}"), "", format!("v{n}")).await.unwrap();
    }
    node.stop().await.unwrap();
}

/// `k7` is no longer in the engine, which knows nothing of it.
fn lose(path: &Path) {
    let engine = FjallEngine::open(&path.join("engine")).unwrap();
    let mut lost = Vec::new();
    let visit = &mut |key: &[u8], _: &[u8]| {
        if key.ends_with(b"k7") {
            lost.push(Write { space: Space::Home, key: key.to_vec().into(), value: None });
        }
        true
    };
    engine.scan(Space::Home, &[], visit).unwrap();
    assert_eq!(lost.len(), 1);
    engine.commit(lost).unwrap();
}

#[tokio::test]
async fn who_stops_in_order_leaves_the_tree_and_takes_it_up_again() {
    let folder = TempDir::new().unwrap();
    let (path, tree) = (folder.path().join("data"), folder.path().join("data/tree"));
    stopped(&path).await;
    for round in 1..3 {
        assert!(tree.exists());
        let (node, client) = serve(&path, false).await;
        assert!(!tree.exists(), "it is good for one start");
        for n in 0..20 {
            let value = if (1..round).contains(&n) { "again".to_owned() } else { format!("v{n}") };
            assert_eq!(client.get(format!("k{n}")).await.unwrap().values, [value]);
        }
        let key = format!("k{round}");
        let got = client.get(key.clone()).await.unwrap();
        client.put(key, got.context, "again").await.unwrap();
        node.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_record_that_went_while_the_node_was_stopped_ends_it_before_it_answers() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("data");
    stopped(&path).await;
    lose(&path);
    let (mut node, client) = serve(&path, false).await;
    let before = node.identity();
    let answer = client.get("k7").await;
    assert!(answer.is_err(), "{answer:?}");
    let ended = node.ended().await;
    assert!(matches!(ended, Err(Ended::Fatal(Fatal::Storage(_)))), "{ended:?}");
    // Then it is as with any directory that has lost something.
    let (node, _) = serve(&path, false).await;
    assert_ne!(node.identity(), before);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn and_so_it_does_if_nobody_asks_for_it() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("data");
    stopped(&path).await;
    lose(&path);
    let (mut node, _) = serve(&path, false).await;
    let ended = node.ended().await;
    assert!(matches!(ended, Err(Ended::Fatal(Fatal::Storage(_)))), "{ended:?}");
}
