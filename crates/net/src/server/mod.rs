//! The servers' side: listeners that call a [`signin::service`], and what a service needs around it.
//!
//! | part | is |
//! |---|---|
//! | [`serve_sip`] | SIP over TCP or TLS: streams cut into messages, answers gathered into one write per batch |
//! | [`serve_http`] | HTTP/1.1 over TCP or TLS: one conversation per connection |
//! | [`serve_kdc`] | UDP and TCP for a KDC: one request, one answer |
//! | [`Wires`] | where a service sends: a queue per connection, limited in bytes |
//! | [`Identity`] | a certificate with its key, and the TLS settings made from it |
//! | [`probe_peers`] | keeps a [`signin::topology::Liveness`] up to date |
//! | [`SystemSurroundings`] | clock and randomness |

mod accept;
mod connection;
mod http;
mod kdc;
mod liveness;
mod patience;
mod sip;
mod strangers;
mod surroundings;
mod tls;
mod wires;

pub use accept::{ListenerLimits, Serving, listen};
pub use http::{HttpLimits, serve_http};
pub use kdc::{ServingKdc, serve_kdc};
pub use liveness::{Probing, probe_peers};
pub use sip::{SipLimits, serve_sip};
pub use strangers::HeldLimits;
pub use surroundings::SystemSurroundings;
pub use tls::{Identity, IdentityError, Security};
pub use wires::Wires;
