//! What faults have to wait for before they happen: the turn of the ring, and disks that may be lost.
//!
//! The ring changes once at a time. At most W-1 disks are lost at a time, and one that is refilled counts
//! until that is [done](super::restoring): no change of the ring begins meanwhile, for what the copies of
//! a key are is then told by its homes.

use super::faults::kind::Nature;

/// See the [module](self).
#[derive(Clone, Debug)]
pub(crate) struct Claims {
    most: usize,
    /// Lost disks are refilled.
    refills: bool,
    changing: bool,
    /// Disks that are being refilled.
    filling: usize,
    /// Disks that stay lost for the rest of the run.
    lost: usize,
}

impl Claims {
    /// Of a cluster that stands for so many lost disks, and refills them or does not.
    pub(crate) fn new(most: usize, refills: bool) -> Self {
        Self { most, refills, changing: false, filling: 0, lost: 0 }
    }

    /// Takes what a fault of this nature needs; whether it could be had.
    pub(crate) fn take(&mut self, nature: Nature) -> bool {
        let may_change = !self.changing && self.filling == 0;
        let may_lose = self.filling + self.lost < self.most;
        if nature.changes_the_ring && !may_change || nature.loses_a_disk && !may_lose {
            return false;
        }
        self.changing |= nature.changes_the_ring;
        if nature.loses_a_disk {
            *(if self.is_refilled(nature) { &mut self.filling } else { &mut self.lost }) += 1;
        }
        true
    }

    /// Whether the disk that a fault of this nature loses is refilled.
    pub(crate) fn is_refilled(&self, nature: Nature) -> bool {
        self.refills && nature.is_refilled
    }

    pub(crate) fn is_changing(&self) -> bool {
        self.changing
    }

    /// A change is over, however it ended.
    pub(crate) fn changed(&mut self) {
        self.changing = false;
    }

    /// A disk is refilled.
    pub(crate) fn refilled(&mut self) {
        self.filling -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::FaultName;

    #[test]
    fn one_change_goes_on_at_a_time_and_none_begins_while_a_disk_is_refilled() {
        let mut claims = Claims::new(1, true);
        let [join, wipe, kill] = [FaultName::Join, FaultName::Wipe, FaultName::Kill];
        assert!(claims.take(join.nature()) && !claims.take(join.nature()));
        assert!(claims.take(wipe.nature()), "a disk may be lost in the middle of a change");
        assert!(claims.take(kill.nature()) && !claims.take(wipe.nature()));
        claims.changed();
        assert!(!claims.take(join.nature()));
        claims.refilled();
        assert!(claims.take(join.nature()) && claims.take(wipe.nature()));
    }

    #[test]
    fn a_disk_that_is_not_refilled_is_lost_for_good() {
        let mut claims = Claims::new(2, false);
        let wipe = FaultName::Wipe.nature();
        assert!(claims.take(wipe) && claims.take(wipe) && !claims.take(wipe));
        let mut claims = Claims::new(1, true);
        assert!(claims.take(FaultName::Bitflip.nature()) && !claims.take(wipe));
        assert!(claims.take(FaultName::Join.nature()));
    }
}
