//! A night as JUnit's XML: a test case a unit, in the class of its part of the suite.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use super::night::{Night, Standing};
use super::outcome::Found;
use super::shard::Shard;
use super::summary::{Finding, Summary};
use super::unit::{Role, Unit};

/// The report.
#[must_use]
pub(super) fn report(night: &Night, summary: &Summary) -> String {
    let head = &night.head;
    let mut suite = TestSuite::new(head.name.as_str());
    for (name, value) in [
        ("verdict", summary.verdict()),
        ("suite", &head.digest),
        ("dyno", &head.build.dyno),
        ("program", &head.build.program),
    ] {
        suite.add_property(Property::new(name, value));
    }
    for (shard, unit, standing) in night.units() {
        // What is run only if there is time is none that is missing.
        if !(unit.optional && standing == Standing::Missing) {
            suite.add_test_case(case(summary, shard, unit, standing));
        }
    }
    // A night can be unknown though none of its units is: by what it never proved, or what is not its own.
    if !matches!(summary.verdict(), "valid") {
        suite.add_test_case(whole(summary));
    }
    let mut report = Report::new(head.name.as_str());
    report.set_time(Duration::from_millis(summary.ms)).add_test_suite(suite);
    report.to_string().unwrap_or_default()
}

fn case(summary: &Summary, shard: Shard, unit: &Unit, standing: Standing<'_>) -> TestCase {
    let told = |finding: &&Finding| finding.unit == unit.id;
    let finding = summary.findings.iter().chain(&summary.doubts).find(told);
    let status = match (unit.role, standing) {
        (Role::Canary, _) if standing.is_caught() => TestCaseStatus::success(),
        (_, Standing::Missing) => not(NonSuccessKind::Error, "missing: it was not run"),
        (_, Standing::Ended(outcome)) if outcome.found == Found::Skipped => {
            let mut status = match unit.where_able {
                true => TestCaseStatus::skipped(),
                false => TestCaseStatus::non_success(NonSuccessKind::Error),
            };
            status.set_message(outcome.lacks.as_deref().unwrap_or("skipped"));
            status
        }
        (Role::Canary, _) => not(NonSuccessKind::Error, "the canary was not found invalid"),
        (_, Standing::Ended(outcome)) if outcome.found == Found::Valid => TestCaseStatus::success(),
        (_, Standing::Ended(outcome)) => {
            let kind = match outcome.found {
                Found::Invalid => NonSuccessKind::Failure,
                _ => NonSuccessKind::Error,
            };
            let first = outcome.telling().and_then(|attempt| attempt.why.first());
            not(kind, first.map_or(outcome.found.as_str(), String::as_str))
        }
        (_, Standing::Doubled(..)) => not(NonSuccessKind::Error, "it has different results"),
    };
    let mut case = TestCase::new(unit.name.as_str(), described(status, finding));
    case.set_classname(unit.part.as_str());
    case.add_property(Property::new("shard", shard.to_string()));
    case.add_property(Property::new("unit", unit.id.as_str()));
    if let Standing::Ended(outcome) = standing {
        case.set_time(Duration::from_millis(outcome.ms));
        case.add_property(Property::new("found", outcome.found.as_str()));
        case.add_property(Property::new("host", outcome.host.as_str()));
    }
    case
}

fn whole(summary: &Summary) -> TestCase {
    let kind = match summary.verdict() {
        "invalid" => NonSuccessKind::Failure,
        _ => NonSuccessKind::Error,
    };
    let first = summary.reasons.first().map_or("it is not valid", String::as_str);
    let mut status = not(kind, first);
    status.set_description(summary.reasons.join("\n"));
    let mut case = TestCase::new("the night as a whole", status);
    case.set_classname(summary.suite.as_str());
    case
}

fn not(kind: NonSuccessKind, message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(message);
    status
}

fn described(mut status: TestCaseStatus, finding: Option<&Finding>) -> TestCaseStatus {
    if let Some(Finding { why, times, runs, again, .. }) = finding {
        let why = why.join("\n");
        let text = format!("{why}\nin {times} of {runs} runs of its seed\nsee it again: {again}");
        status.set_description(text);
    }
    status
}
