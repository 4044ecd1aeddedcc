//! Which specification a history calls for, told by its operations, and why.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Spec;
use crate::formats::is_micro_ops;
use crate::history::{History, Outcome, Pair};

/// What a history is to be judged by.
pub enum Guess {
    /// By this, for this reason.
    Spec(Spec, String),
    /// By nothing that is known, for this reason.
    None(String),
}

/// The spec that a history's operations call for.
pub fn guess(history: &History) -> Guess {
    let seen = Seen::of(history);
    let name = match seen.name() {
        Ok(name) => name,
        Err(why) => return Guess::None(format!("no --spec, and {why}")),
    };
    match Spec::named(name) {
        Some(spec) => Guess::Spec(spec, format!("judged as {name}, for it has {}", seen.listed())),
        None => Guess::None(format!("no --spec, and there is none of the name {name}")),
    }
}

/// What stands in a history's operations.
#[derive(Default)]
struct Seen<'a> {
    fs: BTreeSet<&'a str>,
    /// What was written, and what was read, of which kinds.
    written: BTreeSet<&'static str>,
    read: BTreeSet<&'static str>,
    carts: bool,
    /// Operations that are lists of micro-ops, and others.
    micro: bool,
    others: bool,
    /// Micro-ops append to lists, or read them.
    lists: bool,
}

impl<'a> Seen<'a> {
    fn of(history: &'a History) -> Self {
        let mut seen = Self::default();
        for pair in history.pairs() {
            seen.see(&pair);
        }
        seen
    }

    fn see(&mut self, pair: &Pair<'a>) {
        self.fs.insert(pair.f());
        let asked = pair.invoke.value.as_ref();
        let result = if pair.outcome() == Outcome::Ok { pair.result() } else { None };
        let micro = [asked, result].into_iter().flatten().filter(|value| is_micro_ops(value));
        let mut is_micro = false;
        for part in micro.filter_map(Value::as_array).flatten() {
            is_micro = true;
            self.lists |=
                part[0] == "append" || part[0] == "r" && part.get(2).is_some_and(Value::is_array);
        }
        self.micro |= is_micro;
        self.others |= !is_micro;
        match pair.f() {
            "read" | "get" | "home" => self.read.extend(result.and_then(kind)),
            "write" | "put" => {
                self.written.extend(asked.and_then(kind));
                self.carts |= asked.is_some_and(|cart| cart.get("items").is_some());
            }
            "cas" => self
                .written
                .extend(asked.and_then(Value::as_array).into_iter().flatten().filter_map(kind)),
            _ => {}
        }
    }

    fn has(&self, f: &str) -> bool {
        self.fs.contains(f)
    }

    /// What there is, for a sentence.
    fn listed(&self) -> String {
        let mut text = listed(self.fs.iter().copied());
        if self.read.contains("array") {
            text.push_str(", and reads of lists");
        }
        text
    }

    /// The name of the spec, or why there is none.
    fn name(&self) -> Result<&'static str, String> {
        if self.fs.is_empty() {
            return Err("there is no operation to tell by".to_owned());
        }
        if self.micro || self.has("txn") {
            return self.transactions();
        }
        if let Some(kafka) =
            ["send", "poll", "subscribe", "assign"].into_iter().find(|f| self.has(f))
        {
            return Err(format!("no spec knows {kafka}: logs as Kafka's are not judged"));
        }
        if self.has("transfer") || self.read.contains("object") && self.written.is_empty() {
            return Err(
                "reads return balances of accounts: transfers of a bank are not judged".to_owned()
            );
        }
        if self.has("put") {
            return self.puts();
        }
        if self.has("append") {
            return Ok("kv");
        }
        if self.has("drain") {
            return Ok("total-queue");
        }
        let told_by = [
            ("acquire", "mutex"),
            ("release", "mutex"),
            ("lock", "mutex"),
            ("unlock", "mutex"),
            ("enqueue", "queue"),
            ("dequeue", "queue"),
            ("inc", "counter"),
            ("dec", "counter"),
            ("remove", "set"),
            ("generate", "unique-ids"),
        ];
        if let Some((_, name)) = told_by.into_iter().find(|(f, _)| self.has(f)) {
            return Ok(name);
        }
        if self.has("add") {
            return self.adds();
        }
        if self.has("cas") {
            return self.register("cas-register");
        }
        if self.has("write") || self.has("read") {
            return self.register("register");
        }
        Err(format!("no spec is told by {}", self.listed()))
    }

    fn transactions(&self) -> Result<&'static str, String> {
        if self.lists {
            return Err(
                "transactions append to lists and read them: these are not judged (a checker \
                        of list-append, as Elle, does)"
                    .to_owned(),
            );
        }
        let known = self.fs.iter().all(|f| matches!(*f, "txn" | "read" | "write"));
        if known && !self.others {
            return Ok("multi-register");
        }
        Err(format!(
            "of {} not all are lists of [:r key value] and [:w key value]: such transactions are \
             not judged",
            self.listed()
        ))
    }

    fn puts(&self) -> Result<&'static str, String> {
        let texts = self.written.iter().chain(&self.read).all(|kind| *kind == "string");
        match () {
            () if self.carts => Ok("cart"),
            () if self.has("append") => Ok("kv"),
            () if self.has("home") || self.read.contains("array") => Ok("siblings"),
            () if texts => Ok("kv"),
            () if self.has("cas") => self.register("cas-register"),
            () => self.register("register"),
        }
    }

    /// A set or a counter: only what is read tells.
    fn adds(&self) -> Result<&'static str, String> {
        let (lists, numbers) = (self.read.contains("array"), self.read.contains("number"));
        match (lists, numbers) {
            (true, false) => Ok("set"),
            (false, true) => Ok("counter"),
            (false, false) => {
                Err("no read was answered that tells whether it adds to a set or a counter"
                    .to_owned())
            }
            (true, true) => Err("some reads return a list and some a number".to_owned()),
        }
    }

    /// A register, if what is read is of the kind of what is written: else it is something else,
    /// and no read is to be called wrong for it.
    fn register(&self, name: &'static str) -> Result<&'static str, String> {
        let Some(strange) = self.read.iter().find(|kind| !self.written.contains(*kind)) else {
            return Ok(name);
        };
        let written: Vec<&str> = self.written.iter().copied().collect();
        let written = if written.is_empty() { "nothing".to_owned() } else { written.join(", ") };
        Err(format!(
            "it has {}, but is hardly a {name}: reads return values of kind {strange}, and what is \
             written is {written} (--spec {name} judges it nevertheless)",
            self.listed()
        ))
    }
}

/// Names of operations, for a sentence.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const MOST: usize = 8;
    let mut names: Vec<&str> = names.into_iter().collect();
    if names.len() > MOST {
        names.truncate(MOST);
        names.push("others");
    }
    match names.split_last() {
        None => "no operation".to_owned(),
        Some((one, [])) => (*one).to_owned(),
        Some((last, names)) => format!("{} and {last}", names.join(", ")),
    }
}

/// Of which kind a value is; none for null, which every object may hold.
fn kind(value: &Value) -> Option<&'static str> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    })
}
