//! Makes a failing run smaller: less time, fewer faults, fewer clients, while the same check fails.

use std::time::Duration;

use dynamo_sim::replay;
use dynamo_sim::trace::Trace;

use super::run::{Options, Outcome, run};
use super::scenario::Scenario;
use super::twin::micros;

/// A failing run, made small.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// What is left of the scenario.
    pub scenario: Scenario,
    /// What it does.
    pub outcome: Outcome,
    /// Its steps.
    pub trace: Trace,
    /// How many runs it took.
    pub runs: usize,
}

struct Shrinker<'a> {
    seed: u64,
    check: &'a str,
    runs_left: usize,
    best: Scenario,
}

/// Shrinks the run of `scenario` with `seed` that fails `check`, in at most `runs` runs. None if it
/// does not fail.
#[must_use]
pub fn shrink(scenario: &Scenario, seed: u64, check: &str, runs: usize) -> Option<Shrunk> {
    let best = scenario.clone();
    let mut shrinker = Shrinker { seed, check, runs_left: runs, best };
    // What one pass leaves out makes room for the next.
    loop {
        let before = shrinker.best.clone();
        shrinker.less_time();
        shrinker.fewer_faults();
        shrinker.fewer_clients();
        shrinker.calmer();
        if shrinker.best == before || shrinker.runs_left == 0 {
            break;
        }
    }
    let options = Options { record: true, ..Options::default() };
    let outcome = run(&shrinker.best, seed, options);
    let mut trace = outcome.trace.clone()?;
    if !fails(&outcome, check) {
        return None;
    }
    trace.check = Some(check.to_owned());
    trace.name = format!("seed {seed}, shrunk");
    cut_short(&mut trace, check);
    Some(Shrunk { scenario: shrinker.best, outcome, trace, runs: runs - shrinker.runs_left })
}

fn fails(outcome: &Outcome, check: &str) -> bool {
    outcome.violations.iter().any(|violation| violation.check == check)
}

/// What an invariant sees at once needs nothing that comes after.
fn cut_short(trace: &mut Trace, check: &str) {
    let Ok(replayed) = replay::on_sim(trace) else { return };
    let first = replayed.breaches.iter().find(|(_, breach)| breach.check == check);
    if let Some((step, _)) = first {
        trace.steps.truncate(step + 1);
        trace.closing = None;
    }
}

impl Shrinker<'_> {
    /// Keeps `smaller` if it still fails.
    fn attempt(&mut self, smaller: Scenario) -> bool {
        if self.runs_left == 0 || smaller == self.best {
            return false;
        }
        self.runs_left -= 1;
        let still = fails(&run(&smaller, self.seed, Options::default()), self.check);
        if still {
            self.best = smaller;
        }
        still
    }

    fn less_time(&mut self) {
        for eighths in [1, 2, 4, 6, 7] {
            loop {
                let time = self.best.time * eighths / 8;
                if time < Duration::from_millis(5) || !self.attempt(until(&self.best, time)) {
                    break;
                }
            }
        }
    }

    /// Leaves out ever smaller pieces of the list of faults (Zeller's ddmin).
    fn fewer_faults(&mut self) {
        let mut size = self.best.faults.len();
        while size > 0 {
            let mut at = 0;
            while at < self.best.faults.len() {
                let mut smaller = self.best.clone();
                smaller.faults.drain(at..(at + size).min(smaller.faults.len()));
                if !self.attempt(smaller) {
                    at += size;
                }
            }
            size /= 2;
        }
    }

    fn fewer_clients(&mut self) {
        let halve: [fn(&mut Scenario); 4] = [
            |scenario| scenario.workload.concurrency = scenario.workload.concurrency.div_ceil(2),
            |scenario| scenario.workload.carts = scenario.workload.carts.div_ceil(2),
            |scenario| scenario.workload.rate = scenario.workload.rate.map(|rate| rate / 2.0),
            |scenario| scenario.workload.carts = 1,
        ];
        for halve in halve {
            loop {
                let mut smaller = self.best.clone();
                halve(&mut smaller);
                if !self.attempt(smaller) {
                    break;
                }
            }
        }
    }

    /// A quiet network, quick disks.
    fn calmer(&mut self) {
        let mut smaller = self.best.clone();
        smaller.network = dynamo_sim::network::Network::quiet();
        self.attempt(smaller);
        let mut smaller = self.best.clone();
        smaller.sync = 130;
        self.attempt(smaller);
    }
}

/// The scenario, ended earlier.
fn until(scenario: &Scenario, time: Duration) -> Scenario {
    let end = micros(time);
    let mut shorter = Scenario { time, ..scenario.clone() };
    shorter.faults.retain(|fault| fault.at < end);
    for fault in &mut shorter.faults {
        fault.until = fault.until.min(end);
    }
    shorter
}
