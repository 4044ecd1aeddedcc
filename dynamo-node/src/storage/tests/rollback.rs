//! A node starts on a journal that lost its end, and its keys are put again through it: whatever it
//! lost, all homes come to hold the same, and nothing that was acknowledged is gone.
//!
//! Three members with N = 3: one on a real directory, two on stores in memory, and between them links
//! that keep their order and one drawn scheduler. Time is virtual.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dynamo_protocol::{
    Change, ClientOp, Context, Envelope, Event, Fingerprint, Identity, Input, Key, Leaf, Member,
    MemoryStore, Meta, Node, NodeId, Outbox, Output, Place, Quorum, Record, Reply, RequestId,
    Settings, Siblings, Span, Start, Store, StoreError, Time, Timer, Versioning, View,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use super::super::mark::{Mark, Marked};
use super::super::{Directory, DirectoryError, FjallEngine, Origin, Records, State, peers};
use super::{copy, cut, journal, open, owner, written};

/// The one whose journal is cut.
const VICTIM: NodeId = NodeId(1);
const MEMBERS: [NodeId; 3] = [VICTIM, NodeId(2), NodeId(3)];
const KEYS: u64 = 12;

/// What a directory is made to look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Loss {
    /// The journal lost its end, and everything else is what it was.
    Cut,
    /// The whole directory is as it was when its journal ended there: only its peers can know.
    PutBack,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Came {
    /// The directory was refused, and wiped as the error says.
    Wiped,
    /// The directory noticed by itself.
    Renewed,
    /// A peer remembered more of it.
    RolledBack,
    /// Nobody missed anything.
    Whole,
}

enum Disk {
    Real(Box<(Directory, Records)>),
    Memory(Box<MemoryStore>),
}

struct Host {
    node: Node,
    disk: Disk,
    timers: BTreeMap<Timer, Duration>,
}

/// What a client does with one key through one node.
#[derive(Clone, Copy, Debug)]
enum Ask {
    Get,
    Put,
    /// A get, and then a put with its context.
    Overwrite,
}

#[derive(Clone, Debug)]
enum Waiting {
    Get,
    GetToOverwrite,
    Put(Bytes),
}

#[derive(Clone, Debug)]
struct Put {
    read: Vec<Bytes>,
    acknowledged: bool,
}

/// All that clients know.
#[derive(Clone, Default)]
struct Clients {
    next: u64,
    waiting: BTreeMap<RequestId, (NodeId, Key, Waiting)>,
    /// By key and value; no value is put twice.
    puts: BTreeMap<Key, BTreeMap<Bytes, Put>>,
}

struct Cluster {
    quorum: Quorum,
    hosts: BTreeMap<NodeId, Host>,
    links: BTreeMap<(NodeId, NodeId), VecDeque<Envelope>>,
    clients: Clients,
    now: Duration,
    starts: u64,
    rng: StdRng,
    rolled_back: bool,
}

impl Store for Disk {
    fn record(&self, place: &Place) -> Result<Option<Record>, StoreError> {
        match self {
            Self::Real(real) => real.1.record(place),
            Self::Memory(store) => store.record(place),
        }
    }

    fn hints(
        &self,
        target: NodeId,
        after: Option<&Key>,
        most: usize,
    ) -> Result<Vec<Key>, StoreError> {
        match self {
            Self::Real(real) => real.1.hints(target, after, most),
            Self::Memory(store) => store.hints(target, after, most),
        }
    }

    fn fingerprint(&self, span: Span) -> Result<Fingerprint, StoreError> {
        match self {
            Self::Real(real) => real.1.fingerprint(span),
            Self::Memory(store) => store.fingerprint(span),
        }
    }

    fn leaves(&self, span: Span, most: usize) -> Result<Vec<(Key, Leaf)>, StoreError> {
        match self {
            Self::Real(real) => real.1.leaves(span, most),
            Self::Memory(store) => store.leaves(span, most),
        }
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        match self {
            Self::Real(real) => real.1.apply(changes),
            Self::Memory(store) => store.apply(changes),
        }
    }

    fn position(&self) -> u64 {
        match self {
            Self::Real(real) => Store::position(&real.1),
            Self::Memory(store) => store.position(),
        }
    }
}

impl Disk {
    fn real(directory: Directory) -> Self {
        let records = Records::open(&directory, Versioning::Dotted).unwrap();
        Self::Real(Box::new((directory, records)))
    }

    /// Makes everything durable.
    fn sync(&mut self) {
        if let Self::Real(real) = self {
            let (directory, records) = &mut **real;
            if let Some(batch) = records.take_batch() {
                let number = batch.number;
                directory.commit(batch).unwrap();
                records.committed(number);
            }
        }
    }
}

impl Clients {
    /// Whether `live` holds `value`, or a put that had read it, or one that had read that one.
    fn is_held(&self, key: &Key, value: &Bytes, live: &BTreeSet<Bytes>) -> bool {
        live.contains(value)
            || self.puts[key]
                .iter()
                .any(|(later, put)| put.read.contains(value) && self.is_held(key, later, live))
    }

    /// What is wrong if all homes hold `live` of `key`.
    fn judge(&self, key: &Key, live: &BTreeSet<Bytes>) -> Option<String> {
        let puts = &self.puts[key];
        let held = |value| self.is_held(key, value, live);
        let lost = puts.iter().find(|(value, put)| put.acknowledged && !held(value));
        let overwritten =
            |value| puts.iter().any(|(later, put)| put.read.contains(value) && held(later));
        let back = live.iter().find(|value| overwritten(value));
        let unknown = live.iter().find(|value| !puts.contains_key(*value));
        lost.map(|(value, _)| format!("{value:?} is lost"))
            .or_else(|| back.map(|value| format!("{value:?} was overwritten and is back")))
            .or_else(|| unknown.map(|value| format!("{value:?} was never put")))
    }
}

impl Cluster {
    fn new(quorum: Quorum, seed: u64) -> Self {
        Self {
            quorum,
            hosts: BTreeMap::new(),
            links: BTreeMap::new(),
            clients: Clients::default(),
            now: Duration::ZERO,
            starts: 0,
            rng: StdRng::seed_from_u64(seed),
            rolled_back: false,
        }
    }

    /// As it is, without the victim; what happens then is drawn from `seed`.
    fn rest(&self, seed: u64) -> Self {
        let memory = |(id, host): (&NodeId, &Host)| match &host.disk {
            Disk::Memory(store) => {
                let (node, timers) = (host.node.clone(), host.timers.clone());
                Some((*id, Host { node, disk: Disk::Memory(store.clone()), timers }))
            }
            Disk::Real(_) => None,
        };
        Self {
            hosts: self.hosts.iter().filter_map(memory).collect(),
            links: self.links.clone(),
            clients: self.clients.clone(),
            now: self.now,
            starts: self.starts,
            ..Self::new(self.quorum, seed)
        }
    }

    fn start(&mut self, id: NodeId, disk: Disk, is_new: bool) {
        let members = MEMBERS.map(|id| Member::new(id, 4)).to_vec();
        // Timers that never end would keep the cluster from ever being at rest.
        let settings =
            Settings { quorum: self.quorum, anti_entropy: false, ..Settings::new([3, 2, 2]) };
        let view = View::genesis(&settings, members).unwrap();
        self.starts += 1;
        let (meta, heard) = match &disk {
            Disk::Real(real) => (real.0.meta, peers::read(&*real.0.engine).unwrap()),
            Disk::Memory(store) => (store.meta, store.heard.clone()),
        };
        let spare = (!is_new).then(|| Identity(1000 + self.starts));
        let start = Start { heard, spare, ..Start::proven(meta, self.starts) };
        let node = Node::new(id, Arc::new(settings), Arc::new(view), start);
        self.hosts.insert(id, Host { node, disk, timers: BTreeMap::new() });
        self.take(id, Input::Started);
    }

    /// The process ends, with all links to it and all requests of its clients.
    fn stop(&mut self, id: NodeId) -> Option<Host> {
        self.links.retain(|(from, to), _| *from != id && *to != id);
        self.clients.waiting.retain(|_, (through, ..)| *through != id);
        let host = self.hosts.remove(&id);
        for other in MEMBERS.into_iter().filter(|other| *other != id) {
            self.take(other, Input::Unreachable(id));
        }
        host
    }

    fn take(&mut self, id: NodeId, input: Input) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let mut outbox = Outbox::default();
        let now = Time(u64::try_from(self.now.as_micros()).unwrap());
        host.node.handle(now, input, &mut host.disk, &mut outbox);
        host.disk.sync();
        for output in outbox.outputs {
            match output {
                Output::Send(envelope) => {
                    // Nothing waits for a process that is not there.
                    if self.hosts.contains_key(&envelope.to) {
                        let link = self.links.entry((envelope.from, envelope.to)).or_default();
                        link.push_back(envelope);
                    }
                }
                Output::Reply(request, reply) => self.replied(request, reply),
                Output::SetTimer(timer, after) => {
                    let due = self.now + after;
                    self.hosts.get_mut(&id).unwrap().timers.insert(timer, due);
                }
                Output::CancelTimer(timer) => {
                    self.hosts.get_mut(&id).unwrap().timers.remove(&timer);
                }
                Output::Event(event) => {
                    self.rolled_back |= matches!(event, Event::RolledBack { .. });
                }
            }
        }
    }

    fn ask(&mut self, through: NodeId, key: Key, ask: Ask) {
        match ask {
            Ask::Get => self.request(through, key, Waiting::Get, Context::default(), Vec::new()),
            Ask::Overwrite => {
                let waiting = Waiting::GetToOverwrite;
                self.request(through, key, waiting, Context::default(), Vec::new());
            }
            Ask::Put => self.put(through, key, Context::default(), Vec::new()),
        }
    }

    fn put(&mut self, through: NodeId, key: Key, context: Context, read: Vec<Bytes>) {
        let value = Bytes::from(format!("value {}", self.clients.next));
        self.request(through, key, Waiting::Put(value), context, read);
    }

    fn request(
        &mut self,
        through: NodeId,
        key: Key,
        waiting: Waiting,
        context: Context,
        read: Vec<Bytes>,
    ) {
        let request = RequestId(self.clients.next);
        self.clients.next += 1;
        let op = match &waiting {
            Waiting::Put(value) => {
                let puts = self.clients.puts.entry(key.clone()).or_default();
                puts.insert(value.clone(), Put { read, acknowledged: false });
                ClientOp::Put { key: key.clone(), context, value: Some(value.clone()) }
            }
            Waiting::Get | Waiting::GetToOverwrite => ClientOp::Get { key: key.clone() },
        };
        self.clients.waiting.insert(request, (through, key, waiting));
        self.take(through, Input::Client { request, op });
    }

    fn replied(&mut self, request: RequestId, reply: Reply) {
        let (through, key, waiting) = self.clients.waiting.remove(&request).unwrap();
        match (waiting, reply) {
            (Waiting::GetToOverwrite, Reply::Got { values, context }) => {
                self.put(through, key, context, values);
            }
            (Waiting::Put(value), Reply::Done { .. }) => {
                let puts = self.clients.puts.get_mut(&key).unwrap();
                puts.get_mut(&value).unwrap().acknowledged = true;
            }
            (Waiting::Put(value), Reply::Refused(_)) => {
                self.clients.puts.get_mut(&key).unwrap().remove(&value);
            }
            _ => {}
        }
    }

    /// Does what clients ask and delivers what is sent, in a drawn order, until nothing is to be done: or
    /// only until clients have asked everything.
    fn run(&mut self, mut asked: VecDeque<(NodeId, Key, Ask)>, to_rest: bool) {
        for _ in 0..100_000 {
            if asked.is_empty() && !to_rest {
                return;
            }
            let busy = self.links.iter().filter(|(_, link)| !link.is_empty());
            let busy: Vec<_> = busy.map(|(ends, _)| *ends).collect();
            let choices = busy.len() + usize::from(!asked.is_empty());
            if choices == 0 {
                if !self.next_timer() {
                    return;
                }
                continue;
            }
            let chosen = self.rng.random_range(0..choices);
            if let Some(ends) = busy.get(chosen) {
                let envelope = self.links.get_mut(ends).unwrap().pop_front().unwrap();
                self.take(ends.1, Input::Peer(envelope));
            } else {
                let (through, key, ask) = asked.pop_front().unwrap();
                self.ask(through, key, ask);
            }
        }
        panic!("it does not come to rest");
    }

    /// Time goes on to the next timer, if any runs.
    fn next_timer(&mut self) -> bool {
        let timers = self
            .hosts
            .iter()
            .flat_map(|(id, host)| host.timers.iter().map(move |(timer, due)| (*due, *id, *timer)));
        let Some((due, id, timer)) = timers.min() else { return false };
        self.now = self.now.max(due);
        self.hosts.get_mut(&id).unwrap().timers.remove(&timer);
        self.take(id, Input::Timer(timer));
        true
    }

    fn held(&self, id: NodeId, key: &Key) -> Siblings {
        let record = self.hosts[&id].disk.record(&Place::home(key.clone())).unwrap();
        record.map_or_else(|| Siblings::empty(Versioning::Dotted), |record| record.set)
    }

    /// All homes hold the same, and that is what it has to be.
    fn check(&self, what: &str) {
        for key in self.clients.puts.keys() {
            let sets = MEMBERS.map(|id| self.held(id, key));
            assert!(sets.iter().all(|set| *set == sets[0]), "{what}: {key:?} diverged: {sets:#?}");
            let live = sets[0].values().into_iter().collect();
            let wrong = self.clients.judge(key, &live);
            assert_eq!(wrong, None, "{what}: {key:?} is {live:?} in all homes");
        }
    }
}

fn key(n: u64) -> Key {
    Key::from(format!("key-{n}").as_str())
}

/// A cluster that has written for a while, and the directory of the victim, which has stopped with requests
/// of its clients and messages under way.
struct Before {
    cluster: Cluster,
    folder: TempDir,
    identity: Identity,
    end: u64,
}

impl Before {
    fn new(quorum: Quorum) -> Self {
        const ASKED: u64 = 120;
        let folder = TempDir::new().unwrap();
        let mut cluster = Cluster::new(quorum, 1);
        for id in MEMBERS {
            let disk = if id == VICTIM {
                let directory = Directory::open(folder.path(), &owner(), Origin::GENESIS).unwrap();
                Disk::real(directory)
            } else {
                let meta = Meta::genesis(Identity(u64::from(id.0)));
                Disk::Memory(Box::new(MemoryStore::counting(meta)))
            };
            cluster.start(id, disk, true);
        }
        let asked = (0..ASKED).map(|n| {
            let through = if n % 3 == 2 { MEMBERS[1 + (n % 2) as usize] } else { VICTIM };
            let ask = if n % 5 < 2 { Ask::Put } else { Ask::Overwrite };
            (through, key(n * n % KEYS), ask)
        });
        cluster.run(asked.collect(), false);
        let victim = cluster.stop(VICTIM).unwrap();
        let identity = victim.node.meta().identity;
        drop(victim);
        let end = written(&journal(folder.path()));
        Self { cluster, folder, identity, end }
    }

    /// The victim starts on what is left of its journal at place `place` of `places`.
    fn trial(&self, loss: Loss, place: u64, places: u64) -> Came {
        let at = self.end * place / places;
        let what = format!("{loss:?} at {at} of {}, {:?}", self.end, self.cluster.quorum);
        let left = TempDir::new().unwrap();
        copy(self.folder.path(), left.path());
        cut(&journal(left.path()), at);
        if loss == Loss::PutBack {
            put_back_mark(&left);
        }
        let directory = match open(left.path()) {
            Ok(directory) => directory,
            Err(error @ DirectoryError::Damaged { .. }) => {
                assert!(error.to_string().contains("wipe the directory"), "{what}: {error}");
                fs::remove_dir_all(left.path()).unwrap();
                open(left.path()).unwrap()
            }
            Err(error) => panic!("{what}: {error}"),
        };
        let mut cluster = self.cluster.rest(place * 2 + loss as u64);
        // What peers remember outlives them.
        for id in [MEMBERS[1], MEMBERS[2]] {
            if cluster.rng.random() {
                let host = cluster.stop(id).unwrap();
                cluster.start(id, host.disk, false);
            }
        }
        let (is_new, identity) = (directory.is_new, directory.meta.identity);
        cluster.start(VICTIM, Disk::real(directory), is_new);
        let again = (0..2 * KEYS)
            .map(|n| (VICTIM, key(n % KEYS), if n % 3 == 0 { Ask::Overwrite } else { Ask::Put }));
        cluster.run(again.collect(), true);
        for id in MEMBERS {
            cluster.run((0..KEYS).map(|n| (id, key(n), Ask::Get)).collect(), true);
        }
        cluster.check(&what);
        match identity {
            _ if is_new => Came::Wiped,
            identity if identity != self.identity => Came::Renewed,
            _ if cluster.rolled_back => Came::RolledBack,
            _ => Came::Whole,
        }
    }
}

/// The mark is what it was when the engine held what it holds now.
fn put_back_mark(folder: &TempDir) {
    let engine = FjallEngine::open_made(&folder.path().join(super::super::directory::ENGINE));
    let Ok(engine) = engine else { return };
    let Ok(Some(Ok(state))) = State::read(&engine) else { return };
    let (mut mark, _) = Mark::open(&folder.path().join("mark")).unwrap();
    mark.settle(Marked::of(&state, true)).unwrap();
}

/// Each of `places` of the journal, both ways; how often what came of it.
fn all(places: u64) -> BTreeMap<(Loss, Came), usize> {
    let before = [Quorum::Sloppy, Quorum::Strict].map(Before::new);
    let half = |first: u64| {
        let mut came = BTreeMap::new();
        for place in (first..places).step_by(2) {
            for (loss, quorum) in [(Loss::Cut, place / 2), (Loss::PutBack, place / 2 + 1)] {
                let before = &before[(quorum % 2) as usize];
                *came.entry((loss, before.trial(loss, place, places))).or_insert(0) += 1;
            }
        }
        came
    };
    let mut counts = BTreeMap::new();
    let halves = std::thread::scope(|scope| {
        [0, 1].map(|first| scope.spawn(move || half(first))).map(|half| half.join().unwrap())
    });
    for (came, count) in halves.into_iter().flatten() {
        *counts.entry(came).or_insert(0) += count;
    }
    counts
}

fn count(counts: &BTreeMap<(Loss, Came), usize>, loss: Loss, came: Came) -> usize {
    counts.get(&(loss, came)).copied().unwrap_or(0)
}

#[test]
fn a_node_whose_journal_was_cut_neither_diverges_nor_loses() {
    let counts = all(20);
    assert!(count(&counts, Loss::Cut, Came::Renewed) > 15, "{counts:?}");
    assert!(count(&counts, Loss::PutBack, Came::RolledBack) > 12, "{counts:?}");
}

/// `cargo test --release -p dynamo-node --lib a_thousand_rollbacks -- --ignored --nocapture`, with
/// `TMPDIR=/dev/shm` to spare the disk.
#[test]
#[ignore = "two thousand starts: a quarter of a minute of a release build; twenty places run always"]
fn a_thousand_rollbacks_neither_diverge_nor_lose() {
    const PLACES: u64 = 1000;
    let counts = all(PLACES);
    for ((loss, came), count) in &counts {
        println!("{loss:?} {came:?}: {count}");
    }
    assert_eq!(counts.values().sum::<usize>() as u64, 2 * PLACES);
}
