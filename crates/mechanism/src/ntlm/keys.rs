//! Message signatures with extended session security and key exchange. `[MS-NLMP]` §3.4.4.2, §3.4.5.2, §3.4.5.3.

use super::Mode;
use super::crypto::{keyed, md5, rc4};
use hmac::{Hmac, Mac};
use md5::Md5;
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Who signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The initiator.
    Client,
    /// The acceptor.
    Server,
}

/// Sequence number of every datagram signature in SIP.
const DATAGRAM_SEQUENCE: u32 = 100;

const CLIENT_SIGN: &[u8] = b"session key to client-to-server signing key magic constant\0";
const SERVER_SIGN: &[u8] = b"session key to server-to-client signing key magic constant\0";
const CLIENT_SEAL: &[u8] = b"session key to client-to-server sealing key magic constant\0";
const SERVER_SEAL: &[u8] = b"session key to server-to-client sealing key magic constant\0";

/// The keys of one association, both directions. Prints nothing; wiped when dropped.
pub struct SigningKeys {
    client: Direction,
    server: Direction,
}

struct Direction {
    sign: Hmac<Md5>,
    seal: Zeroizing<[u8; 16]>,
}

impl SigningKeys {
    /// Derives both directions from the exported session key (128-bit keys).
    pub(super) fn derive(exported: &[u8; 16], mode: Mode) -> SigningKeys {
        let direction = |sign: &[u8], seal: &[u8]| {
            let sign_key = Zeroizing::new(md5(&[exported, sign]));
            let seal_key = Zeroizing::new(md5(&[exported, seal]));
            let seal = match mode {
                // Datagrams may be lost, so each is sealed with a key of its own; in SIP the number never changes, and
                // so neither does that key.
                Mode::Datagram => Zeroizing::new(md5(&[&seal_key[..], &DATAGRAM_SEQUENCE.to_le_bytes()])),
                Mode::Connection => seal_key,
            };
            Direction { sign: keyed(&sign_key[..]), seal }
        };
        SigningKeys { client: direction(CLIENT_SIGN, CLIENT_SEAL), server: direction(SERVER_SIGN, SERVER_SEAL) }
    }

    /// Signs a text: version 1, checksum of 8 bytes, sequence number 100.
    pub fn sign(&self, by: Side, text: &[u8]) -> [u8; 16] {
        let direction = match by {
            Side::Client => &self.client,
            Side::Server => &self.server,
        };
        let sequence = DATAGRAM_SEQUENCE.to_le_bytes();
        let mut mac = direction.sign.clone();
        mac.update(&sequence);
        mac.update(text);
        let mut signature = [0; 16];
        signature[..4].copy_from_slice(&1u32.to_le_bytes());
        signature[4..12].copy_from_slice(&mac.finalize().into_bytes()[..8]);
        rc4(&direction.seal, &mut signature[4..12]);
        signature[12..].copy_from_slice(&sequence);
        signature
    }

    /// Checks a signature, in constant time.
    pub fn verify(&self, by: Side, text: &[u8], signature: &[u8]) -> bool {
        self.sign(by, text)[..].ct_eq(signature).into()
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKeys(…)")
    }
}
