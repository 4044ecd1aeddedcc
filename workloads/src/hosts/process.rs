//! Node processes that cannot outlive the driver.
//!
//! Two ways, for one is not enough: a node started with `--exit-with-stdin` asks the kernel to be
//! killed when the thread that spawned it ends, which also ends one that is stopped; and it ends
//! when its standard input closes, which also works where there is no such signal. As the signal is
//! bound to a thread, one thread spawns all nodes and lives as long as the driver does.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, mpsc};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

/// What the system says of a node's process: not what the node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Life {
    /// It runs, under this process id.
    Runs(u32),
    /// It is there and stands still.
    Stopped(u32),
    /// There is no process.
    Gone,
}

/// What a node prints when it serves.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Ready {
    pub(crate) address: SocketAddr,
}

#[derive(Deserialize)]
struct ReadyLine {
    ready: Ready,
}

/// A node's process, from its start until it is gone and reaped.
pub(crate) struct Process {
    pid: u32,
    child: Arc<Mutex<Child>>,
    /// Open for as long as the process may live.
    _stdin: ChildStdin,
    ended: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    /// Spawns `command` with its log in `log`; returns when it has said that it serves.
    pub(crate) async fn start(
        command: Command,
        log: File,
        patience: Duration,
    ) -> Result<(Self, Ready), String> {
        let mut child = spawn(command, log).await.map_err(|error| format!("spawn: {error}"))?;
        let stdin = child.stdin.take().expect("its standard input is a pipe");
        let stdout = child.stdout.take().expect("its standard output is a pipe");
        let pid = child.id();
        let child = Arc::new(Mutex::new(child));
        let (ready, is_ready) = oneshot::channel();
        let (ended, has_ended) = watch::channel(None);
        let watched = child.clone();
        std::thread::spawn(move || follow(stdout, &watched, ready, &ended));
        let process = Self { pid, child, _stdin: stdin, ended: has_ended };
        match timeout(patience, is_ready).await {
            Ok(Ok(ready)) => Ok((process, ready)),
            // The follower hung up: the process has closed its output without the line.
            Ok(Err(_)) => Err(match process.ended().await {
                Some(status) => format!("it ended with {status}"),
                None => "it ended".to_owned(),
            }),
            Err(_) => {
                process.kill().await;
                Err(format!("it did not say that it serves within {patience:?}"))
            }
        }
    }

    /// What the system says of it.
    pub(crate) fn life(&self) -> Life {
        if self.ended.borrow().is_some() {
            return Life::Gone;
        }
        match state(self.pid) {
            Some('T' | 't') => Life::Stopped(self.pid),
            Some('Z' | 'X') | None => Life::Gone,
            Some(_) => Life::Runs(self.pid),
        }
    }

    /// Ends it at once; returns when it is gone.
    pub(crate) async fn kill(&self) {
        let _ = self.signal(Signal::KILL);
        self.ended().await;
    }

    pub(crate) fn stop(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    pub(crate) fn proceed(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    /// When it is gone: what it ended with.
    pub(crate) async fn ended(&self) -> Option<ExitStatus> {
        let mut ended = self.ended.clone();
        ended.wait_for(Option::is_some).await.ok().and_then(|status| *status)
    }

    /// A receiver that turns to the status when the process is gone.
    pub(crate) fn watch(&self) -> watch::Receiver<Option<ExitStatus>> {
        self.ended.clone()
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        // Under the lock nobody reaps it, so the id cannot have become another process's.
        let mut child = lock(&self.child);
        if child.try_wait()?.is_some() {
            return Err(io::Error::other("the process is gone"));
        }
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        Ok(kill_process(pid.expect("a child's id is positive"), signal)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.signal(Signal::KILL);
    }
}

/// The state letter of a process, from the kernel; `R` where the kernel does not tell but has it.
fn state(pid: u32) -> Option<char> {
    if !cfg!(target_os = "linux") {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
        return rustix::process::test_kill_process(pid).is_ok().then_some('R');
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it stands in brackets and may itself hold any character.
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Reads what the process prints until it closes its output, then reaps it.
fn follow(
    stdout: ChildStdout,
    child: &Mutex<Child>,
    ready: oneshot::Sender<Ready>,
    ended: &watch::Sender<Option<ExitStatus>>,
) {
    let mut lines = BufReader::new(stdout).lines();
    let first = lines.next().and_then(Result::ok);
    let parsed = first.and_then(|line| serde_json::from_str::<ReadyLine>(&line).ok());
    let is_ready = parsed.is_some();
    if let Some(line) = parsed {
        // Nobody listens any more if the start was given up.
        let _ = ready.send(line.ready);
    } else {
        drop(ready);
    }
    // A line that is not what a node says cannot be waited on: end it instead.
    if !is_ready {
        let _ = lock(child).kill();
    }
    for line in lines {
        if line.is_err() {
            break;
        }
    }
    let status = loop {
        // It may close its output before it ends; a lock held for that long would bar signals.
        match lock(child).try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => break Some(status),
            Err(_) => break None,
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    ended.send_replace(status.or_else(|| Some(ExitStatus::default())));
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().expect("no one panics with the lock held")
}

type Order = (Command, oneshot::Sender<io::Result<Child>>);

/// Has the spawning thread start a process.
async fn spawn(mut command: Command, log: File) -> io::Result<Child> {
    static SPAWNER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, ordered) = mpsc::channel::<Order>();
        // Never joined: a node dies with the thread that spawned it.
        std::thread::spawn(move || {
            for (mut command, reply) in ordered {
                let _ = reply.send(command.spawn());
            }
        });
        orders
    });
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
    // A group of its own: what is typed at the driver's terminal is meant for the driver alone.
    command.process_group(0);
    let (reply, replied) = oneshot::channel();
    let gone = || io::Error::other("the spawning thread is gone");
    spawner.send((command, reply)).map_err(|_| gone())?;
    replied.await.map_err(|_| gone())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    fn log() -> File {
        tempfile::tempfile().unwrap()
    }

    const SERVES: &str = r#"echo '{"ready":{"address":"127.0.0.1:1"}}'; exec sleep 60"#;

    #[tokio::test]
    async fn a_process_is_seen_to_run_to_stand_still_and_to_be_gone() {
        let (process, ready) = Process::start(shell(SERVES), log(), SOON).await.unwrap();
        assert_eq!(ready.address.port(), 1);
        assert!(matches!(process.life(), Life::Runs(_)));
        process.stop().unwrap();
        let stopped = timeout(SOON, async {
            while !matches!(process.life(), Life::Stopped(_)) {
                tokio::task::yield_now().await;
            }
        });
        stopped.await.unwrap();
        process.kill().await;
        assert_eq!(process.life(), Life::Gone);
        assert!(process.proceed().is_err(), "a dead process gets no signal");
    }

    #[tokio::test]
    async fn a_process_that_ends_before_it_serves_is_an_error_that_says_how() {
        let error = Process::start(shell("exit 3"), log(), SOON).await.err().unwrap();
        assert!(error.contains("exit status: 3"), "{error}");
    }

    #[tokio::test]
    async fn a_process_that_never_serves_is_ended() {
        let patience = Duration::from_millis(50);
        let error = Process::start(shell("exec sleep 60"), log(), patience).await.err().unwrap();
        assert!(error.contains("did not say"), "{error}");
    }
}
