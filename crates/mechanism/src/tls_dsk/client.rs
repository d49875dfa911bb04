//! The client's half.

use super::transport::{Advanced, Handshake};
use super::{DskError, MessageKeys, Policy, Protocol, Suite, records};
use crate::Side;
use openssl::pkey::PKey;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslOptions, SslVerifyMode};
use openssl::x509::X509;
use std::fmt;

/// Kind of the message that proves the key of a certificate, RFC 5246 §7.4.8.
const CERTIFICATE_VERIFY: u8 = 15;

/// `SSL_OP_LEGACY_SERVER_CONNECT`: servers older than RFC 5746 (2010) will do too. What it guards against is renegotiation,
/// and here is none.
const LEGACY_SERVER_CONNECT: u64 = 0x4;

/// What all handshakes with one user certificate share. Made once, used by all threads.
pub struct Client {
    context: SslContext,
    policy: Policy,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("tls_dsk::Client").field(&self.policy).finish()
    }
}

impl Client {
    /// With this certificate (DER) and its key (PKCS#8, DER).
    pub fn new(certificate: &[u8], key: &[u8], policy: Policy) -> Result<Client, DskError> {
        let mut context = SslContext::builder(SslMethod::tls_client())?;
        policy.apply(&mut context)?;
        context.set_options(SslOptions::from_bits_retain(LEGACY_SERVER_CONNECT));
        context.set_certificate(&*X509::from_der(certificate)?)?;
        context.set_private_key(&*PKey::private_key_from_pkcs8(key)?)?;
        context.check_private_key()?;
        // The server was proven by the TLS of the connection that carries the tokens. Its inner certificate is handed out,
        // so that whoever wants to can look at it.
        context.set_verify(SslVerifyMode::NONE);
        Ok(Client { context: context.build(), policy })
    }

    /// Begins a handshake; the first flight is to be sent.
    pub fn begin(&self) -> Result<(ClientHandshake, Vec<u8>), DskError> {
        let mut handshake = Handshake::new(Ssl::new(&self.context)?, Side::Client, self.policy)?;
        let flight = handshake.first_flight()?;
        Ok((ClientHandshake(handshake), flight))
    }
}

/// A handshake under way.
#[derive(Debug)]
pub struct ClientHandshake(pub(super) Handshake);

/// What a flight of the server leads to.
#[derive(Debug)]
pub enum ClientStep {
    /// Send this flight, and wait for the next.
    Continue(Vec<u8>),
    /// There is nothing more to send but signed messages.
    Finished {
        /// The keys that sign messages.
        keys: Box<MessageKeys>,
        /// The server's inner certificate, DER. That the server has its key is proven, and nothing else.
        server_certificate: Vec<u8>,
        /// Version that was agreed on.
        protocol: Protocol,
        /// Suite that was agreed on.
        suite: Suite,
    },
}

impl ClientHandshake {
    /// Takes the server's next flight, which has to be whole. After an error, or the end, every further one is an error.
    pub fn step(&mut self, flight: &[u8]) -> Result<ClientStep, DskError> {
        let Advanced { flight, done } = self.0.take(flight)?;
        if !done {
            let proves = records::messages(&records::plain(&flight)).any(|(kind, _)| kind == CERTIFICATE_VERIFY);
            return if proves { Ok(ClientStep::Continue(flight)) } else { Err(self.0.end(DskError::NotAsked)) };
        }
        let server_certificate = self.0.peer_certificate()?;
        let (protocol, suite) = self.0.agreed()?;
        let keys = Box::new(MessageKeys::of(self.0.ssl(), suite.signature_hash())?);
        Ok(ClientStep::Finished { keys, server_certificate, protocol, suite })
    }
}
