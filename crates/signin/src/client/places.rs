//! Step 2: a connection to one of the places that discovery found or a redirect named; never to one visited before, which would
//! only lead in a circle.

use super::{Failed, SignIn};
use crate::connect::client::{self as connect, Hop};
use crate::discover::AccessLocation;
use crate::discover::client::{Cached, Candidate, Discovery};
use crate::discover::finding::Finding;
use crate::io::Io;
use crate::link::Link;
use crate::register::client::RegisterFailure;
use crate::register::message::RedirectTarget;
use crate::report::{Certainty, Event, Step, StepResult, Verdict};
use std::fmt;
use std::net::IpAddr;

/// A server to go to: a candidate of discovery, or a Contact of a redirect.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) host: String,
    port: u16,
    addresses: Option<Vec<IpAddr>>,
    legacy_tcp: bool,
}

impl Place {
    pub(super) fn of(candidate: &Candidate) -> Place {
        Place {
            host: candidate.host.clone(),
            port: candidate.port,
            addresses: Some(candidate.addresses.clone()),
            legacy_tcp: candidate.legacy_tcp,
        }
    }

    /// This place as the next sign-in may try it first.
    pub(super) fn reached(&self, view: AccessLocation) -> Cached {
        let addresses = self.addresses.clone().unwrap_or_default();
        Cached { host: self.host.clone(), port: self.port, addresses, view }
    }

    pub(super) fn named(target: &RedirectTarget) -> Place {
        Place { host: target.host.clone(), port: target.port, addresses: None, legacy_tcp: false }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The places tried in one walk home, in order, and why each did not open, if so.
#[derive(Default)]
pub(super) struct Visited(Vec<(String, Option<Verdict>)>);

impl Visited {
    fn find(&self, place: &Place) -> Option<&(String, Option<Verdict>)> {
        self.0.iter().find(|(visited, _)| *visited == place.to_string())
    }

    /// `next` is where the last redirect leads, when that is known already.
    pub(super) fn too_many(&self, next: Option<&Place>) -> Failed {
        let hops = self.0.iter().map(|(place, _)| place.clone()).chain(next.map(ToString::to_string)).collect();
        Failed::Everywhere(Step::Redirection, RegisterFailure::Loop { hops }.verdict())
    }
}

impl SignIn {
    /// The first of these places that opens.
    pub(super) async fn open_one<'a>(
        &self,
        io: &'a dyn Io,
        discovery: &Discovery,
        choices: &[Place],
        visited: &mut Visited,
        on_failure: Step,
    ) -> Result<(Place, Link<'a>), Failed> {
        let fresh: Vec<&Place> = choices.iter().filter(|place| visited.find(place).is_none()).collect();
        if fresh.is_empty() {
            // Sent again to where nobody answered: that is what is wrong, and not the circle.
            let dead = choices.iter().find_map(|place| visited.find(place)?.1.clone());
            return Err(match dead {
                Some(verdict) => Failed::Everywhere(Step::Redirection, after_redirect(verdict)),
                None => visited.too_many(choices.first()),
            });
        }
        let mut first = None;
        for place in fresh {
            io.tell(Event::Began(Step::Connectivity));
            let opened = self.open(io, discovery, place).await;
            visited.0.push((place.to_string(), opened.as_ref().err().cloned()));
            match opened {
                Ok(opened) => {
                    io.tell(Event::Ended(Step::Connectivity, StepResult::Pass));
                    return Ok(opened);
                }
                Err(verdict) => {
                    io.tell(Event::Remark(Step::Connectivity, verdict.sentence.clone()));
                    io.tell(Event::Ended(Step::Connectivity, StepResult::Fail));
                    first.get_or_insert(verdict);
                }
            }
        }
        let verdict = first.unwrap_or_else(|| Verdict {
            id: "tcp-filtered".to_owned(),
            certainty: Certainty::Consistent,
            sentence: "no server could be reached".to_owned(),
            fix: "look at the network".to_owned(),
        });
        Err(match on_failure {
            Step::Redirection => Failed::Everywhere(Step::Redirection, after_redirect(verdict)),
            _ => Failed::Here(Step::Connectivity, verdict),
        })
    }

    /// Opens a connection to a place, and notes the addresses it has.
    async fn open<'a>(
        &self,
        io: &'a dyn Io,
        discovery: &Discovery,
        place: &Place,
    ) -> Result<(Place, Link<'a>), Verdict> {
        let hop = self.hop(io, discovery, place).await?;
        let open = connect::open(io, &hop, &self.connect).await.map_err(|failure| failure.verdict())?;
        let place = Place { addresses: Some(hop.addresses), ..place.clone() };
        Ok((place, Link::new(io, open.conn, open.local)))
    }

    /// A place with its addresses. Discovery found those of its candidates; a redirect only gives a name.
    async fn hop(&self, io: &dyn Io, discovery: &Discovery, place: &Place) -> Result<Hop, Verdict> {
        let addresses = match &place.addresses {
            Some(addresses) => addresses.clone(),
            None => match discovery.web().resolve(io, &place.host).await {
                Ok(addresses) => addresses.to_vec(),
                Err(answer) => {
                    let finding = Finding::ServerWithoutAddress { host: place.host.clone(), answer };
                    return Err(finding.verdict());
                }
            },
        };
        let tls_name = (!place.legacy_tcp).then(|| place.host.clone());
        Ok(Hop { host: place.host.clone(), addresses, port: place.port, tls_name, proxy: self.proxy.clone() })
    }
}

/// A home that cannot be reached is a finding of step 4: the first server was fine.
fn after_redirect(verdict: Verdict) -> Verdict {
    let id = match verdict.id.as_str() {
        id if id.starts_with("tls-") => "redir-tls",
        id if id.starts_with("dns-") => "redir-unresolvable",
        _ => "redir-unreachable",
    };
    Verdict { id: id.to_owned(), sentence: format!("the redirect cannot be followed: {}", verdict.sentence), ..verdict }
}
