//! A history to tell stories of.

use checker::history::History;
use checker::history::op::{Kind, Op, Process};
use serde_json::{Value, json};

fn cart(id: &str, items: &[&str], add: &str) -> Value {
    json!({ "id": id, "items": items, "add": add })
}

/// Two clients read an empty cart and put one each; one of the puts replaces the other.
pub(crate) fn replaced(key: &str, item: &str, node: &str, error: &str) -> History {
    let op = |process, f: &'static str| Op::invoke(process, f).key(key).node(node);
    let (mine, theirs) = (cart("a", &[item], item), cart("b", &["eggs"], "eggs"));
    let shows = |op: &Op, carts: &[&Value]| op.completed(Kind::Ok).value(json!(carts));
    let put =
        |process, value: &Value, context| op(process, "put").value(value.clone()).context(context);
    let (first, second) = (put(0, &mine, 2), put(1, &theirs, 3));
    let (last, failed) = (op(2, "get").finally(), op(3, "get"));
    let fault = |kind, step: &str| {
        let value = json!({ "fault": 1, "step": step, "nodes": [node], "proof": [error] });
        Op::new(Process::Nemesis, kind, "kill").value(value)
    };
    let lines = vec![
        op(0, "get"),
        op(1, "get"),
        shows(&op(0, "get"), &[]),
        shows(&op(1, "get"), &[]),
        fault(Kind::Invoke, "inject"),
        fault(Kind::Ok, "inject"),
        first.clone(),
        first.completed(Kind::Ok),
        second.clone(),
        second.completed(Kind::Ok),
        fault(Kind::Invoke, "heal"),
        failed.clone(),
        failed.completed(Kind::Fail).error(error),
        last.clone(),
        shows(&last, &[&theirs]),
    ];
    let lines = lines.into_iter().zip(1..).map(|(op, at)| op.at(at * 1_000_000)).collect();
    History::numbered(lines).unwrap()
}
