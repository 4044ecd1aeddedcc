//! Who is at the other end of a connection, shown by certificates: nodes and those who ask them present one
//! each, signed by the cluster's own authority, and what it names is all that its holder may do.
//!
//! A certificate names *roles*, as URIs among its alternative names (see [`Who`]): not hosts, so that a node
//! may change its address, and no other server of the host can speak for it. TLS 1.3 alone.
//!
//! The files are looked at again whenever a connection begins, at most once a second: certificates are
//! renewed by replacing them.

mod files;
mod server;
mod verifier;
mod who;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dynamo_protocol::NodeId;
use http::Uri;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::{TlsAcceptor, TlsConnector, client};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use files::Material;
pub(crate) use server::Stream;
use verifier::OneOf;
pub use who::{Role, Who};

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);
/// What both ends speak above it.
const ALPN: &[u8] = b"h2";

/// The files of one end of a connection, PEM each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Its certificate, and those between that and the authority's.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// The certificates of the authorities that the other end's has to be signed by.
    pub authority: PathBuf,
}

/// Files that will not do.
#[derive(Debug, Error)]
#[error("{}: {why}", file.display())]
pub struct TlsError {
    /// Which.
    pub file: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

/// One end of connections: who it is, and whom it believes.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    cluster: String,
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    material: Arc<Material>,
    looked: Instant,
}

impl Tls {
    /// Reads the files of an end in `cluster`.
    ///
    /// # Errors
    /// The first file that will not do.
    pub fn read(files: TlsFiles, cluster: impl Into<String>) -> Result<Self, TlsError> {
        let material = Arc::new(Material::read(&files)?);
        let now = Mutex::new(Now { material, looked: Instant::now() });
        Ok(Self { files, cluster: cluster.into(), now })
    }

    /// The cluster whose certificates it believes.
    pub(crate) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Refuses to be `node` with a certificate of somebody else.
    ///
    /// # Errors
    /// Whose it is.
    pub(crate) fn check_is(&self, node: NodeId) -> Result<(), TlsError> {
        let error = |why: String| TlsError { file: self.files.certificate.clone(), why };
        let own = self.material().leaf().map_err(|why| error(why.to_owned()))?;
        let who = Who::of(&own, &self.cluster).map_err(|why| error(why.to_string()))?;
        match who.is_peer(node) {
            true => Ok(()),
            false => {
                let wanted = Role::Peer(node).uri(&self.cluster);
                Err(error(format!("it names {who}; this node needs one that names {wanted}")))
            }
        }
    }

    /// The node that the certificate names; the first, if it names several.
    pub(crate) fn node(&self) -> Option<NodeId> {
        let who = Who::of(&self.material().leaf().ok()?, &self.cluster).ok()?;
        who.peers().next()
    }

    /// What is in the files by now; what was, as long as they will not do.
    fn material(&self) -> Arc<Material> {
        let mut now = self.now();
        if now.looked.elapsed() >= LOOK {
            now.looked = Instant::now();
            if now.material.is_outdated(&self.files) {
                match Material::read(&self.files) {
                    Ok(material) => {
                        tracing::info!(file = %self.files.certificate.display(), "new certificates");
                        now.material = Arc::new(material);
                    }
                    Err(error) => {
                        tracing::error!(%error, "the certificates from before are used on")
                    }
                }
            }
        }
        Arc::clone(&now.material)
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        // It is never left half-changed.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a connection that begins now.
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, rustls::Error> {
        let mut config = self.material().server()?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Connects to `address`, and makes sure that a node of the cluster answers there: `expected`, if that is
    /// given.
    async fn dial(
        &self,
        address: &str,
        expected: Option<NodeId>,
    ) -> io::Result<client::TlsStream<TcpStream>> {
        let verifier = OneOf::nodes(self.material().authority(), &self.cluster, expected);
        let config = self.material().client(verifier).map_err(io::Error::other)?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        // Nodes are known by their numbers and not by names of hosts: this one is sent to nobody.
        let nobody = ServerName::try_from("dynamo.invalid").map_err(io::Error::other)?;
        TlsConnector::from(Arc::new(config)).connect(nobody, stream).await
    }
}

/// Connects to the node at `address`, within `patience`: over TLS if there is any, and then to `expected` and
/// no other, if that is given.
///
/// # Errors
/// If that cannot be had.
pub(crate) async fn connect(
    endpoint: Endpoint,
    (address, expected): (&str, Option<NodeId>),
    tls: Option<&Arc<Tls>>,
    patience: Duration,
) -> Result<Channel, tonic::transport::Error> {
    #[cfg(feature = "simulation")]
    if crate::simulation::is_here() {
        return crate::simulation::connect(endpoint, address, patience).await;
    }
    let Some(tls) = tls else { return endpoint.connect_timeout(patience).connect().await };
    let (tls, address) = (Arc::clone(tls), address.to_owned());
    let dial = move |_: Uri| {
        let (tls, address) = (Arc::clone(&tls), address.clone());
        async move {
            let dialled = tokio::time::timeout(patience, tls.dial(&address, expected)).await;
            let late = || io::Error::new(io::ErrorKind::TimedOut, "no handshake in time");
            dialled.map_err(|_| late())?.map(TokioIo::new)
        }
    };
    endpoint.connect_with_connector(service_fn(dial)).await
}
