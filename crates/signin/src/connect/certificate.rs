//! What one certificate says, and whether it speaks for a name. RFC 5280, RFC 6125 §6.4.
//!
//! Only facts; whether they are good is [`super::judgement`]'s business. Text from certificates is printed to people, so
//! control characters are replaced here.

use crate::legible::legible;
use std::net::IpAddr;
use time::OffsetDateTime;
use time::macros::format_description;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};
use x509_parser::public_key::PublicKey;

/// The facts of one certificate that a sign-in cares about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertFacts {
    /// Distinguished name, `CN=…, O=…`, in the order encoded.
    pub subject: String,
    /// Distinguished name of the issuer.
    pub issuer: String,
    /// Serial number, hexadecimal with colons.
    pub serial: String,
    /// Seconds since 1970, UTC.
    pub not_before: i64,
    /// Seconds since 1970, UTC.
    pub not_after: i64,
    /// Subject alternative names that can name a host, in order.
    pub names: Vec<HostName>,
    /// Whether there is a subject alternative name extension at all; if so the common name does not count.
    pub has_alternative_names: bool,
    /// The last common name of the subject.
    pub common_name: Option<String>,
    /// The public key.
    pub key: Key,
    /// Name of the signature algorithm, or its object identifier in dots.
    pub signature: String,
    /// Whether the signature rests on MD2, MD5 or SHA-1.
    pub weak_signature: bool,
    /// Extended key usages by name; `None` without that extension (then every use is allowed).
    pub usages: Option<Vec<String>>,
    /// Whether it may sign other certificates.
    pub ca: bool,
    /// Subject and issuer are the same name.
    pub self_issued: bool,
}

/// A name in a certificate that can stand for a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostName {
    /// `dNSName`, as written; may begin with `*.`.
    Dns(String),
    /// `iPAddress`.
    Address(IpAddr),
}

impl std::fmt::Display for HostName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HostName::Dns(name) => f.write_str(name),
            HostName::Address(address) => write!(f, "{address}"),
        }
    }
}

/// A public key: kind and size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// `RSA`, `EC`, `DSA`, or an object identifier in dots.
    pub algorithm: String,
    /// Size in bits; 0 when unknown.
    pub bits: usize,
}

impl Key {
    /// Whether it is smaller than what has been asked for since 2014: RSA and DSA 2048, elliptic curves 224 bits.
    pub fn weak(&self) -> bool {
        match self.algorithm.as_str() {
            "RSA" | "DSA" => self.bits < 2048,
            "EC" => self.bits < 224,
            _ => false,
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.bits {
            0 => f.write_str(&self.algorithm),
            bits => write!(f, "{} {bits}", self.algorithm),
        }
    }
}

/// Bytes that are not a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an X.509 certificate: {0}")]
pub struct Unreadable(String);

impl CertFacts {
    /// Reads one DER certificate. An extension that cannot be read counts as absent.
    pub fn read(der: &[u8]) -> Result<CertFacts, Unreadable> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|e| Unreadable(printable(&e.to_string())))?;
        let alternative = certificate.extensions().iter().find_map(|e| match e.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => Some(names),
            _ => None,
        });
        let usages = certificate.extensions().iter().find_map(|e| match e.parsed_extension() {
            ParsedExtension::ExtendedKeyUsage(usages) => Some(usages),
            _ => None,
        });
        let (signature, weak_signature) = signature_name(&certificate.signature_algorithm.algorithm.to_id_string());
        let common_name = certificate.subject().iter_common_name().last().and_then(|cn| cn.as_str().ok());
        Ok(CertFacts {
            subject: printable(&certificate.subject().to_string()),
            issuer: printable(&certificate.issuer().to_string()),
            serial: certificate.raw_serial_as_string(),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            names: alternative.map(|a| a.general_names.iter().filter_map(host_name).collect()).unwrap_or_default(),
            has_alternative_names: alternative.is_some(),
            common_name: common_name.map(printable),
            key: key(&certificate),
            signature,
            weak_signature,
            usages: usages.map(usage_names),
            ca: certificate.is_ca(),
            self_issued: certificate.subject().as_raw() == certificate.issuer().as_raw(),
        })
    }

    /// Whether this certificate speaks for `name`, a host name or an address literal. RFC 6125 §6.4: alternative names
    /// first; the common name only when there is no alternative name extension; a wildcard is a whole left-most label
    /// and stands for exactly one label.
    pub fn speaks_for(&self, name: &str) -> bool {
        let literal = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        if self.has_alternative_names {
            return self.names.iter().any(|offered| match (offered, literal) {
                (HostName::Address(offered), Some(asked)) => *offered == asked,
                (HostName::Dns(pattern), None) => matches(pattern, name),
                _ => false,
            });
        }
        literal.is_none() && self.common_name.as_deref().is_some_and(|pattern| matches(pattern, name))
    }

    /// The names it speaks for, as text.
    pub fn offered(&self) -> Vec<String> {
        if self.has_alternative_names {
            self.names.iter().map(HostName::to_string).collect()
        } else {
            self.common_name.iter().cloned().collect()
        }
    }

    /// Whether a TLS server may use it.
    pub fn allows_servers(&self) -> bool {
        self.usages.as_ref().is_none_or(|all| all.iter().any(|u| u == SERVER_AUTH || u == ANY_USAGE))
    }
}

/// A day and time in UTC for people: `2026-11-22 23:44 UTC`.
pub fn date(unix_seconds: i64) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    OffsetDateTime::from_unix_timestamp(unix_seconds)
        .ok()
        .and_then(|time| time.format(format).ok())
        .unwrap_or_else(|| format!("{unix_seconds} s after 1970"))
}

fn matches(pattern: &str, name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let pattern = pattern.strip_suffix('.').unwrap_or(pattern);
    match pattern.strip_prefix("*.") {
        // A wildcard directly under a top-level domain would stand for everybody's names.
        Some(parent) => {
            parent.contains('.')
                && name
                    .split_once('.')
                    .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent))
        }
        None => !pattern.is_empty() && !pattern.contains('*') && pattern.eq_ignore_ascii_case(name),
    }
}

fn host_name(name: &GeneralName<'_>) -> Option<HostName> {
    match name {
        GeneralName::DNSName(text) => Some(HostName::Dns(printable(text))),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok().map(HostName::Address)
        }
        _ => None,
    }
}

fn key(certificate: &X509Certificate<'_>) -> Key {
    let info = certificate.public_key();
    let (algorithm, bits) = match info.parsed() {
        Ok(PublicKey::RSA(rsa)) => ("RSA".to_owned(), bit_length(rsa.modulus)),
        Ok(PublicKey::EC(point)) => ("EC".to_owned(), point.key_size().min(521)),
        Ok(PublicKey::DSA(y)) => ("DSA".to_owned(), bit_length(y)),
        _ => match info.algorithm.algorithm.to_id_string().as_str() {
            "1.3.101.112" => ("Ed25519".to_owned(), 0),
            "1.3.101.113" => ("Ed448".to_owned(), 0),
            other => (other.to_owned(), 0),
        },
    };
    Key { algorithm, bits }
}

/// Bits of a big-endian number.
fn bit_length(number: &[u8]) -> usize {
    match number.iter().position(|byte| *byte != 0) {
        Some(first) => (number.len() - first) * 8 - number[first].leading_zeros() as usize,
        None => 0,
    }
}

const SERVER_AUTH: &str = "serverAuth";
const ANY_USAGE: &str = "anyExtendedKeyUsage";

fn usage_names(usages: &x509_parser::extensions::ExtendedKeyUsage<'_>) -> Vec<String> {
    let known = [
        (usages.any, ANY_USAGE),
        (usages.server_auth, SERVER_AUTH),
        (usages.client_auth, "clientAuth"),
        (usages.code_signing, "codeSigning"),
        (usages.email_protection, "emailProtection"),
        (usages.time_stamping, "timeStamping"),
        (usages.ocsp_signing, "OCSPSigning"),
    ];
    let named = known.into_iter().filter(|(set, _)| *set).map(|(_, name)| name.to_owned());
    named.chain(usages.other.iter().map(|oid| oid.to_id_string())).collect()
}

/// Name of a signature algorithm and whether its hash is broken. RFC 3279 §2.2, RFC 4055, RFC 5758, RFC 8410.
fn signature_name(oid: &str) -> (String, bool) {
    let (name, weak) = match oid {
        "1.2.840.113549.1.1.2" => ("md2WithRSAEncryption", true),
        "1.2.840.113549.1.1.4" => ("md5WithRSAEncryption", true),
        "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" => ("sha1WithRSAEncryption", true),
        "1.2.840.10040.4.3" => ("dsa-with-sha1", true),
        "1.2.840.10045.4.1" => ("ecdsa-with-SHA1", true),
        "1.2.840.113549.1.1.10" => ("RSASSA-PSS", false),
        "1.2.840.113549.1.1.11" => ("sha256WithRSAEncryption", false),
        "1.2.840.113549.1.1.12" => ("sha384WithRSAEncryption", false),
        "1.2.840.113549.1.1.13" => ("sha512WithRSAEncryption", false),
        "1.2.840.10045.4.3.2" => ("ecdsa-with-SHA256", false),
        "1.2.840.10045.4.3.3" => ("ecdsa-with-SHA384", false),
        "1.2.840.10045.4.3.4" => ("ecdsa-with-SHA512", false),
        "1.3.101.112" => ("Ed25519", false),
        "1.3.101.113" => ("Ed448", false),
        other => (other, false),
    };
    (name.to_owned(), weak)
}

/// Text from a peer, fit for a terminal.
fn printable(text: &str) -> String {
    legible(text.to_owned())
}
