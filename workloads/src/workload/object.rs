//! Objects that clients keep in siblings: what a visit puts, and what clients make of the siblings a get
//! shows.
//!
//! - A *register* has one writer, who numbers what it writes; of siblings the highest number counts.
//! - A *set* is a cart that nothing is taken out of: of siblings their union.
//! - A *counter* has a count for each client, who adds to its own; of siblings the highest of each, and of
//!   those the sum.

use std::collections::{BTreeMap, BTreeSet};

use checker::history::op::{Kind, Op};
use checker::history::{History, HistoryError};
use serde_json::{Map, Value, json};

use crate::plan::WorkloadName;

/// The field of a counter's put that has all counts.
const COUNTS: &str = "counts";

/// See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// A number that one client writes.
    Register,
    /// What was ever added.
    Set,
    /// How often was added.
    Counter,
}

impl Object {
    /// That of a workload, if it has one.
    #[must_use]
    pub fn of(workload: WorkloadName) -> Option<Self> {
        match workload {
            WorkloadName::Register => Some(Self::Register),
            WorkloadName::Set => Some(Self::Set),
            WorkloadName::Counter => Some(Self::Counter),
            _ => None,
        }
    }

    /// The history as clients of the object see it, line by line: reads of what siblings come to, and
    /// writes or adds. Reads of homes are no reads of the object, and stay what they are.
    ///
    /// # Errors
    /// Never, if `history` is one.
    pub fn seen(self, history: &History) -> Result<History, HistoryError> {
        let history = history.clone().resolved();
        History::from_ops(history.iter().map(|op| self.line(op)).collect())
    }

    fn line(self, op: &Op) -> Op {
        let mut line = op.clone();
        (line.context, line.elsewhere) = (None, None);
        match &*op.f {
            "get" => {
                line.f = "read".into();
                if op.kind == Kind::Ok {
                    let siblings = op.value.as_ref().and_then(Value::as_array);
                    line.value = Some(self.read(siblings.map_or(&[][..], Vec::as_slice)));
                }
            }
            "put" => {
                line.f = if self == Self::Register { "write" } else { "add" }.into();
                line.value = op.value.as_ref().map(|put| self.written(put));
            }
            _ => {}
        }
        line
    }

    /// What siblings come to. What is none of the object's makes a value that nobody wrote.
    fn read(self, siblings: &[Value]) -> Value {
        match self {
            Self::Register => {
                let strange = siblings.iter().find(|value| !value.is_u64());
                let latest = siblings.iter().max_by_key(|value| value.as_u64());
                strange.or(latest).cloned().unwrap_or(Value::Null)
            }
            Self::Set => {
                let items = siblings.iter().flat_map(|cart| match cart["items"].as_array() {
                    Some(items) => items.clone(),
                    None => vec![cart.clone()],
                });
                let mut seen = BTreeSet::new();
                items.filter(|item| seen.insert(item.to_string())).collect()
            }
            Self::Counter => {
                let strange = siblings.iter().find(|value| !value[COUNTS].is_object());
                let sum = || json!(counts(siblings).values().sum::<u64>());
                strange.cloned().unwrap_or_else(sum)
            }
        }
    }

    /// What a put adds to the object, or makes of it.
    fn written(self, put: &Value) -> Value {
        match self {
            Self::Register => put.clone(),
            Self::Set | Self::Counter => put["add"].clone(),
        }
    }
}

/// Of each client the highest count that a sibling shows.
fn counts<'a>(siblings: impl IntoIterator<Item = &'a Value>) -> BTreeMap<String, u64> {
    let mut highest = BTreeMap::new();
    for (client, count) in
        siblings.into_iter().filter_map(|value| value[COUNTS].as_object()).flatten()
    {
        let held: &mut u64 = highest.entry(client.clone()).or_default();
        *held = count.as_u64().unwrap_or_default().max(*held);
    }
    highest
}

/// A counter's next put: what siblings show, and this client's own count, which only it knows.
#[must_use]
pub fn count(siblings: &[Value], client: &str, own: u64, write: u64) -> Value {
    let mut counts = counts(siblings);
    counts.insert(client.to_owned(), own);
    let mut put = Map::new();
    put.insert("id".to_owned(), Value::String(format!("put-{write}")));
    put.insert(COUNTS.to_owned(), json!(counts));
    put.insert("add".to_owned(), json!(1));
    Value::Object(put)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(object: Object, ops: &[Op]) -> Vec<(String, Option<Value>)> {
        let history = History::numbered(ops.to_vec()).unwrap();
        let seen = object.seen(&history).unwrap();
        seen.iter().map(|op| (op.f.to_string(), op.value.clone())).collect()
    }

    fn got(siblings: Value) -> [Op; 2] {
        let get = Op::invoke(0, "get").key("k");
        [get.clone(), get.completed(Kind::Ok).value(siblings).at(1)]
    }

    fn read(object: Object, siblings: Value) -> Value {
        seen(object, &got(siblings)).pop().unwrap().1.unwrap()
    }

    #[test]
    fn of_siblings_a_register_reads_the_latest_a_set_all_and_a_counter_each_clients_highest() {
        assert_eq!(read(Object::Register, json!([2, 10, 9])), json!(10));
        assert_eq!(read(Object::Register, json!([])), Value::Null);
        let carts = json!([{"items": ["a", "b"]}, {"items": ["b", "c"]}]);
        assert_eq!(read(Object::Set, carts), json!(["a", "b", "c"]));
        let counts = json!([{"counts": {"w0": 2, "w1": 5}}, {"counts": {"w0": 3}}]);
        assert_eq!(read(Object::Counter, counts), json!(8));
        assert_eq!(read(Object::Counter, json!([])), json!(0));
    }

    #[test]
    fn what_nobody_wrote_stays_in_sight() {
        assert_eq!(read(Object::Register, json!([2, "junk"])), json!("junk"));
        assert_eq!(read(Object::Set, json!([{"items": ["a"]}, "junk"])), json!(["a", "junk"]));
        assert_eq!(read(Object::Counter, json!([{"counts": {}}, "junk"])), json!("junk"));
    }

    #[test]
    fn a_put_is_a_write_or_an_add_and_a_clients_count_is_its_own() {
        let put = |value| vec![Op::invoke(0, "put").key("k").value(value)];
        let one = |object, value| seen(object, &put(value)).pop().unwrap();
        assert_eq!(one(Object::Register, json!(7)), ("write".to_owned(), Some(json!(7))));
        let add = json!({"items": ["a"], "add": "a"});
        assert_eq!(one(Object::Set, add), ("add".to_owned(), Some(json!("a"))));
        let siblings = [json!({"counts": {"w0": 1, "w1": 4}})];
        let next = count(&siblings, "w0", 3, 9);
        assert_eq!(next["counts"], json!({"w0": 3, "w1": 4}));
        assert_eq!(one(Object::Counter, next), ("add".to_owned(), Some(json!(1))));
    }
}
