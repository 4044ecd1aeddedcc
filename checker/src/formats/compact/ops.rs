//! From rows to ops.

use std::borrow::Cow;
use std::io::Read;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{CompactError, Dictionary, Literal, NEMESIS, Refused, Row, Rows};
use crate::history::op::{Op, Process, known_f};
use crate::history::{Builder, History, Torn};
use crate::judge::budget::Meter;

/// Reads a compact history op by op.
pub struct Reader<R> {
    rows: Rows<R>,
    texts: Texts,
    fs: Vec<Cow<'static, str>>,
    /// Bytes copied since memory was looked at.
    copied: usize,
}

/// Reads a whole compact history. One that was cut short is given as far as it goes.
pub fn read(reader: impl Read, meter: &mut Meter) -> Result<History, CompactError> {
    let mut ops = Reader::new(reader)?;
    ops.texts.meter = Some(meter.clone());
    let mut builder = Builder::default();
    while let Some(op) = ops.next_op()? {
        let ops = op.index;
        builder.push(op, None)?;
        meter.tick().map_err(|exhausted| CompactError::Budget { exhausted, ops })?;
    }
    Ok(builder.finish(ops.rows.torn()))
}

impl<R: Read> Reader<R> {
    /// Reads the head.
    pub fn new(reader: R) -> Result<Self, CompactError> {
        Ok(Self { rows: Rows::new(reader)?, texts: Texts::default(), fs: Vec::new(), copied: 0 })
    }

    /// The next op. Structure (pairing, alternation) is not checked here.
    pub fn next_op(&mut self) -> Result<Option<Op>, CompactError> {
        match self.rows.next_row(&mut self.texts)? {
            Some(row) => self.op(&row).map(Some),
            None => Ok(None),
        }
    }

    /// What was cut short at the end, once that was reached.
    pub fn torn(&self) -> Option<Torn> {
        self.rows.torn()
    }

    fn op(&mut self, row: &Row) -> Result<Op, CompactError> {
        while self.fs.len() <= row.f as usize {
            self.fs.push(known_f(Cow::Borrowed(self.rows.f(self.fs.len() as u32))));
        }
        let process = match row.slot {
            NEMESIS => Process::Nemesis,
            _ => Process::Client(row.process),
        };
        let mut op = Op::new(process, row.kind, self.fs[row.f as usize].clone());
        let texts = &self.texts;
        op.index = row.index;
        op.time = row.time;
        op.key = at(&texts.keys, row.key).cloned();
        let values = at(&texts.values, row.key.wrapping_add(1));
        op.value = values.and_then(|values| at(values, row.value)).cloned();
        op.context = row.context;
        op.error = at(&texts.errors, row.error).cloned();
        op.node = at(&texts.nodes, row.node).cloned();
        op.extra = at(&texts.extras, row.extra).cloned().map(Box::new);
        op.is_final = row.is_final;
        self.watch(&op)?;
        Ok(op)
    }

    /// A large text may be named by very few bytes again and again: what copies take is watched
    /// more closely than rows are.
    fn watch(&mut self, op: &Op) -> Result<(), CompactError> {
        const WATCHED: usize = 1 << 20;
        let Some(meter) = &self.texts.meter else { return Ok(()) };
        let extra = op.extra.iter().flat_map(|extra| extra.values()).map(weight).sum::<usize>();
        let error = op.error.as_ref().map_or(0, |error| error.len());
        self.copied += op.value.as_ref().map_or(0, weight) + extra + error;
        if self.copied > WATCHED {
            self.copied = 0;
            let ops = op.index;
            meter.look().map_err(|exhausted| CompactError::Budget { exhausted, ops })?;
        }
        Ok(())
    }
}

fn at<T>(list: &[T], number: u32) -> Option<&T> {
    list.get(number as usize)
}

/// What the numbers of rows stand for.
#[derive(Default)]
struct Texts {
    keys: Vec<Arc<str>>,
    /// Of rows without a key first, then key by key.
    values: Vec<Vec<Value>>,
    errors: Vec<Box<str>>,
    nodes: Vec<Arc<str>>,
    extras: Vec<Map<String, Value>>,
    meter: Option<Meter>,
}

impl Texts {
    /// May a text of this length become a value?
    fn reserve(&self, length: usize) -> Result<(), Refused> {
        // The worst there is: `[[],[],...`, 32 bytes of memory for 3 of text.
        const WORST: u64 = 16;
        let Some(meter) = &self.meter else { return Ok(()) };
        meter.reserve(length as u64 * WORST).map_err(Refused::Exhausted)
    }
}

fn weight(value: &Value) -> usize {
    let parts = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(weight).sum(),
        Value::Object(map) => map.iter().map(|(name, value)| name.len() + weight(value)).sum(),
    };
    parts + size_of::<Value>()
}

impl Dictionary for Texts {
    fn value(&mut self, key: u32, value: Literal<'_>) -> Result<(), Refused> {
        let value = match value {
            Literal::Integer(integer) => integer.into(),
            Literal::Json(text) => {
                self.reserve(text.len())?;
                let damaged = |_| Refused::Damaged("a value that is no JSON");
                serde_json::from_slice(text).map_err(damaged)?
            }
        };
        let place = key.wrapping_add(1) as usize;
        if self.values.len() <= place {
            self.values.resize_with(place + 1, Vec::new);
        }
        self.values[place].push(value);
        Ok(())
    }

    fn key(&mut self, text: &[u8]) -> Result<(), Refused> {
        self.keys.push(utf8(text)?.into());
        Ok(())
    }

    fn error(&mut self, text: &[u8]) -> Result<(), Refused> {
        self.errors.push(utf8(text)?.into());
        Ok(())
    }

    fn node(&mut self, text: &[u8]) -> Result<(), Refused> {
        self.nodes.push(utf8(text)?.into());
        Ok(())
    }

    fn extra(&mut self, text: &[u8]) -> Result<(), Refused> {
        self.reserve(text.len())?;
        let damaged = |_| Refused::Damaged("other fields that are no JSON object");
        self.extras.push(serde_json::from_slice(text).map_err(damaged)?);
        Ok(())
    }
}

fn utf8(text: &[u8]) -> Result<&str, Refused> {
    std::str::from_utf8(text).map_err(|_| Refused::Damaged("a name that is no text"))
}
