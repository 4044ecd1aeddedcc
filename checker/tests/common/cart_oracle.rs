//! Random cart histories, and what the loss rule says of them by its letter.

use std::collections::{BTreeMap, BTreeSet};

use checker::history::{History, Outcome, Pair};
use checker::siblings::Siblings;
use checker::siblings::cart::Cart;
use rand::prelude::*;
use serde_json::{Value, json};

/// A sibling history whose values are carts, made by clients that merge what they saw.
pub fn generate(rng: &mut StdRng) -> History {
    let plain = super::sibling_oracle::generate(rng);
    let mut carts: BTreeMap<u64, Value> = BTreeMap::new();
    let mut ops = plain.ops().to_vec();
    for op in &mut ops {
        let number = |value: &Value| value.as_u64().expect("plain values are numbers");
        let cart = |value: &Value| {
            let n = number(value);
            carts.get(&n).cloned().unwrap_or_else(|| json!({"id": n, "items": []}))
        };
        match (&*op.f, op.value.take()) {
            ("get", Some(Value::Array(siblings))) => {
                op.value = Some(siblings.iter().map(cart).collect());
            }
            ("put", Some(value)) => {
                let id = number(&value);
                let get = op.context.and_then(|get| plain.get(get)?.value.as_ref());
                let seen = get.and_then(Value::as_array).into_iter().flatten().map(cart);
                let seen = seen.collect();
                let made = carts.entry(id).or_insert_with(|| make(rng, id, seen));
                op.value = Some(made.clone());
            }
            (_, value) => op.value = value,
        }
    }
    History::from_ops(ops).expect("only values changed")
}

fn make(rng: &mut StdRng, id: u64, seen: Vec<Value>) -> Value {
    let mut items: BTreeSet<String> = seen
        .iter()
        .flat_map(|cart| cart["items"].as_array().cloned().unwrap_or_default())
        .map(|item| item.as_str().expect("items are strings").to_owned())
        .collect();
    if !items.is_empty() && rng.random_bool(0.4) {
        let gone = items.iter().choose(rng).cloned().expect("it is not empty");
        items.remove(&gone);
        return json!({"id": id, "items": items, "remove": gone});
    }
    // Now and then an item is added again.
    let item = format!("i{}", if rng.random_bool(0.1) { 1 } else { id });
    items.insert(item.clone());
    json!({"id": id, "items": items, "add": item})
}

/// Valid by the letter: read against read, walking contexts; and never stricter than the siblings'
/// definition, since what some set of applied writes explains has lost nothing.
pub fn holds(_: &Cart, history: &History) -> bool {
    let letter = by_the_letter(history);
    let explained = super::sibling_oracle::holds(&Siblings::default(), history);
    assert!(letter || !explained, "the loss rule accuses what applied writes explain");
    letter
}

fn by_the_letter(history: &History) -> bool {
    let writes: Vec<Pair<'_>> = history.pairs().filter(|pair| pair.f() != "get").collect();
    let gets = history.pairs().filter(|pair| pair.f() == "get");
    let gets: Vec<Pair<'_>> = gets.filter(|pair| pair.outcome() == Outcome::Ok).collect();
    let has_contexts = writes.iter().any(|write| write.invoke.context.is_some());
    let integrity = gets.iter().all(|get| {
        siblings(get).iter().all(|cart| {
            let put = writes.iter().find(|write| write.invoke.value.as_ref() == Some(cart));
            put.is_some_and(|put| {
                let early = put.invoke.time <= get.completion.expect("it is ok").time;
                early && put.outcome() != Outcome::Fail
            }) && items(cart).iter().all(|item| {
                let mut adds = writes.iter().filter(|write| field(write, "add") == Some(item));
                adds.any(|add| add.outcome() != Outcome::Fail)
            })
        })
    });
    let finals = gets.iter().filter(|get| get.is_final());
    let kept = finals.into_iter().all(|get| {
        let shown: Vec<&Value> = siblings(get).iter().flat_map(items).collect();
        writes.iter().all(|add| {
            let Some(item) = field(add, "add") else { return true };
            let due = add.acknowledged_at().is_some_and(|at| at < get.invoke.time);
            !due || shown.contains(&item)
                || writes.iter().any(|other| {
                    let took = if other.f() == "delete" {
                        !has_contexts || covers(history, &writes, other, add)
                    } else if has_contexts {
                        field(other, "remove") == Some(item)
                            && covers(history, &writes, other, add)
                            && siblings(get).iter().any(|cart| {
                                let put =
                                    writes.iter().find(|w| w.invoke.value.as_ref() == Some(cart));
                                put.is_some_and(|put| {
                                    put.name() == other.name()
                                        || covers(history, &writes, put, other)
                                })
                            })
                    } else {
                        field(other, "remove") == Some(item)
                    };
                    let before = other.acknowledged_at().is_some_and(|at| at < add.invoke.time);
                    took && other.outcome() != Outcome::Fail && (has_contexts || !before)
                })
        })
    });
    integrity && kept
}

fn covers(history: &History, writes: &[Pair<'_>], above: &Pair<'_>, below: &Pair<'_>) -> bool {
    let Some(get) = above.invoke.context.and_then(|get| history.pair(get)) else { return false };
    siblings(&get).iter().any(|cart| {
        let put = writes.iter().find(|write| write.invoke.value.as_ref() == Some(cart));
        put.filter(|put| put.invoke.index < above.invoke.index)
            .is_some_and(|put| put.name() == below.name() || covers(history, writes, put, below))
    })
}

fn siblings<'a>(get: &Pair<'a>) -> &'a [Value] {
    get.result().and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn items(cart: &Value) -> &[Value] {
    cart["items"].as_array().map_or(&[], Vec::as_slice)
}

fn field<'a>(write: &Pair<'a>, name: &str) -> Option<&'a Value> {
    write.invoke.value.as_ref()?.get(name)
}
