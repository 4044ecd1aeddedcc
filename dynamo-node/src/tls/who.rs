//! What a certificate says of its holder.

use std::fmt;

use dynamo_protocol::NodeId;
use thiserror::Error;
use tokio_rustls::rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// What the holder of a certificate may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Get, put and delete.
    Client,
    /// Be this node.
    Peer(NodeId),
    /// Look at nodes, change the membership, stop nodes; get, put and delete, too.
    Operator,
}

/// The holder of a certificate, by the URIs among its alternative names: `dynamo://CLUSTER/client`,
/// `dynamo://CLUSTER/operator`, `dynamo://CLUSTER/peer/3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    roles: Vec<Role>,
}

/// A certificate that names nobody here.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Nobody {
    #[error("the certificate cannot be read: {0}")]
    Unreadable(String),
    #[error(
        "the certificate names no role in cluster {cluster:?}, as {} would; it names {names}",
        Role::Client.uri(cluster)
    )]
    NoRole { cluster: String, names: String },
}

impl Role {
    /// As certificates of `cluster` name it.
    #[must_use]
    pub fn uri(self, cluster: &str) -> String {
        match self {
            Self::Client => format!("dynamo://{cluster}/client"),
            Self::Peer(node) => format!("dynamo://{cluster}/peer/{}", node.0),
            Self::Operator => format!("dynamo://{cluster}/operator"),
        }
    }

    fn of(uri: &str, cluster: &str) -> Option<Self> {
        let path = uri.strip_prefix("dynamo://")?.strip_prefix(cluster)?.strip_prefix('/')?;
        match path {
            "client" => Some(Self::Client),
            "operator" => Some(Self::Operator),
            _ => path.strip_prefix("peer/")?.parse().ok().map(|node| Self::Peer(NodeId(node))),
        }
    }
}

impl Who {
    /// Whom `certificate` names. Who signed it is not looked at.
    pub(crate) fn of(certificate: &CertificateDer<'_>, cluster: &str) -> Result<Self, Nobody> {
        let read = EndEntityCert::try_from(certificate);
        let read = read.map_err(|error| Nobody::Unreadable(error.to_string()))?;
        let names: Vec<_> = read.valid_uri_names().collect();
        let roles: Vec<_> = names.iter().filter_map(|uri| Role::of(uri, cluster)).collect();
        if roles.is_empty() {
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(Nobody::NoRole { cluster: cluster.to_owned(), names });
        }
        Ok(Self { roles })
    }

    /// May get, put and delete.
    pub(crate) fn is_client(&self) -> bool {
        self.roles.contains(&Role::Client) || self.is_operator()
    }

    /// May do what operators do.
    pub(crate) fn is_operator(&self) -> bool {
        self.roles.contains(&Role::Operator)
    }

    /// Is this node.
    pub(crate) fn is_peer(&self, node: NodeId) -> bool {
        self.roles.contains(&Role::Peer(node))
    }

    /// Which nodes it is.
    pub(crate) fn peers(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.roles.iter().filter_map(|role| match role {
            Role::Peer(node) => Some(*node),
            Role::Client | Role::Operator => None,
        })
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = self.roles.iter().map(|role| match role {
            Role::Client => "a client".to_owned(),
            Role::Operator => "an operator".to_owned(),
            Role::Peer(node) => format!("node {}", node.0),
        });
        f.write_str(&told.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_read_as_it_is_written_and_in_its_own_cluster_alone() {
        for role in [Role::Client, Role::Operator, Role::Peer(NodeId(3))] {
            assert_eq!(Role::of(&role.uri("a"), "a"), Some(role));
            assert_eq!(Role::of(&role.uri("ab"), "a"), None);
            assert_eq!(Role::of(&role.uri("a"), "ab"), None);
        }
        for other in ["", "dynamo://a", "dynamo://a/", "dynamo://a/peer/", "http://a/client"] {
            assert_eq!(Role::of(other, "a"), None, "{other}");
        }
        for other in ["dynamo://a/peer/x", "dynamo://a/peer/70000", "dynamo://a/client/"] {
            assert_eq!(Role::of(other, "a"), None, "{other}");
        }
    }
}
