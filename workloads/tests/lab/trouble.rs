//! Hosts that fail while a run is under way: one line that says what and where, and never a hang.

use std::time::{Duration, Instant};

use super::bench::{Lab, Run, eventually};
use super::common::has_lab;

/// Sends a signal, the first argument, to every sshd of a host, those of open sessions included.
const SIGNAL_SSHD: &str = "for p in /proc/[0-9]*; do case $(cat $p/comm) in \
                           sshd*) kill -$0 ${p#/proc/};; esac; done 2>/dev/null";
/// A host that is silent for its lease of two seconds is lost; the rest is what a busy machine needs.
const GIVEN_UP: Duration = Duration::from_secs(20);
const FLAGS: [&str; 10] =
    ["--nodes", "3", "--faults", "none", "--time", "5m", "--lease", "2s", "--seed", "1"];

/// Breaks host n2 in the middle of a run; why the harness is not valid.
fn run_on_broken_host(lab: &Lab, script: &[&str]) -> String {
    let mut run = Run::start(lab, &lab.hosts(), "out", &FLAGS);
    run.working();
    let broken = lab.on("n2", script);
    assert!(broken.status.success(), "{broken:?}");
    let begun = Instant::now();
    let (status, reason) = run.finish();
    assert!(begun.elapsed() < GIVEN_UP, "{:?}: {reason}", begun.elapsed());
    assert_eq!(status, Some(255), "{reason}");
    assert_eq!(reason.lines().count(), 1, "{reason}");
    reason
}

fn runs_a_node(lab: &Lab, host: &str) -> bool {
    let processes = lab.on(host, &["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"]);
    String::from_utf8_lossy(&processes.stdout).contains("node serve")
}

#[test]
fn an_sshd_that_dies_ends_the_run_and_the_agent_ends_its_node() {
    if !has_lab() {
        return;
    }
    let lab = Lab::up(3);
    let reason = run_on_broken_host(&lab, &["sh", "-c", SIGNAL_SSHD, "KILL"]);
    assert!(reason.contains("n2 on n2: out of reach for"), "{reason}");
    assert!(reason.contains("10.77.1.2:22: Connection refused"), "{reason}");
    eventually("no node runs on", || !runs_a_node(&lab, "n2"));
}

#[test]
fn an_sshd_that_hangs_ends_the_run_and_the_agent_ends_its_node() {
    if !has_lab() {
        return;
    }
    let lab = Lab::up(3);
    let reason = run_on_broken_host(&lab, &["sh", "-c", SIGNAL_SSHD, "STOP"]);
    assert!(reason.contains("n2 on n2: out of reach for"), "{reason}");
    eventually("no node runs on", || !runs_a_node(&lab, "n2"));
}

#[test]
fn a_disk_that_is_full_is_named_with_its_host() {
    if !has_lab() {
        return;
    }
    let lab = Lab::up(3);
    let hosts = std::fs::read_to_string(lab.hosts()).unwrap();
    std::fs::write(lab.hosts(), hosts.replace("10.78.1.2\"", "10.78.1.2\"\ndir = \"/run/small\""))
        .unwrap();
    let disk = "mkdir /run/small && mount -t tmpfs -o size=200m small /run/small";
    assert!(lab.on("n2", &["sh", "-c", disk]).status.success());
    let fill = "dd if=/dev/zero of=/run/small/ballast bs=1M count=300; test -s /run/small/ballast";
    let mut run = Run::start(
        &lab,
        &lab.hosts(),
        "out",
        &["--nodes", "3", "--faults", "none", "--time", "6s"],
    );
    run.working();
    assert!(lab.on("n2", &["sh", "-c", fill]).status.success());
    let (status, reason) = run.finish();
    assert_eq!(status, Some(255), "{reason}");
    assert!(reason.contains("n2") && reason.contains("/run/small"), "{reason}");
    assert!(reason.contains("is full"), "{reason}");
}

#[test]
fn a_tool_that_goes_missing_is_named_with_its_host() {
    if !has_lab() {
        return;
    }
    let lab = Lab::up(3);
    let flags = ["--nodes", "3", "--faults", "partition", "--time", "6s", "--seed", "1"];
    let mut run = Run::start(&lab, &lab.hosts(), "out", &flags);
    run.working();
    let hide = "for nft in /usr/sbin/nft /sbin/nft; do \
                test -e $nft && mount --bind /dev/null $nft; done; true";
    assert!(lab.on("n2", &["sh", "-c", hide]).status.success());
    let (status, reason) = run.finish();
    assert_eq!(status, Some(255), "{reason}");
    assert!(reason.contains("n2 could not break links: n2: nft: Permission denied"), "{reason}");
}

#[test]
fn a_management_link_that_comes_back_within_the_lease_harms_nothing() {
    if !has_lab() {
        return;
    }
    let lab = Lab::up(3);
    // While the link is down nothing is healed, so one partition comes on top of another: of several shapes
    // together nobody might be left to serve.
    let plan = lab.dir.join("halves.toml");
    std::fs::write(&plan, "[fault]\nshapes = [\"halves\"]\n").unwrap();
    let flags = ["--nodes", "3", "--faults", "partition", "--time", "12s", "--lease", "9s"];
    let flags = [&[plan.to_str().unwrap()], &flags[..], &["--seed", "1"]].concat();
    let mut run = Run::start(&lab, &lab.hosts(), "out", &flags);
    run.working();
    let switch = |state: &str| {
        let done = lab.lab("exec").args(["--", "ip", "link", "set", "m2", state]).status();
        assert!(done.unwrap().success());
    };
    let connections = || {
        let log = std::fs::read_to_string(run.out.join("latest/logs/driver.log")).unwrap();
        (log.matches("host=n2 resume=true").count(), log.contains("host=n2 reason="))
    };
    assert_eq!(connections(), (0, false));
    switch("down");
    eventually("the driver sees that the link is cut", || connections().1);
    assert!(runs_a_node(&lab, "n2"), "the agent keeps its node");
    switch("up");
    eventually("the driver is back", || connections().0 > 0);
    let ended = run.finish();
    assert_eq!(ended, (Some(0), String::new()), "{}", run.said());
}
