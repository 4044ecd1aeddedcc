//! A ping through a link: what proves that a cut is in force, and that it is gone.
//!
//! It is an HTTP/2 ping, answered by the listening process itself, so a process that is dead or
//! stands still does not answer either. Beside the answer stand the proxy's own counts for that
//! very connection: they tell the two directions apart, which a round trip cannot.

use std::net::SocketAddr;
use std::time::Duration;

use dynamo_protocol::NodeId;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::{End, Net, Pair, lock};

/// What a ping over one link showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// After how long the answer came, if it did.
    pub answered: Option<Duration>,
    /// Whether what was sent came in at the proxy, and out again.
    pub there: Way,
    /// The same for what the other side said.
    pub back: Way,
}

/// One way of a pinged connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Nothing was said.
    Silent,
    /// Something was said and nothing passed on.
    Held,
    /// Something was passed on.
    Passed,
}

/// A ping to be made.
#[derive(Clone, Copy, Debug)]
pub struct Ping {
    /// Who would dial.
    pub from: End,
    /// Who answers.
    pub to: NodeId,
    /// How long to wait for the answer.
    pub patience: Duration,
    /// So many bytes go with it, for links on which they take their time; see [`least_sent`].
    pub weight: usize,
}

impl Observed {
    /// What is seen where there is nothing to see.
    pub(crate) const NOTHING: Self = Self { answered: None, there: Way::Silent, back: Way::Silent };

    /// Is this what a link shows on which these directions are cut?
    #[must_use]
    pub fn shows(&self, there_cut: bool, back_cut: bool) -> bool {
        match (there_cut, back_cut) {
            (false, false) => self.answered.is_some(),
            (true, _) => self.answered.is_none() && self.there == Way::Held,
            (false, true) => {
                self.answered.is_none() && self.there == Way::Passed && self.back == Way::Held
            }
        }
    }
}

impl Net {
    /// Pings the node at the far end of a link, through the link.
    pub async fn ping(&self, ping: Ping) -> Observed {
        let pair = Pair { from: ping.from, to: End::Node(ping.to) };
        let Some(link) = self.links.get(&pair) else { return Observed::NOTHING };
        let Ok(socket) = TcpStream::connect(link.address).await else { return Observed::NOTHING };
        let Ok(local) = socket.local_addr() else { return Observed::NOTHING };
        let started = Instant::now();
        let mut round_trip = Box::pin(round_trip(socket, ping.weight));
        let answered = timeout(ping.patience, &mut round_trip).await;
        let answered = answered.ok().flatten().map(|()| started.elapsed());
        // While the round trip is still held, its connection is open and has its counts.
        let (there, back) = self.ways(pair, local);
        Observed { answered, there, back }
    }

    fn ways(&self, pair: Pair, local: SocketAddr) -> (Way, Way) {
        let traffic = lock(&self.links[&pair].traffic).get(&local).cloned();
        match traffic {
            Some(traffic) => (way(traffic.forward.read()), way(traffic.backward.read())),
            None => (Way::Silent, Way::Silent),
        }
    }
}

fn way((received, sent): (u64, u64)) -> Way {
    match (received, sent) {
        (0, _) => Way::Silent,
        (_, 0) => Way::Held,
        _ => Way::Passed,
    }
}

/// Has whoever listens at the other end answer a ping, and before it a request that weighs as much.
pub(crate) async fn round_trip(socket: TcpStream, weight: usize) -> Option<()> {
    let (mut sender, mut connection) = h2::client::handshake(socket).await.ok()?;
    let mut pings = connection.ping_pong()?;
    let talk = async {
        if weight > 0 {
            carry(&mut sender, weight).await?;
        }
        let answered = pings.ping(h2::Ping::opaque()).await.ok().map(drop);
        // Without a sender the connection would end itself before the answer comes.
        drop(sender);
        answered
    };
    tokio::select! {
        answered = talk => answered,
        _ = connection => None,
    }
}

/// A request that nobody serves. Whatever is answered, it was read to its end.
async fn carry(sender: &mut h2::client::SendRequest<bytes::Bytes>, weight: usize) -> Option<()> {
    let request = http::Request::builder().uri("http://node/ping");
    let request = request.header("weight", "0".repeat(weight)).body(()).ok()?;
    futures::future::poll_fn(|context| sender.poll_ready(context)).await.ok()?;
    let (answer, _) = sender.send_request(request, true).ok()?;
    match answer.await {
        Ok(_) => Some(()),
        Err(error) => error.is_reset().then_some(()),
    }
}

/// Of a ping's weight at least so much goes over the wire: header compression packs a digit, of which it
/// is made, into five bits.
#[must_use]
pub(crate) fn least_sent(weight: usize) -> usize {
    weight * 5 / 8
}
