//! What a node takes from those it does not know.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use common::Cluster;
use dynamo_protocol::NodeId;
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use tokio::net::TcpStream;
use tokio::time::timeout;

const HEAD: usize = 5;
/// How long a node that takes no more is waited for, to be sure that it does not.
const STILL: Duration = Duration::from_millis(300);

/// One connection that sends a message and never ends it.
struct Flood {
    _sender: SendRequest<Bytes>,
    answer: ResponseFuture,
    body: SendStream<Bytes>,
    taken: usize,
}

impl Flood {
    async fn open(address: &str, path: &str) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(socket).await.unwrap();
        tokio::spawn(connection);
        poll_fn(|context| sender.poll_ready(context)).await.unwrap();
        let request = http::Request::post(format!("http://{address}{path}"));
        let request = request.header("content-type", "application/grpc").header("te", "trailers");
        let (answer, body) = sender.send_request(request.body(()).unwrap(), false).unwrap();
        Self { _sender: sender, answer, body, taken: 0 }
    }

    /// Claims `claim` bytes and sends up to `most`, as far as the node takes them.
    async fn send(&mut self, claim: u32, most: usize) {
        let mut head = vec![0; HEAD];
        head[1..].copy_from_slice(&claim.to_be_bytes());
        let mut next = Bytes::from(head);
        while self.taken < most {
            self.body.reserve_capacity(next.len());
            let capacity = poll_fn(|context| self.body.poll_capacity(context));
            match timeout(STILL, capacity).await {
                Ok(Some(Ok(capacity))) => {
                    let piece = next.split_to(capacity.min(next.len()));
                    self.taken += piece.len();
                    if self.body.send_data(piece, false).is_err() {
                        return;
                    }
                }
                // It takes no more, or has refused the stream.
                Ok(Some(Err(_)) | None) | Err(_) => return,
            }
            if next.is_empty() {
                next = Bytes::from(vec![7; 256 << 10]);
            }
        }
    }

    /// Whether the node has ended the stream: then it holds nothing of it.
    async fn is_over(&mut self) -> bool {
        timeout(STILL, poll_fn(|context| self.body.poll_reset(context))).await.is_ok()
    }

    async fn status(self) -> String {
        let answer = timeout(Duration::from_secs(5), self.answer).await.unwrap().unwrap();
        let status = answer.headers().get("grpc-status").map(|status| status.to_str().unwrap());
        status.unwrap_or("none").to_owned()
    }
}

async fn flood(address: &str, path: &str, count: usize, claim: u32, most: usize) -> Vec<Flood> {
    let mut floods = tokio::task::JoinSet::new();
    for _ in 0..count {
        let (address, path) = (address.to_owned(), path.to_owned());
        floods.spawn(async move {
            let mut flood = Flood::open(&address, &path).await;
            flood.send(claim, most).await;
            flood
        });
    }
    floods.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_no_peer_sends_for_nothing() {
    for call in ["Link", "IssueTicket"] {
        // One each: the strangers of the first call may not be seen to be gone yet.
        let cluster = Cluster::start(3).await;
        let address = &cluster.addresses[&NodeId(1)];
        let path = format!("/dynamo.v1.Peer/{call}");
        let floods = flood(address, &path, 100, u32::MAX, 4 << 20).await;
        let taken: usize = floods.iter().map(|flood| flood.taken).sum();
        assert!(taken <= 32 << 20, "{call}: the node took {taken} bytes of 100 strangers");
        for flood in floods {
            assert_eq!(flood.status().await, "3", "the hello is missing: an invalid argument");
        }
        cluster.client(NodeId(1)).put("k", "", "v").await.unwrap();
        assert_eq!(cluster.client(NodeId(1)).get("k").await.unwrap().values, ["v"]);
        cluster.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_never_whole_take_bounded_room_and_keep_nobody_else_out() {
    let cluster = Cluster::start(3).await;
    let address = &cluster.addresses[&NodeId(1)];
    let floods = flood(address, "/dynamo.v1.Kv/Session", 100, 4 << 20, 3 << 20).await;
    let mut open = Vec::new();
    let mut held = 0;
    for mut flood in floods {
        if !flood.is_over().await {
            held += flood.taken;
            open.push(flood);
        }
    }
    // What is counted, and one window each.
    assert!(!open.is_empty() && held <= 24 << 20, "{held} bytes that make no message are held");
    cluster.client(NodeId(1)).put("k", "", "v").await.unwrap();
    assert_eq!(cluster.client(NodeId(1)).get("k").await.unwrap().values, ["v"]);
    drop(open);
    cluster.stop().await;
}
