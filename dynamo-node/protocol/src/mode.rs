//! The modes of a cluster. Each is spelt here, and the same everywhere: in flags, plans, traces, records.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A word that names no mode.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{word}` is not one of {}", known.join(", "))]
pub struct UnknownMode {
    /// The word.
    pub word: String,
    /// The words there are.
    pub known: &'static [&'static str],
}

macro_rules! modes {
    ($(#[$doc:meta])* $name:ident { $($(#[$mode_doc:meta])* $mode:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$mode_doc])* #[serde(rename = $word)] $mode,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$mode),*];
            /// Their words, in the same order.
            pub const WORDS: &[&str] = &[$($word),*];

            /// Its word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$mode => $word,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownMode;

            fn from_str(word: &str) -> Result<Self, UnknownMode> {
                let found = Self::ALL.iter().copied().find(|mode| mode.as_str() == word);
                found.ok_or_else(|| UnknownMode { word: word.to_owned(), known: Self::WORDS })
            }
        }
    };
}

modes! {
    /// Who may answer for a home that is out of reach.
    Quorum {
        /// The next healthy host of the preference list (paper, section 4.6): always writable.
        Sloppy = "sloppy",
        /// Nobody: refuses while too few homes answer.
        Strict = "strict",
    }
}

modes! {
    /// How versions are told apart.
    Versioning {
        /// Dotted version vector sets: nothing acknowledged is lost.
        Dotted = "dotted",
        /// The paper's vector clocks: concurrent puts through one coordinator overwrite each other.
        Paper = "paper",
        /// Dotted sets in storage, but a get answers only the version with the newest wall clock, and
        /// its context covers the others: the next put drops them unread.
        Lww = "lww",
    }
}

modes! {
    /// When a get whose answers differ writes the merged set back.
    ReadMode {
        /// After the reply: read repair (paper, section 5).
        Plain = "plain",
        /// To W homes before the reply, one more round when the R answers differ: no get sees less than one
        /// that ended before it.
        Atomic = "atomic",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_read_by_the_word_it_is_written_with() {
        for word in Quorum::WORDS {
            assert_eq!(word.parse::<Quorum>().unwrap().to_string(), *word);
        }
        for word in Versioning::WORDS {
            assert_eq!(word.parse::<Versioning>().unwrap().to_string(), *word);
        }
        for word in ReadMode::WORDS {
            assert_eq!(word.parse::<ReadMode>().unwrap().to_string(), *word);
        }
    }

    #[test]
    fn a_word_of_no_mode_is_told_those_there_are() {
        let error = "weak".parse::<Quorum>().unwrap_err();
        assert_eq!(error.to_string(), "`weak` is not one of sloppy, strict");
    }
}
