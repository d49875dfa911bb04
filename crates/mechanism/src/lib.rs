//! Security mechanisms: tokens in, tokens and signatures out. They know no SIP and no HTTP.
//!
//! | module | mechanism | specification |
//! |---|---|---|
//! | [`ntlm`] | NTLM version 2 | `[MS-NLMP]` |
//! | [`kerberos`] | Kerberos 5: tickets, GSS tokens, message signatures, a KDC | RFC 4120, RFC 4121, RFC 4757, RFC 4178 |
//! | [`tls_dsk`] | TLS-DSK: a TLS handshake in tokens, and the keys it leaves | `[MS-SIPAE]` §3.1, RFC 5705 |
//! | [`channel_bindings`] | what ties a proof to a TLS connection | RFC 5929, RFC 2744 |
//! | [`user_certificate`] | the certificates TLS-DSK is about: requests and issuing | RFC 2986, RFC 5280 |
//!
//! Old cryptography that the protocols must speak (MD4, MD5, RC4, SHA-1, TLS 1.0) stays inside this crate.

pub mod channel_bindings;
pub mod kerberos;
pub mod ntlm;
pub mod tls_dsk;
pub mod user_certificate;

/// Who made a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client.
    Client,
    /// The server.
    Server,
}
