//! From the ops of others to a history of ours: in order, numbered, one operation open a process.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;

use super::clock::{self, Clock};
use super::draft::{Foreign, Name};
use super::keyed;
use super::{Loaded, Options, Order};
use crate::history::op::{Kind, Op, Process};
use crate::history::{History, HistoryError, Origin, Outcome, Torn, said_no};

/// Takes ops as they stand in a log and mends what foreign logs leave open.
pub(crate) struct Import<'a> {
    options: &'a Options,
    ops: Vec<Foreign>,
    torn: Option<Torn>,
    notes: Vec<String>,
}

impl<'a> Import<'a> {
    pub(crate) fn new(options: &'a Options) -> Self {
        Self { options, ops: Vec::new(), torn: None, notes: Vec::new() }
    }

    pub(crate) fn len(&self) -> u64 {
        self.ops.len() as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    pub(crate) fn extend(&mut self, op: Option<Foreign>) {
        self.ops.extend(op);
    }

    /// The last op was cut short.
    pub(crate) fn torn(&mut self, torn: Torn) {
        self.torn = Some(torn);
    }

    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// The history, in the order of its events: that of indices where all have one, else of lines.
    pub(crate) fn finish(mut self) -> Result<Loaded, HistoryError> {
        let order = match self.options.order {
            Some(order) => order,
            None if self.has_indices() => Order::Index,
            None => Order::Lines,
        };
        match order {
            Order::Lines => {}
            Order::Index => self.sort_by_index()?,
            Order::Time => self.sort_by_time()?,
        }
        let by_time = match self.options.order {
            None if order == Order::Lines && self.may_be_one_after_another() => self.by_time(),
            _ => None,
        };
        let Self { options, ops, torn, mut notes } = self;
        let mut made = Made::of(ops, options)?;
        notes.append(&mut made.notes);
        let history = made.history(order == Order::Time)?.cut(torn);
        Ok(Loaded { history, by_time, notes })
    }

    /// Has every client's op an index of its own?
    fn has_indices(&self) -> bool {
        let mut indices: Vec<u64> = self.ops.iter().filter_map(|op| op.index).collect();
        if indices.len() < self.ops.len() || indices.is_sorted_by(|a, b| a < b) {
            return !indices.is_empty() && indices.len() == self.ops.len();
        }
        indices.sort_unstable();
        indices.is_sorted_by(|a, b| a < b)
    }

    fn sort_by_index(&mut self) -> Result<(), HistoryError> {
        if self.ops.is_sorted_by_key(|op| op.index) && self.ops.iter().all(|op| op.index.is_some())
        {
            return Ok(());
        }
        self.all_have("index", |op| op.index.is_some())?;
        self.note(
            "the lines are not in the order of :index, which is taken for that of events"
                .to_owned(),
        );
        self.ops.sort_by_key(|op| op.index);
        Ok(())
    }

    fn sort_by_time(&mut self) -> Result<(), HistoryError> {
        self.all_have("time", |op| op.clock != Clock::None || !op.is_client())?;
        let clocks: Vec<Clock> = self.ops.iter().map(|op| op.clock).collect();
        let mut now = 0;
        // The nemesis may have none: it stays where it is.
        let times = clock::nanos(&clocks).into_iter().map(|time| {
            now = time.unwrap_or(now);
            now
        });
        let mut ops: Vec<(u64, Foreign)> = times.zip(std::mem::take(&mut self.ops)).collect();
        ops.sort_by_key(|(time, _)| *time);
        self.ops = ops.into_iter().map(|(_, op)| op).collect();
        Ok(())
    }

    fn all_have(&self, field: &str, has: impl Fn(&Foreign) -> bool) -> Result<(), HistoryError> {
        match self.ops.iter().position(|op| !has(op)) {
            None => Ok(()),
            Some(at) => {
                let message = format!("it has no :{field}, by which --order {field} would go");
                Err(malformed(at, &self.ops, message))
            }
        }
    }

    /// Could this be the logs of several processes, one after another? Then no operation is under
    /// way when one of another process begins, and times go back.
    fn may_be_one_after_another(&self) -> bool {
        let clients = || self.ops.iter().filter(|op| op.is_client());
        let mut times = Vec::new();
        for op in clients() {
            match op.clock {
                Clock::None => return false,
                clock => times.push(clock),
            }
        }
        if clock::nanos(&times).is_sorted() {
            return false;
        }
        let ends = |at: usize, name: &Name| {
            let next = clients().skip(at + 1).find(|op| op.name == *name);
            next.is_some_and(|op| op.op.kind != Kind::Invoke)
        };
        let mut open: Option<(&Name, usize)> = None;
        for (at, op) in clients().enumerate() {
            if op.op.kind != Kind::Invoke {
                open = open.filter(|(name, _)| **name != op.name);
            } else if let Some((name, begun)) = open
                && ends(begun, name)
            {
                return false;
            } else {
                open = Some((&op.name, at));
            }
        }
        true
    }

    /// The same by times, if that makes a history, and another one.
    fn by_time(&self) -> Option<History> {
        let mut sorted = Import { ops: self.ops.clone(), ..Import::new(self.options) };
        sorted.sort_by_time().ok()?;
        let made = Made::of(sorted.ops, self.options).ok()?;
        made.history(true).ok()
    }
}

/// Ops in order, with what belongs together.
pub(crate) struct Made {
    pub(crate) ops: Vec<Foreign>,
    /// Of each completion the invocation.
    pub(crate) begun: Vec<Option<usize>>,
    notes: Vec<String>,
    clients: BTreeMap<u64, Arc<str>>,
}

impl Made {
    fn of(ops: Vec<Foreign>, options: &Options) -> Result<Self, HistoryError> {
        let begun = Vec::with_capacity(ops.len());
        let mut made = Self { ops, begun, notes: Vec::new(), clients: BTreeMap::new() };
        made.pair(options.lenient)?;
        keyed::split(&mut made, options.keyed)?;
        let note = keyed::leave_versions_out(&mut made);
        made.notes.extend(note);
        made.complete();
        made.number();
        Ok(made)
    }

    /// Finds what each completion completes.
    fn pair(&mut self, lenient: bool) -> Result<(), HistoryError> {
        let mut open: HashMap<Name, usize> = HashMap::new();
        for at in 0..self.ops.len() {
            let Foreign { name, op, .. } = &self.ops[at];
            if *name == Name::Nemesis {
                self.begun.push(None);
                continue;
            }
            let begun = open.get(name).copied();
            match (op.kind, begun) {
                (Kind::Invoke, Some(before)) if !lenient => {
                    let message = format!(
                        "process {name} invokes while its op on line {} is open \
                         (--lenient takes that one as indeterminate)",
                        self.ops[before].line
                    );
                    return Err(malformed(at, &self.ops, message));
                }
                (Kind::Invoke, _) => {
                    open.insert(name.clone(), at);
                    self.begun.push(None);
                }
                // A remark of somebody who is no client: clients have numbers, or invoke.
                (Kind::Info, None) if matches!(name, Name::Text(_)) => {
                    self.ops[at].name = Name::Nemesis;
                    self.begun.push(None);
                }
                (_, None) => {
                    let message = format!("process {name} completes what it never invoked");
                    return Err(malformed(at, &self.ops, message));
                }
                (_, Some(_)) => {
                    open.remove(name);
                    self.begun.push(begun);
                }
            }
        }
        Ok(())
    }

    /// A completion says the result; the rest it has from its invocation.
    fn complete(&mut self) {
        for at in 0..self.ops.len() {
            let Some(begun) = self.begun[at] else { continue };
            let (before, rest) = self.ops.split_at_mut(at);
            let (invoke, op) = (&before[begun].op, &mut rest[0].op);
            if op.f.is_empty() {
                op.f = invoke.f.clone();
            }
            if op.key.is_none() {
                op.key.clone_from(&invoke.key);
            }
            match said_no(invoke, op) {
                Some(Outcome::Fail) => op.kind = Kind::Fail,
                Some(_) => op.kind = Kind::Info,
                None => {}
            }
            // What a write or a failed op says again (or says of its failure) is what was asked.
            if op.kind != Kind::Ok || !answers(&invoke.f) || op.value.is_none() && !reads(&invoke.f)
            {
                op.value.clone_from(&invoke.value);
            }
        }
    }

    /// Numbers processes: those with numbers keep them, those with names get the next ones, and so
    /// does one that goes on after an indeterminate op.
    fn number(&mut self) {
        struct Client {
            id: u64,
            is_done: bool,
        }
        let mut clients: HashMap<Name, Client> = HashMap::new();
        let numbers = self.ops.iter().filter_map(|op| match op.name {
            Name::Number(id) => Some(id),
            Name::Text(_) | Name::Nemesis => None,
        });
        let mut next = numbers.max().map_or(0, |highest| highest.saturating_add(1));
        let mut fresh = || {
            next += 1;
            next - 1
        };
        for foreign in &mut self.ops {
            let Foreign { name, op, .. } = foreign;
            if *name == Name::Nemesis {
                continue;
            }
            let client = clients.entry(name.clone()).or_insert_with(|| {
                let id = if let Name::Number(id) = name { *id } else { fresh() };
                Client { id, is_done: false }
            });
            if op.kind == Kind::Invoke && client.is_done {
                client.id = fresh();
            }
            if let Name::Text(text) = name {
                self.clients.insert(client.id, text.clone());
            }
            // Until it is completed, nobody knows.
            client.is_done = matches!(op.kind, Kind::Invoke | Kind::Info);
            op.process = Process::Client(client.id);
        }
    }

    /// The history, at timestamps that rise; or at times as they are, which ops are in the order of.
    fn history(self, at_times: bool) -> Result<History, HistoryError> {
        let Self { ops: all, clients, .. } = self;
        let clocks: Vec<Clock> = all.iter().map(|op| op.clock).collect();
        let times = clock::nanos(&clocks);
        let mut timestamps = if at_times { Vec::new() } else { clock::rising(&times) };
        if at_times {
            let mut now = 0;
            timestamps.extend(times.iter().map(|time| {
                now = time.unwrap_or(now);
                now
            }));
        }
        // Contexts name ops by their indices there.
        let named = all.iter().any(|op| op.op.context.is_some());
        let places = all.iter().zip(0..).filter_map(|(op, at)| Some((op.index?, at)));
        let places: HashMap<u64, u64> = if named { places.collect() } else { HashMap::new() };
        let mut origin = Origin { clients, ..Origin::default() };
        let mut ops: Vec<Op> = Vec::with_capacity(all.len());
        for (at, (foreign, timestamp)) in all.into_iter().zip(timestamps).enumerate() {
            origin.lines.push(foreign.line);
            origin.indices.push(foreign.index.unwrap_or(at as u64));
            let mut op = foreign.op;
            (op.index, op.time) = (at as u64, timestamp);
            op.context = op.context.map(|context| *places.get(&context).unwrap_or(&context));
            ops.push(op);
        }
        let at_line = |error| match error {
            HistoryError::Malformed { index, message, .. } => {
                let line = origin.lines.get(index as usize).copied();
                HistoryError::Malformed { index, line, message }
            }
            other => other,
        };
        let history = History::from_ops(ops).map_err(at_line)?;
        Ok(history.from(origin))
    }
}

/// An error about an op of these.
pub(crate) fn malformed(at: usize, ops: &[Foreign], message: String) -> HistoryError {
    HistoryError::Malformed { index: at as u64, line: Some(ops[at].line), message }
}

/// Does it ask without an argument, so that what comes back is all there is to say?
pub(crate) fn reads(f: &str) -> bool {
    matches!(f, "read" | "get" | "home" | "dequeue" | "drain" | "generate" | "txn")
}

/// Is what it completes with a result?
fn answers(f: &str) -> bool {
    let asks =
        ["write", "put", "append", "add", "remove", "enqueue", "delete", "inc", "dec", "cas"];
    !asks.contains(&f)
}

/// Null, or nothing at all.
pub(crate) fn is_null(value: Option<&Value>) -> bool {
    value.is_none_or(Value::is_null)
}
