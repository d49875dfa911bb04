//! TLS of our servers.
//!
//! rustls with aws-lc-rs, TLS 1.2 and 1.3, sessions resumed by tickets and by a cache. Clients that offer only TLS 1.0
//! or 1.1, or only CBC or RSA key exchange, need the legacy settings on OpenSSL, on a listener of their own.

use mechanism::channel_bindings::ChannelBindings;
use openssl::ssl::{Ssl, SslContext, SslContextBuilder, SslMethod, SslOptions, SslVersion};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ServerSessionMemoryCache;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// TLS 1.2 sessions remembered for clients without tickets.
const CACHED_SESSIONS: usize = 4096;

/// A listener's TLS.
#[derive(Clone)]
pub enum Security {
    /// None: plain TCP.
    Plain,
    /// TLS 1.2 and 1.3 by rustls.
    Modern(Arc<ServerConfig>),
    /// TLS 1.0 to 1.3 by OpenSSL, with the ciphers of that time.
    Legacy(SslContext),
}

impl From<Option<Arc<ServerConfig>>> for Security {
    fn from(config: Option<Arc<ServerConfig>>) -> Security {
        config.map_or(Security::Plain, Security::Modern)
    }
}

impl From<Arc<ServerConfig>> for Security {
    fn from(config: Arc<ServerConfig>) -> Security {
        Security::Modern(config)
    }
}

/// Why a certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("{path} cannot be read: {error}", path = path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The certificate file is not a list of certificates in PEM form.
    #[error("the certificate chain is not in PEM form: {0}")]
    BadChain(String),
    /// The key file holds no private key in PEM form.
    #[error("the private key is not in PEM form: {0}")]
    BadKey(String),
    /// Certificate and key do not fit, or rustls cannot use them.
    #[error("certificate and key cannot be used together: {0}")]
    Unusable(String),
}

/// A certificate chain, leaf first, with the key of the leaf.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({} certificates)", self.chain.len())
    }
}

impl Identity {
    /// Reads PEM files. The key may be PKCS #8, PKCS #1 or SEC 1, not encrypted.
    pub fn read(chain: &Path, key: &Path) -> Result<Identity, IdentityError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| IdentityError::Unreadable { path: path.to_owned(), error })
        };
        Identity::from_pem(&read(chain)?, &read(key)?)
    }

    /// The same from PEM text.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Identity, IdentityError> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| IdentityError::BadChain(error.to_string()))?;
        if chain.is_empty() {
            return Err(IdentityError::BadChain("it has no certificate".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| IdentityError::BadKey(error.to_string()))?;
        Ok(Identity { chain, key })
    }

    /// What proofs over connections to this server are bound to, if there is a hash for its certificate.
    pub fn channel(&self) -> Option<ChannelBindings> {
        ChannelBindings::of_certificate(self.chain.first()?)
    }

    /// Settings for SIP: no application protocol is negotiated.
    pub fn for_sip(&self) -> Result<Arc<ServerConfig>, IdentityError> {
        self.modern(Vec::new())
    }

    /// Settings for web services: `http/1.1` only, because NTLM is bound to a connection.
    pub fn for_http(&self) -> Result<Arc<ServerConfig>, IdentityError> {
        self.modern(vec![b"http/1.1".to_vec()])
    }

    fn modern(&self, protocols: Vec<Vec<u8>>) -> Result<Arc<ServerConfig>, IdentityError> {
        let unusable = |error: rustls::Error| IdentityError::Unusable(error.to_string());
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(unusable)?;
        config.alpn_protocols = protocols;
        config.session_storage = ServerSessionMemoryCache::new(CACHED_SESSIONS);
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(unusable)?;
        // A client needs one ticket for its one connection; each costs time and memory.
        config.send_tls13_tickets = 1;
        Ok(Arc::new(config))
    }

    /// Settings for clients that rustls does not serve: TLS 1.0 to 1.3, CBC, RSA key exchange, SHA-1. SSL 3.0 and
    /// ciphers without authentication or encryption stay off.
    pub fn legacy(&self) -> Result<Security, IdentityError> {
        let unusable = |error: openssl::error::ErrorStack| IdentityError::Unusable(error.to_string());
        let mut builder = SslContextBuilder::new(SslMethod::tls_server()).map_err(unusable)?;
        builder.set_security_level(0);
        builder.set_min_proto_version(Some(SslVersion::TLS1)).map_err(unusable)?;
        builder.set_cipher_list("HIGH:MEDIUM:!aNULL:!eNULL:@SECLEVEL=0").map_err(unusable)?;
        builder.set_options(SslOptions::NO_RENEGOTIATION | SslOptions::CIPHER_SERVER_PREFERENCE);
        builder.set_session_id_context(b"signpost").map_err(unusable)?;
        let mut certificates = self.chain.iter().map(|der| openssl::x509::X509::from_der(der));
        if let Some(leaf) = certificates.next() {
            builder.set_certificate(leaf.map_err(unusable)?.as_ref()).map_err(unusable)?;
        }
        for issuer in certificates {
            builder.add_extra_chain_cert(issuer.map_err(unusable)?).map_err(unusable)?;
        }
        let key = openssl::pkey::PKey::private_key_from_der(self.key.secret_der()).map_err(unusable)?;
        builder.set_private_key(&key).map_err(unusable)?;
        builder.check_private_key().map_err(unusable)?;
        Ok(Security::Legacy(builder.build()))
    }
}

/// A connection whose handshake, if any, is done.
pub(super) enum Secured {
    /// Without TLS.
    Plain(TcpStream),
    /// By rustls.
    Modern(Box<tokio_rustls::server::TlsStream<TcpStream>>),
    /// By OpenSSL.
    Legacy(Box<tokio_openssl::SslStream<TcpStream>>),
}

impl Security {
    /// Shakes hands, within `limit`.
    pub(super) async fn accept(&self, tcp: TcpStream, limit: Duration) -> io::Result<Secured> {
        match self {
            Security::Plain => Ok(Secured::Plain(tcp)),
            Security::Modern(config) => {
                let acceptor = tokio_rustls::TlsAcceptor::from(config.clone());
                let stream = timeout(limit, acceptor.accept(tcp)).await.map_err(|_| too_slow())??;
                Ok(Secured::Modern(Box::new(stream)))
            }
            Security::Legacy(context) => {
                let mut stream = Box::new(tokio_openssl::SslStream::new(Ssl::new(context)?, tcp)?);
                let accepted = timeout(limit, Pin::new(stream.as_mut()).accept()).await.map_err(|_| too_slow())?;
                accepted.map_err(io::Error::other)?;
                Ok(Secured::Legacy(stream))
            }
        }
    }
}

fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake did not finish in time")
}
