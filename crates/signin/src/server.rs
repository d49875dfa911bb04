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
mod answering;
mod conversing;
mod notifying;
mod patience;
mod registering;

use self::answering::unavailable;
use self::patience::Waiting;
use crate::authenticate::offer::Asked;
use crate::authenticate::server::{
    Associations, Completing, Examined, Moment, Peer, Settings as AuthSettings, Verified,
};
use crate::authenticate::verifier::Refusal;
use crate::converse::message::is_conversational;
use crate::converse::server::{Limits as ConversationLimits, Proxy};
use crate::directory::Directory;
use crate::io::{ConnId, Pending};
use crate::journal::{Journal, ServerEvent};
use crate::name::Aor;
use crate::outgoing::Hop;
use crate::provision::server::{Caller, Provision};
use crate::register::endpoint::InstanceId;
use crate::register::location::{Binding, Location};
use crate::register::server::{self as registrar, Here, Role};
use crate::reply::{Diagnostics, Reply};
use crate::service::{SipService, Surroundings, Wire};
use sip::Message;
use sip::framing::FramingError;
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
struct Arrived<'m> {
    hop: Hop,
    request: Message<'m>,
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

    fn now(&self) -> Duration {
        self.foundations.surroundings.now().since_start
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

    fn garbled(&self, conn: ConnId, error: FramingError) {
        self.note(&ServerEvent::Garbled { conn, why: error.to_string() });
        self.answer_garbled(conn, &error);
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

impl FrontEnd {
    /// Room 3 has looked at a request.
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
                Some(Box::pin(self.serve(hop, bytes.to_vec(), verified)))
            }
        }
    }

    /// Awaits what room 3 has to ask, and hands it the answer.
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

    /// Rooms 4 and 5, for whoever has proven who he is.
    async fn serve(self: Arc<Self>, hop: Hop, bytes: Vec<u8>, verified: Verified) {
        // Room 3 has read it too.
        let Ok(request) = Message::parse(&bytes) else { return };
        let arrived = Arrived { hop, request, to_tag: self.new_tag() };
        if arrived.request.method() == Some("REGISTER") {
            self.register(&arrived, &verified).await;
        } else {
            self.provide(&arrived, &verified).await;
        }
    }

    /// Room 5, and conversations: for endpoints that are registered here.
    async fn provide(&self, arrived: &Arrived<'_>, verified: &Verified) {
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
            self.sign_with(verified, arrived.hop.conn);
        }
        if is_conversational(&arrived.request, &claim.aor) {
            return self.converse(arrived, verified).await;
        }
        let caller = Caller { aor: claim.aor.clone(), epid: claim.endpoint(), external: self.external };
        let answer = self.provision.answer(&caller, &arrived.request, &arrived.to_tag);
        let Some(answer) = self.in_time(answer).await else {
            return self.answer(arrived, verified, &unavailable(&self.too_late(), true));
        };
        if let Some(reply) = &answer.reply {
            self.answer(arrived, verified, reply);
        }
        self.deliver();
    }

    fn is_bound(&self, aor: Aor, instance: InstanceId) -> bool {
        self.state().location.binding(&aor, instance).is_some()
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
