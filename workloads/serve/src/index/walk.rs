//! Where runs are: folders that hold a plan, a history or a verdict, at most three levels down.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Levels below the root: `plan/run`, and one more for who keeps several folders of results.
const DEEPEST: usize = 3;
/// The files of which a run has at least one.
const MARKS: [&str; 3] = ["verdict.json", "history.jsonl", "plan.toml"];
/// A history that was written to less long ago is of a run that goes on.
const FRESH: Duration = Duration::from_secs(20);

/// A run's folder.
#[derive(Debug)]
pub(super) struct Found {
    /// Relative to the root.
    pub path: String,
    /// Its verdict: where it lies, when it was written, and how long it is.
    pub verdict: Option<(PathBuf, SystemTime, u64)>,
    /// Was its history, or its plan, written to a moment ago?
    pub is_fresh: bool,
}

/// All runs below a folder. What cannot be read is left out; links are not followed.
pub(super) fn walk(root: &Path) -> Vec<Found> {
    let mut found = Vec::new();
    below(root, "", 0, &mut found);
    found
}

fn below(dir: &Path, path: &str, depth: usize, found: &mut Vec<Found>) {
    if depth > 0
        && let Some(run) = run(dir, path)
    {
        found.push(run);
        return;
    }
    if depth == DEEPEST {
        return;
    }
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        // A name that is no text has no address.
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            below(&entry.path(), &path, depth + 1, found);
        }
    }
}

fn run(dir: &Path, path: &str) -> Option<Found> {
    let [verdict, others @ ..] = MARKS.map(|name| dir.join(name));
    let path = path.to_owned();
    if let Ok(meta) = fs::metadata(&verdict) {
        let written = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let verdict = Some((verdict, written, meta.len()));
        return Some(Found { path, verdict, is_fresh: false });
    }
    let mut written = others.iter().filter_map(|file| fs::metadata(file).ok()?.modified().ok());
    let first = written.next()?;
    let last = written.fold(first, SystemTime::max);
    let is_fresh = last.elapsed().is_ok_and(|age| age < FRESH);
    Some(Found { path, verdict: None, is_fresh })
}
