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
//! | [`client`] | from a password or a ticket to a token | RFC 4120 §3 |
//! | [`ticket_cache`] | the tickets that `kinit` leaves | MIT Kerberos' format 0x0504 |
//! | [`kdc`] | a small KDC for labs | RFC 4120 §3.1, §3.3 |

pub mod client;
pub mod crypto;
mod der;
pub mod kdc;
pub mod keytab;
mod message;
pub mod mic;
pub mod name;
pub mod server;
pub mod ticket_cache;
pub mod token;

pub use client::{ApOptions, ApRequest, AsExchange, AsStep, AwaitingApReply, Credential, KerberosError, TgsExchange};
pub use mic::{MessageKeys, PerMessageCalls};
pub use server::{Refusal, ReplayCache, Service};
pub use ticket_cache::TicketCache;

/// A point in time, as Kerberos tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Seconds since 1970, UTC.
    pub unix_seconds: i64,
    /// And so many microseconds; they only keep two requests of one second apart.
    pub microseconds: u32,
}

#[cfg(test)]
mod exchange_tests;
