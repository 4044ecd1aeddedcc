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

use super::records::{META, Records};
use super::{
    Directory, DirectoryError, Engine, FjallEngine, MemoryEngine, Origin, Owner, Space, Write,
};

/// Runs `test` over every engine.
fn over_all(test: impl Fn(Arc<dyn Engine>)) {
    test(Arc::new(MemoryEngine::default()));
    let folder = TempDir::new().unwrap();
    test(Arc::new(FjallEngine::open(folder.path()).unwrap()));
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
        let key = Bytes::from(vec![7; crate::wire::LONGEST_KEY + 2]);
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
    let folder = TempDir::new().unwrap();
    let engine = FjallEngine::open(folder.path()).unwrap();
    for round in 0..5 {
        let value = round.to_string();
        let pair = [put(Space::Home, "a", &value), put(Space::Meta, "a", &value)];
        engine.commit(pair.to_vec()).unwrap();
        let left = crash(folder.path());
        let after = FjallEngine::open(left.path()).unwrap();
        assert_eq!(after.get(Space::Home, b"a").unwrap().unwrap(), value);
        assert_eq!(after.get(Space::Meta, b"a").unwrap().unwrap(), value);
    }
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

// ---- The store on top

fn store(engine: Arc<dyn Engine>) -> Records {
    Records::open(engine, Versioning::Dotted).unwrap()
}

fn commit(store: &mut Records, engine: &dyn Engine) {
    let batch = store.take_batch().unwrap();
    engine.commit(batch.writes).unwrap();
    store.committed(batch.number);
}

fn record(value: &str) -> Record {
    let dot = Dot { actor: Actor { identity: Identity(7), birth: 1 }, counter: 1 };
    let mut set = DottedSet::default();
    let value = Some(Bytes::copy_from_slice(value.as_bytes()));
    set.write(&VersionVector::default(), Version { dot, stamp: 0, value });
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
    over_all(|engine| {
        let mut store = store(Arc::clone(&engine));
        let home = place(Role::Home, "k");
        store.apply(vec![Change::Put(home.clone(), record("1"))]).unwrap();
        assert_eq!(store.record(&home), Ok(Some(record("1"))));
        assert_eq!(engine.get(Space::Home, b"k").unwrap(), None, "nothing is committed yet");
        commit(&mut store, &*engine);
        assert_eq!(store.record(&home), Ok(Some(record("1"))));
        store.apply(vec![Change::Remove(home.clone())]).unwrap();
        assert_eq!(store.record(&home), Ok(None));
        commit(&mut store, &*engine);
        assert_eq!(store.record(&home), Ok(None));
    });
}

#[test]
fn a_change_applied_while_an_older_one_is_committed_stays_visible() {
    over_all(|engine| {
        let mut store = store(Arc::clone(&engine));
        let home = place(Role::Home, "k");
        store.apply(vec![Change::Put(home.clone(), record("1"))]).unwrap();
        let first = store.take_batch().unwrap();
        store.apply(vec![Change::Put(home.clone(), record("2"))]).unwrap();
        engine.commit(first.writes).unwrap();
        store.committed(first.number);
        assert_eq!(store.record(&home), Ok(Some(record("2"))));
        commit(&mut store, &*engine);
        assert_eq!(store.record(&home), Ok(Some(record("2"))));
    });
}

#[test]
fn damaged_bytes_are_corrupt_and_never_absent() {
    over_all(|engine| {
        let mut store = store(Arc::clone(&engine));
        let home = place(Role::Home, "k");
        store.apply(vec![Change::Put(home.clone(), record("1"))]).unwrap();
        commit(&mut store, &*engine);
        let sealed = engine.get(Space::Home, b"k").unwrap().unwrap();
        for at in 0..sealed.len() {
            let mut bytes = sealed.to_vec();
            bytes[at] ^= 0x10;
            let value = Some(Bytes::from(bytes));
            let key = Bytes::from_static(b"k");
            engine.commit(vec![Write { space: Space::Home, key, value }]).unwrap();
            assert_eq!(store.record(&home), Err(StoreError::Corrupt), "byte {at}");
        }
        engine.commit(vec![put(Space::Home, "k", "")]).unwrap();
        assert_eq!(store.record(&home), Err(StoreError::Corrupt), "empty");
    });
}

#[test]
fn a_record_of_another_versioning_is_corrupt() {
    over_all(|engine| {
        let mut store = store(Arc::clone(&engine));
        let home = place(Role::Home, "k");
        store.apply(vec![Change::Put(home.clone(), record("1"))]).unwrap();
        commit(&mut store, &*engine);
        let paper = Records::open(engine, Versioning::Paper).unwrap();
        assert_eq!(paper.record(&home), Err(StoreError::Corrupt));
    });
}

#[test]
fn hints_are_counted_as_they_come_and_go_and_after_a_restart() {
    over_all(|engine| {
        let mut store = store(Arc::clone(&engine));
        let [one, two, home] = [hint(2, "a"), hint(3, "a"), place(Role::Home, "a")];
        let puts = [&one, &two, &home, &one].map(|p| Change::Put(p.clone(), record("1")));
        store.apply(puts.to_vec()).unwrap();
        assert_eq!(store.hints_held(), 2);
        commit(&mut store, &*engine);
        store.apply(vec![Change::Put(one.clone(), record("2"))]).unwrap();
        assert_eq!(store.hints_held(), 2);
        let removed = [&one, &one, &hint(9, "never")].map(|p| Change::Remove(p.clone()));
        store.apply(removed.to_vec()).unwrap();
        assert_eq!(store.hints_held(), 1);
        commit(&mut store, &*engine);
        assert_eq!(Records::open(engine, Versioning::Dotted).unwrap().hints_held(), 1);
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
        let engine = Arc::new(MemoryEngine::default());
        let mut store = store(Arc::clone(&engine) as _);
        let mut model = MemoryStore::new(Meta::genesis(Identity(1)));
        let mut under_way = std::collections::VecDeque::new();
        for deed in deeds {
            let change = match deed {
                Deed::Put(role, key, value) => {
                    Change::Put(any_place(role, key), record(&value.to_string()))
                }
                Deed::Remove(role, key) => Change::Remove(any_place(role, key)),
                Deed::Take => {
                    under_way.extend(store.take_batch());
                    continue;
                }
                Deed::Commit => {
                    if let Some(batch) = under_way.pop_front() {
                        engine.commit(batch.writes).unwrap();
                        store.committed(batch.number);
                        same(&store, &model);
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

fn owner() -> Owner {
    Owner { node: NodeId(1), cluster: "c".to_owned(), versioning: Versioning::Dotted }
}

#[test]
fn a_directory_keeps_its_identity_and_its_births() {
    let folder = TempDir::new().unwrap();
    let meta = {
        let directory = Directory::open(folder.path(), &owner(), Origin::GENESIS).unwrap();
        assert!(!directory.meta.amnesiac);
        let mut store = store(Arc::clone(&directory.engine));
        let meta = Meta { births: 5, ..directory.meta };
        store.apply(vec![Change::Meta(meta)]).unwrap();
        commit(&mut store, &*directory.engine);
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
        put(Space::Meta, "meta", "garbage"),
        remove(Space::Meta, "meta"),
        remove(Space::Meta, "owner"),
    ] {
        let folder = TempDir::new().unwrap();
        let directory = Directory::open(folder.path(), &owner(), Origin::GENESIS).unwrap();
        directory.engine.commit(vec![damage.clone()]).unwrap();
        drop(directory);
        let error = Directory::open(folder.path(), &owner(), Origin::LATER).unwrap_err();
        assert!(matches!(error, DirectoryError::Damaged { .. }), "{damage:?}: {error}");
    }
    assert_eq!(META, b"meta");
}
