//! When which fault was in force, and on whom.

use checker::availability::windows;
use checker::history::History;
use checker::history::op::{Kind, Process};
use serde::Serialize;
use serde_json::Value;

/// A time in which a fault was in force, or was meant to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Band {
    /// The fault's name.
    pub fault: String,
    /// From here, in nanoseconds.
    pub from: u64,
    /// To here.
    pub to: u64,
    /// Was it seen to be in force? If not, it was only tried, at `from`.
    pub is_proven: bool,
    /// The nodes it hit.
    pub nodes: Vec<String>,
    /// The links it cut or slowed, as `n1->n2`.
    pub links: Vec<String>,
    /// What shape it had, where it has one.
    pub shape: Option<String>,
    /// How it was seen.
    pub proof: Option<String>,
}

/// All faults in order of their beginning.
#[must_use]
pub fn bands(history: &History) -> Vec<Band> {
    let mut bands: Vec<Band> = windows(history)
        .into_iter()
        .map(|window| {
            let value = history.get(window.begun_by).and_then(|op| op.value.as_ref());
            Band { is_proven: true, ..band(&window.fault, window.from, window.to, value) }
        })
        .collect();
    let nemesis = history.iter().filter(|op| op.process == Process::Nemesis);
    for op in nemesis.filter(|op| matches!(op.kind, Kind::Fail | Kind::Info)) {
        let step = op.value.as_ref().and_then(|value| value.get("step")).and_then(Value::as_str);
        if matches!(step, Some("inject" | "probe")) {
            bands.push(band(&op.f, op.time, op.time, op.value.as_ref()));
        }
    }
    bands.sort_by_key(|band| band.from);
    bands
}

fn band(fault: &str, from: u64, to: u64, value: Option<&Value>) -> Band {
    let field = |name| value.and_then(|value| value.get(name));
    let list = |name| {
        let all = field(name).and_then(Value::as_array).into_iter().flatten();
        all.filter_map(|item| Some(item.as_str()?.to_owned())).collect()
    };
    let text = |name| match field(name) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Array(all)) => {
            Some(all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; "))
        }
        _ => None,
    };
    Band {
        fault: fault.to_owned(),
        from,
        to,
        is_proven: false,
        nodes: list("nodes"),
        links: list("cuts"),
        shape: text("shape"),
        proof: text("proof"),
    }
}

impl Band {
    /// `kill of n3`, `partition (halves)`.
    #[must_use]
    pub fn in_words(&self) -> String {
        match (&self.shape, self.nodes.as_slice()) {
            (Some(shape), _) => format!("{} ({shape})", self.fault),
            (None, []) if self.links.is_empty() => self.fault.clone(),
            (None, []) => format!("{} of {} links", self.fault, self.links.len()),
            (None, nodes) => format!("{} of {}", self.fault, nodes.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use checker::history::op::Op;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_fault_without_proof_is_told_apart_from_one_in_force() {
        let step = |kind, fault: u64, step: &str| {
            let value = json!({ "fault": fault, "step": step, "nodes": ["n1"], "proof": ["gone"] });
            Op::new(Process::Nemesis, kind, "kill").value(value)
        };
        let lines = vec![
            step(Kind::Invoke, 1, "inject"),
            step(Kind::Ok, 1, "inject"),
            step(Kind::Invoke, 1, "heal"),
            step(Kind::Ok, 1, "heal"),
            step(Kind::Invoke, 2, "inject"),
            step(Kind::Info, 2, "inject"),
        ];
        let lines = lines.into_iter().zip(0..).map(|(op, time)| op.at(time)).collect();
        let bands = bands(&History::numbered(lines).unwrap());
        let told: Vec<_> = bands.iter().map(|b| (b.from, b.to, b.is_proven)).collect();
        assert_eq!(told, [(1, 2, true), (5, 5, false)]);
        assert_eq!(bands[0].in_words(), "kill of n1");
        assert_eq!(bands[0].proof.as_deref(), Some("gone"));
    }
}
