//! The Certificate Provisioning Service: metadata for anybody, certificates for who shows a web ticket and proves to have
//! its key. `[MS-OCAUTHWS]` §3.1.
//!
//! What is asked, in this order; each refusal has its own error id:
//!
//! 1. Is it a SOAP message, with a ticket? Is the ticket ours, whole, for this service, and in its time?
//! 2. Does the sender have the ticket's key?
//! 3. Is the certificate asked for the ticket's own address, and may that user still sign in?
//! 4. Does the sender have the private key of what is to be certified, and is it of a kind and size we accept?
//! 5. Was this very request answered before?
//!
//! The proof covers the ticket's lifetime only, so it is the same in every message with one ticket, and message ids are
//! repeated too. What tells requests apart is `RequestID` and what is to be certified: the same ticket may ask again,
//! the same request may not. Requests are remembered as long as their ticket could be used, up to a limit, in memory:
//! after a restart, or at another server behind the same name, a recorded request would only publish the same key of the
//! same user again.

use super::message::{PublishRequest, PublishResponse, ServiceMetadata};
use super::published::{Publication, PublishedCertificates};
use super::{PROOF_PATH, PROOF_PATH_SHA256, SERVICE_PATH};
use crate::authenticate::throttle::{Failures, Throttle};
use crate::directory::{Directory, DirectoryError};
use crate::io::{HttpRequest, HttpResponse};
use crate::name::Aor;
use crate::service::Surroundings;
use crate::web_ticket::authority::{TicketAuthority, TicketRefusal, VerifiedTicket};
use crate::web_ticket::diagnostics::{Diagnostics, error_id};
use crate::web_ticket::message::{CONTENT_TYPE, MessageError, parse_request};
use crate::web_ticket::once::Once;
use crate::web_ticket::security::{ProofHash, SecurityError, SecurityHeader};
use crate::web_ticket::server::{Settings as TicketSettings, answer, refuse, sentence};
use mechanism::user_certificate::{
    CertificateRequest, Lifetimes, Order, RequestError, RequestLimits, UserCertificateAuthority,
};
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How certificates are issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `host` or `host:port` of the web services, as in their URLs.
    pub web: String,
    /// FQDN of this server, told in diagnostics.
    pub fqdn: String,
    /// How long certificates are valid.
    pub lifetimes: Lifetimes,
    /// Which certification requests are accepted.
    pub requests: RequestLimits,
    /// Whether possession of a ticket may be proven with SHA-1. Without it the metadata names the port for SHA-256, which
    /// open clients do not know.
    pub sha1: bool,
    /// Requests that are remembered; beyond that the one whose ticket ends first is forgotten.
    pub remembered: usize,
    /// How many certificates one user gets within which time; each costs RSA and a write to the store. Certificates are
    /// counted here as wrong passwords are elsewhere.
    pub issued: Throttle,
}

impl Settings {
    /// The defaults for web services at this authority.
    pub fn new(web: &str, fqdn: &str) -> Settings {
        Settings {
            web: web.to_owned(),
            fqdn: fqdn.to_owned(),
            lifetimes: Lifetimes::default(),
            requests: RequestLimits::default(),
            sha1: true,
            remembered: 50_000,
            issued: Throttle { failures: 30, pause: Duration::from_secs(10 * 60), ..Throttle::default() },
        }
    }

    /// Base URL of the service: the `sts-uri` of challenges.
    pub fn url(&self) -> String {
        format!("https://{}{SERVICE_PATH}", self.web)
    }
}

/// Who issues certificates and who keeps them: what every server of a deployment shares.
#[derive(Clone)]
pub struct Certification {
    /// Issues certificates, and recognises them.
    pub authority: Arc<UserCertificateAuthority>,
    /// Keeps those that count.
    pub published: Arc<dyn PublishedCertificates>,
}

/// The service.
pub struct CertificateService {
    settings: Settings,
    tickets: Arc<TicketAuthority>,
    certification: Certification,
    directory: Arc<dyn Directory>,
    surroundings: Arc<dyn Surroundings>,
    answered: Mutex<Once>,
    issued: Mutex<Failures<Aor>>,
}

impl CertificateService {
    /// A service with these settings, for who shows a ticket of `tickets`.
    pub fn new(
        settings: Settings,
        tickets: Arc<TicketAuthority>,
        certification: Certification,
        directory: Arc<dyn Directory>,
        surroundings: Arc<dyn Surroundings>,
    ) -> CertificateService {
        let answered = Mutex::new(Once::new(settings.remembered));
        let issued = Mutex::new(Failures::new(settings.issued.clone()));
        CertificateService { settings, tickets, certification, directory, surroundings, answered, issued }
    }

    /// Answers `GET …/mex`. Only the port that works is there.
    pub fn metadata(&self) -> HttpResponse {
        let (hash, path) = match self.settings.sha1 {
            true => (ProofHash::Sha1, PROOF_PATH),
            false => (ProofHash::Sha256, PROOF_PATH_SHA256),
        };
        let location = format!("{}{path}", self.settings.url());
        let metadata = ServiceMetadata { issuer: self.ticket_settings().url(), location, hash };
        answer(200, CONTENT_TYPE, metadata.write())
    }

    /// Answers `POST …/WebTicket_Proof_SHA1` or `…/WebTicket_Proof`, a GetAndPublishCert; the path says with which hash
    /// possession is proven.
    pub async fn publish(&self, request: &HttpRequest, hash: ProofHash) -> HttpResponse {
        match self.certificate(&request.body, hash).await {
            Ok(response) => answer(200, CONTENT_TYPE, response.write()),
            Err(refusal) => refuse(refusal.status(), &refusal.diagnostics(&self.settings.fqdn)),
        }
    }

    /// The ticket service of the same web services; it issues what is shown here.
    fn ticket_settings(&self) -> TicketSettings {
        TicketSettings::new(&self.settings.web, &self.settings.fqdn)
    }

    async fn certificate(&self, body: &[u8], hash: ProofHash) -> Result<PublishResponse, Refusal> {
        if hash == ProofHash::Sha1 && !self.settings.sha1 {
            return Err(SecurityError::Sha1.into());
        }
        let now = self.surroundings.now().unix_seconds;
        let (ticket, request) = self.read(body, now, hash)?;
        self.may_have_one(&ticket, &request).await?;
        let key = CertificateRequest::read(&request.request, &self.settings.requests)?;
        names_nobody_else(&key, ticket.aor())?;
        let device = request.device_id()?;

        if self.issued_too_often(ticket.aor()) {
            return Err(Refusal::TooOften);
        }
        let name = name_of(ticket.id(), &request);
        if !self.answered(|answered| answered.take(name, ticket.expires(), now)) {
            return Err(Refusal::Replayed);
        }
        let lifetime = self.settings.lifetimes.grant(request.lifetime);
        let mut serial = [0; 16];
        self.surroundings.fill_random(&mut serial);
        let order = Order { address: ticket.aor().as_str(), request: &key, serial, now, lifetime };
        let published = match self.certification.authority.issue(&order) {
            Ok(certificate) => self.keep(ticket.aor(), device, certificate, now, lifetime).await,
            Err(error) => Err(Refusal::Failed(error.to_string())),
        };
        // Whoever got no certificate may ask again.
        let certificate = published.inspect_err(|_| {
            self.answered(|answered| answered.give_back(&name));
        })?;
        let since_start = self.surroundings.now().since_start;
        self.issued(|issued| issued.note(ticket.aor().clone(), since_start));
        let PublishRequest { device, entity, request_id, .. } = request;
        Ok(PublishResponse::Published { device, entity, certificate, request_id })
    }

    /// Whoever sent this proved to have the ticket in it.
    fn read(&self, body: &[u8], now: i64, hash: ProofHash) -> Result<(VerifiedTicket, PublishRequest), Refusal> {
        let envelope = parse_request(body)?;
        let header = SecurityHeader::read(body, &envelope)?;
        let ticket = self.tickets.check(header.assertion(), &self.ticket_settings().audience(), now)?;
        header.check(&ticket, now, hash)?;
        Ok((ticket, PublishRequest::read(&envelope)?))
    }

    /// The address is the ticket's, and its user may sign in: since the ticket was issued that may have ended.
    async fn may_have_one(&self, ticket: &VerifiedTicket, request: &PublishRequest) -> Result<(), Refusal> {
        if request.entity.parse::<Aor>().ok().as_ref() != Some(ticket.aor()) {
            return Err(Refusal::NotOwner);
        }
        match self.directory.user(ticket.aor()).await? {
            Some(user) if user.enabled && user.sip_enabled => Ok(()),
            _ => Err(Refusal::NotEnabled),
        }
    }

    async fn keep(
        &self,
        aor: &Aor,
        device: uuid::Uuid,
        certificate: Vec<u8>,
        now: i64,
        lifetime: std::time::Duration,
    ) -> Result<Vec<u8>, Refusal> {
        let seconds = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        let not_after = now.saturating_add(seconds);
        let publication = Publication { aor: aor.clone(), device, certificate: certificate.clone(), not_after };
        self.certification.published.publish(publication).await?;
        Ok(certificate)
    }

    fn issued_too_often(&self, aor: &Aor) -> bool {
        let since_start = self.surroundings.now().since_start;
        self.issued(|issued| issued.paused(aor, since_start)).is_some()
    }

    fn issued<T>(&self, act: impl FnOnce(&mut Failures<Aor>) -> T) -> T {
        act(&mut self.issued.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn answered<T>(&self, act: impl FnOnce(&mut Once) -> T) -> T {
        act(&mut self.answered.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The subject of a request is written anew, so it does not matter; unless it is somebody else's address, which would
/// not be what its sender expects.
fn names_nobody_else(request: &CertificateRequest, aor: &Aor) -> Result<(), Refusal> {
    match request.common_name().and_then(|name| name.parse::<Aor>().ok()) {
        Some(named) if named != *aor => Err(Refusal::NamesAnother(named)),
        _ => Ok(()),
    }
}

/// What tells a request apart from all others: it is answered once.
fn name_of(ticket: &str, request: &PublishRequest) -> [u8; 32] {
    let mut digest = Sha256::new();
    let request_id = request.request_id.as_deref().unwrap_or_default();
    for part in [ticket.as_bytes(), request_id.as_bytes(), &request.request] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

/// Why there is no certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Refusal {
    /// The message itself.
    Message(MessageError),
    /// No ticket, or no proof.
    Security(SecurityError),
    /// The ticket.
    Ticket(TicketRefusal),
    /// Asked for somebody else.
    NotOwner,
    /// The user may not sign in, or is no more.
    NotEnabled,
    /// The certification request.
    Request(RequestError),
    /// The certification request has another user's address.
    NamesAnother(Aor),
    /// Answered before.
    Replayed,
    /// The user got too many of late.
    TooOften,
    /// Directory or store did not answer.
    Unavailable,
    /// A fault of this server.
    Failed(String),
}

impl From<MessageError> for Refusal {
    fn from(error: MessageError) -> Refusal {
        Refusal::Message(error)
    }
}

impl From<SecurityError> for Refusal {
    fn from(error: SecurityError) -> Refusal {
        Refusal::Security(error)
    }
}

impl From<TicketRefusal> for Refusal {
    fn from(refusal: TicketRefusal) -> Refusal {
        Refusal::Ticket(refusal)
    }
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Refusal {
        Refusal::Request(error)
    }
}

impl From<DirectoryError> for Refusal {
    fn from(_: DirectoryError) -> Refusal {
        Refusal::Unavailable
    }
}

impl Refusal {
    fn status(&self) -> u16 {
        match self {
            Refusal::NotOwner | Refusal::NotEnabled => 403,
            Refusal::TooOften | Refusal::Unavailable => 503,
            _ => 500,
        }
    }

    fn diagnostics(&self, source: &str) -> Diagnostics {
        use error_id::{
            BAD_CERTIFICATION_REQUEST, BAD_PROOF, BAD_REQUEST, EXPIRED_TICKET, INVALID_TICKET, NO_TOKEN, NOT_OWNER,
            NOT_SIP_ENABLED, OTHER_AUDIENCE, REPLAYED, STALE_PROOF,
        };
        let (id, fault, reason) = match self {
            Refusal::Message(why) => (Some(BAD_REQUEST), "wst:InvalidRequest", format!("The message: {why}.")),
            Refusal::Security(SecurityError::NoTicket) => {
                (Some(NO_TOKEN), "wsse:InvalidSecurityToken", "No valid security token.".to_owned())
            }
            Refusal::Security(why @ SecurityError::Expired) => {
                (Some(STALE_PROOF), "wsse:MessageExpired", sentence(why))
            }
            Refusal::Security(why) => (Some(BAD_PROOF), "wsse:FailedCheck", sentence(why)),
            Refusal::Ticket(why) => {
                let (id, fault) = match why {
                    TicketRefusal::Invalid => (INVALID_TICKET, "wsse:InvalidSecurityToken"),
                    TicketRefusal::Expired | TicketRefusal::NotYetValid => (EXPIRED_TICKET, "wsse:MessageExpired"),
                    TicketRefusal::OtherAudience => (OTHER_AUDIENCE, "wsse:InvalidSecurityToken"),
                };
                (Some(id), fault, sentence(why))
            }
            Refusal::NotOwner => {
                (Some(NOT_OWNER), "wsse:FailedAuthentication", "The web ticket is not that of the Entity.".to_owned())
            }
            Refusal::NotEnabled => {
                (Some(NOT_SIP_ENABLED), "wsse:FailedAuthentication", "The user is not enabled for SIP.".to_owned())
            }
            Refusal::Request(why) => (Some(BAD_CERTIFICATION_REQUEST), "wst:InvalidRequest", sentence(why)),
            Refusal::NamesAnother(named) => (
                Some(BAD_CERTIFICATION_REQUEST),
                "wst:InvalidRequest",
                format!("The certification request is for {named}, which is not the Entity."),
            ),
            Refusal::Replayed => {
                (Some(REPLAYED), "wsse:FailedCheck", "This request was already answered; make a new one.".to_owned())
            }
            Refusal::TooOften => {
                (None, "s:Server", "Too many certificates were issued to this user; ask again later.".to_owned())
            }
            Refusal::Unavailable => (None, "s:Server", "The directory does not answer at the moment.".to_owned()),
            Refusal::Failed(why) => (None, "s:Server", format!("The certificate could not be issued: {why}.")),
        };
        Diagnostics { id, reason, source: Some(source.to_owned()), fault: Some(fault.to_owned()), cause: None }
    }
}
