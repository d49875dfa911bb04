//! Who can tell whether a client is who it says.
//!
//! | mechanism | question | who can tell |
//! |---|---|---|
//! | NTLM | is this answer right? | whoever has the password's hash: [`NtlmVerifier`], own directory or domain controller |
//! | Kerberos | is this ticket ours, and new? | whoever has the service's key: [`KerberosVerifier`], a keytab |
//! | TLS-DSK | is this certificate one we issued, and still good? | whoever published it: [`CertificateVerifier`] |

use crate::directory::DirectoryError;
use crate::io::Pending;
use crate::name::{AccountName, Aor};
use crate::reply::Diagnostics;
use crate::service::Surroundings;
use mechanism::kerberos;
use mechanism::tls_dsk::DskError;
use std::sync::{Arc, Mutex, PoisonError};
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
    #[error("the credentials are not right")]
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
    /// A Kerberos ticket that is not accepted.
    #[error(transparent)]
    Ticket(Box<kerberos::Refusal>),
    /// A Kerberos ticket for another service of ours.
    #[error("the ticket is for {found}, not for {wanted}")]
    OtherService {
        /// What it is for.
        found: String,
        /// What it should be for.
        wanted: String,
    },
    /// A TLS-DSK handshake that failed.
    #[error("TLS-DSK: {0}")]
    Handshake(DskError),
    /// A user certificate that is not accepted.
    #[error("the user certificate {0}")]
    Certificate(#[from] CertificateFault),
    /// Nobody could tell.
    #[error(transparent)]
    Unavailable(#[from] DirectoryError),
}

impl Refusal {
    /// What the peer is told. Of tickets and certificates the cause is told: who shows one knows all about it already, and
    /// none of it says anything about accounts.
    pub fn diagnostics(&self) -> Diagnostics {
        let failed = || Diagnostics::public(1000, "Final handshake failed");
        match self {
            Refusal::ClockSkew { .. } => {
                Diagnostics::public(1013, "Significant time skew detected during authentication")
            }
            Refusal::Credentials { .. } | Refusal::Unavailable(_) => failed(),
            Refusal::Ticket(_) | Refusal::OtherService { .. } | Refusal::Handshake(_) | Refusal::Certificate(_) => {
                failed().caused_by(self.id())
            }
        }
    }

    /// For the server's log and nobody else: the whole cause.
    pub fn log(&self) -> String {
        match self {
            Refusal::Credentials { why } => why.clone(),
            other => format!("{other} ({})", other.id()),
        }
    }

    /// Id of the failure catalogue.
    pub fn id(&self) -> &'static str {
        match self {
            Refusal::Credentials { .. } => "auth-final-401",
            Refusal::ClockSkew { .. } => "auth-clock-skew",
            Refusal::Ticket(refusal) => ticket_id(refusal),
            Refusal::OtherService { .. } => "auth-target-mismatch",
            Refusal::Handshake(error) => handshake_id(error),
            Refusal::Certificate(fault) => fault.id(),
            Refusal::Unavailable(_) => "ntlm-dc-unreachable",
        }
    }
}

/// Id of a handshake's fault, where the catalogue has one.
fn handshake_id(error: &DskError) -> &'static str {
    match error {
        DskError::NoCommonVersion { .. } | DskError::NoCommonSuite { .. } => "dsk-inner-version",
        DskError::Alert { number: 40 | 70, .. } => "dsk-inner-version",
        DskError::Alert { number: 42 | 48, .. } => "dsk-inner-server-cert",
        DskError::NoCertificate | DskError::NotAsked => "dsk-ca-list-excludes",
        _ => "auth-final-401",
    }
}

/// Id of a ticket's fault; of ours where the catalogue has none.
fn ticket_id(refusal: &kerberos::Refusal) -> &'static str {
    use kerberos::Refusal as Kerberos;
    refusal.catalogue_id().unwrap_or(match refusal {
        Kerberos::Replayed { .. } => "krb-replayed",
        Kerberos::Expired { .. } | Kerberos::InvalidTicket { .. } => "krb-ticket-expired",
        Kerberos::NotForUs { .. } | Kerberos::OtherService { .. } => "auth-target-mismatch",
        Kerberos::Authenticator | Kerberos::NamesDiffer { .. } | Kerberos::OfferAltered => "krb-altered",
        Kerberos::Path { .. } => "krb-wrong-realm",
        _ => "krb-token-refused",
    })
}

/// Why a certificate whose key the client has is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// Issued by somebody else than this deployment.
    #[error("of {subject} was not issued by this deployment")]
    Foreign {
        /// Whose it says it is.
        subject: String,
    },
    /// Issued by nobody but its holder.
    #[error("of {subject} is self-signed")]
    SelfSigned {
        /// Whose it says it is.
        subject: String,
    },
    /// Its time is over.
    #[error("has expired")]
    Expired,
    /// Its time has not come.
    #[error("is not valid yet")]
    NotYetValid,
    /// Issued by us, but not (or no longer) published: another one replaced it, or the store is older than it.
    #[error("is not published for its user")]
    Unpublished,
    /// Taken back.
    #[error("was revoked")]
    Revoked,
    /// It cannot be read, or lacks what it needs (address, client authentication).
    #[error("cannot be used: {0}")]
    Unusable(String),
}

impl CertificateFault {
    /// Id of the failure catalogue, or of ours beyond it.
    pub fn id(&self) -> &'static str {
        match self {
            CertificateFault::Foreign { .. } => "dsk-cert-foreign",
            CertificateFault::SelfSigned { .. } => "dsk-cert-self-signed",
            CertificateFault::Expired => "dsk-cert-expired",
            CertificateFault::NotYetValid => "auth-clock-skew",
            CertificateFault::Unpublished => "dsk-cert-unknown",
            CertificateFault::Revoked => "dsk-cert-revoked",
            CertificateFault::Unusable(_) => "dsk-cert-unusable",
        }
    }
}

/// Verifies NTLM answers. Implementations take the same time whether the account exists or not.
pub trait NtlmVerifier: Send + Sync {
    /// Checks one answer.
    fn verify(&self, question: NtlmQuestion) -> Pending<'_, Result<NtlmProof, Refusal>>;
}

/// Verifies Kerberos tickets with the keys of a keytab. `[MS-SIPAE]` §3.3.5.1, RFC 4120 §3.2.3.
///
/// Which services a ticket may be for is said by the one who asks: a ticket for a web service must not sign in to SIP.
/// What was seen before is remembered in one place for all services of a process.
pub struct KerberosVerifier {
    service: kerberos::Service,
    replays: Arc<Mutex<kerberos::ReplayCache>>,
    surroundings: Arc<dyn Surroundings>,
}

/// A ticket was right.
#[derive(Debug)]
pub struct KerberosProof {
    /// The client: its principal as an account name, `user@REALM`.
    pub account: AccountName,
    /// The keys that sign messages.
    pub keys: kerberos::MessageKeys,
    /// The token that proves us to the client, when it asked for that.
    pub reply: Option<Vec<u8>>,
    /// When the ticket ends, seconds since 1970. One that is taken although it is over, because clocks may differ, counts
    /// for as long as they may.
    pub ends: i64,
    /// The TLS connection the token was made for, if the client says so.
    pub channel: Option<[u8; 16]>,
}

impl KerberosVerifier {
    /// A verifier with these keys, and this memory of what was seen.
    pub fn new(
        service: kerberos::Service,
        replays: Arc<Mutex<kerberos::ReplayCache>>,
        surroundings: Arc<dyn Surroundings>,
    ) -> KerberosVerifier {
        KerberosVerifier { service, replays, surroundings }
    }

    /// Checks one token; the ticket in it has to be for one of these services, `class/host`.
    pub fn verify(&self, token: &[u8], services: &[String]) -> Result<KerberosProof, Refusal> {
        let now = self.surroundings.now();
        let now = kerberos::Now { unix_seconds: now.unix_seconds, microseconds: 0 };
        let random = |bytes: &mut [u8]| self.surroundings.fill_random(bytes);
        let accepted = {
            let mut replays = self.replays.lock().unwrap_or_else(PoisonError::into_inner);
            self.service.accept(token, now, &mut replays, &random)
        };
        let accepted = accepted.map_err(|refusal| match refusal {
            kerberos::Refusal::ClockSkew { seconds, .. } => Refusal::ClockSkew { seconds: seconds.unsigned_abs() },
            refusal => Refusal::Ticket(Box::new(refusal)),
        })?;
        let found = accepted.service.components.join("/");
        if !services.iter().any(|service| found.eq_ignore_ascii_case(service)) {
            return Err(Refusal::OtherService { found, wanted: services.join(" or ") });
        }
        let user = accepted.client.to_string();
        Ok(KerberosProof {
            account: AccountName { domain: String::new(), user },
            keys: accepted.keys,
            reply: accepted.reply,
            channel: accepted.channel,
            ends: accepted.ends.max(now.unix_seconds.saturating_add(kerberos::server::DEFAULT_SKEW)),
        })
    }
}

/// Whose certificate it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateHolder {
    /// The address it was issued to.
    pub aor: Aor,
    /// When it ends, seconds since 1970.
    pub ends: i64,
}

/// Judges user certificates: issued by us, in time, published and not revoked.
pub trait CertificateVerifier: Send + Sync {
    /// Judges one, given as DER. That its holder has the key was seen already.
    fn verify(&self, certificate: Vec<u8>) -> Pending<'_, Result<CertificateHolder, Refusal>>;
}
