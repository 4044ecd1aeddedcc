//! What a node does with its own records: take versions in, say what it holds, mint.

use std::borrow::Cow;

use bytes::Bytes;

use crate::continuity::Continuity;
use crate::id::{Identity, Key, NodeId};
use crate::io::Event;
use crate::message::Answer;
use crate::mutant::{Mutant, mutated};
use crate::node::Node;
use crate::request::Refusal;
use crate::step::Step;
use crate::storage::{Change, Meta, Minter, Place, Record, Role, Store, StoreError};
use crate::version::{Actor, COUNTER_LIMIT, Context, Dot, Siblings, Version, VersionVector};
use crate::view::Epoch;

/// A claim to have read more events of an actor than this counts for so many, unless the record knows of
/// more. Counters count single puts and never come here by themselves. Under plain clocks a coordinator
/// counts on from what its client read: so a context that was made up takes a counter to this point at
/// most, from where it counts single puts again, and whatever a node hands out it takes back.
const CLAIM_LIMIT: u64 = 1 << 60;

impl Node {
    /// Merges `set` into the record at `role` and `key`, and has what is remembered of `from`, whose set it
    /// is, on disk with it. Never refused for a limit: what was accepted once has to be carried.
    pub(crate) fn take_in<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        from: Option<NodeId>,
        role: Role,
        key: Key,
        set: &Siblings,
    ) -> Result<(), StoreError> {
        let role = self.role_now(role, &key);
        let place = Place { role, key };
        let mut record = self.load_or_new(step, &place)?;
        let is_new = record.set.is_empty();
        self.note_loss(&place, &record);
        let replaces = mutated(Mutant::HintReplacesHint) && role != Role::Home;
        if mutated(Mutant::StoreOverwrites) || replaces {
            record.set = Siblings::empty(self.settings.versioning);
        }
        let may_be_stray = role == Role::Home && self.view.epoch() > Epoch::GENESIS;
        let is_stray = may_be_stray && !self.view.homes(&place.key).contains(&self.me);
        let mut changes = Vec::new();
        if record.set.merge(set) {
            assert!(!record.set.is_empty(), "what was learned is known");
            record.check_rollback();
            self.note_due(&place, &record);
            changes.push(Change::Put(place, record));
        }
        // What is acknowledged is remembered: its minter's directory may be rolled back.
        if from.is_some() || !changes.is_empty() {
            let applied = self.apply(step, from, changes);
            applied.or_else(
                |error| {
                    if mutated(Mutant::FullDiskAcks) { Ok(()) } else { Err(error) }
                },
            )?;
        }
        self.keep_hint(step, role, is_new);
        if is_stray {
            self.expect_strays(step);
        }
        Ok(())
    }

    fn keep_hint<S>(&mut self, step: &mut Step<'_, S>, role: Role, is_new: bool) {
        if let Role::Hint(target) = role {
            if is_new {
                step.event(Event::HintStored(target));
            }
            self.expect_hints(step, target);
        }
    }

    /// One that takes the place of what cannot be read has to be refilled.
    pub(crate) fn note_loss(&mut self, place: &Place, record: &Record) {
        if place.role == Role::Home && record.amnesiac && record.set.is_empty() {
            self.record_lost(&place.key);
        }
    }

    /// What is at `place`; an empty record if nothing is, an empty amnesiac one if it is corrupt.
    pub(crate) fn load_or_new<S: Store>(
        &self,
        step: &mut Step<'_, S>,
        place: &Place,
    ) -> Result<Record, StoreError> {
        let empty = |amnesiac| Record {
            set: Siblings::empty(self.settings.versioning),
            minter: None,
            amnesiac,
        };
        match step.store.record(place) {
            Ok(Some(record)) if record.set.fits(self.settings.versioning) => Ok(record),
            Ok(None) => Ok(empty(false)),
            Ok(Some(_)) | Err(_) if mutated(Mutant::ErrorAsAbsent) => Ok(empty(false)),
            Ok(Some(_)) | Err(StoreError::Corrupt) => {
                step.event(Event::StoreFailed(place.role, StoreError::Corrupt));
                Ok(empty(!mutated(Mutant::CorruptIsNew)))
            }
            Err(error) => {
                step.event(Event::StoreFailed(place.role, error));
                Err(error)
            }
        }
    }

    /// What this node holds of `key`: as a home its record; in place of one, all its hints for the
    /// key's homes, and what it has of it from when it was one.
    pub(crate) fn answer<S: Store>(&self, step: &mut Step<'_, S>, role: Role, key: &Key) -> Answer {
        let held = match role {
            Role::Home => self.load(step, role, key),
            Role::Hint(_) => self.hints_of(step, key),
        };
        let counts = role != Role::Home || self.has_counted(key) || mutated(Mutant::NewcomerVotes);
        let votes = self.votes(key) && counts;
        let held = if mutated(Mutant::ErrorAsAbsent) { held.or(Ok(None)) } else { held };
        match held {
            Ok(Some(Record { set, amnesiac, .. })) => {
                let remembers = !amnesiac || mutated(Mutant::AmnesiacVotes);
                Answer::Known { set, votes: remembers && votes }
            }
            Ok(None) => Answer::Known { set: Siblings::empty(self.settings.versioning), votes },
            Err(error) => {
                step.event(Event::StoreFailed(role, error));
                Answer::Failed(error)
            }
        }
    }

    fn hints_of<S: Store>(
        &self,
        step: &mut Step<'_, S>,
        key: &Key,
    ) -> Result<Option<Record>, StoreError> {
        let homes = self.view.homes(key);
        let mut all = match homes.contains(&self.me) {
            true => None,
            false => self.load(step, Role::Home, key)?,
        };
        for home in homes.iter().filter(|home| **home != self.me) {
            match (&mut all, self.load(step, Role::Hint(*home), key)?) {
                (Some(all), Some(hint)) => {
                    all.set.merge(&hint.set);
                    all.amnesiac |= hint.amnesiac;
                }
                (all, hint) => *all = all.take().or(hint),
            }
        }
        Ok(all)
    }

    pub(crate) fn load<S: Store>(
        &self,
        step: &mut Step<'_, S>,
        role: Role,
        key: &Key,
    ) -> Result<Option<Record>, StoreError> {
        match step.store.record(&Place { role, key: key.clone() })? {
            Some(record) if !record.set.fits(self.settings.versioning) => Err(StoreError::Corrupt),
            record => Ok(record),
        }
    }

    /// Writes a new version into the record at `place` and returns the whole set it is now part
    /// of. One atomic change: record, minter and, for a fresh birth, the birth counter.
    pub(crate) fn mint<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        place: &Place,
        context: &Context,
        value: Option<Bytes>,
    ) -> Result<(Option<Dot>, Siblings), Refusal> {
        let mut record = self.load_or_new(step, place).map_err(Refusal::Storage)?;
        self.note_loss(place, &record);
        let own = mutated(Mutant::BlindPutOverwrites).then(|| record.set.context());
        let context = own.as_ref().filter(|_| context.0.actors() == 0).unwrap_or(context);
        let read = &*believed(&context.0, &record.set);
        if mutated(Mutant::CapDropsOldest) {
            record.set.drop_oldest(self.settings.limits.siblings, read);
        }
        self.check_caps(&record.set, read, value.as_ref())?;
        let (role, is_new) = (place.role, record.set.is_empty());
        let mut meta = self.meta;
        let dot = match &mut record.set {
            Siblings::Plain(set) => {
                let identity = Identity(u64::from(self.me.0));
                set.write(read, Actor { identity, birth: 0 }, value);
                None
            }
            Siblings::Dotted(set) => {
                let stamped = self.settings.versioning.last_writer_wins();
                let mut timestamp = if stamped { step.now.0 } else { 0 };
                if mutated(Mutant::StampKept) {
                    let newest = set.versions().iter().map(|version| version.timestamp).max();
                    timestamp = newest.unwrap_or(timestamp);
                }
                Some(record.write(&self.continuity, &mut meta, read, timestamp, value))
            }
        };
        let set = record.set.clone();
        assert!(!set.is_empty(), "what was written is known");
        assert_eq!(dot.is_some(), matches!(set, Siblings::Dotted(_)), "a dotted set mints dots");
        assert!(
            set.len() <= self.settings.limits.siblings,
            "a put leaves no more siblings than it may"
        );
        assert_eq!(meta.identity, self.meta.identity, "a put changes no identity");
        assert!(meta.births >= self.meta.births, "births are counted, never back");
        self.note_due(place, &record);
        let mut changes = vec![Change::Put(place.clone(), record)];
        if meta != self.meta {
            changes.push(Change::Meta(meta));
        }
        self.apply(step, None, changes).map_err(Refusal::Storage)?;
        self.keep_hint(step, role, is_new);
        Ok((dot, set))
    }

    fn check_caps(
        &self,
        set: &Siblings,
        read: &VersionVector,
        value: Option<&Bytes>,
    ) -> Result<(), Refusal> {
        if !read.is_canonical() {
            return Err(Refusal::BadContext);
        }
        let limits = &self.settings.limits;
        let siblings = set.len_without(read);
        if siblings >= limits.siblings {
            return Err(Refusal::TooManySiblings { siblings, limit: limits.siblings });
        }
        // A tombstone adds nothing, and a key that is over the limit has to be deletable.
        let bytes = value.map_or(0, |value| set.bytes_without(read) + value.len());
        if bytes > limits.set_bytes {
            return Err(Refusal::TooManyBytes { bytes, limit: limits.set_bytes });
        }
        let mut context = set.context().0;
        context.join(read);
        if context.actors() >= limits.actors {
            return Err(Refusal::TooManyActors { actors: context.actors(), limit: limits.actors });
        }
        Ok(())
    }
}

/// What a client has read, as far as it is believed.
fn believed<'a>(read: &'a VersionVector, set: &Siblings) -> Cow<'a, VersionVector> {
    if read.iter().all(|(_, counter)| counter <= CLAIM_LIMIT) || !read.is_canonical() {
        return Cow::Borrowed(read);
    }
    let known = set.context().0;
    let most = |actor| CLAIM_LIMIT.max(known.get(&actor));
    Cow::Owned(read.iter().map(|(actor, counter)| (actor, counter.min(most(actor)))).collect())
}

impl Record {
    /// Mints the record's next dot and writes `value` under it.
    ///
    /// An old actor needs proof: that it was born under the present identity of a directory that was not
    /// rolled back, and that nobody names more of its events than this record minted. Without it the
    /// record takes a fresh birth, which is always safe.
    fn write(
        &mut self,
        continuity: &Continuity,
        meta: &mut Meta,
        read: &VersionVector,
        timestamp: u64,
        value: Option<Bytes>,
    ) -> Dot {
        let Siblings::Dotted(set) = &mut self.set else {
            panic!("only dotted sets have dots");
        };
        let proven = self.minter.filter(|minter| {
            let Minter { actor, counter } = *minter;
            continuity.may_mint(meta, actor.identity)
                && !mutated(Mutant::NodeWideCounter)
                && set.context().get(&actor) == counter
                && read.get(&actor) <= counter
        });
        let mut minter =
            proven.unwrap_or_else(|| meta.birth(continuity.identity(meta), set.context(), read));
        minter.counter += 1;
        assert!(minter.counter <= COUNTER_LIMIT, "an actor has more events than a vector may name");
        let dot = Dot { actor: minter.actor, counter: minter.counter };
        set.write(read, Version { dot, timestamp, value });
        assert!(set.context().contains(&dot), "a record knows what it minted");
        self.minter = Some(minter);
        dot
    }

    /// A set that names more of this record's own actor than the record minted proves that the
    /// record was rolled back: its actor is given up.
    pub(crate) fn check_rollback(&mut self) {
        if let (Some(minter), Siblings::Dotted(set)) = (self.minter, &self.set)
            && set.context().get(&minter.actor) > minter.counter
        {
            self.minter = None;
        }
    }
}

impl Meta {
    /// A fresh actor that nobody has heard of: not even a context that a client made up.
    fn birth(&mut self, identity: Identity, set: &VersionVector, read: &VersionVector) -> Minter {
        if let Some(minter) = self.seeded_birth(set, read) {
            return minter;
        }
        loop {
            let actor = Actor { identity, birth: self.births };
            self.births += 1;
            if set.get(&actor) == 0 && read.get(&actor) == 0 {
                return Minter { actor, counter: 0 };
            }
        }
    }

    /// The births of the seeded bugs that have births of their own.
    fn seeded_birth(&mut self, set: &VersionVector, read: &VersionVector) -> Option<Minter> {
        let known = |actor| set.get(&actor).max(read.get(&actor));
        let first = Actor { identity: self.identity, birth: 0 };
        if mutated(Mutant::ActorReused) {
            return Some(Minter { actor: first, counter: known(first) });
        }
        if mutated(Mutant::NodeWideCounter) {
            self.births += 1;
            return Some(Minter { actor: first, counter: self.births - 1 });
        }
        if mutated(Mutant::ForgottenGoesOn) {
            let mine = set.iter().map(|(actor, _)| actor).find(|a| a.identity == self.identity)?;
            return Some(Minter { actor: mine, counter: known(mine) });
        }
        None
    }
}
