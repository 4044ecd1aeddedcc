//! Dotted version vector sets: the default scheme.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::vector::{Dot, VersionVector};
use crate::mutant::{Mutant, mutated};

/// One live version: the event that wrote it, and what it wrote.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// The write event.
    pub dot: Dot,
    /// The coordinator's wall clock at the write, in microseconds since the Unix epoch; 0 unless
    /// the versioning is last-writer-wins.
    pub stamp: u64,
    /// What was written; `None` is a tombstone.
    pub value: Option<Bytes>,
}

/// What one record knows of a key: the live versions, and a vector that covers every event it has seen.
///
/// An event that `context` covers but that is not live was overwritten by a version that read it.
/// (Preguica, Baquero, Almeida, Fonte, Goncalves: "Dotted Version Vectors", arXiv 1011.5808.)
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DottedSet {
    context: VersionVector,
    /// Sorted by dot, each dot once, each covered by `context`.
    versions: Vec<Version>,
}

impl DottedSet {
    /// The set of these parts, or none if they are not [canonical](Self::is_canonical).
    #[must_use]
    pub fn from_parts(context: VersionVector, versions: Vec<Version>) -> Option<Self> {
        Some(Self { context, versions }).filter(Self::is_canonical)
    }

    /// Everything this set has seen.
    #[must_use]
    pub fn context(&self) -> &VersionVector {
        &self.context
    }

    /// The live versions, in the order of their dots.
    #[must_use]
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// Adds `version`, which overwrites what `read` covers.
    ///
    /// # Panics
    /// If the set has not seen every earlier event of the dot's actor, or has seen this one:
    /// closure is broken, and a later merge would drop versions that nobody overwrote.
    pub fn write(&mut self, read: &VersionVector, version: Version) {
        // One clock for all siblings, and a context that is one write stale is concurrent to all of them.
        let is_concurrent = mutated(Mutant::PlainClocks) && !read.covers(&self.context);
        if !is_concurrent && !mutated(Mutant::ContextIgnored) {
            self.versions.retain(|held| !read.contains(&held.dot));
        }
        if mutated(Mutant::BlindOverwrite) {
            self.versions.clear();
        }
        self.context.join(read);
        let Dot { actor, counter } = version.dot;
        let is_closed = self.context.get(&actor) + 1 == counter;
        assert!(is_closed || mutated(Mutant::NodeWideCounter), "dot {} is not closed", version.dot);
        self.context.raise(actor, counter);
        let at = self.versions.partition_point(|held| held.dot < version.dot);
        self.versions.insert(at, version);
        if mutated(Mutant::ClockPruned) {
            self.prune();
        }
    }

    /// What the seeded bug does: the paper truncates clocks (section 4.4), dotted sets never.
    fn prune(&mut self) {
        const MOST: usize = 2;
        let is_live = |actor| self.versions.iter().any(|version| version.dot.actor == actor);
        let oldest = self.context.iter().map(|(actor, _)| actor).find(|actor| !is_live(*actor));
        if self.context.actors() > MOST
            && let Some(oldest) = oldest
        {
            self.context = self.context.iter().filter(|(actor, _)| *actor != oldest).collect();
        }
    }

    /// Takes in everything `other` knows: a version stays if both hold it, or if one holds it
    /// and the other has not seen its event. Says whether this set changed.
    pub fn merge(&mut self, other: &Self) -> bool {
        if other == self {
            return false;
        }
        let before = self.versions.len();
        self.versions.retain(|mine| other.holds(&mine.dot) || !other.context.contains(&mine.dot));
        let mut changed = self.versions.len() != before;
        for theirs in &other.versions {
            if !self.context.contains(&theirs.dot) && !mutated(Mutant::MergeDropsValues) {
                let at = self.versions.partition_point(|mine| mine.dot < theirs.dot);
                self.versions.insert(at, theirs.clone());
                changed = true;
            }
        }
        if !self.context.covers(&other.context) {
            self.context.join(&other.context);
            changed = true;
        }
        changed
    }

    fn holds(&self, dot: &Dot) -> bool {
        self.versions.binary_search_by_key(dot, |version| version.dot).is_ok()
    }

    /// Whether order, uniqueness and cover hold: what a set from outside has to be checked for.
    #[must_use]
    pub fn is_canonical(&self) -> bool {
        self.context.is_canonical()
            && self.versions.is_sorted_by(|a, b| a.dot < b.dot)
            && self.versions.iter().all(|version| self.context.contains(&version.dot))
    }
}
