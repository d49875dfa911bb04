//! The server's half.

use super::transport::Handshake;
use super::{DskError, MessageKeys, Policy, records};
use openssl::pkey::PKey;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslVerifyMode};
use openssl::x509::X509;
use std::fmt;

/// What all handshakes of a server share: certificate, key and policy. Made once.
pub struct Server {
    context: SslContext,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tls_dsk::Server(…)")
    }
}

impl Server {
    /// With this chain (DER, leaf first) and the leaf's key (PKCS#8, DER). The key has to be RSA: clients encrypt to it.
    pub fn new(chain: &[Vec<u8>], key: &[u8], policy: Policy) -> Result<Server, DskError> {
        let mut context = SslContext::builder(SslMethod::tls_server())?;
        policy.apply(&mut context)?;
        let (leaf, rest) = chain.split_first().ok_or_else(|| DskError::Setup("there is no certificate".to_owned()))?;
        context.set_certificate(&*X509::from_der(leaf)?)?;
        for issuer in rest {
            context.add_extra_chain_cert(X509::from_der(issuer)?)?;
        }
        let key = PKey::private_key_from_pkcs8(key)?;
        if key.rsa().is_err() {
            return Err(DskError::Setup("the key is not an RSA key".to_owned()));
        }
        context.set_private_key(&key)?;
        context.check_private_key()?;
        // A certificate is asked for, and any will do that its holder has the key of: see the module's page. No list of
        // acceptable issuers is sent, so that no client keeps its certificate back because of one.
        context.set_verify_callback(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT, |_, _| true);
        Ok(Server { context: context.build() })
    }

    /// A handshake that awaits the client's first flight.
    pub fn begin(&self) -> Result<ServerHandshake, DskError> {
        Ok(ServerHandshake(Handshake::new(Ssl::new(&self.context)?)?))
    }
}

/// A handshake under way.
#[derive(Debug)]
pub struct ServerHandshake(Handshake);

/// What a flight of the client leads to.
#[derive(Debug)]
pub enum ServerStep {
    /// Send this flight, and wait for the next.
    Continue(Vec<u8>),
    /// Send this flight; then the client signs.
    Finished {
        /// ChangeCipherSpec and Finished.
        flight: Vec<u8>,
        /// The certificate whose key the client has, DER. Nothing else is known of it.
        certificate: Vec<u8>,
        /// The keys that sign messages.
        keys: Box<MessageKeys>,
    },
}

impl ServerHandshake {
    /// Takes the client's next flight. After an error, or the end, every further one is an error.
    pub fn step(&mut self, flight: &[u8]) -> Result<ServerStep, DskError> {
        self.0.hand_in(flight)?;
        let done = self.0.go_on(|stream| stream.accept())?;
        let flight = records::merge(&self.0.take_flight());
        if !done {
            return Ok(ServerStep::Continue(flight));
        }
        let certificate = self.0.ssl().peer_certificate().ok_or(DskError::NoCertificate)?.to_der()?;
        let keys = Box::new(MessageKeys::of(self.0.ssl())?);
        Ok(ServerStep::Finished { flight, certificate, keys })
    }
}
