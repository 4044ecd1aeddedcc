//! Where metrics are read: HTTP, one answer a connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::Text;
use crate::driver::{Arrival, Asked, Command};
use crate::replies::Untaken;

/// Few read them, and each is answered in a millisecond: more are left waiting.
const READERS: usize = 16;
/// No reader of metrics has more to say.
const HEAD: usize = 8 << 10;
/// How long all of it may take.
const TIME: Duration = Duration::from_secs(5);

/// Where what is measured comes from.
pub(crate) struct Endpoint {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) arrivals: mpsc::Sender<Arrival>,
    pub(crate) clients: mpsc::Sender<Vec<Asked>>,
    pub(crate) untaken: Arc<Untaken>,
}

/// Answers all who ask, until this is dropped.
pub(crate) async fn serve(listener: TcpListener, endpoint: Endpoint) {
    let (readers, endpoint) = (Arc::new(Semaphore::new(READERS)), Arc::new(endpoint));
    loop {
        // It is never closed.
        let Ok(seat) = Arc::clone(&readers).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "metrics: no connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let endpoint = Arc::clone(&endpoint);
        tokio::spawn(async move {
            // One that does not read, or breaks, is nobody's trouble but its own.
            let _ = timeout(TIME, endpoint.answer(stream)).await;
            drop(seat);
        });
    }
}

impl Endpoint {
    async fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        let head = head(&mut stream).await?;
        let mut words = head.lines().next().unwrap_or_default().split(' ');
        let (status, body) = match (words.next(), words.next()) {
            (Some("GET"), Some("/metrics")) => match self.text().await {
                Some(text) => ("200 OK", text),
                None => ("503 Service Unavailable", "the node is ending\n".to_owned()),
            },
            _ => ("404 Not Found", "GET /metrics\n".to_owned()),
        };
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    }

    async fn text(&self) -> Option<String> {
        let (asker, answer) = oneshot::channel();
        self.commands.send(Command::Metrics(asker)).await.ok()?;
        let mut text: Text = answer.await.ok()?;
        let depth = |most: usize, left: usize| (most - left) as f64;
        let (peers, clients) = (&self.arrivals, &self.clients);
        text.head("queue_depth", "gauge", "Batches that wait for the driver.");
        let of_peers = depth(peers.max_capacity(), peers.capacity());
        text.sample("queue_depth", "queue=\"peers\"", of_peers);
        let of_clients = depth(clients.max_capacity(), clients.capacity());
        text.sample("queue_depth", "queue=\"clients\"", of_clients);
        let untaken = self.untaken.bytes() as f64;
        text.gauge("untaken_answer_bytes", "Answers that clients have not read.", untaken);
        Some(text.into_string())
    }
}

/// All up to the empty line.
async fn head(stream: &mut TcpStream) -> io::Result<String> {
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
        if bytes.len() > HEAD {
            return Err(io::Error::other("more than any reader of metrics says"));
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
