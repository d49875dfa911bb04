//! What the server keeps of one user whose presence can be seen: endpoints, publications, containers, subscribers.
//! `[MS-PRES]` §3.1.

use super::aggregation::{self, Input, OFFLINE, State};
use super::message::{Conflict, ContainerChange, ExpireType, Member, Publish, write_aggregate};
use crate::directory::User;
use crate::io::Now;
use crate::name::Aor;
use crate::provision::subscription::DialogId;
use crate::xml::escape;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// Container of the blocked.
pub(crate) const BLOCKED: u16 = 32_000;
/// Containers others can be put into, as told to clients.
const LISTED: [u16; 5] = [100, 200, 300, 400, BLOCKED];
/// Instance of the aggregated state.
const AGGREGATE: u32 = 1;

/// Names a publication of one user.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) category: String,
    pub(crate) instance: u32,
    pub(crate) container: u16,
}

#[derive(Debug, Clone)]
struct Publication {
    version: u32,
    /// Seconds since 1970.
    published: i64,
    /// Grows with every publication: which of two is newer.
    order: u64,
    expire: ExpireType,
    /// Since the server began.
    ends: Option<Duration>,
    /// The endpoint it came from; `None` for the server.
    publisher: Option<Arc<str>>,
    xml: Arc<str>,
    state: Option<State>,
}

#[derive(Debug, Clone)]
struct Container {
    version: u32,
    members: BTreeSet<Member>,
}

/// Somebody who added the user.
#[derive(Debug, Clone)]
pub(crate) struct Subscriber {
    pub(crate) display_name: String,
    pub(crate) acknowledged: bool,
}

/// A signed-in endpoint.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// FQDN of the server it was last heard at.
    pub(crate) server: Arc<str>,
    pub(crate) dialogs: BTreeSet<DialogId>,
    refused: Option<Refused>,
}

impl Endpoint {
    /// One that was just heard at this server.
    pub(crate) fn at(server: Arc<str>) -> Endpoint {
        Endpoint { server, dialogs: BTreeSet::new(), refused: None }
    }
}

/// The publication last refused to an endpoint, to break the endless loop of a client that cannot learn a version.
#[derive(Debug)]
struct Refused {
    operations: Vec<(Key, u32)>,
    times: u32,
    since: Duration,
}

/// How much one user may publish and list.
#[derive(Debug, Clone, Copy)]
pub struct Quota {
    /// Publications at one time.
    pub publications: usize,
    /// Bytes of one published value.
    pub value: usize,
    /// Bytes of all values.
    pub values: usize,
    /// Members of all containers.
    pub members: usize,
    /// Subscribers kept.
    pub subscribers: usize,
}

impl Default for Quota {
    fn default() -> Quota {
        Quota { publications: 400, value: 32 * 1024, values: 512 * 1024, members: 2_000, subscribers: 1_000 }
    }
}

/// Why a publication or a change of containers was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Based on versions that are not current.
    Conflict(Vec<Conflict>),
    /// Over a quota.
    TooMuch(&'static str),
    /// Something only the server may write.
    NotYours(String),
}

/// One user.
#[derive(Debug)]
pub(crate) struct Presentity {
    pub(crate) endpoints: BTreeMap<Arc<str>, Endpoint>,
    /// Presence subscriptions to this user.
    pub(crate) watchers: BTreeSet<DialogId>,
    publications: BTreeMap<Key, Publication>,
    containers: BTreeMap<u16, Container>,
    pub(crate) subscribers: BTreeMap<Aor, Subscriber>,
    subscribers_version: u32,
    order: u64,
    /// What the table of deadlines says of this user.
    pub(crate) noted_expiry: Option<Duration>,
}

impl Default for Presentity {
    /// A user nobody has heard of yet: everybody in the enterprise may see what colleagues see.
    fn default() -> Presentity {
        let with = |member| Container { version: 1, members: BTreeSet::from([member]) };
        Presentity {
            endpoints: BTreeMap::new(),
            watchers: BTreeSet::new(),
            publications: BTreeMap::new(),
            containers: BTreeMap::from([(100, with(Member::Federated)), (200, with(Member::SameEnterprise))]),
            subscribers: BTreeMap::new(),
            subscribers_version: 1,
            order: 0,
            noted_expiry: None,
        }
    }
}

impl Presentity {
    /// Whether nothing would be lost if it were forgotten.
    pub(crate) fn is_untouched(&self) -> bool {
        self.endpoints.is_empty()
            && self.watchers.is_empty()
            && self.publications.is_empty()
            && self.subscribers.is_empty()
            && self.containers.len() == 2
            && self.containers.values().all(|container| container.version == 1)
    }

    /// Carries out a publication of an endpoint that is there, all of it or nothing, and aggregates. Gives the
    /// categories touched.
    pub(crate) fn publish(
        &mut self,
        operations: &[Publish],
        epid: &Arc<str>,
        now: Now,
        quota: &Quota,
    ) -> Result<BTreeSet<String>, Refusal> {
        if let Some(operation) = operations.iter().find(|operation| is_servers_own(operation)) {
            return Err(Refusal::NotYours(format!("{} {}", operation.category, operation.instance)));
        }
        let conflicts = self.conflicts(operations);
        if !conflicts.is_empty() && !self.tired_of_refusing(operations, epid, now.since_start) {
            return Err(Refusal::Conflict(conflicts));
        }
        self.check_quota(operations, quota)?;
        if let Some(endpoint) = self.endpoints.get_mut(epid) {
            endpoint.refused = None;
        }
        let mut touched = BTreeSet::new();
        for operation in operations {
            touched.insert(operation.category.clone());
            self.carry_out(operation, epid, now);
        }
        if touched.contains("state") || touched.contains("device") {
            self.aggregate(now);
            touched.insert("state".to_owned());
        }
        Ok(touched)
    }

    fn conflicts(&self, operations: &[Publish]) -> Vec<Conflict> {
        let mut conflicts = Vec::new();
        for (at, operation) in operations.iter().enumerate() {
            let current = self.publications.get(&key_of(operation)).map_or(0, |publication| publication.version);
            // Deleting what is not there succeeds: pidgin-sipe does it for calendar and phone states.
            let pointless = operation.value.is_none() && current == 0;
            if operation.version != current && !pointless {
                conflicts.push(Conflict { index: at + 1, version: operation.version, current });
            }
        }
        conflicts
    }

    /// Whether this endpoint has repeated the same wrong versions so often that the last writer shall win.
    fn tired_of_refusing(&mut self, operations: &[Publish], epid: &Arc<str>, now: Duration) -> bool {
        let Some(endpoint) = self.endpoints.get_mut(epid) else { return false };
        let operations: Vec<(Key, u32)> = operations.iter().map(|o| (key_of(o), o.version)).collect();
        match &mut endpoint.refused {
            Some(refused)
                if refused.operations == operations && now.saturating_sub(refused.since) < REFUSING_PERIOD =>
            {
                refused.times += 1;
                refused.times > MOST_REFUSALS
            }
            refused => {
                *refused = Some(Refused { operations, times: 1, since: now });
                false
            }
        }
    }

    fn check_quota(&self, operations: &[Publish], quota: &Quota) -> Result<(), Refusal> {
        let size = |operation: &Publish| operation.value.as_ref().map_or(0, |value| value.xml.len());
        if operations.iter().any(|operation| size(operation) > quota.value) {
            return Err(Refusal::TooMuch("A published value is too long."));
        }
        let added: BTreeSet<Key> = operations.iter().filter(|o| o.value.is_some()).map(key_of).collect();
        let kept = || self.publications.iter().filter(|(key, _)| !added.contains(key));
        if kept().count() + added.len() > quota.publications {
            return Err(Refusal::TooMuch("Too many publications."));
        }
        let bytes: usize = kept().map(|(_, p)| p.xml.len()).chain(operations.iter().map(size)).sum();
        if bytes > quota.values { Err(Refusal::TooMuch("Too many bytes published.")) } else { Ok(()) }
    }

    fn carry_out(&mut self, operation: &Publish, epid: &Arc<str>, now: Now) {
        let key = key_of(operation);
        let Some(value) = &operation.value else {
            self.publications.remove(&key);
            return;
        };
        let ends = match operation.expire {
            ExpireType::Time(seconds) => Some(now.since_start + Duration::from_secs(u64::from(seconds))),
            _ => None,
        };
        self.order += 1;
        let version = self.publications.get(&key).map_or(0, |publication| publication.version).wrapping_add(1).max(1);
        self.publications.insert(
            key,
            Publication {
                version,
                published: now.unix_seconds,
                order: self.order,
                expire: operation.expire,
                ends,
                publisher: Some(Arc::clone(epid)),
                xml: value.xml.as_str().into(),
                state: value.state.clone(),
            },
        );
    }

    /// Aggregates both input containers into those that others see. `[MS-PRES]` §3.8.
    fn aggregate(&mut self, now: Now) {
        for (input, from, into) in [(Input::Two, 2, &[2_u16, 100, 200, 400][..]), (Input::Three, 3, &[3, 300][..])] {
            let mut inputs: Vec<&Publication> = self
                .publications
                .iter()
                .filter(|(key, p)| key.category == "state" && key.container == from && p.publisher.is_some())
                .map(|(_, publication)| publication)
                .collect();
            inputs.sort_by_key(|publication| publication.order);
            let states: Vec<&State> = inputs.iter().filter_map(|publication| publication.state.as_ref()).collect();
            let seen =
                (!states.is_empty() && !self.endpoints.is_empty()).then(|| aggregation::aggregate(input, &states));
            for container in into {
                let key = Key { category: "state".to_owned(), instance: AGGREGATE, container: *container };
                let Some(seen) = &seen else {
                    self.publications.remove(&key);
                    continue;
                };
                // Outside the enterprise only the availability is told.
                let activity = seen.activity.as_ref().filter(|_| *container != 100);
                self.write_aggregate(key, &write_aggregate(seen.availability, activity), now);
            }
        }
    }

    fn write_aggregate(&mut self, key: Key, xml: &str, now: Now) {
        let version = match self.publications.get(&key) {
            Some(old) if &*old.xml == xml => return,
            Some(old) => old.version.wrapping_add(1).max(1),
            None => 1,
        };
        self.order += 1;
        let publication = Publication {
            version,
            published: now.unix_seconds,
            order: self.order,
            expire: ExpireType::User,
            ends: None,
            publisher: None,
            xml: xml.into(),
            state: None,
        };
        self.publications.insert(key, publication);
    }

    /// An endpoint is gone: what was bound to it goes too. Gives the categories touched.
    pub(crate) fn endpoint_gone(&mut self, epid: &str, now: Now) -> BTreeSet<String> {
        self.endpoints.remove(epid);
        let last = self.endpoints.is_empty();
        self.forget(now, |publication| match publication.expire {
            ExpireType::Endpoint => last || publication.publisher.as_deref() == Some(epid),
            ExpireType::User => last,
            ExpireType::Static | ExpireType::Time(_) => false,
        })
    }

    /// When the next publication expires, since the server began.
    pub(crate) fn next_expiry(&self) -> Option<Duration> {
        self.publications.values().filter_map(|publication| publication.ends).min()
    }

    /// Drops what has expired by now. Gives the categories touched.
    pub(crate) fn sweep(&mut self, now: Now) -> BTreeSet<String> {
        self.forget(now, |publication| publication.ends.is_some_and(|ends| ends <= now.since_start))
    }

    fn forget(&mut self, now: Now, goes: impl Fn(&Publication) -> bool) -> BTreeSet<String> {
        let mut touched = BTreeSet::new();
        self.publications.retain(|key, publication| {
            let gone = goes(publication);
            if gone {
                touched.insert(key.category.clone());
            }
            !gone
        });
        if touched.contains("state") || touched.contains("device") {
            self.aggregate(now);
            touched.insert("state".to_owned());
        }
        touched
    }

    /// Changes containers, all of them or none. Gives their ids.
    pub(crate) fn change_containers(
        &mut self,
        changes: &[ContainerChange],
        quota: &Quota,
    ) -> Result<Vec<u16>, Refusal> {
        if let Some(change) = changes.iter().find(|change| change.id <= 3) {
            return Err(Refusal::NotYours(format!("container {}", change.id)));
        }
        let version = |id| self.containers.get(&id).map_or(0, |container| container.version);
        let conflicts: Vec<Conflict> = changes
            .iter()
            .enumerate()
            .map(|(at, change)| Conflict { index: at + 1, version: change.version, current: version(change.id) })
            .filter(|conflict| conflict.version != conflict.current)
            .collect();
        if !conflicts.is_empty() {
            return Err(Refusal::Conflict(conflicts));
        }
        let members: usize = self.containers.values().map(|container| container.members.len()).sum();
        let added: usize = changes.iter().map(|change| change.members.len()).sum();
        if members + added > quota.members || self.containers.len() + changes.len() > quota.members {
            return Err(Refusal::TooMuch("Too many members in containers."));
        }
        for change in changes {
            let container =
                self.containers.entry(change.id).or_insert_with(|| Container { version: 0, members: BTreeSet::new() });
            for (add, member) in &change.members {
                if *add {
                    container.members.insert(member.clone());
                } else {
                    container.members.remove(member);
                }
            }
            container.version = container.version.wrapping_add(1).max(1);
        }
        Ok(changes.iter().map(|change| change.id).collect())
    }

    /// The one container a watcher sees. User entries win, the highest number first; then domain, then the rest.
    pub(crate) fn container_for(&self, owner: &Aor, watcher: &Aor, same_enterprise: bool) -> u16 {
        if owner == watcher {
            return 400;
        }
        let domain = watcher.domain().as_str().to_owned();
        let place = if same_enterprise { Member::SameEnterprise } else { Member::Federated };
        [Member::User(watcher.clone()), Member::Domain(domain), place, Member::Everyone]
            .iter()
            .find_map(|member| self.containers.iter().rev().find(|(_, c)| c.members.contains(member)))
            .map_or(0, |(id, _)| *id)
    }

    /// Notes that somebody added this user. `false`: known already, or too many.
    pub(crate) fn note_subscriber(&mut self, aor: Aor, display_name: String, quota: &Quota) -> bool {
        if self.subscribers.contains_key(&aor) || self.subscribers.len() >= quota.subscribers {
            return false;
        }
        self.subscribers_version = self.subscribers_version.wrapping_add(1);
        self.subscribers.insert(aor, Subscriber { display_name, acknowledged: false });
        true
    }

    /// The user has seen that somebody added them. `false`: nobody known.
    pub(crate) fn acknowledge(&mut self, aor: &Aor) -> bool {
        let Some(subscriber) = self.subscribers.get_mut(aor) else { return false };
        subscriber.acknowledged = true;
        self.subscribers_version = self.subscribers_version.wrapping_add(1);
        true
    }

    /// The versions of one category, for the owner's eyes: every instance in every container, or that there is none.
    pub(crate) fn own_category(&self, category: &str, card: &Card) -> String {
        let mut xml = String::new();
        for (container, value) in card.own(category) {
            let _ = write!(
                xml,
                "<category name=\"{category}\" instance=\"0\" publishTime=\"{}\" container=\"{container}\" \
                 version=\"1\" expireType=\"static\">{value}</category>",
                publish_time(0)
            );
        }
        for (key, publication) in self.publications.iter().filter(|(key, _)| key.category == category) {
            let _ = write!(
                xml,
                "<category name=\"{category}\" instance=\"{}\" publishTime=\"{}\" container=\"{}\" version=\"{}\" \
                 expireType=\"{}\"",
                key.instance,
                publish_time(publication.published),
                key.container,
                publication.version,
                publication.expire.as_str()
            );
            if let ExpireType::Time(seconds) = publication.expire {
                let _ = write!(xml, " expires=\"{seconds}\"");
            }
            let _ = write!(xml, ">{}</category>", publication.xml);
        }
        if xml.is_empty() { format!("<category name=\"{category}\"/>") } else { xml }
    }

    /// Every category that has an instance.
    pub(crate) fn categories(&self) -> BTreeSet<String> {
        let published = self.publications.keys().map(|key| key.category.clone());
        published.chain(["contactCard", "userProperties"].map(str::to_owned)).collect()
    }

    /// One category as those see it who see `container`. A state is always told, because pidgin-sipe takes an empty
    /// one for no news.
    pub(crate) fn seen_category(&self, category: &str, container: u16, card: &Card) -> String {
        let mut xml = String::new();
        let blocked = container == BLOCKED;
        if category == "contactCard"
            && let Some(value) = &card.contact_card
            && !blocked
        {
            let time = publish_time(0);
            let _ =
                write!(xml, "<category name=\"contactCard\" instance=\"0\" publishTime=\"{time}\">{value}</category>");
        }
        let visible =
            self.publications.iter().filter(|(key, _)| key.category == category && key.container == container);
        for (key, publication) in visible {
            let _ = write!(
                xml,
                "<category name=\"{category}\" instance=\"{}\" publishTime=\"{}\">{}</category>",
                key.instance,
                publish_time(publication.published),
                publication.xml
            );
        }
        match (xml.is_empty(), category) {
            (false, _) => xml,
            (true, "state") => format!(
                "<category name=\"state\" instance=\"{AGGREGATE}\" publishTime=\"{}\">{}</category>",
                publish_time(0),
                write_aggregate(OFFLINE, None)
            ),
            (true, _) => format!("<category name=\"{}\"/>", escape(category)),
        }
    }

    /// Containers with their members: those named, or all that clients are told of.
    pub(crate) fn containers_xml(&self, only: Option<&[u16]>) -> String {
        let mut xml = String::from("<containers xmlns=\"http://schemas.microsoft.com/2006/09/sip/containers\">");
        let ids: BTreeSet<u16> = match only {
            Some(ids) => ids.iter().copied().collect(),
            None => LISTED.iter().chain(self.containers.keys()).copied().collect(),
        };
        for id in ids {
            let (version, members) = self.containers.get(&id).map_or((0, None), |c| (c.version, Some(&c.members)));
            let _ = write!(xml, "<container id=\"{id}\" version=\"{version}\">");
            for member in members.into_iter().flatten() {
                let _ = write!(xml, "<member{}/>", member.attributes());
            }
            xml.push_str("</container>");
        }
        xml.push_str("</containers>");
        xml
    }

    /// Subscribers: the one named, or all.
    pub(crate) fn subscribers_xml(&self, only: Option<&Aor>) -> String {
        let mut xml = format!(
            "<subscribers xmlns=\"http://schemas.microsoft.com/2006/09/sip/presence-subscribers\" version=\"{}\">",
            self.subscribers_version
        );
        for (aor, subscriber) in self.subscribers.iter().filter(|(aor, _)| only.is_none_or(|only| only == *aor)) {
            let _ = write!(
                xml,
                "<subscriber user=\"{}\" displayName=\"{}\" acknowledged=\"{}\" type=\"sameEnterprise\"/>",
                escape(aor.as_str()),
                escape(&subscriber.display_name),
                subscriber.acknowledged
            );
        }
        xml.push_str("</subscribers>");
        xml
    }
}

fn key_of(operation: &Publish) -> Key {
    Key { category: operation.category.clone(), instance: operation.instance, container: operation.container }
}

/// What only the server writes: directory data, user properties, aggregates.
fn is_servers_own(operation: &Publish) -> bool {
    matches!(
        (operation.category.as_str(), operation.instance),
        ("contactCard" | "userProperties", 0) | ("state", AGGREGATE | 0x1000_0000)
    )
}

/// How often the same wrong publication is refused, and within which time, before it is taken.
const MOST_REFUSALS: u32 = 3;
const REFUSING_PERIOD: Duration = Duration::from_secs(10);

/// `2024-03-05T08:15:30.000`, UTC.
fn publish_time(unix_seconds: i64) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp(unix_seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.000",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

/// What the directory says of a user, as categories.
#[derive(Debug, Clone, Default)]
pub(crate) struct Card {
    contact_card: Option<String>,
    user_properties: Option<String>,
}

impl Card {
    /// The categories of this user; none at all for somebody unknown.
    pub(crate) fn of(user: Option<&User>) -> Card {
        let Some(user) = user else { return Card::default() };
        let mail = user.mail.as_deref().map(|mail| format!("<email>{}</email>", escape(mail))).unwrap_or_default();
        let phone = user.line.as_deref().map(|line| {
            let number = line.strip_prefix("tel:").unwrap_or(line);
            let (uri, shown) = (escape(line), escape(number));
            format!("<phone type=\"work\"><uri>{uri}</uri><displayString>{shown}</displayString></phone>")
        });
        let contact_card = format!(
            "<contactCard xmlns=\"http://schemas.microsoft.com/2006/09/sip/contactcard\"><identity><name>\
             <displayName>{}</displayName></name>{mail}</identity>{}</contactCard>",
            escape(&user.display_name),
            phone.unwrap_or_default()
        );
        let lines = user.line.as_deref().map(|line| {
            format!("<lines><line lineType=\"Uc\">{}</line></lines><telephonyMode>Uc</telephonyMode>", escape(line))
        });
        let user_properties = format!(
            "<userProperties xmlns=\"http://schemas.microsoft.com/2006/09/sip/categories\">{}\
             <exumEnabled>0</exumEnabled></userProperties>",
            lines.unwrap_or_default()
        );
        Card { contact_card: Some(contact_card), user_properties: Some(user_properties) }
    }

    /// The containers of a category made from the directory, with its value.
    fn own(&self, category: &str) -> Vec<(u16, &str)> {
        let everywhere = |value, containers: &[u16]| containers.iter().map(|c| (*c, value)).collect();
        match (category, self.contact_card.as_deref(), self.user_properties.as_deref()) {
            ("contactCard", Some(value), _) => everywhere(value, &[0, 100, 200, 300, 400]),
            ("userProperties", _, Some(value)) => everywhere(value, &[1]),
            _ => Vec::new(),
        }
    }
}
