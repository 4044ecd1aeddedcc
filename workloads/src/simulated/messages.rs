//! What simulated nodes sent each other for their clients' requests, as a trace is replayed: for the page.

use std::collections::HashMap;

use checker::history::History;
use checker::history::op::Process;
use dynamo_protocol::{NodeId, OpId, Output, RequestId};
use dynamo_sim::trace::{Op, Step, Trace};
use dynamo_sim::{Bench, Effect};
use dyno_page::Carried;

use crate::run::nodes::word;

/// Nanoseconds in a microsecond, which traces count.
const MICRO: u64 = 1_000;

/// All messages of a replay that belong to a client's request.
#[derive(Clone, Debug, Default)]
pub struct Messages {
    /// For which request a node does each operation that it was seen to do; none for its own doings.
    requests: HashMap<OpId, Option<RequestId>>,
    /// What is under way, by its number.
    under_way: HashMap<u64, UnderWay>,
    /// Which node each request went to.
    asked: HashMap<RequestId, NodeId>,
    told: Vec<(RequestId, Carried)>,
}

#[derive(Clone, Copy, Debug)]
struct UnderWay {
    to: NodeId,
    /// The operation that goes on where it arrives.
    forwarded: Option<OpId>,
    /// Its place among those that are told.
    told: Option<usize>,
}

impl Messages {
    /// Looks at what a step did.
    pub(super) fn note(&mut self, trace: &Trace, bench: &Bench, step: usize, effects: &[Effect]) {
        let step = &trace.steps[step].step;
        let (node, request) = match step {
            Step::Client { node, request, op } => {
                self.asked(bench, *node, *request, op);
                (Some(*node), Some(*request))
            }
            Step::Deliver { message, .. } => self.arrived(bench, *message),
            step => (bench.touched(step), None),
        };
        // What a request starts is named first in the step that it starts in, be it sent then or later.
        let sent = effects.iter().filter_map(|effect| match effect {
            Effect::Sent(number) => bench.message(*number),
            _ => None,
        });
        let held = node.into_iter().flat_map(|node| bench.host(node).held());
        let held = held.filter_map(|output| match output {
            Output::Send(envelope) => Some(envelope),
            _ => None,
        });
        let ops: Vec<OpId> =
            sent.chain(held).filter_map(|envelope| envelope.message.op()).collect();
        for op in ops {
            self.requests.entry(op).or_insert(request);
        }
        for effect in effects {
            match effect {
                Effect::Sent(number) => self.sent(trace, bench, *number),
                Effect::Replied(request, _) => self.answered(bench, *request),
                _ => {}
            }
        }
    }

    fn asked(&mut self, bench: &Bench, node: NodeId, request: RequestId, op: &Op) {
        let what = match op {
            Op::Get { .. } => "get",
            Op::Put { value: Some(_), .. } => "put",
            Op::Put { value: None, .. } => "delete",
        };
        let now = bench.now() * MICRO;
        let (from, to) = ("client".to_owned(), node.to_string());
        let carried = Carried {
            from,
            to,
            sent: now,
            taken: Some(now),
            what: what.to_owned(),
            ..Carried::default()
        };
        self.asked.insert(request, node);
        self.told.push((request, carried));
    }

    fn answered(&mut self, bench: &Bench, request: RequestId) {
        let Some(from) = self.asked.get(&request).map(NodeId::to_string) else { return };
        let now = bench.now() * MICRO;
        let (to, what) = ("client".to_owned(), "answer".to_owned());
        let carried = Carried { from, to, sent: now, taken: Some(now), what, ..Carried::default() };
        self.told.push((request, carried));
    }

    /// Where a message arrived, and the request that goes on there under another name.
    fn arrived(&mut self, bench: &Bench, number: u64) -> (Option<NodeId>, Option<RequestId>) {
        let Some(UnderWay { to, forwarded, told }) = self.under_way.get(&number).copied() else {
            return (None, None);
        };
        if let Some(told) = told {
            self.told[told].1.taken.get_or_insert(bench.now() * MICRO);
        }
        (Some(to), forwarded.and_then(|op| self.requests.get(&op).copied().flatten()))
    }

    fn sent(&mut self, trace: &Trace, bench: &Bench, number: u64) {
        let Some(envelope) = bench.message(number) else { return };
        let (message, op) = (&envelope.message, envelope.message.op());
        let request = op.and_then(|op| self.requests.get(&op).copied().flatten());
        let told = request.map(|request| {
            let versioning = trace.cluster.settings.versioning;
            let words = |set: &dynamo_protocol::Siblings| {
                set.visible(versioning).iter().map(|value| word(value)).collect()
            };
            let carried = Carried {
                from: envelope.from.to_string(),
                to: envelope.to.to_string(),
                sent: bench.now() * MICRO,
                what: message.name().to_owned(),
                holds: message.set().map(words),
                ..Carried::default()
            };
            self.told.push((request, carried));
            self.told.len() - 1
        });
        let forwarded = op.filter(|_| message.name() == "forward");
        self.under_way.insert(number, UnderWay { to: envelope.to, forwarded, told });
    }

    /// Those of some operations of the history that the replay made, each by the operation's name.
    #[must_use]
    pub fn of(&self, history: &History, ops: &[u64]) -> Vec<Carried> {
        let pairs = ops.iter().filter_map(|op| history.pair(*op));
        // Every request is a process of its own.
        let names: HashMap<u64, u64> = pairs
            .filter_map(|pair| match pair.invoke.process {
                Process::Client(process) => Some((process, pair.name())),
                Process::Nemesis => None,
            })
            .collect();
        let of = |(request, carried): &(RequestId, Carried)| {
            let op = *names.get(&request.0)?;
            Some(Carried { op, ..carried.clone() })
        };
        self.told.iter().filter_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::replay::judge;
    use super::*;

    #[test]
    fn a_put_and_a_get_are_followed_from_their_clients_to_the_replicas_and_back() {
        let trace = Trace::parse(include_str!("../../tests/traces/put-crash-get.json")).unwrap();
        let judged = judge(&trace).unwrap();
        let names: Vec<u64> = judged.history.pairs().map(|pair| pair.name()).collect();
        let told = judged.messages.of(&judged.history, &names);
        let of = |op: u64| -> Vec<(&str, &str, &str, u64, Option<u64>)> {
            let of = told.iter().filter(|carried| carried.op == op);
            of.map(|told| (&*told.from, &*told.to, &*told.what, told.sent, told.taken)).collect()
        };
        let put = of(names[0]);
        assert_eq!(put[0], ("client", "n1", "put", 10_000, Some(10_000)));
        assert_eq!(put[1], ("n1", "n2", "store", 10_000, Some(20_000)));
        assert_eq!(put[2], ("n1", "n3", "store", 10_000, None), "it is lost");
        assert_eq!(put[3], ("n2", "n1", "stored", 20_000, Some(30_000)));
        assert_eq!(put[4], ("n1", "client", "answer", 30_000, Some(30_000)));
        let get = of(names[1]);
        assert_eq!(get[0], ("client", "n3", "get", 60_000, Some(60_000)));
        let answer = told.iter().find(|carried| carried.what == "fetched").unwrap();
        assert_eq!(answer.holds.as_deref(), Some(&["v".to_owned()][..]), "n2 holds the put");
        assert!(judged.messages.of(&judged.history, &[]).is_empty());
    }
}
