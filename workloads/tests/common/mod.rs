//! What a test needs of the machine, said in one place.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::process::{Command, Stdio};

use dyno::hosts::lab;

/// Whether a lab can be had. If not, the test is skipped and says why; where `DYNO_REQUIRE=all` is set,
/// it fails instead, so that nothing is skipped unseen.
pub(crate) fn has_lab() -> bool {
    let lacks = match lab::privilege() {
        Ok(_) => return true,
        Err(error) => error.to_string(),
    };
    assert!(std::env::var_os("DYNO_REQUIRE").is_none_or(|all| all != "all"), "{lacks}");
    eprintln!("skipped: {lacks}");
    false
}

/// The same for tests that have to be root to become somebody else.
pub(crate) fn is_root() -> bool {
    let root = Command::new("id").arg("-u").stdin(Stdio::null()).output();
    let root = root.is_ok_and(|out| out.stdout == b"0\n");
    assert!(root || std::env::var_os("DYNO_REQUIRE").is_none_or(|all| all != "all"), "needs root");
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}

/// The same for tests that look at pages in a browser.
pub(crate) fn has_chromium() -> bool {
    let asked = Command::new("chromium").arg("--version").stdin(Stdio::null()).output();
    let has = asked.is_ok_and(|out| out.status.success());
    let required = std::env::var_os("DYNO_REQUIRE").is_some_and(|all| all == "all");
    assert!(has || !required, "needs chromium");
    if !has {
        eprintln!("skipped: needs chromium");
    }
    has
}
