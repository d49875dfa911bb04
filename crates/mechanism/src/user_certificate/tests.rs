//! Requests as different clients write them, what is refused, and certificates as OpenSSL's own verification sees them.

use super::*;
use openssl::asn1::Asn1Type;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{X509, X509NameBuilder, X509PurposeId, X509Req, X509StoreContext};
use proptest::prelude::*;
use std::sync::LazyLock;
use std::time::Duration;

const NOW: i64 = 1_767_225_600; // 2026-01-01T00:00:00Z
const ALICE: &str = "alice@contoso.test";

/// Keys are made once: each takes a while.
static KEY: LazyLock<Zeroizing<Vec<u8>>> = LazyLock::new(|| new_key(2048).expect("a key"));
static AUTHORITY: LazyLock<UserCertificateAuthority> = LazyLock::new(|| authority(&new_key(2048).expect("a key")));

fn authority(key: &[u8]) -> UserCertificateAuthority {
    let lifetime = Duration::from_secs(3650 * 86_400);
    let certificate = UserCertificateAuthority::certify(key, [7; 16], NOW, lifetime).expect("a certificate");
    UserCertificateAuthority::new(&certificate, key).expect("an authority")
}

/// A request as a foreign client may write it.
struct Foreign<'a> {
    version: i32,
    name: Option<(&'a str, Asn1Type)>,
    digest: MessageDigest,
    key: PKey<Private>,
}

impl Foreign<'_> {
    fn usual() -> Foreign<'static> {
        let key = PKey::private_key_from_pkcs8(&KEY).expect("a key");
        Foreign { version: 0, name: Some((ALICE, Asn1Type::UTF8STRING)), digest: MessageDigest::sha256(), key }
    }

    fn write(&self) -> Vec<u8> {
        let mut name = X509NameBuilder::new().expect("a name");
        if let Some((text, kind)) = self.name {
            name.append_entry_by_nid_with_type(Nid::COMMONNAME, text, kind).expect("a common name");
        }
        let mut request = X509Req::builder().expect("a request");
        request.set_version(self.version).expect("any version");
        request.set_subject_name(&name.build()).expect("a name");
        request.set_pubkey(&self.key).expect("a key");
        request.sign(&self.key, self.digest).expect("a signature");
        request.build().to_der().expect("DER")
    }
}

fn read(der: &[u8]) -> Result<CertificateRequest, RequestError> {
    CertificateRequest::read(der, &RequestLimits::default())
}

fn refusal(der: &[u8]) -> RequestError {
    read(der).expect_err("it is refused")
}

#[test]
fn our_request_is_what_openssl_reads() {
    let der = request::write(ALICE, &KEY).expect("a request");
    let foreign = X509Req::from_der(&der).expect("a request");
    assert!(foreign.verify(&foreign.public_key().expect("a key")).expect("verified"));
    assert_eq!(foreign.version(), 0);
    let read = read(&der).expect("our own");
    assert_eq!((read.common_name(), read.bits()), (Some(ALICE), 2048));
    assert_eq!(request::write(ALICE, &KEY).expect("again"), der, "nothing random is in it");
}

/// What clients in use write: OpenSSL with version 2 and SHA-1, NSS with version 0, any kind of string.
#[test]
fn requests_as_clients_write_them() {
    let strings = [
        Asn1Type::UTF8STRING,
        Asn1Type::IA5STRING,
        Asn1Type::T61STRING,
        Asn1Type::PRINTABLESTRING, // the `@` must not be in one, and is
    ];
    for kind in strings {
        for version in 0..=2 {
            for digest in [MessageDigest::sha1(), MessageDigest::sha256(), MessageDigest::sha512()] {
                let der = Foreign { version, digest, name: Some((ALICE, kind)), ..Foreign::usual() }.write();
                let request = read(&der).unwrap_or_else(|error| panic!("{kind:?} {version}: {error}"));
                assert_eq!(request.common_name(), Some(ALICE), "{kind:?}");
            }
        }
    }
    let wide: String = ALICE.chars().flat_map(|c| ['\0', c]).collect();
    let der = Foreign { name: Some((&wide, Asn1Type::BMPSTRING)), ..Foreign::usual() }.write();
    assert_eq!(read(&der).expect("UCS-2").common_name(), Some(ALICE));
    let wider: String = ALICE.chars().flat_map(|c| ['\0', '\0', '\0', c]).collect();
    let der = Foreign { name: Some((&wider, Asn1Type::UNIVERSALSTRING)), ..Foreign::usual() }.write();
    assert_eq!(read(&der).expect("UCS-4").common_name(), Some(ALICE));
    let der = Foreign { name: None, ..Foreign::usual() }.write();
    assert_eq!(read(&der).expect("a nameless one").common_name(), None);
    let long = format!("{}@contoso.test", "a".repeat(200));
    assert_eq!(read(&request::write(&long, &KEY).expect("long")).expect("long").common_name(), Some(&*long));
}

#[test]
fn a_request_of_the_openssl_program() {
    let der = decode(include_str!("tests/rsa2048_sha256.csr.b64"));
    assert_eq!(read(&der).expect("a request").common_name(), Some(ALICE));
}

fn decode(base64: &str) -> Vec<u8> {
    openssl::base64::decode_block(&base64.split_ascii_whitespace().collect::<String>()).expect("base64")
}

#[test]
fn keys_that_are_not_accepted() {
    for foreign in [include_str!("tests/ec_p256.csr.b64"), include_str!("tests/dsa1024.csr.b64")] {
        assert_eq!(refusal(&decode(foreign)), RequestError::NotRsa);
    }
    let short = Foreign { key: PKey::from_rsa(Rsa::generate(768).expect("a key")).expect("a key"), ..Foreign::usual() };
    assert_eq!(refusal(&short.write()), RequestError::KeySize { bits: 768, min: 1024, max: 16_384 });
    let limits = RequestLimits { min_bits: 3072, max_bits: 4096, sha1: true };
    let usual = Foreign::usual().write();
    let refused = CertificateRequest::read(&usual, &limits).expect_err("2048 bits are too few here");
    assert_eq!(refused, RequestError::KeySize { bits: 2048, min: 3072, max: 4096 });
    let limits = RequestLimits { min_bits: 1024, max_bits: 1024, sha1: true };
    assert!(matches!(CertificateRequest::read(&usual, &limits), Err(RequestError::KeySize { .. })));
}

/// With e = 1 every text is its own signature.
#[test]
fn an_exponent_of_one_is_not_accepted() {
    let rsa = PKey::private_key_from_pkcs8(&KEY).expect("a key").rsa().expect("RSA");
    let n = |exponent: u32| {
        let one =
            Rsa::from_public_components(rsa.n().to_owned().expect("n"), BigNum::from_u32(exponent).expect("a number"));
        PKey::from_rsa(one.expect("a key")).expect("a key").public_key_to_der().expect("DER")
    };
    let usual = Foreign::usual().write();
    let public = public_key_of(&KEY).expect("a key");
    let at = usual.windows(public.len()).position(|window| window == public).expect("the key is in it");
    for exponent in [65_536, 65_538] {
        let other = n(exponent);
        assert_eq!(other.len(), public.len(), "put in its place");
        let mut altered = usual.clone();
        altered[at..at + other.len()].copy_from_slice(&other);
        assert_eq!(refusal(&altered), RequestError::Exponent);
    }
}

#[test]
fn signatures_that_are_not_accepted() {
    let usual = Foreign::usual().write();
    let mut altered = usual.clone();
    *altered.last_mut().expect("bytes") ^= 1;
    assert_eq!(refusal(&altered), RequestError::Signature);
    let at = usual.windows(5).position(|window| window == b"alice").expect("her name is in it");
    let mut renamed = usual.clone();
    renamed[at..at + 5].copy_from_slice(b"mouse");
    assert_eq!(refusal(&renamed), RequestError::Signature);

    let md5 = Foreign { digest: MessageDigest::md5(), ..Foreign::usual() }.write();
    assert_eq!(refusal(&md5), RequestError::Algorithm("1.2.840.113549.1.1.4".to_owned()));
    let sha1 = Foreign { digest: MessageDigest::sha1(), ..Foreign::usual() }.write();
    let strict = RequestLimits { sha1: false, ..RequestLimits::default() };
    let refused = CertificateRequest::read(&sha1, &strict).expect_err("switched off");
    assert_eq!(refused, RequestError::Algorithm("1.2.840.113549.1.1.5".to_owned()));
    assert!(CertificateRequest::read(&usual, &strict).is_ok());
}

#[test]
fn what_is_no_request() {
    let usual = Foreign::usual().write();
    assert!(matches!(refusal(&Foreign { version: 3, ..Foreign::usual() }.write()), RequestError::Version(3)));
    let mut longer = usual.clone();
    longer.push(0);
    assert_eq!(refusal(&longer), RequestError::Malformed("something follows it"));
    assert!(matches!(refusal(&vec![0x30; request::MAX_BYTES + 1]), RequestError::Malformed("it is too long")));
    for length in 0..usual.len() {
        assert!(read(&usual[..length]).is_err(), "{length} bytes of it");
    }
    let mut name = X509NameBuilder::new().expect("a name");
    for who in [ALICE, "bob@contoso.test"] {
        name.append_entry_by_nid(Nid::COMMONNAME, who).expect("a common name");
    }
    let mut twice = X509Req::builder().expect("a request");
    twice.set_subject_name(&name.build()).expect("a name");
    let key = PKey::private_key_from_pkcs8(&KEY).expect("a key");
    twice.set_pubkey(&key).expect("a key");
    twice.sign(&key, MessageDigest::sha256()).expect("a signature");
    let twice = twice.build().to_der().expect("DER");
    assert_eq!(refusal(&twice), RequestError::Malformed("its subject has several common names"));
}

fn issue(authority: &UserCertificateAuthority, address: &str) -> Vec<u8> {
    let request = read(&request::write("whoever@contoso.test", &KEY).expect("a request")).expect("a request");
    let lifetime = Lifetimes::default().grant(None);
    let order = Order { address, request: &request, serial: [0xff; 16], now: NOW, lifetime };
    authority.issue(&order).expect("a certificate")
}

#[test]
fn an_issued_certificate_says_what_it_should() {
    let der = issue(&AUTHORITY, ALICE);
    let certificate = UserCertificate::read(&der).expect("a certificate");
    assert_eq!(certificate.common_name(), Some(ALICE), "the address ordered, not the one the request has");
    assert_eq!(certificate.sip_uris(), ["sip:alice@contoso.test"]);
    assert_eq!(certificate.names().count(), 2);
    assert_eq!(certificate.not_before(), NOW - 600);
    assert_eq!(certificate.not_after(), NOW + 4320 * 3600);
    assert!(certificate.is_for_clients());
    assert_eq!(certificate.public_key(), public_key_of(&KEY).expect("a key"));
    assert_eq!(certificate.fingerprint(), Fingerprint::of(&der));
    assert!(AUTHORITY.recognises(&certificate));
    assert_eq!(issue(&AUTHORITY, ALICE), der, "nothing random is in it");

    let seen = X509::from_der(&der).expect("a certificate");
    assert_eq!(seen.version(), 2);
    let serial = seen.serial_number().to_bn().expect("a number");
    assert!(!serial.is_negative() && serial.num_bytes() == 16, "{serial}");
    let issuer = seen.issuer_name().entries_by_nid(Nid::COMMONNAME).next().expect("an issuer");
    assert_eq!(issuer.data().as_slice(), AUTHORITY_NAME.as_bytes());
    assert_eq!(seen.signature_algorithm().object().nid(), Nid::SHA256WITHRSAENCRYPTION);
}

/// The chain, the purpose and the key usages as OpenSSL checks them for a TLS client, strictly.
#[test]
fn openssl_accepts_an_issued_certificate_for_a_tls_client() {
    let verified = |leaf: &[u8], at: i64| {
        let mut store = X509StoreBuilder::new().expect("a store");
        store.add_cert(X509::from_der(&AUTHORITY.certificate().expect("DER")).expect("DER")).expect("the authority");
        let mut param = X509VerifyParam::new().expect("a parameter");
        param.set_time(at);
        param.set_purpose(X509PurposeId::SSL_CLIENT).expect("a purpose");
        param.set_flags(X509VerifyFlags::X509_STRICT).expect("a flag");
        store.set_param(&param).expect("a parameter");
        let leaf = X509::from_der(leaf).expect("a certificate");
        let none = Stack::new().expect("a stack");
        let mut context = X509StoreContext::new().expect("a context");
        let verify = |context: &mut openssl::x509::X509StoreContextRef| {
            context.verify_cert()?;
            Ok(context.error().as_raw())
        };
        context.init(&store.build(), &leaf, &none, verify).expect("a verdict")
    };
    let leaf = issue(&AUTHORITY, ALICE);
    assert_eq!(verified(&leaf, NOW), 0);
    assert_eq!(verified(&leaf, NOW - 599), 0, "valid before it was issued, for slow clocks");
    assert_eq!(verified(&leaf, NOW + 4320 * 3600 + 1), 10, "expired");
    let stranger = authority(&new_key(1024).expect("a key"));
    assert_ne!(verified(&issue(&stranger, ALICE), NOW), 0, "of another authority of the same name");
}

#[test]
fn certificates_of_others_are_not_recognised() {
    let stranger = authority(&new_key(1024).expect("a key"));
    let foreign = UserCertificate::read(&issue(&stranger, ALICE)).expect("a certificate");
    assert!(stranger.recognises(&foreign) && !AUTHORITY.recognises(&foreign));
    let own = UserCertificateAuthority::certify(&KEY, [1; 16], NOW, Duration::from_secs(86_400)).expect("self-signed");
    assert!(!AUTHORITY.recognises(&UserCertificate::read(&own).expect("a certificate")));

    let der = issue(&AUTHORITY, ALICE);
    let mut altered = der.clone();
    let at = der.windows(5).position(|window| window == b"alice").expect("her name is in it");
    altered[at] ^= 1;
    assert!(!AUTHORITY.recognises(&UserCertificate::read(&altered).expect("still a certificate")));
    let last = altered.len() - 1;
    altered.copy_from_slice(&der);
    altered[last] ^= 1;
    assert!(!AUTHORITY.recognises(&UserCertificate::read(&altered).expect("still a certificate")));
}

#[test]
fn addresses_that_certificates_find_hard() {
    let long = format!("{}@contoso.test", "b".repeat(200));
    assert_eq!(UserCertificate::read(&issue(&AUTHORITY, &long)).expect("long").common_name(), Some(&*long));
    let foreign = "jörg@contoso.test";
    let certificate = UserCertificate::read(&issue(&AUTHORITY, foreign)).expect("not ASCII");
    assert_eq!(certificate.names().collect::<Vec<_>>(), [foreign]);
    let comma = UserCertificate::read(&issue(&AUTHORITY, "a,URI:sip:b@contoso.test")).expect("with a comma");
    assert_eq!(comma.sip_uris(), ["sip:a,URI:sip:b@contoso.test"], "one name, whatever it looks like");
}

#[test]
fn lifetimes_stay_within_bounds() {
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    let table = [(None, 4320), (Some(0), 8), (Some(7), 8), (Some(9), 9), (Some(8760), 8760), (Some(1 << 40), 8760)];
    for (wish, granted) in table {
        assert_eq!(Lifetimes::default().grant(wish.map(hours)), hours(granted), "{wish:?}");
    }
}

#[test]
fn an_authority_is_of_one_piece() {
    let certificate = AUTHORITY.certificate().expect("DER");
    let new = UserCertificateAuthority::new;
    assert_eq!(new(&certificate, &KEY).err(), Some(AuthorityError::Mismatch));
    assert_eq!(new(b"no certificate", &KEY).err(), Some(AuthorityError::Certificate));
    assert_eq!(new(&certificate, b"no key").err(), Some(AuthorityError::Key(KeyError::Malformed)));
    let group = openssl::ec::EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
    let ec = PKey::from_ec_key(openssl::ec::EcKey::generate(&group).expect("a key")).expect("a key");
    let ec = ec.private_key_to_pkcs8().expect("DER");
    assert_eq!(new(&certificate, &ec).err(), Some(AuthorityError::Key(KeyError::NotRsa)));
    assert_eq!(request::write(ALICE, &ec), Err(KeyError::NotRsa));
    assert_eq!(format!("{:?}", *AUTHORITY), "UserCertificateAuthority(…)");
}

#[test]
fn fingerprints_print_as_others_print_them() {
    let print = Fingerprint::of(b"abc");
    assert_eq!(print.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(Fingerprint::from_bytes(*print.as_bytes()), print);
}

proptest! {
    #[test]
    fn no_bytes_hurt(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
        let _ = UserCertificate::read(&bytes);
        let _ = UserCertificateAuthority::new(&bytes, &bytes);
    }
}

/// Every bit of what is shown, turned over: the few that no signature covers too.
fn altered(der: &[u8]) -> impl Iterator<Item = (usize, u8, Vec<u8>)> {
    (0..der.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))).map(|(at, bit)| {
        let mut altered = der.to_vec();
        altered[at] ^= 1 << bit;
        (at, bit, altered)
    })
}

#[test]
fn no_altered_request_is_accepted() {
    for (at, bit, der) in altered(&Foreign::usual().write()) {
        assert!(read(&der).is_err(), "bit {bit} of byte {at}");
    }
}

#[test]
fn no_altered_certificate_is_recognised() {
    for (at, bit, der) in altered(&issue(&AUTHORITY, ALICE)) {
        let recognised = UserCertificate::read(&der).is_ok_and(|certificate| AUTHORITY.recognises(&certificate));
        assert!(!recognised, "bit {bit} of byte {at}");
    }
}
