//! Into which ranges the ring is cut, and who holds them: the three strategies of section 6.2 of the paper.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A strategy. Spelt `tokens`, `tokens-over-equal:1024` or `equal:1024`, and the same everywhere: in flags,
/// plans, traces, records. Without a number there are [`Partitioning::USUAL`] partitions.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(into = "String", try_from = "String")]
pub enum Partitioning {
    /// Strategy 1: members have random tokens, and a range ends at each.
    #[default]
    Tokens,
    /// Strategy 2: members have random tokens, and ranges are of one size. Who holds one is looked up from
    /// its end.
    TokensOverEqual {
        /// Q: how many ranges.
        partitions: u32,
    },
    /// Strategy 3: ranges are of one size, and each member holds as many as its share is.
    Equal {
        /// Q: how many ranges.
        partitions: u32,
    },
}

/// Words that name no strategy.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnknownPartitioning {
    /// The first word is none.
    #[error("`{0}` is not one of {words}", words = Partitioning::WORDS.join(", "))]
    Word(String),
    /// Where tokens cut the ring, nobody says into how many.
    #[error("`tokens` cuts the ring at the tokens: leave `:{0}` out")]
    Counted(String),
    /// The number of partitions is none.
    #[error("`{0}` is no number of partitions: {1}")]
    Count(String, ParseIntError),
}

impl Partitioning {
    /// Their words, without numbers.
    pub const WORDS: &[&str] = &["tokens", "tokens-over-equal", "equal"];
    /// Q if nobody says otherwise: enough for some sixteen members.
    pub const USUAL: u32 = 1 << 10;
    /// The largest Q. Every node keeps a preference list of each.
    pub const MOST: u32 = 1 << 14;

    /// Q, where ranges are of one size.
    #[must_use]
    pub const fn partitions(self) -> Option<u32> {
        match self {
            Self::Tokens => None,
            Self::TokensOverEqual { partitions } | Self::Equal { partitions } => Some(partitions),
        }
    }

    /// Whether the ring can be cut so: Q is a power of two, so that the keys of a partition are those whose
    /// positions begin with the same bits.
    #[must_use]
    pub fn is_possible(self) -> bool {
        self.partitions().is_none_or(|count| count.is_power_of_two() && count <= Self::MOST)
    }
}

impl fmt::Display for Partitioning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tokens => f.write_str("tokens"),
            Self::TokensOverEqual { partitions } => write!(f, "tokens-over-equal:{partitions}"),
            Self::Equal { partitions } => write!(f, "equal:{partitions}"),
        }
    }
}

impl FromStr for Partitioning {
    type Err = UnknownPartitioning;

    fn from_str(text: &str) -> Result<Self, UnknownPartitioning> {
        let (word, count) = match text.split_once(':') {
            Some((word, count)) => (word, Some(count)),
            None => (text, None),
        };
        let partitions = || match count {
            None => Ok(Self::USUAL),
            Some(count) => {
                count.parse().map_err(|error| UnknownPartitioning::Count(count.to_owned(), error))
            }
        };
        match (word, count) {
            ("tokens", None) => Ok(Self::Tokens),
            ("tokens", Some(count)) => Err(UnknownPartitioning::Counted(count.to_owned())),
            ("tokens-over-equal", _) => Ok(Self::TokensOverEqual { partitions: partitions()? }),
            ("equal", _) => Ok(Self::Equal { partitions: partitions()? }),
            _ => Err(UnknownPartitioning::Word(word.to_owned())),
        }
    }
}

impl From<Partitioning> for String {
    fn from(partitioning: Partitioning) -> Self {
        partitioning.to_string()
    }
}

impl TryFrom<String> for Partitioning {
    type Error = UnknownPartitioning;

    fn try_from(text: String) -> Result<Self, UnknownPartitioning> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strategy_survives_its_text() {
        let partitions = 64;
        for strategy in [
            Partitioning::Tokens,
            Partitioning::TokensOverEqual { partitions },
            Partitioning::Equal { partitions },
        ] {
            assert_eq!(strategy.to_string().parse(), Ok(strategy));
        }
        let usual = Partitioning::Equal { partitions: Partitioning::USUAL };
        assert_eq!("equal".parse(), Ok(usual));
    }

    #[test]
    fn what_is_no_strategy_is_refused_with_the_words_there_are() {
        let refused = |text: &str| text.parse::<Partitioning>().unwrap_err().to_string();
        assert_eq!(refused("even"), "`even` is not one of tokens, tokens-over-equal, equal");
        assert_eq!(refused("tokens:8"), "`tokens` cuts the ring at the tokens: leave `:8` out");
        assert!(refused("equal:many").starts_with("`many` is no number of partitions"));
    }
}
