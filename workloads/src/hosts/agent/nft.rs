//! Cut and led-aside links, by tables of our own: whatever else a host filters is never touched. And
//! how programs of the host are run.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::hosts::lab::program_path;

/// What drops the packets of cut flows, where they arrive.
pub(super) const CUTS: &str = "inet dyno_cuts";
/// What leads the node's own connections to our proxy.
pub(super) const LINKS: &str = "ip dyno_links";
/// What the proxy's own connections are marked with, or they would be led to the proxy again. "dyno".
pub(super) const MARK: u32 = 0x6479_6e6f;

/// Drops whatever arrives from these addresses, and nothing else any more: one step for the kernel.
pub(super) fn cut(from: &BTreeSet<IpAddr>) -> String {
    let mut script = replace(CUTS);
    if from.is_empty() {
        return script;
    }
    let of = |v4: bool| from.iter().filter(move |address| address.is_ipv4() == v4);
    let _ = writeln!(script, "add table {CUTS}");
    let _ = writeln!(
        script,
        "add chain {CUTS} arriving {{ type filter hook input priority -200; policy accept; }}"
    );
    for (family, v4) in [("ip", true), ("ip6", false)] {
        let addresses: Vec<_> = of(v4).map(IpAddr::to_string).collect();
        if !addresses.is_empty() {
            let addresses = addresses.join(", ");
            let _ =
                writeln!(script, "add rule {CUTS} arriving {family} saddr {{ {addresses} }} drop");
        }
    }
    script
}

/// Leads connections that are made here to any of these places to `port` here.
pub(super) fn lead_aside(places: &[(IpAddr, u16)], port: u16) -> String {
    let places = places.iter().filter(|(address, _)| address.is_ipv4());
    let places: Vec<_> = places.map(|(address, port)| format!("{address} . {port}")).collect();
    let mut script = replace(LINKS);
    if !places.is_empty() {
        let places = places.join(", ");
        let _ = write!(
            script,
            "add table {LINKS}\n\
             add chain {LINKS} leaving {{ type nat hook output priority -100; policy accept; }}\n\
             add rule {LINKS} leaving meta mark != {MARK} ip daddr . tcp dport {{ {places} }} \
             redirect to :{port}\n"
        );
    }
    script
}

/// Removes a table, whether or not it is there.
pub(super) fn replace(table: &str) -> String {
    format!("add table {table}\ndelete table {table}\n")
}

/// Has the kernel do all of a script, or nothing.
pub(super) async fn run(script: &str) -> Result<(), String> {
    feed("nft", &["-f", "-"], script).await
}

/// Runs a program on a script.
pub(super) async fn feed(program: &str, args: &[&str], script: &str) -> Result<(), String> {
    let mut child = command(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| lacks(program, &error))?;
    let mut stdin = child.stdin.take().expect("it is piped");
    // If it takes nothing in, it says why.
    let _ = stdin.write_all(script.as_bytes()).await;
    drop(stdin);
    let done = child.wait_with_output().await.map_err(|error| format!("{program}: {error}"))?;
    said(program, &done).map(drop)
}

/// Runs a program; what it printed.
pub(super) async fn tool(program: &str, args: &[&str]) -> Result<String, String> {
    let done = command(program).args(args).stdin(Stdio::null()).output().await;
    said(program, &done.map_err(|error| lacks(program, &error))?)
}

fn said(program: &str, done: &Output) -> Result<String, String> {
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    Err(format!("{program}: {}", said.lines().next().unwrap_or("failed")))
}

fn lacks(program: &str, error: &std::io::Error) -> String {
    let package = if program == "nft" { "nftables" } else { "iproute2" };
    format!("{program}: {error}: is {package} installed?")
}

/// Which of our tables are in force.
pub(super) async fn ours() -> Result<Vec<&'static str>, String> {
    let text = tool("nft", &["list", "tables"]).await?;
    let there = |table: &&str| text.lines().any(|line| line == format!("table {table}"));
    Ok([CUTS, LINKS].into_iter().filter(there).collect())
}

/// A program of the system's administrator, wherever it is.
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    // Not to be left behind by an agent that ends in the middle.
    command.env("PATH", program_path()).kill_on_drop(true);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_one_script_that_replaces_the_last_one() {
        let from = ["10.0.0.1", "10.0.0.2", "fe80::1"].map(|text| text.parse().unwrap());
        let script = cut(&from.into());
        assert!(script.starts_with("add table inet dyno_cuts\ndelete table inet dyno_cuts\n"));
        assert!(script.contains("ip saddr { 10.0.0.1, 10.0.0.2 } drop"));
        assert!(script.contains("ip6 saddr { fe80::1 } drop"));
        assert_eq!(cut(&BTreeSet::new()), replace(CUTS));
    }
}
