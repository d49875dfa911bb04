//! Why no connection came about: which device is at fault, what was seen, what to do.

use super::judgement::{Judgement, session_proof};
use crate::io::{ConnectError, TlsError, TlsSession};
use crate::report::{Certainty, Verdict};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// No connection to a host: every attempt made, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectFailure {
    /// The host that was to be reached.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What was tried; empty when the host had no address and no proxy was to be used.
    pub attempts: Vec<Attempt>,
}

/// One attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// With whom.
    pub peer: Peer,
    /// How long it took.
    pub spent: Duration,
    /// How it failed.
    pub fault: Fault,
}

/// Who was spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// An address of the host itself.
    Direct(SocketAddr),
    /// A proxy, `host:port`.
    Proxy(String),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Direct(address) => write!(f, "{address}"),
            Peer::Proxy(address) => write!(f, "through the proxy {address}"),
        }
    }
}

/// How an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// No TCP connection.
    Tcp(ConnectError),
    /// No TLS session.
    Tls(TlsError),
    /// A TLS session with somebody whose certificate cannot be accepted.
    Certificate {
        /// The session.
        session: TlsSession,
        /// What is wrong; at least one defect is fatal.
        judgement: Judgement,
    },
}

impl Attempt {
    /// Whether nothing left this machine because it has no route there (an IPv6 address on a machine without IPv6).
    pub fn unroutable(&self) -> bool {
        self.fault == Fault::Tcp(ConnectError::Unreachable)
    }

    /// How far it got.
    fn reach(&self) -> u8 {
        match &self.fault {
            Fault::Tcp(ConnectError::Unreachable | ConnectError::Failed(_)) => 0,
            Fault::Tcp(ConnectError::Timeout) => 1,
            Fault::Tcp(ConnectError::Refused) => 2,
            Fault::Tcp(ConnectError::Proxy { .. }) => 3,
            Fault::Tls(_) => 4,
            Fault::Certificate { .. } => 5,
        }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spent = milliseconds(self.spent);
        match &self.fault {
            Fault::Tcp(error) => write!(f, "{} TCP: {error} (after {spent})", self.peer),
            Fault::Tls(error) => write!(f, "{} TLS: {error} (after {spent})", self.peer),
            Fault::Certificate { session, judgement } => {
                write!(f, "{} {}", self.peer, session_proof(session, judgement))?;
                judgement.defects.iter().filter(|d| d.fatal()).try_for_each(|defect| write!(f, "; {defect}"))
            }
        }
    }
}

impl ConnectFailure {
    /// The attempt that got furthest; among equals the first.
    pub fn furthest(&self) -> Option<&Attempt> {
        // `max_by_key` takes the last of equals, hence the reversal.
        self.attempts.iter().rev().max_by_key(|attempt| attempt.reach())
    }

    /// Id in the failure catalogue.
    pub fn id(&self) -> &'static str {
        self.meaning().0
    }

    /// Id, certainty, sentence and fix.
    pub fn verdict(&self) -> Verdict {
        if let Some(Attempt { fault: Fault::Certificate { judgement, .. }, .. }) = self.furthest()
            && let Some(verdict) = judgement.verdict(&self.host)
        {
            return verdict;
        }
        let (id, certainty, fix) = self.meaning();
        Verdict { id: id.to_owned(), certainty, sentence: self.to_string(), fix: self.expand(fix) }
    }

    fn expand(&self, fix: &str) -> String {
        fix.replace("{host}", &self.host).replace("{port}", &self.port.to_string())
    }

    fn meaning(&self) -> (&'static str, Certainty, &'static str) {
        let Some(attempt) = self.furthest() else {
            return (
                "dns-home-name-unresolvable",
                Certainty::Certain,
                "add an address record for {host} in the DNS that this machine asks",
            );
        };
        match &attempt.fault {
            Fault::Tcp(error) => tcp_meaning(error),
            Fault::Tls(error) => tls_meaning(error),
            Fault::Certificate { judgement, .. } => match judgement.defects.iter().find(|d| d.fatal()) {
                Some(defect) => (defect.id(), defect.certainty(), ""),
                None => ("tls-chain-broken", Certainty::Consistent, ""),
            },
        }
    }
}

impl fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = (&self.host, self.port);
        let Some(attempt) = self.furthest() else {
            return write!(f, "{host} has no address here, so it cannot be reached");
        };
        let peer = match &attempt.peer {
            Peer::Direct(address) if address.ip().to_string() == *host => String::new(), // it has been said
            peer => format!(" ({peer})"),
        };
        match &attempt.fault {
            Fault::Tcp(ConnectError::Refused) => {
                write!(
                    f,
                    "{host} refuses connections to port {port}{peer}: nothing listens there, or its firewall rejects us"
                )?;
            }
            Fault::Tcp(ConnectError::Timeout) => {
                write!(
                    f,
                    "{host} port {port} does not answer at all{peer}: a firewall on the way drops the packets, or the host is down"
                )?;
            }
            Fault::Tcp(ConnectError::Unreachable) => {
                write!(f, "there is no route from this machine to {host}{peer}")?;
            }
            Fault::Tcp(ConnectError::Proxy { status: 407, challenges, .. }) => {
                write!(f, "the proxy demands a logon before it lets us through to {host}:{port}{peer}")?;
                if !challenges.is_empty() {
                    write!(f, "; it offers {}", schemes(challenges))?;
                }
            }
            Fault::Tcp(error @ ConnectError::Proxy { .. }) => {
                write!(f, "{error} when asked to connect to {host}:{port}{peer}")?;
            }
            Fault::Tcp(ConnectError::Failed(why)) => {
                write!(f, "this machine could not open a connection to {host}:{port}{peer}: {why}")?;
            }
            Fault::Tls(error) => write!(f, "{host}:{port}{peer} accepts TCP, but not TLS: {error}")?,
            Fault::Certificate { judgement, .. } => match judgement.verdict(host) {
                Some(verdict) => f.write_str(&verdict.sentence)?,
                None => write!(f, "{host}:{port}{peer} cannot be trusted")?,
            },
        }
        match self.attempts.len() {
            1 => Ok(()),
            n => write!(f, " ({n} attempts, none succeeded)"),
        }
    }
}

impl std::error::Error for ConnectFailure {}

/// The names of the authentication schemes in `Proxy-Authenticate` values.
fn schemes(challenges: &[String]) -> String {
    let names: Vec<&str> = challenges.iter().filter_map(|c| c.split_whitespace().next()).collect();
    names.join(", ")
}

fn tcp_meaning(error: &ConnectError) -> (&'static str, Certainty, &'static str) {
    use Certainty::{Certain, Consistent};
    match error {
        ConnectError::Refused => (
            "tcp-refused",
            Certain,
            "see whether the service runs on {host} and listens on port {port}; correct the port in the DNS record if it names another",
        ),
        ConnectError::Timeout => (
            "tcp-filtered",
            Consistent,
            "try port {port} of {host} from another network; open it in the firewall that drops it",
        ),
        ConnectError::Unreachable => (
            "vpn-split-tunnel",
            Consistent,
            "look at this machine's routes and VPN: the name resolves, but its address is not routed",
        ),
        ConnectError::Proxy { status: 407, .. } => {
            ("proxy-407", Certain, "give the proxy's logon, or exempt {host}:{port} from it")
        }
        ConnectError::Proxy { status: 400..=499, .. } => {
            ("proxy-connect-denied", Certain, "let the proxy pass CONNECT to {host}:{port}, or bypass it for {host}")
        }
        ConnectError::Proxy { .. } => {
            ("proxy-connect-denied", Consistent, "look into the proxy's log: it could not reach {host}:{port} itself")
        }
        ConnectError::Failed(_) => (
            "tcp-local-firewall",
            Consistent,
            "look at this machine's own firewall and limits: the connection failed before it left",
        ),
    }
}

/// RFC 5246 §7.2 and RFC 8446 §6 for the alerts.
fn tls_meaning(error: &TlsError) -> (&'static str, Certainty, &'static str) {
    use Certainty::{Certain, Consistent};
    const VERSION: &str = "enable a TLS version on {host} that this client also speaks (TLS 1.2), or the reverse";
    const CIPHER: &str = "compare the cipher suites allowed on {host} with those offered";
    const UNKNOWN: &str = "look into the event log of {host} for the TLS failure at this time";
    match error {
        TlsError::Alert { number: 70, .. } => ("tls-version-mismatch", Certain, VERSION),
        TlsError::Alert { number: 40 | 71, .. } => ("tls-no-common-cipher", Consistent, CIPHER),
        TlsError::Alert { number: 112, .. } => (
            "tls-wrong-cert-bound",
            Consistent,
            "bind the certificate of {host} on the server or balancer that answers: it does not know that name",
        ),
        TlsError::Alert { number: 80, .. } => (
            "tls-private-key-unusable",
            Consistent,
            "look at the private key of the certificate on {host}: the service may not be allowed to read it",
        ),
        TlsError::Alert { .. } => ("tls-handshake-failed", Consistent, UNKNOWN),
        TlsError::NotTls(_) => {
            ("tcp-wrong-service", Certain, "correct the port: another service answers on port {port} of {host}")
        }
        TlsError::Closed => (
            "tcp-reset-after-accept",
            Consistent,
            "connect to each member behind {host} directly: a balancer without a live member, a filter on the way, or a service without a usable certificate closes like this",
        ),
        TlsError::Silent => (
            "tcp-silent",
            Consistent,
            "restart the service on {host}, or take the balancer out of the way: something accepts, but nothing answers",
        ),
        TlsError::Timeout => (
            "tls-handshake-timeout",
            Consistent,
            "test the path to {host} with large packets (MTU), and look at the load of the server",
        ),
        TlsError::NothingInCommon(why) => match why.to_lowercase() {
            why if why.contains("version") || why.contains("protocol") => ("tls-version-mismatch", Certain, VERSION),
            _ => ("tls-no-common-cipher", Certain, CIPHER),
        },
        TlsError::Failed(_) => ("tls-handshake-failed", Consistent, UNKNOWN),
    }
}

/// How long something took.
pub(super) fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
