//! The client's half: what is asked for after the 200 to REGISTER, and what was learnt from it.
//!
//! No document fixes the order; the dependencies do. First, together: settings, contact list, own presence. Then,
//! together: the dial plan, the presence of the contacts, one's own first publication. Nothing here can undo the
//! sign-in: whatever fails is a remark. Documents are taken from the answers themselves (piggybacked); `[MS-SIP]` §3.5.

use super::contacts::message::{self as contact_list, ContactDocument};
use super::contacts::{Contact, ContactList};
use super::picture::ContactPresence;
use super::presence::aggregation::{AVAILABLE, describe};
use super::presence::batch::{self, Action, Verb, read_presence, write_batch};
use super::presence::message::{
    self as documents, Categories, Conflict, OwnPresence, Publish, read_conflicts, read_own_presence, write_publish,
    write_roaming_list,
};
use super::publishing;
use super::settings;
use super::settings::location_profile::{self, Choice, ProfileUri};
use super::settings::message as provisioning;
use super::subscription::Package;
use crate::directory::{DialPlan, Properties};
use crate::io::Pending;
use crate::name::Aor;
use crate::report::{Event, Step};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// Sends requests of the signed-in endpoint. Whoever implements it adds what every request has (Via, From, To, Call-ID,
/// CSeq, Contact, Max-Forwards), signs, checks signatures and authenticates again when asked to.
pub trait Session: Send {
    /// Sends all of them without waiting in between, each outside a dialog, and gives their final answers in the same
    /// order.
    fn exchange(&mut self, requests: Vec<Request>) -> Pending<'_, Vec<Result<Response, SessionError>>>;
}

/// A request to be sent. To is the same as the Request-URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `SUBSCRIBE` or `SERVICE`.
    pub method: &'static str,
    /// Request-URI.
    pub uri: String,
    /// Further headers, in order.
    pub headers: Vec<(&'static str, String)>,
    /// Content type and body.
    pub body: Option<(&'static str, String)>,
    /// Call-ID of the subscription it belongs to, as the answer that began it has it; `None`: it stands alone.
    pub within: Option<String>,
}

/// A final answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub code: u16,
    /// Reason phrase.
    pub reason: String,
    /// Headers, in order.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Response {
    /// Copies an answer out of the bytes it came in. A request is none.
    pub fn of(message: &sip::Message<'_>) -> Option<Response> {
        let sip::StartLine::Response { code, reason } = message.start() else { return None };
        let headers = message.headers().iter().map(|h| (h.spelling.to_owned(), h.unfolded().into_owned())).collect();
        Some(Response { code, reason: reason.to_owned(), headers, body: message.body().to_vec() })
    }

    /// The first value of a header, its name compared without case and in its long form.
    pub fn header(&self, name: &str) -> Option<&str> {
        let wanted = sip::Name::from_spelling(name);
        let is = |spelling: &str| {
            spelling.eq_ignore_ascii_case(name)
                || (wanted != sip::Name::Other && sip::Name::from_spelling(spelling) == wanted)
        };
        self.headers.iter().find(|(spelling, _)| is(spelling)).map(|(_, value)| value.as_str())
    }

    /// Whether it is a 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// Status, reason phrase, and what the server says about it.
    pub fn in_words(&self) -> String {
        let said = self.header("ms-diagnostics").or_else(|| self.header("ms-diagnostics-public"));
        match said {
            Some(said) => format!("{} {} ({said})", self.code, self.reason),
            None => format!("{} {}", self.code, self.reason),
        }
    }
}

/// A request had no final answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SessionError(pub String);

/// Who signed in, and what the server said it can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The user.
    pub aor: Aor,
    /// The endpoint.
    pub epid: String,
    /// UUID of the device, as text.
    pub instance: String,
    /// Name of the machine, shown to nobody but the user.
    pub machine: String,
    /// `Allow-Events` of the 200 to REGISTER, split; empty when there was none: then everything is tried.
    pub allow_events: Vec<String>,
    /// `Supported: adhoclist` was in the 200: presence may be asked for in batches.
    pub batches: bool,
}

impl Endpoint {
    fn allows(&self, package: Package) -> bool {
        self.allow_events.is_empty()
            || self.allow_events.iter().any(|event| event.trim().eq_ignore_ascii_case(package.event()))
    }
}

/// What the client wants to be seen as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appearance {
    /// Publish nothing: others see no difference.
    Unseen,
    /// Publish that somebody is at this machine, and leave the user's choice as it is.
    Here,
    /// Publish this availability as the user's choice too.
    As(u32),
}

impl Appearance {
    /// The user's choice.
    pub fn choice(self) -> Option<u32> {
        match self {
            Appearance::As(availability) => Some(availability),
            Appearance::Unseen | Appearance::Here => None,
        }
    }
}

impl Default for Appearance {
    fn default() -> Appearance {
        Appearance::As(AVAILABLE)
    }
}

/// Everything learnt after the sign-in. What could not be learnt is absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settled {
    /// Provisioning groups by name.
    pub settings: BTreeMap<String, Properties>,
    /// The dial plan.
    pub dial_plan: Option<DialPlan>,
    /// The contact list.
    pub contacts: Option<ContactList>,
    /// Own categories, containers, subscribers.
    pub own: Option<OwnPresence>,
    /// What the contacts can be seen as, in the order of the answer.
    pub people: Vec<Categories>,
    /// The first publication was taken.
    pub published: bool,
    /// The subscriptions that go on.
    pub subscriptions: Subscriptions,
}

/// Call-IDs of the subscriptions that go on after step 5.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subscriptions {
    /// To the contact list.
    pub contacts: Option<String>,
    /// To one's own presence.
    pub own: Option<String>,
    /// To the presence of the contacts.
    pub presence: Option<String>,
}

/// Groups asked for. `[MS-SIPREGE]` §2.2.2.4; without the grammars, which only the desktop client can use.
pub const WANTED_GROUPS: &[&str] = &[
    "ServerConfiguration",
    "meetingPolicy",
    "ucPolicy",
    "userSetting",
    "endpointConfiguration",
    "locationPolicy",
    "mediaConfiguration",
    "presencePolicyV2",
    "publicProviders",
    "persistentChatConfiguration",
    "mobilityPolicy",
];

/// Groups that every server gives.
const ALWAYS_GIVEN: &[&str] = &["ServerConfiguration", "meetingPolicy", "ucPolicy", "endpointConfiguration"];

/// Categories of contacts asked for.
pub(crate) const WANTED_CATEGORIES: &[&str] = &["calendarData", "contactCard", "note", "state"];

/// How many contacts get a line of their own in the evidence.
const CONTACTS_SHOWN: usize = 20;

/// Asks for settings, contacts and presence, and publishes one's own. Proof lines and remarks go to `tell`.
pub async fn settle(
    session: &mut dyn Session,
    me: &Endpoint,
    appearance: Appearance,
    tell: &(dyn Fn(Event) + Send + Sync),
) -> Settled {
    let teller = Teller(tell);
    let mut settled = Settled::default();

    let mut first = Round::default();
    first.add(me.allows(Package::Provisioning).then(|| settings_request(me)), Question::Settings);
    first.add(me.allows(Package::Contacts).then(|| contacts_request(me)), Question::Contacts);
    first.add(me.allows(Package::OwnPresence).then(|| own_presence_request(me)), Question::OwnPresence);
    first.ask(session, &teller, &mut settled).await;

    let mut second = Round::default();
    second.add(Some(dial_plan_request(me)), Question::DialPlan);
    second.add(presence_request(me, &settled, &teller), Question::Presence);
    let publication = match (appearance, &settled.own) {
        // Without one's own presence there are no versions to publish on.
        (Appearance::Unseen, _) | (_, None) => None,
        (appearance, Some(own)) => Some(publishing::first(me, appearance.choice(), own)),
    };
    second.add(publication.as_ref().map(|operations| publish_request(me, operations)), Question::Publication);
    second.ask(session, &teller, &mut settled).await;

    if let (Some(mut operations), false, false) = (publication, settled.published, second.conflicts.is_empty()) {
        publishing::renumber(&mut operations, &second.conflicts);
        let mut again = Round::default();
        again.add(Some(publish_request(me, &operations)), Question::Publication);
        again.ask(session, &teller, &mut settled).await;
        if !again.conflicts.is_empty() {
            teller.remark("presence was not published: the server refused the versions it had told".to_owned());
        }
    }
    settled
}

/// What a request asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Settings,
    Contacts,
    OwnPresence,
    DialPlan,
    Presence,
    Publication,
}

impl Question {
    fn subject(self) -> &'static str {
        match self {
            Question::Settings => "settings",
            Question::Contacts => "contacts",
            Question::OwnPresence => "own presence",
            Question::DialPlan => "dial plan",
            Question::Presence => "presence of contacts",
            Question::Publication => "publication",
        }
    }
}

/// Requests that do not depend on each other.
#[derive(Default)]
struct Round {
    requests: Vec<Request>,
    questions: Vec<Question>,
    /// Versions a publication had wrong.
    conflicts: Vec<Conflict>,
}

impl Round {
    fn add(&mut self, request: Option<Request>, question: Question) {
        if let Some(request) = request {
            self.requests.push(request);
            self.questions.push(question);
        }
    }

    async fn ask(&mut self, session: &mut dyn Session, teller: &Teller<'_>, settled: &mut Settled) {
        if self.requests.is_empty() {
            return;
        }
        let answers = session.exchange(std::mem::take(&mut self.requests)).await;
        for (question, answer) in self.questions.clone().into_iter().zip(answers) {
            let subject = question.subject();
            match answer {
                Err(error) => teller.remark(format!("{subject}: {error}")),
                Ok(answer) => {
                    if let Err(why) = self.learn(question, &answer, teller, settled) {
                        teller.remark(format!("{subject}: {why}"));
                    }
                }
            }
        }
    }

    fn learn(
        &mut self,
        question: Question,
        answer: &Response,
        teller: &Teller<'_>,
        settled: &mut Settled,
    ) -> Result<(), String> {
        let accepted = answer.is_success();
        let subscription = || answer.header("Call-ID").map(str::to_owned);
        match question {
            Question::DialPlan if !accepted => {
                teller.evidence(format!("no dial plan: {}", answer.in_words()));
                return Ok(());
            }
            Question::Publication if answer.code == 409 => {
                self.conflicts = read_conflicts(&answer.body).map_err(|error| error.to_string())?;
                return Ok(());
            }
            Question::Publication if accepted => {
                settled.published = true;
                teller.published(answer);
                // The versions that the next publication builds on.
                if let (Some(own), Ok(told)) = (&mut settled.own, read_own_presence(&answer.body)) {
                    own.follow(told);
                }
                return Ok(());
            }
            _ if !accepted => return Err(format!("refused with {}", answer.in_words())),
            _ if answer.body.is_empty() => return Err("the answer has no document".to_owned()),
            _ => {}
        }
        let unreadable = |error: &dyn std::fmt::Display| format!("the answer cannot be read: {error}");
        match question {
            Question::Settings => {
                settled.settings = provisioning::read_answer(&answer.body).map_err(|e| unreadable(&e))?;
                teller.settings(&settled.settings);
                settings::typed::Settings::of(&settled.settings)
                    .problems
                    .into_iter()
                    .for_each(|problem| teller.remark(format!("settings: {problem}")));
            }
            Question::Contacts => match contact_list::read_document(&answer.body).map_err(|e| unreadable(&e))? {
                ContactDocument::List(list) => {
                    teller.contacts(&list);
                    settled.contacts = Some(list);
                    settled.subscriptions.contacts = subscription();
                }
                ContactDocument::Delta(_) => return Err("the answer is a change, not the list".to_owned()),
            },
            Question::OwnPresence => {
                let own = read_own_presence(&answer.body).map_err(|e| unreadable(&e))?;
                teller.own_presence(&own);
                settled.own = Some(own);
                settled.subscriptions.own = subscription();
            }
            Question::DialPlan => {
                let plan = location_profile::read(&answer.body).map_err(|e| unreadable(&e))?;
                teller.evidence(format!("dial plan {}: {} rules", plan.name, plan.rules.len()));
                for finding in settings::normalization::Normalizer::findings(&plan) {
                    teller.remark(format!("dial plan {}: {finding}", plan.name));
                }
                settled.dial_plan = Some(plan);
            }
            Question::Presence => {
                let content_type = answer.header("Content-Type").unwrap_or_default();
                let document = read_presence(content_type, &answer.body).map_err(|e| unreadable(&e))?;
                for entry in document.list.iter().filter(|entry| entry.state == "resubscribe") {
                    let at = entry.pool_fqdn.as_deref().unwrap_or("their own server");
                    teller.remark(format!("presence of {} has to be asked of {at}", entry.aor));
                }
                settled.people = document.users;
                settled.subscriptions.presence = subscription();
                teller.presence(&settled.presence());
            }
            Question::Publication => {}
        }
        Ok(())
    }
}

/// A SUBSCRIBE with what all of them have.
fn subscribe(me: &Endpoint, package: Package, accept: &str) -> Request {
    Request {
        method: "SUBSCRIBE",
        uri: me.aor.to_uri(),
        headers: vec![
            ("Event", package.event().to_owned()),
            ("Accept", accept.to_owned()),
            ("Supported", "com.microsoft.autoextend".to_owned()),
            ("Supported", "ms-benotify".to_owned()),
            ("Proxy-Require", "ms-benotify".to_owned()),
            ("Supported", "ms-piggyback-first-notify".to_owned()),
        ],
        body: None,
        within: None,
    }
}

fn settings_request(me: &Endpoint) -> Request {
    let mut request = subscribe(me, Package::Provisioning, provisioning::CONTENT_TYPE);
    request.headers.push(("Expires", "0".to_owned()));
    request.body = Some((provisioning::CONTENT_TYPE, provisioning::write_request(WANTED_GROUPS)));
    request
}

/// The whole contact list, and every change of it from now on.
pub(crate) fn contacts_request(me: &Endpoint) -> Request {
    subscribe(me, Package::Contacts, contact_list::CONTENT_TYPE)
}

/// All of one's own presence, and every change of it from now on.
pub(crate) fn own_presence_request(me: &Endpoint) -> Request {
    let mut request = subscribe(me, Package::OwnPresence, documents::OWN_PRESENCE);
    request.body = Some((documents::OWN_PRESENCE, write_roaming_list().to_owned()));
    request
}

fn dial_plan_request(me: &Endpoint) -> Request {
    let uri = ProfileUri { aor: me.aor.clone(), choice: Choice::Assigned };
    let headers = vec![("Accept", location_profile::CONTENT_TYPE.to_owned())];
    Request { method: "SERVICE", uri: uri.to_string(), headers, body: None, within: None }
}

fn presence_request(me: &Endpoint, settled: &Settled, teller: &Teller<'_>) -> Option<Request> {
    let contacts = settled.contacts.as_ref()?;
    let watched: Vec<&Aor> = contacts.contacts.iter().filter(|c| c.subscribed).map(|c| &c.aor).collect();
    if watched.is_empty() || !me.allows(Package::Presence) {
        return None;
    }
    if !me.batches {
        teller.remark("presence of contacts: the server takes no batched subscription, so it was not asked".to_owned());
        return None;
    }
    Some(batch_request(me, &Action::with(Verb::Subscribe, watched, WANTED_CATEGORIES)))
}

/// To be told of users from now on, besides those told of already; or no more.
pub(crate) fn batch_request(me: &Endpoint, action: &Action) -> Request {
    let accept = "application/rlmi+xml, multipart/related, application/msrtc-event-categories+xml";
    let mut request = subscribe(me, Package::Presence, accept);
    request.headers.push(("Require", "adhoclist, categoryList".to_owned()));
    request.headers.push(("Supported", "eventlist".to_owned()));
    request.body = Some((batch::REQUEST, write_batch(&me.aor, action)));
    request
}

/// A SERVICE to oneself.
pub(crate) fn service(me: &Endpoint, content_type: &'static str, body: String) -> Request {
    let body = Some((content_type, body));
    Request { method: "SERVICE", uri: me.aor.to_uri(), headers: Vec::new(), body, within: None }
}

/// A publication.
pub(crate) fn publish_request(me: &Endpoint, operations: &[Publish]) -> Request {
    service(me, documents::PUBLISH, write_publish(&me.aor, operations))
}

/// Says what was learnt, in words with names and figures.
struct Teller<'a>(&'a (dyn Fn(Event) + Send + Sync));

impl Teller<'_> {
    fn evidence(&self, line: String) {
        (self.0)(Event::Evidence(Step::Settings, line));
    }

    fn remark(&self, line: String) {
        (self.0)(Event::Remark(Step::Settings, line));
    }

    fn settings(&self, groups: &BTreeMap<String, Properties>) {
        let values: usize = groups.values().map(BTreeMap::len).sum();
        let names: Vec<&str> = groups.keys().map(String::as_str).collect();
        self.evidence(format!("settings: {values} values in {} groups ({})", groups.len(), names.join(", ")));
        let missing: Vec<&str> = ALWAYS_GIVEN.iter().copied().filter(|name| !groups.contains_key(*name)).collect();
        if !missing.is_empty() {
            self.remark(format!("settings: the server gave no {} (inband-group-missing)", missing.join(", ")));
        }
    }

    fn contacts(&self, list: &ContactList) {
        let (contacts, groups) = (list.contacts.len(), list.groups.len());
        self.evidence(format!("contacts: {contacts} in {groups} groups (deltaNum {})", list.delta_num));
    }

    fn own_presence(&self, own: &OwnPresence) {
        let categories = own.categories.as_ref().map_or(0, |own| own.categories.len());
        let containers = own.containers.len();
        self.evidence(format!("own presence: {categories} category instances, {containers} containers"));
        for subscriber in own.subscribers.iter().filter(|subscriber| !subscriber.acknowledged) {
            self.evidence(format!("{} added you to their contacts", subscriber.aor));
        }
    }

    fn presence(&self, presence: &[ContactPresence]) {
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

    fn published(&self, answer: &Response) {
        let own = read_own_presence(&answer.body).ok().and_then(|own| own.categories);
        self.evidence(match own.and_then(|own| own.availability()) {
            Some(a) => format!("published: others see {} ({a})", describe(a)),
            None => "published".to_owned(),
        });
    }
}

impl Settled {
    /// Presence of the contacts, in the order of the answer.
    pub fn presence(&self) -> Vec<ContactPresence> {
        self.people.iter().map(ContactPresence::of).collect()
    }

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
