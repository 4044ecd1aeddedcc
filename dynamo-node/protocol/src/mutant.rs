//! Seeded bugs: what the bench has to catch. Only a build with the feature `mutants` has them; in
//! any other [`mutated`] is a constant, and nothing of this is left.

/// Expands to the enum, and to the names in builds that need them.
macro_rules! mutants {
    ($($(#[$doc:meta])* $mutant:ident = $name:literal,)*) => {
        /// A seeded bug. What each does is said where it is done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Mutant {
            $($(#[$doc])* $mutant,)*
        }

        #[cfg(feature = "mutants")]
        impl Mutant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$mutant),*];

            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$mutant => $name,)* }
            }
        }
    };
}

mutants! {
    /// The actor of a record made anew is that of the one that was lost.
    ActorReused = "actor-reused",
    /// A record that forgot goes on counting from what others know of it.
    ForgottenGoesOn = "forgotten-goes-on",
    /// One clock for all siblings, without dots: a stale context overwrites none of what it read.
    PlainClocks = "plain-clocks",
    /// A put overwrites nothing.
    ContextIgnored = "context-ignored",
    /// A put overwrites everything.
    BlindOverwrite = "blind-overwrite",
    /// The newest wall clock wins.
    LastWriterWins = "last-writer-wins",
    /// A merge keeps the context of what it drops.
    MergeDropsValues = "merge-drops-values",
    /// A put whose home is silent is coordinated once more.
    RetryMints = "retry-mints",
    /// A context forgets its oldest actor when it names too many.
    ClockPruned = "clock-pruned",
    /// A forwarded put that arrives twice is coordinated twice.
    CopyMints = "copy-mints",
    /// A put's reply has a context also where siblings are left.
    DoneClaimsSiblings = "done-claims-siblings",
    /// Acknowledged at W-1.
    AckBeforeW = "ack-before-w",
    /// A host stands twice in a preference list.
    HostTwice = "host-twice",
    /// Fallbacks stand in under a strict quorum.
    SloppyAsStrict = "sloppy-as-strict",
    /// A get answers from the first reply.
    FirstReply = "first-reply",
    /// A coordinator does not wait for its own disk.
    CoordinatorUnsynced = "coordinator-unsynced",
    /// A read that fails finds nothing.
    ErrorAsAbsent = "error-as-absent",
    /// An amnesiac votes.
    AmnesiacVotes = "amnesiac-votes",
    /// Nobody waits for a disk.
    AckUnsynced = "ack-unsynced",
    /// A sync that failed passes for one that did not.
    SyncErrorSwallowed = "sync-error-swallowed",
    /// A damaged record is read as it lies.
    DamageAccepted = "damage-accepted",
    /// A batch is not atomic.
    TornBatch = "torn-batch",
    /// A write that failed is acknowledged.
    FullDiskAcks = "full-disk-acks",
    /// Hints do not outlive the process.
    HintsVolatile = "hints-volatile",
    /// A hint is removed when it is sent.
    HintGoneAtSend = "hint-gone-at-send",
    /// Hints found at the start are not delivered.
    HandoffNotResumed = "handoff-not-resumed",
    /// What is stored replaces what was there.
    StoreOverwrites = "store-overwrites",
    /// Hints for a target that stays down expire.
    HintsExpire = "hints-expire",
    /// Dots come from a node-wide counter.
    NodeWideCounter = "node-wide-counter",
    /// A home and its own fallback both count.
    SlotTwice = "slot-twice",
    /// A fallback for two slots counts twice.
    FallbackTwice = "fallback-twice",
    /// An acknowledgement of a delivery counts whoever gave it.
    DeadIdentityAcks = "dead-identity-acks",
    /// A rolled-back node does not heed what its peers remember.
    RollbackIgnored = "rollback-ignored",
    /// One peer that remembers no more proves that none does.
    ProofOfOne = "proof-of-one",
    /// What is remembered of peers does not outlive the process.
    MemoryVolatile = "memory-volatile",
    /// A node mints under its old actors before its peers have answered.
    DoubtMints = "doubt-mints",
    /// A node that starts again in doubt takes what it wrote in the first for what it had before.
    DoubtForgotten = "doubt-forgotten",
    /// A node whose disk refuses to be told that it was rolled back asks no more.
    RefusalForgotten = "refusal-forgotten",
    /// A directory that is not what its mark and its census say goes on as if it were.
    DirectoryBelieved = "directory-believed",
    /// An exchange takes the other's versions in the place of its own.
    SyncCopies = "sync-copies",
    /// Two fingerprints match if they count as many keys.
    FalseMatch = "false-match",
    /// An amnesiac votes once it had an exchange with one home.
    RefillOfOne = "refill-of-one",
    /// A promise is given before it is on disk.
    PromiseUnsaved = "promise-unsaved",
    /// A vote is given before it is on disk.
    VoteUnsaved = "vote-unsaved",
    /// A wiped directory votes in the place of the one that was lost.
    WipedVotes = "wiped-votes",
    /// A proposer asks for its own edit, whatever was voted for.
    HighestVoteIgnored = "highest-vote-ignored",
    /// One vote less than a majority decides.
    MajorityLessOne = "majority-less-one",
    /// An epoch is acted upon and told before it is on disk.
    EpochUnsaved = "epoch-unsaved",
    /// There are no ballots: nobody waits for promises, and a voter never votes for anything else than first.
    VotesOnce = "votes-once",
    /// A wiped directory uses the ballots of the one before once more.
    BallotReused = "ballot-reused",
    /// A hint for a node that is no home any more is dropped.
    HintNotAdopted = "hint-not-adopted",
    /// A stray is dropped as soon as it is offered.
    StrayUnconfirmed = "stray-unconfirmed",
    /// A stray is dropped once one home has it.
    StrayToOne = "stray-to-one",
    /// A stray is dropped that has grown since it was offered.
    GrownStrayDropped = "grown-stray-dropped",
    /// Nodes compare what they hold whatever the epochs they go by.
    ComparedInAnyEpoch = "compared-in-any-epoch",
    /// What was offered in one epoch may be dropped in the next.
    OfferOutlivesEpoch = "offer-outlives-epoch",
    /// A directory that was removed joins again.
    GoneJoins = "gone-joins",
    /// A member that goes on without a vote makes what its operator wants, whatever it has voted for.
    ForcedOverVote = "forced-over-vote",
    /// A home of a strict cluster serves whoever goes by an earlier epoch.
    OldEpochServed = "old-epoch-served",
    /// A newcomer votes before it is filled.
    NewcomerVotes = "newcomer-votes",
    /// That a newcomer stored something counts before it is filled.
    NewcomerAcks = "newcomer-acks",
    /// A newcomer is filled by one home less than it takes.
    FilledByFewer = "filled-by-fewer",
    /// A newcomer is filled by homes that did not count.
    FilledByUncounted = "filled-by-uncounted",
    /// A tombstone goes when one home holds it and nothing else.
    TombstoneUnasked = "tombstone-unasked",
    /// A tombstone goes when all homes hold it, whatever hints others hold.
    SettledAtHomes = "settled-at-homes",
    /// A tombstone goes while somebody coordinates an operation on its key.
    SettledWhileOpen = "settled-while-open",
    /// What was sent before a tombstone went is taken in after it.
    OldEraStored = "old-era-stored",
    /// What a batch has to be durable for leaves the node before it is.
    ReleasedUnsynced = "released-unsynced",
    /// The committer says that a batch is durable of which the disk said that it failed.
    FailedCommitAcks = "failed-commit-acks",
    /// What a later batch changed is forgotten when an earlier one is committed.
    OverlayForgotten = "overlay-forgotten",
    /// Answers that go out together go to each other's requests.
    AnswersSwapped = "answers-swapped",
    /// What would not fit into a message any more is taken from the queue, and sent in none.
    QueueLosesNext = "queue-loses-next",
    /// The alarm is not set for what is due sooner than what it was set for.
    AlarmNotAdvanced = "alarm-not-advanced",
    /// A node that is told to stop ends at once.
    StopAnswersNobody = "stop-answers-nobody",
    /// A client asks again for what its broken session has not answered.
    SessionAsksAgain = "session-asks-again",
    /// Every start on a directory has the same incarnation.
    IncarnationReused = "incarnation-reused",
    /// An empty value is taken for a delete.
    EmptyDeletes = "empty-deletes",
    /// A put without a context overwrites what its coordinator holds.
    BlindPutOverwrites = "blind-put-overwrites",
    /// Where one sibling more may not be kept, the oldest goes.
    CapDropsOldest = "cap-drops-oldest",
    /// What homes have a tombstone for is not repaired.
    TombstonesUnrepaired = "tombstones-unrepaired",
    /// A hint takes the place of an earlier one of its key.
    HintReplacesHint = "hint-replaces-hint",
    /// One acknowledged hint removes all that are under way with it.
    HintsGoTogether = "hints-go-together",
    /// A host that answers twice counts for two.
    DoubleAnswerCounts = "double-answer-counts",
    /// An atomic get shows at once what all have answered alike, however few they are.
    AgreementIsEnough = "agreement-is-enough",
    /// A record that cannot be read is made anew as if nothing had been there.
    CorruptIsNew = "corrupt-is-new",
    /// Nobody stands in for a home.
    NobodyStandsIn = "nobody-stands-in",
    /// Of two identities the greater one is taken for the later, and the other one is not heard.
    LowerIdentityIgnored = "lower-identity-ignored",
    /// That a peer's directory is another is noted only if its identity is greater.
    RenewedIfGreater = "renewed-if-greater",
    /// A put of a process whose incarnation is not the greatest yet is taken for a copy.
    LowerIncarnationIgnored = "lower-incarnation-ignored",
    /// Last writer wins: by its dot, whatever the stamp.
    GreatestDotWins = "greatest-dot-wins",
    /// Last writer wins: a put takes the newest stamp there is, not one of its own.
    StampKept = "stamp-kept",
    /// The paper's clocks: a put counts its coordinator up and forgets what it read.
    ClockForgetsRead = "clock-forgets-read",
    /// The paper's clocks: of a version and one that covers it the former is kept.
    OlderClockKept = "older-clock-kept",
    /// A long value loses its end on its way in.
    LongValueCut = "long-value-cut",
    /// After a commit that failed the next one is made.
    FailedCommitSkipped = "failed-commit-skipped",
}

impl Mutant {
    /// Those of the agreement on memberships, and of rings that change.
    pub const OF_MEMBERSHIP: &[Self] = &[
        Self::PromiseUnsaved,
        Self::VoteUnsaved,
        Self::WipedVotes,
        Self::HighestVoteIgnored,
        Self::MajorityLessOne,
        Self::EpochUnsaved,
        Self::VotesOnce,
        Self::BallotReused,
        Self::HintNotAdopted,
        Self::StrayUnconfirmed,
        Self::StrayToOne,
        Self::GrownStrayDropped,
        Self::ComparedInAnyEpoch,
        Self::OfferOutlivesEpoch,
        Self::GoneJoins,
        Self::ForcedOverVote,
        Self::OldEpochServed,
        Self::NewcomerVotes,
        Self::NewcomerAcks,
        Self::FilledByFewer,
        Self::FilledByUncounted,
    ];

    /// Those of the shell around the core, which only whole nodes have.
    pub const OF_SHELL: &[Self] = &[
        Self::ReleasedUnsynced,
        Self::FailedCommitAcks,
        Self::OverlayForgotten,
        Self::AnswersSwapped,
        Self::QueueLosesNext,
        Self::AlarmNotAdvanced,
        Self::StopAnswersNobody,
        Self::SessionAsksAgain,
        Self::IncarnationReused,
        Self::LongValueCut,
        Self::FailedCommitSkipped,
    ];

    /// Those of the collection of tombstones. No workload of the other layers deletes.
    pub const OF_TOMBSTONES: &[Self] =
        &[Self::TombstoneUnasked, Self::SettledAtHomes, Self::SettledWhileOpen, Self::OldEraStored];
}

/// Whether this seeded bug is on.
#[cfg(not(feature = "mutants"))]
#[must_use]
pub const fn mutated(_: Mutant) -> bool {
    false
}

#[cfg(feature = "mutants")]
pub use active::{activate, active, mutated};

#[cfg(feature = "mutants")]
mod active {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::Mutant;

    /// One above the active mutant's place; 0 for none.
    static ACTIVE: AtomicUsize = AtomicUsize::new(0);

    /// Turns one seeded bug on for the whole process, or all of them off.
    pub fn activate(mutant: Option<Mutant>) {
        ACTIVE.store(mutant.map_or(0, |mutant| mutant as usize + 1), Ordering::Relaxed);
    }

    /// The seeded bug that is on.
    #[must_use]
    pub fn active() -> Option<Mutant> {
        Mutant::ALL.iter().copied().find(|mutant| mutated(*mutant))
    }

    /// Whether this seeded bug is on.
    #[must_use]
    pub fn mutated(mutant: Mutant) -> bool {
        ACTIVE.load(Ordering::Relaxed) == mutant as usize + 1
    }
}
