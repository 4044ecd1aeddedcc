//! Runs many checkers over one history. None of them can take the others down.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::history::History;
use crate::judge::budget::Budget;
use crate::judge::verdict::{CheckReport, Checker, Verdict};

/// Runs every checker, each within the budget, on as many threads as there are cores. A checker
/// that panics is `unknown`; the name of each leads to its report, which says how long it took (`seconds`).
///
/// # Panics
///
/// When two checkers have one name: a report would be lost.
pub fn compose(
    checkers: &[&dyn Checker],
    history: &History,
    budget: &Budget,
) -> BTreeMap<String, CheckReport> {
    let next = AtomicUsize::new(0);
    let reports = Mutex::new(BTreeMap::new());
    let work = || {
        while let Some(checker) = checkers.get(next.fetch_add(1, Ordering::Relaxed)) {
            let started = Instant::now();
            let report = check_safe(*checker, history, budget);
            let report = report.with("seconds", started.elapsed().as_secs_f64());
            let mut reports = reports.lock().expect("no one panics with the lock held");
            let before = reports.insert(checker.name().to_owned(), report);
            drop(reports);
            assert!(before.is_none(), "two checkers are named {}", checker.name());
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores.min(checkers.len()) {
            scope.spawn(work);
        }
    });
    reports.into_inner().expect("every thread has ended well")
}

/// The verdict of all the reports together; unknown where there are none.
pub fn verdict(reports: &BTreeMap<String, CheckReport>) -> Verdict {
    Verdict::all(reports.values().map(CheckReport::verdict))
}

/// Runs one checker; a panic in it is `unknown`.
pub fn check_safe(checker: &dyn Checker, history: &History, budget: &Budget) -> CheckReport {
    // The checker is not used again and the history is read only: nothing half-done is seen.
    let outcome = catch_unwind(AssertUnwindSafe(|| checker.check(history, budget)));
    outcome.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<&str>().copied().map(str::to_owned);
        let said = said.or_else(|| panic.downcast_ref::<String>().cloned());
        let said = said.unwrap_or_else(|| "no message".to_owned());
        CheckReport::unknown(format!("the checker {} broke: {said}", checker.name()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Says(&'static str, Option<Verdict>);

    impl Checker for Says {
        fn name(&self) -> &str {
            self.0
        }

        fn check(&self, _: &History, _: &Budget) -> CheckReport {
            match self.1.expect("asked to break") {
                Verdict::Valid => CheckReport::valid_if_judged(1, ""),
                Verdict::Unknown => CheckReport::unknown(""),
                Verdict::Invalid => CheckReport::invalid(""),
            }
        }
    }

    #[test]
    fn a_broken_checker_is_unknown_and_the_others_still_answer() {
        let checkers: [&dyn Checker; 3] = [
            &Says("a", Some(Verdict::Valid)),
            &Says("b", None),
            &Says("c", Some(Verdict::Invalid)),
        ];
        let reports = compose(&checkers, &History::default(), &Budget::UNLIMITED);
        assert_eq!(reports["a"].verdict(), Verdict::Valid);
        assert_eq!(reports["b"].verdict(), Verdict::Unknown);
        assert!(reports["b"].reason.as_ref().unwrap().contains("asked to break"));
        assert_eq!(verdict(&reports), Verdict::Invalid);
    }

    #[test]
    fn without_checkers_there_are_no_reports_and_nothing_is_known() {
        let none = compose(&[], &History::default(), &Budget::UNLIMITED);
        assert!(none.is_empty());
        assert_eq!(verdict(&none), Verdict::Unknown);
    }
}
