//! A node that is asked for more than it can do.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use common::{bound_socket, eventually, options};
use dynamo_node::{Admin, Client, ClientError, start};
use dynamo_protocol::NodeId;
use futures::future::join_all;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::process::{Child, Command};

const GETS: usize = 4096;
const MOST_MEMORY: u64 = 256_000_000;

/// Node processes, and what keeps their ports.
struct Nodes {
    all: Vec<(Child, String, TcpSocket)>,
    /// Goes when they have.
    _folder: TempDir,
}

impl Nodes {
    async fn start(count: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sockets: Vec<_> = (0..count).map(|_| bound_socket()).collect();
        let addresses: Vec<_> =
            sockets.iter().map(|socket| socket.local_addr().unwrap().to_string()).collect();
        let members = (1..=count).map(|id| id.to_string()).collect::<Vec<_>>().join(",");
        let mut nodes = Vec::new();
        for (at, socket) in sockets.into_iter().enumerate() {
            let mut command = Command::new(env!("CARGO_BIN_EXE_dynamo-node"));
            command.args(["serve", "--genesis", "--exit-with-stdin"]);
            // On a disk every get has a copy of its own.
            command.arg("--data").arg(folder.path().join(at.to_string()));
            command.args(["--log", "error", "--members", &members, "--id", &(at + 1).to_string()]);
            command.args(["--listen", &addresses[at]]);
            for peer in (0..count).filter(|peer| *peer != at) {
                command.args(["--peer", &format!("{}={}", peer + 1, addresses[peer])]);
            }
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
            let mut child = command.spawn().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let ready = lines.next_line().await.unwrap().unwrap();
            assert!(serde_json::from_str::<Value>(&ready).unwrap()["ready"].is_object());
            nodes.push((child, addresses[at].clone(), socket));
        }
        Self { all: nodes, _folder: folder }
    }

    fn address(&self, node: usize) -> &str {
        &self.all[node].1
    }

    /// In bytes, now.
    fn resident(&self, node: usize) -> u64 {
        let pid = self.all[node].0.id().unwrap();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix("kB").unwrap().trim().parse::<u64>().unwrap() << 10
    }
}

/// A message `Requests` of so many gets of one key, framed.
fn gets(count: usize, key: &str) -> Bytes {
    let mut all = BytesMut::new();
    for id in 1..=count {
        let mut request = BytesMut::new();
        // id, as two groups of seven bits
        request.put_slice(&[0x08, (id & 0x7f) as u8 | 0x80, (id >> 7) as u8]);
        request.put_slice(&[0x12, key.len() as u8 + 2, 0x0a, key.len() as u8]);
        request.put_slice(key.as_bytes());
        all.put_slice(&[0x0a, request.len() as u8]);
        all.put_slice(&request);
    }
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(all.len() as u32);
    framed.put_slice(&all);
    framed.freeze()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_reads_its_answers_costs_little_and_others_are_served() {
    let nodes = Nodes::start(3).await;
    let client = Client::new(nodes.address(0));
    client.put("big", "", vec![7; 1 << 20]).await.unwrap();

    let stream = TcpStream::connect(nodes.address(0)).await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(0);
    let (mut sender, connection) = builder.handshake::<_, Bytes>(stream).await.unwrap();
    tokio::spawn(connection);
    std::future::poll_fn(|context| sender.poll_ready(context)).await.unwrap();
    let request = http::Request::post(format!("http://{}/dynamo.v1.Kv/Session", nodes.address(0)))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let (_answer, mut body) = sender.send_request(request.body(()).unwrap(), false).unwrap();
    body.send_data(gets(GETS, "big"), false).unwrap();

    let admin = Admin::new(nodes.address(0)).with_deadline(Duration::from_secs(5));
    let mut most = 0;
    eventually("all gets are worked on", async || {
        most = most.max(nodes.resident(0));
        let status = admin.status().await.unwrap();
        let counters = status.counters.unwrap();
        let answered = counters.gets + counters.overloaded + counters.timed_out + counters.refused;
        status.open_requests == 0 && answered >= GETS as u64
    })
    .await;
    most = most.max(nodes.resident(0));
    let began = Instant::now();
    let others = Client::new(nodes.address(0));
    others.put("k", "", "v").await.unwrap();
    assert_eq!(others.get("k").await.unwrap().values, ["v"]);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    eprintln!("{} MB at most", most / 1_000_000);
    assert!(most < MOST_MEMORY, "{most} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_beyond_what_a_session_may_have_open_are_refused_at_once_with_when_to_come_back() {
    // Peers that accept connections and say nothing: what is asked stays open.
    let mut peers = BTreeMap::new();
    let mut silent = Vec::new();
    for id in [2, 3] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        peers.insert(NodeId(id), listener.local_addr().unwrap().to_string());
        silent.push(listener);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut options = options(NodeId(1), 3, peers);
    options.genesis = true;
    options.settings.timing.hedge = Duration::from_millis(900);
    let node = start(options, listener).await.unwrap();
    let client = Client::new(node.address().to_string());
    let began = Instant::now();
    let asked = (0..6000).map(|key| client.get(format!("key-{key}")));
    let answers = join_all(asked).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let is_early = |answer: &&Result<_, ClientError>| match answer {
        Err(ClientError::Overloaded { why, retry_after }) => {
            *retry_after == Duration::from_millis(50) && why.contains("too many open requests")
        }
        _ => false,
    };
    // What is answered while the last of them are read makes room.
    let refused = answers.iter().filter(is_early).count();
    assert!((1..=6000 - 4096).contains(&refused), "{refused}: {:?}", answers.last());
    let status = Admin::new(node.address().to_string()).status().await.unwrap();
    assert!(status.counters.unwrap().overloaded >= refused as u64);
    node.stop().await.unwrap();
}
