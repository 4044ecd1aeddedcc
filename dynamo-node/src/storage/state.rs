//! What a directory says of itself, written with every batch: who it is, how far it has come, and a
//! census of its records that shows whether any was lost, altered or brought back.

use bytes::Bytes;
use dynamo_protocol::{Meta, StoreError};
use serde::{Deserialize, Serialize};

use super::codec::{seal, sum, unseal};
use super::{Engine, EngineError, Space, Write, enrolment};

/// The key of the directory's [`State`].
pub(super) const STATE: &[u8] = b"state";

/// See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Who the directory is.
    pub(crate) meta: Meta,
    /// The number of the batch that brought this state. Numbers go on across restarts, and start at 1
    /// with the first batch after the directory was made.
    pub(crate) position: u64,
    /// What it keeps as home.
    pub(crate) home: Census,
    /// What it keeps as hints.
    pub(crate) hints: Census,
    /// What it keeps of the membership.
    pub(super) enrolment: Census,
}

/// The records of one space. Kept up by differences, and taken whole whenever the directory is opened and was
/// not closed in order: whatever the engine lost or brought back shows, from whichever of its files it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Census {
    /// How many there are.
    pub(crate) records: u64,
    /// The sum of their digests, in any order.
    sum: u64,
}

/// What stands in the census for one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted(u64);

/// What is done with each record that is counted: with its key, its value, and what stands for it.
pub(crate) type Look<'a> = &'a mut dyn FnMut(&[u8], &[u8], Counted);

impl Counted {
    /// Of what was sealed, or found to be whole, without another look at all of it.
    pub(super) fn of_whole(value: &[u8]) -> Self {
        let sealed = value.last_chunk::<4>().map_or(0, |sealed| u32::from_le_bytes(*sealed));
        Self::mixed(u64::from(sealed) << 32 | u64::from(sealed))
    }

    /// Of `value` under `key`, whether it was sealed well or not.
    pub(super) fn of(key: &[u8], value: &[u8]) -> Self {
        let (body, sealed) = value.split_last_chunk::<4>().unwrap_or((value, &[0; 4]));
        // A checksum over a message and its own checksum is the same for all messages: the two stand
        // side by side instead.
        let both = u64::from(sum(key, body)) << 32 | u64::from(u32::from_le_bytes(*sealed));
        Self::mixed(both)
    }

    fn mixed(both: u64) -> Self {
        // Mixed, so that sums of several do not cancel out (the finaliser of splitmix64).
        let mixed = (both ^ both >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self(mixed ^ mixed >> 31)
    }
}

impl Census {
    /// Takes the census of `space`: reads all of it, and shows each record to `look`.
    pub(super) fn take(
        engine: &dyn Engine,
        space: Space,
        look: Look<'_>,
    ) -> Result<Self, EngineError> {
        let mut census = Self::default();
        engine.scan(space, &[], &mut |key, value| {
            let counted = Counted::of(key, value);
            census.add(counted);
            look(key, value, counted);
            true
        })?;
        Ok(census)
    }

    /// There is one more.
    pub(super) fn add(&mut self, record: Counted) {
        self.records = self.records.wrapping_add(1);
        self.sum = self.sum.wrapping_add(record.0);
    }

    /// Of the records of both, which have none in common.
    pub(super) fn and(self, other: &Self) -> Self {
        let records = self.records.wrapping_add(other.records);
        Self { records, sum: self.sum.wrapping_add(other.sum) }
    }

    /// There is one less.
    pub(super) fn remove(&mut self, record: Counted) {
        self.records = self.records.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(record.0);
    }
}

impl State {
    /// Of a directory that holds nothing.
    pub(super) fn new(meta: Meta) -> Self {
        let none = Census::default();
        Self { meta, position: 0, home: none, hints: none, enrolment: none }
    }

    /// What `engine` says; none if it says nothing.
    pub(super) fn read(
        engine: &dyn Engine,
    ) -> Result<Option<Result<Self, StoreError>>, EngineError> {
        let found = engine.get(Space::Meta, STATE)?;
        Ok(found.map(|found| unseal(STATE, &found)))
    }

    /// The same with the census that `engine` shows: reads all records, and shows those it keeps as home to
    /// `look`.
    pub(crate) fn counted(self, engine: &dyn Engine, look: Look<'_>) -> Result<Self, EngineError> {
        let home = Census::take(engine, Space::Home, look)?;
        let hints = Census::take(engine, Space::Hints, &mut |_, _, _| {})?;
        Ok(Self { home, hints, enrolment: enrolment::census(engine)?, ..self })
    }

    /// Whether `engine` shows the same, but for what is kept as home: that is not read.
    pub(super) fn is_counted_but_home(&self, engine: &dyn Engine) -> Result<bool, EngineError> {
        let hints = Census::take(engine, Space::Hints, &mut |_, _, _| {})?;
        Ok(hints == self.hints && enrolment::census(engine)? == self.enrolment)
    }

    /// The census of a space that has records.
    pub(super) fn census(&mut self, space: Space) -> Option<&mut Census> {
        match space {
            Space::Meta => None,
            Space::Home => Some(&mut self.home),
            Space::Hints => Some(&mut self.hints),
        }
    }

    /// The write that makes it the directory's.
    pub(super) fn write(&self) -> Write {
        let value = Some(seal(STATE, self));
        Write { space: Space::Meta, key: Bytes::from_static(STATE), value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_census_shows_any_flipped_bit_and_does_not_depend_on_the_order() {
        let records: Vec<_> = (0..9_u64).map(|n| (n.to_be_bytes(), seal(b"k", &n))).collect();
        let count = |records: &mut dyn Iterator<Item = (&[u8], &[u8])>| {
            let mut census = Census::default();
            records.for_each(|(key, value)| census.add(Counted::of(key, value)));
            census
        };
        let whole = count(&mut records.iter().map(|(key, value)| (&key[..], &value[..])));
        assert_eq!(whole, count(&mut records.iter().rev().map(|(k, v)| (&k[..], &v[..]))));
        let (key, value) = &records[3];
        assert_eq!(Counted::of_whole(value), Counted::of(b"k", value));
        let mut rest = whole;
        rest.remove(Counted::of(key, value));
        assert_eq!(rest.records, 8);
        for bit in 0..value.len() * 8 {
            let mut flipped = value.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let mut census = rest;
            census.add(Counted::of(key, &flipped));
            assert_ne!(census, whole, "{bit}");
        }
    }
}
