//! Random numbers that are the same everywhere (splitmix64).

/// A stream of them.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// That of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream of its own: what is drawn from it changes nothing of this one.
    pub fn branch(&mut self) -> Self {
        Self(self.draw() ^ 0x5bf0_3635_dcd1_4c2b)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// One below `end`, or 0.
    pub fn below(&mut self, end: u64) -> u64 {
        let wide = u128::from(self.draw()) * u128::from(end);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// One from `least` to `most`.
    pub fn within(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most.saturating_sub(least).saturating_add(1))
    }

    /// Where so many bytes are cut in two. Few of them are cut near their beginning: frames that tell the
    /// time are not always as long, and nothing is to depend on that.
    pub(super) fn split(&mut self, bytes: usize) -> usize {
        const FEW: usize = 4 << 10;
        let at = if bytes > FEW { self.below(bytes as u64) } else { self.below(24) };
        usize::try_from(at).unwrap_or(0) + 1
    }

    /// Whether something happens that does in so many of a thousand cases.
    pub fn happens(&mut self, of_thousand: u64) -> bool {
        self.below(1000) < of_thousand
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_and_within_bounds() {
        let (mut one, mut two) = (Chance::new(7), Chance::new(7));
        let mut seen = [false; 4];
        for _ in 0..200 {
            let drawn = one.within(3, 6);
            assert_eq!(drawn, two.within(3, 6));
            seen[usize::try_from(drawn - 3).unwrap()] = true;
        }
        assert_eq!(seen, [true; 4]);
        assert_eq!((one.below(0), one.within(9, 9)), (0, 9));
        assert_ne!(one.branch().draw(), one.draw());
    }
}
