//! The node's wall clock: the timestamps of last-writer-wins, and nothing else.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dynamo_protocol::{Skew, Time};
use tokio::time::Instant;

/// A wall clock that can be set wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    skew: Skew,
    since: Instant,
}

impl Clock {
    /// The machine's own.
    pub(crate) fn new() -> Self {
        Self { skew: Skew::NONE, since: Instant::now() }
    }

    /// Deviates from now on; what it deviated before is forgotten.
    pub(crate) fn set(&mut self, skew: Skew) {
        *self = Self { skew, since: Instant::now() };
    }

    /// What it reads.
    pub(crate) fn now(&self) -> Time {
        let micros = |time: Duration| i128::try_from(time.as_micros()).unwrap_or(0);
        Time(self.skew.apply(micros(since_1970()), micros(self.since.elapsed())))
    }
}

/// The true time; 0 of a machine whose clock is before that year: timestamps only have to be comparable.
pub(crate) fn since_1970() -> Duration {
    #[cfg(feature = "simulation")]
    if let Some(time) = crate::simulation::time() {
        return time;
    }
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
