//! The text format of Prometheus, version 0.0.4.

use std::fmt::Write as _;

use super::Histogram;

/// Metrics as they are written down.
#[derive(Debug, Default)]
pub(crate) struct Text(String);

impl Text {
    /// What `name` is, before its samples.
    pub(crate) fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP dynamo_{name} {help}"));
        self.line(format_args!("# TYPE dynamo_{name} {kind}"));
    }

    pub(crate) fn sample(&mut self, name: &str, labels: &str, value: f64) {
        if labels.is_empty() {
            self.line(format_args!("dynamo_{name} {value}"));
        } else {
            self.line(format_args!("dynamo_{name}{{{labels}}} {value}"));
        }
    }

    pub(crate) fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.head(name, "gauge", help);
        self.sample(name, "", value);
    }

    /// One of the counters of a status.
    pub(crate) fn counter(&mut self, name: &str, value: u64) {
        let words = name.replace('_', " ");
        let name = format!("{name}_total");
        self.head(&name, "counter", &format!("How often since it started: {words}."));
        self.sample(&name, "", value as f64);
    }

    pub(crate) fn histogram(&mut self, name: &str, labels: &str, sizes: &Histogram) {
        let and = if labels.is_empty() { "" } else { "," };
        let mut all = 0;
        for (bound, count) in sizes.cumulative() {
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| bound.to_string());
            let labels = format!("{labels}{and}le=\"{bound}\"");
            self.sample(&format!("{name}_bucket"), &labels, count as f64);
            all = count;
        }
        self.sample(&format!("{name}_sum"), labels, sizes.sum());
        self.sample(&format!("{name}_count"), labels, all as f64);
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Text in memory takes whatever is written to it.
        let _ = writeln!(self.0, "{line}");
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}
