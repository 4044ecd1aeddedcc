//! Reads numbers and texts from the bytes of a block.

use super::LONGEST;
use super::row::Refused;

/// A place in a block. It is handed about by value, and what is seldom called gives back where it
/// went on to: so the place stays in a register, and no number waits for memory to be read.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

/// Why a row cannot be read. Small, since it comes with every number.
pub(super) struct Fault(pub(super) Box<Refused>);

impl Fault {
    #[cold]
    pub(super) fn damaged(what: &'static str) -> Self {
        Self(Box::new(Refused::Damaged(what)))
    }
}

impl<'a> Cursor<'a> {
    /// A number, of one byte mostly.
    #[inline(always)]
    pub(super) fn varint(&mut self) -> Result<u64, Fault> {
        match self.bytes.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    /// A number, of up to four bytes mostly. Of how many is as good as random: so there is no jump
    /// by it.
    #[inline(always)]
    pub(super) fn wide_varint(&mut self) -> Result<u64, Fault> {
        let Some(&[a, b, c, d, ..]) = self.bytes.get(self.at..) else {
            return self.long_varint();
        };
        match short_varint(u32::from_le_bytes([a, b, c, d])) {
            Some((number, length)) => {
                self.at += length;
                Ok(u64::from(number))
            }
            None => self.long_varint(),
        }
    }

    /// The eight bytes after so many, if they are in the block.
    #[inline(always)]
    pub(super) fn word(&self, after: usize) -> Option<u64> {
        let bytes = self.bytes.get(self.at + after..)?.first_chunk()?;
        Some(u64::from_le_bytes(*bytes))
    }

    #[inline(always)]
    fn long_varint(&mut self) -> Result<u64, Fault> {
        let (number, at) = long_varint(*self)?;
        self.at = at;
        Ok(number)
    }

    /// A number of a dictionary of `count` entries; `count` itself is a new one.
    #[inline(always)]
    pub(super) fn reference(&mut self, count: u32) -> Result<u32, Fault> {
        let back = self.varint()?;
        self.number_of(count, back)
    }

    /// The number of the entry that stands so far back.
    #[inline(always)]
    pub(super) fn number_of(&self, count: u32, back: u64) -> Result<u32, Fault> {
        // A count is never so high that it is the number of nothing: that is seen to when one more
        // is kept.
        match u64::from(count).checked_sub(back) {
            Some(number) => Ok(number as u32),
            None => Err(Fault::damaged("an entry that was not introduced")),
        }
    }

    /// A text with its length before it.
    pub(super) fn text(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.varint()? as usize;
        if length > LONGEST || length > self.bytes.len() - self.at {
            return Err(Fault::damaged("a text longer than its block"));
        }
        let from = self.at;
        self.at += length;
        Ok(&self.bytes[from..self.at])
    }
}

/// The number in the first bytes of these, and how many they are; `None` when it is longer.
#[inline(always)]
pub(super) fn short_varint(bytes: u32) -> Option<(u32, usize)> {
    let ends = !bytes & 0x8080_8080;
    if ends == 0 {
        return None;
    }
    let length = ends.trailing_zeros() as usize / 8 + 1;
    // The bytes up to the last of it, and of those all bits but the highest.
    let bytes = bytes & (ends ^ (ends - 1));
    let low = bytes & 0x7f | (bytes & 0x7f00) >> 1;
    let high = (bytes & 0x7f_0000) >> 2 | (bytes & 0x7f00_0000) >> 3;
    Some((low | high, length))
}

#[inline(never)]
fn long_varint(mut cursor: Cursor<'_>) -> Result<(u64, usize), Fault> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let Some(&byte) = cursor.bytes.get(cursor.at) else {
            return Err(Fault::damaged("a row that goes past its block"));
        };
        cursor.at += 1;
        if shift == 63 && byte > 1 {
            break;
        }
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok((number, cursor.at));
        }
    }
    Err(Fault::damaged("a number of more than 64 bits"))
}
