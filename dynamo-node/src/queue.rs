//! A queue that is drained whole: many push, and whoever is ready to send takes all that waits. That
//! is all the batching there is: no timers, and an idle link sends at once.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// A queue between the driver and one stream.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    most: usize,
}

#[derive(Debug)]
struct State<T> {
    /// Each with its weight, in bytes.
    items: VecDeque<(T, usize)>,
    /// Their sum.
    weight: usize,
    closed: bool,
    reader: Option<Waker>,
}

impl<T> Queue<T> {
    /// A queue that holds up to `most` bytes, and one item however heavy.
    pub(crate) fn new(most: usize) -> Self {
        let state = State { items: VecDeque::new(), weight: 0, closed: false, reader: None };
        Self { state: Mutex::new(state), most }
    }

    /// Adds an item. If the queue is full the oldest go, and how many is returned: what has waited
    /// longest is the least likely to be waited for.
    pub(crate) fn push(&self, item: T, weight: usize) -> usize {
        let mut state = self.state();
        if state.closed {
            return 1;
        }
        let mut dropped = 0;
        while !state.items.is_empty() && state.weight + weight > self.most {
            state.pop();
            dropped += 1;
        }
        state.items.push_back((item, weight));
        state.weight += weight;
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        dropped
    }

    /// Takes the oldest items, at least one and not much more than `most` bytes; `None` when the
    /// queue is closed and empty.
    pub(crate) fn poll_take(&self, context: &mut Context<'_>, most: usize) -> Poll<Option<Vec<T>>> {
        let mut state = self.state();
        if state.items.is_empty() {
            if state.closed {
                return Poll::Ready(None);
            }
            state.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let mut taken = Vec::with_capacity(state.items.len());
        let mut weight = 0;
        while weight < most
            && let Some((item, heavy)) = state.pop()
        {
            weight += heavy;
            taken.push(item);
        }
        Poll::Ready(Some(taken))
    }

    /// Waits until there is something to take; false if the queue was closed.
    pub(crate) async fn wait(&self) -> bool {
        std::future::poll_fn(|context| {
            let mut state = self.state();
            if !state.items.is_empty() {
                return Poll::Ready(true);
            }
            if state.closed {
                return Poll::Ready(false);
            }
            state.reader = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Takes all that waits now.
    pub(crate) fn take_all(&self) -> Vec<T> {
        let mut state = self.state();
        state.weight = 0;
        std::mem::take(&mut state.items).into_iter().map(|(item, _)| item).collect()
    }

    /// Takes nothing more. What waits can still be taken.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }

    /// Whether it takes nothing more.
    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        // No state here is ever left half-changed, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn pop(&mut self) -> Option<(T, usize)> {
        let (item, weight) = self.items.pop_front()?;
        self.weight -= weight;
        Some((item, weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(queue: &Queue<u8>, most: usize) -> Poll<Option<Vec<u8>>> {
        queue.poll_take(&mut Context::from_waker(Waker::noop()), most)
    }

    #[test]
    fn all_that_waits_is_taken_at_once() {
        let queue = Queue::new(100);
        assert_eq!(take(&queue, 100), Poll::Pending);
        for item in 0..3 {
            assert_eq!(queue.push(item, 10), 0);
        }
        assert_eq!(take(&queue, 100), Poll::Ready(Some(vec![0, 1, 2])));
        assert_eq!(take(&queue, 100), Poll::Pending);
    }

    #[test]
    fn a_batch_stops_growing_at_its_weight() {
        let queue = Queue::new(100);
        for item in 0..3 {
            queue.push(item, 10);
        }
        assert_eq!(take(&queue, 15), Poll::Ready(Some(vec![0, 1])));
        assert_eq!(take(&queue, 1), Poll::Ready(Some(vec![2])));
    }

    #[test]
    fn a_full_queue_drops_the_oldest() {
        let queue = Queue::new(30);
        for item in 0..3 {
            queue.push(item, 10);
        }
        assert_eq!(queue.push(3, 20), 2);
        assert_eq!(take(&queue, 100), Poll::Ready(Some(vec![2, 3])));
    }

    #[test]
    fn one_item_always_fits() {
        let queue = Queue::new(30);
        queue.push(0, 10);
        assert_eq!(queue.push(1, 1000), 1);
        assert_eq!(take(&queue, 1), Poll::Ready(Some(vec![1])));
    }

    #[test]
    fn a_closed_queue_ends_after_its_last_item() {
        let queue = Queue::new(30);
        queue.push(0, 10);
        queue.close();
        assert_eq!(queue.push(1, 10), 1);
        assert_eq!(take(&queue, 100), Poll::Ready(Some(vec![0])));
        assert_eq!(take(&queue, 100), Poll::Ready(None));
    }

    #[tokio::test]
    async fn a_push_wakes_the_reader() {
        let queue = std::sync::Arc::new(Queue::new(30));
        let reader = tokio::spawn({
            let queue = std::sync::Arc::clone(&queue);
            async move { queue.wait().await }
        });
        tokio::task::yield_now().await;
        queue.push(0, 1);
        assert!(reader.await.unwrap());
    }
}
