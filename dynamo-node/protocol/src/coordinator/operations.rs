//! What is open at a node, by age.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Operation;

/// Open operations by [`OpId::seq`](crate::OpId::seq): oldest first.
///
/// A copy of a node shares its operations with it until one of them changes: who keeps very many
/// states of nodes keeps each operation once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Operations(BTreeMap<u64, Arc<Operation>>);

impl Operations {
    pub(crate) fn get(&self, seq: &u64) -> Option<&Operation> {
        self.0.get(seq).map(Arc::as_ref)
    }

    pub(crate) fn get_mut(&mut self, seq: &u64) -> Option<&mut Operation> {
        self.0.get_mut(seq).map(Arc::make_mut)
    }

    pub(crate) fn insert(&mut self, seq: u64, operation: Operation) {
        self.0.insert(seq, Arc::new(operation));
    }

    pub(crate) fn remove(&mut self, seq: &u64) -> Option<Operation> {
        self.0.remove(seq).map(Arc::unwrap_or_clone)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn keys(&self) -> impl DoubleEndedIterator<Item = &u64> {
        self.0.keys()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&u64, &Operation)> {
        self.0.iter().map(|(seq, operation)| (seq, operation.as_ref()))
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&u64) -> bool) {
        self.0.retain(|seq, _| keep(seq));
    }

    /// Numbers them from 0, in the order of their age, and hands `change` those that `is_meant`.
    pub(crate) fn renumber(
        &mut self,
        is_meant: impl Fn(&Operation) -> bool,
        mut change: impl FnMut(&mut Operation),
    ) {
        let operations = std::mem::take(&mut self.0).into_values();
        self.0 = (0..).zip(operations).collect();
        for operation in self.0.values_mut().filter(|operation| is_meant(operation)) {
            change(Arc::make_mut(operation));
        }
    }
}
