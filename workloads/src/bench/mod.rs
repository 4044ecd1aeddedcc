//! `dyno bench`: what a cluster of real processes delivers, beside its peers; what the ways of cutting the
//! ring come to; and how a cluster grows.

mod kv;
mod load;
mod loss;
mod nodes;
mod partitioning;
mod peers;
mod ports;
mod reach;
mod rings;
mod scale;
mod servers;
mod usage;

use std::future::Future;

use clap::{Args, Subcommand};
use dyno_command::output;

use crate::plan::PlanError;
use crate::run::verdict::{BROKEN, REFUSED, VALID};

/// Arguments of `dyno bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Puts and gets on real node processes: rate, latency, processor time and memory.
    Kv(kv::KvArgs),
    /// The same load on Redis and etcd, side by side, where they are installed.
    Peers(peers::PeersArgs),
    /// What nodes have to reach beside peers, under faults and under overload: all rows with their bars.
    Reach(reach::ReachArgs),
    /// What power cuts take of what was acknowledged, and how old it was.
    Loss(loss::LossArgs),
    /// The three ways of cutting the ring: balance, metadata, and what moves when a node joins.
    Partitioning(partitioning::PartitioningArgs),
    /// How gossip, metadata, movement and refill grow with the number of nodes, simulated.
    Scale(scale::ScaleArgs),
}

/// Why a bench did not do what it was asked to.
#[derive(Debug)]
enum Failure {
    /// It makes no sense; nothing was started.
    Refused(String),
    /// What was started did not work.
    Broken(String),
}

impl BenchArgs {
    /// Refuses what cannot be run, before anything starts.
    ///
    /// # Errors
    /// What is wrong, in a line.
    pub fn check(&self) -> Result<(), PlanError> {
        let checked = match &self.command {
            Command::Kv(args) => args.check(),
            Command::Peers(args) => args.check(),
            Command::Loss(args) => args.check(),
            Command::Reach(args) => args.check(),
            Command::Partitioning(_) => Ok(()),
            Command::Scale(args) => args.check(),
        };
        checked.map_err(PlanError)
    }
}

/// Runs a bench; the status to exit with.
#[must_use]
pub fn run(args: &BenchArgs) -> u8 {
    let ran = match &args.command {
        Command::Kv(args) => kv::run(args),
        Command::Peers(args) => peers::run(args),
        Command::Loss(args) => loss::run(args),
        Command::Reach(args) => reach::run(args),
        Command::Partitioning(args) => {
            partitioning::run(args);
            Ok(())
        }
        Command::Scale(args) => scale::run(args),
    };
    match ran {
        Ok(()) => VALID,
        Err(Failure::Refused(why)) => {
            output::refuse(why);
            REFUSED
        }
        Err(Failure::Broken(why)) => {
            output::refuse(why);
            BROKEN
        }
    }
}

/// Runs `work` on one thread: the processor's others are for the servers.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| broken("start the runtime", &error))?;
    tokio::task::LocalSet::new().block_on(&runtime, work)
}

fn broken(what: &str, error: &impl std::fmt::Display) -> Failure {
    Failure::Broken(format!("cannot {what}: {error}"))
}

/// To three digits behind the point: what is measured is no better.
fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}
