//! Writes the compact form.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use serde_json::Value;

use super::cursor::Cursor;
use super::known::Known;
use super::row::{Dictionary, Literal, Refused};
use super::{
    BETWEEN_STATES, BLOCK, Flags, KINDS, LONGEST_STATE, MAGIC, SMALL, STATE, STATE_SHARE, VERSION,
    zigzag,
};
use crate::history::op::{Kind, Op, Process};
use crate::judge::budget::Meter;

/// Writes a history in the compact form, block by block. What was not [`finished`](Self::finish)
/// reads back as torn.
pub struct Writer<W> {
    out: W,
    layout: Layout,
    block: Vec<u8>,
    /// What readers know after the blocks so far.
    known: Known,
    /// Bytes since the last state, and how many there must be before the next.
    since: usize,
    apart: usize,
    count: u64,
    time: u64,
    shapes: HashMap<(Kind, Cow<'static, str>, Flags), u64>,
    processes: HashMap<u64, Slot>,
    slots: u64,
    free: Vec<u64>,
    keys: HashMap<Arc<str>, u64>,
    values: Vec<KeyValues>,
    errors: HashMap<Box<str>, u64>,
    nodes: HashMap<Arc<str>, u64>,
    extras: HashMap<String, u64>,
    room: Room,
}

/// How a file is laid out. The usual one is good for files of all sizes; another is for tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// A block is closed when it is so many bytes long.
    pub block: usize,
    /// So many bytes of blocks are at least between two states.
    pub apart: usize,
    /// And so many times the bytes of a state.
    pub share: usize,
}

impl Default for Layout {
    fn default() -> Self {
        Self { block: BLOCK, apart: BETWEEN_STATES, share: STATE_SHARE }
    }
}

/// What memory may be taken. A table that doubles takes twice what it held and gives that back
/// only then: to look afterwards would be too late.
#[derive(Default)]
pub(crate) struct Room {
    meter: Option<Meter>,
}

impl Room {
    pub(crate) fn within(meter: Meter) -> Self {
        Self { meter: Some(meter) }
    }

    /// For one more entry, in a table of so many that has room for so many.
    pub(crate) fn for_one_more<T>(&self, count: usize, capacity: usize) -> io::Result<()> {
        match &self.meter {
            Some(meter) if count == capacity => {
                let bytes = 2 * capacity as u64 * (size_of::<T>() as u64 + 1);
                meter.reserve(bytes).map_err(io::Error::other)
            }
            _ => Ok(()),
        }
    }
}

/// A process and its open invocation.
struct Slot {
    number: u64,
    open: Option<Open>,
}

struct Open {
    key: Option<Arc<str>>,
    value: Option<Value>,
    context: Option<u64>,
    node: Option<Arc<str>>,
}

/// The values of a key so far, numbered in order; nearly all are integers, and take little.
#[derive(Default)]
struct KeyValues {
    /// Integers that came in ascending order.
    ascending: Vec<Run>,
    integers: hashbrown::HashMap<i64, u32>,
    others: HashMap<Value, u32>,
    count: u32,
    last_integer: i64,
}

/// Integers one after the other, which came one after the other: a counter's values take no more
/// memory than one does.
struct Run {
    first: i64,
    number: u32,
    count: u32,
}

impl Run {
    fn end(&self) -> i64 {
        self.first + i64::from(self.count)
    }
}

impl KeyValues {
    /// The number of an integer, which is given the next if it is new.
    fn integer(&mut self, integer: i64, room: &Room) -> io::Result<u32> {
        let next = self.count;
        Ok(match self.ascending.last_mut() {
            Some(last) if integer < last.end() => {
                let after = self.ascending.partition_point(|run| run.first <= integer);
                let run = after.checked_sub(1).map(|at| &self.ascending[at]);
                match run.filter(|run| integer < run.end()) {
                    Some(run) => run.number + (integer - run.first) as u32,
                    None => self.unordered(integer, next, room)?,
                }
            }
            Some(last) if integer == last.end() && next == last.number + last.count => {
                last.count += 1;
                next
            }
            _ => {
                self.ascending.push(Run { first: integer, number: next, count: 1 });
                next
            }
        })
    }

    fn unordered(&mut self, integer: i64, next: u32, room: &Room) -> io::Result<u32> {
        if let Some(known) = self.integers.get(&integer) {
            return Ok(*known);
        }
        room.for_one_more::<(i64, u32)>(self.integers.len(), self.integers.capacity())?;
        self.integers.insert(integer, next);
        Ok(next)
    }
}

impl<W: Write> Writer<W> {
    /// Writes the head.
    pub fn new(out: W) -> io::Result<Self> {
        Self::with_layout(out, Layout::default())
    }

    /// Writes the head of a file of this layout.
    pub fn with_layout(mut out: W, layout: Layout) -> io::Result<Self> {
        out.write_all(&MAGIC)?;
        out.write_all(&[VERSION])?;
        Ok(Self {
            out,
            layout,
            block: Vec::with_capacity(layout.block + layout.block / 4),
            known: Known::nothing(),
            since: 0,
            apart: layout.apart,
            count: 0,
            time: 0,
            shapes: HashMap::new(),
            processes: HashMap::new(),
            slots: 0,
            free: Vec::new(),
            keys: HashMap::new(),
            values: vec![KeyValues::default()],
            errors: HashMap::new(),
            nodes: HashMap::new(),
            extras: HashMap::new(),
            room: Room::default(),
        })
    }

    /// The same, but it takes no more memory than there is room for.
    pub(crate) fn within(self, room: Room) -> Self {
        Self { room, ..self }
    }

    /// Where the blocks that are full have gone.
    pub(crate) fn out(&mut self) -> &mut W {
        &mut self.out
    }

    /// Appends a line. Lines are numbered by their place: [`Op::index`] is not looked at.
    pub fn append(&mut self, op: &Op) -> io::Result<()> {
        op.whole()?;
        let Some(delta) = op.time.checked_sub(self.time) else {
            let what = format!("time goes back from {} ns to {} ns", self.time, op.time);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        };
        self.time = op.time;
        let flags = self.flags(op);
        self.shape(op, flags);
        if let Process::Client(process) = op.process {
            self.process(process)?;
        }
        varint(&mut self.block, delta);
        self.fields(op, flags)?;
        self.settle(op);
        self.count += 1;
        if self.block.len() >= self.layout.block { self.flush_block() } else { Ok(()) }
    }

    /// Writes what is left and the end.
    pub fn finish(mut self) -> io::Result<W> {
        self.flush_block()?;
        let count = self.count.to_le_bytes();
        self.out.write_all(&0_u32.to_le_bytes())?;
        self.out.write_all(&crc32c::crc32c(&count).to_le_bytes())?;
        self.out.write_all(&count)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn flush_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        self.flush_state()?;
        frame(&mut self.out, &self.block, 0)?;
        self.since += self.block.len();
        let mut cursor = Cursor { bytes: &self.block, at: 0 };
        while cursor.at < self.block.len() {
            let row = self.known.next(&mut cursor, &mut Unkept);
            row.map_err(|fault| io::Error::other(fault.0.at(cursor.at as u64, self.count)))?;
        }
        self.block.clear();
        Ok(())
    }

    /// Writes what is known, if it is time.
    fn flush_state(&mut self) -> io::Result<()> {
        if self.since < self.apart {
            return Ok(());
        }
        let mut state = Vec::new();
        self.known.write(&mut state);
        let Layout { apart, share, .. } = self.layout;
        self.apart = apart.max(share * state.len());
        if self.since >= self.apart && state.len() <= LONGEST_STATE {
            frame(&mut self.out, &state, STATE)?;
            self.since = 0;
        }
        Ok(())
    }

    fn flags(&self, op: &Op) -> Flags {
        let open = match op.process {
            Process::Client(process) => self.processes.get(&process),
            Process::Nemesis => None,
        };
        let open = open.and_then(|slot| slot.open.as_ref());
        let mut flags = Flags::default();
        let mut field = |there: bool, same: bool, explicit: Flags, taken_over: Flags| {
            if there {
                flags.set(if same { taken_over } else { explicit });
            }
        };
        let same_key = open.is_some_and(|open| open.key == op.key);
        field(op.key.is_some(), same_key, Flags::KEY, Flags::KEY_OPEN);
        let same = same_key && open.is_some_and(|open| open.value == op.value);
        field(op.value.is_some(), same, Flags::VALUE, Flags::VALUE_OPEN);
        let same = open.is_some_and(|open| open.context == op.context);
        field(op.context.is_some(), same, Flags::CONTEXT, Flags::CONTEXT_OPEN);
        let same = open.is_some_and(|open| open.node == op.node);
        field(op.node.is_some(), same, Flags::NODE, Flags::NODE_OPEN);
        field(op.error.is_some(), false, Flags::ERROR, Flags::ERROR);
        field(op.extra.is_some(), false, Flags::EXTRA, Flags::EXTRA);
        field(op.is_final, false, Flags::FINAL, Flags::FINAL);
        field(!op.is_client(), false, Flags::NEMESIS, Flags::NEMESIS);
        flags
    }

    fn shape(&mut self, op: &Op, flags: Flags) {
        let next = self.shapes.len() as u64;
        let shape = *self.shapes.entry((op.kind, op.f.clone(), flags)).or_insert(next);
        varint(&mut self.block, shape);
        if shape == next {
            kind_and_flags(&mut self.block, op.kind, flags);
            text(&mut self.block, op.f.as_bytes());
        }
    }

    fn process(&mut self, process: u64) -> io::Result<()> {
        if let Some(slot) = self.processes.get(&process) {
            varint(&mut self.block, slot.number + 1);
            return Ok(());
        }
        let (count, capacity) = (self.processes.len(), self.processes.capacity());
        self.room.for_one_more::<(u64, Slot)>(count, capacity)?;
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots += 1;
            self.slots - 1
        });
        self.processes.insert(process, Slot { number, open: None });
        varint(&mut self.block, 0);
        varint(&mut self.block, process);
        Ok(())
    }

    fn fields(&mut self, op: &Op, flags: Flags) -> io::Result<()> {
        let block = &mut self.block;
        // The values of the key, whether the row names it or takes it over.
        let mut place = 0;
        if let Some(key) = &op.key {
            let next = self.keys.len() as u64;
            let number = match self.keys.get(key) {
                Some(number) => *number,
                None => {
                    let capacity = self.keys.capacity();
                    self.room.for_one_more::<(Arc<str>, u64)>(self.keys.len(), capacity)?;
                    self.keys.insert(Arc::clone(key), next);
                    next
                }
            };
            place = number as usize + 1;
            if flags.has(Flags::KEY) {
                varint(block, next - number);
                if number == next {
                    text(block, key.as_bytes());
                }
            }
            if number == next {
                let (count, capacity) = (self.values.len(), self.values.capacity());
                self.room.for_one_more::<KeyValues>(count, capacity)?;
                self.values.push(KeyValues::default());
            }
        }
        if let (Some(value), true) = (&op.value, flags.has(Flags::VALUE)) {
            value_reference(block, &mut self.values[place], value, &self.room)?;
        }
        if let (Some(context), true) = (op.context, flags.has(Flags::CONTEXT)) {
            // A context from the future is nonsense, but a history may hold it: it wraps.
            varint(block, self.count.wrapping_sub(context));
        }
        if let Some(error) = &op.error {
            reference(block, &mut self.errors, error.clone(), |error| error.as_bytes());
        }
        if let (Some(node), true) = (&op.node, flags.has(Flags::NODE)) {
            reference(block, &mut self.nodes, Arc::clone(node), |node| node.as_bytes());
        }
        if let Some(extra) = &op.extra {
            let extra = serde_json::to_string(extra).unwrap_or_default();
            reference(block, &mut self.extras, extra, |extra| extra.as_bytes());
        }
        Ok(())
    }

    fn settle(&mut self, op: &Op) {
        let Process::Client(process) = op.process else { return };
        if op.kind == Kind::Info {
            if let Some(slot) = self.processes.remove(&process) {
                self.free.push(slot.number);
            }
        } else if let Some(slot) = self.processes.get_mut(&process) {
            slot.open = (op.kind == Kind::Invoke).then(|| Open {
                key: op.key.clone(),
                value: op.value.clone(),
                context: op.context,
                node: op.node.clone(),
            });
        }
    }
}

fn value_reference(
    block: &mut Vec<u8>,
    values: &mut KeyValues,
    value: &Value,
    room: &Room,
) -> io::Result<()> {
    let next = values.count;
    let small = value.as_i64().filter(|integer| SMALL.contains(integer));
    let known = match small {
        Some(integer) => values.integer(integer, room)?,
        None => match values.others.get(value) {
            Some(known) => *known,
            None => *values.others.entry(value.clone()).or_insert(next),
        },
    };
    varint(block, u64::from(next - known));
    if known < next {
        return Ok(());
    }
    // The last number is that of no value.
    let more = next.checked_add(1).filter(|count| *count < u32::MAX);
    values.count = more.ok_or_else(|| io::Error::other("more values than a key can have"))?;
    match small {
        Some(integer) => {
            varint(block, 1 + zigzag(integer - values.last_integer));
            values.last_integer = integer;
        }
        None => {
            varint(block, 0);
            text(block, value.to_string().as_bytes());
        }
    }
    Ok(())
}

fn reference<T: Eq + std::hash::Hash>(
    block: &mut Vec<u8>,
    known: &mut HashMap<T, u64>,
    entry: T,
    bytes: fn(&T) -> &[u8],
) {
    let next = known.len() as u64;
    if let Some(number) = known.get(&entry) {
        return varint(block, next - number);
    }
    varint(block, 0);
    text(block, bytes(&entry));
    known.insert(entry, next);
}

fn frame(out: &mut impl Write, payload: &[u8], kind: u32) -> io::Result<()> {
    let length = u32::try_from(payload.len()).ok().filter(|length| *length < STATE);
    let length = length.ok_or_else(|| io::Error::other("a line of more than 2 GiB"))?;
    out.write_all(&(length | kind).to_le_bytes())?;
    out.write_all(&crc32c::crc32c(payload).to_le_bytes())?;
    out.write_all(payload)
}

/// Reads without keeping any text.
struct Unkept;

impl Dictionary for Unkept {
    fn value(&mut self, _: u32, _: Literal<'_>) -> Result<(), Refused> {
        Ok(())
    }

    fn key(&mut self, _: &[u8]) -> Result<(), Refused> {
        Ok(())
    }
}

/// What a shape says before its name.
pub(super) fn kind_and_flags(block: &mut Vec<u8>, kind: Kind, flags: Flags) {
    let kind = KINDS.iter().position(|known| *known == kind).unwrap_or(0);
    varint(block, kind as u64);
    varint(block, u64::from(flags.0));
}

pub(super) fn text(block: &mut Vec<u8>, bytes: &[u8]) {
    varint(block, bytes.len() as u64);
    block.extend_from_slice(bytes);
}

pub(super) fn varint(block: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        block.push(number as u8 | 0x80);
        number >>= 7;
    }
    block.push(number as u8);
}
