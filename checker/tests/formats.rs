//! Foreign histories are read, converted without a change of verdict, and refused with their place.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use checker::budget::Budget;
use checker::formats::{Format, Options, from_reader, write_edn};
use checker::history::{History, Outcome};
use checker::siblings::Siblings;
use checker::verdict::Checker;
use common::store::{Bug, Setup, run};
use serde_json::json;

fn read(text: &str, format: Option<Format>, lenient: bool) -> Result<History, String> {
    let options = Options { format, lenient, ..Options::default() };
    let read = from_reader(text.as_bytes(), &options, &mut Budget::UNLIMITED.start());
    read.map_err(|error| error.to_string())
}

fn auto(text: &str) -> History {
    read(text, None, false).expect("the history is sound")
}

#[test]
fn an_etcd_log_is_read() {
    let history = auto(concat!(
        "INFO  jepsen.core - Worker 0 starting\n",
        "INFO  jepsen.util - 4\t:invoke\t:cas\t[1 4]\n",
        "INFO  jepsen.util - 3\t:invoke\t:read\tnil\n",
        "INFO  jepsen.util - 4\t:info\t:cas\t:timed-out\n",
        "INFO  jepsen.util - :nemesis\t:info\t:start\tnil\n",
        "INFO  jepsen.util - 3\t:fail\t:read\t:timed-out\n",
        "INFO  jepsen.util - 9\t:invoke\t:write\t2\n",
        "INFO  jepsen.util - 9\t:ok\t:write\t2\n",
        "INFO  jepsen.util - 3\t:invoke\t:read\tnil\n",
    ));
    let pairs: Vec<_> = history.pairs().collect();
    assert_eq!(pairs.len(), 4);
    assert_eq!(pairs[0].invoke.value, Some(json!([1, 4])));
    assert_eq!(pairs[0].outcome(), Outcome::Info);
    assert_eq!(pairs[0].completion.unwrap().value, Some(json!([1, 4])));
    assert_eq!(pairs[1].outcome(), Outcome::Fail);
    assert_eq!(pairs[3].outcome(), Outcome::Info, "open at the end is indeterminate");
}

#[test]
fn a_process_that_goes_on_after_info_is_a_new_one() {
    let history =
        auto("0\t:invoke\t:write\t1\n0\t:info\t:write\t:timed-out\n0\t:invoke\t:read\tnil\n");
    let pairs: Vec<_> = history.pairs().collect();
    assert_ne!(pairs[0].invoke.process, pairs[1].invoke.process);
}

#[test]
fn edn_op_maps_are_read_in_every_arrangement() {
    let one = "{:type :invoke, :f :read, :value nil, :process 0, :time 10, :index 0}";
    let two = "{:process 0 :f :read :type :ok :value 3 :time 20 :index 1 :zone \"z\"}";
    for text in [
        format!("{one}\n{two}\n"),
        format!("; a comment\n[{one}\n {two}]"),
        format!("({one}, {two})"),
        format!("#jepsen.history.Op{one} #jepsen.history.Op{two}"),
    ] {
        let history = auto(&text);
        assert_eq!(history.len(), 2, "{text}");
        let read = history.pairs().next().unwrap();
        assert_eq!(read.result(), Some(&json!(3)));
        assert_eq!(read.acknowledged_at(), Some(20));
        assert_eq!(read.completion.unwrap().extra.as_ref().unwrap()["zone"], json!("z"));
    }
    let json = r#"[{"type":"invoke","f":"read","value":null,"process":0},
                   {"type":"ok","f":"read","value":3,"process":0},
                   {"type":"info","f":"start","process":"nemesis"}]"#;
    let history = auto(json);
    assert_eq!(history.pairs().next().unwrap().result(), Some(&json!(3)));
    assert_eq!(history.ops()[1].time, 1, "without times the place in the log is the time");
}

#[test]
fn a_kv_log_is_read_with_its_keys() {
    let history = auto(concat!(
        "{:process 0, :type :invoke, :f :append, :key \"0\", :value \"x 0 0 y\"}\n",
        "{:process 0, :type :ok, :f :append, :key \"0\", :value \"x 0 0 y\"}\n",
        "{:process 1, :type :invoke, :f :get, :key \"0\", :value nil}\n",
        "{:process 1, :type :ok, :f :get, :key \"0\", :value \"x 0 0 y\"}\n",
    ));
    let get = history.pairs().nth(1).unwrap();
    assert_eq!((get.key(), get.result()), (Some("0"), Some(&json!("x 0 0 y"))));
}

#[test]
fn independent_keys_are_split_off() {
    let history = auto(concat!(
        "{:process 0, :type :invoke, :f :read, :value [7 nil]}\n",
        "{:process 0, :type :ok, :f :read, :value [7 1]}\n",
        "{:process 1, :type :invoke, :f :cas, :value [8 [1 2]]}\n",
    ));
    let pairs: Vec<_> = history.pairs().collect();
    assert_eq!((pairs[0].key(), pairs[0].result()), (Some("7"), Some(&json!(1))));
    assert_eq!(pairs[1].invoke.value, Some(json!([1, 2])));
}

#[test]
fn what_is_incomplete_is_refused_unless_lenient() {
    let no_process = "{:type :invoke, :f :read}\n{:type :ok, :f :read, :value 1}\n";
    let error = read(no_process, None, false).unwrap_err();
    assert_eq!(error, "line 1, column 1: the op has no :process (--lenient reads it)");
    assert_eq!(read(no_process, None, true).unwrap().pairs().count(), 1);
    let busy = "{:process 0, :type :invoke, :f :read}\n{:process 0, :type :invoke, :f :read}\n";
    let error = read(busy, None, false).unwrap_err();
    assert!(
        error.contains("(line 2): process 0 invokes while its op on line 1 is open"),
        "{error}"
    );
    assert_eq!(read(busy, None, true).unwrap().pairs().count(), 2);
}

#[test]
fn hostile_files_end_in_an_error() {
    for text in [
        "{:a ".repeat(10_000),
        format!("[{}", "{:process 0, :type :invoke, :f :x} ".repeat(10)),
        "{:process 99999999999999999999999, :type :invoke, :f :x}".to_owned(),
        "{:process -1, :type :invoke, :f :x}".to_owned(),
        "{:process 0, :type :invoke, :f :x, :time 1e999}".to_owned(),
        "{:process 0\0, :type :invoke}".to_owned(),
        "{\"process\":0,\"type\":\"invoke\",\"f\":\"x\",\"value\":".to_owned() + &"[".repeat(9999),
        "[{\"process\":0,\"type\":\"invoke\"".to_owned(),
        "0\t:ok\t:read\tnil".to_owned(),
        "0\t:invoke\t:read\t[1 2".to_owned(),
        "\u{0}\u{1}\u{2}".to_owned(),
    ] {
        assert!(read(&text, None, false).is_err(), "{}", text.chars().take(60).collect::<String>());
    }
}

#[test]
fn a_converted_history_keeps_its_verdict() {
    for bug in [Bug::None, Bug::DropSibling, Bug::KeepDominated, Bug::ForgetTombstone] {
        for seed in 0..20 {
            let history = run(Setup { bug, seed, carts: true, deletes: true, ..Setup::default() });
            let mut edn = Vec::new();
            write_edn(&history, &mut edn).unwrap();
            let back = auto(std::str::from_utf8(&edn).unwrap());
            let verdict =
                |history| Siblings::default().check(history, &Budget::UNLIMITED).verdict();
            assert_eq!(verdict(&history), verdict(&back), "{bug:?}, seed {seed}");
            assert_eq!(history.len(), back.len());
        }
    }
}
