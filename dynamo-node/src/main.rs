//! `dynamo-node`: a node, and a client of one.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(dynamo_node::cli::main(std::env::args_os()))
}
