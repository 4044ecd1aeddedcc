//! The register of memberships, searched whole.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use dynamo_protocol::Epoch;
use model::register::{Bounds, PROPERTIES, Scenario, check, scenarios};
use model::{Budget, Report, property};

fn search(scenario: &Scenario) -> Report {
    check(scenario, &Budget::NONE, &mut |_| ()).report
}

fn named(name: &str) -> Scenario {
    scenarios().into_iter().find(|scenario| scenario.name == name).unwrap()
}

fn is_whole_and_as_expected(scenario: &Scenario) -> Report {
    let report = search(scenario);
    assert!(report.complete && report.as_expected, "{}", report.to_text());
    report
}

/// A count that changes says that the core or a reduction does; whoever changes it says why.
fn check_states(name: &str, states: usize) {
    assert_eq!(is_whole_and_as_expected(&named(name)).states, states);
}

#[test]
fn two_edits_at_two_members() {
    check_states("register", 204_198);
}

#[test]
fn a_crash() {
    check_states("register-crash", 285_262);
}

#[test]
fn two_numbers_in_a_row() {
    check_states("register-twice", 331_101);
    check_states("register-expect", 267_877);
}

#[test]
fn a_wiped_disk() {
    check_states("register-wipe", 297_181);
}

#[test]
fn a_wiped_disk_between_two_edits() {
    check_states("register-race", 813_168);
}

#[test]
fn one_of_two_members_goes_on_alone() {
    check_states("register-forced", 30_462);
    check_states("register-forced-crash", 58_607);
}

#[test]
#[ignore = "minutes and gigabytes: the bounds of docs/membership.md that are searched by hand"]
fn larger_bounds() {
    let larger = [
        ("register-wipe", 2, 1, 3),
        ("register-crash", 2, 2, 3),
        ("register-wipe", 3, 0, 2),
        ("register", 3, 0, 2),
    ];
    for (name, rounds, crashes, last) in larger {
        let scenario = named(name);
        let last = Epoch(last);
        let bounds = Bounds { rounds, crashes, last, ..scenario.bounds.clone() };
        println!("{}", is_whole_and_as_expected(&Scenario { bounds, ..scenario }).to_text());
    }
}

/// What is left out of the flight makes no difference.
#[test]
fn messages_that_are_left_out_change_no_verdict() {
    for name in ["register", "register-crash", "register-wipe"] {
        let scenario = named(name);
        let less = Bounds { rounds: 1, last: Epoch(2), ..scenario.bounds.clone() };
        let all = Bounds { inert: false, ..less.clone() };
        let [with, without] =
            [less, all].map(|bounds| search(&Scenario { bounds, ..scenario.clone() }));
        assert!(with.complete && without.complete && with.states < without.states);
        println!("{name}: {} of {}", with.states, without.states);
        for (name, judgement) in &with.properties {
            let other = &without.properties[name];
            assert_eq!(
                (judgement.verdict, judgement.steps),
                (other.verdict, other.steps),
                "{name}"
            );
        }
    }
}

#[test]
fn every_property_has_a_name_of_its_own_and_a_source() {
    for (at, it) in PROPERTIES.iter().enumerate() {
        assert!(PROPERTIES[..at].iter().all(|other| other.name != it.name));
        assert!(property(it.name).is_none(), "{}: of the other scenarios", it.name);
        assert!(!it.source.is_empty());
    }
}

/// What a scenario must see is in its own test; every property is seen by one.
#[test]
fn what_must_be_seen_is_expected_somewhere() {
    for property in PROPERTIES {
        let expects = |scenario: &Scenario| (property.promised)(&scenario.bounds);
        assert!(scenarios().iter().any(expects), "{}", property.name);
    }
}
