//! What the servers know of users: the one trait behind which a store or a directory service stands.
//!
//! Every method is asynchronous, because some backends are far away; an embedded store answers at once. A write is
//! acknowledged only when it would survive the loss of the process.

use crate::io::Pending;
use crate::name::{AccountName, Aor};
use crate::provision::contacts::{ContactChange, ContactList};
use crate::provision::presence::kept::{Keep, KeptPresence};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One user, as far as signing in is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The sign-in address.
    pub aor: Aor,
    /// Shown to others.
    pub display_name: String,
    /// Mail address, when known.
    pub mail: Option<String>,
    /// Telephone line, `tel:+…`.
    pub line: Option<String>,
    /// FQDN of the home pool.
    pub home_pool: Option<String>,
    /// FQDN of the pool that takes over.
    pub backup_pool: Option<String>,
    /// The account may log on.
    pub enabled: bool,
    /// The account may use SIP.
    pub sip_enabled: bool,
    /// It may do so from outside.
    pub remote_access: bool,
    /// Named dial plan; `None` for the global one.
    pub dial_plan: Option<String>,
}

impl User {
    /// A user who may sign in from everywhere, of whom no more is known than the address.
    pub fn new(aor: Aor) -> User {
        User {
            aor,
            display_name: String::new(),
            mail: None,
            line: None,
            home_pool: None,
            backup_pool: None,
            enabled: true,
            sip_enabled: true,
            remote_access: true,
            dial_plan: None,
        }
    }
}

/// The directory could not answer. This says nothing about the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the directory did not answer: {why}")]
pub struct DirectoryError {
    /// What kind of trouble: that is all that peers are told.
    pub fault: DirectoryFault,
    /// The whole trouble, for the server's log alone: it may name servers, entries and filters.
    pub why: String,
}

/// Why a directory does not answer, in words that give nothing away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryFault {
    /// It is elsewhere, and cannot be reached.
    #[error("no domain controller answers")]
    Unreachable,
    /// Two accounts have the same address or name.
    #[error("two accounts have this address")]
    Ambiguous,
    /// It cannot answer at the moment, or not this.
    #[error("the directory does not answer")]
    Failed,
}

impl DirectoryFault {
    /// Id of the failure catalogue, which has none for a store of our own.
    pub fn id(self) -> Option<&'static str> {
        match self {
            DirectoryFault::Unreachable => Some("ntlm-dc-unreachable"),
            DirectoryFault::Ambiguous => Some("user-duplicate-sip"),
            DirectoryFault::Failed => None,
        }
    }
}

impl DirectoryError {
    /// Whoever knows the answer cannot be reached.
    pub fn unreachable(why: impl Into<String>) -> DirectoryError {
        DirectoryError { fault: DirectoryFault::Unreachable, why: why.into() }
    }

    /// There are two answers where there may be one.
    pub fn ambiguous(why: impl Into<String>) -> DirectoryError {
        DirectoryError { fault: DirectoryFault::Ambiguous, why: why.into() }
    }

    /// Anything else.
    pub fn failed(why: impl Into<String>) -> DirectoryError {
        DirectoryError { fault: DirectoryFault::Failed, why: why.into() }
    }
}

/// Why a change of a contact list was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The change was based on another version of the list.
    #[error("the list is at version {current}")]
    WrongDelta {
        /// The version it is at.
        current: u32,
    },
    /// The change makes no sense (unknown group, group 1, …).
    #[error("{0}")]
    Invalid(String),
    /// A limit on contacts, groups or lengths.
    #[error("{0}")]
    TooLarge(String),
    /// The store did not answer.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

/// Values of one provisioning group: property name to value.
pub type Properties = BTreeMap<String, String>;

/// A dial plan: `[MS-SIPRE]` §2.2.8.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DialPlan {
    /// Its name, usable as `phone-context`.
    pub name: String,
    /// Rules in order; the first match wins.
    pub rules: Vec<NormalizationRule>,
    /// Digits dialled before an outside number.
    pub external_access_prefix: Option<String>,
    /// A device may dial as soon as a rule matches.
    #[serde(default)]
    pub optimize_device_dialing: bool,
}

/// One normalization rule.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NormalizationRule {
    /// .NET regular expression over the dialled text; [`crate::provision::settings::normalization`] applies it.
    pub pattern: String,
    /// .NET replacement pattern.
    pub translation: String,
    /// The number is an internal extension.
    #[serde(default)]
    pub internal_extension: bool,
    /// Devices may use the rule while digits are dialled.
    #[serde(default)]
    pub device_dialing: bool,
}

/// Users and what belongs to them.
pub trait Directory: Send + Sync {
    /// The user with this sign-in address.
    fn user(&self, aor: &Aor) -> Pending<'_, Result<Option<Arc<User>>, DirectoryError>>;

    /// The user this account belongs to; used to see whether an authenticated identity owns an address.
    fn user_of_account(&self, account: &AccountName) -> Pending<'_, Result<Option<Arc<User>>, DirectoryError>>;

    /// The contact list; an empty one with group 1 for a user who has none yet.
    fn contacts(&self, aor: &Aor) -> Pending<'_, Result<ContactList, DirectoryError>>;

    /// Changes the contact list and gives the list after the change. Durable when it returns.
    fn change_contacts(&self, aor: &Aor, change: ContactChange) -> Pending<'_, Result<ContactList, ChangeError>>;

    /// A number that moves when users, or contact lists otherwise than by [`Directory::change_contacts`], may have changed:
    /// by administration, or in another process. It moves after what it tells of can be read; it stays 0 where nobody
    /// can say.
    fn changes_elsewhere(&self) -> u64 {
        0
    }

    /// What is kept of a user's presence; nothing for somebody unknown.
    fn presence(&self, aor: &Aor) -> Pending<'_, Result<KeptPresence, DirectoryError>>;

    /// Keeps changes of a user's presence, in this order, all of them or none. Durable when it returns; takes its place
    /// in the order of changes when it is called, not when it is first polled.
    fn keep_presence(&self, aor: &Aor, changes: Vec<Keep>) -> Pending<'_, Result<(), DirectoryError>>;

    /// The values of one provisioning group for this user: what is set for the user, else for the site, else globally.
    fn policy(&self, aor: &Aor, group: &str) -> Pending<'_, Result<Properties, DirectoryError>>;

    /// A dial plan by name, or the global one.
    fn dial_plan(&self, name: Option<&str>) -> Pending<'_, Result<Option<DialPlan>, DirectoryError>>;

    /// The dial plan of those at this user's home pool who name none; where sites have no plans of their own, the
    /// global one.
    fn pool_dial_plan(&self, _aor: &Aor) -> Pending<'_, Result<Option<DialPlan>, DirectoryError>> {
        self.dial_plan(None)
    }
}
