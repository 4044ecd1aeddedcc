//! What is asked about: a cluster's settings, as far as they decide what it promises.

use std::fmt;

use dynamo_protocol::{Quorum, ReadMode, Settings, Versioning};
use model::MAX_NODES;
use serde::{Deserialize, Serialize};

/// The settings that decide what is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// N: homes of a key.
    pub n: usize,
    /// R: answers a get waits for.
    pub r: usize,
    /// W: durable copies a put waits for.
    pub w: usize,
    /// Whether fallbacks stand in.
    pub quorum: Quorum,
    /// How versions are told apart.
    pub versioning: Versioning,
    /// Whether gets write back.
    pub read: ReadMode,
}

impl Setting {
    /// Of a cluster's settings. Anti-entropy is left out: nothing but convergence rests on it (rule 15 of
    /// docs/protocol.md), and that is judged after every home was read, where it makes no difference.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        let Settings { n, r, w, quorum, versioning, read, .. } = *settings;
        Self { n, r, w, quorum, versioning, read }
    }

    /// As the core takes it.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let Self { n, r, w, quorum, versioning, read } = *self;
        Settings { quorum, versioning, read, anti_entropy: false, ..Settings::new([n, r, w]) }
    }

    /// R + W - N: by how many hosts every R and every W overlap.
    #[must_use]
    pub fn margin(&self) -> isize {
        let count = |count: usize| isize::try_from(count).unwrap_or(isize::MAX);
        count(self.r + self.w) - count(self.n)
    }

    /// How many fallbacks a search has room for.
    #[must_use]
    pub fn fallbacks(&self) -> usize {
        match self.quorum {
            Quorum::Strict => 0,
            Quorum::Sloppy => MAX_NODES.saturating_sub(self.n).min(1),
        }
    }

    /// `3/2/2 sloppy dotted plain`.
    #[must_use]
    pub fn label(&self) -> String {
        self.to_string()
    }

    /// The same as part of a file's name.
    #[must_use]
    pub fn slug(&self) -> String {
        let Self { n, r, w, quorum, versioning, read } = self;
        format!("n{n}r{r}w{w}-{quorum}-{versioning}-{read}")
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { n, r, w, quorum, versioning, read } = self;
        write!(f, "{n}/{r}/{w} {quorum} {versioning} {read}")
    }
}
