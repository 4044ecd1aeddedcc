//! No reduction changes a verdict: each is compared with the model that leaves nothing out.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use dynamo_protocol::{Quorum, ReadMode, Versioning};
use model::{Budget, CLAIMS, Kind, Reductions, Search, Spec};

/// Which claims are found, by name. "Converged by hints alone" is left out: it asks whether a given
/// rest state needs a read to converge, and reductions that take late fetches in choose other rest
/// states.
fn found(spec: &Spec, reductions: Reductions) -> Vec<&'static str> {
    let bench = model::Bench::new(Spec { reductions, ..spec.clone() }).unwrap();
    let outcome = Search::new(&bench, CLAIMS.len()).run(&Budget::NONE, &mut |_| ());
    assert!(outcome.complete);
    let claims = CLAIMS.iter().zip(outcome.found).filter(|(claim, path)| {
        path.is_some() && claim.kind == Kind::Always && claim.name != "converged-by-hints-alone"
    });
    claims.map(|(claim, _)| claim.name).collect()
}

fn modes(spec: &Spec) -> Vec<Spec> {
    let mut modes = Vec::new();
    for versioning in [Versioning::Dotted, Versioning::Paper, Versioning::Lww] {
        for read in [ReadMode::Plain, ReadMode::Atomic] {
            for quorum in [Quorum::Strict, Quorum::Sloppy] {
                modes.push(Spec { versioning, read, quorum, ..spec.clone() });
            }
        }
    }
    modes
}

fn compare(spec: &Spec) {
    let whole = found(spec, Reductions::NONE);
    assert_eq!(found(spec, Reductions::ALL), whole, "{}", spec.label());
}

fn scripts(length: usize) -> Vec<String> {
    let mut clients = vec![String::new()];
    for _ in 0..length {
        let longer = |start: &String| "pgd".chars().map(|op| format!("{start}{op}")).collect();
        clients =
            clients.iter().flat_map(|start: &String| -> Vec<String> { longer(start) }).collect();
    }
    let mut scripts = Vec::new();
    for (at, one) in clients.iter().enumerate() {
        for other in &clients[at..] {
            scripts.push(format!("{one},{other}"));
        }
    }
    scripts
}

#[test]
fn reductions_change_no_verdict_without_a_fault() {
    for script in scripts(1) {
        for spec in modes(&Spec::new(script.parse().unwrap())) {
            compare(&spec);
        }
    }
}

#[test]
fn reductions_change_no_verdict_with_one_crash_or_one_partition() {
    for script in ["p,g", "p,p"] {
        let spec = Spec::new(script.parse().unwrap());
        let (mut crash, mut cut) = (spec.clone(), spec);
        (crash.faults.crashes, crash.faults.restarts) = (1, 1);
        cut.faults.partitions = 1;
        compare(&crash);
        compare(&cut);
    }
}

/// The whole bound: hours, and several GiB. `cargo test --release -- --ignored`.
#[test]
#[ignore = "hours: every script of two clients with two operations each, every mode, both faults"]
fn reductions_change_no_verdict_on_any_script_of_two_by_two() {
    for script in scripts(2) {
        for spec in modes(&Spec::new(script.parse().unwrap())) {
            let (mut crash, mut cut) = (spec.clone(), spec);
            (crash.faults.crashes, crash.faults.restarts) = (1, 1);
            cut.faults.partitions = 1;
            compare(&crash);
            compare(&cut);
        }
    }
}
