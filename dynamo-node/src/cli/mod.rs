//! The command line of a node and of its clients, as a library: the binary `dynamo-node` mounts it, and
//! so does `dyno node`.
//!
//! Exit status: 0; 254 if the command was refused before anything started; 255 if it could not start
//! or failed.

mod change;
mod client;
mod configured;
mod look;
mod parent;
mod ring;
mod security;
mod serve;
mod settings;
mod top;

use std::ffi::OsString;
use std::fmt;

use clap::{CommandFactory, Parser, Subcommand};
use dyno_command::{help_or_refusal, output};
use serve::Serving;
use tokio::runtime::Builder;

pub use change::{CancelArgs, LeaveArgs, RemoveArgs, WeighArgs};
pub use client::{AcceptLossArgs, AskArgs, DeleteArgs, GetArgs, PruneArgs, PutArgs, StatusArgs};
pub use ring::RingArgs;
pub use security::TlsFlags;
pub use serve::{CheckConfigArgs, JoinArgs, NodeArgs, ReplaceArgs, ServeArgs};
pub use settings::SettingFlags;
pub use top::TopArgs;

/// It could not start, or it failed.
pub use dyno_command::exit::BROKEN as FAILED;
/// The command line makes no sense; nothing was started.
pub use dyno_command::exit::REFUSED;
/// The command did what it was asked to.
pub use dyno_command::exit::VALID as DONE;

/// What a node's command line can do.
#[derive(Clone, Debug, Subcommand)]
pub enum NodeCommand {
    /// Run a node until it is told to stop.
    Serve(Box<ServeArgs>),
    /// Check what `serve` would be started with, and print it; nothing is started.
    CheckConfig(Box<CheckConfigArgs>),
    /// Print all versions of a key, and their context.
    Get(GetArgs),
    /// Write a version of a key.
    Put(PutArgs),
    /// Delete the versions that a context covers.
    Delete(DeleteArgs),
    /// Make a key writable again whose context names too many actors.
    Prune(PruneArgs),
    /// Have a node count although nobody is left who could refill it.
    AcceptLoss(AcceptLossArgs),
    /// Print a node's status.
    Status(StatusArgs),
    /// Print who the members are, and how far a change of the membership is.
    Ring(RingArgs),
    /// Show how all members do, again and again.
    Top(TopArgs),
    /// Run a node that becomes a member of a cluster that runs.
    Join(Box<JoinArgs>),
    /// Run a member that lost its directory, on an empty one.
    Replace(Box<ReplaceArgs>),
    /// Have a member hand on what it holds, and go.
    Leave(LeaveArgs),
    /// Have a member that leaves stay.
    Cancel(CancelArgs),
    /// Give a member another share of the ring.
    Weigh(WeighArgs),
    /// Remove a member that has handed on what it held, or is given up.
    Remove(RemoveArgs),
}

#[derive(Debug, Parser)]
#[command(name = "dynamo-node", version, about = "A Dynamo node, and a client of one.")]
struct CommandLine {
    #[command(subcommand)]
    command: NodeCommand,
}

/// Why a command did not do what it was asked to: one line, and the exit status.
#[derive(Debug)]
struct Failure {
    status: u8,
    why: String,
}

impl Failure {
    fn refused(why: impl fmt::Display) -> Self {
        Self { status: REFUSED, why: why.to_string() }
    }

    fn failed(why: impl fmt::Display) -> Self {
        Self { status: FAILED, why: why.to_string() }
    }
}

/// Parses `arguments`, the program's name first, and runs them. Returns the exit status.
pub fn main<I>(arguments: I) -> u8
where
    I: IntoIterator,
    I::Item: Into<OsString> + Clone,
{
    let arguments = match configured(arguments.into_iter().map(Into::into).collect()) {
        Ok(arguments) => arguments,
        Err(why) => {
            output::refuse(why);
            return REFUSED;
        }
    };
    match CommandLine::try_parse_from(arguments) {
        Ok(line) => output::status(run(line.command)),
        Err(error) => help_or_refusal(&error),
    }
}

/// A command line, the program's name first, with what it leaves out and the environment or a file has: of
/// commands that run a node, and of no other.
///
/// # Errors
/// What is wrong with the file, in one line.
pub fn configured(arguments: Vec<OsString>) -> Result<Vec<OsString>, String> {
    // What is no text names no setting.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    configured::configured(arguments, &CommandLine::command(), &environment.collect())
}

/// Refuses what cannot be started.
///
/// # Errors
/// What is wrong, and the mend.
pub fn check(command: &NodeCommand) -> Result<(), String> {
    let checked = match command {
        NodeCommand::Serve(args) => Serving::from((**args).clone()).check(),
        NodeCommand::CheckConfig(args) => args.check(),
        NodeCommand::Join(args) => Serving::from((**args).clone()).check(),
        NodeCommand::Replace(args) => Serving::from((**args).clone()).check(),
        NodeCommand::Put(args) => args.check(),
        NodeCommand::Delete(args) => args.check(),
        NodeCommand::Get(_)
        | NodeCommand::Prune(_)
        | NodeCommand::AcceptLoss(_)
        | NodeCommand::Status(_)
        | NodeCommand::Ring(_)
        | NodeCommand::Top(_)
        | NodeCommand::Leave(_)
        | NodeCommand::Cancel(_)
        | NodeCommand::Weigh(_)
        | NodeCommand::Remove(_) => Ok(()),
    };
    checked.map_err(|failure| failure.why)
}

/// Runs a command on a runtime of its own. Returns the exit status; what went wrong is said in one
/// line on standard error.
#[must_use]
pub fn run(command: NodeCommand) -> u8 {
    let threads = match &command {
        NodeCommand::Serve(args) => args.threads(),
        NodeCommand::Join(args) => args.threads(),
        NodeCommand::Replace(args) => args.threads(),
        _ => 1,
    };
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(dispatch(command));
            // A stuck file system must not keep the process.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(Failure::failed(format!("cannot start the runtime: {error}"))),
    };
    match result {
        Ok(()) => DONE,
        Err(failure) => {
            output::refuse(&failure.why);
            failure.status
        }
    }
}

async fn dispatch(command: NodeCommand) -> Result<(), Failure> {
    match command {
        NodeCommand::Serve(args) => Serving::from(*args).run().await,
        NodeCommand::CheckConfig(args) => args.run(),
        NodeCommand::Join(args) => Serving::from(*args).run().await,
        NodeCommand::Replace(args) => Serving::from(*args).run().await,
        NodeCommand::Get(args) => args.run().await,
        NodeCommand::Put(args) => args.run().await,
        NodeCommand::Delete(args) => args.run().await,
        NodeCommand::Prune(args) => args.run().await,
        NodeCommand::AcceptLoss(args) => args.run().await,
        NodeCommand::Status(args) => args.run().await,
        NodeCommand::Ring(args) => args.run().await,
        NodeCommand::Top(args) => args.run().await,
        NodeCommand::Leave(args) => args.run().await,
        NodeCommand::Cancel(args) => args.run().await,
        NodeCommand::Weigh(args) => args.run().await,
        NodeCommand::Remove(args) => args.run().await,
    }
}
