//! Short local runs on a machine that is busy with other things, with nodes that soon lose their patience:
//! none of them may accuse a store that keeps everything.
//!
//! ```text
//! LOADED_RUNS=300 cargo test -p dyno --test loaded -- --ignored --nocapture
//! ```
//!
//! `LOADED_BUSY` threads keep the processors busy meanwhile: by default as many as there are processors.
//! `LOADED_SEED` is the first of the seeds, by default 1.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::Value;

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().map_or(usual, |text| text.parse().unwrap())
}

fn pick<'a>(seed: u64, salt: u64, of: &[&'a str]) -> &'a str {
    // The finaliser of SplitMix64 (Steele, Lea, Flood 2014).
    let mut mixed = (seed << 8 | salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    of[usize::try_from((mixed ^ mixed >> 31) % of.len() as u64).unwrap()]
}

/// The plan of a seed.
fn plan(seed: u64) -> String {
    let of = |salt, choices: &[&'static str]| pick(seed, salt, choices);
    let (time, patience) =
        (of(1, &["2s", "3s"]), of(2, &["1ms", "2ms", "5ms", "10ms", "30ms", "100ms"]));
    let faults = of(
        3,
        &["", "", "\"kill\"", "\"pause\"", "\"partition\"", "\"delay\"", "\"kill\", \"pause\""],
    );
    let (quorum, read) =
        (of(4, &["sloppy", "sloppy", "strict"]), of(5, &["plain", "plain", "atomic"]));
    let quorums = of(6, &["n = 3\nr = 2\nw = 2", "n = 3\nr = 1\nw = 3", "n = 3\nr = 1\nw = 2"]);
    let (ping, workers) = (of(7, &["5ms", "20ms", "100ms"]), of(8, &["5", "20", "60"]));
    let deadline = of(9, &["200ms", "1s"]);
    format!(
        "time = \"{time}\"\nfaults = [{faults}]\n[cluster]\nhedge = \"{patience}\"\nping = \"{ping}\"\n\
         deadline = \"{deadline}\"\nquorum = \"{quorum}\"\nread = \"{read}\"\n{quorums}\n\
         [workload]\nconcurrency = {workers}\nthink = \"1ms\"\n[fault]\nhold = \"500ms\"\ngap = \"200ms\"\n"
    )
}

fn judged(seed: u64, out: &Path) -> Value {
    let file = out.join(format!("loaded-{seed}.toml"));
    std::fs::write(&file, plan(seed)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dyno"));
    command.arg("test").arg(&file).args(["--json", "--seed", &seed.to_string(), "--out"]).arg(out);
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let last = text.lines().last().unwrap_or_else(|| {
        panic!("seed {seed}: {}\n{}", String::from_utf8_lossy(&output.stderr), plan(seed))
    });
    serde_json::from_str(last).unwrap()
}

#[test]
#[ignore = "takes ten seconds a run; LOADED_RUNS says how many"]
fn loaded_runs_make_no_false_verdict() {
    let (runs, first) = (number("LOADED_RUNS", 40), number("LOADED_SEED", 1));
    let cores = std::thread::available_parallelism().map_or(2, usize::from) as u64;
    let (busy, ended) = (number("LOADED_BUSY", cores), AtomicBool::new(false));
    let (mut accused, mut counts) = (Vec::new(), std::collections::BTreeMap::<String, u64>::new());
    let out = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..busy {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        for seed in first..first + runs {
            let began = Instant::now();
            let verdict = judged(seed, out.path());
            let part = |name: &str| verdict[name].as_str().unwrap_or("?").to_owned();
            let three = ["property", "coverage", "harness"].map(part).join(" ");
            let took = began.elapsed().as_secs_f64();
            println!("seed {seed}: {three} in {took:.1} s; {}", verdict["reasons"]);
            if verdict["property"] == "invalid" {
                accused.push(seed);
            }
            *counts.entry(three).or_default() += 1;
        }
        ended.store(true, Ordering::Relaxed);
    });
    println!("property coverage harness: {counts:?}");
    let kept = accused.first().map(|_| out.keep());
    assert_eq!(accused, [] as [u64; 0], "kept in {kept:?}");
}
