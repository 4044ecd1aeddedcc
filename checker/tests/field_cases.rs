//! Histories as people have them: each kind of file, with what is to be said of it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "common/files.rs"]
mod files;

use files::{done, edn, file, judge, two_writes};

/// One kind of file: what it is about, its text, the arguments, the verdict, and a part of what is
/// said.
struct Case(&'static str, String, &'static [&'static str], &'static str, &'static str);

#[track_caller]
fn each(cases: Vec<Case>) {
    let dir = tempfile::tempdir().unwrap();
    for Case(about, text, args, right, part) in cases {
        let file = file(dir.path(), "history", &text);
        let (verdict, said) = judge(&[args, &[file.as_str()]].concat());
        assert_eq!(verdict, right, "{about}: {said}\n{text}");
        assert!(said.contains(part), "{about}: {part} is not in {said}");
    }
}

fn case(
    about: &'static str,
    text: impl Into<String>,
    args: &'static [&'static str],
    right: &'static str,
    part: &'static str,
) -> Case {
    Case(about, text.into(), args, right, part)
}

/// With times and indices, in nanoseconds: lines of `process kind f value time`.
fn timed(lines: &[(&str, &str, &str, &str, &str)], with_index: bool) -> String {
    let line = |(at, (process, kind, f, value, time)): (usize, &(&str, &str, &str, &str, &str))| {
        let index = if with_index { format!(", :index {at}") } else { String::new() };
        format!(
            "{{:process {process}, :type :{kind}, :f :{f}, :value {value}, :time {time}{index}}}\n"
        )
    };
    lines.iter().enumerate().map(line).collect()
}

#[test]
fn the_order_of_lines_is_the_order_of_events() {
    let one_jump = [
        ("7", "invoke", "read", "nil", "5000000000"),
        ("7", "fail", "read", "nil", "5000000001"),
        ("0", "invoke", "write", "1", "10"),
        ("0", "ok", "write", "1", "11"),
        ("0", "invoke", "write", "2", "12"),
        ("0", "ok", "write", "2", "13"),
        ("1", "invoke", "read", "nil", "14"),
        ("1", "ok", "read", "1", "15"),
    ];
    let ties = one_jump.map(|(process, kind, f, value, _)| (process, kind, f, value, "3"));
    let back = [
        ("0", "invoke", "write", "1", "1080"),
        ("1", "invoke", "read", "nil", "1000"),
        ("1", "ok", "read", "nil", "1100"),
        ("0", "ok", "write", "1", "1200"),
    ];
    // One process after the other, times that overlap: by lines the read is stale.
    let apart = [
        ("0", "invoke", "write", "1", "0"),
        ("0", "ok", "write", "1", "100"),
        ("1", "invoke", "read", "nil", "20"),
        ("1", "ok", "read", "nil", "40"),
    ];
    let mut shuffled: Vec<String> =
        timed(&ties, true).lines().map(|line| format!("{line}\n")).collect();
    shuffled.rotate_left(3);
    let index = "not in the order of :index";
    each(vec![
        case("a stamp of another clock", timed(&one_jump, true), &[], "invalid", "#7 read 1"),
        case("the same, leniently", timed(&one_jump, true), &["--lenient"], "invalid", ""),
        case("the same without indices", timed(&one_jump, false), &[], "invalid", ""),
        case("equal times", timed(&ties, true), &[], "invalid", ""),
        case("equal times without indices", timed(&ties, false), &["--lenient"], "invalid", ""),
        case("80 ns back", timed(&back, true), &[], "valid", ""),
        case("80 ns back without indices", timed(&back, false), &[], "valid", ""),
        case("lines out of order", shuffled.concat(), &[], "invalid", index),
        case("one log after another", timed(&apart, false), &[], "refused", "--order time"),
        case("the same, said so", timed(&apart, false), &["--order", "time"], "valid", ""),
        case("in order of lines", timed(&apart, false), &["--order=lines"], "invalid", ""),
        case("with indices", timed(&apart, true), &[], "invalid", ""),
        case("no times to go by", two_writes("2"), &["--order", "time"], "refused", ":time"),
    ]);
}

#[test]
fn the_order_of_lines_holds_in_the_json_twin_too() {
    let line = |kind: &str, f: &str, value: &str, process: u32, time: u64, index: u64| {
        format!(
            "{{\"type\":\"{kind}\",\"f\":\"{f}\",\"value\":{value},\"process\":{process},\
             \"time\":{time},\"index\":{index}}}\n"
        )
    };
    let history = |times: [u64; 6], got: &str| {
        [
            line("invoke", "write", "1", 0, times[0], 0),
            line("ok", "write", "1", 0, times[1], 1),
            line("invoke", "write", "2", 0, times[2], 2),
            line("ok", "write", "2", 0, times[3], 3),
            line("invoke", "read", "null", 1, times[4], 4),
            line("ok", "read", got, 1, times[5], 5),
        ]
        .concat()
    };
    let ours = "{\"index\":0,\"time\":9,\"process\":0,\"type\":\"invoke\",\"f\":\"read\"}\n\
                {\"index\":1,\"time\":8,\"process\":0,\"type\":\"ok\",\"f\":\"read\",\"value\":null}\n";
    each(vec![
        case("equal times", history([7; 6], "1"), &[], "invalid", ""),
        case("back in time", history([9, 8, 7, 6, 5, 4], "1"), &[], "invalid", ""),
        case("back in time", history([9, 8, 7, 6, 5, 4], "2"), &[], "valid", ""),
        case("in our order of fields", ours, &[], "refused", "--format json"),
        case("the same, said so", ours, &["--format", "json"], "valid", ""),
    ]);
}

#[test]
fn times_are_told_in_every_way_or_refused() {
    let json = |times: [&str; 4]| {
        format!(
            "[{{\"type\": \"invoke\", \"f\": \"write\", \"process\": 0, \"value\": 1, \"time\": {}}},\n\
             {{\"type\": \"ok\", \"f\": \"write\", \"process\": 0, \"value\": 1, \"time\": {}}},\n\
             {{\"type\": \"invoke\", \"f\": \"read\", \"process\": 1, \"value\": null, \"time\": {}}},\n\
             {{\"type\": \"ok\", \"f\": \"read\", \"process\": 1, \"value\": 1, \"time\": {}}}]\n",
            times[0], times[1], times[2], times[3]
        )
    };
    let dates = ["1", "2", "3", "4"].map(|s| format!("\"2024-05-01T12:00:0{s}.25+02:00\""));
    let dates = json([&dates[0], &dates[1], &dates[2], &dates[3]]);
    each(vec![
        case("seconds", json(["0.5", "1", "1.5", "2.0"]), &[], "valid", ""),
        case("dates", dates, &[], "valid", ""),
        case("no time at all", json(["\"soon\"", "1", "2", "3"]), &[], "refused", "is no time"),
        case(
            "a date of Clojure's",
            "{:process 0, :type :invoke, :f :read, :time #inst \"2024-05-01T12:00:00.000-00:00\"}",
            &["--spec", "register"],
            "unknown",
            "",
        ),
    ]);
}

#[test]
fn only_the_nemesis_is_the_nemesis() {
    let named = |a: &str, b: &str| two_writes("1").replace("process 0", a).replace("process 1", b);
    let json = "{\"process\":\"client-0\",\"type\":\"invoke\",\"f\":\"write\",\"value\":1}\n\
                {\"process\":\"client-0\",\"type\":\"ok\",\"f\":\"write\",\"value\":1}\n\
                {\"process\":\"nemesis\",\"type\":\"info\",\"f\":\"kill\",\"value\":null}\n\
                {\"process\":\"w\",\"type\":\"invoke\",\"f\":\"read\",\"value\":null}\n\
                {\"process\":\"w\",\"type\":\"ok\",\"f\":\"read\",\"value\":null}\n";
    let session = done("\"a\"", "write", "[\"x\" 1]", "[\"x\" 1]")
        + &done("\"a\"", "write", "[\"x\" 2]", "[\"x\" 2]")
        + &done(":b", "read", "[\"x\" nil]", "[\"x\" 2]")
        + &done(":b", "read", "[\"x\" nil]", "[\"x\" 1]");
    each(vec![
        case("strings", named("process \"c-0\"", "process \"c-1\""), &[], "invalid", ""),
        case("keywords", named("process :c0", "process :c1"), &[], "invalid", ""),
        case("names and numbers", named("process \"c-0\"", "process 0"), &[], "invalid", ""),
        case("the JSON twin", json, &[], "invalid", ""),
        case("causal", session.clone(), &["--spec", "causal"], "invalid", ""),
        case("sessions", session, &["--spec", "sessions"], "invalid", ""),
        case("witness", named("process :c0", "process :c1"), &["--minimize"], "invalid", ":c1"),
        case(
            "a log",
            "c0\t:invoke\t:write\t1\nc0\t:ok\t:write\t1\n\
             :c1\t:invoke\t:read\tnil\n:c1\t:ok\t:read\tnil\n",
            &[],
            "invalid",
            "",
        ),
        case(
            "no process",
            two_writes("2").replace("process 0", "process [0]"),
            &[],
            "refused",
            "no process",
        ),
    ]);
}

#[test]
fn pairs_are_taken_for_keys_where_they_are() {
    let cas = done("0", "write", "[\"a\" 1]", "[\"a\" 1]")
        + &done("1", "cas", "[\"a\" [1 2]]", "[\"a\" [1 2]]")
        + &done("0", "write", "[\"b\" 5]", "[\"b\" 5]");
    let locks = |second: &str| {
        done("0", "acquire", "[:l1 nil]", "[:l1 nil]") + &done("1", "acquire", second, second)
    };
    let vectors = done("0", "write", "[[1 2] 5]", "[[1 2] 5]")
        + &done("0", "write", "[[1 3] 6]", "[[1 3] 6]")
        + &done("1", "read", "[[1 2] nil]", "[[1 2] 5]");
    let values = done("0", "write", "[1 2]", "[1 2]") + &done("1", "read", "nil", "[1 2]");
    let number_and_text = done("0", "write", "[7 1]", "[7 1]")
        + &done("0", "write", "[\"7\" 2]", "[\"7\" 2]")
        + &done("1", "read", "[7 nil]", "[7 1]");
    let brief = edn("0", "invoke", "write", "[3 1]")
        + &edn("0", "ok", "write", "nil")
        + &done("1", "read", "[4 nil]", "[4 nil]");
    let versions = |got: &str| {
        done("0", "write", "[8 [nil 5]]", "[8 [1 5]]")
            + &done("0", "cas", "[8 [1 [5 6]]]", "[8 [2 [5 6]]]")
            + &done("1", "read", "[8 [nil nil]]", got)
    };
    let names = done("0", "acquire", "\"l1\"", "\"l1\"") + &done("1", "acquire", "\"l2\"", "true");
    let mixed = done("0", "read", "[7 nil]", "[7 nil]") + &done("0", "write", "9", "9");
    let asked = done("0", "cas", "[[1 2] [3 4]]", "[[1 2] [3 4]]");
    let sets = done("0", "add", "[\"s\" 1]", "[\"s\" 1]")
        + &done("0", "add", "[\"t\" 2]", "[\"t\" 2]")
        + &done("1", "read", "[\"s\" nil]", "[\"s\" #{1}]");
    each(vec![
        case("cas", cas, &[], "valid", ""),
        case("two locks", locks("[:l2 nil]"), &[], "valid", ""),
        case("one lock", locks("[:l1 nil]"), &[], "invalid", ""),
        case("vectors as keys", vectors, &[], "valid", ""),
        case("pairs that are values", values, &[], "valid", ""),
        case("7 is not \"7\"", number_and_text, &[], "valid", ""),
        case("completions without values", brief, &[], "valid", ""),
        case("versions", versions("[8 [2 6]]"), &[], "valid", "versions are not"),
        case("versions, stale", versions("[8 [1 5]]"), &[], "invalid", ""),
        case("names of locks?", names.clone(), &[], "refused", "--keyed"),
        case("names of locks", names.clone(), &["--keyed"], "valid", ""),
        case("names of holders", names, &["--keyed=no"], "invalid", ""),
        case("some pairs", mixed.clone(), &[], "refused", "(line 3): its value is no pair"),
        case("nothing tells", asked.clone(), &[], "refused", "--keyed says that it is"),
        case(
            "nothing tells, so it is said",
            asked,
            &["--keyed", "--spec", "cas-register"],
            "invalid",
            "",
        ),
        case("sets", sets, &["--spec", "set"], "valid", ""),
        case("none to be had", two_writes("2"), &["--keyed=yes"], "refused", "no pair"),
    ]);
}

#[test]
fn sets_have_no_order_and_keywords_are_no_strings() {
    let wrote =
        |value: &str, got: &str| done("0", "write", value, value) + &done("1", "read", "nil", got);
    each(vec![
        case("a set", wrote("#{1 2 3}", "#{3 1 2}"), &[], "valid", ""),
        case("a set in a set", wrote("#{:a #{1 2}}", "#{#{2 1} :a}"), &[], "valid", ""),
        case("a list", wrote("[1 2 3]", "[3 1 2]"), &[], "invalid", ""),
        case("a keyword", wrote(":a", ":a"), &[], "valid", ""),
        case("a string", wrote(":a", "\"a\""), &[], "invalid", ""),
    ]);
}

#[test]
fn what_was_answered_with_false_was_not_done() {
    let lock =
        |second: &str| done("0", "acquire", "nil", "true") + &done("1", "acquire", "nil", second);
    let cas = |said: &str, got: &str| {
        done("0", "write", "1", "1")
            + &done("1", "cas", "[1 2]", said)
            + &done("0", "read", "nil", got)
    };
    let write = |got: &str| {
        done("0", "write", "1", "1")
            + &done("1", "write", "2", "false")
            + &done("0", "read", "nil", got)
    };
    let flags = done("0", "write", "true", "true")
        + &done("0", "write", "false", "false")
        + &done("1", "read", "nil", "true");
    each(vec![
        case("a lock", lock("false"), &[], "valid", ""),
        case("a lock that was given", lock("true"), &[], "invalid", ""),
        case("cas", cas("false", "1"), &[], "valid", ""),
        case("cas that was done", cas("[1 2]", "1"), &[], "invalid", ""),
        case("cas that was done", cas("true", "1"), &[], "invalid", ""),
        case("a write, perhaps", write("2"), &[], "valid", ""),
        case("a write, perhaps not", write("1"), &[], "valid", ""),
        case("false as a value", flags, &[], "invalid", ""),
        case(
            "our own form",
            "{\"index\":0,\"time\":0,\"process\":0,\"type\":\"invoke\",\"f\":\"acquire\"}\n\
             {\"index\":1,\"time\":1,\"process\":0,\"type\":\"ok\",\"f\":\"acquire\",\"value\":true}\n\
             {\"index\":2,\"time\":2,\"process\":1,\"type\":\"invoke\",\"f\":\"acquire\"}\n\
             {\"index\":3,\"time\":3,\"process\":1,\"type\":\"ok\",\"f\":\"acquire\",\"value\":false}\n",
            &[],
            "valid",
            "",
        ),
    ]);
}

#[test]
fn a_guess_says_why_and_a_wrong_one_accuses_nobody() {
    let fork = done("0", "write", "[[:w 3 1]]", "[[:w 3 1]]");
    let forked =
        fork.clone() + &done("1", "read", "[[:r 3 nil] [:r 4 nil]]", "[[:r 3 1] [:r 4 nil]]");
    let stale = fork + &done("1", "read", "[[:r 3 nil]]", "[[:r 3 nil]]");
    let queue = |drained: &str| {
        done("0", "enqueue", "1", "1")
            + &done("1", "dequeue", "nil", "1")
            + &done("1", "drain", "nil", drained)
    };
    let bank = done("0", "transfer", "{:from 0, :to 1, :amount 5}", "nil")
        + &done("1", "read", "nil", "{0 5, 1 15}");
    let inc = done("0", "inc", "nil", "nil") + &done("1", "read", "nil", "1");
    let append = done("0", "txn", "[[:append 1 2] [:r 1 nil]]", "[[:append 1 2] [:r 1 [2]]]");
    let kafka = done("0", "send", "[[:send 1 2]]", "[[:send 1 [0 2]]]")
        + &done("0", "poll", "[[:poll]]", "[]");
    let strange = done("0", "write", "1", "1") + &done("1", "read", "nil", "{:n 1}");
    let unread = done("0", "add", "1", "1")
        + &edn("0", "invoke", "read", "nil")
        + &edn("0", "fail", "read", "nil");
    each(vec![
        case(
            "long fork",
            forked,
            &[],
            "valid",
            "judged as multi-register, for it has read and write",
        ),
        case("long fork, stale", stale, &[], "invalid", ""),
        case("drain", queue("[]"), &[], "valid", "judged as total-queue"),
        case("drain of what nobody put in", queue("[9]"), &[], "invalid", ""),
        case("a bank", bank, &[], "unknown", "bank"),
        case("a bank's reads", done("0", "read", "nil", "{0 5}"), &[], "unknown", "bank"),
        case("inc", inc, &[], "valid", "judged as counter"),
        case("list-append", append, &[], "unknown", "list-append"),
        case("Kafka", kafka, &[], "unknown", "not judged"),
        case("no register", strange, &[], "unknown", "hardly a register"),
        case("a set or a counter", unread, &[], "unknown", "set or a counter"),
        case(
            "something else",
            done("0", "fly", "nil", "nil"),
            &[],
            "unknown",
            "no spec is told by fly",
        ),
    ]);
}

#[test]
fn what_clojure_prints_is_read() {
    let beside = |line: &str| format!("{line}\n{}", two_writes("1"));
    let after = |rest: &str| two_writes("1") + rest;
    let lost = |error: &str| {
        after(&format!(
            "{{:process 5, :type :invoke, :f :read}}\n{{:process 5, :type :info, :f :read, :error {error}}}\n"
        ))
    };
    let nemesis = |rest: &str| after(&format!("{{:process :nemesis, :type :info, {rest}}}\n"));
    let all: Vec<String> = vec![
        lost("#object[a.Timeout 0x7f3a \"a.Timeout: slow\"]"),
        lost("#<Timeout a.Timeout: slow>"),
        lost("#error {:cause \"x\", :via [{:type a.B, :at [a.C f \"C.java\" 1]}]}"),
        lost("[:timeout 1/3 \\newline #uuid \"4d1b\" #\"a\\d\"]"),
        nemesis(":f :bump, :value {\"n1\" ##Inf, \"n2\" ##NaN}"),
        nemesis(":f :kill, :opts #:a.b{:c 1}"),
        nemesis(":f nil"),
        nemesis(":value nil"),
        nemesis(":f :start, :value #jepsen.nemesis.Grudge{:n1 #{:n2}}"),
        beside("\u{feff}"),
        beside("#_ {:process 0, :type :invoke, :f :write}"),
        beside("; a comment"),
        beside("#!/usr/bin/env bb"),
        beside("{:type :log, :value \"setting up\"}"),
        beside("{:process 1, :type :sleep, :value 5}"),
        two_writes("1").replace("{:process", "^{:line 1} {#_ :old #_ 1 :process"),
        two_writes("1").replace("{:process", "#jepsen.history.Op{:process"),
        format!("(\n{})", two_writes("1")),
        two_writes("1").replace('\n', "\r\n"),
    ];
    each(all.into_iter().map(|text| case("printed", text, &[], "invalid", "")).collect());
}

#[test]
fn logs_are_read_whatever_stands_between_and_before() {
    let log = |head: &str, between: &str| {
        let line = |process: u32, kind: &str, f: &str, value: &str| {
            format!("{head}{process}{between}:{kind}{between}:{f}{between}{value}\n")
        };
        "2024-05-01 INFO starting :invoke\njava.lang.Exception: :ok :fail\n".to_owned()
            + &line(0, "invoke", "write", "8")
            + &line(0, "ok", "write", "8")
            + &line(1, "invoke", "cas", "[8 4]")
            + &line(1, "fail", "cas", "[8 4]\tunknown error: (foo]")
            + &line(2, "invoke", "read", "nil")
            + &line(2, "ok", "read", "9")
            + &line(3, "invoke", "write", "5")
            + &line(3, "info", "write", ":timed-out")
            + &format!("{head}:nemesis{between}:info{between}:start{between}\"Cut off [n1\"\n")
    };
    let heads = [
        "INFO  jepsen.util - ",
        "",
        "2016-03-02 16:40:11,204{GMT}\tINFO\t[jepsen worker 3] jepsen.util: ",
        "INFO [2024-05-01 12:00:00,123] jepsen worker 3 - jepsen.util ",
        "[12:00:00] jepsen.core ",
    ];
    let mut cases = Vec::new();
    for head in heads {
        for between in ["\t", "  ", " \t ", "    "] {
            cases.push(case("a log", log(head, between), &[], "invalid", ""));
        }
    }
    each(cases);
}

#[test]
fn a_file_cut_in_its_last_line_is_judged_up_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let twin = |text: &str| {
        let mut json = String::new();
        for line in text.lines() {
            json += &line.replace(", :", ", \"").replace("{:", "{\"").replace(" :", "\": \"");
            json.push('\n');
        }
        json
    };
    assert!(twin("{:a :b}").contains("{\"a\": \"b"));
    let more = edn("4", "invoke", "write", "\"x [y {z\"");
    let log =
        "0\t:invoke\t:write\t1\n0\t:ok\t:write\t1\n1\t:invoke\t:read\tnil\n1\t:ok\t:read\t2\n";
    let json = "{\"process\": 0, \"type\": \"invoke\", \"f\": \"read\"}\n\
                {\"process\": 0, \"type\": \"ok\", \"f\": \"read\", \"value\": 3}\n\
                {\"process\": 1, \"type\": \"invoke\", \"f\": \"write\", \"value\": 2}\n";
    let whole = [
        two_writes("1") + &more,
        format!("[{}{more}", two_writes("1")),
        log.to_owned() + "4\t:invoke\t:write\t[1 2]\n",
        json.to_owned()
            + "{\"process\": 2, \"type\": \"invoke\", \"f\": \"read\", \"value\": [\"}\"]}\n",
    ];
    for whole in whole {
        let last = whole.trim_end().rfind('\n').unwrap() + 1;
        for cut in last + 1..whole.len() {
            let file = file(dir.path(), "history", &whole[..cut]);
            let (verdict, said) = judge(&[&file]);
            assert_eq!(verdict, "invalid", "{said}\n{}", &whole[..cut]);
            let is_whole = matches!(whole[cut..].trim(), "");
            assert!(is_whole || said.contains("cut short"), "{said}\n{}", &whole[..cut]);
        }
    }
}

#[test]
fn a_field_of_another_name_is_asked_for() {
    let renamed = |from: &str, to: &str| two_writes("1").replace(from, to);
    each(vec![
        case(
            "process",
            renamed(":process", ":client"),
            &[],
            "refused",
            "--field process=client reads that",
        ),
        case(
            "process, leniently",
            renamed(":process", ":client"),
            &["--lenient"],
            "refused",
            "client",
        ),
        case(
            "process, given",
            renamed(":process", ":client"),
            &["--field", "process=client"],
            "invalid",
            "",
        ),
        case("type", renamed(":type", ":status"), &[], "refused", "--field type=status"),
        case("f, given", renamed(":f", ":op"), &["--field", "f=op"], "invalid", ""),
        case(
            "JSON",
            "{\"client\": 1, \"type\": \"invoke\", \"f\": \"read\"}",
            &[],
            "refused",
            "the op has no :process, but a :client",
        ),
    ]);
}
