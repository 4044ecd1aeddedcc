//! HTTP/2 as both ends of every connection set it.

use std::time::Duration;

use tonic::transport::{Endpoint, Server};

/// How much a sender may have under way before the receiver has taken it: several of the largest
/// values, so that none of them stops a link to wait for a window; bounded, so that a receiver that has
/// stopped reading bounds its memory.
const WINDOW: u32 = 16 << 20;
/// Largest frame: a delivery in few of them.
const FRAME: u32 = 256 << 10;
/// A connection on which nothing comes back for the sum of these is given up. Generous: a peer that
/// stands still, or a link that holds its bytes, is the protocol's to judge; this is for connections
/// whose other end is gone without a word.
const ASK_AFTER: Duration = Duration::from_secs(10);
const GIVE_UP_AFTER: Duration = Duration::from_secs(20);

/// A client's side.
pub(crate) fn tune(endpoint: Endpoint) -> Endpoint {
    endpoint
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_frame_size(FRAME)
        .http2_keep_alive_interval(ASK_AFTER)
        .keep_alive_timeout(GIVE_UP_AFTER)
        .keep_alive_while_idle(true)
}

/// A server's side.
pub(crate) fn server() -> Server {
    Server::builder()
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_frame_size(FRAME)
        .http2_keepalive_interval(Some(ASK_AFTER))
        .http2_keepalive_timeout(Some(GIVE_UP_AFTER))
}
