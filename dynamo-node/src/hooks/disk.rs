//! An engine that fails, fills up, is slow, or does not sync: as it is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Hook, Hooks, count};
use crate::storage::{Engine, EngineError, Space, Visit, Write};

/// An engine and what is done to it.
pub(super) struct Hooked {
    engine: Arc<dyn Engine>,
    hook: Arc<Hook>,
    unsynced: Unsynced,
}

/// What was written while a power cut is to come, and is not synced: in no file, so that a process that ends
/// leaves as much of it as a machine whose power is cut. Of each key what was written last.
#[derive(Default)]
struct Unsynced(RwLock<Late>);

#[derive(Default)]
struct Late {
    values: BTreeMap<(Space, Bytes), Option<Bytes>>,
    changes: u64,
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
        match self.unsynced.get(space, key) {
            Some(value) => Ok(value),
            None => self.engine.get(space, key),
        }
    }

    fn scan(&self, space: Space, from: &[u8], visit: Visit<'_>) -> Result<(), EngineError> {
        self.read()?;
        let mut unsynced = self.unsynced.from(space, from).into_iter().peekable();
        let mut goes_on = true;
        self.engine.scan(space, from, &mut |key, value| {
            while goes_on && let Some((before, value)) = unsynced.next_if(|(at, _)| &at[..] < key) {
                goes_on = value.is_none_or(|value| visit(&before, &value));
            }
            let anew = unsynced.next_if(|(at, _)| &at[..] == key);
            goes_on = goes_on
                && match anew {
                    Some((_, value)) => value.is_none_or(|value| visit(key, &value)),
                    None => visit(key, value),
                };
            goes_on
        })?;
        while goes_on && let Some((key, value)) = unsynced.next() {
            goes_on = value.is_none_or(|value| visit(&key, &value));
        }
        Ok(())
    }

    fn commit(&self, writes: Vec<Write>) -> Result<(), EngineError> {
        let begun = Instant::now();
        let changes = writes.len() as u64;
        match self.fate(bytes(&writes), true) {
            Fate::Goes => {}
            Fate::Fails(error) => return Err(error),
            Fate::SyncFails => {
                self.write_through(writes)?;
                return Err(self.sync_failed());
            }
        }
        self.hook.counts.held.fetch_add(changes, Ordering::Relaxed);
        self.wait_for_power();
        self.hook.counts.held.fetch_sub(changes, Ordering::Relaxed);
        self.write_through(writes)?;
        self.linger(begun);
        Ok(())
    }

    fn commit_buffered(&self, writes: Vec<Write>) -> Result<(), EngineError> {
        if let Fate::Fails(error) = self.fate(bytes(&writes), false) {
            return Err(error);
        }
        let cuts = self.hook.hooks().values().any(|hooks| hooks.hold || hooks.unsynced);
        if !cuts && self.unsynced.is_empty() {
            return self.engine.commit_buffered(writes);
        }
        self.hook.counts.held.fetch_add(writes.len() as u64, Ordering::Relaxed);
        self.unsynced.add(writes);
        Ok(())
    }

    fn sync(&self) -> Result<(), EngineError> {
        let begun = Instant::now();
        let fails = self.hook.hooks().values_mut().any(|hooks| take(&mut hooks.fail_syncs));
        self.wait_for_power();
        if !self.unsynced.is_empty() {
            self.write_through(Vec::new())?;
        }
        if fails {
            return Err(self.sync_failed());
        }
        self.engine.sync()?;
        self.linger(begun);
        Ok(())
    }

    fn rest(&self) -> Result<(), EngineError> {
        self.engine.rest()
    }

    fn is_volatile(&self) -> bool {
        self.engine.is_volatile()
    }
}

impl Hooked {
    pub(super) fn new(engine: Arc<dyn Engine>, hook: Arc<Hook>) -> Self {
        Self { engine, hook, unsynced: Unsynced::default() }
    }

    fn read(&self) -> Result<(), EngineError> {
        if !self.hook.hooks().values_mut().any(|hooks| take(&mut hooks.fail_reads)) {
            return Ok(());
        }
        count(&self.hook.counts.reads_failed);
        Err(failed("a read"))
    }

    fn fate(&self, bytes: u64, syncs: bool) -> Fate {
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
        let sync_fails = syncs && all.values_mut().any(|hooks| take(&mut hooks.fail_syncs));
        if sync_fails { Fate::SyncFails } else { Fate::Goes }
    }

    /// Has the engine make what it was not given yet durable, and these after it.
    fn write_through(&self, writes: Vec<Write>) -> Result<(), EngineError> {
        self.engine.commit(self.unsynced.and(writes))?;
        // Whoever reads meanwhile finds it here and there.
        self.hook.counts.held.fetch_sub(self.unsynced.forget(), Ordering::Relaxed);
        Ok(())
    }

    fn sync_failed(&self) -> EngineError {
        count(&self.hook.counts.syncs_failed);
        failed("a sync")
    }

    /// Returns when nothing holds a sync up. What waits here is in no file yet: a process that ends meanwhile
    /// leaves as much of it as a machine whose power is cut.
    fn wait_for_power(&self) {
        let holds = |all: &BTreeMap<u64, Hooks>| all.values().any(|hooks| hooks.hold);
        let mut hooks = self.hook.hooks();
        while holds(&hooks) {
            hooks = self.hook.changed.wait(hooks).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A sync that began then takes as long as it is to.
    fn linger(&self, begun: Instant) {
        let slow = self.hook.hooks().values().map(|hooks| hooks.slow).sum::<Duration>();
        if !slow.is_zero() {
            std::thread::sleep(slow);
            count(&self.hook.counts.slowed);
            let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.hook.counts.slowed_us.fetch_add(took, Ordering::Relaxed);
        }
    }
}

impl Unsynced {
    fn is_empty(&self) -> bool {
        self.late().changes == 0
    }

    /// What lies under `key` now, if it was changed; `None` in it if it was removed.
    #[allow(clippy::option_option, reason = "unchanged, removed, changed: three cases")]
    fn get(&self, space: Space, key: &[u8]) -> Option<Option<Bytes>> {
        let late = self.late();
        let key = || (space, Bytes::copy_from_slice(key));
        (late.changes > 0).then(|| late.values.get(&key()).cloned()).flatten()
    }

    /// All that was changed from key `from` on.
    fn from(&self, space: Space, from: &[u8]) -> Vec<(Bytes, Option<Bytes>)> {
        let late = self.late();
        let after = late.values.range((space, Bytes::copy_from_slice(from))..);
        let here = after.take_while(|((of, _), _)| *of == space);
        here.map(|((_, key), value)| (key.clone(), value.clone())).collect()
    }

    fn add(&self, writes: Vec<Write>) {
        let mut late = self.0.write().unwrap_or_else(PoisonError::into_inner);
        late.changes += writes.len() as u64;
        let values = writes.into_iter().map(|Write { space, key, value }| ((space, key), value));
        late.values.extend(values);
    }

    /// All of it, and then `writes`.
    fn and(&self, writes: Vec<Write>) -> Vec<Write> {
        let late = self.late();
        let write = |((space, key), value): (&(Space, Bytes), &Option<Bytes>)| Write {
            space: *space,
            key: key.clone(),
            value: value.clone(),
        };
        late.values.iter().map(write).chain(writes).collect()
    }

    /// It is in files; how many changes it was.
    fn forget(&self) -> u64 {
        let mut late = self.0.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *late).changes
    }

    fn late(&self) -> RwLockReadGuard<'_, Late> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes(writes: &[Write]) -> u64 {
    writes.iter().map(Write::bytes).sum::<usize>() as u64
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
        (Arc::clone(&hook), Hooked::new(engine, hook))
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
    fn what_is_buffered_while_a_power_cut_is_to_come_is_read_and_in_no_file_before_it_is_synced() {
        let (hook, engine) = hooked(Hooks::default());
        let write = |key: &'static str, value: Option<&'static str>| Write {
            space: Space::Home,
            key: Bytes::from_static(key.as_bytes()),
            value: value.map(|value| Bytes::from_static(value.as_bytes())),
        };
        let all = |engine: &dyn Engine| {
            let mut all = Vec::new();
            let visit: Visit<'_> = &mut |key, value| {
                let text = [key, value].map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
                all.push(text.join("="));
                all.last().is_none_or(|last| last != "d=stop")
            };
            engine.scan(Space::Home, b"a", visit).unwrap();
            all.join(" ")
        };
        engine.commit_buffered(vec![write("a", Some("1")), write("c", Some("1"))]).unwrap();
        hook.set(1, Hooks { unsynced: true, ..Hooks::default() });
        let late = [write("c", None), write("b", Some("2")), write("a", Some("2"))];
        engine.commit_buffered(late.to_vec()).unwrap();
        assert_eq!((all(&engine), all(&*engine.engine)), ("a=2 b=2".into(), "a=1 c=1".into()));
        assert_eq!(engine.get(Space::Home, b"c").unwrap(), None);
        assert_eq!(engine.get(Space::Home, b"b").unwrap(), Some(Bytes::from_static(b"2")));
        assert_eq!(hook.counted().held, 3);
        engine.sync().unwrap();
        assert_eq!((all(&engine), all(&*engine.engine)), ("a=2 b=2".into(), "a=2 b=2".into()));
        assert_eq!(hook.counted().held, 0);
        let more = [write("d", Some("stop")), write("e", Some("3"))];
        engine.commit_buffered(more.to_vec()).unwrap();
        assert_eq!(all(&engine), "a=2 b=2 d=stop", "a scan ends when it is told to");
        hook.set(1, Hooks::default());
        engine.commit(vec![write("d", None)]).unwrap();
        assert_eq!(all(&*engine.engine), "a=2 b=2 e=3", "in the order in which it was written");
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
