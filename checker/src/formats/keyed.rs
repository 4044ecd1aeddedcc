//! Jepsen's independent keys: values that are pairs `[key value]`, in every shape they have.
//!
//! `[1 2]` may be a key and its value or a value that is a pair. What tells them apart is what an
//! operation asks with: a read of a register asks with nothing and one of a key with `[key nil]`, a
//! compare-and-set of a register has `[old new]` and one of a key `[key [old new]]`, a lock is
//! asked for with nothing and one of many with its name.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::import::{Made, is_null, malformed, reads};
use crate::history::HistoryError;
use crate::history::op::Kind;

/// What an invocation tells.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tells {
    Keyed,
    Plain,
    /// A pair, which may be either.
    Either,
    Nothing,
}

fn tells(f: &str, value: Option<&Value>) -> Tells {
    let locks = is_lock(f);
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return if locks || reads(f) { Tells::Plain } else { Tells::Nothing };
    };
    let Some((key, inner)) = pair(value) else { return Tells::Plain };
    if key.is_null() || is_micro_ops(value) {
        return Tells::Plain;
    }
    match f {
        "txn" if is_micro_ops(inner) => Tells::Keyed,
        "txn" => Tells::Plain,
        _ if locks => Tells::Keyed,
        // Of versioned stores one asks with [key [nil nil]].
        _ if reads(f) && (inner.is_null() || is_empty_version(inner)) => Tells::Keyed,
        "cas" if pair(inner).is_none() => Tells::Plain,
        "cas" if !key.is_array() => Tells::Keyed,
        _ => Tells::Either,
    }
}

fn is_lock(f: &str) -> bool {
    matches!(f, "acquire" | "release" | "lock" | "unlock")
}

fn pair(value: &Value) -> Option<(&Value, &Value)> {
    match value.as_array().map(Vec::as_slice) {
        Some([key, inner]) => Some((key, inner)),
        _ => None,
    }
}

fn is_empty_version(value: &Value) -> bool {
    pair(value).is_some_and(|(version, value)| version.is_null() && value.is_null())
}

/// `[[:r key value] [:w key value] ...]`
pub(crate) fn is_micro_ops(value: &Value) -> bool {
    let is_micro = |part: &Value| {
        let name = part.as_array().and_then(|part| part.first()).and_then(Value::as_str);
        matches!(name, Some("r" | "w" | "append"))
    };
    value.as_array().is_some_and(|parts| !parts.is_empty() && parts.iter().all(is_micro))
}

/// Splits the keys off where values are pairs of a key and a value, or where that is said.
pub(crate) fn split(made: &mut Made, forced: Option<bool>) -> Result<(), HistoryError> {
    let mut keys = Keys::default();
    for foreign in &mut made.ops {
        foreign.op.key = foreign.key.take().map(|key| keys.name(key));
    }
    let keyed = match forced {
        Some(keyed) => keyed,
        None if made.ops.iter().any(|op| op.is_client() && op.op.key.is_some()) => false,
        None => is_keyed(made)?,
    };
    if !keyed {
        return Ok(());
    }
    for at in 0..made.ops.len() {
        if !made.ops[at].is_client() || made.ops[at].op.key.is_some() {
            continue;
        }
        let begun = made.begun[at].map(|begun| (made.ops[begun].op.key.clone(), begun));
        let op = &mut made.ops[at].op;
        let value = op.value.take();
        let (key, inner) = match (begun, value) {
            (None, Some(Value::Array(two))) if two.len() == 2 && op.kind == Kind::Invoke => {
                let mut two = two.into_iter();
                (two.next().map(|key| keys.name(key)), two.next())
            }
            (None, Some(name)) if is_lock(&op.f) && !name.is_null() => {
                (Some(keys.name(name)), None)
            }
            (None, _) => {
                let message =
                    "its value is no pair [key value]: --keyed=no takes values as they are";
                return Err(malformed(at, &made.ops, message.to_owned()));
            }
            // A completion may say its pair, the value alone that came back, or nothing.
            (Some((key, _)), Some(Value::Array(two)))
                if two.len() == 2 && is_key(&keys, &two[0], &key) =>
            {
                (key, two.into_iter().nth(1))
            }
            (Some((key, begun)), value) => {
                let says_all = op.kind == Kind::Ok && reads(&op.f) && !is_null(value.as_ref());
                if says_all {
                    let line = made.ops[begun].line;
                    let message = format!(
                        "its value does not repeat the key of its invocation on line {line}, as \
                         [key value]: --keyed=no takes values as they are"
                    );
                    return Err(malformed(at, &made.ops, message));
                }
                (key, value)
            }
        };
        (op.key, op.value) = (key, inner);
    }
    Ok(())
}

fn is_key(keys: &Keys, value: &Value, key: &Option<Arc<str>>) -> bool {
    keys.known.get(value).is_some_and(|known| Some(known) == key.as_ref())
}

/// Do the invocations tell that values are pairs with a key? An error where they do not tell.
fn is_keyed(made: &Made) -> Result<bool, HistoryError> {
    let (mut keyed, mut plain, mut either) = (None, None, None);
    let mut lock: Option<(&Value, usize)> = None;
    for (at, foreign) in made.ops.iter().enumerate() {
        let op = &foreign.op;
        if op.kind != Kind::Invoke || !foreign.is_client() {
            continue;
        }
        match tells(&op.f, op.value.as_ref()) {
            Tells::Keyed => _ = keyed.get_or_insert(at),
            Tells::Plain => _ = plain.get_or_insert(at),
            Tells::Either => _ = either.get_or_insert(at),
            Tells::Nothing => {}
        }
        let name = op.value.as_ref().filter(|value| is_lock(&op.f) && pair(value).is_none());
        match (name.filter(|name| !name.is_null()), lock) {
            (Some(name), Some((before, line))) if name != before => {
                let message = format!(
                    "it {}s {name} and that on line {} {before}: are these the names of locks \
                     (--keyed), or of who takes the one lock there is (--keyed=no)?",
                    op.f, made.ops[line].line
                );
                return Err(malformed(at, &made.ops, message));
            }
            (Some(name), None) => lock = Some((name, at)),
            _ => {}
        }
    }
    let line = |at: usize| made.ops[at].line;
    match (keyed, plain, either) {
        (None, None, None) | (None, Some(_), _) => Ok(false),
        (Some(_), None, _) => Ok(true),
        (Some(keyed), Some(plain), _) => {
            let message = format!(
                "its value is no pair [key value], as that on line {} is: --keyed=no takes values \
                 as they are",
                line(keyed)
            );
            Err(malformed(plain, &made.ops, message))
        }
        (None, None, Some(either)) => {
            let message = "its value is a pair, as all are, and no read tells whether that is \
                           [key value]: --keyed says that it is, --keyed=no that it is not";
            Err(malformed(either, &made.ops, message.to_owned()))
        }
    }
}

/// What keys are called. Keys are values of any kind, and `7` is another than `"7"`.
#[derive(Default)]
struct Keys {
    known: HashMap<Value, Arc<str>>,
    taken: HashSet<Arc<str>>,
}

impl Keys {
    fn name(&mut self, key: Value) -> Arc<str> {
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let mut text = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
        while self.taken.contains(&*text) {
            text = if key.is_string() { Value::from(text).to_string() } else { format!("#{text}") };
        }
        let name: Arc<str> = text.into();
        self.taken.insert(name.clone());
        self.known.insert(key, name.clone());
        name
    }
}

fn version(value: &Value) -> Option<(&Value, &Value)> {
    pair(value).filter(|(version, _)| version.is_null() || version.is_u64())
}

/// Values of versioned stores, `[version value]`, of which a write does not know the version it
/// will get: the values are judged, and the versions are not. Gives a note of it.
pub(crate) fn leave_versions_out(made: &mut Made) -> Option<String> {
    let clients = || made.ops.iter().filter(|op| op.is_client());
    let all = clients().all(|op| {
        let may_lack = op.op.kind != Kind::Invoke || reads(&op.op.f);
        match &op.op.value {
            None | Some(Value::Null) => may_lack,
            Some(value) => value.is_boolean() || version(value).is_some(),
        }
    });
    // Some version is known only after the fact.
    let told_later = made.begun.iter().enumerate().any(|(at, begun)| {
        let invoked = begun.and_then(|begun| version(made.ops[begun].op.value.as_ref()?));
        let ended = made.ops[at].op.value.as_ref().and_then(version);
        invoked.zip(ended).is_some_and(|((before, asked), (after, got))| {
            before.is_null() && after.is_u64() && (asked == got || asked.is_null())
        })
    });
    if !all || !told_later {
        return None;
    }
    for foreign in made.ops.iter_mut().filter(|op| op.is_client()) {
        if let Some(Value::Array(two)) = &mut foreign.op.value {
            foreign.op.value = two.pop();
        }
    }
    Some("values are [version value]: the values are judged, the versions are not".to_owned())
}
