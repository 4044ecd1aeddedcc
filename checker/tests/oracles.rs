//! Every checker agrees with an oracle that tries everything.
//!
//! `FUZZ_HISTORIES=10000000 cargo test --release -p checker --test oracles` is the long mode.

mod common;

use checker::cart::Cart;
use checker::siblings::Siblings;
use common::fuzz::agree;
use common::{cart_oracle, sibling_oracle};
use rand::prelude::*;

#[test]
fn siblings_final() {
    let checker = |rng: &mut StdRng| Siblings { converged: rng.random(), ..Siblings::default() };
    agree("siblings, final", checker, sibling_oracle::generate, sibling_oracle::holds);
}

#[test]
fn siblings_strict_with_sessions() {
    let checker = |rng: &mut StdRng| Siblings {
        converged: false,
        strict: rng.random(),
        sessions: rng.random(),
    };
    agree("siblings, full", checker, sibling_oracle::generate, sibling_oracle::holds);
}

#[test]
fn carts() {
    agree("cart", |_| Cart::default(), cart_oracle::generate, cart_oracle::holds);
}
