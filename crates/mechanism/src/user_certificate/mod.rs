//! User certificates, which TLS-DSK authenticates with: asking for one, issuing it, and reading one that is shown.
//! RFC 2986 (PKCS#10), RFC 5280 (X.509), RFC 8017 §8.2 (RSASSA-PKCS1-v1_5).
//!
//! ```text
//!  client                                   server
//!    new_key                                   │
//!    request::write ─── PKCS#10 ──────────────►│ CertificateRequest::read    the sender holds the private key
//!    │◄──────────────── X.509 ─────────────────│ UserCertificateAuthority::issue
//!    UserCertificate::read                     ⋮
//!    │──── in a TLS-DSK handshake ────────────►│ UserCertificate::read, UserCertificateAuthority::recognises
//! ```
//!
//! Who may have which certificate is not decided here: the Certificate Provisioning Service does, for requests, and
//! the registrar, for certificates that are shown. There are no revocation lists: a server keeps what it issued, and a
//! certificate that is no longer there is refused.
//!
//! RSA only: the clients sign nothing else in TLS-DSK. A signature here is a function of its arguments (PKCS#1 v1.5 has
//! no salt); [`new_key`] alone draws randomness, OpenSSL's own.

mod authority;
mod envelope;
mod proof;
mod read;
pub mod request;

pub use authority::{AuthorityError, Lifetimes, Order, UserCertificateAuthority};
pub use proof::{Digest, sign};
pub use read::{Fingerprint, NotACertificate, UserCertificate};
pub use request::{CertificateRequest, RequestError, RequestLimits};

use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use zeroize::Zeroizing;

/// Common name of the authority. The product's is called so, and clients look for their certificate by it.
pub const AUTHORITY_NAME: &str = "Communications Server";

/// OpenSSL could not do what should always work: out of memory, or built without an algorithm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("OpenSSL failed: {0}")]
pub struct OpenSslError(String);

impl From<openssl::error::ErrorStack> for OpenSslError {
    fn from(stack: openssl::error::ErrorStack) -> OpenSslError {
        OpenSslError(stack.to_string())
    }
}

/// A private key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No PKCS#8.
    #[error("this is not a private key in PKCS#8 form")]
    Malformed,
    /// Another algorithm.
    #[error("the private key is not an RSA key")]
    NotRsa,
    /// See there.
    #[error(transparent)]
    OpenSsl(#[from] OpenSslError),
}

/// A new RSA key of so many bits, e = 65537; PKCS#8, DER.
///
/// This draws OpenSSL's own randomness, and takes a tenth of a second and more: it is for the crate that owns
/// randomness to call, on a thread that may block.
pub fn new_key(bits: u32) -> Result<Zeroizing<Vec<u8>>, OpenSslError> {
    let key = PKey::from_rsa(Rsa::generate(bits)?)?;
    Ok(Zeroizing::new(key.private_key_to_pkcs8()?))
}

/// The public half of a private key (PKCS#8, DER) as SubjectPublicKeyInfo, DER. Two keys are one when these are equal.
pub fn public_key_of(private_key: &[u8]) -> Result<Vec<u8>, KeyError> {
    Ok(read_key(private_key)?.public_key_to_der().map_err(OpenSslError::from)?)
}

fn read_key(pkcs8: &[u8]) -> Result<PKey<Private>, KeyError> {
    let key = PKey::private_key_from_pkcs8(pkcs8).map_err(|_| KeyError::Malformed)?;
    if key.id() == openssl::pkey::Id::RSA { Ok(key) } else { Err(KeyError::NotRsa) }
}

#[cfg(test)]
mod tests;
