//! What befalls a cluster: processes that end, links that are cut, disks that fail, and all being well
//! again.

use dynamo_protocol::membership::{Edit, Membership};
use dynamo_protocol::{Identity, NodeId, Place, Skew};
use rand::Rng;

use super::{Answer, QUICK_SYNC, What, World};
use crate::disk::DiskFault;
use crate::host::index;
use crate::network::{Network, Shape};
use crate::trace::Step;

impl World {
    /// Whether the process of `node` runs, if only paused.
    #[must_use]
    pub fn runs(&self, node: NodeId) -> bool {
        self.bench.host(node).node().is_some()
    }

    /// Ends the process; the system may yet write what it had not synced.
    pub fn kill(&mut self, node: NodeId) {
        let disk = self.bench.host(node).disk();
        let keep = self.rng.random_range(0..=disk.applied() - disk.synced());
        self.end(node, keep);
    }

    /// Cuts the power of a host: what was not synced is gone, or all but some of the oldest.
    pub fn power_cut(&mut self, node: NodeId) {
        let disk = self.bench.host(node).disk();
        let unsynced = disk.applied() - disk.synced();
        let keep = if self.rng.random() { 0 } else { self.rng.random_range(0..=unsynced) };
        self.end(node, keep);
    }

    pub(super) fn end(&mut self, node: NodeId, keep: u64) {
        if !self.runs(node) {
            return;
        }
        let disk = self.bench.host(node).disk();
        self.counters.changes_lost += (disk.applied() - disk.synced()).saturating_sub(keep);
        self.take(Step::Crash { node, keep });
        self.lose_copies(node);
        self.links.renew(node);
        self.exchanged.remove(&node);
        let outside = &mut self.hosts[index(node)];
        outside.syncing = None;
        let backlog = std::mem::take(&mut outside.backlog);
        for what in backlog {
            self.happen(what);
        }
        let mut open: Vec<_> = self.requests.iter().filter(|entry| *entry.1 == node).collect();
        open.sort_unstable();
        for request in open.into_iter().map(|entry| *entry.0).collect::<Vec<_>>() {
            self.requests.remove(&request);
            self.answer(request, Answer::Broken);
        }
        for peer in self.bench.cluster().ids().filter(|peer| *peer != node) {
            self.tell_unreachable(peer, node);
        }
    }

    /// Starts the process again on what its disk holds.
    pub fn start(&mut self, node: NodeId) {
        if self.runs(node) {
            return;
        }
        if self.is_gone(node) {
            if self.membership().seat(node).is_none() {
                return;
            }
            // It was put back to what another has taken the place of: an operator empties it.
            self.wipe(node);
        }
        if self.bench.view_at_start(node).is_none() {
            // Its disk knows of no membership that it is in: others are asked, as long as it takes.
            let known = self.bench.host(node).disk().enrolment().epochs.len();
            let knows = |peer: &NodeId| {
                let of = self.bench.host(*peer).node();
                of.is_some_and(|of| {
                    of.view().contains(node) && of.view().history().epochs().len() > known
                })
            };
            match self.bench.cluster().ids().find(knows) {
                Some(by) => self.take(Step::Enrol { node, by }),
                None => return,
            }
        }
        let incarnation = self.name();
        // The first start makes the directory; so does the first after a wipe.
        let outside = &mut self.hosts[index(node)];
        let was_made = std::mem::replace(&mut outside.made, true);
        let spare = was_made.then(|| Identity(self.name()));
        self.take(Step::Start { node, incarnation, spare });
    }

    /// A name that nothing had: of 53 bits, as a node draws it.
    fn name(&mut self) -> u64 {
        self.names.random_range(0..1 << 53)
    }

    /// Starts a host whose directory the members name, and that knows of no membership: one of them tells it.
    pub fn admit(&mut self, node: NodeId) {
        let directory = self.bench.host(node).disk().meta().directory(node);
        let names = |peer: &NodeId| {
            let of = self.bench.host(*peer).node();
            let seat = of.and_then(|of| of.view().history().latest().seat(node));
            seat.is_some_and(|seat| seat.directory == directory)
        };
        let is_new = self.bench.host(node).disk().enrolment().epochs.is_empty();
        let by = self.bench.cluster().ids().find(names);
        if let Some(by) = by.filter(|_| is_new && !self.runs(node)) {
            self.take(Step::Enrol { node, by });
        }
        self.start(node);
    }

    /// An operator asks `node` for a change of the membership, if it runs.
    pub fn propose(&mut self, node: NodeId, edit: Edit) {
        if self.runs(node) && !self.bench.host(node).is_paused() {
            self.take(Step::Propose { node, edit });
        }
    }

    /// The last membership that a running node knows.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        self.bench.view().history().latest()
    }

    /// Whether the directory of `node` was removed from the membership.
    #[must_use]
    pub fn is_gone(&self, node: NodeId) -> bool {
        let directory = self.bench.host(node).disk().meta().directory(node);
        self.membership().gone().contains(&directory)
    }

    /// `node` knows who joined: hosts that wait for that start.
    pub(super) fn call_in_newcomers(&mut self, node: NodeId) {
        let Some(of) = self.bench.host(node).node() else { return };
        let is_new = |id: &NodeId| {
            let host = self.bench.host(*id);
            host.starts() == 0 || host.node().is_none() && self.bench.view_at_start(*id).is_none()
        };
        let newcomers: Vec<_> = of.view().everybody().filter(is_new).collect();
        for newcomer in newcomers {
            self.schedule(0, What::Restart { node: newcomer });
        }
    }

    /// Ends the process and empties its disk.
    pub fn wipe(&mut self, node: NodeId) {
        self.kill(node);
        self.hosts[index(node)].made = false;
        let identity = Identity(self.name());
        self.take(Step::Wipe { node, identity });
    }

    /// Takes a backup of the disk, as a power cut would leave it now.
    pub fn back_up(&mut self, node: NodeId) {
        self.take(Step::BackUp { node });
    }

    /// Ends the process; the disk is as it was when it was backed up, if it was.
    pub fn roll_back(&mut self, node: NodeId) {
        self.kill(node);
        if self.bench.host(node).backup().is_some() {
            // Not made by the next start, even if the disk was empty a moment ago.
            self.hosts[index(node)].made = true;
            self.take(Step::Restore { node });
        }
    }

    /// The process stands still.
    pub fn pause(&mut self, node: NodeId) {
        if self.runs(node) {
            self.take(Step::Pause { node });
        }
    }

    /// It goes on, with all that came for it meanwhile.
    pub fn resume(&mut self, node: NodeId) {
        if self.bench.host(node).is_paused() {
            self.take(Step::Resume { node });
            for what in std::mem::take(&mut self.hosts[index(node)].backlog) {
                self.schedule(0, what);
            }
        }
    }

    /// What `from` sends does not reach `to` from now on.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        if !self.bench.is_cut(from, to) {
            self.take(Step::Cut { from, to });
        }
    }

    /// It does again; what the link held arrives.
    pub fn heal(&mut self, from: NodeId, to: NodeId) {
        if self.bench.is_cut(from, to) {
            self.take(Step::Heal { from, to });
            for (message, lag) in self.links.let_go(from, to, &mut self.rng) {
                self.schedule(self.conditions.network.latency + lag, What::Arrive { message });
            }
        }
    }

    /// Makes a link worse than the network is, or as it was.
    pub fn shape(&mut self, from: NodeId, to: NodeId, shape: Shape) {
        self.links.shape(from, to, shape);
    }

    /// What a fault adds to a link now.
    #[must_use]
    pub fn shape_of(&self, from: NodeId, to: NodeId) -> Shape {
        self.links.shape_of(from, to)
    }

    /// Sets how a node's wall clock is off from now on.
    pub fn clock(&mut self, node: NodeId, skew: Skew) {
        self.take(Step::Clock { node, skew });
    }

    /// The disk misbehaves.
    pub fn disk(&mut self, node: NodeId, fault: DiskFault) {
        self.take(Step::Disk { node, fault });
    }

    /// A record of the node's disk is damaged, if it has any; says which. Half the time one of which another
    /// home of its key has missed something: what is lost there is not told by everybody.
    pub fn damage(&mut self, node: NodeId) -> Option<Place> {
        let records = self.bench.host(node).disk().records();
        let mut places: Vec<_> = records.map(|(place, _)| place.clone()).collect();
        if self.rng.random() {
            let scarce = places.iter().filter(|place| self.is_scarce(node, place));
            let scarce: Vec<_> = scarce.cloned().collect();
            places = if scarce.is_empty() { places } else { scarce };
        }
        let at = self.rng.random_range(0..places.len().max(1));
        let place = places.get(at)?.clone();
        let fault = DiskFault::Damage(place.role, place.key.clone());
        self.take(Step::Disk { node, fault });
        Some(place)
    }

    /// All hints that the node's disk holds are gone, and nothing tells; how many there were.
    pub fn lose_hints(&mut self, node: NodeId) -> usize {
        let hints: Vec<_> = self.bench.host(node).disk().hints().cloned().collect();
        for place in &hints {
            let fault = DiskFault::Forget(place.role, place.key.clone());
            self.take(Step::Disk { node, fault });
        }
        hints.len()
    }

    /// Whether another home of the place's key lacks something of what `node` holds there.
    fn is_scarce(&self, node: NodeId, place: &Place) -> bool {
        let Some(held) = self.bench.host(node).disk().present(place) else { return false };
        let homes = self.bench.view().homes(&place.key);
        let home = Place::home(place.key.clone());
        homes.iter().filter(|home| **home != node).any(|other| {
            let other = self.bench.host(*other).disk().present(&home);
            other.is_none_or(|other| !other.set.covers(&held.set))
        })
    }

    /// The next sync fails: the process ends and is started again.
    pub fn fail_sync(&mut self, node: NodeId) {
        self.hosts[index(node)].sync_fails = true;
    }

    /// Syncs of the node's disk take so many times as long.
    pub fn slow_disk(&mut self, node: NodeId, times: u64) {
        self.hosts[index(node)].slowness = times.max(1);
    }

    /// How many times as long as they should syncs of the node's disk take.
    #[must_use]
    pub fn slowness(&self, node: NodeId) -> u64 {
        self.hosts[index(node)].slowness
    }

    /// Links, disks and clocks are well again and quick, and every process runs. What nodes hold of
    /// that is up to them. A network slower than nodes' hedging delay would not be: they would go on
    /// suspecting each other, and a sloppy get may then be answered by fallbacks alone.
    pub fn mend(&mut self) {
        self.links.network = Network { tells: self.links.network.tells, ..Network::quiet() };
        self.conditions.sync = self.conditions.sync.min(QUICK_SYNC);
        for node in self.bench.cluster().ids() {
            self.hosts[index(node)].sync_fails = false;
            self.slow_disk(node, 1);
            self.disk(node, DiskFault::Mend);
            self.clock(node, Skew::NONE);
            self.resume(node);
            self.start(node);
            for peer in self.bench.cluster().ids().filter(|peer| *peer != node) {
                self.heal(node, peer);
                self.shape(node, peer, Shape::default());
            }
        }
    }

    /// Looks for acknowledged puts that too few disks hold.
    pub fn sweep(&mut self) {
        self.bench.sweep(NodeId(1));
        let mut effects = std::mem::take(&mut self.effects);
        self.bench.swap_effects(&mut effects);
        for effect in effects.drain(..) {
            self.follow(effect);
        }
        self.effects = effects;
    }
}
