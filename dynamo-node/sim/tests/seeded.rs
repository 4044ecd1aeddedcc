//! What the golden scenarios are worth: with a rule left out, one of them reads otherwise. Only a build with
//! seeded bugs has this test (docs/mutants.md).

#![cfg(feature = "mutants")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[allow(dead_code, reason = "nothing here asks for the trace")]
#[path = "goldens/player.rs"]
mod player;

use std::collections::BTreeSet;
use std::panic::{catch_unwind, set_hook};
use std::path::Path;

use dynamo_protocol::mutant::{Mutant, activate};

/// Those that no golden tells.
const UNTOLD: &[Mutant] = &[
    // It is in how the simulator's own world hears of a sync that failed.
    Mutant::SyncErrorSwallowed,
    // It takes a peer that knows better only once it has answered: a unit test of the core has one.
    Mutant::RefusalForgotten,
    // It is in the storage of real nodes.
    Mutant::DirectoryBelieved,
    // No golden puts an empty value, brings a tombstone to a home by a get, or has two hints of one key; nor
    // one process of a node after another. Drawn seeds do.
    Mutant::EmptyDeletes,
    Mutant::TombstonesUnrepaired,
    Mutant::HintReplacesHint,
    Mutant::LowerIncarnationIgnored,
];

#[test]
fn every_seeded_bug_changes_a_golden() {
    let goldens = player::goldens(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens"));
    // Asserts of the core tell as well.
    set_hook(Box::new(|_| {}));
    let is_told = |mutant: &Mutant| {
        activate(Some(*mutant));
        goldens.iter().any(|(name, script)| {
            let played = catch_unwind(|| player::play(name, script));
            !matches!(played, Ok(Ok(played)) if played.text == *script)
        })
    };
    let untold: BTreeSet<_> = Mutant::ALL.iter().filter(|mutant| !is_told(mutant)).collect();
    activate(None);
    let _ = std::panic::take_hook();
    // No golden has a membership that changes, nor a tombstone that goes while somebody reads its key: the
    // model finds those. Nor has any a shell: whole nodes under virtual time do.
    let found = Mutant::OF_MEMBERSHIP.iter().chain([&Mutant::SettledWhileOpen]);
    let found = found.chain(Mutant::OF_SHELL);
    let expected: BTreeSet<_> = UNTOLD.iter().chain(found).collect();
    assert_eq!(untold, expected);
}
