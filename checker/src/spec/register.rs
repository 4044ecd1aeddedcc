//! A register: it holds one value. Read, write, and in the larger one compare-and-set.

use serde_json::Value;

use super::{Needs, Spec, Tie, Values, argument, returned, unknown_f};
use crate::history::{Outcome, Pair};

/// An operation on a register, its values by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegisterOp {
    /// It returned this.
    Read(u32),
    /// It writes this.
    Write(u32),
}

/// Read (`read`, `get`) and write (`write`, `put`; `delete` writes `null`).
#[derive(Clone, Debug, Default)]
pub struct Register {
    /// What it holds before the first write.
    pub initial: Value,
}

impl Spec for Register {
    type Op = RegisterOp;
    type State = u32;

    fn name(&self) -> &str {
        "register"
    }

    fn read(&self, pair: &Pair<'_>, values: &mut Values) -> Result<Option<RegisterOp>, String> {
        match read_or_write(pair, values)? {
            Some(found) => Ok(found),
            None => Err(unknown_f("register", pair, "read, get, write, put and delete")),
        }
    }

    fn first_value(&self) -> Value {
        self.initial.clone()
    }

    fn init(&self) -> u32 {
        Values::FIRST
    }

    fn step(&self, state: &u32, op: &RegisterOp) -> Option<u32> {
        match *op {
            RegisterOp::Read(value) => (*state == value).then_some(value),
            RegisterOp::Write(value) => Some(value),
        }
    }

    fn can_be_wrong(&self, op: &RegisterOp) -> bool {
        matches!(op, RegisterOp::Read(_))
    }

    fn tells(&self) -> &'static str {
        "read"
    }

    fn is_observer(&self, op: &RegisterOp) -> bool {
        matches!(op, RegisterOp::Read(_))
    }

    fn needs(&self, op: &RegisterOp) -> Needs<u32> {
        match *op {
            RegisterOp::Read(value) => Needs::Only(value),
            RegisterOp::Write(_) => Needs::Nothing,
        }
    }

    fn leaves(&self, op: &RegisterOp) -> Option<u32> {
        let (RegisterOp::Read(value) | RegisterOp::Write(value)) = *op;
        Some(value)
    }

    fn as_register(&self, op: &RegisterOp) -> Option<RegisterOp> {
        Some(*op)
    }

    fn ties(&self, ops: &[&RegisterOp]) -> Vec<Tie> {
        let tie = |op: &&RegisterOp| match **op {
            RegisterOp::Read(value) => Tie::uses(value),
            RegisterOp::Write(value) => Tie::makes(value),
        };
        ops.iter().map(tie).collect()
    }

    fn object(&self) -> &'static str {
        "the value"
    }

    fn value_of(&self, state: &u32) -> Option<u32> {
        Some(*state)
    }

    fn describe(&self, op: &RegisterOp, values: &Values) -> String {
        match *op {
            RegisterOp::Read(value) => format!("read {}", values.shown(value)),
            RegisterOp::Write(value) => format!("write {}", values.shown(value)),
        }
    }
}

/// An operation on a register with compare-and-set, its values by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CasOp {
    /// It returned this.
    Read(u32),
    /// It writes this.
    Write(u32),
    /// From the first to the second.
    Cas(u32, u32),
    /// A compare-and-set that found something other than this.
    Not(u32),
}

/// Read, write, and `cas` with the value `[old, new]`.
#[derive(Clone, Debug, Default)]
pub struct CasRegister {
    /// What it holds before the first write.
    pub initial: Value,
    /// A failed `cas` has compared and found another value, as in the etcd logs of the
    /// linearizability literature. Otherwise it did not happen, and says no more than that.
    pub failed_cas_compared: bool,
}

impl Spec for CasRegister {
    type Op = CasOp;
    type State = u32;

    fn name(&self) -> &str {
        "cas-register"
    }

    fn read(&self, pair: &Pair<'_>, values: &mut Values) -> Result<Option<CasOp>, String> {
        if pair.f() == "cas" {
            let (old, new) = cas_values(pair, values)?;
            return Ok(Some(CasOp::Cas(old, new)));
        }
        match read_or_write(pair, values)? {
            Some(found) => Ok(found.map(|op| match op {
                RegisterOp::Read(value) => CasOp::Read(value),
                RegisterOp::Write(value) => CasOp::Write(value),
            })),
            None => Err(unknown_f("cas-register", pair, "read, get, write, put, delete and cas")),
        }
    }

    fn read_failed(&self, pair: &Pair<'_>, values: &mut Values) -> Result<Option<CasOp>, String> {
        if !self.failed_cas_compared || pair.f() != "cas" {
            return Ok(None);
        }
        Ok(Some(CasOp::Not(cas_values(pair, values)?.0)))
    }

    fn first_value(&self) -> Value {
        self.initial.clone()
    }

    fn init(&self) -> u32 {
        Values::FIRST
    }

    fn step(&self, state: &u32, op: &CasOp) -> Option<u32> {
        match *op {
            CasOp::Read(value) => (*state == value).then_some(value),
            CasOp::Write(value) => Some(value),
            CasOp::Cas(old, new) => (*state == old).then_some(new),
            CasOp::Not(value) => (*state != value).then_some(*state),
        }
    }

    fn can_be_wrong(&self, op: &CasOp) -> bool {
        !matches!(op, CasOp::Write(_))
    }

    fn tells(&self) -> &'static str {
        "read or compare-and-set"
    }

    fn is_observer(&self, op: &CasOp) -> bool {
        match *op {
            CasOp::Read(_) | CasOp::Not(_) => true,
            CasOp::Cas(old, new) => old == new,
            CasOp::Write(_) => false,
        }
    }

    fn needs(&self, op: &CasOp) -> Needs<u32> {
        match *op {
            CasOp::Read(value) | CasOp::Cas(value, _) => Needs::Only(value),
            CasOp::Write(_) => Needs::Nothing,
            CasOp::Not(_) => Needs::Unsaid,
        }
    }

    fn leaves(&self, op: &CasOp) -> Option<u32> {
        match *op {
            CasOp::Read(value) | CasOp::Write(value) | CasOp::Cas(_, value) => Some(value),
            CasOp::Not(_) => None,
        }
    }

    fn as_register(&self, op: &CasOp) -> Option<RegisterOp> {
        match *op {
            CasOp::Read(value) => Some(RegisterOp::Read(value)),
            CasOp::Write(value) => Some(RegisterOp::Write(value)),
            CasOp::Cas(..) | CasOp::Not(_) => None,
        }
    }

    /// As of a register. Where a compare-and-set has found "not that value", any value may be
    /// what it found: then only observers can go.
    fn ties(&self, ops: &[&CasOp]) -> Vec<Tie> {
        if ops.iter().any(|op| matches!(op, CasOp::Not(_))) {
            return vec![Tie::stays(); ops.len()];
        }
        let tie = |op: &&CasOp| match **op {
            CasOp::Read(value) | CasOp::Not(value) => Tie::uses(value),
            CasOp::Write(value) => Tie::makes(value),
            CasOp::Cas(old, new) => Tie { uses: vec![old], ..Tie::makes(new) },
        };
        ops.iter().map(tie).collect()
    }

    fn object(&self) -> &'static str {
        "the value"
    }

    fn value_of(&self, state: &u32) -> Option<u32> {
        Some(*state)
    }

    fn describe(&self, op: &CasOp, values: &Values) -> String {
        match *op {
            CasOp::Read(value) => format!("read {}", values.shown(value)),
            CasOp::Write(value) => format!("write {}", values.shown(value)),
            CasOp::Cas(old, new) => format!("cas {} to {}", values.shown(old), values.shown(new)),
            CasOp::Not(value) => format!("cas that found no {}", values.shown(value)),
        }
    }
}

/// `None` where the operation is neither; `Some(None)` where it is a read without an answer.
fn read_or_write(
    pair: &Pair<'_>,
    values: &mut Values,
) -> Result<Option<Option<RegisterOp>>, String> {
    Ok(Some(match pair.f() {
        "read" | "get" => match pair.outcome() {
            Outcome::Ok => returned(pair).map(|value| RegisterOp::Read(values.intern(value))),
            Outcome::Fail | Outcome::Info => None,
        },
        "write" | "put" => Some(RegisterOp::Write(values.intern(argument(pair)?))),
        "delete" => Some(RegisterOp::Write(values.intern(&Value::Null))),
        _ => return Ok(None),
    }))
}

fn cas_values(pair: &Pair<'_>, values: &mut Values) -> Result<(u32, u32), String> {
    match argument(pair)?.as_array().map(Vec::as_slice) {
        Some([old, new]) => Ok((values.intern(old), values.intern(new))),
        _ => Err("the value of a cas is [old, new]".to_owned()),
    }
}
