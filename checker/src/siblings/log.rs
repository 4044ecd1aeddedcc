//! A compact history of siblings as logs of its operations, laid out key by key.
//!
//! To keep something for each key while rows come in would touch the memory of another key at
//! every row. So rows are only written down, to one of a few logs by their key; and each log is
//! small enough that the keys in it can be looked at one by one without leaving a near cache.

use std::io::Read;

use crate::formats::compact::{
    CompactError, Dictionary, Literal, NEMESIS, NO_VALUE, Refused, Row, Rows,
};
use crate::history::Outcome;
use crate::history::op::Kind;
use crate::judge::budget::{Exhausted, Meter};
use crate::siblings::versions::{Deed, Does, NO_NODE};

/// The index of no line.
pub(super) const NO_LINE: u32 = u32::MAX;

/// An operation on a key.
#[derive(Clone, Copy)]
pub(super) struct Logged {
    pub(super) op: Deed,
    /// The index of its beginning.
    pub(super) begun: u32,
    key: u32,
    /// Of a put what it wrote, of a read what it returned: among the values of its key.
    pub(super) value: u32,
    /// The line of the read that supplied its context.
    pub(super) context: u32,
}

/// A value as it was introduced.
#[derive(Clone, Copy)]
struct Introduced {
    /// The integer, or where the text begins.
    what: u64,
    /// The length of the text; [`INTEGER`] for an integer.
    length: u32,
    key: u32,
}

const INTEGER: u32 = u32::MAX;

/// As many logs there are: each takes the keys that are the same modulo this.
const LOGS: usize = 128;

/// The operations on some keys in the order of their beginnings, and their values.
#[derive(Default)]
pub(super) struct Log {
    ops: Vec<Logged>,
    values: Vec<Introduced>,
    texts: Vec<u8>,
}

/// A history as it is read into logs.
struct Reading {
    logs: Vec<Log>,
    keys: u32,
    /// The row at hand introduces a value.
    introduces: bool,
    /// Of each slot its open operation, by key and place; [`NO_LINE`] for one that is none of ours.
    open: Vec<(u32, u32)>,
}

const NOT_OPEN: (u32, u32) = (NO_LINE, NO_LINE);

impl Dictionary for Reading {
    #[inline(always)]
    fn value(&mut self, key: u32, value: Literal<'_>) -> Result<(), Refused> {
        self.introduces = true;
        // Of what stands without a key only the numbers matter, which are those of another key.
        if key == NO_VALUE {
            return Ok(());
        }
        let log = &mut self.logs[key as usize % LOGS];
        let (what, length) = match value {
            Literal::Integer(integer) => (integer.cast_unsigned(), INTEGER),
            Literal::Json(text) => {
                let at = log.texts.len() as u64;
                log.texts.extend_from_slice(text);
                (at, text.len() as u32)
            }
        };
        log.values.push(Introduced { what, length, key });
        Ok(())
    }

    fn key(&mut self, _: &[u8]) -> Result<(), Refused> {
        self.keys += 1;
        Ok(())
    }
}

/// Reads a history into logs. `None` when the ordinary way must look at it.
pub(super) fn read<R: Read>(
    rows: &mut Rows<R>,
    meter: &mut Meter,
) -> Result<Option<Vec<Log>>, CompactError> {
    let logs = std::iter::repeat_with(Log::default).take(LOGS).collect();
    let mut reading = Reading { logs, keys: 0, introduces: false, open: Vec::new() };
    let mut fs: Vec<Option<Does>> = Vec::new();
    while let Some(row) = rows.next_row(&mut reading)? {
        let ops = row.index;
        meter.tick().map_err(|exhausted| CompactError::Budget { exhausted, ops })?;
        let introduces = std::mem::take(&mut reading.introduces);
        if row.slot == NEMESIS {
            continue;
        }
        while fs.len() <= row.f as usize {
            fs.push(Does::named(rows.f(fs.len() as u32)));
        }
        if reading.row(&row, fs[row.f as usize], introduces).is_none() {
            return Ok(None);
        }
    }
    Ok(Some(reading.logs))
}

impl Reading {
    #[inline(always)]
    fn row(&mut self, row: &Row, does: Option<Does>, introduces: bool) -> Option<()> {
        let slot = row.slot as usize;
        if slot >= self.open.len() {
            self.open.resize(slot + 1, NOT_OPEN);
        }
        // Another may write what reads return, and a read may say in its question what it returns:
        // none of that is looked at here.
        let mut may_introduce = row.key == NO_VALUE;
        match (row.kind, does) {
            (Kind::Invoke, Some(does)) if row.key != NO_VALUE && row.invoke.is_none() => {
                self.begin(row, does)?;
                may_introduce = does == Does::Put;
            }
            (Kind::Invoke, _) if row.invoke.is_none() => self.open[slot] = NOT_OPEN,
            (Kind::Ok | Kind::Fail | Kind::Info, _) if row.invoke.is_some() => {
                let open = std::mem::replace(&mut self.open[slot], NOT_OPEN);
                if open != NOT_OPEN {
                    let logged = &mut self.logs[open.0 as usize % LOGS].ops[open.1 as usize];
                    end(logged, row, does)?;
                    may_introduce = !logged.op.does.writes() && row.kind == Kind::Ok;
                } else if does.is_some() && row.key != NO_VALUE {
                    // One of ours that did not begin as such.
                    return None;
                }
            }
            _ => return None,
        }
        (may_introduce || !introduces).then_some(())
    }

    #[inline(always)]
    fn begin(&mut self, row: &Row, does: Does) -> Option<()> {
        // Lines are counted in 32 bits, and the last number stands for none.
        let begun = u32::try_from(row.index).ok().filter(|line| *line != NO_LINE)?;
        let context = match row.context {
            None => NO_LINE,
            Some(line) => u32::try_from(line).ok().filter(|line| *line != NO_LINE)?,
        };
        let mut op = Deed::begun(does, row.index, row.time, row.process);
        (op.is_final, op.node) = (row.is_final, row.node);
        let log = &mut self.logs[row.key as usize % LOGS];
        self.open[row.slot as usize] = (row.key, log.ops.len() as u32);
        let value = if does == Does::Put { row.value } else { NO_VALUE };
        log.ops.push(Logged { op, begun, key: row.key, value, context });
        Some(())
    }
}

/// Takes the end of an operation in.
#[inline(always)]
fn end(logged: &mut Logged, row: &Row, does: Option<Does>) -> Option<()> {
    let op = &mut logged.op;
    // Its completion may leave out what its beginning has said, but not say something else.
    let begun_with = (logged.context != NO_LINE).then_some(u64::from(logged.context));
    let same = does == Some(op.does)
        && (row.key == logged.key || row.key == NO_VALUE && row.value == NO_VALUE)
        && (row.context.is_none() || row.context == begun_with);
    if !same || row.index >= u64::from(NO_LINE) {
        return None;
    }
    op.completed(row.kind, row.index, row.time);
    op.is_final |= row.is_final;
    if row.node != NO_NODE {
        op.node = row.node;
    }
    if op.outcome == Outcome::Ok {
        match op.does {
            Does::Put => return (row.value == logged.value).then_some(()),
            Does::Delete => {}
            Does::Get | Does::Home => logged.value = row.value,
        }
    }
    Some(())
}

/// What belongs to each key, in the order of the log.
struct Places {
    /// Of each key where its own begin, and at last the end of all.
    starts: Vec<u32>,
    all: Vec<u32>,
}

impl Places {
    fn of<I>(keys: usize, of: I) -> Self
    where
        I: DoubleEndedIterator<Item = u32> + ExactSizeIterator + Clone,
    {
        let mut starts = vec![0_u32; keys + 1];
        let mut all = vec![0_u32; of.len()];
        for key in of.clone() {
            starts[key as usize] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        // Backwards, each start goes from the end of its own to their beginning.
        for (back, key) in (1..).zip(of.rev()) {
            let start = &mut starts[key as usize];
            *start -= 1;
            all[*start as usize] = (all.len() - back) as u32;
        }
        Self { starts, all }
    }

    fn get(&self, key: usize) -> &[u32] {
        &self.all[self.starts[key] as usize..self.starts[key + 1] as usize]
    }
}

impl Log {
    pub(super) fn ops(&self) -> usize {
        self.ops.len()
    }

    /// The same, key by key.
    pub(super) fn by_key(&self, meter: &Meter) -> Result<ByKey<'_>, Exhausted> {
        let place = |key: u32| key / LOGS as u32;
        let values = self.values.iter().map(|value| value.key);
        let ops = self.ops.iter().map(|logged| logged.key);
        let keys = values.clone().chain(ops.clone()).max().map_or(0, |key| place(key) as usize + 1);
        meter.reserve(4 * (self.ops.len() + self.values.len() + 2 * keys) as u64)?;
        Ok(ByKey {
            ops: Places::of(keys, ops.map(place)),
            values: Places::of(keys, values.map(place)),
            log: self,
        })
    }
}

/// A log, key by key.
pub(super) struct ByKey<'a> {
    log: &'a Log,
    ops: Places,
    values: Places,
}

impl ByKey<'_> {
    /// The operations on each of the keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = OfKey<'_>> {
        let keys = 0..self.ops.starts.len() - 1;
        keys.map(|key| OfKey {
            log: self.log,
            ops: self.ops.get(key),
            values: self.values.get(key),
        })
    }
}

/// The operations on one key.
#[derive(Clone, Copy)]
pub(super) struct OfKey<'a> {
    log: &'a Log,
    ops: &'a [u32],
    values: &'a [u32],
}

impl<'a> OfKey<'a> {
    /// In the order of their beginnings.
    pub(super) fn ops(self) -> impl ExactSizeIterator<Item = &'a Logged> {
        self.ops.iter().map(move |place| &self.log.ops[*place as usize])
    }

    /// The value of a number.
    pub(super) fn value(self, number: u32) -> Option<Literal<'a>> {
        let Introduced { what, length, .. } =
            self.log.values[*self.values.get(number as usize)? as usize];
        if length == INTEGER {
            return Some(Literal::Integer(what.cast_signed()));
        }
        let from = what as usize;
        Some(Literal::Json(&self.log.texts[from..from + length as usize]))
    }
}
