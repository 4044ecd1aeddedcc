//! The default engine: fjall, a log-structured merge tree with one journal for all its keyspaces.

use std::fmt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::inspect::{self, Tables};
use super::{Engine, EngineError, Space, Visit, Write, check_key, check_keys};

/// How long a node that ends waits for its tables: 64 MiB are written in less on any disk that works.
const WRITTEN_OUT: Duration = Duration::from_secs(10);

/// See the [module](self).
pub struct FjallEngine {
    database: Database,
    /// In the order of [`Space::ALL`].
    spaces: [Keyspace; 3],
}

impl FjallEngine {
    /// Opens the database in `folder`, or makes one.
    ///
    /// # Errors
    /// If it is damaged, open elsewhere, or cannot be written.
    pub fn open(folder: &Path) -> Result<Self, EngineError> {
        EngineError::caught(|| "opening".to_owned(), || Self::open_or_panic(folder))
    }

    /// The same of a database that was made before and closed in order: its tables are not read.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(super) fn open_unread(folder: &Path) -> Result<Self, EngineError> {
        inspect::check(folder, Tables::Listed)?;
        Self::open(folder)
    }

    /// Opens a database that was made before: all its files are there, and are what they were. Reads
    /// all of it.
    ///
    /// # Errors
    /// As [`Self::open`]; what is damaged is named.
    pub fn open_made(folder: &Path) -> Result<Self, EngineError> {
        inspect::check(folder, Tables::Read)?;
        Self::open(folder)
    }

    /// Of damaged files fjall asserts more than it checks.
    fn open_or_panic(folder: &Path) -> Result<Self, EngineError> {
        // Every commit syncs the journal itself.
        let database = Database::builder(folder).manual_journal_persist(true).open()?;
        let open = |space: Space| database.keyspace(space.name(), KeyspaceCreateOptions::default);
        let [meta, home, hints] = Space::ALL.map(open);
        Ok(Self { spaces: [meta?, home?, hints?], database })
    }

    /// Writes what is in memory out to tables.
    #[cfg(test)]
    pub(super) fn flush(&self) {
        self.spaces.iter().for_each(|space| space.rotate_memtable_and_wait().unwrap());
    }

    fn write(&self, writes: Vec<Write>, persist: PersistMode) -> Result<(), EngineError> {
        check_keys(&writes)?;
        let mut batch = self.database.batch().durability(Some(persist));
        for Write { space, key, value } in writes {
            match value {
                Some(value) => batch.insert(self.space(space), key, value),
                None => batch.remove(self.space(space), key),
            }
        }
        Ok(batch.commit()?)
    }

    fn space(&self, space: Space) -> &Keyspace {
        &self.spaces[space as usize]
    }
}

impl Engine for FjallEngine {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        if check_key(key).is_err() {
            return Ok(None);
        }
        let at = || format!("reading {} {:?}", space.name(), Bytes::copy_from_slice(key));
        EngineError::caught(at, || Ok(self.space(space).get(key)?.map(Bytes::from)))
    }

    fn scan(&self, space: Space, from: &[u8], visit: Visit<'_>) -> Result<(), EngineError> {
        let at = || format!("listing {}", space.name());
        EngineError::caught(at, || {
            for entry in self.space(space).range(from..) {
                let (key, value) = entry.into_inner()?;
                if !visit(&key, &value) {
                    break;
                }
            }
            Ok(())
        })
    }

    fn commit(&self, writes: Vec<Write>) -> Result<(), EngineError> {
        // With a durability of its own the batch is synced *before* it enters the memtables. A sync
        // afterwards would leave a gap in which a full memtable may be written out, durable, while the
        // journal that holds the rest of the batch is not: half a batch would survive a crash.
        // fdatasync is enough: it covers the journal's length, and fjall syncs files and folders in
        // full when it starts a journal or writes a table.
        self.write(writes, PersistMode::SyncData)
    }

    /// The gap that [`Self::commit`] closes is open here: half a batch may survive a crash of the machine.
    /// The census of the directory tells, and it counts as lost.
    fn commit_buffered(&self, writes: Vec<Write>) -> Result<(), EngineError> {
        self.write(writes, PersistMode::Buffer)
    }

    fn sync(&self) -> Result<(), EngineError> {
        Ok(self.database.persist(PersistMode::SyncData)?)
    }

    /// Writes what is in memory out to tables: else a start reads up to 512 MiB of journals. Fjall's own way
    /// to wait for that has no end on a disk that fails.
    fn rest(&self) -> Result<(), EngineError> {
        let rotate =
            || self.spaces.iter().try_for_each(|space| Ok(space.rotate_memtable().map(|_| ())?));
        EngineError::caught(|| "writing out what is in memory".to_owned(), rotate)?;
        let begun = Instant::now();
        let is_under_way = || self.spaces.iter().any(|space| space.sealed_memtable_count() > 0);
        while is_under_way() && begun.elapsed() < WRITTEN_OUT {
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

impl fmt::Debug for FjallEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FjallEngine").finish_non_exhaustive()
    }
}

impl From<fjall::Error> for EngineError {
    fn from(error: fjall::Error) -> Self {
        use fjall::{Error, LsmError};
        match error {
            Error::Io(error) | Error::Storage(LsmError::Io(error)) => Self::Io(error.to_string()),
            Error::Poisoned => Self::Io("an earlier write failed".to_owned()),
            Error::Locked => Self::Locked,
            Error::JournalRecovery(error) => Self::Corrupt(format!("a journal (*.jnl): {error:?}")),
            other => Self::Corrupt(other.to_string()),
        }
    }
}
