//! What becomes of a directory whose files are not what they were.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use dynamo_protocol::membership::{Ballots, Edit, Membership};
use dynamo_protocol::{
    Actor, Change, Counted, Dot, DottedSet, Enrolment, Epoch, Identity, Key, Member, Meta, NodeId,
    Place, Record, Role, Siblings, Store, StoreError, Version, VersionVector, Versioning,
};
use tempfile::TempDir;

use super::super::directory::ENGINE;
use super::super::enrolment::ENROLMENT;
use super::super::mark::{Mark, Marked};
use super::super::{
    Directory, DirectoryError, FjallEngine, Origin, Records, Space, Write, address_of,
};
use super::{contents, copy, cut, journal, open, owner, written};

fn record(birth: u64) -> Record {
    record_of(birth, Bytes::from(format!("the value of {birth}")))
}

fn record_of(birth: u64, value: Bytes) -> Record {
    let dot = Dot { actor: Actor { identity: Identity(7), birth }, counter: 1 };
    let mut set = DottedSet::default();
    set.write(&VersionVector::default(), Version { dot, timestamp: 0, value: Some(value) });
    Record { set: Siblings::Dotted(set), minter: None, amnesiac: false }
}

fn place(n: u64) -> Place {
    let key = Key::from(format!("key-{n}").as_str());
    let role = if n.is_multiple_of(4) { Role::Hint(NodeId(2)) } else { Role::Home };
    Place { role, key }
}

fn commit(directory: &Directory, changes: Vec<Change>) {
    let mut store = Records::open(directory, Versioning::Dotted).unwrap();
    store.apply(changes).unwrap();
    directory.commit(store.take_batch().unwrap()).unwrap();
}

/// A directory with `batches` batches in it, one record and one birth each.
fn made(batches: u64) -> (TempDir, Meta) {
    let folder = TempDir::new().unwrap();
    let directory = Directory::open(folder.path(), &owner(), Origin::GENESIS).unwrap();
    for n in 1..=batches {
        let meta = Meta { births: n, ..directory.meta };
        commit(&directory, vec![Change::Put(place(n), record(n)), Change::Meta(meta)]);
    }
    let meta = directory.meta;
    (folder, meta)
}

/// The directory is amnesiac under a new identity, and gives out no birth again.
fn is_renewed(directory: &Directory, before: Meta, births: u64) -> bool {
    let meta = directory.meta;
    meta.amnesiac && meta.identity != before.identity && meta.births >= births
}

#[test]
fn a_journal_that_lost_its_end_renews_the_directory_wherever_it_is_cut() {
    const BATCHES: u64 = 40;
    let (folder, before) = made(BATCHES);
    let end = written(&journal(folder.path()));
    let mut identities = BTreeSet::from([before.identity]);
    let mut refused = 0;
    for at in (0..end).step_by(97).chain([end - 1]) {
        let left = TempDir::new().unwrap();
        copy(folder.path(), left.path());
        cut(&journal(left.path()), at);
        let directory = match open(left.path()) {
            Ok(directory) => directory,
            // So early that nobody knows whose it was.
            Err(error @ DirectoryError::Damaged { .. }) => {
                assert!(error.to_string().contains("wipe the directory"), "{error}");
                refused += 1;
                continue;
            }
            Err(error) => panic!("cut at {at} of {end}: {error}"),
        };
        assert!(is_renewed(&directory, before, BATCHES), "cut at {at} of {end}");
        assert!(identities.insert(directory.meta.identity));
        let state = directory.state();
        assert!(state.position > BATCHES);
        // It is durable before anybody hears of it, and the next start has no doubt.
        commit(&directory, vec![Change::Put(place(1), record(77))]);
        drop(directory);
        let again = open(left.path()).unwrap();
        assert_eq!((again.meta, again.state().position), (state.meta, state.position + 1));
    }
    assert!(refused < 10 && identities.len() > 20, "{refused} {}", identities.len());
    assert_eq!(open(folder.path()).unwrap().meta.identity, before.identity, "undamaged");
}

#[test]
fn a_mark_that_is_gone_or_of_another_time_renews_the_directory() {
    type Damage = fn(&Path, &Path);
    let damages: [(&str, Damage); 5] = [
        ("gone", |now, _| fs::remove_file(now.join("mark")).unwrap()),
        ("empty", |now, _| fs::write(now.join("mark"), b"").unwrap()),
        ("garbage", |now, _| fs::write(now.join("mark"), vec![7; 8192]).unwrap()),
        ("of a later engine", |now, old| {
            fs::remove_dir_all(now.join("engine")).unwrap();
            copy(&old.join("engine"), &now.join("engine"));
        }),
        ("of another directory", |now, _| {
            let (other, _) = made(90);
            fs::copy(other.path().join("mark"), now.join("mark")).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let (folder, before) = made(5);
        let old = TempDir::new().unwrap();
        copy(folder.path(), old.path());
        let directory = open(folder.path()).unwrap();
        commit(&directory, vec![Change::Put(place(9), record(9))]);
        drop(directory);
        damage(folder.path(), old.path());
        let directory = open(folder.path()).unwrap();
        assert!(is_renewed(&directory, before, 5), "{what}");
    }
}

#[test]
fn a_mark_that_lags_is_no_reason_to_doubt() {
    let (folder, before) = made(5);
    let mark = fs::read(folder.path().join("mark")).unwrap();
    let directory = open(folder.path()).unwrap();
    commit(&directory, vec![Change::Put(place(9), record(9))]);
    drop(directory);
    fs::write(folder.path().join("mark"), mark).unwrap();
    assert_eq!(open(folder.path()).unwrap().meta.identity, before.identity);
}

#[test]
fn a_record_that_is_lost_altered_or_brought_back_renews_the_directory() {
    let (folder, before) = made(9);
    let address = address_of(&place(3));
    for value in [None, Some(Bytes::from_static(b"other"))] {
        let left = TempDir::new().unwrap();
        copy(folder.path(), left.path());
        let directory = open(left.path()).unwrap();
        let (space, key) = address.clone();
        directory.engine.commit(vec![Write { space, key, value }]).unwrap();
        drop(directory);
        assert!(is_renewed(&open(left.path()).unwrap(), before, 9));
    }
}

/// As after a leave, of one that counts everywhere.
fn enrolment() -> Enrolment {
    let members = [1, 2, 3].map(|id| Member::new(NodeId(id), 8));
    let genesis = Membership::genesis(2, &members).unwrap();
    let edit = Edit::Leave { node: NodeId(3) };
    let epochs = vec![genesis.clone(), genesis.edited(&edit, 2).unwrap()];
    let ballots = Some(Ballots::none(Epoch(3)));
    Enrolment { epochs, ballots, counted: Some(Counted::everywhere(Epoch(2))) }
}

#[test]
fn what_is_kept_of_the_membership_is_durable_with_what_comes_with_it() {
    let (folder, before) = made(3);
    assert_eq!(open(folder.path()).unwrap().enrolment, Enrolment::default());
    let meta = Meta { births: 9, ..before };
    let directory = open(folder.path()).unwrap();
    commit(&directory, vec![Change::Enrolment(enrolment()), Change::Meta(meta)]);
    drop(directory);
    let directory = open(folder.path()).unwrap();
    assert_eq!((&directory.enrolment, directory.meta), (&enrolment(), meta));
    let later = Enrolment { counted: None, ..enrolment() };
    commit(&directory, vec![Change::Enrolment(later.clone())]);
    drop(directory);
    assert_eq!(open(folder.path()).unwrap().enrolment, later);
}

#[test]
fn a_membership_that_cannot_be_read_is_damage_and_one_of_another_time_renews_the_directory() {
    let (folder, before) = made(3);
    let directory = open(folder.path()).unwrap();
    commit(&directory, vec![Change::Enrolment(enrolment())]);
    let (space, key) = (Space::Meta, Bytes::from_static(ENROLMENT));
    let kept = directory.engine.get(space, &key).unwrap().unwrap();
    let later = Enrolment { ballots: None, ..enrolment() };
    commit(&directory, vec![Change::Enrolment(later.clone())]);
    drop(directory);
    let laid = |value| {
        let left = TempDir::new().unwrap();
        copy(folder.path(), left.path());
        let directory = open(left.path()).unwrap();
        directory.engine.commit(vec![Write { space, key: key.clone(), value }]).unwrap();
        drop(directory);
        (open(left.path()), left)
    };
    let (damaged, _folder) = laid(Some(kept.slice(1..)));
    let error = damaged.unwrap_err();
    assert!(matches!(error, DirectoryError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("wipe the directory"), "{error}");
    let (gone, _folder) = laid(None);
    let gone = gone.unwrap();
    assert!(is_renewed(&gone, before, 3) && gone.enrolment == Enrolment::default());
    let (earlier, _folder) = laid(Some(kept));
    let earlier = earlier.unwrap();
    assert!(is_renewed(&earlier, before, 3));
    let epochs = enrolment().epochs;
    assert_eq!(earlier.enrolment, Enrolment { epochs, ballots: None, counted: None });
    drop(earlier);
    assert_eq!(open(folder.path()).unwrap().enrolment, later);
}

#[test]
fn an_engine_that_is_gone_is_no_empty_directory() {
    for whole in [true, false] {
        let (folder, _) = made(3);
        let engine = folder.path().join("engine");
        fs::remove_dir_all(&engine).unwrap();
        if !whole {
            fs::create_dir(&engine).unwrap();
        }
        for origin in [Origin::LATER, Origin::GENESIS] {
            let error = Directory::open(folder.path(), &owner(), origin).unwrap_err();
            assert!(matches!(error, DirectoryError::Damaged { .. }), "{error}");
            assert!(error.to_string().contains("wipe the directory"), "{error}");
        }
    }
}

#[test]
fn a_directory_that_was_half_made_is_made_anew() {
    let (folder, _) = made(0);
    let marked = Marked { identity: Identity(1), births: 0, position: 0, made: false };
    let (mut mark, _) = Mark::open(&folder.path().join("mark")).unwrap();
    mark.settle(marked).unwrap();
    drop(mark);
    assert!(!Directory::open(folder.path(), &owner(), Origin::GENESIS).unwrap().meta.amnesiac);
}

// ---- Every bit, every length, every file

/// A small store with everything in it that a store has: tables, some of them outdated, records that are
/// in a journal only, records that were replaced and removed, hints.
struct Small {
    folder: TempDir,
    meta: Meta,
    position: u64,
    kept: BTreeMap<u64, Record>,
    /// Path in the folder, and what was written to it.
    files: Vec<(PathBuf, Vec<u8>)>,
}

/// What came of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Came {
    /// Nothing that matters was hit.
    Right,
    /// A read said that the record is corrupt.
    Corrupt,
    /// A new identity, no vote.
    Renewed,
    /// Not opened; the error names a file and the mend.
    Refused,
}

impl Small {
    fn new(records: u64) -> Self {
        let folder = TempDir::new().unwrap();
        let mut kept = BTreeMap::new();
        let mut births = 0;
        let open_again = |origin| Directory::open(folder.path(), &owner(), origin).unwrap();
        let mut put = |directory: &Directory, from: u64, to: u64, by: u64| {
            for n in (from..to).step_by(by as usize) {
                births += 1;
                let meta = Meta { births, ..directory.meta };
                let change = if births % 11 == 10 {
                    kept.remove(&n);
                    Change::Remove(place(n))
                } else {
                    kept.insert(n, record(births));
                    Change::Put(place(n), record(births))
                };
                commit(directory, vec![change, Change::Meta(meta)]);
            }
        };
        let directory = open_again(Origin::GENESIS);
        put(&directory, 0, records, 1);
        drop(directory);
        FjallEngine::open(&folder.path().join(ENGINE)).unwrap().flush();
        let directory = open_again(Origin::LATER);
        put(&directory, 0, records, 3);
        drop(directory);
        FjallEngine::open(&folder.path().join(ENGINE)).unwrap().flush();
        let directory = open_again(Origin::LATER);
        put(&directory, records / 2, records * 5 / 4, 2);
        let meta = directory.meta;
        let mut small = Self { folder, meta, position: 0, kept, files: Vec::new() };
        small.look(directory);
        small
    }

    /// The same with so many bytes in its files, which are more than those of `records` records. Checksums
    /// are of one length or another, so that not every try comes out.
    fn with_bytes(records: u64, bytes: usize) -> Self {
        let mut aim = bytes;
        for _ in 0..100 {
            let small = Self::with_about(records, aim);
            if small.bytes() == bytes {
                return small;
            }
            aim = aim + bytes - small.bytes();
        }
        panic!("no try came out at {bytes} bytes");
    }

    fn with_about(records: u64, bytes: usize) -> Self {
        // Values of so many bytes: the prefix that says how many is the same, and none is compressed.
        const SHORT: usize = 200;
        const LONG: usize = 3000;
        let mut small = Self::new(records);
        small.fill(SHORT);
        let before = small.bytes();
        small.fill(SHORT);
        let each = small.bytes() - before;
        loop {
            let missing = bytes.checked_sub(small.bytes() + each).expect("fewer records");
            if missing <= LONG - SHORT {
                small.fill(SHORT + missing);
                return small;
            }
            small.fill(LONG / 2);
        }
    }

    fn fill(&mut self, length: usize) {
        let directory = open(self.folder.path()).unwrap();
        let filling = record_of(1 << 30, Bytes::from(vec![b'x'; length]));
        commit(&directory, vec![Change::Put(place(1), filling.clone())]);
        self.kept.insert(1, filling);
        self.look(directory);
    }

    /// Closes the directory and finds what its files are now.
    fn look(&mut self, directory: Directory) {
        (self.meta, self.position) = (directory.state().meta, directory.state().position);
        drop(directory);
        self.files.clear();
        all_files(self.folder.path(), Path::new(""), &mut self.files);
    }

    fn bytes(&self) -> usize {
        self.files.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// A file and a byte of it, of all the bytes.
    fn at(&self, mut byte: usize) -> (usize, usize) {
        let file = self.files.iter().position(|(_, bytes)| {
            let here = byte < bytes.len();
            byte -= if here { 0 } else { bytes.len() };
            here
        });
        (file.unwrap(), byte)
    }

    /// Does damage to one file of a copy and looks what comes of it.
    fn damaged(&self, what: &str, file: usize, damage: impl FnOnce(&Path, &[u8])) -> Came {
        let left = TempDir::new().unwrap();
        copy(self.folder.path(), left.path());
        let (path, bytes) = &self.files[file];
        damage(&left.path().join(path), bytes);
        let what = format!("{what} of {}", path.display());
        let directory = match open(left.path()) {
            Ok(directory) => directory,
            Err(error) => {
                let said = error.to_string();
                let named = said.contains(left.path().to_str().unwrap());
                assert!(named && said.contains("wipe the directory"), "{what}: {said}");
                return Came::Refused;
            }
        };
        if directory.meta.identity != self.meta.identity {
            assert!(is_renewed(&directory, self.meta, self.meta.births), "{what}");
            return Came::Renewed;
        }
        assert_eq!(
            (directory.meta, directory.state().position),
            (self.meta, self.position),
            "{what}"
        );
        let store = Records::open(&directory, Versioning::Dotted).unwrap();
        let mut came = Came::Right;
        for n in 0..self.kept.last_key_value().unwrap().0 + 2 {
            match store.record(&place(n)) {
                Err(StoreError::Corrupt) => came = Came::Corrupt,
                found => assert_eq!(found, Ok(self.kept.get(&n).cloned()), "{what}: key {n}"),
            }
        }
        // And it goes on from there.
        commit(&directory, vec![Change::Put(place(1), record(1 << 40))]);
        let found = Records::open(&directory, Versioning::Dotted).unwrap().record(&place(1));
        assert_eq!(found, Ok(Some(record(1 << 40))), "{what}");
        came
    }

    fn flip(&self, bit: usize) -> Came {
        let (file, byte) = self.at(bit / 8);
        self.damaged(&format!("bit {} of byte {byte}", bit % 8), file, |path, bytes| {
            let flipped = [bytes[byte] ^ 1 << (bit % 8)];
            let file = fs::File::options().write(true).open(path).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, &flipped, byte as u64).unwrap();
        })
    }

    fn cut(&self, byte: usize) -> Came {
        let (file, length) = self.at(byte);
        self.damaged(&format!("all after byte {length}"), file, |path, _| cut(path, length as u64))
    }

    fn remove(&self, file: usize) -> Came {
        self.damaged("all", file, |path, _| fs::remove_file(path).unwrap())
    }

    /// Every `step`th flip and cut, and every removal, on two threads; how often what came of them.
    fn all(&self, step: usize) -> BTreeMap<(&'static str, Came), usize> {
        let count = |what: &'static str, came: &mut dyn Iterator<Item = Came>| {
            let mut counts = BTreeMap::new();
            came.for_each(|came| *counts.entry((what, came)).or_insert(0) += 1);
            counts
        };
        let half = |first: usize| {
            let every = move |all| (0..all).step_by(step).skip(first).step_by(2);
            let mut counts =
                count("flipped", &mut every(self.bytes() * 8).map(|bit| self.flip(bit)));
            counts.extend(count("cut", &mut every(self.bytes()).map(|byte| self.cut(byte))));
            counts
        };
        let mut counts = count("removed", &mut (0..self.files.len()).map(|file| self.remove(file)));
        let halves = std::thread::scope(|scope| {
            let halves = [0, 1].map(|first| scope.spawn(move || half(first)));
            halves.map(|half| half.join().unwrap())
        });
        for (came, count) in halves.into_iter().flatten() {
            *counts.entry(came).or_insert(0) += count;
        }
        counts
    }
}

fn all_files(folder: &Path, at: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(folder.join(at)).unwrap() {
        let entry = entry.unwrap();
        let path = at.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            all_files(folder, &path, files);
        } else {
            files.push((path, contents(&entry.path())));
        }
    }
    files.sort();
}

#[test]
fn no_flipped_bit_cut_or_lost_file_is_served_as_if_nothing_was() {
    let small = Small::new(40);
    let is_table = |path: &Path| path.parent().is_some_and(|folder| folder.ends_with("tables"));
    assert!(small.files.iter().filter(|(path, _)| is_table(path)).count() > 2);
    let counts = small.all(1009);
    assert!(counts.len() > 5, "{counts:?}");
}

/// With memory bounded, so that an absurd allocation ends it:
/// `(ulimit -v 4000000; TMPDIR=/dev/shm cargo test --release -p dynamo-node --lib every_flip -- --ignored
/// --nocapture)`, with `STEP=100` for a hundredth of it.
#[test]
#[ignore = "half an hour on two cores"]
fn every_flip_and_every_cut_of_a_store_of_64_kib() {
    const BYTES: usize = 64 << 10;
    let step = std::env::var("STEP").map_or(1, |step| step.parse().unwrap());
    let small = Small::with_bytes(120, BYTES);
    assert_eq!(small.bytes(), BYTES);
    println!("{} bytes in {} files", small.bytes(), small.files.len());
    for (path, bytes) in &small.files {
        println!("  {:>6} {}", bytes.len(), path.display());
    }
    let counts = small.all(step);
    for ((what, came), count) in &counts {
        println!("{what:>8} {came:?}: {count}");
    }
    let flipped = counts.iter().filter(|((what, _), _)| *what == "flipped");
    assert_eq!(flipped.map(|(_, count)| count).sum::<usize>(), (BYTES * 8).div_ceil(step));
}

#[test]
fn a_directory_of_an_older_version_is_refused() {
    let folder = TempDir::new().unwrap();
    drop(FjallEngine::open(folder.path()).unwrap());
    let error = open(folder.path()).unwrap_err();
    assert!(matches!(error, DirectoryError::AnotherVersion(_)), "{error}");
}
