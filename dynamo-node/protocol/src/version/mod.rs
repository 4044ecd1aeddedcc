//! Versions: what a record knows of a key, and how knowledge merges.
//!
//! The invariant behind the default scheme is **closure**: a version vector entry `(a, n)` claims all of
//! `a.1..=a.n`, so whoever mints `a.n` must, at that moment, hold in the very record it mints
//! from a set that covers `a.1..=a.(n-1)`. Unique dots alone are not enough: a context that covers a gap
//! drops, at the next merge, a version that its client never read. [`DottedSet::write`] asserts it.

mod dotted;
mod plain;
mod vector;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::mode::Versioning;
use crate::mutant::{Mutant, mutated};

pub use dotted::{DottedSet, Version};
pub use plain::{ClockSet, ClockedVersion};
pub use vector::{Actor, COUNTER_LIMIT, Dot, VersionVector};

/// All versions of a key that one record, message or answer knows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Siblings {
    /// Of versionings `dotted` and `lww`.
    Dotted(DottedSet),
    /// Of versioning `paper`.
    Plain(ClockSet),
}

/// What a get has shown its client, and what that client's next put overwrites. Opaque to clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Context(pub VersionVector);

/// Which versions a set holds, without what they say. Two sets of one key with one summary are
/// the same set: values belong to events and never change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Summary {
    /// Context and live dots.
    Dotted(VersionVector, Vec<Dot>),
    /// The whole set: plain clocks do not identify a value.
    Plain(ClockSet),
}

impl Versioning {
    /// Whether versions have no dots of their own.
    pub(crate) fn is_plain(self) -> bool {
        self == Self::Paper || mutated(Mutant::PlainClocks)
    }

    /// Whether a get answers the version with the newest wall clock alone.
    pub(crate) fn last_writer_wins(self) -> bool {
        self == Self::Lww || mutated(Mutant::LastWriterWins)
    }
}

impl Siblings {
    /// Nothing known, under `versioning`.
    #[must_use]
    pub fn empty(versioning: Versioning) -> Self {
        match versioning {
            Versioning::Dotted | Versioning::Lww => Self::Dotted(DottedSet::default()),
            Versioning::Paper => Self::Plain(ClockSet::default()),
        }
    }

    /// Whether this is a well-formed set of `versioning`: what a set from a peer or a disk has to
    /// be checked for before it is merged.
    #[must_use]
    pub fn fits(&self, versioning: Versioning) -> bool {
        match self {
            Self::Dotted(set) => versioning != Versioning::Paper && set.is_canonical(),
            Self::Plain(set) => versioning == Versioning::Paper && set.is_canonical(),
        }
    }

    /// Takes in everything `other` knows; says whether this changed.
    ///
    /// # Panics
    /// If the two are of different schemes: [`Siblings::fits`] is checked at the door.
    pub fn merge(&mut self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dotted(mine), Self::Dotted(theirs)) => mine.merge(theirs),
            (Self::Plain(mine), Self::Plain(theirs)) => mine.merge(theirs),
            _ => panic!("two versioning schemes met in one merge"),
        }
    }

    /// Whether taking in `other` would change nothing.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self == other || !self.clone().merge(other)
    }

    /// What a client that is shown this set has read.
    #[must_use]
    pub fn context(&self) -> Context {
        match self {
            Self::Dotted(set) => Context(set.context().clone()),
            Self::Plain(set) => Context(set.context()),
        }
    }

    /// The context of a get that shows the only live version there is; none if there are more. All that is
    /// obsolete here was overwritten by what that one overwrote, or by itself: who wrote it has, in effect,
    /// read all of it.
    #[must_use]
    pub fn context_if_alone(&self) -> Option<Context> {
        let is_alone = self.len() == 1 || mutated(Mutant::DoneClaimsSiblings);
        is_alone.then(|| self.context())
    }

    /// The values a get answers under `versioning`: every live one, or the newest alone.
    #[must_use]
    pub fn visible(&self, versioning: Versioning) -> Vec<Bytes> {
        match (self, versioning) {
            (Self::Dotted(set), _) if versioning.last_writer_wins() => {
                let stamp = |v: &Version| {
                    if mutated(Mutant::GreatestDotWins) { 0 } else { v.timestamp }
                };
                let newest = set.versions().iter().max_by_key(|v| (stamp(v), v.dot));
                newest.and_then(|version| version.value.clone()).into_iter().collect()
            }
            (Self::Dotted(_) | Self::Plain(_), _) => self.values(),
        }
    }

    /// Every live value, tombstones apart.
    #[must_use]
    pub fn values(&self) -> Vec<Bytes> {
        match self {
            Self::Dotted(set) => set.versions().iter().filter_map(|v| v.value.clone()).collect(),
            Self::Plain(set) => set.versions().iter().filter_map(|v| v.value.clone()).collect(),
        }
    }

    /// How many live versions there are, tombstones included.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Dotted(set) => set.versions().len(),
            Self::Plain(set) => set.versions().len(),
        }
    }

    /// How many live versions a put that has read `read` leaves beside its own.
    #[must_use]
    pub fn len_without(&self, read: &VersionVector) -> usize {
        match self {
            Self::Dotted(set) => set.versions().iter().filter(|v| !read.contains(&v.dot)).count(),
            Self::Plain(set) => set.versions().iter().filter(|v| !read.covers(&v.clock)).count(),
        }
    }

    /// How many bytes the values of those versions have together.
    #[must_use]
    pub fn bytes_without(&self, read: &VersionVector) -> usize {
        let len = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
        match self {
            Self::Dotted(set) => {
                let kept = set.versions().iter().filter(|v| !read.contains(&v.dot));
                kept.map(|version| len(&version.value)).sum()
            }
            Self::Plain(set) => {
                let kept = set.versions().iter().filter(|v| !read.covers(&v.clock));
                kept.map(|version| len(&version.value)).sum()
            }
        }
    }

    /// What a seeded bug does: where a put that has read `read` would leave more siblings than `most` the
    /// first ones go.
    pub(crate) fn drop_oldest(&mut self, most: usize, read: &VersionVector) {
        if let Self::Dotted(set) = self {
            while set.versions().iter().filter(|v| !read.contains(&v.dot)).count() >= most {
                set.drop_first();
            }
        }
    }

    /// Whether nothing was ever seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Dotted(set) => set.context().actors() == 0,
            Self::Plain(set) => set.versions().is_empty(),
        }
    }

    /// Which versions it holds.
    #[must_use]
    pub fn summary(&self) -> Summary {
        match self {
            Self::Dotted(set) => Summary::Dotted(
                set.context().clone(),
                set.versions().iter().map(|version| version.dot).collect(),
            ),
            Self::Plain(set) => Summary::Plain(set.clone()),
        }
    }
}
