//! A whole history: reading it, pairing invocations with completions, and writing one as a run goes.
//!
//! A [`History`] in hand is sound in structure: indices run from 0 without gaps, time never goes
//! back, a client process has one operation open at a time and does nothing after an `info`, and
//! every completion matches its invocation. What else a history should keep to (unique values,
//! contexts that exist) depends on the workload: see [`crate::history::wellformed`].

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeSeed;
use serde_json::Value;
use thiserror::Error;

use crate::history::op::{Elsewhere, Kind, Names, Op, OpSeed, Process};

mod fast_line;
pub mod op;
mod stream;
mod structure;
pub mod wellformed;

pub use stream::{Ended, Stream};
use structure::{NONE, Structure};

/// The longest line that is read. A history op is small; a gigabyte without a newline is an
/// attack or another kind of file, and must not be taken into memory to find that out.
const LONGEST_LINE: u64 = 16 << 20;

/// What is wrong with a history, and where.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The stream could not be read.
    #[error("reading the history: {0}")]
    Io(#[from] io::Error),
    /// A line is not an op.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// The line, from 1.
        line: u64,
        /// The column, from 1; 0 where the line as a whole is meant.
        column: u64,
        /// What is wrong.
        message: String,
    },
    /// The ops do not make a history.
    #[error("op {index}{}: {message}", line_suffix(*line))]
    Malformed {
        /// The op that shows it, by its position.
        index: u64,
        /// The line it stands on, where it came from a file.
        line: Option<u64>,
        /// What is wrong.
        message: String,
    },
}

fn line_suffix(line: Option<u64>) -> String {
    line.map(|line| format!(" (line {line})")).unwrap_or_default()
}

/// A last line cut short: what a killed harness leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The line, from 1.
    pub line: u64,
    /// How many bytes of it there are.
    pub bytes: u64,
}

/// What is known of an operation when the history ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It surely happened.
    Ok,
    /// It surely did not happen.
    Fail,
    /// It may have happened, or happen yet: `info`, or no completion at all.
    Info,
}

/// An invocation and, where there is one, its completion.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// The line that began it.
    pub invoke: &'a Op,
    /// The line that ended it; none when it was still open at the end.
    pub completion: Option<&'a Op>,
}

impl<'a> Pair<'a> {
    /// The operation's name: the index of its completion line, or of its invocation while open.
    pub fn name(&self) -> u64 {
        self.completion.unwrap_or(self.invoke).index
    }

    /// What is known of it.
    pub fn outcome(&self) -> Outcome {
        let Some(completion) = self.completion else { return Outcome::Info };
        match completion.kind {
            Kind::Ok => said_no(self.invoke, completion).unwrap_or(Outcome::Ok),
            Kind::Fail => Outcome::Fail,
            Kind::Info | Kind::Invoke => Outcome::Info,
        }
    }

    /// The completion, if the operation surely happened.
    fn answer(&self) -> Option<&'a Op> {
        self.completion.filter(|_| self.outcome() == Outcome::Ok)
    }

    /// What was done.
    pub fn f(&self) -> &'a str {
        &self.invoke.f
    }

    /// The key it was done to.
    pub fn key(&self) -> Option<&'a str> {
        self.invoke.key.as_deref()
    }

    /// What came back, if it was `ok`.
    ///
    /// # Panics
    ///
    /// If it stands in many lines: what reads that has to be given a [resolved](History::resolved)
    /// history, or would take the read for one that returned nothing.
    pub fn result(&self) -> Option<&'a Value> {
        let completion = self.answer()?;
        match completion.elsewhere {
            None => completion.value.as_ref(),
            Some(Elsewhere::Invocation) => self.invoke.value.as_ref(),
            Some(Elsewhere::Lines(_)) => panic!("op {}: its value is not resolved", self.name()),
        }
    }

    /// When it returned, if it returned `ok`: only then is its effect sure from that time on.
    pub fn acknowledged_at(&self) -> Option<u64> {
        self.answer().map(|op| op.time)
    }

    /// Is it a quiescent final read?
    pub fn is_final(&self) -> bool {
        self.invoke.is_final || self.completion.is_some_and(|op| op.is_final)
    }

    /// The node that was asked, from whichever line says so.
    pub fn node(&self) -> Option<&'a str> {
        let said = self.completion.and_then(|op| op.node.as_deref());
        said.or(self.invoke.node.as_deref())
    }
}

/// What is known of an operation that was answered, but with `false`: a lock that was not given or
/// a compare-and-set that found another value did not happen, and of what else was answered so
/// nobody knows. `None` where it was answered otherwise, or had `false` for its argument.
pub(crate) fn said_no(invoke: &Op, completion: &Op) -> Option<Outcome> {
    let is_no = completion.kind == Kind::Ok && completion.value == Some(Value::Bool(false));
    if !is_no || invoke.value == completion.value {
        return None;
    }
    match &*invoke.f {
        "acquire" | "release" | "lock" | "unlock" | "cas" => Some(Outcome::Fail),
        "write" | "put" | "append" | "delete" | "add" | "remove" | "enqueue" | "inc" | "dec" => {
            Some(Outcome::Info)
        }
        _ => None,
    }
}

/// Where the lines of a foreign history come from, to tell them by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    /// Of each op the line of the file, from 1.
    pub(crate) lines: Vec<u64>,
    /// Of each op the index it has there, or its place.
    pub(crate) indices: Vec<u64>,
    /// What processes are called there that have no numbers.
    pub(crate) clients: BTreeMap<u64, Arc<str>>,
}

/// A history of sound structure.
///
/// ```
/// use checker::history::History;
/// use checker::history::op::{Kind, Op};
///
/// let put = Op::invoke(0, "put").key("k").value("a");
/// let done = put.completed(Kind::Ok).at(5);
/// let history = History::numbered(vec![put, done])?;
/// let pair = history.pairs().next().expect("there is one");
/// assert_eq!(pair.name(), 1);
/// # Ok::<(), checker::history::HistoryError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct History {
    ops: Vec<Op>,
    /// For each client invocation its completion and the other way round; `NONE` for the rest.
    partner: Vec<u32>,
    torn: Option<Torn>,
    origin: Option<Arc<Origin>>,
}

impl History {
    /// Reads a file of JSON lines.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, HistoryError> {
        let path = path.as_ref();
        let file = |source| HistoryError::File { path: path.to_owned(), source };
        let reader = BufReader::with_capacity(1 << 16, File::open(path).map_err(file)?);
        Self::from_reader(reader).map_err(|error| match error {
            HistoryError::Io(source) => file(source),
            other => other,
        })
    }

    /// Reads JSON lines. A last line that was cut short is left out and reported by [`Self::torn`].
    pub fn from_reader(reader: impl BufRead) -> Result<Self, HistoryError> {
        let mut builder = Builder::default();
        let mut lines = Lines::new(reader);
        while let Some(op) = lines.next_op()? {
            builder.push(op, Some(lines.line))?;
        }
        Ok(builder.finish(lines.torn))
    }

    /// Makes a history of ops that are numbered already.
    pub fn from_ops(ops: Vec<Op>) -> Result<Self, HistoryError> {
        let mut structure = Structure::default();
        let mut partner = vec![NONE; ops.len()];
        for (at, op) in ops.iter().enumerate() {
            if let Some(invoke) = structure.accept(&ops[..at], op)? {
                partner[invoke as usize] = op.index as u32;
                partner[op.index as usize] = invoke;
            }
        }
        Ok(Self { ops, partner, torn: None, origin: None })
    }

    /// Makes a history of ops in order, numbering them from 0.
    pub fn numbered(mut ops: Vec<Op>) -> Result<Self, HistoryError> {
        for (index, op) in (0..).zip(&mut ops) {
            op.index = index;
        }
        Self::from_ops(ops)
    }

    fn push(&mut self, op: Op, invoke: Option<u32>) {
        self.partner.push(invoke.unwrap_or(NONE));
        if let Some(invoke) = invoke {
            self.partner[invoke as usize] = op.index as u32;
        }
        self.ops.push(op);
    }

    /// The lines in order.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// The lines in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Op> {
        self.ops.iter()
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// The line at `index`.
    pub fn get(&self, index: u64) -> Option<&Op> {
        self.ops.get(usize::try_from(index).ok()?)
    }

    /// The last line that was cut short, if one was.
    pub fn torn(&self) -> Option<Torn> {
        self.torn
    }

    /// The same, with its last line cut short.
    pub(crate) fn cut(self, torn: Option<Torn>) -> Self {
        Self { torn, ..self }
    }

    /// The same, with where its lines come from.
    pub(crate) fn from(self, origin: Origin) -> Self {
        Self { origin: Some(Arc::new(origin)), ..self }
    }

    /// The line of the file on which the op at `index` stands, from 1, and the index that it has
    /// there. `None` where they are not known apart from `index`: in our own forms line `n` has
    /// the index `n - 1`, and a history made in memory stands nowhere.
    pub fn place(&self, index: u64) -> Option<(u64, u64)> {
        let origin = self.origin.as_deref()?;
        let at = usize::try_from(index).ok()?;
        Some((*origin.lines.get(at)?, *origin.indices.get(at)?))
    }

    /// A process for a sentence: its number, and what the file calls it where that is a name.
    pub fn process_shown(&self, process: Process) -> String {
        let name = match (&self.origin, process) {
            (Some(origin), Process::Client(id)) => origin.clients.get(&id),
            _ => None,
        };
        name.map_or_else(|| process.to_string(), |name| format!("{process} ({name})"))
    }

    /// The same, with where its lines come from: those of `whole` with these indices.
    pub(crate) fn part_of(self, whole: &Self, indices: &[u64]) -> Self {
        let Some(origin) = &whole.origin else { return self };
        let of =
            |all: &[u64]| indices.iter().filter_map(|at| all.get(*at as usize).copied()).collect();
        let clients = origin.clients.clone();
        self.from(Origin { lines: of(&origin.lines), indices: of(&origin.indices), clients })
    }

    /// The clients' operations, in order of invocation.
    pub fn pairs(&self) -> impl Iterator<Item = Pair<'_>> {
        let begun = self.ops.iter().filter(|op| op.is_client() && op.kind == Kind::Invoke);
        begun.map(|invoke| Pair { invoke, completion: self.partner(invoke.index) })
    }

    /// The operation that the client line at `index` belongs to.
    pub fn pair(&self, index: u64) -> Option<Pair<'_>> {
        let op = self.get(index).filter(|op| op.is_client())?;
        match op.kind {
            Kind::Invoke => Some(Pair { invoke: op, completion: self.partner(index) }),
            Kind::Ok | Kind::Fail | Kind::Info => {
                Some(Pair { invoke: self.partner(index)?, completion: Some(op) })
            }
        }
    }

    fn partner(&self, index: u64) -> Option<&Op> {
        self.ops.get(self.partner[index as usize] as usize)
    }

    /// The same history with every value in its own line: to be written, or read by whatever looks at
    /// the lines alone.
    #[must_use]
    pub fn resolved(mut self) -> Self {
        for at in 0..self.ops.len() {
            let value_at = |line: u64| self.ops[line as usize].value.clone();
            self.ops[at].value = match &self.ops[at].elsewhere {
                None => continue,
                Some(Elsewhere::Invocation) => value_at(self.partner[at].into()),
                Some(Elsewhere::Lines(lines)) => {
                    Some(lines.iter().filter_map(|line| value_at(*line)).collect())
                }
            };
            self.ops[at].elsewhere = None;
        }
        self
    }

    /// Gives the lines back.
    pub fn into_ops(self) -> Vec<Op> {
        self.ops
    }
}

impl<'a> IntoIterator for &'a History {
    type Item = &'a Op;
    type IntoIter = std::slice::Iter<'a, Op>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A history in the making, for readers that watch their budget between ops.
#[derive(Default)]
pub(crate) struct Builder {
    history: History,
    structure: Structure,
}

impl Builder {
    /// Takes the next op, which stands on `line`.
    pub(crate) fn push(&mut self, op: Op, line: Option<u64>) -> Result<(), HistoryError> {
        let invoke =
            self.structure.accept(self.history.ops.as_slice(), &op).map_err(
                |error| match line {
                    Some(line) => at_line(error, line),
                    None => error,
                },
            )?;
        self.history.push(op, invoke);
        Ok(())
    }

    pub(crate) fn finish(self, torn: Option<Torn>) -> History {
        History { torn, ..self.history }
    }
}

fn at_line(error: HistoryError, at: u64) -> HistoryError {
    match error {
        HistoryError::Malformed { index, message, .. } => {
            HistoryError::Malformed { index, line: Some(at), message }
        }
        other => other,
    }
}

/// Reads JSON lines one op at a time, for histories too large to hold.
///
/// Structure (numbering, alternation) is not checked here.
pub struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    names: Names,
    line: u64,
    torn: Option<Torn>,
}

impl<R: BufRead> Lines<R> {
    /// Reads from `reader`.
    pub fn new(reader: R) -> Self {
        Self { reader, buffer: Vec::new(), names: Names::default(), line: 0, torn: None }
    }

    /// The next op; none at the end, or before a last line that was cut short.
    #[inline]
    pub fn next_op(&mut self) -> Result<Option<Op>, HistoryError> {
        // Most lines are our own and lie whole in the reader's buffer: no need to copy them.
        let ready = self.reader.fill_buf().unwrap_or_default();
        if let Some((op, length)) = fast_line::parse_line(ready, &mut self.names) {
            self.reader.consume(length);
            self.line += 1;
            return Ok(Some(op));
        }
        self.next_op_slowly()
    }

    fn next_op_slowly(&mut self) -> Result<Option<Op>, HistoryError> {
        loop {
            self.buffer.clear();
            let mut limited = self.reader.by_ref().take(LONGEST_LINE + 1);
            let bytes = limited.read_until(b'\n', &mut self.buffer)? as u64;
            if bytes == 0 {
                return Ok(None);
            }
            self.line += 1;
            if bytes > LONGEST_LINE {
                let message = format!("a line longer than {LONGEST_LINE} bytes is no op");
                return Err(HistoryError::Syntax { line: self.line, column: 0, message });
            }
            if self.buffer.trim_ascii().is_empty() {
                continue;
            }
            let whole = self.buffer.ends_with(b"\n");
            // Without its end, so that an error at the end names this line's last column.
            let line = self.buffer.trim_ascii_end();
            if let Some(op) = fast_line::parse(line, &mut self.names) {
                return Ok(Some(op));
            }
            return match parse(line, &mut self.names) {
                Ok(op) => Ok(Some(op)),
                Err(error) if error.is_eof() && !whole => {
                    self.torn = Some(Torn { line: self.line, bytes });
                    Ok(None)
                }
                Err(error) => Err(syntax(self.line, &error)),
            };
        }
    }

    /// The last line that was cut short, once the end was reached.
    pub fn torn(&self) -> Option<Torn> {
        self.torn
    }

    /// The line that was read last, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }
}

fn parse(bytes: &[u8], names: &mut Names) -> Result<Op, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let op = OpSeed(names).deserialize(&mut json)?;
    json.end()?;
    Ok(op)
}

fn syntax(line: u64, error: &serde_json::Error) -> HistoryError {
    let said = error.to_string();
    // The parser saw one line only: its own line number says nothing.
    let message = said.split(" at line ").next().unwrap_or(&said).to_owned();
    HistoryError::Syntax { line, column: error.column() as u64, message }
}

/// Writes a history as a run goes.
///
/// Every line is flushed to the operating system before [`Writer::append`] returns, so that the
/// history of a killed harness can be read up to its last whole line.
pub struct Writer {
    path: PathBuf,
    file: BufWriter<File>,
    next_index: u64,
}

impl Writer {
    /// Creates the file; an existing one is refused, never overwritten.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, HistoryError> {
        let path = path.as_ref().to_owned();
        match File::create_new(&path) {
            Ok(file) => Ok(Self { path, file: BufWriter::new(file), next_index: 0 }),
            Err(source) => Err(HistoryError::File { path, source }),
        }
    }

    /// Numbers the op, appends it, and gives its index.
    pub fn append(&mut self, mut op: Op) -> Result<u64, HistoryError> {
        op.index = self.next_index;
        self.write(&op).map_err(|source| HistoryError::File { path: self.path.clone(), source })?;
        self.next_index += 1;
        Ok(op.index)
    }

    fn write(&mut self, op: &Op) -> io::Result<()> {
        serde_json::to_writer(&mut self.file, op)?;
        self.file.write_all(b"\n")?;
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<History, String> {
        History::from_reader(text.as_bytes()).map_err(|error| error.to_string())
    }

    fn line(index: u64, process: &str, kind: &str, f: &str) -> String {
        format!(
            "{{\"index\":{index},\"time\":{index},\"process\":{process},\"type\":\"{kind}\",\
             \"f\":\"{f}\",\"key\":\"k\"}}\n"
        )
    }

    #[test]
    fn invocations_are_paired_with_their_completions() {
        let text = [
            line(0, "0", "invoke", "get"),
            line(1, "1", "invoke", "put"),
            line(2, "\"nemesis\"", "info", "kill"),
            line(3, "1", "ok", "put"),
        ]
        .concat();
        let history = read(&text).unwrap();
        let names: Vec<_> = history.pairs().map(|pair| (pair.name(), pair.outcome())).collect();
        assert_eq!(names, [(0, Outcome::Info), (3, Outcome::Ok)]);
        assert_eq!(history.pair(3).unwrap().invoke.index, 1);
        assert!(history.pair(2).is_none());
    }

    #[test]
    fn a_torn_last_line_is_left_out_and_reported() {
        let whole = line(0, "0", "invoke", "get");
        let torn = &line(1, "0", "ok", "get")[..20];
        let history = read(&format!("{whole}{torn}")).unwrap();
        assert_eq!(history.len(), 1);
        assert_eq!(history.torn(), Some(Torn { line: 2, bytes: 20 }));
    }

    #[test]
    fn a_torn_line_in_the_middle_is_an_error() {
        let whole = line(0, "0", "invoke", "get");
        let error = read(&format!("{}\n{whole}", &whole[..20])).unwrap_err();
        assert!(error.starts_with("line 1, column 20"), "{error}");
    }

    #[test]
    fn an_error_names_line_and_column() {
        let error = read("\n{\"index\":0,\"time\":0,\"process\":\"x\"}\n").unwrap_err();
        assert!(error.starts_with("line 2, column 33: invalid value"), "{error}");
    }

    #[test]
    fn lost_repeated_and_moved_lines_are_found() {
        for indices in [[0, 2], [0, 0], [1, 0]] {
            let text: String = indices.map(|i| line(i, "\"nemesis\"", "info", "kill")).concat();
            assert!(read(&text).unwrap_err().contains("a line was lost, repeated or moved"));
        }
    }

    #[test]
    fn a_process_does_one_thing_at_a_time() {
        let check = |kinds: &[&str], expected: &str| {
            let lines = (0..).zip(kinds).map(|(index, kind)| line(index, "7", kind, "get"));
            let error = read(&lines.collect::<String>()).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check(&["invoke", "invoke"], "invokes while its op 0 is open");
        check(&["ok"], "completes what it never invoked");
        check(&["invoke", "info", "invoke"], "was retired by the `info` of op 1");
    }

    #[test]
    fn a_completion_belongs_to_its_invocation() {
        let text = [line(0, "0", "invoke", "get"), line(1, "0", "ok", "put")].concat();
        let error = read(&text).unwrap_err();
        assert_eq!(error, "op 1 (line 2): its f is not that of its invocation, op 0");
    }

    #[test]
    fn time_does_not_go_back() {
        let ops = vec![Op::invoke(0, "get").at(5), Op::invoke(1, "get").at(4)];
        let error = History::numbered(ops).unwrap_err().to_string();
        assert_eq!(error, "op 1: time goes back from 5 ns to 4 ns");
    }

    #[test]
    fn hostile_input_ends_in_an_error() {
        let deep = format!("{{\"value\":{}", "[".repeat(100_000));
        let nul = "{\"index\":0,\0}\n";
        let huge = "{\"index\":1e999,\"time\":0}\n";
        let long = " ".repeat(LONGEST_LINE as usize + 1);
        for text in [deep.as_str(), nul, huge, &long] {
            assert!(read(text).is_err());
        }
    }

    #[test]
    fn a_written_history_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        let mut writer = Writer::create(&path).unwrap();
        let put = Op::invoke(0, "put").key("k").value(1);
        writer.append(put.clone()).unwrap();
        assert_eq!(writer.append(put.completed(Kind::Ok)).unwrap(), 1);
        // Not dropped: what was appended is there even if the writer never ends well.
        let history = History::read(&path).unwrap();
        assert_eq!(history.ops()[1].value, Some(1.into()));
        assert!(Writer::create(&path).is_err(), "an existing history is never overwritten");
    }

    fn brief() -> Vec<Op> {
        let put = Op::invoke(0, "put").key("k").value("a");
        let done = put.completed_briefly(Kind::Ok);
        let get = Op::invoke(1, "get").key("k");
        let mut got = get.completed(Kind::Ok);
        got.elsewhere = Some(Elsewhere::Lines([0].into()));
        let lines = (0..).zip([put, done, get, got]);
        lines.map(|(index, op)| Op { index, ..op }).collect()
    }

    #[test]
    fn a_value_that_stands_elsewhere_comes_back_into_its_line() {
        let history = History::from_ops(brief()).unwrap();
        assert!(serde_json::to_string(&history.ops()[1]).is_err(), "it cannot be written as it is");
        assert!(crate::formats::write_edn(&history, &mut Vec::new()).is_err());
        let mut compact = crate::formats::compact::Writer::new(Vec::new()).unwrap();
        assert!(compact.append(&history.ops()[1]).is_err());
        assert_eq!(history.pair(1).unwrap().result(), Some(&"a".into()));
        let values: Vec<_> = history.resolved().into_ops().into_iter().map(|op| op.value).collect();
        assert_eq!(values, [Some("a".into()), Some("a".into()), None, Some(json!(["a"]))]);
    }

    #[test]
    fn a_value_elsewhere_is_one_that_was_written_before() {
        for line in [1, 2, 3, 4] {
            let mut ops = brief();
            ops[3].elsewhere = Some(Elsewhere::Lines([line].into()));
            let error = History::from_ops(ops).unwrap_err().to_string();
            assert_eq!(error, format!("op 3: line {line} before it begins no write"));
        }
        let mut ops = brief();
        ops[2].elsewhere = Some(Elsewhere::Lines([0].into()));
        let error = History::from_ops(ops).unwrap_err().to_string();
        assert!(error.contains("only a completion"), "{error}");
    }
}
