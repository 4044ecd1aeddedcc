//! A mutex: held by at most one process at a time.

use std::collections::HashMap;

use super::{Needs, Spec, Tie, Values, unknown_f};
use crate::history::Pair;
use crate::history::op::Process;

/// An operation on a mutex, by the process that does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MutexOp {
    /// It takes it.
    Acquire(u64),
    /// It gives it back.
    Release(u64),
}

/// `acquire` and `release`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mutex {
    /// Only its holder may release it. Otherwise anyone may, as with Jepsen's mutex model.
    pub owned: bool,
}

/// Who holds it: nobody, somebody, or this process where ownership counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// Free.
    Nobody,
    /// Held, whoever it is by.
    Somebody,
    /// Held by this process.
    Process(u64),
}

impl Mutex {
    fn holder(&self, process: u64) -> Holder {
        if self.owned { Holder::Process(process) } else { Holder::Somebody }
    }
}

impl Spec for Mutex {
    type Op = MutexOp;
    type State = Holder;

    fn name(&self) -> &str {
        if self.owned { "owned-mutex" } else { "mutex" }
    }

    fn read(&self, pair: &Pair<'_>, _values: &mut Values) -> Result<Option<MutexOp>, String> {
        // Where ownership does not count, who it is must not make equal operations differ.
        let process = match pair.invoke.process {
            Process::Client(process) if self.owned => process,
            Process::Client(_) | Process::Nemesis => 0,
        };
        match pair.f() {
            "acquire" | "lock" => Ok(Some(MutexOp::Acquire(process))),
            "release" | "unlock" => Ok(Some(MutexOp::Release(process))),
            _ => Err(unknown_f("mutex", pair, "acquire and release")),
        }
    }

    fn init(&self) -> Holder {
        Holder::Nobody
    }

    fn step(&self, state: &Holder, op: &MutexOp) -> Option<Holder> {
        match *op {
            MutexOp::Acquire(by) => (*state == Holder::Nobody).then(|| self.holder(by)),
            MutexOp::Release(by) => (*state == self.holder(by)).then_some(Holder::Nobody),
        }
    }

    /// Each promises something: that it was free, or that it was held.
    fn can_be_wrong(&self, _op: &MutexOp) -> bool {
        true
    }

    fn tells(&self) -> &'static str {
        "acquire or release"
    }

    fn needs(&self, op: &MutexOp) -> Needs<Holder> {
        match *op {
            MutexOp::Acquire(_) => Needs::Only(Holder::Nobody),
            MutexOp::Release(by) => Needs::Only(self.holder(by)),
        }
    }

    fn leaves(&self, op: &MutexOp) -> Option<Holder> {
        match *op {
            MutexOp::Acquire(by) => Some(self.holder(by)),
            MutexOp::Release(_) => Some(Holder::Nobody),
        }
    }

    /// An acquire goes with the release of the same process that follows it: where only the
    /// holder releases, nothing stands between the two in any correct order. (Where anyone may,
    /// that is not so.)
    fn ties(&self, ops: &[&MutexOp]) -> Vec<Tie> {
        if !self.owned {
            return vec![Tie::stays(); ops.len()];
        }
        let mut holds: HashMap<u64, u32> = HashMap::new();
        let tie = |(at, op): (usize, &&MutexOp)| match **op {
            MutexOp::Acquire(by) => {
                holds.insert(by, at as u32);
                Tie::makes(at as u32)
            }
            MutexOp::Release(by) => Tie::makes(holds.remove(&by).unwrap_or(at as u32)),
        };
        ops.iter().enumerate().map(tie).collect()
    }

    fn object(&self) -> &'static str {
        "the lock"
    }

    fn show(&self, state: &Holder, _values: &Values) -> Option<String> {
        Some(match state {
            Holder::Nobody => "free".to_owned(),
            Holder::Somebody => "held".to_owned(),
            Holder::Process(process) => format!("held by process {process}"),
        })
    }

    fn describe(&self, op: &MutexOp, _values: &Values) -> String {
        match *op {
            MutexOp::Acquire(_) => "acquire".to_owned(),
            MutexOp::Release(_) => "release".to_owned(),
        }
    }
}
