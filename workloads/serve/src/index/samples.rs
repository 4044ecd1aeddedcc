//! Runs to try things on, and folders of them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{Run, State};

/// The verdict of a run, as it is written down.
pub(crate) fn verdict(number: u64) -> Value {
    let is_bad = number.is_multiple_of(5);
    let verdict = if is_bad { "invalid" } else { "valid" };
    let lost: Vec<Value> = (0..if is_bad { 20 } else { 0 })
        .map(|item| {
            json!({ "key": "cart-1", "item": format!("item-{item}"), "add": 3, "reads": [7, 8, 9] })
        })
        .collect();
    let reasons = if is_bad { vec!["cart: 2 acknowledged adds lost"] } else { Vec::new() };
    let faults = if number.is_multiple_of(3) { json!([]) } else { json!(["kill", "pause"]) };
    let day = 1 + number / 24 % 28;
    json!({
        "schema": 1, "command": "test", "verdict": verdict, "property": verdict,
        "coverage": "valid", "harness": "valid",
        "reasons": { "property": reasons, "coverage": [], "harness": [] },
        "plan": if number.is_multiple_of(2) { "cart" } else { "strict" }, "seed": number % 10,
        "again": format!("dyno test --seed {}", number % 10),
        "setup": {
            "dyno": "0.1.0", "host": "h", "began": format!("2026-11-{day:02}T{:02}:00:00Z", number % 24),
            "time": "30s", "faults": faults,
            "cluster": {
                "kind": "local", "nodes": 5, "n": 3, "r": 2, "w": 2, "quorum": "sloppy",
                "versioning": "dotted", "read": "plain",
            },
        },
        "seconds": 31.5, "ops": { "ok": 30_000 + number, "fail": 7, "info": 1 },
        "latency_ms": { "p50": 2.0, "p99": 10.5, "p999": 30.0 },
        "checks": { "cart": {
            "verdict": verdict, "judged": 900, "lost_count": lost.len(), "lost": lost,
        } },
        "faults": { "kill": { "installed": 5, "proven": 5, "healed": 5, "skipped": 0 } },
        "counters": { "hints_stored": 400 },
    })
}

/// Writes so many runs below a folder.
pub(crate) fn write(root: &Path, count: u64) {
    for number in 0..count {
        let verdict = verdict(number);
        let plan = verdict["plan"].as_str().unwrap();
        let dir = root.join(plan).join(name(number));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("verdict.json"), verdict.to_string()).unwrap();
        fs::write(dir.join("plan.toml"), "").unwrap();
    }
}

/// The name of a run's folder.
pub(crate) fn name(number: u64) -> String {
    format!("202611{:02}T{:02}0000Z-{number}", 1 + number / 24 % 28, number % 24)
}

/// A run as it is read.
pub(crate) fn sample(number: u64) -> Run {
    let verdict = verdict(number);
    let path = format!("{}/{}", verdict["plan"].as_str().unwrap(), name(number));
    Run::of(&path, serde_json::from_value(verdict).unwrap())
}

/// So many, each a little different; the last goes on.
pub(crate) fn samples(count: u64) -> Vec<Run> {
    let mut runs: Vec<Run> = (0..count).map(sample).collect();
    if let Some(last) = runs.last_mut() {
        *last = Run::without_verdict(&last.path.clone(), State::Running, None);
    }
    runs
}
