//! Users and the names they log on with, as rows.

use mechanism::ntlm::NtHash;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use signin::directory::User;
use signin::name::{AccountName, Aor};
use signin::secret::Password;
use std::collections::HashMap;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A user and all names the user can log on with. The password's hash is no part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user.
    pub user: User,
    /// `DOMAIN\name`, UPN, or both; the first is the one the user is known by. No two users share one.
    pub logins: Vec<AccountName>,
}

/// One user as kept in memory.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: i64,
    pub(crate) user: Arc<User>,
    pub(crate) logins: Vec<AccountName>,
    pub(crate) nt_hash: Option<NtHash>,
}

impl Entry {
    pub(crate) fn account(&self) -> Account {
        Account { user: User::clone(&self.user), logins: self.logins.clone() }
    }

    pub(crate) fn has_password(&self, password: &Password) -> bool {
        let kept = self.nt_hash.as_ref();
        kept.is_some_and(|kept| *kept.to_hex() == *NtHash::of_password(password.reveal()).to_hex())
    }
}

/// A login name in the form in which two are compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LoginKey {
    pub(crate) domain: String,
    pub(crate) name: String,
}

impl LoginKey {
    pub(crate) fn of(login: &AccountName) -> LoginKey {
        LoginKey { domain: login.domain.to_lowercase(), name: login.user.to_lowercase() }
    }
}

const COLUMNS: &str = "id, aor, display_name, mail, line, home_pool, backup_pool, enabled, sip_enabled, remote_access, \
                       dial_plan, nt_hash";

/// Every user.
pub(crate) fn load_all(conn: &Connection) -> rusqlite::Result<Vec<Entry>> {
    let mut logins: HashMap<i64, Vec<AccountName>> = HashMap::new();
    let mut statement = conn.prepare("SELECT user, domain, name FROM logins ORDER BY user, position")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        logins.entry(row.get(0)?).or_default().push(AccountName { domain: row.get(1)?, user: row.get(2)? });
    }
    let mut statement = conn.prepare(&format!("SELECT {COLUMNS} FROM users"))?;
    let entries = statement.query_map([], |row| {
        let id: i64 = row.get(0)?;
        entry(row, logins.remove(&id).unwrap_or_default())
    })?;
    entries.collect()
}

/// One user, if it is still there.
pub(crate) fn load(conn: &Connection, id: i64) -> rusqlite::Result<Option<Entry>> {
    let logins = conn
        .prepare_cached("SELECT domain, name FROM logins WHERE user = ?1 ORDER BY position")?
        .query_map([id], |row| Ok(AccountName { domain: row.get(0)?, user: row.get(1)? }))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM users WHERE id = ?1"))?
        .query_row([id], |row| entry(row, logins))
        .optional()
}

fn entry(row: &Row<'_>, logins: Vec<AccountName>) -> rusqlite::Result<Entry> {
    let aor: String = row.get(1)?;
    let nt_hash = row.get::<_, Option<String>>(11)?.map(Zeroizing::new);
    Ok(Entry {
        id: row.get(0)?,
        logins,
        nt_hash: nt_hash.map(|hex| NtHash::from_hex(&hex).ok_or_else(|| malformed(11, NotAHash))).transpose()?,
        user: Arc::new(User {
            aor: aor.parse().map_err(|error| malformed(1, error))?,
            display_name: row.get(2)?,
            mail: row.get(3)?,
            line: row.get(4)?,
            home_pool: row.get(5)?,
            backup_pool: row.get(6)?,
            enabled: row.get(7)?,
            sip_enabled: row.get(8)?,
            remote_access: row.get(9)?,
            dial_plan: row.get(10)?,
        }),
    })
}

#[derive(Debug, thiserror::Error)]
#[error("not an NT hash")]
struct NotAHash;

/// A text in the file that this program would not have written. The value itself is not named: it may be a secret.
pub(crate) fn malformed(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}

/// The row number of a user.
pub(crate) fn id_of(conn: &Connection, aor: &Aor) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT id FROM users WHERE aor = ?1")?.query_row([aor.as_str()], |row| row.get(0)).optional()
}

/// Makes a row without password; the caller has seen to it that there is none of this address.
pub(crate) fn insert(conn: &Connection, user: &User) -> rusqlite::Result<i64> {
    conn.prepare_cached(
        "INSERT INTO users (aor, display_name, mail, line, home_pool, backup_pool, enabled, sip_enabled, remote_access, \
         dial_plan) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .insert(values(&user.aor.as_str(), user))
}

/// What is written of a user, in the order of the columns: the key, then everything but the password.
fn values<'a>(key: &'a dyn ToSql, user: &'a User) -> [&'a dyn ToSql; 10] {
    [
        key,
        &user.display_name,
        &user.mail,
        &user.line,
        &user.home_pool,
        &user.backup_pool,
        &user.enabled,
        &user.sip_enabled,
        &user.remote_access,
        &user.dial_plan,
    ]
}

/// A user who cannot log on, for one whom another directory knows.
pub(crate) fn stand_in(aor: &Aor) -> User {
    User { enabled: false, sip_enabled: false, remote_access: false, ..User::new(aor.clone()) }
}

/// Writes everything but the address and the password.
pub(crate) fn update(conn: &Connection, id: i64, user: &User) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE users SET display_name = ?2, mail = ?3, line = ?4, home_pool = ?5, backup_pool = ?6, enabled = ?7, \
         sip_enabled = ?8, remote_access = ?9, dial_plan = ?10 WHERE id = ?1",
    )?
    .execute(values(&id, user))?;
    Ok(())
}

/// Replaces the hash of the password.
pub(crate) fn set_nt_hash(conn: &Connection, id: i64, nt_hash: &NtHash) -> rusqlite::Result<()> {
    let hex = nt_hash.to_hex();
    conn.prepare_cached("UPDATE users SET nt_hash = ?2 WHERE id = ?1")?.execute(params![id, hex.as_str()])?;
    Ok(())
}

/// Replaces the names a user logs on with. `Err` inside: this name belongs to the user of that address.
pub(crate) fn set_logins(
    conn: &Connection,
    id: i64,
    logins: &[AccountName],
) -> rusqlite::Result<Result<(), (AccountName, String)>> {
    conn.prepare_cached("DELETE FROM logins WHERE user = ?1")?.execute([id])?;
    for (position, login) in (0i64..).zip(logins) {
        let key = LoginKey::of(login);
        let owner: Option<(i64, String)> = conn
            .prepare_cached(
                "SELECT users.id, users.aor FROM logins JOIN users ON users.id = logins.user \
                 WHERE domain_key = ?1 AND name_key = ?2",
            )?
            .query_row([&key.domain, &key.name], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match owner {
            Some((owner, _)) if owner == id => {} // given twice
            Some((_, aor)) => return Ok(Err((login.clone(), aor))),
            None => {
                conn.prepare_cached(
                    "INSERT INTO logins (domain_key, name_key, user, position, domain, name) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![key.domain, key.name, id, position, login.domain, login.user])?;
            }
        }
    }
    Ok(Ok(()))
}

/// Removes a user and all that belongs to it.
pub(crate) fn delete(conn: &Connection, id: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM users WHERE id = ?1")?.execute([id])?;
    Ok(())
}
