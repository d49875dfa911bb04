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
//! A token is a flight as TLS would put it on TCP, whole, with nothing added. No application data ever follows. Which
//! certificate is acceptable is not asked here: the handshake proves that the client has the key of the one it shows, and
//! whoever called judges the certificate.
//!
//! The handshakes are OpenSSL's, over buffers in memory, and so is their randomness: of the two places where randomness is
//! not handed in, this is one (the other is [`crate::user_certificate`], where keys are made). Cryptography that is old
//! (TLS 1.0, CBC with SHA-1) is allowed here, by [`Policy`], because there are clients that speak nothing else; the TLS of
//! a connection knows nothing of it.
//!
//! Not here: resumption, renegotiation, TLS 1.3 (its key schedule is not that of `[MS-SIPAE]`), RC4.

mod client;
mod error;
mod hello;
mod keys;
mod policy;
mod records;
mod server;
mod transport;

pub use client::{Client, ClientHandshake, ClientStep};
pub use error::{DskError, alert_name};
pub use keys::{MessageKeys, SignatureHash};
pub use policy::{Policy, Protocol, Suite};
pub use server::{Server, ServerHandshake, ServerStep};

#[cfg(test)]
mod tests;
