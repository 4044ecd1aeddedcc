//! Which faults happen, when and to whom: drawn whole from the plan's seed before the run.
//!
//! Faults come in turns of about `hold + gap`, every kind once before any comes again. In one
//! turn of three a second fault of another kind falls into the first, or, where the plan says how many are to
//! overlap, in every turn as many of other kinds as it says. Faults of processes never
//! meet on one node and, unless a target says so, leave more than half of the nodes alone.

use std::time::Duration;

use dynamo_protocol::View;
use rand::Rng;
use rand::seq::IndexedRandom;

use super::aim::Aim;
use super::draw::{Deck, Draw};
use super::faults::Fault;
use super::faults::kind::Nature;
use super::proof::Told;
use crate::hosts::proxy::FaultId;
use crate::plan::{FaultName, Plan};

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
    /// By what is chosen, once it begins, whom it hits: whom the fault has now only stands in.
    pub aim: Option<Aim>,
}

impl Episode {
    /// As the history has it.
    #[must_use]
    pub fn told(&self) -> Told {
        Told { id: self.id, name: self.fault.name().as_str(), whom: self.fault.told() }
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
    let kinds = Deck::new(plan.faults.clone());
    let draw = Draw::new(plan, seed, view);
    let mut turns = Turns { plan, draw, kinds, episodes: Vec::new() };
    turns.draw();
    let mut episodes = turns.episodes;
    episodes.sort_by_key(|episode| (episode.at, episode.id));
    episodes
}

/// Others have to wait for it.
fn is_slow(nature: Nature) -> bool {
    nature.changes_the_ring || nature.loses_a_disk
}

struct Turns<'a> {
    plan: &'a Plan,
    draw: Draw<'a>,
    kinds: Deck<FaultName>,
    episodes: Vec<Episode>,
}

impl Turns<'_> {
    fn draw(&mut self) {
        let total = self.plan.time.0;
        let mut at = LEAD_IN.min(total / 20);
        let turn = self.turn(total - at);
        while at + turn <= total {
            let hold = self.vary(turn.mul_f64(self.held_share())).min(turn - RECOVERY.min(turn));
            if let Some(kind) = self.kind(at) {
                self.episode(kind, at, hold);
                self.overlaps(kind, at, hold, at + turn);
            }
            at += turn;
        }
    }

    /// What comes next: of those that need not wait for another. Where the ring changes those that others
    /// have to wait for come first, and of them those that came least often; and changes before disks, which
    /// may be lost meanwhile.
    fn kind(&mut self, at: Duration) -> Option<FaultName> {
        let faults = self.plan.faults.iter().copied();
        let may: Vec<_> = faults.filter(|kind| self.draw.may(kind.nature(), at)).collect();
        let slow: Vec<_> = match self.plan.changes_the_ring() {
            true => {
                self.plan.faults.iter().copied().filter(|kind| is_slow(kind.nature())).collect()
            }
            false => Vec::new(),
        };
        let came = |kind: FaultName| {
            self.episodes.iter().filter(|episode| episode.fault.name() == kind).count()
        };
        // One that loses a disk for good may never come again.
        let comes_again = |kind: &&FaultName| {
            let nature = kind.nature();
            may.contains(kind) || !nature.loses_a_disk || self.draw.is_refilled(nature)
        };
        let least = slow.iter().filter(comes_again).map(|kind| came(*kind)).min();
        let mut first = slow.clone();
        first.retain(|kind| may.contains(kind) && Some(came(*kind)) == least);
        if first.iter().any(|kind| kind.nature().changes_the_ring) {
            first.retain(|kind| kind.nature().changes_the_ring);
        }
        let is_next = |kind: &FaultName| match first.as_slice() {
            [] => may.contains(kind) && !slow.contains(kind),
            first => first.contains(kind),
        };
        self.kinds.deal_if(&mut self.draw.rng, is_next)
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
        span.mul_f64(self.draw.rng.random_range(0.8..1.2))
    }

    /// Others that fall into a fault, each of a kind of its own.
    fn overlaps(&mut self, first: FaultName, at: Duration, hold: Duration, end: Duration) {
        let wanted = match self.plan.fault.overlap {
            0 => usize::from(self.draw.rng.random_ratio(1, OVERLAP_ONE_IN)),
            wanted => wanted,
        };
        let mut kinds = vec![first];
        for _ in 0..wanted {
            kinds.extend(self.overlap(&kinds, at, hold, end));
        }
    }

    /// It ends within its turn, so that the next one finds every process running.
    fn overlap(
        &mut self,
        kinds: &[FaultName],
        at: Duration,
        hold: Duration,
        end: Duration,
    ) -> Option<FaultName> {
        let others = self.plan.faults.iter().copied();
        let others: Vec<_> =
            others.filter(|kind| !kinds.contains(kind) && !is_slow(kind.nature())).collect();
        let kind = others.choose(&mut self.draw.rng).copied()?;
        let at = at + hold.mul_f64(self.draw.rng.random_range(0.2..0.6));
        let hold = self.vary(hold).min(end.saturating_sub(at + RECOVERY));
        self.episode(kind, at, hold);
        Some(kind)
    }

    fn episode(&mut self, kind: FaultName, at: Duration, hold: Duration) {
        let fault = kind.draw(&mut self.draw, at);
        let aim = self.draw.take_aim();
        let Some(fault) = fault else { return };
        // It may be anybody whose process the fault holds then.
        let anybody = aim.filter(|_| !fault.holds().is_empty()).map(|_| self.draw.nodes(at));
        let held = anybody.as_deref().unwrap_or_else(|| fault.holds());
        self.draw.stop(held, at + hold + RECOVERY);
        self.draw.took(kind.nature(), fault.holds(), at + hold);
        let id = self.episodes.len() as FaultId + 1;
        self.episodes.push(Episode { id, at, hold, fault, aim });
    }
}

#[cfg(test)]
mod tests {
    use dynamo_protocol::{Key, NodeId};

    use super::*;
    use crate::nemesis::faults::Leave;
    use crate::plan::{Span, Target};

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
    fn every_named_fault_comes_a_few_times_in_a_minute_and_a_half() {
        for seed in 0..50 {
            let mut plan = seeded(seed);
            plan.faults = FaultName::ALL.to_vec();
            plan.cluster.nodes = 7;
            plan.time = Span::secs(90);
            (plan.cluster.settings.n, plan.cluster.settings.w) = (5, 5);
            plan.cluster.settings.timing.exchange = Duration::from_millis(50);
            let episodes = drawn(&plan);
            for kind in FaultName::ALL {
                let nature = kind.nature();
                let least = if nature.loses_a_disk || nature.changes_the_ring { 1 } else { 2 };
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
    fn as_many_faults_overlap_as_the_plan_says() {
        for seed in 0..20 {
            let mut plan = seeded(seed);
            plan.faults.extend([FaultName::Delay, FaultName::Loss, FaultName::Clock]);
            plan.fault.overlap = 2;
            let episodes = drawn(&plan);
            let at_a_time = |at: Duration| {
                let in_force = |it: &&Episode| it.at <= at && at < it.at + it.hold;
                let kinds = episodes.iter().filter(in_force).map(|it| it.fault.name());
                kinds.collect::<std::collections::BTreeSet<_>>().len()
            };
            let most = episodes.iter().map(|episode| at_a_time(episode.at)).max();
            assert_eq!(most, Some(3), "seed {seed}");
            let pairs = episodes.iter().filter(|episode| at_a_time(episode.at) > 1).count();
            assert!(pairs * 2 > episodes.len(), "seed {seed}: {pairs} of {}", episodes.len());
        }
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
            plan.cluster.settings.anti_entropy = false;
            assert_eq!(count(&drawn(&plan), FaultName::Wipe), w - 1);
            plan.faults = vec![FaultName::Rollback, FaultName::Kill];
            let episodes = drawn(&plan);
            let lost = episodes.iter().filter(|episode| episode.fault.name().nature().loses_a_disk);
            let nodes: Vec<_> = lost.flat_map(|episode| episode.fault.stops()).collect();
            let distinct = nodes.iter().collect::<std::collections::BTreeSet<_>>().len();
            assert_eq!((nodes.len(), distinct), (w - 1, w - 1), "no disk is lost twice");
        }
    }

    #[test]
    fn where_disks_are_refilled_they_are_lost_one_after_the_other() {
        for seed in 0..30 {
            let mut plan = Plan { time: Span::secs(120), ..seeded(seed) };
            plan.faults = vec![FaultName::Wipe, FaultName::Losehints, FaultName::Kill];
            let episodes = drawn(&plan);
            let lost = episodes.iter().filter(|it| it.fault.name().nature().loses_a_disk);
            let lost: Vec<_> = lost.collect();
            assert!(lost.len() >= 4, "seed {seed}: {} disks", lost.len());
            // As long as it takes every node to have an exchange with every other.
            let apart = plan.cluster.settings.timing.exchange * u32::from(plan.cluster.nodes);
            for pair in lost.windows(2) {
                assert!(pair[1].at > pair[0].at + pair[0].hold + apart, "seed {seed}");
            }
        }
    }

    /// A plan of changes, as long as it takes.
    fn changing(seed: u64) -> Plan {
        let mut plan = Plan { time: Span::secs(120), ..seeded(seed) };
        plan.cluster.nodes = 6;
        plan.faults = ["kill", "partition", "join", "leave", "replace"]
            .map(|name| name.parse().unwrap())
            .to_vec();
        plan
    }

    #[test]
    fn the_ring_changes_once_at_a_time_and_keeps_enough_members() {
        for seed in 0..50 {
            let plan = changing(seed);
            let (mut members, mut until) = (plan.nodes(), Duration::ZERO);
            for episode in drawn(&plan) {
                let before = members.clone();
                match &episode.fault {
                    Fault::Join(join) => {
                        assert!(!members.contains(&join.node), "seed {seed}: a member joins");
                        members.push(join.node);
                    }
                    Fault::Leave(leave) => members.retain(|node| *node != leave.0),
                    fault => assert!(
                        fault.holds().iter().all(|node| members.contains(node)),
                        "seed {seed}: {fault} of one that is none"
                    ),
                }
                if episode.fault.name().nature().changes_the_ring {
                    assert!(episode.at >= until, "seed {seed}: two changes at a time");
                    until = episode.at + episode.hold;
                }
                assert!(members.len() >= 4 && members.len() <= 8, "seed {seed}: {before:?}");
            }
        }
    }

    #[test]
    fn a_minute_has_room_for_every_change_and_every_lost_disk() {
        for seed in 0..100 {
            let mut plan = Plan { time: Span::secs(60), ..changing(seed) };
            plan.faults.extend([FaultName::Pause, FaultName::Wipe, FaultName::Losehints]);
            let episodes = drawn(&plan);
            for kind in &plan.faults {
                assert!(count(&episodes, *kind) >= 1, "{kind} in seed {seed}");
            }
        }
    }

    #[test]
    fn nobody_leaves_whom_the_plan_names() {
        for seed in 0..20 {
            let mut plan = changing(seed);
            plan.fault.targets = vec![Target::Node(NodeId(3))];
            let left = |episode: &Episode| episode.fault == Fault::Leave(Leave(NodeId(3)));
            assert!(!drawn(&plan).iter().any(left), "seed {seed}");
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
