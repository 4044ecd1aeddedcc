//! A node's data directory: who it is, and that one process has it alone.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use dynamo_protocol::{Identity, Meta, NodeId, StoreError, Versioning};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::codec::{seal, unseal};
use super::records::{META, meta_write};
use super::{Engine, EngineError, FjallEngine, MemoryEngine, Space, Write};

/// The key of the directory's [`Owner`].
const OWNER: &[u8] = b"owner";

/// Which engine keeps the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineKind {
    /// On disk.
    Fjall,
    /// In memory: nothing survives the process, and the directory is not used.
    Memory,
}

/// Whose directory it is. A directory serves no other node, cluster or versioning than the one it was
/// made for: its records would be misread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The node.
    pub node: NodeId,
    /// The cluster's name.
    pub cluster: String,
    /// How versions in it are told apart.
    pub versioning: Versioning,
}

/// Where a directory that has to be made comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// From the genesis of the cluster: nothing was written before it.
    pub genesis: bool,
    /// Its identity; drawn if there is none, as it must be wherever chance matters.
    pub identity: Option<Identity>,
}

/// An open data directory.
pub struct Directory {
    /// Who it is.
    pub meta: Meta,
    /// What it holds.
    pub engine: Arc<dyn Engine>,
}

/// Why a directory was not opened.
#[derive(Debug, Error)]
pub enum DirectoryError {
    /// The system said no.
    #[error("{path}: cannot {what}: {error}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Another process is using it.
    #[error("{0} is in use by another process: stop it, or give this node a directory of its own")]
    Locked(PathBuf),
    /// It is another node's.
    #[error("{path} belongs to {found}; this is {expected}")]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: Owner,
        /// Who asked.
        expected: Owner,
    },
    /// A genesis was asked for where there is something already.
    #[error(
        "{0} was made before: leave --genesis out. It is for the first start of a new cluster; a \
         directory that was wiped must come back without it"
    )]
    NotEmpty(PathBuf),
    /// Who the directory is cannot be read.
    #[error(
        "{path}: {error}: if it cannot be mended, wipe the directory; the node comes back amnesiac, \
         under a new identity"
    )]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        error: String,
    },
    /// The engine failed.
    #[error("{path}: {error}")]
    Engine {
        /// The directory.
        path: PathBuf,
        /// What it said.
        error: EngineError,
    },
}

impl Directory {
    /// Opens `owner`'s directory, or makes one: under a new identity, which is amnesiac unless this is
    /// the genesis of the cluster.
    ///
    /// # Errors
    /// If it is in use, another's, damaged, or cannot be written; or if it is not empty although
    /// this is a genesis.
    pub fn open(path: &Path, owner: &Owner, origin: Origin) -> Result<Self, DirectoryError> {
        fs::create_dir_all(path).map_err(io("make the directory", path))?;
        // The engine holds a lock of the system's on it: gone however the process ends.
        let engine = FjallEngine::open(path).map_err(engine_error(path))?;
        let meta = identify(&engine, path, owner, origin)?;
        Ok(Self { meta, engine: Arc::new(engine) })
    }

    /// A new directory in memory.
    #[must_use]
    pub fn in_memory(origin: Origin) -> Self {
        Self { meta: origin.meta(), engine: Arc::new(MemoryEngine::default()) }
    }
}

fn identify(
    engine: &dyn Engine,
    path: &Path,
    owner: &Owner,
    origin: Origin,
) -> Result<Meta, DirectoryError> {
    let found = engine.get(Space::Meta, OWNER).map_err(engine_error(path))?;
    let Some(found) = found else {
        return create(engine, path, owner, origin);
    };
    let damaged = |error: StoreError| DirectoryError::Damaged {
        path: path.to_owned(),
        error: format!("who the directory is: {error}"),
    };
    let found: Owner = unseal(OWNER, &found).map_err(damaged)?;
    if found != *owner {
        let (path, expected) = (path.to_owned(), owner.clone());
        return Err(DirectoryError::Foreign { path, found, expected });
    }
    if origin.genesis {
        return Err(DirectoryError::NotEmpty(path.to_owned()));
    }
    // Owner and meta were written in one commit.
    let meta = engine.get(Space::Meta, META).map_err(engine_error(path))?;
    let meta = meta.ok_or_else(|| damaged(StoreError::Corrupt))?;
    unseal(META, &meta).map_err(damaged)
}

fn create(
    engine: &dyn Engine,
    path: &Path,
    owner: &Owner,
    origin: Origin,
) -> Result<Meta, DirectoryError> {
    for space in Space::ALL {
        let mut empty = true;
        let found = engine.scan(space, &[], &mut |_, _| {
            empty = false;
            false
        });
        found.map_err(engine_error(path))?;
        if !empty {
            let error = "there are records, but nothing says whose".to_owned();
            return Err(DirectoryError::Damaged { path: path.to_owned(), error });
        }
    }
    let meta = origin.meta();
    let value = Some(seal(OWNER, owner));
    let owned = Write { space: Space::Meta, key: Bytes::from_static(OWNER), value };
    engine.commit(vec![owned, meta_write(&meta)]).map_err(engine_error(path))?;
    Ok(meta)
}

impl Origin {
    /// Of a cluster's genesis.
    pub const GENESIS: Self = Self { genesis: true, identity: None };
    /// After it.
    pub const LATER: Self = Self { genesis: false, identity: None };

    fn meta(self) -> Meta {
        let identity = self.identity.unwrap_or_else(|| Identity(rand::random()));
        if self.genesis { Meta::genesis(identity) } else { Meta::renewed(identity) }
    }
}

fn engine_error(path: &Path) -> impl FnOnce(EngineError) -> DirectoryError {
    move |error| match error {
        EngineError::Locked => DirectoryError::Locked(path.to_owned()),
        error => DirectoryError::Engine { path: path.to_owned(), error },
    }
}

fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> DirectoryError {
    move |error| DirectoryError::Io { what, path: path.to_owned(), error }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versioning = format!("{:?}", self.versioning).to_lowercase();
        write!(f, "node {} of cluster {:?}, versioning {versioning}", self.node.0, self.cluster)
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").field("meta", &self.meta).finish_non_exhaustive()
    }
}
