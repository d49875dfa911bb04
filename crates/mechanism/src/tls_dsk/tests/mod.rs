//! Both halves against each other; what is tested of peers that do it otherwise is in the modules.

mod flights;
mod hostile;
mod keys;
mod paper;

use super::*;
use crate::Side;
use crate::user_certificate::{
    CertificateRequest, Lifetimes, Order, RequestLimits, UserCertificate, UserCertificateAuthority, new_key, request,
};
use paper::{Extension, Paper, papers};

fn server(policy: Policy) -> Server {
    let (server, _) = papers();
    Server::new(std::slice::from_ref(&server.certificate), &server.key, policy).expect("a server")
}

fn client(policy: Policy) -> Client {
    client_with(&papers().1, policy)
}

fn client_with(paper: &Paper, policy: Policy) -> Client {
    Client::new(&paper.certificate, &paper.key, policy).expect("a client")
}

fn only(protocol: Protocol) -> Policy {
    Policy { min: protocol, max: protocol, ..Policy::default() }
}

/// The flights of a whole handshake, and what both ends got out of it.
struct Run {
    to_server: [Vec<u8>; 2],
    to_client: [Vec<u8>; 2],
    client: Box<MessageKeys>,
    server: Box<MessageKeys>,
    certificate: Vec<u8>,
    agreed: (Protocol, Suite),
}

fn run(server: &Server, client: &Client) -> Result<Run, DskError> {
    let mut accepting = server.begin()?;
    let (mut connecting, first) = client.begin()?;
    let second = continued(accepting.step(&first)?);
    let ClientStep::Continue(third) = connecting.step(&second)? else { panic!("the client cannot be done") };
    let ServerStep::Finished { flight, certificate, keys: server, protocol, suite } = accepting.step(&third)? else {
        panic!("the server is done")
    };
    let ClientStep::Finished { keys: client, server_certificate, protocol: same_protocol, suite: same_suite } =
        connecting.step(&flight)?
    else {
        panic!("the client is done")
    };
    assert_eq!(server_certificate, papers().0.certificate);
    assert_eq!((protocol, suite), (same_protocol, same_suite));
    let agreed = (protocol, suite);
    Ok(Run { to_server: [first, third], to_client: [second, flight], client, server, certificate, agreed })
}

fn continued(step: ServerStep) -> Vec<u8> {
    match step {
        ServerStep::Continue(flight) => flight,
        ServerStep::Finished { .. } => panic!("the server cannot be done"),
    }
}

#[test]
fn both_halves_agree_in_every_version_and_suite() {
    const SUITES: [&[Suite]; 2] = [&[Suite::Aes128Sha], &[Suite::Aes256Sha]];
    let server = server(Policy::default());
    for protocol in [Protocol::Tls10, Protocol::Tls11, Protocol::Tls12] {
        for suites in SUITES {
            let run = run(&server, &client(Policy { suites, ..only(protocol) })).expect("a handshake");
            assert_eq!(run.agreed, (protocol, suites[0]));
            assert_eq!(run.certificate, papers().1.certificate);
            for side in [Side::Client, Side::Server] {
                let mac = run.client.sign(side, b"text");
                assert_eq!(mac.len(), 20);
                assert!(run.server.verify(side, b"text", &mac), "{protocol} {suites:?}");
            }
            assert_ne!(run.client.sign(Side::Client, b"text"), run.client.sign(Side::Server, b"text"));
        }
    }
}

#[test]
fn the_newest_version_is_taken_and_the_clients_first_suite() {
    let default = run(&server(Policy::default()), &client(Policy::default())).expect("a handshake");
    assert_eq!(default.agreed, (Protocol::Tls12, Suite::Aes128Sha));
    let other_order = Policy { suites: &[Suite::Aes256Sha, Suite::Aes128Sha], ..Policy::default() };
    assert_eq!(run(&server(Policy::default()), &client(other_order)).expect("a handshake").agreed.1, Suite::Aes256Sha);
    let modern = run(&server(Policy::modern()), &client(Policy::modern())).expect("a handshake");
    assert_eq!(modern.agreed.0, Protocol::Tls12);
}

#[test]
fn two_handshakes_have_nothing_in_common() {
    let (server, client) = (server(Policy::default()), client(Policy::default()));
    let (one, other) = (run(&server, &client).expect("a handshake"), run(&server, &client).expect("a handshake"));
    assert_ne!(one.client.sign(Side::Client, b"text"), other.client.sign(Side::Client, b"text"));
}

/// Whether a certificate is good, who called decides: it must arrive there, whatever it is.
#[test]
fn every_certificate_arrives_whose_key_the_client_has() {
    let strange = [
        Paper::new("nobody@foreign.test", &[Extension::ServerAuthOnly]),
        Paper::new("alice@contoso.test", &[Extension::Expired]),
        Paper::new("alice@contoso.test", &[Extension::NotYetValid]),
        Paper::new("alice@contoso.test", &[Extension::CriticalUnknown]),
        Paper::new("alice@contoso.test", &[Extension::EncryptionOnly]),
        Paper::issued("alice@contoso.test", &papers().0),
    ];
    let server = server(Policy::default());
    for protocol in [Protocol::Tls10, Protocol::Tls12] {
        for paper in &strange {
            let run = run(&server, &client_with(paper, only(protocol))).expect("a handshake");
            assert_eq!(run.certificate, paper.certificate);
        }
    }
    let left_behind = openssl::error::ErrorStack::get();
    assert!(left_behind.errors().is_empty(), "{left_behind}");
}

#[test]
fn certificates_of_our_authority_are_good_for_both_halves() {
    const NOW: i64 = 1_700_000_000;
    let lifetime = Lifetimes::default().usual;
    let authority_key = new_key(2048).expect("a key");
    let root = UserCertificateAuthority::certify(&authority_key, [1; 16], NOW, lifetime).expect("a certificate");
    let authority = UserCertificateAuthority::new(&root, &authority_key).expect("an authority");
    let key = new_key(2048).expect("a key");
    let request = request::write("alice@contoso.test", &key).expect("a request");
    let request = CertificateRequest::read(&request, &RequestLimits::default()).expect("a request");
    let order = Order { address: "alice@contoso.test", request: &request, serial: [2; 16], now: NOW, lifetime };
    let certificate = authority.issue(&order).expect("a certificate");

    let client = Client::new(&certificate, &key, Policy::default()).expect("a client");
    let shown = run(&server(Policy::default()), &client).expect("a handshake").certificate;
    let shown = UserCertificate::read(&shown).expect("a certificate");
    assert!(authority.recognises(&shown));
    assert_eq!(shown.common_name(), Some("alice@contoso.test"));
}

#[test]
fn halves_are_shared_by_threads() {
    fn shared<T: Send + Sync>() {}
    fn moved<T: Send>() {}
    shared::<Server>();
    shared::<Client>();
    shared::<DskError>();
    moved::<ServerHandshake>();
    moved::<ClientHandshake>();
    moved::<MessageKeys>();
    let (server, client) = (server(Policy::default()), client(Policy::default()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!(run(&server, &client).is_ok()));
        }
    });
}

#[test]
fn what_cannot_be_used_is_said_at_once() {
    let (paper, other) = papers();
    let chain = std::slice::from_ref(&paper.certificate);
    let refused = |result: Result<Server, DskError>| match result {
        Err(DskError::Setup(why)) => why,
        other => panic!("{other:?}"),
    };
    let default = Policy::default();
    assert_eq!(refused(Server::new(&[], &paper.key, default)), "there is no certificate");
    assert!(!refused(Server::new(chain, &other.key, default)).is_empty(), "another's key");
    assert!(!refused(Server::new(chain, b"no key", default)).is_empty());
    assert!(!refused(Server::new(&[b"no certificate".to_vec()], &paper.key, default)).is_empty());
    let long = vec![paper.certificate.clone(); 40];
    assert_eq!(
        refused(Server::new(&long, &paper.key, default)),
        "the chain of certificates is longer than a TLS record"
    );
    let elliptic = Paper::elliptic("fe01.contoso.test");
    assert_eq!(refused(Server::new(&[elliptic.certificate], &elliptic.key, default)), "the key is not an RSA key");
    let nothing = [Policy { suites: &[], ..default }, Policy { max: Protocol::Tls10, ..Policy::modern() }];
    for policy in nothing {
        assert_eq!(refused(Server::new(chain, &paper.key, policy)), "the policy allows no version or no suite");
    }
    assert!(matches!(Client::new(&paper.certificate, &other.key, default), Err(DskError::Setup(_))));
}

#[test]
fn nothing_secret_is_printed() {
    let (server, client) = (server(Policy::default()), client(Policy::default()));
    assert!(format!("{server:?}").starts_with("tls_dsk::Server(Policy {"));
    assert!(format!("{client:?}").starts_with("tls_dsk::Client(Policy {"));
    let mut accepting = server.begin().expect("begins");
    let (mut connecting, first) = client.begin().expect("begins");
    let second = accepting.step(&first).expect("answers");
    let ServerStep::Continue(flight) = &second else { panic!("the server cannot be done") };
    let third = connecting.step(flight).expect("answers");
    let ClientStep::Continue(flight) = &third else { panic!("the client cannot be done") };
    let last = accepting.step(flight).expect("answers");
    assert!(format!("{last:?}").contains("keys: MessageKeys(…)"), "{last:?}");
    assert_eq!(format!("{accepting:?}"), "ServerHandshake(SSL negotiation finished successfully)");
    assert!(!format!("{connecting:?}").contains('['));
}
