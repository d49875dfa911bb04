//! Certification requests, PKCS#10: read as clients really write them, and written. RFC 2986.
//!
//! What clients do that the specification does not allow, and that is read: the version field holds 0, 1 or 2 (it has to
//! be 0), the common name is any kind of string, attributes are whatever they are. What a request asks for beyond its
//! key is never granted, so attributes are not looked at.

use super::envelope::is_exactly;
use super::{KeyError, OpenSslError, read_key};
use openssl::asn1::Asn1Type;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Public};
use openssl::sign::Verifier;
use openssl::x509::{X509NameBuilder, X509ReqBuilder};
use std::fmt;
use x509_parser::asn1_rs::{Any, FromDer, Tag};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{
    OID_PKCS1_SHA1WITHRSA, OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA,
    OID_X509_COMMON_NAME,
};
use x509_parser::x509::{AlgorithmIdentifier, X509Name};

/// Largest request looked at, in bytes. One for a key of 16384 bits has less than 5 KiB.
pub const MAX_BYTES: usize = 16 * 1024;

/// What a server accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestLimits {
    /// Shortest modulus: 1024 bits.
    pub min_bits: u32,
    /// Longest modulus: 16384 bits.
    pub max_bits: u32,
    /// Whether the request itself may be signed with SHA-1. It proves that its sender holds the key and is never kept,
    /// and common clients sign nothing else.
    pub sha1: bool,
}

impl Default for RequestLimits {
    fn default() -> RequestLimits {
        RequestLimits { min_bits: 1024, max_bits: 16_384, sha1: true }
    }
}

/// Why a request is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No PKCS#10, longer than [`MAX_BYTES`], or with something behind it.
    #[error("this is not a PKCS#10 certification request: {0}")]
    Malformed(&'static str),
    /// A version nobody writes.
    #[error("the request says it is of version {0}; 0, 1 and 2 are known")]
    Version(u32),
    /// Signed in a way that is not accepted.
    #[error("the request is signed with algorithm {0}, which is not accepted; sign it with RSA and SHA-256")]
    Algorithm(String),
    /// DSA, EC or something else.
    #[error("the public key is not an RSA key")]
    NotRsa,
    /// Too short or too long.
    #[error("the RSA key has {bits} bits; {min} to {max} are accepted")]
    KeySize {
        /// What it has.
        bits: u32,
        /// Least.
        min: u32,
        /// Most.
        max: u32,
    },
    /// e is even, or less than 3: such a key protects nothing.
    #[error("the public exponent of the RSA key cannot be used")]
    Exponent,
    /// Its sender does not hold the private key, or it was damaged on the way.
    #[error("the request is not signed with the key it is about")]
    Signature,
}

/// A request whose sender holds the private key. Only [`CertificateRequest::read`] makes one.
pub struct CertificateRequest {
    common_name: Option<String>,
    key: PKey<Public>,
}

impl CertificateRequest {
    /// Reads and checks a request, DER.
    pub fn read(der: &[u8], limits: &RequestLimits) -> Result<CertificateRequest, RequestError> {
        if der.len() > MAX_BYTES {
            return Err(RequestError::Malformed("it is too long"));
        }
        let (rest, request) =
            X509CertificationRequest::from_der(der).map_err(|_| RequestError::Malformed("its DER cannot be read"))?;
        if !rest.is_empty() {
            return Err(RequestError::Malformed("something follows it"));
        }
        let info = &request.certification_request_info;
        let signature = &request.signature_value;
        if !is_exactly(der, info.raw, &request.signature_algorithm, &signature.data) {
            return Err(RequestError::Malformed("what stands around its signed part is not DER"));
        }
        if info.version.0 > 2 {
            return Err(RequestError::Version(info.version.0));
        }
        let common_name = common_name(&info.subject).map_err(RequestError::Malformed)?;
        let key = read_public_key(info.subject_pki.raw, limits)?;
        let digest = digest(&request.signature_algorithm, limits)?;
        let valid = verify(&key, digest, info.raw, &signature.data);
        if valid { Ok(CertificateRequest { common_name, key }) } else { Err(RequestError::Signature) }
    }

    /// Common name of its subject. It is a wish: whose certificate it becomes is decided by who asks.
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// Bits of its key's modulus.
    pub fn bits(&self) -> u32 {
        self.key.bits()
    }

    pub(super) fn key(&self) -> &PKey<Public> {
        &self.key
    }
}

impl fmt::Debug for CertificateRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateRequest({:?}, RSA {})", self.common_name, self.bits())
    }
}

/// Writes a request for `CN=<common_name>`, signed with SHA-256; DER. The private key is PKCS#8, DER.
pub fn write(common_name: &str, private_key: &[u8]) -> Result<Vec<u8>, KeyError> {
    let key = read_key(private_key)?;
    let built = || -> Result<Vec<u8>, openssl::error::ErrorStack> {
        let mut request = X509ReqBuilder::new()?;
        request.set_version(0)?;
        request.set_subject_name(&*name(common_name)?)?;
        request.set_pubkey(&key)?;
        request.sign(&key, MessageDigest::sha256())?;
        request.build().to_der()
    };
    Ok(built().map_err(OpenSslError::from)?)
}

/// `CN=<common_name>` as UTF8String. Given its type, OpenSSL does not hold the name to the 64 characters of X.520, which
/// long addresses exceed.
pub(super) fn name(common_name: &str) -> Result<openssl::x509::X509Name, openssl::error::ErrorStack> {
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_nid_with_type(Nid::COMMONNAME, common_name, Asn1Type::UTF8STRING)?;
    Ok(name.build())
}

/// The one common name, if there is one.
pub(super) fn common_name(name: &X509Name<'_>) -> Result<Option<String>, &'static str> {
    let mut found = name.iter_attributes().filter(|attribute| *attribute.attr_type() == OID_X509_COMMON_NAME);
    let Some(first) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err("its subject has several common names");
    }
    directory_string(first.attr_value()).map(Some).ok_or("its common name cannot be read")
}

/// Text of whichever kind of string, X.520 §6.2. T61String is read as ISO 8859-1, as everybody writes it.
fn directory_string(value: &Any<'_>) -> Option<String> {
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString => {
            std::str::from_utf8(value.data).ok().map(str::to_owned)
        }
        Tag::T61String => Some(value.data.iter().map(|byte| char::from(*byte)).collect()),
        Tag::BmpString => {
            let (units, rest) = value.data.as_chunks::<2>();
            let units: Vec<u16> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
            if rest.is_empty() { String::from_utf16(&units).ok() } else { None }
        }
        Tag::UniversalString => {
            let (units, rest) = value.data.as_chunks::<4>();
            let text = units.iter().map(|unit| char::from_u32(u32::from_be_bytes(*unit))).collect();
            if rest.is_empty() { text } else { None }
        }
        _ => None,
    }
}

fn read_public_key(info: &[u8], limits: &RequestLimits) -> Result<PKey<Public>, RequestError> {
    let key = PKey::public_key_from_der(info).map_err(|_| RequestError::Malformed("its public key cannot be read"))?;
    if key.id() != Id::RSA {
        return Err(RequestError::NotRsa);
    }
    let rsa = key.rsa().map_err(|_| RequestError::NotRsa)?;
    let (bits, min, max) = (key.bits(), limits.min_bits, limits.max_bits);
    if !(min..=max).contains(&bits) {
        return Err(RequestError::KeySize { bits, min, max });
    }
    if rsa.e().num_bits() < 2 || !rsa.e().is_bit_set(0) {
        return Err(RequestError::Exponent);
    }
    Ok(key)
}

/// The digest of `<digest>WithRSAEncryption`, RFC 8017 appendix A.2.4. MD5 is not among them.
fn digest(algorithm: &AlgorithmIdentifier<'_>, limits: &RequestLimits) -> Result<MessageDigest, RequestError> {
    let oid = &algorithm.algorithm;
    let parameters = algorithm.parameters.as_ref();
    if parameters.is_some_and(|parameters| parameters.tag() != Tag::Null || !parameters.data.is_empty()) {
        return Err(RequestError::Malformed("its signature algorithm has parameters"));
    }
    let known = [
        (OID_PKCS1_SHA256WITHRSA, MessageDigest::sha256()),
        (OID_PKCS1_SHA384WITHRSA, MessageDigest::sha384()),
        (OID_PKCS1_SHA512WITHRSA, MessageDigest::sha512()),
    ];
    match known.into_iter().find(|(known, _)| known == oid) {
        Some((_, digest)) => Ok(digest),
        None if limits.sha1 && *oid == OID_PKCS1_SHA1WITHRSA => Ok(MessageDigest::sha1()),
        None => Err(RequestError::Algorithm(oid.to_id_string())),
    }
}

pub(super) fn verify(key: &PKey<Public>, digest: MessageDigest, signed: &[u8], signature: &[u8]) -> bool {
    let check = || Verifier::new(digest, key)?.verify_oneshot(signature, signed);
    check().unwrap_or(false)
}
