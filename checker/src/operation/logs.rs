//! Log patterns: lines no healthy node writes. A panic that a restart hid is a finding still.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::judge::verdict::CheckReport;

/// What is looked for by default: panics and aborts of the usual runtimes, broken assertions.
pub const SUSPICIOUS: [&str; 7] = [
    "panicked at",
    "stack overflow",
    "Segmentation fault",
    "fatal runtime error",
    "memory allocation of",
    "AddressSanitizer",
    "BUG:",
];

/// As many matches are listed; all are counted.
const MOST_LISTED: usize = 100;

/// Longer lines are searched in pieces: a log may hold anything.
const LONGEST_PIECE: u64 = 1 << 16;

/// A line that matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Match {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: u64,
    /// What it says, shortened.
    pub text: String,
}

/// Searches the files for any of the patterns: invalid if one is found. A file that cannot be read
/// is unknown, as nobody can say what stands in it.
pub fn search(files: &[PathBuf], patterns: &[&str]) -> CheckReport {
    let mut matches = Vec::new();
    let mut count = 0;
    let mut unread = None;
    for file in files {
        let found = search_file(file, patterns, |found| {
            count += 1;
            if matches.len() < MOST_LISTED {
                matches.push(found);
            }
        });
        if let Err(error) = found {
            unread.get_or_insert(format!("{}: {error}", file.display()));
        }
    }
    let report = match (matches.first(), unread) {
        (Some(first), _) => {
            CheckReport::invalid(format!("{}:{}: {}", first.file.display(), first.line, first.text))
        }
        (None, Some(unread)) => CheckReport::unknown(unread),
        (None, None) => CheckReport::valid_if_judged(files.len(), "no log was given"),
    };
    report.with("files", files.len()).with("count", count).with("matches", &matches)
}

fn search_file(file: &Path, patterns: &[&str], mut found: impl FnMut(Match)) -> io::Result<()> {
    let mut reader = BufReader::new(File::open(file)?);
    let mut bytes = Vec::new();
    let mut line = 1;
    loop {
        bytes.clear();
        if reader.by_ref().take(LONGEST_PIECE).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&bytes);
        if patterns.iter().any(|pattern| text.contains(pattern)) {
            let text = text.trim().chars().take(200).collect();
            found(Match { file: file.to_owned(), line, text });
        }
        line += u64::from(bytes.ends_with(b"\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::verdict::Verdict;

    #[test]
    fn a_panic_is_found_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let (good, bad) = (dir.path().join("n1.log"), dir.path().join("n2.log"));
        std::fs::write(&good, "all is well\n\u{fffd}").unwrap();
        std::fs::write(&bad, b"fine\n\xff\xfe\nthread 'main' panicked at src/x.rs:1\n").unwrap();
        assert_eq!(search(std::slice::from_ref(&good), &SUSPICIOUS).verdict(), Verdict::Valid);
        let report = search(&[good, bad], &SUSPICIOUS);
        assert_eq!(report.verdict(), Verdict::Invalid);
        assert_eq!(report.details["matches"][0]["line"], 3);
    }

    #[test]
    fn a_missing_log_is_unknown_and_so_are_none() {
        assert_eq!(search(&[], &SUSPICIOUS).verdict(), Verdict::Unknown);
        assert_eq!(search(&["/nonexistent.log".into()], &SUSPICIOUS).verdict(), Verdict::Unknown);
    }
}
