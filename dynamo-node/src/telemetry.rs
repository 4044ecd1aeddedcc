//! What a node has done since it started: counted where the protocol and its host say it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dynamo_protocol::{Discard, Event, NodeId, Reply, Role, StoreError};

/// Hands the names of all counters to a macro. They are those of the network's report, which the compiler
/// checks where one becomes the other.
macro_rules! with_counters {
    ($then:ident) => {
        $then! {
            hints_stored hints_delivered read_repairs forwarded coordinated_home
            coordinated_fallback acknowledged refused timed_out gets suspicions alive_again
            dropped_overflow dropped_unreachable discarded_dead_identity discarded_bad_versions
            discarded_misaddressed store_corrupt store_unreadable store_unwritable messages_sent
            messages_received messages_malformed steps commits changes overloaded
            discarded_repeated links_dead connections_turned_away rolled_back exchanges keys_synced
            refilled epochs_entered hints_adopted strays_dropped discarded_old_epoch
            counted_anew tombstones_dropped discarded_old_era idle_forgotten background_put_off
            messages_corrupt links_broken
        }
    };
}
pub(crate) use with_counters;

macro_rules! define {
    ($($name:ident)*) => {
        /// How often what happened.
        #[derive(Clone, Copy, Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: u64,)*
        }
    };
}
with_counters!(define);

/// What the network counts: its tasks and the driver share it.
#[derive(Debug, Default)]
pub(crate) struct LinkCounters {
    /// Thrown away because a queue was full.
    pub(crate) overflow: AtomicU64,
    /// Thrown away because the peer could not be reached.
    pub(crate) unreachable: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) malformed: AtomicU64,
    /// Not what the peer has sent.
    pub(crate) corrupt: AtomicU64,
    /// Links of peers that ended, and not in order.
    pub(crate) broken: AtomicU64,
    /// Links that were found dead: neither up nor dialling while messages wait.
    pub(crate) dead: AtomicU64,
    /// Requests that were refused before the driver saw them.
    pub(crate) shed: AtomicU64,
    /// Connections for which there was no room.
    pub(crate) turned_away: AtomicU64,
}

/// Adds to a counter that orders nothing.
pub(crate) fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

/// All counters of a node.
#[derive(Debug, Default)]
pub(crate) struct Telemetry {
    pub(crate) counters: Counters,
    /// By node, how many hints for it were stored.
    pub(crate) hinted: BTreeMap<NodeId, u64>,
    /// By partner, which of all exchanges was the last with it.
    pub(crate) exchanged: BTreeMap<NodeId, u64>,
    pub(crate) links: Arc<LinkCounters>,
}

impl Telemetry {
    /// Everything, as of now.
    pub(crate) fn snapshot(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            dropped_overflow: read(&self.links.overflow),
            dropped_unreachable: read(&self.links.unreachable),
            messages_sent: read(&self.links.sent),
            messages_received: read(&self.links.received),
            messages_malformed: read(&self.links.malformed),
            messages_corrupt: read(&self.links.corrupt),
            links_broken: read(&self.links.broken),
            links_dead: read(&self.links.dead),
            connections_turned_away: read(&self.links.turned_away),
            overloaded: self.counters.overloaded + read(&self.links.shed),
            ..self.counters
        }
    }

    /// A client is answered.
    pub(crate) fn replied(&mut self, reply: &Reply) {
        match reply {
            Reply::Got { .. } => self.counters.gets += 1,
            Reply::Done { .. } => {}
            Reply::Refused(_) => self.counters.refused += 1,
            Reply::TimedOut => self.counters.timed_out += 1,
        }
    }

    /// The protocol says what happened.
    pub(crate) fn event(&mut self, event: &Event) {
        let counters = &mut self.counters;
        match event {
            Event::Coordinating { role: Role::Home, .. } => counters.coordinated_home += 1,
            Event::Coordinating { role: Role::Hint(_), .. } => counters.coordinated_fallback += 1,
            Event::Minted { .. } => {}
            Event::ForwardedTo(_) => counters.forwarded += 1,
            Event::Acknowledged { .. } => counters.acknowledged += 1,
            Event::HintStored(target) => self.hint_stored(*target),
            Event::HintDelivered(_) => counters.hints_delivered += 1,
            Event::ReadRepair(_) => counters.read_repairs += 1,
            Event::Refilled(what) => {
                counters.refilled += 1;
                let key = what.as_ref().map(tracing::field::display);
                tracing::info!(key, "all that other homes hold is held here: votes again");
            }
            Event::Synced(_) => counters.keys_synced += 1,
            Event::Exchanged { with, keys } => self.exchanged(*with, *keys),
            Event::Suspected(peer) => {
                counters.suspicions += 1;
                tracing::info!(%peer, "suspected: believed to be down");
            }
            Event::Alive(peer) => {
                counters.alive_again += 1;
                tracing::info!(%peer, "heard again: up");
            }
            Event::Discarded(from, why) => {
                match why {
                    Discard::DeadIdentity => counters.discarded_dead_identity += 1,
                    Discard::BadVersions => counters.discarded_bad_versions += 1,
                    Discard::Misaddressed => counters.discarded_misaddressed += 1,
                    Discard::Repeated => counters.discarded_repeated += 1,
                    Discard::OldEpoch => counters.discarded_old_epoch += 1,
                    Discard::OldEra => counters.discarded_old_era += 1,
                }
                tracing::debug!(%from, ?why, "message discarded");
            }
            Event::CountedAnew(op) => {
                counters.counted_anew += 1;
                tracing::debug!(%op, "counted anew among other homes");
            }
            Event::Entered(_)
            | Event::ChangeDecided { .. }
            | Event::ChangeRefused { .. }
            | Event::EpochForced(_)
            | Event::Removed
            | Event::AnotherCluster { .. }
            | Event::Filled { .. }
            | Event::HintAdopted
            | Event::StrayDropped => self.membership(event),
            Event::TombstoneDropped
            | Event::IdleForgotten(_)
            | Event::LossAccepted { .. }
            | Event::RolledBack { .. }
            | Event::Pruned(_) => self.forgotten(event),
            Event::Proven => {
                tracing::info!("no peer remembers more of this directory than it holds")
            }
            Event::StoreFailed(role, error) => {
                match error {
                    StoreError::Corrupt => counters.store_corrupt += 1,
                    StoreError::Unreadable => counters.store_unreadable += 1,
                    StoreError::Unwritable => counters.store_unwritable += 1,
                }
                tracing::warn!(?role, %error, "storage");
            }
        }
    }

    fn hint_stored(&mut self, target: NodeId) {
        self.counters.hints_stored += 1;
        *self.hinted.entry(target).or_default() += 1;
    }

    fn exchanged(&mut self, with: NodeId, keys: u64) {
        self.counters.exchanges += 1;
        self.exchanged.insert(with, self.counters.exchanges);
        if keys > 0 {
            tracing::info!(%with, keys, "exchanged what one of both lacked");
        }
    }

    /// The same of what is given up for good, or turns out to be.
    fn forgotten(&mut self, event: &Event) {
        match event {
            Event::TombstoneDropped => self.counters.tombstones_dropped += 1,
            Event::IdleForgotten(actors) => self.counters.idle_forgotten += *actors as u64,
            Event::RolledBack { told_by, remembered, position } => {
                self.counters.rolled_back += 1;
                tracing::error!(
                    %told_by, identity = %remembered.identity, remembered = remembered.position, position,
                    "this directory was rolled back: a peer remembers more of it than it holds. It goes on \
                     under a new identity, amnesiac"
                );
            }
            Event::LossAccepted { ranges } => {
                tracing::warn!(
                    ranges,
                    "an operator accepts what this directory lacks as lost: it counts"
                );
            }
            Event::Pruned(entries) => tracing::warn!(entries, "a key's contexts pruned"),
            _ => {}
        }
    }

    /// The same of the membership, and of what a change of it means here.
    fn membership(&mut self, event: &Event) {
        match event {
            Event::Entered(epoch) => {
                self.counters.epochs_entered += 1;
                tracing::info!(%epoch, "goes by this membership from now on");
            }
            Event::ChangeDecided { edit, epoch } => tracing::info!(%epoch, %edit, "decided"),
            Event::EpochForced(epoch) => tracing::warn!(%epoch, "made without a vote"),
            Event::ChangeRefused { edit, why } => tracing::warn!(%edit, why, "change refused"),
            Event::Removed => tracing::warn!("removed from the membership: no member any more"),
            Event::AnotherCluster { from, why } => {
                tracing::error!(%from, why, "a peer tells a membership that cannot be");
            }
            Event::Filled { left } => tracing::info!(left, "counts in more of its ranges"),
            Event::HintAdopted => self.counters.hints_adopted += 1,
            Event::StrayDropped => self.counters.strays_dropped += 1,
            _ => {}
        }
    }
}
