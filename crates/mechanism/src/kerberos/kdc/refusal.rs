//! Why a request is refused: the codes of RFC 4120 §7.5.9, and words for whoever reads a log.

use super::database::Unavailable;
use crate::kerberos::der::Malformed;
use crate::kerberos::message::Unreadable;

/// A refusal, and what goes with it (METHOD-DATA).
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: i32,
    pub(super) words: &'static str,
    pub(super) data: Option<Vec<u8>>,
}

const fn refuse(code: i32, words: &'static str) -> Refusal {
    Refusal { code, words, data: None }
}

pub(super) const NO_CLIENT: Refusal = refuse(6, "the client is not known");
pub(super) const NO_SERVICE: Refusal = refuse(7, "the service is not known");
pub(super) const NEVER_VALID: Refusal = refuse(11, "the ticket would end before it starts");
pub(super) const BAD_OPTION: Refusal = refuse(13, "this KDC does not do that");
pub(super) const NO_ETYPE: Refusal = refuse(14, "no common encryption type");
pub(super) const REVOKED: Refusal = refuse(18, "the account is disabled");
pub(super) const SERVICE_REVOKED: Refusal = refuse(19, "the service is disabled");
pub(super) const PREAUTH_FAILED: Refusal = refuse(24, "the password is not right");
pub(super) const BUSY: Refusal = refuse(29, "too many requests at this time");
pub(super) const UNAVAILABLE: Refusal = refuse(29, "nobody can tell at this time who there is");
pub(super) const BAD_INTEGRITY: Refusal = refuse(31, "the authenticator cannot be opened");
pub(super) const EXPIRED: Refusal = refuse(32, "the ticket has expired");
pub(super) const NOT_YET: Refusal = refuse(33, "the ticket is not valid yet");
pub(super) const REPEATED: Refusal = refuse(34, "the request was seen before");
pub(super) const BAD_MATCH: Refusal = refuse(36, "ticket and authenticator are of different users");
pub(super) const SKEWED: Refusal = refuse(37, "the clocks differ too much");
pub(super) const MODIFIED: Refusal = refuse(41, "the request was altered");
pub(super) const BAD_CHECKSUM: Refusal = refuse(50, "the checksum is of the wrong kind");
pub(super) const TOO_BIG: Refusal = refuse(52, "the answer does not fit into a datagram");
pub(super) const GENERIC: Refusal = refuse(60, "the request cannot be read");
pub(super) const WRONG_REALM: Refusal = refuse(68, "this KDC is of another realm");

/// 25, with what a proof can be.
pub(super) fn preauth_required(methods: Vec<u8>) -> Refusal {
    Refusal { code: 25, words: "pre-authentication required", data: Some(methods) }
}

impl From<Unreadable> for Refusal {
    fn from(unreadable: Unreadable) -> Refusal {
        match unreadable {
            Unreadable::Malformed(_) => GENERIC,
            Unreadable::EncryptionType(..) => NO_ETYPE,
        }
    }
}

impl From<Unavailable> for Refusal {
    fn from(_: Unavailable) -> Refusal {
        UNAVAILABLE
    }
}

impl From<Malformed> for Refusal {
    fn from(_: Malformed) -> Refusal {
        GENERIC
    }
}
