//! The KDC as it should be, and down, slow or wrong: which ticket or which verdict, and after how long. Time is virtual.

use super::{Cache, Kdc, Source, TicketFailure, Tickets};
use crate::io::{
    Bytes, ConnId, ConnectError, Connected, DnsAnswer, Io, Now, Operation, Outcome, Pending, SecContext,
    SecContextError, Srv, StreamError, Target,
};
use crate::log_on::LogOn;
use crate::name::AccountName;
use crate::report::Event;
use crate::secret::Password;
use crate::testing::EPOCH;
use crate::testing::realm::Realm;
use futures_util::FutureExt;
use mechanism::Side;
use mechanism::kerberos::crypto::{EncryptionType, Key};
use mechanism::kerberos::name::{NameType, Principal};
use mechanism::kerberos::token::{Initial, TokenId, frame};
use mechanism::kerberos::{ApOptions, ApRequest, AsExchange, PerMessageCalls};
use std::collections::BTreeMap;
use std::future::ready;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

const SIP: &str = "sip/fe01.contoso.test";

/// What is at an address.
#[derive(Clone, Copy)]
enum Place {
    /// The KDC.
    Right,
    /// The KDC, with a clock that is so many seconds ahead.
    Ahead(i64),
    /// A KDC that has nothing but an RC4 key of alice.
    Old,
    /// TCP that does not open.
    Filtered,
    /// TCP that opens, and nothing more.
    Silent,
    /// Three bytes of an announced answer each second.
    Trickling,
    /// Closes after the question.
    Closing,
    /// These bytes, whatever was asked.
    Saying(&'static [u8]),
    /// These bytes as an answer, with their length before them.
    Answering(&'static [u8]),
}

/// Some places and a clock. Nothing listens where there is no place.
struct Net(Mutex<State>);

struct State {
    realm: Realm,
    old: mechanism::kerberos::kdc::Kdc,
    now: Duration,
    dns: DnsAnswer,
    places: BTreeMap<SocketAddr, Place>,
    conns: BTreeMap<ConnId, (Place, Vec<u8>)>,
    opened: u64,
    told: Vec<String>,
    /// What the system's library says.
    system: Result<SecContext, SecContextError>,
}

impl Net {
    fn new(places: &[(&str, Place)]) -> Net {
        let places = places.iter().map(|(address, place)| (address.parse().expect("an address"), *place)).collect();
        Net(Mutex::new(State {
            realm: Realm::new(1, &["alice"], &[SIP]),
            old: old_kdc(),
            now: Duration::ZERO,
            dns: DnsAnswer::NxDomain,
            places,
            conns: BTreeMap::new(),
            opened: 0,
            told: Vec::new(),
            system: Err(SecContextError::Absent),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds the lock")
    }

    /// A ticket for the registrar by these KDCs; none leaves it to the DNS.
    fn ask(&self, kdcs: &[&str], log_on: &LogOn) -> Result<(), TicketFailure> {
        let kdcs = kdcs.iter().map(|kdc| kdc.parse().expect("a KDC")).collect();
        self.ask_with(Source { kdcs, ..Source::default() }, log_on)
    }

    fn ask_with(&self, source: Source, log_on: &LogOn) -> Result<(), TicketFailure> {
        let tickets = Tickets::new(source);
        let options = ApOptions::default();
        let asked = tickets.request(self, log_on, "contoso.test", SIP, options).now_or_never();
        let outcome = asked.expect("time is virtual").map(|_| ());
        assert!(self.state().conns.is_empty(), "every connection is closed");
        outcome
    }

    /// The verdict, and the seconds it took.
    fn verdict(&self, kdcs: &[&str]) -> (String, String, u64) {
        let verdict = self.ask(kdcs, &log_on("secret")).expect_err("no ticket").verdict();
        assert!(!verdict.fix.is_empty());
        (verdict.id, verdict.sentence, self.state().now.as_secs())
    }
}

impl State {
    fn resolve(&mut self, name: &str, limit: Duration) -> DnsAnswer {
        if !name.starts_with("_kerberos._tcp.contoso.test") {
            let addresses = name.strip_prefix("kdc").and_then(|n| format!("10.0.0.{n}").parse().ok());
            return match addresses {
                Some(address) => DnsAnswer::Addresses { addresses: vec![address], aliases: Vec::new() },
                None => DnsAnswer::NxDomain,
            };
        }
        if self.dns == DnsAnswer::Timeout {
            self.now += limit;
        }
        self.dns.clone()
    }

    fn connect(&mut self, target: Target, limit: Duration) -> Result<Connected, ConnectError> {
        let Target::Direct(peer) = target else { return Err(ConnectError::Unreachable) };
        match self.places.get(&peer) {
            None => Err(ConnectError::Refused),
            Some(Place::Filtered) => {
                self.now += limit;
                Err(ConnectError::Timeout)
            }
            Some(place) => {
                self.opened += 1;
                let conn = ConnId(self.opened);
                self.conns.insert(conn, (*place, Vec::new()));
                Ok(Connected { conn, local: SocketAddr::from(([127, 0, 0, 1], 40_000)), peer })
            }
        }
    }

    fn receive(&mut self, conn: ConnId, limit: Duration) -> Result<Bytes, StreamError> {
        let (place, question) = self.conns.get(&conn).cloned().expect("open");
        let framed = |answer: &[u8]| [&u32::try_from(answer.len()).expect("short").to_be_bytes()[..], answer].concat();
        let by_the_kdc = |ahead: i64| {
            let time = self.now.as_secs().cast_signed() + EPOCH + ahead;
            framed(&self.realm.answer(question.get(4..).expect("a length"), time))
        };
        match place {
            Place::Right => Ok(Bytes(by_the_kdc(0))),
            Place::Old => {
                let now = mechanism::kerberos::Now { unix_seconds: EPOCH, microseconds: 0 };
                let answer = self.old.answer(&question[4..], None, now, &|bytes: &mut [u8]| bytes.fill(7));
                Ok(Bytes(framed(&answer)))
            }
            Place::Ahead(seconds) => Ok(Bytes(by_the_kdc(seconds))),
            Place::Saying(bytes) => Ok(Bytes(bytes.to_vec())),
            Place::Answering(bytes) => Ok(Bytes(framed(bytes))),
            Place::Closing => Err(StreamError::Closed),
            Place::Trickling if !limit.is_zero() => {
                self.now += Duration::from_secs(1).min(limit);
                Ok(Bytes(vec![0, 0, 1]))
            }
            Place::Silent | Place::Trickling | Place::Filtered => {
                self.now += limit;
                Err(StreamError::Timeout)
            }
        }
    }
}

impl Io for Net {
    fn perform(&self, operation: Operation) -> Pending<'_, Outcome> {
        let mut state = self.state();
        let outcome = match operation {
            Operation::Resolve { name, limit, .. } => Outcome::Resolved(state.resolve(&name, limit)),
            Operation::Connect { target, limit } => Outcome::Connected(state.connect(target, limit)),
            Operation::Send { conn, bytes } => {
                state.conns.get_mut(&conn).expect("open").1 = bytes;
                Outcome::Sent(Ok(()))
            }
            Operation::Receive { conn, limit } => Outcome::Received(state.receive(conn, limit)),
            Operation::Close { conn } => {
                state.conns.remove(&conn);
                Outcome::Done
            }
            Operation::InitSecContext { service, .. } => {
                assert_eq!(service, SIP);
                Outcome::SecContext(state.system.clone())
            }
            other => panic!("nobody asks a KDC by {other:?}"),
        };
        Box::pin(ready(outcome))
    }

    fn now(&self) -> Now {
        let since_start = self.state().now;
        Now { since_start, unix_seconds: EPOCH + since_start.as_secs().cast_signed() }
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }

    fn note(&self, event: Event) {
        self.state().told.push(format!("{event:?}"));
    }
}

fn log_on(password: &str) -> LogOn {
    LogOn {
        account: AccountName::parse("CONTOSO\\alice"),
        password: Some(Password::new(password.to_owned())),
        tickets: None,
        workstation: String::new(),
    }
}

#[test]
fn a_kdc_that_is_set_and_one_that_the_dns_names() {
    let net = Net::new(&[("10.0.0.1:88", Place::Right)]);
    assert_eq!(net.ask(&["kdc1"], &log_on("secret")), Ok(()));
    let told = net.state().told.join("\n");
    assert!(told.contains("knows alice@CONTOSO.TEST by the password") && told.contains(SIP), "{told}");

    let net = Net::new(&[("10.0.0.1:1088", Place::Right)]);
    let record = |priority, target: &str| Srv { priority, weight: 0, port: 1088, target: target.to_owned() };
    net.state().dns = DnsAnswer::Services(vec![record(2, "kdc2"), record(1, "kdc1")]);
    assert_eq!(net.ask(&[], &log_on("secret")), Ok(()));
    assert_eq!(net.state().opened, 3, "two AS legs and one TGS exchange, all with the first of the two");
}

#[test]
fn a_kdc_that_is_down_or_slow_has_its_verdict_within_its_time() {
    let all = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"];
    for (place, seconds, all_seconds, words) in [
        (None, 0, 0, "refused"),
        (Some(Place::Filtered), 3, 15, "10.0.0.1:88"),
        (Some(Place::Silent), 5, 15, "10.0.0.1:88"),
        (Some(Place::Closing), 0, 0, "closed"),
        (Some(Place::Trickling), 5, 15, "10.0.0.1:88"),
        (Some(Place::Saying(b"HTTP/1.1 400 Bad Request\r\n\r\n")), 0, 0, "that is not a KDC"),
        (Some(Place::Saying(b"\0\0\0\0")), 0, 0, "not Kerberos"),
        (Some(Place::Answering(b"SSH-2.0-OpenSSH_9.2\r\n")), 0, 0, "not Kerberos"),
    ] {
        let there = |addresses: &[&str]| {
            let addresses: Vec<String> = addresses.iter().map(|address| format!("{address}:88")).collect();
            let places: Vec<(&str, Place)> =
                addresses.iter().filter_map(|address| Some((address.as_str(), place?))).collect();
            Net::new(&places)
        };
        let (id, sentence, took) = there(&all[..1]).verdict(&all[..1]);
        assert_eq!((id.as_str(), took), ("krb-kdc-unreachable", seconds), "{sentence}");
        assert!(sentence.contains(words), "{sentence}");
        let (id, sentence, took) = there(&all).verdict(&all);
        assert_eq!((id.as_str(), took), ("krb-kdc-unreachable", all_seconds), "six of them: {sentence}");
    }
}

#[test]
fn after_a_bad_kdc_the_next_one_is_asked() {
    for bad in [Place::Silent, Place::Closing, Place::Answering(b"nonsense"), Place::Saying(&[0xff; 4])] {
        let net = Net::new(&[("10.0.0.1:88", bad), ("10.0.0.2:88", Place::Right)]);
        assert_eq!(net.ask(&["10.0.0.1", "10.0.0.2"], &log_on("secret")), Ok(()));
        assert_eq!(net.state().opened, 4, "the bad one is asked once");
    }
}

#[test]
fn what_the_kdc_itself_says_is_told() {
    let right = || Net::new(&[("10.0.0.1:88", Place::Right)]);
    let id = |net: Net, log_on: LogOn| net.ask(&["10.0.0.1"], &log_on).map_err(|failure| failure.verdict().id);
    let told = |id: &str| Err(id.to_owned());
    assert_eq!(id(right(), log_on("wrong")), told("ntlm-wrong-password"));
    let stranger = LogOn { account: AccountName::parse("CONTOSO\\mallory"), ..log_on("secret") };
    assert_eq!(id(right(), stranger), told("krb-wrong-realm"));
    assert_eq!(id(right(), LogOn { password: None, ..log_on("") }), told("krb-no-tgt"));
    let ahead = Net::new(&[("10.0.0.1:88", Place::Ahead(3600))]);
    assert_eq!(id(ahead, log_on("secret")), told("auth-clock-skew"));
    // The first byte of an answer, and then none.
    let cut = Net::new(&[("10.0.0.1:88", Place::Answering(&[0x7e, 0x03, 0x02, 0x01]))]);
    assert_eq!(id(cut, log_on("secret")), told("krb-kdc-refused"));
}

fn old_kdc() -> mechanism::kerberos::kdc::Kdc {
    use mechanism::kerberos::kdc::{Database, Entry, Kdc, Keys};
    let principal = Principal::new(NameType::Principal, vec!["alice".to_owned()], "CONTOSO.TEST".to_owned());
    let principal = principal.expect("a name");
    let key = Key::of_password(EncryptionType::Rc4Hmac, "secret", b"").expect("a key");
    let keys = Keys { kvno: 1, keys: vec![key], salt: Some(String::new()) };
    let mut database = Database::default();
    database.add(Entry { principal, keys, disabled: false });
    Kdc::new("CONTOSO.TEST", database, &|bytes: &mut [u8]| bytes.fill(7))
}

fn source(kdc: &str, password_types: &[EncryptionType]) -> Source {
    Source { kdcs: vec![kdc.parse().expect("a KDC")], password_types: password_types.to_vec(), ..Source::default() }
}

#[test]
fn a_password_proves_itself_under_rc4_only_where_that_is_allowed() {
    let aes = Source::default().password_types;
    assert_eq!(aes, [EncryptionType::Aes256, EncryptionType::Aes128]);
    assert!(Source::default().types.contains(&EncryptionType::Rc4Hmac), "services may have nothing else");

    let net = Net::new(&[("10.0.0.1:88", Place::Old)]);
    let failure = net.ask_with(source("10.0.0.1", &aes), &log_on("secret")).expect_err("no ticket");
    let verdict = failure.verdict();
    assert_eq!(verdict.id, "krb-etype");
    assert!(verdict.sentence.contains("no AES key of alice@CONTOSO.TEST"), "{verdict:?}");
    assert!(verdict.fix.contains("--kerberos-rc4 passwords") && verdict.fix.contains("anew"), "{verdict:?}");
    assert!(!failure.blames_password(), "another mechanism may be tried");

    let net = Net::new(&[("10.0.0.1:88", Place::Old)]);
    let failure = net.ask_with(source("10.0.0.1", &EncryptionType::KNOWN), &log_on("secret")).expect_err("no service");
    assert_eq!(failure.verdict().id, "krb-no-spn", "the password is known, the registrar is not");
    assert!(net.state().told.join("").contains("knows alice@CONTOSO.TEST by the password"));
}

#[test]
fn who_forges_the_first_answer_gets_no_proof_under_rc4() {
    let alice = Principal::new(NameType::Principal, vec!["alice".to_owned()], "CONTOSO.TEST".to_owned());
    let now = mechanism::kerberos::Now { unix_seconds: EPOCH, microseconds: 0 };
    let random = |bytes: &mut [u8]| bytes.fill(7);
    let asked = AsExchange::begin(alice.expect("a name"), &EncryptionType::KNOWN, now, &random);
    // "Prove yourself; I have an RC4 key": whatever was offered.
    let forged: &[u8] = old_kdc().answer(&asked.expect("a request").1, None, now, &random).leak();
    for (types, questions) in [(&EncryptionType::KNOWN[..], 2), (&Source::default().password_types, 1)] {
        let net = Net::new(&[("10.0.0.1:88", Place::Answering(forged))]);
        net.ask_with(source("10.0.0.1", types), &log_on("secret")).expect_err("that is no KDC");
        assert_eq!(net.state().opened, questions, "{types:?}");
    }
}

#[test]
fn nobody_says_where_the_kdc_is() {
    for (answer, words, seconds) in
        [(DnsAnswer::NxDomain, "does not exist", 0), (DnsAnswer::Timeout, "did not answer in time", 3)]
    {
        let net = Net::new(&[]);
        net.state().dns = answer;
        let (id, sentence, took) = net.verdict(&[]);
        assert_eq!((id.as_str(), took), ("krb-kdc-unreachable", seconds));
        assert!(sentence.contains("_kerberos._tcp.contoso.test") && sentence.contains(words), "{sentence}");
    }
    let (id, sentence, _) = Net::new(&[]).verdict(&["nowhere.test"]);
    assert!(id == "krb-kdc-unreachable" && sentence.contains("nowhere.test has no address here"), "{sentence}");
}

/// A ticket by the system's library that says this.
fn by_the_system(says: Result<SecContext, SecContextError>, spnego: bool) -> Result<ApRequest, TicketFailure> {
    let net = Net::new(&[]);
    net.state().system = says;
    let tickets = Tickets::new(Source { cache: Some(Cache::System), ..Source::default() });
    assert!(tickets.has_some());
    let log_on = LogOn { password: None, ..log_on("") };
    let asked = tickets.request(&net, &log_on, "contoso.test", SIP, ApOptions { spnego, channel: None }).now_or_never();
    let outcome = asked.expect("it answers at once");
    let told = net.state().told.join("\n");
    assert_eq!(told.contains("a ticket of alice@CONTOSO.TEST for sip/fe01"), outcome.is_ok(), "{told}");
    outcome
}

/// Says yes to everything.
struct Agreeing;

impl PerMessageCalls for Agreeing {
    fn get_mic(&self, text: &[u8]) -> Option<Vec<u8>> {
        Some(text.to_vec())
    }

    fn verify_mic(&self, _: &[u8], _: &[u8]) -> bool {
        true
    }
}

#[test]
fn the_systems_library_gives_a_token_and_signs() {
    let client = "alice@CONTOSO.TEST".to_owned();
    let context = SecContext { client, token: frame(TokenId::ApReq, b"request"), calls: Some(Arc::new(Agreeing)) };
    let (token, mut keys) = by_the_system(Ok(context.clone()), false).expect("a token").into_parts();
    assert_eq!(token, context.token, "bare, for SIP");
    assert_eq!(keys.sign(Side::Client, b"text"), b"text");
    assert!(keys.verify(Side::Server, b"text", b"signature"));
    let wrapped = by_the_system(Ok(context.clone()), true).expect("a token");
    let Ok(Initial::Negotiate(offer)) = Initial::read(wrapped.token()) else { panic!("for HTTP, an offer") };
    assert_eq!(offer.token, Some(&context.token[..]));

    let written = serde_json::to_string(&Outcome::SecContext(Ok(context.clone()))).expect("it is data");
    assert!(!written.contains("calls"), "{written}");
    let Outcome::SecContext(Ok(read_back)) = serde_json::from_str(&written).expect("reads") else {
        panic!("{written}")
    };
    assert_eq!(read_back, context);
    assert!(read_back.calls.is_none());
    let failure = by_the_system(Ok(read_back), false).expect_err("a record has no key");
    assert!(failure.to_string().contains("its key is in no record"), "{failure}");
}

#[test]
fn what_the_systems_library_lacks_has_the_verdict_of_the_tickets_read_here() {
    let words = || "its words".to_owned();
    let client = Some("alice@OTHER.TEST".to_owned());
    let refused = |code| SecContextError::Refused { client: client.clone(), code, words: words() };
    for (error, id, said) in [
        (SecContextError::NoTicket(words()), "krb-no-tgt", "its words"),
        (SecContextError::Unreachable(words()), "krb-kdc-unreachable", "CONTOSO.TEST answers: its words"),
        (SecContextError::Timeout, "krb-kdc-unreachable", "nothing after 15 s"),
        (refused(7), "krb-no-spn", "the KDC of OTHER.TEST: it does not know the service sip/fe01.contoso.test"),
        (refused(18), "krb-account-state", "alice@OTHER.TEST"),
        (refused(37), "auth-clock-skew", "differ by too much"),
        (refused(60), "krb-kdc-refused", "error 60: its words"),
        (SecContextError::Failed(words()), "krb-no-tgt", "its words"),
        (SecContextError::Absent, "krb-no-tgt", "built without it"),
    ] {
        let verdict = by_the_system(Err(error), false).expect_err("no ticket").verdict();
        assert_eq!(verdict.id, id);
        assert!(verdict.sentence.contains(said) && !verdict.fix.is_empty(), "{verdict:?}");
    }
}

#[test]
fn names_of_kdcs() {
    let kdc = |text: &str| text.parse::<Kdc>().map(|kdc| (kdc.host, kdc.port));
    assert_eq!(kdc("DC1.contoso.test"), Ok(("dc1.contoso.test".to_owned(), 88)));
    assert_eq!(kdc("dc1:1088"), Ok(("dc1".to_owned(), 1088)));
    assert_eq!(kdc("[::1]:88"), Ok(("::1".to_owned(), 88)));
    assert_eq!(kdc("::1"), Ok(("::1".to_owned(), 88)));
    for wrong in ["", ":88", "dc1:", "dc1:port", "dc1:70000"] {
        assert!(kdc(wrong).is_err(), "{wrong}");
    }
}
