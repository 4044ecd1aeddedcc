//! A client that asks for a great deal and never reads what it is answered.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::json;
use tokio::net::TcpStream;

use super::super::load::{self, Ending, LoadArgs, Store};
use super::super::nodes::{Coordination, Deploy, Durability, Engine, Nodes};
use super::super::usage::Usage;
use super::super::{Failure, broken};
use super::{ReachArgs, Table, most};

/// How many answers it never reads, and how long each is.
const GETS: usize = 4096;
const VALUE: usize = 1 << 20;
const KEY: &str = "large";
/// Whom it asks.
const ASKED: u16 = 1;
/// How many requests a second others have meanwhile.
const OTHERS: f64 = 200.0;
/// How long the node may take to be done with what was asked.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn measure(args: &ReachArgs, table: &mut Table) -> Result<(), Failure> {
    let kept = (Engine::Fjall, Durability::Sync);
    let nodes = Nodes::start(&args.nodes, kept, Deploy::default()).await?;
    let first = nodes.clients(1, Coordination::Server)?.remove(0);
    if first.put(KEY, Bytes::from(vec![7; VALUE])).await != Ending::Done {
        return Err(Failure::Broken("the large value could not be put".to_owned()));
    }
    let asking = ask(nodes.address(ASKED)).await;
    let asking = asking.map_err(|error| broken("ask and not read", &error))?;
    // Puts alone: nothing has to be there beforehand, which a node that is busy may refuse.
    let load = LoadArgs { rate: Some(OTHERS), ..args.load() };
    let stores = nodes.clients(load.callers, Coordination::Server)?;
    let pids = nodes.pids()?;
    let (others, memory) =
        futures::join!(load::run(&load, stores, &pids), largest(&nodes, load.time.0));
    let (others, memory) = (others?, memory?);
    drop(asking);
    let served = rounded_share(others.ops, others.refused + others.unanswered);
    let of = json!({ "gets": GETS, "value": VALUE, "others": others });
    let what = ("memory of a node whose answers one client never reads", " MB");
    table.add(what, memory, most(256.0, None), of.clone());
    let what = ("others that are served meanwhile", "x");
    table.add(what, served, (false, 1.0, None), of);
    Ok(())
}

fn rounded_share(done: u64, not: u64) -> f64 {
    done as f64 / (done + not).max(1) as f64
}

/// Asks for all of it over a connection that has room for no answer; as long as what is returned is there.
async fn ask(address: SocketAddr) -> Result<impl Sized, Box<dyn std::error::Error>> {
    let stream = TcpStream::connect(address).await?;
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(0);
    let (sender, connection) = builder.handshake::<_, Bytes>(stream).await?;
    tokio::task::spawn_local(connection);
    let mut sender = sender.ready().await?;
    let request = http::Request::post(format!("http://{address}/dynamo.v1.Kv/Session"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let (answer, mut body) = sender.send_request(request, false)?;
    body.send_data(gets(), false)?;
    Ok((sender, answer, body))
}

/// A message `Requests` of them, framed.
fn gets() -> Bytes {
    let length = |bytes: &BytesMut| u8::try_from(bytes.len()).expect("a get is short");
    let mut all = BytesMut::new();
    for id in 1..=GETS {
        let mut key = BytesMut::new();
        key.put_slice(&[0x0a, u8::try_from(KEY.len()).expect("a short key")]);
        key.put_slice(KEY.as_bytes());
        let mut request = BytesMut::new();
        // The id, as two groups of seven bits.
        let [low, high] = [id & 0x7f | 0x80, id >> 7].map(|bits| u8::try_from(bits).unwrap_or(0));
        request.put_slice(&[0x08, low, high, 0x12, length(&key)]);
        request.put_slice(&key);
        all.put_slice(&[0x0a, length(&request)]);
        all.put_slice(&request);
    }
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(all.len()).expect("it is a short message"));
    framed.put_slice(&all);
    framed.freeze()
}

/// How much memory the node has had in core, in MB: for `least`, and until it is done with what was asked.
async fn largest(nodes: &Nodes, least: Duration) -> Result<f64, Failure> {
    let (pid, admin, begun) = (nodes.pid(ASKED)?, nodes.admin(ASKED)?, Instant::now());
    let mut most = 0;
    loop {
        most = most.max(Usage::of([pid]).map_err(Failure::Broken)?.resident);
        // One that is too busy to say is not done.
        let counted = admin.status().await.ok().and_then(|status| status.counters);
        let counted = counted.unwrap_or_default();
        let done = counted.gets + counted.overloaded + counted.timed_out + counted.refused;
        if done >= GETS as u64 && begun.elapsed() >= least {
            return Ok(most as f64 / 1e6);
        }
        if begun.elapsed() > PATIENCE.max(2 * least) {
            return Err(Failure::Broken(format!("{done} of {GETS} gets were answered")));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
