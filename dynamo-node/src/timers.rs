//! The protocol's timers, by name.

use std::collections::{BTreeSet, HashMap};

use dynamo_protocol::Timer;
use tokio::time::Instant;

/// The timers that run, in the order in which they run out.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeSet<(Instant, Timer)>,
    /// When each of them runs out: exactly the entries of `queue`.
    due: HashMap<Timer, Instant>,
}

impl Timers {
    /// Starts `timer`, anew if it runs.
    pub(crate) fn set(&mut self, timer: Timer, due: Instant) {
        if let Some(before) = self.due.insert(timer, due) {
            self.queue.remove(&(before, timer));
        }
        self.queue.insert((due, timer));
    }

    /// Stops `timer`, if it runs.
    pub(crate) fn cancel(&mut self, timer: Timer) {
        if let Some(due) = self.due.remove(&timer) {
            self.queue.remove(&(due, timer));
        }
    }

    /// When the next one runs out.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|entry| entry.0)
    }

    /// Takes the next one that has run out by `now`.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Timer> {
        let (due, timer) = *self.queue.first()?;
        if due > now {
            return None;
        }
        self.cancel(timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dynamo_protocol::NodeId;

    use super::*;

    const ONE: Timer = Timer::Ping(NodeId(1));
    const TWO: Timer = Timer::Ping(NodeId(2));

    #[test]
    fn timers_run_out_in_order() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::default();
        timers.set(ONE, at(20));
        timers.set(TWO, at(10));
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.pop(at(9)), None);
        assert_eq!(timers.pop(at(30)), Some(TWO));
        assert_eq!(timers.pop(at(30)), Some(ONE));
        assert_eq!(timers.pop(at(30)), None);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn setting_a_timer_again_starts_it_anew() {
        let start = Instant::now();
        let later = start + Duration::from_millis(50);
        let mut timers = Timers::default();
        timers.set(ONE, start);
        timers.set(ONE, later);
        assert_eq!(timers.pop(start), None);
        assert_eq!(timers.pop(later), Some(ONE));
        assert_eq!(timers.pop(later), None);
    }

    #[test]
    fn a_cancelled_timer_does_not_run_out() {
        let start = Instant::now();
        let mut timers = Timers::default();
        timers.set(ONE, start);
        timers.cancel(ONE);
        timers.cancel(TWO);
        assert_eq!(timers.pop(start), None);
    }
}
