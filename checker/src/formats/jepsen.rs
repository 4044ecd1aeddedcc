//! Jepsen's op maps, in EDN and in JSON, and EDN back.

use std::io::{self, BufRead, Write};

use serde_json::{Map, Value};

use super::ReadError;
use super::edn::{self, Edn, Reader};
use super::import::{Foreign, Import};
use crate::budget::Meter;
use crate::history::{History, HistoryError};
use crate::op::{Kind, Op, Process};

/// Reads op maps: one a line, or all in one vector or list.
pub(crate) fn read_edn(
    reader: impl BufRead,
    lenient: bool,
    meter: &mut Meter,
) -> Result<History, ReadError> {
    let mut reader = Reader::new(reader);
    let mut import = Import::new(lenient);
    let mut closing = None;
    loop {
        match reader.peek_token()? {
            // The vector around all ops is walked through, not read as one value.
            Some(open @ (b'[' | b'(')) if closing.is_none() && import.len() == 0 => {
                reader.take()?;
                closing = Some(if open == b'[' { b']' } else { b')' });
                continue;
            }
            Some(close) if Some(close) == closing => {
                reader.take()?;
                match reader.peek_token()? {
                    None => break,
                    Some(_) => return Err(reader.error("more after the end of the ops").into()),
                }
            }
            None if closing.is_some() => {
                return Err(reader.error("the input ends before the list of ops does").into());
            }
            None => break,
            Some(_) => {}
        }
        let (line, column) = reader.place();
        let Some(value) = reader.value()? else { break };
        let wrong = |message| HistoryError::Syntax { line, column, message };
        let fields = fields(value).map_err(wrong)?;
        import.push(foreign(fields, line, lenient).map_err(wrong)?)?;
        let ops = import.len() as u64;
        meter.tick().map_err(|exhausted| ReadError::Budget { exhausted, ops })?;
    }
    Ok(import.finish()?)
}

fn fields(value: Edn) -> Result<Map<String, Value>, String> {
    match value {
        // #jepsen.history.Op{...}
        Edn::Tagged(_, value) => fields(*value),
        Edn::Map(pairs) => {
            Ok(pairs.into_iter().map(|(name, value)| (name.name(), value.into_json())).collect())
        }
        _ => Err("an op is a map".to_owned()),
    }
}

/// Reads the JSON twin: op objects, one a line or all in one array.
pub(crate) fn read_json(
    reader: impl BufRead,
    lenient: bool,
    meter: &mut Meter,
) -> Result<History, ReadError> {
    let mut import = Import::new(lenient);
    // The array around all ops is walked through by taking its punctuation as white space, which
    // JSON values cannot be confused with: they are objects.
    let mut text = JsonOps { reader, line: 0, rest: Vec::new() };
    while let Some((line, object)) = text.next_object()? {
        let wrong = |message| HistoryError::Syntax { line, column: 0, message };
        let fields = serde_json::from_slice::<Map<String, Value>>(&object).map_err(|error| {
            let said = error.to_string();
            wrong(said.split(" at line ").next().unwrap_or(&said).to_owned())
        })?;
        import.push(foreign(fields, line, lenient).map_err(wrong)?)?;
        let ops = import.len() as u64;
        meter.tick().map_err(|exhausted| ReadError::Budget { exhausted, ops })?;
    }
    Ok(import.finish()?)
}

/// Cuts a stream into its top-level objects.
struct JsonOps<R> {
    reader: R,
    line: u64,
    rest: Vec<u8>,
}

/// Longer than this is no op.
const LONGEST_OBJECT: usize = 16 << 20;

impl<R: BufRead> JsonOps<R> {
    fn next_object(&mut self) -> Result<Option<(u64, Vec<u8>)>, HistoryError> {
        let mut object: Vec<u8> = Vec::new();
        let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
        let mut begun = 0;
        loop {
            if self.rest.is_empty() {
                let mut limited = io::Read::take(&mut self.reader, LONGEST_OBJECT as u64 + 1);
                let n = limited.read_until(b'\n', &mut self.rest)?;
                self.line += 1;
                if n == 0 {
                    let message = "the input ends inside an op".to_owned();
                    let torn = HistoryError::Syntax { line: self.line, column: 0, message };
                    return if depth == 0 { Ok(None) } else { Err(torn) };
                }
            }
            for at in 0..self.rest.len() {
                let c = self.rest[at];
                if depth == 0 && c != b'{' {
                    if c.is_ascii_whitespace() || b"[],".contains(&c) {
                        continue;
                    }
                    let message = format!("`{}` where an op should be", c.escape_ascii());
                    let column = at as u64 + 1;
                    return Err(HistoryError::Syntax { line: self.line, column, message });
                }
                object.push(c);
                match c {
                    _ if escaped => escaped = false,
                    b'\\' if quoted => escaped = true,
                    b'"' => quoted = !quoted,
                    b'{' if !quoted => {
                        begun = if depth == 0 { self.line } else { begun };
                        depth += 1;
                    }
                    b'}' if !quoted => depth -= 1,
                    _ => {}
                }
                if depth == 0 {
                    self.rest.drain(..=at);
                    return Ok(Some((begun, object)));
                }
            }
            self.rest.clear();
            if object.len() > LONGEST_OBJECT {
                let message = format!("an op longer than {LONGEST_OBJECT} bytes");
                return Err(HistoryError::Syntax { line: self.line, column: 0, message });
            }
        }
    }
}

/// An op of a map of fields.
fn foreign(mut fields: Map<String, Value>, line: u64, lenient: bool) -> Result<Foreign, String> {
    let process = match fields.remove("process") {
        Some(Value::Number(id)) if id.as_u64().is_some() => {
            Process::Client(id.as_u64().unwrap_or_default())
        }
        // :nemesis, and whatever else is no client.
        Some(Value::String(name)) if edn::is_name(&name) => Process::Nemesis,
        None if lenient => Process::Client(0),
        None => return Err("the op has no :process (--lenient reads it)".to_owned()),
        Some(other) => return Err(format!(":process {other} is no process")),
    };
    let kind = match fields.remove("type").as_ref().and_then(Value::as_str) {
        Some("invoke") => Kind::Invoke,
        Some("ok") => Kind::Ok,
        Some("fail") => Kind::Fail,
        Some("info") => Kind::Info,
        Some(other) => return Err(format!(":type {other} is none of invoke, ok, fail, info")),
        None => return Err("the op has no :type".to_owned()),
    };
    let f = match fields.remove("f") {
        Some(Value::String(f)) => f,
        Some(Value::Null) | None if lenient => String::new(),
        Some(Value::Null) | None => return Err("the op has no :f (--lenient reads it)".to_owned()),
        Some(other) => other.to_string(),
    };
    let mut op = Op::new(process, kind, f);
    let time = fields.remove("time");
    op.time = time.as_ref().and_then(Value::as_u64).unwrap_or_default();
    let has_time = time.as_ref().is_some_and(Value::is_u64);
    let index = fields.remove("index").as_ref().and_then(Value::as_u64);
    op.value = fields.remove("value");
    let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    op.key = fields.remove("key").filter(|key| !key.is_null()).map(|key| text(key).into());
    op.error = fields.remove("error").map(|error| text(error).into());
    op.node = fields.remove("node").map(|node| text(node).into());
    op.context = fields.remove("context").as_ref().and_then(Value::as_u64);
    op.is_final = fields.remove("final") == Some(Value::Bool(true));
    op.extra = (!fields.is_empty()).then(|| Box::new(fields));
    Ok(Foreign { op, has_time, index, line })
}

/// Writes a history as Jepsen's EDN, one op map a line.
pub fn write_edn(history: &History, mut out: impl Write) -> io::Result<()> {
    let mut line = String::new();
    for op in history {
        op.whole()?;
        line.clear();
        print_op(op, &mut line);
        line.push('\n');
        out.write_all(line.as_bytes())?;
    }
    Ok(())
}

fn print_op(op: &Op, out: &mut String) {
    use std::fmt::Write as _;
    let kind = match op.kind {
        Kind::Invoke => "invoke",
        Kind::Ok => "ok",
        Kind::Fail => "fail",
        Kind::Info => "info",
    };
    let _ = write!(out, "{{:index {}, :time {}, :type :{kind}, :process ", op.index, op.time);
    match op.process {
        Process::Client(id) => _ = write!(out, "{id}"),
        Process::Nemesis => out.push_str(":nemesis"),
    }
    out.push_str(", :f ");
    if edn::is_name(&op.f) {
        let _ = write!(out, ":{}", op.f);
    } else {
        edn::print(&Value::from(&*op.f), out);
    }
    let mut field = |name: &str, value: &Value| {
        let _ = write!(out, ", :{name} ");
        edn::print(value, out);
    };
    field("value", op.value.as_ref().unwrap_or(&Value::Null));
    let text = |text: &str| Value::from(text);
    op.key.as_deref().inspect(|key| field("key", &text(key)));
    op.context.inspect(|context| field("context", &(*context).into()));
    op.error.as_deref().inspect(|error| field("error", &text(error)));
    op.node.as_deref().inspect(|node| field("node", &text(node)));
    if op.is_final {
        field("final", &true.into());
    }
    for (name, value) in op.extra.iter().flat_map(|extra| extra.iter()) {
        if edn::is_name(name) {
            field(name, value);
        }
    }
    out.push('}');
}
