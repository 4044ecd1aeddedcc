//! What one record tells of the rules that the records of all nodes have to keep together: gathered while it
//! is replayed, since the outputs alone do not say what was kept.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};

use dynamo_protocol::{
    ClientOp, Dot, Envelope, Event, Identity, Input, Key, MemoryStore, Message, NodeId, OpId,
    Output, Place, Record, Role, Siblings,
};

use super::Start;
use super::together::Breach;
use super::watch::Applied;

/// A node from one start to its end, as far as others have to agree with it.
#[derive(Debug)]
pub struct Life {
    pub(super) node: NodeId,
    /// Unlike that of any other start: operations carry it.
    pub(super) incarnation: u64,
    /// So many hosts have to hold what is acknowledged.
    pub(super) w: usize,
    /// Its directory, and how far that had come; none of a life that took no step.
    pub(super) began: Option<(Identity, u64)>,
    /// What it held at the start.
    pub(super) found: u64,
    /// By position: whose the directory was, and what it held then. Rising.
    pub(super) kept: Vec<(u64, Identity, u64)>,
    /// Forwarded puts that became an event here.
    pub(super) minted: Vec<(OpId, Dot)>,
    /// Puts that were acknowledged, and the hosts that were counted.
    pub(super) acknowledged: Vec<(OpId, Vec<NodeId>)>,
    /// Versions that it took in for another's operation, and said so.
    pub(super) stored: HashSet<(OpId, u64)>,
    /// Whom it heard say so, under which identity, and what position was named.
    pub(super) heard: HashMap<(OpId, NodeId), (Identity, u64)>,
    /// By incarnation of another, how far its directory had come by its own messages.
    pub(super) told: HashMap<u64, u64>,
    /// Hints that went since their target has them: the operation, the target, and the versions.
    pub(super) delivered: Vec<(OpId, NodeId, u64)>,
    /// What was heard of events: what each wrote.
    pub(super) events: HashMap<Dot, u64>,
    /// What is wrong with it alone.
    pub(super) breaches: Vec<Breach>,
    /// A digest of each record that it holds, and the sum of all.
    digests: HashMap<Place, u64>,
    holds: u64,
    /// What the step that is taken was given.
    given: Given,
}

/// What of an input is still needed once its step was taken.
#[derive(Debug, Default)]
struct Given {
    forwarded: Option<OpId>,
    store: Option<(NodeId, OpId, Place, Siblings)>,
    stored: Option<(OpId, NodeId)>,
    positions: [u64; 2],
}

/// The same for equal ones, in every process.
fn digest(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

impl Life {
    pub(super) fn new(start: &Start) -> Self {
        Self {
            node: start.me,
            incarnation: start.start.incarnation,
            w: start.settings.w,
            began: None,
            found: 0,
            kept: Vec::new(),
            minted: Vec::new(),
            acknowledged: Vec::new(),
            stored: HashSet::new(),
            heard: HashMap::new(),
            told: HashMap::new(),
            delivered: Vec::new(),
            events: HashMap::new(),
            breaches: Vec::new(),
            digests: HashMap::new(),
            holds: 0,
            given: Given::default(),
        }
    }

    /// The directory held this when the node started.
    pub(super) fn found(&mut self, place: &Place, record: &Record) {
        self.put(place.clone(), Some(record));
        self.found = self.holds;
    }

    fn put(&mut self, place: Place, record: Option<&Record>) {
        let (before, now) = match record {
            Some(record) => {
                let now = digest(&(&place, record));
                (self.digests.insert(place, now), now)
            }
            None => (self.digests.remove(&place), 0),
        };
        self.holds = self.holds.wrapping_sub(before.unwrap_or(0)).wrapping_add(now);
    }

    /// A step begins, on this directory.
    pub(super) fn given(&mut self, input: &Input, positions: [u64; 2], store: &MemoryStore) {
        if self.began.is_none() {
            let identity = store.meta.identity;
            self.began = Some((identity, positions[0]));
            self.kept.push((positions[0], identity, self.holds));
        }
        self.given = Given { positions, ..Given::default() };
        let Input::Peer(envelope) = input else { return };
        self.hear(envelope);
    }

    fn hear(&mut self, Envelope { from, identity, position, message, .. }: &Envelope) {
        // What is asked names an operation of the asker, what is answered does not.
        if let Message::Forward { op, .. }
        | Message::Store { op, .. }
        | Message::Fetch { op, .. }
        | Message::Compare { op, .. } = message
        {
            let told = self.told.entry(op.incarnation).or_default();
            *told = (*told).max(*position);
        }
        if let Some(Siblings::Dotted(set)) = message.set() {
            for version in set.versions() {
                self.event(version.dot, digest(&version.value), *from);
            }
        }
        match message {
            Message::Forward { op, request: ClientOp::Put { .. } } => {
                self.given.forwarded = Some(*op);
            }
            Message::Store { op, role, key, set, lasts: _ } => {
                let place = Place { role: *role, key: key.clone() };
                self.given.store = Some((*from, *op, place, set.clone()));
            }
            Message::Stored { op, result: Ok(()), .. } => {
                self.heard.insert((*op, *from), (*identity, *position));
                self.given.stored = Some((*op, *from));
            }
            _ => {}
        }
    }

    fn event(&mut self, dot: Dot, wrote: u64, from: NodeId) {
        let before = *self.events.entry(dot).or_insert(wrote);
        if before != wrote {
            self.breach("one-value-a-dot", format!("{dot} comes from {from} with another value"));
        }
    }

    /// The step was taken.
    pub(super) fn came(&mut self, outputs: &[Output], applied: Vec<Applied>, store: &MemoryStore) {
        let mut gone = Vec::new();
        for Applied { place, before, now } in applied {
            self.put(place.clone(), now.as_ref());
            if let (Role::Hint(target), Some(before), None) = (place.role, before, now) {
                gone.push((target, place.key, before.set));
            }
        }
        let (position, identity) = (self.given.positions[1], store.meta.identity);
        match self.kept.last_mut() {
            Some(last) if last.0 == position => *last = (position, identity, self.holds),
            _ => self.kept.push((position, identity, self.holds)),
        }
        for output in outputs {
            match output {
                Output::Event(event) => self.happened(event),
                Output::Send(sent) => self.sent(sent, store),
                _ => {}
            }
        }
        for (target, key, set) in gone {
            self.hint_goes(outputs, (target, key, &set), store);
        }
    }

    /// Either its target said that it has it, or it became part of the holder's own record.
    fn hint_goes(
        &mut self,
        outputs: &[Output],
        (target, key, set): (NodeId, Key, &Siblings),
        store: &MemoryStore,
    ) {
        let told = |event: &Event| {
            outputs.iter().any(|out| matches!(out, Output::Event(it) if it == event))
        };
        let by = self.given.stored.filter(|(_, from)| *from == target);
        if let Some((op, _)) = by.filter(|_| told(&Event::HintDelivered(target))) {
            self.delivered.push((op, target, digest(&set.summary())));
            return;
        }
        let home = store.records.get(&Place::home(key.clone()));
        if !(told(&Event::HintAdopted) && home.is_some_and(|home| home.set.covers(set))) {
            let what = format!(
                "the hint of {key} for {target} goes, and {target} did not say that it has it"
            );
            self.breach("hint-accounting", what);
        }
    }

    fn happened(&mut self, event: &Event) {
        match event {
            Event::Minted { dot: Some(dot), .. } => {
                let forwarded = self.given.forwarded.take();
                self.minted.extend(forwarded.map(|op| (op, *dot)));
            }
            Event::Acknowledged { op, holders } => self.acknowledge(*op, holders.clone()),
            _ => {}
        }
    }

    fn acknowledge(&mut self, op: OpId, holders: Vec<NodeId>) {
        let hosts: HashSet<_> = holders.iter().collect();
        if hosts.len() < self.w {
            let what = format!("{op} is acknowledged by {} hosts of {}", hosts.len(), self.w);
            self.breach("copies-at-ack", what);
        }
        let unheard =
            |host: &&NodeId| **host != self.node && !self.heard.contains_key(&(op, **host));
        if let Some(host) = holders.iter().find(unheard) {
            let what = format!("{op} is acknowledged with {host}, which never said that it has it");
            self.breach("copies-at-ack", what);
        }
        self.acknowledged.push((op, holders));
    }

    fn sent(&mut self, sent: &Envelope, store: &MemoryStore) {
        let Message::Stored { op, result: Ok(()), .. } = &sent.message else { return };
        let Some((from, of, place, set)) = &self.given.store else { return };
        if of != op || *from != sent.to {
            return;
        }
        let home = Place::home(place.key.clone());
        let holds = |place: &Place| store.records.get(place).is_some_and(|it| it.set.covers(set));
        let taken = (*op, digest(&set.summary()));
        if !holds(place) && !holds(&home) {
            let what =
                format!("it says that it has what {op} brought of {}, and has not", place.key);
            self.breach("stored-is-held", what);
        }
        self.stored.insert(taken);
    }

    fn breach(&mut self, check: &'static str, what: String) {
        self.breaches.push(Breach { check, node: self.node, what });
    }
}
