//! A set: `add`, `remove`, and `read` that returns all elements.

use serde_json::Value;

use super::{Spec, Tie, Values, argument, unknown_f};
use crate::history::{Outcome, Pair};

/// An operation on a set, its elements by id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SetOp {
    /// It puts this in; it may be there already.
    Add(u32),
    /// It takes this out; it need not be there.
    Remove(u32),
    /// It returned these.
    Read(Elements),
    /// It returned something twice: no set does.
    Twice(u32),
}

/// Elements as a bitmap over their ids, so that a state is copied and compared by the word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Elements(
    /// Without zeros at the end, so that equal sets are equal.
    Vec<u64>,
);

impl Elements {
    fn contains(&self, id: u32) -> bool {
        let word = self.0.get(id as usize / 64);
        word.is_some_and(|word| word >> (id % 64) & 1 == 1)
    }

    fn insert(&mut self, id: u32) {
        let word = id as usize / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (id % 64);
    }

    fn remove(&mut self, id: u32) {
        if let Some(word) = self.0.get_mut(id as usize / 64) {
            *word &= !(1 << (id % 64));
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    /// The ids, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        let bits = |(at, word): (usize, &u64)| {
            let (at, word) = (at as u32 * 64, *word);
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at + bit)
        };
        self.0.iter().enumerate().flat_map(bits)
    }
}

/// The specification.
#[derive(Clone, Copy, Debug, Default)]
pub struct Set;

impl Spec for Set {
    type Op = SetOp;
    type State = Elements;

    fn name(&self) -> &str {
        "set"
    }

    fn read(&self, pair: &Pair<'_>, values: &mut Values) -> Result<Option<SetOp>, String> {
        match pair.f() {
            "add" => Ok(Some(SetOp::Add(values.intern(argument(pair)?)))),
            "remove" => Ok(Some(SetOp::Remove(values.intern(argument(pair)?)))),
            "read" | "get" if pair.outcome() != Outcome::Ok => Ok(None),
            "read" | "get" => elements(pair.result(), values).map(Some),
            _ => Err(unknown_f("set", pair, "add, remove, read and get")),
        }
    }

    fn init(&self) -> Elements {
        Elements::default()
    }

    fn step(&self, state: &Elements, op: &SetOp) -> Option<Elements> {
        let mut next = match op {
            SetOp::Read(_) | SetOp::Twice(_) if !self.allows(state, op) => return None,
            _ => state.clone(),
        };
        match op {
            SetOp::Add(element) => next.insert(*element),
            SetOp::Remove(element) => next.remove(*element),
            SetOp::Read(_) | SetOp::Twice(_) => {}
        }
        Some(next)
    }

    fn can_be_wrong(&self, op: &SetOp) -> bool {
        matches!(op, SetOp::Read(_) | SetOp::Twice(_))
    }

    fn tells(&self) -> &'static str {
        "read"
    }

    fn allows(&self, state: &Elements, op: &SetOp) -> bool {
        match op {
            SetOp::Add(_) | SetOp::Remove(_) => true,
            SetOp::Read(elements) => state == elements,
            SetOp::Twice(_) => false,
        }
    }

    fn is_observer(&self, op: &SetOp) -> bool {
        matches!(op, SetOp::Read(_) | SetOp::Twice(_))
    }

    /// With an element go the reads that returned it.
    fn ties(&self, ops: &[&SetOp]) -> Vec<Tie> {
        let tie = |op: &&SetOp| match op {
            SetOp::Add(element) | SetOp::Remove(element) => Tie::makes(*element),
            SetOp::Read(elements) => Tie { uses: elements.iter().collect(), ..Tie::default() },
            SetOp::Twice(element) => Tie::uses(*element),
        };
        ops.iter().map(tie).collect()
    }

    fn object(&self) -> &'static str {
        "the set"
    }

    fn show(&self, state: &Elements, values: &Values) -> Option<String> {
        Some(crate::judge::finding::shown_all(state.iter().map(|element| values.get(element))))
    }

    fn describe(&self, op: &SetOp, values: &Values) -> String {
        match op {
            SetOp::Add(element) => format!("add {}", values.shown(*element)),
            SetOp::Remove(element) => format!("remove {}", values.shown(*element)),
            SetOp::Twice(element) => format!("read {} twice", values.shown(*element)),
            SetOp::Read(elements) => {
                let shown = elements.iter().map(|element| values.get(element));
                format!("read {}", crate::judge::finding::shown_all(shown))
            }
        }
    }
}

fn elements(result: Option<&Value>, values: &mut Values) -> Result<SetOp, String> {
    let list = match result {
        None | Some(Value::Null) => return Ok(SetOp::Read(Elements::default())),
        Some(Value::Array(list)) => list,
        Some(_) => return Err("the value of a set's read is an array of elements".to_owned()),
    };
    let mut elements = Elements::default();
    for value in list {
        let element = values.intern(value);
        if elements.contains(element) {
            return Ok(SetOp::Twice(element));
        }
        elements.insert(element);
    }
    Ok(SetOp::Read(elements))
}
