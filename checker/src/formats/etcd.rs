//! The text logs of etcd tests that the linearizability literature measures itself on.
//!
//! `INFO  jepsen.util - 4<TAB>:invoke<TAB>:cas<TAB>[1 4]`; whatever stands before the process is
//! the logger's. Lines that are no ops (nemesis chatter, stack traces) are passed over.

use std::io::{BufRead, Read};

use serde_json::Value;

use super::ReadError;
use super::edn::Reader;
use super::import::{Foreign, Import};
use crate::budget::Meter;
use crate::history::{History, HistoryError};
use crate::op::{Kind, Op, Process};

/// Longer than this is no line of a log.
const LONGEST_LINE: u64 = 1 << 20;

pub(crate) fn read(
    mut reader: impl BufRead,
    lenient: bool,
    meter: &mut Meter,
) -> Result<History, ReadError> {
    let mut import = Import::new(lenient);
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let n = reader.by_ref().take(LONGEST_LINE + 1).read_until(b'\n', &mut bytes);
        let n = n.map_err(HistoryError::Io)? as u64;
        if n == 0 {
            break;
        }
        let wrong = |message| HistoryError::Syntax { line, column: 0, message };
        if n > LONGEST_LINE {
            return Err(wrong("a line too long for a log".to_owned()).into());
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| wrong("not UTF-8".to_owned()))?;
        if let Some(op) = op(text.trim_end(), line)? {
            import.push(Foreign { op, has_time: false, index: None, line })?;
        }
        let ops = import.len() as u64;
        meter.tick().map_err(|exhausted| ReadError::Budget { exhausted, ops })?;
    }
    Ok(import.finish()?)
}

fn op(text: &str, line: u64) -> Result<Option<Op>, HistoryError> {
    let mut parts = text.split('\t');
    let (Some(head), Some(kind), Some(f)) = (parts.next(), parts.next(), parts.next()) else {
        return Ok(None);
    };
    let kind = match kind.trim() {
        ":invoke" => Kind::Invoke,
        ":ok" => Kind::Ok,
        ":fail" => Kind::Fail,
        ":info" => Kind::Info,
        _ => return Ok(None),
    };
    let process = head.split_whitespace().next_back().unwrap_or_default();
    let process = match process.parse() {
        Ok(id) => Process::Client(id),
        Err(_) if process == ":nemesis" => Process::Nemesis,
        Err(_) => {
            let column = head.len() as u64;
            let message = format!("`{process}` is no process");
            return Err(HistoryError::Syntax { line, column, message });
        }
    };
    let f = f.trim();
    let mut op = Op::new(process, kind, f.strip_prefix(':').unwrap_or(f).to_owned());
    let rest = parts.next().unwrap_or("nil");
    let value = Reader::new(rest.as_bytes()).value();
    let value = value.map_err(|error| match error {
        HistoryError::Syntax { column, message, .. } => {
            let column = (text.len() - rest.len()) as u64 + column;
            HistoryError::Syntax { line, column, message }
        }
        other => other,
    })?;
    let value = value.map_or(Value::Null, super::edn::Edn::into_json);
    // In place of a result stands why there is none.
    if matches!(kind, Kind::Info | Kind::Fail) && value == "timed-out" {
        op.error = Some("timed-out".into());
    } else {
        op.value = Some(value);
    }
    Ok(Some(op))
}
