//! How often nodes did what they are there for.

use dynamo_protocol::Event;

/// What nodes did, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Hints that became durable.
    pub hints_stored: u64,
    /// Hints whose target has them.
    pub hints_delivered: u64,
    /// Stale homes found by gets.
    pub read_repairs: u64,
    /// Keys that anti-entropy brought up to date.
    pub keys_synced: u64,
    /// Memberships that nodes went on to.
    pub epochs: u64,
    /// Hints of nodes that are no homes any more, taken over by their holders.
    pub hints_adopted: u64,
    /// Records that went to the homes of their keys from one that is none any more.
    pub strays_dropped: u64,
    /// Tombstones of which nothing was left to delete.
    pub tombstones_dropped: u64,
    /// Actors that contexts name no more, since nothing is left of what they wrote.
    pub idle_forgotten: u64,
    /// Requests sent on to a home.
    pub forwarded: u64,
    /// How often a node began to suspect a peer.
    pub suspicions: u64,
    /// Messages thrown away.
    pub discarded: u64,
    /// Records that could not be used.
    pub store_failures: u64,
    /// Directories that were found to have been rolled back.
    pub rolled_back: u64,
    /// Changes that crashes took: applied, and not yet synced.
    pub changes_lost: u64,
}

impl Counters {
    pub(crate) fn count(&mut self, event: &Event) {
        match event {
            Event::HintStored(_) => self.hints_stored += 1,
            Event::HintDelivered(_) => self.hints_delivered += 1,
            Event::ReadRepair(_) => self.read_repairs += 1,
            Event::Synced(_) => self.keys_synced += 1,
            Event::Entered(_) => self.epochs += 1,
            Event::HintAdopted => self.hints_adopted += 1,
            Event::StrayDropped => self.strays_dropped += 1,
            Event::TombstoneDropped => self.tombstones_dropped += 1,
            Event::IdleForgotten(actors) => self.idle_forgotten += *actors as u64,
            Event::ForwardedTo(_) => self.forwarded += 1,
            Event::Suspected(_) => self.suspicions += 1,
            Event::Discarded(..) => self.discarded += 1,
            Event::StoreFailed(..) => self.store_failures += 1,
            Event::RolledBack { .. } => self.rolled_back += 1,
            Event::Coordinating { .. }
            | Event::CountedAnew(_)
            | Event::Minted { .. }
            | Event::Acknowledged { .. }
            | Event::Alive(_)
            | Event::Proven
            | Event::Exchanged { .. }
            | Event::Refilled(_)
            | Event::ChangeDecided { .. }
            | Event::ChangeRefused { .. }
            | Event::EpochForced(_)
            | Event::Removed
            | Event::AnotherCluster { .. }
            | Event::Filled { .. }
            | Event::LossAccepted { .. }
            | Event::Pruned(_) => {}
        }
    }
}
