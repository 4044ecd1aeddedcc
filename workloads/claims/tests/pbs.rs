//! The predictions are those that were published, and that an independent prototype made.

use dyno_claims::pbs::Coordinator::{Home, Outside};
use dyno_claims::pbs::{Coordinator, Curve, Fit, Prediction, k_fresh, predict};

const TRIALS: usize = 400_000;

fn curve(fit: Fit, r: usize, w: usize, coordinator: Coordinator) -> Curve {
    predict(&Prediction { n: 3, r, w, fit, coordinator }, TRIALS, 7)
}

#[track_caller]
fn near(found: f64, expected: f64, by: f64) {
    assert!((found - expected).abs() <= by, "{found} is not within {by} of {expected}");
}

/// Half a point.
const HALF: f64 = 0.005;

#[test]
fn fresh_at_once_is_as_published_within_half_a_point() {
    near(curve(Fit::LnkdSsd, 1, 1, Outside).fresh(0.0), 0.974, HALF);
    near(curve(Fit::LnkdDisk, 1, 1, Outside).fresh(0.0), 0.437, HALF);
    near(curve(Fit::LnkdSsd, 2, 1, Outside).fresh(0.0), 0.9994, HALF);
}

#[test]
fn a_coordinator_that_is_a_home_is_staler() {
    near(curve(Fit::LnkdSsd, 1, 1, Home).fresh(0.0), 0.334, HALF);
    near(curve(Fit::LnkdSsd, 2, 1, Home).fresh(0.0), 0.797, HALF);
    // With R=W=1 each home answers by itself: fresh is who had the put, one of three.
    near(curve(Fit::LnkdDisk, 1, 1, Home).fresh(0.0), 1.0 / 3.0, HALF);
}

#[test]
fn the_wait_for_three_nines_is_as_an_independent_prototype_has_it() {
    near(curve(Fit::LnkdSsd, 1, 1, Outside).wait(0.999), 1.95, 0.1);
    near(curve(Fit::LnkdSsd, 1, 1, Home).wait(0.999), 2.44, 0.12);
    near(curve(Fit::LnkdDisk, 1, 1, Outside).wait(0.999), 50.7, 2.5);
    near(curve(Fit::Ymmr, 1, 1, Outside).wait(0.999), 1451.0, 60.0);
    near(curve(Fit::Ymmr, 2, 1, Outside).wait(0.999), 206.0, 30.0);
    near(curve(Fit::LnkdDisk, 1, 1, Outside).fresh(45.5), 0.9988, 0.0005);
}

/// The 99.9th percentile of a get and of a put, one after the other.
#[test]
fn latencies_are_as_published() {
    let both = |r, w| {
        let curve = curve(Fit::Ymmr, r, w, Outside);
        (curve.get(0.999), curve.put(0.999))
    };
    let (get, put) = both(1, 1);
    near(get + put, 16.6, 0.7);
    let (get, put) = both(2, 1);
    near(get + put, 44.2, 2.0);
    let (get, put) = both(3, 1);
    near(get + put, 230.0, 8.0);
}

#[test]
fn quorums_that_overlap_are_never_stale_and_a_wait_only_helps() {
    for (r, w) in [(2, 2), (1, 3), (3, 1)] {
        for coordinator in [Outside, Home] {
            near(curve(Fit::Ymmr, r, w, coordinator).fresh(0.0), 1.0, 0.0);
        }
    }
    let curve = curve(Fit::Wan, 1, 1, Outside);
    let shares: Vec<_> = [0.0, 1.0, 10.0, 75.0, 150.0, 1e4].map(|t| curve.fresh(t)).into();
    assert!(shares.is_sorted() && shares[0] < shares[4], "{shares:?}");
    let curve = self::curve(Fit::LnkdDisk, 1, 1, Outside);
    near(curve.fresh(curve.wait(0.99)), 0.99, 1e-4);
}

#[test]
fn a_seed_gives_the_same_curve_and_another_another() {
    let what = Prediction { n: 3, r: 1, w: 1, fit: Fit::Wan, coordinator: Outside };
    assert_eq!(predict(&what, 1_000, 1), predict(&what, 1_000, 1));
    assert_ne!(predict(&what, 1_000, 1), predict(&what, 1_000, 2));
}

#[test]
fn versions_behind_have_a_closed_form() {
    for (k, share) in [(1, 0.333), (2, 0.556), (3, 0.704), (10, 0.983)] {
        near(k_fresh(3, 1, 1, k), share, 0.001);
    }
    near(k_fresh(3, 2, 2, 1), 1.0, 0.0);
    near(k_fresh(5, 2, 2, 1), 1.0 - 3.0 / 10.0, 1e-12);
}
