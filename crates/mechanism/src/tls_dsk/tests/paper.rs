//! Certificates and keys, good and strange.

use openssl::asn1::{Asn1Object, Asn1OctetString, Asn1Time};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{ExtendedKeyUsage, KeyUsage};
use openssl::x509::{X509, X509Builder, X509Extension, X509Name, X509NameBuilder};
use std::sync::OnceLock;

/// A certificate and its key: DER, PKCS#8.
pub(super) struct Paper {
    pub(super) certificate: Vec<u8>,
    pub(super) key: Vec<u8>,
}

/// What is strange about a certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extension {
    ServerAuthOnly,
    Expired,
    NotYetValid,
    CriticalUnknown,
    EncryptionOnly,
}

impl Paper {
    /// A self-signed one.
    pub(super) fn new(name: &str, strange: &[Extension]) -> Paper {
        let key = rsa();
        let mut builder = begun(name, name, &key, strange);
        builder.sign(&key, MessageDigest::sha256()).expect("signed");
        Paper::of(&builder.build(), &key)
    }

    /// One that another issued.
    pub(super) fn issued(name: &str, issuer: &Paper) -> Paper {
        let key = rsa();
        let mut builder = begun(name, "fe01.contoso.test", &key, &[]);
        let issuing = PKey::private_key_from_pkcs8(&issuer.key).expect("a key");
        builder.sign(&issuing, MessageDigest::sha256()).expect("signed");
        Paper::of(&builder.build(), &key)
    }

    /// A self-signed one with a key on an elliptic curve.
    pub(super) fn elliptic(name: &str) -> Paper {
        let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
        let key = PKey::from_ec_key(EcKey::generate(&curve).expect("a key")).expect("a key");
        let mut builder = begun(name, name, &key, &[]);
        builder.sign(&key, MessageDigest::sha256()).expect("signed");
        Paper::of(&builder.build(), &key)
    }

    fn of(certificate: &X509, key: &PKey<Private>) -> Paper {
        Paper { certificate: certificate.to_der().expect("der"), key: key.private_key_to_pkcs8().expect("pkcs8") }
    }
}

fn rsa() -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(2048).expect("a key")).expect("a key")
}

fn named(name: &str) -> X509Name {
    let mut builder = X509NameBuilder::new().expect("a name");
    builder.append_entry_by_text("CN", name).expect("a name");
    builder.build()
}

fn begun(name: &str, issuer: &str, key: &PKey<Private>, strange: &[Extension]) -> X509Builder {
    let time = |unix| Asn1Time::from_unix(unix).expect("a time");
    let has = |extension| strange.contains(&extension);
    let mut builder = X509::builder().expect("a certificate");
    builder.set_version(2).expect("v3");
    builder.set_subject_name(&named(name)).expect("subject");
    builder.set_issuer_name(&named(issuer)).expect("issuer");
    builder.set_pubkey(key).expect("key");
    builder
        .set_not_before(&time(if has(Extension::NotYetValid) { 4_000_000_000 } else { 1_000_000_000 }))
        .expect("date");
    builder.set_not_after(&time(if has(Extension::Expired) { 1_100_000_000 } else { 4_100_000_000 })).expect("date");
    if has(Extension::ServerAuthOnly) {
        builder.append_extension(ExtendedKeyUsage::new().server_auth().build().expect("eku")).expect("eku");
    }
    if has(Extension::EncryptionOnly) {
        builder.append_extension(KeyUsage::new().critical().key_encipherment().build().expect("ku")).expect("ku");
    }
    if has(Extension::CriticalUnknown) {
        let kind = Asn1Object::from_str("1.3.6.1.4.1.311.999.1").expect("oid");
        let body = Asn1OctetString::new_from_bytes(&[5, 0]).expect("body");
        builder.append_extension(X509Extension::new_from_der(&kind, true, &body).expect("extension")).expect("added");
    }
    builder
}

/// The server's and the client's. Made once: keys take long.
pub(super) fn papers() -> &'static (Paper, Paper) {
    static PAPERS: OnceLock<(Paper, Paper)> = OnceLock::new();
    PAPERS.get_or_init(|| (Paper::new("fe01.contoso.test", &[]), Paper::new("alice@contoso.test", &[])))
}
