//! How envelopes leave a node.

mod grpc;
mod link;

use dynamo_protocol::Envelope;

pub(crate) use grpc::{GrpcTransport, Links};

/// A way to the peers.
pub(crate) trait Transport: Send {
    /// Sends, soon or never: the protocol tolerates loss. Does not wait.
    fn send(&mut self, envelope: Envelope);
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
