//! Obtaining a certificate: metadata, a web ticket, GetAndPublishCert, and a look at what came back. `[MS-OCAUTHWS]` §3.1.
//!
//! The password's proof goes to the ticket service that the metadata names, so everything must be reached over TLS and on
//! the host that the registrar named. Whether that host is to be trusted with it is for the caller to judge.

use super::message::{PROOF_PORT, PUBLISH_ACTION, PublishRequest, PublishResponse, ServiceMetadata};
use crate::http::{Failure, Request, Web};
use crate::io::Io;
use crate::name::Aor;
use crate::report::{Certainty, Verdict};
use crate::web_ticket::client::{Ticket, TicketError, TicketMeans, diagnostics, obtain as obtain_ticket};
use crate::web_ticket::diagnostics::{Diagnostics, error_id};
use crate::web_ticket::message::{CONTENT_TYPE, MessageError};
use crate::web_ticket::security::{self, ProofHash};
use crate::xml::Element;
use mechanism::user_certificate::{KeyError, UserCertificate, public_key_of, request};
use url::Url;
use uuid::Uuid;

/// Seconds a certificate must still be valid to be worth using.
pub const MARGIN_SECONDS: i64 = 3600;

/// A certificate the service gave out, with what it says.
#[derive(Debug, Clone)]
pub struct Obtained {
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// What it says.
    pub facts: UserCertificate,
}

/// Who asks, for which key.
#[derive(Debug, Clone, Copy)]
pub struct Applicant<'a> {
    /// The sign-in address.
    pub aor: &'a Aor,
    /// Proves to the ticket service who asks.
    pub means: TicketMeans<'a>,
    /// The instance of this client.
    pub device: Uuid,
    /// RSA key to be certified: PKCS#8, DER.
    pub private_key: &'a [u8],
}

/// Why there is no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The service's URL is not `https`.
    #[error("the certificate service {0} is not reached over TLS")]
    NotSecure(String),
    /// No answer.
    #[error("no user certificate: {0}")]
    Web(#[from] Failure),
    /// The metadata request was refused.
    #[error("the metadata of the certificate service, {url}, answered {status}")]
    MetadataStatus {
        /// What was asked.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// The metadata cannot be read.
    #[error("the metadata of the certificate service, {url}, cannot be used: {why}")]
    Metadata {
        /// What was asked.
        url: String,
        /// Why.
        why: MessageError,
    },
    /// There is no port for web tickets.
    #[error("the certificate service {url} gives out no certificates: it has no port {PROOF_PORT}")]
    NoPort {
        /// What was asked.
        url: String,
    },
    /// The metadata sends the client to another host; credentials are not sent there.
    #[error("the metadata of {url} sends the client to {location}, which is another host")]
    Foreign {
        /// What was asked.
        url: String,
        /// Where it sends us.
        location: String,
    },
    /// No ticket.
    #[error(transparent)]
    Ticket(#[from] TicketError),
    /// The ticket cannot be used here.
    #[error("the web ticket of {url} has no {what}")]
    TicketLacks {
        /// For what it was asked.
        url: String,
        /// What is missing.
        what: &'static str,
    },
    /// Our own key cannot be used.
    #[error("no certification request: {0}")]
    Key(#[from] KeyError),
    /// The service said no.
    #[error("the certificate service {url} refused with {status}{}", reason_of(.diagnostics))]
    Refused {
        /// Who.
        url: String,
        /// HTTP status.
        status: u16,
        /// What it says about it.
        diagnostics: Option<Diagnostics>,
    },
    /// The service answered, and said no in its answer.
    #[error("the certificate service {url} did not certify the key: {why}")]
    Rejected {
        /// Who.
        url: String,
        /// What it says about it.
        why: String,
    },
    /// The answer is not what it should be.
    #[error("the answer of the certificate service {url} cannot be used: {why}")]
    Answer {
        /// Who.
        url: String,
        /// Why.
        why: MessageError,
    },
    /// The certificate is not the one that was asked for.
    #[error("the certificate from {url} cannot be used: {why}")]
    Useless {
        /// Who.
        url: String,
        /// Why.
        why: String,
    },
    /// The certificate is over, or has not begun.
    #[error("the certificate from {url} is not valid now, or for less than an hour, by this machine's clock")]
    Untimely {
        /// Who.
        url: String,
    },
}

fn reason_of(diagnostics: &Option<Diagnostics>) -> String {
    match diagnostics {
        Some(Diagnostics { id: Some(id), reason, .. }) => format!(": {id} {reason}"),
        Some(Diagnostics { reason, .. }) => format!(": {reason}"),
        None => String::new(),
    }
}

impl CertificateError {
    /// Whether the password was refused on the way; it must not be tried again elsewhere.
    pub fn blames_password(&self) -> bool {
        matches!(self, CertificateError::Ticket(error) if error.blames_password())
    }

    /// Catalogue id, sentence and remedy.
    pub fn verdict(&self) -> Verdict {
        if let CertificateError::Ticket(error) = self {
            return error.verdict();
        }
        if let CertificateError::Web(Failure::Connect(failure)) = self {
            let verdict = failure.verdict();
            let unreachable = matches!(verdict.id.as_str(), "tcp-refused" | "tcp-filtered");
            return Verdict { id: if unreachable { "wt-unreachable".to_owned() } else { verdict.id }, ..verdict };
        }
        let (id, certainty, fix) = self.blame();
        Verdict { id: id.to_owned(), certainty, sentence: self.to_string(), fix: fix.to_owned() }
    }

    fn blame(&self) -> (&'static str, Certainty, &'static str) {
        use Certainty::{Certain, Consistent};
        match self {
            CertificateError::NotSecure(_) | CertificateError::Foreign { .. } => {
                ("wt-mex-bad", Certain, "correct the web service names in the topology and publish it")
            }
            CertificateError::Web(Failure::Resolve { .. }) => {
                ("wt-sts-internal-name", Certain, "set the web services name for this side and publish its DNS record")
            }
            CertificateError::Web(_) => {
                ("cp-unreachable", Consistent, "open the way to the web services, or repair the balancer")
            }
            CertificateError::MetadataStatus { status: 500.., .. } => {
                ("wt-5xx", Certain, "look at the web server's log")
            }
            CertificateError::MetadataStatus { .. } => ("cp-unreachable", Certain, "publish /CertProv/*"),
            CertificateError::Metadata { .. } => {
                ("wt-mex-bad", Certain, "publish /CertProv/* without pre-authentication")
            }
            CertificateError::NoPort { .. } => {
                ("cp-disabled", Certain, "enable certificate authentication in the web service configuration")
            }
            CertificateError::Ticket(_) | CertificateError::TicketLacks { .. } => {
                ("wt-invalid-token", Consistent, "see what the web ticket service sends")
            }
            CertificateError::Key(_) => {
                ("dsk-private-key-lost", Certain, "delete the key of the certificate, so that a new one is made")
            }
            CertificateError::Refused { status, diagnostics, .. } => refused(*status, diagnostics.as_ref()),
            CertificateError::Rejected { .. } => {
                ("cp-csr-rejected", Consistent, "compare the key's size with the limits of the web service")
            }
            CertificateError::Answer { .. } => ("wt-5xx", Consistent, "save the answer and see who wrote it"),
            CertificateError::Useless { .. } => {
                ("dsk-wrong-user-cert", Certain, "look at the certificate service: it certified something else")
            }
            CertificateError::Untimely { .. } => (
                "wt-clock",
                Consistent,
                "set the clock of this machine or of the server; certificates last 8 h at least",
            ),
        }
    }
}

fn refused(status: u16, diagnostics: Option<&Diagnostics>) -> (&'static str, Certainty, &'static str) {
    use Certainty::{Certain, Consistent};
    let fault = diagnostics.and_then(|d| d.fault.as_deref()).unwrap_or_default();
    match (status, diagnostics.and_then(|d| d.id)) {
        (404, _) => ("cp-unreachable", Certain, "publish /CertProv/*"),
        (_, Some(error_id::NOT_SIP_ENABLED)) => ("user-not-sip-enabled", Consistent, "enable the account for SIP"),
        (_, Some(error_id::EXPIRED_TICKET)) => ("wt-expired", Consistent, "drop the ticket and set the clock"),
        (_, Some(error_id::BAD_CERTIFICATION_REQUEST)) => {
            ("cp-csr-rejected", Certain, "compare the key's size with the limits of the web service")
        }
        (_, Some(error_id::NO_TOKEN | error_id::INVALID_TICKET | error_id::OTHER_AUDIENCE | error_id::BAD_PROOF)) => {
            ("wt-invalid-token", Consistent, "drop the ticket and ask anew, at the pool that issued it")
        }
        (_, Some(error_id::REPLAYED)) => ("wt-invalid-token", Consistent, "ask anew; see who repeats requests"),
        _ if fault.ends_with("MessageExpired") => {
            ("wt-clock", Consistent, "set the clock of this machine or of the server")
        }
        _ if fault.ends_with("InvalidRequest") || fault.ends_with("BadRequest") => {
            ("cp-csr-rejected", Consistent, "compare the key's size with the limits of the web service")
        }
        (403, _) => ("wt-claim-mismatch", Consistent, "sign in with the account the address belongs to"),
        (401, _) => ("wt-invalid-token", Consistent, "drop the ticket and ask anew"),
        _ => ("wt-5xx", Certain, "look at the web server's log"),
    }
}

/// Obtains a certificate from the service at `sts`, which the challenge of TLS-DSK named.
pub async fn obtain(
    io: &dyn Io,
    web: &Web,
    sts: &Url,
    applicant: &Applicant<'_>,
) -> Result<Obtained, CertificateError> {
    if sts.scheme() != "https" {
        return Err(CertificateError::NotSecure(sts.to_string()));
    }
    let request = request::write(applicant.aor.as_str(), applicant.private_key)?;
    let (issuer, port, hash) = metadata(io, web, sts).await?;
    let ticket = obtain_ticket(io, web, &issuer, &port, applicant.aor, applicant.means).await?;
    let mut request_id = [0; 16];
    io.fill_random(&mut request_id);
    let publish = PublishRequest {
        device: format!("{{{}}}", applicant.device),
        entity: applicant.aor.to_string(),
        request,
        request_id: Some(uuid::Builder::from_random_bytes(request_id).into_uuid().to_string()),
        lifetime: None,
    };
    let certificate = ask(io, web, &port, &ticket, &publish, hash).await?;
    examine(certificate, applicant, &port, io.now().unix_seconds)
}

/// Where tickets are issued, where certificates are, and how possession is proven there.
async fn metadata(io: &dyn Io, web: &Web, sts: &Url) -> Result<(Url, Url, ProofHash), CertificateError> {
    let mut url = sts.clone();
    url.set_path(&format!("{}/mex", sts.path().trim_end_matches('/')));
    url.set_query(None);
    let answer = web.fetch(io, &Request::get(url.clone())).await?;
    let url = url.to_string();
    if answer.status != 200 {
        return Err(CertificateError::MetadataStatus { url, status: answer.status });
    }
    let unusable = |why| CertificateError::Metadata { url: url.clone(), why };
    let Some(metadata) = ServiceMetadata::read(&answer.body).map_err(unusable)? else {
        return Err(CertificateError::NoPort { url });
    };
    let own = |location: &str, what| {
        let parsed = Url::parse(location).map_err(|_| unusable(MessageError::Unusable(what)))?;
        if parsed.scheme() == "https" && parsed.host_str() == sts.host_str() {
            Ok(parsed)
        } else {
            Err(CertificateError::Foreign { url: url.clone(), location: location.to_owned() })
        }
    };
    Ok((own(&metadata.issuer, "Issuer")?, own(&metadata.location, "port address")?, metadata.hash))
}

/// The request with the ticket and its proof, and the certificate in the answer.
async fn ask(
    io: &dyn Io,
    web: &Web,
    port: &Url,
    ticket: &Ticket,
    publish: &PublishRequest,
    hash: ProofHash,
) -> Result<Vec<u8>, CertificateError> {
    let lacks = |what| CertificateError::TicketLacks { url: port.to_string(), what };
    let key = ticket.proof_key().ok_or_else(|| lacks("proof key"))?;
    let assertion = Element::parse(ticket.assertion().as_bytes()).ok();
    let id = assertion.as_ref().and_then(|assertion| assertion.attribute("AssertionID"));
    let id = id.ok_or_else(|| lacks("id"))?;
    let header = security::write(ticket.assertion(), id, ticket.lifetime(), key, hash);
    let post = Request::post(port.clone(), publish.write(&header))
        .with("Content-Type", CONTENT_TYPE)
        .with("SOAPAction", format!("\"{PUBLISH_ACTION}\""));
    let answer = web.fetch(io, &post).await?;
    let url = port.to_string();
    if answer.status != 200 {
        return Err(CertificateError::Refused { url, status: answer.status, diagnostics: diagnostics(&answer) });
    }
    match PublishResponse::read(&answer.body) {
        Ok(PublishResponse::Published { certificate, .. }) => Ok(certificate),
        Ok(PublishResponse::Rejected(why)) => Err(CertificateError::Rejected { url, why }),
        Err(why) => Err(CertificateError::Answer { url, why }),
    }
}

/// Whether the certificate is what was asked for: of our key, for our address, for clients, and for a while.
fn examine(
    certificate: Vec<u8>,
    applicant: &Applicant<'_>,
    port: &Url,
    now: i64,
) -> Result<Obtained, CertificateError> {
    let url = port.to_string();
    let facts = match UserCertificate::read(&certificate) {
        Ok(facts) => facts,
        Err(why) => return Err(CertificateError::Useless { url, why: why.to_string() }),
    };
    let ours = |name: &str| name.parse::<Aor>().is_ok_and(|named| named == *applicant.aor);
    let why = if facts.public_key() != public_key_of(applicant.private_key)? {
        "it is for another key"
    } else if !facts.names().any(ours) {
        "it is for another user"
    } else if !facts.is_for_clients() {
        "it is not for clients"
    } else if now < facts.not_before() || facts.not_after().saturating_sub(now) < MARGIN_SECONDS {
        return Err(CertificateError::Untimely { url });
    } else {
        return Ok(Obtained { certificate, facts });
    };
    Err(CertificateError::Useless { url, why: why.to_owned() })
}
