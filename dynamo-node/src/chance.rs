//! Where a node gets what no other start of any node may have: from the machine, or under virtual time from
//! the seed of its world.

/// A number that nobody else draws.
pub(crate) fn draw() -> u64 {
    #[cfg(feature = "simulation")]
    if let Some(drawn) = crate::simulation::draw() {
        return drawn;
    }
    rand::random()
}
