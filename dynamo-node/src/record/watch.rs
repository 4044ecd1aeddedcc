//! Stores around a store: one notes which calls fail, one makes the same calls fail again.

use std::cell::{Cell, RefCell};

use dynamo_protocol::{
    Change, Fingerprint, Key, Leaf, NodeId, Place, Record, Span, Store, StoreError,
};

/// Notes the errors of one step.
pub(super) struct Watched<'a, S> {
    store: &'a mut S,
    calls: Cell<u32>,
    errors: RefCell<Vec<(u32, StoreError)>>,
}

impl<'a, S> Watched<'a, S> {
    pub(super) fn new(store: &'a mut S) -> Self {
        Self { store, calls: Cell::new(0), errors: RefCell::new(Vec::new()) }
    }

    pub(super) fn into_errors(self) -> Vec<(u32, StoreError)> {
        self.errors.into_inner()
    }

    fn note<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        let call = self.calls.get();
        self.calls.set(call + 1);
        result.inspect_err(|error| self.errors.borrow_mut().push((call, *error)))
    }
}

impl<S: Store> Store for Watched<'_, S> {
    fn record(&self, place: &Place) -> Result<Option<Record>, StoreError> {
        self.note(self.store.record(place))
    }

    fn hints(
        &self,
        target: NodeId,
        after: Option<&Key>,
        most: usize,
    ) -> Result<Vec<Key>, StoreError> {
        self.note(self.store.hints(target, after, most))
    }

    fn fingerprint(&self, span: Span) -> Result<Fingerprint, StoreError> {
        self.note(self.store.fingerprint(span))
    }

    fn leaves(&self, span: Span, most: usize) -> Result<Vec<(Key, Leaf)>, StoreError> {
        self.note(self.store.leaves(span, most))
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        let result = self.store.apply(changes);
        self.note(result)
    }

    fn position(&self) -> u64 {
        self.store.position()
    }
}

/// Fails as the recorded store did, and stands where it stood.
pub(super) struct Scripted<'a, S> {
    store: &'a mut S,
    /// Before anything is applied, and after.
    positions: [u64; 2],
    applied: bool,
    calls: Cell<u32>,
    errors: &'a [(u32, StoreError)],
    /// What was done to records, in order.
    pub(super) changes: Vec<Applied>,
}

/// What became of a record.
pub(super) struct Applied {
    pub(super) place: Place,
    pub(super) before: Option<Record>,
    pub(super) now: Option<Record>,
}

impl<'a, S> Scripted<'a, S> {
    pub(super) fn new(
        store: &'a mut S,
        positions: [u64; 2],
        errors: &'a [(u32, StoreError)],
    ) -> Self {
        Self { store, positions, applied: false, calls: Cell::new(0), errors, changes: Vec::new() }
    }

    fn scripted(&self) -> Result<(), StoreError> {
        let call = self.calls.get();
        self.calls.set(call + 1);
        let error = self.errors.iter().find(|error| error.0 == call);
        error.map_or(Ok(()), |error| Err(error.1))
    }
}

impl<S: Store> Store for Scripted<'_, S> {
    fn record(&self, place: &Place) -> Result<Option<Record>, StoreError> {
        self.scripted()?;
        self.store.record(place)
    }

    fn hints(
        &self,
        target: NodeId,
        after: Option<&Key>,
        most: usize,
    ) -> Result<Vec<Key>, StoreError> {
        self.scripted()?;
        self.store.hints(target, after, most)
    }

    fn fingerprint(&self, span: Span) -> Result<Fingerprint, StoreError> {
        self.scripted()?;
        self.store.fingerprint(span)
    }

    fn leaves(&self, span: Span, most: usize) -> Result<Vec<(Key, Leaf)>, StoreError> {
        self.scripted()?;
        self.store.leaves(span, most)
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.scripted()?;
        for change in &changes {
            let (place, now) = match change {
                Change::Put(place, record) => (place, Some(record.clone())),
                Change::Remove(place) => (place, None),
                Change::Meta(_) | Change::Heard(..) | Change::Enrolment(_) => continue,
            };
            let before = self.store.record(place)?;
            self.changes.push(Applied { place: place.clone(), before, now });
        }
        self.store.apply(changes)?;
        self.applied = true;
        Ok(())
    }

    fn position(&self) -> u64 {
        self.positions[usize::from(self.applied)]
    }
}
