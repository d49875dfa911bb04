//! What OpenSSL reads from and writes to in place of a socket.

use super::DskError;
use openssl::ssl::{ErrorCode, Ssl, SslStream};
use std::io::{self, Read, Write};

/// Most bytes one side sends in a whole handshake. Real ones have 2 to 6 KiB; chains of certificates may be long.
const MAX_BYTES: usize = 64 * 1024;

/// Flights one side sends. Real handshakes have two.
const MAX_FLIGHTS: u32 = 8;

/// A flight in, a flight out.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    incoming: Vec<u8>,
    read: usize,
    outgoing: Vec<u8>,
}

impl Read for Buffers {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.incoming.get(self.read..).unwrap_or_default();
        if left.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let length = left.len().min(into.len());
        into[..length].copy_from_slice(&left[..length]);
        self.read += length;
        Ok(length)
    }
}

impl Write for Buffers {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A handshake under way, of either side.
#[derive(Debug)]
pub(super) struct Handshake {
    stream: SslStream<Buffers>,
    bytes: usize,
    flights: u32,
    over: bool,
}

impl Handshake {
    /// A handshake that has exchanged nothing.
    pub(super) fn new(ssl: Ssl) -> Result<Handshake, DskError> {
        let stream = SslStream::new(ssl, Buffers::default())?;
        Ok(Handshake { stream, bytes: 0, flights: 0, over: false })
    }

    /// Hands a flight in; it has to be used up.
    pub(super) fn hand_in(&mut self, flight: &[u8]) -> Result<(), DskError> {
        if self.over {
            return Err(DskError::Over);
        }
        self.bytes += flight.len();
        self.flights += 1;
        if self.bytes > MAX_BYTES || self.flights > MAX_FLIGHTS {
            self.over = true;
            return Err(DskError::TooLong);
        }
        super::records::check(flight).inspect_err(|_| self.over = true)?;
        let buffers = self.stream.get_mut();
        buffers.incoming = flight.to_vec();
        buffers.read = 0;
        Ok(())
    }

    /// Goes on as far as the flight leads. `true`: the handshake is done.
    pub(super) fn go_on(
        &mut self,
        step: impl FnOnce(&mut SslStream<Buffers>) -> Result<(), openssl::ssl::Error>,
    ) -> Result<bool, DskError> {
        match step(&mut self.stream) {
            Ok(()) => {
                self.over = true;
                Ok(true)
            }
            Err(error) if error.code() == ErrorCode::WANT_READ => Ok(false),
            Err(error) => {
                self.over = true;
                Err(explained(&error))
            }
        }
    }

    /// What is to be sent.
    pub(super) fn take_flight(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.stream.get_mut().outgoing)
    }

    /// The TLS session.
    pub(super) fn ssl(&self) -> &openssl::ssl::SslRef {
        self.stream.ssl()
    }
}

/// OpenSSL's reasons, by who has to change something.
fn explained(error: &openssl::ssl::Error) -> DskError {
    let Some(first) = error.ssl_error().and_then(|stack| stack.errors().first()) else {
        return DskError::Refused(error.to_string());
    };
    let reason = first.reason().unwrap_or("no reason given");
    match reason {
        "peer did not return a certificate" => DskError::NoCertificate,
        "unsupported protocol"
        | "no shared cipher"
        | "version too low"
        | "wrong ssl version"
        | "no ciphers available"
        | "no protocols available"
        | "unknown protocol" => DskError::NothingInCommon(reason.to_owned()),
        _ if reason.contains("alert") => DskError::Alert(reason.to_owned()),
        _ => DskError::Refused(reason.to_owned()),
    }
}
