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
//! use checker::history::op::{Kind, Op};
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
//! assert_eq!(report.verdict(), Verdict::Invalid);
//! assert_eq!(report.witness(), [1, 3]); // the write, and the read that missed it
//! # Ok::<(), checker::history::HistoryError>(())
//! ```

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hashbrown::{HashMap, HashSet};
use serde_json::Value;

use crate::history::History;
use crate::judge::budget::{Budget, Exhausted, Meter};
use crate::judge::finding::Findings;
use crate::judge::verdict::{CheckReport, Checker, Verdict};
use crate::spec::{self, Spec};

pub(crate) mod calls;
mod links;
mod mask;
mod plan;
mod relax;
mod states;
mod tried;
pub(crate) mod turns;
mod words;

pub mod frontier;
pub mod shrink;
pub mod stream;
pub mod validate;
pub mod zones;

pub use calls::{Call, Object, ReadError, objects};
use calls::{answers, no_answer, objects_and_rest};
use frontier::{Answer, held, recent};
use tried::{Tried, tried};
use words::Basis;
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
        match objects_and_rest(&self.spec, history, &mut meter) {
            Ok((objects, left_out)) => match left_out.refusal() {
                Some(why) => CheckReport::refused(why),
                None => left_out.noted_in(self.check_in_turn(&objects, &meter)),
            },
            Err(error) => error.report(),
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
    /// What the object can have held then, and what was answered.
    core: Option<String>,
    /// Had nothing that changes the object returned when the first of these calls began?
    is_first: bool,
}

/// A witness takes no more than as much time again as the verdict, or the blink of an eye.
pub(crate) fn share(spent: Duration) -> Duration {
    spent.clamp(Duration::from_millis(200), Duration::from_secs(5))
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
            match report.verdict() {
                Verdict::Valid => {}
                // With the calls of a process in turn fewer of them might show it.
                Verdict::Invalid => return report.with("minimal", false),
                Verdict::Unknown => return report,
            }
        }
        let judged = self.judge_all(&split.objects, meter);
        // In words stand the times of the history.
        let told = self.report(&turns::with_times_of(objects, &split.objects), &judged);
        match told.verdict() {
            Verdict::Invalid if !split.is_exact => CheckReport::unknown(
                "linearizable if equal times overlap, but perhaps not with the calls of each \
                 process in turn: the clock is too coarse to tell",
            )
            .judging(told.judged() as usize),
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
        let kept: Vec<Call<S::Op>> =
            shrunk.kept.iter().map(|at| calls[*at as usize].clone()).collect();
        let core = match rule {
            "no_order" => self.core_of_few(object, &kept),
            _ => None,
        };
        let is_first = self.is_first(object, &kept[0]);
        let calls = shrunk.kept.iter().map(|at| part[*at as usize]).collect();
        Wrong { rule, calls, minimal: shrunk.minimal, stuck: None, core, is_first }
    }

    /// Had nothing that changes the object returned when a call began?
    fn is_first(&self, object: &Object<S::Op>, call: &Call<S::Op>) -> bool {
        let mut updates = object.calls.iter().filter(|other| !self.spec.is_observer(&other.op));
        !updates.any(|other| other.returned.is_some_and(|at| at < call.invoked))
    }

    /// The core of a conflict, of which nothing but its own calls is at hand.
    fn core_of_few(&self, object: &Object<S::Op>, calls: &[Call<S::Op>]) -> Option<String> {
        let mut meter = Budget::UNLIMITED.start();
        let Answer::Stuck(stuck) = frontier::search(&self.spec, calls, &mut meter).answer else {
            return None;
        };
        let held = held(&self.spec, calls, stuck, &mut meter)?;
        self.core(object, calls, stuck, &held, Basis::Witness)
    }

    /// A small part of the calls that cannot be explained.
    fn small_part(&self, object: &Object<S::Op>, stuck: u32, meter: &Meter) -> Wrong {
        let spent = share(meter.elapsed());
        let whole = meter;
        let mut meter = whole.within(spent);
        let mut part = self.part_until(object, stuck);
        let calls_of = |part: &[u32]| -> Vec<Call<S::Op>> {
            part.iter().map(|at| object.calls[*at as usize].clone()).collect()
        };
        if let Some(recent) = self.recent_part(object, &part, stuck, &mut meter) {
            part = recent;
        }
        let calls = calls_of(&part);
        let around = part.iter().position(|at| *at == stuck).unwrap_or(0) as u32;
        let is_wrong = |part: &[Call<S::Op>]| {
            meter.look()?;
            match frontier::search(&self.spec, part, &mut meter).answer {
                // Where another fits nowhere first, what explains that one is gone.
                Answer::Stuck(at) => {
                    Ok(part[at as usize].name == object.calls[stuck as usize].name)
                }
                Answer::Linearizable(_) => Ok(false),
                Answer::Unknown { .. } => Err(Exhausted::Stopped),
            }
        };
        let shrunk = shrink::shrink(&self.spec, &calls, around, is_wrong);
        let mut minimal = shrunk.minimal;
        let mut places: Vec<u32> = shrunk.kept.iter().map(|at| part[*at as usize]).collect();
        let mut kept = calls_of(&places);
        let mut stuck = stuck;
        if let Answer::Stuck(at) = frontier::search(&self.spec, &kept, &mut meter).answer {
            stuck = places[at as usize];
            let others = self.others(object, stuck, &places);
            let (left, finished) = relax::relax(&self.spec, &kept, &others, at, &mut meter);
            minimal &= finished;
            kept = left.iter().map(|at| kept[*at as usize].clone()).collect();
            places = left.into_iter().map(|at| places[at as usize]).collect();
        } else {
            minimal = false;
        }
        let held = held(&self.spec, &object.calls, stuck, &mut whole.within(spent));
        let core = held.and_then(|held| self.core(object, &object.calls, stuck, &held, Basis::All));
        let alone = kept.len() == 1 && self.is_from_nowhere(object, &kept[0]);
        let rule = if alone { "nobody_wrote" } else { "no_order" };
        let is_first = self.is_first(object, &kept[0]);
        Wrong { rule, calls: places, minimal, stuck: Some(stuck), core, is_first }
    }

    /// The calls that play a part when `stuck` returns: those that had begun. And, so that none of
    /// them seems to have seen what nobody made, a maker of whatever they use and none of them makes.
    fn part_until(&self, object: &Object<S::Op>, stuck: u32) -> Vec<u32> {
        let end = object.calls[stuck as usize].returned.unwrap_or(u64::MAX);
        let until = object.calls.partition_point(|call| call.invoked <= end);
        let part: Vec<u32> = (0..until as u32).collect();
        if until == object.calls.len() {
            return part;
        }
        self.with_makers(object, part)
    }

    /// Of a part what is left when all is left out that is long past, if the same call fits nowhere.
    fn recent_part(
        &self,
        object: &Object<S::Op>,
        part: &[u32],
        stuck: u32,
        meter: &mut Meter,
    ) -> Option<Vec<u32>> {
        let calls_of = |part: &[u32]| -> Vec<Call<S::Op>> {
            part.iter().map(|at| object.calls[*at as usize].clone()).collect()
        };
        let at = part.iter().position(|at| *at == stuck)?;
        let recent = recent(&self.spec, &calls_of(part), at as u32, meter)?;
        let recent = recent.into_iter().map(|at| part[at as usize]).collect();
        let recent = self.with_makers(object, recent);
        let answer = frontier::search(&self.spec, &calls_of(&recent), meter).answer;
        matches!(answer, Answer::Stuck(at) if recent[at as usize] == stuck).then_some(recent)
    }

    /// These calls, and of whatever they use and none of them makes a call that makes it.
    fn with_makers(&self, object: &Object<S::Op>, mut part: Vec<u32>) -> Vec<u32> {
        let ops: Vec<&S::Op> = object.calls.iter().map(|call| &call.op).collect();
        let ties = self.spec.ties(&ops);
        // Of each thing the first maker, and the first other one: what makes what it uses is none.
        let mut makers: HashMap<u32, (u32, Option<u32>)> = HashMap::new();
        for at in 0..ties.len() as u32 {
            for thing in &ties[at as usize].makes {
                let (first, other) = makers.entry(*thing).or_insert((at, None));
                if *first != at && other.is_none() {
                    *other = Some(at);
                }
            }
        }
        let mut taken: HashSet<u32> = part.iter().copied().collect();
        let mut next = 0;
        while let Some(at) = part.get(next).copied() {
            next += 1;
            let made_by = ties[at as usize].uses.iter().filter_map(|thing| makers.get(thing));
            for &(first, other) in made_by {
                let maker = if first == at { other } else { Some(first) };
                part.extend(maker.filter(|maker| taken.insert(*maker)));
            }
        }
        part.sort_unstable();
        part
    }

    /// What else had begun when `stuck` returned and may have changed something.
    fn others(&self, object: &Object<S::Op>, stuck: u32, part: &[u32]) -> Vec<Call<S::Op>> {
        let end = object.calls[stuck as usize].returned.unwrap_or(u64::MAX);
        let part: HashSet<u32> = part.iter().copied().collect();
        let others = (0..).zip(&object.calls).filter(|(at, call)| {
            call.invoked <= end && !part.contains(at) && !self.spec.is_observer(&call.op)
        });
        others.map(|(_, call)| call.clone()).collect()
    }

    /// Does a call use what no call made that had begun when it returned?
    fn is_from_nowhere(&self, object: &Object<S::Op>, call: &Call<S::Op>) -> bool {
        let begun = object.calls.iter().filter(|other| Some(other.invoked) <= call.returned);
        let mut ops = vec![&call.op];
        ops.extend(begun.map(|other| &other.op));
        let ties = self.spec.ties(&ops);
        let uses = &ties[0].uses;
        !uses.is_empty() && !ties.iter().any(|tie| tie.makes.iter().any(|it| uses.contains(it)))
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
        let answers = answers(&self.spec, objects);
        let mut report = findings.report(answers, &no_answer(&self.spec));
        match open.first() {
            _ if !findings.is_empty() => {
                report = report.with("minimal", minimal);
                if let Some(tried) = self.tried(objects, judged) {
                    report = report.with("order", tried);
                }
            }
            None => {}
            Some((key, reason)) => {
                let key = key.map_or_else(String::new, |key| format!("key {key:?}: "));
                let more = match open.len() {
                    1 => String::new(),
                    n => format!(" (and {} more of {} keys)", n - 1, objects.len()),
                };
                report = report.doubted(format!("{key}{reason}{more}"));
            }
        }
        let calls: usize = objects.iter().map(|object| object.calls.len()).sum();
        report
            .with("keys", objects.len())
            .with("calls", calls)
            .with("engines", engines)
            .with("widest", widest)
    }
}

impl<S: Spec> Linearizable<S> {
    /// Of the first object that is wrong.
    fn tried(&self, objects: &[Object<S::Op>], judged: &[(usize, Judgement)]) -> Option<Tried> {
        judged.iter().find_map(|(at, judgement)| {
            let Judgement::Wrong(wrong) = judgement else { return None };
            let calls = wrong.calls.iter().map(|call| objects[*at].calls[*call as usize].clone());
            Some(tried(&self.spec, &calls.collect::<Vec<_>>()))
        })?
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
        "multi-register" => Box::new(Linearizable::new(spec::MultiRegister::default())),
        "set" => Box::new(Linearizable::new(spec::Set)),
        "queue" => Box::new(Linearizable::new(spec::Queue)),
        "counter" => Box::new(Linearizable::new(spec::Counter::default())),
        "kv" => Box::new(Linearizable::new(spec::Kv::default())),
        _ => return None,
    })
}

/// The checker of a named specification whose objects hold `initial` at first; an error where it has
/// no such value, or none of that kind.
pub fn beginning_with(name: &str, initial: &Value) -> Result<Box<dyn Checker>, String> {
    let initial_value = || initial.clone();
    Ok(match name {
        "register" => Box::new(Linearizable::new(spec::Register { initial: initial_value() })),
        "cas-register" => {
            let initial = initial_value();
            Box::new(Linearizable::new(spec::CasRegister { initial, ..Default::default() }))
        }
        "multi-register" => {
            Box::new(Linearizable::new(spec::MultiRegister { initial: initial_value() }))
        }
        "counter" => {
            let initial = initial.as_i64().ok_or("a counter begins with a whole number")?;
            Box::new(Linearizable::new(spec::Counter { initial }))
        }
        "kv" => Box::new(Linearizable::new(spec::Kv { initial: spec::text_of(initial)? })),
        other => return Err(format!("the objects of {other} have no initial value to choose")),
    })
}
