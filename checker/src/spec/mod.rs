//! Sequential specifications: what an object does when one operation at a time is done to it.
//!
//! A [`Spec`] reads the operations of a history into its own type, and says what each does to
//! the state. That is all a checker needs. The hooks that come with a default make the search
//! faster or the witness smaller, and never change a verdict.
//!
//! A specification of one's own, a register that can be swapped:
//!
//! ```
//! use checker::budget::Budget;
//! use checker::history::{History, Outcome, Pair};
//! use checker::linearizable::Linearizable;
//! use checker::history::op::{Kind, Op};
//! use checker::spec::{Spec, Values};
//! use checker::verdict::{Checker, Verdict};
//!
//! #[derive(Clone, Debug, PartialEq, Eq, Hash)]
//! struct Swap { new: u32, old: u32 }
//!
//! struct SwapRegister;
//!
//! impl Spec for SwapRegister {
//!     type Op = Swap;
//!     type State = u32;
//!
//!     fn name(&self) -> &str { "swap-register" }
//!
//!     fn read(&self, pair: &Pair<'_>, values: &mut Values) -> Result<Option<Swap>, String> {
//!         let new = pair.invoke.value.as_ref().ok_or("a swap without a value")?;
//!         let new = values.intern(new);
//!         let old = values.intern_or_null(pair.result());
//!         Ok((pair.outcome() == Outcome::Ok).then_some(Swap { new, old }))
//!     }
//!
//!     fn init(&self) -> u32 { Values::FIRST }
//!
//!     fn step(&self, state: &u32, op: &Swap) -> Option<u32> {
//!         (*state == op.old).then_some(op.new)
//!     }
//!
//!     fn can_be_wrong(&self, _op: &Swap) -> bool { true } // it tells what was there
//! }
//!
//! let swap = Op::invoke(0, "swap").value(1);
//! let back = Op::invoke(1, "swap").value(2);
//! let history = History::numbered(vec![
//!     swap.clone(), swap.completed(Kind::Ok).value(2), // it found what the other left,
//!     back.clone().at(1), back.completed(Kind::Ok).value(1).at(2), // which began later
//! ])?;
//! let report = Linearizable::new(SwapRegister).check(&history, &Budget::UNLIMITED);
//! assert_eq!(report.verdict(), Verdict::Invalid);
//! # Ok::<(), checker::history::HistoryError>(())
//! ```

use std::fmt::Debug;
use std::hash::Hash;

use hashbrown::DefaultHashBuilder;
use hashbrown::HashTable;
use serde_json::Value;

use crate::history::Pair;

mod counter;
mod kv;
mod multi_register;
mod mutex;
mod queue;
mod register;
mod set;

pub use counter::{Counter, CounterOp};
pub(crate) use kv::text as text_of;
pub use kv::{Kv, KvOp};
pub use multi_register::{Micro, MultiRegister};
pub use mutex::{Holder, Mutex, MutexOp};
pub use queue::{Queue, QueueOp};
pub use register::{CasOp, CasRegister, Register, RegisterOp};
pub use set::{Set, SetOp};

/// A sequential specification.
pub trait Spec: Send + Sync {
    /// One operation, with what it returned if that is known. Equal operations must do and
    /// return the same: the search treats them as interchangeable.
    type Op: Clone + Eq + Hash + Debug + Send + Sync;

    /// The state of one object.
    type State: Clone + Eq + Hash + Send + Sync;

    /// Its name in reports.
    fn name(&self) -> &str;

    /// Reads one operation of a history. `None` when it says nothing and changes nothing, as a
    /// read that was never answered. An error when it is none of this specification's.
    ///
    /// It is also asked about failed operations, to say where a value came from: what it makes
    /// of them is kept apart and never searched for.
    fn read(&self, pair: &Pair<'_>, values: &mut Values) -> Result<Option<Self::Op>, String>;

    /// What a *failed* operation nevertheless shows, as a compare-and-set that failed because it
    /// compared. Nothing by default: a failed operation surely did not happen, and that is all.
    fn read_failed(
        &self,
        _pair: &Pair<'_>,
        _values: &mut Values,
    ) -> Result<Option<Self::Op>, String> {
        Ok(None)
    }

    /// Is every key an object of its own? Then keys are judged apart, which is what makes long
    /// histories of many keys cheap (linearizability is local: Herlihy and Wing, 1990).
    fn by_key(&self) -> bool {
        true
    }

    /// The value that has the id [`Values::FIRST`] in every object: usually the initial one.
    fn first_value(&self) -> Value {
        Value::Null
    }

    /// The state at the beginning.
    fn init(&self) -> Self::State;

    /// The state after `op`, or `None` where it cannot happen, or not with that result.
    fn step(&self, state: &Self::State, op: &Self::Op) -> Option<Self::State>;

    /// Does `op`, once it is answered, say something that can be wrong? A read does, and a write that
    /// succeeds in every state does not: of such alone a history proves nothing, and is not valid.
    fn can_be_wrong(&self, op: &Self::Op) -> bool;

    /// What those are that can be wrong, for a sentence: `no read was answered`.
    fn tells(&self) -> &'static str {
        "operation that can be wrong"
    }

    /// Can `op` happen in `state`? Worth writing where a step copies a large state.
    fn allows(&self, state: &Self::State, op: &Self::Op) -> bool {
        self.step(state, op).is_some()
    }

    /// Does `op` leave every state as it is? Such an operation is taken as soon as it fits.
    fn is_observer(&self, _op: &Self::Op) -> bool {
        false
    }

    /// In which states `op` can happen, if that is easily said.
    fn needs(&self, _op: &Self::Op) -> Needs<Self::State> {
        Needs::Unsaid
    }

    /// The state that `op` leaves whatever was there before, if there is one such state.
    fn leaves(&self, _op: &Self::Op) -> Option<Self::State> {
        None
    }

    /// The operation as one of a plain register, where the specification is one (the initial
    /// value being [`Values::FIRST`]): then the zone check can judge it in linear time.
    fn as_register(&self, _op: &Self::Op) -> Option<RegisterOp> {
        None
    }

    /// What ties the operations together when a witness is made smaller ([`Tie`]). By default
    /// only observers can go.
    fn ties(&self, ops: &[&Self::Op]) -> Vec<Tie> {
        vec![Tie::stays(); ops.len()]
    }

    /// What an object is called in a sentence.
    fn object(&self) -> &'static str {
        "the state"
    }

    /// The value that a state is, by id, where it is one.
    fn value_of(&self, _state: &Self::State) -> Option<u32> {
        None
    }

    /// A state in words, after `the value was`. `None` where it is not to be told.
    fn show(&self, state: &Self::State, values: &Values) -> Option<String> {
        self.value_of(state).map(|id| values.shown(id))
    }

    /// The value that an object would hold at first to be in that state then, as `--initial` takes it;
    /// `None` where there is no such choice.
    fn initial_of(&self, state: &Self::State, values: &Values) -> Option<String> {
        self.value_of(state).map(|id| values.shown(id))
    }

    /// The operation in words, for a witness.
    fn describe(&self, op: &Self::Op, _values: &Values) -> String {
        format!("{op:?}")
    }
}

/// In which states an operation can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs<S> {
    /// In every state.
    Nothing,
    /// In this state only.
    Only(S),
    /// It is not said.
    Unsaid,
}

/// What an operation makes and uses, by numbers of the specification's choice.
///
/// Making a witness smaller takes *things* out of a history: with a thing goes every operation
/// that makes or uses it, and with each of those all that it makes. A specification has to choose
/// them so that a correct history stays correct. For a register the things are values: a write
/// goes with the reads of its value. An observer makes nothing, and can always go alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tie {
    /// It must stay in every witness.
    pub stays: bool,
    /// What it makes.
    pub makes: Vec<u32>,
    /// What it uses and did not make.
    pub uses: Vec<u32>,
}

impl Tie {
    /// It must stay.
    pub fn stays() -> Self {
        Self { stays: true, ..Self::default() }
    }

    /// It makes this.
    pub fn makes(thing: u32) -> Self {
        Self { makes: vec![thing], ..Self::default() }
    }

    /// It uses this.
    pub fn uses(thing: u32) -> Self {
        Self { uses: vec![thing], ..Self::default() }
    }
}

/// The values of one object, numbered densely, so that a state is a few integers.
#[derive(Clone, Debug)]
pub struct Values {
    list: Vec<Value>,
    ids: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Values {
    /// The id of the first value ([`Spec::first_value`]).
    pub const FIRST: u32 = 0;

    /// With that one value.
    pub fn new(first: Value) -> Self {
        let hasher = DefaultHashBuilder::default();
        let mut values = Self { list: Vec::new(), ids: HashTable::new(), hasher };
        values.intern(&first);
        values
    }

    /// The id of a value, given to it now if it is new.
    pub fn intern(&mut self, value: &Value) -> u32 {
        use std::hash::BuildHasher;
        let Self { list, ids, hasher } = self;
        let hash = hasher.hash_one(value);
        if let Some(&id) = ids.find(hash, |&id| list[id as usize] == *value) {
            return id;
        }
        let id = u32::try_from(list.len()).expect("a history has fewer than 2^32 lines");
        list.push(value.clone());
        ids.insert_unique(hash, id, |&id| hasher.hash_one(&list[id as usize]));
        id
    }

    /// The same; no value at all is `null`.
    pub fn intern_or_null(&mut self, value: Option<&Value>) -> u32 {
        self.intern(value.unwrap_or(&Value::Null))
    }

    /// The value of an id.
    pub fn get(&self, id: u32) -> &Value {
        &self.list[id as usize]
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Are there none? Never so: the first is always there.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// A value for a sentence.
    pub fn shown(&self, id: u32) -> String {
        crate::judge::finding::shown(self.get(id))
    }
}

/// What an operation that writes must carry.
fn argument<'a>(pair: &Pair<'a>) -> Result<&'a Value, String> {
    let value = pair.invoke.value.as_ref();
    value.ok_or_else(|| format!("a {} without a value", pair.f()))
}

fn unknown_f(spec: &str, pair: &Pair<'_>, known: &str) -> String {
    format!("the specification {spec} has no `{}`: it knows {known}", pair.f())
}

/// What a read returned: `null` where the line has no value. A `get` of this crate's own
/// histories returns a set of siblings: of one register that is at most one, and of several it says
/// nothing.
fn returned<'a>(pair: &Pair<'a>) -> Option<&'a Value> {
    match pair.result() {
        None => Some(&Value::Null),
        Some(Value::Array(siblings)) if pair.f() == "get" => match siblings.as_slice() {
            [] => Some(&Value::Null),
            [one] => Some(one),
            _ => None,
        },
        Some(value) => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_numbered_densely() {
        let mut values = Values::new(Value::Null);
        let ids: Vec<u32> = [json!(7), json!("7"), json!(7), Value::Null]
            .iter()
            .map(|v| values.intern(v))
            .collect();
        assert_eq!(ids, [1, 2, 1, Values::FIRST]);
        assert_eq!((values.len(), values.get(2)), (3, &json!("7")));
    }
}
