//! User certificates: how a client gets the one it authenticates with in TLS-DSK, and which ones count. `[MS-OCAUTHWS]`.
//!
//! | file | holds |
//! |---|---|
//! | [`published`] | where servers keep the certificates they accept |
//! | [`judge`] | which certificates are good |

pub mod judge;
pub mod published;
