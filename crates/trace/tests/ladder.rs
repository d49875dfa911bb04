//! Call flows as people read them: hand-made records against the text in `tests/ladder/`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use signin::io::{
    Bytes, ChainError, ConnId, ConnectError, Connected, DnsAnswer, HttpRequest, HttpResponse, Operation, Outcome,
    RecordKind, Srv, StreamError, Target, TlsSession,
};
use signin::report::{Certainty, Event, Registers, Step, StepResult, Verdict};
use sip::Draft;
use std::time::Duration;
use trace::{Entry, Header, Ladder, Record, What, ladder};

const SECOND: Duration = Duration::from_secs(1);

/// Tells a sign-in, entry by entry. Times are microseconds.
struct Story {
    record: Record,
    asked: u64,
}

impl Story {
    fn of(address: &str) -> Story {
        let header = Header {
            schema: 1,
            address: address.to_owned(),
            started: 1_780_272_000,
            program: "signpost test".to_owned(),
        };
        Story { record: Record { header, entries: Vec::new(), truncated: false }, asked: 0 }
    }

    fn put(&mut self, t: u64, what: What) {
        self.record.entries.push(Entry { t, what });
    }

    fn tell(&mut self, t: u64, event: Event) {
        self.put(t, What::Told(event));
    }

    fn ask(&mut self, t: u64, operation: Operation) -> u64 {
        let id = self.asked;
        self.asked += 1;
        self.put(t, What::Asked { id, operation });
        id
    }

    fn end(&mut self, t: u64, id: u64, outcome: Outcome) {
        self.put(t, What::Ended { id, outcome });
    }

    /// A question that is answered before anything else happens.
    fn pair(&mut self, t: u64, took: u64, operation: Operation, outcome: Outcome) {
        let id = self.ask(t, operation);
        self.end(t + took, id, outcome);
    }

    fn connect(&mut self, t: u64, peer: &str, conn: Option<u64>) {
        let address = peer.parse().expect("an address");
        let outcome = match conn {
            Some(conn) => {
                let local = "127.0.0.1:40000".parse().expect("an address");
                Ok(Connected { conn: ConnId(conn), local, peer: address })
            }
            None => Err(ConnectError::Refused),
        };
        let operation = Operation::Connect { target: Target::Direct(address), limit: SECOND };
        self.pair(t, 200, operation, Outcome::Connected(outcome));
    }

    fn tls(&mut self, t: u64, conn: u64, name: &str, error: Option<&str>) {
        let text = |text: &str| ChainError { depth: 0, code: 19, text: text.to_owned() };
        let session = TlsSession {
            version: "TLSv1.3".to_owned(),
            cipher: "TLS_AES_256_GCM_SHA384".to_owned(),
            bits: 256,
            chain: Vec::new(),
            chain_errors: error.map(text).into_iter().collect(),
            resumed: false,
        };
        let operation = Operation::StartTls { conn: ConnId(conn), server_name: name.to_owned(), limit: SECOND };
        self.pair(t, 900, operation, Outcome::Secured(Ok(session)));
    }

    fn http(&mut self, t: u64, conn: u64, url: (&str, &str, &str), logon: Option<&str>, answer: (u16, &[&str])) {
        let (method, host, path) = url;
        let logon = logon.map(|value| ("Authorization".to_owned(), value.to_owned()));
        let request = HttpRequest {
            method: method.to_owned(),
            host: host.to_owned(),
            path: path.to_owned(),
            headers: logon.into_iter().collect(),
            body: Vec::new(),
        };
        let header = |value: &&str| ("www-authenticate".to_owned(), (*value).to_owned());
        let headers = answer.1.iter().map(header).collect();
        let response = HttpResponse { status: answer.0, headers, body: Vec::new(), reusable: true };
        let operation = Operation::Exchange { conn: ConnId(conn), request, limit: SECOND };
        self.pair(t, 700, operation, Outcome::Answered(Ok(response)));
    }

    fn send(&mut self, t: u64, conn: u64, bytes: Vec<u8>) {
        self.pair(t, 10, Operation::Send { conn: ConnId(conn), bytes }, Outcome::Sent(Ok(())));
    }

    fn receive(&mut self, t: u64, conn: u64, bytes: &[u8]) {
        let id = self.ask(t.saturating_sub(300), Operation::Receive { conn: ConnId(conn), limit: SECOND });
        self.end(t, id, Outcome::Received(Ok(Bytes(bytes.to_vec()))));
    }

    fn step(&mut self, t: u64, step: Step) {
        self.tell(t, Event::Began(step));
    }
}

fn resolve(name: &str) -> Operation {
    Operation::Resolve { name: name.to_owned(), kind: RecordKind::Address, limit: SECOND }
}

fn resolve_srv(name: &str) -> Operation {
    Operation::Resolve { name: name.to_owned(), kind: RecordKind::Srv, limit: SECOND }
}

fn addresses(list: &[&str]) -> Outcome {
    let addresses = list.iter().map(|a| a.parse().expect("an address")).collect();
    Outcome::Resolved(DnsAnswer::Addresses { addresses, aliases: Vec::new() })
}

/// An NTLM message of that type, otherwise empty.
fn ntlm(kind: u8) -> String {
    STANDARD.encode([b"NTLMSSP\0", &[kind, 0, 0, 0][..]].concat())
}

const REALM: &str = "realm=\"SIP Communications Service\", targetname=\"dir.contoso.test\"";

fn request(method: &str, uri: &str, headers: &[(&str, &str)], body: Option<(&str, &str)>) -> Vec<u8> {
    let mut draft = Draft::request(method, uri);
    draft.header("Via", "SIP/2.0/TLS 127.0.0.1:40000").header("CSeq", format_args!("1 {method}"));
    headers.iter().for_each(|(name, value)| {
        draft.header(name, value);
    });
    if let Some((kind, text)) = body {
        draft.body(kind, text);
    }
    draft.finish()
}

fn response(code: u16, reason: &str, method: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut draft = Draft::response(code, reason);
    draft.header("CSeq", format_args!("1 {method}"));
    headers.iter().for_each(|(name, value)| {
        draft.header(name, value);
    });
    draft.finish()
}

/// The three REGISTERs of NTLM with one server; the last answer is the caller's.
fn ntlm_registers(story: &mut Story, t: u64, conn: u64, last: &[u8]) {
    let offers = ["TLS-DSK", "Kerberos", "NTLM"].map(|scheme| format!("{scheme} {REALM}, version=4"));
    let offers: Vec<(&str, &str)> = offers.iter().map(|offer| ("WWW-Authenticate", offer.as_str())).collect();
    let register = |authorization: &str| {
        let headers = [("Authorization", authorization)];
        request("REGISTER", "sip:contoso.test", if authorization.is_empty() { &[] } else { &headers }, None)
    };
    story.send(t, conn, register(""));
    story.receive(t + 400, conn, &response(401, "Unauthorized", "REGISTER", &offers));
    story.send(t + 600, conn, register(&format!("NTLM qop=\"auth\", {REALM}, gssapi-data=\"\", version=4")));
    let challenge = format!("NTLM opaque=\"2BDBAC9D\", gssapi-data=\"{}\", {REALM}, version=4", ntlm(2));
    let challenge = response(401, "Unauthorized", "REGISTER", &[("WWW-Authenticate", &challenge)]);
    // The stream gives no whole messages.
    story.receive(t + 900, conn, &challenge[..20]);
    story.receive(t + 950, conn, &challenge[20..]);
    let proof = format!(
        "NTLM qop=\"auth\", opaque=\"2BDBAC9D\", {REALM}, gssapi-data=\"{}\", version=4, crand=\"0a0b0c0d\", cnum=\"1\", \
         response=\"0100000029618e9651b65a7764000000\"",
        ntlm(3)
    );
    story.send(t + 1100, conn, register(&proof));
    story.receive(t + 1600, conn, last);
}

fn signed(code: u16, reason: &str, method: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let proof = format!(
        "NTLM qop=\"auth\", opaque=\"2BDBAC9D\", srand=\"01020304\", snum=\"1\", \
         rspauth=\"01000000d2a1b4a8a6a5d5a164000000\", {REALM}, version=4"
    );
    let mut all = vec![("Authentication-Info", proof.as_str())];
    all.extend(headers);
    response(code, reason, method, &all)
}

/// Alice, homed on pool2, reaches a Director first; one Front End of her pool is down.
fn redirected() -> Record {
    let mut story = Story::of("alice@contoso.test");
    story.step(100, Step::Discovery);
    let inside = story.ask(100, resolve("lyncdiscoverinternal.contoso.test"));
    let outside = story.ask(110, resolve("lyncdiscover.contoso.test"));
    let service = story.ask(120, resolve_srv("_sipinternaltls._tcp.contoso.test"));
    story.end(600, outside, Outcome::Resolved(DnsAnswer::NxDomain));
    story.end(610, inside, addresses(&["127.0.0.20"]));
    let target = "dir.contoso.test".to_owned();
    let srv = Srv { priority: 0, weight: 0, port: 5061, target };
    story.end(620, service, Outcome::Resolved(DnsAnswer::Services(vec![srv])));
    let host = "lyncdiscoverinternal.contoso.test";
    story.connect(700, "127.0.0.20:443", Some(1));
    story.connect(710, "127.0.0.20:80", None);
    story.tls(1000, 1, host, None);
    story.http(2000, 1, ("GET", host, "/?sipuri=alice%40contoso.test"), None, (200, &[]));
    let ticket = "/WebTicket/WebTicketService.svc/Auth";
    let challenge = format!("NTLM {}", ntlm(2));
    story.http(2800, 1, ("POST", host, ticket), None, (401, &["Negotiate", "NTLM"]));
    story.http(3600, 1, ("POST", host, ticket), Some(&format!("NTLM {}", ntlm(1))), (401, &[&challenge]));
    story.http(4400, 1, ("POST", host, ticket), Some(&format!("NTLM {}", ntlm(3))), (200, &[]));
    story.tell(5200, Event::Ended(Step::Discovery, StepResult::Pass));

    story.step(5300, Step::Connectivity);
    story.pair(5300, 300, resolve("dir.contoso.test"), addresses(&["127.0.0.10"]));
    story.connect(5700, "127.0.0.10:5061", Some(2));
    story.tls(6000, 2, "dir.contoso.test", None);
    story.step(7000, Step::Authentication);
    let contacts = [
        ("Contact", "<sip:pool2.contoso.test:5061;transport=TLS>;q=0.7"),
        ("Contact", "<sip:pool1.contoso.test:5061;transport=TLS>;q=0.3"),
    ];
    ntlm_registers(&mut story, 7000, 2, &signed(301, "Redirect request to Home Server", "REGISTER", &contacts));
    story.tell(8700, registers("dir.contoso.test", 301));
    story.step(8700, Step::Redirection);
    story.pair(8710, 10, Operation::Close { conn: ConnId(2) }, Outcome::Done);

    story.step(8800, Step::Connectivity);
    story.pair(8800, 300, resolve("pool2.contoso.test"), addresses(&["127.0.0.12", "127.0.0.13"]));
    story.connect(9200, "127.0.0.12:5061", None);
    story.connect(9500, "127.0.0.13:5061", Some(3));
    story.tls(9800, 3, "pool2.contoso.test", None);
    story.step(10_800, Step::Authentication);
    ntlm_registers(&mut story, 10_800, 3, &signed(200, "OK", "REGISTER", &[("Expires", "7200")]));
    story.tell(12_500, registers("pool2.contoso.test", 200));

    story.step(12_600, Step::Settings);
    let aor = "sip:alice@contoso.test";
    let mac = format!(
        "NTLM qop=\"auth\", opaque=\"2BDBAC9D\", {REALM}, crand=\"0a0b0c0e\", cnum=\"2\", \
         response=\"0100000029618e9651b65a7764000000\""
    );
    let with = |event: &'static str| [("Authorization", mac.as_str()), ("Event", event)];
    let mut first = request("SUBSCRIBE", aor, &with("vnd-microsoft-provisioning-v2"), None);
    // Two requests in one piece.
    first.extend(request("SUBSCRIBE", aor, &with("vnd-microsoft-roaming-contacts"), None));
    story.send(12_600, 3, first);
    let profile = "sip:alice@contoso.test;gruu;opaque=app:locationprofile:get;default";
    story.send(12_700, 3, request("SERVICE", profile, &with("")[..1], None));
    let ok = |method| signed(200, "OK", method, &[]);
    story.receive(13_100, 3, &[ok("SUBSCRIBE"), ok("SUBSCRIBE"), ok("SERVICE")].concat());
    let batch: String = (0..12).map(|n| format!("<resource uri=\"sip:user{n}@contoso.test\"/>")).collect();
    let batch = format!("<batchSub><action name=\"subscribe\"><adhocList>{batch}</adhocList></action></batchSub>");
    story.send(13_300, 3, request("SUBSCRIBE", aor, &with("presence"), Some(("application/msrtc-adrl", &batch))));
    let publish = "<?xml version=\"1.0\"?><publish xmlns=\"x\"><publications/></publish>";
    story.send(13_400, 3, request("SERVICE", aor, &with("")[..1], Some(("application/publish", publish))));
    let soap = "<SOAP-ENV:Envelope><SOAP-ENV:Body><m:addGroup><m:name>~</m:name></m:addGroup></SOAP-ENV:Body>";
    story.send(13_450, 3, request("SERVICE", aor, &with("")[..1], Some(("application/SOAP+xml", soap))));
    story.receive(13_900, 3, &[ok("SUBSCRIBE"), ok("SERVICE"), ok("SERVICE")].concat());
    let news = request("BENOTIFY", aor, &[("Event", "presence")], None);
    story.receive(14_000, 3, &[b"\r\n\r\n", &news[..]].concat());
    story.tell(14_100, Event::Ended(Step::Settings, StepResult::Pass));
    story.send(60_014_000, 3, b"\r\n\r\n".to_vec());
    story.record
}

fn registers(server: &str, status: u16) -> Event {
    let (server, mechanism) = (server.to_owned(), "NTLM".to_owned());
    Event::Registered(Registers { server, mechanism, requests: 3, status })
}

/// A manual server, reached through its address, that shows a bad certificate; then another that speaks no SIP.
fn failing() -> Record {
    let mut story = Story::of("bob@contoso.test");
    story.step(0, Step::Discovery);
    let silent = story.ask(0, resolve("sip.contoso.test"));
    let unneeded = story.ask(0, resolve("sipexternal.contoso.test"));
    story.end(3_000_000, silent, Outcome::Resolved(DnsAnswer::Timeout));
    story.put(3_000_000, What::GaveUp { id: unneeded });
    story.step(3_000_100, Step::Connectivity);
    story.connect(3_000_100, "127.0.0.11:5061", Some(1));
    story.tls(3_000_400, 1, "pool1.contoso.test", Some("self-signed certificate in certificate chain"));
    story.connect(3_002_000, "127.0.0.12:5061", Some(2));
    story.send(3_002_300, 2, request("REGISTER", "sip:contoso.test", &[("Expires", "0")], None));
    let diagnostics = "4003;reason=\"User is not allowed to sign in from outside\";source=\"fe01.contoso.test\"";
    story.receive(3_002_500, 2, &response(403, "Forbidden", "REGISTER", &[("ms-diagnostics", diagnostics)]));
    story.receive(3_002_600, 2, b"\x16\x03\x03 this is no SIP");
    let id = story.ask(3_002_700, Operation::Receive { conn: ConnId(2), limit: SECOND });
    story.end(3_002_800, id, Outcome::Received(Err(StreamError::Reset)));
    let verdict = Verdict {
        id: "tls-untrusted-root".to_owned(),
        certainty: Certainty::Certain,
        sentence:
            "pool1.contoso.test cannot be trusted: its certificate chain ends in CN=Contoso Root CA, which is not \
                   trusted on this machine"
                .to_owned(),
        fix: "install the root CN=Contoso Root CA on this machine".to_owned(),
    };
    story.tell(3_002_900, Event::Failed(verdict));
    story.record.truncated = true;
    story.record
}

/// Compares line by line, and shows the whole text when a line differs.
fn same(found: &str, expected: &str) {
    assert!(found == expected, "found:\n{found}\nexpected:\n{expected}");
}

#[test]
fn a_redirected_sign_in_reads_from_top_to_bottom() {
    same(&ladder::text(&redirected(), 100), include_str!("ladder/redirected.txt"));
}

#[test]
fn a_failing_sign_in_ends_with_its_verdict() {
    same(&ladder::text(&failing(), 100), include_str!("ladder/failing.txt"));
}

#[test]
fn every_width_is_kept_and_only_captions_are_shortened() {
    for width in [60, 72, 100, 132, 200] {
        let text = ladder::text(&redirected(), width);
        assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
        assert_eq!(text.matches("* 3 REGISTERs with").count(), 2, "{width}:\n{text}");
    }
    assert!(ladder::text(&redirected(), 0).lines().all(|line| line.chars().count() <= 60));
}

#[test]
fn the_ladder_of_a_record_read_back_is_the_same() {
    for record in [redirected(), failing()] {
        let mut file = Vec::new();
        record.write(&mut file).expect("memory takes everything");
        let mut read = Record::read(&file[..]).expect("what was written can be read");
        read.truncated = record.truncated;
        assert_eq!(Ladder::of(&read), Ladder::of(&record));
    }
}

#[test]
fn an_empty_record_has_a_client_and_nothing_else() {
    let ladder = Ladder::of(&Story::of("alice@contoso.test").record);
    assert_eq!((ladder.lifelines.len(), ladder.rows.len()), (1, 0));
    assert_eq!(ladder.text(100), "alice@contoso.test, 2026-06-01 00:00:00 UTC\n       ms client\n");
}

proptest::proptest! {
    #[test]
    fn no_bytes_on_a_connection_panic(pieces: Vec<(bool, Vec<u8>)>, place in 0usize..600, byte: u8) {
        let mut story = Story::of("alice@contoso.test");
        story.connect(0, "127.0.0.11:5061", Some(1));
        for (out, bytes) in pieces {
            if out { story.send(1, 1, bytes) } else { story.receive(1, 1, &bytes) }
        }
        let mut damaged = signed(200, "OK", "REGISTER", &[("Contact", "<sip:pool2.contoso.test:5061>;q=0.7")]);
        let place = place % damaged.len();
        damaged[place] = byte;
        story.connect(2, "127.0.0.12:5061", Some(2));
        story.send(3, 2, Vec::new());
        story.receive(4, 2, &damaged);
        let text = ladder::text(&story.record, 100);
        proptest::prop_assert!(text.lines().all(|line| line.chars().count() <= 100 && !line.contains(char::is_control)));
    }
}
