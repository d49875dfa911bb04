//! NTLM version 2, both halves. `[MS-NLMP]`.
//!
//! ```text
//!  client                              server
//!    │  NEGOTIATE (Connection only)      │
//!    │──────────────────────────────────►│  Acceptor::challenge_message
//!    │◄──────────────────────────────────│  CHALLENGE
//!    │  answer() ───── AUTHENTICATE ────►│  Acceptor::read_answer → NtHash::session_base_key → Acceptor::finish
//!    │◄═══════ signatures, both ways ═══►│  SigningKeys
//! ```
//!
//! SIP uses the connectionless (datagram) form: there is no NEGOTIATE, and every signature uses sequence number 100 with
//! the RC4 key made anew for each message, since messages may be lost or overtake each other. HTTP uses the connection
//! oriented form and needs no signatures.
//!
//! Refused, each with its own error: LM and NTLM version 1 answers, anonymous ones, keys weaker than 128 bits. Not here:
//! sealing (encryption) of messages.

pub mod client;
pub(crate) mod crypto;
mod keys;
pub mod message;
pub mod server;

pub use client::{Answered, Credentials, Entropy, Purpose, answer, answer_for, negotiate};
pub use crypto::{NtHash, WrongAnswer};
pub use keys::SigningKeys;
pub use message::NtlmError;
pub use server::{Acceptor, Answer, TargetNames};

/// Which form of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Connectionless: no NEGOTIATE, sequence number 100, keys made anew for each message.
    Datagram,
    /// NEGOTIATE, CHALLENGE, AUTHENTICATE on one connection.
    Connection,
}

#[cfg(test)]
mod tests;
