//! The lab's certification authorities: one root, and a certificate for each server with the names it is reached by; and,
//! apart from it, the authority of users' certificates, which no list of trusted roots has.

use crate::LabError;
use mechanism::tls_dsk;
use mechanism::user_certificate::UserCertificateAuthority;
use net::keys::new_rsa_key;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use signin::service::Surroundings;
use std::path::Path;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

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
        write_private(&key_path, key.serialize_pem().as_bytes())?;
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

/// The authority of users' certificates kept in `dir`, or a new one put there.
pub(crate) async fn user_certificates(
    dir: &Path,
    surroundings: &dyn Surroundings,
) -> Result<UserCertificateAuthority, LabError> {
    let (certificate, key) = kept(dir, "users-ca", surroundings).await?;
    Ok(UserCertificateAuthority::new(&certificate, &key)?)
}

/// Certificate and key of the inner handshakes of TLS-DSK, kept in `dir`. Not those of the authority, since clients encrypt
/// to this key; they look at nothing of the certificate but that.
pub(crate) async fn inner_handshakes(
    dir: &Path,
    surroundings: &dyn Surroundings,
    policy: tls_dsk::Policy,
) -> Result<tls_dsk::Server, LabError> {
    let (certificate, key) = kept(dir, "tls-dsk", surroundings).await?;
    tls_dsk::Server::new(&[certificate], &key, policy).map_err(|error| LabError::Setup(error.to_string()))
}

/// A self-signed certificate and its RSA key, made when they are not there: DER, PKCS#8.
async fn kept(
    dir: &Path,
    name: &str,
    surroundings: &dyn Surroundings,
) -> Result<(Vec<u8>, Zeroizing<Vec<u8>>), LabError> {
    let (cert_path, key_path) = (dir.join(format!("{name}.der")), dir.join(format!("{name}.key")));
    if cert_path.exists() && key_path.exists() {
        return Ok((std::fs::read(&cert_path)?, Zeroizing::new(std::fs::read(&key_path)?)));
    }
    let key = new_rsa_key().await?;
    let mut serial = [0; 16];
    surroundings.fill_random(&mut serial);
    let lifetime = std::time::Duration::from_secs(3650 * 86_400);
    let certificate = UserCertificateAuthority::certify(&key, serial, surroundings.now().unix_seconds, lifetime)?;
    std::fs::write(&cert_path, &certificate)?;
    write_private(&key_path, &key)?;
    Ok((certificate, key))
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
fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use net::server::SystemSurroundings;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn the_authority_of_users_certificates_is_kept_and_its_key_is_private() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let surroundings = SystemSurroundings::new();
        let first = user_certificates(folder.path(), &surroundings).await.expect("a new one");
        let again = user_certificates(folder.path(), &surroundings).await.expect("the same");
        assert_eq!(first.certificate(), again.certificate());
        let mode = std::fs::metadata(folder.path().join("users-ca.key")).expect("its key").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(folder.path().join("users-ca.key"), "damaged").expect("written");
        assert!(user_certificates(folder.path(), &surroundings).await.is_err());
    }
}
