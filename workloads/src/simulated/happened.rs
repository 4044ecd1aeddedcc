//! What happened in drawn seeds, and what they were drawn for: what never happened was not tried.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use dynamo_protocol::{Quorum, ReadMode, Versioning};
use serde::Serialize;

use super::churn;
use super::run::Outcome;
use super::scenario::Scenario;
use super::weather;

/// Of so many seeds each row has happened, or something is wrong with the seeds.
pub(super) const ENOUGH: u64 = 500;

/// What is counted over all seeds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Happened {
    /// How often what happened.
    pub rows: BTreeMap<&'static str, u64>,
    /// How many seeds had a fault of a kind on a cluster of a quorum, a versioning and a read mode.
    pub cells: BTreeMap<String, u64>,
}

/// What a seed is drawn for, once for each kind of fault that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    quorum: Quorum,
    versioning: Versioning,
    read: ReadMode,
    fault: &'static str,
}

impl Cell {
    /// Those of a scenario.
    fn of(scenario: &Scenario) -> impl Iterator<Item = Self> + '_ {
        let settings = &scenario.cluster.settings;
        let (quorum, versioning, read) = (settings.quorum, settings.versioning, settings.read);
        scenario.kinds.iter().map(move |fault| Self { quorum, versioning, read, fault })
    }

    /// All that there are.
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for quorum in [Quorum::Sloppy, Quorum::Strict] {
            for versioning in [Versioning::Dotted, Versioning::Lww, Versioning::Paper] {
                for read in [ReadMode::Plain, ReadMode::Atomic] {
                    let kinds = weather::kinds().chain([churn::NAME]);
                    let possible = kinds.filter(|kind| weather::is_possible(versioning, kind));
                    all.extend(possible.map(|fault| Self { quorum, versioning, read, fault }));
                }
            }
        }
        all
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { quorum, versioning, read, fault } = self;
        let name = |of: &dyn fmt::Debug| format!("{of:?}").to_lowercase();
        write!(f, "{} {} {} {fault}", name(quorum), name(versioning), name(read))
    }
}

impl Happened {
    /// Nothing yet; every row and every cell is there.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            rows: rows(&Outcome::default()).into_iter().collect(),
            cells: Cell::all().iter().map(|cell| (cell.to_string(), 0)).collect(),
        }
    }

    /// Adds what happened in a seed.
    pub fn add(&mut self, scenario: &Scenario, outcome: &Outcome) {
        for (row, count) in rows(outcome) {
            *self.rows.entry(row).or_default() += count;
        }
        for cell in Cell::of(scenario) {
            *self.cells.entry(cell.to_string()).or_default() += 1;
        }
    }

    /// The rows of what never happened.
    #[must_use]
    pub fn never(&self) -> BTreeSet<&'static str> {
        self.rows.iter().filter(|(_, count)| **count == 0).map(|(row, _)| *row).collect()
    }

    /// Whether every cell has had a seed.
    #[must_use]
    pub fn is_drawn(&self) -> bool {
        self.cells.values().all(|seeds| *seeds > 0)
    }

    /// Whether everything has happened, and every cell has had a seed.
    #[must_use]
    pub fn is_covered(&self) -> bool {
        self.never().is_empty() && self.is_drawn()
    }

    /// The cells in words: how many have had a seed, and which has had the fewest.
    #[must_use]
    pub fn cells_in_words(&self) -> String {
        let drawn = self.cells.values().filter(|seeds| **seeds > 0).count();
        let rarest = self.cells.iter().min_by_key(|(_, seeds)| **seeds);
        let rarest = rarest.map(|(cell, seeds)| format!("; the rarest, {cell}: {seeds} seeds"));
        format!(
            "cells of quorum, versioning, read and fault: {drawn} of {} drawn{}",
            self.cells.len(),
            rarest.unwrap_or_default()
        )
    }
}

/// What happened in a seed.
fn rows(outcome: &Outcome) -> [(&'static str, u64); 18] {
    let (nodes, clients, met) = (&outcome.counters, &outcome.counts, &outcome.met);
    [
        ("hints stored", nodes.hints_stored),
        ("hints delivered", nodes.hints_delivered),
        ("hints adopted", nodes.hints_adopted),
        ("homes repaired by gets", nodes.read_repairs),
        ("keys synced", nodes.keys_synced),
        ("memberships taken up", nodes.epochs),
        ("strays dropped", nodes.strays_dropped),
        ("tombstones collected", nodes.tombstones_dropped),
        ("requests forwarded", nodes.forwarded),
        ("peers suspected", nodes.suspicions),
        ("messages discarded", nodes.discarded),
        ("records not to be used", nodes.store_failures),
        ("rollbacks noticed", nodes.rolled_back),
        ("changes lost by crashes", nodes.changes_lost),
        ("requests refused", clients.fail),
        ("requests without an answer", clients.info),
        ("gets that showed siblings", met.siblings_shown),
        ("writes beside another of their key", met.rival_writes),
    ]
}
