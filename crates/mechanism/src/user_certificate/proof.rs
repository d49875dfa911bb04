//! Signatures that prove the key of a user certificate outside a handshake. RFC 8017 §8.2 (RSASSA-PKCS1-v1_5).

use super::{KeyError, OpenSslError, UserCertificate, read_key, request};
use openssl::hash::MessageDigest;
use openssl::pkey::{Id, PKey};
use openssl::sign::Signer;

/// Longest modulus a signature is checked with, in bits: as long as keys are certified at most.
const MAX_BITS: u32 = 16_384;

/// What is signed instead of the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    /// SHA-1: what clients of the time sign with.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl Digest {
    fn openssl(self) -> MessageDigest {
        match self {
            Digest::Sha1 => MessageDigest::sha1(),
            Digest::Sha256 => MessageDigest::sha256(),
        }
    }
}

/// Signs a text with an RSA key (PKCS#8, DER). The same arguments give the same signature.
pub fn sign(private_key: &[u8], digest: Digest, text: &[u8]) -> Result<Vec<u8>, KeyError> {
    let key = read_key(private_key)?;
    let signed = || Signer::new(digest.openssl(), &key)?.sign_oneshot_to_vec(text);
    Ok(signed().map_err(OpenSslError::from)?)
}

impl UserCertificate {
    /// Whether the holder of its key signed this text. Of the certificate itself nothing is proven by that.
    pub fn has_signed(&self, digest: Digest, text: &[u8], signature: &[u8]) -> bool {
        let Ok(key) = PKey::public_key_from_der(self.public_key()) else { return false };
        key.id() == Id::RSA && key.bits() <= MAX_BITS && request::verify(&key, digest.openssl(), text, signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user_certificate::{UserCertificateAuthority, new_key};
    use std::time::Duration;

    #[test]
    fn the_holder_of_the_key_signs_and_nobody_else() {
        let (key, other) = (new_key(1024).expect("a key"), new_key(1024).expect("a key"));
        let certificate = UserCertificateAuthority::certify(&key, [1; 16], 0, Duration::from_secs(60)).expect("DER");
        let certificate = UserCertificate::read(&certificate).expect("a certificate");
        for digest in [Digest::Sha1, Digest::Sha256] {
            let signature = sign(&key, digest, b"text").expect("a signature");
            assert_eq!(sign(&key, digest, b"text"), Ok(signature.clone()), "always the same");
            assert!(certificate.has_signed(digest, b"text", &signature));
            assert!(!certificate.has_signed(digest, b"texts", &signature));
            assert!(!certificate.has_signed(digest, b"text", &sign(&other, digest, b"text").expect("a signature")));
            for wrong in [&signature[1..], &[], &[0; 128], &[0xff; 4096]] {
                assert!(!certificate.has_signed(digest, b"text", wrong));
            }
        }
        let sha1 = sign(&key, Digest::Sha1, b"text").expect("a signature");
        assert!(!certificate.has_signed(Digest::Sha256, b"text", &sha1), "the digest is part of it");
        assert_eq!(sign(b"no key", Digest::Sha256, b"text"), Err(KeyError::Malformed));
    }
}
