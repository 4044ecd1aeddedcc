//! Finds the commit that is built, so that a verdict can name it. Where there is no git, or the sources are
//! no checkout of their own, it stays unknown, unless `DYNO_COMMIT` says it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What the program is made of. Any change of it builds this package anyhow, so that asking git once more
/// costs nothing; what changes elsewhere, as in docs and tests, does not count.
const SOURCES: [&str; 13] = [
    "Cargo.toml",
    "Cargo.lock",
    "checker/src",
    "dynamo-node/proto",
    "dynamo-node/protocol/src",
    "dynamo-node/sim/src",
    "dynamo-node/src",
    "model/src",
    "workloads/claims/src",
    "workloads/command/src",
    "workloads/page",
    "workloads/serve/src",
    "workloads/src",
];

fn main() {
    println!("cargo::rerun-if-env-changed=DYNO_COMMIT");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for source in SOURCES.iter().map(|source| root.join(source)).filter(|source| source.exists()) {
        println!("cargo::rerun-if-changed={}", source.display());
    }
    let git = Git(root);
    // A checkout of something else may lie around a copy of these sources.
    let is_ours = git.says(&["rev-parse", "--show-prefix"]).is_some_and(|prefix| prefix.is_empty());
    if is_ours {
        git.watch();
    }
    let said = std::env::var("DYNO_COMMIT").ok().filter(|said| !said.is_empty());
    let (commit, is_changed) = match said {
        None if is_ours => (git.says(&["rev-parse", "HEAD"]), git.differs()),
        said => (said, false),
    };
    let version = env!("CARGO_PKG_VERSION");
    let Some(commit) = commit else {
        println!("cargo::rustc-env=DYNO_VERSION={version}");
        return;
    };
    println!("cargo::rustc-env=DYNO_BUILT={commit}");
    if is_changed {
        println!("cargo::rustc-env=DYNO_CHANGED=1");
    }
    let since = if is_changed { ", changed since" } else { "" };
    println!("cargo::rustc-env=DYNO_VERSION={version} (commit {commit}{since})");
}

/// Git in this folder.
struct Git(PathBuf);

impl Git {
    /// What it says to this, if it can be asked.
    fn says(&self, words: &[&str]) -> Option<String> {
        let mut git = Command::new("git");
        // What a hook is told is about the repository whose hook it is.
        for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
            git.env_remove(name);
        }
        let ran = git.arg("-C").arg(&self.0).args(words).output().ok()?;
        let text = String::from_utf8(ran.stdout).ok()?;
        ran.status.success().then(|| text.trim().to_owned())
    }

    /// Are the sources others than those of the commit, as far as is known?
    fn differs(&self) -> bool {
        let status = ["--no-optional-locks", "status", "--porcelain", "--"];
        self.says(&[&status[..], &SOURCES].concat()).is_none_or(|differs| !differs.is_empty())
    }

    /// Has this script run again when another commit is checked out, or one is made.
    fn watch(&self) {
        let mut names = vec!["HEAD".to_owned(), "logs/HEAD".to_owned(), "packed-refs".to_owned()];
        names.extend(self.says(&["symbolic-ref", "--quiet", "HEAD"]));
        for name in names {
            let path = self.says(&["rev-parse", "--git-path", &name]).map(|path| self.0.join(path));
            // One that is not there would have it run each time.
            if let Some(path) = path.filter(|path| path.exists()) {
                println!("cargo::rerun-if-changed={}", path.display());
            }
        }
    }
}
