//! Nothing secret shows, wherever it is looked for: in what client and servers log at their most talkative, in records,
//! reports, ladders and what prints them. A test of its own process, since a log belongs to the process.
//!
//! What the test can know of secrets: passwords and what is made of them, session keys (through the randomness and the
//! tickets that the client got), what web tickets are proven with, and every private key. Not the keys of TLS-DSK's inner
//! handshakes, which OpenSSL draws itself.

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lab::{Lab, LabConfig};
use mechanism::kerberos::crypto::{EncryptionType, Key};
use mechanism::kerberos::keytab::Keytab;
use mechanism::kerberos::name::{NameType, Principal};
use mechanism::kerberos::{AsExchange, AsStep, TgsExchange};
use mechanism::ntlm::NtHash;
use net::client::Sockets;
use openssl::hash::{MessageDigest, hash};
use signin::authenticate::client::Choice;
use signin::authenticate::keyring::Keyring;
use signin::authenticate::message::Scheme;
use signin::client::SignedIn;
use signin::io::{self, Io, Now, Operation, Pending};
use signin::report::Event;
use signin::tickets::{Cache, Source, TicketCache, Tickets};
use signin::web_ticket::proof_key::ProofKey;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use support::{Attempt, Outcome, Pocket, run_through};
use tracing_subscriber::fmt::MakeWriter;

const RIGHT: &str = "Alice-in-the-lab-1";
const WRONG: &str = "Canary-in-the-mine-7";
const SIP: &str = "sip/fe02.contoso.test";

// ---- secrets -----------------------------------------------------------------------------------------------

/// A secret in every spelling in which it could show.
struct Canary {
    what: String,
    spellings: Vec<Vec<u8>>,
}

impl Canary {
    /// Of bytes: raw, in hexadecimal, in base64, and as `Debug` prints a list of numbers.
    fn bytes(what: &str, raw: &[u8]) -> Canary {
        assert!(raw.len() >= 8, "{what} would be found by chance");
        let numbers = format!("{raw:?}");
        let spellings = vec![
            raw.to_vec(),
            hex::encode(raw).into_bytes(),
            hex::encode_upper(raw).into_bytes(),
            STANDARD.encode(raw).trim_end_matches('=').as_bytes().to_vec(),
            numbers.trim_matches(['[', ']']).as_bytes().to_vec(),
        ];
        Canary { what: what.to_owned(), spellings }
    }

    /// Of a private key's DER: a part in its middle that is whole lines of PEM and whole groups of base64.
    fn private_key(what: &str, der: &[u8]) -> Canary {
        let at = der.len() / 2 / 48 * 48;
        Canary::bytes(what, &der[at..(at + 48).min(der.len())])
    }

    fn of_password(what: &str, password: &str) -> Vec<Canary> {
        let utf16: Vec<u8> = password.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let hash = hex::decode(NtHash::of_password(password).to_hex().as_bytes()).expect("hexadecimal");
        let aes = |etype| Key::of_password(etype, password, b"CONTOSO.TESTalice").expect("a key").bytes().to_vec();
        vec![
            Canary::bytes(&format!("{what}, UTF-8"), password.as_bytes()),
            Canary::bytes(&format!("{what}, UTF-16"), &utf16),
            Canary::bytes(&format!("the NT hash of {what}"), &hash),
            Canary::bytes(&format!("the AES-256 key of {what}"), &aes(EncryptionType::Aes256)),
            Canary::bytes(&format!("the AES-128 key of {what}"), &aes(EncryptionType::Aes128)),
        ]
    }
}

/// Many secrets looked for in one pass: by the first eight bytes of each spelling.
struct Hunt<'c>(HashMap<&'c [u8], Vec<(&'c str, &'c [u8])>>);

impl<'c> Hunt<'c> {
    fn of(canaries: impl IntoIterator<Item = &'c Canary>) -> Hunt<'c> {
        let mut hunt: HashMap<&[u8], Vec<(&str, &[u8])>> = HashMap::new();
        for canary in canaries {
            for spelling in &canary.spellings {
                hunt.entry(&spelling[..8]).or_default().push((&canary.what, spelling));
            }
        }
        Hunt(hunt)
    }

    /// What is found first.
    fn first_in(&self, bytes: &[u8]) -> Option<&'c str> {
        (0..bytes.len().saturating_sub(7)).find_map(|at| {
            let found = self.0.get(&bytes[at..at + 8])?.iter().find(|(_, spelling)| bytes[at..].starts_with(spelling));
            found.map(|(what, _)| *what)
        })
    }
}

// ---- what is looked at -------------------------------------------------------------------------------------

/// Everything that is logged in this process.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> Vec<u8> {
        self.0.lock().expect("not poisoned").clone()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}

/// The sockets, and what went through them that is a secret.
struct Spy {
    sockets: Sockets,
    drawn: Mutex<Vec<Vec<u8>>>,
    said: Mutex<Vec<String>>,
}

impl Io for Spy {
    fn perform(&self, operation: Operation) -> Pending<'_, io::Outcome> {
        if let Operation::Exchange { request, .. } = &operation {
            self.said.lock().expect("not poisoned").push(String::from_utf8_lossy(&request.body).into_owned());
        }
        let answer = self.sockets.perform(operation);
        Box::pin(async move {
            let outcome = answer.await;
            if let io::Outcome::Answered(Ok(response)) = &outcome {
                self.said.lock().expect("not poisoned").push(String::from_utf8_lossy(&response.body).into_owned());
            }
            outcome
        })
    }

    fn now(&self) -> Now {
        self.sockets.now()
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        self.sockets.fill_random(bytes);
        self.drawn.lock().expect("not poisoned").push(bytes.to_vec());
    }

    fn note(&self, event: Event) {
        self.sockets.note(event);
    }
}

/// The text of elements of this name, whatever their prefix.
fn texts(document: &str, name: &str) -> Vec<String> {
    let open = format!("{name}>");
    let of_tag = |part: &str| part.split_once('>').map(|(_, rest)| rest.to_owned());
    let starts = document.split('<').filter(|part| !part.starts_with('/'));
    starts
        .filter(|part| {
            let tag = part.split(['>', ' ']).next().unwrap_or_default();
            format!("{}>", tag.rsplit(':').next().unwrap_or_default()) == open
        })
        .filter_map(of_tag)
        .filter(|text| !text.is_empty())
        .collect()
}

/// What was drawn and said in one sign-in, as canaries: session keys, signing keys, web tickets and their proof keys.
fn of_session(spy: &Spy) -> Vec<Canary> {
    let mut found = Vec::new();
    for bytes in spy.drawn.lock().expect("not poisoned").iter() {
        // Session keys of NTLM and subkeys of Kerberos, and identifiers besides, which are written otherwise.
        if matches!(bytes.len(), 16 | 32) {
            found.push(Canary::bytes("a session key", bytes));
        }
        if bytes.len() == 16 {
            for side in ["client-to-server", "server-to-client"] {
                for kind in ["signing", "sealing"] {
                    let magic = format!("session key to {side} {kind} key magic constant\0");
                    let key = hash(MessageDigest::md5(), &[bytes, magic.as_bytes()].concat()).expect("MD5");
                    found.push(Canary::bytes(&format!("a {kind} key of NTLM"), &key));
                }
            }
        }
    }
    let said = spy.said.lock().expect("not poisoned");
    let secrets: Vec<Vec<u8>> = said
        .iter()
        .flat_map(|document| texts(document, "BinarySecret"))
        .filter_map(|text| STANDARD.decode(text).ok())
        .collect();
    for secret in &secrets {
        found.push(Canary::bytes("the entropy of a proof key", secret));
        for other in &secrets {
            found.push(Canary::bytes("the proof key of a web ticket", ProofKey::derive(secret, other).reveal()));
        }
    }
    for document in said.iter().filter(|document| document.contains("Assertion")) {
        for signature in texts(document, "SignatureValue") {
            let spellings = vec![signature.into_bytes()];
            found.push(Canary { what: "the signature of a web ticket".to_owned(), spellings });
        }
    }
    found
}

/// Everything that can be printed of a sign-in.
struct Shown {
    outcome: Outcome,
    secrets: Vec<Canary>,
}

impl Shown {
    fn places(&self) -> Vec<(&'static str, Vec<u8>)> {
        let Outcome { report, record } = &self.outcome;
        let mut saved = Vec::new();
        let kept = record.clone().without_randomness();
        kept.write(&mut saved).expect("a vector takes everything");
        let verdict = report.verdict.as_ref();
        let verdict = verdict.map(|verdict| format!("{verdict:?} {} {}", verdict.sentence, verdict.fix));
        vec![
            ("the saved record", saved),
            ("Debug of the record", format!("{kept:?}").into_bytes()),
            ("the ladder", trace::ladder::text(record, 200).into_bytes()),
            ("the report", serde_json::to_vec(report).expect("serialises")),
            ("Debug of the report", format!("{report:?}").into_bytes()),
            ("the verdict", verdict.unwrap_or_default().into_bytes()),
        ]
    }
}

async fn run(attempt: Attempt) -> Shown {
    let sockets = Sockets::new(attempt.sockets).expect("good sockets");
    let spy = Spy { sockets, drawn: Mutex::default(), said: Mutex::default() };
    let sign_in = &attempt.sign_in;
    let prepare = async |io: &dyn Io, signed_in: &SignedIn<'_>| {
        tracing::trace!("{:?}", sign_in.prepare_next(io, signed_in).await);
    };
    let (outcome, recorder) = run_through(sign_in, spy, prepare).await;
    Shown { outcome, secrets: of_session(recorder.world()) }
}

// ---- sign-ins ----------------------------------------------------------------------------------------------

/// A question to the lab's KDC.
fn ask_kdc(lab: &Lab, request: &[u8]) -> Vec<u8> {
    let mut stream = std::net::TcpStream::connect(lab.ready().kdc.expect("a KDC")).expect("it listens");
    let length = u32::try_from(request.len()).expect("short");
    stream.write_all(&[&length.to_be_bytes(), request].concat()).expect("it reads");
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("it answers");
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).expect("it answers");
    answer
}

/// Tickets as `kinit` leaves them, and the session keys in them.
fn tickets(lab: &Lab) -> (TicketCache, Vec<Canary>) {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let now = mechanism::kerberos::Now { unix_seconds: seconds.cast_signed(), microseconds: 0 };
    let random = |bytes: &mut [u8]| openssl::rand::rand_bytes(bytes).expect("randomness");
    let types = [EncryptionType::Aes256];
    let realm = &lab.ready().realm;
    let alice = Principal::new(NameType::Principal, vec!["alice".to_owned()], realm.clone()).expect("a name");
    let (mut exchange, mut request) = AsExchange::begin(alice.clone(), &types, now, &random).expect("a request");
    let granting = loop {
        match exchange.answer(&ask_kdc(lab, &request), RIGHT, now, &random).expect("the KDC agrees") {
            AsStep::Done(granting) => break granting,
            AsStep::Send(next, bytes) => (exchange, request) = (*next, bytes),
        }
    };
    let service = Principal::service("sip", &SIP[4..], realm).expect("a name");
    let (exchange, request) = TgsExchange::begin(&granting, service, &types, now, &random).expect("a request");
    let ticket = exchange.answer(&ask_kdc(lab, &request)).expect("a ticket");
    let cache = TicketCache::new(alice, vec![granting, ticket]);
    // A key in the file: its type, its length, its bytes.
    let file = cache.to_bytes();
    let head = [0, 18, 0, 0, 0, 32];
    let keys = file.windows(head.len() + 32).filter(|window| window.starts_with(&head));
    let keys: Vec<Canary> = keys.map(|key| Canary::bytes("the session key of a ticket", &key[head.len()..])).collect();
    assert_eq!(keys.len(), 2, "of the ticket-granting ticket, and of the ticket");
    (cache, keys)
}

fn with(lab: &Lab, scheme: Scheme, source: Source) -> Attempt {
    let mut attempt = Attempt::of(lab, "alice").at("fe02.contoso.test");
    attempt.sign_in.choice = Choice::Only(scheme);
    let source = Source { realm: Some(lab.ready().realm.clone()), ..source };
    attempt.sign_in.log_on.as_mut().expect("has one").tickets = Some(Arc::new(Tickets::new(source)));
    attempt
}

/// Private keys and keytabs in the lab's folder.
fn of_folder(folder: &Path) -> Vec<Canary> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(folder).expect("the lab's folder") {
        let path = file.expect("an entry").path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let name = path.display().to_string();
        if let Ok(keytab) = Keytab::read(&bytes) {
            found.extend(keytab.entries().iter().map(|entry| Canary::bytes(&name, entry.key.bytes())));
        }
        if name.ends_with(".key") && !bytes.starts_with(b"-----") {
            found.push(Canary::private_key(&name, &bytes));
        }
        let text = String::from_utf8_lossy(&bytes);
        for block in text.split("-----BEGIN ").skip(1).filter(|block| block.contains("PRIVATE KEY-----")) {
            let body: String = block.lines().skip(1).take_while(|line| !line.starts_with('-')).collect();
            found.push(Canary::private_key(&name, &STANDARD.decode(body).expect("PEM")));
        }
    }
    found
}

#[test]
fn a_secret_is_found_in_every_spelling() {
    let is_in = |secret: &Canary, bytes: &[u8]| Hunt::of([secret]).first_in(bytes) == Some("it");
    let secret = Canary::bytes("it", b"\x01secret\xff\n");
    let raw: Vec<u8> = [b"before", &b"\x01secret\xff\n"[..], b"after"].concat();
    for shown in
        ["01736563726574ff0a", "01736563726574FF0A", "AXNlY3JldP8K", "[0, 1, 115, 101, 99, 114, 101, 116, 255, 10]"]
    {
        assert!(is_in(&secret, shown.as_bytes()), "{shown}");
    }
    assert!(is_in(&secret, &raw) && !is_in(&secret, b"01736563726574ff0 AXNlY3JldP"));
    let der: Vec<u8> = (0..=255).cycle().take(1200).collect();
    let key = Canary::private_key("it", &der);
    let pem: Vec<String> =
        STANDARD.encode(&der).as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    assert!(is_in(&key, pem.join("\n").as_bytes()) && is_in(&key, &der));
    let document = "<a:B xmlns:a='x'><t:BinarySecret Type=\"n\">c2VjcmV0</t:BinarySecret></a:B>";
    assert_eq!(texts(document, "BinarySecret"), ["c2VjcmV0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_ever_shows() {
    let log = Log::default();
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).with_ansi(false).init();
    let state = tempfile::tempdir().expect("a folder");
    let config = LabConfig { state: Some(state.path().to_owned()), ..LabConfig::default() };
    let lab = Lab::start(&config).await.expect("the lab starts");
    let mut secrets =
        [Canary::of_password("the right password", RIGHT), Canary::of_password("a wrong password", WRONG)]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>();
    let of_passwords = secrets.len();
    let (cache, keys) = tickets(&lab);
    secrets.extend(keys);
    let pocket = Arc::new(Pocket::default());
    let keeping = |mut attempt: Attempt| {
        attempt.sign_in.keyring = Some(pocket.clone());
        attempt
    };
    let sso = Source { cache: Some(Cache::Here(cache)), ..Source::default() };
    let mut by_certificate = keeping(with(&lab, Scheme::TlsDsk, Source::default()));
    by_certificate.sign_in.log_on = None;
    let attempts = [
        (with(&lab, Scheme::Ntlm, Source::default()), Some("NTLM")),
        (with(&lab, Scheme::Kerberos, Source::default()), Some("Kerberos")),
        (with(&lab, Scheme::Kerberos, sso), Some("Kerberos")),
        (keeping(with(&lab, Scheme::TlsDsk, Source::default())), Some("TLS-DSK")),
        (by_certificate, Some("TLS-DSK")),
        (Attempt::of(&lab, "alice"), Some("NTLM")),
        (Attempt::of(&lab, "alice").outside(&lab), Some("NTLM")),
        (with(&lab, Scheme::Ntlm, Source::default()).password(WRONG), None),
        (Attempt::of(&lab, "alice").password(WRONG), None),
    ];
    let mut wrong_kerberos = with(&lab, Scheme::Kerberos, Source::default());
    wrong_kerberos.sign_in.log_on.as_mut().expect("has one").password =
        Some(signin::secret::Password::new(WRONG.to_owned()));
    let mut places = Vec::new();
    for (attempt, mechanism) in attempts.into_iter().chain([(wrong_kerberos, None)]) {
        tracing::trace!("{:?} {:?} {:?}", attempt.sign_in, attempt.sign_in.log_on, attempt.sign_in.keyring);
        let shown = run(attempt).await;
        let report = &shown.outcome.report;
        assert_eq!(report.mechanism.as_deref(), mechanism, "{:?}", report.verdict);
        places.extend(shown.places());
        secrets.extend(shown.secrets);
    }
    let kept = pocket.load(&"alice@contoso.test".parse().expect("an address")).expect("a certificate");
    tracing::trace!("{kept:?} {pocket:?} {:?}", lab.store());
    secrets.push(Canary::private_key("the key of the user's certificate", &kept.key));
    secrets.extend(of_folder(state.path()));
    for kind in [
        "a session key",
        "a signing key",
        "the proof key",
        "the signature of a web ticket",
        "servers.keytab",
        "/ca.key",
        "/users-ca.key",
    ] {
        assert!(secrets.iter().any(|secret| secret.what.contains(kind)), "nothing is looked for that is {kind}");
    }
    drop(lab);

    let logged = log.text();
    for (who, said) in [("the servers", "registered alice@contoso.test"), ("the client", "alice@contoso.test")] {
        assert!(
            String::from_utf8_lossy(&logged).contains(said),
            "{who} say nothing: the test looks at the wrong place"
        );
    }
    places.push(("the log", logged));
    let hunt = Hunt::of(&secrets);
    for (place, bytes) in &places {
        assert_eq!(hunt.first_in(bytes), None, "in {place}");
    }

    // At rest: wrong passwords nowhere, the right one's hash and keys in the store alone, and nothing of a session.
    for file in std::fs::read_dir(state.path()).expect("the lab's folder") {
        let path = file.expect("an entry").path();
        // Connections that still end take the write-ahead log away with them.
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let is_store = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("users.sqlite"));
        let of_passwords = secrets.iter().take(of_passwords).enumerate();
        let wanted = of_passwords.filter(|(nth, _)| !(is_store && (2..5).contains(nth))).map(|(_, secret)| secret);
        assert_eq!(Hunt::of(wanted).first_in(&bytes), None, "in {}", path.display());
    }
}
