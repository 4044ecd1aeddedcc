//! `dyno`: the whole bench in one command.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "dyno", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Hosts on one machine, each with its own sshd.
    Lab(workloads::lab::cli::LabArgs),
    /// What runs on a host for the driver; nobody starts it by hand.
    #[command(hide = true)]
    Agent(workloads::agent::AgentArgs),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Lab(args) => workloads::lab::cli::run(args),
        Command::Agent(args) => workloads::agent::run(&args),
    }
}
