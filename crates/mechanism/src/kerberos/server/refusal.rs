//! Why a token was refused: what was seen, who is at fault, what to do.

use crate::kerberos::Now;
use crate::kerberos::crypto::EncryptionType;
use crate::kerberos::der::Malformed;
use crate::kerberos::message::{KrbError, Unreadable};
use crate::kerberos::name::Principal;
use crate::kerberos::token::{Mechanism, TokenError, TokenId, frame};
use std::fmt;

/// Why a token was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Bytes that are not what they have to be.
    #[error("the Kerberos token is malformed at {0}")]
    Malformed(&'static str),
    /// The token is longer than [`crate::kerberos::token::MAX_TOKEN`].
    #[error("the Kerberos token is too large")]
    TooLarge,
    /// NTLM where Kerberos was asked for: the client has no ticket and fell back.
    #[error("the client sent NTLM inside Negotiate: it got no Kerberos ticket for this server")]
    Ntlm,
    /// An offer of SPNEGO that prefers something else.
    #[error("the client prefers {0} and sent no Kerberos token")]
    OtherMechanism(Mechanism),
    /// An offer of SPNEGO without a token.
    #[error("the client offered Kerberos but sent no token")]
    NoToken,
    /// A ticket under a session's key.
    #[error("the client uses user-to-user tickets, which this server has no session for")]
    UserToUser,
    /// A handshake of three messages (DCE style).
    #[error("the client asks for the three-message handshake of DCE, which this server does not speak")]
    DceStyle,
    /// A ticket for a service that is not in the keytab.
    #[error("the ticket is for {asked}, and the keytab has no key of it")]
    NotForUs {
        /// The service in the ticket.
        asked: Principal,
    },
    /// A ticket for another service of this server.
    #[error("the ticket is for {asked}, not for a service of the class `{class}`")]
    OtherService {
        /// The service in the ticket.
        asked: Principal,
        /// What is served here.
        class: String,
    },
    /// The service is in the keytab, with other versions of its key.
    #[error("the ticket of {service} is under version {asked} of its key; the keytab has {known:?}")]
    UnknownKeyVersion {
        /// The service in the ticket.
        service: Principal,
        /// Its version in the ticket.
        asked: u32,
        /// Those in the keytab.
        known: Vec<u32>,
    },
    /// The service is in the keytab, with keys of other types.
    #[error("the ticket of {service} is encrypted by {asked}; the keytab has keys for {known:?}")]
    NoKeyOfType {
        /// The service in the ticket.
        service: Principal,
        /// Type of the ticket.
        asked: EncryptionType,
        /// Types in the keytab.
        known: Vec<EncryptionType>,
    },
    /// A type of encryption that is not allowed here, or not known.
    #[error("the {what} uses {etype}, which is {}", if matches!(etype, EncryptionType::Other(_)) { "not supported" } else { "switched off" })]
    EncryptionType {
        /// Ticket, session key or subkey.
        what: &'static str,
        /// Its type.
        etype: EncryptionType,
    },
    /// The keytab's key does not open the ticket.
    #[error("the ticket of {service} cannot be decrypted with the keytab's {etype} key, {}", version(*kvno))]
    WrongKey {
        /// The service in the ticket.
        service: Principal,
        /// Version in the ticket.
        kvno: Option<u32>,
        /// Type of the ticket.
        etype: EncryptionType,
    },
    /// The ticket's session key does not open the authenticator.
    #[error("the authenticator cannot be decrypted with the session key of the ticket")]
    Authenticator,
    /// The ticket is not valid yet.
    #[error("the ticket of {client} becomes valid in {in_seconds} seconds")]
    NotYetValid {
        /// Whose ticket.
        client: Principal,
        /// How long until then.
        in_seconds: i64,
    },
    /// The ticket has expired.
    #[error("the ticket of {client} expired {seconds_ago} seconds ago")]
    Expired {
        /// Whose ticket.
        client: Principal,
        /// How long ago.
        seconds_ago: i64,
    },
    /// The ticket is postdated and was never validated.
    #[error("the ticket of {client} is marked as invalid: postdated, and not validated by the KDC")]
    InvalidTicket {
        /// Whose ticket.
        client: Principal,
    },
    /// The clocks differ too much.
    #[error("the clock of {client} is {seconds} seconds {} this server's; {permitted} are permitted", if *seconds < 0 { "behind" } else { "ahead of" }, seconds = seconds.unsigned_abs())]
    ClockSkew {
        /// The client.
        client: Principal,
        /// Client's clock less ours, in seconds.
        seconds: i64,
        /// What is permitted, in seconds.
        permitted: i64,
    },
    /// Ticket and authenticator name different clients.
    #[error("the ticket is of {ticket}, the authenticator of {authenticator}")]
    NamesDiffer {
        /// In the ticket.
        ticket: Principal,
        /// In the authenticator.
        authenticator: Principal,
    },
    /// The ticket came over other realms, and no KDC vouches for the path.
    #[error("the ticket of {client} came over other realms, and its KDC did not check the path")]
    Path {
        /// Whose ticket.
        client: Principal,
    },
    /// The checksum that binds the authenticator to GSS-API is missing or none.
    #[error("the authenticator has no GSS-API checksum (type 0x8003)")]
    Checksum,
    /// The signature over the offer does not fit.
    #[error("the signature over the offer of mechanisms is wrong: somebody altered it")]
    OfferAltered,
    /// Seen before.
    #[error("this AP-REQ of {client} was used before")]
    Replayed {
        /// The client.
        client: Principal,
    },
    /// No room to remember another.
    #[error("the replay cache is full: {capacity} sign-ins within its time")]
    ReplayCacheFull {
        /// Its size.
        capacity: usize,
    },
    /// One client takes up its part of the replay cache.
    #[error("{client} signs in too often: {share} times within the time of the replay cache")]
    TooOften {
        /// The client.
        client: Principal,
        /// Its part.
        share: usize,
    },
}

/// Who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The client's machine or program.
    Client,
    /// This server: keytab, settings, clock.
    Server,
    /// The KDC, or what the directory says of the service.
    Directory,
    /// Somebody between client and server, or a damaged message.
    Path,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Client => "client",
            Fault::Server => "server",
            Fault::Directory => "directory",
            Fault::Path => "path between client and server",
        })
    }
}

impl Refusal {
    /// Who has to act.
    pub fn fault(&self) -> Fault {
        match self {
            Refusal::Malformed(_)
            | Refusal::TooLarge
            | Refusal::OtherMechanism(_)
            | Refusal::NoToken
            | Refusal::UserToUser
            | Refusal::DceStyle
            | Refusal::InvalidTicket { .. }
            | Refusal::Expired { .. }
            | Refusal::NotYetValid { .. }
            | Refusal::ClockSkew { .. }
            | Refusal::TooOften { .. }
            | Refusal::Checksum => Fault::Client,
            Refusal::UnknownKeyVersion { .. }
            | Refusal::NoKeyOfType { .. }
            | Refusal::WrongKey { .. }
            | Refusal::NotForUs { .. }
            | Refusal::ReplayCacheFull { .. } => Fault::Server,
            Refusal::Ntlm | Refusal::OtherService { .. } | Refusal::EncryptionType { .. } | Refusal::Path { .. } => {
                Fault::Directory
            }
            Refusal::Authenticator | Refusal::NamesDiffer { .. } | Refusal::OfferAltered | Refusal::Replayed { .. } => {
                Fault::Path
            }
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Refusal::Malformed(_) | Refusal::Checksum => {
                "look at the client's Kerberos library: the token is not RFC 4121"
            }
            Refusal::TooLarge => "the user is in too many groups; shorten the ticket's authorization data",
            Refusal::Ntlm => {
                "register the service name in the directory (`sip/<fqdn>` or `http/<fqdn>`) and see whether the client \
                 reaches a KDC"
            }
            Refusal::OtherMechanism(_) | Refusal::NoToken => "let the client put Kerberos first",
            Refusal::UserToUser => "register the service under an account with a key, not under a user's session",
            Refusal::DceStyle => "let the client use the two-message handshake",
            Refusal::NotForUs { .. } => {
                "export a key of that name into the keytab, or let clients ask for a name that is in it"
            }
            Refusal::OtherService { .. } => "let the client ask for the class that is served here",
            Refusal::UnknownKeyVersion { .. } => {
                "export the keytab anew: the service's password changed. A ticket under an old key ends by itself"
            }
            Refusal::NoKeyOfType { .. } => {
                "export keys of that type too, or let the account allow only types that are in the keytab"
            }
            Refusal::EncryptionType { .. } => {
                "allow AES for the service's account (msDS-SupportedEncryptionTypes), or allow the type here"
            }
            Refusal::WrongKey { .. } => {
                "export the keytab anew; if it stays, look for a second account with the same service name"
            }
            Refusal::Authenticator | Refusal::NamesDiffer { .. } | Refusal::OfferAltered => {
                "sign in again; if it stays, something alters messages on the way"
            }
            Refusal::NotYetValid { .. } | Refusal::ClockSkew { .. } => {
                "set the clocks of client, server and KDC by one time service"
            }
            Refusal::Expired { .. } => "sign in anew, or `kinit`, to get a new ticket",
            Refusal::InvalidTicket { .. } => "have the ticket validated, `kinit -v`",
            Refusal::Path { .. } => "check the trust between the realms, or have users sign in from the server's realm",
            Refusal::Replayed { .. } => {
                "nothing, if a message was merely sent twice; else somebody repeats what he overheard"
            }
            Refusal::ReplayCacheFull { .. } => "give the replay cache more room, or look who signs in so often",
            Refusal::TooOften { .. } => "see what that client does; it can sign in again when ten minutes have passed",
        }
    }

    /// Its row in the catalogue of failures, where it has one.
    pub fn catalogue_id(&self) -> Option<&'static str> {
        match self {
            Refusal::ClockSkew { .. } | Refusal::NotYetValid { .. } => Some("auth-clock-skew"),
            Refusal::WrongKey { .. } | Refusal::UnknownKeyVersion { .. } => Some("krb-ap-modified"),
            Refusal::NoKeyOfType { .. } | Refusal::EncryptionType { .. } => Some("krb-etype"),
            Refusal::Ntlm => Some("krb-no-spn"),
            Refusal::TooLarge => Some("krb-token-too-large"),
            _ => None,
        }
    }

    /// Its number in a KRB-ERROR, RFC 4120 §7.5.9; nothing for what is not about Kerberos.
    pub fn error_code(&self) -> Option<i32> {
        match self {
            Refusal::EncryptionType { .. } => Some(14),
            Refusal::Authenticator => Some(31),
            Refusal::Expired { .. } => Some(32),
            Refusal::NotYetValid { .. } | Refusal::InvalidTicket { .. } => Some(33),
            Refusal::Replayed { .. } => Some(34),
            Refusal::NotForUs { .. } | Refusal::OtherService { .. } => Some(35),
            Refusal::NamesDiffer { .. } => Some(36),
            Refusal::ClockSkew { .. } => Some(37),
            Refusal::WrongKey { .. } => Some(41),
            Refusal::UnknownKeyVersion { .. } => Some(44),
            Refusal::NoKeyOfType { .. } => Some(45),
            Refusal::Checksum => Some(50),
            Refusal::Path { .. } => Some(51),
            Refusal::ReplayCacheFull { .. } | Refusal::TooOften { .. } => Some(60),
            Refusal::Malformed(_)
            | Refusal::TooLarge
            | Refusal::Ntlm
            | Refusal::OtherMechanism(_)
            | Refusal::NoToken
            | Refusal::UserToUser
            | Refusal::DceStyle
            | Refusal::OfferAltered => None,
        }
    }

    /// A GSS token that tells the client, with the server's time in it, which lets a client with a wrong clock notice.
    /// `service` is any name of this server.
    pub fn krb_error_token(&self, service: &Principal, now: Now) -> Option<Vec<u8>> {
        let error = KrbError {
            code: self.error_code()?,
            time: now.unix_seconds,
            client_realm: None,
            realm: service.realm.clone(),
            service: service.clone(),
            words: None,
            data: None,
        };
        Some(frame(TokenId::Error, &error.write()))
    }
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Refusal {
        Refusal::Malformed(malformed.0)
    }
}

impl From<Unreadable> for Refusal {
    fn from(unreadable: Unreadable) -> Refusal {
        match unreadable {
            Unreadable::Malformed(what) => Refusal::Malformed(what),
            Unreadable::EncryptionType(what, etype) => Refusal::EncryptionType { what, etype },
        }
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Refusal {
        match error {
            TokenError::Ntlm => Refusal::Ntlm,
            TokenError::OtherMechanism(Mechanism::KerberosUserToUser) => Refusal::UserToUser,
            TokenError::OtherMechanism(other) => Refusal::OtherMechanism(other),
            TokenError::NoToken => Refusal::NoToken,
            TokenError::Malformed(what) => Refusal::Malformed(what),
            TokenError::TooLarge => Refusal::TooLarge,
        }
    }
}

fn version(kvno: Option<u32>) -> String {
    kvno.map_or_else(|| "of no stated version".to_owned(), |kvno| format!("version {kvno}"))
}
