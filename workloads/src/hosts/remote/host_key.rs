//! Is the host who it says it is?

use std::path::Path;

use ssh2::{CheckResult, KnownHostFileKind, MethodType, Session};

use super::{Host, RemoteError};

/// The kinds of host keys, the best first. A host has several keys and `known_hosts` may hold any
/// one of them.
pub(super) const KINDS: [&str; 3] =
    ["ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512,rsa-sha2-256"];

/// What `known_hosts` says of the key a host has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the host's.
    Known,
    /// Nothing is known about the host.
    Unknown,
    /// Another key is known: of another kind, or the host is another.
    Differs,
}

/// Asks for a key of one kind, or of any.
pub(super) fn prefer(session: &Session, kind: Option<&str>) -> Result<(), ssh2::Error> {
    let all = KINDS.join(",");
    session.method_pref(MethodType::HostKey, kind.unwrap_or(&all))
}

/// Looks the key up that the session's host has shown.
pub(super) fn check(
    session: &Session,
    host: &Host,
    known_hosts: &Path,
) -> Result<Verdict, RemoteError> {
    let lasting = |error: &dyn std::fmt::Display| RemoteError::lasting(&host.name, error);
    let (key, _) = session.host_key().ok_or_else(|| lasting(&"it showed no host key"))?;
    let mut known = session.known_hosts().map_err(|error| lasting(&error))?;
    if known_hosts.exists() {
        known
            .read_file(known_hosts, KnownHostFileKind::OpenSSH)
            .map_err(|error| lasting(&format!("known_hosts {}: {error}", known_hosts.display())))?;
    }
    Ok(match known.check_port(&host.address, host.port, key) {
        CheckResult::Match => Verdict::Known,
        CheckResult::NotFound => Verdict::Unknown,
        CheckResult::Mismatch => Verdict::Differs,
        CheckResult::Failure => return Err(lasting(&"its key could not be looked up")),
    })
}

/// Adds the key that the session's host has shown. Only for a host of which nothing is known.
pub(super) fn accept(
    session: &Session,
    host: &Host,
    known_hosts: &Path,
) -> Result<(), RemoteError> {
    let failed = |error: &dyn std::fmt::Display| {
        let file = known_hosts.display();
        RemoteError::lasting(&host.name, format!("known_hosts {file}: {error}"))
    };
    let (key, kind) = session.host_key().ok_or_else(|| failed(&"the host showed no key"))?;
    let mut known = session.known_hosts().map_err(|error| failed(&error))?;
    let name = match host.port {
        22 => host.address.clone(),
        port => format!("[{}]:{port}", host.address),
    };
    known.add(&name, key, "", kind.into()).map_err(|error| failed(&error))?;
    let entries = known.hosts().map_err(|error| failed(&error))?;
    let entry = entries.first().ok_or_else(|| failed(&"the key was not taken"))?;
    let line = known.write_string(entry, KnownHostFileKind::OpenSSH);
    let line = line.map_err(|error| failed(&error))?;
    append(known_hosts, line.trim_end()).map_err(|error| failed(&error))
}

/// One write, so that hosts that are met at the same time do not mix their lines.
fn append(known_hosts: &Path, line: &str) -> std::io::Result<()> {
    use std::io::Write;
    if let Some(folder) = known_hosts.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(known_hosts)?;
    file.write_all(format!("{line}\n").as_bytes())
}
