//! Where a client keeps the certificates of its user. Files are for others; here is what is asked of them.

use crate::name::Aor;
use std::fmt;
use zeroize::Zeroizing;

/// Seconds a certificate must still be good to be used: with less left, a sign-in may outlive it. So does the product.
const MARGIN_SECONDS: i64 = 3600;

/// Bits of a new key.
pub const KEY_BITS: u32 = 2048;

/// A user certificate and its key. Prints nothing of the key, which is wiped when dropped.
#[derive(Clone)]
pub struct UserCertificate {
    /// DER.
    pub certificate: Vec<u8>,
    /// PKCS#8, DER.
    pub key: Zeroizing<Vec<u8>>,
    /// From when it is good, seconds since 1970.
    pub begins: i64,
    /// Until when, seconds since 1970.
    pub ends: i64,
}

impl UserCertificate {
    /// A certificate (DER) and its key (PKCS#8, DER); the times are read from the certificate.
    pub fn of(certificate: Vec<u8>, key: Zeroizing<Vec<u8>>) -> Result<UserCertificate, String> {
        let (_, read) = x509_parser::parse_x509_certificate(&certificate).map_err(|error| error.to_string())?;
        let validity = read.validity();
        let (begins, ends) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        Ok(UserCertificate { certificate, key, begins, ends })
    }

    /// Whether it is good at this time (seconds since 1970), and for an hour more.
    pub fn usable_at(&self, now: i64) -> bool {
        now >= self.begins && now < self.ends.saturating_sub(MARGIN_SECONDS)
    }

    /// Whether it should be replaced soon: less than a tenth of its time is left.
    pub fn is_old_at(&self, now: i64) -> bool {
        self.ends.saturating_sub(now) < self.ends.saturating_sub(self.begins) / 10
    }
}

impl fmt::Debug for UserCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserCertificate({} bytes, until {})", self.certificate.len(), self.ends)
    }
}

/// The certificates of one deployment, one for each address.
pub trait Keyring: Send + Sync + fmt::Debug {
    /// The certificate of this address, when there is one.
    fn load(&self, aor: &Aor) -> Option<UserCertificate>;

    /// Keeps a certificate in place of the one before. The error is in words.
    fn save(&self, aor: &Aor, certificate: &UserCertificate) -> Result<(), String>;

    /// Deletes the certificate of this address; that there is none is no error.
    fn forget(&self, aor: &Aor);
}
