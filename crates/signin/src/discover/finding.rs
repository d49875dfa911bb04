//! What went wrong on the way to a server: facts first, prose in one place. A finding is a remark when another candidate
//! works, and the verdict when none does.

use super::AccessLocation;
use super::document::DocumentError;
use crate::http::ntlm::NtlmError;
use crate::http::{Failure, dns_words};
use crate::io::DnsAnswer;
use crate::report::{Certainty, Verdict};
use crate::web_ticket::client::{TicketError, refused};
use crate::web_ticket::diagnostics::Diagnostics;
use std::time::Duration;

/// One thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// No name of the domain leads anywhere.
    #[error("none of the names under {domain} that lead to a server exists in the DNS")]
    NothingFound {
        /// SIP domain.
        domain: String,
    },
    /// Neither name of Autodiscover exists, though others do.
    #[error("neither lyncdiscoverinternal.{domain} nor lyncdiscover.{domain} exists")]
    NoAutodiscover {
        /// SIP domain.
        domain: String,
    },
    /// A name server did not do its work for a name.
    #[error("{name}: {}", dns_words(.answer))]
    Lookup {
        /// Name asked for.
        name: String,
        /// What came.
        answer: DnsAnswer,
    },
    /// The name of a service exists, but with records of another type.
    #[error("{name} exists, but not as an SRV record")]
    ServiceIsNoSrv {
        /// Name asked for.
        name: String,
    },
    /// A service record names a host that has no address here.
    #[error("{name} names {host}, which has no address here: {}", dns_words(.answer))]
    TargetWithoutAddress {
        /// The service.
        name: String,
        /// The host.
        host: String,
        /// What the DNS said.
        answer: DnsAnswer,
    },
    /// A server named by Autodiscover, by a manual setting or by the cache has no address here.
    #[error("{host} has no address here: {}", dns_words(.answer))]
    ServerWithoutAddress {
        /// The host.
        host: String,
        /// What the DNS said.
        answer: DnsAnswer,
    },
    /// A service record names a host outside every trusted domain.
    #[error("{name} names {host}, which lies in no trusted domain")]
    ForeignService {
        /// The service.
        name: String,
        /// The host.
        host: String,
    },
    /// A web address that cannot be trusted names, or is, a host outside every trusted domain.
    #[error("{from} leads to {host}, which lies in no trusted domain")]
    ForeignHost {
        /// Who led there.
        from: String,
        /// The host.
        host: String,
    },
    /// No answer of a web service.
    #[error("{0}")]
    Web(#[from] Failure),
    /// An answer with a status that helps nobody.
    #[error("{url} answered {status}")]
    Status {
        /// What was asked.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// A 200 that is no Autodiscover document.
    #[error("{url} answered with something else than an Autodiscover document: {why}")]
    NoDocument {
        /// What was asked.
        url: String,
        /// Why.
        why: DocumentError,
    },
    /// Redirects that never end.
    #[error("Autodiscover redirects in a circle, or too often: {}", .hops.join(" → "))]
    RedirectLoop {
        /// Every URL asked.
        hops: Vec<String>,
    },
    /// A link that is not followed, because it leads to a place without TLS or is no web address.
    #[error("{from} leads to {to}, which is not an https address")]
    InsecureLink {
        /// Who led there.
        from: String,
        /// Where.
        to: String,
    },
    /// A document without the link that is needed.
    #[error("{url} answered with a document that leads neither to a user nor elsewhere")]
    NoLink {
        /// What was asked.
        url: String,
    },
    /// A user's document without the SIP server for this place.
    #[error("{url} names no SIP server for clients {location}")]
    NoServer {
        /// What was asked.
        url: String,
        /// Where the client is.
        location: AccessLocation,
    },
    /// The user's resource says that the user is not here.
    #[error("{url} does not know the user (404)")]
    UserUnknown {
        /// What was asked.
        url: String,
    },
    /// The user's resource wants a ticket, and there is no password to get one.
    #[error("{url} is read only by who is logged on, and no password was given")]
    NoCredentials {
        /// What was asked.
        url: String,
    },
    /// The user's resource wants a ticket, and does not say from whom.
    #[error("{url} answered {status} without saying where web tickets are made")]
    NoTicketService {
        /// What was asked.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// No ticket.
    #[error("{0}")]
    Ticket(#[from] TicketError),
    /// The ticket just made was refused.
    #[error("{url} refused the web ticket just made for it ({status})")]
    TicketRefused {
        /// What was asked.
        url: String,
        /// HTTP status.
        status: u16,
        /// What the service says about it.
        diagnostics: Option<Diagnostics>,
    },
    /// The time for discovery is over.
    #[error("discovery was given up after {} s", .0.as_secs())]
    OutOfTime(Duration),
}

impl Finding {
    /// Id of the failure catalogue.
    pub fn id(&self) -> String {
        self.verdict().id
    }

    /// Catalogue id, sentence and remedy.
    pub fn verdict(&self) -> Verdict {
        match self {
            Finding::Web(failure) => failure.verdict(),
            Finding::Ticket(error) => error.verdict(),
            _ => {
                let (id, certainty, fix) = self.blame();
                Verdict { id: id.to_owned(), certainty, sentence: self.to_string(), fix: fix.to_owned() }
            }
        }
    }

    /// Whether it says more than that something optional does not exist: only such a finding can be a verdict.
    pub fn is_failure(&self) -> bool {
        !matches!(self, Finding::NoAutodiscover { .. } | Finding::NoCredentials { .. })
    }

    /// Whether a server refused the password itself.
    pub fn is_refused_password(&self) -> bool {
        let refused = |failure: &Failure| matches!(failure, Failure::Authentication { error: NtlmError::Refused, .. });
        match self {
            Finding::Web(failure) => refused(failure),
            Finding::Ticket(error) => error.blames_password(),
            _ => false,
        }
    }

    fn blame(&self) -> (&'static str, Certainty, &'static str) {
        use Certainty::{Certain, Consistent};
        match self {
            Finding::NothingFound { .. } => (
                "dns-no-records",
                Certain,
                "check the spelling of the sign-in address; else create the lyncdiscover and SRV records of the domain",
            ),
            Finding::NoAutodiscover { .. } => {
                ("dns-lyncdiscover-missing", Certain, "create the records; phones, web and Mac clients need them")
            }
            Finding::Lookup { answer, .. } => match answer {
                DnsAnswer::ServerFailure => {
                    ("dns-servfail", Certain, "repair the forwarder or the signatures of the zone")
                }
                DnsAnswer::Refused => ("dns-refused", Certain, "let the resolver serve this network"),
                _ => ("dns-resolver-unreachable", Consistent, "check network, VPN and the list of resolvers"),
            },
            Finding::ServiceIsNoSrv { .. } => ("dns-srv-nodata", Certain, "create the record again, as SRV"),
            Finding::TargetWithoutAddress { .. } => {
                ("dns-srv-target-no-address", Certain, "add an address record for the host in this view of the zone")
            }
            Finding::ServerWithoutAddress { .. } => {
                ("dns-home-name-unresolvable", Certain, "add an address record for the host in this view of the zone")
            }
            Finding::ForeignService { .. } => (
                "dns-srv-foreign-domain",
                Certain,
                "let the record name a host inside the SIP domain, or list the host's domain as trusted",
            ),
            Finding::ForeignHost { .. } => {
                ("ad-trust-prompt", Certain, "use names inside the SIP domain, or list the host's domain as trusted")
            }
            Finding::Status { status, .. } => match status {
                403 => ("ad-http-403", Certain, "publish Autodiscover for this name without filter"),
                404 => ("ad-http-404", Certain, "publish / and /Autodiscover/* for this name"),
                407 => ("ad-proxy-407", Certain, "exempt the name from the proxy"),
                300..=399 => ("ad-preauth-html", Consistent, "switch pre-authentication off for Autodiscover"),
                500..=599 => ("ad-http-5xx", Certain, "look at the web server's log"),
                _ => ("ad-malformed", Consistent, "see who answers under this name"),
            },
            Finding::NoDocument { why: DocumentError::Html, .. } => (
                "ad-preauth-html",
                Consistent,
                "switch pre-authentication off for Autodiscover; see who answers under this name",
            ),
            Finding::NoDocument { .. } | Finding::NoLink { .. } => {
                ("ad-malformed", Certain, "see who answers under this name, and what rewrites it on the way")
            }
            Finding::RedirectLoop { .. } => {
                ("ad-redirect-loop", Certain, "correct the web service names in the topology")
            }
            Finding::InsecureLink { .. } => {
                ("ad-redirect-loop", Consistent, "let every link of Autodiscover lead to an https address")
            }
            Finding::NoServer { location: AccessLocation::External, .. } => {
                ("ad-external-url-missing", Certain, "set the external access server in the topology and publish it")
            }
            Finding::NoServer { location: AccessLocation::Internal, .. } => (
                "ad-bridge-wrong-port",
                Consistent,
                "see whether this request should have reached the external web site",
            ),
            Finding::UserUnknown { .. } => {
                ("ad-user-404", Certain, "enable the account for SIP, or correct the sign-in address")
            }
            Finding::TicketRefused { status, diagnostics: Some(told), .. } if told.id.is_some() => {
                refused(*status, Some(told))
            }
            Finding::NoCredentials { .. } | Finding::NoTicketService { .. } | Finding::TicketRefused { .. } => {
                ("ad-user-401-loop", Certain, "see what the web ticket service and the user's resource answer")
            }
            Finding::OutOfTime(_) => ("tcp-filtered", Consistent, "see which names or servers answered slowly"),
            Finding::Web(_) | Finding::Ticket(_) => ("ad-http-5xx", Consistent, "look at the web server's log"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_that_is_refused_has_the_finding_it_was_told() {
        let id = |told: Option<u32>| {
            let diagnostics = told.map(|id| Diagnostics::new(id, "Because.", "pool1.contoso.test", "FailedCheck"));
            Finding::TicketRefused { url: "https://pool1.contoso.test/user".to_owned(), status: 401, diagnostics }
                .verdict()
                .id
        };
        assert_eq!(id(Some(28032)), "wt-invalid-token");
        assert_eq!(id(Some(28033)), "wt-expired");
        assert_eq!(id(Some(28901)), "wt-invalid-token", "for another service");
        assert_eq!(id(Some(28020)), "wt-invalid-token");
        assert_eq!(id(None), "ad-user-401-loop", "nothing was told");
    }
}
