//! Gathers the evidence of many searches: what is kept is not searched again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use model::{Budget, Spec};

use super::cache::{Cache, Kept};
use super::evidence::Evidence;

/// How to come by evidence.
pub struct Work<'a> {
    /// Where it is kept.
    pub cache: Option<&'a Cache>,
    /// How far each search goes.
    pub budget: Budget,
    /// How many searches go on at a time.
    pub jobs: usize,
    /// Searches nothing: what is not kept is missing.
    pub kept_only: bool,
    /// Told what goes on, a line now and then.
    pub tell: &'a (dyn Fn(&str) + Sync),
}

/// Evidence by its bounds: each search once, however many cells rest on it.
pub type Gathered = BTreeMap<String, Evidence>;

/// Between two lines of progress.
const EVERY: Duration = Duration::from_secs(2);

impl Work<'_> {
    /// The evidence of all of `specs`. One without is missing: nothing was kept, or the command was
    /// interrupted.
    ///
    /// # Errors
    /// If the core refuses a configuration, or a path of the model cannot be taken by the simulator.
    pub fn gather(&self, specs: impl IntoIterator<Item = Spec>) -> anyhow::Result<Gathered> {
        let specs: BTreeMap<String, Spec> =
            specs.into_iter().map(|spec| (spec.label(), spec)).collect();
        let mut gathered = Gathered::new();
        let mut open = Vec::new();
        for (bounds, spec) in specs {
            match self.kept(&bounds) {
                Some(evidence) => drop(gathered.insert(bounds, evidence)),
                None => open.push(spec),
            }
        }
        if !self.kept_only {
            self.search(&open, &mut gathered)?;
        }
        Ok(gathered)
    }

    /// What is kept, as long as a search now would not come further.
    fn kept(&self, bounds: &str) -> Option<Evidence> {
        match self.cache?.find(bounds) {
            Kept::Fresh(evidence) => {
                let is_enough = evidence.complete
                    || evidence.states >= self.budget.states
                    || Duration::from_secs_f64(evidence.seconds) >= self.budget.time;
                (is_enough || self.kept_only).then_some(*evidence)
            }
            Kept::Stale(evidence) => self.kept_only.then_some(*evidence),
            Kept::Nothing => None,
            Kept::Torn(why) => {
                (self.tell)(&format!("warning: evidence is left aside: {why}"));
                None
            }
        }
    }

    fn search(&self, open: &[Spec], gathered: &mut Gathered) -> anyhow::Result<()> {
        let (sender, receiver) = channel();
        let next = AtomicUsize::new(0);
        let next = &next;
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.clamp(1, open.len().max(1)) {
                let sender = sender.clone();
                scope.spawn(move || self.one_after_another(open, next, &sender));
            }
            drop(sender);
            let mut last = Instant::now();
            for (done, evidence) in (1..).zip(receiver) {
                let evidence: Evidence = evidence?;
                if last.elapsed() >= EVERY {
                    last = Instant::now();
                    (self.tell)(&format!("{done} of {} searches: {}", open.len(), evidence.bounds));
                }
                if (self.budget.stop)() && !evidence.complete {
                    continue;
                }
                self.keep(&evidence);
                gathered.insert(evidence.bounds.clone(), evidence);
            }
            Ok(())
        })
    }

    fn one_after_another(
        &self,
        open: &[Spec],
        next: &AtomicUsize,
        sender: &Sender<anyhow::Result<Evidence>>,
    ) {
        while let Some(spec) = open.get(next.fetch_add(1, Ordering::Relaxed)) {
            if (self.budget.stop)() {
                return;
            }
            let mut last = Instant::now();
            let mut progress = |progress: model::Progress| {
                if last.elapsed() >= EVERY {
                    last = Instant::now();
                    (self.tell)(&format!("{}: {progress}", spec.label()));
                }
            };
            if sender.send(Evidence::gather(spec, &self.budget, &mut progress)).is_err() {
                return;
            }
        }
    }

    fn keep(&self, evidence: &Evidence) {
        let Some(cache) = self.cache else { return };
        if let Err(error) = cache.keep(evidence) {
            (self.tell)(&format!("warning: {}: not kept: {error}", cache.folder().display()));
        }
    }
}
