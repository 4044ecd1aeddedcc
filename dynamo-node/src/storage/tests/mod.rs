//! What storage keeps, what becomes of it when it is damaged, and what becomes of a cluster then.

mod closed;
mod damage;
mod format;
mod merkle;
mod rollback;
mod suite;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use dynamo_protocol::{NodeId, Versioning};

use super::{Directory, DirectoryError, Origin, Owner};

fn owner() -> Owner {
    Owner { node: NodeId(1), cluster: "c".to_owned(), versioning: Versioning::Dotted }
}

fn open(path: &Path) -> Result<Directory, DirectoryError> {
    Directory::open(path, &owner(), Origin::LATER)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::write(&target, contents(&entry.path())).unwrap();
            cut(&target, entry.metadata().unwrap().len());
        }
    }
}

/// What was written to a file: a journal is mostly a hole, which nobody wants to read.
fn contents(path: &Path) -> Vec<u8> {
    const CHUNK: u64 = 64 << 10;
    let mut file = fs::File::open(path).unwrap();
    let mut bytes = Vec::new();
    loop {
        let before = bytes.len();
        file.by_ref().take(CHUNK).read_to_end(&mut bytes).unwrap();
        if bytes[before..].iter().all(|byte| *byte == 0) {
            let end = bytes.iter().rposition(|byte| *byte != 0);
            bytes.truncate(end.map_or(0, |at| at + 1));
            return bytes;
        }
    }
}

/// The file has so many bytes from now on.
fn cut(path: &Path, length: u64) {
    fs::File::options().write(true).open(path).unwrap().set_len(length).unwrap();
}

/// The journal of the directory `folder`.
fn journal(folder: &Path) -> PathBuf {
    let mut files = fs::read_dir(folder.join("engine")).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.extension().is_some_and(|kind| kind == "jnl")).unwrap()
}

fn written(path: &Path) -> u64 {
    contents(path).len() as u64
}
