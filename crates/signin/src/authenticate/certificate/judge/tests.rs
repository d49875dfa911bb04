//! Each certificate that is not good has its own fault, and dates and names are looked at only where they mean something.

use super::super::published::{Publication, Published, PublishedCertificates};
use super::super::tests::{KEY, authority};
use super::Judge;
use crate::authenticate::verifier::{CertificateHolder, CertificateVerifier, Refusal};
use crate::directory::DirectoryError;
use crate::io::{Io, Operation, Pending};
use crate::name::Aor;
use crate::testing::{EPOCH, World};
use mechanism::user_certificate::{
    CertificateRequest, Fingerprint, Order, RequestLimits, UserCertificateAuthority, new_key, request,
};
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const DAY: i64 = 86_400;

/// The one certificate that is published, if any; or nobody answers.
#[derive(Clone)]
enum Shelf {
    Holding(Published),
    Empty,
    OutOfOrder,
}

impl PublishedCertificates for Shelf {
    fn find(&self, fingerprint: &Fingerprint) -> Pending<'_, Result<Option<Published>, DirectoryError>> {
        Box::pin(ready(match self {
            Shelf::Holding(published) => Ok(Some(published.clone()).filter(|held| held.fingerprint == *fingerprint)),
            Shelf::Empty => Ok(None),
            Shelf::OutOfOrder => Err(DirectoryError::failed("out of order".to_owned())),
        }))
    }

    fn publish(&self, _: Publication) -> Pending<'_, Result<(), DirectoryError>> {
        panic!("a judge publishes nothing")
    }

    fn list(&self, _: &Aor) -> Pending<'_, Result<Vec<Published>, DirectoryError>> {
        panic!("a judge lists nothing")
    }

    fn revoke(&self, _: &Aor, _: Option<Uuid>, _: i64) -> Pending<'_, Result<usize, DirectoryError>> {
        panic!("a judge revokes nothing")
    }
}

fn aor(name: &str) -> Aor {
    format!("{name}@contoso.test").parse().expect("an address")
}

/// From ten minutes before `begins` for a day.
fn issued_by(authority: &UserCertificateAuthority, name: &str, begins: i64) -> Vec<u8> {
    let asked = request::write("alice@contoso.test", &KEY).expect("a request");
    let asked = CertificateRequest::read(&asked, &RequestLimits::default()).expect("a request");
    let address = aor(name);
    let lifetime = Duration::from_secs(DAY.unsigned_abs());
    let order = Order { address: address.as_str(), request: &asked, serial: [1; 16], now: begins, lifetime };
    authority.issue(&order).expect("a certificate")
}

fn issued(name: &str, begins: i64) -> Vec<u8> {
    issued_by(&authority(), name, begins)
}

fn published_for(name: &str, certificate: &[u8], revoked_at: Option<i64>) -> Shelf {
    let fingerprint = Fingerprint::of(certificate);
    Shelf::Holding(Published { aor: aor(name), device: Uuid::nil(), fingerprint, not_after: 0, revoked_at })
}

fn judge(shelf: &Shelf, certificate: &[u8], world: &World) -> Result<CertificateHolder, Refusal> {
    let judge = Judge::new(authority(), Arc::new(shelf.clone()), Arc::new(world.clone()));
    world.run(judge.verify(certificate.to_vec()))
}

fn id(shelf: &Shelf, certificate: &[u8]) -> &'static str {
    judge(shelf, certificate, &World::new()).expect_err("refused").id()
}

#[test]
fn a_good_one_tells_whose_it_is_and_until_when() {
    let certificate = issued("alice", EPOCH);
    let holder = judge(&published_for("alice", &certificate, None), &certificate, &World::new());
    assert_eq!(holder, Ok(CertificateHolder { aor: aor("alice"), ends: EPOCH + DAY }));
}

#[test]
fn each_fault_has_its_id() {
    let own_authority = new_key(2048).expect("a key");
    let lifetime = Duration::from_secs(3650 * DAY.unsigned_abs());
    let self_signed = UserCertificateAuthority::certify(&own_authority, [4; 16], EPOCH, lifetime).expect("DER");
    let stranger = UserCertificateAuthority::new(&self_signed, &own_authority).expect("an authority");
    let foreign = issued_by(&stranger, "alice", EPOCH);
    let long_over = issued_by(&stranger, "alice", EPOCH - 9 * DAY);
    let good = issued("alice", EPOCH);
    let expired = issued("alice", EPOCH - 2 * DAY);
    let early = issued("alice", EPOCH + DAY);
    let ours = authority().certificate().expect("DER");
    let mut altered = good.clone();
    let name = altered.windows(5).position(|bytes| bytes == b"alice").expect("its name");
    altered[name] = b'b';
    let published = |certificate: &[u8]| published_for("alice", certificate, None);
    let table = [
        ("signed by its holder", self_signed.clone(), published(&self_signed), "dsk-cert-self-signed"),
        ("of another authority", foreign.clone(), published(&foreign), "dsk-cert-foreign"),
        ("foreign, and over as well", long_over.clone(), published(&long_over), "dsk-cert-foreign"),
        ("altered", altered.clone(), published(&altered), "dsk-cert-foreign"),
        ("over", expired.clone(), published(&expired), "dsk-cert-expired"),
        ("over and revoked", expired.clone(), published_for("alice", &expired, Some(EPOCH)), "dsk-cert-expired"),
        ("from the future", early.clone(), published(&early), "auth-clock-skew"),
        ("replaced", good.clone(), Shelf::Empty, "dsk-cert-unknown"),
        ("revoked", good.clone(), published_for("alice", &good, Some(EPOCH - 1)), "dsk-cert-revoked"),
        ("published for another", good.clone(), published_for("bob", &good, None), "dsk-cert-unusable"),
        ("the authority's own", ours.clone(), published(&ours), "dsk-cert-unusable"),
        ("no certificate", b"nonsense".to_vec(), Shelf::Empty, "dsk-cert-unusable"),
        ("cut", good[..good.len() - 1].to_vec(), Shelf::Empty, "dsk-cert-unusable"),
        ("nothing", Vec::new(), Shelf::Empty, "dsk-cert-unusable"),
    ];
    for (what, certificate, shelf, expected) in table {
        assert_eq!(id(&shelf, &certificate), expected, "{what}");
    }
}

#[test]
fn it_is_good_to_its_last_second() {
    let certificate = issued("alice", EPOCH);
    let shelf = published_for("alice", &certificate, None);
    let world = World::new();
    world.run(world.perform(Operation::Wait { time: Duration::from_secs(DAY.unsigned_abs()) }));
    assert!(judge(&shelf, &certificate, &world).is_ok());
    world.run(world.perform(Operation::Wait { time: Duration::from_secs(1) }));
    assert_eq!(judge(&shelf, &certificate, &world).expect_err("over").id(), "dsk-cert-expired");
    let early = issued("alice", EPOCH + 600);
    assert!(judge(&published_for("alice", &early, None), &early, &World::new()).is_ok(), "ten minutes of slack");
}

#[test]
fn a_store_that_does_not_answer_is_no_verdict_on_the_certificate() {
    let certificate = issued("alice", EPOCH);
    let refusal = judge(&Shelf::OutOfOrder, &certificate, &World::new());
    assert!(matches!(refusal, Err(Refusal::Unavailable(_))), "{refusal:?}");
    assert_eq!(id(&Shelf::OutOfOrder, b"nonsense"), "dsk-cert-unusable", "it is not even asked");
}
