//! How soon an added item was seen for good: Jepsen's set-full, per item.
//!
//! *Known*: when the add was acknowledged, or the first read that showed the item ended. *Stable*:
//! just after the last-begun read that lacked it, if a later-begun read shows it. Reads are walked
//! from the last begun to the first, and an item leaves the walk at the first read that lacks it:
//! linear in the size of what was read.

use super::{Carts, Tally};
use crate::history::Outcome;
use crate::judge::budget::{Exhausted, Meter};
use crate::siblings::versions::Read;

/// What the reads say of one item.
#[derive(Clone, Default)]
struct Element {
    /// In how many of the last-begun reads it stood, without a gap.
    run: usize,
    /// When the first read that showed it ended.
    first_shown: Option<u64>,
}

/// Counts stale and never-read items and times to stable, for items nobody may have taken out.
pub(super) fn measure(
    carts: &Carts<'_, '_>,
    tally: &mut Tally,
    meter: &mut Meter,
) -> Result<(), Exhausted> {
    let reads: Vec<&Read> = carts.key.reads.iter().filter(|read| !read.is_home()).collect();
    let mut elements = vec![Element::default(); carts.items.len()];
    for (newer, read) in reads.iter().rev().enumerate() {
        meter.tick()?;
        // An item that stands in two siblings counts once: the second time its run is longer already.
        let siblings = read.returned.iter();
        for item in siblings.flat_map(|&id| &carts.contents[id as usize]) {
            let element = &mut elements[*item as usize];
            if element.run == newer {
                element.run += 1;
            }
            let ended = read.op.acknowledged_at();
            element.first_shown = [element.first_shown, ended].into_iter().flatten().min();
        }
    }
    if !carts.deletes.is_empty() {
        // Any item may have been taken out with the whole cart: nothing can be said.
        return Ok(());
    }
    for (item, element) in elements.iter().enumerate() {
        if !carts.may_have_been_removed(item) {
            account(carts, item, element, &reads, tally);
        }
    }
    Ok(())
}

fn account(
    carts: &Carts<'_, '_>,
    item: usize,
    element: &Element,
    reads: &[&Read],
    tally: &mut Tally,
) {
    let adds = carts.adds[item].iter();
    let acknowledged =
        adds.filter_map(|&add| carts.key.versions[add as usize].op.acknowledged_at()).min();
    let Some(acknowledged) = acknowledged else { return };
    let known = element.first_shown.map_or(acknowledged, |shown| shown.min(acknowledged));
    if element.first_shown.is_none() {
        tally.never_read += 1;
        return;
    }
    if element.run == 0 {
        // Lacking in the last read of all: lost, and counted there.
        return;
    }
    let last_without = reads.len().checked_sub(element.run + 1).map(|at| reads[at]);
    let stable = last_without.map_or(0, |read| read.op.begun + 1);
    let latency = stable.saturating_sub(known + 1);
    tally.stale += usize::from(latency > 0);
    tally.stable_ms.push(latency as f64 / 1e6);
}

impl Carts<'_, '_> {
    fn may_have_been_removed(&self, item: usize) -> bool {
        let removes = &self.removes[item];
        removes.iter().any(|&id| self.key.versions[id as usize].op.outcome != Outcome::Fail)
    }
}
