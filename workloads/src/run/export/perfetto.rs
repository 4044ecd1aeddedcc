//! A history as trace events, for ui.perfetto.dev.

use std::collections::BTreeMap;
use std::io::{self, Write};

use checker::history::{History, Outcome};
use dyno_page::bands;
use serde_json::{Value, json};

/// Processes of the trace: what are processes there are groups of tracks here.
const CLIENTS: u32 = 1;
const NODES: u32 = 2;
const FAULTS: u32 = 3;

/// Trace events as JSON, one a line: <https://perfetto.dev/docs/getting-started/other-formats>. Times are in
/// microseconds, to the nanosecond.
pub(super) fn write(history: &History, out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n")?;
    let mut nodes: BTreeMap<&str, u64> = BTreeMap::new();
    for (group, name) in [(CLIENTS, "clients"), (NODES, "nodes"), (FAULTS, "faults")] {
        let name = json!({ "name": name });
        let event = json!({ "ph": "M", "name": "process_name", "pid": group, "args": name });
        writeln!(out, "{event},")?;
    }
    for pair in history.pairs() {
        let (outcome, colour) = match pair.outcome() {
            Outcome::Ok => ("ok", "good"),
            Outcome::Fail => ("fail", "terrible"),
            Outcome::Info => ("info", "bad"),
        };
        let end = pair.completion.map_or(pair.invoke.time, |op| op.time);
        let error = pair.completion.and_then(|op| op.error.as_deref());
        let key = pair.key().map(|key| format!(" {key}")).unwrap_or_default();
        let mut event = json!({
            "ph": "X", "name": format!("{}{key}", pair.f()), "cat": outcome, "cname": colour,
            "ts": micros(pair.invoke.time), "dur": micros(end - pair.invoke.time), "pid": CLIENTS,
            "tid": history.process_shown(pair.invoke.process).parse::<u64>().unwrap_or(0),
            "args": {
                "op": pair.name(), "outcome": outcome, "node": pair.node(), "error": error,
                "value": pair.invoke.value, "result": pair.result(), "context": pair.invoke.context,
            },
        });
        writeln!(out, "{event},")?;
        if let Some(node) = pair.node() {
            let next = nodes.len() as u64 + 1;
            let track = *nodes.entry(node).or_insert(next);
            // Operations on a node overlap, which on one track only asynchronous events may.
            event["pid"] = NODES.into();
            event["tid"] = track.into();
            event["id"] = pair.name().into();
            event["args"] = json!({ "op": pair.name() });
            both_ends(out, &mut event, pair.invoke.time, end)?;
        }
    }
    for (number, band) in bands(history).iter().enumerate().filter(|(_, band)| band.is_proven) {
        let mut event = json!({
            "name": band.in_words(), "cat": "fault", "pid": FAULTS, "tid": 1, "id": number,
            "args": { "nodes": band.nodes, "links": band.links, "proof": band.proof },
        });
        both_ends(out, &mut event, band.from, band.to)?;
    }
    for (node, track) in nodes {
        let event = json!({
            "ph": "M", "name": "thread_name", "pid": NODES, "tid": track, "args": { "name": node },
        });
        writeln!(out, "{event},")?;
    }
    // The last one has no comma behind it.
    let name = json!({ "name": "in force" });
    let end = json!({ "ph": "M", "name": "thread_name", "pid": FAULTS, "tid": 1, "args": name });
    writeln!(out, "{end}\n]}}")
}

/// An event that others may overlap: its begin, and its end.
fn both_ends(out: &mut impl Write, event: &mut Value, from: u64, to: u64) -> io::Result<()> {
    for (phase, time) in [("b", from), ("e", to)] {
        event["ph"] = phase.into();
        event["ts"] = micros(time).into();
        if let Value::Object(fields) = event {
            fields.remove("dur");
        }
        writeln!(out, "{event},")?;
    }
    Ok(())
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::super::tests::history;
    use super::*;

    #[test]
    fn a_trace_has_every_operation_on_the_track_of_its_process_and_of_its_node() {
        let trace: Value = traced();
        let events = trace["traceEvents"].as_array().unwrap();
        let of =
            |phase: &str| events.iter().filter(|event| event["ph"] == phase).collect::<Vec<_>>();
        let told: Vec<_> =
            of("X").iter().map(|event| (event["ts"].as_f64(), event["dur"].as_f64())).collect();
        assert_eq!(told, [(Some(1.5), Some(1.5)), (Some(2.0), Some(2.0))]);
        assert_eq!(of("X")[1]["args"]["error"], "timed out");
        assert_eq!(of("b").len(), 3, "two on the node, and the fault");
        assert_eq!(of("b").len(), of("e").len());
        let fault = of("b").into_iter().find(|event| event["pid"] == FAULTS).unwrap();
        assert_eq!((&fault["name"], &fault["ts"]), (&json!("kill of n1"), &json!(2.5)));
        assert!(of("M").iter().any(|event| event["args"]["name"] == "n\"1"));
    }

    fn traced() -> Value {
        let mut out = Vec::new();
        write(&history(), &mut out).unwrap();
        serde_json::from_slice(&out).unwrap()
    }
}
