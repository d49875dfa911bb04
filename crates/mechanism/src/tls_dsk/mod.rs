//! TLS-DSK: a TLS handshake carried in tokens, and the keys it leaves behind. `[MS-SIPAE]` §3.1, §3.2.5.1.
//!
//! ```text
//!  client                                              server
//!    │  ClientHello                                      │
//!    │──────────────────────────────────────────────────►│  Server::begin, ServerHandshake::step
//!    │      ServerHello, Certificate, CertificateRequest,│
//!    │      ServerHelloDone: one record                  │
//!    │◄──────────────────────────────────────────────────│
//!    │  Certificate, ClientKeyExchange,                  │
//!    │  CertificateVerify, ChangeCipherSpec, Finished    │
//!    │──────────────────────────────────────────────────►│  Finished: the certificate, and the keys
//!    │      ChangeCipherSpec, Finished                   │
//!    │◄──────────────────────────────────────────────────│
//!    │◄════════════ signatures, both ways ══════════════►│  MessageKeys
//! ```
//!
//! A token is a flight as TLS would put it on TCP, with nothing added. No application data ever follows. Which certificate
//! is acceptable is not asked here: the handshake proves that the client has the key of the one it shows, and whoever
//! called judges the certificate.
//!
//! The handshakes are OpenSSL's, over buffers in memory, and so is their randomness: of the two places where randomness is
//! not handed in, this is one (the other is [`crate::user_certificate`], where keys are made). Cryptography that is old
//! (TLS 1.0, CBC with SHA-1) is allowed here, by [`Policy`], because the clients there are speak nothing else; it never
//! touches the TLS of a connection.
//!
//! Not here: resumption, renegotiation, TLS 1.3 (its key schedule is not that of `[MS-SIPAE]`), RC4.

mod client;
mod keys;
mod records;
mod server;
mod transport;

pub use client::{Client, ClientHandshake, ClientStep};
pub use keys::MessageKeys;
pub use server::{Server, ServerHandshake, ServerStep};

use openssl::error::ErrorStack;
use openssl::ssl::{SslContextBuilder, SslOptions, SslSessionCacheMode, SslVersion};
use std::fmt;

/// Versions of TLS an inner handshake may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TLS 1.0, the only one that open clients speak.
    Tls10,
    /// TLS 1.1.
    Tls11,
    /// TLS 1.2.
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

/// What an inner handshake may use. The suites are AES with SHA-1 and RSA key exchange always: the hash of the suite is
/// that of the signatures, and for others no specification at hand says which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Lowest version.
    pub min: Protocol,
    /// Highest version.
    pub max: Protocol,
}

impl Default for Policy {
    /// TLS 1.0 to 1.2.
    fn default() -> Policy {
        Policy { min: Protocol::Tls10, max: Protocol::Tls12 }
    }
}

impl Policy {
    /// TLS 1.2 only: clients that speak nothing newer than 1.0 are refused.
    pub fn modern() -> Policy {
        Policy { min: Protocol::Tls12, max: Protocol::Tls12 }
    }

    fn apply(self, context: &mut SslContextBuilder) -> Result<(), ErrorStack> {
        // Level 0, since the signature of TLS 1.0 is over MD5 and SHA-1; the suites are named one by one.
        context.set_security_level(0);
        context.set_cipher_list("AES128-SHA:AES256-SHA:@SECLEVEL=0")?;
        context.set_min_proto_version(Some(self.min.version()))?;
        context.set_max_proto_version(Some(self.max.version()))?;
        context.set_session_cache_mode(SslSessionCacheMode::OFF);
        context.set_options(SslOptions::NO_TICKET | SslOptions::NO_RENEGOTIATION | SslOptions::NO_COMPRESSION);
        Ok(())
    }
}

/// What went wrong in a handshake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DskError {
    /// Our own certificate or key, or OpenSSL's configuration.
    #[error("the TLS-DSK certificate or key of this side cannot be used: {0}")]
    Setup(String),
    /// The peer's bytes are not a flight of TLS.
    #[error("the token is not a flight of TLS: {0}")]
    NotTls(&'static str),
    /// More bytes, or more flights, than a handshake has.
    #[error("the handshake is longer than any real one")]
    TooLong,
    /// A token after the end.
    #[error("the handshake is over already")]
    Over,
    /// The peer broke off with an alert.
    #[error("the other side broke off with the alert {0}")]
    Alert(String),
    /// No version or suite in common with what the peer offers.
    #[error("no TLS version or cipher suite in common: {0}")]
    NothingInCommon(String),
    /// The client showed no certificate.
    #[error("the client showed no certificate")]
    NoCertificate,
    /// Everything else that OpenSSL refuses: a wrong proof of the key, a wrong Finished, messages out of order.
    #[error("the handshake is refused: {0}")]
    Refused(String),
}

impl From<ErrorStack> for DskError {
    fn from(error: ErrorStack) -> DskError {
        DskError::Setup(error.to_string())
    }
}

#[cfg(test)]
mod tests;
