//! What a browser, and who is none, is answered over a real socket.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path as FilePath;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::index::samples::{name, verdict, write};

/// Serves a folder; where.
async fn serving(dir: &FilePath) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let board = Arc::new(Board::new(Root::of(dir).unwrap()));
    tokio::spawn(async move { axum::serve(listener, router(board, address.port())).await });
    address
}

/// What comes back for bytes, to the end of the connection.
async fn send(at: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn get(at: SocketAddr, path: &str) -> String {
    send(at, &format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n")).await
}

fn status(answer: &str) -> u16 {
    answer[9..12].parse().unwrap()
}

/// A history line of a put.
fn lines(count: u64) -> String {
    let line = |at: u64, kind: &str| {
        let (time, pair) = (at * 1_000_000, at / 2 * 2);
        let value = format!("<script>alert({pair})</script>");
        json!({
            "index": at, "time": time, "process": 0, "type": kind, "f": "put", "key": "<b>k</b>",
            "value": value,
        })
        .to_string()
    };
    let pairs =
        (0..count / 2).flat_map(|pair| [line(pair * 2, "invoke"), line(pair * 2 + 1, "ok")]);
    pairs.map(|line| line + "\n").collect()
}

#[tokio::test]
async fn every_page_is_there_and_says_what_it_may_do() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 30);
    let run = format!("cart/{}", name(10));
    fs::write(dir.path().join(&run).join("history.jsonl"), lines(4000)).unwrap();
    fs::write(dir.path().join(&run).join("report.html"), "<p>the page</p>").unwrap();
    let at = serving(dir.path()).await;
    for (path, holds) in [
        ("/", "30 runs: 6 invalid, 24 valid"),
        ("/?state=invalid&sort=lost", "6 of 30 runs"),
        ("/?as=json&plan=strict", "\"schema\":1"),
        ("/trend", "2026-11-02"),
        ("/metrics", "# EOF"),
        (&format!("/compare/{run}"), "Two runs side by side"),
        (&format!("/history/{run}?type=ok"), "go on"),
        (&format!("/history/{run}?type=ok&as=jsonl"), "alert(3998)"),
        (&format!("/live/{run}"), "Live: "),
        (&format!("/run/{run}/report.html"), "the page"),
        (&format!("/run/{run}/verdict.json"), "application/json"),
        ("/style.css", "text/css"),
        ("/live.js", "EventSource"),
    ] {
        let answer = get(at, path).await;
        assert_eq!(status(&answer), 200, "{path}: {answer}");
        assert!(answer.contains(holds), "{path}: {}", &answer[..answer.len().min(2000)]);
        let head = answer.split("\r\n\r\n").next().unwrap().to_lowercase();
        assert!(head.contains("default-src 'none'") && head.contains("nosniff"), "{path}: {head}");
        if !path.contains("jsonl") {
            assert!(!answer.contains("<script>alert"), "{path}");
        }
    }
    let answer = get(at, &format!("/run/{run}")).await;
    assert_eq!(status(&answer), 303, "a run's folder is its page: {answer}");
    let answer = get(at, &format!("/run/{run}/report.html")).await;
    assert!(answer.contains("content-security-policy: sandbox"), "{answer}");
}

#[tokio::test]
async fn the_trend_names_the_first_bad_commit_and_blames_none_for_changes_on_top_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let builds = [
        ("1111111111aa", false, "valid"),
        ("2222222222bb", false, "valid"),
        ("2222222222bb", true, "invalid"),
        ("2222222222bb", false, "valid"),
        ("3333333333cc", false, "invalid"),
        ("4444444444dd", false, "invalid"),
    ];
    for (night, (commit, changed, said)) in (1..).zip(builds) {
        let mut verdict = verdict(2);
        verdict["verdict"] = said.into();
        verdict["property"] = said.into();
        verdict["setup"]["commit"] = commit.into();
        verdict["setup"]["changed"] = changed.into();
        verdict["setup"]["began"] = format!("2026-11-{night:02}T02:00:00Z").into();
        let run = dir.path().join(format!("cart/202611{night:02}T020000Z"));
        fs::create_dir_all(&run).unwrap();
        fs::write(run.join("verdict.json"), verdict.to_string()).unwrap();
    }
    let answer = get(serving(dir.path()).await, "/trend").await;
    let (_, since) = answer.split_once("class=\"since\"").unwrap();
    let since = &since[..since.find("</p>").unwrap()];
    for part in [
        "since commit <code>3333333333</code>",
        "cart/20261105T020000Z",
        "the last good one is <code>2222222222</code>",
    ] {
        assert!(since.contains(part), "{part}: {since}");
    }
    assert!(answer.contains("build 2222222222 and changes"), "{answer}");
}

#[tokio::test]
async fn nothing_leaves_the_folder_however_it_is_written() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret.txt"), "hidden words").unwrap();
    let dir = outside.path().join("results");
    write(&dir, 3);
    std::os::unix::fs::symlink(outside.path(), dir.join("out")).unwrap();
    std::os::unix::fs::symlink("../secret.txt", dir.join("cart/link.txt")).unwrap();
    let at = serving(&dir).await;
    for path in [
        "/run/../secret.txt",
        "/run/%2e%2e/secret.txt",
        "/run/..%2fsecret.txt",
        "/run/cart/..%2f..%2fsecret.txt",
        "/run/cart/%2e%2e/%2e%2e/secret.txt",
        "/run/%252e%252e/secret.txt",
        "/run/out/secret.txt",
        "/run/cart/link.txt",
        "/run//etc/passwd",
        "/run/%2fetc%2fpasswd",
        "/run/cart/x%00",
        "/run/cart\\..\\..\\secret.txt",
        "/../secret.txt",
        "/history/out",
        "/history/../secret.txt",
        "/live/out",
        "/events/out",
        "/compare/out?with=..%2fsecret.txt",
    ] {
        let answer = get(at, path).await;
        assert!((400..500).contains(&status(&answer)), "{path}: {answer}");
        assert!(!answer.contains("hidden words") && !answer.contains("root:"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn only_who_reads_and_names_this_server_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 3);
    let at = serving(dir.path()).await;
    let port = at.port();
    let ask = async |method: &str, host: &str| {
        send(at, &format!("{method} / HTTP/1.1\r\n{host}Connection: close\r\n\r\n")).await
    };
    assert_eq!(status(&ask("GET", &format!("Host: localhost:{port}\r\n")).await), 200);
    for host in ["Host: evil.example\r\n", "Host: 127.0.0.1\r\n", ""] {
        let answer = ask("GET", host).await;
        assert!((400..500).contains(&status(&answer)), "{host}: {answer}");
        assert!(!answer.contains("<table"), "{answer}");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let answer = ask(method, &format!("Host: 127.0.0.1:{port}\r\n")).await;
        assert_eq!(status(&answer), 405, "{method}: {answer}");
    }
    for (path, says) in [
        ("/?state=bad", "invalid, unknown"),
        ("/?plann=x", "they are plan"),
        ("/history/cart?at=x", "whole number"),
    ] {
        let answer = get(at, path).await;
        assert_eq!((status(&answer), answer.contains(says)), (400, true), "{path}: {answer}");
    }
    assert_eq!(status(&get(at, "/history/no/such").await), 404);
}

#[tokio::test]
async fn a_run_that_goes_on_is_told_until_it_has_a_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("cart/now");
    fs::create_dir_all(&run).unwrap();
    let text = lines(4000);
    let (first, second) = text.split_at(text.len() / 2);
    let mut file = File::create(run.join("history.jsonl")).unwrap();
    file.write_all(first.as_bytes()).unwrap();
    let at = serving(dir.path()).await;
    assert!(get(at, "/").await.contains("running"));
    let mut stream = TcpStream::connect(at).await.unwrap();
    let request = format!("GET /events/cart/now HTTP/1.1\r\nHost: {at}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut told = String::new();
    let mut read = async |stream: &mut TcpStream, until: &str| {
        let mut chunk = [0; 4096];
        while !told.contains(until) {
            let count = stream.read(&mut chunk).await.unwrap();
            assert!(count > 0, "it ended before {until}: {told}");
            told += &String::from_utf8_lossy(&chunk[..count]);
        }
        told.clone()
    };
    read(&mut stream, "event: more").await;
    file.write_all(second.as_bytes()).unwrap();
    fs::write(run.join("verdict.json"), "{}").unwrap();
    let told = read(&mut stream, "event: over").await;
    let told = told + &read(&mut stream, "\"ops\":[2000,0,0]").await;
    assert!(told.contains("\"from\":0"), "{told}");
}

#[tokio::test]
async fn findings_of_all_runs_are_gathered_by_what_they_have_in_common() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 21);
    for number in [0, 5, 10] {
        let plan = if number % 2 == 0 { "cart" } else { "strict" };
        let history = dir.path().join(plan).join(name(number)).join("history.jsonl");
        fs::write(history, lines(40)).unwrap();
    }
    let at = serving(dir.path()).await;
    let answer = get(at, "/findings").await;
    assert!(answer.contains("5 of 5 invalid runs were read"), "{answer}");
    assert!(
        answer.contains("lost by no put that can be named, with no fault in force"),
        "{answer}"
    );
    assert!(answer.contains("<b>60</b> findings in <b>3</b> runs"), "{answer}");
    assert!(answer.contains("not preceded by any fault"), "{answer}");
    assert!(answer.contains("it has no history.jsonl"), "the others do not tell: {answer}");
}
