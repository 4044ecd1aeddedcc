//! The node's wall clock: the timestamps of last-writer-wins, and nothing else.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dynamo_protocol::Time;
use tokio::time::Instant;

/// A wall clock that can be set wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    skew: Skew,
    since: Instant,
}

/// How a clock deviates from the true time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skew {
    /// By how many microseconds it is ahead.
    pub offset_us: i64,
    /// How fast it runs, in parts per million of true speed.
    pub rate_ppm: u64,
    /// It jumps back and forth: ahead by the offset for so many microseconds, and then as long not; 0, always
    /// ahead.
    pub strobe_us: u64,
}

impl Skew {
    /// None.
    pub const NONE: Self = Self { offset_us: 0, rate_ppm: 1_000_000, strobe_us: 0 };
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

impl Skew {
    fn apply(self, truth: i128, elapsed: i128) -> u64 {
        if self == Self::NONE {
            return u64::try_from(truth).unwrap_or(0);
        }
        let gained = elapsed * (i128::from(self.rate_ppm) - 1_000_000) / 1_000_000;
        let strobe = i128::from(self.strobe_us);
        let is_ahead = strobe == 0 || elapsed / strobe % 2 == 0;
        let offset = if is_ahead { i128::from(self.offset_us) } else { 0 };
        let skewed = truth + offset + gained;
        u64::try_from(skewed.max(0)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_ahead_by_its_offset_and_gains_by_its_rate() {
        let ahead = |offset_us| Skew { offset_us, ..Skew::NONE };
        let fast = |rate_ppm| Skew { rate_ppm, ..Skew::NONE };
        assert_eq!(Skew::NONE.apply(1000, 500), 1000);
        assert_eq!(ahead(-300).apply(1000, 500), 700);
        assert_eq!(fast(3_000_000).apply(1000, 500), 2000);
        assert_eq!(fast(500_000).apply(1000, 500), 750);
        assert_eq!(ahead(-5000).apply(1000, 500), 0);
    }

    #[test]
    fn a_clock_that_strobes_is_ahead_half_of_the_time() {
        let strobes = Skew { offset_us: 300, strobe_us: 10, ..Skew::NONE };
        let read = [0, 9, 10, 19, 20, 35].map(|elapsed| strobes.apply(1000, elapsed));
        assert_eq!(read, [1300, 1300, 1000, 1000, 1300, 1000]);
    }
}
