//! TLS handshakes: all that can be wrong with a server, seen and told apart, and never a reason to stop.

use crate::authority::{Authority, Issued, self_signed};
use crate::{LONG, SHORT, connect, server, sockets, sockets_with};
use net::client::{Config, SetupError, Sockets};
use net::server::Security;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslVersion};
use rustls::server::Acceptor;
use signin::io::{Io, StreamError, TlsError, TlsSession};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const NAME: &str = "pool1.contoso.test";

// X509_V_ERR numbers.
const EXPIRED: i32 = 10;
const SELF_SIGNED_LEAF: i32 = 18;
const ISSUER_NOT_FOUND: i32 = 20;
const LEAF_NOT_VERIFIED: i32 = 21;

/// A rustls server for one connection that sends back one byte.
async fn modern(issued: &Issued) -> SocketAddr {
    let config = issued.identity().for_sip().expect("usable");
    server(move |tcp| async move {
        let Ok(mut stream) = tokio_rustls::TlsAcceptor::from(config).accept(tcp).await else { return };
        let byte = stream.read_u8().await.unwrap_or(0);
        let _ = stream.write_all(&[byte]).await;
        let _ = stream.shutdown().await;
    })
    .await
}

fn trusting(ca: &Path) -> Sockets {
    sockets_with(Config { ca_files: vec![ca.to_owned()], ..Config::default() })
}

async fn handshake(sockets: &Sockets, address: SocketAddr, name: &str) -> Result<TlsSession, TlsError> {
    let io: &dyn Io = sockets;
    let conn = connect(io, address).await;
    io.start_tls(conn, name, LONG).await
}

fn codes(session: &TlsSession) -> Vec<(u32, i32)> {
    session.chain_errors.iter().map(|error| (error.depth, error.code)).collect()
}

#[tokio::test]
async fn a_good_server_is_described_and_bytes_flow() {
    let ca = Authority::new("Good CA");
    let file = ca.file();
    let sockets = trusting(file.path());
    let io: &dyn Io = &sockets;
    let conn = connect(io, modern(&ca.issue(NAME)).await).await;
    let session = io.start_tls(conn, NAME, LONG).await.expect("a good server");
    assert_eq!(session.version, "TLSv1.3");
    assert!(session.cipher.starts_with("TLS_AES_") && session.bits >= 128, "{session:?}");
    assert_eq!(session.chain.len(), 1);
    assert!(session.chain_errors.is_empty() && !session.resumed, "{session:?}");
    io.send(conn, b"x".to_vec()).await.expect("open");
    assert_eq!(io.receive(conn, LONG).await, Ok(b"x".to_vec()));
    assert_eq!(io.receive(conn, LONG).await, Err(StreamError::Closed));
}

#[tokio::test]
async fn a_wrong_name_is_for_others_to_judge() {
    let ca = Authority::new("Name CA");
    let file = ca.file();
    let session = handshake(&trusting(file.path()), modern(&ca.issue("other.test")).await, NAME).await;
    assert!(session.expect("it goes on").chain_errors.is_empty());
    let session = handshake(&trusting(file.path()), modern(&ca.issue("other.test")).await, "127.0.0.1").await;
    assert_eq!(session.expect("an address is no SNI").chain.len(), 1);
}

#[tokio::test]
async fn a_self_signed_certificate_is_told() {
    let session = handshake(&sockets(), modern(&self_signed(NAME)).await, NAME).await.expect("it goes on");
    assert_eq!(codes(&session), [(0, SELF_SIGNED_LEAF)]);
    assert!(session.chain_errors[0].text.contains("self"), "{:?}", session.chain_errors);
}

#[tokio::test]
async fn an_expired_certificate_is_told_though_its_issuer_is_trusted() {
    let ca = Authority::new("Old CA");
    let file = ca.file();
    let address = modern(&ca.issue_expired(NAME)).await;
    let session = handshake(&trusting(file.path()), address, NAME).await.expect("it goes on");
    assert_eq!(codes(&session), [(0, EXPIRED)]);
}

#[tokio::test]
async fn all_that_is_wrong_is_told_at_once() {
    let session = handshake(&sockets(), modern(&Authority::new("X").issue_expired(NAME)).await, NAME).await;
    let session = session.expect("it goes on");
    let mut codes = codes(&session);
    codes.sort_unstable();
    assert_eq!(codes, [(0, EXPIRED), (0, ISSUER_NOT_FOUND), (0, LEAF_NOT_VERIFIED)]);
}

#[tokio::test]
async fn an_incomplete_chain_shows_what_was_sent() {
    let root = Authority::new("Root CA");
    let intermediate = root.intermediate("Intermediate CA");
    let file = root.file();
    let leaf = intermediate.issue(NAME);
    let session = handshake(&trusting(file.path()), modern(&leaf).await, NAME).await.expect("it goes on");
    assert_eq!(session.chain.len(), 1);
    assert_eq!(codes(&session), [(0, ISSUER_NOT_FOUND), (0, LEAF_NOT_VERIFIED)]);

    let whole = Issued { chain: format!("{}{}", leaf.chain, intermediate.pem), key: leaf.key };
    let session = handshake(&trusting(file.path()), modern(&whole).await, NAME).await.expect("it goes on");
    assert_eq!((session.chain.len(), session.chain_errors.len()), (2, 0));
}

#[tokio::test]
async fn old_servers_are_reached() {
    for (version, said) in
        [(SslVersion::TLS1, "TLSv1"), (SslVersion::TLS1_1, "TLSv1.1"), (SslVersion::TLS1_2, "TLSv1.2")]
    {
        let context = old_server(version);
        let address = server(move |tcp| async move {
            let ssl = Ssl::new(&context).expect("a session");
            let mut stream = tokio_openssl::SslStream::new(ssl, tcp).expect("a stream");
            let _ = Pin::new(&mut stream).accept().await;
            let _ = stream.read_u8().await;
        })
        .await;
        let session = handshake(&sockets(), address, NAME).await.expect("it is reached");
        assert_eq!((session.version.as_str(), session.cipher.as_str(), session.bits), (said, "AES128-SHA", 128));
        assert_eq!(codes(&session), [(0, SELF_SIGNED_LEAF)]);
    }
}

/// An OpenSSL server with an RSA key and without forward secrecy, as they were about 2010.
fn old_server(version: SslVersion) -> SslContext {
    use openssl::asn1::Asn1Time;
    let key = openssl::rsa::Rsa::generate(1024).expect("a small key");
    let key = openssl::pkey::PKey::from_rsa(key).expect("a key");
    let mut name = openssl::x509::X509Name::builder().expect("a builder");
    name.append_entry_by_text("CN", NAME).expect("a name");
    let name = name.build();
    let mut certificate = openssl::x509::X509::builder().expect("a builder");
    certificate.set_subject_name(&name).expect("set");
    certificate.set_issuer_name(&name).expect("set");
    certificate.set_not_before(&Asn1Time::days_from_now(0).expect("a time")).expect("set");
    certificate.set_not_after(&Asn1Time::days_from_now(9).expect("a time")).expect("set");
    certificate.set_pubkey(&key).expect("set");
    certificate.sign(&key, openssl::hash::MessageDigest::sha1()).expect("signed");
    let mut context = SslContext::builder(SslMethod::tls_server()).expect("a context");
    context.set_security_level(0);
    context.set_min_proto_version(Some(version)).expect("set");
    context.set_max_proto_version(Some(version)).expect("set");
    context.set_cipher_list("AES128-SHA:@SECLEVEL=0").expect("set");
    context.set_certificate(&certificate.build()).expect("set");
    context.set_private_key(&key).expect("set");
    context.build()
}

#[tokio::test]
async fn the_legacy_listener_serves_clients_of_its_time() {
    let issued = self_signed(NAME);
    let Ok(Security::Legacy(context)) = issued.identity().legacy() else { panic!("usable") };
    let address = server(move |tcp| async move {
        let mut stream = tokio_openssl::SslStream::new(Ssl::new(&context).expect("a session"), tcp).expect("a stream");
        Pin::new(&mut stream).accept().await.expect("a handshake");
    })
    .await;
    let tcp = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let mut client = SslContext::builder(SslMethod::tls_client()).expect("a context");
    client.set_security_level(0);
    client.set_max_proto_version(Some(SslVersion::TLS1)).expect("set");
    client.set_cipher_list("ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0").expect("set");
    let mut stream =
        tokio_openssl::SslStream::new(Ssl::new(&client.build()).expect("a session"), tcp).expect("a stream");
    Pin::new(&mut stream).connect().await.expect("TLS 1.0 with CBC");
    assert_eq!(stream.ssl().version_str(), "TLSv1");
}

/// What comes of a server that answers the first bytes with `answer`.
async fn answered_with(answer: &'static [u8]) -> TlsError {
    let address = server(move |mut stream| async move {
        let _ = stream.read(&mut [0; 2048]).await;
        let _ = stream.write_all(answer).await;
        let _ = stream.shutdown().await;
        let _ = stream.read(&mut [0; 2048]).await;
    })
    .await;
    let sockets = sockets();
    let error = handshake(&sockets, address, NAME).await.expect_err("no TLS");
    let io: &dyn Io = &sockets;
    assert_eq!(io.receive(signin::io::ConnId(1), SHORT).await, Err(StreamError::Closed), "it is not used further");
    error
}

#[tokio::test]
async fn alerts_keep_their_number() {
    let alert = answered_with(b"\x15\x03\x01\x00\x02\x02\x28").await;
    assert_eq!(alert, TlsError::Alert { number: 40, name: "handshake_failure".to_owned() });
    let alert = answered_with(b"\x15\x03\x03\x00\x02\x02\x46").await;
    assert_eq!(alert, TlsError::Alert { number: 70, name: "protocol_version".to_owned() });
    let alert = answered_with(b"\x15\x03\x03\x00\x02\x02\x70").await;
    assert_eq!(alert, TlsError::Alert { number: 112, name: "unrecognized_name".to_owned() });
}

#[tokio::test]
async fn a_real_server_without_a_fitting_name_sends_an_alert() {
    let address = server(|tcp| async move {
        let start = tokio_rustls::LazyConfigAcceptor::new(Acceptor::default(), tcp).await.expect("a ClientHello");
        // Nothing but TLS 1.2 with an RSA key that is not there: rustls refuses.
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_cert_resolver(std::sync::Arc::new(rustls::server::ResolvesServerCertUsingSni::new()));
        assert!(start.into_stream(std::sync::Arc::new(config)).await.is_err());
    })
    .await;
    let error = handshake(&sockets(), address, NAME).await.expect_err("no certificate for this name");
    assert!(matches!(error, TlsError::Alert { .. }), "{error}");
}

#[tokio::test]
async fn what_is_not_tls_is_quoted() {
    let error = answered_with(b"SIP/2.0 400 Bad Request\r\n\r\n").await;
    assert_eq!(error, TlsError::NotTls("SIP/2.0 400 Bad Request....".to_owned()));
    let error = answered_with(b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n").await;
    assert!(matches!(&error, TlsError::NotTls(seen) if seen.starts_with("HTTP/1.1 400 Bad Request")), "{error}");
    let error = answered_with(b"\x05\x00").await;
    assert_eq!(error, TlsError::NotTls("..".to_owned()));
}

#[tokio::test]
async fn a_version_we_do_not_have_is_nothing_in_common() {
    // A ServerHello of SSL 3.0: random, no session, TLS_RSA_WITH_AES_128_CBC_SHA.
    const SERVER_HELLO: &[u8] = b"\x16\x03\x00\x00\x2a\x02\x00\x00\x26\x03\x00\
        0123456789abcdef0123456789abcdef\x00\x00\x2f\x00";
    let error = answered_with(SERVER_HELLO).await;
    assert!(matches!(error, TlsError::NothingInCommon(_)), "{error:?}");
}

#[tokio::test]
async fn broken_tls_is_told_in_openssls_words() {
    // A handshake message of a type that cannot come now.
    let error = answered_with(b"\x16\x03\x03\x00\x04\x0e\x00\x00\x00").await;
    assert!(matches!(&error, TlsError::Failed(words) if !words.is_empty()), "{error:?}");
}

#[tokio::test]
async fn closing_and_silence_are_told_apart() {
    assert_eq!(answered_with(b"").await, TlsError::Closed);
    let resetting = server(|mut stream| async move {
        let _ = stream.read(&mut [0; 8]).await;
        stream.set_zero_linger().expect("a socket");
    })
    .await;
    assert_eq!(handshake(&sockets(), resetting, NAME).await, Err(TlsError::Closed));
    let silent = server(|stream| async move {
        tokio::time::sleep(LONG).await;
        drop(stream);
    })
    .await;
    let slow = server(|mut stream| async move {
        stream.write_all(&[0x16, 0x03, 0x03]).await.expect("the client listens");
        tokio::time::sleep(LONG).await;
    })
    .await;
    let sockets = sockets();
    let io: &dyn Io = &sockets;
    let conn = connect(io, slow).await;
    assert_eq!(io.start_tls(conn, NAME, SHORT).await, Err(TlsError::Timeout));
    let conn = connect(io, silent).await;
    assert_eq!(io.start_tls(conn, NAME, SHORT).await, Err(TlsError::Silent));
    assert_eq!(io.start_tls(conn, NAME, SHORT).await.map_err(|error| matches!(error, TlsError::Failed(_))), Err(true));
}

#[test]
fn files_that_hold_no_root_are_named() {
    let config = |path: &str| Config { ca_files: vec![path.into()], system_roots: false, ..Config::default() };
    let missing = Sockets::new(Config { dns: Some(SocketAddr::from(([127, 0, 0, 1], 53))), ..config("/nowhere.pem") });
    let Err(error @ SetupError::CaFile { .. }) = missing.map(|_| ()) else { panic!("it is not there") };
    assert!(error.to_string().contains("/nowhere.pem"));
    let empty = tempfile::NamedTempFile::new().expect("a file");
    let path = empty.path().to_string_lossy().into_owned();
    let error = Sockets::new(Config { dns: Some(SocketAddr::from(([127, 0, 0, 1], 53))), ..config(&path) });
    assert!(matches!(error.map(|_| ()), Err(SetupError::EmptyCaFile { .. })));
}
