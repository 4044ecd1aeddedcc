//! Certificates for nodes and clients on this machine, made for one run and gone with it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dynamo_node::{Role, Tls, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};

/// An authority of its own, and the folder of what it has signed. Its key is in no file: once this is gone
/// nothing more is signed by it.
pub(crate) struct Certificates {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
    cluster: String,
}

impl Certificates {
    /// A new authority for the cluster of this name; its files are in `folder`, which is made.
    ///
    /// # Errors
    /// If they cannot be made, or written.
    pub(crate) fn new(folder: &Path, cluster: &str) -> Result<Self, String> {
        let mut params = CertificateParams::new(Vec::new()).map_err(|error| why(&error))?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().map_err(|error| why(&error))?;
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(|error| why(&error))?;
        fs::create_dir_all(folder).map_err(|error| why(&error))?;
        let made = Self { issuer, folder: folder.to_owned(), cluster: cluster.to_owned() };
        write(&made.authority(), &made.issuer.as_ref().pem())?;
        Ok(made)
    }

    fn authority(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Where the files of `role` are, or will be.
    pub(crate) fn files(&self, role: Role) -> TlsFiles {
        let name = match role {
            Role::Client => "client".to_owned(),
            Role::Operator => "operator".to_owned(),
            Role::Peer(node) => node.to_string(),
        };
        let file = |kind: &str| self.folder.join(format!("{name}.{kind}"));
        TlsFiles { certificate: file("pem"), key: file("key"), authority: self.authority() }
    }

    /// Signs a certificate of `role`.
    ///
    /// # Errors
    /// If it cannot be made, or written.
    pub(crate) fn sign(&self, role: Role) -> Result<TlsFiles, String> {
        let mut params = CertificateParams::new(Vec::new()).map_err(|error| why(&error))?;
        let uri = role.uri(&self.cluster).try_into().map_err(|error| why(&error))?;
        params.subject_alt_names.push(SanType::URI(uri));
        let key = KeyPair::generate().map_err(|error| why(&error))?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(|error| why(&error))?;
        let files = self.files(role);
        write(&files.certificate, &certificate.pem())?;
        write(&files.key, &key.serialize_pem())?;
        Ok(files)
    }

    /// The same, read for a client's use.
    ///
    /// # Errors
    /// As [`Self::sign`].
    pub(crate) fn of(&self, role: Role) -> Result<Arc<Tls>, String> {
        let tls = Tls::read(self.sign(role)?, &self.cluster);
        tls.map(Arc::new).map_err(|error| error.to_string())
    }
}

/// A key is nobody else's to read.
fn write(file: &Path, text: &str) -> Result<(), String> {
    let opened =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file);
    let written = opened.and_then(|mut opened| opened.write_all(text.as_bytes()));
    written.map_err(|error| format!("{}: {error}", file.display()))
}

fn why(error: &impl std::fmt::Display) -> String {
    format!("no certificates could be made: {error}")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use dynamo_protocol::NodeId;

    use super::*;

    #[test]
    fn what_is_signed_can_be_read_and_keys_are_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let made = Certificates::new(&folder.path().join("tls"), "dynamo").unwrap();
        for role in [Role::Client, Role::Operator, Role::Peer(NodeId(3))] {
            made.of(role).unwrap();
            let mode = fs::metadata(made.files(role).key).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0);
        }
    }
}
