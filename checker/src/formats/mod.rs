//! Histories in the forms others keep them in, and which form a file has.
//!
//! - [`Format::Jsonl`]: our own JSON lines ([`crate::history`]);
//! - [`Format::Edn`]: Jepsen's op maps, one a line or in one vector or list; also the key-value logs
//!   of the literature (`:f :get`, `:put`, `:append` with a `:key`);
//! - [`Format::Json`]: the JSON twin of the same, lines or one array, without index or time;
//! - [`Format::Compact`]: our own compact form ([`compact`]), for large histories;
//! - [`Format::Etcd`]: `INFO  jepsen.util - 4<TAB>:invoke<TAB>:cas<TAB>[1 4]`.
//!
//! All are read as streams: memory is that of the ops, and is watched. In the forms of others the
//! order of events is that of indices, or of lines; times are for display and staleness.

use std::io::{BufRead, BufReader, Read};

use crate::history::{Builder, History, HistoryError, Lines};
use crate::judge::budget::{Exhausted, Meter};

mod clock;
pub mod compact;
mod draft;
pub mod edn;
mod etcd;
mod import;
mod jepsen;
mod keyed;
pub(crate) mod packed;
mod source;

use compact::CompactError;
use draft::Field;
pub use jepsen::write_edn;
pub(crate) use keyed::is_micro_ops;
pub use source::Source;

/// A form of histories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Our own JSON lines.
    Jsonl,
    /// Our own compact form.
    Compact,
    /// Jepsen's EDN.
    Edn,
    /// The JSON twin of Jepsen's EDN.
    Json,
    /// The text logs of etcd tests.
    Etcd,
}

/// What the order of events is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The order of lines.
    Lines,
    /// The `:index` of each op.
    Index,
    /// The `:time` of each op.
    Time,
}

/// How to read. All but the form is about the forms of others.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The form; found out when not said.
    pub format: Option<Format>,
    /// Read what is incomplete too: ops without `:process` or `:f`, invocations of a process that
    /// is still busy (the open one becomes indeterminate).
    pub lenient: bool,
    /// Are values pairs `[key value]`? Found out when not said.
    pub keyed: Option<bool>,
    /// What the order of events is taken from. When not said: indices where every op has one of
    /// its own, and lines elsewhere.
    pub order: Option<Order>,
    /// Fields of other names: ours and theirs.
    pub fields: Vec<(String, String)>,
}

impl Options {
    /// Which field a name means.
    fn field(&self, name: &str) -> Field {
        let ours = self.fields.iter().find(|(_, theirs)| theirs == name);
        Field::named(ours.map_or(name, |(ours, _)| ours))
    }
}

/// What was read.
#[derive(Debug)]
pub struct Loaded {
    /// The history.
    pub history: History,
    /// The same in the order of its times, where it may be that and nothing tells: the verdicts on
    /// both must be one.
    pub by_time: Option<History>,
    /// What whoever asked should know of how it was read.
    pub notes: Vec<String>,
}

/// Why a file gave no history.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// What stands in it is wrong.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// Its bytes are wrong.
    #[error(transparent)]
    Compact(CompactError),
    /// It does not fit the budget.
    #[error("{exhausted} while reading: {ops} ops were read")]
    Budget {
        /// Which bound.
        exhausted: Exhausted,
        /// How far it got.
        ops: u64,
    },
    /// It is of no known form.
    #[error("the form is none of JSON lines, EDN, JSON or etcd's log: say it with --format")]
    UnknownForm,
    /// It has to be unpacked first.
    #[error("this has to be unpacked first: `{0} FILE | dyno check -`")]
    Packed(&'static str),
}

impl From<CompactError> for ReadError {
    fn from(error: CompactError) -> Self {
        match error {
            CompactError::Io(error) => Self::History(error.into()),
            CompactError::Malformed(error) => Self::History(error),
            CompactError::Budget { exhausted, ops } => Self::Budget { exhausted, ops },
            CompactError::Other | CompactError::Version(_) | CompactError::Damaged { .. } => {
                Self::Compact(error)
            }
        }
    }
}

/// Reads a stream.
pub fn from_reader(
    reader: impl Read,
    options: &Options,
    meter: &mut Meter,
) -> Result<History, ReadError> {
    load(reader, options, meter).map(|loaded| loaded.history)
}

/// Reads a stream, and tells more of it.
pub fn load(
    mut reader: impl Read,
    options: &Options,
    meter: &mut Meter,
) -> Result<Loaded, ReadError> {
    // What was read is put back in front.
    let mut head = Vec::new();
    reader.by_ref().take(HEAD).read_to_end(&mut head).map_err(HistoryError::Io)?;
    if head.starts_with(UTF_8_MARK) {
        head.drain(..UTF_8_MARK.len());
    }
    let format = match options.format {
        Some(format) => format,
        None => detect(&head).ok_or(ReadError::UnknownForm)?,
    };
    let reader = std::io::Cursor::new(head).chain(reader);
    let lines = |reader| BufReader::with_capacity(1 << 16, reader);
    let ours = |history| Loaded { history, by_time: None, notes: Vec::new() };
    match format {
        Format::Jsonl => jsonl(lines(reader), meter).map(ours),
        Format::Compact => Ok(ours(compact::read(lines(reader), meter)?)),
        Format::Edn => jepsen::read_edn(reader, options, meter),
        Format::Json => jepsen::read_json(lines(reader), options, meter),
        Format::Etcd => etcd::read(lines(reader), options, meter),
    }
}

/// Enough to tell a form by, whatever chatter comes first.
const HEAD: u64 = 64 << 10;

/// The byte order mark that some editors put before UTF-8.
const UTF_8_MARK: &[u8] = b"\xef\xbb\xbf";

/// Tells the form by the first bytes.
pub fn detect(head: &[u8]) -> Option<Format> {
    if compact::is_compact(head) {
        return Some(Format::Compact);
    }
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || c == ',' || c == '\u{feff}');
    if text.is_empty() {
        // An empty history is one in any form.
        return Some(Format::Jsonl);
    }
    // Loggers may put their time in brackets; within those around ops stands an op.
    let inner = text.trim_start_matches(|c: char| "[(".contains(c) || c.is_whitespace());
    if !inner.starts_with(['{', '#', ';', '^', ']', ')']) && !inner.is_empty() {
        return text.lines().any(etcd::is_op).then_some(Format::Etcd);
    }
    // Our own lines begin as our writer begins them; whatever else has an index is the twin.
    let index = text.strip_prefix("{\"index\":");
    let rest = index.map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
    if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(",\"time\":")) {
        return Some(Format::Jsonl);
    }
    let after_brace = inner.strip_prefix('{').map(str::trim_start);
    match after_brace.and_then(|rest| rest.chars().next()) {
        // Strings may be the names of EDN's fields, too: but then no colon follows.
        Some('"') => Some(Format::Json),
        // A comment before the first map, a tagged op, an empty vector.
        _ => Some(Format::Edn),
    }
}

fn jsonl(reader: impl BufRead, meter: &mut Meter) -> Result<History, ReadError> {
    let mut lines = Lines::new(reader);
    let mut builder = Builder::default();
    let mut now = 0;
    while let Some(op) = lines.next_op()? {
        let (ops, time) = (op.index, op.time);
        builder.push(op, Some(lines.line())).map_err(|error| match error {
            // No recorder of ours does that: it may be the twin in our order of fields.
            HistoryError::Malformed { index, line, message } if time < now => {
                let mend = "--format json goes by the order of lines, not by times";
                HistoryError::Malformed { index, line, message: format!("{message} ({mend})") }
            }
            other => other,
        })?;
        now = time;
        meter.tick().map_err(|exhausted| ReadError::Budget { exhausted, ops })?;
    }
    Ok(builder.finish(lines.torn()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::budget::Budget;

    #[test]
    fn the_form_is_told_by_the_first_bytes() {
        let check = |text: &str, format| assert_eq!(detect(text.as_bytes()), format, "{text}");
        check("{\"index\":0,\"time\":0}", Some(Format::Jsonl));
        check("{\"process\":0,\"type\":\"invoke\"}", Some(Format::Json));
        check("[\n {\"process\":0}]", Some(Format::Json));
        check("{:process 0, :type :invoke}", Some(Format::Edn));
        check("; a comment\n{:process 0}", Some(Format::Edn));
        check("[{:process 0}]", Some(Format::Edn));
        check("#jepsen.history.Op{:process 0}", Some(Format::Edn));
        check("INFO  jepsen.util - 4\t:invoke\t:cas\t[1 4]", Some(Format::Etcd));
        check("0\t:invoke\t:read\tnil", Some(Format::Etcd));
        check("", Some(Format::Jsonl));
        assert_eq!(detect(b"\x89DYNH\r\n\x1a\x01"), Some(Format::Compact));
        check("PK\u{3}\u{4}", None);
        check("hello", None);
        check("[hello]", None);
        check("\u{feff}{:process 0}", Some(Format::Edn));
        check("#_ {:process 0} {:process 1}", Some(Format::Edn));
        check("[{:process 0 :type :invoke :f :read}]", Some(Format::Edn));
        check("{\"type\":\"invoke\",\"index\":0}", Some(Format::Json));
        check("{\"index\": 0, \"time\": 0}", Some(Format::Json));
        check("chatter\n[12:00:01] INFO jepsen.util - 4   :ok  :read  4", Some(Format::Etcd));
        check("[12:00:01] INFO jepsen.util - 4 :invoke :read nil", Some(Format::Etcd));
    }

    #[test]
    fn memory_is_watched_while_reading() {
        let line = |i| {
            format!(
                "{{\"index\":{i},\"time\":0,\"process\":\"nemesis\",\"type\":\"info\",\"f\":\"x\"}}\n"
            )
        };
        let text: String = (0..5000).map(line).collect();
        let mut meter = Budget { time: None, memory: Some(1) }.start();
        let error = from_reader(text.as_bytes(), &Options::default(), &mut meter).unwrap_err();
        assert!(matches!(error, ReadError::Budget { .. }), "{error}");
    }
}
