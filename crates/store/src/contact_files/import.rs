//! Contacts of a file into the contact list of a user: one change, durable when its receipt answers.
//!
//! Every entry goes through the same rules as a change by the user ([`edit`]); one that is refused is named with its
//! line, and the others are taken.

use super::{ContactFile, FileContact, Remark};
use crate::admin::AdminError;
use crate::edit::{self, ContactLimits, Touched};
use crate::receipt::Receipt;
use crate::store::Store;
use crate::{contacts, users};
use signin::directory::ChangeError;
use signin::name::Aor;
use signin::provision::contacts::{Contact, ContactChange, ContactList, DEFAULT_GROUP, Edit, Group};
use signin::provision::fragment;
use signin::xml::Element;
use std::collections::HashMap;

/// What becomes of the contacts that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportMode {
    /// They stay. What the file says of one of them holds from then on; what it does not say stays as it is.
    Merge,
    /// They go; the list is what the file says.
    Replace,
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImportedContacts {
    /// Contacts that are new.
    pub added: usize,
    /// Contacts that were there and are otherwise now.
    pub changed: usize,
    /// Contacts that were there and are as they were.
    pub unchanged: usize,
    /// Contacts that are gone.
    pub removed: usize,
    /// Groups that are new.
    pub groups_added: usize,
    /// What could not be taken as it is: what was read, and what was refused. In order of lines.
    pub remarks: Vec<Remark>,
}

impl Store {
    /// Takes the contacts of a file into a user's list. When nothing would change, the list keeps its version.
    pub fn import_contacts(
        &self,
        aor: &Aor,
        file: ContactFile,
        mode: ImportMode,
    ) -> Receipt<ImportedContacts, AdminError> {
        let aor = aor.clone();
        self.writer.submit(move |batch| {
            let user = users::id_of(batch.tables(), &aor)?.ok_or_else(|| AdminError::UnknownUser(aor.clone()))?;
            let before = batch.take_list(&aor)?;
            let (mut after, imported) = merged(&before, file, mode, batch.limits());
            if after.groups == before.groups && after.contacts == before.contacts {
                batch.keep_list(aor, before);
                return Ok(imported);
            }
            after.delta_num = edit::next_delta(before.delta_num);
            contacts::replace(batch.tables(), user, &after)?;
            batch.keep_list(aor, after);
            batch.administered();
            Ok(imported)
        })
    }
}

/// The list after the import.
pub(super) fn merged(
    before: &ContactList,
    file: ContactFile,
    mode: ImportMode,
    limits: &ContactLimits,
) -> (ContactList, ImportedContacts) {
    let list = match mode {
        ImportMode::Merge => before.clone(),
        ImportMode::Replace => ContactList::empty(),
    };
    let mut import = Import { list, limits, done: ImportedContacts { remarks: file.remarks, ..Default::default() } };
    for group in &file.groups {
        match import.group(&group.name) {
            Ok(id) => import.set_external_uri(group.line, id, &group.external_uri),
            Err(why) => import.lost(group.line, format!("the group {:?}: {why}", group.name)),
        }
    }
    for contact in united(file.contacts, &mut import.done.remarks) {
        import.contact(before, &contact);
    }
    let Import { list, mut done, .. } = import;
    done.removed = before.contacts.iter().filter(|contact| list.contact(&contact.aor).is_none()).count();
    done.groups_added = list.groups.iter().filter(|group| before.groups.iter().all(|g| g.name != group.name)).count();
    done.remarks.sort_by_key(|remark| remark.line);
    (list, done)
}

/// One entry for each address, in the order in which they first come: programs write a line for each group.
fn united(contacts: Vec<FileContact>, remarks: &mut Vec<Remark>) -> Vec<FileContact> {
    let mut places = HashMap::new();
    let mut united: Vec<FileContact> = Vec::with_capacity(contacts.len());
    for contact in contacts {
        let place = *places.entry(contact.address.clone()).or_insert(united.len());
        let Some(known) = united.get_mut(place) else {
            united.push(contact);
            continue;
        };
        for group in contact.groups {
            if !known.groups.contains(&group) {
                known.groups.push(group);
            }
        }
        let mut fill = |known: &mut String, line: usize, new: String, what: &str| {
            if known.is_empty() {
                *known = new;
            } else if !new.is_empty() && *known != new {
                let what = format!("{} has another {what} on line {line}, which was taken", contact.address);
                remarks.push(Remark { line: contact.line, lost: true, what });
            }
        };
        fill(&mut known.name, known.line, contact.name, "name");
        fill(&mut known.external_uri, known.line, contact.external_uri, "external URI");
        fill(&mut known.extension, known.line, contact.extension, "extension");
        known.subscribed = known.subscribed.or(contact.subscribed);
    }
    united
}

struct Import<'a> {
    list: ContactList,
    limits: &'a ContactLimits,
    done: ImportedContacts,
}

impl Import<'_> {
    fn lost(&mut self, line: usize, what: String) {
        self.done.remarks.push(Remark { line, lost: true, what });
    }

    fn apply(&mut self, edit: Edit) -> Result<Touched, ChangeError> {
        edit::apply(&mut self.list, ContactChange { delta_num: None, edit }, self.limits)
    }

    /// The group of this name, made when there is none.
    fn group(&mut self, name: &str) -> Result<u32, ChangeError> {
        if name == "~" {
            return Ok(DEFAULT_GROUP);
        }
        if let Some(known) =
            self.list.groups.iter().find(|group| group.id != DEFAULT_GROUP && group.name.trim() == name)
        {
            return Ok(known.id);
        }
        match self.apply(Edit::AddGroup { name: name.to_owned(), external_uri: String::new() })? {
            Touched::Group(group) => Ok(group.id),
            _ => Ok(DEFAULT_GROUP),
        }
    }

    fn set_external_uri(&mut self, line: usize, id: u32, external_uri: &str) {
        let Some(group) =
            self.list.group(id).filter(|group| !external_uri.is_empty() && group.external_uri != external_uri)
        else {
            return;
        };
        let group = Group { external_uri: external_uri.to_owned(), ..group.clone() };
        if let Err(why) = self.apply(Edit::ModifyGroup(group)) {
            self.lost(line, format!("the external URI of a group: {why}"));
        }
    }

    fn contact(&mut self, before: &ContactList, new: &FileContact) {
        let mut groups = Vec::new();
        for name in &new.groups {
            match self.group(name) {
                Ok(id) => groups.push(id),
                Err(why) => self.lost(new.line, format!("{} in the group {name:?}: {why}", new.address)),
            }
        }
        let known = self.list.contact(&new.address);
        let or_known = |given: &str, pick: fn(&Contact) -> &String| match known {
            Some(known) if given.is_empty() => pick(known).clone(),
            _ => given.to_owned(),
        };
        let contact = Contact {
            aor: new.address.clone(),
            name: or_known(&new.name, |known| &known.name),
            groups: known.filter(|_| groups.is_empty()).map_or(groups, |known| known.groups.clone()),
            subscribed: new.subscribed.unwrap_or_else(|| known.is_none_or(|known| known.subscribed)),
            external_uri: or_known(&new.external_uri, |known| &known.external_uri),
            extension: or_known(&new.extension, |known| &known.extension),
        };
        let set = with_clean_extension(contact).and_then(|contact| self.apply(Edit::SetContact(contact)));
        if let Err(why) = set {
            return self.lost(new.line, format!("{}: {why}", new.address));
        }
        match (before.contact(&new.address), self.list.contact(&new.address)) {
            (None, _) => self.done.added += 1,
            (Some(old), Some(now)) if old == now => self.done.unchanged += 1,
            (Some(_), _) => self.done.changed += 1,
        }
    }
}

/// What a client stores was read as XML and written anew; a file can say anything.
fn with_clean_extension(contact: Contact) -> Result<Contact, ChangeError> {
    if contact.extension.is_empty() {
        return Ok(contact);
    }
    let bad = |why: &dyn std::fmt::Display| ChangeError::Invalid(format!("its extension: {why}"));
    let bytes = contact.extension.as_bytes();
    let element = Element::parse(bytes).map_err(|why| bad(&why))?;
    if element.name != "contactExtension" {
        return Err(bad(&format_args!("is {} and not contactExtension", element.name)));
    }
    let extension = fragment::cut(bytes, &element, &[]).map_err(|why| bad(&why))?;
    Ok(Contact { extension, ..contact })
}
