//! Nodes that are stepped by hand do what the core does in memory, step by step.
#![cfg(feature = "faults")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use common::{on_disk, options, view};
use dynamo_node::stepped::{Nonces, Step};
use dynamo_node::{Admin, Client, ClientError, Running, start};
use dynamo_protocol::{
    ClientOp, Context, Digest, Identity, Input, Key, MemoryStore, Meta, Node, NodeId, Outbox,
    Output, Reply, RequestId, Start, Time,
};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// The core in memory, beside the same node as a server.
struct Pair {
    node: Node,
    store: MemoryStore,
    running: Running,
    admin: Admin,
    _folder: TempDir,
}

impl Pair {
    async fn start(id: u16) -> Self {
        let folder = TempDir::new().unwrap();
        let (identity, incarnation) = (Identity(u64::from(id) * 11), u64::from(id) * 7);
        let mut options = options(NodeId(id), 3, BTreeMap::new());
        options.genesis = true;
        options.storage = on_disk(&folder);
        options.stepped =
            Some(Nonces { identity: Some(identity), incarnation, spare: None, counts: false });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let running = start(options, listener).await.unwrap();
        assert_eq!(running.identity(), identity);
        let meta = Meta::genesis(identity);
        let node = Node::new(
            NodeId(id),
            Arc::default(),
            Arc::new(view(3)),
            Start::proven(meta, incarnation),
        );
        let admin = Admin::new(running.address().to_string());
        Self { node, store: MemoryStore::new(meta), running, admin, _folder: folder }
    }

    /// Takes the step on both, and compares.
    async fn step(&mut self, now: Time, input: Input) -> Vec<Output> {
        let take = Step::Take { now: now.0, input: input.clone(), hold: false };
        let stepped = self.admin.step(&take).await.unwrap();
        let mut outbox = Outbox::default();
        self.node.handle(now, input, &mut self.store, &mut outbox);
        assert_eq!(stepped.outputs, outbox.outputs);
        let MemoryStore { meta, records, .. } = &self.store;
        assert_eq!(stepped.digest, Digest::of_host(Some(&self.node), meta, records));
        stepped.outputs
    }
}

#[tokio::test]
async fn three_servers_stepped_by_hand_go_through_the_states_of_the_core() {
    let mut pairs = BTreeMap::new();
    for id in 1..=3 {
        pairs.insert(NodeId(id), Pair::start(id).await);
    }
    let mut waiting: VecDeque<_> = pairs.keys().map(|id| (*id, Input::Started)).collect();
    let key = Key::from("k");
    for request in 0..6 {
        let value = Some(Bytes::from(format!("v{request}")));
        let put = ClientOp::Put { key: key.clone(), context: Context::default(), value };
        let op = if request % 2 == 0 { put } else { ClientOp::Get { key: key.clone() } };
        let node = NodeId(request % 3 + 1);
        waiting.push_back((node, Input::Client { request: RequestId(request.into()), op }));
    }
    let mut replies = Vec::new();
    let mut steps = 0;
    while let Some((node, input)) = waiting.pop_front() {
        steps += 1;
        for output in pairs.get_mut(&node).unwrap().step(Time(steps), input).await {
            match output {
                Output::Send(envelope) => waiting.push_back((envelope.to, Input::Peer(envelope))),
                Output::Reply(request, reply) => replies.push((request, reply)),
                Output::SetTimer(..) | Output::CancelTimer(_) | Output::Event(_) => {}
            }
        }
    }
    assert!(steps > 20, "{steps} steps");
    assert_eq!(replies.len(), 6);
    assert_eq!(replies.iter().filter(|(_, reply)| matches!(reply, Reply::Done { .. })).count(), 3);
    for pair in pairs.into_values() {
        pair.running.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_stepped_node_hears_no_client_and_another_is_not_stepped() {
    let pair = Pair::start(1).await;
    let client = Client::new(pair.running.address().to_string());
    let refused = client.put("k", "", "v").await.unwrap_err();
    assert!(matches!(&refused, ClientError::Refused(why) if why.contains("stepped")), "{refused}");
    pair.running.stop().await.unwrap();

    let cluster = common::Cluster::start(3).await;
    let step = Step::Sync { changes: 1 };
    let refused = cluster.admin(NodeId(1)).step(&step).await.unwrap_err();
    assert!(matches!(refused, ClientError::Refused(_)), "{refused}");
    cluster.stop().await;
}
