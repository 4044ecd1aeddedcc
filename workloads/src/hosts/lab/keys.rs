//! The keys of a lab, and the inventory that names them: made fresh with every lab.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::keeper::Spec;
use super::{LabError, host, state, tools};

/// The driver's private key, in the lab's folder.
pub(super) const CLIENT_KEY: &str = "driver_key";

/// Makes the folders of all hosts, a key for each and one for the driver, and writes the inventory.
pub(super) fn make(spec: &Spec) -> Result<(), LabError> {
    let mut makers = vec![maker(&spec.client_key(), "dyno lab driver")?];
    for index in 1..=spec.hosts {
        let dir = spec.host_dir(index);
        for folder in [&dir, &dir.join("home")] {
            fs::create_dir_all(folder).map_err(|error| LabError::file(folder, error))?;
        }
        makers.push(maker(&host::host_key(&dir), &format!("dyno lab {}", host::name(index)))?);
    }
    for (child, path) in makers {
        let done = child.wait_with_output().map_err(|error| LabError::file(&path, error))?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr);
            return Err(LabError::file(&path, format!("ssh-keygen: {}", said.trim())));
        }
    }
    for index in 1..=spec.hosts {
        copy(&public(&spec.client_key()), &spec.host_dir(index).join("authorized_keys"))?;
    }
    write_inventory(spec)
}

fn maker(path: &Path, comment: &str) -> Result<(Child, std::path::PathBuf), LabError> {
    let program = tools::find("ssh-keygen").unwrap_or_else(|| "ssh-keygen".into());
    let child = Command::new(program)
        .args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"])
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| LabError(format!("ssh-keygen: {error}")))?;
    Ok((child, path.to_owned()))
}

/// Removes all private keys of a lab, before anything else of it.
pub(super) fn remove(dir: &Path) {
    let hosts = fs::read_dir(dir.join("hosts")).into_iter().flatten().flatten();
    let keys = hosts.map(|host| host::host_key(&host.path()));
    for key in std::iter::once(dir.join(CLIENT_KEY)).chain(keys) {
        // What cannot be removed now goes, or is told of, with the folder.
        let _ = fs::remove_file(key);
    }
}

fn public(key: &Path) -> std::path::PathBuf {
    key.with_extension("pub")
}

fn copy(from: &Path, to: &Path) -> Result<(), LabError> {
    fs::copy(from, to).map(drop).map_err(|error| LabError::file(to, error))
}

fn write_inventory(spec: &Spec) -> Result<(), LabError> {
    let mut known = String::new();
    let mut hosts = format!(
        "# The hosts of a lab. They can be reached from where `dyno lab exec` runs a command.\n\
         known_hosts = {:?}\nkey = {:?}\nuser = {:?}\n",
        spec.known_hosts(),
        spec.client_key(),
        host::user(),
    );
    for index in 1..=spec.hosts {
        let key = public(&host::host_key(&spec.host_dir(index)));
        let text = fs::read_to_string(&key).map_err(|error| LabError::file(&key, error))?;
        let key: Vec<_> = text.split_whitespace().take(2).collect();
        let (name, management) = (host::name(index), management(index));
        let data = data(index);
        // A string in memory takes every write.
        let _ = writeln!(known, "{management} {}", key.join(" "));
        let _ = write!(
            hosts,
            "\n[[host]]\nname = \"{name}\"\naddress = \"{management}\"\ndata = \"{data}\"\n"
        );
    }
    for (path, text) in [(spec.known_hosts(), known), (state::hosts_file(&spec.dir), hosts)] {
        fs::write(&path, text).map_err(|error| LabError::file(&path, error))?;
    }
    Ok(())
}

/// Where a host's sshd listens. The networks are private to the lab: nothing else has these addresses.
pub(super) fn management(index: u16) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 1, low(index))
}

/// Where a host's node listens.
pub(super) fn data(index: u16) -> Ipv4Addr {
    Ipv4Addr::new(10, 78, 1, low(index))
}

fn low(index: u16) -> u8 {
    u8::try_from(index).expect("a lab has at most sixty hosts")
}
