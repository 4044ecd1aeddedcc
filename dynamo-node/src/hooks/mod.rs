//! Hooks by which a test driver falsifies what a node is told by its disk and its links. A node that was not
//! started for it, or was built without the feature `faults`, has none.

mod disk;
mod links;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dynamo_protocol::{Envelope, NodeId};

use crate::config::Options;
use crate::storage::Directory;

/// What a fault does to a node, until it is over. What several do adds up. Shares are of a million.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// So many reads of the disk fail; [`Hooks::FOR_GOOD`], all.
    pub fail_reads: u32,
    /// So many writes fail, with nothing written.
    pub fail_writes: u32,
    /// So many syncs fail, after everything was written.
    pub fail_syncs: u32,
    /// The disk takes so many more bytes, and then says that it is full.
    pub room: Option<u64>,
    /// Every sync takes so much longer.
    pub slow: Duration,
    /// What is written waits to be synced until the hook is taken off: at a power cut it is gone.
    pub hold: bool,
    /// What need not be synced at once is in no file before it is synced: at a power cut it is gone.
    pub unsynced: bool,
    /// Messages to these peers are meddled with; to all, if there are none.
    pub peers: Vec<NodeId>,
    /// Of a million messages so many are never sent.
    pub lose: u32,
    /// So many are sent twice, once more after the next to the same peer.
    pub duplicate: u32,
    /// So many are overtaken by the next to the same peer.
    pub reorder: u32,
}

impl Hooks {
    /// As often as there is an occasion.
    pub const FOR_GOOD: u32 = u32::MAX;

    /// Whether messages are meddled with.
    fn meddle(&self) -> bool {
        self.lose > 0 || self.duplicate > 0 || self.reorder > 0
    }

    /// Whether messages to this peer are.
    fn meddle_with(&self, peer: NodeId) -> bool {
        self.meddle() && (self.peers.is_empty() || self.peers.contains(&peer))
    }
}

/// What the hooks of a process have done since it started: proof, by its own count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hooked {
    /// Reads that failed.
    pub reads_failed: u64,
    /// Writes that failed, with nothing written.
    pub writes_failed: u64,
    /// Syncs that failed, after everything was written.
    pub syncs_failed: u64,
    /// Writes for which there was no room.
    pub no_room: u64,
    /// Syncs that took longer.
    pub slowed: u64,
    /// How long those took together, in microseconds.
    pub slowed_us: u64,
    /// Changes that are written now and not synced.
    pub held: u64,
    /// Messages that were never sent.
    pub lost: u64,
    /// Messages that were sent twice.
    pub duplicated: u64,
    /// Messages that the next one overtook.
    pub reordered: u64,
}

/// The hooks of one process.
#[derive(Debug, Default)]
pub(crate) struct Hook {
    /// By the number of the fault.
    hooks: Mutex<BTreeMap<u64, Hooks>>,
    changed: Condvar,
    counts: Counts,
    /// Whether any message is to be looked at: asked for every one.
    meddles: AtomicBool,
    late: links::Late<Envelope>,
}

#[derive(Debug, Default)]
struct Counts {
    reads_failed: AtomicU64,
    writes_failed: AtomicU64,
    syncs_failed: AtomicU64,
    no_room: AtomicU64,
    slowed: AtomicU64,
    slowed_us: AtomicU64,
    held: AtomicU64,
    lost: AtomicU64,
    duplicated: AtomicU64,
    reordered: AtomicU64,
}

impl Hook {
    /// Those of a node that is started for them.
    pub(crate) fn of(options: &Options) -> Option<Arc<Self>> {
        (options.fault_hooks && cfg!(feature = "faults")).then(Arc::default)
    }

    /// Puts itself between a directory and its engine.
    pub(crate) fn onto(self: &Arc<Self>, directory: &mut Directory) {
        let engine = Arc::clone(&directory.engine);
        directory.engine = Arc::new(disk::Hooked::new(engine, Arc::clone(self)));
    }

    /// A fault of this number does `hooks` from now on, and nothing else; the default of them ends it.
    pub(crate) fn set(&self, fault: u64, hooks: Hooks) {
        let mut all = self.hooks();
        all.remove(&fault);
        if hooks != Hooks::default() {
            all.insert(fault, hooks);
        }
        self.look_again(&all);
        drop(all);
        self.changed.notify_all();
    }

    /// What was done.
    pub(crate) fn counted(&self) -> Hooked {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts = &self.counts;
        Hooked {
            reads_failed: of(&counts.reads_failed),
            writes_failed: of(&counts.writes_failed),
            syncs_failed: of(&counts.syncs_failed),
            no_room: of(&counts.no_room),
            slowed: of(&counts.slowed),
            slowed_us: of(&counts.slowed_us),
            held: of(&counts.held),
            lost: of(&counts.lost),
            duplicated: of(&counts.duplicated),
            reordered: of(&counts.reordered),
        }
    }

    /// Whether [`Self::pass`] has to be asked.
    pub(crate) fn meddles(&self) -> bool {
        self.meddles.load(Ordering::Relaxed)
    }

    /// What is sent in the place of a message, in this order.
    pub(crate) fn pass(&self, envelope: Envelope) -> Vec<Envelope> {
        let all = self.hooks();
        let here = all.values().filter(|hooks| hooks.meddle_with(envelope.to));
        let share = here.fold(links::Share::default(), |share, hooks| share.and(hooks));
        let passed = self.late.pass(share, (envelope.to, envelope), &self.counts, &mut rand::rng());
        self.look_again(&all);
        passed
    }

    fn look_again(&self, all: &BTreeMap<u64, Hooks>) {
        let meddles = all.values().any(Hooks::meddle) || !self.late.is_empty();
        self.meddles.store(meddles, Ordering::Relaxed);
    }

    fn hooks(&self) -> MutexGuard<'_, BTreeMap<u64, Hooks>> {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
