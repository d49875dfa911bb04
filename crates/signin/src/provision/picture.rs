//! What a signed-in client knows of its contacts and of itself, kept true by notifications.
//!
//! Pure: answers and notifications go in, [`News`] come out, in the order they happened.

use super::client::{Response, Settled};
use super::contacts::message::{ContactDocument, read_document};
use super::contacts::{Contact, ContactList, Group};
use super::presence::aggregation::Activity;
use super::presence::batch::read_presence;
use super::presence::message::{Categories, OwnPresence, read_own_presence};
use super::subscription::Package;
use crate::name::Aor;
use crate::xml::Element;
use std::collections::{BTreeMap, BTreeSet};

/// Presence of one contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactPresence {
    /// Who.
    pub aor: Aor,
    /// Display name on the contact card.
    pub name: Option<String>,
    /// As in `[MS-PRES]`, for example 6500; `None` when the server told nothing.
    pub availability: Option<u32>,
    /// Token or words for what they are doing.
    pub activity: Option<String>,
    /// What they want others to know.
    pub note: Option<String>,
}

impl ContactPresence {
    /// What the categories of a user come to.
    pub fn of(categories: &Categories) -> ContactPresence {
        let state = categories.state();
        let in_words = |activity: &Activity| match activity.custom.first() {
            Some((_, text)) if activity.token.is_empty() => text.clone(),
            _ => activity.token.clone(),
        };
        ContactPresence {
            aor: categories.aor.clone(),
            name: categories.display_name().map(str::to_owned),
            availability: categories.availability(),
            activity: state.as_ref().and_then(|s| s.activities.first()).map(in_words).filter(|text| !text.is_empty()),
            note: note_in(categories),
        }
    }
}

/// The first note with words in it.
fn note_in(categories: &Categories) -> Option<String> {
    let notes = categories.categories.iter().filter(|c| c.name == "note").filter_map(|c| c.value.as_ref());
    let mut bodies = notes.filter_map(|note| note.child("body")).map(Element::trimmed);
    bodies.find(|text| !text.is_empty()).map(str::to_owned)
}

/// Something that is different now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A contact is in the list now.
    ContactAdded(Contact),
    /// Its name, its groups or something else of it is different.
    ContactChanged(Contact),
    /// A contact is in the list no more.
    ContactRemoved(Contact),
    /// There is a group now, or it has another name.
    GroupNamed(Group),
    /// A group is gone.
    GroupRemoved(Group),
    /// A contact can be seen as something else.
    Presence(ContactPresence),
    /// The user is seen as something else.
    Own(ContactPresence),
    /// A change of the contact list was missed: it has to be asked for again.
    ListOutOfStep,
    /// The server has signed the endpoint out.
    SignedOut {
        /// `unregistered`, `rejected`, `deactivated`.
        event: String,
        /// Its words.
        why: Option<String>,
    },
}

/// What the server says unasked: a NOTIFY or BENOTIFY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// `Event`, without parameters.
    pub event: String,
    /// `Content-Type`.
    pub content_type: String,
    /// Reason of `ms-diagnostics` or `ms-diagnostics-public`.
    pub reason: Option<String>,
    /// The document.
    pub body: Vec<u8>,
}

impl Notification {
    /// Reads a request; `None`: it is no notification.
    pub fn of(request: &sip::Message<'_>) -> Option<Notification> {
        matches!(request.method()?, "NOTIFY" | "BENOTIFY").then(|| Notification {
            event: event_of(request.header(sip::Name::Event).unwrap_or_default()),
            content_type: request.header(sip::Name::ContentType).unwrap_or_default().to_owned(),
            reason: crate::reply::diagnostics(request).1,
            body: request.body().to_vec(),
        })
    }

    /// `deregistered;event=rejected`: the event, and the server's words. `None`: it tells something else.
    pub fn end_of_registration(&self) -> Option<(String, Option<String>)> {
        if self.event != REGISTRATION {
            return None;
        }
        let text = String::from_utf8_lossy(&self.body);
        let event = text.split(';').find_map(|part| part.trim().strip_prefix("event=")).unwrap_or("unregistered");
        Some((event.trim().to_owned(), self.reason.clone()))
    }

    /// An answer with its first notification in it.
    pub fn within(answer: &Response) -> Option<Notification> {
        (!answer.body.is_empty()).then(|| Notification {
            event: event_of(answer.header("Event").unwrap_or_default()),
            content_type: answer.header("Content-Type").unwrap_or_default().to_owned(),
            reason: None,
            body: answer.body.clone(),
        })
    }
}

fn event_of(value: &str) -> String {
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Event of the notification that ends a registration. `[MS-SIPREGE]` §3.1.
const REGISTRATION: &str = "registration-notify";

/// What is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    me: Aor,
    contacts: ContactList,
    people: BTreeMap<Aor, Categories>,
    own: OwnPresence,
}

impl Picture {
    /// What step 5 has brought.
    pub fn new(me: &Aor, settled: &Settled) -> Picture {
        Picture {
            me: me.clone(),
            contacts: settled.contacts.clone().unwrap_or_else(ContactList::empty),
            people: settled.people.iter().map(|c| (c.aor.clone(), c.clone())).collect(),
            own: settled.own.clone().unwrap_or_default(),
        }
    }

    /// Whose picture it is.
    pub fn me(&self) -> &Aor {
        &self.me
    }

    /// The contact list.
    pub fn contacts(&self) -> &ContactList {
        &self.contacts
    }

    /// What a contact can be seen as.
    pub fn presence(&self, who: &Aor) -> ContactPresence {
        match self.people.get(who) {
            Some(categories) => ContactPresence::of(categories),
            None => ContactPresence { aor: who.clone(), name: None, availability: None, activity: None, note: None },
        }
    }

    /// A name to call somebody: the one the user gave, the contact's own, or the address.
    pub fn name(&self, who: &Aor) -> String {
        let given = self.contacts.contact(who).map(|contact| contact.name.trim().to_owned());
        let given = given.filter(|name| !name.is_empty());
        given.or_else(|| self.presence(who).name).unwrap_or_else(|| who.to_string())
    }

    /// Own categories, containers and subscribers.
    pub fn own(&self) -> &OwnPresence {
        &self.own
    }

    /// What the user is seen as.
    pub fn own_presence(&self) -> ContactPresence {
        match &self.own.categories {
            Some(categories) => ContactPresence { aor: self.me.clone(), ..ContactPresence::of(categories) },
            None => self.presence(&self.me),
        }
    }

    /// Contacts whose presence the user wants.
    pub fn watched(&self) -> BTreeSet<Aor> {
        let watched = self.contacts.contacts.iter().filter(|contact| contact.subscribed);
        watched.map(|contact| contact.aor.clone()).collect()
    }

    /// Takes in what the server says. The error says, in words, why it cannot be read.
    pub fn take(&mut self, told: &Notification) -> Result<Vec<News>, String> {
        if let Some((event, why)) = told.end_of_registration() {
            return Ok(vec![News::SignedOut { event, why }]);
        }
        if told.body.is_empty() {
            return Ok(Vec::new());
        }
        match Package::from_event(&told.event) {
            Some(Package::Contacts) => {
                let document = read_document(&told.body).map_err(|error| error.to_string())?;
                Ok(self.take_list(document))
            }
            Some(Package::OwnPresence) => {
                let own = read_own_presence(&told.body).map_err(|error| error.to_string())?;
                Ok(self.take_own(own))
            }
            Some(Package::Presence) => {
                let document = read_presence(&told.content_type, &told.body).map_err(|error| error.to_string())?;
                Ok(document.users.into_iter().filter_map(|categories| self.take_presence(categories)).collect())
            }
            Some(Package::Provisioning) | None => Ok(Vec::new()),
        }
    }

    fn take_list(&mut self, document: ContactDocument) -> Vec<News> {
        let before = self.contacts.clone();
        match document {
            ContactDocument::List(list) => self.contacts = list,
            ContactDocument::Delta(delta) if delta.delta_num <= before.delta_num => return Vec::new(),
            ContactDocument::Delta(delta) => {
                if !self.contacts.follow(delta) {
                    return vec![News::ListOutOfStep];
                }
            }
        }
        let after = &self.contacts;
        let mut news = Vec::new();
        for group in after.groups.iter().filter(|group| before.group(group.id) != Some(group)) {
            news.push(News::GroupNamed(group.clone()));
        }
        for contact in &after.contacts {
            match before.contact(&contact.aor) {
                None => news.push(News::ContactAdded(contact.clone())),
                Some(old) if old != contact => news.push(News::ContactChanged(contact.clone())),
                Some(_) => {}
            }
        }
        let gone = before.contacts.iter().filter(|contact| after.contact(&contact.aor).is_none());
        news.extend(gone.map(|contact| News::ContactRemoved(contact.clone())));
        let gone = before.groups.iter().filter(|group| after.group(group.id).is_none());
        news.extend(gone.map(|group| News::GroupRemoved(group.clone())));
        self.people.retain(|aor, _| after.contact(aor).is_some());
        news
    }

    /// Takes in a part of one's own presence.
    pub fn take_own(&mut self, told: OwnPresence) -> Vec<News> {
        let before = self.own_presence();
        self.own.follow(told);
        let after = self.own_presence();
        if after == before { Vec::new() } else { vec![News::Own(after)] }
    }

    fn take_presence(&mut self, told: Categories) -> Option<News> {
        // The rest of what was under way when the contact was removed.
        self.contacts.contact(&told.aor)?;
        let before = self.presence(&told.aor);
        let known = self
            .people
            .entry(told.aor.clone())
            .or_insert_with(|| Categories { aor: told.aor.clone(), categories: Vec::new() });
        merge(known, told);
        let after = ContactPresence::of(known);
        (after != before).then_some(News::Presence(after))
    }
}

impl OwnPresence {
    /// Takes in what was told since: category by category, each whole; containers and subscribers one by one.
    pub fn follow(&mut self, told: OwnPresence) {
        if let Some(categories) = told.categories {
            match &mut self.categories {
                Some(known) => merge(known, categories),
                none => *none = Some(categories),
            }
        }
        for container in told.containers {
            match self.containers.iter_mut().find(|known| known.id == container.id) {
                Some(known) => *known = container,
                None => self.containers.push(container),
            }
        }
        for subscriber in told.subscribers {
            match self.subscribers.iter_mut().find(|known| known.aor == subscriber.aor) {
                Some(known) => *known = subscriber,
                None => self.subscribers.push(subscriber),
            }
        }
    }
}

/// Each category that was told replaces all there was of it. `[MS-PRES]` §3.4.
fn merge(known: &mut Categories, told: Categories) {
    let names: BTreeSet<&str> = told.categories.iter().map(|category| category.name.as_str()).collect();
    known.categories.retain(|category| !names.contains(category.name.as_str()));
    known.categories.extend(told.categories);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::presence::message::CATEGORIES;
    use proptest::prelude::*;

    fn aor(name: &str) -> Aor {
        format!("{name}@contoso.test").parse().expect("an address")
    }

    fn told(event: &str, content_type: &str, body: &str) -> Notification {
        let (event, content_type) = (event.to_owned(), content_type.to_owned());
        Notification { event, content_type, reason: None, body: body.as_bytes().to_vec() }
    }

    fn list(xml: &str) -> Notification {
        told("vnd-microsoft-roaming-contacts", "application/vnd-microsoft-roaming-contacts+xml", xml)
    }

    fn bob(inside: &str) -> Notification {
        told("presence", CATEGORIES, &format!("<categories uri=\"sip:bob@contoso.test\">{inside}</categories>"))
    }

    const STATE: &str = "<category name=\"state\" instance=\"1\"><state xsi:type=\"aggregateState\" \
        xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><availability>6500</availability></state></category>";
    const NOTE: &str =
        "<category name=\"note\" instance=\"0\"><note><body type=\"personal\">back at 3</body></note></category>";

    fn picture() -> Picture {
        let mut picture = Picture::new(&aor("alice"), &Settled::default());
        let document = "<contactList deltaNum=\"5\"><group id=\"1\" name=\"~\" externalURI=\"\"/>\
                        <contact uri=\"bob@contoso.test\" name=\"\" groups=\"1\" subscribed=\"true\"/></contactList>";
        assert!(matches!(picture.take(&list(document)).as_deref(), Ok([News::ContactAdded(_)])));
        picture
    }

    #[test]
    fn each_category_is_told_whole_and_the_others_stay() {
        let mut picture = picture();
        let mut seen = |inside: &str| match picture.take(&bob(inside)).as_deref() {
            Ok([News::Presence(presence)]) => (presence.availability, presence.note.clone()),
            other => panic!("{other:?}"),
        };
        assert_eq!(seen(STATE), (Some(6500), None));
        assert_eq!(seen(NOTE), (Some(6500), Some("back at 3".to_owned())));
        assert_eq!(seen("<category name=\"note\"/>"), (Some(6500), None));
        assert_eq!(picture.take(&bob(STATE)), Ok(Vec::new()), "no news");
    }

    #[test]
    fn changes_are_followed_one_by_one_and_a_missed_one_is_noticed() {
        let mut picture = picture();
        let delta =
            |number: u32, inside: &str| list(&format!("<contactDelta deltaNum=\"{number}\">{inside}</contactDelta>"));
        let carol = "<addedContact uri=\"sip:carol@contoso.test\" name=\"C\" groups=\"1\" subscribed=\"true\"/>";
        assert!(matches!(picture.take(&delta(6, carol)).as_deref(), Ok([News::ContactAdded(_)])));
        assert_eq!(picture.take(&delta(6, carol)), Ok(Vec::new()), "told twice");
        assert_eq!(picture.take(&delta(8, "")), Ok(vec![News::ListOutOfStep]));
        assert_eq!(picture.name(&aor("carol")), "C");
        picture.take(&bob(STATE)).expect("read");
        let gone = picture.take(&delta(7, "<deletedContact uri=\"sip:bob@contoso.test\"/>")).expect("read");
        assert!(matches!(&gone[..], [News::ContactRemoved(contact)] if contact.aor == aor("bob")));
        assert_eq!(picture.take(&bob(NOTE)), Ok(Vec::new()), "who is no contact any more is no news");
        assert_eq!(picture.presence(&aor("bob")).availability, None);
        assert_eq!(picture.watched(), BTreeSet::from([aor("carol")]));
    }

    #[test]
    fn being_signed_out_has_a_reason() {
        let mut notification =
            told("registration-notify", "text/registration-event", "deregistered;event=rejected\r\n");
        notification.reason = Some("User disabled".to_owned());
        let news = News::SignedOut { event: "rejected".to_owned(), why: Some("User disabled".to_owned()) };
        assert_eq!(picture().take(&notification), Ok(vec![news]));
    }

    proptest! {
        #[test]
        fn no_notification_hurts(event in 0..5_usize, document in "\\PC{0,200}") {
            let events = ["presence", "vnd-microsoft-roaming-self", "vnd-microsoft-roaming-contacts", REGISTRATION, "x"];
            let _ = picture().take(&told(events[event], CATEGORIES, &document));
        }
    }
}
