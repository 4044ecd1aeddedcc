//! Reads rows: names by number and no text, so that a checker that needs no text is not slowed.

use std::io::Read;

use super::{CompactError, Flags, KINDS, LONGEST, LONGEST_BLOCK, MAGIC, SMALL, VERSION, unzigzag};
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

/// Why a text is not kept.
pub(crate) enum Refused {
    Damaged(&'static str),
    Exhausted(Exhausted),
}

#[derive(Clone, Copy)]
struct Shape {
    kind: Kind,
    f: u32,
    flags: Flags,
}

/// What is known of the values of one key.
#[derive(Clone, Copy, Default)]
struct KeyValues {
    count: u32,
    last_integer: i64,
}

/// A process and its open invocation; with none open that is [`Open::NONE`].
#[derive(Clone, Copy)]
struct Slot {
    process: u64,
    open: Open,
    /// When its last operation ended; [`NO_TIME`] before the first.
    ended: u64,
    free: bool,
}

/// No time of a history.
const NO_TIME: u64 = u64::MAX;

/// What a completion may take over from its invocation.
#[derive(Clone, Copy)]
struct Open {
    invoke: Option<(u64, u64)>,
    context: Option<u64>,
    key: u32,
    value: u32,
    node: u32,
}

impl Open {
    const NONE: Self =
        Self { invoke: None, context: None, key: NO_VALUE, value: NO_VALUE, node: NO_VALUE };
}

/// The fields that few rows have.
#[derive(Clone, Copy)]
struct Rest {
    error: u32,
    node: u32,
    extra: u32,
}

impl Rest {
    const NONE: Self = Self { error: NO_VALUE, node: NO_VALUE, extra: NO_VALUE };
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

/// What the rows so far have introduced: what the next one is read by.
#[derive(Clone)]
struct Known {
    index: u64,
    time: u64,
    shapes: Vec<Shape>,
    fs: Vec<String>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Of rows without a key first, then key by key.
    values: Vec<KeyValues>,
    keys: u32,
    errors: u32,
    nodes: u32,
    extras: u32,
    has_ties: bool,
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

    /// How many keys there were before.
    pub(crate) fn keys(&self) -> u32 {
        self.known.keys
    }

    /// How many values of a key there were before.
    pub(crate) fn values(&self, key: u32) -> u32 {
        self.known.values.get(key.wrapping_add(1) as usize).map_or(0, |values| values.count)
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
        let known = Known {
            index: 0,
            time: 0,
            shapes: Vec::new(),
            fs: Vec::new(),
            slots: Vec::new(),
            free: Vec::new(),
            values: vec![KeyValues::default()],
            keys: 0,
            errors: 0,
            nodes: 0,
            extras: 0,
            has_ties: false,
        };
        Ok(Self::at(reader, head.len() as u64, known))
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
        let Known { shapes, slots, free, values, .. } = &self.known;
        let bytes = size_of_val(&shapes[..])
            + size_of_val(&slots[..])
            + size_of_val(&free[..])
            + size_of_val(&values[..]);
        (self.at == self.block.len() && bytes <= most).then(|| Mark {
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
        let mut bytes = Bytes(&self.block[self.at..]);
        match self.known.row(&mut bytes, dictionary) {
            Ok(row) => {
                self.at = self.block.len() - bytes.0.len();
                Ok(Some(row))
            }
            Err(refused) => Err(self.refused(refused)),
        }
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
    fn refused(&self, refused: Refused) -> CompactError {
        match refused {
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

/// What is left of a block. It is kept in registers: so nothing that is not inlined is given its
/// address, but takes the bytes and gives what it leaves of them.
struct Bytes<'b>(&'b [u8]);

impl<'b> Bytes<'b> {
    /// A number of mostly one byte.
    #[inline(always)]
    fn varint(&mut self) -> Result<u64, Refused> {
        match self.0 {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.0 = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    /// A number of one to four bytes mostly: without a branch on how many.
    #[inline(always)]
    fn wide_varint(&mut self) -> Result<u64, Refused> {
        if let Some(four) = self.0.first_chunk::<4>() {
            let word = u32::from_le_bytes(*four);
            // The last byte of the number is the first without the high bit.
            let ends = !word & 0x8080_8080;
            if ends != 0 {
                let last = ends.trailing_zeros();
                let word = word & (u32::MAX >> (31 - last));
                self.0 = &self.0[last as usize / 8 + 1..];
                let low = (word & 0x7f) | ((word >> 1) & 0x3f80);
                let high = ((word >> 2) & 0x1f_c000) | ((word >> 3) & 0xfe0_0000);
                return Ok(u64::from(low | high));
            }
        }
        self.long_varint()
    }

    #[inline(always)]
    fn long_varint(&mut self) -> Result<u64, Refused> {
        let (number, rest) = long_varint(self.0)?;
        self.0 = rest;
        Ok(number)
    }

    fn text(&mut self) -> Result<&'b [u8], Refused> {
        let length = self.varint()?;
        if length > LONGEST as u64 || length > self.0.len() as u64 {
            return Err(Refused::Damaged("a text longer than its block"));
        }
        let (text, rest) = self.0.split_at(length as usize);
        self.0 = rest;
        Ok(text)
    }

    /// A number of a dictionary of `count` entries; `count` itself is a new one.
    #[inline(always)]
    fn reference(&mut self, count: u32) -> Result<u32, Refused> {
        number_of(count, self.varint()?)
    }
}

#[inline(always)]
fn number_of(count: u32, back: u64) -> Result<u32, Refused> {
    match u64::from(count).checked_sub(back) {
        // One number is that of nothing.
        Some(number) if number < u64::from(NO_VALUE) => Ok(number as u32),
        _ => Err(Refused::Damaged("an entry that was not introduced")),
    }
}

#[inline(never)]
fn long_varint(bytes: &[u8]) -> Result<(u64, &[u8]), Refused> {
    let mut number = 0_u64;
    for (at, shift) in (0..64).step_by(7).enumerate() {
        let Some(&byte) = bytes.get(at) else {
            return Err(Refused::Damaged("a row that goes past its block"));
        };
        if shift == 63 && byte > 1 {
            break;
        }
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok((number, &bytes[at + 1..]));
        }
    }
    Err(Refused::Damaged("a number of more than 64 bits"))
}

impl Known {
    #[inline(always)]
    fn row(
        &mut self,
        bytes: &mut Bytes<'_>,
        dictionary: &mut impl Dictionary,
    ) -> Result<Row, Refused> {
        let Shape { kind, f, flags } = self.shape(bytes)?;
        let (slot, process, open) = if flags.has(Flags::NEMESIS) {
            (NEMESIS, 0, Open::NONE)
        } else {
            let slot = self.process(bytes)?;
            let Slot { process, open, .. } = self.slots[slot as usize];
            (slot, process, open)
        };
        let delta = bytes.wide_varint()?;
        let Some(time) = self.time.checked_add(delta) else {
            return Err(Refused::Damaged("a time past the end of 64 bits"));
        };
        self.time = time;
        let mut key = NO_VALUE;
        if flags.has(Flags::KEY_OPEN) {
            key = open.key;
        } else if flags.has(Flags::KEY) {
            key = self.key(bytes, dictionary)?;
        }
        let mut value = NO_VALUE;
        if flags.has(Flags::VALUE_OPEN) {
            if open.key != key {
                return Err(Refused::Damaged("a value taken over from another key"));
            }
            value = open.value;
        } else if flags.has(Flags::VALUE) {
            value = self.value(key, bytes, dictionary)?;
        }
        let mut context = None;
        if flags.has(Flags::CONTEXT_OPEN) {
            context = open.context;
        } else if flags.has(Flags::CONTEXT) {
            // One from the future, which is nonsense but may be recorded, wraps.
            context = Some(self.index.wrapping_sub(bytes.wide_varint()?));
        }
        let mut rest = Rest::NONE;
        if !flags.is_plain() {
            (rest, bytes.0) = self.rest(flags, open.node, bytes.0, dictionary)?;
        }
        let Rest { error, node, extra } = rest;
        let index = self.index;
        self.index += 1;
        if slot != NEMESIS {
            let begun = Open { invoke: Some((index, time)), context, key, value, node };
            self.settle(slot, kind, begun, time);
        }
        let is_final = flags.has(Flags::FINAL);
        let invoke = open.invoke;
        Ok(Row {
            index,
            time,
            kind,
            f,
            slot,
            process,
            key,
            value,
            context,
            error,
            node,
            extra,
            is_final,
            invoke,
        })
    }

    /// Opens and frees a slot as a row says.
    #[inline(always)]
    fn settle(&mut self, slot: u32, kind: Kind, begun: Open, time: u64) {
        let settled = &mut self.slots[slot as usize];
        match kind {
            Kind::Invoke => {
                self.has_ties |= settled.ended == time;
                settled.open = begun;
            }
            Kind::Ok | Kind::Fail | Kind::Info => {
                settled.ended = time;
                settled.open = Open::NONE;
            }
        }
        if kind == Kind::Info {
            settled.free = true;
            self.free.push(slot);
        }
    }

    #[inline(never)]
    fn rest<'b>(
        &mut self,
        flags: Flags,
        open_node: u32,
        bytes: &'b [u8],
        dictionary: &mut impl Dictionary,
    ) -> Result<(Rest, &'b [u8]), Refused> {
        let mut bytes = Bytes(bytes);
        let mut rest = Rest::NONE;
        if flags.has(Flags::ERROR) {
            rest.error = bytes.reference(self.errors)?;
            if rest.error == self.errors {
                self.errors += 1;
                dictionary.error(bytes.text()?)?;
            }
        }
        if flags.has(Flags::NODE) {
            rest.node = bytes.reference(self.nodes)?;
            if rest.node == self.nodes {
                self.nodes += 1;
                dictionary.node(bytes.text()?)?;
            }
        } else if flags.has(Flags::NODE_OPEN) {
            rest.node = open_node;
        }
        if flags.has(Flags::EXTRA) {
            rest.extra = bytes.reference(self.extras)?;
            if rest.extra == self.extras {
                self.extras += 1;
                dictionary.extra(bytes.text()?)?;
            }
        }
        Ok((rest, bytes.0))
    }

    #[inline(always)]
    fn shape(&mut self, bytes: &mut Bytes<'_>) -> Result<Shape, Refused> {
        let number = bytes.varint()? as usize;
        if let Some(&shape) = self.shapes.get(number) {
            return Ok(shape);
        }
        let shape;
        (shape, bytes.0) = self.new_shape(number, bytes.0)?;
        Ok(shape)
    }

    #[cold]
    fn new_shape<'b>(
        &mut self,
        number: usize,
        bytes: &'b [u8],
    ) -> Result<(Shape, &'b [u8]), Refused> {
        let mut bytes = Bytes(bytes);
        if number != self.shapes.len() {
            return Err(Refused::Damaged("a shape that was not introduced"));
        }
        let kind = bytes.varint()? as usize;
        let flags = bytes.varint()?;
        let Some(&kind) = KINDS.get(kind) else {
            return Err(Refused::Damaged("a kind of no line"));
        };
        if flags > u64::from(Flags::ALL) {
            return Err(Refused::Damaged("fields that are not known"));
        }
        let Ok(name) = std::str::from_utf8(bytes.text()?).map(str::to_owned) else {
            return Err(Refused::Damaged("an f that is no text"));
        };
        let f = self.fs.iter().position(|known| *known == name).unwrap_or(self.fs.len());
        if f == self.fs.len() {
            self.fs.push(name);
        }
        let shape = Shape { kind, f: f as u32, flags: Flags(flags as u16) };
        self.shapes.push(shape);
        Ok((shape, bytes.0))
    }

    #[inline(always)]
    fn process(&mut self, bytes: &mut Bytes<'_>) -> Result<u32, Refused> {
        let code = bytes.varint()?;
        if let Some(slot) = code.checked_sub(1) {
            return match self.slots.get(slot as usize) {
                Some(Slot { free: false, .. }) => Ok(slot as u32),
                _ => Err(Refused::Damaged("a process that was not introduced")),
            };
        }
        let process = bytes.wide_varint()?;
        Ok(self.new_process(process))
    }

    #[inline(never)]
    fn new_process(&mut self, process: u64) -> u32 {
        let new = Slot { process, open: Open::NONE, ended: NO_TIME, free: false };
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = new;
            return slot;
        }
        self.slots.push(new);
        self.slots.len() as u32 - 1
    }

    #[inline(always)]
    fn key(
        &mut self,
        bytes: &mut Bytes<'_>,
        dictionary: &mut impl Dictionary,
    ) -> Result<u32, Refused> {
        let key = number_of(self.keys, bytes.wide_varint()?)?;
        if key == self.keys {
            bytes.0 = self.new_key(bytes.0, dictionary)?;
        }
        Ok(key)
    }

    #[cold]
    fn new_key<'b>(
        &mut self,
        bytes: &'b [u8],
        dictionary: &mut impl Dictionary,
    ) -> Result<&'b [u8], Refused> {
        let mut bytes = Bytes(bytes);
        self.keys += 1;
        self.values.push(KeyValues::default());
        dictionary.key(bytes.text()?)?;
        Ok(bytes.0)
    }

    #[inline(always)]
    fn value(
        &mut self,
        key: u32,
        bytes: &mut Bytes<'_>,
        dictionary: &mut impl Dictionary,
    ) -> Result<u32, Refused> {
        let place = key.wrapping_add(1) as usize;
        let KeyValues { count, last_integer } = self.values[place];
        let value = bytes.reference(count)?;
        if value < count {
            return Ok(value);
        }
        match bytes.wide_varint()?.checked_sub(1) {
            None => bytes.0 = text_value(key, bytes.0, dictionary)?,
            Some(difference) => {
                let integer = last_integer.checked_add(unzigzag(difference));
                let Some(integer) = integer.filter(|integer| SMALL.contains(integer)) else {
                    return Err(Refused::Damaged("an integer past its bounds"));
                };
                self.values[place].last_integer = integer;
                dictionary.value(key, Literal::Integer(integer))?;
            }
        }
        self.values[place].count += 1;
        Ok(value)
    }
}

#[inline(never)]
fn text_value<'b>(
    key: u32,
    bytes: &'b [u8],
    dictionary: &mut impl Dictionary,
) -> Result<&'b [u8], Refused> {
    let mut bytes = Bytes(bytes);
    dictionary.value(key, Literal::Json(bytes.text()?))?;
    Ok(bytes.0)
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
