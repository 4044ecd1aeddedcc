//! Random register histories by sessions, and the definitions of the session guarantees and of
//! causal consistency, tried out over all orders.

use std::collections::BTreeMap;

use checker::budget::Budget;
use checker::causal::{Causal, Strength};
use checker::history::op::{Kind, Op, Process};
use checker::history::{History, Outcome};
use checker::sessions::Sessions;
use checker::verdict::{CheckReport, Checker};
use rand::prelude::*;
use serde_json::Value;

/// A few sessions on one or two registers. Some histories come from registers that only lag, some
/// from no register at all.
pub fn generate(rng: &mut StdRng) -> History {
    let wild = *[0.0, 1.0, 1.0].choose(rng).expect("not empty");
    let sessions = *[1, 2, 2, 3].choose(rng).expect("not empty");
    let ops = rng.random_range(6..9);
    random(rng, sessions, ops, wild)
}

/// Registers that return anything, and as many ops as it takes to break a single guarantee.
pub fn generate_wild(rng: &mut StdRng, ops: i64) -> History {
    let sessions = rng.random_range(1..3);
    random(rng, sessions, ops, 1.0)
}

fn random(rng: &mut StdRng, sessions: u64, ops: i64, wild: f64) -> History {
    let keys = *[1, 1, 2].choose(rng).expect("not empty");
    let mut written: BTreeMap<u64, Vec<i64>> = BTreeMap::new();
    let mut sessions: Vec<u64> = (0..sessions).collect();
    let mut lines = Vec::new();
    let mut next = 0;
    for value in 1..=ops {
        let at = rng.random_range(0..sessions.len());
        let key = rng.random_range(0..keys);
        let op = |f| Op::invoke(sessions[at], f).key(format!("k{key}"));
        let known = written.entry(key).or_default();
        if known.len() < 4 && rng.random_bool(0.5) {
            let kind =
                *[Kind::Ok, Kind::Ok, Kind::Ok, Kind::Info, Kind::Fail].choose(rng).expect("5");
            if kind != Kind::Fail || rng.random_bool(wild / 8.0) {
                known.push(value);
            }
            let write = op("write").value(value);
            lines.extend([write.clone(), write.completed(kind)]);
            if kind == Kind::Info {
                next += 1;
                sessions[at] = 10 + next;
            }
        } else {
            let choice = if rng.random_bool(wild) {
                known.choose(rng).filter(|_| rng.random_bool(0.75))
            } else if rng.random_bool(0.25) {
                known.iter().rev().nth(1)
            } else {
                known.last()
            };
            let value = choice.map_or(Value::Null, |value| (*value).into());
            let read = op("read");
            lines.extend([read.clone(), read.completed(Kind::Ok).value(value)]);
        }
    }
    History::numbered(lines).expect("one op after the other")
}

/// One guarantee of [`Sessions`] as a checker of its own.
pub struct Only(pub &'static str);

impl Checker for Only {
    fn name(&self) -> &str {
        self.0
    }

    fn check(&self, history: &History, budget: &Budget) -> CheckReport {
        let report = Sessions.check(history, budget);
        match report.details.get("guarantees").and_then(|all| all[self.0].as_str()) {
            // Unknown, where no read had to see anything by it: then none can be wrong.
            Some("valid" | "unknown") => {
                CheckReport::valid_if_judged(report.judged() as usize, "no read")
            }
            Some("invalid") => report.refuted(self.0),
            _ => report,
        }
    }
}

struct Event {
    session: Process,
    key: String,
    /// The value written, or read.
    value: Value,
    is_write: bool,
}

/// The events in order; none if some read came from nowhere.
fn events(history: &History) -> Option<Vec<Event>> {
    let mut events: Vec<Event> = Vec::new();
    for pair in history.pairs() {
        let is_write = pair.f() == "write";
        let value = if is_write { pair.invoke.value.clone() } else { pair.result().cloned() };
        let value = value.expect("every op has a value");
        let read = history.pairs().any(|read| {
            read.f() == "read" && read.key() == pair.key() && read.result() == Some(&value)
        });
        let happened = match pair.outcome() {
            Outcome::Ok => true,
            Outcome::Fail => false,
            Outcome::Info => read,
        };
        if happened {
            let key = pair.key().expect("every op has a key").to_owned();
            events.push(Event { session: pair.invoke.process, key, value, is_write });
        } else if is_write && read {
            return None;
        }
    }
    Some(events)
}

fn source(events: &[Event], read: usize) -> Option<usize> {
    events.iter().position(|write| {
        write.is_write && write.key == events[read].key && write.value == events[read].value
    })
}

/// Is there an order of each key's writes in which every read returns the latest it must see?
pub fn guarantees_hold(rules: &Only, history: &History) -> bool {
    let Some(events) = events(history) else { return false };
    let asks = |name| rules.0 == name || rules.0 == "together";
    let so = |a: usize, b: usize| a < b && events[a].session == events[b].session;
    let is_write = |a: usize| events[a].is_write;
    let reads_from = |r: usize, w: usize| !is_write(r) && source(&events, r) == Some(w);
    let n = events.len();
    let must_see = |read: usize, w: usize| {
        let seen_by = |session_op: usize, w: usize| {
            (0..n).any(|r| (r == session_op || so(r, session_op)) && reads_from(r, w))
        };
        asks("read_your_writes") && so(w, read)
            || asks("monotonic_reads") && (0..n).any(|r| so(r, read) && reads_from(r, w))
            || asks("monotonic_writes")
                && (0..n).any(|w2| is_write(w2) && so(w, w2) && seen_by(read, w2))
            || asks("writes_follow_reads")
                && (0..n).any(|w2| {
                    is_write(w2)
                        && seen_by(read, w2)
                        && (0..n).any(|r| so(r, w2) && reads_from(r, w))
                })
    };
    let ordered = |a: usize, b: usize| {
        asks("monotonic_writes") && so(a, b)
            || asks("writes_follow_reads") && (0..n).any(|r| so(r, b) && reads_from(r, a))
    };
    let keys: std::collections::BTreeSet<&str> = events.iter().map(|e| e.key.as_str()).collect();
    keys.into_iter().all(|key| {
        let writes: Vec<usize> = (0..n).filter(|&w| is_write(w) && events[w].key == key).collect();
        permutations(&writes).into_iter().any(|order| {
            let place = |w: usize| order.iter().position(|at| *at == w);
            let sound = order
                .iter()
                .all(|&a| order.iter().all(|&b| a == b || !ordered(a, b) || place(a) < place(b)));
            sound
                && (0..n).filter(|&r| !is_write(r) && events[r].key == key).all(|read| {
                    let returned = source(&events, read).and_then(place);
                    writes.iter().filter(|&&w| must_see(read, w)).all(|&w| place(w) <= returned)
                })
        })
    })
}

fn permutations(set: &[usize]) -> Vec<Vec<usize>> {
    if set.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (at, first) in set.iter().enumerate() {
        let mut rest = set.to_vec();
        rest.remove(at);
        for mut tail in permutations(&rest) {
            tail.insert(0, *first);
            all.push(tail);
        }
    }
    all
}

/// Causal consistency by its definition: orders that explain every event, not bad patterns.
pub fn causal_holds(rules: &Causal, history: &History) -> bool {
    let Some(events) = events(history) else { return false };
    let n = events.len();
    let mut co = vec![vec![false; n]; n];
    for a in 0..n {
        for b in 0..n {
            let so = a < b && events[a].session == events[b].session;
            let wr = events[a].is_write && !events[b].is_write && source(&events, b) == Some(a);
            co[a][b] = so || wr;
        }
    }
    for via in 0..n {
        for a in 0..n {
            for b in 0..n {
                co[a][b] |= co[a][via] && co[via][b];
            }
        }
    }
    if (0..n).any(|a| co[a][a]) {
        return false;
    }
    let past = |o: usize| -> Vec<usize> { (0..n).filter(|&e| e == o || co[e][o]).collect() };
    let works = |order: &[usize], right: &dyn Fn(usize) -> bool| {
        order.iter().enumerate().all(|(at, &read)| {
            if events[read].is_write || !right(read) {
                return true;
            }
            let before = order[..at].iter().rev().map(|&e| &events[e]);
            let last = before.filter(|e| e.is_write).find(|e| e.key == events[read].key);
            last.map_or(&Value::Null, |write| &write.value) == &events[read].value
        })
    };
    match rules.strength {
        // For each event some order of its past makes its own value right.
        Strength::Causal => {
            (0..n).all(|o| orders(&past(o), &co).iter().any(|order| works(order, &|e| e == o)))
        }
        // One order of everything does, cut down to each event's past.
        Strength::Convergent => orders(&(0..n).collect::<Vec<_>>(), &co).iter().any(|all| {
            (0..n).all(|o| {
                let past = past(o);
                let order: Vec<usize> = all.iter().copied().filter(|e| past.contains(e)).collect();
                works(&order, &|e| e == o)
            })
        }),
        // For each event some order of its past makes all its session's values right.
        Strength::Memory => (0..n).all(|o| {
            let right = |e: usize| e <= o && events[e].session == events[o].session;
            orders(&past(o), &co).iter().any(|order| works(order, &right))
        }),
    }
}

/// All orders of `set` that `before` allows.
fn orders(set: &[usize], before: &[Vec<bool>]) -> Vec<Vec<usize>> {
    if set.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for &first in set {
        if set.iter().any(|&other| before[other][first]) {
            continue;
        }
        let rest: Vec<usize> = set.iter().copied().filter(|&e| e != first).collect();
        for mut tail in orders(&rest, before) {
            tail.insert(0, first);
            all.push(tail);
        }
    }
    all
}
