//! How the runs of a plan change from night to night and from commit to commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::index::{Run, Runs, State};

/// Runs of one plan on one kind of cluster: others promise other things.
#[derive(Debug)]
pub(crate) struct Series {
    /// The plan.
    pub plan: String,
    /// The cluster, in words.
    pub cluster: String,
    /// The runs that have a verdict, the first one first.
    pub runs: Vec<Arc<Run>>,
    /// The nights, the first one first.
    pub nights: Vec<Night>,
    /// Since when it fails, if its last build does.
    pub since: Option<Since>,
}

/// One night.
#[derive(Debug, Default)]
pub(crate) struct Night {
    /// The day on which its runs began.
    pub day: String,
    /// How many runs there were, and how many of them were invalid and unknown.
    pub runs: [usize; 3],
    /// Operations that were ok.
    pub ops: u64,
    /// Acknowledged writes that are gone or cannot be read.
    pub lost: u64,
    /// The largest 99th percentile, in milliseconds.
    pub p99_ms: f64,
}

/// Since when a plan fails.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Since {
    /// The first build of those that fail without a build between them that does not.
    pub bad: String,
    /// Is it named by its commit?
    pub is_commit: bool,
    /// The build before it, whose runs were all valid.
    pub good: Option<String>,
    /// The first invalid run of `bad`.
    pub run: String,
}

/// All plans, those that fail first.
pub(crate) fn series(runs: &Runs) -> Vec<Series> {
    let mut by_plan: BTreeMap<(&str, &str), Vec<Arc<Run>>> = BTreeMap::new();
    // The latest stands first in the index.
    for run in runs.all.iter().rev().filter(|run| run.three.is_some()) {
        by_plan.entry((&run.plan, &run.cluster)).or_default().push(run.clone());
    }
    let of = |((plan, cluster), runs): ((&str, &str), Vec<Arc<Run>>)| Series {
        plan: plan.to_owned(),
        cluster: cluster.to_owned(),
        nights: nights(&runs),
        since: since(&runs),
        runs,
    };
    let mut all: Vec<Series> = by_plan.into_iter().map(of).collect();
    all.sort_by_key(|series| series.since.is_none());
    all
}

fn nights(runs: &[Arc<Run>]) -> Vec<Night> {
    let mut nights: BTreeMap<String, Night> = BTreeMap::new();
    for run in runs {
        let day = run.day();
        let night = nights.entry(day.clone()).or_default();
        night.day = day;
        night.runs[0] += 1;
        night.runs[1] += usize::from(run.state == State::Invalid);
        night.runs[2] += usize::from(run.state == State::Unknown);
        night.ops += run.ops[0];
        night.lost += run.lost.iter().sum::<u64>();
        night.p99_ms = night.p99_ms.max(run.p99_ms);
    }
    nights.into_values().collect()
}

/// A build fails if any of its runs was invalid; it is good if it has a valid one and no invalid one. One of
/// which nothing is known neither begins nor ends what fails.
fn since(runs: &[Arc<Run>]) -> Option<Since> {
    let mut builds: Vec<(&Run, bool, bool)> = Vec::new();
    // What was built of a commit and changes would put the blame on no commit.
    let has_commits = runs.iter().any(|run| run.is_commit);
    for run in runs.iter().filter(|run| run.is_commit || !has_commits) {
        let known = builds.iter().position(|(first, ..)| first.build == run.build);
        let at = known.unwrap_or_else(|| {
            builds.push((run, false, false));
            builds.len() - 1
        });
        builds[at].1 |= run.state == State::Invalid;
        builds[at].2 |= run.state == State::Valid;
    }
    builds.retain(|(_, fails, passes)| *fails || *passes);
    let good = builds.iter().rposition(|(_, fails, _)| !fails);
    let first = builds.get(good.map_or(0, |good| good + 1)).map(|(run, ..)| *run)?;
    let bad = runs.iter().find(|run| run.build == first.build && run.state == State::Invalid)?;
    Some(Since {
        bad: first.build.clone(),
        is_commit: first.is_commit,
        good: good.map(|good| builds[good].0.build.clone()),
        run: bad.path.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::samples::sample;

    /// Runs with these builds and states, in this order.
    fn runs(told: &str) -> Runs {
        let run = |(at, told): (usize, &str)| {
            let (build, state) = told.split_once(':').unwrap();
            let mut run = sample(0);
            run.path = format!("cart/{at}");
            run.began = format!("2026-11-{:02}T00:00:00Z", at / 2 + 1);
            run.build = build.to_owned();
            run.is_commit = true;
            run.state = match state {
                "v" => State::Valid,
                "i" => State::Invalid,
                _ => State::Unknown,
            };
            run
        };
        Runs::of(told.split(' ').enumerate().map(run).collect())
    }

    fn told(of: &str) -> Option<(String, Option<String>, String)> {
        let series = series(&runs(of));
        assert_eq!(series.len(), 1);
        let Since { bad, good, run, is_commit } = series.into_iter().next()?.since?;
        assert!(is_commit);
        Some((bad, good, run))
    }

    #[test]
    fn the_first_bad_commit_follows_the_last_good_one() {
        let found = |bad: &str, good: Option<&str>, run: &str| {
            Some((bad.to_owned(), good.map(str::to_owned), run.to_owned()))
        };
        assert_eq!(told("a:v b:v c:i d:i"), found("c", Some("b"), "cart/2"));
        assert_eq!(told("a:v b:i a:v c:i"), found("b", Some("a"), "cart/1"), "it ran again");
        assert_eq!(
            told("a:v b:v b:i"),
            found("b", Some("a"), "cart/2"),
            "one of its runs is enough"
        );
        assert_eq!(told("a:v b:u c:i"), found("c", Some("a"), "cart/2"), "nothing is known of b");
        assert_eq!(told("a:i b:i"), found("a", None, "cart/0"));
        assert_eq!(told("a:i b:v"), None, "it is mended");
        assert_eq!(told("a:v b:u"), None);
    }

    #[test]
    fn a_night_is_the_sum_of_its_runs() {
        let all = series(&runs("a:v a:i a:u b:v"));
        let nights = &all[0].nights;
        assert_eq!(nights.len(), 2);
        assert_eq!((nights[0].day.as_str(), nights[0].runs), ("2026-11-01", [2, 1, 0]));
        assert_eq!((nights[1].day.as_str(), nights[1].runs), ("2026-11-02", [2, 0, 1]));
        assert_eq!(nights[0].lost, 40);
    }
}
