//! `dyno model`, before there is a `dyno`.

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    model: model::cli::ModelArgs,
}

fn main() -> ExitCode {
    model::cli::run(&Arguments::parse().model)
}
