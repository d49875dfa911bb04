//! Any bytes as a first token, as the messages inside one, encrypted or not, as a keytab and as a signature: read without
//! harm, refused, never believed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mechanism::Side;
use mechanism::kerberos::Now;
use mechanism::kerberos::crypto::{EncryptionType, Key};
use mechanism::kerberos::keytab::Keytab;
use mechanism::kerberos::mic::MessageKeys;
use mechanism::kerberos::name::Principal;
use mechanism::kerberos::server::{ReplayCache, Service};
use mechanism::kerberos::token::{NegotiateInit, NegotiateResponse, TokenId, frame, unframe};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(keytab) = Keytab::read(bytes) {
        let again = Keytab::read(&keytab.write()).expect("what we write, we read");
        assert_eq!(again.entries().len(), keytab.entries().len());
    }
    let name = Principal::service("sip", "fe1.contoso.test", "CONTOSO.TEST").expect("a name");
    let mut keytab = Keytab::new();
    for etype in EncryptionType::KNOWN {
        let key = Key::new(etype, &vec![7; etype.key_length().unwrap_or_default()]).expect("a key");
        assert!(
            !MessageKeys::new(&key, false, 1, 1).verify(Side::Client, b"text", bytes),
            "nobody guesses a signature"
        );
        assert!(key.decrypt(2, bytes).is_err(), "nor what a key encrypts");
        keytab.add(name.clone(), 1, key, 0);
    }
    let service = Service::new(keytab).allowing(&EncryptionType::KNOWN);
    let now = Now { unix_seconds: 1_700_000_000, microseconds: 0 };
    let mut replays = ReplayCache::new(8);
    let framed = frame(TokenId::ApReq, bytes);
    for token in [bytes, &framed, &NegotiateInit::of_kerberos(bytes), &NegotiateInit::of_kerberos(&framed)] {
        assert!(service.accept(token, now, &mut replays, &|_| ()).is_err(), "nobody guesses a ticket");
    }
    // Behind the encryption: as the inside of a ticket, and of an authenticator whose ticket is good.
    let garbage = ap_req(&sealed(2, bytes), &[]);
    assert!(service.accept(&garbage, now, &mut replays, &|_| ()).is_err(), "no authenticator");
    let _ = service.accept(&ap_req(&sealed(2, &ticket()), &sealed(11, bytes)), now, &mut replays, &|_| ());
    let _ = unframe(bytes);
    if let Ok(response) = NegotiateResponse::read(bytes) {
        assert_eq!(NegotiateResponse::read(&response.write()), Ok(response));
    }
});

/// Encrypted by the only key there is, which is the session key of the ticket too.
fn sealed(usage: u32, plain: &[u8]) -> Vec<u8> {
    let key = Key::new(EncryptionType::Aes128, &[7; 16]).expect("a key");
    key.encrypt(usage, plain, &[0; 16])
}

fn ap_req(ticket: &[u8], authenticator: &[u8]) -> Vec<u8> {
    let encrypted = |cipher| sequence(&[number(17), number(1), element(4, cipher)]);
    let name = sequence(&[number(1), strings(&["sip", "fe1.contoso.test"])]);
    let ticket = element(0x61, &sequence(&[number(5), string("CONTOSO.TEST"), name, encrypted(ticket)]));
    let options = element(3, &[0; 5]);
    let message = sequence(&[number(5), number(14), options, ticket, encrypted(authenticator)]);
    frame(TokenId::ApReq, &element(0x6e, &message))
}

fn ticket() -> Vec<u8> {
    let key = sequence(&[number(17), element(4, &[7; 16])]);
    let name = sequence(&[number(1), strings(&["alice"])]);
    let path = sequence(&[number(1), element(4, &[])]);
    let times = [&b"20230101000000Z"[..], b"20230101000000Z", b"20330101000000Z"].map(|time| element(0x18, time));
    let [authenticated, starts, ends] = times;
    let flags = element(3, &[0; 5]);
    let realm = string("CONTOSO.TEST");
    element(0x63, &sequence(&[flags, key, realm, name, path, authenticated, starts, ends]))
}

/// A SEQUENCE of fields `[0]`, `[1]` and so on.
fn sequence(fields: &[Vec<u8>]) -> Vec<u8> {
    let fields: Vec<u8> = (0xa0..).zip(fields).flat_map(|(tag, field)| element(tag, field)).collect();
    element(0x30, &fields)
}

fn strings(texts: &[&str]) -> Vec<u8> {
    element(0x30, &texts.iter().flat_map(|text| string(text)).collect::<Vec<u8>>())
}

fn string(text: &str) -> Vec<u8> {
    element(0x1b, text.as_bytes())
}

fn number(value: u8) -> Vec<u8> {
    element(2, &[value])
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u32).to_be_bytes();
    [&[tag, 0x84][..], &length, content].concat()
}
