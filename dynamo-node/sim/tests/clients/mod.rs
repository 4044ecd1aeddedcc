//! Worlds driven by small clients and by faults of every kind.

use std::collections::HashMap;
use std::sync::Arc;

use dynamo_protocol::{NodeId, Reply, RequestId, Skew};
use dynamo_sim::World;
use dynamo_sim::disk::DiskFault;
use dynamo_sim::network::{Network, Shape};
use dynamo_sim::trace::{Cluster, Op};
use dynamo_sim::world::{Answer, Conditions};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

pub(crate) const SECOND: u64 = 1_000_000;

pub(crate) fn conditions(cluster: Cluster, seed: u64) -> Conditions {
    let mut network = Network::quiet();
    if seed % 2 == 1 {
        network = Network {
            loss: 10_000,
            reorder: 200_000,
            late: 2_000,
            cut_holds: seed % 4 == 1,
            tells: seed % 8 < 4,
            ..network
        };
    }
    Conditions { cluster, network, sync: 100 }
}

/// Clients that get a key and put or delete it with what they read, or put it without.
pub(crate) struct Clients {
    rng: ChaCha8Rng,
    open: HashMap<RequestId, (String, bool)>,
    written: u64,
    pub(crate) acknowledged: u64,
}

impl Clients {
    pub(crate) fn new(seed: u64) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(seed ^ 0xc11e);
        Self { rng, open: HashMap::new(), written: 0, acknowledged: 0 }
    }

    pub(crate) fn begin(&mut self, world: &mut World) {
        let key = format!("k{}", self.rng.random_range(0..4));
        let node = NodeId(self.rng.random_range(1..=world.bench().cluster().nodes));
        if self.rng.random_ratio(1, 4) {
            self.put(world, node, key, None, false);
        } else {
            let request = world.ask(node, Op::Get { key: key.clone().into() });
            self.open.insert(request, (key, true));
        }
    }

    pub(crate) fn put(
        &mut self,
        world: &mut World,
        node: NodeId,
        key: String,
        read: Option<RequestId>,
        deletes: bool,
    ) {
        self.written += 1;
        let value = (!deletes).then(|| format!("v{}", self.written).into());
        let request =
            world.ask(node, Op::Put { key: key.clone().into(), value, read, made_up: None });
        self.open.insert(request, (key, false));
    }

    pub(crate) fn answered(&mut self, world: &mut World, request: RequestId, answer: &Answer) {
        let Some((key, was_get)) = self.open.remove(&request) else { return };
        match answer {
            Answer::Reply(Reply::Got { .. }) if was_get => {
                let node = NodeId(self.rng.random_range(1..=world.bench().cluster().nodes));
                let deletes = self.rng.random_ratio(1, 3);
                self.put(world, node, key, Some(request), deletes);
            }
            Answer::Reply(Reply::Done { .. }) => self.acknowledged += 1,
            _ => {}
        }
    }

    pub(crate) fn run_until(&mut self, world: &mut World, until: u64) {
        while world.now() < until {
            let next = until.min(world.now() + 10_000);
            while let Some((request, answer)) = world.next(next) {
                self.answered(world, request, &answer);
            }
            self.begin(world);
        }
    }
}

/// One fault after another, at most `wipes` of them wipes.
pub(crate) fn trouble(world: &mut World, rng: &mut ChaCha8Rng, wipes: &mut u32) {
    let nodes = world.bench().cluster().nodes;
    let node = NodeId(rng.random_range(1..=nodes));
    let peer = NodeId(rng.random_range(1..=nodes));
    match rng.random_range(0..12) {
        0 | 1 => world.kill(node),
        2 => world.bench().cluster().ids().for_each(|node| world.power_cut(node)),
        3 => world.pause(node),
        4 | 5 if node != peer => world.cut(node, peer),
        6 => world.bench().cluster().ids().filter(|peer| *peer != node).for_each(|peer| {
            world.cut(node, peer);
            world.cut(peer, node);
        }),
        7 if *wipes > 0 => {
            *wipes -= 1;
            world.wipe(node);
        }
        8 => world.disk(node, DiskFault::WritesFail(DiskFault::FOR_GOOD)),
        9 => world.disk(node, DiskFault::ReadsFail(3)),
        10 => world.fail_sync(node),
        11 if node != peer => {
            world.shape(
                node,
                peer,
                Shape { delay: 150_000, jitter: 50_000, loss: 100_000, ..Shape::default() },
            );
        }
        _ => {
            let offset = rng.random_range(-SECOND.cast_signed()..SECOND.cast_signed());
            world.clock(node, Skew::by(offset));
        }
    }
}

/// All is well again; lets time go on until the cluster is quiet, for so many seconds at most.
pub(crate) fn settle(world: &mut World, seconds: u64) {
    world.mend();
    for _ in 0..10 * seconds {
        if world.bench().unrest().is_none() {
            return;
        }
        let until = world.now() + SECOND / 10;
        while world.next(until).is_some() {}
    }
}

pub(crate) fn run(cluster: Cluster, seed: u64, wipes: u32, record: bool) -> (World, Clients) {
    let view = Arc::new(cluster.view().unwrap());
    let mut world = World::new(conditions(cluster, seed), view, seed);
    if record {
        world.record();
    }
    let mut clients = Clients::new(seed);
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xfa17);
    let mut wipes = wipes;
    for round in 1..=8 {
        clients.run_until(&mut world, round * SECOND - SECOND / 2);
        for _ in 0..rng.random_range(0..4) {
            trouble(&mut world, &mut rng, &mut wipes);
        }
        clients.run_until(&mut world, round * SECOND);
        if rng.random() {
            world.mend();
        }
    }
    settle(&mut world, 20);
    (world, clients)
}

/// Every node has a turn with every other, and looks for tombstones.
pub(crate) fn rest(world: &mut World) {
    let until = world.now() + 12 * SECOND;
    while world.next(until).is_some() {}
}
