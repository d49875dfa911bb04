//! Which versions and suites an inner handshake may have.

use super::DskError;
use super::keys::SignatureHash;
use openssl::ssl::{SslContextBuilder, SslOptions, SslRef, SslSessionCacheMode, SslVersion};
use std::fmt;

/// Versions of TLS an inner handshake may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TLS 1.0 (RFC 2246), the only one that open clients speak.
    Tls10,
    /// TLS 1.1 (RFC 4346).
    Tls11,
    /// TLS 1.2 (RFC 5246).
    Tls12,
}

impl Protocol {
    fn version(self) -> SslVersion {
        match self {
            Protocol::Tls10 => SslVersion::TLS1,
            Protocol::Tls11 => SslVersion::TLS1_1,
            Protocol::Tls12 => SslVersion::TLS1_2,
        }
    }

    /// The one that was agreed on, after a handshake.
    pub(super) fn of(ssl: &SslRef) -> Option<Protocol> {
        [Protocol::Tls10, Protocol::Tls11, Protocol::Tls12]
            .into_iter()
            .find(|protocol| ssl.version2() == Some(protocol.version()))
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tls10 => "TLS 1.0",
            Protocol::Tls11 => "TLS 1.1",
            Protocol::Tls12 => "TLS 1.2",
        })
    }
}

/// Suites an inner handshake may have: RSA key exchange, AES in CBC mode, HMAC-SHA1. RFC 3268, RFC 5246 appendix A.5.
///
/// There are no others because the hash of the suite is that of the signatures that follow, and for suites with SHA-2 or
/// without a MAC of their own no specification at hand says which it is. Every known client offers these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suite {
    /// TLS_RSA_WITH_AES_128_CBC_SHA, 0x002F.
    Aes128Sha,
    /// TLS_RSA_WITH_AES_256_CBC_SHA, 0x0035.
    Aes256Sha,
}

impl Suite {
    fn openssl_name(self) -> &'static str {
        match self {
            Suite::Aes128Sha => "AES128-SHA",
            Suite::Aes256Sha => "AES256-SHA",
        }
    }

    /// Its number on the wire.
    pub fn id(self) -> u16 {
        match self {
            Suite::Aes128Sha => 0x002F,
            Suite::Aes256Sha => 0x0035,
        }
    }

    /// Hash of the signatures that follow a handshake with this suite.
    pub fn signature_hash(self) -> SignatureHash {
        match self {
            Suite::Aes128Sha | Suite::Aes256Sha => SignatureHash::Sha1,
        }
    }

    /// The one that was agreed on, after a handshake.
    pub(super) fn of(ssl: &SslRef) -> Option<Suite> {
        let id = u16::from_be_bytes(ssl.current_cipher()?.protocol_id());
        [Suite::Aes128Sha, Suite::Aes256Sha].into_iter().find(|suite| suite.id() == id)
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Suite::Aes128Sha => "TLS_RSA_WITH_AES_128_CBC_SHA",
            Suite::Aes256Sha => "TLS_RSA_WITH_AES_256_CBC_SHA",
        })
    }
}

/// What an inner handshake may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Lowest version.
    pub min: Protocol,
    /// Highest version.
    pub max: Protocol,
    /// Suites. A client offers them in this order; a server takes the first of the client's that is among them.
    pub suites: &'static [Suite],
}

impl Default for Policy {
    /// TLS 1.0 to 1.2, both suites.
    fn default() -> Policy {
        Policy { min: Protocol::Tls10, max: Protocol::Tls12, suites: &[Suite::Aes128Sha, Suite::Aes256Sha] }
    }
}

impl Policy {
    /// TLS 1.2 only, with no signature over MD5 or SHA-1 and no RSA key below 2048 bits of this side. Clients that speak
    /// nothing newer than TLS 1.0, which all open ones are, are refused.
    pub fn modern() -> Policy {
        Policy { min: Protocol::Tls12, ..Policy::default() }
    }

    pub(super) fn apply(self, context: &mut SslContextBuilder) -> Result<(), DskError> {
        if self.min > self.max || self.suites.is_empty() {
            return Err(DskError::Setup("the policy allows no version or no suite".to_owned()));
        }
        // Before TLS 1.2, signatures are over MD5 and SHA-1 together, which OpenSSL has at level 0 only. Level 2 is what
        // distributions choose for TLS 1.2.
        let level = if self.min < Protocol::Tls12 { 0 } else { 2 };
        let suites: Vec<&str> = self.suites.iter().map(|suite| suite.openssl_name()).collect();
        context.set_cipher_list(&format!("{}:@SECLEVEL={level}", suites.join(":")))?;
        context.set_min_proto_version(Some(self.min.version()))?;
        context.set_max_proto_version(Some(self.max.version()))?;
        context.set_session_cache_mode(SslSessionCacheMode::OFF);
        context.set_options(SslOptions::NO_TICKET | SslOptions::NO_RENEGOTIATION | SslOptions::NO_COMPRESSION);
        Ok(())
    }
}
