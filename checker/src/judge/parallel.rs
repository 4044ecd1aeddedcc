//! Work that falls into parts, on all cores.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Does `work` on ranges that make up `0..count`, and gives what it makes of them in their order.
/// What is too `small` for more is done in one range, on the thread of the caller: to start a
/// thread, and even to ask how many cores there are, takes longer than a small history.
pub(crate) fn in_ranges<T: Send>(
    count: usize,
    small: bool,
    work: impl Fn(Range<usize>) -> T + Sync,
) -> Vec<T> {
    // So many for each thread that one slow range at the end keeps none waiting for long.
    const RANGES: usize = 16;
    let cores = match small || count < 2 {
        true => 1,
        false => std::thread::available_parallelism().map_or(1, usize::from),
    };
    if cores == 1 {
        return vec![work(0..count)];
    }
    let length = count.div_ceil(cores * RANGES).max(1);
    let next = AtomicUsize::new(0);
    let made = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let from = next.fetch_add(length, Ordering::Relaxed);
                    if from >= count {
                        break;
                    }
                    let part = work(from..count.min(from + length));
                    made.lock().expect("no one panics with the lock held").push((from, part));
                }
            });
        }
    });
    let mut made = made.into_inner().expect("every thread has ended well");
    made.sort_by_key(|(from, _)| *from);
    made.into_iter().map(|(_, part)| part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_come_in_order_and_hold_everything_once() {
        for (count, small) in [(0, false), (1, false), (7, true), (7, false), (1000, false)] {
            let made = in_ranges(count, small, |range| range.collect::<Vec<_>>());
            assert_eq!(made.concat(), (0..count).collect::<Vec<_>>(), "{count} {small}");
        }
    }
}
