//! `dyno`: the bench.

use std::process::ExitCode;

fn main() -> ExitCode {
    let status = std::panic::catch_unwind(|| dyno::cli::main(std::env::args_os()));
    // The panic has said its own. It must not look like a verdict.
    ExitCode::from(status.unwrap_or(dyno::run::verdict::BROKEN))
}
