//! "Is this NTLM answer right?" The one question whose answer needs the password's hash, and so the one trait behind
//! which the own directory or a domain controller stands.

use crate::directory::DirectoryError;
use crate::io::Pending;
use crate::name::{AccountName, Aor};
use crate::reply::Diagnostics;
use zeroize::Zeroizing;

/// What an AUTHENTICATE message claims, and the challenge it answers. `[MS-NLMP]` §3.3.2.
#[derive(Debug, Clone)]
pub struct NtlmQuestion {
    /// User and domain exactly as in the message: both enter the response.
    pub account: AccountName,
    /// The 8 bytes this server sent.
    pub server_challenge: [u8; 8],
    /// The whole NT response: proof (16 bytes) and what it proves.
    pub nt_response: Vec<u8>,
}

/// The answer was right.
#[derive(Debug, Clone)]
pub struct NtlmProof {
    /// The account that proved itself, as the directory names it.
    pub account: AccountName,
    /// Session base key, 16 bytes: from it both sides derive the keys that sign messages.
    pub session_base_key: Zeroizing<[u8; 16]>,
}

/// Who proved himself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Identity {
    /// An account, by password or ticket.
    Account(AccountName),
    /// The holder of a certificate that was issued to this address.
    Address(Aor),
}

/// What a handshake's last token brought was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Wrong password, unknown or disabled account. Which one stays in the server's log.
    #[error("the credentials are not right: {why}")]
    Credentials {
        /// For the log of the server, never for the peer.
        why: String,
    },
    /// The client's clock and ours differ by more than the mechanism allows.
    #[error("the client's clock is off by {seconds} s")]
    ClockSkew {
        /// By how much.
        seconds: u64,
    },
    /// Nobody could tell.
    #[error(transparent)]
    Unavailable(#[from] DirectoryError),
}

impl Refusal {
    /// What the peer is told.
    pub fn diagnostics(&self) -> Diagnostics {
        match self {
            Refusal::ClockSkew { .. } => {
                Diagnostics::public(1013, "Significant time skew detected during authentication")
            }
            Refusal::Credentials { .. } | Refusal::Unavailable(_) => {
                Diagnostics::public(1000, "Final handshake failed")
            }
        }
    }
}

/// Verifies NTLM answers. Implementations take the same time whether the account exists or not.
pub trait NtlmVerifier: Send + Sync {
    /// Checks one answer.
    fn verify(&self, question: NtlmQuestion) -> Pending<'_, Result<NtlmProof, Refusal>>;
}
