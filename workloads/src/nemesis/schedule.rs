//! Which faults happen, when and to whom: drawn whole from the plan's seed before the run.
//!
//! Faults come in turns of about `hold + gap`, every kind once before any comes again. In one
//! turn of three a second fault of another kind falls into the first. Faults of processes never
//! meet on one node and, unless a target says so, leave more than half of the nodes alone.

use std::collections::BTreeMap;
use std::time::Duration;

use dynamo_protocol::{Key, NodeId, View};
use rand::Rng;
use rand::seq::{IndexedRandom, IteratorRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::partition;
use crate::disk::Damage;
use crate::plan::{Cut, FaultName, Plan, Role, Shape, Target};
use crate::proxy::FaultId;
use crate::seed::{Purpose, stream};
use crate::workload::cart::first_keys;

/// Nothing happens before: clients find their feet.
const LEAD_IN: Duration = Duration::from_millis(300);
/// A turn is not made shorter than this to fit three of each kind into the run.
const SHORT_TURN: Duration = Duration::from_secs(1);
/// A process that was stopped is not picked again so soon. If it takes longer to come back, the
/// fault that picks it waits for it.
const RECOVERY: Duration = Duration::from_millis(100);
/// In one turn of so many a second fault overlaps the first.
const OVERLAP_ONE_IN: u32 = 3;

/// One fault, from its injection to its healing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Episode {
    /// Its name in the history, and among the faults on a link.
    pub id: FaultId,
    /// When it is injected, after the start of the run.
    pub at: Duration,
    /// How long it is held, once proven.
    pub hold: Duration,
    /// What happens.
    pub fault: Fault,
}

/// A fault and whom it hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// These processes end at once.
    Kill(Vec<NodeId>),
    /// These stand still.
    Pause(Vec<NodeId>),
    /// These directed links are cut.
    Partition(Shape, Vec<Cut>),
    /// All links of these nodes are slow.
    Delay(Vec<NodeId>),
    /// All links of these nodes are narrow.
    Rate(Vec<NodeId>),
    /// All peer links of these nodes break.
    Reset(Vec<NodeId>),
    /// This disk is emptied.
    Wipe(NodeId),
    /// This disk holds what it held earlier.
    Rollback(NodeId, Rollback),
    /// Of this disk bits are flipped.
    Bitflip(NodeId, Damage),
}

/// What takes a disk back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rollback {
    /// So many hundredths of its journal are cut off.
    Cut(u8),
    /// A copy of it that is older than what was written since is put back, as from a backup. Only peers
    /// can notice that.
    PutBack,
}

impl Fault {
    /// Its kind.
    #[must_use]
    pub fn name(&self) -> FaultName {
        match self {
            Self::Kill(_) => FaultName::Kill,
            Self::Pause(_) => FaultName::Pause,
            Self::Partition(..) => FaultName::Partition,
            Self::Delay(_) => FaultName::Delay,
            Self::Rate(_) => FaultName::Rate,
            Self::Reset(_) => FaultName::Reset,
            Self::Wipe(_) => FaultName::Wipe,
            Self::Rollback(..) => FaultName::Rollback,
            Self::Bitflip(..) => FaultName::Bitflip,
        }
    }

    /// The nodes whose processes it stops.
    #[must_use]
    pub fn stops(&self) -> &[NodeId] {
        match self {
            Self::Kill(nodes) | Self::Pause(nodes) => nodes,
            Self::Wipe(node) | Self::Rollback(node, _) | Self::Bitflip(node, _) => {
                std::slice::from_ref(node)
            }
            Self::Partition(..) | Self::Delay(_) | Self::Rate(_) | Self::Reset(_) => &[],
        }
    }
}

/// All faults of a run of `plan` with `seed`, in the order of their times: the same wherever its cluster is
/// and by whatever clock it goes. Roles such as "the coordinator of a key" are of one of the keys that the
/// workload begins with.
///
/// # Panics
/// If the plan was not checked: [`Plan::check`].
#[must_use]
pub fn schedule(plan: &Plan, seed: u64, view: &View) -> Vec<Episode> {
    if plan.faults.is_empty() {
        return Vec::new();
    }
    let mut draw = Draw {
        plan,
        view,
        keys: first_keys(plan.workload.carts, seed),
        rng: stream(seed, Purpose::Nemesis),
        kinds: Deck::new(plan.faults.clone()),
        shapes: Deck::new(partition::possible(&plan.fault.shapes, view.members().len())),
        targets: Deck::new(plan.fault.targets.clone()),
        busy: BTreeMap::new(),
        disks_left: plan.cluster.settings.w.saturating_sub(1),
        lost: Vec::new(),
        episodes: Vec::new(),
    };
    draw.turns();
    let mut episodes = draw.episodes;
    episodes.sort_by_key(|episode| (episode.at, episode.id));
    episodes
}

/// Cards dealt in random order, all of them before any comes again.
struct Deck<T> {
    cards: Vec<T>,
    left: Vec<T>,
}

impl<T: Clone + PartialEq> Deck<T> {
    fn new(cards: Vec<T>) -> Self {
        Self { cards, left: Vec::new() }
    }

    fn deal(&mut self, rng: &mut ChaCha8Rng) -> Option<T> {
        if self.left.is_empty() {
            self.left = self.cards.clone();
            self.left.shuffle(rng);
        }
        self.left.pop()
    }

    fn remove(&mut self, card: &T) {
        self.cards.retain(|other| other != card);
        self.left.retain(|other| other != card);
    }
}

struct Draw<'a> {
    plan: &'a Plan,
    view: &'a View,
    keys: Vec<Key>,
    rng: ChaCha8Rng,
    kinds: Deck<FaultName>,
    shapes: Deck<Shape>,
    targets: Deck<Target>,
    /// Until when a node's process is stopped or comes back.
    busy: BTreeMap<NodeId, Duration>,
    /// Without refilling, a lost disk stays a lost copy for the rest of the run.
    disks_left: usize,
    /// Whose they were.
    lost: Vec<NodeId>,
    episodes: Vec<Episode>,
}

impl Draw<'_> {
    fn turns(&mut self) {
        let total = self.plan.time.0;
        let mut at = LEAD_IN.min(total / 20);
        let turn = self.turn(total - at);
        while at + turn <= total {
            let hold = self.vary(turn.mul_f64(self.held_share())).min(turn - RECOVERY.min(turn));
            let Some(kind) = self.kinds.deal(&mut self.rng) else { return };
            self.episode(kind, at, hold);
            if self.rng.random_ratio(1, OVERLAP_ONE_IN) {
                self.overlap(kind, at, hold, at + turn);
            }
            at += turn;
        }
    }

    /// How long a turn is: as the plan says, or shorter if each kind should come three times.
    fn turn(&self, available: Duration) -> Duration {
        let kinds = u32::try_from(self.plan.faults.len()).unwrap_or(u32::MAX);
        let wanted = self.plan.fault.hold.0 + self.plan.fault.gap.0;
        wanted.min((available / (3 * kinds)).max(SHORT_TURN)).min(available / kinds)
    }

    fn held_share(&self) -> f64 {
        let (hold, gap) = (self.plan.fault.hold.0, self.plan.fault.gap.0);
        hold.as_secs_f64() / (hold + gap).as_secs_f64()
    }

    /// Give or take a fifth.
    fn vary(&mut self, span: Duration) -> Duration {
        span.mul_f64(self.rng.random_range(0.8..1.2))
    }

    /// It ends within its turn, so that the next one finds every process running.
    fn overlap(&mut self, first: FaultName, at: Duration, hold: Duration, end: Duration) {
        let others = self.plan.faults.iter().copied();
        let others: Vec<_> = others.filter(|kind| *kind != first && !kind.loses_a_disk()).collect();
        let Some(kind) = others.choose(&mut self.rng).copied() else { return };
        let at = at + hold.mul_f64(self.rng.random_range(0.2..0.6));
        let hold = self.vary(hold).min(end.saturating_sub(at + RECOVERY));
        self.episode(kind, at, hold);
    }

    fn episode(&mut self, kind: FaultName, at: Duration, hold: Duration) {
        let Some(fault) = self.fault(kind, at) else { return };
        for node in fault.stops() {
            self.busy.insert(*node, at + hold + RECOVERY);
        }
        let id = self.episodes.len() as FaultId + 1;
        self.episodes.push(Episode { id, at, hold, fault });
    }

    fn fault(&mut self, kind: FaultName, at: Duration) -> Option<Fault> {
        match kind {
            FaultName::Kill => self.processes(at).map(Fault::Kill),
            FaultName::Pause => self.processes(at).map(Fault::Pause),
            FaultName::Partition => {
                let shape = self.shapes.deal(&mut self.rng)?;
                let nodes: Vec<_> = self.view.ids().collect();
                let cuts = match shape {
                    Shape::Cuts => self.plan.fault.cuts.clone(),
                    _ => partition::cuts(shape, &nodes, &mut self.rng),
                };
                Some(Fault::Partition(shape, cuts))
            }
            FaultName::Delay => self.target().map(Fault::Delay),
            FaultName::Rate => self.target().map(Fault::Rate),
            FaultName::Reset => self.target().map(Fault::Reset),
            FaultName::Wipe => self.disk(at).map(Fault::Wipe),
            FaultName::Rollback => {
                let node = self.disk(at)?;
                // What was acknowledged and what was read has to be in another member's hands.
                let settings = &self.plan.cluster.settings;
                let is_remembered = settings.w >= 2 && settings.r >= 2;
                let how = if is_remembered && self.rng.random() {
                    Rollback::PutBack
                } else {
                    Rollback::Cut(self.rng.random_range(20..80))
                };
                Some(Fault::Rollback(node, how))
            }
            FaultName::Bitflip => {
                let node = self.disk(at)?;
                let (bits, seed) = (self.rng.random_range(1..4), self.rng.random());
                Some(Fault::Bitflip(node, Damage::Flip { bits, seed }))
            }
        }
    }

    /// A disk to lose, while there are any.
    fn disk(&mut self, at: Duration) -> Option<NodeId> {
        // One that was lost already has hardly anything to lose.
        let whole = |node: &NodeId| !self.lost.contains(node);
        let node = self.free(at).into_iter().filter(whole).choose(&mut self.rng)?;
        self.lost.push(node);
        self.disks_left = self.disks_left.checked_sub(1)?;
        if self.disks_left == 0 {
            FaultName::ALL.iter().filter(|name| name.loses_a_disk()).for_each(|name| {
                self.kinds.remove(name);
            });
        }
        Some(node)
    }

    /// Whose processes to stop: none that is stopped already, and not half of all together, except
    /// that a target which says more is taken at its word while nobody else is stopped.
    fn processes(&mut self, at: Duration) -> Option<Vec<NodeId>> {
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

    fn target(&mut self) -> Option<Vec<NodeId>> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Span;

    fn drawn(plan: &Plan) -> Vec<Episode> {
        plan.check().unwrap();
        schedule(plan, plan.seed.unwrap(), &plan.view().unwrap())
    }

    fn seeded(seed: u64) -> Plan {
        Plan { seed: Some(seed), ..Plan::default() }
    }

    fn count(episodes: &[Episode], kind: FaultName) -> usize {
        episodes.iter().filter(|episode| episode.fault.name() == kind).count()
    }

    #[test]
    fn the_same_seed_draws_the_same_faults() {
        assert_eq!(drawn(&seeded(4)), drawn(&seeded(4)));
        assert_ne!(drawn(&seeded(4)), drawn(&seeded(5)));
    }

    #[test]
    fn without_faults_nothing_happens() {
        assert!(drawn(&Plan { faults: vec![], ..seeded(1) }).is_empty());
    }

    #[test]
    fn every_named_fault_comes_a_few_times_in_half_a_minute() {
        for seed in 0..50 {
            let mut plan = seeded(seed);
            plan.faults = FaultName::ALL.to_vec();
            (plan.cluster.settings.n, plan.cluster.settings.w) = (4, 4);
            let episodes = drawn(&plan);
            for kind in FaultName::ALL {
                let least = if kind.loses_a_disk() { 1 } else { 2 };
                assert!(count(&episodes, *kind) >= least, "{kind} in seed {seed}");
            }
        }
    }

    #[test]
    fn every_named_fault_comes_even_in_a_short_run() {
        for (seed, millis) in (0..50).flat_map(|seed| [(seed, 3000), (seed, 5000)]) {
            let episodes = drawn(&Plan { time: Span::millis(millis), ..seeded(seed) });
            for kind in Plan::default().faults {
                assert!(count(&episodes, kind) >= 1, "{kind} in seed {seed}, {millis} ms");
            }
        }
    }

    #[test]
    fn faults_lie_within_the_run_and_leave_quiet_gaps_and_sometimes_overlap() {
        let (mut overlaps, mut gaps) = (0, 0);
        for seed in 0..50 {
            let plan = seeded(seed);
            let episodes = drawn(&plan);
            let mut until = Duration::ZERO;
            for episode in &episodes {
                assert!(episode.at + episode.hold <= plan.time.0 + Duration::from_millis(1));
                overlaps += usize::from(episode.at < until);
                gaps += usize::from(episode.at > until + Duration::from_millis(100));
                until = until.max(episode.at + episode.hold);
            }
        }
        assert!(overlaps > 50 && gaps > 200, "{overlaps} overlaps, {gaps} gaps");
    }

    #[test]
    fn no_process_is_stopped_twice_at_a_time_and_a_majority_goes_on() {
        for seed in 0..100 {
            let episodes = drawn(&seeded(seed));
            for (index, episode) in episodes.iter().enumerate() {
                let open = episodes[..index].iter().filter(|other| {
                    other.at + other.hold > episode.at && !other.fault.stops().is_empty()
                });
                let mut stopped: Vec<_> = open.flat_map(|other| other.fault.stops()).collect();
                stopped.extend(episode.fault.stops());
                let all = stopped.len();
                stopped.sort();
                stopped.dedup();
                assert_eq!(stopped.len(), all, "seed {seed}: one process stopped twice");
                assert!(all <= 2, "seed {seed}: {all} of 5 stopped");
            }
        }
    }

    #[test]
    fn no_more_disks_are_wiped_than_the_claim_allows() {
        for (seed, w) in (0..30).flat_map(|seed| [(seed, 2), (seed, 3)]) {
            let mut plan = seeded(seed);
            plan.faults = vec![FaultName::Wipe, FaultName::Kill];
            plan.cluster.settings.w = w;
            assert_eq!(count(&drawn(&plan), FaultName::Wipe), w - 1);
            plan.faults = vec![FaultName::Rollback, FaultName::Kill];
            let episodes = drawn(&plan);
            let lost = episodes.iter().filter(|episode| episode.fault.name().loses_a_disk());
            let nodes: Vec<_> = lost.flat_map(|episode| episode.fault.stops()).collect();
            let distinct = nodes.iter().collect::<std::collections::BTreeSet<_>>().len();
            assert_eq!((nodes.len(), distinct), (w - 1, w - 1), "no disk is lost twice");
        }
    }

    #[test]
    fn roles_are_resolved_by_the_ring() {
        let mut plan = seeded(1);
        plan.faults = vec![FaultName::Kill];
        plan.fault.targets = vec![Target::Home(2)];
        plan.workload.carts = 1;
        let view = plan.view().unwrap();
        let key = Key::from("cart-1");
        let second = view.homes(&key)[1];
        let episodes = schedule(&plan, 1, &view);
        assert!(!episodes.is_empty());
        for episode in &episodes {
            assert_eq!(episode.fault.stops(), [second]);
        }
    }
}
