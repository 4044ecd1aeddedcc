//! How the wall clock of a host, a real one or not, deviates from the true time.

use serde::{Deserialize, Serialize};

/// How a clock deviates from the true time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Skew {
    /// By how many microseconds it is ahead.
    #[serde(rename = "offset")]
    pub offset_us: i64,
    /// How fast it runs, in parts per million of true speed.
    #[serde(rename = "rate", default = "true_speed", skip_serializing_if = "is_true_speed")]
    pub rate_ppm: u64,
    /// It jumps back and forth: ahead by the offset for so many microseconds, and then as long not; 0, always
    /// ahead.
    #[serde(rename = "strobe", default, skip_serializing_if = "is_steady")]
    pub strobe_us: u64,
}

impl Skew {
    /// None.
    pub const NONE: Self = Self { offset_us: 0, rate_ppm: TRUE_SPEED, strobe_us: 0 };

    /// Ahead by so many microseconds, at true speed; back, if that is negative.
    #[must_use]
    pub const fn by(offset_us: i64) -> Self {
        Self { offset_us, ..Self::NONE }
    }

    /// What a clock reads at a time, so long after it began to deviate like this; all in microseconds.
    #[must_use]
    pub fn apply(self, truth: i128, elapsed: i128) -> u64 {
        if self == Self::NONE {
            return u64::try_from(truth).unwrap_or(0);
        }
        let gained = elapsed.saturating_mul(i128::from(self.rate_ppm) - 1_000_000) / 1_000_000;
        let strobe = i128::from(self.strobe_us);
        let is_ahead = strobe == 0 || elapsed / strobe % 2 == 0;
        let offset = if is_ahead { i128::from(self.offset_us) } else { 0 };
        let skewed = truth.saturating_add(offset).saturating_add(gained);
        u64::try_from(skewed.max(0)).unwrap_or(u64::MAX)
    }
}

const TRUE_SPEED: u64 = 1_000_000;

fn true_speed() -> u64 {
    TRUE_SPEED
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over like this")]
fn is_true_speed(rate_ppm: &u64) -> bool {
    *rate_ppm == TRUE_SPEED
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over like this")]
fn is_steady(strobe_us: &u64) -> bool {
    *strobe_us == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_ahead_by_its_offset_and_gains_by_its_rate() {
        let fast = |rate_ppm| Skew { rate_ppm, ..Skew::NONE };
        assert_eq!(Skew::NONE.apply(1000, 500), 1000);
        assert_eq!(Skew::by(-300).apply(1000, 500), 700);
        assert_eq!(fast(3_000_000).apply(1000, 500), 2000);
        assert_eq!(fast(500_000).apply(1000, 500), 750);
        assert_eq!(Skew::by(-5000).apply(1000, 500), 0);
        assert_eq!(fast(u64::MAX).apply(1000, i128::MAX), u64::MAX);
    }

    #[test]
    fn a_clock_that_strobes_is_ahead_half_of_the_time() {
        let strobes = Skew { offset_us: 300, strobe_us: 10, ..Skew::NONE };
        let read = [0, 9, 10, 19, 20, 35].map(|elapsed| strobes.apply(1000, elapsed));
        assert_eq!(read, [1300, 1300, 1000, 1000, 1300, 1000]);
    }
}
