//! The zone check straight from a compact file: nothing is held but the values' zones.
//!
//! It reads the file once to judge, on all cores, and once more the parts of it with the few calls
//! of a witness.

use std::io::Read;

use hashbrown::HashMap;
use serde_json::Value;

use self::gather::{Gathered, gather};
use self::names::Names;
use self::register::Does;
use super::calls::{Call, Object, no_answer};
use super::zones::Conflict;
use super::{Judgement, Linearizable};
use crate::formats::compact::{
    CompactError, Dictionary, Literal, NO_VALUE, Place, Refused, Row, Rows,
};
use crate::history::op::Kind;
use crate::judge::budget::Meter;
use crate::judge::verdict::CheckReport;
use crate::spec::{self, RegisterOp, Values};

mod gather;
mod names;
mod register;

/// Judges the registers of a compact history, one a key, which hold `null` at first. `None` when
/// the zone check is not enough: a value is written twice, or an operation is none of a register;
/// then the history has to be [read](crate::formats::compact::read) and searched.
///
/// `open` gives the file from its beginning; it is asked again when there is a witness to show.
pub fn check_registers<R: Read + Send>(
    mut open: impl FnMut() -> std::io::Result<R>,
    meter: &mut Meter,
) -> Result<Option<CheckReport>, CompactError> {
    let Some(gathered) = gather(open()?, meter)? else { return Ok(None) };
    let Gathered { lines, calls, answers, used, conflicts, names, places } = gathered;
    // Calls are numbered in 32 bits here, of which the last number stands for none.
    if lines >= u64::from(u32::MAX) {
        return Ok(None);
    }
    let answers = answers as usize;
    let checker = Linearizable::new(spec::Register::default());
    let report = if conflicts.is_empty() {
        CheckReport::valid_if_judged(answers, &no_answer(checker.spec()))
    } else {
        let mut fetched = fetch(&mut open, &conflicts, &places, &names, meter)?;
        if fetched.is_none() {
            // A value was introduced somewhere else: then from the beginning.
            fetched = fetch(&mut open, &conflicts, &[], &names, meter)?;
        }
        let Some(objects) = fetched else { return Ok(None) };
        let mut judged: Vec<(usize, Judgement)> = Vec::with_capacity(objects.len());
        for (at, (object, (place, found))) in objects.iter().zip(&conflicts).enumerate() {
            let conflict = found.renumbered(|call| object.position(call));
            let mut wrong = checker.small_conflict(&object.object, &conflict);
            if let Conflict::NobodyWrote { read, .. } = found {
                wrong.is_first = is_first(open()?, *place, *read, meter)?;
            }
            judged.push((at, Judgement::Wrong(wrong)));
        }
        let objects: Vec<Object<RegisterOp>> = objects.into_iter().map(|it| it.object).collect();
        // Only the calls of what is wrong are at hand there.
        checker.report(&objects, &judged).judging(answers)
    };
    Ok(Some(
        report
            .with("keys", used)
            .with("calls", calls)
            .with("lines", lines)
            .with("engines", ["zones"])
            .with("widest", 1),
    ))
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

/// Reads the calls of conflicts, and the values they speak of: only from the places before them.
/// `None` if a value was introduced elsewhere.
fn fetch<R: Read>(
    open: impl FnOnce() -> std::io::Result<R>,
    conflicts: &[(u32, Conflict)],
    places: &[Place],
    names: &Names,
    meter: &mut Meter,
) -> Result<Option<Vec<Fetched>>, CompactError> {
    let mut wanted: Vec<(u64, usize)> = Vec::new();
    let mut fetched: Vec<Fetched> = Vec::with_capacity(conflicts.len());
    let mut texts = Texts::default();
    for (at, (place, conflict)) in conflicts.iter().enumerate() {
        wanted.extend(conflict.calls().into_iter().map(|call| (u64::from(call), at)));
        texts.counts.insert(*place, 0);
        let key = names.at(*place).map(|name| name.into_owned().into());
        let values = Values::new(Value::Null);
        let object = Object { key, values, calls: Vec::new(), failed: Vec::new() };
        fetched.push(Fetched { object, begun: Vec::new() });
    }
    wanted.sort_unstable();
    let rows = Rows::new(open()?)?;
    let calls = fetch_rows(rows, &wanted, places, &mut texts, meter)?;
    for ((begun, to), (invoke, is_write, completion)) in wanted.iter().zip(&calls) {
        let to = &mut fetched[*to];
        let ended = completion.filter(|row| row.kind == Kind::Ok);
        let source = if *is_write { Some(*invoke) } else { ended };
        let Some(value) = source.map_or(Some(&Value::Null), |row| texts.value(&row)) else {
            return Ok(None);
        };
        let value = to.object.values.intern(value);
        let op = if *is_write { RegisterOp::Write(value) } else { RegisterOp::Read(value) };
        to.begun.push(*begun);
        to.object.calls.push(Call {
            op,
            name: completion.map_or(*begun, |row| row.index),
            process: invoke.process,
            invoked: invoke.time,
            returned: ended.map(|row| row.time),
        });
    }
    Ok(Some(fetched))
}

/// Had no write of a register returned when a call began? It is read as far as it takes to know.
fn is_first(
    reader: impl Read,
    place: u32,
    call: u32,
    meter: &mut Meter,
) -> Result<bool, CompactError> {
    let mut rows = Rows::new(reader)?;
    let mut texts = Texts::default();
    while let Some(row) = rows.next_row(&mut texts)? {
        let ops = row.index;
        meter.tick().map_err(|exhausted| CompactError::Budget { exhausted, ops })?;
        if row.index == u64::from(call) {
            return Ok(true);
        }
        let writes = || Does::named(rows.f(row.f)).is_some_and(|does| does != Does::Read);
        if row.key.wrapping_add(1) == place && row.kind == Kind::Ok && writes() {
            return Ok(false);
        }
    }
    Ok(false)
}

/// Of a call its beginning, whether it writes, and its end.
type Rowed = (Row, bool, Option<Row>);

/// The rows of calls, which are in the order of their beginnings.
fn fetch_rows<R: Read>(
    mut rows: Rows<R>,
    wanted: &[(u64, usize)],
    places: &[Place],
    texts: &mut Texts,
    meter: &mut Meter,
) -> Result<Vec<Rowed>, CompactError> {
    let mut calls: Vec<Rowed> = Vec::new();
    let mut under_way: Vec<(u64, usize)> = Vec::new();
    loop {
        if under_way.is_empty() {
            let Some((next, _)) = wanted.get(calls.len()) else { break };
            let before = places.partition_point(|place| place.index <= *next);
            let place = places[..before].last().filter(|place| place.index > rows.count());
            if let Some(place) = place {
                rows.skip_to(*place)?;
                texts.skip_to(&rows);
            }
        }
        let Some(row) = rows.next_row(texts)? else { break };
        let ops = row.index;
        meter.tick().map_err(|exhausted| CompactError::Budget { exhausted, ops })?;
        // Two conflicts may want the same call.
        while wanted.get(calls.len()).is_some_and(|(call, _)| *call == row.index) {
            under_way.push((row.index, calls.len()));
            calls.push((row, Does::named(rows.f(row.f)) == Some(Does::Write), None));
        }
        if let (false, Some((begun, _))) = (under_way.is_empty(), row.invoke) {
            under_way.retain(|(open, at)| {
                if *open == begun {
                    calls[*at].2 = Some(row);
                }
                *open != begun
            });
        }
    }
    Ok(calls)
}

/// The values of the keys that conflicts are about, as far as they were introduced where rows were
/// read.
#[derive(Default)]
struct Texts {
    /// By place, that of rows without a key first: how many values there are before the next row.
    counts: HashMap<u32, u32>,
    /// By place and number.
    values: HashMap<(u32, u32), Value>,
}

impl Texts {
    fn value(&self, row: &Row) -> Option<&Value> {
        match row.value {
            NO_VALUE => Some(&Value::Null),
            value => self.values.get(&(row.key.wrapping_add(1), value)),
        }
    }

    fn skip_to<R: Read>(&mut self, rows: &Rows<R>) {
        for (place, count) in &mut self.counts {
            *count = rows.values(*place);
        }
    }
}

impl Dictionary for Texts {
    fn value(&mut self, key: u32, value: Literal<'_>) -> Result<(), Refused> {
        let place = key.wrapping_add(1);
        let Some(count) = self.counts.get_mut(&place) else { return Ok(()) };
        let value = match value {
            Literal::Integer(integer) => integer.into(),
            Literal::Json(text) => serde_json::from_slice(text)
                .map_err(|_| Refused::Damaged("a value that is no JSON"))?,
        };
        self.values.insert((place, *count), value);
        *count += 1;
        Ok(())
    }

    fn key(&mut self, _: &[u8]) -> Result<(), Refused> {
        Ok(())
    }
}
