//! What tests of several rooms have in common.

use crate::{
    Change, Fingerprint, Key, Leaf, MemoryStore, NodeId, Place, Record, Span, Store, StoreError,
};

/// A store that refuses writes when it is told to.
pub(crate) struct Full {
    pub(crate) store: MemoryStore,
    pub(crate) refuses: bool,
}

impl Store for Full {
    fn record(&self, place: &Place) -> Result<Option<Record>, StoreError> {
        self.store.record(place)
    }

    fn hints(&self, of: NodeId, after: Option<&Key>, most: usize) -> Result<Vec<Key>, StoreError> {
        self.store.hints(of, after, most)
    }

    fn fingerprint(&self, span: Span) -> Result<Fingerprint, StoreError> {
        self.store.fingerprint(span)
    }

    fn leaves(&self, span: Span, most: usize) -> Result<Vec<(Key, Leaf)>, StoreError> {
        self.store.leaves(span, most)
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        if self.refuses { Err(StoreError::Unwritable) } else { self.store.apply(changes) }
    }

    fn position(&self) -> u64 {
        self.store.position()
    }
}
