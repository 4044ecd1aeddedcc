//! What a lab needs of the machine.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::LabError;

/// How a lab comes by its namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Privilege {
    /// Of the superuser.
    Root,
    /// Inside a user namespace of an ordinary user.
    UserNamespace,
}

/// Each program a lab calls, and the package that has it.
const PROGRAMS: &[(&str, &str)] = &[
    ("sshd", "openssh-server"),
    ("ssh-keygen", "openssh-client"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("unshare", "util-linux"),
];

/// Administrators' programs are not on everybody's path.
const SYSTEM_FOLDERS: &[&str] = &["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// The caller's PATH, and where administrators' programs are.
#[must_use]
pub(crate) fn path() -> OsString {
    let own = env::var_os("PATH").unwrap_or_default();
    let own: Vec<_> = env::split_paths(&own).collect();
    let system = SYSTEM_FOLDERS.iter().map(PathBuf::from).filter(|folder| !own.contains(folder));
    let all: Vec<_> = own.iter().cloned().chain(system).collect();
    env::join_paths(all).unwrap_or_else(|_| SYSTEM_FOLDERS.join(":").into())
}

/// Where a program is.
#[must_use]
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = path();
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The packages that lack for a lab, none twice.
#[must_use]
pub fn lacking() -> Vec<&'static str> {
    let missing = PROGRAMS.iter().filter(|(program, _)| find(program).is_none());
    let mut packages: Vec<_> = missing.map(|(_, package)| *package).collect();
    packages.dedup();
    packages
}

/// How a lab can be had here: tried, not guessed.
///
/// # Errors
/// What is in the way, and the mend.
pub fn privilege() -> Result<Privilege, LabError> {
    let packages = lacking();
    if !packages.is_empty() {
        let packages = packages.join(" ");
        return Err(LabError(format!("lacks {packages}: `apt-get install {packages}`")));
    }
    let root = rustix::process::geteuid().is_root();
    let privilege = if root { Privilege::Root } else { Privilege::UserNamespace };
    let tried = unshare(privilege).arg("true").stdin(Stdio::null()).output();
    let tried = tried.map_err(|error| LabError(format!("unshare: {error}")))?;
    if tried.status.success() {
        return Ok(privilege);
    }
    let said = String::from_utf8_lossy(&tried.stderr).trim().to_owned();
    Err(LabError(match privilege {
        Privilege::Root => {
            format!("this root may not make namespaces ({said}): a container needs CAP_SYS_ADMIN")
        }
        Privilege::UserNamespace => format!(
            "user namespaces are closed to you ({said}): be root, or set sysctl \
             kernel.apparmor_restrict_unprivileged_userns=0 or user.max_user_namespaces"
        ),
    }))
}

/// A command inside fresh namespaces, whose children end with it.
pub(super) fn unshare(privilege: Privilege) -> Command {
    let mut command = Command::new(find("unshare").unwrap_or_else(|| "unshare".into()));
    command.env("PATH", path());
    if privilege == Privilege::UserNamespace {
        // The capabilities must outlive an exec by one who is not root.
        command.args(["--user", "--map-current-user", "--keep-caps"]);
    }
    command.args(["--mount", "--net", "--pid", "--ipc", "--fork", "--mount-proc", "--kill-child"]);
    command.arg("--");
    command
}

/// The same for a host inside a lab, which has a name of its own too.
pub(super) fn unshare_host() -> Command {
    let mut command = Command::new(find("unshare").unwrap_or_else(|| "unshare".into()));
    command.args(["--uts", "--mount", "--net", "--pid", "--ipc", "--fork", "--mount-proc"]);
    command.args(["--kill-child", "--"]);
    command
}
