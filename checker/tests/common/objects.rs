//! Sequential objects written over plain JSON, apart from the crate's specifications; random
//! histories of them; and an oracle that tries every order.

use std::collections::BTreeMap;

use checker::history::op::{Kind, Op, Process};
use checker::history::{History, Outcome};
use rand::prelude::*;
use serde_json::{Value, json};

/// Which object, and how values are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Object {
    pub spec: &'static str,
    /// Every write writes something new.
    pub unique: bool,
}

/// What an object does: its new state, and what it returns. `None`: it cannot happen now.
pub fn run(spec: &str, state: &Value, f: &str, arg: &Value) -> Option<(Value, Value)> {
    let same = |returns: Value| Some((state.clone(), returns));
    match (spec, f) {
        ("register" | "cas-register" | "kv", "read" | "get") => same(state.clone()),
        ("register" | "cas-register" | "kv", "write" | "put") => Some((arg.clone(), json!(null))),
        ("cas-register", "cas") => (*state == arg[0]).then(|| (arg[1].clone(), json!(null))),
        ("kv", "append") => {
            let text = format!("{}{}", state.as_str().unwrap_or(""), arg.as_str()?);
            Some((json!(text), json!(null)))
        }
        ("mutex", "acquire") => state.is_null().then(|| (json!("held"), json!(null))),
        ("mutex", "release") => (!state.is_null()).then_some((json!(null), json!(null))),
        ("owned-mutex", "acquire") => state.is_null().then(|| (arg.clone(), json!(null))),
        ("owned-mutex", "release") => (state == arg).then_some((json!(null), json!(null))),
        ("set", "read") => same(if state.is_null() { json!([]) } else { state.clone() }),
        ("set", "add" | "remove") => {
            let mut elements: Vec<Value> = state.as_array().cloned().unwrap_or_default();
            elements.retain(|element| element != arg);
            if f == "add" {
                elements.push(arg.clone());
            }
            elements.sort_by_key(Value::as_i64);
            Some((json!(elements), json!(null)))
        }
        ("queue", _) => {
            let mut elements: Vec<Value> = state.as_array().cloned().unwrap_or_default();
            if f == "enqueue" {
                elements.push(arg.clone());
                return Some((json!(elements), json!(null)));
            }
            let first = if elements.is_empty() { json!(null) } else { elements.remove(0) };
            Some((json!(elements), first))
        }
        ("counter", "read") => same(json!(state.as_i64().unwrap_or(0))),
        ("counter", _) => Some((json!(state.as_i64().unwrap_or(0) + arg.as_i64()?), json!(null))),
        ("multi-register", _) => {
            let mut registers = state.as_object().cloned().unwrap_or_default();
            let mut returns = Vec::new();
            for part in arg.as_array()? {
                let name = part[1].to_string();
                if part[0] == "w" {
                    registers.insert(name, part[2].clone());
                    returns.push(part.clone());
                } else {
                    let held = registers.get(&name).cloned().unwrap_or_default();
                    returns.push(json!(["r", part[1], held]));
                }
            }
            Some((Value::Object(registers), json!(returns)))
        }
        _ => panic!("{spec} has no {f}"),
    }
}

fn returns_something(f: &str) -> bool {
    matches!(f, "read" | "get" | "dequeue" | "txn")
}

/// An operation as the oracle sees it.
#[derive(Clone, Debug)]
pub struct Done {
    pub key: String,
    pub f: String,
    pub arg: Value,
    /// What came back; none where the operation is indeterminate.
    pub result: Option<Value>,
    pub process: u64,
    /// Where it stands in the history.
    pub index: u64,
    pub invoked: u64,
    pub returned: Option<u64>,
}

/// The operations that happened, or may have.
pub fn dones(spec: &str, history: &History) -> Vec<Done> {
    let happened = history.pairs().filter(|pair| pair.outcome() != Outcome::Fail);
    happened
        .map(|pair| {
            let ok = pair.outcome() == Outcome::Ok;
            let process = match pair.invoke.process {
                Process::Client(process) => process,
                Process::Nemesis => unreachable!("pairs are of clients"),
            };
            let arg = match spec {
                "owned-mutex" => json!(process),
                _ => pair.invoke.value.clone().unwrap_or_default(),
            };
            let mut result = pair.completion.and_then(|op| op.value.clone()).unwrap_or_default();
            if spec == "set" && pair.f() == "read" && result.is_null() {
                result = json!([]);
            }
            if let (true, Value::Array(elements)) = (spec == "set", &mut result) {
                elements.sort_by_key(Value::as_i64);
            }
            Done {
                key: pair.key().unwrap_or("").to_owned(),
                f: pair.f().to_owned(),
                arg,
                result: ok.then_some(result),
                process,
                index: pair.invoke.index,
                invoked: pair.invoke.time,
                returned: pair.acknowledged_at(),
            }
        })
        .collect()
}

/// May `next` come before `other`, as far as the order of the kind asked for goes?
pub type MayPrecede = fn(next: &Done, other: &Done) -> bool;

/// Real time: nothing that has returned before it began may come after it. And what a process did
/// before, it did before, though its clock may not have moved between.
pub fn in_real_time(next: &Done, other: &Done) -> bool {
    other.returned.is_none_or(|returned| returned >= next.invoked) && in_program_order(next, other)
}

/// Program order: nothing of the same process that began earlier may come after it.
pub fn in_program_order(next: &Done, other: &Done) -> bool {
    other.process != next.process || other.index >= next.index
}

/// Is there an order? Tries all of them.
pub fn has_order(spec: &str, ops: &[Done], may_precede: MayPrecede) -> bool {
    let mut left: Vec<&Done> = ops.iter().collect();
    order_exists(spec, &mut BTreeMap::new(), &mut left, may_precede)
}

fn order_exists(
    spec: &str,
    states: &mut BTreeMap<String, Value>,
    left: &mut Vec<&Done>,
    may_precede: MayPrecede,
) -> bool {
    if left.iter().all(|op| op.result.is_none()) {
        return true;
    }
    for at in 0..left.len() {
        let op = left[at];
        // An indeterminate op that others of its process do not wait for may be left out.
        let blocked = left
            .iter()
            .enumerate()
            .any(|(other, it)| other != at && it.result.is_some() && !may_precede(op, it));
        if blocked {
            continue;
        }
        let before = states.get(&op.key).cloned().unwrap_or_default();
        let Some((after, returns)) = run(spec, &before, &op.f, &op.arg) else { continue };
        let fits = match &op.result {
            Some(result) if returns_something(&op.f) => {
                let none = |value: &Value| value.is_null() || *value == json!("");
                *result == returns || (spec == "kv" && none(result) && none(&returns))
            }
            _ => true,
        };
        if !fits {
            continue;
        }
        states.insert(op.key.clone(), after);
        left.remove(at);
        let found = order_exists(spec, states, left, may_precede);
        left.insert(at, op);
        states.insert(op.key.clone(), before);
        if found {
            return true;
        }
    }
    false
}

/// From here on stand operations that were given up and may take effect yet.
const GHOSTS: u64 = 1 << 32;

struct Open {
    invoke: Op,
    /// What it returned when it took effect, if it has.
    effect: Option<Value>,
    /// It can take effect only when it can: a mutex blocks.
    waits: bool,
}

/// A random history of a real object, in which now and then a result is falsified or an
/// operation takes effect outside its interval.
pub fn generate(object: Object, rng: &mut StdRng) -> History {
    let Object { spec, unique } = object;
    let length = rng.random_range(2..=14);
    // So that the whole history is right about as often as it is wrong.
    let falsify = [0.0, 0.0, 0.7, 1.0, 1.0][rng.random_range(0..5)];
    let indeterminate = [0.0, 0.15, 0.3][rng.random_range(0..3)];
    let keys = if rng.random_bool(0.8) { 1 } else { 2 };
    let mut open: BTreeMap<u64, Open> = BTreeMap::new();
    let mut states: BTreeMap<String, Value> = BTreeMap::new();
    let mut idle: Vec<u64> = (0..rng.random_range(2..=4)).collect();
    let mut next_process = 10;
    let (mut ops, mut time, mut fresh) = (Vec::new(), 0, 100);
    while ops.len() < length || (!open.is_empty() && rng.random_bool(0.8)) {
        time += rng.random_range(0..=1);
        let begins = ops.len() < length && !idle.is_empty() && rng.random_bool(0.5);
        if begins {
            let process = idle.swap_remove(rng.random_range(0..idle.len()));
            let key = format!("k{}", rng.random_range(0..keys));
            let mut invoke = invocation(spec, process, unique, &mut fresh, rng).at(time);
            if spec != "multi-register" {
                invoke = invoke.key(key);
            }
            ops.push(invoke.clone());
            open.insert(process, Open { invoke, effect: None, waits: true });
        }
        for it in open.values_mut().filter(|it| it.waits) {
            if rng.random_bool(0.5) {
                take_effect(spec, &mut states, it);
            }
        }
        if !begins && !open.is_empty() {
            let at = rng.random_range(0..open.len());
            let process = *open.keys().nth(at).unwrap();
            let mut it = open.remove(&process).unwrap();
            if process > GHOSTS {
                continue;
            }
            if rng.random_bool(indeterminate) {
                ops.push(it.invoke.completed(Kind::Info).at(time));
                idle.push(next_process);
                next_process += 1;
                // It may take effect later yet, or never.
                if it.waits && rng.random_bool(0.5) {
                    open.insert(GHOSTS + next_process, it);
                }
                continue;
            }
            if it.effect.is_none() {
                take_effect(spec, &mut states, &mut it);
            }
            idle.push(process);
            let Some(mut returns) = it.effect else {
                let kind = if rng.random_bool(falsify) { Kind::Ok } else { Kind::Fail };
                ops.push(it.invoke.completed(kind).at(time));
                continue;
            };
            if returns_something(&it.invoke.f) && rng.random_bool(falsify) {
                let right = returns.clone();
                for _ in 0..3 {
                    if returns == right {
                        returns = falsified(spec, &right, unique, fresh, rng);
                    }
                }
            }
            let mut completion = it.invoke.completed(Kind::Ok).at(time);
            if returns_something(&it.invoke.f) {
                completion.value = Some(returns);
                if completion.value == Some(Value::Null) && rng.random_bool(0.3) {
                    completion.value = None;
                }
            }
            ops.push(completion);
        }
    }
    History::numbered(ops).expect("the generator keeps to the form")
}

fn take_effect(spec: &str, states: &mut BTreeMap<String, Value>, it: &mut Open) {
    let key = it.invoke.key.as_deref().unwrap_or("").to_owned();
    let state = states.entry(key).or_default();
    let process = match it.invoke.process {
        Process::Client(process) => process,
        Process::Nemesis => unreachable!("clients only"),
    };
    let arg = match spec {
        "owned-mutex" => json!(process),
        _ => it.invoke.value.clone().unwrap_or_default(),
    };
    if let Some((after, returns)) = run(spec, state, &it.invoke.f, &arg) {
        *state = after;
        it.effect = Some(returns);
        it.waits = false;
    }
}

fn invocation(spec: &str, process: u64, unique: bool, fresh: &mut i64, rng: &mut StdRng) -> Op {
    let mut value = |rng: &mut StdRng| {
        *fresh += 1;
        if unique { *fresh } else { rng.random_range(1..=2) }
    };
    let op = |f: &'static str| Op::invoke(process, f);
    let pick = |rng: &mut StdRng, of: usize| rng.random_range(0..of);
    match spec {
        "register" => match pick(rng, 2) {
            0 => op("read"),
            _ => op("write").value(value(rng)),
        },
        "cas-register" => match pick(rng, 4) {
            0 | 1 => op("read"),
            2 => op("write").value(value(rng)),
            _ => op("cas").value(json!([rng.random_range(1..=2), value(rng)])),
        },
        "kv" => match pick(rng, 4) {
            0 | 1 => op("get"),
            2 => op("put").value(value(rng).to_string()),
            _ => op("append").value(value(rng).to_string()),
        },
        "mutex" | "owned-mutex" => op(["acquire", "release"][pick(rng, 2)]),
        "set" => match pick(rng, 4) {
            0 | 1 => op("read"),
            2 => op("remove").value(rng.random_range(1..=2)),
            _ => op("add").value(value(rng)),
        },
        "queue" => match pick(rng, 2) {
            0 => op("dequeue"),
            _ => op("enqueue").value(value(rng)),
        },
        "counter" => match pick(rng, 2) {
            0 => op("read"),
            _ => op("add").value(rng.random_range(1..=3)),
        },
        "multi-register" => {
            let parts = rng.random_range(1..=2);
            let part = |rng: &mut StdRng, value: &mut dyn FnMut(&mut StdRng) -> i64| match rng
                .random_bool(0.5)
            {
                true => json!(["r", rng.random_range(0..2), null]),
                false => json!(["w", rng.random_range(0..2), value(rng)]),
            };
            let parts: Vec<Value> = (0..parts).map(|_| part(rng, &mut value)).collect();
            op("txn").value(parts)
        }
        other => panic!("no generator for {other}"),
    }
}

fn falsified(spec: &str, right: &Value, unique: bool, fresh: i64, rng: &mut StdRng) -> Value {
    let mut any = || match unique {
        true => rng.random_range(100.min(fresh)..=fresh),
        false => rng.random_range(0..=2),
    };
    match spec {
        "kv" => json!(any().to_string()),
        "set" => json!([any(), any()]),
        "counter" => json!(right.as_i64().unwrap_or(0) + any() % 4 - 2),
        "multi-register" => {
            let mut parts = right.clone();
            if parts[0][0] == "r" {
                parts[0][2] = json!(any());
            }
            parts
        }
        _ => match any() {
            0 => Value::Null,
            value => json!(value),
        },
    }
}
