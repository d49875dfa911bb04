//! Any bytes as a request to a KDC, and good requests with bytes changed: each is answered, within the limit, by an error
//! or by a reply, and nobody gets a ticket without the password.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mechanism::kerberos::crypto::{EncryptionType, Key};
use mechanism::kerberos::kdc::{Database, Entry, Kdc, Keys};
use mechanism::kerberos::name::{NameType, Principal};
use mechanism::kerberos::{AsExchange, Now};

const REALM: &str = "CONTOSO.TEST";
const NOW: Now = Now { unix_seconds: 1_700_000_000, microseconds: 0 };

fuzz_target!(|bytes: &[u8]| {
    let random = |bytes: &mut [u8]| bytes.fill(9);
    let alice = Principal::new(NameType::Principal, vec!["alice".to_owned()], REALM.to_owned()).expect("a name");
    let sip = Principal::service("sip", "fe1.contoso.test", REALM).expect("a name");
    let mut database = Database::default();
    // Keys of passwords take long to make, and no password makes these.
    let key = Key::new(EncryptionType::Aes128, &[7; 16]).expect("a key");
    let keys = Keys { kvno: 1, keys: vec![key], salt: Some(String::new()) };
    database.add(Entry { principal: alice.clone(), keys: keys.clone(), disabled: false });
    database.add(Entry { principal: sip, keys: Keys { salt: None, ..keys }, disabled: false });
    let kdc = Kdc::new(REALM, database, &random);

    let (_, mut request) = AsExchange::begin(alice, &EncryptionType::KNOWN, NOW, &random).expect("a request");
    for (at, change) in bytes.chunks_exact(2).map(|pair| (usize::from(pair[0]), pair[1])) {
        if let Some(byte) = request.get_mut(at) {
            *byte = change;
        }
    }
    for request in [bytes, &request] {
        for limit in [None, Some(1400), Some(0)] {
            let answer = kdc.answer(request, limit, NOW, &random);
            assert_eq!(answer.first(), Some(&0x7e), "an error: who does not prove the password gets nothing");
            assert!(answer.len() < 1400, "errors are short");
        }
    }
});
