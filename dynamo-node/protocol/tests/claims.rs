//! Whatever context a client makes up: its put is refused, or it is there, and what a node hands out it
//! takes back.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::sync::Arc;

use bytes::Bytes;
use dynamo_protocol::{
    Actor, COUNTER_LIMIT, ClientOp, Context, Identity, Input, Key, Member, MemoryStore, Meta, Node,
    NodeId, Outbox, Output, Refusal, Reply, RequestId, Settings, Start, Time, VersionVector,
    Versioning, View,
};
use proptest::collection::vec;
use proptest::prelude::*;

const ME: NodeId = NodeId(1);
const IDENTITY: Identity = Identity(7);

/// One node that is a cluster of its own.
struct Alone {
    node: Node,
    store: MemoryStore,
    asked: u64,
}

impl Alone {
    fn new(versioning: Versioning) -> Self {
        let settings = Settings { versioning, ..Settings::new([1, 1, 1]) };
        let view = View::genesis(&settings, vec![Member::new(ME, 1)]).unwrap();
        let meta = Meta::genesis(IDENTITY);
        let node = Node::new(ME, Arc::new(settings), Arc::new(view), Start::proven(meta, 1));
        Self { node, store: MemoryStore::new(meta), asked: 0 }
    }

    fn ask(&mut self, op: ClientOp) -> Reply {
        self.asked += 1;
        let request = RequestId(self.asked);
        let mut outbox = Outbox::default();
        let input = Input::Client { request, op };
        self.node.handle(Time(self.asked), input, &mut self.store, &mut outbox);
        let replies = outbox.outputs.into_iter().filter_map(|output| match output {
            Output::Reply(_, reply) => Some(reply),
            _ => None,
        });
        replies.last().unwrap()
    }

    fn get(&mut self) -> (Vec<Bytes>, Context) {
        match self.ask(ClientOp::Get { key: Key::from("k") }) {
            Reply::Got { values, context } => (values, context),
            other => panic!("{other:?}"),
        }
    }

    fn put(&mut self, context: Context) -> (Bytes, Reply) {
        let value = Bytes::from(format!("v{}", self.asked));
        let (key, written) = (Key::from("k"), Some(value.clone()));
        (value, self.ask(ClientOp::Put { key, context, value: written }))
    }
}

fn counter() -> impl Strategy<Value = u64> {
    let near = |edge: u64| (edge - 2)..=edge.saturating_add(2);
    prop_oneof![1..5_u64, near(1 << 60), near(COUNTER_LIMIT), near(u64::MAX), any::<u64>()]
}

/// Of actors the node has been, will be, never was.
fn claim() -> impl Strategy<Value = Context> {
    let identity = prop_oneof![Just(IDENTITY), Just(Identity(u64::from(ME.0))), Just(Identity(99))];
    let entry = (identity, prop_oneof![0..4_u64, Just(u64::MAX)], counter());
    vec(entry, 0..5).prop_map(|entries| {
        let actor = |(identity, birth, counter)| (Actor { identity, birth }, counter);
        Context(entries.into_iter().map(actor).collect::<VersionVector>())
    })
}

fn versioning() -> impl Strategy<Value = Versioning> {
    prop_oneof![Just(Versioning::Dotted), Just(Versioning::Paper), Just(Versioning::Lww)]
}

proptest! {
    #[test]
    fn a_put_is_refused_or_there_and_the_next_context_is_taken_back(
        versioning in versioning(), claims in vec(claim(), 1..6),
    ) {
        let mut alone = Alone::new(versioning);
        for claim in claims {
            let is_possible = claim.0.is_canonical();
            let (value, reply) = alone.put(claim);
            match reply {
                Reply::Done { context } => {
                    let (values, read) = alone.get();
                    prop_assert!(values.contains(&value), "it was acknowledged");
                    // Where the newest alone is shown others may lie beside it.
                    prop_assert!(context.is_some() == (values.len() == 1) || versioning == Versioning::Lww);
                    prop_assert!(context.is_none_or(|context| context == read));
                }
                Reply::Refused(Refusal::BadContext) => prop_assert!(!is_possible),
                other => prop_assert!(false, "{:?}", other),
            }
            let (_, context) = alone.get();
            prop_assert!(context.0.is_canonical(), "{:?}", context);
            let (value, reply) = alone.put(context);
            let (values, context) = alone.get();
            prop_assert_eq!(reply, Reply::Done { context: Some(context.clone()) });
            prop_assert_eq!(values, [value], "it overwrites all that was read");
            let (value, reply) = alone.put(context);
            prop_assert!(matches!(reply, Reply::Done { context: Some(_) }), "{:?}", reply);
            prop_assert_eq!(alone.get().0, [value], "it overwrites what its writer wrote");
        }
    }
}
