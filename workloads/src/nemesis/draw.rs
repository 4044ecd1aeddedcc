//! Whom the faults of a schedule hit: drawn from the plan's seed.

use std::collections::BTreeMap;
use std::time::Duration;

use dynamo_protocol::{Key, NodeId, View};
use rand::seq::{IndexedRandom, IteratorRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::shapes;
use crate::plan::seed::{Purpose, stream};
use crate::plan::{Plan, Role, Shape, Target};
use crate::workload::cart::first_keys;

/// Cards dealt in random order, all of them before any comes again.
pub(super) struct Deck<T> {
    cards: Vec<T>,
    left: Vec<T>,
}

impl<T: Clone> Deck<T> {
    pub(super) fn new(cards: Vec<T>) -> Self {
        Self { cards, left: Vec::new() }
    }

    pub(super) fn deal(&mut self, rng: &mut ChaCha8Rng) -> Option<T> {
        if self.left.is_empty() {
            self.left = self.cards.clone();
            self.left.shuffle(rng);
        }
        self.left.pop()
    }

    pub(super) fn retain(&mut self, stays: impl Fn(&T) -> bool) {
        self.cards.retain(&stays);
        self.left.retain(&stays);
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
    /// Until when a node's process is stopped or comes back.
    busy: BTreeMap<NodeId, Duration>,
    /// Without refilling, a lost disk stays a lost copy for the rest of the run.
    disks_left: usize,
    /// Whose they were.
    lost: Vec<NodeId>,
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
            busy: BTreeMap::new(),
            disks_left: plan.cluster.settings.w.saturating_sub(1),
            lost: Vec::new(),
        }
    }

    /// Their processes are not picked again before.
    pub(super) fn stop(&mut self, nodes: &[NodeId], until: Duration) {
        self.busy.extend(nodes.iter().map(|node| (*node, until)));
    }

    pub(super) fn has_disks(&self) -> bool {
        self.disks_left > 0
    }

    /// A disk to lose, while there are any.
    pub(crate) fn disk(&mut self, at: Duration) -> Option<NodeId> {
        // One that was lost already has hardly anything to lose.
        let whole = |node: &NodeId| !self.lost.contains(node);
        let node = self.free(at).into_iter().filter(whole).choose(&mut self.rng)?;
        self.lost.push(node);
        self.disks_left = self.disks_left.checked_sub(1)?;
        Some(node)
    }

    /// Whose processes to stop: none that is stopped already, and not half of all together, except
    /// that a target which says more is taken at its word while nobody else is stopped.
    pub(crate) fn processes(&mut self, at: Duration) -> Option<Vec<NodeId>> {
        let free = self.free(at);
        let all = self.view.members().len();
        let stopped = all - free.len();
        let target = self.target()?;
        let mut picked: Vec<_> = target.into_iter().filter(|node| free.contains(node)).collect();
        if picked.is_empty() {
            picked.extend(free.choose(&mut self.rng));
        }
        if stopped > 0 {
            picked.truncate(all.div_ceil(2).saturating_sub(1 + stopped));
        }
        (!picked.is_empty()).then_some(picked)
    }

    fn free(&self, at: Duration) -> Vec<NodeId> {
        let is_free = |node: &NodeId| self.busy.get(node).is_none_or(|until| *until <= at);
        self.view.ids().filter(is_free).collect()
    }

    /// The shape of a partition.
    pub(crate) fn shape(&mut self) -> Option<Shape> {
        self.shapes.deal(&mut self.rng)
    }

    /// Whom to hit, of the plan's targets.
    pub(crate) fn target(&mut self) -> Option<Vec<NodeId>> {
        let target = self.targets.deal(&mut self.rng)?;
        Some(self.resolve(target))
    }

    fn resolve(&mut self, target: Target) -> Vec<NodeId> {
        let (homes, fallbacks) = match self.keys.choose(&mut self.rng) {
            Some(key) => self.view.preference_list(key),
            None => self.view.preference_list(&Key::from("")),
        };
        match target {
            Target::Node(node) => vec![node],
            Target::Home(index) => homes.get(index - 1).copied().into_iter().collect(),
            Target::Role(Role::Coordinator) => homes.first().copied().into_iter().collect(),
            Target::Role(Role::Homes) => homes.to_vec(),
            // With as many homes as nodes nobody is a fallback.
            Target::Role(Role::Fallback) => match fallbacks.first() {
                Some(node) => vec![*node],
                None => self.some(1),
            },
            Target::Role(Role::One) => self.some(1),
            Target::Role(Role::Minority) => self.some((self.view.members().len() - 1) / 2),
            Target::Role(Role::Majority) => self.some(self.view.members().len() / 2 + 1),
        }
    }

    fn some(&mut self, count: usize) -> Vec<NodeId> {
        let nodes: Vec<_> = self.view.ids().collect();
        let mut picked: Vec<_> =
            nodes.choose_multiple(&mut self.rng, count.max(1)).copied().collect();
        picked.sort_unstable();
        picked
    }
}
