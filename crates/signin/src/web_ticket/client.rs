//! Obtaining a ticket: metadata, RequestSecurityToken, response. `[MS-OCAUTHWS]` §3.1. It is asked for with the user's
//! certificate, when there is one and the service takes it: that needs no password. Else over HTTP with Kerberos or NTLM.
//!
//! The password's proof goes to whatever place the metadata names, so that place must be reached over TLS and be the
//! very host the metadata came from.

use super::TICKET_HEADER;
use super::diagnostics::{Diagnostics, error_id};
use super::message::{
    CONTENT_TYPE, ISSUE_ACTION, Lifetime, MessageError, Proof, SAML_TOKEN, SYMMETRIC_KEY, TokenRequest, TokenResponse,
};
use super::metadata::{CERTIFICATE, Metadata, WIN_NEGOTIATE};
use super::proof_key::ProofKey;
use super::signed;
use crate::authenticate::cause::Cause;
use crate::authenticate::keyring::UserCertificate;
use crate::http::ntlm::NtlmError;
use crate::http::{Failure, Request, Web};
use crate::io::{HttpResponse, Io};
use crate::log_on::LogOn;
use crate::name::Aor;
use crate::report::{Certainty, Event, Step, Verdict};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mechanism::user_certificate::KeyError;
use std::fmt;
use url::Url;
use zeroize::Zeroizing;

/// Seconds a ticket must still be valid to be used again.
const MARGIN_SECONDS: i64 = 60;

/// A ticket in the client's hands. It prints nothing of what makes it valuable.
#[derive(Clone)]
pub struct Ticket {
    /// The service it was asked for.
    service: Url,
    assertion: Zeroizing<String>,
    lifetime: Lifetime,
    proof_key: Option<ProofKey>,
}

impl Ticket {
    /// The service it was asked for (`AppliesTo`).
    pub fn service(&self) -> &Url {
        &self.service
    }

    /// The assertion, byte for byte as received.
    pub fn assertion(&self) -> &str {
        &self.assertion
    }

    /// From when to when it is valid.
    pub fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    /// The key that proves possession, when the ticket has one.
    pub fn proof_key(&self) -> Option<&ProofKey> {
        self.proof_key.as_ref()
    }

    /// Whether it is worth showing at this time (seconds since 1970).
    pub fn usable_at(&self, now: i64) -> bool {
        now < self.lifetime.expires.saturating_sub(MARGIN_SECONDS)
    }

    /// Shows it with a request: `X-MS-WebTicket: opaque=…`.
    pub fn attach(&self, request: Request) -> Request {
        request.with(TICKET_HEADER, format!("opaque={}", STANDARD.encode(self.assertion.as_bytes())))
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket(for {}, until {})", self.service, self.lifetime.expires)
    }
}

/// What there is to ask for a ticket with.
#[derive(Debug, Clone, Copy, Default)]
pub struct TicketMeans<'a> {
    /// A certificate of the user that is still good.
    pub certificate: Option<&'a UserCertificate>,
    /// A password, or Kerberos tickets.
    pub log_on: Option<&'a LogOn>,
}

impl TicketMeans<'_> {
    /// Whether there is nothing at all.
    pub fn are_none(&self) -> bool {
        self.certificate.is_none() && self.log_on.is_none()
    }
}

/// Why there is no ticket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// The service's URL is not `https`.
    #[error("the ticket service {0} is not reached over TLS")]
    NotSecure(String),
    /// No answer.
    #[error("no web ticket: {0}")]
    Web(#[from] Failure),
    /// The metadata request was refused.
    #[error("the metadata of the ticket service, {url}, answered {status}")]
    MetadataStatus {
        /// What was asked.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// The metadata cannot be read.
    #[error("the metadata of the ticket service, {url}, cannot be used: {why}")]
    Metadata {
        /// What was asked.
        url: String,
        /// Why.
        why: MessageError,
    },
    /// No way to log on that we know.
    #[error("the ticket service {url} offers no Windows log-on, only {offered}")]
    NoPort {
        /// What was asked.
        url: String,
        /// Ports there are.
        offered: String,
    },
    /// The metadata sends the client to another host; credentials are not sent there.
    #[error("the metadata of {url} sends the log-on to {location}, which is another host")]
    ForeignPort {
        /// What was asked.
        url: String,
        /// Where it sends us.
        location: String,
    },
    /// There is nothing to ask with, or the one thing there is cannot be used.
    #[error("{url} wants {wanted} for a web ticket, and there is none")]
    NothingToShow {
        /// Who.
        url: String,
        /// What it takes.
        wanted: &'static str,
    },
    /// The key of the certificate cannot be used.
    #[error("the certificate cannot be used to ask for a web ticket: {0}")]
    Key(#[from] KeyError),
    /// The service said no.
    #[error("the ticket service {url} refused with {status}{}", reason_of(.diagnostics))]
    Refused {
        /// Who.
        url: String,
        /// HTTP status.
        status: u16,
        /// What it says about it.
        diagnostics: Option<Diagnostics>,
    },
    /// The response is not what it should be.
    #[error("the response of the ticket service {url} cannot be used: {why}")]
    Response {
        /// Who.
        url: String,
        /// Why.
        why: MessageError,
    },
    /// The ticket is over before it begins.
    #[error("the ticket of {url} has already expired by this machine's clock")]
    Stale {
        /// Who.
        url: String,
    },
}

fn reason_of(diagnostics: &Option<Diagnostics>) -> String {
    match diagnostics {
        Some(d) => match d.id {
            Some(id) => format!(": {id} {}", d.reason),
            None => format!(": {}", d.reason),
        },
        None => String::new(),
    }
}

impl TicketError {
    /// Whether the password was refused on the way.
    pub fn blames_password(&self) -> bool {
        match self {
            TicketError::Web(Failure::Authentication { error, .. }) => *error == NtlmError::Refused,
            TicketError::Web(Failure::Tickets { failure, .. }) => failure.blames_password(),
            _ => false,
        }
    }

    /// Catalogue id, sentence and remedy.
    pub fn verdict(&self) -> Verdict {
        if let TicketError::Web(Failure::Connect(failure)) = self {
            return of_connection(failure.verdict());
        }
        if let TicketError::Refused { diagnostics: Some(told), .. } = self
            && let Some(cause) = told.cause.as_deref().and_then(Cause::named)
        {
            let (id, fix) = (cause.id.to_owned(), cause.fix.to_owned());
            return Verdict { id, certainty: Certainty::Certain, sentence: self.to_string(), fix };
        }
        let (id, certainty, fix) = self.blame();
        Verdict { id: id.to_owned(), certainty, sentence: self.to_string(), fix: fix.to_owned() }
    }

    fn blame(&self) -> (&'static str, Certainty, &'static str) {
        use Certainty::{Certain, Consistent};
        match self {
            TicketError::NotSecure(_) | TicketError::ForeignPort { .. } => {
                ("wt-mex-bad", Certain, "correct the web service names in the topology and publish it")
            }
            TicketError::Web(Failure::Resolve { .. }) => {
                ("wt-sts-internal-name", Certain, "set the web services name for this side and publish its DNS record")
            }
            TicketError::Web(Failure::OutOfTime(_)) => {
                ("wt-unreachable", Certain, "open the way to the web services, or repair the balancer")
            }
            TicketError::Web(Failure::Authentication { error, .. }) => error.blame(),
            TicketError::Web(_) => ("wt-unreachable", Consistent, "see what the connection to the web services says"),
            TicketError::MetadataStatus { status: 500.., .. } => ("wt-5xx", Certain, "look at the web server's log"),
            TicketError::MetadataStatus { .. } | TicketError::Metadata { .. } => {
                ("wt-mex-bad", Certain, "publish /WebTicket/* without pre-authentication")
            }
            TicketError::NoPort { .. } => {
                ("wt-mex-bad", Certain, "enable Windows authentication for the web ticket service")
            }
            TicketError::NothingToShow { .. } => {
                ("auth-no-common-scheme", Certain, "give the password, or keep the certificate of an earlier sign-in")
            }
            TicketError::Key(_) => {
                ("dsk-private-key-lost", Certain, "delete the certificate and its key, so that new ones are made")
            }
            TicketError::Refused { status, diagnostics, .. } => refused(*status, diagnostics.as_ref()),
            TicketError::Response { .. } => ("wt-5xx", Consistent, "save the response and see who wrote it"),
            TicketError::Stale { .. } => ("wt-clock", Certain, "set the clock of this machine or of the server"),
        }
    }
}

/// What the connection says; only that it is the way to the ticket service makes another id of a plain TCP failure.
fn of_connection(verdict: Verdict) -> Verdict {
    let unreachable = matches!(verdict.id.as_str(), "tcp-refused" | "tcp-filtered");
    Verdict { id: if unreachable { "wt-unreachable".to_owned() } else { verdict.id }, ..verdict }
}

/// What a refusal of a ticket service, or of a service that was shown a ticket, means: catalogue id, how sure, what to do.
pub(crate) fn refused(status: u16, diagnostics: Option<&Diagnostics>) -> (&'static str, Certainty, &'static str) {
    use Certainty::{Certain, Consistent};
    let fault = diagnostics.and_then(|d| d.fault.as_deref()).unwrap_or_default();
    match (status, diagnostics.and_then(|d| d.id)) {
        (_, Some(error_id::NOT_SIP_ENABLED)) => ("user-not-sip-enabled", Consistent, "enable the account for SIP"),
        (403, _) => ("wt-claim-mismatch", Consistent, "sign in with the account the address belongs to"),
        (_, Some(error_id::NO_TOKEN)) => ("wt-invalid-token", Certain, "drop the ticket and ask anew"),
        (_, Some(error_id::INVALID_TICKET | error_id::BAD_PROOF | error_id::REPLAYED)) => {
            ("wt-invalid-token", Consistent, "drop the ticket and ask anew")
        }
        (_, Some(error_id::OTHER_AUDIENCE)) => {
            ("wt-invalid-token", Certain, "ask for a ticket at the web services it is for")
        }
        (_, Some(error_id::EXPIRED_TICKET)) => ("wt-expired", Consistent, "drop the ticket and set the clock"),
        _ if fault.ends_with("MessageExpired") => {
            ("wt-clock", Consistent, "set the clock of this machine or of the server")
        }
        (401, _) => ("wt-401-loop", Consistent, "check logon name and password"),
        _ => ("wt-5xx", Certain, "look at the web server's log"),
    }
}

/// Obtains a ticket for `service` from the ticket service at `authority`.
pub async fn obtain(
    io: &dyn Io,
    web: &Web,
    authority: &Url,
    service: &Url,
    aor: &Aor,
    means: TicketMeans<'_>,
) -> Result<Ticket, TicketError> {
    if authority.scheme() != "https" {
        return Err(TicketError::NotSecure(authority.to_string()));
    }
    let ports = Ports::read(io, web, authority).await?;
    let asking = Asking { io, web, service, aor };
    let by_certificate = match (means.certificate, ports.of(CERTIFICATE)) {
        (Some(certificate), Some(port)) => Some(asking.with_certificate(port?, certificate).await),
        _ => None,
    };
    match (by_certificate, means.log_on) {
        (Some(Ok(ticket)), _) => Ok(ticket),
        (Some(Err(error)), None) => Err(error),
        (None, None) => {
            Err(TicketError::NothingToShow { url: authority.to_string(), wanted: "a password or a Kerberos ticket" })
        }
        (refused, Some(log_on)) => {
            if let Some(Err(error)) = refused {
                io.tell(Event::Remark(Step::Authentication, format!("not by certificate: {error}")));
            }
            asking.logged_on(ports.of(WIN_NEGOTIATE).ok_or_else(|| ports.lacks())??, log_on).await
        }
    }
}

/// One wish for a ticket.
struct Asking<'a> {
    io: &'a dyn Io,
    web: &'a Web,
    service: &'a Url,
    aor: &'a Aor,
}

impl Asking<'_> {
    /// The wish, and our part of the proof key.
    fn request(&self) -> (TokenRequest, Zeroizing<Vec<u8>>) {
        let mut entropy = Zeroizing::new(vec![0; 32]);
        self.io.fill_random(&mut entropy);
        let mut context = [0; 16];
        self.io.fill_random(&mut context);
        let request = TokenRequest {
            context: Some(uuid::Builder::from_random_bytes(context).into_uuid().to_string()),
            token_type: Some(SAML_TOKEN.to_owned()),
            applies_to: self.service.to_string(),
            claim: self.aor.to_uri(),
            entropy: Some(entropy.clone()),
            key_type: Some(SYMMETRIC_KEY.to_owned()),
        };
        (request, entropy)
    }

    async fn with_certificate(&self, port: Url, certificate: &UserCertificate) -> Result<Ticket, TicketError> {
        let (request, entropy) = self.request();
        let now = self.io.now().unix_seconds;
        let message = signed::write(&request, &certificate.certificate, &certificate.key, now)?;
        let answer = self.web.fetch(self.io, &post(&port, message)).await?;
        let ticket = self.ticket(&port, &answer, &entropy)?;
        let line = format!("{port} took the user's certificate for a web ticket");
        self.io.tell(Event::Evidence(Step::Authentication, line));
        Ok(ticket)
    }

    async fn logged_on(&self, port: Url, log_on: &LogOn) -> Result<Ticket, TicketError> {
        let (request, entropy) = self.request();
        let answer = self.web.fetch_as(self.io, &post(&port, request.write()), log_on).await?;
        self.ticket(&port, &answer, &entropy)
    }

    fn ticket(&self, port: &Url, answer: &HttpResponse, entropy: &[u8]) -> Result<Ticket, TicketError> {
        if answer.status != 200 {
            let (url, status, diagnostics) = (port.to_string(), answer.status, diagnostics(answer));
            return Err(TicketError::Refused { url, status, diagnostics });
        }
        let unusable = |why| TicketError::Response { url: port.to_string(), why };
        let response = TokenResponse::read(&answer.body).map_err(unusable)?;
        if response.lifetime.expires <= self.io.now().unix_seconds {
            return Err(TicketError::Stale { url: port.to_string() });
        }
        let proof_key = match response.proof {
            Proof::Computed(server_entropy) => Some(ProofKey::derive(entropy, &server_entropy)),
            Proof::Key(key) => Some(key),
            Proof::None => None,
        };
        let (service, lifetime) = (self.service.clone(), response.lifetime);
        Ok(Ticket { service, assertion: response.assertion, lifetime, proof_key })
    }
}

fn post(port: &Url, body: String) -> Request {
    Request::post(port.clone(), body)
        .with("Content-Type", CONTENT_TYPE)
        .with("SOAPAction", format!("\"{ISSUE_ACTION}\""))
}

/// The ports of a ticket service, as its metadata names them.
struct Ports<'a> {
    /// The service as it was named to us; only its own host gets anything.
    authority: &'a Url,
    /// Where the metadata is.
    url: String,
    metadata: Metadata,
}

impl<'a> Ports<'a> {
    async fn read(io: &dyn Io, web: &Web, authority: &'a Url) -> Result<Ports<'a>, TicketError> {
        let mut url = authority.clone();
        url.set_path(&format!("{}/mex", authority.path().trim_end_matches('/')));
        url.set_query(None);
        let answer = web.fetch(io, &Request::get(url.clone())).await?;
        let url = url.to_string();
        if answer.status != 200 {
            return Err(TicketError::MetadataStatus { url, status: answer.status });
        }
        match Metadata::read(&answer.body) {
            Ok(metadata) => Ok(Ports { authority, url, metadata }),
            Err(why) => Err(TicketError::Metadata { url, why }),
        }
    }

    /// The port of that name, when there is one.
    fn of(&self, name: &str) -> Option<Result<Url, TicketError>> {
        let location = self.metadata.port(name)?;
        let unusable = || TicketError::Metadata { url: self.url.clone(), why: MessageError::Unusable("port address") };
        Some(Url::parse(location).map_err(|_| unusable()).and_then(|port| {
            if port.scheme() == "https" && port.host_str() == self.authority.host_str() {
                Ok(port)
            } else {
                Err(TicketError::ForeignPort { url: self.url.clone(), location: location.to_owned() })
            }
        }))
    }

    fn lacks(&self) -> TicketError {
        let names: Vec<&str> = self.metadata.ports.iter().map(|port| port.name.as_str()).collect();
        TicketError::NoPort { url: self.url.clone(), offered: names.join(", ") }
    }
}

/// What a web service says about its refusal: in the header, else in a SOAP fault.
pub fn diagnostics(answer: &HttpResponse) -> Option<Diagnostics> {
    match answer.header(super::DIAGNOSTICS_HEADER) {
        Some(value) => Some(Diagnostics::of_header(value)),
        None => Diagnostics::of_fault(&answer.body),
    }
}
