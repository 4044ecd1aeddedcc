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
    assert_eq!(difference.replayed, Some(Output::Reply(RequestId(3), Reply::Done)));
    assert!(difference.to_string().contains("step 3 differs"));
}
