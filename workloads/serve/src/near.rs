//! Which passing run a failing one is best held against.

use std::sync::Arc;

use crate::index::{Run, Runs, State};

/// The valid run that is most like this one: of the same plan if there is one, then with the same cluster,
/// the same faults, the same seed, and of those the one that began nearest to it.
pub(crate) fn passing(runs: &Runs, run: &Run) -> Option<Arc<Run>> {
    let own = runs.all.iter().position(|other| other.path == run.path)?;
    let valid =
        runs.all.iter().enumerate().filter(|(at, other)| other.state == State::Valid && *at != own);
    let unlike = |(at, other): &(usize, &Arc<Run>)| {
        (
            other.plan != run.plan,
            other.cluster != run.cluster,
            other.faults != run.faults,
            other.seed != run.seed,
            // They stand in order of their beginning.
            at.abs_diff(own),
        )
    };
    valid.min_by_key(unlike).map(|(_, other)| other.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::samples::sample;

    #[test]
    fn the_nearest_passing_run_is_the_most_alike_not_the_latest() {
        let bad = sample(10);
        // 12 has its plan, not its faults; 14 its faults, too; 20 its seed as well, and is invalid.
        let runs = Runs::of([10, 11, 12, 14, 20, 22].map(sample).to_vec());
        let found = passing(&runs, &bad).unwrap();
        assert_eq!(found.path, sample(14).path);
        let mut twin = sample(26);
        twin.seed = bad.seed;
        let runs = Runs::of([bad.clone(), sample(14), twin.clone()].to_vec());
        assert_eq!(passing(&runs, &bad).unwrap().path, twin.path, "the seed before the time");
        let alone = Runs::of(vec![bad.clone(), sample(5)]);
        assert!(passing(&alone, &bad).is_none(), "what failed itself is no measure");
    }
}
