//! Room 5 tried without sockets: `requests` puts each request a client is known to send to the server's half and looks
//! at the answer, `settings` does so for every property, `endpoints` has many endpoints of one user, and what
//! administrators and servers do besides, `pair` lets the client's half talk to it, `hostile` feeds both what no client
//! would send.

mod endpoints;
mod hostile;
mod pair;
mod requests;
mod settings;

use super::contacts::{Contact, ContactChange, ContactList, Edit, Group};
use super::presence::kept::{Keep, KeptPresence};
use super::server::{Caller, Limits, Live, Notice, Provision};
use crate::directory::{ChangeError, DialPlan, Directory, DirectoryError, NormalizationRule, Properties, User};
use crate::io::{Now, Pending};
use crate::name::{AccountName, Aor};
use crate::reply::Reply;
use crate::service::Surroundings;
use crate::topology::{HostPort, Topology};
use futures_util::FutureExt;
use std::collections::BTreeMap;
use std::future::ready;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Users, lists and policies in memory. Everything is answered at once.
pub(super) struct Memory {
    users: BTreeMap<Aor, Arc<User>>,
    lists: Mutex<BTreeMap<Aor, ContactList>>,
    kept: Mutex<BTreeMap<Aor, KeptPresence>>,
    /// Moved by hand.
    elsewhere: AtomicU64,
    /// Policies besides those every test has, by group.
    policies: BTreeMap<String, Properties>,
}

pub(super) fn aor(text: &str) -> Aor {
    text.parse().expect("an address")
}

impl Memory {
    /// alice, bob and carol of contoso.test; alice has bob and carol in her list.
    fn new() -> Memory {
        let user = |name: &str, line: Option<&str>, plan: Option<&str>| User {
            aor: aor(&format!("{name}@contoso.test")),
            display_name: format!("{}{} <Sales & Co>", name[..1].to_uppercase(), &name[1..]),
            mail: Some(format!("{name}@contoso.test")),
            line: line.map(str::to_owned),
            home_pool: None,
            backup_pool: None,
            enabled: true,
            sip_enabled: true,
            remote_access: true,
            dial_plan: plan.map(str::to_owned),
        };
        let users = [
            user("alice", Some("tel:+14255550100"), Some("Seattle.contoso.test")),
            user("bob", None, None),
            user("carol", None, Some("Empty")),
        ];
        let contact = |name: &str, groups: &[u32]| Contact { groups: groups.to_vec(), ..Contact::new(aor(name)) };
        let mut list = ContactList::empty();
        list.delta_num = 12;
        list.groups.push(Group { id: 2, name: "Team \"A\" & <B>".to_owned(), external_uri: String::new() });
        list.contacts = vec![contact("bob@contoso.test", &[1, 2]), contact("carol@contoso.test", &[1])];
        Memory {
            users: users.into_iter().map(|user| (user.aor.clone(), Arc::new(user))).collect(),
            lists: Mutex::new(BTreeMap::from([(aor("alice@contoso.test"), list)])),
            kept: Mutex::default(),
            elsewhere: AtomicU64::new(0),
            policies: BTreeMap::new(),
        }
    }
}

fn apply(list: &mut ContactList, change: ContactChange) -> Result<(), ChangeError> {
    if change.delta_num.is_some_and(|n| n != list.delta_num) {
        return Err(ChangeError::WrongDelta { current: list.delta_num });
    }
    match change.edit {
        Edit::SetContact(mut contact) => {
            if contact.groups.is_empty() {
                contact.groups.push(1);
            }
            if contact.groups.iter().any(|id| list.group(*id).is_none()) {
                return Err(ChangeError::Invalid("no such group".to_owned()));
            }
            list.contacts.retain(|old| old.aor != contact.aor);
            list.contacts.push(contact);
        }
        Edit::DeleteContact(aor) => list.contacts.retain(|old| old.aor != aor),
        Edit::AddGroup { name, external_uri } => {
            if name.len() > 256 {
                return Err(ChangeError::TooLarge("a group name has at most 256 characters".to_owned()));
            }
            let id = list.groups.iter().map(|group| group.id).max().unwrap_or(0) + 1;
            list.groups.push(Group { id, name, external_uri });
        }
        Edit::ModifyGroup(group) => match list.groups.iter_mut().find(|old| old.id == group.id) {
            Some(old) => *old = group,
            None => return Err(ChangeError::Invalid("no such group".to_owned())),
        },
        Edit::DeleteGroup(id) => list.groups.retain(|group| group.id != id),
    }
    list.delta_num += 1;
    Ok(())
}

impl Directory for Memory {
    fn user(&self, aor: &Aor) -> Pending<'_, Result<Option<Arc<User>>, DirectoryError>> {
        Box::pin(ready(Ok(self.users.get(aor).cloned())))
    }

    fn user_of_account(&self, _: &AccountName) -> Pending<'_, Result<Option<Arc<User>>, DirectoryError>> {
        Box::pin(ready(Ok(None)))
    }

    fn contacts(&self, aor: &Aor) -> Pending<'_, Result<ContactList, DirectoryError>> {
        let list = self.lists.lock().expect("no panic").get(aor).cloned();
        Box::pin(ready(Ok(list.unwrap_or_else(ContactList::empty))))
    }

    fn change_contacts(&self, aor: &Aor, change: ContactChange) -> Pending<'_, Result<ContactList, ChangeError>> {
        let mut lists = self.lists.lock().expect("no panic");
        let list = lists.entry(aor.clone()).or_insert_with(ContactList::empty);
        let mut changed = list.clone();
        let result = apply(&mut changed, change).map(|()| {
            *list = changed.clone();
            changed
        });
        Box::pin(ready(result))
    }

    fn changes_elsewhere(&self) -> u64 {
        self.elsewhere.load(Ordering::Relaxed)
    }

    fn presence(&self, aor: &Aor) -> Pending<'_, Result<KeptPresence, DirectoryError>> {
        Box::pin(ready(Ok(self.kept.lock().expect("no panic").get(aor).cloned().unwrap_or_default())))
    }

    fn keep_presence(&self, aor: &Aor, changes: Vec<Keep>) -> Pending<'_, Result<(), DirectoryError>> {
        let mut kept = self.kept.lock().expect("no panic");
        let kept = kept.entry(aor.clone()).or_default();
        for change in changes {
            match change {
                Keep::Publication(publication) => {
                    kept.publications.retain(|old| old.key != publication.key);
                    kept.publications.push(publication);
                }
                Keep::NoPublication(key) => kept.publications.retain(|old| old.key != key),
                Keep::Container(container) => {
                    kept.containers.retain(|old| old.id != container.id);
                    kept.containers.push(container);
                }
                Keep::Subscriber(subscriber, version) => {
                    kept.subscribers.retain(|old| old.aor != subscriber.aor);
                    kept.subscribers.push(subscriber);
                    kept.subscribers_version = version;
                }
            }
        }
        Box::pin(ready(Ok(())))
    }

    fn policy(&self, _: &Aor, group: &str) -> Pending<'_, Result<Properties, DirectoryError>> {
        let mut properties = Properties::new();
        if group == "ucPolicy" {
            properties.insert("EnableCallPark".to_owned(), "true".to_owned());
        }
        if group == "ServerConfiguration" {
            properties.insert("organization".to_owned(), "Contoso & Sons".to_owned());
        }
        properties.extend(self.policies.get(group).cloned().unwrap_or_default());
        Box::pin(ready(Ok(properties)))
    }

    fn dial_plan(&self, name: Option<&str>) -> Pending<'_, Result<Option<DialPlan>, DirectoryError>> {
        let rule = |pattern: &str, translation: &str| NormalizationRule {
            pattern: pattern.to_owned(),
            translation: translation.to_owned(),
            internal_extension: false,
            device_dialing: false,
        };
        let plan = |name: &str, rules| DialPlan {
            name: name.to_owned(),
            rules,
            external_access_prefix: None,
            optimize_device_dialing: false,
        };
        Box::pin(ready(Ok(match name {
            None => Some(plan("Global", vec![rule(r"^\+(\d+)$", "+$1")])),
            Some("Seattle.contoso.test") => Some(plan(
                "Seattle.contoso.test",
                vec![rule(r"^(\d{4})$", "+1425555$1"), rule(r"^9?011(\d+)$", "+$1"), rule(r"^9?1?(\d{10})$", "+1$1")],
            )),
            Some("Empty") => Some(plan("Empty", Vec::new())),
            Some(_) => None,
        })))
    }
}

/// A clock that is set by hand, and bytes that count.
#[derive(Default)]
pub(super) struct Clock {
    seconds: AtomicU64,
    drawn: AtomicU64,
}

impl Surroundings for Clock {
    fn now(&self) -> Now {
        let seconds = self.seconds.load(Ordering::Relaxed);
        let unix_seconds = 1_700_000_000 + i64::try_from(seconds).expect("small");
        Now { since_start: Duration::from_secs(seconds), unix_seconds }
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = u8::try_from(self.drawn.fetch_add(1, Ordering::Relaxed) % 251).expect("below 251");
        }
    }
}

/// One server with its users.
pub(super) struct House {
    pub(super) server: Arc<Provision>,
    memory: Arc<Memory>,
    clock: Arc<Clock>,
    calls: AtomicU64,
}

impl House {
    pub(super) fn new() -> House {
        House::with(Limits::default())
    }

    fn with(limits: Limits) -> House {
        House::at("fe1.contoso.test", Arc::new(Memory::new()), Arc::new(Clock::default()), Live::new(), limits)
    }

    /// Another server of the same deployment.
    fn neighbour(&self, fqdn: &str) -> House {
        let (memory, clock, live) = (Arc::clone(&self.memory), Arc::clone(&self.clock), Arc::clone(&self.server.live));
        House::at(fqdn, memory, clock, live, Limits::default())
    }

    /// One where everyone has these policies.
    fn with_policies(policies: BTreeMap<String, Properties>) -> House {
        let memory = Arc::new(Memory { policies, ..Memory::new() });
        House::at("fe1.contoso.test", memory, Arc::new(Clock::default()), Live::new(), Limits::default())
    }

    fn at(fqdn: &str, memory: Arc<Memory>, clock: Arc<Clock>, live: Arc<Live>, limits: Limits) -> House {
        let topology = Topology { sip_domains: vec!["contoso.test".to_owned()], ..Topology::default() };
        let server = Provision::new(
            &HostPort { host: fqdn.to_owned(), port: 5061 },
            Arc::clone(&memory) as Arc<dyn Directory>,
            Arc::clone(&clock) as Arc<dyn Surroundings>,
            Arc::new(topology),
            live,
            limits,
        );
        House { server: Arc::new(server), memory, clock, calls: AtomicU64::new(0) }
    }

    fn pass(&self, seconds: u64) {
        self.clock.seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    /// Puts one request, as bytes, to the server: its answer, and the notifications it caused.
    fn put(&self, caller: &Caller, message: &[u8], to_tag: &str) -> (Option<Reply>, Vec<Notice>) {
        let message = sip::Message::parse(message).expect("a SIP message");
        let answer = self.server.answer(caller, &message, to_tag).now_or_never().expect("nothing to wait for");
        (answer.reply, self.delivered())
    }

    fn gone(&self, who: &Caller) -> Vec<Notice> {
        self.server.endpoint_gone(&who.aor, &who.epid).now_or_never().expect("nothing to wait for");
        self.delivered()
    }

    fn sweep(&self) -> Vec<Notice> {
        self.server.sweep().now_or_never().expect("nothing to wait for");
        self.delivered()
    }

    fn delivered(&self) -> Vec<Notice> {
        let mut notices = Vec::new();
        self.server.deliver(|notice| notices.push(notice.clone()));
        notices
    }

    /// Sends a request of `who` outside a dialog. `head` are further header lines.
    fn send(&self, who: &Caller, method: &str, uri: &str, head: &str, body: &str) -> (Reply, Vec<Notice>) {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        self.send_in(who, &format!("call{call}"), None, method, uri, head, body)
    }

    /// Sends a request inside the dialog of `call_id`, when a To tag is given.
    #[expect(clippy::too_many_arguments, reason = "one request, told piece by piece")]
    fn send_in(
        &self,
        who: &Caller,
        call_id: &str,
        tag: Option<&str>,
        method: &str,
        uri: &str,
        head: &str,
        body: &str,
    ) -> (Reply, Vec<Notice>) {
        let tag = tag.map(|tag| format!(";tag={tag}")).unwrap_or_default();
        let head: String = head.lines().map(|line| format!("{}\r\n", line.trim())).collect();
        let message = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2.7:51649\r\n\
             From: <{}>;tag=f{};epid={}\r\nTo: <{uri}>{tag}\r\nCall-ID: {call_id}\r\nCSeq: 1 {method}\r\n\
             {head}Content-Length: {}\r\n\r\n{body}",
            who.aor.to_uri(),
            who.epid,
            who.epid,
            body.len()
        );
        let (reply, notices) = self.put(who, message.as_bytes(), &format!("t{call_id}"));
        (reply.expect("an answer"), notices)
    }
}

pub(super) fn endpoint(user: &str, epid: &str) -> Caller {
    Caller { aor: aor(&format!("{user}@contoso.test")), epid: epid.to_owned(), external: false }
}

fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    reply.headers.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str())
}

fn body(reply: &Reply) -> &str {
    reply.body.as_ref().map_or("", |(_, body)| std::str::from_utf8(body).expect("text"))
}

/// The headers pidgin-sipe puts on every SUBSCRIBE.
const TAKES_ALL: &str = "Supported: com.microsoft.autoextend
    Supported: ms-benotify
    Proxy-Require: ms-benotify
    Supported: ms-piggyback-first-notify";
