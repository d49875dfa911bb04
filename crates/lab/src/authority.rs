//! The lab's certification authority: one root, and a certificate for each server with the names it is reached by.

use crate::LabError;
use mechanism::user_certificate::{UserCertificateAuthority, new_key};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use signin::service::Surroundings;
use std::path::Path;
use time::{Duration, OffsetDateTime};

/// A root and its key.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate chain and its key, PEM.
pub(crate) struct Identity {
    /// Leaf first; the root is left out, as servers do.
    pub(crate) chain: String,
    /// PKCS#8.
    pub(crate) key: String,
}

impl Authority {
    /// The root kept in `dir`, or a new one put there.
    pub(crate) fn open(dir: &Path) -> Result<Authority, LabError> {
        let (cert_path, key_path) = (dir.join("ca.pem"), dir.join("ca.key"));
        if cert_path.exists() && key_path.exists() {
            let pem = std::fs::read_to_string(&cert_path)?;
            let key = KeyPair::from_pem(&std::fs::read_to_string(&key_path)?)?;
            return Ok(Authority { issuer: Issuer::from_ca_cert_pem(&pem, key)? });
        }
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name("Contoso Lab Root CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        valid_for(&mut params, Duration::days(3650));
        let pem = params.self_signed(&key)?.pem();
        std::fs::write(&cert_path, &pem)?;
        write_private(&key_path, &key.serialize_pem())?;
        Ok(Authority { issuer: Issuer::new(params, key) })
    }

    /// A server certificate for these names; the first one is the subject.
    pub(crate) fn issue(&self, names: &[String]) -> Result<Identity, LabError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names.to_vec())?;
        params.distinguished_name = name(names.first().map_or("lab", String::as_str));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.use_authority_key_identifier_extension = true;
        valid_for(&mut params, Duration::days(365));
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Identity { chain: certificate.pem(), key: key.serialize_pem() })
    }
}

fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Contoso");
    name.push(DnType::CommonName, common_name);
    name
}

/// From yesterday on, so that a client whose clock is a little behind still trusts it.
fn valid_for(params: &mut CertificateParams, time: Duration) {
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::days(1);
    params.not_after = now + time;
}

/// Writes a file only its owner can read.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// What TLS-DSK needs: who issues the users' certificates, and the certificate of the inner handshakes. Its keys are RSA,
/// and take a tenth of a second each to make; a kept lab keeps them.
pub(crate) struct InnerAuthority {
    pub(crate) users: UserCertificateAuthority,
    /// DER, and its key as PKCS#8.
    pub(crate) server: (Vec<u8>, Vec<u8>),
}

/// How long the authority of the users' certificates lasts.
const USERS_AUTHORITY_LIFETIME: std::time::Duration = std::time::Duration::from_secs(10 * 365 * 86_400);

impl InnerAuthority {
    /// The authority kept in `dir`, or a new one put there.
    pub(crate) fn open(dir: &Path, surroundings: &dyn Surroundings) -> Result<InnerAuthority, LabError> {
        let key = kept(&dir.join("users-ca.key"), || Ok(new_key(2048).map_err(setup)?.to_vec()))?;
        let certificate = kept(&dir.join("users-ca.der"), || {
            let mut serial = [0; 16];
            surroundings.fill_random(&mut serial);
            let now = surroundings.now().unix_seconds;
            UserCertificateAuthority::certify(&key, serial, now, USERS_AUTHORITY_LIFETIME).map_err(setup)
        })?;
        let users = UserCertificateAuthority::new(&certificate, &key).map_err(setup)?;
        // Clients encrypt to this key and look at nothing else of the certificate, so the authority's own will do.
        Ok(InnerAuthority { users, server: (certificate, key) })
    }
}

fn setup(error: impl std::fmt::Display) -> LabError {
    LabError::Setup(error.to_string())
}

/// The content of a file, made when it is not there; only its owner can read it.
fn kept(path: &Path, make: impl FnOnce() -> Result<Vec<u8>, LabError>) -> Result<Vec<u8>, LabError> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    if path.exists() {
        return Ok(std::fs::read(path)?);
    }
    let bytes = make()?;
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(&bytes)?;
    Ok(bytes)
}
