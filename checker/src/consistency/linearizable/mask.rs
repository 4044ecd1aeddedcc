//! Sets of open calls: one bit a slot, in one word if they fit.

use std::hash::Hash;

/// A small set of slots.
pub(crate) trait Mask: Copy + Eq + Hash + Send + Sync {
    /// How many slots there are.
    const SLOTS: usize;
    const EMPTY: Self;

    fn bit(slot: u32) -> Self;
    fn with(self, other: Self) -> Self;
    fn without(self, other: Self) -> Self;
    fn meets(self, other: Self) -> bool;
    fn is_empty(self) -> bool;
    /// The lowest slot; only of a set that has one.
    fn first(self) -> u32;
}

/// The slots of a set, lowest first.
pub(crate) fn slots<M: Mask>(mut mask: M) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        if mask.is_empty() {
            return None;
        }
        let slot = mask.first();
        mask = mask.without(M::bit(slot));
        Some(slot)
    })
}

macro_rules! one_word {
    ($word:ty) => {
        impl Mask for $word {
            const SLOTS: usize = <$word>::BITS as usize;
            const EMPTY: Self = 0;

            fn bit(slot: u32) -> Self {
                1 << slot
            }
            fn with(self, other: Self) -> Self {
                self | other
            }
            fn without(self, other: Self) -> Self {
                self & !other
            }
            fn meets(self, other: Self) -> bool {
                self & other != 0
            }
            fn is_empty(self) -> bool {
                self == 0
            }
            fn first(self) -> u32 {
                self.trailing_zeros()
            }
        }
    };
}

one_word!(u64);
one_word!(u128);

/// More slots than one word has.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Wide<const N: usize>([u64; N]);

impl<const N: usize> Wide<N> {
    fn zip(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self(std::array::from_fn(|at| f(self.0[at], other.0[at])))
    }
}

impl<const N: usize> Mask for Wide<N> {
    const SLOTS: usize = N * 64;
    const EMPTY: Self = Self([0; N]);

    fn bit(slot: u32) -> Self {
        let mut words = [0; N];
        words[slot as usize / 64] = 1 << (slot % 64);
        Self(words)
    }
    fn with(self, other: Self) -> Self {
        self.zip(other, |a, b| a | b)
    }
    fn without(self, other: Self) -> Self {
        self.zip(other, |a, b| a & !b)
    }
    fn meets(self, other: Self) -> bool {
        (0..N).any(|at| self.0[at] & other.0[at] != 0)
    }
    fn is_empty(self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
    fn first(self) -> u32 {
        let at = self.0.iter().position(|word| *word != 0).unwrap_or(N - 1);
        at as u32 * 64 + self.0[at].trailing_zeros()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behaves_as_a_set<M: Mask>() {
        let chosen = [0, 5, 63, M::SLOTS as u32 - 1];
        let mask = chosen.iter().fold(M::EMPTY, |mask, slot| mask.with(M::bit(*slot)));
        let mut found: Vec<u32> = slots(mask).collect();
        found.dedup();
        let mut expected = chosen.to_vec();
        expected.dedup();
        assert_eq!(found, expected);
        assert!(mask.meets(M::bit(5)) && !mask.meets(M::bit(6)));
        assert!(mask.without(mask).is_empty());
    }

    #[test]
    fn every_width_behaves_as_a_set() {
        behaves_as_a_set::<u64>();
        behaves_as_a_set::<u128>();
        behaves_as_a_set::<Wide<8>>();
        behaves_as_a_set::<Wide<64>>();
    }
}
