//! The contact list: `vnd-microsoft-roaming-contacts`. `[MS-SIP]` §2.2.4.1, §3.7.

pub mod message;
pub(super) mod server;

use crate::name::Aor;

/// The group every list has; it cannot be made or deleted, and its stored name is `~`.
pub const DEFAULT_GROUP: u32 = 1;

/// The contact list of one user, at one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactList {
    /// Version, never 0; every change adds 1.
    pub delta_num: u32,
    /// Groups, in order of their ids; group 1 first.
    pub groups: Vec<Group>,
    /// Contacts, in the order they were added.
    pub contacts: Vec<Contact>,
}

impl ContactList {
    /// The contact with this address.
    pub fn contact(&self, aor: &Aor) -> Option<&Contact> {
        self.contacts.iter().find(|contact| contact.aor == *aor)
    }

    /// The group with this id.
    pub fn group(&self, id: u32) -> Option<&Group> {
        self.groups.iter().find(|group| group.id == id)
    }

    /// The list of a user who has none yet.
    pub fn empty() -> ContactList {
        let group = Group { id: DEFAULT_GROUP, name: "~".to_owned(), external_uri: String::new() };
        ContactList { delta_num: 1, groups: vec![group], contacts: Vec::new() }
    }
}

/// A group of contacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// 1 to 64.
    pub id: u32,
    /// At most 256 characters.
    pub name: String,
    /// At most 2048 characters.
    pub external_uri: String,
}

/// A contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Who.
    pub aor: Aor,
    /// Name the user gave; empty: the contact's own display name.
    pub name: String,
    /// Groups it is in, at least one.
    pub groups: Vec<u32>,
    /// Whether presence is subscribed.
    pub subscribed: bool,
    /// At most 2048 characters.
    pub external_uri: String,
    /// XML of the client, kept as it came; empty when there is none.
    pub extension: String,
}

impl Contact {
    /// A contact with nothing set: in no group yet, but with its presence subscribed.
    pub fn new(aor: Aor) -> Contact {
        Contact {
            aor,
            name: String::new(),
            groups: Vec::new(),
            subscribed: true,
            external_uri: String::new(),
            extension: String::new(),
        }
    }
}

/// One change. `delta_num` is the version the client believes is current.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactChange {
    /// Version the change is based on; `None` from administrators, who always win.
    pub delta_num: Option<u32>,
    /// What to change.
    pub edit: Edit,
}

/// What a [`ContactChange`] does. `[MS-SIP]` §3.7.4.3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Adds or replaces a contact; without groups it goes to group 1.
    SetContact(Contact),
    /// Removes a contact.
    DeleteContact(Aor),
    /// Makes a group; the store chooses the id.
    AddGroup {
        /// Its name.
        name: String,
        /// Its external URI.
        external_uri: String,
    },
    /// Renames a group.
    ModifyGroup(Group),
    /// Removes an empty group.
    DeleteGroup(u32),
}
