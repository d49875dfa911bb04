//! The server's half.

use super::records::MAX_RECORD;
use super::transport::{Advanced, Handshake};
use super::{DskError, MessageKeys, Policy, Protocol, Suite};
use crate::Side;
use openssl::pkey::{Id, PKey};
use openssl::ssl::{Ssl, SslContext, SslMethod, SslVerifyMode};
use openssl::x509::X509;
use std::fmt;

/// Bytes left in the record of the first flight for all that is not a certificate.
const OTHER_MESSAGES: usize = 1024;

/// What all handshakes of a server share: certificate, key and policy. Made once, used by all threads.
pub struct Server {
    context: SslContext,
    policy: Policy,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("tls_dsk::Server").field(&self.policy).finish()
    }
}

impl Server {
    /// With this chain (DER, leaf first) and the leaf's key (PKCS#8, DER). The key has to be RSA, since clients encrypt to
    /// it, and the chain has to fit into one record: [`DskError::Setup`] otherwise.
    pub fn new(chain: &[Vec<u8>], key: &[u8], policy: Policy) -> Result<Server, DskError> {
        let unusable = |why: &str| DskError::Setup(why.to_owned());
        let mut context = SslContext::builder(SslMethod::tls_server())?;
        policy.apply(&mut context)?;
        let (leaf, rest) = chain.split_first().ok_or_else(|| unusable("there is no certificate"))?;
        if chain.iter().map(|certificate| certificate.len() + 3).sum::<usize>() > MAX_RECORD - OTHER_MESSAGES {
            return Err(unusable("the chain of certificates is longer than a TLS record"));
        }
        context.set_certificate(&*X509::from_der(leaf)?)?;
        for issuer in rest {
            context.add_extra_chain_cert(X509::from_der(issuer)?)?;
        }
        let key = PKey::private_key_from_pkcs8(key)?;
        if key.id() != Id::RSA {
            return Err(unusable("the key is not an RSA key"));
        }
        context.set_private_key(&key)?;
        context.check_private_key()?;
        // A certificate is asked for, and any will do that its holder has the key of: see the module's page. Its issuers are
        // not looked at, so that nobody can make this server check a long chain. No list of acceptable issuers is sent, so
        // that no client keeps its certificate back because of one.
        context.set_verify_callback(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT, |_, _| true);
        context.set_verify_depth(0);
        Ok(Server { context: context.build(), policy })
    }

    /// A handshake that awaits the client's first flight.
    pub fn begin(&self) -> Result<ServerHandshake, DskError> {
        Ok(ServerHandshake(Handshake::new(Ssl::new(&self.context)?, Side::Server, self.policy)?))
    }
}

/// A handshake under way.
#[derive(Debug)]
pub struct ServerHandshake(pub(super) Handshake);

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
        /// Version that was agreed on.
        protocol: Protocol,
        /// Suite that was agreed on.
        suite: Suite,
    },
}

impl ServerHandshake {
    /// Takes the client's next flight, which has to be whole. After an error, or the end, every further one is an error.
    ///
    /// The second flight costs one private-key operation, some hundred microseconds.
    pub fn step(&mut self, flight: &[u8]) -> Result<ServerStep, DskError> {
        let Advanced { flight, done } = self.0.take(flight)?;
        if !done {
            return Ok(ServerStep::Continue(flight));
        }
        let certificate = self.0.peer_certificate()?;
        let (protocol, suite) = self.0.agreed()?;
        let keys = Box::new(MessageKeys::of(self.0.ssl(), suite.signature_hash())?);
        Ok(ServerStep::Finished { flight, certificate, keys, protocol, suite })
    }
}
