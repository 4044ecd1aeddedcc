//! What a person sees while a run goes: one live panel, or plain lines where there is no terminal.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{MissedTickBehavior, interval};

use crate::interpreter::Tally;
use crate::journal::Journal;
use crate::mechanisms::Mechanisms;

const PANEL_EVERY: Duration = Duration::from_millis(200);
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Everything the panel shows.
pub struct Progress {
    bar: ProgressBar,
    /// What `bar` is drawn on is a terminal.
    live: bool,
    journal: Arc<Journal>,
    tally: Arc<Tally>,
    mechanisms: Arc<Mechanisms>,
    nodes: usize,
    total: Duration,
}

impl Progress {
    /// A panel on standard error; standard output is for the verdict.
    #[must_use]
    pub fn new(
        journal: Arc<Journal>,
        tally: Arc<Tally>,
        mechanisms: Arc<Mechanisms>,
        nodes: usize,
        total: Duration,
    ) -> Self {
        let bar = ProgressBar::with_draw_target(
            Some(u64::try_from(total.as_millis()).unwrap_or(u64::MAX)),
            ProgressDrawTarget::stderr(),
        );
        let style = ProgressStyle::with_template("{bar:30} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let live = !bar.is_hidden();
        Self { bar, live, journal, tally, mechanisms, nodes, total }
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
        let (counts, state) = (self.tally.counts(), self.mechanisms.now());
        let quiet = ["none".to_owned()];
        let in_force = if in_force.is_empty() { &quiet } else { in_force };
        let line = format!(
            "{:.1}/{:.0} s  {} ok ({rate:.0}/s)  {} failed  {} unknown  p99 {:.1} ms  up {}/{}  \
             hints {}  in force: {}",
            now.as_secs_f64(),
            self.total.as_secs_f64(),
            counts.ok,
            counts.fail,
            counts.info,
            self.tally.quantile(0.99).as_secs_f64() * 1e3,
            state.up,
            self.nodes,
            state.hints_held,
            in_force.join("; ")
        );
        if self.live {
            self.bar.set_position(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
            self.bar.set_message(line);
        } else {
            eprintln!("{line}");
        }
    }

    /// Says what comes next.
    pub fn say(&self, what: &str) {
        if self.live {
            self.bar.set_message(what.to_owned());
        } else {
            eprintln!("{what}");
        }
    }

    /// Takes the panel away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
