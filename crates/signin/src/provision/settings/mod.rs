//! Settings: in-band provisioning and dial plans. `[MS-SIPREGE]` §2.2.2, `[MS-SIPRE]` §2.2.8, §3.8.
//!
//! Deliberately absent: the publication grammars (only the desktop client reads them) and URLs of services that are
//! not offered (address book, conferencing, media relay); a client that is not told of them does not ask them.

pub mod location_profile;
pub mod message;
pub mod normalization;
pub(super) mod server;
