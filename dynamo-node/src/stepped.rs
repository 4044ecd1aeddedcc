//! Nodes that are stepped by hand: a test driver hands in every input, with its time, and gets every
//! output back. No timer runs and no message leaves by itself, so a scripted scenario takes place on
//! real processes, with real storage, step by step as in the model.

use std::hash::{DefaultHasher, Hash, Hasher};

use dynamo_protocol::{Identity, Node, Output, Place, Record};

/// The chance in a node's start, handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonces {
    /// What a new directory is called; drawn if there is none.
    pub identity: Option<Identity>,
    /// The nonce of this start.
    pub incarnation: u64,
}

/// What came of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stepped {
    /// Everything the node wants done; nothing was. What the step applied is durable.
    pub outputs: Vec<Output>,
    /// See [`node_digest`].
    pub node_digest: u64,
    /// See [`store_digest`].
    pub store_digest: u64,
}

/// Equal for nodes in equal states, within one build of this program.
#[must_use]
pub fn node_digest(node: &Node) -> u64 {
    let mut hasher = DefaultHasher::new();
    node.hash(&mut hasher);
    hasher.finish()
}

/// Equal for equal records, within one build of this program. `records` come in the order of their
/// places.
pub fn store_digest<'a>(records: impl IntoIterator<Item = (&'a Place, &'a Record)>) -> u64 {
    let mut digest = StoreDigest::default();
    records.into_iter().for_each(|(place, record)| digest.add(place, record));
    digest.finish()
}

/// A [`store_digest`] that is fed one by one.
#[derive(Default)]
pub(crate) struct StoreDigest(DefaultHasher);

impl StoreDigest {
    pub(crate) fn add(&mut self, place: &Place, record: &Record) {
        (place, record).hash(&mut self.0);
    }

    pub(crate) fn finish(&self) -> u64 {
        self.0.finish()
    }
}
