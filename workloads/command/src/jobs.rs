//! How much is done at a time.

use std::str::FromStr;

/// How many of something are done at a time; 0 is written for as many as there are cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jobs(usize);

impl Jobs {
    /// More threads than this only wait for each other.
    pub const MOST: usize = 256;

    /// The number of threads, at least one.
    #[must_use]
    pub fn threads(self) -> usize {
        match self.0 {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        }
    }
}

impl FromStr for Jobs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(count) if count <= Self::MOST => Ok(Self(count)),
            _ => Err(format!("a number from 1 to {}, or 0 for one a core", Self::MOST)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_of_jobs_means_that_nothing_is_done() {
        assert!("0".parse::<Jobs>().unwrap().threads() >= 1);
        assert_eq!("3".parse::<Jobs>().unwrap().threads(), 3);
        assert!("257".parse::<Jobs>().is_err() && "-1".parse::<Jobs>().is_err());
    }
}
