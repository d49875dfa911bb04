//! Published certificates: which are found, what replaces what, and what survives.

mod support;

use mechanism::user_certificate::Fingerprint;
use signin::authenticate::certificate::published::{
    CERTIFICATES_PER_USER, Publication, Published, PublishedCertificates,
};
use store::Store;
use support::{add, aor, block_on, user};
use uuid::Uuid;

const NOW: i64 = 1_767_225_600;

fn publication(address: &str, device: u128, certificate: &str) -> Publication {
    Publication {
        aor: aor(address),
        device: Uuid::from_u128(device),
        certificate: certificate.as_bytes().to_vec(),
        not_after: NOW + 3600,
    }
}

fn publish(store: &Store, address: &str, device: u128, certificate: &str) -> Fingerprint {
    let publication = publication(address, device, certificate);
    let fingerprint = publication.fingerprint();
    block_on(store.publish(publication)).expect("published");
    fingerprint
}

fn find(store: &Store, fingerprint: &Fingerprint) -> Option<Published> {
    block_on(store.find(fingerprint)).expect("an answer")
}

fn list(store: &Store, address: &str) -> Vec<u128> {
    let listed = block_on(store.list(&aor(address))).expect("an answer");
    listed.into_iter().map(|published| published.device.as_u128()).collect()
}

fn contoso() -> Store {
    let store = Store::in_memory().expect("a store");
    add(&store, user("alice@contoso.test"), &[]);
    add(&store, user("bob@contoso.test"), &[]);
    store
}

#[test]
fn a_published_certificate_is_found_by_its_fingerprint() {
    let store = contoso();
    let fingerprint = publish(&store, "alice@contoso.test", 1, "a certificate");
    let expected = Published {
        aor: aor("alice@contoso.test"),
        device: Uuid::from_u128(1),
        fingerprint,
        not_after: NOW + 3600,
        revoked_at: None,
    };
    assert_eq!(find(&store, &fingerprint), Some(expected));
    assert_eq!(find(&store, &Fingerprint::of(b"another")), None);
    let refused = block_on(store.publish(publication("nobody@contoso.test", 1, "x"))).expect_err("nobody has it");
    assert!(refused.why.contains("nobody@contoso.test"), "{refused}");
}

#[test]
fn a_device_has_one_certificate() {
    let store = contoso();
    let first = publish(&store, "alice@contoso.test", 1, "first");
    let of_bob = publish(&store, "bob@contoso.test", 1, "bob's with the same device");
    let other = publish(&store, "alice@contoso.test", 2, "of another device");
    let second = publish(&store, "alice@contoso.test", 1, "second");
    assert_eq!(find(&store, &first), None, "replaced");
    for fingerprint in [of_bob, other, second] {
        assert!(find(&store, &fingerprint).is_some());
    }
    assert_eq!(list(&store, "alice@contoso.test"), [2, 1], "oldest first");
}

#[test]
fn a_user_has_so_many_certificates_and_the_oldest_goes() {
    let store = contoso();
    let of_bob = publish(&store, "bob@contoso.test", 0, "bob's");
    let devices = CERTIFICATES_PER_USER as u128 + 2;
    let all: Vec<_> =
        (0..devices).map(|device| publish(&store, "alice@contoso.test", device, &device.to_string())).collect();
    assert_eq!(list(&store, "alice@contoso.test"), (2..devices).collect::<Vec<_>>());
    assert_eq!(find(&store, &all[1]), None);
    assert!(find(&store, &all[2]).is_some() && find(&store, &of_bob).is_some());
}

#[test]
fn a_revoked_certificate_stays_known_until_it_is_replaced() {
    let store = contoso();
    let alice = aor("alice@contoso.test");
    let one = publish(&store, "alice@contoso.test", 1, "one");
    let two = publish(&store, "alice@contoso.test", 2, "two");
    let of_bob = publish(&store, "bob@contoso.test", 1, "bob's");
    let revoked_at = |fingerprint: &Fingerprint| find(&store, fingerprint).expect("known").revoked_at;
    let revoke = |device: Option<u128>, now| block_on(store.revoke(&alice, device.map(Uuid::from_u128), now));

    assert_eq!(revoke(Some(1), NOW), Ok(1));
    assert_eq!((revoked_at(&one), revoked_at(&two)), (Some(NOW), None));
    assert_eq!(revoke(Some(1), NOW + 5), Ok(0), "it was already");
    assert_eq!(revoke(None, NOW + 9), Ok(1));
    assert_eq!((revoked_at(&one), revoked_at(&two)), (Some(NOW), Some(NOW + 9)));
    assert_eq!(revoked_at(&of_bob), None);
    assert_eq!(block_on(store.revoke(&aor("nobody@contoso.test"), None, NOW)), Ok(0));

    let new = publish(&store, "alice@contoso.test", 1, "a new one");
    assert_eq!(find(&store, &one), None);
    assert_eq!(revoked_at(&new), None);
}

#[test]
fn certificates_go_with_their_user() {
    let store = contoso();
    let fingerprint = publish(&store, "alice@contoso.test", 1, "one");
    store.remove_user(&aor("alice@contoso.test")).wait().expect("alice is there");
    add(&store, user("alice@contoso.test"), &[]);
    assert_eq!(find(&store, &fingerprint), None, "the new alice does not inherit it");
    assert!(list(&store, "alice@contoso.test").is_empty());
}

#[test]
fn what_another_process_revokes_is_revoked_at_once_and_all_of_it_survives() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("users.db");
    let server = Store::open(&path).expect("the server's");
    let admin = Store::open(&path).expect("the administrator's");
    add(&server, user("alice@contoso.test"), &[]);
    let fingerprint = publish(&server, "alice@contoso.test", 1, "one");
    block_on(admin.revoke(&aor("alice@contoso.test"), None, NOW)).expect("revoked");
    assert_eq!(find(&server, &fingerprint).expect("known").revoked_at, Some(NOW));
    drop((server, admin));
    let again = Store::open(&path).expect("the same file");
    assert_eq!(find(&again, &fingerprint).expect("kept").revoked_at, Some(NOW));
}
