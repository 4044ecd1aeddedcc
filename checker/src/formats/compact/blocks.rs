//! The frame of a file: its head, its blocks and its end.

use std::io::Read;

use super::{CompactError, LONGEST_BLOCK, MAGIC, STATE, VERSION};

/// Reads a file block by block.
pub(super) struct Blocks<R> {
    reader: R,
    /// How far it has been read.
    pub(super) offset: u64,
}

/// What was read.
pub(super) enum Block {
    /// Rows.
    Rows,
    /// What is known between two rows.
    State,
    /// The end, with the count of rows.
    End(u64),
    /// The file was cut short: so many bytes of what comes next are there.
    Torn(u64),
}

impl<R: Read> Blocks<R> {
    /// Reads the head.
    pub(super) fn new(mut reader: R) -> Result<Self, CompactError> {
        let mut head = [0; MAGIC.len() + 1];
        let read = fill(&mut reader, &mut head)?;
        if read < head.len() || head[..MAGIC.len()] != MAGIC {
            return Err(CompactError::Other);
        }
        if head[MAGIC.len()] != VERSION {
            return Err(CompactError::Version(head[MAGIC.len()]));
        }
        Ok(Self { reader, offset: head.len() as u64 })
    }

    /// Goes on to a place that is known to be between two blocks; it is not before this one.
    pub(super) fn skip_to(&mut self, offset: u64) -> Result<(), CompactError> {
        let between = offset.saturating_sub(self.offset);
        let skipped = std::io::copy(&mut self.reader.by_ref().take(between), &mut std::io::sink())?;
        self.offset += skipped;
        if skipped < between { Err(self.damaged("the file has become shorter")) } else { Ok(()) }
    }

    /// Reads the next block, and appends its payload.
    pub(super) fn next(&mut self, payload: &mut Vec<u8>) -> Result<Block, CompactError> {
        let mut head = [0; 8];
        let read = fill(&mut self.reader, &mut head)?;
        if read < head.len() {
            return Ok(Block::Torn(read as u64));
        }
        let [a, b, c, d, e, f, g, h] = head;
        let (length, sum) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        if length == 0 {
            return self.end(sum);
        }
        let (is_state, length) = (length & STATE > 0, length & !STATE);
        if length as usize > LONGEST_BLOCK {
            return Err(self.damaged("a block longer than any that is written"));
        }
        // Only what is there is taken: a length that lies costs nothing.
        let begin = payload.len();
        let taken = self.reader.by_ref().take(u64::from(length)).read_to_end(payload)?;
        if taken < length as usize {
            payload.truncate(begin);
            return Ok(Block::Torn((read + taken) as u64));
        }
        if crc32c::crc32c(&payload[begin..]) != sum {
            return Err(self.damaged("the checksum of a block is not that of its bytes"));
        }
        self.offset += (read + taken) as u64;
        Ok(if is_state { Block::State } else { Block::Rows })
    }

    fn end(&mut self, sum: u32) -> Result<Block, CompactError> {
        let mut count = [0; 8];
        let read = fill(&mut self.reader, &mut count)?;
        if read < count.len() {
            return Ok(Block::Torn(read as u64 + 8));
        }
        if crc32c::crc32c(&count) != sum {
            return Err(self.damaged("the count at the end is not that of the lines"));
        }
        if fill(&mut self.reader, &mut [0])? > 0 {
            return Err(self.damaged("something stands after the end"));
        }
        Ok(Block::End(u64::from_le_bytes(count)))
    }

    #[cold]
    fn damaged(&self, what: &'static str) -> CompactError {
        CompactError::Damaged { at: self.offset, what }
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
