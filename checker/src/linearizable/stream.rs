//! The zone check straight from a compact file: nothing is held but the values' zones.
//!
//! It reads the file once to judge, and once more for the few calls of a witness.

use std::io::Read;

use hashbrown::HashMap;
use serde_json::Value;

use super::calls::{Call, Object};
use super::zones::{Conflict, Zones};
use super::{Judgement, Linearizable};
use crate::budget::Meter;
use crate::formats::compact::{
    CompactError, Dictionary, Literal, NEMESIS, NO_VALUE, Refused, Row, Rows,
};
use crate::op::Kind;
use crate::spec::{Register, RegisterOp, Values};
use crate::verdict::CheckReport;

/// Judges the registers of a compact history, one a key, which hold `null` at first. `None` when
/// the zone check is not enough: a value is written twice, or an operation is none of a register;
/// then the history has to be [read](crate::formats::compact::read) and searched.
///
/// `open` gives the file from its beginning; it is asked again when there is a witness to show.
pub fn check_registers<R: Read>(
    mut open: impl FnMut() -> std::io::Result<R>,
    meter: &mut Meter,
) -> Result<Option<CheckReport>, CompactError> {
    let mut rows = Rows::new(open()?)?;
    let Some(mut keys) = zones_of(&mut rows, meter)? else { return Ok(None) };
    if rows.torn().is_some() {
        // A run that was cut short is for the ordinary way, which reports that.
        return Ok(None);
    }
    let calls: u64 = keys.counts.iter().sum();
    let registers = keys.counts.iter().filter(|count| **count > 0).count();
    let places = (0..).zip(&mut keys.zones);
    let conflicts: Vec<(u32, Conflict)> =
        places.filter_map(|(place, zones)| Some((place, zones.conflict()?))).collect();
    drop(keys);
    let report = if calls == 0 {
        CheckReport::unknown("no operation: nothing to judge")
    } else if conflicts.is_empty() {
        CheckReport::valid()
    } else {
        let objects = fetch(open()?, &conflicts, meter)?;
        let checker = Linearizable::new(Register::default());
        let judged = objects.iter().zip(&conflicts).enumerate().map(|(at, (object, found))| {
            let conflict = found.1.renumbered(|call| object.position(call));
            (at, Judgement::Wrong(checker.small_conflict(&object.object, &conflict)))
        });
        let judged: Vec<(usize, Judgement)> = judged.collect();
        let objects: Vec<Object<RegisterOp>> = objects.into_iter().map(|it| it.object).collect();
        checker.report(&objects, &judged)
    };
    Ok(Some(
        report
            .with("keys", registers)
            .with("calls", calls)
            .with("engines", ["zones"])
            .with("widest", 1),
    ))
}

/// The zones of all keys: rows without a key first.
struct Keys {
    zones: Vec<Zones>,
    counts: Vec<u64>,
    /// Of each key how many values it has.
    values: Vec<u32>,
    /// Of each key the number that `null` has, if it has one.
    nulls: Vec<u32>,
}

/// What a row does to a register.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Does {
    Read,
    Write,
    Erase,
}

fn does(f: &str) -> Option<Does> {
    match f {
        "read" => Some(Does::Read),
        "write" | "put" => Some(Does::Write),
        "delete" => Some(Does::Erase),
        // A `get` returns siblings: a list is not the value.
        _ => None,
    }
}

fn zones_of<R: Read>(rows: &mut Rows<R>, meter: &mut Meter) -> Result<Option<Keys>, CompactError> {
    let mut keys =
        Keys { zones: Vec::new(), counts: Vec::new(), values: vec![0], nulls: vec![NO_VALUE] };
    let mut fs: Vec<Option<Does>> = Vec::new();
    while let Some(row) = rows.next_row(&mut keys)? {
        let ops = row.index;
        meter.tick().map_err(|exhausted| CompactError::Budget { exhausted, ops })?;
        if row.slot == NEMESIS {
            continue;
        }
        while fs.len() <= row.f as usize {
            fs.push(does(rows.f(fs.len() as u32)));
        }
        let Some(does) = fs[row.f as usize] else { return Ok(None) };
        if !keys.take(&row, does) {
            return Ok(None);
        }
    }
    Ok(Some(keys))
}

impl Keys {
    /// Takes a row in; `false` when that is beyond the zone check.
    fn take(&mut self, row: &Row, does: Does) -> bool {
        // Positions of calls are of 32 bits, and the last stands for none.
        let Ok(index) = u32::try_from(row.index) else { return false };
        let at = row.key.wrapping_add(1) as usize;
        if self.zones.len() <= at {
            self.zones.resize_with(at + 1, Zones::new);
            self.counts.resize(at + 1, 0);
        }
        let null = self.nulls[at];
        // The register's own numbers: 0 for the initial null, then the key's values in order.
        let value = match row.value {
            NO_VALUE => Values::FIRST,
            value if value == null => Values::FIRST,
            value => value + 1,
        };
        let zones = &mut self.zones[at];
        match (row.kind, row.invoke, does) {
            (Kind::Invoke, None, _) => {
                self.counts[at] += 1;
                match does {
                    Does::Write => zones.write_begins(value, index, row.time),
                    Does::Erase => zones.write_begins(Values::FIRST, index, row.time),
                    Does::Read => {}
                }
            }
            (Kind::Ok, Some((call, begun)), Does::Read) => {
                zones.read_returns(value, call as u32, begun, row.time);
            }
            (Kind::Ok, Some((call, _)), Does::Write) => {
                zones.write_returns(value, call as u32, row.time);
            }
            (Kind::Ok, Some(_), Does::Erase) => return false,
            // That a failed write did not happen takes its value out again.
            (Kind::Fail, Some((call, _)), Does::Write) => {
                return row.value != NO_VALUE && zones.write_fails(value, call as u32);
            }
            (Kind::Fail | Kind::Info, Some(_), _) => {}
            // Not a sound history: whoever reads it in full says why.
            (Kind::Invoke, Some(_), _) | (Kind::Ok | Kind::Fail | Kind::Info, None, _) => {
                return false;
            }
        }
        zones.repeated().is_none()
    }
}

impl Dictionary for Keys {
    fn value(&mut self, key: u32, value: Literal<'_>) -> Result<(), Refused> {
        let at = key.wrapping_add(1) as usize;
        // The text is that of the writer's JSON: null has one spelling.
        if matches!(value, Literal::Json(b"null")) {
            self.nulls[at] = self.values[at];
        }
        self.values[at] += 1;
        Ok(())
    }

    fn key(&mut self, _: &[u8]) -> Result<(), Refused> {
        self.values.push(0);
        self.nulls.push(NO_VALUE);
        Ok(())
    }
}

/// The register of a conflict, with the calls of that alone.
struct Fetched {
    object: Object<RegisterOp>,
    /// Of each call the index of its invocation, which is what the zones know it by.
    begun: Vec<u64>,
}

impl Fetched {
    fn position(&self, call: u32) -> u32 {
        let at = self.begun.iter().position(|begun| *begun == u64::from(call));
        at.expect("every call of a conflict has been fetched") as u32
    }
}

/// Reads the calls of conflicts, and the values they speak of.
fn fetch<R: Read>(
    reader: R,
    conflicts: &[(u32, Conflict)],
    meter: &mut Meter,
) -> Result<Vec<Fetched>, CompactError> {
    let mut wanted: HashMap<u64, usize> = HashMap::new();
    for (at, (_, conflict)) in conflicts.iter().enumerate() {
        wanted.extend(conflict.calls().into_iter().map(|call| (u64::from(call), at)));
    }
    let mut rows = Rows::new(reader)?;
    let mut texts = Texts { values: vec![Vec::new()], keys: Vec::new() };
    let mut calls: HashMap<u64, (Row, Option<Row>)> = HashMap::new();
    while let Some(row) = rows.next_row(&mut texts)? {
        let ops = row.index;
        meter.tick().map_err(|exhausted| CompactError::Budget { exhausted, ops })?;
        if wanted.contains_key(&row.index) {
            calls.insert(row.index, (row, None));
        }
        if let Some((begun, _)) = row.invoke
            && let Some(call) = calls.get_mut(&begun)
        {
            call.1 = Some(row);
        }
    }
    let mut fetched: Vec<Fetched> = Vec::with_capacity(conflicts.len());
    for (place, _) in conflicts {
        let key = place.checked_sub(1).map(|key| texts.keys[key as usize].as_str().into());
        let values = Values::new(Value::Null);
        let object = Object { key, values, calls: Vec::new(), failed: Vec::new() };
        fetched.push(Fetched { object, begun: Vec::new() });
    }
    let mut begun: Vec<u64> = calls.keys().copied().collect();
    begun.sort_unstable();
    for begun in begun {
        let (invoke, completion) = &calls[&begun];
        let to = &mut fetched[wanted[&begun]];
        let ended = completion.filter(|row| row.kind == Kind::Ok);
        let is_write = does(rows.f(invoke.f)) == Some(Does::Write);
        let source = if is_write { Some(*invoke) } else { ended };
        let value = source.map_or(&Value::Null, |row| texts.value(&row));
        let value = to.object.values.intern(value);
        let op = if is_write { RegisterOp::Write(value) } else { RegisterOp::Read(value) };
        to.begun.push(begun);
        to.object.calls.push(Call {
            op,
            name: completion.map_or(begun, |row| row.index),
            process: invoke.process,
            invoked: invoke.time,
            returned: ended.map(|row| row.time),
        });
    }
    Ok(fetched)
}

/// All values, packed as they came: a witness may speak of any.
struct Texts {
    values: Vec<Vec<Value>>,
    keys: Vec<String>,
}

impl Texts {
    fn value(&self, row: &Row) -> &Value {
        let values = &self.values[row.key.wrapping_add(1) as usize];
        values.get(row.value as usize).unwrap_or(&Value::Null)
    }
}

impl Dictionary for Texts {
    fn value(&mut self, key: u32, value: Literal<'_>) -> Result<(), Refused> {
        let value = match value {
            Literal::Integer(integer) => integer.into(),
            Literal::Json(text) => serde_json::from_slice(text)
                .map_err(|_| Refused::Damaged("a value that is no JSON"))?,
        };
        self.values[key.wrapping_add(1) as usize].push(value);
        Ok(())
    }

    fn key(&mut self, text: &[u8]) -> Result<(), Refused> {
        self.values.push(Vec::new());
        self.keys.push(String::from_utf8_lossy(text).into_owned());
        Ok(())
    }
}
