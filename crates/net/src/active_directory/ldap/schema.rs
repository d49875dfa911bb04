//! Where in an entry of Active Directory the things are that a sign-in needs.
//!
//! The names are settings. [`Schema::skype_for_business`] has those of a forest whose schema was extended for Skype for
//! Business; [`Schema::plain`] does with what every Active Directory has.

use super::message::Entry;
use signin::directory::User;
use signin::name::Aor;
use std::collections::BTreeMap;

/// ACCOUNTDISABLE of `userAccountControl`. `[MS-ADTS]` §2.2.16.
const ACCOUNT_DISABLED: i64 = 0x2;
/// `accountExpires` of an account that never does; 0 means the same. `[MS-ADA1]` §2.3.
const NEVER: i64 = i64::MAX;
/// Seconds from 1601 to 1970.
const EPOCH_1601: i64 = 11_644_473_600;

/// An attribute in which the sign-in address may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressSource {
    /// Its name.
    pub attribute: String,
    /// Only values that begin with `sip:` are addresses; the values are not all of one kind.
    pub with_scheme: bool,
}

/// Who may use SIP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SipEnabled {
    /// Those whose attribute of this name is TRUE.
    Attribute(String),
    /// The members of the group with this distinguished name, also through groups in it. Their primary group
    /// (`Domain Users`) is not counted by Active Directory.
    Group(String),
    /// Everyone who has an address.
    Everyone,
}

/// Names of attributes, and what holds where they are absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// The sign-in address: the first of these that an entry has.
    pub addresses: Vec<AddressSource>,
    /// The home pool: its FQDN, or the distinguished name of an object below it.
    pub home_pool: Option<String>,
    /// The home pool of users who name none.
    pub default_home_pool: Option<String>,
    /// FQDN of a pool by the name (CN) of its object, for those that cannot be read from the directory.
    pub pools: BTreeMap<String, String>,
    /// Who may use SIP.
    pub sip_enabled: SipEnabled,
    /// Whether a user may sign in from outside.
    pub remote_access: Option<String>,
    /// The same for users without that attribute.
    pub remote_access_default: bool,
    /// Name shown to others.
    pub display_name: String,
    /// Mail address.
    pub mail: String,
    /// Telephone line: the first of these that is a `tel:` URI or a number with `+`.
    pub lines: Vec<String>,
}

impl Schema {
    /// The attributes of Skype for Business.
    pub fn skype_for_business() -> Schema {
        Schema {
            addresses: vec![AddressSource { attribute: "msRTCSIP-PrimaryUserAddress".to_owned(), with_scheme: true }],
            home_pool: Some("msRTCSIP-PrimaryHomeServer".to_owned()),
            default_home_pool: None,
            pools: BTreeMap::new(),
            sip_enabled: SipEnabled::Attribute("msRTCSIP-UserEnabled".to_owned()),
            remote_access: Some("msRTCSIP-InternetAccessEnabled".to_owned()),
            remote_access_default: true,
            display_name: "displayName".to_owned(),
            mail: "mail".to_owned(),
            lines: vec!["msRTCSIP-Line".to_owned(), "telephoneNumber".to_owned()],
        }
    }

    /// An Active Directory nobody extended: the address is the `sip:` one of `proxyAddresses`, else the mail address,
    /// and all users live in one pool.
    pub fn plain(home_pool: &str, sip_enabled: SipEnabled) -> Schema {
        Schema {
            addresses: vec![
                AddressSource { attribute: "proxyAddresses".to_owned(), with_scheme: true },
                AddressSource { attribute: "mail".to_owned(), with_scheme: false },
            ],
            home_pool: None,
            default_home_pool: Some(home_pool.to_owned()),
            sip_enabled,
            remote_access: None,
            lines: vec!["telephoneNumber".to_owned()],
            ..Schema::skype_for_business()
        }
    }

    /// Every attribute to ask for.
    pub(in crate::active_directory) fn attributes(&self) -> Vec<String> {
        let fixed = ["userAccountControl", "accountExpires", "sAMAccountName", "userPrincipalName"];
        let mut names: Vec<String> = fixed.map(str::to_owned).to_vec();
        names.extend(self.addresses.iter().map(|source| source.attribute.clone()));
        names.extend(self.home_pool.clone());
        names.extend(self.remote_access.clone());
        if let SipEnabled::Attribute(name) = &self.sip_enabled {
            names.push(name.clone());
        }
        names.extend([self.display_name.clone(), self.mail.clone()]);
        names.extend(self.lines.iter().cloned());
        names.sort_by_key(|name| name.to_ascii_lowercase());
        names.dedup_by(|one, other| one.eq_ignore_ascii_case(other));
        names
    }

    /// The sign-in address of an entry.
    pub(super) fn address(&self, entry: &Entry) -> Option<Aor> {
        self.addresses.iter().find_map(|source| address_in(entry, source))
    }

    /// The user an entry describes; `None` without an address. Whether a group allows SIP, and which pool stands behind
    /// a distinguished name, takes further questions: see [`Described`].
    pub(super) fn describe(&self, entry: &Entry, unix_seconds: i64) -> Result<Option<Described>, Unreadable> {
        let Some(aor) = self.address(entry) else { return Ok(None) };
        let home = self.home_pool.as_deref().and_then(|attribute| entry.text(attribute));
        let (home_pool, home_server) = match home {
            Some(dn) if dn.contains('=') => (None, Some(dn.to_owned())),
            Some(fqdn) => (Some(fqdn.to_ascii_lowercase()), None),
            None => (self.default_home_pool.clone(), None),
        };
        let sip_enabled = match &self.sip_enabled {
            SipEnabled::Attribute(name) => is_true(entry, name).unwrap_or(false),
            SipEnabled::Group(_) => false,
            SipEnabled::Everyone => true,
        };
        let remote_access = self.remote_access.as_deref().and_then(|name| is_true(entry, name));
        let user = User {
            display_name: entry.text(&self.display_name).unwrap_or(aor.as_str()).to_owned(),
            mail: entry.text(&self.mail).map(str::to_owned),
            line: self.lines.iter().find_map(|name| entry.text(name).and_then(line)),
            home_pool,
            backup_pool: None,
            enabled: may_log_on(entry, unix_seconds)?,
            sip_enabled,
            remote_access: remote_access.unwrap_or(self.remote_access_default),
            dial_plan: None,
            aor,
        };
        Ok(Some(Described { user, home_server }))
    }
}

/// A user as far as one entry tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) user: User,
    /// Distinguished name from which the home pool is still to be found.
    pub(super) home_server: Option<String>,
}

/// The service account may not see what it has to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("userAccountControl of the user cannot be read: the service account needs the right to read it")]
pub(super) struct Unreadable;

/// Among several addresses of one entry the one with the scheme in capitals is the first, as with mail addresses.
fn address_in(entry: &Entry, source: &AddressSource) -> Option<Aor> {
    let has_scheme = |value: &str| value.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("sip:"));
    let mut values: Vec<&str> =
        entry.texts(&source.attribute).filter(|v| !source.with_scheme || has_scheme(v)).collect();
    values.sort_unstable_by_key(|value| (!value.starts_with("SIP:"), value.to_lowercase()));
    values.into_iter().find_map(|value| value.parse().ok())
}

/// `TRUE`, `FALSE`, as RFC 4517 §3.3.3 has them.
fn is_true(entry: &Entry, attribute: &str) -> Option<bool> {
    entry.text(attribute).map(|text| text.eq_ignore_ascii_case("TRUE"))
}

/// Neither disabled nor expired. Whether the password expired, or the account is locked out, is for those to say who
/// check passwords.
fn may_log_on(entry: &Entry, unix_seconds: i64) -> Result<bool, Unreadable> {
    let flags: i64 = entry.text("userAccountControl").and_then(|text| text.parse().ok()).ok_or(Unreadable)?;
    let expires: i64 = entry.text("accountExpires").and_then(|text| text.parse().ok()).unwrap_or(NEVER);
    // Intervals of 100 ns since 1601.
    let expired = expires != 0 && expires != NEVER && expires / 10_000_000 - EPOCH_1601 <= unix_seconds;
    Ok(flags & ACCOUNT_DISABLED == 0 && !expired)
}

/// A `tel:` URI as it is; a number in international form as a `tel:` URI; nothing else can be dialled from everywhere.
fn line(value: &str) -> Option<String> {
    if value.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("tel:")) {
        return Some(value.to_owned());
    }
    let number: String = value.chars().filter(|c| !" -().\u{a0}".contains(*c)).collect();
    let digits = number.strip_prefix('+')?;
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then(|| format!("tel:{number}"))
}

/// Distinguished name and CN of the pool to which the server object `dn` belongs: in
/// `CN=Lc Services,CN=Microsoft,CN=1:1,CN=Pools,…` the part from `CN=1:1` on.
pub(super) fn pool_object(dn: &str) -> Option<(&str, &str)> {
    let mut rest = dn;
    loop {
        let (first, parent) = split_rdn(rest)?;
        let (next, _) = split_rdn(parent)?;
        if next.eq_ignore_ascii_case("CN=Pools") {
            return Some((rest, first.split_once('=')?.1));
        }
        rest = parent;
    }
}

/// The first part of a distinguished name and what follows; a comma after a backslash separates nothing. RFC 4514.
fn split_rdn(dn: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (position, c) in dn.char_indices() {
        match c {
            ',' if !escaped => return Some((dn.get(..position)?, dn.get(position + 1..)?)),
            _ => escaped = c == '\\' && !escaped,
        }
    }
    None
}

#[cfg(test)]
mod tests;
