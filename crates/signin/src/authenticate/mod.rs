//! Room 3: who is who? `[MS-SIPAE]`.
//!
//! The first REGISTER draws a 401 with one challenge for each mechanism of the side asked. The mechanism's tokens travel
//! in `gssapi-data`; when they have established keys, a *security association* is up and every message in either
//! direction carries a signature over a fixed list of its headers.
//!
//! | file | holds |
//! |---|---|
//! | [`message`] | the three headers, parse and print |
//! | [`signing`] | the text a signature covers |
//! | [`association`] | keys in use, numbers seen |
//! | [`throttle`] | guessing, slowed down |
//! | [`verifier`] | who can tell whether an NTLM answer is right |
//! | [`offer`] | what a server offers, and how it asks about tokens |
//! | [`claim`] | who a request says it is from |
//! | [`server`] | challenge, handshake, check of every request |
//! | `handshakes` | those under way at a server |
//! | `in_use` | the associations of a server, and how long each lasts |
//! | [`cause`] | what a server may say itself of why it refused |
//! | [`certificate`] | user certificates: getting one, issuing one, which ones count |
//! | [`client`] | choice of scheme, handshake, signing and checking |
//! | [`keyring`] | where a client keeps its user's certificate |
//!
//! Kerberos takes two REGISTERs, NTLM three, TLS-DSK four. Protocol versions 4 and, of the client's half, 3: servers take no
//! handshake whose last leg is not signed.

pub mod association;
pub mod cause;
pub mod certificate;
pub mod claim;
pub mod client;
mod handshakes;
mod in_use;
pub mod keyring;
pub mod message;
pub mod offer;
pub mod server;
pub mod signing;
pub mod throttle;
pub mod verifier;
