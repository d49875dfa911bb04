//! Room 4: where is your home, and where are you? RFC 3261 §10, `[MS-SIPREGE]`, `[MS-SIPRE]`.
//!
//! A server that is not the user's home answers the REGISTER that completed authentication with a signed 301; the home
//! binds the endpoint and grants a GRUU. This room owns the request and the binding; the association that signs both
//! belongs to room 3.
//!
//! | file | holds |
//! |---|---|
//! | [`endpoint`] | epid, instance id, GRUU |
//! | [`message`] | what a REGISTER asks, what its answers say |
//! | [`location`] | the binding table |
//! | [`server`] | register, redirect or refuse |
//! | [`client`] | the REGISTERs of one sign-in, and what came of them |
//!
//! Omitted: survivable mode (`ms-userservices-state-notification`), client version filter, anonymous users.

pub mod client;
pub mod endpoint;
pub mod location;
pub mod message;
pub mod server;
