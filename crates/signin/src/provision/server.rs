//! The server's half: answers whatever a signed-in endpoint asks after its REGISTER, and tells it of changes.
//!
//! [`Provision::answer`] gets requests whose signature was checked; who sent one is not in doubt. The answer is a value;
//! whoever called signs and sends it. Lookups in the directory come first and may wait; then the shared state is changed
//! in one go, never across a wait.
//!
//! Notifications wait in one queue, in the order of the changes they tell of, until [`Provision::deliver`] hands them
//! over in that order: a client takes a lower CSeq after a higher one for a repetition and drops it.

pub use super::live::Live;
use super::presence::message::{PUBLISH, SET_CONTAINERS, SET_SUBSCRIBERS};
use super::presence::presentity::Quota;
use super::request::Request;
use super::settings::location_profile::ProfileUri;
use super::subscription::{ALLOW_EVENTS, Package};
use crate::directory::{Directory, DirectoryError};
use crate::io::Pending;
use crate::name::Aor;
use crate::reply::{Diagnostics, Reply};
use crate::service::Surroundings;
use crate::topology::{HostPort, Topology};
use sip::{Draft, Message};
use std::sync::Arc;

/// The verified sender of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub aor: Aor,
    /// The endpoint.
    pub epid: String,
    /// It is outside the enterprise.
    pub external: bool,
}

/// What a request leads to, besides the notifications that [`Provision::deliver`] hands over.
#[derive(Debug, Default)]
pub struct Answer {
    /// The final response; `None` for an ACK, which has none.
    pub reply: Option<Reply>,
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Answer {
        Answer { reply: Some(reply) }
    }
}

/// One notification for one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Whose endpoint.
    pub to: Arc<Aor>,
    /// Which.
    pub epid: Arc<str>,
    /// FQDN of the server that holds its connection: the one that answered the SUBSCRIBE.
    pub server: Arc<str>,
    /// `BENOTIFY`, which is never answered, or `NOTIFY`.
    pub method: &'static str,
    /// From, To, Call-ID, CSeq, Event, … in order; Via and Max-Forwards are not among them.
    pub headers: Vec<(&'static str, String)>,
    /// Content type of the body.
    pub content_type: String,
    /// The body.
    pub body: Arc<str>,
}

impl Notice {
    /// The request, unsigned: `uri` is where the endpoint is reached, `via` the value of Via.
    pub fn draft(&self, uri: &str, via: &str) -> Draft {
        let mut draft = Draft::request(self.method, uri);
        draft.header("Via", via).header("Max-Forwards", 70);
        for (name, value) in &self.headers {
            draft.header(name, value);
        }
        draft.body(&self.content_type, self.body.as_bytes());
        draft
    }
}

/// How much one endpoint may ask for.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Subscriptions of one endpoint at one time.
    pub subscriptions: usize,
    /// Users one presence subscription may watch: a full contact list, and some more.
    pub watched: usize,
    /// Users all presence subscriptions of one endpoint may watch.
    pub watched_in_all: usize,
    /// Bytes of the presence in one answer: less than waits for a slow peer before its connection is closed.
    pub document: usize,
    /// Categories one presence subscription may ask for.
    pub categories: usize,
    /// Operations of one publication, changes of one request for containers.
    pub operations: usize,
    /// How much one user may publish and list.
    pub quota: Quota,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            subscriptions: 1_100,
            watched: 1_100,
            watched_in_all: 4_000,
            document: 2 * 1024 * 1024,
            categories: 32,
            operations: 200,
            quota: Quota::default(),
        }
    }
}

/// One server's answers.
pub struct Provision {
    pub(super) directory: Arc<dyn Directory>,
    pub(super) surroundings: Arc<dyn Surroundings>,
    pub(super) live: Arc<Live>,
    pub(super) topology: Arc<Topology>,
    pub(super) limits: Limits,
    /// Own FQDN.
    pub(super) fqdn: Arc<str>,
    /// Contact of the dialogs made here.
    pub(super) contact: String,
}

impl Provision {
    /// The server at `own`, whose users and state are these.
    pub fn new(
        own: &HostPort,
        directory: Arc<dyn Directory>,
        surroundings: Arc<dyn Surroundings>,
        topology: Arc<Topology>,
        live: Arc<Live>,
        limits: Limits,
    ) -> Provision {
        let contact = format!("<sip:{own};transport=tls>");
        Provision { directory, surroundings, live, topology, limits, fqdn: own.host.as_str().into(), contact }
    }

    /// Answers any request but REGISTER of a signed-in endpoint. `to_tag` is the To tag of the answer when the request
    /// has none. The message is read at once; the future does not need it.
    pub fn answer(self: &Arc<Self>, caller: &Caller, message: &Message<'_>, to_tag: &str) -> Pending<'static, Answer> {
        match Request::read(message, to_tag) {
            Err(reply) => Box::pin(std::future::ready((*reply).into())),
            Ok(request) => {
                let (provision, caller) = (Arc::clone(self), caller.clone());
                Box::pin(async move { provision.route(&caller, &request).await })
            }
        }
    }

    async fn route(&self, caller: &Caller, request: &Request) -> Answer {
        if request.method == "ACK" {
            return Answer::default();
        }
        if request.from_aor.as_ref() != Some(&caller.aor) {
            return forbidden("From is another user than the one who signed in.").into();
        }
        match request.method.as_str() {
            "SUBSCRIBE" => self.subscribe(caller, request).await,
            "SERVICE" => self.service(caller, request).await,
            "OPTIONS" => options().into(),
            "NOTIFY" | "BENOTIFY" => Reply::new(481, "Call Leg/Transaction Does Not Exist").into(),
            _ => not_implemented("This method is not understood here.").with("Allow", ALLOW).into(),
        }
    }

    async fn subscribe(&self, caller: &Caller, request: &Request) -> Answer {
        let Some(package) = request.event.as_deref().and_then(Package::from_event) else {
            return Reply::new(489, "Bad Event").with("Allow-Events", ALLOW_EVENTS).into();
        };
        if request.to_tag.is_some() {
            let Some(id) = self.live.lock().find_dialog(caller, request, package) else {
                return Reply::new(481, "Call Leg/Transaction Does Not Exist").into();
            };
            if request.expires == Some(0) {
                return self.unsubscribe(id, package);
            }
        } else if package != Package::Presence && request.to_aor().as_ref() != Some(&caller.aor) {
            return forbidden("This event package is open to the user alone.").into();
        }
        match package {
            Package::Contacts => self.subscribe_contacts(caller, request).await,
            Package::Provisioning => self.poll_settings(caller, request).await,
            Package::OwnPresence => self.subscribe_own_presence(caller, request).await,
            Package::Presence => self.subscribe_presence(caller, request).await,
        }
    }

    async fn service(&self, caller: &Caller, request: &Request) -> Answer {
        if let Some(profile) = ProfileUri::from_uri(&request.uri).or_else(|| ProfileUri::from_uri(&request.to_uri)) {
            return self.location_profile(&profile).await.into();
        }
        let content_type = request.content_type.as_deref().unwrap_or_default();
        if !content_type.eq_ignore_ascii_case(super::contacts::message::SOAP)
            && ![PUBLISH, SET_CONTAINERS, SET_SUBSCRIBERS].contains(&content_type)
        {
            return self.unknown_service(request).await.into();
        }
        // A people search goes to the domain; everything else to oneself.
        let to_self = request.to_aor().as_ref() == Some(&caller.aor);
        match content_type {
            PUBLISH | SET_CONTAINERS | SET_SUBSCRIBERS if !to_self => {
                forbidden("Only the user may change this.").into()
            }
            PUBLISH => self.publish(caller, request).await,
            SET_CONTAINERS => self.set_containers(caller, request).await,
            SET_SUBSCRIBERS => self.set_subscriber(caller, request).await,
            _ => self.change_contacts(caller, request, to_self).await,
        }
    }

    /// Conferencing, media relay and whatever else is not offered: 404 for a user or service that does not exist, else
    /// 501. Both are harmless to every client seen.
    async fn unknown_service(&self, request: &Request) -> Reply {
        match request.to_aor() {
            Some(aor) => match self.directory.user(&aor).await {
                Ok(None) => not_found(),
                Ok(Some(_)) => not_implemented("This service is not offered here."),
                Err(error) => unavailable(&error),
            },
            None => not_implemented("This service is not offered here."),
        }
    }

    /// Random bytes, one of them.
    pub(super) fn luck(&self) -> u8 {
        let mut byte = [0];
        self.surroundings.fill_random(&mut byte);
        byte[0]
    }
}

const ALLOW: &str = "OPTIONS, SUBSCRIBE, SERVICE, INVITE, ACK, BYE, CANCEL, MESSAGE, INFO";

fn options() -> Reply {
    Reply::ok().with("Allow", ALLOW).with("Allow-Events", ALLOW_EVENTS).with("Accept", "application/SOAP+xml")
}

pub(super) fn bad_document(error: &dyn std::fmt::Display) -> Reply {
    let reason = format!("XML parse failure: {error}.");
    Reply::new(400, "Bad Request").because(Diagnostics::internal(4001, reason))
}

pub(super) fn forbidden(reason: &str) -> Reply {
    Reply::new(403, "Forbidden").because(Diagnostics::public(4004, reason))
}

pub(super) fn not_found() -> Reply {
    let reason = "Destination URI either not enabled for SIP or does not exist.";
    Reply::new(404, "Not Found").because(Diagnostics::internal(4005, reason))
}

pub(super) fn not_acceptable(offered: &str) -> Reply {
    Reply::new(406, "Not Acceptable").because(Diagnostics::internal(
        4013,
        format!("Content-type does not match the expected content-type: the answer is {offered}."),
    ))
}

pub(super) fn wrong_type(expected: &'static str) -> Reply {
    Reply::new(415, "Unsupported Media Type").with("Accept", expected).because(Diagnostics::internal(
        4013,
        format!("Content-type does not match the expected content-type {expected}."),
    ))
}

pub(super) fn too_large(reason: &str) -> Reply {
    Reply::new(413, "Request Entity Too Large").because(Diagnostics::internal(4008, reason))
}

pub(super) fn not_implemented(reason: &str) -> Reply {
    Reply::new(501, "Not Implemented").because(Diagnostics::internal(4000, reason))
}

pub(super) fn unavailable(error: &DirectoryError) -> Reply {
    Reply::new(503, "Service Unavailable")
        .with("Retry-After", "30")
        .because(Diagnostics::internal(4000, format!("User services: {}.", error.fault)).outside("User services."))
        .logged(error.to_string())
}
