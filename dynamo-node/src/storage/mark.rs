//! The high-water mark: a small file beside the engine that remembers how far the directory had come.
//!
//! An engine recovers to the last batch it can read. Whether that is the last that was durable it cannot
//! know: a journal that was cut, or has a flipped bit near its end, reads as one that was never longer.
//! The mark is written after each commit, once the commit is durable, and not synced (but now and then):
//! it never says more than the engine held. After the process was killed it is exact; after a power
//! cut it may say less, which proves nothing and harms nothing.
//!
//! Two slots, written in turn, so that one torn write leaves the other. The file's lock is the directory's.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use dynamo_protocol::Identity;

use super::state::State;

/// What a slot begins with: the last byte is the format.
const MAGIC: [u8; 8] = *b"dynmark\x01";
/// Magic, identity, births, position, whether the directory is made, checksum.
const SLOT: usize = 8 + 8 + 8 + 8 + 1 + 4;
/// From one slot to the next: they must not share a sector, or a page.
const STRIDE: u64 = 4096;
/// How often the mark itself is synced: what a power cut can take from it, about.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// A process that was killed lets go of its files only when it is gone.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// What a mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marked {
    /// The directory's identity.
    pub(super) identity: Identity,
    /// Births it had given out.
    pub(super) births: u64,
    /// The last batch known to be durable.
    pub(super) position: u64,
    /// Whether the directory was made; until then nothing was kept in it.
    pub(super) made: bool,
}

/// The file of a mark, locked.
#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    /// Which slot is written next.
    next: u64,
    synced: Instant,
}

/// What was found where a mark should be.
#[derive(Debug)]
pub(super) struct Found {
    /// The higher of the slots that can be read.
    pub(super) marked: Option<Marked>,
    /// Slots that were written once and cannot be read.
    pub(super) damaged: usize,
}

impl Marked {
    pub(super) fn of(state: &State, made: bool) -> Self {
        let (identity, births) = (state.meta.identity, state.meta.births);
        Self { identity, births, position: state.position, made }
    }

    fn encode(self) -> [u8; SLOT] {
        let mut slot = [0; SLOT];
        slot[..8].copy_from_slice(&MAGIC);
        slot[8..16].copy_from_slice(&self.identity.0.to_le_bytes());
        slot[16..24].copy_from_slice(&self.births.to_le_bytes());
        slot[24..32].copy_from_slice(&self.position.to_le_bytes());
        slot[32] = u8::from(self.made);
        let sum = crc32c::crc32c(&slot[..SLOT - 4]);
        slot[SLOT - 4..].copy_from_slice(&sum.to_le_bytes());
        slot
    }

    fn decode(slot: &[u8; SLOT]) -> Option<Self> {
        let (body, sum) = slot.split_last_chunk::<4>()?;
        if crc32c::crc32c(body).to_le_bytes() != *sum {
            return None;
        }
        let (magic, body) = body.split_first_chunk::<8>()?;
        let (identity, body) = body.split_first_chunk::<8>()?;
        let (births, body) = body.split_first_chunk::<8>()?;
        let (position, made) = body.split_first_chunk::<8>()?;
        (*magic == MAGIC).then(|| Self {
            identity: Identity(u64::from_le_bytes(*identity)),
            births: u64::from_le_bytes(*births),
            position: u64::from_le_bytes(*position),
            made: made != [0],
        })
    }
}

impl Mark {
    /// Opens and locks the mark at `path`, or an empty one.
    ///
    /// # Errors
    /// `WouldBlock` if another process has it; whatever the system says else.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Found)> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        lock(&file)?;
        let mut found = Found { marked: None, damaged: 0 };
        let mut next = 0;
        for at in [0, 1] {
            let mut slot = [0; SLOT];
            match file.read_exact_at(&mut slot, at * STRIDE) {
                Ok(()) if slot == [0; SLOT] => continue,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
                other => other?,
            }
            let Some(marked) = Marked::decode(&slot) else {
                found.damaged += 1;
                continue;
            };
            let higher = |than: Marked| (marked.made, marked.position) > (than.made, than.position);
            if found.marked.is_none_or(higher) {
                found.marked = Some(marked);
                next = 1 - at;
            }
        }
        Ok((Self { file, next, synced: Instant::now() }, found))
    }

    /// Says how far the directory has come. All of that must be durable.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(super) fn advance(&mut self, marked: Marked) -> io::Result<()> {
        self.file.write_all_at(&marked.encode(), self.next * STRIDE)?;
        self.next = 1 - self.next;
        if self.synced.elapsed() >= SYNC_EVERY {
            self.sync()?;
        }
        Ok(())
    }

    /// Says it in both slots, durably: nothing older may come to light again.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(super) fn settle(&mut self, marked: Marked) -> io::Result<()> {
        for at in [0, 1] {
            self.file.write_all_at(&marked.encode(), at * STRIDE)?;
        }
        self.file.sync_all()?;
        self.synced = Instant::now();
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.synced = Instant::now();
        Ok(())
    }
}

impl Drop for Mark {
    /// A node that ends leaves an exact mark, whatever happens to the power then.
    fn drop(&mut self) {
        if let Err(error) = self.sync() {
            tracing::warn!(%error, "syncing the mark");
        }
    }
}

fn lock(file: &File) -> io::Result<()> {
    let mut tries = 1;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if tries == LOCK_TRIES => {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
        }
        tries += 1;
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn marked(position: u64) -> Marked {
        Marked { identity: Identity(7), births: 3, position, made: true }
    }

    fn read(path: &Path) -> Found {
        Mark::open(path).unwrap().1
    }

    #[test]
    fn a_mark_says_the_last_that_was_said_and_one_damaged_slot_the_last_but_one() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("mark");
        let (mut mark, found) = Mark::open(&path).unwrap();
        assert!(found.marked.is_none() && found.damaged == 0);
        for position in 1..9 {
            mark.advance(marked(position)).unwrap();
        }
        drop(mark);
        assert_eq!(read(&path).marked, Some(marked(8)));
        let whole = std::fs::read(&path).unwrap();
        for at in (0..SLOT).chain(4096..4096 + SLOT) {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                std::fs::write(&path, &bytes).unwrap();
                let found = read(&path);
                assert_eq!(found.damaged, 1, "byte {at}");
                let position = found.marked.unwrap().position;
                assert!(position == 8 || position == 7, "byte {at}");
            }
        }
        // The mark goes on from the slot that was read.
        std::fs::write(&path, &whole).unwrap();
        let (mut mark, _) = Mark::open(&path).unwrap();
        mark.advance(marked(9)).unwrap();
        drop(mark);
        assert_eq!(read(&path).marked, Some(marked(9)));
    }

    #[test]
    fn a_settled_mark_is_in_both_slots() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("mark");
        let (mut mark, _) = Mark::open(&path).unwrap();
        mark.advance(marked(1)).unwrap();
        mark.settle(marked(2)).unwrap();
        drop(mark);
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes[..SLOT], bytes[4096..4096 + SLOT]);
    }
}
