//! Users of Active Directory, by LDAP. RFC 4511, `[MS-ADTS]`.
//!
//! ```text
//!  user(address) ─┐   ┌─ cache ─┐   ┌── an idle connection ──────────┐
//!                 ├──►│ 60 s    │──►│ else a new one: the first of   │──► entries ──► schema ──► User
//!  account ───────┘   └─────────┘   │ the controllers that works     │
//!                                   └────────────────────────────────┘
//! ```
//!
//! Every wait is bounded, the number of searches under way too. A controller that fails is left alone, longer each time,
//! while the next one is asked; when none is left the error comes at once and says what was wrong with each.
//!
//! The LDAP client is our own, of the few messages needed: the crates there are descend into what a server sends without
//! limit, so that whoever sits between us and the server could end the process before TLS begins.
//!
//! Left out: writing, SASL, referrals to other domains, the global catalogue.

mod ber;
mod cache;
mod connection;
mod controllers;
mod filter;
pub mod message;
mod schema;
mod settings;

pub use ber::Malformed;
pub use filter::{Filter, IN_CHAIN};
pub use schema::{AddressSource, Schema, SipEnabled};
pub use settings::{Controller, DomainNames, LdapSettings, Limits, NotAController, Security};

use super::places::Places;
use cache::{Asked, Cache};
use connection::{Connection, LinkError};
use controllers::Controllers;
use message::{Entry, Scope, Search};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use schema::pool_object;
use signin::directory::{DirectoryError, User};
use signin::name::{AccountName, Aor};
use signin::service::Surroundings;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

/// Entries that may match one address before the answer is of no use.
const MATCHES: u16 = 8;
/// Longest name of an account that is looked for. Active Directory has 256 characters for a UPN.
const LONGEST_ACCOUNT: usize = 256;
/// After so long without a question a connection is not used again: Active Directory closes it after 15 minutes.
const IDLE: Duration = Duration::from_secs(5 * 60);

/// Why the directory cannot be set up: faults of the settings, never of a server.
#[derive(Debug, thiserror::Error)]
pub enum LdapSetupError {
    /// There is nobody to ask.
    #[error("no domain controller is named")]
    NoController,
    /// Nothing says which certificates are good.
    #[error("ca_file is needed to know the certificates of the domain controllers")]
    NoAuthority,
    /// The file of certificates cannot be used.
    #[error("the certificates in {path} cannot be used: {why}", path = path.display())]
    BadAuthority {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A name is needed to log on: without one a server logs nobody on and says it succeeded.
    #[error("no service account is named")]
    NoAccount,
}

/// Users of one Active Directory domain.
pub struct LdapDirectory {
    settings: LdapSettings,
    surroundings: Arc<dyn Surroundings>,
    tls: TlsConnector,
    places: Places,
    controllers: Controllers,
    idle: Mutex<Vec<Idle>>,
    users: Cache,
    pools: Mutex<Vec<(String, String)>>,
}

/// An open connection nobody uses.
#[derive(Debug)]
struct Idle {
    controller: usize,
    connection: Connection,
    since: Instant,
}

impl LdapDirectory {
    /// Reads the certificates; opens no connection yet.
    pub fn new(settings: LdapSettings, surroundings: Arc<dyn Surroundings>) -> Result<LdapDirectory, LdapSetupError> {
        if settings.controllers.is_empty() {
            return Err(LdapSetupError::NoController);
        }
        if settings.account.is_empty() {
            return Err(LdapSetupError::NoAccount);
        }
        let limits = &settings.limits;
        Ok(LdapDirectory {
            tls: TlsConnector::from(tls(&settings)?),
            places: Places::new(limits.searches, limits.waiting),
            controllers: Controllers::new(settings.controllers.len()),
            idle: Mutex::default(),
            users: Cache::new(limits.remember, limits.remembered),
            pools: Mutex::default(),
            surroundings,
            settings,
        })
    }

    /// The user with this sign-in address.
    pub async fn user(&self, aor: &Aor) -> Result<Option<Arc<User>>, DirectoryError> {
        let asked = Asked::Address(aor.clone());
        if let Some(user) = self.users.get(&asked) {
            return Ok(Some(user));
        }
        let schema = &self.settings.schema;
        let by = schema.addresses.iter().map(|source| {
            Filter::Equal(source.attribute.clone(), if source.with_scheme { aor.to_uri() } else { aor.to_string() })
        });
        // What matches may have its address elsewhere: a mail address of somebody whose sign-in address is another.
        let is_it = |entry: &Entry| schema.address(entry).as_ref() == Some(aor);
        self.find(asked, Filter::Or(by.collect()), is_it).await
    }

    /// The user of this account, as `DOMAIN\name`, `domain.example\name`, `name@domain.example` or UPN; `None` for
    /// accounts of other domains.
    pub async fn user_of_account(&self, account: &AccountName) -> Result<Option<Arc<User>>, DirectoryError> {
        let names = account_names(&self.settings.domain, account);
        if names.is_empty() {
            return Ok(None);
        }
        let asked = Asked::Account(account.domain.to_lowercase(), account.user.to_lowercase());
        if let Some(user) = self.users.get(&asked) {
            return Ok(Some(user));
        }
        let by = names.iter().map(|(attribute, name)| Filter::equal(attribute, name));
        // The directory compares more generously (accents, widths) than an identity may be.
        let is_called = |entry: &Entry, attribute, name: &str| {
            entry.text(attribute).is_some_and(|text| text.to_lowercase() == name.to_lowercase())
        };
        let is_it = |entry: &Entry| names.iter().any(|(attribute, name)| is_called(entry, attribute, name));
        self.find(asked, Filter::Or(by.collect()), is_it).await
    }

    async fn find(
        &self,
        asked: Asked,
        filter: Filter,
        is_it: impl Fn(&Entry) -> bool,
    ) -> Result<Option<Arc<User>>, DirectoryError> {
        let person = [Filter::equal("objectCategory", "person"), Filter::equal("objectClass", "user")];
        let filter = Filter::And(person.into_iter().chain([filter]).collect());
        let base = self.settings.base.clone();
        let question = Question { directory: self, until: Instant::now() + self.settings.limits.question };
        let entries = question.search(base, Scope::Subtree, &filter, self.settings.schema.attributes()).await?;
        let mut matches = entries.into_iter().filter(is_it);
        let Some(entry) = matches.next() else { return Ok(None) };
        if let Some(other) = matches.next() {
            return Err(DirectoryError::ambiguous(format!(
                "user-duplicate-sip: {filter} matches both {:?} and {:?}; remove one of them",
                entry.dn, other.dn
            )));
        }
        let user = question.describe(&entry).await?;
        if let Some(user) = &user {
            self.users.put(asked, user);
        }
        Ok(user)
    }

    fn idle_connection(&self) -> Option<(usize, Connection)> {
        let mut idle = self.idle();
        while let Some(Idle { controller, connection, since }) = idle.pop() {
            if since.elapsed() < IDLE {
                return Some((controller, connection));
            }
        }
        None
    }

    fn keep(&self, controller: usize, connection: Connection) {
        // No more than there are places, since each needs one to be made.
        self.idle().push(Idle { controller, connection, since: Instant::now() });
    }

    /// One broken connection tells of the others to the same controller.
    fn drop_idle(&self, controller: usize) {
        self.idle().retain(|idle| idle.controller != controller);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pools(&self) -> MutexGuard<'_, Vec<(String, String)>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is wrong with each controller, for the log.
    fn complaints(&self) -> DirectoryError {
        let tell = |(index, controller): (usize, &Controller)| {
            let (why, rest) = self.controllers.complaint(index)?;
            Some(format!("{}: {why} (asked again in {:.1} s)", controller.host, rest.as_secs_f32()))
        };
        let complaints: Vec<String> = self.settings.controllers.iter().enumerate().filter_map(tell).collect();
        if complaints.is_empty() {
            return DirectoryError::unreachable("no domain controller was asked: no time was left");
        }
        DirectoryError::unreachable(format!("no domain controller answers: {}", complaints.join("; ")))
    }
}

impl std::fmt::Debug for LdapDirectory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LdapDirectory({} controllers of {})", self.settings.controllers.len(), self.settings.domain.dns)
    }
}

/// All that one question of a server takes, with one limit of time for everything.
struct Question<'a> {
    directory: &'a LdapDirectory,
    until: Instant,
}

impl Question<'_> {
    /// A limit, or what is left of the time.
    fn at_most(&self, limit: Duration) -> Duration {
        limit.min(self.until.saturating_duration_since(Instant::now()))
    }

    async fn search(
        &self,
        base: String,
        scope: Scope,
        filter: &Filter,
        attributes: Vec<String>,
    ) -> Result<Vec<Entry>, DirectoryError> {
        let directory = self.directory;
        let limits = &directory.settings.limits;
        let seconds = u16::try_from(limits.search.as_secs()).unwrap_or(u16::MAX).max(1);
        let search = Search { base, scope, filter: filter.clone(), attributes, size_limit: MATCHES, seconds };
        let place = directory.places.take(self.at_most(limits.search)).await;
        let _place = place.map_err(|full| full.of_directory(format!("no search could begin: {full}")))?;

        while let Some((controller, connection)) = directory.idle_connection() {
            match self.search_over(controller, connection, &search).await {
                Ok(answer) => return answer,
                Err(error) if error.is_end() => directory.drop_idle(controller),
                Err(error) => self.failed(controller, &error),
            }
        }
        for controller in directory.controllers.in_order() {
            if self.at_most(limits.question).is_zero() {
                break;
            }
            let opened = match self.open(controller).await {
                Ok(connection) => self.search_over(controller, connection, &search).await,
                Err(error) => Err(error),
            };
            match opened {
                Ok(answer) => {
                    directory.controllers.works(controller);
                    return answer;
                }
                Err(error) => self.failed(controller, &error),
            }
        }
        Err(directory.complaints())
    }

    /// The answer, after which the connection is kept. An error on the outside: the connection was of no use.
    async fn search_over(
        &self,
        controller: usize,
        mut connection: Connection,
        search: &Search,
    ) -> Result<Result<Vec<Entry>, DirectoryError>, LinkError> {
        let directory = self.directory;
        let answer = match connection.search(search, self.at_most(directory.settings.limits.search)).await {
            Ok(entries) => Ok(entries),
            // The question was not to the server's liking; that is no reason to leave the server alone.
            Err(error) if error.is_answer() => Err(DirectoryError::failed(format!("{error}, for {}", search.filter))),
            Err(error) => return Err(error),
        };
        directory.keep(controller, connection);
        Ok(answer)
    }

    async fn open(&self, controller: usize) -> Result<Connection, LinkError> {
        let LdapSettings { controllers, account, password, limits, .. } = &self.directory.settings;
        let Some(controller) = controllers.get(controller) else { return Err(LinkError::OutOfStep) };
        let password = password.reveal().await?;
        Connection::open(controller, &self.directory.tls, account, &password, limits, self.until).await
    }

    fn failed(&self, controller: usize, error: &LinkError) {
        let directory = self.directory;
        let wrong_password = error.is_wrong_password();
        directory.drop_idle(controller);
        directory.controllers.failed(controller, &error.to_string(), wrong_password, &directory.settings.limits);
        if let Some(Controller { host, .. }) = directory.settings.controllers.get(controller) {
            tracing::warn!(controller = %host, %error, "a domain controller did not answer");
        }
    }

    /// The user an entry describes, with what further questions tell.
    async fn describe(&self, entry: &Entry) -> Result<Option<Arc<User>>, DirectoryError> {
        let directory = self.directory;
        let schema = &directory.settings.schema;
        let now = directory.surroundings.now().unix_seconds;
        let described =
            schema.describe(entry, now).map_err(|error| DirectoryError::failed(format!("{error} ({:?})", entry.dn)))?;
        let Some(described) = described else { return Ok(None) };
        let mut user = described.user;
        if let Some(dn) = described.home_server {
            user.home_pool = self.home_pool(&dn).await?;
        }
        if let SipEnabled::Group(group) = &schema.sip_enabled {
            user.sip_enabled = self.is_member(&entry.dn, group).await?;
        }
        user.backup_pool = user.home_pool.as_ref().and_then(|pool| directory.settings.backup_pools.get(pool)).cloned();
        Ok(Some(Arc::new(user)))
    }

    async fn is_member(&self, user: &str, group: &str) -> Result<bool, DirectoryError> {
        let filter = Filter::Matches { attribute: "memberOf".to_owned(), rule: IN_CHAIN, value: group.to_owned() };
        // "1.1": no attributes, RFC 4511 §4.5.1.8.
        let found = self.search(user.to_owned(), Scope::Base, &filter, vec!["1.1".to_owned()]).await?;
        Ok(!found.is_empty())
    }

    /// FQDN of the pool of a server object: from the settings, else from the directory. Pools do not change their
    /// names, so what was found is kept.
    async fn home_pool(&self, server: &str) -> Result<Option<String>, DirectoryError> {
        let directory = self.directory;
        let Some((dn, name)) = pool_object(server) else {
            tracing::warn!(home_server = server, "the home server of a user belongs to no pool");
            return Ok(None);
        };
        if let Some(fqdn) = directory.settings.schema.pools.get(name) {
            return Ok(Some(fqdn.to_ascii_lowercase()));
        }
        let known =
            |pools: &[(String, String)]| pools.iter().find(|(known, _)| known == dn).map(|(_, fqdn)| fqdn.clone());
        if let Some(fqdn) = known(&directory.pools()) {
            return Ok(Some(fqdn));
        }
        let anything = Filter::Present("objectClass".to_owned());
        let found = self.search(dn.to_owned(), Scope::Base, &anything, vec!["dNSHostName".to_owned()]).await?;
        let fqdn = found.first().and_then(|pool| pool.text("dNSHostName")).map(str::to_ascii_lowercase);
        match &fqdn {
            Some(fqdn) => {
                let mut pools = directory.pools();
                if pools.len() < MAX_POOLS && known(&pools).is_none() {
                    pools.push((dn.to_owned(), fqdn.clone()));
                }
            }
            None => tracing::warn!(pool = dn, "the pool has no dNSHostName that the service account may read"),
        }
        Ok(fqdn)
    }
}

/// Attributes by one of which an account is known, with the value; none when it is not one of this domain.
fn account_names<'a>(domain: &DomainNames, account: &'a AccountName) -> Vec<(&'static str, &'a str)> {
    const UPN: &str = "userPrincipalName";
    const NAME: &str = "sAMAccountName";
    let AccountName { domain: of, user } = account;
    let is_name = !user.is_empty() && user.chars().count() <= LONGEST_ACCOUNT && !user.chars().any(char::is_control);
    if !is_name || !(of.is_empty() || domain.include(of)) {
        return Vec::new();
    }
    match user.rsplit_once('@') {
        None => vec![(NAME, user)],
        // Everybody can be called name@realm, whatever their UPN is. When somebody else has that as UPN there are two
        // matches, and nobody is taken for the other.
        Some((name, realm)) if realm.eq_ignore_ascii_case(&domain.dns) => vec![(UPN, user), (NAME, name)],
        Some(_) => vec![(UPN, user)],
    }
}

/// Pools whose names are kept.
const MAX_POOLS: usize = 256;

/// TLS 1.2 and 1.3, trusting the authority in the settings and nobody else.
fn tls(settings: &LdapSettings) -> Result<Arc<ClientConfig>, LdapSetupError> {
    let mut roots = RootCertStore::empty();
    match &settings.ca_file {
        Some(path) => {
            let bad = |why: String| LdapSetupError::BadAuthority { path: path.clone(), why };
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))? {
                let certificate = certificate.map_err(|error| bad(error.to_string()))?;
                roots.add(certificate).map_err(|error| bad(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(bad("there is none".to_owned()));
            }
        }
        None if settings.controllers.iter().any(|controller| controller.security != Security::Plain) => {
            return Err(LdapSetupError::NoAuthority);
        }
        None => {}
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| LdapSetupError::BadAuthority { path: PathBuf::new(), why: error.to_string() })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests;
