//! Many registers, read and written together: an operation is a small transaction.

use std::collections::BTreeMap;
use std::collections::HashMap;

use serde_json::{Value, json};

use super::{Spec, Tie, Values, unknown_f};
use crate::history::{Outcome, Pair};

/// One part of an operation: a register and a value, both by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Micro {
    /// That register held that value.
    Read(u32, u32),
    /// That register is given that value.
    Write(u32, u32),
}

/// `txn` (also `read`, `write`) with the value `[["r", key, value], ["w", key, value], ...]`, all
/// of it at one instant, each part seeing the ones before it.
#[derive(Clone, Debug, Default)]
pub struct MultiRegister {
    /// What every register holds before the first write.
    pub initial: Value,
}

impl Spec for MultiRegister {
    type Op = Vec<Micro>;
    /// Registers that were written; the others hold the initial value.
    type State = BTreeMap<u32, u32>;

    fn name(&self) -> &str {
        "multi-register"
    }

    fn by_key(&self) -> bool {
        false
    }

    fn read(&self, pair: &Pair<'_>, values: &mut Values) -> Result<Option<Vec<Micro>>, String> {
        if !matches!(pair.f(), "txn" | "read" | "write") {
            return Err(unknown_f("multi-register", pair, "txn, read and write"));
        }
        let answered = pair.outcome() == Outcome::Ok;
        let source = if answered { pair.result() } else { None };
        let source = source.or(pair.invoke.value.as_ref());
        let parts = source.and_then(Value::as_array).ok_or_else(form)?;
        let mut micros = Vec::with_capacity(parts.len());
        for part in parts {
            let Some([f, key, value]) = part.as_array().map(Vec::as_slice) else {
                return Err(form());
            };
            let key = values.intern(&json!({ "key": key }));
            match f.as_str() {
                // What an unanswered read would have returned is not known.
                Some("r") if answered => micros.push(Micro::Read(key, values.intern(value))),
                Some("r") => {}
                Some("w") => micros.push(Micro::Write(key, values.intern(value))),
                _ => return Err(form()),
            }
        }
        Ok((!micros.is_empty()).then_some(micros))
    }

    fn first_value(&self) -> Value {
        self.initial.clone()
    }

    fn init(&self) -> BTreeMap<u32, u32> {
        BTreeMap::new()
    }

    fn step(&self, state: &BTreeMap<u32, u32>, op: &Vec<Micro>) -> Option<BTreeMap<u32, u32>> {
        let mut next = state.clone();
        for micro in op {
            match *micro {
                Micro::Read(key, value) if held(&next, key) != value => return None,
                Micro::Read(..) => {}
                // What holds the first value again is as if it were never written.
                Micro::Write(key, Values::FIRST) => {
                    next.remove(&key);
                }
                Micro::Write(key, value) => {
                    next.insert(key, value);
                }
            }
        }
        Some(next)
    }

    fn can_be_wrong(&self, op: &Vec<Micro>) -> bool {
        op.iter().any(|micro| matches!(micro, Micro::Read(..)))
    }

    fn tells(&self) -> &'static str {
        "read"
    }

    fn is_observer(&self, op: &Vec<Micro>) -> bool {
        op.iter().all(|micro| matches!(micro, Micro::Read(..)))
    }

    /// The things are values of registers, as for one register.
    fn ties(&self, ops: &[&Vec<Micro>]) -> Vec<Tie> {
        let mut things: HashMap<(u32, u32), u32> = HashMap::new();
        let mut thing = |key, value| {
            let next = things.len() as u32;
            *things.entry((key, value)).or_insert(next)
        };
        let mut tie_of = |op: &&Vec<Micro>| {
            let mut tie = Tie::default();
            for micro in *op {
                match *micro {
                    Micro::Read(key, value) => tie.uses.push(thing(key, value)),
                    Micro::Write(key, value) => tie.makes.push(thing(key, value)),
                }
            }
            tie
        };
        ops.iter().map(&mut tie_of).collect()
    }

    fn show(&self, state: &BTreeMap<u32, u32>, values: &Values) -> Option<String> {
        const MOST: usize = 8;
        let held = state
            .iter()
            .take(MOST)
            .map(|(key, value)| format!("{} = {}", values.get(*key)["key"], values.shown(*value)));
        let mut held: Vec<String> = held.collect();
        if state.len() > MOST {
            held.push("...".to_owned());
        }
        let others = if held.is_empty() { "all" } else { "all else" };
        held.push(format!("{others} {}", values.shown(Values::FIRST)));
        Some(format!("({})", held.join(", ")))
    }

    fn describe(&self, op: &Vec<Micro>, values: &Values) -> String {
        let word = |micro: &Micro| {
            let (f, key, value) = match *micro {
                Micro::Read(key, value) => ("read", key, value),
                Micro::Write(key, value) => ("write", key, value),
            };
            format!("{f} {} of {}", values.shown(value), values.get(key)["key"])
        };
        op.iter().map(word).collect::<Vec<_>>().join(", ")
    }
}

fn held(state: &BTreeMap<u32, u32>, key: u32) -> u32 {
    state.get(&key).copied().unwrap_or(Values::FIRST)
}

fn form() -> String {
    "the value is an array of [\"r\", key, value] and [\"w\", key, value]".to_owned()
}
