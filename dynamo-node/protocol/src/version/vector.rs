//! Actors, dots and version vectors.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::Identity;

/// The most events of one actor that a vector may name. Nobody comes here by counting: what names more is
/// damaged or made up, and the room above keeps sums from overflowing.
pub const COUNTER_LIMIT: u64 = 1 << 62;

/// Who mints dots: one birth of one record under one identity.
///
/// Not a node: a record that is lost and made anew is another actor, because it has not seen
/// what the first one minted ("closure", see [`crate::version`]). Plain clocks, the paper's mode, use
/// the node's number as identity and birth 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Actor {
    /// The data directory it was born in.
    pub identity: Identity,
    /// Which birth of that directory, from a durable node-wide counter.
    pub birth: u64,
}

/// One write event: the `counter`-th of its actor, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dot {
    /// Who minted it.
    pub actor: Actor,
    /// Which of the actor's events.
    pub counter: u64,
}

/// For each actor, how many of its events are known: an entry `(a, n)` claims all of `a.1..=a.n`.
///
/// Sorted by actor, no zero entries, so that equal knowledge is an equal value.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VersionVector(Vec<(Actor, u64)>);

impl VersionVector {
    /// The vector that knows nothing.
    pub(super) const EMPTY: Self = Self(Vec::new());

    /// The vector of these entries, or none if they are not [canonical](Self::is_canonical).
    #[must_use]
    pub fn from_entries(entries: Vec<(Actor, u64)>) -> Option<Self> {
        Some(Self(entries)).filter(Self::is_canonical)
    }

    /// How many of `actor`'s events are known.
    #[must_use]
    pub fn get(&self, actor: &Actor) -> u64 {
        self.0.binary_search_by_key(actor, |entry| entry.0).map_or(0, |at| self.0[at].1)
    }

    /// Whether `dot` is among the known events.
    #[must_use]
    pub fn contains(&self, dot: &Dot) -> bool {
        self.get(&dot.actor) >= dot.counter
    }

    /// Knows `actor`'s first `counter` events, if it did not already.
    pub fn raise(&mut self, actor: Actor, counter: u64) {
        if counter == 0 {
            return;
        }
        match self.0.binary_search_by_key(&actor, |entry| entry.0) {
            Ok(at) => self.0[at].1 = self.0[at].1.max(counter),
            Err(at) => self.0.insert(at, (actor, counter)),
        }
    }

    /// Joins what `other` knows into this.
    pub fn join(&mut self, other: &Self) {
        for &(actor, counter) in &other.0 {
            self.raise(actor, counter);
        }
    }

    /// Whether everything `other` knows is known here.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|(actor, counter)| self.get(actor) >= *counter)
    }

    /// How many actors it names.
    #[must_use]
    pub fn actors(&self) -> usize {
        self.0.len()
    }

    /// The entries, in the order of their actors.
    pub fn iter(&self) -> impl Iterator<Item = (Actor, u64)> + '_ {
        self.0.iter().copied()
    }

    /// Whether the entries are in order, once each, not zero and within [`COUNTER_LIMIT`]: what a vector
    /// from outside has to be checked for.
    #[must_use]
    pub fn is_canonical(&self) -> bool {
        self.0.iter().all(|entry| (1..=COUNTER_LIMIT).contains(&entry.1))
            && self.0.is_sorted_by(|a, b| a.0 < b.0)
    }
}

impl FromIterator<(Actor, u64)> for VersionVector {
    fn from_iter<I: IntoIterator<Item = (Actor, u64)>>(entries: I) -> Self {
        let mut vector = Self::default();
        for (actor, counter) in entries {
            vector.raise(actor, counter);
        }
        vector
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.identity.0)?;
        if self.birth > 0 { write!(f, "/{}", self.birth) } else { Ok(()) }
    }
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.actor, self.counter)
    }
}

impl fmt::Display for VersionVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (actor, counter)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { " " };
            write!(f, "{separator}{actor}:{counter}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for VersionVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
