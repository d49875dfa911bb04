//! Kerberos keys of passwords, and the store as what a KDC asks: [`Principals`].
//!
//! A store keeps such keys when it is told of which realm its users are ([`Store::serve_realm`]), and no others: keys that
//! no KDC asks for are only there to be stolen. Whatever sets a password then writes them together with the NT hash, in
//! whichever process that is. A user is in the realm who has a login name there, `alice@contoso.test`.
//!
//! They are read from the file and not from memory: a password that another process sets (the `admin` verb) holds from
//! that moment on.
//!
//! Not here: RC4 keys, though the NT hash is one; former keys, so that tickets of a former password end by themselves.

use crate::admin::{AdminError, existing};
use crate::receipt::Receipt;
use crate::store::Store;
use crate::users::{self, Entry, malformed};
use crate::writer::unavailable;
use mechanism::kerberos::crypto::{EncryptionType, Key};
use mechanism::kerberos::kdc::{self, Keys, Principals, Unavailable};
use mechanism::kerberos::name::{NameType, Principal};
use rusqlite::{Connection, OptionalExtension, params};
use signin::directory::DirectoryError;
use signin::name::{AccountName, Aor};
use signin::secret::Password;
use std::sync::Arc;
use zeroize::Zeroizing;

impl Store {
    /// Says of which Kerberos realm the users are. It is written down: from now on every password that is set gets the
    /// keys that a KDC of this realm needs, whoever sets it.
    pub fn serve_realm(&self, realm: &str) -> Receipt<(), DirectoryError> {
        let realm = realm.to_owned();
        self.writer.submit(move |batch| set_realm(batch.tables(), &realm).map_err(unavailable))
    }

    /// Makes the Kerberos keys of a user who has none, if this is the password: for passwords that were set before the
    /// store knew its realm. Tells whether the user has keys now.
    pub fn complete_password(&self, aor: &Aor, password: &Password) -> Receipt<bool, AdminError> {
        let (aor, password) = (aor.clone(), password.clone());
        self.writer.submit(move |batch| {
            let id = existing(batch, &aor)?;
            if load(batch.tables(), id)?.is_some() {
                return Ok(true);
            }
            let right = users::load(batch.tables(), id)?.is_some_and(|entry| entry.has_password(&password));
            let Some(realm) = realm(batch.tables())?.filter(|_| right) else { return Ok(false) };
            replace(batch.tables(), id, &keys_of(&aor, &realm, &password))?;
            Ok(true)
        })
    }

    /// Users of the realm who have a password and no Kerberos keys: it was set before the store knew its realm.
    pub fn without_kerberos_keys(&self) -> Result<Vec<Aor>, DirectoryError> {
        let Some(realm) = self.read(|conn| realm(conn))? else { return Ok(Vec::new()) };
        let with = self.read(|conn| {
            let mut statement = conn.prepare_cached("SELECT DISTINCT user FROM kerberos_keys")?;
            statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()
        })?;
        let index = self.memory.index();
        let without = |entry: &&Arc<Entry>| {
            entry.nt_hash.is_some() && name_in(entry, &realm).is_some() && !with.contains(&entry.id)
        };
        let mut found: Vec<Aor> = index.entries().filter(without).map(|entry| entry.user.aor.clone()).collect();
        found.sort();
        Ok(found)
    }

    fn principal(&self, name: &Principal) -> Result<Option<kdc::Entry>, DirectoryError> {
        let Some(realm) = self.read(|conn| realm(conn))? else { return Ok(None) };
        let [user] = name.components.as_slice() else { return Ok(None) };
        let account = match name.name_type {
            NameType::Enterprise => AccountName::parse(user),
            _ => AccountName { domain: String::new(), user: format!("{user}@{realm}") },
        };
        let entry = {
            let index = self.memory.index();
            let by_address = || user.parse().ok().and_then(|aor: Aor| index.by_aor(&aor));
            index.by_login(&account).or_else(by_address).cloned()
        };
        let Some(entry) = entry else { return Ok(None) };
        let Some(own) = name_in(&entry, &realm) else { return Ok(None) };
        let Ok(principal) = Principal::new(NameType::Principal, vec![own], realm) else { return Ok(None) };
        let keys = self.read(|conn| load_consistently(conn, entry.id))?;
        let keys = keys.unwrap_or_else(|| Keys { kvno: 0, keys: Vec::new(), salt: Some(String::new()) });
        Ok(Some(kdc::Entry { principal, keys, disabled: !entry.user.enabled }))
    }
}

impl Principals for Store {
    /// A user by the name in the realm, by a login name or by the sign-in address. Who has no keys is there all the same,
    /// as for a KDC of Active Directory: it says that no encryption type fits, and not that nobody has the name.
    fn find(&self, name: &Principal) -> Result<Option<kdc::Entry>, Unavailable> {
        self.principal(name).map_err(|error| Unavailable(error.to_string()))
    }
}

/// What a user is called in a realm: `alice`, for who logs on as `alice@contoso.test`. Whoever checks a ticket turns the
/// name in it into that same login name, which no two users share.
fn name_in(entry: &Entry, realm: &str) -> Option<String> {
    entry.logins.iter().filter(|login| login.domain.is_empty()).find_map(|login| {
        let (name, domain) = login.user.rsplit_once('@')?;
        domain.eq_ignore_ascii_case(realm).then(|| name.to_owned())
    })
}

/// The keys of a password. They are salted with the sign-in address, which never changes; clients are told the salt.
pub(crate) fn keys_of(aor: &Aor, realm: &str, password: &Password) -> Keys {
    let principal =
        Principal { name_type: NameType::Principal, components: vec![aor.user().to_owned()], realm: realm.to_owned() };
    Keys::of_password(&principal, password.reveal())
}

/// The realm, if the store was told one.
pub(crate) fn realm(conn: &Connection) -> rusqlite::Result<Option<String>> {
    conn.prepare_cached("SELECT realm FROM kerberos_realm")?.query_row([], |row| row.get(0)).optional()
}

fn set_realm(conn: &Connection, realm: &str) -> rusqlite::Result<()> {
    conn.execute("DELETE FROM kerberos_realm", [])?;
    conn.execute("INSERT INTO kerberos_realm (realm) VALUES (?1)", [realm])?;
    Ok(())
}

/// Replaces a user's keys by those of a further version.
pub(crate) fn replace(conn: &Connection, user: i64, keys: &Keys) -> rusqlite::Result<()> {
    let version: u32 = conn
        .prepare_cached("SELECT coalesce(max(version), 0) + 1 FROM kerberos_keys WHERE user = ?1")?
        .query_row([user], |row| row.get(0))?;
    conn.prepare_cached("DELETE FROM kerberos_keys WHERE user = ?1")?.execute([user])?;
    for key in &keys.keys {
        conn.prepare_cached("INSERT INTO kerberos_keys (user, type, version, salt, key) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![user, key.etype().number(), version, keys.salt, key.bytes()])?;
    }
    Ok(())
}

fn load_consistently(conn: &mut Connection, user: i64) -> rusqlite::Result<Option<Keys>> {
    let tx = conn.transaction()?;
    let keys = load(&tx, user)?;
    tx.finish()?;
    Ok(keys)
}

/// A user's keys, the best first.
fn load(conn: &Connection, user: i64) -> rusqlite::Result<Option<Keys>> {
    let mut statement =
        conn.prepare_cached("SELECT type, version, salt, key FROM kerberos_keys WHERE user = ?1 ORDER BY type DESC")?;
    let mut rows = statement.query([user])?;
    let mut keys: Option<Keys> = None;
    while let Some(row) = rows.next()? {
        let bytes = Zeroizing::new(row.get::<_, Vec<u8>>(3)?);
        let key = Key::new(EncryptionType::from_number(row.get(0)?), &bytes).map_err(|error| malformed(3, error))?;
        let (kvno, salt) = (row.get(1)?, row.get(2)?);
        keys.get_or_insert_with(|| Keys { kvno, keys: Vec::new(), salt }).keys.push(key);
    }
    Ok(keys)
}
