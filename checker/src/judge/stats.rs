//! Statistics of what was measured.

use serde_json::Value;

/// Count and quantiles of a sample, by nearest rank. Leaves it sorted.
pub(crate) fn distribution(sample: &mut [f64]) -> Value {
    sample.sort_unstable_by(f64::total_cmp);
    serde_json::json!({
        "count": sample.len(),
        "p50": quantile(sample, 0.5),
        "p95": quantile(sample, 0.95),
        "p99": quantile(sample, 0.99),
        "max": sample.last(),
    })
}

/// The value that `share` of a sorted sample do not exceed, by nearest rank; none of an empty one.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}
