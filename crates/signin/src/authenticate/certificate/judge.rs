//! Which user certificates are good: issued by this deployment, in time, published for their user, not revoked.
//! `[MS-SIPAE]` §3.3.5.2, `[MS-OCAUTHWS]` §1.3.

use super::published::PublishedCertificates;
use crate::authenticate::verifier::{CertificateFault, CertificateHolder, CertificateVerifier, Refusal};
use crate::io::Pending;
use crate::name::Aor;
use crate::service::Surroundings;
use mechanism::user_certificate::{UserCertificate, UserCertificateAuthority};
use std::sync::Arc;

/// Judges certificates by what was published.
pub struct Judge {
    authority: Arc<UserCertificateAuthority>,
    published: Arc<dyn PublishedCertificates>,
    surroundings: Arc<dyn Surroundings>,
}

impl Judge {
    /// A judge for the certificates of this authority.
    pub fn new(
        authority: Arc<UserCertificateAuthority>,
        published: Arc<dyn PublishedCertificates>,
        surroundings: Arc<dyn Surroundings>,
    ) -> Judge {
        Judge { authority, published, surroundings }
    }

    /// What the certificate itself says, before anybody is asked. The order is that of trust: what a foreign certificate
    /// says of its dates means nothing.
    fn read(&self, certificate: &[u8]) -> Result<UserCertificate, CertificateFault> {
        let read = UserCertificate::read(certificate).map_err(|error| CertificateFault::Unusable(error.to_string()))?;
        if !self.authority.recognises(&read) {
            let subject = read.common_name().unwrap_or("a subject without a name").to_owned();
            return Err(match read.is_self_issued() {
                true => CertificateFault::SelfSigned { subject },
                false => CertificateFault::Foreign { subject },
            });
        }
        let now = self.surroundings.now().unix_seconds;
        if now > read.not_after() {
            return Err(CertificateFault::Expired);
        }
        if now < read.not_before() {
            return Err(CertificateFault::NotYetValid);
        }
        if !read.is_for_clients() {
            return Err(CertificateFault::Unusable("it is not for clients".to_owned()));
        }
        Ok(read)
    }

    async fn judge(&self, certificate: &[u8]) -> Result<CertificateHolder, Refusal> {
        let read = self.read(certificate)?;
        let published = self.published.find(&read.fingerprint()).await?.ok_or(CertificateFault::Unpublished)?;
        if published.revoked_at.is_some() {
            return Err(CertificateFault::Revoked.into());
        }
        let is_his = |name: &str| name.parse::<Aor>().is_ok_and(|aor| aor == published.aor);
        if !read.names().all(is_his) {
            return Err(CertificateFault::Unusable("it names another user than it was published for".to_owned()).into());
        }
        Ok(CertificateHolder { aor: published.aor, ends: read.not_after() })
    }
}

impl CertificateVerifier for Judge {
    fn verify(&self, certificate: Vec<u8>) -> Pending<'_, Result<CertificateHolder, Refusal>> {
        Box::pin(async move { self.judge(&certificate).await })
    }
}

#[cfg(test)]
mod tests;
