//! The server's half: a stateful proxy between endpoints. RFC 3261 §16.
//!
//! Everything that happens is one call, and what has to be done about it is a list of [`Act`]s: sign this and send it there,
//! hand that to another server. Who may speak was decided before, and where a user's endpoints are is asked by the caller of
//! these calls; no lock is held while anything is sent.
//!
//! An endpoint answers over the connection it was asked over, under the branch it was asked with; anything else is dropped. What
//! nobody answers ends by itself.

use super::context::{Branch, Refusal, ResponseContext, nobody_there, timed_out};
use super::dialogs::{DialogId, Dialogs};
use super::forward::{self, Added};
use super::message::{ALLOW, Endpoint, Errand, Place, tag};
use crate::io::ConnId;
use crate::name::Aor;
use crate::outgoing::{self, Hop};
use crate::register::endpoint::Gruu;
use crate::register::location::Binding;
use crate::reply::{Diagnostics, Reply};
use crate::service::Surroundings;
use crate::topology::HostPort;
use sip::transaction::{RESPONSE_LIMIT, ServerKey};
use sip::{CSeq, Draft, Message, Name, Uri};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How much conversations may cost, and how long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Requests of one connection in progress at a time; those that linger count.
    pub in_progress: usize,
    /// Requests that wait for the answer of one connection.
    pub awaited: usize,
    /// Those of one sender among them: nobody makes another unreachable by asking and asking.
    pub awaited_of_sender: usize,
    /// Endpoints asked with one request.
    pub branches: usize,
    /// Dialogs of one endpoint.
    pub dialogs: usize,
    /// Longest body, bytes.
    pub body: usize,
    /// How long an INVITE may wait for a final answer: timer C of RFC 3261 §16.6, which has three minutes for telephones. Nobody
    /// waits that long for a message to be taken.
    pub invite: Duration,
    /// How long any other request may: timer F (§17.1.2.2).
    pub other: Duration,
    /// How long an unused dialog is remembered (our choice).
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            in_progress: 64,
            awaited: 512,
            awaited_of_sender: 64,
            branches: 32,
            dialogs: 256,
            body: 64 * 1024,
            invite: Duration::from_secs(60),
            other: RESPONSE_LIMIT,
            idle: Duration::from_secs(8 * 3600),
        }
    }
}

/// How long a request that was answered waits for the endpoints that were called off: 64 · T1 (§9.1).
const LINGER: Duration = RESPONSE_LIMIT;

/// How often unused dialogs are looked for.
const DIALOGS_SWEPT: Duration = Duration::from_secs(60);

/// Provisional responses of one endpoint that are passed on.
const PROVISIONAL: u8 = 16;

/// The proven sender of a request, and the way back to him.
#[derive(Debug, Clone)]
pub struct Caller {
    /// His connection.
    pub hop: Hop,
    /// Names the association that signs what he gets.
    pub opaque: Box<str>,
    /// Who he is.
    pub endpoint: Endpoint,
    /// To tag of answers that are the server's own.
    pub to_tag: String,
}

/// A party to a conversation as the other one is shown it.
#[derive(Debug, Clone, Copy)]
pub struct Party<'a> {
    /// The user.
    pub aor: &'a Aor,
    /// Name in the directory.
    pub display_name: &'a str,
}

impl Party<'_> {
    fn identity(&self) -> String {
        forward::identity(self.display_name, &self.aor.to_uri())
    }
}

/// What is to be done.
#[derive(Debug)]
pub enum Act {
    /// Sign this with the association of that name and send it.
    Send {
        /// Over which connection.
        conn: ConnId,
        /// Which association.
        opaque: Box<str>,
        /// The message.
        draft: Draft,
        /// When it is a request that somebody waits for: its branch, for [`Proxy::undeliverable`].
        branch: Option<Box<str>>,
    },
    /// Give this to the server of that FQDN, which may be this one.
    HandOver {
        /// FQDN.
        server: Arc<str>,
        /// What it is to do.
        errand: Errand,
    },
}

/// Where a request leads.
#[derive(Debug)]
pub enum Destination {
    /// To the other end of a dialog.
    Dialog(Endpoint),
    /// To every endpoint of a user.
    User(Aor),
    /// To one endpoint, by its GRUU.
    Endpoint(Endpoint),
    /// To the endpoint with this Contact, as a server wrote it into `ms-received-cid`.
    Contact(String),
    /// To nobody; an ACK has no answer.
    Nowhere(Option<Reply>),
}

/// One server's conversations.
pub struct Proxy {
    fqdn: Arc<str>,
    /// `host:port` of this server, for Via.
    sent_by: String,
    limits: Limits,
    surroundings: Arc<dyn Surroundings>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    contexts: HashMap<u64, ResponseContext>,
    last: u64,
    by_branch: HashMap<Box<str>, u64>,
    by_key: HashMap<(ConnId, ServerKey), u64>,
    by_conn: HashMap<ConnId, BTreeSet<u64>>,
    asked: HashMap<Box<str>, Asked>,
    asked_of: HashMap<ConnId, BTreeSet<Box<str>>>,
    dialogs: Dialogs,
    /// When dialogs were last looked through: all of them, so not each second.
    dialogs_swept: Duration,
}

/// A request that went to an endpoint of this server, for another server or this one.
#[derive(Debug)]
struct Asked {
    conn: ConnId,
    opaque: Box<str>,
    /// Where it went: Request-URI of what follows it.
    contact: Box<str>,
    origin: Arc<str>,
    from: Endpoint,
    to: Endpoint,
    call_id: String,
    from_tag: String,
    number: u32,
    method: String,
    until: Duration,
}

impl Asked {
    /// Whether a response answers this: same transaction, same connection. RFC 3261 §17.1.3.
    fn is_answered_by(&self, conn: ConnId, response: &Message<'_>) -> bool {
        let cseq = response.header(Name::CSeq).and_then(|value| CSeq::parse(value).ok());
        self.conn == conn
            && cseq.is_some_and(|cseq| cseq.number == self.number && cseq.method == self.method)
            && response.header(Name::CallId) == Some(&self.call_id)
            && tag(response, Name::From).unwrap_or_default() == self.from_tag
    }
}

/// The branch of the topmost Via.
fn branch_of<'a>(message: &Message<'a>) -> Option<&'a str> {
    let topmost = sip::header::split_list(message.header(Name::Via)?).next()?;
    sip::Via::parse(topmost).ok()?.params.get("branch")
}

impl Proxy {
    /// The server at `own`.
    pub fn new(own: &HostPort, limits: Limits, surroundings: Arc<dyn Surroundings>) -> Proxy {
        let fqdn = own.host.as_str().into();
        Proxy { fqdn, sent_by: own.to_string(), limits, surroundings, state: Mutex::default() }
    }

    /// Requests under way, requests endpoints were asked, dialogs.
    pub fn counts(&self) -> (usize, usize, usize) {
        let state = self.lock();
        (state.contexts.len(), state.asked.len(), state.dialogs.len())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.surroundings.now().since_start
    }

    fn new_branch(&self) -> Box<str> {
        let mut bytes = [0; 12];
        self.surroundings.fill_random(&mut bytes);
        format!("z9hG4bK{}", hex::encode_upper(bytes)).into()
    }

    fn via(&self, branch: &str, forked: bool) -> String {
        let branched = if forked { "TRUE" } else { "FALSE" };
        format!("SIP/2.0/TLS {};branch={branch};branched={branched}", self.sent_by)
    }

    /// The URI that keeps a server in a dialog.
    fn record_route(host: &str) -> String {
        format!("<sip:{host};transport=tls;lr>")
    }

    // ---- the sender's server -----------------------------------------------------------------------------

    /// Where a request leads, as far as it can be told without asking anybody. A dialog wins over Request-URI and Route.
    pub fn destination(&self, sender: &Endpoint, request: &Message<'_>) -> Destination {
        let method = request.method().unwrap_or_default();
        let nowhere = |reply| Destination::Nowhere((method != "ACK").then_some(reply));
        if method == "REFER" {
            return nowhere(Reply::new(405, "Method Not Allowed").with("Allow", ALLOW));
        }
        if let Some(id) = DialogId::of_sender(request) {
            let now = self.now();
            let mut state = self.lock();
            let peer = state.dialogs.peer(sender, &id, now);
            if method == "BYE" {
                state.dialogs.end(sender, &id);
            }
            return peer.map_or_else(|| nowhere(no_dialog()), Destination::Dialog);
        }
        if !matches!(method, "INVITE" | "MESSAGE" | "OPTIONS") {
            return nowhere(no_dialog());
        }
        let uri = request.request_uri().unwrap_or_default();
        if let Some(Gruu { aor, instance }) = Gruu::from_uri(uri) {
            return Destination::Endpoint(Endpoint { aor, instance });
        }
        if Uri::parse(uri).is_ok_and(|uri| uri.params.get("ms-received-cid").is_some()) {
            return Destination::Contact(uri.to_owned());
        }
        match Aor::from_uri(uri) {
            Ok(aor) => Destination::User(aor),
            Err(_) => nowhere(unknown_user()),
        }
    }

    /// Sends a request to every one of `places`.
    pub fn request(
        &self,
        caller: &Caller,
        request: &Message<'_>,
        sender: &Party<'_>,
        asked: &Party<'_>,
        places: &[Place],
    ) -> Vec<Act> {
        let is_ack = request.method() == Some("ACK");
        let max_forwards = match self.admit(request) {
            Ok(max_forwards) => max_forwards,
            Err(_) if is_ack => return Vec::new(),
            Err(reply) => return vec![self.answer(caller, request, &reply)],
        };
        let places = &places[..places.len().min(self.limits.branches)];
        let branches: Vec<Branch> = places.iter().map(|place| self.branch(place)).collect();
        let mut acts = Vec::with_capacity(branches.len() + 1);
        if !is_ack {
            let known = (sender.identity(), asked.identity());
            match self.begin(caller, request, known, &branches) {
                Ok(()) if request.method() == Some("INVITE") => {
                    acts.push(self.answer(caller, request, &Reply::new(100, "Trying")));
                }
                Ok(()) => {}
                Err(None) => return acts,
                Err(Some(reply)) => return vec![self.answer(caller, request, &reply)],
            }
        }
        let begins_dialog = request.method() == Some("INVITE");
        let record_route = begins_dialog.then(|| Proxy::record_route(&self.fqdn));
        for Branch { id, place, .. } in branches {
            let added = Added {
                via: &self.via(&id, places.len() > 1),
                record_route: record_route.as_deref(),
                max_forwards,
                identity: &sender.identity(),
            };
            let bytes = forward::request(request, &caller.hop, &added).finish();
            let (origin, from, to) = (self.fqdn.clone(), caller.endpoint.clone(), place.endpoint);
            let errand = Errand::Request { branch: id, origin, from, to, bytes };
            acts.push(Act::HandOver { server: place.server, errand });
        }
        acts
    }

    fn branch(&self, place: &Place) -> Branch {
        let id = self.new_branch();
        Branch { id, place: place.clone(), pending: true, cancelled: false, provisional: 0 }
    }

    /// Whether a request may go on at all, and with which Max-Forwards. RFC 3261 §16.3.
    fn admit(&self, request: &Message<'_>) -> Result<u32, Reply> {
        let bad = |why: &str| {
            let why = Diagnostics::internal(17001, format!("Invalid request: {why}"));
            Err(Reply::new(400, "Bad Request").because(why))
        };
        if request.header(Name::CallId).is_none_or(str::is_empty) || request.header(Name::To).is_none() {
            return bad("Call-ID or To");
        }
        if !request.body().is_empty() && request.header(Name::ContentType).is_none() {
            return bad("a body without Content-Type");
        }
        if request.body().len() > self.limits.body {
            let why = format!("Input data too large: a body may have {} bytes", self.limits.body);
            return Err(Reply::new(413, "Request Entity Too Large").because(Diagnostics::internal(4008, why)));
        }
        let understood = |tag: &&str| tag.eq_ignore_ascii_case("ms-benotify");
        let required = request.all(Name::ProxyRequire).flat_map(|value| value.split(',')).map(str::trim);
        let unsupported: Vec<&str> = required.filter(|tag| !tag.is_empty() && !understood(tag)).collect();
        if !unsupported.is_empty() {
            return Err(Reply::new(420, "Bad Extension").with("Unsupported", unsupported.join(", ")));
        }
        match request.header(Name::MaxForwards).map(str::parse::<u32>) {
            None => Ok(70),
            Some(Ok(0)) => Err(Reply::new(483, "Too Many Hops")),
            Some(Ok(hops)) => Ok(hops.min(70) - 1),
            Some(Err(_)) => bad("Max-Forwards"),
        }
    }

    /// Takes a request in. `Err(None)`: it came again while it is in progress, and there is nothing to do.
    fn begin(
        &self,
        caller: &Caller,
        request: &Message<'_>,
        (identity, callee): (String, String),
        branches: &[Branch],
    ) -> Result<(), Option<Reply>> {
        let Ok(key) = ServerKey::of(request) else {
            return Err(Some(Reply::new(400, "Bad Request").because(Diagnostics::internal(17001, "Via or From"))));
        };
        if branches.is_empty() {
            return Err(Some(nobody_there()));
        }
        let conn = caller.hop.conn;
        let key = (conn, key);
        let is_invite = request.method() == Some("INVITE");
        let mut state = self.lock();
        if state.by_key.contains_key(&key) {
            return Err(None);
        }
        if state.by_conn.get(&conn).map_or(0, BTreeSet::len) >= self.limits.in_progress {
            let why = Diagnostics::public(17000, "Server overloaded: too many requests of this connection wait");
            let busy = Reply::new(503, "Service Unavailable").with("Retry-After", "5").because(why);
            return Err(Some(busy));
        }
        state.last += 1;
        let number = state.last;
        let context = ResponseContext {
            caller: caller.clone(),
            key: key.clone(),
            asked: forward::essentials(request),
            is_invite,
            callee,
            identity,
            branches: branches.to_vec(),
            best: None,
            answered: false,
            cancelled: false,
            until: self.now() + if is_invite { self.limits.invite } else { self.limits.other },
        };
        state.by_key.insert(key, number);
        state.by_conn.entry(conn).or_default().insert(number);
        state.by_branch.extend(branches.iter().map(|branch| (branch.id.clone(), number)));
        state.contexts.insert(number, context);
        Ok(())
    }

    /// A CANCEL of an INVITE that was sent on. RFC 3261 §16.10.
    pub fn cancel(&self, caller: &Caller, cancel: &Message<'_>) -> Vec<Act> {
        let now = self.now();
        let mut state = self.lock();
        let key = ServerKey::cancelled_by(cancel).ok().map(|key| (caller.hop.conn, key));
        let number = key.and_then(|key| state.by_key.get(&key).copied());
        let Some(context) = number.and_then(|number| state.contexts.get_mut(&number)) else {
            return vec![self.answer(caller, cancel, &no_dialog())];
        };
        let mut acts = vec![self.answer(caller, cancel, &Reply::ok())];
        if !context.answered && !context.cancelled {
            context.cancelled = true;
            context.until = now + LINGER;
            self.call_off(context, &mut acts);
        }
        acts
    }

    /// An errand of another server, or of this one. `binding` finds an endpoint that is registered here.
    pub fn take(&self, errand: Errand, binding: impl FnOnce(&Endpoint) -> Option<Arc<Binding>>) -> Vec<Act> {
        match errand {
            Errand::Request { branch, origin, from, to, bytes } => {
                let binding = binding(&to);
                self.ask(branch, origin, from, to, &bytes, binding.as_deref())
            }
            Errand::Cancel { branch, bytes } => self.cancel_asked(&branch, &bytes),
            Errand::Response { branch, hop, bytes } => self.returned(&branch, hop, bytes),
            Errand::Lost { branch } => self.lost(&branch),
        }
    }

    /// An endpoint has answered. §16.7.
    fn returned(&self, id: &str, hop: Hop, bytes: Vec<u8>) -> Vec<Act> {
        let Ok(response) = Message::parse(&bytes) else { return Vec::new() };
        let Some(code) = response.status().filter(|code| *code > 100) else { return Vec::new() };
        let now = self.now();
        let mut acts = Vec::new();
        let mut state = self.lock();
        let State { contexts, by_branch, dialogs, .. } = &mut *state;
        let Some(number) = by_branch.get(id).copied() else { return acts };
        let Some(context) = contexts.get_mut(&number) else { return acts };
        let answered = context.answered;
        let Some(branch) = context.branch(id).filter(|branch| branch.pending) else { return acts };
        let place = branch.place.clone();
        if code < 200 {
            branch.provisional = branch.provisional.saturating_add(1);
            if branch.provisional <= PROVISIONAL && !answered {
                acts.extend(self.pass_back(context, &response, &hop, &place));
            }
            return acts;
        }
        branch.pending = false;
        match code {
            200..300 if !answered => {
                context.answered = true;
                context.until = now + LINGER;
                if context.is_invite
                    && let Some(id) = DialogId::of_sender(&response)
                {
                    dialogs.begin(&context.caller.endpoint, id, &place.endpoint, now, self.limits.dialogs);
                }
                acts.extend(self.pass_back(context, &response, &hop, &place));
                self.call_off(context, &mut acts);
            }
            200..300 if context.is_invite => self.turn_down(context, &response, &place, &mut acts),
            200..300 => {}
            // An endpoint that wants credentials would have the sender prove himself to it, and start over with us.
            401 | 407 => context.refused(Refusal::Own(nobody_there())),
            code => context.refused(Refusal::Endpoint { code, bytes, hop, place }),
        }
        self.settle(&mut state, number, now, code >= 600, &mut acts);
        acts
    }

    /// An endpoint will not answer any more.
    fn lost(&self, id: &str) -> Vec<Act> {
        let now = self.now();
        let mut acts = Vec::new();
        let mut state = self.lock();
        let Some(number) = state.by_branch.get(id).copied() else { return acts };
        let Some(context) = state.contexts.get_mut(&number) else { return acts };
        let Some(branch) = context.branch(id).filter(|branch| branch.pending) else { return acts };
        branch.pending = false;
        context.refused(Refusal::Own(nobody_there()));
        self.settle(&mut state, number, now, false, &mut acts);
        acts
    }

    /// Answers the caller when everybody has refused, or one for all (6xx); forgets what is over.
    fn settle(&self, state: &mut State, number: u64, now: Duration, for_all: bool, acts: &mut Vec<Act>) {
        let Some(context) = state.contexts.get_mut(&number) else { return };
        if !context.answered && (for_all || context.is_complete()) {
            self.conclude(context, now, acts);
        }
        if context.answered && context.is_complete() {
            state.forget(number);
        }
    }

    /// The final answer of a request that nobody accepted; whoever has not answered is called off.
    fn conclude(&self, context: &mut ResponseContext, now: Duration, acts: &mut Vec<Act>) {
        context.answered = true;
        context.until = now + LINGER;
        match context.best.take() {
            Some(Refusal::Endpoint { bytes, hop, place, .. }) => {
                let response = Message::parse(&bytes).ok();
                acts.extend(response.and_then(|response| self.pass_back(context, &response, &hop, &place)));
            }
            Some(Refusal::Own(reply)) => acts.extend(self.answer_later(context, &reply)),
            None if context.cancelled => {
                acts.extend(self.answer_later(context, &Reply::new(487, "Request Terminated")));
            }
            None => acts.extend(self.answer_later(context, &timed_out())),
        }
        self.call_off(context, acts);
    }

    /// Sends a CANCEL to everybody who has not answered an INVITE.
    fn call_off(&self, context: &mut ResponseContext, acts: &mut Vec<Act>) {
        let Ok(asked) = Message::parse(&context.asked) else { return };
        if !context.is_invite {
            return;
        }
        for branch in context.branches.iter_mut().filter(|branch| branch.pending && !branch.cancelled) {
            branch.cancelled = true;
            let (via, to) = (self.via(&branch.id, false), asked.header(Name::To).unwrap_or_default());
            let bytes = forward::on_behalf(&asked, "CANCEL", &via, to, number_of(&asked)).finish();
            let errand = Errand::Cancel { branch: branch.id.clone(), bytes };
            acts.push(Act::HandOver { server: branch.place.server.clone(), errand });
        }
    }

    /// Ends a dialog that an endpoint began after another had won, or after the caller had given up: the caller cannot, since it
    /// is never told. §16.7 would have every 2xx passed on; no client of this family can have two.
    fn turn_down(&self, context: &ResponseContext, response: &Message<'_>, place: &Place, acts: &mut Vec<Act>) {
        let Ok(asked) = Message::parse(&context.asked) else { return };
        let to = forward::answered_to(asked.header(Name::To).unwrap_or_default(), response);
        let number = number_of(&asked);
        for (method, number) in [("ACK", number), ("BYE", number.saturating_add(1))] {
            let branch = self.new_branch();
            let mut draft = forward::on_behalf(&asked, method, &self.via(&branch, false), &to, number);
            draft.header("P-Asserted-Identity", &context.identity);
            let (origin, from, to) = (self.fqdn.clone(), context.caller.endpoint.clone(), place.endpoint.clone());
            let errand = Errand::Request { branch, origin, from, to, bytes: draft.finish() };
            acts.push(Act::HandOver { server: place.server.clone(), errand });
        }
    }

    fn pass_back(&self, context: &ResponseContext, response: &Message<'_>, from: &Hop, place: &Place) -> Option<Act> {
        let asked = Message::parse(&context.asked).ok()?;
        let mut routes = Vec::new();
        if context.is_invite && response.status().is_some_and(|code| code < 300) {
            if place.server != self.fqdn {
                routes.push(Proxy::record_route(&place.server));
            }
            routes.push(Proxy::record_route(&self.fqdn));
        }
        let Caller { hop, opaque, .. } = &context.caller;
        let draft = forward::response(&asked, hop, response, from, &context.callee, &routes);
        Some(Act::Send { conn: hop.conn, opaque: opaque.clone(), draft, branch: None })
    }

    fn answer_later(&self, context: &ResponseContext, reply: &Reply) -> Option<Act> {
        let asked = Message::parse(&context.asked).ok()?;
        Some(self.answer(&context.caller, &asked, reply))
    }

    /// The server's own answer.
    pub fn answer(&self, caller: &Caller, request: &Message<'_>, reply: &Reply) -> Act {
        let draft = outgoing::response(request, reply, &caller.to_tag, &caller.hop, &self.fqdn);
        Act::Send { conn: caller.hop.conn, opaque: caller.opaque.clone(), draft, branch: None }
    }

    // ---- the server of whoever is asked --------------------------------------------------------------------

    /// Sends a request to an endpoint of this server.
    fn ask(
        &self,
        branch: Box<str>,
        origin: Arc<str>,
        from: Endpoint,
        to: Endpoint,
        bytes: &[u8],
        binding: Option<&Binding>,
    ) -> Vec<Act> {
        let Ok(request) = Message::parse(bytes) else { return Vec::new() };
        let method = request.method().unwrap_or_default();
        let lost = |branch, origin| vec![Act::HandOver { server: origin, errand: Errand::Lost { branch } }];
        let Some(binding) = binding else { return lost(branch, origin) };
        let now = self.now();
        let mut state = self.lock();
        if let Some(id) = DialogId::of_receiver(&request) {
            match method {
                "BYE" => state.dialogs.end(&to, &id),
                _ => drop(state.dialogs.peer(&to, &id, now)),
            }
        }
        let record_route = (*origin != *self.fqdn).then(|| Proxy::record_route(&self.fqdn));
        let draft = forward::towards(&request, &binding.contact, record_route.as_deref());
        let (conn, opaque) = (binding.conn, binding.opaque.clone());
        if method == "ACK" {
            return vec![Act::Send { conn, opaque, draft, branch: None }];
        }
        let waiting = state.asked_of.get(&conn).into_iter().flatten();
        let (all, of_sender) = waiting.fold((0, 0), |(all, of_sender), branch| {
            let is_his = state.asked.get(branch).is_some_and(|asked| asked.from.aor == from.aor);
            (all + 1, of_sender + usize::from(is_his))
        });
        if all >= self.limits.awaited || of_sender >= self.limits.awaited_of_sender {
            return lost(branch, origin);
        }
        let asked = Asked {
            conn,
            opaque: opaque.clone(),
            contact: binding.contact.clone(),
            origin,
            from,
            to,
            call_id: request.header(Name::CallId).unwrap_or_default().to_owned(),
            from_tag: tag(&request, Name::From).unwrap_or_default().to_owned(),
            number: number_of(&request),
            method: method.to_owned(),
            until: now + self.limits.invite.max(self.limits.other) + 2 * LINGER,
        };
        state.asked_of.entry(conn).or_default().insert(branch.clone());
        state.asked.insert(branch.clone(), asked);
        vec![Act::Send { conn, opaque, draft, branch: Some(branch) }]
    }

    fn cancel_asked(&self, branch: &str, bytes: &[u8]) -> Vec<Act> {
        let state = self.lock();
        let Some(asked) = state.asked.get(branch).filter(|asked| asked.method == "INVITE") else { return Vec::new() };
        let Ok(cancel) = Message::parse(bytes) else { return Vec::new() };
        let draft = forward::towards(&cancel, &asked.contact, None);
        vec![Act::Send { conn: asked.conn, opaque: asked.opaque.clone(), draft, branch: None }]
    }

    /// The endpoint that was asked what this response answers; `None`: nobody was, over this connection.
    pub fn awaited(&self, conn: ConnId, response: &Message<'_>) -> Option<Endpoint> {
        let state = self.lock();
        let asked = state.asked.get(branch_of(response)?)?;
        asked.is_answered_by(conn, response).then(|| asked.to.clone())
    }

    /// An endpoint of this server has answered. Responses to nothing that was asked are dropped.
    pub fn response(&self, hop: &Hop, response: &Message<'_>, bytes: &[u8]) -> Vec<Act> {
        let Some(code) = response.status().filter(|code| *code > 100) else { return Vec::new() };
        let Some(branch) = branch_of(response) else { return Vec::new() };
        let now = self.now();
        let mut state = self.lock();
        let Some(asked) = state.asked.get(branch).filter(|asked| asked.is_answered_by(hop.conn, response)) else {
            return Vec::new();
        };
        let begun = (asked.method == "INVITE" && (200..300).contains(&code)).then(|| DialogId::of_receiver(response));
        if matches!(begun, Some(None)) {
            return Vec::new(); // a dialog without a name
        }
        let errand = Errand::Response { branch: branch.into(), hop: hop.clone(), bytes: bytes.to_vec() };
        let mut acts = vec![Act::HandOver { server: asked.origin.clone(), errand }];
        if code < 200 {
            return acts;
        }
        let Some(asked) = state.forget_asked(branch) else { return acts };
        if let Some(Some(id)) = begun {
            state.dialogs.begin(&asked.to, id, &asked.from, now, self.limits.dialogs);
        }
        if code >= 300 && asked.method == "INVITE" {
            let draft = forward::ack_of_refusal(response, &asked.contact, asked.number);
            acts.insert(0, Act::Send { conn: asked.conn, opaque: asked.opaque, draft, branch: None });
        }
        acts
    }

    /// An endpoint of this server could not be sent a request: there is no association that would sign it.
    pub fn undeliverable(&self, branch: &str) -> Vec<Act> {
        let asked = self.lock().forget_asked(branch);
        let lost =
            |asked: Asked| Act::HandOver { server: asked.origin, errand: Errand::Lost { branch: branch.into() } };
        asked.map(lost).into_iter().collect()
    }

    // ---- what ends by itself -------------------------------------------------------------------------------

    /// A connection is gone: whoever waits for its answers is told, what it asked is called off.
    pub fn closed(&self, conn: ConnId) -> Vec<Act> {
        let now = self.now();
        let mut acts = Vec::new();
        let mut state = self.lock();
        for branch in state.asked_of.get(&conn).cloned().unwrap_or_default() {
            if let Some(asked) = state.forget_asked(&branch) {
                acts.push(Act::HandOver { server: asked.origin, errand: Errand::Lost { branch } });
            }
        }
        for number in state.by_conn.get(&conn).cloned().unwrap_or_default() {
            let Some(context) = state.contexts.get_mut(&number) else { continue };
            // Whoever accepts now begins a dialog with nobody: this server waits to end it.
            context.answered = true;
            context.until = now + LINGER;
            self.call_off(context, &mut acts);
            if !context.is_invite {
                state.forget(number);
            }
        }
        acts
    }

    /// An endpoint is not registered here any more.
    pub fn endpoint_gone(&self, endpoint: &Endpoint) {
        self.lock().dialogs.endpoint_gone(endpoint);
    }

    /// Ends what has waited long enough.
    pub fn sweep(&self) -> Vec<Act> {
        let now = self.now();
        let mut acts = Vec::new();
        let mut state = self.lock();
        let mut late: Vec<u64> =
            state.contexts.iter().filter(|(_, context)| context.until <= now).map(|(number, _)| *number).collect();
        late.sort_unstable();
        for number in late {
            match state.contexts.get_mut(&number) {
                Some(context) if !context.answered => {
                    self.conclude(context, now, &mut acts);
                    if !context.is_invite {
                        state.forget(number);
                    }
                }
                _ => state.forget(number),
            }
        }
        let over: Vec<Box<str>> =
            state.asked.iter().filter(|(_, asked)| asked.until <= now).map(|(branch, _)| branch.clone()).collect();
        for branch in over {
            state.forget_asked(&branch);
        }
        if now >= state.dialogs_swept + DIALOGS_SWEPT {
            state.dialogs_swept = now;
            state.dialogs.sweep(now, self.limits.idle);
        }
        acts
    }
}

impl State {
    fn forget(&mut self, number: u64) {
        let Some(context) = self.contexts.remove(&number) else { return };
        for branch in &context.branches {
            self.by_branch.remove(&branch.id);
        }
        let conn = context.key.0;
        self.by_key.remove(&context.key);
        if let Some(numbers) = self.by_conn.get_mut(&conn) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_conn.remove(&conn);
            }
        }
    }

    fn forget_asked(&mut self, branch: &str) -> Option<Asked> {
        let asked = self.asked.remove(branch)?;
        if let Some(branches) = self.asked_of.get_mut(&asked.conn) {
            branches.remove(branch);
            if branches.is_empty() {
                self.asked_of.remove(&asked.conn);
            }
        }
        Some(asked)
    }
}

fn number_of(message: &Message<'_>) -> u32 {
    message.header(Name::CSeq).and_then(|value| CSeq::parse(value).ok()).map_or(1, |cseq| cseq.number)
}

/// Nothing is known of the dialog or transaction.
fn no_dialog() -> Reply {
    Reply::new(481, "Call Leg/Transaction Does Not Exist")
}

/// The address is nobody's.
pub fn unknown_user() -> Reply {
    let why = Diagnostics::internal(4005, "Destination URI either not enabled for SIP or does not exist");
    Reply::new(404, "Not Found").because(why)
}

/// The user has no endpoint that could be asked, or wants none to be.
pub fn unreachable_user() -> Reply {
    nobody_there()
}
