//! What every history keeps to, whatever its workload: numbering, time, and the life of processes.

use super::{HistoryError, NONE};
use crate::history::op::{Elsewhere, Kind, Op, Process};

/// What every history keeps to, checked line by line.
#[derive(Default)]
pub(crate) struct Structure {
    next_index: u64,
    time: u64,
    processes: hashbrown::HashMap<u64, State>,
}

#[derive(Clone, Copy)]
enum State {
    Idle,
    /// With the invocation of this index.
    Busy(u32),
    /// After an `info` nobody knows when the operation ends: the id must not be used again.
    Retired {
        at: u64,
    },
}

impl Structure {
    /// Takes the line after `before`; gives the index of the invocation that it completes.
    pub(crate) fn accept(&mut self, before: &[Op], op: &Op) -> Result<Option<u32>, HistoryError> {
        if op.index != self.next_index {
            let message = format!(
                "index {} stands where {} belongs: a line was lost, repeated or moved",
                op.index, self.next_index
            );
            return Err(malformed(self.next_index, message));
        }
        if op.index >= u64::from(NONE) {
            return Err(malformed(op.index, "more lines than a history can have".to_owned()));
        }
        if op.time < self.time {
            let message = format!("time goes back from {} ns to {} ns", self.time, op.time);
            return Err(malformed(op.index, message));
        }
        check_elsewhere(before, op)?;
        self.next_index += 1;
        self.time = op.time;
        match op.process {
            Process::Nemesis => Ok(None),
            Process::Client(process) => self.client(process, before, op),
        }
    }

    fn client(
        &mut self,
        process: u64,
        before: &[Op],
        op: &Op,
    ) -> Result<Option<u32>, HistoryError> {
        let state = self.processes.entry(process).or_insert(State::Idle);
        match (*state, op.kind) {
            (State::Retired { at }, _) => {
                let message = format!("process {process} was retired by the `info` of op {at}");
                Err(malformed(op.index, message))
            }
            (State::Idle, Kind::Invoke) => {
                *state = State::Busy(op.index as u32);
                Ok(None)
            }
            (State::Idle, _) => {
                let message = format!("process {process} completes what it never invoked");
                Err(malformed(op.index, message))
            }
            (State::Busy(open), Kind::Invoke) => {
                let message = format!("process {process} invokes while its op {open} is open");
                Err(malformed(op.index, message))
            }
            (State::Busy(open), kind) => {
                matches_invocation(&before[open as usize], op)?;
                *state = match kind {
                    Kind::Info => State::Retired { at: op.index },
                    Kind::Ok | Kind::Fail | Kind::Invoke => State::Idle,
                };
                Ok(Some(open))
            }
        }
    }
}

fn matches_invocation(invoke: &Op, op: &Op) -> Result<(), HistoryError> {
    let differs = if invoke.f != op.f {
        "f"
    } else if invoke.key != op.key && op.key.is_some() {
        "key"
    } else if invoke.context != op.context && op.context.is_some() {
        "context"
    } else if op.f == "put"
        && op.kind == Kind::Ok
        && op.elsewhere != Some(Elsewhere::Invocation)
        && invoke.value != op.value
    {
        "value"
    } else {
        return Ok(());
    };
    let message = format!("its {differs} is not that of its invocation, op {}", invoke.index);
    Err(malformed(op.index, message))
}

/// A value that stands elsewhere stands before its line, in one that has a value to be read.
fn check_elsewhere(before: &[Op], op: &Op) -> Result<(), HistoryError> {
    let wrong = match &op.elsewhere {
        None => None,
        Some(_) if op.kind == Kind::Invoke || !op.is_client() || op.value.is_some() => {
            Some("only a completion without a value of its own has one elsewhere".to_owned())
        }
        Some(Elsewhere::Invocation) => None,
        Some(Elsewhere::Lines(lines)) => lines.iter().find_map(|line| {
            let written = usize::try_from(*line).ok().and_then(|line| before.get(line));
            let is_there = written.is_some_and(|op| op.kind == Kind::Invoke && op.value.is_some());
            (!is_there).then(|| format!("line {line} before it begins no write"))
        }),
    };
    wrong.map_or(Ok(()), |message| Err(malformed(op.index, message)))
}

fn malformed(index: u64, message: String) -> HistoryError {
    HistoryError::Malformed { index, line: None, message }
}
