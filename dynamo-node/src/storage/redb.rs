//! Another engine: redb, a copy-on-write B-tree in one file. Slower to write than [fjall](super::fjall),
//! which appends.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, StorageError, TableDefinition,
    TransactionError,
};

use super::{Engine, EngineError, Space, Visit, Write, check_key, check_keys};

/// The file in its folder.
const FILE: &str = "records.redb";
/// In the order of [`Space::ALL`].
const TABLES: [TableDefinition<'_, &[u8], &[u8]>; 3] =
    [TableDefinition::new("meta"), TableDefinition::new("home"), TableDefinition::new("hints")];

/// See the [module](self).
pub struct RedbEngine {
    database: Database,
}

impl RedbEngine {
    /// Opens the database in `folder`, or makes one.
    ///
    /// # Errors
    /// If it is damaged, open elsewhere, or cannot be written.
    pub fn open(folder: &Path) -> Result<Self, EngineError> {
        std::fs::create_dir_all(folder).map_err(|error| EngineError::Io(error.to_string()))?;
        let file = file(folder);
        let is_new = !file.exists();
        let opened = EngineError::caught(
            || format!("opening {}", file.display()),
            || {
                let database = Database::create(&file)?;
                // So that whoever reads finds all of them.
                let write = database.begin_write().map_err(transaction)?;
                for table in TABLES {
                    write.open_table(table).map_err(table_error)?;
                }
                write.commit().map_err(|error| EngineError::Io(error.to_string()))?;
                Ok(Self { database })
            },
        );
        let opened = opened.map_err(|error| at(&file, error))?;
        if is_new {
            // The file's name has to last as what is in it does.
            let synced = File::open(folder).and_then(|folder| folder.sync_all());
            synced.map_err(|error| EngineError::Io(error.to_string()))?;
        }
        Ok(opened)
    }

    /// Opens a database that was made before: its file is there, and holds what it held. Reads all of it.
    ///
    /// # Errors
    /// As [`Self::open`]; what is damaged is named.
    pub fn open_made(folder: &Path) -> Result<Self, EngineError> {
        let file = file(folder);
        if !file.exists() {
            return Err(EngineError::Corrupt(format!("{}: the file is missing", file.display())));
        }
        let mut engine = Self::open(folder)?;
        let checked = EngineError::caught(
            || format!("checking {}", file.display()),
            || engine.database.check_integrity().map_err(EngineError::from),
        );
        match checked.map_err(|error| at(&file, error))? {
            true => Ok(engine),
            false => Err(EngineError::Corrupt(format!("{}: its checksums differ", file.display()))),
        }
    }

    /// The same of one that was closed in order, without a look at all of it.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(super) fn open_unread(folder: &Path) -> Result<Self, EngineError> {
        if !Self::is_in(folder) {
            let file = file(folder);
            return Err(EngineError::Corrupt(format!("{}: the file is missing", file.display())));
        }
        Self::open(folder)
    }

    /// Whether a database of this engine lies in `folder`.
    pub(super) fn is_in(folder: &Path) -> bool {
        file(folder).exists()
    }

    fn write(&self, writes: Vec<Write>, durability: Durability) -> Result<(), EngineError> {
        check_keys(&writes)?;
        let mut writing = self.database.begin_write().map_err(transaction)?;
        let set = writing.set_durability(durability);
        set.map_err(|error| EngineError::Io(error.to_string()))?;
        {
            let mut tables = Vec::with_capacity(TABLES.len());
            for table in TABLES {
                tables.push(writing.open_table(table).map_err(table_error)?);
            }
            for Write { space, key, value } in writes {
                let table = &mut tables[space as usize];
                match value {
                    Some(value) => drop(table.insert(&key[..], &value[..])?),
                    None => drop(table.remove(&key[..])?),
                }
            }
        }
        writing.commit().map_err(|error| match error {
            redb::CommitError::Storage(error) => error.into(),
            other => EngineError::Io(other.to_string()),
        })
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

/// The error with the file that it is about.
fn at(file: &Path, error: EngineError) -> EngineError {
    match error {
        EngineError::Corrupt(why) => EngineError::Corrupt(format!("{}: {why}", file.display())),
        other => other,
    }
}

impl Engine for RedbEngine {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        if check_key(key).is_err() {
            return Ok(None);
        }
        let at = || format!("reading {} {:?}", space.name(), Bytes::copy_from_slice(key));
        EngineError::caught(at, || {
            let read = self.database.begin_read().map_err(transaction)?;
            let table = read.open_table(TABLES[space as usize]).map_err(table_error)?;
            let found = table.get(key)?;
            Ok(found.map(|value| Bytes::copy_from_slice(value.value())))
        })
    }

    fn scan(&self, space: Space, from: &[u8], visit: Visit<'_>) -> Result<(), EngineError> {
        let at = || format!("listing {}", space.name());
        EngineError::caught(at, || {
            let read = self.database.begin_read().map_err(transaction)?;
            let table = read.open_table(TABLES[space as usize]).map_err(table_error)?;
            for entry in table.range(from..)? {
                let (key, value) = entry?;
                if !visit(key.value(), value.value()) {
                    break;
                }
            }
            Ok(())
        })
    }

    fn commit(&self, writes: Vec<Write>) -> Result<(), EngineError> {
        self.write(writes, Durability::Immediate)
    }

    fn commit_buffered(&self, writes: Vec<Write>) -> Result<(), EngineError> {
        self.write(writes, Durability::None)
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.write(Vec::new(), Durability::Immediate)
    }
}

impl fmt::Debug for RedbEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbEngine").finish_non_exhaustive()
    }
}

impl From<StorageError> for EngineError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Corrupted(why) => Self::Corrupt(why),
            other => Self::Io(other.to_string()),
        }
    }
}

impl From<DatabaseError> for EngineError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::Locked,
            DatabaseError::Storage(error) => error.into(),
            other => Self::Corrupt(other.to_string()),
        }
    }
}

fn transaction(error: TransactionError) -> EngineError {
    match error {
        TransactionError::Storage(error) => error.into(),
        other => EngineError::Io(other.to_string()),
    }
}

fn table_error(error: redb::TableError) -> EngineError {
    match error {
        redb::TableError::Storage(error) => error.into(),
        other => EngineError::Corrupt(other.to_string()),
    }
}
