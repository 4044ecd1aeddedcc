//! A broken core is told apart: what is proven of the core is refuted of one with a seeded bug. The bug is on
//! for the whole process, so all is one test.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use dynamo_protocol::mutant::{Mutant, activate};
use dynamo_protocol::{Quorum, Settings};
use dyno_claims::{Column, Known, Property, Setting, Table, Work, specs};
use model::Budget;

fn known(mutant: Option<Mutant>, property: Property, column: Column) -> Known {
    activate(mutant);
    let settings = Settings { quorum: Quorum::Strict, ..Settings::new([3, 2, 2]) };
    let setting = Setting::of(&settings);
    let budget = Budget { states: 100_000, ..Budget::NONE };
    let work = Work { cache: None, budget, jobs: 2, kept_only: false, tell: &|_| () };
    let gathered = work.gather(specs(&setting, &[column])).unwrap();
    activate(None);
    Table::of(&setting, &gathered).cell(property, column).known.clone()
}

#[test]
fn what_is_proven_of_the_core_is_refuted_of_a_broken_one() {
    for (mutant, property, column) in [
        (Mutant::FirstReply, Property::Fresh, Column::None),
        (Mutant::AckBeforeW, Property::Fresh, Column::None),
        (Mutant::AckUnsynced, Property::NoLostAck, Column::PowerCut),
        (Mutant::PlainClocks, Property::NoLostAck, Column::None),
        (Mutant::LastWriterWins, Property::NoLostAck, Column::None),
        (Mutant::AmnesiacVotes, Property::Fresh, Column::Wipe),
    ] {
        let sound = known(None, property, column);
        assert!(sound.proof().is_some(), "{property}/{column}: {}", sound.wording());
        let broken = known(Some(mutant), property, column);
        let is_refuted = matches!(broken, Known::Refuted(_));
        assert!(is_refuted, "{}: {property}/{column}: {}", mutant.name(), broken.wording());
    }
}
