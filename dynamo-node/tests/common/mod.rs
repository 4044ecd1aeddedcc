//! Three nodes in one process, on loopback.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dynamo_node::{Admin, Client, Options, Running, StatusReport, Storage, start};
use dynamo_protocol::{Key, Member, NodeId, Settings, View};
use tokio::net::{TcpListener, TcpSocket};

/// A port of this test's own at which nobody listens.
pub(crate) fn bound_socket() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    socket
}

/// A cluster whose nodes dial each other directly.
pub(crate) struct Cluster {
    pub(crate) view: View,
    pub(crate) addresses: BTreeMap<NodeId, String>,
    pub(crate) nodes: BTreeMap<NodeId, Running>,
}

/// The view that so many nodes begin with, N=3.
pub(crate) fn view(nodes: u16) -> View {
    let members = (1..=nodes).map(|id| Member::new(NodeId(id), 16)).collect();
    View::genesis(&Settings::default(), members).unwrap()
}

/// Node `me` of so many.
pub(crate) fn options(me: NodeId, nodes: u16, peers: BTreeMap<NodeId, String>) -> Options {
    Options::new(me, Settings::default(), view(nodes), peers)
}

/// The address book of node `me`.
pub(crate) fn peers(addresses: &BTreeMap<NodeId, String>, me: NodeId) -> BTreeMap<NodeId, String> {
    let others = addresses.iter().filter(|(id, _)| **id != me);
    others.map(|(id, address)| (*id, address.clone())).collect()
}

impl Cluster {
    /// Starts `nodes` nodes in memory.
    pub(crate) async fn start(nodes: u16) -> Self {
        Self::start_with(nodes, |_| {}).await
    }

    pub(crate) async fn start_with(nodes: u16, change: impl Fn(&mut Options)) -> Self {
        let mut listeners = BTreeMap::new();
        let mut addresses = BTreeMap::new();
        for id in (1..=nodes).map(NodeId) {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.insert(id, listener.local_addr().unwrap().to_string());
            listeners.insert(id, listener);
        }
        let mut cluster = Self { view: view(nodes), addresses, nodes: BTreeMap::new() };
        for (id, listener) in listeners {
            let mut options = options(id, nodes, peers(&cluster.addresses, id));
            options.genesis = true;
            change(&mut options);
            cluster.nodes.insert(id, start(options, listener).await.unwrap());
        }
        cluster
    }

    pub(crate) fn client(&self, node: NodeId) -> Client {
        Client::new(self.addresses[&node].as_str())
    }

    pub(crate) fn admin(&self, node: NodeId) -> Admin {
        Admin::new(self.addresses[&node].as_str())
    }

    pub(crate) async fn status(&self, node: NodeId) -> StatusReport {
        self.admin(node).status().await.unwrap()
    }

    /// The homes of `key`, and its fallbacks.
    pub(crate) fn preference_list(&self, key: &str) -> (Vec<NodeId>, Vec<NodeId>) {
        let (homes, fallbacks) = self.view.preference_list(&Key::from(key));
        (homes.to_vec(), fallbacks.to_vec())
    }

    pub(crate) async fn stop(self) {
        for node in self.nodes.into_values() {
            node.stop().await.unwrap();
        }
    }
}

/// Asks again and again until `true`, for ten seconds: an answer is awaited, not a time.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < Duration::from_secs(10), "not within ten seconds: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn on_disk(folder: &tempfile::TempDir) -> Storage {
    Storage::Disk(folder.path().join("data"))
}
