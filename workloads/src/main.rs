//! `dyno`: the bench.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use workloads::sim::cli::{ReplayArgs, SimArgs, replay, sim};

#[derive(Debug, Parser)]
#[command(name = "dyno", version, about = "A bench for Dynamo: runs it, breaks it, judges it.")]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run simulated clusters under virtual time, a seed each.
    Sim(SimArgs),
    /// Run a recorded trace again, and compare every state.
    Replay(ReplayArgs),
}

fn main() -> ExitCode {
    ExitCode::from(match CommandLine::parse().command {
        Command::Sim(args) => sim(&args),
        Command::Replay(args) => replay(&args),
    })
}
