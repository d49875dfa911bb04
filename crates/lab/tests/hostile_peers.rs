//! The lab's Front End against clients that are broken, hostile, or no clients at all. Each gets the right answer or
//! none, nobody gets more than his share, and afterwards others are served as before.
//!
//! What needs time (half a message and then silence) is tried in virtual time, beside the protocol.

mod support;

use lab::Lab;
use mechanism::ntlm::Entropy;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslVerifyMode};
use signin::authenticate::association::Association;
use signin::authenticate::client::{challenges, first_leg, last_leg};
use signin::authenticate::message::{Challenge, Scheme};
use signin::name::Aor;
use signin::register::client::Registration;
use sip::framing::{Cut, Limits, cut};
use sip::{Draft, Message};
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use support::{Attempt, LONG, SHORT, alice_signs_in, lab, log_on};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_openssl::SslStream;

/// The one Front End of its pool: nobody is redirected away from it.
const SERVER: &str = "fe03.contoso.test";

fn address(lab: &Lab) -> SocketAddr {
    lab.ready().hosts.iter().find(|host| host.fqdn == SERVER).and_then(|host| host.sip).expect("it listens")
}

/// The server under attack serves frank, and its neighbour alice.
async fn others_are_served(lab: &Lab) {
    let frank = Attempt::of(lab, "frank").at(SERVER).epid("f4a2000000").run().await;
    assert!(frank.report.signed_in, "frank is not served any more: {}\n{}", frank.sentence(), frank.ladder());
    alice_signs_in(lab).await;
}

/// A connection that trusts everybody and sends whatever it is told to.
struct Peer {
    stream: SslStream<TcpStream>,
    received: Vec<u8>,
}

impl Peer {
    async fn connect(lab: &Lab) -> Peer {
        let mut context = SslContext::builder(SslMethod::tls_client()).expect("OpenSSL works");
        context.set_verify(SslVerifyMode::NONE);
        let ssl = Ssl::new(&context.build()).expect("a session");
        let tcp = TcpStream::connect(address(lab)).await.expect("it listens");
        let mut stream = SslStream::new(ssl, tcp).expect("a stream");
        Pin::new(&mut stream).connect().await.expect("TLS");
        Peer { stream, received: Vec::new() }
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The server may have closed already; what it answered is still to be read.
        let _ = self.stream.write_all(bytes.as_ref()).await;
        let _ = self.stream.flush().await;
    }

    /// The next whole message; `None` when the server closed instead.
    async fn read(&mut self) -> Option<String> {
        loop {
            if let Ok(Cut::Message { length }) = cut(&self.received, &Limits::default()) {
                let message = self.received.drain(..length).collect();
                return Some(String::from_utf8(message).expect("the server sends text"));
            }
            let mut bytes = [0; 4096];
            let read = timeout(LONG, self.stream.read(&mut bytes)).await.expect("an answer in time");
            match read {
                Ok(0) | Err(_) => return None,
                Ok(length) => self.received.extend_from_slice(&bytes[..length]),
            }
        }
    }

    async fn ask(&mut self, bytes: impl AsRef<[u8]>) -> String {
        self.send(bytes).await;
        self.read().await.expect("an answer")
    }

    /// Sends, and gives all that comes until the server closes.
    async fn last_words(mut self, bytes: impl AsRef<[u8]>) -> Vec<String> {
        self.send(bytes).await;
        let mut words = Vec::new();
        while let Some(message) = self.read().await {
            words.push(message);
        }
        words
    }

    /// Nothing comes, and the connection stays open.
    async fn is_left_alone(&mut self) -> bool {
        let mut byte = [0];
        self.received.is_empty() && timeout(SHORT, self.stream.read(&mut byte)).await.is_err()
    }
}

/// Status and error id: `401 1000`.
fn verdict(text: &str) -> String {
    let message = Message::parse(text.as_bytes()).expect("a message");
    let code = message.status().expect("a response");
    signin::reply::diagnostics(&message).0.map_or(code.to_string(), |id| format!("{code} {id}"))
}

/// A REGISTER of bob's with this From parameter, these further headers, and no credentials.
fn register(from: &str, extra: &str) -> String {
    format!(
        "REGISTER sip:contoso.test SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1:5\r\nMax-Forwards: 70\r\nFrom: <sip:bob@contoso.test>;tag=1{from}\r\nTo: <sip:bob@contoso.test>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n{extra}Content-Length: 0\r\n\r\n"
    )
}

const CONTACT: &str = "Contact: <sip:127.0.0.1:5;transport=tls>;proxy=replace\r\nEvent: registration\r\n";

/// One of bob's endpoints, made leg by leg.
struct Endpoint {
    registration: Registration,
    cseq: u32,
    association: Option<Association>,
}

impl Endpoint {
    fn new(epid: &str) -> Endpoint {
        let (aor, epid): (Aor, _) = ("bob@contoso.test".parse().expect("an address"), epid.parse().expect("an epid"));
        let random = [epid_seed(&epid); 24];
        let registration = Registration::new(aor, epid, "UCCAPI/16.0.0 Test".to_owned(), random);
        Endpoint { registration, cseq: 0, association: None }
    }

    async fn registered(epid: &str, peer: &mut Peer) -> Endpoint {
        let mut endpoint = Endpoint::new(epid);
        let token = endpoint.challenge(peer).await;
        let last = endpoint.last_leg(&token);
        let answer = peer.ask(&last).await;
        assert_eq!(verdict(&answer), "200", "{answer}");
        endpoint
    }

    fn draft(&mut self) -> Draft {
        self.cseq += 1;
        self.registration.request(self.cseq, SocketAddr::from(([127, 0, 0, 1], 5)), None)
    }

    /// The first two legs.
    async fn challenge(&mut self, peer: &mut Peer) -> Challenge {
        let first = peer.ask(self.draft().finish()).await;
        let begin = self.first_leg(&offer(&first));
        let second = peer.ask(begin).await;
        offer(&second)
    }

    fn first_leg(&mut self, offered: &Challenge) -> Vec<u8> {
        let mut draft = self.draft();
        draft.header("Authorization", first_leg(offered));
        draft.finish()
    }

    fn last_leg(&mut self, token: &Challenge) -> Vec<u8> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let entropy = Entropy { client_challenge: [3; 8], session_key: [4; 16] };
        let logging_on = log_on("CONTOSO\\bob", "Bob-in-the-lab-2");
        let password = logging_on.password.as_ref().expect("a password");
        let (mut association, answer) =
            last_leg(SERVER, token, &logging_on, password, &entropy, now as i64).expect("it can be answered");
        let mut draft = self.draft();
        association.sign_as_client(&mut draft, 5, Some(answer)).expect("it can be signed");
        self.association = Some(association);
        draft.finish()
    }

    fn sign(&mut self, mut draft: Draft) -> Vec<u8> {
        let association = self.association.as_mut().expect("authenticated");
        association.sign_as_client(&mut draft, 6, None).expect("it can be signed");
        draft.finish()
    }

    /// A signed REGISTER that asks for an hour.
    fn refresh(&mut self) -> String {
        let mut draft = self.draft();
        draft.header("Expires", 3600);
        String::from_utf8(self.sign(draft)).expect("text")
    }

    /// A signed request of any method within the registration.
    fn request(&mut self, method: &str) -> Vec<u8> {
        self.cseq += 1;
        let Registration { aor, epid, call_id, from_tag, instance, .. } = &self.registration;
        let mut draft = Draft::request(method, &aor.to_uri());
        draft
            .header("Via", "SIP/2.0/TLS 127.0.0.1:5")
            .header("From", format_args!("<{}>;tag={from_tag};epid={}", aor.to_uri(), epid.as_str()))
            .header("To", format_args!("<{}>", aor.to_uri()))
            .header("Call-ID", call_id)
            .header("CSeq", format_args!("{} {method}", self.cseq))
            .header("Contact", format_args!("<sip:127.0.0.1:5>;+sip.instance={}", instance.to_parameter()));
        self.sign(draft)
    }
}

fn epid_seed(epid: &signin::register::endpoint::Epid) -> u8 {
    epid.as_str().bytes().fold(0, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte))
}

fn offer(text: &str) -> Challenge {
    let message = Message::parse(text.as_bytes()).expect("a message");
    assert_eq!(message.status(), Some(401), "{text}");
    challenges(&message).into_iter().find(|challenge| challenge.scheme == Scheme::Ntlm).expect("a challenge of NTLM")
}

// ---- streams -----------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_no_tls_is_hung_up_on() {
    let lab = lab().await;
    let garbage: Vec<u8> = (0..2000u32).map(|n| ((n * 7919) >> 3) as u8).collect();
    let sip = register(";epid=aa", CONTACT).into_bytes();
    for bytes in [garbage, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), sip, vec![0x16, 3, 1, 0xff, 0xff, 1]] {
        let mut stream = TcpStream::connect(address(&lab)).await.expect("it listens");
        stream.write_all(&bytes).await.expect("open");
        stream.shutdown().await.expect("open");
        let mut answer = Vec::new();
        let read = timeout(LONG, stream.read_to_end(&mut answer)).await.expect("closed in time");
        assert!(read.is_err() || answer.is_empty() || answer[0] == 0x15, "no more than an alert: {answer:?}");
    }
    others_are_served(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_no_sip_are_closed() {
    let lab = lab().await;
    let head = |length: &str| format!("OPTIONS sip:x SIP/2.0\r\nContent-Length: {length}\r\n\r\n");
    let table: [(&str, Vec<u8>, Option<&str>); 11] = [
        ("bytes", vec![0, 1, 2, 3, 255], Some("400 4000")),
        ("an HTTP request", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), None),
        ("lines of text", b"Hello there\r\n\r\n".to_vec(), None),
        ("an endless line", vec![b'a'; 70_000], Some("513 4008")),
        (
            "an endless head",
            format!("OPTIONS sip:x SIP/2.0\r\n{}", "X: y\r\n".repeat(20_000)).into_bytes(),
            Some("513 4008"),
        ),
        ("a body of 10 GB, promised", head("10737418240").into_bytes(), Some("513 4008")),
        ("a body of 2 MB", [head("2000000").into_bytes(), vec![b'b'; 2_000_000]].concat(), Some("513 4008")),
        ("two lengths", head("1\r\nl: 2").into_bytes(), Some("400 4000")),
        ("a negative length", head("-1").into_bytes(), Some("400 4000")),
        ("a length of 30 digits", head(&"9".repeat(30)).into_bytes(), Some("400 4000")),
        ("no number", head("ten").into_bytes(), Some("400 4000")),
    ];
    for (what, bytes, expected) in table {
        let words = Peer::connect(&lab).await.last_words(bytes).await;
        let words: Vec<String> = words.iter().map(|text| verdict(text)).collect();
        assert_eq!(words, Vec::from_iter(expected), "{what}");
    }
    others_are_served(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_of_clients_are_passed_over() {
    let lab = lab().await;
    let mut peer = Peer::connect(&lab).await;
    for line in ["SIP/2.0 200 OK", "SIP/2.0 100 Trying", "SIP/2.0 699 Whatever"] {
        peer.send(format!("{line}\r\nCall-ID: x\r\nCSeq: 1 NOTIFY\r\nContent-Length: 0\r\n\r\n")).await;
        assert!(peer.is_left_alone().await, "{line}");
    }
    assert_eq!(verdict(&peer.ask(register(";epid=aa", CONTACT)).await), "401");
    others_are_served(&lab).await;
}

// ---- before authentication -----------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_contradict_themselves() {
    let lab = lab().await;
    let mut peer = Peer::connect(&lab).await;
    let of_another = Endpoint::new("bb").registration.instance.to_parameter();
    let instance = |value: &str| format!("Contact: <sip:127.0.0.1:5>;+sip.instance={value}\r\n");
    let long = format!(";epid={}", "a".repeat(17));
    let table = [
        ("", CONTACT.to_owned(), "400 4010"),
        (&*long, CONTACT.to_owned(), "400 4012"),
        (";epid=", CONTACT.to_owned(), "400 17001"),
        (";epid=aa", instance(&of_another), "400 17001"),
        (";epid=aa", instance("\"<urn:uuid:nonsense>\""), "400 17001"),
        (";epid=bb", instance(&of_another), "401"),
        ("", instance(&of_another), "401"),
        (";epid=aa", String::new(), "401"),
    ];
    for (from, extra, expected) in table {
        let request = register(from, &extra);
        assert_eq!(verdict(&peer.ask(&request).await), expected, "{request}");
    }
    let nobody = register(";epid=aa", CONTACT).replace("From: <sip:bob@contoso.test>", "From: <tel:+1>");
    assert_eq!(verdict(&peer.ask(nobody).await), "400 17001");
    others_are_served(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_is_never_answered_and_every_other_method_is_challenged() {
    let lab = lab().await;
    let mut peer = Peer::connect(&lab).await;
    for method in ["ACK", "CANCEL"] {
        for from in [";epid=aa", ""] {
            peer.send(register(from, CONTACT).replace("REGISTER", method)).await;
            assert!(peer.is_left_alone().await, "{method}");
        }
    }
    for method in ["SUBSCRIBE", "SERVICE", "OPTIONS", "FROBNICATE", "register"] {
        assert_eq!(
            verdict(&peer.ask(register(";epid=aa", CONTACT).replace("REGISTER", method)).await),
            "401",
            "{method}"
        );
    }
    let mut endpoint = Endpoint::registered("ac", &mut peer).await;
    peer.send(endpoint.request("ACK")).await;
    assert!(peer.is_left_alone().await, "a signed ACK");
    assert_eq!(verdict(&peer.ask(endpoint.request("FROBNICATE")).await), "501 4000");
    assert_eq!(verdict(&peer.ask(endpoint.request("OPTIONS")).await), "200");
    others_are_served(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_gets_few_handshakes() {
    let lab = lab().await;
    let mut peer = Peer::connect(&lab).await;
    let offered = offer(&peer.ask(register(";epid=aa", CONTACT)).await);
    let mut challenges = 0;
    for n in 0..2_000 {
        let begin = Endpoint::new(&format!("e{n}")).first_leg(&offered);
        let answer = offer(&peer.ask(begin).await);
        challenges += usize::from(answer.gssapi_data.is_some());
    }
    assert_eq!(challenges, 4);
    let front_end = lab.front_end(SERVER).expect("it runs").clone();
    assert_eq!(front_end.counts(), (0, 0, 4, 0));
    others_are_served(&lab).await;
    drop(peer);
    let gone = async {
        while front_end.counts().2 > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, gone).await.expect("handshakes go with their connection");
}

// ---- signatures ----------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_good_for_its_own_challenge_and_once() {
    let lab = lab().await;
    let mut peer = Peer::connect(&lab).await;
    let mut endpoint = Endpoint::new("aa");
    let one = endpoint.challenge(&mut peer).await;
    let two = endpoint.challenge(&mut peer).await;
    let crossed = Challenge { opaque: two.opaque.clone(), ..one.clone() };
    let last = endpoint.last_leg(&crossed);
    assert_eq!(verdict(&peer.ask(last).await), "401 1000", "an answer to another challenge");
    let last = endpoint.last_leg(&two);
    assert_eq!(verdict(&peer.ask(last).await), "401", "that challenge was used up by the wrong answer");
    let last = endpoint.last_leg(&one);
    assert_eq!(verdict(&peer.ask(&last).await), "200");
    assert_eq!(verdict(&peer.ask(&last).await), "401", "the same answer again");
    let mut thief = Peer::connect(&lab).await;
    assert_eq!(verdict(&thief.ask(&last).await), "401", "the same answer over another connection");
    assert_eq!(verdict(&peer.ask(endpoint.refresh()).await), "200");
    others_are_served(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_message_counts_once() {
    let lab = lab().await;
    let (mut peer, mut thief) = (Peer::connect(&lab).await, Peer::connect(&lab).await);
    let mut endpoint = Endpoint::registered("aa", &mut peer).await;
    let mut leave = endpoint.draft();
    leave.header("Expires", 0);
    let (refresh, leave) = (endpoint.refresh(), endpoint.sign(leave));
    assert_eq!(verdict(&peer.ask(&refresh).await), "200");
    for who in [&mut peer, &mut thief] {
        assert_eq!(verdict(&who.ask(&refresh).await), "401 1000");
    }
    let front_end = lab.front_end(SERVER).expect("it runs");
    assert_eq!(front_end.counts(), (1, 1, 0, 1), "not executed: the endpoint is still where it was");
    assert!(peer.is_left_alone().await, "nobody took its place");
    assert_eq!(verdict(&peer.ask(&leave).await), "200");
    let _ = Endpoint::registered("aa", &mut peer).await;
    assert_eq!(verdict(&thief.ask(&leave).await), "401", "a message of the association before");
    assert_eq!(front_end.counts().1, 1);
    others_are_served(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_under_the_signature_is_missed_when_it_changes() {
    let lab = lab().await;
    let mut peer = Peer::connect(&lab).await;
    let mut endpoint = Endpoint::registered("aa", &mut peer).await;
    type Change = fn(&str) -> String;
    let changes: [(&str, Change); 18] = [
        ("tag of From", |t| t.replacen(";tag=", ";tag=0", 1)),
        ("user of From", |t| t.replacen("From: <sip:bob@", "From: <sip:frank@", 1)),
        ("case of From", |t| t.replacen("From: <sip:bob@", "From: <sip:Bob@", 1)),
        ("epid of From", |t| t.replacen("epid=aa", "epid=ab", 1)),
        ("To", |t| t.replacen("To: <sip:bob@", "To: <sip:frank@", 1)),
        ("tag of To", |t| t.replacen("To: <sip:bob@contoso.test>", "To: <sip:bob@contoso.test>;tag=x", 1)),
        ("Call-ID", |t| t.replacen("Call-ID: ", "Call-ID: 0", 1)),
        ("number of CSeq", |t| t.replacen("CSeq: ", "CSeq: 9", 1)),
        ("method of the start line", |t| t.replacen("REGISTER", "OPTIONS", 1)),
        ("method of CSeq", |t| t.replacen(" REGISTER\r\n", " OPTIONS\r\n", 1)),
        ("both methods", |t| t.replace("REGISTER", "OPTIONS")),
        ("Expires", |t| t.replacen("Expires: 3600", "Expires: 0", 1)),
        ("no Expires", |t| t.replacen("Expires: 3600\r\n", "", 1)),
        ("P-Preferred-Identity", |t| {
            t.replacen("Max-Forwards", "P-Preferred-Identity: <sip:frank@contoso.test>\r\nMax-Forwards", 1)
        }),
        ("crand", |t| t.replacen("crand=\"00000006\"", "crand=\"00000007\"", 1)),
        ("cnum", |t| t.replacen("cnum=\"", "cnum=\"9", 1)),
        ("response", |t| t.replacen("response=\"01000000", "response=\"02000000", 1)),
        ("no signature", |t| t.replacen("response=", "x=", 1)),
    ];
    for (what, change) in changes {
        let text = endpoint.refresh();
        let altered = change(&text);
        assert_ne!(altered, text, "{what}: the test changed nothing");
        let answer = verdict(&peer.ask(&altered).await);
        // What contradicts itself is seen first: an epid beside another +sip.instance, a method beside another CSeq.
        let contradiction = ["epid of From", "method of the start line", "method of CSeq"].contains(&what);
        assert_eq!(answer, if contradiction { "400 17001" } else { "401 1000" }, "{what}");
        // What was altered did not move the window: the message itself still counts.
        assert_eq!(verdict(&peer.ask(&text).await), "200", "{what}");
    }
    let text = endpoint.refresh().replacen("opaque=\"", "opaque=\"0", 1);
    assert_eq!(verdict(&peer.ask(text).await), "401", "an association nobody knows");
    others_are_served(&lab).await;
}

/// `[MS-SIPAE]` §3.2.5.2: these may be changed by proxies, so no signature covers them. TLS does.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_signature_does_not_cover() {
    let lab = lab().await;
    let mut peer = Peer::connect(&lab).await;
    let mut endpoint = Endpoint::registered("aa", &mut peer).await;
    type Change = fn(&str) -> String;
    let changes: [(&str, Change); 5] = [
        ("Request-URI", |t| t.replacen("REGISTER sip:contoso.test", "REGISTER sip:other.test", 1)),
        ("Via", |t| t.replacen("branch=z9hG4bK", "branch=z9hG4bK0", 1)),
        ("Contact", |t| t.replacen("Contact: <sip:127.0.0.1:5", "Contact: <sip:192.0.2.1:99", 1)),
        ("User-Agent", |t| t.replacen("UCCAPI/16.0.0 Test", "Mallory", 1)),
        ("body", |t| t.replacen("Content-Length: 0\r\n\r\n", "Content-Length: 2\r\n\r\nxx", 1)),
    ];
    for (what, change) in changes {
        let text = endpoint.refresh();
        let altered = change(&text);
        assert_ne!(altered, text, "{what}: the test changed nothing");
        assert_eq!(verdict(&peer.ask(&altered).await), "200", "{what}");
    }
    others_are_served(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_do_not_sign_for_each_other() {
    let lab = lab().await;
    let (mut peer, mut other) = (Peer::connect(&lab).await, Peer::connect(&lab).await);
    let mut first = Endpoint::registered("aa", &mut peer).await;
    let mut second = Endpoint::registered("bb", &mut other).await;
    // The second one's requests, signed with the first one's keys.
    std::mem::swap(&mut first.association, &mut second.association);
    assert_eq!(verdict(&other.ask(second.refresh()).await), "401 1000");
    assert_eq!(verdict(&peer.ask(first.refresh()).await), "401 1000");
    std::mem::swap(&mut first.association, &mut second.association);
    assert_eq!(verdict(&other.ask(second.refresh()).await), "200");
    assert_eq!(verdict(&peer.ask(first.refresh()).await), "200");
    others_are_served(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_register_with_another_event() {
    let lab = lab().await;
    let mut peer = Peer::connect(&lab).await;
    let mut endpoint = Endpoint::registered("aa", &mut peer).await;
    let mut with = |header: &str, value: &str| {
        let text = String::from_utf8(endpoint.draft().finish()).expect("text");
        let mut draft = Draft::request("REGISTER", "sip:contoso.test");
        for line in text.lines().skip(1).take_while(|line| !line.is_empty()) {
            let (name, old) = line.split_once(": ").expect("a header");
            match name {
                "Content-Length" => {}
                _ if name == header => {
                    draft.header(name, value);
                }
                _ => {
                    draft.header(name, old);
                }
            }
        }
        endpoint.sign(draft)
    };
    for (header, value, expected) in [
        ("Event", "presence", "489 4055"),
        ("Supported", "msrtc-event-categories", "421 2057"),
        ("Contact", "*", "400 17001"),
        ("Contact", "<sip:127.0.0.1:5;transport=tcp>;proxy=replace", "400 17001"),
        ("Event", "registration", "200"),
    ] {
        let bytes = with(header, value);
        assert_eq!(verdict(&peer.ask(bytes).await), expected, "{header}: {value}");
    }
    others_are_served(&lab).await;
}

// ---- anything ------------------------------------------------------------------------------------------------

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }

    /// One to four changes: bytes turned, cut out, doubled, or something awkward put in.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        const AWKWARD: [&[u8]; 12] =
            [b"\r\n", b"\0", b"\"", b"<", b">", b";", b"=", b"%00", b"\xff\xfe", b"99999999999999999999", b",", b": "];
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            let end = (at + 1 + self.below(40)).min(bytes.len());
            match self.below(4) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 => drop(bytes.drain(at..end)),
                2 => {
                    let piece = bytes[at..end].to_vec();
                    bytes.splice(at..at, piece);
                }
                _ => {
                    let piece = AWKWARD[self.below(AWKWARD.len())];
                    bytes.splice(at..at, piece.iter().copied());
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_damaged_messages() {
    let lab = lab().await;
    let (mut peer, mut bystander) = (Peer::connect(&lab).await, Peer::connect(&lab).await);
    let mut signed_in = Endpoint::registered("ee", &mut bystander).await;
    let mut endpoint = Endpoint::registered("aa", &mut peer).await;
    let token = Endpoint::new("bb").challenge(&mut peer).await;
    let offered = Challenge { opaque: None, gssapi_data: None, ..token.clone() };
    let samples = [
        register(";epid=cc", CONTACT).into_bytes(),
        Endpoint::new("dd").first_leg(&offered),
        Endpoint::new("bb").last_leg(&token),
        endpoint.refresh().into_bytes(),
        endpoint.request("SUBSCRIBE"),
        endpoint.request("SERVICE"),
    ];
    let mut dice = Dice(0x5eed_1e55_0bad_cafe);
    let mut connection = Peer::connect(&lab).await;
    for round in 0..2_000 {
        let mut bytes = samples[dice.below(samples.len())].clone();
        dice.damage(&mut bytes);
        // A connection goes on as long as the stream can still be cut.
        if round % 20 == 0 || connection.stream.write_all(&bytes).await.is_err() {
            connection = Peer::connect(&lab).await;
        }
    }
    drop(connection);
    others_are_served(&lab).await;
    assert_eq!(verdict(&bystander.ask(signed_in.refresh()).await), "200", "and whoever was signed in still is");
}
