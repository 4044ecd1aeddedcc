//! What the integration tests share.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

pub mod cart_oracle;
pub mod fuzz;
pub mod more_oracles;
pub mod objects;
pub mod register_oracle;
pub mod sibling_oracle;
pub mod simple_oracle;
pub mod store;

use checker::history::History;
use checker::history::op::{Kind, Op};
use serde_json::Value;

/// Builds a history line by line; every line is one tick later than the one before.
#[derive(Default)]
pub struct Script {
    ops: Vec<Op>,
    step: u64,
}

impl Script {
    pub fn new() -> Self {
        Self { ops: Vec::new(), step: 1_000_000 }
    }

    /// Appends a line; gives its index.
    pub fn line(&mut self, op: Op) -> u64 {
        let index = self.ops.len() as u64;
        self.ops.push(op.at(index * self.step));
        index
    }

    /// An operation invoked and completed at once; gives its name.
    pub fn done(&mut self, invoke: Op, kind: Kind) -> u64 {
        let completion = invoke.completed(kind);
        self.line(invoke);
        self.line(completion)
    }

    /// A get that returns these siblings.
    pub fn get(&mut self, process: u64, key: &str, siblings: &[Value]) -> u64 {
        self.read(Op::invoke(process, "get").key(key), siblings)
    }

    /// A final get through a node.
    pub fn final_get(&mut self, process: u64, key: &str, node: &str, siblings: &[Value]) -> u64 {
        self.read(Op::invoke(process, "get").key(key).node(node).finally(), siblings)
    }

    /// A final read of one home's own replica.
    pub fn home(&mut self, process: u64, key: &str, node: &str, siblings: &[Value]) -> u64 {
        self.read(Op::invoke(process, "home").key(key).node(node).finally(), siblings)
    }

    fn read(&mut self, invoke: Op, siblings: &[Value]) -> u64 {
        let completion = invoke.completed(Kind::Ok).value(siblings.to_vec());
        self.line(invoke);
        self.line(completion)
    }

    /// A put with this context that ends so.
    pub fn put(
        &mut self,
        process: u64,
        key: &str,
        value: impl Into<Value>,
        context: Option<u64>,
        kind: Kind,
    ) -> u64 {
        let mut invoke = Op::invoke(process, "put").key(key).value(value);
        invoke.context = context;
        self.done(invoke, kind)
    }

    /// A delete with this context that ends so.
    pub fn delete(&mut self, process: u64, key: &str, context: u64, kind: Kind) -> u64 {
        self.done(Op::invoke(process, "delete").key(key).context(context), kind)
    }

    pub fn history(self) -> History {
        History::numbered(self.ops).expect("the script is sound")
    }
}
