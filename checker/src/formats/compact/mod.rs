//! The compact form: a history in a few bytes a line, for the large ones.
//!
//! It holds exactly what the JSON lines hold, in little space (of a million reads and writes 8.5 MB
//! instead of 186), and is read many times faster. All integers are unsigned LEB128 varints but for
//! the fixed ones of the frame.
//!
//! ```text
//! file   = magic[8] version[1] (block | state)* end
//! block  = length[4, LE, > 0] crc32c-of-payload[4, LE] payload
//! state  = 2^31 + length[4, LE] crc32c-of-payload[4, LE] payload
//! end    = 0[4] crc32c-of-count[4, LE] count-of-lines[8, LE]
//! payload = row*                          a row never crosses blocks
//! row    = shape [process] time-delta [key] [value] [context] [error] [node] [extra]
//! ```
//!
//! A **shape** is a kind, an `f` and which fields follow; a row names it by number, and the number
//! one past the last introduces a new one: `kind[1] flags f-length f`. A field can also be *the
//! same as that of the open invocation* of the process, and then takes no space.
//!
//! A **process** is named by slot: 0 introduces one (its number follows), which takes the slot freed
//! last, or a new one; s > 0 is slot s - 1. An `info` line frees its slot. So the numbers stay as
//! small as the concurrency is.
//!
//! **Keys, errors, nodes and extras** are dictionaries of strings: n > 0 is the n-th last entry,
//! 0 introduces one: `length bytes`. **Values** are a dictionary for each key, since what is read
//! was mostly written lately: 0 introduces one, and then 0 `length JSON-text`, or 1 + the zigzag of
//! an integer's difference to the key's last new integer.
//!
//! A **state** repeats all that rows are read by: processes, counts of dictionaries, time. Whoever
//! reads on need not read it, and whoever begins there need not read what comes before: so a large
//! file is read on all cores, and the few rows of a witness are read again without the others. There
//! is none where it would take more than a sixteenth of the file.
//!
//! A **context** is given as the distance back from the row's own index.
//!
//! What is cut short is read as far as whole blocks go, as a torn JSON line is. What is damaged
//! ends in an error that names the place: memory stays in proportion to the bytes read and is
//! watched.

use std::io;

use crate::history::HistoryError;
use crate::history::op::Kind;
use crate::judge::budget::Exhausted;

mod blocks;
mod cursor;
mod known;
mod ops;
mod pieces;
mod row;
mod rows;
mod writer;

pub use ops::{Reader, read};
pub(crate) use pieces::{Piece, Pieces, Told};
pub(crate) use row::{Dictionary, Listener, Literal, NEMESIS, NO_VALUE, Refused, Row};
pub(crate) use rows::{Place, Rows};
pub(crate) use writer::Room;
pub use writer::{Layout, Writer};

/// The first bytes of a file: not text, and broken by whatever translates line ends.
pub const MAGIC: [u8; 8] = *b"\x89DYNH\r\n\x1a";

/// The version after the magic.
pub const VERSION: u8 = 1;

/// A block is closed when it is so long: small enough for the nearest cache.
const BLOCK: usize = 64 << 10;

/// This bit of a block's length says that it is no rows but a state.
const STATE: u32 = 1 << 31;

/// States are so far apart at least: the rows between them are read by one core, and what they tell
/// is still in its cache when that is looked at.
const BETWEEN_STATES: usize = 128 << 10;

/// A state takes one part in so many of the file.
const STATE_SHARE: usize = 16;

/// No state is longer: it is in memory beside the rows up to it.
const LONGEST_STATE: usize = 256 << 10;

/// No string or value is longer: the same bound as for a JSON line.
const LONGEST: usize = 16 << 20;

/// No block is longer: one over-long row may stand at its end.
const LONGEST_BLOCK: usize = BLOCK + 4 * LONGEST;

/// Is it a compact history, by its first bytes?
pub fn is_compact(head: &[u8]) -> bool {
    head.starts_with(&MAGIC)
}

/// Why a compact history could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// The stream could not be read or written.
    #[error("reading the history: {0}")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("this is no compact history: it does not begin with its magic bytes")]
    Other,
    /// It is of another version.
    #[error("this compact history is of version {0}; version {VERSION} is known here")]
    Version(u8),
    /// Its bytes are damaged.
    #[error("byte {at}: {what}")]
    Damaged {
        /// About where, from the beginning of the file.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The ops do not make a history.
    #[error(transparent)]
    Malformed(#[from] HistoryError),
    /// The budget did not suffice.
    #[error("{exhausted} while reading: {ops} ops were read")]
    Budget {
        /// Which bound.
        exhausted: Exhausted,
        /// How far it got.
        ops: u64,
    },
}

/// Which fields a row has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Flags(u16);

impl Flags {
    const NEMESIS: Self = Self(1);
    const KEY: Self = Self(1 << 1);
    const KEY_OPEN: Self = Self(1 << 2);
    const VALUE: Self = Self(1 << 3);
    const VALUE_OPEN: Self = Self(1 << 4);
    const CONTEXT: Self = Self(1 << 5);
    const CONTEXT_OPEN: Self = Self(1 << 6);
    const ERROR: Self = Self(1 << 7);
    const NODE: Self = Self(1 << 8);
    const NODE_OPEN: Self = Self(1 << 9);
    const FINAL: Self = Self(1 << 10);
    const EXTRA: Self = Self(1 << 11);
    const ALL: u16 = (1 << 12) - 1;

    const fn and(self, flag: Self) -> Self {
        Self(self.0 | flag.0)
    }

    fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    /// Neither error nor node nor other fields.
    fn is_plain(self) -> bool {
        const REST: u16 = Flags::ERROR.0 | Flags::NODE.0 | Flags::NODE_OPEN.0 | Flags::EXTRA.0;
        self.0 & REST == 0
    }

    fn set(&mut self, flag: Self) {
        self.0 |= flag.0;
    }
}

const KINDS: [Kind; 4] = [Kind::Invoke, Kind::Ok, Kind::Fail, Kind::Info];

fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)).cast_unsigned()
}

fn unzigzag(n: u64) -> i64 {
    (n >> 1).cast_signed() ^ -((n & 1).cast_signed())
}

/// Integers whose differences are coded: further apart they are written as text.
const SMALL: std::ops::Range<i64> = -(1 << 60)..1 << 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zigzag_goes_there_and_back() {
        for n in [0, -1, 1, i64::MAX, i64::MIN, 1 << 60] {
            assert_eq!(unzigzag(zigzag(n)), n);
        }
        assert_eq!([zigzag(0), zigzag(-1), zigzag(1)], [0, 1, 2]);
    }
}
