//! An engine that fails, fills up, is slow, or does not sync: as it is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Hook, Hooks, count};
use crate::storage::{Engine, EngineError, Space, Visit, Write};

/// An engine and what is done to it.
pub(super) struct Hooked {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) hook: Arc<Hook>,
}

/// What becomes of a commit.
enum Fate {
    Goes,
    Fails(EngineError),
    /// All of it is written; whether it is durable nobody knows.
    SyncFails,
}

impl Engine for Hooked {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.read()?;
        self.engine.get(space, key)
    }

    fn scan(&self, space: Space, from: &[u8], visit: Visit<'_>) -> Result<(), EngineError> {
        self.read()?;
        self.engine.scan(space, from, visit)
    }

    fn commit(&self, writes: Vec<Write>) -> Result<(), EngineError> {
        let begun = Instant::now();
        let bytes = writes.iter().map(Write::bytes).sum::<usize>() as u64;
        match self.fate(bytes) {
            Fate::Goes => {}
            Fate::Fails(error) => return Err(error),
            Fate::SyncFails => {
                self.engine.commit(writes)?;
                count(&self.hook.counts.syncs_failed);
                return Err(failed("a sync"));
            }
        }
        self.wait_for_power(writes.len() as u64);
        self.engine.commit(writes)?;
        let slow = self.hook.hooks().values().map(|hooks| hooks.slow).sum::<Duration>();
        if !slow.is_zero() {
            std::thread::sleep(slow);
            count(&self.hook.counts.slowed);
            let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.hook.counts.slowed_us.fetch_add(took, Ordering::Relaxed);
        }
        Ok(())
    }

    fn is_volatile(&self) -> bool {
        self.engine.is_volatile()
    }
}

impl Hooked {
    fn read(&self) -> Result<(), EngineError> {
        if !self.hook.hooks().values_mut().any(|hooks| take(&mut hooks.fail_reads)) {
            return Ok(());
        }
        count(&self.hook.counts.reads_failed);
        Err(failed("a read"))
    }

    fn fate(&self, bytes: u64) -> Fate {
        let counts = &self.hook.counts;
        let mut all = self.hook.hooks();
        if all.values_mut().any(|hooks| take(&mut hooks.fail_writes)) {
            count(&counts.writes_failed);
            return Fate::Fails(failed("a write"));
        }
        for room in all.values_mut().filter_map(|hooks| hooks.room.as_mut()) {
            let Some(left) = room.checked_sub(bytes) else {
                count(&counts.no_room);
                let full = format!("no space is left for {bytes} bytes (by a test's hook)");
                return Fate::Fails(EngineError::Io(full));
            };
            *room = left;
        }
        let sync_fails = all.values_mut().any(|hooks| take(&mut hooks.fail_syncs));
        if sync_fails { Fate::SyncFails } else { Fate::Goes }
    }

    /// Returns when nothing holds a sync up. What waits here is in no file yet: a process that ends meanwhile
    /// leaves as much of it as a machine whose power is cut.
    fn wait_for_power(&self, changes: u64) {
        let holds = |all: &BTreeMap<u64, Hooks>| all.values().any(|hooks| hooks.hold);
        let mut hooks = self.hook.hooks();
        if !holds(&hooks) {
            return;
        }
        self.hook.counts.held.fetch_add(changes, Ordering::Relaxed);
        while holds(&hooks) {
            hooks = self.hook.changed.wait(hooks).unwrap_or_else(PoisonError::into_inner);
        }
        self.hook.counts.held.fetch_sub(changes, Ordering::Relaxed);
    }
}

/// Takes one of so many; whether there was one.
fn take(times: &mut u32) -> bool {
    let is_left = *times > 0;
    if *times != Hooks::FOR_GOOD {
        *times = times.saturating_sub(1);
    }
    is_left
}

fn failed(what: &str) -> EngineError {
    EngineError::Io(format!("{what} failed with an input/output error (by a test's hook)"))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::storage::MemoryEngine;

    fn hooked(hooks: Hooks) -> (Arc<Hook>, Hooked) {
        let hook = Arc::new(Hook::default());
        hook.set(1, hooks);
        let engine = Arc::new(MemoryEngine::default());
        (Arc::clone(&hook), Hooked { engine, hook })
    }

    fn put(key: &'static str) -> Vec<Write> {
        let key = Bytes::from_static(key.as_bytes());
        vec![Write { space: Space::Home, value: Some(key.clone()), key }]
    }

    fn holds(engine: &Hooked, key: &str) -> bool {
        engine.engine.get(Space::Home, key.as_bytes()).unwrap().is_some()
    }

    #[test]
    fn a_write_that_fails_leaves_nothing_and_a_sync_that_fails_leaves_all() {
        let (hook, engine) = hooked(Hooks { fail_writes: 1, fail_syncs: 1, ..Hooks::default() });
        assert!(matches!(engine.commit(put("a")), Err(EngineError::Io(_))));
        assert!(matches!(engine.commit(put("b")), Err(EngineError::Io(_))));
        engine.commit(put("c")).unwrap();
        assert_eq!(["a", "b", "c"].map(|key| holds(&engine, key)), [false, true, true]);
        let counted = hook.counted();
        assert_eq!((counted.writes_failed, counted.syncs_failed), (1, 1));
    }

    #[test]
    fn reads_fail_so_often_or_for_good() {
        let (hook, engine) = hooked(Hooks { fail_reads: 2, ..Hooks::default() });
        let read = || engine.get(Space::Home, b"a").is_err();
        assert_eq!([read(), read(), read()], [true, true, false]);
        hook.set(1, Hooks { fail_reads: Hooks::FOR_GOOD, ..Hooks::default() });
        assert!((0..9).all(|_| read()));
        assert_eq!(hook.counted().reads_failed, 11);
    }

    #[test]
    fn a_disk_is_full_when_its_room_is_used_up() {
        let (hook, engine) = hooked(Hooks { room: Some(5), ..Hooks::default() });
        engine.commit(put("ab")).unwrap();
        let error = engine.commit(put("c")).unwrap_err().to_string();
        assert!(error.contains("no space is left"), "{error}");
        assert_eq!(hook.counted().no_room, 1);
    }

    #[test]
    fn what_is_held_is_in_no_file_until_it_is_let_go() {
        let (hook, engine) = hooked(Hooks { hold: true, ..Hooks::default() });
        let engine = Arc::new(engine);
        let writer = Arc::clone(&engine);
        let commit = thread::spawn(move || writer.commit(put("a")));
        while hook.counted().held == 0 {
            thread::yield_now();
        }
        assert!(!holds(&engine, "a") && !commit.is_finished());
        hook.set(1, Hooks::default());
        commit.join().unwrap().unwrap();
        assert!(holds(&engine, "a"));
        assert_eq!(hook.counted().held, 0);
    }

    #[test]
    fn a_slow_sync_is_slow_by_the_clock_and_not_by_its_word() {
        let slow = Duration::from_millis(3);
        let (hook, engine) = hooked(Hooks { slow, ..Hooks::default() });
        let begun = Instant::now();
        engine.commit(put("a")).unwrap();
        assert!(begun.elapsed() >= slow);
        let counted = hook.counted();
        assert!(counted.slowed == 1 && counted.slowed_us >= 3_000, "{counted:?}");
    }
}
