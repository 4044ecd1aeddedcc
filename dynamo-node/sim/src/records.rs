//! The records of a disk, by place.

use std::collections::BTreeMap;

use dynamo_protocol::{Place, Record, Role};
use rustc_hash::FxHashMap;

/// Homes by hash, since every step looks one up; hints in order, since they are looked through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Records {
    homes: FxHashMap<Place, Record>,
    hints: BTreeMap<Place, Record>,
}

impl Records {
    pub(crate) fn get(&self, place: &Place) -> Option<&Record> {
        match place.role {
            Role::Home => self.homes.get(place),
            Role::Hint(_) => self.hints.get(place),
        }
    }

    pub(crate) fn insert(&mut self, place: Place, record: Record) -> Option<Record> {
        match place.role {
            Role::Home => self.homes.insert(place, record),
            Role::Hint(_) => self.hints.insert(place, record),
        }
    }

    pub(crate) fn remove(&mut self, place: &Place) -> Option<Record> {
        match place.role {
            Role::Home => self.homes.remove(place),
            Role::Hint(_) => self.hints.remove(place),
        }
    }

    /// All of them, in the order of their places. Costs a sort of the homes.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = (&Place, &Record)> {
        let mut homes: Vec<_> = self.homes.iter().collect();
        homes.sort_unstable_by_key(|(place, _)| *place);
        homes.into_iter().chain(&self.hints)
    }

    pub(crate) fn hints(&self) -> &BTreeMap<Place, Record> {
        &self.hints
    }

    pub(crate) fn drop_hints(&mut self) {
        self.hints.clear();
    }
}
