//! The parent of a lab, as seen from the process that starts it.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::keeper::{Spec, Up};
use super::lines::Lines;
use super::state::{self, Process, State};
use super::sweep::{Maker, sweep};
use super::{LabError, MOST_HOSTS, Wanted, keys, make_dir, program, tools};

/// Far more than the slowest machine needs for the largest lab.
const UP: Duration = Duration::from_secs(30);

/// With whom a lab ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// With whoever ends it.
    Own,
    /// With this process.
    Ours,
}

/// The process whose end removes the lab.
#[derive(Debug)]
pub(super) struct Parent {
    child: Option<Child>,
    process: Process,
    privilege: tools::Privilege,
    log: PathBuf,
    begun: Instant,
}

impl Parent {
    pub(super) fn start(wanted: &Wanted, life: Life) -> Result<Self, LabError> {
        if !(1..=MOST_HOSTS).contains(&wanted.hosts) {
            let hosts = wanted.hosts;
            return Err(LabError(format!("{hosts} hosts: a lab has 1 to {MOST_HOSTS}")));
        }
        let begun = Instant::now();
        let privilege = tools::privilege()?;
        // What cannot be swept bars no new lab.
        for swept in sweep().unwrap_or_default() {
            tracing::info!(dir = %swept.display(), "left by a lab whose driver was killed: swept");
        }
        make_dir(&wanted.dir)?;
        let maker = Maker::this().map_err(|error| LabError(format!("own process: {error}")))?;
        state::mark(&wanted.dir, &maker)?;
        let dir = wanted.dir.canonicalize().map_err(|error| LabError::file(&wanted.dir, error))?;
        let log = dir.join("lab.log");
        let log_file = File::create(&log).map_err(|error| LabError::file(&log, error))?;
        let dyno =
            std::env::current_exe().map_err(|error| LabError(format!("own path: {error}")))?;
        let spec = Spec { dir: dir.clone(), hosts: wanted.hosts, attached: life == Life::Ours };
        keys::make(&spec)?;
        program::place(&spec)?;
        let mut command = tools::unshare(privilege);
        command.arg(dyno).args(["lab", "keeper"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log_file);
        // Not to be hit by a Ctrl-C meant for the terminal's job: a run that is asked to end still needs its
        // hosts, and lets go of them by itself.
        command.process_group(0);
        let mut child = command.spawn().map_err(|error| LabError(format!("unshare: {error}")))?;
        let started = Process::of(child.id()).and_then(|process| {
            let stdin = child.stdin.as_mut().expect("it is piped");
            writeln!(stdin, "{}", serde_json::to_string(&spec).expect("plain data"))?;
            Ok(process)
        });
        let process = match started {
            Ok(process) => process,
            Err(error) => {
                // It may be gone already: then there is nothing to end.
                let _ = (child.kill(), child.wait());
                return Err(LabError(format!("its parent did not start: {error}")));
            }
        };
        Ok(Self { child: Some(child), process, privilege, log, begun })
    }

    /// Returns when every host answers.
    pub(super) fn wait_ready(&mut self) -> Result<State, LabError> {
        let stdout = self.child.as_mut().and_then(|child| child.stdout.take());
        let up = Lines::new(stdout.expect("it is piped and read once")).next(UP);
        match up.and_then(|line| serde_json::from_str::<Up>(&line).map_err(|e| e.to_string())) {
            Ok(Up::Ready(hosts)) => Ok(State {
                schema: 1,
                privilege: self.privilege,
                parent: self.process.clone(),
                hosts,
                up_ms: self.begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX),
            }),
            Ok(Up::Failed(error)) => Err(self.failed(&error)),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn failed(&mut self, error: &str) -> LabError {
        self.end();
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let last = log.lines().rev().find(|line| !line.trim().is_empty());
        let last = last.map(|line| format!(" ({line})")).unwrap_or_default();
        LabError(format!("did not come up: {error}{last}; logs: {}", self.log.display()))
    }

    /// Lets the lab live on without us.
    pub(super) fn leave(mut self) {
        drop(self.child.take());
    }

    /// Collects the dead parent.
    pub(super) fn reap(&mut self) {
        if let Some(child) = &mut self.child {
            // Somebody else may have collected it: it is gone all the same.
            let _ = child.wait();
        }
        self.child = None;
    }

    fn end(&mut self) {
        if self.child.is_some() {
            // Gone already is as good.
            let _ = self.process.kill();
            self.reap();
        }
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        self.end();
    }
}
