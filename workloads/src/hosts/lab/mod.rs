//! The lab: hosts made on one machine, each with its own sshd, host key, hostname, process tree,
//! management network and data network.
//!
//! Everything lives under one parent process, the *keeper*, which is the first process of its own
//! namespaces: no interface, mount or process of a lab is visible to the machine, so a lab touches
//! nothing it did not make, and when its parent ends, however it ends, the kernel removes everything.
//! What is left then is a folder of keys and logs, which the next lab of this user sweeps away.
//!
//! ```text
//!   lab up ---- unshare (the parent) ---- keeper: hub network, two bridges
//!                                            |-- unshare ---- host n1: sshd, agent, node
//!                                            |-- unshare ---- host n2 ...
//! ```
//!
//! The driver stands in the keeper's network ([`Lab::enter`]), and reaches every host on the management
//! network by SSH and on the data network as a client. Faults cut the data network only, so no
//! fault can cut the driver off.

pub mod cli;
mod enter;
mod host;
mod keeper;
mod keys;
mod lines;
mod parent;
mod program;
mod state;
mod sweep;
mod tools;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use thiserror::Error;

pub use state::{HostState, State};
pub use sweep::sweep;
pub(crate) use tools::path as program_path;
pub use tools::{Privilege, lacking, privilege};

use parent::Parent;

/// More hosts than this on one machine measure the machine.
pub const MOST_HOSTS: u16 = 60;

/// How the folders of labs begin where nobody says where they are to be.
const PREFIX: &str = "dyno-lab-";

/// Why a lab cannot be had. One line, with the mend.
#[derive(Debug, Error)]
#[error("lab: {0}")]
pub struct LabError(pub String);

impl LabError {
    fn file(path: &Path, error: impl std::fmt::Display) -> Self {
        Self(format!("{}: {error}", path.display()))
    }
}

/// A lab that is up.
#[derive(Debug)]
pub struct Lab {
    dir: PathBuf,
    state: State,
    /// Held by whoever brought up a lab that is to end with it.
    parent: Option<Parent>,
    /// Its folder goes with it.
    ends_with_us: bool,
}

/// What kind of lab is wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Where its keys, logs and hosts' homes are.
    pub dir: PathBuf,
    /// How many hosts.
    pub hosts: u16,
}

impl Lab {
    /// Brings a lab up that stays when this process ends. One that is up already is left as it is.
    ///
    /// # Errors
    /// If this machine cannot have one, or a lab of another size is up in the same folder.
    pub fn up(wanted: &Wanted) -> Result<Self, LabError> {
        if let Some(lab) = Self::find(&wanted.dir)? {
            return lab.of_size(wanted.hosts);
        }
        let mut parent = Parent::start(wanted, parent::Life::Own)?;
        let state = parent.wait_ready()?;
        parent.leave();
        Self::save(wanted, state, None)
    }

    /// Brings a lab up that ends with this process, however that ends.
    ///
    /// # Errors
    /// If this machine cannot have one, or a lab is up in the same folder.
    pub fn attached(wanted: &Wanted) -> Result<Self, LabError> {
        if Self::find(&wanted.dir)?.is_some() {
            let dir = wanted.dir.display();
            return Err(LabError(format!(
                "one is up in {dir}: `dyno lab down --dir {dir}` ends it"
            )));
        }
        let mut parent = Parent::start(wanted, parent::Life::Ours)?;
        let state = parent.wait_ready()?;
        Self::save(wanted, state, Some(parent))
    }

    /// A lab for one run of this process: in a folder of its own.
    ///
    /// # Errors
    /// If this machine cannot have one.
    pub fn for_one_run(hosts: u16) -> Result<Self, LabError> {
        let dir = std::env::temp_dir()
            .join(format!("{PREFIX}run-{:016x}", crate::hosts::remote::unique()));
        let mut lab = Self::attached(&Wanted { dir, hosts })?;
        lab.ends_with_us = true;
        Ok(lab)
    }

    fn save(wanted: &Wanted, state: State, parent: Option<Parent>) -> Result<Self, LabError> {
        state.write(&wanted.dir)?;
        Ok(Self { dir: wanted.dir.clone(), state, parent, ends_with_us: false })
    }

    /// The lab that is up in a folder, if one is.
    ///
    /// # Errors
    /// If the folder holds something that no lab wrote.
    pub fn find(dir: &Path) -> Result<Option<Self>, LabError> {
        let Some(state) = State::read(dir)? else { return Ok(None) };
        if !state.parent.is_alive() {
            return Ok(None);
        }
        Ok(Some(Self { dir: dir.to_owned(), state, parent: None, ends_with_us: false }))
    }

    fn of_size(self, hosts: u16) -> Result<Self, LabError> {
        let have = self.state.hosts.len();
        if have == usize::from(hosts) {
            return Ok(self);
        }
        let dir = self.dir.display();
        Err(LabError(format!(
            "one of {have} hosts is up in {dir}, not {hosts}: `dyno lab down --dir {dir}` first"
        )))
    }

    /// Ends the lab; returns when nothing of it runs any more: how long its processes took to end.
    ///
    /// # Errors
    /// If it cannot be ended, or its folder cannot be removed.
    pub fn down(mut self) -> Result<Duration, LabError> {
        let begun = Instant::now();
        // Its children end with it: the kernel sees to that, not we.
        self.state.parent.kill().map_err(|error| LabError(format!("cannot be ended: {error}")))?;
        if let Some(parent) = &mut self.parent {
            parent.reap();
        }
        let took = begun.elapsed();
        remove(&self.dir).map(|()| took)
    }

    /// Where its files are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its hosts and processes.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The inventory of its hosts, for `--cluster ssh --hosts`.
    #[must_use]
    pub fn hosts_file(&self) -> PathBuf {
        state::hosts_file(&self.dir)
    }

    /// Moves this thread, and all threads it starts from now on, to where the driver must stand: the
    /// lab's network. To be called before there is a second thread.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn enter(&self) -> Result<(), LabError> {
        self.become_its_user()?;
        enter::all(self.state.parent.pid, &["net"])
    }

    /// Moves this thread, and all processes it starts from now on, to a host: into all of its namespaces.
    /// To be called before there is a second thread.
    ///
    /// # Errors
    /// If there is no such host, or the kernel refuses.
    pub fn enter_host(&self, name: &str) -> Result<(), LabError> {
        let host = self.state.hosts.iter().find(|host| host.name == name).ok_or_else(|| {
            let known: Vec<_> = self.state.hosts.iter().map(|host| host.name.as_str()).collect();
            LabError(format!("no host `{name}`: there are {}", known.join(", ")))
        })?;
        self.become_its_user()?;
        // In two steps: the keeper's /proc alone knows its hosts by their process ids.
        enter::all(self.state.parent.pid, &["mnt"])?;
        enter::all(host.pid, &["net", "uts", "ipc", "pid_for_children", "mnt"])?;
        match self.state.privilege {
            Privilege::Root => Ok(()),
            Privilege::UserNamespace => enter::keep_capabilities(),
        }
    }

    fn become_its_user(&self) -> Result<(), LabError> {
        match self.state.privilege {
            Privilege::Root => Ok(()),
            Privilege::UserNamespace => enter::all(self.state.parent.pid, &["user"]),
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.ends_with_us {
            // Its processes first, as they write there. What cannot be removed is a few logs.
            drop(self.parent.take());
            let _ = remove(&self.dir);
        }
    }
}

/// Where a lab is when nobody says: one a user, and only that user's.
#[must_use]
pub fn default_dir() -> PathBuf {
    let user = rustix::process::getuid().as_raw();
    std::env::temp_dir().join(format!("{PREFIX}{user}"))
}

/// Makes the lab's folder, empty, for us alone.
fn make_dir(dir: &Path) -> Result<(), LabError> {
    if dir.exists() {
        remove(dir)?;
    }
    DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(dir)
        .map_err(|error| LabError::file(dir, error))
}

/// Whether it is a folder of this user, and no link to one.
fn owned(dir: &Path) -> bool {
    let user = rustix::process::getuid().as_raw();
    dir.symlink_metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == user)
}

/// Removes a lab's folder and whatever its hosts wrote there, and no folder that is no lab's.
fn remove(dir: &Path) -> Result<(), LabError> {
    let ours = owned(dir);
    let empty = ours && dir.read_dir().is_ok_and(|mut entries| entries.next().is_none());
    let may_go = empty || ours && state::marked(dir);
    if !may_go {
        let error = "exists and is no lab's folder of this user: name another with --dir";
        return Err(LabError::file(dir, error));
    }
    // Should we be ended in the middle, what is left has no secrets.
    keys::remove(dir);
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LabError::file(dir, error)),
        _ => Ok(()),
    }
}
