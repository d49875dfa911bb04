//! From a host and its addresses to one open, judged connection. `[MS-CONMGMT]` §3.4, RFC 3261 §18.1.1.

use super::failure::{Attempt, ConnectFailure, Fault, Peer, milliseconds};
use super::judgement::{Judgement, judge, session_proof};
use crate::io::{ConnId, Connected, Io, Target, TlsSession};
use crate::report::{Event, Step};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The next hop, as discovery or a redirect named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// Fully qualified name, without final dot.
    pub host: String,
    /// Its addresses, in the order to be tried.
    pub addresses: Vec<IpAddr>,
    /// TCP port.
    pub port: u16,
    /// The name that is sent as SNI and that the certificate must have: what was looked up, not the SIP domain.
    /// `None` for plain TCP.
    pub tls_name: Option<String>,
    /// The HTTP proxy to ask when no address answers.
    pub proxy: Option<Proxy>,
}

impl Hop {
    /// A hop over TLS whose certificate must have the host's own name; no proxy.
    pub fn tls(host: &str, addresses: Vec<IpAddr>, port: u16) -> Hop {
        Hop { host: host.to_owned(), addresses, port, tls_name: Some(host.to_owned()), proxy: None }
    }

    /// The proxy, where it may be used: for 443, the port of servers outside, unless it is there for every port.
    fn usable_proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref().filter(|proxy| proxy.every_port || self.port == 443)
    }
}

/// An HTTP proxy that understands CONNECT. RFC 9110 §9.3.6.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// `host:port`.
    pub address: String,
    /// Value of `Proxy-Authorization`, when it wants one.
    pub authorization: Option<String>,
    /// Also for other ports than 443. Servers inside are never reached through a proxy unless this is set.
    pub every_port: bool,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authorization = self.authorization.as_ref().map(|_| "…");
        f.debug_struct("Proxy")
            .field("address", &self.address)
            .field("authorization", &authorization)
            .field("every_port", &self.every_port)
            .finish()
    }
}

/// How long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For one TCP connection, the CONNECT of a proxy included.
    pub tcp: Duration,
    /// For one TLS handshake.
    pub tls: Duration,
}

impl Default for Limits {
    /// 5 s and 10 s.
    fn default() -> Limits {
        Limits { tcp: Duration::from_secs(5), tls: Duration::from_secs(10) }
    }
}

/// An open connection to the server that was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// How to speak of it.
    pub conn: ConnId,
    /// Our end.
    pub local: SocketAddr,
    /// The other end (the proxy, when there is one).
    pub peer: SocketAddr,
    /// What is to be said of its certificates; acceptable, but there may be warnings. `None` over plain TCP.
    pub judgement: Option<Judgement>,
    /// The TLS session; `None` over plain TCP.
    pub tls: Option<TlsSession>,
}

/// Opens TCP to each address in turn until one opens and, with TLS, shows an acceptable certificate. Only when no
/// address answers at all, the proxy is asked. Proof lines go to [`Step::Connectivity`].
///
/// The members of one pool need not be equally healthy: a bad certificate or a failed handshake on one address is
/// remembered, and the next is tried. What failed on the way to a success becomes a remark; when nothing succeeds, the
/// attempt that got furthest is the verdict.
pub async fn open(io: &dyn Io, hop: &Hop, limits: &Limits) -> Result<Open, ConnectFailure> {
    let mut attempts: Vec<Attempt> = Vec::new();
    for address in &hop.addresses {
        let peer = SocketAddr::new(*address, hop.port);
        match attempt(io, hop, Target::Direct(peer), limits).await {
            Ok(open) => {
                remark_dead_members(io, hop, &attempts, peer);
                return Ok(open);
            }
            Err(failed) => attempts.push(failed),
        }
    }
    let answered = attempts.iter().any(|a| !matches!(a.fault, Fault::Tcp(_)));
    if let (false, Some(proxy)) = (answered, hop.usable_proxy()) {
        let target = Target::Proxied {
            host: hop.host.clone(),
            port: hop.port,
            proxy: proxy.address.clone(),
            authorization: proxy.authorization.clone(),
        };
        match attempt(io, hop, target, limits).await {
            Ok(open) => return Ok(open),
            Err(failed) => attempts.push(failed),
        }
    }
    Err(ConnectFailure { host: hop.host.clone(), port: hop.port, attempts })
}

/// TCP and TLS with one address, or through the proxy.
async fn attempt(io: &dyn Io, hop: &Hop, target: Target, limits: &Limits) -> Result<Open, Attempt> {
    let peer = match &target {
        Target::Direct(address) => Peer::Direct(*address),
        Target::Proxied { proxy, .. } => Peer::Proxy(proxy.clone()),
    };
    let began = io.now().since_start;
    let failed = |fault| {
        let failed = Attempt { peer: peer.clone(), spent: io.now().since_start.saturating_sub(began), fault };
        evidence(io, format!("{} {failed}", hop.host));
        failed
    };
    let connected = io.connect(target, limits.tcp).await.map_err(|e| failed(Fault::Tcp(e)))?;
    let spent = io.now().since_start.saturating_sub(began);
    evidence(io, format!("{} {peer} TCP open in {}", hop.host, milliseconds(spent)));
    let Some(name) = &hop.tls_name else {
        return Ok(opened(connected, None));
    };
    let session = match io.start_tls(connected.conn, name, limits.tls).await {
        Ok(session) => session,
        Err(e) => {
            io.close(connected.conn).await;
            return Err(failed(Fault::Tls(e)));
        }
    };
    let judgement = judge(&session, name, io.now().unix_seconds);
    if !judgement.acceptable() {
        io.close(connected.conn).await;
        return Err(failed(Fault::Certificate { session, judgement }));
    }
    evidence(io, session_proof(&session, &judgement));
    for warning in judgement.warnings() {
        io.tell(Event::Remark(Step::Connectivity, format!("{}: {warning}", hop.host)));
    }
    Ok(opened(connected, Some((session, judgement))))
}

fn opened(connected: Connected, secured: Option<(TlsSession, Judgement)>) -> Open {
    let (tls, judgement) = secured.unzip();
    Open { conn: connected.conn, local: connected.local, peer: connected.peer, judgement, tls }
}

/// An address of another family that cannot be reached from here is no dead member.
fn remark_dead_members(io: &dyn Io, hop: &Hop, attempts: &[Attempt], alive: SocketAddr) {
    for dead in attempts.iter().filter(|a| !a.unroutable()) {
        let line = format!("{} {dead}, but {alive} is well: one member of {} needs attention", hop.host, hop.host);
        io.tell(Event::Remark(Step::Connectivity, line));
    }
}

fn evidence(io: &dyn Io, line: String) {
    io.tell(Event::Evidence(Step::Connectivity, line));
}
