//! Makes histories: linearizable by construction, or with violations planted at known places.
//!
//! A simulated object is used by clients that are always busy. Every operation takes effect at
//! one instant between its beginning and its return, so the history is linearizable whatever the
//! instants are. A planted violation falsifies one result in a way that no order can explain.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use rand::prelude::*;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::history::op::{Kind, Op};

mod objects;

pub use objects::SPECS;
use objects::{Falsified, Object};

/// What history to make.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The object, one of [`SPECS`].
    pub spec: String,
    /// How many operations.
    pub ops: u64,
    /// How many clients, each with one operation open at nearly all times.
    pub processes: u32,
    /// Over how many keys they are spread.
    pub keys: u32,
    /// Written values are drawn from so many; with 0 every write writes something new.
    pub values: u64,
    /// How many violations to plant.
    pub violations: u64,
    /// The share of operations of which nobody knows whether they happened.
    pub indeterminate: f64,
    /// Everything random comes from it.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            spec: "register".to_owned(),
            ops: 1000,
            processes: 5,
            keys: 1,
            values: 0,
            violations: 0,
            indeterminate: 0.0,
            seed: 0,
        }
    }
}

/// A violation, and where it was planted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Planted {
    /// The line with the falsified result.
    pub index: u64,
    /// Its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What was done to it.
    pub what: &'static str,
}

/// Why no history can be made.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// There is no such object.
    #[error("there is no specification {0:?}: one of {list}", list = SPECS.join(", "))]
    Spec(String),
    /// A number is out of its range.
    #[error("{0}")]
    Range(&'static str),
    /// The lines could not be written.
    #[error("writing the history: {0}")]
    Io(#[from] std::io::Error),
}

/// Makes a history line by line; gives the violations that were planted. They can be fewer than
/// were asked for where the history is short.
pub fn generate(
    settings: &Settings,
    emit: impl FnMut(&Op) -> std::io::Result<()>,
) -> Result<Vec<Planted>, GenerateError> {
    if settings.processes == 0 || settings.keys == 0 {
        return Err(GenerateError::Range("there must be one process and one key at least"));
    }
    if !(0.0..=1.0).contains(&settings.indeterminate) {
        return Err(GenerateError::Range("the share of indeterminate operations is from 0 to 1"));
    }
    let object =
        Object::named(settings).ok_or_else(|| GenerateError::Spec(settings.spec.clone()))?;
    let mut world = World {
        settings,
        object,
        rng: ChaCha8Rng::seed_from_u64(settings.seed),
        emit,
        events: BinaryHeap::new(),
        clients: Vec::new(),
        next_process: u64::from(settings.processes),
        index: 0,
        begun: 0,
        planted: Vec::new(),
    };
    world.run()?;
    Ok(world.planted)
}

/// What happens to a client's operation next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Begin,
    Effect,
    Return,
    /// An operation that was given up takes effect after all.
    Late(u32),
}

struct World<'a, E> {
    settings: &'a Settings,
    object: Object,
    rng: ChaCha8Rng,
    emit: E,
    /// Time, client, step: at one instant clients act in their order.
    events: BinaryHeap<Reverse<(u64, u32, Step)>>,
    clients: Vec<Client>,
    next_process: u64,
    index: u64,
    begun: u64,
    planted: Vec<Planted>,
}

struct Client {
    process: u64,
    open: Option<Open>,
    /// Given up, by their number; they take effect when their time comes.
    late: BTreeMap<u32, Op>,
    /// How many were given up.
    given_up: u32,
}

pub(crate) struct Open {
    pub(crate) invoke: Op,
    /// How it ends, once it has taken effect.
    pub(crate) result: Option<Op>,
    fate: Fate,
}

/// What becomes of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    /// It takes effect and the answer is lost.
    Lost,
    /// It is given up and takes effect later.
    Late,
    /// It is given up and never takes effect.
    Never,
}

impl<E: FnMut(&Op) -> std::io::Result<()>> World<'_, E> {
    fn run(&mut self) -> Result<(), GenerateError> {
        for client in 0..self.settings.processes {
            let process = u64::from(client);
            self.clients.push(Client { process, open: None, late: BTreeMap::new(), given_up: 0 });
            let start = self.rng.random_range(0..1000);
            self.events.push(Reverse((start, client, Step::Begin)));
        }
        while let Some(Reverse((now, client, step))) = self.events.pop() {
            match step {
                Step::Begin if self.begun == self.settings.ops => {}
                Step::Begin => self.begin(now, client)?,
                Step::Effect => self.effect(client),
                Step::Return => self.finish(now, client)?,
                Step::Late(at) => {
                    let op = self.clients[client as usize].late.remove(&at);
                    self.object.apply(&op.expect("it takes effect once"));
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, now: u64, client: u32) -> Result<(), GenerateError> {
        self.begun += 1;
        let process = self.clients[client as usize].process;
        let invoke = self.object.invocation(process, &mut self.rng).at(now);
        let fate = if self.rng.random_bool(self.settings.indeterminate) {
            let fates = [Fate::Lost, Fate::Lost, Fate::Late, Fate::Never];
            self.object.fate(&invoke, fates[self.rng.random_range(0..fates.len())])
        } else {
            Fate::Answered
        };
        self.line(&invoke)?;
        let effect = now + self.rng.random_range(1..1000);
        let end = effect + self.rng.random_range(1..1000);
        if matches!(fate, Fate::Answered | Fate::Lost) {
            self.events.push(Reverse((effect, client, Step::Effect)));
        }
        self.events.push(Reverse((end, client, Step::Return)));
        self.clients[client as usize].open = Some(Open { invoke, result: None, fate });
        Ok(())
    }

    fn effect(&mut self, client: u32) {
        if let Some(open) = &mut self.clients[client as usize].open {
            open.result = Some(self.object.apply(&open.invoke));
        }
    }

    fn finish(&mut self, now: u64, client: u32) -> Result<(), GenerateError> {
        let Some(open) = self.clients[client as usize].open.take() else { return Ok(()) };
        let next = now + self.rng.random_range(1..self.longest_pause(&open));
        self.events.push(Reverse((next, client, Step::Begin)));
        let mut end = match (&open.result, open.fate) {
            (Some(result), Fate::Answered) => result.clone().at(now),
            _ => open.invoke.completed(Kind::Info).at(now),
        };
        end.process = open.invoke.process;
        if end.kind == Kind::Info {
            let client = &mut self.clients[client as usize];
            client.process = self.next_process;
            self.next_process += 1;
        }
        if open.fate == Fate::Late {
            let given_up = &mut self.clients[client as usize];
            let step = Step::Late(given_up.given_up);
            given_up.late.insert(given_up.given_up, open.invoke.clone());
            given_up.given_up += 1;
            let when = now + self.rng.random_range(1..20_000);
            self.events.push(Reverse((when, client, step)));
        }
        if self.wants_violation()
            && let Some(Falsified { op, what }) = self.object.falsified(&open.invoke, &end)
        {
            end = op;
            let key = end.key.as_deref().map(str::to_owned);
            self.planted.push(Planted { index: self.index, key, what });
        } else {
            self.object.returned(&open.invoke, &end);
        }
        self.line(&end)
    }

    /// Clients are always busy; one that took a lock keeps it for a while, so that others try to
    /// take it meanwhile.
    fn longest_pause(&self, open: &Open) -> u64 {
        let answered = open.fate == Fate::Answered;
        let took = open.result.as_ref().is_some_and(|result| result.kind == Kind::Ok);
        if open.invoke.f == "acquire" && answered && took { 5000 } else { 10 }
    }

    /// Violations stand about evenly spaced.
    fn wants_violation(&self) -> bool {
        let (wanted, done) = (self.settings.violations, self.planted.len() as u64);
        if done >= wanted {
            return false;
        }
        let due = u128::from(self.settings.ops) * u128::from(done + 1) / u128::from(wanted + 1);
        u128::from(self.begun) >= due
    }

    fn line(&mut self, op: &Op) -> Result<(), GenerateError> {
        let mut op = op.clone();
        op.index = self.index;
        self.index += 1;
        Ok((self.emit)(&op)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consistency::linearizable::named;
    use crate::history::History;
    use crate::judge::budget::Budget;
    use crate::judge::verdict::Verdict;

    fn history(settings: &Settings) -> (History, Vec<Planted>) {
        let mut ops = Vec::new();
        let emit = |op: &Op| {
            ops.push(op.clone());
            Ok(())
        };
        let planted = generate(settings, emit).unwrap();
        (History::from_ops(ops).unwrap(), planted)
    }

    #[test]
    fn every_kind_is_valid_until_a_violation_is_planted() {
        for spec in SPECS {
            for seed in 0..6 {
                for violations in [0, 1] {
                    let settings = Settings {
                        spec: spec.to_owned(),
                        ops: 150,
                        processes: 4,
                        keys: 2,
                        values: if seed % 2 == 0 { 0 } else { 5 },
                        violations,
                        indeterminate: if seed % 3 == 0 { 0.0 } else { 0.03 },
                        seed,
                    };
                    let (history, planted) = history(&settings);
                    let report = named(spec).unwrap().check(&history, &Budget::UNLIMITED);
                    let expected =
                        if planted.is_empty() { Verdict::Valid } else { Verdict::Invalid };
                    assert_eq!(report.verdict(), expected, "{settings:?}: {planted:?} {report:?}");
                    assert!(violations == 1 || planted.is_empty());
                    if let [one] = planted.as_slice() {
                        assert!(report.witness().contains(&one.index), "{settings:?} {report:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn most_violations_asked_for_are_planted() {
        for spec in SPECS {
            let settings =
                Settings { spec: spec.to_owned(), ops: 2000, violations: 3, ..Settings::default() };
            assert_eq!(history(&settings).1.len(), 3, "{spec}");
        }
    }

    #[test]
    fn one_seed_gives_one_history() {
        let settings = Settings { indeterminate: 0.1, seed: 9, ..Settings::default() };
        let other = Settings { seed: 10, ..settings.clone() };
        assert_eq!(history(&settings).0.ops(), history(&settings).0.ops());
        assert_ne!(history(&settings).0.ops(), history(&other).0.ops());
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let settings = Settings { spec: "stack".to_owned(), ..Settings::default() };
        let error = generate(&settings, |_| Ok(())).unwrap_err().to_string();
        assert!(error.contains("\"stack\": one of register"), "{error}");
        let settings = Settings { keys: 0, ..Settings::default() };
        assert!(generate(&settings, |_| Ok(())).is_err());
    }
}
