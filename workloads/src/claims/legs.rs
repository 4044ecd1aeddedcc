//! How long messages took between nodes, by request: from the steps that real nodes recorded on one clock,
//! and from the trace of a simulated run.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::path::Path;

use dynamo_node::record;
use dynamo_sim::trace::Trace;
use dyno_claims::pbs::Legs;

use crate::plan::ClusterKind;
use crate::replay::records::FOLDER;
use crate::simulated::replay::judge;

/// A message between two nodes; times in milliseconds.
struct Way<'a, R> {
    /// The request or operation that it is of.
    of: R,
    from: &'a str,
    to: &'a str,
    what: &'a str,
    sent: f64,
    taken: f64,
}

/// When the messages of an operation were sent and taken, by the replica.
#[derive(Default)]
struct Operation {
    stores: BTreeMap<String, [f64; 2]>,
    stored: BTreeMap<String, f64>,
    fetches: BTreeMap<String, [f64; 2]>,
    fetched: BTreeMap<String, f64>,
}

/// Those of the run in this folder; none if it recorded nothing, or on several clocks.
pub(super) fn recorded(run: &Path, kind: ClusterKind) -> Option<Legs> {
    let legs = match kind {
        ClusterKind::Local => of_records(&run.join(FOLDER)),
        ClusterKind::Sim => of_trace(&run.join("trace.json"))?,
        ClusterKind::Ssh | ClusterKind::Lab => return None,
    };
    legs.is_enough().then_some(legs)
}

fn of_trace(path: &Path) -> Option<Legs> {
    let trace = Trace::parse(&std::fs::read_to_string(path).ok()?).ok()?;
    let judged = judge(&trace).ok()?;
    let names: Vec<u64> = judged.history.pairs().map(|pair| pair.name()).collect();
    let carried = judged.messages.of(&judged.history, &names);
    let ways = carried.iter().filter_map(|carried| {
        Some(Way {
            of: carried.op,
            from: &carried.from,
            to: &carried.to,
            what: &carried.what,
            sent: carried.sent as f64 / 1e6,
            taken: carried.taken? as f64 / 1e6,
        })
    });
    Some(legs(ways))
}

/// Sent by one node's record, taken by another's.
fn of_records(folder: &Path) -> Legs {
    let mut sent: HashMap<(String, &str, u16, u16), f64> = HashMap::new();
    let mut taken = Vec::new();
    for file in record::files(folder).unwrap_or_default() {
        // A record that ends in the middle of a step has told what came before.
        let _ = record::steps(&file, |told| {
            let at = told.at_us as f64 / 1e3;
            for message in &told.sent {
                if let Some(op) = &message.op {
                    let way = (op.clone(), message.name, message.from.0, message.to.0);
                    sent.entry(way).or_insert(at);
                }
            }
            if let Some(record::Carried { from, to, name, op: Some(op), .. }) = told.got {
                taken.push(((op, name, from.0, to.0), at));
            }
            true
        });
    }
    let names: HashMap<u16, String> =
        taken.iter().flat_map(|((_, _, a, b), _)| [*a, *b]).map(|n| (n, n.to_string())).collect();
    let ways = taken.iter().filter_map(|(way, at)| {
        let (op, what, from, to) = way;
        let sent = *sent.get(way)?;
        let (from, to) = (names.get(from)?, names.get(to)?);
        Some(Way { of: op.as_str(), from, to, what, sent, taken: *at })
    });
    legs(ways)
}

/// A put stores and fetches nothing; what a get stores repairs.
fn legs<'a, R: Eq + Hash + Ord>(ways: impl Iterator<Item = Way<'a, R>>) -> Legs {
    let mut operations: BTreeMap<R, Operation> = BTreeMap::new();
    for Way { of, from, to, what, sent, taken } in ways {
        let operation = operations.entry(of).or_default();
        match what {
            "store" => drop(operation.stores.insert(to.to_owned(), [sent, taken])),
            "stored" => drop(operation.stored.insert(from.to_owned(), taken)),
            "fetch" => drop(operation.fetches.insert(to.to_owned(), [sent, taken])),
            "fetched" => drop(operation.fetched.insert(from.to_owned(), taken)),
            _ => {}
        }
    }
    let mut legs = Legs::default();
    for Operation { stores, stored, fetches, fetched } in operations.values() {
        let (there, back) = if fetches.is_empty() { (stores, stored) } else { (fetches, fetched) };
        let ways: Vec<[f64; 2]> = there
            .iter()
            .filter_map(|(replica, [sent, taken])| {
                let back = back.get(replica)?;
                // By one clock nothing arrives before it was sent, but for the clock's own steps.
                Some([(taken - sent).max(0.0), (back - taken).max(0.0)])
            })
            .collect();
        match (ways.is_empty(), fetches.is_empty()) {
            (true, _) => {}
            (false, true) => legs.puts.push(ways),
            (false, false) => legs.gets.push(ways),
        }
    }
    legs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(
        of: u8,
        ends: [&'static str; 2],
        what: &'static str,
        times: [f64; 2],
    ) -> Way<'static, u8> {
        let ([from, to], [sent, taken]) = (ends, times);
        Way { of, from, to, what, sent, taken }
    }

    #[test]
    fn a_put_has_the_ways_of_its_stores_and_a_get_those_of_its_fetches_alone() {
        let ways = [
            way(1, ["n1", "n2"], "store", [0.0, 1.0]),
            way(1, ["n2", "n1"], "stored", [3.0, 4.0]),
            way(1, ["n1", "n3"], "store", [0.0, 2.0]),
            way(2, ["n1", "n2"], "fetch", [10.0, 11.0]),
            way(2, ["n2", "n1"], "fetched", [11.0, 11.5]),
            way(2, ["n1", "n3"], "store", [12.0, 13.0]),
            way(2, ["n3", "n1"], "stored", [13.0, 14.0]),
        ];
        let legs = legs(ways.into_iter());
        assert_eq!(legs.puts, [vec![[1.0, 3.0]]], "the sync is part of the way back");
        assert_eq!(legs.gets, [vec![[1.0, 0.5]]]);
    }
}
