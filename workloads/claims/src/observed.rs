//! What runs told of a setting: how stale gets were, and which promises were broken. A table takes it in: it
//! never makes anything proven, and what it contradicts is said loudly.

use std::collections::BTreeMap;

use crate::cells::cell::{Cell, Known, Measured};
use crate::cells::table::{Contradiction, Table};
use crate::column::Column;
use crate::pbs::wilson;
use crate::property::Property;
use crate::setting::Setting;

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// Its folder.
    pub name: String,
    /// The cluster it was of.
    pub setting: Setting,
    /// Under virtual time.
    pub is_simulated: bool,
    /// What went wrong in it; None if no column has just that.
    pub column: Option<Column>,
    /// What went wrong, how often, in words.
    pub faults: String,
    /// Its faults took effect, and the run itself worked.
    pub is_covered: bool,
    /// Gets that were fresh, of those that began so many ms after a put of their key was acknowledged.
    pub fresh: Vec<Fresh>,
    /// Gets that missed fewer than so many acknowledged puts.
    pub within: Vec<Within>,
    /// What was broken, how often.
    pub broken: BTreeMap<Property, u64>,
}

/// Gets at a wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fresh {
    /// The wait, in ms.
    pub t_ms: f64,
    /// Those that showed all that was acknowledged that long before.
    pub good: u64,
    /// All that had something to show.
    pub all: u64,
    /// What was predicted, summed over these gets: the least and the most of several predictions.
    pub predicted: Option<[f64; 2]>,
}

/// Gets within versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Within {
    /// How many puts.
    pub k: u32,
    /// Those that missed fewer.
    pub good: u64,
    /// All that had something to show.
    pub all: u64,
}

/// Simulated runs of a setting, of one plan and many seeds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seeded {
    /// How many seeds.
    pub seeds: u64,
    /// Memberships that nodes entered in all of them.
    pub epochs: u64,
    /// Gets that began after an acknowledgement, in all of them.
    pub gets: u64,
    /// In how many seeds each was broken, and the first of them.
    pub broken: BTreeMap<Property, (u64, u64)>,
    /// The command that runs one of them, but for its seed.
    pub again: String,
}

/// What such runs tell of a property: the others they do not look at.
const SEEN: [Property; 6] = [
    Property::NoLostAck,
    Property::Fresh,
    Property::ReadYourWrites,
    Property::MonotonicReads,
    Property::NoResurrection,
    Property::OneSibling,
];

/// Waits that are told where nobody asks for another, in ms.
pub const WAITS: [f64; 2] = [0.0, 10.0];
/// Puts that are told.
pub const PUTS: [u32; 2] = [1, 2];

impl Column {
    /// The column of what went wrong in a run, of these kinds; none if no column has just that.
    #[must_use]
    pub fn of_kinds(kinds: &[Self]) -> Option<Self> {
        let mut kinds: Vec<_> = kinds.iter().copied().filter(|kind| *kind != Self::None).collect();
        kinds.sort_unstable();
        kinds.dedup();
        match kinds[..] {
            [] => Some(Self::None),
            [one] => Some(one),
            [Self::SlowLink, Self::Pause] => Some(Self::Pause),
            [Self::Crash, Self::Partition] => Some(Self::TwoAtOnce),
            _ => None,
        }
    }
}

impl Table {
    /// Takes in what runs told; what of it cannot be if the table is right.
    pub fn observe(&mut self, runs: &[Observed]) -> Vec<Contradiction> {
        let own: Vec<_> = runs.iter().filter(|run| run.setting == self.setting).collect();
        for column in Column::ALL {
            let of_column = own.iter().filter(|run| run.is_covered && run.column == Some(*column));
            let of_column: Vec<_> = of_column.copied().collect();
            self.measured(Property::TStale, *column, fresh(&of_column));
            self.measured(Property::KStale, *column, within(&of_column, &self.setting));
        }
        own.iter().flat_map(|run| self.contradicted(run)).collect()
    }

    /// Takes in what seeds of a column told: where nothing else is known, how many found nothing, or the
    /// first that did; and what of it cannot be if the table is right.
    pub fn seeded(&mut self, column: Column, seeded: &Seeded) -> Vec<Contradiction> {
        let mut against = Vec::new();
        // Where no ring changed, or nobody read, nothing was tried.
        if seeded.seeds == 0 || seeded.epochs == 0 || seeded.gets == 0 {
            return against;
        }
        for property in SEEN {
            let setting = self.setting;
            let place =
                self.cells.iter().position(|it| (it.property, it.column) == (property, column));
            let Some(cell) = place.map(|place| &mut self.cells[place]) else { continue };
            let broken = seeded.broken.get(&property);
            match (&mut cell.known, broken) {
                (Known::Proven(_), Some((count, first))) => {
                    let again = &seeded.again;
                    against.push(Contradiction(format!(
                        "{} of {setting} is {}, and yet it was broken in {count} of {} simulated runs: \
                         {again} \
                         --seed {first}",
                        cell.name(),
                        cell.wording(),
                        seeded.seeds
                    )));
                }
                (Known::Unrefuted { searches, .. }, None) => {
                    let searches = std::mem::take(searches);
                    cell.known = Known::Unrefuted { searches, seeds: Some(seeded.seeds) };
                }
                (Known::NotSearched { .. }, None) => {
                    let beside = cell.wording();
                    cell.known =
                        Known::Unrefuted { searches: Vec::new(), seeds: Some(seeded.seeds) };
                    cell.beside = Some(beside);
                }
                (Known::Unrefuted { .. } | Known::NotSearched { .. }, Some((count, first))) => {
                    let again = format!("{} --seed {first}", seeded.again);
                    cell.known = Known::Broken { count: *count, of: seeded.seeds, again };
                }
                _ => {}
            }
        }
        against
    }

    /// What is proven is more than what was measured; all else is less.
    fn measured(&mut self, property: Property, column: Column, shares: Vec<Measured>) {
        if shares.is_empty() {
            return;
        }
        let Some(cell) =
            self.cells.iter_mut().find(|cell| (cell.property, cell.column) == (property, column))
        else {
            return;
        };
        if matches!(cell.known, Known::Proven(_)) {
            let told: Vec<_> = shares.iter().map(Measured::wording).collect();
            cell.beside = Some(told.join("; "));
            return;
        }
        let beside = cell.wording();
        *cell = Cell::new(property, column, Known::Measured { shares });
        cell.beside = Some(beside);
    }

    fn contradicted(&self, run: &Observed) -> Vec<Contradiction> {
        let Some(column) = run.column else { return Vec::new() };
        let broken = run.broken.iter().filter(|(_, count)| **count > 0);
        let told = broken.filter_map(|(property, count)| {
            let cell = self.cell(*property, column);
            matches!(cell.known, Known::Proven(_)).then(|| {
                let (setting, name, faults) = (&self.setting, &run.name, &run.faults);
                Contradiction(format!(
                    "{} of {setting} is {}, and yet it was broken {count} times in the run {name}, \
                     in which {faults}",
                    cell.name(),
                    cell.wording(),
                ))
            })
        });
        told.collect()
    }
}

/// Real runs and simulated ones apart.
fn kinds<'a>(runs: &[&'a Observed]) -> Vec<(String, Vec<&'a Observed>)> {
    let kinds = [(false, "real run"), (true, "simulated run")].map(|(is_simulated, word)| {
        let own = runs.iter().filter(|run| run.is_simulated == is_simulated);
        let own: Vec<_> = own.copied().collect();
        let s = if own.len() == 1 { "" } else { "s" };
        (format!("{} {word}{s}", own.len()), own)
    });
    kinds.into_iter().filter(|(_, runs)| !runs.is_empty()).collect()
}

fn fresh(runs: &[&Observed]) -> Vec<Measured> {
    let mut shares = Vec::new();
    for (of, runs) in kinds(runs) {
        let mut waits: Vec<f64> =
            runs.iter().flat_map(|run| &run.fresh).map(|fresh| fresh.t_ms).collect();
        waits.sort_by(f64::total_cmp);
        waits.dedup();
        for t in waits {
            let at_t = || runs.iter().flat_map(|run| &run.fresh).filter(|it| it.t_ms == t);
            let (good, all) = at_t().fold((0, 0), |(g, a), it| (g + it.good, a + it.all));
            let predicted = at_t().map(|it| it.predicted).try_fold([0.0; 2], |sum, one| {
                let one = one?;
                Some([sum[0] + one[0], sum[1] + one[1]])
            });
            if all == 0 {
                continue;
            }
            let what =
                if t == 0.0 { "fresh at once".to_owned() } else { format!("fresh at {t} ms") };
            let predicted = predicted.map(|sums| sums.map(|sum| sum / all as f64));
            let interval = wilson(good, all);
            shares.push(Measured { what, good, all, interval, of: of.clone(), predicted });
        }
    }
    shares
}

fn within(runs: &[&Observed], setting: &Setting) -> Vec<Measured> {
    let mut shares = Vec::new();
    for (of, runs) in kinds(runs) {
        let mut puts: Vec<u32> = runs.iter().flat_map(|run| &run.within).map(|it| it.k).collect();
        puts.sort_unstable();
        puts.dedup();
        for k in puts {
            let at_k = runs.iter().flat_map(|run| &run.within).filter(|it| it.k == k);
            let (good, all) = at_k.fold((0, 0), |(g, a), it| (g + it.good, a + it.all));
            if all == 0 {
                continue;
            }
            let what = match k {
                1 => "show the last put".to_owned(),
                k => format!("show one of the last {k} puts"),
            };
            let Setting { n, r, w, .. } = *setting;
            let predicted = crate::pbs::k_fresh(n, r, w, k);
            let (interval, predicted) = (wilson(good, all), Some([predicted; 2]));
            shares.push(Measured { what, good, all, interval, of: of.clone(), predicted });
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use dynamo_protocol::{Quorum, Settings};

    use super::*;
    use crate::search::work::Gathered;

    fn run(broken: &[(Property, u64)], is_simulated: bool) -> Observed {
        let settings = Settings { quorum: Quorum::Strict, ..Settings::new([3, 1, 1]) };
        Observed {
            name: "results/one".to_owned(),
            setting: Setting::of(&settings),
            is_simulated,
            column: Some(Column::Crash),
            faults: "kill came 1 times".to_owned(),
            is_covered: true,
            fresh: vec![Fresh { t_ms: 10.0, good: 90, all: 100, predicted: Some([89.0, 93.0]) }],
            within: vec![Within { k: 2, good: 99, all: 100 }],
            broken: broken.iter().copied().collect(),
        }
    }

    #[test]
    fn what_was_measured_stands_beside_what_was_predicted_real_and_simulated_apart() {
        let real = run(&[], false);
        let mut table = Table::of(&real.setting, &Gathered::new());
        let runs = [real.clone(), real.clone(), run(&[], true)];
        assert_eq!(table.observe(&runs), []);
        let told = table.cell(Property::TStale, Column::Crash).wording();
        let first = "MEASURED 90.00 % [85.06, 93.43] of 200 gets fresh at 10 ms, 2 real runs, predicted \
                     89.00-93.00 %; \
                     MEASURED 90.00 % [82.56, 94.48] of 100 gets fresh at 10 ms, 1 simulated run, predicted";
        assert!(told.starts_with(first), "{told}");
        let told = table.cell(Property::KStale, Column::Crash).wording();
        assert!(
            told.contains("show one of the last 2 puts, 2 real runs, predicted 55.56 %"),
            "{told}"
        );
        let other = table.cell(Property::TStale, Column::Wipe);
        assert!(!matches!(other.known, Known::Measured { .. }), "{}", other.wording());
    }

    #[test]
    fn kinds_of_faults_come_to_a_column_or_to_none() {
        let of = Column::of_kinds;
        assert_eq!(of(&[]), Some(Column::None));
        assert_eq!(of(&[Column::Partition, Column::Crash, Column::Crash]), Some(Column::TwoAtOnce));
        assert_eq!(of(&[Column::Wipe, Column::Crash]), None);
    }
}
