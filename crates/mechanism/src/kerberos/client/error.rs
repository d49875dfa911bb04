//! Why there is no ticket: one variant for each cause that somebody has to be told apart from the others.

use crate::kerberos::Now;
use crate::kerberos::der::Malformed;
use crate::kerberos::message::{KrbError, Unreadable};
use crate::kerberos::name::{NameError, Principal};
use crate::kerberos::token::TokenError;

/// Why there is no ticket, or no answer to one. "It" is the KDC, or the service that answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KerberosError {
    /// 6.
    #[error("it does not know the user {0}")]
    UnknownClient(String),
    /// 7.
    #[error("it does not know the service {0}")]
    UnknownService(String),
    /// 8.
    #[error("more than one account has the name {0}")]
    NotUnique(String),
    /// 24, or an answer that the password's key does not open.
    #[error("the password of {0} is not right")]
    WrongPassword(String),
    /// 18, and 1: the account has expired.
    #[error("the account {0} is disabled, locked or expired, or may not log on at this hour")]
    AccountState(String),
    /// 23.
    #[error("the password of {0} has expired")]
    PasswordExpired(String),
    /// It asks for a proof, and a password is none it takes.
    #[error("it takes no password from {0}, but a certificate or a second factor")]
    OtherProof(String),
    /// 37.
    #[error("its clock and ours differ by {}", .seconds.map_or("too much".to_owned(), |seconds| format!("{} s", seconds.abs())))]
    ClockSkew {
        /// Its time less ours, if it says so.
        seconds: Option<i64>,
    },
    /// 14, or an answer under a type that was not asked for.
    #[error("it has no encryption type in common with this client")]
    NoCommonEtype,
    /// 32 and 33: of the ticket that was shown to it.
    #[error("the ticket is not valid at this time")]
    TicketExpired,
    /// 12.
    #[error("its policy does not allow that")]
    Policy,
    /// 68.
    #[error("the user belongs to another realm{}", .0.as_ref().map(|realm| format!(": {realm}")).unwrap_or_default())]
    WrongRealm(
        /// Which, if it says so.
        Option<String>,
    ),
    /// 52: the same request is to be sent again over TCP.
    #[error("its answer does not fit into a datagram")]
    AnswerTooLong,
    /// 31 and 41: it cannot open what was shown to it.
    #[error("it does not accept our ticket: it was issued with another key, or altered")]
    Modified,
    /// Any other code.
    #[error("it refuses with error {code}{words}")]
    Other {
        /// RFC 4120 §7.5.9.
        code: i32,
        /// Its words, with a colon before them, or nothing.
        words: String,
    },
    /// An answer that cannot be read.
    #[error("its answer cannot be read ({0})")]
    Malformed(&'static str),
    /// An answer to another question, or under another key.
    #[error("its answer does not belong to our question ({0})")]
    Foreign(&'static str),
    /// A name Kerberos cannot have.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl From<Malformed> for KerberosError {
    fn from(malformed: Malformed) -> KerberosError {
        KerberosError::Malformed(malformed.0)
    }
}

impl From<Unreadable> for KerberosError {
    fn from(unreadable: Unreadable) -> KerberosError {
        match unreadable {
            Unreadable::Malformed(what) => KerberosError::Malformed(what),
            Unreadable::EncryptionType(..) => KerberosError::NoCommonEtype,
        }
    }
}

impl From<TokenError> for KerberosError {
    fn from(error: TokenError) -> KerberosError {
        match error {
            TokenError::Malformed(what) => KerberosError::Malformed(what),
            TokenError::TooLarge => KerberosError::Malformed("the token is too large"),
            TokenError::NoToken => KerberosError::Foreign("there is no token in it"),
            TokenError::Ntlm | TokenError::OtherMechanism(_) => KerberosError::Foreign("it is of another mechanism"),
        }
    }
}

impl KerberosError {
    /// Id of the failure catalogue.
    pub fn id(&self) -> &'static str {
        match self {
            KerberosError::UnknownClient(_) => "krb-wrong-realm",
            KerberosError::UnknownService(_) => "krb-no-spn",
            KerberosError::NotUnique(_) => "krb-duplicate-spn",
            KerberosError::WrongPassword(_) => "ntlm-wrong-password",
            KerberosError::AccountState(_) | KerberosError::PasswordExpired(_) => "krb-account-state",
            KerberosError::ClockSkew { .. } => "auth-clock-skew",
            KerberosError::NoCommonEtype => "krb-etype",
            KerberosError::TicketExpired => "krb-no-tgt",
            KerberosError::WrongRealm(_) => "krb-wrong-realm",
            KerberosError::Modified => "krb-ap-modified",
            KerberosError::Policy
            | KerberosError::OtherProof(_)
            | KerberosError::AnswerTooLong
            | KerberosError::Other { .. }
            | KerberosError::Malformed(_)
            | KerberosError::Foreign(_)
            | KerberosError::Name(_) => "krb-kdc-refused",
        }
    }

    /// What to do next.
    pub fn fix(&self) -> &'static str {
        match self {
            KerberosError::UnknownClient(_) | KerberosError::WrongRealm(_) => {
                "give the logon name as the directory has it (name@REALM), or the user's realm"
            }
            KerberosError::UnknownService(_) => {
                "register this service principal name on the account the server runs under"
            }
            KerberosError::NotUnique(_) => "remove this name from all accounts but one",
            KerberosError::WrongPassword(_) => "retype the password",
            KerberosError::AccountState(_) => {
                "look at the account in the directory: disabled, locked, expired, logon hours"
            }
            KerberosError::PasswordExpired(_) => "change the password",
            KerberosError::OtherProof(_) => {
                "obtain a ticket with the smart card or token first (kinit), then sign in with it"
            }
            KerberosError::ClockSkew { .. } => {
                "set the clock of this machine (or of the KDC): five minutes are allowed"
            }
            KerberosError::NoCommonEtype => {
                "allow AES for the account and the service (their passwords may have to be set anew)"
            }
            KerberosError::TicketExpired => "obtain a new ticket (kinit)",
            KerberosError::AnswerTooLong => "let TCP to port 88 of the KDC pass",
            KerberosError::Modified => {
                "see whether two accounts have this service principal name, and whether all servers have its key"
            }
            KerberosError::Policy | KerberosError::Other { .. } => "look at the KDC's log",
            KerberosError::Malformed(_) | KerberosError::Foreign(_) => "see who answers on port 88",
            KerberosError::Name(_) => "correct the logon name or the realm",
        }
    }

    /// Whether it is the password or the account that was refused; then no other mechanism would take it either.
    pub fn blames_credentials(&self) -> bool {
        matches!(
            self,
            KerberosError::WrongPassword(_) | KerberosError::AccountState(_) | KerberosError::PasswordExpired(_)
        )
    }

    /// What an error says to someone who asked for `service` in the name of `client` at `now`.
    pub(super) fn of(error: &KrbError, client: &Principal, service: &Principal, now: Now) -> KerberosError {
        match error.code {
            8 => KerberosError::NotUnique(error.service.to_string()),
            37 => KerberosError::ClockSkew { seconds: Some(error.time.saturating_sub(now.unix_seconds)) },
            68 => KerberosError::WrongRealm(error.client_realm.clone()),
            code => {
                let words = error.words.as_deref().unwrap_or_default();
                KerberosError::of_code(code, &client.familiar(), &service.to_string(), words)
            }
        }
    }

    /// The same where somebody else read the error and handed on no more than its code (RFC 4120 §7.5.9) and words,
    /// possibly none.
    pub fn of_code(code: i32, client: &str, service: &str, words: &str) -> KerberosError {
        match code {
            6 => KerberosError::UnknownClient(client.to_owned()),
            7 => KerberosError::UnknownService(service.to_owned()),
            8 => KerberosError::NotUnique(service.to_owned()),
            12 => KerberosError::Policy,
            14 => KerberosError::NoCommonEtype,
            1 | 18 => KerberosError::AccountState(client.to_owned()),
            23 => KerberosError::PasswordExpired(client.to_owned()),
            24 => KerberosError::WrongPassword(client.to_owned()),
            31 | 41 => KerberosError::Modified,
            32 | 33 => KerberosError::TicketExpired,
            37 => KerberosError::ClockSkew { seconds: None },
            52 => KerberosError::AnswerTooLong,
            68 => KerberosError::WrongRealm(None),
            code if words.is_empty() => KerberosError::Other { code, words: String::new() },
            code => KerberosError::Other { code, words: format!(": {words}") },
        }
    }
}
