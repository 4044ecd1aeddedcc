//! A suite as an array of a real Slurm, of which two tasks are killed and queued again: the same night as
//! in one piece.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const TASKS: usize = 8;
/// The tasks that are killed, by their numbers in the array.
const KILLED: [usize; 2] = [1, 2];
const PATIENCE: Duration = Duration::from_secs(600);

/// Sixteen units and their control; each takes some seconds.
const SUITE: &str = r#"
[[test]]
name = "cut"
clusters = ["sim"]
seeds = "0..16"
time = "12s"
faults = [["partition", "kill"]]
"#;

/// A Slurm of one machine: all of it is below a folder, and ends with this.
struct Slurm {
    folder: tempfile::TempDir,
    daemons: Vec<Child>,
}

impl Slurm {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["munge", "state", "spool"] {
            fs::create_dir(path(name)).unwrap();
            fs::set_permissions(path(name), fs::Permissions::from_mode(0o700)).unwrap();
        }
        fs::write(path("munge/key"), unguessable()).unwrap();
        fs::set_permissions(path("munge/key"), fs::Permissions::from_mode(0o400)).unwrap();
        fs::write(path("slurm.conf"), configuration(folder.path())).unwrap();
        let mut slurm = Self { folder, daemons: Vec::new() };
        let at = |name: &str| slurm.folder.path().join("munge").join(name).display().to_string();
        let munged = [
            "--foreground".to_owned(),
            "--force".to_owned(),
            format!("--socket={}", at("socket")),
            format!("--key-file={}", at("key")),
            format!("--pid-file={}", at("pid")),
            format!("--log-file={}", at("log")),
            format!("--seed-file={}", at("seed")),
        ];
        slurm.daemon("munged", &munged.iter().map(String::as_str).collect::<Vec<_>>());
        slurm.until("munged listens", |slurm| slurm.folder.path().join("munge/socket").exists());
        slurm.daemon("slurmctld", &["-D", "-c"]);
        slurm.daemon("slurmd", &["-D", "-N", "one"]);
        slurm.until("the node is idle", |slurm| slurm.says("sinfo", "-h -o %t") == "idle");
        slurm
    }

    fn daemon(&mut self, name: &str, arguments: &[&str]) {
        let log = fs::File::create(self.folder.path().join(format!("{name}.out"))).unwrap();
        let mut command = self.command(name);
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.daemons.push(command.spawn().unwrap());
    }

    fn command(&self, name: &str) -> Command {
        let sbin = Path::new("/usr/sbin").join(name);
        let mut command = Command::new(if sbin.exists() { sbin } else { name.into() });
        command.env("SLURM_CONF", self.folder.path().join("slurm.conf"));
        command.current_dir(self.folder.path());
        command
    }

    fn says(&self, name: &str, line: &str) -> String {
        let ran = self.command(name).args(line.split_whitespace()).output().unwrap();
        String::from_utf8_lossy(&ran.stdout).trim().to_owned()
    }

    fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !is_so(self) {
            assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}; {}", self.logs());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn logs(&self) -> String {
        let said = ["munged.out", "slurmctld.out", "slurmd.out"].map(|name| {
            let text = fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
            let last: Vec<_> = text.lines().rev().take(8).collect();
            format!("{name}: {}", last.join(" | "))
        });
        said.join("\n")
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().rev() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn unguessable() -> Vec<u8> {
    (0..64).flat_map(|_| rand::random::<u128>().to_be_bytes()).collect()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn configuration(folder: &Path) -> String {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    let (folder, ports) = (folder.display(), [free_port(), free_port()]);
    format!(
        "ClusterName=bench\nSlurmctldHost={host}(127.0.0.1)\nSlurmUser=root\nSlurmdUser=root\n\
         AuthType=auth/munge\nAuthInfo=socket={folder}/munge/socket\nMpiDefault=none\n\
         ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\n\
         JobAcctGatherType=jobacct_gather/none\nAccountingStorageType=accounting_storage/none\n\
         SelectType=select/cons_tres\nSelectTypeParameters=CR_Core\nReturnToService=2\n\
         SlurmctldPort={}\nSlurmdPort={}\nSlurmctldPidFile={folder}/slurmctld.pid\n\
         SlurmdPidFile={folder}/slurmd.pid\nStateSaveLocation={folder}/state\n\
         SlurmdSpoolDir={folder}/spool\nNodeName=one NodeHostname={host} NodeAddr=127.0.0.1 CPUs=2\n\
         PartitionName=all Nodes=one Default=YES MaxTime=INFINITE State=UP\n",
        ports[0], ports[1]
    )
}

/// What became of each unit that is sealed in a folder, canaries apart: they are a shard's.
fn sealed(out: &Path) -> BTreeMap<String, String> {
    let outcome = |folder: PathBuf| -> Value {
        serde_json::from_slice(&fs::read(folder.join("outcome.json")).unwrap()).unwrap()
    };
    let entries = fs::read_dir(out.join("units")).into_iter().flatten();
    let all = entries.map(|entry| outcome(entry.unwrap().path()));
    let own = all.filter(|outcome| outcome["unit"]["role"] != "canary");
    own.map(|outcome| (outcome["unit"]["id"].to_string(), outcome["found"].to_string())).collect()
}

fn dyno(folder: &Path, line: &str) -> (Option<i32>, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dyno"));
    command.args(line.split_whitespace()).current_dir(folder).stdin(Stdio::null());
    let told = std::env::vars().map(|(name, _)| name).filter(|name| {
        ["SLURM_", "DYNO_", "CI_", "CIRCLE_", "GITHUB_"].iter().any(|of| name.starts_with(of))
    });
    for name in told {
        command.env_remove(name);
    }
    let ran = command.output().unwrap();
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    let last = text.lines().last().unwrap_or_default();
    (ran.status.code(), serde_json::from_str(last).unwrap_or_default())
}

#[test]
fn an_array_of_which_two_tasks_are_killed_is_the_same_night_as_the_whole() {
    if !common::has_slurm() {
        return;
    }
    let slurm = Slurm::start();
    let folder = slurm.folder.path();
    fs::write(folder.join("small.toml"), SUITE).unwrap();
    let program = env!("CARGO_BIN_EXE_dyno");
    let job =
        format!("#!/bin/sh\nexec {program} suite small.toml --out shards --jobs 1 --exit shard\n");
    fs::write(folder.join("job.sh"), job).unwrap();
    let line = format!(
        "--parsable --array=1-{TASKS} --requeue --open-mode=append --output=task-%a.txt job.sh"
    );
    let id = slurm.says("sbatch", &line);
    assert!(id.parse::<u32>().is_ok(), "{id}; {}", slurm.logs());
    let said = |task: usize| {
        fs::read_to_string(folder.join(format!("task-{task}.txt"))).unwrap_or_default()
    };
    // In the middle: its canary is sealed, and not all of it.
    for task in KILLED {
        slurm.until("a task is at work", |_| said(task).contains("[1/"));
        slurm.says("scontrol", &format!("requeue {id}_{task}"));
    }
    for task in KILLED {
        // Slurm would wait for two minutes first.
        let waits = |slurm: &Slurm| {
            slurm.says("scontrol", &format!("show job {id}_{task}")).contains("JobState=PENDING")
        };
        slurm.until("a killed task is queued again", waits);
        slurm.says("scontrol", &format!("update JobId={id}_{task} StartTime=now"));
    }
    slurm.until("all tasks are done", |slurm| slurm.says("squeue", "-h").is_empty());
    for task in 1..=TASKS {
        let (text, starts) = (said(task), 1 + usize::from(KILLED.contains(&task)));
        let shard = format!("shard {task}/{TASKS} (SLURM_ARRAY_TASK_ID={task}");
        assert_eq!(text.matches(&shard).count(), starts, "task {task}: {text}");
    }
    let (status, merged) = dyno(folder, "suite merge shards --json");
    assert_eq!(status, Some(0), "{:#}", merged["reasons"]);
    let (status, whole) = dyno(folder, "suite small.toml --out whole --json");
    assert_eq!(
        (status, &whole["verdict"]),
        (Some(0), &merged["verdict"]),
        "{:#}",
        whole["reasons"]
    );
    let (shards, whole) = (sealed(&folder.join("shards")), sealed(&folder.join("whole")));
    assert_eq!((shards.len(), &shards), (17, &whole));
}
