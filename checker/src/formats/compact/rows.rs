//! Reads rows: names by number and no text, so that a checker that needs no text is not slowed.

use std::io::Read;

use super::CompactError;
use super::blocks::{Block, Blocks};
use super::cursor::{Cursor, Fault};
use super::known::Known;
use crate::history::Torn;
use crate::history::op::Kind;
use crate::judge::budget::Exhausted;

/// The slot of the nemesis.
pub(crate) const NEMESIS: u32 = u32::MAX;

/// The number of no key, value or string.
pub(crate) const NO_VALUE: u32 = u32::MAX;

/// One line of a history, by numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) index: u64,
    pub(crate) time: u64,
    /// The index of the first row of the same time: numbers in the order of times, and as equal.
    pub(crate) instant: u64,
    pub(crate) kind: Kind,
    /// Its `f`, among those of [`Rows::f`].
    pub(crate) f: u32,
    /// It is none of the nemesis.
    pub(crate) is_client: bool,
    pub(crate) slot: u32,
    pub(crate) process: u64,
    pub(crate) key: u32,
    /// Among the values of its key.
    pub(crate) value: u32,
    pub(crate) context: Option<u64>,
    pub(crate) error: u32,
    pub(crate) node: u32,
    pub(crate) extra: u32,
    pub(crate) is_final: bool,
    /// The invocation that it completes: its index and time.
    pub(crate) invoke: Option<(u64, u64)>,
    /// The instant of that.
    pub(crate) begun: u64,
    /// The value with which that began; without one there is nothing to be learnt from it.
    pub(crate) begun_value: u32,
}

impl Row {
    /// With nothing in it.
    pub(super) const NONE: Self = Self {
        index: 0,
        time: 0,
        instant: 0,
        kind: Kind::Invoke,
        f: 0,
        is_client: false,
        slot: NEMESIS,
        process: 0,
        key: NO_VALUE,
        value: NO_VALUE,
        context: None,
        error: NO_VALUE,
        node: NO_VALUE,
        extra: NO_VALUE,
        is_final: false,
        invoke: None,
        begun: 0,
        begun_value: NO_VALUE,
    };
}

/// A value as it is introduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Literal<'a> {
    Integer(i64),
    Json(&'a [u8]),
}

/// Who keeps the texts that rows name by number; numbers are given in order from 0.
pub(crate) trait Dictionary {
    /// A value of a key; the key is [`NO_VALUE`] for rows without one.
    fn value(&mut self, key: u32, value: Literal<'_>) -> Result<(), Refused>;
    fn key(&mut self, text: &[u8]) -> Result<(), Refused>;
    /// A new `f`.
    fn f(&mut self, _name: &str) {}
    fn error(&mut self, _text: &[u8]) -> Result<(), Refused> {
        Ok(())
    }
    fn node(&mut self, _text: &[u8]) -> Result<(), Refused> {
        Ok(())
    }
    fn extra(&mut self, _text: &[u8]) -> Result<(), Refused> {
        Ok(())
    }
}

/// Who is told of rows as they are read.
pub(crate) trait Listener: Dictionary {
    /// Takes a row in; `false` when it wants no more.
    fn row(&mut self, row: Row) -> bool;
}

/// Why a text is not kept.
pub(crate) enum Refused {
    Damaged(&'static str),
    Exhausted(Exhausted),
}

impl Refused {
    /// At about this byte of the file, after so many rows.
    #[cold]
    pub(super) fn at(self, at: u64, ops: u64) -> CompactError {
        match self {
            Self::Damaged(what) => CompactError::Damaged { at, what },
            Self::Exhausted(exhausted) => CompactError::Budget { exhausted, ops },
        }
    }
}

/// Reads rows from blocks.
pub(crate) struct Rows<R> {
    blocks: Blocks<R>,
    block: Vec<u8>,
    at: usize,
    known: Known,
    torn: Option<Torn>,
    ended: bool,
}

/// A place between two rows from which a file can be read: what is known there is written down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// The index of the row that comes next.
    pub(crate) index: u64,
    pub(super) offset: u64,
}

impl<R: Read> Rows<R> {
    /// Reads the head.
    pub(crate) fn new(reader: R) -> Result<Self, CompactError> {
        let blocks = Blocks::new(reader)?;
        let known = Known::nothing();
        Ok(Self { blocks, block: Vec::new(), at: 0, known, torn: None, ended: false })
    }

    /// Goes on at a place of the same file, which must not be before this one.
    pub(crate) fn skip_to(&mut self, place: Place) -> Result<(), CompactError> {
        self.block.clear();
        self.at = 0;
        self.blocks.skip_to(place.offset)?;
        let mut state = Vec::new();
        match self.blocks.next(&mut state)? {
            Block::State => {
                let known = Known::read(&state);
                self.known = known.map_err(|fault| fault.0.at(place.offset, place.index))?;
                Ok(())
            }
            _ => Err(self.faulty(Fault::damaged("the file has become another"))),
        }
    }

    /// How many values a key has had, by its place: that of rows without a key is the first.
    pub(crate) fn values(&self, place: u32) -> u32 {
        self.known.values(place)
    }

    /// The `f` of a number.
    pub(crate) fn f(&self, f: u32) -> &str {
        &self.known.fs[f as usize]
    }

    /// What was cut short at the end, if something was.
    pub(crate) fn torn(&self) -> Option<Torn> {
        self.torn
    }

    /// How many rows were read.
    pub(crate) fn count(&self) -> u64 {
        self.known.index
    }

    /// The next row. Inlined, so that what a checker does not look at is not even put together.
    #[inline(always)]
    pub(crate) fn next_row(
        &mut self,
        dictionary: &mut impl Dictionary,
    ) -> Result<Option<Row>, CompactError> {
        if self.at == self.block.len() && !self.has_more()? {
            return Ok(None);
        }
        let mut cursor = Cursor { bytes: &self.block, at: self.at };
        let row = self.known.next(&mut cursor, dictionary);
        self.at = cursor.at;
        row.map(Some).map_err(|fault| self.faulty(fault))
    }

    /// About where the row at hand stands in the file.
    fn place(&self) -> u64 {
        self.blocks.offset - (self.block.len() - self.at) as u64
    }

    #[cold]
    fn has_more(&mut self) -> Result<bool, CompactError> {
        while self.at == self.block.len() {
            if self.ended || !self.next_block()? {
                self.ended = true;
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn next_block(&mut self) -> Result<bool, CompactError> {
        self.block.clear();
        self.at = 0;
        match self.blocks.next(&mut self.block)? {
            Block::Rows => return Ok(true),
            Block::State => {
                let as_written = self.known.is(&self.block);
                self.block.clear();
                as_written.map_err(|fault| self.faulty(fault))?;
                return Ok(true);
            }
            Block::End(count) => {
                self.known.counts(count).map_err(|fault| self.faulty(fault))?;
            }
            Block::Torn(bytes) => self.torn = Some(Torn { line: self.known.index + 1, bytes }),
        }
        Ok(false)
    }

    #[cold]
    fn faulty(&self, fault: Fault) -> CompactError {
        fault.0.at(self.place(), self.known.index)
    }
}
