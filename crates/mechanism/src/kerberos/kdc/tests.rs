//! What the KDC does with requests that its own client half does not make.

use super::*;
use crate::kerberos::client::{AsExchange, TgsExchange};
use crate::kerberos::exchange_tests::{
    NOON, REALM, dice, granting, kdc, later, log_on_at, service_keys, shared, sip, ticket_at, user,
};
use crate::kerberos::message::TGS_REQ;
use std::sync::Arc;

/// A request of alice's, with another option or end.
fn initial(client: Principal, service: Principal, options: u32, till: i64) -> Vec<u8> {
    let mut request = KdcRequest {
        kind: AS_REQ,
        padata: Vec::new(),
        options,
        realm: REALM.to_owned(),
        client: Some(client),
        service: Some(service),
        till,
        nonce: 1,
        etypes: EncryptionType::KNOWN.to_vec(),
        body: Vec::new(),
    };
    request.body = request.write_body();
    let key = shared().principals.find(&user("alice")).expect("it is in memory").expect("alice").keys.keys[0].clone();
    let timestamp = der::element(der::SEQUENCE, &[&crate::kerberos::message::time(0, NOON.unix_seconds)]);
    let cipher = key.encrypt(usage::AS_REQ_TIMESTAMP, &timestamp, &[7; 16]);
    let encrypted = Encrypted { etype: key.etype(), kvno: None, cipher };
    let value = der::element(der::SEQUENCE, &[&encrypted.write()]);
    KdcRequest::write(AS_REQ, &[PaData { kind: padata::ENC_TIMESTAMP, value }], &request.body)
}

fn granting_service() -> Principal {
    Principal::ticket_granting(REALM, REALM).expect("a name")
}

fn code(answer: &[u8]) -> Option<i32> {
    KrbError::read(answer).ok().map(|error| error.code)
}

fn asked(client: Principal, service: Principal, options: u32, till: i64) -> Option<i32> {
    code(&shared().answer(&initial(client, service, options, till), None, NOON, &dice()))
}

#[test]
fn special_tickets_are_refused() {
    // RFC 4120 §5.4.1: forwarded, proxy, postdated, additional ticket (RFC 4120, MS-SFU), anonymous, other key, renew, validate.
    let special = [2, 4, 6, 14, 16, 28, 30, 31];
    for bit in 0..32 {
        let answer = asked(user("alice"), granting_service(), 1 << (31 - bit), 0);
        assert_eq!(answer, special.contains(&bit).then_some(13), "bit {bit}");
    }
}

#[test]
fn tickets_end_when_they_should() {
    let alice = || user("alice");
    assert_eq!(asked(alice(), granting_service(), 0, NOON.unix_seconds), Some(11));
    assert_eq!(asked(alice(), granting_service(), 0, NOON.unix_seconds - 5), Some(11));
    assert_eq!(asked(alice(), granting_service(), 0, NOON.unix_seconds + 5), None);
    assert_eq!(end(0, 900, later(0)).map_err(|refusal| refusal.code), Err(11));
    assert_eq!(end(0, NOON.unix_seconds + 9, NOON).map_err(|refusal| refusal.code), Ok(NOON.unix_seconds + 9));
    assert_eq!(end(i64::MAX, NOON.unix_seconds + 9, NOON).map_err(|refusal| refusal.code), Ok(NOON.unix_seconds + 9));

    // A ticket lasts no longer than the one it was granted for.
    let late = later(35_000);
    let ticket = ticket_at(shared(), granting(), sip(), late).expect("a ticket");
    assert_eq!((ticket.ends(), ticket.starts), (granting().ends(), late.unix_seconds));
    let begin = |now| TgsExchange::begin(granting(), sip(), &EncryptionType::KNOWN, now, &dice()).expect("begins").1;
    assert_eq!(code(&shared().answer(&begin(later(36_000)), None, later(36_000), &dice())), Some(32));
    assert_eq!(code(&shared().answer(&begin(later(-400)), None, later(-400), &dice())), Some(33));
}

#[test]
fn a_request_that_comes_again_gets_the_same_answer() {
    let kdc = shared();
    let random = dice();
    let (exchange, request) =
        TgsExchange::begin(granting(), sip(), &EncryptionType::KNOWN, later(7), &random).expect("begins");
    // Over UDP, where the answer does not fit; then over TCP, and once more.
    assert_eq!(code(&kdc.answer(&request, Some(200), later(7), &random)), Some(52));
    let answer = kdc.answer(&request, None, later(8), &random);
    assert_eq!(kdc.answer(&request, None, later(9), &random), answer);
    assert!(exchange.answer(&answer).is_ok());
    assert_eq!(code(&kdc.answer(&request, None, later(308), &random)), Some(37), "until the clock refuses it");

    // The authenticator for another question.
    let read = KdcRequest::read(&request).expect("reads");
    let other =
        KdcRequest { service: Some(Principal::service("http", "fe01.contoso.test", REALM).expect("a name")), ..read };
    let other = KdcRequest::write(TGS_REQ, &other.padata, &other.write_body());
    assert_eq!(code(&kdc.answer(&other, None, later(7), &random)), Some(41));
}

#[test]
fn what_is_remembered_has_a_limit() {
    let kdc = Kdc { answered: Mutex::new(Answered::new(1)), ..kdc() };
    let random = dice();
    let granting = crate::kerberos::exchange_tests::log_on(&kdc);
    let ask = |now: Now| {
        let (_, request) = TgsExchange::begin(&granting, sip(), &EncryptionType::KNOWN, now, &random).expect("begins");
        code(&kdc.answer(&request, None, now, &random))
    };
    assert_eq!(ask(NOON), None);
    assert_eq!(ask(later(1)), Some(29));
    assert_eq!(ask(later(601)), None, "the first is forgotten");
}

#[test]
fn who_is_meant() {
    let find = |text: &str| {
        let name = Principal::new(NameType::Enterprise, vec![text.to_owned()], REALM.to_owned()).expect("a name");
        shared().principals.find(&name).expect("it is in memory").map(|entry| entry.principal.to_string())
    };
    let alice = Some("alice@CONTOSO.TEST".to_owned());
    assert_eq!(find("ALICE@mail.contoso.test"), alice, "an alias");
    assert_eq!(find("alice@contoso.test"), alice, "name and realm");
    assert_eq!(find("Alice"), alice, "the name alone");
    assert_eq!(find("alice@other.test"), None);
    assert_eq!(find("sip/fe01.contoso.test"), None, "a slash in a name separates nothing");
    assert_eq!(asked(user("sip/fe01.contoso.test"), granting_service(), 0, 0), Some(6));
}

#[test]
fn services_of_other_kinds() {
    let mut database = Database::default();
    let host = |host: &str| Principal::service("sip", host, REALM).expect("a name");
    let no_keys = Keys { keys: Vec::new(), ..service_keys() };
    let aes128 = Keys { keys: service_keys().keys.split_off(1), ..service_keys() };
    database.add(Entry { principal: host("off"), keys: service_keys(), disabled: true });
    database.add(Entry { principal: host("empty"), keys: no_keys, disabled: false });
    database.add(Entry { principal: host("aes128"), keys: aes128, disabled: false });
    let alice = Entry { keys: Keys::of_password(&user("alice"), "secret"), principal: user("alice"), disabled: false };
    database.add(alice);
    let kdc = Kdc::new(REALM, database, &dice());
    let granting = crate::kerberos::exchange_tests::log_on(&kdc);
    let random = dice();
    let ask = |service: Principal, types: &[EncryptionType]| {
        let (exchange, request) = TgsExchange::begin(&granting, service, types, NOON, &random).expect("begins");
        let answer = kdc.answer(&request, None, NOON, &random);
        exchange.answer(&answer).map_err(|_| code(&answer).expect("an error"))
    };
    let all = &EncryptionType::KNOWN;
    assert_eq!(ask(host("off"), all).map(drop), Err(19));
    assert_eq!(ask(host("empty"), all).map(drop), Err(14));
    assert_eq!(ask(host("aes128"), &[EncryptionType::Aes256]).map(drop), Err(14));
    assert_eq!(ask(host("aes128"), &[EncryptionType::Rc4Hmac]).map(drop), Err(14));
    assert_eq!(ask(host("aes128"), all).map(|ticket| ticket.session.etype()), Ok(EncryptionType::Aes128));
    // The one of the realm itself: another ticket-granting ticket, that is not an initial one.
    let again = ask(granting_service(), all).expect("a ticket");
    assert_eq!((again.flags, again.ends()), (flags::PRE_AUTHENT, granting.ends()));
}

#[test]
fn nobody_comes_without_a_common_type() {
    let (_, request) = AsExchange::begin(user("alice"), &[EncryptionType::Rc4Hmac], NOON, &dice()).expect("begins");
    assert_eq!(code(&shared().answer(&request, None, NOON, &dice())), Some(14));
}

#[test]
fn what_cannot_be_read_is_answered() {
    for bytes in [&b""[..], b"\x6a\x00", b"\x60\x03\x30\x01\x00", &[0x6a; 3000]] {
        assert_eq!(code(&shared().answer(bytes, None, NOON, &dice())), Some(60));
    }
}

/// Users who come, go and change while the KDC runs.
#[derive(Debug, Clone)]
struct Changing(Arc<Mutex<Result<Database, Unavailable>>>);

impl Changing {
    fn to(&self, change: Result<Database, Unavailable>) {
        *self.0.lock().expect("nobody panicked") = change;
    }
}

impl Principals for Changing {
    fn find(&self, name: &Principal) -> Result<Option<Entry>, Unavailable> {
        self.0.lock().expect("nobody panicked").as_ref().map_err(Clone::clone)?.find(name)
    }
}

#[test]
fn users_are_as_they_are_when_a_request_comes() {
    let holding = |password: &str, disabled| {
        let mut database = Database::default();
        database.add(Entry { keys: Keys::of_password(&user("alice"), password), principal: user("alice"), disabled });
        database.add(Entry { principal: sip(), keys: service_keys(), disabled: false });
        Ok(database)
    };
    let users = Changing(Arc::new(Mutex::new(holding("first", false))));
    let kdc = Kdc::new(REALM, users.clone(), &dice());
    let log_on =
        |password: &str| log_on_at(&kdc, user("alice"), password, NOON, NOON).map_err(|error| error.to_string());
    let granting = log_on("first").expect("the password");
    let ask = |now| {
        let (_, request) = TgsExchange::begin(&granting, sip(), &EncryptionType::KNOWN, now, &dice()).expect("begins");
        code(&kdc.answer(&request, None, now, &dice()))
    };
    assert_eq!(ask(later(1)), None);

    users.to(holding("second", false));
    log_on("first").expect_err("it is no longer the password");
    log_on("second").expect("the password");
    assert_eq!(ask(later(2)), None, "tickets outlive a password");

    users.to(holding("second", true));
    assert_eq!(ask(later(3)), Some(18), "but not an account that is disabled");
    users.to(Ok(Database::default()));
    assert_eq!(ask(later(4)), Some(6), "or is gone");
    users.to(Err(Unavailable("the disk is gone".to_owned())));
    assert_eq!(ask(later(5)), Some(29));
}
