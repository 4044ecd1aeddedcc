//! The ring changes: what the model says of it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use model::{Budget, check, defaults};

#[test]
fn try_it() {
    let name = std::env::var("SCENARIO").unwrap();
    let scenario = defaults().into_iter().find(|scenario| scenario.name == name).unwrap();
    let report = check(&scenario, &Budget::NONE, &mut |_| ()).unwrap().report;
    println!("{}", report.to_text());
}
