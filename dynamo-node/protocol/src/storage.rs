//! What a node keeps: records, hints and who it is. Synchronous and transactional; *durability* is the
//! host's effect, which it awaits before it releases a step's outputs.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::continuity::Remembered;
use crate::id::{Identity, Key, NodeId};
use crate::membership::{Ballots, Directory, Membership};
use crate::merkle::{Fingerprint, Leaf};
use crate::ring::{Span, Token};
use crate::transfer::Counted;
use crate::version::{Actor, Siblings};

/// As what a node holds a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// As one of its N homes.
    Home,
    /// In place of this home, until it can be told (paper, section 4.6).
    Hint(NodeId),
}

/// Where a record lies. A hint's place names its target *and* its key: two targets of one key are
/// two records, which never share an actor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// As what; first, so that the hints for one target lie together.
    pub role: Role,
    /// The key.
    pub key: Key,
}

/// Who mints dots from a record, and how many it has minted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Minter {
    /// The record's own actor: born with it, dies with it.
    pub actor: Actor,
    /// The last counter it minted.
    pub counter: u64,
}

/// What one place holds, written in one atomic piece.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Record {
    /// Everything known of the key.
    pub set: Siblings,
    /// None until the record first mints; always none under plain clocks.
    pub minter: Option<Minter>,
    /// It replaced a record that could not be read: it may have forgotten acknowledged versions, so its
    /// answers do not count as votes until it is refilled.
    pub amnesiac: bool,
}

/// Who this data directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Meta {
    /// Drawn with the directory, gone with it.
    pub identity: Identity,
    /// How many births were given out under the identity.
    pub births: u64,
    /// The genesis of the cluster made it: the first epoch names it by that.
    pub founder: bool,
    /// The directory began empty in a cluster that may have written before: its answers do not
    /// count as votes until it is refilled from every other home, or an epoch names it as a newcomer.
    pub amnesiac: bool,
    /// While it is not known whether the directory was rolled back: its [`Store::position`] when that was
    /// asked first. Goes with the first change that is applied meanwhile, and lasts over restarts.
    pub doubted: Option<u64>,
    /// The highest era that it heard of: eras are counted while tombstones are collected, and what was sent
    /// two of them ago is void ([`Discard::OldEra`](crate::Discard)).
    #[serde(default)]
    pub era: u64,
    /// How often an operator accepted that what it lacked is lost ([`Input::AcceptLoss`](crate::Input)): what
    /// was acknowledged before the last time may be missing.
    #[serde(default)]
    pub losses: u64,
    /// How often an operator had it make an epoch without a vote
    /// ([`Input::ForceEpoch`](crate::Input::ForceEpoch)).
    #[serde(default)]
    pub forced: u64,
}

impl Hash for Meta {
    /// Where nothing is counted, what is not there costs nothing.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { identity, births, founder, amnesiac, doubted, era, losses, forced } = self;
        (identity, births, founder, amnesiac, doubted).hash(state);
        if [*era, *losses, *forced] != [0; 3] {
            (era, losses, forced).hash(state);
        }
    }
}

/// What a directory keeps of the membership. Nothing of it, as long as there was no change of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Enrolment {
    /// All epochs that it knows, from the genesis on; none if it knows of no other.
    pub epochs: Vec<Membership>,
    /// What it promised and voted about the next one.
    pub ballots: Option<Ballots>,
    /// Where it counts as a home; none if it counts wherever it is one, or, being an amnesiac, nowhere.
    pub counted: Option<Counted>,
}

/// One atomic change, or part of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Change {
    /// The place now holds this record.
    Put(Place, Record),
    /// The place now holds nothing.
    Remove(Place),
    /// The directory's own state.
    Meta(Meta),
    /// What is remembered of this member from now on.
    Heard(NodeId, Remembered),
    /// What the directory keeps of the membership.
    Enrolment(Enrolment),
}

/// Why storage did not do as asked. That there is no record is not an error: [`Store::record`] says
/// `Ok(None)` only when it knows.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Error,
)]
pub enum StoreError {
    /// Something is there, but not what was written.
    #[error("the record is corrupt")]
    Corrupt,
    /// It cannot be read now.
    #[error("the record cannot be read")]
    Unreadable,
    /// It cannot be written; nothing of the change took place.
    #[error("the disk refuses writes")]
    Unwritable,
}

/// A node's storage, called inside [`Node::handle`](crate::Node::handle).
///
/// Reads see every change applied before. A host may lose changes it has not made durable when
/// it crashes, but only from the end: if a change survives, so does all that was applied before it.
pub trait Store {
    /// What `place` holds.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] or [`StoreError::Unreadable`], never as "nothing".
    fn record(&self, place: &Place) -> Result<Option<Record>, StoreError>;

    /// The keys of up to `most` hints for `target` that come after key `after`, in key order.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    fn hints(
        &self,
        target: NodeId,
        after: Option<&Key>,
        most: usize,
    ) -> Result<Vec<Key>, StoreError>;

    /// What the home records of the keys in `span` come to: all that can be read, and no other. A store keeps
    /// this up to date with every change, or cannot tell for sure; it is asked often.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    fn fingerprint(&self, span: Span) -> Result<Fingerprint, StoreError>;

    /// Up to `most` of those keys and their leaves, in the order of their positions on the ring.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    fn leaves(&self, span: Span, most: usize) -> Result<Vec<(Key, Leaf)>, StoreError>;

    /// Applies `changes`, all or none.
    ///
    /// # Errors
    /// [`StoreError::Unwritable`]: none was applied.
    fn apply(&mut self, changes: Vec<Change>) -> Result<(), StoreError>;

    /// How far the directory has come: a number that grows with what is applied and is durable together
    /// with it, so that a directory that was rolled back has a lower one. From 1; always 0 if the host
    /// rolls nothing back.
    fn position(&self) -> u64;
}

/// A store in memory: for tests, the model and examples.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MemoryStore {
    /// Who it is.
    pub meta: Meta,
    /// What it holds.
    pub records: BTreeMap<Place, Record>,
    /// What it remembers of other members.
    pub heard: BTreeMap<NodeId, Remembered>,
    /// What it keeps of the membership.
    pub enrolment: Enrolment,
    /// See [`Store::position`]; 0 in a store that does not count.
    pub position: u64,
}

impl Meta {
    /// A directory made by the cluster's genesis: nothing was written before it.
    #[must_use]
    pub fn genesis(identity: Identity) -> Self {
        Self {
            identity,
            births: 0,
            founder: true,
            amnesiac: false,
            doubted: None,
            era: 0,
            losses: 0,
            forced: 0,
        }
    }

    /// A directory made afterwards: an empty one cannot tell newborn from wiped.
    #[must_use]
    pub fn renewed(identity: Identity) -> Self {
        Self {
            identity,
            births: 0,
            founder: false,
            amnesiac: true,
            doubted: None,
            era: 0,
            losses: 0,
            forced: 0,
        }
    }

    /// The name by which memberships know it, as the directory of `node`.
    #[must_use]
    pub fn directory(&self, node: NodeId) -> Directory {
        if self.founder { Directory::Founder(node) } else { Directory::Drawn(self.identity) }
    }
}

impl Enrolment {
    /// What a host writes, and the [`Meta`] beside it, before its node first starts on a directory that joins
    /// a cluster: all `epochs` up to now, as a member told them. If the last of them names the directory as
    /// that of `node`, it is a newcomer from then on; else it is an amnesiac until one does.
    #[must_use]
    pub fn told(node: NodeId, meta: Meta, epochs: Vec<Membership>) -> (Meta, Self) {
        let seat = epochs.last().and_then(|last| last.seat(node));
        let is_named = seat.is_some_and(|seat| seat.directory == meta.directory(node));
        let is_newcomer = meta.amnesiac && is_named;
        let counted = is_newcomer.then(Counted::nowhere);
        let meta = Meta { amnesiac: meta.amnesiac && !is_newcomer, ..meta };
        (meta, Self { epochs, ballots: None, counted })
    }
}

impl Place {
    /// The key's record as a home.
    #[must_use]
    pub fn home(key: Key) -> Self {
        Self { role: Role::Home, key }
    }
}

impl MemoryStore {
    /// An empty store of the directory `meta`. It does not count.
    #[must_use]
    pub fn new(meta: Meta) -> Self {
        Self {
            meta,
            records: BTreeMap::new(),
            heard: BTreeMap::new(),
            enrolment: Enrolment::default(),
            position: 0,
        }
    }

    /// The same, that counts what is applied.
    #[must_use]
    pub fn counting(meta: Meta) -> Self {
        Self { position: 1, ..Self::new(meta) }
    }
}

/// The leaves of home records in `span`, in ring order: looks at all of them.
fn leaves_in(records: &BTreeMap<Place, Record>, span: Span) -> BTreeMap<(Token, Key), Leaf> {
    let homes = records.iter().filter(|(place, _)| place.role == Role::Home);
    let leaf = |(place, record): (&Place, &Record)| {
        let token = Some(Token::of_key(&place.key)).filter(|token| span.contains(*token))?;
        Some(((token, place.key.clone()), Leaf::of(&place.key, record)?))
    };
    homes.filter_map(leaf).collect()
}

impl Store for MemoryStore {
    fn record(&self, place: &Place) -> Result<Option<Record>, StoreError> {
        Ok(self.records.get(place).cloned())
    }

    fn hints(
        &self,
        target: NodeId,
        after: Option<&Key>,
        most: usize,
    ) -> Result<Vec<Key>, StoreError> {
        let role = Role::Hint(target);
        let first = Place { role, key: after.cloned().unwrap_or_else(|| Key::from("")) };
        let hints = self.records.range(first..).map(|(place, _)| place);
        let hints = hints.take_while(|place| place.role == role);
        Ok(hints
            .filter(|place| Some(&place.key) != after)
            .take(most)
            .map(|p| p.key.clone())
            .collect())
    }

    fn fingerprint(&self, span: Span) -> Result<Fingerprint, StoreError> {
        Ok(leaves_in(&self.records, span).into_values().collect())
    }

    fn leaves(&self, span: Span, most: usize) -> Result<Vec<(Key, Leaf)>, StoreError> {
        let leaves = leaves_in(&self.records, span).into_iter();
        Ok(leaves.map(|((_, key), leaf)| (key, leaf)).take(most).collect())
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        for change in changes {
            match change {
                Change::Put(place, record) => drop(self.records.insert(place, record)),
                Change::Remove(place) => drop(self.records.remove(&place)),
                Change::Meta(meta) => self.meta = meta,
                Change::Heard(peer, heard) => drop(self.heard.insert(peer, heard)),
                Change::Enrolment(enrolment) => self.enrolment = enrolment,
            }
        }
        self.position += u64::from(self.position > 0);
        Ok(())
    }

    fn position(&self) -> u64 {
        self.position
    }
}
