//! The ring changes: what is left out of the rules is found, by the shortest path.

#![cfg(feature = "mutants")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use dynamo_protocol::mutant::{Mutant, activate};
use model::{Budget, check, defaults};

/// Searches every scenario of a ring that changes, with each rule left out in turn. One test: a seeded bug
/// is on for the whole process.
#[test]
fn a_rule_that_is_left_out_of_a_change_is_found() {
    let budget = Budget { time: std::time::Duration::from_secs(20), ..Budget::NONE };
    for mutant in Mutant::ALL {
        if !["compared-in-any-epoch", "offer-outlives-epoch"].contains(&mutant.name()) { continue; }
        activate(Some(*mutant));
        for scenario in defaults().into_iter().filter(|scenario| !scenario.spec.shifts.is_empty()) {
            let report = check(&scenario, &budget, &mut |_| ()).unwrap().report;
            let broken: Vec<_> = report
                .properties
                .iter()
                .filter(|(_, judged)| !judged.as_expected)
                .map(|(name, judged)| format!("{name} {:?}", judged.steps))
                .collect();
            println!(
                "RING {} {} {} states: {broken:?}",
                mutant.name(),
                scenario.name,
                report.states
            );
        }
        activate(None);
    }
}
