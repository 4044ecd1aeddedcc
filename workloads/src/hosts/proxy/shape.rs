//! What is done to a flow.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What is done to the bytes of one flow. The default lets them pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// They are held.
    pub cut: bool,
    /// Connections that carry the flow break, and new ones at once.
    pub reset: bool,
    /// They come this much later,
    pub delay: Duration,
    /// and up to this much later still, at random, in order all the same.
    pub jitter: Duration,
    /// No more than this many a second, if given.
    pub rate: Option<u64>,
    /// Of a million pieces of them, as they come in, so many have a byte that is another.
    pub corrupt: u32,
}

impl Shape {
    /// Held.
    pub const CUT: Self = Self { cut: true, ..Self::PASS };
    /// Broken.
    pub const RESET: Self = Self { reset: true, ..Self::PASS };
    /// Let pass.
    pub const PASS: Self = Self {
        cut: false,
        reset: false,
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        rate: None,
        corrupt: 0,
    };

    /// Later, each way.
    #[must_use]
    pub fn slow(delay: Duration, jitter: Duration) -> Self {
        Self { delay, jitter, ..Self::PASS }
    }

    /// Narrow: so many bytes a second, on each connection.
    #[must_use]
    pub fn narrow(rate: u64) -> Self {
        Self { rate: Some(rate), ..Self::PASS }
    }

    /// How much later so many bytes come, at most.
    #[must_use]
    pub fn holds_up(self, bytes: usize) -> Duration {
        let takes = self.rate.map(|rate| bytes as f64 / rate.max(1) as f64);
        self.delay + self.jitter + Duration::from_secs_f64(takes.unwrap_or_default())
    }

    /// Two faults on one flow.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let narrower = self.rate.into_iter().chain(other.rate).min();
        Self {
            cut: self.cut || other.cut,
            reset: self.reset || other.reset,
            delay: self.delay + other.delay,
            jitter: self.jitter + other.jitter,
            rate: narrower,
            corrupt: self.corrupt.saturating_add(other.corrupt),
        }
    }
}
