//! What became of every acknowledged write: as the checker of carts counts it, and by the letter.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use checker::budget::Budget;
use checker::history::{History, Outcome, Pair};
use checker::siblings::cart::Cart;
use checker::siblings::fates::{Fate, WriteFate, fates};
use checker::verdict::Checker;
use common::store::{Bug, Setup, run};
use common::{Script, sibling_oracle};
use rand::prelude::*;
use serde_json::{Value, json};

fn told(history: &History) -> Vec<WriteFate> {
    let told = fates(history, &Budget::UNLIMITED);
    assert_eq!(told.left_out, 0);
    told.writes
}

#[test]
fn as_many_adds_are_lost_as_the_checker_of_carts_counts() {
    let (mut lost, mut valid) = (0, 0);
    for seed in 0..60 {
        for bug in [Bug::None, Bug::BlindOverwrite] {
            let setup = Setup { carts: true, bug, seed, ..Setup::default() };
            let history = run(setup);
            let report = Cart::default().check(&history, &Budget::UNLIMITED);
            let count = |name: &str| report.details[name].as_u64().unwrap();
            let is_add = |write: &&WriteFate| {
                let put = history.pair(write.write).unwrap();
                put.invoke.value.as_ref().is_some_and(|cart| cart.get("add").is_some())
            };
            let told = told(&history);
            for (fate, counted) in
                [(Fate::Lost, "lost_count"), (Fate::Unreadable, "unreadable_count")]
            {
                let of = told.iter().filter(is_add).filter(|write| write.fate == fate).count();
                assert_eq!(of as u64, count(counted), "{counted} of seed {seed}, {bug:?}");
            }
            lost += count("lost_count");
            valid += u64::from(count("lost_count") == 0);
        }
    }
    assert!(
        lost > 50 && valid > 50,
        "both kinds must be seen: {lost} lost, {valid} without a loss"
    );
}

/// The fate of a put of a history without carts, deletes and reads of homes, read against read.
fn by_the_letter(history: &History, put: &Pair<'_>) -> Option<(Fate, u64)> {
    let acknowledged = put.acknowledged_at()?;
    let of_key = |pair: &Pair<'_>| pair.key() == put.key();
    let gets = history.pairs().filter(|pair| pair.f() == "get" && of_key(pair));
    let later = gets.filter(|get| get.outcome() == Outcome::Ok && get.invoke.time > acknowledged);
    let (mut last_lacking, mut last) = (None, None);
    for get in later {
        let accounted = below(history, &get).contains(&put.name());
        if !accounted {
            last_lacking = Some(get);
        }
        last = Some(get);
    }
    Some(match (last_lacking, last) {
        (_, None) => (Fate::Unknown, 0),
        (None, Some(_)) => (Fate::Read, 0),
        (Some(get), _) if get.is_final() => (Fate::Lost, 0),
        (Some(get), Some(last)) if get.name() == last.name() => (Fate::Unknown, 0),
        (Some(get), _) => (Fate::Late, get.invoke.time - acknowledged),
    })
}

/// The puts that a get returned, and those that they cover.
fn below(history: &History, get: &Pair<'_>) -> BTreeSet<u64> {
    let mut all = BTreeSet::new();
    let mut next = vec![*get];
    while let Some(get) = next.pop() {
        let values = get.result().and_then(Value::as_array).cloned().unwrap_or_default();
        let puts = history.pairs().filter(|put| put.f() == "put" && put.key() == get.key());
        for put in puts.filter(|put| put.invoke.value.as_ref().is_some_and(|v| values.contains(v)))
        {
            if all.insert(put.name()) {
                let context = put.invoke.context.and_then(|get| history.pair(get));
                next.extend(context.filter(|get| get.outcome() == Outcome::Ok));
            }
        }
    }
    all
}

#[test]
fn fates_are_those_that_the_reads_tell_one_by_one() {
    let mut rng = StdRng::seed_from_u64(5);
    let mut seen = BTreeSet::new();
    for _ in 0..3000 {
        let whole = sibling_oracle::generate(&mut rng);
        // Of one that was cut short nobody knows how it ends.
        let lines =
            if rng.random_bool(0.5) { whole.len() } else { rng.random_range(0..whole.len()) };
        let history = History::from_ops(whole.ops()[..lines].to_vec()).unwrap();
        let plain = |pair: &Pair<'_>| matches!(pair.f(), "get" | "put");
        // Reads of the future make no edges: the letter knows nothing of them.
        let ordered = history.pairs().filter(|pair| pair.f() == "get").all(|get| {
            let values = get.result().and_then(Value::as_array).cloned().unwrap_or_default();
            let mut puts = history.pairs().filter(|put| put.f() == "put");
            !puts.any(|put| {
                put.invoke.index > get.invoke.index
                    && put.invoke.value.as_ref().is_some_and(|value| values.contains(value))
            })
        });
        if !ordered || !history.pairs().all(|pair| plain(&pair)) {
            continue;
        }
        for WriteFate { write, fate, late } in told(&history) {
            let put = history.pair(write).unwrap();
            assert_eq!(by_the_letter(&history, &put), Some((fate, late)), "op {write}");
            seen.insert(fate);
        }
    }
    let all = [Fate::Read, Fate::Late, Fate::Lost, Fate::Unknown];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), all);
}

#[test]
fn a_removal_whose_item_comes_back_has_resurfaced() {
    let cart =
        |id: u64, items: &[&str], change: &str| json!({ "id": id, "items": items, change: "milk" });
    let mut script = Script::new();
    let (full, empty) = (cart(1, &["milk"], "add"), cart(2, &[], "remove"));
    script.put(0, "c", full.clone(), None, checker::history::op::Kind::Ok);
    let get = script.get(0, "c", std::slice::from_ref(&full));
    let removal = script.put(0, "c", empty.clone(), Some(get), checker::history::op::Kind::Ok);
    script.get(0, "c", &[empty]);
    script.final_get(1, "c", "n1", &[full]);
    let told = told(&script.history());
    let removal = told.iter().find(|write| write.write == removal).unwrap();
    assert_eq!(removal.fate, Fate::Resurfaced);
}
