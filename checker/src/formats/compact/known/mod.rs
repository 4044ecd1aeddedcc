//! What the rows so far have introduced, and the next row read by it.

mod state;

use std::hint::select_unpredictable;

use super::cursor::{Cursor, Fault, short_varint};
use super::row::{Dictionary, Listener, Literal, NEMESIS, NO_VALUE, Refused, Row};
use super::{Flags, KINDS, SMALL, unzigzag};
use crate::history::op::Kind;

#[derive(Clone, Copy)]
struct Shape {
    kind: Kind,
    f: u32,
    flags: Flags,
    common: Common,
}

/// The shapes that nearly all rows have.
#[derive(Clone, Copy)]
enum Common {
    /// It begins, with a value or without.
    Begins,
    /// It is done, with a value of its own or that with which it began.
    Done,
    No,
}

impl Common {
    const BEGINS: [Flags; 2] = [Flags::KEY, Flags::KEY.and(Flags::VALUE)];
    const DONE: [Flags; 2] =
        [Flags::KEY_OPEN.and(Flags::VALUE), Flags::KEY_OPEN.and(Flags::VALUE_OPEN)];

    fn of(kind: Kind, flags: Flags) -> Self {
        match kind {
            Kind::Invoke if Self::BEGINS.contains(&flags) => Self::Begins,
            Kind::Ok if Self::DONE.contains(&flags) => Self::Done,
            _ => Self::No,
        }
    }
}

/// What is known of the values of one key.
#[derive(Clone, Copy, Default)]
struct KeyValues {
    count: u32,
    last_integer: i64,
}

/// A process and its open invocation; with none open its `invoke` is none, and the rest is left
/// over.
#[derive(Clone, Copy)]
struct Slot {
    process: u64,
    open: Open,
    /// When its last operation ended; [`NO_TIME`] before the first.
    ended: u64,
    free: bool,
}

impl Slot {
    /// A row of this process, as far as its head says.
    #[inline(always)]
    fn row(&self, head: &Head, index: u64) -> Row {
        Row {
            index,
            time: head.time,
            instant: head.instant,
            f: head.f,
            is_client: true,
            slot: head.slot as u32,
            process: self.process,
            invoke: self.open.invoke,
            begun: self.open.begun,
            begun_value: self.open.value,
            ..Row::NONE
        }
    }
}

/// What a row of one of the commonest shapes begins with.
struct Head {
    /// Its first eight bytes, of which so many are used.
    word: u64,
    used: usize,
    f: u32,
    slot: usize,
    time: u64,
    instant: u64,
}

/// No time of a history.
const NO_TIME: u64 = u64::MAX;

/// What a completion may take over from its invocation.
#[derive(Clone, Copy)]
struct Open {
    invoke: Option<(u64, u64)>,
    /// The instant of that.
    begun: u64,
    context: Option<u64>,
    f: u32,
    key: u32,
    value: u32,
    node: u32,
}

impl Open {
    const NONE: Self = Self {
        invoke: None,
        begun: 0,
        context: None,
        f: NO_VALUE,
        key: NO_VALUE,
        value: NO_VALUE,
        node: NO_VALUE,
    };
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

/// What the rows so far have introduced: what the next one is read by.
pub(super) struct Known {
    pub(super) index: u64,
    time: u64,
    /// The index of the first row of this time.
    instant: u64,
    shapes: Vec<Shape>,
    pub(super) fs: Vec<String>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Of rows without a key first, then key by key.
    values: Vec<KeyValues>,
    keys: u32,
    errors: u32,
    nodes: u32,
    extras: u32,
    /// Did a process begin something at the instant at which it ended what it did before?
    pub(super) has_ties: bool,
    /// Did an operation end as another than it began as: by its name, its key or its context?
    pub(super) has_others: bool,
}

impl Known {
    pub(super) fn nothing() -> Self {
        Self {
            index: 0,
            time: 0,
            instant: 0,
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
            has_others: false,
        }
    }

    /// How many values a place has had.
    pub(super) fn values(&self, place: u32) -> u32 {
        self.values.get(place as usize).map_or(0, |values| values.count)
    }

    /// Reads the next row.
    #[inline(always)]
    pub(super) fn next(
        &mut self,
        cursor: &mut Cursor<'_>,
        dictionary: &mut impl Dictionary,
    ) -> Result<Row, Fault> {
        let shape = self.shape(cursor, dictionary)?;
        self.row(cursor, shape, dictionary)
    }

    /// Tells of the next row; `false` when the listener wants no more.
    #[inline(always)]
    fn tell(
        &mut self,
        cursor: &mut Cursor<'_>,
        listener: &mut impl Listener,
    ) -> Result<bool, Fault> {
        let (more, at) = match self.tell_usual(*cursor, listener) {
            Some(told) => told?,
            None => self.tell_seldom(*cursor, listener)?,
        };
        cursor.at = at;
        Ok(more)
    }

    /// Tells of so many rows, from a place in a block: gives whether more are wanted, and the place
    /// after them.
    #[inline(always)]
    pub(super) fn tell_some(
        &mut self,
        block: &[u8],
        at: usize,
        listener: &mut impl Listener,
        most: u32,
    ) -> (Result<bool, Fault>, usize) {
        let mut cursor = Cursor { bytes: block, at };
        let mut told = Ok(true);
        for _ in 0..most {
            told = self.tell(&mut cursor, listener);
            if !matches!(told, Ok(true)) || cursor.at == block.len() {
                break;
            }
        }
        (told, cursor.at)
    }

    #[inline(never)]
    fn tell_seldom(
        &mut self,
        mut cursor: Cursor<'_>,
        listener: &mut impl Listener,
    ) -> Result<(bool, usize), Fault> {
        let row = self.next(&mut cursor, listener)?;
        Ok((listener.row(row), cursor.at))
    }

    /// Tells of a row of one of the commonest shapes, if it is not near the end of the block, its
    /// numbers have the usual lengths and nothing about it is wrong; else nothing has happened. One
    /// jump by the shape takes the place of many by what it says, of which a processor can foresee
    /// none. The row is told here: handed back, it would go through memory.
    #[inline(always)]
    fn tell_usual(
        &mut self,
        cursor: Cursor<'_>,
        listener: &mut impl Listener,
    ) -> Option<Result<(bool, usize), Fault>> {
        let word = cursor.word(0)?;
        let [number, slot_code] = [word as u8, (word >> 8) as u8].map(usize::from);
        let shape = *self.shapes.get(number)?;
        let slot = slot_code.wrapping_sub(1);
        if (number | slot_code) >= 0x80 || self.slots.get(slot)?.free {
            return None;
        }
        let (delta, length) = short_varint((word >> 16) as u32)?;
        let time = self.time.checked_add(u64::from(delta))?;
        let instant = select_unpredictable(delta > 0, self.index, self.instant);
        let head = Head { word, used: 2 + length, f: shape.f, slot, time, instant };
        let names = shape.flags.has(Flags::VALUE);
        match shape.common {
            Common::Begins => self.tell_begins(cursor, &head, names, listener),
            Common::Done => self
                .tell_done(&head, names, listener)
                .map(|(more, used)| Ok((more, cursor.at + used))),
            Common::No => None,
        }
    }

    /// Tells of a [`Common::Done`], and gives its length. Whether it names a value is as good as
    /// random: so that is no jump, but both values are got and one is taken.
    #[inline(always)]
    fn tell_done(
        &mut self,
        head: &Head,
        names: bool,
        listener: &mut impl Listener,
    ) -> Option<(bool, usize)> {
        let slot = &mut self.slots[head.slot];
        let back = u32::from((head.word >> (8 * head.used)) as u8);
        let key = slot.open.key;
        let count = self.values[key.wrapping_add(1) as usize].count;
        let is_known = back > 0 && back < 0x80 && back <= count;
        if names & !is_known {
            return None;
        }
        if head.f != slot.open.f {
            self.has_others = true;
        }
        let value = select_unpredictable(names, count.wrapping_sub(back), slot.open.value);
        let row = Row { kind: Kind::Ok, key, value, ..slot.row(head, self.index) };
        slot.ended = head.time;
        slot.open.invoke = None;
        self.pass(head);
        Some((listener.row(row), head.used + usize::from(names)))
    }

    /// Tells of a [`Common::Begins`], if a value that it names is an integer and new.
    #[inline(always)]
    fn tell_begins(
        &mut self,
        cursor: Cursor<'_>,
        head: &Head,
        names: bool,
        listener: &mut impl Listener,
    ) -> Option<Result<(bool, usize), Fault>> {
        let rest = cursor.word(head.used)?;
        let (back, length) = short_varint(rest as u32)?;
        let key = self.keys.checked_sub(back).filter(|_| back > 0)?;
        let (mut value, mut used) = (NO_VALUE, head.used + length);
        if names {
            // Of eight bytes there are four for the integer if the key took no more than three.
            let rest = rest >> (8 * length);
            let (difference, more) = short_varint((rest >> 8) as u32)?;
            if rest as u8 != 0 || length > 3 || difference == 0 {
                return None;
            }
            let values = &mut self.values[key as usize + 1];
            let integer = values.last_integer + unzigzag(u64::from(difference) - 1);
            let count = values.count.checked_add(1).filter(|_| SMALL.contains(&integer))?;
            if let Err(refused) = kept(listener.value(key, Literal::Integer(integer))) {
                return Some(Err(refused));
            }
            value = values.count;
            *values = KeyValues { count, last_integer: integer };
            used += 1 + more;
        }
        let slot = &mut self.slots[head.slot];
        let row = Row { kind: Kind::Invoke, key, value, ..slot.row(head, self.index) };
        if slot.ended == head.time {
            self.has_ties = true;
        }
        let invoke = Some((self.index, head.time));
        slot.open = Open { invoke, begun: head.instant, f: head.f, key, value, ..Open::NONE };
        self.pass(head);
        Some(Ok((listener.row(row), cursor.at + used)))
    }

    #[inline(always)]
    fn pass(&mut self, head: &Head) {
        (self.index, self.time, self.instant) = (self.index + 1, head.time, head.instant);
    }

    /// The shape of the next row.
    #[inline(always)]
    fn shape(
        &mut self,
        cursor: &mut Cursor<'_>,
        dictionary: &mut impl Dictionary,
    ) -> Result<Shape, Fault> {
        let number = cursor.varint()? as usize;
        match self.shapes.get(number) {
            Some(&shape) => Ok(shape),
            None => {
                let (shape, at) = self.new_shape(*cursor, number, dictionary)?;
                cursor.at = at;
                Ok(shape)
            }
        }
    }

    #[cold]
    fn new_shape(
        &mut self,
        mut cursor: Cursor<'_>,
        number: usize,
        dictionary: &mut impl Dictionary,
    ) -> Result<(Shape, usize), Fault> {
        if number != self.shapes.len() {
            return Err(Fault::damaged("a shape that was not introduced"));
        }
        let (kind, flags) = kind_and_flags(&mut cursor)?;
        let Ok(name) = std::str::from_utf8(cursor.text()?) else {
            return Err(Fault::damaged("an f that is no text"));
        };
        let f = self.fs.iter().position(|known| *known == name).unwrap_or(self.fs.len());
        if f == self.fs.len() {
            dictionary.f(name);
            self.fs.push(name.to_owned());
        }
        let shape = Shape { kind, f: f as u32, flags, common: Common::of(kind, flags) };
        self.shapes.push(shape);
        Ok((shape, cursor.at))
    }

    /// The row after its shape.
    #[inline(always)]
    fn row(
        &mut self,
        cursor: &mut Cursor<'_>,
        shape: Shape,
        dictionary: &mut impl Dictionary,
    ) -> Result<Row, Fault> {
        let Shape { kind, f, flags, .. } = shape;
        let is_client = !flags.has(Flags::NEMESIS);
        let (slot, process, open) = if is_client {
            let slot = self.process(cursor)?;
            let Slot { process, open, .. } = self.slots[slot];
            (slot, process, open)
        } else {
            (NEMESIS as usize, 0, Open::NONE)
        };
        let time = self.time(cursor)?;
        let key = match flags.has(Flags::KEY_OPEN) {
            true => open.key,
            false if flags.has(Flags::KEY) => self.key(cursor, dictionary)?,
            false => NO_VALUE,
        };
        let value = match flags.has(Flags::VALUE_OPEN) {
            true if open.key != key => {
                return Err(Fault::damaged("a value taken over from another key"));
            }
            true => open.value,
            false if flags.has(Flags::VALUE) => self.value(cursor, key, dictionary)?,
            false => NO_VALUE,
        };
        let context = match flags.has(Flags::CONTEXT_OPEN) {
            true => open.context,
            // One from the future, which is nonsense but may be recorded, wraps.
            false if flags.has(Flags::CONTEXT) => {
                Some(self.index.wrapping_sub(cursor.wide_varint()?))
            }
            false => None,
        };
        if is_client && kind != Kind::Invoke {
            let other_context = flags.has(Flags::CONTEXT) && context != open.context;
            if f != open.f || key != open.key || other_context {
                self.has_others = true;
            }
        }
        let mut rest = Rest::NONE;
        if !flags.is_plain() {
            (rest, cursor.at) = self.rest(*cursor, flags, open.node, dictionary)?;
        }
        let Rest { error, node, extra } = rest;
        let index = self.index;
        self.index += 1;
        if is_client {
            let invoke = Some((index, time));
            let begun = Open { invoke, begun: self.instant, context, f, key, value, node };
            self.settle(slot, kind, begun, time);
        }
        let (slot, instant, is_final) = (slot as u32, self.instant, flags.has(Flags::FINAL));
        let row = Row { index, time, instant, kind, f, is_client, slot, process, ..Row::NONE };
        let Open { invoke, begun, value: begun_value, .. } = open;
        let row = Row { key, value, context, error, node, extra, is_final, ..row };
        Ok(Row { invoke, begun, begun_value, ..row })
    }

    #[inline(always)]
    fn time(&mut self, cursor: &mut Cursor<'_>) -> Result<u64, Fault> {
        let delta = cursor.wide_varint()?;
        let Some(time) = self.time.checked_add(delta) else {
            return Err(Fault::damaged("a time past the end of 64 bits"));
        };
        self.instant = select_unpredictable(delta > 0, self.index, self.instant);
        self.time = time;
        Ok(time)
    }

    /// Opens and frees a slot as a row says.
    #[inline(always)]
    fn settle(&mut self, slot: usize, kind: Kind, begun: Open, time: u64) {
        let settled = &mut self.slots[slot];
        match kind {
            Kind::Invoke => {
                if settled.ended == time {
                    self.has_ties = true;
                }
                settled.open = begun;
            }
            Kind::Ok | Kind::Fail | Kind::Info => {
                settled.ended = time;
                settled.open.invoke = None;
            }
        }
        if kind == Kind::Info {
            settled.free = true;
            self.free.push(slot as u32);
        }
    }

    #[inline(never)]
    fn rest(
        &mut self,
        mut cursor: Cursor<'_>,
        flags: Flags,
        open_node: u32,
        dictionary: &mut impl Dictionary,
    ) -> Result<(Rest, usize), Fault> {
        let mut rest = Rest::NONE;
        if flags.has(Flags::ERROR) {
            rest.error = cursor.reference(self.errors)?;
            if rest.error == self.errors {
                one_more(&mut self.errors)?;
                let text = cursor.text()?;
                kept(dictionary.error(text))?;
            }
        }
        if flags.has(Flags::NODE) {
            rest.node = cursor.reference(self.nodes)?;
            if rest.node == self.nodes {
                one_more(&mut self.nodes)?;
                let text = cursor.text()?;
                kept(dictionary.node(text))?;
            }
        } else if flags.has(Flags::NODE_OPEN) {
            rest.node = open_node;
        }
        if flags.has(Flags::EXTRA) {
            rest.extra = cursor.reference(self.extras)?;
            if rest.extra == self.extras {
                one_more(&mut self.extras)?;
                let text = cursor.text()?;
                kept(dictionary.extra(text))?;
            }
        }
        Ok((rest, cursor.at))
    }

    #[inline(always)]
    fn process(&mut self, cursor: &mut Cursor<'_>) -> Result<usize, Fault> {
        let code = cursor.varint()? as usize;
        if let Some(slot) = code.checked_sub(1) {
            return match self.slots.get(slot) {
                Some(Slot { free: false, .. }) => Ok(slot),
                _ => Err(Fault::damaged("a process that was not introduced")),
            };
        }
        let (slot, at) = self.new_process(*cursor)?;
        cursor.at = at;
        Ok(slot)
    }

    #[inline(never)]
    fn new_process(&mut self, mut cursor: Cursor<'_>) -> Result<(usize, usize), Fault> {
        let process = cursor.varint()?;
        let new = Slot { process, open: Open::NONE, ended: NO_TIME, free: false };
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = new;
            return Ok((slot as usize, cursor.at));
        }
        self.slots.push(new);
        Ok((self.slots.len() - 1, cursor.at))
    }

    #[inline(always)]
    fn key(
        &mut self,
        cursor: &mut Cursor<'_>,
        dictionary: &mut impl Dictionary,
    ) -> Result<u32, Fault> {
        let back = cursor.wide_varint()?;
        let key = cursor.number_of(self.keys, back)?;
        if key == self.keys {
            cursor.at = self.new_key(*cursor, dictionary)?;
        }
        Ok(key)
    }

    #[inline(never)]
    fn new_key(
        &mut self,
        mut cursor: Cursor<'_>,
        dictionary: &mut impl Dictionary,
    ) -> Result<usize, Fault> {
        one_more(&mut self.keys)?;
        self.values.push(KeyValues::default());
        let text = cursor.text()?;
        kept(dictionary.key(text))?;
        Ok(cursor.at)
    }

    #[inline(always)]
    fn value(
        &mut self,
        cursor: &mut Cursor<'_>,
        key: u32,
        dictionary: &mut impl Dictionary,
    ) -> Result<u32, Fault> {
        let values = &mut self.values[key.wrapping_add(1) as usize];
        let value = cursor.reference(values.count)?;
        if value < values.count {
            return Ok(value);
        }
        one_more(&mut values.count)?;
        match cursor.wide_varint()?.checked_sub(1) {
            None => cursor.at = text_value(*cursor, key, dictionary)?,
            Some(difference) => {
                let integer = values.last_integer.checked_add(unzigzag(difference));
                let Some(integer) = integer.filter(|integer| SMALL.contains(integer)) else {
                    return Err(Fault::damaged("an integer past its bounds"));
                };
                values.last_integer = integer;
                kept(dictionary.value(key, Literal::Integer(integer)))?;
            }
        }
        Ok(value)
    }
}

/// What a shape says before its name.
fn kind_and_flags(cursor: &mut Cursor<'_>) -> Result<(Kind, Flags), Fault> {
    let kind = cursor.varint()? as usize;
    let flags = cursor.varint()?;
    let Some(&kind) = KINDS.get(kind) else { return Err(Fault::damaged("a kind of no line")) };
    if flags > u64::from(Flags::ALL) {
        return Err(Fault::damaged("fields that are not known"));
    }
    Ok((kind, Flags(flags as u16)))
}

/// Counts one more entry of a dictionary. The highest number is that of nothing.
#[inline(always)]
fn one_more(count: &mut u32) -> Result<(), Fault> {
    match count.checked_add(1) {
        Some(more) => {
            *count = more;
            Ok(())
        }
        None => Err(Fault::damaged("more entries than have numbers")),
    }
}

#[inline(never)]
fn text_value(
    mut cursor: Cursor<'_>,
    key: u32,
    dictionary: &mut impl Dictionary,
) -> Result<usize, Fault> {
    let text = cursor.text()?;
    kept(dictionary.value(key, Literal::Json(text)))?;
    Ok(cursor.at)
}

#[inline(always)]
fn kept(kept: Result<(), Refused>) -> Result<(), Fault> {
    kept.map_err(|refused| Fault(Box::new(refused)))
}
