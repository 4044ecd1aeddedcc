//! Reads rows, one after the other.

use std::io::Read;

use super::CompactError;
use super::blocks::{Block, Blocks};
use super::cursor::{Cursor, Fault};
use super::known::Known;
use super::row::{Dictionary, Row};
use crate::history::Torn;

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
