//! The web service: Root, Domain and User resources. `[MS-OCDISCWS]` §3.1. Tickets are asked for and judged by
//! [`crate::web`], which also knows the way to the other services.
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
use crate::directory::User;
use crate::io::{HttpRequest, HttpResponse};
use crate::name::{Aor, SipDomain};
use crate::topology::{HostPort, Topology};
use mechanism::channel_bindings::ChannelBindings;
use std::collections::BTreeMap;
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
    /// What TLS connections to it are bound to; `None` where TLS ends in front of it.
    pub channel: Option<ChannelBindings>,
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

    /// An answer without a body, with the headers that every answer of this site has.
    pub fn bare(&self, status: u16) -> HttpResponse {
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

fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}
