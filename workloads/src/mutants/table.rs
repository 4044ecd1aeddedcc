//! The table: every seedable bug by its number, where it is seeded, what each layer is expected to do
//! about it, and which checkers have to catch it; or why it is left out.
//!
//! To add one: a line in the core's `mutant.rs`, `mutated(Mutant::Name)` where the bug is, a line here.

use dynamo_protocol::mutant::Mutant;

use super::Layer;

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
    Seeded(Seeded),
    /// Left out, and why.
    Excluded(&'static str),
}

/// A bug that is seeded.
#[derive(Clone, Copy)]
pub(super) struct Seeded {
    /// Where.
    pub(super) mutant: Mutant,
    /// What the table expects of the model, the simulator, real nodes and, where it says, whole nodes under
    /// virtual time: a letter each.
    expected: &'static str,
    /// The checkers that have to catch it.
    pub(super) checkers: &'static [Checker],
}

/// The checkers by which mutants are killed, as the table numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checker {
    /// Acknowledged writes are in the final reads.
    C1,
    /// What was deleted stays so.
    C2,
    /// Replicas converge, hints run empty, repairs go quiet.
    C3,
    /// Strict quorums are fresh.
    C4,
    /// Session guarantees.
    C5,
    /// Causality: sibling bound, no dominated sibling, dots unique.
    C6,
    /// Integrity: what is read was written.
    C7,
    /// At the acknowledgement W distinct hosts hold it durably.
    C8,
    /// A hint goes only when its target has it.
    C9,
    /// The ring: N distinct hosts a range.
    C10,
    /// The bound on availability.
    C11,
    /// What was synced is recovered, what was not attempted is not.
    C12,
    /// The members agree: one ring a number, decided by a majority, and none goes back.
    C13,
    /// No operation becomes two events: `op-id` in the table.
    OpId,
    /// What lww and the paper's clocks promise themselves.
    Own,
}

use Checker::{C1, C2, C3, C4, C5, C6, C7, C8, C9, C10, C11, C12, C13, OpId, Own};

impl Checker {
    /// The checks of a layer that are this checker, by name.
    pub(super) fn checks(self, layer: Layer) -> &'static [&'static str] {
        match layer {
            Layer::Model => self.properties(),
            Layer::Sim | Layer::Local => self.sim(),
            Layer::Shell => self.shell(),
        }
    }

    /// Checks of the simulator, white-box invariants among them. Those of the histories alone are the
    /// same on real nodes.
    fn sim(self) -> &'static [&'static str] {
        match self {
            C1 => &["cart/lost", "siblings/lost"],
            C2 => &["collected-stays-gone", "siblings/V5"],
            C3 => &["at-rest", "convergence", "siblings/V3"],
            C4 => &["siblings/stale", "rollback-voted"],
            C5 => &["siblings/V4"],
            // Who mints what others may know has not yet minted a dot twice, and is about to.
            C6 => &["siblings/V1", "no-dominated-sibling", "dots-unique", "rollback-minted"],
            C7 => &["siblings/V0", "cart/integrity", "cart/unknown_item"],
            // `copies-kept` is the same count of disks after the acknowledgement, and `cart/copies`
            // the same at the end, read from the homes.
            // Who drops a stray that a home lacks has not yet dropped the last copy, and is about to.
            C8 => &["copies-at-ack", "copies-kept", "cart/copies", "dropped-is-held"],
            C9 => &["hint-accounting"],
            // Not measured here: the ring is static, and a run judges no availability.
            C10 | C11 | C13 => &[],
            // The second and third of real nodes alone: in the simulator a disk is looked at itself.
            C12 => &["recovery-oracle", "disks/RollbackUnnoticed", "disks/DamageUnnoticed"],
            OpId => &["minted-once"],
            Own => &["newest/newest", "newest/one", "unrivalled/lost", "unrivalled/dominated"],
        }
    }

    /// Checks of whole nodes under virtual time: those of histories, and of records and answers.
    fn shell(self) -> &'static [&'static str] {
        match self {
            C3 => &["at-rest", "convergence", "siblings/V3", "final-reads"],
            C6 => &["siblings/V1", "one-value-a-dot"],
            C8 => &["copies-at-ack", "stored-is-held"],
            C10 | C13 | Own => &[],
            C11 => &["answered", "stop-answers", "needless-refusal", "stops"],
            C12 => &["recovery-oracle", "told-is-durable", "record-replay", "fail-stop"],
            C1 => &["siblings/lost"],
            C2 | C4 | C5 | C7 | C9 | OpId => self.sim(),
        }
    }

    /// Properties of the model.
    fn properties(self) -> &'static [&'static str] {
        match self {
            C1 => &["acknowledged-kept"],
            C2 => &["collected-stays-gone", "no-resurrection"],
            C3 => &["converges", "converges-unread"],
            C4 => &["regular-gets"],
            C5 => &["read-your-writes", "monotonic-reads", "no-inversion"],
            // False siblings are what a sibling bound is broken by.
            C6 => &["bounded-versions", "no-false-siblings", "no-dominated-sibling", "dots-unique"],
            C7 => &["only-what-was-written"],
            C8 => &["held-by-w-at-acknowledgement", "w-copies", "dropped-is-held"],
            C9 => &["hint-kept-until-held"],
            C13 => &[
                "one-ring-a-number",
                "epoch-never-falls",
                "a-decision-stays-possible",
                "gone-stays-gone",
            ],
            C10 | C11 | C12 | OpId | Own => &[],
        }
    }
}

impl Seeded {
    /// What the table expects: `Y` it must be caught, `w` by white-box invariants, `p` it may be, `-` it
    /// cannot.
    pub(super) fn expected(&self, layer: Layer) -> char {
        let at = match layer {
            Layer::Model => 0,
            Layer::Sim => 1,
            Layer::Local => 2,
            Layer::Shell => 3,
        };
        self.expected.chars().nth(at).unwrap_or('-')
    }

    /// The checks of the layer that may kill it.
    pub(super) fn checks(&self, layer: Layer) -> Vec<&'static str> {
        self.checkers.iter().flat_map(|checker| checker.checks(layer)).copied().collect()
    }
}

const DELETES: &str = "the carts delete nothing: comes with a workload that does";

const fn seeded(
    number: &'static str,
    mutant: Mutant,
    expected: &'static str,
    checkers: &'static [Checker],
) -> Row {
    Row { number, what: What::Seeded(Seeded { mutant, expected, checkers }) }
}

const fn excluded(number: &'static str, why: &'static str) -> Row {
    Row { number, what: What::Excluded(why) }
}

const NO_FILES: &str = "a directory with a mark, a journal and a census is on real nodes alone";
const DISKS: &str = "the disks of a local run neither fail nor lose power yet";

/// The whole table.
pub(super) const ROWS: &[Row] = &[
    seeded("1", Mutant::ActorReused, "YYY", &[C1]),
    // One point: every record of a directory mints under its birth 0, so that a hint for one target,
    // a hint for another and the home's own record of a key share the actor.
    seeded("2", Mutant::ActorReused, "YYp", &[C1]),
    seeded("3", Mutant::ForgottenGoesOn, "YY-", &[C1]),
    seeded("4", Mutant::PlainClocks, "YYY", &[C6, C3]),
    seeded("5", Mutant::ContextIgnored, "YYY", &[C6]),
    seeded("6", Mutant::BlindOverwrite, "YYY", &[C1]),
    seeded("7", Mutant::LastWriterWins, "YYY", &[C1]),
    seeded("8", Mutant::MergeDropsValues, "YYY", &[C1]),
    seeded("9", Mutant::ClockPruned, "pYp", &[C6, C3]),
    seeded("10", Mutant::RetryMints, "YYY", &[C6, OpId]),
    // A second point of the same row: the network retries, not the node.
    seeded("10b", Mutant::CopyMints, "pY-", &[C6, OpId]),
    seeded("11", Mutant::AckBeforeW, "Ywp", &[C8]),
    seeded("12", Mutant::HostTwice, "YwY", &[C8, C10]),
    seeded("13", Mutant::SloppyAsStrict, "YYY", &[C4]),
    seeded("14", Mutant::FirstReply, "YYY", &[C4, C5]),
    seeded("15", Mutant::CoordinatorUnsynced, "Ywp", &[C8]),
    seeded("16", Mutant::ErrorAsAbsent, "YYY", &[C1, C7]),
    seeded("17", Mutant::OldEpochServed, "Yp-", &[C4]),
    seeded("18", Mutant::AmnesiacVotes, "YYY", &[C4]),
    seeded("19", Mutant::AckUnsynced, "YYY", &[C8, C12, C1]),
    seeded("20", Mutant::SyncErrorSwallowed, "-YY", &[C12]),
    seeded("21", Mutant::DamageAccepted, "-YY", &[C12, C7]),
    // One point: without a checksum the damaged value is served, merged and replicated.
    seeded("22", Mutant::DamageAccepted, "pYY", &[C7, C3]),
    seeded("23", Mutant::TornBatch, "YYp", &[C12]),
    excluded("24", "the simulated disk compacts nothing; real engines are judged on real nodes"),
    seeded("25", Mutant::FullDiskAcks, "pYY", &[C8, C11]),
    seeded("26", Mutant::HintsVolatile, "YYY", &[C1, C9]),
    seeded("27", Mutant::HintGoneAtSend, "YYY", &[C1, C9]),
    seeded("28", Mutant::HandoffNotResumed, "YYY", &[C3, C9]),
    seeded("29", Mutant::StoreOverwrites, "YYY", &[C1]),
    seeded("30", Mutant::HintNotAdopted, "YY-", &[C1, C9]),
    seeded("31", Mutant::HintsExpire, "YYp", &[C1, C9]),
    excluded("32", DELETES),
    seeded("33", Mutant::StrayUnconfirmed, "YY-", &[C1, C8]),
    excluded("34", "what is pushed is merged: any one reply is harmless without 29"),
    seeded("35", Mutant::TombstoneUnasked, "Yp-", &[C2]),
    seeded("36", Mutant::SyncCopies, "YYY", &[C1, C3]),
    seeded("37", Mutant::FalseMatch, "pYY", &[C3]),
    seeded("38", Mutant::MajorityLessOne, "Y--", &[C13]),
    seeded("39", Mutant::NodeWideCounter, "YYp", &[C1]),
    seeded("40", Mutant::SlotTwice, "Ywp", &[C8, C1]),
    seeded("41", Mutant::FallbackTwice, "Ywp", &[C8]),
    seeded("42", Mutant::RefillOfOne, "Yp-", &[C4]),
    seeded("43", Mutant::SettledWhileOpen, "Yp-", &[C2]),
    seeded("44", Mutant::DeadIdentityAcks, "Yw-", &[C9, C1]),
    seeded("45", Mutant::RollbackIgnored, "YYY", &[C6, C4, C1, C12]),
    seeded("46", Mutant::ProofOfOne, "YYp", &[C6, C4, C1]),
    seeded("47", Mutant::MemoryVolatile, "YYp", &[C6, C4, C1]),
    seeded("48", Mutant::DoubtMints, "YYp", &[C6, C1]),
    seeded("49", Mutant::DirectoryBelieved, "--Y", &[C12]),
    seeded("50", Mutant::DoubtForgotten, "ppp", &[C6, C4, C1]),
    seeded("51", Mutant::RefusalForgotten, "-p-", &[C3]),
    // Who decides, and how, the model searches by itself.
    seeded("52", Mutant::PromiseUnsaved, "Y--", &[C13]),
    seeded("53", Mutant::VoteUnsaved, "Y--", &[C13]),
    seeded("54", Mutant::WipedVotes, "Y--", &[C13]),
    seeded("55", Mutant::HighestVoteIgnored, "Y--", &[C13]),
    seeded("56", Mutant::MajorityLessOne, "Y--", &[C13]),
    seeded("57", Mutant::EpochUnsaved, "Y--", &[C13]),
    seeded("58", Mutant::VotesOnce, "Y--", &[C13]),
    seeded("59", Mutant::BallotReused, "Y--", &[C13]),
    seeded("60", Mutant::GoneJoins, "Y--", &[C13]),
    seeded("61", Mutant::StrayToOne, "Yw-", &[C1, C8]),
    seeded("62", Mutant::GrownStrayDropped, "Yp-", &[C1, C8]),
    seeded("63", Mutant::ComparedInAnyEpoch, "Yp-", &[C1, C8]),
    seeded("64", Mutant::OfferOutlivesEpoch, "Yp-", &[C1, C8]),
    seeded("65", Mutant::NewcomerVotes, "Yp-", &[C4]),
    seeded("66", Mutant::NewcomerAcks, "Yp-", &[C4]),
    seeded("67", Mutant::FilledByFewer, "Yp-", &[C4]),
    seeded("68", Mutant::FilledByUncounted, "Yp-", &[C4]),
    seeded("69", Mutant::SettledAtHomes, "Yp-", &[C2]),
    seeded("70", Mutant::OldEraStored, "Yp-", &[C2]),
    seeded("71", Mutant::ForcedOverVote, "Y--", &[C13]),
    seeded("81", Mutant::DoneClaimsSiblings, "Y--", &[C1]),
    // By kind of what the bench was blind to (docs/mutants.md).
    // What the simulator's clients put is never empty.
    seeded("82", Mutant::EmptyDeletes, "---Y", &[C1, C7]),
    seeded("83", Mutant::BlindPutOverwrites, "-Y-Y", &[C1]),
    // Its caps are drawn small in whole nodes alone.
    seeded("84", Mutant::CapDropsOldest, "---Y", &[C1]),
    seeded("85", Mutant::TombstonesUnrepaired, "-Y--", &[C3, C2]),
    seeded("86", Mutant::HintReplacesHint, "-w-p", &[C8, C1, C9]),
    seeded("87", Mutant::HintsGoTogether, "-w-p", &[C1, C9]),
    seeded("88", Mutant::DoubleAnswerCounts, "-w--", &[C8]),
    seeded("89", Mutant::AgreementIsEnough, "pY-p", &[C4, C5]),
    seeded("90", Mutant::CorruptIsNew, "-p--", &[C4, C6, C1, C3]),
    seeded("91", Mutant::NobodyStandsIn, "---p", &[C11]),
    seeded("92", Mutant::LowerIdentityIgnored, "-Y-p", &[C3, C1, C4]),
    seeded("93", Mutant::RenewedIfGreater, "-p--", &[C9, C1]),
    seeded("94", Mutant::LowerIncarnationIgnored, "-p-Y", &[C3, C11]),
    // The shell is in whole nodes alone.
    seeded("95", Mutant::LongValueCut, "---Y", &[C7]),
    seeded("96", Mutant::FailedCommitSkipped, "---Y", &[C1, C12, C8]),
    seeded("97", Mutant::GreatestDotWins, "-Y--", &[Own]),
    seeded("98", Mutant::StampKept, "-Y--", &[Own]),
    seeded("99", Mutant::ClockForgetsRead, "-Y--", &[Own]),
    seeded("100", Mutant::OlderClockKept, "-Y--", &[Own]),
    seeded("72", Mutant::ReleasedUnsynced, "---Y", &[C1, C8, C12]),
    seeded("73", Mutant::FailedCommitAcks, "---Y", &[C1, C12]),
    seeded("74", Mutant::OverlayForgotten, "---Y", &[C1, C6, C12]),
    seeded("75", Mutant::AnswersSwapped, "---Y", &[C1, C7]),
    seeded("76", Mutant::QueueLosesNext, "---Y", &[C11]),
    seeded("77", Mutant::AlarmNotAdvanced, "---Y", &[C11]),
    seeded("78", Mutant::StopAnswersNobody, "---Y", &[C11]),
    seeded("79", Mutant::SessionAsksAgain, "---Y", &[C7]),
    seeded("80", Mutant::IncarnationReused, "---Y", &[C6, C8, OpId]),
];

/// Why a bug survives a layer, as far as it is known.
pub(super) fn explanation(layer: Layer, number: &str) -> Option<&'static str> {
    let of = |(at, no, why): &(Layer, &str, &'static str)| {
        (*at == layer && *no == number).then_some(*why)
    };
    let of_register = layer != Layer::Model && REGISTER.contains(&number);
    EXPLANATIONS.iter().find_map(of).or(of_register.then_some(NO_REGISTER))
}

/// Rows of the register of memberships.
const REGISTER: &[&str] = &["38", "52", "53", "54", "55", "56", "57", "58", "59", "60", "71"];

const NO_REGISTER: &str =
    "what members agree on is not judged there: the model searches the register by itself";

const EXPLANATIONS: &[(Layer, &str, &str)] = &[
    (
        Layer::Sim,
        "90",
        "none in 3,000 seeds: a put has to come to a damaged record of a strict cluster, and a get before \
         any other home has brought back what it lost. Goldens show it",
    ),
    (
        Layer::Sim,
        "93",
        "none in 4,000 seeds: it is half of what 44 is, and that needs a wipe while hints are on their way. \
         Goldens show it",
    ),
    (
        Layer::Shell,
        "91",
        "none in 5,000 seeds: so many nodes have to be down for seconds that their homes alone are too few. \
         Goldens show it",
    ),
    (
        Layer::Sim,
        "42",
        "none in 5,000 seeds: a put has to be on its way to one home for as long as the lost disk takes to \
         come back and to have its first exchange with that home",
    ),
    (Layer::Model, "9", "no trial of the model seeds it yet"),
    (Layer::Model, "10b", "the model delivers each message once"),
    (Layer::Model, "16", "the model's stores never fail to read"),
    (Layer::Model, "20", "the model's disks have no errors"),
    (Layer::Model, "21", "the model's disks damage nothing"),
    (Layer::Model, "22", "the model's disks damage nothing"),
    (Layer::Model, "23", "a step of the model is applied whole or not at all"),
    (Layer::Model, "25", "the model's disks are never full"),
    (Layer::Model, "49", NO_FILES),
    (
        Layer::Model,
        "50",
        "it takes three puts, two starts and a member out of reach: golden `restart_in_doubt`",
    ),
    (Layer::Model, "51", "the model's disks have no errors"),
    (Layer::Sim, "49", NO_FILES),
    (
        Layer::Sim,
        "50",
        "one seed in 15,000: nobody who knows better may be in reach until as much is written as was lost. \
         Golden `restart_in_doubt` shows it",
    ),
    (
        Layer::Sim,
        "51",
        "one seed in 20,000: any message of one that knows better tells again, so all has to be quiet from \
         then on. The unit test `a_disk_that_refuses_to_be_told_is_told_again` shows it",
    ),
    (
        Layer::Local,
        "4",
        "a run shows what it loses, as cart/lost, and has too few siblings to explode",
    ),
    (Layer::Local, "16", DISKS),
    (Layer::Local, "18", "strict quorums are promised nothing while a wiped home is not refilled"),
    (Layer::Local, "19", DISKS),
    (Layer::Local, "20", DISKS),
    (Layer::Local, "21", DISKS),
    (Layer::Local, "22", DISKS),
    (Layer::Local, "25", DISKS),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_number_once_and_every_mutant() {
        let numbers: Vec<_> = ROWS.iter().map(|row| row.number.trim_end_matches('b')).collect();
        for number in 1..=68 {
            assert!(numbers.contains(&&*number.to_string()), "{number} is missing");
        }
        let mut all: Vec<_> = ROWS.iter().map(|row| row.number).collect();
        all.dedup();
        assert_eq!(all.len(), ROWS.len());
        for mutant in Mutant::ALL {
            let is_it = |row: &Row| matches!(row.what, What::Seeded(s) if s.mutant == *mutant);
            assert!(ROWS.iter().any(is_it), "{} is in no row", mutant.name());
        }
    }

    #[test]
    fn every_check_that_may_kill_exists() {
        for row in ROWS {
            let What::Seeded(seeded) = row.what else { continue };
            for property in seeded.checks(Layer::Model) {
                let of_register = model::register::property(property);
                assert!(model::property(property).is_some() || of_register.is_some(), "{property}");
            }
            let can_kill = |layer: &Layer| !seeded.checks(*layer).is_empty();
            let killed = [Layer::Model, Layer::Sim, Layer::Shell].iter().any(can_kill);
            assert!(killed, "nothing can kill {}", row.number);
        }
    }
}
