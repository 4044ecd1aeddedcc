//! Real processes: what survives `kill -9`, how a node ends, what it says to whom.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::path::Path;
use std::process::{ExitStatus, Stdio};

use common::{bound_socket, eventually};
use dynamo_node::{Admin, Client, ClientError};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpSocket;
use tokio::process::{Child, Command};

fn node() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dynamo-node"));
    command.kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Three addresses that are this test's as long as it holds their sockets. A socket that is bound and does
/// not listen keeps its port from every other program, from the ports of outgoing connections too, but not
/// from a node: both set `SO_REUSEADDR`, which Linux honours while only one of the two listens. While no
/// node listens, connections are refused.
fn three_addresses() -> (Vec<TcpSocket>, Vec<String>) {
    let sockets: Vec<_> = (0..3).map(|_| bound_socket()).collect();
    let addresses = sockets.iter().map(|s| s.local_addr().unwrap().to_string()).collect();
    (sockets, addresses)
}

struct Served {
    process: Child,
    ready: Value,
}

/// Starts node `id` of three.
async fn serve(id: usize, addresses: &[String], data: &Path, more: &[&str]) -> Served {
    let mut command = node();
    command.args(["serve", "--members", "1,2,3", "--exit-with-stdin"]);
    command.args(["--id", &id.to_string(), "--listen", &addresses[id - 1]]);
    command.arg("--data").arg(data.join(id.to_string())).args(more);
    for peer in (1..=3).filter(|peer| *peer != id) {
        command.args(["--peer", &format!("{peer}={}", addresses[peer - 1])]);
    }
    let mut process = command.spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap();
    let Some(line) = line else {
        let mut log = String::new();
        process.stderr.take().unwrap().read_to_string(&mut log).await.unwrap();
        panic!("node {id} did not start: {log}");
    };
    let ready: Value = serde_json::from_str(&line).unwrap();
    Served { process, ready: ready["ready"].clone() }
}

async fn output(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = node().args(arguments).output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

async fn end(mut process: Child) -> ExitStatus {
    tokio::time::timeout(std::time::Duration::from_secs(20), process.wait()).await.unwrap().unwrap()
}

#[tokio::test]
async fn acknowledged_puts_survive_killing_every_node_again_and_again() {
    let folder = TempDir::new().unwrap();
    let (_sockets, addresses) = three_addresses();
    let mut acknowledged = Vec::new();
    let mut identities = Vec::new();
    for round in 0..3 {
        let more: &[&str] = if round == 0 { &["--genesis"] } else { &[] };
        let mut nodes = Vec::new();
        for id in 1..=3 {
            nodes.push(serve(id, &addresses, folder.path(), more).await);
        }
        identities.push(nodes.iter().map(|n| n.ready["identity"].clone()).collect::<Vec<_>>());
        let client = Client::new(addresses[round].as_str());
        eventually("a quorum answers", async || client.get("probe").await.is_ok()).await;
        for key in &acknowledged {
            let values = client.get(String::clone(key)).await.unwrap().values;
            assert_eq!(values, ["v"], "{key} after round {round}");
        }
        // Puts are under way when the processes are killed; those that were acknowledged count.
        let mut puts = tokio::task::JoinSet::new();
        for index in 0..300 {
            let (client, key) = (client.clone(), format!("{round}/{index}"));
            puts.spawn(async move { client.put(key.clone(), "", "v").await.map(|_| key) });
        }
        for _ in 0..100 {
            acknowledged.extend(puts.join_next().await.unwrap().unwrap());
        }
        for node in &mut nodes {
            node.process.start_kill().unwrap();
        }
        while let Some(put) = puts.join_next().await {
            acknowledged.extend(put.unwrap());
        }
        for node in nodes {
            end(node.process).await;
        }
    }
    assert!(acknowledged.len() >= 100, "{} puts were acknowledged", acknowledged.len());
    assert!(identities.iter().all(|round| *round == identities[0]), "{identities:?}");
}

#[tokio::test]
async fn a_stopped_node_ends_with_0_and_a_wiped_one_comes_back_as_another() {
    let folder = TempDir::new().unwrap();
    let (_sockets, addresses) = three_addresses();
    let first = serve(1, &addresses, folder.path(), &["--genesis"]).await;
    let pid = first.ready["pid"].as_u64().unwrap();
    assert_eq!(first.process.id().map(u64::from), Some(pid));
    // At once: whoever has read that it is ready may stop it.
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(end(first.process).await.code(), Some(0));

    std::fs::remove_dir_all(folder.path().join("1")).unwrap();
    let second = serve(1, &addresses, folder.path(), &[]).await;
    assert_ne!(second.ready["identity"], first.ready["identity"]);
    assert_ne!(second.ready["incarnation"], first.ready["incarnation"]);
    assert!(Admin::new(addresses[0].as_str()).status().await.unwrap().amnesiac);
    Admin::new(addresses[0].as_str()).stop().await.unwrap();
    assert_eq!(end(second.process).await.code(), Some(0));
}

#[tokio::test]
async fn a_node_ends_when_its_standard_input_closes() {
    let folder = TempDir::new().unwrap();
    let (_sockets, addresses) = three_addresses();
    let mut node = serve(1, &addresses, folder.path(), &["--genesis"]).await;
    drop(node.process.stdin.take());
    assert_eq!(end(node.process).await.code(), Some(0));
}

#[tokio::test]
async fn what_cannot_start_says_so_in_one_line() {
    let folder = TempDir::new().unwrap();
    let (_sockets, addresses) = three_addresses();
    let _running = serve(1, &addresses, folder.path(), &["--genesis"]).await;
    let data = folder.path().join("1");
    let data = data.to_str().unwrap();
    let elsewhere = folder.path().join("elsewhere");
    let elsewhere = elsewhere.to_str().unwrap();
    let peers = ["--peer", "2=127.0.0.1:1", "--peer", "3=127.0.0.1:1"];
    let common = |more: &[&str]| {
        let start = ["serve", "--log", "off", "--id", "1"].iter();
        start.chain(&peers).chain(more).map(|text| (*text).to_owned()).collect::<Vec<_>>()
    };
    let taken = addresses[0].as_str();
    for (status, word, arguments) in [
        (255, "in use by another process", common(&["--members", "1,2,3", "--data", data])),
        (255, "in use", common(&["--members", "1,2,3", "--data", elsewhere, "--listen", taken])),
        (255, "cannot make", common(&["--members", "1,2,3", "--data", "/proc/none/1"])),
        (254, "-w 4: from 1 to 3", common(&["--members", "1,2,3", "--data", elsewhere, "-w", "4"])),
        (254, "not among", common(&["--members", "2,3,4", "--data", elsewhere])),
        (254, "twice", common(&["--members", "1,2,3,3", "--data", elsewhere])),
        (254, "--data", common(&["--members", "1,2,3"])),
        (254, "--member", common(&["--data", elsewhere])),
        (254, "HOST:PORT", common(&["--members", "1,2,3", "--peer", "2=here"])),
        (
            254,
            "--hedge",
            common(&["--members", "1,2,3", "--data", elsewhere, "--hedge", "5", "--deadline", "5"]),
        ),
        (254, "no such member", common(&["--members", "1,2", "-n", "2", "--data", elsewhere])),
    ] {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let (code, printed, error) = output(&arguments).await;
        assert_eq!(code, Some(status), "{arguments:?}: {error}");
        assert!(error.contains(word), "{arguments:?}: {error}");
        assert!(printed.is_empty(), "{arguments:?}: {printed}");
    }
}

#[tokio::test]
async fn the_command_line_puts_gets_and_deletes() {
    let folder = TempDir::new().unwrap();
    let (_sockets, addresses) = three_addresses();
    let mut nodes = Vec::new();
    for id in 1..=3 {
        nodes.push(serve(id, &addresses, folder.path(), &["--genesis"]).await);
    }
    let at = addresses[1].as_str();
    for value in ["one", "two"] {
        assert_eq!(output(&["put", "--at", at, "k", value]).await.0, Some(0));
    }
    let get = async || {
        let (code, printed, _) = output(&["get", "--at", at, "--json", "k"]).await;
        assert_eq!(code, Some(0));
        serde_json::from_str::<Value>(&printed).unwrap()
    };
    let got = get().await;
    assert_eq!(got["values"].as_array().unwrap().len(), 2);
    let context = got["context"].as_str().unwrap();
    let put = output(&["put", "--at", at, "--context", context, "k", "three"]).await;
    assert_eq!(put.0, Some(0), "{}", put.2);
    let got = get().await;
    assert_eq!(got["values"], serde_json::json!(["three"]));
    let context = got["context"].as_str().unwrap();
    let deleted = output(&["delete", "--at", at, "--context", context, "k"]).await;
    assert_eq!(deleted.0, Some(0), "{}", deleted.2);
    assert_eq!(get().await["values"], serde_json::json!([]));
    let (code, printed, _) = output(&["status", "--at", at, "--json"]).await;
    assert_eq!(code, Some(0));
    let status: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(status["id"], 2);
    let malformed = output(&["put", "--at", at, "--context", "xyz", "k", "v"]).await;
    assert_eq!(malformed.0, Some(254), "{}", malformed.2);
    let mangled = output(&["put", "--at", at, "--context", "00", "k", "v"]).await;
    assert_eq!(mangled.0, Some(255), "{}", mangled.2);
}

#[tokio::test]
async fn the_command_line_prunes_what_a_key_needs_no_more() {
    let folder = TempDir::new().unwrap();
    let (_sockets, addresses) = three_addresses();
    let mut nodes = Vec::new();
    for id in 1..=3 {
        nodes.push(serve(id, &addresses, folder.path(), &["--genesis"]).await);
    }
    let get = async |at: &str| {
        let (_, printed, error) = output(&["get", "--at", at, "--json", "k"]).await;
        let got: Value = serde_json::from_str(&printed).expect(&error);
        (got["values"].clone(), got["context"].as_str().unwrap().to_owned())
    };
    // Each overwrites what the one before it put: of three actors one has a value that is live.
    for (at, value) in addresses.iter().zip(["one", "two", "three"]) {
        let context = get(at).await.1;
        let put = output(&["put", "--at", at, "--context", &context, "k", value]).await;
        assert_eq!(put.0, Some(0), "{}", put.2);
    }
    let all = addresses.join(",");
    let (code, printed, error) = output(&["prune", "--at", &all, "k"]).await;
    assert_eq!(code, Some(0), "{error}");
    let forgotten = printed.strip_suffix(" entries forgotten\n").unwrap();
    assert!(forgotten.parse::<u64>().unwrap() > 1, "{printed}");
    eventually("nothing is left to forget", async || {
        let (code, printed, _) = output(&["prune", "--at", &all, "--json", "k"]).await;
        let said: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!((code, &said["command"]), (Some(0), &"node prune".into()));
        said["forgotten"] == 0
    })
    .await;
    for at in &addresses {
        assert_eq!(get(at).await.0, serde_json::json!(["three"]));
    }
    assert_eq!(output(&["prune", "k"]).await.0, Some(254), "of which nodes?");
    nodes[2].process.start_kill().unwrap();
    end(nodes.pop().unwrap().process).await;
    let (code, printed, error) = output(&["prune", "--at", &all, "k"]).await;
    assert_eq!((code, printed.as_str()), (Some(255), ""), "one record was left out");
    assert!(error.contains(&addresses[2]), "{error}");
}

#[tokio::test]
async fn a_put_to_a_killed_node_is_never_called_refused_once_it_was_sent() {
    let folder = TempDir::new().unwrap();
    let (_sockets, addresses) = three_addresses();
    let mut nodes = Vec::new();
    for id in 1..=3 {
        nodes.push(serve(id, &addresses, folder.path(), &["--genesis"]).await);
    }
    let client = Client::new(addresses[0].as_str());
    eventually("a quorum answers", async || client.get("probe").await.is_ok()).await;
    let mut puts = tokio::task::JoinSet::new();
    for index in 0..500 {
        let (client, key) = (client.clone(), format!("k{index}"));
        puts.spawn(async move { (key.clone(), client.put(key, "", "v").await) });
    }
    puts.join_next().await;
    nodes[0].process.start_kill().unwrap();
    let mut outcomes = Vec::new();
    while let Some(put) = puts.join_next().await {
        outcomes.push(put.unwrap());
    }
    let other = Client::new(addresses[1].as_str());
    for (key, outcome) in outcomes {
        let values = other.get(key.clone()).await.unwrap().values;
        match outcome {
            Ok(_) => assert_eq!(values, ["v"], "{key} was acknowledged"),
            Err(ClientError::Refused(why) | ClientError::Overloaded { why, .. }) => {
                assert!(values.is_empty(), "{key}: {why}");
            }
            Err(ClientError::Indeterminate(_)) => {}
        }
    }
}

/// Every key the protocol takes, and the first it refuses: kept by nodes with a disk, as home and as hint.
#[tokio::test]
async fn keys_and_values_of_every_length_and_byte_survive_a_restart() {
    const LIMITS: [usize; 2] = [1 << 10, 1 << 20];
    let folder = TempDir::new().unwrap();
    let (_sockets, addresses) = three_addresses();
    let mut nodes = Vec::new();
    for id in 1..=3 {
        nodes.push(serve(id, &addresses, folder.path(), &["--genesis"]).await);
    }
    for at in &addresses {
        let put = output(&["put", "--at", at, "", "by hand"]).await;
        assert_eq!(put.0, Some(0), "the empty key at {at}: {}", put.2);
    }
    // One home is down: what it should have is kept as hints.
    nodes[2].process.start_kill().unwrap();
    end(nodes.pop().unwrap().process).await;
    let client = Client::new(addresses[0].as_str());
    let mut keys: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
    keys.extend([vec![0; 2], vec![0xff; 3], b"k".repeat(LIMITS[0]), vec![0xff; LIMITS[0]]]);
    let values = [vec![], vec![0], (0..=255).collect(), vec![0xff; LIMITS[1]]];
    let kept: Vec<_> = keys.iter().zip(values.iter().cycle()).collect();
    for (key, value) in kept.iter().take(4).chain(&kept[255..]) {
        eventually("a put", async || client.put(key.to_vec(), "", value.to_vec()).await.is_ok())
            .await;
    }
    for (key, value) in &kept[4..255] {
        client.put(key.to_vec(), "", b"small".as_slice()).await.unwrap();
        assert!(value.len() <= LIMITS[1]);
    }
    for (key, value) in [(LIMITS[0] + 1, 1), (1, LIMITS[1] + 1)] {
        let refused = client.put(vec![b'x'; key], "", vec![7; value]).await;
        assert!(matches!(refused, Err(ClientError::Refused(_))), "{refused:?}");
    }
    for mut node in nodes {
        node.process.start_kill().unwrap();
        end(node.process).await;
    }
    let mut nodes = Vec::new();
    for id in 1..=3 {
        nodes.push(serve(id, &addresses, folder.path(), &[]).await);
    }
    eventually("a quorum answers", async || client.get("probe").await.is_ok()).await;
    for (at, (key, value)) in kept.iter().enumerate() {
        let values = client.get(key.to_vec()).await.unwrap().values;
        let small = (4..255).contains(&at);
        assert!(
            values.iter().all(|got| if small { got == "small" } else { got == *value }),
            "{key:?}"
        );
        assert!(!values.is_empty(), "{key:?}");
    }
    assert_eq!(client.get("").await.unwrap().values.len(), 3);
    let third = Admin::new(addresses[0].as_str());
    eventually("hints are delivered", async || {
        third.status().await.is_ok_and(|status| status.hints_held == 0)
    })
    .await;
}
