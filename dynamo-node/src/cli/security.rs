//! Who one is, and whom to believe, as flags.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::Failure;
use crate::client::{Admin, Client};
use crate::config::DEFAULT_CLUSTER;
use crate::seal::Seal;
use crate::tls::{Tls, TlsFiles};

/// Certificates: all three files, or none.
#[derive(Clone, Debug, Default, Args)]
pub struct TlsFlags {
    /// The certificate to present, in PEM: it names roles in the cluster, as dynamo://CLUSTER/peer/3,
    /// dynamo://CLUSTER/client or dynamo://CLUSTER/operator. Files that are replaced are read again.
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "tls_ca"])]
    tls_certificate: Option<PathBuf>,
    /// The certificate's private key.
    #[arg(long, value_name = "FILE", requires_all = ["tls_certificate", "tls_ca"])]
    tls_key: Option<PathBuf>,
    /// The certificate of the authority that signs the others'.
    #[arg(long, value_name = "FILE", requires_all = ["tls_certificate", "tls_key"])]
    tls_ca: Option<PathBuf>,
}

/// How a command that asks nodes connects to them.
#[derive(Clone, Debug, Args)]
pub(super) struct AskTls {
    #[command(flatten)]
    tls: TlsFlags,
    /// The cluster that the certificates name.
    #[arg(long, default_value = DEFAULT_CLUSTER, requires = "tls_certificate")]
    cluster: String,
}

/// Of a node.
#[derive(Clone, Debug, Args)]
pub(super) struct SecurityArgs {
    #[command(flatten)]
    tls: TlsFlags,
    /// Listen beyond this machine without certificates: whoever reaches this node may do anything to it.
    #[arg(long, conflicts_with = "tls_certificate")]
    plaintext: bool,
    /// Keys with which contexts are sealed, so that no client makes one up: 32 hexadecimal digits or more a
    /// line. The first seals, each opens; all nodes have the same.
    #[arg(long, value_name = "FILE")]
    context_key: Option<PathBuf>,
}

impl TlsFlags {
    fn read(&self, cluster: &str) -> Result<Option<Arc<Tls>>, Failure> {
        let Self { tls_certificate, tls_key, tls_ca } = self.clone();
        let (Some(certificate), Some(key), Some(authority)) = (tls_certificate, tls_key, tls_ca)
        else {
            return Ok(None);
        };
        let tls = Tls::read(TlsFiles { certificate, key, authority }, cluster);
        tls.map(|tls| Some(Arc::new(tls))).map_err(Failure::refused)
    }
}

impl AskTls {
    pub(super) fn read(&self) -> Result<Option<Arc<Tls>>, Failure> {
        self.tls.read(&self.cluster)
    }

    pub(super) fn client(&self, address: &str) -> Result<Client, Failure> {
        Ok(Client::over(address.to_owned(), self.read()?))
    }

    pub(super) fn admin(&self, address: &str) -> Result<Admin, Failure> {
        Ok(Admin::new(address).over(self.read()?))
    }
}

impl SecurityArgs {
    pub(super) fn tls(&self, cluster: &str) -> Result<Option<Arc<Tls>>, Failure> {
        self.tls.read(cluster)
    }

    pub(super) fn seal(&self) -> Result<Option<Arc<Seal>>, Failure> {
        let read = self.context_key.as_ref().map(|file| Seal::read(file));
        Ok(read.transpose().map_err(Failure::refused)?.map(Arc::new))
    }

    /// Refuses to serve, at `address`, whoever comes.
    pub(super) fn check_listens(&self, address: std::net::SocketAddr) -> Result<(), Failure> {
        if self.plaintext || self.tls.tls_certificate.is_some() || address.ip().is_loopback() {
            return Ok(());
        }
        Err(Failure::refused(format!(
            "--listen {address}: others reach it, and nothing says who they are: give --tls-certificate, \
             --tls-key and --tls-ca, or --plaintext to let everybody do anything"
        )))
    }
}
