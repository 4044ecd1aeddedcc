//! What a node tells of itself to those who watch over it: Prometheus, and the health service of gRPC.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::{Cluster, bound_socket, eventually};
use dynamo_protocol::NodeId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

const N1: NodeId = NodeId(1);

/// Whether Debian's `prometheus`, and `promtool` with it, are here. Where nothing may be skipped it fails.
async fn has_prometheus() -> bool {
    let version = Command::new("promtool").arg("--version").stdout(Stdio::null()).status().await;
    let is_here = version.is_ok_and(|status| status.success());
    let required = std::env::var_os("DYNO_REQUIRE").is_some_and(|all| all == "all");
    assert!(is_here || !required, "needs prometheus");
    if !is_here {
        eprintln!("skipped: needs prometheus");
    }
    is_here
}

/// What is answered to a GET: the head, and the body.
async fn got(address: &str, path: &str) -> Option<(String, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.to_owned(), body.to_owned()))
}

async fn measured() -> (Cluster, String) {
    let on = |options: &mut dynamo_node::Options| options.metrics = Some("127.0.0.1:0".to_owned());
    let cluster = Cluster::start_with(3, on).await;
    let address = cluster.nodes[&N1].metrics().unwrap().to_string();
    (cluster, address)
}

fn value(text: &str, sample: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {sample}")).parse().unwrap()
}

#[tokio::test]
async fn what_clients_did_is_measured() {
    let (cluster, address) = measured().await;
    let client = cluster.client(N1);
    for value in ["a", "b"] {
        client.put("k", "", value).await.unwrap();
    }
    assert_eq!(client.get("k").await.unwrap().values.len(), 2);
    let (head, text) = got(&address, "/metrics").await.unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK") && head.contains("version=0.0.4"), "{head}");
    assert_eq!(value(&text, "dynamo_request_seconds_count{op=\"put\"}"), 2.0);
    assert_eq!(value(&text, "dynamo_request_seconds_count{op=\"get\"}"), 1.0);
    assert_eq!(value(&text, "dynamo_get_siblings_bucket{le=\"1\"}"), 0.0);
    assert_eq!(value(&text, "dynamo_get_siblings_bucket{le=\"2\"}"), 1.0);
    assert_eq!(value(&text, "dynamo_open_requests"), 0.0);
    assert_eq!(value(&text, "dynamo_open_request_bytes"), 0.0);
    assert_eq!(value(&text, "dynamo_untaken_answer_bytes"), 0.0);
    assert_eq!(value(&text, "dynamo_queue_depth{queue=\"clients\"}"), 0.0);
    assert!(text.contains("dynamo_link_queue_bytes{peer=\"3\"}"));
    let (head, _) = got(&address, "/").await.unwrap();
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
    cluster.stop().await;
}

#[tokio::test]
async fn the_text_passes_promtool_and_real_prometheus_scrapes_it() {
    if !has_prometheus().await {
        return;
    }
    let (cluster, address) = measured().await;
    cluster.client(N1).put("k", "", "v").await.unwrap();
    let (_, text) = got(&address, "/metrics").await.unwrap();
    let mut lint = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    lint.stdin.take().unwrap().write_all(text.as_bytes()).await.unwrap();
    let linted = lint.wait_with_output().await.unwrap();
    assert!(linted.status.success(), "{}", String::from_utf8_lossy(&linted.stderr));

    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("prometheus.yml");
    let scrapes = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n  - job_name: dynamo\n    static_configs:\n      \
         - targets: ['{address}']\n"
    );
    fs::write(&config, scrapes).unwrap();
    let socket = bound_socket();
    let web = socket.local_addr().unwrap().to_string();
    let log = fs::File::create(folder.path().join("log")).unwrap();
    let _prometheus = Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address={web}"))
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let asked = "/api/v1/query?query=dynamo_acknowledged_total%7Bjob%3D%22dynamo%22%7D";
    eventually("Prometheus knows of the put", async || {
        let answer = got(&web, asked).await;
        // The last of [time, "value"].
        answer.is_some_and(|(_, body)| body.contains(",\"1\"]"))
    })
    .await;
    cluster.stop().await;
}

fn operations() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations")
}

/// The metrics of nodes that a text names.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("dynamo_")).collect()
}

#[tokio::test]
async fn the_rules_and_the_dashboard_name_metrics_that_there_are() {
    let (cluster, address) = measured().await;
    let (_, text) = got(&address, "/metrics").await.unwrap();
    let there = named(&text);
    for file in ["alerts.yml", "dashboard.json"] {
        let asked = fs::read_to_string(operations().join(file)).unwrap();
        let missing: Vec<_> = named(&asked).difference(&there).copied().collect();
        assert_eq!(missing, Vec::<&str>::new(), "{file}");
    }
    let dashboard = fs::read(operations().join("dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_slice(&dashboard).unwrap();
    assert!(dashboard["panels"].as_array().is_some_and(|panels| panels.len() > 5));
    cluster.stop().await;
    if has_prometheus().await {
        let rules = operations().join("alerts.yml");
        let checked = Command::new("promtool").args(["check", "rules"]).arg(rules).output().await;
        let checked = checked.unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
}

#[tokio::test]
async fn the_health_service_says_whether_the_node_serves() {
    let cluster = Cluster::start(3).await;
    let address = format!("http://{}", cluster.addresses[&N1]);
    let channel = Endpoint::from_shared(address).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel);
    let mut ask = async |service: &str| {
        health.check(HealthCheckRequest { service: service.to_owned() }).await
    };
    for service in ["", "dynamo.v1.Kv"] {
        let answer = ask(service).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    assert_eq!(ask("elsewhere").await.unwrap_err().code(), tonic::Code::NotFound);
    cluster.stop().await;
}

#[tokio::test]
async fn a_node_tells_which_services_and_messages_there_are() {
    let cluster = Cluster::start(3).await;
    let address = format!("http://{}", cluster.addresses[&N1]);
    let channel = Endpoint::from_shared(address).unwrap().connect().await.unwrap();
    let mut reflection = ServerReflectionClient::new(channel);
    let mut ask = async |asked: MessageRequest| {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(asked) };
        let asked = tokio_stream::iter([request]);
        let mut told = reflection.server_reflection_info(asked).await.unwrap().into_inner();
        told.message().await.unwrap().unwrap().message_response.unwrap()
    };
    let MessageResponse::ListServicesResponse(told) =
        ask(MessageRequest::ListServices(String::new())).await
    else {
        panic!("no list of services");
    };
    let names: Vec<_> = told.service.iter().map(|service| service.name.as_str()).collect();
    for service in ["dynamo.v1.Kv", "dynamo.v1.Admin", "dynamo.v1.Peer", "grpc.health.v1.Health"] {
        assert!(names.contains(&service), "{names:?}");
    }
    let message = MessageRequest::FileContainingSymbol("dynamo.v1.PutRequest".to_owned());
    let MessageResponse::FileDescriptorResponse(told) = ask(message).await else {
        panic!("no description of a message");
    };
    assert!(!told.file_descriptor_proto.is_empty());
    cluster.stop().await;
}
