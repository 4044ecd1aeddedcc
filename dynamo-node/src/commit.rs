//! Group commit: one thread, or under virtual time one task, makes batches durable while the driver goes on.
//!
//! Sixteen threads that sync do no better than one, and one commit costs about the same whether it
//! carries one batch or a hundred: the committer takes all that wait and commits them together.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Context, Waker};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dynamo_protocol::mutant::{Mutant, mutated};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::Durability;
use crate::storage::{Batch, Closed, Directory, EngineError};

/// How long what was acknowledged may wait for a sync where that is allowed: what a power cut of W machines
/// at once can take, about.
const BUFFERED: Duration = Duration::from_millis(50);
/// When nothing waits for that: any time will do.
const IDLE: Duration = Duration::from_secs(60);

/// How far batches have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    /// The last that the engine has: it outlives the process.
    pub(crate) written: u64,
    /// The last that is as durable as is asked for: what rests on it may go.
    pub(crate) durable: u64,
}

type Done = watch::Sender<Result<Reached, EngineError>>;

/// Makes batches durable, in order.
pub(crate) struct Committer {
    way: Way,
    directory: Arc<Directory>,
    /// How far they are, or why none ever will be again.
    reached: watch::Receiver<Result<Reached, EngineError>>,
}

enum Way {
    /// Nothing would be waited for.
    AtOnce(Done),
    /// The bound on what waits is the driver's, see [`crate::driver`].
    Thread { work: Option<mpsc::Sender<Work>>, thread: Option<JoinHandle<()>> },
    /// Where there are no threads.
    #[cfg(feature = "simulation")]
    Task(tokio::sync::mpsc::UnboundedSender<Work>),
}

/// What the committer is told.
struct Work {
    batch: Option<Batch>,
    /// Whether something waits until all that was submitted is synced.
    hurries: bool,
}

/// When the committer syncs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Soon {
    /// A little later, and nobody waits for it.
    Unasked,
    /// At once if somebody waits for it, else a little later.
    Asked,
}

/// Where a committer works: what waits for it, and how time passes there.
trait Desk: Send {
    /// What waits, or comes within `patience`.
    fn next(&mut self, patience: Duration) -> impl Future<Output = Next> + Send;

    /// The engine works: where it does not do so itself, that takes time.
    fn works(&mut self) -> impl Future<Output = ()> + Send;
}

/// What a desk has for its committer.
enum Next {
    /// With all that waits behind it.
    Work(Work),
    Nothing,
    /// Nor will there be more.
    End,
}

/// A thread of its own: whoever waits on it waits, and so it waits for nothing.
struct Thread(mpsc::Receiver<Work>);

impl Desk for Thread {
    async fn next(&mut self, patience: Duration) -> Next {
        match self.0.recv_timeout(patience) {
            Ok(work) => Next::Work(work.joined(self.0.try_iter())),
            Err(mpsc::RecvTimeoutError::Timeout) => Next::Nothing,
            Err(mpsc::RecvTimeoutError::Disconnected) => Next::End,
        }
    }

    async fn works(&mut self) {}
}

/// A task of a world that is simulated.
#[cfg(feature = "simulation")]
struct Task {
    work: tokio::sync::mpsc::UnboundedReceiver<Work>,
    pace: crate::simulation::Pace,
}

#[cfg(feature = "simulation")]
impl Desk for Task {
    async fn next(&mut self, patience: Duration) -> Next {
        match tokio::time::timeout(patience, self.work.recv()).await {
            Ok(Some(work)) => {
                Next::Work(work.joined(std::iter::from_fn(|| self.work.try_recv().ok())))
            }
            Ok(None) => Next::End,
            Err(_) => Next::Nothing,
        }
    }

    async fn works(&mut self) {
        self.pace.passes().await;
    }
}

impl Committer {
    /// Starts the thread, if the directory's engine needs one. It ends when the committer is dropped.
    pub(crate) fn start(
        directory: Arc<Directory>,
        durability: Durability,
    ) -> std::io::Result<Self> {
        let first = Reached::all(directory.state().position);
        let (done, reached) = watch::channel(Ok(first));
        if directory.engine.is_volatile() {
            return Ok(Self { way: Way::AtOnce(done), directory, reached });
        }
        #[cfg(feature = "simulation")]
        if let Some(pace) = crate::simulation::Pace::here() {
            let (work, waiting) = tokio::sync::mpsc::unbounded_channel();
            let desk = Task { work: waiting, pace };
            tokio::spawn(commit(Arc::clone(&directory), durability, (first, desk), done));
            return Ok(Self { way: Way::Task(work), directory, reached });
        }
        let (work, waiting) = mpsc::channel();
        let own = Arc::clone(&directory);
        let run = move || {
            let work = pin!(commit(own, durability, (first, Thread(waiting)), done));
            // Nothing in it waits but the thread.
            let ended = work.poll(&mut Context::from_waker(Waker::noop()));
            debug_assert!(ended.is_ready(), "a committer's thread waits by itself");
        };
        let thread = thread::Builder::new().name("committer".to_owned()).spawn(run)?;
        let way = Way::Thread { work: Some(work), thread: Some(thread) };
        Ok(Self { way, directory, reached })
    }

    /// Makes `batch` durable, now or soon; now, if something `hurries`.
    pub(crate) fn submit(&self, batch: Batch, hurries: bool) {
        match &self.way {
            Way::AtOnce(done) => {
                let number = batch.number;
                let committed = self.directory.commit(batch);
                let _ = done.send_replace(committed.map(|()| Reached::all(number)));
            }
            _ => self.tell(Work { batch: Some(batch), hurries }),
        }
    }

    /// Something waits for all that was submitted.
    pub(crate) fn hurry(&self) {
        self.tell(Work { batch: None, hurries: true });
    }

    fn tell(&self, work: Work) {
        match &self.way {
            // Whatever was submitted is durable.
            Way::AtOnce(_) => {}
            Way::Thread { work: thread, .. } => {
                let thread = thread.as_ref().expect("taken only when this is dropped");
                // If the thread is gone, `changed` says why.
                drop(thread.send(work));
            }
            #[cfg(feature = "simulation")]
            Way::Task(task) => drop(task.send(work)),
        }
    }

    /// Ends: nothing more is submitted. What the next start need not read is left with the directory, if all
    /// of it is durable.
    pub(crate) fn close(mut self, closed: Option<Closed>) {
        self.end();
        // Where there are no threads it has not ended yet.
        #[cfg(feature = "simulation")]
        if let Way::Task(_) = self.way {
            return;
        }
        let Ok(reached) = self.reached() else { return };
        if let Some(closed) = closed.filter(|closed| closed.position() == reached.durable) {
            self.directory.close(&closed);
        }
    }

    /// Waits for the commit under way, so that the engine is closed when the node is gone.
    fn end(&mut self) {
        if let Way::Thread { work, thread } = &mut self.way {
            drop(work.take());
            drop(thread.take().map(JoinHandle::join));
        }
    }

    /// How far it is now.
    pub(crate) fn reached(&mut self) -> Result<Reached, EngineError> {
        self.reached.borrow_and_update().clone()
    }

    /// Waits until it is further, and says how far; or why it never will be.
    pub(crate) async fn changed(&mut self) -> Result<Reached, EngineError> {
        match self.reached.changed().await {
            Ok(()) => self.reached(),
            Err(_) => Err(EngineError::Io("the committer has panicked".to_owned())),
        }
    }
}

impl Reached {
    fn all(number: u64) -> Self {
        Self { written: number, durable: number }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.end();
    }
}

impl Work {
    /// With all that waits behind it.
    fn joined(self, waiting: impl Iterator<Item = Self>) -> Self {
        waiting.fold(self, |all, next| {
            let batch = match (all.batch, next.batch) {
                (Some(mut batch), Some(next)) => {
                    (batch.number, batch.state) = (next.number, next.state);
                    batch.writes.extend(next.writes);
                    Some(batch)
                }
                (batch, next) => batch.or(next),
            };
            Self { batch, hurries: all.hurries || next.hurries }
        })
    }
}

async fn commit(
    directory: Arc<Directory>,
    durability: Durability,
    (first, desk): (Reached, impl Desk),
    done: Done,
) {
    match durability {
        Durability::Sync => commit_all(&directory, desk, &done).await,
        Durability::One => commit_soon(&directory, desk, &done, (first, Soon::Asked)).await,
        Durability::Buffered => commit_soon(&directory, desk, &done, (first, Soon::Unasked)).await,
    }
}

async fn commit_all(directory: &Directory, mut desk: impl Desk, done: &Done) {
    loop {
        let batch = match desk.next(IDLE).await {
            Next::Work(Work { batch: Some(batch), .. }) => batch,
            Next::Work(_) | Next::Nothing => continue,
            Next::End => return,
        };
        let number = batch.number;
        desk.works().await;
        let mut result = directory.commit(batch).map(|()| Reached::all(number));
        if mutated(Mutant::FailedCommitAcks) {
            result = Ok(Reached::all(number));
        }
        desk.works().await;
        let failed = result.is_err();
        if failed && mutated(Mutant::FailedCommitSkipped) {
            continue;
        }
        let _ = done.send_replace(result);
        if failed {
            return;
        }
    }
}

/// Says that batches are written when the system has them, and syncs them all at once: when somebody waits
/// for it, or a little later.
async fn commit_soon(
    directory: &Directory,
    mut desk: impl Desk,
    done: &Done,
    (mut reached, soon): (Reached, Soon),
) {
    // Since when something is not synced.
    let mut unsynced: Option<Instant> = None;
    let fail = |error| drop(done.send_replace(Err(error)));
    loop {
        let patience = unsynced.map_or(IDLE, |since| BUFFERED.saturating_sub(since.elapsed()));
        let next = desk.next(patience).await;
        let ends = matches!(next, Next::End);
        let mut hurries = ends;
        if let Next::Work(work) = next {
            hurries |= work.hurries && soon == Soon::Asked;
            if let Some(batch) = work.batch {
                reached.written = batch.number;
                if let Err(error) = directory.commit_buffered(batch) {
                    return fail(error);
                }
                unsynced.get_or_insert_with(Instant::now);
                if soon == Soon::Unasked {
                    reached.durable = reached.written;
                }
                let _ = done.send_replace(Ok(reached));
            }
        }
        if unsynced.is_some_and(|since| hurries || since.elapsed() >= BUFFERED) {
            desk.works().await;
            if let Err(error) = directory.engine.sync() {
                return fail(error);
            }
            unsynced = None;
            reached.durable = reached.written;
            let _ = done.send_replace(Ok(reached));
        }
        if ends {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Condvar, Mutex};

    use bytes::Bytes;

    use super::*;
    use crate::storage::{Engine, MemoryEngine, Origin, Space, Visit, Write};

    /// An engine whose syncs are counted, and end when they may.
    #[derive(Default)]
    struct Gated {
        engine: MemoryEngine,
        shut: Mutex<bool>,
        opened: Condvar,
        syncs: AtomicU64,
    }

    impl Engine for Gated {
        fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
            self.engine.get(space, key)
        }

        fn scan(&self, space: Space, from: &[u8], visit: Visit<'_>) -> Result<(), EngineError> {
            self.engine.scan(space, from, visit)
        }

        fn commit(&self, writes: Vec<Write>) -> Result<(), EngineError> {
            self.engine.commit(writes)?;
            self.sync()
        }

        fn commit_buffered(&self, writes: Vec<Write>) -> Result<(), EngineError> {
            self.engine.commit(writes)
        }

        fn sync(&self) -> Result<(), EngineError> {
            drop(self.opened.wait_while(self.shut.lock().unwrap(), |shut| *shut).unwrap());
            self.syncs.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    impl Gated {
        fn open(&self) {
            *self.shut.lock().unwrap() = false;
            self.opened.notify_all();
        }
    }

    /// With the first two batches.
    fn start(durability: Durability, shut: bool) -> (Arc<Gated>, Committer, [Batch; 2]) {
        let engine = Arc::new(Gated { shut: Mutex::new(shut), ..Gated::default() });
        let mut directory = Directory::in_memory(Origin { genesis: true, identity: None });
        directory.engine = Arc::<Gated>::clone(&engine);
        let state = directory.state();
        let batch = |number| Batch { number, writes: Vec::new(), state };
        let batches = [1, 2].map(|after| batch(state.position + after));
        (engine, Committer::start(Arc::new(directory), durability).unwrap(), batches)
    }

    async fn until(committer: &mut Committer, is: impl Fn(Reached) -> bool) -> Reached {
        loop {
            let reached = committer.reached().unwrap();
            if is(reached) {
                return reached;
            }
            committer.changed().await.unwrap();
        }
    }

    #[tokio::test]
    async fn where_every_batch_is_synced_nothing_is_told_of_it_before() {
        let (engine, mut committer, [first, _]) = start(Durability::Sync, true);
        let number = first.number;
        committer.submit(first, false);
        let told = tokio::time::timeout(BUFFERED * 2, committer.changed()).await;
        assert!(told.is_err(), "{told:?}");
        engine.open();
        let reached = until(&mut committer, |reached| reached.written >= number).await;
        assert_eq!(reached, Reached::all(number));
    }

    #[tokio::test]
    async fn where_one_copy_is_synced_a_batch_is_written_before_and_durable_after_its_sync() {
        let (engine, mut committer, [first, _]) = start(Durability::One, true);
        let number = first.number;
        committer.submit(first, true);
        let reached = until(&mut committer, |reached| reached.written >= number).await;
        assert_eq!(reached, Reached { written: number, durable: number - 1 });
        engine.open();
        assert_eq!(
            until(&mut committer, |reached| reached.durable >= number).await,
            Reached::all(number)
        );
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_synced_a_little_later_and_at_once_when_somebody_does() {
        let (engine, mut committer, [first, second]) = start(Durability::One, false);
        let begun = Instant::now();
        let number = first.number;
        committer.submit(first, false);
        until(&mut committer, |reached| reached.durable >= number).await;
        assert!(begun.elapsed() >= BUFFERED, "{:?}", begun.elapsed());
        assert_eq!(engine.syncs.load(Ordering::Relaxed), 1);

        committer.submit(second, false);
        committer.hurry();
        until(&mut committer, |reached| reached.durable > number).await;
        assert_eq!(engine.syncs.load(Ordering::Relaxed), 2);
        drop(committer);
        assert_eq!(engine.syncs.load(Ordering::Relaxed), 2, "nothing is left to sync");
    }

    #[tokio::test]
    async fn where_writes_are_buffered_a_batch_counts_when_it_is_written() {
        let (engine, mut committer, [first, _]) = start(Durability::Buffered, true);
        let number = first.number;
        committer.submit(first, true);
        let reached = until(&mut committer, |reached| reached.written >= number).await;
        assert_eq!(reached, Reached::all(number));
        engine.open();
        drop(committer);
        assert_eq!(engine.syncs.load(Ordering::Relaxed), 1, "it is synced before the end");
    }
}
