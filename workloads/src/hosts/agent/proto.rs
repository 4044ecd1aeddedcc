//! What the driver and an agent say to each other.
//!
//! Frames: four bytes of length, the most significant first, and as many bytes of postcard. Both ends are
//! the same program, found by its hash, so the encoding needs no versions. One request is under way at
//! a time; one that is sent again after a reconnect, under its old number, is not done twice.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use dynamo_protocol::NodeId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::hosts::disk::Damage;
use crate::hosts::proxy::{FaultId, Pair, Shape};
use crate::hosts::remote::Secret;

/// The longest frame: what a log ships at a time, with room to spare.
const LONGEST: usize = 4 << 20;

/// From the driver.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Call {
    /// Counts up within a run.
    pub id: u64,
    /// What is to be done.
    pub request: Request,
}

/// What is to be done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// The first on every channel.
    Hello(Hello),
    /// Nothing: it renews the lease, as every request does.
    Beat,
    /// Who the other hosts are.
    Peers(Vec<Peer>),
    /// Makes ready for faults of the node's links by these means.
    PrepareLinks(BTreeSet<Means>),
    /// Start the node, and wait until it serves.
    Start(NodeSpec),
    /// End the node at once.
    Kill,
    /// Make it stand still.
    Pause,
    /// Let it go on.
    Resume,
    /// Empty the disk of a node that is down.
    Wipe,
    /// Damage it.
    Damage(Damage),
    /// Shape flows that begin or end here, under the name of a fault.
    Shape(FaultId, Vec<(Pair, Shape)>),
    /// Take away what a fault does to flows.
    Unshape(FaultId),
    /// Take all faults away.
    HealAll,
    /// How many bytes has the proxy here changed?
    Changed,
    /// Ping other hosts' nodes from here, all at a time.
    Probe(Vec<Probe>),
    /// Has a probe's datagram arrived here?
    Heard(u64),
    /// Some of a log from a place on.
    Log(Whose, u64),
    /// Why the node has ended, if it has.
    Why,
    /// What can be done to this host.
    Facts,
    /// Heal, stop, and end.
    Bye,
}

impl Request {
    /// What it is about, in messages: without what it carries.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Hello(_) => "greet",
            Self::Beat => "answer",
            Self::Peers(_) => "be told of its peers",
            Self::PrepareLinks(_) => "prepare its links",
            Self::Start(_) => "start its node",
            Self::Kill => "kill its node",
            Self::Pause => "pause its node",
            Self::Resume => "resume its node",
            Self::Wipe => "wipe its node's disk",
            Self::Damage(_) => "damage its node's disk",
            Self::Shape(..) => "break links",
            Self::Unshape(_) | Self::HealAll => "heal links",
            Self::Changed => "count what it has changed",
            Self::Probe(_) | Self::Heard(_) => "probe links",
            Self::Log(..) => "read its log",
            Self::Why => "look at its node",
            Self::Facts => "say what it can do",
            Self::Bye => "say goodbye",
        }
    }
}

/// How a host can do something to the links of its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Means {
    /// Rules of the kernel drop packets.
    Rules,
    /// Queues of the kernel delay them, where it has what that takes; else the proxy does.
    Queues,
    /// Connections are led through a proxy, from the first on.
    Proxy,
}

/// Who speaks, and for how long an agent is to wait for the next word.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// Names the run: only its driver is listened to.
    pub run: u64,
    /// The run was on this host already: an agent that knows nothing of it has lost its state.
    pub resume: bool,
    /// Without a word for this long, the agent heals everything, stops the node and ends.
    pub lease: Duration,
    /// Which node this host has.
    pub node: NodeId,
    /// Where the node listens.
    pub data: IpAddr,
    /// Where its disk and log are; in the agent's own folder if nobody says.
    pub dir: Option<PathBuf>,
    /// Its disk is one of its own, whose power can be cut.
    pub own_disk: bool,
    /// How much the agent logs, if not as usual.
    pub log: Option<String>,
}

/// Another host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its node.
    pub node: NodeId,
    /// Where that listens.
    pub data: IpAddr,
    /// On this port.
    pub port: u16,
    /// And its agent for probes on this one.
    pub probe: u16,
}

/// How a node is started. The program is the agent's own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeSpec {
    /// What comes after the program's name.
    pub args: Vec<String>,
    /// Added to its environment.
    pub env: Vec<(String, Secret)>,
    /// How long it may take until it serves.
    pub patience: Duration,
}

/// A ping from here.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Probe {
    /// Whose node answers.
    pub to: NodeId,
    /// How long to wait for the answer.
    pub patience: Duration,
    /// So many bytes go with it.
    pub weight: usize,
    /// Names the datagram that goes with it.
    pub nonce: u64,
}

/// From an agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Reply {
    /// Of the call it answers.
    pub id: u64,
    /// What the system says of the node's process, now.
    pub life: NodeLife,
    /// What came of the request, or why nothing did.
    pub answer: Result<Answer, String>,
}

/// Of whom a log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Whose {
    /// Of the node.
    Node,
    /// Of the agent.
    Agent,
}

/// What came of a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// It is done.
    Done,
    /// To a hello.
    Welcome(Welcome),
    /// Another run has this host, for this much longer if its driver says nothing more.
    Busy(Duration),
    /// To probes, in their order.
    Probed(Vec<Probed>),
    /// To the question whether a datagram arrived.
    Heard(bool),
    /// So many bytes were changed.
    Changed(u64),
    /// Some of the log; nothing, where it ends.
    Log(Vec<u8>),
    /// What the system and the node's log say of its end.
    Why(String),
    /// What was done to its disk.
    Damaged(String),
    /// What can be done here.
    Facts(Vec<Fact>),
}

/// An agent's answer to its driver's hello.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Welcome {
    /// Where probes' datagrams are taken.
    pub probe: u16,
    /// Where the node's disk is to be.
    pub data_dir: PathBuf,
    /// What a run that ended badly had left here, and what was done about it.
    pub leftovers: Vec<String>,
    /// Where in the agent's log this run begins.
    pub log_from: u64,
}

/// What a probe showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// After how long the node answered, if it did.
    pub answered: Option<Duration>,
    /// Whether the datagram came back from the other agent.
    pub echoed: bool,
}

/// What the system says of the node's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeLife {
    /// It runs.
    Runs(u32),
    /// It is there and stands still.
    Stopped(u32),
    /// There is none.
    Gone,
}

/// Something that can or cannot be done on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// The fault, or what else it is about.
    pub name: String,
    /// Whether it can be done: tried, where trying harms nobody.
    pub can: bool,
    /// How, or why not.
    pub how: String,
}

/// Writes one frame.
pub(super) fn write<T: Serialize>(to: &mut dyn Write, value: &T) -> io::Result<()> {
    to.write_all(&frame(value)?)?;
    to.flush()
}

/// Reads one frame.
pub(super) fn read<T: DeserializeOwned>(from: &mut dyn Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut body = vec![0; checked(length)?];
    from.read_exact(&mut body)?;
    decode(&body)
}

/// The same on the agent's side.
pub(super) async fn send<T: Serialize>(
    to: &mut (impl AsyncWrite + Unpin),
    value: &T,
) -> io::Result<()> {
    to.write_all(&frame(value)?).await
}

/// The same on the agent's side.
pub(super) async fn receive<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length).await?;
    let mut body = vec![0; checked(length)?];
    from.read_exact(&mut body).await?;
    decode(&body)
}

fn frame<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let body = postcard::to_stdvec(value).map_err(io::Error::other)?;
    let length = u32::try_from(body.len()).ok().filter(|length| *length as usize <= LONGEST);
    let length = length.ok_or_else(|| io::Error::other("a frame of more than 4 MiB"))?;
    Ok([&length.to_be_bytes()[..], &body].concat())
}

fn checked(length: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_be_bytes(length) as usize;
    if length > LONGEST {
        return Err(io::Error::other(format!("a frame of {length} bytes: no agent speaks there")));
    }
    Ok(length)
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    postcard::from_bytes(body).map_err(|error| io::Error::other(format!("frame: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_frame_is_read_as_it_was_written() {
        let call = Call { id: 7, request: Request::Heard(9) };
        let mut bytes = Vec::new();
        write(&mut bytes, &call).unwrap();
        send(&mut bytes, &call).await.unwrap();
        let mut left = &bytes[..];
        let one: Call = read(&mut left).unwrap();
        let two: Call = receive(&mut left).await.unwrap();
        assert!(matches!((one.id, one.request, two.id), (7, Request::Heard(9), 7)));
        assert!(left.is_empty());
    }

    #[test]
    fn what_is_no_frame_is_an_error_and_no_memory_is_taken_for_it() {
        for bytes in [&b""[..], b"\0\0", b"\0\0\0\x05abc", b"HTTP/1.1 400", b"\0\0\0\x02\xff\xff"] {
            assert!(read::<Call>(&mut { bytes }).is_err(), "{bytes:?}");
        }
    }
}
