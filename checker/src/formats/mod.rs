//! Histories in the forms others keep them in, and which form a file has.
//!
//! - [`Format::Jsonl`]: our own JSON lines ([`crate::history`]);
//! - [`Format::Edn`]: Jepsen's op maps, one a line or in one vector or list; also the key-value logs
//!   of the literature (`:f :get`, `:put`, `:append` with a `:key`);
//! - [`Format::Json`]: the JSON twin of the same, lines or one array, without index or time;
//! - [`Format::Compact`]: our own compact form ([`compact`]), for large histories;
//! - [`Format::Etcd`]: `INFO  jepsen.util - 4<TAB>:invoke<TAB>:cas<TAB>[1 4]`.
//!
//! All are read as streams: memory is that of the ops, and is watched.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::budget::{Exhausted, Meter};
use crate::history::{Builder, History, HistoryError, Lines};

pub mod compact;
pub mod edn;
mod etcd;
mod import;
mod jepsen;
pub(crate) mod packed;

use compact::CompactError;
pub use jepsen::write_edn;

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

/// How to read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The form; found out when not said.
    pub format: Option<Format>,
    /// Read what is incomplete too: ops without `:process` or `:f`, invocations of a process that
    /// is still busy (the open one becomes indeterminate), time that goes back.
    pub lenient: bool,
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

/// Reads a file.
pub fn read(path: &Path, options: Options, meter: &mut Meter) -> Result<History, ReadError> {
    let failed = |source| HistoryError::File { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    match from_reader(BufReader::with_capacity(1 << 16, file), options, meter) {
        Err(ReadError::History(HistoryError::Io(source))) => Err(failed(source).into()),
        other => other,
    }
}

/// Reads a stream.
pub fn from_reader(
    mut reader: impl BufRead,
    options: Options,
    meter: &mut Meter,
) -> Result<History, ReadError> {
    let mut head = Vec::new();
    // Enough for a first op of any form; what was read is put back in front.
    reader.by_ref().take(4096).read_to_end(&mut head).map_err(HistoryError::Io)?;
    let format = match options.format {
        Some(format) => format,
        None => detect(&head).ok_or(ReadError::UnknownForm)?,
    };
    let reader = BufReader::with_capacity(1 << 16, std::io::Cursor::new(head).chain(reader));
    match format {
        Format::Jsonl => jsonl(reader, meter),
        Format::Compact => Ok(compact::read(reader, meter)?),
        Format::Edn => jepsen::read_edn(reader, options.lenient, meter),
        Format::Json => jepsen::read_json(reader, options.lenient, meter),
        Format::Etcd => etcd::read(reader, options.lenient, meter),
    }
}

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
    let first_line = text.lines().next().unwrap_or_default();
    let types = ["\t:invoke\t", "\t:ok\t", "\t:fail\t", "\t:info\t"];
    let is_log_line = |line: &str| types.iter().any(|kind| line.contains(kind));
    if !text.starts_with(['{', '[', '(', '#', ';']) && text.lines().any(is_log_line) {
        return Some(Format::Etcd);
    }
    let inner = text.trim_start_matches(|c: char| "[(".contains(c) || c.is_whitespace());
    let after_brace = inner.strip_prefix('{').map(str::trim_start);
    match after_brace.and_then(|rest| rest.chars().next()) {
        Some('"') if text.starts_with('{') && first_line.contains("\"index\"") => {
            Some(Format::Jsonl)
        }
        Some('"') => Some(Format::Json),
        Some(':' | '}') => Some(Format::Edn),
        // A comment before the first map, a tagged op, an empty vector.
        _ if text.starts_with([';', '#', '[', '(']) => Some(Format::Edn),
        _ => None,
    }
}

fn jsonl(reader: impl BufRead, meter: &mut Meter) -> Result<History, ReadError> {
    let mut lines = Lines::new(reader);
    let mut builder = Builder::default();
    while let Some(op) = lines.next_op()? {
        let ops = op.index;
        builder.push(op, Some(lines.line()))?;
        meter.tick().map_err(|exhausted| ReadError::Budget { exhausted, ops })?;
    }
    Ok(builder.finish(lines.torn()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;

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
        let error = from_reader(text.as_bytes(), Options::default(), &mut meter).unwrap_err();
        assert!(matches!(error, ReadError::Budget { .. }), "{error}");
    }
}
