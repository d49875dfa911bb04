//! A client's connection: TLS 1.2 by OpenSSL over a socket that blocks, cut into SIP messages. The server's certificate is
//! not looked at: on loopback there is nobody else.

use crate::deployment::told;
use openssl::ssl::{SslConnector, SslMethod, SslStream, SslVerifyMode, SslVersion};
use sip::framing::{Cut, Limits, cut};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a server may take for anything.
const PATIENCE: Duration = Duration::from_secs(10);

/// What all connections share.
pub(crate) struct Dialer(SslConnector);

/// An open connection.
pub(crate) struct Link {
    stream: SslStream<TcpStream>,
    received: Vec<u8>,
    /// Its own end.
    pub(crate) local: SocketAddr,
}

impl Dialer {
    /// TLS 1.2 only, as the servers that are measured all have it.
    pub(crate) fn new() -> Result<Dialer, String> {
        let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(told)?;
        builder.set_verify(SslVerifyMode::NONE);
        builder.set_max_proto_version(Some(SslVersion::TLS1_2)).map_err(told)?;
        Ok(Dialer(builder.build()))
    }

    /// Connects, and shakes hands.
    pub(crate) fn open(&self, address: SocketAddr) -> Result<Link, String> {
        let tcp = TcpStream::connect_timeout(&address, PATIENCE).map_err(told)?;
        tcp.set_nodelay(true).map_err(told)?;
        tcp.set_read_timeout(Some(PATIENCE)).map_err(told)?;
        let local = tcp.local_addr().map_err(told)?;
        let mut settings = self.0.configure().map_err(told)?;
        settings.set_verify_hostname(false);
        let stream = settings.connect("fe01.bench.test", tcp).map_err(told)?;
        Ok(Link { stream, received: Vec::new(), local })
    }
}

impl Link {
    /// Sends bytes.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).map_err(told)
    }

    /// The next message, whatever it is.
    pub(crate) fn next(&mut self) -> Result<Vec<u8>, String> {
        loop {
            match cut(&self.received, &Limits::default()).map_err(told)? {
                Cut::Message { length } => {
                    let rest = self.received.split_off(length);
                    return Ok(std::mem::replace(&mut self.received, rest));
                }
                Cut::KeepAlive { length } => drop(self.received.drain(..length)),
                Cut::Incomplete => {
                    let mut chunk = [0; 16 * 1024];
                    let length = self.stream.read(&mut chunk).map_err(|error| format!("no message came: {error}"))?;
                    if length == 0 {
                        return Err("the server hung up".to_owned());
                    }
                    self.received.extend_from_slice(&chunk[..length]);
                }
            }
        }
    }

    /// Sends a request, and gives the response to it. Requests that come before it are passed over.
    pub(crate) fn ask(&mut self, request: &[u8]) -> Result<Vec<u8>, String> {
        self.send(request)?;
        loop {
            let message = self.next()?;
            if message.starts_with(b"SIP/2.0 ") && !message.starts_with(b"SIP/2.0 1") {
                return Ok(message);
            }
        }
    }
}
