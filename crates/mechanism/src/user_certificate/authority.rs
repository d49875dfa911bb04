//! The authority that issues users' certificates: one for a deployment, in nobody's list of trusted roots. Only the
//! servers that issue by it also accept by it.

use super::request::{CertificateRequest, name};
use super::{AUTHORITY_NAME, KeyError, OpenSslError, UserCertificate, read_key};
use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::BigNum;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, PKeyRef, Private, Public};
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName, SubjectKeyIdentifier,
};
use openssl::x509::{X509, X509Builder};
use std::fmt;
use std::time::Duration;

/// How long a certificate is already valid when it is issued: clients' clocks are slow, and some see to it that it is
/// valid before they use it.
const BACKDATED: Duration = Duration::from_secs(10 * 60);

/// How long certificates are valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// At least: 8 h. Common clients take one with less than an hour left for none and ask again, without end.
    pub least: Duration,
    /// At most: 8760 h.
    pub most: Duration,
    /// When nothing is asked for: 4320 h.
    pub usual: Duration,
}

impl Default for Lifetimes {
    fn default() -> Lifetimes {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        Lifetimes { least: hours(8), most: hours(8760), usual: hours(4320) }
    }
}

impl Lifetimes {
    /// What is granted to who asks for so long.
    pub fn grant(&self, wish: Option<Duration>) -> Duration {
        wish.unwrap_or(self.usual).min(self.most).max(self.least)
    }
}

/// What is to be issued.
#[derive(Debug)]
pub struct Order<'a> {
    /// `user@domain`, whoever the request names.
    pub address: &'a str,
    /// Whose key it is for.
    pub request: &'a CertificateRequest,
    /// 16 random bytes, never used twice.
    pub serial: [u8; 16],
    /// Seconds since 1970.
    pub now: i64,
    /// How long it shall be valid from now on.
    pub lifetime: Duration,
}

/// Why there is no authority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// The certificate cannot be read.
    #[error("the certificate of the authority for user certificates cannot be read")]
    Certificate,
    /// The key cannot be used.
    #[error("the key of the authority for user certificates cannot be used: {0}")]
    Key(#[from] KeyError),
    /// They do not belong together.
    #[error("certificate and key of the authority for user certificates do not belong together")]
    Mismatch,
}

/// Issues users' certificates, and recognises them.
pub struct UserCertificateAuthority {
    certificate: X509,
    /// Its subject, DER: the issuer of what it issues.
    name: Vec<u8>,
    public_key: PKey<Public>,
    key: PKey<Private>,
}

impl fmt::Debug for UserCertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserCertificateAuthority(…)")
    }
}

impl UserCertificateAuthority {
    /// An authority of this certificate (DER) and RSA key (PKCS#8, DER).
    pub fn new(certificate: &[u8], key: &[u8]) -> Result<UserCertificateAuthority, AuthorityError> {
        let key = read_key(key)?;
        let certificate = X509::from_der(certificate).map_err(|_| AuthorityError::Certificate)?;
        let public_key = certificate.public_key().map_err(|_| AuthorityError::Certificate)?;
        if !public_key.public_eq(&key) {
            return Err(AuthorityError::Mismatch);
        }
        let name = certificate.subject_name().to_der().map_err(|_| AuthorityError::Certificate)?;
        Ok(UserCertificateAuthority { certificate, name, public_key, key })
    }

    /// A certificate for a new authority: `CN=Communications Server`, self-signed, of this key (PKCS#8, DER), valid from
    /// `now` (seconds since 1970) less ten minutes on. `serial` is random. DER.
    pub fn certify(key: &[u8], serial: [u8; 16], now: i64, lifetime: Duration) -> Result<Vec<u8>, KeyError> {
        let key = read_key(key)?;
        let built = || -> Result<Vec<u8>, ErrorStack> {
            let name = name(AUTHORITY_NAME)?;
            let mut builder = begin(serial, now, lifetime)?;
            builder.set_subject_name(&name)?;
            builder.set_issuer_name(&name)?;
            builder.set_pubkey(&key)?;
            builder.append_extension(BasicConstraints::new().critical().ca().pathlen(0).build()?)?;
            builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build()?)?;
            let key_id = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None))?;
            builder.append_extension(key_id)?;
            finish(builder, &key)
        };
        Ok(built().map_err(OpenSslError::from)?)
    }

    /// Its own certificate, DER.
    pub fn certificate(&self) -> Result<Vec<u8>, OpenSslError> {
        Ok(self.certificate.to_der()?)
    }

    /// Issues a certificate, DER: `CN=user@domain`, `URI:sip:user@domain`, for clients.
    pub fn issue(&self, order: &Order<'_>) -> Result<Vec<u8>, OpenSslError> {
        let mut builder = begin(order.serial, order.now, order.lifetime)?;
        let subject = name(order.address)?;
        builder.set_subject_name(&subject)?;
        builder.set_issuer_name(self.certificate.subject_name())?;
        builder.set_pubkey(order.request.key())?;
        builder.append_extension(BasicConstraints::new().critical().build()?)?;
        builder.append_extension(KeyUsage::new().critical().digital_signature().key_encipherment().build()?)?;
        builder.append_extension(ExtendedKeyUsage::new().client_auth().build()?)?;
        let context = builder.x509v3_context(Some(&self.certificate), None);
        let key_id = SubjectKeyIdentifier::new().build(&context)?;
        let authority_id = AuthorityKeyIdentifier::new().keyid(true).build(&context)?;
        let uri = SubjectAlternativeName::new().uri(&format!("sip:{}", order.address)).build(&context)?;
        builder.append_extension(key_id)?;
        builder.append_extension(authority_id)?;
        // A URI is ASCII (RFC 5280 §4.2.1.6); an address that is not is in the subject alone.
        if order.address.is_ascii() {
            builder.append_extension(uri)?;
        }
        Ok(finish(builder, &self.key)?)
    }

    /// Whether this authority issued the certificate. Dates and purpose are not part of it.
    pub fn recognises(&self, certificate: &UserCertificate) -> bool {
        certificate.is_signed_by(&self.name, &self.public_key)
    }
}

/// What every certificate here has: version 3, a positive serial of 16 bytes, dates.
fn begin(mut serial: [u8; 16], now: i64, lifetime: Duration) -> Result<X509Builder, ErrorStack> {
    serial[0] = serial[0] & 0x7f | 0x40;
    let mut builder = X509Builder::new()?;
    builder.set_version(2)?;
    builder.set_serial_number(&*Asn1Integer::from_bn(&*BigNum::from_slice(&serial)?)?)?;
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    builder.set_not_before(&*Asn1Time::from_unix(now.saturating_sub(seconds(BACKDATED)))?)?;
    builder.set_not_after(&*Asn1Time::from_unix(now.saturating_add(seconds(lifetime)))?)?;
    Ok(builder)
}

fn finish(mut builder: X509Builder, key: &PKeyRef<Private>) -> Result<Vec<u8>, ErrorStack> {
    builder.sign(key, MessageDigest::sha256())?;
    builder.build().to_der()
}
