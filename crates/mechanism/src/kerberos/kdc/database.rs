//! Who there is in a realm: users and services, their keys, and what else users are called. [`Database`] holds them in
//! memory; whoever has them elsewhere implements [`Principals`].

use crate::kerberos::crypto::{EncryptionType, Key};
use crate::kerberos::name::{NameType, Principal};
use std::collections::BTreeMap;
use std::fmt;

/// One version of a principal's keys.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Version number.
    pub kvno: u32,
    /// One for each encryption type, the best first. Without any, nobody gets a ticket of or for it.
    pub keys: Vec<Key>,
    /// What the password was mixed with; nothing for keys that come of no password.
    pub salt: Option<String>,
}

impl Keys {
    /// The keys of a password, AES-256 and AES-128, with the usual salt.
    pub fn of_password(principal: &Principal, password: &str) -> Keys {
        let salt = principal.default_salt();
        let key = |etype| Key::of_password(etype, password, salt.as_bytes()).expect("AES takes every password");
        let keys = vec![key(EncryptionType::Aes256), key(EncryptionType::Aes128)];
        Keys { kvno: 1, keys, salt: Some(salt) }
    }

    /// Random keys, AES-256 and AES-128.
    pub fn generate(random: &dyn Fn(&mut [u8])) -> Keys {
        let key = |etype| Key::generate(etype, random).expect("AES has a length");
        Keys { kvno: 1, keys: vec![key(EncryptionType::Aes256), key(EncryptionType::Aes128)], salt: None }
    }

    /// The key of the first of these types that there is.
    pub(super) fn first_of(&self, etypes: &[EncryptionType]) -> Option<&Key> {
        etypes.iter().find_map(|etype| self.of_type(*etype))
    }

    /// The key of this type.
    pub(super) fn of_type(&self, etype: EncryptionType) -> Option<&Key> {
        self.keys.iter().find(|key| key.etype() == etype)
    }
}

/// A user or a service of the realm.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its name, as tickets have it.
    pub principal: Principal,
    /// Its keys.
    pub keys: Keys,
    /// It gets no tickets, and nobody gets one for it.
    pub disabled: bool,
}

/// Who knows the users and services of a realm. Asked for every request, so that what changes there holds from then on.
pub trait Principals: fmt::Debug + Send + Sync {
    /// Whoever a name stands for, of the realm that is served.
    fn find(&self, name: &Principal) -> Result<Option<Entry>, Unavailable>;
}

/// Nobody can tell who there is, at this time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// Who there is.
#[derive(Debug, Default)]
pub struct Database {
    /// By components in lower case: the names of users and services are compared without case, as Active Directory does.
    entries: BTreeMap<Vec<String>, Entry>,
    /// Other names of users: their addresses.
    aliases: BTreeMap<String, Vec<String>>,
}

impl Database {
    /// Adds a user or a service.
    pub fn add(&mut self, entry: Entry) {
        self.entries.insert(lower_case(&entry.principal.components), entry);
    }

    /// Makes an enterprise name (`alice@contoso.test`) stand for a user.
    pub fn add_alias(&mut self, alias: &str, principal: &Principal) {
        self.aliases.insert(alias.to_lowercase(), lower_case(&principal.components));
    }
}

impl Principals for Database {
    /// An enterprise name is an alias, else a user and the realm (`alice@CONTOSO.TEST`), else a
    /// user alone: so does Active Directory.
    fn find(&self, name: &Principal) -> Result<Option<Entry>, Unavailable> {
        let (NameType::Enterprise, [text]) = (name.name_type, name.components.as_slice()) else {
            return Ok(self.entries.get(&lower_case(&name.components)).cloned());
        };
        if let Some(known) = self.aliases.get(&text.to_lowercase()) {
            return Ok(self.entries.get(known).cloned());
        }
        let (user, realm) = text.rsplit_once('@').unwrap_or((text, &name.realm));
        let entry = self.entries.get(&lower_case(&[user.to_owned()]));
        Ok(entry.filter(|entry| realm.eq_ignore_ascii_case(&entry.principal.realm)).cloned())
    }
}

fn lower_case(components: &[String]) -> Vec<String> {
    components.iter().map(|text| text.to_lowercase()).collect()
}
