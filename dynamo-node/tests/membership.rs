//! The ring of a running cluster changes: nodes join, leave and are replaced while a client writes, and all
//! that was acknowledged is with the homes it has then.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{bound_socket, peers};
use dynamo_node::record::replay;
use dynamo_node::{
    Admin, Client, Ended, Fatal, Join, Options, Proposed, ReplicaState, RingReport, Running,
    StartError, Storage, start,
};
use dynamo_protocol::membership::{Directory, Edit, Membership, Standing};
use dynamo_protocol::{Epoch, Key, Member, NodeId, Quorum, Settings, View};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const N3: NodeId = NodeId(3);
const N4: NodeId = NodeId(4);
const TOKENS: u16 = 8;

/// A member's place: its directory, and an address that is this test's as long as it holds the socket.
struct Host {
    address: String,
    _socket: TcpSocket,
    running: Option<Running>,
}

struct Bench {
    folder: TempDir,
    settings: Settings,
    hosts: BTreeMap<NodeId, Host>,
}

/// What a client has been told is kept.
struct Writer {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Vec<String>>,
}

impl Bench {
    /// Three members, from their genesis on.
    async fn new(quorum: Quorum) -> Self {
        let mut settings = Settings { quorum, ..Settings::default() };
        settings.timing.exchange = Duration::from_millis(50);
        settings.timing.handoff = Duration::from_millis(50);
        settings.timing.ping = Duration::from_millis(50);
        let folder = tempfile::tempdir().unwrap();
        let mut bench = Self { folder, settings, hosts: BTreeMap::new() };
        for id in [N1, N2, N3] {
            bench.place(id);
        }
        for id in [N1, N2, N3] {
            let addresses = bench.hosts.iter().map(|(id, host)| (*id, host.address.clone()));
            let mut options = bench.options(id);
            options.peers = peers(&addresses.collect(), id);
            options.view = Some(bench.genesis());
            options.genesis = true;
            bench.start(options).await.unwrap();
        }
        bench
    }

    fn genesis(&self) -> View {
        let members = [N1, N2, N3].map(|id| Member::new(id, TOKENS));
        View::genesis(&self.settings, members.to_vec()).unwrap()
    }

    fn place(&mut self, id: NodeId) {
        let socket = bound_socket();
        let address = socket.local_addr().unwrap().to_string();
        self.hosts.insert(id, Host { address, _socket: socket, running: None });
    }

    fn directory(&self, id: NodeId) -> PathBuf {
        self.folder.path().join(id.to_string())
    }

    /// Of a node that is told nothing but who it is, and where its directory lies.
    fn options(&self, me: NodeId) -> Options {
        let mut options = Options::new(me, self.settings, self.genesis(), BTreeMap::new());
        options.view = None;
        options.storage = Storage::Disk(self.directory(me));
        options.record = Some(self.folder.path().join("records"));
        options
    }

    async fn start(&mut self, options: Options) -> Result<(), StartError> {
        let host = self.hosts.get_mut(&options.me).unwrap();
        let listener = TcpListener::bind(&host.address).await.unwrap();
        host.running = Some(start(options, listener).await?);
        Ok(())
    }

    async fn stop(&mut self, id: NodeId) {
        let running = self.hosts.get_mut(&id).unwrap().running.take();
        running.unwrap().stop().await.unwrap();
    }

    /// Stops a node and starts it on what its directory says, and nothing else.
    async fn restart(&mut self, id: NodeId) {
        self.stop(id).await;
        self.start(self.options(id)).await.unwrap();
    }

    fn joining(&self, id: NodeId, seeds: &[NodeId], replace: bool) -> Options {
        let seeds = seeds.iter().map(|seed| self.hosts[seed].address.clone()).collect();
        let patience = Duration::from_secs(20);
        let mut options = self.options(id);
        options.join =
            Some(Join { seeds, tokens: TOKENS, zone: None, replace, forced: false, patience });
        options
    }

    fn admin(&self, id: NodeId) -> Admin {
        Admin::new(self.hosts[&id].address.as_str()).with_deadline(Duration::from_secs(10))
    }

    fn client(&self, id: NodeId) -> Client {
        Client::new(self.hosts[&id].address.as_str())
    }

    async fn ring(&self, id: NodeId) -> RingReport {
        self.admin(id).ring().await.unwrap()
    }

    async fn propose(&self, at: NodeId, edit: Edit) -> Proposed {
        self.admin(at).propose(edit, None).await.unwrap()
    }

    fn running(&self) -> Vec<NodeId> {
        let running = self.hosts.iter().filter(|(_, host)| host.running.is_some());
        running.map(|(id, _)| *id).collect()
    }

    /// Until every node that runs goes by `epoch`, counts wherever it is a home, and holds nothing else.
    async fn finished(&self, epoch: u64) {
        let mut last = String::new();
        let is_finished = eventually(async || {
            for id in self.running() {
                let Ok(report) = self.admin(id).ring().await else { return false };
                let at = report.latest().epoch();
                let left = (report.filling, report.strays, report.expects_strays, report.hints);
                last = format!("{id} at epoch {at}: filling, strays, hints are {left:?}");
                if at != Epoch(epoch) || left != (0, Some(0), false, 0) {
                    return false;
                }
            }
            true
        });
        let is_finished = is_finished.await;
        assert!(is_finished, "epoch {epoch} is not finished: {last}");
    }

    /// Every key is read through every node, and lies with each of its homes.
    async fn holds(&self, keys: &[String]) {
        let running = self.running();
        let report = self.ring(running[0]).await;
        let view = View::of(&self.settings, report.epochs).unwrap();
        for key in keys {
            for home in view.homes(&Key::from(key.as_str())) {
                let replica = self.admin(*home).read_replica(key.clone()).await.unwrap();
                let ReplicaState::Found(found) = &replica else {
                    panic!("{key} at its home {home}: {replica:?}")
                };
                assert_eq!(found.values, [key], "at its home {home}");
            }
        }
        for id in running {
            let client = self.client(id);
            for key in keys {
                assert_eq!(client.get(key.clone()).await.unwrap().values, [key], "through {id}");
            }
        }
    }

    async fn write_some(&self) -> Vec<String> {
        let client = self.client(N1);
        let keys: Vec<_> = (0..100).map(|n| format!("before-{n}")).collect();
        for key in &keys {
            client.put(key.clone(), "", key.clone()).await.unwrap();
        }
        keys
    }

    fn write(&self, through: NodeId, name: &'static str) -> Writer {
        let (client, stop) = (self.client(through), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for n in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let key = format!("{name}-{n}");
                // What is refused, or not answered, is not asked for again: it promises nothing.
                if client.put(key.clone(), "", key.clone()).await.is_ok() {
                    acknowledged.push(key);
                }
            }
            acknowledged
        });
        Writer { stop, task }
    }

    async fn end(mut self) {
        for id in self.running() {
            self.stop(id).await;
        }
        let replayed = replay(&self.folder.path().join("records")).unwrap();
        assert!(replayed.difference.is_none(), "{}", replayed.difference.unwrap());
        assert_eq!(replayed.cut_short, 0);
    }
}

impl Writer {
    async fn acknowledged(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let acknowledged = self.task.await.unwrap();
        assert!(!acknowledged.is_empty());
        acknowledged
    }
}

async fn eventually(mut holds: impl AsyncFnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        if holds().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

fn directory(membership: &Membership, id: NodeId) -> Directory {
    membership.seat(id).unwrap().directory
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_joins_one_leaves_and_one_is_replaced_and_nothing_acknowledged_is_lost() {
    ring_changes(Quorum::Sloppy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ring_of_a_strict_cluster_changes_and_nothing_acknowledged_is_lost() {
    ring_changes(Quorum::Strict).await;
}

async fn ring_changes(quorum: Quorum) {
    let mut bench = Bench::new(quorum).await;
    let mut keys = bench.write_some().await;

    // A fourth joins while a client writes; nobody else is started anew.
    bench.place(N4);
    let writer = bench.write(N1, "join");
    bench.start(bench.joining(N4, &[N1], false)).await.unwrap();
    bench.finished(2).await;
    keys.extend(writer.acknowledged().await);
    bench.finished(2).await;
    bench.holds(&keys).await;
    let mut dropped = 0;
    for id in [N1, N2, N3] {
        let status = bench.admin(id).status().await.unwrap();
        dropped += status.counters.unwrap().strays_dropped;
    }
    assert!(dropped > 0, "what the fourth took over is with nobody who is no home of it");

    // Whoever starts again goes by its directory, and finds the others by it.
    bench.restart(N1).await;
    bench.restart(N4).await;
    bench.finished(2).await;

    // One leaves while a client writes, is drained, and is removed. In doubt a node proposes nothing.
    let writer = bench.write(N4, "leave");
    assert!(eventually(async || bench.ring(N1).await.proven).await);
    assert_eq!(bench.propose(N1, Edit::Leave { node: N2 }).await, Proposed::Decided(Epoch(3)));
    let is_drained = eventually(async || {
        let report = bench.ring(N2).await;
        let latest = report.latest();
        latest.seat(N2).is_some_and(|seat| seat.standing == Standing::Leaving)
            && report.is_drained()
    });
    assert!(is_drained.await, "{:?}", bench.ring(N2).await);
    keys.extend(writer.acknowledged().await);
    bench.restart(N2).await;
    bench.finished(3).await;
    let gone = directory(bench.ring(N1).await.latest(), N2);
    let edit = Edit::Gone { node: N2, directory: gone, forced: false };
    assert_eq!(bench.propose(N1, edit).await, Proposed::Decided(Epoch(4)));
    let mut removed = bench.hosts.get_mut(&N2).unwrap().running.take().unwrap();
    let ended = removed.ended().await.unwrap_err();
    assert!(matches!(ended, Ended::Fatal(Fatal::Removed { epoch: Epoch(4), .. })), "{ended}");
    let refused = bench.start(bench.options(N2)).await.unwrap_err();
    assert!(matches!(refused, StartError::Removed { .. }), "{refused}");
    bench.finished(4).await;
    bench.holds(&keys).await;

    // One loses its directory, and comes back with an empty one in its place, while a client writes.
    bench.stop(N3).await;
    std::fs::remove_dir_all(bench.directory(N3)).unwrap();
    let writer = bench.write(N1, "replace");
    let refused = bench.start(bench.joining(N3, &[N2, N1], false)).await.unwrap_err();
    assert!(refused.to_string().contains("give --replace"), "{refused}");
    bench.start(bench.joining(N3, &[N2, N1], true)).await.unwrap();
    bench.finished(5).await;
    keys.extend(writer.acknowledged().await);
    bench.finished(5).await;
    bench.holds(&keys).await;

    // The one that was removed comes back with an empty directory.
    std::fs::remove_dir_all(bench.directory(N2)).unwrap();
    bench.start(bench.joining(N2, &[N3], false)).await.unwrap();
    bench.finished(6).await;
    bench.holds(&keys).await;
    bench.end().await;
}
