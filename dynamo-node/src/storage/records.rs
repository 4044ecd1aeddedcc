//! The protocol's [`Store`] on an [`Engine`]: records, hints and meta in one ordered space of bytes.
//!
//! What a step applies is seen by the next step at once and reaches the engine later, in one batch
//! with what other steps applied: until then it lies here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use dynamo_protocol::{
    Change, Key, Meta, NodeId, Place, Record, Role, Store, StoreError, Versioning,
};

use super::codec::{seal, unseal};
use super::{Engine, EngineError, Space, Write};

/// The key of the directory's [`Meta`].
pub(super) const META: &[u8] = b"meta";

/// See the [module](self).
pub(crate) struct Records {
    engine: Arc<dyn Engine>,
    versioning: Versioning,
    /// What was applied and is not known to be committed.
    overlay: BTreeMap<(Space, Bytes), Newer>,
    /// The changes of the batch that is being filled.
    filling: Vec<Write>,
    /// The number of that batch.
    number: u64,
    /// The batches under way to the engine: number, and what to drop from the overlay after it.
    under_way: VecDeque<(u64, Vec<(Space, Bytes)>)>,
    /// How many hints there are, those in the overlay included.
    hints: u64,
}

/// The newest state of a place that is in a batch.
struct Newer {
    record: Option<Record>,
    /// The batch that brought it.
    batch: u64,
}

/// What one or more steps applied: committed together.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Batches are numbered from 1, in order.
    pub(crate) number: u64,
    /// In the order in which they were applied.
    pub(crate) writes: Vec<Write>,
}

impl Batch {
    /// About how many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        let size = |write: &Write| write.key.len() + write.value.as_ref().map_or(0, Bytes::len);
        self.writes.iter().map(size).sum()
    }
}

impl Records {
    /// The store on `engine`. Counts the hints, once.
    ///
    /// # Errors
    /// If the hints cannot be listed.
    pub(crate) fn open(
        engine: Arc<dyn Engine>,
        versioning: Versioning,
    ) -> Result<Self, EngineError> {
        let mut hints = 0;
        engine.scan(Space::Hints, &[], &mut |_, _| {
            hints += 1;
            true
        })?;
        Ok(Self {
            engine,
            versioning,
            overlay: BTreeMap::new(),
            filling: Vec::new(),
            number: 1,
            under_way: VecDeque::new(),
            hints,
        })
    }

    /// How many hints it holds.
    pub(crate) fn hints_held(&self) -> u64 {
        self.hints
    }

    /// What was applied since the last call, if anything was.
    pub(crate) fn take_batch(&mut self) -> Option<Batch> {
        if self.filling.is_empty() {
            return None;
        }
        let writes = std::mem::take(&mut self.filling);
        let number = self.number;
        self.number += 1;
        let places = writes.iter().map(|write| (write.space, write.key.clone())).collect();
        self.under_way.push_back((number, places));
        Some(Batch { number, writes })
    }

    /// Batch `number` and those before it are in the engine.
    pub(crate) fn committed(&mut self, number: u64) {
        while self.under_way.front().is_some_and(|entry| entry.0 <= number)
            && let Some((batch, places)) = self.under_way.pop_front()
        {
            for place in places {
                if self.overlay.get(&place).is_some_and(|newer| newer.batch == batch) {
                    self.overlay.remove(&place);
                }
            }
        }
    }

    /// Visits every record in the engine; those that cannot be read are left out, since reading them
    /// fails again.
    ///
    /// # Errors
    /// If the engine cannot list them.
    pub(crate) fn visit(&self, mut visit: impl FnMut(Place, Record)) -> Result<(), EngineError> {
        for space in [Space::Home, Space::Hints] {
            self.engine.scan(space, &[], &mut |bytes, value| {
                if let (Some(place), Ok(record)) = (place(space, bytes), unseal(bytes, value)) {
                    visit(place, record);
                }
                true
            })?;
        }
        Ok(())
    }

    /// Every record that can be read, committed or not.
    ///
    /// # Errors
    /// If the engine cannot list them.
    pub(crate) fn present(&self) -> Result<BTreeMap<Place, Record>, EngineError> {
        let mut present = BTreeMap::new();
        self.visit(|place, record| drop(present.insert(place, record)))?;
        for ((space, key), newer) in &self.overlay {
            let Some(place) = place(*space, key) else { continue };
            match &newer.record {
                Some(record) => drop(present.insert(place, record.clone())),
                None => drop(present.remove(&place)),
            }
        }
        Ok(present)
    }

    /// Takes back what was applied to `place` and is not committed.
    pub(crate) fn forget(&mut self, place: &Place) {
        self.overlay.remove(&address_of(place));
    }

    fn write(&mut self, place: &Place, record: Option<Record>) {
        let (space, key) = address_of(place);
        // A key may be a slice of a whole network buffer, which it would keep alive for as long as the
        // engine keeps the key.
        let key = Bytes::copy_from_slice(&key);
        if space == Space::Hints {
            self.count_hint(&(space, key.clone()), record.is_some());
        }
        let value = record.as_ref().map(|record| seal(&key, record));
        self.filling.push(Write { space, key: key.clone(), value });
        self.overlay.insert((space, key), Newer { record, batch: self.number });
    }

    fn count_hint(&mut self, place: &(Space, Bytes), present: bool) {
        let before = match self.overlay.get(place) {
            Some(newer) => newer.record.is_some(),
            // Only a count hangs on it: a hint that cannot be read is there.
            None => self.engine.get(place.0, &place.1).map_or(true, |value| value.is_some()),
        };
        match (before, present) {
            (false, true) => self.hints += 1,
            (true, false) => self.hints = self.hints.saturating_sub(1),
            (false, false) | (true, true) => {}
        }
    }

    /// The keys in the engine that lie in `Hints` after `from` under `prefix`, up to `most` that the
    /// overlay says nothing about.
    fn committed_hints(
        &self,
        prefix: &[u8],
        after: Option<&Bytes>,
        most: usize,
    ) -> Result<Vec<Bytes>, EngineError> {
        let mut keys = Vec::new();
        let from = after.map_or(prefix, |after| after);
        self.engine.scan(Space::Hints, from, &mut |key, _| {
            if !key.starts_with(prefix) || keys.len() == most {
                return false;
            }
            let key = Bytes::copy_from_slice(key);
            if Some(&key) != after && !self.overlay.contains_key(&(Space::Hints, key.clone())) {
                keys.push(key);
            }
            true
        })?;
        Ok(keys)
    }
}

impl Store for Records {
    fn record(&self, place: &Place) -> Result<Option<Record>, StoreError> {
        let place = address_of(place);
        if let Some(newer) = self.overlay.get(&place) {
            return Ok(newer.record.clone());
        }
        let (space, key) = place;
        let Some(bytes) = self.engine.get(space, &key).map_err(|error| failed(&error))? else {
            return Ok(None);
        };
        let record: Record = unseal(&key, &bytes)?;
        if record.set.fits(self.versioning) { Ok(Some(record)) } else { Err(StoreError::Corrupt) }
    }

    fn hints(
        &self,
        target: NodeId,
        after: Option<&Key>,
        most: usize,
    ) -> Result<Vec<Key>, StoreError> {
        let prefix = target.0.to_be_bytes();
        let after = after.map(|key| hint_key(target, key));
        let committed = self.committed_hints(&prefix, after.as_ref(), most);
        let mut keys = committed.map_err(|error| failed(&error))?;
        let first = after.clone().unwrap_or_else(|| Bytes::copy_from_slice(&prefix));
        let newer = self.overlay.range((Space::Hints, first)..);
        let newer = newer.take_while(|((_, key), _)| key.starts_with(&prefix));
        let present =
            newer.filter(|((_, key), newer)| newer.record.is_some() && Some(key) != after.as_ref());
        keys.extend(present.map(|((_, key), _)| key.clone()));
        keys.sort_unstable();
        keys.truncate(most);
        Ok(keys.into_iter().map(|key| Key(key.slice(prefix.len()..))).collect())
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        for change in changes {
            match change {
                Change::Put(place, record) => self.write(&place, Some(record)),
                Change::Remove(place) => self.write(&place, None),
                Change::Meta(meta) => self.filling.push(meta_write(&meta)),
            }
        }
        Ok(())
    }
}

/// The write that makes `meta` the directory's.
pub(super) fn meta_write(meta: &Meta) -> Write {
    let value = Some(seal(META, meta));
    Write { space: Space::Meta, key: Bytes::from_static(META), value }
}

/// Where it lies in an engine.
pub(crate) fn address_of(place: &Place) -> (Space, Bytes) {
    match place.role {
        Role::Home => (Space::Home, place.key.0.clone()),
        Role::Hint(target) => (Space::Hints, hint_key(target, &place.key)),
    }
}

/// The other way round.
fn place(space: Space, bytes: &[u8]) -> Option<Place> {
    let (role, key) = match space {
        Space::Meta => return None,
        Space::Home => (Role::Home, bytes),
        Space::Hints => {
            let (target, key) = bytes.split_first_chunk::<2>()?;
            (Role::Hint(NodeId(u16::from_be_bytes(*target))), key)
        }
    };
    Some(Place { role, key: Key(Bytes::copy_from_slice(key)) })
}

fn hint_key(target: NodeId, key: &Key) -> Bytes {
    let mut bytes = BytesMut::with_capacity(2 + key.as_bytes().len());
    bytes.put_u16(target.0);
    bytes.put_slice(key.as_bytes());
    bytes.freeze()
}

/// Never "absent": what the engine found to be damaged is corrupt, anything else may pass.
fn failed(error: &EngineError) -> StoreError {
    tracing::error!(%error, "reading");
    match error {
        EngineError::Corrupt(_) => StoreError::Corrupt,
        EngineError::Io(_) | EngineError::Locked => StoreError::Unreadable,
    }
}
