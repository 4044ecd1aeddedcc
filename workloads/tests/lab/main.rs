//! The lab, and runs over SSH on its hosts.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod bench;
#[path = "../common/mod.rs"]
mod common;
mod hostile;
mod secrets;
mod trouble;

use std::fs;
use std::process::{Command, Stdio};

use bench::{Lab, Run, dyno, eventually, is_alive, verdict};
use common::{has_lab, has_own_disks, is_root};
use serde_json::Value;

#[test]
fn hosts_have_names_and_users_and_processes_of_their_own() {
    if !has_lab() {
        return;
    }
    let lab = Lab::up(2);
    let again = lab.lab("up").args(["--nodes", "2"]).output().unwrap();
    assert!(again.status.success(), "{again:?}");
    let other = lab.lab("up").args(["--nodes", "3"]).output().unwrap();
    let said = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(other.status.code() == Some(255) && said.contains("2 hosts is up"), "{said}");
    assert_eq!(lab.on("n2", &["hostname"]).stdout, b"n2\n");
    assert_eq!(lab.on("n2", &["sh", "-c", "exit 7"]).status.code(), Some(7));
    assert_eq!(lab.on("n2", &["sh", "-c", "echo $HOME"]).stdout, b"/run/dyno-lab/home\n");
    let processes = lab.on("n1", &["ls", "/proc"]).stdout;
    let processes = String::from_utf8_lossy(&processes).into_owned();
    let own = processes.lines().filter(|name| name.chars().all(|c| c.is_ascii_digit()));
    assert!(own.count() < 6, "{processes}");
    let none = lab.on("n3", &["true"]);
    assert!(String::from_utf8_lossy(&none.stderr).contains("no host `n3`"), "{none:?}");
}

#[test]
fn nothing_is_left_of_a_lab_whose_parent_is_killed() {
    if !has_lab() {
        return;
    }
    let lab = Lab::up(2);
    let parent = lab.parent();
    let pids = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    let keeper: u64 = pids.trim().parse().unwrap();
    let killed = Command::new("kill").args(["-9", &parent.to_string()]).status().unwrap();
    assert!(killed.success());
    eventually("the keeper ends", || !is_alive(keeper));
    assert_eq!(lab.lab("status").output().unwrap().status.code(), Some(254));
    let up = lab.lab("up").args(["--nodes", "1"]).output().unwrap();
    assert!(up.status.success(), "what is left bars no new one: {up:?}");
}

#[test]
fn an_ordinary_user_can_have_a_lab() {
    if !has_lab() || !is_root() {
        return;
    }
    // Nobody's: a program in root's home cannot be run by others.
    let place = tempfile::tempdir_in("/tmp").unwrap();
    let program = place.path().join("dyno");
    fs::copy(env!("CARGO_BIN_EXE_dyno"), &program).unwrap();
    // One whom the system knows: ssh-keygen works for no other.
    let ids = ["--reuid=nobody", "--regid=65534", "--clear-groups"];
    let as_user = |words: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(ids).arg("--").arg(&program).args(words).current_dir("/");
        command.env("TMPDIR", place.path()).env("HOME", place.path());
        command.stdin(Stdio::null()).output().unwrap()
    };
    let owner = Command::new("chown").args(["-R", "nobody:65534"]).arg(place.path()).status();
    assert!(owner.unwrap().success());
    let dir = place.path().join("lab").display().to_string();
    let up = as_user(&["lab", "up", "--nodes", "2", "--dir", &dir]);
    if !up.status.success() && String::from_utf8_lossy(&up.stderr).contains("are closed") {
        eprintln!("skipped: {}", String::from_utf8_lossy(&up.stderr));
        return;
    }
    assert!(up.status.success(), "{up:?}");
    let there = as_user(&["lab", "exec", "--dir", &dir, "n2", "--", "hostname"]);
    assert_eq!(String::from_utf8_lossy(&there.stdout), "n2\n", "{there:?}");
    let tables = as_user(&["lab", "exec", "--dir", &dir, "n2", "--", "nft", "list", "tables"]);
    assert!(tables.status.success(), "{tables:?}");
    let hosts = format!("{dir}/hosts.toml");
    let words = ["lab", "exec", "--dir", &dir, "--"];
    let doctor = [program.to_str().unwrap(), "doctor", "--cluster", "ssh", "--hosts", &hosts];
    let looked = as_user(&[&words[..], &doctor[..]].concat());
    let out = format!("{}/out", place.path().display());
    let flags = ["--nodes", "3", "--faults", "partition,kill", "--time", "4s", "--out", &out];
    let ran = as_user(&[&["test", "--cluster", "lab"], &flags[..]].concat());
    let down = as_user(&["lab", "down", "--dir", &dir]);
    let said = String::from_utf8_lossy(&looked.stdout).into_owned();
    assert!(said.contains("n2  partition  yes"), "{looked:?}");
    assert!(down.status.success(), "{down:?}");
    let verdict = verdict(std::path::Path::new(&out));
    assert_eq!(verdict["harness"], "valid", "{ran:?}");
    assert!(verdict["faults"]["partition"]["proven"].as_u64() > Some(0), "{verdict}");
}

#[test]
fn a_host_whose_key_was_swapped_is_refused_and_sent_nothing() {
    if !has_lab() {
        return;
    }
    let lab = Lab::up(2);
    let known = lab.dir.join("known_hosts");
    let text = fs::read_to_string(&known).unwrap();
    let lines: Vec<Vec<_>> = text.lines().map(|line| line.split(' ').collect()).collect();
    // Host 2 is expected to have the key of host 1.
    let swapped = format!(
        "{} {} {}\n{} {} {}\n",
        lines[0][0], lines[0][1], lines[0][2], lines[1][0], lines[0][1], lines[0][2]
    );
    fs::write(&known, swapped).unwrap();
    let out = lab.dir.join("out");
    let flags = ["--nodes", "2", "-n", "2", "-r", "1", "-w", "1", "--faults", "none", "--json"];
    let run = lab.test(&lab.hosts(), &out, &flags).output().unwrap();
    assert_eq!(run.status.code(), Some(255), "{run:?}");
    let reason = verdict(&out)["reasons"]["harness"].to_string();
    assert!(reason.contains("n2: its host key is another"), "{reason}");
    // A lab's hosts have the program from the beginning, and nothing beside it.
    let sent =
        fs::read_dir(lab.dir.join("hosts").join("n2").join("home").join(".dyno")).unwrap().count();
    assert_eq!(sent, 1, "it was sent something");
    let log =
        |host: &str| fs::read_to_string(lab.dir.join("hosts").join(host).join("sshd.log")).unwrap();
    assert!(log("n1").contains("Starting session: command"), "{}", log("n1"));
    for step in ["Accepted", "Starting session", "subsystem request", "publickey"] {
        assert!(!log("n2").contains(step), "{}", log("n2"));
    }
}

#[test]
fn a_short_run_over_ssh_with_faults_is_valid() {
    if !has_lab() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let run = dyno()
        .args(["test", "--cluster", "lab", "--time", "20s", "--seed", "1", "--json"])
        .args(["--faults", "kill,pause,partition,delay,rate,corrupt", "--out"])
        .arg(out.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    let verdict = verdict(out.path());
    // Whether every fault fits into so short a run is up to the seed; that none was lost is not.
    assert_eq!(verdict["property"], "valid", "{said}");
    assert_eq!(verdict["harness"], "valid", "{said}");
    assert!(verdict["faults"]["partition"]["proven"].as_u64() > Some(0), "{said}");
    assert!(verdict["faults"]["delay"]["proven"].as_u64() > Some(0), "{said}");
    assert!(verdict["faults"]["rate"]["proven"].as_u64() > Some(0), "{said}");
    assert!(verdict["faults"]["corrupt"]["proven"].as_u64() > Some(0), "{said}");
}

/// What a run on `kind` shows whose disks are rolled back, by an older copy where `put_back`, and damaged.
fn disks_are_noticed(verdict: &Value, history: &str, put_back: bool) {
    for part in ["property", "harness"] {
        assert_eq!(verdict[part], "valid", "{verdict:#}");
    }
    for fault in ["rollback", "bitflip"] {
        let fault = &verdict["faults"][fault];
        assert!(
            fault["proven"].as_u64() > Some(0) && fault["proven"] == fault["healed"],
            "{verdict:#}"
        );
    }
    assert_eq!(verdict["checks"]["disks"]["judged"], 2, "{verdict:#}");
    assert_eq!(history.contains("its directory is what it was"), put_back, "{history}");
}

fn nemesis(out: &std::path::Path) -> String {
    let history = fs::read_to_string(out.join("latest/history.jsonl")).unwrap();
    let lines: Vec<_> = history.lines().filter(|line| line.contains("nemesis")).collect();
    lines.join("\n")
}

const DISKS: &str = "--nodes 5 -n 4 -r 2 -w 3 --faults rollback,bitflip --time 20s --json";

#[test]
fn a_disk_that_was_put_back_in_a_lab_is_noticed_and_so_are_flipped_bits() {
    if !has_lab() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let mut run = dyno();
    run.args(["test", "--cluster", "lab", "--seed", "1"]).args(DISKS.split(' '));
    let ran = run.arg("--out").arg(out.path()).output().unwrap();
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    disks_are_noticed(&verdict(out.path()), &nemesis(out.path()), true);
}

/// Nothing stands between the store and its disk here: what it says is synced has to be.
#[test]
fn power_is_cut_of_disks_of_their_own_and_nothing_that_was_acknowledged_is_lost() {
    if !has_lab() || !has_own_disks() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let mut run = dyno();
    let flags = "--nodes 4 --own-disks --faults powercut,kill --time 20s --seed 1";
    run.args(["test", "--cluster", "lab"]).args(flags.split(' '));
    let ran = run.arg("--out").arg(out.path()).output().unwrap();
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    let verdict = verdict(out.path());
    let cut = &verdict["faults"]["powercut"];
    assert!(cut["proven"].as_u64() > Some(1) && cut["proven"] == cut["healed"], "{verdict:#}");
    assert_eq!(verdict["setup"]["cluster"]["own_disks"], true);
    let lost = "its power was cut: what was written beside it and not synced is gone";
    assert!(nemesis(out.path()).contains(lost));
}

#[test]
fn a_journal_that_was_cut_over_ssh_is_noticed_and_so_are_flipped_bits() {
    if !has_lab() {
        return;
    }
    let lab = Lab::up(5);
    let out = lab.dir.join("out");
    let flags: Vec<_> = DISKS.split(' ').chain(["--seed", "2"]).collect();
    let ran = lab.test(&lab.hosts(), &out, &flags).output().unwrap();
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    disks_are_noticed(&verdict(&out), &nemesis(&out), false);
}

#[test]
fn hosts_heal_and_stop_by_themselves_when_the_driver_is_killed() {
    if !has_lab() {
        return;
    }
    let lab = Lab::up(3);
    let flags = ["--nodes", "3", "--faults", "partition", "--time", "5m", "--lease", "3s"];
    let mut driver = Run::start(&lab, &lab.hosts(), "out", &flags);
    driver.working();
    let cut = || {
        let tables = lab.on("n1", &["nft", "list", "tables"]).stdout;
        String::from_utf8_lossy(&tables).contains("dyno_cuts")
    };
    eventually("a fault is in force", cut);
    driver.kill();
    eventually("every fault is healed", || !cut());
    let agents = |host| {
        let processes = lab.on(host, &["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"]);
        String::from_utf8_lossy(&processes.stdout).contains("node serve")
    };
    eventually("no node runs on", || !["n1", "n2", "n3"].into_iter().any(agents));
    let history = fs::read_to_string(driver.out.join("latest/history.jsonl")).unwrap();
    assert!(history.lines().count() > 10, "the half history is there");
    let flags = ["--nodes", "3", "--faults", "none", "--time", "2s"];
    let mut next = Run::start(&lab, &lab.hosts(), "next", &flags);
    let ended = next.finish();
    assert_eq!(ended, (Some(0), String::new()), "the next run starts clean: {}", next.said());
}
