//! One candidate after the other: what each way of the plan gives, and coming back for the next. `client/plan.rs` has the order,
//! `client/names.rs` asks for all names at once.

mod names;
mod plan;

use self::names::{Known, Names};
use self::plan::{Way, default_port, in_order, plan};
use super::AccessLocation;
use super::autodiscover::{Found, Walk};
use super::finding::Finding;
use super::trust::Trust;
use crate::authenticate::keyring::UserCertificate;
use crate::connect::Proxy;
use crate::http::{Limits as WebLimits, Web, dns_words};
use crate::io::{DnsAnswer, Io, RecordKind, Srv};
use crate::log_on::LogOn;
use crate::name::{Aor, SipDomain};
use crate::report::{Event, Step, Verdict};
use crate::web_ticket::client::TicketMeans;
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// How long discovery may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of each DNS query, TCP connection, TLS handshake and HTTP exchange.
    pub web: WebLimits,
    /// Redirects followed by one walk through Autodiscover: 10.
    pub redirects: usize,
    /// From the first question to the last candidate, whatever is done with candidates in between: 60 s.
    pub total: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { web: WebLimits::default(), redirects: 10, total: Duration::from_secs(60) }
    }
}

/// How to look for a server. The defaults look everywhere and trust only the user's own SIP domain.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// Domains (or hosts) to believe besides the user's own SIP domain.
    pub trusted: Vec<SipDomain>,
    /// Looks only inside, or only outside; `None` for both.
    pub view: Option<AccessLocation>,
    /// The server that worked last time.
    pub cached: Option<Cached>,
    /// Servers set by hand, in order; then nothing is looked up but their addresses.
    pub manual: Vec<Manual>,
    /// Asks for `_sipinternal._tcp` too: SIP without TLS.
    pub legacy_tcp: bool,
    /// Proxy for what cannot be reached directly.
    pub proxy: Option<Proxy>,
    /// How long it may take.
    pub limits: Limits,
}

/// The server that took the last REGISTER, and how it was reached.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Cached {
    /// FQDN.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Its addresses then; when none were kept, the name is looked up.
    pub addresses: Vec<IpAddr>,
    /// Inside or outside.
    pub view: AccessLocation,
}

/// A server set by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manual {
    /// FQDN or address.
    pub host: String,
    /// TCP port; 5061 inside and 443 outside when not given.
    pub port: Option<u16>,
    /// Inside or outside.
    pub view: AccessLocation,
}

/// A server to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The name it was promised under: SNI, and what its certificate is checked against.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Its addresses, in the order delivered. Empty only when a proxy is to resolve the name.
    pub addresses: Vec<IpAddr>,
    /// Inside or outside.
    pub view: AccessLocation,
    /// How it was found.
    pub source: Source,
    /// SIP over bare TCP instead of TLS.
    pub legacy_tcp: bool,
}

/// How a candidate was found. Its `Display` is the reason people read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// It worked last time.
    Cached,
    /// It was set by hand.
    Manual,
    /// Autodiscover named it.
    Autodiscover {
        /// URL of the user's document.
        url: String,
    },
    /// A service record names it.
    Service {
        /// Name of the record.
        name: String,
        /// Its priority.
        priority: u16,
        /// Its weight.
        weight: u16,
    },
    /// Its name is one that is tried.
    Name,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Cached => f.write_str("it took the last sign-in"),
            Source::Manual => f.write_str("it was set by hand"),
            Source::Autodiscover { url } => write!(f, "Autodiscover names it at {url}"),
            Source::Service { name, priority, weight } => {
                write!(f, "{name} names it (priority {priority}, weight {weight})")
            }
            Source::Name => f.write_str("a server may have this name"),
        }
    }
}

/// Discovery of one sign-in. Ask [`Discovery::next`] for a server; when it does not work, ask again.
#[derive(Debug)]
pub struct Discovery {
    aor: Aor,
    ask: Ask,
    log_on: Option<LogOn>,
    certificate: Option<UserCertificate>,
    trust: Trust,
    web: Web,
    plan: VecDeque<Way>,
    ready: VecDeque<Candidate>,
    offered: BTreeSet<(String, u16, Vec<IpAddr>)>,
    known: Known,
    findings: Vec<Finding>,
    began: Option<Duration>,
}

impl Discovery {
    /// Discovery for `aor` that has asked nothing yet. Only the domain decides where to look; `log_on` is for the web
    /// services, and without it Autodiscover ends at the Root resource.
    pub fn new(aor: Aor, ask: Ask, log_on: Option<LogOn>) -> Discovery {
        let plan = plan(&aor.domain(), &ask);
        Discovery {
            trust: ask.trusted.iter().cloned().fold(Trust::of(aor.domain()), Trust::and),
            web: Web::new(ask.limits.web, Duration::MAX, ask.proxy.clone()),
            known: Known::new(),
            plan,
            aor,
            ask,
            log_on,
            certificate: None,
            ready: VecDeque::new(),
            offered: BTreeSet::new(),
            findings: Vec::new(),
            began: None,
        }
    }

    /// Web services are asked with this certificate first: that needs no password.
    #[must_use]
    pub fn with_certificate(self, certificate: Option<UserCertificate>) -> Discovery {
        Discovery { certificate, ..self }
    }

    /// The next server to try; `None` when there is no other.
    pub async fn next(&mut self, io: &dyn Io) -> Option<Candidate> {
        let began = *self.began.get_or_insert_with(|| io.now().since_start);
        let deadline = began.saturating_add(self.ask.limits.total);
        let left = deadline.saturating_sub(io.now().since_start);
        let limit = self.ask.limits.web.dns.min(left);
        self.web.set_deadline(deadline);
        let mut names = Names::new(io, limit, std::mem::take(&mut self.known), &self.plan);
        let candidate = self.search(io, &mut names, deadline).await;
        self.known = names.known;
        // Whoever else uses the connections has limits of its own.
        self.web.set_deadline(Duration::MAX);
        candidate
    }

    async fn search(&mut self, io: &dyn Io, names: &mut Names<'_>, deadline: Duration) -> Option<Candidate> {
        loop {
            if let Some(candidate) = self.ready.pop_front() {
                return Some(candidate);
            }
            if io.now().since_start >= deadline && !self.plan.is_empty() {
                self.plan.clear();
                self.findings.push(Finding::OutOfTime(self.ask.limits.total));
            }
            match self.plan.pop_front()? {
                Way::Cached(cached) => self.cached(io, cached).await,
                Way::Manual(manual) => self.manual(io, manual).await,
                Way::Autodiscover { name } => self.autodiscover(io, names, &name).await,
                Way::Service { name, view, legacy_tcp } => self.service(io, names, &name, view, legacy_tcp).await,
                Way::Name { name, places } => self.name(io, names, &name, places).await,
            }
        }
    }

    /// Whether [`Discovery::next`] has nothing left to ask.
    pub fn is_exhausted(&self) -> bool {
        self.ready.is_empty() && self.plan.is_empty()
    }

    /// What went wrong so far, in order. Remarks, when a candidate works.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Why there was no candidate at all: the first failure on the way, else that nothing exists.
    pub fn verdict(&self) -> Verdict {
        match self.findings.iter().find(|finding| finding.is_failure()) {
            Some(failure) => failure.verdict(),
            None => Finding::NothingFound { domain: self.domain() }.verdict(),
        }
    }

    /// The connections to web services, to be used again within this sign-in.
    pub fn web(&self) -> &Web {
        &self.web
    }

    /// Closes every connection to web services.
    pub async fn close(&self, io: &dyn Io) {
        self.web.close(io).await;
    }

    fn domain(&self) -> String {
        self.aor.domain().to_string()
    }

    async fn cached(&mut self, io: &dyn Io, cached: Cached) {
        let Cached { host, port, addresses, view } = cached;
        if addresses.is_empty() {
            return self.resolve_and_offer(io, host, port, view, Source::Cached, false).await;
        }
        self.offer(Candidate { host, port, addresses, view, source: Source::Cached, legacy_tcp: false });
    }

    async fn manual(&mut self, io: &dyn Io, manual: Manual) {
        let Manual { host, port, view } = manual;
        match self.addresses(io, &host).await {
            Ok(addresses) => {
                let port = port.unwrap_or(default_port(view));
                self.offer(Candidate { host, port, addresses, view, source: Source::Manual, legacy_tcp: false });
            }
            Err(answer) => self.findings.push(Finding::ServerWithoutAddress { host, answer }),
        }
    }

    /// Ways 1 and 2.
    async fn autodiscover(&mut self, io: &dyn Io, names: &mut Names<'_>, name: &str) {
        match names.answer(name, RecordKind::Address).await {
            DnsAnswer::Addresses { addresses, aliases } if !addresses.is_empty() => {
                say(io, format!("{name} → {}", resolved(&addresses, &aliases)));
                self.web.learn(name, &addresses);
            }
            answer => {
                self.no_address(io, name, &answer);
                return self.note_missing_autodiscover(names);
            }
        }
        let walk = Walk {
            io,
            web: &self.web,
            trust: &self.trust,
            aor: &self.aor,
            means: TicketMeans { certificate: self.certificate.as_ref(), log_on: self.log_on.as_ref() },
            view: self.ask.view,
            redirects: self.ask.limits.redirects,
        };
        match names.beside(walk.from(name)).await {
            Ok(Found { url, servers }) => {
                for (view, server) in servers {
                    let source = Source::Autodiscover { url: url.clone() };
                    self.resolve_and_offer(io, server.host, server.port, view, source, false).await;
                }
            }
            Err(findings) => {
                // A wrong password shown again and again locks the account.
                if findings.iter().any(Finding::is_refused_password) {
                    self.plan.retain(|way| !matches!(way, Way::Autodiscover { .. }));
                }
                self.findings.extend(findings);
            }
        }
    }

    /// Both names missing is worth a word; one of them missing tells inside from outside and is as it should be.
    fn note_missing_autodiscover(&mut self, names: &Names<'_>) {
        let domain = self.domain();
        let missing = |name: String| {
            matches!(names.known(&name, RecordKind::Address), Some(DnsAnswer::NxDomain | DnsAnswer::NoData))
        };
        let last = !self.plan.iter().any(|way| matches!(way, Way::Autodiscover { .. }));
        if last && missing(format!("lyncdiscoverinternal.{domain}")) && missing(format!("lyncdiscover.{domain}")) {
            self.findings.push(Finding::NoAutodiscover { domain });
        }
    }

    /// Ways 3, 3b and 4.
    async fn service(
        &mut self,
        io: &dyn Io,
        names: &mut Names<'_>,
        name: &str,
        view: AccessLocation,
        legacy_tcp: bool,
    ) {
        let records = match names.answer(name, RecordKind::Srv).await {
            DnsAnswer::Services(records) if !records.is_empty() => in_order(records),
            DnsAnswer::NxDomain => return say(io, format!("{name}: no such service record")),
            DnsAnswer::NoData | DnsAnswer::Services(_) | DnsAnswer::Addresses { .. } => {
                return self.findings.push(Finding::ServiceIsNoSrv { name: name.to_owned() });
            }
            answer => {
                self.findings.extend(lookup_failure(name, &answer));
                return;
            }
        };
        for Srv { priority, weight, port, target } in records {
            let host = target.trim_end_matches('.').to_ascii_lowercase();
            if host.is_empty() || port == 0 {
                // RFC 2782: the target "." says that the service is decidedly not there.
                say(io, format!("{name}: declared not to exist"));
                continue;
            }
            say(io, format!("{name} → {host}:{port} (priority {priority}, weight {weight})"));
            if !self.trust.covers(&host) {
                self.findings.push(Finding::ForeignService { name: name.to_owned(), host });
                continue;
            }
            let source = Source::Service { name: name.to_owned(), priority, weight };
            self.resolve_and_offer(io, host, port, view, source, legacy_tcp).await;
        }
    }

    /// Ways 5, 6 and 7.
    async fn name(&mut self, io: &dyn Io, names: &mut Names<'_>, name: &str, mut places: Vec<AccessLocation>) {
        match names.answer(name, RecordKind::Address).await {
            DnsAnswer::Addresses { addresses, aliases } if !addresses.is_empty() => {
                say(io, format!("{name} → {}", resolved(&addresses, &aliases)));
                if !self.seems_inside(names) {
                    places.reverse();
                }
                for view in places {
                    self.offer(Candidate {
                        host: name.to_owned(),
                        port: default_port(view),
                        addresses: addresses.clone(),
                        view,
                        source: Source::Name,
                        legacy_tcp: false,
                    });
                }
            }
            answer => self.no_address(io, name, &answer),
        }
    }

    /// That a name does not exist is nothing special; that nobody could tell is.
    fn no_address(&mut self, io: &dyn Io, name: &str, answer: &DnsAnswer) {
        match lookup_failure(name, answer) {
            Some(finding) => self.findings.push(finding),
            None => say(io, format!("{name}: {}", dns_words(answer))),
        }
    }

    /// Whether a name that is meant for the inside exists where we are.
    fn seems_inside(&self, names: &Names<'_>) -> bool {
        let domain = self.domain();
        let exists = |name: &str, kind| {
            matches!(
                names.known(&format!("{name}.{domain}"), kind),
                Some(DnsAnswer::Addresses { .. } | DnsAnswer::Services(_))
            )
        };
        exists("lyncdiscoverinternal", RecordKind::Address)
            || exists("_sipinternaltls._tcp", RecordKind::Srv)
            || exists("sipinternal", RecordKind::Address)
    }

    async fn resolve_and_offer(
        &mut self,
        io: &dyn Io,
        host: String,
        port: u16,
        view: AccessLocation,
        source: Source,
        legacy_tcp: bool,
    ) {
        match self.addresses(io, &host).await {
            Ok(addresses) => self.offer(Candidate { host, port, addresses, view, source, legacy_tcp }),
            // Inside is never proxied; outside a proxy may know names that we do not.
            Err(_) if self.ask.proxy.is_some() && view == AccessLocation::External => {
                self.offer(Candidate { host, port, addresses: Vec::new(), view, source, legacy_tcp });
            }
            Err(answer) => self.findings.push(match source {
                Source::Service { name, .. } => Finding::TargetWithoutAddress { name, host, answer },
                _ => Finding::ServerWithoutAddress { host, answer },
            }),
        }
    }

    async fn addresses(&self, io: &dyn Io, host: &str) -> Result<Vec<IpAddr>, DnsAnswer> {
        let addresses = self.web.resolve(io, host).await?;
        say(io, format!("{host} → {}", resolved(&addresses, &[])));
        Ok(addresses)
    }

    /// A server is offered once, whichever ways lead to it; again only under other addresses than before.
    fn offer(&mut self, candidate: Candidate) {
        let mut addresses = candidate.addresses.clone();
        addresses.sort_unstable();
        if self.offered.insert((candidate.host.to_ascii_lowercase(), candidate.port, addresses)) {
            self.ready.push_back(candidate);
        }
    }
}

/// A lookup that failed, as opposed to one that found nothing.
fn lookup_failure(name: &str, answer: &DnsAnswer) -> Option<Finding> {
    match answer {
        DnsAnswer::ServerFailure | DnsAnswer::Refused | DnsAnswer::Timeout | DnsAnswer::Failed(_) => {
            Some(Finding::Lookup { name: name.to_owned(), answer: answer.clone() })
        }
        DnsAnswer::NxDomain | DnsAnswer::NoData | DnsAnswer::Addresses { .. } | DnsAnswer::Services(_) => None,
    }
}

fn resolved(addresses: &[IpAddr], aliases: &[String]) -> String {
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    match aliases {
        [] => addresses.join(", "),
        aliases => format!("{} (through {})", addresses.join(", "), aliases.join(", ")),
    }
}

fn say(io: &dyn Io, line: String) {
    io.tell(Event::Evidence(Step::Discovery, line));
}
