//! The simulator's layer: seeds until one of the checks fails.

use std::collections::BTreeSet;
use std::time::Instant;

use super::table::Seeded;
use super::{Control, Hunt, Hunter, Layer};
use crate::simulated::batch::{Batch, Failed};
use crate::simulated::cli::quietly;

/// How many seeds each bug gets, and how many at a time.
pub(super) struct Sim {
    pub(super) seeds: u64,
    pub(super) jobs: usize,
}

impl Sim {
    fn batch(&self) -> Batch {
        Batch { seeds: 0..self.seeds, plan: None, cuts: false, jobs: self.jobs }
    }
}

impl Hunter for Sim {
    fn layer(&self) -> Layer {
        Layer::Sim
    }

    fn hunt(&self, seeded: &Seeded, checks: &[&'static str]) -> Hunt {
        if seeded.expected(Layer::Sim) == '-' {
            return Hunt::default();
        }
        let is_named = |name: &String| checks.contains(&name.as_str());
        let (found, failed) = quietly(|| {
            let batch = self.batch();
            batch.run(|_, run| run.violations.iter().flat_map(|v| v.names()).any(|n| is_named(&n)))
        });
        let killed = failed.iter().find_map(|failed| {
            let by = names(failed).into_iter().find(is_named)?;
            Some((by, format!("seed {}", failed.seed)))
        });
        let all: BTreeSet<_> = failed.iter().flat_map(names).collect();
        Hunt { killed, failed: all.into_iter().collect(), effort: found.seeds }
    }

    fn control(&self, _: &[(&'static str, Seeded)]) -> Control {
        let started = Instant::now();
        let (found, failed) = quietly(|| self.batch().run(|_, _| false));
        let told = |failed: &Failed| format!("seed {}: {}", failed.seed, names(failed).join(", "));
        Control {
            effort: found.seeds,
            seconds: started.elapsed().as_secs_f64(),
            false_positives: failed.iter().map(told).collect(),
        }
    }
}

/// What the seed broke, rule by rule.
fn names(failed: &Failed) -> Vec<String> {
    failed.violations.iter().flat_map(|violation| violation.names()).collect()
}
