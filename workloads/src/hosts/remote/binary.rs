//! The program that hosts are given: `dyno` itself, or one built for hosts of another kind.

use std::io;
use std::path::{Path, PathBuf};

/// A program, by its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary {
    /// Where it is here.
    pub path: PathBuf,
    /// Its length.
    pub size: u64,
    /// SHA-256 of its content, in hexadecimal digits.
    hash: String,
}

impl Binary {
    /// Reads a program.
    ///
    /// # Errors
    /// Names the file.
    pub fn read(path: &Path) -> io::Result<Self> {
        let name = |error: io::Error| {
            io::Error::new(error.kind(), format!("binary {}: {error}", path.display()))
        };
        let (size, hash) = crate::digest::of_file(path).map_err(name)?;
        Ok(Self { path: path.to_owned(), size, hash })
    }

    /// The program that is running now.
    ///
    /// # Errors
    /// If the system does not tell, or the file is gone.
    pub fn own() -> io::Result<Self> {
        // Not its name: a program that was built anew since must not be mixed with this one.
        Self::read(Path::new("/proc/self/exe")).or_else(|_| Self::read(&std::env::current_exe()?))
    }

    /// Its SHA-256, in hexadecimal digits.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Where it goes on a host, from the home of the user there: hosts keep programs by content, so
    /// one that is there is the right one, and a running one is never written to.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}/dyno-{}", Self::FOLDER, self.hash)
    }

    /// The folder of such programs.
    pub const FOLDER: &'static str = ".dyno/bin";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_named_by_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a program; with $(a name)");
        std::fs::write(&path, "abc").unwrap();
        let binary = Binary::read(&path).unwrap();
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!((binary.size, binary.place()), (3, format!(".dyno/bin/dyno-{hash}")));
        let error = Binary::read(&dir.path().join("none")).unwrap_err().to_string();
        assert!(error.contains("none"), "{error}");
    }
}
