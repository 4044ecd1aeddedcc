//! A replicated store of siblings in memory, with planted faults, and the histories it makes.
//!
//! Versions are compared by what they truly cover, so the unbroken store is right by definition.
//! Every random choice comes from the seed.

use std::collections::{BTreeMap, BTreeSet};

use checker::history::History;
use checker::history::op::{Kind, Op};
use rand::prelude::*;
use serde_json::{Value, json};

/// What is wrong with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    None,
    /// A merge keeps one of two concurrent siblings.
    DropSibling,
    /// A merge keeps what another value covers.
    KeepDominated,
    /// A put replaces all the replica has, seen or not.
    BlindOverwrite,
    /// Acknowledged with one copy, and that copy's disk is lost.
    LoseHint,
    /// A delete takes values away and leaves nothing that says so.
    ForgetTombstone,
    /// A put that was applied is reported as failed.
    FailedAppears,
    /// A read asks one replica where the promise is a quorum.
    StaleRead,
    /// A read invents a value.
    Corrupt,
}

/// What to do with it.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub bug: Bug,
    pub replicas: usize,
    pub quorum: usize,
    pub processes: u64,
    pub keys: u64,
    pub steps: usize,
    /// In percent: puts and deletes that end with a timeout.
    pub info: u32,
    pub deletes: bool,
    /// Values are carts.
    pub carts: bool,
    /// Replicas are brought to agree before the final reads.
    pub converge: bool,
    /// Copies beyond the quorum arrive late, or never when the replica is cut off.
    pub seed: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            bug: Bug::None,
            replicas: 3,
            quorum: 2,
            processes: 4,
            keys: 2,
            steps: 200,
            info: 10,
            deletes: false,
            carts: false,
            converge: true,
            seed: 0,
        }
    }
}

type Version = usize;

#[derive(Clone)]
struct Written {
    value: Option<Value>,
    /// All it covers, transitively.
    covers: BTreeSet<Version>,
}

#[derive(Clone)]
enum Doing {
    Idle,
    /// Invoked, not yet applied.
    Asked(Op),
    /// Applied; the completion line is still to come.
    Answered(Op),
    Retired,
}

pub struct Store {
    setup: Setup,
    rng: StdRng,
    written: Vec<Written>,
    /// Per replica and key its versions, deletes included.
    replicas: Vec<BTreeMap<u64, BTreeSet<Version>>>,
    /// What will reach a replica later.
    late: Vec<(usize, u64, Version)>,
    lines: Vec<Op>,
    time: u64,
    /// Per context (name of a get) what the store knew beneath it.
    contexts: BTreeMap<u64, BTreeSet<Version>>,
    /// Per process and key its last get and what that showed.
    last_get: BTreeMap<(u64, u64), (u64, Vec<Value>)>,
    next_process: u64,
    next_value: u64,
}

/// Runs the store and gives the history.
pub fn run(setup: Setup) -> History {
    let mut store = Store {
        setup,
        rng: StdRng::seed_from_u64(setup.seed),
        written: Vec::new(),
        replicas: vec![BTreeMap::new(); setup.replicas],
        late: Vec::new(),
        lines: Vec::new(),
        time: 0,
        contexts: BTreeMap::new(),
        last_get: BTreeMap::new(),
        next_process: setup.processes,
        next_value: 0,
    };
    store.main_phase();
    store.final_phase();
    History::numbered(store.lines).expect("the store keeps the record in order")
}

impl Store {
    fn line(&mut self, op: Op) -> u64 {
        // Often no time passes between two lines.
        self.time += self.rng.random_range(0..3) * 1_000_000;
        let index = self.lines.len() as u64;
        self.lines.push(Op { index, ..op.at(self.time) });
        index
    }

    fn main_phase(&mut self) {
        let mut processes: Vec<(u64, Doing)> =
            (0..self.setup.processes).map(|id| (id, Doing::Idle)).collect();
        for _ in 0..self.setup.steps {
            let at = self.rng.random_range(0..processes.len());
            let (id, doing) = processes[at].clone();
            processes[at].1 = self.advance(id, doing);
            if matches!(processes[at].1, Doing::Retired) {
                processes[at] = (self.next_process, Doing::Idle);
                self.next_process += 1;
            }
            if self.rng.random_bool(0.1) {
                self.deliver_one();
            }
        }
        for (id, mut doing) in processes {
            while !matches!(doing, Doing::Idle | Doing::Retired) {
                doing = self.advance(id, doing);
            }
        }
    }

    fn advance(&mut self, id: u64, doing: Doing) -> Doing {
        match doing {
            Doing::Idle | Doing::Retired => {
                let op = self.draw(id);
                self.line(op.clone());
                Doing::Asked(op)
            }
            Doing::Asked(op) => Doing::Answered(self.apply(op)),
            Doing::Answered(done) => {
                let retired = done.kind == Kind::Info;
                self.complete(id, done);
                if retired { Doing::Retired } else { Doing::Idle }
            }
        }
    }

    fn draw(&mut self, process: u64) -> Op {
        let key = self.rng.random_range(0..self.setup.keys);
        let invoke = |f| Op::invoke(process, f).key(format!("k{key}"));
        let seen = self.last_get.get(&(process, key)).cloned();
        match (self.rng.random_range(0..10), seen) {
            (0..5, _) | (_, None) if !self.setup.carts || self.rng.random_bool(0.5) => {
                if self.rng.random_bool(0.1) {
                    self.put(invoke("put"), None)
                } else {
                    invoke("get")
                }
            }
            (_, None) => invoke("get"),
            (8.., Some((get, _))) if self.setup.deletes => invoke("delete").context(get),
            (_, Some(seen)) => self.put(invoke("put"), Some(seen)),
        }
    }

    fn put(&mut self, invoke: Op, seen: Option<(u64, Vec<Value>)>) -> Op {
        self.next_value += 1;
        let id = self.next_value;
        let invoke = match &seen {
            Some((get, _)) => invoke.context(*get),
            None => invoke,
        };
        if !self.setup.carts {
            return invoke.value(id);
        }
        let siblings = seen.map(|seen| seen.1).unwrap_or_default();
        let mut items: BTreeSet<String> = siblings
            .iter()
            .flat_map(|cart| cart["items"].as_array().cloned().unwrap_or_default())
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect();
        if !items.is_empty() && self.rng.random_bool(0.3) {
            let gone = items.iter().choose(&mut self.rng).cloned().expect("it is not empty");
            items.remove(&gone);
            return invoke.value(json!({"id": id, "items": items, "remove": gone}));
        }
        let item = format!("i{id}");
        items.insert(item.clone());
        invoke.value(json!({"id": id, "items": items, "add": item}))
    }

    fn key_of(op: &Op) -> u64 {
        let key = op.key.as_deref().and_then(|key| key[1..].parse().ok());
        key.expect("keys are k0, k1, ...")
    }

    fn apply(&mut self, op: Op) -> Op {
        if op.f == "get" { self.get(&op) } else { self.write(&op) }
    }

    fn get(&mut self, op: &Op) -> Op {
        let key = Self::key_of(op);
        let asked = if self.setup.bug == Bug::StaleRead { 1 } else { self.setup.quorum };
        let mut replicas: Vec<usize> = (0..self.setup.replicas).collect();
        replicas.shuffle(&mut self.rng);
        let mut merged = BTreeSet::new();
        for &replica in &replicas[..asked] {
            let held = self.replicas[replica].get(&key).cloned().unwrap_or_default();
            merged = self.merge(&merged, &held);
        }
        let mut values: Vec<Value> =
            merged.iter().filter_map(|&version| self.written[version].value.clone()).collect();
        if self.setup.bug == Bug::Corrupt && self.rng.random_bool(0.05) {
            values.push(json!("rotten"));
        }
        values.shuffle(&mut self.rng);
        let mut known = merged.clone();
        for &version in &merged {
            known.extend(&self.written[version].covers);
        }
        let mut done = op.completed(Kind::Ok).value(values);
        // The context is filed under the completion's index once that is known.
        done.context = Some(self.contexts.len() as u64 + (1 << 40));
        self.contexts.insert(self.contexts.len() as u64 + (1 << 40), known);
        done
    }

    fn write(&mut self, op: &Op) -> Op {
        let key = Self::key_of(op);
        let timeout = self.rng.random_ratio(self.setup.info, 100);
        let mut done = op.completed(if timeout { Kind::Info } else { Kind::Ok });
        if !timeout && self.rng.random_bool(0.05) {
            done.kind = Kind::Fail;
            if self.setup.bug != Bug::FailedAppears {
                return done;
            }
        }
        let known = op.context.and_then(|get| self.contexts.get(&get).cloned());
        let value = (op.f == "put").then(|| op.value.clone().expect("puts have values"));
        self.written.push(Written { value, covers: known.unwrap_or_default() });
        let version = self.written.len() - 1;
        let mut replicas: Vec<usize> = (0..self.setup.replicas).collect();
        replicas.shuffle(&mut self.rng);
        let at_once = match timeout {
            true => self.rng.random_range(0..=self.setup.quorum),
            false if self.setup.bug == Bug::LoseHint => 1,
            false => self.setup.quorum,
        };
        for &replica in &replicas[..at_once] {
            self.store(replica, key, version);
        }
        if self.setup.bug == Bug::LoseHint {
            if !timeout && self.rng.random_bool(0.2) {
                self.replicas[replicas[0]].insert(key, BTreeSet::new());
            }
        } else if !timeout || self.rng.random_bool(0.5) {
            self.late.extend(replicas[at_once..].iter().map(|&replica| (replica, key, version)));
        }
        done
    }

    fn complete(&mut self, process: u64, mut done: Op) {
        let filed = (done.f == "get").then(|| done.context.take()).flatten();
        let (key, values) = (Self::key_of(&done), done.value.clone());
        let index = self.line(done);
        if let Some(filed) = filed {
            let known = self.contexts.remove(&filed).expect("filed when it was answered");
            // A stub stays, so that the next number is a new one.
            self.contexts.insert(filed, BTreeSet::new());
            self.contexts.insert(index, known);
            let values = values.and_then(|values| values.as_array().cloned()).unwrap_or_default();
            self.last_get.insert((process, key), (index, values));
        }
    }

    fn store(&mut self, replica: usize, key: u64, version: Version) {
        let held = self.replicas[replica].remove(&key).unwrap_or_default();
        let written = &self.written[version];
        let held = if self.setup.bug == Bug::BlindOverwrite && written.value.is_some() {
            BTreeSet::from([version])
        } else if self.setup.bug == Bug::ForgetTombstone && written.value.is_none() {
            &held - &written.covers
        } else {
            self.merge(&held, &BTreeSet::from([version]))
        };
        self.replicas[replica].insert(key, held);
    }

    fn merge(&mut self, a: &BTreeSet<Version>, b: &BTreeSet<Version>) -> BTreeSet<Version> {
        let mut all = a | b;
        if self.setup.bug != Bug::KeepDominated {
            let covered: BTreeSet<Version> =
                all.iter().flat_map(|&version| self.written[version].covers.clone()).collect();
            all = &all - &covered;
        }
        let siblings = all.iter().filter(|&&version| self.written[version].value.is_some());
        if self.setup.bug == Bug::DropSibling && siblings.count() > 1 && self.rng.random_bool(0.5) {
            all.pop_first();
        }
        all
    }

    fn deliver_one(&mut self) {
        if self.late.is_empty() {
            return;
        }
        let at = self.rng.random_range(0..self.late.len());
        let (replica, key, version) = self.late.swap_remove(at);
        self.store(replica, key, version);
    }

    fn final_phase(&mut self) {
        while !self.late.is_empty() {
            self.deliver_one();
        }
        for key in 0..self.setup.keys {
            if self.setup.converge {
                self.converge(key);
            }
            self.time += 1_000_000;
            for replica in 0..self.setup.replicas {
                let held = self.replicas[replica].get(&key).cloned().unwrap_or_default();
                let values: Vec<Value> =
                    held.iter().filter_map(|&v| self.written[v].value.clone()).collect();
                let home = Op::invoke(self.next_process, "home").key(format!("k{key}"));
                let home = home.node(format!("n{replica}")).finally();
                self.line(home.clone());
                self.line(home.completed(Kind::Ok).value(values));
            }
            for node in 0..self.setup.replicas {
                let get = Op::invoke(self.next_process, "get").key(format!("k{key}"));
                let get = get.node(format!("n{node}")).finally();
                self.line(get.clone());
                let mut done = self.get(&get);
                done.context = None;
                self.line(done);
            }
        }
    }

    fn converge(&mut self, key: u64) {
        let mut all = BTreeSet::new();
        for replica in 0..self.setup.replicas {
            let held = self.replicas[replica].get(&key).cloned().unwrap_or_default();
            all = self.merge(&all, &held);
        }
        for replica in 0..self.setup.replicas {
            self.replicas[replica].insert(key, all.clone());
        }
    }
}
