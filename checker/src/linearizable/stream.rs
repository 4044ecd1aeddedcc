//! The zone check straight from a compact file: nothing is held but the values' zones.
//!
//! It reads the file once to judge, and once more for the few calls of a witness.

use std::io::Read;

use hashbrown::{HashMap, HashSet};
use serde_json::Value;

use super::calls::{Call, Object};
use super::zones::{Conflict, Zones};
use super::{Judgement, Linearizable};
use crate::budget::Meter;
use crate::formats::compact::by_key::{OfKey, gather};
use crate::formats::compact::{CompactError, Dictionary, Literal, NO_VALUE, Refused, Row, Rows};
use crate::op::Kind;
use crate::spec::{self, RegisterOp, Values};
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
    let Some(registers) = gather::<_, Register>(&mut rows, meter)? else { return Ok(None) };
    if rows.torn().is_some() {
        // A run that was cut short is for the ordinary way, which reports that.
        return Ok(None);
    }
    if rows.has_ties() {
        // The calls of one process stand in turn even then: that is for a closer look.
        return Ok(None);
    }
    let calls: u64 = registers.iter().map(|register| register.calls).sum();
    let used = registers.iter().filter(|register| register.calls > 0).count();
    let places = (0..).zip(&registers);
    let conflicts: Vec<(u32, Conflict)> =
        places.filter_map(|(place, it)| Some((place, it.zones.conflict()?))).collect();
    drop(registers);
    let report = if calls == 0 {
        CheckReport::unknown("no operation: nothing to judge")
    } else if conflicts.is_empty() {
        CheckReport::valid()
    } else {
        let objects = fetch(open()?, &conflicts, meter)?;
        let checker = Linearizable::new(spec::Register::default());
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
            .with("keys", used)
            .with("calls", calls)
            .with("lines", rows.count())
            .with("engines", ["zones"])
            .with("widest", 1),
    ))
}

/// A register in the making.
struct Register {
    zones: Zones,
    calls: u64,
    /// How many values it has.
    values: u32,
    /// The number that `null` has among them, if it has one.
    null: u32,
}

impl Default for Register {
    fn default() -> Self {
        Self { zones: Zones::new(), calls: 0, values: 0, null: NO_VALUE }
    }
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

impl OfKey for Register {
    type Does = Does;

    fn does(f: &str) -> Option<Does> {
        does(f)
    }

    #[inline(always)]
    fn introduce(&mut self, value: Literal<'_>) {
        // The text is that of the writer's JSON: null has one spelling.
        if matches!(value, Literal::Json(b"null")) {
            self.null = self.values;
        }
        self.values += 1;
    }

    #[inline(always)]
    fn take(&mut self, row: &Row, does: Option<Does>) -> Option<()> {
        self.row(row, does?).then_some(())
    }
}

impl Register {
    /// Takes a row in; `false` when that is beyond the zone check.
    #[inline(always)]
    fn row(&mut self, row: &Row, does: Does) -> bool {
        // Positions of calls are of 32 bits, and the last stands for none.
        let Ok(index) = u32::try_from(row.index) else { return false };
        // The register's own numbers: 0 for the initial null, then the key's values in order.
        let value = match row.value {
            NO_VALUE => Values::FIRST,
            value if value == self.null => Values::FIRST,
            value => value + 1,
        };
        let zones = &mut self.zones;
        match (row.kind, row.invoke, does) {
            (Kind::Invoke, None, Does::Read) => self.calls += 1,
            (Kind::Invoke, None, Does::Write) => {
                self.calls += 1;
                zones.write_begins(value, index, row.time);
                return zones.repeated().is_none();
            }
            (Kind::Ok, Some((call, begun)), Does::Read) => {
                zones.read_returns(value, call as u32, begun, row.time);
            }
            (Kind::Ok, Some((call, _)), Does::Write) => {
                zones.write_returns(value, call as u32, row.time);
            }
            // That a failed write did not happen takes its value out again.
            (Kind::Fail, Some((call, _)), Does::Write) => {
                return row.value != NO_VALUE && zones.write_fails(value, call as u32);
            }
            (Kind::Fail | Kind::Info, Some(_), Does::Read | Does::Write) => {}
            // What erases writes the initial value again.
            (_, _, Does::Erase) => return false,
            // Not a sound history: whoever reads it in full says why.
            (Kind::Invoke, Some(_), _) | (Kind::Ok | Kind::Fail | Kind::Info, None, _) => {
                return false;
            }
        }
        true
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
    let mut wanted: Vec<(u64, usize)> = Vec::new();
    let mut texts = Texts::default();
    for (at, (place, conflict)) in conflicts.iter().enumerate() {
        wanted.extend(conflict.calls().into_iter().map(|call| (u64::from(call), at)));
        texts.wanted.insert(*place);
    }
    wanted.sort_unstable();
    let mut rows = Rows::new(reader)?;
    // In the order of their beginnings.
    let mut calls: Vec<(Row, Option<Row>)> = Vec::new();
    let mut open: Vec<(u64, usize)> = Vec::new();
    while let Some(row) = rows.next_row(&mut texts)? {
        let ops = row.index;
        meter.tick().map_err(|exhausted| CompactError::Budget { exhausted, ops })?;
        if wanted.get(calls.len()).is_some_and(|(call, _)| *call == row.index) {
            open.push((row.index, calls.len()));
            calls.push((row, None));
        } else if let (false, Some((begun, _))) = (open.is_empty(), row.invoke)
            && let Some(at) = open.iter().position(|(open, _)| *open == begun)
        {
            calls[open.swap_remove(at).1].1 = Some(row);
        }
        if open.is_empty() && calls.len() == wanted.len() {
            break;
        }
    }
    let mut fetched: Vec<Fetched> = Vec::with_capacity(conflicts.len());
    for (place, _) in conflicts {
        let key = place.checked_sub(1).map(|key| texts.keys[key as usize].as_str().into());
        let values = Values::new(Value::Null);
        let object = Object { key, values, calls: Vec::new(), failed: Vec::new() };
        fetched.push(Fetched { object, begun: Vec::new() });
    }
    for ((begun, to), (invoke, completion)) in wanted.iter().zip(&calls) {
        let to = &mut fetched[*to];
        let ended = completion.filter(|row| row.kind == Kind::Ok);
        let is_write = does(rows.f(invoke.f)) == Some(Does::Write);
        let source = if is_write { Some(*invoke) } else { ended };
        let value = source.map_or(&Value::Null, |row| texts.value(&row));
        let value = to.object.values.intern(value);
        let op = if is_write { RegisterOp::Write(value) } else { RegisterOp::Read(value) };
        to.begun.push(*begun);
        to.object.calls.push(Call {
            op,
            name: completion.map_or(*begun, |row| row.index),
            process: invoke.process,
            invoked: invoke.time,
            returned: ended.map(|row| row.time),
        });
    }
    Ok(fetched)
}

/// The keys, and of those that conflicts are about all values: a witness may speak of any.
#[derive(Default)]
struct Texts {
    /// By place: that of rows without a key is the first.
    wanted: HashSet<u32>,
    values: HashMap<u32, Vec<Value>>,
    keys: Vec<String>,
}

impl Texts {
    fn value(&self, row: &Row) -> &Value {
        let values = self.values.get(&row.key.wrapping_add(1));
        values.and_then(|values| values.get(row.value as usize)).unwrap_or(&Value::Null)
    }
}

impl Dictionary for Texts {
    fn value(&mut self, key: u32, value: Literal<'_>) -> Result<(), Refused> {
        let place = key.wrapping_add(1);
        if !self.wanted.contains(&place) {
            return Ok(());
        }
        let value = match value {
            Literal::Integer(integer) => integer.into(),
            Literal::Json(text) => serde_json::from_slice(text)
                .map_err(|_| Refused::Damaged("a value that is no JSON"))?,
        };
        self.values.entry(place).or_default().push(value);
        Ok(())
    }

    fn key(&mut self, text: &[u8]) -> Result<(), Refused> {
        self.keys.push(String::from_utf8_lossy(text).into_owned());
        Ok(())
    }
}
