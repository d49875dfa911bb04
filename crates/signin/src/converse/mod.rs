//! After the sign-in: instant messages between two signed-in users. RFC 3261 §13 to §16, RFC 3428, `[MS-SIPRE]` §2.2.3
//! and §3.4 (GRUU), `[MS-SIPAE]` §3.3.
//!
//! Endpoints never speak to each other: each has one connection, to its own server, and every message on it is signed with
//! the association of that one endpoint. So the servers are proxies, and each message is signed anew for whoever gets it.
//!
//! ```text
//!  alice                 fe01                  fe03              bob (desk)    bob (home)
//!    |-- INVITE bob ------>|                     |                    |             |
//!    |<------------- 100 --|-- request, twice -->|-- INVITE --------->|             |   signed for each of the two
//!    |                     |                     |-- INVITE ---------------------->|
//!    |<------------- 180 --|<-- response --------|<------------- 180 -|             |
//!    |<------------- 200 --|<-- response --------|<------------- 200 -|             |   the first 200 wins
//!    |                     |-- cancel ---------->|-- CANCEL ---------------------->|   the others are called off
//!    |-- ACK ------------->|-- request --------->|-- ACK ------------>|             |
//!    |-- MESSAGE --------->|-- request --------->|-- MESSAGE -------->|             |
//!    |<------------- 200 --|<-- response --------|<------------- 200 -|             |
//!    |<---------- MESSAGE -|<-- request ---------|<---------- MESSAGE-|             |   either side, until BYE
//! ```
//!
//! The server of the sender (`server/origin.rs`) keeps what RFC 3261 §16.2 calls a response context: who asked, which endpoints
//! were asked, the best answer so far. The server of each endpoint asked (`server/asked.rs`) keeps only where it sent the
//! request and for whom. Between the two go [`message::Errand`]s: a message as bytes, and who it is for. Both know the dialogs
//! of their own endpoints, so that a request inside a dialog goes where its dialog leads, whatever its Route says.
//!
//! | what | answer to the sender |
//! |---|---|
//! | user unknown, or not enabled | 404, 4005 |
//! | domain that is not served | 404, 1005 |
//! | no endpoint signed in, or its connection is lost | 480, 1006 |
//! | sender blocked by the user (container 32000) | the same 480, at once: being blocked looks like being offline, as in presence |
//! | busy, do not disturb, declined | what the endpoint says: 486, 480, 603 |
//! | nobody answers in time | 408, and CANCEL to whoever was asked |
//! | dialog that is not known | 481 |
//! | REFER | 405: there are no conferences to be referred to |
//! | too much at once; too long | 503, 17000; 413, 4008 |
//!
//! | part | holds |
//! |---|---|
//! | [`content`] | texts, who is typing, session descriptions |
//! | [`message`] | errands; which requests belong here |
//! | [`server`] | the proxy |
//! | [`client`] | the conversations of one endpoint |
//!
//! Omitted: reliable provisional responses (RFC 3262) and early dialogs, which instant messages do without; redirects are
//! passed on and not followed (§16.5); federation, conferences, and copies to the sender's other endpoints.

pub mod client;
pub mod content;
pub mod message;
pub mod server;
