//! Merkle trees over what a node holds as home (paper, section 4.7): how two homes find out in few words
//! which keys they hold differently, and bring each other up to date.
//!
//! The tree is over the ring: a node of it is a [`Span`], its children are the span's
//! [parts](Span::parts), and its hash is the [`Fingerprint`] of the keys in it. A fingerprint is a sum, so a
//! store keeps it up to date with each write, and the one of what two nodes *both* are homes of is the sum
//! over those stretches, whatever the ring is cut into. How deep the tree goes is nobody's business but the
//! store's: who compares goes on until few enough keys are left to name them.

mod exchange;
mod refill;

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

pub(crate) use exchange::{AntiEntropy, Comparison, Sync};

use crate::id::Key;
use crate::storage::Record;
use crate::version::{Dot, Siblings, VersionVector};

/// A digest of a key's live versions, with the key.
///
/// Of the versions, and whether the record is amnesiac; never of the context they were written in: contexts
/// are pruned and grow at each node at its own time, and two homes that differ in nothing else would repair
/// each other for ever (riak_kv issue 1864).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Leaf(pub u128);

/// What a set of keys comes to: how many there are, and the sum of their leaves. Equal sets have equal
/// fingerprints, in whatever order they came about; others differ, but by accident of 1 in 2^128. It is no
/// protection against whoever chooses versions to that end.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Fingerprint {
    /// How many keys.
    pub keys: u64,
    /// The sum of their leaves, modulo 2^128.
    pub sum: u128,
}

/// What a home finds of one span when another home asks it to compare.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Compared {
    /// Both hold the same.
    Equal,
    /// They differ, and these are the fingerprints of the span's [parts](crate::Span::parts).
    Parts(Vec<Fingerprint>),
    /// They differ, and this is all that the answering home holds.
    Keys(Vec<(Key, Leaf)>),
}

impl Leaf {
    /// Of what is held of `key`; none if no version is live.
    #[must_use]
    pub fn of(key: &Key, record: &Record) -> Option<Self> {
        let Record { set, amnesiac, minter: _ } = record;
        // A set that has seen something may hold nothing of it any more.
        let live = set.len();
        if live == 0 {
            return None;
        }
        let mut hasher = Md5::new();
        hasher.update((key.as_bytes().len() as u64).to_le_bytes());
        hasher.update(key.as_bytes());
        // What it lacks it may have had: it differs from one that lacks the same and never had it.
        hasher.update([u8::from(*amnesiac)]);
        match set {
            // An event has one version.
            Siblings::Dotted(set) => {
                set.versions().iter().for_each(|version| digest_dot(&mut hasher, version.dot));
            }
            // A clock may have several.
            Siblings::Plain(set) => {
                for version in set.versions() {
                    digest_vector(&mut hasher, &version.clock);
                    let value = version.value.as_ref();
                    let length = value.map_or(u64::MAX, |value| value.len() as u64);
                    hasher.update(length.to_le_bytes());
                    hasher.update(value.map_or(&[][..], |value| value));
                }
            }
        }
        Some(Self(u128::from_le_bytes(hasher.finalize().into())))
    }
}

fn digest_dot(hasher: &mut Md5, Dot { actor, counter }: Dot) {
    for number in [actor.identity.0, actor.birth, counter] {
        hasher.update(number.to_le_bytes());
    }
}

fn digest_vector(hasher: &mut Md5, vector: &VersionVector) {
    hasher.update((vector.actors() as u64).to_le_bytes());
    vector.iter().for_each(|(actor, counter)| digest_dot(hasher, Dot { actor, counter }));
}

impl Fingerprint {
    /// There is one more.
    pub fn add(&mut self, leaf: Leaf) {
        self.keys = self.keys.wrapping_add(1);
        self.sum = self.sum.wrapping_add(leaf.0);
    }

    /// There is one less.
    pub fn remove(&mut self, leaf: Leaf) {
        self.keys = self.keys.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(leaf.0);
    }

    /// Those of `other`, which has none of these, are there too.
    pub fn join(&mut self, other: Self) {
        self.keys = self.keys.wrapping_add(other.keys);
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

impl FromIterator<Leaf> for Fingerprint {
    fn from_iter<I: IntoIterator<Item = Leaf>>(leaves: I) -> Self {
        let mut all = Self::default();
        leaves.into_iter().for_each(|leaf| all.add(leaf));
        all
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Identity;
    use crate::version::{Actor, DottedSet, Version};

    fn record(set: Siblings) -> Record {
        Record { set, minter: None, amnesiac: false }
    }

    fn set(dots: &[(u64, u64)], seen: &[(u64, u64)]) -> Siblings {
        let actor = |identity| Actor { identity: Identity(identity), birth: 0 };
        let dot = |&(identity, counter): &(u64, u64)| Dot { actor: actor(identity), counter };
        let version = |at| Version { dot: dot(at), timestamp: 0, value: None };
        let context = seen.iter().chain(dots).map(|(identity, count)| (actor(*identity), *count));
        let versions = dots.iter().map(version).collect();
        Siblings::Dotted(DottedSet::from_parts(context.collect(), versions).unwrap())
    }

    #[test]
    fn a_leaf_is_of_the_key_and_its_live_versions_and_not_of_their_context() {
        let key = Key::from("a");
        let leaf = |set: Siblings| Leaf::of(&key, &record(set)).unwrap();
        let one = leaf(set(&[(1, 1)], &[]));
        assert_eq!(one, leaf(set(&[(1, 1)], &[(2, 7)])));
        assert_ne!(one, leaf(set(&[(1, 2)], &[])));
        assert_ne!(one, leaf(set(&[(1, 1), (2, 1)], &[])));
        assert_ne!(Some(one), Leaf::of(&Key::from("b"), &record(set(&[(1, 1)], &[]))));
        assert_eq!(Leaf::of(&key, &record(set(&[], &[(1, 1)]))), None);
        let amnesiac = Record { amnesiac: true, ..record(set(&[(1, 1)], &[])) };
        assert_ne!(Some(one), Leaf::of(&key, &amnesiac));
    }

    #[test]
    fn under_plain_clocks_a_leaf_is_of_the_values_too() {
        let key = Key::from("a");
        let leaf = |value: Option<&'static [u8]>| {
            let mut set = crate::ClockSet::default();
            let actor = Actor { identity: Identity(1), birth: 0 };
            set.write(&VersionVector::default(), actor, value.map(Bytes::from_static));
            Leaf::of(&key, &record(Siblings::Plain(set)))
        };
        assert_eq!(leaf(Some(b"a")), leaf(Some(b"a")));
        assert_ne!(leaf(Some(b"a")), leaf(Some(b"b")));
        assert_ne!(leaf(Some(b"")), leaf(None));
    }

    #[test]
    fn a_fingerprint_does_not_depend_on_the_order_and_forgets_what_is_removed() {
        let leaves = [Leaf(3), Leaf(u128::MAX), Leaf(77)];
        let mut all: Fingerprint = leaves.into_iter().collect();
        assert_eq!(all, leaves.into_iter().rev().collect());
        all.remove(Leaf(77));
        let mut two: Fingerprint = [Leaf(3)].into_iter().collect();
        two.join([Leaf(u128::MAX)].into_iter().collect());
        assert_eq!(all, two);
        assert_ne!(all, [Leaf(2)].into_iter().collect());
    }
}
