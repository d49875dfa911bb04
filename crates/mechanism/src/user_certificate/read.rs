//! What a user certificate says. RFC 5280.
//!
//! Facts only: whether it is believed is for the registrar, which compares with what it published.

use super::envelope::is_exactly;
use super::request::common_name;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Public};
use openssl::sha::sha256;
use std::fmt;
use x509_parser::asn1_rs::FromDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::OID_PKCS1_SHA256WITHRSA;

/// Largest certificate looked at, in bytes. Those of a key of 16384 bits have less than 6 KiB.
const MAX_BYTES: usize = 16 * 1024;

/// SHA-256 over a whole certificate: what published certificates are known by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of a certificate, DER.
    pub fn of(certificate: &[u8]) -> Fingerprint {
        Fingerprint(sha256(certificate))
    }

    /// From its 32 bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Fingerprint {
        Fingerprint(bytes)
    }

    /// Its 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// 64 hexadecimal digits, lower case.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Why bytes are not a certificate we read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a user certificate: {0}")]
pub struct NotACertificate(&'static str);

/// A certificate, as far as users' certificates go. Nothing of it is proven.
#[derive(Clone)]
pub struct UserCertificate {
    common_name: Option<String>,
    sip_uris: Vec<String>,
    not_before: i64,
    not_after: i64,
    for_clients: bool,
    fingerprint: Fingerprint,
    public_key: Vec<u8>,
    issuer: Vec<u8>,
    self_issued: bool,
    signed: Option<Signed>,
}

/// The part under the signature, and the signature. Only of certificates signed as the authority here signs.
#[derive(Clone)]
struct Signed {
    text: Vec<u8>,
    signature: Vec<u8>,
}

impl UserCertificate {
    /// Reads a certificate, DER, nothing behind it.
    pub fn read(der: &[u8]) -> Result<UserCertificate, NotACertificate> {
        if der.len() > MAX_BYTES {
            return Err(NotACertificate("it is too long"));
        }
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| NotACertificate("its DER cannot be read"))?;
        if !rest.is_empty() {
            return Err(NotACertificate("something follows it"));
        }
        let (algorithm, signature) = (&certificate.signature_algorithm, &certificate.signature_value.data);
        let usage = certificate.extended_key_usage().map_err(|_| NotACertificate("it says its usage twice"))?;
        let names = certificate.subject_alternative_name().map_err(|_| NotACertificate("it says its names twice"))?;
        let uris = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
            GeneralName::URI(uri) if is_sip(uri) => Some((*uri).to_owned()),
            _ => None,
        });
        // Said twice, and only one of the two is under the signature: RFC 5280 §4.1.1.2.
        let ours = algorithm.algorithm == OID_PKCS1_SHA256WITHRSA
            && *algorithm == certificate.tbs_certificate.signature
            && is_exactly(der, certificate.tbs_certificate.as_ref(), algorithm, signature);
        Ok(UserCertificate {
            common_name: common_name(certificate.subject()).map_err(NotACertificate)?,
            sip_uris: uris.collect(),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            for_clients: usage.is_none_or(|usage| usage.value.client_auth || usage.value.any),
            fingerprint: Fingerprint::of(der),
            public_key: certificate.public_key().raw.to_vec(),
            issuer: certificate.issuer().as_raw().to_vec(),
            self_issued: certificate.issuer().as_raw() == certificate.subject().as_raw(),
            signed: ours
                .then(|| Signed { text: certificate.tbs_certificate.as_ref().to_vec(), signature: signature.to_vec() }),
        })
    }

    /// Common name of the subject: `user@domain`.
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// Its subject alternative names that are SIP URIs, as written.
    pub fn sip_uris(&self) -> &[String] {
        &self.sip_uris
    }

    /// Every name it has for its owner: the common name and the SIP URIs. They are expected to name the same user.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.common_name.iter().chain(&self.sip_uris).map(String::as_str)
    }

    /// First second it is valid, since 1970.
    pub fn not_before(&self) -> i64 {
        self.not_before
    }

    /// Last second it is valid, since 1970.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// Whether its extended key usage lets clients authenticate with it; one without that extension does.
    pub fn is_for_clients(&self) -> bool {
        self.for_clients
    }

    /// Whether it names itself as its issuer: signed by its holder, then, and nobody vouches for it.
    pub fn is_self_issued(&self) -> bool {
        self.self_issued
    }

    /// SHA-256 over all of it.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Its key as SubjectPublicKeyInfo, DER.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// Whether the authority of that name (DER) and key signed it, with RSA and SHA-256.
    pub(super) fn is_signed_by(&self, name: &[u8], key: &PKey<Public>) -> bool {
        self.issuer == name
            && self.signed.as_ref().is_some_and(|signed| {
                super::request::verify(key, MessageDigest::sha256(), &signed.text, &signed.signature)
            })
    }
}

impl fmt::Debug for UserCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserCertificate({:?}, until {}, {})", self.common_name, self.not_after, self.fingerprint)
    }
}

fn is_sip(uri: &str) -> bool {
    uri.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("sip:"))
}
