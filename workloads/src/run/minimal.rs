//! What is left of an invalid history when all is taken away that can be: beside the whole one.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::Path;
use std::time::Duration;

use checker::budget::Budget;
use checker::explain::minimal_in_words;
use checker::history::History;
use checker::minimize::minimize_found;
use checker::verdict::{CheckReport, Checker, Verdict};

/// The small history, as any other.
pub const HISTORY: &str = "minimal.jsonl";
/// The same in words.
pub const WORDS: &str = "minimal.txt";
/// It may take so long: the verdict waits for it.
const TIME: Duration = Duration::from_secs(20);

/// Writes into `folder` what is left for the first of the checkers that calls the history invalid; nothing,
/// if none does, or it cannot be made smaller by what it says.
///
/// # Errors
/// If it cannot be written.
pub fn write(
    checkers: &[Box<dyn Checker>],
    checks: &BTreeMap<String, CheckReport>,
    history: &History,
    folder: &Path,
) -> io::Result<()> {
    let budget = Budget { time: Some(TIME), memory: None };
    let refuted = checkers.iter().filter_map(|checker| {
        let report = checks.get(checker.name())?;
        (report.verdict() == Verdict::Invalid).then_some((checker, report))
    });
    let mut minimal = refuted
        .map(|(checker, report)| (checker, minimize_found(history, &**checker, report, &budget)));
    let Some((checker, Some(minimal))) = minimal.next() else { return Ok(()) };
    let mut lines = String::new();
    for op in minimal.history.iter() {
        lines += &(serde_json::to_string(op)? + "\n");
    }
    std::fs::write(folder.join(HISTORY), lines)?;
    let mut words = format!("{}: of {} lines", checker.name(), history.len());
    let least =
        if minimal.is_minimal { "none of which can go" } else { "as far as there was time" };
    // Writing to a string cannot fail.
    let _ = writeln!(words, " {} are left, {least}.\n", minimal.history.len());
    words += &minimal_in_words(&minimal);
    std::fs::write(folder.join(WORDS), words)
}

#[cfg(test)]
mod tests {
    use checker::history::op::{Kind, Op};
    use checker::siblings::Siblings;
    use serde_json::json;

    use super::*;

    fn put_and_got(process: u64, at: u64, value: &str, shown: &[&str]) -> Vec<Op> {
        let put = Op::invoke(process, "put").key("k").value(value).at(at);
        let get = Op::invoke(process, "get").key("k").at(at + 2);
        let got = get.completed(Kind::Ok).value(json!(shown)).at(at + 3);
        vec![put.clone(), put.completed(Kind::Ok).at(at + 1), get, got]
    }

    #[test]
    fn of_an_invalid_history_what_is_wrong_with_it_is_left_and_of_a_valid_one_nothing() {
        let siblings: [Box<dyn Checker>; 1] = [Box::new(Siblings::default())];
        let least = |second: &[&str]| {
            let ops = [put_and_got(0, 0, "a", &["a"]), put_and_got(1, 10, "b", second)].concat();
            let history = History::numbered(ops).unwrap();
            let report = siblings[0].check(&history, &Budget::UNLIMITED);
            let checks = BTreeMap::from([(siblings[0].name().to_owned(), report)]);
            let folder = tempfile::tempdir().unwrap();
            write(&siblings, &checks, &history, folder.path()).unwrap();
            History::read(folder.path().join(HISTORY))
                .ok()
                .map(|small| (small.len(), history.len()))
        };
        assert_eq!(least(&["a", "b"]), None);
        let (small, whole) = least(&["a", "b", "nobody's"]).unwrap();
        assert!(small < whole, "{small} of {whole} lines");
    }
}
