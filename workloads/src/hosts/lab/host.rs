//! The first process of a lab's host: furnishes it, starts its sshd, and collects its dead.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io::{BufRead, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::CWD;
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags};
use rustix::process::{WaitOptions, getuid, wait};
use serde::{Deserialize, Serialize};

use super::keeper::ip;
use super::keys::{data, management};
use super::tools;

/// Where a host finds what is its own: on a /run that is its own too.
const PLACE: &str = "/run/dyno-lab";
/// The home of a host's only user.
pub(super) const HOME: &str = "/run/dyno-lab/home";
const PORT: u16 = 22;
/// Far more than an sshd needs to listen.
const LISTENS: Duration = Duration::from_secs(15);
/// Between two looks whether an sshd listens yet: it tells nobody.
const LOOK: Duration = Duration::from_millis(2);
/// Between two looks for the dead of a host on which nothing runs.
const IDLE: Duration = Duration::from_millis(200);

/// What a host is told, on its stdin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct HostSpec {
    /// From 1.
    pub(super) index: u16,
    /// How many there are.
    pub(super) hosts: u16,
    /// Its folder in the lab's.
    pub(super) dir: PathBuf,
}

/// What a host says, on its stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It has its namespaces.
    Up,
    /// Its sshd answers.
    Ready,
}

impl Said {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Ready => "ready",
        }
    }

    fn say(self) -> Result<(), String> {
        let mut stdout = std::io::stdout().lock();
        let said = writeln!(stdout, "{}", self.as_str()).and_then(|()| stdout.flush());
        said.map_err(|error| format!("the keeper is gone: {error}"))
    }
}

/// A host's name.
pub(super) fn name(index: u16) -> String {
    format!("n{index}")
}

/// The name of a host's only user.
pub(super) fn user() -> &'static str {
    if getuid().is_root() { "root" } else { "dyno" }
}

pub(super) fn host_key(dir: &Path) -> PathBuf {
    dir.join("host_key")
}

/// The life of a host.
///
/// # Errors
/// What was in the way; the keeper hears of it by the host's end and its log.
pub(super) fn run() -> Result<(), String> {
    let mut stdin = std::io::stdin().lock();
    let mut line = String::new();
    stdin.read_line(&mut line).map_err(|error| error.to_string())?;
    let spec: HostSpec =
        serde_json::from_str(&line).map_err(|error| format!("told nothing: {error}"))?;
    furnish(&spec)?;
    Said::Up.say()?;
    line.clear();
    stdin.read_line(&mut line).map_err(|error| error.to_string())?;
    if line.trim() != "go" {
        return Err("the keeper is gone".to_owned());
    }
    connect(spec.index)?;
    let sshd = start_sshd()?;
    await_sshd(management(spec.index), sshd)?;
    Said::Ready.say()?;
    collect_the_dead()
}

/// Gives the host its name, its own /run, its own users and its place there.
fn furnish(spec: &HostSpec) -> Result<(), String> {
    rustix::system::sethostname(name(spec.index).as_bytes())
        .map_err(|error| format!("hostname: {error}"))?;
    write_files(spec).map_err(|error| format!("{}: {error}", spec.dir.display()))?;
    // Taken hold of first: the new /run may hide where it is.
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let place = rustix::mount::open_tree(CWD, &spec.dir, flags)
        .map_err(|error| format!("{}: {error}", spec.dir.display()))?;
    let safe = MountFlags::NOSUID | MountFlags::NODEV;
    let mode: &CStr = c"mode=755";
    rustix::mount::mount("tmpfs", "/run", "tmpfs", safe, mode)
        .map_err(|error| format!("/run: {error}"))?;
    for folder in [PLACE, "/run/sshd"] {
        fs::create_dir(folder).map_err(|error| format!("{folder}: {error}"))?;
    }
    let from_here = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(place.as_fd(), "", CWD, PLACE, from_here)
        .map_err(|error| format!("{PLACE}: {error}"))?;
    for file in ["passwd", "shadow", "hosts"] {
        cover(&format!("{PLACE}/{file}"), &format!("/etc/{file}"))?;
    }
    Ok(())
}

/// Lets the host, and only the host, see one file in place of another.
fn cover(own: &str, machine: &str) -> Result<(), String> {
    match rustix::mount::mount_bind(own, machine) {
        // A machine without it needs no cover.
        Err(rustix::io::Errno::NOENT) => Ok(()),
        done => done.map_err(|error| format!("{machine}: {error}")),
    }
}

/// The machine's users are not the host's: whoever runs the lab can log in there, with any shell or
/// none on the machine, locked or not, and has a home of its own.
fn write_files(spec: &HostSpec) -> std::io::Result<()> {
    let (user, uid) = (user(), getuid().as_raw());
    let gid = rustix::process::getgid().as_raw();
    let passwd = format!(
        "{user}:x:{uid}:{gid}::{HOME}:/bin/sh\n\
         sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n\
         nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n"
    );
    let hosts = (1..=spec.hosts).map(|index| format!("{} {}\n", management(index), name(index)));
    let hosts = std::iter::once("127.0.0.1 localhost\n".to_owned()).chain(hosts);
    let path = tools::path().to_string_lossy().replace(['"', '\n'], "");
    let config = format!(
        "Port {PORT}\nListenAddress {}\nHostKey {PLACE}/host_key\n\
         AuthorizedKeysFile {PLACE}/authorized_keys\nPidFile none\nStrictModes no\nUsePAM no\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n\
         Subsystem sftp internal-sftp\nSetEnv \"PATH={path}\"\nUseDNS no\nPrintMotd no\n\
         MaxStartups 100\nMaxSessions 64\nLogLevel VERBOSE\n",
        management(spec.index),
    );
    for (file, text) in [
        ("passwd", passwd),
        ("shadow", format!("{user}:*:20000::::::\n")),
        ("hosts", hosts.collect()),
        ("sshd_config", config),
    ] {
        fs::write(spec.dir.join(file), text)?;
    }
    Ok(())
}

fn connect(index: u16) -> Result<(), String> {
    ip(&format!(
        "link set lo up\naddress add {}/16 dev management\nlink set management up\n\
         address add {}/16 dev data\nlink set data up\n",
        management(index),
        data(index)
    ))
}

fn start_sshd() -> Result<Child, String> {
    let log = |error| format!("sshd.log: {error}");
    let file = File::create(format!("{PLACE}/sshd.log")).map_err(log)?;
    // It insists on being called by its whole name.
    let sshd = tools::find("sshd").ok_or("no sshd: is openssh-server installed?")?;
    Command::new(sshd)
        .args(["-D", "-e", "-f"])
        .arg(format!("{PLACE}/sshd_config"))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(file.try_clone().map_err(log)?)
        .stderr(file)
        .spawn()
        .map_err(|error| format!("sshd: {error}"))
}

fn await_sshd(address: Ipv4Addr, mut sshd: Child) -> Result<(), String> {
    let deadline = Instant::now() + LISTENS;
    let log = || {
        let log = fs::read_to_string(format!("{PLACE}/sshd.log")).unwrap_or_default();
        log.lines().collect::<Vec<_>>().join("; ")
    };
    while !greets(SocketAddr::from((address, PORT))) {
        if let Ok(Some(status)) = sshd.try_wait() {
            return Err(format!("sshd ended ({status}): {}", log()));
        }
        if Instant::now() > deadline {
            return Err(format!("sshd does not answer: {}", log()));
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

fn greets(address: SocketAddr) -> bool {
    let mut greeting = [0; 4];
    TcpStream::connect_timeout(&address, LISTENS).is_ok_and(|mut socket| {
        let patient = socket.set_read_timeout(Some(LISTENS)).is_ok();
        patient && socket.read_exact(&mut greeting).is_ok() && &greeting == b"SSH-"
    })
}

/// Whoever dies on a host and whose parent is gone is ours to collect. An sshd that dies is not
/// started again: it is a fault like any other.
fn collect_the_dead() -> Result<(), String> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::CHILD) => std::thread::sleep(IDLE),
            Err(error) => return Err(format!("waitpid: {error}")),
        }
    }
}
