//! Who is let in over TLS, and the ways in which a stranger tries to read, or to be a node.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use common::{Cluster, eventually, options, peers};
use dynamo_node::{
    Admin, Client, ClientError, Options, Role, Seal, StartError, Tls, TlsFiles, start,
};
use dynamo_protocol::NodeId;
use dynamo_protocol::membership::Edit;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType, date_time_ymd,
};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsRefusal, SignatureScheme,
};

const CLUSTER: &str = "dynamo";
const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const N4: NodeId = NodeId(4);

/// An authority, and the files of those it has signed.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), issuer.as_ref().pem()).unwrap();
        Self { issuer, folder }
    }

    /// The files of a certificate that names `uri`, believing this authority.
    fn signed(&self, uri: &str, change: impl FnOnce(&mut CertificateParams)) -> TlsFiles {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let file =
            |kind: &str| self.folder.path().join(format!("{}.{kind}", uri.replace('/', "_")));
        fs::write(file("pem"), certificate.pem()).unwrap();
        fs::write(file("key"), key.serialize_pem()).unwrap();
        TlsFiles { certificate: file("pem"), key: file("key"), authority: self.ca() }
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    fn of(&self, role: Role) -> Arc<Tls> {
        read(self.signed(&role.uri(CLUSTER), |_| {}))
    }

    async fn cluster(&self, nodes: u16) -> Cluster {
        Cluster::start_with(nodes, |options| self.admit(options)).await
    }

    fn admit(&self, options: &mut Options) {
        options.tls = Some(self.of(Role::Peer(options.me)));
    }
}

fn read(files: TlsFiles) -> Arc<Tls> {
    Arc::new(Tls::read(files, CLUSTER).unwrap())
}

/// What a stranger hears who reads, and one who looks at the ring to join it.
async fn heard(cluster: &Cluster, tls: &Arc<Tls>) -> [String; 2] {
    let address = cluster.addresses[&N1].as_str();
    let got = Client::over_tls(address, Arc::clone(tls)).get("k").await;
    let asked = Admin::new(address).over(Some(Arc::clone(tls))).ring().await;
    [got.map(drop).unwrap_err().to_string(), asked.map(drop).unwrap_err().to_string()]
}

/// Sees every server as it is: what is tried here is what the node makes of the dialler.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsRefusal> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsRefusal> {
        unreachable!("TLS 1.3 alone is spoken")
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsRefusal> {
        verify_tls13_signature(message, leaf, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A connection made with no code of the node's.
async fn dialled(address: &str, files: Option<&TlsFiles>) -> TlsStream<TcpStream> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let config = config.with_protocol_versions(&[&TLS13]).unwrap().dangerous();
    let config = config.with_custom_certificate_verifier(Arc::new(Anybody(provider)));
    let mut config = match files {
        None => config.with_no_client_auth(),
        Some(files) => {
            let certificate = CertificateDer::from_pem_file(&files.certificate).unwrap();
            let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
            config.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("anybody.invalid").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

/// What node 1 answers who presents `files` and says that it is node `from` (status and message).
async fn links_as(address: &str, files: &TlsFiles, from: u8) -> (String, String) {
    let stream = dialled(address, Some(files)).await;
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    std::future::poll_fn(|context| sender.poll_ready(context)).await.unwrap();
    // A Hello { from, to: 1 }, and nothing else: who is refused for its settings was believed before.
    let hello = [0x08, from, 0x10, 1];
    // In a Summed { body, sum }.
    let sum = crc32c::crc32c_append(0x7065_6572, &hello).to_le_bytes();
    let summed = [&[0x0a, 4], &hello[..], &[0x15], &sum[..]].concat();
    let hello = STANDARD_NO_PAD.encode(summed);
    let request = http::Request::post(format!("http://{address}/dynamo.v1.Peer/IssueTicket"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("hello-bin", hello)
        .body(())
        .unwrap();
    let (answer, mut body) = sender.send_request(request, false).unwrap();
    body.send_data(bytes::Bytes::new(), true).unwrap();
    let answer = answer.await.unwrap();
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    (header("grpc-status"), header("grpc-message"))
}

const PERMISSION_DENIED: &str = "7";
const FAILED_PRECONDITION: &str = "9";

#[tokio::test]
async fn those_whom_the_authority_names_may_do_what_they_are_named_for() {
    let authority = Authority::new();
    let cluster = authority.cluster(3).await;
    let address = cluster.addresses[&N1].as_str();
    let (client, operator) = (authority.of(Role::Client), authority.of(Role::Operator));
    let caller = Client::over_tls(address, Arc::clone(&client));
    caller.put("k", "", "v").await.unwrap();
    let other = Client::over_tls(cluster.addresses[&N2].as_str(), Arc::clone(&operator));
    assert_eq!(other.get("k").await.unwrap().values, ["v"], "an operator may do what clients do");
    let status = Admin::new(address).over(Some(Arc::clone(&operator))).status().await.unwrap();
    assert_eq!(status.id, 1);
    for asked in [client, authority.of(Role::Peer(N2))] {
        let refused = Admin::new(address).over(Some(asked)).stop().await.unwrap_err();
        assert!(
            matches!(&refused, ClientError::Refused(why) if why.contains("/operator")),
            "{refused}"
        );
    }
    let peer = Client::over_tls(address, authority.of(Role::Peer(N2))).get("k").await;
    assert!(peer.unwrap_err().to_string().contains("/client"), "a node is no client");
    let told = Admin::new(address).over(Some(authority.of(Role::Peer(N2)))).ring().await;
    assert_eq!(told.unwrap().id, N1, "a node that joins looks at the ring");
    cluster.stop().await;
}

/// How node 1 begins to answer who presents `files` and asks what there is: the status, unless it goes on.
async fn reflected(address: &str, files: &TlsFiles) -> Option<String> {
    let stream = dialled(address, Some(files)).await;
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let path = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let request = http::Request::post(format!("https://{address}/{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let (answer, mut body) = sender.send_request(request, false).unwrap();
    // list_services: "*", in a message of three bytes.
    body.send_data(bytes::Bytes::from_static(b"\0\0\0\0\x03\x3a\x01*"), true).unwrap();
    let answer = answer.await.unwrap();
    answer.headers().get("grpc-status").map(|status| status.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn operators_alone_are_told_which_services_there_are() {
    let authority = Authority::new();
    let cluster = authority.cluster(3).await;
    let address = cluster.addresses[&N1].as_str();
    for (role, denied) in [(Role::Operator, false), (Role::Client, true), (Role::Peer(N2), true)] {
        let files = authority.signed(&role.uri(CLUSTER), |_| {});
        let permission_denied = denied.then(|| PERMISSION_DENIED.to_owned());
        assert_eq!(reflected(address, &files).await, permission_denied, "{role:?}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_stranger_is_refused_in_each_of_six_ways() {
    let authority = Authority::new();
    let cluster = authority.cluster(4).await;
    let address = cluster.addresses[&N1].as_str();
    let client = Role::Client.uri(CLUSTER);
    let [n2, n4] = [N2, N4].map(|node| authority.signed(&Role::Peer(node).uri(CLUSTER), |_| {}));

    // 1: in plain text.
    let got = Client::new(address).get("k").await.unwrap_err();
    assert!(matches!(got, ClientError::Refused(_)), "{got}: nothing was sent");
    assert!(Admin::new(address).ring().await.is_err());

    // 2: with no certificate.
    let mut anonymous = dialled(address, None).await;
    let refused = anonymous.read_u8().await.unwrap_err().to_string();
    assert!(refused.contains("CertificateRequired"), "{refused}");

    // 3: with one that is out of date.
    let outdated = authority.signed(&client, |params| params.not_after = date_time_ymd(2020, 1, 1));
    for refused in heard(&cluster, &read(outdated)).await {
        assert!(refused.contains("CertificateExpired"), "{refused}");
    }

    // 4: of another authority, which believes ours.
    let others = Authority::new();
    let mut foreign = others.signed(&client, |_| {});
    foreign.authority = authority.ca();
    for refused in heard(&cluster, &read(foreign)).await {
        assert!(refused.contains("UnknownCA") || refused.contains("DecryptError"), "{refused}");
    }

    // 5: under a wrong name, as of another cluster, or as another node.
    let elsewhere = authority.signed(&Role::Client.uri("elsewhere"), |_| {});
    heard(&cluster, &read(elsewhere)).await;
    let (status, why) = links_as(address, &n2, 3).await;
    assert_eq!(status, PERMISSION_DENIED);
    assert!(why.contains("peer/3"), "{why}");
    let (status, why) = links_as(address, &n2, 2).await;
    assert_eq!(status, FAILED_PRECONDITION, "under its own name it is heard: {why}");
    let mut third = options(NodeId(3), 4, peers(&cluster.addresses, NodeId(3)));
    third.tls = Some(read(n2.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = start(third, listener).await.unwrap_err();
    assert!(matches!(refused, StartError::Tls(_)), "{refused}");

    // 6: a node that was removed.
    assert_eq!(links_as(address, &n4, 4).await.0, FAILED_PRECONDITION, "until then it is heard");
    let operator = Admin::new(address).over(Some(authority.of(Role::Operator)));
    let directory = operator.ring().await.unwrap().latest().seat(N4).unwrap().directory;
    operator.propose(Edit::Gone { node: N4, directory, forced: true }, None).await.unwrap();
    let (status, why) = links_as(address, &n4, 4).await;
    assert_eq!(status, PERMISSION_DENIED);
    assert!(why.contains("removed"), "{why}");
    let [_, refused] = heard(&cluster, &read(n4)).await;
    assert!(refused.contains("was removed"), "{refused}");

    // Those who may are served all the while.
    let caller = Client::over_tls(address, authority.of(Role::Client));
    caller.put("k", "", "v").await.unwrap();
}

#[tokio::test]
async fn certificates_are_replaced_while_the_node_runs() {
    let (before, after) = (Authority::new(), Authority::new());
    let cluster = before.cluster(3).await;
    let address = cluster.addresses[&N1].as_str();
    let mut late = after.signed(&Role::Client.uri(CLUSTER), |_| {});
    late.authority = before.ca();
    let late = read(late);
    let get = async || Client::over_tls(address, Arc::clone(&late)).get("k").await;
    assert!(get().await.is_err());
    let both = [before.ca(), after.ca()].map(|file| fs::read_to_string(file).unwrap()).concat();
    let new = before.folder.path().join("new.pem");
    fs::write(&new, both).unwrap();
    fs::rename(&new, before.ca()).unwrap();
    eventually("the new authority is believed", async || get().await.is_ok()).await;
    // What cannot be read takes nothing from anybody.
    fs::write(before.ca(), "nonsense").unwrap();
    eventually("the file was looked at", async || {
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        get().await.is_ok()
    })
    .await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_context_that_the_cluster_did_not_seal_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "00112233445566778899aabbccddeeff\n").unwrap();
    let seal = || Some(Arc::new(Seal::read(file.path()).unwrap()));
    let sealed = Cluster::start_with(3, |options| options.seal = seal()).await;
    let open = Cluster::start(3).await;
    let mut contexts = Vec::new();
    for cluster in [&sealed, &open] {
        let client = cluster.client(N1);
        client.put("k", "", "one").await.unwrap();
        contexts.push(client.get("k").await.unwrap().context);
    }
    let [ours, forged] = contexts.try_into().unwrap();
    let client = sealed.client(N2);
    let mut mangled = ours.to_vec();
    mangled[3] ^= 1;
    for context in [forged, mangled.into()] {
        let refused = client.put("k", context, "two").await.unwrap_err().to_string();
        assert!(refused.contains("not made by this cluster"), "{refused}");
    }
    client.put("k", ours, "two").await.unwrap();
    assert_eq!(client.get("k").await.unwrap().values, ["two"], "another node opens it");
    sealed.stop().await;
    open.stop().await;
}
