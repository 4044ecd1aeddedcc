//! Drawn seeds, as many as one asks for: what `dyno mutants --auto` has judge a changed program.
//!
//!     DYNO_SEEDS=300 cargo test -p dyno --test drawn

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;

/// How many, if nobody says so: what every run of all tests can bear.
const FEW: u64 = 20;
/// Whole nodes take so many times longer than their core.
const WHOLE: u64 = 4;

fn seeds() -> u64 {
    match std::env::var("DYNO_SEEDS") {
        Ok(told) => told.parse().unwrap_or_else(|_| panic!("DYNO_SEEDS is no number: {told}")),
        Err(_) => FEW,
    }
}

/// Everything but valid fails: also what never happened in seeds that had it happen before.
fn are_valid(kind: &[&str], seeds: u64) {
    let folder = tempfile::tempdir().unwrap();
    let mut dyno = Command::new(env!("CARGO_BIN_EXE_dyno"));
    dyno.arg("sim")
        .args(kind)
        .args(["--seeds", &format!("0..{seeds}"), "--out"])
        .arg(folder.path());
    let done = dyno.output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    let noted = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(0), "{said}\n{noted}");
}

#[test]
fn drawn_seeds_of_the_core_are_valid() {
    are_valid(&[], seeds());
}

#[test]
fn drawn_seeds_of_whole_nodes_are_valid() {
    are_valid(&["--shell"], seeds().div_ceil(WHOLE));
}
