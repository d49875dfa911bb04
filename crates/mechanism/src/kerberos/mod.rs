//! Kerberos 5, both halves.
//!
//! ```text
//!  KDC                    client                         server
//!   │◄─ AS-REQ, TGS-REQ ───│                                │
//!   │── tickets ──────────►│                                │
//!                          │── AP-REQ, bare or in SPNEGO ──►│  server::Service::accept, with the keys of a keytab
//!                          │◄── AP-REP, where asked for ────│
//!                          │◄═══ signatures, both ways ════►│  mic::MessageKeys
//! ```
//!
//! | module | what | specification |
//! |---|---|---|
//! | [`name`] | principals | RFC 4120 §6 |
//! | [`crypto`] | keys, encryption, checksums | RFC 3961, RFC 3962, RFC 4757 |
//! | [`keytab`] | the keys of services, in a file | MIT Kerberos' format 0x0502 |
//! | [`mic`] | signatures of messages | RFC 4121 §4.2.6.1, RFC 4757 §7.2 |
//! | [`server`] | who a token is from | RFC 4120 §3.2.3, RFC 4121 §4.1 |
//! | [`token`] | the envelopes of all messages | RFC 2743, RFC 4178 |

pub mod crypto;
mod der;
pub mod keytab;
pub mod mic;
pub mod name;
pub mod server;
pub mod token;
