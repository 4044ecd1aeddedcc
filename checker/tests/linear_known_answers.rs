//! Small histories with known answers, from the literature and from the definitions.
//!
//! Notation: `process key f argument begin-end; ...`, where `>value` stands for what came back,
//! an open end for an operation of which nobody knows whether it happened, and `!` after the end
//! for one that failed. `L` and `S`: linearizable, sequentially consistent; lower case: not; `--`:
//! there is nothing to judge.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use checker::budget::Budget;
use checker::history::History;
use checker::history::op::{Kind, Op};
use checker::linearizable::{Engine, Linearizable, beginning_with, named};
use checker::sequential::Sequential;
use checker::spec::{CasRegister, Counter, Kv, MultiRegister, Mutex, Queue, Register, Set, Spec};
use checker::verdict::{Checker, Verdict};
use serde_json::{Value, json};

const REGISTER: &[(&str, &str, &str)] = &[
    ("--", "nothing but a write", "A x write 1 0-1"),
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
    check(&Counter::default(), COUNTER);
}

#[test]
fn kv_stores() {
    check(&Kv::default(), KV);
}

#[test]
fn multi_registers() {
    check(&MultiRegister::default(), MULTI);
}

#[test]
fn a_failed_compare_and_set_can_count_as_a_comparison() {
    let text = "A x write 1 0-1; A x cas [1,2] 2-3!; B x read >1 4-5";
    let spec = CasRegister { failed_cas_compared: true, ..CasRegister::default() };
    let report = Linearizable::new(spec).check(&history(text), &Budget::UNLIMITED);
    assert_eq!(report.verdict(), Verdict::Invalid, "it found 1 there");
}

#[test]
fn only_the_holder_releases_an_owned_mutex() {
    let history = history("A l acquire 0-1; B l release 2-3");
    let verdict = |name| named(name).unwrap().check(&history, &Budget::UNLIMITED).verdict();
    assert_eq!(verdict("mutex"), Verdict::Valid);
    assert_eq!(verdict("owned-mutex"), Verdict::Invalid);
}

#[test]
fn another_initial_value_can_be_said() {
    let history = history("A x read >0 0-1; A x write 1 2-3; A x read >1 4-5");
    let check = |spec| Linearizable::new(spec).check(&history, &Budget::UNLIMITED).verdict();
    assert_eq!(check(Register { initial: 0.into() }), Verdict::Valid);
    assert_eq!(check(Register::default()), Verdict::Invalid);
}

fn check<S: Spec + Clone>(spec: &S, cases: &[(&str, &str, &str)]) {
    for (expected, name, text) in cases {
        let history = history(text);
        let holds = |checker: &dyn Checker| {
            let report = checker.check(&history, &Budget::UNLIMITED);
            match report.verdict() {
                Verdict::Valid => Some(true),
                Verdict::Invalid => {
                    assert!(!report.witness().is_empty(), "{name}: {report:?}");
                    Some(false)
                }
                Verdict::Unknown => {
                    assert!(*expected == "--" && report.judged() == 0, "{name}: {report:?}");
                    None
                }
            }
        };
        let linearizable = holds(&Linearizable::new(spec.clone()));
        let searched = holds(&Linearizable::new(spec.clone()).engine(Engine::Search));
        assert_eq!(linearizable, searched, "{name}: the engines disagree");
        let sequential = holds(&Sequential::new(spec.clone()));
        let expects = |letter| (*expected != "--").then(|| expected.contains(letter));
        assert_eq!(linearizable, expects('L'), "{name}: linearizable");
        assert_eq!(sequential, expects('S'), "{name}: sequentially consistent");
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

fn said(spec: &str, history: &str) -> String {
    let history = text_history(history);
    let report = named(spec).unwrap().check(&history, &Budget::UNLIMITED);
    assert_eq!(report.verdict(), Verdict::Invalid, "{report:?}");
    report.reason.unwrap()
}

/// Operations one after the other: `write 1`, `read 2`, `cas 0 1`, `add? 5` of unknown outcome.
fn text_history(text: &str) -> History {
    let mut ops = Vec::new();
    for (at, line) in (0..).zip(text.split(", ")) {
        let mut words = line.split(' ');
        let f = words.next().unwrap();
        let kind = match f.chars().last() {
            Some('?') => Kind::Info,
            Some('!') => Kind::Fail,
            _ => Kind::Ok,
        };
        let mut values = words.map(|word| serde_json::from_str(word).unwrap());
        let value: Option<Value> = match f.trim_end_matches(['?', '!']) {
            "cas" => Some(values.collect::<Vec<Value>>().into()),
            _ => values.next(),
        };
        let f = f.trim_end_matches(['?', '!']).to_owned();
        let reads = f == "read" || f == "get" || f == "dequeue";
        let mut invoke = Op::invoke(at, f).at(10 * at);
        invoke.value = value.clone().filter(|_| !reads);
        let mut done = invoke.completed(kind).at(10 * at + 5);
        done.value = value;
        ops.extend([invoke, done]);
    }
    History::numbered(ops).unwrap()
}

#[test]
fn the_core_of_a_witness_is_what_it_was_and_what_was_answered() {
    let cas = said("cas-register", "write 0, cas 0 1, cas 1 3, write? 4, cas 0 2");
    assert!(cas.starts_with("after #5 the value was 3 or 4; #9 cas 0 to 2 succeeded ("), "{cas}");
    let stale = said("register", "write 5, write 3, read 5");
    assert!(stale.starts_with("after #3 the value was 3 or a later one; #5 read 5 ("), "{stale}");
    let kv = said("kv", r#"put "a", append "b", append "c", get "ab""#);
    assert!(kv.starts_with(r#"after #5 the value was "abc"; #7 get "ab" ("#), "{kv}");
    let mutex = said("mutex", "acquire, release, acquire, acquire");
    assert!(mutex.starts_with("after #5 the lock was held; #7 acquire succeeded ("), "{mutex}");
    let queue = said("queue", "enqueue 1, enqueue 2, dequeue 2");
    assert!(
        queue.starts_with("after #3 the queue was [1, 2]; #5 dequeue 2 succeeded ("),
        "{queue}"
    );
    let counter = said("counter", "add 1, add? 2, read 5");
    assert_eq!(counter, "after #1 the counter was 1 or 3; #5 read 5");
}

#[test]
fn a_long_past_is_no_part_of_a_witness() {
    let pairs = "acquire, release, ".repeat(100);
    let history = text_history(&format!("{pairs}acquire, acquire"));
    let report = named("mutex").unwrap().check(&history, &Budget::UNLIMITED);
    assert_eq!(report.witness(), [401, 403], "{report:?}");
    let puts = (0..50).map(|n| format!("put \"{n}\", get \"{n}\", ")).collect::<String>();
    let history = text_history(&format!("{puts}put \"a\", append \"b\", get \"a\""));
    let report = named("kv").unwrap().check(&history, &Budget::UNLIMITED);
    assert_eq!(report.witness(), [201, 203, 205], "{report:?}");
}

#[test]
fn a_value_from_before_all_writes_may_be_the_initial_one() {
    for history in ["read 0, write 1", "read 0, write! 0", "read 0"] {
        let register = said("register", history);
        let asked = "#1 read 0 before anything wrote it: is 0 the initial value? (--initial 0)";
        assert_eq!(register, asked, "{history}: what began later is not to blame");
    }
    let cas = said("cas-register", "cas 0 1, read 1");
    assert!(cas.contains("is 0 the initial value? (--initial 0)"), "{cas}");
    assert_eq!(
        said("register", "write! 0, read 0"),
        "#3 read 0, which only the failed op #1 wrote"
    );
    assert_eq!(said("register", "write 1, read 0"), "#3 read 0, which nobody wrote");
    for (spec, initial, history) in [
        ("register", json!(0), "read 0, write 1, read 1"),
        ("cas-register", json!(0), "cas 0 1, read 1"),
        ("kv", json!("x"), r#"append "y", get "xy""#),
        ("counter", json!(7), "add 1, read 8"),
    ] {
        let history = text_history(history);
        let checker = beginning_with(spec, &initial).unwrap();
        assert_eq!(checker.check(&history, &Budget::UNLIMITED).verdict(), Verdict::Valid, "{spec}");
        let checker = named(spec).unwrap();
        assert_eq!(
            checker.check(&history, &Budget::UNLIMITED).verdict(),
            Verdict::Invalid,
            "{spec}"
        );
    }
    assert!(beginning_with("mutex", &json!(0)).is_err());
    assert!(beginning_with("counter", &json!("a")).is_err());
}

#[test]
fn what_nothing_answered_is_not_valid() {
    for (spec, history) in [
        ("register", "write 1, write 2"),
        ("register", "write? 1, read? null"),
        ("cas-register", "write! 1, cas! 0 1"),
        ("kv", r#"put "a", append "b""#),
        ("counter", "add 1, read? null"),
        ("set", "add 1, remove 1"),
        ("queue", "enqueue 1, dequeue? null"),
        ("mutex", "acquire?, release!"),
    ] {
        let history = text_history(history);
        let checker = named(spec).unwrap();
        let report = checker.check(&history, &Budget::UNLIMITED);
        assert_eq!(report.verdict(), Verdict::Unknown, "{spec}: {report:?}");
        let reason = report.reason.unwrap_or_default();
        assert!(reason.starts_with("nothing was judged: no "), "{spec}: {reason}");
    }
}
