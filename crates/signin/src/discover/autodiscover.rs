//! The client's walk from a name to the user's document. `[MS-OCDISCWS]` §3.2.
//!
//! ```text
//!  http://name/ ─┐ side by side, the first that
//!  https://name/ ┴ leads to a Root document ──► Redirect? ask there ──► User link
//!    ──► 401 with the ticket service ──► web ticket ──► User document ──► SIP server
//!                                                            └──► Redirect? a Root again
//! ```
//!
//! *Whom to believe.* An answer over plain HTTP can be forged, so it is a hint: it may lead only to an `https` address
//! on a trusted host. An answer over TLS from there is believed, and so is every host it names; that is what makes
//! servers outside the SIP domain reachable. Nothing ever leads back from `https` to `http`. Only a host in a trusted
//! domain, or the one that was believed already, gets credentials.

use super::AccessLocation;
use super::document::{ACCEPT_XML, Body, Document, SipAccess, Token};
use super::finding::Finding;
use super::trust::Trust;
use crate::date_time::write_time;
use crate::http::{Request, Web};
use crate::io::{HttpResponse, Io};
use crate::name::Aor;
use crate::report::{Event, Step};
use crate::topology::HostPort;
use crate::web_ticket::TICKET_URL_HEADER;
use crate::web_ticket::client::{Ticket, TicketMeans, diagnostics, obtain};
use futures_util::future::{Either, select};
use std::pin::pin;
use url::Url;

/// One walk, for one user.
#[derive(Clone, Copy)]
pub struct Walk<'a> {
    /// Door to the world.
    pub io: &'a dyn Io,
    /// Connections.
    pub web: &'a Web,
    /// Whom to believe without asking.
    pub trust: &'a Trust,
    /// Who signs in.
    pub aor: &'a Aor,
    /// What there is to ask for a ticket with; without any, the walk ends at the user's resource.
    pub means: TicketMeans<'a>,
    /// Takes the entry of this place, whatever the server says.
    pub view: Option<AccessLocation>,
    /// Redirects followed at most.
    pub redirects: usize,
}

/// Where the walk led.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// URL of the user's document.
    pub url: String,
    /// SIP servers, best first; one, unless the document does not say from where we come.
    pub servers: Vec<(AccessLocation, HostPort)>,
}

/// A document and where it was.
struct Located {
    url: Url,
    document: Document,
}

/// Every URL asked on one way, so that no circle is walked twice.
struct Trail {
    hops: Vec<String>,
    limit: usize,
}

impl Trail {
    fn new(redirects: usize) -> Trail {
        Trail { hops: Vec::new(), limit: redirects.saturating_add(1) }
    }

    fn visit(&mut self, url: &Url) -> Result<(), Finding> {
        let again = self.hops.iter().any(|hop| hop == url.as_str());
        self.hops.push(url.to_string());
        if again || self.hops.len() > self.limit {
            return Err(Finding::RedirectLoop { hops: self.hops.clone() });
        }
        Ok(())
    }
}

impl Walk<'_> {
    /// Walks from `name`, which must lie in the SIP domain.
    pub async fn from(&self, name: &str) -> Result<Found, Vec<Finding>> {
        let mut root = self.entry(name).await?;
        let mut trail = Trail::new(self.redirects);
        loop {
            let user = self.user_link(&root)?;
            trail.visit(&user).map_err(one)?;
            let located = self.user(user).await.map_err(one)?;
            if let Some(href) = located.document.body.link(&Token::Redirect) {
                let next = self.follow(&located.url, href).map_err(one)?;
                self.say(format!("{} sends us on to {next}", located.url));
                root = self.root(next, &mut trail).await.map_err(one)?;
                continue;
            }
            return match &located.document.body {
                Body::User(access, _) => self.choose(&located, access).map_err(one),
                Body::Root(_) | Body::Domain(..) => Err(one(Finding::NoLink { url: located.url.to_string() })),
            };
        }
    }

    /// Both ways into one name, side by side; the first that leads to a document wins.
    async fn entry(&self, name: &str) -> Result<Located, Vec<Finding>> {
        let way = |scheme: &'static str| async move {
            let url = Url::parse(&format!("{scheme}://{name}/"));
            let mut url = url.map_err(|_| Finding::NoLink { url: format!("{scheme}://{name}/") })?;
            url.query_pairs_mut().append_pair("sipuri", self.aor.as_str());
            self.root(url, &mut Trail::new(self.redirects)).await
        };
        let (https, http) = (pin!(way("https")), pin!(way("http")));
        let outcome = match select(https, http).await {
            Either::Left((Ok(located), _)) | Either::Right((Ok(located), _)) => Ok(located),
            Either::Left((Err(https), other)) => other.await.map_err(|http| vec![https, http]),
            Either::Right((Err(http), other)) => other.await.map_err(|https| vec![https, http]),
        };
        self.web.close_abandoned(self.io).await;
        outcome
    }

    /// From a URL of a Root resource, through redirects, to a document that leads to the user.
    async fn root(&self, start: Url, trail: &mut Trail) -> Result<Located, Finding> {
        let mut url = start;
        loop {
            trail.visit(&url)?;
            let answer = self.get(&Request::get(url.clone())).await?;
            let document = self.document(&url, &answer)?;
            let Some(href) = document.body.link(&Token::Redirect) else {
                return Ok(Located { url, document });
            };
            let next = self.follow(&url, href)?;
            self.say(format!("{url} sends us on to {next}"));
            url = next;
        }
    }

    fn user_link(&self, root: &Located) -> Result<Url, Vec<Finding>> {
        let url = root.url.to_string();
        match root.document.body.link(&Token::User) {
            Some(href) => self.follow(&root.url, href).map_err(one),
            None => Err(vec![Finding::NoLink { url }]),
        }
    }

    /// Where a link leads, if we go there.
    fn follow(&self, from: &Url, href: &str) -> Result<Url, Finding> {
        let to = from.join(href).ok().filter(|to| to.scheme() == "https" && to.host_str().is_some());
        let to = to.ok_or_else(|| Finding::InsecureLink { from: from.to_string(), to: href.to_owned() })?;
        let host = to.host_str().unwrap_or_default();
        if from.scheme() == "https" || self.trust.covers(host) {
            return Ok(to);
        }
        Err(Finding::ForeignHost { from: from.to_string(), host: host.to_owned() })
    }

    /// The user's resource, with a ticket once it asks for one.
    async fn user(&self, url: Url) -> Result<Located, Finding> {
        let request = Request::get(url.clone());
        let mut answer = self.get(&request).await?;
        let mut showed_ticket = false;
        if let (401 | 403, Some(location)) = (answer.status, answer.header(TICKET_URL_HEADER)) {
            let ticket = self.ticket(&url, location).await?;
            answer = self.get(&ticket.attach(request)).await?;
            showed_ticket = true;
        }
        let at = url.to_string();
        match answer.status {
            404 => Err(Finding::UserUnknown { url: at }),
            status @ (401 | 403) if showed_ticket => {
                Err(Finding::TicketRefused { url: at, status, diagnostics: diagnostics(&answer) })
            }
            status @ 401 => Err(Finding::NoTicketService { url: at, status }),
            _ => {
                let document = self.document(&url, &answer)?;
                Ok(Located { url, document })
            }
        }
    }

    async fn ticket(&self, user: &Url, location: &str) -> Result<Ticket, Finding> {
        if self.means.are_none() {
            return Err(Finding::NoCredentials { url: user.to_string() });
        }
        let insecure = || Finding::InsecureLink { from: user.to_string(), to: location.to_owned() };
        let authority = Url::parse(location.trim()).map_err(|_| insecure())?;
        let host = authority.host_str().unwrap_or_default();
        if user.scheme() != "https" || authority.scheme() != "https" {
            return Err(insecure());
        }
        if !(user.host_str() == Some(host) || self.trust.covers(host)) {
            return Err(Finding::ForeignHost { from: user.to_string(), host: host.to_owned() });
        }
        let ticket = obtain(self.io, self.web, &authority, user, self.aor, self.means).await?;
        let until = write_time(ticket.lifetime().expires);
        self.say(format!("{authority} gave a web ticket for {}, valid until {until}", self.aor));
        Ok(ticket)
    }

    /// The servers a user's document names for our place.
    fn choose(&self, located: &Located, access: &SipAccess) -> Result<Found, Finding> {
        let url = located.url.to_string();
        let places = match self.view.or(located.document.location) {
            Some(place) => vec![place],
            None => vec![AccessLocation::Internal, AccessLocation::External],
        };
        let server = |place: &AccessLocation| Some((*place, access.client(*place)?.clone()));
        let servers: Vec<_> = places.iter().filter_map(server).collect();
        if servers.is_empty() {
            return Err(Finding::NoServer {
                url,
                location: places.first().copied().unwrap_or(AccessLocation::External),
            });
        }
        for (place, server) in &servers {
            self.say(format!("{url} names {server} for clients {place}"));
        }
        Ok(Found { url, servers })
    }

    async fn get(&self, request: &Request) -> Result<HttpResponse, Finding> {
        let before = self.io.now().since_start;
        let answer = self.web.fetch(self.io, &request.clone().with("Accept", ACCEPT_XML)).await?;
        let spent = self.io.now().since_start.saturating_sub(before).as_secs_f64() * 1000.0;
        let server = answer.header("x-ms-server-fqdn").map(|fqdn| format!(" by {fqdn}")).unwrap_or_default();
        self.say(format!("GET {} → {}{server} ({spent:.1} ms)", request.url, answer.status));
        Ok(answer)
    }

    fn document(&self, url: &Url, answer: &HttpResponse) -> Result<Document, Finding> {
        if answer.status != 200 {
            return Err(Finding::Status { url: url.to_string(), status: answer.status });
        }
        Document::read(&answer.body).map_err(|why| Finding::NoDocument { url: url.to_string(), why })
    }

    fn say(&self, line: String) {
        self.io.tell(Event::Evidence(Step::Discovery, line));
    }
}

fn one(finding: Finding) -> Vec<Finding> {
    vec![finding]
}
