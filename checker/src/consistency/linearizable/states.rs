//! The states the search has met, each held once and known by a number.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

/// Every state that is of no more use, whichever it was: only what overwrites can happen in it.
pub(crate) const DEAD: u32 = 0;

pub(crate) struct States<T, M> {
    list: Vec<Known<T, M>>,
    ids: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// Forget those no longer held when there are so many.
    limit: usize,
}

pub(crate) struct Known<T, M> {
    pub(crate) state: T,
    /// The last event at which it is of use.
    pub(crate) useful_until: u32,
    /// The open observers that fit it, of those that fit one state only.
    pub(crate) observers: M,
}

impl<T: Clone + Eq + std::hash::Hash, M: Copy> States<T, M> {
    /// With `any` in the place of the dead.
    pub(crate) fn new(any: T, none: M) -> Self {
        let dead = Known { state: any, useful_until: 0, observers: none };
        let hasher = DefaultHashBuilder::default();
        Self { list: vec![dead], ids: HashTable::new(), hasher, limit: 1 << 12 }
    }

    /// The number of a state, given to it now if it is new.
    pub(crate) fn intern(&mut self, state: T, new: impl FnOnce(T) -> Known<T, M>) -> u32 {
        let Self { list, ids, hasher, .. } = self;
        let hash = hasher.hash_one(&state);
        if let Some(&id) = ids.find(hash, |&id| list[id as usize].state == state) {
            return id;
        }
        let id = u32::try_from(list.len()).expect("memory ends before 2^32 states");
        list.push(new(state));
        ids.insert_unique(hash, id, |&id| hasher.hash_one(&list[id as usize].state));
        id
    }

    pub(crate) fn get(&self, id: u32) -> &Known<T, M> {
        &self.list[id as usize]
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> &mut Known<T, M> {
        &mut self.list[id as usize]
    }

    /// Is it time to forget?
    pub(crate) fn is_full(&self) -> bool {
        self.list.len() >= self.limit
    }

    /// Keeps these and renumbers them.
    pub(crate) fn forget_others<'a>(&mut self, held: impl Iterator<Item = &'a mut u32>) {
        const FREE: u32 = u32::MAX;
        let mut moved = vec![FREE; self.list.len()];
        moved[DEAD as usize] = DEAD;
        let held: Vec<&mut u32> = held.collect();
        for id in &held {
            moved[**id as usize] = DEAD;
        }
        let mut kept = 0;
        let mut at = 0;
        self.list.retain(|_| {
            let keep = moved[at] != FREE;
            if keep {
                moved[at] = kept;
                kept += 1;
            }
            at += 1;
            keep
        });
        for id in held {
            *id = moved[*id as usize];
        }
        let Self { list, ids, hasher, limit } = self;
        ids.clear();
        for (id, known) in (0..).zip(list.iter()).skip(1) {
            let hash = hasher.hash_one(&known.state);
            ids.insert_unique(hash, id, |&id| hasher.hash_one(&list[id as usize].state));
        }
        *limit = (list.len() * 2).max(1 << 12);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_keeps_its_state_under_a_new_number() {
        let mut states: States<&str, u64> = States::new("", 0);
        let mut intern =
            |state| states.intern(state, |state| Known { state, useful_until: 9, observers: 0 });
        let (_, mut b, mut dead) = (intern("a"), intern("b"), DEAD);
        states.forget_others([&mut b, &mut dead].into_iter());
        assert_eq!((b, dead, states.get(b).state), (1, DEAD, "b"));
        let new = |state| Known { state, useful_until: 9, observers: 0 };
        assert_eq!(states.intern("b", new), 1);
        assert_eq!(states.intern("a", new), 2);
    }
}
