//! A disk of a node's own: an image that is mounted for it, whose power can be cut.
//!
//! Without power a disk has what was synced, and of the rest what had got there by chance. Of a process that
//! is killed nothing is lost that it had written: the system writes it down afterwards. So the file system is
//! told to give up ([ext4's `abort`](https://docs.kernel.org/admin-guide/ext4.html)), which loses whatever it
//! has not written down, and mounted again, which replays its journal as after a crash.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How large it can grow, in bytes. It takes as much of the machine's as was written to it.
const SIZE: u64 = 4 << 30;
/// What is written to the witness, twice: it has to be synced the first time alone.
const WORD: &[u8] = b"synced\n";
/// The file that tells whether power was cut.
const WITNESS: &str = "witness";

/// An image, and where it is mounted.
#[derive(Debug)]
pub(crate) struct Image {
    file: PathBuf,
    at: PathBuf,
}

impl Image {
    /// The one of this folder, mounted or not.
    pub(crate) fn of(folder: &Path) -> Self {
        Self { file: folder.join("disk.img"), at: folder.join("disk") }
    }

    /// The one that this folder lies on.
    pub(crate) fn under(data: &Path) -> io::Result<Self> {
        let folder = data.parent().and_then(Path::parent);
        folder.map(Self::of).ok_or_else(|| io::Error::other("it is no disk of its own"))
    }

    /// Where it is mounted.
    pub(crate) fn at(&self) -> &Path {
        &self.at
    }

    /// Makes it, with nothing in it, in the place of what an earlier run may have left.
    pub(crate) fn make(&self) -> io::Result<()> {
        self.release()?;
        File::create(&self.file)?.set_len(SIZE)?;
        fs::create_dir_all(&self.at)?;
        // Everything that can be left for later is: of a run nobody waits for it.
        let lazily = "lazy_itable_init=1,lazy_journal_init=1,nodiscard";
        let options = ["-q", "-F", "-E", lazily];
        run(Command::new("mkfs.ext4").args(options).arg(&self.file))?;
        self.mount()
    }

    /// Unmounts it, if it is mounted.
    pub(crate) fn release(&self) -> io::Result<()> {
        if self.is_mounted()? { run(Command::new("umount").arg(&self.at)) } else { Ok(()) }
    }

    /// Cuts its power, and gives it back. Nobody has a file on it open.
    pub(crate) fn cut_power(&self) -> io::Result<String> {
        if !self.is_mounted()? {
            return Err(io::Error::other("it is no disk of its own"));
        }
        let witness = self.at.join(WITNESS);
        let mut file = OpenOptions::new().create(true).write(true).truncate(true).open(&witness)?;
        file.write_all(WORD)?;
        file.sync_all()?;
        File::open(&self.at)?.sync_all()?;
        file.write_all(WORD)?;
        drop(file);
        run(Command::new("mount").args(["-o", "remount,abort"]).arg(&self.at))?;
        run(Command::new("umount").arg(&self.at))?;
        self.mount()?;
        // What is proven is that this disk keeps what was synced, and only that.
        let left = fs::read(&witness)?;
        if left != WORD {
            let bytes = left.len();
            return Err(io::Error::other(format!(
                "its power was cut and a file of {} synced bytes, as many of them not, has {bytes}",
                WORD.len()
            )));
        }
        Ok("its power was cut: what was written beside it and not synced is gone".to_owned())
    }

    fn mount(&self) -> io::Result<()> {
        run(Command::new("mount").args(["-o", "loop,noatime"]).arg(&self.file).arg(&self.at))
    }

    /// Whether it is: what is written to the folder else is on another disk.
    pub(crate) fn is_mounted(&self) -> io::Result<bool> {
        let Ok(at) = self.at.canonicalize() else { return Ok(false) };
        let device = |path: &Path| Ok::<_, io::Error>(fs::metadata(path)?.dev());
        at.parent().map_or(Ok(false), |above| Ok(device(&at)? != device(above)?))
    }
}

/// Why this host can have none; nothing, if it can.
pub(crate) fn lacks() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("it takes root".to_owned());
    }
    let tried = tempfile::tempdir().and_then(|folder| {
        let image = Image::of(folder.path());
        let tried = image.make().and_then(|()| image.cut_power());
        // Whatever came of it, nothing is left mounted.
        image.release().and(tried)
    });
    tried.err().map(|error| error.to_string())
}

fn run(command: &mut Command) -> io::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let at = |error: io::Error| io::Error::new(error.kind(), format!("{name}: {error}"));
    let output = command.env("PATH", crate::hosts::lab::program_path()).output().map_err(at)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{name}: {}: {}", output.status, said.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_no_disk_has_no_power_to_be_cut() {
        let folder = tempfile::tempdir().unwrap();
        let image = Image::of(folder.path());
        assert_eq!(image.cut_power().unwrap_err().to_string(), "it is no disk of its own");
        image.release().unwrap();
    }
}
