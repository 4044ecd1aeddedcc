//! The folder that is served, and nothing outside of it.

use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};

/// A folder that no path leaves: without links, and as it was named.
#[derive(Clone, Debug)]
pub(crate) struct Root(PathBuf, PathBuf);

impl Root {
    /// Of a folder.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn of(dir: &Path) -> io::Result<Self> {
        let (named, dir) = (dir.to_owned(), fs::canonicalize(dir)?);
        if !dir.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is no folder"));
        }
        Ok(Self(dir, named))
    }

    /// The folder, without links.
    pub(crate) fn dir(&self) -> &Path {
        &self.0
    }

    /// The folder as it was named.
    pub(crate) fn named(&self) -> &Path {
        &self.1
    }

    /// What is meant by a path relative to the folder: it exists, and it lies in the folder after all links
    /// were followed. None otherwise: who asks learns nothing of what is outside.
    pub(crate) fn inside(&self, path: &str) -> Option<PathBuf> {
        let path = Path::new(path);
        let is_plain = |part| matches!(part, Component::Normal(_));
        if path.components().any(|part| !is_plain(part)) || path.as_os_str().is_empty() {
            return None;
        }
        let found = fs::canonicalize(self.0.join(path)).ok()?;
        found.starts_with(&self.0).then_some(found)
    }

    /// A file in it, opened for reading: nothing else than a plain file.
    pub(crate) fn open(&self, path: &str) -> Option<(File, PathBuf)> {
        let found = self.inside(path)?;
        // Opening a pipe would wait for who writes to it.
        if !fs::metadata(&found).ok()?.is_file() {
            return None;
        }
        Some((File::open(&found).ok()?, found))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_path_leaves_the_folder() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "x").unwrap();
        let dir = outside.path().join("results");
        fs::create_dir_all(dir.join("cart/run")).unwrap();
        fs::write(dir.join("cart/run/verdict.json"), "{}").unwrap();
        symlink("cart/run", dir.join("latest")).unwrap();
        symlink(outside.path(), dir.join("out")).unwrap();
        symlink("../../../secret", dir.join("cart/run/secret")).unwrap();
        let root = Root::of(&dir).unwrap();
        assert!(root.open("cart/run/verdict.json").is_some());
        assert!(root.open("latest/verdict.json").is_some(), "a link that stays inside is followed");
        for wrong in [
            "",
            "../secret",
            "cart/../../secret",
            "cart/run/../../../secret",
            "./../secret",
            "/etc/passwd",
            "out/secret",
            "cart/run/secret",
            "cart/run",
            "no/such",
            "cart/run/verdict.json\0",
        ] {
            assert!(root.open(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_no_folder_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(Root::of(file.path()).is_err());
        assert!(Root::of(Path::new("/no/such/folder")).is_err());
    }
}
