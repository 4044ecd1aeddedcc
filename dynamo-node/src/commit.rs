//! Group commit: one thread makes batches durable while the driver goes on.
//!
//! Sixteen threads that sync do no better than one, and one commit costs about the same whether it
//! carries one batch or a hundred: the committer takes all that wait and commits them together.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::config::Durability;
use crate::storage::{Batch, Directory, EngineError};

/// How long what was acknowledged may wait for a sync where that is allowed: what a power cut of W machines
/// at once can take, about.
const BUFFERED: Duration = Duration::from_millis(50);
/// When nothing waits for that: any time will do.
const IDLE: Duration = Duration::from_secs(60);

/// Makes batches durable, in order.
pub(crate) struct Committer {
    way: Way,
    /// The last batch that is durable, or why nothing ever will be again.
    durable: watch::Receiver<Result<u64, EngineError>>,
}

enum Way {
    /// Nothing would be waited for.
    AtOnce { directory: Arc<Directory>, done: watch::Sender<Result<u64, EngineError>> },
    /// The bound on what waits is the driver's, see [`crate::driver`].
    Thread { batches: Option<mpsc::Sender<Batch>>, thread: Option<JoinHandle<()>> },
}

impl Committer {
    /// Starts the thread, if the directory's engine needs one. It ends when the committer is dropped.
    pub(crate) fn start(
        directory: Arc<Directory>,
        durability: Durability,
    ) -> std::io::Result<Self> {
        let (done, durable) = watch::channel(Ok(directory.state().position));
        if directory.engine.is_volatile() {
            return Ok(Self { way: Way::AtOnce { directory, done }, durable });
        }
        let (batches, waiting) = mpsc::channel();
        let run = move || match durability {
            Durability::Sync => commit_all(&directory, &waiting, &done),
            Durability::Buffered => commit_soon(&directory, &waiting, &done),
        };
        let thread = thread::Builder::new().name("committer".to_owned()).spawn(run)?;
        let way = Way::Thread { batches: Some(batches), thread: Some(thread) };
        Ok(Self { way, durable })
    }

    /// Makes `batch` durable, now or soon.
    pub(crate) fn submit(&self, batch: Batch) {
        match &self.way {
            Way::AtOnce { directory, done } => {
                let number = batch.number;
                let _ = done.send_replace(directory.commit(batch).map(|()| number));
            }
            Way::Thread { batches, .. } => {
                let batches = batches.as_ref().expect("taken only when this is dropped");
                // If the thread is gone, `changed` says why.
                drop(batches.send(batch));
            }
        }
    }

    /// The last batch known to be durable.
    pub(crate) fn durable(&mut self) -> Result<u64, EngineError> {
        self.durable.borrow_and_update().clone()
    }

    /// Waits until more is durable, and says up to where; or why nothing will ever be again.
    pub(crate) async fn changed(&mut self) -> Result<u64, EngineError> {
        match self.durable.changed().await {
            Ok(()) => self.durable(),
            Err(_) => Err(EngineError::Io("the committer has panicked".to_owned())),
        }
    }
}

impl Drop for Committer {
    /// Waits for the commit under way, so that the engine is closed when the node is gone.
    fn drop(&mut self) {
        if let Way::Thread { batches, thread } = &mut self.way {
            drop(batches.take());
            drop(thread.take().map(JoinHandle::join));
        }
    }
}

/// The next batch, with all that wait behind it.
fn joined(mut batch: Batch, waiting: &mpsc::Receiver<Batch>) -> Batch {
    for next in waiting.try_iter() {
        (batch.number, batch.state) = (next.number, next.state);
        batch.writes.extend(next.writes);
    }
    batch
}

fn commit_all(
    directory: &Directory,
    waiting: &mpsc::Receiver<Batch>,
    done: &watch::Sender<Result<u64, EngineError>>,
) {
    while let Ok(batch) = waiting.recv() {
        let batch = joined(batch, waiting);
        let number = batch.number;
        let result = directory.commit(batch).map(|()| number);
        let failed = result.is_err();
        let _ = done.send_replace(result);
        if failed {
            return;
        }
    }
}

/// Says that batches are durable when the system has them, and syncs them all at once a little later.
fn commit_soon(
    directory: &Directory,
    waiting: &mpsc::Receiver<Batch>,
    done: &watch::Sender<Result<u64, EngineError>>,
) {
    // Since when something is not synced.
    let mut unsynced: Option<Instant> = None;
    let fail = |error| drop(done.send_replace(Err(error)));
    loop {
        let patience = unsynced.map_or(IDLE, |since| BUFFERED.saturating_sub(since.elapsed()));
        let received = waiting.recv_timeout(patience);
        let ends = matches!(received, Err(mpsc::RecvTimeoutError::Disconnected));
        if let Ok(batch) = received {
            let batch = joined(batch, waiting);
            let number = batch.number;
            if let Err(error) = directory.commit_buffered(batch) {
                return fail(error);
            }
            unsynced.get_or_insert_with(Instant::now);
            let _ = done.send_replace(Ok(number));
        }
        if unsynced.is_some_and(|since| ends || since.elapsed() >= BUFFERED) {
            if let Err(error) = directory.engine.sync() {
                return fail(error);
            }
            unsynced = None;
        }
        if ends {
            return;
        }
    }
}
