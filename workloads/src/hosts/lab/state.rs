//! What a lab's folder says: which process is its parent, and its hosts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::sweep::Maker;
use super::{LabError, Privilege};

/// Long enough for a kernel to end some hundred processes.
const END: Duration = Duration::from_secs(10);
const STATE: &str = "lab.json";
/// Written first of all: a folder with it may be removed.
const MARK: &str = "dyno-lab";

/// A lab that was brought up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// 1.
    pub schema: u32,
    /// How it came by its namespaces.
    pub privilege: Privilege,
    /// The process whose end removes everything.
    pub parent: Process,
    /// In the order of their names.
    pub hosts: Vec<HostState>,
    /// How long it took until all of them answered, in milliseconds.
    #[serde(default)]
    pub up_ms: u64,
}

/// A host of a lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostState {
    /// n1, n2 ...: also its hostname.
    pub name: String,
    /// Where its sshd listens.
    pub management: String,
    /// Where its node listens.
    pub data: String,
    /// The process that holds its namespaces, as the keeper counts processes.
    pub pid: u32,
}

/// A process, told apart from a later one of the same id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// When it started, in the kernel's ticks since boot.
    pub started: u64,
}

impl State {
    pub(super) fn read(dir: &Path) -> Result<Option<Self>, LabError> {
        let path = dir.join(STATE);
        match fs::read_to_string(&path) {
            Ok(text) => {
                serde_json::from_str(&text).map(Some).map_err(|error| LabError::file(&path, error))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LabError::file(&path, error)),
        }
    }

    pub(super) fn write(&self, dir: &Path) -> Result<(), LabError> {
        let path = dir.join(STATE);
        let text = serde_json::to_string_pretty(self).expect("a state is plain data");
        fs::write(&path, text + "\n").map_err(|error| LabError::file(&path, error))
    }
}

pub(super) fn hosts_file(dir: &Path) -> PathBuf {
    dir.join("hosts.toml")
}

pub(super) fn mark(dir: &Path, maker: &Maker) -> Result<(), LabError> {
    let path = dir.join(MARK);
    let text = serde_json::to_string(maker).expect("a maker is plain data");
    fs::write(&path, text + "\n").map_err(|error| LabError::file(&path, error))
}

/// Who made the lab's folder; none for a folder that is no lab's.
pub(super) fn maker(dir: &Path) -> Option<Maker> {
    let text = fs::read_to_string(dir.join(MARK)).ok()?;
    serde_json::from_str(&text).ok()
}

pub(super) fn marked(dir: &Path) -> bool {
    dir.join(MARK).is_file()
}

impl Process {
    /// The process that has this id now.
    pub(super) fn of(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name, in brackets, may hold anything; the start is the 20th field after it.
        let started = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19));
        let started = started.and_then(|ticks| ticks.parse().ok());
        let started =
            started.ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat: {stat}")))?;
        Ok(Self { pid, started })
    }

    /// Does it still run?
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let zombie = || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
            stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
        };
        Self::of(self.pid).is_ok_and(|now| now == *self) && !zombie()
    }

    /// Ends it at once; returns when it is gone.
    pub(super) fn kill(&self) -> io::Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("no process id"))?;
        // The handle first: what is checked through it afterwards cannot be another process.
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(()) };
        if !self.is_alive() {
            return Ok(());
        }
        pidfd_send_signal(&handle, Signal::KILL)?;
        let end = Timespec::try_from(END).expect("seconds");
        match poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&end))? {
            0 => Err(io::Error::other(format!("process {} does not end", self.pid))),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_not_taken_for_a_later_one_of_the_same_id() {
        let me = Process::of(std::process::id()).unwrap();
        assert!(me.is_alive());
        let earlier = Process { started: me.started - 1, ..me };
        assert!(!earlier.is_alive());
        earlier.kill().expect("nothing to end, and we are still here");
    }

    #[test]
    fn a_process_is_gone_when_kill_returns() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let process = Process::of(child.id()).unwrap();
        process.kill().unwrap();
        assert!(!process.is_alive());
        child.wait().unwrap();
        process.kill().expect("gone already");
    }
}
