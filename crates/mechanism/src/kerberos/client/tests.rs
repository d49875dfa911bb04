//! The client's half against a KDC and services that are not what they should be.

use super::*;
use crate::Side;
use crate::kerberos::exchange_tests::{NOON, REALM, dice, granting, later, service_keys, shared, sip, ticket_at, user};
use crate::kerberos::keytab::Keytab;
use crate::kerberos::message::{ENC_AS_REP_PART, KdcRequest};
use crate::kerberos::server::{ReplayCache, Service};
use crate::kerberos::token::{self, NegotiateResponse, NegotiationState, TokenId};

fn error(code: i32, data: Option<Vec<u8>>) -> Vec<u8> {
    KrbError {
        code,
        time: NOON.unix_seconds + 1000,
        client_realm: Some("OTHER.TEST".to_owned()),
        realm: REALM.to_owned(),
        service: sip(),
        words: Some("words".to_owned()),
        data,
    }
    .write()
}

fn begin(client: Principal) -> (AsExchange, Vec<u8>) {
    AsExchange::begin(client, &EncryptionType::KNOWN, NOON, &dice()).expect("begins")
}

fn answered(reply: &[u8]) -> KerberosError {
    begin(user("alice")).0.answer(reply, "secret", NOON, &dice()).expect_err("refused")
}

#[test]
fn every_code_says_which() {
    let alice = || "alice@CONTOSO.TEST".to_owned();
    for (code, expected) in [
        (1, KerberosError::AccountState(alice())),
        (6, KerberosError::UnknownClient(alice())),
        (7, KerberosError::UnknownService("krbtgt/CONTOSO.TEST@CONTOSO.TEST".to_owned())),
        (8, KerberosError::NotUnique(sip().to_string())),
        (12, KerberosError::Policy),
        (14, KerberosError::NoCommonEtype),
        (18, KerberosError::AccountState(alice())),
        (23, KerberosError::PasswordExpired(alice())),
        (24, KerberosError::WrongPassword(alice())),
        (32, KerberosError::TicketExpired),
        (37, KerberosError::ClockSkew { seconds: Some(1000) }),
        (41, KerberosError::Modified),
        (52, KerberosError::AnswerTooLong),
        (60, KerberosError::Other { code: 60, words: ": words".to_owned() }),
        (68, KerberosError::WrongRealm(Some("OTHER.TEST".to_owned()))),
    ] {
        assert_eq!(answered(&error(code, None)), expected);
        assert!(!expected.id().is_empty() && !expected.fix().is_empty() && !expected.to_string().is_empty());
    }
    assert_eq!(answered(&error(31, None)), KerberosError::Modified, "before any timestamp");
    let (exchange, _) = after_the_first_answer();
    let refused = exchange.answer(&error(31, None), "secret", NOON, &dice()).expect_err("refused");
    assert_eq!(refused, KerberosError::WrongPassword(alice()));
    let (exchange, _) = after_the_first_answer();
    let refused = exchange.answer(&error(25, None), "secret", NOON, &dice()).expect_err("asked for twice");
    assert!(matches!(refused, KerberosError::Other { code: 25, .. }), "{refused}");
}

fn after_the_first_answer() -> (AsExchange, Vec<u8>) {
    let (exchange, request) = begin(user("alice"));
    let answer = shared().answer(&request, None, NOON, &dice());
    match exchange.answer(&answer, "secret", NOON, &dice()).expect("goes on") {
        AsStep::Send(exchange, request) => (*exchange, request),
        AsStep::Done(_) => panic!("without a proof"),
    }
}

fn wants(methods: &[PaData]) -> Vec<u8> {
    error(25, Some(der::element(der::SEQUENCE, &[&PaData::write_all(methods)])))
}

fn info(etype: EncryptionType, parameters: Option<Vec<u8>>) -> [PaData; 2] {
    let value = EtypeInfo::write_all(&[EtypeInfo { etype, salt: None, parameters }]);
    [PaData { kind: padata::ETYPE_INFO2, value }, PaData { kind: padata::ENC_TIMESTAMP, value: Vec::new() }]
}

#[test]
fn proofs_that_are_not_given() {
    let certificate = PaData { kind: 16, value: Vec::new() };
    assert_eq!(answered(&wants(&[certificate])), KerberosError::OtherProof("alice@CONTOSO.TEST".to_owned()));
    assert_eq!(answered(&wants(&info(EncryptionType::Other(3), None))), KerberosError::NoCommonEtype);
    // Iterations that would keep us busy.
    let many = answered(&wants(&info(EncryptionType::Aes256, Some(vec![0xff; 4]))));
    assert!(matches!(many, KerberosError::Malformed(_)), "{many}");
    // RC4-HMAC, of which there was no talk.
    let (exchange, _) = AsExchange::begin(user("alice"), &[EncryptionType::Aes256], NOON, &dice()).expect("begins");
    let weak = exchange.answer(&wants(&info(EncryptionType::Rc4Hmac, None)), "secret", NOON, &dice());
    assert_eq!(weak.expect_err("refused"), KerberosError::NoCommonEtype);
    assert!(matches!(
        AsExchange::begin(user("alice"), &[], NOON, &dice()).expect("begins").0.answer(&wants(&[]), "x", NOON, &dice()),
        Err(KerberosError::NoCommonEtype)
    ));
}

/// A KDC that knows the password and answers something else.
fn lying(alter: impl Fn(&mut KdcReply, &mut ReplyPart)) -> KerberosError {
    let (exchange, request) = after_the_first_answer();
    let key =
        Key::of_password(EncryptionType::Aes256, "secret", user("alice").default_salt().as_bytes()).expect("a key");
    let request = KdcRequest::read(&request).expect("reads");
    let mut part = ReplyPart {
        key: Key::new(EncryptionType::Aes256, &[1; 32]).expect("a key"),
        nonce: request.nonce,
        flags: 0,
        authenticated: NOON.unix_seconds,
        starts: NOON.unix_seconds,
        ends: NOON.unix_seconds + 100,
        service: Principal::ticket_granting(REALM, REALM).expect("a name"),
    };
    let mut reply = KdcReply {
        kind: AS_REP,
        padata: Vec::new(),
        client: user("alice"),
        ticket: granting().ticket.clone(),
        encrypted: Encrypted { etype: EncryptionType::Aes256, kvno: None, cipher: Vec::new() },
    };
    alter(&mut reply, &mut part);
    reply.encrypted.cipher = key.encrypt(usage::AS_REP, &part.write(ENC_AS_REP_PART), &[0; 16]);
    match exchange.answer(&reply.write(), "secret", NOON, &dice()) {
        Ok(_) => KerberosError::Foreign("it was taken"),
        Err(error) => error,
    }
}

#[test]
fn answers_are_held_against_the_question() {
    let foreign = KerberosError::Foreign;
    assert_eq!(lying(|_, _| ()), foreign("it was taken"));
    assert_eq!(lying(|_, part| part.nonce ^= 1), foreign("its number is not ours"));
    assert_eq!(lying(|reply, _| reply.client = user("bob")), foreign("it is about another user"));
    assert_eq!(lying(|reply, _| reply.client.realm = "OTHER.TEST".to_owned()), foreign("it is about another user"));
    assert_eq!(lying(|_, part| part.service = sip()), foreign("its ticket is for another service"));
    assert_eq!(lying(|reply, _| reply.kind = TGS_REP), foreign("it is not an AS-REP"));
    assert_eq!(lying(|reply, _| reply.encrypted.etype = EncryptionType::Other(3)), KerberosError::NoCommonEtype);
}

#[test]
fn weak_session_keys_are_for_those_who_ask() {
    let random = dice();
    let only = [EncryptionType::Aes128];
    let (exchange, request) = TgsExchange::begin(granting(), sip(), &only, later(70), &random).expect("begins");
    let ticket = exchange.answer(&shared().answer(&request, None, later(70), &random)).expect("a ticket");
    assert_eq!(ticket.session.etype(), EncryptionType::Aes128);
    // A KDC that gives what was not asked for.
    let (exchange, request) =
        TgsExchange::begin(granting(), sip(), &EncryptionType::KNOWN, later(71), &random).expect("begins");
    let answer = shared().answer(&request, None, later(71), &random);
    let exchange = TgsExchange { types: only.to_vec(), ..exchange };
    assert_eq!(exchange.answer(&answer).expect_err("refused"), KerberosError::NoCommonEtype);
}

#[test]
fn postdated_tickets_wait_for_the_kdc() {
    let mut ticket = granting().clone();
    assert!(ticket.usable_at(NOON));
    ticket.flags |= crate::kerberos::message::flags::INVALID;
    assert!(!ticket.usable_at(NOON));
}

fn acceptor(types: &[EncryptionType]) -> Service {
    let mut keytab = Keytab::new();
    for key in service_keys().keys {
        keytab.add(sip(), service_keys().kvno, key, 0);
    }
    Service::new(keytab).allowing(types)
}

/// Both halves: with an answer, bare and in SPNEGO, as long as nobody alters it.
#[test]
fn a_service_proves_itself() {
    let ticket = ticket_at(shared(), granting(), sip(), later(80)).expect("a ticket");
    let service = acceptor(&EncryptionType::KNOWN);
    for spnego in [false, true] {
        let begin = |now| ticket.ap_request_mutual(now, &dice(), ApOptions { spnego, channel: None }).expect("a token");
        let accept = |token: &[u8]| {
            service
                .accept(token, later(80), &mut ReplayCache::default(), &|bytes: &mut [u8]| bytes.fill(3))
                .expect("taken")
        };
        let awaiting = begin(later(80));
        let mut accepted = accept(awaiting.token());
        let reply = accepted.reply.take().expect("an answer");
        let mut keys = awaiting.answer(&reply).expect("theirs");
        let signature = keys.sign(Side::Client, b"text");
        assert!(accepted.keys.verify(Side::Client, b"text", &signature));
        assert_eq!(signature[2], 4, "by the acceptor's key");
        assert!(keys.verify(Side::Server, b"text", &accepted.keys.sign(Side::Server, b"text")));

        let other = begin(later(81)).answer(&reply).expect_err("refused");
        assert_eq!(other, KerberosError::Foreign("it answers another request"));
        for place in 0..reply.len() {
            let mut altered = reply.clone();
            altered[place] ^= 1;
            if let Ok(mut keys) = begin(later(80)).answer(&altered) {
                // What is not looked at may be altered; what is agreed on may not.
                assert!(accepted.keys.verify(Side::Client, b"text", &keys.sign(Side::Client, b"text")), "byte {place}");
            }
            let _ = begin(later(80)).answer(&reply[..place]);
        }
    }
}

#[test]
fn services_that_do_not_take_the_token() {
    let ticket = ticket_at(shared(), granting(), sip(), later(90)).expect("a ticket");
    let awaiting =
        |spnego| ticket.ap_request_mutual(later(90), &dice(), ApOptions { spnego, channel: None }).expect("a token");
    let skewed = token::frame(TokenId::Error, &error(37, None));
    assert_eq!(awaiting(false).answer(&skewed).expect_err("refused"), KerberosError::ClockSkew { seconds: Some(910) });
    let response = |state, token: Option<Vec<u8>>| {
        NegotiateResponse { state: Some(state), mechanism: None, token, mic: None }.write()
    };
    let rejected = response(NegotiationState::Rejected, Some(skewed));
    assert_eq!(awaiting(true).answer(&rejected).expect_err("refused"), KerberosError::ClockSkew { seconds: Some(910) });
    for (state, token) in [
        (NegotiationState::Rejected, None),
        (NegotiationState::Completed, None),
        (NegotiationState::Incomplete, Some(vec![0x60])),
        (NegotiationState::RequestMic, None),
    ] {
        let refused = awaiting(true).answer(&response(state, token)).expect_err("refused");
        assert!(matches!(refused, KerberosError::Foreign(_)), "{refused}");
    }
    let own = awaiting(false);
    let mirrored = own.token().to_vec();
    assert_eq!(own.answer(&mirrored).expect_err("refused"), KerberosError::Foreign("it is a request"));
    assert!(awaiting(true).answer(b"NTLMSSP\0").is_err());
}
