//! What a node that ends in order leaves beside its engine, so that the next start need not read all records:
//! the tree over them, with the census of each bucket.
//!
//! It is believed of exactly the [`State`] that the engine is in then, and only until somebody looks: the
//! records of a bucket are counted before the first of them is read or changed, and bit by bit those that
//! nobody asks for. Whatever the disk lost, altered or brought back meanwhile ends the node before anything
//! rests on it; the next start finds no such file, reads everything, and goes on as with any damage.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dynamo_protocol::{Fingerprint, StoreError, Versioning};
use serde::{Deserialize, Serialize};

use super::codec::{seal, unseal};
use super::mark::{Found, Marked};
use super::records::leaf_of;
use super::state::{Census, Counted, State};
use super::tree::{BUCKETS, Tree};
use super::{Engine, EngineError, Space};

/// The file of it.
const FILE: &str = "tree";
/// How large it is at most, in bytes: 48 a bucket, and then some. What is larger, or no file, is none.
const LARGEST: u64 = 4 << 20;
/// What it is sealed under.
const SEALED: &[u8] = b"tree";
/// How many buckets are looked at in one go, at most, of those that nobody asks for, ...
const GO: usize = 4096;
/// ... how many records in them, unless one has more: about a millisecond of small ones, ...
const GO_RECORDS: u64 = 512;
/// ... and after how many bytes it ends with the bucket: a few milliseconds.
const GO_BYTES: usize = 2 << 20;

/// See the [module](self).
pub(crate) struct Closed {
    state: State,
    tree: Tree,
}

/// As it is sealed: of the buckets that hold something.
#[derive(Serialize, Deserialize)]
struct Stored {
    state: State,
    buckets: Vec<(u16, Fingerprint, Census)>,
}

impl Closed {
    pub(super) fn new(state: State, tree: Tree) -> Self {
        Self { state, tree }
    }

    /// The state that the directory was closed in.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// How far it had come then.
    pub(crate) fn position(&self) -> u64 {
        self.state.position
    }

    pub(super) fn into_tree(self) -> Tree {
        self.tree
    }

    /// Whether a directory that was closed in order lies at `path`.
    pub(super) fn is_at(path: &Path) -> bool {
        path.join(FILE).exists()
    }

    /// Leaves it at `path`, durably.
    ///
    /// # Errors
    /// Whatever the system says; then there may be none, and never half of one.
    pub(super) fn leave(&self, path: &Path) -> io::Result<()> {
        let buckets = self.tree.buckets().collect();
        let sealed = seal(SEALED, &Stored { state: self.state, buckets });
        let unfinished = path.join("tree.new");
        let mut file = File::create(&unfinished)?;
        file.write_all(&sealed)?;
        file.sync_all()?;
        fs::rename(unfinished, path.join(FILE))?;
        File::open(path)?.sync_all()
    }

    /// Takes away what was left at `path`. None if nothing was, or it cannot be read.
    ///
    /// # Errors
    /// If it cannot be taken away.
    pub(super) fn take(path: &Path) -> io::Result<Option<Self>> {
        let file = path.join(FILE);
        let found = match fs::symlink_metadata(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            found => found?,
        };
        let is_one = found.is_file() && found.len() <= LARGEST;
        let sealed = is_one.then(|| fs::read(&file).ok()).flatten();
        fs::remove_file(&file)?;
        File::open(path)?.sync_all()?;
        let stored = sealed.and_then(|sealed| unseal::<Stored>(SEALED, &sealed).ok());
        Ok(stored.and_then(|Stored { state, buckets }| {
            let tree = Tree::of(buckets);
            // The engine says what all its records come to; the parts have to come to the same.
            (tree.total() == state.home).then_some(Self { state, tree })
        }))
    }

    /// Whether the mark says of the directory that it has come exactly as far.
    pub(super) fn is_marked(&self, found: &Found) -> bool {
        found.damaged == 0 && found.marked == Some(Marked::of(&self.state, true))
    }

    /// Whether this is what `engine` is in, as far as can be told without its home records.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn is_of(&self, kept: &State, engine: &dyn Engine) -> Result<bool, EngineError> {
        Ok(*kept == self.state && self.state.is_counted_but_home(engine)?)
    }
}

/// The buckets whose records nobody has looked at since the directory was closed.
pub(super) struct Unseen {
    /// One bit each.
    words: Vec<AtomicU64>,
    left: AtomicUsize,
    /// Where the next look is taken that nobody asked for.
    next: AtomicUsize,
    /// What was not as it was left, if anything was.
    doubt: OnceLock<EngineError>,
    /// What sort of versions the records have.
    versioning: Versioning,
    /// Where the records lie, for whoever has to mend it.
    at: PathBuf,
}

impl Unseen {
    /// All of them, of a directory at `path`.
    pub(super) fn all(path: &Path, versioning: Versioning) -> Self {
        let words = (0..BUCKETS / 64).map(|_| AtomicU64::new(u64::MAX)).collect();
        Self { words, left: AtomicUsize::new(BUCKETS), ..Self::none(path, versioning) }
    }

    /// None of them: all was read when it was opened.
    pub(super) fn none(path: &Path, versioning: Versioning) -> Self {
        Self {
            words: Vec::new(),
            left: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            doubt: OnceLock::new(),
            versioning,
            at: path.to_owned(),
        }
    }

    /// How many are left.
    pub(super) fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    /// What was not as it was left: nothing may rest on what was read since.
    pub(super) fn doubt(&self) -> Option<&EngineError> {
        self.doubt.get()
    }

    /// Whether nobody has looked at this one.
    pub(super) fn has(&self, bucket: usize) -> bool {
        let word = self.words.get(bucket / 64).map_or(0, |word| word.load(Ordering::Relaxed));
        word >> (bucket % 64) & 1 == 1
    }

    /// Counts the records in those of `buckets` that nobody has looked at, before somebody does: they have to
    /// come to what `tree` says, both in their bytes and in what it tells others of them.
    ///
    /// # Errors
    /// Unreadable, if they cannot be counted or do not come to it.
    pub(super) fn look(
        &self,
        engine: &dyn Engine,
        tree: &Tree,
        buckets: RangeInclusive<u16>,
    ) -> Result<(), StoreError> {
        let end = usize::from(*buckets.end()) + 1;
        self.look_at(engine, tree, usize::from(*buckets.start())..end, usize::MAX).map(drop)
    }

    /// The same; ends with a bucket once it has read so many bytes. Says before which one all were looked at.
    fn look_at(
        &self,
        engine: &dyn Engine,
        tree: &Tree,
        buckets: Range<usize>,
        bytes: usize,
    ) -> Result<usize, StoreError> {
        let Range { start: mut from, end } = buckets;
        if self.left() == 0 {
            return Ok(end);
        }
        if self.doubt().is_some() {
            return Err(StoreError::Unreadable);
        }
        while from < end {
            let Some(first) = (from..end).find(|bucket| self.has(*bucket)) else { break };
            let after = (first..end).find(|bucket| !self.has(*bucket)).unwrap_or(end);
            from = self.count(engine, tree, first..after, bytes).map_err(|error| {
                tracing::error!(%error, "looking at what a closed directory holds");
                if error.is_damage() {
                    drop(self.doubt.set(error));
                }
                StoreError::Unreadable
            })?;
            if from < after {
                return Ok(from);
            }
        }
        Ok(end)
    }

    /// Looks at some of those that nobody has asked for.
    pub(super) fn look_on(&self, engine: &dyn Engine, tree: &Tree) {
        let next = self.next.load(Ordering::Relaxed);
        let Some(first) = (next..BUCKETS).chain(0..next).find(|bucket| self.has(*bucket)) else {
            return;
        };
        let mut records = tree.bucket_counted(first).records;
        let few = (first + 1..BUCKETS.min(first + GO)).take_while(|bucket| {
            records += tree.bucket_counted(*bucket).records;
            records <= GO_RECORDS && self.has(*bucket)
        });
        let end = few.last().unwrap_or(first) + 1;
        // What cannot be read now has its turn again after the others.
        let reached = self.look_at(engine, tree, first..end, GO_BYTES).unwrap_or(end);
        self.next.store(reached % BUCKETS, Ordering::Relaxed);
    }

    /// Counts what lies in these buckets, none of which anybody has seen, until it has read so many bytes at
    /// the end of one. Says before which one it ended.
    fn count(
        &self,
        engine: &dyn Engine,
        tree: &Tree,
        Range { start: first, end: after }: Range<usize>,
        bytes: usize,
    ) -> Result<usize, EngineError> {
        let mut found = vec![(Fingerprint::default(), Census::default()); after - first];
        let (mut read, mut last, mut end) = (0, first, after);
        let begin = u16::try_from(first).expect("there are 65,536").to_be_bytes();
        engine.scan(Space::Home, &begin, &mut |key, value| {
            let bucket =
                key.first_chunk().map_or(0, |begin| usize::from(u16::from_be_bytes(*begin)));
            let found = bucket.checked_sub(first).and_then(|at| found.get_mut(at));
            let Some((print, census)) = found else { return false };
            if bucket > last && read >= bytes {
                end = bucket;
                return false;
            }
            (read, last) = (read + value.len(), bucket);
            census.add(Counted::of(key, value));
            leaf_of(self.versioning, key, value).into_iter().for_each(|(_, leaf)| print.add(leaf));
            true
        })?;
        for (bucket, (print, found)) in (first..end).zip(found) {
            let left = tree.bucket_counted(bucket);
            let (at, has, had) = (self.at.display(), found.records, left.records);
            if found != left {
                return Err(EngineError::Corrupt(format!(
                    "{at}: the records of bucket {bucket:04x} are not those that it was closed with: {has}, \
                     and there were {had}"
                )));
            }
            // The same records, so the tree is wrong, and would be so at each start: it is never made anew
            // by a node that ends in order.
            if print != tree.bucket_found(bucket) {
                return Err(EngineError::Corrupt(format!(
                    "{at}: the tree that it was closed with is not that of its {has} records in bucket \
                     {bucket:04x}"
                )));
            }
            self.words[bucket / 64].fetch_and(!(1 << (bucket % 64)), Ordering::Relaxed);
            self.left.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(end)
    }
}
