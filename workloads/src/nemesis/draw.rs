//! Whom the faults of a schedule hit: drawn from the plan's seed.

use std::collections::BTreeMap;
use std::time::Duration;

use dynamo_protocol::{Key, NodeId, View};
use rand::seq::{IndexedRandom, IteratorRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::aim::Aim;
use super::faults::kind::Nature;
use super::shapes;
use crate::plan::seed::{Purpose, stream};
use crate::plan::{Plan, Role, Shape, Target};
use crate::workload::cart::first_keys;

/// How much longer than its exchanges a change of the ring may take until it is finished.
const SETTLES: Duration = Duration::from_secs(1);

/// Cards dealt in random order, all of them before any comes again.
pub(super) struct Deck<T> {
    cards: Vec<T>,
    left: Vec<T>,
}

impl<T: Clone + PartialEq> Deck<T> {
    pub(super) fn new(cards: Vec<T>) -> Self {
        Self { cards, left: Vec::new() }
    }

    pub(super) fn deal(&mut self, rng: &mut ChaCha8Rng) -> Option<T> {
        self.deal_if(rng, |_| true)
    }

    /// The next card that may be dealt now. One that may not stays where it is, and comes first once it may.
    pub(super) fn deal_if(&mut self, rng: &mut ChaCha8Rng, may: impl Fn(&T) -> bool) -> Option<T> {
        if !self.left.iter().any(&may) {
            let mut more = self.cards.clone();
            more.retain(|card| !self.left.contains(card));
            more.shuffle(rng);
            more.append(&mut self.left);
            self.left = more;
        }
        let at = self.left.iter().rposition(may)?;
        Some(self.left.remove(at))
    }
}

/// What one fault after the other is drawn from.
pub(crate) struct Draw<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) view: &'a View,
    pub(crate) rng: ChaCha8Rng,
    keys: Vec<Key>,
    shapes: Deck<Shape>,
    targets: Deck<Target>,
    /// By what is chosen, once it begins, whom the fault hits that is being drawn.
    aim: Option<Aim>,
    /// Until when a node's process is stopped or comes back.
    busy: BTreeMap<NodeId, Duration>,
    /// Who is in, and from when on.
    members: BTreeMap<NodeId, Duration>,
    /// Until when the ring changes, as far as that can be told before the run.
    changes: Duration,
    /// Whose disks were lost, and by when what was on them is restored, if it ever is.
    lost: Vec<(NodeId, Option<Duration>)>,
}

impl<'a> Draw<'a> {
    pub(super) fn new(plan: &'a Plan, seed: u64, view: &'a View) -> Self {
        Self {
            plan,
            view,
            rng: stream(seed, Purpose::Nemesis),
            keys: first_keys(plan.workload.carts, seed),
            shapes: Deck::new(shapes::possible(&plan.fault.shapes, view.members().len())),
            targets: Deck::new(plan.fault.targets.clone()),
            aim: None,
            busy: BTreeMap::new(),
            members: view.ids().map(|node| (node, Duration::ZERO)).collect(),
            changes: Duration::ZERO,
            lost: Vec::new(),
        }
    }

    /// Whether a fault of this nature can begin then without having to wait for another.
    pub(super) fn may(&self, nature: Nature, at: Duration) -> bool {
        let open = |until: &Option<Duration>| until.is_none_or(|until| until > at);
        let lost = self.lost.iter().filter(|(_, until)| open(until)).count();
        let is_filling = self.lost.iter().any(|(_, until)| until.is_some_and(|until| until > at));
        // One that stays lost leaves one for those that are lost again and again.
        let kept = usize::from(!self.is_refilled(nature) && self.plan.refills());
        let may_lose = lost + kept < self.plan.most_lost();
        let may_change = self.changes <= at && !is_filling;
        (may_lose || !nature.loses_a_disk) && (may_change || !nature.changes_the_ring)
    }

    /// A fault of this nature, of these nodes, is held until then.
    pub(super) fn took(&mut self, nature: Nature, nodes: &[NodeId], until: Duration) {
        let timing = &self.plan.cluster.settings.timing;
        let members = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        if nature.changes_the_ring {
            // Until homes that are new have had an exchange with the others.
            self.changes = until + timing.exchange * members + SETTLES;
        }
        if nature.loses_a_disk {
            let finished = until.max(self.changes);
            let restored = finished + timing.deadline + timing.exchange * (members + 2) + SETTLES;
            let restored = self.is_refilled(nature).then_some(restored);
            self.lost.extend(nodes.first().map(|node| (*node, restored)));
        }
    }

    /// Whether the disk that such a fault loses is refilled.
    pub(super) fn is_refilled(&self, nature: Nature) -> bool {
        nature.is_refilled && self.plan.cluster.settings.anti_entropy
    }

    /// A node that is not in, to join: one that never was, if there is any.
    pub(crate) fn newcomer(&mut self, at: Duration) -> Option<NodeId> {
        let is_out = |node: &NodeId| !self.members.contains_key(node);
        let node = self.plan.everybody().into_iter().rfind(is_out)?;
        self.members.insert(node, at + self.plan.fault.hold.0 * 2 + SETTLES);
        Some(node)
    }

    /// A member to leave, if enough are left without it; none that the plan names.
    pub(crate) fn leaver(&mut self, at: Duration) -> Option<NodeId> {
        if self.members.len() <= self.plan.least_members() {
            return None;
        }
        let fault = &self.plan.fault;
        let is_named = |node: NodeId| {
            fault.targets.contains(&Target::Node(node))
                || fault.cuts.iter().any(|cut| [cut.from, cut.to].contains(&node))
        };
        let free = self.free(at).into_iter().filter(|node| !is_named(*node));
        let node = free.choose(&mut self.rng)?;
        self.members.remove(&node);
        Some(node)
    }

    /// A node that stands in for another, first, and that other one.
    pub(crate) fn stand_in(&mut self, at: Duration, nature: Nature) -> Option<[NodeId; 2]> {
        let free = self.free(at);
        let mut keys = self.keys.clone();
        keys.shuffle(&mut self.rng);
        let whole = |node: &NodeId| free.contains(node);
        let pair = keys.iter().find_map(|key| {
            let (homes, fallbacks) = self.view.preference_list(key);
            let first = fallbacks.first().copied().filter(whole)?;
            let homes: Vec<_> = homes.iter().copied().filter(whole).collect();
            Some([first, *homes.choose(&mut self.rng)?])
        })?;
        self.may(nature, at).then_some(pair)
    }

    /// Their processes are not picked again before.
    pub(super) fn stop(&mut self, nodes: &[NodeId], until: Duration) {
        self.busy.extend(nodes.iter().map(|node| (*node, until)));
    }

    /// A disk to lose, while there are any.
    pub(crate) fn disk(&mut self, at: Duration, nature: Nature) -> Option<NodeId> {
        // One that was lost already, and is not refilled, has hardly anything to lose.
        let is_lost = |(node, until): &(NodeId, Option<Duration>), which: NodeId| {
            *node == which && until.is_none_or(|until| until > at)
        };
        let whole = |node: &NodeId| !self.lost.iter().any(|lost| is_lost(lost, *node));
        let node = self.free(at).into_iter().filter(whole).choose(&mut self.rng)?;
        self.may(nature, at).then_some(node)
    }

    /// Whose processes to stop: none that is stopped already, and not half of all together, except
    /// that a target which says more is taken at its word while nobody else is stopped.
    pub(crate) fn processes(&mut self, at: Duration) -> Option<Vec<NodeId>> {
        let free = self.free(at);
        let all = self.nodes(at).len();
        let stopped = all - free.len();
        let target = self.target(at)?;
        let mut picked: Vec<_> = target.into_iter().filter(|node| free.contains(node)).collect();
        if picked.is_empty() {
            picked.extend(free.choose(&mut self.rng));
        }
        if stopped > 0 {
            picked.truncate(all.div_ceil(2).saturating_sub(1 + stopped));
        }
        (!picked.is_empty()).then_some(picked)
    }

    /// Whom to hit of the plan's targets, of those whose processes run and are nobody else's.
    pub(crate) fn running(&mut self, at: Duration) -> Option<Vec<NodeId>> {
        let free = self.free(at);
        let mut picked = self.target(at)?;
        picked.retain(|node| free.contains(node));
        if picked.is_empty() {
            picked.extend(free.choose(&mut self.rng));
        }
        (!picked.is_empty()).then_some(picked)
    }

    /// One whose process to stop.
    pub(crate) fn process(&mut self, at: Duration) -> Option<NodeId> {
        let picked = self.processes(at)?;
        picked.choose(&mut self.rng).copied()
    }

    /// All that are in, if none of them is stopped.
    pub(crate) fn everybody(&self, at: Duration) -> Option<Vec<NodeId>> {
        let all = self.nodes(at);
        (self.free(at).len() == all.len()).then_some(all)
    }

    fn free(&self, at: Duration) -> Vec<NodeId> {
        let is_free = |node: &NodeId| self.busy.get(node).is_none_or(|until| *until <= at);
        self.nodes(at).into_iter().filter(is_free).collect()
    }

    /// Who is in then, and has been for long enough to be hit, in the order of their ids.
    pub(crate) fn nodes(&self, at: Duration) -> Vec<NodeId> {
        self.members.iter().filter(|(_, from)| **from <= at).map(|(node, _)| *node).collect()
    }

    /// The shape of a partition.
    pub(crate) fn shape(&mut self) -> Option<Shape> {
        self.shapes.deal(&mut self.rng)
    }

    /// Whom to hit, of the plan's targets.
    pub(crate) fn target(&mut self, at: Duration) -> Option<Vec<NodeId>> {
        let target = self.targets.deal(&mut self.rng)?;
        self.aim = Aim::of(target);
        let nodes = self.nodes(at);
        let mut picked = self.resolve(target, &nodes);
        // Roles are those of the first ring.
        picked.retain(|node| nodes.contains(node));
        if picked.is_empty() {
            picked = some(&mut self.rng, &nodes, 1);
        }
        Some(picked)
    }

    /// By what is chosen, once it begins, whom the fault hits that was drawn last; whoever was drawn for it
    /// stands in.
    pub(super) fn take_aim(&mut self) -> Option<Aim> {
        self.aim.take()
    }

    fn resolve(&mut self, target: Target, nodes: &[NodeId]) -> Vec<NodeId> {
        let key = match target {
            // Low ones are busier than high ones.
            Target::Role(Role::Hottest) => self.keys.first(),
            _ => self.keys.choose(&mut self.rng),
        };
        let (homes, fallbacks) = match key {
            Some(key) => self.view.preference_list(key),
            None => self.view.preference_list(&Key::from("")),
        };
        let rng = &mut self.rng;
        match target {
            Target::Node(node) => vec![node],
            Target::Home(index) => homes.get(index - 1).copied().into_iter().collect(),
            Target::Role(Role::Coordinator | Role::Hottest) => {
                homes.first().copied().into_iter().collect()
            }
            Target::Role(Role::Homes) => homes.to_vec(),
            // With as many homes as nodes nobody is a fallback.
            Target::Role(Role::Fallback) => match fallbacks.first() {
                Some(node) => vec![*node],
                None => some(rng, nodes, 1),
            },
            Target::Role(Role::One | Role::Acknowledged | Role::Hinted) => some(rng, nodes, 1),
            Target::Role(Role::Minority) => some(rng, nodes, (nodes.len() - 1) / 2),
            Target::Role(Role::Majority) => some(rng, nodes, nodes.len() / 2 + 1),
        }
    }
}

fn some(rng: &mut ChaCha8Rng, nodes: &[NodeId], count: usize) -> Vec<NodeId> {
    let mut picked: Vec<_> = nodes.choose_multiple(rng, count.max(1)).copied().collect();
    picked.sort_unstable();
    picked
}
