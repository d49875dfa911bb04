//! Every way to be turned away, by the lab's real servers over real sockets: each has its own verdict, the step it
//! belongs to, a sentence that names who refused, and a remedy; and others are served as before.

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lab::{Lab, LabConfig};
use mechanism::ntlm::NtHash;
use signin::report::Certainty::{self, Certain, Consistent};
use signin::report::StepResult;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;
use support::{Attempt, Outcome, alice_signs_in};
use tokio::net::{TcpListener, UdpSocket};
use trace::record::What;

/// What a refused sign-in has to look like.
struct Refusal {
    title: &'static str,
    attempt: Attempt,
    id: &'static str,
    certainty: Certainty,
    step: u8,
    /// Who or what the sentence names.
    names: &'static str,
    /// Final status of the last REGISTER; `None`: none was sent.
    status: Option<u16>,
}

impl Refusal {
    async fn check(self) {
        let title = self.title;
        let began = Instant::now();
        let outcome = self.attempt.run().await;
        let context = format!("{title}: {:#?}\n{}", outcome.report, outcome.ladder());
        let verdict = outcome.report.verdict.as_ref().unwrap_or_else(|| panic!("signed in: {context}"));
        assert_eq!((verdict.id.as_str(), verdict.certainty), (self.id, self.certainty), "{context}");
        assert_eq!(outcome.report.failed_step, Some(self.step), "{context}");
        assert!(verdict.sentence.contains(self.names), "{:?} names not {}: {context}", verdict.sentence, self.names);
        assert!(!verdict.fix.is_empty(), "{context}");
        let failed = &outcome.report.steps[usize::from(self.step) - 1];
        assert_eq!(failed.result, StepResult::Fail, "{context}");
        assert_eq!(outcome.report.registers.last().map(|r| r.status), self.status, "{context}");
        assert!(began.elapsed() < support::LONG, "took {:?}: {title}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_has_its_own_verdict() {
    let lab = Lab::start(&LabConfig::default()).await.expect("the lab starts");
    let dir = "dir.contoso.test";
    let of = |name: &str| Attempt::of(&lab, name);
    let table = [
        Refusal {
            title: "wrong password",
            attempt: of("alice").password("not this one").at(dir),
            id: "ntlm-wrong-password",
            certainty: Consistent,
            step: 3,
            names: "dir.contoso.test refused the credentials of CONTOSO\\alice",
            status: Some(401),
        },
        Refusal {
            title: "unknown account",
            attempt: of("alice").log_on("CONTOSO\\mallory", "whatever").at(dir),
            id: "ntlm-wrong-password",
            certainty: Consistent,
            step: 3,
            names: "dir.contoso.test refused the credentials of CONTOSO\\mallory",
            status: Some(401),
        },
        Refusal {
            title: "account disabled",
            attempt: of("dave").at(dir),
            id: "user-disabled",
            certainty: Certain,
            step: 3,
            names: "dir.contoso.test answered 403",
            status: Some(403),
        },
        Refusal {
            title: "user not enabled for SIP",
            attempt: of("erin").at(dir),
            id: "user-not-sip-enabled",
            certainty: Certain,
            step: 3,
            names: "dir.contoso.test answered 404",
            status: Some(404),
        },
        Refusal {
            title: "no remote access, outside",
            attempt: of("carol").outside(&lab),
            id: "user-no-remote-access",
            certainty: Certain,
            step: 3,
            names: "sip.contoso.test answered 403",
            status: Some(403),
        },
        Refusal {
            title: "right password, somebody else's address",
            attempt: of("alice").address("bob@contoso.test").at(dir),
            id: "user-wrong-identity",
            certainty: Certain,
            step: 3,
            names: "dir.contoso.test answered 403",
            status: Some(403),
        },
        Refusal {
            title: "right password, address nobody has",
            attempt: of("alice").address("nobody@contoso.test").at(dir),
            id: "user-wrong-identity",
            certainty: Certain,
            step: 3,
            names: "dir.contoso.test answered 403",
            status: Some(403),
        },
        Refusal {
            title: "address of a domain that is not served",
            attempt: of("alice").address("alice@fabrikam.test").at(dir),
            id: "edge-domain-not-allowed",
            certainty: Consistent,
            step: 3,
            names: "dir.contoso.test answered 404",
            status: Some(404),
        },
        Refusal {
            title: "no password given",
            attempt: {
                let mut attempt = of("alice").at(dir);
                attempt.sign_in.log_on = None;
                attempt
            },
            id: "auth-no-common-scheme",
            certainty: Certain,
            step: 3,
            names: "dir.contoso.test wants Kerberos, and no password was given",
            status: Some(401),
        },
        Refusal {
            title: "the lab's root is not trusted",
            attempt: {
                let mut attempt = of("alice").at(dir);
                attempt.sockets.ca_files.clear();
                attempt
            },
            id: "tls-untrusted-root",
            certainty: Consistent,
            step: 2,
            names: "dir.contoso.test cannot be trusted",
            status: None,
        },
        Refusal {
            title: "server called by its address",
            attempt: of("alice").at("127.77.0.13"),
            id: "tls-name-mismatch",
            certainty: Certain,
            step: 2,
            names: "127.77.0.13 cannot be trusted: its certificate does not name 127.77.0.13, only fe01.contoso.test",
            status: None,
        },
        Refusal {
            title: "TLS port of a web server",
            attempt: of("alice").at_port("web1.contoso.test", Some(443)),
            id: "tcp-wrong-service",
            certainty: Certain,
            step: 3,
            names: "web1.contoso.test answered with something that is not SIP",
            status: Some(0),
        },
        Refusal {
            title: "port where nobody listens",
            attempt: of("alice").at_port("fe01.contoso.test", Some(5999)),
            id: "tcp-refused",
            certainty: Certain,
            step: 2,
            names: "fe01.contoso.test refuses connections to port 5999",
            status: None,
        },
        Refusal {
            title: "port of another service",
            attempt: of("alice").at_port("web1.contoso.test", Some(80)),
            id: "tcp-wrong-service",
            certainty: Certain,
            step: 2,
            names: "web1.contoso.test:80",
            status: None,
        },
        Refusal {
            title: "name that does not exist",
            attempt: of("alice").at("nowhere.contoso.test"),
            id: "dns-home-name-unresolvable",
            certainty: Certain,
            step: 1,
            names: "nowhere.contoso.test has no address here",
            status: None,
        },
        Refusal {
            title: "domain without any record",
            attempt: of("alice").address("alice@typo.contoso.test"),
            id: "dns-no-records",
            certainty: Certain,
            step: 1,
            names: "none of the names under typo.contoso.test",
            status: None,
        },
        Refusal {
            title: "resolver that does not serve the domain",
            attempt: of("alice").address("alice@fabrikam.test"),
            id: "dns-refused",
            certainty: Certain,
            step: 1,
            names: "fabrikam.test",
            status: None,
        },
    ];
    for refusal in table {
        refusal.check().await;
    }
    alice_signs_in(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_refused_the_same_way_when_discovery_meets_it_first() {
    let lab = Lab::start(&LabConfig::default()).await.expect("the lab starts");
    let outcome = Attempt::of(&lab, "alice").password("not this one").run().await;
    assert_eq!((outcome.id(), outcome.report.failed_step), ("ntlm-wrong-password", Some(3)), "{}", outcome.ladder());
    assert_eq!(outcome.report.registers.len(), 1, "one server refused it, no other is asked: accounts lock");
    alice_signs_in(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_learns_which_accounts_exist() {
    let lab = Lab::start(&LabConfig::default()).await.expect("the lab starts");
    let mut answers = Vec::new();
    for (login, address) in [
        ("CONTOSO\\alice", "alice@contoso.test"),
        ("CONTOSO\\aliss", "alice@contoso.test"),
        ("CONTOSO\\dave", "dave@contoso.test"),
        ("CONTOSO\\erin", "erin@contoso.test"),
        ("CONTOSO\\nobody", "nobody@contoso.test"),
        ("CONTOSO\\nobody", "nobody@fabrikam.test"),
    ] {
        let attempt = Attempt::of(&lab, "alice").address(address).log_on(login, "wrong").at("fe01.contoso.test");
        let outcome = attempt.run().await;
        assert_eq!(outcome.id(), "ntlm-wrong-password", "{login}");
        answers.push((login, comparable(&outcome)));
    }
    let (_, first) = answers[0].clone();
    assert_eq!(first.len(), 3, "three answers: offer, challenge, refusal");
    for (login, answer) in &answers {
        assert_eq!(answer, &first, "{login} can be told from the others");
    }
}

/// What the server answered to the REGISTERs, without what is random, what the client chose and what the clock says.
fn comparable(outcome: &Outcome) -> Vec<String> {
    let received = outcome.record.entries.iter().filter_map(|entry| match &entry.what {
        What::Ended { outcome: signin::io::Outcome::Received(Ok(bytes)), .. } => Some(bytes.0.clone()),
        _ => None,
    });
    let own = ["Via:", "From:", "To:", "Call-ID:", "CSeq:", "Date:"];
    received
        .map(|bytes| {
            let text = String::from_utf8(bytes).expect("the server sends text");
            let lines = text.lines().filter(|line| !own.iter().any(|name| line.starts_with(name)));
            lines.map(without_randomness).collect::<Vec<_>>().join("\n")
        })
        .collect()
}

/// Opaque and challenge are random; that they have the same length is all that can be said.
fn without_randomness(line: &str) -> String {
    let mut line = line.to_owned();
    for name in ["opaque=\"", "gssapi-data=\""] {
        if let Some(start) = line.find(name).map(|at| at + name.len()) {
            let end = start + line[start..].find('"').expect("quotes are closed");
            line.replace_range(start..end, &(end - start).to_string());
        }
    }
    line
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_bounded_and_told_apart() {
    let lab = Lab::start(&LabConfig::default()).await.expect("the lab starts");
    let deaf = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let port = 5070;
    let listen = SocketAddr::from((Ipv4Addr::new(127, 77, 0, 13), port + lab.ready().port_offset));
    let mute = TcpListener::bind(listen).await.expect("the lab's own block of ports has room");

    let attempt = Attempt::of(&lab, "alice").dns(deaf.local_addr().expect("bound")).impatient();
    let title = "name server that says nothing";
    let (id, names, certainty) = ("dns-resolver-unreachable", "contoso.test", Consistent);
    Refusal { title, attempt, id, certainty, step: 1, names, status: None }.check().await;

    let attempt = Attempt::of(&lab, "alice").at_port("fe01.contoso.test", Some(port)).impatient();
    let title = "server that accepts and says nothing";
    let (id, names) = ("tcp-silent", "fe01.contoso.test:5070");
    Refusal { title, attempt, id, certainty: Consistent, step: 2, names, status: None }.check().await;
    drop(mute);
    alice_signs_in(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn homes_that_are_down() {
    let mut lab = Lab::start(&LabConfig::default()).await.expect("the lab starts");
    let director = "dir.contoso.test";

    lab.stop("fe03.contoso.test").await;
    let attempt = Attempt::of(&lab, "bob").at(director);
    let title = "the home pool is down, and there is no backup";
    let names = "dir.contoso.test answered 504 Server time-out: Temporarily cannot route: pool pool2.contoso.test";
    let status = Some(504);
    Refusal { title, attempt, id: "pool-504", certainty: Consistent, step: 3, names, status }.check().await;
    let title = "the home pool itself is asked, and nobody listens there";
    let attempt = Attempt::of(&lab, "bob").at("pool2.contoso.test");
    let names = "pool2.contoso.test refuses connections to port 5061";
    Refusal { title, attempt, id: "tcp-refused", certainty: Certain, step: 2, names, status: None }.check().await;

    let frank = Attempt::of(&lab, "frank").at(director).run().await;
    assert!(frank.report.signed_in, "frank has a backup pool: {}\n{}", frank.sentence(), frank.ladder());
    assert_eq!(frank.report.redirects, ["pool1.contoso.test:5061"]);

    // Half of a pool: whoever it served goes to the other half.
    lab.stop("fe01.contoso.test").await;
    alice_signs_in(&lab).await;
    lab.stop("fe02.contoso.test").await;
    let title = "all of a pool is down";
    let attempt = Attempt::of(&lab, "alice").at(director);
    let names = "pool pool1.contoso.test does not answer";
    Refusal { title, attempt, id: "pool-504", certainty: Consistent, step: 3, names, status }.check().await;
}

/// A password, its hash in every usual spelling, and where none of them may appear.
struct Canary {
    what: &'static str,
    spellings: Vec<Vec<u8>>,
}

impl Canary {
    fn new(what: &'static str, password: &str) -> Canary {
        let hash = NtHash::of_password(password).to_hex();
        let raw = hex::decode(hash.as_bytes()).expect("hexadecimal");
        let utf16: Vec<u8> = password.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let spellings = vec![
            password.as_bytes().to_vec(),
            STANDARD.encode(password).into_bytes(),
            STANDARD.encode(&utf16).into_bytes(),
            utf16,
            hash.to_lowercase().into_bytes(),
            hash.to_uppercase().into_bytes(),
            STANDARD.encode(&raw).into_bytes(),
            raw,
        ];
        Canary { what, spellings }
    }

    fn absent_from(&self, place: &str, bytes: impl AsRef<[u8]>) {
        for spelling in &self.spellings {
            let found = bytes.as_ref().windows(spelling.len()).any(|window| window == &spelling[..]);
            assert!(!found, "{} appears in {place} as {:?}", self.what, String::from_utf8_lossy(spelling));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_password_and_no_hash_ever_shows() {
    let state = tempfile::tempdir().expect("a folder");
    let config = LabConfig { state: Some(state.path().to_owned()), ..LabConfig::default() };
    let lab = Lab::start(&config).await.expect("the lab starts");
    let right = Canary::new("the right password", "Alice-in-the-lab-1");
    let wrong = Canary::new("a wrong password", "Canary-in-the-mine-7");
    let good = Attempt::of(&lab, "alice");
    let bad = good.clone().password("Canary-in-the-mine-7");
    for attempt in [good.clone(), good.at("dir.contoso.test"), bad.clone(), bad.at("dir.contoso.test")] {
        let debug = format!("{:?} {:?}", attempt.sign_in, attempt.sign_in.log_on);
        let outcome = attempt.run().await;
        let mut record = Vec::new();
        outcome.record.write(&mut record).expect("a vector takes everything");
        let report = serde_json::to_string(&outcome.report).expect("serialises");
        for canary in [&right, &wrong] {
            canary.absent_from("Debug of the wish", &debug);
            canary.absent_from("the report", &report);
            canary.absent_from("Debug of the report", format!("{:?}", outcome.report));
            canary.absent_from("the record", &record);
            canary.absent_from("Debug of the record", format!("{:?}", outcome.record));
            canary.absent_from("the ladder", outcome.ladder());
            canary.absent_from("the verdict", format!("{:?} {}", outcome.report.verdict, outcome.sentence()));
        }
    }
    drop(lab);
    for file in std::fs::read_dir(state.path()).expect("the lab's folder") {
        let path = file.expect("an entry").path();
        // Connections that still end take the write-ahead log away with them.
        let Ok(bytes) = std::fs::read(&path) else { continue };
        wrong.absent_from(&path.display().to_string(), &bytes);
        // The right password's hash is what the verifier works with: it is in one column of one table, and nowhere else.
        let holds_hashes = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("users.sqlite"));
        let spellings = right.spellings.iter().enumerate();
        for (_, spelling) in spellings.filter(|(nth, _)| !holds_hashes || *nth < 4) {
            let found = bytes.windows(spelling.len()).any(|window| window == &spelling[..]);
            assert!(!found, "the right password appears in {}", path.display());
        }
    }
}
