//! New RSA keys: for users' certificates, and for the authority that issues them. Here, because making one draws
//! randomness and takes a while.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use mechanism::user_certificate::new_key;
use zeroize::Zeroizing;

/// Bits of a new key: what clients in use make, and servers accept by default.
pub const RSA_BITS: u32 = 2048;

/// The library gave no key, in its words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an RSA key of {bits} bits cannot be made: {why}")]
pub struct NotMade {
    bits: u32,
    why: String,
}

/// A new RSA key of [`RSA_BITS`]; PKCS#8, DER. Needs a tokio runtime.
pub async fn new_rsa_key() -> Result<Zeroizing<Vec<u8>>, NotMade> {
    of_bits(RSA_BITS).await
}

/// A new RSA key, e = 65537; PKCS#8, DER. It is made on a thread of its own: a tenth of a second, sometimes three, and nothing
/// waits but the caller.
pub(crate) async fn of_bits(bits: u32) -> Result<Zeroizing<Vec<u8>>, NotMade> {
    match tokio::task::spawn_blocking(move || make(bits)).await {
        Ok(made) => made,
        // Nobody cancels it, so it panicked.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// The usual sizes by AWS-LC, which finds primes three times as fast as OpenSSL 3.0; others by OpenSSL.
fn make(bits: u32) -> Result<Zeroizing<Vec<u8>>, NotMade> {
    let size = match bits {
        2048 => KeySize::Rsa2048,
        3072 => KeySize::Rsa3072,
        4096 => KeySize::Rsa4096,
        _ => return new_key(bits).map_err(|error| NotMade { bits, why: error.to_string() }),
    };
    let made = KeyPair::generate(size).and_then(|key| AsDer::<Pkcs8V1Der<'_>>::as_der(&key));
    made.map(|der| Zeroizing::new(der.as_ref().to_vec())).map_err(|error| NotMade { bits, why: error.to_string() })
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

    #[tokio::test]
    async fn any_size_can_be_had() {
        for bits in [1024, 3072] {
            let key = of_bits(bits).await.expect("a key");
            let key = openssl::pkey::PKey::private_key_from_pkcs8(&key).expect("PKCS#8");
            assert_eq!(key.bits(), bits);
            assert!(key.rsa().expect("RSA").check_key().expect("checked"));
        }
        assert!(of_bits(8).await.is_err());
    }
}
