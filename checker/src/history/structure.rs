//! What every history keeps to, whatever its workload: numbering, time, and the life of processes.

use super::HistoryError;
use crate::history::op::{Elsewhere, Kind, Op, Process};

/// The index that no line has.
pub(super) const NONE: u32 = u32::MAX;

/// The lines that were accepted before one, or as many of them as are still needed.
pub(super) trait Before {
    /// The line at `index`, if it is there.
    fn line(&self, index: u64) -> Option<&Op>;
}

impl Before for [Op] {
    fn line(&self, index: u64) -> Option<&Op> {
        self.get(usize::try_from(index).ok()?)
    }
}

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
    /// Takes the line after `before`, in which every open invocation is; gives the index of the invocation
    /// that it completes.
    pub(super) fn accept(
        &mut self,
        before: &(impl Before + ?Sized),
        op: &Op,
    ) -> Result<Option<u32>, HistoryError> {
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
        before: &(impl Before + ?Sized),
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
                let invoke = before.line(open.into()).expect("an open invocation is there");
                matches_invocation(invoke, op)?;
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
fn check_elsewhere(before: &(impl Before + ?Sized), op: &Op) -> Result<(), HistoryError> {
    let wrong = match &op.elsewhere {
        None => None,
        Some(_) if op.kind == Kind::Invoke || !op.is_client() || op.value.is_some() => {
            Some("only a completion without a value of its own has one elsewhere".to_owned())
        }
        Some(Elsewhere::Invocation) => None,
        Some(Elsewhere::Lines(lines)) => lines.iter().find_map(|line| {
            let is_there =
                before.line(*line).is_some_and(|op| op.kind == Kind::Invoke && op.value.is_some());
            (!is_there).then(|| format!("line {line} before it begins no write"))
        }),
    };
    wrong.map_or(Ok(()), |message| Err(malformed(op.index, message)))
}

fn malformed(index: u64, message: String) -> HistoryError {
    HistoryError::Malformed { index, line: None, message }
}
