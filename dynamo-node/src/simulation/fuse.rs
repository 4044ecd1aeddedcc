//! Where in the work of a world's disks the power goes: at one operation of one disk, or nowhere.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::locked;

/// A point in the work of disks at which the machine of the one at work loses power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Point {
    /// Which operation: those of all disks of the world are counted together, from 0.
    pub operation: u64,
    /// When.
    pub when: When,
}

/// How far an operation had come when the power went. In no case is anybody told what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum When {
    /// It had not begun.
    Before,
    /// Nothing that was not synced is left, and it had synced nothing.
    Unsynced,
    /// A beginning of what was not synced is left, this operation's batch with it, or without it.
    Torn,
    /// It had done all that it promises.
    After,
}

impl When {
    /// In the order of time.
    pub const ALL: [Self; 4] = [Self::Before, Self::Unsynced, Self::Torn, Self::After];
}

/// What a disk is asked to do that leaves something behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// A commit that is synced.
    Commit,
    /// A commit that is synced later.
    Buffered,
    /// The sync of all that was committed.
    Sync,
}

/// Counts what all disks of a world do. Clones are the same one.
#[derive(Clone, Default)]
pub(super) struct Fuse(Arc<Inside>);

#[derive(Default)]
struct Inside {
    state: Mutex<State>,
    blown: Notify,
}

#[derive(Default)]
struct State {
    done: Vec<Work>,
    point: Option<Point>,
}

impl Fuse {
    pub(super) fn set(&self, point: Point) {
        locked(&self.0.state).point = Some(point);
    }

    /// A disk is about to do this; how far it comes, if the power goes.
    pub(super) fn passes(&self, work: Work) -> Option<When> {
        let mut state = locked(&self.0.state);
        let operation = state.done.len() as u64;
        state.done.push(work);
        let when = state.point.filter(|point| point.operation == operation)?.when;
        self.0.blown.notify_one();
        Some(when)
    }

    /// Until it did, of whoever asks first.
    pub(super) async fn blows(&self) {
        self.0.blown.notified().await;
    }

    pub(super) fn done(&self) -> Vec<Work> {
        locked(&self.0.state).done.clone()
    }
}
