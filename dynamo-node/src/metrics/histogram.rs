//! Counts by size.

/// How many of what was observed are up to each of some bounds.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    bounds: &'static [f64],
    /// Of each bound those that are above the one before it; last those that are above all.
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    /// With `bounds` from small to large.
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    pub(crate) fn observe(&mut self, size: f64) {
        let at = self.bounds.partition_point(|bound| *bound < size);
        self.counts[at] += 1;
        self.sum += size;
    }

    pub(super) fn sum(&self) -> f64 {
        self.sum
    }

    /// Each bound with how many are up to it, and in the end how many there are.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (Option<f64>, u64)> {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        let counts = self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        bounds.zip(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_counted_at_every_bound_that_it_does_not_exceed() {
        let mut sizes = Histogram::new(&[1.0, 2.0]);
        [0.5, 1.0, 1.5, 9.0].into_iter().for_each(|size| sizes.observe(size));
        let all: Vec<_> = sizes.cumulative().collect();
        assert_eq!(all, [(Some(1.0), 2), (Some(2.0), 3), (None, 4)]);
        assert_eq!(sizes.sum(), 12.0);
    }
}
