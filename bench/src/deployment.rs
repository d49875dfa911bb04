//! The server that is measured: one Front End with all five rooms and the embedded store, as `signpost lab` makes them,
//! for as many users as wanted. Its store is a file in a temporary folder.

use signin::authenticate::offer::Offer;
use signin::authenticate::server::Settings as AuthSettings;
use signin::directory::Directory;
use signin::journal::{Journal, ServerEvent};
use signin::name::Aor;
use signin::provision::server::{Limits, Live, Provision};
use signin::register::server::{Here, Role};
use signin::secret::Password;
use signin::server::{Foundations, FrontEnd, Neighbours, Settings};
use signin::service::{Surroundings, Wire};
use signin::topology::{HostPort, Liveness, Pool, Topology};
use std::fmt::Display;
use std::sync::Arc;
use store::{Seed, SeedUser, Store};
use tempfile::TempDir;

/// The one SIP domain.
pub(crate) const DOMAIN: &str = "bench.test";

/// The one server.
pub(crate) const FRONT_END: &str = "fe01.bench.test";

/// Its pool.
const POOL: &str = "pool01.bench.test";

/// A Front End, its store, and the folder the store is in.
pub(crate) struct Deployment {
    pub(crate) front_end: Arc<FrontEnd>,
    pub(crate) store: Arc<Store>,
    _neighbours: Neighbours,
    _folder: TempDir,
}

/// The address of a user, by number.
pub(crate) fn aor(number: usize) -> Aor {
    format!("user{number}@{DOMAIN}").parse().expect("an address")
}

/// The account of a user, as it logs on.
pub(crate) fn login(number: usize) -> String {
    format!("BENCH\\user{number}")
}

/// The password of a user.
pub(crate) fn password(number: usize) -> Password {
    Password::new(format!("the password of user{number}"))
}

impl Deployment {
    /// A deployment of so many users. `offers` makes the mechanisms from what they may need.
    pub(crate) async fn open(
        users: usize,
        surroundings: Arc<dyn Surroundings>,
        wire: Arc<dyn Wire>,
        offers: impl FnOnce(&Arc<Store>) -> Vec<Offer>,
    ) -> Result<Deployment, String> {
        let folder = tempfile::Builder::new().prefix("signpost-bench-").tempdir().map_err(told)?;
        let store = Arc::new(Store::open(&folder.path().join("users.sqlite")).map_err(told)?);
        store.import(Seed { users: (0..users).map(user).collect(), ..Seed::default() }).await.map_err(told)?;
        let topology = Arc::new(topology());
        let directory: Arc<dyn Directory> = store.clone();
        let own = HostPort { host: FRONT_END.to_owned(), port: 5061 };
        let live = Live::new();
        let provision =
            Provision::new(&own, directory.clone(), surroundings.clone(), topology.clone(), live, Limits::default());
        let here = Here {
            fqdn: FRONT_END.to_owned(),
            role: Role::FrontEnd { pool: POOL.to_owned() },
            topology,
            liveness: Liveness::default(),
        };
        let neighbours = Neighbours::default();
        let foundations =
            Foundations { directory, surroundings, wire, neighbours: neighbours.clone(), journal: Arc::new(Silent) };
        let authentication = AuthSettings::new(FRONT_END, DOMAIN, offers(&store));
        let front_end = FrontEnd::new(here, Settings::default(), authentication, Arc::new(provision), foundations);
        let front_end = Arc::new(front_end);
        neighbours.join(&front_end);
        Ok(Deployment { front_end, store, _neighbours: neighbours, _folder: folder })
    }
}

/// Nobody reads a log here; a refusal shows in the answers.
struct Silent;

impl Journal for Silent {
    fn note(&self, _fqdn: &str, _event: &ServerEvent) {}
}

fn user(number: usize) -> SeedUser {
    SeedUser {
        address: aor(number),
        display_name: format!("User {number}"),
        mail: None,
        line: None,
        logins: vec![login(number)],
        password: Some(password(number)),
        home_pool: Some(POOL.to_owned()),
        backup_pool: None,
        enabled: true,
        sip_enabled: true,
        remote_access: true,
        dial_plan: None,
        groups: Vec::new(),
        contacts: Vec::new(),
    }
}

fn topology() -> Topology {
    let pool = Pool {
        fqdn: POOL.to_owned(),
        port: 5061,
        front_ends: vec![FRONT_END.to_owned()],
        web: format!("web.{DOMAIN}"),
    };
    Topology { sip_domains: vec![DOMAIN.to_owned()], pools: vec![pool], director: None, edge: None, external_web: None }
}

/// Errors here are sentences for whoever runs the benchmark.
pub(crate) fn told(error: impl Display) -> String {
    error.to_string()
}
