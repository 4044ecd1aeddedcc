//! A disk of a simulated world, as an engine: a crash takes what was not synced.

use std::fmt;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::chance::Chance;
use super::fuse::{Fuse, When, Work};
use super::locked;
use crate::storage::{Engine, EngineError, MemoryEngine, Space, Visit, Write};

/// A disk. Clones are the same one.
#[derive(Clone)]
pub struct Disk(Arc<Mutex<Platter>>);

struct Platter {
    chance: Chance,
    /// What whoever has it sees.
    seen: MemoryEngine,
    /// What a power cut leaves, but for a beginning of what is not synced.
    synced: MemoryEngine,
    unsynced: Vec<Vec<Write>>,
    /// How often it was taken into use; who had it before has it no more.
    life: u64,
    /// What is left of a process that was killed uses it, too, for as long as its last commit takes.
    users: u32,
    /// A commit fails when so many more were made.
    fails: Option<u64>,
    /// The world's.
    fuse: Fuse,
    did: Sync,
}

/// What a disk did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sync {
    /// Commits.
    pub commits: u64,
    /// Commits that failed.
    pub failed: u64,
    /// Commits of processes that had ended: never made.
    pub too_late: u64,
    /// Commits that a power cut took.
    pub lost: u64,
    /// Whether the power went in the middle of its work.
    pub is_cut: bool,
}

/// A disk in use, by one process.
pub(super) struct Mounted {
    disk: Disk,
    life: u64,
}

impl Disk {
    pub(super) fn new(chance: Chance, fuse: Fuse) -> Self {
        Self(Arc::new(Mutex::new(Platter {
            chance,
            seen: MemoryEngine::default(),
            synced: MemoryEngine::default(),
            unsynced: Vec::new(),
            life: 0,
            users: 0,
            fails: None,
            fuse,
            did: Sync::default(),
        })))
    }

    /// Takes it into use.
    pub(super) fn mount(&self) -> Result<Mounted, EngineError> {
        let mut platter = locked(&self.0);
        if platter.users > 0 {
            return Err(EngineError::Locked);
        }
        platter.users += 1;
        platter.life += 1;
        Ok(Mounted { disk: self.clone(), life: platter.life })
    }

    /// Whether nobody uses it.
    #[must_use]
    pub fn is_free(&self) -> bool {
        locked(&self.0).users == 0
    }

    /// The commit after so many more fails; whether what it brought is there then is left to chance.
    pub fn fail_after(&self, commits: u64) {
        locked(&self.0).fails = Some(commits);
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        locked(&self.0).fails = None;
    }

    /// What it did.
    #[must_use]
    pub fn did(&self) -> Sync {
        locked(&self.0).did
    }

    /// Whoever uses it has ended; where `power` did, a beginning of what was not synced is left.
    pub(super) fn crash(&self, power: bool) {
        let mut platter = locked(&self.0);
        platter.life += 1;
        platter.fails = None;
        if power {
            let unsynced = platter.unsynced.len() as u64;
            let kept = platter.chance.within(0, unsynced);
            platter.lose(kept);
        }
    }
}

impl Platter {
    /// All that is not synced is gone, but for the first `kept` of it.
    fn lose(&mut self, kept: u64) {
        let unsynced = std::mem::take(&mut self.unsynced);
        self.did.lost += unsynced.len() as u64 - kept;
        let kept = usize::try_from(kept).unwrap_or(0);
        for writes in unsynced.into_iter().take(kept) {
            // In memory all keys that were taken once are taken again.
            let _ = self.synced.commit(writes);
        }
        self.seen = MemoryEngine::default();
        for space in Space::ALL {
            let mut all = Vec::new();
            let _ = self.synced.scan(space, &[], &mut |key, value| {
                let [key, value] = [key, value].map(Bytes::copy_from_slice);
                all.push(Write { space, key, value: Some(value) });
                true
            });
            let _ = self.seen.commit(all);
        }
    }

    fn sync(&mut self) -> Result<(), EngineError> {
        std::mem::take(&mut self.unsynced).into_iter().try_for_each(|it| self.synced.commit(it))
    }

    /// The power goes in the middle of this work; `writes` are what it brings, `sync` is whether it syncs.
    fn cut(&mut self, when: When, writes: Option<Vec<Write>>, sync: bool) {
        let before = self.unsynced.len() as u64;
        if when != When::Before {
            self.unsynced.extend(writes);
        }
        let all = self.unsynced.len() as u64;
        let kept = match when {
            When::Before => self.chance.within(0, before),
            When::Unsynced => 0,
            When::Torn => self.chance.within(0, all),
            When::After if sync => all,
            When::After => self.chance.within(0, all),
        };
        self.lose(kept);
        self.life += 1;
        self.did.is_cut = true;
    }

    /// Whether this commit fails.
    fn fails(&mut self) -> bool {
        match &mut self.fails {
            None => false,
            Some(0) => true,
            Some(more) => {
                *more -= 1;
                false
            }
        }
    }
}

impl Mounted {
    fn keep(&self, writes: Vec<Write>, sync: bool) -> Result<(), EngineError> {
        let mut platter = locked(&self.disk.0);
        if platter.life != self.life {
            platter.did.too_late += 1;
            return Err(gone());
        }
        let work = if sync { Work::Commit } else { Work::Buffered };
        if let Some(when) = platter.fuse.passes(work) {
            platter.cut(when, Some(writes), sync);
            return Err(gone());
        }
        let fails = platter.fails();
        platter.did.failed += u64::from(fails);
        if fails && platter.chance.happens(500) {
            return Err(failed());
        }
        platter.did.commits += 1;
        platter.seen.commit(writes.clone())?;
        platter.unsynced.push(writes);
        if sync && !fails {
            platter.sync()?;
        }
        if fails { Err(failed()) } else { Ok(()) }
    }
}

fn gone() -> EngineError {
    EngineError::Io("its process has ended".to_owned())
}

fn failed() -> EngineError {
    EngineError::Io("the disk fails (so its world wants it)".to_owned())
}

impl Engine for Mounted {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let platter = locked(&self.disk.0);
        if platter.life == self.life { platter.seen.get(space, key) } else { Err(gone()) }
    }

    fn scan(&self, space: Space, from: &[u8], visit: Visit<'_>) -> Result<(), EngineError> {
        let platter = locked(&self.disk.0);
        if platter.life == self.life { platter.seen.scan(space, from, visit) } else { Err(gone()) }
    }

    fn commit(&self, writes: Vec<Write>) -> Result<(), EngineError> {
        self.keep(writes, true)
    }

    fn commit_buffered(&self, writes: Vec<Write>) -> Result<(), EngineError> {
        self.keep(writes, false)
    }

    fn sync(&self) -> Result<(), EngineError> {
        let mut platter = locked(&self.disk.0);
        if platter.life != self.life {
            return Err(gone());
        }
        if let Some(when) = platter.fuse.passes(Work::Sync) {
            platter.cut(when, None, true);
            return Err(gone());
        }
        platter.sync()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        locked(&self.disk.0).users -= 1;
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Disk").field(&self.did()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::fuse::Point;
    use super::*;

    fn put(value: &'static str) -> Vec<Write> {
        let (key, value) = (Bytes::from_static(b"k"), Some(Bytes::from_static(value.as_bytes())));
        vec![Write { space: Space::Home, key, value }]
    }

    fn get(engine: &Mounted) -> Option<Bytes> {
        engine.get(Space::Home, b"k").unwrap()
    }

    #[test]
    fn a_power_cut_takes_what_was_not_synced_and_the_end_of_a_process_takes_nothing() {
        let mut lost = 0;
        for seed in 0..20 {
            let disk = Disk::new(Chance::new(seed), Fuse::default());
            let engine = disk.mount().unwrap();
            engine.commit(put("a")).unwrap();
            engine.commit_buffered(put("b")).unwrap();
            disk.crash(false);
            drop(engine);
            let engine = disk.mount().unwrap();
            assert_eq!(get(&engine).unwrap(), "b");
            disk.crash(true);
            drop(engine);
            let held = get(&disk.mount().unwrap()).unwrap();
            assert!(held == "a" || held == "b");
            lost += u64::from(held == "a");
            assert_eq!(disk.did().lost, u64::from(held == "a"));
        }
        assert!((1..20).contains(&lost), "{lost}");
    }

    #[test]
    fn who_had_a_disk_before_has_it_no_more() {
        let disk = Disk::new(Chance::new(1), Fuse::default());
        let before = disk.mount().unwrap();
        assert!(matches!(disk.mount(), Err(EngineError::Locked)));
        disk.crash(false);
        assert!(before.commit(put("a")).is_err() && before.get(Space::Home, b"k").is_err());
        assert!(!disk.is_free());
        drop(before);
        assert!(get(&disk.mount().unwrap()).is_none() && disk.is_free());
    }

    #[test]
    fn a_commit_that_fails_is_there_or_not_and_all_after_it_fail() {
        let disk = Disk::new(Chance::new(3), Fuse::default());
        let engine = disk.mount().unwrap();
        disk.fail_after(1);
        engine.commit(put("a")).unwrap();
        assert!(engine.commit(put("b")).is_err() && engine.commit(put("c")).is_err());
        assert_eq!(disk.did().failed, 2);
    }

    /// What is left of two buffered commits, the second of which is cut off.
    fn left_of_two(when: When, sync: bool, seed: u64) -> Option<Bytes> {
        let fuse = Fuse::default();
        let disk = Disk::new(Chance::new(seed), fuse.clone());
        let engine = disk.mount().unwrap();
        fuse.set(Point { operation: 1, when });
        engine.commit_buffered(put("a")).unwrap();
        let cut = if sync { engine.commit(put("b")) } else { engine.commit_buffered(put("b")) };
        assert!(cut.is_err() && disk.did().is_cut);
        assert!(engine.commit(put("c")).is_err(), "it has no power");
        drop(engine);
        get(&disk.mount().unwrap())
    }

    #[test]
    fn a_power_cut_in_mid_work_leaves_what_that_moment_allows() {
        let left = |when, sync| {
            let all = (0..40).map(|seed| left_of_two(when, sync, seed));
            let named = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
            all.map(|left| left.map_or_else(String::new, named)).collect::<BTreeSet<_>>()
        };
        let all = |all: &[&str]| all.iter().map(|&one| one.to_owned()).collect::<BTreeSet<_>>();
        for sync in [false, true] {
            assert_eq!(left(When::Before, sync), all(&["", "a"]));
            assert_eq!(left(When::Unsynced, sync), all(&[""]));
            assert_eq!(left(When::Torn, sync), all(&["", "a", "b"]));
        }
        assert_eq!(left(When::After, true), all(&["b"]), "it was synced, and nobody was told");
        assert_eq!(left(When::After, false), all(&["", "a", "b"]));
    }
}
