//! Siblings straight from a compact file: versions and reads are held by number, no text at all.
//!
//! The file is read into a [log](super::log); then keys are made and judged one by one, on all
//! cores. It answers where there is nothing to find. Where there is, the history has to be
//! [read](crate::formats::compact::read) and judged the ordinary way, which can say what it is.

use std::borrow::Cow;
use std::io::Read as Bytes;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hashbrown::HashMap;
use serde_json::Value;

use super::log::{self, Log, Logged, NO_LINE, OfKey};
use super::{Part, Siblings};
use crate::formats::compact::{CompactError, Literal, NO_VALUE, Rows};
use crate::history::Outcome;
use crate::judge::budget::{Exhausted, Meter};
use crate::judge::parallel::in_ranges;
use crate::judge::verdict::{CheckReport, Verdict};
use crate::siblings::versions::{Does, Few, Key, Nodes, Read, VersionId};

/// Judges a compact history of siblings. `None` when it must be read in full: for what is wrong to
/// be told in words, or because it is no well-formed history of siblings.
pub fn check_siblings<R: Bytes>(
    reader: R,
    rules: &Siblings,
    meter: &mut Meter,
) -> Result<Option<CheckReport>, CompactError> {
    let mut rows = Rows::new(reader)?;
    let Some(logs) = log::read(&mut rows, meter)? else { return Ok(None) };
    if rows.torn().is_some() {
        return Ok(None);
    }
    let lines = rows.count();
    drop(rows);
    let Some(report) = judge(&logs, rules, meter) else { return Ok(None) };
    let report = report.with("lines", lines);
    Ok((report.verdict() != Verdict::Invalid).then_some(report))
}

/// Makes and judges the keys of logs; `None` when the ordinary way must look at one.
fn judge(logs: &[Log], rules: &Siblings, meter: &Meter) -> Option<CheckReport> {
    let ops: usize = logs.iter().map(Log::ops).sum();
    let beyond = AtomicBool::new(false);
    let used = AtomicUsize::new(0);
    let parts = in_ranges(logs.len(), ops < super::FEW, |range| {
        let mut part = Part::new(rules, meter);
        for log in &logs[range] {
            match part.judge_log(log, &used) {
                Ok(Some(())) => {}
                Ok(None) => beyond.store(true, Ordering::Relaxed),
                Err(exhausted) => part.exhausted = Some(exhausted),
            }
            if part.exhausted.is_some() || beyond.load(Ordering::Relaxed) {
                break;
            }
        }
        part
    });
    (!beyond.into_inner()).then(|| rules.report(parts, used.into_inner()))
}

impl Part<'_> {
    /// Makes and judges the keys of a log; `None` when the ordinary way must look at one.
    fn judge_log(&mut self, log: &Log, used: &AtomicUsize) -> Result<Option<()>, Exhausted> {
        let by_key = log.by_key(&self.meter)?;
        let mut making = Making::default();
        for of_key in by_key.keys().filter(|of_key| of_key.ops().len() > 0) {
            used.fetch_add(1, Ordering::Relaxed);
            let Some(key) = making.key(of_key, &mut self.meter)? else { return Ok(None) };
            // Names are for words, of which there are none here.
            self.judge("", &key, &Nodes::default());
            if self.exhausted.is_some() {
                break;
            }
        }
        Ok(Some(()))
    }
}

/// The value of every put: only that there is one matters here.
static SOME_VALUE: Value = Value::Null;

/// What is needed while a key is made.
#[derive(Default)]
struct Making<'a> {
    /// The versions of the values that puts have written, by integer and by text.
    integers: HashMap<i64, VersionId>,
    texts: HashMap<Cow<'a, [u8]>, VersionId>,
    /// Of each version the line that began it, and whether it failed.
    begun: Vec<(u32, bool)>,
    /// The reads by the lines that ended them, with their places.
    ended: Vec<(u64, u32)>,
}

impl<'a> Making<'a> {
    /// The key as it is judged; `None` when the ordinary way must look at it.
    fn key(&mut self, of: OfKey<'a>, meter: &mut Meter) -> Result<Option<Key<'static>>, Exhausted> {
        self.integers.clear();
        self.texts.clear();
        self.begun.clear();
        self.ended.clear();
        let mut key = Key::default();
        for logged in of.ops() {
            meter.tick()?;
            if logged.op.does.writes() && self.number(of, logged).is_none() {
                return Ok(None);
            }
        }
        key.versions.reserve_exact(self.begun.len());
        key.reads.reserve_exact(of.ops().len() - self.begun.len());
        for logged in of.ops() {
            meter.tick()?;
            if !logged.op.does.writes() && self.read(of, logged, &mut key).is_none() {
                return Ok(None);
            }
        }
        self.ended.sort_unstable();
        for logged in of.ops() {
            if logged.op.does.writes() && self.write(logged, &mut key).is_none() {
                return Ok(None);
            }
        }
        Ok(Some(key))
    }

    /// Gives the next version its number; `None` if its value is no single one or was written
    /// before.
    fn number(&mut self, of: OfKey<'a>, logged: &Logged) -> Option<()> {
        let version = self.begun.len() as VersionId;
        self.begun.push((logged.begun, logged.op.outcome == Outcome::Fail));
        if logged.op.does == Does::Delete {
            return Some(());
        }
        let before = match of.value(logged.value)? {
            Literal::Integer(integer) => self.integers.insert(integer, version),
            Literal::Json(text) if text.starts_with(b"[") || text == b"null" => return None,
            Literal::Json(text) => self.texts.insert(canonical(text)?, version),
        };
        before.is_none().then_some(())
    }

    fn read(&mut self, of: OfKey<'a>, logged: &Logged, key: &mut Key<'static>) -> Option<()> {
        let op = logged.op;
        if op.outcome != Outcome::Ok {
            key.unanswered.push(op);
            return Some(());
        }
        let returned = match logged.value {
            NO_VALUE => Few::new(),
            number => match of.value(number)? {
                Literal::Json(b"null") => Few::new(),
                Literal::Json(text) if text.starts_with(b"[") => self.list(text, op.name)?,
                Literal::Json(_) | Literal::Integer(_) => return None,
            },
        };
        self.ended.push((op.name, key.reads.len() as u32));
        key.reads.push(Read { op, returned });
        Some(())
    }

    fn write(&mut self, logged: &Logged, key: &mut Key<'static>) -> Option<()> {
        let covers = match logged.context {
            NO_LINE => Few::new(),
            line if line > logged.begun => return None,
            line => {
                key.has_contexts = true;
                let at = self.ended.binary_search_by_key(&u64::from(line), |(name, _)| *name);
                key.reads[self.ended[at.ok()?].1 as usize].returned.clone()
            }
        };
        key.push(logged.op, (logged.op.does == Does::Put).then_some(&SOME_VALUE), covers);
        Some(())
    }

    /// A list of versions; `None` if one of them had not begun by a line, or had failed, or stands
    /// there twice.
    fn list(&self, text: &[u8], line: u64) -> Option<Few> {
        let mut list = Few::new();
        match integers(text) {
            Some(found) => {
                for value in found {
                    list.push(*self.integers.get(&value)?);
                }
            }
            None => {
                for value in serde_json::from_slice::<Vec<Value>>(text).ok()? {
                    list.push(self.version_of(&value)?);
                }
            }
        }
        list.sort_unstable();
        let sound = |version: &VersionId| {
            let (begun, failed) = self.begun[*version as usize];
            !failed && u64::from(begun) < line
        };
        (list.windows(2).all(|two| two[0] < two[1]) && list.iter().all(sound)).then_some(list)
    }

    fn version_of(&self, value: &Value) -> Option<VersionId> {
        match value.as_i64() {
            Some(integer) => self.integers.get(&integer).copied(),
            None => self.texts.get(value.to_string().as_bytes()).copied(),
        }
    }
}

/// The one spelling of a JSON text.
fn canonical(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    // A string without escapes has but one.
    if text.starts_with(b"\"") && !text.contains(&b'\\') {
        return Some(Cow::Borrowed(text));
    }
    let value: Value = serde_json::from_slice(text).ok()?;
    // An integer written as a text would not be found as one.
    value.as_i64().is_none().then(|| Cow::Owned(value.to_string().into_bytes()))
}

/// The integers of a JSON list of nothing else.
fn integers(text: &[u8]) -> Option<smallvec::SmallVec<[i64; 4]>> {
    let inner = text.strip_prefix(b"[")?.strip_suffix(b"]")?;
    let mut all = smallvec::SmallVec::new();
    if inner.is_empty() {
        return Some(all);
    }
    for item in inner.split(|byte| *byte == b',') {
        let digits = item.strip_prefix(b"-").unwrap_or(item);
        let plain = matches!(digits, [b'0'] | [b'1'..=b'9', ..]) && item != b"-0";
        if !plain || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let number = digits.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
        all.push(if digits.len() < item.len() { -number } else { number });
    }
    Some(all)
}
