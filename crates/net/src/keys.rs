//! New RSA keys: for users' certificates, and for the authority that issues them. Here, because making one draws
//! randomness and takes a while.

use mechanism::user_certificate::{OpenSslError, new_key};
use zeroize::Zeroizing;

/// Bits of a new key: what clients in use make, and servers accept by default.
pub const RSA_BITS: u32 = 2048;

/// A new RSA key of [`RSA_BITS`]; PKCS#8, DER. It is made on a thread of its own: up to a second, and nothing waits but
/// the caller. Needs a tokio runtime.
pub async fn new_rsa_key() -> Result<Zeroizing<Vec<u8>>, OpenSslError> {
    match tokio::task::spawn_blocking(|| new_key(RSA_BITS)).await {
        Ok(made) => made,
        // Nobody cancels it, so it panicked.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mechanism::user_certificate::{CertificateRequest, RequestLimits, request};

    #[tokio::test]
    async fn a_new_key_is_another_one_each_time_and_can_be_certified() {
        let (one, other) = (new_rsa_key().await.expect("a key"), new_rsa_key().await.expect("a key"));
        assert_ne!(*one, *other);
        let request = request::write("alice@contoso.test", &one).expect("a request");
        let read = CertificateRequest::read(&request, &RequestLimits::default()).expect("a request");
        assert_eq!(read.bits(), RSA_BITS);
    }
}
