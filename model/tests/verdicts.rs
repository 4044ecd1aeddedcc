//! The verdicts the protocol is known to have, and what each costs to find.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use dynamo_protocol::{Quorum, ReadMode, Versioning};
use model::{
    Budget, Durability, Expected, PROPERTIES, Report, Scenario, Spec, Verdict, check, defaults,
    property,
};

fn search(scenario: &Scenario) -> Report {
    check(scenario, &Budget::NONE, &mut |_| ()).unwrap().report
}

fn steps(spec: &Spec, name: &str) -> Option<usize> {
    search(&Scenario::of(spec.clone())).properties[name].steps
}

fn spec(script: &str) -> Spec {
    Spec::new(script.parse().unwrap())
}

#[test]
fn the_default_set_is_complete_and_as_expected() {
    for scenario in defaults() {
        let report = search(&scenario);
        assert!(report.complete && report.as_expected, "{}", report.to_text());
    }
}

/// A count that changes says that the core or a reduction does; whoever changes it says why. (The last time a
/// store had one field more: which of several alike messages stands for them goes by their hashes.)
#[test]
fn state_counts_are_pinned() {
    for (name, states) in [("strict", 229), ("weak", 6), ("atomic", 316), ("paper-clocks", 17)] {
        let scenario = defaults().into_iter().find(|scenario| scenario.name == name).unwrap();
        assert_eq!(search(&scenario).states, states, "{name}");
    }
}

/// A ping that waits for a disk is not sent again and again meanwhile: that had no end.
#[test]
fn a_search_with_disks_that_wait_and_nodes_that_are_down_ends() {
    let mut spec = spec("p,g");
    spec.settings.quorum = Quorum::Strict;
    spec.durability = Durability::Group;
    for restarts in [0, 1] {
        (spec.faults.power_cuts, spec.faults.restarts) = (1, restarts);
        let report = search(&Scenario::of(spec.clone()));
        assert!(report.complete && report.properties["a-put-is-acknowledged"].steps.is_some());
    }
}

#[test]
fn paper_clocks_lose_an_acknowledged_put_in_three_steps() {
    let mut spec = spec("p,p");
    spec.settings.versioning = Versioning::Paper;
    assert_eq!(steps(&spec, "acknowledged-kept"), Some(3));
    spec.settings.versioning = Versioning::Dotted;
    assert_eq!(steps(&spec, "acknowledged-kept"), None);
}

/// One writer, one client that gets twice, no fault: over every N to 4, R and W, gets are stale after
/// an acknowledgement iff R+W <= N; and free of new-then-old iff R = N, or with write-back R+W > N.
#[test]
fn the_sweep_over_r_and_w_is_as_the_table_says_cell_for_cell() {
    for n in 1..=4 {
        for r in 1..=n {
            for w in 1..=n {
                for read in [ReadMode::Plain, ReadMode::Atomic] {
                    let mut spec = spec("p,gg");
                    (
                        spec.nodes,
                        spec.settings.n,
                        spec.settings.r,
                        spec.settings.w,
                        spec.settings.read,
                    ) = (n, n, r, w, read);
                    let report = search(&Scenario::of(spec));
                    let broken = |name: &str| report.properties[name].steps.is_some();
                    let cell = format!("N={n} R={r} W={w} {read:?}");
                    assert_eq!(broken("regular-gets"), r + w <= n, "stale: {cell}");
                    let free = match read {
                        ReadMode::Plain => r == n,
                        ReadMode::Atomic => r + w > n,
                    };
                    assert_eq!(broken("no-inversion"), !free, "new then old: {cell}");
                }
            }
        }
    }
}

#[test]
fn a_sloppy_quorum_is_stale_in_five_steps_and_loses_nothing() {
    let mut spec = spec("p,g");
    (spec.nodes, spec.settings.quorum) = (4, Quorum::Sloppy);
    (spec.faults.crashes, spec.faults.restarts) = (1, 1);
    let report = search(&Scenario::of(spec));
    assert_eq!(report.properties["regular-gets"].steps, Some(5));
    assert_eq!(report.properties["acknowledged-kept"].steps, None);
}

#[test]
fn a_search_out_of_budget_says_that_it_is_not_complete() {
    let budget = Budget { states: 1, ..Budget::NONE };
    let report = check(&Scenario::of(spec("pgp,p")), &budget, &mut |_| ()).unwrap().report;
    assert!(!report.complete);
}

#[test]
fn what_a_scenario_must_find_and_does_not_is_a_failure() {
    let mut scenario = Scenario::of(spec("p,g"));
    scenario.breaks.push(("acknowledged-kept", 1));
    let expected = scenario.expects(property("acknowledged-kept").unwrap());
    assert_eq!(expected, Expected::Present(1));
    assert!(!search(&scenario).as_expected);
}

#[test]
fn every_property_has_a_name_of_its_own_and_a_source() {
    for (at, property) in PROPERTIES.iter().enumerate() {
        assert!(PROPERTIES[..at].iter().all(|other| other.name != property.name));
        assert!(!property.source.is_empty());
    }
}

#[test]
fn ok_stands_only_above_a_whole_search_that_broke_nothing() {
    let named = |name: &str| defaults().into_iter().find(|it| it.name == name).unwrap();
    let atomic = search(&named("atomic")).to_text();
    assert!(atomic.starts_with("ok      atomic: "), "{atomic}");
    assert!(atomic.contains("holds: acknowledged-kept, "), "{atomic}");
    assert!(atomic.contains(&format!("searched: {}", named("atomic").spec.label())), "{atomic}");
    let weak = search(&named("weak"));
    assert!(weak.as_expected && weak.to_text().starts_with("broken  weak: "), "{}", weak.to_text());
    let budget = Budget { states: 1, ..Budget::NONE };
    let open = check(&named("atomic"), &budget, &mut |_| ()).unwrap().report.to_text();
    assert!(open.starts_with("unknown atomic: ") && open.contains("not broken so far"), "{open}");
}

#[test]
fn a_trace_says_which_property_it_breaks_and_how() {
    let weak = defaults().into_iter().find(|scenario| scenario.name == "weak").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut checked = check(&weak, &Budget::NONE, &mut |_| ()).unwrap();
    checked.write_traces(folder.path()).unwrap();
    let text = std::fs::read_to_string(folder.path().join("weak-regular-gets.json")).unwrap();
    let property = dynamo_sim::trace::Trace::parse(&text).unwrap().property.unwrap();
    assert!(property.is_broken && property.name == "regular-gets", "{property:?}");
    assert_eq!((property.settings, property.story.len()), (weak.spec.label(), 2));
}

/// A delete that is under way to a node that is down when its forwarder gives it up is made while the cluster
/// settles: what it overwrites then is not lost.
#[test]
fn what_a_late_delete_takes_away_is_not_missed_where_homes_settle() {
    let mut spec = Spec::new("pgd".parse().unwrap()).sloppy();
    (spec.nodes, spec.settings.n) = (3, 2);
    (spec.settings.r, spec.settings.w) = (1, 2);
    (spec.faults.crashes, spec.faults.restarts, spec.faults.partitions) = (1, 1, 1);
    let report = search(&Scenario::of(spec));
    assert!(report.complete);
    let converges = &report.properties["converges"];
    assert_eq!(converges.verdict, Verdict::Holds, "{:?}", converges.trace);
}
