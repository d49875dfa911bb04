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

    /// From when on it should be replaced, seconds since 1970: when a tenth of its time is left, and while it can still be
    /// used for that, though its time be short.
    pub fn old_from(&self) -> i64 {
        let tenth = self.ends.saturating_sub(self.begins) / 10;
        self.ends.saturating_sub(tenth.max(2 * MARGIN_SECONDS))
    }

    /// Whether it should be replaced.
    pub fn is_old_at(&self, now: i64) -> bool {
        now >= self.old_from()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_a_certificate_is_good_and_when_it_is_old() {
        const HOUR: i64 = 3600;
        let lasting = |hours: i64| UserCertificate {
            certificate: Vec::new(),
            key: Zeroizing::default(),
            begins: 1_000_000,
            ends: 1_000_000 + hours * HOUR,
        };
        let at = |certificate: &UserCertificate, before_its_end: i64| {
            let now = certificate.ends - before_its_end;
            (certificate.usable_at(now), certificate.is_old_at(now))
        };
        let half_a_year = lasting(180 * 24);
        assert!(!half_a_year.usable_at(999_999), "its time has not come");
        assert_eq!(at(&half_a_year, 180 * 24 * HOUR), (true, false));
        assert_eq!(at(&half_a_year, 18 * 24 * HOUR + 1), (true, false));
        assert_eq!(at(&half_a_year, 18 * 24 * HOUR), (true, true), "a tenth is left");
        assert_eq!(at(&half_a_year, HOUR + 1), (true, true));
        assert_eq!(at(&half_a_year, HOUR), (false, true), "a sign-in may outlive it");
        assert_eq!(at(&half_a_year, -1), (false, true));
        // The shortest that the web services give out: it can still ask for the next one.
        let eight_hours = lasting(8);
        assert_eq!(at(&eight_hours, 2 * HOUR + 1), (true, false));
        assert_eq!(at(&eight_hours, 2 * HOUR), (true, true));
        assert_eq!(
            UserCertificate { begins: i64::MIN, ends: i64::MAX, ..lasting(1) }.old_from(),
            i64::MAX / 10 * 9 + 7
        );
    }
}
