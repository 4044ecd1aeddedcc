//! Ports that are free and stay so until whoever is told one listens there.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpSocket;

/// A port of loopback, bound and not listening: nobody else is given it, and a server that sets
/// SO_REUSEADDR, as all here do, can listen there.
#[derive(Debug)]
pub(super) struct Port {
    address: SocketAddr,
    _socket: TcpSocket,
}

impl Port {
    pub(super) fn free() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(([127, 0, 0, 1], 0).into())?;
        Ok(Self { address: socket.local_addr()?, _socket: socket })
    }

    pub(super) fn several(count: usize) -> io::Result<Vec<Self>> {
        (0..count).map(|_| Self::free()).collect()
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}
