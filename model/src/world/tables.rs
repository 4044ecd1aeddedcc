//! Interned values and remembered steps.
//!
//! A world is a few numbers: each host, message and context is kept once and named by its number
//! ("collapse": Holzmann, State Compression in SPIN, 1997), and what a host does on an input is
//! computed once per pair, however many worlds the pair occurs in. The core runs for each pair that
//! is new; all else is looking up.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use dynamo_protocol::{
    ClockedVersion, Context, Dot, DottedSet, Envelope, Event, Input, MemoryStore, Message, NodeId,
    OpId, Output, Place, Reply, RequestId, Role, Siblings, Timer, VersionVector,
};
use hashbrown::HashTable;
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use crate::properties::rest::Drained;
use crate::reductions::symmetry::{Swap, Swapped};
use crate::world::host::{Host, HostInput, Stepped};
use crate::world::script::Versions;
use crate::world::spec::{MAX_NODES, Setup};

/// Values kept once, named by their numbers.
pub(crate) struct Interner<T> {
    values: Vec<T>,
    /// For each value its hash, and those of what it is with clients swapped.
    hashes: Vec<u64>,
    swaps: Arc<[Swap]>,
    index: HashTable<u32>,
}

/// A message's ends and sort.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire {
    pub(crate) from: u8,
    pub(crate) to: u8,
    pub(crate) sort: Sort,
    /// The operation it belongs to, at its coordinator, forwarder or deliverer.
    pub(crate) op: Option<OpId>,
    /// It brings versions for another home than its receiver.
    pub(crate) hint: bool,
    /// It is a get that is forwarded.
    pub(crate) gets: bool,
}

/// What a message is to the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Changes its receiver's disk.
    Store,
    /// Reads it.
    Fetch,
    /// A client's request under way to a home.
    Forward,
    /// Is this host up?
    Ping,
    /// Ends something that waits for it.
    Answer,
}

/// What a step did, as far as worlds care.
#[derive(Debug)]
pub(crate) struct Effect {
    pub(crate) host: u32,
    /// Inputs of the receivers.
    pub(crate) sends: SmallVec<[u32; 4]>,
    pub(crate) replies: Vec<(RequestId, Reply)>,
    /// Those the monitor asks for.
    pub(crate) events: Vec<Event>,
    pub(crate) mints: SmallVec<[Mint; 1]>,
    pub(crate) panicked: bool,
}

/// A put got its version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mint {
    /// In which record.
    pub(crate) role: Role,
    pub(crate) stamp: u32,
    /// The put, if its value tells.
    pub(crate) writer: Option<u8>,
    /// The request, if a client of this host made it.
    pub(crate) request: Option<RequestId>,
}

/// How a version is known apart from its value: its dot, or under plain clocks its clock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stamp {
    Dot(Dot),
    Clock(VersionVector),
}

/// Which operations count as open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Open {
    /// Every one.
    All,
    /// Those that may still tell somebody something.
    Unfinished,
    /// The same, where no host fails any more: nobody is asked in the place of one.
    UnfinishedInCalm,
}

/// The names of a host's open operations, oldest first, by what counts as [`Open`].
pub(crate) type Operations = [SmallVec<[OpId; 4]>; 3];

/// What is asked of a host again and again.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) up: bool,
    pub(crate) unsynced: bool,
    pub(crate) records: Vec<RecordFacts>,
    /// Timers that are set, and the input each becomes.
    pub(crate) timers: Vec<(Timer, u32)>,
    pub(crate) has_home_record: bool,
    pub(crate) operations: Operations,
    /// Those that somebody waits for, and the operation of another host that does, if not a client.
    pub(crate) awaited: SmallVec<[(OpId, Option<OpId>); 2]>,
    /// The operations of other hosts among these.
    pub(crate) awaited_by: SmallVec<[OpId; 2]>,
    /// The place of the membership it goes by among all of them.
    pub(crate) epoch: usize,
    /// It is a home that does not count yet.
    pub(crate) fills: bool,
    /// Offers of strays that are open.
    pub(crate) offers: SmallVec<[OpId; 1]>,
    /// Its own names are those that [`Host::renamed`] gives.
    pub(crate) renamed: bool,
}

/// One record on the host's disk.
#[derive(Clone, Debug)]
pub(crate) struct RecordFacts {
    /// None for the home record.
    pub(crate) target: Option<NodeId>,
    /// Live values, by the number of the put that wrote each.
    pub(crate) live: Versions,
    /// A live value that no put of the script wrote.
    pub(crate) foreign: bool,
    /// Stamps of the live tombstones.
    pub(crate) tombs: SmallVec<[u32; 2]>,
    /// What the record has seen.
    pub(crate) context: u32,
    pub(crate) siblings: u8,
}

/// Hosts at rest, and what is under way between them.
type AtRest = (SmallVec<[u32; MAX_NODES]>, SmallVec<[u32; 12]>);

/// All that is kept for one model.
pub(crate) struct Tables {
    pub(crate) swaps: Arc<[Swap]>,
    pub(crate) hosts: Interner<Host>,
    pub(crate) inputs: Interner<HostInput>,
    pub(crate) contexts: Interner<Context>,
    pub(crate) stamps: Interner<Stamp>,
    facts: Vec<Arc<Facts>>,
    wires: Vec<Option<Wire>>,
    /// By host: what it does on each input it was given. Few inputs a host, asked for one after
    /// the other: they are looked through in order.
    effects: Vec<Vec<(u32, Arc<Effect>)>>,
    /// Hosts that an input changes, where nothing else was asked of what it does.
    changing: FxHashSet<(u32, u32)>,
    under: FxHashMap<(u32, u32), bool>,
    pub(crate) renamed_messages: FxHashMap<(u32, OpId), u32>,
    pub(crate) renamed_hosts: FxHashMap<(u32, Open, SmallVec<[OpId; 2]>), u32>,
    /// Whether a host that crashes and starts is as before.
    pub(crate) steady: FxHashMap<(u32, Open), bool>,
    /// What becomes of hosts at rest and of what is under way between them.
    pub(crate) drained: FxHashMap<AtRest, Drained>,
    /// The first assertion of the core that failed.
    pub(crate) panic: Option<String>,
}

/// Of every hash.
const SEED: u64 = 0x243f_6a88_85a3_08d3;

/// A hash that depends on the value alone: not on the process, not on the run.
pub(crate) fn stable_hash(value: &impl Hash) -> u64 {
    let mut hasher = Folded(SEED);
    value.hash(&mut hasher);
    hasher.finish()
}

fn swapped_hash(value: &impl Hash, swap: &Swap) -> u64 {
    let mut hasher = Swapped { inner: Folded(SEED), swap };
    value.hash(&mut hasher);
    hasher.finish()
}

/// Words folded in by a full multiplication, both halves kept (wyhash: Wang 2019). States are hashed
/// word by word, most words are short, and nobody picks them to collide.
struct Folded(u64);

impl Folded {
    fn fold(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word)
            * u128::from(0x9e37_79b9_7f4a_7c15_u64 ^ word.rotate_left(32));
        let [low, high] = [product as u64, (product >> 64) as u64];
        self.0 = (low ^ high).wrapping_add(0x1319_8a2e_0370_7344).rotate_left(17);
    }
}

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        scramble(self.0)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.fold(u64::from_le_bytes(word));
        }
        self.fold(bytes.len() as u64);
    }

    fn write_u8(&mut self, number: u8) {
        self.fold(u64::from(number));
    }

    fn write_u16(&mut self, number: u16) {
        self.fold(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.fold(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.fold(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.fold(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.fold(number as u64);
    }
}

/// The finalizer of splitmix64 (Steele, Lea, Flood 2014): spreads a weak hash over all bits.
pub(crate) fn scramble(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

impl<T: Hash + Eq> Interner<T> {
    pub(crate) fn new(swaps: Arc<[Swap]>) -> Self {
        Self { values: Vec::new(), hashes: Vec::new(), swaps, index: HashTable::new() }
    }

    /// The number of `value`; whether it is new.
    pub(crate) fn intern(&mut self, value: T) -> (u32, bool) {
        let hash = stable_hash(&value);
        match self.find(hash, &value) {
            Some(at) => (at, false),
            None => (self.add(hash, value), true),
        }
    }

    fn find(&self, hash: u64, value: &T) -> Option<u32> {
        let same = |at: &u32| self.hash(*at) == hash && self.values[*at as usize] == *value;
        self.index.find(hash, same).copied()
    }

    fn add(&mut self, hash: u64, value: T) -> u32 {
        let at = u32::try_from(self.values.len()).expect("memory ends before numbers do");
        self.hashes.push(hash);
        self.hashes.extend(self.swaps.iter().map(|swap| swapped_hash(&value, swap)));
        self.values.push(value);
        let hash_of = |at: &u32| self.hashes[*at as usize * (1 + self.swaps.len())];
        self.index.insert_unique(hash, at, hash_of);
        at
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn get(&self, number: u32) -> &T {
        &self.values[number as usize]
    }

    /// A hash of the value that does not depend on its number.
    pub(crate) fn hash(&self, number: u32) -> u64 {
        self.swapped(number, 0)
    }

    /// The same, of what it is after swap `swap`, counted from 1; 0 is none.
    pub(crate) fn swapped(&self, number: u32, swap: usize) -> u64 {
        self.hashes[number as usize * (1 + self.swaps.len()) + swap]
    }
}

impl Tables {
    /// Context 0 is the empty one; stamp 0 is none's.
    pub(crate) fn new(swaps: Vec<Swap>) -> Self {
        // Contexts and stamps name events, not clients.
        let none: Arc<[Swap]> = Arc::new([]);
        let swaps: Arc<[Swap]> = swaps.into();
        let mut contexts = Interner::new(none.clone());
        contexts.intern(Context::default());
        let mut stamps = Interner::new(none);
        stamps.intern(Stamp::Clock(VersionVector::default()));
        Self {
            hosts: Interner::new(swaps.clone()),
            inputs: Interner::new(swaps.clone()),
            swaps,
            contexts,
            stamps,
            facts: Vec::new(),
            wires: Vec::new(),
            effects: Vec::new(),
            changing: FxHashSet::default(),
            under: FxHashMap::default(),
            renamed_messages: FxHashMap::default(),
            renamed_hosts: FxHashMap::default(),
            steady: FxHashMap::default(),
            drained: FxHashMap::default(),
            panic: None,
        }
    }

    pub(crate) fn host(&mut self, setup: &Setup, host: Host) -> u32 {
        let hash = stable_hash(&host);
        if let Some(number) = self.hosts.find(hash, &host) {
            return number;
        }
        let facts = self.look_at(setup, &host);
        self.facts.push(Arc::new(facts));
        self.effects.push(Vec::new());
        self.hosts.add(hash, host)
    }

    pub(crate) fn input(&mut self, setup: &Setup, input: HostInput) -> u32 {
        let (number, new) = self.inputs.intern(input);
        if new {
            let wire = match self.inputs.get(number) {
                HostInput::Handle(Input::Peer(envelope)) => Some(wire(setup, envelope)),
                _ => None,
            };
            self.wires.push(wire);
        }
        number
    }

    pub(crate) fn context(&mut self, context: Context) -> u32 {
        self.contexts.intern(context).0
    }

    pub(crate) fn facts(&self, host: u32) -> &Arc<Facts> {
        &self.facts[host as usize]
    }

    /// The message that input `number` brings.
    pub(crate) fn wire(&self, number: u32) -> Wire {
        self.wires[number as usize].expect("only messages are in flight")
    }

    /// What `host` does on `input`.
    pub(crate) fn effect(&mut self, setup: &Setup, host: u32, input: u32) -> Arc<Effect> {
        if let Some(effect) = self.known(host, input) {
            return effect.clone();
        }
        let stepped = self.hosts.get(host).step(setup, self.inputs.get(input));
        self.keep(setup, host, input, stepped)
    }

    fn keep(&mut self, setup: &Setup, host: u32, input: u32, stepped: Stepped) -> Arc<Effect> {
        let is_mint = |output: &Output| matches!(output, Output::Event(Event::Minted { .. }));
        let mints = if stepped.outputs.iter().any(is_mint) {
            let before = self.hosts.get(host).store.clone();
            self.mints(setup, &before, &stepped)
        } else {
            SmallVec::new()
        };
        let mut effect = Effect {
            host: self.host(setup, stepped.host),
            sends: SmallVec::new(),
            replies: Vec::new(),
            events: Vec::new(),
            mints,
            panicked: stepped.panic.is_some(),
        };
        for output in stepped.outputs {
            match output {
                Output::Send(envelope) => {
                    let input = HostInput::Handle(Input::Peer(envelope));
                    effect.sends.push(self.input(setup, input));
                }
                Output::Reply(request, reply) => effect.replies.push((request, reply)),
                // What nobody looks at need not be kept.
                Output::Event(event) if is_observed(&event) => effect.events.push(event),
                Output::Event(_) => {}
                Output::SetTimer(..) | Output::CancelTimer(_) => {}
            }
        }
        self.panic = self.panic.take().or(stepped.panic);
        effect.replies.shrink_to_fit();
        effect.events.shrink_to_fit();
        let effect = Arc::new(effect);
        self.effects[host as usize].push((input, effect.clone()));
        effect
    }

    fn known(&self, host: u32, input: u32) -> Option<&Arc<Effect>> {
        let known = self.effects[host as usize].iter().find(|(known, _)| *known == input);
        known.map(|(_, effect)| effect)
    }

    /// What `host` does on `input` if it is as before afterwards. Of a host that it would be otherwise,
    /// and may never be, nothing is kept.
    pub(crate) fn effect_if_same(
        &mut self,
        setup: &Setup,
        host: u32,
        input: u32,
    ) -> Option<Arc<Effect>> {
        if let Some(effect) = self.known(host, input) {
            return (effect.host == host).then(|| effect.clone());
        }
        if self.changing.contains(&(host, input)) {
            return None;
        }
        let before = self.hosts.get(host);
        let stepped = before.step(setup, self.inputs.get(input));
        if stepped.host == *before {
            return Some(self.keep(setup, host, input, stepped));
        }
        self.changing.insert((host, input));
        None
    }

    /// Whether `host` after `input` is as before and nobody hears of it.
    pub(crate) fn changes_nothing(&mut self, setup: &Setup, host: u32, input: u32) -> bool {
        let effect = self.effect_if_same(setup, host, input);
        effect.is_some_and(|effect| effect.sends.is_empty() && effect.replies.is_empty())
    }

    /// Whether a client that holds `context` claims to have read the version under `stamp`.
    pub(crate) fn claims(&mut self, context: u32, stamp: u32) -> bool {
        let (contexts, stamps) = (&self.contexts, &self.stamps);
        *self.under.entry((context, stamp)).or_insert_with(|| {
            let vector = &contexts.get(context).0;
            match stamps.get(stamp) {
                Stamp::Dot(dot) => vector.contains(dot),
                Stamp::Clock(clock) => clock.actors() > 0 && vector.covers(clock),
            }
        })
    }

    fn mints(
        &mut self,
        setup: &Setup,
        before: &MemoryStore,
        stepped: &Stepped,
    ) -> SmallVec<[Mint; 1]> {
        let mut mints = SmallVec::new();
        let mut coordinating = None;
        for output in &stepped.outputs {
            match output {
                Output::Event(Event::Coordinating { request, role, .. }) => {
                    coordinating = Some((*request, *role));
                }
                Output::Event(Event::Minted { dot, .. }) => {
                    let (request, role) = coordinating.expect("a put is coordinated, then minted");
                    let place = Place { role, key: setup.key.clone() };
                    let after = &stepped.host.store;
                    if let Some((stamp, value)) = minted(&place, *dot, before, after) {
                        let stamp = self.stamps.intern(stamp).0;
                        let writer = value.and_then(|value| setup.script.writer(&value));
                        mints.push(Mint { role, stamp, writer, request });
                    }
                }
                _ => {}
            }
        }
        mints
    }

    fn look_at(&mut self, setup: &Setup, host: &Host) -> Facts {
        let timers = host
            .timers
            .iter()
            .map(|timer| (*timer, self.input(setup, HostInput::Handle(Input::Timer(*timer)))));
        let timers = timers.collect();
        let disk = host.disk();
        let records =
            disk.records.iter().map(|(place, record)| self.record(setup, place, &record.set));
        let awaited: SmallVec<[_; 2]> = host.node.iter().flat_map(|node| node.awaited()).collect();
        Facts {
            up: host.node.is_some(),
            unsynced: host.durable.is_some() || !host.held.is_empty(),
            records: records.collect(),
            timers,
            operations: host.operations(),
            awaited_by: awaited
                .iter()
                .filter_map(|(_, by)| *by)
                .chain(host.node.iter().flat_map(|node| node.kept()))
                .collect(),
            awaited,
            epoch: host.node.as_ref().map_or(0, |node| {
                usize::try_from(node.view().epoch().0 - 1).expect("there are few epochs")
            }),
            fills: host.node.as_ref().is_some_and(|node| node.filling() > 0),
            offers: host.node.iter().flat_map(|node| node.offers()).collect(),
            renamed: host.is_renamed(),
            has_home_record: host.store.records.contains_key(&Place::home(setup.key.clone())),
        }
    }

    fn record(&mut self, setup: &Setup, place: &Place, set: &Siblings) -> RecordFacts {
        let writers: Vec<_> = set.values().iter().map(|value| setup.script.writer(value)).collect();
        let tombs = tombstones(set);
        RecordFacts {
            target: match place.role {
                Role::Home => None,
                Role::Hint(target) => Some(target),
            },
            live: writers.iter().flatten().fold(0, |live, number| live | 1 << number),
            foreign: writers.contains(&None),
            tombs: tombs.into_iter().map(|stamp| self.stamps.intern(stamp).0).collect(),
            context: self.context(set.context()),
            siblings: u8::try_from(set.len()).unwrap_or(u8::MAX),
        }
    }
}

/// Whether the monitor looks at such an event.
fn is_observed(event: &Event) -> bool {
    use Event::{
        Acknowledged, CountedAnew, Filled, HintDelivered, HintStored, IdleForgotten, ReadRepair,
        Synced, TombstoneDropped,
    };
    matches!(
        event,
        HintStored(_)
            | HintDelivered(_)
            | Acknowledged { .. }
            | ReadRepair(_)
            | Synced(_)
            | Filled { .. }
            | CountedAnew(_)
            | TombstoneDropped
            | IdleForgotten(_)
    )
}

fn wire(setup: &Setup, envelope: &Envelope) -> Wire {
    let sort = match &envelope.message {
        Message::Forward { .. } => Sort::Forward,
        Message::Store { .. } => Sort::Store,
        Message::Fetch { .. } | Message::Compare { .. } | Message::Settle { .. } => Sort::Fetch,
        Message::Ping { .. } => Sort::Ping,
        Message::Forwarded { .. }
        | Message::Stored { .. }
        | Message::Fetched { .. }
        | Message::Compared { .. }
        | Message::Settled { .. }
        | Message::Register(_)
        | Message::Pong { .. } => Sort::Answer,
    };
    let op = envelope.message.op();
    let index = |id| u8::try_from(setup.index(id)).expect("there are few nodes");
    let hint = matches!(envelope.message, Message::Store { role: Role::Hint(_), .. });
    let gets = matches!(
        envelope.message,
        Message::Forward { request: dynamo_protocol::ClientOp::Get { .. }, .. }
    );
    Wire { from: index(envelope.from), to: index(envelope.to), sort, op, hint, gets }
}

fn tombstones(set: &Siblings) -> Vec<Stamp> {
    match set {
        Siblings::Dotted(set) => dots(set, |value| value.is_none()),
        Siblings::Plain(set) => {
            let tombs = set.versions().iter().filter(|version| version.value.is_none());
            tombs.map(|version| Stamp::Clock(version.clock.clone())).collect()
        }
    }
}

fn dots(set: &DottedSet, wanted: impl Fn(&Option<Bytes>) -> bool) -> Vec<Stamp> {
    let versions = set.versions().iter().filter(|version| wanted(&version.value));
    versions.map(|version| Stamp::Dot(version.dot)).collect()
}

/// The version a step minted at `place`: the core says the dot; a clock is found by comparing the
/// record before and after.
fn minted(
    place: &Place,
    dot: Option<Dot>,
    before: &MemoryStore,
    after: &MemoryStore,
) -> Option<(Stamp, Option<Bytes>)> {
    match (&after.records.get(place)?.set, dot) {
        (Siblings::Dotted(set), Some(dot)) => {
            let version = set.versions().iter().find(|version| version.dot == dot);
            Some((Stamp::Dot(dot), version.and_then(|version| version.value.clone())))
        }
        (Siblings::Plain(now), None) => {
            let then = before.records.get(place).map(|record| &record.set);
            let is_new = |version: &&ClockedVersion| match then {
                Some(Siblings::Plain(then)) => !then.versions().contains(version),
                _ => true,
            };
            let version = now.versions().iter().find(is_new)?;
            Some((Stamp::Clock(version.clock.clone()), version.value.clone()))
        }
        _ => None,
    }
}
