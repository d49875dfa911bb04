//! The client's half: what is asked for after the 200 to REGISTER, and what was learnt from it.
//!
//! No document fixes the order; the dependencies do. First, together: settings, contact list, own presence. Then,
//! together: the dial plan, the presence of the contacts, one's own first publication. Nothing here can undo the
//! sign-in: whatever fails is a remark. Documents are taken from the answers themselves (piggybacked); `[MS-SIP]` §3.5.

mod evidence;
mod exchange;
mod requests;

pub use self::exchange::{Request, Response, Session, SessionError};
pub use self::requests::WANTED_GROUPS;
pub(crate) use self::requests::{
    WANTED_CATEGORIES, batch_request, contacts_request, own_presence_request, publish_request, service,
};

use self::evidence::Teller;
use self::requests::{dial_plan_request, settings_request};
use super::contacts::ContactList;
use super::contacts::message::{self as contact_list, ContactDocument};
use super::picture::ContactPresence;
use super::presence::aggregation::AVAILABLE;
use super::presence::batch::{Action, Verb, read_presence};
use super::presence::message::{Categories, Conflict, OwnPresence, read_conflicts, read_own_presence};
use super::publishing;
use super::settings;
use super::settings::location_profile;
use super::settings::message as provisioning;
use super::subscription::Package;
use crate::directory::{DialPlan, Properties};
use crate::name::Aor;
use crate::report::Event;
use std::collections::BTreeMap;

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

    /// What an answer says, with and without a document.
    fn learn(
        &mut self,
        question: Question,
        answer: &Response,
        teller: &Teller<'_>,
        settled: &mut Settled,
    ) -> Result<(), String> {
        let accepted = answer.is_success();
        match question {
            Question::DialPlan if !accepted => {
                teller.evidence(format!("no dial plan: {}", answer.in_words()));
                Ok(())
            }
            Question::Publication if answer.code == 409 => {
                self.conflicts = read_conflicts(&answer.body).map_err(|error| error.to_string())?;
                Ok(())
            }
            Question::Publication if accepted => {
                settled.published = true;
                teller.published(answer);
                // The versions that the next publication builds on.
                if let (Some(own), Ok(told)) = (&mut settled.own, read_own_presence(&answer.body)) {
                    own.follow(told);
                }
                Ok(())
            }
            _ if !accepted => Err(format!("refused with {}", answer.in_words())),
            _ if answer.body.is_empty() => Err("the answer has no document".to_owned()),
            _ => read_document(question, answer, teller, settled),
        }
    }
}

/// Keeps what the document in an answer says.
fn read_document(
    question: Question,
    answer: &Response,
    teller: &Teller<'_>,
    settled: &mut Settled,
) -> Result<(), String> {
    let subscription = || answer.header("Call-ID").map(str::to_owned);
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

/// For whoever is in the list that was just learnt; nothing when there is nobody, or the server takes no batches.
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

impl Settled {
    /// Presence of the contacts, in the order of the answer.
    pub fn presence(&self) -> Vec<ContactPresence> {
        self.people.iter().map(ContactPresence::of).collect()
    }
}
