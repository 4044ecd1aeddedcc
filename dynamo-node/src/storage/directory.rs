//! A node's data directory: who it is, that one process has it alone, and that it holds what it held.
//!
//! ```text
//! mark      how far it had come, see `mark`; its lock is the directory's
//! engine/   the engine's files
//! tree      what its records come to, if it was closed in order, see `closed`
//! ```
//!
//! Whenever it is opened, all of it is read, at once or, if it was closed in order, before it is used: what
//! the engine says of itself has to agree with the mark and with the census of its records. If it does not,
//! something was lost, altered or put back from a copy, and the directory goes on under a new identity,
//! amnesiac: it keeps what it has and mints no dot that it may have minted before, but has no vote.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dynamo_protocol::mutant::{Mutant, mutated};
use dynamo_protocol::{Enrolment, Identity, Meta, NodeId, StoreError, Versioning};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::closed::{Closed, Unseen};
use super::codec::{is_of_another_format, seal, unseal};
use super::mark::{Found, Mark, Marked};
use super::records::find;
use super::state::{Census, Counted, State};
use super::tree::Tree;
use super::{
    Batch, Engine, EngineError, FjallEngine, MemoryEngine, RedbEngine, Space, Write, addresses,
    enrolment,
};
use crate::chance;

/// The key of the directory's [`Owner`].
pub(super) const OWNER: &[u8] = b"owner";
/// The file of the mark.
const MARK: &str = "mark";
/// The folder of the engine.
pub(crate) const ENGINE: &str = "engine";

/// Which engine keeps the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineKind {
    /// On disk: a log-structured merge tree.
    Fjall,
    /// On disk: a B-tree in one file.
    Redb,
    /// In memory: nothing survives the process, and the directory is not used.
    Memory,
    /// On a disk of the world that this thread simulates.
    #[cfg(feature = "simulation")]
    #[value(skip)]
    Simulated,
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
    /// What it keeps of the membership; nothing of one that knows of none.
    pub enrolment: Enrolment,
    /// What it holds.
    pub engine: Arc<dyn Engine>,
    /// It was made when it was opened.
    pub is_new: bool,
    /// Of the home records, as they were read when it was opened: a start reads them once, or as it was left
    /// when it was closed.
    tree: Mutex<Option<(Tree, Unseen)>>,
    /// Where it lies; nowhere in memory.
    path: Option<PathBuf>,
    last: Mutex<Last>,
}

/// How far a directory has come.
struct Last {
    /// What it last said of itself, durably.
    state: State,
    /// None in memory.
    mark: Option<Mark>,
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
    /// It was made with another engine.
    #[error("{0}: another engine keeps what is in it: give --engine {engine}", engine = word(*.1))]
    AnotherEngine(PathBuf, EngineKind),
    /// It was made before directories had a mark, or keeps what it holds in another format.
    #[error(
        "{0}: made by another version, which this one does not read: give this node a new directory; it \
         comes back amnesiac, under a new identity"
    )]
    AnotherVersion(PathBuf),
    /// The system failed under the engine.
    #[error("{path}: {error}: mend the disk and start the node again")]
    Engine {
        /// The directory.
        path: PathBuf,
        /// What it said.
        error: EngineError,
    },
}

/// As flags have it.
fn word(kind: EngineKind) -> &'static str {
    match kind {
        EngineKind::Fjall => "fjall",
        EngineKind::Redb => "redb",
        EngineKind::Memory => "memory",
        #[cfg(feature = "simulation")]
        EngineKind::Simulated => "simulated",
    }
}

impl Directory {
    /// Opens `owner`'s directory, or makes one: under a new identity, which is amnesiac unless this is
    /// the genesis of the cluster. Reads all records, once.
    ///
    /// # Errors
    /// If it is in use, another's, damaged, or cannot be written; or if it is not empty although
    /// this is a genesis.
    pub fn open(path: &Path, owner: &Owner, origin: Origin) -> Result<Self, DirectoryError> {
        Self::open_with(EngineKind::Fjall, path, owner, origin)
    }

    /// The same with an engine that is not the default one. [`EngineKind::Memory`] has no directory, and is
    /// taken for that.
    ///
    /// # Errors
    /// As [`Self::open`]; or if another engine keeps what is there.
    pub fn open_with(
        kind: EngineKind,
        path: &Path,
        owner: &Owner,
        origin: Origin,
    ) -> Result<Self, DirectoryError> {
        fs::create_dir_all(path).map_err(io("make the directory", path))?;
        if path.join("keyspaces").exists() {
            return Err(DirectoryError::AnotherVersion(path.to_owned()));
        }
        let file = path.join(MARK);
        let (mark, found) = Mark::open(&file).map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => DirectoryError::Locked(path.to_owned()),
            _ => io("open the mark", &file)(error),
        })?;
        let is_made = found.marked.map_or(path.join(ENGINE).exists(), |marked| marked.made);
        if is_made {
            Opening { path, owner, kind }.existing(mark, &found, origin)
        } else {
            let made = Opening { path, owner, kind }.make(mark, origin)?;
            Ok(Self { is_new: true, ..made })
        }
    }

    /// Whose directory lies at `path`; none if none was made there.
    ///
    /// # Errors
    /// If it is in use, or does not say.
    pub(crate) fn node(path: &Path) -> Result<Option<NodeId>, DirectoryError> {
        Ok(Self::owner(path)?.map(|owner| owner.node))
    }

    /// The same, and of which cluster.
    pub(super) fn owner(path: &Path) -> Result<Option<Owner>, DirectoryError> {
        let (file, folder) = (path.join(MARK), path.join(ENGINE));
        if !file.exists() || !folder.exists() {
            return Ok(None);
        }
        let (_mark, found) = Mark::open(&file).map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => DirectoryError::Locked(path.to_owned()),
            _ => io("open the mark", &file)(error),
        })?;
        if found.marked.is_some_and(|marked| !marked.made) {
            return Ok(None);
        }
        // Whose it is one that was closed in order says without all being read, unless it is damaged.
        let unread = Closed::is_at(path).then(|| open_unread(&folder).ok()).flatten();
        let engine = unread.map_or_else(|| open_made(&folder), Ok).map_err(engine_error(path))?;
        let owner = engine.get(Space::Meta, OWNER).map_err(engine_error(path))?;
        let owner = owner.ok_or(StoreError::Corrupt).and_then(|owner| unseal(OWNER, &owner));
        let owner: Owner = owner.map_err(|error| DirectoryError::Damaged {
            path: path.to_owned(),
            error: format!("whose the directory is: {error}: give --id"),
        })?;
        Ok(Some(owner))
    }

    /// A new directory in memory.
    #[must_use]
    pub fn in_memory(origin: Origin) -> Self {
        let meta = origin.meta();
        let engine = Arc::new(MemoryEngine::default());
        let last = Mutex::new(Last { state: State::new(meta), mark: None });
        let tree = Mutex::default();
        Self { meta, enrolment: Enrolment::default(), engine, is_new: true, tree, path: None, last }
    }

    /// Leaves for the next start what need not be read then. To be called when nothing will be committed any
    /// more, and all that was is durable.
    pub(crate) fn close(&self, closed: &Closed) {
        let Some(path) = self.path.as_ref().filter(|_| *closed.state() == self.state()) else {
            return;
        };
        let rested = self.engine.rest().map_err(|error| error.to_string());
        let left = rested.and_then(|()| closed.leave(path).map_err(|error| error.to_string()));
        if let Err(error) = left {
            tracing::warn!(path = %path.display(), %error, "the next start reads all records");
        }
    }

    /// Keeps `kept`, `meta` with it, and where members are reached, from now on: of a directory that is not
    /// used yet.
    ///
    /// # Errors
    /// As [`Engine::commit`].
    pub(crate) fn enrol(
        &mut self,
        (meta, kept): (Meta, Enrolment),
        reached: &BTreeMap<NodeId, String>,
    ) -> Result<(), EngineError> {
        let write = enrolment::write(&kept);
        let state = State { meta, enrolment: enrolment::census_after(&write), ..self.state() };
        let reached = reached.iter().map(|(node, address)| addresses::write(*node, address));
        let writes = std::iter::once(write).chain(reached).collect();
        self.commit(Batch { number: state.position, writes, state })?;
        (self.meta, self.enrolment) = (meta, kept);
        Ok(())
    }

    /// What it last said of itself, durably.
    pub(crate) fn state(&self) -> State {
        self.last().state
    }

    /// The tree over the home records, if nobody has taken it and nothing was committed since it was made.
    pub(super) fn take_tree(&self) -> Option<(Tree, Unseen)> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes `batch` durable, with the state of the directory after it in the same commit.
    ///
    /// # Errors
    /// As [`Engine::commit`]; a panic of the engine is an error that names the keys.
    pub(crate) fn commit(&self, batch: Batch) -> Result<(), EngineError> {
        self.keep(batch, Keep::Synced)
    }

    /// The same, durable with the next [`Engine::sync`].
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub(crate) fn commit_buffered(&self, batch: Batch) -> Result<(), EngineError> {
        self.keep(batch, Keep::Buffered)
    }

    fn keep(&self, batch: Batch, keep: Keep) -> Result<(), EngineError> {
        let Batch { mut writes, state, .. } = batch;
        if writes.iter().any(|write| write.space == Space::Home) {
            self.take_tree();
        }
        writes.push(state.write());
        commit_caught(&*self.engine, writes, keep)?;
        let mut last = self.last();
        last.state = state;
        let Some(mark) = &mut last.mark else { return Ok(()) };
        let advanced = mark.advance(Marked::of(&state, true));
        advanced.map_err(|error| EngineError::Io(format!("writing the mark: {error}")))
    }
}

/// When a commit has to be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    /// When it returns.
    Synced,
    /// After the next sync.
    Buffered,
}

fn commit_caught(engine: &dyn Engine, writes: Vec<Write>, keep: Keep) -> Result<(), EngineError> {
    const NAMED: usize = 4;
    let (count, bytes) = (writes.len(), writes.iter().map(Write::bytes).sum::<usize>());
    let first: Vec<_> =
        writes.iter().take(NAMED).map(|write| (write.space, write.key.clone())).collect();
    let at = || {
        let named: Vec<_> =
            first.iter().map(|(space, key)| format!("{} {key:?}", space.name())).collect();
        let more = if count > NAMED { " and others" } else { "" };
        format!("committing {count} changes of {bytes} bytes, of {}{more}", named.join(", "))
    };
    EngineError::caught(at, || match keep {
        Keep::Synced => engine.commit(writes),
        Keep::Buffered => engine.commit_buffered(writes),
    })
}

/// A directory that is being opened.
#[derive(Clone, Copy)]
struct Opening<'a> {
    path: &'a Path,
    owner: &'a Owner,
    kind: EngineKind,
}

/// Which engine keeps what lies in `folder`.
fn kind_in(folder: &Path) -> EngineKind {
    #[cfg(feature = "simulation")]
    if crate::simulation::has_disk(folder) {
        return EngineKind::Simulated;
    }
    if RedbEngine::is_in(folder) { EngineKind::Redb } else { EngineKind::Fjall }
}

/// Opens what an engine has made before and was closed in order: it is not looked at.
fn open_unread(folder: &Path) -> Result<Arc<dyn Engine>, EngineError> {
    Ok(match kind_in(folder) {
        EngineKind::Redb => Arc::new(RedbEngine::open_unread(folder)?),
        #[cfg(feature = "simulation")]
        EngineKind::Simulated => crate::simulation::mount(folder)?,
        EngineKind::Fjall | EngineKind::Memory => Arc::new(FjallEngine::open_unread(folder)?),
    })
}

/// Opens what an engine has made before: all of it is looked at.
fn open_made(folder: &Path) -> Result<Arc<dyn Engine>, EngineError> {
    Ok(match kind_in(folder) {
        EngineKind::Redb => Arc::new(RedbEngine::open_made(folder)?),
        #[cfg(feature = "simulation")]
        EngineKind::Simulated => crate::simulation::mount(folder)?,
        EngineKind::Fjall | EngineKind::Memory => Arc::new(FjallEngine::open_made(folder)?),
    })
}

impl Opening<'_> {
    /// Makes the directory. Until the mark says that it is made, nothing was kept in it, and what an
    /// earlier try left is in the way.
    fn make(self, mut mark: Mark, origin: Origin) -> Result<Directory, DirectoryError> {
        let (path, folder) = (self.path, self.path.join(ENGINE));
        let state = State::new(origin.meta());
        let settled = mark.settle(Marked::of(&state, false));
        let synced = settled.and_then(|()| fs::File::open(path)?.sync_all());
        synced.map_err(io("write the mark in", path))?;
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(io("empty", &folder))?;
        }
        let engine: Arc<dyn Engine> = match self.kind {
            EngineKind::Redb => Arc::new(RedbEngine::open(&folder).map_err(engine_error(path))?),
            #[cfg(feature = "simulation")]
            EngineKind::Simulated => {
                crate::simulation::mount(&folder).map_err(engine_error(path))?
            }
            EngineKind::Fjall | EngineKind::Memory => {
                Arc::new(FjallEngine::open(&folder).map_err(engine_error(path))?)
            }
        };
        let value = Some(seal(OWNER, self.owner));
        let owned = Write { space: Space::Meta, key: Bytes::from_static(OWNER), value };
        let commit = commit_caught(&*engine, vec![owned, state.write()], Keep::Synced);
        commit.map_err(engine_error(path))?;
        let tree = (Tree::new(), Unseen::none(path, self.owner.versioning));
        self.opened(mark, (engine, tree), state, Enrolment::default())
    }

    fn existing(
        self,
        mark: Mark,
        found: &Found,
        origin: Origin,
    ) -> Result<Directory, DirectoryError> {
        let (path, folder) = (self.path, self.path.join(ENGINE));
        if kind_in(&folder) != self.kind && folder.exists() {
            return Err(DirectoryError::AnotherEngine(path.to_owned(), kind_in(&folder)));
        }
        let closed = Closed::take(path).map_err(io("take the tree from", path))?;
        if let Some(closed) = closed.filter(|closed| closed.is_marked(found) && !origin.genesis)
            && let Some((engine, enrolment)) = self.as_closed(&closed)
        {
            let (state, tree) = (*closed.state(), closed.into_tree());
            return self.opened(
                mark,
                (engine, (tree, Unseen::all(path, self.owner.versioning))),
                state,
                enrolment,
            );
        }
        let engine = open_made(&folder).map_err(engine_error(path))?;
        let kept = self.identify(&*engine)?;
        if origin.genesis {
            return Err(DirectoryError::NotEmpty(path.to_owned()));
        }
        let mut enrolment = self.membership(&*engine)?;
        let mut writes = Vec::new();
        let (mut tree, versioning) = (Tree::new(), self.owner.versioning);
        let mut look = |key: &_, value: &_, counted: Counted| {
            find(&mut tree, versioning, (key, value), counted);
        };
        let counted = kept.counted(&*engine, &mut look).map_err(engine_error(path))?;
        let mut state = kept;
        if let Some(doubt) = doubt(found, &kept, &counted) {
            state = renewed(found.marked, &counted);
            if enrolment != Enrolment::default() {
                // Another directory has promised nothing, and counts nowhere.
                (enrolment.ballots, enrolment.counted) = (None, None);
                let write = enrolment::write(&enrolment);
                state.enrolment = enrolment::census_after(&write);
                writes.push(write);
            }
            tracing::warn!(
                path = %path.display(), mark = %path.join(MARK).display(), engine = %folder.display(),
                before = %kept.meta.identity, identity = %state.meta.identity,
                "{doubt}: the directory is not what it was. It goes on under a new identity and \
                 amnesiac: it keeps what it holds and takes puts, but its answers to gets do not count. \
                 Check the disk; if the directory was put back from a copy, this is as it should be"
            );
        } else if found.damaged > 0 {
            tracing::warn!(
                mark = %path.join(MARK).display(),
                "one of the mark's two slots is damaged, the other agrees with the engine: mended"
            );
        }
        // Whether or not it is another: an engine that reads and cannot write is found now, and not by
        // the first put of every start.
        writes.push(state.write());
        commit_caught(&*engine, writes, Keep::Synced).map_err(engine_error(path))?;
        let tree = (tree, Unseen::none(path, versioning));
        self.opened(mark, (engine, tree), state, enrolment)
    }

    /// The engine as it was `closed`, and the membership in it. None if it is not that, or not for sure: then
    /// all of it has to be read, and whatever is wrong is told by who does.
    fn as_closed(self, closed: &Closed) -> Option<(Arc<dyn Engine>, Enrolment)> {
        let engine = open_unread(&self.path.join(ENGINE)).ok()?;
        let kept = self.identify(&*engine).ok()?;
        if !closed.is_of(&kept, &*engine).ok()? {
            return None;
        }
        let enrolment = self.membership(&*engine).ok()?;
        commit_caught(&*engine, vec![kept.write()], Keep::Synced).ok()?;
        tracing::info!(
            path = %self.path.display(), records = kept.home.records,
            "closed in order: its records are looked at while it runs"
        );
        Some((engine, enrolment))
    }

    /// Nothing is kept before the mark says durably for whom.
    fn opened(
        self,
        mut mark: Mark,
        (engine, tree): (Arc<dyn Engine>, (Tree, Unseen)),
        state: State,
        enrolment: Enrolment,
    ) -> Result<Directory, DirectoryError> {
        let settled = mark.settle(Marked::of(&state, true));
        settled.map_err(io("write the mark in", self.path))?;
        let last = Mutex::new(Last { state, mark: Some(mark) });
        let (tree, path) = (Mutex::new(Some(tree)), Some(self.path.to_owned()));
        Ok(Directory { meta: state.meta, enrolment, engine, is_new: false, tree, path, last })
    }

    /// What the directory says of itself, if it is the owner's.
    fn identify(self, engine: &dyn Engine) -> Result<State, DirectoryError> {
        let path = self.path;
        let damaged = |error| {
            let error = format!("who the directory is: {error}");
            DirectoryError::Damaged { path: path.to_owned(), error }
        };
        let found = engine.get(Space::Meta, OWNER).map_err(engine_error(path))?;
        // Owner and state were written in one commit, before the mark said that there was one.
        let found = found.ok_or_else(|| damaged(StoreError::Corrupt))?;
        if is_of_another_format(OWNER, &found) {
            return Err(DirectoryError::AnotherVersion(path.to_owned()));
        }
        let found: Owner = unseal(OWNER, &found).map_err(damaged)?;
        if found != *self.owner {
            let (path, expected) = (path.to_owned(), self.owner.clone());
            return Err(DirectoryError::Foreign { path, found, expected });
        }
        let state = State::read(engine).map_err(engine_error(path))?;
        state.unwrap_or(Err(StoreError::Corrupt)).map_err(damaged)
    }

    /// What the directory keeps of the membership.
    fn membership(self, engine: &dyn Engine) -> Result<Enrolment, DirectoryError> {
        let read = enrolment::read(engine).map_err(engine_error(self.path))?;
        read.map_err(|error| DirectoryError::Damaged {
            path: self.path.to_owned(),
            error: format!("the membership it keeps: {error}"),
        })
    }
}

/// Why the directory cannot be what it was when it was last used, if it cannot.
fn doubt(found: &Found, kept: &State, counted: &State) -> Option<String> {
    if mutated(Mutant::DirectoryBelieved) {
        return None;
    }
    let Some(marked) = found.marked else {
        let what = if found.damaged > 0 { "cannot be read" } else { "is missing" };
        return Some(format!("the mark {what}"));
    };
    if marked.identity != kept.meta.identity {
        let (mark, engine) = (marked.identity, kept.meta.identity);
        return Some(format!("the mark is of identity {mark}, the engine's files are of {engine}"));
    }
    if kept.position < marked.position || kept.meta.births < marked.births {
        let (has, had) = (kept.position, marked.position);
        return Some(format!("the engine has the batches up to {has}, and had those up to {had}"));
    }
    let differs = |before: Census, now: Census, what| match (before.records, now.records) {
        _ if before == now => None,
        (before, now) if before == now => {
            Some(format!("of {now} {what} some are not what they were"))
        }
        (before, now) => Some(format!("there are {now} {what}, and there were {before}")),
    };
    if kept.enrolment != counted.enrolment {
        return Some("the membership it keeps is not the one it kept".to_owned());
    }
    differs(kept.home, counted.home, "records")
        .or_else(|| differs(kept.hints, counted.hints, "hints"))
}

/// The state of a directory that has lost something: nothing it may have given out is given out again.
fn renewed(marked: Option<Marked>, counted: &State) -> State {
    let births = counted.meta.births.max(marked.map_or(0, |marked| marked.births));
    let position = counted.position.max(marked.map_or(0, |marked| marked.position));
    let meta = Meta { births, ..Meta::renewed(Identity(chance::draw())) };
    State { meta, position: position + 1, ..*counted }
}

impl Origin {
    /// Of a cluster's genesis.
    pub const GENESIS: Self = Self { genesis: true, identity: None };
    /// After it.
    pub const LATER: Self = Self { genesis: false, identity: None };

    fn meta(self) -> Meta {
        let identity = self.identity.unwrap_or_else(|| Identity(chance::draw()));
        if self.genesis { Meta::genesis(identity) } else { Meta::renewed(identity) }
    }
}

fn engine_error(path: &Path) -> impl FnOnce(EngineError) -> DirectoryError {
    move |error| match error {
        EngineError::Locked => DirectoryError::Locked(path.to_owned()),
        error if error.is_damage() => {
            // Whole directories are wiped: with the mark left behind, an engine that is gone is damage too.
            let folder = path.join(ENGINE).display().to_string();
            let said = error.to_string();
            let error = if said.contains(&folder) { said } else { format!("{folder}: {said}") };
            DirectoryError::Damaged { path: path.to_owned(), error }
        }
        error => DirectoryError::Engine { path: path.join(ENGINE), error },
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
