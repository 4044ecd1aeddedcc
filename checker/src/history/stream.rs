//! A history read operation by operation, for those that cannot or need not hold it whole.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::structure::{Before, Structure};
use super::{HistoryError, Lines, Pair, Torn, at_line};
use crate::history::op::{Op, Process};

/// What comes next in a history.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// A client's operation, at the line that ended it; those still open come at the end, in the order in
    /// which they began.
    Operation {
        /// The line that began it.
        invoke: Op,
        /// The line that ended it, if one did.
        completion: Option<Op>,
    },
    /// A line of the nemesis.
    Nemesis(Op),
}

impl Ended {
    /// The operation, if it is one.
    #[must_use]
    pub fn pair(&self) -> Option<Pair<'_>> {
        match self {
            Self::Operation { invoke, completion } => {
                Some(Pair { invoke, completion: completion.as_ref() })
            }
            Self::Nemesis(_) => None,
        }
    }
}

/// The operations of JSON lines one after the other, checked as a whole [`History`](super::History) is.
/// Memory is that of open operations, and of the names of keys, nodes and processes.
pub struct Stream<R> {
    lines: Lines<R>,
    /// Where the lines come from, for errors.
    path: Option<PathBuf>,
    structure: Structure,
    open: Open,
    /// What is open at the end, once that was reached.
    left: Option<VecDeque<Op>>,
    ended_at: u64,
}

/// Invocations without a completion yet, by index.
#[derive(Default)]
struct Open(BTreeMap<u64, Op>);

impl Before for Open {
    fn line(&self, index: u64) -> Option<&Op> {
        self.0.get(&index)
    }
}

impl Stream<BufReader<File>> {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, HistoryError> {
        let path = path.as_ref().to_owned();
        match File::open(&path) {
            Ok(file) => {
                let stream = Self::new(BufReader::with_capacity(1 << 18, file));
                Ok(Self { path: Some(path), ..stream })
            }
            Err(source) => Err(HistoryError::File { path, source }),
        }
    }
}

impl<R: BufRead> Stream<R> {
    /// Reads from `reader`.
    pub fn new(reader: R) -> Self {
        Self {
            lines: Lines::new(reader),
            path: None,
            structure: Structure::default(),
            open: Open::default(),
            left: None,
            ended_at: 0,
        }
    }

    /// What comes next; none at the end.
    ///
    /// # Errors
    /// If a line is no op, or is none that can stand there.
    pub fn next_ended(&mut self) -> Result<Option<Ended>, HistoryError> {
        if let Some(left) = &mut self.left {
            let open = left.pop_front();
            return Ok(open.map(|invoke| Ended::Operation { invoke, completion: None }));
        }
        while let Some(op) = self.line()? {
            if let Some(ended) = self.take(op)? {
                return Ok(Some(ended));
            }
        }
        self.left = Some(std::mem::take(&mut self.open.0).into_values().collect());
        self.next_ended()
    }

    fn line(&mut self) -> Result<Option<Op>, HistoryError> {
        self.lines.next_op().map_err(|error| match (error, &self.path) {
            (HistoryError::Io(source), Some(path)) => {
                HistoryError::File { path: path.clone(), source }
            }
            (error, _) => error,
        })
    }

    fn take(&mut self, op: Op) -> Result<Option<Ended>, HistoryError> {
        let invoke = self.structure.accept(&self.open, &op);
        let invoke = invoke.map_err(|error| at_line(error, self.lines.line()))?;
        self.ended_at = op.time;
        if op.process == Process::Nemesis {
            return Ok(Some(Ended::Nemesis(op)));
        }
        let Some(invoke) = invoke else {
            self.open.0.insert(op.index, op);
            return Ok(None);
        };
        let invoke = self.open.0.remove(&invoke.into()).expect("what is completed was open");
        Ok(Some(Ended::Operation { invoke, completion: Some(op) }))
    }

    /// The time of the line that was read last, in nanoseconds.
    pub fn ended_at(&self) -> u64 {
        self.ended_at
    }

    /// The last line that was cut short, once the end was reached.
    pub fn torn(&self) -> Option<Torn> {
        self.lines.torn()
    }
}

#[cfg(test)]
mod tests {
    use super::super::History;
    use super::*;
    use crate::history::op::Kind;

    fn lines() -> Vec<Op> {
        let (put, get) = (Op::invoke(0, "put").key("k").value("a"), Op::invoke(1, "get").key("k"));
        let kill = Op::new(Process::Nemesis, Kind::Ok, "kill");
        let late = Op::invoke(2, "get").key("k");
        let ops = [
            put.clone(),
            late,
            get.clone(),
            kill,
            get.completed(Kind::Info),
            put.completed(Kind::Ok),
        ];
        (0..).zip(ops).map(|(index, op)| Op { index, time: 10 * index, ..op }).collect()
    }

    fn text(ops: &[Op]) -> String {
        ops.iter().map(|op| serde_json::to_string(op).unwrap() + "\n").collect()
    }

    fn streamed(text: &str) -> Result<(Vec<Ended>, Option<Torn>), String> {
        let mut stream = Stream::new(text.as_bytes());
        let mut all = Vec::new();
        while let Some(ended) = stream.next_ended().map_err(|error| error.to_string())? {
            all.push(ended);
        }
        Ok((all, stream.torn()))
    }

    #[test]
    fn operations_come_as_they_end_and_those_still_open_at_last() {
        let (all, torn) = streamed(&text(&lines())).unwrap();
        let names: Vec<_> = all.iter().map(|ended| ended.pair().map(|pair| pair.name())).collect();
        assert_eq!(names, [None, Some(4), Some(5), Some(1)]);
        assert_eq!(torn, None);
    }

    #[test]
    fn it_has_the_operations_of_the_whole_history_and_refuses_what_that_refuses() {
        let whole = text(&lines());
        let history = History::from_reader(whole.as_bytes()).unwrap();
        let mut expected: Vec<_> =
            history.pairs().map(|pair| (pair.name(), pair.outcome())).collect();
        expected.sort_by_key(|(name, _)| *name);
        let (all, _) = streamed(&whole).unwrap();
        let pairs = all.iter().filter_map(Ended::pair);
        let mut told: Vec<_> = pairs.map(|pair| (pair.name(), pair.outcome())).collect();
        told.sort_by_key(|(name, _)| *name);
        assert_eq!(told, expected);
        for wrong in 0..lines().len() {
            let mut ops = lines();
            ops.remove(wrong);
            for text in [text(&ops), text(&renumbered(ops))] {
                let whole = History::from_reader(text.as_bytes()).map(|_| ());
                let whole = whole.map_err(|error| error.to_string());
                assert_eq!(streamed(&text).map(|_| ()), whole);
            }
        }
    }

    fn renumbered(ops: Vec<Op>) -> Vec<Op> {
        (0..).zip(ops).map(|(index, op)| Op { index, ..op }).collect()
    }

    #[test]
    fn a_last_line_cut_short_is_told_of() {
        let whole = text(&lines());
        let (all, torn) = streamed(&whole[..whole.len() - 9]).unwrap();
        assert_eq!(all.len(), 4, "its operation is open");
        assert_eq!(torn.map(|torn| torn.line), Some(6));
    }
}
