//! Hosts that are elsewhere, and a channel to the agent on each.
//!
//! What a host is told goes as data over that channel. The one command that a remote shell ever sees is
//! fixed but for the hash of our own program, so nothing that a person wrote in a file or a flag is read by
//! a shell.

mod args;
mod binary;
mod host_key;
mod inventory;
mod locked;
mod secret;
mod ssh;

use std::io::{Read, Write};
use std::time::Duration;

use thiserror::Error;

use dyno_command::one_line;

pub use args::HostArgs;
pub use binary::Binary;
pub(crate) use inventory::check_dir;
pub use inventory::{Host, Inventory, InventoryError};
pub use secret::Secret;
pub use ssh::Ssh;

/// The word after which an agent's frames begin: whatever a login shell printed comes before it.
pub const GREETING: &[u8] = b"\0dyno-agent-1\n";

/// A host with an agent. A remote belongs to one thread: SSH sessions are not safe to share.
pub trait Remote: Send {
    /// Opens a channel to the host's agent; what stands in it begins after the [`GREETING`]. No step of
    /// it waits longer than `patience` for the host.
    ///
    /// # Errors
    /// Why there is no channel, and whether it is worth trying again.
    fn dial(&self, patience: Duration) -> Result<Box<dyn Link>, RemoteError>;
}

/// A channel to an agent. One that has failed once is thrown away.
pub trait Link: Read + Write + Send {
    /// How long the next reads and writes may take.
    fn set_patience(&mut self, patience: Duration);

    /// What the host said beside the channel, when the channel has failed.
    fn complaint(&mut self) -> Option<String>;
}

/// Why a host cannot be spoken to.
#[derive(Clone, Debug, Error)]
#[error("{host}: {reason}")]
pub struct RemoteError {
    /// The host, by its name in the inventory.
    pub host: String,
    /// What is in the way and, where there is one, the mend.
    pub reason: String,
    /// No later attempt can do better: a person has to mend it.
    pub is_final: bool,
}

impl RemoteError {
    /// A later attempt may do better.
    pub fn passing(host: &str, reason: impl std::fmt::Display) -> Self {
        Self { host: host.to_owned(), reason: one_line(&reason), is_final: false }
    }

    /// No later attempt can do better.
    pub fn lasting(host: &str, reason: impl std::fmt::Display) -> Self {
        Self { host: host.to_owned(), reason: one_line(&reason), is_final: true }
    }
}

/// A number nobody else has: names runs, probes and files that are not whole yet. It is no choice
/// of a run, so it does not come from the plan's seed.
#[must_use]
pub(crate) fn unique() -> u64 {
    use rand::TryRngCore;
    rand::rngs::OsRng.try_next_u64().expect("the system has randomness")
}

#[cfg(test)]
pub(crate) mod tests {
    /// What a careless program would hand to a shell, to `ssh`, or to the file system.
    pub(crate) const HOSTILE: &[&str] = &[
        "; touch canary",
        "$(touch canary)",
        "`touch canary`",
        "a;touch canary",
        "a|touch canary",
        "a&touch canary&",
        "a\ntouch canary\n",
        "a\rtouch canary",
        "'; touch canary; '",
        "\"; touch canary; \"",
        "\\\"; touch canary",
        "a\0b",
        "\0",
        "-oProxyCommand=touch canary",
        "--help",
        "-l root",
        "..",
        "../../etc/passwd",
        "a/../../canary",
        "${IFS}touch${IFS}canary",
        "$HOME",
        "~root",
        "*",
        "a b",
        " ",
        "",
        "%n%s",
        "\u{1b}[31mred",
        "\u{202e}txt.exe",
        "name\u{0}.example",
        "{{7*7}}",
        "<script>alert(1)</script>",
        "a>canary",
        "<(touch canary)",
        "!!",
        "a\\nb",
        "\u{7f}",
        "\t",
        "n1\u{2028}n2",
        "[n1",
    ];
}
