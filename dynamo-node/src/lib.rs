//! A Dynamo node: the tokio and tonic shell around [`dynamo_protocol`].
//!
//! No rule of the protocol is here. The shell turns calls into inputs, makes the core's changes durable,
//! and only then carries out what the core wants done.
//!
//! ```text
//! rpc, timers -> driver -> Node::handle -> storage -> committer
//!                             |                          |  durable
//!                             +--------- outputs --------+--> transport, rpc, timers
//! ```
//!
//! [`start`] runs a node in this process, [`Client`] talks to one, [`cli`] is the command line.

mod admission;
mod chance;
pub mod cli;
mod client;
mod clock;
mod commit;
mod config;
mod door;
mod driver;
mod guests;
mod hooks;
mod http2;
mod join;
mod metrics;
mod opening;
mod proposals;
mod queue;
pub mod record;
mod replies;
mod ring;
mod rpc;
mod seal;
mod server;
mod settled;
#[cfg(feature = "simulation")]
pub mod simulation;
mod status;
pub mod stepped;
pub mod storage;
mod telemetry;
mod timers;
mod tls;
mod told;
mod transport;
mod wire;

/// The network's messages, as compiled from `proto/dynamo.proto`.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::use_self)]
mod proto {
    tonic::include_proto!("dynamo.v1");

    /// The same, for who asks what there is.
    pub(crate) const DESCRIPTORS: &[u8] =
        include_bytes!(concat!(env!("OUT_DIR"), "/dynamo.descriptors"));
}

pub use client::{Admin, Client, ClientError, ClusterClient, Got, Written};
pub use config::{DEFAULT_CLUSTER, Durability, Options, Storage};
pub use driver::Fatal;
pub use hooks::{Hooked, Hooks};
pub use join::{Join, JoinError, free_id};
pub use proto::{Counters, Replica, ReplicaRecord, StatusReport, replica::State as ReplicaState};
pub use ring::{Proposed, RingReport};
pub use seal::{Seal, SealError};
pub use server::{Ended, Running, StartError, start};
pub use tls::{Role, Tls, TlsError, TlsFiles, Who};
