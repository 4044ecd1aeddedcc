//! The interval of a share that was counted.

/// Quantile of the normal distribution that leaves 2.5 % on either side.
const Z: f64 = 1.959_963_984_540_054;

/// Wilson's interval, 95 %, of `good` out of `all` (Wilson, "Probable inference, the law of succession, and
/// statistical inference", 1927). Of nothing nothing is known: from 0 to 1.
#[must_use]
pub fn wilson(good: u64, all: u64) -> [f64; 2] {
    if all == 0 {
        return [0.0, 1.0];
    }
    let (n, share) = (all as f64, good as f64 / all as f64);
    let square = Z * Z;
    let middle = share + square / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + square / (4.0 * n * n)).sqrt();
    let end = |end: f64| (end / (1.0 + square / n)).clamp(0.0, 1.0);
    [end(middle - half), end(middle + half)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3.
    #[test]
    fn intervals_are_those_of_the_literature() {
        for (good, all, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let [a, b] = wilson(good, all);
            assert!((a - low).abs() < 6e-5 && (b - high).abs() < 6e-5, "{good}/{all}: {a} {b}");
        }
        assert_eq!(wilson(0, 0), [0.0, 1.0]);
        assert_eq!(wilson(29, 29)[1], 1.0);
    }
}
