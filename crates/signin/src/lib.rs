//! Skype for Business sign-in, both halves, in five rooms. Everything here is pure: time, randomness, sockets and
//! storage are handed in through two doors ([`io::Io`] for the client, [`directory::Directory`] and
//! [`service::SipService`] for the server).
//!
//! | step | room | specification |
//! |---|---|---|
//! | 1 who serves this domain? | [`discover`] | RFC 2782, `[MS-OCDISCWS]`, `[MS-OCAUTHWS]` |
//! | 2 which hop, is it the right one? | [`connect`] | RFC 3261 §18, `[MS-CONMGMT]` |
//! | 3 who is who? | [`authenticate`] | `[MS-SIPAE]`, `[MS-NLMP]` |
//! | 4 where is your home, where are you? | [`register`] | RFC 3261 §10, `[MS-SIPREGE]`, `[MS-SIPRE]` |
//! | 5 settings, contacts, presence | [`provision`] | `[MS-SIPREGE]`, `[MS-SIP]`, `[MS-PRES]` |
//! | afterwards: instant messages | [`converse`] | RFC 3261 §16, RFC 3428 |

pub mod authenticate;
pub mod client;
pub mod connect;
pub mod converse;
pub mod date_time;
pub mod directory;
pub mod discover;
pub mod http;
pub mod io;
pub mod journal;
pub mod legible;
pub mod link;
pub mod log_on;
pub mod name;
pub mod old_cryptography;
pub mod outgoing;
pub mod provision;
mod recent;
pub mod register;
pub mod reply;
pub mod report;
mod round;
pub mod secret;
pub mod server;
pub mod service;
pub mod session;
pub mod stay;
pub mod tickets;
pub mod topology;
pub mod web;
pub mod web_ticket;
pub mod xml;

#[cfg(test)]
mod testing;
