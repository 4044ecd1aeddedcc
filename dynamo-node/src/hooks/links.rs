//! Messages that are lost, sent twice, or overtaken, before they reach a connection: a stream does none of
//! that by itself, and a peer whose connection broke may see all of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dynamo_protocol::NodeId;
use rand::Rng;

use super::{Counts, Hooks, count};

/// How often what happens to a message, of a million.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    lose: u32,
    duplicate: u32,
    reorder: u32,
}

impl Share {
    pub(super) fn and(self, hooks: &Hooks) -> Self {
        Self {
            lose: self.lose.saturating_add(hooks.lose),
            duplicate: self.duplicate.saturating_add(hooks.duplicate),
            reorder: self.reorder.saturating_add(hooks.reorder),
        }
    }
}

/// By peer the message that goes out after the next one to it.
#[derive(Debug)]
pub(super) struct Late<T>(Mutex<BTreeMap<NodeId, T>>);

impl<T> Default for Late<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Late<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting().is_empty()
    }

    /// What is sent in the place of a message to `peer`, in this order.
    pub(super) fn pass(
        &self,
        share: Share,
        (peer, message): (NodeId, T),
        counts: &Counts,
        rng: &mut impl Rng,
    ) -> Vec<T> {
        let late = self.waiting().remove(&peer);
        let mut passed = Vec::new();
        if chance(rng, share.lose) {
            count(&counts.lost);
        } else if late.is_none() && chance(rng, share.reorder) {
            count(&counts.reordered);
            self.waiting().insert(peer, message);
        } else {
            if late.is_none() && chance(rng, share.duplicate) {
                count(&counts.duplicated);
                self.waiting().insert(peer, message.clone());
            }
            passed.push(message);
        }
        // After it, or, if it was lost, in its place.
        passed.extend(late);
        passed
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<NodeId, T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn chance(rng: &mut impl Rng, of_a_million: u32) -> bool {
    of_a_million > 0 && rng.random_range(0..1_000_000) < of_a_million
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALWAYS: u32 = 1_000_000;
    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    const LOSES: Share = Share { lose: ALWAYS, duplicate: 0, reorder: 0 };
    const REPEATS: Share = Share { lose: 0, duplicate: ALWAYS, reorder: 0 };
    const SWAPS: Share = Share { lose: 0, duplicate: 0, reorder: ALWAYS };
    const NONE: Share = Share { lose: 0, duplicate: 0, reorder: 0 };

    /// What becomes of these messages to A and, the last one, to B.
    fn passed(share: Share) -> (Vec<u8>, Counts) {
        let (late, counts) = (Late::default(), Counts::default());
        let messages = [(A, 1), (A, 2), (A, 3), (A, 4), (B, 9)];
        let pass = |message: (NodeId, u8)| {
            let share = if message.0 == A { share } else { NONE };
            late.pass(share, message, &counts, &mut rand::rng())
        };
        (messages.into_iter().flat_map(pass).collect(), counts)
    }

    #[test]
    fn messages_that_are_lost_are_not_sent() {
        let (passed, counts) = passed(LOSES);
        assert_eq!((passed, counts.lost.into_inner()), (vec![9], 4));
    }

    #[test]
    fn a_message_that_is_sent_twice_comes_again_after_the_next() {
        let (passed, counts) = passed(REPEATS);
        assert_eq!((passed, counts.duplicated.into_inner()), (vec![1, 2, 1, 3, 4, 3, 9], 2));
    }

    #[test]
    fn a_message_is_overtaken_by_the_next() {
        let (passed, counts) = passed(SWAPS);
        assert_eq!((passed, counts.reordered.into_inner()), (vec![2, 1, 4, 3, 9], 2));
    }

    #[test]
    fn what_was_held_back_goes_out_when_the_hook_is_off() {
        let (late, counts) = (Late::default(), Counts::default());
        let pass = |share, message| late.pass(share, message, &counts, &mut rand::rng());
        assert!(pass(SWAPS, (A, 1)).is_empty() && !late.is_empty());
        assert_eq!(pass(NONE, (A, 2)), [2, 1]);
        assert!(late.is_empty());
    }
}
