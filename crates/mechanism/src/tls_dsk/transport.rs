//! A flight in, a flight out: OpenSSL's state machine over buffers, with limits.

use super::error::{Found, found};
use super::hello::{self, Hello};
use super::policy::{Policy, Protocol, Suite};
use super::{DskError, records};
use crate::Side;
use openssl::error::ErrorStack;
use openssl::ssl::{ErrorCode, Ssl, SslRef, SslStream};
use std::fmt;
use std::io::{self, Read, Write};

/// Most bytes of one flight. Real ones have up to 6 KiB; chains of certificates may be long.
const MAX_FLIGHT: usize = 32 * 1024;

/// Most bytes the peer sends in a whole handshake.
const MAX_BYTES: usize = 48 * 1024;

/// Most flights the peer sends. Real handshakes have two.
const MAX_FLIGHTS: u32 = 4;

/// What OpenSSL reads from and writes to in place of a socket.
#[derive(Default)]
struct Buffers {
    incoming: Vec<u8>,
    read: usize,
    outgoing: Vec<u8>,
}

impl Buffers {
    fn unread(&self) -> &[u8] {
        self.incoming.get(self.read..).unwrap_or_default()
    }
}

impl Read for Buffers {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.unread().len().min(into.len());
        if length == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        into[..length].copy_from_slice(&self.unread()[..length]);
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
pub(super) struct Handshake {
    stream: SslStream<Buffers>,
    side: Side,
    policy: Policy,
    bytes: usize,
    flights: u32,
    over: bool,
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.stream.ssl().state_string_long())
    }
}

/// Where a flight led.
pub(super) struct Advanced {
    /// What is to be sent.
    pub(super) flight: Vec<u8>,
    /// Whether the handshake is done.
    pub(super) done: bool,
}

impl Handshake {
    /// A handshake that has exchanged nothing, on this side.
    pub(super) fn new(mut ssl: Ssl, side: Side, policy: Policy) -> Result<Handshake, DskError> {
        match side {
            Side::Client => ssl.set_connect_state(),
            Side::Server => ssl.set_accept_state(),
        }
        let stream = SslStream::new(ssl, Buffers::default())?;
        Ok(Handshake { stream, side, policy, bytes: 0, flights: 0, over: false })
    }

    /// The flight with which a client begins.
    pub(super) fn first_flight(&mut self) -> Result<Vec<u8>, DskError> {
        Ok(self.go_on(&[])?.flight)
    }

    /// Takes a flight of the peer, which has to be whole, and goes on as far as it leads. After an error, or the end, every
    /// further one is an error.
    pub(super) fn take(&mut self, flight: &[u8]) -> Result<Advanced, DskError> {
        if std::mem::replace(&mut self.over, true) {
            return Err(DskError::Over);
        }
        self.flights += 1;
        self.bytes += flight.len();
        if flight.len() > MAX_FLIGHT || self.bytes > MAX_BYTES || self.flights > MAX_FLIGHTS {
            return Err(DskError::TooLong);
        }
        records::check(flight)?;
        let advanced = self.go_on(flight)?;
        if !self.stream.get_ref().unread().is_empty() {
            return Err(DskError::NotTls("there is more after the end of the handshake"));
        }
        if !advanced.done && advanced.flight.is_empty() {
            return Err(DskError::Incomplete);
        }
        self.over = advanced.done;
        Ok(advanced)
    }

    fn go_on(&mut self, flight: &[u8]) -> Result<Advanced, DskError> {
        let buffers = self.stream.get_mut();
        buffers.incoming = flight.to_vec();
        buffers.read = 0;
        let done = match self.stream.do_handshake() {
            Ok(()) => true,
            Err(error) if error.code() == ErrorCode::WANT_READ => false,
            Err(error) => return Err(self.explained(&error, flight)),
        };
        // What OpenSSL disliked about a certificate, and was told to pass over, stays in a queue of the thread; the next
        // one to look there would take it for its own.
        drop(ErrorStack::get());
        let outgoing = std::mem::take(&mut self.stream.get_mut().outgoing);
        Ok(Advanced { flight: records::merge(&outgoing), done })
    }

    /// Why a flight was refused; where nothing is in common, with what the flight says.
    fn explained(&self, error: &openssl::ssl::Error, flight: &[u8]) -> DskError {
        let theirs = |read: fn(Hello) -> Vec<u16>| {
            let hello = match self.side {
                Side::Client => hello::chosen(flight),
                Side::Server => hello::offered(flight),
            };
            hello.map(read).unwrap_or_default()
        };
        match found(error) {
            Found::Error(error) => error,
            Found::Version => DskError::NoCommonVersion { theirs: theirs(|hello| hello.versions), ours: self.policy },
            Found::Suite => DskError::NoCommonSuite { theirs: theirs(|hello| hello.suites), ours: self.policy },
        }
    }

    /// Ends the handshake from this side, for this reason.
    pub(super) fn end(&mut self, why: DskError) -> DskError {
        self.over = true;
        why
    }

    /// The TLS session.
    pub(super) fn ssl(&self) -> &SslRef {
        self.stream.ssl()
    }

    /// The certificate the other side showed, DER.
    pub(super) fn peer_certificate(&self) -> Result<Vec<u8>, DskError> {
        Ok(self.ssl().peer_certificate().ok_or(DskError::NoCertificate)?.to_der()?)
    }

    /// What was agreed on, once the handshake is done.
    pub(super) fn agreed(&self) -> Result<(Protocol, Suite), DskError> {
        Protocol::of(self.ssl())
            .zip(Suite::of(self.ssl()))
            .ok_or_else(|| DskError::Setup("OpenSSL agreed on what the policy does not have".to_owned()))
    }
}
