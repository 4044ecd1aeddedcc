//! `dyno model` alone: the search without the rest of the harness.

use std::process::ExitCode;

use clap::Parser;

/// Exhaustive checking of the protocol core.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    model: model::cli::ModelArgs,
}

fn main() -> ExitCode {
    ExitCode::from(model::cli::run(&Cli::parse().model))
}
