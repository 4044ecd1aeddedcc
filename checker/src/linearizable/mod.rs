//! Linearizability: is there one order of all operations, each at an instant between its
//! beginning and its return, that a sequential object could have gone through?
//!
//! Two engines: [`zones`] for registers whose writes are all different, in linear time, and
//! [`frontier`] for any [`Spec`]. An order that the search finds is re-checked by [`validate`];
//! what is wrong is made small by [`shrink`]. Equal times overlap, but for those of one process,
//! which does one thing after the other ([`turns`]).
//!
//! ```
//! use checker::budget::Budget;
//! use checker::history::History;
//! use checker::linearizable::Linearizable;
//! use checker::op::{Kind, Op};
//! use checker::spec::Register;
//! use checker::verdict::{Checker, Verdict};
//!
//! let write = Op::invoke(0, "write").value(1);
//! let read = Op::invoke(1, "read").at(2);
//! let history = History::numbered(vec![
//!     write.clone(), write.completed(Kind::Ok).at(1),
//!     read.clone(), read.completed(Kind::Ok).value(serde_json::Value::Null).at(3),
//! ])?;
//! let report = Linearizable::new(Register::default()).check(&history, &Budget::UNLIMITED);
//! assert_eq!(report.verdict, Verdict::Invalid);
//! assert_eq!(report.witness(), [1, 3]); // the write, and the read that missed it
//! # Ok::<(), checker::history::HistoryError>(())
//! ```

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hashbrown::{HashMap, HashSet};

use crate::budget::{Budget, Exhausted, Meter};
use crate::finding::{Findings, counted, seconds};
use crate::history::History;
use crate::spec::{self, Spec, Tie};
use crate::verdict::{CheckReport, Checker, Verdict};

mod calls;
mod links;
mod mask;
mod plan;
mod states;
mod turns;

pub mod frontier;
pub mod sequential;
pub mod shrink;
pub mod stream;
pub mod validate;
pub mod zones;

pub use calls::{Call, Object, ReadError, objects};
use frontier::Answer;
use zones::Conflict;

/// Which engine judges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// The zone check where it applies, and the search elsewhere.
    #[default]
    Auto,
    /// The search, always.
    Search,
}

/// The checker of a specification.
#[derive(Clone, Debug)]
pub struct Linearizable<S> {
    spec: S,
    engine: Engine,
    name: String,
}

impl<S: Spec> Linearizable<S> {
    /// With the engine that suits each object.
    pub fn new(spec: S) -> Self {
        let name = format!("linearizable {}", spec.name());
        Self { spec, engine: Engine::Auto, name }
    }

    /// With this engine.
    pub fn engine(self, engine: Engine) -> Self {
        Self { engine, ..self }
    }

    /// The specification.
    pub fn spec(&self) -> &S {
        &self.spec
    }
}

impl<S: Spec> Checker for Linearizable<S> {
    fn name(&self) -> &str {
        &self.name
    }

    fn check(&self, history: &History, budget: &Budget) -> CheckReport {
        let mut meter = budget.start();
        match objects(&self.spec, history, &mut meter) {
            Ok(objects) => self.check_in_turn(&objects, &meter),
            Err(error) => CheckReport::unknown(error.to_string()),
        }
    }
}

/// What is known of one object.
#[derive(Debug)]
enum Judgement {
    Fine { engine: &'static str, widest: usize },
    Wrong(Wrong),
    Unknown { reason: String },
}

#[derive(Debug)]
struct Wrong {
    rule: &'static str,
    /// Positions of the calls that show it.
    calls: Vec<u32>,
    minimal: bool,
    /// The call that could not have happened, where the search found that.
    stuck: Option<u32>,
}

impl<S: Spec> Linearizable<S> {
    /// Judges objects by the rule for equal times (see [`turns`]).
    fn check_in_turn(&self, objects: &[Object<S::Op>], meter: &Meter) -> CheckReport {
        let split = turns::in_turn(objects);
        if !split.is_split {
            return self.check_objects(objects, meter);
        }
        if !split.is_exact {
            let report = self.check_objects(objects, meter);
            match report.verdict {
                Verdict::Valid => {}
                // With the calls of a process in turn fewer of them might show it.
                Verdict::Invalid => return report.with("minimal", false),
                Verdict::Unknown => return report,
            }
        }
        let judged = self.judge_all(&split.objects, meter);
        // In words stand the times of the history.
        let told = self.report(&turns::with_times_of(objects, &split.objects), &judged);
        match told.verdict {
            Verdict::Invalid if !split.is_exact => CheckReport::unknown(
                "linearizable if equal times overlap, but perhaps not with the calls of each \
                 process in turn: the clock is too coarse to tell",
            ),
            Verdict::Valid | Verdict::Invalid | Verdict::Unknown => told,
        }
    }

    /// Judges objects side by side, the biggest first. Equal times overlap.
    pub fn check_objects(&self, objects: &[Object<S::Op>], meter: &Meter) -> CheckReport {
        self.report(objects, &self.judge_all(objects, meter))
    }

    fn judge_all(&self, objects: &[Object<S::Op>], meter: &Meter) -> Vec<(usize, Judgement)> {
        let mut order: Vec<usize> = (0..objects.len()).collect();
        order.sort_by_key(|at| std::cmp::Reverse(objects[*at].calls.len()));
        let next = AtomicUsize::new(0);
        let stop = Arc::new(AtomicBool::new(false));
        let judged = Mutex::new(Vec::with_capacity(objects.len()));
        let work = || {
            while let Some(&at) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                let judgement = self.judge(&objects[at], meter, &stop);
                if matches!(judgement, Judgement::Wrong(_)) {
                    stop.store(true, Ordering::Relaxed);
                }
                judged.lock().expect("no one panics with the lock held").push((at, judgement));
            }
        };
        // To ask how many cores there are takes longer than to judge a small object.
        let cores = match objects.len() {
            0 | 1 => 1,
            more => std::thread::available_parallelism().map_or(1, usize::from).min(more),
        };
        if cores > 1 {
            std::thread::scope(|scope| {
                (0..cores).for_each(|_| {
                    scope.spawn(work);
                })
            });
        } else {
            work();
        }
        let mut judged = judged.into_inner().expect("every thread has ended well");
        judged.sort_by_key(|(at, _)| *at);
        judged
    }

    fn judge(&self, object: &Object<S::Op>, whole: &Meter, stop: &Arc<AtomicBool>) -> Judgement {
        let mut meter = whole.stopped_by(stop);
        if let Err(exhausted) = meter.look() {
            return Judgement::Unknown { reason: exhausted.to_string() };
        }
        let register = |op: &S::Op| self.spec.as_register(op);
        if self.engine == Engine::Auto
            && let Ok(conflict) = zones::check(&object.calls, register)
        {
            return match conflict {
                None => Judgement::Fine { engine: "zones", widest: 1 },
                Some(conflict) => Judgement::Wrong(self.small_conflict(object, &conflict)),
            };
        }
        let search = frontier::search(&self.spec, &object.calls, &mut meter);
        match search.answer {
            Answer::Linearizable(order) => {
                let checked = validate::validate(&self.spec, &object.calls, &order);
                checked.expect("the order that the search found is legal");
                Judgement::Fine { engine: "search", widest: search.widest }
            }
            // What is found wrong is made small even if another object was wrong before it.
            Answer::Stuck(call) => Judgement::Wrong(self.small_part(object, call, whole)),
            Answer::Unknown { reason, events, of } => {
                let reason = format!("{reason}: {events} of {of} events were explained");
                Judgement::Unknown { reason }
            }
        }
    }

    /// The calls of a conflict that are needed to show it.
    fn small_conflict(&self, object: &Object<S::Op>, conflict: &Conflict) -> Wrong {
        let rule = match conflict {
            Conflict::NobodyWrote { .. } => "nobody_wrote",
            Conflict::FromTheFuture { .. } => "from_the_future",
            Conflict::Overlap { .. } => "no_order",
        };
        let part = conflict.calls();
        let calls: Vec<Call<S::Op>> =
            part.iter().map(|at| object.calls[*at as usize].clone()).collect();
        let is_wrong = |calls: &[Call<S::Op>]| {
            let found = zones::check(calls, |op| self.spec.as_register(op));
            Ok(matches!(found, Ok(Some(_))))
        };
        let shrunk = shrink::shrink(&self.spec, &calls, 0, is_wrong);
        let calls = shrunk.kept.iter().map(|at| part[*at as usize]).collect();
        Wrong { rule, calls, minimal: shrunk.minimal, stuck: None }
    }

    /// A small part of the calls that cannot be explained.
    fn small_part(&self, object: &Object<S::Op>, stuck: u32, meter: &Meter) -> Wrong {
        const LONGEST: Duration = Duration::from_secs(5);
        let part = self.part_until(object, stuck);
        let calls: Vec<Call<S::Op>> =
            part.iter().map(|at| object.calls[*at as usize].clone()).collect();
        let mut meter = meter.within(LONGEST);
        let is_wrong = |part: &[Call<S::Op>]| {
            meter.look()?;
            match frontier::search(&self.spec, part, &mut meter).answer {
                Answer::Stuck(_) => Ok(true),
                Answer::Linearizable(_) => Ok(false),
                Answer::Unknown { .. } => Err(Exhausted::Stopped),
            }
        };
        let shrunk = shrink::shrink(&self.spec, &calls, stuck, is_wrong);
        let kept: Vec<Call<S::Op>> =
            shrunk.kept.iter().map(|at| calls[*at as usize].clone()).collect();
        let again = frontier::search(&self.spec, &kept, &mut meter);
        let calls: Vec<u32> = shrunk.kept.iter().map(|at| part[*at as usize]).collect();
        let stuck = match again.answer {
            Answer::Stuck(call) => Some(calls[call as usize]),
            Answer::Linearizable(_) | Answer::Unknown { .. } => Some(stuck),
        };
        let alone = calls.len() == 1 && self.spec.is_observer(&kept[0].op);
        let rule = if alone { "nobody_wrote" } else { "no_order" };
        Wrong { rule, calls, minimal: shrunk.minimal, stuck }
    }

    /// The calls that play a part when `stuck` returns: those that had begun. And, so that none of
    /// them seems to have seen what nobody made, a maker of whatever they use and none of them makes.
    fn part_until(&self, object: &Object<S::Op>, stuck: u32) -> Vec<u32> {
        let end = object.calls[stuck as usize].returned.unwrap_or(u64::MAX);
        let until = object.calls.partition_point(|call| call.invoked <= end);
        let mut part: Vec<u32> = (0..until as u32).collect();
        if until == object.calls.len() {
            return part;
        }
        let ops: Vec<&S::Op> = object.calls.iter().map(|call| &call.op).collect();
        let ties = self.spec.ties(&ops);
        let mut makers: HashMap<u32, u32> = HashMap::new();
        for (at, tie) in (0..).zip(&ties) {
            for thing in &tie.makes {
                makers.entry(*thing).or_insert(at);
            }
        }
        let mut taken: HashSet<u32> = part.iter().copied().collect();
        let mut next = 0;
        while let Some(at) = part.get(next).copied() {
            next += 1;
            for maker in ties[at as usize].uses.iter().filter_map(|thing| makers.get(thing)) {
                if taken.insert(*maker) {
                    part.push(*maker);
                }
            }
        }
        part.sort_unstable();
        part
    }

    fn report(&self, objects: &[Object<S::Op>], judged: &[(usize, Judgement)]) -> CheckReport {
        let mut findings = Findings::default();
        let (mut engines, mut widest, mut minimal) = (BTreeSet::new(), 0, true);
        let mut open = Vec::new();
        for (at, judgement) in judged {
            let object = &objects[*at];
            match judgement {
                Judgement::Fine { engine, widest: wide } => {
                    engines.insert(*engine);
                    widest = widest.max(*wide);
                }
                Judgement::Wrong(wrong) => {
                    let calls = wrong.calls.iter().map(|call| &object.calls[*call as usize]);
                    let names = calls.map(|call| call.name).collect();
                    minimal &= wrong.minimal;
                    let key = object.key.as_deref().unwrap_or("");
                    findings.add(wrong.rule, key, names, self.in_words(object, wrong));
                }
                Judgement::Unknown { reason } => open.push((object.key.as_deref(), reason)),
            }
        }
        let report = match open.first() {
            _ if !findings.is_empty() => findings.report().with("minimal", minimal),
            None if objects.is_empty() => CheckReport::unknown("no operation: nothing to judge"),
            None => CheckReport::valid(),
            Some((key, reason)) => {
                let key = key.map_or_else(String::new, |key| format!("key {key:?}: "));
                let more = match open.len() {
                    1 => String::new(),
                    n => format!(" (and {} more of {} keys)", n - 1, objects.len()),
                };
                CheckReport::unknown(format!("{key}{reason}{more}"))
            }
        };
        let calls: usize = objects.iter().map(|object| object.calls.len()).sum();
        report
            .with("keys", objects.len())
            .with("calls", calls)
            .with("engines", engines)
            .with("widest", widest)
    }

    fn in_words(&self, object: &Object<S::Op>, wrong: &Wrong) -> String {
        let call = |at: u32| &object.calls[at as usize];
        let said = |at: u32| {
            let call = call(at);
            format!("#{} {}", call.name, self.spec.describe(&call.op, &object.values))
        };
        match (wrong.rule, wrong.calls.as_slice()) {
            ("nobody_wrote", &[read]) => match self.failed_source(object, call(read)) {
                Some(failed) => format!("{}, which only the failed op #{failed} wrote", said(read)),
                None => format!("{}, which nobody wrote", said(read)),
            },
            ("from_the_future", &[a, b]) => {
                let read_first = call(a).returned < Some(call(b).invoked);
                let (read, write) = if read_first { (a, b) } else { (b, a) };
                let (at, began) = (call(read).returned.unwrap_or(0), call(write).invoked);
                let (at, began) = (seconds(at), seconds(began));
                format!("{} at {at}, but {} began at {began} only", said(read), said(write))
            }
            (_, calls) => {
                const MOST: usize = 8;
                let interval = |at: u32| match call(at).returned {
                    Some(end) => format!("{} to {}", seconds(call(at).invoked), seconds(end)),
                    None => format!("{} and never returned", seconds(call(at).invoked)),
                };
                let shown = calls.iter().take(MOST);
                let list = shown.map(|at| format!("{} ({})", said(*at), interval(*at)));
                let mut list = list.collect::<Vec<_>>().join("; ");
                if calls.len() > MOST {
                    list.push_str("; ...");
                }
                let stuck = wrong.stuck.map_or_else(String::new, |at| {
                    format!(": #{} cannot have happened when it returned", call(at).name)
                });
                let ops = counted(calls.len(), "operation");
                format!("no order explains these {ops}{stuck}: {list}")
            }
        }
    }

    /// The failed call that would have made what a call used.
    fn failed_source(&self, object: &Object<S::Op>, call: &Call<S::Op>) -> Option<u64> {
        let mut ops = vec![&call.op];
        ops.extend(object.failed.iter().map(|failed| &failed.op));
        let ties = self.spec.ties(&ops);
        let made = |tie: &Tie| tie.makes.iter().any(|thing| ties[0].uses.contains(thing));
        let at = ties[1..].iter().position(made)?;
        Some(object.failed[at].name)
    }
}

/// The specifications that can be asked for by name.
pub const NAMES: [&str; 9] = [
    "register",
    "cas-register",
    "mutex",
    "owned-mutex",
    "multi-register",
    "set",
    "queue",
    "counter",
    "kv",
];

/// The checker of a named specification, one of [`NAMES`].
pub fn named(name: &str) -> Option<Box<dyn Checker>> {
    Some(match name {
        "register" => Box::new(Linearizable::new(spec::Register::default())),
        "cas-register" => Box::new(Linearizable::new(spec::CasRegister::default())),
        "mutex" => Box::new(Linearizable::new(spec::Mutex { owned: false })),
        "owned-mutex" => Box::new(Linearizable::new(spec::Mutex { owned: true })),
        "multi-register" => Box::new(Linearizable::new(spec::MultiRegister)),
        "set" => Box::new(Linearizable::new(spec::Set)),
        "queue" => Box::new(Linearizable::new(spec::Queue)),
        "counter" => Box::new(Linearizable::new(spec::Counter)),
        "kv" => Box::new(Linearizable::new(spec::Kv)),
        _ => return None,
    })
}
