//! Dotted sets against exact causal histories: whatever is put, read and merged in whatever order, the
//! vectors answer what sets of events would.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dynamo_protocol::{Actor, Dot, DottedSet, Identity, Version, VersionVector};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    /// A put through this record, with the context read there this many reads ago (none: blind).
    Put(usize, Option<usize>),
    Read(usize),
    Merge(usize, usize),
    /// The record is lost: what comes after is another actor.
    Forget(usize),
}

const RECORDS: usize = 3;

fn step() -> impl Strategy<Value = Step> {
    let record = 0..RECORDS;
    prop_oneof![
        3 => (record.clone(), proptest::option::of(0..4usize)).prop_map(|(r, c)| Step::Put(r, c)),
        2 => record.clone().prop_map(Step::Read),
        4 => (record.clone(), record.clone()).prop_map(|(to, from)| Step::Merge(to, from)),
        1 => record.prop_map(Step::Forget),
    ]
}

/// A record by the definition: the events it knows of, and the versions no known one overwrote.
#[derive(Clone, Default)]
struct Exact {
    known: BTreeSet<Dot>,
    live: BTreeMap<Dot, u64>,
}

impl Exact {
    fn merge(&mut self, other: &Self) {
        self.live.retain(|dot, _| other.live.contains_key(dot) || !other.known.contains(dot));
        for (dot, value) in &other.live {
            if !self.known.contains(dot) {
                self.live.insert(*dot, *value);
            }
        }
        self.known.extend(&other.known);
    }

    fn write(&mut self, read: &BTreeSet<Dot>, dot: Dot, value: u64) {
        self.live.retain(|held, _| !read.contains(held));
        self.known.extend(read);
        self.known.insert(dot);
        self.live.insert(dot, value);
    }
}

#[derive(Default)]
struct Pair {
    vectors: Vec<DottedSet>,
    exact: Vec<Exact>,
    minters: Vec<(Actor, u64)>,
    births: u64,
    reads: Vec<(VersionVector, BTreeSet<Dot>)>,
    puts: u64,
}

impl Pair {
    fn new() -> Self {
        let mut pair = Self {
            vectors: vec![DottedSet::default(); RECORDS],
            exact: vec![Exact::default(); RECORDS],
            ..Self::default()
        };
        pair.minters = (0..RECORDS).map(|_| pair.birth()).collect();
        pair
    }

    fn birth(&mut self) -> (Actor, u64) {
        self.births += 1;
        (Actor { identity: Identity(7), birth: self.births }, 0)
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Put(record, ago) => {
                let index = ago.and_then(|ago| self.reads.len().checked_sub(ago + 1));
                let (vector, known) = index.map(|i| self.reads[i].clone()).unwrap_or_default();
                // As `Record::write`: a context that knows more of the actor than the record.
                if vector.get(&self.minters[record].0) > self.minters[record].1 {
                    self.minters[record] = self.birth();
                }
                self.minters[record].1 += 1;
                let (actor, counter) = self.minters[record];
                let dot = Dot { actor, counter };
                self.puts += 1;
                let value = Some(Bytes::copy_from_slice(&self.puts.to_be_bytes()));
                self.vectors[record].write(&vector, Version { dot, timestamp: 0, value });
                self.exact[record].write(&known, dot, self.puts);
            }
            Step::Read(record) => self
                .reads
                .push((self.vectors[record].context().clone(), self.exact[record].known.clone())),
            Step::Merge(to, from) => {
                let (vector, exact) = (self.vectors[from].clone(), self.exact[from].clone());
                self.vectors[to].merge(&vector);
                self.exact[to].merge(&exact);
            }
            Step::Forget(record) => {
                self.vectors[record] = DottedSet::default();
                self.exact[record] = Exact::default();
                self.minters[record] = self.birth();
            }
        }
    }

    fn agrees(&self) -> bool {
        self.vectors.iter().zip(&self.exact).all(|(vector, exact)| {
            let live: Vec<_> = vector.versions().iter().map(|version| version.dot).collect();
            vector.is_canonical() && live == exact.live.keys().copied().collect::<Vec<_>>()
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn dotted_sets_answer_as_exact_histories_do(steps in prop::collection::vec(step(), 1..40)) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.take(step);
            prop_assert!(pair.agrees(), "after {step:?}");
        }
    }

    #[test]
    fn a_merge_is_commutative_associative_and_idempotent(
        steps in prop::collection::vec(step(), 1..40)
    ) {
        let mut pair = Pair::new();
        steps.iter().for_each(|step| pair.take(step));
        let [a, b, c] = [&pair.vectors[0], &pair.vectors[1], &pair.vectors[2]];
        let join = |x: &DottedSet, y: &DottedSet| {
            let mut joined = x.clone();
            joined.merge(y);
            joined
        };
        prop_assert_eq!(join(a, b), join(b, a));
        prop_assert_eq!(join(&join(a, b), c), join(a, &join(b, c)));
        prop_assert_eq!(join(a, a), a.clone());
        prop_assert!(!join(a, b).clone().merge(b), "what was merged changes nothing any more");
    }
}
