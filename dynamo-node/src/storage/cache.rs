//! Records as the protocol has them, that were read or written last: neither read nor decoded again.

use std::hash::BuildHasherDefault;
use std::sync::Arc;

use dynamo_protocol::{ClockedVersion, Leaf, Record, Siblings};
use quick_cache::sync::{Cache as Entries, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};
use rustc_hash::FxHasher;

use super::address::Address;
use super::state::Counted;

/// How much memory they take, about, in bytes: a few tens of thousands of small records, which is what a
/// node is asked for again and again where some keys are asked for more than others; and little beside what
/// requests and batches may hold.
const BYTES: u64 = 32 << 20;
/// No record that is longer is kept here: to read and decode one takes little beside what is done with it.
pub(crate) const CACHED_BYTES: usize = 64 << 10;
/// What a record takes beside its bytes: its place in the cache, ...
const ENTRY: usize = 272;
/// ... each of its versions, whose value has a piece of memory of its own, ...
const VERSION: usize = 128;
/// ... and each actor that a context names. A version without a value is kept in a few bytes.
const ACTOR: usize = 32;

/// See the [module](self). Who is told of damage to a record, or that it is gone, removes it.
pub(super) struct Cache(Entries<Address, Arc<Cached>, Weight, BuildHasherDefault<FxHasher>>);

/// A record, and what stands for it.
pub(super) struct Cached {
    pub(super) record: Record,
    /// How long it is where it is kept, in bytes.
    pub(super) bytes: usize,
    /// In the census.
    pub(super) counted: Counted,
    /// In the tree, if it is a home record.
    pub(super) leaf: Option<Leaf>,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Address, Arc<Cached>> for Weight {
    fn weight(&self, Address { key, .. }: &Address, cached: &Arc<Cached>) -> u64 {
        let places = match &cached.record.set {
            Siblings::Dotted(set) => {
                set.versions().len() * VERSION + set.context().actors() * ACTOR
            }
            Siblings::Plain(set) => {
                let place = |version: &ClockedVersion| VERSION + version.clock.actors() * ACTOR;
                set.versions().iter().map(place).sum()
            }
        };
        (key.len() + cached.bytes + ENTRY + places) as u64
    }
}

impl Cache {
    pub(super) fn new() -> Self {
        // One driver asks: more shards would have less room each. Nothing of it is by chance.
        let options = OptionsBuilder::new()
            .shards(1)
            .estimated_items_capacity(BYTES as usize / (2 * (ENTRY + VERSION)))
            .weight_capacity(BYTES)
            .build()
            .expect("all that is needed is given");
        let hasher = BuildHasherDefault::default();
        Self(Entries::with_options(options, Weight, hasher, DefaultLifecycle::default()))
    }

    pub(super) fn get(&self, address: &Address) -> Option<Arc<Cached>> {
        self.0.get(address)
    }

    pub(super) fn insert(&self, address: Address, cached: Cached) -> Arc<Cached> {
        let cached = Arc::new(cached);
        if cached.bytes <= CACHED_BYTES {
            self.0.insert(address, Arc::clone(&cached));
        } else {
            // Its values may be pieces of a message, all of which they keep in memory.
            self.0.remove(&address);
        }
        cached
    }

    pub(super) fn remove(&self, address: &Address) {
        self.0.remove(address);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use dynamo_protocol::{Actor, Dot, DottedSet, Identity, Version, VersionVector};

    use super::super::Space;
    use super::*;

    #[test]
    fn what_is_kept_has_a_bound() {
        let cache = Cache::new();
        let bytes = 50_000;
        for n in 0..2 * BYTES / bytes {
            let record = Record {
                set: Siblings::Dotted(DottedSet::default()),
                minter: None,
                amnesiac: false,
            };
            let address = Address::new(Space::Home, Bytes::copy_from_slice(&n.to_be_bytes()));
            let counted = Counted::of(&address.key, b"");
            let cached = Cached { record, bytes: bytes as usize, counted, leaf: None };
            cache.insert(address, cached);
            assert!(cache.0.weight() <= BYTES);
        }
        assert!(cache.0.weight() > BYTES / 2);
    }

    #[test]
    fn many_versions_without_values_weigh_what_they_take_in_memory_and_not_on_disk() {
        let mut set = DottedSet::default();
        for birth in 0..100 {
            let dot = Dot { actor: Actor { identity: Identity(7), birth }, counter: 1 };
            set.write(&VersionVector::default(), Version { dot, timestamp: 0, value: None });
        }
        let record = Record { set: Siblings::Dotted(set), minter: None, amnesiac: false };
        let value = crate::storage::codec::seal(b"k", &record);
        let cached =
            Cached { record, bytes: value.len(), counted: Counted::of_whole(&value), leaf: None };
        let cache = Cache::new();
        cache.insert(Address::new(Space::Home, Bytes::from_static(b"k")), cached);
        assert!(cache.0.weight() > 100 * size_of::<Version>() as u64, "{}", cache.0.weight());
        assert!(cache.0.weight() > 2 * value.len() as u64, "{}", value.len());
    }
}
