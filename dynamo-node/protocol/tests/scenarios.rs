//! Golden scenarios: scripts of one situation each, with what the cluster does written below every command.
//!
//! `UPDATE=1 cargo golden` rewrites the expectations. It is fine to do so when a change is *meant* to
//! alter what nodes do; read the difference line by line first.
//!
//! The key of a script is `k`. Hosts are named by their part in its preference list: `A`, `B`, `C`
//! are its homes in slot order, `D`, `E` its fallbacks.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use dynamo_protocol::{
    Actor, ClientOp, Context, Envelope, Event, Identity, Input, Key, Member, MemoryStore, Message,
    Meta, Node, NodeId, Outbox, Output, Place, Record, Reply, RequestId, Role, Settings, Siblings,
    Start, Store, StoreError, Time, Timer, View,
};

/// A memory store some of whose records are corrupt.
#[derive(Clone)]
struct Disk {
    store: MemoryStore,
    corrupt: BTreeSet<Place>,
}

impl Store for Disk {
    fn record(&self, place: &Place) -> Result<Option<Record>, StoreError> {
        if self.corrupt.contains(place) {
            Err(StoreError::Corrupt)
        } else {
            self.store.record(place)
        }
    }

    fn hints(
        &self,
        target: NodeId,
        after: Option<&Key>,
        most: usize,
    ) -> Result<Vec<Key>, StoreError> {
        self.store.hints(target, after, most)
    }

    fn apply(&mut self, changes: Vec<dynamo_protocol::Change>) -> Result<(), StoreError> {
        for change in &changes {
            if let dynamo_protocol::Change::Put(place, _) = change {
                self.corrupt.remove(place);
            }
        }
        self.store.apply(changes)
    }

    fn position(&self) -> u64 {
        self.store.position()
    }
}

struct Host {
    node: Node,
    disk: Disk,
    timers: BTreeSet<Timer>,
    running: bool,
    /// A backup of the disk.
    backup: Option<MemoryStore>,
    /// Identities drawn since genesis.
    drawn: u64,
}

struct World {
    /// Disks tell their position, and no start knows whether its disk was rolled back.
    counts: bool,
    hosts: BTreeMap<NodeId, Host>,
    /// In preference order of `k`.
    order: Vec<NodeId>,
    flight: Vec<Envelope>,
    /// Directed links that lose everything.
    cut: BTreeSet<(NodeId, NodeId)>,
    contexts: BTreeMap<u64, Context>,
    requests: u64,
    starts: u64,
    now: u64,
    out: String,
}

fn key() -> Key {
    Key::from("k")
}

impl World {
    fn new(words: &[&str]) -> Self {
        let option =
            |name: &str| words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let number = |name, default| option(name).map_or(default, |text| text.parse().unwrap());
        let members: Vec<_> = (1..=number("nodes", 4))
            .map(|id| Member { id: NodeId(id as u16), tokens: 8 })
            .collect();
        let mut settings = Settings::new([number("n", 3), number("r", 2), number("w", 2)]);
        settings.quorum = option("quorum").map_or(settings.quorum, |word| word.parse().unwrap());
        settings.read = option("read").map_or(settings.read, |word| word.parse().unwrap());
        let versioning = option("versioning").map(|word| word.parse().unwrap());
        settings.versioning = versioning.unwrap_or(settings.versioning);
        let limits = &mut settings.limits;
        limits.actors = number("actors", limits.actors);
        limits.set_bytes = number("set_bytes", limits.set_bytes);
        limits.siblings = number("siblings", limits.siblings);
        let (settings, view) =
            (Arc::new(settings), Arc::new(View::genesis(&settings, members).unwrap()));
        let mut world = Self {
            counts: words.contains(&"counting"),
            hosts: BTreeMap::new(),
            order: view.ring().preference_list(&key()).to_vec(),
            flight: Vec::new(),
            cut: BTreeSet::new(),
            contexts: BTreeMap::new(),
            requests: 0,
            starts: 0,
            now: 0,
            out: String::new(),
        };
        for id in view.ids() {
            world.starts += 1;
            let meta = Meta::genesis(Identity(u64::from(id.0)));
            let start = Start::proven(meta, world.starts);
            let node = Node::new(id, Arc::clone(&settings), Arc::clone(&view), start);
            let disk = Disk { store: world.store(meta), corrupt: BTreeSet::new() };
            let (timers, running, backup, drawn) = (BTreeSet::new(), true, None, 0);
            world.hosts.insert(id, Host { node, disk, timers, running, backup, drawn });
        }
        world
    }

    fn store(&self, meta: Meta) -> MemoryStore {
        if self.counts { MemoryStore::counting(meta) } else { MemoryStore::new(meta) }
    }

    /// An identity that no directory has had: the node's number and a hundred for each that was drawn.
    fn draw(&mut self, id: NodeId) -> Identity {
        let host = self.hosts.get_mut(&id).unwrap();
        host.drawn += 1;
        Identity(u64::from(id.0) + 100 * host.drawn)
    }

    fn host(&self, letter: &str) -> NodeId {
        let index = letter.as_bytes()[0] - b'A';
        self.order[usize::from(index)]
    }

    fn letter(&self, id: NodeId) -> char {
        let index = self.order.iter().position(|host| *host == id).unwrap();
        (b'A' + index as u8) as char
    }

    fn say(&mut self, line: &str) {
        writeln!(self.out, "{line}").unwrap();
    }

    fn step(&mut self, id: NodeId, input: Input) {
        let host = self.hosts.get_mut(&id).unwrap();
        if !host.running {
            return;
        }
        let mut outbox = Outbox::default();
        self.now += 1;
        host.node.handle(Time(self.now), input, &mut host.disk, &mut outbox);
        for output in outbox.outputs {
            self.carry_out(id, output);
        }
    }

    fn carry_out(&mut self, id: NodeId, output: Output) {
        let timers = &mut self.hosts.get_mut(&id).unwrap().timers;
        match output {
            Output::Send(envelope) => {
                if self.cut.contains(&(envelope.from, envelope.to)) {
                    return;
                }
                self.flight.push(envelope);
            }
            Output::SetTimer(timer, _) => drop(timers.insert(timer)),
            Output::CancelTimer(timer) => drop(timers.remove(&timer)),
            Output::Reply(RequestId(request), reply) => {
                let text = self.reply(&reply);
                if let Reply::Got { context, .. } = reply {
                    self.contexts.insert(request, context);
                }
                self.say(&format!("#{request} {text}"));
            }
            Output::Event(event) => {
                if let Some(text) = self.event(&event) {
                    let line = format!("{}: {text}", self.letter(id));
                    self.say(&line);
                }
            }
        }
    }

    fn reply(&self, reply: &Reply) -> String {
        match reply {
            Reply::Got { values, context } => {
                let values: Vec<_> = values.iter().map(|v| v.escape_ascii().to_string()).collect();
                format!("got [{}] {}", values.join(" "), self.lettered(&context.0.to_string()))
            }
            Reply::Done => "done".into(),
            Reply::Refused(refusal) => format!("refused: {refusal}"),
            Reply::TimedOut => "timed out".into(),
        }
    }

    fn event(&self, event: &Event) -> Option<String> {
        Some(match event {
            Event::HintStored(target) => format!("keeps a hint for {}", self.letter(*target)),
            Event::HintDelivered(target) => format!("hint for {} delivered", self.letter(*target)),
            Event::ReadRepair(home) => format!("repairs {}", self.letter(*home)),
            Event::Down(peer) => format!("holds {} down", self.letter(*peer)),
            Event::Up(peer) => format!("holds {} up", self.letter(*peer)),
            Event::ForwardedTo(home) => format!("forwards to {}", self.letter(*home)),
            Event::Discarded(from, why) => format!("discards {why:?} of {}", self.letter(*from)),
            Event::Pruned(entries) => format!("forgets {entries} entries"),
            Event::StoreFailed(_, error) => format!("storage: {error}"),
            Event::Acknowledged { holders, .. } => {
                let holders: String = holders.iter().map(|holder| self.letter(*holder)).collect();
                format!("acknowledges, held by {holders}")
            }
            Event::Proven => "is told by all that nothing is missing".into(),
            Event::RolledBack { told_by, .. } => {
                format!("was rolled back, says {}", self.letter(*told_by))
            }
            Event::Coordinating { .. } | Event::Minted { .. } => return None,
        })
    }

    /// Identities are the node numbers (each that was drawn 100 more): shown by their host's letter, with a
    /// stroke for each.
    fn lettered(&self, text: &str) -> String {
        let mut shown = text.to_string();
        let hosts = self.hosts.iter();
        for (id, drawn) in hosts.flat_map(|(id, host)| (0..=host.drawn).map(move |n| (id, n))) {
            let identity = format!("{:x}", u64::from(id.0) + 100 * drawn);
            let renewed = "'".repeat(drawn as usize);
            for separator in [":", "/", "."] {
                for before in ["{", " ", "@"] {
                    shown = shown.replace(
                        &format!("{before}{identity}{separator}"),
                        &format!("{before}{}{renewed}{separator}", self.letter(*id)),
                    );
                }
            }
        }
        shown
    }

    fn request(&mut self, id: NodeId, op: ClientOp) {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.step(id, Input::Client { request, op });
    }

    fn put(&mut self, words: &[&str], value: Option<&str>) {
        let read = words.iter().find_map(|word| word.strip_prefix("read=#"));
        let mut context =
            read.map(|n| self.contexts[&n.parse().unwrap()].clone()).unwrap_or_default();
        let forged = words.iter().find_map(|word| word.strip_prefix("forged="));
        for stranger in 0..forged.map_or(0, |n| n.parse().unwrap()) {
            context.0.raise(Actor { identity: Identity(900 + stranger), birth: 0 }, 1);
        }
        let value = value.map(|text| Bytes::copy_from_slice(text.as_bytes()));
        self.request(self.host(words[0]), ClientOp::Put { key: key(), context, value });
    }

    fn deliver(&mut self, envelope: Envelope, aloud: bool) {
        if self.cut.contains(&(envelope.from, envelope.to)) {
            return;
        }
        if aloud {
            let (from, to) = (self.letter(envelope.from), self.letter(envelope.to));
            self.say(&format!("{from} -> {to} {}", envelope.message.name()));
        }
        self.step(envelope.to, Input::Peer(envelope));
    }

    /// Delivers, oldest first, the messages (of one name) on one link, or all until none is left.
    fn run(&mut self, link: Option<(NodeId, NodeId)>, name: Option<&str>) {
        match link {
            Some(link) => {
                let on_link = |envelope: &Envelope| {
                    (envelope.from, envelope.to) == link
                        && name.is_none_or(|name| envelope.message.name() == name)
                };
                let (now, later) = self.flight.drain(..).partition(on_link);
                self.flight = later;
                let now: Vec<_> = now;
                now.into_iter().for_each(|envelope| self.deliver(envelope, true));
            }
            None => {
                while !self.flight.is_empty() {
                    let envelope = self.flight.remove(0);
                    self.deliver(envelope, false);
                }
            }
        }
    }

    fn fire(&mut self, id: NodeId, kind: &str) {
        let due = self.hosts[&id].timers.iter().copied().filter(|timer| match timer {
            Timer::Patience(_) => kind == "patience",
            Timer::Deadline(_) => kind == "deadline",
            Timer::Ping(_) => kind == "ping",
            Timer::Handoff(_) => kind == "handoff",
        });
        for timer in due.collect::<Vec<_>>() {
            if self.hosts.get_mut(&id).unwrap().timers.remove(&timer) {
                self.step(id, Input::Timer(timer));
            }
        }
    }

    fn restart(&mut self, id: NodeId) {
        let spare = self.counts.then(|| self.draw(id));
        self.start(id, spare);
    }

    fn start(&mut self, id: NodeId, spare: Option<Identity>) {
        self.starts += 1;
        let incarnation = self.starts;
        let host = self.hosts.get_mut(&id).unwrap();
        let (settings, view) = (Arc::clone(host.node.settings()), Arc::clone(host.node.view()));
        let (meta, heard) = (host.disk.store.meta, host.disk.store.heard.clone());
        host.node = Node::new(id, settings, view, Start { meta, heard, incarnation, spare });
        host.timers.clear();
        host.running = true;
        self.step(id, Input::Started);
    }

    fn wipe(&mut self, id: NodeId) {
        let identity = self.draw(id);
        let store = self.store(Meta::renewed(identity));
        self.hosts.get_mut(&id).unwrap().disk.store = store;
        self.start(id, None);
    }

    fn back_up(&mut self, id: NodeId) {
        let host = self.hosts.get_mut(&id).unwrap();
        host.backup = Some(host.disk.store.clone());
    }

    /// The process has ended, what it said has arrived or is lost, and the disk is as it was.
    fn restore(&mut self, id: NodeId) {
        self.flight.retain(|envelope| envelope.from != id);
        let host = self.hosts.get_mut(&id).unwrap();
        host.running = false;
        host.disk.store = host.backup.clone().unwrap();
    }

    fn show(&mut self) {
        for id in self.order.clone() {
            let host = &self.hosts[&id];
            let records = host.disk.store.records.iter().map(|(place, record)| {
                let role = match place.role {
                    Role::Home => "home".into(),
                    Role::Hint(target) => format!("hint for {}", self.letter(target)),
                };
                let amnesiac = if record.amnesiac { ", amnesiac" } else { "" };
                format!("{role} {}{amnesiac}", self.set(&record.set))
            });
            let records = records.collect::<Vec<_>>();
            let text = if records.is_empty() { "nothing".into() } else { records.join("; ") };
            let line = format!("{}: {text}", self.letter(id));
            self.say(&line);
        }
    }

    fn set(&self, set: &Siblings) -> String {
        let value = |value: &Option<Bytes>| {
            value.as_ref().map_or("tombstone".into(), |bytes| bytes.escape_ascii().to_string())
        };
        let text = match set {
            Siblings::Dotted(set) => {
                let versions =
                    set.versions().iter().map(|v| format!("{}@{}", value(&v.value), v.dot));
                format!("[{}] {}", versions.collect::<Vec<_>>().join(", "), set.context())
            }
            Siblings::Plain(set) => {
                let versions =
                    set.versions().iter().map(|v| format!("{} {}", value(&v.value), v.clock));
                format!("[{}]", versions.collect::<Vec<_>>().join(", "))
            }
        };
        self.lettered(&text)
    }

    fn command(&mut self, line: &str) {
        let words: Vec<_> = line.split_whitespace().collect();
        let rest = &words[1..];
        match words[0] {
            "put" => self.put(rest, Some(rest[1])),
            "delete" => self.put(rest, None),
            "get" => self.request(self.host(rest[0]), ClientOp::Get { key: key() }),
            "run" => self.run(None, None),
            "deliver" => {
                let link = (self.host(rest[0]), self.host(rest[1]));
                self.run(Some(link), rest.get(2).copied());
            }
            "repeat" => {
                let link = (self.host(rest[0]), self.host(rest[1]));
                let on_link = |envelope: &&Envelope| (envelope.from, envelope.to) == link;
                let copies: Vec<_> = self.flight.iter().filter(on_link).cloned().collect();
                copies.into_iter().for_each(|envelope| self.deliver(envelope, true));
            }
            "drop" => {
                let link = (self.host(rest[0]), self.host(rest[1]));
                self.flight.retain(|envelope| (envelope.from, envelope.to) != link);
            }
            "isolate" => self.isolate(self.host(rest[0])),
            "heal" => self.cut.clear(),
            "unreachable" => {
                let peer = self.host(rest[1]);
                self.step(self.host(rest[0]), Input::Unreachable(peer));
            }
            "fire" => self.fire(self.host(rest[0]), rest[1]),
            "crash" => self.hosts.get_mut(&self.host(rest[0])).unwrap().running = false,
            "restart" => self.restart(self.host(rest[0])),
            "wipe" => self.wipe(self.host(rest[0])),
            "back-up" => self.back_up(self.host(rest[0])),
            "restore" => self.restore(self.host(rest[0])),
            "forget" => {
                let id = self.host(rest[0]);
                self.hosts.get_mut(&id).unwrap().disk.store.records.remove(&Place::home(key()));
            }
            "corrupt" | "mend" => {
                let id = self.host(rest[0]);
                let role = rest.get(1).map_or(Role::Home, |target| Role::Hint(self.host(target)));
                let place = Place { role, key: key() };
                let corrupt = &mut self.hosts.get_mut(&id).unwrap().disk.corrupt;
                if words[0] == "corrupt" {
                    corrupt.insert(place)
                } else {
                    corrupt.remove(&place)
                };
            }
            "prune" => self.step(self.host(rest[0]), Input::Prune(key())),
            "flight" => self.show_flight(),
            "show" => self.show(),
            other => panic!("no such verb: {other}"),
        }
    }

    fn show_flight(&mut self) {
        for envelope in self.flight.clone() {
            let (from, to) = (self.letter(envelope.from), self.letter(envelope.to));
            let role = match envelope.message {
                Message::Store { role: Role::Hint(target), .. } => {
                    format!(" as hint for {}", self.letter(target))
                }
                _ => String::new(),
            };
            self.say(&format!("{from} -> {to} {}{role}", envelope.message.name()));
        }
    }

    fn isolate(&mut self, id: NodeId) {
        for other in self.order.clone().into_iter().filter(|other| *other != id) {
            self.cut.extend([(id, other), (other, id)]);
        }
    }
}

/// Runs a script: blocks of a command, `----`, and what it printed, parted by blank lines.
fn play(script: &str) -> String {
    let mut world = None;
    let mut shown = String::new();
    for block in script.split("\n\n").map(str::trim).filter(|block| !block.is_empty()) {
        if block.starts_with('#') {
            writeln!(shown, "{block}\n").unwrap();
            continue;
        }
        let commands = block.split("----").next().unwrap().trim();
        for command in commands.lines() {
            let words: Vec<_> = command.split_whitespace().collect();
            match (words[0], &mut world) {
                ("cluster", world) => *world = Some(World::new(&words)),
                (_, Some(world)) => world.command(command),
                (_, None) => panic!("a script begins with `cluster`"),
            }
        }
        let out = std::mem::take(&mut world.as_mut().unwrap().out);
        writeln!(shown, "{commands}\n----\n{out}").unwrap();
    }
    shown.trim_end().to_string() + "\n"
}

#[test]
fn every_scenario_does_what_its_script_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut played = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let script = fs::read_to_string(&path).unwrap();
        let shown = play(&script);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &shown).unwrap();
        }
        let differs = script.lines().zip(shown.lines()).position(|(a, b)| a != b);
        assert!(
            script == shown || std::env::var_os("UPDATE").is_some(),
            "{} differs from line {:?}; it now reads:\n{shown}",
            path.display(),
            differs.map(|line| line + 1),
        );
        played += 1;
    }
    assert!(played >= 10, "the scenarios are gone: {played} left");
}
