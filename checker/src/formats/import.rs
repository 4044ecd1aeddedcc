//! From the ops of others to a history of ours: numbered, timed, one operation open a process.

use std::collections::HashMap;

use serde_json::Value;

use crate::history::{History, HistoryError};
use crate::op::{Kind, Op, Process};

/// Takes ops in order and mends what foreign logs leave open.
#[derive(Default)]
pub(crate) struct Import {
    lenient: bool,
    ops: Vec<Op>,
    /// The line each op stands on, for errors.
    lines: Vec<u64>,
    timed: usize,
    /// What foreign processes are called here, and what they have open.
    processes: HashMap<u64, Client>,
    /// The highest id in use, for processes that go on after an indeterminate op.
    highest: u64,
    /// Foreign indices, where there are any: contexts name them.
    indices: HashMap<u64, u64>,
}

struct Client {
    id: u64,
    open: Option<usize>,
    retired: bool,
}

/// What a foreign line says of an op, besides what an [`Op`] has.
pub(crate) struct Foreign {
    pub(crate) op: Op,
    pub(crate) has_time: bool,
    pub(crate) index: Option<u64>,
    pub(crate) line: u64,
}

impl Import {
    pub(crate) fn new(lenient: bool) -> Self {
        Self { lenient, ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.ops.len()
    }

    pub(crate) fn push(&mut self, foreign: Foreign) -> Result<(), HistoryError> {
        let Foreign { mut op, has_time, index, line } = foreign;
        let at = self.ops.len();
        if let Process::Client(process) = op.process {
            op.process = Process::Client(self.client(process, &mut op, at, line)?);
        }
        self.indices.extend(index.map(|index| (index, at as u64)));
        self.timed += usize::from(has_time);
        op.index = at as u64;
        self.ops.push(op);
        self.lines.push(line);
        Ok(())
    }

    /// The process id here of a foreign process; a completion gets what its invocation had.
    fn client(
        &mut self,
        process: u64,
        op: &mut Op,
        at: usize,
        line: u64,
    ) -> Result<u64, HistoryError> {
        self.highest = self.highest.max(process);
        let client = self.processes.entry(process).or_insert(Client {
            id: process,
            open: None,
            retired: false,
        });
        let wrong = |message: String| HistoryError::Malformed {
            index: at as u64,
            line: Some(line),
            message,
        };
        match (op.kind, client.open) {
            (Kind::Invoke, Some(open)) if !self.lenient => {
                let message = format!(
                    "process {process} invokes while its op on line {} is open \
                     (--lenient takes that one as indeterminate)",
                    self.lines[open]
                );
                Err(wrong(message))
            }
            (Kind::Invoke, open) => {
                if client.retired || open.is_some() {
                    self.highest += 1;
                    client.id = self.highest;
                    client.retired = false;
                }
                client.open = Some(at);
                Ok(client.id)
            }
            (_, None) => Err(wrong(format!("process {process} completes what it never invoked"))),
            (kind, Some(open)) => {
                client.open = None;
                client.retired = kind == Kind::Info;
                let id = client.id;
                complete(&self.ops[open], op);
                Ok(id)
            }
        }
    }

    /// The history; time is the place in it where the log has none.
    pub(crate) fn finish(mut self) -> Result<History, HistoryError> {
        let all_timed = self.timed == self.ops.len();
        let mut now = 0;
        for (at, op) in (0..).zip(&mut self.ops) {
            if !all_timed {
                op.time = at;
            } else if self.lenient {
                op.time = op.time.max(now);
            }
            now = op.time;
            if let Some(context) = op.context {
                op.context = Some(*self.indices.get(&context).unwrap_or(&context));
            }
        }
        split_keys(&mut self.ops);
        let lines = std::mem::take(&mut self.lines);
        History::from_ops(self.ops).map_err(|error| match error {
            HistoryError::Malformed { index, message, .. } => {
                let line = lines.get(index as usize).copied();
                HistoryError::Malformed { index, line, message }
            }
            other => other,
        })
    }
}

/// A completion says the result; the rest it has from its invocation.
fn complete(invoke: &Op, op: &mut Op) {
    if op.f.is_empty() {
        op.f = invoke.f.clone();
    }
    if op.key.is_none() {
        op.key.clone_from(&invoke.key);
    }
    // What a write or a failed op says again (or says of its failure) is what was asked.
    let asked = !matches!(&*op.f, "read" | "get" | "dequeue" | "txn");
    if op.kind != Kind::Ok || op.value.is_none() && asked {
        op.value.clone_from(&invoke.value);
    }
}

/// Jepsen's independent keys: if every value of every client op is a pair `[key value]`, some read
/// among them asking with `[key nil]`, then the keys are what they say.
fn split_keys(ops: &mut [Op]) {
    let clients = || ops.iter().filter(|op| op.is_client());
    let pair = |op: &Op| -> bool {
        let value = op.value.as_ref().and_then(Value::as_array);
        value.is_some_and(|pair| pair.len() == 2 && !pair[0].is_array() && !pair[0].is_null())
    };
    let asks = |op: &Op| {
        op.kind == Kind::Invoke
            && op.f == "read"
            && op.value.as_ref().is_some_and(|v| v[1].is_null())
    };
    if !(clients().all(|op| op.key.is_none() && pair(op)) && clients().any(asks)) {
        return;
    }
    for op in ops.iter_mut().filter(|op| op.is_client()) {
        if let Some(Value::Array(pair)) = op.value.take() {
            let mut pair = pair.into_iter();
            let key = pair.next().unwrap_or(Value::Null);
            let key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
            op.key = Some(key.into());
            op.value = pair.next();
        }
    }
}
