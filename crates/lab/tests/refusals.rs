//! Every way to be turned away, by the lab's real servers over real sockets: each has its own verdict, the step it
//! belongs to, a sentence that names who refused, and a remedy; and others are served as before.

mod support;

use signin::report::Certainty::{self, Certain, Consistent};
use signin::report::StepResult;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;
use support::{Attempt, Outcome, alice_signs_in, lab};
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
    let lab = lab().await;
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
    let lab = lab().await;
    let outcome = Attempt::of(&lab, "alice").password("not this one").run().await;
    assert_eq!((outcome.id(), outcome.report.failed_step), ("ntlm-wrong-password", Some(3)), "{}", outcome.ladder());
    assert_eq!(outcome.report.registers.len(), 1, "one server refused it, no other is asked: accounts lock");
    alice_signs_in(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_learns_which_accounts_exist() {
    let lab = lab().await;
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
    let lab = lab().await;
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
    let mut lab = lab().await;
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
