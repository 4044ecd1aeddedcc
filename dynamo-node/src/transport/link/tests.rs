//! Every order in which pushes, a link's task, its connections and what is left of them can take turns.

use std::pin::{Pin, pin};
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};

use super::*;

/// How long the orders are. The shortest one that shows a waker overwritten by what is left of an earlier
/// connection has eight turns.
const TURNS: usize = 13;
/// How many items are pushed, and how many connections made, at most.
const PUSHES: usize = 3;
const CONNECTIONS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Push,
    /// The link's task, if it was woken.
    Link,
    /// The stream of a connection: one's task may be polled for many reasons, woken or not.
    Stream(usize),
    /// The stream goes, as its connection's task finds out that it is over.
    Drop(usize),
    /// The connection that is open breaks.
    Break,
    /// The rest between two dials is over.
    Rested,
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Flag {
    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// What the link's task is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Items,
    Connection { broken: bool },
    Rest { over: bool },
}

struct Stream {
    reader: Option<Reader<u8>>,
    /// A stream is polled as soon as there is one.
    woken: Arc<Flag>,
}

struct World {
    phase: Phase,
    streams: Vec<Stream>,
    task: Option<Waker>,
}

struct Scripted(Mutex<World>);

impl Scripted {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    async fn until(&self, phase: Phase, over: Phase) {
        self.world().phase = phase;
        std::future::poll_fn(|context| {
            let mut world = self.world();
            world.task = Some(context.waker().clone());
            if world.phase == over { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        self.world().phase = Phase::Items;
    }
}

impl Way<u8> for Scripted {
    async fn converse(&self, waiting: Reader<u8>) -> Ended {
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        self.world().streams.push(Stream { reader: Some(waiting), woken });
        let phases = [false, true].map(|broken| Phase::Connection { broken });
        self.until(phases[0], phases[1]).await;
        Ended { greeted: true, why: String::new() }
    }

    async fn broken(&self, _: &Ended, _: usize) -> bool {
        true
    }

    async fn rest(&self, _: Duration) {
        self.until(Phase::Rest { over: false }, Phase::Rest { over: true }).await;
    }
}

struct Bench<'a> {
    link: &'a Link<u8>,
    way: &'a Scripted,
    task: Pin<&'a mut dyn Future<Output = ()>>,
    woken: Arc<Flag>,
    pushed: usize,
}

impl Bench<'_> {
    fn possible(&self) -> Vec<Turn> {
        let world = self.way.world();
        let mut turns = Vec::new();
        if self.pushed < PUSHES {
            turns.push(Turn::Push);
        }
        if self.woken.is_set() {
            turns.push(Turn::Link);
        }
        match world.phase {
            Phase::Connection { broken: false } if world.streams.len() < CONNECTIONS => {
                turns.push(Turn::Break);
            }
            Phase::Rest { over: false } => turns.push(Turn::Rested),
            _ => {}
        }
        let streams = world.streams.iter().enumerate();
        for (at, _) in streams.filter(|(_, stream)| stream.reader.is_some()) {
            turns.extend([Turn::Stream(at), Turn::Drop(at)]);
        }
        turns
    }

    fn take(&mut self, turn: Turn) -> Result<(), String> {
        match turn {
            Turn::Push => {
                self.pushed += 1;
                self.link.queue.push(0, 1);
            }
            Turn::Link => {
                self.woken.clear();
                let waker = Waker::from(Arc::clone(&self.woken));
                let polled = self.task.as_mut().poll(&mut Context::from_waker(&waker));
                assert!(polled.is_pending(), "the link has ended");
            }
            Turn::Stream(at) => return self.poll_stream(at),
            Turn::Drop(at) => drop(self.way.world().streams[at].reader.take()),
            Turn::Break => self.let_go(Phase::Connection { broken: true }),
            Turn::Rested => self.let_go(Phase::Rest { over: true }),
        }
        Ok(())
    }

    fn let_go(&self, phase: Phase) {
        let mut world = self.way.world();
        world.phase = phase;
        let task = world.task.take();
        drop(world);
        task.expect("the task waits").wake();
    }

    fn poll_stream(&self, at: usize) -> Result<(), String> {
        let mut world = self.way.world();
        let is_present =
            at + 1 == world.streams.len() && matches!(world.phase, Phase::Connection { .. });
        let stream = &mut world.streams[at];
        stream.woken.clear();
        let waker = Waker::from(Arc::clone(&stream.woken));
        let reader = stream.reader.as_mut().expect("it is there");
        match reader.poll_take(&mut Context::from_waker(&waker), 100) {
            Poll::Ready(Some(_)) if !is_present => {
                Err("what is left of a connection took items".to_owned())
            }
            Poll::Ready(_) => {
                // It is polled until it is pending, or has ended.
                stream.woken.wake_by_ref();
                Ok(())
            }
            Poll::Pending => Ok(()),
        }
    }

    /// If items wait, whoever is to take them is about to be polled, or waits for something that comes.
    fn check(&self) -> Result<(), String> {
        let world = self.way.world();
        if !self.link.queue.progress().waits || self.woken.is_set() {
            return Ok(());
        }
        let is_well = match world.phase {
            Phase::Rest { .. } => true,
            Phase::Items => false,
            Phase::Connection { .. } => {
                let present = world.streams.last().expect("a connection has a stream");
                present.reader.is_none() || present.woken.is_set()
            }
        };
        if is_well {
            Ok(())
        } else {
            Err(format!("items wait in {:?}, nobody is woken", world.phase))
        }
    }
}

/// Takes the turns that `choices` says, and the first possible one beyond them; returns how many were
/// possible each time.
fn run(choices: &[usize]) -> Result<Vec<usize>, String> {
    let link = Link::new(100);
    let world = World { phase: Phase::Items, streams: Vec::new(), task: None };
    let way = Scripted(Mutex::new(world));
    let task = pin!(link.run(&way));
    let woken = Arc::new(Flag(AtomicBool::new(true)));
    let mut bench = Bench { link: &link, way: &way, task, woken, pushed: 0 };
    let (mut widths, mut taken) = (Vec::new(), Vec::new());
    for at in 0..TURNS {
        let possible = bench.possible();
        let Some(turn) = possible.get(choices.get(at).copied().unwrap_or(0)) else { break };
        widths.push(possible.len());
        taken.push(*turn);
        let checked = bench.take(*turn).and_then(|()| bench.check());
        checked.map_err(|why| format!("{why}, after {taken:?}"))?;
    }
    Ok(widths)
}

#[test]
fn no_order_of_turns_leaves_items_waiting_with_nobody_woken() {
    let (mut choices, mut orders) = (Vec::new(), 0_u64);
    loop {
        let widths = run(&choices).unwrap_or_else(|why| panic!("{why}"));
        orders += 1;
        // The next order: the last turn that has another alternative takes it.
        choices.resize(widths.len(), 0);
        while let Some(last) = choices.pop() {
            if last + 1 < widths[choices.len()] {
                choices.push(last + 1);
                break;
            }
        }
        if choices.is_empty() {
            break;
        }
    }
    assert!(orders > 100_000, "{orders} orders are too few to show anything");
}

#[test]
fn a_link_that_rests_while_items_wait_is_told_of_once() {
    let link: Link<u8> = Link::new(100);
    let mut watch = Watch::default();
    link.rests.store(true, Ordering::Relaxed);
    assert!((0..10).all(|_| watch.look(&link).is_none()), "nothing waits");
    link.queue.push(0, 1);
    let told = (0..10).filter_map(|_| watch.look(&link)).count();
    assert_eq!(told, 1);
}

#[test]
fn a_link_from_which_nothing_is_taken_is_told_of_once_and_a_slow_one_is_not() {
    let link: Link<u8> = Link::new(100);
    let mut watch = Watch::default();
    let mut reader = link.queue.reader();
    for _ in 0..3 * TALKING_LOOKS {
        link.queue.push(0, 1);
        assert!(watch.look(&link).is_none());
        if watch.talked + 2 > TALKING_LOOKS {
            assert!(!reader.take_all().is_empty());
        }
    }
    link.queue.push(0, 1);
    let told = (0..3 * TALKING_LOOKS).filter_map(|_| watch.look(&link)).count();
    assert_eq!(told, 1);
}

#[test]
fn a_connection_on_which_nothing_is_taken_in_is_given_up_and_a_slow_or_quiet_one_is_not() {
    let mut silence = Silence::default();
    let mut is_given_up = |said, taken, left| silence.look(said, taken, left).is_some();
    assert!((0..3 * SILENT_LOOKS).all(|_| !is_given_up(5, 5, true)), "all is taken in");
    for taken in 6..20 {
        assert!((1..SILENT_LOOKS).all(|_| !is_given_up(100, taken, true)), "more comes in time");
    }
    assert!((0..SILENT_LOOKS).any(|_| is_given_up(100, 19, true)));
    for (left, looks) in [(true, SILENT_LOOKS), (false, BEGIN_LOOKS)] {
        let mut silence = Silence::default();
        assert!((1..looks).all(|_| silence.look(1, 0, left).is_none()));
        assert!(silence.look(1, 0, left).is_some(), "a dial that is not answered");
    }
}
