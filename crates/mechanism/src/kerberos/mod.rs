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

pub mod crypto;
pub mod name;
