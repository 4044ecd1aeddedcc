//! A key-value store of strings: `get`, `put`, `append`. Every key is an object of its own.

use std::sync::Arc;

use serde_json::Value;

use super::{Needs, Spec, Tie, Values, argument, returned, unknown_f};
use crate::history::{Outcome, Pair};

/// An operation on one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KvOp {
    /// It returned this; the empty string where there was nothing.
    Get(Arc<str>),
    /// It writes this.
    Put(Arc<str>),
    /// It adds this at the end.
    Append(Arc<str>),
}

/// The specification. `delete` writes the empty string.
#[derive(Clone, Debug, Default)]
pub struct Kv {
    /// What a key holds before the first write.
    pub initial: Arc<str>,
}

impl Spec for Kv {
    type Op = KvOp;
    type State = Arc<str>;

    fn name(&self) -> &str {
        "kv"
    }

    fn read(&self, pair: &Pair<'_>, _values: &mut Values) -> Result<Option<KvOp>, String> {
        match pair.f() {
            "get" | "read" if pair.outcome() != Outcome::Ok => Ok(None),
            "get" | "read" => returned(pair).map(|value| Ok(KvOp::Get(text(value)?))).transpose(),
            "put" | "write" => Ok(Some(KvOp::Put(text(argument(pair)?)?))),
            "append" => Ok(Some(KvOp::Append(text(argument(pair)?)?))),
            "delete" => Ok(Some(KvOp::Put("".into()))),
            _ => Err(unknown_f("kv", pair, "get, put, append, delete, read and write")),
        }
    }

    fn init(&self) -> Arc<str> {
        self.initial.clone()
    }

    fn step(&self, state: &Arc<str>, op: &KvOp) -> Option<Arc<str>> {
        match op {
            KvOp::Get(value) => (state == value).then(|| state.clone()),
            KvOp::Put(value) => Some(value.clone()),
            KvOp::Append(value) => Some([&**state, &**value].concat().into()),
        }
    }

    fn can_be_wrong(&self, op: &KvOp) -> bool {
        matches!(op, KvOp::Get(_))
    }

    fn tells(&self) -> &'static str {
        "get"
    }

    fn is_observer(&self, op: &KvOp) -> bool {
        match op {
            KvOp::Get(_) => true,
            KvOp::Append(value) => value.is_empty(),
            KvOp::Put(_) => false,
        }
    }

    fn needs(&self, op: &KvOp) -> Needs<Arc<str>> {
        match op {
            KvOp::Get(value) => Needs::Only(value.clone()),
            KvOp::Put(_) => Needs::Nothing,
            KvOp::Append(_) => Needs::Unsaid,
        }
    }

    fn leaves(&self, op: &KvOp) -> Option<Arc<str>> {
        match op {
            KvOp::Get(value) | KvOp::Put(value) => Some(value.clone()),
            KvOp::Append(_) => None,
        }
    }

    /// What a get returned may hold a part of any write: only gets can go.
    fn ties(&self, ops: &[&KvOp]) -> Vec<Tie> {
        let tie = |op: &&KvOp| match op {
            KvOp::Get(_) => Tie::default(),
            KvOp::Put(_) | KvOp::Append(_) => Tie::stays(),
        };
        ops.iter().map(tie).collect()
    }

    fn object(&self) -> &'static str {
        "the value"
    }

    fn show(&self, state: &Arc<str>, _values: &Values) -> Option<String> {
        Some(shown(state))
    }

    fn initial_of(&self, state: &Arc<str>, _values: &Values) -> Option<String> {
        Some(shown(state))
    }

    fn describe(&self, op: &KvOp, _values: &Values) -> String {
        match op {
            KvOp::Get(value) => format!("get {}", shown(value)),
            KvOp::Put(value) => format!("put {}", shown(value)),
            KvOp::Append(value) => format!("append {}", shown(value)),
        }
    }
}

fn shown(text: &Arc<str>) -> String {
    crate::judge::finding::shown(&Value::from(&**text))
}

/// A value as a string; nothing is the empty one.
pub(crate) fn text(value: &Value) -> Result<Arc<str>, String> {
    match value {
        Value::Null => Ok("".into()),
        Value::String(text) => Ok(text.as_str().into()),
        other => {
            Err(format!("{} is no string: kv has strings", crate::judge::finding::shown(other)))
        }
    }
}
