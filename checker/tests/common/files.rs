//! Files of histories, and what `dyno check` says of them.

use std::path::{Path, PathBuf};

use checker::cli::{CheckArgs, check};
use clap::Parser;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    check: CheckArgs,
}

/// Verdict and all that is said.
pub(crate) fn judge(args: &[&str]) -> (String, String) {
    let args = ["check", "--json"].iter().chain(args);
    let args = Arguments::try_parse_from(args).expect("the arguments are sound");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = check(&args.check, &mut out, &mut err, &mut |_| {});
    let said = String::from_utf8(out).unwrap() + &String::from_utf8(err).unwrap();
    let verdict = match status {
        0 => "valid",
        1 => "invalid",
        2 => "unknown",
        _ => "refused",
    };
    (verdict.to_owned(), said)
}

pub(crate) fn file(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let path: PathBuf = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path.to_string_lossy().into_owned()
}

/// A line of EDN: process, type, f, value.
pub(crate) fn edn(process: &str, kind: &str, f: &str, value: &str) -> String {
    format!("{{:process {process}, :type :{kind}, :f :{f}, :value {value}}}\n")
}

/// An operation of EDN that is done at once.
pub(crate) fn done(process: &str, f: &str, asked: &str, got: &str) -> String {
    edn(process, "invoke", f, asked) + &edn(process, "ok", f, got)
}

/// Writes 1 and then 2, and reads `got`.
pub(crate) fn two_writes(got: &str) -> String {
    done("0", "write", "1", "1") + &done("0", "write", "2", "2") + &done("1", "read", "nil", got)
}
