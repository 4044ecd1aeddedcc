//! Fjall's files, checked before fjall reads them.
//!
//! Fjall keeps a checksum of every table and of every version of a tree's list of tables, but opens them
//! unverified: a flipped bit there asks for gigabytes, or trips an assertion; a missing pointer to the list
//! makes it delete the tree. Here all of it is verified, in the order of the pointers: `current` names a
//! list and its checksum, the list names tables and theirs. Journals have checksums that fjall does check;
//! of them only the sizes are looked at, which it believes. Reads all tables, once; of a database that was
//! closed in order none, but that they are there.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3Default;

use super::{EngineError, Space};

/// How much a length in a journal may ask for in vain: below this nobody is hurt.
const HARMLESS: u64 = 64 << 20;
/// How many times smaller than itself a compressed value is at most.
const COMPRESSION: u64 = 256;

type Checked<T = ()> = Result<T, EngineError>;

/// What is looked at of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tables {
    /// All that they hold.
    Read,
    /// Whether they are there.
    Listed,
}

/// Checks a folder in which fjall has worked before.
pub(super) fn check(folder: &Path, tables: Tables) -> Checked {
    present(&folder.join("version"))?;
    // Of no meaning but that fjall wants it: the directory has a lock of its own.
    let lock = folder.join("lock");
    if !lock.exists() {
        File::create(&lock).map_err(io_error(&lock))?;
    }
    let mut trees = Vec::new();
    for entry in list(&folder.join("keyspaces"))? {
        if entry.is_dir() {
            trees.push(entry);
        }
    }
    // Fjall's own, and ours.
    let expected = Space::ALL.len() + 1;
    if trees.len() < expected {
        let what = format!("{} trees are there, and there were {expected}", trees.len());
        return Err(damaged(&folder.join("keyspaces"), &what));
    }
    trees.iter().try_for_each(|tree| check_tree(tree, tables))?;
    let is_journal = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "jnl");
    let journals: Vec<_> = list(folder)?.into_iter().filter(is_journal).collect();
    if journals.is_empty() {
        return Err(damaged(folder, "there is no journal"));
    }
    journals.iter().try_for_each(|journal| check_journal(journal))
}

/// One tree: its pointer, the list of its tables, the tables.
fn check_tree(tree: &Path, look: Tables) -> Checked {
    let pointer = tree.join("current");
    let bytes = small(&pointer)?;
    let parsed = Fields(&bytes).pointer().filter(|(_, rest)| rest.is_empty());
    let ((version, sum), _) = parsed.ok_or_else(|| damaged(&pointer, "it is no pointer"))?;
    let list = tree.join(format!("v{version}"));
    verify(&list, sum)?;
    let malformed = || damaged(&list, "it is no list of tables");
    let archive = sfa::Reader::new(&list).map_err(|_| malformed())?;
    let section = archive.toc().section(b"tables").ok_or_else(malformed)?;
    let mut bytes = Vec::new();
    let mut reader = section.buf_reader(&list).map_err(io_error(&list))?;
    reader.read_to_end(&mut bytes).map_err(io_error(&list))?;
    let tables = Fields(&bytes).tables().ok_or_else(malformed)?;
    tables.into_iter().try_for_each(|(table, sum)| {
        let table = tree.join("tables").join(table.to_string());
        match look {
            Tables::Read => verify(&table, sum),
            Tables::Listed => present(&table),
        }
    })
}

/// Checks the checksum of a whole file.
fn verify(path: &Path, sum: u128) -> Checked {
    present(path)?;
    let mut reader = BufReader::with_capacity(1 << 20, File::open(path).map_err(io_error(path))?);
    let mut hasher = Xxh3Default::new();
    loop {
        let bytes = reader.fill_buf().map_err(io_error(path))?;
        if bytes.is_empty() {
            break;
        }
        hasher.update(bytes);
        let read = bytes.len();
        reader.consume(read);
    }
    if hasher.digest128() == sum { Ok(()) } else { Err(damaged(path, "its checksum is wrong")) }
}

/// Walks over the entries of a journal as far as fjall would, and refuses lengths that nobody wrote.
fn check_journal(path: &Path) -> Checked {
    let file = File::open(path).map_err(io_error(path))?;
    let length = file.metadata().map_err(io_error(path))?.len();
    let mut reader = BufReader::new(file);
    let mut at = 0;
    loop {
        match entry(&mut reader) {
            Ok(Some(Entry { head, key, value, unpacked })) => {
                let left = length.saturating_sub(at + head + key);
                if value > left.max(HARMLESS)
                    || unpacked > value.saturating_mul(COMPRESSION).max(HARMLESS)
                {
                    let what = format!(
                        "the entry at byte {at} claims to have {} bytes",
                        value.max(unpacked)
                    );
                    return Err(damaged(path, &what));
                }
                at += head + key + value;
                if at >= length {
                    return Ok(());
                }
                let rest =
                    i64::try_from(key + value).map_err(|_| damaged(path, "it is too long"))?;
                reader.seek_relative(rest).map_err(io_error(path))?;
            }
            // Its end, or where fjall stops to read.
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(io_error(path)(error)),
        }
    }
}

/// The lengths of one entry of a journal, in bytes.
struct Entry {
    head: u64,
    key: u64,
    value: u64,
    unpacked: u64,
}

fn entry(reader: &mut impl Read) -> io::Result<Option<Entry>> {
    let mut tag = [0];
    reader.read_exact(&mut tag)?;
    // What follows the tag, but for keys and values: begin, item, end, clear.
    let head = match tag[0] {
        1 => 4 + 8,
        2 => 1 + 1 + 8 + 2 + 4 + 4,
        3 => 8 + 4,
        4 => 8,
        _ => return Ok(None),
    };
    let mut bytes = [0; 20];
    let bytes = &mut bytes[..head];
    reader.read_exact(bytes)?;
    let head = head as u64 + 1;
    if tag[0] != 2 {
        return Ok(Some(Entry { head, key: 0, value: 0, unpacked: 0 }));
    }
    let mut fields = Fields(&bytes[10..]);
    let lengths = (|| {
        let key = fields.take::<2>().map(u16::from_le_bytes)?;
        let unpacked = fields.take::<4>().map(u32::from_le_bytes)?;
        Some((key, unpacked, fields.take::<4>().map(u32::from_le_bytes)?))
    })();
    Ok(lengths.map(|(key, unpacked, value)| {
        let (key, unpacked, value) = (u64::from(key), u64::from(unpacked), u64::from(value));
        Entry { head, key, value, unpacked }
    }))
}

/// Little-endian fields, taken one by one.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    /// The number of a version, and its checksum.
    fn pointer(mut self) -> Option<((u64, u128), &'a [u8])> {
        let version = self.take().map(u64::from_le_bytes)?;
        let sum = self.sum()?;
        Some(((version, sum), self.0))
    }

    /// A checksum and its kind, of which there is one.
    fn sum(&mut self) -> Option<u128> {
        let sum = self.take().map(u128::from_le_bytes)?;
        (self.take::<1>()? == [0]).then_some(sum)
    }

    /// Tables by level and run: number, kind of checksum, checksum, sequence number.
    fn tables(mut self) -> Option<Vec<(u64, u128)>> {
        let mut tables = Vec::new();
        let [levels] = self.take()?;
        for _ in 0..levels {
            let [runs] = self.take()?;
            for _ in 0..runs {
                for _ in 0..u32::from_le_bytes(self.take()?) {
                    let table = self.take().map(u64::from_le_bytes)?;
                    if self.take()? != [0_u8] {
                        return None;
                    }
                    tables.push((table, u128::from_le_bytes(self.take()?)));
                    self.take::<8>()?;
                }
            }
        }
        Some(tables)
    }
}

/// Reads a file that cannot be large.
fn small(path: &Path) -> Checked<Vec<u8>> {
    present(path)?;
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(io_error(path))?;
    file.take(4096).read_to_end(&mut bytes).map_err(io_error(path))?;
    Ok(bytes)
}

fn present(path: &Path) -> Checked {
    match path.try_exists() {
        Ok(true) => Ok(()),
        Ok(false) => Err(damaged(path, "it is missing")),
        Err(error) => Err(io_error(path)(error)),
    }
}

fn list(folder: &Path) -> Checked<Vec<PathBuf>> {
    present(folder)?;
    let entries = fs::read_dir(folder).map_err(io_error(folder))?;
    entries.map(|entry| Ok(entry.map_err(io_error(folder))?.path())).collect()
}

fn damaged(path: &Path, what: &str) -> EngineError {
    EngineError::Corrupt(format!("{}: {what}", path.display()))
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> EngineError {
    move |error| EngineError::Io(format!("{}: {error}", path.display()))
}
