//! What the server keeps of one user whose presence can be seen: endpoints, publications, containers, subscribers.
//! `[MS-PRES]` §3.1.
//!
//! What has to outlive the endpoints is noted with every change ([`Presentity::take_unsaved`]), so that whoever changed
//! something can have it kept before saying that it is done.

use super::aggregation::{self, Device, Input, State};
use super::containers::Containers;
use super::kept::{Keep, KeptPresence, PublicationKey};
use super::message::{Conflict, ContainerChange, ExpireType, Publish, SubscriberEntry};
use super::publication::{AGGREGATE, AGGREGATE_MACHINE, Publication, Publisher, next_version};
use super::state::{write_aggregate, write_machine, write_services};
use super::views::publish_time;
use crate::io::Now;
use crate::name::Aor;
use crate::provision::subscription::DialogId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

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
    operations: Vec<(PublicationKey, u32)>,
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
        Quota { publications: 1_000, value: 32 * 1024, values: 512 * 1024, members: 2_000, subscribers: 1_000 }
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
    owner: Aor,
    pub(crate) endpoints: BTreeMap<Arc<str>, Endpoint>,
    /// Presence subscriptions to this user.
    pub(crate) watchers: BTreeSet<DialogId>,
    pub(super) publications: BTreeMap<PublicationKey, Publication>,
    pub(crate) containers: Containers,
    pub(super) subscribers: BTreeMap<Aor, Subscriber>,
    pub(super) subscribers_version: u32,
    order: u64,
    /// Since when nobody is at a machine, seconds since 1970.
    idle_since: Option<i64>,
    /// What the table of deadlines says of this user.
    pub(crate) noted_expiry: Option<Duration>,
    /// Changes of what outlives the endpoints, not yet handed to whoever keeps them.
    unsaved: Vec<Keep>,
    /// Changes handed over and not yet durable.
    pub(crate) saving: usize,
}

impl Presentity {
    /// A user of whom this is kept.
    pub(crate) fn of(owner: Aor, kept: KeptPresence, now: Now) -> Presentity {
        let mut presentity = Presentity {
            owner,
            endpoints: BTreeMap::new(),
            watchers: BTreeSet::new(),
            publications: BTreeMap::new(),
            containers: Containers::of(kept.containers),
            subscribers: BTreeMap::new(),
            subscribers_version: kept.subscribers_version.max(1),
            order: 0,
            idle_since: None,
            noted_expiry: None,
            unsaved: Vec::new(),
            saving: 0,
        };
        for SubscriberEntry { aor, display_name, acknowledged } in kept.subscribers {
            presentity.subscribers.insert(aor, Subscriber { display_name, acknowledged });
        }
        for kept in kept.publications {
            let publication = Publication::restored(&kept, now);
            if publication.ends.is_some_and(|ends| ends <= now.since_start) {
                presentity.unsaved.push(Keep::NoPublication(kept.key));
            } else {
                presentity.put(kept.key, publication);
            }
        }
        presentity
    }

    /// Whether nothing would be lost if it were forgotten: nobody is there, nobody watches, all is kept.
    pub(crate) fn is_idle(&self) -> bool {
        self.endpoints.is_empty() && self.watchers.is_empty() && self.saving == 0
    }

    /// What has to be kept since this was last asked.
    pub(crate) fn take_unsaved(&mut self) -> Vec<Keep> {
        std::mem::take(&mut self.unsaved)
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
            match &operation.value {
                None => self.remove(&key_of(operation)),
                Some(xml) => {
                    let publisher = Publisher::Endpoint(Arc::clone(epid));
                    let new = Publication::new(&operation.category, xml, operation.expire, publisher, now);
                    self.replace(key_of(operation), new);
                }
            }
        }
        self.aggregate(&mut touched, now);
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
        let operations: Vec<(PublicationKey, u32)> = operations.iter().map(|o| (key_of(o), o.version)).collect();
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
        let size = |operation: &Publish| operation.value.as_ref().map_or(0, String::len);
        if operations.iter().any(|operation| size(operation) > quota.value) {
            return Err(Refusal::TooMuch("A published value is too long."));
        }
        let added: BTreeSet<PublicationKey> = operations.iter().filter(|o| o.value.is_some()).map(key_of).collect();
        let kept = || self.publications.iter().filter(|(key, _)| !added.contains(key));
        if kept().count() + added.len() > quota.publications {
            return Err(Refusal::TooMuch("Too many publications."));
        }
        let bytes: usize = kept().map(|(_, p)| p.xml.len()).chain(operations.iter().map(size)).sum();
        if bytes > quota.values { Err(Refusal::TooMuch("Too many bytes published.")) } else { Ok(()) }
    }

    /// Publishes in the place of what is there, as its next version.
    fn replace(&mut self, key: PublicationKey, mut new: Publication) {
        let before = self.publications.get(&key);
        new.version = next_version(before.map_or(0, |before| before.version));
        match new.to_keep(&key) {
            Some(kept) => self.unsaved.push(Keep::Publication(kept)),
            None if before.is_some_and(Publication::outlives_endpoints) => {
                self.unsaved.push(Keep::NoPublication(key.clone()));
            }
            None => {}
        }
        self.put(key, new);
    }

    /// The newest publication.
    fn put(&mut self, key: PublicationKey, publication: Publication) {
        self.order += 1;
        self.publications.insert(key, Publication { order: self.order, ..publication });
    }

    fn remove(&mut self, key: &PublicationKey) {
        if self.publications.remove(key).is_some_and(|gone| gone.outlives_endpoints()) {
            self.unsaved.push(Keep::NoPublication(key.clone()));
        }
    }

    /// An endpoint is gone: what was bound to it goes too. Gives the categories touched.
    pub(crate) fn endpoint_gone(&mut self, epid: &str, now: Now) -> BTreeSet<String> {
        self.endpoints.remove(epid);
        let last = self.endpoints.is_empty();
        let from_it = |publisher: &Publisher| matches!(publisher, Publisher::Endpoint(from) if **from == *epid);
        self.forget(now, |publication| match publication.expire {
            ExpireType::Endpoint => last || from_it(&publication.publisher),
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
        let gone: Vec<PublicationKey> =
            self.publications.iter().filter(|(_, publication)| goes(publication)).map(|(key, _)| key.clone()).collect();
        let mut touched = BTreeSet::new();
        for key in gone {
            self.remove(&key);
            touched.insert(key.category);
        }
        self.aggregate(&mut touched, now);
        touched
    }

    /// Changes containers, all of them or none. Gives their ids.
    pub(crate) fn change_containers(
        &mut self,
        changes: &[ContainerChange],
        quota: &Quota,
    ) -> Result<Vec<u16>, Refusal> {
        let changed = self.containers.change(changes, quota)?;
        self.unsaved.extend(changed.into_iter().map(Keep::Container));
        Ok(changes.iter().map(|change| change.id).collect())
    }

    /// Notes that somebody added this user. `false`: known already, or too many.
    pub(crate) fn note_subscriber(&mut self, aor: &Aor, display_name: &str, quota: &Quota) -> bool {
        if self.subscribers.contains_key(aor) || self.subscribers.len() >= quota.subscribers {
            return false;
        }
        self.put_subscriber(aor, Subscriber { display_name: display_name.to_owned(), acknowledged: false });
        true
    }

    /// The user has seen that somebody added them. `false`: nobody known.
    pub(crate) fn acknowledge(&mut self, aor: &Aor) -> bool {
        let Some(known) = self.subscribers.get(aor) else { return false };
        let subscriber = Subscriber { acknowledged: true, ..known.clone() };
        self.put_subscriber(aor, subscriber);
        true
    }

    fn put_subscriber(&mut self, aor: &Aor, subscriber: Subscriber) {
        self.subscribers_version = next_version(self.subscribers_version);
        let entry = SubscriberEntry {
            aor: aor.clone(),
            display_name: subscriber.display_name.clone(),
            acknowledged: subscriber.acknowledged,
        };
        self.unsaved.push(Keep::Subscriber(entry, self.subscribers_version));
        self.subscribers.insert(aor.clone(), subscriber);
    }
}

/// What the server makes of publications. `[MS-PRES]` §3.8.
impl Presentity {
    /// Aggregates anew when something that is aggregated was touched, and adds what that touched.
    fn aggregate(&mut self, touched: &mut BTreeSet<String>, now: Now) {
        if !touched.contains("state") && !touched.contains("device") {
            return;
        }
        for (input, from, into) in [(Input::Two, 2, &[2_u16, 100, 200, 400][..]), (Input::Three, 3, &[3, 300][..])] {
            let published = self.published("state", from);
            let states: Vec<&State> = published.iter().filter_map(|(_, publication)| publication.state()).collect();
            let present = !states.is_empty() && !self.endpoints.is_empty();
            let seen = present.then(|| aggregation::aggregate(input, &states));
            if input == Input::Two {
                let idle = seen.as_ref().is_some_and(aggregation::Aggregate::is_idle);
                self.idle_since = if idle { self.idle_since.or(Some(now.unix_seconds)) } else { None };
            }
            let idle_since = self.idle_since.map(publish_time);
            for container in into {
                let told = seen.as_ref().map(|seen| match container {
                    100 => write_aggregate(&seen.outside(), None),
                    _ => write_aggregate(seen, idle_since.as_deref().filter(|_| seen.is_idle())),
                });
                self.write(touched, "state", AGGREGATE, *container, told, now);
            }
        }
        let machine = self.busiest_machine();
        self.write(touched, "state", AGGREGATE_MACHINE, 2, machine, now);
        let services = self.services();
        for container in [2, 100, 200, 300, 400] {
            self.write(touched, "services", 0, container, services.clone(), now);
        }
    }

    /// What endpoints have published in one category of one container, the oldest first.
    fn published(&self, category: &str, container: u16) -> Vec<(&PublicationKey, &Publication)> {
        let mut published: Vec<_> = self
            .publications
            .iter()
            .filter(|(key, p)| {
                key.category == category && key.container == container && p.publisher != Publisher::Server
            })
            .collect();
        published.sort_by_key(|(_, publication)| publication.order);
        published
    }

    fn busiest_machine(&self) -> Option<String> {
        if self.endpoints.is_empty() {
            return None;
        }
        let published = self.published("state", 2);
        let states: Vec<&State> = published.iter().filter_map(|(_, publication)| publication.state()).collect();
        let machine = aggregation::busiest_machine(&states)?;
        let at =
            published.iter().find(|(_, publication)| publication.state().is_some_and(|s| std::ptr::eq(s, machine)));
        let publisher = at.map(|(_, publication)| &publication.publisher)?;
        let device = self.published("device", 2).into_iter().find(|(_, p)| p.publisher == *publisher);
        let endpoint_id = match (device.and_then(|(_, p)| p.device()), publisher) {
            (Some(device), _) => &device.endpoint_id,
            (None, Publisher::Endpoint(epid)) => &**epid,
            (None, Publisher::Former | Publisher::Server) => "",
        };
        Some(write_machine(endpoint_id, machine))
    }

    fn services(&self) -> Option<String> {
        let states = self.published("state", 2);
        let machine = |publisher: &Publisher| {
            let own: Vec<&State> =
                states.iter().filter(|(_, p)| p.publisher == *publisher).filter_map(|(_, p)| p.state()).collect();
            aggregation::busiest_machine(&own).and_then(|state| state.availability).unwrap_or(aggregation::AVAILABLE)
        };
        let devices: Vec<(&Device, u32)> = self
            .published("device", 2)
            .into_iter()
            .filter_map(|(_, publication)| Some((publication.device()?, machine(&publication.publisher))))
            .collect();
        (!devices.is_empty()).then(|| write_services(&self.owner, &aggregation::services(&devices)))
    }

    /// Publishes for the server, or takes back; only a value that differs is a new version.
    fn write(
        &mut self,
        touched: &mut BTreeSet<String>,
        category: &str,
        instance: u32,
        container: u16,
        xml: Option<String>,
        now: Now,
    ) {
        let key = PublicationKey { category: category.to_owned(), instance, container };
        if self.publications.get(&key).map(|before| &*before.xml) == xml.as_deref() {
            return;
        }
        touched.insert(category.to_owned());
        match xml {
            Some(xml) => {
                self.replace(key, Publication::new(category, &xml, ExpireType::User, Publisher::Server, now));
            }
            None => self.remove(&key),
        }
    }
}

fn key_of(operation: &Publish) -> PublicationKey {
    PublicationKey {
        category: operation.category.clone(),
        instance: operation.instance,
        container: operation.container,
    }
}

/// What only the server writes: directory data, user properties, aggregates.
fn is_servers_own(operation: &Publish) -> bool {
    matches!(
        (operation.category.as_str(), operation.instance),
        ("contactCard" | "userProperties" | "services", 0) | ("state", AGGREGATE | AGGREGATE_MACHINE)
    )
}

/// How often the same wrong publication is refused, and within which time, before it is taken.
const MOST_REFUSALS: u32 = 3;
const REFUSING_PERIOD: Duration = Duration::from_secs(10);
