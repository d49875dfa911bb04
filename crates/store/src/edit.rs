//! What may be done to a contact list. `[MS-SIP]` §2.2.4.1, §3.7.4.3. Pure: a list and an edit in, the list changed.

use signin::directory::ChangeError;
use signin::name::Aor;
use signin::provision::contacts::{Contact, ContactChange, ContactList, DEFAULT_GROUP, Edit, Group};
use signin::xml::escape;

/// How large a contact list may grow. The groups' and texts' limits are those of `[MS-SIP]` §9.1; the others are ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactLimits {
    /// Contacts of one user.
    pub contacts: usize,
    /// Bytes of the client's own XML in one contact.
    pub extension_bytes: usize,
    /// Bytes of all texts of the list, as they are written in a document. Clients, ours among them, read no document of more than 1 MiB.
    pub list_bytes: usize,
}

impl Default for ContactLimits {
    fn default() -> ContactLimits {
        ContactLimits { contacts: 1000, extension_bytes: 4096, list_bytes: 768 * 1024 }
    }
}

/// Groups of one list, and so also the highest group id.
pub(crate) const MAX_GROUPS: u32 = 64;
const MAX_NAME_CHARS: usize = 256;
const MAX_ADDRESS_BYTES: usize = 454;
const MAX_EXTERNAL_URI_CHARS: usize = 2048;

/// Which row of the stored list an edit touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Touched {
    /// This contact is new or has other values.
    Contact(Contact),
    /// This contact is gone.
    NoContact(Aor),
    /// This group is new or has other values.
    Group(Group),
    /// This group is gone.
    NoGroup(u32),
}

/// Makes one change. When it is refused, the list is as it was.
pub(crate) fn apply(
    list: &mut ContactList,
    change: ContactChange,
    limits: &ContactLimits,
) -> Result<Touched, ChangeError> {
    if change.delta_num.is_some_and(|based_on| based_on != list.delta_num) {
        return Err(ChangeError::WrongDelta { current: list.delta_num });
    }
    let touched = match change.edit {
        Edit::SetContact(contact) => set_contact(list, contact, limits)?,
        Edit::DeleteContact(aor) => delete_contact(list, aor)?,
        Edit::AddGroup { name, external_uri } => add_group(list, name, external_uri, limits)?,
        Edit::ModifyGroup(group) => modify_group(list, group, limits)?,
        Edit::DeleteGroup(id) => delete_group(list, id)?,
    };
    list.delta_num = next_delta(list.delta_num);
    Ok(touched)
}

/// The version after this one. 0 is never one: clients ignore a list with it.
pub(crate) fn next_delta(delta_num: u32) -> u32 {
    delta_num.checked_add(1).unwrap_or(1)
}

fn set_contact(list: &mut ContactList, mut contact: Contact, limits: &ContactLimits) -> Result<Touched, ChangeError> {
    if contact.aor.as_str().len() > MAX_ADDRESS_BYTES {
        return Err(too_large("a contact's address", MAX_ADDRESS_BYTES, "bytes"));
    }
    check_chars("a contact's name", &contact.name, MAX_NAME_CHARS)?;
    check_chars("a contact's external URI", &contact.external_uri, MAX_EXTERNAL_URI_CHARS)?;
    if contact.extension.len() > limits.extension_bytes {
        return Err(too_large("a contact's extension", limits.extension_bytes, "bytes"));
    }
    contact.groups = known_groups(list, &contact.groups)?;
    let others = list.contacts.iter().filter(|other| other.aor != contact.aor);
    check_bytes(others.chain([&contact]), &list.groups, limits)?;
    let full = list.contacts.len() >= limits.contacts;
    match list.contacts.iter_mut().find(|known| known.aor == contact.aor) {
        Some(known) => *known = contact.clone(),
        None if full => {
            return Err(too_large("a contact list", limits.contacts, "contacts"));
        }
        None => list.contacts.push(contact.clone()),
    }
    Ok(Touched::Contact(contact))
}

/// The groups a contact shall be in, each once, in the order given; none means group 1.
fn known_groups(list: &ContactList, wanted: &[u32]) -> Result<Vec<u32>, ChangeError> {
    let mut groups = Vec::with_capacity(wanted.len().clamp(1, list.groups.len().max(1)));
    for &id in wanted {
        if !list.groups.iter().any(|group| group.id == id) {
            return Err(no_such_group(id));
        }
        if !groups.contains(&id) {
            groups.push(id);
        }
    }
    if groups.is_empty() {
        groups.push(DEFAULT_GROUP);
    }
    Ok(groups)
}

/// A list of these stays readable as one document.
fn check_bytes<'a>(
    contacts: impl Iterator<Item = &'a Contact>,
    groups: impl IntoIterator<Item = &'a Group>,
    limits: &ContactLimits,
) -> Result<(), ChangeError> {
    let texts_of_contact = |c: &'a Contact| [c.aor.as_str(), &c.name, &c.external_uri];
    let (contacts, groups): (Vec<&Contact>, Vec<&Group>) = (contacts.collect(), groups.into_iter().collect());
    let texts = || {
        let of_groups = groups.iter().flat_map(|group| [group.name.as_str(), &group.external_uri]);
        contacts.iter().copied().flat_map(texts_of_contact).chain(of_groups)
    };
    let extensions: usize = contacts.iter().map(|contact| contact.extension.len()).sum();
    // Written, a character is six at most; few lists come so near to the limit that they have to be counted exactly.
    let at_most = texts().map(|text| 6 * text.len()).sum::<usize>() + extensions;
    if at_most <= limits.list_bytes
        || texts().map(|text| escape(text).len()).sum::<usize>() + extensions <= limits.list_bytes
    {
        return Ok(());
    }
    Err(too_large("a contact list", limits.list_bytes, "bytes"))
}

fn delete_contact(list: &mut ContactList, aor: Aor) -> Result<Touched, ChangeError> {
    let Some(position) = list.contacts.iter().position(|contact| contact.aor == aor) else {
        return Err(ChangeError::Invalid(format!("{aor} is not on the list")));
    };
    list.contacts.remove(position);
    Ok(Touched::NoContact(aor))
}

fn add_group(
    list: &mut ContactList,
    name: String,
    external_uri: String,
    limits: &ContactLimits,
) -> Result<Touched, ChangeError> {
    check_group_texts(&name, &external_uri)?;
    // Groups are kept in order of their ids, so the first gap is the smallest free id.
    let taken = list.groups.iter().zip(1..).take_while(|(group, id)| group.id == *id).count();
    let id = u32::try_from(taken).unwrap_or(MAX_GROUPS) + 1;
    if id > MAX_GROUPS {
        return Err(too_large("a contact list", MAX_GROUPS as usize, "groups"));
    }
    let group = Group { id, name, external_uri };
    check_bytes(list.contacts.iter(), list.groups.iter().chain([&group]), limits)?;
    list.groups.insert(taken, group.clone());
    Ok(Touched::Group(group))
}

fn modify_group(list: &mut ContactList, group: Group, limits: &ContactLimits) -> Result<Touched, ChangeError> {
    if group.id == DEFAULT_GROUP {
        return Err(ChangeError::Invalid(format!("group {DEFAULT_GROUP} cannot be changed")));
    }
    check_group_texts(&group.name, &group.external_uri)?;
    let others = list.groups.iter().filter(|other| other.id != group.id);
    check_bytes(list.contacts.iter(), others.chain([&group]), limits)?;
    let known = list.groups.iter_mut().find(|known| known.id == group.id).ok_or_else(|| no_such_group(group.id))?;
    *known = group.clone();
    Ok(Touched::Group(group))
}

fn delete_group(list: &mut ContactList, id: u32) -> Result<Touched, ChangeError> {
    if id == DEFAULT_GROUP {
        return Err(ChangeError::Invalid(format!("group {DEFAULT_GROUP} cannot be deleted")));
    }
    let position = list.groups.iter().position(|group| group.id == id).ok_or_else(|| no_such_group(id))?;
    if list.contacts.iter().any(|contact| contact.groups.contains(&id)) {
        return Err(ChangeError::Invalid(format!("group {id} still has contacts")));
    }
    list.groups.remove(position);
    Ok(Touched::NoGroup(id))
}

fn check_group_texts(name: &str, external_uri: &str) -> Result<(), ChangeError> {
    if name.trim().is_empty() {
        return Err(ChangeError::Invalid("a group needs a name".to_owned()));
    }
    if name == "~" {
        return Err(ChangeError::Invalid(format!("~ is the name of group {DEFAULT_GROUP}, which every list has")));
    }
    check_chars("a group's name", name, MAX_NAME_CHARS)?;
    check_chars("a group's external URI", external_uri, MAX_EXTERNAL_URI_CHARS)
}

fn check_chars(what: &str, text: &str, limit: usize) -> Result<(), ChangeError> {
    // A text has at most as many characters as bytes: most need no counting.
    if text.len() <= limit || text.chars().count() <= limit {
        Ok(())
    } else {
        Err(too_large(what, limit, "characters"))
    }
}

fn too_large(what: &str, limit: usize, unit: &str) -> ChangeError {
    ChangeError::TooLarge(format!("{what} has at most {limit} {unit}"))
}

fn no_such_group(id: u32) -> ChangeError {
    ChangeError::Invalid(format!("there is no group {id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aor(text: &str) -> Aor {
        text.parse().expect("a test address")
    }

    fn contact(address: &str, groups: &[u32]) -> Contact {
        Contact { groups: groups.to_vec(), ..Contact::new(aor(address)) }
    }

    fn group(name: &str) -> Edit {
        Edit::AddGroup { name: name.to_owned(), external_uri: String::new() }
    }

    /// Makes one edit without regard to versions.
    fn edit(list: &mut ContactList, edit: Edit) -> Result<Touched, ChangeError> {
        apply(list, ContactChange { delta_num: None, edit }, &ContactLimits::default())
    }

    #[test]
    fn every_change_adds_one_to_the_version() {
        let mut list = ContactList::empty();
        edit(&mut list, group("Team")).expect("a group");
        edit(&mut list, Edit::SetContact(contact("bob@contoso.test", &[2]))).expect("a contact");
        assert_eq!(list.delta_num, 3);
        assert_eq!(list.groups.len(), 2);
        assert_eq!(list.contacts, [contact("bob@contoso.test", &[2])]);
        assert_eq!(next_delta(u32::MAX), 1);
    }

    #[test]
    fn a_change_of_another_version_is_refused_and_changes_nothing() {
        let mut list = ContactList::empty();
        let limits = ContactLimits::default();
        let change = |delta_num| ContactChange { delta_num, edit: group("Team") };
        assert_eq!(apply(&mut list, change(Some(7)), &limits), Err(ChangeError::WrongDelta { current: 1 }));
        assert_eq!(list, ContactList::empty());
        apply(&mut list, change(Some(1)), &limits).expect("based on the current version");
        apply(&mut list, change(None), &limits).expect("administrators always win");
        assert_eq!(list.delta_num, 3);
    }

    #[test]
    fn a_contact_is_in_at_least_one_group_and_in_each_only_once() {
        let mut list = ContactList::empty();
        edit(&mut list, group("Team")).expect("a group");
        for (given, stored) in [(&[][..], &[1][..]), (&[2, 1], &[2, 1]), (&[2, 2, 1, 2], &[2, 1])] {
            edit(&mut list, Edit::SetContact(contact("bob@contoso.test", given))).expect("known groups");
            assert_eq!(list.contacts[0].groups, stored);
        }
        assert_eq!(list.contacts.len(), 1, "the same contact is replaced");
    }

    #[test]
    fn group_ids_are_given_out_from_the_smallest_and_used_again() {
        let mut list = ContactList::empty();
        for name in ["Team", "Vendors", "Friends"] {
            edit(&mut list, group(name)).expect("a group");
        }
        edit(&mut list, Edit::DeleteGroup(3)).expect("it is empty");
        assert_eq!(
            edit(&mut list, group("Family")),
            Ok(Touched::Group(Group { id: 3, name: "Family".to_owned(), external_uri: String::new() }))
        );
        assert_eq!(list.groups.iter().map(|group| group.id).collect::<Vec<_>>(), [1, 2, 3, 4]);
    }

    #[test]
    fn senseless_changes_are_refused_and_change_nothing() {
        let mut list = ContactList::empty();
        edit(&mut list, group("Team")).expect("a group");
        edit(&mut list, Edit::SetContact(contact("bob@contoso.test", &[2]))).expect("a contact");
        let before = list.clone();
        let named = |id, name: &str| Group { id, name: name.to_owned(), external_uri: String::new() };
        for senseless in [
            Edit::SetContact(contact("carol@contoso.test", &[9])),
            Edit::SetContact(contact("carol@contoso.test", &[0])),
            Edit::DeleteContact(aor("carol@contoso.test")),
            group("~"),
            group(" "),
            Edit::ModifyGroup(named(1, "Mine")),
            Edit::ModifyGroup(named(9, "None")),
            Edit::ModifyGroup(named(2, "")),
            Edit::DeleteGroup(1),
            Edit::DeleteGroup(9),
            Edit::DeleteGroup(2),
        ] {
            let answer = edit(&mut list, senseless.clone());
            assert!(matches!(answer, Err(ChangeError::Invalid(_))), "{senseless:?}: {answer:?}");
            assert_eq!(list, before);
        }
    }

    #[test]
    fn what_is_too_large_is_refused_and_what_just_fits_is_not() {
        let long = |count| "ä".repeat(count);
        let with = |change: &dyn Fn(&mut Contact)| {
            let mut changed = contact("bob@contoso.test", &[]);
            change(&mut changed);
            Edit::SetContact(changed)
        };
        let address = |user: usize, label: usize| {
            aor(&format!(
                "{}@{}.{}.{}.{}",
                "u".repeat(user),
                "d".repeat(63),
                "d".repeat(63),
                "d".repeat(63),
                "d".repeat(label)
            ))
        };
        let fits = [
            with(&|contact| contact.name = long(256)),
            with(&|contact| contact.external_uri = long(2048)),
            with(&|contact| contact.extension = "x".repeat(4096)),
            with(&|contact| contact.aor = address(251, 10)),
            group(&long(256)),
        ];
        let too_large = [
            with(&|contact| contact.name = long(257)),
            with(&|contact| contact.external_uri = long(2049)),
            with(&|contact| contact.extension = "x".repeat(4097)),
            with(&|contact| contact.aor = address(252, 10)),
            group(&long(257)),
        ];
        assert_eq!(address(251, 10).as_str().len(), 454);
        for fitting in fits {
            edit(&mut ContactList::empty(), fitting).expect("within the limits");
        }
        for large in too_large {
            let answer = edit(&mut ContactList::empty(), large.clone());
            assert!(matches!(answer, Err(ChangeError::TooLarge(_))), "{large:?}: {answer:?}");
        }
    }

    #[test]
    fn a_list_has_at_most_64_groups_and_so_many_contacts() {
        let mut list = ContactList::empty();
        for number in 2..=MAX_GROUPS {
            edit(&mut list, group(&format!("Group {number}"))).expect("64 groups");
        }
        assert_eq!(list.groups.last().map(|group| group.id), Some(64));
        assert!(matches!(edit(&mut list, group("One more")), Err(ChangeError::TooLarge(_))));

        let limits = ContactLimits { contacts: 2, ..ContactLimits::default() };
        let mut set = |address| {
            let edit = Edit::SetContact(contact(address, &[]));
            apply(&mut list, ContactChange { delta_num: None, edit }, &limits)
        };
        set("a@contoso.test").expect("the first");
        set("b@contoso.test").expect("the second");
        assert!(matches!(set("c@contoso.test"), Err(ChangeError::TooLarge(_))));
        set("b@contoso.test").expect("a known contact can be changed in a full list");
    }

    #[test]
    fn a_list_as_a_whole_has_at_most_so_many_bytes() {
        let limits = ContactLimits { list_bytes: 10_000, ..ContactLimits::default() };
        let mut list = ContactList::empty();
        let mut set = |number: u32, bytes| {
            let contact = Contact { extension: "x".repeat(bytes), ..contact(&format!("u{number}@contoso.test"), &[]) };
            apply(&mut list, ContactChange { delta_num: None, edit: Edit::SetContact(contact) }, &limits)
        };
        set(1, 4_000).expect("the first");
        set(2, 4_000).expect("the second");
        assert!(matches!(set(3, 4_000), Err(ChangeError::TooLarge(_))));
        set(2, 100).expect("a shorter one in the place of a longer one");
        set(3, 4_000).expect("now there is room");
        let long = || "&".repeat(400);
        let add = Edit::AddGroup { name: "Team".to_owned(), external_uri: long() };
        let added = apply(&mut list, ContactChange { delta_num: None, edit: add }, &limits);
        assert!(matches!(added, Err(ChangeError::TooLarge(_))), "400 characters are 2,000 bytes when they are written");
    }
}
