//! Message signatures with extended session security and key exchange. `[MS-NLMP]` §3.4.4.2, §3.4.5.2, §3.4.5.3.
//!
//! Omitted: numbers that count. A datagram has the number that the user of the protocol gives it, which in SIP is always
//! 100; on a connection, only the first signature of each direction is made, since nothing here signs more than that.

use super::Mode;
use super::crypto::{keyed, md5, rc4};
use crate::Side;
use hmac::{Hmac, Mac};
use md5::Md5;
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Sequence number of every datagram signature in SIP.
const DATAGRAM_SEQUENCE: u32 = 100;

/// Sequence number of the first signature on a connection.
const CONNECTION_SEQUENCE: u32 = 0;

const CLIENT_SIGN: &[u8] = b"session key to client-to-server signing key magic constant\0";
const SERVER_SIGN: &[u8] = b"session key to server-to-client signing key magic constant\0";
const CLIENT_SEAL: &[u8] = b"session key to client-to-server sealing key magic constant\0";
const SERVER_SEAL: &[u8] = b"session key to server-to-client sealing key magic constant\0";

/// The keys of one association, both directions. Prints nothing; wiped when dropped.
///
/// They are good for signatures where the flags of both sides say extended session security, key exchange and 128-bit
/// keys: always in [`Mode::Datagram`], where anything less is refused.
pub struct SigningKeys {
    sequence: [u8; 4],
    client: Direction,
    server: Direction,
}

/// One direction, with all done that is the same for every message: the key is in its place in the HMAC, and the eight
/// bytes that RC4 adds to a checksum are made. They never change, because the cipher begins anew with the same number.
struct Direction {
    checksum: Hmac<Md5>,
    mask: Zeroizing<[u8; 8]>,
}

impl SigningKeys {
    /// Derives both directions from the exported session key (128-bit keys).
    pub(super) fn derive(exported: &[u8; 16], mode: Mode) -> SigningKeys {
        let sequence = match mode {
            Mode::Datagram => DATAGRAM_SEQUENCE,
            Mode::Connection => CONNECTION_SEQUENCE,
        };
        let direction = |side| {
            let sealing_key = sealing_key(exported, side);
            let cipher_key = match mode {
                Mode::Datagram => datagram_key(&sealing_key, sequence),
                Mode::Connection => sealing_key,
            };
            let mut mask = Zeroizing::new([0; 8]);
            rc4(&cipher_key, &mut mask[..]);
            Direction { checksum: keyed(&signing_key(exported, side)[..]), mask }
        };
        SigningKeys {
            sequence: sequence.to_le_bytes(),
            client: direction(Side::Client),
            server: direction(Side::Server),
        }
    }

    /// Signs a text: version 1 (4 bytes), checksum (8), sequence number (4), integers little-endian. In
    /// [`Mode::Datagram`] the number is 100, as for every message of SIP; in [`Mode::Connection`] it is 0, as for the
    /// first message of that side.
    pub fn sign(&self, by: Side, text: &[u8]) -> [u8; 16] {
        let direction = match by {
            Side::Client => &self.client,
            Side::Server => &self.server,
        };
        let mut checksum = direction.checksum.clone();
        checksum.update(&self.sequence);
        checksum.update(text);
        let checksum = checksum.finalize().into_bytes();
        let mut signature = [0; 16];
        signature[..4].copy_from_slice(&1u32.to_le_bytes());
        for ((byte, plain), mask) in signature[4..12].iter_mut().zip(checksum).zip(direction.mask.iter()) {
            *byte = plain ^ mask;
        }
        signature[12..].copy_from_slice(&self.sequence);
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

/// SIGNKEY with extended session security, §3.4.5.2.
pub(super) fn signing_key(exported: &[u8; 16], side: Side) -> Zeroizing<[u8; 16]> {
    let magic = match side {
        Side::Client => CLIENT_SIGN,
        Side::Server => SERVER_SIGN,
    };
    Zeroizing::new(md5(&[exported, magic]))
}

/// SEALKEY with extended session security and 128 bits, §3.4.5.3.
pub(super) fn sealing_key(exported: &[u8; 16], side: Side) -> Zeroizing<[u8; 16]> {
    let magic = match side {
        Side::Client => CLIENT_SEAL,
        Side::Server => SERVER_SEAL,
    };
    Zeroizing::new(md5(&[exported, magic]))
}

/// The key of one datagram: each is sealed by itself, since others may be lost, §3.4.
pub(super) fn datagram_key(sealing_key: &[u8; 16], sequence: u32) -> Zeroizing<[u8; 16]> {
    Zeroizing::new(md5(&[sealing_key, &sequence.to_le_bytes()]))
}
