//! A disk: what is applied, what of it is durable, and how it fails.
//!
//! It keeps the promises of [`Store`] and no more: a crash loses changes that were not synced, from
//! the end only, whole batches at a time; a damaged record is `Corrupt`, never absent or wrong.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use dynamo_protocol::membership::Membership;
use dynamo_protocol::mutant::{Mutant, mutated};
use dynamo_protocol::{
    Change, Digest, Enrolment, Fingerprint, Identity, Key, Leaf, Meta, Node, NodeId, Place, Record,
    Remembered, Role, Siblings, Span, Store, StoreError, Token,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::records::Records;

/// How a disk misbehaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskFault {
    /// So many reads fail; [`DiskFault::FOR_GOOD`] until it is mended.
    ReadsFail(u32),
    /// So many writes fail, with nothing written: an I/O error once, or a full disk for good.
    WritesFail(u32),
    /// The record of a place is damaged where it lies.
    Damage(Role, Key),
    /// The record of a place is gone from where it lay, the rest of the directory intact, and nothing tells.
    Forget(Role, Key),
    /// The next so many syncs report success and make nothing durable, then or later: the kernel drops
    /// the pages it could not write and calls them clean, which leaves a hole in the log, and what is
    /// synced after it lies behind the hole. No host that heeds a failed sync ever sees this.
    LoseSyncs(u32),
    /// Everything in the directory is gone but its identity, and with it that it ever held anything:
    /// a broken host. One that heeds the rules renews the identity (`Wipe`).
    Empty,
    /// All is well again; damaged records stay damaged.
    Mend,
}

impl DiskFault {
    /// As many times as anybody tries.
    pub const FOR_GOOD: u32 = u32::MAX;
}

/// A simulated disk.
#[derive(Clone, Debug)]
pub struct Disk {
    meta: Meta,
    records: Records,
    heard: BTreeMap<NodeId, Remembered>,
    enrolment: Enrolment,
    damaged: BTreeSet<Place>,
    /// How to take back what is not durable, oldest first.
    undo: VecDeque<Undo>,
    /// Batches applied and batches reported durable, since the disk was new.
    applied: u64,
    synced: u64,
    /// Batches applied before the directory was made.
    before: u64,
    /// It tells its position.
    counts: bool,
    read_failures: Cell<u32>,
    write_failures: u32,
    lost_syncs: u32,
    /// A sync was lost: nothing after it can be recovered from the disk as it is.
    holed: bool,
}

/// One change of a batch that is not durable, and what was there before it.
#[derive(Clone, Debug)]
struct Undo {
    batch: u64,
    what: Before,
}

#[derive(Clone, Debug)]
enum Before {
    Record { place: Place, record: Option<Record>, damaged: bool },
    Meta(Meta),
    Heard(NodeId, Option<Remembered>),
    Enrolment(Box<Enrolment>),
}

/// A record that a step changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Changed<'a> {
    pub(crate) place: &'a Place,
    pub(crate) before: Option<&'a Record>,
    pub(crate) now: Option<&'a Record>,
}

impl Disk {
    /// An empty disk of the directory `meta`.
    #[must_use]
    pub fn new(meta: Meta) -> Self {
        Self {
            meta,
            records: Records::default(),
            heard: BTreeMap::new(),
            enrolment: Enrolment::default(),
            damaged: BTreeSet::new(),
            undo: VecDeque::new(),
            applied: 0,
            synced: 0,
            before: 0,
            counts: false,
            read_failures: Cell::new(0),
            write_failures: 0,
            lost_syncs: 0,
            holed: false,
        }
    }

    /// The same, that tells how far it has come or does not.
    #[must_use]
    pub fn counting(self, counts: bool) -> Self {
        Self { counts, ..self }
    }

    /// Who the directory is.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// What the directory remembers of other members.
    #[must_use]
    pub fn heard(&self) -> &BTreeMap<NodeId, Remembered> {
        &self.heard
    }

    /// What the directory keeps of the membership.
    #[must_use]
    pub fn enrolment(&self) -> &Enrolment {
        &self.enrolment
    }

    /// The host writes what it was told of the membership before its node starts on it.
    pub(crate) fn enrol(&mut self, node: NodeId, epochs: Vec<Membership>) {
        (self.meta, self.enrolment) = Enrolment::told(node, self.meta, epochs);
    }

    /// What a reader finds, durable or not, in the order of the places.
    pub fn records(&self) -> impl Iterator<Item = (&Place, &Record)> {
        self.records.in_order()
    }

    /// The batches applied since the disk was new.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// The batches reported durable since the disk was new.
    #[must_use]
    pub fn synced(&self) -> u64 {
        self.synced
    }

    /// What would be at `place` after a power cut now.
    #[must_use]
    pub fn durable(&self, place: &Place) -> Option<&Record> {
        for undo in &self.undo {
            if let Before::Record { place: changed, record, damaged } = &undo.what
                && changed == place
            {
                return record.as_ref().filter(|_| !damaged);
            }
        }
        self.records.get(place).filter(|_| !self.damaged.contains(place))
    }

    /// What a reader finds at `place`, durable or not, if it is not damaged.
    #[must_use]
    pub fn present(&self, place: &Place) -> Option<&Record> {
        self.records.get(place).filter(|_| !self.damaged.contains(place))
    }

    /// The hints a reader finds: a damaged one can be delivered to nobody.
    pub fn hints_left(&self) -> usize {
        self.hints().count()
    }

    /// The places of the hints a reader finds.
    pub(crate) fn hints(&self) -> impl Iterator<Item = &Place> {
        self.records.hints().keys().filter(|place| !self.damaged.contains(place))
    }

    /// The hints of `key` that would be here after a power cut now.
    pub(crate) fn durable_hints(
        &self,
        key: &Key,
        homes: &[NodeId],
    ) -> impl Iterator<Item = &Record> {
        // Most disks hold no hint, and tell so at once.
        let has_none = self.undo.is_empty() && self.records.hints().is_empty();
        let homes = if has_none { &[] } else { homes };
        let places = homes.iter().map(|home| Place { role: Role::Hint(*home), key: key.clone() });
        places.filter_map(|place| self.durable(&place))
    }

    /// What the batches after `batch` changed, if none of them is durable yet.
    pub(crate) fn changed_since(&self, batch: u64) -> impl Iterator<Item = Changed<'_>> {
        let start = self.undo.partition_point(|undo| undo.batch <= batch);
        self.undo.range(start..).filter_map(|undo| match &undo.what {
            Before::Record { place, record, damaged } => Some(Changed {
                place,
                before: record.as_ref().filter(|_| !damaged),
                now: self.records.get(place),
            }),
            Before::Meta(_) | Before::Heard(..) | Before::Enrolment(_) => None,
        })
    }

    /// The keys of which some record will durably know less once the batches up to `batch` are durable.
    pub(crate) fn forgotten_by(&self, batch: u64) -> Vec<Key> {
        if self.holed || self.lost_syncs > 0 {
            return Vec::new();
        }
        let first_left = self.undo.partition_point(|undo| undo.batch <= batch);
        let becomes = |place: &Place| {
            let later = self.undo.range(first_left..).find_map(|undo| undo.before(place));
            later.unwrap_or_else(|| self.records.get(place))
        };
        let forgets = |undo: &Undo| match &undo.what {
            Before::Record { place, record: Some(old), .. } => {
                let new = becomes(place).map(|record| &record.set);
                (!new.is_some_and(|new| has_seen(new, &old.set))).then(|| place.key.clone())
            }
            Before::Record { .. } | Before::Meta(_) | Before::Heard(..) | Before::Enrolment(_) => {
                None
            }
        };
        self.undo.range(..first_left).filter_map(forgets).collect()
    }

    /// The oldest batches up to `batch` are durable now.
    pub(crate) fn sync_to(&mut self, batch: u64) {
        self.synced = self.synced.max(batch.min(self.applied));
        if self.lost_syncs > 0 {
            self.lost_syncs -= 1;
            self.holed = self.undo.front().is_some_and(|undo| undo.batch <= batch);
        }
        if self.holed {
            return;
        }
        while self.undo.front().is_some_and(|undo| undo.batch <= batch) {
            self.undo.pop_front();
        }
    }

    /// What was not durable is gone, but for the oldest `keep` batches of it.
    pub(crate) fn crash(&mut self, keep: u64) {
        let kept = self.durable_batch() + keep;
        while let Some(undo) = self.pop_undo(kept) {
            if mutated(Mutant::TornBatch) && undo.batch == kept + 1 && self.is_first_of_batch(&undo)
            {
                continue;
            }
            self.take_back(undo.what);
        }
        self.undo.clear();
        self.holed = false;
        if mutated(Mutant::HintsVolatile) {
            self.records.drop_hints();
        }
        self.applied = self.applied.min(kept);
        self.synced = self.applied;
        // What comes from outside the disk ends with the process.
        self.read_failures.set(0);
    }

    fn is_first_of_batch(&self, undo: &Undo) -> bool {
        self.undo.back().is_none_or(|before| before.batch < undo.batch)
    }

    /// Whether it holds what a crash that kept `keep` batches may leave of `before`.
    pub(crate) fn has_recovered(&self, before: &Self, keep: u64) -> bool {
        let reported = before.synced.saturating_sub(before.durable_batch());
        let mut should = before.clone();
        should.undo_after(before.durable_batch() + keep.max(reported));
        should.meta == self.meta && should.records == self.records
    }

    /// The places that are otherwise than they would have been after a power cut of `before`.
    pub(crate) fn recovered_otherwise<'a>(&'a self, before: &'a Self) -> BTreeSet<&'a Place> {
        let places = self.records.in_order().chain(before.records.in_order());
        let differs = |place: &&Place| before.durable(place) != self.durable(place);
        places.map(|(place, _)| place).filter(differs).collect()
    }

    /// Whether some change of `place` is not durable yet.
    pub(crate) fn is_changing(&self, place: &Place) -> bool {
        self.undo.iter().any(|undo| undo.before(place).is_some())
    }

    /// The last batch that is durable in truth.
    fn durable_batch(&self) -> u64 {
        self.undo.front().map_or(self.applied, |undo| undo.batch - 1)
    }

    fn undo_after(&mut self, kept: u64) {
        while let Some(undo) = self.pop_undo(kept) {
            self.take_back(undo.what);
        }
    }

    /// The newest change of a batch after `kept`.
    fn pop_undo(&mut self, kept: u64) -> Option<Undo> {
        self.undo.back().filter(|undo| undo.batch > kept)?;
        self.undo.pop_back()
    }

    fn take_back(&mut self, what: Before) {
        match what {
            Before::Record { place, record, damaged } => self.restore(place, record, damaged),
            Before::Meta(meta) => self.meta = meta,
            Before::Heard(peer, Some(heard)) => drop(self.heard.insert(peer, heard)),
            Before::Heard(peer, None) => drop(self.heard.remove(&peer)),
            Before::Enrolment(before) => self.enrolment = *before,
        }
    }

    fn restore(&mut self, place: Place, record: Option<Record>, damaged: bool) {
        if damaged {
            self.damaged.insert(place.clone());
        } else {
            self.damaged.remove(&place);
        }
        match record {
            Some(record) => drop(self.records.insert(place, record)),
            None => drop(self.records.remove(&place)),
        }
    }

    /// What a power cut would leave now.
    pub(crate) fn backed_up(&self) -> Self {
        let mut backup = self.clone();
        let durable = backup.durable_batch();
        backup.undo_after(durable);
        (backup.applied, backup.synced) = (durable, durable);
        backup
    }

    /// It is as it was when it was backed up. How it misbehaves is the drive's, and stays.
    pub(crate) fn put_back(&mut self, backup: &Self) {
        *self = Self {
            read_failures: self.read_failures.clone(),
            write_failures: self.write_failures,
            lost_syncs: self.lost_syncs,
            ..backup.clone()
        };
    }

    /// What it would remember of `peer` after a power cut now.
    pub(crate) fn durable_heard(&self, peer: NodeId) -> Option<&Remembered> {
        let before = self.undo.iter().find_map(|undo| match &undo.what {
            Before::Heard(of, before) if *of == peer => Some(before.as_ref()),
            _ => None,
        });
        before.unwrap_or_else(|| self.heard.get(&peer))
    }

    /// Everything is gone; the directory is another.
    pub(crate) fn wipe(&mut self, identity: Identity) {
        let (applied, synced) = (self.applied, self.applied);
        let (before, counts) = (applied, self.counts);
        *self = Self { applied, synced, before, counts, ..Self::new(Meta::renewed(identity)) };
    }

    pub(crate) fn misbehave(&mut self, fault: &DiskFault) {
        match fault {
            DiskFault::ReadsFail(times) => self.read_failures.set(*times),
            DiskFault::WritesFail(times) => self.write_failures = *times,
            DiskFault::LoseSyncs(times) => self.lost_syncs = *times,
            DiskFault::Damage(role, key) => {
                let place = Place { role: *role, key: key.clone() };
                if self.records.get(&place).is_some() {
                    self.damaged.insert(place);
                }
            }
            DiskFault::Forget(role, key) => self.forget(&Place { role: *role, key: key.clone() }),
            DiskFault::Empty => {
                let (applied, synced) = (self.applied, self.applied);
                let meta = Meta::genesis(self.meta.identity);
                let (before, counts) = (self.before, self.counts);
                *self = Self { applied, synced, before, counts, ..Self::new(meta) };
            }
            DiskFault::Mend => {
                self.read_failures.set(0);
                self.write_failures = 0;
                // A hole that is there stays.
                self.lost_syncs = 0;
            }
        }
    }

    /// Gone for good: not even a crash that takes back what was not synced brings it back.
    fn forget(&mut self, place: &Place) {
        self.restore(place.clone(), None, false);
        for undo in &mut self.undo {
            if let Before::Record { place: changed, record, damaged } = &mut undo.what
                && changed == place
            {
                (*record, *damaged) = (None, false);
            }
        }
    }

    /// How many more reads and writes will fail.
    #[must_use]
    pub fn failing(&self) -> (u32, u32) {
        (self.read_failures.get(), self.write_failures)
    }

    /// The records that a reader finds, in order: what is damaged is not found.
    pub(crate) fn readable(&self) -> impl Iterator<Item = (&Place, &Record)> {
        self.records.in_order().filter(|(place, _)| !self.damaged.contains(place))
    }

    /// Of the disk and the node on it, as a reader finds them.
    #[must_use]
    pub fn digest(&self, node: Option<&Node>) -> Digest {
        Digest::of_host(node, &self.meta, self.readable())
    }

    /// What is damaged counts for nothing, as it does in a store that has to read it.
    fn readable_leaves(&self, span: Span) -> impl Iterator<Item = (Token, &Key, Leaf)> {
        self.records.leaves(span, |place| !self.damaged.contains(place))
    }

    fn reads_fail(&self) -> bool {
        let times = self.read_failures.get();
        if times != DiskFault::FOR_GOOD {
            self.read_failures.set(times.saturating_sub(1));
        }
        times > 0
    }

    fn writes_fail(&mut self) -> bool {
        let times = self.write_failures;
        if times != DiskFault::FOR_GOOD {
            self.write_failures = times.saturating_sub(1);
        }
        times > 0
    }
}

impl Undo {
    /// What was at `place` before the change, if this is what it changed.
    fn before(&self, place: &Place) -> Option<Option<&Record>> {
        match &self.what {
            Before::Record { place: changed, record, .. } if changed == place => {
                Some(record.as_ref())
            }
            Before::Record { .. } | Before::Meta(_) | Before::Heard(..) | Before::Enrolment(_) => {
                None
            }
        }
    }
}

/// Whether whoever holds `new` has seen all events that whoever holds `old` has.
fn has_seen(new: &Siblings, old: &Siblings) -> bool {
    match (new, old) {
        (Siblings::Dotted(new), Siblings::Dotted(old)) => new.context().covers(old.context()),
        _ => new.covers(old),
    }
}

impl Store for Disk {
    fn record(&self, place: &Place) -> Result<Option<Record>, StoreError> {
        if self.reads_fail() {
            return Err(StoreError::Unreadable);
        }
        if self.damaged.contains(place) {
            if mutated(Mutant::DamageAccepted) {
                return Ok(self.records.get(place).map(damaged));
            }
            return Err(StoreError::Corrupt);
        }
        Ok(self.records.get(place).cloned())
    }

    fn hints(
        &self,
        target: NodeId,
        after: Option<&Key>,
        most: usize,
    ) -> Result<Vec<Key>, StoreError> {
        if self.reads_fail() {
            return Err(StoreError::Unreadable);
        }
        let role = Role::Hint(target);
        let first = Place { role, key: after.cloned().unwrap_or(Key(Bytes::new())) };
        let hints = self.records.hints().range(first..).map(|(place, _)| place);
        let hints = hints.take_while(|place| place.role == role);
        let keys = hints.map(|place| &place.key).filter(|key| Some(*key) != after);
        Ok(keys.take(most).cloned().collect())
    }

    fn fingerprint(&self, span: Span) -> Result<Fingerprint, StoreError> {
        if self.reads_fail() {
            return Err(StoreError::Unreadable);
        }
        Ok(self.readable_leaves(span).map(|(_, _, leaf)| leaf).collect())
    }

    fn leaves(&self, span: Span, most: usize) -> Result<Vec<(Key, Leaf)>, StoreError> {
        if self.reads_fail() {
            return Err(StoreError::Unreadable);
        }
        let mut leaves: Vec<_> = self.readable_leaves(span).collect();
        leaves.sort_unstable();
        let leaves = leaves.into_iter().map(|(_, key, leaf)| (key.clone(), leaf));
        Ok(leaves.take(most).collect())
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        if self.writes_fail() {
            return Err(StoreError::Unwritable);
        }
        self.applied += 1;
        let batch = self.applied;
        for change in changes {
            let what = match change {
                Change::Put(place, record) => {
                    let damaged = self.damaged.remove(&place);
                    let record = self.records.insert(place.clone(), record);
                    Before::Record { place, record, damaged }
                }
                Change::Remove(place) => {
                    let damaged = self.damaged.remove(&place);
                    let record = self.records.remove(&place);
                    Before::Record { place, record, damaged }
                }
                Change::Meta(meta) => Before::Meta(std::mem::replace(&mut self.meta, meta)),
                Change::Heard(peer, heard) => Before::Heard(peer, self.heard.insert(peer, heard)),
                Change::Enrolment(enrolment) => {
                    let before = std::mem::replace(&mut self.enrolment, enrolment);
                    Before::Enrolment(Box::new(before))
                }
            };
            self.undo.push_back(Undo { batch, what });
        }
        Ok(())
    }

    fn position(&self) -> u64 {
        if self.counts { 1 + self.applied - self.before } else { 0 }
    }
}

/// The record with its values changed where they lie: by way of its text, since the core gives
/// nobody a way to change what an event wrote.
fn damaged(record: &Record) -> Record {
    let mut text = serde_json::to_value(record).expect("a record is plain data");
    if let Some(Value::Array(versions)) = text.pointer_mut("/set/Dotted/versions") {
        for version in versions {
            version["value"] = Value::from(b"\"damaged\"".as_slice());
        }
    }
    serde_json::from_value(text).expect("its shape is what it was")
}

#[cfg(test)]
mod tests {
    use dynamo_protocol::Versioning;

    use super::*;

    fn place(key: &str) -> Place {
        Place::home(Key::from(key))
    }

    fn record(amnesiac: bool) -> Record {
        Record { set: Siblings::empty(Versioning::Dotted), minter: None, amnesiac }
    }

    fn disk() -> Disk {
        Disk::new(Meta::genesis(Identity(1)))
    }

    #[test]
    fn a_crash_loses_unsynced_batches_from_the_end() {
        let mut disk = disk();
        for key in ["a", "b", "c", "d"] {
            disk.apply(vec![Change::Put(place(key), record(false))]).unwrap();
        }
        disk.sync_to(1);
        assert!(disk.durable(&place("a")).is_some() && disk.durable(&place("b")).is_none());
        disk.crash(2);
        let left: Vec<_> = disk.records().map(|(place, _)| place.key.to_string()).collect();
        assert_eq!(left, ["a", "b", "c"]);
        assert_eq!((disk.applied(), disk.synced()), (3, 3));
    }

    #[test]
    fn a_batch_goes_whole() {
        let mut disk = disk();
        let meta = Meta { births: 7, ..*disk.meta() };
        disk.apply(vec![Change::Put(place("a"), record(false)), Change::Meta(meta)]).unwrap();
        disk.crash(0);
        assert_eq!((disk.records().count(), disk.meta().births), (0, 0));
    }

    #[test]
    fn a_restored_disk_has_what_was_durable_when_it_was_backed_up_and_its_position() {
        let mut disk = disk().counting(true);
        for (batch, key) in (1..).zip(["a", "b", "c"]) {
            disk.apply(vec![Change::Put(place(key), record(false))]).unwrap();
            if batch == 1 {
                disk.sync_to(1);
            }
        }
        let backup = disk.backed_up();
        disk.sync_to(3);
        assert_eq!(disk.position(), 4);
        disk.put_back(&backup);
        let left: Vec<_> = disk.records().map(|(place, _)| place.key.to_string()).collect();
        assert_eq!((left, disk.position()), (vec!["a".to_owned()], 2));
        disk.apply(vec![Change::Put(place("d"), record(false))]).unwrap();
        assert_eq!((disk.position(), disk.applied(), disk.synced()), (3, 2, 1));
    }

    #[test]
    fn what_was_durable_comes_back_when_its_successor_is_lost() {
        let mut disk = disk();
        disk.apply(vec![Change::Put(place("a"), record(false))]).unwrap();
        disk.sync_to(1);
        disk.apply(vec![Change::Put(place("a"), record(true))]).unwrap();
        assert_eq!(disk.durable(&place("a")), Some(&record(false)));
        disk.apply(vec![Change::Remove(place("a"))]).unwrap();
        disk.crash(0);
        assert_eq!(disk.record(&place("a")), Ok(Some(record(false))));
    }

    #[test]
    fn a_damaged_record_is_corrupt_until_it_is_written_anew() {
        let mut disk = disk();
        disk.apply(vec![Change::Put(place("a"), record(false))]).unwrap();
        disk.sync_to(1);
        disk.misbehave(&DiskFault::Damage(Role::Home, Key::from("a")));
        assert_eq!(disk.record(&place("a")), Err(StoreError::Corrupt));
        assert_eq!(disk.durable(&place("a")), None);
        disk.apply(vec![Change::Put(place("a"), record(true))]).unwrap();
        assert_eq!(disk.record(&place("a")), Ok(Some(record(true))));
        disk.crash(0);
        assert_eq!(disk.record(&place("a")), Err(StoreError::Corrupt));
    }

    #[test]
    fn a_forgotten_record_is_absent_and_no_crash_brings_it_back() {
        let mut disk = disk();
        disk.apply(vec![Change::Put(place("a"), record(false))]).unwrap();
        disk.sync_to(1);
        disk.apply(vec![Change::Put(place("a"), record(true))]).unwrap();
        disk.misbehave(&DiskFault::Forget(Role::Home, Key::from("a")));
        assert_eq!(disk.record(&place("a")), Ok(None));
        disk.crash(0);
        assert_eq!(disk.record(&place("a")), Ok(None));
    }

    #[test]
    fn what_a_failed_sync_dropped_no_later_sync_brings_back() {
        let mut disk = disk();
        disk.misbehave(&DiskFault::LoseSyncs(1));
        for (batch, key) in (1..).zip(["a", "b", "c"]) {
            disk.apply(vec![Change::Put(place(key), record(false))]).unwrap();
            disk.sync_to(batch);
            assert_eq!(disk.synced(), batch, "it is reported durable");
            assert_eq!(disk.durable(&place(key)), None, "and is not");
        }
        disk.misbehave(&DiskFault::Mend);
        let before = disk.clone();
        disk.crash(0);
        assert_eq!(disk.records().count(), 0);
        assert!(!disk.has_recovered(&before, 0), "the oracle tells");
    }

    #[test]
    fn failures_are_counted_and_mended() {
        let mut disk = disk();
        disk.misbehave(&DiskFault::ReadsFail(1));
        assert_eq!(disk.record(&place("a")), Err(StoreError::Unreadable));
        assert_eq!(disk.record(&place("a")), Ok(None));
        disk.misbehave(&DiskFault::WritesFail(DiskFault::FOR_GOOD));
        for _ in 0..3 {
            let full = disk.apply(vec![Change::Put(place("a"), record(false))]);
            assert_eq!(full, Err(StoreError::Unwritable));
        }
        disk.misbehave(&DiskFault::Mend);
        assert_eq!(disk.apply(vec![]), Ok(()));
    }
}
