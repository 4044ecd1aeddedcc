//! What every checker has in common: the three verdicts, the budget it judges within, how a finding is told
//! and made small, and how many judge side by side.

pub mod budget;
pub mod compose;
pub mod explain;
pub mod finding;
pub mod minimize;
pub(crate) mod parallel;
pub(crate) mod stats;
pub mod verdict;
