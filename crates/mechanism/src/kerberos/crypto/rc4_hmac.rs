//! RC4 with HMAC-MD5, etype 23, as Windows 2000 brought it. RFC 4757.
//!
//! Kept for directories that still issue it. MD4, MD5 and RC4 are all broken for other purposes; what is left of them here
//! is as strong as the password's NT hash, which is the key.

use super::{CONFOUNDER, CryptoError};
use crate::ntlm::crypto::{hmac_md5, md5, rc4};
use md4::{Digest, Md4};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Bytes of confounder that are used.
const USED: usize = 8;

/// Bytes of a check.
const MAC: usize = 16;

/// K1 (and K2, which is the same) of one usage, §5.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(super) struct Sealing {
    key: [u8; 16],
}

impl Sealing {
    pub(super) fn new(key: &[u8], usage: u32) -> Sealing {
        Sealing { key: hmac_md5(key, &[&message_type(usage).to_le_bytes()]) }
    }

    /// The check, then confounder and text under a key that comes from the check.
    pub(super) fn encrypt(&self, plain: &[u8], confounder: &[u8; CONFOUNDER]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(MAC + USED + plain.len());
        sealed.extend_from_slice(&hmac_md5(&self.key, &[&confounder[..USED], plain]));
        let cipher_key = Zeroizing::new(hmac_md5(&self.key, &[&sealed]));
        sealed.extend_from_slice(&confounder[..USED]);
        sealed.extend_from_slice(plain);
        rc4(&cipher_key, &mut sealed[MAC..]);
        sealed
    }

    pub(super) fn decrypt(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let (mac, encrypted) = sealed.split_at_checked(MAC).ok_or(CryptoError::Integrity)?;
        if encrypted.len() < USED {
            return Err(CryptoError::Integrity);
        }
        let mut text = Zeroizing::new(encrypted.to_vec());
        rc4(&Zeroizing::new(hmac_md5(&self.key, &[mac])), &mut text);
        if !bool::from(hmac_md5(&self.key, &[&text])[..].ct_eq(mac)) {
            return Err(CryptoError::Integrity);
        }
        text.drain(..USED);
        Ok(text)
    }
}

/// Ksign and the usage of a checksum, §4.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(super) struct Checksumming {
    key: [u8; 16],
    message_type: [u8; 4],
}

impl Checksumming {
    pub(super) fn new(key: &[u8], usage: u32) -> Checksumming {
        Checksumming { key: signing_key(key), message_type: message_type(usage).to_le_bytes() }
    }

    pub(super) fn checksum(&self, parts: &[&[u8]]) -> [u8; MAC] {
        let mut all = Vec::with_capacity(parts.len() + 1);
        all.push(&self.message_type[..]);
        all.extend_from_slice(parts);
        hmac_md5(&self.key, &[&md5(&all)])
    }
}

/// Key of all signatures, §4, §7.2.
pub(super) fn signing_key(key: &[u8]) -> [u8; 16] {
    hmac_md5(key, &[b"signaturekey\0"])
}

/// The NT hash, §2.
pub(super) fn key_of_password(password: &str) -> Zeroizing<[u8; 16]> {
    let text: Zeroizing<Vec<u8>> = Zeroizing::new(password.encode_utf16().flat_map(u16::to_le_bytes).collect());
    Zeroizing::new(Md4::digest(&text[..]).into())
}

/// The usages that RC4-HMAC numbers differently, §3.
fn message_type(usage: u32) -> u32 {
    match usage {
        3 => 8,
        23 => 13,
        other => other,
    }
}
