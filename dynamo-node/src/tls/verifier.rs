//! Whom a dialler believes: a node of the cluster, whatever its host is called.

use std::sync::Arc;

use dynamo_protocol::NodeId;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::verify_server_cert_signed_by_trust_anchor;
use tokio_rustls::rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::files::provider;
use super::who::Who;

/// Believes certificates that the authority has signed, are not out of date, and name a node of the cluster.
#[derive(Debug)]
pub(super) struct OneOf {
    authority: Arc<RootCertStore>,
    cluster: String,
    /// This node and no other.
    expected: Option<NodeId>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl OneOf {
    pub(super) fn nodes(
        authority: Arc<RootCertStore>,
        cluster: &str,
        expected: Option<NodeId>,
    ) -> Self {
        let algorithms = provider().signature_verification_algorithms;
        Self { authority, cluster: cluster.to_owned(), expected, algorithms }
    }
}

impl ServerCertVerifier for OneOf {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(leaf)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.authority,
            between,
            now,
            algorithms,
        )?;
        let who = Who::of(leaf, &self.cluster).map_err(|why| Error::General(why.to_string()))?;
        match self.expected {
            Some(node) if !who.is_peer(node) => {
                Err(Error::General(format!("{who} answers there, and not node {}", node.0)))
            }
            None if who.peers().next().is_none() => {
                Err(Error::General(format!("{who} answers there, and no node")))
            }
            Some(_) | None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
