//! Our NTLM against the one of Debian's gss-ntlmssp, in both directions and both forms: what neither side could have made
//! up to please the other. `[MS-NLMP]`.
//!
//! Signatures are compared in the connectionless form only: in the connection oriented form gss-ntlmssp counts its
//! messages, and we sign none. There, that both sides arrived at the same session key is what is compared.
#![allow(clippy::disallowed_methods)] // starting the counterpart is what these tests are for

mod peer {
    pub(crate) mod line;
    pub(crate) mod ntlm;
}

use mechanism::Side;
use mechanism::channel_bindings::ChannelBindings;
use mechanism::ntlm::message::{Authenticate, Challenge, Flags, TargetInfo, av};
use mechanism::ntlm::{
    Acceptor, Credentials, Entropy, Mode, NtHash, NtlmError, Purpose, SigningKeys, TargetNames, WrongAnswer, answer,
    answer_for, negotiate,
};
use mechanism::user_certificate::{Fingerprint, UserCertificateAuthority, new_key};
use peer::line::Step;
use peer::ntlm::NtlmPeer as Peer;
use std::time::Duration;

/// Letters outside ASCII on purpose: the user's enter the proof as capitals, the password's as they are.
const ACCOUNT: &str = "CONTOSO:jürgen:Größe & Paßwort";
const USER: &str = "jürgen";
const PASSWORD: &str = "Größe & Paßwort";
const STRANGER: &str = "CONTOSO:jürgen:another";

const TEXT: &[u8] = b"<NTLM><13317733><1><SIP Communications Service><fe01.contoso.test>";
const TAMPERED: &[u8] = b"<NTLM><13317733><2><SIP Communications Service><fe01.contoso.test>";

const ENTROPY: Entropy = Entropy { client_challenge: *b"8 bytes!", session_key: *b"sixteen bytes ok" };
const SERVER_CHALLENGE: [u8; 8] = *b"\x01\x23\x45\x67\x89\xab\xcd\xef";

/// Where the integrity code of an AUTHENTICATE begins.
const MIC_OFFSET: usize = 72;

/// What gss-ntlmssp allows unless told otherwise: version 2 only.
const VERSION_2: u8 = 3;

fn form(mode: Mode) -> &'static str {
    match mode {
        Mode::Datagram => "datagram",
        Mode::Connection => "connection",
    }
}

fn log_on(password: &str) -> Credentials {
    Credentials {
        user: USER.to_owned(),
        domain: "CONTOSO".to_owned(),
        workstation: "PC".to_owned(),
        nt_hash: NtHash::of_password(password),
    }
}

// ---- our client, their acceptor -----------------------------------------------------------------------------------

/// Our client up to its answer, which the caller hands over.
struct OurClient {
    acceptor: Peer,
    challenge: Vec<u8>,
    message: Vec<u8>,
    keys: SigningKeys,
}

fn our_client(mode: Mode, password: &str) -> OurClient {
    let mut acceptor = Peer::start(ACCOUNT, VERSION_2);
    let first = acceptor.accept(form(mode)).going_on();
    let (negotiate, challenge) = match mode {
        Mode::Datagram => (None, first),
        Mode::Connection => {
            let negotiate = negotiate();
            let challenge = acceptor.token(&negotiate).going_on();
            (Some(negotiate), challenge)
        }
    };
    let answered = answer(mode, negotiate.as_deref(), &challenge, &log_on(password), &ENTROPY, 0).expect("answers");
    OurClient { acceptor, challenge, message: answered.message, keys: answered.keys }
}

#[test]
#[ignore = "needs gss-ntlmssp and libkrb5-dev; run by make test"]
fn their_acceptor_accepts_our_client() {
    for mode in [Mode::Datagram, Mode::Connection] {
        let mut client = our_client(mode, PASSWORD);
        assert_eq!(client.acceptor.token(&client.message).done(), b"", "{mode:?}");
        assert_eq!(client.acceptor.user(), format!("CONTOSO\\{USER}"));
        assert_eq!(client.acceptor.session_key(), ENTROPY.session_key);
    }
}

#[test]
#[ignore = "needs gss-ntlmssp and libkrb5-dev; run by make test"]
fn their_acceptor_refuses_our_client_with_a_wrong_password() {
    for mode in [Mode::Datagram, Mode::Connection] {
        let mut client = our_client(mode, "wrong");
        let words = client.acceptor.token(&client.message).refused();
        assert!(words.ends_with("Invalid argument"), "{mode:?}: its word for a wrong proof, not `{words}`");
    }
}

#[test]
#[ignore = "needs gss-ntlmssp and libkrb5-dev; run by make test"]
fn our_client_and_their_acceptor_sign_alike() {
    let mut client = our_client(Mode::Datagram, PASSWORD);
    client.acceptor.token(&client.message).done();
    signatures_agree(&mut client.acceptor, Side::Server, &client.keys);
}

/// gss-ntlmssp sends its time, and so asks for an integrity code: it has to find one that says so, and to check it.
#[test]
#[ignore = "needs gss-ntlmssp and libkrb5-dev; run by make test"]
fn their_acceptor_checks_our_integrity_code() {
    for mode in [Mode::Datagram, Mode::Connection] {
        let mut client = our_client(mode, PASSWORD);
        let challenge = Challenge::parse(&client.challenge).expect("parses");
        assert!(challenge.target_info.get(av::TIMESTAMP).is_some(), "{mode:?}: the server's time");
        assert!(Authenticate::parse(&client.message).expect("parses").mic.is_some(), "{mode:?}: announced");
        // A letter of the workstation: the code alone covers it.
        let at = client.message.windows(4).position(|four| four == b"P\0C\0").expect("the workstation");
        client.message[at] ^= 1;
        assert!(client.acceptor.token(&client.message).refused().starts_with("Invalid token"), "{mode:?}: workstation");

        let mut client = our_client(mode, PASSWORD);
        client.message[MIC_OFFSET] ^= 1;
        assert!(client.acceptor.token(&client.message).refused().starts_with("Invalid token"), "{mode:?}: code");
    }
}

// ---- their initiator, our acceptor --------------------------------------------------------------------------------

fn names() -> TargetNames {
    TargetNames {
        netbios_domain: "CONTOSO".to_owned(),
        netbios_computer: "FE01".to_owned(),
        dns_domain: "contoso.test".to_owned(),
        dns_computer: "fe01.contoso.test".to_owned(),
    }
}

/// Their initiator's answer, and what our acceptor makes of it with the right password's hash.
fn their_client(initiator: &mut Peer, their_form: &str) -> Result<SigningKeys, String> {
    let mode = if their_form == "datagram" { Mode::Datagram } else { Mode::Connection };
    let mut server = Acceptor::new(mode, SERVER_CHALLENGE, names());
    let first = initiator.initiate(their_form).going_on();
    assert_eq!(first.is_empty(), mode == Mode::Datagram, "only the connectionless form has no first message");
    let negotiate = (mode == Mode::Connection).then_some(first);
    let challenge = server.challenge_message(negotiate.as_deref()).map_err(|e| e.to_string())?;
    let message = initiator.token(&challenge).done();
    let read = server.read_answer(&message).map_err(|e| e.to_string())?;
    assert_eq!((read.user(), read.domain(), read.workstation()), (USER, "CONTOSO", "FE01"));
    let key = NtHash::of_password(PASSWORD)
        .session_base_key(read.user(), read.domain(), server.server_challenge(), read.nt_response())
        .map_err(|e| e.to_string())?;
    server.finish(&read, &key).map_err(|e| e.to_string())
}

/// The keys that come from a session key, by way of a client of ours that chose it.
fn keys_of(session_key: [u8; 16], mode: Mode) -> SigningKeys {
    let flags = Flags::UNICODE
        | Flags::SIGN
        | Flags::ALWAYS_SIGN
        | Flags::DATAGRAM
        | Flags::NTLM
        | Flags::EXTENDED_SESSION_SECURITY
        | Flags::TARGET_INFO
        | Flags::KEY_128
        | Flags::KEY_EXCHANGE;
    let challenge = Challenge {
        flags: Flags(flags),
        server_challenge: SERVER_CHALLENGE,
        target_name: String::new(),
        target_info: TargetInfo::of_names(&[]),
    };
    let entropy = Entropy { session_key, ..ENTROPY };
    let first = (mode == Mode::Connection).then(negotiate);
    answer(mode, first.as_deref(), &challenge.to_bytes(), &log_on(PASSWORD), &entropy, 0).expect("answers").keys
}

#[test]
#[ignore = "needs gss-ntlmssp and libkrb5-dev; run by make test"]
fn our_acceptor_accepts_their_client() {
    for form in ["datagram", "connection", "unsigned"] {
        let mut initiator = Peer::start(ACCOUNT, VERSION_2);
        let ours = their_client(&mut initiator, form).expect(form);
        let mode = if form == "datagram" { Mode::Datagram } else { Mode::Connection };
        let theirs = keys_of(initiator.session_key(), mode);
        for side in [Side::Client, Side::Server] {
            assert_eq!(ours.sign(side, TEXT), theirs.sign(side, TEXT), "{form}: the same session key");
        }
    }
}

#[test]
#[ignore = "needs gss-ntlmssp and libkrb5-dev; run by make test"]
fn our_acceptor_refuses_their_client_with_a_wrong_password() {
    for form in ["datagram", "connection", "unsigned"] {
        let mut initiator = Peer::start(STRANGER, VERSION_2);
        assert_eq!(their_client(&mut initiator, form).map(|_| ()), Err(WrongAnswer.to_string()), "{form}");
    }
}

#[test]
#[ignore = "needs gss-ntlmssp and libkrb5-dev; run by make test"]
fn their_client_and_our_acceptor_sign_alike() {
    let mut initiator = Peer::start(ACCOUNT, VERSION_2);
    let keys = their_client(&mut initiator, "datagram").expect("right");
    signatures_agree(&mut initiator, Side::Client, &keys);
}

/// Level 1 sends LM and version 1 answers with the random bytes of both sides in them, level 0 without.
#[test]
#[ignore = "needs gss-ntlmssp and libkrb5-dev; run by make test"]
fn our_acceptor_refuses_version_1_of_their_client() {
    for level in [0, 1] {
        let mut initiator = Peer::start(ACCOUNT, level);
        let refused = their_client(&mut initiator, "connection").map(|_| ());
        assert_eq!(refused, Err(NtlmError::Version1.to_string()), "level {level}");
    }
}

// ---- what an answer is for ----------------------------------------------------------------------------------------

/// A server's certificate, and what connections to it are bound by.
fn certificate() -> (Vec<u8>, Vec<u8>) {
    let key = new_key(1024).expect("a key");
    let certificate = UserCertificateAuthority::certify(&key, [1; 16], 0, Duration::from_secs(60)).expect("DER");
    let hash = Fingerprint::of(&certificate);
    let data = [b"tls-server-end-point:", hash.as_bytes().as_slice()].concat();
    (certificate, data)
}

#[test]
#[ignore = "needs gss-ntlmssp and libkrb5-dev; run by make test"]
fn their_client_says_what_its_answer_is_for() {
    let (certificate, data) = certificate();
    for bound in [true, false] {
        let mut initiator = Peer::start(ACCOUNT, VERSION_2);
        if bound {
            initiator.bind(&data);
        }
        let mut server = Acceptor::new(Mode::Connection, SERVER_CHALLENGE, names());
        let first = initiator.initiate("connection").going_on();
        let challenge = server.challenge_message(Some(&first)).expect("a challenge");
        let answer = server.read_answer(&initiator.token(&challenge).done()).expect("an answer");
        assert_eq!(answer.target_name().as_deref(), Some("sip/fe01.contoso.test"));
        let ours = bound.then(|| ChannelBindings::of_certificate(&certificate).expect("RSA with SHA-256"));
        assert_eq!(answer.channel_bindings(), ours.map(|bindings| bindings.as_bytes().to_vec()));
    }
}

#[test]
#[ignore = "needs gss-ntlmssp and libkrb5-dev; run by make test"]
fn their_acceptor_sees_what_our_answer_is_for() {
    let ((certificate, data), (other, _)) = (certificate(), certificate());
    for (used, right) in [(&certificate, true), (&other, false)] {
        let mut acceptor = Peer::start(ACCOUNT, VERSION_2);
        acceptor.bind(&data);
        acceptor.accept("connection").going_on();
        let negotiate = negotiate();
        let challenge = acceptor.token(&negotiate).going_on();
        let channel = ChannelBindings::of_certificate(used);
        let purpose = Purpose { target_name: "HTTP/fe01.contoso.test".to_owned(), channel };
        let (log_on, mode) = (log_on(PASSWORD), Mode::Connection);
        let answered = answer_for(Some(&purpose), mode, Some(&negotiate), &challenge, &log_on, &ENTROPY, 0);
        let step = acceptor.token(&answered.expect("answers").message);
        assert_eq!(matches!(step, Step::Done(_)), right, "{step:?}");
    }
}

// ---- signatures ---------------------------------------------------------------------------------------------------

/// Both directions, bit by bit, several times over (in SIP the sequence number never moves), and what has to be refused.
fn signatures_agree(peer: &mut Peer, its_side: Side, ours: &SigningKeys) {
    let our_side = if its_side == Side::Client { Side::Server } else { Side::Client };
    for text in [TEXT, b"x", &[0xff; 1000], TEXT] {
        let signature = peer.mic(text);
        assert_eq!(hex::encode(&signature), hex::encode(ours.sign(its_side, text)));
        assert_eq!(signature[12..], 100u32.to_le_bytes(), "the sequence number of SIP");
        assert!(ours.verify(its_side, text, &signature));
        assert!(peer.verifies(text, &ours.sign(our_side, text)));
    }
    assert!(!ours.verify(its_side, TAMPERED, &peer.mic(TEXT)), "an altered text");
    assert!(!ours.verify(our_side, TEXT, &peer.mic(TEXT)), "one's own signature sent back");
    assert!(!peer.verifies(TAMPERED, &ours.sign(our_side, TEXT)), "an altered text");
    assert!(!peer.verifies(TEXT, &ours.sign(its_side, TEXT)), "one's own signature sent back");
    for at in 0..16 {
        let mut altered = ours.sign(our_side, TEXT);
        altered[at] ^= 1;
        assert!(!peer.verifies(TEXT, &altered), "byte {at} of our signature");
        let mut altered = peer.mic(TEXT);
        altered[at] ^= 1;
        assert!(!ours.verify(its_side, TEXT, &altered), "byte {at} of its signature");
    }
}
