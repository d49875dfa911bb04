//! Why there is no ticket, and what to do.

use crate::report::{Certainty, Verdict};
use mechanism::kerberos::KerberosError;
use mechanism::kerberos::name::NameError;

/// Why there is no ticket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketFailure {
    /// A name that Kerberos cannot have.
    #[error(transparent)]
    Name(NameError),
    /// Neither a password nor a ticket to begin with.
    #[error("there is neither a password nor a ticket of the user: {0}")]
    NothingToBeginWith(String),
    /// Nobody says where the realm's KDC is.
    #[error("no KDC is known for the realm {realm}: {how}")]
    NoKdc {
        /// Which realm.
        realm: String,
        /// What was looked for.
        how: String,
    },
    /// No KDC answers.
    #[error("no KDC of the realm {realm} answers: {tried}")]
    Unreachable {
        /// Which realm.
        realm: String,
        /// Which addresses, and what happened.
        tried: String,
    },
    /// The KDC says no, or what it says is wrong.
    #[error("the KDC of {realm}: {error}")]
    Kdc {
        /// Which realm.
        realm: String,
        /// What it says.
        error: KerberosError,
    },
    /// The KDC names no type under which the password may prove itself.
    #[error("the KDC of {realm} has no AES key of {client}, and a proof under RC4 is made only where it is allowed")]
    NoAesKey {
        /// Which realm.
        realm: String,
        /// Whose.
        client: String,
    },
    /// The KDC sends the client from realm to realm.
    #[error("the KDC of {realm} refers to ever other realms")]
    Referrals {
        /// Where it began.
        realm: String,
    },
    /// The system's GSS-API library cannot, for a reason of its own.
    #[error("the Kerberos library of this system gives no ticket for {service}: {why}")]
    Library {
        /// What for.
        service: String,
        /// In its words, mostly.
        why: String,
    },
}

impl TicketFailure {
    /// Whether the password is what was refused: it must not be tried again elsewhere.
    pub fn blames_password(&self) -> bool {
        matches!(self, TicketFailure::Kdc { error, .. } if error.blames_credentials())
    }

    /// What it means and what to do.
    pub fn verdict(&self) -> Verdict {
        use Certainty::{Certain, Consistent};
        let (id, certainty, fix) = match self {
            TicketFailure::Name(_) => ("krb-wrong-realm", Certain, "correct the logon name or the realm".to_owned()),
            TicketFailure::NothingToBeginWith(_) => {
                ("krb-no-tgt", Certain, "give a password, or obtain a ticket first (kinit)".to_owned())
            }
            TicketFailure::NoKdc { .. } => (
                "krb-kdc-unreachable",
                Certain,
                "set the KDC (--kdc), or publish _kerberos._tcp of the realm in the DNS of this network".to_owned(),
            ),
            TicketFailure::Unreachable { .. } => (
                "krb-kdc-unreachable",
                Certain,
                "open port 88 to a domain controller; outside, use a certificate or NTLM instead".to_owned(),
            ),
            TicketFailure::Kdc { error, .. } => (error.id(), Certain, error.fix().to_owned()),
            TicketFailure::NoAesKey { .. } => (
                "krb-etype",
                Consistent,
                "set the account's password anew, which makes AES keys of it; for an account that can have none, allow RC4 \
                 (--kerberos-rc4 passwords)"
                    .to_owned(),
            ),
            TicketFailure::Referrals { .. } => {
                ("krb-wrong-realm", Consistent, "correct the realm trusts and their name routing".to_owned())
            }
            TicketFailure::Library { service, .. } => (
                "krb-no-tgt",
                Consistent,
                format!("correct krb5.conf, or the ticket cache, until `kvno {service}` has a ticket"),
            ),
        };
        Verdict { id: id.to_owned(), certainty, sentence: self.to_string(), fix }
    }
}
