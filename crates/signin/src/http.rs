//! HTTP for the client, over [`Io`]: from a URL to its answer, on connections that can be held.
//!
//! One [`Web`] serves one sign-in. It resolves, connects to each address in turn, secures and judges what it meets, and
//! keeps connections for the next request to the same place. Redirects are not followed: Autodiscover has its own, which
//! are documents, and a 3xx is told to the caller as it is. Logging on is in [`negotiate`] (Kerberos) and [`ntlm`], which
//! authenticates a connection and not a request; the server's half of both is in [`gate`].
//!
//! Absent: cookies, compression, pipelining, HTTP/2 (NTLM could not be bound to a connection in it).

mod failure;
pub mod gate;
pub mod negotiate;
pub mod ntlm;

#[cfg(test)]
mod tests;

pub use self::failure::{Failure, dns_words};

use crate::connect::{Attempt, ConnectFailure, Fault, Peer, Proxy, judge};
use crate::io::{ConnId, DnsAnswer, HttpError, HttpRequest, HttpResponse, Io, RecordKind, StreamError, Target};
use crate::log_on::LogOn;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mechanism::channel_bindings::ChannelBindings;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use url::Url;

/// How long each part of a request may take. Each ends as soon as there is an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// One DNS query: 3 s.
    pub dns: Duration,
    /// TCP to one address: 5 s.
    pub tcp: Duration,
    /// One TLS handshake: 10 s.
    pub tls: Duration,
    /// One HTTP exchange on an open connection: 10 s.
    pub http: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        let seconds = Duration::from_secs;
        Limits { dns: seconds(3), tcp: seconds(5), tls: seconds(10), http: seconds(10) }
    }
}

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Where.
    pub url: Url,
    /// Headers beyond `Host`, `Content-Length` and those of authentication.
    pub headers: Vec<(String, String)>,
    /// Body, possibly empty.
    pub body: Vec<u8>,
}

impl Request {
    /// A `GET`.
    pub fn get(url: Url) -> Request {
        Request { method: "GET", url, headers: Vec::new(), body: Vec::new() }
    }

    /// A `POST`.
    pub fn post(url: Url, body: impl Into<Vec<u8>>) -> Request {
        Request { method: "POST", url, headers: Vec::new(), body: body.into() }
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Request {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// As [`Io`] wants it.
    fn on_wire(&self) -> HttpRequest {
        let path = match self.url.query() {
            Some(query) => format!("{}?{query}", self.url.path()),
            None => self.url.path().to_owned(),
        };
        HttpRequest {
            method: self.method.to_owned(),
            host: self.url.host_str().unwrap_or_default().to_owned(),
            path,
            headers: self.headers.clone(),
            body: self.body.clone(),
        }
    }
}

/// Where a URL leads: connections are kept by it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// TLS or not.
    pub secure: bool,
    /// Host name, lower case.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Origin {
    /// The origin of an `http` or `https` URL.
    pub fn of(url: &Url) -> Result<Origin, Failure> {
        let secure = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(Failure::Url(url.to_string())),
        };
        match (url.host_str(), url.port_or_known_default()) {
            (Some(host), Some(port)) => Ok(Origin { secure, host: host.to_ascii_lowercase(), port }),
            _ => Err(Failure::Url(url.to_string())),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

/// The web, as one sign-in sees it.
#[derive(Debug)]
pub struct Web {
    limits: Limits,
    proxy: Option<Proxy>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When the last request must have ended (since the start).
    deadline: Duration,
    /// Addresses learnt, so that one name is asked for once.
    addresses: BTreeMap<String, Vec<IpAddr>>,
    /// Connections free for the next request.
    idle: Vec<(Origin, ConnId)>,
    /// Connections with a request under way, or left behind by a request that was given up.
    busy: BTreeSet<ConnId>,
    /// What proofs over a TLS connection are bound to.
    channels: BTreeMap<ConnId, ChannelBindings>,
}

impl Web {
    /// A web without connections, whose requests all end before `deadline` (since the start).
    pub fn new(limits: Limits, deadline: Duration, proxy: Option<Proxy>) -> Web {
        Web { limits, proxy, state: Mutex::new(State { deadline, ..State::default() }) }
    }

    /// Sets when the last request must have ended (since the start).
    pub fn set_deadline(&self, deadline: Duration) {
        self.state().deadline = deadline;
    }

    /// Notes the addresses of a host that somebody else resolved.
    pub fn learn(&self, host: &str, addresses: &[IpAddr]) {
        self.state().addresses.insert(host.to_ascii_lowercase(), addresses.to_vec());
    }

    /// One request and its answer, whatever its status.
    pub async fn fetch(&self, io: &dyn Io, request: &Request) -> Result<HttpResponse, Failure> {
        let origin = Origin::of(&request.url)?;
        if let Some(conn) = self.take_idle(&origin) {
            match self.exchange(io, &origin, conn, request.on_wire()).await {
                Err(failure) if was_closed(&failure) => {}
                Ok(response) => {
                    self.release(io, origin, conn, &response).await;
                    return Ok(response);
                }
                Err(failure) => return Err(failure),
            }
        }
        let conn = self.open(io, &origin).await?;
        let response = self.exchange(io, &origin, conn, request.on_wire()).await?;
        self.release(io, origin, conn, &response).await;
        Ok(response)
    }

    /// One request and its answer, logged on when the server asks for it: with Kerberos when it offers that and there is a
    /// ticket to be had, else with NTLM.
    pub async fn fetch_as(&self, io: &dyn Io, request: &Request, log_on: &LogOn) -> Result<HttpResponse, Failure> {
        let first = self.fetch(io, request).await?;
        if first.status != 401 {
            return Ok(first);
        }
        let offered: Vec<&str> = first.all("www-authenticate").map(scheme_of).collect();
        if offered.iter().any(|scheme| scheme.eq_ignore_ascii_case("Negotiate"))
            && let Some(answer) = negotiate::fetch(self, io, request, log_on).await?
        {
            return Ok(answer);
        }
        ntlm::fetch(self, io, request, log_on, &offered).await
    }

    /// Closes what requests left behind that were given up. Nothing may be under way.
    pub async fn close_abandoned(&self, io: &dyn Io) {
        let busy = std::mem::take(&mut self.state().busy);
        for conn in busy {
            self.discard(io, conn).await;
        }
    }

    /// Closes everything. Nothing may be under way.
    pub async fn close(&self, io: &dyn Io) {
        self.close_abandoned(io).await;
        let idle = std::mem::take(&mut self.state().idle);
        for (_, conn) in idle {
            self.discard(io, conn).await;
        }
    }

    /// Resolves a host, or takes what is known of it.
    pub async fn resolve(&self, io: &dyn Io, host: &str) -> Result<Vec<IpAddr>, DnsAnswer> {
        if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse() {
            return Ok(vec![address]);
        }
        let host = host.to_ascii_lowercase();
        if let Some(addresses) = self.state().addresses.get(&host) {
            return Ok(addresses.clone());
        }
        match io.resolve(&host, RecordKind::Address, self.within(io, self.limits.dns)).await {
            DnsAnswer::Addresses { addresses, .. } if !addresses.is_empty() => {
                self.learn(&host, &addresses);
                Ok(addresses)
            }
            answer => Err(answer),
        }
    }

    /// A new connection, secured and judged: to each address in turn, then through the proxy, when there is one.
    async fn open(&self, io: &dyn Io, origin: &Origin) -> Result<ConnId, Failure> {
        let mut failure = ConnectFailure { host: origin.host.clone(), port: origin.port, attempts: Vec::new() };
        let mut ways = Vec::new();
        match self.resolve(io, &origin.host).await {
            Ok(addresses) => {
                let direct = |address| Target::Direct(SocketAddr::new(address, origin.port));
                ways.extend(addresses.into_iter().map(direct));
            }
            Err(answer) if self.proxy.is_none() => {
                return Err(Failure::Resolve { host: origin.host.clone(), answer });
            }
            Err(_) => {}
        }
        ways.extend(self.proxy.iter().map(|proxy| Target::Proxied {
            host: origin.host.clone(),
            port: origin.port,
            proxy: proxy.address.clone(),
            authorization: proxy.authorization.clone(),
        }));
        for target in ways {
            if self.within(io, self.limits.tcp).is_zero() {
                return Err(Failure::OutOfTime(origin.clone()));
            }
            match self.attempt(io, origin, target).await {
                Ok(conn) => return Ok(conn),
                Err(attempt) => failure.attempts.push(attempt),
            }
        }
        Err(Failure::Connect(failure))
    }

    /// TCP, and TLS when the origin wants it.
    async fn attempt(&self, io: &dyn Io, origin: &Origin, target: Target) -> Result<ConnId, Attempt> {
        let peer = match &target {
            Target::Direct(address) => Peer::Direct(*address),
            Target::Proxied { proxy, .. } => Peer::Proxy(proxy.clone()),
        };
        let began = io.now().since_start;
        let failed = |fault| Attempt { peer, spent: io.now().since_start.saturating_sub(began), fault };
        let connected = match io.connect(target, self.within(io, self.limits.tcp)).await {
            Ok(connected) => connected,
            Err(error) => return Err(failed(Fault::Tcp(error))),
        };
        self.state().busy.insert(connected.conn);
        if !origin.secure {
            return Ok(connected.conn);
        }
        let fault = match io.start_tls(connected.conn, &origin.host, self.within(io, self.limits.tls)).await {
            Ok(session) => {
                let judgement = judge(&session, &origin.host, io.now().unix_seconds);
                if judgement.acceptable() {
                    let channel = session.chain.first().and_then(|leaf| ChannelBindings::of_certificate(leaf));
                    self.state().channels.extend(channel.map(|channel| (connected.conn, channel)));
                    return Ok(connected.conn);
                }
                Fault::Certificate { session, judgement }
            }
            Err(error) => Fault::Tls(error),
        };
        self.discard(io, connected.conn).await;
        Err(failed(fault))
    }

    /// One exchange on this connection, which is closed when it fails.
    async fn exchange(
        &self,
        io: &dyn Io,
        origin: &Origin,
        conn: ConnId,
        request: HttpRequest,
    ) -> Result<HttpResponse, Failure> {
        match io.exchange(conn, request, self.within(io, self.limits.http)).await {
            Ok(response) => Ok(response),
            Err(error) => {
                self.discard(io, conn).await;
                Err(Failure::Exchange { origin: origin.clone(), error })
            }
        }
    }

    /// One that is open already, or a new one.
    async fn connection(&self, io: &dyn Io, origin: &Origin) -> Result<ConnId, Failure> {
        match self.take_idle(origin) {
            Some(conn) => Ok(conn),
            None => self.open(io, origin).await,
        }
    }

    fn take_idle(&self, origin: &Origin) -> Option<ConnId> {
        let mut state = self.state();
        let position = state.idle.iter().position(|(o, _)| o == origin)?;
        let (_, conn) = state.idle.swap_remove(position);
        state.busy.insert(conn);
        Some(conn)
    }

    /// Keeps the connection for the next request, if it can have one.
    async fn release(&self, io: &dyn Io, origin: Origin, conn: ConnId, response: &HttpResponse) {
        if !response.reusable {
            return self.discard(io, conn).await;
        }
        self.keep(origin, conn);
    }

    /// Keeps a connection on which nothing is under way.
    fn keep(&self, origin: Origin, conn: ConnId) {
        let mut state = self.state();
        state.busy.remove(&conn);
        state.idle.push((origin, conn));
    }

    async fn discard(&self, io: &dyn Io, conn: ConnId) {
        self.state().busy.remove(&conn);
        self.state().channels.remove(&conn);
        io.close(conn).await;
    }

    /// What proofs over this connection are bound to, when it is one of TLS.
    fn channel(&self, conn: ConnId) -> Option<ChannelBindings> {
        self.state().channels.get(&conn).copied()
    }

    fn within(&self, io: &dyn Io, limit: Duration) -> Duration {
        limit.min(self.state().deadline.saturating_sub(io.now().since_start))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server may close a kept connection at any time; that says nothing about the request.
fn was_closed(failure: &Failure) -> bool {
    matches!(failure, Failure::Exchange { error: HttpError::Stream(StreamError::Closed | StreamError::Reset), .. })
}

/// Largest token read, in bytes of base64. Tickets of users with many groups have some 12 KiB, NTLM messages below 1 KiB.
const MAX_TOKEN: usize = 64 * 1024;

fn scheme_of(challenge: &str) -> &str {
    challenge.split([' ', ',']).next().unwrap_or_default()
}

/// The token behind the name of a scheme, when the value is of that scheme and has one.
fn token_of(scheme: &str, value: &str) -> Option<Vec<u8>> {
    let (found, token) = value.trim().split_once(' ')?;
    let token = token.trim();
    if !found.eq_ignore_ascii_case(scheme) || token.is_empty() || token.len() > MAX_TOKEN {
        return None;
    }
    STANDARD.decode(token).ok()
}
