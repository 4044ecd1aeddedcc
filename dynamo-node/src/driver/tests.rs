//! What a driver does with more than it can do at once.

use std::collections::BTreeMap;
use std::sync::Mutex;

use dynamo_protocol::{Message, Settings, Timing};
use tokio::sync::Semaphore;

use super::*;
use crate::config::Options;
use crate::opening::{self, Opened};
use crate::replies::{Answers, Untaken};

const ME: NodeId = NodeId(1);
const DEADLINE: Duration = Duration::from_secs(1);
const HEDGE: Duration = Duration::from_millis(100);

/// What a node has sent.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<Vec<Envelope>>>);

impl Transport for Sent {
    fn send(&mut self, envelope: Envelope) {
        self.0.lock().unwrap().push(envelope);
    }

    fn waiting(&self) -> Vec<(NodeId, usize)> {
        Vec::new()
    }

    fn meet(&mut self, _: NodeId) {}
}

/// Node 1 of three, in memory.
async fn driver() -> (Driver<Sent>, Sent) {
    let timing = Timing { hedge: HEDGE, deadline: DEADLINE, ..Timing::default() };
    let settings = Settings { timing, anti_entropy: false, ..Settings::default() };
    let member = |id| dynamo_protocol::Member::new(NodeId(id), 4);
    let view = dynamo_protocol::View::genesis(&settings, (1..=3).map(member).collect()).unwrap();
    let peers = (2..=3).map(|id| (NodeId(id), "127.0.0.1:1".to_owned())).collect();
    let options = Options { genesis: true, ..Options::new(ME, settings, view, peers) };
    let opened = opening::open(&options, 7, None).await.unwrap();
    let Opened { directory, view, start, store, recorder, .. } = opened;
    let agreement = Arc::new(Agreement::new("dynamo", &settings, view.history()));
    let book = Arc::new(Book::new(ME, None, options.peers, BTreeMap::default()));
    let node = Node::new(ME, Arc::new(settings), view, start);
    let committer = (Committer::start(directory, Durability::Sync).unwrap(), Durability::Sync);
    let (about, sent) = (About { incarnation: 7, agreement, book }, Sent::default());
    let stores = (store, recorder);
    let driver = Driver::new(node, about, stores, committer, sent.clone(), Telemetry::default());
    (driver, sent)
}

fn get(key: &str, reply_to: ReplyTo) -> Asked {
    Asked::now(ClientOp::Get { key: Key::from(key) }, reply_to)
}

fn put(key: &str) -> (Asked, oneshot::Receiver<Answer>) {
    let (caller, answer) = oneshot::channel();
    let (key, context) = (Key::from(key), dynamo_protocol::Context::default());
    let op = ClientOp::Put { key, context, value: Some(Bytes::from_static(b"v")) };
    (Asked::now(op, ReplyTo::Call(caller)), answer)
}

/// What the receiver of `envelope` answers to a store.
fn stored(envelope: &Envelope) -> Option<Envelope> {
    let Message::Store { op, .. } = envelope.message else { return None };
    Some(Envelope {
        from: envelope.to,
        identity: Identity(u64::from(envelope.to.0)),
        position: 1,
        to: ME,
        heard: None,
        message: Message::Stored { op, result: Ok(()), counts: true },
        ..envelope.clone()
    })
}

#[tokio::test]
async fn a_peer_whose_answer_lies_unread_when_its_time_is_up_is_not_suspected() {
    let (driver, sent) = driver().await;
    let ((arrive, arrivals), (ask, clients)) = (mpsc::channel(ARRIVALS), mpsc::channel(ARRIVALS));
    let (command, commands) = mpsc::channel(8);
    let running = tokio::spawn(driver.run(Sources { arrivals, clients, commands }));
    let (asked, answer) = put("k");
    ask.send(vec![asked]).await.unwrap();
    let stores = loop {
        let stores: Vec<_> = sent.0.lock().unwrap().iter().filter_map(stored).collect();
        if stores.len() == 2 {
            break stores;
        }
        tokio::task::yield_now().await;
    };
    // Both answers come when the hedging delay is over, and the driver has looked at neither: it and this
    // test are of one thread, which is woken for both at once.
    let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let mut nap = std::pin::pin!(tokio::time::sleep(Duration::from_millis(1)));
    assert!(futures::poll!(&mut nap).is_pending());
    std::thread::sleep(HEDGE + Duration::from_millis(10));
    nap.await;
    arrive.try_send(Arrival::Peer(stores, room)).unwrap();
    assert!(matches!(answer.await, Ok(Answer::Reply(dynamo_protocol::Reply::Done { .. }))));
    let (asker, status) = oneshot::channel();
    command.send(Command::Status(asker)).await.unwrap();
    let status = status.await.unwrap();
    assert_eq!((status.suspected, status.counters.suspicions), (Vec::new(), 0));
    command.send(Command::Stop).await.unwrap();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_session_that_asks_for_much_of_one_key_keeps_another_waiting_for_a_few_alone() {
    let (mut driver, _sent) = driver().await;
    let untaken = Arc::<Untaken>::default();
    let (greedy, modest) = (Arc::new(Answers::new(&untaken)), Arc::new(Answers::new(&untaken)));
    let hot = (0..4000).map(|id| get("hot", ReplyTo::Session(id, Arc::clone(&greedy))));
    driver.backlog.push_back(hot.collect::<Vec<_>>().into_iter());
    let one = get("cold", ReplyTo::Session(1, Arc::clone(&modest)));
    driver.backlog.push_back(vec![one].into_iter());
    driver.serve_clients();
    // Whose they are shows in how many hold the session's answers.
    let begun = driver.requests.iter().find(|(_, open)| match &open.reply_to {
        ReplyTo::Session(_, answers) => Arc::ptr_eq(answers, &modest),
        ReplyTo::Call(_) => false,
    });
    assert_eq!(begun.map(|(request, _)| request.0), Some(SLICE as u64), "after one slice");
}

#[tokio::test]
async fn what_waited_for_half_of_its_deadline_is_refused_and_not_begun() {
    let (mut driver, sent) = driver().await;
    let (mut late, answer) = put("late");
    late.at = late.at.checked_sub(DEADLINE / 2 + Duration::from_millis(1)).unwrap();
    let (prompt, _open) = put("prompt");
    let steps = driver.telemetry.counters.steps;
    driver.backlog.push_back(vec![late, prompt].into_iter());
    driver.serve_clients();
    let Ok(Answer::Overloaded(Overload { what: Excess::Age(age), after })) = answer.await else {
        panic!("it is refused for its age");
    };
    assert!(age > DEADLINE / 2 && after >= age, "{age:?} {after:?}");
    assert_eq!((driver.requests.len(), driver.telemetry.counters.overloaded), (1, 1));
    assert_eq!(driver.telemetry.counters.steps, steps + 1, "the other one alone");
    assert!(sent.0.lock().unwrap().is_empty(), "nothing was sent for it");
}

#[tokio::test]
async fn who_asks_a_node_that_is_about_to_end_is_told_that_nothing_was_done() {
    let (driver, _) = driver().await;
    let (_arrive, arrivals) = mpsc::channel(1);
    let (ask, clients) = mpsc::channel(1);
    let (command, commands) = mpsc::channel(1);
    let (asked, answer) = put("k");
    ask.try_send(vec![asked]).unwrap();
    command.try_send(Command::Stop).unwrap();
    driver.run(Sources { arrivals, clients, commands }).await.unwrap();
    let answer = answer.await;
    assert!(matches!(answer, Ok(Answer::Stopping)), "{answer:?}");
}
