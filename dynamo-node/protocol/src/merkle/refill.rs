//! The end of amnesia: a home whose directory or record was lost votes again once it holds all that every
//! other home held.
//!
//! Of every other home, one after the other: an exchange that this node led came to its end, and the other
//! was no amnesiac itself, nor in doubt. All of them, and not N-W+1: a put may have been acknowledged with
//! the word of the lost directory, and reach the homes that were asked only after they were. But whoever
//! coordinates a put stores it before anybody else is asked to, and is among *all*. What an amnesiac source
//! lacks proves nothing, so two amnesiac homes of one key wait for each other for good.
//!
//! What was asked before the loss was noticed is no answer. Who was asked is forgotten with the process: a
//! start begins anew.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{Key, NodeId};
use crate::io::Event;
use crate::mutant::{Mutant, mutated};
use crate::node::Node;
use crate::operations::Operation;
use crate::step::Step;
use crate::storage::{Change, Meta, Place, Record, Role, Store, StoreError};
use crate::transfer::Counted;

/// How many records' refilling is kept in mind; others have their turn when these are done.
const RECORDS: usize = 1024;

/// Of whom all is held that they held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Refill {
    /// Of all keys.
    directory: BTreeSet<NodeId>,
    /// Of those whose record was lost.
    records: BTreeMap<Key, BTreeSet<NodeId>>,
}

impl Node {
    /// Whether what this node lacks was never acknowledged by it.
    pub(crate) fn counts(&self) -> bool {
        !self.meta.amnesiac && self.is_proven()
    }

    /// All that `source` held is held here.
    pub(crate) fn contains_all_of<S: Store>(&mut self, step: &mut Step<'_, S>, source: NodeId) {
        if !self.meta.amnesiac {
            return;
        }
        self.anti_entropy.refill.directory.insert(source);
        let contained = &self.anti_entropy.refill.directory;
        let is_missing =
            |id: NodeId| id != self.me && !contained.contains(&id) && self.shares_with(id);
        if !self.view.ids().any(is_missing) || mutated(Mutant::RefillOfOne) {
            match self.count_from_now(step, self.meta.losses) {
                Ok(()) => step.event(Event::Refilled(None)),
                // The next exchange tries again.
                Err(error) => step.event(Event::StoreFailed(Role::Home, error)),
            }
        }
    }

    /// An operator's word takes the place of homes that are gone, or amnesiac themselves: what this directory
    /// lacks counts as lost. That may be more than W-1 disks: then promises hold from now on alone.
    pub(crate) fn accept_loss<S: Store>(&mut self, step: &mut Step<'_, S>) {
        let ranges = if self.meta.amnesiac { self.home_ranges() } else { self.filling() };
        if ranges > 0 {
            if let Err(error) = self.count_from_now(step, self.meta.losses + 1) {
                return step.event(Event::StoreFailed(Role::Home, error));
            }
            self.filled_by_word();
        }
        step.event(Event::LossAccepted { ranges });
    }

    /// The directory counts wherever it is a home.
    fn count_from_now<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        losses: u64,
    ) -> Result<(), StoreError> {
        let meta = Meta { amnesiac: false, losses, ..self.meta };
        let counted = Counted::as_home(self.me, &self.view);
        let mut changes = vec![Change::Meta(meta)];
        changes.extend(self.counted_change(&counted));
        self.write(step, changes)?;
        self.counted = counted;
        self.anti_entropy.refill.directory.clear();
        Ok(())
    }

    /// All that `source` held of `key` is held here, in a record that was lost before it was asked.
    pub(crate) fn contains_record_of<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        source: NodeId,
        key: &Key,
        record: &Record,
    ) {
        let refills = &mut self.anti_entropy.refill.records;
        if !refills.contains_key(key) && refills.len() == RECORDS {
            return;
        }
        let contained = refills.entry(key.clone()).or_default();
        contained.insert(source);
        let is_missing = |home: &NodeId| *home != self.me && !contained.contains(home);
        if !self.view.homes(key).iter().any(is_missing) || mutated(Mutant::RefillOfOne) {
            let whole = Record { amnesiac: false, ..record.clone() };
            match self.write(step, vec![Change::Put(Place::home(key.clone()), whole)]) {
                Ok(()) => {
                    self.anti_entropy.refill.records.remove(key);
                    step.event(Event::Refilled(Some(key.clone())));
                }
                Err(error) => step.event(Event::StoreFailed(Role::Home, error)),
            }
        }
    }

    /// The home record of `key` turns out to be lost: who was asked before was not asked for this.
    pub(crate) fn record_lost(&mut self, key: &Key) {
        self.anti_entropy.refill.records.remove(key);
        self.operations.change_all(|operation| match operation {
            Operation::Sync(sync) if sync.is_of(key) => sync.refills_no_more(),
            _ => {}
        });
    }

    /// The whole directory does, or the homes are others: so it is with all.
    pub(crate) fn forget_who_was_asked(&mut self) {
        self.end_exchange();
        self.anti_entropy.refill = Refill::default();
    }
}
