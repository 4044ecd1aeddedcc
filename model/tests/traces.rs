//! What the model finds happens in the simulator, too.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use dynamo_sim::replay::{on_core, on_sim};
use dynamo_sim::trace::{Step, Trace};
use model::{Budget, Durability, PROPERTIES, PathError, Scenario, Spec, check, defaults};

fn is_lax(durability: Durability) -> bool {
    matches!(durability, Durability::Buffered | Durability::One)
}

/// Every path of `scenario`, and how many of its traces were replayed.
fn replay_all(scenario: &Scenario) -> usize {
    let checked = check(scenario, &Budget::NONE, &mut |_| ()).unwrap();
    let mut replayed = 0;
    for (property, path) in PROPERTIES.iter().zip(&checked.outcome.found) {
        let Some(path) = path else { continue };
        let name = format!("{}: {}", scenario.name, property.name);
        let trace = match checked.model.to_trace(path, &name) {
            // Nor has it one for a node that learns of a membership without being told.
            Err(PathError::NoWord(_))
                if is_lax(scenario.spec.durability) || !scenario.spec.shifts.is_empty() =>
            {
                continue;
            }
            trace => trace.unwrap_or_else(|error| panic!("{name}: {error}")),
        };
        // As a file, not as it lies in memory.
        let trace = Trace::parse(&trace.to_json()).unwrap();
        let touching = trace.steps.iter().filter(|entry| entry.digest.is_some()).count();
        let core = on_core(&trace).unwrap_or_else(|error| panic!("{name}: {error}"));
        let sim = on_sim(&trace).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((core.compared, sim.compared), (touching, touching), "{name}");
        replayed += 1;
    }
    replayed
}

#[test]
fn every_path_of_the_default_set_replays_with_equal_states() {
    let replayed: usize = defaults().iter().map(replay_all).sum();
    assert!(replayed >= 40, "{replayed} paths");
}

#[test]
fn a_trace_starts_the_cluster_and_names_what_clients_ask() {
    let mut spec = Spec::new("p,g".parse().unwrap());
    (spec.settings.r, spec.settings.w) = (1, 1);
    let checked = check(&Scenario::of(spec), &Budget::NONE, &mut |_| ()).unwrap();
    let stale = PROPERTIES.iter().position(|property| property.name == "regular-gets").unwrap();
    let path = checked.outcome.found[stale].clone().unwrap();
    let trace = checked.model.to_trace(&path, "stale").unwrap();
    let steps: Vec<_> = trace.steps.iter().map(|entry| &entry.step).collect();
    let starts = steps.iter().filter(|step| matches!(step, Step::Start { .. })).count();
    let asked = steps.iter().filter(|step| matches!(step, Step::Client { .. })).count();
    assert_eq!((starts, asked), (3, 2), "{}", trace.to_json());
}
