//! The lab's Kerberos realm: a KDC that asks the store for people and knows the servers, the servers' keytab, and a
//! `krb5.conf` for the tools.

use crate::LabError;
use crate::plan::{DOMAIN, Host, KDC, Kind, Plan};
use mechanism::kerberos::crypto::EncryptionType;
use mechanism::kerberos::kdc::{Database, Entry, Kdc, Keys, Principals, Unavailable};
use mechanism::kerberos::keytab::Keytab;
use mechanism::kerberos::name::Principal;
use mechanism::kerberos::{Now, ReplayCache, Service};
use net::server::{ServingKdc, serve_kdc};
use signin::authenticate::verifier::KerberosVerifier;
use signin::old_cryptography::OldCryptography;
use signin::service::{RequestService, Surroundings};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use store::Store;

/// The realm, and where its files are.
pub(crate) struct Realm {
    /// Who checks tickets for the lab's servers.
    pub(crate) verifier: Arc<KerberosVerifier>,
    /// For `kinit` and other tools.
    pub(crate) krb5_conf: PathBuf,
    _serving: ServingKdc,
}

/// The realm's name.
pub(crate) fn name() -> String {
    DOMAIN.to_ascii_uppercase()
}

impl Realm {
    /// Starts the KDC, and writes `krb5.conf` and `servers.keytab` into the folder.
    pub(crate) fn start(
        plan: &Plan,
        folder: &Path,
        store: &Arc<Store>,
        surroundings: &Arc<dyn Surroundings>,
        old: &OldCryptography,
    ) -> Result<Realm, LabError> {
        let realm = name();
        let random = |bytes: &mut [u8]| surroundings.fill_random(bytes);
        let (services, keytab) = services(&realm, plan, &random)?;
        let everybody = Everybody { services, people: store.clone() };
        write_private(&folder.join("servers.keytab"), &keytab.write())?;
        let krb5_conf = folder.join("krb5.conf");
        std::fs::write(&krb5_conf, configuration(plan, &realm))?;
        let kdc = Answering { kdc: Kdc::new(&realm, everybody, &random), surroundings: surroundings.clone() };
        let address = plan.kdc();
        let serving = serve_kdc(address, Arc::new(kdc)).map_err(|error| LabError::bind(address, error))?;
        let replays = Arc::new(Mutex::new(ReplayCache::new(ReplayCache::DEFAULT_CAPACITY)));
        let verifier =
            KerberosVerifier::new(Service::new(keytab).allowing(&old.kerberos_types()), replays, surroundings.clone());
        Ok(Realm { verifier: Arc::new(verifier), krb5_conf, _serving: serving })
    }
}

/// The servers, and whoever the store has: what is changed there holds for the next request.
#[derive(Debug)]
struct Everybody {
    services: Database,
    people: Arc<Store>,
}

impl Principals for Everybody {
    fn find(&self, name: &Principal) -> Result<Option<Entry>, Unavailable> {
        match self.services.find(name)? {
            Some(service) => Ok(Some(service)),
            None => self.people.find(name),
        }
    }
}

/// `sip/` and `http/` of every server, each with a key of its own.
fn services(realm: &str, plan: &Plan, random: &dyn Fn(&mut [u8])) -> Result<(Database, Keytab), LabError> {
    let (mut database, mut keytab) = (Database::default(), Keytab::new());
    for host in &plan.hosts {
        for (class, fqdn) in names_of(host) {
            let principal =
                Principal::service(class, fqdn, realm).map_err(|error| LabError::Setup(error.to_string()))?;
            let keys = Keys::generate(random);
            for key in keys.keys.iter().filter(|key| key.etype() != EncryptionType::Rc4Hmac) {
                keytab.add(principal.clone(), keys.kvno, key.clone(), 0);
            }
            database.add(Entry { principal, keys, disabled: false });
        }
    }
    Ok((database, keytab))
}

fn names_of(host: &Host) -> Vec<(&'static str, &'static str)> {
    match host.kind {
        Kind::Director | Kind::FrontEnd { .. } => vec![("sip", host.fqdn)],
        Kind::Web { .. } => vec![("http", host.fqdn)],
        // Outside there is no KDC to ask.
        Kind::Edge | Kind::ExternalWeb => Vec::new(),
    }
}

fn configuration(plan: &Plan, realm: &str) -> String {
    let address = plan.kdc();
    format!(
        "# The lab's realm, served by {KDC}.\n\
         [libdefaults]\n  default_realm = {realm}\n  dns_lookup_kdc = false\n  dns_lookup_realm = false\n  \
         dns_canonicalize_hostname = false\n  rdns = false\n  udp_preference_limit = 1400\n\n\
         [realms]\n  {realm} = {{\n    kdc = {address}\n  }}\n\n\
         [domain_realm]\n  {DOMAIN} = {realm}\n  .{DOMAIN} = {realm}\n"
    )
}

/// The KDC with this machine's clock.
struct Answering {
    kdc: Kdc,
    surroundings: Arc<dyn Surroundings>,
}

impl RequestService for Answering {
    fn answer(&self, request: &[u8], limit: Option<usize>) -> Vec<u8> {
        let now = Now { unix_seconds: self.surroundings.now().unix_seconds, microseconds: 0 };
        self.kdc.answer(request, limit, now, &|bytes: &mut [u8]| self.surroundings.fill_random(bytes))
    }
}

/// Writes a file only its owner can read.
fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}
