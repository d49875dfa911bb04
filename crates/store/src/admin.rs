//! Administration: what the `admin` verb and the lab do to users, policies and dial plans.
//!
//! Every operation is one change in the writer's queue: all of it or nothing, durable when its [`Receipt`] answers.

use crate::kerberos;
use crate::policy::{self, PlanUse, Scope, StoredPlan};
use crate::receipt::Receipt;
use crate::store::Store;
use crate::users::{self, Account};
use crate::writer::{Batch, unavailable};
use mechanism::ntlm::NtHash;
use signin::directory::{DialPlan, DirectoryError, Properties};
use signin::name::{AccountName, Aor};
use signin::provision::settings::catalogue::{self, SettingError};
use signin::provision::settings::normalization::{MAX_RULES, Normalizer, PatternError};
use signin::secret::Password;

/// Why an administrative change was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// Nobody has this address.
    #[error("there is no user {0}; `signpost admin` lists those there are")]
    UnknownUser(Aor),
    /// Somebody has this address already.
    #[error("there is already a user {0}; modify it, or remove it first")]
    UserExists(Aor),
    /// Nobody could tell two users with one login name apart.
    #[error("{login} is already a login name of {owner}; give another one, or take it away there first")]
    LoginTaken {
        /// The name.
        login: AccountName,
        /// Address of the user who has it.
        owner: String,
    },
    /// There is no dial plan of this name.
    #[error("there is no dial plan {0}; `signpost admin dialplan list` shows those there are")]
    UnknownDialPlan(String),
    /// No pool is on this site.
    #[error("no pool is on a site {0}; `signpost admin site set POOL {0}` puts one there")]
    UnknownSite(String),
    /// The policy has no such group or property, or the property no such value.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The change makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The store did not answer.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

impl From<rusqlite::Error> for AdminError {
    fn from(error: rusqlite::Error) -> AdminError {
        AdminError::Directory(unavailable(error))
    }
}

/// A user to be made.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// The user and the login names.
    pub account: Account,
    /// Only its NT hash and, where there is a KDC, its Kerberos keys are kept. Without one nobody can log on until [`Store::set_password`].
    pub password: Option<Password>,
}

impl Store {
    /// Every user, in order of address.
    pub fn list_users(&self) -> Vec<Account> {
        let mut accounts: Vec<Account> = self.memory.index().entries().map(|entry| entry.account()).collect();
        accounts.sort_by(|a, b| a.user.aor.cmp(&b.user.aor));
        accounts
    }

    /// One user with the login names.
    pub fn account(&self, aor: &Aor) -> Option<Account> {
        self.memory.index().by_aor(aor).map(|entry| entry.account())
    }

    /// Whether this is the user's password, for whoever tells people which one they have. Logging on is another matter:
    /// here nothing is counted, and an answer takes longer or shorter.
    pub fn is_password_of(&self, aor: &Aor, password: &Password) -> bool {
        self.memory.index().by_aor(aor).is_some_and(|entry| entry.has_password(password))
    }

    /// How many users there are.
    pub fn user_count(&self) -> usize {
        self.memory.index().len()
    }

    /// Makes a user.
    pub fn add_user(&self, new: NewUser) -> Receipt<(), AdminError> {
        self.writer.submit(move |batch| {
            let account = normal(new.account)?;
            if users::id_of(batch.tables(), &account.user.aor)?.is_some() {
                return Err(AdminError::UserExists(account.user.aor));
            }
            insert(batch, &account, new.password.as_ref())?;
            Ok(())
        })
    }

    /// Changes a user: `change` gets the user as it is in the file and alters it. The address cannot be changed. Gives
    /// the user after the change.
    pub fn modify_user(
        &self,
        aor: &Aor,
        change: impl FnOnce(&mut Account) + Send + 'static,
    ) -> Receipt<Account, AdminError> {
        let aor = aor.clone();
        self.writer.submit(move |batch| {
            let id = existing(batch, &aor)?;
            let entry = users::load(batch.tables(), id)?.ok_or_else(|| AdminError::UnknownUser(aor.clone()))?;
            let mut account = entry.account();
            change(&mut account);
            let account = normal(account)?;
            if account.user.aor != aor {
                return Err(AdminError::Invalid(format!("the address of {aor} cannot be changed; add a new user")));
            }
            update(batch, id, &account)?;
            Ok(account)
        })
    }

    /// Removes a user, the contact list and the policies set for that user alone.
    pub fn remove_user(&self, aor: &Aor) -> Receipt<(), AdminError> {
        let aor = aor.clone();
        self.writer.submit(move |batch| {
            let id = existing(batch, &aor)?;
            users::delete(batch.tables(), id)?;
            policy::forget_user(batch.tables(), &aor)?;
            batch.user_changed(id);
            batch.policies_changed();
            batch.forget_list(aor);
            Ok(())
        })
    }

    /// Sets a password, of which only the NT hash and, where there is a KDC, the Kerberos keys are kept.
    pub fn set_password(&self, aor: &Aor, password: &Password) -> Receipt<(), AdminError> {
        let (aor, password) = (aor.clone(), password.clone());
        self.writer.submit(move |batch| {
            let id = existing(batch, &aor)?;
            set_password(batch, id, &aor, &password)?;
            batch.user_changed(id);
            Ok(())
        })
    }

    /// Lets an account log on again.
    pub fn enable(&self, aor: &Aor) -> Receipt<Account, AdminError> {
        self.modify_user(aor, |account| account.user.enabled = true)
    }

    /// Bars an account from logging on; nothing else of it changes.
    pub fn disable(&self, aor: &Aor) -> Receipt<Account, AdminError> {
        self.modify_user(aor, |account| account.user.enabled = false)
    }

    /// Moves a user to another home pool, with the pool that takes over when it fails.
    pub fn set_home(&self, aor: &Aor, home: Option<&str>, backup: Option<&str>) -> Receipt<Account, AdminError> {
        let (home, backup) = (home.map(str::to_owned), backup.map(str::to_owned));
        self.modify_user(aor, move |account| {
            account.user.home_pool = home;
            account.user.backup_pool = backup;
        })
    }

    /// Every policy value that is set: wider scopes first, then by site or user, then by group.
    pub fn list_policies(&self) -> Vec<(Scope, String, Properties)> {
        self.memory.policies().all_values()
    }

    /// Every pool that is on a site, with the site, in order of pool.
    pub fn list_sites(&self) -> Vec<(String, String)> {
        self.memory.policies().pool_sites()
    }

    /// Every dial plan, in order of name.
    pub fn list_dial_plans(&self) -> Vec<StoredPlan> {
        self.memory.policies().stored_plans()
    }

    /// What the store holds and cannot be used as it is: policy values that are none, which are passed over, and rules
    /// of dial plans that cannot be applied here. Each says where.
    pub fn findings(&self) -> Vec<String> {
        let policies = self.memory.policies();
        let mut findings: Vec<String> = policies.unusable().to_vec();
        for stored in policies.stored_plans() {
            let name = &stored.plan.name;
            findings
                .extend(Normalizer::findings(&stored.plan).iter().map(|found| format!("dial plan {name}: {found}")));
        }
        findings
    }

    /// Sets one policy value, or takes it away so that a wider scope shows through. A value is checked against what its
    /// property can have.
    pub fn set_policy(&self, scope: Scope, group: &str, name: &str, value: Option<&str>) -> Receipt<(), AdminError> {
        let (group, name, value) = (group.to_owned(), name.to_owned(), value.map(str::to_owned));
        self.writer.submit(move |batch| {
            set_policy(batch, &scope, &group, &name, value.as_deref())?;
            Ok(())
        })
    }

    /// Says on which site a pool is; the site's policies hold for the users homed there.
    pub fn set_site(&self, pool: &str, site: Option<&str>) -> Receipt<(), AdminError> {
        let (pool, site) = (pool.to_owned(), site.map(str::to_owned));
        self.writer.submit(move |batch| {
            policy::set_site(batch.tables(), &pool, site.as_deref())?;
            batch.policies_changed();
            Ok(())
        })
    }

    /// Gives the users of a site who name no dial plan this one, or takes it away so that they have the global one.
    pub fn set_site_dial_plan(&self, site: &str, plan: Option<&str>) -> Receipt<(), AdminError> {
        let (site, plan) = (site.to_owned(), plan.map(str::to_owned));
        self.writer.submit(move |batch| set_site_dial_plan(batch, &site, plan.as_deref()))
    }

    /// Gives a user a dial plan of their own, or takes it away.
    pub fn set_dial_plan(&self, aor: &Aor, plan: Option<&str>) -> Receipt<(), AdminError> {
        let (aor, plan) = (aor.clone(), plan.map(str::to_owned));
        self.writer.submit(move |batch| {
            let id = existing(batch, &aor)?;
            let name = plan.map(|plan| known_plan(batch, &plan)).transpose()?;
            let entry = users::load(batch.tables(), id)?.ok_or_else(|| AdminError::UnknownUser(aor.clone()))?;
            let mut account = entry.account();
            account.user.dial_plan = name;
            update(batch, id, &account)
        })
    }

    /// Makes or replaces a dial plan. A rule that is no .NET expression is refused; one that is, but cannot be applied
    /// here, is kept and told by [`Store::findings`].
    pub fn put_dial_plan(&self, plan: DialPlan, plan_use: PlanUse) -> Receipt<(), AdminError> {
        self.writer.submit(move |batch| put_dial_plan(batch, &plan, plan_use))
    }

    /// Removes a dial plan. Users who name it are left without one.
    pub fn remove_dial_plan(&self, name: &str) -> Receipt<(), AdminError> {
        let name = name.to_owned();
        self.writer.submit(move |batch| {
            if !policy::remove_dial_plan(batch.tables(), &name)? {
                return Err(AdminError::UnknownDialPlan(name));
            }
            batch.policies_changed();
            Ok(())
        })
    }
}

pub(crate) fn existing(batch: &Batch<'_>, aor: &Aor) -> Result<i64, AdminError> {
    users::id_of(batch.tables(), aor)?.ok_or_else(|| AdminError::UnknownUser(aor.clone()))
}

/// Makes a user that is not there yet; its row number.
pub(crate) fn insert(batch: &mut Batch<'_>, account: &Account, password: Option<&Password>) -> Result<i64, AdminError> {
    let id = users::insert(batch.tables(), &account.user)?;
    if let Some(password) = password {
        set_password(batch, id, &account.user.aor, password)?;
    }
    set_logins(batch, id, account)?;
    batch.user_changed(id);
    // Lists of addresses without user are not kept, but one that was just removed may be.
    batch.forget_list(account.user.aor.clone());
    Ok(id)
}

/// Writes what is kept of a password.
pub(crate) fn set_password(batch: &Batch<'_>, id: i64, aor: &Aor, password: &Password) -> rusqlite::Result<()> {
    users::set_nt_hash(batch.tables(), id, &NtHash::of_password(password.reveal()))?;
    match kerberos::realm(batch.tables())? {
        Some(realm) => kerberos::replace(batch.tables(), id, &kerberos::keys_of(aor, &realm, password)),
        None => Ok(()),
    }
}

/// Writes a user that is there.
pub(crate) fn update(batch: &mut Batch<'_>, id: i64, account: &Account) -> Result<(), AdminError> {
    users::update(batch.tables(), id, &account.user)?;
    set_logins(batch, id, account)?;
    batch.user_changed(id);
    Ok(())
}

fn set_logins(batch: &Batch<'_>, id: i64, account: &Account) -> Result<(), AdminError> {
    users::set_logins(batch.tables(), id, &account.logins)?
        .map_err(|(login, owner)| AdminError::LoginTaken { login, owner })
}

/// Sets one policy value, or takes it away.
pub(crate) fn set_policy(
    batch: &mut Batch<'_>,
    scope: &Scope,
    group: &str,
    name: &str,
    value: Option<&str>,
) -> Result<(), AdminError> {
    // What is taken away may be a leftover that could not be set any more.
    let value = value.map(|value| catalogue::check(group, name, value)).transpose()?;
    if let (Scope::User(aor), Some(_)) = (scope, &value) {
        batch.owner(aor)?.ok_or_else(|| AdminError::UnknownUser(aor.clone()))?;
    }
    if let (Scope::Site(site), Some(_)) = (scope, &value)
        && !policy::is_site(batch.tables(), site)?
    {
        return Err(AdminError::UnknownSite(site.clone()));
    }
    policy::set_value(batch.tables(), scope, group, name, value.as_deref())?;
    batch.policies_changed();
    Ok(())
}

pub(crate) fn set_site_dial_plan(batch: &mut Batch<'_>, site: &str, plan: Option<&str>) -> Result<(), AdminError> {
    if plan.is_some() && !policy::is_site(batch.tables(), site)? {
        return Err(AdminError::UnknownSite(site.to_owned()));
    }
    if !policy::set_site_plan(batch.tables(), site, plan)? {
        return Err(AdminError::UnknownDialPlan(plan.unwrap_or_default().to_owned()));
    }
    batch.policies_changed();
    Ok(())
}

/// The name of a plan as it is kept.
fn known_plan(batch: &Batch<'_>, name: &str) -> Result<String, AdminError> {
    policy::plan_name(batch.tables(), name)?.ok_or_else(|| AdminError::UnknownDialPlan(name.to_owned()))
}

pub(crate) fn put_dial_plan(batch: &mut Batch<'_>, plan: &DialPlan, plan_use: PlanUse) -> Result<(), AdminError> {
    check_dial_plan(plan).map_err(AdminError::Invalid)?;
    policy::put_dial_plan(batch.tables(), plan, plan_use)?;
    batch.policies_changed();
    Ok(())
}

/// What clients could not read, or .NET would refuse.
fn check_dial_plan(plan: &DialPlan) -> Result<(), String> {
    let name = &plan.name;
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')) {
        return Err(format!(
            "{name:?} cannot be the name of a dial plan: clients write it into telephone numbers; use letters, digits, \
             `.`, `-` and `_`, for example Redmond.contoso.com"
        ));
    }
    if plan.rules.len() > MAX_RULES {
        return Err(format!("dial plan {name}: {} rules; a plan has at most {MAX_RULES}", plan.rules.len()));
    }
    if let Some(prefix) = &plan.external_access_prefix
        && !((1..=4).contains(&prefix.len()) && prefix.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'*' | b'#')))
    {
        return Err(format!("dial plan {name}: the external access prefix {prefix:?} is not 1 to 4 digits"));
    }
    for (number, rule) in (1..).zip(&plan.rules) {
        if rule.pattern.chars().chain(rule.translation.chars()).any(char::is_control) {
            return Err(format!("dial plan {name}: rule {number} has a control character; write it as an escape"));
        }
    }
    let refused = |error: &PatternError| matches!(error, PatternError::Invalid { .. } | PatternError::TooLong);
    match Normalizer::findings(plan).into_iter().find(|finding| refused(&finding.error)) {
        Some(finding) => Err(format!("dial plan {name}: {finding}")),
        None => Ok(()),
    }
}

/// The account as it is kept: host names in lower case, no empty names.
pub(crate) fn normal(mut account: Account) -> Result<Account, AdminError> {
    let aor = &account.user.aor;
    if account.logins.iter().any(|login| login.user.trim().is_empty()) {
        return Err(AdminError::Invalid(format!("a login name of {aor} is empty")));
    }
    for pool in [&mut account.user.home_pool, &mut account.user.backup_pool].into_iter().flatten() {
        pool.make_ascii_lowercase();
    }
    if account.user.backup_pool.is_some() && account.user.backup_pool == account.user.home_pool {
        let message = format!("the backup pool of {} is its home pool; name another one or none", account.user.aor);
        return Err(AdminError::Invalid(message));
    }
    Ok(account)
}
