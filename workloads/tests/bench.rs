//! `dyno bench` on real processes: what it prints, and that it measures what it says.
#![allow(clippy::unwrap_used)]

mod common;

use std::process::Command;

use serde_json::Value;

/// Runs `dyno bench` with these words: its exit status, and the document it printed.
fn bench(line: &str) -> (Option<i32>, Value, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dyno"));
    let output = command.arg("bench").args(line.split_whitespace()).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    let document = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code(), document, told)
}

fn number(document: &Value, field: &str) -> f64 {
    document[field].as_f64().unwrap_or_else(|| panic!("no number {field}: {document}"))
}

#[test]
fn puts_on_real_nodes_are_measured_in_a_closed_and_in_an_open_loop() {
    let short = "--time 1s --warm-up 200ms --keys 200 --callers 8 --json";
    for (line, rate) in [
        (format!("kv --engine memory {short}"), None),
        (format!("kv --engine fjall --put 50 --zipf 1 --rate 100 {short}"), Some(100.0)),
    ] {
        let (status, document, told) = bench(&line);
        assert_eq!((status, told.as_str()), (Some(0), ""), "{document}");
        assert_eq!((&document["schema"], &document["command"]), (&1.into(), &"bench kv".into()));
        let ops = number(&document, "ops_per_s");
        assert!(ops > 20.0, "{document}");
        if let Some(rate) = rate {
            assert!((0.5 * rate..1.1 * rate).contains(&ops), "{document}");
        }
        let [p50, p99, p999] = ["p50_ms", "p99_ms", "p999_ms"].map(|name| number(&document, name));
        assert!(0.0 < p50 && p50 <= p99 && p99 <= p999, "{document}");
        assert!(number(&document, "server_cpu_us_per_op") > 0.0, "{document}");
        assert!(number(&document, "rss_mb") > 1.0, "{document}");
        assert_eq!((number(&document, "refused"), number(&document, "unanswered")), (0.0, 0.0));
    }
}

#[test]
fn peers_are_measured_beside_nodes_where_they_are_installed() {
    if !(common::has_redis() && common::has_etcd()) {
        return;
    }
    let (status, document, told) =
        bench("peers --time 2s --warm-up 200ms --callers 8 --keys 200 --json");
    assert_eq!(status, Some(0), "{told}");
    let rows = document["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 4, "{document}");
    for row in rows {
        assert!(
            number(row, "ops_per_s") > 10.0 && number(row, "server_cpu_us_per_op") > 0.0,
            "{row}"
        );
        assert_eq!(number(row, "refused"), 0.0, "{row}");
    }
    let ratios = document["ratios"].as_array().unwrap();
    assert_eq!(ratios.len(), 2, "{document}");
    assert_eq!(document["skipped"], Value::Array(Vec::new()));
}

#[test]
fn a_power_cut_takes_what_a_durability_says_that_it_may_and_no_more() {
    let (status, document, told) =
        bench("loss --cuts 3 --callers 8 --durability one,buffered --json");
    assert_eq!((status, told.as_str()), (Some(0), ""), "{document}");
    let rows = document["rows"].as_array().unwrap();
    let lost = |durability: &str, cut: &str| {
        let is = |row: &&Value| row["durability"] == durability && row["cut"] == cut;
        let row = rows.iter().find(is).unwrap_or_else(|| panic!("{durability} {cut}: {document}"));
        assert!(number(row, "acknowledged") > 10.0, "{row}");
        let lost = number(row, "lost");
        assert_eq!(row["oldest_ms"].is_null(), lost == 0.0, "{row}");
        lost
    };
    for durability in ["one", "buffered"] {
        assert_eq!(lost(durability, "fewer"), 0.0, "fewer than W machines: {document}");
    }
    assert_eq!(lost("one", "all"), 0.0, "its coordinator has it: {document}");
    // A cut right after a sync takes nothing; not each of six comes there.
    let taken = lost("buffered", "all") + lost("buffered", "all-and-a-disk");
    assert!(taken > 0.0, "nobody had synced the last of it: {document}");
}

#[test]
fn what_is_to_be_reached_is_measured_row_by_row_beside_its_bar() {
    let short = "--runs 1 --time 600ms --callers 8 --keys 100 --overload-time 1s --overload-callers 64 \
                 --json";
    let rows = "driven,killed,overload,unread,tls";
    let folder = tempfile::tempdir().unwrap();
    let graph = folder.path().join("overload.svg");
    let line = format!("reach --rows {rows} {short} --graph {}", graph.display());
    let (status, document, told) = bench(&line);
    assert_eq!((status, told.as_str()), (Some(0), ""), "{document}");
    let rows = document["rows"].as_array().unwrap();
    let skipped = document["skipped"].as_array().unwrap();
    assert_eq!(rows.len() + 3 * skipped.len(), 8, "{document}");
    for row in rows {
        assert!(number(row, "measured") >= 0.0 && row["met"].is_boolean(), "{row}");
        assert!(number(row, "bar") > 0.0 && row["what"].is_string(), "{row}");
    }
    let is_drawn = std::fs::read_to_string(graph).is_ok_and(|svg| svg.contains("polyline"));
    assert!(is_drawn || !skipped.is_empty(), "{document}");
}

#[test]
fn what_is_not_installed_is_skipped_with_the_reason() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dyno"));
    command.args([
        "bench",
        "peers",
        "--time",
        "200ms",
        "--warm-up",
        "0s",
        "--callers",
        "2",
        "--json",
    ]);
    // Nothing is found there but the driver and the nodes, which are named by their path.
    let output = command.env("PATH", "").output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let skipped = document["skipped"].as_array().unwrap();
    assert_eq!(skipped.len(), 2, "{document}");
    assert_eq!(skipped[0]["why"], "redis-server is not installed");
    assert_eq!(document["rows"].as_array().unwrap().len(), 2);
}

#[test]
fn what_cannot_be_measured_is_refused_before_anything_starts() {
    for (line, why) in [
        ("kv --nodes 2", "a key has -n 3 homes"),
        ("kv --put 101", "a number from 0 to 100"),
        ("kv --rate 0", "a number from"),
        ("kv --dir nowhere/at/all", "--dir nowhere/at/all"),
        ("peers --nodes 5", "leave --nodes"),
        ("reach -n 2", "leave --nodes"),
        ("reach --rows tls --graph g.svg", "it shows the row overload"),
        ("reach --graph nowhere/g.svg", "there is no folder nowhere"),
        ("loss --engine memory", "nothing of it survives a process"),
        ("scale --nodes 100,10", "list them upwards"),
    ] {
        let (status, _, told) = bench(line);
        assert_eq!(status, Some(254), "{line}: {told}");
        assert!(told.contains(why) && told.lines().count() == 1, "{line}: {told}");
    }
}

#[test]
fn partitioning_and_scale_print_what_the_paper_compares() {
    let (status, document, told) = bench("partitioning --rings 10 --keys 500 --json");
    assert_eq!(status, Some(0), "{told}");
    assert_eq!(document["paper"], "3 > 1 > 2");
    assert!(document["ordering"].as_str().unwrap().starts_with('3'), "{document}");
    assert_eq!(document["join"].as_array().unwrap().len(), 3);
    let (status, document, told) = bench("scale --nodes 5,20 --keys 2 --refill 5 --json");
    assert_eq!(status, Some(0), "{told}");
    let rows = document["rows"].as_array().unwrap();
    assert!(number(&rows[0], "rounds") < number(&rows[1], "rounds"), "{document}");
    assert!(number(&rows[0], "refill_s") > 0.0 && rows[1]["refill_s"].is_null(), "{document}");
}
