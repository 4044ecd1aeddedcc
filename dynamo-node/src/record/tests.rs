//! What is recorded replays; what was changed is found.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use dynamo_protocol::{
    Change, ClientOp, Context, Event, Fingerprint, Identity, Key, Leaf, Member, MemoryStore, Meta,
    Refusal, Reply, RequestId, Span,
};
use tempfile::TempDir;

use super::*;

const ME: NodeId = NodeId(1);

fn cluster() -> (Arc<Settings>, Arc<View>) {
    let settings = Settings::new([1, 1, 1]);
    let view = View::genesis(&settings, vec![Member::new(ME, 4)]).unwrap();
    (Arc::new(settings), Arc::new(view))
}

fn put(request: u64, key: &str) -> Input {
    let op = ClientOp::Put {
        key: Key::from(key),
        context: Context::default(),
        value: Some(Bytes::from_static(b"v")),
    };
    Input::Client { request: RequestId(request), op }
}

/// A store whose every third read finds a damaged record, and of which three changes share a batch.
struct Failing {
    store: MemoryStore,
    reads: std::cell::Cell<u32>,
}

impl Store for Failing {
    fn record(&self, place: &Place) -> Result<Option<Record>, StoreError> {
        self.reads.set(self.reads.get() + 1);
        if self.reads.get().is_multiple_of(3) {
            Err(StoreError::Corrupt)
        } else {
            self.store.record(place)
        }
    }

    fn hints(
        &self,
        target: NodeId,
        after: Option<&Key>,
        most: usize,
    ) -> Result<Vec<Key>, StoreError> {
        self.store.hints(target, after, most)
    }

    fn fingerprint(&self, span: Span) -> Result<Fingerprint, StoreError> {
        self.store.fingerprint(span)
    }

    fn leaves(&self, span: Span, most: usize) -> Result<Vec<(Key, Leaf)>, StoreError> {
        self.store.leaves(span, most)
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.store.apply(changes)
    }

    fn position(&self) -> u64 {
        5 + self.store.position() / 3
    }
}

/// Records a node that does `steps` steps on a store that fails, and was not empty.
fn record(folder: &Path, steps: u64) -> PathBuf {
    let meta = Meta::genesis(Identity(7));
    let ((settings, view), mut outbox) = (cluster(), Outbox::default());
    let mut before = MemoryStore { position: 1, ..MemoryStore::new(meta) };
    let start = |meta, incarnation| dynamo_protocol::Start::proven(meta, incarnation);
    let node = |start| Node::new(ME, Arc::clone(&settings), Arc::clone(&view), start);
    let mut earlier = node(start(meta, 1));
    earlier.handle(Time(1), Input::Started, &mut before, &mut outbox);
    earlier.handle(Time(1), put(0, "k0"), &mut before, &mut outbox);

    let mut recorder =
        Recorder::create(folder, (ME, &settings, &view), start(before.meta, 2)).unwrap();
    for (place, record) in before.records.clone() {
        recorder.stored(place, record);
    }
    let mut node = node(start(before.meta, 2));
    let mut store = Failing { store: before, reads: std::cell::Cell::new(0) };
    recorder.step(&mut node, Time(2), Input::Started, &mut store, &mut outbox);
    for step in 1..steps {
        let input = put(step, &format!("k{}", step % 4));
        recorder.step(&mut node, Time(step), input, &mut store, &mut outbox);
    }
    recorder.flush();
    let failed = |output: &Output| matches!(output, Output::Event(Event::StoreFailed(..)));
    assert!(steps < 4 || outbox.outputs.iter().any(failed), "{:?}", outbox.outputs);
    recorder.path
}

#[test]
fn a_record_replays_with_its_store_and_its_errors() {
    let folder = TempDir::new().unwrap();
    record(folder.path(), 30);
    record(folder.path(), 7);
    let replayed = replay(folder.path()).unwrap();
    assert!(replayed.difference.is_none(), "{}", replayed.difference.unwrap());
    assert_eq!((replayed.records, replayed.steps, replayed.cut_short), (2, 37, 0));
}

#[test]
fn a_record_that_was_cut_short_replays_up_to_there() {
    let folder = TempDir::new().unwrap();
    let path = record(folder.path(), 10);
    let whole = fs::read(&path).unwrap();
    let mut steps = BTreeMap::new();
    for length in (0..whole.len()).rev() {
        fs::write(&path, &whole[..length]).unwrap();
        let replayed = replay_file(&path).unwrap();
        assert!(replayed.difference.is_none());
        *steps.entry(replayed.steps).or_insert(0) += 1;
    }
    assert_eq!(steps.keys().copied().collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_damaged_record_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = record(folder.path(), 10);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = replay_file(&path);
    // A damaged length may look like a record that was cut short; it never replays whole.
    assert!(matches!(error, Err(ReplayError::Damaged { .. }) | Ok(Replayed { cut_short: 1, .. })));
    let nothing = TempDir::new().unwrap();
    assert!(matches!(replay(nothing.path()), Err(ReplayError::None(_))));
}

#[test]
fn an_output_that_differs_is_found_and_named() {
    let folder = TempDir::new().unwrap();
    let path = record(folder.path(), 5);
    let whole = fs::read(&path).unwrap();
    let file = File::create(&path).unwrap();
    let mut recorder =
        Recorder { file: BufWriter::new(file), path: path.clone(), frame: vec![], broken: false };
    let mut at = 0;
    let mut steps = 0;
    while at < whole.len() {
        let length = u32::from_le_bytes(whole[at..at + 4].try_into().unwrap()) as usize;
        let mut frame: Frame = postcard::from_bytes(&whole[at + 4..at + 4 + length]).unwrap();
        if let Frame::Step(step) = &mut frame {
            steps += 1;
            if steps == 4 {
                let reply = step.outputs.iter_mut().find(|o| matches!(o, Output::Reply(..)));
                *reply.unwrap() = Output::Reply(RequestId(3), Reply::Refused(Refusal::BadContext));
            }
        }
        recorder.write(&frame);
        at += length + 8;
    }
    recorder.flush();
    let difference = replay(folder.path()).unwrap().difference.unwrap();
    assert_eq!(difference.step, 3);
    let refused = Output::Reply(RequestId(3), Reply::Refused(Refusal::BadContext));
    assert_eq!(difference.recorded, Some(refused));
    let replayed = &difference.replayed;
    assert!(
        matches!(replayed, Some(Output::Reply(RequestId(3), Reply::Done { .. }))),
        "{replayed:?}"
    );
    assert!(difference.to_string().contains("step 3 differs"));
}

/// Two nodes that both have to hold what is put; a put at the first becomes durable at both. What lies in the
/// directory of the second when it starts again is as `lost` leaves it.
fn two_nodes(folder: &Path, lost: impl Fn(&mut MemoryStore)) {
    let settings = Arc::new(Settings::new([2, 1, 2]));
    let members = [1, 2].map(|id| Member::new(NodeId(id), 4)).to_vec();
    let view = Arc::new(View::genesis(&settings, members).unwrap());
    let mut stores = [1, 2].map(|id| MemoryStore::counting(Meta::genesis(Identity(id))));
    let begin = |id: u16, incarnation, store: &MemoryStore| {
        let start = dynamo_protocol::Start::proven(store.meta, incarnation);
        let mut recorder =
            Recorder::create(folder, (NodeId(id), &settings, &view), start.clone()).unwrap();
        for (place, record) in store.records.clone() {
            recorder.stored(place, record);
        }
        (Node::new(NodeId(id), Arc::clone(&settings), Arc::clone(&view), start), recorder)
    };
    let mut nodes = [begin(1, 1, &stores[0]), begin(2, 2, &stores[1])];
    let mut given: Vec<(usize, Input)> =
        vec![(0, Input::Started), (1, Input::Started), (0, put(1, "k")), (0, put(2, "l"))];
    let mut now = 0;
    while !given.is_empty() {
        let (to, input) = given.remove(0);
        let (mut outbox, (node, recorder)) = (Outbox::default(), &mut nodes[to]);
        now += 1;
        recorder.step(node, Time(now), input, &mut stores[to], &mut outbox);
        for output in outbox.outputs {
            if let Output::Send(envelope) = output {
                given.push((usize::from(envelope.to.0) - 1, Input::Peer(envelope)));
            }
        }
    }
    nodes.iter_mut().for_each(|(_, recorder)| recorder.flush());
    lost(&mut stores[1]);
    let (mut again, mut recorder) = begin(2, 3, &stores[1]);
    let mut outbox = Outbox::default();
    recorder.step(&mut again, Time(now + 1), Input::Started, &mut stores[1], &mut outbox);
    recorder.flush();
}

fn together(lost: impl Fn(&mut MemoryStore)) -> Together {
    let folder = TempDir::new().unwrap();
    two_nodes(folder.path(), lost);
    let replayed = replay(folder.path()).unwrap();
    assert!(replayed.difference.is_none(), "{}", replayed.difference.unwrap());
    Together::of(&replayed.lives, true)
}

#[test]
fn records_of_a_cluster_are_judged_together() {
    let all = together(|_| {});
    assert_eq!((all.acknowledged, all.restarts, all.breaches), (2, 1, vec![]));
    assert!(all.events >= 2, "the second heard of both");
}

#[test]
fn a_directory_that_lost_what_its_node_had_acknowledged_is_found() {
    let gone = |store: &mut MemoryStore| drop(store.records.pop_first());
    let checks = |all: Together| all.breaches.into_iter().map(|it| it.check).collect::<Vec<_>>();
    assert_eq!(checks(together(gone)), ["recovery-oracle"]);
    let undone = |store: &mut MemoryStore| {
        gone(store);
        store.position -= 1;
    };
    assert_eq!(checks(together(undone)), ["told-is-durable"]);
}
