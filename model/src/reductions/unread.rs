//! Stores that nobody waits for: put off until their receiver is read.
//!
//! A store to a home whose acknowledgement tells nobody anything commutes with every step that
//! does not read the home's record: merges commute, and nobody asks what it acknowledges. So it need not
//! arrive before somebody is about to read: then any of those under way may have arrived, or not
//! (as in a store buffer; the persistent sets of Godefroid 1996 that leave a step out for as long as
//! nothing depends on it). Until then fewer copies are on disks than there could be, which is the worse
//! case for every property about copies.

use std::iter::repeat;

use crate::reductions::renaming::NOBODY;
use crate::world::spec::Durability;
use crate::world::state::{Action, Reading};
use crate::world::step::Step;
use crate::world::tables::{Sort, Tables};

impl Reading {
    /// The node that is read.
    pub(crate) fn node(self, tables: &Tables) -> u8 {
        match self {
            Self::Invoke { node, .. } => node,
            Self::Deliver(message) => tables.wire(message).to,
        }
    }

    /// The same by itself.
    pub(crate) fn action(self) -> Action {
        match self {
            Self::Invoke { client, node } => Action::Invoke { client, node },
            Self::Deliver(message) => Action::Deliver(message),
        }
    }
}

impl Step<'_> {
    /// Whether stores nobody waits for are put off in this state. Whether they have arrived must make
    /// no other difference than to who reads their receiver: not to who is found out of reach, or
    /// not to what anybody does who finds it.
    pub(crate) fn leaves_unread(&self) -> bool {
        let (spec, faults) = (self.spec, &self.spec.faults);
        let ended = usize::from(faults.crashes);
        let nobody_minds = spec.nodes == spec.settings.n
            && faults.partitions == 0
            && ended <= spec.settings.n - spec.settings.r.max(spec.settings.w)
            && spec.reductions.notice;
        spec.reductions.unread
            && spec.reductions.prompt
            && spec.reductions.renaming
            && spec.reductions.finished
            && spec.reductions.direct
            && spec.durability == Durability::Step
            && spec.copies_lost() == 0
            && [faults.losses, faults.hedges, faults.power_cuts] == [0; 3]
            && self.world.history.forwarded.is_empty()
            && (nobody_minds || self.is_calm())
    }

    /// Whether `message` may wait until its receiver is read.
    pub(crate) fn is_unread(&self, message: u32) -> bool {
        let wire = self.tables.wire(message);
        wire.sort == Sort::Store && !wire.hint && wire.op == Some(NOBODY)
    }

    /// What may have arrived at `node`, or not, when it is read.
    pub(crate) fn unread(&self, node: u8) -> Vec<u32> {
        if !self.leaves_unread() {
            return Vec::new();
        }
        // What a fallback is asked it passes on, to whichever home it can reach.
        let is_home = usize::from(node) < self.setup.homes();
        let is_for = |message: &u32| {
            (self.tables.wire(*message).to == node || !is_home)
                && self.is_unread(*message)
                && self.is_deliverable(*message)
        };
        self.world.flight.iter().copied().filter(is_for).collect()
    }

    /// All ways for `then` to happen: after any of those that may have arrived before.
    pub(crate) fn read(&mut self, then: Reading, actions: &mut Vec<Action>) {
        let node = then.node(self.tables);
        let unread = self.unread(node);
        if unread.is_empty() {
            return actions.push(then.action());
        }
        for late in 0..1_u32 << unread.len() {
            let is_chosen = |at: usize| late >> at & 1 == 1;
            let mut hosts = self.world.hosts.clone();
            let mut repeats = false;
            // Where one that is left out would bring nothing it might as well be among them.
            let (chosen, rest): (Vec<_>, Vec<_>) =
                unread.iter().enumerate().partition(|(at, _)| is_chosen(*at));
            for ((_, message), is_in) in
                chosen.iter().zip(repeat(true)).chain(rest.iter().zip(repeat(false)))
            {
                let to = usize::from(self.tables.wire(**message).to);
                let host = self.tables.effect(self.setup, hosts[to], **message).host;
                if is_in {
                    hosts[to] = host;
                } else {
                    repeats |= hosts[to] == host;
                }
            }
            if !repeats {
                actions.push(match late {
                    0 => then.action(),
                    late => Action::After { late, then },
                });
            }
        }
    }
}
