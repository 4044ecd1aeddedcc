//! What a record holds, in words, and whose key and operation each step is of.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use dynamo_protocol::{Envelope, Input, Key, NodeId, OpId, Output, RequestId, Siblings};
use serde::Serialize;

use super::Step;
use super::replay::{ReplayError, read_steps};
use crate::told::{Names, Told};

/// A step of a node, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ToldStep {
    /// Which of the record's, from 0.
    pub step: u64,
    /// The node's clock, in microseconds since 1970.
    pub at_us: u64,
    /// What the step was given.
    pub input: String,
    /// What its storage could not do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// What came out, in order.
    pub outputs: Vec<String>,
    /// The keys it is about, also where only the operation is named.
    pub keys: BTreeSet<String>,
    /// The operations it is about, also where only the client's request is named.
    pub ops: BTreeSet<String>,
    /// The message it was given, if it was given one.
    #[serde(skip)]
    pub got: Option<Carried>,
    /// The messages it sent, in order.
    #[serde(skip)]
    pub sent: Vec<Carried>,
}

/// A message between two nodes, as far as it is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Who sent it.
    pub from: NodeId,
    /// Whom it is for.
    pub to: NodeId,
    /// What it is: `store`, `fetched`.
    pub name: &'static str,
    /// The operation it is of.
    pub op: Option<String>,
    /// The versions it carries, if it carries any: of `fetched`, what the replica holds.
    pub set: Option<Siblings>,
}

impl Carried {
    fn of(Envelope { from, to, message, .. }: &Envelope) -> Self {
        Self {
            from: *from,
            to: *to,
            name: message.name(),
            op: message.op().map(|op| op.to_string()),
            set: message.set().cloned(),
        }
    }
}

/// What is known of operations and requests so far: most messages name one and no key.
#[derive(Default)]
struct Known {
    key_of_op: HashMap<OpId, Key>,
    key_of_request: HashMap<RequestId, Key>,
    op_of_request: HashMap<RequestId, OpId>,
}

/// Reads a record; `visit` is shown every step in order, until it says no.
///
/// # Errors
/// If the record is damaged, at the place where it is; what came before was shown.
pub fn steps(path: &Path, mut visit: impl FnMut(ToldStep) -> bool) -> Result<(), ReplayError> {
    let mut known = Known::default();
    read_steps(path, |number, step| visit(known.told(number, &step)))
}

fn sent(output: &Output) -> Option<Carried> {
    match output {
        Output::Send(envelope) => Some(Carried::of(envelope)),
        _ => None,
    }
}

impl Known {
    fn told(&mut self, step: u64, Step { now, input, errors, outputs, .. }: &Step) -> ToldStep {
        let names = std::iter::once(Names::of_input(input));
        let names: Vec<_> = names.chain(outputs.iter().map(Names::of_output)).collect();
        // A step that coordinates names the request's key first and the operation later.
        names.iter().for_each(|names| self.learn(names));
        let mut told = ToldStep {
            step,
            at_us: *now,
            input: Told(input).to_string(),
            errors: errors.iter().map(|(call, error)| format!("call {call}: {error}")).collect(),
            outputs: outputs.iter().map(|output| Told(output).to_string()).collect(),
            keys: BTreeSet::new(),
            ops: BTreeSet::new(),
            got: match input {
                Input::Peer(envelope) => Some(Carried::of(envelope)),
                _ => None,
            },
            sent: outputs.iter().filter_map(sent).collect(),
        };
        for Names { key, op, request } in &names {
            let op_of_request = request.and_then(|request| self.op_of_request.get(&request));
            let op = op.as_ref().or(op_of_request);
            let key_of_op = op.and_then(|op| self.key_of_op.get(op));
            let key_of_request = request.and_then(|request| self.key_of_request.get(&request));
            let keys = [key.as_ref(), key_of_op, key_of_request];
            told.keys.extend(keys.into_iter().flatten().map(ToString::to_string));
            told.ops.extend(op.map(ToString::to_string));
        }
        told
    }

    fn learn(&mut self, Names { key, op, request }: &Names) {
        if let (Some(request), Some(key)) = (request, key) {
            self.key_of_request.insert(*request, key.clone());
        }
        if let (Some(request), Some(op)) = (request, op) {
            self.op_of_request.insert(*request, *op);
        }
        let key_of_request = || self.key_of_request.get(&(*request)?).cloned();
        if let Some(op) = op
            && let Some(key) = key.clone().or_else(key_of_request)
        {
            self.key_of_op.insert(*op, key);
        }
    }
}
