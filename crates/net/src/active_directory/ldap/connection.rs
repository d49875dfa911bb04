//! One connection to one domain controller, from TCP to the answers of searches.
//!
//! One question at a time. What fails, or is given up half way, takes the connection with it: none is ever left in a
//! state that nobody knows.

use super::ber::Malformed;
use super::message::{Answer, Entry, Message, Outcome, Request, Scope, Search, code};
use super::settings::{Controller, Limits, Security};
use crate::active_directory::secret::SecretError;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

/// Entries read of one search, whatever the server sends.
const MAX_ENTRIES: usize = 64;

/// Why a domain controller did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("the name {0} cannot be resolved: {1}")]
    Resolve(String, io::Error),
    #[error("{0} does not accept connections: {1}")]
    Connect(SocketAddr, io::Error),
    #[error("the name {0} is none that a certificate could have: {1}")]
    Name(String, InvalidDnsNameError),
    #[error("{}", tls_failed(.0))]
    Tls(io::Error),
    #[error("no answer to {0} within {1:?}")]
    Late(&'static str, Duration),
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error("the server hung up: {0}")]
    HungUp(String),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("an answer to another question")]
    OutOfStep,
    #[error("{0}")]
    Secret(#[from] SecretError),
    #[error("{}", refused(.what, .outcome))]
    Refused { what: &'static str, outcome: Outcome },
}

impl LinkError {
    /// Whether asking again soon does harm: every wrong password counts towards locking the service account out.
    pub(crate) fn is_wrong_password(&self) -> bool {
        matches!(self, LinkError::Refused { outcome, .. } if outcome.code == code::INVALID_CREDENTIALS)
    }

    /// Whether the server answered, if only to refuse this question: then the connection is as good as before.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(self, LinkError::Refused { outcome, .. } if ![code::BUSY, code::UNAVAILABLE].contains(&outcome.code))
    }

    /// Whether the connection ended, as one does that nobody used for long or whose server was started anew.
    pub(crate) fn is_end(&self) -> bool {
        matches!(self, LinkError::Broken(_) | LinkError::HungUp(_))
    }
}

fn tls_failed(error: &io::Error) -> String {
    let untrusted = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        .is_some_and(|error| matches!(error, rustls::Error::InvalidCertificate(_)));
    let advice = if untrusted {
        ". Its certificate has to name the host as configured (as subject alternative name) and to come from the \
         authority in `ca_file`"
    } else {
        ""
    };
    format!("TLS failed: {error}{advice}")
}

fn refused(what: &str, outcome: &Outcome) -> String {
    let meaning = match outcome.code {
        code::INVALID_CREDENTIALS => "the name or the password of the service account is wrong",
        code::STRONGER_AUTH_REQUIRED => "the server wants TLS: use ldaps:// or StartTLS",
        code::NO_SUCH_OBJECT => "there is no such place in the directory: is the base right?",
        code::SIZE_LIMIT_EXCEEDED => "more entries match than can be right",
        _ => "the server refused",
    };
    // Active Directory ends its texts with a NUL.
    let text = outcome.diagnostic.trim_matches(|c: char| c.is_control() || c.is_whitespace());
    let text: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
    format!("{what}: {meaning} (LDAP result {}: {text})", outcome.code)
}

/// An open connection on which somebody is logged on.
pub(crate) struct Connection {
    stream: Box<dyn Duplex>,
    received: Vec<u8>,
    last_id: i32,
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection(after request {})", self.last_id)
    }
}

impl Connection {
    /// Opens, secures and logs on; each within its limit, all before `until`.
    pub(crate) async fn open(
        controller: &Controller,
        tls: &TlsConnector,
        account: &str,
        password: &str,
        limits: &Limits,
        until: Instant,
    ) -> Result<Connection, LinkError> {
        let limit = |limit: Duration| limit.min(until.saturating_duration_since(Instant::now()));
        let connect = limit(limits.connect);
        let connected = timeout(connect, Connection::connect(controller, tls)).await;
        let mut connection = connected.map_err(|_| LinkError::Late("the attempt to connect", connect))??;
        let bind = limit(limits.bind);
        let bound = timeout(bind, connection.bind(account, password)).await;
        bound.map_err(|_| LinkError::Late("the bind", bind))??;
        Ok(connection)
    }

    async fn connect(controller: &Controller, tls: &TlsConnector) -> Result<Connection, LinkError> {
        let tcp = reach(controller).await?;
        // Questions are small and each is waited for.
        let _ = tcp.set_nodelay(true);
        match controller.security {
            Security::Plain => Ok(Connection::over(tcp)),
            Security::Ldaps => Ok(Connection::over(shake_hands(controller, tls, tcp).await?)),
            Security::StartTls => {
                let mut plain = Unsecured { stream: tcp };
                plain.start_tls().await?;
                Ok(Connection::over(shake_hands(controller, tls, plain.stream).await?))
            }
        }
    }

    fn over(stream: impl Duplex + 'static) -> Connection {
        Connection { stream: Box::new(stream), received: Vec::new(), last_id: 0 }
    }

    async fn bind(&mut self, name: &str, password: &str) -> Result<(), LinkError> {
        self.ask(Request::Bind { name, password }).await?;
        match self.answer().await? {
            Answer::Bound(outcome) => succeeded("the bind", outcome),
            _ => Err(LinkError::OutOfStep),
        }
    }

    /// What is found, within the limit. After an error that is no [answer](LinkError::is_answer) the connection is of
    /// no use.
    pub(crate) async fn search(&mut self, search: &Search, limit: Duration) -> Result<Vec<Entry>, LinkError> {
        timeout(limit, self.search_patiently(search)).await.map_err(|_| LinkError::Late("a search", limit))?
    }

    async fn search_patiently(&mut self, search: &Search) -> Result<Vec<Entry>, LinkError> {
        self.ask(Request::Search(search)).await?;
        let mut entries = Vec::new();
        loop {
            match self.answer().await? {
                Answer::Entry(entry) if entries.len() < MAX_ENTRIES => entries.push(entry),
                Answer::Reference => {}
                Answer::Done(outcome) if outcome.code == code::NO_SUCH_OBJECT && search.scope == Scope::Base => {
                    return Ok(Vec::new());
                }
                Answer::Done(outcome) => return succeeded("a search", outcome).map(|()| entries),
                _ => return Err(LinkError::OutOfStep),
            }
        }
    }

    async fn ask(&mut self, request: Request<'_>) -> Result<(), LinkError> {
        self.last_id = self.last_id.wrapping_add(1).max(1);
        let bytes = Zeroizing::new(request.encode(self.last_id));
        self.stream.write_all(&bytes).await?;
        Ok(self.stream.flush().await?)
    }

    async fn answer(&mut self) -> Result<Answer, LinkError> {
        let message = read_message(&mut self.stream, &mut self.received).await?;
        expected(message, self.last_id)
    }
}

/// A connection before StartTLS. Nothing received there outlives it: what somebody put in between is not read as if it
/// had come protected.
struct Unsecured {
    stream: TcpStream,
}

impl Unsecured {
    async fn start_tls(&mut self) -> Result<(), LinkError> {
        self.stream.write_all(&Request::StartTls.encode(1)).await?;
        let mut received = Vec::new();
        let message = read_message(&mut self.stream, &mut received).await?;
        if !received.is_empty() {
            return Err(LinkError::OutOfStep);
        }
        match expected(message, 1)? {
            Answer::Extended(outcome) => succeeded("StartTLS", outcome),
            _ => Err(LinkError::OutOfStep),
        }
    }
}

async fn reach(controller: &Controller) -> Result<TcpStream, LinkError> {
    if let Some(address) = controller.address {
        return TcpStream::connect(address).await.map_err(|error| LinkError::Connect(address, error));
    }
    let unresolved = |error| LinkError::Resolve(controller.host.clone(), error);
    let addresses = tokio::net::lookup_host((controller.host.as_str(), controller.port)).await.map_err(unresolved)?;
    let mut last = unresolved(io::Error::new(io::ErrorKind::NotFound, "it has no address"));
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = LinkError::Connect(address, error),
        }
    }
    Err(last)
}

async fn shake_hands(
    controller: &Controller,
    tls: &TlsConnector,
    tcp: TcpStream,
) -> Result<impl Duplex + 'static, LinkError> {
    let name = ServerName::try_from(controller.host.clone())
        .map_err(|error| LinkError::Name(controller.host.clone(), error))?;
    tls.connect(name, tcp).await.map_err(LinkError::Tls)
}

async fn read_message(
    stream: &mut (impl AsyncRead + Unpin + ?Sized),
    received: &mut Vec<u8>,
) -> Result<Message, LinkError> {
    loop {
        if let Some(length) = Message::length(received)?
            && let Some(bytes) = received.get(..length)
        {
            let message = Message::read(bytes)?;
            received.drain(..length);
            return Ok(message);
        }
        if stream.read_buf(received).await? == 0 {
            return Err(LinkError::HungUp("it closed the connection".to_owned()));
        }
    }
}

fn expected(message: Message, id: i32) -> Result<Answer, LinkError> {
    match message {
        Message { id: 0, answer: Answer::Extended(outcome) } => Err(LinkError::HungUp(outcome.diagnostic)),
        Message { id: found, answer } if found == id => Ok(answer),
        _ => Err(LinkError::OutOfStep),
    }
}

fn succeeded(what: &'static str, outcome: Outcome) -> Result<(), LinkError> {
    if outcome.code == code::SUCCESS { Ok(()) } else { Err(LinkError::Refused { what, outcome }) }
}
