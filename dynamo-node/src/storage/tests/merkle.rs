//! What a store says of its records to those who compare them, whatever is committed, reopened or damaged.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use dynamo_protocol::{
    Actor, Change, Dot, DottedSet, Identity, Input, Key, Member, MemoryStore, Meta, Node, NodeId,
    Outbox, Output, Place, Record, Role, Settings, Siblings, Span, Start, Store, StoreError, Time,
    Timer, Token, Version, VersionVector, Versioning, View,
};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;

use super::super::codec::FORMAT;
use super::super::{Directory, Origin, Owner, Records, Write, address_of};
use crate::wire::envelope_to_proto;

/// A record of a version that its counter tells apart.
fn record(counter: u64) -> Record {
    let actor = Actor { identity: Identity(7), birth: 0 };
    let version = Version { dot: Dot { actor, counter }, timestamp: 0, value: Some(Bytes::new()) };
    let context = VersionVector::from_iter([(actor, counter)]);
    let set = Siblings::Dotted(DottedSet::from_parts(context, vec![version]).unwrap());
    Record { set, minter: None, amnesiac: false }
}

fn key(index: u16) -> Key {
    Key::from(format!("k{index}").as_str())
}

#[derive(Clone, Debug)]
enum Step {
    Put(u16, u64),
    Remove(u16),
    Hint(u16, u64),
    Commit,
    Reopen,
    /// What lies in the engine of a key is damaged, which shows when it is next read.
    Damage(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let index = 0..40_u16;
    prop_oneof![
        6 => (index.clone(), 1..9_u64).prop_map(|(index, counter)| Step::Put(index, counter)),
        2 => index.clone().prop_map(Step::Remove),
        1 => (index.clone(), 1..9_u64).prop_map(|(index, counter)| Step::Hint(index, counter)),
        2 => Just(Step::Commit),
        1 => Just(Step::Reopen),
        1 => index.prop_map(Step::Damage),
    ]
}

/// A store, and what it should hold.
struct Pair {
    directory: Directory,
    records: Records,
    expected: MemoryStore,
}

impl Pair {
    fn apply(&mut self, change: Change) {
        self.records.apply(vec![change.clone()]).unwrap();
        self.expected.apply(vec![change]).unwrap();
    }

    fn commit(&mut self) {
        if let Some(batch) = self.records.take_batch() {
            let number = batch.number;
            self.directory.commit(batch).unwrap();
            self.records.committed(number);
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Put(index, counter) => {
                self.apply(Change::Put(Place::home(key(index)), record(counter)));
            }
            Step::Remove(index) => self.apply(Change::Remove(Place::home(key(index)))),
            Step::Hint(index, counter) => {
                let place = Place { role: Role::Hint(NodeId(2)), key: key(index) };
                self.apply(Change::Put(place, record(counter)));
            }
            Step::Commit => self.commit(),
            Step::Reopen => {
                self.commit();
                self.records = Records::open(&self.directory, Versioning::Dotted).unwrap();
            }
            Step::Damage(index) => {
                self.commit();
                let place = Place::home(key(index));
                let (space, at) = address_of(&place);
                let Some(value) = self.directory.engine.get(space, &at).unwrap() else { return };
                let mut value = value.to_vec();
                value[0] = !FORMAT;
                let write = Write { space, key: at, value: Some(value.into()) };
                self.directory.engine.commit(vec![write]).unwrap();
                self.records.is_lost(&place);
                assert_eq!(self.records.record(&place), Err(StoreError::Corrupt));
                self.expected.apply(vec![Change::Remove(place)]).unwrap();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_store_says_of_its_home_records_what_is_there(
        steps in vec(step(), 0..80), ends in vec(any::<u128>(), 2), most in 0..50_usize,
    ) {
        let directory = Directory::in_memory(Origin::GENESIS);
        let records = Records::open(&directory, Versioning::Dotted).unwrap();
        let expected = MemoryStore::new(Meta::genesis(Identity(1)));
        let mut pair = Pair { directory, records, expected };
        let span = Span::new(Token(ends[0].min(ends[1])), Token(ends[0].max(ends[1]))).unwrap();
        for step in &steps {
            pair.step(step);
            for span in [span, Span::RING, Span::RING.parts()[3]] {
                let found = (pair.records.fingerprint(span), pair.records.leaves(span, most));
                let expected = (pair.expected.fingerprint(span), pair.expected.leaves(span, most));
                prop_assert_eq!(found, expected, "{} after {:?}", span, step);
            }
        }
    }
}

/// The damage was not seen before the place is written anew: what the tree said of it must not stay.
#[test]
fn a_record_that_was_damaged_unseen_is_counted_right_once_it_is_written_anew() {
    let directory = Directory::in_memory(Origin::GENESIS);
    let records = Records::open(&directory, Versioning::Dotted).unwrap();
    let expected = MemoryStore::new(Meta::genesis(Identity(1)));
    let mut pair = Pair { directory, records, expected };
    for index in 0..9 {
        pair.step(&Step::Put(index, 1));
    }
    pair.commit();
    let (space, at) = address_of(&Place::home(key(3)));
    let garbage = Write { space, key: at, value: Some(Bytes::from_static(b"garbage")) };
    pair.directory.engine.commit(vec![garbage]).unwrap();
    pair.step(&Step::Put(3, 2));
    assert_eq!(pair.records.fingerprint(Span::RING), pair.expected.fingerprint(Span::RING));
}

/// What one exchange between two homes of so many keys comes to, some of which differ: how many messages,
/// and how many bytes they are on the wire.
fn exchange(keys: u32, differ: u32) -> (usize, usize) {
    let settings = Arc::new(Settings::new([2, 1, 1]));
    let members = (1..=2).map(|id| Member::new(NodeId(id), 64)).collect();
    let view = Arc::new(View::genesis(&settings, members).unwrap());
    let host = |id: u16| {
        let directory = Directory::in_memory(Origin::GENESIS);
        let mut records = Records::open(&directory, Versioning::Dotted).unwrap();
        for index in 0..keys {
            // Spread over all of them.
            let every = keys / differ.max(1);
            let differs = id == 2 && index % every == 0 && index / every < differ;
            let place = Place::home(Key::from(format!("key-{index:07}").as_str()));
            records.apply(vec![Change::Put(place, record(1 + u64::from(differs)))]).unwrap();
            if index % 4096 == 0 || index + 1 == keys {
                let batch = records.take_batch().unwrap();
                let number = batch.number;
                directory.commit(batch).unwrap();
                records.committed(number);
            }
        }
        let start = Start::proven(Meta::genesis(Identity(id.into())), id.into());
        (Node::new(NodeId(id), Arc::clone(&settings), Arc::clone(&view), start), records)
    };
    let mut hosts = [host(1), host(2)];
    let mut inputs = VecDeque::from([(0, Input::Started), (0, Input::Timer(Timer::Exchange))]);
    let (mut messages, mut bytes) = (0, 0);
    while let Some((at, input)) = inputs.pop_front() {
        let (node, records) = &mut hosts[at];
        let mut outbox = Outbox::default();
        node.handle(Time(0), input, records, &mut outbox);
        for output in outbox.outputs {
            if let Output::Send(envelope) = output {
                messages += 1;
                bytes += envelope_to_proto(envelope.clone()).encode_to_vec().len();
                inputs.push_back((1 - at, Input::Peer(envelope)));
            }
        }
    }
    let found = hosts.each_ref().map(|(_, records)| records.fingerprint(Span::RING).unwrap());
    assert_eq!(found[0], found[1], "then both hold the same");
    (messages, bytes)
}

#[test]
fn equal_homes_cost_one_round_trip_and_few_differences_little_more_than_themselves() {
    assert_eq!(exchange(20_000, 0).0, 2);
    let (_, equal) = exchange(20_000, 0);
    assert!(equal <= 256, "{equal} bytes");
    // A version and its context are some 250 bytes, in a fetch and its answer and a store and its answer.
    let (_, ten) = exchange(20_000, 10);
    assert!(ten <= 40 << 10, "{ten} bytes");
}

#[test]
#[ignore = "a measurement: run it with --nocapture"]
fn what_an_exchange_of_a_million_keys_costs() {
    for differ in [0, 10, 1000] {
        let (messages, bytes) = exchange(1_000_000, differ);
        println!(
            "{differ} of 1,000,000 keys differ: {messages} messages of {bytes} bytes together"
        );
    }
}

/// How much of what a write takes, without any wait for a disk, is for the leaf and the tree.
#[test]
#[ignore = "a measurement: run it with --nocapture"]
fn what_the_tree_costs_a_write() {
    const WRITES: u32 = 200_000;
    let place = |n: u32| Place::home(Key::from(format!("key-{:05}", n % 20_000).as_str()));
    let records: Vec<_> = (0..8).map(|counter| record(counter + 1)).collect();
    let directory = Directory::in_memory(Origin::GENESIS);
    let mut store = Records::open(&directory, Versioning::Dotted).unwrap();
    let begun = std::time::Instant::now();
    for n in 0..WRITES {
        let record = records[n as usize / 20_000 % 8].clone();
        store.apply(vec![Change::Put(place(n), record)]).unwrap();
        if n % 64 == 0 {
            let batch = store.take_batch().unwrap();
            let number = batch.number;
            directory.commit(batch).unwrap();
            store.committed(number);
        }
    }
    let all = begun.elapsed();
    let (mut tree, begun) = (super::super::tree::Tree::new(), std::time::Instant::now());
    for n in 0..WRITES {
        let key = place(n).key;
        let leaf = dynamo_protocol::Leaf::of(&key, &records[n as usize / 20_000 % 8]);
        tree.change(Token::of_key(&key), leaf, leaf);
    }
    let of_it = begun.elapsed();
    println!("a write takes {:?}, leaf and tree of it {:?}", all / WRITES, of_it / WRITES);
}

/// What a start on a directory of a million records of 100 bytes reads, and how long it takes.
#[test]
#[ignore = "a measurement: run it with --nocapture"]
fn a_start_on_a_million_records() {
    let folder = tempfile::TempDir::new().unwrap();
    let (node, versioning) = (NodeId(1), Versioning::Dotted);
    let owner = Owner { node, cluster: "dynamo".to_owned(), versioning };
    let path = folder.path().join("n1");
    let directory = Directory::open(&path, &owner, Origin::GENESIS).unwrap();
    let mut records = Records::open(&directory, versioning).unwrap();
    for index in 0..1_000_000_u32 {
        let place = Place::home(Key::from(format!("key-{index:07}").as_str()));
        let mut record = record(1);
        if let Siblings::Dotted(set) = &record.set {
            let mut versions = set.versions().to_vec();
            versions[0].value = Some(Bytes::from(vec![7; 100]));
            let context = set.context().clone();
            record.set = Siblings::Dotted(DottedSet::from_parts(context, versions).unwrap());
        }
        records.apply(vec![Change::Put(place, record)]).unwrap();
        if index % 4096 == 0 || index == 999_999 {
            let batch = records.take_batch().unwrap();
            let number = batch.number;
            directory.commit_buffered(batch).unwrap();
            records.committed(number);
        }
    }
    directory.engine.sync().unwrap();
    let expected = records.fingerprint(Span::RING);
    directory.close(&records.close().unwrap());
    drop(directory);
    // First as it was closed in order, then as one that was killed.
    for _ in 0..3 {
        let begun = std::time::Instant::now();
        let directory = Directory::open(&path, &owner, Origin::LATER).unwrap();
        let opened = begun.elapsed();
        let records = Records::open(&directory, versioning).unwrap();
        let (all, left) = (begun.elapsed(), records.unseen());
        println!("directory {opened:?}, in all {all:?}; {left} buckets not looked at");
        assert_eq!(records.fingerprint(Span::RING), expected);
        assert!(!directory.meta.amnesiac);
    }
}
