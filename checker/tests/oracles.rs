//! Every checker agrees with an oracle that tries everything.
//!
//! `FUZZ_HISTORIES=10000000 cargo test --release -p checker --test oracles` is the long mode.

mod common;

use checker::cart::Cart;
use checker::causal::{Causal, Strength};
use checker::siblings::Siblings;
use common::fuzz::agree;
use common::register_oracle::{self, Only};
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

#[test]
fn session_guarantees() {
    for (name, ops) in [
        ("read_your_writes", 8),
        ("monotonic_reads", 10),
        ("monotonic_writes", 13),
        ("writes_follow_reads", 15),
        ("together", 7),
    ] {
        let generate = |rng: &mut StdRng| register_oracle::generate_wild(rng, ops);
        agree(name, |_| Only(name), generate, register_oracle::guarantees_hold);
    }
}

#[test]
fn causal_consistency() {
    for strength in [Strength::Causal, Strength::Convergent, Strength::Memory] {
        let name = format!("{strength:?}");
        let oracle = register_oracle::causal_holds;
        agree(&name, |_| Causal { strength }, register_oracle::generate, oracle);
    }
}
