//! HTTP/2 as both ends of every connection set it.

use std::time::Duration;

use tonic::transport::{Endpoint, Server};

/// How much a node may have under way to its client before the client has taken it: several of the largest
/// values, so that none of them waits for a window; bounded, so that a receiver that has stopped reading
/// bounds its memory. A node's own window is 64 KiB for whoever dials, and grows (to 16 MiB) only with what
/// its services read: a link that is admitted soon has what it needs, and one that is not never holds more.
const CLIENT_WINDOW: u32 = 16 << 20;
/// Largest frame a node takes: no larger than the window it begins with.
const FRAME: u32 = 64 << 10;
/// How many requests one connection may have open. A session is one, whatever it carries; calls that come
/// one by one wait their turn.
const STREAMS: u32 = 64;
/// A connection on which nothing comes back for the sum of these is given up. Generous: a peer that
/// stands still, or a link that holds its bytes, is the protocol's to judge; this is for connections
/// whose other end is gone without a word.
const ASK_AFTER: Duration = Duration::from_secs(10);
const GIVE_UP_AFTER: Duration = Duration::from_secs(20);

/// A client's side.
pub(crate) fn tune(endpoint: Endpoint) -> Endpoint {
    endpoint
        .tcp_nodelay(true)
        .initial_stream_window_size(CLIENT_WINDOW)
        .initial_connection_window_size(CLIENT_WINDOW)
        .http2_keep_alive_interval(ASK_AFTER)
        .keep_alive_timeout(GIVE_UP_AFTER)
        .keep_alive_while_idle(true)
}

/// A server's side.
pub(crate) fn server() -> Server {
    Server::builder()
        .http2_adaptive_window(Some(true))
        .max_frame_size(FRAME)
        .max_concurrent_streams(STREAMS)
        .http2_keepalive_interval(Some(ASK_AFTER))
        .http2_keepalive_timeout(Some(GIVE_UP_AFTER))
}
