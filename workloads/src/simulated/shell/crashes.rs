//! Every point in the work of disks at which power can go, one after the other instead of drawn.
//!
//! ```text
//! seed -> Setup, a short run without any trouble: what disks did, operation by operation
//!         -> for each operation, each `When`, one machine or all: the same run with a power cut there
//! ```
//!
//! A run that is cut is like the first one until then, so every operation is reached. What comes after is
//! judged as every run of whole nodes is: nothing that was acknowledged may be missing when power is back.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::time::Instant;

use dynamo_node::simulation::{Point, When, Work};
use serde::Serialize;

use super::run::{Harm, Outcome, run_with};
use super::setup::Setup;
use crate::simulated::batch::{Failure, cpu_seconds};
use crate::simulated::run::Violation;
use crate::simulated::seeds::each;

/// Whose power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Machines {
    /// That of the machine whose disk is at work.
    One,
    /// That of all at once.
    All,
}

impl Machines {
    const BOTH: [Self; 2] = [Self::One, Self::All];
}

/// A power cut: where, and of whom. Written as in `17/torn/all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// In the work of all disks.
    pub point: Point,
    /// Whose power goes.
    pub machines: Machines,
}

impl Cut {
    fn all_of(operation: u64) -> impl Iterator<Item = Self> {
        let point = move |when| Point { operation, when };
        When::ALL.into_iter().flat_map(move |when| {
            Machines::BOTH.map(|machines| Self { point: point(when), machines })
        })
    }

    fn row(self, work: Work) -> String {
        format!(
            "{} {} {}",
            work_word(work),
            when_word(self.point.when),
            machines_word(self.machines)
        )
    }
}

fn work_word(work: Work) -> &'static str {
    match work {
        Work::Commit => "commit",
        Work::Buffered => "buffered-commit",
        Work::Sync => "sync",
    }
}

fn when_word(when: When) -> &'static str {
    match when {
        When::Before => "before",
        When::Unsynced => "unsynced",
        When::Torn => "torn",
        When::After => "after",
    }
}

fn machines_word(machines: Machines) -> &'static str {
    match machines {
        Machines::One => "one",
        Machines::All => "all",
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Point { operation, when } = self.point;
        write!(f, "{operation}/{}/{}", when_word(when), machines_word(self.machines))
    }
}

impl FromStr for Cut {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no point: write OPERATION/before|unsynced|torn|after/one|all, as in 17/torn/all"
            )
        };
        let mut parts = text.split('/');
        let (operation, when, machines) = (parts.next(), parts.next(), parts.next());
        let operation = operation.and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
        let when = When::ALL.into_iter().find(|it| when == Some(when_word(*it)));
        let machines = Machines::BOTH.into_iter().find(|it| machines == Some(machines_word(*it)));
        let point = Point { operation, when: when.ok_or_else(wrong)? };
        match parts.next() {
            None => Ok(Self { point, machines: machines.ok_or_else(wrong)? }),
            Some(_) => Err(wrong()),
        }
    }
}

/// Which points of each seed are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those of every so manieth operation; with 1, of all.
    Every(u64),
    /// One alone.
    Only(Cut),
}

/// What the seeds found together.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Swept {
    /// How many seeds were run.
    pub seeds: u64,
    /// How many were not, since the run was stopped.
    pub left_out: u64,
    /// At how many points power went.
    pub points: u64,
    /// At how many it was to go and never did: two runs of a seed went different ways.
    pub unreached: u64,
    /// How often for each kind of work, how far it had come, and whose power went.
    pub rows: BTreeMap<String, u64>,
    /// Of these none.
    pub never: Vec<String>,
    /// Writes that were acknowledged in runs with a power cut.
    pub acknowledged: u64,
    /// In the order of their seeds.
    pub violations: Vec<Failure>,
    /// Points of which a check could not tell, and why.
    pub unknown: Vec<Failure>,
    /// Virtual time.
    pub simulated_seconds: f64,
    /// Time it took.
    pub wall_seconds: f64,
    /// Time it took of all processors; 0 where the system does not tell.
    pub cpu_seconds: f64,
}

/// Runs them, so many at a time, or until `stop` says so, which is asked after every run: a seed of which
/// points are left then counts as left out. What each found is `told`.
pub fn sweep(
    seeds: Range<u64>,
    which: Which,
    jobs: usize,
    stop: impl Fn() -> bool + Sync,
    told: impl Fn(u64, &Swept) + Sync,
) -> Swept {
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let mut all = Swept::default();
    let take = |seed, swept: Swept| {
        told(seed, &swept);
        all.add(swept);
        stop()
    };
    each(&seeds, jobs, |seed| of_seed(seed, which, &stop), take);
    all.left_out = seeds.end - seeds.start - all.seeds;
    (all.wall_seconds, all.cpu_seconds) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    if let Which::Every(_) = which {
        let cuts = Cut::all_of(0);
        let rows = cuts
            .flat_map(|cut| [Work::Commit, Work::Buffered, Work::Sync].map(|work| cut.row(work)));
        all.never = rows.filter(|row| !all.rows.contains_key(row)).collect();
    }
    all.violations.sort_by_key(|failure| failure.seed);
    all.unknown.sort_by_key(|failure| failure.seed);
    all
}

fn of_seed(seed: u64, which: Which, stop: &impl Fn() -> bool) -> Swept {
    let setup = Setup::brief(seed);
    let whole = run_with(&setup, seed, Harm::Nothing);
    let mut swept = Swept { seeds: 1, ..Swept::default() };
    swept.take(seed, None, &whole);
    let work = &whole.disk_work;
    let cuts: Vec<_> = match which {
        Which::Every(step) => {
            let operations =
                (0..work.len() as u64).step_by(usize::try_from(step.max(1)).unwrap_or(1));
            operations.flat_map(Cut::all_of).collect()
        }
        Which::Only(cut) => vec![cut],
    };
    for cut in cuts {
        if stop() {
            swept.seeds = 0;
            break;
        }
        let outcome = run_with(&setup, seed, Harm::Power(cut));
        swept.take(seed, Some(cut), &outcome);
        let at = usize::try_from(cut.point.operation).ok();
        match at.and_then(|at| work.get(at).zip(outcome.disk_work.get(at))) {
            Some((before, now)) if before == now => {
                *swept.rows.entry(cut.row(*now)).or_default() += 1;
                swept.points += 1;
            }
            // A panic, or another violation, may well have come before it.
            _ if !outcome.violations.is_empty() => {}
            _ => {
                let what = format!(
                    "no such operation: without a power cut disks did {} before power was back for good",
                    work.len()
                );
                let not_reached = Violation::new("harness", what);
                swept.unknown.push(failure(seed, Some(cut), not_reached));
                swept.unreached += 1;
            }
        }
    }
    swept
}

fn failure(seed: u64, cut: Option<Cut>, violation: Violation) -> Failure {
    let point = cut.map(|cut| format!(" --point {cut}")).unwrap_or_default();
    let again = format!("dyno sim --shell --crashes --seeds {seed}{point}");
    Failure { seed, check: violation.check, what: violation.what, again }
}

impl Swept {
    fn take(&mut self, seed: u64, cut: Option<Cut>, outcome: &Outcome) {
        self.simulated_seconds += outcome.simulated.as_secs_f64();
        let failures = |all: &[Violation]| {
            all.iter().cloned().map(|it| failure(seed, cut, it)).collect::<Vec<_>>()
        };
        self.violations.extend(failures(&outcome.violations));
        self.unknown.extend(failures(&outcome.unknown));
        if cut.is_some() {
            let happened = &outcome.coverage;
            self.acknowledged += happened.puts + happened.blind_puts + happened.deletes;
        }
    }

    fn add(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.points += other.points;
        self.unreached += other.unreached;
        self.acknowledged += other.acknowledged;
        self.simulated_seconds += other.simulated_seconds;
        self.violations.extend(other.violations);
        self.unknown.extend(other.unknown);
        for (row, count) in other.rows {
            *self.rows.entry(row).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_read_as_it_is_written() {
        for cut in Cut::all_of(17) {
            assert_eq!(cut.to_string().parse(), Ok(cut));
        }
        assert_eq!(Cut::all_of(0).count(), 8);
        for text in
            ["", "17", "17/torn", "x/torn/all", "17/torn/some", "17/torn/all/", "-1/torn/all"]
        {
            assert!(text.parse::<Cut>().unwrap_err().contains("as in 17/torn/all"), "{text}");
        }
    }
}
