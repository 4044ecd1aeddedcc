//! A search that is interrupted writes its checkpoint, says that it is not complete, and can go on.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;

use clap::Parser;
use model::{Budget, Keep, Scenario, check_kept, interrupt};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    model: model::cli::ModelArgs,
}

#[test]
fn an_interrupted_search_is_kept_and_goes_on_another_day() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("search");
    interrupt::listen("what was searched").unwrap();
    let me = std::process::id().to_string();
    assert!(Command::new("kill").args(["-INT", &me]).status().unwrap().success());
    while !interrupt::asked() {
        std::thread::yield_now();
    }
    let script = ["--script", "pgp,pg", "--crashes", "1"];
    let kept = ["--checkpoint", file.to_str().unwrap()];
    let args = ["model", "check"].into_iter().chain(script).chain(kept);
    assert_eq!(model::cli::run(&Cli::parse_from(args).model), 2, "not complete");

    let mut spec = model::Spec::new("pgp,pg".parse().unwrap());
    (spec.faults.crashes, spec.faults.restarts) = (1, 1);
    let keep = Keep { checkpoint: None, resume: Some(&file) };
    let no_more = Budget { states: 0, ..Budget::NONE };
    let resumed = check_kept(&Scenario::of(spec), &no_more, keep, &mut |_| ()).unwrap().report;
    assert!(!resumed.complete && resumed.states > 4_000, "{} states", resumed.states);
}
