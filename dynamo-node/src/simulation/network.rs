//! The network of a simulated world: who listens, who dials, and when what was sent arrives.
//!
//! A connection has two lanes. What is written to one is due some time later, never before what was written
//! earlier, and in pieces now and then: the rest of a frame may be late, or never come. One task carries all
//! of it, in the order of what is due, so that who wrote first in one moment decides nothing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use dynamo_protocol::NodeId;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until};

use super::chance::Chance;
use super::locked;

pub(crate) use super::socket::Socket;

/// How many bytes may be under way or unread on a lane.
const LANE_BYTES: usize = 256 << 10;
/// Between two tries to get through to somebody.
const DIAL_AGAIN: Duration = Duration::from_millis(50);

/// Who is at one end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// A node.
    Node(NodeId),
    /// A client of this number.
    Client(u16),
    /// Whoever found the address in a ring.
    Anyone,
    /// An operator, whose links are always well.
    Operator,
}

/// How links carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// How long a piece takes, in microseconds: from the first to the second.
    pub delay: [u64; 2],
    /// Of a thousand writes so many arrive in two pieces.
    pub split: u64,
    /// How much later than the first the second piece is at the most, in microseconds.
    pub late: u64,
}

/// What was carried so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Connections.
    pub connections: u64,
    /// Dials at which nobody listened.
    pub refused: u64,
    /// Pieces of what was written.
    pub pieces: u64,
    /// Writes that arrived in two.
    pub split: u64,
    /// Pieces that a link held up since it was cut.
    pub held: u64,
    /// Connections that were broken off.
    pub reset: u64,
    /// Of everything that arrived, where and when: alike for runs that are.
    pub digest: u64,
}

/// The network. Clones are the same one.
#[derive(Clone)]
pub struct Network(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Something is due sooner than before.
    sooner: Notify,
    begin: Instant,
}

struct State {
    chance: Chance,
    weather: Weather,
    listeners: BTreeMap<NodeId, mpsc::UnboundedSender<Socket>>,
    /// Nodes whose machines are off.
    silent: BTreeSet<NodeId>,
    cut: BTreeSet<(End, End)>,
    /// Two of each connection, one after the other.
    lanes: BTreeMap<u64, Lane>,
    next: u64,
    due: BinaryHeap<Reverse<(u64, u64)>>,
    carried: Carried,
}

/// One direction of a connection.
pub(super) struct Lane {
    from: End,
    to: End,
    chance: Chance,
    under_way: std::collections::VecDeque<(u64, Parcel)>,
    last_due: u64,
    /// Neither taken by the reader nor arrived.
    bytes: usize,
    pub(super) arrived: std::collections::VecDeque<Bytes>,
    /// Nothing more comes, or nothing but this.
    pub(super) ended: Option<Ended>,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    /// It carries nothing any more: a machine is off.
    dead: bool,
    reader_gone: bool,
    writer_gone: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Closed,
    Reset,
}

enum Parcel {
    Piece(Bytes),
    End(Ended),
}

impl Network {
    pub(super) fn new(chance: Chance) -> Self {
        let state = State {
            chance,
            weather: Weather { delay: [0, 1000], split: 100, late: 2000 },
            listeners: BTreeMap::new(),
            silent: BTreeSet::new(),
            cut: BTreeSet::new(),
            lanes: BTreeMap::new(),
            next: 0,
            due: BinaryHeap::new(),
            carried: Carried::default(),
        };
        let (sooner, begin) = (Notify::new(), Instant::now());
        Self(Arc::new(Shared { state: Mutex::new(state), sooner, begin }))
    }

    /// Where `from` reaches `node`.
    #[must_use]
    pub fn address(from: End, node: NodeId) -> String {
        format!("{from}.{node}:1")
    }

    /// How links carry from now on.
    pub fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    /// From now on nothing passes from `from` to `to`; what is on its way waits.
    pub fn cut(&self, from: End, to: End) {
        self.state().cut.insert((from, to));
    }

    /// All that was cut is whole again, and carries what waits.
    pub fn mend(&self) {
        let now = self.now();
        let mut state = self.state();
        let cut = std::mem::take(&mut state.cut);
        let ways: Vec<_> =
            state.lanes.iter().map(|(id, lane)| (*id, (lane.from, lane.to))).collect();
        for (id, _) in ways.into_iter().filter(|(_, way)| cut.contains(way)) {
            state.carry_on(id, now);
        }
        drop(state);
        self.0.sooner.notify_one();
    }

    /// Whether nothing passes from `from` to `to`.
    #[must_use]
    pub fn is_cut(&self, from: End, to: End) -> bool {
        self.state().cut.contains(&(from, to))
    }

    /// Every connection between the two is broken off: what was on its way is lost.
    pub fn reset(&self, one: End, other: End) {
        let mut state = self.state();
        let between = |lane: &Lane| [(one, other), (other, one)].contains(&(lane.from, lane.to));
        let ids: Vec<_> =
            state.lanes.iter().filter(|(_, lane)| between(lane)).map(|(id, _)| *id).collect();
        state.carried.reset += ids.len() as u64 / 2;
        ids.iter().for_each(|id| state.end(*id, Ended::Reset));
    }

    /// What was carried.
    #[must_use]
    pub fn carried(&self) -> Carried {
        self.state().carried
    }

    /// A node listens; what was connected to it before is over.
    pub(super) fn listen(&self, node: NodeId) -> mpsc::UnboundedReceiver<Socket> {
        let (accept, accepted) = mpsc::unbounded_channel();
        let mut state = self.state();
        state.silent.remove(&node);
        state.listeners.insert(node, accept);
        let dead: Vec<_> =
            state.lanes.iter().filter(|(_, lane)| lane.dead).map(|(id, _)| *id).collect();
        for id in dead {
            let lane = &state.lanes[&id];
            if [lane.from, lane.to].contains(&End::Node(node)) {
                state.end(id, Ended::Reset);
            }
        }
        accepted
    }

    /// A node is gone. Its own ends are; the others hear of it, unless its machine went with it.
    pub(super) fn fall_silent(&self, node: NodeId, with_machine: bool) {
        let now = self.now();
        let gone = End::Node(node);
        let mut state = self.state();
        state.listeners.remove(&node);
        if with_machine {
            state.silent.insert(node);
        }
        let ids: Vec<_> = state
            .lanes
            .iter()
            .filter(|(_, lane)| [lane.from, lane.to].contains(&gone))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            let lane = state.lanes.get_mut(&id).expect("it was listed");
            if with_machine {
                lane.dead = true;
            } else if lane.to == gone {
                state.end(id, Ended::Reset);
            } else {
                lane.writer_gone = true;
                // What it wrote is under way, and behind it comes the end.
                state.send(id, Parcel::End(Ended::Reset), now, 0);
            }
        }
        drop(state);
        self.0.sooner.notify_one();
    }

    /// Connects to whoever is reached there.
    pub(super) async fn dial(&self, address: &str) -> io::Result<Socket> {
        let unknown = || io::Error::new(io::ErrorKind::InvalidInput, "no address of this world");
        let (from, node) = parsed(address).ok_or_else(unknown)?;
        let to = End::Node(node);
        while self.is_cut(from, to) || self.is_cut(to, from) || self.state().silent.contains(&node)
        {
            sleep(DIAL_AGAIN).await;
        }
        let takes = {
            let mut state = self.state();
            let [least, most] = state.weather.delay;
            2 * state.chance.within(least, most)
        };
        sleep(Duration::from_micros(takes)).await;
        let mut state = self.state();
        let Some(accept) = state.listeners.get(&node).cloned() else {
            state.carried.refused += 1;
            return Err(io::ErrorKind::ConnectionRefused.into());
        };
        let id = state.next;
        state.next += 2;
        for (id, from, to) in [(id, from, to), (id + 1, to, from)] {
            let lane = Lane::new(from, to, state.chance.branch());
            state.lanes.insert(id, lane);
        }
        state.carried.connections += 1;
        drop(state);
        let here = Socket::new(self.clone(), id, id + 1);
        let there = Socket::new(self.clone(), id + 1, id);
        match accept.send(there) {
            Ok(()) => Ok(here),
            Err(_) => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }

    /// Carries what is due, for ever.
    pub(super) async fn carry(self) {
        loop {
            let next = self.state().due.peek().map(|Reverse((due, _))| *due);
            let sooner = self.0.sooner.notified();
            match next {
                None => sooner.await,
                Some(due) if due <= self.now() => self.arrive(),
                Some(due) => {
                    let until = self.0.begin + Duration::from_micros(due);
                    tokio::select! {
                        biased;
                        () = sooner => {}
                        () = sleep_until(until) => {}
                    }
                }
            }
        }
    }

    fn arrive(&self) {
        let now = self.now();
        let mut state = self.state();
        while let Some(Reverse((due, id))) = state.due.peek().copied()
            && due <= now
        {
            state.due.pop();
            state.arrive(id, now);
        }
    }

    /// Microseconds since the world began.
    fn now(&self) -> u64 {
        u64::try_from(self.0.begin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.0.state)
    }

    /// Looks at a lane, if it is there still.
    pub(super) fn lane<T>(&self, id: u64, look: impl FnOnce(&mut Lane) -> T) -> Option<T> {
        self.state().lanes.get_mut(&id).map(look)
    }

    /// Writes to a lane; how much it takes, or none for now.
    pub(super) fn write(&self, id: u64, bytes: &[u8], waker: &Waker) -> io::Result<Option<usize>> {
        let now = self.now();
        let mut state = self.state();
        let weather = state.weather;
        let lane = state.lanes.get_mut(&id).ok_or(io::ErrorKind::BrokenPipe)?;
        if lane.ended == Some(Ended::Reset) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if lane.reader_gone || lane.writer_gone {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let room = LANE_BYTES.saturating_sub(lane.bytes).min(bytes.len());
        if room == 0 && !bytes.is_empty() {
            lane.writer = Some(waker.clone());
            return Ok(None);
        }
        let splits = lane.chance.happens(weather.split);
        let later = lane.chance.within(0, weather.late);
        let at = lane.chance.split(room);
        lane.bytes += room;
        if splits && at < room {
            state.carried.split += 1;
            state.send(id, Parcel::Piece(Bytes::copy_from_slice(&bytes[..at])), now, 0);
            state.send(id, Parcel::Piece(Bytes::copy_from_slice(&bytes[at..room])), now, later);
        } else {
            state.send(id, Parcel::Piece(Bytes::copy_from_slice(&bytes[..room])), now, 0);
        }
        drop(state);
        self.0.sooner.notify_one();
        Ok(Some(room))
    }

    /// Nothing more is written to a lane.
    pub(super) fn close(&self, id: u64) {
        let now = self.now();
        let mut state = self.state();
        let Some(lane) = state.lanes.get_mut(&id).filter(|lane| !lane.writer_gone) else { return };
        lane.writer_gone = true;
        state.send(id, Parcel::End(Ended::Closed), now, 0);
        drop(state);
        self.0.sooner.notify_one();
    }

    /// Nobody reads a lane any more.
    pub(super) fn part(&self, id: u64) {
        let mut state = self.state();
        let Some(lane) = state.lanes.get_mut(&id) else { return };
        lane.reader_gone = true;
        wake(&mut lane.writer);
        state.forget(id);
    }
}

impl State {
    /// What is sent is due some time later.
    fn send(&mut self, id: u64, parcel: Parcel, now: u64, later: u64) {
        let [least, most] = self.weather.delay;
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let due = (now + later + lane.chance.within(least, most)).max(lane.last_due);
        lane.last_due = due;
        lane.under_way.push_back((due, parcel));
        self.due.push(Reverse((due, id)));
    }

    fn arrive(&mut self, id: u64, now: u64) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let way = (lane.from, lane.to);
        if lane.dead || lane.ended.is_some() {
            return;
        }
        if self.cut.contains(&way) {
            self.carried.held += 1;
            return;
        }
        while let Some((due, parcel)) = lane.under_way.pop_front() {
            if due > now {
                lane.under_way.push_front((due, parcel));
                break;
            }
            self.carried.pieces += 1;
            let digest = self.carried.digest.rotate_left(5) ^ due ^ id << 48;
            self.carried.digest = digest.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            match parcel {
                Parcel::Piece(bytes) => lane.arrived.push_back(bytes),
                Parcel::End(ended) => {
                    lane.ended = Some(ended);
                    break;
                }
            }
        }
        wake(&mut lane.reader);
        if lane.ended == Some(Ended::Reset) {
            self.end(id ^ 1, Ended::Reset);
        }
        self.forget(id);
    }

    /// What waits on a lane since it was cut arrives now, one after the other.
    fn carry_on(&mut self, id: u64, now: u64) {
        let [least, most] = self.weather.delay;
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let mut last = now + lane.chance.within(least, most);
        for (due, _) in &mut lane.under_way {
            last = last.max(*due);
            *due = last;
            self.due.push(Reverse((last, id)));
        }
        lane.last_due = lane.last_due.max(last);
    }

    /// A lane ends at once, with all that is on it.
    fn end(&mut self, id: u64, how: Ended) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.ended = Some(how);
        lane.under_way.clear();
        lane.arrived.clear();
        wake(&mut lane.reader);
        wake(&mut lane.writer);
        self.forget(id);
    }

    /// Forgets a connection of which nobody has an end any more, and nothing is under way.
    fn forget(&mut self, id: u64) {
        let both = [id & !1, id | 1];
        let is_over = |id: &u64| self.lanes.get(id).is_none_or(|lane| lane.reader_gone);
        if both.iter().all(is_over) {
            both.iter().for_each(|id| drop(self.lanes.remove(id)));
        }
    }
}

impl Lane {
    fn new(from: End, to: End, chance: Chance) -> Self {
        Self {
            from,
            to,
            chance,
            under_way: std::collections::VecDeque::new(),
            last_due: 0,
            bytes: 0,
            arrived: std::collections::VecDeque::new(),
            ended: None,
            reader: None,
            writer: None,
            dead: false,
            reader_gone: false,
            writer_gone: false,
        }
    }

    /// So many bytes were taken: there is room for others.
    pub(super) fn took(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        wake(&mut self.writer);
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

fn parsed(address: &str) -> Option<(End, NodeId)> {
    let (from, to) = address.strip_suffix(":1")?.split_once('.')?;
    let node = |name: &str| name.strip_prefix('n').and_then(|id| id.parse().ok()).map(NodeId);
    let client = |name: &str| name.strip_prefix('c').and_then(|id| id.parse().ok());
    let from = match from {
        "any" => End::Anyone,
        "operator" => End::Operator,
        name => node(name).map(End::Node).or_else(|| client(name).map(End::Client))?,
    };
    Some((from, node(to)?))
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(f, "{node}"),
            Self::Client(number) => write!(f, "c{number}"),
            Self::Anyone => f.write_str("any"),
            Self::Operator => f.write_str("operator"),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;

    use super::super::{World, run};
    use super::*;

    const ONE: End = End::Node(NodeId(1));
    const TWO: NodeId = NodeId(2);

    /// Two ends of a connection.
    async fn connected(world: &World) -> (Socket, Socket) {
        let mut accepted = world.network().listen(TWO);
        let dialled = world.network().dial(&Network::address(ONE, TWO)).await.unwrap();
        (dialled, accepted.recv().await.unwrap())
    }

    #[test]
    fn what_is_written_arrives_in_order_and_its_end_behind_it() {
        for seed in 0..20 {
            let read = run(seed, async |world| {
                let weather = Weather { delay: [0, 5_000], split: 500, late: 9_000 };
                world.network().set_weather(weather);
                let (mut here, mut there) = connected(&world).await;
                for part in 0..50_u8 {
                    here.write_all(&[part; 7]).await.unwrap();
                }
                drop(here);
                let mut read = Vec::new();
                there.read_to_end(&mut read).await.unwrap();
                read
            });
            let written: Vec<_> = (0..50_u8).flat_map(|part| [part; 7]).collect();
            assert_eq!(read.unwrap(), written);
        }
    }

    #[test]
    fn what_is_cut_waits_and_what_is_reset_is_gone() {
        run(1, async |world| {
            let network = world.network().clone();
            let (mut here, mut there) = connected(&world).await;
            network.cut(ONE, End::Node(TWO));
            here.write_all(b"a").await.unwrap();
            let waited = timeout(Duration::from_secs(9), there.read_u8()).await;
            assert!(waited.is_err() && network.carried().held > 0);
            there.write_all(b"b").await.unwrap();
            assert_eq!(here.read_u8().await.unwrap(), b'b', "the other way is whole");
            network.mend();
            assert_eq!(there.read_u8().await.unwrap(), b'a');
            network.reset(End::Node(TWO), ONE);
            let [here, there] = [here.read_u8().await, there.read_u8().await];
            assert!([here, there].iter().all(|read| {
                read.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
            }));
        })
        .unwrap();
    }

    #[test]
    fn of_who_is_killed_all_hear_and_of_who_lost_power_nobody() {
        for with_machine in [false, true] {
            run(1, async |world| {
                let network = world.network().clone();
                let (mut here, mut there) = connected(&world).await;
                network.fall_silent(TWO, with_machine);
                let gone = there.write_all(b"never").await;
                let written = here.write_all(b"into the void").await;
                assert_eq!(written.is_ok(), with_machine);
                let heard = timeout(Duration::from_secs(60), here.read_u8()).await;
                assert_eq!(heard.is_err(), with_machine, "{gone:?}");
                let address = Network::address(ONE, TWO);
                let dialled = timeout(Duration::from_secs(1), network.dial(&address)).await;
                assert_eq!(dialled.is_err(), with_machine);
                let _accepted = network.listen(TWO);
                assert!(here.read_u8().await.is_err(), "it is back, and knows of nothing");
                network.dial(&address).await.unwrap();
            })
            .unwrap();
        }
    }
}
