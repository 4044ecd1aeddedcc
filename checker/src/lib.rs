//! History checkers: linearizability, siblings, carts, sessions. Knows nothing of any store.
