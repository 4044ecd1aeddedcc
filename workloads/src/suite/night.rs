//! A night: what became of the units of all shards, joined in any order, any number of times.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::expand::Expanded;
use super::outcome::{Found, Outcome};
use super::shard::Shard;
use super::unit::{Build, Role, Unit};

/// What is run: the same for all shards of a night, or they are not of one night.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Of this document's form.
    pub schema: u32,
    /// The suite's name.
    pub name: String,
    /// What it is a suite of.
    pub digest: String,
    /// The program that runs it.
    pub build: Build,
    /// How many shards there are.
    pub shards: u32,
    /// All units, each with its shard.
    pub units: Vec<(Shard, Unit)>,
}

/// What is known of a night.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Night {
    /// What was to be run.
    pub head: Head,
    /// Of which shard alone, if of one.
    pub only: Option<Shard>,
    /// Where in the head's list a unit stands, by its id.
    ids: BTreeMap<String, usize>,
    /// By unit all that became of it, each told once, by its text.
    outcomes: BTreeMap<String, BTreeMap<String, Outcome>>,
    /// Where a unit lies: of several places the first by name.
    places: BTreeMap<String, PathBuf>,
    /// What is sealed where it does not belong.
    strangers: BTreeSet<String>,
}

/// What counts of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing<'a> {
    /// Nothing became of it.
    Missing,
    /// It was run more than once, with these two results.
    Doubled(&'a Outcome, &'a Outcome),
    /// This was found, or it was skipped.
    Ended(&'a Outcome),
}

impl Head {
    /// Of a suite that is cut into so many shards.
    #[must_use]
    pub fn of(suite: &Expanded, total: u32) -> Self {
        let of_shard = |(units, index): (Vec<_>, u32)| {
            let shard = Shard::new(index, total).unwrap_or(Shard::WHOLE);
            units.into_iter().map(move |(unit, _)| (shard, unit))
        };
        let units = suite.shards(total).into_iter().zip(1..).flat_map(of_shard).collect();
        let Expanded { name, digest, build, .. } = suite.clone();
        Self { schema: 1, name, digest, build, shards: total, units }
    }

    /// Why the two are not of one night, if they are not.
    #[must_use]
    pub fn differs(&self, other: &Self) -> Option<String> {
        if self.digest != other.digest {
            let suite = |head: &Self| format!("{} ({})", head.name, head.digest);
            return Some(format!("it is of the suite {}, not {}", suite(self), suite(other)));
        }
        if self.build != other.build {
            let (ours, theirs) = (&self.build.program, &other.build.program);
            return Some(format!("it was run by another build of dyno: {ours}, not {theirs}"));
        }
        if self.shards != other.shards {
            return Some(format!("it is of {} shards, not {}", self.shards, other.shards));
        }
        (self != other).then(|| "its list of units is another".to_owned())
    }
}

impl Night {
    /// One of which nothing is known yet; `only` one of its shards, if it is about one.
    #[must_use]
    pub fn of(head: Head, only: Option<Shard>) -> Self {
        let (outcomes, places) = (BTreeMap::new(), BTreeMap::new());
        let units = head.units.iter().enumerate();
        let ids = units.map(|(at, (_, unit))| (unit.id.clone(), at)).collect();
        Self { head, only, ids, outcomes, places, strangers: BTreeSet::new() }
    }

    /// Adds what became of a unit, and where it lies.
    pub fn add(&mut self, outcome: Outcome, place: &Path) {
        let id = outcome.unit.id.clone();
        let known = self.ids.get(&id).map(|at| &self.head.units[*at].1);
        let belongs = known == Some(&outcome.unit);
        if !belongs || outcome.suite != self.head.digest || outcome.build != self.head.build {
            self.strangers.insert(format!("{}: it is of another suite or build", place.display()));
            return;
        }
        self.outcomes.entry(id.clone()).or_default().insert(outcome.to_json(), outcome);
        let known = self.places.entry(id).or_insert_with(|| place.to_owned());
        if *place < **known {
            place.clone_into(known);
        }
    }

    /// Adds all that another one knows.
    ///
    /// # Errors
    /// If it is another night.
    pub fn join(&mut self, other: &Self) -> Result<(), String> {
        if let Some(why) = other.head.differs(&self.head) {
            return Err(why);
        }
        for outcomes in other.outcomes.values() {
            for outcome in outcomes.values() {
                let place = other.place(&outcome.unit.id);
                self.add(outcome.clone(), place);
            }
        }
        self.strangers.extend(other.strangers.iter().cloned());
        if self.only != other.only {
            self.only = None;
        }
        Ok(())
    }

    /// The units that it is about, in their order, each with its shard and what counts of it.
    pub fn units(&self) -> impl Iterator<Item = (Shard, &Unit, Standing<'_>)> {
        let is_about = |shard: Shard| self.only.is_none_or(|only| only == shard);
        let all = self.head.units.iter().filter(move |(shard, _)| is_about(*shard));
        all.map(|(shard, unit)| (*shard, unit, self.standing(&unit.id)))
    }

    /// What counts of a unit. Invalid once is invalid; a skipped one that was run elsewhere was run.
    #[must_use]
    pub fn standing(&self, id: &str) -> Standing<'_> {
        let all = || self.outcomes.get(id).into_iter().flat_map(BTreeMap::values);
        let run = || all().filter(|outcome| outcome.found != Found::Skipped);
        if let Some(invalid) = run().find(|outcome| outcome.found == Found::Invalid) {
            return Standing::Ended(invalid);
        }
        let Some(first) = run().next() else {
            return all().next().map_or(Standing::Missing, Standing::Ended);
        };
        let other = run().find(|outcome| outcome.found != first.found);
        other.map_or(Standing::Ended(first), |other| Standing::Doubled(first, other))
    }

    /// Where a unit lies, if it does.
    #[must_use]
    pub fn place(&self, id: &str) -> &Path {
        self.places.get(id).map_or(Path::new(""), PathBuf::as_path)
    }

    /// What is sealed where it does not belong.
    pub fn strangers(&self) -> impl Iterator<Item = &String> {
        self.strangers.iter()
    }

    /// Whether all of a shard that has to be run was run.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let is_there = |(_, unit, standing): (Shard, &Unit, Standing<'_>)| {
            unit.optional || standing != Standing::Missing
        };
        self.units().all(is_there)
    }
}

impl Standing<'_> {
    /// Whether a canary did what it is there for.
    #[must_use]
    pub fn is_caught(&self) -> bool {
        matches!(self, Self::Ended(outcome)
            if outcome.unit.role == Role::Canary && outcome.found == Found::Invalid)
    }
}
