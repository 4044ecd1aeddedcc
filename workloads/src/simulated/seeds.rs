//! Seed after seed, so many at a time.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Runs `seeds`, `jobs` of them at a time, in whatever order they end: `run` each, and `take` what came of
/// it, one by one. Begins no more once `take` says so.
pub(super) fn each<T>(
    seeds: &Range<u64>,
    jobs: usize,
    run: impl Fn(u64) -> T + Sync,
    take: impl FnMut(u64, T) -> bool + Send,
) {
    let next = AtomicU64::new(seeds.start);
    let take = Mutex::new(take);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !seeds.contains(&seed) {
                return;
            }
            let came = run(seed);
            let mut take = take.lock().expect("no one panics with the lock held");
            if take(seed, came) {
                next.store(seeds.end, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(work);
        }
    });
}
