//! The abstract enumeration is the table of the literature, and the core is as the enumeration.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use dynamo_protocol::ReadMode;
use dyno_claims::sweep::{Abstract, Found, Repair};
use model::{Budget, Scenario, Spec, check};

fn found(n: usize, r: usize, w: usize, repair: Repair, fallbacks: usize) -> Found {
    Abstract { n, r, w, repair, fallbacks }.enumerate()
}

/// Every N to 4, R and W: gets are stale iff R+W <= N, whatever the repair; and free of new-then-old iff R=N,
/// 2R > N, or R+W > N, by what a get mends before it answers.
#[test]
fn the_sweep_is_as_the_table_says_cell_for_cell() {
    for n in 1..=4 {
        for (r, w) in (1..=n).flat_map(|r| (1..=n).map(move |w| (r, w))) {
            for repair in Repair::ALL {
                let found = found(n, r, w, repair, 0);
                let free = match repair {
                    Repair::NoneOrLater => r == n,
                    Repair::Responders => 2 * r > n,
                    Repair::WriteBack => r + w > n,
                };
                let cell = format!("N={n} R={r} W={w} {repair:?}: {found:?}");
                assert_eq!(found.stale.is_some(), r + w <= n, "{cell}");
                assert_eq!(found.inversion.is_none(), free, "{cell}");
            }
        }
    }
}

#[test]
fn the_shortest_ways_are_as_long_as_the_table_says() {
    let inversion = |r, w, repair| found(3, r, w, repair, 0).inversion;
    assert_eq!(inversion(2, 2, Repair::NoneOrLater), Some(9));
    assert_eq!(inversion(1, 3, Repair::NoneOrLater), Some(7));
    assert_eq!(inversion(2, 2, Repair::Responders), None);
    assert_eq!(inversion(1, 3, Repair::Responders), Some(8));
    assert_eq!(inversion(2, 2, Repair::WriteBack), None);
    assert_eq!(inversion(1, 3, Repair::WriteBack), None);
    for repair in Repair::ALL {
        assert_eq!(found(3, 1, 1, repair, 0).stale, Some(5));
    }
}

#[test]
fn a_fallback_that_counts_costs_one_of_the_margin() {
    let stale = |r, w, fallbacks| found(3, r, w, Repair::WriteBack, fallbacks).stale;
    assert_eq!(stale(2, 2, 1), Some(7));
    for (r, w) in [(2, 3), (3, 2)] {
        assert_eq!(stale(r, w, 1), None);
        assert!(stale(r, w, 2).is_some());
    }
    assert!(stale(2, 2, 2).is_some() && stale(3, 3, 2).is_none());
}

/// Plain gets of the core repair later, atomic ones write back: the same cells, by the core itself.
#[test]
fn the_core_is_as_the_enumeration_where_it_has_the_setting() {
    for n in 1..=3 {
        for (r, w) in (1..=n).flat_map(|r| (1..=n).map(move |w| (r, w))) {
            for (read, repair) in
                [(ReadMode::Plain, Repair::NoneOrLater), (ReadMode::Atomic, Repair::WriteBack)]
            {
                let mut spec = Spec::new("p,gg".parse().unwrap());
                spec.nodes = n;
                (spec.settings.n, spec.settings.r, spec.settings.w) = (n, r, w);
                spec.settings.read = read;
                let report = check(&Scenario::of(spec), &Budget::NONE, &mut |_| ()).unwrap().report;
                let broken = |name: &str| report.properties[name].steps.is_some();
                let theory = found(n, r, w, repair, 0);
                let cell = format!("N={n} R={r} W={w} {read:?}");
                assert_eq!(broken("regular-gets"), theory.stale.is_some(), "stale: {cell}");
                assert_eq!(broken("no-inversion"), theory.inversion.is_some(), "inversion: {cell}");
            }
        }
    }
}
