//! SIP as RFC 3261 has it, and nothing Microsoft: messages, URIs, framing, transactions, dialogs.
//!
//! Everything here is a pure function of bytes: no sockets, no clocks, no randomness. Two views of one
//! message live side by side, as a tracer and a signer both need them:
//!
//! * [`Message`] is *lossless*: it borrows the received text, keeps order, spelling, case and folding of every
//!   header, and exists for anything that can be cut into a start line and headers.
//! * [`uri`], [`header`] understand single values *strictly*; each understanding can fail alone.
//!
//! What we send is written with a [`Draft`].

pub mod dialog;
pub mod draft;
pub mod framing;
mod head;
pub mod header;
pub mod message;
mod name;
mod scan;
mod spelling;
mod token;
pub mod transaction;
pub mod uri;

pub use draft::Draft;
pub use header::{CSeq, NameAddr, Params, Via};
pub use message::{Header, Message, ParseError, StartLine};
pub use name::Name;
pub use uri::Uri;
