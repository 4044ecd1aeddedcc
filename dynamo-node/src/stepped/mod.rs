//! Nodes that are stepped by hand: a test driver hands in every input, with its time, says when the
//! disk has synced and how it fails, and gets every output back. No timer runs and no message leaves by
//! itself, so a scripted scenario takes place on real processes, with real storage, step by step as
//! in the model.

mod disk;
mod hand;

use std::path::Path;

use dynamo_protocol::{Digest, Identity, Input, Output, Place};
use serde::{Deserialize, Serialize};

use crate::server::StartError;
use crate::storage::{Directory, EngineError, Origin, Owner};
use disk::Disk;
pub(crate) use hand::Hand;

/// The chance in a node's start, handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonces {
    /// What a new directory is called; drawn if there is none.
    pub identity: Option<Identity>,
    /// The nonce of this start.
    pub incarnation: u64,
    /// The identity under which a directory that was rolled back goes on; none if it cannot have been.
    pub spare: Option<Identity>,
    /// Whether the disk tells its position; if not, it is taken for one that cannot be rolled back.
    pub counts: bool,
}

/// What a node that is stepped can be told to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Something happens to the node.
    Take {
        /// What its clock reads then, in microseconds.
        now: u64,
        /// What happens.
        input: Input,
        /// What it applies stays undurable, and what rests on that is held back, until [`Step::Sync`].
        hold: bool,
    },
    /// So many of the changes that are not durable become so, oldest first.
    Sync {
        /// How many calls of `apply` they came with.
        changes: u64,
    },
    /// The disk misbehaves from now on.
    Disk(DiskFault),
}

/// How the disk of a node that is stepped misbehaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiskFault {
    /// So many reads fail.
    ReadsFail(u32),
    /// So many writes fail, with nothing written.
    WritesFail(u32),
    /// A byte of this record is another where it lies.
    Damage(Place),
    /// This record is gone from where it lay.
    Forget(Place),
    /// Reads and writes do what they should.
    Mend,
}

impl DiskFault {
    /// As many times as anybody tries.
    pub const FOR_GOOD: u32 = u32::MAX;
}

/// What came of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stepped {
    /// What the node wants done now that it is durable, oldest first; nothing of it was done.
    pub outputs: Vec<Output>,
    /// Of the node, its directory and its records: see [`Digest::of_host`].
    pub digest: Digest,
}

/// The data directory of a node that does not run.
pub struct AtRest(Disk);

impl AtRest {
    /// Opens the directory of `owner` at `path`, which has been made.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(path: &Path, owner: &Owner) -> Result<Self, StartError> {
        let directory = Directory::open(path, owner, Origin::LATER)?;
        Ok(Self(Disk::open(directory, owner.versioning)?))
    }

    /// As [`Stepped::digest`], without a node.
    ///
    /// # Errors
    /// If the records cannot be listed.
    pub fn digest(&self) -> Result<Digest, EngineError> {
        self.0.digest(None)
    }

    /// Does something to the records. Reads and writes that are to fail, fail for nobody here.
    ///
    /// # Errors
    /// If the records cannot be reached.
    pub fn misbehave(&mut self, fault: &DiskFault) -> Result<(), EngineError> {
        self.0.misbehave(fault)
    }
}
