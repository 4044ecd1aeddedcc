//! The interpreter of the virtual clock: draws operations from a generator, journals them, has the
//! world do them, and lets faults happen between them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use checker::history::op::{Elsewhere, Kind, Op};
use checker::history::{History, HistoryError};
use dynamo_protocol::{Key, NodeId, Place, Reply, RequestId};
use dynamo_sim::World;
use dynamo_sim::trace;
use dynamo_sim::world::Answer;
use rustc_hash::FxHashMap;
use serde_json::{Value, json};

use crate::interpreter::lasting::{LOOK_AGAIN, Lasting, Looked, Open as Unproven, is_possible};
use crate::interpreter::turns::{Queued, Turns};
use crate::interpreter::{Book, Counts, book};
use crate::nemesis::Terms;
use crate::nemesis::aim::{Acknowledged, Aim};
use crate::nemesis::proof::Told;
use crate::run::finish::counted::SUSPECTED;
use crate::simulated::twin::{Fault, Late};
use crate::workload::client::Completion;
use crate::workload::generator::{Action, Call, Context, Event, Generator, Next, Worker};
use crate::workload::wire;

/// Runs generators one after the other on one world.
pub struct Interpreter<'a> {
    world: World,
    /// Faults in the order in which they begin and end: its number, and whether it ends.
    timeline: VecDeque<(u64, bool, &'a Fault)>,
    in_force: Vec<&'a Fault>,
    lasting: Lasting<'a>,
    turns: Turns<'a>,
    /// Faults that wait for somebody to hit.
    waiting: Vec<(&'a Fault, &'a Late)>,
    acknowledged: Acknowledged,
    /// When those are looked at again.
    next_look: u64,
    /// By when a fault was due, how many keys had been moved before it.
    moved: FxHashMap<u64, u64>,
    timeout: u64,
    lines: Vec<Op>,
    /// A context is the request of the get that gave it.
    book: Book<RequestId>,
    open: FxHashMap<RequestId, Open>,
    /// Requests in the order in which their clients give up.
    deadlines: VecDeque<(u64, RequestId)>,
    /// Of every written value the bytes and the line of its put, by where the bytes lie: a value comes
    /// back as the very bytes that were written, and costs no parsing.
    values: FxHashMap<usize, (Bytes, u64)>,
    /// Room for a value's bytes while they are made.
    text: Vec<u8>,
    counts: Counts,
    met: Met,
    now: Option<&'a AtomicU64>,
}

/// How often clients met: what nobody would see of clients that keep out of each other's way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// Gets that showed several siblings.
    pub siblings_shown: u64,
    /// Puts and deletes that began while another of their key was under way.
    pub rival_writes: u64,
}

/// What a read showed.
enum Read {
    /// Values as they were written, in these lines.
    Lines(Box<[u64]>),
    /// Values of which some are not what anybody wrote.
    Strange(Vec<Value>),
}

struct Open {
    open: book::Open,
    /// The invocation's place among the lines.
    invoke: usize,
    /// What [`World::calm`] said when it began. A final get counts only if that is so still when it is
    /// answered, as on real nodes: see [`crate::run::finish::counted`].
    calm: Option<u64>,
}

impl<'a> Interpreter<'a> {
    /// An interpreter with so many workers, whose clients wait so long.
    #[must_use]
    pub fn new(
        world: World,
        (faults, terms): (&'a [Fault], Terms),
        workers: usize,
        timeout: Duration,
    ) -> Self {
        let begins = faults.iter().map(|fault| (fault.at, false, fault));
        let lasting = Lasting::new(terms);
        // Of others it is known once their turn has come.
        let has_an_end = |fault: &&Fault| {
            lasting.nature(fault).is_none() && fault.late.is_none() && fault.holds.is_empty()
        };
        let at_once = faults.iter().filter(has_an_end);
        let ends = at_once.map(|fault| (fault.until, true, fault));
        let mut timeline: Vec<_> = begins.chain(ends).collect();
        timeline.sort_by_key(|(at, ends, _)| (*at, *ends));
        Self {
            timeline: timeline.into(),
            in_force: Vec::new(),
            lasting,
            turns: Turns::default(),
            waiting: Vec::new(),
            acknowledged: Acknowledged::default(),
            next_look: 0,
            moved: FxHashMap::default(),
            timeout: micros(timeout),
            lines: Vec::new(),
            book: Book::new(workers),
            open: FxHashMap::default(),
            deadlines: VecDeque::new(),
            values: FxHashMap::default(),
            text: Vec::new(),
            counts: Counts::default(),
            met: Met::default(),
            now: None,
            world,
        }
    }

    /// Tells the virtual time there, as it passes.
    pub fn tell(&mut self, now: Option<&'a AtomicU64>) {
        self.now = now;
    }

    /// The cluster.
    #[must_use]
    pub fn world(&mut self) -> &mut World {
        &mut self.world
    }

    /// Operations so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How often clients met so far.
    #[must_use]
    pub fn met(&self) -> Met {
        self.met
    }

    /// The history so far, and the world.
    ///
    /// # Errors
    /// If it is not sound: then the interpreter is broken.
    pub fn finish(self) -> (World, Result<History, HistoryError>) {
        (self.world, History::from_ops(self.lines))
    }

    /// Does all that the generator asks for; returns when the last operation has completed.
    pub fn run(&mut self, generator: &mut impl Generator) {
        loop {
            let now = Duration::from_micros(self.world.now());
            if let Some(told) = self.now {
                told.store(self.world.now(), Ordering::Relaxed);
            }
            match generator.op(&Context { now, free: self.book.free() }) {
                Next::Op(worker, call) => self.begin(worker, call, generator),
                Next::Wait(until) => self.wait(until.map_or(u64::MAX, micros), generator),
                Next::Done if self.open.is_empty() => return,
                Next::Done => self.wait(u64::MAX, generator),
            }
        }
    }

    /// Lets faults that take their time come to their end; none begins any more.
    pub fn end_faults(&mut self) {
        self.lasting.close();
        self.turns.close();
        while self.lasting.goes_on() || self.turns.are_taken() {
            self.idle(Duration::from_micros(LOOK_AGAIN));
        }
    }

    /// Lets so much time pass, with whatever faults are due.
    pub fn idle(&mut self, time: Duration) {
        let until = self.world.now() + micros(time);
        while self.world.now() < until {
            let next = self.next_fault().min(until);
            // Nobody waits for answers now: late ones of clients that gave up.
            while self.world.next(next).is_some() {}
            self.happen();
        }
    }

    fn begin(&mut self, worker: Worker, call: Call, generator: &mut impl Generator) {
        let (open, mut invoke) = self.book.begin(worker, &call);
        let (node, key) = (call.node, Bytes::copy_from_slice(call.key.as_bytes()));
        let last = |get| *self.book.context(worker, get).expect("it follows its worker's last get");
        let read = call.action.context().map(last);
        let op = match call.action {
            Action::Get => trace::Op::Get { key },
            Action::Delete { .. } => trace::Op::Put { key, value: None, read, made_up: None },
            Action::Put { value, .. } => {
                self.text.clear();
                wire::encode(&value, &mut self.text);
                let bytes = Bytes::copy_from_slice(&self.text);
                // The invocation's line is the next.
                self.values.insert(bytes.as_ptr().addr(), (bytes.clone(), self.lines.len() as u64));
                invoke.value = Some(value);
                trace::Op::Put { key, value: Some(bytes), read, made_up: None }
            }
            Action::Home => {
                let values = self.home(node, key);
                let open = self.opened(open, invoke);
                let held = Completion::Ok { values, context: None };
                return self.complete(&open, held, generator);
            }
        };
        let is_write = matches!(op, trace::Op::Put { .. });
        let is_rival = |other: &Open| {
            let other = &self.lines[other.invoke];
            other.key == invoke.key && matches!(&*other.f, "put" | "delete")
        };
        self.met.rival_writes += u64::from(is_write && self.open.values().any(is_rival));
        let request = self.world.ask(node, op);
        let open = self.opened(open, invoke);
        self.open.insert(request, open);
        self.deadlines.push_back((self.world.now() + self.timeout, request));
    }

    /// What a home's own replica holds, without any quorum.
    fn home(&self, node: NodeId, key: Bytes) -> Read {
        let disk = self.world.bench().host(node).disk();
        let record = disk.durable(&Place::home(Key(key)));
        self.decode(&record.map(|record| record.set.values()).unwrap_or_default())
    }

    fn opened(&mut self, open: book::Open, invoke: Op) -> Open {
        // Of others nobody asks, and it takes a look at every node.
        let calm = open.is_final_get().then(|| self.world.calm()).flatten();
        Open { open, invoke: self.push(invoke), calm }
    }

    /// Waits for one completion, a fault, or `until`.
    fn wait(&mut self, until: u64, generator: &mut impl Generator) {
        while self.deadlines.front().is_some_and(|(_, request)| !self.open.contains_key(request)) {
            self.deadlines.pop_front();
        }
        let deadline = self.deadlines.front().map_or(u64::MAX, |(at, _)| *at);
        let until = until.min(deadline).min(self.next_fault());
        assert!(until < u64::MAX, "the workload waits for nothing, for ever");
        if let Some((request, answer)) = self.world.next(until) {
            if let Some(open) = self.open.remove(&request) {
                let completion = self.completion(request, answer);
                self.complete(&open, completion, generator);
            }
            return;
        }
        if self.world.now() >= deadline
            && let Some((_, request)) = self.deadlines.pop_front()
            && let Some(open) = self.open.remove(&request)
        {
            self.complete(&open, Completion::Info("no answer".to_owned()), generator);
        }
        self.happen();
    }

    fn next_fault(&self) -> u64 {
        let due = self.timeline.front().map_or(u64::MAX, |(at, _, _)| *at);
        let gives_up = self.waiting.iter().map(|(fault, late)| gives_up(fault, late));
        let due = gives_up.min().map_or(due, |gives_up| due.min(gives_up));
        if self.lasting.is_idle() { due } else { due.min(self.next_look) }
    }

    /// Begins and ends what is due.
    fn happen(&mut self) {
        while self.timeline.front().is_some_and(|(at, ..)| *at <= self.world.now()) {
            let Some((_, ends, fault)) = self.timeline.pop_front() else { return };
            match (self.lasting.nature(fault).is_some(), ends) {
                (true, false) if is_possible(fault, &self.world) => self.lasting.due(fault),
                (true, false) => {}
                (true, true) => self.begin_step(fault, true),
                (false, _) => match &fault.late {
                    Some(late) if !ends => self.waiting.push((fault, late)),
                    _ if !ends && !fault.holds.is_empty() => self.queue(fault, None),
                    _ => self.at_once(fault, ends, None),
                },
            }
        }
        if !self.waiting.is_empty() {
            self.aim();
        }
        if !self.lasting.is_idle() {
            self.look();
        }
        while let Some(Queued { fault, hold, why }) = self.turns.next() {
            if is_possible(fault, &self.world) {
                self.turns.take(fault);
                self.at_once(fault, false, why);
                self.ends_at(self.world.now() + hold, fault);
            }
        }
    }

    /// A fault that holds processes begins when its turn comes, and holds them for as long as it would now.
    fn queue(&mut self, fault: &'a Fault, why: Option<Value>) {
        let hold = fault.until.saturating_sub(self.world.now());
        self.turns.wait(Queued { fault, hold, why });
    }

    fn ends_at(&mut self, until: u64, fault: &'a Fault) {
        let at = self.timeline.partition_point(|(at, ..)| *at <= until);
        self.timeline.insert(at, (until, true, fault));
    }

    /// Begins the faults that have somebody to hit, and those that have waited for long enough.
    fn aim(&mut self) {
        let (hint, now) = (self.world.take_hint(), self.world.now());
        for (fault, late) in std::mem::take(&mut self.waiting) {
            let may_hit = |node| self.may_hit(late, node);
            let chosen = match late.aim {
                Aim::Acknowledged => self.acknowledged.newest(may_hit).map(|fault| (fault, None)),
                Aim::Hinted => hint.and_then(|(by, node)| Some((may_hit(node)?, Some(by)))),
            };
            let (begins, why) = match chosen {
                Some((fault, by)) => (fault, late.aim.met(by)),
                None if now >= gives_up(fault, late) => (fault, late.aim.missed(held(fault))),
                None => {
                    self.waiting.push((fault, late));
                    continue;
                }
            };
            self.queue(begins, Some(why));
        }
        self.world.stop_at_hints(!self.waiting.is_empty());
    }

    /// A fault as it hits this node, if it can be hit now, and no other fault holds it.
    fn may_hit(&self, late: &'a Late, node: NodeId) -> Option<&'a Fault> {
        let fault = late.at.get(&node).filter(|fault| is_possible(fault, &self.world))?;
        let is_free = |node: &NodeId| {
            let runs = self.world.runs(*node) && !self.world.bench().host(*node).is_paused();
            runs && self.turns.is_free(*node)
        };
        fault.holds.iter().all(is_free).then_some(fault)
    }

    fn at_once(&mut self, fault: &'a Fault, ends: bool, why: Option<Value>) {
        let has_begun = self.in_force.iter().any(|other| std::ptr::eq(*other, fault));
        if fault.told.is_some() && (ends && !has_begun || !ends && !is_possible(fault, &self.world))
        {
            // Whom it hits has not joined yet, other than was to be expected.
            return;
        }
        let step = if ends { "heal" } else { "inject" };
        self.note(fault, Kind::Invoke, step, why);
        let is_done = self.bring_about(fault, ends);
        let proven = is_done && fault.is_proven(&self.world, ends);
        self.note(fault, if proven { Kind::Ok } else { Kind::Info }, step, None);
        if ends {
            self.turns.give_back(fault);
        }
    }

    fn bring_about(&mut self, fault: &'a Fault, ends: bool) -> bool {
        let is_done = if ends {
            self.in_force.retain(|other| !std::ptr::eq(*other, fault));
            fault.what.end(&mut self.world);
            true
        } else {
            self.in_force.push(fault);
            fault.what.begin(&mut self.world)
        };
        fault.share(&self.in_force, &mut self.world);
        is_done
    }

    /// A step of a fault that takes its time.
    fn begin_step(&mut self, fault: &'a Fault, ends: bool) {
        self.note(fault, Kind::Invoke, if ends { "heal" } else { "inject" }, None);
        self.bring_about(fault, ends);
        let moved =
            if ends { self.moved.remove(&fault.at).unwrap_or_default() } else { self.keys_moved() };
        self.lasting.begin(fault, ends, self.world.now(), moved);
        fault.what.pursue(&mut self.world, ends);
    }

    /// Looks at the faults that take their time.
    fn look(&mut self) {
        let now = self.world.now();
        while let Some(fault) = self.lasting.next(|fault| self.turns.is_due(fault)) {
            self.turns.take(fault);
            self.begin_step(fault, false);
        }
        for Looked { step, proven } in self.lasting.look(&mut self.world) {
            let Unproven { fault, ends, moved, .. } = step;
            let epoch = self.world.membership().epoch().0;
            let mut proof = json!({ "epoch": epoch });
            if ends {
                proof["moved"] = (self.keys_moved() - moved).into();
            } else {
                self.moved.insert(fault.at, moved);
                self.ends_at(now + if proven { fault.until - fault.at } else { 0 }, fault);
            }
            if ends || !fault.holds_to_the_end {
                self.turns.give_back(fault);
            }
            let kind = if proven { Kind::Ok } else { Kind::Info };
            self.note(fault, kind, if ends { "heal" } else { "inject" }, Some(proof));
        }
        self.next_look = now + LOOK_AGAIN;
    }

    /// How many keys went from node to node so that the right ones have them.
    fn keys_moved(&self) -> u64 {
        let counters = self.world.counters();
        counters.keys_synced + counters.strays_dropped + counters.hints_adopted
    }

    fn note(&mut self, fault: &Fault, kind: Kind, step: &str, shown: Option<Value>) {
        if let Some(told) = &fault.told {
            let mut line = told.line(kind, step);
            if let (Some(value), Some(shown)) = (&mut line.value, shown) {
                value[Told::shown(kind)] = shown;
            }
            self.push(line);
        }
    }

    fn completion(&self, request: RequestId, answer: Answer) -> Completion<Read, RequestId> {
        match answer {
            Answer::Reply(reply) => completion(&reply, request, |values| self.decode(values)),
            Answer::NotConnected => Completion::Fail("not connected".to_owned()),
            Answer::Broken => Completion::Info("the connection broke".to_owned()),
        }
    }

    fn decode(&self, values: &[Bytes]) -> Read {
        let written = |bytes: &Bytes| {
            let (written, line) = self.values.get(&bytes.as_ptr().addr())?;
            (written.len() == bytes.len()).then_some(*line)
        };
        if let Some(lines) = values.iter().map(written).collect() {
            return Read::Lines(lines);
        }
        let decode = |bytes: &Bytes| {
            // What is not where it was written has been changed: no value that anybody wrote.
            let text = || Value::String(String::from_utf8_lossy(bytes).into_owned());
            let written = written(bytes).and_then(|line| value_at(&self.lines, line));
            written.cloned().unwrap_or_else(text)
        };
        Read::Strange(values.iter().map(decode).collect())
    }

    fn complete(
        &mut self,
        &Open { open, invoke, calm }: &Open,
        mut completion: Completion<Read, RequestId>,
        generator: &mut impl Generator,
    ) {
        if open.is_final_get() && (calm.is_none() || calm != self.world.calm()) {
            completion = completion.uncounted(SUSPECTED);
        }
        let line = self.lines[invoke].completed_briefly(Kind::Ok);
        let mut line = open.completed(line, &completion);
        self.counts.count(line.kind);
        let (index, lines) = (self.lines.len() as u64, &self.lines);
        let (outcome, why) =
            self.book.complete(open, (index, line.kind), &completion, |read| read.values(lines));
        let now = Duration::from_micros(self.world.now());
        generator.update(&Event { now, worker: open.worker(), outcome, why });
        match completion.into_values().filter(|_| book::reads(&line)) {
            Some(Read::Lines(lines)) => {
                self.met.siblings_shown += u64::from(lines.len() > 1);
                line.elsewhere = Some(Elsewhere::Lines(lines));
            }
            Some(Read::Strange(values)) => line.value = Some(Value::Array(values)),
            None => {}
        }
        self.push(line);
    }

    fn push(&mut self, mut line: Op) -> usize {
        let index = self.lines.len();
        line.index = index as u64;
        line.time = self.world.now() * 1_000;
        self.acknowledged.note(&line);
        self.lines.push(line);
        index
    }
}

impl Read {
    fn values<'a>(&'a self, lines: &'a [Op]) -> Vec<&'a Value> {
        match self {
            Self::Lines(at) => at.iter().filter_map(|at| value_at(lines, *at)).collect(),
            Self::Strange(values) => values.iter().collect(),
        }
    }
}

/// What a node's reply says to its client, whose get gave the `context`.
pub(crate) fn completion<V, T>(
    reply: &Reply,
    context: T,
    decode: impl FnOnce(&[Bytes]) -> V,
) -> Completion<V, T> {
    match reply {
        Reply::Got { values, .. } => {
            Completion::Ok { values: decode(values), context: Some(context) }
        }
        Reply::Done { .. } => Completion::Ok { values: decode(&[]), context: None },
        Reply::Refused(why) => Completion::Fail(why.to_string()),
        Reply::TimedOut => Completion::Info("timed out".to_owned()),
    }
}

/// When a fault has waited for long enough.
fn gives_up(fault: &Fault, late: &Late) -> u64 {
    fault.at + micros(late.aim.patience(held(fault)))
}

fn held(fault: &Fault) -> Duration {
    Duration::from_micros(fault.until - fault.at)
}

fn value_at(lines: &[Op], line: u64) -> Option<&Value> {
    lines[line as usize].value.as_ref()
}

/// The first microsecond that is not before `time`: to wake up earlier is to wait for ever.
fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX)
}
