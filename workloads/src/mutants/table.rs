//! The table: every seedable bug by its number, where it is seeded, and which checks have to catch it;
//! or why it is left out.

use dynamo_protocol::mutant::Mutant;

/// One row.
pub(super) struct Row {
    /// Its number in the table.
    pub(super) number: &'static str,
    /// What becomes of it.
    pub(super) what: What,
}

/// Seeded, or left out.
pub(super) enum What {
    /// Seeded.
    Seeded {
        /// Where.
        mutant: Mutant,
        /// What the table expects of the simulator.
        expected: char,
        /// The checks that have to catch it.
        checks: &'static [&'static str],
    },
    /// Left out, and why.
    Excluded(&'static str),
}

/// Acknowledged writes are in the final reads, or on the disks that promised them.
const C1: &[&str] = &["cart", "siblings"];
/// ... or white-box: on too few disks.
const C1_C9: &[&str] = &["cart", "siblings", "hint-accounting", "at-rest", "copies-kept"];
const C3_C9: &[&str] = &["at-rest", "convergence", "hint-accounting"];
/// Freshness and sessions are rules of the sibling checker.
const C4: &[&str] = &["siblings"];
const C6: &[&str] = &["siblings", "no-dominated-sibling", "minted-once"];
const C6_C3: &[&str] = &["siblings", "cart", "no-dominated-sibling", "convergence"];
/// Integrity: values nobody wrote.
const C1_C7: &[&str] = &["cart", "siblings", "well_formed"];
const C8: &[&str] = &["copies-at-ack", "copies-kept"];
const C8_C1: &[&str] = &["copies-at-ack", "copies-kept", "cart", "siblings"];
const C8_C11: &[&str] = &["copies-at-ack", "copies-kept", "final-reads"];
const C8_C12: &[&str] = &["copies-at-ack", "copies-kept", "recovery-oracle"];
const C9: &[&str] = &["hint-accounting", "cart", "siblings"];
const C12: &[&str] = &["recovery-oracle"];
const C12_C7: &[&str] = &["recovery-oracle", "cart", "siblings", "well_formed"];

const MEMBERSHIP: &str = "membership is static";
const ENTROPY: &str = "there is no anti-entropy yet";
const DELETES: &str = "tombstones are kept: nothing collects them, and the carts delete nothing";

const fn seeded(
    number: &'static str,
    mutant: Mutant,
    expected: char,
    checks: &'static [&'static str],
) -> Row {
    Row { number, what: What::Seeded { mutant, expected, checks } }
}

const fn excluded(number: &'static str, why: &'static str) -> Row {
    Row { number, what: What::Excluded(why) }
}

/// The whole table.
pub(super) const ROWS: &[Row] = &[
    seeded("1", Mutant::ActorReused, 'Y', C1),
    excluded("2", "the point of 1: hints of a key for two targets then share the actor too"),
    seeded("3", Mutant::ForgottenGoesOn, 'Y', C1),
    seeded("4", Mutant::PlainClocks, 'Y', C6_C3),
    seeded("5", Mutant::ContextIgnored, 'Y', C6),
    seeded("6", Mutant::BlindOverwrite, 'Y', C1),
    seeded("7", Mutant::LastWriterWins, 'Y', C1),
    seeded("8", Mutant::MergeDropsValues, 'Y', C1),
    excluded("9", "no clock is ever truncated: caps refuse new puts instead"),
    seeded("10", Mutant::RetryMints, 'Y', C6),
    seeded("11", Mutant::AckBeforeW, 'w', C8),
    seeded("12", Mutant::HostTwice, 'w', C8),
    seeded("13", Mutant::SloppyAsStrict, 'Y', C4),
    seeded("14", Mutant::FirstReply, 'Y', C4),
    seeded("15", Mutant::CoordinatorUnsynced, 'w', C8),
    seeded("16", Mutant::ErrorAsAbsent, 'Y', C1_C7),
    excluded("17", MEMBERSHIP),
    seeded("18", Mutant::AmnesiacVotes, 'Y', C4),
    seeded("19", Mutant::AckUnsynced, 'Y', C8_C12),
    seeded("20", Mutant::SyncErrorSwallowed, 'Y', C12),
    seeded("21", Mutant::DamageAccepted, 'Y', C12_C7),
    excluded(
        "22",
        "the point of 21: without a checksum the damaged value is served and replicated",
    ),
    seeded("23", Mutant::TornBatch, 'Y', C12),
    excluded("24", "the simulated disk compacts nothing; real engines are judged on real nodes"),
    seeded("25", Mutant::FullDiskAcks, 'Y', C8_C11),
    seeded("26", Mutant::HintsVolatile, 'Y', C1_C9),
    seeded("27", Mutant::HintGoneAtSend, 'Y', C1_C9),
    seeded("28", Mutant::HandoffNotResumed, 'Y', C3_C9),
    seeded("29", Mutant::StoreOverwrites, 'Y', C1),
    excluded("30", MEMBERSHIP),
    seeded("31", Mutant::HintsExpire, 'Y', C1_C9),
    excluded("32", DELETES),
    excluded("33", MEMBERSHIP),
    excluded("34", "what is pushed is merged: any one reply is harmless without 29"),
    excluded("35", DELETES),
    excluded("36", ENTROPY),
    excluded("37", ENTROPY),
    excluded("38", MEMBERSHIP),
    seeded("39", Mutant::NodeWideCounter, 'Y', C1),
    seeded("40", Mutant::SlotTwice, 'w', C8_C1),
    seeded("41", Mutant::FallbackTwice, 'w', C8),
    excluded("42", "nothing refills an amnesiac yet"),
    excluded("43", DELETES),
    seeded("44", Mutant::DeadIdentityAcks, 'w', C9),
];
