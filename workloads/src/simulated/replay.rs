//! Replays a trace and judges it again: by the white-box invariants, and by the checkers from the
//! history that its client requests and answers make.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use checker::history::op::{Kind, Op};
use checker::history::{History, Pair};
use checker::verdict::CheckReport;
use dynamo_protocol::{Event, Key, Place, Reply, RequestId, Skew};
use dynamo_sim::Bench;
use dynamo_sim::Effect;
use dynamo_sim::disk::DiskFault;
use dynamo_sim::replay::{ReplayError, Replayed, on_sim_with};
use dynamo_sim::trace::{self, Step, Trace};
use serde_json::Value;

use super::messages::Messages;
use super::run::{Violation, check, divided, said};
use crate::interpreter::book::{Open, reads};
use crate::interpreter::virtual_time::completion;
use crate::plan::WorkloadName;
use crate::run::finish::CONVERGENCE;
use crate::run::finish::counted::SUSPECTED;
use crate::run::judge::Grounds;
use crate::workload::client::Completion;

/// What a replay found.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Steps and digests.
    pub replayed: Replayed,
    /// What it violates; sorted by check.
    pub violations: Vec<Violation>,
    /// What checkers said, where the trace has a final phase.
    pub reports: Vec<(String, CheckReport)>,
    /// The history of its clients.
    pub history: History,
    /// What nodes sent each other for it.
    pub messages: Messages,
}

/// Replays `trace` as the simulator takes its steps, and judges it.
///
/// # Errors
/// Where it comes off the trace.
pub fn judge(trace: &Trace) -> Result<Judged, ReplayError> {
    let (mut scribe, mut messages) = (Scribe::default(), Messages::default());
    let replayed = on_sim_with(trace, |bench, step, effects| {
        scribe.note(trace, bench, step, effects);
        messages.note(trace, bench, step, effects);
    })?;
    let mut violations: Vec<_> = replayed
        .breaches
        .iter()
        .map(|(step, breach)| {
            let what = format!("{} at step {step}: {}", breach.node, breach.what);
            Violation::new(breach.check, what)
        })
        .collect();
    let mut history = History::default();
    match History::numbered(scribe.lines) {
        Ok(found) => history = found,
        Err(error) => {
            violations.push(Violation::new("well_formed", error.to_string()));
        }
    }
    violations.extend(scribe.divided.map(|what| Violation::new(CONVERGENCE, what)));
    // Without a final phase nobody has asked what was kept.
    let mut reports = Vec::new();
    if trace.closing.is_some() {
        reports = check(&trace.cluster, grounds(trace), workload(&history), &history);
        said(&reports, &history, &mut violations, &mut Vec::new());
    }
    violations.sort();
    Ok(Judged { replayed, violations, reports, history, messages })
}

/// What made it, which no trace says: carts hold items.
fn workload(history: &History) -> WorkloadName {
    let is_plain = |pair: Pair<'_>| {
        let is_plain = |value: &Value| !value.is_object() || value.get("counts").is_some();
        pair.f() == "delete"
            || pair.f() == "put" && pair.invoke.value.as_ref().is_some_and(is_plain)
    };
    if history.pairs().any(is_plain) { WorkloadName::Versions } else { WorkloadName::Cart }
}

/// What its store is held to: to what its check is about.
fn grounds(trace: &Trace) -> Grounds {
    let is_off = |step: &Step| matches!(step, Step::Clock { skew, .. } if *skew != Skew::NONE);
    let is_of_siblings = matches!(trace.check.as_deref(), Some("siblings" | "cart"));
    Grounds {
        lost: losses(trace),
        clocks_differ: trace.steps.iter().any(|entry| is_off(&entry.step)),
        only_its_own: !is_of_siblings,
    }
}

/// How many copies of a key the trace's faults may have cost.
fn losses(trace: &Trace) -> usize {
    let is_loss = |step: &Step| {
        let is_loss = |fault: &DiskFault| {
            matches!(fault, DiskFault::Damage(..) | DiskFault::Forget(..) | DiskFault::Empty)
        };
        match step {
            Step::Wipe { .. } | Step::Restore { .. } => true,
            Step::Disk { fault, .. } => is_loss(fault),
            _ => false,
        }
    };
    trace.steps.iter().filter(|entry| is_loss(&entry.step)).count()
}

/// Writes the history. Every request is a process of its own.
#[derive(Default)]
struct Scribe {
    lines: Vec<Op>,
    /// Of each request that is open its invocation, and of each get that is answered its answer.
    open: HashMap<RequestId, (Open, Op)>,
    answers: HashMap<RequestId, u64>,
    keys: BTreeSet<Key>,
    homes_read: bool,
    finals_read: bool,
    /// Homes that differ after all final gets.
    divided: Option<String>,
    /// How often nodes have begun to suspect a peer, and how often when each final get began; none if one was
    /// suspected then. It counts only if nobody was meanwhile.
    suspicions: u64,
    finals: HashMap<RequestId, Option<u64>>,
}

impl Scribe {
    fn note(&mut self, trace: &Trace, bench: &Bench, step: usize, effects: &[Effect]) {
        // All of a step is at one time, and the simulator's clients go by what is so after it.
        let is_suspicion =
            |effect: &&Effect| matches!(effect, Effect::Told(_, Event::Suspected(_)));
        self.suspicions += effects.iter().filter(is_suspicion).count() as u64;
        if let Step::Client { node, request, op } = &trace.steps[step].step {
            let closing = trace.closing;
            if !self.homes_read && closing.is_some_and(|closing| *request >= closing.homes) {
                self.homes_read = true;
                self.homes(bench);
            }
            let is_final = closing.is_some_and(|closing| *request >= closing.finals);
            if is_final {
                self.finals_read = true;
                self.finals.insert(*request, self.calm(bench));
            }
            self.invoked(bench.now(), node.to_string(), *request, op, is_final);
        }
        for effect in effects {
            if let Effect::Replied(request, reply) = effect {
                self.replied(bench, *request, reply);
            }
        }
        if step + 1 == trace.steps.len() && self.finals_read && bench.unrest().is_none() {
            self.divided = self.keys.iter().find_map(|key| divided(bench, key));
        }
    }

    fn invoked(&mut self, at: u64, node: String, request: RequestId, op: &trace::Op, last: bool) {
        let key = String::from_utf8_lossy(&op.key().0).into_owned();
        let mut line = match op {
            trace::Op::Get { .. } => Op::invoke(request.0, "get"),
            trace::Op::Put { value: Some(value), .. } => {
                Op::invoke(request.0, "put").value(decode(value))
            }
            trace::Op::Put { value: None, .. } => Op::invoke(request.0, "delete"),
        };
        line = line.key(key).node(node).at(at * 1_000);
        if let trace::Op::Put { read, .. } = op {
            self.keys.insert(op.key());
            line.context = read.and_then(|read| self.answers.get(&read)).copied();
        }
        self.open.insert(request, (Open::only(last), line.clone()));
        self.lines.push(line);
    }

    fn calm(&self, bench: &Bench) -> Option<u64> {
        bench.suspicion().is_none().then_some(self.suspicions)
    }

    fn replied(&mut self, bench: &Bench, request: RequestId, reply: &Reply) {
        let Some((open, invoke)) = self.open.remove(&request) else { return };
        let decode = |values: &[_]| values.iter().map(decode).collect::<Vec<_>>();
        let mut completion = completion(reply, request, decode);
        if let Completion::Ok { context: Some(get), .. } = completion {
            self.answers.insert(get, self.lines.len() as u64);
        }
        let before = self.finals.remove(&request);
        if before.is_some_and(|calm| calm.is_none() || calm != self.calm(bench)) {
            completion = completion.uncounted(SUSPECTED);
        }
        let mut line = open.completed(invoke, &completion).at(bench.now() * 1_000);
        if let Some(values) = completion.into_values().filter(|_| reads(&line)) {
            line.value = Some(Value::Array(values));
        }
        self.lines.push(line);
    }

    /// What every home of every key holds, without a quorum.
    fn homes(&mut self, bench: &Bench) {
        // Above any request's process.
        let mut process = 1 << 40;
        for key in &self.keys {
            let homes = bench.view().homes(key);
            for node in homes {
                let record = bench.host(*node).disk().durable(&Place::home(key.clone()));
                let values = record.map(|record| record.set.values()).unwrap_or_default();
                let invoke = Op::invoke(process, "home")
                    .key(String::from_utf8_lossy(&key.0).into_owned())
                    .node(node.to_string())
                    .at(bench.now() * 1_000)
                    .finally();
                let values: Vec<_> = values.iter().map(decode).collect();
                self.lines.push(invoke.clone());
                self.lines.push(invoke.completed(Kind::Ok).value(values));
                process += 1;
            }
        }
    }
}

fn decode(bytes: &Bytes) -> Value {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(bytes).into_owned()))
}
