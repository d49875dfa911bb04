//! What ties a proof to the TLS connection it is sent over, so that whoever has got hold of it cannot use it on another.
//! RFC 5929 §4 (`tls-server-end-point`), RFC 2744 §3.11, `[MS-NLMP]` §2.2.2.1 (MsvAvChannelBindings).
//!
//! ```text
//!  hash of the server's certificate ──► "tls-server-end-point:" hash ──► in a structure of GSS-API ──► MD5 ──► 16 bytes
//! ```
//!
//! Absent: `tls-unique`, which ends with TLS 1.3 and which no client of the time uses over HTTP.

use md5::{Digest, Md5};
use sha2::{Sha256, Sha384, Sha512};
use std::fmt;
use x509_parser::asn1_rs::FromDer;
use x509_parser::certificate::X509Certificate;

/// How the bound data begin; the hash of the certificate follows. RFC 5929 §4.1.
const END_POINT: &[u8] = b"tls-server-end-point:";

/// Bytes of the longest hash of a certificate, SHA-512's.
const LONGEST_HASH: usize = 64;

/// The bindings of a connection as proofs carry them: 16 bytes, never all zero, which would say that there are none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ChannelBindings {
    carried: [u8; 16],
    /// The hash of the certificate, and zeros.
    hash: [u8; LONGEST_HASH],
    hash_length: usize,
}

impl fmt::Debug for ChannelBindings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChannelBindings({:02x?})", self.carried)
    }
}

impl ChannelBindings {
    /// Of connections to the server that shows this certificate (DER). `None` when it cannot be read, or its signature is
    /// of a kind for which no hash is laid down.
    pub fn of_certificate(certificate: &[u8]) -> Option<ChannelBindings> {
        let (_, read) = X509Certificate::from_der(certificate).ok()?;
        let hash = match read.signature_algorithm.algorithm.to_id_string().as_str() {
            // RSA and ECDSA, over MD5, SHA-1 and SHA-256: the first two are replaced by the third.
            "1.2.840.113549.1.1.4"
            | "1.2.840.113549.1.1.5"
            | "1.2.840.113549.1.1.11"
            | "1.2.840.10045.4.1"
            | "1.2.840.10045.4.3.2" => Sha256::digest(certificate).to_vec(),
            "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Sha384::digest(certificate).to_vec(),
            "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Sha512::digest(certificate).to_vec(),
            _ => return None,
        };
        ChannelBindings::of_end_point(&hash)
    }

    /// Of connections to a server whose certificate has this hash.
    fn of_end_point(hash: &[u8]) -> Option<ChannelBindings> {
        let mut bindings = ChannelBindings { carried: [0; 16], hash: [0; LONGEST_HASH], hash_length: hash.len() };
        bindings.hash.get_mut(..hash.len())?.copy_from_slice(hash);
        let data = bindings.application_data();
        let length = u32::try_from(data.len()).ok()?;
        // Neither side has an address: its type and its length are zero.
        let structure = Md5::new_with_prefix([0; 16]).chain_update(length.to_le_bytes()).chain_update(&data);
        bindings.carried = structure.finalize().into();
        Some(bindings)
    }

    /// What a library of GSS-API is given in their place, which makes the 16 bytes itself. RFC 2743 §1.1.6.
    pub fn application_data(&self) -> Vec<u8> {
        [END_POINT, &self.hash[..self.hash_length]].concat()
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.carried
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user_certificate::{UserCertificateAuthority, new_key};
    use std::time::Duration;

    /// The example in Microsoft's article on extended protection ("Authentication failure from non-Windows NTLM or Kerberos
    /// servers").
    #[test]
    fn a_known_end_point() {
        let hash = hex::decode("ea05fefecc6b0bd571dbbc5baa3ed45386d0446835f7b74c85621b9983475f95").expect("hex");
        let bindings = ChannelBindings::of_end_point(&hash).expect("short enough");
        assert_eq!(bindings.application_data(), [b"tls-server-end-point:", hash.as_slice()].concat());
        assert_eq!(hex::encode(bindings.as_bytes()), "6586e99d81c2fc984e47172fd4dd0310");
    }

    #[test]
    fn every_certificate_has_its_own() {
        let certificate = |serial| {
            let key = new_key(1024).expect("a key");
            UserCertificateAuthority::certify(&key, [serial; 16], 0, Duration::from_secs(60)).expect("DER")
        };
        let (one, other) = (certificate(1), certificate(2));
        let bindings = ChannelBindings::of_certificate(&one).expect("RSA with SHA-256");
        assert_eq!(ChannelBindings::of_certificate(&one), Some(bindings));
        assert_eq!(Some(bindings), ChannelBindings::of_end_point(&Sha256::digest(&one)));
        assert_ne!(ChannelBindings::of_certificate(&other), Some(bindings));
        assert_eq!(ChannelBindings::of_certificate(&one[1..]), None);
    }
}
