//! The real storage of a node that is stepped: it syncs when it is told to, and fails as it is told to.

use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use dynamo_protocol::{
    Change, Digest, Fingerprint, Key, Leaf, Meta, Node, NodeId, Place, Record, Span, Store,
    StoreError, Versioning,
};

use super::DiskFault;
use crate::storage::{
    Batch, Directory, EngineError, Records, Space, State, Write, address_of as address,
};

/// See the [module](self).
pub(crate) struct Disk {
    directory: Arc<Directory>,
    records: Records,
    /// Whether records were damaged or forgotten: a fault of single records, of which the
    /// directory's own census is to say nothing.
    falsified: bool,
    /// As a reader finds it, durable or not.
    meta: Meta,
    /// What was applied and is not durable, call by call; none where a call changed nothing.
    waiting: VecDeque<Option<Batch>>,
    /// It tells its position.
    counts: bool,
    /// Calls of `apply` that are durable, since the process started.
    synced: u64,
    /// Damaged before it was durable: the engine does not know of it yet.
    damaged: BTreeSet<Place>,
    reads_fail: Cell<u32>,
    writes_fail: u32,
}

impl Disk {
    /// Of a directory that is open.
    ///
    /// # Errors
    /// As [`Records::open`].
    pub(crate) fn open(directory: Directory, versioning: Versioning) -> Result<Self, EngineError> {
        let records = Records::open(&directory, versioning)?;
        Ok(Self::new(Arc::new(directory), records))
    }

    pub(crate) fn new(directory: Arc<Directory>, records: Records) -> Self {
        Self {
            meta: directory.meta,
            falsified: false,
            directory,
            records,
            waiting: VecDeque::new(),
            counts: false,
            synced: 0,
            damaged: BTreeSet::new(),
            reads_fail: Cell::new(0),
            writes_fail: 0,
        }
    }

    /// The same, that tells how far it has come or does not.
    pub(crate) fn counting(self, counts: bool) -> Self {
        Self { counts, ..self }
    }

    /// Calls of `apply` since the process started.
    pub(crate) fn applied(&self) -> u64 {
        self.synced + self.waiting.len() as u64
    }

    /// Those of them that are durable.
    pub(crate) fn synced(&self) -> u64 {
        self.synced
    }

    /// Makes the oldest `changes` of what waits durable, in one commit.
    pub(crate) fn sync(&mut self, changes: u64) -> Result<(), EngineError> {
        let count =
            usize::try_from(changes).map_or(self.waiting.len(), |c| c.min(self.waiting.len()));
        self.synced += count as u64;
        let mut writes = Vec::new();
        let mut last = None;
        for batch in self.waiting.drain(..count).flatten() {
            writes.extend(batch.writes);
            last = Some((batch.number, batch.state));
        }
        let Some((number, state)) = last else { return Ok(()) };
        self.commit(writes, state)?;
        self.records.committed(number);
        Ok(())
    }

    fn commit(&self, writes: Vec<Write>, state: State) -> Result<(), EngineError> {
        let number = state.position;
        self.directory.commit(Batch { number, writes, state })?;
        if self.falsified {
            let state = state.counted(&*self.directory.engine, &mut |_, _, _| {})?;
            self.directory.commit(Batch { number, writes: Vec::new(), state })?;
        }
        Ok(())
    }

    /// Of everything a reader finds, and of the node on it.
    pub(crate) fn digest(&self, node: Option<&Node>) -> Result<Digest, EngineError> {
        let records = self.records.present()?;
        let readable = records.iter().filter(|(place, _)| !self.damaged.contains(place));
        Ok(Digest::of_host(node, &self.meta, readable))
    }

    pub(crate) fn misbehave(&mut self, fault: &DiskFault) -> Result<(), EngineError> {
        match fault {
            DiskFault::ReadsFail(times) => self.reads_fail.set(*times),
            DiskFault::WritesFail(times) => self.writes_fail = *times,
            DiskFault::Damage(place) => {
                self.damage(place)?;
                self.records.is_lost(place);
            }
            DiskFault::Forget(place) => {
                self.forget(place)?;
                self.records.is_lost(place);
            }
            DiskFault::Mend => {
                self.reads_fail.set(0);
                self.writes_fail = 0;
            }
        }
        Ok(())
    }

    /// Flips a bit of what lies at `place`, or of what is on its way there.
    fn damage(&mut self, place: &Place) -> Result<(), EngineError> {
        self.falsified = true;
        let (space, key) = address(place);
        let waiting = self.waiting.iter_mut().flatten().flat_map(|batch| &mut batch.writes);
        let newest = waiting.filter(|write| write.space == space && write.key == key).last();
        match newest {
            Some(Write { value: Some(value), .. }) => {
                *value = flipped(value);
                self.damaged.insert(place.clone());
                Ok(())
            }
            Some(Write { value: None, .. }) => Ok(()),
            None => match self.directory.engine.get(space, &key)? {
                Some(value) => self.lay(space, key, Some(flipped(&value))),
                None => Ok(()),
            },
        }
    }

    /// What lies at `place`, and what is on its way there, is no more.
    fn forget(&mut self, place: &Place) -> Result<(), EngineError> {
        self.falsified = true;
        let (space, key) = address(place);
        for batch in self.waiting.iter_mut().flatten() {
            batch.writes.retain(|write| write.space != space || write.key != key);
        }
        self.records.forget(place);
        self.damaged.remove(place);
        self.lay(space, key, None)
    }

    fn lay(&self, space: Space, key: Bytes, value: Option<Bytes>) -> Result<(), EngineError> {
        self.commit(vec![Write { space, key, value }], self.directory.state())
    }

    fn reads_fail(&self) -> bool {
        let times = self.reads_fail.get();
        self.reads_fail.set(one_less(times));
        times > 0
    }
}

/// What fails for good goes on failing.
fn one_less(times: u32) -> u32 {
    if times == DiskFault::FOR_GOOD { times } else { times.saturating_sub(1) }
}

fn flipped(value: &[u8]) -> Bytes {
    let mut bytes = value.to_vec();
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    bytes.into()
}

impl Store for Disk {
    fn record(&self, place: &Place) -> Result<Option<Record>, StoreError> {
        if self.reads_fail() {
            return Err(StoreError::Unreadable);
        }
        if self.damaged.contains(place) {
            return Err(StoreError::Corrupt);
        }
        self.records.record(place)
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
        self.records.hints(target, after, most)
    }

    fn fingerprint(&self, span: Span) -> Result<Fingerprint, StoreError> {
        if self.reads_fail() {
            return Err(StoreError::Unreadable);
        }
        self.records.fingerprint(span)
    }

    fn leaves(&self, span: Span, most: usize) -> Result<Vec<(Key, Leaf)>, StoreError> {
        if self.reads_fail() {
            return Err(StoreError::Unreadable);
        }
        self.records.leaves(span, most)
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        let fails = self.writes_fail > 0;
        self.writes_fail = one_less(self.writes_fail);
        if fails {
            return Err(StoreError::Unwritable);
        }
        for change in &changes {
            match change {
                Change::Put(place, _) | Change::Remove(place) => {
                    self.damaged.remove(place);
                }
                Change::Meta(meta) => self.meta = *meta,
                Change::Heard(..) | Change::Enrolment(_) => {}
            }
        }
        self.records.apply(changes)?;
        // Each call is a batch of its own: a trace counts them one by one.
        self.waiting.push_back(self.records.take_batch());
        Ok(())
    }

    fn position(&self) -> u64 {
        if self.counts { Store::position(&self.records) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use dynamo_protocol::{Identity, Role, Siblings};

    use super::*;
    use crate::storage::Origin;

    fn disk() -> Disk {
        let origin = Origin { genesis: true, identity: Some(Identity(1)) };
        Disk::open(Directory::in_memory(origin), Versioning::Dotted).unwrap()
    }

    fn place(key: &str) -> Place {
        Place { role: Role::Hint(NodeId(2)), key: Key::from(key) }
    }

    fn put(disk: &mut Disk, key: &str, amnesiac: bool) -> Result<(), StoreError> {
        let set = Siblings::empty(Versioning::Dotted);
        disk.apply(vec![Change::Put(place(key), Record { set, minter: None, amnesiac })])
    }

    #[test]
    fn what_is_not_synced_is_read_and_not_kept() {
        let mut disk = disk();
        put(&mut disk, "a", false).unwrap();
        let one = disk.digest(None).unwrap();
        put(&mut disk, "b", false).unwrap();
        disk.sync(1).unwrap();
        assert_eq!((disk.synced(), disk.applied()), (1, 2));
        assert_eq!(disk.hints(NodeId(2), None, 9), Ok(vec![Key::from("a"), Key::from("b")]));
        assert_ne!(disk.digest(None).unwrap(), one);
        let records = Records::open(&disk.directory, Versioning::Dotted).unwrap();
        let after_a_crash = Disk::new(disk.directory, records);
        assert_eq!(after_a_crash.digest(None).unwrap(), one);
    }

    #[test]
    fn a_damaged_record_is_corrupt_wherever_it_lies_until_it_is_written_anew() {
        for synced in [0, 1] {
            let mut disk = disk();
            let empty = disk.digest(None).unwrap();
            put(&mut disk, "a", false).unwrap();
            disk.sync(synced).unwrap();
            disk.misbehave(&DiskFault::Damage(place("a"))).unwrap();
            assert_eq!(disk.record(&place("a")), Err(StoreError::Corrupt));
            assert_eq!(disk.digest(None).unwrap(), empty);
            disk.sync(1).unwrap();
            assert_eq!(disk.record(&place("a")), Err(StoreError::Corrupt));
            put(&mut disk, "a", true).unwrap();
            assert!(disk.record(&place("a")).unwrap().unwrap().amnesiac);
        }
    }

    #[test]
    fn a_forgotten_record_is_absent_wherever_it_lay() {
        for synced in [0, 1] {
            let mut disk = disk();
            put(&mut disk, "a", false).unwrap();
            disk.sync(synced).unwrap();
            disk.misbehave(&DiskFault::Forget(place("a"))).unwrap();
            disk.sync(1).unwrap();
            assert_eq!(disk.record(&place("a")), Ok(None));
        }
    }

    #[test]
    fn failures_are_counted_and_mended() {
        let mut disk = disk();
        disk.misbehave(&DiskFault::ReadsFail(1)).unwrap();
        assert_eq!(disk.record(&place("a")), Err(StoreError::Unreadable));
        assert_eq!(disk.record(&place("a")), Ok(None));
        disk.misbehave(&DiskFault::WritesFail(DiskFault::FOR_GOOD)).unwrap();
        for _ in 0..3 {
            assert_eq!(put(&mut disk, "a", false), Err(StoreError::Unwritable));
        }
        disk.misbehave(&DiskFault::Mend).unwrap();
        assert_eq!(put(&mut disk, "a", false), Ok(()));
    }
}
