//! The agent: what runs on a host for the driver, and what the driver holds of it.
//!
//! ```text
//!   driver: Handle --- thread --- SSH channel --- `dyno agent` (relay) --- `dyno agent serve` --- node
//! ```
//!
//! The agent starts and breaks the node and shapes its links. Everything it does it does on a *lease*, which
//! every word of its driver renews: when the driver falls silent, for whatever reason, the agent heals
//! everything, ends the node and ends itself. A channel that breaks is not silence yet.

mod client;
mod facts;
mod host;
mod leftovers;
mod links;
mod netem;
mod nft;
mod node;
mod probe;
mod proto;
mod redirect;
mod relay;
mod server;

use clap::{Args, Subcommand};

pub use client::{Asked, Gate, Handle, Terms};
pub use node::PIECE;
pub use proto::{
    Answer, Fact, Hello, Means, NodeLife, NodeSpec, Peer, Probe, Probed, Request, Welcome, Whose,
};

use crate::run::verdict::{BROKEN, VALID};

/// What runs on a host for the driver; nobody starts it by hand.
#[derive(Debug, Args)]
pub struct AgentArgs {
    #[command(subcommand)]
    command: Option<AgentCommand>,
}

#[derive(Debug, Subcommand)]
enum AgentCommand {
    #[command(hide = true)]
    Serve,
}

/// Does what the other end of its standard input says.
#[must_use]
pub fn run(args: &AgentArgs) -> u8 {
    let done = match args.command {
        None => relay::run(),
        Some(AgentCommand::Serve) => server::run(),
    };
    match done {
        Ok(()) => VALID,
        Err(error) => {
            dyno_command::output::note(format_args!("agent: {error}"));
            BROKEN
        }
    }
}
