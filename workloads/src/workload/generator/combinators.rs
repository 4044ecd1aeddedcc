//! Generators made of generators.

use std::time::Duration;

use super::{Context, Event, Generator, Next};

/// Asks the inner generator until a point in time, and nothing after it.
#[derive(Clone, Debug)]
pub struct TimeLimit<G> {
    inner: G,
    until: Duration,
}

impl<G> TimeLimit<G> {
    /// `inner` until `until` after the start of the run.
    pub fn new(inner: G, until: Duration) -> Self {
        Self { inner, until }
    }

    /// The inner generator, with all it has learnt.
    pub fn into_inner(self) -> G {
        self.inner
    }
}

impl<G: Generator> Generator for TimeLimit<G> {
    fn op(&mut self, context: &Context<'_>) -> Next {
        if context.now >= self.until {
            return Next::Done;
        }
        match self.inner.op(context) {
            Next::Wait(until) => {
                Next::Wait(Some(until.map_or(self.until, |at| at.min(self.until))))
            }
            next @ (Next::Op(..) | Next::Done) => next,
        }
    }

    fn update(&mut self, event: &Event<'_>) {
        self.inner.update(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Idle;

    impl Generator for Idle {
        fn op(&mut self, _: &Context<'_>) -> Next {
            Next::Wait(None)
        }

        fn update(&mut self, _: &Event<'_>) {}
    }

    #[test]
    fn a_time_limit_ends_even_a_generator_that_waits_for_ever() {
        let mut limited = TimeLimit::new(Idle, Duration::from_secs(2));
        let at = |secs| Context { now: Duration::from_secs(secs), free: &[] };
        assert_eq!(limited.op(&at(0)), Next::Wait(Some(Duration::from_secs(2))));
        assert_eq!(limited.op(&at(2)), Next::Done);
    }
}
