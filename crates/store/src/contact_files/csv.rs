//! Contact lists as tables. RFC 4180.
//!
//! One row a contact: `address,name,groups,subscribed,external_uri,extension`. Groups have a `;` between them; a `;` or
//! `\` in a name has a `\` before it. A row with nothing but `groups` (and perhaps `external_uri`) is a group.
//!
//! Read leniently: with or without the row of names, columns in any order and by the names other programs give them,
//! comma, semicolon or tab. A quote that is never closed costs its row, not the rows after it.

use super::{ContactFile, FileContact, FileGroup, MOST_LOST, group_names, read_flag};
use signin::name::Aor;
use signin::provision::contacts::{ContactList, DEFAULT_GROUP};
use std::borrow::Cow;

/// A column this program knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Address,
    Name,
    Groups,
    Subscribed,
    ExternalUri,
    Extension,
}

/// In the order written, each with the names it goes by; the first is ours. Of several columns that could be the
/// address, the name that stands first here wins.
const COLUMNS: [(Column, &[&str]); 6] = [
    (
        Column::Address,
        &[
            "address",
            "sip address",
            "sip",
            "sip uri",
            "sipaddress",
            "im address",
            "uri",
            "e-mail address",
            "email",
            "e-mail",
            "email address",
            "mail",
        ],
    ),
    (Column::Name, &["name", "display name", "displayname", "full name", "fullname"]),
    (Column::Groups, &["groups", "group", "categories", "category"]),
    (Column::Subscribed, &["subscribed"]),
    (Column::ExternalUri, &["external_uri", "externaluri", "external uri"]),
    (Column::Extension, &["extension", "contactextension"]),
];

/// Writes a contact list.
pub(crate) fn write(list: &ContactList) -> String {
    let mut table = String::new();
    let mut row = |cells: [&str; 6]| {
        let cells: Vec<Cow<'_, str>> = cells.iter().map(|cell| quoted(cell)).collect();
        table.push_str(&cells.join(","));
        table.push_str("\r\n");
    };
    row(COLUMNS.map(|(_, names)| names[0]));
    for group in list.groups.iter().filter(|group| group.id != DEFAULT_GROUP) {
        row(["", "", &escaped(group.name.trim()), "", &group.external_uri, ""]);
    }
    for contact in &list.contacts {
        let groups: Vec<String> = group_names(list, contact).into_iter().map(escaped).collect();
        let subscribed = if contact.subscribed { "true" } else { "false" };
        let (address, extension) = (contact.aor.as_str(), &contact.extension);
        row([address, &contact.name, &groups.join(";"), subscribed, &contact.external_uri, extension]);
    }
    table
}

fn quoted(cell: &str) -> Cow<'_, str> {
    let plain = !cell.contains([',', ';', '\t', '"', '\r', '\n']) && cell.trim() == cell;
    if plain { Cow::Borrowed(cell) } else { Cow::Owned(format!("\"{}\"", cell.replace('"', "\"\""))) }
}

fn escaped(name: &str) -> String {
    name.replace('\\', "\\\\").replace(';', "\\;")
}

/// The names between unescaped semicolons, without the blanks around them; empty ones are none.
fn split_groups(cell: &str) -> Vec<String> {
    let mut names = vec![String::new()];
    let mut chars = cell.chars();
    while let Some(c) = chars.next() {
        match (c, names.last_mut()) {
            (';', _) => names.push(String::new()),
            ('\\', Some(name)) => name.extend(chars.next()),
            (c, Some(name)) => name.push(c),
            (_, None) => {}
        }
    }
    names.into_iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// Reads a table.
pub(crate) fn read(lines: &[String], file: &mut ContactFile) {
    let mut at = 0;
    let mut delimiter = None;
    if let Some(declared) = lines.first().and_then(|line| line.trim().strip_prefix("sep=")) {
        delimiter = declared.chars().next();
        at = 1;
    }
    let delimiter = delimiter.unwrap_or_else(|| likely_delimiter(lines));
    let mut columns: Option<Vec<Option<Column>>> = None;
    let mut lost = 0;
    while at < lines.len() {
        let (record, next) = record(lines, at, delimiter);
        let (line, here) = (at + 1, std::mem::replace(&mut at, next));
        let cells = match record {
            Ok(cells) => cells,
            Err(why) => {
                file.lost(line, format!("{why}: {}", shown(&lines[here])));
                lost += 1;
                if lost >= MOST_LOST {
                    return file.lost(line, "nothing from here on was read: too many lines make no sense");
                }
                continue;
            }
        };
        if cells.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        match &columns {
            None => match header(&cells) {
                Some(named) => {
                    for (cell, _) in cells.iter().zip(&named).filter(|(cell, c)| c.is_none() && !cell.is_empty()) {
                        file.note(line, format!("the column {} is not used", shown(cell)));
                    }
                    columns = Some(named);
                }
                None => {
                    let ours: Vec<_> = COLUMNS.iter().map(|(column, _)| Some(*column)).collect();
                    lost += usize::from(!read_row(line, &cells, &ours, file));
                    columns = Some(ours);
                }
            },
            Some(columns) => lost += usize::from(!read_row(line, &cells, columns, file)),
        }
        if lost >= MOST_LOST {
            return file.lost(line, "nothing after this line was read: too many lines make no sense");
        }
    }
}

/// The columns a row of names stands for; `None` when the row is no such row.
fn header(cells: &[String]) -> Option<Vec<Option<Column>>> {
    if cells.iter().any(|cell| cell.parse::<Aor>().is_ok()) {
        return None;
    }
    let mut columns = vec![None; cells.len()];
    for (column, names) in COLUMNS {
        let place = |name: &&str| cells.iter().position(|cell| cell.trim().to_lowercase() == **name);
        if let Some(place) = names.iter().find_map(place)
            && let Some(free @ None) = columns.get_mut(place)
        {
            *free = Some(column);
        }
    }
    columns.contains(&Some(Column::Address)).then_some(columns)
}

/// Takes one row. `false`: it was lost.
fn read_row(line: usize, cells: &[String], columns: &[Option<Column>], file: &mut ContactFile) -> bool {
    let cell = |wanted: Column| {
        let place = columns.iter().position(|column| *column == Some(wanted));
        place.and_then(|place| cells.get(place)).map_or("", String::as_str)
    };
    if let Some(extra) = cells.get(columns.len()..).filter(|extra| extra.iter().any(|cell| !cell.is_empty())) {
        file.lost(line, format!("has more columns than there are: {}", shown(&extra.join(","))));
    }
    let groups = split_groups(cell(Column::Groups));
    let (address, name) = (cell(Column::Address).trim(), cell(Column::Name));
    if address.is_empty() && name.trim().is_empty() && !groups.is_empty() {
        let external_uri = cell(Column::ExternalUri);
        file.groups.extend(groups.into_iter().map(|name| FileGroup {
            line,
            name,
            external_uri: external_uri.to_owned(),
        }));
        return true;
    }
    let address = match address.parse::<Aor>() {
        Ok(address) => address,
        Err(why) => {
            let what =
                if address.is_empty() { "has no address".to_owned() } else { format!("{}: {why}", shown(address)) };
            file.lost(line, what);
            return false;
        }
    };
    let flag = cell(Column::Subscribed);
    let subscribed = read_flag(flag);
    if subscribed.is_none() && !flag.trim().is_empty() {
        file.note(line, format!("{} is neither true nor false; presence is subscribed", shown(flag)));
    }
    file.contacts.push(FileContact {
        line,
        address,
        name: name.to_owned(),
        groups,
        subscribed,
        external_uri: cell(Column::ExternalUri).to_owned(),
        extension: cell(Column::Extension).to_owned(),
    });
    true
}

/// The separator that is most frequent in the first row, outside quotes.
fn likely_delimiter(lines: &[String]) -> char {
    let first = lines.iter().find(|line| !line.trim().is_empty()).map_or("", String::as_str);
    let mut counts = [(',', 0), (';', 0), ('\t', 0)];
    let mut inside = false;
    for c in first.chars() {
        inside ^= c == '"';
        if let Some((_, count)) = counts.iter_mut().find(|(delimiter, _)| *delimiter == c && !inside) {
            *count += 1;
        }
    }
    // Of equals the first: max_by_key would give the last.
    counts.iter().rev().max_by_key(|(_, count)| *count).map_or(',', |(delimiter, _)| *delimiter)
}

/// No row has more bytes than this: a quote that is still open then was never meant as one.
const LONGEST: usize = 128 * 1024;

/// The record that begins on line `at`, or why there is none, and the line after it.
fn record(lines: &[String], at: usize, delimiter: char) -> (Result<Vec<String>, &'static str>, usize) {
    let mut cells = Vec::new();
    let mut cell = String::new();
    let mut quote = Quote::Before;
    let mut length = 0;
    for (number, line) in lines.iter().enumerate().skip(at) {
        length += line.len() + 1;
        if length > LONGEST {
            break;
        }
        for c in line.chars() {
            match (&quote, c) {
                (Quote::Inside, '"') => quote = Quote::After,
                (Quote::Inside, c) => cell.push(c),
                (Quote::After, '"') => {
                    cell.push('"');
                    quote = Quote::Inside;
                }
                (Quote::Before, '"') if cell.trim().is_empty() => {
                    cell.clear();
                    quote = Quote::Inside;
                }
                (Quote::Before | Quote::After, c) if c == delimiter => {
                    cells.push(finished(&mut cell, &quote));
                    quote = Quote::Before;
                }
                (Quote::After, ' ') => {}
                // Most likely the quote before was meant to open a cell, and one further up was never closed.
                (Quote::After, _) => return (Err("a quote is not closed where its cell ends"), at + 1),
                (Quote::Before, c) => cell.push(c),
            }
        }
        if !matches!(quote, Quote::Inside) {
            cells.push(finished(&mut cell, &quote));
            return (Ok(cells), number + 1);
        }
        cell.push('\n');
    }
    let why = if length > LONGEST {
        "the row is too long, or a quote in it is never closed"
    } else {
        "a quote is opened and never closed"
    };
    (Err(why), at + 1)
}

/// A cell without quotes has no blanks around it; between quotes they are meant.
fn finished(cell: &mut String, quote: &Quote) -> String {
    let cell = std::mem::take(cell);
    if matches!(quote, Quote::Before) { cell.trim().to_owned() } else { cell }
}

/// Where a reader is in a cell.
enum Quote {
    /// Before a quote, in a cell that may have none.
    Before,
    Inside,
    /// Behind a quote that may be the end of the cell or half of a doubled one.
    After,
}

/// A piece of a line, short enough for a message.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(60).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}
