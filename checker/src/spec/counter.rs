//! A counter: `add` (or `inc`, `dec`) and `read`.

use serde_json::Value;

use super::{Needs, Spec, Tie, Values, unknown_f};
use crate::history::{Outcome, Pair};

/// An operation on a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CounterOp {
    /// It adds this.
    Add(i64),
    /// It returned this.
    Read(i64),
}

/// The specification. It wraps at the ends of 64 bits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counter {
    /// Where it begins.
    pub initial: i64,
}

impl Spec for Counter {
    type Op = CounterOp;
    type State = i64;

    fn name(&self) -> &str {
        "counter"
    }

    fn read(&self, pair: &Pair<'_>, _values: &mut Values) -> Result<Option<CounterOp>, String> {
        let argument = pair.invoke.value.as_ref();
        match pair.f() {
            "add" | "inc" => Ok(Some(CounterOp::Add(amount(argument, 1)?))),
            "dec" => Ok(Some(CounterOp::Add(amount(argument, 1)?.wrapping_neg()))),
            "read" | "get" => match pair.outcome() {
                Outcome::Ok => Ok(Some(CounterOp::Read(amount(pair.result(), 0)?))),
                Outcome::Fail | Outcome::Info => Ok(None),
            },
            _ => Err(unknown_f("counter", pair, "add, inc, dec, read and get")),
        }
    }

    fn init(&self) -> i64 {
        self.initial
    }

    fn step(&self, state: &i64, op: &CounterOp) -> Option<i64> {
        match *op {
            CounterOp::Add(amount) => Some(state.wrapping_add(amount)),
            CounterOp::Read(value) => (*state == value).then_some(value),
        }
    }

    fn can_be_wrong(&self, op: &CounterOp) -> bool {
        matches!(op, CounterOp::Read(_))
    }

    fn tells(&self) -> &'static str {
        "read"
    }

    fn is_observer(&self, op: &CounterOp) -> bool {
        matches!(op, CounterOp::Read(_) | CounterOp::Add(0))
    }

    fn needs(&self, op: &CounterOp) -> Needs<i64> {
        match *op {
            CounterOp::Read(value) => Needs::Only(value),
            CounterOp::Add(_) => Needs::Unsaid,
        }
    }

    /// Any read may have counted any add: only reads can go.
    fn ties(&self, ops: &[&CounterOp]) -> Vec<Tie> {
        let tie = |op: &&CounterOp| match **op {
            CounterOp::Add(_) => Tie::stays(),
            CounterOp::Read(_) => Tie::default(),
        };
        ops.iter().map(tie).collect()
    }

    fn object(&self) -> &'static str {
        "the counter"
    }

    fn show(&self, state: &i64, _values: &Values) -> Option<String> {
        Some(state.to_string())
    }

    fn initial_of(&self, state: &i64, _values: &Values) -> Option<String> {
        Some(state.to_string())
    }

    fn describe(&self, op: &CounterOp, _values: &Values) -> String {
        match *op {
            CounterOp::Add(amount) => format!("add {amount}"),
            CounterOp::Read(value) => format!("read {value}"),
        }
    }
}

fn amount(value: Option<&Value>, absent: i64) -> Result<i64, String> {
    match value {
        None | Some(Value::Null) => Ok(absent),
        Some(value) => {
            value.as_i64().ok_or_else(|| format!("{value} is no amount: a counter has integers"))
        }
    }
}
