//! The records of a disk, by place.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use dynamo_protocol::{Key, Leaf, Place, Record, Role, Span, Token};
use rustc_hash::FxHashMap;

/// Homes by hash, since every step looks one up; hints in order, since they are looked through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Records {
    homes: FxHashMap<Place, Held>,
    hints: BTreeMap<Place, Record>,
}

/// A home record, and what stands for it where homes compare what they hold: worked out when it is first
/// asked for.
#[derive(Clone, Debug)]
struct Held {
    record: Record,
    leaf: OnceCell<(Token, Option<Leaf>)>,
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.record == other.record
    }
}

impl Eq for Held {}

impl Records {
    pub(crate) fn get(&self, place: &Place) -> Option<&Record> {
        match place.role {
            Role::Home => self.homes.get(place).map(|held| &held.record),
            Role::Hint(_) => self.hints.get(place),
        }
    }

    pub(crate) fn insert(&mut self, place: Place, record: Record) -> Option<Record> {
        match place.role {
            Role::Home => {
                let held = Held { record, leaf: OnceCell::new() };
                self.homes.insert(place, held).map(|held| held.record)
            }
            Role::Hint(_) => self.hints.insert(place, record),
        }
    }

    pub(crate) fn remove(&mut self, place: &Place) -> Option<Record> {
        match place.role {
            Role::Home => self.homes.remove(place).map(|held| held.record),
            Role::Hint(_) => self.hints.remove(place),
        }
    }

    /// All of them, in the order of their places. Costs a sort of the homes.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = (&Place, &Record)> {
        let homes = self.homes.iter().map(|(place, held)| (place, &held.record));
        let mut homes: Vec<_> = homes.collect();
        homes.sort_unstable_by_key(|(place, _)| *place);
        homes.into_iter().chain(&self.hints)
    }

    /// The leaves of the home records in `span` that `can_be_read`, in no order.
    pub(crate) fn leaves(
        &self,
        span: Span,
        can_be_read: impl Fn(&Place) -> bool,
    ) -> impl Iterator<Item = (Token, &Key, Leaf)> {
        self.homes.iter().filter_map(move |(place, held)| {
            let work_out = || (Token::of_key(&place.key), Leaf::of(&place.key, &held.record));
            let (token, leaf) = *held.leaf.get_or_init(work_out);
            let is_meant = span.contains(token) && can_be_read(place);
            leaf.filter(|_| is_meant).map(|leaf| (token, &place.key, leaf))
        })
    }

    pub(crate) fn hints(&self) -> &BTreeMap<Place, Record> {
        &self.hints
    }

    pub(crate) fn drop_hints(&mut self) {
        self.hints.clear();
    }
}
