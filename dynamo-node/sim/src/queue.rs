//! What comes due, in the order of time and then of scheduling.

use std::collections::VecDeque;

/// As many delays have a line of their own: nodes set timers for the five that their settings name.
const MOST_LINES: usize = 8;

/// Two ways to wait. Timers of one delay come due in the order in which they are set, and most are
/// cancelled long before: they stand in a line each delay, which costs nothing to join. All else stands
/// in one list in order: it is short without them, and nearly all that joins it does so near its end.
#[derive(Clone, Debug)]
pub(crate) struct Queue<T> {
    list: VecDeque<Due<T>>,
    lines: Vec<Line<T>>,
    scheduled: u64,
}

#[derive(Clone, Debug)]
struct Line<T> {
    after: u64,
    due: VecDeque<Due<T>>,
}

/// What comes due, by time and then by the order of scheduling.
#[derive(Clone, Debug)]
struct Due<T> {
    at: u64,
    order: u64,
    what: T,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self { list: VecDeque::new(), lines: Vec::new(), scheduled: 0 }
    }

    /// `what` comes due at `at`.
    pub(crate) fn schedule(&mut self, at: u64, what: T) {
        let due = self.due(at, what);
        self.insert(due);
    }

    /// `what` comes due `after` from now. Now never goes back.
    pub(crate) fn set(&mut self, now: u64, after: u64, what: T) {
        let due = self.due(now + after, what);
        if let Some(line) = self.lines.iter_mut().find(|line| line.after == after) {
            line.due.push_back(due);
        } else if self.lines.len() < MOST_LINES {
            self.lines.push(Line { after, due: VecDeque::from([due]) });
        } else {
            self.insert(due);
        }
    }

    fn insert(&mut self, due: Due<T>) {
        let place = self.list.partition_point(|other| other.key() < due.key());
        self.list.insert(place, due);
    }

    fn due(&mut self, at: u64, what: T) -> Due<T> {
        self.scheduled += 1;
        Due { at, order: self.scheduled, what }
    }

    /// The next that comes due, if it does by `limit`, and when.
    pub(crate) fn next(&mut self, limit: u64) -> Option<(u64, T)> {
        let mut first = self.list.front().map_or((u64::MAX, u64::MAX), Due::key);
        let mut from = None;
        for (at, line) in self.lines.iter().enumerate() {
            if let Some(due) = line.due.front()
                && due.key() < first
            {
                (first, from) = (due.key(), Some(at));
            }
        }
        if first.0 > limit {
            return None;
        }
        let from = from.map_or(&mut self.list, |line| &mut self.lines[line].due);
        let due = from.pop_front()?;
        Some((due.at, due.what))
    }
}

impl<T> Due<T> {
    fn key(&self) -> (u64, u64) {
        (self.at, self.order)
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    /// Against a list that is searched: by time, and what is equal in the order of scheduling.
    #[test]
    fn lines_and_list_together_keep_one_order() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (mut queue, mut list, mut now, mut number) = (Queue::new(), Vec::new(), 0, 0);
        for _ in 0..20_000 {
            if rng.random_ratio(11, 20) {
                let after = rng.random_range(0..12);
                if rng.random() {
                    queue.schedule(now + after, number);
                } else {
                    queue.set(now, after, number);
                }
                list.push((now + after, number));
                number += 1;
            } else {
                let limit = now + rng.random_range(0..4);
                let first = list.iter().copied().filter(|(at, _)| *at <= limit).min();
                list.retain(|due| Some(*due) != first);
                assert_eq!(queue.next(limit), first);
                now = first.map_or(limit, |(at, _)| at);
            }
        }
        assert!(number > 10_000 && list.len() > 100);
    }

    #[test]
    fn nothing_is_due_for_ever_in_an_empty_queue() {
        assert_eq!(Queue::<u64>::new().next(u64::MAX), None);
    }
}
