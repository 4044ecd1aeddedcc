//! The model's layer: every interleaving of the script that is tried for the bug.

use std::time::{Duration, Instant};

use model::Budget;
use model::mutants::{Trial, Trialled, trials};

use super::table::Seeded;
use super::{Control, Hunt, Hunter, Layer};
use crate::simulated::cli::quietly;

/// A search keeps its states in memory, and other things run beside it.
const MEMORY: usize = 6 << 30;

/// The trials, and how long each may take.
pub(super) struct Model {
    trials: Vec<Trial>,
    budget: Budget,
}

impl Model {
    pub(super) fn new(time: Duration) -> Self {
        let budget = Budget { time, memory: MEMORY, ..Budget::NONE };
        Self { trials: trials(), budget }
    }

    fn trials<'a>(&'a self, seeded: &Seeded) -> impl Iterator<Item = &'a Trial> {
        let name = seeded.mutant.name();
        self.trials.iter().filter(move |trial| trial.mutant == name)
    }

    /// A panic of the core is a property of the model; one outside it is a fault of the model's own.
    fn run(&self, trial: &Trial) -> Result<Trialled, String> {
        quietly(|| trial.run(&self.budget)).map_err(|error| error.to_string())
    }
}

impl Hunter for Model {
    fn layer(&self) -> Layer {
        Layer::Model
    }

    fn hunt(&self, seeded: &Seeded, checks: &[&'static str]) -> Hunt {
        let mut hunt = Hunt::default();
        for trial in self.trials(seeded) {
            // Of the trial's own killers those the table names: any other is no verdict of this row.
            let (named, others): (Vec<_>, Vec<_>) =
                trial.killers.iter().copied().partition(|killer| checks.contains(killer));
            for (killers, is_named) in [(named, true), (others, false)] {
                if killers.is_empty() || hunt.killed.is_some() {
                    continue;
                }
                // A few words for each trial of a process that ends soon.
                let killers: &'static [_] = Vec::leak(killers);
                match self.run(&Trial { killers, ..trial.clone() }) {
                    Ok(found) => {
                        hunt.effort += found.states as u64;
                        hunt.failed.extend(found.killed_by.map(str::to_owned));
                        let killed = found.killed_by.filter(|_| is_named);
                        let at = format!("{} steps", found.steps);
                        hunt.killed = killed.map(|by| (by.to_owned(), at));
                    }
                    Err(error) => hunt.failed.push(error),
                }
            }
        }
        hunt
    }

    fn control(&self, rows: &[(&'static str, Seeded)]) -> Control {
        let started = Instant::now();
        let mut control = Control { effort: 0, seconds: 0.0, false_positives: Vec::new() };
        let is_wanted = |trial: &&Trial| rows.iter().any(|(_, s)| s.mutant.name() == trial.mutant);
        for trial in self.trials.iter().filter(is_wanted) {
            match self.run(trial) {
                Ok(found) => {
                    control.effort += found.states as u64;
                    let wrong =
                        found.killed_by.map(|property| format!("{}: {property}", trial.mutant));
                    control.false_positives.extend(wrong);
                }
                Err(error) => control.false_positives.push(format!("{}: {error}", trial.mutant)),
            }
        }
        control.seconds = started.elapsed().as_secs_f64();
        control
    }
}
