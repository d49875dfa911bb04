//! Our acceptor against MIT Kerberos: its KDC's tickets, its library's tokens and signatures, its reading of our keytabs.
//! RFC 4120, RFC 4121, RFC 4757, RFC 4178.
#![allow(clippy::disallowed_methods)] // starting the counterpart, and the real clock, are what these tests are for

mod peer {
    pub(crate) mod kerberos;
    pub(crate) mod line;
    pub(crate) mod mit;
}

use mechanism::Side;
use mechanism::channel_bindings::ChannelBindings;
use mechanism::kerberos::crypto::EncryptionType;
use mechanism::kerberos::keytab::Keytab;
use mechanism::kerberos::mic::MessageKeys;
use mechanism::kerberos::name::Principal;
use mechanism::kerberos::server::{Accepted, Refusal, ReplayCache, Service};
use mechanism::kerberos::ticket_cache::TicketCache;
use mechanism::kerberos::{ApOptions, Now};
use mechanism::user_certificate::{Fingerprint, UserCertificateAuthority, new_key};
use peer::kerberos::Realm;
use peer::line::{Peer, Step};
use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const TEXT: &[u8] = b"<Kerberos><8a0f1b2c><1><SIP Communications Service><sip/fe1.contoso.test>";
const TAMPERED: &[u8] = b"<Kerberos><8a0f1b2c><2><SIP Communications Service><sip/fe1.contoso.test>";

const TYPES: [(&str, EncryptionType); 3] = [
    ("aes256-cts-hmac-sha1-96", EncryptionType::Aes256),
    ("aes128-cts-hmac-sha1-96", EncryptionType::Aes128),
    ("arcfour-hmac", EncryptionType::Rc4Hmac),
];

fn now() -> Now {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    Now { unix_seconds: time.as_secs().cast_signed(), microseconds: time.subsec_micros() }
}

/// Different bytes with every call; that they can be guessed does no harm here.
fn random() -> impl Fn(&mut [u8]) {
    let state = Cell::new(now().microseconds);
    move |bytes| {
        for byte in bytes {
            state.set(state.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
            *byte = (state.get() >> 24) as u8;
        }
    }
}

fn accept(service: &Service, token: &[u8]) -> Result<Accepted, Refusal> {
    service.accept(token, now(), &mut ReplayCache::default(), &random())
}

fn service(keytab: &[u8]) -> Service {
    Service::new(Keytab::read(keytab).expect("a keytab of kadmin")).allowing(&EncryptionType::KNOWN)
}

/// Tickets, session keys and subkeys of every type, bare and in SPNEGO, with and without an answer.
#[test]
#[ignore = "needs MIT Kerberos; run by make test"]
fn their_initiator_is_accepted() {
    let realm = Realm::start();
    for (name, etype) in TYPES {
        let host = format!("{name}.contoso.test");
        realm.service_of_one_type(&format!("sip/{host}"), name);
        realm.sign_in();
        let service = service(&realm.keytab(&[&format!("sip/{host}")]));
        for mechanism in ["krb5", "spnego"] {
            for answer in ["alone", "mutual"] {
                let case = format!("{name} {mechanism} {answer}");
                let (mut initiator, first) = realm.initiate(mechanism, answer, &format!("sip@{host}"));
                let one_token = (mechanism, answer) == ("krb5", "alone");
                let token = if one_token { first.done() } else { first.going_on() };
                let mut accepted = accept(&service, &token).unwrap_or_else(|refusal| panic!("{case}: {refusal}"));
                assert_eq!(accepted.client.to_string(), "alice@CONTOSO.TEST", "{case}");
                assert_eq!(accepted.service.to_string(), format!("sip/{host}@CONTOSO.TEST"), "{case}");
                assert_eq!(accepted.etype, etype, "{case}");
                assert!(accepted.ends > now().unix_seconds + 3600, "{case}");
                assert_eq!(accepted.reply.is_none(), one_token, "{case}");
                if let Some(reply) = accepted.reply.take() {
                    assert_eq!(initiator.token(&reply).done(), b"", "{case}");
                }
                signatures_agree(&mut initiator, &mut accepted.keys, &case);
            }
        }
    }
}

/// A server's certificate, and what both ends of a connection to it know.
fn certificate(serial: u8) -> (ChannelBindings, Vec<u8>) {
    let key = new_key(1024).expect("a key");
    let certificate = UserCertificateAuthority::certify(&key, [serial; 16], 0, Duration::from_secs(60)).expect("DER");
    let hash = Fingerprint::of(&certificate);
    let data = [b"tls-server-end-point:", hash.as_bytes().as_slice()].concat();
    (ChannelBindings::of_certificate(&certificate).expect("RSA with SHA-256"), data)
}

/// Which TLS connection a token was made for: theirs says it, and ours is good for it alone.
#[test]
#[ignore = "needs MIT Kerberos; run by make test"]
fn tokens_name_their_connection() {
    let realm = Realm::start();
    let name = "http/web1.contoso.test";
    realm.service(name, "aes256-cts-hmac-sha1-96");
    realm.sign_in();
    let keytab = realm.keytab(&[name]);
    let ((channel, data), (elsewhere, _)) = (certificate(1), certificate(2));

    let service = service(&keytab);
    let said = |token: &[u8]| accept(&service, token).expect("it is accepted").channel;
    let bound = realm.initiate_over(&data, "krb5", "alone", "http@web1.contoso.test").1.done();
    assert_eq!(said(&bound), Some(*channel.as_bytes()));
    assert_eq!(said(&realm.initiate("krb5", "alone", "http@web1.contoso.test").1.done()), None);

    let tickets = TicketCache::parse(&realm.tickets(name)).expect("a cache");
    let http = Principal::service("http", "web1.contoso.test", "CONTOSO.TEST").expect("a name");
    let ticket = tickets.ticket_for(&http, now()).expect("kvno left it");
    for (channel, right) in [(Some(channel), true), (Some(elsewhere), false)] {
        let mut acceptor = realm.acceptor(&keytab);
        acceptor.bind(&data);
        let options = ApOptions { spnego: false, channel };
        let request = ticket.ap_request(now(), &random(), options).expect("a token");
        match acceptor.token(request.token()) {
            Step::Done(_) => assert!(right, "made for another connection"),
            step => assert!(!right && step.refused().contains("hannel bindings"), "their words"),
        }
    }
}

/// From which number on our signatures count: without an answer from the client's, with one from that in the answer.
#[test]
#[ignore = "needs MIT Kerberos; run by make test"]
fn our_signatures_are_numbered_as_theirs_expects() {
    let realm = Realm::start();
    for (name, _) in TYPES {
        let host = format!("{name}.contoso.test");
        realm.service_of_one_type(&format!("sip/{host}"), name);
        realm.sign_in();
        let service = service(&realm.keytab(&[&format!("sip/{host}")]));
        for answer in ["alone,ordered", "mutual,ordered"] {
            let (mut initiator, first) = realm.initiate("krb5", answer, &format!("sip@{host}"));
            let (Step::Done(token) | Step::Continue(token)) = first else { panic!("{first:?}") };
            let mut accepted = accept(&service, &token).expect(answer);
            if let Some(reply) = &accepted.reply {
                initiator.token(reply).done();
            }
            let signatures: Vec<_> = (0..3).map(|_| accepted.keys.sign(Side::Server, TEXT)).collect();
            assert!(initiator.verifies(TEXT, &signatures[0]), "{name} {answer}: the first");
            assert!(initiator.verifies(TEXT, &signatures[1]), "{name} {answer}: the second");
            assert!(!initiator.verifies(TEXT, &signatures[1]), "{name} {answer}: it does count");
        }
    }
}

/// Both ways, several times over, and what has to be refused.
fn signatures_agree(initiator: &mut Peer, keys: &mut MessageKeys, case: &str) {
    for text in [TEXT, b"x", &[0xff; 1000], TEXT] {
        let theirs = initiator.mic(text);
        assert!(keys.verify(Side::Client, text, &theirs), "{case}: their signature");
        assert!(!keys.verify(Side::Client, TAMPERED, &theirs), "{case}: an altered text");
        assert!(!keys.verify(Side::Server, text, &theirs), "{case}: their own sent back");
        let ours = keys.sign(Side::Server, text);
        assert!(initiator.verifies(text, &ours), "{case}: our signature");
        assert!(!initiator.verifies(TAMPERED, &keys.sign(Side::Server, text)), "{case}: an altered text");
    }
    assert!(!initiator.verifies(TEXT, &keys.sign(Side::Client, TEXT)), "{case}: our signature for their side");
    // Out of turn, which is how messages of SIP come.
    let (first, second) = (initiator.mic(b"first"), initiator.mic(b"second"));
    assert!(keys.verify(Side::Client, b"second", &second) && keys.verify(Side::Client, b"first", &first), "{case}");
}

#[test]
#[ignore = "needs MIT Kerberos; run by make test"]
fn their_acceptor_reads_our_keytab() {
    let realm = Realm::start();
    let names: Vec<String> = TYPES.iter().map(|(name, _)| format!("sip/{name}.contoso.test")).collect();
    for ((etype, _), name) in TYPES.iter().zip(&names) {
        realm.service(name, etype);
    }
    realm.sign_in();
    let exported = realm.keytab(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut keytab = Keytab::new();
    for entry in Keytab::read(&exported).expect("theirs").entries() {
        keytab.add(entry.principal.clone(), entry.kvno, entry.key.clone(), 1_700_000_000);
    }
    let ours = keytab.write();
    for (etype, name) in TYPES.iter().map(|(etype, _)| etype).zip(&names) {
        assert!(realm.list(&ours).lines().any(|line| line.contains(name.as_str()) && line.contains(etype)), "{name}");
        let (mut initiator, first) = realm.initiate("krb5", "mutual", &name.replace('/', "@"));
        let mut acceptor = realm.acceptor(&ours);
        let answer = acceptor.token(&first.going_on()).done();
        initiator.token(&answer).done();
        assert_eq!(acceptor.user(), "alice@CONTOSO.TEST");
        assert!(acceptor.verifies(TEXT, &initiator.mic(TEXT)));
    }
}

/// A service whose key changed: old tickets go with the old key, for as long as the keytab has it.
#[test]
#[ignore = "needs MIT Kerberos; run by make test"]
fn several_versions_of_a_key() {
    let realm = Realm::start();
    let name = "sip/fe1.contoso.test";
    realm.service(name, "aes256-cts-hmac-sha1-96");
    realm.sign_in();
    let before = realm.keytab(&[name]);
    let token = || realm.initiate("krb5", "alone", "sip@fe1.contoso.test").1.done();
    let of_the_first = token();
    realm.admin(&format!("cpw -randkey -keepold -e aes256-cts-hmac-sha1-96:normal {name}"));
    let both = service(&realm.keytab(&[name]));
    assert_eq!(both.keytab().entries().len(), 2);
    assert!(accept(&both, &of_the_first).is_ok(), "a ticket from before");
    realm.sign_in();
    let of_the_second = token();
    assert!(accept(&both, &of_the_second).is_ok(), "a ticket from after");
    let refused = accept(&service(&before), &of_the_second).expect_err("the keytab is old");
    let expected = Refusal::UnknownKeyVersion {
        service: Principal::parse("sip/fe1.contoso.test@CONTOSO.TEST").expect("a name"),
        asked: 2,
        known: vec![1],
    };
    assert_eq!(refused, expected);
}

#[test]
#[ignore = "needs MIT Kerberos; run by make test"]
fn what_is_refused() {
    let realm = Realm::start();
    let [sip, web] = ["sip/fe1.contoso.test", "http/fe1.contoso.test"];
    for name in [sip, web] {
        realm.service(name, "aes256-cts-hmac-sha1-96");
    }
    realm.sign_in();
    let all = service(&realm.keytab(&[sip, web]));
    let token = realm.initiate("krb5", "alone", "sip@fe1.contoso.test").1.done();

    let mut replays = ReplayCache::default();
    assert!(all.accept(&token, now(), &mut replays, &random()).is_ok());
    let again = all.accept(&token, now(), &mut replays, &random()).expect_err("used before");
    assert!(matches!(again, Refusal::Replayed { .. }), "{again}");

    let only_web = service(&realm.keytab(&[web]));
    let refused = accept(&only_web, &token).expect_err("no key of it");
    assert!(matches!(refused, Refusal::NotForUs { .. }), "{refused}");
    let refused = accept(&all.serving("http"), &token).expect_err("another service");
    assert!(matches!(refused, Refusal::OtherService { .. }), "{refused}");

    // Another realm's key of that name.
    let other = Realm::start();
    other.service(sip, "aes256-cts-hmac-sha1-96");
    let refused = accept(&service(&other.keytab(&[sip])), &token).expect_err("another key");
    assert!(matches!(refused, Refusal::WrongKey { .. }), "{refused}");
}

/// Their initiator understands the error that stands in for our answer.
#[test]
#[ignore = "needs MIT Kerberos; run by make test"]
fn a_wrong_clock_is_told() {
    let realm = Realm::start();
    realm.service("sip/fe1.contoso.test", "aes256-cts-hmac-sha1-96");
    realm.sign_in();
    let service = service(&realm.keytab(&["sip/fe1.contoso.test"]));
    let (mut initiator, first) = realm.initiate("krb5", "mutual", "sip@fe1.contoso.test");
    let ours = Now { unix_seconds: now().unix_seconds + 1000, ..now() };
    let refused =
        service.accept(&first.going_on(), ours, &mut ReplayCache::default(), &random()).expect_err("clocks differ");
    let Refusal::ClockSkew { seconds: -1002..=-999, permitted: 300, .. } = refused else { panic!("{refused}") };
    let name = Principal::parse("sip/fe1.contoso.test@CONTOSO.TEST").expect("a name");
    let error = refused.krb_error_token(&name, ours).expect("an error for the client");
    let words = initiator.token(&error).refused();
    assert!(words.contains("Clock skew too great"), "{words}");
}
