//! The sender's server: where his request leads, to whom it goes on, and which answer he gets. RFC 3261 §16.3 to §16.7, §16.10.

use super::context::{Branch, Refusal, ResponseContext, ResponseContexts, nobody_there, timed_out};
use super::dialogs::DialogId;
use super::forward::{self, Added};
use super::{Act, Caller, LINGER, Party, Proxy, State, unknown_user};
use crate::converse::message::{ALLOW, Endpoint, Errand, Place, number_of};
use crate::io::ConnId;
use crate::name::Aor;
use crate::outgoing::Hop;
use crate::register::endpoint::Gruu;
use crate::reply::{Diagnostics, Reply};
use sip::transaction::ServerKey;
use sip::{Message, Name, Uri};
use std::time::Duration;

/// Provisional responses of one endpoint that are passed on.
const PROVISIONAL: u8 = 16;

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

impl Proxy {
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

    fn new_branch(&self) -> Box<str> {
        let mut bytes = [0; 12];
        self.surroundings.fill_random(&mut bytes);
        format!("z9hG4bK{}", hex::encode_upper(bytes)).into()
    }

    fn via(&self, branch: &str, forked: bool) -> String {
        let branched = if forked { "TRUE" } else { "FALSE" };
        format!("SIP/2.0/TLS {};branch={branch};branched={branched}", self.sent_by)
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
        if state.contexts.of_key(&key).is_some() {
            return Err(None);
        }
        if state.contexts.len_of_connection(conn) >= self.limits.in_progress {
            let why = Diagnostics::public(17000, "Server overloaded: too many requests of this connection wait");
            let busy = Reply::new(503, "Service Unavailable").with("Retry-After", "5").because(why);
            return Err(Some(busy));
        }
        state.contexts.begin(ResponseContext {
            caller: caller.clone(),
            key,
            asked: forward::essentials(request),
            is_invite,
            callee,
            identity,
            branches: branches.to_vec(),
            best: None,
            answered: false,
            cancelled: false,
            until: self.now() + if is_invite { self.limits.invite } else { self.limits.other },
        });
        Ok(())
    }

    /// A CANCEL of an INVITE that was sent on. RFC 3261 §16.10.
    pub fn cancel(&self, caller: &Caller, cancel: &Message<'_>) -> Vec<Act> {
        let now = self.now();
        let mut state = self.lock();
        let key = ServerKey::cancelled_by(cancel).ok().map(|key| (caller.hop.conn, key));
        let number = key.and_then(|key| state.contexts.of_key(&key));
        let Some(context) = number.and_then(|number| state.contexts.get_mut(number)) else {
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

    /// An endpoint has answered. §16.7.
    pub(super) fn returned(&self, id: &str, hop: Hop, bytes: Vec<u8>) -> Vec<Act> {
        let Ok(response) = Message::parse(&bytes) else { return Vec::new() };
        let Some(code) = response.status().filter(|code| *code > 100) else { return Vec::new() };
        let now = self.now();
        let mut acts = Vec::new();
        let mut state = self.lock();
        let State { contexts, dialogs, .. } = &mut *state;
        let Some(number) = contexts.of_branch(id) else { return acts };
        let Some(context) = contexts.get_mut(number) else { return acts };
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
        self.settle(contexts, number, now, code >= 600, &mut acts);
        acts
    }

    /// An endpoint will not answer any more.
    pub(super) fn lost(&self, id: &str) -> Vec<Act> {
        let now = self.now();
        let mut acts = Vec::new();
        let mut state = self.lock();
        let Some(number) = state.contexts.of_branch(id) else { return acts };
        let Some(context) = state.contexts.get_mut(number) else { return acts };
        let Some(branch) = context.branch(id).filter(|branch| branch.pending) else { return acts };
        branch.pending = false;
        context.refused(Refusal::Own(nobody_there()));
        self.settle(&mut state.contexts, number, now, false, &mut acts);
        acts
    }

    /// Answers the caller when everybody has refused, or one for all (6xx); forgets what is over.
    fn settle(&self, contexts: &mut ResponseContexts, number: u64, now: Duration, for_all: bool, acts: &mut Vec<Act>) {
        let Some(context) = contexts.get_mut(number) else { return };
        if !context.answered && (for_all || context.is_complete()) {
            self.conclude(context, now, acts);
        }
        if context.answered && context.is_complete() {
            contexts.forget(number);
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

    /// The caller's connection is gone: what it asked is called off.
    pub(super) fn caller_gone(
        &self,
        contexts: &mut ResponseContexts,
        conn: ConnId,
        now: Duration,
        acts: &mut Vec<Act>,
    ) {
        for number in contexts.of_connection(conn) {
            let Some(context) = contexts.get_mut(number) else { continue };
            // Whoever accepts now begins a dialog with nobody: this server waits to end it.
            context.answered = true;
            context.until = now + LINGER;
            self.call_off(context, acts);
            if !context.is_invite {
                contexts.forget(number);
            }
        }
    }

    /// Answers whoever has waited long enough, and forgets what has lingered long enough.
    pub(super) fn end_late(&self, contexts: &mut ResponseContexts, now: Duration, acts: &mut Vec<Act>) {
        for number in contexts.late(now) {
            match contexts.get_mut(number) {
                Some(context) if !context.answered => {
                    self.conclude(context, now, acts);
                    if !context.is_invite {
                        contexts.forget(number);
                    }
                }
                _ => contexts.forget(number),
            }
        }
    }
}

/// Nothing is known of the dialog or transaction.
fn no_dialog() -> Reply {
    Reply::new(481, "Call Leg/Transaction Does Not Exist")
}
