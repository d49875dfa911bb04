//! The web service: Root, Domain and User resources, and the router of everything a web site here offers.
//! `[MS-OCDISCWS]` §3.1.
//!
//! | request | answer |
//! |---|---|
//! | Root, without TLS | one Redirect to the same over TLS (a document, not a 3xx) |
//! | Root, domain served elsewhere | one Redirect there |
//! | Root | links to User and Domain; the same whether the user exists or not |
//! | User, no or wrong ticket | 401 with the ticket service's URL and no challenge: clients would answer that instead |
//! | User, home unknown | 404 |
//! | User, home behind other web services | one Redirect to *Root* there: tickets are not valid across |
//! | User | SIP servers and links |
//!
//! Every URL is made of the configured authority, never of the `Host` a client sent. Paths are compared without case.
//! OAuth links are not published: there is no token service behind them.

use super::AccessLocation;
use super::document::{Body, Document, Form, Link, SipAccess, Token};
use crate::authenticate::certificate;
use crate::authenticate::certificate::server::{CertificateService, Certification, Settings as CertificateSettings};
use crate::authenticate::verifier::{KerberosVerifier, NtlmVerifier};
use crate::directory::{Directory, User};
use crate::http::gate::{Accepts, Gate};
use crate::io::{HttpRequest, HttpResponse, Pending};
use crate::name::{Aor, SipDomain};
use crate::service::{HttpConversation, HttpService, Surroundings};
use crate::topology::{HostPort, Topology};
use crate::web_ticket::authority::{TicketAuthority, TicketRefusal};
use crate::web_ticket::message::Diagnostics;
use crate::web_ticket::server::{Settings as TicketSettings, TicketService};
use crate::web_ticket::{DIAGNOSTICS_HEADER, SERVICE_PATH, TICKET_HEADER, TICKET_URL_HEADER};
use mechanism::ntlm::TargetNames;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use url::form_urlencoded;

/// Path of the Root resource.
pub const ROOT_PATH: &str = "/Autodiscover/AutodiscoverService.svc/root";

/// One web site: one listener, and what it says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// For clients inside, or outside.
    pub location: AccessLocation,
    /// The listener speaks TLS. One that does not only sends clients to one that does.
    pub secure: bool,
    /// `host` or `host:port` of this site over TLS, as in URLs; its certificate has the name.
    pub web: String,
    /// FQDN of this server.
    pub fqdn: String,
    /// SIP domains served by others, and the URL of their Root resource.
    pub elsewhere: BTreeMap<SipDomain, String>,
}

impl Site {
    /// Answers for the Root resource. It knows no users.
    pub fn root(&self, topology: &Topology, request: &HttpRequest) -> HttpResponse {
        let form = Form::of_accept(header(request, "accept"));
        let asked = Asked::of(request);
        if !self.secure {
            return self.redirect(self.root_url(asked.aor.as_ref()), form);
        }
        let served = |domain: &SipDomain| topology.sip_domains.iter().any(|d| d.eq_ignore_ascii_case(domain.as_str()));
        let query = match &asked.domain {
            Some(domain) if served(domain) => format!("?originalDomain={domain}"),
            Some(domain) => match self.elsewhere.get(domain) {
                Some(url) => return self.redirect(with_sipuri(url, asked.aor.as_ref()), form),
                None => return self.bare(404),
            },
            None => String::new(),
        };
        let link = |token, name: &str| Link::new(token, format!("https://{}{ROOT_PATH}/{name}{query}", self.web));
        let links = vec![link(Token::Domain, "domain"), link(Token::User, "user")];
        self.document(Body::Root(links), form)
    }

    /// Answers for the Domain resource: the entrances that serve everybody.
    pub fn domain(&self, topology: &Topology, request: &HttpRequest) -> HttpResponse {
        let form = Form::of_accept(header(request, "accept"));
        let first_pool = || topology.pools.first().map(|pool| HostPort { host: pool.fqdn.clone(), port: pool.port });
        let inside = topology.director.clone().or_else(first_pool);
        let links = vec![Link::new(Token::Current, format!("https://{}{ROOT_PATH}/domain", self.web))];
        self.document(Body::Domain(access(inside, topology), links), form)
    }

    /// Answers for the User resource once the ticket was recognised. `user` is its owner, when the directory knows them.
    pub fn user(&self, topology: &Topology, user: Option<&User>, request: &HttpRequest) -> HttpResponse {
        let form = Form::of_accept(header(request, "accept"));
        let pool = user.and_then(|user| user.home_pool.as_deref()).and_then(|home| topology.pool(home));
        let (Some(user), Some(pool)) = (user, pool) else { return self.bare(404) };
        let home_web = match self.location {
            AccessLocation::Internal => pool.web.as_str(),
            AccessLocation::External => topology.external_web.as_deref().unwrap_or(&self.web),
        };
        if !home_web.eq_ignore_ascii_case(&self.web) {
            let root = with_sipuri(&format!("https://{home_web}{ROOT_PATH}"), Some(&user.aor));
            return self.document(Body::User(SipAccess::default(), vec![Link::new(Token::Redirect, root)]), form);
        }
        let other =
            |name: &str, web: &str| Link::new(Token::Other(name.to_owned()), format!("https://{web}{ROOT_PATH}"));
        let mut links = vec![other("Internal/Autodiscover", &pool.web)];
        links.extend(topology.external_web.iter().map(|web| other("External/Autodiscover", web)));
        links.push(Link::new(Token::Current, format!("https://{}{ROOT_PATH}/user", self.web)));
        let home = HostPort { host: pool.fqdn.clone(), port: pool.port };
        self.document(Body::User(access(Some(home), topology), links), form)
    }

    fn root_url(&self, aor: Option<&Aor>) -> String {
        with_sipuri(&format!("https://{}{ROOT_PATH}", self.web), aor)
    }

    fn redirect(&self, url: String, form: Form) -> HttpResponse {
        self.document(Body::Root(vec![Link::new(Token::Redirect, url)]), form)
    }

    fn document(&self, body: Body, form: Form) -> HttpResponse {
        let document = Document { location: Some(self.location), body };
        let mut response = self.bare(200);
        response.headers.push(("content-type".to_owned(), form.content_type().to_owned()));
        response.body = document.write(form).into_bytes();
        response
    }

    fn bare(&self, status: u16) -> HttpResponse {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let headers = vec![
            header("cache-control", "no-cache"),
            header("pragma", "no-cache"),
            header("expires", "-1"),
            header("x-content-type-options", "nosniff"),
            header("x-ms-server-fqdn", &self.fqdn),
        ];
        HttpResponse { status, headers, body: Vec::new(), reusable: true }
    }
}

/// The home pool inside, the Edge outside. Entries for servers are published as the product does, and used by nobody.
fn access(inside: Option<HostPort>, topology: &Topology) -> SipAccess {
    SipAccess {
        server_internal: inside.clone(),
        client_internal: inside,
        server_external: topology.edge.clone(),
        client_external: topology.edge.clone(),
    }
}

/// Clients follow a link as it stands, so whom it is about has to be in it.
fn with_sipuri(url: &str, aor: Option<&Aor>) -> String {
    let Some(aor) = aor else { return url.to_owned() };
    let separator = if url.contains('?') { '&' } else { '?' };
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("sipuri", aor.as_str()).finish();
    format!("{url}{separator}{query}")
}

/// Whom a request for Root is about.
struct Asked {
    aor: Option<Aor>,
    domain: Option<SipDomain>,
}

impl Asked {
    /// From `sipuri` (with or without scheme, percent-encoded or not), `originalDomain`, or the name that was asked.
    fn of(request: &HttpRequest) -> Asked {
        let query = request.path.split_once('?').map_or("", |(_, query)| query);
        // A plus is a plus here: addresses have them, and common clients do not encode the address at all.
        let query = query.replace('+', "%2B");
        let value = |name: &str| {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.into_owned())
        };
        let aor: Option<Aor> = value("sipuri").and_then(|uri| uri.parse().ok());
        let host = request.host.to_ascii_lowercase();
        let of_host = || ["lyncdiscoverinternal.", "lyncdiscover."].iter().find_map(|label| host.strip_prefix(label));
        let domain = match &aor {
            Some(aor) => Some(aor.domain()),
            None => value("originalDomain").and_then(|d| d.parse().ok()).or_else(|| of_host()?.parse().ok()),
        };
        Asked { aor, domain }
    }
}

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Root,
    Domain,
    User,
    TicketMetadata,
    Ticket,
    CertificateMetadata,
    Certificate,
}

impl Route {
    fn of(path: &str) -> Option<Route> {
        let path = path.split('?').next().unwrap_or_default();
        let path = path.trim_end_matches('/').to_ascii_lowercase();
        if let Some(rest) = path.strip_prefix(&SERVICE_PATH.to_ascii_lowercase()) {
            return match rest {
                "" => Some(Route::Ticket),
                "/mex" => Some(Route::TicketMetadata),
                _ => None,
            };
        }
        if let Some(rest) = path.strip_prefix(&certificate::SERVICE_PATH.to_ascii_lowercase()) {
            return match rest {
                "/mex" => Some(Route::CertificateMetadata),
                rest if rest == certificate::PROOF_PATH.to_ascii_lowercase() => Some(Route::Certificate),
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
            Route::Ticket | Route::Certificate => "POST",
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
        let tickets = TicketService::new(
            TicketSettings::new(&site.web, &site.fqdn),
            authority.clone(),
            directory.clone(),
            surroundings.clone(),
        );
        let certificates = backing.certification.clone().map(|certification| {
            let settings = CertificateSettings::new(&site.web, &site.fqdn);
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
        let accepts = Accepts { ntlm, kerberos, hosts, names };
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
            Route::CertificateMetadata => match &self.certificates {
                Some(certificates) => certificates.metadata(),
                None => self.site.bare(404),
            },
            Route::Certificate => match &self.certificates {
                Some(certificates) => certificates.publish(request).await,
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
                TicketRefusal::Expired | TicketRefusal::NotYetValid => 28033,
                TicketRefusal::Invalid | TicketRefusal::OtherAudience => 28032,
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
