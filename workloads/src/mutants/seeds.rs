//! The layers of simulated clusters, of cores and of whole nodes: seeds until one of the checks fails.

use std::collections::BTreeSet;
use std::time::Instant;

use dynamo_protocol::Versioning;

use super::table::Seeded;
use super::{Control, Hunt, Hunter, Layer};
use crate::simulated::batch::{Batch, Failed};
use crate::simulated::cli::quietly;
use crate::simulated::run::Violation;
use crate::simulated::shell;

/// How many seeds each bug gets, and how many at a time.
pub(super) struct Seeds {
    pub(super) of: Of,
    pub(super) seeds: u64,
    pub(super) jobs: usize,
}

/// What a seed runs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Of {
    Cores,
    WholeNodes,
}

impl Seeds {
    /// How many seeds were run, until `stop` says so of what one has broken; and what failed.
    fn run(&self, stop: impl Fn(&[Violation]) -> bool + Sync) -> (u64, Vec<Failed>) {
        let (seeds, jobs) = (0..self.seeds, self.jobs);
        quietly(|| match self.of {
            Of::Cores => {
                let batch = Batch { seeds, plan: None, cuts: false, jobs, until_covered: false };
                let (found, failed) = batch.run(|_, run| stop(&run.violations));
                (found.seeds, failed)
            }
            Of::WholeNodes => {
                let (found, failed) =
                    shell::batch::batch((seeds, Versioning::Dotted), jobs, |_, run| {
                        stop(&run.violations)
                    });
                (found.seeds, failed)
            }
        })
    }
}

impl Hunter for Seeds {
    fn layer(&self) -> Layer {
        match self.of {
            Of::Cores => Layer::Sim,
            Of::WholeNodes => Layer::Shell,
        }
    }

    fn hunt(&self, seeded: &Seeded, checks: &[&'static str]) -> Hunt {
        if seeded.expected(self.layer()) == '-' {
            return Hunt::default();
        }
        let is_named = |name: &String| checks.contains(&name.as_str());
        let (seeds, failed) =
            self.run(|broken| broken.iter().flat_map(|it| it.names()).any(|name| is_named(&name)));
        let killed = failed.iter().find_map(|failed| {
            let by = names(failed).into_iter().find(is_named)?;
            Some((by, format!("seed {}", failed.seed)))
        });
        let all: BTreeSet<_> = failed.iter().flat_map(names).collect();
        Hunt { killed, failed: all.into_iter().collect(), effort: seeds }
    }

    fn control(&self, _: &[(&'static str, Seeded)]) -> Control {
        let started = Instant::now();
        let (seeds, failed) = self.run(|_| false);
        let told = |failed: &Failed| format!("seed {}: {}", failed.seed, names(failed).join(", "));
        Control {
            effort: seeds,
            seconds: started.elapsed().as_secs_f64(),
            false_positives: failed.iter().map(told).collect(),
        }
    }
}

/// What the seed broke, rule by rule.
fn names(failed: &Failed) -> Vec<String> {
    failed.violations.iter().flat_map(|violation| violation.names()).collect()
}
