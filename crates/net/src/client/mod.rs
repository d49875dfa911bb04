//! The client's door onto the world: [`Sockets`] carries out the [`Operation`]s of a sign-in.
//!
//! A connection is plain TCP first, may become TLS, and may then be given to HTTP for good. What an operation works
//! on is taken out of the connection and put back when the operation succeeds. So an operation that fails, or whose
//! future is dropped half way, leaves a connection that is closed, never one in an unknown state. Receiving is the
//! exception: giving up a wait loses nothing.

pub(crate) mod dns;
#[cfg(feature = "gssapi")]
mod gssapi;
mod http;
mod proxy;
pub(crate) mod tcp;
mod tls;

use crate::client::dns::Resolver;
use crate::client::http::HttpChannel;
use crate::client::tcp::Stream;
use signin::io::{
    Bytes, ConnId, ConnectError, Connected, HttpError, HttpRequest, HttpResponse, Io, Now, Operation, Outcome, Pending,
    PrivateKey, SecContext, SecContextError, StreamError, Target, TlsError, TlsSession,
};
use signin::report::Event;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::timeout;

/// Most bytes one [`Operation::Receive`] returns.
const RECEIVE_AT_MOST: usize = 64 * 1024;

/// [`Operation::Send`] names no limit of its own: a server that does not read for this long is given up.
const SEND_LIMIT: Duration = Duration::from_secs(10);

/// How long closing may spend on saying goodbye (TLS close_notify) before the socket is simply dropped.
const GOODBYE_LIMIT: Duration = Duration::from_millis(200);

/// Whether this program was built with the system's GSS-API library (feature `gssapi`), so that
/// [`Operation::InitSecContext`] can be carried out.
pub const GSSAPI: bool = cfg!(feature = "gssapi");

/// Takes note of what the sign-in tells.
pub type EventSink = Arc<dyn Fn(Event) + Send + Sync>;

/// How [`Sockets`] reaches the world.
#[derive(Clone)]
pub struct Config {
    /// The one name server to ask; without it those of `/etc/resolv.conf`.
    pub dns: Option<SocketAddr>,
    /// Whether certificates may end in one of the system's roots.
    pub system_roots: bool,
    /// PEM files of further roots.
    pub ca_files: Vec<PathBuf>,
    /// Added to the port of every TCP connection, as if by address translation: a laboratory that may not listen on
    /// port 443 listens on 443 + offset. What is reported keeps the port that was asked for.
    pub port_offset: u16,
    /// File to which the keys of every TLS session are appended in the format that packet analysers read. Whoever has
    /// it and a capture reads the traffic, tokens included: for finding faults, never for every day.
    pub key_log: Option<PathBuf>,
    /// Longest HTTP body accepted. Bytes.
    pub http_body_limit: usize,
    /// Bits of an RSA key to begin making at once, because the sign-in will want a new one; it takes a tenth of a second
    /// and more.
    pub prepare_key: Option<u32>,
    /// Who is told what the sign-in tells.
    pub events: EventSink,
}

impl Default for Config {
    /// System name servers, system roots, no offset, 4 MiB of HTTP body, events to nobody.
    fn default() -> Config {
        Config {
            dns: None,
            system_roots: true,
            ca_files: Vec::new(),
            port_offset: 0,
            key_log: None,
            http_body_limit: 4 * 1024 * 1024,
            prepare_key: None,
            events: Arc::new(|_| {}),
        }
    }
}

/// Why [`Sockets`] cannot be set up: faults of this machine or of its configuration, never of a peer.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The system's list of name servers cannot be used.
    #[error("/etc/resolv.conf cannot be used ({0}); name a DNS server")]
    NameServers(String),
    /// A file of root certificates cannot be read.
    #[error("the CA file {path} cannot be read: {error}", path = path.display())]
    CaFile {
        /// Which.
        path: PathBuf,
        /// Why.
        error: String,
    },
    /// A file of root certificates holds none.
    #[error("the CA file {path} has no certificate in PEM form", path = path.display())]
    EmptyCaFile {
        /// Which.
        path: PathBuf,
    },
    /// The key log cannot be opened.
    #[error("the key log {path} cannot be written: {error}", path = path.display())]
    KeyLog {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// OpenSSL refuses its configuration.
    #[error("OpenSSL cannot be set up: {0}")]
    OpenSsl(#[from] openssl::error::ErrorStack),
}

/// Real DNS, TCP, TLS, HTTP, clock and randomness for one sign-in or several. Needs a Tokio runtime with I/O and time.
pub struct Sockets {
    resolver: Resolver,
    tls: tls::Client,
    port_offset: u16,
    http_body_limit: usize,
    events: EventSink,
    clock: crate::server::SystemSurroundings,
    next: AtomicU64,
    open: Mutex<HashMap<ConnId, Arc<Connection>>>,
    /// A key that is being made, and how many bits it has.
    prepared: Mutex<Option<(u32, Making)>>,
}

/// A key that is being made on a thread of its own.
type Making = tokio::task::JoinHandle<Result<PrivateKey, String>>;

impl Sockets {
    /// Reads the configuration, the certificate files and, when it is needed, `/etc/resolv.conf`.
    pub fn new(config: Config) -> Result<Sockets, SetupError> {
        Ok(Sockets {
            resolver: Resolver::new(config.dns)?,
            tls: tls::Client::new(config.system_roots, &config.ca_files, config.key_log.as_deref())?,
            port_offset: config.port_offset,
            http_body_limit: config.http_body_limit,
            events: config.events,
            clock: crate::server::SystemSurroundings::new(),
            next: AtomicU64::new(1),
            open: Mutex::default(),
            prepared: Mutex::new(config.prepare_key.map(|bits| (bits, make_key(bits)))),
        })
    }

    /// How many connections are open: opened, and neither closed by us nor given up.
    pub fn open_connections(&self) -> usize {
        self.connections().len()
    }

    async fn carry_out(&self, operation: Operation) -> Outcome {
        match operation {
            Operation::Resolve { name, kind, limit } => {
                Outcome::Resolved(self.resolver.resolve(&name, kind, limit).await)
            }
            Operation::Connect { target, limit } => {
                let opened = timeout(limit, self.connect(&target)).await;
                Outcome::Connected(opened.unwrap_or(Err(ConnectError::Timeout)))
            }
            Operation::StartTls { conn, server_name, limit } => {
                Outcome::Secured(self.start_tls(conn, &server_name, limit).await)
            }
            Operation::Send { conn, bytes } => Outcome::Sent(self.send(conn, &bytes).await),
            Operation::Receive { conn, limit } => Outcome::Received(self.receive(conn, limit).await.map(Bytes)),
            Operation::Exchange { conn, request, limit } => {
                let answered = timeout(limit, self.exchange(conn, request)).await;
                Outcome::Answered(answered.unwrap_or(Err(HttpError::Stream(StreamError::Timeout))))
            }
            Operation::Close { conn } => {
                self.close(conn).await;
                Outcome::Done
            }
            Operation::NewKey { bits } => Outcome::NewKey(self.new_key(bits).await),
            Operation::InitSecContext { service, channel, limit } => {
                Outcome::SecContext(init_sec_context(service, channel, limit).await)
            }
            Operation::Wait { time } => {
                tokio::time::sleep(time).await;
                Outcome::Done
            }
        }
    }

    async fn connect(&self, target: &Target) -> Result<Connected, ConnectError> {
        let (stream, peer) = match target {
            Target::Direct(address) => (tcp::connect(*address, self.port_offset).await?, *address),
            Target::Proxied { host, port, proxy, authorization } => {
                let addresses = proxy::addresses(proxy, &self.resolver).await?;
                let (mut stream, peer) = tcp::connect_any(&addresses, self.port_offset).await?;
                proxy::tunnel(&mut stream, host, *port, authorization.as_deref()).await?;
                (stream, peer)
            }
        };
        let local = stream.local_addr().map_err(|error| tcp::connect_error(&error))?;
        let conn = ConnId(self.next.fetch_add(1, Ordering::Relaxed));
        self.connections().insert(conn, Arc::new(Connection::new(Stream::plain(stream))));
        Ok(Connected { conn, local, peer })
    }

    async fn start_tls(&self, conn: ConnId, server_name: &str, limit: Duration) -> Result<TlsSession, TlsError> {
        let connection = self.connection(conn).ok_or(TlsError::Closed)?;
        let Some(Stream::Plain(tcp)) = connection.take_stream().await else {
            return Err(TlsError::Failed("TLS was begun on a connection that is not plain TCP any more".to_owned()));
        };
        let (stream, session) = tokio::select! {
            result = self.tls.handshake(tcp, server_name, limit) => result?,
            () = connection.closed() => return Err(TlsError::Closed),
        };
        connection.put_stream(Stream::Tls(stream)).await;
        Ok(session)
    }

    async fn send(&self, conn: ConnId, bytes: &[u8]) -> Result<(), StreamError> {
        let connection = self.connection(conn).ok_or(StreamError::Closed)?;
        let sending = async {
            let mut slot = connection.writer.lock().await;
            let mut writer = slot.take().ok_or(StreamError::Closed)?;
            let write = async {
                writer.write_all(bytes).await?;
                writer.flush().await
            };
            write.await.map_err(|error| tcp::stream_error(&error))?;
            *slot = Some(writer);
            Ok(())
        };
        tokio::select! {
            result = timeout(SEND_LIMIT, sending) => result.unwrap_or(Err(StreamError::Timeout)),
            () = connection.closed() => Err(StreamError::Closed),
        }
    }

    async fn receive(&self, conn: ConnId, limit: Duration) -> Result<Vec<u8>, StreamError> {
        let connection = self.connection(conn).ok_or(StreamError::Closed)?;
        let receiving = async {
            let mut slot = connection.reader.lock().await;
            let reader = slot.as_mut().ok_or(StreamError::Closed)?;
            let mut bytes = Vec::with_capacity(RECEIVE_AT_MOST);
            match reader.read_buf(&mut bytes).await {
                Ok(0) => Err(StreamError::Closed),
                Ok(_) => Ok(bytes),
                Err(error) => Err(tcp::stream_error(&error)),
            }
        };
        let received = tokio::select! {
            result = timeout(limit, receiving) => result.unwrap_or(Err(StreamError::Timeout)),
            () = connection.closed() => Err(StreamError::Closed),
        };
        received.map(|mut bytes| {
            bytes.shrink_to_fit();
            bytes
        })
    }

    async fn exchange(&self, conn: ConnId, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let connection = self.connection(conn).ok_or(HttpError::Stream(StreamError::Closed))?;
        let exchanging = async {
            let mut slot = connection.http.lock().await;
            let mut channel = match slot.take() {
                Some(channel) => channel,
                None => {
                    let stream = connection.take_stream().await.ok_or(HttpError::Stream(StreamError::Closed))?;
                    HttpChannel::open(stream).await?
                }
            };
            let response = channel.exchange(request, self.http_body_limit).await?;
            if response.reusable {
                *slot = Some(channel);
            }
            Ok(response)
        };
        tokio::select! {
            result = exchanging => result,
            () = connection.closed() => Err(HttpError::Stream(StreamError::Closed)),
        }
    }

    async fn new_key(&self, bits: u32) -> Result<PrivateKey, String> {
        let prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner).take();
        let making = match prepared {
            Some((has, making)) if has == bits => making,
            _ => make_key(bits),
        };
        making.await.unwrap_or_else(|error| Err(error.to_string()))
    }

    async fn close(&self, conn: ConnId) {
        let Some(connection) = self.connections().remove(&conn) else { return };
        connection.closing.send_replace(true);
        let goodbye = async {
            if let Some(mut writer) = connection.writer.lock().await.take() {
                // The peer may be gone already, which is just as well.
                let _ = writer.shutdown().await;
            }
        };
        let _ = timeout(GOODBYE_LIMIT, goodbye).await;
    }

    fn connection(&self, conn: ConnId) -> Option<Arc<Connection>> {
        self.connections().get(&conn).cloned()
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<ConnId, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Io for Sockets {
    fn perform(&self, operation: Operation) -> Pending<'_, Outcome> {
        Box::pin(self.carry_out(operation))
    }

    fn now(&self) -> Now {
        signin::service::Surroundings::now(&self.clock)
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        signin::service::Surroundings::fill_random(&self.clock, bytes);
    }

    fn note(&self, event: Event) {
        (self.events)(event);
    }
}

#[cfg(feature = "gssapi")]
async fn init_sec_context(
    service: String,
    channel: Option<Vec<u8>>,
    limit: Duration,
) -> Result<SecContext, SecContextError> {
    gssapi::init_sec_context(service, channel, limit).await
}

#[cfg(not(feature = "gssapi"))]
async fn init_sec_context(_: String, _: Option<Vec<u8>>, _: Duration) -> Result<SecContext, SecContextError> {
    Err(SecContextError::Absent)
}

fn make_key(bits: u32) -> Making {
    tokio::spawn(async move {
        let pkcs8 = crate::keys::of_bits(bits).await.map_err(|error| error.to_string())?;
        Ok(PrivateKey { pkcs8 })
    })
}

/// One open connection. Reading and writing may be under way at the same time, so each half has its own lock.
struct Connection {
    reader: tokio::sync::Mutex<Option<ReadHalf<Stream>>>,
    writer: tokio::sync::Mutex<Option<WriteHalf<Stream>>>,
    /// Set from the first exchange on; the halves are gone then.
    http: tokio::sync::Mutex<Option<HttpChannel>>,
    closing: watch::Sender<bool>,
}

impl Connection {
    fn new(stream: Stream) -> Connection {
        let (reader, writer) = tokio::io::split(stream);
        Connection {
            reader: tokio::sync::Mutex::new(Some(reader)),
            writer: tokio::sync::Mutex::new(Some(writer)),
            http: tokio::sync::Mutex::new(None),
            closing: watch::Sender::new(false),
        }
    }

    /// Takes both halves out, joined again; waits for what uses them.
    async fn take_stream(&self) -> Option<Stream> {
        let mut reader = self.reader.lock().await;
        let mut writer = self.writer.lock().await;
        match (reader.take(), writer.take()) {
            (Some(reader), Some(writer)) => Some(reader.unsplit(writer)),
            _ => None,
        }
    }

    async fn put_stream(&self, stream: Stream) {
        let (reader, writer) = tokio::io::split(stream);
        *self.reader.lock().await = Some(reader);
        *self.writer.lock().await = Some(writer);
    }

    /// Resolves once the connection has been closed by us.
    async fn closed(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }
}
