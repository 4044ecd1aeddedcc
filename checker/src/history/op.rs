//! One line of a history: an operation invoked, or what became of it.
//!
//! The form is a superset of Jepsen's op map. An operation is *named* by the index of its
//! completion line, so that a `put`'s `context` can name the `get` that supplied it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// Who did it: one single-threaded client process, or the nemesis that breaks things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Process {
    /// A client process: at most one operation open at a time; retired after an `info`.
    Client(u64),
    /// The fault injector; any number of its operations may overlap.
    Nemesis,
}

/// What a line says of its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It was begun.
    Invoke,
    /// It surely happened.
    Ok,
    /// It surely did not happen.
    Fail,
    /// Nobody knows whether it happened, or will.
    Info,
}

/// Where the value of a line stands, if not in the line itself. A history that is made in memory has
/// every written value once, though each is read many times; one that is written down is whole
/// ([`History::resolved`](crate::history::History::resolved)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// Of a completion: in its invocation.
    Invocation,
    /// Of a read: a list of the values of these lines, each the invocation of a write.
    Lines(Box<[u64]>),
}

/// One line of a history.
///
/// ```
/// use checker::history::op::{Kind, Op, Process};
///
/// let line = r#"{"index":0,"time":7,"process":3,"type":"invoke","f":"get","key":"k"}"#;
/// let op: Op = serde_json::from_str(line)?;
/// assert_eq!(op.process, Process::Client(3));
/// assert_eq!(op.kind, Kind::Invoke);
/// assert_eq!(serde_json::to_string(&op)?, line);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Op {
    /// Position in the history, from 0, without gaps.
    pub index: u64,
    /// Nanoseconds since the start of the run, on one monotonic clock.
    pub time: u64,
    /// Who did it.
    pub process: Process,
    /// Invocation or outcome; `type` on the line.
    pub kind: Kind,
    /// What was done: `get`, `put`, `delete`, `home`, or whatever a specification names.
    pub f: Cow<'static, str>,
    /// The key it was done to.
    pub key: Option<Arc<str>>,
    /// Argument or result. `Some(Null)` is a `null` that was written down, `None` no value at all.
    pub value: Option<Value>,
    /// In place of `value`: where it stands in the same history.
    pub elsewhere: Option<Elsewhere>,
    /// Of a `put` or `delete`: the index of the `ok` line of the get that supplied its context.
    pub context: Option<u64>,
    /// Why it failed, or why nobody knows.
    pub error: Option<Box<str>>,
    /// Where the request went.
    pub node: Option<Arc<str>>,
    /// A read made after the last fault was healed and the store went quiet; `final` on the line.
    pub is_final: bool,
    /// Fields this crate has no meaning for, kept as they came. Boxed: nearly always absent.
    pub extra: Option<Box<Map<String, Value>>>,
}

impl Op {
    /// A line with nothing but the required fields; index and time are 0 until someone sets them.
    pub fn new(process: Process, kind: Kind, f: impl Into<Cow<'static, str>>) -> Self {
        Self {
            index: 0,
            time: 0,
            process,
            kind,
            f: f.into(),
            key: None,
            value: None,
            elsewhere: None,
            context: None,
            error: None,
            node: None,
            is_final: false,
            extra: None,
        }
    }

    /// Shorthand for the line that begins an operation of client process `process`.
    pub fn invoke(process: u64, f: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Process::Client(process), Kind::Invoke, f)
    }

    /// The line that completes this invocation: same process, f, key, value, context, node.
    pub fn completed(&self, kind: Kind) -> Self {
        Self { kind, error: None, ..self.clone() }
    }

    /// The same line without a copy of the invocation's value: it stands there.
    pub fn completed_briefly(&self, kind: Kind) -> Self {
        Self {
            index: self.index,
            time: self.time,
            process: self.process,
            kind,
            f: self.f.clone(),
            key: self.key.clone(),
            value: None,
            elsewhere: self.value.as_ref().map(|_| Elsewhere::Invocation),
            context: self.context,
            error: None,
            node: self.node.clone(),
            is_final: self.is_final,
            extra: self.extra.clone(),
        }
    }

    /// The same line at `time` nanoseconds.
    pub fn at(mut self, time: u64) -> Self {
        self.time = time;
        self
    }

    /// The same line with a key.
    pub fn key(mut self, key: impl Into<Arc<str>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The same line with a value.
    pub fn value(mut self, value: impl Into<Value>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// The same line with the get that supplied the context.
    pub fn context(mut self, get: u64) -> Self {
        self.context = Some(get);
        self
    }

    /// The same line with an error.
    pub fn error(mut self, error: impl Into<Box<str>>) -> Self {
        self.error = Some(error.into());
        self
    }

    /// The same line with the node the request went to.
    pub fn node(mut self, node: impl Into<Arc<str>>) -> Self {
        self.node = Some(node.into());
        self
    }

    /// The same line as a quiescent final read.
    pub fn finally(mut self) -> Self {
        self.is_final = true;
        self
    }

    /// Does a client process do it (and not the nemesis)?
    pub fn is_client(&self) -> bool {
        matches!(self.process, Process::Client(_))
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(id) => write!(f, "{id}"),
            Self::Nemesis => f.write_str("nemesis"),
        }
    }
}

impl Serialize for Process {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Client(id) => serializer.serialize_u64(*id),
            Self::Nemesis => serializer.serialize_str("nemesis"),
        }
    }
}

impl<'de> Deserialize<'de> for Process {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ProcessVisitor;
        impl Visitor<'_> for ProcessVisitor {
            type Value = Process;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a process: an integer from 0, or \"nemesis\"")
            }

            fn visit_u64<E: serde::de::Error>(self, id: u64) -> Result<Process, E> {
                Ok(Process::Client(id))
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Process, E> {
                match name {
                    "nemesis" => Ok(Process::Nemesis),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(name), &self)),
                }
            }
        }
        deserializer.deserialize_any(ProcessVisitor)
    }
}

impl Op {
    /// Asked by every writer before it writes a line: one whose value stands in another would lose it.
    pub(crate) fn whole(&self) -> std::io::Result<()> {
        if self.elsewhere.is_none() {
            return Ok(());
        }
        let what = format!(
            "line {} has its value in another line and cannot be written alone: write what \
             History::resolved gives",
            self.index
        );
        Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, what))
    }
}

impl Serialize for Op {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.whole().map_err(serde::ser::Error::custom)?;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("index", &self.index)?;
        map.serialize_entry("time", &self.time)?;
        map.serialize_entry("process", &self.process)?;
        map.serialize_entry("type", &self.kind)?;
        map.serialize_entry("f", &self.f)?;
        if let Some(key) = &self.key {
            map.serialize_entry("key", &**key)?;
        }
        if let Some(value) = &self.value {
            map.serialize_entry("value", value)?;
        }
        if let Some(context) = self.context {
            map.serialize_entry("context", &context)?;
        }
        if let Some(error) = &self.error {
            map.serialize_entry("error", error)?;
        }
        if let Some(node) = &self.node {
            map.serialize_entry("node", &**node)?;
        }
        if self.is_final {
            map.serialize_entry("final", &true)?;
        }
        for (name, value) in self.extra.iter().flat_map(|extra| extra.iter()) {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Op {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        OpSeed(&mut Names::default()).deserialize(deserializer)
    }
}

/// The names (keys, nodes) seen so far, so that a history holds each once.
#[derive(Default)]
pub(crate) struct Names(hashbrown::HashSet<Arc<str>>);

impl Names {
    /// The one shared copy of `name`.
    pub(crate) fn share(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return Arc::clone(known);
        }
        let shared: Arc<str> = name.into();
        self.0.insert(Arc::clone(&shared));
        shared
    }
}

/// Reads one op, sharing its names with the ops read before.
pub(crate) struct OpSeed<'a>(pub(crate) &'a mut Names);

impl<'de> DeserializeSeed<'de> for OpSeed<'_> {
    type Value = Op;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Op, D::Error> {
        deserializer.deserialize_map(OpVisitor(self.0))
    }
}

struct OpVisitor<'a>(&'a mut Names);

/// The required fields, in the order they are asked for.
const REQUIRED: [&str; 5] = ["index", "time", "process", "type", "f"];

impl<'de> Visitor<'de> for OpVisitor<'_> {
    type Value = Op;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an op: a JSON object with index, time, process, type and f")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Op, A::Error> {
        let mut op = Op::new(Process::Nemesis, Kind::Info, "");
        let mut seen = [false; REQUIRED.len()];
        let mut optional_seen = [false; 6];
        while let Some(field) = map.next_key::<Text<'de>>()? {
            if let Some(at) = REQUIRED.iter().position(|name| *name == &*field.0) {
                once(&mut seen[at], &field.0)?;
            }
            match &*field.0 {
                "index" => op.index = map.next_value()?,
                "time" => op.time = map.next_value()?,
                "process" => op.process = map.next_value()?,
                "type" => op.kind = map.next_value()?,
                "f" => op.f = known_f(map.next_value::<Text<'de>>()?.0),
                "key" => {
                    once(&mut optional_seen[0], &field.0)?;
                    let key: Option<Text<'de>> = map.next_value()?;
                    op.key = key.map(|key| self.0.share(&key.0));
                }
                "value" => {
                    once(&mut optional_seen[1], &field.0)?;
                    op.value = Some(map.next_value()?);
                }
                "context" => {
                    once(&mut optional_seen[2], &field.0)?;
                    op.context = map.next_value()?;
                }
                "error" => {
                    once(&mut optional_seen[3], &field.0)?;
                    op.error = map.next_value()?;
                }
                "node" => {
                    once(&mut optional_seen[4], &field.0)?;
                    let node: Option<Text<'de>> = map.next_value()?;
                    op.node = node.map(|node| self.0.share(&node.0));
                }
                "final" => {
                    once(&mut optional_seen[5], &field.0)?;
                    op.is_final = map.next_value()?;
                }
                other => {
                    let value = map.next_value()?;
                    op.extra.get_or_insert_default().insert(other.to_owned(), value);
                }
            }
        }
        match seen.iter().position(|seen| !seen) {
            None => Ok(op),
            Some(missing) => Err(missing_field(REQUIRED[missing], op.extra.as_deref())),
        }
    }

    // A line such as `[...]` would otherwise be reported without what was expected.
    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Op, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self))
    }
}

fn once<E: serde::de::Error>(seen: &mut bool, name: &str) -> Result<(), E> {
    if std::mem::replace(seen, true) {
        return Err(E::custom(format_args!("field `{name}` stands here twice")));
    }
    Ok(())
}

/// "missing field", with the misspelling that probably explains it.
fn missing_field<E: serde::de::Error>(name: &str, extra: Option<&Map<String, Value>>) -> E {
    let near = extra.and_then(|extra| extra.keys().find(|found| is_near(found, name)));
    match near {
        Some(found) => E::custom(format_args!("missing field `{name}`: is `{found}` meant?")),
        None => E::custom(format_args!("missing field `{name}`")),
    }
}

/// Could `found` be a misspelt `name`? One edit, or two neighbours swapped, or other case.
fn is_near(found: &str, name: &str) -> bool {
    if found.eq_ignore_ascii_case(name) {
        return true;
    }
    let (found, name) = (found.as_bytes(), name.as_bytes());
    let head = found.iter().zip(name).take_while(|(a, b)| a == b).count();
    let (found, name) = (&found[head..], &name[head..]);
    let tail = found.iter().rev().zip(name.iter().rev()).take_while(|(a, b)| a == b).count();
    let (found, name) = (&found[..found.len() - tail], &name[..name.len() - tail]);
    match (found.len(), name.len()) {
        (0 | 1, 0 | 1) => true,
        (2, 2) => found[0] == name[1] && found[1] == name[0],
        _ => false,
    }
}

/// The usual names are kept without an allocation.
pub(crate) fn known_f(f: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Borrowed(match &*f {
        "get" => "get",
        "put" => "put",
        "delete" => "delete",
        "home" => "home",
        "read" => "read",
        "write" => "write",
        "cas" => "cas",
        "add" => "add",
        "append" => "append",
        "enqueue" => "enqueue",
        "dequeue" => "dequeue",
        "kill" => "kill",
        _ => return Cow::Owned(f.into_owned()),
    })
}

/// A string, borrowed from the input where that has no escapes.
struct Text<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Op, String> {
        serde_json::from_str(line).map_err(|error| error.to_string())
    }

    #[test]
    fn a_full_line_survives_a_round_trip() {
        let line = concat!(
            r#"{"index":3,"time":12,"process":0,"type":"ok","f":"put","key":"k","value":[1],"#,
            r#""context":1,"error":"e","node":"n1","final":true,"zone":{"a":1}}"#
        );
        assert_eq!(serde_json::to_string(&parse(line).unwrap()).unwrap(), line);
    }

    #[test]
    fn a_null_value_is_not_an_absent_value() {
        let null = r#"{"index":0,"time":0,"process":0,"type":"ok","f":"read","value":null}"#;
        let absent = r#"{"index":0,"time":0,"process":0,"type":"ok","f":"read"}"#;
        assert_eq!(parse(null).unwrap().value, Some(Value::Null));
        assert_eq!(parse(absent).unwrap().value, None);
        assert_eq!(serde_json::to_string(&parse(null).unwrap()).unwrap(), null);
        assert_eq!(serde_json::to_string(&parse(absent).unwrap()).unwrap(), absent);
    }

    #[test]
    fn a_misspelt_required_field_is_named() {
        let error = parse(r#"{"indx":0,"time":0,"process":0,"type":"ok","f":"get"}"#).unwrap_err();
        assert!(error.contains("missing field `index`: is `indx` meant?"), "{error}");
        let error = parse(r#"{"index":0,"tiem":0,"process":0,"type":"ok","f":"get"}"#).unwrap_err();
        assert!(error.contains("is `tiem` meant?"), "{error}");
        let error = parse(r#"{"index":0,"time":0,"process":0,"type":"ok"}"#).unwrap_err();
        assert!(error.contains("missing field `f` at"), "{error}");
    }

    #[test]
    fn what_is_no_op_is_refused() {
        for line in [
            r#"{"index":-1,"time":0,"process":0,"type":"ok","f":"get"}"#,
            r#"{"index":0,"time":0.5,"process":0,"type":"ok","f":"get"}"#,
            r#"{"index":0,"time":0,"process":"nemsis","type":"ok","f":"get"}"#,
            r#"{"index":0,"time":0,"process":0,"type":"okay","f":"get"}"#,
            r#"{"index":0,"index":0,"time":0,"process":0,"type":"ok","f":"get"}"#,
            r#"{"index":0,"time":0,"process":0,"type":"ok","f":"get","key":1}"#,
            "[0]",
            "7",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
