//! The client's only door to the world.
//!
//! The sign-in is straight `async` code that asks [`Io`] for one [`Operation`] at a time and gets its [`Outcome`]. An
//! implementation opens real sockets (`net`), plays a script (tests) or plays a record back (`trace`). Time and
//! randomness come through here too, so the same answers always give the same sign-in.
//!
//! A *record* of a sign-in is the list of operations and outcomes: both are plain data.

use mechanism::kerberos::PerMessageCalls;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// A boxed future that may cross threads.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A point in time on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// Since the sign-in (or the server) began; never goes back.
    pub since_start: Duration,
    /// Seconds since 1970 in UTC, by this machine's clock.
    pub unix_seconds: i64,
}

/// What the client can ask of the world.
pub trait Io: Send + Sync {
    /// Carries out one operation. Several may be under way at once. Dropping the future gives the operation up.
    fn perform(&self, operation: Operation) -> Pending<'_, Outcome>;

    /// What time it is.
    fn now(&self) -> Now;

    /// Fills `bytes` with randomness fit for keys.
    fn fill_random(&self, bytes: &mut [u8]);

    /// Takes note of something worth showing: progress, proof lines, verdicts. Called by [`Io::tell`] alone.
    fn note(&self, event: crate::report::Event);

    /// Tells something worth showing. What peers have written into it is made fit to be shown here, so that whoever takes
    /// note of it can print it.
    fn tell(&self, event: crate::report::Event) {
        self.note(event.legible());
    }
}

/// A connection that was opened and not yet closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConnId(pub u64);

/// One thing asked of the world. Each has its limit of time; nothing waits longer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Operation {
    /// Ask the DNS. Answered by [`Outcome::Resolved`].
    Resolve {
        /// Fully qualified name, without final dot.
        name: String,
        /// Which records.
        kind: RecordKind,
        /// When to give up.
        limit: Duration,
    },
    /// Open TCP, directly or through an HTTP proxy. Answered by [`Outcome::Connected`].
    Connect {
        /// Where to.
        target: Target,
        /// When to give up.
        limit: Duration,
    },
    /// Begin TLS on an open connection; it goes on even when the certificate is bad, so that all of it can be told.
    /// Answered by [`Outcome::Secured`].
    StartTls {
        /// On which connection.
        conn: ConnId,
        /// Name sent as SNI and checked against the certificate.
        server_name: String,
        /// When to give up.
        limit: Duration,
    },
    /// Write all bytes. Answered by [`Outcome::Sent`].
    Send {
        /// On which connection.
        conn: ConnId,
        /// What.
        #[serde(with = "text_or_base64")]
        bytes: Vec<u8>,
    },
    /// Wait for some bytes. Answered by [`Outcome::Received`].
    Receive {
        /// On which connection.
        conn: ConnId,
        /// When to give up.
        limit: Duration,
    },
    /// One HTTP/1.1 request and its answer on this very connection. Answered by [`Outcome::Answered`].
    Exchange {
        /// On which connection.
        conn: ConnId,
        /// The request.
        request: HttpRequest,
        /// When to give up.
        limit: Duration,
    },
    /// Close a connection. Answered by [`Outcome::Done`].
    Close {
        /// Which.
        conn: ConnId,
    },
    /// Make an RSA key. Answered by [`Outcome::NewKey`].
    NewKey {
        /// Length of its modulus, in bits.
        bits: u32,
    },
    /// Have the system's GSS-API library begin a security context with a service, by the tickets it finds for the user:
    /// Kerberos, integrity, no answer from the service. `GSS_Init_sec_context` of RFC 2743 §2.2.1. Answered by
    /// [`Outcome::SecContext`].
    InitSecContext {
        /// `class/host`.
        service: String,
        /// The connection that its token is for, as the library takes it: `chan_bindings`' application data. `None`: none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channel: Option<Vec<u8>>,
        /// When to give up.
        limit: Duration,
    },
    /// Let time pass. Answered by [`Outcome::Done`].
    Wait {
        /// How long.
        time: Duration,
    },
}

/// What came of an [`Operation`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// Of [`Operation::Resolve`].
    Resolved(DnsAnswer),
    /// Of [`Operation::Connect`].
    Connected(Result<Connected, ConnectError>),
    /// Of [`Operation::StartTls`].
    Secured(Result<TlsSession, TlsError>),
    /// Of [`Operation::Send`].
    Sent(Result<(), StreamError>),
    /// Of [`Operation::Receive`]; never empty when it succeeds.
    Received(Result<Bytes, StreamError>),
    /// Of [`Operation::Exchange`].
    Answered(Result<HttpResponse, HttpError>),
    /// Of [`Operation::NewKey`].
    NewKey(Result<PrivateKey, String>),
    /// Of [`Operation::InitSecContext`].
    SecContext(Result<SecContext, SecContextError>),
    /// Of the others.
    Done,
}

/// An RSA key: PKCS#8, DER. It prints nothing, is wiped when dropped, and no record has it; so a sign-in that needed a new
/// key can be read back, but not run again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivateKey {
    /// The key itself.
    #[serde(skip)]
    pub pkcs8: zeroize::Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

/// A security context in the keeping of the system's GSS-API library, and the one token that makes it known to the service.
/// Its key is nowhere here, so no record has it; a sign-in that used one can be read back, but not run again.
#[derive(Clone, Serialize, Deserialize)]
pub struct SecContext {
    /// Whose ticket it was: `alice@CONTOSO.TEST`.
    pub client: String,
    /// The token, bare.
    #[serde(with = "text_or_base64")]
    pub token: Vec<u8>,
    /// What signs and checks; `None` in a record.
    #[serde(skip)]
    pub calls: Option<Arc<dyn PerMessageCalls>>,
}

impl std::fmt::Debug for SecContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecContext(of {}, …)", self.client)
    }
}

/// No two contexts have the same token.
impl PartialEq for SecContext {
    fn eq(&self, other: &SecContext) -> bool {
        (&self.client, &self.token) == (&other.client, &other.token)
    }
}

/// Why the system's GSS-API library gave no context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecContextError {
    /// This program was built without it.
    Absent,
    /// It has no ticket of the user that is still good; its words.
    NoTicket(String),
    /// It finds no KDC that answers; its words.
    Unreachable(String),
    /// No answer in time.
    Timeout,
    /// A KDC says no.
    Refused {
        /// The user, if the library says who that is.
        client: Option<String>,
        /// Number of the error, RFC 4120 §7.5.9.
        code: i32,
        /// The library's words.
        words: String,
    },
    /// Anything else, in words.
    Failed(String),
}

/// Received bytes, written in a record as text where they are text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bytes(#[serde(with = "text_or_base64")] pub Vec<u8>);

/// DNS record types a sign-in asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RecordKind {
    /// IPv4 and IPv6 addresses together, through CNAMEs.
    Address,
    /// Service records, RFC 2782.
    Srv,
}

/// What the DNS said, told apart as precisely as a resolver can.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DnsAnswer {
    /// Addresses, in the order delivered, and the CNAMEs passed on the way.
    Addresses {
        /// The addresses.
        addresses: Vec<IpAddr>,
        /// Alias names followed, first to last.
        aliases: Vec<String>,
    },
    /// Service records, in the order delivered.
    Services(Vec<Srv>),
    /// The name does not exist.
    NxDomain,
    /// The name exists, but has no such record.
    NoData,
    /// The server failed (SERVFAIL).
    ServerFailure,
    /// The server does not serve us (REFUSED).
    Refused,
    /// No answer in time.
    Timeout,
    /// Anything else, in words.
    Failed(String),
}

/// One SRV record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Srv {
    /// Lower is tried first.
    pub priority: u16,
    /// Higher is preferred among equals.
    pub weight: u16,
    /// TCP port.
    pub port: u16,
    /// Host name, without final dot.
    pub target: String,
}

/// Where to open TCP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// An address, directly.
    Direct(SocketAddr),
    /// A host through an HTTP proxy with CONNECT.
    Proxied {
        /// Host name as the proxy shall resolve it.
        host: String,
        /// Port there.
        port: u16,
        /// `host:port` of the proxy.
        proxy: String,
        /// Value of `Proxy-Authorization`, when the proxy wants one.
        #[serde(skip)]
        authorization: Option<String>,
    },
}

/// An open TCP connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connected {
    /// How to speak of it.
    pub conn: ConnId,
    /// Our end.
    pub local: SocketAddr,
    /// The other end (the proxy, when there is one).
    pub peer: SocketAddr,
}

/// Why TCP did not open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ConnectError {
    /// Answered with RST.
    #[error("connection refused")]
    Refused,
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// No route, or unreachable.
    #[error("not reachable")]
    Unreachable,
    /// The proxy answered CONNECT with something else than 200.
    #[error("the proxy answered {status} {reason}")]
    Proxy {
        /// HTTP status.
        status: u16,
        /// Reason phrase.
        reason: String,
        /// Values of `Proxy-Authenticate`.
        challenges: Vec<String>,
    },
    /// Anything else, in words.
    #[error("{0}")]
    Failed(String),
}

/// A finished TLS handshake, and all that was seen of the peer: also of one whose certificate is not to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsSession {
    /// `TLSv1.2`, …
    pub version: String,
    /// OpenSSL's name of the cipher suite.
    pub cipher: String,
    /// Bits of the cipher's key.
    pub bits: u32,
    /// Certificates as the server sent them, leaf first; DER.
    #[serde(with = "der_list")]
    pub chain: Vec<Vec<u8>>,
    /// What chain building found, depth 0 is the leaf. Empty: it ends in a trusted root and is within its dates.
    /// Name checking is not part of it.
    pub chain_errors: Vec<ChainError>,
    /// Whether a session was resumed (then the chain is the remembered one).
    pub resumed: bool,
}

/// One finding of chain building.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainError {
    /// 0 for the leaf.
    pub depth: u32,
    /// OpenSSL's X509_V_ERR number, for example 10 expired, 19 self-signed in chain, 20 issuer not found.
    pub code: i32,
    /// OpenSSL's words for it.
    pub text: String,
}

/// Why a TLS handshake did not finish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum TlsError {
    /// The peer sent an alert.
    #[error("the server sent TLS alert {number} ({name})")]
    Alert {
        /// Alert number, RFC 5246 §7.2.
        number: u8,
        /// Its name.
        name: String,
    },
    /// The first bytes are not TLS.
    #[error("the server does not speak TLS here (it sent {0:?})")]
    NotTls(String),
    /// Reset or closed within the handshake.
    #[error("the connection was closed during the TLS handshake")]
    Closed,
    /// Not one byte in answer to our first message, in time.
    #[error("the server accepts the connection, but does not answer the TLS handshake")]
    Silent,
    /// The handshake began, but did not finish in time.
    #[error("the TLS handshake did not finish in time")]
    Timeout,
    /// No protocol version or cipher in common, as seen here.
    #[error("no common TLS version or cipher: {0}")]
    NothingInCommon(String),
    /// Anything else, in words.
    #[error("{0}")]
    Failed(String),
}

/// Why an open connection gave no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum StreamError {
    /// Closed in order.
    #[error("the server closed the connection")]
    Closed,
    /// Reset.
    #[error("the connection was reset")]
    Reset,
    /// Nothing in time.
    #[error("no answer in time")]
    Timeout,
}

/// An HTTP request. `Host` and `Content-Length` are added by whoever sends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRequest {
    /// `GET`, `POST`.
    pub method: String,
    /// Host name for `Host`, without port.
    pub host: String,
    /// Path and query.
    pub path: String,
    /// Further headers, in order.
    pub headers: Vec<(String, String)>,
    /// Body, possibly empty.
    #[serde(with = "text_or_base64")]
    pub body: Vec<u8>,
}

/// An HTTP response, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpResponse {
    /// Status code.
    pub status: u16,
    /// Headers, in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    #[serde(with = "text_or_base64")]
    pub body: Vec<u8>,
    /// Whether the connection can be used again.
    pub reusable: bool,
}

impl HttpResponse {
    /// The first value of a header, its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a header, its name in lower case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Why an HTTP exchange gave no response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum HttpError {
    /// The connection ended first.
    #[error(transparent)]
    Stream(StreamError),
    /// The answer is not HTTP.
    #[error("the answer is not HTTP: {0}")]
    NotHttp(String),
    /// The answer is larger than we accept.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The limit that was passed.
        limit: usize,
    },
}

/// Typed access to [`Io::perform`]. An outcome of another kind than asked for is a fault of the `Io`, not of a peer.
impl dyn Io + '_ {
    /// Asks the DNS.
    pub async fn resolve(&self, name: &str, kind: RecordKind, limit: Duration) -> DnsAnswer {
        match self.perform(Operation::Resolve { name: name.to_owned(), kind, limit }).await {
            Outcome::Resolved(answer) => answer,
            other => mismatch("Resolve", &other),
        }
    }

    /// Opens TCP.
    pub async fn connect(&self, target: Target, limit: Duration) -> Result<Connected, ConnectError> {
        match self.perform(Operation::Connect { target, limit }).await {
            Outcome::Connected(result) => result,
            other => mismatch("Connect", &other),
        }
    }

    /// Begins TLS.
    pub async fn start_tls(&self, conn: ConnId, server_name: &str, limit: Duration) -> Result<TlsSession, TlsError> {
        match self.perform(Operation::StartTls { conn, server_name: server_name.to_owned(), limit }).await {
            Outcome::Secured(result) => result,
            other => mismatch("StartTls", &other),
        }
    }

    /// Writes all bytes.
    pub async fn send(&self, conn: ConnId, bytes: Vec<u8>) -> Result<(), StreamError> {
        match self.perform(Operation::Send { conn, bytes }).await {
            Outcome::Sent(result) => result,
            other => mismatch("Send", &other),
        }
    }

    /// Makes an RSA key of so many bits. The error is in words.
    pub async fn new_key(&self, bits: u32) -> Result<PrivateKey, String> {
        match self.perform(Operation::NewKey { bits }).await {
            Outcome::NewKey(result) => result,
            other => mismatch("NewKey", &other),
        }
    }

    /// Has the system's GSS-API library begin a security context with a service.
    pub async fn init_sec_context(
        &self,
        service: &str,
        channel: Option<Vec<u8>>,
        limit: Duration,
    ) -> Result<SecContext, SecContextError> {
        match self.perform(Operation::InitSecContext { service: service.to_owned(), channel, limit }).await {
            Outcome::SecContext(result) => result,
            other => mismatch("InitSecContext", &other),
        }
    }

    /// Waits for some bytes.
    pub async fn receive(&self, conn: ConnId, limit: Duration) -> Result<Vec<u8>, StreamError> {
        match self.perform(Operation::Receive { conn, limit }).await {
            Outcome::Received(result) => result.map(|bytes| bytes.0),
            other => mismatch("Receive", &other),
        }
    }

    /// One HTTP request and its answer.
    pub async fn exchange(
        &self,
        conn: ConnId,
        request: HttpRequest,
        limit: Duration,
    ) -> Result<HttpResponse, HttpError> {
        match self.perform(Operation::Exchange { conn, request, limit }).await {
            Outcome::Answered(result) => result,
            other => mismatch("Exchange", &other),
        }
    }

    /// Closes a connection.
    pub async fn close(&self, conn: ConnId) {
        self.perform(Operation::Close { conn }).await;
    }

    /// Lets time pass.
    pub async fn wait(&self, time: Duration) {
        self.perform(Operation::Wait { time }).await;
    }
}

fn mismatch(asked: &str, got: &Outcome) -> ! {
    panic!("the Io answered {asked} with {got:?}")
}

/// Bytes in a record: as text when they are printable UTF-8, else `base64:…`.
mod text_or_base64 {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.starts_with("base64:") => serializer.serialize_str(text),
            _ => serializer.serialize_str(&format!("base64:{}", STANDARD.encode(bytes))),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.strip_prefix("base64:") {
            Some(encoded) => STANDARD.decode(encoded).map_err(serde::de::Error::custom),
            None => Ok(text.into_bytes()),
        }
    }
}

/// Certificates in a record: base64 of their DER.
mod der_list {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(chain: &[Vec<u8>], serializer: S) -> Result<S::Ok, S::Error> {
        chain.iter().map(|der| STANDARD.encode(der)).collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Vec<u8>>, D::Error> {
        let list = Vec::<String>::deserialize(deserializer)?;
        list.iter().map(|text| STANDARD.decode(text).map_err(serde::de::Error::custom)).collect()
    }
}
