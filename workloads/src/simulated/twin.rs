//! A fault in a simulated world: what it does there, and from what the simulator draws it.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;
use std::time::Duration;

use dynamo_protocol::NodeId;
use dynamo_sim::World;
use dynamo_sim::disk::DiskFault;
use dynamo_sim::network::Shape;
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use crate::nemesis::aim::Aim;
use crate::nemesis::proof::Told;

/// How long after its return a node may still be about to hear what it missed, in microseconds.
pub(crate) const RETURN: u64 = 400_000;
/// How soon after a peer has gone deaf a disk may be damaged, in microseconds: before either holds the other
/// down.
pub(crate) const BRINK: u64 = 60_000;

/// What a kind of fault does to a world.
pub trait Twin: Debug + Send + Sync {
    /// Brings it about; whether there was anything to bring about.
    fn begin(&self, world: &mut World) -> bool;

    /// Ends it.
    fn end(&self, world: &mut World);

    /// Of one that takes its time: what is due next until it is seen to be in force, or over if it `ends`.
    fn pursue(&self, _world: &mut World, _ends: bool) {}

    /// Whether it is seen to be over.
    fn is_over(&self, world: &World) -> Option<bool> {
        self.is_in_force(world).map(|is_in_force| !is_in_force)
    }

    /// Whether it is seen to be in force. Of some there is nothing to see.
    fn is_in_force(&self, _world: &World) -> Option<bool> {
        None
    }

    /// What it does to links, if it shapes them.
    fn shaped(&self) -> Option<&Shaped> {
        None
    }

    /// How many copies of a key it may cost.
    fn losses(&self) -> usize {
        0
    }

    /// What has to have happened some time before.
    fn preparation(&self) -> Option<Arc<dyn Twin>> {
        None
    }

    /// Where it is to meet something that is under way: faults from `at` to `until` and around that go before
    /// it, and when it begins itself.
    fn eve(&self, _at: u64, _until: u64, _luck: &mut Luck<'_>) -> Option<(Vec<Fault>, u64)> {
        None
    }

    /// Whether its end may follow at once on its beginning.
    fn may_return_at_once(&self) -> bool {
        false
    }

    /// What befalls others while it is in force, from `at` and for `held`.
    fn meanwhile(&self, _at: u64, _held: u64, _luck: &mut Luck<'_>) -> Option<Fault> {
        None
    }
}

/// One fault, from its beginning to its end, in microseconds of virtual time: data, so that a failing run can
/// be made smaller.
#[derive(Clone, Debug)]
pub struct Fault {
    /// When it begins.
    pub at: u64,
    /// When it is healed.
    pub until: u64,
    /// What happens, and to whom.
    pub what: Arc<dyn Twin>,
    /// How the history tells it, if it is one of a plan.
    pub told: Option<Told>,
    /// The nodes whose processes are this fault's alone meanwhile.
    pub holds: Vec<NodeId>,
    /// Whether they are until it is healed, and not only until it is in force.
    pub holds_to_the_end: bool,
    /// Whom it hits is chosen when it begins, if it is: what it is by itself is of who stands in.
    pub late: Option<Late>,
}

/// A fault that is aimed at what the cluster does.
#[derive(Clone, Debug)]
pub struct Late {
    /// By what it chooses.
    pub aim: Aim,
    /// What it is for each that it may hit.
    pub at: BTreeMap<NodeId, Fault>,
}

/// A kind of fault as the simulator draws it by itself.
#[derive(Clone, Copy, Debug)]
pub struct Drawn {
    /// What it is called.
    pub name: &'static str,
    /// Draws one; none, if nothing is left that it could take.
    pub draw: fn(&mut Luck<'_>) -> Option<Arc<dyn Twin>>,
    /// Processes end of it.
    pub ends_processes: bool,
}

/// What a fault is drawn from.
pub struct Luck<'a> {
    /// The cluster.
    pub nodes: &'a [NodeId],
    /// Any of them.
    pub one: NodeId,
    /// The kinds there are.
    pub kinds: &'a [Drawn],
    /// How many copies of a key may still be lost.
    pub losses: usize,
    /// The chances.
    pub rng: &'a mut ChaCha8Rng,
}

/// What is done to the world, at a node.
type Act = Box<dyn Fn(&mut World, NodeId) + Send + Sync>;

/// Something is done to each of these nodes, and undone.
pub struct Each {
    nodes: Vec<NodeId>,
    begin: Act,
    end: Act,
    /// Whether it is seen at a node, if there is something to see.
    is_seen: Option<fn(&World, NodeId) -> bool>,
}

/// Directed links are slow or lossy.
#[derive(Debug)]
pub struct Shaped {
    /// The links.
    pub links: Vec<(NodeId, NodeId)>,
    /// What is added to each.
    pub shape: Shape,
}

impl Drawn {
    pub(crate) const fn new(
        name: &'static str,
        draw: fn(&mut Luck<'_>) -> Option<Arc<dyn Twin>>,
    ) -> Self {
        Self { name, draw, ends_processes: false }
    }

    /// The same, of which processes end.
    pub(crate) const fn that_ends_processes(self) -> Self {
        Self { ends_processes: true, ..self }
    }
}

impl Fault {
    /// One that no plan has.
    #[must_use]
    pub fn new(at: u64, until: u64, what: Arc<dyn Twin>) -> Self {
        let (told, holds, late) = (None, Vec::new(), None);
        Self { at, until, what, told, holds, holds_to_the_end: true, late }
    }

    /// Links that several faults of a plan are on have what all of them add, as real links do: one that ends
    /// leaves the others. Drawn faults have no such manners: the last to touch a link has it.
    pub fn share(&self, in_force: &[&Self], world: &mut World) {
        let Some(shaped) = self.what.shaped().filter(|_| self.told.is_some()) else { return };
        let others: Vec<_> = in_force.iter().filter_map(|fault| fault.what.shaped()).collect();
        for link in &shaped.links {
            let on_it = others.iter().filter(|other| other.links.contains(link));
            let sum = on_it.fold(Shape::default(), |sum, other| sum.and(other.shape));
            world.shape(link.0, link.1, sum);
        }
    }

    /// Whether it is in force now, or, if it `has_ended`, is over: seen, not assumed.
    #[must_use]
    pub fn is_proven(&self, world: &World, has_ended: bool) -> bool {
        let seen = if has_ended { self.what.is_over(world) } else { self.what.is_in_force(world) };
        seen.unwrap_or(true)
    }
}

/// The same fault, at the same time: two that were drawn apart are not one.
impl PartialEq for Fault {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.until) == (other.at, other.until) && Arc::ptr_eq(&self.what, &other.what)
    }
}

impl PartialEq for Drawn {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Luck<'_> {
    /// One node mostly, sometimes several, now and then all.
    pub fn some(&mut self) -> Vec<NodeId> {
        let count = match self.rng.random_range(0..10) {
            0..6 => 1,
            6..9 => self.rng.random_range(1..=self.nodes.len()),
            _ => self.nodes.len(),
        };
        let mut picked: Vec<_> = self.nodes.choose_multiple(self.rng, count).copied().collect();
        picked.sort_unstable();
        picked
    }

    /// A disk to lose a copy of a key from.
    pub fn disk(&mut self) -> Option<NodeId> {
        self.losses = self.losses.checked_sub(1)?;
        Some(self.one)
    }

    /// Some other node, or none as chance has it.
    pub fn peer_of(&mut self, node: NodeId) -> Option<NodeId> {
        self.nodes.choose(self.rng).copied().filter(|peer| *peer != node)
    }
}

impl Each {
    /// Does and undoes something of which there is nothing to see.
    pub(crate) fn new(
        nodes: Vec<NodeId>,
        begin: impl Fn(&mut World, NodeId) + Send + Sync + 'static,
        end: impl Fn(&mut World, NodeId) + Send + Sync + 'static,
    ) -> Self {
        Self { nodes, begin: Box::new(begin), end: Box::new(end), is_seen: None }
    }

    /// Ends processes like this; they are started at the end of the fault.
    pub(crate) fn ended(nodes: Vec<NodeId>, end: fn(&mut World, NodeId)) -> Self {
        Self::new(nodes, end, World::start).seen(|world, node| !world.runs(node))
    }

    /// The disk misbehaves until it is mended.
    pub(crate) fn disk(nodes: Vec<NodeId>, fault: DiskFault) -> Self {
        let misbehave = move |world: &mut World, node| world.disk(node, fault.clone());
        Self::new(nodes, misbehave, |world, node| world.disk(node, DiskFault::Mend))
    }

    /// It is seen by this.
    pub(crate) fn seen(self, is_seen: fn(&World, NodeId) -> bool) -> Self {
        Self { is_seen: Some(is_seen), ..self }
    }
}

impl Debug for Each {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Each").field(&self.nodes).finish()
    }
}

impl Twin for Each {
    fn begin(&self, world: &mut World) -> bool {
        self.nodes.iter().for_each(|node| (self.begin)(world, *node));
        true
    }

    fn end(&self, world: &mut World) {
        self.nodes.iter().for_each(|node| (self.end)(world, *node));
    }

    fn is_in_force(&self, world: &World) -> Option<bool> {
        self.is_seen.map(|is_seen| self.nodes.iter().all(|node| is_seen(world, *node)))
    }
}

impl Shaped {
    /// Of the links from and to `nodes`, among `all`.
    #[must_use]
    pub fn links_of(nodes: &[NodeId], all: &[NodeId], shape: Shape) -> Arc<dyn Twin> {
        let touches = |(from, to): &(NodeId, NodeId)| nodes.contains(from) || nodes.contains(to);
        let links = links_among(all).into_iter().filter(touches).collect();
        Arc::new(Self { links, shape })
    }
}

impl Twin for Shaped {
    fn begin(&self, world: &mut World) -> bool {
        self.links.iter().for_each(|(from, to)| world.shape(*from, *to, self.shape));
        true
    }

    fn end(&self, world: &mut World) {
        self.links.iter().for_each(|(from, to)| world.shape(*from, *to, Shape::default()));
    }

    fn is_in_force(&self, world: &World) -> Option<bool> {
        let has = |(from, to): &(_, _)| world.shape_of(*from, *to).includes(self.shape);
        Some(self.links.iter().all(has))
    }

    fn shaped(&self) -> Option<&Self> {
        Some(self)
    }
}

/// All links among some nodes.
#[must_use]
pub fn links_among(nodes: &[NodeId]) -> Vec<(NodeId, NodeId)> {
    let pairs = nodes.iter().flat_map(|from| nodes.iter().map(|to| (*from, *to)));
    pairs.filter(|(from, to)| from != to).collect()
}

/// Whole microseconds.
#[must_use]
pub fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use dynamo_sim::network::Network;
    use dynamo_sim::trace::Cluster;
    use dynamo_sim::world::Conditions;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_fault_of_a_plan_that_ends_leaves_links_to_the_others_that_are_on_them() {
        let cluster = Cluster::new(3, [3, 2, 2]);
        let view = Arc::new(cluster.view().unwrap());
        let conditions = Conditions { cluster, network: Network::quiet(), sync: 130 };
        let mut world = World::new(conditions, view, 1);
        let all = [1, 2, 3].map(NodeId);
        let on = |node, shape| {
            let what = Shaped::links_of(&[NodeId(node)], &all, shape);
            let told = Told { id: 1, name: "a fault", whom: json!({}) };
            Fault { told: Some(told), ..Fault::new(0, 9, what) }
        };
        let slow = on(1, Shape { delay: 50, jitter: 5, ..Shape::default() });
        let broken = on(2, Shape { loss: 1_000_000, ..Shape::default() });
        slow.what.begin(&mut world);
        slow.share(&[&slow], &mut world);
        broken.what.begin(&mut world);
        broken.share(&[&slow, &broken], &mut world);
        assert!(slow.is_proven(&world, false) && broken.is_proven(&world, false));
        broken.what.end(&mut world);
        broken.share(&[&slow], &mut world);
        assert!(slow.is_proven(&world, false) && broken.is_proven(&world, true));
        slow.what.end(&mut world);
        slow.share(&[], &mut world);
        for (from, to) in links_among(&all) {
            assert_eq!(world.shape_of(from, to), Shape::default());
        }
    }
}
