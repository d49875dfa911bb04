//! Clients and servers in one memory: no sockets, no runtime, and time that passes only when everybody waits.
//!
//! Bytes go from one half to the other as they are. Every message leaves a line in the transcript, and what a server
//! sends can be altered on the way.

#![allow(dead_code)] // each test program uses its own part

mod people;
mod transcript;
pub(crate) mod trouble;

pub(crate) use people::{People, password};

use mechanism::user_certificate::new_key;
use signin::authenticate::offer::{Offer, Offers};
use signin::authenticate::server::Settings as AuthSettings;
use signin::authenticate::verifier::NtlmVerifier;
use signin::directory::{Directory, User};
use signin::io::{
    Bytes, ConnId, ConnectError, Connected, DnsAnswer, HttpError, HttpRequest, HttpResponse, Io, Now, Operation,
    Outcome, Pending, PrivateKey, SecContextError, StreamError, Target, TlsError, TlsSession,
};
use signin::journal::{Journal, ServerEvent};
use signin::name::Aor;
use signin::provision::contacts::ContactList;
use signin::provision::server::{Limits as ProvisionLimits, Live, Provision};
use signin::register::server::{Here, Role};
use signin::report::Event;
use signin::server::{Foundations, FrontEnd, Neighbours, Settings};
use signin::service::{HttpConversation, HttpService, SipService, Surroundings, Wire};
use signin::topology::{HostPort, Liveness, Pool, Topology};
use sip::Message;
use sip::framing::{Cut, Limits, cut};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// When every world begins: 2026-01-01.
pub(crate) const EPOCH: i64 = 1_767_225_600;

/// Connections to web services are numbered from here.
const WEB: u64 = 1_000_000;

/// An address in contoso.test.
pub(crate) fn aor(name: &str) -> Aor {
    format!("{name}@contoso.test").parse().expect("an address")
}

/// What alters a message that a server sends: from its text to another one.
pub(crate) type Alter = Box<dyn Fn(&str) -> String + Send>;

/// The world; clones are the same one.
#[derive(Clone)]
pub(crate) struct World(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    random: AtomicU64,
}

#[derive(Default)]
struct State {
    now: Duration,
    timers: Vec<(Duration, Waker)>,
    names: BTreeMap<String, Vec<IpAddr>>,
    servers: BTreeMap<IpAddr, Arc<FrontEnd>>,
    conns: BTreeMap<ConnId, Conn>,
    users: BTreeMap<Aor, Arc<User>>,
    /// How often somebody was changed.
    changes: u64,
    lists: BTreeMap<Aor, ContactList>,
    /// Passwords that are not made of the name any more.
    passwords: BTreeMap<String, String>,
    transcript: Vec<String>,
    journal: Vec<String>,
    certificate: Vec<u8>,
    alter: Option<Alter>,
    /// The servers know each other, and share what is published and subscribed.
    neighbours: Neighbours,
    live: Arc<Live>,
    /// Where nobody answers.
    dead: Vec<String>,
    /// Web services, by address.
    web: BTreeMap<IpAddr, Arc<dyn HttpService>>,
    /// Their connections.
    browsing: BTreeMap<ConnId, Option<Box<dyn HttpConversation>>>,
    /// What servers have begun and not ended.
    unfinished: Vec<Pending<'static, ()>>,
}

struct Conn {
    server: Arc<FrontEnd>,
    sent: Vec<u8>,
    inbox: Vec<u8>,
    open: bool,
    /// What the transcript calls its client; of its messages when there is none.
    label: Option<String>,
}

/// What a server of the world is told apart by.
pub(crate) struct Plan {
    pub(crate) host: &'static str,
    pub(crate) role: Role,
    pub(crate) topology: Topology,
    pub(crate) settings: Settings,
    pub(crate) change: fn(&mut AuthSettings),
    /// What it offers before NTLM.
    pub(crate) offers: Vec<Offer>,
    /// Its clients come from outside.
    pub(crate) outside: bool,
    /// Who checks NTLM answers, when it is not the world.
    pub(crate) ntlm: Option<Arc<dyn NtlmVerifier>>,
}

impl Plan {
    /// A Front End of the pool of that name.
    pub(crate) fn front_end(host: &'static str, pool: &str) -> Plan {
        Plan { role: Role::FrontEnd { pool: format!("{pool}.contoso.test") }, ..Plan::director(host) }
    }

    pub(crate) fn director(host: &'static str) -> Plan {
        let topology = topology(&[("pool1", &["fe01"]), ("pool2", &["fe03"])]);
        let (settings, offers) = (Settings::default(), Vec::new());
        Plan { host, role: Role::Director, topology, settings, change: |_| {}, offers, outside: false, ntlm: None }
    }
}

/// Pools and their Front Ends.
pub(crate) fn topology(pools: &[(&str, &[&str])]) -> Topology {
    let pool = |(name, front_ends): &(&str, &[&str])| Pool {
        fqdn: format!("{name}.contoso.test"),
        port: 5061,
        front_ends: front_ends.iter().map(|host| format!("{host}.contoso.test")).collect(),
        web: format!("web-{name}.contoso.test"),
    };
    Topology {
        sip_domains: vec!["contoso.test".to_owned()],
        pools: pools.iter().map(pool).collect(),
        director: Some(HostPort { host: "dir.contoso.test".to_owned(), port: 5061 }),
        ..Topology::default()
    }
}

impl World {
    /// Nobody and nothing.
    pub(crate) fn empty() -> World {
        let names = vec!["*.contoso.test".to_owned()];
        let certificate = rcgen::generate_simple_self_signed(names).expect("a certificate").cert.der().to_vec();
        let state = State { certificate, ..State::default() };
        World(Arc::new(Shared { state: Mutex::new(state), random: AtomicU64::new(1) }))
    }

    /// alice of pool1, bob of pool2, frank of pool2 with backup pool1; `fe01`, `fe03` and a Director.
    pub(crate) fn contoso() -> World {
        let world = World::empty();
        world.user("alice", Some("pool1"), None);
        world.user("bob", Some("pool2"), None);
        world.user("frank", Some("pool2"), Some("pool1"));
        world.server(Plan::director("dir"));
        world.server(Plan::front_end("fe01", "pool1"));
        world.server(Plan::front_end("fe03", "pool2"));
        world.alias("pool1", "fe01");
        world.alias("pool2", "fe03");
        world
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no test panics while it holds the lock")
    }

    /// A server under its host name in contoso.test.
    pub(crate) fn server(&self, plan: Plan) -> Arc<FrontEnd> {
        self.server_with_users(plan, Arc::new(People(self.clone())))
    }

    /// A server that has a directory of its own.
    pub(crate) fn server_with_users(&self, plan: Plan, directory: Arc<dyn Directory>) -> Arc<FrontEnd> {
        let fqdn = format!("{}.contoso.test", plan.host);
        let topology = Arc::new(plan.topology);
        let surroundings: Arc<dyn Surroundings> = Arc::new(self.clone());
        let own = HostPort { host: fqdn.clone(), port: 5061 };
        let limits = ProvisionLimits::default();
        let neighbours = self.state().neighbours.clone();
        let live = self.state().live.clone();
        let provision = Provision::new(&own, directory.clone(), surroundings.clone(), topology.clone(), live, limits);
        let here = Here { fqdn: fqdn.clone(), role: plan.role, topology, liveness: Liveness::default() };
        let foundations = Foundations {
            directory,
            surroundings,
            wire: Arc::new(Cable(Arc::downgrade(&self.0))),
            neighbours: neighbours.clone(),
            journal: Arc::new(Book(Arc::downgrade(&self.0))),
        };
        let ntlm = plan.ntlm.unwrap_or_else(|| Arc::new(People(self.clone())));
        let offers = plan.offers.into_iter().chain([Offer::Ntlm(ntlm)]).collect();
        let offers = match plan.outside {
            true => Offers::outside(offers).expect("nothing that is for inside"),
            false => Offers::inside(offers),
        };
        let mut authentication = AuthSettings::new(&fqdn, "contoso.test", offers);
        (plan.change)(&mut authentication);
        let server = Arc::new(FrontEnd::new(here, plan.settings, authentication, Arc::new(provision), foundations));
        neighbours.join(&server);
        let mut state = self.state();
        let address = IpAddr::from(Ipv4Addr::new(192, 0, 2, state.servers.len() as u8 + 1));
        state.names.insert(fqdn, vec![address]);
        state.servers.insert(address, server.clone());
        server
    }

    /// Another name of a host.
    pub(crate) fn alias(&self, name: &str, host: &str) {
        let mut state = self.state();
        let addresses = state.names[&format!("{host}.contoso.test")].clone();
        state.names.insert(format!("{name}.contoso.test"), addresses);
    }

    /// From now on nobody listens there; the other servers do not know.
    pub(crate) fn kill(&self, host: &str) {
        self.state().dead.push(format!("{host}.contoso.test"));
    }

    /// Somebody listens there again.
    pub(crate) fn revive(&self, host: &str) {
        self.state().dead.retain(|dead| *dead != format!("{host}.contoso.test"));
    }

    /// Every connection to a server breaks.
    pub(crate) fn cut_off(&self, host: &str) {
        let conns: Vec<ConnId> = {
            let state = self.state();
            let fqdn = format!("{host}.contoso.test");
            state.conns.iter().filter(|(_, conn)| conn.server.fqdn() == fqdn).map(|(id, _)| *id).collect()
        };
        conns.into_iter().for_each(|conn| self.hang_up(conn));
    }

    /// Wakes somebody when it is so late.
    pub(crate) fn wake_at(&self, at: Duration, waker: &Waker) {
        self.state().timers.push((at, waker.clone()));
    }

    /// What the transcript calls the client of that connection from now on.
    pub(crate) fn label(&self, conn: ConnId, label: &str) {
        self.state().conns.get_mut(&conn).expect("it was opened").label = Some(label.to_owned());
    }

    /// Alters what servers send from now on.
    pub(crate) fn alter(&self, alter: impl Fn(&str) -> String + Send + 'static) {
        self.state().alter = Some(Box::new(alter));
    }

    /// The server of that host name.
    pub(crate) fn at(&self, host: &str) -> Arc<FrontEnd> {
        let state = self.state();
        let address = state.names[&format!("{host}.contoso.test")][0];
        state.servers[&address].clone()
    }

    /// What was said since the last call, a line for each message.
    pub(crate) fn transcript(&self) -> Vec<String> {
        std::mem::take(&mut self.state().transcript)
    }

    /// What the servers told their journals since the last call.
    pub(crate) fn journal(&self) -> Vec<String> {
        std::mem::take(&mut self.state().journal)
    }

    /// Whether the server has not closed a connection.
    pub(crate) fn is_open(&self, conn: ConnId) -> bool {
        self.state().conns[&conn].open
    }

    /// Lets time pass; every server may sweep each second.
    pub(crate) fn pass(&self, time: Duration) {
        let until = self.now_is() + time;
        while self.now_is() < until {
            let servers: Vec<Arc<FrontEnd>> = {
                let mut state = self.state();
                state.now = (state.now + Duration::from_secs(1)).min(until);
                state.servers.values().cloned().collect()
            };
            for server in servers {
                self.finish(server.tick());
            }
            self.go_on();
        }
    }

    fn now_is(&self) -> Duration {
        self.state().now
    }

    /// Runs to the end; when nobody can go on, time passes up to the next limit.
    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(woken.clone());
        let mut work = pin!(work);
        loop {
            while woken.0.swap(false, Ordering::SeqCst) {
                if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return done;
                }
            }
            let mut state = self.state();
            let next = state.timers.iter().map(|(at, _)| *at).min().expect("somebody waits for something");
            state.now = state.now.max(next);
            let timers = std::mem::take(&mut state.timers);
            drop(state);
            timers.into_iter().for_each(|(_, waker)| waker.wake());
            self.go_on();
        }
    }

    /// Opens a connection to a server by its host name, as its clients do.
    pub(crate) fn connect(&self, host: &str) -> ConnId {
        let address = self.state().names[&format!("{host}.contoso.test")][0];
        self.open(SocketAddr::new(address, 5061)).expect("somebody listens").conn
    }

    fn open(&self, peer: SocketAddr) -> Result<Connected, ConnectError> {
        let (conn, server, remote) = {
            let mut state = self.state();
            let server = state.servers.get(&peer.ip()).cloned().ok_or(ConnectError::Refused)?;
            if state.dead.iter().any(|host| host == server.fqdn()) {
                return Err(ConnectError::Refused);
            }
            let conn = ConnId(state.conns.len() as u64 + 1);
            state.conns.insert(
                conn,
                Conn { server: server.clone(), sent: Vec::new(), inbox: Vec::new(), open: true, label: None },
            );
            (conn, server, SocketAddr::from(([198, 51, 100, 7], 50_000 + conn.0 as u16)))
        };
        server.opened(conn, remote, peer);
        Ok(Connected { conn, local: remote, peer })
    }

    /// Web services under their host name in contoso.test.
    pub(crate) fn web(&self, host: &str, services: Arc<dyn HttpService>) {
        let mut state = self.state();
        let address = IpAddr::from(Ipv4Addr::new(192, 0, 2, state.web.len() as u8 + 100));
        state.names.insert(format!("{host}.contoso.test"), vec![address]);
        state.web.insert(address, services);
    }

    /// How many connections to SIP servers nobody has closed.
    pub(crate) fn connected(&self) -> usize {
        self.state().conns.values().filter(|conn| conn.open).count()
    }

    /// How many connections to web services nobody has closed.
    pub(crate) fn browsing(&self) -> usize {
        self.state().browsing.len()
    }

    fn browse(&self, peer: SocketAddr) -> Option<Connected> {
        let mut state = self.state();
        let conn = ConnId(WEB + state.browsing.len() as u64);
        let local = SocketAddr::from(([198, 51, 100, 7], 40_000));
        let conversation = state.web.get(&peer.ip())?.clone().conversation(local);
        state.browsing.insert(conn, Some(conversation));
        Some(Connected { conn, local, peer })
    }

    async fn exchange(&self, conn: ConnId, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let conversation = self.state().browsing.get_mut(&conn).and_then(Option::take);
        let Some(mut conversation) = conversation else { return Err(HttpError::Stream(StreamError::Closed)) };
        let response = conversation.answer(request).await;
        self.state().browsing.insert(conn, response.reusable.then_some(conversation));
        Ok(response)
    }

    /// Gives a server bytes; it answers at once.
    pub(crate) fn send(&self, conn: ConnId, bytes: &[u8]) -> Result<(), StreamError> {
        {
            let mut state = self.state();
            let conn = state.conns.get_mut(&conn).ok_or(StreamError::Closed)?;
            if !conn.open {
                return Err(StreamError::Closed);
            }
            conn.sent.extend_from_slice(bytes);
        }
        loop {
            let (server, message) = {
                let mut state = self.state();
                let conn = state.conns.get_mut(&conn).ok_or(StreamError::Closed)?;
                match cut(&conn.sent, &Limits::default()) {
                    Ok(Cut::Message { length }) => {
                        (conn.server.clone(), Some(conn.sent.drain(..length).collect::<Vec<u8>>()))
                    }
                    Ok(Cut::KeepAlive { length }) => {
                        conn.sent.drain(..length);
                        (conn.server.clone(), None)
                    }
                    Ok(Cut::Incomplete) => return Ok(()),
                    Err(error) => panic!("the test writes messages: {error}"),
                }
            };
            match message {
                Some(message) => {
                    self.note(conn, server.fqdn(), &message, true);
                    self.finish(server.received(conn, &message));
                }
                None => server.kept_alive(conn),
            }
        }
    }

    /// What the server has sent and nobody has read.
    pub(crate) fn read(&self, conn: ConnId) -> String {
        let bytes = self.state().conns.get_mut(&conn).map(|conn| std::mem::take(&mut conn.inbox));
        String::from_utf8(bytes.unwrap_or_default()).expect("text")
    }

    /// Sends a message and reads what comes at once.
    pub(crate) fn ask(&self, conn: ConnId, bytes: &[u8]) -> String {
        self.send(conn, bytes).expect("open");
        self.read(conn)
    }

    /// The client hangs up.
    pub(crate) fn hang_up(&self, conn: ConnId) {
        let server = {
            let mut state = self.state();
            let conn = state.conns.get_mut(&conn).expect("it was opened");
            std::mem::take(&mut conn.open).then(|| conn.server.clone())
        };
        if let Some(server) = server {
            self.finish(server.closed(conn));
        }
    }

    /// Lets servers do what they have to do; what takes longer goes on when time has passed.
    fn finish(&self, work: Option<Pending<'static, ()>>) {
        self.state().unfinished.extend(work);
        self.go_on();
    }

    fn go_on(&self) {
        let mut context = Context::from_waker(Waker::noop());
        let mut work = std::mem::take(&mut self.state().unfinished);
        work.retain_mut(|work| work.as_mut().poll(&mut context).is_pending());
        self.state().unfinished.append(&mut work);
    }

    fn note(&self, conn: ConnId, fqdn: &str, bytes: &[u8], to_server: bool) {
        let message = Message::parse(bytes).expect("a message");
        let server = fqdn.split('.').next().unwrap_or_default();
        let mut state = self.state();
        let label = state.conns.get(&conn).and_then(|conn| conn.label.clone());
        let line = transcript::line(&message, label, server, to_server);
        state.transcript.push(line);
    }

    async fn receive(&self, conn: ConnId, limit: Duration) -> Result<Bytes, StreamError> {
        let deadline = self.now_is() + limit;
        poll_fn(|context| {
            let mut state = self.state();
            let now = state.now;
            let Some(conn) = state.conns.get_mut(&conn) else { return Poll::Ready(Err(StreamError::Closed)) };
            if !conn.inbox.is_empty() {
                return Poll::Ready(Ok(Bytes(std::mem::take(&mut conn.inbox))));
            }
            if !conn.open {
                return Poll::Ready(Err(StreamError::Closed));
            }
            if now >= deadline {
                return Poll::Ready(Err(StreamError::Timeout));
            }
            state.timers.push((deadline, context.waker().clone()));
            Poll::Pending
        })
        .await
    }

    async fn wait(&self, time: Duration) {
        let until = self.now_is() + time;
        poll_fn(|context| {
            let mut state = self.state();
            if state.now >= until {
                return Poll::Ready(());
            }
            state.timers.push((until, context.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    async fn carry_out(self, operation: Operation) -> Outcome {
        match operation {
            Operation::Resolve { name, .. } => {
                let addresses = self.state().names.get(&name).cloned();
                Outcome::Resolved(match addresses {
                    Some(addresses) => DnsAnswer::Addresses { addresses, aliases: Vec::new() },
                    None => DnsAnswer::NxDomain,
                })
            }
            Operation::Connect { target: Target::Direct(peer), .. } => {
                let browsed = self.browse(peer);
                Outcome::Connected(browsed.map_or_else(|| self.open(peer), Ok))
            }
            Operation::Connect { .. } => Outcome::Connected(Err(ConnectError::Unreachable)),
            Operation::StartTls { .. } => Outcome::Secured(self.secure()),
            Operation::Send { conn, bytes } => Outcome::Sent(self.send(conn, &bytes)),
            Operation::Receive { conn, limit } => Outcome::Received(self.receive(conn, limit).await),
            Operation::Exchange { conn, request, .. } => Outcome::Answered(self.exchange(conn, request).await),
            Operation::NewKey { bits } => {
                Outcome::NewKey(new_key(bits).map(|pkcs8| PrivateKey { pkcs8 }).map_err(|error| error.to_string()))
            }
            Operation::InitSecContext { .. } => Outcome::SecContext(Err(SecContextError::Absent)),
            Operation::Close { conn } if conn.0 >= WEB => {
                self.state().browsing.remove(&conn);
                Outcome::Done
            }
            Operation::Close { conn } => {
                self.hang_up(conn);
                Outcome::Done
            }
            Operation::Wait { time } => {
                self.wait(time).await;
                Outcome::Done
            }
        }
    }

    fn secure(&self) -> Result<TlsSession, TlsError> {
        Ok(TlsSession {
            version: "TLSv1.3".to_owned(),
            cipher: "TLS_AES_256_GCM_SHA384".to_owned(),
            bits: 256,
            chain: vec![self.state().certificate.clone()],
            chain_errors: Vec::new(),
            resumed: false,
        })
    }
}

impl Io for World {
    fn perform(&self, operation: Operation) -> Pending<'_, Outcome> {
        Box::pin(self.clone().carry_out(operation))
    }

    fn now(&self) -> Now {
        let since_start = self.now_is();
        Now { since_start, unix_seconds: EPOCH + since_start.as_secs() as i64 }
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = (self.0.random.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9) >> 16) as u8;
        }
    }

    fn note(&self, _event: Event) {}
}

impl Surroundings for World {
    fn now(&self) -> Now {
        Io::now(self)
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        Io::fill_random(self, bytes);
    }
}

/// What servers write to.
struct Cable(Weak<Shared>);

impl Wire for Cable {
    fn send(&self, id: ConnId, bytes: Vec<u8>) {
        let Some(world) = self.0.upgrade().map(World) else { return };
        let (server, bytes) = {
            let mut state = world.state();
            let bytes = match &state.alter {
                Some(alter) => alter(std::str::from_utf8(&bytes).expect("text")).into_bytes(),
                None => bytes,
            };
            let Some(conn) = state.conns.get_mut(&id).filter(|conn| conn.open) else { return };
            conn.inbox.extend_from_slice(&bytes);
            (conn.server.clone(), bytes)
        };
        world.note(id, server.fqdn(), &bytes, false);
    }

    fn close(&self, conn: ConnId) {
        if let Some(world) = self.0.upgrade().map(World) {
            world.hang_up(conn);
        }
    }
}

struct Book(Weak<Shared>);

impl Journal for Book {
    fn note(&self, fqdn: &str, event: &ServerEvent) {
        if let Some(world) = self.0.upgrade().map(World) {
            let server = fqdn.split('.').next().unwrap_or_default();
            world.state().journal.push(format!("{server}: {event}"));
        }
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}
