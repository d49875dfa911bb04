//! Certificates for tests.

use net::server::Identity;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use std::io::Write;
use time::{Duration, OffsetDateTime};

/// A certification authority.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate chain and key.
pub(crate) struct Issued {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Issued {
    pub(crate) fn identity(&self) -> Identity {
        Identity::from_pem(self.chain.as_bytes(), self.key.as_bytes()).expect("they fit")
    }
}

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let (params, key) = (authority_params(name), KeyPair::generate().expect("keys can be made"));
        let pem = params.self_signed(&key).expect("it can sign itself").pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn intermediate(&self, name: &str) -> Authority {
        let (params, key) = (authority_params(name), KeyPair::generate().expect("keys can be made"));
        let pem = params.signed_by(&key, &self.issuer).expect("it can sign").pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn issue(&self, name: &str) -> Issued {
        self.issue_with(leaf_params(name))
    }

    pub(crate) fn issue_expired(&self, name: &str) -> Issued {
        let mut params = leaf_params(name);
        params.not_before = OffsetDateTime::now_utc() - Duration::days(20);
        params.not_after = OffsetDateTime::now_utc() - Duration::days(10);
        self.issue_with(params)
    }

    fn issue_with(&self, params: CertificateParams) -> Issued {
        let key = KeyPair::generate().expect("keys can be made");
        let chain = params.signed_by(&key, &self.issuer).expect("it can sign").pem();
        Issued { chain, key: key.serialize_pem() }
    }

    /// A file to be named in `ca_files`.
    pub(crate) fn file(&self) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(self.pem.as_bytes()).expect("it can be written");
        file
    }
}

pub(crate) fn self_signed(name: &str) -> Issued {
    let key = KeyPair::generate().expect("keys can be made");
    let chain = leaf_params(name).self_signed(&key).expect("it can sign itself").pem();
    Issued { chain, key: key.serialize_pem() }
}

fn leaf_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}
