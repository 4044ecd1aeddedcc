//! One proxied connection: two pumps, one each way, that hold, delay, narrow or break.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Shape;
use crate::plan::seed::{Purpose, stream};

/// The most a pump holds back. Past it, it stops reading and the speaker's own socket fills: as
/// with a network that is gone, a few buffers take bytes and then the speaker waits.
const HELD_MOST: usize = 256 << 10;
/// How much is read at a time.
const CHUNK: usize = 16 << 10;

/// How many bytes have come in at a proxied connection and gone out, each way.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    pub(super) forward: Passed,
    pub(super) backward: Passed,
}

/// How many bytes have come in one way, and gone out.
#[derive(Debug, Default)]
pub(super) struct Passed {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Passed {
    /// Received from the speaker, sent to the listener.
    pub(super) fn read(&self) -> (u64, u64) {
        (self.received.load(Ordering::Relaxed), self.sent.load(Ordering::Relaxed))
    }
}

/// A connection whose bytes pass through here.
pub(crate) struct Connection {
    pub(super) forward: watch::Receiver<Shape>,
    pub(super) backward: watch::Receiver<Shape>,
    pub(super) traffic: Arc<Traffic>,
    /// Counts the bytes that are changed.
    pub(super) changed: Arc<AtomicU64>,
    pub(super) seed: u64,
    pub(super) stream: u32,
}

impl Connection {
    /// A connection with these flows, the dialler's first.
    pub(crate) fn of(
        forward: watch::Receiver<Shape>,
        backward: watch::Receiver<Shape>,
        stream: u32,
        changed: Arc<AtomicU64>,
    ) -> Self {
        Self { forward, backward, traffic: Arc::default(), changed, seed: 0, stream }
    }

    /// Serves the connection until both sides have ended it or it breaks.
    pub(super) async fn run(self, dialled: TcpStream, upstream: Option<SocketAddr>) {
        let reach = async {
            match upstream {
                Some(address) => TcpStream::connect(address).await,
                None => Err(io::ErrorKind::ConnectionRefused.into()),
            }
        };
        self.carry(dialled, reach).await;
    }

    /// The same, where `reach` dials.
    pub(crate) async fn carry(
        mut self,
        dialled: TcpStream,
        reach: impl Future<Output = io::Result<TcpStream>>,
    ) {
        if self.is_reset() {
            return break_off(&dialled);
        }
        // What dials a dead process is refused; the nearest a proxy can come is to break.
        let Ok(reached) = reach.await else { return break_off(&dialled) };
        // Bytes go out as they come in: a failure only costs latency.
        let _ = (dialled.set_nodelay(true), reached.set_nodelay(true));
        let (from_dialler, to_dialler) = dialled.into_split();
        let (from_reached, to_reached) = reached.into_split();
        let rng = |way| stream(self.seed, Purpose::Link(self.stream + way));
        let pump = |from, to, shape: &watch::Receiver<Shape>, way| {
            Pump::new(from, to, shape.clone(), rng(way), self.changed.clone())
        };
        let mut there = pump(from_dialler, to_reached, &self.forward, 0);
        let mut back = pump(from_reached, to_dialler, &self.backward, 1);
        let traffic = self.traffic.clone();
        let both = async { tokio::join!(there.run(&traffic.forward), back.run(&traffic.backward)) };
        let whole = tokio::select! {
            (there, back) = both => there == Ended::Well && back == Ended::Well,
            () = self.reset() => false,
        };
        if !whole {
            for half in [there.to, back.to] {
                break_off(half.as_ref());
                // Dropping it would say an orderly end first.
                half.forget();
            }
        }
    }

    fn is_reset(&self) -> bool {
        self.forward.borrow().reset || self.backward.borrow().reset
    }

    /// Returns when the link is to be reset.
    async fn reset(&mut self) {
        while !self.is_reset() {
            let (forward, backward) = (self.forward.changed(), self.backward.changed());
            tokio::select! {
                changed = forward => if changed.is_err() { return },
                changed = backward => if changed.is_err() { return },
            }
        }
    }
}

/// Makes the closing of the socket a reset instead of an orderly end.
fn break_off(socket: &TcpStream) {
    // A socket that is gone already needs no reset.
    let _ = socket.set_zero_linger();
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// The speaker had said all and the listener has heard it.
    Well,
    /// One of the two is gone.
    Broken,
}

/// What a pump holds, and what ends it.
enum Item {
    Bytes(Bytes),
    End,
    Broken,
}

struct Pump {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    shape: watch::Receiver<Shape>,
    rng: ChaCha8Rng,
    changed: Arc<AtomicU64>,
    held: VecDeque<(Instant, Item)>,
    held_bytes: usize,
    /// Nothing may be delivered before what came before it.
    last_due: Instant,
    all_read: bool,
}

impl Pump {
    fn new(
        from: OwnedReadHalf,
        to: OwnedWriteHalf,
        shape: watch::Receiver<Shape>,
        rng: ChaCha8Rng,
        changed: Arc<AtomicU64>,
    ) -> Self {
        let held = VecDeque::new();
        Self {
            from,
            to,
            shape,
            rng,
            changed,
            held,
            held_bytes: 0,
            last_due: Instant::now(),
            all_read: false,
        }
    }

    async fn run(&mut self, passed: &Passed) -> Ended {
        let mut buffer = BytesMut::with_capacity(CHUNK);
        loop {
            let cut = self.shape.borrow_and_update().cut;
            let may_read = !self.all_read && self.held_bytes < HELD_MOST;
            let may_write = !cut && !self.held.is_empty();
            // All branches can be cancelled without losing a byte.
            tokio::select! {
                changed = self.shape.changed() => if changed.is_err() { return Ended::Broken },
                read = self.from.read_buf(&mut buffer), if may_read => {
                    match read {
                        Ok(0) => self.end(Item::End),
                        Ok(count) => {
                            passed.received.fetch_add(count as u64, Ordering::Relaxed);
                            self.hold(buffer.split());
                            buffer.reserve(CHUNK);
                        }
                        Err(_) => self.end(Item::Broken),
                    }
                }
                ended = deliver(&mut self.held, &mut self.to, passed), if may_write => {
                    match ended {
                        Ok(written) => self.held_bytes -= written,
                        Err(ended) => return ended,
                    }
                }
            }
        }
    }

    fn hold(&mut self, mut bytes: BytesMut) {
        self.held_bytes += bytes.len();
        self.corrupt(&mut bytes);
        let due = self.due(bytes.len());
        self.held.push_back((due, Item::Bytes(bytes.freeze())));
    }

    /// Makes one of the bytes another, if it is the turn of this piece.
    fn corrupt(&mut self, bytes: &mut [u8]) {
        let share = self.shape.borrow().corrupt;
        if share > 0 && self.rng.random_range(0..1_000_000) < share {
            let at = self.rng.random_range(0..bytes.len());
            bytes[at] ^= self.rng.random_range(1..=u8::MAX);
            self.changed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn end(&mut self, item: Item) {
        self.all_read = true;
        let due = self.due(0);
        self.held.push_back((due, item));
    }

    /// When bytes that come in now are to go out.
    fn due(&mut self, bytes: usize) -> Instant {
        let shape = *self.shape.borrow();
        let jitter = match shape.jitter {
            Duration::ZERO => Duration::ZERO,
            most => most.mul_f64(self.rng.random::<f64>()),
        };
        let start = self.last_due.max(Instant::now() + shape.delay + jitter);
        let takes = shape.rate.map(|rate| bytes as f64 / rate.max(1) as f64);
        self.last_due = start + takes.map_or(Duration::ZERO, Duration::from_secs_f64);
        self.last_due
    }
}

/// Writes some of the oldest item when it is due; how many bytes, or how the pump ends.
async fn deliver(
    held: &mut VecDeque<(Instant, Item)>,
    to: &mut OwnedWriteHalf,
    passed: &Passed,
) -> Result<usize, Ended> {
    let Some((due, item)) = held.front_mut() else { return Ok(0) };
    if *due > Instant::now() {
        sleep_until(*due).await;
    }
    let bytes = match item {
        Item::Bytes(bytes) => bytes,
        Item::End => {
            let shut = to.shutdown().await;
            return Err(if shut.is_ok() { Ended::Well } else { Ended::Broken });
        }
        Item::Broken => return Err(Ended::Broken),
    };
    let written = to.write(bytes).await.map_err(|_| Ended::Broken)?;
    passed.sent.fetch_add(written as u64, Ordering::Relaxed);
    bytes.advance(written);
    if bytes.is_empty() {
        held.pop_front();
    }
    Ok(written)
}
