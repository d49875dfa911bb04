//! What the flights look like on the wire, and clients and servers that differ from ours.

use super::*;
use crate::tls_dsk::transport::Handshake;
use openssl::ssl::{Ssl, SslContext, SslMethod};

/// Contents of the records of a flight, with the versions in their headers.
fn records(mut flight: &[u8]) -> Vec<(u8, [u8; 2], &[u8])> {
    let mut records = Vec::new();
    while let [content, major, minor, high, low, rest @ ..] = flight {
        let (fragment, after) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        records.push((*content, [*major, *minor], fragment));
        flight = after;
    }
    assert!(flight.is_empty(), "whole records");
    records
}

fn kinds(fragment: &[u8]) -> Vec<u8> {
    super::records::messages(fragment).map(|(kind, _)| kind).collect()
}

/// The ClientHello of the open client: 58 bytes, no extensions; RC4-MD5, RC4-SHA, AES128-SHA, AES256-SHA, EXPORT-RC4-40-MD5.
fn open_hello(session_id: &[u8]) -> Vec<u8> {
    let length = u8::try_from(49 + session_id.len()).expect("short");
    let mut hello = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length, 3, 1];
    hello.extend([7; 32]);
    hello.push(length - 49);
    hello.extend(session_id);
    hello.extend([0, 10, 0, 4, 0, 5, 0, 0x2F, 0, 0x35, 0, 3, 1, 0]);
    hello
}

#[test]
fn every_flight_before_the_change_of_ciphers_is_one_record() {
    let (server, versions) =
        (server(Policy::default()), [(Protocol::Tls10, 1), (Protocol::Tls11, 2), (Protocol::Tls12, 3)]);
    for (protocol, minor) in versions {
        let run = run(&server, &client(only(protocol))).expect("a handshake");
        let [(22, [3, version], fragment)] = records(&run.to_client[0])[..] else { panic!("one record") };
        assert_eq!(version, minor);
        // ServerHello, Certificate, CertificateRequest, ServerHelloDone. RFC 5246 §7.4.
        assert_eq!(kinds(fragment), [2, 11, 13, 14]);
        let [(22, _, fragment), (20, ..), (22, ..)] = records(&run.to_server[1])[..] else { panic!("three records") };
        // Certificate, ClientKeyExchange, CertificateVerify.
        assert_eq!(kinds(fragment), [11, 16, 15]);
        let [(20, ..), (22, ..)] = records(&run.to_client[1])[..] else {
            panic!("ChangeCipherSpec and Finished stay apart")
        };
    }
}

#[test]
fn a_long_chain_is_one_record_too() {
    let (paper, _) = papers();
    let chain = vec![paper.certificate.clone(); 15];
    let server = Server::new(&chain, &paper.key, Policy::default()).expect("a server");
    let run = run(&server, &client(Policy::default())).expect("a handshake");
    let [(22, _, fragment)] = records(&run.to_client[0])[..] else { panic!("one record") };
    assert_eq!(kinds(fragment), [2, 11, 13, 14]);
    assert!(fragment.len() > 10_000, "{}", fragment.len());
}

#[test]
fn the_open_clients_hello_is_answered_in_tls_1_0() {
    for session_id in [&[][..], &[9; 32]] {
        let hello = open_hello(session_id);
        assert_eq!(hello.len(), 58 + session_id.len());
        let flight = continued(server(Policy::default()).begin().expect("begins").step(&hello).expect("answers"));
        let [(22, [3, 1], fragment)] = records(&flight)[..] else { panic!("one record of TLS 1.0") };
        assert_eq!(kinds(fragment), [2, 11, 13, 14]);
        let (_, hello) = super::records::messages(fragment).next().expect("a ServerHello");
        assert_eq!(hello[..2], [3, 1]);
        assert_eq!(hello[34], 0, "no session is promised");
        assert_eq!(hello[35..37], [0, 0x2F], "AES128-SHA, never RC4");
        assert_eq!(hello[37..], [0], "no compression, no extensions");
    }
}

#[test]
fn modern_servers_tell_old_clients_why() {
    let mut modern = server(Policy::modern()).begin().expect("begins");
    let refused = modern.step(&open_hello(&[])).expect_err("refused");
    assert_eq!(refused, DskError::NoCommonVersion { theirs: vec![0x0301], ours: Policy::modern() });
    assert_eq!(
        refused.to_string(),
        "no TLS version in common: the other side has TLS 1.0, this side allows TLS 1.2 to TLS 1.2"
    );
}

#[test]
fn modern_clients_tell_of_old_servers() {
    let (mut modern, hello) = client(Policy::modern()).begin().expect("begins");
    // The server's highest version is a proper answer to a client that said nothing of its lowest.
    let answer = server(only(Protocol::Tls10)).begin().expect("begins").step(&hello).expect("answers");
    let refused = modern.step(&continued(answer)).expect_err("refused");
    assert_eq!(refused, DskError::NoCommonVersion { theirs: vec![0x0301], ours: Policy::modern() });
}

#[test]
fn suites_that_do_not_meet_are_told() {
    let ours = Policy { suites: &[Suite::Aes256Sha], ..Policy::default() };
    let (_, hello) = client(Policy { suites: &[Suite::Aes128Sha], ..Policy::default() }).begin().expect("begins");
    let refused = server(ours).begin().expect("begins").step(&hello).expect_err("refused");
    // 0x00FF is the promise of RFC 5746.
    assert_eq!(refused, DskError::NoCommonSuite { theirs: vec![0x002F, 0x00FF], ours });
    assert_eq!(
        refused.to_string(),
        "no cipher suite in common: the other side has 0x002f, 0x00ff, this side allows TLS_RSA_WITH_AES_256_CBC_SHA"
    );
}

#[test]
fn suites_the_client_did_not_offer_are_told() {
    let (mut connecting, _) =
        client(Policy { suites: &[Suite::Aes256Sha], ..Policy::default() }).begin().expect("begins");
    let answer = server(only(Protocol::Tls10)).begin().expect("begins").step(&open_hello(&[])).expect("answers");
    let refused = connecting.step(&continued(answer)).expect_err("refused");
    assert!(matches!(&refused, DskError::NoCommonSuite { theirs, .. } if theirs == &[0x002F]), "{refused}");
}

/// A handshake of OpenSSL's, other than ours make them.
fn bare(method: SslMethod, side: Side, paper: Option<&Paper>) -> Handshake {
    let mut context = SslContext::builder(method).expect("a context");
    Policy::default().apply(&mut context).expect("a policy");
    if let Some(paper) = paper {
        let certificate = openssl::x509::X509::from_der(&paper.certificate).expect("a certificate");
        context.set_certificate(&certificate).expect("set");
        let key = openssl::pkey::PKey::private_key_from_pkcs8(&paper.key).expect("a key");
        context.set_private_key(&key).expect("set");
    }
    Handshake::new(Ssl::new(&context.build()).expect("ssl"), side, Policy::default()).expect("a handshake")
}

#[test]
fn who_shows_no_certificate_is_told_apart() {
    let mut connecting = bare(SslMethod::tls_client(), Side::Client, None);
    let mut accepting = server(Policy::default()).begin().expect("begins");
    let flight = continued(accepting.step(&connecting.first_flight().expect("a hello")).expect("answers"));
    let third = connecting.take(&flight).expect("goes on").flight;
    assert_eq!(accepting.step(&third).expect_err("refused"), DskError::NoCertificate);
}

#[test]
fn who_asks_for_no_certificate_is_told_apart() {
    let mut accepting = bare(SslMethod::tls_server(), Side::Server, Some(&papers().0));
    let (mut connecting, first) = client(Policy::default()).begin().expect("begins");
    let flight = accepting.take(&first).expect("answers").flight;
    assert_eq!(connecting.step(&flight).expect_err("refused"), DskError::NotAsked);
    assert_eq!(connecting.step(&flight).expect_err("over"), DskError::Over);
}

/// Servers older than RFC 5746 say nothing of renegotiation.
#[test]
fn old_servers_are_good_enough_for_a_client() {
    let (mut connecting, _) = client(only(Protocol::Tls10)).begin().expect("begins");
    // An answer to a hello without extensions has none itself.
    let answer = server(Policy::default()).begin().expect("begins").step(&open_hello(&[])).expect("answers");
    assert!(matches!(connecting.step(&continued(answer)), Ok(ClientStep::Continue(_))));
}

#[test]
fn hellos_are_read() {
    let (_, hello) = client(Policy::default()).begin().expect("begins");
    let offered = hello::offered(&hello).expect("read");
    assert_eq!(offered.versions, [0x0303], "the highest; there is no list before TLS 1.3");
    assert_eq!(offered.suites, [0x002F, 0x0035, 0x00FF]);
    assert_eq!(hello::offered(&open_hello(&[])).expect("read").suites, [4, 5, 0x2F, 0x35, 3]);
    // Of a client of TLS 1.3 only, that strews in reserved numbers (RFC 8701).
    let mut modern = open_hello(&[]);
    modern.extend([0, 9, 0, 43, 0, 5, 4, 0x1A, 0x1A, 3, 4]);
    (modern[4], modern[8]) = (modern[4] + 11, modern[8] + 11);
    assert_eq!(hello::offered(&modern).expect("read").versions, [0x0304]);
    assert_eq!(hello::chosen(&hello), None);
}
