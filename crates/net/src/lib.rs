//! The only crate with sockets, clocks and randomness. It makes no protocol decision: it never looks at a SIP method
//! or header, never retries, and never decides whether a certificate is good enough.
//!
//! Two doors are implemented here, one per half:
//!
//! | door | implementation | what stands behind it |
//! |---|---|---|
//! | [`signin::io::Io`] | [`client::Sockets`] | DNS, TCP, proxies, TLS by OpenSSL, HTTP/1.1 on a pinned connection |
//! | [`signin::service`] | [`server::serve_sip`], [`server::serve_http`], [`server::Wires`] | listeners, TLS by rustls, limits |
//!
//! Two services of a domain stand behind traits of `signin`: its users and its verdict on NTLM answers,
//! [`active_directory`].
//!
//! The client uses OpenSSL, because it has to reach, and truthfully describe, whatever an old server offers. The
//! servers use rustls, which is several times faster at handshakes; [`server::Security::Legacy`] is for clients that
//! rustls does not serve.
//!
//! Omitted: UDP transport for SIP (Skype for Business has none), HTTP/2 (NTLM over HTTP is bound to a connection that
//! serves one request at a time), SOCKS proxies, revocation lists.

pub mod active_directory;
pub mod client;
pub mod keys;
pub mod server;
