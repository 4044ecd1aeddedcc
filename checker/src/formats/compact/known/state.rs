//! What is known between two rows, in bytes: so a file can be read from the middle.
//!
//! There is one way to spell it, so two of them are the same iff their bytes are.

use super::super::cursor::{Cursor, Fault};
use super::super::row::NO_VALUE;
use super::super::writer::{kind_and_flags, text, varint};
use super::super::{SMALL, unzigzag, zigzag};
use super::{Common, KeyValues, Known, NO_TIME, Open, Shape, Slot};

/// What a process is doing.
const FREE: u64 = 0;
const IDLE: u64 = 1;
const OPEN: u64 = 2;

impl Known {
    /// Writes it down. What a process left over from its last operation is not part of it.
    pub(in super::super) fn write(&self, out: &mut Vec<u8>) {
        varint(out, self.index);
        varint(out, self.time);
        varint(out, self.index - self.instant);
        for count in [self.errors, self.nodes, self.extras] {
            varint(out, u64::from(count));
        }
        varint(out, self.fs.len() as u64);
        for f in &self.fs {
            text(out, f.as_bytes());
        }
        varint(out, self.shapes.len() as u64);
        for shape in &self.shapes {
            kind_and_flags(out, shape.kind, shape.flags);
            varint(out, u64::from(shape.f));
        }
        varint(out, u64::from(self.keys));
        for values in &self.values {
            varint(out, u64::from(values.count));
            varint(out, zigzag(values.last_integer));
        }
        varint(out, self.slots.len() as u64);
        for slot in &self.slots {
            self.write_slot(slot, out);
        }
        for slot in &self.free {
            varint(out, u64::from(*slot));
        }
    }

    fn write_slot(&self, slot: &Slot, out: &mut Vec<u8>) {
        if slot.free {
            return varint(out, FREE);
        }
        varint(out, if slot.open.invoke.is_some() { OPEN } else { IDLE });
        varint(out, slot.process);
        varint(out, if slot.ended == NO_TIME { 0 } else { self.time - slot.ended + 1 });
        let Some((index, time)) = slot.open.invoke else { return };
        varint(out, self.index - index);
        varint(out, self.time - time);
        varint(out, index - slot.open.begun);
        for number in [slot.open.f, slot.open.key, slot.open.value, slot.open.node] {
            varint(out, u64::from(number.wrapping_add(1)));
        }
        varint(out, u64::from(slot.open.context.is_some()));
        if let Some(context) = slot.open.context {
            varint(out, self.index.wrapping_sub(context));
        }
    }

    /// Sees to it that this is it, written down.
    pub(in super::super) fn is(&self, state: &[u8]) -> Result<(), Fault> {
        let mut own = Vec::with_capacity(state.len());
        self.write(&mut own);
        match own == state {
            true => Ok(()),
            false => Err(Fault::damaged("what the rows lead to is not the state written there")),
        }
    }

    /// Sees to it that there were so many rows.
    pub(in super::super) fn counts(&self, rows: u64) -> Result<(), Fault> {
        match self.index == rows {
            true => Ok(()),
            false => Err(Fault::damaged("the count at the end is not that of the lines")),
        }
    }

    /// Reads it again. What could not be so is refused, whether or not it is.
    pub(in super::super) fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let mut cursor = Cursor { bytes, at: 0 };
        let mut known = Self::nothing();
        known.index = cursor.varint()?;
        known.time = cursor.varint()?;
        known.instant = back(known.index, cursor.varint()?)?;
        for count in [&mut known.errors, &mut known.nodes, &mut known.extras] {
            *count = small(cursor.varint()?)?;
        }
        for _ in 0..cursor.varint()? {
            let name = std::str::from_utf8(cursor.text()?).map_err(|_| wrong())?;
            known.fs.push(name.to_owned());
        }
        for _ in 0..cursor.varint()? {
            let shape = known.read_shape(&mut cursor)?;
            known.shapes.push(shape);
        }
        known.keys = small(cursor.varint()?)?;
        known.values.clear();
        for _ in 0..=known.keys {
            let count = small(cursor.varint()?)?;
            let last_integer = unzigzag(cursor.varint()?);
            if !SMALL.contains(&last_integer) {
                return Err(wrong());
            }
            known.values.push(KeyValues { count, last_integer });
        }
        for _ in 0..cursor.varint()? {
            let slot = known.read_slot(&mut cursor)?;
            known.slots.push(slot);
        }
        known.read_free(&mut cursor)?;
        if cursor.at < bytes.len() { Err(wrong()) } else { Ok(known) }
    }

    fn read_shape(&self, cursor: &mut Cursor<'_>) -> Result<Shape, Fault> {
        let (kind, flags) = super::kind_and_flags(cursor)?;
        let f = small(cursor.varint()?)?;
        if f as usize >= self.fs.len() {
            return Err(wrong());
        }
        Ok(Shape { kind, f, flags, common: Common::of(kind, flags) })
    }

    fn read_slot(&self, cursor: &mut Cursor<'_>) -> Result<Slot, Fault> {
        let mut slot = Slot { process: 0, open: Open::NONE, ended: NO_TIME, free: false };
        let state = cursor.varint()?;
        if state == FREE {
            return Ok(Slot { free: true, ..slot });
        }
        slot.process = cursor.varint()?;
        if let Some(ago) = cursor.varint()?.checked_sub(1) {
            slot.ended = back(self.time, ago)?;
        }
        match state {
            IDLE => return Ok(slot),
            OPEN => {}
            _ => return Err(wrong()),
        }
        let index = back(self.index, cursor.varint()?)?;
        slot.open.invoke = Some((index, back(self.time, cursor.varint()?)?));
        slot.open.begun = back(index, cursor.varint()?)?;
        let mut number = || cursor.varint().and_then(small).map(less_one);
        let [f, key, value, node] = [number()?, number()?, number()?, number()?];
        let values = self.values.get(key.wrapping_add(1) as usize).ok_or_else(wrong)?;
        let is_of = |number: u32, count: u32| number == NO_VALUE || number < count;
        if f as usize >= self.fs.len() || !is_of(value, values.count) || !is_of(node, self.nodes) {
            return Err(wrong());
        }
        slot.open = Open { f, key, value, node, ..slot.open };
        match cursor.varint()? {
            0 => {}
            1 => slot.open.context = Some(self.index.wrapping_sub(cursor.varint()?)),
            _ => return Err(wrong()),
        }
        Ok(slot)
    }

    /// The free slots, in the order in which they were freed.
    fn read_free(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        let mut listed = vec![false; self.slots.len()];
        for _ in 0..self.slots.iter().filter(|slot| slot.free).count() {
            let slot = small(cursor.varint()?)?;
            let known = self.slots.get(slot as usize).is_some_and(|slot| slot.free);
            if !known || std::mem::replace(&mut listed[slot as usize], true) {
                return Err(wrong());
            }
            self.free.push(slot);
        }
        Ok(())
    }
}

fn less_one(number: u32) -> u32 {
    number.wrapping_sub(1)
}

/// The number that lies so far back.
fn back(from: u64, by: u64) -> Result<u64, Fault> {
    from.checked_sub(by).ok_or_else(wrong)
}

/// A number of 32 bits.
fn small(number: u64) -> Result<u32, Fault> {
    u32::try_from(number).map_err(|_| wrong())
}

#[cold]
fn wrong() -> Fault {
    Fault::damaged("a state that no rows lead to")
}
