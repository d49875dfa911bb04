//! `admin contacts`: contact lists of users, shown, and as files of other programs, in and out.

use super::{Told, address, known, table, yes_no};
use clap::{Subcommand, ValueEnum};
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use serde_json::json;
use signin::name::Aor;
use signin::provision::contacts::{Contact, ContactList};
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use store::{ContactFormat, ImportMode, ImportedContacts, Remark, Store, read_contacts, write_contacts};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// The contacts of a user and their groups
    Show {
        /// Whose
        #[arg(value_parser = address)]
        user: Aor,
    },
    /// Writes the contacts of a user to a file
    Export {
        /// Whose
        #[arg(value_parser = address)]
        user: Aor,
        /// Where to; `-` for standard output
        #[arg(default_value = "-")]
        file: PathBuf,
        /// The form of the file [default: what its name ends in, or a table]
        #[arg(long, value_enum)]
        format: Option<Format>,
    },
    /// Takes contacts from a file into the list of a user. Lines that cannot be taken are named, and the exit status is
    /// 20 then
    Import {
        /// Whose
        #[arg(value_parser = address)]
        user: Aor,
        /// A table or vCards; `-` for standard input
        file: PathBuf,
        /// The form of the file [default: what it begins with]
        #[arg(long, value_enum)]
        format: Option<Format>,
        /// The list becomes what the file says; without this, contacts that are there stay
        #[arg(long)]
        replace: bool,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Format {
    /// A table, with a comma between the columns
    Csv,
    /// vCard 3.0
    Vcard3,
    /// vCard 4.0
    Vcard4,
}

impl From<Format> for ContactFormat {
    fn from(format: Format) -> ContactFormat {
        match format {
            Format::Csv => ContactFormat::Csv,
            Format::Vcard3 => ContactFormat::VCard3,
            Format::Vcard4 => ContactFormat::VCard4,
        }
    }
}

/// A longer file is no contact list: ten thousand contacts take two megabytes.
const LONGEST: u64 = 16 * 1024 * 1024;

/// Carries out a verb. `false` beside what is told: something of a file was not taken.
pub(super) fn run(store: &Store, verb: Verb) -> Result<(Told, bool)> {
    match verb {
        Verb::Show { user } => Ok((show(&user, &list(store, &user)?), true)),
        Verb::Export { user, file, format } => {
            let told = export(&user, &list(store, &user)?, &file, format.map(ContactFormat::from))?;
            Ok((told, true))
        }
        Verb::Import { user, file, format, replace } => {
            let mode = if replace { ImportMode::Replace } else { ImportMode::Merge };
            import(store, &user, &file, format.map(ContactFormat::from), mode)
        }
    }
}

fn list(store: &Store, user: &Aor) -> Result<ContactList> {
    known(store, user)?;
    store.contact_list(user).into_diagnostic()
}

fn group_names(list: &ContactList, contact: &Contact) -> Vec<String> {
    contact.groups.iter().filter_map(|id| list.group(*id)).map(|group| group.name.clone()).collect()
}

fn show(user: &Aor, list: &ContactList) -> Told {
    let row = |contact: &Contact| {
        let groups = group_names(list, contact).join(", ");
        vec![contact.aor.to_string(), contact.name.clone(), yes_no(contact.subscribed).to_owned(), groups]
    };
    let entry = |contact: &Contact| {
        json!({
            "address": contact.aor.as_str(), "name": contact.name, "subscribed": contact.subscribed,
            "groups": group_names(list, contact),
        })
    };
    let rows: Vec<_> = list.contacts.iter().map(row).collect();
    Told {
        text: table(&["address", "name", "presence", "groups"], &rows),
        json: json!({
            "address": user.as_str(),
            "groups": list.groups.iter().map(|group| &group.name).collect::<Vec<_>>(),
            "contacts": list.contacts.iter().map(entry).collect::<Vec<_>>(),
        }),
    }
}

fn export(user: &Aor, list: &ContactList, file: &Path, format: Option<ContactFormat>) -> Result<Told> {
    let by_name = || ContactFormat::of_file_name(&file.to_string_lossy());
    let text = write_contacts(list, format.or_else(by_name).unwrap_or(ContactFormat::Csv));
    if file == Path::new("-") {
        return Ok(Told { json: json!({ "file": text }), text });
    }
    write_new(file, &text).into_diagnostic().wrap_err_with(|| format!("cannot write {}", file.display()))?;
    Ok(Told::done(format!("{} contacts of {user} are in {}", list.contacts.len(), file.display())))
}

/// Whom somebody knows is nobody else's business.
fn write_new(file: &Path, text: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)?.write_all(text.as_bytes())
}

fn import(
    store: &Store,
    user: &Aor,
    file: &Path,
    format: Option<ContactFormat>,
    mode: ImportMode,
) -> Result<(Told, bool)> {
    known(store, user)?;
    let bytes = read(file)?;
    let contents = read_contacts(&bytes, format);
    if contents.contacts.is_empty() && contents.groups.is_empty() {
        let first = contents.remarks.first().map(|remark| format!("{remark}")).unwrap_or_default();
        return Err(miette!(
            help = "a table has a row for each contact, with the address first or under the heading `address`; \
                    `signpost admin contacts export` shows one",
            "there is no contact in {}; nothing was changed. {first}",
            file.display()
        ));
    }
    let done = store.import_contacts(user, contents, mode).wait().into_diagnostic()?;
    let whole = !done.remarks.iter().any(|remark| remark.lost);
    Ok((imported(user, &done), whole))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().take(LONGEST + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(LONGEST + 1).read_to_end(&mut bytes))
    };
    let length = read.into_diagnostic().wrap_err_with(|| format!("cannot read {}", file.display()))?;
    if u64::try_from(length).unwrap_or(u64::MAX) > LONGEST {
        return Err(miette!("{} is longer than {} MiB and was not read", file.display(), LONGEST / 1024 / 1024));
    }
    Ok(bytes)
}

fn imported(user: &Aor, done: &ImportedContacts) -> Told {
    let mut text = String::new();
    for remark in &done.remarks {
        let _ = writeln!(text, "{} {remark}", if remark.lost { "not taken:" } else { "note:" });
    }
    let ImportedContacts { added, changed, unchanged, removed, groups_added, .. } = done;
    let _ = writeln!(
        text,
        "contacts of {user}: {added} added, {changed} changed, {unchanged} as they were, {removed} removed; \
         {groups_added} new groups"
    );
    let remark = |remark: &Remark| json!({ "line": remark.line, "lost": remark.lost, "what": remark.what });
    Told {
        text,
        json: json!({
            "address": user.as_str(), "added": added, "changed": changed, "unchanged": unchanged, "removed": removed,
            "groups_added": groups_added, "remarks": done.remarks.iter().map(remark).collect::<Vec<_>>(),
        }),
    }
}
