//! A queue that is drained whole: many push, and whoever is ready to send takes all that waits. That
//! is all the batching there is: no timers, and an idle link sends at once.
//!
//! A queue has one reader at a time. The next one takes the place of the last, whose registration ends
//! in that moment: what is left of a broken connection may be polled once more at any time, and must
//! neither take what waits nor be woken in place of whoever reads now.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use dynamo_protocol::mutant::{Mutant, mutated};

/// A queue between those who push and one [`Reader`].
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
    /// How many readers there were: the last of them is the one that reads.
    readers: u64,
    /// Of that one, while it waits.
    waker: Option<Waker>,
    /// How often something was taken.
    takes: u64,
}

/// The reading end of a [`Queue`], until the next one is made.
#[derive(Debug)]
pub(crate) struct Reader<T> {
    queue: Arc<Queue<T>>,
    number: u64,
}

/// How far the reading of a queue has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Whether anything waits.
    pub(crate) waits: bool,
    /// How often something was taken.
    pub(crate) takes: u64,
}

impl<T> Queue<T> {
    /// A queue that holds up to `most` bytes, and one item however heavy.
    pub(crate) fn new(most: usize) -> Self {
        let (items, weight, closed) = (VecDeque::new(), 0, false);
        let state = State { items, weight, closed, readers: 0, waker: None, takes: 0 };
        Self { state: Mutex::new(state), most }
    }

    /// The queue's reader from now on. The one before finds that it has ended.
    pub(crate) fn reader(self: &Arc<Self>) -> Reader<T> {
        let mut state = self.state();
        state.readers += 1;
        let (number, earlier) = (state.readers, state.waker.take());
        drop(state);
        if let Some(earlier) = earlier {
            earlier.wake();
        }
        Reader { queue: Arc::clone(self), number }
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
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        dropped
    }

    /// Takes nothing more. What waits can still be taken.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    /// Whether it takes nothing more.
    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// How many bytes wait.
    pub(crate) fn weight(&self) -> usize {
        self.state().weight
    }

    /// How far its reading has come, for those who watch over it.
    pub(crate) fn progress(&self) -> Progress {
        let state = self.state();
        Progress { waits: !state.items.is_empty(), takes: state.takes }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        // No state here is ever left half-changed, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Reader<T> {
    /// Takes the oldest items, at least one and not much more than `most` bytes; `None` when the queue is
    /// closed and empty, or has another reader.
    pub(crate) fn poll_take(
        &mut self,
        context: &mut Context<'_>,
        most: usize,
    ) -> Poll<Option<Vec<T>>> {
        let mut state = self.queue.state();
        match state.poll_ready(self.number, context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(false) => Poll::Ready(None),
            Poll::Ready(true) => Poll::Ready(Some(state.take(most))),
        }
    }

    /// Waits until there is something to take; false if there will be nothing more.
    pub(crate) async fn wait(&mut self) -> bool {
        let ready = |context: &mut Context<'_>| self.queue.state().poll_ready(self.number, context);
        std::future::poll_fn(ready).await
    }

    /// Takes all that waits now.
    pub(crate) fn take_all(&mut self) -> Vec<T> {
        let mut state = self.queue.state();
        if state.readers == self.number { state.take(usize::MAX) } else { Vec::new() }
    }
}

impl<T> Drop for Reader<T> {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        let waker = if state.readers == self.number { state.waker.take() } else { None };
        // Whatever goes with the waker goes when the lock is free again.
        drop(state);
        drop(waker);
    }
}

impl<T> State<T> {
    /// Whether reader `number` can take something, or ever will; if it has to wait it is woken, and no
    /// other.
    fn poll_ready(&mut self, number: u64, context: &mut Context<'_>) -> Poll<bool> {
        if self.readers != number {
            return Poll::Ready(false);
        }
        if !self.items.is_empty() {
            return Poll::Ready(true);
        }
        if self.closed {
            return Poll::Ready(false);
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }

    fn take(&mut self, most: usize) -> Vec<T> {
        let mut taken = Vec::with_capacity(self.items.len());
        let mut weight = 0;
        while weight < most
            && let Some((item, heavy)) = self.pop()
        {
            weight += heavy;
            taken.push(item);
        }
        if mutated(Mutant::QueueLosesNext) && weight >= most {
            drop(self.pop());
        }
        self.takes += 1;
        taken
    }

    fn pop(&mut self) -> Option<(T, usize)> {
        let (item, weight) = self.items.pop_front()?;
        self.weight -= weight;
        Some((item, weight))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    use super::*;

    fn queue(most: usize) -> (Arc<Queue<u8>>, Reader<u8>) {
        let queue = Arc::new(Queue::new(most));
        let reader = queue.reader();
        (queue, reader)
    }

    fn take(reader: &mut Reader<u8>, most: usize) -> Poll<Option<Vec<u8>>> {
        reader.poll_take(&mut Context::from_waker(Waker::noop()), most)
    }

    #[test]
    fn all_that_waits_is_taken_at_once() {
        let (queue, mut reader) = queue(100);
        assert_eq!(take(&mut reader, 100), Poll::Pending);
        for item in 0..3 {
            assert_eq!(queue.push(item, 10), 0);
        }
        assert_eq!(take(&mut reader, 100), Poll::Ready(Some(vec![0, 1, 2])));
        assert_eq!(take(&mut reader, 100), Poll::Pending);
    }

    #[test]
    fn a_batch_stops_growing_at_its_weight() {
        let (queue, mut reader) = queue(100);
        for item in 0..3 {
            queue.push(item, 10);
        }
        assert_eq!(take(&mut reader, 15), Poll::Ready(Some(vec![0, 1])));
        assert_eq!(take(&mut reader, 1), Poll::Ready(Some(vec![2])));
    }

    #[test]
    fn a_full_queue_drops_the_oldest() {
        let (queue, mut reader) = queue(30);
        for item in 0..3 {
            queue.push(item, 10);
        }
        assert_eq!(queue.push(3, 20), 2);
        assert_eq!(take(&mut reader, 100), Poll::Ready(Some(vec![2, 3])));
    }

    #[test]
    fn one_item_always_fits() {
        let (queue, mut reader) = queue(30);
        queue.push(0, 10);
        assert_eq!(queue.push(1, 1000), 1);
        assert_eq!(take(&mut reader, 1), Poll::Ready(Some(vec![1])));
    }

    #[test]
    fn a_closed_queue_ends_after_its_last_item() {
        let (queue, mut reader) = queue(30);
        queue.push(0, 10);
        queue.close();
        assert_eq!(queue.push(1, 10), 1);
        assert_eq!(take(&mut reader, 100), Poll::Ready(Some(vec![0])));
        assert_eq!(take(&mut reader, 100), Poll::Ready(None));
    }

    #[tokio::test]
    async fn a_push_wakes_the_reader() {
        let (queue, mut reader) = queue(30);
        let reader = tokio::spawn(async move { reader.wait().await });
        tokio::task::yield_now().await;
        queue.push(0, 1);
        assert!(reader.await.unwrap());
    }

    #[test]
    fn an_earlier_reader_has_ended_and_is_told() {
        let (queue, mut earlier) = queue(30);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        assert_eq!(earlier.poll_take(&mut Context::from_waker(&waker), 30), Poll::Pending);
        let mut reader = queue.reader();
        assert!(woken.0.swap(false, Ordering::Relaxed));
        queue.push(0, 1);
        assert_eq!(take(&mut earlier, 30), Poll::Ready(None));
        assert!(earlier.take_all().is_empty());
        assert_eq!(take(&mut reader, 30), Poll::Ready(Some(vec![0])));
    }

    #[test]
    fn an_earlier_reader_is_not_woken_in_place_of_the_present_one() {
        let (queue, mut earlier) = queue(30);
        let mut reader = queue.reader();
        let (present, stale) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
        let waker = Waker::from(Arc::clone(&present));
        assert_eq!(reader.poll_take(&mut Context::from_waker(&waker), 30), Poll::Pending);
        let waker = Waker::from(Arc::clone(&stale));
        let _ = earlier.poll_take(&mut Context::from_waker(&waker), 30);
        drop(earlier);
        queue.push(0, 1);
        assert!(present.0.load(Ordering::Relaxed) && !stale.0.load(Ordering::Relaxed));
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}
