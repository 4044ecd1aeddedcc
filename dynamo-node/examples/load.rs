//! Measures puts, then gets, on three node processes on loopback: rate, latency, processor time each.
//!
//! `cargo run --release -p dynamo-node --example load -- [fjall|memory] [seconds] [callers]`

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use dynamo_node::Client;
use hdrhistogram::Histogram;
use tokio::net::TcpSocket;

const NODES: usize = 3;
const VALUE: [u8; 100] = [b'v'; 100];

fn main() -> ExitCode {
    // The nodes are this program too.
    if std::env::args().nth(1).as_deref() == Some("serve") {
        return ExitCode::from(dynamo_node::cli::main(std::env::args_os()));
    }
    let argument = |at| std::env::args().nth(at);
    let engine = argument(1).unwrap_or_else(|| "fjall".to_owned());
    let number = |at, default| argument(at).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (seconds, callers) = (number(2, 5), number(3, 64));
    match run(&engine, Duration::from_secs(seconds), callers) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(engine: &str, time: Duration, callers: u64) -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let sockets = (0..NODES).map(|_| bound_socket()).collect::<Result<Vec<_>, _>>()?;
    let addresses = sockets.iter().map(|s| Ok(s.local_addr()?.to_string()));
    let addresses = addresses.collect::<std::io::Result<Vec<_>>>()?;
    let mut nodes = Vec::new();
    for id in 1..=NODES {
        nodes.push(start(id, &addresses, engine, folder.path())?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for what in [What::Put, What::Get] {
        let before = processor_time(&nodes);
        let start = Instant::now();
        let latencies = runtime.block_on(ask_for(what, time, callers, &addresses))?;
        let elapsed = start.elapsed().as_secs_f64();
        let (count, spent) = (latencies.len() as f64, processor_time(&nodes) - before);
        let name = if what == What::Put { "put" } else { "get" };
        println!(
            "{engine}, {callers} callers: {:.1} k {name}s/s, {:.1} us of the nodes' processor time a \
             {name}, latency p50 {} us, p99 {} us, p99.9 {} us",
            count / elapsed / 1e3,
            spent * 1e6 / count,
            latencies.value_at_quantile(0.5),
            latencies.value_at_quantile(0.99),
            latencies.value_at_quantile(0.999),
        );
    }
    for node in &mut nodes {
        drop(node.stdin.take());
        node.wait()?;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Put,
    Get,
}

/// Each caller asks one thing after the other.
async fn ask_for(
    what: What,
    time: Duration,
    callers: u64,
    addresses: &[String],
) -> Result<Histogram<u64>, Box<dyn std::error::Error>> {
    let clients: Vec<_> = addresses.iter().map(|address| Client::new(address.as_str())).collect();
    let end = Instant::now() + time;
    let mut tasks = tokio::task::JoinSet::new();
    for caller in 0..callers {
        let client = clients[caller as usize % clients.len()].clone();
        tasks.spawn(async move {
            let mut latencies = Histogram::<u64>::new(3)?;
            let mut index = 0_u64;
            while Instant::now() < end {
                let start = Instant::now();
                match what {
                    What::Put => {
                        client.put(format!("{caller}/{index}"), "", &VALUE[..]).await.map(drop)?
                    }
                    // Keys that were put: even a short run puts so many.
                    What::Get => drop(client.get(format!("{caller}/{}", index % 64)).await?),
                }
                latencies.record(start.elapsed().as_micros() as u64)?;
                index += 1;
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(latencies)
        });
    }
    let mut all = Histogram::new(3)?;
    while let Some(latencies) = tasks.join_next().await {
        all.add(latencies?.map_err(|error| error.to_string())?)?;
    }
    Ok(all)
}

/// Bound and not listening: keeps its port for the node that will listen there.
fn bound_socket() -> std::io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    Ok(socket)
}

fn start(
    id: usize,
    addresses: &[String],
    engine: &str,
    data: &std::path::Path,
) -> std::io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["serve", "--members", "1,2,3", "--genesis", "--exit-with-stdin"]);
    command.args(["--log", "warn", "--engine", engine, "--id", &id.to_string()]);
    command.args(["--listen", &addresses[id - 1]]).arg("--data").arg(data.join(id.to_string()));
    if let Ok(threads) = std::env::var("THREADS") {
        command.args(["--threads", &threads]);
    }
    for peer in (1..=NODES).filter(|peer| *peer != id) {
        command.args(["--peer", &format!("{peer}={}", addresses[peer - 1])]);
    }
    let mut node = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut ready = String::new();
    if let Some(output) = &mut node.stdout {
        BufReader::new(output).read_line(&mut ready)?;
    }
    if ready.is_empty() {
        return Err(std::io::Error::other(format!("node {id} did not start")));
    }
    Ok(node)
}

/// What the nodes have used of the processor, in seconds (Linux; elsewhere 0).
fn processor_time(nodes: &[Child]) -> f64 {
    /// Of /proc/PID/stat, in almost every Linux.
    const TICKS_A_SECOND: f64 = 100.0;
    let ticks = |node: &Child| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", node.id())).ok()?;
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some(fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?)
    };
    nodes.iter().filter_map(ticks).sum::<f64>() / TICKS_A_SECOND
}
