//! What is told of an add that is gone: who added it, the put that stands where it should, and the reads
//! between which it vanished.

use hashbrown::HashMap;
use serde::Serialize;
use serde_json::Value;

use super::{Carts, Missing};
use crate::siblings::versions::{Read, VersionId};

/// An acknowledged add that is gone.
#[derive(Debug, Serialize)]
pub(super) struct Lost {
    key: String,
    pub(super) item: Value,
    /// The op that added it.
    pub(super) add: u64,
    /// The put that stands where it should, without having seen it: the first of those that the first of
    /// the reads shows, as far as that can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    overwritten_by: Option<u64>,
    /// The last get that showed the item; none if none ever did.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_shown: Option<u64>,
    /// The first get after it, and after the add was acknowledged, that lacks the item.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_lacking: Option<u64>,
    /// The reads that should have shown it.
    reads: Vec<u64>,
    /// Final reads that did show it: then it is not gone everywhere.
    seen: Vec<u64>,
}

impl Lost {
    /// The add, what overwrote it, and the reads that lack it.
    pub(super) fn witness(&self) -> Vec<u64> {
        [Some(self.add), self.overwritten_by]
            .into_iter()
            .flatten()
            .chain(self.reads.clone())
            .collect()
    }

    pub(super) fn in_words(&self) -> String {
        let by = self.overwritten_by.map(|by| format!(", is overwritten by op {by}"));
        format!(
            "{} was added to {:?} by op {}{} and is not in read {}",
            self.item,
            self.key,
            self.add,
            by.unwrap_or_default(),
            self.reads[0]
        )
    }
}

/// The first of what is missing from a cart, as many as there is `room` for.
pub(super) fn listed(carts: &Carts<'_, '_>, missing: Missing, room: usize) -> Vec<Lost> {
    let gets: Vec<&Read> = carts.key.reads.iter().filter(|read| !read.is_home()).collect();
    let told: Vec<_> = missing.into_iter().take(room).collect();
    let items = told.iter().map(|((item, _), _)| *item);
    let shown = last_shown(carts, &gets, items);
    let lost = told.into_iter().map(|((item, add), (reads, seen))| {
        let at = shown[&item];
        let vanished = Vanished { carts, gets: &gets, item, add, last_shown: at };
        Lost {
            key: carts.name.to_owned(),
            item: carts.items[item as usize].clone(),
            add: carts.name_of(add),
            overwritten_by: vanished.overwriting(reads[0]).map(|by| carts.name_of(by)),
            last_shown: at.map(|at| gets[at].op.name),
            first_lacking: vanished.first_lacking().map(|read| read.op.name),
            reads,
            seen,
        }
    });
    lost.collect()
}

/// Of each item the position of the last-begun get that showed it. One walk, from the last get to the
/// first: linear in the size of what was read.
fn last_shown(
    carts: &Carts<'_, '_>,
    gets: &[&Read],
    items: impl Iterator<Item = u32>,
) -> HashMap<u32, Option<usize>> {
    let mut shown: HashMap<u32, Option<usize>> = items.map(|item| (item, None)).collect();
    let mut wanted = shown.len();
    for (at, read) in gets.iter().enumerate().rev() {
        let siblings = read.returned.iter();
        for item in siblings.flat_map(|&id| &carts.contents[id as usize]) {
            if let Some(last @ None) = shown.get_mut(item) {
                *last = Some(at);
                wanted -= 1;
            }
        }
        if wanted == 0 {
            break;
        }
    }
    shown
}

/// One add that is gone, among the gets of its cart.
struct Vanished<'a, 'k, 'h> {
    carts: &'a Carts<'k, 'h>,
    gets: &'a [&'a Read],
    item: u32,
    add: VersionId,
    last_shown: Option<usize>,
}

impl Vanished<'_, '_, '_> {
    fn first_lacking(&self) -> Option<&Read> {
        let acknowledged = self.carts.key.versions[self.add as usize].op.acknowledged_at()?;
        let later = self.last_shown.map_or(0, |at| at + 1);
        let mut lacking = self.gets[later..].iter().copied();
        lacking.find(|read| {
            let returned = &read.returned;
            read.op.begun > acknowledged && !self.carts.taken_out(self.item, self.add, returned)
        })
    }

    /// The put that took the place of an add: of those that a read shows or covers, and that neither hold
    /// the item nor come before the add, the first that ended after the item was shown for the last time.
    fn overwriting(&self, read: u64) -> Option<VersionId> {
        let key = self.carts.key;
        let versions = &key.versions;
        let read = key.reads.iter().find(|other| other.op.name == read)?;
        let below = key.below(&read.returned);
        let ended = |id: VersionId| versions[id as usize].op.acknowledged_at().unwrap_or(u64::MAX);
        let added = versions[self.add as usize].op.begun;
        let shown = self.last_shown.map_or(0, |at| self.gets[at].op.begun);
        let took_its_place = |&id: &VersionId| {
            below[id as usize]
                && id != self.add
                && !self.carts.contents[id as usize].contains(&self.item)
                && ended(id) > added
        };
        let candidates = (0..versions.len() as VersionId).filter(took_its_place);
        // What ended before the item was shown did not hide it; where nothing else is left, it may have.
        candidates.min_by_key(|&id| (ended(id) <= shown, ended(id)))
    }
}
