//! A cluster under virtual time: draws from a seed when each thing happens, and lets it happen.
//!
//! The seed, the settings and the calls made are all a run depends on. Time stands still between
//! calls; [`World::next`] moves it.

mod churn;
mod faults;

use std::collections::BTreeMap;
use std::sync::Arc;

use dynamo_protocol::mutant::{Mutant, mutated};
use dynamo_protocol::{Digest, Event, NodeId, Reply, RequestId, Timer, View};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rustc_hash::FxHashMap;

pub use crate::counters::Counters;

use crate::bench::Bench;
use crate::disk::DiskFault;
use crate::effect::{Breach, Effect};
use crate::host::index;
use crate::network::{Fate, Links, Network};
use crate::queue::Queue;
use crate::trace::{Closing, Cluster, Entry, Op, SCHEMA, Step, Sync, Trace};

/// Between a client and its node, each way, in microseconds.
const CLIENT_LATENCY: u64 = 60;
/// After a process ended by itself, until its supervisor starts it again, in microseconds.
const RESTART: u64 = 300_000;
/// A sync of a disk that is well, in microseconds: group commit on a common solid-state disk.
const QUICK_SYNC: u64 = 130;
/// The names of processes and directories come from a stream of their own, so that one more of them changes
/// nothing else of a run. Both are random on real nodes: which of two is the later nobody may tell from them.
const NAMES: u64 = 0x6e61_6d65_7321;
/// More breaches than these are not kept: one is enough to fail a run.
const MOST_BREACHES: usize = 20;

/// What a client hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// From the node.
    Reply(Reply),
    /// Nobody listens there: the request was never received.
    NotConnected,
    /// The connection broke with the request open: nobody knows.
    Broken,
}

/// How a world behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// The cluster; its changes become durable when the simulated disks say so.
    pub cluster: Cluster,
    /// Its links.
    pub network: Network,
    /// A sync takes from so many microseconds to three times as many.
    pub sync: u64,
}

/// A cluster under virtual time.
#[derive(Clone, Debug)]
pub struct World {
    bench: Bench,
    links: Links,
    conditions: Conditions,
    rng: ChaCha8Rng,
    now: u64,
    queue: Queue<What>,
    hosts: Vec<Outside>,
    requests: FxHashMap<RequestId, NodeId>,
    answer: Option<(RequestId, Answer)>,
    next_request: u64,
    /// Names processes and directories.
    names: ChaCha8Rng,
    /// When the last of all that was ever sent arrives.
    last_arrival: u64,
    /// Messages that are to arrive once more after they first do, and those that did once.
    twice: Vec<u64>,
    copies: Vec<u64>,
    effects: Vec<Effect>,
    breaches: Vec<(u64, Breach)>,
    counters: Counters,
    /// Time stops as a hint is stored; the hint at which it did: who stored it, and for whom.
    stops_at_hints: bool,
    hint: Option<(NodeId, NodeId)>,
    /// By node, how many exchanges its process led to their end, and by partner which of them was the last.
    exchanged: FxHashMap<NodeId, (u64, BTreeMap<NodeId, u64>)>,
    events: u64,
    hash: u64,
    entries: Option<Vec<Entry>>,
    closing: Option<Closing>,
}

/// What the world knows of a host beside the bench.
#[derive(Clone, Debug, Default)]
struct Outside {
    /// The batch a running sync covers.
    syncing: Option<u64>,
    /// Syncs take so many times as long.
    slowness: u64,
    sync_fails: bool,
    /// The directory was there before.
    made: bool,
    /// What comes due while the process stands still.
    backlog: Vec<What>,
}

/// What can come due. `life` is the start of the process it is meant for. Small, since the queue moves it
/// about.
#[derive(Clone, Debug)]
enum What {
    Arrive { message: u64 },
    Timer { node: NodeId, life: u64, timer: Timer, setting: u64 },
    Synced { node: NodeId, life: u64 },
    Unreachable { node: NodeId, life: u64, peer: NodeId },
    Client { node: NodeId, request: RequestId, op: Box<Op> },
    Answer { request: RequestId, answer: Box<Answer> },
    Restart { node: NodeId },
    Removed { node: NodeId },
}

impl World {
    /// A cluster whose nodes are about to start.
    ///
    /// # Panics
    /// If `view` is not that of the cluster.
    #[must_use]
    pub fn new(conditions: Conditions, view: Arc<View>, seed: u64) -> Self {
        let mut names = ChaCha8Rng::seed_from_u64(seed ^ NAMES);
        let identities = names.random_range(1 << 16..1 << 52);
        let cluster =
            Cluster { sync: Sync::Explicit, counts: true, identities, ..conditions.cluster };
        let mut world = Self {
            bench: Bench::with_view(cluster, view),
            links: Links::new(conditions.network, cluster.nodes + cluster.spares),
            conditions,
            rng: ChaCha8Rng::seed_from_u64(seed),
            now: 0,
            queue: Queue::new(),
            hosts: vec![
                Outside { slowness: 1, ..Outside::default() };
                usize::from(cluster.nodes + cluster.spares)
            ],
            requests: FxHashMap::default(),
            answer: None,
            next_request: 0,
            names,
            last_arrival: 0,
            twice: Vec::new(),
            copies: Vec::new(),
            effects: Vec::new(),
            breaches: Vec::new(),
            counters: Counters::default(),
            stops_at_hints: false,
            hint: None,
            exchanged: FxHashMap::default(),
            events: 0,
            hash: 0,
            entries: None,
            closing: None,
        };
        world.bench.watch();
        for node in cluster.ids().take(usize::from(cluster.nodes)) {
            world.schedule(0, What::Restart { node });
        }
        world
    }

    /// Keeps every step from now on; to be called before the first.
    pub fn record(&mut self) {
        self.entries = Some(Vec::new());
    }

    /// The steps kept, as a trace.
    pub fn take_trace(&mut self, name: &str) -> Option<Trace> {
        let steps = self.entries.take()?;
        let cluster = *self.bench.cluster();
        let name = name.to_owned();
        let (check, mutant, closing) = (None, None, self.closing);
        Some(Trace { schema: SCHEMA, name, check, property: None, mutant, closing, cluster, steps })
    }

    /// The homes' own replicas are looked at now.
    pub fn mark_homes(&mut self) {
        let next = RequestId(self.next_request + 1);
        self.closing = Some(Closing { homes: next, finals: RequestId(u64::MAX) });
    }

    /// All further gets are final.
    pub fn mark_finals(&mut self) {
        if let Some(closing) = &mut self.closing {
            closing.finals = RequestId(self.next_request + 1);
        }
    }

    /// The cluster's state.
    #[must_use]
    pub fn bench(&self) -> &Bench {
        &self.bench
    }

    /// Microseconds since the start.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// By when all that was sent so far has arrived, in microseconds since the start.
    #[must_use]
    pub fn last_arrival(&self) -> u64 {
        self.last_arrival
    }

    /// How many steps were taken.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// What nodes did so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How often nodes have begun to suspect a peer, if none is suspected now: who finds the same number
    /// later knows that none was meanwhile.
    #[must_use]
    pub fn calm(&self) -> Option<u64> {
        self.bench.suspicion().is_none().then_some(self.counters.suspicions)
    }

    /// By partner the number of the last exchange with it that the process of `node` led to its end, counted
    /// from 1 over all that it led.
    #[must_use]
    pub fn exchanged(&self, node: NodeId) -> BTreeMap<NodeId, u64> {
        self.exchanged.get(&node).map(|(_, last)| last.clone()).unwrap_or_default()
    }

    /// The invariants broken so far, and when.
    #[must_use]
    pub fn breaches(&self) -> &[(u64, Breach)] {
        &self.breaches
    }

    /// Of everything that has happened, in order, and of every host's state: equal in every
    /// process that was given the same seed, settings and calls.
    #[must_use]
    pub fn event_hash(&self) -> Digest {
        let hosts: Vec<_> = self.bench.cluster().ids().map(|id| self.bench.digest(id)).collect();
        Digest::of(&(self.hash, self.events, self.now, hosts))
    }

    /// A client asks `node`; the answer comes from [`World::next`] some time, or never.
    pub fn ask(&mut self, node: NodeId, op: Op) -> RequestId {
        self.next_request += 1;
        let request = RequestId(self.next_request);
        self.schedule(CLIENT_LATENCY, What::Client { node, request, op: Box::new(op) });
        request
    }

    /// Whether [`World::next`] is to return as soon as a hint is stored, too.
    pub fn stop_at_hints(&mut self, stop: bool) {
        self.stops_at_hints = stop;
        self.hint = self.hint.filter(|_| stop);
    }

    /// The hint at which time has stopped: who stored it, and for whom. Until it is taken time stands still.
    pub fn take_hint(&mut self) -> Option<(NodeId, NodeId)> {
        self.hint.take()
    }

    /// Lets time go on until a client is answered, or until `limit`.
    pub fn next(&mut self, limit: u64) -> Option<(RequestId, Answer)> {
        loop {
            if let Some(answer) = self.answer.take() {
                return Some(answer);
            }
            if self.hint.is_some() {
                return None;
            }
            let Some((at, what)) = self.queue.next(limit) else {
                self.now = self.now.max(limit);
                return None;
            };
            self.now = at;
            self.happen(what);
        }
    }

    fn schedule(&mut self, after: u64, what: What) {
        self.queue.schedule(self.now + after, what);
    }

    fn happen(&mut self, what: What) {
        if let Some(node) = self.standing_still(&what) {
            return self.hosts[index(node)].backlog.push(what);
        }
        match what {
            What::Arrive { message } => self.arrive(message),
            What::Timer { node, life, timer, setting } => {
                let host = self.bench.host(node);
                if host.starts() == life && host.timer_is(&timer, setting) {
                    self.take(Step::Timer { node, timer });
                }
            }
            What::Synced { node, life } if self.lives(node, life) => self.synced(node),
            What::Unreachable { node, life, peer } if self.lives(node, life) => {
                self.take(Step::Unreachable { node, peer });
            }
            What::Synced { .. } | What::Unreachable { .. } => {}
            What::Client { node, request, op } => {
                if self.bench.host(node).node().is_some() {
                    self.requests.insert(request, node);
                    self.take(Step::Client { node, request, op: *op });
                } else {
                    self.answer(request, Answer::NotConnected);
                }
            }
            What::Answer { request, answer } => self.answer = Some((request, *answer)),
            What::Restart { node } => self.start(node),
            What::Removed { node } => self.end(node, 0),
        }
    }

    /// The paused process that this is for, if it is for one.
    fn standing_still(&self, what: &What) -> Option<NodeId> {
        let node = match what {
            What::Arrive { message } => self.bench.message(*message)?.to,
            What::Timer { node, .. }
            | What::Synced { node, .. }
            | What::Unreachable { node, .. }
            | What::Client { node, .. } => *node,
            What::Answer { .. } | What::Restart { .. } | What::Removed { .. } => return None,
        };
        self.bench.host(node).is_paused().then_some(node)
    }

    fn lives(&self, node: NodeId, life: u64) -> bool {
        let host = self.bench.host(node);
        host.node().is_some() && host.starts() == life
    }

    fn arrive(&mut self, message: u64) {
        let Some(sent) = self.bench.message(message) else { return };
        let (from, to) = (sent.from, sent.to);
        if self.bench.is_cut(from, to) {
            if self.links.network.cut_holds {
                self.links.hold(from, to, message);
            } else {
                self.lose(message);
            }
        } else if self.bench.host(to).node().is_none() {
            self.lose(message);
            self.tell_unreachable(from, to);
        } else {
            let twice = self.twice.iter().position(|twice| *twice == message);
            let again = twice.map(|twice| self.twice.swap_remove(twice)).is_some();
            if again {
                self.copies.push(message);
            } else {
                self.copies.retain(|copy| *copy != message);
            }
            self.take(Step::Deliver { message, again });
        }
    }

    fn lose(&mut self, message: u64) {
        self.twice.retain(|twice| *twice != message);
        self.copies.retain(|copy| *copy != message);
        self.take(Step::Lose { message });
    }

    /// The host's side of the contract: no copy of what a process was given reaches the next one, since
    /// links end with the process they lead to.
    fn lose_copies(&mut self, node: NodeId) {
        let is_for =
            |message: &u64| self.bench.message(*message).is_some_and(|sent| sent.to == node);
        for message in self.copies.iter().copied().filter(is_for).collect::<Vec<_>>() {
            self.lose(message);
        }
    }

    fn tell_unreachable(&mut self, node: NodeId, peer: NodeId) {
        let host = self.bench.host(node);
        if self.links.network.tells && host.node().is_some() {
            let life = host.starts();
            let after = self.conditions.network.latency;
            self.schedule(after, What::Unreachable { node, life, peer });
        }
    }

    fn answer(&mut self, request: RequestId, answer: Answer) {
        let answer = Box::new(answer);
        self.schedule(CLIENT_LATENCY, What::Answer { request, answer });
    }

    /// Takes a step and sees to what follows from it.
    fn take(&mut self, step: Step) {
        self.mix(&step);
        let touched = self.bench.touched(&step);
        if let Err(why) = self.bench.take(self.now, &step) {
            panic!("a world takes only steps that can happen: {step:?}: {why}");
        }
        self.events += 1;
        if let Some(entries) = &mut self.entries {
            let digest = touched.map(|node| self.bench.digest(node));
            entries.push(Entry { at: self.now, step, digest });
        }
        let mut effects = std::mem::take(&mut self.effects);
        self.bench.swap_effects(&mut effects);
        for effect in effects.drain(..) {
            self.follow(effect);
        }
        self.effects = effects;
        if let Some(node) = touched {
            self.begin_sync(node);
        }
    }

    fn follow(&mut self, effect: Effect) {
        match effect {
            Effect::Sent(message) => self.sent(message),
            Effect::Replied(request, reply) => {
                if self.requests.remove(&request).is_some() {
                    self.answer(request, Answer::Reply(reply));
                }
            }
            Effect::TimerSet(node, timer, setting, after) => {
                let life = self.bench.host(node).starts();
                let after = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
                self.queue.set(self.now, after, What::Timer { node, life, timer, setting });
            }
            Effect::Told(node, event) => {
                self.counters.count(&event);
                match event {
                    Event::Exchanged { with, .. } => {
                        let (led, last) = self.exchanged.entry(node).or_default();
                        *led += 1;
                        last.insert(with, *led);
                    }
                    Event::HintStored(target) if self.stops_at_hints => {
                        self.hint = Some((node, target));
                    }
                    Event::Entered(_) => self.call_in_newcomers(node),
                    Event::Removed => self.schedule(0, What::Removed { node }),
                    _ => {}
                }
            }
            Effect::Breached(breach) => {
                if self.breaches.len() < MOST_BREACHES {
                    self.breaches.push((self.now, breach));
                }
            }
        }
    }

    fn sent(&mut self, message: u64) {
        let Some(sent) = self.bench.message(message) else { return };
        let (from, to) = (sent.from, sent.to);
        match self.links.fate(self.now, from, to, &mut self.rng) {
            Fate::Lost => self.lose(message),
            Fate::Arrives(at) => {
                self.last_arrival = self.last_arrival.max(at);
                self.queue.schedule(at, What::Arrive { message });
            }
            Fate::Twice(first, second) => {
                self.last_arrival = self.last_arrival.max(second);
                self.twice.push(message);
                self.queue.schedule(first, What::Arrive { message });
                self.queue.schedule(second, What::Arrive { message });
            }
        }
    }

    /// One sync at a time: what is applied while it runs waits for the next (group commit).
    fn begin_sync(&mut self, node: NodeId) {
        let host = self.bench.host(node);
        let outside = &mut self.hosts[index(node)];
        let disk = host.disk();
        if outside.syncing.is_some() || disk.applied() == disk.synced() || host.node().is_none() {
            return;
        }
        outside.syncing = Some(disk.applied());
        let life = host.starts();
        let least = self.conditions.sync * outside.slowness;
        let after = least + self.rng.random_range(0..=2 * least);
        self.schedule(after, What::Synced { node, life });
    }

    fn synced(&mut self, node: NodeId) {
        let outside = &mut self.hosts[index(node)];
        let Some(batch) = outside.syncing.take() else { return };
        let fails = std::mem::take(&mut outside.sync_fails);
        if fails && mutated(Mutant::SyncErrorSwallowed) {
            self.take(Step::Disk { node, fault: DiskFault::LoseSyncs(1) });
        } else if fails {
            // The host's side of the contract: what could not be made durable ends the process.
            self.end(node, 0);
            return self.schedule(RESTART, What::Restart { node });
        }
        let changes = batch.saturating_sub(self.bench.host(node).disk().synced());
        self.take(Step::Synced { node, changes });
    }

    /// Mixes a step into the hash of everything that happened.
    fn mix(&mut self, step: &Step) {
        let (kind, number) = match step {
            Step::Start { incarnation, .. } => (1, *incarnation),
            Step::Client { request, .. } => (2, request.0),
            Step::Deliver { message, again } => (3, message << 1 | u64::from(*again)),
            Step::Lose { message } => (4, *message),
            Step::Timer { timer, .. } => (5, Digest::of(timer).0),
            Step::Unreachable { peer, .. } => (6, u64::from(peer.0)),
            Step::Synced { changes, .. } => (7, *changes),
            Step::Crash { keep, .. } => (8, *keep),
            Step::Wipe { identity, .. } => (9, identity.0),
            Step::Disk { .. } => (10, 0),
            Step::Clock { skew, .. } => (11, Digest::of(skew).0),
            Step::Cut { from, to } => (12, u64::from(from.0) << 16 | u64::from(to.0)),
            Step::Heal { from, to } => (13, u64::from(from.0) << 16 | u64::from(to.0)),
            Step::Pause { .. } => (14, 0),
            Step::Resume { .. } => (15, 0),
            Step::BackUp { .. } => (16, 0),
            Step::Restore { .. } => (17, 0),
            Step::Prune { .. } => (18, 0),
            Step::Propose { edit, .. } => (19, Digest::of(edit).0),
            Step::Enrol { by, .. } => (20, u64::from(by.0)),
        };
        let node = step.node().map_or(0, |node| u64::from(node.0));
        for part in [self.now, kind << 32 | node, number] {
            // The finaliser of SplitMix64 (Steele, Lea, Flood 2014).
            let mut mixed = self.hash.wrapping_add(part).wrapping_add(0x9e37_79b9_7f4a_7c15);
            mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            self.hash = mixed ^ mixed >> 31;
        }
    }
}
