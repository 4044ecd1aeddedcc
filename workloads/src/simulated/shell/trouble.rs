//! What goes wrong while clients work, drawn from the seed: with nodes and their disks, and with links.

use std::time::Duration;

use dynamo_node::Durability;
use dynamo_node::simulation::{Crash, End};
use dynamo_protocol::NodeId;
use futures::join;
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;
use tokio::time::sleep;

use super::answers::Trouble;
use super::cluster::Nodes;
use super::crashes::Machines;
use crate::plan::seed::{Purpose, stream};

/// How long power is gone, in milliseconds.
const BLACKOUT: [u64; 2] = [1, 300];
/// Between two looks for nodes that have ended by themselves.
const LOOK: Duration = Duration::from_millis(100);

/// Troubles nodes, their disks and links, for ever.
pub(super) async fn trouble(nodes: &Nodes, seed: u64) {
    let (at_nodes, at_links) = (stream(seed, Purpose::Nemesis), stream(seed, Purpose::Link(0)));
    join!(of_nodes(nodes, at_nodes), of_links(nodes, at_links), watch(nodes));
}

fn draw(rng: &mut ChaCha8Rng, millis: [u64; 2]) -> Duration {
    Duration::from_millis(rng.random_range(millis[0]..=millis[1]))
}

/// Where power goes, and comes back some time later.
pub(super) async fn blackout(nodes: &Nodes, seed: u64, machines: Machines) {
    let mut rng = stream(seed, Purpose::Nemesis);
    nodes.world.power_cut().await;
    let all = nodes.setup.ids();
    let is_cut = |node: &NodeId| machines == Machines::All || nodes.disk(*node).did().is_cut;
    for node in all.iter().copied().filter(is_cut) {
        nodes.crash(node, Crash::Power);
    }
    sleep(draw(&mut rng, BLACKOUT)).await;
    for node in all {
        if !nodes.runs(node) {
            nodes.start(node).await;
        }
    }
}

async fn of_nodes(nodes: &Nodes, mut rng: ChaCha8Rng) {
    let all = nodes.setup.ids();
    // Now and then all is well for so long that nothing is to be felt of what was.
    let gaps = if rng.random_ratio(1, 3) { [4_000, 12_000] } else { [300, 3_000] };
    loop {
        sleep(draw(&mut rng, gaps)).await;
        let Some(node) = all.choose(&mut rng).copied() else { return };
        let hold = draw(&mut rng, [1, 2_500]);
        let syncs = nodes.setup.durability == Durability::Sync;
        // A machine that loses power counts as one that lost its disk, where nothing is synced.
        let power = if syncs && rng.random() { Crash::Power } else { Crash::Killed };
        match rng.random_range(0..100) {
            0..45 => {
                if nodes.crash(node, power) {
                    sleep(hold).await;
                    nodes.start(node).await;
                }
            }
            45..70 => {
                if rng.random() {
                    await_answers(nodes, &all, node).await;
                }
                let stopped = nodes.stop(node).await;
                nodes.world.network().mend();
                nodes.close(Trouble::Nodes);
                if stopped {
                    nodes.counted.borrow_mut().stops += 1;
                    sleep(hold).await;
                    nodes.start(node).await;
                }
            }
            70..85 => nodes.fail(node, rng.random_range(0..6)),
            _ => {
                let mut some = all.clone();
                some.shuffle(&mut rng);
                some.truncate(rng.random_range(2..=all.len()));
                some.retain(|node| nodes.crash(*node, power));
                sleep(hold).await;
                for node in some {
                    nodes.start(node).await;
                }
            }
        }
    }
}

/// Cuts a node off from the others for so long that what it is asked then is open: answers are due only when
/// nobody can be waited for any more.
async fn await_answers(nodes: &Nodes, all: &[NodeId], node: NodeId) {
    let network = nodes.world.network().clone();
    nodes.open(Trouble::Nodes);
    for other in all.iter().filter(|other| **other != node) {
        network.cut(End::Node(node), End::Node(*other));
        network.cut(End::Node(*other), End::Node(node));
    }
    sleep(Duration::from_millis(350)).await;
}

async fn of_links(nodes: &Nodes, mut rng: ChaCha8Rng) {
    let (all, network) = (nodes.setup.ids(), nodes.world.network().clone());
    let gaps = if rng.random_ratio(1, 3) { [5_000, 15_000] } else { [200, 3_000] };
    loop {
        sleep(draw(&mut rng, gaps)).await;
        let (Some(one), Some(other)) =
            (all.choose(&mut rng).copied(), all.choose(&mut rng).copied())
        else {
            return;
        };
        let hold = if rng.random() { [1, 60] } else { [100, 1_500] };
        let hold = draw(&mut rng, hold);
        let client = rng.random_range(0..nodes.setup.sessions);
        match rng.random_range(0..100) {
            0..50 => {
                let ways = cut(&all, one, &mut rng);
                nodes.open(Trouble::Nodes);
                ways.iter().for_each(|(from, to)| network.cut(End::Node(*from), End::Node(*to)));
                nodes.counted.borrow_mut().cuts += 1;
                sleep(hold).await;
                network.mend();
                nodes.close(Trouble::Nodes);
            }
            50..70 => {
                nodes.open(Trouble::Nodes);
                network.reset(End::Node(one), End::Node(other));
                nodes.close(Trouble::Nodes);
            }
            70..85 => {
                let what = Trouble::Client(client, one);
                nodes.open(what);
                let ends = [End::Client(client), End::Node(one)];
                if rng.random() {
                    network.cut(ends[0], ends[1]);
                }
                if rng.random() {
                    network.cut(ends[1], ends[0]);
                }
                sleep(hold).await;
                network.mend();
                nodes.close(what);
            }
            _ => {
                let what = Trouble::Client(client, one);
                nodes.open(what);
                network.reset(End::Client(client), End::Node(one));
                nodes.close(what);
            }
        }
    }
}

/// Between whom nothing passes: some and the others, one way or both; or around one node.
fn cut(all: &[NodeId], one: NodeId, rng: &mut ChaCha8Rng) -> Vec<(NodeId, NodeId)> {
    let side: Vec<_> = match rng.random_range(0..3) {
        0 => vec![one],
        _ => all.iter().copied().filter(|_| rng.random()).collect(),
    };
    let (there, back) = match rng.random_range(0..4) {
        0 => (true, false),
        1 => (false, true),
        _ => (true, true),
    };
    let mut ways = Vec::new();
    for from in &side {
        for to in all.iter().filter(|to| !side.contains(to)) {
            ways.extend(there.then_some((*from, *to)));
            ways.extend(back.then_some((*to, *from)));
        }
    }
    ways
}

/// Starts again who has ended since its disk failed.
async fn watch(nodes: &Nodes) {
    loop {
        sleep(LOOK).await;
        nodes.end_failed();
        if let Some(node) = nodes.reap().await {
            sleep(LOOK).await;
            nodes.start(node).await;
        }
    }
}
