//! What is claimed: the closed list of properties, each with what refutes it in the model.

use std::fmt;
use std::str::FromStr;

use dynamo_protocol::Versioning;

/// A claim about all runs of a cluster. Each is about one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Property {
    /// No acknowledged put is lost.
    NoLostAck,
    /// A get that begins after an acknowledgement shows the put, or what overwrote it.
    Fresh,
    /// The same for a client's own puts.
    ReadYourWrites,
    /// A client's get shows all that an earlier one of its own showed.
    MonotonicReads,
    /// Who sees a put sees what its client had had acknowledged before.
    MonotonicWrites,
    /// Who sees a put sees nothing beside it that its client had read and overwritten.
    WritesFollowReads,
    /// The four session guarantees together.
    Causal,
    /// Puts and gets are those of one atomic register.
    Linearizable,
    /// A delete stays one.
    NoResurrection,
    /// All homes come to hold the same.
    Converges,
    /// A get shows one version at most.
    OneSibling,
    /// A get shows two at most.
    TwoSiblings,
    /// No request is refused or times out.
    Available,
    /// A get shows what was acknowledged longer than some time ago.
    TStale,
    /// A get shows one of the last k acknowledged puts.
    KStale,
}

/// A word that names no property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownProperty(pub String);

impl Property {
    /// All of them, in the order of the table.
    pub const ALL: &[Self] = &[
        Self::NoLostAck,
        Self::Fresh,
        Self::ReadYourWrites,
        Self::MonotonicReads,
        Self::MonotonicWrites,
        Self::WritesFollowReads,
        Self::Causal,
        Self::Linearizable,
        Self::NoResurrection,
        Self::Converges,
        Self::OneSibling,
        Self::TwoSiblings,
        Self::Available,
        Self::TStale,
        Self::KStale,
    ];

    /// The four that a causal store keeps (Brzezinski, Sobaniec, Wawrzyniak 2004: a store is causal if and
    /// only if it gives every session all four).
    pub const SESSION: &[Self] = &[
        Self::ReadYourWrites,
        Self::MonotonicReads,
        Self::MonotonicWrites,
        Self::WritesFollowReads,
    ];

    /// Its word, on the command line and in files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::NoLostAck => "no-lost-ack",
            Self::Fresh => "fresh",
            Self::ReadYourWrites => "read-your-writes",
            Self::MonotonicReads => "monotonic-reads",
            Self::MonotonicWrites => "monotonic-writes",
            Self::WritesFollowReads => "writes-follow-reads",
            Self::Causal => "causal",
            Self::Linearizable => "linearizable",
            Self::NoResurrection => "no-resurrection",
            Self::Converges => "converges",
            Self::OneSibling => "siblings<=1",
            Self::TwoSiblings => "siblings<=2",
            Self::Available => "available",
            Self::TStale => "t-stale",
            Self::KStale => "k-stale",
        }
    }

    /// What it says, in a sentence.
    #[must_use]
    pub fn says(self) -> &'static str {
        match self {
            Self::NoLostAck => "an acknowledged put, or one that overwrote it, is never lost",
            Self::Fresh => {
                "a get that begins after a put was acknowledged shows it or what overwrote it"
            }
            Self::ReadYourWrites => {
                "a client's get shows its own acknowledged puts, through any node"
            }
            Self::MonotonicReads => "a client's get shows all that its earlier gets showed",
            Self::MonotonicWrites => {
                "who sees a put sees what its client had had acknowledged before it"
            }
            Self::WritesFollowReads => {
                "who sees a put is not shown beside it what its client had read"
            }
            Self::Causal => "the four session guarantees together",
            Self::Linearizable => "puts and gets look like those of one atomic register",
            Self::NoResurrection => "what a delete overwrote is not shown again once homes agree",
            Self::Converges => "healed, at rest and read once everywhere, all homes hold the same",
            Self::OneSibling => "a get shows one version at most",
            Self::TwoSiblings => "a get shows two versions at most",
            Self::Available => "no request of a client is refused or times out",
            Self::TStale => "a get shows what was acknowledged more than t before it began",
            Self::KStale => "a get shows one of the k puts that were acknowledged last",
        }
    }

    /// The properties of the model of which any found refutes it.
    #[must_use]
    pub fn refuted_by(self) -> &'static [&'static str] {
        match self {
            Self::NoLostAck => &["acknowledged-kept"],
            Self::Fresh => &["regular-gets"],
            Self::ReadYourWrites => &["read-your-writes"],
            Self::MonotonicReads => &["monotonic-reads"],
            Self::MonotonicWrites => &["monotonic-writes"],
            Self::WritesFollowReads => &["no-false-siblings"],
            // Lamport 1986: a regular register without new-then-old is atomic.
            Self::Linearizable => {
                &["regular-gets", "no-inversion", "a-get-shows-siblings", "only-what-was-written"]
            }
            Self::NoResurrection => &["no-resurrection"],
            Self::Converges => &["converges"],
            Self::OneSibling => &["a-get-shows-siblings"],
            Self::TwoSiblings => &["a-get-shows-three-siblings"],
            Self::Available => &["all-answered"],
            Self::Causal | Self::TStale | Self::KStale => &[],
        }
    }

    /// What a search must have reached, all of it, or it says nothing of the property: without it the
    /// property holds of nothing at all.
    pub(crate) fn witnesses(self) -> &'static [&'static str] {
        match self {
            Self::NoLostAck => &["a-put-comes-to-rest"],
            Self::Fresh | Self::OneSibling => &["a-get-is-due"],
            Self::TwoSiblings => &["a-get-follows-three-puts"],
            Self::ReadYourWrites => &["a-client-reads-its-own"],
            Self::MonotonicReads => &["a-client-reads-again"],
            Self::MonotonicWrites => &["a-second-write-is-seen"],
            Self::WritesFollowReads => &["a-write-follows-a-read"],
            Self::Linearizable => &["a-get-is-due", "a-get-follows-a-get"],
            Self::NoResurrection => &["a-delete-comes-to-rest"],
            Self::Converges => &["a-put-comes-to-rest"],
            Self::Available => &["a-put-is-acknowledged"],
            Self::Causal | Self::TStale | Self::KStale => &[],
        }
    }

    /// Whether more R or W can only help: a refutation then holds for less of both, a proof for more. Not so
    /// where puts are dropped by their stamps or clocks: a larger R shows more versions, and so has more of
    /// them dropped, which others then miss.
    pub(crate) fn grows_with_quorums(self, versioning: Versioning) -> bool {
        let grows = matches!(
            self,
            Self::NoLostAck
                | Self::Fresh
                | Self::ReadYourWrites
                | Self::MonotonicReads
                | Self::Linearizable
        );
        grows && versioning == Versioning::Dotted
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Property {
    type Err = UnknownProperty;

    fn from_str(word: &str) -> Result<Self, UnknownProperty> {
        let found = Self::ALL.iter().copied().find(|property| property.word() == word);
        found.ok_or_else(|| UnknownProperty(word.to_owned()))
    }
}

impl fmt::Display for UnknownProperty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<_> = Property::ALL.iter().map(|property| property.word()).collect();
        write!(f, "`{}` is no property; there are {}", self.0, known.join(", "))
    }
}

impl std::error::Error for UnknownProperty {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_property_is_read_back_and_names_properties_the_model_has() {
        for property in Property::ALL {
            assert_eq!(property.word().parse(), Ok(*property));
            for name in property.refuted_by().iter().chain(property.witnesses()) {
                assert!(model::property(name).is_some(), "{property}: {name}");
            }
        }
        let told = "strong".parse::<Property>().unwrap_err().to_string();
        assert!(told.contains("`strong`") && told.contains("no-lost-ack, fresh"), "{told}");
    }

    #[test]
    fn what_shows_that_a_proof_is_not_vacuous_must_be_reached_and_not_avoided() {
        for property in Property::ALL {
            for name in property.witnesses() {
                let kind = model::property(name).map(|property| property.kind);
                assert_eq!(kind, Some(model::Kind::Sometimes), "{name}");
            }
        }
    }
}
