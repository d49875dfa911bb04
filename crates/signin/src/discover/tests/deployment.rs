//! contoso.test in memory: two pools with their web services, an Edge, and users.

use crate::authenticate::verifier::{NtlmProof, NtlmQuestion, NtlmVerifier, Refusal};
use crate::directory::{ChangeError, DialPlan, Directory, DirectoryError, Properties, User};
use crate::discover::AccessLocation;
use crate::discover::server::Site;
use crate::io::Pending;
use crate::log_on::LogOn;
use crate::name::{AccountName, Aor};
use crate::old_cryptography::OldCryptography;
use crate::provision::contacts::{ContactChange, ContactList};
use crate::provision::presence::kept::{Keep, KeptPresence};
use crate::secret::Password;
use crate::testing::World;
use crate::topology::{HostPort, Pool, Topology};
use crate::web::{Backing, WebServices};
use crate::web_ticket::authority::TicketAuthority;
use mechanism::ntlm::NtHash;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Every user's password; must show up nowhere.
pub(crate) const PASSWORD: &str = "c4n4ry-Passw0rd";

/// Users: name, home pool, enabled for SIP.
const USERS: [(&str, Option<&str>, bool); 5] = [
    ("alice", Some("pool1.contoso.test"), true),
    ("bob", Some("pool2.contoso.test"), true),
    ("erin", Some("pool1.contoso.test"), false),
    ("homeless", None, true),
    ("lost", Some("gone.contoso.test"), true),
];

pub(crate) struct People;

fn user(name: &str) -> Option<Arc<User>> {
    let (name, home, sip_enabled) = USERS.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name))?;
    Some(Arc::new(User {
        display_name: (*name).to_owned(),
        home_pool: home.map(str::to_owned),
        sip_enabled: *sip_enabled,
        ..User::new(aor(name))
    }))
}

pub(crate) fn aor(name: &str) -> Aor {
    format!("{name}@contoso.test").parse().expect("an address")
}

/// Logs on as this user of the domain.
pub(crate) fn log_on(name: &str, password: &str) -> LogOn {
    LogOn {
        account: AccountName::parse(&format!("CONTOSO\\{name}")),
        password: Some(Password::new(password.to_owned())),
        tickets: None,
        workstation: "DESK".to_owned(),
    }
}

impl Directory for People {
    fn user(&self, aor: &Aor) -> Pending<'_, Result<Option<Arc<User>>, DirectoryError>> {
        let found = user(aor.user());
        Box::pin(async move { Ok(found) })
    }

    fn user_of_account(&self, account: &AccountName) -> Pending<'_, Result<Option<Arc<User>>, DirectoryError>> {
        let found = user(&account.user);
        Box::pin(async move { Ok(found) })
    }

    fn contacts(&self, _: &Aor) -> Pending<'_, Result<ContactList, DirectoryError>> {
        Box::pin(async { Ok(ContactList::empty()) })
    }

    fn change_contacts(&self, _: &Aor, _: ContactChange) -> Pending<'_, Result<ContactList, ChangeError>> {
        Box::pin(async { Err(ChangeError::Invalid("read only".to_owned())) })
    }

    fn presence(&self, _: &Aor) -> Pending<'_, Result<KeptPresence, DirectoryError>> {
        Box::pin(async { Ok(KeptPresence::default()) })
    }

    fn keep_presence(&self, _: &Aor, _: Vec<Keep>) -> Pending<'_, Result<(), DirectoryError>> {
        Box::pin(async { Ok(()) })
    }

    fn policy(&self, _: &Aor, _: &str) -> Pending<'_, Result<Properties, DirectoryError>> {
        Box::pin(async { Ok(Properties::new()) })
    }

    fn dial_plan(&self, _: Option<&str>) -> Pending<'_, Result<Option<DialPlan>, DirectoryError>> {
        Box::pin(async { Ok(None) })
    }
}

impl NtlmVerifier for People {
    fn verify(&self, question: NtlmQuestion) -> Pending<'_, Result<NtlmProof, Refusal>> {
        let known = user(&question.account.user).is_some();
        let hash = if known { NtHash::of_password(PASSWORD) } else { NtHash::decoy() };
        let (name, domain) = (&question.account.user, &question.account.domain);
        let key = hash.session_base_key(name, domain, &question.server_challenge, &question.nt_response);
        let proof = key.map(|session_base_key| NtlmProof { account: question.account.clone(), session_base_key });
        let why = if known { "wrong password" } else { "unknown account" };
        Box::pin(async move { proof.map_err(|_| Refusal::Credentials { why: why.to_owned() }) })
    }
}

pub(crate) fn topology() -> Topology {
    let pool = |name: &str| Pool {
        fqdn: format!("{name}.contoso.test"),
        port: 5061,
        front_ends: vec![format!("fe-{name}.contoso.test")],
        web: format!("{name}.contoso.test"),
    };
    Topology {
        sip_domains: vec!["contoso.test".to_owned()],
        pools: vec![pool("pool1"), pool("pool2")],
        director: None,
        edge: Some(HostPort { host: "sip.contoso.test".to_owned(), port: 443 }),
        external_web: Some("web.contoso.test".to_owned()),
    }
}

pub(crate) fn backing(world: &World) -> Backing {
    let people = Arc::new(People);
    Backing {
        topology: Arc::new(topology()),
        directory: people.clone(),
        ntlm: Some(people),
        kerberos: None,
        authority: Arc::new(TicketAuthority::new(&[9; 32])),
        certification: None,
        old_cryptography: OldCryptography::default(),
        surroundings: Arc::new(world.clone()),
        netbios_domain: "CONTOSO".to_owned(),
        dns_domain: "contoso.test".to_owned(),
    }
}

pub(crate) fn site(location: AccessLocation, secure: bool, web: &str) -> Site {
    let elsewhere = BTreeMap::from([(
        "fabrikam.test".parse().expect("a domain"),
        "https://web.fabrikam.test/Autodiscover/AutodiscoverService.svc/root".to_owned(),
    )]);
    Site { location, secure, web: web.to_owned(), fqdn: web.to_owned(), channel: None, elsewhere }
}

/// Web services of both pools inside (10.0.0.1, 10.0.0.2), of the deployment outside (192.0.2.1); no names yet.
pub(crate) fn web_sites(world: &World) {
    use AccessLocation::{External, Internal};
    let backing = backing(world);
    let sites = [
        (Internal, "pool1.contoso.test", "10.0.0.1", "lyncdiscoverinternal.contoso.test"),
        (Internal, "pool2.contoso.test", "10.0.0.2", "lyncdiscoverinternal.contoso.test"),
        (External, "web.contoso.test", "192.0.2.1", "lyncdiscover.contoso.test"),
    ];
    for (location, web, address, discovery_name) in sites {
        let secure = WebServices::new(site(location, true, web), &backing);
        let plain = WebServices::new(site(location, false, web), &backing);
        world.listen_tls(&format!("{address}:443"), &[web, discovery_name], secure);
        world.listen_plain(&format!("{address}:80"), plain);
        world.host(web, &[address]);
    }
}

/// Every name a complete deployment has, as seen from inside.
pub(crate) fn inside(world: &World) {
    web_sites(world);
    world.host("lyncdiscoverinternal.contoso.test", &["10.0.0.1"]);
    world.host("lyncdiscover.contoso.test", &["192.0.2.1"]);
    sip_names(world);
}

/// SRV records and host names of SIP servers.
pub(crate) fn sip_names(world: &World) {
    world.service("_sipinternaltls._tcp.contoso.test", &[(0, 0, 5061, "pool1.contoso.test")]);
    world.service("_sip._tls.contoso.test", &[(0, 0, 443, "sip.contoso.test")]);
    world.host("pool1.contoso.test", &["10.0.0.1"]);
    world.host("sip.contoso.test", &["192.0.2.2"]);
    world.host("sipinternal.contoso.test", &["10.0.0.1"]);
    world.host("sipexternal.contoso.test", &["192.0.2.2"]);
}
