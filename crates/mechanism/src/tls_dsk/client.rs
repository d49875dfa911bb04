//! The client's half.

use super::transport::Handshake;
use super::{DskError, MessageKeys, Policy};
use openssl::pkey::PKey;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslVerifyMode};
use openssl::x509::X509;
use std::fmt;

/// What all handshakes with one user certificate share.
pub struct Client {
    context: SslContext,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tls_dsk::Client(…)")
    }
}

impl Client {
    /// With this certificate (DER) and its key (PKCS#8, DER; RSA).
    pub fn new(certificate: &[u8], key: &[u8], policy: Policy) -> Result<Client, DskError> {
        let mut context = SslContext::builder(SslMethod::tls_client())?;
        policy.apply(&mut context)?;
        context.set_certificate(&*X509::from_der(certificate)?)?;
        context.set_private_key(&*PKey::private_key_from_pkcs8(key)?)?;
        context.check_private_key()?;
        // The server was proven by the TLS of the connection that carries the tokens. Its inner certificate is handed out,
        // so that whoever wants to can look at it.
        context.set_verify(SslVerifyMode::NONE);
        Ok(Client { context: context.build() })
    }

    /// Begins a handshake; the first flight is to be sent.
    pub fn begin(&self) -> Result<(ClientHandshake, Vec<u8>), DskError> {
        let mut handshake = Handshake::new(Ssl::new(&self.context)?)?;
        handshake.go_on(|stream| stream.connect())?;
        let flight = handshake.take_flight();
        Ok((ClientHandshake(handshake), flight))
    }
}

/// A handshake under way.
#[derive(Debug)]
pub struct ClientHandshake(Handshake);

/// What a flight of the server leads to.
#[derive(Debug)]
pub enum ClientStep {
    /// Send this flight, and wait for the next.
    Continue(Vec<u8>),
    /// There is nothing more to send but signed messages.
    Finished {
        /// The keys that sign messages.
        keys: Box<MessageKeys>,
        /// The server's inner certificate, DER; it was not checked.
        server_certificate: Option<Vec<u8>>,
    },
}

impl ClientHandshake {
    /// Takes the server's next flight. After an error, or the end, every further one is an error.
    pub fn step(&mut self, flight: &[u8]) -> Result<ClientStep, DskError> {
        self.0.hand_in(flight)?;
        if !self.0.go_on(|stream| stream.connect())? {
            return Ok(ClientStep::Continue(self.0.take_flight()));
        }
        let ssl = self.0.ssl();
        let server_certificate = ssl.peer_certificate().map(|certificate| certificate.to_der()).transpose()?;
        Ok(ClientStep::Finished { keys: Box::new(MessageKeys::of(ssl)?), server_certificate })
    }
}
