//! pidgin-sipe, as Debian ships it, signs in to the lab: the judge of the server's half.
//!
//! The client runs headless in a mount namespace of its own, with the lab's DNS as its only name server and the lab's CA
//! as its only root. The lab listens on the standard ports of loopback addresses, since pidgin-sipe knows no others.

mod sipe;

use lab::{Lab, LabConfig, Published};
use serde_json::Value;
use signin::old_cryptography::{OldAlgorithm, OldCryptography};
use sipe::{NEEDS, counterpart, program};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

/// What a run of the client said, and how it ended.
struct Run {
    events: Vec<Value>,
    code: Option<i32>,
    /// The client's log, with every message of SIP in it.
    log: String,
    all: String,
}

impl Run {
    fn has(&self, event: &str) -> bool {
        self.events.iter().any(|e| e["event"] == event)
    }

    /// Contacts as "name in group", sorted.
    fn contacts(&self) -> Vec<String> {
        let contact = |e: &Value| {
            let text = |key: &str| e[key].as_str().unwrap_or_default().to_owned();
            format!("{} ({}) in {}", text("name"), text("alias"), text("group"))
        };
        let mut contacts: Vec<String> = self.events.iter().filter(|e| e["event"] == "contact").map(contact).collect();
        contacts.sort();
        contacts
    }

    /// Mechanism and server of every message that carries a token or a signature, each once in a row.
    fn mechanisms(&self) -> Vec<(&str, &str)> {
        let mut found: Vec<(&str, &str)> = self.log.lines().filter_map(mechanism).collect();
        found.dedup();
        found
    }

    fn signed_on(&self) -> &Run {
        assert!(self.has("signed-on") && self.has("settled") && self.code == Some(0), "not signed on:\n{}", self.all);
        self
    }

    fn refused(&self, code: i32) -> &Run {
        assert!(!self.has("signed-on") && self.code == Some(code), "not refused with {code}:\n{}", self.all);
        self
    }
}

/// Mechanism and server of a line of a message of SIP, if it is about that; the web services have no such names.
fn mechanism(line: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = line.strip_prefix("Authorization: ")?.split_once(' ')?;
    Some((scheme, rest.split_once("targetname=\"")?.1.split_once('"')?.0))
}

/// Which client runs against which lab.
#[derive(Clone, Copy)]
struct Client<'a> {
    lab: &'a Lab,
    outside: bool,
    server: &'a str,
    user: &'a str,
    password: Option<&'a str>,
    authority: Option<&'a Path>,
    auth: &'a str,
    /// A ticket cache: the client asks for no password.
    tickets: Option<&'a Path>,
}

impl<'a> Client<'a> {
    fn of(lab: &'a Lab, user: &'a str) -> Client<'a> {
        Client { lab, outside: false, server: "", user, password: None, authority: None, auth: "ntlm", tickets: None }
    }

    async fn run(&self) -> Run {
        let ready = self.lab.ready();
        let address = format!("{}@{}", self.user, ready.sip_domain);
        let known = ready.users.iter().find(|user| user.address == address).expect("a user of the lab");
        let dns = if self.outside { ready.dns.external } else { ready.dns.internal };
        let debug = tempfile::NamedTempFile::new().expect("a file for the client's log");
        let mut command = Command::new("bash");
        command
            .arg(counterpart("in_namespace.sh"))
            .arg(dns.ip().to_string())
            .arg(self.authority.unwrap_or(&ready.ca))
            .arg("--")
            .arg(program())
            .args(["--user", &address, "--login", self.user, "--password-env", "PW", "--auth", self.auth])
            .args(["--seconds", "30", "--server", self.server])
            .args(["--transport", if self.server.is_empty() { "auto" } else { "tls" }])
            .arg("--debug")
            .arg(debug.path())
            .env("PW", self.password.or(known.password.as_deref()).expect("the first one"));
        if let Some(tickets) = self.tickets {
            let conf = ready.krb5_conf.as_ref().expect("the lab has a realm");
            command.arg("--sso").env("KRB5_CONFIG", conf).env("KRB5CCNAME", format!("FILE:{}", tickets.display()));
        }
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("joined").expect("bash runs");
        run_of(&output, debug.path())
    }
}

fn run_of(output: &Output, debug: &Path) -> Run {
    let text = String::from_utf8_lossy(&output.stdout);
    let events = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let log = std::fs::read(debug).unwrap_or_default();
    let end = String::from_utf8_lossy(&log[log.len().saturating_sub(6000)..]);
    let all = format!("{text}{}\nend of the client's log:\n{end}", String::from_utf8_lossy(&output.stderr));
    Run { events, code: output.status.code(), log: String::from_utf8_lossy(&log).into_owned(), all }
}

/// A lab on standard ports; each test has addresses of its own.
async fn lab(block: u8, published: Published) -> Lab {
    let address = Some(Ipv4Addr::new(127, 78, block, 10));
    let config = LabConfig { address, standard_ports: true, published, ..LabConfig::default() };
    Lab::start(&config).await.unwrap_or_else(|error| panic!("{NEEDS}: {error}; {}", error.remedy()))
}

/// Bindings at a server, once they are as many as expected or two seconds have passed.
async fn bindings(lab: &Lab, fqdn: &str, expected: usize) -> usize {
    let front_end = lab.front_end(fqdn).expect("a server of the lab");
    for _ in 0..40 {
        if front_end.counts().1 == expected {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    front_end.counts().1
}

const ALICES: [&str; 4] = [
    "sip:bob@contoso.test (Bob Baker) in Pilot",
    "sip:bob@contoso.test (Bob Baker) in Team",
    "sip:carol@contoso.test (Carol Carter) in Team",
    "sip:frank@contoso.test (Frank Fisher) in Team",
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs pidgin-sipe, libpurple-dev and root; run by make test"]
async fn signs_in_at_a_named_server_and_gets_its_contacts() {
    let lab = lab(1, Published::Everything).await;
    let run = Client { server: "pool1.contoso.test:5061", ..Client::of(&lab, "alice") }.run().await;
    assert_eq!(run.signed_on().contacts(), ALICES);
    for fqdn in ["fe01.contoso.test", "fe02.contoso.test"] {
        assert_eq!(bindings(&lab, fqdn, 0).await, 0, "signing out leaves nothing behind at {fqdn}");
    }
    // The same endpoint again, at each member: the one that is not preferred sends it to the other.
    for server in ["fe01.contoso.test:5061", "fe02.contoso.test:5061"] {
        let run = Client { server, ..Client::of(&lab, "alice") }.run().await;
        assert_eq!(run.signed_on().contacts(), ALICES, "{server}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs pidgin-sipe, libpurple-dev and root; run by make test"]
async fn finds_the_lab_through_autodiscover_alone() {
    let lab = lab(2, Published::Autodiscover).await;
    let run = Client::of(&lab, "alice").run().await;
    assert_eq!(run.signed_on().contacts(), ALICES);
    let outside = Client { outside: true, ..Client::of(&lab, "alice") }.run().await;
    assert_eq!(outside.signed_on().contacts(), ALICES);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs pidgin-sipe, libpurple-dev and root; run by make test"]
async fn finds_the_lab_through_service_records_alone() {
    let lab = lab(3, Published::Services).await;
    let run = Client::of(&lab, "frank").run().await;
    assert!(run.signed_on().contacts().len() == 3, "{}", run.all);
    let outside = Client { outside: true, ..Client::of(&lab, "frank") }.run().await;
    assert!(outside.signed_on().contacts().len() == 3, "{}", outside.all);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs pidgin-sipe, libpurple-dev and root; run by make test"]
async fn is_redirected_home_by_the_director() {
    let lab = lab(4, Published::Everything).await;
    let client = Client { server: "dir.contoso.test:5061", ..Client::of(&lab, "bob") };
    // While the client is signed on, its home has the binding.
    let wait_for_it = async {
        let mut most = 0;
        for _ in 0..10 {
            most = most.max(bindings(&lab, "fe03.contoso.test", 1).await);
            if most > 0 {
                break;
            }
        }
        most
    };
    let (run, most) = tokio::join!(client.run(), wait_for_it);
    let expected = ["sip:alice@contoso.test (Alice Archer) in Team", "sip:frank@contoso.test (Frank Fisher) in Team"];
    assert_eq!(run.signed_on().contacts(), expected);
    assert_eq!(most, 1, "the home pool had the binding");
    assert_eq!(lab.front_end("dir.contoso.test").expect("there").counts().1, 0, "the Director binds nobody");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs pidgin-sipe, libpurple-dev and root; run by make test"]
async fn is_refused_for_each_reason_in_words_it_shows() {
    let lab = lab(5, Published::Everything).await;
    let named = |user| Client { server: "pool1.contoso.test:5061", ..Client::of(&lab, user) };
    let wrong = Client { password: Some("wrong"), ..named("alice") }.run().await;
    wrong.refused(12);
    let disabled = named("dave").run().await;
    disabled.refused(17);
    assert!(disabled.all.contains("User disabled"), "{}", disabled.all);
    let without_sip = named("erin").run().await;
    without_sip.refused(11);
    let outside = Client { outside: true, ..Client::of(&lab, "carol") }.run().await;
    outside.refused(17);
    assert!(outside.all.contains("not enabled for remote access"), "{}", outside.all);
    // Another deployment's root: the client asks, and the answer is no.
    let other = tempfile::tempdir().expect("a folder");
    let stranger = LabConfig { state: Some(other.path().to_owned()), ..LabConfig::default() };
    drop(Lab::start(&stranger).await.expect("a lab on free ports"));
    let authority = other.path().join("ca.pem");
    let untrusted = Client { authority: Some(&authority), ..named("alice") }.run().await;
    untrusted.refused(10);
    assert!(untrusted.has("question"), "{}", untrusted.all);
}

/// A ticket-granting ticket of the lab's KDC, obtained by MIT's `kinit`.
fn kinit(lab: &Lab, user: &str, cache: &Path) {
    use std::io::Write;
    let ready = lab.ready();
    let address = format!("{user}@{}", ready.sip_domain);
    let known = ready.users.iter().find(|user| user.address == address).expect("a user of the lab");
    let mut kinit = Command::new("kinit")
        .args(["-c", &format!("FILE:{}", cache.display()), &format!("{user}@{}", ready.realm)])
        .env("KRB5_CONFIG", ready.krb5_conf.as_ref().expect("the lab has a realm"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("kinit runs");
    writeln!(kinit.stdin.take().expect("its input"), "{}", known.password.as_ref().expect("the first one"))
        .expect("written");
    assert!(kinit.wait().expect("kinit ends").success(), "kinit of {user}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs pidgin-sipe, libpurple-dev, krb5-user and root; run by make test"]
async fn signs_in_with_the_ticket_of_kinit() {
    let lab = lab(6, Published::Everything).await;
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().join("tickets");
    kinit(&lab, "alice", &cache);
    let client = Client { auth: "krb5", tickets: Some(&cache), password: Some(""), ..Client::of(&lab, "alice") };
    let named = Client { server: "fe02.contoso.test:5061", ..client };
    assert_eq!(named.run().await.signed_on().contacts(), ALICES);
    // Redirected: a ticket for each server.
    let redirected = Client { server: "dir.contoso.test:5061", ..named };
    assert_eq!(redirected.run().await.signed_on().contacts(), ALICES);
    // Found by Autodiscover: the web ticket is obtained with a ticket for http/web1.
    let found = Client { server: "", ..redirected };
    assert_eq!(found.run().await.signed_on().contacts(), ALICES);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs pidgin-sipe, libpurple-dev and root; run by make test"]
async fn obtains_a_certificate_and_signs_in_with_it() {
    let lab = lab(7, Published::Autodiscover).await;
    let named = Client { auth: "tls-dsk", server: "fe02.contoso.test:5061", ..Client::of(&lab, "alice") };
    let by_certificate = |run: &Run, server: &str| {
        assert_eq!(run.signed_on().contacts(), ALICES);
        let mechanisms = run.mechanisms();
        let only = mechanisms.iter().all(|(scheme, target)| *scheme == "TLS-DSK" && target.starts_with(server));
        assert!(only && !mechanisms.is_empty(), "{mechanisms:?}");
        let asked = run.log.matches("POST /CertProv/").count();
        assert_eq!(asked, mechanisms.len(), "it asks for a certificate for each server: {mechanisms:?}");
    };
    by_certificate(&named.run().await, "fe02.contoso.test");
    let published = || async {
        use signin::authenticate::certificate::published::PublishedCertificates;
        lab.store().list(&"alice@contoso.test".parse().expect("an address")).await.expect("the store answers")
    };
    assert_eq!(published().await.len(), 1, "one certificate for the device");
    // Again: a new process makes a new key, and its certificate takes the old one's place.
    let mut before = published().await[0].fingerprint;
    let mut another = async || {
        let after = published().await;
        assert!(after.len() == 1 && after[0].fingerprint != before, "a new one is in the place of the one before");
        before = after[0].fingerprint;
    };
    by_certificate(&named.run().await, "fe02.contoso.test");
    another().await;
    // Found by Autodiscover, inside and outside: web ticket, certificate, handshake.
    for (outside, server) in [(false, "fe0"), (true, "sip.contoso.test")] {
        let found = Client { auth: "tls-dsk", outside, ..Client::of(&lab, "alice") };
        by_certificate(&found.run().await, server);
        another().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs pidgin-sipe, libpurple-dev and root; run by make test"]
async fn obtains_a_certificate_for_each_server_of_a_redirect() {
    let lab = lab(8, Published::Everything).await;
    let client = Client { auth: "tls-dsk", server: "dir.contoso.test:5061", ..Client::of(&lab, "bob") };
    // In automatic mode it takes the first of what is offered that it can.
    for auth in ["tls-dsk", "auto"] {
        let run = Client { auth, ..client }.run().await;
        assert_eq!(run.signed_on().contacts().len(), 2);
        let servers = [("TLS-DSK", "dir.contoso.test"), ("TLS-DSK", "fe03.contoso.test")];
        assert_eq!(run.mechanisms(), servers, "{auth}");
        assert_eq!(run.log.matches("SIP/2.0 301 ").count(), 1, "{auth}: redirected once");
        assert_eq!(run.log.matches("POST /CertProv/").count(), 2, "{auth}: it asks for a certificate for each server");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs pidgin-sipe, libpurple-dev and root; run by make test"]
async fn needs_what_is_old_and_says_so_where_it_is_switched_off() {
    let config = |block, algorithm| LabConfig {
        address: Some(Ipv4Addr::new(127, 78, block, 10)),
        standard_ports: true,
        published: Published::Everything,
        old_cryptography: OldCryptography::default().without(algorithm),
        ..LabConfig::default()
    };
    let no_port = "Web ticket request to https://web1.contoso.test:443/CertProv/CertProvisioningService.svc failed";
    // Status of the client, what it shows, and what the server told it: not to be among what is offered, or the cause.
    for (block, algorithm, fails, code, shown, told) in [
        (9, OldAlgorithm::Rc4, "ntlm", 13, "Incompatible authentication scheme chosen", "WWW-Authenticate: Kerberos"),
        (10, OldAlgorithm::Tls10, "tls-dsk", 12, "Failed to authenticate to server", "cause=\"dsk-inner-version\""),
        (11, OldAlgorithm::Sha1, "tls-dsk", 12, no_port, "CertProvisioningServiceWebTicketProof"),
    ] {
        let lab = Lab::start(&config(block, algorithm)).await.expect("a lab");
        let client = Client { server: "fe02.contoso.test:5061", ..Client::of(&lab, "alice") };
        let refused = Client { auth: fails, ..client }.run().await;
        refused.refused(code);
        let said = refused.events.iter().find(|event| event["event"] == "connection-error").expect("it says why");
        assert_eq!(said["text"], shown, "{algorithm}:\n{}", refused.all);
        assert!(refused.log.contains(told), "{algorithm}:\n{}", refused.all);
        assert_eq!(refused.log.contains("WWW-Authenticate: NTLM"), fails != "ntlm", "{algorithm}: what is offered");
        let proof = refused.log.contains("CertProvisioningServiceWebTicketProof_SHA1");
        assert!(!(algorithm == OldAlgorithm::Sha1 && proof), "the port for SHA-1 is not named");
        if fails != "ntlm" {
            assert_eq!(Client { auth: "ntlm", ..client }.run().await.signed_on().contacts(), ALICES, "{algorithm}");
        }
    }
}
