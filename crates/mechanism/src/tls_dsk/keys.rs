//! The keys a handshake leaves, and the signatures made with them. `[MS-SIPAE]` §3.2.5.1, RFC 2716 §3.5, RFC 5705.

use super::DskError;
use crate::Side;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use openssl::ssl::SslRef;
use sha1::Sha1;
use std::fmt;
use zeroize::Zeroizing;

/// Label of the exporter; the same as for EAP-TLS.
const LABEL: &str = "client EAP encryption";

/// Bytes exported: four keys of 32 bytes, of which the third is the client's and the fourth the server's.
const EXPORTED: usize = 128;

/// Hash of the signatures: that of the MAC of the suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureHash {
    /// HMAC-MD5, 16 bytes: the suites whose names end in MD5, which no handshake here has, but others' have.
    Md5,
    /// HMAC-SHA1, 20 bytes: the suites whose names end in SHA.
    Sha1,
}

/// The keys of an association, both directions. Prints nothing; wiped when dropped.
pub struct MessageKeys(Keyed);

/// With the key of each direction in its place in the HMAC, which would be half the work of every signature.
enum Keyed {
    Md5(Directions<Hmac<Md5>>),
    Sha1(Directions<Hmac<Sha1>>),
}

struct Directions<M> {
    client: M,
    server: M,
}

impl MessageKeys {
    /// From a finished handshake.
    pub(super) fn of(ssl: &SslRef, hash: SignatureHash) -> Result<MessageKeys, DskError> {
        let mut block = Zeroizing::new([0; EXPORTED]);
        // No context: an empty one would give other bytes.
        ssl.export_keying_material(&mut block[..], LABEL, None)?;
        Ok(MessageKeys::from_exported(&block, hash))
    }

    /// From the 128 bytes that the handshake exports with the label `client EAP encryption` and no context. For a handshake
    /// that took place elsewhere.
    pub fn from_exported(block: &[u8; 128], hash: SignatureHash) -> MessageKeys {
        MessageKeys(match hash {
            SignatureHash::Md5 => Keyed::Md5(Directions::keyed(block)),
            SignatureHash::Sha1 => Keyed::Sha1(Directions::keyed(block)),
        })
    }

    /// Signs a text: 20 bytes with SHA-1, 16 with MD5.
    pub fn sign(&self, by: Side, text: &[u8]) -> Vec<u8> {
        match &self.0 {
            Keyed::Md5(keys) => keys.over(by, text).finalize().into_bytes().to_vec(),
            Keyed::Sha1(keys) => keys.over(by, text).finalize().into_bytes().to_vec(),
        }
    }

    /// Whether `mac` is the signature of `text`, in constant time.
    pub fn verify(&self, by: Side, text: &[u8], mac: &[u8]) -> bool {
        match &self.0 {
            Keyed::Md5(keys) => keys.over(by, text).verify_slice(mac).is_ok(),
            Keyed::Sha1(keys) => keys.over(by, text).verify_slice(mac).is_ok(),
        }
    }
}

impl<M: Mac + KeyInit + Clone> Directions<M> {
    fn keyed(block: &[u8; EXPORTED]) -> Directions<M> {
        let key = |bytes| <M as KeyInit>::new_from_slice(bytes).expect("HMAC takes keys of every length");
        Directions { client: key(&block[64..96]), server: key(&block[96..128]) }
    }

    fn over(&self, by: Side, text: &[u8]) -> M {
        let mut mac = match by {
            Side::Client => self.client.clone(),
            Side::Server => self.server.clone(),
        };
        mac.update(text);
        mac
    }
}

impl fmt::Debug for MessageKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessageKeys(…)")
    }
}
