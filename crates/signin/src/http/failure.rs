//! Why a request got no answer, and what to do.

use super::{Origin, ntlm};
use crate::connect::ConnectFailure;
use crate::io::{DnsAnswer, HttpError, StreamError};
use crate::report::{Certainty, Verdict};
use crate::tickets::TicketFailure;

/// Why a request got no answer. The sentence is the `Display`, the rest is in [`Failure::verdict`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Not an `http` or `https` URL with a host.
    #[error("{0} is not a web address")]
    Url(String),
    /// The host has no address here.
    #[error("{host} has no address here: {}", dns_words(.answer))]
    Resolve {
        /// Host asked for.
        host: String,
        /// What the DNS said.
        answer: DnsAnswer,
    },
    /// No address led to an open connection with the server that was meant. Nothing was sent.
    #[error(transparent)]
    Connect(#[from] ConnectFailure),
    /// The exchange on an open connection failed.
    #[error("{origin}: {error}")]
    Exchange {
        /// With whom.
        origin: Origin,
        /// What happened.
        error: HttpError,
    },
    /// Authentication failed.
    #[error("{origin}: {error}")]
    Authentication {
        /// With whom.
        origin: Origin,
        /// What happened.
        error: ntlm::NtlmError,
    },
    /// There is no ticket, and asking further with the same password would be wrong.
    #[error("{origin}: {failure}")]
    Tickets {
        /// Whom it was for.
        origin: Origin,
        /// What the KDC says.
        failure: TicketFailure,
    },
    /// The time for all of it is over.
    #[error("{0}: no time left")]
    OutOfTime(Origin),
}

impl Failure {
    /// Catalogue id, sentence and remedy.
    pub fn verdict(&self) -> Verdict {
        if let Failure::Connect(failure) = self {
            return failure.verdict();
        }
        if let Failure::Tickets { failure, .. } = self {
            return failure.verdict();
        }
        let (id, certainty, fix) = self.blame();
        Verdict { id: id.to_owned(), certainty, sentence: self.to_string(), fix: fix.to_owned() }
    }

    fn blame(&self) -> (&'static str, Certainty, &'static str) {
        use Certainty::{Certain, Consistent};
        match self {
            Failure::Url(_) => ("ad-malformed", Certain, "correct the web address in the topology and publish it"),
            Failure::Resolve { answer, .. } => match answer {
                DnsAnswer::Timeout => ("dns-resolver-unreachable", Consistent, "check network, VPN and resolver"),
                DnsAnswer::ServerFailure => {
                    ("dns-servfail", Certain, "repair the forwarder or the signatures of the zone")
                }
                DnsAnswer::Refused => ("dns-refused", Certain, "let the resolver serve this network"),
                _ => (
                    "dns-home-name-unresolvable",
                    Certain,
                    "add an address record for the host in this view of the zone",
                ),
            },
            Failure::Connect(_) => ("tcp-filtered", Consistent, "see what the connection says"),
            Failure::Tickets { .. } => ("krb-no-tgt", Consistent, "see what the KDC says"),
            Failure::Exchange { error, .. } => match error {
                HttpError::Stream(StreamError::Timeout) => {
                    ("tcp-silent", Consistent, "look at the service behind the port")
                }
                HttpError::Stream(_) => ("tcp-reset-after-accept", Consistent, "look at the service behind the port"),
                HttpError::NotHttp(_) => ("tcp-wrong-service", Certain, "correct the port or the forwarding"),
                HttpError::TooLarge { .. } => ("ad-malformed", Consistent, "look at who answers under this name"),
            },
            Failure::Authentication { error, .. } => error.blame(),
            Failure::OutOfTime(_) => ("tcp-filtered", Consistent, "see which names or servers answered slowly"),
        }
    }
}

/// A DNS answer without addresses, in words.
pub fn dns_words(answer: &DnsAnswer) -> String {
    match answer {
        DnsAnswer::NxDomain => "the name does not exist".to_owned(),
        DnsAnswer::NoData | DnsAnswer::Addresses { .. } | DnsAnswer::Services(_) => {
            "the name exists, but not with this kind of record".to_owned()
        }
        DnsAnswer::ServerFailure => "the name server failed (SERVFAIL)".to_owned(),
        DnsAnswer::Refused => "the name server refuses to serve us (REFUSED)".to_owned(),
        DnsAnswer::Timeout => "the name server did not answer in time".to_owned(),
        DnsAnswer::Failed(words) => words.clone(),
    }
}
