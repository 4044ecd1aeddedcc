//! A history as the engines see it: objects, and the calls made to each.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::consistency::left_out::{LeftOut, has_several, is_home};
use crate::history::op::Process;
use crate::history::{History, Outcome, Pair};
use crate::judge::budget::{Exhausted, Meter};
use crate::judge::verdict::CheckReport;
use crate::spec::{Spec, Values};

/// An operation with its interval. It takes effect at one instant between `invoked` and
/// `returned`; equal times overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call<O> {
    /// What is done, and what came back.
    pub op: O,
    /// The operation's name in its history.
    pub name: u64,
    /// The client process that did it.
    pub process: u64,
    /// When it began.
    pub invoked: u64,
    /// When it returned. `None`: it may take effect at any later time, or never.
    pub returned: Option<u64>,
}

#[cfg(test)]
impl<O> Call<O> {
    /// By a process of its own.
    pub(crate) fn of(name: u64, op: O, invoked: u64, returned: Option<u64>) -> Self {
        Self { op, name, process: name, invoked, returned }
    }
}

/// One object, with the calls made to it in order of invocation.
#[derive(Clone, Debug)]
pub struct Object<O> {
    /// Its key, where keys are objects of their own and the history names them.
    pub key: Option<Arc<str>>,
    /// The values that the calls speak of by id.
    pub values: Values,
    /// The calls.
    pub calls: Vec<Call<O>>,
    /// Calls that surely did not happen: kept to say where a strange value came from.
    pub failed: Vec<Call<O>>,
}

/// Why the objects of a history could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// An operation is none of the specification's.
    #[error("op {0}: {1}")]
    Op(u64, String),
    /// The budget did not suffice.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
}

impl ReadError {
    /// What is said of a history whose objects could not be had.
    pub(crate) fn report(&self) -> CheckReport {
        match self {
            Self::Op(..) => CheckReport::refused(self.to_string()),
            Self::Exhausted(_) => CheckReport::unknown(self.to_string()),
        }
    }
}

/// Reads a history as calls to the objects of a specification. Reads of single replicas (`home`) ask
/// none of these, and are left out.
pub fn objects<S: Spec>(
    spec: &S,
    history: &History,
    meter: &mut Meter,
) -> Result<Vec<Object<S::Op>>, ReadError> {
    Ok(objects_and_rest(spec, history, meter)?.0)
}

type ObjectsAndRest<T> = (Vec<Object<T>>, LeftOut);

/// The same, with how much was left out.
pub(crate) fn objects_and_rest<S: Spec>(
    spec: &S,
    history: &History,
    meter: &mut Meter,
) -> Result<ObjectsAndRest<S::Op>, ReadError> {
    let mut left_out = LeftOut::default();
    let mut objects: Vec<Object<S::Op>> = Vec::new();
    let mut by_key: HashMap<Option<&str>, usize> = HashMap::new();
    for pair in history.pairs() {
        meter.tick()?;
        if is_home(&pair) {
            left_out.takes(&pair);
            continue;
        }
        let key = pair.invoke.key.as_ref().filter(|_| spec.by_key());
        let at = *by_key.entry(key.map(|key| &**key)).or_insert_with(|| {
            let values = Values::new(spec.first_value());
            let key = key.cloned();
            objects.push(Object { key, values, calls: Vec::new(), failed: Vec::new() });
            objects.len() - 1
        });
        let said =
            add(spec, &pair, &mut objects[at]).map_err(|what| ReadError::Op(pair.name(), what))?;
        // Whether a list is one value or several siblings is for the specification to say.
        if pair.f() == "delete" || !said && has_several(&pair) {
            left_out.takes(&pair);
        }
    }
    Ok((objects, left_out))
}

/// Adds a call. Did the operation say anything?
fn add<S: Spec>(spec: &S, pair: &Pair<'_>, object: &mut Object<S::Op>) -> Result<bool, String> {
    let process = match pair.invoke.process {
        Process::Client(process) => process,
        Process::Nemesis => return Ok(false),
    };
    let read = spec.read(pair, &mut object.values)?;
    let said = read.is_some();
    let (name, invoked) = (pair.name(), pair.invoke.time);
    let returned = pair.completion.map(|op| op.time);
    let call = |op, returned| Call { op, name, process, invoked, returned };
    match pair.outcome() {
        Outcome::Ok => object.calls.extend(read.map(|op| call(op, returned))),
        Outcome::Info => object.calls.extend(read.map(|op| call(op, None))),
        Outcome::Fail => {
            let shown = spec.read_failed(pair, &mut object.values)?;
            object.calls.extend(shown.map(|op| call(op, returned)));
            object.failed.extend(read.map(|op| call(op, returned)));
        }
    }
    Ok(said)
}

/// How many answers there are that can be wrong.
pub(crate) fn answers<S: Spec>(spec: &S, objects: &[Object<S::Op>]) -> usize {
    let calls = objects.iter().flat_map(|object| &object.calls);
    calls.filter(|call| call.returned.is_some() && spec.can_be_wrong(&call.op)).count()
}

/// Of none of those there is nothing to judge.
pub(crate) fn no_answer<S: Spec>(spec: &S) -> String {
    format!("no {} was answered", spec.tells())
}

/// The instants at which calls begin and return, in order; at one instant all that begins comes
/// before all that returns, because equal times overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Begin(u32),
    Return(u32),
}

/// The events of these calls, which stand in order of invocation.
pub(crate) fn events<O>(calls: &[Call<O>]) -> Vec<Event> {
    let mut returns: Vec<(u64, u32)> =
        (0..).zip(calls).filter_map(|(at, call)| call.returned.map(|time| (time, at))).collect();
    returns.sort_unstable();
    let mut events = Vec::with_capacity(calls.len() + returns.len());
    let mut begun = 0;
    for (time, call) in returns {
        while begun < calls.len() && calls[begun].invoked <= time {
            events.push(Event::Begin(begun as u32));
            begun += 1;
        }
        events.push(Event::Return(call));
    }
    events.extend((begun..calls.len()).map(|at| Event::Begin(at as u32)));
    events
}
