//! The interpreter of the virtual clock: draws operations from a generator, journals them, has the
//! world do them, and lets faults happen between them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use checker::history::{History, HistoryError};
use checker::op::{Elsewhere, Kind, Op, Process};
use dynamo_protocol::{Key, NodeId, Place, Reply, RequestId};
use dynamo_sim::World;
use dynamo_sim::trace;
use dynamo_sim::world::Answer;
use rustc_hash::FxHashMap;
use serde_json::Value;

use super::fault::Fault;
use crate::generator::{Action, Call, Context, Event, Generator, Next, Outcome, Worker};
use crate::interpreter::Counts;

/// Runs generators one after the other on one world.
pub struct Interpreter<'a> {
    world: World,
    /// Faults in the order in which they begin and end: its number, and whether it ends.
    timeline: VecDeque<(u64, bool, &'a Fault)>,
    in_force: Vec<&'a Fault>,
    timeout: u64,
    lines: Vec<Op>,
    /// Of each worker, the process its operations are journalled under.
    processes: Vec<u64>,
    free: Vec<Worker>,
    open: FxHashMap<RequestId, Open>,
    /// Requests in the order in which their clients give up.
    deadlines: VecDeque<(u64, RequestId)>,
    /// Of each worker's last get: its index in the history, and the request it was.
    reads: Vec<Option<(u64, RequestId)>>,
    names: Vec<Arc<str>>,
    /// Of every written value the bytes and the line of its put, by where the bytes lie: a value comes
    /// back as the very bytes that were written, and costs no parsing.
    values: FxHashMap<usize, (Bytes, u64)>,
    /// Room for a value's bytes while they are made.
    text: Vec<u8>,
    counts: Counts,
    now: Option<&'a AtomicU64>,
}

/// What a read showed.
enum Read {
    /// Values as they were written, in these lines.
    Lines(Box<[u64]>),
    /// Values of which some are not what anybody wrote.
    Strange(Vec<Value>),
}

struct Open {
    worker: Worker,
    /// The invocation's place among the lines.
    invoke: usize,
    /// Of a final get how often nodes had begun to hold a peer down when it began. It counts only if
    /// nobody has since, as on real nodes: see [`crate::finish::counted`].
    calm: Option<u64>,
}

impl<'a> Interpreter<'a> {
    /// An interpreter with so many workers, whose clients wait so long.
    #[must_use]
    pub fn new(world: World, faults: &'a [Fault], workers: usize, timeout: Duration) -> Self {
        let begins = faults.iter().map(|fault| (fault.at, false, fault));
        let ends = faults.iter().map(|fault| (fault.until, true, fault));
        let mut timeline: Vec<_> = begins.chain(ends).collect();
        timeline.sort_by_key(|(at, ends, _)| (*at, *ends));
        let nodes = world.bench().cluster().ids();
        Self {
            timeline: timeline.into(),
            in_force: Vec::new(),
            timeout: micros(timeout),
            lines: Vec::new(),
            processes: (0..workers as u64).collect(),
            free: (0..workers).map(Worker).collect(),
            open: FxHashMap::default(),
            deadlines: VecDeque::new(),
            reads: vec![None; workers],
            names: nodes.map(|node| node.to_string().into()).collect(),
            values: FxHashMap::default(),
            text: Vec::new(),
            counts: Counts::default(),
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
            match generator.op(&Context { now, free: &self.free }) {
                Next::Op(worker, call) => self.begin(worker, call, generator),
                Next::Wait(until) => self.wait(until.map_or(u64::MAX, micros), generator),
                Next::Done if self.open.is_empty() => return,
                Next::Done => self.wait(u64::MAX, generator),
            }
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
        let at = self.free.iter().position(|free| *free == worker);
        self.free.remove(at.expect("a generator picks a worker that is free"));
        let node = call.node;
        let mut invoke = Op::invoke(self.processes[worker.0], call.action.f())
            .key(call.key.clone())
            .node(self.names[usize::from(node.0) - 1].clone());
        let is_final_get = call.is_final && call.action == Action::Get;
        invoke.is_final = call.is_final && !is_final_get;
        let key = Bytes::copy_from_slice(call.key.as_bytes());
        match call.action {
            Action::Get => {
                let request = self.world.ask(node, trace::Op::Get { key });
                let calm = is_final_get.then(|| self.world.mechanisms().held_down);
                self.opened(worker, request, invoke, calm);
            }
            Action::Put { value, context } => {
                let last = self.reads[worker.0].filter(|(index, _)| context == Some(*index));
                let read = last.map(|(_, request)| request);
                self.text.clear();
                serde_json::to_writer(&mut self.text, &value).expect("memory takes any value");
                let bytes = Bytes::copy_from_slice(&self.text);
                // The invocation's line is the next.
                self.values.insert(bytes.as_ptr().addr(), (bytes.clone(), self.lines.len() as u64));
                invoke.value = Some(value);
                invoke.context = context;
                let op = trace::Op::Put { key, value: Some(bytes), read };
                let request = self.world.ask(node, op);
                self.opened(worker, request, invoke, None);
            }
            Action::Home => {
                let held = self.home(node, key);
                let invoke = self.push(invoke);
                let open = Open { worker, invoke, calm: None };
                self.complete(&open, None, held, generator);
            }
        }
    }

    /// What a home's own replica holds, without any quorum.
    fn home(&self, node: NodeId, key: Bytes) -> Result<Read, (Kind, String)> {
        let disk = self.world.bench().host(node).disk();
        let record = disk.durable(&Place::home(Key(key)));
        Ok(self.decode(&record.map(|record| record.set.values()).unwrap_or_default()))
    }

    fn opened(&mut self, worker: Worker, request: RequestId, invoke: Op, calm: Option<u64>) {
        let invoke = self.push(invoke);
        self.open.insert(request, Open { worker, invoke, calm });
        self.deadlines.push_back((self.world.now() + self.timeout, request));
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
                let outcome = self.outcome(answer);
                self.complete(&open, Some(request), outcome, generator);
            }
            return;
        }
        if self.world.now() >= deadline
            && let Some((_, request)) = self.deadlines.pop_front()
            && let Some(open) = self.open.remove(&request)
        {
            let silence = Err((Kind::Info, "no answer".to_owned()));
            self.complete(&open, Some(request), silence, generator);
        }
        self.happen();
    }

    fn next_fault(&self) -> u64 {
        self.timeline.front().map_or(u64::MAX, |(at, _, _)| *at)
    }

    /// Begins and ends what is due.
    fn happen(&mut self) {
        while self.next_fault() <= self.world.now() {
            let Some((_, ends, fault)) = self.timeline.pop_front() else { return };
            let step = if ends { "heal" } else { "inject" };
            self.note(fault, Kind::Invoke, step);
            if ends {
                self.in_force.retain(|other| !std::ptr::eq(*other, fault));
                fault.end(&mut self.world);
            } else {
                self.in_force.push(fault);
                fault.begin(&mut self.world);
            }
            fault.share(&self.in_force, &mut self.world);
            let proven = fault.is_in_force(&self.world) != ends;
            self.note(fault, if proven { Kind::Ok } else { Kind::Info }, step);
        }
    }

    fn note(&mut self, fault: &Fault, kind: Kind, step: &str) {
        let Some((id, name, whom)) = &fault.journal else { return };
        let mut value = whom.clone();
        value["fault"] = (*id).into();
        value["step"] = step.into();
        self.push(Op::new(Process::Nemesis, kind, *name).value(value));
    }

    fn outcome(&self, answer: Answer) -> Result<Read, (Kind, String)> {
        match answer {
            Answer::Reply(Reply::Got { values, .. }) => Ok(self.decode(&values)),
            Answer::Reply(Reply::Done) => Ok(Read::Lines([].into())),
            Answer::Reply(Reply::Refused(why)) => Err((Kind::Fail, why.to_string())),
            Answer::Reply(Reply::TimedOut) => Err((Kind::Info, "timed out".to_owned())),
            Answer::NotConnected => Err((Kind::Fail, "not connected".to_owned())),
            Answer::Broken => Err((Kind::Info, "the connection broke".to_owned())),
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
        &Open { worker, invoke, calm }: &Open,
        request: Option<RequestId>,
        read: Result<Read, (Kind, String)>,
        generator: &mut impl Generator,
    ) {
        let counts = calm.is_none_or(|before| before == self.world.mechanisms().held_down);
        let invoke = &self.lines[invoke];
        let reads = invoke.f != "put";
        let index = self.lines.len() as u64;
        let line = |kind| invoke.completed_briefly(kind);
        let (mut line, mut outcome) = match &read {
            Ok(Read::Lines(lines)) => {
                let values = lines.iter().filter_map(|at| value_at(&self.lines, *at)).collect();
                (line(Kind::Ok), Outcome::Ok { index, values })
            }
            Ok(Read::Strange(values)) => {
                (line(Kind::Ok), Outcome::Ok { index, values: values.iter().collect() })
            }
            // A read without an answer has surely changed nothing.
            Err((kind, error)) if reads || *kind == Kind::Fail => {
                (line(Kind::Fail).error(error.as_str()), Outcome::Fail)
            }
            Err((kind, error)) => (line(*kind).error(error.as_str()), Outcome::Info),
        };
        if !counts {
            outcome = Outcome::Uncounted;
        }
        line.is_final |= calm.is_some() && counts && line.kind == Kind::Ok;
        match (&outcome, request) {
            (Outcome::Ok { .. }, Some(request)) if reads => {
                self.reads[worker.0] = Some((index, request));
            }
            // Nobody knows when that operation ends: its process does nothing any more.
            (Outcome::Info, _) => self.processes[worker.0] += self.processes.len() as u64,
            _ => {}
        }
        match &outcome {
            Outcome::Ok { .. } | Outcome::Uncounted => self.counts.ok += 1,
            Outcome::Fail => self.counts.fail += 1,
            Outcome::Info => self.counts.info += 1,
        }
        let at = self.free.partition_point(|free| *free < worker);
        self.free.insert(at, worker);
        let now = Duration::from_micros(self.world.now());
        let why = match &read {
            Err((_, error)) => error.as_str(),
            Ok(_) if counts => "",
            Ok(_) => "a node suspected another meanwhile",
        };
        generator.update(&Event { now, worker, outcome, why });
        match read {
            Ok(Read::Lines(lines)) if reads => line.elsewhere = Some(Elsewhere::Lines(lines)),
            Ok(Read::Strange(values)) if reads => line.value = Some(Value::Array(values)),
            Ok(_) | Err(_) => {}
        }
        self.push(line);
    }

    fn push(&mut self, mut line: Op) -> usize {
        let index = self.lines.len();
        line.index = index as u64;
        line.time = self.world.now() * 1_000;
        self.lines.push(line);
        index
    }
}

fn value_at(lines: &[Op], line: u64) -> Option<&Value> {
    lines[line as usize].value.as_ref()
}

/// The first microsecond that is not before `time`: to wake up earlier is to wait for ever.
fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX)
}
