//! Opening TCP, and the stream of a client's connection: plain or TLS.

use signin::io::{ConnectError, StreamError};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

/// Opens TCP to `address`, its port moved by `offset`.
pub(crate) async fn connect(address: SocketAddr, offset: u16) -> Result<TcpStream, ConnectError> {
    let port = address.port().checked_add(offset).ok_or_else(|| {
        ConnectError::Failed(format!("port {} cannot be moved by {offset}: there are only 65535", address.port()))
    })?;
    let stream = TcpStream::connect(SocketAddr::new(address.ip(), port)).await.map_err(|e| connect_error(&e))?;
    // Requests are whole when they are written: waiting for more to send only costs time. Not being able to say so
    // changes nothing else.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Opens TCP to the first of `addresses` that answers; the error is the last one's.
pub(crate) async fn connect_any(
    addresses: &[SocketAddr],
    offset: u16,
) -> Result<(TcpStream, SocketAddr), ConnectError> {
    let mut last = ConnectError::Failed("the proxy's name has no address".to_owned());
    for address in addresses {
        match connect(*address, offset).await {
            Ok(stream) => return Ok((stream, *address)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Why TCP did not open.
pub(super) fn connect_error(error: &io::Error) -> ConnectError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ConnectError::Refused,
        io::ErrorKind::TimedOut => ConnectError::Timeout,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => {
            ConnectError::Unreachable
        }
        _ => ConnectError::Failed(error.to_string()),
    }
}

/// Why an open stream failed. A TLS stream cut off without goodbye counts as closed; a broken TLS record as reset.
pub(super) fn stream_error(error: &io::Error) -> StreamError {
    match error.kind() {
        io::ErrorKind::TimedOut => StreamError::Timeout,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::WriteZero => StreamError::Closed,
        _ if cut_off(error) => StreamError::Closed,
        _ => StreamError::Reset,
    }
}

fn cut_off(error: &io::Error) -> bool {
    error.get_ref().and_then(|inner| inner.downcast_ref::<openssl::ssl::Error>()).is_some_and(super::tls::is_cut_off)
}

/// The stream of a connection.
#[derive(Debug)]
pub(super) enum Stream {
    /// As TCP carries it.
    Plain(Tcp),
    /// Inside TLS.
    Tls(SslStream<Tcp>),
}

impl Stream {
    /// A connection that was just opened.
    pub(super) fn plain(stream: TcpStream) -> Stream {
        Stream::Plain(Tcp { stream, first: FirstBytes::default() })
    }
}

/// A TCP stream that remembers the first bytes the peer sent, so that a failed TLS handshake can tell what the peer
/// speaks instead.
#[derive(Debug)]
pub(super) struct Tcp {
    stream: TcpStream,
    first: FirstBytes,
}

impl Tcp {
    /// What the peer sent first, as far as it has arrived. Takes it out of the stream.
    pub(super) fn first_bytes(&mut self) -> &[u8] {
        let mut more = [0; 32];
        if let Ok(length) = self.stream.try_read(&mut more) {
            self.first.note(&more[..length]);
        }
        self.first.as_slice()
    }
}

/// The first bytes of a stream, at most 32.
#[derive(Debug, Default)]
struct FirstBytes {
    bytes: [u8; 32],
    length: usize,
}

impl FirstBytes {
    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn note(&mut self, read: &[u8]) {
        let fits = read.len().min(self.bytes.len() - self.length);
        self.bytes[self.length..self.length + fits].copy_from_slice(&read[..fits]);
        self.length += fits;
    }
}

impl AsyncRead for Tcp {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.first.note(&buffer.filled()[before..]);
        polled
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
