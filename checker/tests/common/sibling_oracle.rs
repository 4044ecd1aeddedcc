//! Random histories of a store of siblings, and what their definition says of them.

use std::collections::{BTreeMap, BTreeSet};

use checker::history::op::{Kind, Op, Process};
use checker::history::{History, Outcome};
use checker::siblings::Siblings;
use rand::prelude::*;
use serde_json::Value;

/// A history of one key: overlapping gets, puts and deletes, then final gets. About half the
/// reads return what some set of applied writes explains.
pub fn generate(rng: &mut StdRng) -> History {
    let mut world = World::default();
    let honest = rng.random_bool(0.55);
    for _ in 0..rng.random_range(4..16) {
        world.step(rng, honest);
    }
    while let Some(open) = world.open.pop() {
        if rng.random_bool(0.8) {
            world.complete(rng, open, honest);
        }
    }
    world.time += 2;
    for node in 0..rng.random_range(1..3) {
        let get = Op::invoke(100 + node, "get").key("k").finally();
        let index = world.line(get);
        world.complete(rng, index, honest);
        world.open.clear();
    }
    History::numbered(world.lines).expect("the world keeps the record in order")
}

#[derive(Default)]
struct World {
    lines: Vec<Op>,
    time: u64,
    /// Invocations without completion, by index.
    open: Vec<usize>,
    idle: Vec<u64>,
    processes: u64,
    values: u64,
    /// What each written value (or delete, by its invocation) covers: invocation indices.
    covers: BTreeMap<usize, BTreeSet<usize>>,
    /// Returned gets, and the invocations they returned.
    gets: Vec<(u64, BTreeSet<usize>)>,
    failed: BTreeSet<usize>,
    acknowledged: BTreeSet<usize>,
}

impl World {
    fn line(&mut self, op: Op) -> usize {
        let index = self.lines.len();
        self.lines.push(Op { index: index as u64, ..op.at(self.time) });
        index
    }

    fn step(&mut self, rng: &mut StdRng, honest: bool) {
        self.time += rng.random_range(0..2);
        if !self.open.is_empty() && rng.random_bool(0.6) {
            let at = rng.random_range(0..self.open.len());
            let open = self.open.swap_remove(at);
            self.complete(rng, open, honest);
            return;
        }
        let process = self.idle.pop().unwrap_or_else(|| {
            self.processes += 1;
            self.processes - 1
        });
        let f = *["get", "get", "put", "put", "put", "delete"].choose(rng).expect("not empty");
        let mut op = Op::invoke(process, f).key("k");
        let mut covers = BTreeSet::new();
        if f != "get" {
            if let Some((get, returned)) = self.gets.choose(rng).filter(|_| rng.random_bool(0.8)) {
                op.context = Some(*get);
                covers = returned.clone();
                for version in returned {
                    covers.extend(&self.covers[version]);
                }
            }
            if f == "put" {
                self.values += 1;
                op = op.value(self.values);
            }
        }
        let index = self.line(op);
        if f != "get" {
            self.covers.insert(index, covers);
        }
        self.open.push(index);
    }

    fn complete(&mut self, rng: &mut StdRng, open: usize, honest: bool) {
        let invoke = self.lines[open].clone();
        let Process::Client(process) = invoke.process else { unreachable!("only clients run") };
        if invoke.f == "get" {
            let returned = self.returned(rng, honest);
            let mut values: Vec<Value> =
                returned.iter().filter_map(|&version| self.lines[version].value.clone()).collect();
            if rng.random_bool(0.01) {
                values.push(999.into());
            }
            let index = self.line(invoke.completed(Kind::Ok).value(values));
            self.gets.push((index as u64, returned));
            self.idle.push(process);
            return;
        }
        let kind = *[Kind::Ok, Kind::Ok, Kind::Ok, Kind::Info, Kind::Fail].choose(rng).expect("5");
        self.line(invoke.completed(kind));
        match kind {
            Kind::Fail => _ = self.failed.insert(open),
            Kind::Ok => _ = self.acknowledged.insert(open),
            Kind::Invoke | Kind::Info => {}
        }
        if kind != Kind::Info {
            self.idle.push(process);
        }
    }

    fn returned(&self, rng: &mut StdRng, honest: bool) -> BTreeSet<usize> {
        let all: Vec<usize> = self.covers.keys().copied().collect();
        let is_put = |version: &usize| self.lines[*version].f == "put";
        if !honest && rng.random_bool(0.6) {
            let some = all.into_iter().filter(|_| rng.random_bool(0.3));
            return some.filter(is_put).collect();
        }
        let applied: Vec<usize> = all
            .into_iter()
            .filter(|version| !self.failed.contains(version))
            .filter(|version| self.acknowledged.contains(version) || rng.random_bool(0.5))
            .collect();
        let covered = |version: &usize| applied.iter().any(|a| self.covers[a].contains(version));
        applied.iter().copied().filter(is_put).filter(|version| !covered(version)).collect()
    }
}

/// A write, as the oracle sees it.
struct Write {
    name: u64,
    value: Option<Value>,
    process: Process,
    invoked: u64,
    acknowledged: Option<u64>,
    failed: bool,
    info: bool,
    covers: u32,
}

/// A get, as the oracle sees it; `set` is a mask over the writes.
struct Get {
    name: u64,
    process: Process,
    invoked: u64,
    ended: u64,
    set: u32,
    strange: bool,
    last: bool,
}

/// The history against the definition: for each judged get some set of writes must explain it.
pub fn holds(rules: &Siblings, history: &History) -> bool {
    let (writes, gets) = parse(history);
    let finals: Vec<&Get> = gets.iter().filter(|get| get.last).collect();
    let judged = |get: &&Get| get.last || rules.strict;
    let observed = |before: u64| -> u32 {
        gets.iter().filter(|get| get.ended < before).fold(0, |all, get| all | get.set)
    };
    gets.iter().all(|get| !get.strange && antichain(&writes, get.set))
        && gets.iter().filter(judged).all(|get| {
            let also = if rules.converged && get.last { observed(get.invoked) } else { 0 };
            explained(&writes, get, also)
        })
        && (finals.iter().all(|get| get.set == finals[0].set)
            || !rules.converged
                && writes.iter().any(|write| {
                    write.info || write.acknowledged.is_some_and(|at| at >= finals[0].invoked)
                }))
        && (!rules.sessions || sessions(&writes, &gets))
}

fn antichain(writes: &[Write], set: u32) -> bool {
    members(set).all(|version| writes[version].covers & set == 0)
}

/// Is there a set of applied writes, with all that must be in it, whose maximal values are `set`?
fn explained(writes: &[Write], get: &Get, also: u32) -> bool {
    super::fuzz::subsets(writes.len()).any(|applied| {
        let possible = members(applied)
            .all(|version| !writes[version].failed && writes[version].invoked <= get.ended);
        let required = (0..writes.len()).all(|version| {
            let must = writes[version].acknowledged.is_some_and(|at| at < get.invoked)
                || also >> version & 1 == 1;
            !must || applied >> version & 1 == 1
        });
        let covered = members(applied).fold(0, |all, version| all | writes[version].covers);
        let maximal: u32 = members(applied & !covered)
            .filter(|&version| writes[version].value.is_some())
            .fold(0, |all, version| all | 1 << version);
        possible && required && maximal == get.set
    })
}

/// Every get of a session accounts for the session's own acknowledged writes and earlier gets: some
/// set of applied writes holds them all and explains it.
fn sessions(writes: &[Write], gets: &[Get]) -> bool {
    gets.iter().all(|get| {
        let mut known: u32 = 0;
        for (version, write) in writes.iter().enumerate() {
            let own = write.process == get.process && write.acknowledged.is_some();
            if own && write.name < get.name {
                known |= 1 << version;
            }
        }
        let earlier = gets.iter().filter(|other| other.process == get.process);
        for other in earlier.filter(|other| other.name < get.name) {
            known |= other.set;
        }
        let below = members(get.set).fold(get.set, |all, version| all | writes[version].covers);
        members(known).all(|version| {
            if writes[version].value.is_none() {
                return writes[version].covers & get.set == 0;
            }
            below >> version & 1 == 1
                || writes.iter().any(|delete| {
                    let sure = delete.acknowledged.is_some_and(|at| at < get.invoked);
                    delete.value.is_none()
                        && !delete.failed
                        && delete.invoked <= get.ended
                        && delete.covers >> version & 1 == 1
                        && (sure || delete.covers & get.set == 0)
                })
        })
    })
}

fn members(set: u32) -> impl Iterator<Item = usize> {
    (0..32).filter(move |version| set >> version & 1 == 1)
}

fn parse(history: &History) -> (Vec<Write>, Vec<Get>) {
    let mut writes: Vec<Write> = Vec::new();
    for pair in history.pairs().filter(|pair| pair.f() != "get") {
        writes.push(Write {
            name: pair.name(),
            value: pair.invoke.value.clone().filter(|_| pair.f() == "put"),
            process: pair.invoke.process,
            invoked: pair.invoke.time,
            acknowledged: pair.acknowledged_at(),
            failed: pair.outcome() == Outcome::Fail,
            info: pair.outcome() == Outcome::Info,
            covers: 0,
        });
    }
    let mut gets = Vec::new();
    for pair in history.pairs().filter(|pair| pair.f() == "get" && pair.outcome() == Outcome::Ok) {
        let mut get = Get {
            name: pair.name(),
            process: pair.invoke.process,
            invoked: pair.invoke.time,
            ended: pair.acknowledged_at().expect("it is ok"),
            set: 0,
            strange: false,
            last: pair.is_final(),
        };
        for value in pair.result().and_then(Value::as_array).expect("gets return lists") {
            match writes.iter().position(|write| write.value.as_ref() == Some(value)) {
                Some(version) => {
                    get.strange |= writes[version].failed || writes[version].invoked > get.ended;
                    get.set |= 1 << version;
                }
                None => get.strange = true,
            }
        }
        gets.push(get);
    }
    // In order of invocation every context comes from a get of earlier writes.
    let contexts: Vec<Option<u64>> =
        history.pairs().filter(|pair| pair.f() != "get").map(|pair| pair.invoke.context).collect();
    for version in 0..writes.len() {
        let seen = contexts[version].and_then(|name| gets.iter().find(|get| get.name == name));
        let seen = seen.map_or(0, |get| get.set);
        writes[version].covers = members(seen).fold(seen, |all, v| all | writes[v].covers);
    }
    (writes, gets)
}
