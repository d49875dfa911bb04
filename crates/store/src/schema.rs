//! The tables, and how a file of an older version gets them.
//!
//! A migration is never changed once it was released: the next version is a further entry of [`MIGRATIONS`].

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a store could not be opened. Nothing was changed in the file.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system refused the file or the writer's thread.
    #[error(
        "cannot open the store {path}: {source}. Check that its folder exists and that this account may write there"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file was made by a later version of this program.
    #[error("the store {path} has schema version {found}, this program knows up to {known}. Use a newer program")]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Version of the file.
        found: i64,
        /// Latest version this program knows.
        known: i64,
    },
    /// The file system cannot share memory between processes, as network file systems cannot.
    #[error("the store {path} cannot use a write-ahead log (SQLite offers {mode}). Keep it on a local file system")]
    NoWriteAheadLog {
        /// The file.
        path: PathBuf,
        /// Journal mode SQLite fell back to.
        mode: String,
    },
    /// SQLite refused: no database, damaged, locked for too long, disk full.
    #[error("cannot open the store {path}: {source}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The file holds a record that this program would never write.
    #[error("the store {path} is damaged: {what}. Restore it from a backup")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which record.
        what: String,
    },
}

/// How long to wait for another process that is writing.
const BUSY_LIMIT: Duration = Duration::from_secs(5);

/// Opens a connection for the writer: durable, and with the tables up to date.
pub(crate) fn open_for_writing(path: &Path, flags: OpenFlags) -> Result<Connection, OpenError> {
    let sqlite = |source| OpenError::Sqlite { path: path.to_owned(), source };
    let mut conn = connect(path, flags).map_err(sqlite)?;
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(sqlite)?;
    // A database in memory has no log and needs none.
    if mode != "wal" && !flags.contains(OpenFlags::SQLITE_OPEN_URI) {
        return Err(OpenError::NoWriteAheadLog { path: path.to_owned(), mode });
    }
    conn.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;").map_err(sqlite)?;
    match migrate(&mut conn).map_err(sqlite)? {
        Migrated::UpToDate => Ok(conn),
        Migrated::Newer(found) => Err(OpenError::NewerSchema { path: path.to_owned(), found, known: latest() }),
    }
}

/// Opens a connection that can only read.
pub(crate) fn open_for_reading(path: &Path, flags: OpenFlags) -> Result<Connection, OpenError> {
    let open = || -> rusqlite::Result<Connection> {
        let conn = connect(path, flags)?;
        conn.execute_batch("PRAGMA query_only = ON")?;
        Ok(conn)
    };
    open().map_err(|source| OpenError::Sqlite { path: path.to_owned(), source })
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY_LIMIT)?;
    conn.set_prepared_statement_cache_capacity(64);
    // Else a statement is compiled anew whenever other values are bound, in case they ask for another plan: which
    // takes twice as long as finding a row.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(conn)
}

enum Migrated {
    UpToDate,
    /// The file is of this later version and was left alone.
    Newer(i64),
}

/// Brings the tables to the latest version, all in one transaction: two processes may try at the same time.
fn migrate(conn: &mut Connection) -> rusqlite::Result<Migrated> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY) STRICT")?;
    let found: i64 = tx.query_row("SELECT coalesce(max(version), 0) FROM schema_version", [], |row| row.get(0))?;
    if found > latest() {
        return Ok(Migrated::Newer(found));
    }
    for (version, statements) in (1i64..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        tx.execute_batch(statements)?;
        tx.execute("INSERT INTO schema_version (version) VALUES (?1)", [version])?;
    }
    tx.commit()?;
    Ok(Migrated::UpToDate)
}

fn latest() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Entry *n* makes version *n* + 1 out of version *n*.
const MIGRATIONS: &[&str] = &[
    r"
CREATE TABLE users (
    id             INTEGER PRIMARY KEY,
    aor            TEXT    NOT NULL UNIQUE,     -- user@domain, lower case
    display_name   TEXT    NOT NULL,
    mail           TEXT,
    line           TEXT,                        -- tel:+…
    home_pool      TEXT,                        -- FQDN, lower case
    backup_pool    TEXT,
    enabled        INTEGER NOT NULL,
    sip_enabled    INTEGER NOT NULL,
    remote_access  INTEGER NOT NULL,
    dial_plan      TEXT,
    nt_hash        TEXT                         -- 32 hexadecimal digits; NULL: no password, nobody can log on
) STRICT;

-- Names a user logs on with. The keys are lower case; the other two columns are as typed.
CREATE TABLE logins (
    domain_key  TEXT    NOT NULL,               -- '' for a UPN or a bare name
    name_key    TEXT    NOT NULL,
    user        INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    position    INTEGER NOT NULL,               -- 0 is the one the user is known by
    domain      TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    PRIMARY KEY (domain_key, name_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX logins_of_user ON logins (user);

-- A user without a row has never changed the list and is at version 1.
CREATE TABLE contact_lists (
    user       INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    delta_num  INTEGER NOT NULL
) STRICT;

-- Group 1 has no row: it is the same for everyone.
CREATE TABLE contact_groups (
    user          INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    id            INTEGER NOT NULL,
    name          TEXT    NOT NULL,
    external_uri  TEXT    NOT NULL,
    PRIMARY KEY (user, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE contacts (
    position      INTEGER PRIMARY KEY AUTOINCREMENT, -- the order in which they were added
    user          INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    aor           TEXT    NOT NULL,
    name          TEXT    NOT NULL,
    groups        TEXT    NOT NULL,                  -- ids with a blank between
    subscribed    INTEGER NOT NULL,
    external_uri  TEXT    NOT NULL,
    extension     TEXT    NOT NULL,
    UNIQUE (user, aor)
) STRICT;

CREATE TABLE pool_sites (
    pool  TEXT PRIMARY KEY,                     -- FQDN, lower case
    site  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE policies (
    scope    TEXT NOT NULL CHECK (scope IN ('global', 'site', 'user')),
    subject  TEXT NOT NULL,                     -- '', the site, the user's address
    grp      TEXT NOT NULL,                     -- provisioning group, case as on the wire
    name     TEXT NOT NULL,
    value    TEXT NOT NULL,
    PRIMARY KEY (scope, subject, grp, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE dial_plans (
    key                     TEXT PRIMARY KEY,   -- the name in lower case
    name                    TEXT    NOT NULL,
    is_global               INTEGER NOT NULL,
    external_access_prefix  TEXT
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX one_global_dial_plan ON dial_plans (is_global) WHERE is_global;

CREATE TABLE dial_plan_rules (
    plan                TEXT    NOT NULL REFERENCES dial_plans (key) ON DELETE CASCADE,
    position            INTEGER NOT NULL,
    pattern             TEXT    NOT NULL,
    translation         TEXT    NOT NULL,
    internal_extension  INTEGER NOT NULL,
    PRIMARY KEY (plan, position)
) STRICT, WITHOUT ROWID;
",
    r"
-- What users published that does not end with their endpoints.
CREATE TABLE presence_publications (
    position   INTEGER PRIMARY KEY AUTOINCREMENT,    -- the order in which they were published
    user       INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    category   TEXT    NOT NULL,
    instance   INTEGER NOT NULL,
    container  INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    published  INTEGER NOT NULL,                     -- seconds since 1970
    expires    INTEGER,                              -- seconds after that; NULL: never
    value      TEXT    NOT NULL,
    UNIQUE (user, category, instance, container)
) STRICT;

-- Containers whose members were ever changed; the others are as every user has them.
CREATE TABLE presence_containers (
    user     INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    id       INTEGER NOT NULL,
    version  INTEGER NOT NULL,
    members  TEXT    NOT NULL,                       -- one a line: type, blank, value
    PRIMARY KEY (user, id)
) STRICT, WITHOUT ROWID;

-- Who added a user.
CREATE TABLE presence_subscribers (
    user          INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    aor           TEXT    NOT NULL,
    display_name  TEXT    NOT NULL,
    acknowledged  INTEGER NOT NULL,
    PRIMARY KEY (user, aor)
) STRICT, WITHOUT ROWID;

CREATE TABLE presence_subscriber_lists (
    user     INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    version  INTEGER NOT NULL
) STRICT;
",
    r"
-- User certificates that count, and those that no longer do.
CREATE TABLE certificates (
    position     INTEGER PRIMARY KEY AUTOINCREMENT, -- the order in which they were published
    user         INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    device       TEXT    NOT NULL,                  -- GUID, lower case, without braces
    fingerprint  BLOB    NOT NULL UNIQUE,           -- SHA-256 of the certificate
    not_after    INTEGER NOT NULL,                  -- seconds since 1970
    revoked_at   INTEGER,                           -- seconds since 1970; NULL: it counts
    certificate  BLOB    NOT NULL,                  -- DER
    UNIQUE (user, device)
) STRICT;
",
    r"
ALTER TABLE dial_plans ADD COLUMN optimize_device_dialing INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dial_plan_rules ADD COLUMN device_dialing INTEGER NOT NULL DEFAULT 0;

-- The dial plan of users homed on a site who have none of their own.
CREATE TABLE site_dial_plans (
    site  TEXT PRIMARY KEY,
    plan  TEXT NOT NULL REFERENCES dial_plans (key) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
",
    r"
-- The realm whose KDC asks this store; no row: none does, and no keys are kept.
CREATE TABLE kerberos_realm (
    only   INTEGER PRIMARY KEY CHECK (only = 1) DEFAULT 1,
    realm  TEXT NOT NULL
) STRICT;

-- Keys of passwords.
CREATE TABLE kerberos_keys (
    user     INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    type     INTEGER NOT NULL,                  -- encryption type, RFC 3961
    version  INTEGER NOT NULL,                  -- one more with each password
    salt     TEXT    NOT NULL,
    key      BLOB    NOT NULL,
    PRIMARY KEY (user, type)
) STRICT, WITHOUT ROWID;
",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writer_is_durable_and_the_reader_cannot_write() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("users.db");
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let writer = open_for_writing(&path, flags).expect("a new file");
        let pragma = |name: &str| -> String {
            writer
                .query_row(&format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}"), [], |row| row.get(0))
                .expect(name)
        };
        assert_eq!(pragma("journal_mode"), "wal");
        assert_eq!(pragma("synchronous"), "2", "FULL: every commit is on the disk before it is acknowledged");
        assert_eq!(pragma("foreign_keys"), "1");

        let reader = open_for_reading(&path, flags).expect("the same file");
        for conn in [&writer, &reader] {
            assert_eq!(conn.db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG), Ok(true), "plans do not follow values");
        }
        let sites = || reader.query_row("SELECT count(*) FROM pool_sites", [], |row| row.get::<_, i64>(0));
        assert_eq!(sites(), Ok(0));
        reader.execute("INSERT INTO pool_sites VALUES ('pool1', 'Redmond')", []).expect_err("it is for reading");
    }

    #[test]
    fn a_file_of_the_first_version_keeps_its_users() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("users.db");
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let old = Connection::open_with_flags(&path, flags).expect("a new file");
        old.execute_batch("CREATE TABLE schema_version (version INTEGER PRIMARY KEY) STRICT").expect("a table");
        old.execute_batch(MIGRATIONS[0]).expect("the first version");
        old.execute_batch(
            "INSERT INTO schema_version VALUES (1);
             INSERT INTO users (aor, display_name, enabled, sip_enabled, remote_access) VALUES ('a@b.test', 'A', 1, 1, 1)",
        )
        .expect("a user");
        drop(old);
        let new = open_for_writing(&path, flags).expect("it is brought up to date");
        let users = |table: &str| -> i64 {
            new.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).expect(table)
        };
        assert_eq!((users("users"), users("certificates")), (1, 0));
    }

    #[test]
    fn a_file_of_the_first_version_keeps_its_dial_plans() {
        let mut conn = Connection::open_in_memory().expect("a database");
        conn.execute_batch(MIGRATIONS[0]).expect("the first version");
        conn.execute_batch(
            "CREATE TABLE schema_version (version INTEGER PRIMARY KEY) STRICT; INSERT INTO schema_version VALUES (1);
             INSERT INTO dial_plans VALUES ('redmond', 'Redmond', 1, '9');
             INSERT INTO dial_plan_rules VALUES ('redmond', 0, '^(1..)$', '+1$1', 1);",
        )
        .expect("a plan");
        assert!(matches!(migrate(&mut conn), Ok(Migrated::UpToDate)));
        let flags = "SELECT optimize_device_dialing, device_dialing, internal_extension FROM dial_plans \
                     JOIN dial_plan_rules ON plan = key";
        let found = conn.query_row(flags, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        assert_eq!(found, Ok((false, false, true)));
    }

    #[test]
    fn migrations_are_made_once() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("users.db");
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        for _ in 0..2 {
            let writer = open_for_writing(&path, flags).expect("an old or a new file");
            let versions: i64 =
                writer.query_row("SELECT count(*) FROM schema_version", [], |row| row.get(0)).expect("the versions");
            assert_eq!(versions, latest());
        }
    }
}
