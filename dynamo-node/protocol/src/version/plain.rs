//! The paper's vector clocks, one per version (section 4.4). Kept to be caught: see [`super`].

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::mutant::{Mutant, mutated};

use super::vector::{Actor, COUNTER_LIMIT, VersionVector};

/// One version under its own clock.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClockedVersion {
    /// The version's vector clock, by coordinating node.
    pub clock: VersionVector,
    /// What was written; `None` is a tombstone.
    pub value: Option<Bytes>,
}

/// Versions none of whose clocks covers another's.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClockSet(Vec<ClockedVersion>);

impl ClockSet {
    /// The set of these versions, or none if they are not [canonical](Self::is_canonical).
    #[must_use]
    pub fn from_versions(versions: Vec<ClockedVersion>) -> Option<Self> {
        Some(Self(versions)).filter(Self::is_canonical)
    }

    /// The versions, in the order of their clocks.
    #[must_use]
    pub fn versions(&self) -> &[ClockedVersion] {
        &self.0
    }

    /// The join of the clocks.
    #[must_use]
    pub fn context(&self) -> VersionVector {
        let mut context = VersionVector::default();
        for version in &self.0 {
            context.join(&version.clock);
        }
        context
    }

    /// The paper's put: the clock that was read, its coordinator's entry counted up.
    ///
    /// Two puts with one old context through one coordinator get `[(A,2)]` and `[(A,3)]`: the
    /// second covers the first, which is lost although nobody overwrote it.
    pub fn write(&mut self, read: &VersionVector, coordinator: Actor, value: Option<Bytes>) {
        // A clock that is at its end stays there: the put is then concurrent to what it should follow, and
        // overflow never makes it the past of what is held.
        let last = self.context().get(&coordinator).max(read.get(&coordinator));
        let counter = (last + 1).min(COUNTER_LIMIT);
        let forgets = mutated(Mutant::ClockForgetsRead);
        let mut clock = if forgets { VersionVector::default() } else { read.clone() };
        clock.raise(coordinator, counter);
        self.take_in(&ClockedVersion { clock, value });
    }

    /// Takes in the versions of `other` that are not covered; drops those that get covered.
    pub fn merge(&mut self, other: &Self) -> bool {
        let before = self.0.clone();
        for version in &other.0 {
            self.take_in(version);
        }
        self.0 != before
    }

    fn take_in(&mut self, version: &ClockedVersion) {
        let is_newer = |held: &ClockedVersion| {
            version.clock.covers(&held.clock) && held.clock != version.clock
        };
        if mutated(Mutant::OlderClockKept) && self.0.iter().any(is_newer) {
            return;
        }
        if self
            .0
            .iter()
            .any(|held| held.clock.covers(&version.clock) && held.clock != version.clock)
        {
            return;
        }
        self.0.retain(|held| !version.clock.covers(&held.clock) || held.clock == version.clock);
        if let Err(at) = self.0.binary_search(version) {
            self.0.insert(at, version.clone());
        }
    }

    /// Whether the versions are in order, once each, none covered by another.
    #[must_use]
    pub fn is_canonical(&self) -> bool {
        self.0.is_sorted_by(|a, b| a < b) && self.0.iter().all(|v| v.clock.is_canonical())
    }
}
