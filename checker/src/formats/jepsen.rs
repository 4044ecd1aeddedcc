//! Jepsen's op maps, in EDN and in JSON, and EDN back.

use std::io::{self, BufRead, Read, Write};

use serde_json::{Map, Value};

use super::draft::{Draft, Field, Foreign, Said};
use super::edn::{self, Edn, Reader};
use super::import::Import;
use super::{Loaded, Options, ReadError};
use crate::history::op::{Kind, Op, Process, known_f};
use crate::history::{History, HistoryError, Torn};
use crate::judge::budget::Meter;

/// Reads op maps: one a line, or all in one vector or list.
pub(crate) fn read_edn(
    reader: impl Read,
    options: &Options,
    meter: &mut Meter,
) -> Result<Loaded, ReadError> {
    let mut ops = EdnOps { reader: Reader::new(reader), closing: None, within: false, options };
    let mut import = Import::new(options);
    loop {
        ops.skip_space()?;
        let (line, offset) = (ops.reader.place().0, ops.reader.offset());
        match ops.next(import.is_empty()) {
            Ok(Some(op)) => import.extend(op),
            Ok(None) => break,
            // What a killed recorder leaves: what came before is whole.
            Err(_) if !import.is_empty() && ops.is_cut()? => {
                import.torn(Torn { line, bytes: ops.reader.offset() - offset });
                break;
            }
            Err(error) => return Err(error.into()),
        }
        let ops = import.len();
        meter.tick().map_err(|exhausted| ReadError::Budget { exhausted, ops })?;
    }
    Ok(import.finish()?)
}

struct EdnOps<'a, R> {
    reader: Reader<R>,
    /// What closes the list around all ops.
    closing: Option<u8>,
    /// The reader stands within an op.
    within: bool,
    options: &'a Options,
}

impl<R: Read> EdnOps<'_, R> {
    fn skip_space(&mut self) -> Result<(), HistoryError> {
        self.reader.peek_token().map(|_| ())
    }

    /// Did the last error come of the input's end within an op? There a word may be half of one.
    fn is_cut(&mut self) -> Result<bool, HistoryError> {
        Ok(self.reader.is_cut() || self.within && self.reader.is_at_end()?)
    }

    /// The next op, or a remark that is none; none of both at the end.
    fn next(&mut self, is_first: bool) -> Result<Option<Option<Foreign>>, HistoryError> {
        let reader = &mut self.reader;
        let draft = loop {
            let next = reader.peek_token()?;
            let (line, column) = reader.place();
            let wrong = |message: String| HistoryError::Syntax { line, column, message };
            match next {
                // The vector around all ops is walked through, not read as one value.
                Some(open @ (b'[' | b'(')) if self.closing.is_none() && is_first => {
                    reader.take()?;
                    self.closing = Some(if open == b'[' { b']' } else { b')' });
                }
                Some(close) if Some(close) == self.closing => {
                    reader.take()?;
                    return match reader.peek_token()? {
                        None => Ok(None),
                        Some(_) => Err(reader.error("more after the end of the ops")),
                    };
                }
                None if self.closing.is_some() => return Err(reader.ended("the list of ops")),
                None => return Ok(None),
                Some(b'{') => {
                    self.within = true;
                    let draft = plain(reader, self.options)?;
                    self.within = false;
                    break draft.finish(line, self.options.lenient).map_err(wrong);
                }
                Some(_) => {
                    let Some(value) = reader.form(0)? else { continue };
                    break drawn(value, self.options)
                        .and_then(|draft| draft.finish(line, self.options.lenient))
                        .map_err(wrong);
                }
            }
        };
        draft.map(Some)
    }
}

/// The op of a map, field by field, without a map being made of it.
fn plain<R: Read>(reader: &mut Reader<R>, options: &Options) -> Result<Draft, HistoryError> {
    let (line, column) = reader.place();
    let wrong = |message| HistoryError::Syntax { line, column, message };
    let mut draft = Draft::default();
    reader.take()?;
    loop {
        let field = match reader.peek_token()? {
            Some(b'}') => {
                reader.take()?;
                return Ok(draft);
            }
            Some(b':') => reader.keyword(|name| options.field(name))?,
            _ => reader.form(1)?.map(|name| options.field(&name.name())),
        };
        let Some(field) = field else { continue };
        match (&field, reader.peek_token()?) {
            (_, Some(b'}')) => return Err(reader.error("a map has a key without a value")),
            // These are known by their names, of which no copy is needed.
            (Field::Type, Some(b':')) => {
                draft.said = reader.keyword(Said::named)?.transpose().map_err(wrong)?;
            }
            (Field::F, Some(b':')) => draft.f = reader.keyword(|name| known_f(name.into()))?,
            _ => {
                let value = reader.needed(1)?.into_json();
                draft.set(field, value).map_err(wrong)?;
            }
        }
    }
}

/// The op of a value: `#jepsen.history.Op{...}`, or a map with a namespace.
fn drawn(value: Edn, options: &Options) -> Result<Draft, String> {
    match value {
        Edn::Tagged(_, value) => drawn(*value, options),
        Edn::Map(pairs) => {
            let mut draft = Draft::default();
            for (name, value) in pairs {
                draft.set(options.field(&name.name()), value.into_json())?;
            }
            Ok(draft)
        }
        _ => Err("an op is a map".to_owned()),
    }
}

/// Reads the JSON twin: op objects, one a line or all in one array.
pub(crate) fn read_json(
    reader: impl BufRead,
    options: &Options,
    meter: &mut Meter,
) -> Result<Loaded, ReadError> {
    let mut import = Import::new(options);
    // The array around all ops is walked through by taking its punctuation as white space, which
    // JSON values cannot be confused with: they are objects.
    let mut text = JsonOps { reader, line: 0, rest: Vec::new(), torn: None };
    while let Some((line, object)) = text.next_object()? {
        let wrong = |message| HistoryError::Syntax { line, column: 0, message };
        let fields = serde_json::from_slice::<Map<String, Value>>(&object).map_err(|error| {
            let said = error.to_string();
            wrong(said.split(" at line ").next().unwrap_or(&said).to_owned())
        })?;
        let mut draft = Draft::default();
        for (name, value) in fields {
            // Some writers leave keywords their colons.
            let field = options.field(name.strip_prefix(':').unwrap_or(&name));
            draft.set(field, value).map_err(wrong)?;
        }
        import.extend(draft.finish(line, options.lenient).map_err(wrong)?);
        let ops = import.len();
        meter.tick().map_err(|exhausted| ReadError::Budget { exhausted, ops })?;
    }
    match text.torn {
        Some(torn) if import.is_empty() => {
            let message = "the input ends inside its first op".to_owned();
            Err(HistoryError::Syntax { line: torn.line, column: 0, message }.into())
        }
        torn => {
            torn.into_iter().for_each(|torn| import.torn(torn));
            Ok(import.finish()?)
        }
    }
}

/// Cuts a stream into its top-level objects.
struct JsonOps<R> {
    reader: R,
    line: u64,
    rest: Vec<u8>,
    /// The last op, if it is cut short.
    torn: Option<Torn>,
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
                let mut limited = Read::take(&mut self.reader, LONGEST_OBJECT as u64 + 1);
                let n = limited.read_until(b'\n', &mut self.rest)?;
                self.line += 1;
                if n == 0 {
                    let bytes = object.len() as u64;
                    self.torn = (depth > 0).then_some(Torn { line: begun, bytes });
                    return Ok(None);
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
