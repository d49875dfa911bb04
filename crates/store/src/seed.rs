//! A whole deployment's users and settings as one document, and its import.
//!
//! An import is one change: all of it or nothing. Who and what the document names is made or replaced; what it does not
//! name stays. A user who is replaced keeps the password when the document gives none, and the contact list when it
//! gives neither groups nor contacts.

use crate::admin::{self, AdminError};
use crate::edit;
use crate::policy::{self, PlanUse, Scope};
use crate::receipt::Receipt;
use crate::store::Store;
use crate::users::{self, Account};
use crate::writer::Batch;
use crate::{ContactLimits, contacts};
use serde::{Deserialize, Deserializer};
use signin::directory::{ChangeError, DialPlan, Properties, User};
use signin::name::{AccountName, Aor};
use signin::provision::contacts::{Contact, ContactChange, ContactList, DEFAULT_GROUP, Edit};
use signin::secret::Password;
use std::collections::HashMap;

/// A deployment. Read with serde; it is never written, because it holds passwords.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Seed {
    /// Users with their contacts.
    pub users: Vec<SeedUser>,
    /// Which pools are on which site.
    pub sites: Vec<SeedSite>,
    /// Policies.
    pub policies: Vec<SeedPolicy>,
    /// Dial plans.
    pub dial_plans: Vec<SeedDialPlan>,
}

/// A user of a [`Seed`]. Flags that are not given are on.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedUser {
    /// Sign-in address, with or without `sip:`.
    #[serde(deserialize_with = "address")]
    pub address: Aor,
    /// Shown to others.
    pub display_name: String,
    /// Mail address.
    #[serde(default)]
    pub mail: Option<String>,
    /// Telephone line, `tel:+…`.
    #[serde(default)]
    pub line: Option<String>,
    /// `DOMAIN\name` and UPNs; the first is the one the user is known by.
    #[serde(default)]
    pub logins: Vec<String>,
    /// Password; only its NT hash and, where there is a KDC, its Kerberos keys are kept.
    #[serde(default, deserialize_with = "password")]
    pub password: Option<Password>,
    /// FQDN of the home pool.
    #[serde(default)]
    pub home_pool: Option<String>,
    /// FQDN of the pool that takes over.
    #[serde(default)]
    pub backup_pool: Option<String>,
    /// The account may log on.
    #[serde(default = "on")]
    pub enabled: bool,
    /// The account may use SIP.
    #[serde(default = "on")]
    pub sip_enabled: bool,
    /// It may do so from outside.
    #[serde(default = "on")]
    pub remote_access: bool,
    /// Name of a dial plan.
    #[serde(default)]
    pub dial_plan: Option<String>,
    /// Contact groups besides the one every list has, in the order of their ids.
    #[serde(default)]
    pub groups: Vec<SeedGroup>,
    /// Contacts, in order.
    #[serde(default)]
    pub contacts: Vec<SeedContact>,
}

/// A contact group of a [`SeedUser`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedGroup {
    /// Its name.
    pub name: String,
    /// Its external URI.
    #[serde(default)]
    pub external_uri: String,
}

/// A contact of a [`SeedUser`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedContact {
    /// Who, with or without `sip:`.
    #[serde(deserialize_with = "address")]
    pub address: Aor,
    /// Name the user gave; empty: the contact's own.
    #[serde(default)]
    pub name: String,
    /// Names of groups it is in; `~`, or none at all, is the group every list has.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Whether presence is subscribed.
    #[serde(default = "on")]
    pub subscribed: bool,
}

/// A site and its pools.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedSite {
    /// Its name.
    pub name: String,
    /// FQDNs of its pools.
    pub pools: Vec<String>,
    /// Name of the dial plan of users who name none.
    #[serde(default)]
    pub dial_plan: Option<String>,
}

/// Policy values of one group, for a site, for a user, or (with neither) for everyone.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedPolicy {
    /// Name of a site.
    #[serde(default)]
    pub site: Option<String>,
    /// Address of a user.
    #[serde(default)]
    pub user: Option<String>,
    /// Provisioning group, for example `ucPolicy`; case as on the wire.
    pub group: String,
    /// Property names and values.
    pub properties: Properties,
}

/// A dial plan.
#[derive(Debug, Clone, Deserialize)]
pub struct SeedDialPlan {
    /// The plan itself.
    #[serde(flatten)]
    pub plan: DialPlan,
    /// It is the one for users who name none.
    #[serde(default)]
    pub global: bool,
}

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Imported {
    /// Users made.
    pub added: usize,
    /// Users that were there and have been replaced.
    pub replaced: usize,
}

impl Store {
    /// Takes a whole deployment in.
    pub fn import(&self, seed: Seed) -> Receipt<Imported, AdminError> {
        self.writer.submit(move |batch| {
            let mut imported = Imported::default();
            for plan in &seed.dial_plans {
                let plan_use = if plan.global { PlanUse::Global } else { PlanUse::Named };
                admin::put_dial_plan(batch, &plan.plan, plan_use)?;
            }
            for site in &seed.sites {
                for pool in &site.pools {
                    policy::set_site(batch.tables(), pool, Some(&site.name))?;
                }
                if let Some(plan) = &site.dial_plan {
                    admin::set_site_dial_plan(batch, &site.name, Some(plan))?;
                }
            }
            for user in &seed.users {
                import_user(batch, user, &mut imported)?;
            }
            for policy in &seed.policies {
                import_policy(batch, policy)?;
            }
            batch.policies_changed();
            Ok(imported)
        })
    }
}

fn import_user(batch: &mut Batch<'_>, seed: &SeedUser, imported: &mut Imported) -> Result<(), AdminError> {
    let aor = &seed.address;
    let account = admin::normal(Account {
        user: User {
            aor: aor.clone(),
            display_name: seed.display_name.clone(),
            mail: seed.mail.clone(),
            line: seed.line.clone(),
            home_pool: seed.home_pool.clone(),
            backup_pool: seed.backup_pool.clone(),
            enabled: seed.enabled,
            sip_enabled: seed.sip_enabled,
            remote_access: seed.remote_access,
            dial_plan: seed.dial_plan.clone(),
        },
        logins: seed.logins.iter().map(|login| AccountName::parse(login)).collect(),
    })?;
    let id = match users::id_of(batch.tables(), aor)? {
        None => {
            imported.added += 1;
            admin::insert(batch, &account, seed.password.as_ref())?
        }
        Some(id) => {
            imported.replaced += 1;
            admin::update(batch, id, &account)?;
            if let Some(password) = &seed.password {
                admin::set_password(batch, id, aor, password)?;
            }
            id
        }
    };
    if seed.groups.is_empty() && seed.contacts.is_empty() {
        return Ok(());
    }
    let mut list = contact_list(seed, batch.limits())
        .map_err(|error| AdminError::Invalid(format!("the contact list of {aor}: {error}")))?;
    // Clients that know the list before must see that it is another one.
    list.delta_num = edit::next_delta(batch.take_list(aor)?.delta_num);
    contacts::replace(batch.tables(), id, &list)?;
    batch.keep_list(aor.clone(), list);
    batch.administered();
    Ok(())
}

/// Builds a list by the edits a user would make, so that the same rules hold.
fn contact_list(seed: &SeedUser, limits: &ContactLimits) -> Result<ContactList, ChangeError> {
    let mut list = ContactList::empty();
    let mut ids = HashMap::from([("~", DEFAULT_GROUP)]);
    for group in &seed.groups {
        let edit = Edit::AddGroup { name: group.name.clone(), external_uri: group.external_uri.clone() };
        if let edit::Touched::Group(made) = edit::apply(&mut list, ContactChange { delta_num: None, edit }, limits)? {
            ids.insert(&group.name, made.id);
        }
    }
    for contact in &seed.contacts {
        let groups = contact.groups.iter().map(|name| {
            let no_such =
                || ChangeError::Invalid(format!("{} is in a group {name}, which is not there", contact.address));
            ids.get(name.as_str()).copied().ok_or_else(no_such)
        });
        let edit = Edit::SetContact(Contact {
            name: contact.name.clone(),
            groups: groups.collect::<Result<_, _>>()?,
            subscribed: contact.subscribed,
            ..Contact::new(contact.address.clone())
        });
        edit::apply(&mut list, ContactChange { delta_num: None, edit }, limits)?;
    }
    Ok(list)
}

fn import_policy(batch: &mut Batch<'_>, seed: &SeedPolicy) -> Result<(), AdminError> {
    let scope = match (&seed.site, &seed.user) {
        (None, None) => Scope::Global,
        (Some(site), None) => Scope::Site(site.clone()),
        (None, Some(user)) => {
            let aor: Aor = user.parse().map_err(|error| AdminError::Invalid(format!("policy for {user}: {error}")))?;
            if users::id_of(batch.tables(), &aor)?.is_none() {
                return Err(AdminError::UnknownUser(aor));
            }
            Scope::User(aor)
        }
        (Some(site), Some(user)) => {
            let message = format!("a {} policy is for site {site} and for user {user}; give one of them", seed.group);
            return Err(AdminError::Invalid(message));
        }
    };
    for (name, value) in &seed.properties {
        admin::set_policy(batch, &scope, &seed.group, name, Some(value))?;
    }
    Ok(())
}

fn on() -> bool {
    true
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Aor, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|error| serde::de::Error::custom(format_args!("{text}: {error}")))
}

fn password<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Password>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(Password::new))
}
