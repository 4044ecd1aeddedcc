//! Where a node keeps its records: a byte-level [`Engine`], the directory it lies in, and the one
//! adaptor that makes of it the protocol's own [`Store`](dynamo_protocol::Store).

mod codec;
mod directory;
mod fjall;
mod memory;
mod records;
#[cfg(test)]
mod suite;

use bytes::Bytes;
use thiserror::Error;

pub use directory::{Directory, DirectoryError, EngineKind, Origin, Owner};
pub use fjall::FjallEngine;
pub use memory::MemoryEngine;
pub(crate) use records::{Batch, Records, address_of};

/// Kinds of things an engine keeps apart, each with keys of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// Who the directory is.
    Meta,
    /// Records held as home, by key.
    Home,
    /// Records held as hints, by target and key: the hints for one target lie together.
    Hints,
}

impl Space {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Meta, Self::Home, Self::Hints];

    /// Its name on disk.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Home => "home",
            Self::Hints => "hints",
        }
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub space: Space,
    /// Under which key.
    pub key: Bytes,
    /// What; `None` removes.
    pub value: Option<Bytes>,
}

/// What an engine could not do.
#[derive(Clone, Debug, Error)]
pub enum EngineError {
    /// It found something that it cannot have written.
    #[error("the storage is corrupt: {0}")]
    Corrupt(String),
    /// The file system or the disk failed.
    #[error("the storage failed: {0}")]
    Io(String),
    /// Another process has it open.
    #[error("the storage is in use by another process")]
    Locked,
}

/// What is done with an entry a scan meets; false ends the scan.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> bool;

/// An ordered key-value engine. Bytes in, bytes out: it knows nothing of what they mean.
pub trait Engine: Send + Sync {
    /// What lies under `key`. `None` only if surely nothing does.
    ///
    /// # Errors
    /// If that cannot be told.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// Visits the entries from key `from` on, in the order of their keys.
    ///
    /// # Errors
    /// If one of them cannot be read.
    fn scan(&self, space: Space, from: &[u8], visit: Visit<'_>) -> Result<(), EngineError>;

    /// Makes all changes, in this order; they are visible and durable when it returns. After a
    /// crash before that there are all of them or none, and none without those of earlier commits.
    ///
    /// # Errors
    /// If it failed. What the disk then holds is not known, and a second try proves nothing (the
    /// system may have dropped what it could not write and forgotten that it did): the process has
    /// to end.
    fn commit(&self, writes: Vec<Write>) -> Result<(), EngineError>;

    /// Whether nothing survives the process anyway: then a commit takes no time, and no thread is
    /// needed to wait for it.
    fn is_volatile(&self) -> bool {
        false
    }
}
