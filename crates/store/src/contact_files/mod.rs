//! Contact lists as files: CSV (RFC 4180) and vCard 3 and 4 (RFC 2426, RFC 6350), written and read.
//!
//! Writing is exact: what was written is read back as the same contacts in the same groups. Reading is lenient, because
//! files come from spreadsheets, mail programs and telephones; whatever it cannot take it names with its line, and goes
//! on with the next one. Pure: text in, contacts out; [`Store::import_contacts`](crate::Store::import_contacts) enters
//! them.
//!
//! Groups go by their names, without the blanks around them; groups of one name become one. What a contact list has no
//! place for (telephone numbers, postal addresses, pictures) is passed over in silence.

pub(crate) mod csv;
mod import;
pub(crate) mod text;
pub(crate) mod vcard;

pub use import::{ImportMode, ImportedContacts};

use signin::name::Aor;
use signin::provision::contacts::{Contact, ContactList, DEFAULT_GROUP};

/// In which form contacts stand in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContactFormat {
    /// A table with a comma between the columns.
    Csv,
    /// vCard 3.0.
    VCard3,
    /// vCard 4.0.
    VCard4,
}

impl ContactFormat {
    /// The format a file name ends in; vCards are written in version 4.
    pub fn of_file_name(name: &str) -> Option<ContactFormat> {
        match name.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
            "csv" | "tsv" | "txt" => Some(ContactFormat::Csv),
            "vcf" | "vcard" => Some(ContactFormat::VCard4),
            _ => None,
        }
    }
}

/// What a file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContactFile {
    /// Groups that stand there by themselves, in order.
    pub groups: Vec<FileGroup>,
    /// Contacts, in order. One address may be there more than once.
    pub contacts: Vec<FileContact>,
    /// What could not be taken as it is, in order of lines.
    pub remarks: Vec<Remark>,
}

/// A group of a [`ContactFile`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileGroup {
    /// The line it begins on; the first is 1.
    pub line: usize,
    /// Its name, not empty.
    pub name: String,
    /// Its external URI, or empty.
    pub external_uri: String,
}

/// A contact of a [`ContactFile`]. What the file does not say is empty or `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileContact {
    /// The line it begins on; the first is 1.
    pub line: usize,
    /// Who.
    pub address: Aor,
    /// Name the user gave.
    pub name: String,
    /// Names of groups; `~` is the one every list has.
    pub groups: Vec<String>,
    /// Whether presence is subscribed.
    pub subscribed: Option<bool>,
    /// Its external URI.
    pub external_uri: String,
    /// XML of the client.
    pub extension: String,
}

/// Something about a line that whoever imports it should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The line; the first is 1.
    pub line: usize,
    /// Something of the line was not taken; otherwise it was taken in a way that may surprise.
    pub lost: bool,
    /// What and why.
    pub what: String,
}

impl std::fmt::Display for Remark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl ContactFile {
    /// Whether something in the file was not taken.
    pub fn lost_anything(&self) -> bool {
        self.remarks.iter().any(|remark| remark.lost)
    }

    pub(crate) fn lost(&mut self, line: usize, what: impl Into<String>) {
        self.remarks.push(Remark { line, lost: true, what: what.into() });
    }

    pub(crate) fn note(&mut self, line: usize, what: impl Into<String>) {
        self.remarks.push(Remark { line, lost: false, what: what.into() });
    }
}

/// Writes a contact list.
pub fn write_contacts(list: &ContactList, format: ContactFormat) -> String {
    match format {
        ContactFormat::Csv => csv::write(list),
        ContactFormat::VCard3 => vcard::write(list, vcard::Version::Three),
        ContactFormat::VCard4 => vcard::write(list, vcard::Version::Four),
    }
}

/// Reads contacts: UTF-8, UTF-16 with its mark, and, line by line, Windows-1252. Without a format, a file that begins
/// with a vCard has vCards, and any other is a table; which version a vCard has does not matter.
pub fn read_contacts(bytes: &[u8], format: Option<ContactFormat>) -> ContactFile {
    let mut file = ContactFile::default();
    let lines = text::lines(bytes, &mut file);
    let first = || lines.iter().map(|line| line.trim()).find(|line| !line.is_empty());
    let is_table = match format {
        Some(format) => format == ContactFormat::Csv,
        None => !first().is_some_and(|line| line.eq_ignore_ascii_case("BEGIN:VCARD")),
    };
    if is_table {
        csv::read(&lines, &mut file)
    } else {
        vcard::read(&lines, &mut file)
    }
    file.remarks.sort_by_key(|remark| remark.line);
    file
}

/// More lines than this that cannot be taken, and the file is given up: it is something else.
pub(crate) const MOST_LOST: usize = 1_000;

/// The names of the groups of a contact; none when it is only in the group every list has.
pub(crate) fn group_names<'a>(list: &'a ContactList, contact: &Contact) -> Vec<&'a str> {
    if contact.groups == [DEFAULT_GROUP] {
        return Vec::new();
    }
    contact.groups.iter().filter_map(|id| list.group(*id)).map(|group| group.name.trim()).collect()
}

/// Reads a yes or no as people write it.
pub(crate) fn read_flag(text: &str) -> Option<bool> {
    match text.trim().to_lowercase().as_str() {
        "true" | "yes" | "1" | "on" | "y" => Some(true),
        "false" | "no" | "0" | "off" | "n" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
