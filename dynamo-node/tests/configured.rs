//! The command line of a node that is told where it stands by a file, and of those who watch it.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dynamo-node"));
    command.current_dir(folder).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Its exit status, standard output and standard error.
async fn ran(folder: &Path, line: &str) -> (Option<i32>, String, String) {
    let output = command(folder).args(line.split_whitespace()).output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

const ALONE: &str =
    "engine = \"memory\"\nmembers = [\"1\"]\nid = 1\ngenesis = true\nn = 1\nr = 1\nw = 1\n";

/// A node of its own that says where it serves.
async fn served(folder: &Path, more: &str) -> (Child, Value) {
    fs::write(folder.join("node.toml"), ALONE).unwrap();
    let mut command = command(folder);
    command.args(["serve", "--config", "node.toml", "--exit-with-stdin"]);
    let mut child = command.args(more.split_whitespace()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = lines.next_line().await.unwrap().unwrap();
    (child, serde_json::from_str(&ready).unwrap())
}

#[tokio::test]
async fn a_configuration_is_checked_without_starting_anything() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("node.toml"), ALONE).unwrap();
    let (status, told, _) =
        ran(folder.path(), "check-config --config node.toml --cluster orders --json").await;
    assert_eq!(status, Some(0));
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["command"], "node check-config");
    let are = (&told["id"], &told["cluster"], &told["settings"]["n"], &told["certificates"]);
    assert_eq!(are, (&1.into(), &"orders".into(), &1.into(), &false.into()));
    for (file, flags, why) in [
        ("n = 0\nmembers = [\"1\"]", "", "-n 0"),
        ("kluster = \"x\"", "", "node.toml: `kluster` is no setting of a node"),
        (ALONE, "--context-key nowhere", "nowhere: "),
        (ALONE, "--tls-certificate a --tls-key b --tls-ca c", "a: "),
        (ALONE, "--tls-certificate a", "--tls-key"),
    ] {
        fs::write(folder.path().join("node.toml"), file).unwrap();
        let line = format!("check-config --config node.toml {flags}");
        let (status, _, told) = ran(folder.path(), &line).await;
        assert_eq!(status, Some(254), "{line}: {told}");
        assert!(told.contains(why) && told.lines().count() == 1, "{line}: {told}");
    }
}

#[tokio::test]
async fn a_node_does_not_listen_beyond_its_machine_to_whoever_comes() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("node.toml"), ALONE).unwrap();
    let line = "serve --config node.toml --listen 0.0.0.0:0";
    let (status, _, told) = ran(folder.path(), line).await;
    assert_eq!(status, Some(254), "{told}");
    assert!(told.contains("--plaintext") && told.contains("--tls-certificate"), "{told}");
    let (_child, ready) = served(folder.path(), "--listen 0.0.0.0:0 --plaintext").await;
    assert!(ready["ready"]["address"].as_str().unwrap().starts_with("0.0.0.0:"));
}

#[tokio::test]
async fn top_shows_members_and_logs_are_objects_if_they_are_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, ready) = served(folder.path(), "--log-format json").await;
    let at = ready["ready"]["address"].as_str().unwrap();
    let line = format!("top --at {at} --looks 2 --every 100ms --json");
    let (status, told, _) = ran(folder.path(), &line).await;
    assert_eq!(status, Some(0));
    let looks: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(looks.len(), 2);
    let [first, second] = [0, 1].map(|look: usize| &looks[look]["members"][0]);
    assert_eq!((&first["node"], &first["state"]), (&1.into(), &"up".into()));
    assert!(first["gets_per_s"].is_null() && second["gets_per_s"] == 0.0, "{second}");
    let (_, table, _) = ran(folder.path(), &format!("top --at {at} --looks 1")).await;
    assert!(
        table.starts_with("node ") && table.lines().nth(1).unwrap().starts_with("n1 "),
        "{table}"
    );
    drop(child.stdin.take());
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).await.unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["message"] == "started"), "{log}");
}
