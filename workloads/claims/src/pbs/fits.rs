//! How long messages take: the fits of the published paper, in milliseconds.

use std::fmt;
use std::str::FromStr;

use rand::Rng;

/// One of the published fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// LinkedIn, solid-state disks.
    LnkdSsd,
    /// LinkedIn, spinning disks: writes take longer.
    LnkdDisk,
    /// Yammer: a long tail.
    Ymmr,
    /// LNKD-DISK with replicas 75 ms away from the first.
    Wan,
}

/// A word that names no fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownFit(String);

/// A body with some probability, else a tail.
#[derive(Clone, Copy, Debug)]
struct Mixture {
    /// How likely the body is.
    body: f64,
    /// Pareto: scale in ms, shape.
    pareto: [f64; 2],
    /// Exponential: rate, per ms.
    rate: f64,
}

const SSD: Mixture = Mixture { body: 0.9122, pareto: [0.235, 10.0], rate: 1.66 };
const DISK_WRITE: Mixture = Mixture { body: 0.38, pareto: [1.05, 1.51], rate: 0.183 };
const YMMR_WRITE: Mixture = Mixture { body: 0.939, pareto: [3.0, 3.5], rate: 0.0028 };
const YMMR_REST: Mixture = Mixture { body: 0.982, pareto: [1.5, 3.8], rate: 0.0217 };

/// Between sites, one way, in ms.
const FAR: f64 = 75.0;

impl Fit {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::LnkdSsd, Self::LnkdDisk, Self::Ymmr, Self::Wan];
    /// Their words, in the same order.
    pub const WORDS: [&str; 4] = ["lnkd-ssd", "lnkd-disk", "ymmr", "wan"];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::LnkdSsd => Self::WORDS[0],
            Self::LnkdDisk => Self::WORDS[1],
            Self::Ymmr => Self::WORDS[2],
            Self::Wan => Self::WORDS[3],
        }
    }

    /// The four ways to and from one replica: write, acknowledgement, read, answer. It may be in another site
    /// than who coordinates the put, and than who coordinates the get.
    #[inline]
    pub(super) fn draw(self, is_far: [bool; 2], rng: &mut impl Rng) -> [f64; 4] {
        let (write, rest) = match self {
            Self::LnkdSsd => (SSD, SSD),
            Self::LnkdDisk | Self::Wan => (DISK_WRITE, SSD),
            Self::Ymmr => (YMMR_WRITE, YMMR_REST),
        };
        let [put, get] = is_far.map(|is_far| if self == Self::Wan && is_far { FAR } else { 0.0 });
        [(write, put), (rest, put), (rest, get), (rest, get)].map(|(it, far)| it.draw(rng) + far)
    }
}

impl Mixture {
    #[inline]
    fn draw(self, rng: &mut impl Rng) -> f64 {
        // Of the same draw, scaled: which part it is, and where within it.
        let draw: f64 = rng.random();
        if draw < self.body {
            let left = 1.0 - draw / self.body;
            let [scale, shape] = self.pareto;
            scale * (-left.max(f64::MIN_POSITIVE).ln() / shape).exp()
        } else {
            let left = 1.0 - (draw - self.body) / (1.0 - self.body);
            -left.max(f64::MIN_POSITIVE).ln() / self.rate
        }
    }
}

impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Fit {
    type Err = UnknownFit;

    fn from_str(word: &str) -> Result<Self, UnknownFit> {
        let found = Self::ALL.into_iter().find(|fit| fit.word() == word);
        found.ok_or_else(|| UnknownFit(word.to_owned()))
    }
}

impl fmt::Display for UnknownFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not one of {}", self.0, Fit::WORDS.join(", "))
    }
}

impl std::error::Error for UnknownFit {}
