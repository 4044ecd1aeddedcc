//! A search that was ended and resumed comes to what one comes to that was not.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

use model::{Budget, Keep, Report, Scenario, Spec, check, check_kept};

fn scenario() -> Scenario {
    let mut spec = Spec::new("pg,g".parse().unwrap());
    (spec.faults.crashes, spec.faults.restarts) = (1, 1);
    Scenario::of(spec)
}

fn run(scenario: &Scenario, budget: &Budget, keep: Keep<'_>) -> anyhow::Result<Report> {
    Ok(check_kept(scenario, budget, keep, &mut |_| ())?.report)
}

/// All but the time it took.
fn result(report: &Report) -> String {
    let verdicts = serde_json::to_string(&report.properties).unwrap();
    let Report { complete, states, generated, depth, .. } = report;
    format!("{complete} {states} {generated} {depth} {verdicts}")
}

fn refusal(scenario: &Scenario, path: &Path) -> String {
    let keep = Keep { checkpoint: None, resume: Some(path) };
    format!("{:#}", run(scenario, &Budget::NONE, keep).unwrap_err())
}

#[test]
fn a_resumed_search_ends_as_one_that_was_never_ended() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("search");
    let scenario = scenario();
    let whole = check(&scenario, &Budget::NONE, &mut |_| ()).unwrap().report;
    let mut keep = Keep { checkpoint: Some(&file), resume: None };
    for tenth in 1..10 {
        let budget = Budget { states: whole.states * tenth / 10, ..Budget::NONE };
        let report = run(&scenario, &budget, keep).unwrap();
        assert!(!report.complete);
        keep.resume = Some(&file);
    }
    let resumed = run(&scenario, &Budget::NONE, keep).unwrap();
    assert_eq!(result(&resumed), result(&whole));
    let again = run(&scenario, &Budget::NONE, keep).unwrap();
    assert_eq!(result(&again), result(&whole), "a complete search is complete at once");
}

#[test]
fn what_is_no_checkpoint_of_this_search_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("search");
    let scenario = scenario();
    let budget = Budget { states: 300, ..Budget::NONE };
    run(&scenario, &budget, Keep { checkpoint: Some(&file), resume: None }).unwrap();

    let other = Scenario::of(Spec::new("p,g".parse().unwrap()));
    let text = refusal(&other, &file);
    assert!(text.contains("crashes=1") && text.contains("same scenario"), "{text}");

    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    assert!(refusal(&scenario, &file).contains("checksum"));

    std::fs::write(&file, "not a checkpoint").unwrap();
    assert!(refusal(&scenario, &file).contains("no checkpoint"));
    assert!(refusal(&scenario, &folder.path().join("none")).contains("none"));
}
