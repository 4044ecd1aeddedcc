//! What a history tells so far, second by second: also of one that is still written to. Read line by line;
//! only sums are kept, and what the nemesis did.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};

use checker::history::op::{Kind, Op, Process};
use checker::history::{History, Lines};
use dyno_page::{Band, bands};
use serde::Serialize;

/// As many seconds are told apart, more than a day; what is later counts for the last.
const MOST_SECONDS: usize = 100_000;
/// As many lines of the nemesis are kept.
const MOST_FAULTS: usize = 50_000;
/// As much is read at a time.
const CHUNK: usize = 4 << 20;
/// A line that is longer is none of ours.
const LONGEST_LINE: usize = 64 << 20;

/// One second of a run, by the ends of its operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Second {
    /// How many operations ended well, failed, and were given up.
    pub ops: [u32; 3],
    /// The median and the 99th percentile of those that ended well, in milliseconds, to a tenth of it.
    pub ms: [f32; 2],
}

/// Durations of one second, in steps of an eighth of an octave from a microsecond on.
#[derive(Debug)]
struct Durations([u32; 256]);

impl Durations {
    fn add(&mut self, nanos: u64) {
        let step = (nanos.max(1000) as f64 / 1000.0).log2() * 8.0;
        self.0[(step as usize).min(255)] += 1;
    }

    /// The smallest duration, in milliseconds, that this share of them does not exceed.
    fn quantile(&self, share: f64) -> f32 {
        let all: u32 = self.0.iter().sum();
        let mut left = (f64::from(all) * share).ceil() as u32;
        for (step, count) in self.0.iter().enumerate() {
            left = left.saturating_sub(*count);
            if left == 0 {
                return (((step + 1) as f64 / 8.0).exp2() / 1e3) as f32;
            }
        }
        0.0
    }
}

/// What a history tells so far.
#[derive(Debug)]
pub(crate) struct Tail {
    seconds: Vec<Second>,
    durations: Durations,
    /// Of each process when its operation began.
    open: HashMap<Process, u64>,
    nemesis: Vec<Op>,
    /// When the last line was written, in nanoseconds.
    pub last: u64,
    /// How many lines there were.
    pub lines: u64,
}

impl Default for Tail {
    fn default() -> Self {
        let durations = Durations([0; 256]);
        let (seconds, open, nemesis) = Default::default();
        Self { seconds, durations, open, nemesis, last: 0, lines: 0 }
    }
}

impl Tail {
    fn take(&mut self, op: Op) {
        self.lines += 1;
        self.last = self.last.max(op.time);
        if op.process == Process::Nemesis {
            if self.nemesis.len() < MOST_FAULTS {
                self.nemesis.push(op);
            }
            return;
        }
        let second = usize::try_from(op.time / 1_000_000_000).unwrap_or(usize::MAX);
        let second = second.min(MOST_SECONDS - 1);
        if second >= self.seconds.len() {
            self.close();
            self.seconds.resize(second + 1, Second::default());
        }
        let begun = match op.kind {
            Kind::Invoke => {
                self.open.insert(op.process, op.time);
                return;
            }
            Kind::Ok | Kind::Fail | Kind::Info => self.open.remove(&op.process),
        };
        let last = self.seconds.last_mut().expect("it was made longer");
        let at = match op.kind {
            Kind::Fail => 1,
            Kind::Info => 2,
            Kind::Ok | Kind::Invoke => 0,
        };
        last.ops[at] += 1;
        if op.kind == Kind::Ok
            && let Some(begun) = begun
        {
            self.durations.add(op.time.saturating_sub(begun));
        }
    }

    /// The last second is over.
    fn close(&mut self) {
        if let Some(last) = self.seconds.last_mut() {
            last.ms = [self.durations.quantile(0.5), self.durations.quantile(0.99)];
        }
        self.durations = Durations([0; 256]);
    }

    /// The seconds that are over.
    pub(crate) fn over(&self) -> &[Second] {
        &self.seconds[..self.seconds.len().saturating_sub(1)]
    }

    /// All seconds, the last one, too.
    pub(crate) fn seconds(&self) -> &[Second] {
        &self.seconds
    }

    /// All operations that ended: well, failed, given up.
    pub(crate) fn ops(&self) -> [u64; 3] {
        let mut sum = [0; 3];
        for second in &self.seconds {
            (0..3).for_each(|at| sum[at] += u64::from(second.ops[at]));
        }
        sum
    }

    /// The faults so far; those that are not healed last to the end of what was read.
    pub(crate) fn bands(&self) -> Vec<Band> {
        self.bands_until(self.last)
    }

    /// The faults that are in force and proven at the end of what was read.
    pub(crate) fn in_force(&self) -> Vec<String> {
        let later = self.last.saturating_add(1);
        let open = self.bands_until(later).into_iter();
        open.filter(|band| band.is_proven && band.to == later).map(|band| band.in_words()).collect()
    }

    fn bands_until(&self, end: u64) -> Vec<Band> {
        // A line that tells of no fault, and of the time.
        let end = Op::new(Process::Nemesis, Kind::Fail, "end").at(end);
        let ops = self.nemesis.iter().cloned().chain([end]).collect();
        History::numbered(ops).map(|history| bands(&history)).unwrap_or_default()
    }
}

/// Reads a history that may grow.
pub(crate) struct Follower {
    file: File,
    /// The begin of a line whose end is not there yet.
    rest: Vec<u8>,
    /// What was read.
    pub tail: Tail,
}

impl Follower {
    /// Of a file, from its begin.
    pub(crate) fn new(file: File) -> Self {
        Self { file, rest: Vec::new(), tail: Tail::default() }
    }

    /// Reads on; whether there was something to read.
    ///
    /// # Errors
    /// If the file cannot be read, or holds something that is no history.
    pub(crate) fn more(&mut self) -> io::Result<bool> {
        let before = self.rest.len();
        let read = (&mut self.file).take(CHUNK as u64).read_to_end(&mut self.rest)?;
        let Some(end) = self.rest[before..].iter().rposition(|byte| *byte == b'\n') else {
            if self.rest.len() > LONGEST_LINE {
                return Err(io::Error::other("a line that is too long is no operation"));
            }
            return Ok(read > 0);
        };
        let rest = self.rest.split_off(before + end + 1);
        let mut lines = Lines::new(&self.rest[..]);
        while let Some(op) = lines.next_op().map_err(io::Error::other)? {
            self.tail.take(op);
        }
        self.rest = rest;
        Ok(read > 0)
    }

    /// Reads all there is.
    ///
    /// # Errors
    /// As [`Self::more`].
    pub(crate) fn all(mut self) -> io::Result<Tail> {
        while self.more()? {}
        self.tail.close();
        Ok(self.tail)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use serde_json::json;

    use super::*;

    fn line(time_ms: u64, process: u64, kind: &str) -> String {
        let time = time_ms * 1_000_000;
        let line = json!({
            "index": 0, "time": time, "process": process, "type": kind, "f": "get", "key": "k",
        });
        format!("{line}\n")
    }

    fn fault(time_ms: u64, kind: &str, step: &str) -> String {
        let (time, value) =
            (time_ms * 1_000_000, json!({ "fault": 1, "step": step, "nodes": ["n1"] }));
        let line = json!({
            "index": 0, "time": time, "process": "nemesis", "type": kind, "f": "kill", "value": value,
        });
        format!("{line}\n")
    }

    #[test]
    fn a_history_that_grows_is_told_as_one_that_is_whole() {
        let mut text = String::new();
        for at in 0..400 {
            text += &line(at * 10, at % 7, "invoke");
            text += &line(at * 10 + 2, at % 7, ["ok", "ok", "ok", "fail"][at as usize % 4]);
        }
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut follower = Follower::new(file.reopen().unwrap());
        // It is cut anywhere, also in the middle of a line.
        for part in text.as_bytes().chunks(333) {
            file.write_all(part).unwrap();
            while follower.more().unwrap() {}
        }
        assert!(!follower.more().unwrap());
        assert_eq!(follower.tail.lines, 800);
        let whole = Follower::new(file.reopen().unwrap()).all().unwrap();
        assert_eq!(whole.ops(), [300, 100, 0]);
        assert_eq!(whole.over(), follower.tail.over());
        assert_eq!(whole.seconds()[1].ops, [75, 25, 0]);
        let [p50, p99] = whole.seconds()[1].ms;
        assert!((1.9..2.3).contains(&p50) && (1.9..2.3).contains(&p99), "{p50} {p99}");
    }

    #[test]
    fn faults_are_in_force_from_their_proof_until_their_healing_begins() {
        let steps = [
            fault(10, "invoke", "inject"),
            fault(20, "ok", "inject"),
            fault(30, "invoke", "heal"),
            fault(40, "ok", "heal"),
        ];
        let mut tail = Tail::default();
        let mut seen = Vec::new();
        for step in &steps {
            let mut lines = Lines::new(step.as_bytes());
            tail.take(lines.next_op().unwrap().unwrap());
            seen.push(tail.in_force().len());
        }
        assert_eq!(seen, [0, 1, 0, 0]);
        assert_eq!(tail.bands().len(), 1);
    }

    #[test]
    fn a_clock_that_went_mad_takes_no_memory() {
        let mut tail = Tail::default();
        let mad = format!(
            "{}\n",
            json!({ "index": 0, "time": u64::MAX, "process": 1, "type": "ok", "f": "get" })
        );
        tail.take(Lines::new(mad.as_bytes()).next_op().unwrap().unwrap());
        assert_eq!(tail.seconds().len(), MOST_SECONDS);
    }
}
