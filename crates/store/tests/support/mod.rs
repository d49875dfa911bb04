//! What the tests of the store share: people, and the contact list as a reader of the specification would write it down.

#![allow(dead_code, reason = "each test uses its part")]

pub(crate) mod server;

use signin::directory::User;
use signin::io::Pending;
use signin::name::{AccountName, Aor};
use signin::provision::contacts::{Contact, ContactChange, ContactList, Edit, Group};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use store::{Account, NewUser, Store};

pub(crate) fn aor(text: &str) -> Aor {
    text.parse().expect("a test address")
}

pub(crate) fn user(address: &str) -> User {
    User::new(aor(address))
}

/// Makes a user with these login names and no password.
pub(crate) fn add(store: &Store, user: User, logins: &[&str]) {
    let logins = logins.iter().map(|login| AccountName::parse(login)).collect();
    store.add_user(NewUser { account: Account { user, logins }, password: None }).wait().expect("a new user");
}

pub(crate) fn contact(address: &str, groups: &[u32]) -> Contact {
    Contact { groups: groups.to_vec(), ..Contact::new(aor(address)) }
}

pub(crate) fn always(edit: Edit) -> ContactChange {
    ContactChange { delta_num: None, edit }
}

/// Waits for a future on this thread.
pub(crate) fn block_on<T>(mut future: Pending<'_, T>) -> T {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// A contact list written down in another way than the store does it: as maps, without versions or limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) changes: u32,
    pub(crate) groups: BTreeMap<u32, (String, String)>,
    /// In the order added.
    pub(crate) contacts: Vec<(Aor, Contact)>,
}

impl Model {
    pub(crate) fn new() -> Model {
        Model { changes: 0, groups: BTreeMap::from([(1, ("~".to_owned(), String::new()))]), contacts: Vec::new() }
    }

    /// Makes an edit, or says that it cannot be made.
    pub(crate) fn make(&mut self, edit: Edit) -> bool {
        let done = match edit {
            Edit::SetContact(contact) => self.set_contact(contact),
            Edit::DeleteContact(aor) => {
                let before = self.contacts.len();
                self.contacts.retain(|(known, _)| *known != aor);
                self.contacts.len() < before
            }
            Edit::AddGroup { name, external_uri } => match (2..=64).find(|id| !self.groups.contains_key(id)) {
                Some(id) if name != "~" && !name.is_empty() => self.groups.insert(id, (name, external_uri)).is_none(),
                _ => false,
            },
            Edit::ModifyGroup(group) if group.id != 1 && self.groups.contains_key(&group.id) => {
                self.groups.insert(group.id, (group.name, group.external_uri)).is_some()
            }
            Edit::DeleteGroup(id) if id != 1 && self.contacts.iter().all(|(_, one)| !one.groups.contains(&id)) => {
                self.groups.remove(&id).is_some()
            }
            Edit::ModifyGroup(_) | Edit::DeleteGroup(_) => false,
        };
        self.changes += u32::from(done);
        done
    }

    fn set_contact(&mut self, mut contact: Contact) -> bool {
        if contact.groups.iter().any(|id| !self.groups.contains_key(id)) {
            return false;
        }
        let mut seen = Vec::new();
        contact.groups.retain(|id| !seen.contains(id) && (seen.push(*id), true).1);
        if contact.groups.is_empty() {
            contact.groups = vec![1];
        }
        match self.contacts.iter_mut().find(|(aor, _)| *aor == contact.aor) {
            Some((_, known)) => *known = contact,
            None => self.contacts.push((contact.aor.clone(), contact)),
        }
        true
    }

    /// What the store should give.
    pub(crate) fn list(&self) -> ContactList {
        let group = |(id, (name, uri)): (&u32, &(String, String))| Group {
            id: *id,
            name: name.clone(),
            external_uri: uri.clone(),
        };
        ContactList {
            delta_num: 1 + self.changes,
            groups: self.groups.iter().map(group).collect(),
            contacts: self.contacts.iter().map(|(_, contact)| contact.clone()).collect(),
        }
    }
}
