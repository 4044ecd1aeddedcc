//! Probes of links between hosts: the proof that a cut is in force, and that it is gone.
//!
//! A ping of the other node by TCP needs both directions. Beside it goes a datagram to the agent there, which
//! remembers it and answers: that tells the two directions apart. Both pass the same rules, as
//! hosts are cut off by address.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::proto::{Peer, Probe, Probed};
use crate::hosts::proxy::round_trip;

/// Datagrams remembered: far more than probes are under way at a time.
const REMEMBERED: usize = 4096;
/// A datagram may be lost without any fault: so many are sent.
const COPIES: u32 = 4;
const ASKS: u8 = b'?';
const ANSWERS: u8 = b'!';

/// Sends and answers probes for one host.
pub(super) struct Prober {
    socket: Arc<UdpSocket>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    heard: Mutex<Recent>,
    answered: Mutex<Recent>,
    news: Notify,
}

/// The last so many of an endless stream.
#[derive(Default)]
struct Recent {
    order: VecDeque<u64>,
    set: BTreeSet<u64>,
}

impl Recent {
    fn add(&mut self, nonce: u64) {
        if self.set.insert(nonce) {
            self.order.push_back(nonce);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
    }
}

impl Prober {
    /// Takes a port on the address of the host's node; answers from now on.
    pub(super) async fn open(data: IpAddr) -> io::Result<Self> {
        let socket = Arc::new(UdpSocket::bind((data, 0)).await?);
        let seen = Arc::<Seen>::default();
        tokio::spawn(answer(Arc::downgrade(&socket), seen.clone()));
        Ok(Self { socket, seen })
    }

    pub(super) fn port(&self) -> io::Result<u16> {
        Ok(self.socket.local_addr()?.port())
    }

    /// Has this datagram come from anywhere?
    pub(super) fn heard(&self, nonce: u64) -> bool {
        self.seen.heard.lock().expect("no one panics with the lock held").set.contains(&nonce)
    }

    fn answered(&self, nonce: u64) -> bool {
        self.seen.answered.lock().expect("no one panics with the lock held").set.contains(&nonce)
    }

    /// Pings a peer's node, and its agent.
    pub(super) async fn probe(&self, peer: &Peer, probe: &Probe) -> Probed {
        let Probe { patience, weight, nonce, .. } = *probe;
        let started = Instant::now();
        let ping = timeout(patience, ping(SocketAddr::new(peer.data, peer.port), weight));
        let echo = timeout(patience, self.echo(SocketAddr::new(peer.data, peer.probe), nonce));
        let ((answered, at), echoed) =
            tokio::join!(async { (ping.await.ok().flatten(), started.elapsed()) }, echo);
        Probed { answered: answered.map(|()| at), echoed: echoed.is_ok() || self.answered(nonce) }
    }

    /// Returns when the other agent has answered.
    async fn echo(&self, to: SocketAddr, nonce: u64) {
        let gap = Duration::from_millis(20);
        let mut sent = 0;
        while !self.answered(nonce) {
            let news = self.seen.news.notified();
            if sent < COPIES {
                // A host that cannot even send will not be answered.
                let _ = self.socket.send_to(&datagram(ASKS, nonce), to).await;
                sent += 1;
            }
            tokio::select! {
                () = news => {}
                () = sleep(gap) => {}
            }
        }
    }
}

async fn ping(to: SocketAddr, weight: usize) -> Option<()> {
    round_trip(TcpStream::connect(to).await.ok()?, weight).await
}

fn datagram(kind: u8, nonce: u64) -> [u8; 9] {
    let mut bytes = [kind; 9];
    bytes[1..].copy_from_slice(&nonce.to_be_bytes());
    bytes
}

async fn answer(socket: std::sync::Weak<UdpSocket>, seen: Arc<Seen>) {
    let mut buffer = [0; 16];
    // Ends with the prober, at the next datagram.
    while let Some(socket) = socket.upgrade() {
        // An error is that of an earlier datagram that could not be delivered.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let Ok(datagram_in): Result<[u8; 9], _> = buffer[..length].try_into() else { continue };
        let nonce = u64::from_be_bytes(datagram_in[1..].try_into().expect("eight of nine"));
        match datagram_in[0] {
            ASKS => {
                seen.heard.lock().expect("no one panics with the lock held").add(nonce);
                // It may be cut off by now.
                let _ = socket.send_to(&datagram(ANSWERS, nonce), from).await;
            }
            ANSWERS => {
                seen.answered.lock().expect("no one panics with the lock held").add(nonce);
                seen.news.notify_waiters();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use dynamo_protocol::NodeId;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_probe_tells_a_node_that_is_silent_from_a_host_that_is() {
        let here = IpAddr::from([127, 0, 0, 1]);
        let (one, two) = (Prober::open(here).await.unwrap(), Prober::open(here).await.unwrap());
        let probe_with = |nonce| {
            let patience = Duration::from_millis(200);
            Probe { to: NodeId(2), patience, weight: 0, nonce }
        };
        // Listens and says nothing, as a node that stands still.
        let listener = TcpListener::bind((here, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let peer = Peer { node: NodeId(2), data: here, port, probe: two.port().unwrap() };
        let probed = one.probe(&peer, &probe_with(7)).await;
        assert_eq!(probed, Probed { answered: None, echoed: true });
        assert!(two.heard(7) && !one.heard(7) && !two.heard(8));
        // Nobody at all.
        let closed = UdpSocket::bind((here, 0)).await.unwrap().local_addr().unwrap().port();
        let peer = Peer { probe: closed, ..peer };
        let probed = one.probe(&peer, &probe_with(9)).await;
        assert_eq!(probed, Probed { answered: None, echoed: false });
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut recent = Recent::default();
        (0..2 * REMEMBERED as u64).for_each(|nonce| recent.add(nonce));
        assert_eq!(recent.set.len(), REMEMBERED);
        assert!(!recent.set.contains(&0) && recent.set.contains(&(2 * REMEMBERED as u64 - 1)));
    }
}
