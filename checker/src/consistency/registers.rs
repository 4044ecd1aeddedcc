//! A history as sessions of reads and writes of registers: the form the session and causal
//! checkers judge.
//!
//! Values are unique per key, so that each read names the write it read. `read` and `write` are
//! understood, and `get` and `put`; gets that return more than one sibling are
//! [left out](crate::consistency::left_out), and so are reads of homes. Writes that surely
//! failed are left out, and so are indeterminate ones that nobody read: they may not have happened.

use hashbrown::{HashMap, HashSet};
use serde_json::Value;

use crate::consistency::left_out::{LeftOut, has_several};
use crate::history::op::Process;
use crate::history::{History, Outcome, Pair};
use crate::judge::budget::Meter;
use crate::judge::finding::{Findings, shown};
use crate::judge::verdict::CheckReport;

/// An event, by its position in [`Registers::events`], which is in order of invocation.
pub(crate) type EventId = u32;

/// One write that happened, or one read that returned.
pub(crate) struct Event<'a> {
    pub(crate) pair: Pair<'a>,
    pub(crate) session: u32,
    /// Its place in its session, from 0.
    pub(crate) at: u32,
    pub(crate) key: u32,
    pub(crate) act: Act,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Write,
    /// The write it read; none for the initial value.
    Read(Option<EventId>),
}

/// A history of unique-write registers.
pub(crate) struct Registers<'a> {
    pub(crate) events: Vec<Event<'a>>,
    /// Of each session its events in order.
    pub(crate) sessions: Vec<Vec<EventId>>,
    /// Of each key its writes in order of invocation.
    pub(crate) writes: Vec<Vec<EventId>>,
    pub(crate) keys: Vec<&'a str>,
    /// How many of the events are reads.
    pub(crate) reads: usize,
    /// What is no read or write of a register.
    pub(crate) left_out: LeftOut,
    /// Reads of what no write can have written.
    pub(crate) thin_air: Findings,
}

/// Why registers without an answered read are not judged.
pub(crate) const NO_READ: &str = "no read was answered";

/// Why a history cannot be judged as registers.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoRegisters {
    #[error("op {0}: `{1}` is neither a read nor a write of a register")]
    F(u64, String),
    #[error("op {1} writes {2}, which op {0} wrote before: whose value a read saw is not known")]
    Repeated(u64, u64, String),
    #[error("{0}")]
    Siblings(String),
}

impl<'a> Registers<'a> {
    /// The history as registers, or the report that ends every judgement of it: refused if it has
    /// none, unknown if no read was answered, invalid if a read shows what nobody wrote.
    pub(crate) fn readable(history: &'a History, meter: &Meter) -> Result<Self, CheckReport> {
        /// An event, its place in its session, and its value in two tables while they are made.
        const BYTES_A_LINE: u64 = 128;
        meter
            .reserve(BYTES_A_LINE * history.len() as u64)
            .map_err(|exhausted| CheckReport::unknown(exhausted.to_string()))?;
        let registers =
            Self::of(history).map_err(|error| CheckReport::refused(error.to_string()))?;
        if registers.thin_air.is_empty() && registers.reads > 0 {
            return Ok(registers);
        }
        Err(registers.report(&registers.thin_air))
    }

    /// The report of what was found about all the answered reads.
    pub(crate) fn report(&self, findings: &Findings) -> CheckReport {
        self.left_out.noted_in(findings.report(self.reads, NO_READ))
    }

    fn of(history: &'a History) -> Result<Self, NoRegisters> {
        let mut key_numbers: HashMap<&str, u32> = HashMap::new();
        let mut keys = Vec::new();
        let mut writers: HashMap<(u32, &Value), Pair<'a>> = HashMap::new();
        let mut pairs = Vec::new();
        let (mut left_out, mut also_read) = (LeftOut::default(), Vec::new());
        for pair in history.pairs() {
            let name = pair.key().unwrap_or("");
            let key = *key_numbers.entry(name).or_insert_with(|| {
                keys.push(name);
                keys.len() as u32 - 1
            });
            if left_out.takes(&pair) {
                let siblings = pair.result().filter(|_| has_several(&pair));
                let siblings = siblings.and_then(Value::as_array).into_iter().flatten();
                also_read.extend(siblings.map(|value| (key, value)));
                continue;
            }
            match pair.f() {
                "write" | "put" => {
                    let value = pair.invoke.value.as_ref().unwrap_or(&Value::Null);
                    if let Some(first) = writers.insert((key, value), pair) {
                        let value = shown(value);
                        return Err(NoRegisters::Repeated(first.name(), pair.name(), value));
                    }
                    pairs.push((pair, key, Some(value), true));
                }
                "read" | "get" if pair.outcome() == Outcome::Ok => {
                    pairs.push((pair, key, value_read(&pair), false));
                }
                "read" | "get" => {}
                other => return Err(NoRegisters::F(pair.name(), other.to_owned())),
            }
        }
        if let Some(why) = left_out.refusal() {
            return Err(NoRegisters::Siblings(why));
        }
        let mut gathering = Gathering::new(keys, &pairs);
        gathering.read_values.extend(also_read);
        gathering.registers.left_out = left_out;
        gathering.gather(pairs, &writers);
        Ok(gathering.registers)
    }

    pub(crate) fn event(&self, id: EventId) -> &Event<'a> {
        &self.events[id as usize]
    }

    pub(crate) fn name(&self, id: EventId) -> u64 {
        self.event(id).pair.name()
    }

    pub(crate) fn key_of(&self, id: EventId) -> &'a str {
        self.keys[self.event(id).key as usize]
    }

    /// `write #7 of 3`, `read #9 of 3`, `read #9 of nothing`.
    pub(crate) fn in_words(&self, id: EventId) -> String {
        let event = self.event(id);
        let value = match event.act {
            Act::Write => event.pair.invoke.value.as_ref(),
            Act::Read(None) => None,
            Act::Read(Some(write)) => self.event(write).pair.invoke.value.as_ref(),
        };
        let value = value.map_or_else(|| "nothing".to_owned(), shown);
        format!("{} #{} of {value}", event.pair.f(), event.pair.name())
    }
}

/// None for the initial value.
fn value_read<'a>(pair: &Pair<'a>) -> Option<&'a Value> {
    match (pair.f(), pair.result()) {
        (_, None | Some(Value::Null)) => None,
        ("get", Some(Value::Array(siblings))) => siblings.first(),
        (_, value) => value,
    }
}

type Raw<'a> = (Pair<'a>, u32, Option<&'a Value>, bool);

struct Gathering<'a> {
    registers: Registers<'a>,
    read_values: HashSet<(u32, &'a Value)>,
    session_numbers: HashMap<Process, u32>,
}

impl<'a> Gathering<'a> {
    fn new(keys: Vec<&'a str>, pairs: &[Raw<'a>]) -> Self {
        let reads = pairs.iter().filter(|raw| !raw.3);
        let read_values = reads.clone().filter_map(|raw| Some((raw.1, raw.2?))).collect();
        let registers = Registers {
            events: Vec::new(),
            sessions: Vec::new(),
            writes: vec![Vec::new(); keys.len()],
            keys,
            reads: reads.count(),
            left_out: LeftOut::default(),
            thin_air: Findings::default(),
        };
        Self { registers, read_values, session_numbers: HashMap::new() }
    }

    fn gather(&mut self, pairs: Vec<Raw<'a>>, writers: &HashMap<(u32, &'a Value), Pair<'a>>) {
        let mut ids: HashMap<u64, EventId> = HashMap::new();
        for &(pair, key, value, is_write) in &pairs {
            let happened = match pair.outcome() {
                Outcome::Ok => true,
                Outcome::Fail => false,
                Outcome::Info => value.is_some_and(|v| self.read_values.contains(&(key, v))),
            };
            if is_write && !happened {
                continue;
            }
            let id = self.registers.events.len() as EventId;
            let session = self.session(pair.invoke.process);
            let at = self.registers.sessions[session as usize].len() as u32;
            self.registers.sessions[session as usize].push(id);
            if is_write {
                self.registers.writes[key as usize].push(id);
                ids.insert(pair.invoke.index, id);
            }
            let act = Act::Write;
            self.registers.events.push(Event { pair, session, at, key, act });
        }
        // A write may have begun before the read of it, or (a fault) after: so in a second pass.
        let mut reads = pairs.iter().filter(|raw| !raw.3);
        for id in 0..self.registers.events.len() {
            if matches!(self.registers.events[id].pair.f(), "write" | "put") {
                continue;
            }
            let (pair, key, value, _) = reads.next().expect("reads were gathered in this order");
            let writer = value.map(|value| (value, writers.get(&(*key, value))));
            let write = match writer {
                None => None,
                Some((value, writer)) => {
                    let found = writer.and_then(|writer| ids.get(&writer.invoke.index));
                    if found.is_none() {
                        self.thin_air(pair, value, writer.copied());
                    }
                    found.copied()
                }
            };
            self.registers.events[id].act = Act::Read(write);
        }
    }

    fn thin_air(&mut self, read: &Pair<'a>, value: &Value, writer: Option<Pair<'a>>) {
        let (mut ops, why) = match writer {
            Some(writer) => (vec![writer.name()], "whose write had failed"),
            None => (Vec::new(), "which nobody wrote"),
        };
        ops.push(read.name());
        let key = read.key().unwrap_or("");
        let what =
            format!("{} #{} of {key:?} returned {}, {why}", read.f(), read.name(), shown(value));
        self.registers.thin_air.add("thin_air", key, ops, what);
    }

    fn session(&mut self, process: Process) -> u32 {
        *self.session_numbers.entry(process).or_insert_with(|| {
            self.registers.sessions.push(Vec::new());
            self.registers.sessions.len() as u32 - 1
        })
    }
}
