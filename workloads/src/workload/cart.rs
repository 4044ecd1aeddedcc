//! Shared carts (paper, sections 4.4 and 6): a visit to a cart is a get, the union of the siblings
//! it shows, and a put of the cart with one item more or less and with that get's context.
//!
//! Other workloads make the same visits. `versions`: to keys with plain values: each is put over what the
//! get showed, beside it, or what it showed is deleted; of those siblings alone are judged, and deletes.
//! `session`: to plain values, each operation through another node. `register`, `set` and `counter`: to
//! [objects](super::object) that clients keep in siblings. `hotkey`, `large` and `many`: to carts, one of
//! them busy, heavy ones, many.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dynamo_protocol::{Key, Limits, NodeId};
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value};

use super::{Workload, object, wire};
use crate::plan::seed::{Purpose, exponential, stream};
use crate::plan::{WorkloadName, WorkloadPlan};
use crate::workload::generator::{Action, Call, Context, Event, Generator, Next, Outcome, Worker};

/// Of a hundred visits, how many only look.
const LOOKS: u32 = 10;
/// Of a hundred visits that change a cart with something in it, how many take an item out.
const REMOVES: u32 = 30;
/// Of a hundred visits, before how many a client goes to another node though all is well.
const STRAYS: u32 = 5;
/// Of a hundred carts, how many have a name that a store may stumble over.
const HOSTILE: u32 = 25;
/// Of a hundred visits to a plain value, how many delete it.
const DELETES: u32 = 25;
/// Of a hundred other ones, how many put without having read.
const BLIND: u32 = 20;
/// The same of workloads that are about what is read.
const MANY_LOOKS: u32 = 60;
/// Of a hundred visits to a hot key's neighbourhood, how many go to the key itself.
const HOT: u32 = 90;
/// The most that a put carries beside its cart, in bytes: with it a value is just short of the longest
/// there may be.
const MOST_PAD: usize = 1_000_000;
/// How many carts there are, where there are many, for each that the plan has, and how often each is changed.
const MANY: [usize; 2] = [50, 4];
/// A get and a put: what a visit mostly is, to turn operations a second into visits a second.
const OPS_PER_VISIT: f64 = 1.0 + (100 - LOOKS) as f64 / 100.0;

/// The clients of the carts.
#[derive(Clone, Debug)]
pub struct Carts {
    name: WorkloadName,
    nodes: Vec<NodeId>,
    shelf: Shelf,
    pace: Pace,
    /// Of each register its writer, and the number it wrote last.
    registers: BTreeMap<Arc<str>, (Worker, u64)>,
    /// By number; none of one that was never free.
    workers: Vec<Option<Client>>,
    seed: u64,
    writes: u64,
}

/// The carts that are open, and all there ever were.
#[derive(Clone, Debug)]
struct Shelf {
    open: Vec<(Arc<str>, usize)>,
    puts_per_cart: usize,
    names: Names,
    used: BTreeSet<Arc<str>>,
}

/// What carts are called, in the order in which they are opened: no two of them alike.
#[derive(Clone, Debug)]
struct Names {
    rng: ChaCha8Rng,
    given: usize,
    gave_the_empty_one: bool,
}

#[derive(Clone, Debug)]
enum Pace {
    /// Every worker thinks, then visits.
    Closed { think: Duration },
    /// Visits begin when they begin, if a worker is free; else as soon as one is.
    Open { next: Duration, mean: Duration, rng: Box<ChaCha8Rng> },
}

/// One worker's state.
#[derive(Clone, Debug)]
struct Client {
    rng: ChaCha8Rng,
    node: usize,
    /// How often it added to each counter, as far as that did not surely fail.
    added: BTreeMap<Arc<str>, u64>,
    at: State,
}

#[derive(Clone, Debug)]
enum State {
    /// Between two visits.
    Thinking { until: Duration },
    /// The get is open.
    Getting { key: Arc<str>, look: bool },
    /// The get is answered; the put comes next.
    Deciding { key: Arc<str>, get: u64, shown: Vec<Value> },
    /// The put is open.
    Putting { key: Arc<str> },
    /// What is open is not known.
    Lost,
}

impl Carts {
    /// Clients of `nodes` as the plan has them.
    #[must_use]
    pub fn new(plan: &WorkloadPlan, nodes: Vec<NodeId>, seed: u64) -> Self {
        let pace = match plan.rate {
            None => Pace::Closed { think: plan.think.0 },
            Some(rate) => Pace::Open {
                next: Duration::ZERO,
                mean: Duration::from_secs_f64(OPS_PER_VISIT / rate),
                rng: Box::new(stream(seed, Purpose::Arrivals)),
            },
        };
        let [more, puts] = MANY;
        let shelf = match plan.name {
            WorkloadName::Many => Shelf::new(plan.carts.saturating_mul(more), puts, seed),
            _ => Shelf::new(plan.carts, plan.puts_per_cart, seed),
        };
        let (registers, workers) = (BTreeMap::new(), Vec::new());
        Self { name: plan.name, nodes, shelf, pace, registers, workers, seed, writes: 0 }
    }

    fn client(&mut self, worker: Worker) -> &mut Client {
        let (seed, nodes) = (self.seed, self.nodes.len());
        if self.workers.len() <= worker.0 {
            self.workers.resize(worker.0 + 1, None);
        }
        self.workers[worker.0].get_or_insert_with(|| Client {
            rng: stream(seed, Purpose::Worker(u32::try_from(worker.0).unwrap_or(u32::MAX))),
            node: worker.0 % nodes,
            added: BTreeMap::new(),
            at: State::Thinking { until: Duration::ZERO },
        })
    }

    /// The put of a visit whose get is answered: comes before any new visit.
    fn put(&mut self, worker: Worker) -> Option<Call> {
        let (write, name) = (self.writes, self.name);
        let client = self.workers.get_mut(worker.0)?.as_mut()?;
        let State::Deciding { key, get, shown } = &mut client.at else { return None };
        let (key, get, shown) = (key.clone(), *get, std::mem::take(shown));
        client.at = State::Putting { key: key.clone() };
        let rng = &mut client.rng;
        let put = |value| Action::Put { value, context: Some(get) };
        let action = match name {
            WorkloadName::Cart | WorkloadName::Hotkey | WorkloadName::Many => {
                put(change(shown, write, REMOVES, rng))
            }
            WorkloadName::Large => {
                let mut cart = change(shown, write, REMOVES, rng);
                // As many of each length: of 10 to 100 bytes as of 100,000 to a million.
                let pad = (MOST_PAD as f64).powf(rng.random::<f64>());
                cart[wire::PAD] = (pad as u64).into();
                put(cart)
            }
            WorkloadName::Set => put(change(shown, write, 0, rng)),
            WorkloadName::Counter => {
                let own = client.added.entry(key.clone()).or_default();
                *own += 1;
                put(object::count(&shown, &format!("w{}", worker.0), *own, write))
            }
            WorkloadName::Register => {
                let (_, last) = self.registers.entry(key.clone()).or_insert((worker, 0));
                *last += 1;
                put((*last).into())
            }
            WorkloadName::Session => put(Value::String(format!("put-{write}"))),
            WorkloadName::Versions => replace(get, write, rng),
        };
        let node = self.nodes[client.node];
        self.writes += 1;
        self.shelf.count_put(&key);
        Some(Call { key, node, action, is_final: false })
    }

    /// The get that begins a visit.
    fn get(&mut self, worker: Worker) -> Call {
        let (nodes, name) = (self.nodes.len(), self.name);
        let (strays, looks) = match name {
            WorkloadName::Session => (100, MANY_LOOKS),
            WorkloadName::Register => (STRAYS, MANY_LOOKS),
            _ => (STRAYS, LOOKS),
        };
        let client = self.client(worker);
        if client.rng.random_ratio(strays, 100) {
            client.node = client.rng.random_range(0..nodes);
        }
        let (node, look) = (client.node, client.rng.random_ratio(looks, 100));
        // Squaring makes low carts busy and high ones long-lived: some carts see many faults.
        let even = client.rng.random::<f64>();
        let at = match name {
            WorkloadName::Hotkey if client.rng.random_ratio(HOT, 100) => 0.0,
            WorkloadName::Many => even,
            _ => even.powi(2),
        };
        let key = self.shelf.pick(at);
        // Who looks first at a register writes it, and nobody else.
        let mut is_anothers = || {
            let (writer, _) = self.registers.entry(key.clone()).or_insert((worker, 0));
            *writer != worker
        };
        let look = name == WorkloadName::Register && is_anothers() || look;
        self.client(worker).at = State::Getting { key: key.clone(), look };
        Call { key, node: self.nodes[node], action: Action::Get, is_final: false }
    }

    /// When this worker, which is free and has no put to make, begins a visit.
    fn ready_at(&mut self, worker: Worker) -> Duration {
        if let Pace::Open { next, .. } = &self.pace {
            return *next;
        }
        match &self.client(worker).at {
            State::Thinking { until } => *until,
            // Its completion was never told: it may as well begin anew.
            State::Getting { .. }
            | State::Deciding { .. }
            | State::Putting { .. }
            | State::Lost => Duration::ZERO,
        }
    }

    fn rest(&mut self, worker: Worker, now: Duration) {
        let think = match &self.pace {
            Pace::Closed { think } => *think,
            Pace::Open { .. } => Duration::ZERO,
        };
        let client = self.client(worker);
        let until = now + think.mul_f64(exponential(&mut client.rng));
        client.at = State::Thinking { until };
    }

    /// Clients go elsewhere when a node does not serve them.
    fn fail_over(&mut self, worker: Worker) {
        let nodes = self.nodes.len();
        let client = self.client(worker);
        client.node = (client.node + client.rng.random_range(1..nodes.max(2))) % nodes;
    }
}

impl Generator for Carts {
    fn op(&mut self, context: &Context<'_>) -> Next {
        for worker in context.free {
            if let Some(call) = self.put(*worker) {
                return Next::Op(*worker, call);
            }
        }
        let ready = context.free.iter().map(|worker| (self.ready_at(*worker), *worker)).min();
        let Some((at, worker)) = ready else { return Next::Wait(None) };
        if at > context.now {
            return Next::Wait(Some(at));
        }
        if let Pace::Open { next, mean, rng } = &mut self.pace {
            *next += mean.mul_f64(exponential(rng));
        }
        Next::Op(worker, self.get(worker))
    }

    fn update(&mut self, event: &Event<'_>) {
        let worker = event.worker;
        let client = self.client(worker);
        let before = std::mem::replace(&mut client.at, State::Lost);
        if let (State::Putting { key }, Outcome::Fail) = (&before, &event.outcome)
            && let Some(added) = client.added.get_mut(key)
        {
            // Of what may have happened it has to count on.
            *added -= 1;
        }
        match (before, &event.outcome) {
            (State::Getting { key, look: false }, Outcome::Ok { index, values }) => {
                let shown = shown(self.name, values);
                self.client(worker).at = State::Deciding { key, get: *index, shown };
            }
            (_, Outcome::Ok { .. }) => self.rest(worker, event.now),
            (_, Outcome::Uncounted | Outcome::Fail | Outcome::Info) => {
                self.fail_over(worker);
                self.rest(worker, event.now);
            }
        }
    }
}

impl Workload for Carts {
    fn keys(&self) -> &BTreeSet<Arc<str>> {
        &self.shelf.used
    }
}

/// The keys of the carts that are open at first: those that faults can aim at.
#[must_use]
pub fn first_keys(carts: usize, seed: u64) -> Vec<Key> {
    Names::new(seed).take(carts).map(|name| Key::from(name.as_str())).collect()
}

impl Names {
    fn new(seed: u64) -> Self {
        Self { rng: stream(seed, Purpose::Keys), given: 0, gave_the_empty_one: false }
    }

    /// The longest name there may be, that begins so.
    fn longest(mut name: String) -> String {
        let longest = Limits::default().key_bytes;
        name.extend(std::iter::repeat_n('-', longest.saturating_sub(name.len())));
        name
    }
}

impl Iterator for Names {
    type Item = String;

    /// All names are text: a history is JSON.
    fn next(&mut self) -> Option<String> {
        self.given += 1;
        let name = format!("cart-{}", self.given);
        // One name is known to whoever runs it again.
        let is_hostile = self.given > 1 && self.rng.random_ratio(HOSTILE, 100);
        Some(match self.rng.random_range(0..5) {
            _ if !is_hostile => name,
            0 if !self.gave_the_empty_one => {
                self.gave_the_empty_one = true;
                String::new()
            }
            0 => format!("\0\0{name}"),
            1 => Self::longest(name),
            // The one before it is its beginning.
            2 => format!("cart-{}\0", self.given - 1),
            3 => format!("{name}\n\r\t\"\\'{{}}\u{7f}"),
            _ => format!("{name} \u{e4}\u{1f6d2}\u{202e}\u{ffff}"),
        })
    }
}

impl Shelf {
    fn new(carts: usize, puts_per_cart: usize, seed: u64) -> Self {
        let mut names = Names::new(seed);
        let open = names.by_ref().take(carts).map(|name| (name.into(), 0)).collect();
        Self { open, puts_per_cart, names, used: BTreeSet::new() }
    }

    /// The open cart at `at` of the way, from 0 to 1.
    fn pick(&self, at: f64) -> Arc<str> {
        let index = (at * self.open.len() as f64) as usize;
        self.open[index.min(self.open.len() - 1)].0.clone()
    }

    fn count_put(&mut self, key: &Arc<str>) {
        let Some(index) = self.open.iter().position(|(open, _)| open == key) else { return };
        if self.open[index].1 == 0 {
            self.used.insert(key.clone());
        }
        self.open[index].1 += 1;
        if self.open[index].1 >= self.puts_per_cart
            && let Some(name) = self.names.next()
        {
            self.open[index] = (name.into(), 0);
        }
    }
}

/// What a visit has to know of the siblings it was shown.
fn shown(name: WorkloadName, siblings: &[&Value]) -> Vec<Value> {
    match name {
        WorkloadName::Cart
        | WorkloadName::Hotkey
        | WorkloadName::Many
        | WorkloadName::Large
        | WorkloadName::Set => union(siblings),
        WorkloadName::Counter => siblings.iter().map(|value| (*value).clone()).collect(),
        WorkloadName::Register | WorkloadName::Session | WorkloadName::Versions => Vec::new(),
    }
}

/// A plain value in the place of what `get` showed, or beside it; or none.
fn replace(get: u64, write: u64, rng: &mut ChaCha8Rng) -> Action {
    if rng.random_ratio(DELETES, 100) {
        return Action::Delete { context: get };
    }
    let context = (!rng.random_ratio(BLIND, 100)).then_some(get);
    Action::Put { value: Value::String(format!("put-{write}")), context }
}

/// What a cart shows: the union of its siblings, sorted.
fn union(siblings: &[&Value]) -> Vec<Value> {
    let lists = siblings.iter().filter_map(|cart| cart.get("items")?.as_array());
    let mut items: Vec<_> = lists.flatten().filter(|item| item.is_string()).collect();
    items.sort_unstable_by_key(|item| item.as_str());
    items.dedup();
    let mut union = Vec::with_capacity(items.len() + 1);
    union.extend(items.into_iter().cloned());
    union
}

/// The cart with one item more, or, of a hundred with something in it so often, less.
fn change(mut items: Vec<Value>, write: u64, removes: u32, rng: &mut ChaCha8Rng) -> Value {
    let removed = items.choose(rng).filter(|_| rng.random_ratio(removes, 100)).cloned();
    let place =
        |items: &[Value], item: &Value| items.partition_point(|held| held.as_str() < item.as_str());
    let (verb, item) = match removed {
        Some(item) => ("remove", items.remove(place(&items, &item))),
        None => {
            let item = Value::String(format!("item-{write}"));
            items.insert(place(&items, &item), item.clone());
            ("add", item)
        }
    };
    // By hand: `json!` copies what it is given, item by item.
    let mut put = Map::new();
    put.insert("id".to_owned(), Value::String(format!("put-{write}")));
    put.insert("items".to_owned(), Value::Array(items));
    put.insert(verb.to_owned(), item);
    Value::Object(put)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;

    fn carts(plan: &WorkloadPlan, seed: u64) -> Carts {
        Carts::new(plan, (1..=5).map(NodeId).collect(), seed)
    }

    /// A store that never fails and answers at once: one version a key.
    fn play(carts: &mut Carts, workers: usize, steps: usize) -> Vec<(Worker, Call)> {
        let free: Vec<_> = (0..workers).map(Worker).collect();
        let mut stored: BTreeMap<Arc<str>, Value> = BTreeMap::new();
        let (mut now, mut done) = (Duration::ZERO, Vec::new());
        while done.len() < steps {
            match carts.op(&Context { now, free: &free }) {
                Next::Op(worker, call) => {
                    let values = match &call.action {
                        Action::Put { value, .. } => {
                            stored.insert(call.key.clone(), value.clone());
                            vec![]
                        }
                        Action::Delete { .. } => {
                            stored.remove(&call.key);
                            vec![]
                        }
                        Action::Get | Action::Home => stored.get(&call.key).into_iter().collect(),
                    };
                    let outcome = Outcome::Ok { index: done.len() as u64, values };
                    carts.update(&Event { now, worker, outcome, why: "" });
                    done.push((worker, call));
                }
                Next::Wait(until) => now = until.unwrap(),
                Next::Done => panic!("carts never end by themselves"),
            }
        }
        done
    }

    #[test]
    fn the_same_seed_and_answers_give_the_same_operations() {
        let plan = Plan::default().workload;
        let run = |seed| play(&mut carts(&plan, seed), 4, 500);
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn plain_values_are_put_over_what_was_read_or_beside_it_or_are_deleted() {
        let plan = WorkloadPlan { name: WorkloadName::Versions, ..Plan::default().workload };
        let ops = play(&mut carts(&plan, 3), 1, 600);
        let count =
            |is: &dyn Fn(&Action) -> bool| ops.iter().filter(|(_, call)| is(&call.action)).count();
        let over = count(&|action| matches!(action, Action::Put { context: Some(_), .. }));
        let blind = count(&|action| matches!(action, Action::Put { context: None, .. }));
        let deletes = count(&|action| matches!(action, Action::Delete { .. }));
        assert!(over > deletes && deletes > blind && blind > 10, "{over} {deletes} {blind}");
    }

    #[test]
    fn a_put_follows_its_get_with_that_gets_context_and_one_item_more_or_less() {
        let plan = Plan::default().workload;
        let ops = play(&mut carts(&plan, 3), 1, 400);
        let puts: Vec<_> =
            (0..).zip(&ops).filter(|(_, (_, call))| call.action.f() == "put").collect();
        assert!(puts.len() > 100);
        for (index, (_, call)) in &puts {
            let Action::Put { value, context } = &call.action else { unreachable!() };
            assert_eq!(*context, Some(index - 1));
            assert_eq!(ops[*index as usize - 1].1.key, call.key);
            let items = value["items"].as_array().unwrap();
            match (value.get("add"), value.get("remove")) {
                (Some(item), None) => assert!(items.contains(item)),
                (None, Some(item)) => assert!(!items.contains(item)),
                _ => panic!("{value}"),
            }
        }
        let ids: BTreeSet<_> =
            puts.iter().map(|(_, (_, call))| format!("{:?}", call.action)).collect();
        assert_eq!(ids.len(), puts.len(), "written values are unique");
    }

    #[test]
    fn a_full_cart_makes_room_for_a_new_one() {
        let plan = WorkloadPlan { carts: 2, puts_per_cart: 5, ..Plan::default().workload };
        let mut carts = carts(&plan, 1);
        play(&mut carts, 1, 200);
        assert!(carts.keys().len() > 10);
    }

    #[test]
    fn names_are_drawn_from_what_stores_stumble_over_and_no_two_are_alike() {
        let names: Vec<_> = Names::new(1).take(1000).collect();
        assert_eq!(names, Names::new(1).take(1000).collect::<Vec<_>>());
        assert_ne!(names, Names::new(2).take(1000).collect::<Vec<_>>());
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        let longest = Limits::default().key_bytes;
        assert!(names.iter().all(|name| name.len() <= longest));
        type Is = fn(&str) -> bool;
        let kinds: [(&str, Is); 6] = [
            ("empty", str::is_empty),
            ("longest", |name| name.len() == Limits::default().key_bytes),
            ("with a zero byte", |name| name.contains('\0')),
            ("with a line's end", |name| name.contains('\n')),
            ("not ASCII", |name| !name.is_ascii()),
            ("tame", |name| name.strip_prefix("cart-").is_some_and(|n| n.parse::<u16>().is_ok())),
        ];
        for (kind, is) in kinds {
            assert!(names.iter().any(|name| is(name)), "{kind}");
        }
        let begins = |pair: &[String]| pair[1].starts_with(&pair[0]) && !pair[0].is_empty();
        assert!(names.windows(2).any(begins), "one the beginning of another");
        let first: Vec<_> = first_keys(9, 1).into_iter().map(|key| key.0).collect();
        assert!(first.iter().zip(&names).all(|(key, name)| key == name.as_bytes()));
    }

    #[test]
    fn an_open_loop_begins_visits_at_its_rate() {
        let plan = WorkloadPlan { rate: Some(190.0), ..Plan::default().workload };
        let mut carts = carts(&plan, 1);
        let free: Vec<_> = (0..8).map(Worker).collect();
        let (mut now, mut ops) = (Duration::ZERO, 0);
        while now < Duration::from_secs(20) {
            match carts.op(&Context { now, free: &free }) {
                Next::Op(worker, _) => {
                    ops += 1;
                    let outcome = Outcome::Ok { index: 0, values: vec![] };
                    carts.update(&Event { now, worker, outcome, why: "" });
                }
                Next::Wait(until) => now = until.unwrap(),
                Next::Done => unreachable!(),
            }
        }
        assert!((3400..4200).contains(&ops), "{ops} operations in 20 s at 190 a second");
    }

    #[test]
    fn a_client_that_is_not_served_goes_to_another_node() {
        let plan = Plan::default().workload;
        let mut carts = carts(&plan, 1);
        let free = [Worker(0)];
        let (mut now, mut last, mut moved) = (Duration::ZERO, None, 0);
        for _ in 0..40 {
            match carts.op(&Context { now, free: &free }) {
                Next::Op(worker, call) => {
                    moved += usize::from(last.replace(call.node) != Some(call.node));
                    carts.update(&Event { now, worker, outcome: Outcome::Fail, why: "" });
                }
                Next::Wait(until) => now = until.unwrap(),
                Next::Done => unreachable!(),
            }
        }
        assert!(moved > 10, "{moved}");
    }
}
