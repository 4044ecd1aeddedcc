//! Where something lies in an engine, as what is kept of it in memory is looked up.

use std::hash::{Hash, Hasher};

use bytes::Bytes;

use super::Space;

/// A space and a key in it, ordered by both. How the key begins is kept as a number: that tells most of two
/// apart without a look at their bytes, which lie elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Address {
    pub(super) space: Space,
    /// The first bytes of the key, followed by zeros if it is shorter: so it orders as they do.
    head: u64,
    pub(super) key: Bytes,
}

impl Address {
    pub(super) fn new(space: Space, key: Bytes) -> Self {
        let head = key.iter().take(size_of::<u64>());
        let head =
            (0..).zip(head).fold(0, |all, (at, byte)| all | u64::from(*byte) << (56 - 8 * at));
        Self { space, head, key }
    }
}

impl Hash for Address {
    /// The key of a home record begins with a digest: no more of it is needed.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.head);
        if self.space != Space::Home {
            self.key.hash(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn addresses_are_in_the_order_of_their_spaces_and_keys(
            one in (0..3_usize, vec(0..3_u8, 0..12)), other in (0..3_usize, vec(0..3_u8, 0..12)),
        ) {
            let [a, b] = [&one, &other].map(|(space, key)| (Space::ALL[*space], Bytes::from(key.clone())));
            let [at, there] = [&a, &b].map(|(space, key)| Address::new(*space, key.clone()));
            prop_assert_eq!(at.cmp(&there), a.cmp(&b));
            prop_assert_eq!(at == there, a == b);
        }
    }
}
