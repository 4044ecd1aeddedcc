//! How envelopes leave a node.

mod book;
mod grpc;
mod link;

use dynamo_protocol::{Envelope, Limits, NodeId};

pub(crate) use book::{Book, is_address};
pub(crate) use grpc::{GrpcTransport, Links};

/// The name under which a link's metadata say who dials.
pub(crate) const HELLO: &str = "hello-bin";

/// The most bytes a message of a peer can have, so that whatever was accepted once can be carried.
///
/// A record takes a put only if its live values are within the limit then. The sets that can meet in a
/// message are those of the records that mint: one of each member at a time, each within the limit, and
/// twice that for records that were lost and born again. gRPC itself ends at 4 GiB.
pub(crate) fn largest_message(limits: &Limits, members: usize) -> usize {
    const ENVELOPE: usize = 64 << 10;
    const VERSION: usize = 64;
    const ACTOR: usize = 32;
    let Limits { siblings, actors, set_bytes, .. } = *limits;
    let version = actors.saturating_mul(ACTOR) + VERSION;
    let set = siblings.saturating_mul(version).saturating_add(set_bytes);
    let all = set.saturating_mul(2 * members).saturating_add(ENVELOPE);
    all.min(u32::MAX as usize)
}

/// A way to the peers.
pub(crate) trait Transport: Send {
    /// Sends, soon or never: the protocol tolerates loss. Does not wait.
    fn send(&mut self, envelope: Envelope);

    /// How many bytes wait for each peer.
    fn waiting(&self) -> Vec<(NodeId, usize)>;

    /// There is a way to `peer` from now on, or another one.
    fn meet(&mut self, peer: NodeId);
}

/// An error with its causes: the outermost alone says "transport error".
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let inner = error.to_string();
        // Some wrappers say again what they wrap.
        if !text.ends_with(&inner) {
            text = format!("{text}: {inner}");
        }
        cause = error.source();
    }
    text
}
