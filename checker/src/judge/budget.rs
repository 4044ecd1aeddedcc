//! How long a checker may take and how much memory it may hold, and the meter that keeps it to that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a checker may spend. Out of budget is `unknown`, with how far it got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Wall-clock time.
    pub time: Option<Duration>,
    /// Memory of the whole process, in bytes.
    pub memory: Option<u64>,
}

impl Budget {
    /// No bounds.
    pub const UNLIMITED: Self = Self { time: None, memory: None };

    /// Starts the clock.
    pub fn start(&self) -> Meter {
        let now = Instant::now();
        Meter {
            started: now,
            deadline: self.time.and_then(|time| now.checked_add(time)),
            budget: *self,
            ticks: 0,
            stop: None,
        }
    }
}

/// A budget being spent. Ask [`Meter::tick`] in every inner loop: it is nearly free.
#[derive(Clone, Debug)]
pub struct Meter {
    started: Instant,
    deadline: Option<Instant>,
    budget: Budget,
    ticks: u32,
    stop: Option<Arc<AtomicBool>>,
}

/// A bound was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exhausted {
    /// The time is up.
    #[error("out of time after {:.1} s", .0.as_secs_f64())]
    Time(Duration),
    /// The process holds more memory than it may.
    #[error("out of memory: {0} bytes held")]
    Memory(u64),
    /// Others have found the answer.
    #[error("stopped: the answer is known")]
    Stopped,
}

impl Meter {
    /// Looks at clock and memory every 1024th call, which is often enough: a step of a checker
    /// takes well under a microsecond to a few.
    #[inline(always)]
    pub fn tick(&mut self) -> Result<(), Exhausted> {
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(1024) { self.look() } else { Ok(()) }
    }

    /// The same meter for one of several parts that work side by side: it is also exhausted when
    /// `stop` is set, by whichever part has found what makes the others needless.
    pub fn stopped_by(&self, stop: &Arc<AtomicBool>) -> Self {
        Self { stop: Some(Arc::clone(stop)), ..self.clone() }
    }

    /// The same meter with less time: no more than `most` from now on.
    pub fn within(&self, most: Duration) -> Self {
        let end = Instant::now().checked_add(most);
        let deadline = [self.deadline, end].into_iter().flatten().min();
        Self { deadline, ..self.clone() }
    }

    /// The time left, where there is a bound.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Looks at clock and memory now.
    #[inline(never)]
    pub fn look(&self) -> Result<(), Exhausted> {
        if self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed)) {
            return Err(Exhausted::Stopped);
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(Exhausted::Time(self.elapsed()));
        }
        if let Some(bound) = self.budget.memory
            && let Some(held) = resident_bytes()
            && held > bound
        {
            return Err(Exhausted::Memory(held));
        }
        Ok(())
    }

    /// May so many bytes more be taken? To be asked before a table doubles: to look afterwards
    /// would be too late.
    pub fn reserve(&self, bytes: u64) -> Result<(), Exhausted> {
        // What is small beside the process itself is left to the next look.
        const SMALL: u64 = 1 << 20;
        if bytes > SMALL
            && let Some(bound) = self.budget.memory
            && let Some(held) = resident_bytes()
            && held.saturating_add(bytes) > bound
        {
            return Err(Exhausted::Memory(held));
        }
        Ok(())
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// What is left, for a part that is given a budget of its own.
    pub fn left(&self) -> Budget {
        let time = self.budget.time.map(|time| time.saturating_sub(self.elapsed()));
        Budget { time, memory: self.budget.memory }
    }
}

/// Memory the process holds now, where the system tells.
pub fn resident_bytes() -> Option<u64> {
    status_bytes("VmRSS:")
}

/// The most memory the process ever held, where the system tells.
pub fn peak_bytes() -> Option<u64> {
    status_bytes("VmHWM:")
}

fn status_bytes(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_is_out_of_time_at_once() {
        let meter = Budget { time: Some(Duration::ZERO), memory: None }.start();
        assert!(matches!(meter.look(), Err(Exhausted::Time(_))));
        assert_eq!(Budget::UNLIMITED.start().look(), Ok(()));
    }

    #[test]
    fn a_tick_looks_now_and_then() {
        let mut meter = Budget { time: Some(Duration::ZERO), memory: None }.start();
        assert!((0..1024).any(|_| meter.tick().is_err()));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_is_seen() {
        assert!(peak_bytes().unwrap() > 0 && resident_bytes().unwrap() > 0);
        let meter = Budget { time: None, memory: Some(1) }.start();
        assert!(matches!(meter.look(), Err(Exhausted::Memory(_))));
    }
}
