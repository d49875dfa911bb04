//! Dialogs that SUBSCRIBE made, as the server keeps them, and the notifications inside them. RFC 6665 §4.2,
//! `[MS-SIP]` §3.4, §3.5.

use super::live::{Deadline, State};
use super::request::Request;
use super::server::{Answer, Caller, Notice, Provision, unavailable};
use crate::name::Aor;
use crate::reply::{Diagnostics, Reply};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Event packages answered here, as `Allow-Events` lists them (without blanks: pidgin-sipe does not trim).
pub const ALLOW_EVENTS: &str =
    "vnd-microsoft-roaming-contacts,vnd-microsoft-provisioning-v2,vnd-microsoft-roaming-self,presence";

/// What a SUBSCRIBE is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Package {
    /// `vnd-microsoft-roaming-contacts`
    Contacts,
    /// `vnd-microsoft-provisioning-v2`
    Provisioning,
    /// `vnd-microsoft-roaming-self`
    OwnPresence,
    /// `presence`
    Presence,
}

impl Package {
    /// The package of an Event header, lower case.
    pub(super) fn from_event(event: &str) -> Option<Package> {
        [Package::Contacts, Package::Provisioning, Package::OwnPresence, Package::Presence]
            .into_iter()
            .find(|package| package.event() == event)
    }

    /// Its name in the Event header.
    pub(super) fn event(self) -> &'static str {
        match self {
            Package::Contacts => "vnd-microsoft-roaming-contacts",
            Package::Provisioning => "vnd-microsoft-provisioning-v2",
            Package::OwnPresence => "vnd-microsoft-roaming-self",
            Package::Presence => "presence",
        }
    }
}

/// Names a dialog inside this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct DialogId(pub(super) u64);

/// One subscription of one endpoint.
#[derive(Debug)]
pub(super) struct Dialog {
    pub(super) owner: Arc<Aor>,
    pub(super) epid: Arc<str>,
    /// FQDN of the server that holds the endpoint's connection.
    server: Arc<str>,
    call_id: String,
    /// To of the SUBSCRIBE with our tag: From of what we send.
    local: String,
    local_tag: String,
    /// From of the SUBSCRIBE with its tag and epid: To of what we send.
    remote: String,
    remote_tag: String,
    /// Number of the last notification.
    cseq: u32,
    benotify: bool,
    /// Since the server began; `None`: as long as the endpoint is registered (`com.microsoft.autoextend`).
    ends: Option<Duration>,
    pub(super) subject: Subject,
}

/// What a subscription wants to hear of.
#[derive(Debug)]
pub(super) enum Subject {
    /// The contact list: the version last told, and the newest one that is not the endpoint's own doing.
    Contacts { told: u32, of_others: u32 },
    /// Settings: only ever polled.
    Provisioning,
    /// One's own presence.
    OwnPresence(Scopes),
    /// The presence of others.
    Presence(Watch),
}

impl Subject {
    pub(super) fn package(&self) -> Package {
        match self {
            Subject::Contacts { .. } => Package::Contacts,
            Subject::Provisioning => Package::Provisioning,
            Subject::OwnPresence(_) => Package::OwnPresence,
            Subject::Presence(_) => Package::Presence,
        }
    }
}

/// Parts of one's own presence asked for. `[MS-PRES]` §3.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Scopes {
    pub(super) categories: bool,
    pub(super) containers: bool,
    pub(super) subscribers: bool,
    pub(super) delegates: bool,
}

/// Whom a presence subscription watches, and which categories of them.
#[derive(Debug, Default)]
pub(super) struct Watch {
    pub(super) watched: BTreeSet<Arc<Aor>>,
    pub(super) categories: BTreeSet<String>,
    /// `version` of the next rlmi list.
    pub(super) list_version: u32,
}

impl Dialog {
    /// The dialog that `request` opens.
    pub(super) fn open(request: &Request, owner: Arc<Aor>, epid: &str, server: Arc<str>, subject: Subject) -> Dialog {
        Dialog {
            owner,
            epid: epid.into(),
            server,
            call_id: request.call_id.clone(),
            local: format!("<{}>;tag={}", request.to_uri, request.local_tag),
            local_tag: request.local_tag.clone(),
            remote: request.from.clone(),
            remote_tag: request.from_tag.clone(),
            cseq: u32::from(request.piggyback),
            benotify: request.benotify,
            ends: None,
            subject,
        }
    }

    /// Whether a request inside a dialog belongs to this one. RFC 3261 §12.2.2.
    pub(super) fn is_of(&self, request: &Request) -> bool {
        self.call_id == request.call_id
            && request.to_tag.as_deref() == Some(self.local_tag.as_str())
            && self.remote_tag == request.from_tag
    }

    /// The next notification in this dialog. `now` is the time since the server began.
    pub(super) fn notify(&mut self, now: Duration, content_type: &str, body: Arc<str>) -> Notice {
        self.cseq = self.cseq.saturating_add(1);
        let left = self.ends.map_or(FULL_EXPIRES, |ends| ends.saturating_sub(now).as_secs().try_into().unwrap_or(0));
        self.notice(format!("active;expires={left}"), content_type, body)
    }

    /// The one notification of a poll by a client that does not take it inside the 200.
    pub(super) fn notify_once(mut self, content_type: &str, body: Arc<str>) -> Notice {
        self.cseq = self.cseq.saturating_add(1);
        self.notice("terminated;expires=0".to_owned(), content_type, body)
    }

    fn notice(&self, state: String, content_type: &str, body: Arc<str>) -> Notice {
        let method = if self.benotify { "BENOTIFY" } else { "NOTIFY" };
        let package = self.subject.package();
        let mut headers = vec![
            ("From", self.local.clone()),
            ("To", self.remote.clone()),
            ("Call-ID", self.call_id.clone()),
            ("CSeq", format!("{} {method}", self.cseq)),
        ];
        if package == Package::Presence {
            headers.push(("Require", "eventlist".to_owned()));
        }
        headers.push(("Event", package.event().to_owned()));
        headers.push(("subscription-state", state));
        Notice {
            to: Arc::clone(&self.owner),
            epid: Arc::clone(&self.epid),
            server: Arc::clone(&self.server),
            method,
            headers,
            content_type: content_type.to_owned(),
            body,
        }
    }
}

/// `Expires` told where a subscription has no end of its own. Seconds; eight hours.
pub(super) const FULL_EXPIRES: u32 = 28_800;

/// How long a subscription lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// A poll: answered once, nothing is kept.
    Once,
    /// For so many seconds.
    Seconds(u32),
}

impl Lifetime {
    /// What is granted to `request`. `luck` spreads refreshes by up to a tenth either way.
    pub(super) fn granted(request: &Request, luck: u8) -> Lifetime {
        match request.expires {
            Some(0) => Lifetime::Once,
            wanted => {
                let tenth = FULL_EXPIRES / 10;
                let granted = FULL_EXPIRES - tenth + 2 * tenth * u32::from(luck) / 255;
                Lifetime::Seconds(wanted.map_or(granted, |wanted| wanted.clamp(SHORTEST_EXPIRES, granted)))
            }
        }
    }

    /// Seconds, as Expires tells them.
    pub(super) fn seconds(self) -> u32 {
        match self {
            Lifetime::Once => 0,
            Lifetime::Seconds(seconds) => seconds,
        }
    }
}

/// A refresh that comes in the last moment still finds its dialog.
const GRACE: Duration = Duration::from_secs(60);

/// Shorter subscriptions are not granted: refreshing them would cost more than it is worth. Seconds.
const SHORTEST_EXPIRES: u32 = 300;

/// The 200 to a SUBSCRIBE: its headers, and the document when the client takes it there. Without
/// `ms-piggyback-first-notify` the document has to follow in a notification.
pub(super) fn accepted(
    request: &Request,
    package: Package,
    contact: &str,
    lifetime: Lifetime,
    content_type: &str,
    document: &str,
) -> Reply {
    let state = match lifetime {
        Lifetime::Once => "terminated;expires=0".to_owned(),
        Lifetime::Seconds(seconds) => format!("active;expires={seconds}"),
    };
    let mut reply = Reply::ok().with("Contact", contact).with("Expires", lifetime.seconds().to_string());
    if package == Package::Presence {
        reply = reply.with("Require", "eventlist");
    }
    reply = reply.with("Event", package.event()).with("subscription-state", state);
    if request.piggyback && !document.is_empty() {
        reply = reply.with("ms-piggyback-cseq", "1").with_body(content_type, document);
    }
    let mut supported = Vec::new();
    if request.benotify {
        supported.push("ms-benotify");
    }
    if request.piggyback {
        supported.push("ms-piggyback-first-notify");
    }
    if request.autoextend && lifetime != Lifetime::Once {
        supported.push("com.microsoft.autoextend");
    }
    if supported.is_empty() { reply } else { reply.with("Supported", supported.join(", ")) }
}

impl Provision {
    /// What every SUBSCRIBE has in common: a poll leaves nothing behind, a refresh goes on in its dialog, a first one
    /// opens a dialog. `others` are the users it is about besides the caller. `document` gives content type and
    /// document to the dialog (none: a poll), or refuses, and then nothing is left of a first one. It is asked while the
    /// state is locked, so that no change falls between the document and the first notification. What the 200 cannot
    /// carry follows as a notification.
    pub(super) async fn settle_subscription(
        &self,
        caller: &Caller,
        request: &Request,
        subject: Subject,
        others: &BTreeSet<Aor>,
        document: impl FnOnce(&mut State, Option<DialogId>) -> Result<(String, String), Box<Reply>>,
    ) -> Answer {
        let package = subject.package();
        // Settings are only ever polled, whatever the client asks for. `[MS-SIPREGE]` §4.2.2.
        let lifetime = match package {
            Package::Provisioning => Lifetime::Once,
            _ => Lifetime::granted(request, self.luck()),
        };
        let mut live = match self.loaded(others.iter().chain([&caller.aor])).await {
            Ok(live) => live,
            Err(error) => return unavailable(&error).into(),
        };
        let answer = self.settle(&mut live, caller, request, subject, lifetime, document);
        others.iter().chain([&caller.aor]).for_each(|aor| live.forget_if_idle(aor));
        answer.unwrap_or_else(|refusal| *refusal).into()
    }

    fn settle(
        &self,
        live: &mut State,
        caller: &Caller,
        request: &Request,
        subject: Subject,
        lifetime: Lifetime,
        document: impl FnOnce(&mut State, Option<DialogId>) -> Result<(String, String), Box<Reply>>,
    ) -> Result<Reply, Box<Reply>> {
        let package = subject.package();
        let now = self.surroundings.now().since_start;
        let known = request.to_tag.as_ref().and_then(|_| live.find_dialog(caller, request, package));
        let id = match (known, lifetime) {
            (Some(id), _) => {
                live.renew(id, subject);
                id
            }
            (None, Lifetime::Once) => {
                let (content_type, body) = document(live, None)?;
                let reply = accepted(request, package, &self.contact, lifetime, &content_type, &body);
                if !request.piggyback {
                    let owner = Arc::new(caller.aor.clone());
                    let once = Dialog::open(request, owner, &caller.epid, Arc::clone(&self.fqdn), subject);
                    live.outbox.push(once.notify_once(&content_type, body.into()));
                }
                return Ok(reply);
            }
            (None, Lifetime::Seconds(_)) => {
                if live.subscriptions(caller) >= self.limits.subscriptions {
                    let why = Diagnostics::internal(4008, "Too many subscriptions of one endpoint.");
                    let refusal = Reply::new(503, "Service Unavailable").with("Retry-After", "300").because(why);
                    return Err(Box::new(refusal));
                }
                let owner = live.arrive(caller, &self.fqdn).unwrap_or_else(|| Arc::new(caller.aor.clone()));
                live.keep_dialog(Dialog::open(request, owner, &caller.epid, Arc::clone(&self.fqdn), subject))
            }
        };
        let (content_type, body) = document(live, Some(id)).inspect_err(|_| {
            if known.is_none() {
                live.end_dialog(id);
            }
        })?;
        live.extend(id, request, lifetime, now);
        let State { dialogs, outbox, .. } = live;
        let reply = accepted(request, package, &self.contact, lifetime, &content_type, &body);
        if let Some(dialog) = dialogs.get_mut(&id).filter(|_| !request.piggyback) {
            outbox.push(dialog.notify(now, &content_type, body.into()));
        }
        Ok(reply)
    }

    /// An endpoint does not know the subscription it was notified in: nothing more is sent in it.
    pub fn subscription_unknown(&self, aor: &Aor, epid: &str, call_id: &str) {
        let mut live = self.live.lock();
        let dialogs =
            live.presentities.get(aor).and_then(|presentity| presentity.endpoints.get(epid)).map(|e| &e.dialogs);
        let known = |id: &&DialogId| live.dialogs.get(id).is_some_and(|dialog| dialog.call_id == call_id);
        let unknown: Vec<DialogId> = dialogs.into_iter().flatten().filter(known).copied().collect();
        for id in unknown {
            live.end_dialog(id);
        }
    }

    /// The end of a subscription, asked for by the client.
    pub(super) fn unsubscribe(&self, id: DialogId, package: Package) -> Answer {
        self.live.lock().end_dialog(id);
        Reply::ok()
            .with("Contact", self.contact.clone())
            .with("Expires", "0")
            .with("Event", package.event())
            .with("subscription-state", "terminated;expires=0")
            .into()
    }
}

impl State {
    /// The dialog a request inside one belongs to.
    pub(super) fn find_dialog(&self, caller: &Caller, request: &Request, package: Package) -> Option<DialogId> {
        let endpoint = self.presentities.get(&caller.aor)?.endpoints.get(caller.epid.as_str())?;
        endpoint
            .dialogs
            .iter()
            .copied()
            .find(|id| self.dialogs.get(id).is_some_and(|d| d.subject.package() == package && d.is_of(request)))
    }

    /// Sets the end of a subscription anew. `now` is the time since the server began.
    fn extend(&mut self, id: DialogId, request: &Request, lifetime: Lifetime, now: Duration) {
        let Some(dialog) = self.dialogs.get_mut(&id) else { return };
        let seconds = Duration::from_secs(u64::from(lifetime.seconds()));
        let ends = (!request.autoextend).then(|| now + seconds + GRACE);
        if let Some(before) = std::mem::replace(&mut dialog.ends, ends) {
            self.deadlines.remove(&(before, Deadline::Dialog(id)));
        }
        if let Some(ends) = ends {
            self.deadlines.insert((ends, Deadline::Dialog(id)));
        }
    }

    /// A refresh. It replaces what was asked for, but for presence: there it only adds.
    fn renew(&mut self, id: DialogId, subject: Subject) {
        if let Some(dialog) = self.dialogs.get_mut(&id)
            && dialog.subject.package() != Package::Presence
        {
            dialog.subject = subject;
        }
    }

    /// Keeps a dialog with its endpoint. The endpoint's older dialog for the same thing ends: it can only be left over
    /// from before the client was started again. Presence may have several, one for each Call-ID.
    pub(super) fn keep_dialog(&mut self, dialog: Dialog) -> DialogId {
        self.last_dialog += 1;
        let id = DialogId(self.last_dialog);
        let (owner, epid, package) = (Arc::clone(&dialog.owner), Arc::clone(&dialog.epid), dialog.subject.package());
        let endpoint = self.presentities.get_mut(&owner).and_then(|p| p.endpoints.get_mut(&epid));
        let others = endpoint.map(|endpoint| endpoint.dialogs.clone()).unwrap_or_default();
        if let Some(endpoint) = self.presentities.get_mut(&owner).and_then(|p| p.endpoints.get_mut(&epid)) {
            endpoint.dialogs.insert(id);
        }
        self.dialogs.insert(id, dialog);
        if package != Package::Presence {
            for other in others {
                if self.dialogs.get(&other).is_some_and(|d| d.subject.package() == package) {
                    self.end_dialog(other);
                }
            }
        }
        id
    }

    /// Forgets a dialog, and whoever is only known because of it.
    pub(super) fn end_dialog(&mut self, id: DialogId) {
        let Some(dialog) = self.dialogs.remove(&id) else { return };
        if let Some(ends) = dialog.ends {
            self.deadlines.remove(&(ends, Deadline::Dialog(id)));
        }
        if let Subject::Presence(watch) = &dialog.subject {
            for aor in &watch.watched {
                if let Some(presentity) = self.presentities.get_mut(aor) {
                    presentity.watchers.remove(&id);
                }
                self.forget_if_idle(aor);
            }
        }
        if let Some(presentity) = self.presentities.get_mut(&dialog.owner)
            && let Some(endpoint) = presentity.endpoints.get_mut(&dialog.epid)
        {
            endpoint.dialogs.remove(&id);
        }
    }

    /// The subscriptions of a user's endpoints to one package of their own.
    pub(super) fn own_dialogs(&self, aor: &Aor, package: Package) -> BTreeSet<DialogId> {
        let endpoints = self.presentities.get(aor).map(|presentity| presentity.endpoints.values());
        let dialogs = endpoints.into_iter().flatten().flat_map(|endpoint| endpoint.dialogs.iter().copied());
        dialogs.filter(|id| self.dialogs.get(id).is_some_and(|d| d.subject.package() == package)).collect()
    }

    /// The users with a subscription to this package.
    pub(super) fn owners(&self, package: Package) -> BTreeSet<Arc<Aor>> {
        let of_package = self.dialogs.values().filter(|dialog| dialog.subject.package() == package);
        of_package.map(|dialog| Arc::clone(&dialog.owner)).collect()
    }

    /// How many subscriptions an endpoint has.
    pub(super) fn subscriptions(&self, caller: &Caller) -> usize {
        let endpoints = self.presentities.get(&caller.aor).map(|presentity| &presentity.endpoints);
        endpoints.and_then(|endpoints| endpoints.get(caller.epid.as_str())).map_or(0, |e| e.dialogs.len())
    }
}
