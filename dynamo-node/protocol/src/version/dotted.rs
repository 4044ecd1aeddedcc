//! Dotted version vector sets: the default scheme.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::vector::{Actor, Dot, VersionVector};
use crate::mutant::{Mutant, mutated};

/// One live version: the event that wrote it, and what it wrote.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// The write event.
    pub dot: Dot,
    /// The coordinator's wall clock at the write, in microseconds since the Unix epoch; 0 unless
    /// the versioning is last-writer-wins.
    pub timestamp: u64,
    /// What was written; `None` is a tombstone.
    pub value: Option<Bytes>,
}

/// What one record knows of a key: the live versions, and a vector that covers every event it has seen.
///
/// An event that `context` covers but that is not live was overwritten by a version that read it.
/// (Preguica, Baquero, Almeida, Fonte, Goncalves: "Dotted Version Vectors", arXiv 1011.5808.)
///
/// One set is in many places: in a record, in the messages that carry it, in the answers of a get. They
/// share it until one of them changes its own.
#[derive(Clone, Default)]
pub struct DottedSet(Option<Arc<Parts>>);

/// What a set is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename = "DottedSet")]
struct Parts {
    context: VersionVector,
    /// Sorted by dot, each dot once, each covered by `context`.
    versions: Vec<Version>,
}

/// Of the set that has seen nothing, which is made often and costs nothing.
static NOTHING: Parts = Parts { context: VersionVector::EMPTY, versions: Vec::new() };

impl DottedSet {
    /// The set of these parts, or none if they are not [canonical](Self::is_canonical).
    #[must_use]
    pub fn from_parts(context: VersionVector, versions: Vec<Version>) -> Option<Self> {
        Some(Self(Some(Arc::new(Parts { context, versions })))).filter(Self::is_canonical)
    }

    fn parts(&self) -> &Parts {
        self.0.as_deref().unwrap_or(&NOTHING)
    }

    fn parts_mut(&mut self) -> &mut Parts {
        Arc::make_mut(self.0.get_or_insert_default())
    }

    fn is_shared_with(&self, other: &Self) -> bool {
        std::ptr::eq(self.parts(), other.parts())
    }

    /// Everything this set has seen.
    #[must_use]
    pub fn context(&self) -> &VersionVector {
        &self.parts().context
    }

    /// The live versions, in the order of their dots.
    #[must_use]
    pub fn versions(&self) -> &[Version] {
        &self.parts().versions
    }

    /// Adds `version`, which overwrites what `read` covers.
    ///
    /// # Panics
    /// If the set has not seen every earlier event of the dot's actor, or has seen this one:
    /// closure is broken, and a later merge would drop versions that nobody overwrote.
    pub fn write(&mut self, read: &VersionVector, version: Version) {
        let Parts { context, versions } = self.parts_mut();
        // One clock for all siblings, and a context that is one write stale is concurrent to all of them.
        let is_concurrent = mutated(Mutant::PlainClocks) && !read.covers(context);
        if !is_concurrent && !mutated(Mutant::ContextIgnored) {
            versions.retain(|held| !read.contains(&held.dot));
        }
        if mutated(Mutant::BlindOverwrite) {
            versions.clear();
        }
        context.join(read);
        let Dot { actor, counter } = version.dot;
        let is_closed = context.get(&actor) + 1 == counter;
        assert!(is_closed || mutated(Mutant::NodeWideCounter), "dot {} is not closed", version.dot);
        context.raise(actor, counter);
        let at = versions.partition_point(|held| held.dot < version.dot);
        assert!(
            versions.get(at).is_none_or(|held| held.dot != version.dot),
            "a dot names one version"
        );
        versions.insert(at, version);
        if mutated(Mutant::ClockPruned) {
            self.prune();
        }
    }

    /// What the seeded bug does: the paper truncates clocks (section 4.4), dotted sets never.
    fn prune(&mut self) {
        const MOST: usize = 2;
        let Parts { context, versions } = self.parts_mut();
        let is_live = |actor| versions.iter().any(|version| version.dot.actor == actor);
        let oldest = context.iter().map(|(actor, _)| actor).find(|actor| !is_live(*actor));
        if context.actors() > MOST
            && let Some(oldest) = oldest
        {
            *context = context.iter().filter(|(actor, _)| *actor != oldest).collect();
        }
    }

    /// Forgets the first version, as if it had been overwritten: what a seeded bug does.
    pub(super) fn drop_first(&mut self) {
        self.parts_mut().versions.remove(0);
    }

    /// Takes in everything `other` knows: a version stays if both hold it, or if one holds it
    /// and the other has not seen its event. Says whether this set changed.
    pub fn merge(&mut self, other: &Self) -> bool {
        if other == self {
            return false;
        }
        let drops = |mine: &Version| !other.holds(&mine.dot) && other.context().contains(&mine.dot);
        let lacks = |theirs: &Version| {
            !self.context().contains(&theirs.dot) && !mutated(Mutant::MergeDropsValues)
        };
        let gained: Vec<_> = other.versions().iter().filter(|theirs| lacks(theirs)).collect();
        let dropped = self.versions().iter().filter(|mine| drops(mine)).count();
        let learns = !self.context().covers(other.context());
        if gained.is_empty() && dropped == 0 && !learns {
            return false;
        }
        if dropped == self.versions().len()
            && gained.len() == other.versions().len()
            && other.context().covers(self.context())
        {
            // Nothing of this one stays: from now on they are one.
            self.clone_from(other);
            return true;
        }
        let Parts { context, versions } = self.parts_mut();
        versions.retain(|mine| !drops(mine));
        for theirs in gained {
            let at = versions.partition_point(|mine| mine.dot < theirs.dot);
            versions.insert(at, theirs.clone());
        }
        context.join(other.context());
        true
    }

    /// How many actors [`DottedSet::forget_idle`] would forget.
    #[must_use]
    pub fn idle(&self, kept: Option<Actor>) -> usize {
        let mut live: Vec<_> = self.versions().iter().map(|version| version.dot.actor).collect();
        live.extend(kept.filter(|actor| self.context().get(actor) > 0));
        // Versions are in the order of their dots, so of their actors.
        live.sort_unstable();
        live.dedup();
        self.context().actors() - live.len()
    }

    /// Forgets the actors of which no version is live, but for `kept`; returns how many.
    ///
    /// This set then drops less than it did: what an actor wrote may come back, if a copy is left.
    pub fn forget_idle(&mut self, kept: Option<Actor>) -> usize {
        let is_needed = |actor: &Actor| {
            kept == Some(*actor) || self.versions().iter().any(|v| v.dot.actor == *actor)
        };
        let needed: VersionVector =
            self.context().iter().filter(|(actor, _)| is_needed(actor)).collect();
        let forgotten = self.context().actors() - needed.actors();
        assert!(self.context().covers(&needed), "to forget is to claim less");
        if forgotten > 0 {
            self.parts_mut().context = needed;
        }
        forgotten
    }

    fn holds(&self, dot: &Dot) -> bool {
        self.versions().binary_search_by_key(dot, |version| version.dot).is_ok()
    }

    /// Whether order, uniqueness and cover hold: what a set from outside has to be checked for.
    #[must_use]
    pub fn is_canonical(&self) -> bool {
        let Parts { context, versions } = self.parts();
        context.is_canonical()
            && versions.is_sorted_by(|a, b| a.dot < b.dot)
            && versions.iter().all(|version| context.contains(&version.dot))
    }
}

impl PartialEq for DottedSet {
    fn eq(&self, other: &Self) -> bool {
        self.is_shared_with(other) || self.parts() == other.parts()
    }
}

impl Eq for DottedSet {}

impl PartialOrd for DottedSet {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for DottedSet {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(other.parts())
    }
}

impl Hash for DottedSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl fmt::Debug for DottedSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { context, versions } = self.parts();
        f.debug_struct("DottedSet").field("context", context).field("versions", versions).finish()
    }
}

impl Serialize for DottedSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.parts().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for DottedSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Parts::deserialize(deserializer).map(|parts| Self(Some(Arc::new(parts))))
    }
}
