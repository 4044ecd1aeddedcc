//! Reads rows: names by number and no text, so that a checker that needs no text is not slowed.

use std::io::Read;

use super::cursor::{Cursor, Fault};
use super::known::Known;
use super::{CompactError, LONGEST_BLOCK, MAGIC, VERSION};
use crate::budget::Exhausted;
use crate::history::Torn;
use crate::op::Kind;

/// The slot of the nemesis.
pub(crate) const NEMESIS: u32 = u32::MAX;

/// The number of no key, value or string.
pub(crate) const NO_VALUE: u32 = u32::MAX;

/// One line of a history, by numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) index: u64,
    pub(crate) time: u64,
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
    /// The value with which that began; without one there is nothing to be learnt from it.
    pub(crate) begun_value: u32,
}

impl Row {
    /// With nothing in it.
    pub(super) const NONE: Self = Self {
        index: 0,
        time: 0,
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

/// Reads rows from blocks.
pub(crate) struct Rows<R> {
    reader: R,
    block: Vec<u8>,
    at: usize,
    /// Where the block begins in the file.
    offset: u64,
    known: Known,
    torn: Option<Torn>,
    ended: bool,
}

/// A place between two blocks from which a file can be read again.
#[derive(Clone)]
pub(crate) struct Mark {
    offset: u64,
    known: Known,
}

impl Mark {
    /// The index of the row that comes next.
    pub(crate) fn index(&self) -> u64 {
        self.known.index
    }

    /// How many values of a key there were before, by its place: that of rows without a key is the
    /// first.
    pub(crate) fn values(&self, place: u32) -> u32 {
        self.known.values(place)
    }
}

impl<R: Read> Rows<R> {
    /// Reads the head.
    pub(crate) fn new(mut reader: R) -> Result<Self, CompactError> {
        let mut head = [0; MAGIC.len() + 1];
        let read = fill(&mut reader, &mut head)?;
        if read < head.len() || head[..MAGIC.len()] != MAGIC {
            return Err(CompactError::Other);
        }
        if head[MAGIC.len()] != VERSION {
            return Err(CompactError::Version(head[MAGIC.len()]));
        }
        Ok(Self::at(reader, head.len() as u64, Known::nothing()))
    }

    fn at(reader: R, offset: u64, known: Known) -> Self {
        Self { reader, block: Vec::new(), at: 0, offset, known, torn: None, ended: false }
    }

    /// Goes on from a mark of the same file, which `reader` gives from its beginning.
    pub(crate) fn from_mark(mut reader: R, mark: &Mark) -> Result<Self, CompactError> {
        let before = std::io::copy(&mut reader.by_ref().take(mark.offset), &mut std::io::sink())?;
        if before < mark.offset {
            return Err(CompactError::Other);
        }
        Ok(Self::at(reader, mark.offset, mark.known.clone()))
    }

    /// A mark, if the next row begins a block and what is known takes no more than so many bytes.
    pub(crate) fn mark(&self, most: usize) -> Option<Mark> {
        let between = self.is_between_blocks() && self.known.bytes() <= most;
        between.then(|| Mark {
            offset: self.offset + self.block.len() as u64,
            known: self.known.clone(),
        })
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

    /// Did a process begin something at the instant at which it ended what it did before?
    pub(crate) fn has_ties(&self) -> bool {
        self.known.has_ties
    }

    /// Did an operation end as another than it began as: by its name, its key or its context?
    pub(crate) fn has_others(&self) -> bool {
        self.known.has_others
    }

    /// Is the next row in another block than the last?
    #[inline(always)]
    pub(crate) fn is_between_blocks(&self) -> bool {
        self.at == self.block.len()
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

    /// Tells of rows until so many have been told of or a block ends; `false` when there are no more
    /// or the listener wants no more.
    #[inline(always)]
    pub(crate) fn tell(
        &mut self,
        listener: &mut impl Listener,
        most: u32,
    ) -> Result<bool, CompactError> {
        if self.is_between_blocks() && !self.has_more()? {
            return Ok(false);
        }
        let mut cursor = Cursor { bytes: &self.block, at: self.at };
        let mut told = Ok(true);
        for _ in 0..most {
            told = self.known.tell(&mut cursor, listener);
            if !matches!(told, Ok(true)) || cursor.at == cursor.bytes.len() {
                break;
            }
        }
        self.at = cursor.at;
        told.map_err(|fault| self.faulty(fault))
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
        self.offset += self.block.len() as u64;
        self.block.clear();
        self.at = 0;
        let mut head = [0; 8];
        let read = fill(&mut self.reader, &mut head)?;
        if read < head.len() {
            return Ok(self.cut_short(read));
        }
        let [a, b, c, d, e, f, g, h] = head;
        let (length, sum) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        if length == 0 {
            return self.end(sum).map(|()| false);
        }
        if length as usize > LONGEST_BLOCK {
            return Err(self.damaged("a block longer than any that is written"));
        }
        // Only what is there is taken: a length that lies costs nothing.
        let mut limited = self.reader.by_ref().take(u64::from(length));
        limited.read_to_end(&mut self.block)?;
        if self.block.len() < length as usize {
            let read = read + self.block.len();
            self.block.clear();
            return Ok(self.cut_short(read));
        }
        self.offset += head.len() as u64;
        if crc32c::crc32c(&self.block) != sum {
            return Err(self.damaged("the checksum of a block is not that of its bytes"));
        }
        Ok(true)
    }

    fn cut_short(&mut self, bytes: usize) -> bool {
        self.torn = Some(Torn { line: self.known.index + 1, bytes: bytes as u64 });
        false
    }

    fn end(&mut self, sum: u32) -> Result<(), CompactError> {
        let mut count = [0; 8];
        let read = fill(&mut self.reader, &mut count)?;
        if read < count.len() {
            self.cut_short(read + 8);
            return Ok(());
        }
        if crc32c::crc32c(&count) != sum || u64::from_le_bytes(count) != self.known.index {
            return Err(self.damaged("the count at the end is not that of the lines"));
        }
        if fill(&mut self.reader, &mut [0])? > 0 {
            return Err(self.damaged("something stands after the end"));
        }
        Ok(())
    }

    #[cold]
    fn faulty(&self, Fault(fault): Fault) -> CompactError {
        match *fault {
            Refused::Damaged(what) => self.damaged(what),
            Refused::Exhausted(exhausted) => {
                CompactError::Budget { exhausted, ops: self.known.index }
            }
        }
    }

    #[cold]
    fn damaged(&self, what: &'static str) -> CompactError {
        CompactError::Damaged { at: self.offset + self.at as u64, what }
    }
}

/// Reads until the buffer is full or the stream ends; gives how much there was.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> Result<usize, CompactError> {
    let mut read = 0;
    while read < buffer.len() {
        match reader.read(&mut buffer[read..]) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(read)
}
