//! Records as the protocol has them, that were read or written last: neither read nor decoded again.

use std::hash::BuildHasherDefault;
use std::sync::Arc;

use bytes::Bytes;
use dynamo_protocol::{Leaf, Record};
use quick_cache::sync::{Cache as Entries, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};
use rustc_hash::FxHasher;

use super::Space;
use super::state::Counted;

/// How much memory they take, about, in bytes: a few tens of thousands of small records, which is what a
/// node is asked for again and again where some keys are asked for more than others; and little beside what
/// requests and batches may hold.
const BYTES: u64 = 32 << 20;
/// No record that is longer is kept here: to read and decode one takes little beside what is done with it.
pub(crate) const CACHED_BYTES: usize = 64 << 10;
/// What a record takes beside its bytes: the places of its versions, and its own in the cache.
const ENTRY: usize = 400;

/// See the [module](self). Who is told of damage to a record, or that it is gone, removes it.
pub(super) struct Cache(Entries<(Space, Bytes), Arc<Cached>, Weight, BuildHasherDefault<FxHasher>>);

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

impl Weighter<(Space, Bytes), Arc<Cached>> for Weight {
    fn weight(&self, (_, key): &(Space, Bytes), cached: &Arc<Cached>) -> u64 {
        (key.len() + cached.bytes + ENTRY) as u64
    }
}

impl Cache {
    pub(super) fn new() -> Self {
        // One driver asks: more shards would have less room each. Nothing of it is by chance.
        let options = OptionsBuilder::new()
            .shards(1)
            .estimated_items_capacity(BYTES as usize / (2 * ENTRY))
            .weight_capacity(BYTES)
            .build()
            .expect("all that is needed is given");
        let hasher = BuildHasherDefault::default();
        Self(Entries::with_options(options, Weight, hasher, DefaultLifecycle::default()))
    }

    pub(super) fn get(&self, address: &(Space, Bytes)) -> Option<Arc<Cached>> {
        self.0.get(address)
    }

    pub(super) fn insert(&self, address: (Space, Bytes), cached: Cached) -> Arc<Cached> {
        let cached = Arc::new(cached);
        if cached.bytes <= CACHED_BYTES {
            self.0.insert(address, Arc::clone(&cached));
        } else {
            // Its values may be pieces of a message, all of which they keep in memory.
            self.0.remove(&address);
        }
        cached
    }

    pub(super) fn remove(&self, address: &(Space, Bytes)) {
        self.0.remove(address);
    }
}

#[cfg(test)]
mod tests {
    use dynamo_protocol::{DottedSet, Siblings};

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
            let address = (Space::Home, Bytes::copy_from_slice(&n.to_be_bytes()));
            let counted = Counted::of(&address.1, b"");
            let cached = Cached { record, bytes: bytes as usize, counted, leaf: None };
            cache.insert(address, cached);
            assert!(cache.0.weight() <= BYTES);
        }
        assert!(cache.0.weight() > BYTES / 2);
    }
}
