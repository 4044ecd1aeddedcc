//! The simulated objects that histories are made from.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rand::prelude::*;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{Fate, Settings};
use crate::history::op::{Kind, Op, Process};

/// The objects there are.
pub const SPECS: [&str; 9] = [
    "register",
    "cas-register",
    "mutex",
    "owned-mutex",
    "set",
    "queue",
    "counter",
    "multi-register",
    "kv",
];

/// Sets are kept about so large, texts so long: a history is about order and not about bulk.
const LARGE: usize = 30;

/// A completion that cannot be, and why.
pub(crate) struct Falsified {
    pub(crate) op: Op,
    pub(crate) what: &'static str,
}

/// One object for each key.
pub(crate) struct Object {
    kind: &'static str,
    keys: Vec<Arc<str>>,
    states: Vec<State>,
    by_key: BTreeMap<Arc<str>, usize>,
    values: u64,
    fresh: i64,
}

#[derive(Default)]
struct State {
    value: Value,
    list: VecDeque<i64>,
    sum: i64,
    holder: Option<Process>,
    /// When the holder learnt that it holds, until it begins to release.
    held_since: Option<u64>,
    /// All that adds may have come to so far.
    most: i64,
    /// The last write that returned, and one that returned before that began.
    last: Option<Write>,
    overtaken: Option<(i64, u64)>,
}

#[derive(Clone, Copy)]
struct Write {
    value: i64,
    returned: u64,
}

impl Object {
    pub(crate) fn named(settings: &Settings) -> Option<Self> {
        let kind = SPECS.into_iter().find(|spec| *spec == settings.spec)?;
        let keys: Vec<Arc<str>> = (0..settings.keys).map(|key| format!("k{key}").into()).collect();
        let by_key = keys.iter().cloned().zip(0..).collect();
        let states = keys.iter().map(|_| State::default()).collect();
        Some(Self { kind, keys, states, by_key, values: settings.values, fresh: 0 })
    }

    /// What the process does next.
    pub(crate) fn invocation(&mut self, process: u64, rng: &mut ChaCha8Rng) -> Op {
        let at = rng.random_range(0..self.keys.len());
        let op = |f: &'static str| Op::invoke(process, f);
        let key = Arc::clone(&self.keys[at]);
        let reads = rng.random_bool(0.5);
        match self.kind {
            "cas-register" if !reads && rng.random_bool(0.5) => {
                let old = self.states[at].value.clone();
                let new = self.new_value(rng);
                op("cas").value(json!([old, new])).key(key)
            }
            "register" | "cas-register" if reads => op("read").key(key),
            "register" | "cas-register" => op("write").value(self.new_value(rng)).key(key),
            "mutex" | "owned-mutex" => {
                let state = &mut self.states[at];
                if state.holder == Some(Process::Client(process)) {
                    state.held_since = None;
                    op("release").key(key)
                } else {
                    op("acquire").key(key)
                }
            }
            "set" if rng.random_bool(0.1) => op("read").key(key),
            "set" => match self.states[at].list.front().copied() {
                Some(one) if self.states[at].list.len() > rng.random_range(1..LARGE) => {
                    op("remove").value(one).key(key)
                }
                _ => op("add").value(self.new_value(rng)).key(key),
            },
            "queue" if reads => op("dequeue").key(key),
            "queue" => op("enqueue").value(self.new_value(rng)).key(key),
            "counter" if reads => op("read").key(key),
            "counter" => {
                let amount = rng.random_range(1..=5);
                self.states[at].most += amount;
                op("add").value(amount).key(key)
            }
            "kv" if reads => op("get").key(key),
            "kv" => {
                let full = self.states[at].value.as_str().unwrap_or("").len() > LARGE;
                let text = format!("{}.", self.new_value(rng));
                op(if full { "put" } else { "append" }).value(text).key(key)
            }
            _ => {
                let parts = rng.random_range(1..=3);
                let parts: Vec<Value> = (0..parts).map(|_| self.part(reads, rng)).collect();
                op("txn").value(parts)
            }
        }
    }

    fn part(&mut self, reads: bool, rng: &mut ChaCha8Rng) -> Value {
        let key = &*self.keys[rng.random_range(0..self.keys.len())];
        if reads { json!(["r", key, null]) } else { json!(["w", key, self.new_value(rng)]) }
    }

    fn new_value(&mut self, rng: &mut ChaCha8Rng) -> i64 {
        self.fresh += 1;
        match self.values {
            0 => self.fresh,
            // From 1: below that stand the values that nobody writes.
            n => rng.random_range(0..n).cast_signed().saturating_add(1),
        }
    }

    /// Nobody can use a lock that was taken by a client that knows nothing of it.
    pub(crate) fn fate(&self, invoke: &Op, fate: Fate) -> Fate {
        if invoke.f == "acquire" { Fate::Never } else { fate }
    }

    fn state(&mut self, op: &Op) -> &mut State {
        let at = op.key.as_ref().and_then(|key| self.by_key.get(key)).copied();
        &mut self.states[at.unwrap_or(0)]
    }

    /// The operation takes effect; gives its completion.
    pub(crate) fn apply(&mut self, invoke: &Op) -> Op {
        let ok = invoke.completed(Kind::Ok);
        let argument = invoke.value.clone().unwrap_or_default();
        if self.kind == "multi-register" {
            return ok.value(self.transaction(&argument));
        }
        let kind = self.kind;
        let state = self.state(invoke);
        let number = argument.as_i64().unwrap_or(0);
        match &*invoke.f {
            "write" | "put" => state.value = argument,
            "append" => {
                let before = state.value.as_str().unwrap_or("");
                state.value = json!([before, argument.as_str().unwrap_or("")].concat());
            }
            "cas" if state.value == argument[0] => state.value = argument[1].clone(),
            "cas" => return invoke.completed(Kind::Fail),
            "acquire" if state.holder.is_none() => state.holder = Some(invoke.process),
            "acquire" => return invoke.completed(Kind::Fail),
            "release" => state.holder = None,
            "add" if kind == "counter" => state.sum += number,
            "add" => {
                state.list.retain(|element| *element != number);
                state.list.push_back(number);
            }
            "remove" => state.list.retain(|element| *element != number),
            "enqueue" => state.list.push_back(number),
            "dequeue" => return ok.value(state.list.pop_front().map_or(Value::Null, Value::from)),
            _ if kind == "counter" => return ok.value(state.sum),
            _ if kind == "set" => {
                return ok.value(state.list.iter().copied().collect::<Vec<i64>>());
            }
            _ if kind == "kv" && state.value.is_null() => return ok.value(""),
            _ => return ok.value(state.value.clone()),
        }
        ok
    }

    fn transaction(&mut self, parts: &Value) -> Value {
        let mut results = Vec::new();
        for part in parts.as_array().into_iter().flatten() {
            let at = part[1].as_str().and_then(|key| self.by_key.get(key)).copied().unwrap_or(0);
            if part[0] == "w" {
                self.states[at].value = part[2].clone();
                results.push(part.clone());
            } else {
                results.push(json!(["r", part[1], self.states[at].value]));
            }
        }
        json!(results)
    }

    /// Takes note of what has returned, for violations yet to be planted.
    pub(crate) fn returned(&mut self, invoke: &Op, end: &Op) {
        if end.kind != Kind::Ok {
            return;
        }
        let state = self.state(invoke);
        match &*invoke.f {
            "write" => {
                let value = invoke.value.as_ref().and_then(Value::as_i64).unwrap_or(0);
                if let Some(last) = state.last.filter(|last| last.returned < invoke.time) {
                    state.overtaken = Some((last.value, end.time));
                }
                state.last = Some(Write { value, returned: end.time });
            }
            "acquire" => state.held_since = Some(end.time),
            _ => {}
        }
    }

    /// The completion with a result that it cannot have had, if this one lends itself to it.
    pub(crate) fn falsified(&mut self, invoke: &Op, end: &Op) -> Option<Falsified> {
        let unique = self.values == 0;
        let kind = self.kind;
        // Nobody writes what is below 1.
        let nobody = -1;
        let state = self.state(invoke);
        let ok = end.kind == Kind::Ok;
        let (value, what): (Value, _) = match (kind, &*invoke.f) {
            ("register", "read") if ok && unique => {
                let (value, since) = state.overtaken?;
                (since < invoke.time).then_some((value.into(), "stale_read"))?
            }
            ("register" | "cas-register", "read") if ok => (nobody.into(), "nobody_wrote"),
            ("mutex" | "owned-mutex", "acquire") if end.kind == Kind::Fail => {
                let held = state.held_since.is_some_and(|since| since < invoke.time);
                let op = Op { kind: Kind::Ok, ..end.clone() };
                return held.then_some(Falsified { op, what: "held_twice" });
            }
            ("set", "read") if ok => {
                let mut elements = end.value.clone()?;
                elements.as_array_mut()?.push(nobody.into());
                (elements, "nobody_added")
            }
            ("queue", "dequeue") if ok => (nobody.into(), "nobody_enqueued"),
            ("counter", "read") if ok => ((state.most + 1).into(), "too_much"),
            ("kv", "get") if ok => ("nobody".into(), "nobody_wrote"),
            ("multi-register", _) if ok => {
                let mut parts = end.value.clone()?;
                let reads = parts.as_array_mut()?.iter_mut().find(|part| part[0] == "r")?;
                reads[2] = nobody.into();
                (parts, "nobody_wrote")
            }
            _ => return None,
        };
        Some(Falsified { op: end.clone().value(value), what })
    }
}
