//! The keys a handshake leaves, and the signatures made with them. `[MS-SIPAE]` §3.2.5.1, RFC 2716 §3.5, RFC 5705.

use super::DskError;
use crate::Side;
use hmac::{Hmac, KeyInit, Mac};
use openssl::ssl::SslRef;
use sha1::Sha1;
use std::fmt;
use zeroize::Zeroizing;

/// Label of the exporter; the same as for EAP-TLS.
const LABEL: &str = "client EAP encryption";

/// Bytes exported: four keys of 32 bytes, of which the third and the fourth are used.
const EXPORTED: usize = 128;

/// The keys of an association, both directions: HMAC-SHA1, 20 bytes, as the hash of every suite in the policy is SHA-1.
/// Prints nothing; wiped when dropped.
pub struct MessageKeys {
    client: Hmac<Sha1>,
    server: Hmac<Sha1>,
}

impl MessageKeys {
    /// From a finished handshake.
    pub(super) fn of(ssl: &SslRef) -> Result<MessageKeys, DskError> {
        let mut block = Zeroizing::new([0; EXPORTED]);
        // No context: an empty one would give other bytes.
        ssl.export_keying_material(&mut block[..], LABEL, None)?;
        Ok(MessageKeys::of_block(&block))
    }

    pub(super) fn of_block(block: &[u8; EXPORTED]) -> MessageKeys {
        let key = |bytes: &[u8]| Hmac::new_from_slice(bytes).expect("HMAC takes keys of every length");
        MessageKeys { client: key(&block[64..96]), server: key(&block[96..128]) }
    }

    /// Signs a text: 20 bytes.
    pub fn sign(&self, by: Side, text: &[u8]) -> Vec<u8> {
        let mut mac = self.of_side(by).clone();
        mac.update(text);
        mac.finalize().into_bytes().to_vec()
    }

    /// Whether `mac` is the signature of `text`, in constant time.
    pub fn verify(&self, by: Side, text: &[u8], mac: &[u8]) -> bool {
        let mut own = self.of_side(by).clone();
        own.update(text);
        own.verify_slice(mac).is_ok()
    }

    fn of_side(&self, side: Side) -> &Hmac<Sha1> {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }
}

impl fmt::Debug for MessageKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessageKeys(…)")
    }
}
