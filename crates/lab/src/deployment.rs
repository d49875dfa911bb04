//! Starts every server of the plan, in one process and on loopback only.

use crate::LabError;
use crate::authority::{self, Authority};
use crate::people::{self, PEOPLE};
use crate::plan::{DOMAIN, Host, Kind, Plan, Published};
use crate::ready::{Ready, ReadyHost, ReadyUser, SCHEMA, Views};
use crate::realm::{self, Realm};
use crate::zone;
use hickory_server::Server;
use hickory_server::zone_handler::Catalog;
use mechanism::tls_dsk;
use net::server::{HttpLimits, Identity, Serving, SipLimits, SystemSurroundings, Wires, listen, serve_http, serve_sip};
use signin::authenticate::certificate::judge::Judge;
use signin::authenticate::certificate::server::Certification;
use signin::authenticate::offer::{Offer, Offers, TlsDsk};
use signin::authenticate::server::Settings as AuthSettings;
use signin::authenticate::verifier::{KerberosVerifier, NtlmVerifier};
use signin::directory::Directory;
use signin::discover::AccessLocation;
use signin::discover::server::Site;
use signin::journal::{Journal, ServerEvent};
use signin::old_cryptography::OldCryptography;
use signin::provision::server::{Limits as ProvisionLimits, Live, Provision};
use signin::register::server::{Here, Role};
use signin::server::{Foundations, FrontEnd, Neighbours, Settings};
use signin::service::{SipService, Surroundings};
use signin::topology::{HostPort, Liveness, Topology};
use signin::web::{Backing, WebServices};
use signin::web_ticket::authority::TicketAuthority;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::{AdminError, OwnDirectoryVerifier, Store, Throttle};

/// NetBIOS name of the lab's domain.
const NETBIOS: &str = "CONTOSO";
/// File of the store in the lab's folder.
pub const STORE_FILE: &str = "users.sqlite";

/// Addresses tried when none is given: a block of loopback that nobody uses.
const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 77, 0, 10);

/// What kind of lab.
#[derive(Debug, Clone, Default)]
pub struct LabConfig {
    /// First of ten consecutive loopback addresses.
    pub address: Option<Ipv4Addr>,
    /// Listen on 53, 80, 443 and 5061, so that foreign clients find the lab by DNS alone. Needs root.
    pub standard_ports: bool,
    /// Where CA and users are kept from run to run; without it they vanish.
    pub state: Option<PathBuf>,
    /// Which ways in the DNS shows.
    pub published: Published,
    /// What its servers still take of old cryptography.
    pub old_cryptography: OldCryptography,
}

/// File in the folder of a lab: by how much its ports are moved up.
const OFFSET: &str = "port-offset";

/// The least by which ports are moved up.
const LOWEST_OFFSET: u16 = 20_000;

/// How many offsets there are: the highest standard port stays below 65,536 with the last of them.
const OFFSETS: u16 = 30_000;

/// The offset of the last time, if it makes sense.
fn kept_offset(file: &Path) -> Option<u16> {
    let offset = std::fs::read_to_string(file).ok()?.trim().parse().ok()?;
    (LOWEST_OFFSET..LOWEST_OFFSET + OFFSETS).contains(&offset).then_some(offset)
}

/// A running lab. Dropping it stops everything.
pub struct Lab {
    ready: Ready,
    front_ends: Vec<Arc<FrontEnd>>,
    store: Arc<Store>,
    liveness: Liveness,
    listeners: BTreeMap<SocketAddr, Serving>,
    _realm: Realm,
    _dns: Vec<Server<Catalog>>,
    _scratch: Option<tempfile::TempDir>,
}

/// What all servers of the lab share.
struct Common {
    plan: Plan,
    topology: Arc<Topology>,
    authority: Authority,
    certification: Certification,
    surroundings: Arc<dyn Surroundings>,
    directory: Arc<dyn Directory>,
    verifier: Arc<dyn NtlmVerifier>,
    kerberos: Arc<KerberosVerifier>,
    handshakes: Arc<tls_dsk::Server>,
    judge: Arc<Judge>,
    tickets: Arc<TicketAuthority>,
    live: Arc<Live>,
    liveness: Liveness,
    neighbours: Neighbours,
    old_cryptography: OldCryptography,
}

impl Lab {
    /// Starts a lab. Without standard ports, an offset is sought at which every port is free; first the one that the folder
    /// has from the last time, so that whoever knows the lab finds it again.
    pub async fn start(config: &LabConfig) -> Result<Lab, LabError> {
        let first = config.address.unwrap_or(FIRST_ADDRESS);
        if !first.is_loopback() {
            return Err(LabError::NotLoopback(first));
        }
        if config.standard_ports {
            return Lab::at(Plan::new(first, 0), config).await;
        }
        let kept = config.state.as_deref().map(|folder| folder.join(OFFSET));
        let mut offset = match kept.as_deref().and_then(kept_offset) {
            Some(offset) => offset,
            None => {
                let mut seed = [0; 2];
                SystemSurroundings::new().fill_random(&mut seed);
                LOWEST_OFFSET + u16::from_be_bytes(seed) % OFFSETS
            }
        };
        for _ in 0..20 {
            match Lab::at(Plan::new(first, offset), config).await {
                Err(LabError::Bind { error, .. }) if error.kind() == std::io::ErrorKind::AddrInUse => {
                    offset = LOWEST_OFFSET + (offset - LOWEST_OFFSET + 1_009) % OFFSETS;
                }
                Ok(lab) => {
                    if let Some(kept) = kept {
                        std::fs::write(kept, format!("{offset}\n"))?;
                    }
                    return Ok(lab);
                }
                Err(error) => return Err(error),
            }
        }
        Lab::at(Plan::new(first, offset), config).await
    }

    async fn at(plan: Plan, config: &LabConfig) -> Result<Lab, LabError> {
        let scratch = match &config.state {
            Some(_) => None,
            None => Some(tempfile::Builder::new().prefix("signpost-lab-").tempdir()?),
        };
        let folder: &Path = match (&config.state, &scratch) {
            (Some(folder), _) => folder,
            (None, Some(scratch)) => scratch.path(),
            (None, None) => return Err(LabError::Setup("no folder to work in".to_owned())),
        };
        std::fs::create_dir_all(folder)?;
        let dns = vec![
            zone::serve(plan.dns_internal, &config.published.select(plan.inside())).await?,
            zone::serve(plan.dns_external, &config.published.select(plan.outside())).await?,
        ];
        let store = Arc::new(open_store(folder).await?);
        let surroundings: Arc<dyn Surroundings> = Arc::new(SystemSurroundings::new());
        let old = config.old_cryptography;
        let realm = Realm::start(&plan, folder, &store, &surroundings, &old)?;
        let common = Common::new(plan, folder, &store, &surroundings, &realm, old).await?;
        let mut lab = Lab {
            ready: common.ready(folder, &realm, users(&store)),
            front_ends: Vec::new(),
            store,
            liveness: common.liveness.clone(),
            listeners: BTreeMap::new(),
            _realm: realm,
            _dns: dns,
            _scratch: scratch,
        };
        for host in &common.plan.hosts {
            match host.kind {
                Kind::Web { .. } | Kind::ExternalWeb => lab.start_web(&common, host)?,
                Kind::Director | Kind::FrontEnd { .. } | Kind::Edge => lab.start_sip(&common, host)?,
            }
        }
        Ok(lab)
    }

    /// Where everything is, and who lived there when it started.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// The same as it is by now: administration may have given people other passwords and homes, or removed them.
    pub fn ready_now(&self) -> Ready {
        Ready { users: users(&self.store), ..self.ready.clone() }
    }

    /// Its users.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The server of that name.
    pub fn front_end(&self, fqdn: &str) -> Option<&Arc<FrontEnd>> {
        self.front_ends.iter().find(|front_end| front_end.fqdn() == fqdn)
    }

    /// Stops the SIP server of that name: its port refuses, and the others know that it is down.
    pub async fn stop(&mut self, fqdn: &str) {
        self.liveness.set(fqdn, false);
        let address = self.ready.hosts.iter().find(|host| host.fqdn == fqdn).and_then(|host| host.sip);
        if let Some(serving) = address.and_then(|address| self.listeners.remove(&address)) {
            serving.stop().await;
        }
    }

    fn start_sip(&mut self, common: &Common, host: &Host) -> Result<(), LabError> {
        let port = if host.kind == Kind::Edge { 443 } else { 5061 };
        let own = HostPort { host: host.fqdn.to_owned(), port };
        let here = Here {
            fqdn: host.fqdn.to_owned(),
            role: match host.kind {
                Kind::FrontEnd { pool } => Role::FrontEnd { pool: pool.to_owned() },
                Kind::Edge => Role::Edge,
                _ => Role::Director,
            },
            topology: common.topology.clone(),
            liveness: common.liveness.clone(),
        };
        let wires = Arc::new(Wires::new());
        let provision = Provision::new(
            &own,
            common.directory.clone(),
            common.surroundings.clone(),
            common.topology.clone(),
            common.live.clone(),
            ProvisionLimits::default(),
        );
        let foundations = Foundations {
            directory: common.directory.clone(),
            surroundings: common.surroundings.clone(),
            wire: wires.clone(),
            neighbours: common.neighbours.clone(),
            journal: Arc::new(Log),
        };
        let offers = common.offers(host)?;
        let mut authentication = AuthSettings::new(host.fqdn, DOMAIN, offers);
        authentication.netbios_domain = NETBIOS.to_owned();
        let provision = Arc::new(provision);
        let front_end = Arc::new(FrontEnd::new(here, Settings::default(), authentication, provision, foundations));
        common.neighbours.join(&front_end);
        let identity = common.identity(host)?.for_sip()?;
        let address = common.plan.listen(host, port);
        let listener = listen(address).map_err(|error| LabError::bind(address, error))?;
        let service: Arc<dyn SipService> = front_end.clone();
        let serving = serve_sip(listener, identity, service, wires, SipLimits::default())?;
        self.listeners.insert(address, serving);
        self.front_ends.push(front_end);
        Ok(())
    }

    fn start_web(&mut self, common: &Common, host: &Host) -> Result<(), LabError> {
        let identity = common.identity(host)?;
        let channel = identity.channel();
        let identity = identity.for_http()?;
        for secure in [true, false] {
            let site = Site {
                location: match host.kind {
                    Kind::ExternalWeb => AccessLocation::External,
                    _ => AccessLocation::Internal,
                },
                secure,
                web: host.fqdn.to_owned(),
                fqdn: host.fqdn.to_owned(),
                channel,
                elsewhere: BTreeMap::new(),
            };
            let services = WebServices::new(site, &common.backing());
            let address = common.plan.listen(host, if secure { 443 } else { 80 });
            let listener = listen(address).map_err(|error| LabError::bind(address, error))?;
            let security = secure.then(|| identity.clone());
            self.listeners.insert(address, serve_http(listener, security, services, HttpLimits::default())?);
        }
        Ok(())
    }
}

/// The servers' log: `RUST_LOG=info` shows it.
struct Log;

impl Journal for Log {
    fn note(&self, fqdn: &str, event: &ServerEvent) {
        match event {
            ServerEvent::Garbled { .. } | ServerEvent::Unavailable { .. } => tracing::warn!(server = fqdn, "{event}"),
            _ => tracing::info!(server = fqdn, "{event}"),
        }
    }
}

impl Common {
    async fn new(
        plan: Plan,
        folder: &Path,
        store: &Arc<Store>,
        surroundings: &Arc<dyn Surroundings>,
        realm: &Realm,
        old_cryptography: OldCryptography,
    ) -> Result<Common, LabError> {
        let mut key = [0; 32];
        surroundings.fill_random(&mut key);
        let verifier = OwnDirectoryVerifier::new(store.clone(), surroundings.clone(), Throttle::default());
        let (users, handshakes) = tokio::try_join!(
            authority::user_certificates(folder, &**surroundings),
            authority::inner_handshakes(folder, &**surroundings, old_cryptography.tls_dsk()),
        )?;
        let certification = Certification { authority: Arc::new(users), published: store.clone() };
        let judge = Judge::new(certification.authority.clone(), certification.published.clone(), surroundings.clone());
        Ok(Common {
            topology: Arc::new(plan.topology()),
            authority: Authority::open(folder)?,
            certification,
            plan,
            surroundings: surroundings.clone(),
            directory: store.clone(),
            verifier: Arc::new(verifier),
            kerberos: realm.verifier.clone(),
            handshakes: Arc::new(handshakes),
            judge: Arc::new(judge),
            tickets: Arc::new(TicketAuthority::new(&key)),
            live: Live::new(),
            liveness: Liveness::default(),
            neighbours: Neighbours::default(),
            old_cryptography,
        })
    }

    /// What a SIP server offers: everything inside, and outside everything but Kerberos; less what is switched off.
    fn offers(&self, host: &Host) -> Result<Offers, LabError> {
        let web = match host.kind {
            Kind::Edge => self.topology.external_web.clone(),
            Kind::FrontEnd { pool } => self.topology.pool(pool).map(|pool| pool.web.clone()),
            _ => self.topology.pools.first().map(|pool| pool.web.clone()),
        };
        let certificates = web.map(|web| {
            Offer::TlsDsk(TlsDsk {
                handshakes: self.handshakes.clone(),
                sts_uri: format!("https://{web}:443/CertProv/CertProvisioningService.svc"),
                verifier: self.judge.clone(),
            })
        });
        let tickets = (host.kind != Kind::Edge).then(|| Offer::Kerberos(self.kerberos.clone()));
        let every = certificates.into_iter().chain(tickets).chain([Offer::Ntlm(self.verifier.clone())]);
        let offers = every.filter(|offer| self.old_cryptography.permits(offer)).collect();
        match host.kind {
            Kind::Edge => Ok(Offers::outside(offers)?),
            _ => Ok(Offers::inside(offers)),
        }
    }

    fn identity(&self, host: &Host) -> Result<Identity, LabError> {
        let issued = self.authority.issue(&Plan::certificate_names(host))?;
        Ok(Identity::from_pem(issued.chain.as_bytes(), issued.key.as_bytes())?)
    }

    fn backing(&self) -> Backing {
        Backing {
            topology: self.topology.clone(),
            directory: self.directory.clone(),
            ntlm: Some(self.verifier.clone()),
            kerberos: Some(self.kerberos.clone()),
            authority: self.tickets.clone(),
            certification: Some(self.certification.clone()),
            old_cryptography: self.old_cryptography,
            surroundings: self.surroundings.clone(),
            netbios_domain: NETBIOS.to_owned(),
            dns_domain: DOMAIN.to_owned(),
        }
    }

    fn ready(&self, folder: &Path, realm: &Realm, users: Vec<ReadyUser>) -> Ready {
        let host = |host: &Host| {
            let (role, pool, sip, https) = match host.kind {
                Kind::Director => ("director", None, Some(5061), None),
                Kind::FrontEnd { pool } => ("front-end", Some(pool), Some(5061), None),
                Kind::Edge => ("edge", None, Some(443), None),
                Kind::Web { pool } => ("web", Some(pool), None, Some(443)),
                Kind::ExternalWeb => ("web", None, None, Some(443)),
            };
            ReadyHost {
                fqdn: host.fqdn.to_owned(),
                role: role.to_owned(),
                pool: pool.map(str::to_owned),
                sip: sip.map(|port| self.plan.listen(host, port)),
                https: https.map(|port| self.plan.listen(host, port)),
            }
        };
        Ready {
            schema: SCHEMA,
            sip_domain: DOMAIN.to_owned(),
            realm: realm::name(),
            ca: folder.join("ca.pem"),
            krb5_conf: Some(realm.krb5_conf.clone()),
            dns: Views { internal: self.plan.dns_internal, external: self.plan.dns_external },
            kdc: Some(self.plan.kdc()),
            port_offset: self.plan.port_offset,
            hosts: self.plan.hosts.iter().map(host).collect(),
            users,
            admin: None,
        }
    }
}

/// The lab's people as the store has them now. A password that is not theirs any more is not told.
fn users(store: &Store) -> Vec<ReadyUser> {
    let user = |person: &people::Person| {
        let aor = format!("{}@{DOMAIN}", person.name).parse().ok()?;
        let account = store.account(&aor)?;
        let password = people::first_password(&aor).filter(|password| store.is_password_of(&aor, password));
        Some(ReadyUser {
            address: aor.to_string(),
            login: format!("{NETBIOS}\\{}", person.name),
            password: password.map(|password| password.reveal().to_owned()),
            home: account.user.home_pool,
            note: person.note.to_owned(),
        })
    };
    PEOPLE.iter().filter_map(user).collect()
}

/// The store in the folder; people are put in when it is new, so that what was changed in a kept lab stays. In one that
/// was made before the KDC asked the store, people get the Kerberos keys of the passwords they had at first; whoever has
/// another by now needs a new one for Kerberos.
async fn open_store(folder: &Path) -> Result<Store, LabError> {
    let store = Store::open(&folder.join(STORE_FILE))?;
    store.serve_realm(&realm::name()).await.map_err(AdminError::from)?;
    if store.user_count() == 0 {
        store.import(people::seed()).await?;
    }
    for aor in store.without_kerberos_keys().map_err(AdminError::from)? {
        let password = people::first_password(&aor);
        let complete = match password {
            Some(password) => store.complete_password(&aor, &password).await?,
            None => false,
        };
        if !complete {
            tracing::warn!(
                "the password of {aor} is from before the KDC asked this store: no Kerberos until it is set again \
                 (`signpost admin user set-password {aor}`)"
            );
        }
    }
    for finding in store.findings() {
        tracing::warn!("{finding}");
    }
    Ok(store)
}

#[cfg(test)]
mod tests {
    use super::*;
    use signin::secret::Password;

    #[tokio::test]
    async fn a_folder_of_before_gets_the_keys_of_the_first_passwords() {
        let folder = tempfile::tempdir().expect("a folder");
        let bob = "bob@contoso.test".parse().expect("an address");
        {
            let store = Store::open(&folder.path().join(STORE_FILE)).expect("a store");
            store.import(people::seed()).await.expect("people");
            store.set_password(&bob, &Password::new("Bob-has-another".to_owned())).await.expect("a password");
            let everybody = store.user_count();
            store.serve_realm(&realm::name()).await.expect("a realm");
            assert_eq!(store.without_kerberos_keys().map(|without| without.len()), Ok(everybody), "as it was before");
        }
        let store = open_store(folder.path()).await.expect("a store");
        assert_eq!(store.without_kerberos_keys(), Ok(vec![bob.clone()]), "nobody knows the second password");
        store.set_password(&bob, &Password::new("Bob-has-a-third".to_owned())).await.expect("a password");
        assert_eq!(store.without_kerberos_keys(), Ok(Vec::new()));
    }

    #[tokio::test]
    async fn nobody_is_told_a_password_or_a_home_that_is_theirs_no_more() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open_store(folder.path()).await.expect("a store");
        let told =
            || users(&store).into_iter().map(|user| (user.address, user.password, user.home)).collect::<Vec<_>>();
        let of = |name: &str| told().into_iter().find(|(address, ..)| *address == format!("{name}@{DOMAIN}"));
        let at_first = told();
        assert_eq!(at_first.len(), PEOPLE.len());
        assert!(at_first.iter().all(|(_, password, _)| password.is_some()), "{at_first:?}");
        let aor = |name: &str| format!("{name}@{DOMAIN}").parse().expect("an address");
        store.set_password(&aor("bob"), &Password::new("Bob-has-another".to_owned())).await.expect("a password");
        store.set_home(&aor("bob"), Some("pool1.contoso.test"), None).await.expect("a home");
        store.remove_user(&aor("carol")).await.expect("gone");
        let bob = ("bob@contoso.test".to_owned(), None, Some("pool1.contoso.test".to_owned()));
        assert_eq!((of("bob"), of("carol")), (Some(bob), None));
        assert_eq!(of("alice").as_ref(), at_first.first(), "of the others nothing changed");
        store.set_password(&aor("bob"), &Password::new("Bob-in-the-lab-2".to_owned())).await.expect("a password");
        assert!(of("bob").is_some_and(|(_, password, _)| password.is_some()), "the first one, again");
    }
}
