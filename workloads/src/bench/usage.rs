//! What processes have used, as the system counts it: /proc, so of Linux alone.

use std::fs;
use std::ops::Sub;
use std::time::Duration;

/// What some processes have used together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Of the processor, in user and system mode.
    pub(super) processor: Duration,
    /// What of their memory is in core now, in bytes.
    pub(super) resident: u64,
}

impl Usage {
    /// Of the processes `pids`, all their threads.
    ///
    /// # Errors
    /// If one is not there.
    pub(super) fn of(pids: impl IntoIterator<Item = u32>) -> Result<Self, String> {
        let mut all = Self::default();
        for pid in pids {
            let Self { processor, resident } = Self::of_one(pid)?;
            all.processor += processor;
            all.resident += resident;
        }
        Ok(all)
    }

    fn of_one(pid: u32) -> Result<Self, String> {
        let read = |name: &str| {
            let path = format!("/proc/{pid}/{name}");
            fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))
        };
        let unread = || format!("/proc/{pid}/stat and status are not as on Linux");
        let processor = ticks(&read("stat")?).ok_or_else(unread)?;
        let a_second = rustix::param::clock_ticks_per_second();
        let processor = Duration::from_secs_f64(processor as f64 / a_second as f64);
        let resident = resident(&read("status")?).ok_or_else(unread)?;
        Ok(Self { processor, resident })
    }
}

impl Sub for Usage {
    type Output = Self;

    /// What was used since `earlier`: memory is as it is now.
    fn sub(self, earlier: Self) -> Self {
        Self { processor: self.processor.saturating_sub(earlier.processor), ..self }
    }
}

/// Of the fields behind the program's name, which stands in brackets and may hold any character, `utime` and
/// `stime` (proc_pid_stat(5)).
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system) = (fields.next()?, fields.next()?);
    Some(user.parse::<u64>().ok()? + system.parse::<u64>().ok()?)
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes = line.trim().strip_suffix("kB")?.trim();
    Some(kilobytes.parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found_behind_a_name_that_looks_like_fields() {
        let stat = "12 (a) b (1 2) S 1 2 3 4 5 6 7 8 9 10 42 8 0 0 20";
        assert_eq!(ticks(stat), Some(50));
        assert_eq!(resident("Name:\tx\nVmRSS:\t  2048 kB\nThreads: 1\n"), Some(2 << 20));
        assert_eq!(resident("Name:\tx\n"), None);
    }

    #[test]
    fn work_that_is_done_is_counted() {
        let pid = std::process::id();
        let before = Usage::of([pid]).unwrap();
        let mut sum = 0_u64;
        while (Usage::of([pid]).unwrap() - before).processor < Duration::from_millis(50) {
            sum = (0..1_000_000_u64).fold(sum, |sum, next| sum.wrapping_mul(31) ^ next);
        }
        assert!(Usage::of([pid]).unwrap().resident > 0, "{sum}");
        assert!(Usage::of([u32::MAX]).is_err());
    }
}
