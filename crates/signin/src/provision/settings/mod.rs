//! Settings: in-band provisioning and dial plans. `[MS-SIPREGE]` §2.2.2, `[MS-SIPRE]` §2.2.8, §3.8.
//!
//! | part | holds |
//! |---|---|
//! | [`catalogue`] | every group and property, with kind and default |
//! | [`message`] | the request for groups and the answer |
//! | [`typed`] | the answer as the client understands it |
//! | [`location_profile`] | a dial plan on the wire |
//! | [`normalization`] | what a dial plan makes of what is dialled |
//!
//! A subscription to settings is always a poll: a change of policy is seen at the next sign-in or poll.
//!
//! Deliberately absent: publication grammars of our own (an administrator can set them; only the desktop client reads
//! them), and defaults for services that are not offered (address book, conferencing, media relay).

pub mod catalogue;
pub mod location_profile;
pub mod message;
pub mod normalization;
pub(super) mod server;
pub mod typed;
