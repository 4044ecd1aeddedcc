//! Sequential consistency: is there one order of all operations, of all keys, that a sequential
//! store could have gone through and in which each process's operations stand as it did them?
//! (Lamport, 1979.) Real time does not count, and so keys cannot be judged apart.
//!
//! To decide it is NP-hard, also for registers whose writes are all different (Gibbons and
//! Korach, 1997). In turn are tried:
//!
//! 1. A linearizable history is sequentially consistent: that is often quickly seen. (Equal times
//!    overlap for linearizability; here those of one process stand [in turn](turns).)
//! 2. Registers of unique writes: what must come before what is [saturated](saturate). A cycle is
//!    a proof that there is no order.
//! 3. A search, depth first, with memory, within the budget; what is saturated narrows it.

use std::time::Duration;

use hashbrown::{HashMap, HashSet};

use crate::consistency::linearizable::calls::{Call, Object, answers, no_answer, objects_and_rest};
use crate::consistency::linearizable::frontier::{self, Answer};
use crate::consistency::linearizable::{share, shrink, turns, zones};
use crate::history::History;
use crate::judge::budget::{Budget, Exhausted, Meter};
use crate::judge::finding::{Findings, counted};
use crate::judge::verdict::{CheckReport, Checker};
use crate::spec::{Spec, Tie, Values};

mod saturate;

use saturate::{Saturated, saturate};

/// The checker of a specification.
#[derive(Clone, Debug)]
pub struct Sequential<S> {
    spec: S,
    name: String,
}

impl<S: Spec> Sequential<S> {
    /// Of these objects.
    pub fn new(spec: S) -> Self {
        let name = format!("sequential {}", spec.name());
        Self { spec, name }
    }
}

impl<S: Spec> Checker for Sequential<S> {
    fn name(&self) -> &str {
        &self.name
    }

    fn check(&self, history: &History, budget: &Budget) -> CheckReport {
        let mut meter = budget.start();
        let (objects, left_out) = match objects_and_rest(&self.spec, history, &mut meter) {
            Ok((objects, left_out)) => (objects, left_out),
            Err(error) => return error.report(),
        };
        if let Some(why) = left_out.refusal() {
            return CheckReport::refused(why);
        }
        let calls: usize = objects.iter().map(|object| object.calls.len()).sum();
        let report = if self.is_linearizable(&turns::in_turn(&objects).objects, &meter) {
            self.holds(&objects, "linearizable")
        } else {
            self.decide(&objects, &mut meter)
        };
        left_out.noted_in(report.with("keys", objects.len()).with("calls", calls))
    }
}

/// An operation of one of several objects.
type Joint<O> = (u32, O);

impl<S: Spec> Sequential<S> {
    /// Is it quickly seen to be linearizable?
    fn is_linearizable(&self, objects: &[Object<S::Op>], meter: &Meter) -> bool {
        const LONGEST: Duration = Duration::from_secs(1);
        let mut meter = meter.within(LONGEST);
        objects.iter().all(|object| {
            match zones::check(&object.calls, |op| self.spec.as_register(op)) {
                Ok(conflict) => conflict.is_none(),
                Err(zones::NotApplicable) => {
                    let search = frontier::search(&self.spec, &object.calls, &mut meter);
                    matches!(search.answer, Answer::Linearizable(_))
                }
            }
        })
    }

    fn decide(&self, objects: &[Object<S::Op>], meter: &mut Meter) -> CheckReport {
        let calls = joined(objects);
        match decide(&self.spec, &calls, meter) {
            Ok(Decision::Order(order)) => {
                validate(&self.spec, &calls, &order).expect("the order that was found is legal");
                self.holds(objects, "search")
            }
            Ok(Decision::None { around }) => {
                let mut within = meter.within(share(meter.elapsed()));
                let is_wrong = |part: &[Call<Joint<S::Op>>]| {
                    within.look()?;
                    let decision = decide(&self.spec, part, &mut within)?;
                    Ok(matches!(decision, Decision::None { .. }))
                };
                let joint = JointSpec(&self.spec);
                let shrunk = shrink::shrink(&joint, &calls, around, is_wrong);
                self.wrong(objects, &calls, &shrunk)
            }
            Err(exhausted) => CheckReport::unknown(exhausted.to_string()),
        }
    }

    fn holds(&self, objects: &[Object<S::Op>], engine: &str) -> CheckReport {
        CheckReport::valid_if_judged(answers(&self.spec, objects), &no_answer(&self.spec))
            .with("engine", engine)
    }

    fn wrong(
        &self,
        objects: &[Object<S::Op>],
        calls: &[Call<Joint<S::Op>>],
        shrunk: &shrink::Shrunk,
    ) -> CheckReport {
        const MOST: usize = 10;
        let kept = || shrunk.kept.iter().map(|at| &calls[*at as usize]);
        let said = kept().take(MOST).map(|call| {
            let object = &objects[call.op.0 as usize];
            let key = object.key.as_ref().map_or_else(String::new, |key| format!(" of {key:?}"));
            let what = self.spec.describe(&call.op.1, &object.values);
            format!("#{} {what}{key} by process {}", call.name, call.process)
        });
        let said = said.collect::<Vec<_>>().join("; ");
        let more = if shrunk.kept.len() > MOST { "; ..." } else { "" };
        let ops = counted(shrunk.kept.len(), "operation");
        let what = format!(
            "no order explains these {ops} with those of each process in turn: {said}{more}"
        );
        let mut findings = Findings::default();
        let names = kept().map(|call| call.name).collect();
        findings.add("no_sequential_order", "", names, what);
        let answers = answers(&self.spec, objects);
        findings.report(answers, "").with("minimal", shrunk.minimal)
    }
}

/// The calls of all objects, in order of invocation.
fn joined<O: Clone>(objects: &[Object<O>]) -> Vec<Call<Joint<O>>> {
    let mut calls: Vec<Call<Joint<O>>> = Vec::new();
    for (at, object) in (0..).zip(objects) {
        calls.extend(object.calls.iter().map(|call| Call {
            op: (at, call.op.clone()),
            name: call.name,
            process: call.process,
            invoked: call.invoked,
            returned: call.returned,
        }));
    }
    // Names number completions: of one process they are in its order.
    calls.sort_by_key(|call| (call.invoked, call.name));
    calls
}

/// All objects together as one, for shrinking.
struct JointSpec<'a, S>(&'a S);

impl<S: Spec> Spec for JointSpec<'_, S> {
    type Op = Joint<S::Op>;
    type State = ();

    fn name(&self) -> &str {
        self.0.name()
    }

    fn read(
        &self,
        _: &crate::history::Pair<'_>,
        _: &mut Values,
    ) -> Result<Option<Self::Op>, String> {
        Ok(None)
    }

    fn init(&self) {}

    fn step(&self, (): &(), _: &Self::Op) -> Option<()> {
        Some(())
    }

    fn can_be_wrong(&self, op: &Self::Op) -> bool {
        self.0.can_be_wrong(&op.1)
    }

    fn is_observer(&self, op: &Self::Op) -> bool {
        self.0.is_observer(&op.1)
    }

    /// Things of different objects are different.
    fn ties(&self, ops: &[&Self::Op]) -> Vec<Tie> {
        let mut ties = vec![Tie::stays(); ops.len()];
        let mut numbers: HashMap<(u32, u32), u32> = HashMap::new();
        let objects: HashSet<u32> = ops.iter().map(|op| op.0).collect();
        for object in objects {
            let its: Vec<usize> = (0..ops.len()).filter(|at| ops[*at].0 == object).collect();
            let its_ops: Vec<&S::Op> = its.iter().map(|at| &ops[*at].1).collect();
            for (at, mut tie) in its.into_iter().zip(self.0.ties(&its_ops)) {
                for thing in tie.makes.iter_mut().chain(&mut tie.uses) {
                    let next = numbers.len() as u32;
                    *thing = *numbers.entry((object, *thing)).or_insert(next);
                }
                ties[at] = tie;
            }
        }
        ties
    }
}

enum Decision {
    /// In this order, which may leave out what never returned.
    Order(Vec<u32>),
    /// There is none; a call that stands where that was seen.
    None { around: u32 },
}

fn decide<S: Spec>(
    spec: &S,
    calls: &[Call<Joint<S::Op>>],
    meter: &mut Meter,
) -> Result<Decision, Exhausted> {
    let programs = programs(calls);
    let saturated = saturate(&programs, calls, |op| spec.as_register(&op.1), meter)?;
    let before = match saturated {
        Saturated::Contradiction { around } => return Ok(Decision::None { around }),
        Saturated::Before(before) => before,
        Saturated::NotApplicable => vec![Vec::new(); calls.len()],
    };
    Search::new(spec, calls, programs, before).run(meter)
}

/// Positions of the calls of each process, as it did them.
fn programs<O>(calls: &[Call<O>]) -> Vec<Vec<u32>> {
    let mut programs: Vec<Vec<u32>> = Vec::new();
    let mut by_process: HashMap<u64, usize> = HashMap::new();
    for (at, call) in (0..).zip(calls) {
        let program = *by_process.entry(call.process).or_insert_with(|| {
            programs.push(Vec::new());
            programs.len() - 1
        });
        programs[program].push(at);
    }
    programs
}

struct Search<'a, S: Spec> {
    spec: &'a S,
    calls: &'a [Call<Joint<S::Op>>],
    programs: Vec<Vec<u32>>,
    /// Of each call its place: program and position there.
    place: Vec<(u32, u32)>,
    /// Of each call others that must come first.
    before: Vec<Vec<u32>>,
    states: Vec<S::State>,
    ids: HashMap<S::State, u32>,
    met: HashSet<Box<[u32]>>,
    /// The furthest any path got, and the call that stood there.
    furthest: (usize, u32),
}

/// How far each program is, and then the state of each object.
type Node = Box<[u32]>;

struct Frame {
    node: Node,
    /// How many calls had been taken on the way here.
    taken: usize,
    /// Calls still to be tried next, the best last.
    choices: Vec<u32>,
}

impl<'a, S: Spec> Search<'a, S> {
    fn new(
        spec: &'a S,
        calls: &'a [Call<Joint<S::Op>>],
        programs: Vec<Vec<u32>>,
        before: Vec<Vec<u32>>,
    ) -> Self {
        let mut place = vec![(0, 0); calls.len()];
        for (program, its) in (0..).zip(&programs) {
            for (position, call) in (0..).zip(its) {
                place[*call as usize] = (program, position);
            }
        }
        Self {
            spec,
            calls,
            programs,
            place,
            before,
            states: Vec::new(),
            ids: HashMap::new(),
            met: HashSet::new(),
            furthest: (0, 0),
        }
    }

    fn run(mut self, meter: &mut Meter) -> Result<Decision, Exhausted> {
        let objects = self.calls.iter().map(|call| call.op.0 as usize + 1).max().unwrap_or(0);
        let init = self.intern(self.spec.init());
        let mut node: Node = vec![0; self.programs.len() + objects].into();
        node[self.programs.len()..].fill(init);
        let mut order = Vec::new();
        let mut stack = Vec::new();
        self.enter(node, &mut order, &mut stack, meter)?;
        while let Some(frame) = stack.last_mut() {
            meter.tick()?;
            order.truncate(frame.taken);
            if self.is_whole(&frame.node) {
                return Ok(Decision::Order(order));
            }
            let Some(call) = frame.choices.pop() else {
                stack.pop();
                continue;
            };
            let mut node = frame.node.clone();
            if self.take(&mut node, call) {
                order.push(call);
                self.enter(node, &mut order, &mut stack, meter)?;
            }
        }
        Ok(Decision::None { around: self.furthest.1 })
    }

    fn intern(&mut self, state: S::State) -> u32 {
        if let Some(&id) = self.ids.get(&state) {
            return id;
        }
        let id = self.states.len() as u32;
        self.states.push(state.clone());
        self.ids.insert(state, id);
        id
    }

    /// Goes on from a node, unless that was done before.
    fn enter(
        &mut self,
        mut node: Node,
        order: &mut Vec<u32>,
        stack: &mut Vec<Frame>,
        meter: &Meter,
    ) -> Result<(), Exhausted> {
        // An observer that fits costs nothing, now or ever.
        while let Some(call) = self.fitting_observer(&node) {
            self.take(&mut node, call);
            order.push(call);
        }
        if self.met.len() == self.met.capacity() {
            let each = node.len() * size_of::<u32>() + 4 * size_of::<Node>();
            meter.reserve((self.met.capacity() * each) as u64)?;
        }
        if !self.met.insert(node.clone()) {
            return Ok(());
        }
        let mut choices: Vec<u32> = self.next_calls(&node).collect();
        // Real time is a good guide, if no more than that.
        choices.sort_unstable_by(|a, b| b.cmp(a));
        if let Some(first) = choices.last().filter(|_| order.len() >= self.furthest.0) {
            self.furthest = (order.len(), *first);
        }
        stack.push(Frame { node, taken: order.len(), choices });
        Ok(())
    }

    /// The next call of each program, where all that must come first has.
    fn next_calls(&self, node: &Node) -> impl Iterator<Item = u32> {
        let next = self.programs.iter().zip(node.iter());
        let next = next.filter_map(|(program, at)| program.get(*at as usize).copied());
        next.filter(|call| {
            self.before[*call as usize].iter().all(|first| {
                let (program, position) = self.place[*first as usize];
                node[program as usize] > position
            })
        })
    }

    fn fitting_observer(&self, node: &Node) -> Option<u32> {
        self.next_calls(node).find(|call| {
            let (object, op) = &self.calls[*call as usize].op;
            let state = node[self.programs.len() + *object as usize];
            self.spec.is_observer(op) && self.spec.allows(&self.states[state as usize], op)
        })
    }

    fn take(&mut self, node: &mut Node, call: u32) -> bool {
        let (object, op) = &self.calls[call as usize].op;
        let slot = self.programs.len() + *object as usize;
        let Some(next) = self.spec.step(&self.states[node[slot] as usize], op) else {
            return false;
        };
        node[slot] = self.intern(next);
        node[self.place[call as usize].0 as usize] += 1;
        true
    }

    /// Has everything that returned been taken?
    fn is_whole(&self, node: &Node) -> bool {
        self.programs.iter().zip(node.iter()).all(|(program, at)| {
            program[*at as usize..].iter().all(|call| self.calls[*call as usize].returned.is_none())
        })
    }
}

/// Checks an order: each call at most once and all that returned, those of a process in turn,
/// each allowed where it stands.
fn validate<S: Spec>(spec: &S, calls: &[Call<Joint<S::Op>>], order: &[u32]) -> Result<(), String> {
    let mut states: HashMap<u32, S::State> = HashMap::new();
    let mut last: HashMap<u64, u32> = HashMap::new();
    let mut placed = vec![false; calls.len()];
    for &at in order {
        let call = &calls[at as usize];
        if std::mem::replace(&mut placed[at as usize], true) {
            return Err(format!("op {} stands in the order twice", call.name));
        }
        if last.insert(call.process, at).is_some_and(|last| last > at) {
            return Err(format!("op {} stands after a later one of its process", call.name));
        }
        let state = states.entry(call.op.0).or_insert_with(|| spec.init());
        *state =
            spec.step(state, &call.op.1).ok_or_else(|| format!("op {} cannot be", call.name))?;
    }
    match calls.iter().zip(&placed).find(|(call, placed)| call.returned.is_some() && !**placed) {
        Some((call, _)) => Err(format!("op {} is missing", call.name)),
        None => Ok(()),
    }
}
