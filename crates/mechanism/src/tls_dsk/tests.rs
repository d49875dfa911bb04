//! Both halves against each other, published keys and signatures, and what peers do wrong.

use super::*;
use crate::Side;
use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::x509::{X509, X509NameBuilder};
use proptest::prelude::*;
use std::sync::OnceLock;

/// A self-signed certificate and its key: DER, PKCS#8.
struct Paper {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Paper {
    fn new(name: &str) -> Paper {
        let key = PKey::from_rsa(Rsa::generate(2048).expect("a key")).expect("a key");
        let mut subject = X509NameBuilder::new().expect("a name");
        subject.append_entry_by_text("CN", name).expect("a name");
        let subject = subject.build();
        let mut builder = X509::builder().expect("a certificate");
        builder.set_version(2).expect("v3");
        builder.set_subject_name(&subject).expect("subject");
        builder.set_issuer_name(&subject).expect("issuer");
        builder.set_pubkey(&key).expect("key");
        builder.set_not_before(&Asn1Time::from_unix(1_700_000_000).expect("time")).expect("date");
        builder.set_not_after(&Asn1Time::from_unix(4_000_000_000).expect("time")).expect("date");
        builder.sign(&key, MessageDigest::sha256()).expect("signed");
        let certificate = builder.build().to_der().expect("der");
        Paper { certificate, key: key.private_key_to_pkcs8().expect("pkcs8") }
    }
}

/// Made once: keys take long.
fn papers() -> &'static (Paper, Paper) {
    static PAPERS: OnceLock<(Paper, Paper)> = OnceLock::new();
    PAPERS.get_or_init(|| (Paper::new("fe01.contoso.test"), Paper::new("alice@contoso.test")))
}

fn server(policy: Policy) -> Server {
    let (server, _) = papers();
    Server::new(std::slice::from_ref(&server.certificate), &server.key, policy).expect("a server")
}

fn client(policy: Policy) -> Client {
    let (_, client) = papers();
    Client::new(&client.certificate, &client.key, policy).expect("a client")
}

/// The flights of a whole handshake, and the keys of both ends.
struct Run {
    to_server: Vec<Vec<u8>>,
    to_client: Vec<Vec<u8>>,
    client: Box<MessageKeys>,
    server: Box<MessageKeys>,
    certificate: Vec<u8>,
}

fn run(server: &Server, client: &Client) -> Result<Run, DskError> {
    let mut accepting = server.begin()?;
    let (mut connecting, first) = client.begin()?;
    let ServerStep::Continue(second) = accepting.step(&first)? else { panic!("the server cannot be done") };
    let ClientStep::Continue(third) = connecting.step(&second)? else { panic!("the client cannot be done") };
    let ServerStep::Finished { flight, certificate, keys: server } = accepting.step(&third)? else {
        panic!("the server is done")
    };
    let ClientStep::Finished { keys: client, server_certificate } = connecting.step(&flight)? else {
        panic!("the client is done")
    };
    assert_eq!(server_certificate.as_ref(), Some(&papers().0.certificate));
    Ok(Run { to_server: vec![first, third], to_client: vec![second, flight], client, server, certificate })
}

#[test]
fn both_halves_agree_in_every_version() {
    for version in [Protocol::Tls10, Protocol::Tls11, Protocol::Tls12] {
        let policy = Policy { min: version, max: version };
        let run = run(&server(Policy::default()), &client(policy)).expect("a handshake");
        assert_eq!(run.certificate, papers().1.certificate);
        for side in [Side::Client, Side::Server] {
            let mac = run.client.sign(side, b"text");
            assert_eq!(mac.len(), 20);
            assert!(run.server.verify(side, b"text", &mac), "{version}");
            assert!(!run.server.verify(side, b"other", &mac));
            assert!(!run.server.verify(side, b"text", &mac[..19]));
        }
        assert_ne!(run.client.sign(Side::Client, b"text"), run.client.sign(Side::Server, b"text"));
    }
}

#[test]
fn first_flight_of_the_server_is_one_record() {
    let run = run(&server(Policy::default()), &client(Policy::default())).expect("a handshake");
    let records = records::contents(&run.to_client[0]);
    assert_eq!(records.len(), 1, "{} records", records.len());
    let (content, fragment) = &records[0];
    assert_eq!(*content, 22);
    // ServerHello, Certificate, CertificateRequest, ServerHelloDone. RFC 5246 §7.4.
    let mut kinds = Vec::new();
    let mut rest = &fragment[..];
    while let [kind, a, b, c, ..] = rest {
        kinds.push(*kind);
        rest = &rest[4 + usize::from(*a) * 65_536 + usize::from(*b) * 256 + usize::from(*c)..];
    }
    assert_eq!(kinds, [2, 11, 13, 14]);
    let kinds: Vec<u8> = records::contents(&run.to_client[1]).into_iter().map(|(content, _)| content).collect();
    assert_eq!(kinds, [20, 22], "ChangeCipherSpec and Finished stay apart");
}

#[test]
fn hello_of_a_client_without_extensions_is_answered_in_tls_1_0() {
    let mut hello = vec![22, 3, 1, 0, 53, 1, 0, 0, 49, 3, 1];
    hello.extend([7; 32]);
    hello.push(0);
    hello.extend([0, 10, 0, 4, 0, 5, 0, 0x2f, 0, 0x35, 0, 3, 1, 0]);
    assert_eq!(hello.len(), 58);
    let ServerStep::Continue(flight) =
        server(Policy::default()).begin().expect("begins").step(&hello).expect("answers")
    else {
        panic!("the handshake cannot be done")
    };
    let records = records::contents(&flight);
    assert_eq!(records.len(), 1);
    assert_eq!(&flight[1..3], [3, 1]);
    let body = &records[0].1;
    let session_id = usize::from(body[4 + 34]);
    assert_eq!(&body[4 + 35 + session_id..][..2], [0, 0x2f], "AES128-SHA, never RC4");
    let modern = server(Policy::modern()).begin().expect("begins").step(&hello);
    assert!(matches!(modern, Err(DskError::NothingInCommon(_))), "{modern:?}");
}

#[test]
fn who_shows_no_certificate_is_told_apart() {
    let mut context = openssl::ssl::SslContext::builder(openssl::ssl::SslMethod::tls_client()).expect("context");
    Policy::default().apply(&mut context).expect("policy");
    let bare = openssl::ssl::Ssl::new(&context.build()).expect("ssl");
    let mut connecting = transport::Handshake::new(bare).expect("handshake");
    connecting.go_on(|stream| stream.connect()).expect("hello");
    let mut accepting = server(Policy::default()).begin().expect("begins");
    let ServerStep::Continue(flight) = accepting.step(&connecting.take_flight()).expect("answers") else { panic!() };
    connecting.hand_in(&flight).expect("taken");
    connecting.go_on(|stream| stream.connect()).expect("goes on");
    assert_eq!(accepting.step(&connecting.take_flight()).expect_err("refused"), DskError::NoCertificate);
}

#[test]
fn a_key_that_is_not_the_certificates_proves_nothing() {
    let (server_paper, client_paper) = papers();
    assert!(matches!(
        Client::new(&client_paper.certificate, &server_paper.key, Policy::default()),
        Err(DskError::Setup(_))
    ));
    // The proof is over what was exchanged: one taken from another handshake is worth nothing.
    let (server, client) = (server(Policy::default()), client(Policy::default()));
    let earlier = run(&server, &client).expect("a handshake");
    let mut accepting = server.begin().expect("begins");
    accepting.step(&earlier.to_server[0]).expect("answers");
    let refused = accepting.step(&earlier.to_server[1]).expect_err("refused");
    assert!(matches!(refused, DskError::Refused(_)), "{refused}");
    assert_eq!(accepting.step(&earlier.to_server[1]).expect_err("over"), DskError::Over);
}

#[test]
fn tokens_that_are_no_flights_say_what_they_are() {
    let step = |bytes: &[u8]| server(Policy::default()).begin().expect("begins").step(bytes).expect_err("refused");
    assert_eq!(step(b""), DskError::NotTls("it is empty"));
    assert_eq!(step(b"GET / HTTP/1.1\r\n\r\n"), DskError::NotTls("a record is cut off"));
    assert_eq!(step(&[22, 3, 1, 0, 9, 1]), DskError::NotTls("a record is cut off"));
    assert_eq!(step(&[23, 3, 1, 0, 1, 0]), DskError::NotTls("a record is not of a handshake"));
    assert_eq!(step(&[21, 3, 1, 0, 2, 2, 70]), DskError::Alert("70 (protocol_version)".to_owned()));
    assert_eq!(step(&vec![0; 100_000]), DskError::TooLong);
}

#[test]
fn nothing_secret_is_printed() {
    let run = run(&server(Policy::default()), &client(Policy::default())).expect("a handshake");
    assert_eq!(format!("{:?}", run.client), "MessageKeys(…)");
    assert!(!format!("{:?} {:?}", server(Policy::default()), client(Policy::default())).contains("context"));
}

/// Published: block and signatures of a handshake in TLS 1.0 with AES128-SHA.
#[test]
fn published_signatures_are_reproduced() {
    let block = hex::decode(
        "610b0aec1a2865e17f2ecc622c73806ea445958cf04569ec5236c56439ba353bd71b801f018eaa2875c5931440874059feaca9235f24feb7\
         51172db854d3e54c856cc21545a45ed5a504b12cf05ed38cfcf7fe2d6f3f93a98d8172f414c9f18e42d3dd036f74caaf56b6e8126abe29bc\
         c8627f5e0d955142b7799fac19cba14c",
    )
    .expect("hex");
    let keys = MessageKeys::of_block(block.as_slice().try_into().expect("128 bytes"));
    let request = "<TLS-DSK><e8b69f85><1><SIP Communications Service><fe.contoso.test><0123456789abcdef0123456789abcdef>\
                   <4><REGISTER><sip:alice@contoso.test><1a2b3c4d5e><sip:alice@contoso.test><><><><>";
    let answer = "<TLS-DSK><FA78E074><1><SIP Communications Service><fe.contoso.test><0123456789abcdef0123456789abcdef>\
                  <4><REGISTER><sip:alice@contoso.test><1a2b3c4d5e><sip:alice@contoso.test>\
                  <9588410E2DA11CEE9D0AE7733E07830F><><><7200><200>";
    let signed = |side, text: &str| hex::encode(keys.sign(side, text.as_bytes()));
    assert_eq!(signed(Side::Client, request), "bb2d294452ca3cf95ca4210d053c13d79dd2b5db");
    assert_eq!(signed(Side::Server, answer), "4e4642a96a5a89955dabbc567693481f0052f19d");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_bytes_panic(flights in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..4)) {
        let mut accepting = server(Policy::default()).begin().expect("begins");
        for flight in flights {
            let _ = accepting.step(&flight);
        }
    }

    #[test]
    fn altered_flights_lead_nowhere(at in 0usize..4000, flip in 1u8..=255, which in 0usize..2) {
        let (server, client) = (server(Policy::default()), client(Policy::default()));
        let mut accepting = server.begin().expect("begins");
        let (mut connecting, mut first) = client.begin().expect("begins");
        if which == 0 {
            let place = at % first.len();
            first[place] ^= flip;
        }
        let Ok(ServerStep::Continue(second)) = accepting.step(&first) else { return Ok(()) };
        let Ok(ClientStep::Continue(mut third)) = connecting.step(&second) else { return Ok(()) };
        if which == 1 {
            let place = at % third.len();
            third[place] ^= flip;
        }
        // Where the record layer's own version is altered before there are keys, nobody can tell; all else is covered by
        // Finished.
        if let Ok(ServerStep::Finished { certificate, .. }) = accepting.step(&third) {
            prop_assert_eq!(certificate, papers().1.certificate.clone());
        }
    }
}
