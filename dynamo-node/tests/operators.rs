//! The command line of those who change the membership of a running cluster, on real processes.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::path::Path;
use std::process::Stdio;

use common::{bound_socket, eventually};
use dynamo_node::{Admin, Client};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpSocket;
use tokio::process::{Child, Command};

const TIMING: [&str; 6] = ["--exchange", "50ms", "--handoff", "50ms", "--ping", "50ms"];

struct Node {
    process: Child,
    address: String,
    /// Keeps the address for a node that is started again.
    _socket: Option<TcpSocket>,
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dynamo-node"));
    command.kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a node until it says that it is ready.
async fn run(arguments: &[&str], data: &Path) -> Node {
    let mut command = command();
    command.args(arguments).args(TIMING).arg("--exit-with-stdin").arg("--data").arg(data);
    let mut process = command.spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let Some(line) = lines.next_line().await.unwrap() else {
        panic!("{arguments:?} did not start: {}", log(&mut process).await);
    };
    let ready: Value = serde_json::from_str(&line).unwrap();
    let address = ready["ready"]["address"].as_str().unwrap().to_owned();
    Node { process, address, _socket: None }
}

async fn log(process: &mut Child) -> String {
    let mut log = String::new();
    process.stderr.take().unwrap().read_to_string(&mut log).await.unwrap();
    log
}

/// What a command answers: its exit status, standard output and standard error.
async fn ask(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = command().args(arguments).output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

async fn ring(at: &str) -> Value {
    let (code, printed, error) = ask(&["ring", "--at", at, "--json"]).await;
    assert_eq!(code, Some(0), "{error}");
    serde_json::from_str(&printed).unwrap()
}

/// Until the change that led to `epoch` is all done.
async fn finished(at: &str, epoch: u64) {
    let what = format!("epoch {epoch} is finished");
    eventually(&what, async || {
        let ring = ring(at).await;
        ring["epoch"] == epoch && ring["finished"] == true
    })
    .await;
}

async fn refused(arguments: &[&str], word: &str) {
    let (code, printed, error) = ask(arguments).await;
    assert_eq!((code, printed.as_str()), (Some(255), ""), "{arguments:?}: {error}");
    assert!(error.contains(word), "{arguments:?}: {error}");
    assert_eq!(error.trim_end().lines().count(), 1, "{arguments:?}: {error}");
}

/// Whoever starts again is in doubt until all others have said what they remember of it, and names nobody
/// before: that the one that lost its disk remembers nothing it has to be able to say before it is named.
#[tokio::test]
async fn all_members_start_anew_one_without_its_disk_and_its_replacement_ends_their_doubt() {
    let folder = TempDir::new().unwrap();
    let data = |id: u16| folder.path().join(id.to_string());
    let mut nodes = genesis(4, folder.path()).await;
    let addresses: Vec<_> = nodes.iter().map(|node| node.address.clone()).collect();
    let client = Client::new(addresses[0].as_str());
    for n in 0..40 {
        client.put(format!("k{n}"), "", format!("v{n}")).await.unwrap();
    }
    for node in &mut nodes {
        node.process.kill().await.unwrap();
    }
    std::fs::remove_dir_all(data(4)).unwrap();
    for id in [1, 2, 3_u16] {
        let place = usize::from(id) - 1;
        let again = run(&["serve", "--listen", &addresses[place]], &data(id)).await;
        nodes[place].process = again.process;
    }
    let seed = addresses[0].as_str();
    let replace = ["replace", "--seed", seed, "--id", "4", "--listen", &addresses[3]];
    nodes[3].process = run(&replace, &data(4)).await.process;
    finished(seed, 2).await;
    for n in 0..40 {
        for address in &addresses {
            let got = Client::new(address.as_str()).get(format!("k{n}")).await.unwrap();
            assert_eq!(got.values, [format!("v{n}")], "k{n} through {address}");
        }
    }
}

/// Members 1 and up, each of which lies in the folder of its number.
async fn genesis(members: u16, folder: &Path) -> Vec<Node> {
    let sockets: Vec<_> = (1..=members).map(|_| bound_socket()).collect();
    let addresses: Vec<_> =
        sockets.iter().map(|socket| socket.local_addr().unwrap().to_string()).collect();
    let list = (1..=members).map(|id| id.to_string()).collect::<Vec<_>>().join(",");
    let mut nodes = Vec::new();
    for (id, socket) in (1..=members).zip(sockets) {
        let (id_text, at) = (id.to_string(), &addresses[usize::from(id) - 1]);
        let peers: Vec<_> = (1..=members)
            .filter(|peer| *peer != id)
            .map(|peer| format!("{peer}={}", addresses[usize::from(peer) - 1]))
            .collect();
        let mut arguments = vec!["serve", "--genesis", "--members", &list, "--tokens", "8"];
        arguments.extend(["--id", &id_text, "--listen", at]);
        peers.iter().for_each(|peer| arguments.extend(["--peer", peer]));
        let data = folder.join(&id_text);
        nodes.push(Node { _socket: Some(socket), ..run(&arguments, &data).await });
    }
    nodes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_has_nodes_join_leave_and_be_replaced() {
    let folder = TempDir::new().unwrap();
    let data = |id: u16| folder.path().join(id.to_string());
    let mut nodes = genesis(3, folder.path()).await;
    let addresses: Vec<_> = nodes.iter().map(|node| node.address.clone()).collect();
    let at = addresses[0].clone();
    let client = Client::new(at.as_str());
    for n in 0..40 {
        client.put(format!("k{n}"), "", format!("v{n}")).await.unwrap();
    }

    // The lowest number that is free is the fourth's; nobody is told of it, or started anew.
    let arguments = ["join", "--seed", &at, "--tokens", "8", "--listen", "127.0.0.1:0"];
    let fourth = run(&arguments, &data(4)).await;
    finished(&at, 2).await;
    let told = ring(&fourth.address).await;
    assert_eq!(told["members"][3]["node"], 4);
    assert_eq!(told["members"][3]["address"], fourth.address.as_str());
    assert!(told["changes"][0]["edit"].as_str().unwrap().starts_with("join n4"), "{told}");
    let (_, printed, _) = ask(&["ring", "--at", &at]).await;
    let line = printed.lines().find(|line| line.starts_with("n4")).unwrap();
    assert!(line.contains(&fourth.address) && line.ends_with("counts"), "{printed}");

    // A directory knows all that its node has to be told.
    nodes[0].process.kill().await.unwrap();
    nodes[0].process = run(&["serve", "--listen", &at], &data(1)).await.process;
    finished(&at, 2).await;

    let (code, printed, error) = ask(&["leave", "n2", "--at", &at]).await;
    assert_eq!((code, printed.as_str()), (Some(0), "epoch 4: done\n"), "{error}");
    assert!(error.contains("epoch 3: n2 leaves"), "{error}");
    // It ends by itself, and not because nobody holds its standard input any more.
    let _input = nodes[1].process.stdin.take();
    let ended = nodes[1].process.wait().await.unwrap();
    let last = log(&mut nodes[1].process).await;
    assert_eq!(ended.code(), Some(0), "{last}");
    assert!(last.contains("epoch 4 has removed n2"), "{last}");
    finished(&at, 4).await;

    nodes[2].process.kill().await.unwrap();
    std::fs::remove_dir_all(data(3)).unwrap();
    let replaced = ["replace", "--seed", &at, "--id", "3", "--listen", &addresses[2]];
    nodes[2].process = run(&replaced, &data(3)).await.process;
    finished(&at, 5).await;
    let told = ring(&at).await;
    assert_eq!(told["gone"].as_array().unwrap().len(), 2, "{told}");

    refused(&["leave", "n9", "--at", &at], "the members are n1, n3, n4").await;
    refused(&["leave", "n1", "--at", &at], "join another one first").await;
    refused(&["cancel", "n1", "--at", &at], "n1 is not leaving").await;
    refused(&["remove", "n1", "--at", &at], "`leave` lets it drain").await;
    refused(&["leave", "n1", "--at", &at, "--expect-epoch", "2"], "at epoch 5, not 2").await;
    for n in 0..40 {
        for node in [&at, &addresses[2], &fourth.address] {
            let got = Client::new(node.as_str()).get(format!("k{n}")).await.unwrap();
            assert_eq!(got.values, [format!("v{n}")], "k{n} through {node}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_four_members_two_are_lost_and_the_others_go_on_by_an_operators_word() {
    let folder = TempDir::new().unwrap();
    let data = |id: u16| folder.path().join(id.to_string());
    let mut nodes = genesis(4, folder.path()).await;
    let addresses: Vec<_> = nodes.iter().map(|node| node.address.clone()).collect();
    let at = addresses[0].clone();
    let client = Client::new(at.as_str());
    for n in 0..40 {
        client.put(format!("k{n}"), "", format!("v{n}")).await.unwrap();
    }
    for address in &addresses {
        let admin = Admin::new(address.as_str());
        eventually("all is with all homes", async || {
            admin.status().await.is_ok_and(|status| status.open_operations == 0)
        })
        .await;
    }

    // Two disks are lost, and those that are left start anew: they wait for the lost to say what they know.
    for node in &mut nodes {
        node.process.kill().await.unwrap();
    }
    for id in [3, 4] {
        std::fs::remove_dir_all(data(id)).unwrap();
    }
    for id in [1, 2_u16] {
        let place = usize::from(id) - 1;
        let again = run(&["serve", "--listen", &addresses[place]], &data(id)).await;
        nodes[place].process = again.process;
    }
    let remove = ["remove", "n4", "--at", &at, "--force", "--within", "1s"];
    let (code, _, error) = ask(&remove).await;
    assert_eq!(code, Some(255), "{error}");
    assert!(error.contains("n1 started and waits for the other members"), "{error}");
    let replace = ["replace", "--seed", &at, "--id", "3", "--listen", &addresses[2]];
    // An empty directory serves, and says that it remembers nothing: n4 is waited for all the same.
    let mut unnamed = run(&replace, &data(3)).await.process;
    let mut lines = BufReader::new(unnamed.stderr.take().unwrap()).lines();
    loop {
        let line = lines.next_line().await.unwrap().expect("it serves until it is named");
        if line.contains("is not named yet") {
            assert!(line.contains("n1 started and waits"), "{line}");
            break;
        }
    }
    assert_eq!(ring(&at).await["epoch"], 1);
    unnamed.kill().await.unwrap();

    let forced = ["remove", "n4", "--at", &at, "--force", "--force-epoch"];
    refused(&[&forced[..], &["--expect-epoch", "7"]].concat(), "at epoch 1, not 7").await;
    let (code, printed, error) = ask(&forced).await;
    assert_eq!((code, printed.as_str()), (Some(0), "epoch 2: done\n"), "{error}");
    assert!(error.contains("epoch 2 was made without a vote"), "{error}");
    let replace = [&replace[..], &["--force-epoch"]].concat();
    nodes[2].process = run(&replace, &data(3)).await.process;

    // Of the homes that some keys had too few are left to fill others from.
    eventually("all know of epoch 3", async || ring(&addresses[1]).await["epoch"] == 3).await;
    for address in &addresses[..3] {
        let (code, _, error) = ask(&["accept-loss", "--at", address]).await;
        assert_eq!(code, Some(0), "{error}");
    }
    finished(&at, 3).await;
    let (_, printed, error) = ask(&["status", "--at", &at, "--json"]).await;
    let status: Value = serde_json::from_str(&printed).unwrap();
    // The replacement says that it remembers nothing, which may be heard in time for a vote.
    let forced = status["epochs_forced"].as_u64().unwrap();
    assert!((1..=2).contains(&forced), "{status} {error}");

    // From here on a majority decides again.
    let weigh = ["weigh", "n1", "--tokens", "16", "--at", &addresses[1]];
    let (code, printed, error) = ask(&weigh).await;
    assert_eq!((code, printed.as_str()), (Some(0), "epoch 4: done\n"), "{error}");
    finished(&at, 4).await;
    assert_eq!(ring(&at).await["members"][0]["tokens"], 16);
    for n in 0..40 {
        for address in &addresses[..3] {
            let got = Client::new(address.as_str()).get(format!("k{n}")).await.unwrap();
            assert_eq!(got.values, [format!("v{n}")], "k{n} through {address}");
        }
    }
}
