//! Contact lists as rows: one list read whole, one edit written as the one row it touches.

use crate::edit::Touched;
use crate::users::malformed;
use rusqlite::{Connection, OptionalExtension, params};
use signin::name::Aor;
use signin::provision::contacts::{Contact, ContactList, Group};

/// The list of a user; the empty one for a user who has changed nothing yet, or who does not exist.
pub(crate) fn load(conn: &Connection, aor: &Aor) -> rusqlite::Result<ContactList> {
    let mut list = ContactList::empty();
    let head: Option<(i64, u32)> = conn
        .prepare_cached(
            "SELECT users.id, delta_num FROM users JOIN contact_lists ON contact_lists.user = users.id WHERE aor = ?1",
        )?
        .query_row([aor.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((user, delta_num)) = head else { return Ok(list) };
    list.delta_num = delta_num;

    let mut statement =
        conn.prepare_cached("SELECT id, name, external_uri FROM contact_groups WHERE user = ?1 ORDER BY id")?;
    let groups = statement
        .query_map([user], |row| Ok(Group { id: row.get(0)?, name: row.get(1)?, external_uri: row.get(2)? }))?;
    for group in groups {
        list.groups.push(group?);
    }

    let mut statement = conn.prepare_cached(
        "SELECT aor, name, groups, subscribed, external_uri, extension FROM contacts WHERE user = ?1 ORDER BY position",
    )?;
    let contacts = statement.query_map([user], |row| {
        let address: String = row.get(0)?;
        let groups: String = row.get(2)?;
        Ok(Contact {
            aor: address.parse().map_err(|error| malformed(0, error))?,
            name: row.get(1)?,
            groups: parse_groups(&groups).map_err(|error| malformed(2, error))?,
            subscribed: row.get(3)?,
            external_uri: row.get(4)?,
            extension: row.get(5)?,
        })
    })?;
    for contact in contacts {
        list.contacts.push(contact?);
    }
    Ok(list)
}

/// A list and what makes it one: everything in it is read in one snapshot.
pub(crate) fn load_consistently(conn: &mut Connection, aor: &Aor) -> rusqlite::Result<ContactList> {
    let snapshot = conn.transaction()?;
    let list = load(&snapshot, aor)?;
    snapshot.finish()?;
    Ok(list)
}

/// Writes what one edit touched, and the version after it.
pub(crate) fn write(conn: &Connection, user: i64, touched: &Touched, delta_num: u32) -> rusqlite::Result<()> {
    match touched {
        Touched::Contact(contact) => put_contact(conn, user, contact)?,
        Touched::NoContact(aor) => {
            conn.prepare_cached("DELETE FROM contacts WHERE user = ?1 AND aor = ?2")?
                .execute(params![user, aor.as_str()])?;
        }
        Touched::Group(group) => put_group(conn, user, group)?,
        Touched::NoGroup(id) => {
            conn.prepare_cached("DELETE FROM contact_groups WHERE user = ?1 AND id = ?2")?
                .execute(params![user, id])?;
        }
    }
    put_delta_num(conn, user, delta_num)
}

/// Replaces a whole list.
pub(crate) fn replace(conn: &Connection, user: i64, list: &ContactList) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM contacts WHERE user = ?1")?.execute([user])?;
    conn.prepare_cached("DELETE FROM contact_groups WHERE user = ?1")?.execute([user])?;
    for group in list.groups.iter().filter(|group| group.id != signin::provision::contacts::DEFAULT_GROUP) {
        put_group(conn, user, group)?;
    }
    for contact in &list.contacts {
        put_contact(conn, user, contact)?;
    }
    put_delta_num(conn, user, list.delta_num)
}

fn put_contact(conn: &Connection, user: i64, contact: &Contact) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO contacts (user, aor, name, groups, subscribed, external_uri, extension) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
         ON CONFLICT (user, aor) DO UPDATE SET name = excluded.name, groups = excluded.groups, \
         subscribed = excluded.subscribed, external_uri = excluded.external_uri, extension = excluded.extension",
    )?
    .execute(params![
        user,
        contact.aor.as_str(),
        contact.name,
        print_groups(&contact.groups),
        contact.subscribed,
        contact.external_uri,
        contact.extension,
    ])?;
    Ok(())
}

fn put_group(conn: &Connection, user: i64, group: &Group) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO contact_groups (user, id, name, external_uri) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (user, id) DO UPDATE SET name = excluded.name, external_uri = excluded.external_uri",
    )?
    .execute(params![user, group.id, group.name, group.external_uri])?;
    Ok(())
}

fn put_delta_num(conn: &Connection, user: i64, delta_num: u32) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO contact_lists (user, delta_num) VALUES (?1, ?2) \
         ON CONFLICT (user) DO UPDATE SET delta_num = excluded.delta_num",
    )?
    .execute(params![user, delta_num])?;
    Ok(())
}

fn print_groups(groups: &[u32]) -> String {
    groups.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
}

fn parse_groups(text: &str) -> Result<Vec<u32>, std::num::ParseIntError> {
    text.split_ascii_whitespace().map(str::parse).collect()
}
