//! One server of a deployment: a Front End, a Director, or the Edge side. Composes the rooms; each message walks through
//! them in the order of the steps.
//!
//! ```text
//! bytes ─► parse ─► authenticate ──► challenge, unsigned ──────────────────────────► wire
//!                       │ Verified
//!                       ▼
//!                    REGISTER? ──yes─► register: bind, redirect or refuse ─┐
//!                       │ no                                               ├─► sign ─► wire
//!                       ▼                                                  │
//!                    registered? ─yes─► provision: settings, contacts, … ──┘
//! ```
//!
//! The one lock is never held while anything is waited for. What has to ask the directory or the verifier becomes a
//! future, which the connection awaits before its next message: so the answers of one connection keep their order.

mod administered;
mod conversing;
mod notifying;
mod patience;

use self::patience::Waiting;
use crate::authenticate::offer::Asked;
use crate::authenticate::server::{
    Associations, Completing, Examined, Moment, Peer, Settings as AuthSettings, Verified,
};
use crate::authenticate::verifier::{Identity, Refusal};
use crate::converse::message::{Endpoint, is_conversational};
use crate::converse::server::{Limits as ConversationLimits, Proxy};
use crate::directory::{Directory, DirectoryError, User};
use crate::io::{ConnId, Pending};
use crate::journal::{Journal, ServerEvent};
use crate::name::Aor;
use crate::outgoing::{self, Hop};
use crate::provision::server::{Caller, Provision};
use crate::register::endpoint::InstanceId;
use crate::register::location::{Added, Binding, Location};
use crate::register::message::{Deregistration, RegisterAction, RegisterRequest, received_contact};
use crate::register::server::{self as registrar, Decision, Granted, Here, Role};
use crate::reply::{Diagnostics, Reply};
use crate::service::{SipService, Surroundings, Wire};
use sip::{Draft, Message};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

/// How a server behaves. Times as the specification has them; where it gives none, our choice is named.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `Server` header; clients read the version of the product from it.
    pub server: String,
    /// Lifetime of a binding when the client asks for none.
    pub default_expires: u32,
    /// Longest lifetime granted.
    pub max_expires: u32,
    /// Endpoints one user may have at a time (the product: 8).
    pub endpoints_per_user: usize,
    /// Interval of keep-alives the client is told, seconds.
    pub keep_alive: u32,
    /// How long after that interval a silent connection is kept (our choice).
    pub keep_alive_slack: Duration,
    /// How long a connection may stay without an authenticated endpoint. A first sign-in with certificates needs web
    /// service round trips meanwhile (our choice).
    pub unauthenticated: Duration,
    /// Longest wait for the directory, or for whoever checks a token (our choice; longer than their own limits).
    pub answer_limit: Duration,
    /// How much conversations may cost.
    pub conversations: ConversationLimits,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            server: "RTC/6.0".to_owned(),
            default_expires: 600,
            max_expires: 7200,
            endpoints_per_user: 8,
            keep_alive: 300,
            keep_alive_slack: Duration::from_secs(60),
            unauthenticated: Duration::from_secs(120),
            answer_limit: Duration::from_secs(20),
            conversations: ConversationLimits::default(),
        }
    }
}

/// What a server is built on.
pub struct Foundations {
    /// Users.
    pub directory: Arc<dyn Directory>,
    /// Time and randomness.
    pub surroundings: Arc<dyn Surroundings>,
    /// Where bytes go.
    pub wire: Arc<dyn Wire>,
    /// The other servers of the deployment.
    pub neighbours: Neighbours,
    /// Who is told what happens.
    pub journal: Arc<dyn Journal>,
}

/// The servers of one deployment, by FQDN: where notifications for endpoints of another server are handed over.
#[derive(Clone, Default)]
pub struct Neighbours(Arc<RwLock<HashMap<String, Weak<FrontEnd>>>>);

impl Neighbours {
    /// Makes a server known to the others.
    pub fn join(&self, server: &Arc<FrontEnd>) {
        let mut servers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        servers.insert(server.fqdn().to_owned(), Arc::downgrade(server));
    }

    fn of(&self, fqdn: &str) -> Option<Arc<FrontEnd>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(fqdn)?.upgrade()
    }

    fn all(&self) -> Vec<Arc<FrontEnd>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().filter_map(Weak::upgrade).collect()
    }
}

/// One server.
pub struct FrontEnd {
    here: Here,
    settings: Settings,
    /// Its clients come from outside the enterprise.
    external: bool,
    foundations: Foundations,
    provision: Arc<Provision>,
    proxy: Proxy,
    waiting: Waiting,
    state: Mutex<State>,
}

struct State {
    associations: Associations,
    location: Location,
    connections: HashMap<ConnId, Connection>,
    swept: Duration,
    /// Endpoints that are gone, of whom room 5 has not been told.
    untold: VecDeque<(Aor, Arc<Binding>)>,
    /// What [`Directory::changes_elsewhere`] said last.
    changes_elsewhere: u64,
    /// Users to look up again, since the directory changed.
    to_look_up: VecDeque<Aor>,
}

impl State {
    /// The associations of registrations that are over wait for their endpoints to come back.
    fn rest(&mut self, gone: &[(Aor, Arc<Binding>)], now: Duration) {
        for (_, binding) in gone {
            self.associations.rest(&binding.opaque, now);
        }
    }
}

struct Connection {
    remote: SocketAddr,
    opened: Duration,
    heard: Duration,
}

/// A request on its way through the rooms.
struct Arrived {
    hop: Hop,
    bytes: Vec<u8>,
    to_tag: String,
}

impl FrontEnd {
    /// A server that serves nobody yet.
    pub fn new(
        here: Here,
        settings: Settings,
        authentication: AuthSettings,
        provision: Arc<Provision>,
        foundations: Foundations,
    ) -> FrontEnd {
        let external = authentication.offers.are_outside();
        let state = State {
            associations: Associations::new(authentication),
            location: Location::default(),
            connections: HashMap::new(),
            swept: Duration::ZERO,
            untold: VecDeque::new(),
            changes_elsewhere: foundations.directory.changes_elsewhere(),
            to_look_up: VecDeque::new(),
        };
        let own = here.topology.address_of(&here.fqdn);
        let proxy = Proxy::new(&own, settings.conversations, foundations.surroundings.clone());
        FrontEnd {
            here,
            settings,
            external,
            foundations,
            provision,
            proxy,
            waiting: Waiting::default(),
            state: Mutex::new(state),
        }
    }

    /// FQDN of this server.
    pub fn fqdn(&self) -> &str {
        &self.here.fqdn
    }

    /// Users, bindings, handshakes under way and associations.
    pub fn counts(&self) -> (usize, usize, usize, usize) {
        let state = self.state();
        let (users, bindings) = state.location.counts();
        let (handshakes, associations) = state.associations.counts();
        (users, bindings, handshakes, associations)
    }

    /// Requests between endpoints under way, requests its endpoints were asked, and dialogs.
    pub fn conversations(&self) -> (usize, usize, usize) {
        self.proxy.counts()
    }

    /// Ends every registration of a user, and tells his endpoints why. `[MS-SIPREGE]` §3.2.
    pub async fn deregister(&self, aor: &Aor, why: Deregistration) -> usize {
        let gone: Vec<Arc<Binding>> = {
            let mut state = self.state();
            let bindings = state.location.bindings(aor).to_vec();
            bindings.iter().filter_map(|b| state.location.unbind(aor, b.instance)).collect()
        };
        for binding in &gone {
            self.put_away(aor, binding, why).await;
        }
        gone.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a step of the authentication room with time and randomness.
    fn with_associations<T>(&self, step: impl FnOnce(&mut Associations, &Moment<'_>) -> T) -> T {
        let now = self.foundations.surroundings.now();
        let random = |bytes: &mut [u8]| self.foundations.surroundings.fill_random(bytes);
        let moment = Moment { now: now.since_start, unix_seconds: now.unix_seconds, random: &random };
        step(&mut self.state().associations, &moment)
    }

    fn note(&self, event: &ServerEvent) {
        self.foundations.journal.note(&self.here.fqdn, event);
    }

    /// What a reply says to the log alone.
    fn note_trouble(&self, reply: &Reply) {
        if let Some(why) = &reply.log {
            self.note(&ServerEvent::Unavailable { why: why.clone() });
        }
    }

    fn now(&self) -> Duration {
        self.foundations.surroundings.now().since_start
    }

    fn new_tag(&self) -> String {
        let mut bytes = [0; 16];
        self.foundations.surroundings.fill_random(&mut bytes);
        hex::encode_upper(bytes)
    }

    // ---- room 3 ------------------------------------------------------------------------------------------

    fn proceed(
        self: Arc<Self>,
        hop: Hop,
        message: &Message<'_>,
        bytes: &[u8],
        examined: Examined,
    ) -> Option<Pending<'static, ()>> {
        match examined {
            Examined::Drop => None,
            Examined::Refuse(diagnostics) => {
                self.answer_unsigned(&hop, message, &Reply::new(400, "Bad Request").because(diagnostics));
                None
            }
            Examined::Challenge { challenges, diagnostics, log, last } => {
                if let Some(why) = log {
                    self.note(&ServerEvent::Refused { remote: hop.remote, why });
                }
                self.answer_unsigned(&hop, message, &self.unauthorized(&challenges, diagnostics));
                if last {
                    self.foundations.wire.close(hop.conn);
                }
                None
            }
            Examined::Ask(asked, completing) => Some(Box::pin(self.verify(hop, bytes.to_vec(), asked, *completing))),
            Examined::Verified(verified) => {
                self.foundations.wire.proven(hop.conn);
                let arrived = Arrived { hop, bytes: bytes.to_vec(), to_tag: self.new_tag() };
                Some(Box::pin(self.serve(arrived, verified)))
            }
        }
    }

    async fn verify(self: Arc<Self>, hop: Hop, bytes: Vec<u8>, asked: Asked, completing: Completing) {
        let outcome = self.answered_in_time(asked).await;
        let Ok(message) = Message::parse(&bytes) else { return };
        if let Err(Refusal::Unavailable(error)) = &outcome {
            return self.answer_unsigned(&hop, &message, &unavailable(error, false));
        }
        let examined = self.with_associations(|a, moment| a.asked(moment, completing, outcome, &message));
        if let Some(rest) = self.proceed(hop, &message, &bytes, examined) {
            rest.await;
        }
    }

    fn unauthorized(&self, challenges: &[String], diagnostics: Option<Diagnostics>) -> Reply {
        let date = http_date(self.foundations.surroundings.now().unix_seconds);
        let mut reply = Reply::new(401, "Unauthorized").with("Date", date);
        for challenge in challenges {
            reply = reply.with("WWW-Authenticate", challenge.clone());
        }
        reply.diagnostics = diagnostics;
        reply
    }

    /// The answer to a request that no association can sign: there is none yet.
    fn answer_unsigned(&self, hop: &Hop, request: &Message<'_>, reply: &Reply) {
        self.note_trouble(reply);
        let draft = outgoing::response(request, reply, &self.new_tag(), hop, &self.here.fqdn);
        self.send_unsigned(hop.conn, draft);
    }

    /// The only way out for what is not signed: answers to those who have proven nothing, and to what could not be read.
    fn send_unsigned(&self, conn: ConnId, draft: Draft) {
        self.foundations.wire.send(conn, draft.finish());
    }

    /// Every other response: signed by the association that verified the request. An ACK is never answered.
    fn answer(&self, arrived: &Arrived, verified: &Verified, reply: &Reply) {
        self.note_trouble(reply);
        let Ok(request) = Message::parse(&arrived.bytes) else { return };
        if request.method() == Some("ACK") {
            return;
        }
        let draft = outgoing::response(&request, reply, &arrived.to_tag, &arrived.hop, &self.here.fqdn);
        let signed = self.with_associations(|a, moment| a.sign(moment, verified.opaque(), draft));
        if let Some(bytes) = signed {
            self.foundations.wire.send(arrived.hop.conn, bytes);
        }
    }

    // ---- rooms 4 and 5 -------------------------------------------------------------------------------------

    async fn serve(self: Arc<Self>, arrived: Arrived, verified: Verified) {
        let is_register = Message::parse(&arrived.bytes).is_ok_and(|m| m.method() == Some("REGISTER"));
        if is_register {
            self.register(&arrived, &verified).await;
        } else {
            self.provide(&arrived, &verified).await;
        }
    }

    async fn register(&self, arrived: &Arrived, verified: &Verified) {
        let request = Message::parse(&arrived.bytes)
            .map_err(|_| Reply::new(400, "Bad Request"))
            .and_then(|message| RegisterRequest::read(&message, &arrived.to_tag));
        let request = match request {
            Ok(request) => request,
            Err(reply) => {
                self.answer(arrived, verified, &reply);
                return self.part_with_newcomer(verified).await;
            }
        };
        let decision = match self.decide(verified).await {
            Ok(decision) => decision,
            Err(error) => {
                self.answer(arrived, verified, &unavailable(&error, true));
                return self.part_with_newcomer(verified).await;
            }
        };
        let aor = verified.claim().aor.clone();
        match decision {
            Decision::Refuse(reply) => {
                let diagnostics = reply.diagnostics.clone();
                self.note(&ServerEvent::TurnedAway { aor, code: reply.code, diagnostics });
                self.answer(arrived, verified, &reply);
                self.part(verified).await;
            }
            Decision::Redirect(to) => {
                self.note(&ServerEvent::Redirected { aor, to: to.clone() });
                self.answer(arrived, verified, &registrar::redirect(&to));
                self.part(verified).await;
            }
            Decision::Register { .. } if request.expires == Some(0) => self.unbind(arrived, verified).await,
            Decision::Register { primary } => self.bind(arrived, verified, request, primary).await,
        }
    }

    async fn decide(&self, verified: &Verified) -> Result<Decision, DirectoryError> {
        if let Some(refusal) = self.here.refuse_domain(&verified.claim().aor) {
            return Ok(Decision::Refuse(refusal));
        }
        let (user, owns) = self.user_and_owner(verified).await?;
        if owns {
            self.state().associations.found_owner(verified.opaque());
        }
        Ok(self.here.decide(user.as_deref(), owns))
    }

    /// Ends what an endpoint has here that was sent away: its association, and its binding if it was bound. The binding
    /// of another association is somebody else's: the address was only claimed.
    async fn part(&self, verified: &Verified) {
        let claim = verified.claim();
        let gone = {
            let mut state = self.state();
            state.associations.forget(verified.opaque());
            let bound = state.location.binding(&claim.aor, claim.instance);
            let own = bound.is_some_and(|binding| *binding.opaque == *verified.opaque());
            if own { state.location.unbind(&claim.aor, claim.instance) } else { None }
        };
        if let Some(binding) = gone {
            self.endpoint_gone(&claim.aor, &binding).await;
        }
    }

    /// Ends an association that began with a request that led to nothing, so that nobody piles them up.
    async fn part_with_newcomer(&self, verified: &Verified) {
        if verified.completes_handshake() {
            self.part(verified).await;
        }
    }

    /// The user of the claimed address, and whether that address is the proven identity's.
    async fn user_and_owner(&self, verified: &Verified) -> Result<(Option<Arc<User>>, bool), DirectoryError> {
        let owner = match verified.identity() {
            Identity::Account(account) => self.foundations.directory.user_of_account(account),
            Identity::Address(aor) => self.foundations.directory.user(aor),
        };
        let owner = self.answered_in_time(owner).await?;
        let owns = owner.as_ref().is_some_and(|owner| owner.aor == verified.claim().aor);
        Ok((owner.filter(|_| owns), owns))
    }

    async fn bind(&self, arrived: &Arrived, verified: &Verified, request: RegisterRequest, primary: bool) {
        let now = self.now();
        let claim = verified.claim();
        let expires = request.expires.unwrap_or(self.settings.default_expires).min(self.settings.max_expires);
        let binding = Binding {
            instance: claim.instance,
            epid: claim.endpoint().into(),
            contact: received_contact(&request.contact, arrived.hop.remote, &arrived.hop.cid()).into(),
            conn: arrived.hop.conn,
            opaque: self.state().associations.latest(verified.opaque()).into(),
            expires_at: now + Duration::from_secs(u64::from(expires)),
            gruu: request.gruu,
            dialog: request.registration_event.then(|| Box::new(request.dialog)),
        };
        let (added, bindings) = {
            let mut state = self.state();
            let before = state.location.binding(&claim.aor, claim.instance).map(|before| before.opaque.clone());
            if let Some(before) = before.filter(|before| *before != binding.opaque) {
                state.associations.rest(&before, now);
            }
            state.associations.serve(&binding.opaque);
            let added = state.location.bind(&claim.aor, binding, self.settings.endpoints_per_user);
            (added, state.location.bindings(&claim.aor).to_vec())
        };
        let granted = Granted {
            expires,
            action: added.action,
            primary,
            remote: self.external,
            keep_alive: request.keep_alive.then_some(self.settings.keep_alive),
            server: &self.settings.server,
        };
        self.answer(arrived, verified, &registrar::registered(&claim.aor, &bindings, now, &granted));
        let (aor, instance) = (claim.aor.clone(), claim.instance);
        self.note(&ServerEvent::Registered { aor, instance, action: added.action });
        self.put_out(&claim.aor, &added).await;
    }

    /// Tells the endpoints that a new binding put out.
    async fn put_out(&self, aor: &Aor, added: &Added) {
        if let Some(evicted) = &added.evicted {
            self.put_away(aor, evicted, Deregistration::Unregistered).await;
        }
        if let Some(replaced) = &added.replaced {
            // The same endpoint came back over another connection: its subscriptions went with the old one.
            self.tell_deregistered(aor, replaced, Deregistration::Unregistered);
            self.endpoint_gone(aor, replaced).await;
            self.foundations.wire.close(replaced.conn);
        }
    }

    /// Ends for good what is left of a binding that the server took away: whoever wants to come back proves himself anew.
    async fn put_away(&self, aor: &Aor, binding: &Binding, why: Deregistration) {
        self.tell_deregistered(aor, binding, why);
        self.state().associations.forget(&binding.opaque);
        self.endpoint_gone(aor, binding).await;
    }

    async fn unbind(&self, arrived: &Arrived, verified: &Verified) {
        let claim = verified.claim();
        let now = self.now();
        let (gone, left) = {
            let mut state = self.state();
            let gone = state.location.unbind(&claim.aor, claim.instance);
            (gone, state.location.bindings(&claim.aor).to_vec())
        };
        let granted = Granted {
            expires: 0,
            action: RegisterAction::Refreshed,
            primary: true,
            remote: self.external,
            keep_alive: None,
            server: &self.settings.server,
        };
        self.answer(arrived, verified, &registrar::registered(&claim.aor, &left, now, &granted));
        if let Some(binding) = gone {
            self.state().associations.forget(&binding.opaque);
            self.endpoint_gone(&claim.aor, &binding).await;
        }
        self.state().associations.forget(verified.opaque());
    }

    async fn provide(&self, arrived: &Arrived, verified: &Verified) {
        let claim = verified.claim();
        match self.owns(verified).await {
            Ok(true) => {}
            Ok(false) => {
                self.answer(arrived, verified, &registrar::wrong_identity());
                return self.part(verified).await;
            }
            Err(error) => {
                self.answer(arrived, verified, &unavailable(&error, true));
                return self.part_with_newcomer(verified).await;
            }
        }
        if matches!(self.here.role, Role::Director) || !self.is_bound(claim.aor.clone(), claim.instance) {
            let why = Diagnostics::public(4004, "The endpoint is not registered here");
            self.answer(arrived, verified, &Reply::new(403, "Forbidden").because(why));
            return self.part_with_newcomer(verified).await;
        }
        if verified.completes_handshake() {
            self.sign_with(verified);
        }
        if Message::parse(&arrived.bytes).is_ok_and(|request| is_conversational(&request, &claim.aor)) {
            return self.converse(arrived, verified).await;
        }
        let caller = Caller { aor: claim.aor.clone(), epid: claim.endpoint(), external: self.external };
        let answer = {
            let Ok(request) = Message::parse(&arrived.bytes) else { return };
            self.provision.answer(&caller, &request, &arrived.to_tag)
        };
        let Some(answer) = self.in_time(answer).await else {
            return self.answer(arrived, verified, &unavailable(&self.too_late(), true));
        };
        if let Some(reply) = &answer.reply {
            self.answer(arrived, verified, reply);
        }
        self.deliver();
    }

    /// Whether the account owns the address it claims. Asked once in each association: a REGISTER asks anyway, and who
    /// authenticates with another request must not get by without one.
    async fn owns(&self, verified: &Verified) -> Result<bool, DirectoryError> {
        if verified.is_owner() {
            return Ok(true);
        }
        let (_, owns) = self.user_and_owner(verified).await?;
        if owns {
            self.state().associations.found_owner(verified.opaque());
        }
        Ok(owns)
    }

    /// An endpoint that is registered proved itself anew: the association of its registration ends soon.
    fn sign_with(&self, verified: &Verified) {
        let (claim, now) = (verified.claim(), self.now());
        let mut state = self.state();
        if let Some(before) = state.location.sign_with(&claim.aor, claim.instance, verified.opaque()) {
            state.associations.rest(&before, now);
        }
    }

    fn is_bound(&self, aor: Aor, instance: InstanceId) -> bool {
        self.state().location.binding(&aor, instance).is_some()
    }

    async fn endpoint_gone(&self, aor: &Aor, binding: &Binding) {
        self.note(&ServerEvent::Gone { aor: aor.clone(), instance: binding.instance });
        self.proxy.endpoint_gone(&Endpoint { aor: aor.clone(), instance: binding.instance });
        self.in_time(self.provision.endpoint_gone(aor, &binding.epid)).await;
        self.deliver();
    }

    /// Via of a request of ours.
    fn via(&self) -> String {
        let mut branch = [0; 8];
        self.foundations.surroundings.fill_random(&mut branch);
        format!("SIP/2.0/TLS {};branch=z9hG4bK{};branched=FALSE", self.here.fqdn, hex::encode_upper(branch))
    }

    fn send_signed(&self, binding: &Binding, draft: Draft) {
        let signed = self.with_associations(|associations, moment| associations.sign(moment, &binding.opaque, draft));
        if let Some(bytes) = signed {
            self.foundations.wire.send(binding.conn, bytes);
        }
    }

    /// What is to be done every second and waits for nobody: a directory that is slow must not keep strangers' connections
    /// open. `false`: it was done just now.
    fn tidy(&self) -> bool {
        let now = self.now();
        self.waiting.wake(now);
        let silent: Vec<ConnId> = {
            let mut state = self.state();
            if now < state.swept + Duration::from_secs(1) {
                return false;
            }
            state.swept = now;
            state.associations.sweep(now);
            let gone = state.location.sweep(now);
            state.rest(&gone, now);
            state.untold.extend(gone);
            let idle = Duration::from_secs(u64::from(self.settings.keep_alive)) + self.settings.keep_alive_slack;
            let silent = state.connections.iter().filter(|(conn, c)| {
                let waited = now.saturating_sub(c.opened) > self.settings.unauthenticated;
                now.saturating_sub(c.heard) > idle || waited && !state.location.carries(**conn)
            });
            silent.map(|(conn, _)| *conn).collect()
        };
        for conn in silent {
            self.foundations.wire.close(conn);
        }
        true
    }

    /// What is to be done every second and may have to ask the directory.
    async fn sweep(self: Arc<Self>) {
        self.carry_out(self.proxy.sweep());
        loop {
            let Some((aor, binding)) = self.state().untold.pop_front() else { break };
            self.endpoint_gone(&aor, &binding).await;
        }
        self.put_out_barred().await;
        self.in_time(self.provision.sweep()).await;
        self.deliver();
    }
}

impl SipService for FrontEnd {
    fn opened(&self, conn: ConnId, remote: SocketAddr, _local: SocketAddr) {
        let now = self.now();
        self.state().connections.insert(conn, Connection { remote, opened: now, heard: now });
    }

    fn received(self: Arc<Self>, conn: ConnId, bytes: &[u8]) -> Option<Pending<'static, ()>> {
        let now = self.now();
        let remote = {
            let mut state = self.state();
            let connection = state.connections.get_mut(&conn)?;
            connection.heard = now;
            connection.remote
        };
        let message = match Message::parse(bytes) {
            Ok(message) => message,
            Err(error) => {
                self.note(&ServerEvent::Garbled { conn, why: error.to_string() });
                self.foundations.wire.close(conn);
                return None;
            }
        };
        let hop = Hop { conn, remote, external: self.external };
        if message.method().is_none() {
            self.answered(&hop, &message, bytes);
            self.notify_answered(conn, &message);
            return None;
        }
        let peer = Peer { conn, address: remote.ip() };
        let examined = self.with_associations(|a, moment| a.examine(moment, peer, &message));
        self.proceed(hop, &message, bytes, examined)
    }

    fn garbled(&self, conn: ConnId, error: sip::framing::FramingError) {
        self.note(&ServerEvent::Garbled { conn, why: error.to_string() });
        // What could not be read names neither its sender nor an association to sign with.
        let (mut reply, id) = match error {
            sip::framing::FramingError::BodyTooLong { .. } | sip::framing::FramingError::HeadTooLong { .. } => {
                (Draft::response(513, "Message Too Large"), 4008)
            }
            _ => (Draft::response(400, "Bad Request"), 4000),
        };
        reply.header("ms-diagnostics-public", Diagnostics::public(id, error.to_string()).value(None));
        self.send_unsigned(conn, reply);
    }

    fn kept_alive(&self, conn: ConnId) {
        let now = self.now();
        if let Some(connection) = self.state().connections.get_mut(&conn) {
            connection.heard = now;
        }
    }

    fn closed(self: Arc<Self>, conn: ConnId) -> Option<Pending<'static, ()>> {
        let now = self.now();
        let gone = {
            let mut state = self.state();
            state.connections.remove(&conn);
            state.associations.closed(conn);
            let gone = state.location.closed(conn, now);
            state.rest(&gone, now);
            gone
        };
        self.carry_out(self.proxy.closed(conn));
        if gone.is_empty() {
            return None;
        }
        Some(Box::pin(async move {
            for (aor, binding) in &gone {
                self.endpoint_gone(aor, binding).await;
            }
        }))
    }

    fn tick(self: Arc<Self>) -> Option<Pending<'static, ()>> {
        if self.tidy() { Some(Box::pin(self.sweep())) } else { None }
    }
}

/// What everybody may know of a directory or verifier that does not answer.
const CANNOT_ROUTE: &str = "Temporarily cannot route";

/// The directory or the verifier could not answer: the user is told that it is not his fault, the log has the whole text.
/// Who has proven who he is, inside, is told in fixed words what is wrong too. The cause is told inside to all, for with
/// no domain controller nobody can prove anything; outside it is not told.
fn unavailable(error: &DirectoryError, proven: bool) -> Reply {
    let fault = error.fault;
    let reason = if proven { format!("{CANNOT_ROUTE}: {fault}") } else { CANNOT_ROUTE.to_owned() };
    let why = Diagnostics { cause: fault.id(), ..Diagnostics::internal(1007, reason).outside(CANNOT_ROUTE) };
    Reply::new(504, "Server time-out").because(why).logged(error.to_string())
}

/// `Sun, 22 Nov 2026 13:00:00 GMT`: RFC 3261 §20.17.
fn http_date(unix_seconds: i64) -> String {
    let format = time::macros::format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    time::OffsetDateTime::from_unix_timestamp(unix_seconds)
        .ok()
        .and_then(|date| date.format(&format).ok())
        .unwrap_or_else(|| "Thu, 01 Jan 1970 00:00:00 GMT".to_owned())
}
