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
    has_other_keys: bool,
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
        self.known.values.get(place as usize).map_or(0, |values| values.count)
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
            has_other_keys: false,
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

    /// Did an operation end on another key than it began on?
    pub(crate) fn has_other_keys(&self) -> bool {
        self.known.has_other_keys
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
        self.row(dictionary).map(Some)
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

    #[inline(always)]
    fn row(&mut self, dictionary: &mut impl Dictionary) -> Result<Row, CompactError> {
        let Shape { kind, f, flags } = self.shape()?;
        let (slot, process, open) = if flags.has(Flags::NEMESIS) {
            (NEMESIS, 0, Open::NONE)
        } else {
            let slot = self.process()?;
            let Slot { process, open, .. } = self.known.slots[slot as usize];
            (slot, process, open)
        };
        let delta = self.wide_varint()?;
        let Some(time) = self.known.time.checked_add(delta) else {
            return Err(self.damaged("a time past the end of 64 bits"));
        };
        self.known.time = time;
        let mut key = NO_VALUE;
        if flags.has(Flags::KEY_OPEN) {
            key = open.key;
        } else {
            if flags.has(Flags::KEY) {
                key = self.key(dictionary)?;
            }
            self.known.has_other_keys |= open.invoke.is_some() && key != open.key;
        }
        let mut value = NO_VALUE;
        if flags.has(Flags::VALUE_OPEN) {
            if open.key != key {
                return Err(self.damaged("a value taken over from another key"));
            }
            value = open.value;
        } else if flags.has(Flags::VALUE) {
            value = self.value(key, dictionary)?;
        }
        let mut context = None;
        if flags.has(Flags::CONTEXT_OPEN) {
            context = open.context;
        } else if flags.has(Flags::CONTEXT) {
            // One from the future, which is nonsense but may be recorded, wraps.
            context = Some(self.known.index.wrapping_sub(self.wide_varint()?));
        }
        let Rest { error, node, extra } =
            if flags.is_plain() { Rest::NONE } else { self.rest(flags, open.node, dictionary)? };
        let index = self.known.index;
        self.known.index += 1;
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
        let settled = &mut self.known.slots[slot as usize];
        match kind {
            Kind::Invoke => {
                self.known.has_ties |= settled.ended == time;
                settled.open = begun;
            }
            Kind::Ok | Kind::Fail | Kind::Info => {
                settled.ended = time;
                settled.open = Open::NONE;
            }
        }
        if kind == Kind::Info {
            settled.free = true;
            self.known.free.push(slot);
        }
    }

    #[inline(never)]
    fn rest(
        &mut self,
        flags: Flags,
        open_node: u32,
        dictionary: &mut impl Dictionary,
    ) -> Result<Rest, CompactError> {
        let mut rest = Rest::NONE;
        if flags.has(Flags::ERROR) {
            rest.error = self.reference(self.known.errors)?;
            if rest.error == self.known.errors {
                self.known.errors += 1;
                let kept = dictionary.error(self.bytes()?);
                self.kept(kept)?;
            }
        }
        if flags.has(Flags::NODE) {
            rest.node = self.reference(self.known.nodes)?;
            if rest.node == self.known.nodes {
                self.known.nodes += 1;
                let kept = dictionary.node(self.bytes()?);
                self.kept(kept)?;
            }
        } else if flags.has(Flags::NODE_OPEN) {
            rest.node = open_node;
        }
        if flags.has(Flags::EXTRA) {
            rest.extra = self.reference(self.known.extras)?;
            if rest.extra == self.known.extras {
                self.known.extras += 1;
                let kept = dictionary.extra(self.bytes()?);
                self.kept(kept)?;
            }
        }
        Ok(rest)
    }

    #[inline(always)]
    fn shape(&mut self) -> Result<Shape, CompactError> {
        let number = self.varint()? as usize;
        match self.known.shapes.get(number) {
            Some(&shape) => Ok(shape),
            None => self.new_shape(number),
        }
    }

    #[cold]
    fn new_shape(&mut self, number: usize) -> Result<Shape, CompactError> {
        if number != self.known.shapes.len() {
            return Err(self.damaged("a shape that was not introduced"));
        }
        let kind = self.varint()? as usize;
        let flags = self.varint()?;
        let Some(&kind) = KINDS.get(kind) else { return Err(self.damaged("a kind of no line")) };
        if flags > u64::from(Flags::ALL) {
            return Err(self.damaged("fields that are not known"));
        }
        let Ok(name) = std::str::from_utf8(self.bytes()?).map(str::to_owned) else {
            return Err(self.damaged("an f that is no text"));
        };
        let f =
            self.known.fs.iter().position(|known| *known == name).unwrap_or(self.known.fs.len());
        if f == self.known.fs.len() {
            self.known.fs.push(name);
        }
        let shape = Shape { kind, f: f as u32, flags: Flags(flags as u16) };
        self.known.shapes.push(shape);
        Ok(shape)
    }

    #[inline(always)]
    fn process(&mut self) -> Result<u32, CompactError> {
        let code = self.varint()?;
        if let Some(slot) = code.checked_sub(1) {
            return match self.known.slots.get(slot as usize) {
                Some(Slot { free: false, .. }) => Ok(slot as u32),
                _ => Err(self.damaged("a process that was not introduced")),
            };
        }
        self.new_process()
    }

    #[cold]
    fn new_process(&mut self) -> Result<u32, CompactError> {
        let process = self.varint()?;
        let new = Slot { process, open: Open::NONE, ended: NO_TIME, free: false };
        if let Some(slot) = self.known.free.pop() {
            self.known.slots[slot as usize] = new;
            return Ok(slot);
        }
        self.known.slots.push(new);
        Ok(self.known.slots.len() as u32 - 1)
    }

    #[inline(always)]
    fn key(&mut self, dictionary: &mut impl Dictionary) -> Result<u32, CompactError> {
        let key = self.wide_varint()?;
        let key = self.number_of(self.known.keys, key)?;
        if key == self.known.keys {
            self.new_key(dictionary)?;
        }
        Ok(key)
    }

    #[cold]
    fn new_key(&mut self, dictionary: &mut impl Dictionary) -> Result<(), CompactError> {
        self.known.keys += 1;
        self.known.values.push(KeyValues::default());
        let kept = dictionary.key(self.bytes()?);
        self.kept(kept)
    }

    #[inline(always)]
    fn value(&mut self, key: u32, dictionary: &mut impl Dictionary) -> Result<u32, CompactError> {
        let place = key.wrapping_add(1) as usize;
        let KeyValues { count, last_integer } = self.known.values[place];
        let value = self.reference(count)?;
        if value < count {
            return Ok(value);
        }
        match self.varint()?.checked_sub(1) {
            None => self.text_value(key, dictionary)?,
            Some(difference) => {
                let integer = last_integer.checked_add(unzigzag(difference));
                let Some(integer) = integer.filter(|integer| SMALL.contains(integer)) else {
                    return Err(self.damaged("an integer past its bounds"));
                };
                self.known.values[place].last_integer = integer;
                let kept = dictionary.value(key, Literal::Integer(integer));
                self.kept(kept)?;
            }
        }
        self.known.values[place].count += 1;
        Ok(value)
    }

    #[inline(never)]
    fn text_value(
        &mut self,
        key: u32,
        dictionary: &mut impl Dictionary,
    ) -> Result<(), CompactError> {
        let kept = dictionary.value(key, Literal::Json(self.bytes()?));
        self.kept(kept)
    }

    /// A number of a dictionary of `count` entries; `count` itself is a new one.
    #[inline(always)]
    fn reference(&mut self, count: u32) -> Result<u32, CompactError> {
        let back = self.varint()?;
        self.number_of(count, back)
    }

    #[inline(always)]
    fn number_of(&self, count: u32, back: u64) -> Result<u32, CompactError> {
        match u64::from(count).checked_sub(back) {
            // One number is that of nothing.
            Some(number) if number < u64::from(NO_VALUE) => Ok(number as u32),
            _ => Err(self.damaged("an entry that was not introduced")),
        }
    }

    fn bytes(&mut self) -> Result<&[u8], CompactError> {
        let length = self.varint()? as usize;
        if length > LONGEST || length > self.block.len() - self.at {
            return Err(self.damaged("a text longer than its block"));
        }
        let from = self.at;
        self.at += length;
        Ok(&self.block[from..self.at])
    }

    #[inline(always)]
    fn varint(&mut self) -> Result<u64, CompactError> {
        // Nearly all are of one byte.
        match self.block.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    /// A number of one or two bytes mostly.
    #[inline(always)]
    fn wide_varint(&mut self) -> Result<u64, CompactError> {
        match self.block.get(self.at..) {
            Some(&[byte, ..]) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            Some(&[low, high, ..]) if high < 0x80 => {
                self.at += 2;
                Ok(u64::from(low & 0x7f) | u64::from(high) << 7)
            }
            _ => self.long_varint(),
        }
    }

    #[inline(never)]
    fn long_varint(&mut self) -> Result<u64, CompactError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let Some(&byte) = self.block.get(self.at) else {
                return Err(self.damaged("a row that goes past its block"));
            };
            self.at += 1;
            if shift == 63 && byte > 1 {
                break;
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(self.damaged("a number of more than 64 bits"))
    }

    #[inline(always)]
    fn kept(&self, kept: Result<(), Refused>) -> Result<(), CompactError> {
        kept.map_err(|refused| self.refused(refused))
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
    pub(crate) fn damaged(&self, what: &'static str) -> CompactError {
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
