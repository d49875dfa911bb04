//! How a server is made that is broken, hostile or somebody else, with certificates of every kind; and our client meets it.

use crate::support::{Attempt, Outcome, hurry, wish};
use openssl::pkey::PKey;
use openssl::ssl::{Ssl, SslAcceptor, SslMethod};
use openssl::x509::X509;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use signin::client::SignIn;
use sip::{Draft, Message};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_openssl::SslStream;

/// What every bad server is called.
pub(crate) const HOST: &str = "bad.contoso.test";

pub(crate) type Tls = SslStream<TcpStream>;

pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A chain, leaf first, and its key; PEM.
pub(crate) struct Issued {
    pub(crate) chain: String,
    key: String,
}

impl Authority {
    pub(crate) fn root(name: &str) -> Authority {
        let (params, key) = (authority(name), KeyPair::generate().expect("a key"));
        let pem = params.self_signed(&key).expect("it can sign itself").pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn intermediate(&self) -> Authority {
        let (params, key) = (authority("Test Issuing CA 1"), KeyPair::generate().expect("a key"));
        let pem = params.signed_by(&key, &self.issuer).expect("it can sign").pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn issue(&self, params: CertificateParams) -> Issued {
        let key = KeyPair::generate().expect("a key");
        let chain = params.signed_by(&key, &self.issuer).expect("it can sign").pem();
        Issued { chain, key: key.serialize_pem() }
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

pub(crate) fn leaf(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// Valid from and until so many days from now.
pub(crate) fn leaf_valid(from: i64, until: i64) -> CertificateParams {
    let mut params = leaf(HOST);
    params.not_before = OffsetDateTime::now_utc() + time::Duration::days(from);
    params.not_after = OffsetDateTime::now_utc() + time::Duration::days(until);
    params
}

pub(crate) fn self_signed() -> Issued {
    let key = KeyPair::generate().expect("a key");
    let chain = leaf(HOST).self_signed(&key).expect("it can sign itself").pem();
    Issued { chain, key: key.serialize_pem() }
}

fn acceptor(issued: &Issued) -> SslAcceptor {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).expect("OpenSSL works");
    let chain = X509::stack_from_pem(issued.chain.as_bytes()).expect("certificates");
    builder.set_certificate(&chain[0]).expect("the leaf");
    for issuer in &chain[1..] {
        builder.add_extra_chain_cert(issuer.clone()).expect("an issuer");
    }
    builder.set_private_key(&PKey::private_key_from_pem(issued.key.as_bytes()).expect("a key")).expect("it fits");
    builder.build()
}

pub(crate) struct Bench {
    pub(crate) root: Authority,
    ca_file: PathBuf,
    pub(crate) dns: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Bench {
    pub(crate) async fn new() -> Bench {
        let (root, folder) = (Authority::root("Test Root CA"), tempfile::tempdir().expect("a folder"));
        let ca_file = folder.path().join("root.pem");
        std::fs::write(&ca_file, &root.pem).expect("it can be written");
        Bench { root, ca_file, dns: name_server().await, _folder: folder }
    }

    /// Signs in at a server that does `serve` with each connection.
    pub(crate) async fn meet<F>(&self, serve: impl Fn(TcpStream) -> F + Send + 'static) -> Outcome
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.meet_as(hurried(), serve).await
    }

    /// The same with another wish.
    async fn meet_as<F>(&self, sign_in: SignIn, serve: impl Fn(TcpStream) -> F + Send + 'static) -> Outcome
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        });
        let sockets = net::client::Config {
            dns: Some(self.dns),
            system_roots: false,
            ca_files: vec![self.ca_file.clone()],
            ..net::client::Config::default()
        };
        let began = Instant::now();
        let outcome = Attempt { sign_in, sockets }.at_port(HOST, Some(port)).run().await;
        assert!(began.elapsed() < Duration::from_secs(8), "took {:?}\n{}", began.elapsed(), outcome.ladder());
        serving.abort();
        outcome
    }

    /// The same behind TLS with a good certificate.
    pub(crate) async fn meet_tls<F>(&self, serve: impl Fn(Tls) -> F + Send + Sync + Clone + 'static) -> Outcome
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.meet_with(&self.root.issue(leaf(HOST)), serve).await
    }

    pub(crate) async fn meet_with<F>(
        &self,
        issued: &Issued,
        serve: impl Fn(Tls) -> F + Send + Sync + Clone + 'static,
    ) -> Outcome
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.meet(over_tls(acceptor(issued), serve)).await
    }

    /// Signs in at a registrar that offers one mechanism, by this line.
    pub(crate) async fn meet_offering(&self, sign_in: SignIn, offer: String) -> Outcome {
        let serve = move |mut stream: Tls| {
            let offer = offer.clone();
            async move {
                while let Some(bytes) = request(&mut stream).await {
                    let message = Message::parse(&bytes).expect("our client writes SIP");
                    let mut draft = answer(&message, 401, "Unauthorized");
                    draft.header("WWW-Authenticate", &offer);
                    if stream.write_all(&draft.finish()).await.is_err() || stream.flush().await.is_err() {
                        return;
                    }
                }
            }
        };
        self.meet_as(sign_in, over_tls(acceptor(&self.root.issue(leaf(HOST))), serve)).await
    }

    /// A web server with a good certificate; its port.
    pub(crate) async fn web<F>(&self, serve: impl Fn(Tls) -> F + Send + Sync + Clone + 'static) -> u16
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let serve = over_tls(acceptor(&self.root.issue(leaf(HOST))), serve);
        listener(serve).await.port()
    }

    /// Signs in at a server that answers each request by `answer`.
    pub(crate) async fn meet_sip(&self, answer: fn(&Message<'_>) -> Vec<u8>) -> Outcome {
        self.meet_tls(move |mut stream| async move {
            while let Some(request) = request(&mut stream).await {
                let bytes = answer(&Message::parse(&request).expect("our client writes SIP"));
                if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
            }
        })
        .await
    }
}

/// Alice, who waits for nothing.
pub(crate) fn hurried() -> SignIn {
    let mut sign_in = wish("alice@contoso.test", "CONTOSO\\alice", "secret");
    hurry(&mut sign_in);
    sign_in
}

/// Does `serve` once TLS is there.
fn over_tls<F>(
    acceptor: SslAcceptor,
    serve: impl Fn(Tls) -> F + Send + Sync + Clone + 'static,
) -> impl Fn(TcpStream) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Clone + 'static
where
    F: Future<Output = ()> + Send + 'static,
{
    move |stream| {
        let (ssl, serve) = (Ssl::new(acceptor.context()).expect("a session"), serve.clone());
        Box::pin(async move {
            let mut stream = SslStream::new(ssl, stream).expect("a stream");
            if Pin::new(&mut stream).accept().await.is_ok() {
                serve(stream).await;
            }
        })
    }
}

/// A server besides the one that is met; it ends with the test.
pub(crate) async fn listener<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// A port where nobody listens.
pub(crate) async fn nobody() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port").local_addr().expect("bound")
}

/// Every name is 127.0.0.1.
async fn name_server() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = socket.local_addr().expect("bound");
    tokio::spawn(async move {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query).await {
            // The question ends with the empty label, type and class.
            let Some(labels) = query[12..length].iter().position(|byte| *byte == 0) else { continue };
            let end = 12 + labels + 5;
            let wants_ipv4 = query[end - 3] == 1;
            let mut answer = query[..end].to_vec();
            answer[2..12].copy_from_slice(&[0x84, 0, 0, 1, 0, u8::from(wants_ipv4), 0, 0, 0, 0]);
            if wants_ipv4 {
                answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 127, 0, 0, 1]);
            }
            let _ = socket.send_to(&answer, from).await;
        }
    });
    address
}

/// The next request, head only; REGISTERs have no body.
pub(crate) async fn request(stream: &mut Tls) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.ok()?);
    }
    Some(bytes)
}

pub(crate) async fn forever() {
    tokio::time::sleep(Duration::from_secs(60)).await;
}

pub(crate) fn answer(request: &Message<'_>, code: u16, reason: &str) -> Draft {
    Draft::answer(request, code, reason, "t")
}

pub(crate) const OFFER: &str = "NTLM realm=\"SIP Communications Service\", targetname=\"bad.contoso.test\", version=4";

/// Offers NTLM; whoever begins it gets this challenge.
pub(crate) fn ntlm(request: &Message<'_>, challenge: &str) -> Vec<u8> {
    let begun = request.header(sip::Name::Authorization).is_some();
    let mut draft = answer(request, 401, "Unauthorized");
    draft.header("WWW-Authenticate", if begun { challenge } else { OFFER });
    draft.finish()
}
