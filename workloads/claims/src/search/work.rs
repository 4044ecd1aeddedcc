//! Gathers the evidence of many searches: what is kept is not searched again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use model::{Budget, DynamoModel, Spec};

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

/// A family that has met so many states of hosts begins anew: they take memory.
const MOST_HOSTS: usize = 200_000;

/// Whether a search with layers of these sizes, the last one not expanded yet, will not come to its end
/// within `states`. While a layer is nearly twice as large as the one before, or more, as much again as is
/// left was in each of the searches of 3/2/2 that came to their ends: twice the layer, and more where it is
/// large. What is given up so proves as little as what is cut short.
#[must_use]
pub fn hopeless(layers: &[usize], states: usize) -> bool {
    /// From so many states on a layer is large.
    const LARGE: usize = 10_000;
    let [.., before, last] = *layers else { return false };
    let growth = last as f64 / before.max(1) as f64;
    let seen = layers.iter().sum::<usize>() as f64;
    let left = if last < LARGE { 2.0 } else { 1.6 * growth };
    growth >= 1.8 && seen + left * last as f64 > states as f64
}

/// Searches that differ in what may go wrong alone, one after the other: what a host does on an input is
/// computed once for all of them. The longest families first, so that no thread is left with one of them at
/// the end.
fn families(open: &[Spec]) -> Vec<Vec<&Spec>> {
    let mut by_name: BTreeMap<String, Vec<&Spec>> = BTreeMap::new();
    for spec in open {
        let name = Spec { faults: model::Faults::default(), ..spec.clone() }.label();
        by_name.entry(name).or_default().push(spec);
    }
    let mut families: Vec<_> = by_name.into_values().collect();
    let clients =
        |family: &Vec<&Spec>| family[0].script.clients().iter().map(Vec::len).sum::<usize>();
    families
        .sort_by_key(|family| std::cmp::Reverse((family.len() * clients(family), clients(family))));
    families
}

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
                    || evidence.bound >= self.budget.states
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
        let families = families(open);
        let families = families.as_slice();
        let (sender, receiver) = channel();
        let next = AtomicUsize::new(0);
        let next = &next;
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.clamp(1, families.len().max(1)) {
                let sender = sender.clone();
                scope.spawn(move || self.one_after_another(families, next, &sender));
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
        families: &[Vec<&Spec>],
        next: &AtomicUsize,
        sender: &Sender<anyhow::Result<Evidence>>,
    ) {
        while let Some(family) = families.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut kin: Option<DynamoModel> = None;
            for spec in family {
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
                let old = kin.take().filter(|kin| kin.hosts() < MOST_HOSTS);
                let found =
                    Evidence::gather_beside(spec, old.as_ref(), &self.budget, &mut progress);
                let sent = found.map(|(evidence, model)| {
                    kin = Some(model);
                    evidence
                });
                if sender.send(sent).is_err() {
                    return;
                }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Layers as they were seen: of two searches that came to their ends, and of one that does not.
    #[test]
    fn a_search_is_given_up_only_where_it_would_not_have_ended() {
        let whole: [&[usize]; 2] = [
            &[1, 8, 61, 371, 1917, 8065, 18846, 27933, 21923, 10210, 2495, 617, 174],
            &[
                1, 8, 95, 718, 3660, 13932, 26438, 36929, 32899, 21509, 10662, 3630, 1012, 225, 23,
                1,
            ],
        ];
        for layers in whole {
            for end in 1..=layers.len() {
                assert!(!hopeless(&layers[..end], 160_000), "{:?}", &layers[..end]);
            }
        }
        let small = [1, 8, 73, 363, 1416, 4049, 4902, 3689, 1863, 542, 120, 31, 2];
        for end in 1..=small.len() {
            assert!(!hopeless(&small[..end], 20_000), "{:?}", &small[..end]);
        }
        let open = [1, 8, 51, 326, 1881, 9115, 26690];
        assert!(hopeless(&open, 160_000) && !hopeless(&open[..6], 160_000));
        assert!(!hopeless(&open, 400_000));
    }
}
