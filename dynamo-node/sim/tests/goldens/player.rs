//! Plays golden scripts on the bare core: [README.md](README.md) says how they are written.
//!
//! Every command is one or more steps of a trace, so a script that was played is a trace as well.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use dynamo_protocol::{
    Actor, Answer, Compared, Context, Discard, Dot, Event, Fingerprint, Heard, Identity, Key,
    Message, Meta, NodeId, OpId, Place, Record, Remembered, Reply, RequestId, Role, Siblings, Skew,
    Span, Timer, VersionVector,
};
use dynamo_sim::bench::CLOCK_START;
use dynamo_sim::disk::DiskFault;
use dynamo_sim::trace::{Cluster, Op, Step, Sync, Trace};
use dynamo_sim::{Bench, Effect, Recorder};

/// What a command or one word of it did not make sense for.
type Refused = String;

const NO_SUCH: &str = "no such command: the README beside the goldens has them";

/// A script that was played.
pub(crate) struct Played {
    /// The script, with what each command did now.
    pub(crate) text: String,
    /// Its steps.
    pub(crate) trace: Trace,
}

/// The goldens in this folder: their names and their scripts.
pub(crate) fn goldens(folder: &Path) -> Vec<(String, String)> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let scripts = files.filter(|path| path.extension().is_some_and(|kind| kind == "txt"));
    let read = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(path).unwrap())
    };
    let mut goldens: Vec<_> = scripts.map(read).collect();
    goldens.sort();
    assert!(goldens.len() > 40, "the goldens are gone: {} are left", goldens.len());
    goldens
}

/// Plays a script.
///
/// # Errors
/// The first line that makes no sense.
pub(crate) fn play(name: &str, script: &str) -> Result<Played, Refused> {
    let mut player: Option<Player> = None;
    let mut text = String::new();
    for (line, paragraph) in paragraphs(script) {
        let at = |why: Refused| format!("line {line}: {why}");
        if paragraph.starts_with('#') {
            writeln!(text, "{paragraph}\n").unwrap();
            continue;
        }
        let command = paragraph.lines().next().unwrap_or_default();
        if paragraph.lines().nth(1).is_some_and(|second| second != "----") {
            return Err(at("one command, then ----, then its result".to_owned()));
        }
        let words: Vec<_> = command.split_whitespace().collect();
        let out = match (words.as_slice(), &mut player) {
            (["cluster", options @ ..], None) => {
                player.insert(Player::new(options).map_err(at)?).begin()
            }
            (_, None) => Err("a script begins with `cluster`".to_owned()),
            (words, Some(player)) => player.command(words),
        };
        let out = out.map_err(|why| at(format!("{command}: {why}")))?;
        writeln!(text, "{command}\n----\n{out}").unwrap();
    }
    let player = player.ok_or("a script begins with `cluster`")?;
    let trace = player.recorder.finish(name);
    Ok(Played { text: text.trim_end().to_owned() + "\n", trace })
}

/// The paragraphs, each with the number of its first line.
fn paragraphs(script: &str) -> impl Iterator<Item = (usize, String)> {
    let mut paragraphs: Vec<(usize, String)> = Vec::new();
    let mut is_open = false;
    for (number, line) in (1..).zip(script.lines().map(str::trim_end)) {
        match paragraphs.last_mut().filter(|_| is_open && !line.is_empty()) {
            Some((_, text)) => *text += &format!("\n{line}"),
            None if line.is_empty() => {}
            None => paragraphs.push((number, line.to_owned())),
        }
        is_open = !line.is_empty();
    }
    paragraphs.into_iter()
}

struct Player {
    recorder: Recorder,
    /// By letter: the preference list of `k`.
    order: Vec<NodeId>,
    requests: u64,
    starts: u64,
    /// How many identities were drawn for each node since the genesis.
    drawn: BTreeMap<NodeId, u64>,
    /// Nodes whose directory no process has started on.
    new: BTreeSet<NodeId>,
    /// The requests that operations belong to.
    asked: BTreeMap<OpId, RequestId>,
    out: String,
}

/// What a host has on its disk, and which timers run.
struct Snapshot {
    meta: Meta,
    heard: BTreeMap<NodeId, Remembered>,
    records: BTreeMap<Place, Record>,
    damaged: BTreeSet<Place>,
    timers: Vec<Timer>,
    unsynced: u64,
}

impl Snapshot {
    fn of(bench: &Bench, node: NodeId) -> Self {
        let host = bench.host(node);
        let disk = host.disk();
        let records = disk.records().map(|(place, record)| (place.clone(), record.clone()));
        let places = disk.records().map(|(place, _)| place);
        let damaged = places.filter(|place| disk.present(place).is_none()).cloned().collect();
        Self {
            damaged,
            meta: *disk.meta(),
            heard: disk.heard().clone(),
            records: records.collect(),
            timers: host.timers(),
            unsynced: disk.applied() - disk.synced(),
        }
    }
}

fn timer_set(effect: &Effect) -> Option<Timer> {
    match effect {
        Effect::TimerSet(_, timer, ..) => Some(*timer),
        _ => None,
    }
}

fn option<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, Refused> {
    text.parse().map_err(|_| format!("{text} makes no sense here"))
}

fn number(words: &[&str], name: &str, default: usize) -> Result<usize, Refused> {
    option(words, name).map_or(Ok(default), parsed)
}

fn refused(why: impl ToString) -> Refused {
    why.to_string()
}

/// The key that a command is about.
fn key(words: &[&str]) -> Bytes {
    Bytes::copy_from_slice(option(words, "key").unwrap_or("k").as_bytes())
}

fn known(words: &[&str], names: &[&str]) -> Result<(), Refused> {
    let is_known = |word: &&&str| names.contains(&word.split('=').next().unwrap_or_default());
    match words.iter().find(|word| !is_known(word)) {
        Some(word) => Err(format!("{word}: not one of {}", names.join(", "))),
        None => Ok(()),
    }
}

fn count(keys: u64) -> String {
    format!("{keys} {}", if keys == 1 { "key" } else { "keys" })
}

fn found_text(found: &Compared) -> String {
    match found {
        Compared::Equal => " equal".to_owned(),
        Compared::Parts(_) => " differs, in parts".to_owned(),
        Compared::Keys(keys) => {
            let names: Vec<_> = keys.iter().map(|(key, _)| key.to_string()).collect();
            format!(" differs, of [{}]", names.join(" "))
        }
    }
}

// The commands.
impl Player {
    fn new(options: &[&str]) -> Result<Self, Refused> {
        let names = ["nodes", "n", "r", "w", "quorum", "read", "versioning", "siblings", "actors"];
        known(options, &[&names[..], &["set_bytes", "sync", "counting", "anti_entropy"]].concat())?;
        let get = |name, default| number(options, name, default);
        let nodes = u16::try_from(get("nodes", 4)?).map_err(refused)?;
        let mut cluster = Cluster::new(nodes, [get("n", 3)?, get("r", 2)?, get("w", 2)?]);
        let settings = &mut cluster.settings;
        settings.quorum = option(options, "quorum").map_or(Ok(settings.quorum), parsed)?;
        settings.read = option(options, "read").map_or(Ok(settings.read), parsed)?;
        settings.versioning =
            option(options, "versioning").map_or(Ok(settings.versioning), parsed)?;
        settings.limits.siblings = get("siblings", settings.limits.siblings)?;
        settings.limits.actors = get("actors", settings.limits.actors)?;
        settings.limits.set_bytes = get("set_bytes", settings.limits.set_bytes)?;
        settings.anti_entropy = options.contains(&"anti_entropy");
        settings.check().map_err(refused)?;
        cluster.counts = options.contains(&"counting");
        cluster.sync = match option(options, "sync") {
            None => Sync::EachStep,
            Some("explicit") => Sync::Explicit,
            Some(other) => return Err(format!("sync={other}: it is explicit, or left out")),
        };
        let recorder = Recorder::new(cluster).map_err(refused)?;
        let (homes, others) = recorder.bench().view().preference_list(&Key::from("k"));
        let order = [homes, others].concat();
        Ok(Self {
            recorder,
            order,
            requests: 0,
            starts: 0,
            drawn: BTreeMap::new(),
            new: BTreeSet::new(),
            asked: BTreeMap::new(),
            out: String::new(),
        })
    }

    /// The genesis: every node starts.
    fn begin(&mut self) -> Result<String, Refused> {
        let (homes, others) = self.recorder.bench().view().preference_list(&Key::from("k"));
        let (homes, others) = (homes.to_vec(), others.to_vec());
        let fallbacks = if others.is_empty() { "none".to_owned() } else { self.letters(&others) };
        let line = format!("homes of k: {}; fallbacks: {fallbacks}", self.letters(&homes));
        self.say(&line);
        for node in self.recorder.bench().cluster().ids() {
            self.starts += 1;
            self.take(Step::Start { node, incarnation: self.starts, spare: None })?;
        }
        Ok(std::mem::take(&mut self.out))
    }

    fn command(&mut self, words: &[&str]) -> Result<String, Refused> {
        match words {
            ["put" | "delete" | "get", ..] => self.client(words)?,
            ["run"] => self.run()?,
            [verb @ ("deliver" | "repeat" | "lose"), from, to, kind @ ..] if kind.len() < 2 => {
                self.link(verb, [self.host(from)?, self.host(to)?], kind.first().copied())?;
            }
            ["fire", node, kind, more @ ..] if more.len() < 2 => {
                self.fire(self.host(node)?, kind, more.first().copied())?;
            }
            ["isolate" | "heal", ..] => self.cut(words)?,
            ["flight"] => self.flight(),
            ["timers"] => self.timers(),
            ["disks"] => self.disks(),
            [verb, node, more @ ..] => {
                let node = self.host(node)?;
                self.process_or_disk(verb, node, more)?;
            }
            _ => return Err(NO_SUCH.to_owned()),
        }
        Ok(std::mem::take(&mut self.out))
    }

    fn client(&mut self, words: &[&str]) -> Result<(), Refused> {
        let key = key(words);
        let (node, op) = match words {
            ["get", node, options @ ..] => {
                known(options, &["key"])?;
                (node, Op::Get { key })
            }
            ["delete", node, options @ ..] => (node, self.put(key, None, options)?),
            ["put", node, value, options @ ..] => {
                let value = Bytes::copy_from_slice(value.as_bytes());
                (node, self.put(key, Some(value), options)?)
            }
            _ => return Err(NO_SUCH.to_owned()),
        };
        let node = self.host(node)?;
        self.requests += 1;
        self.take(Step::Client { node, request: RequestId(self.requests), op })
    }

    fn put(&self, key: Bytes, value: Option<Bytes>, options: &[&str]) -> Result<Op, Refused> {
        known(options, &["read", "made_up", "key"])?;
        let read = option(options, "read").map(|name| {
            name.strip_prefix('#')
                .ok_or_else(|| format!("{name}: the request, as #2"))
                .and_then(parsed)
        });
        let strangers = number(options, "made_up", 0)? as u64;
        let made_up =
            (0..strangers).map(|at| (Actor { identity: Identity(900 + at), birth: 0 }, 1));
        let made_up = (strangers > 0).then(|| Context(made_up.collect()));
        Ok(Op::Put { key, value, read: read.transpose()?.map(RequestId), made_up })
    }

    /// Delivers what is under way, oldest first, and what comes of it. What cannot arrive is lost.
    fn run(&mut self) -> Result<(), Refused> {
        let oldest = |bench: &Bench| {
            let (message, sent) = bench.flight().next()?;
            let runs = bench.host(sent.to).node().is_some();
            Some((message, runs && !bench.is_cut(sent.from, sent.to)))
        };
        while let Some((message, arrives)) = oldest(self.recorder.bench()) {
            if arrives { self.deliver(message, false)? } else { self.lose(message)? }
        }
        Ok(())
    }

    /// What is under way on a link now, of one kind or of every.
    fn link(&mut self, verb: &str, link: [NodeId; 2], kind: Option<&str>) -> Result<(), Refused> {
        let under_way: Vec<_> = self
            .recorder
            .bench()
            .flight()
            .filter(|(_, sent)| [sent.from, sent.to] == link)
            .filter(|(_, sent)| kind.is_none_or(|kind| sent.message.name() == kind))
            .map(|(message, _)| message)
            .collect();
        if under_way.is_empty() {
            return Err("there is nothing under way".to_owned());
        }
        for message in under_way {
            match verb {
                "lose" => self.lose(message)?,
                _ => self.deliver(message, verb == "repeat")?,
            }
        }
        Ok(())
    }

    fn deliver(&mut self, message: u64, again: bool) -> Result<(), Refused> {
        let sent = self.recorder.bench().message(message).ok_or("it is not under way")?;
        let (from, to) = (self.letter(sent.from), self.letter(sent.to));
        let line = format!("{to} receives {} of {from}", self.message(&sent.message, false));
        self.under(&line, Step::Deliver { message, again })
    }

    fn lose(&mut self, message: u64) -> Result<(), Refused> {
        let line = self.envelope(message).ok_or("it is not under way")?;
        self.say(&format!("{line} is lost"));
        self.take(Step::Lose { message })
    }

    fn fire(&mut self, node: NodeId, kind: &str, of: Option<&str>) -> Result<(), Refused> {
        let timers = self.recorder.bench().host(node).timers();
        let is_meant = |timer: &Timer| {
            let name = self.timer(timer);
            let mut words = name.split(' ');
            words.next() == Some(kind) && of.is_none_or(|of| words.next_back() == Some(of))
        };
        let due: Vec<_> = timers.into_iter().filter(is_meant).collect();
        if due.is_empty() {
            return Err("no such timer runs".to_owned());
        }
        for timer in due {
            // One may have cancelled the next.
            if self.recorder.bench().host(node).timers().contains(&timer) {
                let line = format!("{}: {} runs out", self.letter(node), self.timer(&timer));
                self.under(&line, Step::Timer { node, timer })?;
            }
        }
        Ok(())
    }

    fn cut(&mut self, words: &[&str]) -> Result<(), Refused> {
        let all = self.order.clone();
        let isolated = match words {
            ["isolate", node] => Some(self.host(node)?),
            ["heal"] => None,
            _ => return Err("isolate whom? heal heals all".to_owned()),
        };
        for from in all.iter().copied() {
            for to in all.iter().copied().filter(|to| *to != from) {
                let is_cut = self.recorder.bench().is_cut(from, to);
                match isolated {
                    Some(node) if node == from || node == to => {
                        self.take(Step::Cut { from, to })?
                    }
                    None if is_cut => self.take(Step::Heal { from, to })?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn process_or_disk(&mut self, verb: &str, node: NodeId, more: &[&str]) -> Result<(), Refused> {
        let key = key(more);
        let words: Vec<_> = more.iter().filter(|word| !word.starts_with("key=")).copied().collect();
        let fault = |fault| Step::Disk { node, fault };
        let count = |words: &[&str], default: u64| match words {
            [] => Ok(default),
            [count] => parsed(count),
            _ => Err(NO_SUCH.to_owned()),
        };
        let step = match (verb, words.as_slice()) {
            ("start", []) => {
                self.starts += 1;
                // A start that makes its directory knows that nothing was there before.
                let is_doubtful = self.recorder.bench().cluster().counts && !self.new.remove(&node);
                let spare = is_doubtful.then(|| self.draw(node));
                Step::Start { node, incarnation: self.starts, spare }
            }
            ("crash", keep) => Step::Crash { node, keep: count(keep, 0)? },
            ("sync", changes) => Step::Synced { node, changes: count(changes, 1)? },
            ("wipe", []) => {
                self.new.insert(node);
                Step::Wipe { node, identity: self.draw(node) }
            }
            ("back-up", []) => Step::BackUp { node },
            ("restore", []) => Step::Restore { node },
            ("forget", of) => fault(DiskFault::Forget(self.role_of(of)?, Key(key))),
            ("damage", of) => fault(DiskFault::Damage(self.role_of(of)?, Key(key))),
            ("reads-fail", []) => fault(DiskFault::ReadsFail(DiskFault::FOR_GOOD)),
            ("writes-fail", []) => fault(DiskFault::WritesFail(DiskFault::FOR_GOOD)),
            ("mend", []) => fault(DiskFault::Mend),
            ("clock", [seconds]) => {
                Step::Clock { node, skew: Skew::by(parsed::<i64>(seconds)? * 1_000_000) }
            }
            ("unreachable", [peer]) => Step::Unreachable { node, peer: self.host(peer)? },
            ("prune", []) => Step::Prune { node, key },
            _ => return Err(NO_SUCH.to_owned()),
        };
        self.take(step)
    }

    /// Its record as a home, or its hint for the node that is named.
    fn role_of(&self, words: &[&str]) -> Result<Role, Refused> {
        match words {
            [] => Ok(Role::Home),
            [target] => self.host(target).map(Role::Hint),
            _ => Err(NO_SUCH.to_owned()),
        }
    }

    /// An identity that no directory has had.
    fn draw(&mut self, node: NodeId) -> Identity {
        let drawn = self.drawn.entry(node).or_default();
        *drawn += 1;
        Identity(u64::from(node.0) + 100 * *drawn)
    }

    fn flight(&mut self) {
        let numbers: Vec<_> = self.recorder.bench().flight().map(|(number, _)| number).collect();
        for number in numbers {
            let line = self.envelope(number).unwrap_or_default();
            self.say(&line);
        }
    }

    fn timers(&mut self) {
        for node in self.order.clone() {
            let timers = self.recorder.bench().host(node).timers();
            let names: Vec<_> = timers.iter().map(|timer| self.timer(timer)).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            self.say(&format!("{}: {names}", self.letter(node)));
        }
    }

    fn disks(&mut self) {
        for node in self.order.clone() {
            let disk = Snapshot::of(self.recorder.bench(), node);
            let letter = self.letter(node);
            let mut lines = Vec::new();
            if disk.meta != Meta::genesis(Identity(u64::from(node.0))) {
                lines.push(self.directory(&disk.meta));
            }
            lines.extend(disk.records.iter().map(|(place, record)| {
                let damaged = if disk.damaged.contains(place) { ", damaged" } else { "" };
                self.record(place, record) + damaged
            }));
            if disk.records.is_empty() {
                lines.push("nothing".to_owned());
            }
            if !disk.heard.is_empty() {
                let heard = disk.heard.values().map(|heard| self.heard(&heard.latest));
                let mut heard: Vec<_> = heard.collect();
                heard.sort();
                lines.push(format!("remembers {}", heard.join(", ")));
            }
            for line in lines {
                self.say(&format!("{letter}: {line}"));
            }
        }
    }
}

// What came of a step.
impl Player {
    fn take(&mut self, step: Step) -> Result<(), Refused> {
        self.taken(step, "")
    }

    /// A step that is one of several.
    fn under(&mut self, line: &str, step: Step) -> Result<(), Refused> {
        self.say(line);
        self.taken(step, "  ")
    }

    fn taken(&mut self, step: Step, indent: &str) -> Result<(), Refused> {
        let request = match &step {
            Step::Client { request, .. } => Some(*request),
            Step::Deliver { message, .. } => {
                let sent = self.recorder.bench().message(*message);
                let op = sent.and_then(|sent| sent.message.op());
                op.and_then(|op| self.asked.get(&op)).copied()
            }
            Step::Timer { timer: Timer::Hedge(op) | Timer::Deadline(op), .. } => {
                self.asked.get(op).copied()
            }
            _ => None,
        };
        let touched = self.recorder.bench().touched(&step);
        // That a disk is emptied, or put back, is the command itself.
        let is_told = !matches!(step, Step::Wipe { .. } | Step::Restore { .. } | Step::Disk { .. });
        let before =
            touched.filter(|_| is_told).map(|node| Snapshot::of(self.recorder.bench(), node));
        let crashed = matches!(step, Step::Crash { .. });
        // The timers that end without being cancelled.
        let ended = match (&step, &before) {
            (Step::Timer { timer, .. }, _) => vec![*timer],
            (Step::Crash { .. }, Some(before)) => before.timers.clone(),
            _ => Vec::new(),
        };
        let at = self.recorder.bench().now() + 1;
        self.recorder.take_at(at, step).map_err(refused)?;
        let effects: Vec<_> = self.recorder.effects().collect();
        self.name_operations(&effects, request);
        let mut lines = Vec::new();
        if let (Some(node), Some(before)) = (touched, &before) {
            let verbs = if crashed { ["goes back to", "loses"] } else { ["writes", "removes"] };
            self.written(node, before, verbs, &mut lines);
        }
        lines.extend(effects.iter().filter_map(|effect| self.effect(effect)));
        if let (Some(node), Some(before)) = (touched, &before) {
            let names = |timers: Vec<Timer>| {
                timers.iter().map(|timer| self.timer(timer)).collect::<Vec<_>>().join(", ")
            };
            let mut set: Vec<_> = effects.iter().filter_map(timer_set).collect();
            let mut told = BTreeSet::new();
            set.retain(|timer| told.insert(*timer));
            let running = self.recorder.bench().host(node).timers();
            let is_cancelled = |timer: &&Timer| !running.contains(timer) && !ended.contains(timer);
            let mut gone: Vec<_> = before.timers.iter().filter(is_cancelled).copied().collect();
            // A request that goes on as another operation waits as before.
            gone.retain(|timer| !set.iter().any(|set| self.timer(set) == self.timer(timer)));
            for (verb, timers) in [("sets", set), ("cancels", gone)] {
                if !timers.is_empty() {
                    lines.push(format!("{}: {verb} {}", self.letter(node), names(timers)));
                }
            }
        }
        for line in lines {
            self.say(&format!("{indent}{line}"));
        }
        Ok(())
    }

    /// Learns which operations are the request's: of those that a node coordinates it says so itself.
    fn name_operations(&mut self, effects: &[Effect], request: Option<RequestId>) {
        for effect in effects {
            if let Effect::Told(_, Event::Coordinating { op, request: Some(request), .. }) = effect
            {
                self.asked.entry(*op).or_insert(*request);
            }
        }
        let Some(request) = request else { return };
        for effect in effects {
            let op = match effect {
                Effect::TimerSet(_, Timer::Hedge(op) | Timer::Deadline(op), ..) => Some(*op),
                Effect::Sent(number) => {
                    let sent = self.recorder.bench().message(*number);
                    sent.filter(|sent| matches!(sent.message, Message::Forward { .. }))
                        .and_then(|sent| sent.message.op())
                }
                _ => None,
            };
            if let Some(op) = op {
                self.asked.entry(op).or_insert(request);
            }
        }
    }

    /// What the step changed on the node's disk.
    fn written(
        &self,
        node: NodeId,
        before: &Snapshot,
        [writes, removes]: [&str; 2],
        lines: &mut Vec<String>,
    ) {
        let now = Snapshot::of(self.recorder.bench(), node);
        let letter = self.letter(node);
        if now.meta != before.meta {
            lines.push(format!("{letter}: {writes} {}", self.directory(&now.meta)));
        }
        for (place, record) in &now.records {
            if before.records.get(place) != Some(record) {
                lines.push(format!("{letter}: {writes} {}", self.record(place, record)));
            }
        }
        for place in before.records.keys().filter(|place| !now.records.contains_key(place)) {
            lines.push(format!("{letter}: {removes} {}", self.place(place)));
        }
        for (peer, heard) in &now.heard {
            if before.heard.get(peer) != Some(heard) {
                lines.push(format!("{letter}: notes {}", self.heard(&heard.latest)));
            }
        }
        if now.unsynced > 0 && now.unsynced != before.unsynced {
            let changes = if now.unsynced == 1 { "change" } else { "changes" };
            lines.push(format!("{letter}: has {} {changes} to sync", now.unsynced));
        }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.out, "{line}").unwrap();
    }

    fn effect(&self, effect: &Effect) -> Option<String> {
        match effect {
            Effect::Sent(number) => self.envelope(*number),
            Effect::Replied(RequestId(request), reply) => {
                Some(format!("#{request} {}", self.reply(reply)))
            }
            Effect::TimerSet(..) => None,
            Effect::Told(node, event) => {
                Some(format!("{}: {}", self.letter(*node), self.event(event)))
            }
            Effect::Breached(breach) => Some(format!("BROKEN {}: {}", breach.check, breach.what)),
        }
    }

    fn event(&self, event: &Event) -> String {
        match event {
            Event::Coordinating { op, role, .. } => {
                format!("coordinates {}{}", self.op(*op), self.role(role, "in place of"))
            }
            Event::Minted { dot: Some(dot), .. } => format!("mints {}", self.dot(dot)),
            Event::Minted { dot: None, .. } => "counts up its clock".to_owned(),
            Event::CountedAnew(op) => format!("counts {} anew", self.op(*op)),
            Event::ForwardedTo(home) => format!("forwards to {}", self.letter(*home)),
            Event::Acknowledged { holders, .. } => {
                format!("acknowledges, held by {}", self.letters(holders))
            }
            Event::HintStored(target) => format!("keeps a hint for {}", self.letter(*target)),
            Event::HintDelivered(target) => format!("hint for {} delivered", self.letter(*target)),
            Event::ReadRepair(home) => format!("repairs {}", self.letter(*home)),
            Event::Synced(with) => format!("holds what {} holds", self.letter(*with)),
            Event::Refilled(None) => "is refilled, and votes again".to_owned(),
            Event::Refilled(Some(key)) => format!("votes on {key} again"),
            Event::Exchanged { with, keys } => {
                format!("ends its exchange with {}: {} differed", self.letter(*with), count(*keys))
            }
            Event::Suspected(peer) => format!("suspects {}", self.letter(*peer)),
            Event::Alive(peer) => format!("takes {} for alive again", self.letter(*peer)),
            Event::Discarded(from, why) => {
                let why = match why {
                    Discard::DeadIdentity => "its directory was replaced",
                    Discard::Repeated => "it came before",
                    Discard::BadVersions => "its versions make no sense",
                    Discard::Misaddressed => "it is for another",
                    Discard::OldEpoch => "its key has had other homes since",
                    Discard::OldEra => "tombstones were collected since",
                };
                format!("discards what {} sent: {why}", self.letter(*from))
            }
            Event::StoreFailed(Role::Home, error) => format!("storage fails: {error}"),
            Event::StoreFailed(Role::Hint(target), error) => {
                format!("storage fails for its hint for {}: {error}", self.letter(*target))
            }
            Event::Entered(epoch) => format!("goes by epoch {epoch}"),
            Event::ChangeDecided { edit, epoch } => format!("epoch {epoch} is decided: {edit}"),
            Event::ChangeRefused { edit, why } => format!("will not {edit}: {why}"),
            Event::Removed => "is no member any more".to_owned(),
            Event::AnotherCluster { from, why } => format!("{}: {why}", self.letter(*from)),
            Event::Filled { left: 0 } => "counts wherever it is a home".to_owned(),
            Event::Filled { left } => format!("counts in more ranges, {left} left"),
            Event::HintAdopted => "adopts a hint".to_owned(),
            Event::StrayDropped => "drops what its homes hold".to_owned(),
            Event::TombstoneDropped => "drops a tombstone".to_owned(),
            Event::IdleForgotten(actors) => format!("forgets {actors} idle actors"),
            Event::EpochForced(epoch) => format!("makes epoch {epoch} without a vote"),
            Event::LossAccepted { ranges } => format!("counts in {ranges} ranges more, unfilled"),
            Event::Pruned(entries) => format!("forgets {entries} entries"),
            Event::Proven => "is proven: all have told, and nothing is missing".to_owned(),
            Event::RolledBack { told_by, remembered, position } => format!(
                "was rolled back: {} remembers {}, here it is at {position}",
                self.letter(*told_by),
                self.heard(remembered)
            ),
        }
    }

    fn reply(&self, reply: &Reply) -> String {
        match reply {
            Reply::Got { values, context } => {
                let values: Vec<_> = values.iter().map(|v| v.escape_ascii().to_string()).collect();
                format!("got [{}] {}", values.join(" "), self.vector(&context.0))
            }
            Reply::Done { context: None } => "done, and siblings are left".to_owned(),
            Reply::Done { context: Some(context) } => format!("done {}", self.vector(&context.0)),
            Reply::Refused(refusal) => format!("refused: {refusal}"),
            Reply::TimedOut => "timed out".to_owned(),
        }
    }

    fn envelope(&self, number: u64) -> Option<String> {
        let sent = self.recorder.bench().message(number)?;
        let (from, to) = (self.letter(sent.from), self.letter(sent.to));
        let mut line = format!("{from} -> {to} {}", self.message(&sent.message, true));
        if sent.position > 0 {
            let is_at = Heard { identity: sent.identity, position: sent.position };
            write!(line, "; {}", self.heard(&is_at)).unwrap();
        }
        if let Some(heard) = &sent.heard {
            write!(line, ", remembers {}", self.heard(heard)).unwrap();
        }
        Some(line)
    }

    /// In full, or only its name.
    fn message(&self, message: &Message, in_full: bool) -> String {
        let mut line = message.name().to_owned();
        if let Some(request) = message.op().and_then(|op| self.asked.get(&op)) {
            write!(line, " #{}", request.0).unwrap();
        }
        if !in_full {
            return line;
        }
        line += &match message {
            Message::Store { role, set, .. } => {
                format!("{} {}", self.role(role, "as hint for"), self.set(set))
            }
            Message::Fetch { role, .. } => self.role(role, "in place of"),
            Message::Compare { asked, .. } => {
                let span =
                    |(span, mine): &(Span, Fingerprint)| format!(" {span} of {}", count(mine.keys));
                asked.iter().map(span).collect()
            }
            Message::Compared { found, .. } if found.is_empty() => " of another view".to_owned(),
            Message::Compared { found, counts, .. } => {
                let counts = if !counts.is_empty() { "" } else { ", counts for nothing" };
                found.iter().map(found_text).collect::<String>() + counts
            }
            Message::Fetched { answer: Answer::Known { set, votes }, .. } => {
                let votes = if *votes { "" } else { ", no vote" };
                format!(" {}{votes}", self.set(set))
            }
            Message::Settle { stage, era, keys, .. } => {
                format!(" {stage:?} era {era}, {}", count(keys.len() as u64)).to_lowercase()
            }
            Message::Settled { keys, .. } => format!(" {}", count(keys.len() as u64)),
            Message::Forwarded { reply, .. } => format!(" {}", self.reply(reply)),
            Message::Fetched { answer: Answer::Failed(error), .. }
            | Message::Stored { result: Err(error), .. } => format!(" failed: {error}"),
            Message::Stored { result: Ok(()), counts: false, .. } => ", does not count".to_owned(),
            Message::Stored { result: Ok(()), .. }
            | Message::Forward { .. }
            | Message::Register(_)
            | Message::Ping { .. }
            | Message::Pong { .. } => String::new(),
        };
        line
    }
}

// Names.
impl Player {
    fn host(&self, name: &str) -> Result<NodeId, Refused> {
        let at = name.bytes().next().filter(|_| name.len() == 1);
        let at = at.and_then(|letter| letter.checked_sub(b'A')).map(usize::from);
        at.and_then(|at| self.order.get(at)).copied().ok_or_else(|| format!("{name} is no node"))
    }

    fn letter(&self, id: NodeId) -> char {
        let at = self.order.iter().position(|host| *host == id).expect("a node of the cluster");
        char::from(b'A' + at as u8)
    }

    fn letters(&self, nodes: &[NodeId]) -> String {
        nodes.iter().map(|node| self.letter(*node).to_string()).collect::<Vec<_>>().join(", ")
    }

    fn op(&self, op: OpId) -> String {
        self.asked.get(&op).map_or("an operation".to_owned(), |request| format!("#{}", request.0))
    }

    fn timer(&self, timer: &Timer) -> String {
        match timer {
            Timer::Hedge(op) => format!("hedge of {}", self.op(*op)),
            Timer::Deadline(op) => format!("deadline of {}", self.op(*op)),
            Timer::Ping(peer) => format!("ping to {}", self.letter(*peer)),
            Timer::Handoff(target) => format!("handoff to {}", self.letter(*target)),
            Timer::Exchange => "exchange".to_owned(),
            Timer::Strays => "strays".to_owned(),
            Timer::Gossip => "gossip".to_owned(),
            Timer::Proposal => "proposal".to_owned(),
        }
    }

    /// With a stroke for each that was drawn for the node before it.
    fn identity(&self, identity: Identity) -> String {
        let id = NodeId((identity.0 % 100) as u16);
        if identity.0 >= 900 {
            return format!("X{}", identity.0 - 899);
        }
        format!("{}{}", self.letter(id), "'".repeat((identity.0 / 100) as usize))
    }

    fn actor(&self, actor: &Actor) -> String {
        let birth = if actor.birth > 0 { format!("/{}", actor.birth) } else { String::new() };
        self.identity(actor.identity) + &birth
    }

    fn dot(&self, dot: &Dot) -> String {
        format!("{}.{}", self.actor(&dot.actor), dot.counter)
    }

    fn vector(&self, vector: &VersionVector) -> String {
        let entries = vector.iter().map(|(actor, count)| format!("{}:{count}", self.actor(&actor)));
        let mut entries: Vec<_> = entries.collect();
        entries.sort();
        format!("{{{}}}", entries.join(" "))
    }

    fn heard(&self, heard: &Heard) -> String {
        format!("{} at {}", self.identity(heard.identity), heard.position)
    }

    fn directory(&self, meta: &Meta) -> String {
        let Meta { identity, births, founder: _, amnesiac, doubted, era, losses: _, forced: _ } =
            meta;
        let amnesiac = if *amnesiac { ", amnesiac" } else { "" };
        let doubted = doubted.map_or(String::new(), |position| format!(", doubted at {position}"));
        let era = if *era > 0 { format!(", era {era}") } else { String::new() };
        format!("directory {}, births {births}{amnesiac}{doubted}{era}", self.identity(*identity))
    }

    fn role(&self, role: &Role, as_what: &str) -> String {
        match role {
            Role::Home => String::new(),
            Role::Hint(target) => format!(" {as_what} {}", self.letter(*target)),
        }
    }

    fn place(&self, place: &Place) -> String {
        let key =
            if place.key == Key::from("k") { String::new() } else { format!(" {}", place.key) };
        match place.role {
            Role::Home => format!("home{key}"),
            Role::Hint(target) => format!("hint for {}{key}", self.letter(target)),
        }
    }

    fn record(&self, place: &Place, record: &Record) -> String {
        let Record { set, minter, amnesiac } = record;
        let mut line = format!("{} {}", self.place(place), self.set(set));
        if *amnesiac {
            line += ", amnesiac";
        }
        if let Some(minter) = minter {
            let last = Dot { actor: minter.actor, counter: minter.counter };
            write!(line, ", minted {}", self.dot(&last)).unwrap();
        }
        line
    }

    fn set(&self, set: &Siblings) -> String {
        let value = |value: &Option<Bytes>| match value {
            Some(bytes) => bytes.escape_ascii().to_string(),
            None => "tombstone".to_owned(),
        };
        match set {
            Siblings::Dotted(set) => {
                let versions = set.versions().iter();
                let versions = versions.map(|v| {
                    let timestamp = i128::from(v.timestamp) - i128::from(CLOCK_START);
                    let timestamp =
                        if v.timestamp == 0 { String::new() } else { format!(" {timestamp:+}us") };
                    format!("{}@{}{timestamp}", value(&v.value), self.dot(&v.dot))
                });
                let versions = versions.collect::<Vec<_>>().join(", ");
                format!("[{versions}] {}", self.vector(set.context()))
            }
            Siblings::Plain(set) => {
                let versions = set.versions().iter();
                let versions =
                    versions.map(|v| format!("{} {}", value(&v.value), self.vector(&v.clock)));
                format!("[{}]", versions.collect::<Vec<_>>().join(", "))
            }
        }
    }
}
