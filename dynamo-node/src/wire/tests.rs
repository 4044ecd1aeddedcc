//! What goes over the wire comes back, and what is malformed does not.

use bytes::Bytes;
use dynamo_protocol::membership::{
    Ballot, Call, Directory, Edit, Membership, Seat, Standing, Vote,
};
use dynamo_protocol::{
    Actor, Answer, Between, COUNTER_LIMIT, ClientOp, ClockSet, Compared, Context, Dot, DottedSet,
    Envelope, Epoch, Fingerprint, Heard, Identity, Key, Leaf, Message, NodeId, OpId, Refusal,
    Reply, Role, Siblings, Span, Stage, StoreError, Token, Version, VersionVector, Zone,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use prost::Message as _;

use super::context::{context_from_bytes, context_to_bytes};
use super::*;
use crate::proto;

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..20).prop_map(Bytes::from)
}

fn any_key() -> impl Strategy<Value = Key> {
    bytes().prop_map(Key)
}

fn actor() -> impl Strategy<Value = Actor> {
    let actor = (any::<u64>(), 0..3_u64);
    actor.prop_map(|(identity, birth)| Actor { identity: Identity(identity), birth })
}

fn vector() -> impl Strategy<Value = VersionVector> {
    btree_map(actor(), 1..=COUNTER_LIMIT, 0..5).prop_map(|entries| entries.into_iter().collect())
}

fn dotted() -> impl Strategy<Value = Siblings> {
    let value = proptest::option::of(bytes());
    let live = vec((actor(), 1..4_u64, any::<u64>(), value), 0..4);
    live.prop_map(|live| {
        let mut set = DottedSet::default();
        for (actor, counter, timestamp, value) in live {
            if set.context().get(&actor) > 0 {
                continue;
            }
            let mut read = VersionVector::default();
            read.raise(actor, counter - 1);
            let dot = Dot { actor, counter };
            set.write(&read, Version { dot, timestamp, value });
        }
        Siblings::Dotted(set)
    })
}

fn plain() -> impl Strategy<Value = Siblings> {
    vec((vector(), actor(), proptest::option::of(bytes())), 0..4).prop_map(|writes| {
        let mut set = ClockSet::default();
        writes.into_iter().for_each(|(read, actor, value)| {
            // A counter at its end cannot be counted up.
            let read = read.iter().map(|(a, n)| (a, n >> 1 | 1)).collect();
            set.write(&read, actor, value);
        });
        Siblings::Plain(set)
    })
}

fn fault() -> impl Strategy<Value = StoreError> {
    use StoreError::{Corrupt, Unreadable, Unwritable};
    prop_oneof![Just(Corrupt), Just(Unreadable), Just(Unwritable)]
}

fn refusal() -> impl Strategy<Value = Refusal> {
    let number = 0..usize::MAX;
    let two = (number.clone(), number);
    prop_oneof![
        two.clone().prop_map(|(needed, reachable)| Refusal::Unavailable { needed, reachable }),
        two.clone().prop_map(|(bytes, limit)| Refusal::KeyTooLong { bytes, limit }),
        two.clone().prop_map(|(bytes, limit)| Refusal::ValueTooLong { bytes, limit }),
        two.clone().prop_map(|(bytes, limit)| Refusal::TooManyBytes { bytes, limit }),
        two.clone().prop_map(|(siblings, limit)| Refusal::TooManySiblings { siblings, limit }),
        two.prop_map(|(actors, limit)| Refusal::TooManyActors { actors, limit }),
        Just(Refusal::BadContext),
        any::<u16>().prop_map(|id| Refusal::NotHome(NodeId(id))),
        fault().prop_map(Refusal::Storage),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        (vec(bytes(), 0..4), vector())
            .prop_map(|(values, vector)| Reply::Got { values, context: Context(vector) }),
        Just(Reply::Done { context: None }),
        vector()
            .prop_filter("none is no context", |vector| vector.actors() > 0)
            .prop_map(|vector| Reply::Done { context: Some(Context(vector)) }),
        refusal().prop_map(Reply::Refused),
        Just(Reply::TimedOut),
    ]
}

fn request() -> impl Strategy<Value = ClientOp> {
    let value = proptest::option::of(bytes());
    prop_oneof![
        any_key().prop_map(|key| ClientOp::Get { key }),
        (any_key(), vector(), value).prop_map(|(key, vector, value)| {
            ClientOp::Put { key, context: Context(vector), value }
        }),
    ]
}

fn span() -> impl Strategy<Value = Span> {
    let ends = (any::<u128>(), any::<u128>());
    let any_span = ends.prop_map(|(a, b)| Span::new(Token(a.min(b)), Token(a.max(b))).unwrap());
    let part = (0..16_usize, 0..16_usize).prop_map(|(a, b)| Span::RING.parts()[a].parts()[b]);
    prop_oneof![Just(Span::RING), part, any_span]
}

fn fingerprint() -> impl Strategy<Value = Fingerprint> {
    let some = any::<(u64, u128)>().prop_map(|(keys, sum)| Fingerprint { keys, sum });
    prop_oneof![some, Just(Fingerprint::default())]
}

fn compared() -> impl Strategy<Value = Compared> {
    let keys = vec((any_key(), any::<u128>().prop_map(Leaf)), 0..4);
    prop_oneof![
        Just(Compared::Equal),
        vec(fingerprint(), 0..4).prop_map(Compared::Parts),
        keys.prop_map(Compared::Keys),
    ]
}

fn between() -> impl Strategy<Value = Between> {
    prop_oneof![Just(Between::Homes), Just(Between::StrayAndHome), Just(Between::HomeAndStray)]
}

fn any_node() -> impl Strategy<Value = NodeId> {
    any::<u16>().prop_map(NodeId)
}

fn any_directory() -> impl Strategy<Value = Directory> {
    let drawn = any::<u64>().prop_map(|identity| Directory::Drawn(Identity(identity)));
    prop_oneof![any_node().prop_map(Directory::Founder), drawn]
}

fn edit() -> impl Strategy<Value = Edit> {
    let (node, directory) = (any_node, any_directory);
    prop_oneof![
        (node(), directory(), any::<u16>()).prop_map(|(node, directory, tokens)| Edit::Join {
            zone: (tokens % 3 > 0).then_some(Zone(tokens)),
            node,
            directory,
            tokens
        }),
        node().prop_map(|node| Edit::Leave { node }),
        (node(), directory(), any::<bool>()).prop_map(|(node, directory, forced)| Edit::Gone {
            node,
            directory,
            forced
        }),
        (node(), directory(), directory()).prop_map(|(node, from, to)| Edit::Replace {
            node,
            from,
            to
        }),
        node().prop_map(|node| Edit::Cancel { node }),
        (node(), any::<u16>()).prop_map(|(node, tokens)| Edit::Weigh { node, tokens }),
    ]
}

fn ballot() -> impl Strategy<Value = Ballot> {
    (any::<u64>(), any_node(), any::<u64>()).prop_map(|(round, node, identity)| Ballot {
        round,
        node,
        identity: Identity(identity),
    })
}

fn vote() -> impl Strategy<Value = Vote> {
    (ballot(), edit()).prop_map(|(ballot, edit)| Vote { ballot, edit })
}

fn membership() -> impl Strategy<Value = Membership> {
    let standing = prop_oneof![Just(Standing::In), Just(Standing::Leaving)];
    let seats = btree_map(any_node(), (any_directory(), any::<u16>(), standing), 0..5);
    let seat = |(node, (directory, tokens, standing))| {
        let zone = (tokens % 3 > 0).then_some(Zone(tokens));
        Seat { node, directory, tokens, standing, zone }
    };
    (any::<u64>(), seats, vec(any_directory(), 0..4)).prop_map(move |(epoch, seats, gone)| {
        let seats = seats.into_iter().map(seat).collect();
        Membership::from_parts(Epoch(epoch), seats, gone).unwrap()
    })
}

fn call() -> impl Strategy<Value = Call> {
    let epoch = || any::<u64>().prop_map(Epoch);
    let (voter, voted) = (any_directory, proptest::option::of(vote()));
    prop_oneof![
        (epoch(), ballot()).prop_map(|(epoch, ballot)| Call::Prepare { epoch, ballot }),
        (epoch(), ballot(), voter(), voted).prop_map(|(epoch, ballot, voter, voted)| {
            Call::Promise { epoch, ballot, voter, voted }
        }),
        (epoch(), vote()).prop_map(|(epoch, vote)| Call::Accept { epoch, vote }),
        (epoch(), ballot(), voter()).prop_map(|(epoch, ballot, voter)| Call::Accepted {
            epoch,
            ballot,
            voter
        }),
        (epoch(), ballot(), ballot()).prop_map(|(epoch, ballot, promised)| Call::Refused {
            epoch,
            ballot,
            promised
        }),
        vec(membership(), 0..4).prop_map(|epochs| Call::Membership { epochs }),
        epoch().prop_map(|epoch| Call::Behind { epoch }),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let op = (any::<u64>(), any::<u64>());
    let op = op.prop_map(|(incarnation, seq)| OpId { incarnation, seq });
    let role = || prop_oneof![Just(Role::Home), any::<u16>().prop_map(|id| Role::Hint(NodeId(id)))];
    let set = || prop_oneof![dotted(), plain()];
    let known = (set(), any::<bool>()).prop_map(|(set, votes)| Answer::Known { set, votes });
    let answer = prop_oneof![known, fault().prop_map(Answer::Failed)];
    let stored = prop_oneof![Just(Ok(())), fault().prop_map(Err)];
    prop_oneof![
        (op.clone(), request()).prop_map(|(op, request)| Message::Forward { op, request }),
        (op.clone(), reply()).prop_map(|(op, reply)| Message::Forwarded { op, reply }),
        (op.clone(), role(), any_key(), set(), any::<bool>())
            .prop_map(|(op, role, key, set, lasts)| Message::Store { op, role, key, set, lasts }),
        (op.clone(), stored, any::<bool>()).prop_map(|(op, result, counts)| Message::Stored {
            op,
            result,
            counts
        }),
        (op.clone(), role(), any_key()).prop_map(|(op, role, key)| Message::Fetch {
            op,
            role,
            key
        }),
        (op.clone(), answer).prop_map(|(op, answer)| Message::Fetched { op, answer }),
        (op.clone(), any::<u64>(), between(), vec((span(), fingerprint()), 0..4)).prop_map(
            |(op, epoch, between, asked)| Message::Compare {
                op,
                epoch: Epoch(epoch),
                between,
                asked
            }
        ),
        call().prop_map(Message::Register),
        (op.clone(), stage(), any::<u64>(), vec((any_key(), any::<u128>().prop_map(Leaf)), 0..4))
            .prop_map(|(op, stage, era, keys)| Message::Settle { op, stage, era, keys }),
        (op.clone(), stage(), vec(any_key(), 0..4))
            .prop_map(|(op, stage, keys)| Message::Settled { op, stage, keys }),
        (op, vec(compared(), 0..4), vec(span(), 0..4))
            .prop_map(|(op, found, counts)| Message::Compared { op, found, counts }),
        any::<Option<u64>>().prop_map(|nonce| Message::Ping { nonce }),
        any::<Option<u64>>().prop_map(|nonce| Message::Pong { nonce }),
    ]
}

fn stage() -> impl Strategy<Value = Stage> {
    prop_oneof![Just(Stage::Watch), Just(Stage::Fence), Just(Stage::Confirm), Just(Stage::Drop)]
}

fn envelope() -> impl Strategy<Value = Envelope> {
    let heard = any::<Option<(u64, u64)>>().prop_map(|heard| {
        let (identity, position) = heard?;
        Some(Heard { identity: Identity(identity), position })
    });
    let ends = (any::<u16>(), any::<u64>(), any::<u64>(), any::<[u64; 2]>(), any::<u16>());
    (ends, heard, message()).prop_map(|((from, identity, position, at, to), heard, message)| {
        Envelope {
            from: NodeId(from),
            identity: Identity(identity),
            position,
            epoch: Epoch(at[0]),
            era: at[1],
            to: NodeId(to),
            heard,
            message,
        }
    })
}

proptest! {
    #[test]
    fn an_envelope_comes_back_from_the_wire(envelope in envelope()) {
        let encoded = envelope_to_proto(envelope.clone()).encode_to_vec();
        let decoded = proto::Envelope::decode(&encoded[..]).unwrap();
        prop_assert_eq!(envelope_from_proto(decoded), Ok(envelope));
    }

    #[test]
    fn an_envelopes_weight_is_about_its_length(envelope in envelope()) {
        let weight = weight(&envelope);
        let encoded = envelope_to_proto(envelope).encode_to_vec();
        prop_assert!(weight * 2 >= encoded.len(), "{weight} for {}", encoded.len());
        prop_assert!(weight <= encoded.len() * 3 + 128, "{weight} for {}", encoded.len());
    }

    #[test]
    fn damaged_bytes_give_an_error_or_a_canonical_message(
        envelope in envelope(), at in any::<prop::sample::Index>(), bit in 0..8_u8,
    ) {
        let mut encoded = envelope_to_proto(envelope).encode_to_vec();
        prop_assume!(!encoded.is_empty());
        let at = at.index(encoded.len());
        encoded[at] ^= 1 << bit;
        let Ok(decoded) = proto::Envelope::decode(&encoded[..]) else { return Ok(()) };
        let Ok(envelope) = envelope_from_proto(decoded) else { return Ok(()) };
        if let Some(set) = envelope.message.set() {
            let canonical = match set {
                Siblings::Dotted(set) => set.is_canonical(),
                Siblings::Plain(set) => set.is_canonical(),
            };
            prop_assert!(canonical);
        }
    }

    #[test]
    fn a_context_comes_back_and_a_damaged_one_is_refused(
        vector in vector(), at in any::<prop::sample::Index>(), bit in 0..8_u8,
    ) {
        let context = Context(vector);
        let mut bytes = context_to_bytes(&context, None).to_vec();
        prop_assert_eq!(context_from_bytes(&bytes, None), Ok(context));
        prop_assume!(!bytes.is_empty());
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert_eq!(context_from_bytes(&bytes, None), Err(Malformed::Context));
        bytes[at] ^= 1 << bit;
        bytes.truncate(at);
        prop_assert!(at == 0 || context_from_bytes(&bytes, None) == Err(Malformed::Context));
    }

    #[test]
    fn no_bytes_of_a_client_bring_the_context_decoder_down(bytes in vec(any::<u8>(), 0..60)) {
        drop(context_from_bytes(&bytes, None));
    }
}

fn entry(identity: u64, counter: u64) -> proto::Entry {
    proto::Entry { identity, birth: 0, counter }
}

fn store_of(context: Vec<proto::Entry>, dots: Vec<proto::Entry>) -> proto::Envelope {
    let version = |dot| proto::Version { dot: Some(dot), timestamp: 0, value: None };
    let set = proto::DottedSet { context, versions: dots.into_iter().map(version).collect() };
    let set = Some(proto::Siblings { scheme: Some(proto::siblings::Scheme::Dotted(set)) });
    let key = Bytes::from_static(b"k");
    let store = proto::Store { hint_for: None, key, set, lasts: false };
    proto::Envelope {
        from: 1,
        identity: 1,
        to: 2,
        op: Some(proto::OpId { incarnation: 1, seq: 1 }),
        message: Some(proto::envelope::Message::Store(store)),
        position: 0,
        heard: None,
        epoch: 1,
        era: 0,
    }
}

#[test]
fn a_set_that_is_not_canonical_is_refused() {
    let sound = store_of(vec![entry(1, 2), entry(2, 1)], vec![entry(1, 2)]);
    assert!(envelope_from_proto(sound).is_ok());
    for (what, context, dots) in [
        ("out of order", vec![entry(2, 1), entry(1, 2)], vec![]),
        ("an actor twice", vec![entry(1, 1), entry(1, 2)], vec![]),
        ("a zero", vec![entry(1, 0)], vec![]),
        ("a dot that is not covered", vec![entry(1, 1)], vec![entry(1, 2)]),
        ("a dot twice", vec![entry(1, 1)], vec![entry(1, 1), entry(1, 1)]),
        ("a dot of nothing", vec![entry(1, 1)], vec![entry(1, 0)]),
    ] {
        let refused = envelope_from_proto(store_of(context, dots));
        assert!(matches!(refused, Err(Malformed::NotCanonical(_))), "{what}: {refused:?}");
    }
}

#[test]
fn what_is_missing_is_refused() {
    let whole = store_of(vec![entry(1, 1)], vec![entry(1, 1)]);
    let no_op = proto::Envelope { op: None, ..whole.clone() };
    assert_eq!(envelope_from_proto(no_op), Err(Malformed::Missing("the operation")));
    let no_message = proto::Envelope { message: None, ..whole.clone() };
    assert_eq!(envelope_from_proto(no_message), Err(Malformed::Missing("the message")));
    let node = proto::Envelope { from: 1 << 16, ..whole };
    assert_eq!(envelope_from_proto(node), Err(Malformed::NodeId(1 << 16)));
    assert_eq!(client_op(None, None), Err(Malformed::Missing("the operation")));
}

#[test]
fn a_key_that_storage_cannot_hold_is_refused() {
    let get = |length| {
        let key = Bytes::from(vec![0; length]);
        client_op(Some(proto::request::Op::Get(proto::GetRequest { key })), None)
    };
    assert!(get(LONGEST_KEY).is_ok());
    assert_eq!(get(LONGEST_KEY + 1), Err(Malformed::Key(LONGEST_KEY + 1)));
}

#[test]
fn an_unknown_fault_is_refused_and_not_taken_for_success() {
    let stored = proto::Stored { fault: 99, fills: false };
    let envelope = proto::Envelope {
        message: Some(proto::envelope::Message::Stored(stored)),
        ..store_of(vec![], vec![])
    };
    let refused = envelope_from_proto(envelope);
    assert_eq!(refused, Err(Malformed::UnknownValue("the store fault", 99)));
}

fn register_of(call: proto::register::Call) -> proto::Envelope {
    let register = proto::Register { call: Some(call) };
    let message = Some(proto::envelope::Message::Register(register));
    proto::Envelope { op: None, message, ..store_of(vec![], vec![]) }
}

fn drawn(identity: u64) -> Option<proto::DataDirectory> {
    let directory = Some(proto::data_directory::Directory::Drawn(identity));
    Some(proto::DataDirectory { directory })
}

fn seat(node: u32) -> proto::Seat {
    proto::Seat { node, directory: drawn(1), tokens: 8, standing: 1, zone: None }
}

fn told(seats: Vec<proto::Seat>) -> Result<Envelope, Malformed> {
    let epochs = vec![proto::Membership { epoch: 2, seats, gone: vec![] }];
    let membership = proto::register::Call::Membership(proto::Memberships { epochs });
    envelope_from_proto(register_of(membership))
}

#[test]
fn a_membership_that_makes_no_sense_is_refused() {
    assert!(told(vec![seat(1), seat(2)]).is_ok());
    let not_canonical = Err(Malformed::NotCanonical("a membership"));
    assert_eq!(told(vec![seat(2), seat(1)]), not_canonical);
    assert_eq!(told(vec![seat(1), seat(1)]), not_canonical);
    let standing = |standing| told(vec![proto::Seat { standing, ..seat(1) }]);
    assert_eq!(standing(0), Err(Malformed::UnknownValue("a standing", 0)));
    assert_eq!(standing(9), Err(Malformed::UnknownValue("a standing", 9)));
    let nameless = told(vec![proto::Seat { directory: None, ..seat(1) }]);
    assert_eq!(nameless, Err(Malformed::Missing("a directory")));
    let tokens = told(vec![proto::Seat { tokens: 1 << 16, ..seat(1) }]);
    assert_eq!(tokens, Err(Malformed::Tokens(1 << 16)));
}

#[test]
fn a_call_without_its_parts_is_refused() {
    use proto::register::Call as Wire;
    let refused = |call| envelope_from_proto(register_of(call)).unwrap_err();
    let prepare = Wire::Prepare(proto::Prepare { epoch: 2, ballot: None });
    assert_eq!(refused(prepare), Malformed::Missing("a ballot"));
    let accept = Wire::Accept(proto::Accept { epoch: 2, vote: None });
    assert_eq!(refused(accept), Malformed::Missing("the vote"));
    let ballot = Some(proto::Ballot { round: 1, node: 1, identity: 1 });
    let vote = Some(proto::Vote { ballot, edit: None });
    let accept = Wire::Accept(proto::Accept { epoch: 2, vote });
    assert_eq!(refused(accept), Malformed::Missing("the change"));
    let empty = proto::Envelope {
        message: Some(proto::envelope::Message::Register(proto::Register { call: None })),
        ..store_of(vec![], vec![])
    };
    let refused = envelope_from_proto(empty);
    assert_eq!(refused, Err(Malformed::Missing("what is said about the membership")));
}
