//! Faults of the simulator, drawn whole before a run: data, so that a failing run can be made smaller.

use dynamo_protocol::NodeId;
use dynamo_sim::World;
use dynamo_sim::disk::DiskFault;
use dynamo_sim::network;
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::nemesis::partition::{among, to_first};
use crate::plan::Shape;

/// One fault, from its beginning to its end, in microseconds of virtual time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When it begins.
    pub at: u64,
    /// When it is healed.
    pub until: u64,
    /// What happens, and to whom.
    pub what: What,
    /// How the history calls it, if it is to be there.
    pub journal: Option<Journal>,
}

/// A fault as the history has it: number, name, and whom it hits.
pub type Journal = (u64, &'static str, Value);

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Processes end and are started again at the end of the fault.
    Kill(Vec<NodeId>),
    /// Processes stand still.
    Pause(Vec<NodeId>),
    /// Directed links are cut.
    Cut(Vec<(NodeId, NodeId)>),
    /// Directed links are slow or lossy.
    Shape(Vec<(NodeId, NodeId)>, network::Shape),
    /// A wall clock is off.
    Clock(NodeId, i64),
    /// The power of hosts is cut; their processes start at the end of the fault.
    PowerCut(Vec<NodeId>),
    /// A disk is emptied, its process ended; it starts at the end of the fault.
    Wipe(NodeId),
    /// The disk refuses writes.
    DiskFull(NodeId),
    /// So many reads fail on each of these disks.
    ReadErrors(Vec<NodeId>, u32),
    /// So many writes fail on each of these disks.
    WriteErrors(Vec<NodeId>, u32),
    /// The next sync fails.
    SyncError(NodeId),
    /// Syncs take so many times as long.
    SlowDisk(NodeId, u64),
    /// A record is damaged where it lies.
    BitFlip(NodeId),
    /// A backup of a disk is taken.
    BackUp(NodeId),
    /// A disk is as it was when it was backed up, its process ended; it starts at the end of the fault.
    Rollback(NodeId),
}

/// The kinds of fault, as a scenario chooses among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// [`What::Kill`].
    Kill,
    /// [`What::Pause`].
    Pause,
    /// [`What::Cut`].
    Partition,
    /// [`What::Shape`] with delay.
    Delay,
    /// [`What::Shape`] with loss.
    Loss,
    /// [`What::Clock`].
    Clock,
    /// [`What::PowerCut`] of one host or all.
    PowerCut,
    /// [`What::Wipe`].
    Wipe,
    /// [`What::DiskFull`].
    DiskFull,
    /// [`What::ReadErrors`], [`What::WriteErrors`], [`What::SyncError`].
    Eio,
    /// [`What::SlowDisk`].
    SlowDisk,
    /// [`What::BitFlip`].
    BitFlip,
    /// [`What::Rollback`], and the backup before it.
    Rollback,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Kill,
        Self::Pause,
        Self::Partition,
        Self::Delay,
        Self::Loss,
        Self::Clock,
        Self::PowerCut,
        Self::Wipe,
        Self::DiskFull,
        Self::Eio,
        Self::SlowDisk,
        Self::BitFlip,
        Self::Rollback,
    ];

    /// Whether processes end of it.
    #[must_use]
    pub fn ends_processes(self) -> bool {
        matches!(self, Self::Kill | Self::PowerCut | Self::Wipe | Self::Eio)
    }
}

/// What faults are drawn from.
#[derive(Clone, Debug, PartialEq)]
pub struct Weather {
    /// The kinds there are.
    pub kinds: Vec<Kind>,
    /// How many copies of a key may be lost: wiped disks and damaged records together.
    pub losses: usize,
    /// The mean time between two faults, in microseconds.
    pub gap: u64,
    /// The mean time a fault is held, in microseconds.
    pub hold: u64,
}

/// How soon after its return a node may lose its disk, in microseconds: what it missed is on its way.
const RETURN: u64 = 400_000;

/// How soon after a peer has gone deaf a record may be damaged, in microseconds: before either holds the
/// other down.
const BRINK: u64 = 60_000;

/// How slow the answers of a node may be that is about to lose its disk, in microseconds.
const SLOW: u64 = 100_000;

/// How old a backup may be that is restored, in microseconds.
const AGE: u64 = 2_000_000;

/// How soon a wiped node may be started again, in microseconds.
const QUICK: u64 = 20_000;

/// Draws the faults of a run of `time` microseconds. They overlap as chance has it.
pub fn draw(weather: &Weather, nodes: &[NodeId], time: u64, rng: &mut ChaCha8Rng) -> Vec<Fault> {
    let (mut faults, mut losses) = (Vec::new(), weather.losses);
    let mut at = rng.random_range(0..weather.gap);
    while at < time && !weather.kinds.is_empty() {
        let kind = *weather.kinds.choose(rng).expect("there are kinds");
        let until = time.min(at + rng.random_range(weather.hold / 10..=2 * weather.hold));
        if let Some(what) = what(kind, nodes, &mut losses, rng) {
            let mut begins = at;
            if rng.random()
                && let Some((eve, loss)) = eve(&what, at, until, nodes, rng)
            {
                let within = eve.into_iter().filter(|fault| fault.at < time);
                faults.extend(within.map(|fault| Fault { until: fault.until.min(time), ..fault }));
                begins = loss;
            }
            if let What::Rollback(node) = &what {
                let taken = begins.saturating_sub(rng.random_range(0..AGE));
                let what = What::BackUp(*node);
                faults.push(Fault { at: taken, until: taken, what, journal: None });
            }
            // A wiped node that returns at once meets what its predecessor said and nobody has heard yet.
            let held = match &what {
                What::Wipe(_) | What::Rollback(_) if rng.random() => rng.random_range(0..QUICK),
                _ => until - at,
            };
            let until = begins + held;
            if let What::Rollback(node) = &what
                && weather.kinds.contains(&Kind::Kill)
                && rng.random()
            {
                let dark = dark(*node, begins, held, nodes, rng);
                faults.extend((dark.at < time).then_some(dark));
            }
            if begins < time {
                faults.push(Fault { at: begins, until: until.min(time), what, journal: None });
            }
        }
        at += rng.random_range(weather.gap / 10..=2 * weather.gap);
    }
    faults
}

/// What goes before the loss of a copy, so that it is lost while something is under way: faults from `at` to
/// `until` and around, and when the loss begins.
fn eve(
    loss: &What,
    at: u64,
    until: u64,
    nodes: &[NodeId],
    rng: &mut ChaCha8Rng,
) -> Option<(Vec<Fault>, u64)> {
    let fault = |at, until, what| Fault { at, until, what, journal: None };
    match loss {
        // Its node has just come back and is being told of all that it missed; what it answers is slow to
        // arrive.
        What::Wipe(node) => {
            let begins = until + rng.random_range(0..RETURN);
            let slow = network::Shape { delay: 0, jitter: rng.random_range(0..SLOW), loss: 0 };
            let answers = links(nodes).into_iter().filter(|(from, _)| from == node).collect();
            let away = fault(at, until, What::Kill(vec![*node]));
            Some((vec![away, fault(until, begins + SLOW, What::Shape(answers, slow))], begins))
        }
        // A peer has missed the latest, and tells what is old.
        What::BitFlip(node) => {
            let peer = nodes.choose(rng).filter(|peer| *peer != node)?;
            let deaf = fault(at, until, What::Cut(vec![(*node, *peer)]));
            Some((vec![deaf], at + rng.random_range(0..BRINK)))
        }
        // A peer that remembers is out of reach when it comes back, or has just forgotten all that it had not
        // written.
        What::Rollback(node) => {
            let peer = nodes.choose(rng).filter(|peer| *peer != node)?;
            let begins = at + rng.random_range(0..BRINK);
            let away = vec![(*node, *peer), (*peer, *node)];
            Some((vec![fault(at, until + rng.random_range(0..RETURN), What::Cut(away))], begins))
        }
        _ => None,
    }
}

/// While `node` is down, from `at` and for `held`, all others end too and come back: who remembers
/// anything of it afterwards has it from a disk.
fn dark(node: NodeId, at: u64, held: u64, nodes: &[NodeId], rng: &mut ChaCha8Rng) -> Fault {
    let others = nodes.iter().copied().filter(|other| *other != node).collect();
    let at = at + rng.random_range(0..=held);
    Fault { at, until: at + rng.random_range(0..BRINK), what: What::Kill(others), journal: None }
}

fn what(kind: Kind, nodes: &[NodeId], losses: &mut usize, rng: &mut ChaCha8Rng) -> Option<What> {
    let one = *nodes.choose(rng)?;
    Some(match kind {
        Kind::Kill => What::Kill(some(nodes, rng)),
        Kind::Pause => What::Pause(some(nodes, rng)),
        Kind::Partition => What::Cut(cuts(nodes, rng)),
        Kind::Delay => {
            let shape = network::Shape {
                delay: rng.random_range(1_000..300_000),
                jitter: rng.random_range(0..100_000),
                loss: 0,
            };
            What::Shape(of_node(one, nodes), shape)
        }
        Kind::Loss => {
            let shape = network::Shape {
                loss: rng.random_range(10_000..600_000),
                ..network::Shape::default()
            };
            What::Shape(of_node(one, nodes), shape)
        }
        Kind::Clock => What::Clock(one, rng.random_range(-2_000_000..2_000_000)),
        Kind::PowerCut if rng.random() => What::PowerCut(nodes.to_vec()),
        Kind::PowerCut => What::PowerCut(some(nodes, rng)),
        Kind::Wipe => {
            *losses = losses.checked_sub(1)?;
            What::Wipe(one)
        }
        Kind::DiskFull => What::DiskFull(one),
        Kind::Eio => match rng.random_range(0..3) {
            0 => What::ReadErrors(some(nodes, rng), times(rng)),
            1 => What::WriteErrors(some(nodes, rng), times(rng)),
            _ => What::SyncError(one),
        },
        Kind::SlowDisk => What::SlowDisk(one, rng.random_range(10..1_000)),
        Kind::BitFlip => {
            *losses = losses.checked_sub(1)?;
            What::BitFlip(one)
        }
        Kind::Rollback => {
            *losses = losses.checked_sub(1)?;
            What::Rollback(one)
        }
    })
}

/// How often a disk fails: a few times, or until it is mended.
fn times(rng: &mut ChaCha8Rng) -> u32 {
    if rng.random_ratio(1, 4) { DiskFault::FOR_GOOD } else { rng.random_range(1..20) }
}

/// One node mostly, sometimes several, now and then all.
fn some(nodes: &[NodeId], rng: &mut ChaCha8Rng) -> Vec<NodeId> {
    let count = match rng.random_range(0..10) {
        0..6 => 1,
        6..9 => rng.random_range(1..=nodes.len()),
        _ => nodes.len(),
    };
    let mut picked: Vec<_> = nodes.choose_multiple(rng, count).copied().collect();
    picked.sort_unstable();
    picked
}

/// The directed links a partition cuts: one node, halves, a bridge, one way, or any set at all.
fn cuts(nodes: &[NodeId], rng: &mut ChaCha8Rng) -> Vec<(NodeId, NodeId)> {
    let mut order = nodes.to_vec();
    order.shuffle(rng);
    let shape = rng.random_range(0..6);
    let share = rng.random_range(10..60);
    let cuts = match shape {
        0 => among(Shape::One, &order),
        1 => among(Shape::RandomHalves, &order),
        2 => among(Shape::Bridge, &order),
        3 => among(Shape::OneWay, &order),
        4 => to_first(&order),
        _ => return links(nodes).into_iter().filter(|_| rng.random_ratio(share, 100)).collect(),
    };
    cuts.into_iter().map(|cut| (cut.from, cut.to)).collect()
}

fn of_node(node: NodeId, nodes: &[NodeId]) -> Vec<(NodeId, NodeId)> {
    links(nodes).into_iter().filter(|(from, to)| *from == node || *to == node).collect()
}

/// The links at either end of which one of `nodes` is.
#[must_use]
pub fn links_of(nodes: &[NodeId], all: &[NodeId]) -> Vec<(NodeId, NodeId)> {
    let touches = |(from, to): &(NodeId, NodeId)| nodes.contains(from) || nodes.contains(to);
    links(all).into_iter().filter(touches).collect()
}

fn links(nodes: &[NodeId]) -> Vec<(NodeId, NodeId)> {
    let pairs = nodes.iter().flat_map(|from| nodes.iter().map(|to| (*from, *to)));
    pairs.filter(|(from, to)| from != to).collect()
}

impl Fault {
    /// Brings it about; whether there was anything to bring about.
    pub fn begin(&self, world: &mut World) -> bool {
        match &self.what {
            What::Kill(nodes) => nodes.iter().for_each(|node| world.kill(*node)),
            What::Pause(nodes) => nodes.iter().for_each(|node| world.pause(*node)),
            What::Cut(links) => links.iter().for_each(|(from, to)| world.cut(*from, *to)),
            What::Shape(links, shape) => {
                links.iter().for_each(|(from, to)| world.shape(*from, *to, *shape));
            }
            What::Clock(node, offset) => world.clock(*node, *offset),
            What::PowerCut(nodes) => nodes.iter().for_each(|node| world.power_cut(*node)),
            What::Wipe(node) => world.wipe(*node),
            What::DiskFull(node) => {
                world.disk(*node, DiskFault::WritesFail(DiskFault::FOR_GOOD));
            }
            What::ReadErrors(nodes, times) => {
                nodes.iter().for_each(|node| world.disk(*node, DiskFault::ReadsFail(*times)));
            }
            What::WriteErrors(nodes, times) => {
                nodes.iter().for_each(|node| world.disk(*node, DiskFault::WritesFail(*times)));
            }
            What::SyncError(node) => world.fail_sync(*node),
            What::SlowDisk(node, times) => world.slow_disk(*node, *times),
            What::BitFlip(node) => return world.damage(*node).is_some(),
            What::BackUp(node) => world.back_up(*node),
            What::Rollback(node) => world.roll_back(*node),
        }
        true
    }

    /// Ends it.
    pub fn end(&self, world: &mut World) {
        match &self.what {
            What::Kill(nodes) | What::PowerCut(nodes) => {
                nodes.iter().for_each(|node| world.start(*node));
            }
            What::Pause(nodes) => nodes.iter().for_each(|node| world.resume(*node)),
            What::Cut(links) => links.iter().for_each(|(from, to)| world.heal(*from, *to)),
            What::Shape(links, _) => {
                links
                    .iter()
                    .for_each(|(from, to)| world.shape(*from, *to, network::Shape::default()));
            }
            What::Clock(node, _) => world.clock(*node, 0),
            What::Wipe(node) | What::Rollback(node) => world.start(*node),
            What::DiskFull(node) => world.disk(*node, DiskFault::Mend),
            What::ReadErrors(nodes, _) | What::WriteErrors(nodes, _) => {
                nodes.iter().for_each(|node| world.disk(*node, DiskFault::Mend));
            }
            What::SlowDisk(node, _) => world.slow_disk(*node, 1),
            What::SyncError(_) | What::BitFlip(_) | What::BackUp(_) => {}
        }
    }

    /// Links that several faults of a plan are on have what all of them add, as real links do: one that ends
    /// leaves the others. Drawn faults have no such manners: the last to touch a link has it.
    pub fn share(&self, in_force: &[&Self], world: &mut World) {
        let What::Shape(links, _) = &self.what else { return };
        for link in links.iter().filter(|_| self.journal.is_some()) {
            let on_it = in_force.iter().filter_map(|fault| match &fault.what {
                What::Shape(links, shape) if links.contains(link) => Some(*shape),
                _ => None,
            });
            world.shape(link.0, link.1, on_it.fold(network::Shape::default(), network::Shape::and));
        }
    }

    /// Whether it is in force now, or, if it `has_ended`, is over: seen, not assumed.
    #[must_use]
    pub fn is_proven(&self, world: &World, has_ended: bool) -> bool {
        let is_in_force = match &self.what {
            What::Kill(nodes) | What::PowerCut(nodes) => {
                nodes.iter().all(|node| !world.runs(*node))
            }
            What::Wipe(node) | What::Rollback(node) => !world.runs(*node),
            What::Pause(nodes) => nodes.iter().all(|node| world.bench().host(*node).is_paused()),
            What::Cut(links) => links.iter().all(|(from, to)| world.bench().is_cut(*from, *to)),
            What::Shape(links, shape) => {
                links.iter().all(|(from, to)| world.shape_of(*from, *to).includes(*shape))
            }
            What::Clock(..)
            | What::DiskFull(_)
            | What::ReadErrors(..)
            | What::WriteErrors(..)
            | What::SyncError(_)
            | What::SlowDisk(..)
            | What::BitFlip(_)
            | What::BackUp(_) => return true,
        };
        is_in_force != has_ended
    }

    /// How many copies of a key it may cost.
    #[must_use]
    pub fn losses(&self) -> usize {
        let loses = matches!(self.what, What::Wipe(_) | What::BitFlip(_) | What::Rollback(_));
        usize::from(loses)
    }
}

#[cfg(test)]
mod tests {
    use dynamo_sim::network::{Network, Shape};
    use dynamo_sim::trace::Cluster;
    use dynamo_sim::world::Conditions;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_fault_of_a_plan_that_ends_leaves_links_to_the_others_that_are_on_them() {
        let cluster = Cluster::new(3, [3, 2, 2]);
        let view = std::sync::Arc::new(cluster.view().unwrap());
        let conditions = Conditions { cluster, network: Network::quiet(), sync: 130 };
        let mut world = World::new(conditions, view, 1);
        let all = [1, 2, 3].map(NodeId);
        let on = |node, shape| {
            let what = What::Shape(links_of(&[NodeId(node)], &all), shape);
            Fault { at: 0, until: 9, what, journal: Some((1, "a fault", json!({}))) }
        };
        let slow = on(1, Shape { delay: 50, jitter: 5, loss: 0 });
        let broken = on(2, Shape { loss: 1_000_000, ..Shape::default() });
        slow.begin(&mut world);
        slow.share(&[&slow], &mut world);
        broken.begin(&mut world);
        broken.share(&[&slow, &broken], &mut world);
        assert!(slow.is_proven(&world, false) && broken.is_proven(&world, false));
        broken.end(&mut world);
        broken.share(&[&slow], &mut world);
        assert!(slow.is_proven(&world, false) && broken.is_proven(&world, true));
        slow.end(&mut world);
        slow.share(&[], &mut world);
        for (from, to) in links(&all) {
            assert_eq!(world.shape_of(from, to), Shape::default());
        }
    }
}
