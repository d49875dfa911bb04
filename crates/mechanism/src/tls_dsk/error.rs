//! What goes wrong in a handshake, by who has to change something.

use super::policy::{Policy, Suite};
use openssl::error::ErrorStack;
use openssl::ssl::ErrorCode;

/// What went wrong in a handshake. Each variant says who is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DskError {
    /// Ours: the certificate, the key or the policy of this side, or OpenSSL itself.
    #[error("the TLS-DSK certificate, key or policy of this side cannot be used: {0}")]
    Setup(String),
    /// The peer's, or of whatever changed the token on its way: these bytes are not a flight of TLS.
    #[error("the token is not a flight of TLS: {0}")]
    NotTls(&'static str),
    /// The peer's: the flight ends before everything is in it that this side has to answer.
    #[error("the token holds only a part of a flight")]
    Incomplete,
    /// The peer's: more bytes, or more flights, than a handshake has.
    #[error("the handshake is longer than any real one")]
    TooLong,
    /// The caller's or the peer's: a token after the end, or after an error.
    #[error("the handshake is over already")]
    Over,
    /// The peer broke off and said why. RFC 5246 §7.2.
    #[error("the other side broke off with the alert {number} ({name})")]
    Alert {
        /// Its number.
        number: u8,
        /// Its name.
        name: &'static str,
    },
    /// Of whoever hardened one side and not the other: no version in common.
    #[error("no TLS version in common: the other side has {}, this side allows {} to {}", versions(.theirs), .ours.min, .ours.max)]
    NoCommonVersion {
        /// Versions the client offers (the highest, where it names no list), or the one the server chose, as on the wire.
        theirs: Vec<u16>,
        /// What this side allows.
        ours: Policy,
    },
    /// Of whoever hardened one side and not the other: no suite in common.
    #[error("no cipher suite in common: the other side has {}, this side allows {}", numbers(.theirs), suites(.ours.suites))]
    NoCommonSuite {
        /// Suites the client offers (the first of them, where there are many), or the one the server chose, as on the wire.
        theirs: Vec<u16>,
        /// What this side allows.
        ours: Policy,
    },
    /// The client's: it showed no certificate, because it has none, or none that it takes to be wanted.
    #[error("the client showed no certificate")]
    NoCertificate,
    /// The server's: it asked for no certificate, or for none of the kind that this client has, and so cannot learn who it is.
    #[error("the server asks for no certificate such as this client's")]
    NotAsked,
    /// The client's: it does not have the key of the certificate it showed, or signed something else. RFC 5246 §7.4.8.
    #[error("the client does not prove that it has the key of its certificate")]
    WrongProof,
    /// Of the peer, or of whatever changed a token on its way: the Finished does not fit what was exchanged.
    #[error("the two sides did not see the same handshake: the Finished is wrong")]
    WrongFinished,
    /// The peer's: messages missing, twice or in another order.
    #[error("the messages of the handshake are out of order")]
    OutOfOrder,
    /// The peer's: anything else that OpenSSL refuses, with its reason.
    #[error("the handshake is refused: {0}")]
    Refused(String),
}

impl From<ErrorStack> for DskError {
    fn from(error: ErrorStack) -> DskError {
        DskError::Setup(error.to_string())
    }
}

/// What OpenSSL found, before it is known what the peer said in its hello.
pub(super) enum Found {
    /// Tells all there is to tell.
    Error(DskError),
    /// The versions do not meet.
    Version,
    /// The suites do not meet.
    Suite,
}

/// OpenSSL's reasons, read. Its queue holds the cause first and what it made of it afterwards.
pub(super) fn found(error: &openssl::ssl::Error) -> Found {
    if error.code() == ErrorCode::ZERO_RETURN {
        return Found::Error(alert(0));
    }
    let stack = error.ssl_error().map(ErrorStack::errors).unwrap_or_default();
    let of_tls = || stack.iter().filter(|error| error.library_code() == ERR_LIB_SSL);
    of_tls().find_map(|error| known(error.reason_code())).unwrap_or_else(|| {
        let reason = of_tls().next().or(stack.first()).and_then(|error| error.reason());
        Found::Error(DskError::Refused(reason.unwrap_or("no reason is given").to_owned()))
    })
}

fn known(reason: i32) -> Option<Found> {
    Some(match reason {
        UNSUPPORTED_PROTOCOL | UNKNOWN_PROTOCOL | VERSION_TOO_LOW | VERSION_TOO_HIGH | WRONG_SSL_VERSION => {
            Found::Version
        }
        NO_SHARED_CIPHER | UNKNOWN_CIPHER_RETURNED | WRONG_CIPHER_RETURNED => Found::Suite,
        PEER_DID_NOT_RETURN_A_CERTIFICATE => Found::Error(DskError::NoCertificate),
        BAD_SIGNATURE | WRONG_SIGNATURE_SIZE | WRONG_SIGNATURE_TYPE => Found::Error(DskError::WrongProof),
        DIGEST_CHECK_FAILED | DECRYPTION_FAILED | DECRYPTION_FAILED_OR_BAD_RECORD_MAC => {
            Found::Error(DskError::WrongFinished)
        }
        UNEXPECTED_MESSAGE | CCS_RECEIVED_EARLY | GOT_A_FIN_BEFORE_A_CCS => Found::Error(DskError::OutOfOrder),
        _ => Found::Error(alert(reason.checked_sub(ALERTS).and_then(|number| u8::try_from(number).ok())?)),
    })
}

/// `ERR_LIB_SSL` of OpenSSL's err.h.
const ERR_LIB_SSL: i32 = 20;

// Reasons of OpenSSL's sslerr.h.
const BAD_SIGNATURE: i32 = 123;
const CCS_RECEIVED_EARLY: i32 = 133;
const DECRYPTION_FAILED: i32 = 147;
const DIGEST_CHECK_FAILED: i32 = 149;
const GOT_A_FIN_BEFORE_A_CCS: i32 = 154;
const VERSION_TOO_HIGH: i32 = 166;
const NO_SHARED_CIPHER: i32 = 193;
const PEER_DID_NOT_RETURN_A_CERTIFICATE: i32 = 199;
const UNEXPECTED_MESSAGE: i32 = 244;
const UNKNOWN_CIPHER_RETURNED: i32 = 248;
const UNKNOWN_PROTOCOL: i32 = 252;
const UNSUPPORTED_PROTOCOL: i32 = 258;
const WRONG_CIPHER_RETURNED: i32 = 261;
const WRONG_SIGNATURE_SIZE: i32 = 265;
const WRONG_SSL_VERSION: i32 = 266;
const DECRYPTION_FAILED_OR_BAD_RECORD_MAC: i32 = 281;
const WRONG_SIGNATURE_TYPE: i32 = 370;
const VERSION_TOO_LOW: i32 = 396;
/// A received alert is this and its number (`SSL_AD_REASON_OFFSET`).
const ALERTS: i32 = 1000;

/// An alert by its number, with its name.
pub(super) fn alert(number: u8) -> DskError {
    DskError::Alert { number, name: alert_name(number).unwrap_or("without a name") }
}

/// Name of a TLS alert. RFC 5246 §7.2, RFC 8446 §6, RFC 6066, RFC 7301.
pub fn alert_name(number: u8) -> Option<&'static str> {
    let name = match number {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        60 => "export_restriction",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        111 => "certificate_unobtainable",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        114 => "bad_certificate_hash_value",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        _ => return None,
    };
    Some(name)
}

fn versions(theirs: &[u16]) -> String {
    let named = |version: &u16| match version {
        0x0300 => "SSL 3.0".to_owned(),
        0x0301 => "TLS 1.0".to_owned(),
        0x0302 => "TLS 1.1".to_owned(),
        0x0303 => "TLS 1.2".to_owned(),
        0x0304 => "TLS 1.3".to_owned(),
        other => format!("{other:#06x}"),
    };
    listed(theirs.iter().map(named))
}

fn numbers(theirs: &[u16]) -> String {
    listed(theirs.iter().map(|suite| format!("{suite:#06x}")))
}

fn suites(ours: &[Suite]) -> String {
    listed(ours.iter().map(Suite::to_string))
}

fn listed(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    if items.is_empty() { "none that is known".to_owned() } else { items.join(", ") }
}
