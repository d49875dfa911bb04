//! Records of a sign-in and what is read from them. This crate only observes: it changes nothing and decides nothing.
//!
//! The client does everything through one door, [`signin::io::Io`]. Whoever stands in that door sees the whole sign-in:
//!
//! ```text
//!  sign-in ──► Recorder ──► sockets          what was asked and answered becomes a Record
//!  sign-in ──► Replay   ──► (a Record)       the same questions get the same answers, at the same times
//!              Record   ──► Ladder ──► text  who said what to whom, as a pure function of the record
//! ```
//!
//! | file | holds |
//! |---|---|
//! | [`record`] | the record and its file: JSON Lines |
//! | [`recorder`] | an `Io` that writes down what passes through it |
//! | [`replay`] | an `Io` that answers from a record; an executor without a runtime |
//! | [`ladder`] | the call flow, first as data, then as text |
//!
//! A record holds what was on the wire, the randomness the client used and the words it showed. With the randomness,
//! the keys of that one session can be computed by whoever also knows the password; the password itself never passes
//! the door. Web tickets open what they are for until they end. Treat a record like a capture of the decrypted
//! connection; [`Record::without_randomness`] is one to be kept or given away, which has neither.
//!
//! Deliberately absent: reading captures and foreign logs, findings (a later issue), SVG.

pub mod ladder;
pub mod record;
pub mod recorder;
mod redaction;
pub mod replay;

pub use ladder::Ladder;
pub use record::{Entry, Header, ReadError, Record, What};
pub use recorder::Recorder;
pub use replay::{Difference, Replay, Stuck, run};
