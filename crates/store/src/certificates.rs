//! Published user certificates as rows.
//!
//! They are read from the file and not from memory: so a certificate that another process revokes (the `admin` verb) is
//! refused from that moment on.

use crate::receipt::Receipt;
use crate::store::Store;
use crate::users::malformed;
use crate::writer::{Batch, unavailable};
use mechanism::user_certificate::Fingerprint;
use rusqlite::{Connection, OptionalExtension, Row, params};
use signin::authenticate::certificate::published::{
    CERTIFICATES_PER_USER, Publication, Published, PublishedCertificates,
};
use signin::directory::DirectoryError;
use signin::io::Pending;
use signin::name::Aor;
use std::future::ready;
use uuid::Uuid;

impl Store {
    /// Publishes a certificate, as [`PublishedCertificates::publish`] says.
    pub fn publish_certificate(&self, publication: Publication) -> Receipt<(), DirectoryError> {
        self.writer.submit(move |batch| publish(batch, &publication))
    }

    /// Every certificate of a user, oldest first.
    pub fn certificates(&self, aor: &Aor) -> Result<Vec<Published>, DirectoryError> {
        self.read(|conn| list(conn, aor))
    }

    /// Revokes the certificate of one device, or all of a user's, at `now` (seconds since 1970). Gives how many.
    pub fn revoke_certificates(&self, aor: &Aor, device: Option<Uuid>, now: i64) -> Receipt<usize, DirectoryError> {
        let aor = aor.clone();
        self.writer.submit(move |batch| revoke(batch.tables(), &aor, device, now).map_err(unavailable))
    }
}

impl PublishedCertificates for Store {
    fn publish(&self, publication: Publication) -> Pending<'_, Result<(), DirectoryError>> {
        Box::pin(self.publish_certificate(publication))
    }

    fn find(&self, fingerprint: &Fingerprint) -> Pending<'_, Result<Option<Published>, DirectoryError>> {
        Box::pin(ready(self.read(|conn| find(conn, fingerprint))))
    }

    fn list(&self, aor: &Aor) -> Pending<'_, Result<Vec<Published>, DirectoryError>> {
        Box::pin(ready(self.certificates(aor)))
    }

    fn revoke(&self, aor: &Aor, device: Option<Uuid>, now: i64) -> Pending<'_, Result<usize, DirectoryError>> {
        Box::pin(self.revoke_certificates(aor, device, now))
    }
}

fn publish(batch: &mut Batch<'_>, publication: &Publication) -> Result<(), DirectoryError> {
    let Some(user) = batch.owner(&publication.aor).map_err(unavailable)? else {
        return Err(DirectoryError::failed(format!("there is no user {}", publication.aor)));
    };
    insert(batch.tables(), user, publication).map_err(unavailable)
}

fn insert(conn: &Connection, user: i64, publication: &Publication) -> rusqlite::Result<()> {
    let device = publication.device.to_string();
    conn.prepare_cached("DELETE FROM certificates WHERE user = ?1 AND device = ?2")?.execute(params![user, device])?;
    conn.prepare_cached(
        "INSERT INTO certificates (user, device, fingerprint, not_after, certificate) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        user,
        device,
        publication.fingerprint().as_bytes(),
        publication.not_after,
        publication.certificate,
    ])?;
    conn.prepare_cached(
        "DELETE FROM certificates WHERE user = ?1 AND position NOT IN \
         (SELECT position FROM certificates WHERE user = ?1 ORDER BY position DESC LIMIT ?2)",
    )?
    .execute(params![user, CERTIFICATES_PER_USER as i64])?;
    Ok(())
}

const COLUMNS: &str = "aor, device, fingerprint, not_after, revoked_at FROM certificates \
                       JOIN users ON users.id = certificates.user";

fn find(conn: &Connection, fingerprint: &Fingerprint) -> rusqlite::Result<Option<Published>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} WHERE fingerprint = ?1"))?
        .query_row([fingerprint.as_bytes()], published)
        .optional()
}

fn list(conn: &Connection, aor: &Aor) -> rusqlite::Result<Vec<Published>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} WHERE aor = ?1 ORDER BY position"))?
        .query_map([aor.as_str()], published)?
        .collect()
}

fn revoke(conn: &Connection, aor: &Aor, device: Option<Uuid>, now: i64) -> rusqlite::Result<usize> {
    conn.prepare_cached(
        "UPDATE certificates SET revoked_at = ?3 WHERE user = (SELECT id FROM users WHERE aor = ?1) \
         AND (?2 IS NULL OR device = ?2) AND revoked_at IS NULL",
    )?
    .execute(params![aor.as_str(), device.map(|device| device.to_string()), now])
}

fn published(row: &Row<'_>) -> rusqlite::Result<Published> {
    let aor: String = row.get(0)?;
    let device: String = row.get(1)?;
    Ok(Published {
        aor: aor.parse().map_err(|error| malformed(0, error))?,
        device: device.parse().map_err(|error| malformed(1, error))?,
        fingerprint: Fingerprint::from_bytes(row.get(2)?),
        not_after: row.get(3)?,
        revoked_at: row.get(4)?,
    })
}
