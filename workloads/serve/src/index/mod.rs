//! Which runs there are and what each found: read once, and again only what was written since.

mod run;
mod walk;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

pub(crate) use run::{Run, State};

use crate::root::Root;
use walk::{Found, walk};

/// The folder is not looked through more often than this.
const EVERY: Duration = Duration::from_secs(1);

/// All runs at one time, the latest first.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    /// The runs.
    pub all: Vec<Arc<Run>>,
    places: HashMap<String, usize>,
}

impl Runs {
    /// The run in a folder.
    pub(crate) fn get(&self, path: &str) -> Option<&Arc<Run>> {
        self.places.get(path).map(|at| &self.all[*at])
    }

    #[cfg(test)]
    pub(crate) fn of(runs: Vec<Run>) -> Self {
        Self::sorted(runs.into_iter().map(Arc::new).collect())
    }

    fn sorted(mut all: Vec<Arc<Run>>) -> Self {
        all.sort_by_cached_key(|run| std::cmp::Reverse((run.when(), run.path.clone())));
        let places = all.iter().enumerate().map(|(at, run)| (run.path.clone(), at)).collect();
        Self { all, places }
    }
}

/// When a verdict was written, and how long it is: one that has changed has other ones.
type Stamp = (SystemTime, u64);

#[derive(Default)]
struct Cache {
    read: HashMap<String, (Stamp, Arc<Run>)>,
    runs: Arc<Runs>,
    looked: Option<Instant>,
}

/// The index of a folder.
pub(crate) struct Index {
    root: Root,
    cache: Mutex<Cache>,
}

impl Index {
    /// Of a folder; nothing is read yet.
    pub(crate) fn new(root: Root) -> Self {
        Self { root, cache: Mutex::default() }
    }

    /// The runs there are, or were a second ago. Reads files: not for a thread that serves.
    pub(crate) fn runs(&self) -> Arc<Runs> {
        let mut cache = self.cache.lock().expect("no one panics with the lock held");
        if cache.looked.is_none_or(|looked| looked.elapsed() >= EVERY) {
            cache.look(&self.root);
            cache.looked = Some(Instant::now());
        }
        cache.runs.clone()
    }
}

impl Cache {
    fn look(&mut self, root: &Root) {
        let mut before = std::mem::take(&mut self.read);
        let mut all = Vec::new();
        for Found { path, verdict, is_fresh } in walk(root.dir()) {
            let Some((file, written, length)) = verdict else {
                let state = if is_fresh { State::Running } else { State::Ended };
                all.push(Arc::new(Run::without_verdict(&path, state, None)));
                continue;
            };
            let stamp = (written, length);
            let known = before.remove(&path).filter(|(of, _)| *of == stamp);
            let run = known.map_or_else(|| Arc::new(Run::read(&path, &file)), |(_, run)| run);
            self.read.insert(path, (stamp, run.clone()));
            all.push(run);
        }
        self.runs = Arc::new(Runs::sorted(all));
    }
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
