//! Background work waits for its turn: while requests of clients stand in line, hints, exchanges and strays
//! are put off (paper, section 6.5). They are never put off for good: what they repair is what makes a
//! cluster safe.

use std::collections::HashMap;
use std::time::Duration;

use dynamo_protocol::Timer;
use tokio::time::Instant;

/// How long requests may wait for the driver, smoothed, before background work is put off. A fifth of the
/// usual hedging delay: beyond that peers begin to look slow to each other.
const PRESET: Duration = Duration::from_millis(20);
/// By how much it is put off at a time.
const PUT_OFF: Duration = Duration::from_millis(50);
/// For how long it is put off at the most.
const LONGEST: Duration = Duration::from_secs(5);
/// A wait that was seen longer ago than this tells nothing of now.
const FRESH: Duration = Duration::from_millis(200);
/// Each wait counts so much beside all that were before.
const SHARE: f64 = 1.0 / 16.0;

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Admission {
    /// How long requests waited, in seconds, smoothed.
    wait: f64,
    /// When the last of them was begun.
    last: Option<Instant>,
    /// Since when each timer is put off.
    since: HashMap<Timer, Instant>,
}

impl Admission {
    /// A request was begun that had waited for so long.
    pub(crate) fn waited(&mut self, now: Instant, wait: Duration) {
        if !self.is_fresh(now) {
            self.wait = 0.0;
        }
        self.wait += (wait.as_secs_f64() - self.wait) * SHARE;
        self.last = Some(now);
    }

    /// By how much `timer`, which is due, is put off, if it is.
    pub(crate) fn puts_off(&mut self, timer: Timer, now: Instant) -> Option<Duration> {
        let is_background = matches!(timer, Timer::Handoff(_) | Timer::Exchange | Timer::Strays);
        if !is_background {
            return None;
        }
        let is_busy = self.is_fresh(now) && self.wait > PRESET.as_secs_f64();
        let since = *self.since.entry(timer).or_insert(now);
        if is_busy && now.saturating_duration_since(since) < LONGEST {
            return Some(PUT_OFF);
        }
        self.since.remove(&timer);
        None
    }

    fn is_fresh(&self, now: Instant) -> bool {
        self.last.is_some_and(|last| now.saturating_duration_since(last) < FRESH)
    }
}

#[cfg(test)]
mod tests {
    use dynamo_protocol::{NodeId, OpId};

    use super::*;

    const HANDOFF: Timer = Timer::Handoff(NodeId(2));

    fn busy(admission: &mut Admission, now: Instant) {
        (0..100).for_each(|_| admission.waited(now, 2 * PRESET));
    }

    #[test]
    fn background_work_is_put_off_while_requests_wait_and_no_longer() {
        let (mut admission, now) = (Admission::default(), Instant::now());
        assert_eq!(admission.puts_off(HANDOFF, now), None, "nobody waits");
        admission.waited(now, 10 * PRESET);
        assert_eq!(admission.puts_off(HANDOFF, now), None, "one that waited is no line");
        busy(&mut admission, now);
        for timer in [HANDOFF, Timer::Exchange, Timer::Strays] {
            assert_eq!(admission.puts_off(timer, now), Some(PUT_OFF));
        }
        (0..100).for_each(|_| admission.waited(now, Duration::ZERO));
        assert_eq!(admission.puts_off(HANDOFF, now), None);
        busy(&mut admission, now);
        assert_eq!(admission.puts_off(HANDOFF, now + FRESH), None, "nobody asks any more");
    }

    #[test]
    fn what_requests_and_members_wait_for_is_never_put_off() {
        let (mut admission, now) = (Admission::default(), Instant::now());
        busy(&mut admission, now);
        let op = OpId { incarnation: 1, seq: 1 };
        let peer = NodeId(2);
        for timer in [
            Timer::Hedge(op),
            Timer::Deadline(op),
            Timer::Ping(peer),
            Timer::Gossip,
            Timer::Proposal,
        ] {
            assert_eq!(admission.puts_off(timer, now), None, "{timer:?}");
        }
    }

    #[test]
    fn nothing_is_put_off_for_good() {
        let (mut admission, mut now) = (Admission::default(), Instant::now());
        let began = now;
        busy(&mut admission, now);
        while let Some(put_off) = admission.puts_off(HANDOFF, now) {
            now += put_off;
            busy(&mut admission, now);
        }
        let took = now.duration_since(began);
        assert!((LONGEST..LONGEST + 2 * PUT_OFF).contains(&took), "{took:?}");
        assert_eq!(admission.puts_off(HANDOFF, now), Some(PUT_OFF), "the next time it waits again");
    }
}
