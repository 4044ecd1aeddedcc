//! stateright's Explorer shows states and actions that can be read.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::Value;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    model: model::cli::ModelArgs,
}

/// Asks until the server is there: it says nobody when it is.
fn get(port: u16, path: &str) -> Value {
    let started = Instant::now();
    let mut stream = loop {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Ok(stream) => break stream,
            Err(error) if started.elapsed() > Duration::from_secs(30) => panic!("{error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

#[test]
fn the_explorer_serves_states_and_actions_that_read_well() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    // The server never ends: it goes with the test's process.
    std::thread::spawn(move || {
        let port = port.to_string();
        let cli = Cli::parse_from(["model", "explore", "weak", "--port", &port]);
        model::cli::run(&cli.model)
    });
    let first = get(port, "/.states/");
    let state = first[0]["state"].as_str().unwrap();
    assert!(
        state.contains("n1: up, 0 open") && state.contains("client 1: step 1, idle"),
        "{state}"
    );
    let next = get(port, "/.states/0");
    let actions: Vec<_> = next.as_array().unwrap().iter().map(|view| &view["action"]).collect();
    assert!(
        actions.iter().any(|action| **action == "client 1 at n1: put a over {}"),
        "{actions:?}"
    );
}
