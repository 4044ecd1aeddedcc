//! What a node measures, as Prometheus reads it.

mod endpoint;
mod histogram;
mod text;

use std::time::Duration;

use dynamo_protocol::{NodeId, Reply};

pub(crate) use endpoint::{Endpoint, serve};
pub(crate) use histogram::Histogram;
pub(crate) use text::Text;

use crate::status::Status;
use crate::telemetry::with_counters;

/// Seconds: from what a memory access away takes to the longest deadline that is usual.
const SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
/// Small numbers; 256 is the usual limit of both siblings and actors.
const NUMBERS: &[f64] = &[0.0, 1.0, 2.0, 3.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// What the driver measures. It is the driver's alone: nothing is shared, and nothing is locked.
#[derive(Debug)]
pub(crate) struct Measures {
    /// From when a request was read until the driver began it.
    pub(crate) waited: Histogram,
    /// From when it was read until it was answered: of gets, and of puts and deletes.
    pub(crate) gets: Histogram,
    pub(crate) puts: Histogram,
    /// From when changes were handed to the disk until they were durable.
    pub(crate) commits: Histogram,
    /// Values of an answered get.
    pub(crate) siblings: Histogram,
    /// Actors in its context.
    pub(crate) actors: Histogram,
}

impl Default for Measures {
    fn default() -> Self {
        let [waited, gets, puts, commits] = [(); 4].map(|()| Histogram::new(SECONDS));
        let [siblings, actors] = [(); 2].map(|()| Histogram::new(NUMBERS));
        Self { waited, gets, puts, commits, siblings, actors }
    }
}

/// What is of this moment, beside what a status tells.
#[derive(Debug)]
pub(crate) struct Moment {
    pub(crate) open_bytes: usize,
    /// Changes that are not durable, in bytes.
    pub(crate) undurable: usize,
    /// Bytes that wait for each peer.
    pub(crate) links: Vec<(NodeId, usize)>,
}

impl Measures {
    /// A client is answered, so long after its request was read.
    pub(crate) fn answered(&mut self, reply: &Reply, is_get: bool, took: Duration) {
        let of = if is_get { &mut self.gets } else { &mut self.puts };
        of.observe(took.as_secs_f64());
        if let Reply::Got { values, context } = reply {
            self.siblings.observe(values.len() as f64);
            self.actors.observe(context.0.actors() as f64);
        }
    }

    /// All of it, and what `status` tells.
    pub(crate) fn text(&self, status: &Status, moment: &Moment) -> Text {
        let mut text = Text::default();
        self.histograms(&mut text);
        let counters = &status.counters;
        macro_rules! each {
            ($($name:ident)*) => {
                $(text.counter(stringify!($name), counters.$name);)*
            };
        }
        with_counters!(each);
        let flag = |is: bool| f64::from(u8::from(is));
        for (name, help, value) in [
            ("epoch", "The membership it goes by.", status.epoch.0 as f64),
            ("amnesiac", "1 while its answers are no votes.", flag(status.amnesiac)),
            ("proven", "1 once its directory is known to be whole.", flag(status.proven)),
            ("stopping", "1 when it was asked to stop.", flag(status.stopping)),
            ("filling_ranges", "Ranges in which it does not count yet.", status.filling as f64),
            ("hints_held", "Hints on its disk.", status.hints_held as f64),
            ("suspected_peers", "Peers it suspects.", status.suspected.len() as f64),
            ("tombstones", "Tombstones it would collect.", status.tombstones as f64),
            ("open_operations", "Operations under way.", status.open_operations as f64),
            ("open_requests", "Requests that are not answered.", status.open_requests as f64),
            ("open_request_bytes", "What those hold.", moment.open_bytes as f64),
            ("undurable_bytes", "Changes that wait for the disk.", moment.undurable as f64),
            ("uptime_seconds", "Since it started.", status.uptime.as_secs_f64()),
        ] {
            text.gauge(name, help, value);
        }
        text.head("link_queue_bytes", "gauge", "What waits for a peer.");
        for (peer, bytes) in &moment.links {
            text.sample("link_queue_bytes", &format!("peer=\"{}\"", peer.0), *bytes as f64);
        }
        text
    }

    fn histograms(&self, text: &mut Text) {
        text.head(
            "stage_seconds",
            "histogram",
            "How long a request waited for the driver, and changes for the disk.",
        );
        text.histogram("stage_seconds", "stage=\"wait\"", &self.waited);
        text.histogram("stage_seconds", "stage=\"commit\"", &self.commits);
        let help = "From when a request was read until it was answered.";
        text.head("request_seconds", "histogram", help);
        text.histogram("request_seconds", "op=\"get\"", &self.gets);
        text.histogram("request_seconds", "op=\"put\"", &self.puts);
        text.head("get_siblings", "histogram", "Values that a get was answered with.");
        text.histogram("get_siblings", "", &self.siblings);
        text.head("get_actors", "histogram", "Actors in the context of a get: its clock's size.");
        text.histogram("get_actors", "", &self.actors);
    }
}
