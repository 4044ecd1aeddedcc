//! The history of the run, written before things are done and flushed as it goes.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use checker::history::op::Op;
use checker::history::{HistoryError, Writer};
use tokio::time::Instant;

use crate::nemesis::aim::Acknowledged;

/// The one clock of the run, and the one place where lines get their time and their index: so
/// that time never goes back in a history, whoever writes to it.
pub struct Journal {
    start: Instant,
    zero: SystemTime,
    lines: Mutex<Lines>,
    acknowledged: Mutex<Acknowledged>,
}

/// Where they go.
enum Lines {
    Written(Writer),
    Kept(Vec<Op>),
}

impl Journal {
    /// Begins a history; the run's clock starts now.
    ///
    /// # Errors
    /// If the file cannot be made, or exists.
    pub fn create(path: &Path) -> Result<Self, HistoryError> {
        let (start, zero) = (Instant::now(), SystemTime::now());
        Ok(Self {
            start,
            zero,
            lines: Mutex::new(Lines::Written(Writer::create(path)?)),
            acknowledged: Mutex::default(),
        })
    }

    /// A history that is kept in memory, of a run whose clock starts now.
    #[must_use]
    pub fn in_memory() -> Self {
        let lines = Mutex::new(Lines::Kept(Vec::new()));
        Self {
            start: Instant::now(),
            zero: SystemTime::UNIX_EPOCH,
            lines,
            acknowledged: Mutex::default(),
        }
    }

    /// What was kept in memory, taken out.
    #[must_use]
    pub fn take(&self) -> Vec<Op> {
        match &mut *self.lines.lock().expect("no one panics with the lock held") {
            Lines::Written(_) => Vec::new(),
            Lines::Kept(lines) => std::mem::take(lines),
        }
    }

    /// Who answered acknowledged puts so far.
    pub(crate) fn acknowledged(&self) -> Acknowledged {
        self.acknowledged.lock().expect("no one panics with the lock held").clone()
    }

    /// Time since the start of the run.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// When the run started by the machine's clock, in microseconds since 1970.
    #[must_use]
    pub fn zero_us(&self) -> u64 {
        let since = self.zero.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or_default()
    }

    /// The instant that is `at` after the start of the run.
    #[must_use]
    pub fn instant(&self, at: Duration) -> Instant {
        self.start + at
    }

    /// Writes a line, stamped now; gives its index.
    ///
    /// # Errors
    /// If it cannot be written: a run without its history is worth nothing.
    pub fn append(&self, op: Op) -> Result<u64, HistoryError> {
        self.acknowledged.lock().expect("no one panics with the lock held").note(&op);
        let mut lines = self.lines.lock().expect("no one panics with the lock held");
        let now = u64::try_from(self.now().as_nanos()).expect("no run takes 500 years");
        match &mut *lines {
            Lines::Written(writer) => writer.append(op.at(now)),
            Lines::Kept(lines) => {
                let (mut op, index) = (op.at(now), lines.len() as u64);
                op.index = index;
                lines.push(op);
                Ok(index)
            }
        }
    }
}
