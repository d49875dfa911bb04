//! What was learnt in step 5, as it is shown: lines with names and figures, and the `settings` value of the report.

use super::{Response, Settled};
use crate::directory::Properties;
use crate::provision::contacts::{Contact, ContactList};
use crate::provision::picture::ContactPresence;
use crate::provision::presence::aggregation::describe;
use crate::provision::presence::message::{OwnPresence, read_own_presence};
use crate::provision::settings;
use crate::report::{Event, Step};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// Groups that every server gives.
const ALWAYS_GIVEN: &[&str] = &["ServerConfiguration", "meetingPolicy", "ucPolicy", "endpointConfiguration"];

/// How many contacts get a line of their own in the evidence.
const CONTACTS_SHOWN: usize = 20;

/// Says what was learnt, in words with names and figures.
pub(super) struct Teller<'a>(pub(super) &'a (dyn Fn(Event) + Send + Sync));

impl Teller<'_> {
    pub(super) fn evidence(&self, line: String) {
        (self.0)(Event::Evidence(Step::Settings, line));
    }

    pub(super) fn remark(&self, line: String) {
        (self.0)(Event::Remark(Step::Settings, line));
    }

    pub(super) fn settings(&self, groups: &BTreeMap<String, Properties>) {
        let values: usize = groups.values().map(BTreeMap::len).sum();
        let names: Vec<&str> = groups.keys().map(String::as_str).collect();
        self.evidence(format!("settings: {values} values in {} groups ({})", groups.len(), names.join(", ")));
        let missing: Vec<&str> = ALWAYS_GIVEN.iter().copied().filter(|name| !groups.contains_key(*name)).collect();
        if !missing.is_empty() {
            self.remark(format!("settings: the server gave no {} (inband-group-missing)", missing.join(", ")));
        }
    }

    pub(super) fn contacts(&self, list: &ContactList) {
        let (contacts, groups) = (list.contacts.len(), list.groups.len());
        self.evidence(format!("contacts: {contacts} in {groups} groups (deltaNum {})", list.delta_num));
    }

    pub(super) fn own_presence(&self, own: &OwnPresence) {
        let categories = own.categories.as_ref().map_or(0, |own| own.categories.len());
        let containers = own.containers.len();
        self.evidence(format!("own presence: {categories} category instances, {containers} containers"));
        for subscriber in own.subscribers.iter().filter(|subscriber| !subscriber.acknowledged) {
            self.evidence(format!("{} added you to their contacts", subscriber.aor));
        }
    }

    pub(super) fn presence(&self, presence: &[ContactPresence]) {
        for contact in presence.iter().take(CONTACTS_SHOWN) {
            let activity = contact.activity.as_deref().map(|token| format!(", {token}")).unwrap_or_default();
            self.evidence(match contact.availability {
                Some(a) => format!("presence: {} {} ({a}){activity}", contact.aor, describe(a)),
                None => format!("presence: {} not told", contact.aor),
            });
        }
        if let Some(more) = presence.len().checked_sub(CONTACTS_SHOWN).filter(|more| *more > 0) {
            self.evidence(format!("presence: of {more} more"));
        }
    }

    pub(super) fn published(&self, answer: &Response) {
        let own = read_own_presence(&answer.body).ok().and_then(|own| own.categories);
        self.evidence(match own.and_then(|own| own.availability()) {
            Some(a) => format!("published: others see {} ({a})", describe(a)),
            None => "published".to_owned(),
        });
    }
}

impl Settled {
    /// The `settings` value of the report.
    pub fn json(&self) -> Json {
        let contact = |contact: &Contact| json!({ "address": contact.aor.as_str(), "name": contact.name, "groups": contact.groups });
        let presence = |presence: &ContactPresence| {
            json!({
                "address": presence.aor.as_str(),
                "name": presence.name,
                "availability": presence.availability,
                "status": presence.availability.map(describe),
                "activity": presence.activity,
            })
        };
        json!({
            "provisioning": self.settings,
            "known": (!self.settings.is_empty()).then(|| settings::typed::Settings::of(&self.settings)),
            "dial_plan": self.dial_plan,
            "contacts": self.contacts.as_ref().map(|list| json!({
                "delta_num": list.delta_num,
                "groups": list.groups.iter().map(|g| json!({ "id": g.id, "name": g.name })).collect::<Vec<_>>(),
                "list": list.contacts.iter().map(contact).collect::<Vec<_>>(),
            })),
            "presence": self.presence().iter().map(presence).collect::<Vec<_>>(),
            "containers": self.own.as_ref().map(|own| own.containers.iter().map(|container| json!({
                "id": container.id, "version": container.version, "members": container.members.len(),
            })).collect::<Vec<_>>()),
            "published": self.published,
        })
    }
}
