//! Small histories with known answers, from the literature and from the definitions.
//!
//! Notation: `process key f argument begin-end; ...`, where `>value` stands for what came back,
//! an open end for an operation of which nobody knows whether it happened, and `!` after the end
//! for one that failed. `L` and `S`: linearizable, sequentially consistent; lower case: not.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use checker::budget::Budget;
use checker::history::History;
use checker::linearizable::sequential::Sequential;
use checker::linearizable::{Engine, Linearizable, named};
use checker::op::{Kind, Op};
use checker::spec::{CasRegister, Counter, Kv, MultiRegister, Mutex, Queue, Register, Set, Spec};
use checker::verdict::{Checker, Verdict};

const REGISTER: &[(&str, &str, &str)] = &[
    ("LS", "nothing but a write", "A x write 1 0-1"),
    ("LS", "read what was written", "A x write 1 0-1; B x read >1 2-3"),
    ("LS", "the initial value", "A x read >null 0-1"),
    ("ls", "out of thin air", "A x read >7 0-1"),
    ("lS", "stale by one process's clock only", "A x write 1 0-1; B x read >null 2-3"),
    ("ls", "one's own write missed", "A x write 1 0-1; A x read >null 2-3"),
    // Herlihy and Wing 1990, the register of section 1: a read may overlap either way.
    ("LS", "a read overlaps a write: new", "A x write 1 0-10; B x read >1 2-3"),
    ("LS", "a read overlaps a write: old", "A x write 1 0-10; B x read >null 2-3"),
    // Lamport 1986: new/old inversion, what an atomic register may not do and a regular one may.
    ("ls", "new then old, one reader", "A x write 1 0-10; B x read >1 1-2; B x read >null 3-4"),
    ("lS", "new then old, two readers", "A x write 1 0-10; B x read >1 1-2; C x read >null 3-4"),
    ("LS", "old then new", "A x write 1 0-10; B x read >null 1-2; B x read >1 3-4"),
    ("LS", "equal times overlap", "A x write 1 0-5; B x read >null 5-6"),
    ("lS", "one tick apart they do not", "A x write 1 0-5; B x read >null 6-7"),
    ("LS", "two writes, last by either", "A x write 1 0-9; B x write 2 0-9; C x read >1 10-11"),
    (
        "ls",
        "two writes seen in both orders by one reader",
        "A x write 1 0-9; B x write 2 0-9; C x read >1 10-11; C x read >2 12-13; C x read >1 14-15",
    ),
    (
        "ls",
        "two readers disagree on the order of writes",
        "A x write 1 0-9; B x write 2 0-9; C x read >1 1-2; C x read >2 3-4; \
         D x read >2 1-2; D x read >1 3-4",
    ),
    ("lS", "a write lost to the past", "A x write 1 0-1; A x write 2 2-3; B x read >1 4-5"),
    ("LS", "an indeterminate write seen", "A x write 1 0-; B x read >1 50-51"),
    ("LS", "an indeterminate write not seen", "A x write 1 0-; B x read >null 50-51"),
    (
        "LS",
        "an indeterminate write takes effect late",
        "A x write 1 0-; B x read >null 5-6; B x read >1 7-8",
    ),
    (
        "ls",
        "an indeterminate write comes and goes",
        "A x write 1 0-; B x read >1 5-6; B x read >null 7-8",
    ),
    ("lS", "read before it was written", "B x read >1 0-1; A x write 1 5-6"),
    ("ls", "read from a failed write", "A x write 1 0-1!; B x read >1 2-3"),
    ("LS", "a failed write is nothing", "A x write 1 0-1!; B x read >null 2-3"),
    // Gibbons and Korach 1997: zones.
    (
        "ls",
        "two forward zones overlap",
        "A x write 1 0-1; B x write 2 2-3; A x read >1 4-5; B x read >1 6-7; B x read >2 8-9; \
         A x read >2 10-11; A x read >1 12-13",
    ),
    (
        "lS",
        "a backward zone within a forward one",
        "A x write 1 0-1; C x write 2 2-3; B x read >1 4-5",
    ),
    ("LS", "two backward zones may overlap", "A x write 1 0-9; B x write 2 1-8; C x read >2 10-11"),
    (
        "LS",
        "a value written again",
        "A x write 1 0-1; A x write 2 2-3; A x write 1 4-5; B x read >1 6-7",
    ),
    (
        "ls",
        "a value written again does not excuse a read between",
        "A x write 1 0-1; A x write 2 2-3; A x read >1 4-5; A x write 1 6-7",
    ),
    // Of many keys: linearizability is local, sequential consistency is not.
    (
        "ls",
        "store buffering (Dekker): each misses the other",
        "A x write 1 0-1; A y read >null 2-3; B y write 1 0-1; B x read >null 2-3",
    ),
    (
        "LS",
        "store buffering: one is missed, while it lasts",
        "A x write 1 0-9; A y read >1 10-11; B y write 1 0-1; B x read >null 2-3",
    ),
    (
        "ls",
        "message passing broken",
        "A x write 1 0-1; A y write 1 2-3; B y read >1 4-5; B x read >null 6-7",
    ),
    ("LS", "message passing", "A x write 1 0-1; A y write 1 2-3; B y read >1 4-5; B x read >1 6-7"),
    (
        "ls",
        "independent reads of independent writes",
        "A x write 1 0-9; B y write 1 0-9; C x read >1 1-2; C y read >null 3-4; \
         D y read >1 1-2; D x read >null 3-4",
    ),
    (
        "ls",
        "load buffering from the future",
        "A x read >1 0-1; A y write 1 2-3; B y read >1 0-1; B x write 1 2-3",
    ),
    (
        "lS",
        "keys that are each late by themselves",
        "A x write 1 0-1; B x read >null 2-3; B x read >1 4-5",
    ),
];

const CAS: &[(&str, &str, &str)] = &[
    ("LS", "cas from what is there", "A x write 1 0-1; A x cas [1,2] 2-3; B x read >2 4-5"),
    ("ls", "cas from what is not there", "A x write 1 0-1; A x cas [2,3] 2-3"),
    ("ls", "two cas from one value", "A x write 1 0-1; A x cas [1,2] 2-9; B x cas [1,3] 2-9"),
    ("LS", "two cas in a chain", "A x write 1 0-1; A x cas [1,2] 2-9; B x cas [2,3] 2-9"),
    ("LS", "an indeterminate cas seen", "A x write 1 0-1; A x cas [1,2] 2-; B x read >2 50-51"),
    ("LS", "a failed cas says nothing", "A x write 1 0-1; A x cas [1,2] 2-3!; B x read >1 4-5"),
    ("ls", "read from a failed cas", "A x write 1 0-1; A x cas [1,2] 2-3!; A x read >2 4-5"),
    (
        "LS",
        "back to an old value",
        "A x write 1 0-1; A x cas [1,2] 2-3; A x cas [2,1] 4-5; B x read >1 6-7",
    ),
];

const QUEUE: &[(&str, &str, &str)] = &[
    // Herlihy and Wing 1990, figure 1: (a) and (c) are acceptable, (b) and (d) are not.
    (
        "LS",
        "H&W figure 1(a): overlapping enqueues in either order",
        "A q enqueue 1 0-3; B q enqueue 2 1-2; B q dequeue >1 4-5; A q dequeue >2 6-7",
    ),
    (
        "lS",
        "H&W figure 1(b): a later enqueue leaves first",
        "A q enqueue 1 0-1; B q enqueue 2 2-3; B q dequeue >2 4-5; A q dequeue >1 6-7",
    ),
    (
        "LS",
        "H&W figure 1(c): dequeued while being enqueued",
        "A q enqueue 1 0-9; B q dequeue >1 2-3",
    ),
    (
        "ls",
        "H&W figure 1(d): dequeued twice",
        "A q enqueue 1 0-9; B q enqueue 2 1-2; A q dequeue >2 10-11; C q dequeue >2 3-4",
    ),
    // Section 3.3 of the same: sequential consistency is not local.
    (
        "ls",
        "two queues, each sequentially consistent, together not",
        "A p enqueue 1 0-1; A q enqueue 1 2-3; B q enqueue 2 4-5; B p enqueue 2 6-7; \
         A p dequeue >2 8-9; B q dequeue >1 10-11",
    ),
    (
        "lS",
        "one of those two queues alone",
        "A p enqueue 1 0-1; B p enqueue 2 6-7; A p dequeue >2 8-9",
    ),
    ("ls", "an element from nowhere", "A q dequeue >3 0-1"),
    ("LS", "empty", "A q dequeue >null 0-1"),
    ("lS", "empty, but it is not", "A q enqueue 1 0-1; B q dequeue >null 2-3"),
    (
        "LS",
        "an unanswered dequeue may have taken it",
        "A q enqueue 1 0-1; B q dequeue 2-; C q dequeue >null 4-5",
    ),
];

const MUTEX: &[(&str, &str, &str)] = &[
    ("LS", "taken in turn", "A l acquire 0-1; A l release 2-3; B l acquire 4-5"),
    ("ls", "taken twice", "A l acquire 0-1; B l acquire 2-3"),
    ("LS", "handed over while it waits", "A l acquire 0-1; B l acquire 2-9; A l release 3-4"),
    ("ls", "released and never taken", "A l release 0-1"),
    ("LS", "a lost acquire blocks nobody for certain", "A l acquire 0-; B l acquire 2-3"),
];

const SET: &[(&str, &str, &str)] = &[
    ("LS", "added and there", "A s add 1 0-1; B s read >[1] 2-3"),
    ("lS", "added and not there", "A s add 1 0-1; B s read >[] 2-3"),
    ("ls", "there twice", "A s add 1 0-1; B s read >[1,1] 2-3"),
    ("LS", "removed", "A s add 1 0-1; A s remove 1 2-3; B s read >[] 4-5"),
    ("ls", "comes back", "A s add 1 0-1; A s remove 1 2-3; A s read >[] 4-5; A s read >[1] 6-7"),
];

const COUNTER: &[(&str, &str, &str)] = &[
    ("LS", "counted", "A c add 2 0-1; B c read >2 2-3"),
    ("LS", "counted or not while it lasts", "A c add 2 0-9; B c read >0 1-2; B c read >2 3-4"),
    ("ls", "counted twice", "A c add 2 0-1; B c read >4 2-3"),
    ("ls", "counted and forgotten", "A c add 2 0-9; B c read >2 1-2; B c read >0 3-4"),
    ("LS", "adds commute", "A c add 1 0-9; B c add 2 0-9; C c read >2 1-2; C c read >3 3-4"),
];

const KV: &[(&str, &str, &str)] = &[
    ("LS", "appended in turn", "A k put \"a\" 0-1; B k append \"b\" 2-3; C k get >\"ab\" 4-5"),
    (
        "lS",
        "appended out of turn",
        "A k append \"a\" 0-1; B k append \"b\" 2-3; C k get >\"ba\" 4-5",
    ),
    (
        "LS",
        "appended in either order",
        "A k append \"a\" 0-9; B k append \"b\" 0-9; C k get >\"ba\" 10-11",
    ),
    ("LS", "nothing is the empty text", "A k get >\"\" 0-1; A j get >null 2-3"),
];

const MULTI: &[(&str, &str, &str)] = &[
    (
        "LS",
        "both or none",
        "A - txn [[\"w\",1,1],[\"w\",2,1]] 0-1; B - txn >[[\"r\",1,1],[\"r\",2,1]] 2-3",
    ),
    (
        "ls",
        "half of a transaction",
        "A - txn [[\"w\",1,1],[\"w\",2,1]] 0-9; B - txn >[[\"r\",1,1],[\"r\",2,null]] 2-3",
    ),
    (
        "LS",
        "each part sees those before it",
        "A - txn >[[\"w\",1,1],[\"r\",1,1],[\"w\",1,2],[\"r\",1,2]] 0-1",
    ),
];

#[test]
fn registers() {
    check(&Register::default(), REGISTER);
    check(&CasRegister::default(), REGISTER);
}

#[test]
fn registers_with_compare_and_set() {
    check(&CasRegister::default(), CAS);
}

#[test]
fn queues() {
    check(&Queue, QUEUE);
}

#[test]
fn mutexes() {
    check(&Mutex { owned: false }, MUTEX);
    check(&Mutex { owned: true }, MUTEX);
}

#[test]
fn sets() {
    check(&Set, SET);
}

#[test]
fn counters() {
    check(&Counter, COUNTER);
}

#[test]
fn kv_stores() {
    check(&Kv, KV);
}

#[test]
fn multi_registers() {
    check(&MultiRegister, MULTI);
}

#[test]
fn a_failed_compare_and_set_can_count_as_a_comparison() {
    let text = "A x write 1 0-1; A x cas [1,2] 2-3!; B x read >1 4-5";
    let spec = CasRegister { failed_cas_compared: true, ..CasRegister::default() };
    let report = Linearizable::new(spec).check(&history(text), &Budget::UNLIMITED);
    assert_eq!(report.verdict, Verdict::Invalid, "it found 1 there");
}

#[test]
fn only_the_holder_releases_an_owned_mutex() {
    let history = history("A l acquire 0-1; B l release 2-3");
    let verdict = |name| named(name).unwrap().check(&history, &Budget::UNLIMITED).verdict;
    assert_eq!(verdict("mutex"), Verdict::Valid);
    assert_eq!(verdict("owned-mutex"), Verdict::Invalid);
}

#[test]
fn another_initial_value_can_be_said() {
    let history = history("A x read >0 0-1; A x write 1 2-3; A x read >1 4-5");
    let check = |spec| Linearizable::new(spec).check(&history, &Budget::UNLIMITED).verdict;
    assert_eq!(check(Register { initial: 0.into() }), Verdict::Valid);
    assert_eq!(check(Register::default()), Verdict::Invalid);
}

fn check<S: Spec + Clone>(spec: &S, cases: &[(&str, &str, &str)]) {
    for (expected, name, text) in cases {
        let history = history(text);
        let holds = |checker: &dyn Checker| {
            let report = checker.check(&history, &Budget::UNLIMITED);
            match report.verdict {
                Verdict::Valid => true,
                Verdict::Invalid => {
                    assert!(!report.witness().is_empty(), "{name}: {report:?}");
                    false
                }
                Verdict::Unknown => panic!("{name}: {report:?}"),
            }
        };
        let linearizable = holds(&Linearizable::new(spec.clone()));
        let searched = holds(&Linearizable::new(spec.clone()).engine(Engine::Search));
        assert_eq!(linearizable, searched, "{name}: the engines disagree");
        let sequential = holds(&Sequential::new(spec.clone()));
        assert_eq!(linearizable, expected.contains('L'), "{name}: linearizable");
        assert_eq!(sequential, expected.contains('S'), "{name}: sequentially consistent");
    }
}

fn history(text: &str) -> History {
    // Time, and at one time beginnings before ends.
    let mut lines: BTreeMap<(u64, bool, usize), Op> = BTreeMap::new();
    for (at, op) in text.split(';').map(str::trim).enumerate() {
        let words: Vec<&str> = op.split_whitespace().collect();
        let [process, key, f, ..] = words[..] else { panic!("what is {op:?}?") };
        let (begin, end) = words[words.len() - 1].split_once('-').unwrap();
        let process = u64::from(process.as_bytes()[0]);
        let mut invoke = Op::invoke(process, f.to_owned());
        if key != "-" {
            invoke = invoke.key(key);
        }
        let said = (words.len() == 5).then(|| words[3]);
        let mut result = None;
        match said.map(|said| said.strip_prefix('>').ok_or(said)) {
            Some(Ok(text)) => result = Some(serde_json::from_str(text).unwrap()),
            Some(Err(text)) => invoke.value = Some(serde_json::from_str(text).unwrap()),
            None => {}
        }
        if f == "txn" && invoke.value.is_none() {
            invoke.value.clone_from(&result);
        }
        let begin: u64 = begin.parse().unwrap();
        invoke.time = begin;
        let kind = if end.ends_with('!') { Kind::Fail } else { Kind::Ok };
        let mut completion = invoke.completed(kind);
        completion.value = result.or(completion.value);
        lines.insert((begin, false, at), invoke);
        if let Ok(end) = end.trim_end_matches('!').parse() {
            completion.time = end;
            lines.insert((end, true, at), completion);
        }
    }
    History::numbered(lines.into_values().collect()).unwrap()
}
