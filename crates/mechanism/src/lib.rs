//! Security mechanisms: tokens in, tokens and signatures out. They know no SIP and no HTTP.
//!
//! Old cryptography that the protocols must speak (MD4, MD5, RC4) stays inside this crate. Here now: [`ntlm`]. Kerberos
//! and TLS-DSK will be its neighbours.

pub mod ntlm;
