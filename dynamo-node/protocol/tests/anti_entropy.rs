//! Exchanges between whole nodes on memory stores: what they come to, and what they cost.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use dynamo_protocol::{
    Actor, Between, Change, Compared, Dot, DottedSet, Envelope, Epoch, Event, Fingerprint,
    Identity, Input, Key, Member, MemoryStore, Message, Meta, Node, NodeId, Outbox, Output, Place,
    Record, Role, Settings, Siblings, Span, Start, Store, Time, Timer, Version, VersionVector,
    View,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

/// Nodes that hear each other at once.
struct Cluster {
    view: Arc<View>,
    hosts: BTreeMap<NodeId, (Node, MemoryStore)>,
    sent: Vec<Envelope>,
    events: Vec<(NodeId, Event)>,
    /// Messages of this many sends from now on do not arrive.
    lost: usize,
}

impl Cluster {
    fn new(nodes: u16, n: usize) -> Self {
        let settings = Settings::new([n, 1, 1]);
        let members = (1..=nodes).map(|id| Member::new(NodeId(id), 8)).collect();
        let view = Arc::new(View::genesis(&settings, members).unwrap());
        let settings = Arc::new(settings);
        let host = |id: NodeId| {
            let meta = Meta::genesis(Identity(id.0.into()));
            let start = Start::proven(meta, u64::from(id.0) << 8);
            let node = Node::new(id, Arc::clone(&settings), Arc::clone(&view), start);
            (id, (node, MemoryStore::new(meta)))
        };
        let hosts = view.ids().map(host).collect();
        let (sent, events) = (Vec::new(), Vec::new());
        let mut cluster = Self { view, hosts, sent, events, lost: 0 };
        let ids: Vec<_> = cluster.view.ids().collect();
        ids.into_iter().for_each(|id| cluster.run(id, Input::Started));
        cluster
    }

    /// Hands `input` to `node`, and what it sends to whom it is for, until nobody has anything to say.
    fn run(&mut self, node: NodeId, input: Input) {
        let mut queue = VecDeque::from([(node, input)]);
        while let Some((id, input)) = queue.pop_front() {
            let (node, store) = self.hosts.get_mut(&id).unwrap();
            let mut outbox = Outbox::default();
            node.handle(Time(0), input, store, &mut outbox);
            for output in outbox.outputs {
                match output {
                    Output::Send(envelope) => {
                        self.sent.push(envelope.clone());
                        if self.lost > 0 {
                            self.lost -= 1;
                        } else {
                            queue.push_back((envelope.to, Input::Peer(envelope)));
                        }
                    }
                    Output::Event(event) => self.events.push((id, event)),
                    _ => {}
                }
            }
        }
    }

    /// As many beats of every node as it takes to have everybody for a partner.
    fn beat(&mut self) {
        let ids: Vec<_> = self.view.ids().collect();
        for _ in 1..ids.len() {
            ids.iter().for_each(|id| self.run(*id, Input::Timer(Timer::Exchange)));
        }
    }

    fn hold(&mut self, node: NodeId, key: &Key, set: &Siblings) {
        let store = &mut self.hosts.get_mut(&node).unwrap().1;
        let record = Record { set: set.clone(), minter: None, amnesiac: false };
        store.apply(vec![Change::Put(Place::home(key.clone()), record)]).unwrap();
    }

    fn held(&self, node: NodeId, key: &Key) -> Option<&Siblings> {
        let records = &self.hosts[&node].1.records;
        records.get(&Place::home(key.clone())).map(|record| &record.set)
    }
}

fn key(index: usize) -> Key {
    Key::from(format!("key-{index}").as_str())
}

/// The version that actor `actor` wrote as its `counter`-th, over all it wrote before.
fn written(actor: u64, counter: u64) -> Siblings {
    let actor = Actor { identity: Identity(1000 + actor), birth: 0 };
    let version = Version { dot: Dot { actor, counter }, timestamp: 0, value: Some("v".into()) };
    let context = VersionVector::from_iter([(actor, counter)]);
    Siblings::Dotted(DottedSet::from_parts(context, vec![version]).unwrap())
}

fn merged(sets: &[Siblings]) -> Siblings {
    let mut all = sets[0].clone();
    for set in sets {
        all.merge(set);
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever homes hold, afterwards each holds the merge of what all of them held; and nobody else has
    /// heard of it.
    #[test]
    fn afterwards_every_home_holds_all_that_any_of_them_held(
        held in btree_map(0..300_usize, vec((0..5_usize, 0..4_u64, 1..4_u64), 1..4), 0..200),
    ) {
        let mut cluster = Cluster::new(5, 3);
        let mut expected = BTreeMap::new();
        for (index, holders) in held {
            let key = key(index);
            let mut sets = Vec::new();
            for (slot, actor, counter) in holders {
                let Some(home) = cluster.view.homes(&key).get(slot).copied() else { continue };
                let mut set = written(actor, counter);
                if let Some(before) = cluster.held(home, &key) {
                    set.merge(before);
                }
                cluster.hold(home, &key, &set);
                sets.push(set);
            }
            if !sets.is_empty() {
                expected.insert(key, merged(&sets));
            }
        }
        cluster.beat();
        for (key, set) in &expected {
            let homes = cluster.view.homes(key);
            for id in cluster.view.ids() {
                let held = cluster.held(id, key);
                prop_assert_eq!(held, homes.contains(&id).then_some(set), "{} at {}", key, id);
            }
        }
        // Then there is nothing to say but that.
        cluster.sent.clear();
        cluster.beat();
        let is_comparison = |sent: &Envelope| {
            matches!(sent.message, Message::Compare { .. } | Message::Compared { .. })
        };
        prop_assert!(cluster.sent.iter().all(is_comparison));
        prop_assert_eq!(cluster.sent.len(), 2 * 5 * 4);
        prop_assert!(cluster.hosts.values().all(|(node, _)| node.open_operations() == 0));
    }
}

/// Two homes of so many keys, all of which both hold, and all the stores' own work is not looked at.
fn equal(keys: usize) -> Cluster {
    let mut cluster = Cluster::new(2, 2);
    for index in 0..keys {
        for id in [NodeId(1), NodeId(2)] {
            cluster.hold(id, &key(index), &written(1, 1));
        }
    }
    cluster.sent.clear();
    cluster
}

const BEAT: Input = Input::Timer(Timer::Exchange);

#[test]
fn equal_homes_exchange_one_question_and_one_answer() {
    let mut cluster = equal(3000);
    cluster.run(NodeId(1), BEAT);
    assert_eq!(cluster.sent.len(), 2);
    let told = Event::Exchanged { with: NodeId(2), keys: 0 };
    assert!(cluster.events.contains(&(NodeId(1), told)));
}

#[test]
fn what_differs_is_found_in_as_many_rounds_as_the_tree_is_deep_and_nothing_else_is_moved() {
    let mut cluster = equal(3000);
    for index in [5, 700, 2999] {
        cluster.hold(NodeId(1), &key(index), &written(1, 2));
    }
    cluster.hold(NodeId(2), &key(700), &written(2, 1));
    cluster.hold(NodeId(2), &key(5000), &written(2, 1));
    cluster.run(NodeId(1), BEAT);
    let count = |name| cluster.sent.iter().filter(|sent| sent.message.name() == name).count();
    // 3000 keys in parts of 16, until at most 32 are left: three levels, a round each.
    assert_eq!((count("compare"), count("compared")), (3, 3));
    // Four keys differ; one of them the asker lacked, so there was nothing to store.
    assert_eq!((count("fetch"), count("fetched")), (4, 4));
    assert_eq!((count("store"), count("stored")), (3, 3));
    for index in [5, 700, 2999, 5000] {
        assert_eq!(cluster.held(NodeId(1), &key(index)), cluster.held(NodeId(2), &key(index)));
    }
    assert_eq!(cluster.held(NodeId(1), &key(700)).unwrap().len(), 2, "neither had read the other");
}

#[test]
fn an_empty_home_takes_all_that_another_has_whoever_begins() {
    for begins in [NodeId(1), NodeId(2)] {
        let mut cluster = Cluster::new(2, 2);
        for index in 0..1500 {
            cluster.hold(NodeId(1), &key(index), &written(1, 1));
        }
        cluster.run(begins, BEAT);
        for index in 0..1500 {
            assert_eq!(cluster.held(NodeId(2), &key(index)), Some(&written(1, 1)));
        }
    }
}

#[test]
fn an_exchange_that_nobody_answers_is_given_up_at_the_next_beat_and_begun_anew() {
    let mut cluster = equal(100);
    cluster.hold(NodeId(1), &key(3), &written(1, 2));
    for lost in 1..6 {
        cluster.lost = lost;
        cluster.run(NodeId(1), BEAT);
    }
    cluster.lost = 0;
    // One beat finds that the last one's exchange moved, or not; the other one is whole.
    cluster.run(NodeId(1), BEAT);
    cluster.run(NodeId(1), BEAT);
    assert_eq!(cluster.held(NodeId(2), &key(3)), Some(&written(1, 2)));
    assert_eq!(cluster.hosts[&NodeId(1)].0.open_operations(), 0);
}

#[test]
fn contexts_that_differ_alone_are_no_difference() {
    let mut cluster = equal(10);
    let Siblings::Dotted(set) = written(1, 1) else { unreachable!() };
    let mut context = set.context().clone();
    context.raise(Actor { identity: Identity(77), birth: 0 }, 3);
    let set = DottedSet::from_parts(context, set.versions().to_vec()).unwrap();
    cluster.hold(NodeId(1), &key(3), &Siblings::Dotted(set));
    cluster.run(NodeId(1), BEAT);
    assert_eq!(cluster.sent.len(), 2, "one question, one answer");
}

#[test]
fn homes_of_another_view_compare_nothing() {
    let mut cluster = equal(10);
    let op = dynamo_protocol::OpId { incarnation: 1, seq: 1 };
    let asked = vec![(Span::RING, Fingerprint::default())];
    let message = Message::Compare { op, epoch: Epoch(2), between: Between::Homes, asked };
    let (from, to, identity) = (NodeId(2), NodeId(1), Identity(2));
    let envelope = Envelope {
        from,
        identity,
        position: 0,
        epoch: Epoch::GENESIS,
        to,
        era: 0,
        heard: None,
        message,
    };
    cluster.run(to, Input::Peer(envelope));
    let Message::Compared { found, .. } = &cluster.sent[0].message else { panic!() };
    assert!(found.is_empty());
}

/// An amnesiac that is told nonsense by the one other home.
fn told(found: impl Fn(Span) -> Compared) -> Cluster {
    let mut cluster = Cluster::new(2, 2);
    let me = cluster.hosts.get_mut(&NodeId(1)).unwrap();
    let meta = Meta::renewed(Identity(11));
    let (settings, view) = (Arc::clone(me.0.settings()), Arc::clone(me.0.view()));
    me.0 = Node::new(NodeId(1), settings, view, Start::proven(meta, 99));
    me.1 = MemoryStore::new(meta);
    cluster.run(NodeId(1), Input::Started);
    cluster.hold(NodeId(2), &key(1), &written(1, 1));
    cluster.lost = 1;
    cluster.run(NodeId(1), BEAT);
    for _ in 0..9 {
        let Some(sent) = cluster.sent.last().cloned() else { break };
        let Message::Compare { op, asked, .. } = sent.message else { break };
        let found = asked.iter().map(|(span, _)| found(*span)).collect();
        let message = Message::Compared { op, found, counts: vec![Span::RING] };
        let (from, to, identity) = (NodeId(2), NodeId(1), Identity(2));
        let envelope = Envelope {
            from,
            identity,
            position: 0,
            epoch: Epoch::GENESIS,
            to,
            heard: None,
            era: 0,
            message,
        };
        cluster.sent.clear();
        cluster.lost = 1;
        cluster.run(to, Input::Peer(envelope));
    }
    cluster
}

#[test]
fn parts_that_are_none_of_the_span_end_no_amnesia_and_no_patience() {
    let whole = Fingerprint { keys: 99, sum: 1 };
    for count in [0, 1, 15, 17, 1000] {
        let cluster = told(|_| Compared::Parts(vec![whole; count]));
        assert!(cluster.hosts[&NodeId(1)].0.meta().amnesiac, "{count} parts");
        assert!(cluster.sent.is_empty(), "{count} parts: it is at its end");
    }
    // Of this one the amnesiac was told all there is.
    assert!(!told(|_| Compared::Equal).hosts[&NodeId(1)].0.meta().amnesiac);
}

#[test]
fn who_asks_for_more_than_an_exchange_does_is_told_nothing() {
    let mut cluster = equal(10);
    let op = dynamo_protocol::OpId { incarnation: 1, seq: 1 };
    let asked = vec![(Span::RING, Fingerprint::default()); 17];
    let message = Message::Compare { op, epoch: Epoch::GENESIS, between: Between::Homes, asked };
    let (from, to, identity) = (NodeId(2), NodeId(1), Identity(2));
    let envelope = Envelope {
        from,
        identity,
        position: 0,
        epoch: Epoch::GENESIS,
        to,
        era: 0,
        heard: None,
        message,
    };
    cluster.run(to, Input::Peer(envelope));
    let Message::Compared { found, .. } = &cluster.sent[0].message else { panic!() };
    assert!(found.is_empty());
}

#[test]
fn keys_that_a_peer_makes_up_are_not_asked_for() {
    let mut cluster = Cluster::new(5, 3);
    cluster.lost = 1;
    cluster.run(NodeId(1), BEAT);
    let asked = cluster.sent.last().unwrap().clone();
    let Message::Compare { op, .. } = asked.message else { panic!("{asked:?}") };
    let foreign = (0..).map(key).find(|key| !cluster.view.homes(key).contains(&NodeId(1))).unwrap();
    let found = vec![Compared::Keys(vec![(foreign, dynamo_protocol::Leaf(1))])];
    let (from, to, identity) = (asked.to, asked.from, Identity(asked.to.0.into()));
    let message = Message::Compared { op, found, counts: vec![Span::RING] };
    cluster.sent.clear();
    let envelope = Envelope {
        from,
        identity,
        position: 0,
        epoch: Epoch::GENESIS,
        to,
        era: 0,
        heard: None,
        message,
    };
    cluster.run(NodeId(1), Input::Peer(envelope));
    assert_eq!(cluster.sent, []);
}

#[test]
fn a_node_without_anti_entropy_begins_none_and_answers() {
    let settings = Settings { anti_entropy: false, ..Settings::new([2, 1, 1]) };
    let members = (1..=2).map(|id| Member::new(NodeId(id), 8)).collect();
    let view = Arc::new(View::genesis(&settings, members).unwrap());
    let meta = Meta::genesis(Identity(1));
    let mut store = MemoryStore::new(meta);
    let mut node = Node::new(NodeId(1), Arc::new(settings), view, Start::proven(meta, 1));
    let mut outbox = Outbox::default();
    node.handle(Time(0), Input::Started, &mut store, &mut outbox);
    assert!(
        !outbox.outputs.iter().any(|output| matches!(output, Output::SetTimer(Timer::Exchange, _)))
    );
    assert!(store.records.keys().all(|place| place.role == Role::Home));
}
