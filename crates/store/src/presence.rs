//! What outlives the endpoints of a user's presence, as rows: publications, containers, subscribers.

use crate::users::malformed;
use rusqlite::{Connection, OptionalExtension, params};
use signin::name::Aor;
use signin::provision::presence::kept::{Keep, KeptPresence, KeptPublication, PublicationKey};
use signin::provision::presence::message::{ContainerEntry, ExpireType, Member, SubscriberEntry};

/// What is kept of a user; nothing for somebody who is not there.
pub(crate) fn load(conn: &Connection, aor: &Aor) -> rusqlite::Result<KeptPresence> {
    let Some(user) = crate::users::id_of(conn, aor)? else { return Ok(KeptPresence::default()) };
    let version = conn
        .prepare_cached("SELECT version FROM presence_subscriber_lists WHERE user = ?1")?
        .query_row([user], |row| row.get(0));
    Ok(KeptPresence {
        publications: load_publications(conn, user)?,
        containers: load_containers(conn, user)?,
        subscribers: load_subscribers(conn, user)?,
        subscribers_version: version.optional()?.unwrap_or(0),
    })
}

/// The same in one snapshot.
pub(crate) fn load_consistently(conn: &mut Connection, aor: &Aor) -> rusqlite::Result<KeptPresence> {
    let snapshot = conn.transaction()?;
    let kept = load(&snapshot, aor)?;
    snapshot.finish()?;
    Ok(kept)
}

fn load_publications(conn: &Connection, user: i64) -> rusqlite::Result<Vec<KeptPublication>> {
    conn.prepare_cached(
        "SELECT category, instance, container, version, published, expires, value FROM presence_publications \
         WHERE user = ?1 ORDER BY position",
    )?
    .query_map([user], |row| {
        Ok(KeptPublication {
            key: PublicationKey { category: row.get(0)?, instance: row.get(1)?, container: row.get(2)? },
            version: row.get(3)?,
            published: row.get(4)?,
            expire: row.get::<_, Option<u32>>(5)?.map_or(ExpireType::Static, ExpireType::Time),
            xml: row.get(6)?,
        })
    })?
    .collect()
}

fn load_containers(conn: &Connection, user: i64) -> rusqlite::Result<Vec<ContainerEntry>> {
    conn.prepare_cached("SELECT id, version, members FROM presence_containers WHERE user = ?1 ORDER BY id")?
        .query_map([user], |row| {
            let members: String = row.get(2)?;
            Ok(ContainerEntry {
                id: row.get(0)?,
                version: row.get(1)?,
                members: parse_members(&members).ok_or_else(|| malformed(2, NotMembers))?,
            })
        })?
        .collect()
}

fn load_subscribers(conn: &Connection, user: i64) -> rusqlite::Result<Vec<SubscriberEntry>> {
    conn.prepare_cached("SELECT aor, display_name, acknowledged FROM presence_subscribers WHERE user = ?1")?
        .query_map([user], |row| {
            let address: String = row.get(0)?;
            Ok(SubscriberEntry {
                aor: address.parse().map_err(|error| malformed(0, error))?,
                display_name: row.get(1)?,
                acknowledged: row.get(2)?,
            })
        })?
        .collect()
}

/// Writes one change.
pub(crate) fn write(conn: &Connection, user: i64, change: &Keep) -> rusqlite::Result<()> {
    match change {
        Keep::Publication(publication) => put_publication(conn, user, publication),
        Keep::NoPublication(key) => {
            conn.prepare_cached(
                "DELETE FROM presence_publications WHERE user = ?1 AND category = ?2 AND instance = ?3 \
                 AND container = ?4",
            )?
            .execute(params![user, key.category, key.instance, key.container])?;
            Ok(())
        }
        Keep::Container(container) => {
            conn.prepare_cached(
                "INSERT INTO presence_containers (user, id, version, members) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (user, id) DO UPDATE SET version = excluded.version, members = excluded.members",
            )?
            .execute(params![user, container.id, container.version, print_members(&container.members)])?;
            Ok(())
        }
        Keep::Subscriber(subscriber, version) => put_subscriber(conn, user, subscriber, *version),
    }
}

/// Replaced, not updated: so its place in the order is that of the newest.
fn put_publication(conn: &Connection, user: i64, publication: &KeptPublication) -> rusqlite::Result<()> {
    let expires = match publication.expire {
        ExpireType::Time(seconds) => Some(seconds),
        ExpireType::Static | ExpireType::Endpoint | ExpireType::User => None,
    };
    conn.prepare_cached(
        "INSERT OR REPLACE INTO presence_publications \
         (user, category, instance, container, version, published, expires, value) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        user,
        publication.key.category,
        publication.key.instance,
        publication.key.container,
        publication.version,
        publication.published,
        expires,
        publication.xml,
    ])?;
    Ok(())
}

fn put_subscriber(conn: &Connection, user: i64, subscriber: &SubscriberEntry, version: u32) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO presence_subscribers (user, aor, display_name, acknowledged) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (user, aor) DO UPDATE SET display_name = excluded.display_name, \
         acknowledged = excluded.acknowledged",
    )?
    .execute(params![user, subscriber.aor.as_str(), subscriber.display_name, subscriber.acknowledged])?;
    conn.prepare_cached(
        "INSERT INTO presence_subscriber_lists (user, version) VALUES (?1, ?2) \
         ON CONFLICT (user) DO UPDATE SET version = excluded.version",
    )?
    .execute(params![user, version])?;
    Ok(())
}

#[derive(Debug, thiserror::Error)]
#[error("not the members of a container")]
struct NotMembers;

/// One a line: type, blank, value.
fn print_members(members: &[Member]) -> String {
    let line = |member: &Member| {
        let (kind, value) = member.parts();
        format!("{kind} {value}")
    };
    members.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn parse_members(text: &str) -> Option<Vec<Member>> {
    text.lines().map(|line| line.split_once(' ').and_then(|(kind, value)| Member::of(kind, value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_as_written() {
        let members = vec![
            Member::User("bob@contoso.test".parse().expect("an address")),
            Member::Domain("fabrikam.test".to_owned()),
            Member::SameEnterprise,
            Member::Everyone,
        ];
        assert_eq!(print_members(&members), "user bob@contoso.test\ndomain fabrikam.test\nsameEnterprise \neveryone ");
        assert_eq!(parse_members(&print_members(&members)), Some(members));
        assert_eq!(parse_members(""), Some(Vec::new()));
        assert_eq!(parse_members("user"), None);
    }
}
