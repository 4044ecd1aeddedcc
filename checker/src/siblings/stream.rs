//! Siblings straight from a compact file: versions and reads are held by number, no text at all.
//!
//! It answers where there is nothing to find. Where there is, the history has to be
//! [read](crate::formats::compact::read) and judged the ordinary way, which can say what it is.

use std::io::Read as Bytes;

use hashbrown::HashMap;
use serde_json::Value;

use super::Siblings;
use crate::budget::Meter;
use crate::formats::compact::by_key::{OfKey, gather};
use crate::formats::compact::{CompactError, Literal, NO_VALUE, Row, Rows};
use crate::history::Outcome;
use crate::op::Kind;
use crate::verdict::{CheckReport, Verdict};
use crate::versions::{Deed, Does, Few, Key, Keys, NO_NODE, Nodes, Read, VersionId};

/// Judges a compact history of siblings. `None` when it must be read in full: for what is wrong to
/// be told in words, or because it is no well-formed history of siblings.
pub fn check_siblings<R: Bytes>(
    reader: R,
    rules: &Siblings,
    meter: &mut Meter,
) -> Result<Option<CheckReport>, CompactError> {
    let mut rows = Rows::new(reader)?;
    let Some(growing) = gather::<_, Growing>(&mut rows, meter)? else { return Ok(None) };
    if rows.torn().is_some() {
        return Ok(None);
    }
    let Some(keys) = finish(growing) else { return Ok(None) };
    let report = rules.judge(&keys, meter).with("lines", rows.count());
    Ok((report.verdict != Verdict::Invalid).then_some(report))
}

/// The value of every put: only that there is one matters here.
static SOME_VALUE: Value = Value::Null;

/// One key while rows come in.
#[derive(Default)]
struct Growing {
    key: Key<'static>,
    /// What each value of the key stands for.
    values: Vec<Meant>,
    /// A value was introduced that no operation has taken up yet.
    fresh: bool,
    /// The list that was introduced.
    list: Few,
    /// The versions of the values that puts have written, by integer and by text.
    integers: HashMap<i64, VersionId>,
    texts: HashMap<Box<[u8]>, VersionId>,
    /// The answered reads in the order of their ends, with their places among `key.reads`.
    ended: Vec<(u64, u32)>,
    /// Of each of `key.reads` the index of its beginning.
    begun: Vec<u64>,
    open: Vec<Open>,
}

/// An operation under way, and what must not change until it ends.
struct Open {
    begun: u64,
    op: Deed,
    /// Of a write its version.
    version: VersionId,
    value: u32,
    context: Option<u64>,
}

/// What a value of the file stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meant {
    /// What this version wrote.
    Version(VersionId),
    /// The list that the read at this place returned.
    List(u32),
    /// A list of something that no put had written by then, or had written twice.
    Strange,
    Null,
}

/// The keys as they are judged; `None` if something failed was read after all.
fn finish(growing: Vec<Growing>) -> Option<Keys<'static>> {
    let mut keys = Vec::with_capacity(growing.len());
    // What stands without a key is not looked at by the ordinary way either.
    for growing in growing.into_iter().skip(1) {
        let mut key = growing.key;
        let failed = |id: &VersionId| key.versions[*id as usize].op.outcome == Outcome::Fail;
        if key.reads.iter().any(|read| read.returned.iter().any(failed)) {
            return None;
        }
        let unanswered = growing.open.iter().map(|open| open.op);
        key.unanswered.extend(unanswered.filter(|op| !op.does.writes()));
        let mut reads: Vec<(u64, Read)> = growing.begun.into_iter().zip(key.reads).collect();
        reads.sort_by_key(|(begun, _)| *begun);
        key.reads = reads.into_iter().map(|(_, read)| read).collect();
        if !key.versions.is_empty() || !key.reads.is_empty() || !key.unanswered.is_empty() {
            // Names are for words, of which there are none here.
            keys.push(("", key));
        }
    }
    Some(Keys { keys, nodes: Nodes::default() })
}

impl OfKey for Growing {
    type Does = Does;

    fn does(f: &str) -> Option<Does> {
        Does::named(f)
    }

    fn introduce(&mut self, value: Literal<'_>) {
        let version = self.key.versions.len() as VersionId;
        self.fresh = true;
        let meant = match value {
            Literal::Integer(integer) => {
                self.integers.insert(integer, version);
                Meant::Version(version)
            }
            Literal::Json(b"null") => Meant::Null,
            Literal::Json(text) if text.starts_with(b"[") => match self.read_list(text) {
                Some(()) => Meant::List(self.key.reads.len() as u32),
                None => Meant::Strange,
            },
            Literal::Json(text) => {
                self.texts.insert(text.into(), version);
                Meant::Version(version)
            }
        };
        self.values.push(meant);
    }

    fn take(&mut self, row: &Row, does: Option<Does>) -> Option<()> {
        match does {
            // What stands without a key is not looked at by the ordinary way either.
            _ if row.key == NO_VALUE => Some(()),
            Some(does) => self.row(row, does),
            // Nor is what does something else; but what it writes is no put's.
            None => Some(()).filter(|()| !self.fresh),
        }
    }
}

impl Growing {
    /// Takes a row in; `None` when the ordinary way must look at it.
    fn row(&mut self, row: &Row, does: Does) -> Option<()> {
        match (row.kind, row.invoke) {
            (Kind::Invoke, None) => self.begin(row, does)?,
            (Kind::Ok | Kind::Fail | Kind::Info, Some((begun, _))) => {
                let at = self.open.iter().rposition(|open| open.begun == begun)?;
                let open = self.open.swap_remove(at);
                let same =
                    open.op.does == does && (row.context.is_none() || row.context == open.context);
                self.end(row, open).filter(|()| same)?;
            }
            _ => return None,
        }
        Some(()).filter(|()| !self.fresh)
    }

    fn begin(&mut self, row: &Row, does: Does) -> Option<()> {
        let mut op = Deed::begun(does, row.index, row.time, row.process);
        (op.is_final, op.node) = (row.is_final, row.node);
        let version = self.key.versions.len() as VersionId;
        if does == Does::Put {
            // Each value is written once: by the put that introduced it.
            let written = self.values.get(row.value as usize)?;
            if *written != Meant::Version(version) || !std::mem::take(&mut self.fresh) {
                return None;
            }
        }
        if does.writes() {
            let covers = match row.context {
                None => Few::new(),
                Some(get) => {
                    self.key.has_contexts = true;
                    let at = self.ended.binary_search_by_key(&get, |(name, _)| *name).ok()?;
                    self.key.reads[self.ended[at].1 as usize].returned.clone()
                }
            };
            self.key.push(op, (does == Does::Put).then_some(&SOME_VALUE), covers);
        }
        let Row { index: begun, value, context, .. } = *row;
        self.open.push(Open { begun, op, version, value, context });
        Some(())
    }

    fn end(&mut self, row: &Row, open: Open) -> Option<()> {
        let mut op = open.op;
        op.completed(row.kind, row.index, row.time);
        op.is_final |= row.is_final;
        if row.node != NO_NODE {
            op.node = row.node;
        }
        if op.does.writes() {
            self.key.versions[open.version as usize].op = op;
            let told_otherwise = op.does == Does::Put && row.value != open.value;
            return (op.outcome != Outcome::Ok || !told_otherwise).then_some(());
        }
        if op.outcome != Outcome::Ok {
            self.key.unanswered.push(op);
            return Some(());
        }
        let place = self.key.reads.len() as u32;
        let returned = match row.value {
            NO_VALUE => Few::new(),
            value => match *self.values.get(value as usize)? {
                Meant::List(first) if first == place && self.fresh => {
                    std::mem::take(&mut self.list)
                }
                Meant::List(first) => self.key.reads.get(first as usize)?.returned.clone(),
                Meant::Null => Few::new(),
                Meant::Version(_) | Meant::Strange => return None,
            },
        };
        self.fresh = false;
        self.ended.push((op.name, place));
        self.begun.push(open.begun);
        self.key.reads.push(Read { op, returned });
        Some(())
    }

    /// Reads a list of versions; `None` if one was not written by now, or stands there twice.
    fn read_list(&mut self, text: &[u8]) -> Option<()> {
        self.list.clear();
        match integers(text) {
            Some(found) => {
                for value in found {
                    self.list.push(*self.integers.get(&value)?);
                }
            }
            None => {
                for value in serde_json::from_slice::<Vec<Value>>(text).ok()? {
                    self.list.push(self.version_of(&value)?);
                }
            }
        }
        self.list.sort_unstable();
        self.list.windows(2).all(|two| two[0] < two[1]).then_some(())
    }

    fn version_of(&self, value: &Value) -> Option<VersionId> {
        match value.as_i64() {
            Some(integer) => self.integers.get(&integer).copied(),
            None => self.texts.get(value.to_string().as_bytes()).copied(),
        }
    }
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
