//! The store as what a KDC asks: whose keys it has, and when they change.

use mechanism::kerberos::crypto::{EncryptionType, Key};
use mechanism::kerberos::kdc::{Entry, Principals};
use mechanism::kerberos::name::{NameType, Principal};
use signin::directory::User;
use signin::name::{AccountName, Aor};
use signin::secret::Password;
use store::{Account, NewUser, Store};

const REALM: &str = "CONTOSO.TEST";

fn aor(address: &str) -> Aor {
    address.parse().expect("an address")
}

fn add(store: &Store, address: &str, logins: &[&str], password: &str) {
    let user = User { display_name: address.to_owned(), ..User::new(aor(address)) };
    let logins = logins.iter().map(|login| AccountName::parse(login)).collect();
    let password = Some(Password::new(password.to_owned()));
    store.add_user(NewUser { account: Account { user, logins }, password }).wait().expect("a new user");
}

fn find(store: &Store, name_type: NameType, name: &str) -> Option<Entry> {
    let name = Principal::new(name_type, vec![name.to_owned()], REALM.to_owned()).expect("a name");
    store.find(&name).expect("the store answers")
}

fn is_key_of(entry: &Entry, password: &str) -> bool {
    let salt = entry.keys.salt.as_deref().expect("a salt");
    entry.keys.keys.iter().all(|key| {
        let expected = Key::of_password(key.etype(), password, salt.as_bytes()).expect("a key");
        expected.bytes() == key.bytes()
    })
}

#[test]
fn the_keys_follow_the_password() {
    let store = Store::in_memory().expect("a store");
    store.serve_realm(REALM).wait().expect("a realm");
    let alice = aor("alice@contoso.test");
    add(&store, "alice@contoso.test", &["CONTOSO\\alice", "alice@contoso.test"], "first");
    let entry = find(&store, NameType::Principal, "Alice").expect("alice");
    assert_eq!(entry.principal.to_string(), "alice@CONTOSO.TEST");
    let types: Vec<EncryptionType> = entry.keys.keys.iter().map(Key::etype).collect();
    assert_eq!(types, [EncryptionType::Aes256, EncryptionType::Aes128], "the best first");
    assert_eq!((entry.keys.kvno, entry.keys.salt.as_deref()), (1, Some("CONTOSO.TESTalice")));
    assert!(is_key_of(&entry, "first") && !entry.disabled);

    store.set_password(&alice, &Password::new("second".to_owned())).wait().expect("a password");
    store.disable(&alice).wait().expect("barred");
    let entry = find(&store, NameType::Enterprise, "alice@contoso.test").expect("alice");
    assert!(is_key_of(&entry, "second") && entry.disabled && entry.keys.kvno == 2);
    store.remove_user(&alice).wait().expect("removed");
    assert!(find(&store, NameType::Principal, "alice").is_none());
}

#[test]
fn nobody_is_found_under_the_name_of_another() {
    let store = Store::in_memory().expect("a store");
    store.serve_realm(REALM).wait().expect("a realm");
    add(&store, "alice@contoso.test", &["alice@contoso.test"], "alice's");
    add(&store, "alice@fabrikam.test", &["FABRIKAM\\alice", "alice@fabrikam.test"], "the other's");
    add(&store, "al@mail.test", &["CONTOSO.TEST\\alice"], "a third one's");
    add(&store, "greta.g@mail.test", &["greta@contoso.test"], "greta's");

    let principal = |name_type, name: &str| find(&store, name_type, name).map(|entry| entry.principal.to_string());
    assert!(is_key_of(&find(&store, NameType::Principal, "alice").expect("alice"), "alice's"));
    assert_eq!(principal(NameType::Enterprise, "alice@fabrikam.test"), None, "of another domain");
    assert_eq!(principal(NameType::Enterprise, "al@mail.test"), None, "has no name in the realm that is not alice's");
    let greta = Some("greta@CONTOSO.TEST".to_owned());
    assert_eq!(principal(NameType::Enterprise, "greta.g@mail.test"), greta, "by the sign-in address");
    assert_eq!(principal(NameType::Principal, "greta"), greta);
    let service = Principal::service("sip", "alice", REALM).expect("a name");
    assert!(store.find(&service).expect("the store answers").is_none());
}

#[test]
fn passwords_of_before_are_completed_by_whoever_knows_them() {
    let store = Store::in_memory().expect("a store");
    let alice = aor("alice@contoso.test");
    add(&store, "alice@contoso.test", &["alice@contoso.test"], "first");
    assert!(find(&store, NameType::Principal, "alice").is_none(), "no realm, no keys");
    assert_eq!(store.without_kerberos_keys(), Ok(Vec::new()), "and nobody misses them");

    store.serve_realm(REALM).wait().expect("a realm");
    let has_keys = || !find(&store, NameType::Principal, "alice").expect("alice").keys.keys.is_empty();
    assert!(!has_keys());
    assert_eq!(store.without_kerberos_keys(), Ok(vec![alice.clone()]));
    let complete = |password: &str| store.complete_password(&alice, &Password::new(password.to_owned())).wait();
    assert_eq!(complete("another"), Ok(false));
    assert!(!has_keys(), "a wrong one makes no keys");
    assert_eq!(complete("first"), Ok(true));
    assert!(is_key_of(&find(&store, NameType::Principal, "alice").expect("alice"), "first"));
    assert_eq!(store.without_kerberos_keys(), Ok(Vec::new()));
    assert_eq!(complete("another"), Ok(true), "they are there, and stay");
    assert!(is_key_of(&find(&store, NameType::Principal, "alice").expect("alice"), "first"));
}

#[test]
fn another_process_may_set_the_password() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("users.sqlite");
    let server = Store::open(&file).expect("a store");
    server.serve_realm(REALM).wait().expect("a realm");
    add(&server, "alice@contoso.test", &["alice@contoso.test"], "first");
    let admin = Store::open(&file).expect("the same store");
    let alice = aor("alice@contoso.test");
    admin.set_password(&alice, &Password::new("second".to_owned())).wait().expect("a password");
    assert!(is_key_of(&find(&server, NameType::Principal, "alice").expect("alice"), "second"), "at once");
    server.refresh().wait().expect("it looks");
    let is = |password: &str| server.is_password_of(&alice, &Password::new(password.to_owned()));
    assert!(is("second") && !is("first") && !is(""));
}
