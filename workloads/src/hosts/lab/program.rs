//! The program on a lab's hosts: it is on this machine already, and need not be sent to it.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::LabError;
use super::keeper::Spec;
use crate::hosts::remote::Binary;

/// Puts this program where hosts keep theirs: one file for all of them, this program's own where the file
/// systems allow, else one copy.
pub(super) fn place(spec: &Spec) -> Result<(), LabError> {
    let own = Path::new("/proc/self/exe");
    let binary = Binary::own().map_err(|error| LabError::file(own, error))?;
    let mut first: Option<PathBuf> = None;
    for index in 1..=spec.hosts {
        let to = spec.host_dir(index).join("home").join(binary.place());
        let done = folder(&to).and_then(|()| match &first {
            None => own_file(&to).or_else(|_| fs::copy(&binary.path, &to).map(drop)),
            Some(first) => {
                fs::hard_link(first, &to).or_else(|_| fs::copy(&binary.path, &to).map(drop))
            }
        });
        done.map_err(|error| LabError::file(&to, error))?;
        first.get_or_insert(to);
    }
    Ok(())
}

fn folder(program: &Path) -> io::Result<()> {
    let folder = program.parent().unwrap_or(program);
    DirBuilder::new().mode(0o700).recursive(true).create(folder)
}

/// A name more for the file of this program, unless another has taken its place since.
fn own_file(to: &Path) -> io::Result<()> {
    fs::hard_link(std::env::current_exe()?, to)?;
    let (own, linked) = (fs::metadata("/proc/self/exe")?, fs::metadata(to)?);
    if (own.dev(), own.ino()) == (linked.dev(), linked.ino()) {
        return Ok(());
    }
    fs::remove_file(to)?;
    Err(io::Error::other("the program was built anew"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_one_machine_share_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let spec = Spec { dir: dir.path().to_owned(), hosts: 3, attached: true };
        place(&spec).unwrap();
        let binary = Binary::own().unwrap();
        let file = |index| {
            let path = spec.host_dir(index).join("home").join(binary.place());
            fs::metadata(path).unwrap()
        };
        let first = file(1);
        assert_eq!(first.len(), binary.size);
        assert!(first.mode() & 0o100 != 0, "it can be run");
        assert!((2..=3).all(|index| file(index).ino() == first.ino()), "copied for each host");
    }
}
