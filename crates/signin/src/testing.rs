//! A world in memory: a DNS table, listeners that call web services directly, certificates of an authority of its own,
//! and time that passes only when everybody waits.

pub(crate) mod realm;

use crate::connect::certificate::CertFacts;
use crate::io::{
    ChainError, ConnId, ConnectError, Connected, DnsAnswer, HttpError, HttpRequest, HttpResponse, Io, Now, Operation,
    Outcome, Pending, RecordKind, SecContextError, Srv, StreamError, Target, TlsError, TlsSession,
};
use crate::report::Event;
use crate::service::{HttpConversation, HttpService, Surroundings};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// When every world begins: 2026-01-01, inside the validity of its certificates.
pub(crate) const EPOCH: i64 = 1_767_225_600;

/// What every operation takes that is answered at all.
pub(crate) const LATENCY: Duration = Duration::from_millis(2);

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
    dns: BTreeMap<(String, u8), DnsAnswer>,
    slow: BTreeMap<String, Duration>,
    listeners: BTreeMap<SocketAddr, Listener>,
    conns: BTreeMap<ConnId, Conn>,
    opened: u64,
    events: Vec<Event>,
    operations: Vec<Operation>,
}

#[derive(Clone)]
enum Listener {
    Plain(Arc<dyn HttpService>),
    Tls(Arc<dyn HttpService>, Vec<u8>),
    Silent,
}

struct Conn {
    listener: Listener,
    secured: bool,
    conversation: Option<Box<dyn HttpConversation>>,
}

impl World {
    pub(crate) fn new() -> World {
        World(Arc::new(Shared { state: Mutex::default(), random: AtomicU64::new(1) }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no test panics while it holds the lock")
    }

    /// A name with addresses.
    pub(crate) fn host(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|a| a.parse().expect("an address")).collect();
        self.dns(name, RecordKind::Address, DnsAnswer::Addresses { addresses, aliases: Vec::new() });
    }

    /// A service with its records: priority, weight, port, target.
    pub(crate) fn service(&self, name: &str, records: &[(u16, u16, u16, &str)]) {
        let record = |(priority, weight, port, target): &(u16, u16, u16, &str)| Srv {
            priority: *priority,
            weight: *weight,
            port: *port,
            target: (*target).to_owned(),
        };
        self.dns(name, RecordKind::Srv, DnsAnswer::Services(records.iter().map(record).collect()));
    }

    /// Any answer.
    pub(crate) fn dns(&self, name: &str, kind: RecordKind, answer: DnsAnswer) {
        self.state().dns.insert((name.to_owned(), kind as u8), answer);
    }

    /// A name whose answers take this long.
    pub(crate) fn slow(&self, name: &str, time: Duration) {
        self.state().slow.insert(name.to_owned(), time);
    }

    pub(crate) fn listen_plain(&self, address: &str, service: Arc<dyn HttpService>) {
        self.state().listeners.insert(socket(address), Listener::Plain(service));
    }

    /// A listener whose certificate, given back as DER, has these names.
    pub(crate) fn listen_tls(&self, address: &str, names: &[&str], service: Arc<dyn HttpService>) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = rcgen::generate_simple_self_signed(names).expect("a certificate").cert.der().to_vec();
        self.state().listeners.insert(socket(address), Listener::Tls(service, certificate.clone()));
        certificate
    }

    /// An address that never answers.
    pub(crate) fn silent(&self, address: &str) {
        self.state().listeners.insert(socket(address), Listener::Silent);
    }

    /// Every server ends its connections, as servers do with idle ones.
    pub(crate) fn hang_up(&self) {
        self.state().conns.values_mut().for_each(|conn| conn.conversation = None);
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.state().now
    }

    pub(crate) fn open_connections(&self) -> usize {
        self.state().conns.len()
    }

    pub(crate) fn connections_opened(&self) -> u64 {
        self.state().opened
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.state().events.clone()
    }

    pub(crate) fn operations(&self) -> Vec<Operation> {
        self.state().operations.clone()
    }

    /// Runs to the end, letting time pass whenever nobody can go on.
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
            self.let_time_pass();
        }
    }

    fn let_time_pass(&self) {
        let due = {
            let mut state = self.state();
            let next = state.timers.iter().map(|(at, _)| *at).min().expect("somebody waits for something");
            state.now = state.now.max(next);
            let now = state.now;
            let (due, later) = std::mem::take(&mut state.timers).into_iter().partition(|(at, _)| *at <= now);
            state.timers = later;
            let due: Vec<(Duration, Waker)> = due;
            due
        };
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }

    fn sleep(&self, time: Duration) -> Sleep {
        Sleep { world: self.clone(), at: self.elapsed() + time }
    }

    async fn carry_out(self, operation: Operation) -> Outcome {
        match operation {
            Operation::Resolve { name, kind, limit } => {
                let (answer, time) = {
                    let state = self.state();
                    let answer = state.dns.get(&(name.clone(), kind as u8)).cloned().unwrap_or(DnsAnswer::NxDomain);
                    let silent = if answer == DnsAnswer::Timeout { limit } else { LATENCY };
                    (answer, state.slow.get(&name).copied().unwrap_or(silent))
                };
                self.sleep(time.min(limit)).await;
                Outcome::Resolved(if time > limit { DnsAnswer::Timeout } else { answer })
            }
            Operation::Connect { target, limit } => Outcome::Connected(self.connect(target, limit).await),
            Operation::StartTls { conn, server_name, limit } => {
                Outcome::Secured(self.start_tls(conn, &server_name, limit).await)
            }
            Operation::Exchange { conn, request, limit } => {
                Outcome::Answered(self.exchange(conn, request, limit).await)
            }
            Operation::Close { conn } => {
                self.state().conns.remove(&conn);
                Outcome::Done
            }
            Operation::Wait { time } => {
                self.sleep(time).await;
                Outcome::Done
            }
            Operation::NewKey { .. } => Outcome::NewKey(Err("no keys are made here".to_owned())),
            Operation::InitSecContext { .. } => Outcome::SecContext(Err(SecContextError::Absent)),
            Operation::Send { .. } | Operation::Receive { .. } => panic!("discovery sends no bytes of its own"),
        }
    }

    async fn connect(&self, target: Target, limit: Duration) -> Result<Connected, ConnectError> {
        let Target::Direct(peer) = target else { return Err(ConnectError::Unreachable) };
        let listener = self.state().listeners.get(&peer).cloned();
        let conversation = match &listener {
            None => {
                self.sleep(LATENCY).await;
                return Err(ConnectError::Refused);
            }
            Some(Listener::Silent) => {
                self.sleep(limit).await;
                return Err(ConnectError::Timeout);
            }
            Some(Listener::Plain(service) | Listener::Tls(service, _)) => service.clone().conversation(peer),
        };
        self.sleep(LATENCY).await;
        let mut state = self.state();
        state.opened += 1;
        let conn = ConnId(state.opened);
        let listener = listener.expect("matched above");
        state.conns.insert(conn, Conn { listener, secured: false, conversation: Some(conversation) });
        let local = SocketAddr::new(IpAddr::from([127, 0, 0, 1]), 40_000);
        Ok(Connected { conn, local, peer })
    }

    async fn start_tls(&self, conn: ConnId, _name: &str, _limit: Duration) -> Result<TlsSession, TlsError> {
        self.sleep(LATENCY).await;
        let mut state = self.state();
        let conn = state.conns.get_mut(&conn).ok_or(TlsError::Closed)?;
        let Listener::Tls(_, certificate) = &conn.listener else { return Err(TlsError::NotTls("HTTP".to_owned())) };
        conn.secured = true;
        CertFacts::read(certificate).expect("a certificate that can be read");
        Ok(TlsSession {
            version: "TLSv1.3".to_owned(),
            cipher: "TLS_AES_256_GCM_SHA384".to_owned(),
            bits: 256,
            chain: vec![certificate.clone()],
            chain_errors: Vec::<ChainError>::new(),
            resumed: false,
        })
    }

    async fn exchange(&self, conn: ConnId, request: HttpRequest, limit: Duration) -> Result<HttpResponse, HttpError> {
        let conversation = {
            let mut state = self.state();
            let conn = state.conns.get_mut(&conn);
            let conn = conn.filter(|conn| conn.secured || matches!(conn.listener, Listener::Plain(_)));
            conn.and_then(|conn| conn.conversation.take())
        };
        let Some(mut conversation) = conversation else { return Err(HttpError::Stream(StreamError::Closed)) };
        self.sleep(LATENCY).await;
        let response = conversation.answer(request).await;
        if response.status == NO_ANSWER {
            self.sleep(limit).await;
            return Err(HttpError::Stream(StreamError::Timeout));
        }
        if let Some(conn) = self.state().conns.get_mut(&conn) {
            conn.conversation = response.reusable.then_some(conversation);
        }
        Ok(response)
    }
}

/// Status by which a scripted service says nothing at all.
pub(crate) const NO_ANSWER: u16 = 0;

impl Io for World {
    fn perform(&self, operation: Operation) -> Pending<'_, Outcome> {
        self.state().operations.push(operation.clone());
        Box::pin(self.clone().carry_out(operation))
    }

    fn now(&self) -> Now {
        let since_start = self.elapsed();
        Now { since_start, unix_seconds: EPOCH + since_start.as_secs() as i64 }
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = (self.0.random.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9) >> 16) as u8;
        }
    }

    fn note(&self, event: Event) {
        self.state().events.push(event);
    }
}

impl Surroundings for World {
    fn now(&self) -> Now {
        Io::now(self)
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        Io::fill_random(self, bytes);
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

struct Sleep {
    world: World,
    at: Duration,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.world.state();
        if state.now >= self.at {
            return Poll::Ready(());
        }
        state.timers.push((self.at, context.waker().clone()));
        Poll::Pending
    }
}

fn socket(address: &str) -> SocketAddr {
    address.parse().expect("address and port")
}

/// A web service that answers from a table of its own.
pub(crate) struct Scripted<F>(pub(crate) F);

impl<F: Fn(&HttpRequest) -> HttpResponse + Send + Sync + 'static> HttpService for Scripted<F> {
    fn conversation(self: Arc<Self>, _remote: SocketAddr) -> Box<dyn HttpConversation> {
        Box::new(ScriptedConversation(self))
    }
}

struct ScriptedConversation<F>(Arc<Scripted<F>>);

impl<F: Fn(&HttpRequest) -> HttpResponse + Send + Sync> HttpConversation for ScriptedConversation<F> {
    fn answer(&mut self, request: HttpRequest) -> Pending<'_, HttpResponse> {
        let response = (self.0.0)(&request);
        Box::pin(async move { response })
    }
}

/// An answer with a body.
pub(crate) fn says(status: u16, headers: &[(&str, &str)], body: &str) -> HttpResponse {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    HttpResponse { status, headers, body: body.as_bytes().to_vec(), reusable: true }
}
