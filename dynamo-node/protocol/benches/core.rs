//! How fast the core is alone: whole puts and gets through three nodes in memory, messages delivered at
//! once. One put is five steps (client, two stores, two acknowledgements), one get likewise.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dynamo_protocol::{
    ClientOp, Context, Envelope, Identity, Input, Key, Member, MemoryStore, Meta, Node, NodeId,
    Outbox, Output, Partitioning, Reply, RequestId, Ring, Settings, Start, Time, View,
};

struct Cluster {
    hosts: Vec<(Node, MemoryStore)>,
    flight: VecDeque<Envelope>,
    outbox: Outbox,
}

impl Cluster {
    fn new(nodes: u16) -> Self {
        let members = (1..=nodes).map(|id| Member::new(NodeId(id), 64)).collect();
        let settings = Arc::new(Settings::new([3, 2, 2]));
        let view = Arc::new(View::genesis(&settings, members).unwrap());
        let hosts = view.ids().map(|id| {
            let meta = Meta::genesis(Identity(u64::from(id.0)));
            let start = Start::proven(meta, u64::from(id.0));
            let node = Node::new(id, Arc::clone(&settings), Arc::clone(&view), start);
            (node, MemoryStore::new(meta))
        });
        Self { hosts: hosts.collect(), flight: VecDeque::new(), outbox: Outbox::default() }
    }

    fn step(&mut self, id: NodeId, input: Input) -> Option<Reply> {
        let (node, store) = &mut self.hosts[usize::from(id.0) - 1];
        node.handle(Time(1), input, store, &mut self.outbox);
        let mut replied = None;
        for output in self.outbox.outputs.drain(..) {
            match output {
                Output::Send(envelope) => self.flight.push_back(envelope),
                Output::Reply(_, reply) => replied = Some(reply),
                Output::SetTimer(..) | Output::CancelTimer(_) | Output::Event(_) => {}
            }
        }
        replied
    }

    fn request(&mut self, op: ClientOp) -> Reply {
        let home = self.hosts[0].0.view().homes(op_key(&op))[0];
        let mut reply = self.step(home, Input::Client { request: RequestId(1), op });
        while let Some(envelope) = self.flight.pop_front() {
            reply = self.step(envelope.to, Input::Peer(envelope)).or(reply);
        }
        reply.unwrap()
    }
}

fn op_key(op: &ClientOp) -> &Key {
    match op {
        ClientOp::Get { key } | ClientOp::Put { key, .. } => key,
    }
}

fn core(c: &mut Criterion) {
    let mut group = c.benchmark_group("core");
    group.throughput(Throughput::Elements(5));
    for keys in [10_u64, 10_000] {
        let mut cluster = Cluster::new(5);
        let mut contexts = vec![Context::default(); keys as usize];
        let mut turn = 0;
        group.bench_function(format!("put with context, {keys} keys"), |b| {
            b.iter(|| {
                turn = (turn + 1) % keys;
                let key = Key::from(format!("key-{turn}").as_str());
                let Reply::Got { context, .. } =
                    cluster.request(ClientOp::Get { key: key.clone() })
                else {
                    panic!("a get of a whole cluster is answered")
                };
                contexts[turn as usize] = context.clone();
                let value = Some(Bytes::from_static(&[7; 100]));
                black_box(cluster.request(ClientOp::Put { key, context, value }))
            });
        });
        group.bench_function(format!("get, {keys} keys"), |b| {
            b.iter(|| {
                turn = (turn + 1) % keys;
                let key = Key::from(format!("key-{turn}").as_str());
                black_box(cluster.request(ClientOp::Get { key }))
            });
        });
    }
}

/// Making the ring, which a change of the membership costs every node.
fn ring(c: &mut Criterion) {
    let mut group = c.benchmark_group("ring");
    group.sample_size(10);
    for nodes in [10_u16, 100, 1000] {
        let members: Vec<_> = (1..=nodes).map(|id| Member::new(NodeId(id), 64)).collect();
        group.bench_function(format!("{nodes} nodes of 64 tokens"), |b| {
            b.iter(|| Ring::new(black_box(&members), Partitioning::Tokens, 3));
        });
    }
}

criterion_group!(benches, core, ring);
criterion_main!(benches);
