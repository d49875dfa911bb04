//! Room 2: which hop, and is it the right one? RFC 3261 §18, RFC 6125, `[MS-CONMGMT]`.
//!
//! Discovery names a host and its addresses. This room opens TCP to one of them after the other, then TLS, and says of
//! the peer's certificate everything that is wrong with it, each defect told apart. What it hands on is an open
//! connection to the server that was meant, or a failure that says which device on the way is at fault.
//!
//! ```text
//! addresses  a1  refused ─┐
//!            a2  TCP open ─ TLS ─ certificate bad ─┐          no address left: the furthest failure is the verdict
//!            a3  TCP open ─ TLS ─ certificate good ─┴─ open   a2 becomes a remark
//! proxy      CONNECT host:443, only when no address answered
//! ```
//!
//! | file | holds |
//! |---|---|
//! | [`certificate`] | what a certificate says, and RFC 6125 name matching |
//! | [`judgement`] | the defects of a chain |
//! | [`client`] | addresses in turn, TLS, the proxy |
//! | [`failure`] | why no connection came about |
//! | [`keep_alive`] | the `ms-keep-alive` header |
//!
//! Deliberately absent: revocation lists and OCSP (what OpenSSL reports of them is passed on), client certificates,
//! proxy configuration scripts, SIP over UDP.

pub mod certificate;
pub mod client;
pub mod failure;
pub mod judgement;
pub mod keep_alive;

pub use client::{Hop, Limits, Open, Proxy, open};
pub use failure::{Attempt, ConnectFailure, Fault, Peer};
pub use judgement::{Defect, Judgement, judge};
pub use keep_alive::KeepAlive;

#[cfg(test)]
mod tests;
