//! The protocol's [`Store`] on an [`Engine`]: records, hints and meta in one ordered space of bytes.
//!
//! What a step applies is seen by the next step at once and reaches the engine later, in one batch
//! with what other steps applied: until then it lies here.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{BufMut, Bytes, BytesMut};
use dynamo_protocol::mutant::{Mutant, mutated};
use dynamo_protocol::{
    Change, Fingerprint, Key, Leaf, NodeId, Place, Record, Remembered, Role, Span, Store,
    StoreError, Token, Versioning,
};

use super::address::Address;
use super::cache::{Cache, Cached};
use super::closed::{Closed, Unseen};
use super::codec::{seal, unseal};
use super::state::{Census, Counted, State};
use super::tree::Tree;
use super::{Directory, Engine, EngineError, Space, Write, addresses, enrolment, peers};

/// How much of a key's position the engine's keys of homes begin with, in bytes: so the records of a stretch
/// of the ring lie together.
const POSITION: usize = 8;

/// See the [module](self).
pub(crate) struct Records {
    engine: Arc<dyn Engine>,
    versioning: Versioning,
    /// What was applied and is not known to be committed.
    overlay: BTreeMap<Address, Newer>,
    /// Of what is committed.
    cache: Cache,
    /// The changes of the batch that is being filled.
    filling: Vec<Write>,
    /// What it brings of members, each as it is at last: most steps bring some.
    heard: BTreeMap<NodeId, Remembered>,
    /// The directory after it; its position is the number of the batch last taken.
    state: State,
    /// Of all home records that can be read, committed or not.
    tree: Tree,
    /// What it says that nobody has looked at.
    unseen: Unseen,
    /// Something cannot be read: the next start has to look at everything.
    is_damaged: AtomicBool,
    /// Whether the state is another than that of the batch last taken.
    changed: bool,
    /// How many bytes of committed records were read: each may have a copy of its own in memory.
    read: AtomicUsize,
    /// The batches under way to the engine: number, and what to drop from the overlay after it.
    under_way: VecDeque<(u64, Vec<Address>)>,
    /// Where the place lies that was asked for last: most are asked for again at once, to be written, and
    /// where a key lies takes a digest of it.
    last: Mutex<Option<(Place, Address)>>,
}

/// The newest state of a place that is in a batch.
struct Newer {
    record: Option<Record>,
    /// How long it is sealed, in bytes.
    bytes: usize,
    /// Nobody has told since that it is not what is kept.
    is_whole: bool,
    /// What stands for it in the census.
    counted: Option<Counted>,
    /// And in the tree, if it is a home record.
    leaf: Option<Leaf>,
    /// The batch that brought it.
    batch: u64,
}

/// What a place holds.
enum Held {
    Nothing,
    /// With its leaf, if it is a home record that can be read.
    Something(Counted, Option<Leaf>),
    /// It cannot be read: the census will not come out right, and the next start finds it.
    Unknown,
}

/// What one or more steps applied: committed together.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The directory's position once it is durable. Batches are numbered from 1, in order, across restarts.
    pub(crate) number: u64,
    /// In the order in which they were applied.
    pub(crate) writes: Vec<Write>,
    /// The directory after it; committed with the writes, see [`Directory::commit`].
    pub(crate) state: State,
}

impl Batch {
    /// About how many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.writes.iter().map(Write::bytes).sum()
    }
}

impl Records {
    /// How many bytes of committed records were read so far.
    pub(crate) fn bytes_read(&self) -> usize {
        self.read.load(Ordering::Relaxed)
    }

    /// The store on an open directory. Reads all home records, for the tree, unless they were read since, or
    /// it was closed in order.
    ///
    /// # Errors
    /// If the engine cannot list them, or they are not what they were.
    pub(crate) fn open(directory: &Directory, versioning: Versioning) -> Result<Self, EngineError> {
        let (tree, unseen) = match directory.take_tree() {
            Some(taken) => taken,
            None => {
                let mut tree = Tree::new();
                Census::take(&*directory.engine, Space::Home, &mut |bytes, value, counted| {
                    find(&mut tree, versioning, (bytes, value), counted);
                })?;
                (tree, Unseen::none(Path::new(""), versioning))
            }
        };
        Ok(Self {
            tree,
            unseen,
            is_damaged: AtomicBool::new(false),
            engine: Arc::clone(&directory.engine),
            versioning,
            overlay: BTreeMap::new(),
            cache: Cache::new(),
            filling: Vec::new(),
            heard: BTreeMap::new(),
            state: directory.state(),
            changed: false,
            read: AtomicUsize::new(0),
            under_way: VecDeque::new(),
            last: Mutex::new(None),
        })
    }

    /// How many hints it holds.
    pub(crate) fn hints_held(&self) -> u64 {
        self.state.hints.records
    }

    /// Why nothing may rest on what was read, if so: some of it is not what it was when the directory was
    /// closed.
    pub(crate) fn doubt(&self) -> Option<&EngineError> {
        self.unseen.doubt()
    }

    /// How many parts of the ring nobody has looked at since the directory was closed.
    pub(crate) fn unseen(&self) -> usize {
        self.unseen.left()
    }

    /// Whether nobody has looked at what lies around `token` since.
    #[cfg(test)]
    pub(crate) fn is_unseen(&self, token: Token) -> bool {
        self.unseen.has(Tree::bucket_of(token).into())
    }

    /// Looks at some of them.
    pub(crate) fn look_on(&self) {
        self.unseen.look_on(&*self.engine, &self.tree);
    }

    /// What the next start need not read, if all that was applied is committed. Nothing if it had better look
    /// at everything.
    pub(crate) fn close(self) -> Option<Closed> {
        let is_whole = !self.is_damaged.into_inner() && self.unseen.doubt().is_none();
        let is_committed = !self.changed && self.under_way.is_empty();
        (is_whole && is_committed).then(|| Closed::new(self.state, self.tree))
    }

    /// `node` is reached at this address.
    pub(crate) fn keep_address(&mut self, node: NodeId, address: &str) {
        self.filling.push(addresses::write(node, address));
        self.changed = true;
    }

    /// The number of the batch that brings what was applied last: the position of the directory once all
    /// that was applied is durable.
    pub(crate) fn position(&self) -> u64 {
        self.state.position + u64::from(self.changed)
    }

    /// What was applied since the last call, if anything was.
    pub(crate) fn take_batch(&mut self) -> Option<Batch> {
        if !self.changed {
            return None;
        }
        self.state.position = self.position();
        self.changed = false;
        let (number, state) = (self.state.position, self.state);
        let mut writes = std::mem::take(&mut self.filling);
        let heard = std::mem::take(&mut self.heard);
        writes.extend(heard.iter().map(|(peer, heard)| peers::write(*peer, heard)));
        let places = writes.iter().map(|write| Address::new(write.space, write.key.clone()));
        self.under_way.push_back((number, places.collect()));
        Some(Batch { number, writes, state })
    }

    /// Batch `number` and those before it are in the engine.
    pub(crate) fn committed(&mut self, number: u64) {
        while self.under_way.front().is_some_and(|entry| entry.0 <= number)
            && let Some((batch, places)) = self.under_way.pop_front()
        {
            for place in places {
                let Entry::Occupied(newer) = self.overlay.entry(place) else { continue };
                if newer.get().batch == batch || mutated(Mutant::OverlayForgotten) {
                    let (place, newer) = newer.remove_entry();
                    self.remember(place, newer);
                }
            }
        }
    }

    /// What lies at `address` in the engine now is what the overlay said.
    fn remember(&self, address: Address, newer: Newer) {
        match newer {
            Newer {
                record: Some(record),
                is_whole: true,
                bytes,
                counted: Some(counted),
                leaf,
                ..
            } => {
                self.cache.insert(address, Cached { record, bytes, counted, leaf });
            }
            _ => self.cache.remove(&address),
        }
    }

    /// What is committed at `address`.
    fn committed_at(&self, address: &Address) -> Result<Option<Arc<Cached>>, StoreError> {
        if let Some(cached) = self.cache.get(address) {
            return Ok(Some(cached));
        }
        let Address { space, key, .. } = address;
        if *space == Space::Home {
            let bucket = Tree::bucket_of(token_at(key));
            self.unseen.look(&*self.engine, &self.tree, bucket..=bucket)?;
        }
        let Some(value) = self.engine.get(*space, key).map_err(|error| self.failed(&error))? else {
            return Ok(None);
        };
        let record = unseal(key, &value);
        let record = record.and_then(|record: Record| {
            record.set.fits(self.versioning).then_some(record).ok_or(StoreError::Corrupt)
        });
        let record = record.inspect_err(|_| self.is_damaged.store(true, Ordering::Relaxed))?;
        let place = place_of(*space, key).filter(|place| place.role == Role::Home);
        let leaf = place.and_then(|place| Leaf::of(&place.key, &record));
        let counted = Counted::of_whole(&value);
        let cached = Cached { record, bytes: value.len(), counted, leaf };
        Ok(Some(self.cache.insert(address.clone(), cached)))
    }

    /// Visits every record in the engine; those that cannot be read are left out, since reading them
    /// fails again.
    ///
    /// # Errors
    /// If the engine cannot list them.
    pub(crate) fn visit(&self, mut visit: impl FnMut(Place, Record)) -> Result<(), EngineError> {
        for space in [Space::Home, Space::Hints] {
            self.engine.scan(space, &[], &mut |bytes, value| {
                if let (Some(place), Ok(record)) = (place_of(space, bytes), unseal(bytes, value)) {
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
        for (Address { space, key, .. }, newer) in &self.overlay {
            let Some(place) = place_of(*space, key) else { continue };
            match &newer.record {
                Some(record) => drop(present.insert(place, record.clone())),
                None => drop(present.remove(&place)),
            }
        }
        Ok(present)
    }

    /// Takes back what was applied to `place` and is not committed.
    pub(crate) fn forget(&mut self, place: &Place) {
        let address = self.address(place);
        self.overlay.remove(&address);
        self.cache.remove(&address);
    }

    /// What lies at `place` cannot be read any more, or is gone from where the engine has it.
    pub(crate) fn is_lost(&mut self, place: &Place) {
        self.is_damaged.store(true, Ordering::Relaxed);
        let address = self.address(place);
        self.cache.remove(&address);
        if let Some(newer) = self.overlay.get_mut(&address) {
            (newer.leaf, newer.is_whole) = (None, false);
        }
        if place.role == Role::Home {
            self.recount(Token::of_key(&place.key));
        }
    }

    /// Looks again at the records around `token`: what the tree says of one of them is not what is there.
    fn recount(&mut self, token: Token) {
        match self.leaves(Tree::bucket(token), usize::MAX) {
            Ok(leaves) => {
                self.tree.recounted(token, leaves.into_iter().map(|(_, leaf)| leaf).collect());
            }
            // It says then what no other home does, and so nothing that would not be looked at.
            Err(error) => tracing::error!(%error, "counting the records around {token:?}"),
        }
    }

    fn write(&mut self, place: &Place, record: Option<Record>) {
        let address = self.address(place);
        let before = self.held(&address);
        let (space, key) = (address.space, address.key.clone());
        let token = token_at(&key);
        let value = record.as_ref().map(|record| seal(&key, record));
        let counted = value.as_ref().map(|value| Counted::of_whole(value));
        let bytes = value.as_ref().map_or(0, Bytes::len);
        let leaf = record.as_ref().filter(|_| space == Space::Home);
        let leaf = leaf.and_then(|record| Leaf::of(&place.key, record));
        let known = match &before {
            Held::Nothing => Some(None),
            Held::Something(_, Some(before)) => Some(Some(*before)),
            // What the tree says of it is from a time when it could be read.
            Held::Something(_, None) | Held::Unknown => None,
        };
        let count = |census: &mut Census| match (&before, counted) {
            // Still there, and still not to be read.
            (Held::Unknown, _) => {}
            (Held::Nothing, counted) => counted.into_iter().for_each(|it| census.add(it)),
            (Held::Something(old, _), counted) => {
                census.remove(*old);
                counted.into_iter().for_each(|it| census.add(it));
            }
        };
        if let Some(census) = self.state.census(space) {
            count(census);
        }
        if space == Space::Home {
            count(self.tree.counted(token));
        }
        self.filling.push(Write { space, key, value });
        self.changed = true;
        let batch = self.position();
        let newer = Newer { record, bytes, is_whole: true, counted, leaf, batch };
        self.overlay.insert(address, newer);
        if space == Space::Home {
            match known {
                Some(before) => self.tree.change(token, before, leaf),
                None => self.recount(token),
            }
        }
    }

    /// Where it lies.
    fn address(&self, place: &Place) -> Address {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, address)) = &*last
            && of == place
        {
            return address.clone();
        }
        let (space, key) = address_of(place);
        let address = Address::new(space, key);
        *last = Some((place.clone(), address.clone()));
        address
    }

    fn held(&self, address: &Address) -> Held {
        let Address { space, key, .. } = address;
        match self.overlay.get(address) {
            Some(Newer { counted: Some(counted), leaf, .. }) => Held::Something(*counted, *leaf),
            Some(_) => Held::Nothing,
            None => match self.committed_at(address) {
                Ok(Some(cached)) => Held::Something(cached.counted, cached.leaf),
                Ok(None) => Held::Nothing,
                // It stands in the census as it is.
                Err(_) => match self.engine.get(*space, key) {
                    Ok(Some(value)) => Held::Something(Counted::of(key, &value), None),
                    Ok(None) | Err(_) => Held::Unknown,
                },
            },
        }
    }

    /// Whether what lies between is what it was when the directory was closed, if nobody has looked since.
    fn look(&self, first: Token, last: Token) -> Result<(), StoreError> {
        let buckets = Tree::bucket_of(first)..=Tree::bucket_of(last);
        self.unseen.look(&*self.engine, &self.tree, buckets)
    }

    /// Never "absent": what the engine found to be damaged is corrupt, anything else may pass.
    fn failed(&self, error: &EngineError) -> StoreError {
        tracing::error!(%error, "reading");
        self.is_damaged.store(true, Ordering::Relaxed);
        if error.is_damage() { StoreError::Corrupt } else { StoreError::Unreadable }
    }

    /// The leaves in the engine of keys in `span`, up to `most` that the overlay says nothing about.
    fn committed_leaves(&self, span: Span, most: usize) -> Result<Vec<(Key, Leaf)>, EngineError> {
        let mut leaves = Vec::new();
        let from = position(span.first());
        self.engine.scan(Space::Home, &from, &mut |bytes, value| {
            if bytes.get(..POSITION).is_none_or(|at| *at > position(span.last())[..])
                || leaves.len() >= most
            {
                return false;
            }
            let address = Address::new(Space::Home, Bytes::copy_from_slice(bytes));
            if !self.overlay.contains_key(&address)
                && let Some((key, leaf)) = leaf_of(self.versioning, bytes, value)
                && span.contains(Token::of_key(&key))
            {
                leaves.push((key, leaf));
            }
            true
        })?;
        Ok(leaves)
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
            let address = Address::new(Space::Hints, key);
            if Some(&address.key) != after && !self.overlay.contains_key(&address) {
                keys.push(address.key);
            }
            true
        })?;
        Ok(keys)
    }
}

impl Store for Records {
    fn record(&self, place: &Place) -> Result<Option<Record>, StoreError> {
        let place = self.address(place);
        if let Some(newer) = self.overlay.get(&place) {
            return Ok(newer.record.clone());
        }
        let Some(cached) = self.committed_at(&place)? else { return Ok(None) };
        self.read.fetch_add(cached.bytes, Ordering::Relaxed);
        Ok(Some(cached.record.clone()))
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
        let mut keys = committed.map_err(|error| self.failed(&error))?;
        let first = after.clone().unwrap_or_else(|| Bytes::copy_from_slice(&prefix));
        let newer = self.overlay.range(Address::new(Space::Hints, first)..);
        let newer = newer.map(|(address, newer)| (&address.key, newer));
        let newer = newer.take_while(|(key, _)| key.starts_with(&prefix));
        let present =
            newer.filter(|(key, newer)| newer.record.is_some() && Some(*key) != after.as_ref());
        keys.extend(present.map(|(key, _)| key.clone()));
        keys.sort_unstable();
        keys.truncate(most);
        Ok(keys.into_iter().map(|key| Key(key.slice(prefix.len()..))).collect())
    }

    fn fingerprint(&self, span: Span) -> Result<Fingerprint, StoreError> {
        self.tree.fingerprint(span, &mut |part| {
            let leaves = self.leaves(part, usize::MAX)?;
            Ok(leaves.into_iter().map(|(_, leaf)| leaf).collect())
        })
    }

    fn leaves(&self, span: Span, most: usize) -> Result<Vec<(Key, Leaf)>, StoreError> {
        let mut leaves = self.committed_leaves(span, most).map_err(|error| self.failed(&error))?;
        // None was left out between those that were found.
        let last = leaves.last().filter(|_| leaves.len() >= most);
        self.look(span.first(), last.map_or(span.last(), |(key, _)| Token::of_key(key)))?;
        let first = Bytes::copy_from_slice(&position(span.first()));
        let newer = self.overlay.range(Address::new(Space::Home, first)..);
        for (Address { space, key: bytes, .. }, newer) in newer {
            if *space != Space::Home || bytes[..POSITION] > position(span.last())[..] {
                break;
            }
            if let (Some(leaf), Some(place)) = (newer.leaf, place_of(*space, bytes))
                && span.contains(Token::of_key(&place.key))
            {
                leaves.push((place.key, leaf));
            }
        }
        leaves.sort_unstable_by_key(|(key, _)| Token::of_key(key));
        leaves.truncate(most);
        Ok(leaves)
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        for change in changes {
            match change {
                Change::Put(place, record) => self.write(&place, Some(record)),
                Change::Remove(place) => self.write(&place, None),
                Change::Meta(meta) => {
                    self.state.meta = meta;
                    self.changed = true;
                }
                Change::Heard(peer, heard) => {
                    self.heard.insert(peer, heard);
                    self.changed = true;
                }
                Change::Enrolment(kept) => {
                    let write = enrolment::write(&kept);
                    self.state.enrolment = enrolment::census_after(&write);
                    self.filling.push(write);
                    self.changed = true;
                }
            }
        }
        Ok(())
    }

    /// A directory without a batch has a position, too.
    fn position(&self) -> u64 {
        1 + Self::position(self)
    }
}

/// Where it lies in an engine.
pub(crate) fn address_of(place: &Place) -> (Space, Bytes) {
    match place.role {
        Role::Home => (Space::Home, home_key(&place.key)),
        Role::Hint(target) => (Space::Hints, hint_key(target, &place.key)),
    }
}

/// The other way round.
pub(crate) fn place_of(space: Space, bytes: &[u8]) -> Option<Place> {
    let (role, key) = match space {
        Space::Meta => return None,
        Space::Home => (Role::Home, bytes.get(POSITION..)?),
        Space::Hints => {
            let (target, key) = bytes.split_first_chunk::<2>()?;
            (Role::Hint(NodeId(u16::from_be_bytes(*target))), key)
        }
    };
    Some(Place { role, key: Key(Bytes::copy_from_slice(key)) })
}

fn home_key(key: &Key) -> Bytes {
    let mut bytes = BytesMut::with_capacity(POSITION + key.as_bytes().len());
    bytes.put_slice(&position(Token::of_key(key)));
    bytes.put_slice(key.as_bytes());
    bytes.freeze()
}

/// The beginning of a position.
fn position(token: Token) -> [u8; POSITION] {
    let bytes = token.0.to_be_bytes();
    std::array::from_fn(|at| bytes[at])
}

/// Where a home record lies on the ring, as far as its address says: further than a bucket's digits.
fn token_at(bytes: &[u8]) -> Token {
    let known = bytes.iter().take(POSITION).fold(0, |all, byte| all << 8 | u128::from(*byte));
    Token(known << (128 - 8 * POSITION))
}

/// A home record was found that the tree does not have yet. One that cannot be read has no leaf.
pub(super) fn find(
    tree: &mut Tree,
    versioning: Versioning,
    (bytes, value): (&[u8], &[u8]),
    counted: Counted,
) {
    tree.counted(token_at(bytes)).add(counted);
    if let Some((_, leaf)) = leaf_of(versioning, bytes, value) {
        tree.change(token_at(bytes), None, Some(leaf));
    }
}

/// The key and the leaf of a home record in the engine; none if it cannot be read.
pub(super) fn leaf_of(versioning: Versioning, bytes: &[u8], value: &[u8]) -> Option<(Key, Leaf)> {
    let key = place_of(Space::Home, bytes)?.key;
    let record: Record = unseal(bytes, value).ok()?;
    let leaf = Leaf::of(&key, Some(&record).filter(|record| record.set.fits(versioning))?)?;
    Some((key, leaf))
}

fn hint_key(target: NodeId, key: &Key) -> Bytes {
    let mut bytes = BytesMut::with_capacity(2 + key.as_bytes().len());
    bytes.put_u16(target.0);
    bytes.put_slice(key.as_bytes());
    bytes.freeze()
}
