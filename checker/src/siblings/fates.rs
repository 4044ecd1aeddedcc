//! What became of every acknowledged write: was it read, read late, lost, or is it not known?
//!
//! A read *accounts for* a write if it returned it, what covers it, or what a delete of it left; of a cart's
//! add, if it shows the item or the item was taken out; of a cart's remove, if it does not show the item.
//! A write is *late* if a get that began after its acknowledgement did not account for it, and the later
//! ones do. *Lost* and *unreadable* are what the checkers call so: see [`super::cart`].

use super::cart::CartFates;
use super::versions::{Key, Read, VersionId, keys};
use super::{Homes, deletes, last_home_reads};
use crate::history::History;
use crate::judge::budget::{Budget, Exhausted, Meter};

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// Every get that began after it was acknowledged accounted for it, and there was one.
    Read,
    /// The same from some time on; until then some did not.
    Late,
    /// It is in no final read and no home holds it.
    Lost,
    /// A home holds it, and a final read lacks it.
    Unreadable,
    /// No get tells.
    Unknown,
    /// A removal that was undone: the last reads show what it took away.
    Resurfaced,
}

/// One acknowledged write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteFate {
    /// The operation, by its name.
    pub write: u64,
    /// What became of it.
    pub fate: Fate,
    /// How long after its acknowledgement the last get began that did not account for it though later ones
    /// do, in nanoseconds; 0 unless it is late.
    pub late: u64,
}

/// The fates of a history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    /// Of the acknowledged writes, key by key.
    pub writes: Vec<WriteFate>,
    /// How many acknowledged writes are not among them: the budget did not suffice.
    pub left_out: usize,
}

/// Tells the fate of every acknowledged put and delete. Needs reads times writes of each key, within the
/// budget.
#[must_use]
pub fn fates(history: &History, budget: &Budget) -> Fates {
    let mut meter = budget.start();
    let mut fates = Fates::default();
    for (name, key) in keys(history).keys {
        let before = fates.writes.len();
        let told = match CartFates::of(name, &key) {
            Some(carts) => tell(&key, &carts, &mut meter, &mut fates.writes),
            None => tell(&key, &Versions::of(&key), &mut meter, &mut fates.writes),
        };
        if told.is_err() {
            fates.writes.truncate(before);
            fates.left_out += key.versions.iter().filter(|write| write.is_acknowledged()).count();
        }
    }
    fates
}

/// Who knows whether a read accounts for a write.
pub(super) trait Accounts {
    /// Does the read at this position among the gets of the key?
    fn accounts(&self, write: VersionId, get: usize, returned: &[VersionId]) -> bool;

    /// Do homes that hold these versions?
    fn held(&self, write: VersionId, held: &[VersionId]) -> bool;

    /// Does it take something away, rather than write it?
    fn takes_away(&self, write: VersionId) -> bool;
}

/// Plain versions.
struct Versions<'a, 'h> {
    key: &'a Key<'h>,
    deletes: Vec<VersionId>,
}

impl<'a, 'h> Versions<'a, 'h> {
    fn of(key: &'a Key<'h>) -> Self {
        Self { key, deletes: deletes(key) }
    }
}

impl Accounts for Versions<'_, '_> {
    fn accounts(&self, write: VersionId, _: usize, returned: &[VersionId]) -> bool {
        self.held(write, returned)
    }

    fn held(&self, write: VersionId, held: &[VersionId]) -> bool {
        if self.takes_away(write) {
            return !held.iter().any(|&kept| self.key.covers(write, kept));
        }
        self.key.is_below(write, held)
            || self.deletes.iter().any(|delete| self.key.covers(*delete, write))
    }

    fn takes_away(&self, write: VersionId) -> bool {
        self.key.versions[write as usize].is_delete()
    }
}

fn tell(
    key: &Key<'_>,
    accounts: &impl Accounts,
    meter: &mut Meter,
    told: &mut Vec<WriteFate>,
) -> Result<(), Exhausted> {
    let gets: Vec<&Read> = key.reads.iter().filter(|read| !read.is_home()).collect();
    let homes = Homes::of(key);
    let at_last = last_home_reads(key).map(|reads| {
        let begun = reads.iter().map(|read| read.op.begun).min().unwrap_or(0);
        let held = reads.iter().flat_map(|read| read.returned.iter().copied());
        (begun, held.collect::<Vec<VersionId>>())
    });
    for (id, write) in (0..).zip(&key.versions) {
        let Some(acknowledged) = write.op.acknowledged_at() else { continue };
        let later = gets.partition_point(|read| read.op.begun <= acknowledged);
        let mut last_lacking = None;
        for at in (later..gets.len()).rev() {
            meter.tick()?;
            if !accounts.accounts(id, at, &gets[at].returned) {
                last_lacking = Some(at);
                break;
            }
        }
        let lacks_at_the_end = last_lacking.is_some_and(|at| gets[at].op.is_final);
        let no_home = at_last
            .as_ref()
            .is_some_and(|(begun, held)| acknowledged < *begun && !accounts.held(id, held));
        let fate = match (last_lacking, &homes) {
            (Some(_), _) if lacks_at_the_end && accounts.takes_away(id) => Fate::Resurfaced,
            (Some(_), Homes::Silent) if lacks_at_the_end => Fate::Unknown,
            (Some(_), Homes::Hold(held)) if lacks_at_the_end && accounts.held(id, held) => {
                Fate::Unreadable
            }
            (Some(_), _) if lacks_at_the_end => Fate::Lost,
            _ if no_home && !accounts.takes_away(id) => Fate::Lost,
            (Some(at), _) if at + 1 == gets.len() => Fate::Unknown,
            (Some(_), _) => Fate::Late,
            (None, _) if later == gets.len() => Fate::Unknown,
            (None, _) => Fate::Read,
        };
        let late = match (fate, last_lacking) {
            (Fate::Late, Some(at)) => gets[at].op.begun - acknowledged,
            _ => 0,
        };
        told.push(WriteFate { write: write.op.name, fate, late });
    }
    Ok(())
}
