//! What Prometheus and its like ask for, in the text format of OpenMetrics 1.0.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::index::{Run, Runs, State};

/// The format's name in `Content-Type`.
pub(crate) const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A metric: its name without the prefix, what it is, and its value of a run.
type Metric = (&'static str, &'static str, fn(&Run) -> f64);

/// What is told of the last run of each plan that has a verdict.
const LAST: [Metric; 6] = [
    ("last_run_valid", "1 if the last run of the plan was valid, else 0", |run| {
        f64::from(u8::from(run.state == State::Valid))
    }),
    ("last_run_invalid", "1 if the last run of the plan was invalid, else 0", |run| {
        f64::from(u8::from(run.state == State::Invalid))
    }),
    ("last_run_lost", "Acknowledged writes that the last run of the plan lost", |run| {
        run.lost.iter().sum::<u64>() as f64
    }),
    ("last_run_operations", "Operations of the last run of the plan that were ok", |run| {
        run.ops[0] as f64
    }),
    ("last_run_duration_seconds", "How long the last run of the plan took", |run| run.seconds),
    ("last_run_p99_seconds", "The 99th percentile of what was ok in the last run", |run| {
        run.p99_ms / 1e3
    }),
];

/// All metrics.
pub(crate) fn text(runs: &Runs) -> String {
    let mut counts: BTreeMap<(&str, State), u64> = BTreeMap::new();
    let mut last: BTreeMap<&str, &Run> = BTreeMap::new();
    for run in &runs.all {
        *counts.entry((&run.plan, run.state)).or_default() += 1;
        if run.three.is_some() {
            // The latest stands first.
            last.entry(&run.plan).or_insert(run);
        }
    }
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ =
        writeln!(text, "# TYPE dyno_runs gauge\n# HELP dyno_runs Stored runs, by plan and state.");
    for ((plan, state), count) in counts {
        let (plan, state) = (escaped(plan), state.as_str());
        let _ = writeln!(text, "dyno_runs{{plan=\"{plan}\",state=\"{state}\"}} {count}");
    }
    for (name, help, value) in LAST {
        let _ = writeln!(text, "# TYPE dyno_{name} gauge");
        if let Some((_, unit)) = name.rsplit_once('_').filter(|(_, unit)| *unit == "seconds") {
            let _ = writeln!(text, "# UNIT dyno_{name} {unit}");
        }
        let _ = writeln!(text, "# HELP dyno_{name} {help}.");
        for (plan, run) in &last {
            let _ = writeln!(text, "dyno_{name}{{plan=\"{}\"}} {}", escaped(plan), value(run));
        }
    }
    text.push_str("# EOF\n");
    text
}

/// A label's value, as the format has it.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('\n', r"\n").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::samples::{sample, samples};

    #[test]
    fn every_metric_has_its_type_before_it_and_the_text_has_its_end() {
        let text = text(&Runs::of(samples(30)));
        assert!(text.ends_with("# EOF\n"));
        let mut family = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                family = rest.split(' ').next().unwrap().to_owned();
            } else if !line.starts_with('#') {
                assert!(line.starts_with(&format!("{family}{{plan=\"")), "{line}");
                let value = line.rsplit(' ').next().unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
        assert!(text.contains("dyno_runs{plan=\"cart\",state=\"invalid\"} 3"), "{text}");
    }

    #[test]
    fn the_last_run_is_the_latest_that_has_a_verdict_and_names_are_escaped() {
        let mut runs = samples(3);
        runs.iter_mut().take(2).for_each(|run| run.plan = "a \"plan\"\\\n".to_owned());
        let text = text(&Runs::of(runs));
        let line = "dyno_last_run_valid{plan=\"a \\\"plan\\\"\\\\\\n\"} 1";
        assert!(text.contains(line), "{text}");
        assert_eq!(sample(1).state, State::Valid);
    }
}
