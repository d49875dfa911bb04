//! Which user certificates count. To *publish* a certificate is to let its holder authenticate with it; one that is not
//! published, or no longer, is refused however well it is signed. There is no other revocation. `[MS-OCAUTHWS]` §1.3.

use crate::directory::DirectoryError;
use crate::io::Pending;
use crate::name::Aor;
use mechanism::user_certificate::Fingerprint;
use uuid::Uuid;

/// Certificates one user can have published at a time, one for each device. One more replaces the oldest.
pub const CERTIFICATES_PER_USER: usize = 32;

/// A certificate to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Whose it is.
    pub aor: Aor,
    /// The device that keeps its key: the instance of the client.
    pub device: Uuid,
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// Last second it is valid, since 1970.
    pub not_after: i64,
}

impl Publication {
    /// What it is found by.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }
}

/// A certificate that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Whose it is.
    pub aor: Aor,
    /// The device that keeps its key.
    pub device: Uuid,
    /// SHA-256 of the certificate.
    pub fingerprint: Fingerprint,
    /// Last second it is valid, since 1970.
    pub not_after: i64,
    /// When it was revoked, in seconds since 1970; it stays known, so that its holder can be told.
    pub revoked_at: Option<i64>,
}

/// Keeps published certificates. A method that changes something is answered when the change would survive the loss of
/// the process.
pub trait PublishedCertificates: Send + Sync {
    /// Publishes a certificate. It replaces the one published for the same user and device, revoked or not, and beyond
    /// [`CERTIFICATES_PER_USER`] the user's oldest. A user nobody knows is an error.
    fn publish(&self, publication: Publication) -> Pending<'_, Result<(), DirectoryError>>;

    /// What is known of the certificate with this fingerprint.
    fn find(&self, fingerprint: &Fingerprint) -> Pending<'_, Result<Option<Published>, DirectoryError>>;

    /// Every certificate of a user, oldest first.
    fn list(&self, aor: &Aor) -> Pending<'_, Result<Vec<Published>, DirectoryError>>;

    /// Revokes the certificate of one device, or all of a user's, at `now` (seconds since 1970). Gives how many were
    /// revoked by this; those that were already keep their time.
    fn revoke(&self, aor: &Aor, device: Option<Uuid>, now: i64) -> Pending<'_, Result<usize, DirectoryError>>;
}
