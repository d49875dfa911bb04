//! The client's half and the KDC against each other: every verdict, altered messages, time that passes.

use super::client::{ApOptions, AsExchange, AsStep, Credential, KerberosError, TgsExchange};
use super::crypto::{EncryptionType, Key, usage};
use super::kdc::{Database, Entry, Kdc, Keys};
use super::message::{ApReq, Authenticator, KdcRequest, Ticket, TicketPart};
use super::name::{NameType, Principal};
use super::ticket_cache::{CacheError, TicketCache};
use super::{Now, token};
use crate::Side;
use proptest::prelude::*;
use std::cell::Cell;
use std::sync::OnceLock;

pub(super) const REALM: &str = "CONTOSO.TEST";
pub(super) const NOON: Now = Now { unix_seconds: 1_790_000_000, microseconds: 7 };

pub(super) fn later(seconds: i64) -> Now {
    Now { unix_seconds: NOON.unix_seconds + seconds, ..NOON }
}

/// Different bytes at each call.
pub(super) fn dice() -> impl Fn(&mut [u8]) {
    let state = Cell::new(0x9e37_79b9_7f4a_7c15_u64);
    move |bytes: &mut [u8]| {
        for byte in bytes {
            let mut next = state.get();
            next ^= next << 13;
            next ^= next >> 7;
            next ^= next << 17;
            state.set(next);
            *byte = next as u8;
        }
    }
}

pub(super) fn user(name: &str) -> Principal {
    Principal::new(NameType::Principal, vec![name.to_owned()], REALM.to_owned()).expect("a name")
}

pub(super) fn sip() -> Principal {
    Principal::service("sip", "fe01.contoso.test", REALM).expect("a name")
}

pub(super) fn service_keys() -> Keys {
    let key = |etype, byte, length| Key::new(etype, &vec![byte; length]).expect("a key");
    let keys = vec![key(EncryptionType::Aes256, 1, 32), key(EncryptionType::Aes128, 2, 16)];
    Keys { kvno: 3, keys, salt: None }
}

/// Made once: keys of passwords take long. Requests are told apart by their authenticators, so tests do not meet.
pub(super) fn shared() -> &'static Kdc {
    static KDC: OnceLock<Kdc> = OnceLock::new();
    KDC.get_or_init(kdc)
}

pub(super) fn kdc() -> Kdc {
    let mut database = Database::default();
    let entry = |name: &str, disabled| {
        let principal = user(name);
        Entry { keys: Keys::of_password(&principal, "secret"), principal, disabled }
    };
    database.add(entry("alice", false));
    database.add(entry("dave", true));
    database.add_alias("alice@mail.contoso.test", &user("alice"));
    database.add(Entry { principal: sip(), keys: service_keys(), disabled: false });
    Kdc::new(REALM, database, &dice())
}

pub(super) fn log_on_at(
    kdc: &Kdc,
    client: Principal,
    password: &str,
    ours: Now,
    theirs: Now,
) -> Result<Credential, KerberosError> {
    let random = dice();
    let (mut exchange, mut request) = AsExchange::begin(client, &EncryptionType::KNOWN, ours, &random)?;
    for _ in 0..3 {
        let answer = kdc.answer(&request, None, theirs, &random);
        match exchange.answer(&answer, password, ours, &random)? {
            AsStep::Done(granting) => return Ok(granting),
            AsStep::Send(next, bytes) => (exchange, request) = (*next, bytes),
        }
    }
    panic!("the exchange does not end")
}

pub(super) fn log_on(kdc: &Kdc) -> Credential {
    log_on_at(kdc, user("alice"), "secret", NOON, NOON).expect("a ticket")
}

pub(super) fn ticket_at(
    kdc: &Kdc,
    granting: &Credential,
    service: Principal,
    now: Now,
) -> Result<Credential, KerberosError> {
    let random = dice();
    let (exchange, request) = TgsExchange::begin(granting, service, &EncryptionType::KNOWN, now, &random)?;
    exchange.answer(&kdc.answer(&request, None, now, &random))
}

#[test]
fn from_a_password_to_signatures() {
    let kdc = kdc();
    let granting = log_on(&kdc);
    assert_eq!(granting.client().to_string(), "alice@CONTOSO.TEST");
    assert_eq!(granting.ends(), NOON.unix_seconds + 36_000);
    let ticket = ticket_at(&kdc, &granting, sip(), NOON).expect("a ticket");
    assert_eq!((ticket.service(), ticket.referred_realm()), (&sip(), None));
    let request = ticket.ap_request(NOON, &dice(), ApOptions::default()).expect("a token");

    // What the service sees, step by step.
    let (_, message) = token::unframe(request.token()).expect("a GSS token");
    let shown = ApReq::read(message).expect("an AP-REQ");
    let closed = Ticket::read(&shown.ticket).expect("a ticket");
    assert_eq!((closed.encrypted.etype, closed.encrypted.kvno), (EncryptionType::Aes256, Some(3)));
    let part = closed.encrypted.decrypt(&service_keys().keys[0], usage::TICKET).expect("our key");
    let part = TicketPart::read(&part).expect("a ticket");
    assert_eq!(part.client, user("alice"));
    let plain = shown.authenticator.decrypt(&part.key, usage::AP_REQ_AUTHENTICATOR).expect("the session key");
    let authenticator = Authenticator::read(&plain).expect("an authenticator");
    assert_eq!(authenticator.client, user("alice"));
    assert_eq!(authenticator.time, NOON.unix_seconds);
    let (kind, checksum) = authenticator.checksum.expect("the flags");
    assert_eq!((kind, checksum.len(), checksum[20]), (0x8003, 24, 0x20));
    let subkey = authenticator.subkey.expect("a subkey");
    let sequence = authenticator.sequence.expect("a number");
    let mut theirs = super::MessageKeys::new(&subkey, false, sequence, sequence);
    let (_, mut ours) = request.into_parts();
    let mac = ours.sign(Side::Client, b"text");
    assert!(theirs.verify(Side::Client, b"text", &mac));
    let mac = theirs.sign(Side::Server, b"answer");
    assert!(ours.verify(Side::Server, b"answer", &mac) && !ours.verify(Side::Server, b"other", &mac));
}

#[test]
fn every_refusal_says_which() {
    let kdc = kdc();
    let fails = |client: Principal, password: &str, theirs: Now| {
        log_on_at(&kdc, client, password, NOON, theirs).expect_err("refused")
    };
    let alice = || user("alice");
    assert_eq!(fails(user("nobody"), "x", NOON), KerberosError::UnknownClient("nobody@CONTOSO.TEST".to_owned()));
    assert_eq!(fails(alice(), "wrong", NOON), KerberosError::WrongPassword("alice@CONTOSO.TEST".to_owned()));
    assert_eq!(fails(user("dave"), "secret", NOON), KerberosError::AccountState("dave@CONTOSO.TEST".to_owned()));
    assert_eq!(fails(alice(), "secret", later(400)), KerberosError::ClockSkew { seconds: Some(400) });
    let foreign = Principal { realm: "OTHER.TEST".to_owned(), ..alice() };
    assert!(matches!(fails(foreign, "secret", NOON), KerberosError::WrongRealm(_)));
    // A service is no user.
    assert!(matches!(fails(sip(), "secret", NOON), KerberosError::UnknownClient(_)));

    let granting = log_on(&kdc);
    let unknown = Principal::service("sip", "fe99.contoso.test", REALM).expect("a name");
    let refused = ticket_at(&kdc, &granting, unknown, NOON).expect_err("refused");
    assert_eq!((refused.id(), refused.blames_credentials()), ("krb-no-spn", false));
    // No ticket for a user's own key: its password could be guessed from it.
    assert!(matches!(ticket_at(&kdc, &granting, alice(), NOON), Err(KerberosError::UnknownService(_))));
    assert_eq!(ticket_at(&kdc, &granting, sip(), later(36_400)).expect_err("late"), KerberosError::TicketExpired);
    let other = Kdc::new(REALM, Database::default(), &|bytes: &mut [u8]| bytes.fill(9));
    assert_eq!(ticket_at(&other, &granting, sip(), NOON).expect_err("foreign"), KerberosError::Modified);
}

#[test]
fn names_are_compared_as_active_directory_does() {
    let kdc = kdc();
    let mail = Principal::new(NameType::Enterprise, vec!["Alice@mail.contoso.test".to_owned()], REALM.to_owned());
    let granting = log_on_at(&kdc, mail.expect("a name"), "secret", NOON, NOON).expect("a ticket");
    assert_eq!(granting.client(), &user("alice"));
    let shouted = Principal::service("SIP", "FE01.CONTOSO.TEST", REALM).expect("a name");
    assert!(ticket_at(&kdc, &granting, shouted, NOON).is_ok());
}

#[test]
fn caches_survive_a_file() {
    let kdc = kdc();
    let granting = log_on(&kdc);
    let ticket = ticket_at(&kdc, &granting, sip(), NOON).expect("a ticket");
    let cache = TicketCache::new(user("alice"), vec![granting, ticket]);
    let read = TicketCache::parse(&cache.to_bytes()).expect("reads");
    assert_eq!(read.default_principal(), &user("alice"));
    assert_eq!(read.credentials().len(), 2);
    assert!(read.tgt(REALM, NOON).is_some() && read.tgt("OTHER.TEST", NOON).is_none());
    let found = read.ticket_for(&sip(), NOON).expect("the ticket");
    assert!(found.ap_request(NOON, &dice(), ApOptions { spnego: true, channel: None }).is_ok());
    assert!(read.ticket_for(&sip(), later(35_950)).is_none(), "it ends within a minute");
    assert_eq!(TicketCache::parse(b"\x05\x09").expect_err("refused"), CacheError::Format);
    assert!(!format!("{read:?}").contains("bytes"));
}

#[test]
fn answers_to_other_questions_are_refused() {
    let kdc = kdc();
    let granting = log_on(&kdc);
    let (one, two) = (dice(), |bytes: &mut [u8]| bytes.fill(5));
    let (_, request) = TgsExchange::begin(&granting, sip(), &EncryptionType::KNOWN, NOON, &one).expect("begins");
    let (other, _) = TgsExchange::begin(&granting, sip(), &EncryptionType::KNOWN, NOON, &two).expect("begins");
    let answer = kdc.answer(&request, None, NOON, &one);
    assert!(matches!(other.answer(&answer), Err(KerberosError::Foreign(_))));
    let (exchange, _) = AsExchange::begin(user("alice"), &EncryptionType::KNOWN, NOON, &one).expect("begins");
    assert!(matches!(exchange.answer(&answer, "secret", NOON, &one), Err(KerberosError::Foreign(_))));
}

#[test]
fn requests_read_as_they_are_written() {
    let (_, request) = AsExchange::begin(user("alice"), &EncryptionType::KNOWN, NOON, &dice()).expect("begins");
    let read = KdcRequest::read(&request).expect("reads");
    assert_eq!(KdcRequest::write(read.kind, &read.padata, &read.write_body()), request);
}

/// A ticket of the shared KDC.
pub(super) fn granting() -> &'static Credential {
    static GRANTING: OnceLock<Credential> = OnceLock::new();
    GRANTING.get_or_init(|| log_on(shared()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let random = dice();
        let _ = shared().answer(&bytes, Some(1400), NOON, &random);
        let _ = TicketCache::parse(&bytes);
        let (exchange, _) = AsExchange::begin(user("alice"), &EncryptionType::KNOWN, NOON, &random).expect("begins");
        let _ = exchange.answer(&bytes, "secret", NOON, &random);
    }

    #[test]
    fn altered_requests_get_no_ticket(at in 0usize..2000, flip in 1u8..=255) {
        let (kdc, granting) = (shared(), granting());
        let random = dice();
        let (exchange, mut request) = TgsExchange::begin(granting, sip(), &EncryptionType::KNOWN, NOON, &random).expect("begins");
        let place = at % request.len();
        request[place] ^= flip;
        // What is neither signed nor looked at may be altered (message type, version of the ticket); whoever gets an answer
        // is still alice, and the answer is under her key.
        if let Ok(ticket) = exchange.answer(&kdc.answer(&request, None, NOON, &random)) {
            prop_assert_eq!(ticket.client(), &user("alice"));
        }
    }

    #[test]
    fn damaged_caches_are_refused_or_read(cut in 0usize..1500, flip in any::<u8>()) {
        let cache = TicketCache::new(user("alice"), vec![granting().clone()]);
        let mut file = cache.to_bytes().to_vec();
        let place = cut % file.len();
        file[place] ^= flip;
        let _ = TicketCache::parse(&file);
        file.truncate(place);
        let _ = TicketCache::parse(&file);
    }
}
