//! What a person sees while a run goes: one live panel, or plain lines where there is no terminal.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{MissedTickBehavior, interval};

use crate::interpreter::Tally;
use crate::run::counters::NodeCounters;
use crate::run::journal::Journal;

const PANEL_EVERY: Duration = Duration::from_millis(200);
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Everything the panel shows.
pub struct Progress {
    bar: ProgressBar,
    /// What `bar` is drawn on is a terminal.
    live: bool,
    journal: Arc<Journal>,
    tally: Arc<Tally>,
    counters: Arc<NodeCounters>,
    total: Duration,
}

impl Progress {
    /// A panel on standard error; standard output is for the verdict.
    #[must_use]
    pub fn new(
        journal: Arc<Journal>,
        tally: Arc<Tally>,
        counters: Arc<NodeCounters>,
        total: Duration,
    ) -> Self {
        let bar = ProgressBar::with_draw_target(
            Some(u64::try_from(total.as_millis()).unwrap_or(u64::MAX)),
            ProgressDrawTarget::stderr(),
        );
        // Two lines that fit on a narrow terminal; what does not fit on the second is cut, never wrapped.
        let style = ProgressStyle::with_template("{bar:20} {prefix}\n{wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let live = !bar.is_hidden();
        Self { bar, live, journal, tally, counters, total }
    }

    /// Shows how it goes, until dropped.
    pub async fn follow(&self, in_force: impl Fn() -> Vec<String>) {
        let mut ticks = interval(if self.live { PANEL_EVERY } else { LINE_EVERY });
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        // The first tick comes at once, when there is nothing to show.
        ticks.tick().await;
        let (mut last, mut last_at) = (0, self.journal.now());
        loop {
            ticks.tick().await;
            let (ok, now) = (self.tally.counts().ok, self.journal.now());
            let rate = (ok - last) as f64 / (now - last_at).as_secs_f64().max(1e-3);
            (last, last_at) = (ok, now);
            self.show(now, rate, &in_force());
        }
    }

    fn show(&self, now: Duration, rate: f64, in_force: &[String]) {
        let (counts, state) = (self.tally.counts(), self.counters.now());
        let quiet = ["none".to_owned()];
        let in_force = if in_force.is_empty() { &quiet } else { in_force };
        let done = format!(
            "{:.1}/{:.0} s  {} ok ({rate:.0}/s)  {} failed  {} unknown",
            now.as_secs_f64(),
            self.total.as_secs_f64(),
            counts.ok,
            counts.fail,
            counts.info,
        );
        let state = format!(
            "p99 {:.1} ms  up {}/{}  hints {}  in force: {}",
            self.tally.quantile(0.99).as_secs_f64() * 1e3,
            state.up,
            state.members,
            state.hints_held,
            in_force.join("; ")
        );
        if self.live {
            self.bar.set_position(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
            self.bar.set_prefix(done);
            self.bar.set_message(state);
        } else {
            dyno_command::output::note(format_args!("{done}  {state}"));
        }
    }

    /// Says what comes next.
    pub fn say(&self, what: &str) {
        if self.live {
            self.bar.set_message(what.to_owned());
        } else {
            dyno_command::output::note(what);
        }
    }

    /// Takes the panel away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// Shows how far a simulated run is, while it goes: `now` has its virtual time in microseconds.
pub(crate) fn simulated<T>(total: Duration, now: &AtomicU64, work: impl FnOnce() -> T) -> T {
    let every = if std::io::stderr().is_terminal() { PANEL_EVERY } else { LINE_EVERY };
    let (ended, end) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            // Until the other end is dropped.
            while end.recv_timeout(every) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                let now = Duration::from_micros(now.load(Ordering::Relaxed)).as_secs_f64();
                let total = total.as_secs_f64();
                let what = if now > total { ", healed, reading what was kept" } else { "" };
                let line = format!("{now:.1}/{total:.0} s simulated{what}");
                if bar.is_hidden() {
                    dyno_command::output::note(line)
                } else {
                    bar.set_message(line)
                }
            }
            bar.finish_and_clear();
        });
        let done = work();
        drop(ended);
        done
    })
}
