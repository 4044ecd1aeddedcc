//! How the run goes: counts and latencies, for the panel and the summary.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use checker::history::op::Kind;
use hdrhistogram::Histogram;
use serde::Serialize;

/// How many operations ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Surely happened.
    pub ok: u64,
    /// Surely did not.
    pub fail: u64,
    /// Nobody knows.
    pub info: u64,
}

/// Counts and latencies of a run under way.
#[derive(Debug)]
pub struct Tally {
    ok: AtomicU64,
    fail: AtomicU64,
    info: AtomicU64,
    /// Of what was ok, in microseconds.
    latency: Mutex<Histogram<u64>>,
}

impl Counts {
    /// An operation has ended so.
    pub fn count(&mut self, kind: Kind) {
        *match kind {
            Kind::Ok => &mut self.ok,
            Kind::Fail => &mut self.fail,
            Kind::Info | Kind::Invoke => &mut self.info,
        } += 1;
    }
}

impl Default for Tally {
    fn default() -> Self {
        // Three digits of any latency from a microsecond up: it grows as it must.
        let latency = Histogram::new(3).expect("three digits are among those allowed");
        Self {
            ok: AtomicU64::default(),
            fail: AtomicU64::default(),
            info: AtomicU64::default(),
            latency: Mutex::new(latency),
        }
    }
}

impl Tally {
    /// An operation has ended so, and took so long.
    pub(crate) fn count(&self, kind: Kind, took: Duration) {
        let counter = match kind {
            Kind::Ok => &self.ok,
            Kind::Fail => &self.fail,
            Kind::Info | Kind::Invoke => &self.info,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if kind == Kind::Ok {
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            let mut latency = self.latency.lock().expect("no one panics with the lock held");
            // It grows as it must, so that only a latency of centuries could be refused.
            let _ = latency.record(micros);
        }
    }

    /// So far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            ok: self.ok.load(Ordering::Relaxed),
            fail: self.fail.load(Ordering::Relaxed),
            info: self.info.load(Ordering::Relaxed),
        }
    }

    /// The latency that this share of what was ok did not exceed.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let latency = self.latency.lock().expect("no one panics with the lock held");
        Duration::from_micros(latency.value_at_quantile(share))
    }
}
