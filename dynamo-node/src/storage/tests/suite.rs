//! One conformance suite, run over every engine, and the store on top of each.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use dynamo_protocol::{
    Actor, Change, Dot, DottedSet, Identity, Key, MemoryStore, Meta, NodeId, Place, Record, Role,
    Siblings, Store, StoreError, Version, VersionVector, Versioning,
};
use proptest::prelude::*;
use tempfile::TempDir;

use super::super::records::{Records, address_of};
use super::super::state::STATE;
use super::super::{
    Directory, DirectoryError, Engine, EngineError, EngineKind, FjallEngine, LONGEST, MemoryEngine,
    Origin, Owner, RedbEngine, Space, Visit, Write,
};
use super::owner;
use crate::wire::LONGEST_KEY;

/// Runs `test` over every engine.
fn over_all(test: impl Fn(Arc<dyn Engine>)) {
    test(Arc::new(MemoryEngine::default()));
    let folder = TempDir::new().unwrap();
    test(Arc::new(FjallEngine::open(folder.path()).unwrap()));
    let folder = TempDir::new().unwrap();
    test(Arc::new(RedbEngine::open(folder.path()).unwrap()));
}

/// How an engine on disk is opened.
type Open = fn(&Path) -> Arc<dyn Engine>;

/// Runs `test` over every engine that outlives its process.
fn over_all_on_disk(test: impl Fn(Open)) {
    test(|folder| Arc::new(FjallEngine::open(folder).unwrap()));
    test(|folder| Arc::new(RedbEngine::open(folder).unwrap()));
}

fn put(space: Space, key: &str, value: &str) -> Write {
    let value = Some(Bytes::copy_from_slice(value.as_bytes()));
    Write { space, key: Bytes::copy_from_slice(key.as_bytes()), value }
}

fn remove(space: Space, key: &str) -> Write {
    Write { space, key: Bytes::copy_from_slice(key.as_bytes()), value: None }
}

fn keys(engine: &dyn Engine, space: Space, from: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut visit = |key: &[u8], _: &[u8]| {
        keys.push(String::from_utf8(key.to_vec()).unwrap());
        true
    };
    engine.scan(space, from.as_bytes(), &mut visit).unwrap();
    keys
}

#[test]
fn what_is_committed_is_read_back() {
    over_all(|engine| {
        assert_eq!(engine.get(Space::Home, b"a").unwrap(), None);
        engine.commit(vec![put(Space::Home, "a", "1"), put(Space::Home, "b", "")]).unwrap();
        assert_eq!(engine.get(Space::Home, b"a").unwrap().unwrap(), "1");
        assert_eq!(engine.get(Space::Home, b"b").unwrap().unwrap(), "");
        engine.commit(vec![put(Space::Home, "a", "2"), remove(Space::Home, "b")]).unwrap();
        assert_eq!(engine.get(Space::Home, b"a").unwrap().unwrap(), "2");
        assert_eq!(engine.get(Space::Home, b"b").unwrap(), None);
        engine.commit(vec![]).unwrap();
    });
}

#[test]
fn within_one_commit_the_last_change_of_a_key_counts() {
    over_all(|engine| {
        let changes = ["1", "2", "3"].map(|value| put(Space::Home, "a", value));
        engine.commit(changes.to_vec()).unwrap();
        assert_eq!(engine.get(Space::Home, b"a").unwrap().unwrap(), "3");
        engine.commit(vec![put(Space::Home, "a", "4"), remove(Space::Home, "a")]).unwrap();
        assert_eq!(engine.get(Space::Home, b"a").unwrap(), None);
        engine.commit(vec![remove(Space::Home, "a"), put(Space::Home, "a", "5")]).unwrap();
        assert_eq!(engine.get(Space::Home, b"a").unwrap().unwrap(), "5");
    });
}

#[test]
fn spaces_do_not_see_each_other() {
    over_all(|engine| {
        engine.commit(Space::ALL.map(|space| put(space, "a", space.name())).to_vec()).unwrap();
        engine.commit(vec![remove(Space::Home, "a")]).unwrap();
        assert_eq!(engine.get(Space::Home, b"a").unwrap(), None);
        assert_eq!(engine.get(Space::Meta, b"a").unwrap().unwrap(), "meta");
        assert_eq!(engine.get(Space::Hints, b"a").unwrap().unwrap(), "hints");
        assert!(keys(&*engine, Space::Home, "").is_empty());
    });
}

#[test]
fn a_scan_visits_keys_in_order_from_its_start_until_told_to_stop() {
    over_all(|engine| {
        let writes = ["b", "a", "d", "c"].map(|key| put(Space::Hints, key, key));
        engine.commit(writes.to_vec()).unwrap();
        assert_eq!(keys(&*engine, Space::Hints, ""), ["a", "b", "c", "d"]);
        assert_eq!(keys(&*engine, Space::Hints, "b"), ["b", "c", "d"]);
        assert_eq!(keys(&*engine, Space::Hints, "bb"), ["c", "d"]);
        let mut met = 0;
        let mut visit = |_: &[u8], _: &[u8]| {
            met += 1;
            met < 2
        };
        engine.scan(Space::Hints, b"", &mut visit).unwrap();
        assert_eq!(met, 2);
    });
}

#[test]
fn a_value_of_a_mebibyte_and_a_key_of_the_longest_come_back() {
    over_all(|engine| {
        let key = Bytes::from(vec![7; LONGEST]);
        let value = Bytes::from(vec![9; 1 << 20]);
        let write = Write { space: Space::Hints, key: key.clone(), value: Some(value.clone()) };
        engine.commit(vec![write]).unwrap();
        assert_eq!(engine.get(Space::Hints, &key).unwrap().unwrap(), value);
    });
}

/// What a crash would leave: every file as the system has it now.
fn crash(folder: &Path) -> TempDir {
    fn copy(from: &Path, to: &Path) {
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                fs::create_dir(&target).unwrap();
                copy(&entry.path(), &target);
            } else {
                fs::copy(entry.path(), &target).unwrap();
            }
        }
    }
    let left = TempDir::new().unwrap();
    copy(folder, left.path());
    left
}

#[test]
fn a_crash_loses_no_commit_that_returned() {
    over_all_on_disk(|open| {
        let folder = TempDir::new().unwrap();
        let engine = open(folder.path());
        for round in 0..5 {
            let value = round.to_string();
            let pair = [put(Space::Home, "a", &value), put(Space::Meta, "a", &value)];
            engine.commit(pair.to_vec()).unwrap();
            let left = crash(folder.path());
            let after = open(left.path());
            assert_eq!(after.get(Space::Home, b"a").unwrap().unwrap(), value);
            assert_eq!(after.get(Space::Meta, b"a").unwrap().unwrap(), value);
        }
    });
}

#[test]
fn what_is_buffered_is_read_at_once_and_outlives_its_process_once_it_is_synced() {
    over_all_on_disk(|open| {
        let folder = TempDir::new().unwrap();
        let engine = open(folder.path());
        engine.commit_buffered(vec![put(Space::Home, "a", "1")]).unwrap();
        assert_eq!(engine.get(Space::Home, b"a").unwrap().unwrap(), "1");
        engine.commit_buffered(vec![put(Space::Home, "b", "2")]).unwrap();
        engine.sync().unwrap();
        let left = crash(folder.path());
        let after = open(left.path());
        assert_eq!(after.get(Space::Home, b"a").unwrap().unwrap(), "1");
        assert_eq!(after.get(Space::Home, b"b").unwrap().unwrap(), "2");
        drop(engine);
        assert_eq!(open(folder.path()).get(Space::Home, b"b").unwrap().unwrap(), "2");
    });
}

/// A file that is damaged is told of, or read as it was: never as something else.
#[test]
fn a_flipped_bit_of_redbs_file_is_noticed_or_means_nothing() {
    let folder = TempDir::new().unwrap();
    let engine = RedbEngine::open(folder.path()).unwrap();
    for number in 0..200 {
        let key = format!("key-{number}");
        engine.commit(vec![put(Space::Home, &key, &key)]).unwrap();
    }
    drop(engine);
    let file = |folder: &Path| folder.join("records.redb");
    let length = fs::metadata(file(folder.path())).unwrap().len();
    let mut noticed = 0;
    for flip in 0..64 {
        let left = crash(folder.path());
        let mut bytes = fs::read(file(left.path())).unwrap();
        bytes[usize::try_from(flip * length / 64).unwrap()] ^= 1 << (flip % 8);
        fs::write(file(left.path()), bytes).unwrap();
        let Ok(engine) = RedbEngine::open_made(left.path()) else {
            noticed += 1;
            continue;
        };
        for number in 0..200 {
            let key = format!("key-{number}");
            let read = engine.get(Space::Home, key.as_bytes()).unwrap();
            assert_eq!(read.unwrap(), key, "flip {flip}");
        }
    }
    assert!(noticed > 0, "none of 64 flips was noticed");
}

#[test]
fn a_torn_journal_keeps_the_commits_before_it_and_nothing_of_the_torn_one() {
    let folder = TempDir::new().unwrap();
    let engine = FjallEngine::open(folder.path()).unwrap();
    engine.commit(vec![put(Space::Home, "a", "old"), put(Space::Meta, "a", "old")]).unwrap();
    let journal = |folder: &Path| {
        let mut files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        files.find(|path| path.extension().is_some_and(|kind| kind == "jnl")).unwrap()
    };
    // The journal's file is longer than what was written to it: its end is where the zeros begin.
    let written = |folder: &Path| {
        let bytes = fs::read(journal(folder)).unwrap();
        bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1) as u64
    };
    let before = written(folder.path());
    engine.commit(vec![put(Space::Home, "a", "new"), put(Space::Meta, "a", "new")]).unwrap();
    let after = written(folder.path());
    assert!(after > before + 20, "the second commit is in the journal");
    for cut in [before, before + 1, before + 10, (before + after) / 2, after - 1] {
        let left = crash(folder.path());
        let file = fs::File::options().write(true).open(journal(left.path())).unwrap();
        file.set_len(cut).unwrap();
        let engine = FjallEngine::open(left.path()).unwrap();
        let found = [Space::Home, Space::Meta].map(|s| engine.get(s, b"a").unwrap().unwrap());
        assert_eq!(found, ["old", "old"], "cut at {cut} of {before}..{after}");
    }
}

/// Keys that are short, long, prefixes of each other, or next to each other in any order.
fn edge_keys(longest: usize) -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
    keys.extend((2..5).flat_map(|length| [vec![0; length], vec![0xff; length]]));
    keys.extend([b"a\0".to_vec(), b"a\0\0".to_vec(), b"ab".to_vec(), "\u{1f600}".into()]);
    keys.extend([0, 7, 0xff].map(|byte| vec![byte; longest]));
    keys.push(vec![0xff; longest - 1]);
    keys.sort();
    keys
}

#[test]
fn edge_keys_and_values_come_back_in_order_and_after_a_restart() {
    let values: Vec<Vec<u8>> =
        vec![vec![], vec![0], vec![0xff], (0..=255).collect(), vec![0; 1 << 20], vec![7; 4097]];
    let check = |engine: &dyn Engine, kept: &[(Vec<u8>, Vec<u8>)]| {
        for space in Space::ALL {
            let mut met = Vec::new();
            let mut visit = |key: &[u8], value: &[u8]| {
                met.push((key.to_vec(), value.to_vec()));
                true
            };
            engine.scan(space, b"", &mut visit).unwrap();
            assert!(met == kept, "{} of {}", met.len(), kept.len());
            for (key, value) in kept {
                assert_eq!(engine.get(space, key).unwrap().unwrap(), value[..], "{key:?}");
            }
        }
    };
    let keys = edge_keys(LONGEST).into_iter();
    let kept: Vec<_> = keys.zip(values.into_iter().cycle()).collect();
    let writes = |space| {
        kept.iter().map(move |(key, value)| Write {
            space,
            key: Bytes::copy_from_slice(key),
            value: Some(Bytes::copy_from_slice(value)),
        })
    };
    over_all(|engine| {
        engine.commit(Space::ALL.into_iter().flat_map(writes).collect()).unwrap();
        check(&*engine, &kept);
    });
    let folder = TempDir::new().unwrap();
    let engine = FjallEngine::open(folder.path()).unwrap();
    engine.commit(Space::ALL.into_iter().flat_map(writes).collect()).unwrap();
    drop(engine);
    check(&FjallEngine::open(folder.path()).unwrap(), &kept);
}

#[test]
fn a_key_that_no_engine_takes_is_refused_with_nothing_changed() {
    over_all(|engine| {
        for length in [0, LONGEST + 1, LONGEST + 2, 2 * LONGEST + 2] {
            let key = Bytes::from(vec![7; length]);
            assert_eq!(engine.get(Space::Home, &key).unwrap(), None);
            for value in [None, Some(Bytes::from_static(b"v"))] {
                let bad = Write { space: Space::Home, key: key.clone(), value };
                let error = engine.commit(vec![put(Space::Home, "a", "1"), bad]).unwrap_err();
                assert!(matches!(error, EngineError::Key(bytes) if bytes == length), "{error}");
                assert_eq!(engine.get(Space::Home, b"a").unwrap(), None);
            }
        }
        engine.commit(vec![put(Space::Home, "a", "1")]).unwrap();
    });
}

// ---- The store on top

/// A store on a directory of each kind, and what reads it again after a restart, if anything can.
fn over_all_directories(test: impl Fn(Directory, &dyn Fn() -> Option<Directory>)) {
    test(Directory::in_memory(Origin::GENESIS), &|| None);
    let folder = TempDir::new().unwrap();
    let directory = Directory::open(folder.path(), &owner(), Origin::GENESIS).unwrap();
    let again = || Some(Directory::open(folder.path(), &owner(), Origin::LATER).unwrap());
    test(directory, &again);
    let folder = TempDir::new().unwrap();
    let open =
        |origin| Directory::open_with(EngineKind::Redb, folder.path(), &owner(), origin).unwrap();
    test(open(Origin::GENESIS), &|| Some(open(Origin::LATER)));
}

#[test]
fn a_directory_is_opened_with_the_engine_that_made_it_and_no_other() {
    let kinds = [EngineKind::Fjall, EngineKind::Redb];
    for (kind, other) in [(kinds[0], kinds[1]), (kinds[1], kinds[0])] {
        let folder = TempDir::new().unwrap();
        let open = |kind, origin| Directory::open_with(kind, folder.path(), &owner(), origin);
        drop(open(kind, Origin::GENESIS).unwrap());
        let refused = open(other, Origin::LATER).unwrap_err();
        assert!(
            matches!(refused, DirectoryError::AnotherEngine(_, made) if made == kind),
            "{refused}"
        );
        assert_eq!(Directory::node(folder.path()).unwrap(), Some(NodeId(1)));
        drop(open(kind, Origin::LATER).unwrap());
    }
}

fn store(directory: &Directory) -> Records {
    Records::open(directory, Versioning::Dotted).unwrap()
}

fn commit(store: &mut Records, directory: &Directory) {
    let batch = store.take_batch().unwrap();
    let number = batch.number;
    directory.commit(batch).unwrap();
    store.committed(number);
}

#[test]
fn every_key_of_the_protocol_is_kept_at_home_and_as_a_hint() {
    let mut keys = edge_keys(LONGEST_KEY);
    keys.insert(0, Vec::new());
    let places = || {
        let keys = keys.iter().map(|key| Key(Bytes::copy_from_slice(key)));
        keys.flat_map(|key| {
            let roles = [Role::Home, Role::Hint(NodeId(0)), Role::Hint(NodeId(u16::MAX))];
            roles.map(|role| Place { role, key: key.clone() })
        })
    };
    let value = |place: &Place| record(&format!("{:?} {}", place.role, place.key.as_bytes().len()));
    let check = |directory: &Directory| {
        let store = store(directory);
        assert!(places().all(|place| store.record(&place) == Ok(Some(value(&place)))));
        let all: Vec<_> = keys.iter().map(|key| Key(Bytes::copy_from_slice(key))).collect();
        for target in [0, u16::MAX] {
            assert_eq!(store.hints(NodeId(target), None, usize::MAX), Ok(all.clone()));
            for (at, after) in all.iter().enumerate() {
                let next = store.hints(NodeId(target), Some(after), 2).unwrap();
                assert!(next == all[(at + 1).min(all.len())..(at + 3).min(all.len())], "{at}");
            }
        }
        assert_eq!(store.present().unwrap().len(), places().count());
        assert_eq!(store.hints_held(), 2 * keys.len() as u64);
    };
    over_all_directories(|directory, again| {
        let mut store = store(&directory);
        let puts = places().map(|place| Change::Put(place.clone(), value(&place)));
        store.apply(puts.collect()).unwrap();
        commit(&mut store, &directory);
        drop(store);
        check(&directory);
        let identity = directory.meta.identity;
        drop(directory);
        if let Some(directory) = again() {
            assert_eq!(directory.meta.identity, identity, "nothing is in doubt");
            check(&directory);
        }
    });
}

/// An engine that panics when it commits.
struct Panicking;

impl Engine for Panicking {
    fn get(&self, _: Space, _: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(None)
    }

    fn scan(&self, _: Space, _: &[u8], _: Visit<'_>) -> Result<(), EngineError> {
        Ok(())
    }

    fn commit(&self, _: Vec<Write>) -> Result<(), EngineError> {
        panic!("no {} today", 7)
    }
}

#[test]
fn a_panic_of_the_engine_is_an_error_that_names_the_key() {
    let mut directory = Directory::in_memory(Origin::GENESIS);
    directory.engine = Arc::new(Panicking);
    let mut store = store(&directory);
    store.apply(vec![Change::Put(place(Role::Home, "cart-7"), record("1"))]).unwrap();
    let error = directory.commit(store.take_batch().unwrap()).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("no 7 today") && said.contains("cart-7") && error.is_damage(), "{said}");
}

fn record(value: &str) -> Record {
    let dot = Dot { actor: Actor { identity: Identity(7), birth: 1 }, counter: 1 };
    let mut set = DottedSet::default();
    let value = Some(Bytes::copy_from_slice(value.as_bytes()));
    set.write(&VersionVector::default(), Version { dot, timestamp: 0, value });
    Record { set: Siblings::Dotted(set), minter: None, amnesiac: false }
}

fn place(role: Role, key: &str) -> Place {
    Place { role, key: Key::from(key) }
}

fn hint(target: u16, key: &str) -> Place {
    place(Role::Hint(NodeId(target)), key)
}

#[test]
fn a_step_reads_what_an_earlier_one_applied_before_and_after_the_commit() {
    over_all_directories(|directory, _| {
        let mut store = store(&directory);
        let home = place(Role::Home, "k");
        store.apply(vec![Change::Put(home.clone(), record("1"))]).unwrap();
        assert_eq!(store.record(&home), Ok(Some(record("1"))));
        let (space, key) = address_of(&home);
        assert_eq!(directory.engine.get(space, &key).unwrap(), None, "nothing is committed yet");
        commit(&mut store, &directory);
        assert_eq!(store.record(&home), Ok(Some(record("1"))));
        store.apply(vec![Change::Remove(home.clone())]).unwrap();
        assert_eq!(store.record(&home), Ok(None));
        commit(&mut store, &directory);
        assert_eq!(store.record(&home), Ok(None));
    });
}

#[test]
fn a_change_applied_while_an_older_one_is_committed_stays_visible() {
    over_all_directories(|directory, _| {
        let mut store = store(&directory);
        let home = place(Role::Home, "k");
        store.apply(vec![Change::Put(home.clone(), record("1"))]).unwrap();
        let first = store.take_batch().unwrap();
        store.apply(vec![Change::Put(home.clone(), record("2"))]).unwrap();
        let number = first.number;
        directory.commit(first).unwrap();
        store.committed(number);
        assert_eq!(store.record(&home), Ok(Some(record("2"))));
        commit(&mut store, &directory);
        assert_eq!(store.record(&home), Ok(Some(record("2"))));
    });
}

#[test]
fn damaged_bytes_are_corrupt_and_never_absent() {
    over_all_directories(|directory, _| {
        let mut store = store(&directory);
        let home = place(Role::Home, "k");
        store.apply(vec![Change::Put(home.clone(), record("1"))]).unwrap();
        commit(&mut store, &directory);
        let (space, key) = address_of(&home);
        let sealed = directory.engine.get(space, &key).unwrap().unwrap();
        let lay = |value| {
            let write = Write { space, key: key.clone(), value: Some(value) };
            directory.engine.commit(vec![write]).unwrap();
        };
        for at in 0..sealed.len() {
            let mut bytes = sealed.to_vec();
            bytes[at] ^= 0x10;
            lay(Bytes::from(bytes));
            // What was read or written lately is not read again.
            assert_eq!(store.record(&home), Ok(Some(record("1"))));
            store.is_lost(&home);
            assert_eq!(store.record(&home), Err(StoreError::Corrupt), "byte {at}");
            lay(sealed.clone());
            assert_eq!(store.record(&home), Ok(Some(record("1"))), "an error is not remembered");
        }
        lay(Bytes::new());
        store.is_lost(&home);
        assert_eq!(store.record(&home), Err(StoreError::Corrupt), "empty");
    });
}

#[test]
fn a_record_of_another_versioning_is_corrupt() {
    over_all_directories(|directory, _| {
        let mut store = store(&directory);
        let home = place(Role::Home, "k");
        store.apply(vec![Change::Put(home.clone(), record("1"))]).unwrap();
        commit(&mut store, &directory);
        let paper = Records::open(&directory, Versioning::Paper).unwrap();
        assert_eq!(paper.record(&home), Err(StoreError::Corrupt));
    });
}

#[test]
fn hints_are_counted_as_they_come_and_go_and_after_a_restart() {
    over_all_directories(|directory, again| {
        let mut store = store(&directory);
        let [one, two, home] = [hint(2, "a"), hint(3, "a"), place(Role::Home, "a")];
        let puts = [&one, &two, &home, &one].map(|p| Change::Put(p.clone(), record("1")));
        store.apply(puts.to_vec()).unwrap();
        assert_eq!(store.hints_held(), 2);
        commit(&mut store, &directory);
        store.apply(vec![Change::Put(one.clone(), record("2"))]).unwrap();
        assert_eq!(store.hints_held(), 2);
        let removed = [&one, &one, &hint(9, "never")].map(|p| Change::Remove(p.clone()));
        store.apply(removed.to_vec()).unwrap();
        assert_eq!(store.hints_held(), 1);
        commit(&mut store, &directory);
        drop((store, directory));
        assert!(again().is_none_or(|directory| self::store(&directory).hints_held() == 1));
    });
}

/// What a test does to a store and to the protocol's own store in memory.
#[derive(Clone, Debug)]
enum Deed {
    Put(u8, u8, u8),
    Remove(u8, u8),
    /// Hands the batch to the engine, some of it later.
    Take,
    Commit,
}

fn deed() -> impl Strategy<Value = Deed> {
    let (role, key, value) = (0..3_u8, 0..5_u8, 0..9_u8);
    prop_oneof![
        4 => (role.clone(), key.clone(), value).prop_map(|(r, k, v)| Deed::Put(r, k, v)),
        2 => (role, key).prop_map(|(role, key)| Deed::Remove(role, key)),
        1 => Just(Deed::Take),
        1 => Just(Deed::Commit),
    ]
}

fn any_place(role: u8, key: u8) -> Place {
    // Keys that are prefixes of each other, and targets next to each other.
    let key = &"kkkkkk"[..=usize::from(key)];
    if role == 0 { place(Role::Home, key) } else { hint(u16::from(role), key) }
}

fn same(store: &Records, model: &MemoryStore) {
    for role in 0..3 {
        for key in 0..5 {
            let place = any_place(role, key);
            assert_eq!(store.record(&place), model.record(&place));
            let (target, after) = (NodeId(u16::from(role)), Some(&place.key));
            for most in [1, 2, 9] {
                assert_eq!(store.hints(target, after, most), model.hints(target, after, most));
                assert_eq!(store.hints(target, None, most), model.hints(target, None, most));
            }
        }
    }
    let held = model.records.keys().filter(|place| place.role != Role::Home).count();
    assert_eq!(store.hints_held(), held as u64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_store_agrees_with_the_protocols_own(deeds in prop::collection::vec(deed(), 0..40)) {
        let directory = Directory::in_memory(Origin::GENESIS);
        let mut store = store(&directory);
        let mut position = 0;
        let mut model = MemoryStore::new(Meta::genesis(Identity(1)));
        let mut under_way = std::collections::VecDeque::new();
        for deed in deeds {
            let change = match deed {
                Deed::Put(role, key, value) => {
                    Change::Put(any_place(role, key), record(&value.to_string()))
                }
                Deed::Remove(role, key) => Change::Remove(any_place(role, key)),
                Deed::Take => {
                    let next = store.position();
                    let batch = store.take_batch();
                    assert_eq!(next, position + u64::from(batch.is_some()));
                    position = next;
                    under_way.extend(batch);
                    continue;
                }
                Deed::Commit => {
                    if let Some(batch) = under_way.pop_front() {
                        let (number, state) = (batch.number, batch.state);
                        directory.commit(batch).unwrap();
                        store.committed(number);
                        same(&store, &model);
                        let counted = state.counted(&*directory.engine, &mut |_, _, _| {}).unwrap();
                        assert_eq!(counted, state, "the census is that of the records");
                    }
                    continue;
                }
            };
            store.apply(vec![change.clone()]).unwrap();
            model.apply(vec![change]).unwrap();
            same(&store, &model);
        }
    }
}

// ---- The directory

#[test]
fn a_directory_keeps_its_identity_and_its_births() {
    let folder = TempDir::new().unwrap();
    let meta = {
        let directory = Directory::open(folder.path(), &owner(), Origin::GENESIS).unwrap();
        assert!(!directory.meta.amnesiac);
        let mut store = store(&directory);
        let meta = Meta { births: 5, ..directory.meta };
        store.apply(vec![Change::Meta(meta)]).unwrap();
        commit(&mut store, &directory);
        meta
    };
    assert_eq!(Directory::open(folder.path(), &owner(), Origin::LATER).unwrap().meta, meta);
}

#[test]
fn an_empty_directory_is_amnesiac_unless_it_is_the_genesis() {
    let folder = TempDir::new().unwrap();
    let first = Directory::open(folder.path(), &owner(), Origin::LATER).unwrap().meta;
    assert!(first.amnesiac);
    let second = Directory::in_memory(Origin::LATER).meta;
    assert!(second.amnesiac && second.identity != first.identity);
    assert!(!Directory::in_memory(Origin::GENESIS).meta.amnesiac);
}

#[test]
fn a_genesis_on_a_directory_that_was_made_before_is_refused() {
    let folder = TempDir::new().unwrap();
    drop(Directory::open(folder.path(), &owner(), Origin::GENESIS).unwrap());
    let error = Directory::open(folder.path(), &owner(), Origin::GENESIS).unwrap_err();
    assert!(matches!(error, DirectoryError::NotEmpty(_)), "{error}");
}

#[test]
fn two_nodes_on_one_directory_are_refused() {
    let folder = TempDir::new().unwrap();
    let first = Directory::open(folder.path(), &owner(), Origin::GENESIS).unwrap();
    let error = Directory::open(folder.path(), &owner(), Origin::LATER).unwrap_err();
    assert!(matches!(error, DirectoryError::Locked(_)), "{error}");
    drop(first);
    Directory::open(folder.path(), &owner(), Origin::LATER).unwrap();
}

#[test]
fn another_nodes_directory_is_refused() {
    let folder = TempDir::new().unwrap();
    drop(Directory::open(folder.path(), &owner(), Origin::GENESIS).unwrap());
    for other in [
        Owner { node: NodeId(2), ..owner() },
        Owner { cluster: "d".to_owned(), ..owner() },
        Owner { versioning: Versioning::Lww, ..owner() },
    ] {
        let error = Directory::open(folder.path(), &other, Origin::LATER).unwrap_err();
        assert!(matches!(error, DirectoryError::Foreign { .. }), "{error}");
    }
}

#[test]
fn a_directory_that_does_not_know_who_it_is_is_refused_and_not_taken_for_an_empty_one() {
    for damage in [
        put(Space::Meta, "owner", "garbage"),
        put(Space::Meta, "state", "garbage"),
        remove(Space::Meta, "state"),
        remove(Space::Meta, "owner"),
    ] {
        let folder = TempDir::new().unwrap();
        let directory = Directory::open(folder.path(), &owner(), Origin::GENESIS).unwrap();
        directory.engine.commit(vec![damage.clone()]).unwrap();
        drop(directory);
        let error = Directory::open(folder.path(), &owner(), Origin::LATER).unwrap_err();
        assert!(matches!(error, DirectoryError::Damaged { .. }), "{damage:?}: {error}");
    }
    assert_eq!(STATE, b"state");
}
