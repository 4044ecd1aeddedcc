//! Where a node keeps its records: a byte-level [`Engine`], the directory it lies in, and the one
//! adaptor that makes of it the protocol's own [`Store`](dynamo_protocol::Store).

mod address;
pub(crate) mod addresses;
mod cache;
mod closed;
mod codec;
mod directory;
mod enrolment;
mod fjall;
mod inspect;
#[cfg(feature = "faults")]
mod lose;
mod mark;
mod memory;
pub(crate) mod peers;
mod records;
mod redb;
mod state;
#[cfg(test)]
mod tests;
mod tree;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use bytes::Bytes;
use thiserror::Error;

pub(crate) use cache::CACHED_BYTES;
pub(crate) use closed::Closed;
#[cfg(feature = "simulation")]
pub(crate) use directory::ENGINE;
pub use directory::{Directory, DirectoryError, EngineKind, Origin, Owner};
pub use fjall::FjallEngine;
#[cfg(feature = "faults")]
pub use lose::{LoseError, lose_hints};
pub use memory::MemoryEngine;
pub(crate) use records::{Batch, Records, address_of, place_of};
pub use redb::RedbEngine;
pub(crate) use state::State;

/// Kinds of things an engine keeps apart, each with keys of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// Who the directory is.
    Meta,
    /// Records held as home, by position on the ring and key.
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

/// Longest key of an engine, in bytes; the shortest has one.
pub const LONGEST: usize = u16::MAX as usize;

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

impl Write {
    /// About how many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Bytes::len)
    }
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
    /// No engine takes a key of so many bytes; nothing was changed.
    #[error("a key of {0} bytes in the storage, which takes 1 to {LONGEST}")]
    Key(usize),
    /// It broke an invariant of its own.
    #[error("the storage engine panicked ({panic}) at {at}")]
    Panicked {
        /// What it said.
        panic: String,
        /// What it was doing.
        at: String,
    },
}

impl EngineError {
    /// Whether what the engine holds is at fault, not the system under it.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Corrupt(_) | Self::Panicked { .. })
    }

    /// Runs `work` on an engine; a panic in it is an error that says what was done.
    fn caught<T>(
        at: impl FnOnce() -> String,
        work: impl FnOnce() -> Result<T, Self>,
    ) -> Result<T, Self> {
        // What a panic leaves half done is the engine's own, which is not used again.
        quietly(|| catch_unwind(AssertUnwindSafe(work))).unwrap_or_else(|panic| {
            let said = panic.downcast_ref::<&str>().map(|said| (*said).to_owned());
            let said = said.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(Self::Panicked {
                panic: said.unwrap_or_else(|| "it did not say why".to_owned()),
                at: at(),
            })
        })
    }
}

thread_local! {
    /// A panic of this thread is about to be caught, and told as an error.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` without a word of panics in it on standard error: a log with a panic is a node's own
/// assertion that failed.
fn quietly<T>(work: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |info| {
            if !CAUGHT.get() {
                usual(info);
            }
        }));
    });
    let outer = CAUGHT.replace(true);
    let result = work();
    CAUGHT.set(outer);
    result
}

/// What is done with an entry a scan meets; false ends the scan.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> bool;

/// An ordered key-value engine. Bytes in, bytes out: it knows nothing of what they mean. Any bytes are
/// a key, 1 to [`LONGEST`] of them.
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
    /// If a key is too short or too long, with nothing changed; or if it failed. What the disk then
    /// holds is not known, and a second try proves nothing (the system may have dropped what it could
    /// not write and forgotten that it did): the process has to end.
    fn commit(&self, writes: Vec<Write>) -> Result<(), EngineError>;

    /// The same, but that the changes need not be durable before the next [`Self::sync`]: a crash of the
    /// process loses none of them, one of the machine may, with those of later commits.
    ///
    /// # Errors
    /// As [`Self::commit`].
    fn commit_buffered(&self, writes: Vec<Write>) -> Result<(), EngineError> {
        self.commit(writes)
    }

    /// Makes all that was committed durable.
    ///
    /// # Errors
    /// As [`Self::commit`].
    fn sync(&self) -> Result<(), EngineError> {
        Ok(())
    }

    /// Does what else the next start would have to do with what is durable. Nothing is committed any more.
    ///
    /// # Errors
    /// If it failed; nothing is lost by that.
    fn rest(&self) -> Result<(), EngineError> {
        Ok(())
    }

    /// Whether nothing survives the process anyway: then a commit takes no time, and no thread is
    /// needed to wait for it.
    fn is_volatile(&self) -> bool {
        false
    }
}

/// Refuses a key that no engine takes.
fn check_key(key: &[u8]) -> Result<(), EngineError> {
    if (1..=LONGEST).contains(&key.len()) { Ok(()) } else { Err(EngineError::Key(key.len())) }
}

fn check_keys(writes: &[Write]) -> Result<(), EngineError> {
    writes.iter().try_for_each(|write| check_key(&write.key))
}
