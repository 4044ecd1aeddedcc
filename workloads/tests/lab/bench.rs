//! A lab for a test, and runs on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Long enough for any machine; nothing waits for it when all is well.
const SOON: Duration = Duration::from_secs(60);

pub(crate) fn dyno() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dyno"));
    command.stdin(Stdio::null());
    command
}

/// A lab that is ended with the test.
pub(crate) struct Lab {
    pub(crate) dir: PathBuf,
    _place: tempfile::TempDir,
}

impl Lab {
    pub(crate) fn up(nodes: u16) -> Self {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("lab");
        let lab = Self { dir, _place: place };
        let up = lab.lab("up").args(["--nodes", &nodes.to_string()]).output().unwrap();
        assert!(up.status.success(), "{up:?}");
        lab
    }

    pub(crate) fn lab(&self, what: &str) -> Command {
        let mut command = dyno();
        command.args(["lab", what, "--dir"]).arg(&self.dir);
        command
    }

    pub(crate) fn state(&self) -> Value {
        serde_json::from_slice(&fs::read(self.dir.join("lab.json")).unwrap()).unwrap()
    }

    pub(crate) fn parent(&self) -> u64 {
        self.state()["parent"]["pid"].as_u64().unwrap()
    }

    /// A run on the lab's hosts, from where the driver must stand.
    pub(crate) fn test(&self, hosts: &Path, out: &Path, flags: &[&str]) -> Command {
        let mut command = self.lab("exec");
        command.args(["--", env!("CARGO_BIN_EXE_dyno"), "test", "--cluster", "ssh", "--hosts"]);
        command.arg(hosts).arg("--out").arg(out).args(flags);
        command
    }

    pub(crate) fn hosts(&self) -> PathBuf {
        self.dir.join("hosts.toml")
    }

    /// Who logs in there.
    pub(crate) fn user(&self) -> String {
        let hosts: toml::Table =
            toml::from_str(&fs::read_to_string(self.hosts()).unwrap()).unwrap();
        hosts["user"].as_str().unwrap().to_owned()
    }

    pub(crate) fn on(&self, host: &str, words: &[&str]) -> Output {
        self.lab("exec").arg(host).arg("--").args(words).output().unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.lab("down").output();
    }
}

/// A run that is under way; ended with the test.
pub(crate) struct Run {
    child: Child,
    pub(crate) out: PathBuf,
}

impl Run {
    pub(crate) fn start(lab: &Lab, hosts: &Path, name: &str, flags: &[&str]) -> Self {
        let out = lab.dir.join(name);
        let mut command = lab.test(hosts, &out, flags);
        let said = fs::File::create(lab.dir.join(format!("{name}.err"))).unwrap();
        let child = command.stdout(Stdio::null()).stderr(said).spawn().unwrap();
        Self { child, out }
    }

    /// Returns when clients are at it.
    pub(crate) fn working(&mut self) {
        let history = self.out.join("latest/history.jsonl");
        eventually("clients work", || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", self.said());
            fs::read_to_string(&history).is_ok_and(|text| text.lines().count() > 60)
        });
    }

    /// What it said on standard error, and all its reasons.
    pub(crate) fn said(&self) -> String {
        let said = fs::read_to_string(self.out.with_extension("err")).unwrap();
        let ended = self.out.join("latest/verdict.json").exists();
        let reasons = if ended { verdict(&self.out)["reasons"].clone() } else { Value::Null };
        format!("{said}\n{reasons:#}")
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Its exit status, and why the harness is not valid.
    pub(crate) fn finish(&mut self) -> (Option<i32>, String) {
        let mut status = None;
        let ends = soon(|| {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(ends, "the run does not end: {}", self.said());
        let reasons = verdict(&self.out)["reasons"]["harness"].clone();
        let reasons: Vec<_> = reasons.as_array().unwrap().iter().map(Value::to_string).collect();
        (status.unwrap().code(), reasons.join("\n"))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Gone already, mostly.
        let _ = (self.child.kill(), self.child.wait());
    }
}

pub(crate) fn eventually(what: &str, done: impl FnMut() -> bool) {
    assert!(soon(done), "not in time: {what}");
}

fn soon(mut done: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while !done() {
        if started.elapsed() >= SOON {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

pub(crate) fn is_alive(pid: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

pub(crate) fn verdict(out: &Path) -> Value {
    let path = out.join("latest/verdict.json");
    let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap()
}
