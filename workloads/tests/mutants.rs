//! Seeded bugs stay out of what is built without asking for them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The names, from the one list there is: a normal build has them nowhere else.
#[cfg(not(feature = "mutants"))]
fn names() -> Vec<String> {
    let source = root().join("dynamo-node/protocol/src/mutant.rs");
    let source = fs::read_to_string(source).unwrap();
    let name =
        |line: &str| Some(line.trim().split_once(" = \"")?.1.strip_suffix("\",")?.to_owned());
    source.lines().filter_map(name).collect()
}

#[cfg(not(feature = "mutants"))]
#[test]
fn a_normal_binary_holds_no_seeded_bug() {
    let binary = fs::read(env!("CARGO_BIN_EXE_dyno")).unwrap();
    let mut names = names();
    assert!(names.len() > 30, "{names:?}");
    // A versioning that nodes have is called so too.
    names.retain(|name| name != "last-writer-wins");
    names.push("hint-accounting".to_owned());
    let found = found(&binary, &names);
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["hint-accounting"], "only what is there");
}

/// Those of the names that are somewhere in the binary, in one pass over it.
#[cfg(not(feature = "mutants"))]
fn found<'a>(binary: &[u8], names: &'a [String]) -> std::collections::BTreeSet<&'a str> {
    let mut by_first = vec![Vec::new(); 256];
    for name in names {
        by_first[usize::from(name.as_bytes()[0])].push(name.as_str());
    }
    let at = |(at, byte): (usize, &u8)| {
        let here = by_first[usize::from(*byte)].iter();
        here.copied().filter(|name| binary[at..].starts_with(name.as_bytes())).collect::<Vec<_>>()
    };
    let candidates =
        binary.iter().enumerate().filter(|(_, byte)| !by_first[usize::from(**byte)].is_empty());
    candidates.flat_map(at).collect()
}

#[cfg(not(feature = "mutants"))]
#[test]
fn a_normal_binary_refuses_to_seed_a_bug() {
    let name = &names()[0];
    let args = ["sim", "--seeds", "0", "--mutant", name];
    let output =
        std::process::Command::new(env!("CARGO_BIN_EXE_dyno")).args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(254));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("--features mutants"), "{told}");
}

#[test]
fn no_manifest_enables_the_feature() {
    let folders =
        ["", "checker", "dynamo-node", "dynamo-node/protocol", "dynamo-node/sim", "model"];
    let mut seen = 0;
    for folder in folders.into_iter().chain(["workloads"]) {
        let path = root().join(folder).join("Cargo.toml");
        let manifest: Table = fs::read_to_string(&path).unwrap().parse().unwrap();
        seen += enabled(&manifest, &path);
    }
    assert_eq!(seen, 5, "every package that runs the core has the feature, and no other");
    let config = fs::read_to_string(root().join(".cargo/config.toml")).unwrap();
    assert!(!config.contains("mutants"), "no alias and no flag enables it");
}

/// Checks a manifest; how many features `mutants` it has.
fn enabled(manifest: &Table, path: &Path) -> usize {
    let mut seen = 0;
    for (feature, enables) in
        manifest.get("features").and_then(Value::as_table).into_iter().flatten()
    {
        let others = enables.as_array().unwrap().iter().filter_map(Value::as_str);
        let enables_it = others.clone().any(|other| other.contains("mutants"));
        assert!(feature == "mutants" || !enables_it, "{}: {feature}", path.display());
        seen += usize::from(feature == "mutants");
    }
    let without: Table = manifest
        .iter()
        .filter(|(key, _)| *key != "features")
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    // An example that is built only where the feature is asked for enables nothing.
    let text = toml::to_string(&without).unwrap().replace("required-features = [\"mutants\"]", "");
    assert!(!text.contains("mutants"), "{}: a dependency enables it", path.display());
    seen
}
