//! The first process of a lab: makes its networks and its hosts, and stays.

use std::io::{BufRead, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::host::{self, HostSpec, Said};
use super::keys::{CLIENT_KEY, data, management};
use super::lines::Lines;
use super::state::HostState;
use super::tools;

/// Far more than a host needs to answer, on the slowest machine with the largest lab.
const ANSWER: Duration = Duration::from_secs(20);
/// The hub of the management network and of the data network, where the driver stands.
const HUBS: [(&str, &str); 2] = [("management", "10.77.0.1/16"), ("data", "10.78.0.1/16")];

/// What the keeper is told, on its stdin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Spec {
    /// The lab's folder.
    pub(super) dir: PathBuf,
    /// How many hosts.
    pub(super) hosts: u16,
    /// Ends when its stdin does.
    pub(super) attached: bool,
}

/// What the keeper says, on its stdout, once.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Up {
    /// All hosts answer.
    Ready(Vec<HostState>),
    /// This is in the way.
    Failed(String),
}

impl Spec {
    pub(super) fn host_dir(&self, index: u16) -> PathBuf {
        self.dir.join("hosts").join(host::name(index))
    }

    pub(super) fn client_key(&self) -> PathBuf {
        self.dir.join(CLIENT_KEY)
    }

    pub(super) fn known_hosts(&self) -> PathBuf {
        self.dir.join("known_hosts")
    }
}

/// The life of a keeper; returns when the lab is to end.
///
/// # Errors
/// If the lab did not come up: whoever started it has been told too.
pub(super) fn run() -> Result<(), String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|error| error.to_string())?;
    let spec: Spec =
        serde_json::from_str(&line).map_err(|error| format!("told nothing: {error}"))?;
    let (mut hosts, up) = match bring_up(&spec) {
        Ok((hosts, states)) => (hosts, Up::Ready(states)),
        Err(error) => (Vec::new(), Up::Failed(error)),
    };
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(&up).expect("plain data"))
        .and_then(|()| stdout.flush())
        .map_err(|error| format!("nobody waits: {error}"))?;
    if let Up::Failed(error) = up {
        return Err(error);
    }
    if spec.attached {
        // Ends when the one who started the lab ends, in whatever way.
        let ended = std::io::stdin().lock().read_to_end(&mut Vec::new());
        return ended.map(drop).map_err(|error| error.to_string());
    }
    for host in &mut hosts {
        // A host that dies is as a machine that lost its power: the others stay.
        let ended = host.child.wait();
        dyno_command::output::note(format_args!("host {} ended: {ended:?}", host.index));
    }
    loop {
        std::thread::park();
    }
}

struct Host {
    index: u16,
    child: Child,
    stdin: ChildStdin,
    said: Lines<ChildStdout>,
}

fn bring_up(spec: &Spec) -> Result<(Vec<Host>, Vec<HostState>), String> {
    ip(&hubs())?;
    let dyno = std::env::current_exe().map_err(|error| format!("own path: {error}"))?;
    let mut hosts = Vec::new();
    for index in 1..=spec.hosts {
        hosts.push(start(spec, index, &dyno)?);
    }
    // A host that has said "up" has its network namespace, and not before.
    for host in &mut hosts {
        host.expect(Said::Up, spec)?;
    }
    ip(&hosts.iter().map(cables).collect::<String>())?;
    for host in &mut hosts {
        writeln!(host.stdin, "go").map_err(|error| host.died(spec, &error.to_string()))?;
    }
    for host in &mut hosts {
        host.expect(Said::Ready, spec)?;
    }
    let states = hosts.iter().map(|host| HostState {
        name: host::name(host.index),
        management: management(host.index).to_string(),
        data: data(host.index).to_string(),
        pid: host.child.id(),
    });
    let states = states.collect();
    Ok((hosts, states))
}

fn start(spec: &Spec, index: u16, dyno: &std::path::Path) -> Result<Host, String> {
    let log = spec.host_dir(index).join("host.log");
    let log = std::fs::File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let mut command = tools::unshare_host();
    command.arg(dyno).args(["lab", "host"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
    let name = host::name(index);
    let mut child = command.spawn().map_err(|error| format!("host {name}: unshare: {error}"))?;
    let mut stdin = child.stdin.take().expect("it is piped");
    let said = Lines::new(child.stdout.take().expect("it is piped"));
    let told = HostSpec { index, hosts: spec.hosts, dir: spec.host_dir(index) };
    writeln!(stdin, "{}", serde_json::to_string(&told).expect("plain data"))
        .map_err(|error| format!("host {name}: {error}"))?;
    Ok(Host { index, child, stdin, said })
}

impl Host {
    fn expect(&mut self, wanted: Said, spec: &Spec) -> Result<(), String> {
        match self.said.next(ANSWER) {
            Ok(line) if line == wanted.as_str() => Ok(()),
            Ok(line) => Err(self.died(spec, &line)),
            Err(error) => Err(self.died(spec, &error)),
        }
    }

    fn died(&self, spec: &Spec, error: &str) -> String {
        let log = std::fs::read_to_string(spec.host_dir(self.index).join("host.log"));
        let log = log.unwrap_or_default();
        let last = log.lines().last().map(|line| format!(": {line}")).unwrap_or_default();
        format!("host {}: {error}{last}", host::name(self.index))
    }
}

fn hubs() -> String {
    let hub = |(name, address)| {
        format!(
            "link add {name} type bridge\naddress add {address} dev {name}\nlink set {name} up\n"
        )
    };
    std::iter::once("link set lo up\n".to_owned()).chain(HUBS.map(hub)).collect()
}

/// A cable to each hub; the other end is in the host from the beginning.
fn cables(host: &Host) -> String {
    let (index, pid) = (host.index, host.child.id());
    HUBS.map(|(hub, _)| {
        let port = format!("{}{index}", &hub[..1]);
        format!(
            "link add {port} type veth peer name {hub} netns {pid}\n\
             link set {port} master {hub} up\n"
        )
    })
    .concat()
}

/// Runs `ip` commands, all of them in one process.
pub(super) fn ip(commands: &str) -> Result<(), String> {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("ip: {error}"))?;
    let mut stdin = child.stdin.take().expect("it is piped");
    let written = stdin.write_all(commands.as_bytes());
    drop(stdin);
    let done = child.wait_with_output().map_err(|error| format!("ip: {error}"))?;
    if done.status.success() {
        return written.map_err(|error| format!("ip: {error}"));
    }
    Err(format!("ip: {}", String::from_utf8_lossy(&done.stderr).trim().replace('\n', "; ")))
}
