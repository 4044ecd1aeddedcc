//! What a test needs of the machine, said in one place.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::process::{Command, Stdio};

use dyno::hosts::lab;

/// What is missing. Where `DYNO_REQUIRE=all` is set the test fails, so that nothing is skipped unseen;
/// else it is skipped, and says why.
fn skip(lacks: &str) -> bool {
    let required = std::env::var_os("DYNO_REQUIRE").is_some_and(|all| all == "all");
    assert!(!required, "{lacks}");
    eprintln!("skipped: {lacks}");
    false
}

/// Does this command succeed here?
fn can(command: &str, words: &[&str]) -> bool {
    let ran = Command::new(command).args(words).stdin(Stdio::null()).output();
    ran.is_ok_and(|out| out.status.success())
}

/// Whether a lab can be had.
pub(crate) fn has_lab() -> bool {
    lab::privilege().map_or_else(|error| skip(&error.to_string()), |_| true)
}

/// The same for tests that have to be root to become somebody else.
pub(crate) fn is_root() -> bool {
    let root = Command::new("id").arg("-u").stdin(Stdio::null()).output();
    root.is_ok_and(|out| out.stdout == b"0\n") || skip("needs root")
}

/// The same for tests whose nodes have disks of their own.
pub(crate) fn has_own_disks() -> bool {
    is_root() && (can("losetup", &["--find"]) || skip("needs loop devices"))
}

/// The same for tests that have a scheduler of their own.
pub(crate) fn has_slurm() -> bool {
    let can_run =
        ["/usr/sbin/slurmctld", "/usr/sbin/slurmd", "/usr/sbin/munged", "/usr/bin/sbatch"];
    match can_run.iter().find(|tool| !std::path::Path::new(tool).exists()) {
        None => is_root(),
        Some(tool) => skip(&format!("needs {tool}: apt-get install slurm-wlm munge")),
    }
}

/// The same for tests that look at pages in a browser.
pub(crate) fn has_chromium() -> bool {
    can("chromium", &["--version"]) || skip("needs chromium")
}

/// A history of a register with a read of what has been written over, as Jepsen writes one.
pub(crate) const STALE_READ: &str = "\
{:process 0, :type :invoke, :f :write, :value 1}
{:process 0, :type :ok, :f :write, :value 1}
{:process 0, :type :invoke, :f :write, :value 2}
{:process 0, :type :ok, :f :write, :value 2}
{:process 1, :type :invoke, :f :read, :value nil}
{:process 1, :type :ok, :f :read, :value 1}";

/// The script of axe-core, which judges pages, for tests that have it judge. It is in Python's package of it:
/// nothing of it is kept here.
pub(crate) fn axe() -> Option<String> {
    let find = "import axe_core_python as axe; print(axe.__path__[0])";
    let ran = Command::new("python3").args(["-c", find]).stdin(Stdio::null()).output();
    let place = ran.ok().filter(|ran| ran.status.success());
    let script = place.and_then(|ran| {
        let folder = String::from_utf8(ran.stdout).ok()?;
        std::fs::read_to_string(std::path::Path::new(folder.trim()).join("axe.min.js")).ok()
    });
    if script.is_none() {
        skip("needs python3 with axe-core: pip install axe-core-python");
    }
    script
}

/// The same for tests that ask DuckDB.
pub(crate) fn has_duckdb() -> bool {
    can("python3", &["-c", "import duckdb"])
        || skip("needs python3 with duckdb: pip install duckdb")
}

/// The same for tests that measure Redis.
pub(crate) fn has_redis() -> bool {
    can("redis-server", &["--version"]) || skip("needs redis-server")
}

/// The same for tests that measure etcd.
pub(crate) fn has_etcd() -> bool {
    can("etcd", &["--version"]) || skip("needs etcd: Debian's etcd-server")
}
