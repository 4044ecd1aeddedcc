//! Shares in proportion to weights, within bounds.

/// What one of several may get of a whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    /// It gets in proportion to this,
    pub(super) weight: u64,
    /// but no less than this,
    pub(super) least: u64,
    /// and no more than this.
    pub(super) most: u64,
}

/// The binary places of a share.
const PLACES: u32 = 20;

/// A share, in units of 2^-20.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share(u64);

impl Share {
    /// As much less as is left to chance, rounded down.
    pub(super) fn least(self) -> usize {
        (self.0.saturating_sub(self.slack()) >> PLACES) as usize
    }

    /// As much more, rounded up.
    pub(super) fn most(self) -> usize {
        (self.0 + self.slack()).div_ceil(1 << PLACES) as usize
    }

    /// What is left to chance: a twentieth, or, where chance alone is off by more, its standard deviation,
    /// the square root. To mend less than that costs more than it gains.
    fn slack(self) -> u64 {
        (self.0 / 20).max((self.0 << PLACES).isqrt())
    }
}

/// Parts `total`: each gets as much for its weight as any other, but for those that are at a bound of theirs.
/// What they come to is `total`, less what rounding takes.
pub(super) fn shares(total: u64, claims: &[Claim]) -> Vec<Share> {
    let (fewest, most): (u64, u64) =
        claims.iter().fold((0, 0), |(least, most), claim| (least + claim.least, most + claim.most));
    assert!((fewest..=most).contains(&total), "{total} can be parted: from {fewest} to {most}");
    // What a weight of one is worth, by bisection: shares grow with it.
    let of = |claim: &Claim, worth: u64| {
        let share = u128::from(claim.weight) * u128::from(worth);
        share.clamp(u128::from(claim.least) << PLACES, u128::from(claim.most) << PLACES) as u64
    };
    let fits = |worth| {
        let sum: u128 = claims.iter().map(|claim| u128::from(of(claim, worth))).sum();
        sum <= u128::from(total) << PLACES
    };
    let (mut low, mut high) = (0, (total + 1) << PLACES);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    claims.iter().map(|claim| Share(of(claim, low))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parted(total: u64, claims: &[(u64, u64, u64)]) -> Vec<f64> {
        let claim = |&(weight, least, most): &(u64, u64, u64)| Claim { weight, least, most };
        let claims: Vec<_> = claims.iter().map(claim).collect();
        let round = |share: f64| (share * 1e3).round() / 1e3;
        shares(total, &claims).iter().map(|share| round(share.0 as f64 / 1_048_576.0)).collect()
    }

    #[test]
    fn a_whole_is_parted_by_weight_and_what_one_cannot_take_the_others_do() {
        assert_eq!(parted(10, &[(1, 0, 10), (4, 0, 10)]), [2.0, 8.0]);
        assert_eq!(parted(12, &[(1, 0, 6), (1, 0, 6), (9, 0, 6)]), [3.0, 3.0, 6.0]);
        assert_eq!(parted(12, &[(1, 3, 9), (9, 0, 9)]), [3.0, 9.0]);
        assert_eq!(parted(12, &[(5, 4, 4), (9, 8, 8)]), [4.0, 8.0]);
    }

    #[test]
    fn the_bounds_of_a_share_are_a_twentieth_apart_from_it_or_its_root() {
        let share = |total| shares(total, &[Claim { weight: 1, least: 0, most: total }])[0];
        let bounds = |total| (share(total).least(), share(total).most());
        assert_eq!(bounds(800), (760, 840));
        assert_eq!(bounds(100), (90, 110));
        assert_eq!(bounds(2), (0, 4));
        assert_eq!(bounds(0), (0, 0));
    }
}
