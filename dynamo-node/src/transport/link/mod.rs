//! When a link dials, and when it dials again: whatever the connections are made of.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::queue::{Queue, Reader};

/// Between two dials, doubling. The protocol asks a peer that is down every `ping`, which must not
/// find the link waiting for long.
const BACKOFF: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(160)];
/// Between two looks at a link.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// A link that rests while items wait is dead if so many looks in a row find it so: a push wakes it, which
/// takes a busy machine milliseconds. Counted in looks, so that a process which stood still sees one.
const RESTING_LOOKS: u32 = 3;
/// A connection from which nothing is taken while items wait may be a slow peer's. One that is dead is
/// given up after 30 s (`http2`); past twice that nobody takes care of it.
const TALKING_LOOKS: u32 = 60;

/// A dial of which nothing is sent yet by then is given up. The client of a connection that is reset as it is
/// made can wait for an answer for ever, to a request that nobody sends (hyper 1.12, seen in one of 112 runs
/// with kills); where a connection stands, what waits leaves at once.
const BEGIN_LOOKS: u32 = 5;
/// A connection on which so many looks in a row find that the peer takes in nothing of what was said is
/// given up: as soon as one whose other end is gone (`http2`), for longer than a partition lasts in most
/// tests, so that what it holds up comes late and not never.
const SILENT_LOOKS: u32 = 30;

/// What a link needs of the world.
pub(super) trait Way<T>: Sync {
    /// One connection, from dial to end. What waits leaves through `waiting`.
    fn converse(&self, waiting: Reader<T>) -> impl Future<Output = Ended> + Send;
    /// Hears that a connection has ended, and how many items went with it; false ends the link.
    fn broken(&self, ended: &Ended, lost: usize) -> impl Future<Output = bool> + Send;
    /// Waits.
    fn rest(&self, time: Duration) -> impl Future<Output = ()> + Send;
}

/// How a connection ended.
pub(super) struct Ended {
    /// Whether the peer had taken it.
    pub(super) greeted: bool,
    pub(super) why: String,
}

/// A link, as its task and those who watch it see it.
pub(super) struct Link<T> {
    pub(super) queue: Arc<Queue<T>>,
    /// Nothing is to be done before something is pushed.
    rests: AtomicBool,
}

impl<T> Link<T> {
    /// A link for which up to `most` bytes may wait.
    pub(super) fn new(most: usize) -> Self {
        Self { queue: Arc::new(Queue::new(most)), rests: AtomicBool::new(false) }
    }

    /// Dials when there is something to say, and again when the connection breaks, until the queue is
    /// closed.
    pub(super) async fn run(&self, way: &impl Way<T>) {
        let [first, longest] = BACKOFF;
        let mut backoff = first;
        let mut waiting = self.queue.reader();
        while self.wait(&mut waiting).await {
            let ended = way.converse(self.queue.reader()).await;
            // From here on whatever is left of the connection takes nothing more.
            waiting = self.queue.reader();
            if self.queue.is_closed() {
                return;
            }
            // What has waited for a connection that could not be made is as good as lost on it.
            let lost = waiting.take_all().len();
            if !way.broken(&ended, lost).await {
                return;
            }
            backoff = if ended.greeted { first } else { (backoff * 2).min(longest) };
            way.rest(backoff).await;
        }
    }

    async fn wait(&self, waiting: &mut Reader<T>) -> bool {
        self.rests.store(true, Ordering::Relaxed);
        let more = waiting.wait().await;
        self.rests.store(false, Ordering::Relaxed);
        more
    }
}

/// Whether a link still does its work, told by looking at it again and again. A link that does not is a
/// bug of this program: nothing else would tell of it, for such a link says nothing.
#[derive(Default)]
pub(super) struct Watch {
    takes: u64,
    rested: u32,
    talked: u32,
}

impl Watch {
    /// Looks once, [`LOOK`] after the last time; says, once, why the link counts as dead.
    pub(super) fn look<T>(&mut self, link: &Link<T>) -> Option<&'static str> {
        let progress = link.queue.progress();
        let stands = progress.waits && progress.takes == self.takes;
        let rests = link.rests.load(Ordering::Relaxed);
        self.takes = progress.takes;
        self.rested = if stands && rests { self.rested.saturating_add(1) } else { 0 };
        self.talked = if stands { self.talked.saturating_add(1) } else { 0 };
        if self.rested == RESTING_LOOKS {
            return Some("messages wait, and it neither is up nor dials");
        }
        (self.talked == TALKING_LOOKS && !rests).then_some("messages wait, and none is taken")
    }
}

/// Whether what is said on a connection leaves, and the peer takes it in, told by looking again and again.
#[derive(Default)]
pub(super) struct Silence {
    taken: u64,
    looks: u32,
}

impl Silence {
    /// Looks once, [`LOOK`] after the last time, when so much was said and so much of it taken in, and
    /// whether anything of it `left`; says why the connection is to be given up, if that stands still for
    /// too long.
    pub(super) fn look(&mut self, said: u64, taken: u64, left: bool) -> Option<&'static str> {
        let stands = said > taken && taken == self.taken;
        self.taken = taken;
        self.looks = if stands { self.looks + 1 } else { 0 };
        if !left && self.looks >= BEGIN_LOOKS {
            return Some("nothing of what was said has left");
        }
        (self.looks >= SILENT_LOOKS).then_some("nothing of what was said is taken in")
    }
}

#[cfg(test)]
mod tests;
