//! How long units take: what is expected of those to come, from those that were run.

use std::collections::BTreeMap;
use std::time::Duration;

use super::unit::Unit;

/// Means by cell, by part, and of all.
#[derive(Debug, Default)]
pub(super) struct Pace {
    by_cell: BTreeMap<String, Mean>,
    by_part: BTreeMap<String, Mean>,
    all: Mean,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    count: u32,
    sum: Duration,
}

impl Pace {
    /// A unit took so long.
    pub(super) fn took(&mut self, unit: &Unit, ms: u64) {
        let took = Duration::from_millis(ms);
        self.by_cell.entry(unit.cell.clone()).or_default().add(took);
        self.by_part.entry(unit.part.clone()).or_default().add(took);
        self.all.add(took);
    }

    /// What a unit is expected to take; nothing is expected before one was run.
    pub(super) fn expected(&self, unit: &Unit) -> Duration {
        let cell = self.by_cell.get(&unit.cell).or_else(|| self.by_part.get(&unit.part));
        cell.unwrap_or(&self.all).mean()
    }
}

impl Mean {
    fn add(&mut self, took: Duration) {
        self.count += 1;
        self.sum += took;
    }

    fn mean(&self) -> Duration {
        self.sum / self.count.max(1)
    }
}
