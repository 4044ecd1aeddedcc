//! What runs at the far end of an SSH channel: it finds the host's agent, or starts it, and passes bytes.
//!
//! The agent itself is a process apart, so that a channel may come and go while the node runs on
//! and faults stay in force for as long as their lease allows.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::hosts::remote::GREETING;

/// Where agents have what is theirs, from the user's home on: an SSH command starts there.
pub(super) const FOLDER: &str = ".dyno";
/// The agent's log, there.
pub(super) const LOG: &str = "agent.log";
/// A longer log is begun anew by the next agent.
const LONGEST_LOG: u64 = 16 << 20;
/// How long an agent may take to listen: it first cleans up after a crashed one.
const START: Duration = Duration::from_secs(10);
/// Between two looks whether it listens.
const LOOK: Duration = Duration::from_millis(5);

/// Passes bytes until either side has had enough.
///
/// # Errors
/// Why there is no agent to speak to: one line, that goes to the driver.
pub(super) fn run() -> io::Result<()> {
    let folder = Path::new(FOLDER);
    DirBuilder::new().mode(0o700).recursive(true).create(folder)?;
    let socket = socket(folder)?;
    let agent = match UnixStream::connect(&socket) {
        Ok(agent) => agent,
        Err(_) => start(folder, &socket)?,
    };
    let mut to_driver = io::stdout();
    to_driver.write_all(GREETING)?;
    to_driver.flush()?;
    let mut from_agent = agent.try_clone()?;
    thread::spawn(move || {
        // The driver is gone when its bytes end, whatever the reason.
        let _ = pass(&mut io::stdin().lock(), &mut &agent);
        let _ = agent.shutdown(Shutdown::Both);
    });
    pass(&mut from_agent, &mut to_driver)
}

/// The socket of an agent that is the very same program: another one is not spoken to, and holds the
/// host until its lease ends.
pub(super) fn socket(folder: &Path) -> io::Result<PathBuf> {
    let own = fs::metadata("/proc/self/exe")?;
    let build = format!("agent-{:x}-{:x}-{:x}.sock", own.size(), own.mtime(), own.mtime_nsec());
    // Relative, as the system takes no more than 108 bytes.
    Ok(folder.join(build))
}

fn start(folder: &Path, socket: &Path) -> io::Result<UnixStream> {
    let log = folder.join(LOG);
    if fs::metadata(&log).is_ok_and(|meta| meta.len() > LONGEST_LOG) {
        fs::remove_file(&log)?;
    }
    let log_file = OpenOptions::new().create(true).append(true).open(&log)?;
    let mut agent = Command::new(std::env::current_exe()?)
        .args(["agent", "serve"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log_file)
        .spawn()?;
    let deadline = Instant::now() + START;
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => {}
        }
        if let Some(reason) = ended(&mut agent, &log)? {
            return Err(io::Error::other(reason));
        }
        thread::sleep(LOOK);
    }
}

fn ended(agent: &mut Child, log: &Path) -> io::Result<Option<String>> {
    let Some(status) = agent.try_wait()? else { return Ok(None) };
    let mut said = String::new();
    File::open(log)?.read_to_string(&mut said)?;
    let last = said.lines().last().unwrap_or_default();
    Ok(Some(format!("the agent ended ({status}): {last}")))
}

fn pass(from: &mut dyn Read, to: &mut dyn Write) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..count])?;
        to.flush()?;
    }
}
