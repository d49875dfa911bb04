//! The web services of a site: what a path leads to, and what is behind it. The services themselves are elsewhere:
//! Autodiscover in [`discover::server`](crate::discover::server), tickets in [`web_ticket::server`](crate::web_ticket::server),
//! certificates in [`certificate::server`].
//!
//! | path | service | who may |
//! |---|---|---|
//! | `/`, `…/AutodiscoverService.svc/root`, `…/domain` | Autodiscover | anybody, without TLS too |
//! | `…/root/user` | Autodiscover | who shows a web ticket |
//! | `/WebTicket/WebTicketService.svc` | tickets | who logs on with Kerberos or NTLM |
//! | `/WebTicket/WebTicketService.svc/cert` | tickets | who signs with a user certificate |
//! | `/CertProv/CertProvisioningService.svc/WebTicket_Proof_SHA1`, `…/WebTicket_Proof` | certificates | who shows a web ticket and proves its key |
//! | `…/mex` | metadata of the last two | anybody |
//!
//! Paths are compared without case. Without TLS there is Autodiscover's Root only.

use crate::authenticate::certificate;
use crate::authenticate::certificate::judge::Judge;
use crate::authenticate::certificate::server::{CertificateService, Certification, Settings as CertificateSettings};
use crate::authenticate::verifier::{CertificateVerifier, KerberosVerifier, NtlmVerifier};
use crate::directory::Directory;
use crate::discover::AccessLocation;
use crate::discover::server::{ROOT_PATH, Site};
use crate::http::gate::{Accepts, Gate};
use crate::io::{HttpRequest, HttpResponse, Pending};
use crate::old_cryptography::OldCryptography;
use crate::service::{HttpConversation, HttpService, Surroundings};
use crate::topology::Topology;
use crate::web_ticket::authority::{TicketAuthority, TicketRefusal};
use crate::web_ticket::diagnostics::{Diagnostics, error_id};
use crate::web_ticket::security::ProofHash;
use crate::web_ticket::server::{Settings as TicketSettings, TicketService};
use crate::web_ticket::{CERTIFICATE_PATH, DIAGNOSTICS_HEADER, SERVICE_PATH, TICKET_HEADER, TICKET_URL_HEADER};
use mechanism::ntlm::TargetNames;
use std::net::SocketAddr;
use std::sync::Arc;

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Root,
    Domain,
    User,
    TicketMetadata,
    Ticket,
    TicketByCertificate,
    CertificateMetadata,
    Certificate(ProofHash),
}

impl Route {
    fn of(path: &str) -> Option<Route> {
        let path = path.split('?').next().unwrap_or_default();
        let path = path.trim_end_matches('/').to_ascii_lowercase();
        if let Some(rest) = path.strip_prefix(&SERVICE_PATH.to_ascii_lowercase()) {
            return match rest {
                "" => Some(Route::Ticket),
                "/mex" => Some(Route::TicketMetadata),
                CERTIFICATE_PATH => Some(Route::TicketByCertificate),
                _ => None,
            };
        }
        if let Some(rest) = path.strip_prefix(&certificate::SERVICE_PATH.to_ascii_lowercase()) {
            return match rest {
                "/mex" => Some(Route::CertificateMetadata),
                rest if rest == certificate::PROOF_PATH.to_ascii_lowercase() => {
                    Some(Route::Certificate(ProofHash::Sha1))
                }
                rest if rest == certificate::PROOF_PATH_SHA256.to_ascii_lowercase() => {
                    Some(Route::Certificate(ProofHash::Sha256))
                }
                _ => None,
            };
        }
        match path.strip_prefix(&ROOT_PATH.to_ascii_lowercase()).unwrap_or(&path) {
            "" => Some(Route::Root),
            "/domain" => Some(Route::Domain),
            "/user" | "/oauth/user" => Some(Route::User),
            _ => None,
        }
    }

    fn method(self) -> &'static str {
        match self {
            Route::Ticket | Route::TicketByCertificate | Route::Certificate(_) => "POST",
            _ => "GET",
        }
    }
}

/// The web services of one site, as `net` calls them.
pub struct WebServices {
    site: Site,
    topology: Arc<Topology>,
    directory: Arc<dyn Directory>,
    authority: Arc<TicketAuthority>,
    surroundings: Arc<dyn Surroundings>,
    tickets: TicketService,
    certificates: Option<CertificateService>,
    accepts: Accepts,
}

/// What every web site of a deployment shares.
#[derive(Clone)]
pub struct Backing {
    /// The deployment.
    pub topology: Arc<Topology>,
    /// Its users.
    pub directory: Arc<dyn Directory>,
    /// Who can tell whether an NTLM answer is right; without it NTLM is not offered.
    pub ntlm: Option<Arc<dyn NtlmVerifier>>,
    /// Who can tell whether a Kerberos ticket is right; without it `Negotiate` is not offered.
    pub kerberos: Option<Arc<KerberosVerifier>>,
    /// Makes and recognises tickets.
    pub authority: Arc<TicketAuthority>,
    /// Issues and keeps users' certificates; `None` where there are none.
    pub certification: Option<Certification>,
    /// What is still taken of old cryptography.
    pub old_cryptography: OldCryptography,
    /// Time and randomness.
    pub surroundings: Arc<dyn Surroundings>,
    /// NetBIOS name of the domain, for NTLM.
    pub netbios_domain: String,
    /// DNS name of the domain, for NTLM.
    pub dns_domain: String,
}

impl WebServices {
    /// The services of one site.
    pub fn new(site: Site, backing: &Backing) -> Arc<WebServices> {
        let Backing { topology, directory, ntlm, kerberos, authority, surroundings, .. } = backing.clone();
        let old = backing.old_cryptography;
        let judge = backing.certification.clone().map(|Certification { authority, published }| {
            Arc::new(Judge::new(authority, published, surroundings.clone())) as Arc<dyn CertificateVerifier>
        });
        let tickets = TicketService::new(
            TicketSettings { sha1: old.web_services_sha1, ..TicketSettings::new(&site.web, &site.fqdn) },
            authority.clone(),
            judge,
            directory.clone(),
            surroundings.clone(),
        );
        let certificates = backing.certification.clone().map(|certification| {
            let defaults = CertificateSettings::new(&site.web, &site.fqdn);
            let settings = CertificateSettings { sha1: old.web_services_sha1, requests: old.requests(), ..defaults };
            let (authority, directory) = (authority.clone(), directory.clone());
            CertificateService::new(settings, authority, certification, directory, surroundings.clone())
        });
        let names = TargetNames {
            netbios_domain: backing.netbios_domain.clone(),
            netbios_computer: site.fqdn.split('.').next().unwrap_or_default().to_ascii_uppercase(),
            dns_domain: backing.dns_domain.clone(),
            dns_computer: site.fqdn.clone(),
        };
        let mut hosts = vec![site.fqdn.clone(), site.web.split(':').next().unwrap_or_default().to_owned()];
        hosts.dedup();
        // Outside there is no KDC to ask.
        let kerberos = kerberos.filter(|_| site.location == AccessLocation::Internal);
        let ntlm = ntlm.filter(|_| old.ntlm);
        let accepts = Accepts { ntlm, kerberos, hosts, names, channel: site.channel };
        Arc::new(WebServices { site, topology, directory, authority, surroundings, tickets, certificates, accepts })
    }

    async fn answer(&self, gate: &mut Gate, request: &HttpRequest) -> HttpResponse {
        let Some(route) = Route::of(&request.path) else { return self.site.bare(404) };
        if !self.site.secure && route != Route::Root {
            return self.site.bare(404);
        }
        if request.method != route.method() && !(request.method == "HEAD" && route.method() == "GET") {
            let mut response = self.site.bare(405);
            response.headers.push(("allow".to_owned(), route.method().to_owned()));
            return response;
        }
        match route {
            Route::Root => self.site.root(&self.topology, request),
            Route::Domain => self.site.domain(&self.topology, request),
            Route::User => self.user(request).await,
            Route::TicketMetadata => self.tickets.metadata(),
            Route::Ticket => self.tickets.issue(gate, request).await,
            Route::TicketByCertificate => match &self.certificates {
                Some(_) => self.tickets.issue_to_holder(request).await,
                None => self.site.bare(404),
            },
            Route::CertificateMetadata => match &self.certificates {
                Some(certificates) => certificates.metadata(),
                None => self.site.bare(404),
            },
            Route::Certificate(hash) => match &self.certificates {
                Some(certificates) => certificates.publish(request, hash).await,
                None => self.site.bare(404),
            },
        }
    }

    async fn user(&self, request: &HttpRequest) -> HttpResponse {
        let Some(value) = header(request, TICKET_HEADER) else { return self.wants_ticket(None) };
        let now = self.surroundings.now().unix_seconds;
        let ticket = match self.authority.check_header(value, &self.tickets.settings().audience(), now) {
            Ok(ticket) => ticket,
            Err(refusal) => return self.wants_ticket(Some(refusal)),
        };
        match self.directory.user(ticket.aor()).await {
            Ok(user) => self.site.user(&self.topology, user.as_deref().filter(|user| user.sip_enabled), request),
            Err(_) => self.site.bare(503),
        }
    }

    /// 401 without a challenge; the reason only for who did show a ticket.
    fn wants_ticket(&self, refusal: Option<TicketRefusal>) -> HttpResponse {
        let mut response = self.site.bare(401);
        response.headers.push((TICKET_URL_HEADER.to_owned(), self.tickets.settings().url()));
        response.headers.push(("x-ms-webticketsupported".to_owned(), "saml".to_owned()));
        if let Some(refusal) = refusal {
            let id = match refusal {
                TicketRefusal::Expired | TicketRefusal::NotYetValid => error_id::EXPIRED_TICKET,
                TicketRefusal::Invalid => error_id::INVALID_TICKET,
                TicketRefusal::OtherAudience => error_id::OTHER_AUDIENCE,
            };
            let diagnostics = Diagnostics::new(id, &refusal.to_string(), &self.site.fqdn, "InvalidSecurityToken");
            response.headers.push((DIAGNOSTICS_HEADER.to_owned(), diagnostics.header()));
        }
        response
    }
}

impl HttpService for WebServices {
    fn conversation(self: Arc<Self>, _remote: SocketAddr) -> Box<dyn HttpConversation> {
        let gate = Gate::new(self.accepts.clone());
        Box::new(Conversation { services: self, gate })
    }
}

/// The requests of one connection, and what it has proven.
struct Conversation {
    services: Arc<WebServices>,
    gate: Gate,
}

impl HttpConversation for Conversation {
    fn answer(&mut self, request: HttpRequest) -> Pending<'_, HttpResponse> {
        let Conversation { services, gate } = self;
        Box::pin(async move { services.answer(gate, &request).await })
    }
}

fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}
