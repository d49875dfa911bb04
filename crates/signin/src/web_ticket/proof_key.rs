//! The key both ends of a ticket derive: `P_SHA1`, the expansion of TLS 1.0. WS-Trust 1.3 §4.4.4, RFC 2246 §5.
//!
//! SHA-1 is named by the protocol (`CK/PSHA1`); as HMAC it is not known to be weak.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use std::fmt;
use zeroize::Zeroizing;

/// A derived key. It prints nothing.
#[derive(Clone)]
pub struct ProofKey(Zeroizing<Vec<u8>>);

impl ProofKey {
    /// Derives the key of a ticket; it is as long as the client's entropy.
    pub fn derive(client_entropy: &[u8], server_entropy: &[u8]) -> ProofKey {
        ProofKey(p_sha1(client_entropy, server_entropy, client_entropy.len()))
    }

    /// Takes over a key that was not derived but sent, or sealed in a ticket.
    pub fn from_bytes(bytes: Zeroizing<Vec<u8>>) -> ProofKey {
        ProofKey(bytes)
    }

    /// The key itself, for what signs with it.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ProofKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProofKey(…)")
    }
}

/// A(0) = seed, A(i) = HMAC(secret, A(i-1)); the output is HMAC(secret, A(1) ‖ seed) ‖ HMAC(secret, A(2) ‖ seed) ‖ …
fn p_sha1(secret: &[u8], seed: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    let hmac = |parts: &[&[u8]]| {
        let mut mac = Hmac::<Sha1>::new_from_slice(secret).expect("HMAC takes keys of every length");
        for part in parts {
            mac.update(part);
        }
        Zeroizing::new(mac.finalize().into_bytes().to_vec())
    };
    // Room for the last block in full: growing would leave a copy of the key behind.
    let mut output = Zeroizing::new(Vec::with_capacity(length + 20));
    let mut a = hmac(&[seed]);
    while output.len() < length {
        output.extend_from_slice(&hmac(&[&a, seed]));
        a = hmac(&[&a]);
    }
    output.truncate(length);
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derives_the_known_key() {
        let client: Vec<u8> = (0x00..=0x1f).collect();
        let server: Vec<u8> = (0x40..=0x5f).collect();
        let key = ProofKey::derive(&client, &server);
        assert_eq!(hex::encode(key.reveal()), "fbff07694b1a7b94568191da6d5881c89f2df6d37c1b4bbaa8f3ed65803e35da");
        assert_eq!(format!("{key:?}"), "ProofKey(…)");
    }

    #[test]
    fn is_as_long_as_the_clients_entropy() {
        for length in [0, 1, 16, 20, 21, 64] {
            assert_eq!(ProofKey::derive(&vec![7; length], b"server").reveal().len(), length);
        }
    }
}
