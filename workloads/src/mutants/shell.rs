//! The layer of whole nodes under virtual time: seeds until one of the checks fails.

use std::collections::BTreeSet;
use std::time::Instant;

use super::table::Seeded;
use super::{Control, Hunt, Hunter, Layer};
use crate::simulated::batch::Failed;
use crate::simulated::cli::quietly;
use crate::simulated::shell::batch::batch;

/// How many seeds each bug gets, and how many at a time.
pub(super) struct Shell {
    pub(super) seeds: u64,
    pub(super) jobs: usize,
}

impl Hunter for Shell {
    fn layer(&self) -> Layer {
        Layer::Shell
    }

    fn hunt(&self, seeded: &Seeded, checks: &[&'static str]) -> Hunt {
        if seeded.expected(Layer::Shell) == '-' {
            return Hunt::default();
        }
        let is_named = |name: &String| checks.contains(&name.as_str());
        let (found, failed) = quietly(|| {
            batch(0..self.seeds, self.jobs, |_, run| {
                run.violations.iter().flat_map(|it| it.names()).any(|name| is_named(&name))
            })
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
        let (found, failed) = quietly(|| batch(0..self.seeds, self.jobs, |_, _| false));
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
