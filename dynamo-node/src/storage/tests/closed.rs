//! What becomes of a directory that was closed in order, and of one that changed behind its back since.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use dynamo_protocol::{
    Actor, Change, Dot, DottedSet, Identity, Key, Leaf, Place, Record, Siblings, Span, Store,
    StoreError, Token, Version, VersionVector, Versioning,
};
use tempfile::TempDir;

use super::super::closed::Closed;
use super::super::directory::ENGINE;
use super::super::{
    Directory, Engine, EngineKind, FjallEngine, Origin, Records, RedbEngine, Space, Write,
    address_of,
};
use super::{contents, copy, cut, owner};

const BUCKETS: usize = 1 << 16;
const KINDS: [EngineKind; 2] = [EngineKind::Fjall, EngineKind::Redb];

fn place(n: u64) -> Place {
    Place::home(Key::from(format!("key-{n}").as_str()))
}

fn record(n: u64) -> Record {
    let dot = Dot { actor: Actor { identity: Identity(7), birth: n }, counter: 1 };
    let value = Some(Bytes::from(format!("the value of {n}")));
    let mut set = DottedSet::default();
    set.write(&VersionVector::default(), Version { dot, timestamp: 0, value });
    Record { set: Siblings::Dotted(set), minter: None, amnesiac: false }
}

/// Commits what was applied, if anything was.
fn commit(directory: &Directory, records: &mut Records) {
    if let Some(batch) = records.take_batch() {
        let number = batch.number;
        directory.commit(batch).unwrap();
        records.committed(number);
    }
}

/// One directory, from start to start.
struct Disk {
    folder: TempDir,
    kind: EngineKind,
    /// What it holds.
    held: BTreeMap<u64, Record>,
}

impl Disk {
    /// Closed in order with `records` records in it.
    fn closed(kind: EngineKind, records: u64) -> Self {
        let mut disk = Self { folder: TempDir::new().unwrap(), kind, held: BTreeMap::new() };
        let opened = disk.start(Origin::GENESIS);
        disk.end(opened, 0..records, true);
        disk
    }

    fn start(&self, origin: Origin) -> (Directory, Records) {
        let path = self.folder.path();
        let directory = Directory::open_with(self.kind, path, &owner(), origin).unwrap();
        let records = Records::open(&directory, Versioning::Dotted).unwrap();
        (directory, records)
    }

    /// Keeps more, and ends.
    fn end(
        &mut self,
        (directory, mut records): (Directory, Records),
        more: std::ops::Range<u64>,
        in_order: bool,
    ) {
        for n in more {
            records.apply(vec![Change::Put(place(n), record(n))]).unwrap();
            self.held.insert(n, record(n));
        }
        commit(&directory, &mut records);
        if in_order {
            directory.close(&records.close().unwrap());
        }
    }

    /// Changes what lies in the engine, and nothing else.
    fn change(&self, writes: Vec<Write>) {
        let folder = self.folder.path().join(ENGINE);
        let engine: Box<dyn Engine> = match self.kind {
            EngineKind::Redb => Box::new(RedbEngine::open(&folder).unwrap()),
            _ => Box::new(FjallEngine::open(&folder).unwrap()),
        };
        engine.commit(writes).unwrap();
    }

    /// How it comes back from what was done to it; an accusation, if it lacks something and does not say so.
    fn comes_back(&self, what: &str) -> &'static str {
        let start = || Directory::open_with(self.kind, self.folder.path(), &owner(), Origin::LATER);
        let Ok(directory) = start() else { return "refused" };
        if directory.meta.amnesiac {
            return "renewed";
        }
        let records = Records::open(&directory, Versioning::Dotted).unwrap();
        let mut tries = 0;
        while records.unseen() > 0 && records.doubt().is_none() && tries < 100 {
            records.look_on();
            tries += 1;
        }
        if records.unseen() > 0 {
            assert!(records.doubt().is_some(), "{what}: not all could be looked at");
            drop((records, directory));
            let again = start();
            assert!(again.is_err() || again.is_ok_and(|again| again.meta.amnesiac), "{what}");
            return "found while it ran";
        }
        for (n, record) in &self.held {
            assert_eq!(records.record(&place(*n)).as_ref(), Ok(&Some(record.clone())), "{what}");
        }
        "whole"
    }

    /// It is what it was: nothing it said is taken back, and all it held is there.
    fn is_whole(&self, (directory, records): &(Directory, Records)) {
        assert!(!directory.meta.amnesiac, "{:?}", self.kind);
        for (n, record) in &self.held {
            assert_eq!(records.record(&place(*n)).unwrap().as_ref(), Some(record));
        }
        let keys = records.fingerprint(Span::RING).unwrap().keys;
        assert_eq!(keys, self.held.len() as u64);
        assert!(records.doubt().is_none());
    }
}

#[test]
fn who_was_closed_in_order_starts_without_reading_its_records_and_has_them_all() {
    for kind in KINDS {
        let mut disk = Disk::closed(kind, 200);
        let mut read = None;
        // Again, before all is looked at, and after changes.
        for (round, more) in [(0, 0..0), (1, 200..220), (2, 100..110)] {
            let opened = disk.start(Origin::LATER);
            assert_eq!(opened.1.unseen(), BUCKETS, "{round}: nothing was read");
            let whole = opened.1.fingerprint(Span::RING).unwrap();
            assert_eq!(opened.1.unseen(), BUCKETS, "{round}: nor for this");
            if round == 2 {
                while opened.1.unseen() > 0 {
                    opened.1.look_on();
                }
            }
            disk.is_whole(&opened);
            disk.end(opened, more, true);
            read = Some(whole);
        }
        // Who was not is read, and comes to the same.
        let opened = disk.start(Origin::LATER);
        disk.end(opened, 0..1, false);
        let opened = disk.start(Origin::LATER);
        assert_eq!(opened.1.unseen(), 0);
        disk.is_whole(&opened);
        assert_eq!(Some(opened.1.fingerprint(Span::RING).unwrap()), read);
    }
}

/// Whatever is lost, altered, brought back or new, and whoever looks first.
#[test]
fn what_changed_since_it_was_closed_is_found_before_anything_rests_on_it() {
    let at = |n| address_of(&place(n));
    let value = |n: u64, of: u64| {
        let (space, key) = at(n);
        let value = Some(super::super::codec::seal(&key, &record(of)));
        Write { space, key, value }
    };
    let gone = |n| Write { value: None, ..value(n, n) };
    let garbage = |n| Write { value: Some(Bytes::from_static(b"garbage")), ..value(n, n) };
    type Changed = (&'static str, u64, Write);
    let changes: [Changed; 4] = [
        ("lost", 7, gone(7)),
        ("altered", 7, value(7, 8)),
        ("damaged", 7, garbage(7)),
        ("new", 999, value(999, 999)),
    ];
    type Look = fn(&Records, u64) -> Result<(), StoreError>;
    let looks: [(&str, Look); 3] = [
        ("a read", |records, n| records.record(&place(n)).map(drop)),
        ("a list", |records, _| records.leaves(Span::RING, usize::MAX).map(drop)),
        ("nobody", |records, _| {
            while records.unseen() > 0 && records.doubt().is_none() {
                records.look_on();
            }
            records.record(&place(8)).map(drop)
        }),
    ];
    for (what, n, write) in &changes {
        for (who, look) in &looks {
            let disk = Disk::closed(KINDS[0], 50);
            disk.change(vec![write.clone()]);
            let (directory, mut records) = disk.start(Origin::LATER);
            let before = directory.meta;
            assert!(!before.amnesiac && records.doubt().is_none());
            assert_eq!(look(&records, *n), Err(StoreError::Unreadable), "{what}, {who}");
            assert!(records.doubt().unwrap().is_damage(), "{what}, {who}");
            // Nor does who writes there first.
            records.apply(vec![Change::Put(place(*n), record(1))]).unwrap();
            assert!(records.close().is_none());
            drop(directory);
            let (directory, _) = disk.start(Origin::LATER);
            let now = directory.meta;
            assert!(now.amnesiac && now.identity != before.identity, "{what}, {who}");
        }
    }
}

#[test]
fn a_write_to_what_was_lost_is_found_too() {
    let disk = Disk::closed(KINDS[0], 50);
    let (space, key) = address_of(&place(7));
    disk.change(vec![Write { space, key, value: None }]);
    let (_directory, mut records) = disk.start(Origin::LATER);
    records.apply(vec![Change::Put(place(7), record(1))]).unwrap();
    assert!(records.doubt().unwrap().is_damage());
}

/// Of hints there are few: they are read.
#[test]
fn a_hint_that_was_lost_since_shows_at_the_start() {
    let disk = Disk::closed(KINDS[0], 0);
    let (directory, mut records) = disk.start(Origin::LATER);
    let hint = Place { role: dynamo_protocol::Role::Hint(dynamo_protocol::NodeId(2)), ..place(1) };
    records.apply(vec![Change::Put(hint.clone(), record(1))]).unwrap();
    commit(&directory, &mut records);
    directory.close(&records.close().unwrap());
    drop(directory);
    let (space, key) = address_of(&hint);
    assert_eq!(space, Space::Hints);
    disk.change(vec![Write { space, key, value: None }]);
    assert!(disk.start(Origin::LATER).0.meta.amnesiac);
}

#[test]
fn a_file_that_is_cut_flipped_or_of_another_time_only_costs_reading_everything() {
    let mut disk = Disk::closed(KINDS[0], 30);
    let file = disk.folder.path().join("tree");
    let whole = fs::read(&file).unwrap();
    let mut others: Vec<_> = (0..whole.len()).step_by(whole.len() / 40 + 1).collect();
    others.push(whole.len() - 1);
    for at in others {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        for bytes in [&flipped[..], &whole[..at]] {
            fs::write(&file, bytes).unwrap();
            let opened = disk.start(Origin::LATER);
            assert_eq!(opened.1.unseen(), 0, "byte {at}");
            disk.is_whole(&opened);
            assert!(!file.exists(), "it is believed once");
        }
    }
    // More was kept since, and the file is put back.
    let opened = disk.start(Origin::LATER);
    disk.end(opened, 30..31, false);
    fs::write(&file, &whole).unwrap();
    let opened = disk.start(Origin::LATER);
    assert_eq!(opened.1.unseen(), 0);
    disk.is_whole(&opened);
}

/// All of it is put back, tree and all, but for the mark: that knows better.
#[test]
fn a_copy_of_a_closed_directory_is_no_closed_directory() {
    let mut disk = Disk::closed(KINDS[0], 30);
    let earlier = TempDir::new().unwrap();
    copy(disk.folder.path(), earlier.path());
    let opened = disk.start(Origin::LATER);
    let before = opened.0.meta;
    disk.end(opened, 30..40, true);
    let engine = disk.folder.path().join(ENGINE);
    fs::remove_dir_all(&engine).unwrap();
    copy(&earlier.path().join(ENGINE), &engine);
    fs::copy(earlier.path().join("tree"), disk.folder.path().join("tree")).unwrap();
    let now = disk.start(Origin::LATER).0.meta;
    assert!(now.amnesiac && now.identity != before.identity);
}

#[test]
fn a_directory_that_could_not_be_read_is_not_left_for_a_quick_start() {
    let disk = Disk::closed(KINDS[0], 30);
    let (_directory, mut records) = disk.start(Origin::LATER);
    records.is_lost(&place(3));
    assert!(records.close().is_none());
}

/// A driver looks at some between two requests: those must not wait for what there is to read.
#[test]
fn of_large_records_few_are_looked_at_in_one_go() {
    // Among small ones, so that what was looked at says nothing of what comes.
    let length = |n: u64| if n.is_multiple_of(3) { 1 << 20 } else { 10 };
    let record = |n| {
        let mut record = record(n);
        let Siblings::Dotted(set) = &mut record.set else { unreachable!("it is dotted") };
        let dot = Dot { actor: Actor { identity: Identity(7), birth: n }, counter: 2 };
        let value = Some(Bytes::from(vec![7; length(n)]));
        set.write(&set.context().clone(), Version { dot, timestamp: 0, value });
        record
    };
    let disk = Disk::closed(KINDS[0], 0);
    let (directory, mut records) = disk.start(Origin::LATER);
    for n in 0..60 {
        records.apply(vec![Change::Put(place(n), record(n))]).unwrap();
    }
    commit(&directory, &mut records);
    directory.close(&records.close().unwrap());
    drop(directory);
    let (_directory, records) = disk.start(Origin::LATER);
    let unseen = |records: &Records| {
        let unseen = |n: &u64| records.is_unseen(Token::of_key(&place(*n).key));
        (0..60).filter(unseen).map(length).sum::<usize>()
    };
    let mut before = unseen(&records);
    assert!(before > 20 << 20);
    while records.unseen() > 0 {
        records.look_on();
        let left = unseen(&records);
        // Up to 2 MiB, and the bucket that goes beyond it.
        assert!(before - left <= 3 << 20, "{} bytes at once", before - left);
        before = left;
    }
    assert!(records.doubt().is_none());
}

/// Nothing of the disk changed: the tree itself was wrong. Who ends in order would hand it on for ever.
#[test]
fn a_tree_that_is_not_that_of_the_records_is_left_no_second_time() {
    let disk = Disk::closed(KINDS[0], 30);
    let (directory, records) = disk.start(Origin::LATER);
    let closed = records.close().unwrap();
    let (state, mut tree) = (*closed.state(), closed.into_tree());
    tree.change(Token::of_key(&place(7).key), None, Some(Leaf(1)));
    directory.close(&Closed::new(state, tree));
    drop(directory);
    let (directory, records) = disk.start(Origin::LATER);
    while records.unseen() > 0 && records.doubt().is_none() {
        records.look_on();
    }
    assert!(records.doubt().unwrap().to_string().contains("the tree that it was closed with"));
    assert!(records.close().is_none());
    drop(directory);
    disk.is_whole(&disk.start(Origin::LATER));
}

/// All files under `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Whatever of its files is flipped or cut while it is closed: it has all it had, or it is noticed.
#[test]
fn a_closed_directory_that_was_damaged_anywhere_is_whole_or_tells() {
    let disk = Disk::closed(KINDS[0], 40);
    let mut came = BTreeMap::new();
    for file in files(&disk.folder.path().join(ENGINE)) {
        let file = file.strip_prefix(disk.folder.path()).unwrap().to_owned();
        let length = contents(&disk.folder.path().join(&file)).len();
        for at in (0..length).step_by(length / 8 + 1) {
            for is_cut in [false, true] {
                let folder = TempDir::new().unwrap();
                copy(disk.folder.path(), folder.path());
                let path = folder.path().join(&file);
                if is_cut {
                    cut(&path, at as u64);
                } else {
                    let mut bytes = fs::read(&path).unwrap();
                    bytes[at] ^= 1 << (at % 8);
                    fs::write(&path, bytes).unwrap();
                }
                let damaged = Disk { folder, kind: disk.kind, held: disk.held.clone() };
                let what = format!("{} {at} {is_cut}", file.display());
                *came.entry(damaged.comes_back(&what)).or_insert(0) += 1;
            }
        }
    }
    for way in ["refused", "whole", "found while it ran"] {
        assert!(came.contains_key(way), "{way}: {came:?}");
    }
}
