//! Messages under way, by number.

use std::collections::VecDeque;

use dynamo_protocol::{Envelope, NodeId};

/// Numbered in the order of sending. Most messages arrive soon, so that a window of numbers holds
/// all that are under way; what is lost leaves a hole in it until older ones are gone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flight {
    /// The number of the first slot.
    first: u64,
    slots: VecDeque<Option<Envelope>>,
}

impl Flight {
    pub(crate) fn send(&mut self, envelope: Envelope) -> u64 {
        self.slots.push_back(Some(envelope));
        self.first + self.slots.len() as u64 - 1
    }

    /// How many were sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Envelope> {
        self.slots.get(self.slot(number)?)?.as_ref()
    }

    pub(crate) fn take(&mut self, number: u64) -> Option<Envelope> {
        let slot = self.slot(number)?;
        let taken = self.slots.get_mut(slot)?.take();
        while self.slots.front().is_some_and(Option::is_none) {
            self.slots.pop_front();
            self.first += 1;
        }
        taken
    }

    /// What `node` has sent is lost.
    pub(crate) fn drop_from(&mut self, node: NodeId) {
        for slot in &mut self.slots {
            slot.take_if(|sent| sent.from == node);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Envelope)> {
        let numbered = (self.first..).zip(&self.slots);
        numbered.filter_map(|(number, slot)| slot.as_ref().map(|sent| (number, sent)))
    }

    fn slot(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok()
    }
}
