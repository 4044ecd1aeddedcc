//! Which core and which model this is built with: evidence is of these sources and of no others.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use sha2::{Digest, Sha256};

fn main() -> io::Result<()> {
    let root = PathBuf::from("../..");
    // What decides what is found; and, with it, what a found path means when it is replayed.
    let core = ["dynamo-node/protocol/src"];
    let model = ["model/src", "dynamo-node/sim/src"];
    let text = format!(
        "const CORE: &str = \"{}\";\nconst MODEL: &str = \"{}\";\n",
        hash(&root, &core)?,
        hash(&root, &model)?
    );
    let out = env::var_os("OUT_DIR").expect("cargo says where to write");
    fs::write(PathBuf::from(out).join("sources.rs"), text)
}

/// Of all sources below some folders, by their names and contents.
fn hash(root: &Path, folders: &[&str]) -> io::Result<String> {
    let mut files = Vec::new();
    for folder in folders {
        println!("cargo::rerun-if-changed={}", root.join(folder).display());
        collect(&root.join(folder), &mut files)?;
    }
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().replace('\\', "/");
        let text = fs::read(&file)?;
        hash.update(format!("{name}\0{}\0", text.len()));
        hash.update(&text);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}
