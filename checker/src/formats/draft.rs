//! One op of a foreign log while its fields come in, in whatever order and by whatever name.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::clock::Clock;
use crate::history::op::{Kind, Op, Process, known_f};

/// What a field of an op is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Type,
    Process,
    F,
    Value,
    Key,
    Time,
    Index,
    Error,
    Node,
    Context,
    Final,
    /// Something else, which is kept.
    Other(String),
}

impl Field {
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "type" => Self::Type,
            "process" => Self::Process,
            "f" => Self::F,
            "value" => Self::Value,
            "key" => Self::Key,
            "time" => Self::Time,
            "index" => Self::Index,
            "error" => Self::Error,
            "node" => Self::Node,
            "context" => Self::Context,
            "final" => Self::Final,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// Who did it, as the log calls it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Name {
    Number(u64),
    Text(Arc<str>),
    Nemesis,
}

impl Name {
    /// By its text, in whichever spelling.
    pub(crate) fn of_text(text: &str) -> Option<Self> {
        match text.strip_prefix(':').unwrap_or(text) {
            "" => None,
            "nemesis" => Some(Self::Nemesis),
            number if number.bytes().all(|c| c.is_ascii_digit()) => {
                number.parse().ok().map(Self::Number)
            }
            _ => Some(Self::Text(text.into())),
        }
    }

    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Number(id) => id.as_u64().map(Self::Number),
            Value::String(text) => Self::of_text(text),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(id) => write!(f, "{id}"),
            Self::Text(text) => f.write_str(text),
            Self::Nemesis => f.write_str("nemesis"),
        }
    }
}

/// What a foreign line says of an op, besides what an [`Op`] has.
#[derive(Clone, Debug)]
pub(crate) struct Foreign {
    pub(crate) op: Op,
    pub(crate) name: Name,
    pub(crate) key: Option<Value>,
    pub(crate) clock: Clock,
    pub(crate) index: Option<u64>,
    pub(crate) line: u64,
}

impl Foreign {
    pub(crate) fn is_client(&self) -> bool {
        self.name != Name::Nemesis
    }
}

/// What stands under `:type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Kind(Kind),
    /// `:log`, `:sleep`: what a generator does beside operations.
    Remark,
}

impl Said {
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        Ok(match name {
            "invoke" => Self::Kind(Kind::Invoke),
            "ok" => Self::Kind(Kind::Ok),
            "fail" => Self::Kind(Kind::Fail),
            "info" => Self::Kind(Kind::Info),
            "log" | "sleep" => Self::Remark,
            other => return Err(format!(":type {other:?} is none of invoke, ok, fail, info")),
        })
    }
}

/// An op while its fields come in.
#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) said: Option<Said>,
    pub(crate) f: Option<Cow<'static, str>>,
    name: Option<Name>,
    value: Option<Value>,
    key: Option<Value>,
    clock: Clock,
    index: Option<u64>,
    error: Option<Box<str>>,
    node: Option<Arc<str>>,
    context: Option<u64>,
    is_final: bool,
    extra: Map<String, Value>,
}

impl Draft {
    pub(crate) fn set(&mut self, field: Field, value: Value) -> Result<(), String> {
        let bare = |text: &str| text.strip_prefix(':').unwrap_or(text).to_owned();
        let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), bare);
        match field {
            Field::Value => self.value = Some(value),
            Field::Other(name) => _ = self.extra.insert(name, value),
            _ if value.is_null() => {}
            Field::Type => self.said = Some(Said::named(&text(value))?),
            Field::Process => {
                let name =
                    Name::of(&value).ok_or_else(|| format!(":process {value} is no process"));
                self.name = Some(name?);
            }
            Field::F => self.f = Some(known_f(text(value).into())),
            Field::Key => self.key = Some(value),
            Field::Time => self.clock = Clock::of(&value)?,
            Field::Index => self.index = value.as_u64(),
            Field::Error => self.error = Some(text(value).into()),
            Field::Node => self.node = Some(text(value).into()),
            Field::Context => self.context = value.as_u64(),
            Field::Final => self.is_final = value == Value::Bool(true),
        }
        Ok(())
    }

    /// The op; none where it was a remark.
    pub(crate) fn finish(self, line: u64, lenient: bool) -> Result<Option<Foreign>, String> {
        let kind = match self.said {
            Some(Said::Kind(kind)) => kind,
            Some(Said::Remark) => return Ok(None),
            None => {
                let like = ["status", "kind", "event", "phase", "outcome", "state"];
                return Err(missing("type", self.like(&like), false));
            }
        };
        let name = match self.name {
            Some(ref name) => name.clone(),
            None => {
                let like = ["client", "worker", "thread", "session", "proc", "pid", "client_id"];
                let like = self.like(&like);
                if !lenient || like.is_some() {
                    return Err(missing("process", like, true));
                }
                Name::Number(0)
            }
        };
        let f = match self.f {
            Some(ref f) => f.clone(),
            None if lenient || name == Name::Nemesis => "".into(),
            None => {
                let like = ["op", "function", "operation", "method", "action", "command", "cmd"];
                return Err(missing("f", self.like(&like), true));
            }
        };
        // The process is numbered when all are known.
        let mut op = Op::new(Process::Nemesis, kind, f);
        op.value = self.value;
        op.error = self.error;
        op.node = self.node;
        op.context = self.context;
        op.is_final = self.is_final;
        op.extra = (!self.extra.is_empty()).then(|| Box::new(self.extra));
        let Self { key, clock, index, .. } = self;
        Ok(Some(Foreign { op, name, key, clock, index, line }))
    }

    /// A field that may be the one that is missing.
    fn like<'a>(&self, names: &[&'a str]) -> Option<&'a str> {
        names.iter().find(|name| self.extra.contains_key(**name)).copied()
    }
}

fn missing(field: &str, like: Option<&str>, may_lack: bool) -> String {
    match like {
        Some(like) => {
            format!("the op has no :{field}, but a :{like}: --field {field}={like} reads that")
        }
        None if may_lack => format!("the op has no :{field} (--lenient reads it)"),
        None => format!("the op has no :{field}"),
    }
}
