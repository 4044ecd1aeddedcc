//! Whole nodes in a simulated world: the world itself, not what nodes promise in it.

#![cfg(feature = "simulation")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dynamo_node::simulation::{Crash, End, Network, World, run};
use dynamo_node::{Client, ClusterClient, Options, Running, Storage};
use dynamo_protocol::{Member, NodeId, Settings, View};
use tokio::time::sleep;

const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

struct Nodes {
    world: World,
    folder: PathBuf,
    running: BTreeMap<NodeId, Running>,
}

impl Nodes {
    async fn start(world: &World, folder: &Path) -> Self {
        let running = BTreeMap::new();
        let mut nodes = Self { world: world.clone(), folder: folder.to_owned(), running };
        for node in NODES {
            nodes.begin(node, true).await;
        }
        nodes
    }

    fn directory(&self, node: NodeId) -> PathBuf {
        self.folder.join(node.to_string())
    }

    async fn begin(&mut self, node: NodeId, genesis: bool) {
        let settings = Settings::new([3, 2, 2]);
        let members = NODES.map(|id| Member::new(id, 4)).to_vec();
        let view = View::genesis(&settings, members).unwrap();
        let others = NODES.into_iter().filter(|other| *other != node);
        let peers = others.map(|peer| (peer, Network::address(End::Node(node), peer))).collect();
        let _ = self.world.disk(&self.directory(node));
        let options = Options {
            storage: Storage::Simulated(self.directory(node)),
            advertise: Some(Network::address(End::Anyone, node)),
            genesis,
            ..Options::new(node, settings, view, peers)
        };
        let running = self.world.start(options).await.unwrap();
        self.running.insert(node, running);
    }

    fn crash(&mut self, node: NodeId, how: Crash) {
        let running = self.running.remove(&node).unwrap();
        self.world.crash(node, &self.directory(node), running, how);
    }
}

fn client(node: NodeId) -> Client {
    Client::new(Network::address(End::Client(0), node))
}

/// Puts and gets with crashes of all in between: what was read, when it was, and what the network saw.
fn played(seed: u64) -> (Vec<String>, Duration, u64) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    run(seed, async |world| {
        world.set_disks([100, 3_000]);
        let mut nodes = Nodes::start(&world, folder).await;
        let mut read = Vec::new();
        for (round, how) in [Crash::Killed, Crash::Power].into_iter().enumerate() {
            for node in NODES {
                client(node).put("k", "", format!("{round} {node}")).await.unwrap();
            }
            NODES.into_iter().for_each(|node| nodes.crash(node, how));
            assert!(client(NODES[0]).get("k").await.is_err());
            sleep(Duration::from_secs(1)).await;
            for node in NODES {
                nodes.begin(node, false).await;
            }
            sleep(Duration::from_secs(3)).await;
            let got = client(NODES[round]).get("k").await.unwrap();
            assert_eq!(got.values.len(), 3 * (round + 1), "each was acknowledged");
            read.extend(got.values.iter().map(|value| String::from_utf8_lossy(value).into_owned()));
        }
        let ring = ClusterClient::new([Network::address(End::Anyone, NODES[2])]);
        assert_eq!(ring.get("k").await.unwrap().values.len(), 6);
        for (_, running) in std::mem::take(&mut nodes.running) {
            running.stop().await.unwrap();
        }
        (read, world.now(), world.network().carried().digest)
    })
    .unwrap()
}

#[test]
fn what_was_acknowledged_outlives_crashes_of_all_and_a_seed_goes_the_same_way_twice() {
    let (one, other) = (played(1), played(1));
    assert_eq!(one, other);
    assert!(one.1 > Duration::from_secs(8), "that was virtual time: {:?}", one.1);
    assert_ne!(one.2, played(2).2);
}
