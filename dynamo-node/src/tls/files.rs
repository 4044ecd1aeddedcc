//! What is in the files, and when they were written.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, Error, RootCertStore, ServerConfig};

use super::verifier::OneOf;
use super::{TlsError, TlsFiles};

/// Certificates and a key, as they were read at one time.
#[derive(Debug)]
pub(super) struct Material {
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    authority: Arc<RootCertStore>,
    written: [Option<Written>; 3],
}

/// When a file was written, and how long it is.
type Written = (SystemTime, u64);

impl TlsFiles {
    fn written(&self) -> [Option<Written>; 3] {
        [&self.certificate, &self.key, &self.authority].map(|file| {
            let about = fs::metadata(file).ok()?;
            Some((about.modified().ok()?, about.len()))
        })
    }
}

impl Material {
    pub(super) fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        // Before they are read: what is written meanwhile is read again.
        let written = files.written();
        let certificates = certificates(&files.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&files.key)
            .map_err(|error| wrong(&files.key, format!("no private key: {error}")))?;
        let mut authority = RootCertStore::empty();
        for certificate in certificates_of(&files.authority)? {
            authority
                .add(certificate)
                .map_err(|error| wrong(&files.authority, format!("no authority: {error}")))?;
        }
        let material = Self { certificates, key, authority: Arc::new(authority), written };
        // That the key is the certificate's, and that all of it can be used, is found out here.
        material.server().map_err(|error| wrong(&files.certificate, error.to_string()))?;
        Ok(material)
    }

    /// Whether the files are others than those that were read.
    pub(super) fn is_outdated(&self, files: &TlsFiles) -> bool {
        files.written() != self.written
    }

    pub(super) fn leaf(&self) -> Result<CertificateDer<'static>, &'static str> {
        self.certificates.first().cloned().ok_or("no certificate is in it")
    }

    pub(super) fn authority(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.authority)
    }

    /// For those who are dialled: whoever dials has to present a certificate.
    pub(super) fn server(&self) -> Result<ServerConfig, Error> {
        let verifier = WebPkiClientVerifier::builder_with_provider(self.authority(), provider());
        let verifier = verifier.build().map_err(|error| Error::General(error.to_string()))?;
        ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.certificates.clone(), self.key.clone_key())
    }

    /// For those who dial.
    pub(super) fn client(&self, verifier: OneOf) -> Result<ClientConfig, Error> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(self.certificates.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![super::ALPN.to_vec()];
        Ok(config)
    }
}

/// Builds in a fifth of the time of the other one there is.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = certificates_of(file)?;
    if all.is_empty() { Err(wrong(file, "no certificate is in it".to_owned())) } else { Ok(all) }
}

fn certificates_of(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read =
        CertificateDer::pem_file_iter(file).map_err(|error| wrong(file, error.to_string()))?;
    read.collect::<Result<_, _>>().map_err(|error| wrong(file, error.to_string()))
}

fn wrong(file: &Path, why: String) -> TlsError {
    TlsError { file: file.to_owned(), why }
}
