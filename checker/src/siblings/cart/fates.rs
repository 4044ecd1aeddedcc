//! Which reads account for what was put into a cart and what was taken out of it.

use super::{Carts, Tally};
use crate::siblings::fates::Accounts;
use crate::siblings::versions::{Key, Read, VersionId};

/// Words of the tables of a key, at most: 128 MB.
const MOST_WORDS: usize = 16 << 20;

/// What a put of a cart changed.
#[derive(Clone, Copy)]
enum Change {
    Added(u32),
    Removed(u32),
    Other,
}

/// A key whose values are carts.
pub(in crate::siblings) struct CartFates<'a, 'h> {
    carts: Carts<'a, 'h>,
    changes: Vec<Change>,
    /// Of each get a bit an item: is it shown? Empty if that would be too large.
    shown: Vec<u64>,
    words: usize,
}

impl<'a, 'h> CartFates<'a, 'h> {
    /// None if no value of the key is a cart.
    pub(in crate::siblings) fn of(name: &'a str, key: &'a Key<'h>) -> Option<Self> {
        let is_cart = key.versions.iter().any(|version| {
            version
                .value
                .is_some_and(|value| value.get("items").is_some_and(serde_json::Value::is_array))
        });
        if !is_cart {
            return None;
        }
        let carts = Carts::of(name, key, &mut Tally::default());
        let mut changes = vec![Change::Other; key.versions.len()];
        for item in 0..carts.items.len() as u32 {
            let (adds, removes) = (&carts.adds[item as usize], &carts.removes[item as usize]);
            adds.iter().for_each(|&id| changes[id as usize] = Change::Added(item));
            removes.iter().for_each(|&id| changes[id as usize] = Change::Removed(item));
        }
        let words = carts.items.len().div_ceil(64);
        let gets: Vec<&Read> = key.reads.iter().filter(|read| !read.is_home()).collect();
        let mut shown = Vec::new();
        if gets.len().saturating_mul(words) <= MOST_WORDS {
            shown = vec![0; gets.len() * words];
            for (at, read) in gets.iter().enumerate() {
                let siblings = read.returned.iter();
                for &item in siblings.flat_map(|&id| &carts.contents[id as usize]) {
                    shown[at * words + item as usize / 64] |= 1 << (item % 64);
                }
            }
        }
        Some(Self { carts, changes, shown, words })
    }

    fn is_shown(&self, item: u32, get: usize, returned: &[VersionId]) -> bool {
        match self.shown.get(get * self.words + item as usize / 64) {
            Some(word) => word >> (item % 64) & 1 == 1,
            None => self.stands_in(item, returned),
        }
    }

    fn stands_in(&self, item: u32, returned: &[VersionId]) -> bool {
        returned.iter().any(|&id| self.carts.contents[id as usize].contains(&item))
    }

    fn accounted(&self, write: VersionId, shown: impl Fn(u32) -> bool, set: &[VersionId]) -> bool {
        let key = self.carts.key;
        match self.changes[write as usize] {
            Change::Added(item) => shown(item) || self.carts.taken_out(item, write, set),
            // What another add put there is not its business.
            Change::Removed(item) => {
                let adds = &self.carts.adds[item as usize];
                !shown(item) || !adds.iter().all(|&add| key.covers(write, add))
            }
            Change::Other if self.takes_away(write) => {
                !set.iter().any(|&kept| key.covers(write, kept))
            }
            Change::Other => key.is_below(write, set) || self.carts.deleted(write),
        }
    }
}

impl Accounts for CartFates<'_, '_> {
    fn accounts(&self, write: VersionId, get: usize, returned: &[VersionId]) -> bool {
        self.accounted(write, |item| self.is_shown(item, get, returned), returned)
    }

    fn held(&self, write: VersionId, held: &[VersionId]) -> bool {
        self.accounted(write, |item| self.stands_in(item, held), held)
    }

    fn takes_away(&self, write: VersionId) -> bool {
        let is_delete = self.carts.key.versions[write as usize].is_delete();
        is_delete || matches!(self.changes[write as usize], Change::Removed(_))
    }
}
