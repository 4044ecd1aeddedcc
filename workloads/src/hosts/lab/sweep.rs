//! Labs whose driver was killed. The kernel ended their processes; what is left is a folder with keys.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::state::{self, Process, State};
use super::{LabError, PREFIX, owned, remove};

/// Who made a lab's folder: it is left over when neither they nor the lab's parent live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Maker {
    process: Process,
    /// Since this boot there was no other process of that id and start.
    boot: String,
    /// Process ids mean something in one namespace only: a container's labs are none of another's business.
    pid_namespace: PathBuf,
}

impl Maker {
    /// This process.
    pub(super) fn this() -> io::Result<Self> {
        Ok(Self {
            process: Process::of(std::process::id())?,
            boot: fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned(),
            pid_namespace: fs::read_link("/proc/self/ns/pid")?,
        })
    }

    /// Whether this process can tell that it has ended.
    fn is_surely_gone(&self, here: &Self) -> bool {
        self.boot != here.boot
            || self.pid_namespace == here.pid_namespace && !self.process.is_alive()
    }
}

/// Removes what is left of this user's labs in the usual place, keys first; the folders that were removed.
///
/// # Errors
/// If the place cannot be read. What cannot be removed stays for the next time.
pub fn sweep() -> Result<Vec<PathBuf>, LabError> {
    sweep_in(&std::env::temp_dir())
}

fn sweep_in(place: &Path) -> Result<Vec<PathBuf>, LabError> {
    let wrong = |error| LabError::file(place, error);
    let here = Maker::this().map_err(wrong)?;
    let mut swept = Vec::new();
    for entry in fs::read_dir(place).map_err(wrong)?.flatten() {
        let is_named = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let dir = entry.path();
        if is_named && is_left_over(&dir, &here) {
            match remove(&dir) {
                Ok(()) => swept.push(dir),
                // Another may sweep at the same time.
                Err(_) if !dir.exists() => {}
                Err(error) => tracing::warn!(%error, "not swept"),
            }
        }
    }
    swept.sort();
    Ok(swept)
}

/// Whether a folder is of a lab of this user, and nobody lives who could need it.
fn is_left_over(dir: &Path, here: &Maker) -> bool {
    let Some(maker) = state::maker(dir).filter(|_| owned(dir)) else { return false };
    let parent_is_gone = match State::read(dir) {
        Ok(Some(state)) => maker.boot != here.boot || !state.parent.is_alive(),
        // It was killed before it was up: its maker alone tells.
        Ok(None) => true,
        Err(_) => false,
    };
    // A lab that was to outlive its maker has a parent of its own, which is said as soon as it is up.
    parent_is_gone && maker.is_surely_gone(here)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// A lab's folder as a driver that was killed leaves it, and that driver.
    fn lab(place: &Path, name: &str, change: impl FnOnce(&mut Maker)) -> PathBuf {
        let dir = place.join(format!("{PREFIX}{name}"));
        let host = dir.join("hosts/n1");
        fs::create_dir_all(&host).unwrap();
        fs::write(dir.join("driver_key"), "secret").unwrap();
        fs::write(host.join("host_key"), "secret").unwrap();
        let mut maker = Maker::this().unwrap();
        change(&mut maker);
        state::mark(&dir, &maker).unwrap();
        dir
    }

    #[test]
    fn what_a_killed_driver_left_is_swept_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let place = place.path();
        let mut driver = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let theirs = Process::of(driver.id()).unwrap();
        let of_driver = |maker: &mut Maker| maker.process = theirs.clone();
        let left = lab(place, "run-1", of_driver);
        let elsewhere = lab(place, "run-2", |maker| {
            maker.process = theirs.clone();
            maker.pid_namespace = "pid:[1]".into();
        });
        let rebooted = lab(place, "run-3", |maker| maker.boot = "an earlier one".to_owned());
        let ours = lab(place, "run-4", |_| {});
        let unmarked = place.join(format!("{PREFIX}run-5"));
        fs::create_dir(&unmarked).unwrap();
        fs::write(unmarked.join("precious"), "").unwrap();
        let other = lab(place, "run-6", of_driver);
        fs::rename(&other, place.join("another-name")).unwrap();

        assert_eq!(sweep_in(place).unwrap(), [rebooted], "its driver lives");
        driver.kill().unwrap();
        driver.wait().unwrap();
        assert_eq!(sweep_in(place).unwrap(), [left]);
        for kept in [elsewhere, ours, unmarked, place.join("another-name")] {
            assert!(kept.exists(), "{kept:?}");
        }
    }
}
