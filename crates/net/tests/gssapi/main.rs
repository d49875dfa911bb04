//! Single sign-on through the system's GSS-API library, which is MIT Kerberos' here: its tickets, tokens and signatures at our
//! acceptor, from every kind of cache that can be had on this machine, and what it says when there is nothing to be had.
//!
//! The library reads its environment, and a program must not change its own: each context is begun in a process that is
//! this test program once more, told by [`SERVICE`].
#![cfg(feature = "gssapi")]
#![allow(dead_code)] // MIT Kerberos, as the tests of `mechanism` have it, has more than is needed here

#[path = "../../../mechanism/tests/peer/kerberos.rs"]
mod kerberos;
#[path = "../../../mechanism/tests/peer/line.rs"]
mod line;
#[path = "../../../mechanism/tests/peer/mit.rs"]
mod mit;

use kerberos::Realm;
use mechanism::Side;
use mechanism::channel_bindings::ChannelBindings;
use mechanism::kerberos::crypto::EncryptionType;
use mechanism::kerberos::keytab::Keytab;
use mechanism::kerberos::server::Accepted;
use mechanism::kerberos::{ApOptions, ApRequest, Now, ReplayCache, Service};
use mit::{PASSWORD, typed};
use net::client::{Config, Sockets};
use signin::io::{Io, SecContext, SecContextError};
use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// For which service the process is to begin a context: `class/host`.
const SERVICE: &str = "GSSAPI_TEST_SERVICE";

/// The service's keytab; with it, the process lets our acceptor judge.
const KEYTAB: &str = "GSSAPI_TEST_KEYTAB";

/// What stands before the outcome in what the process prints.
const MARK: &str = "outcome: ";

const HOST: &str = "fe1.contoso.test";
const SIP: &str = "sip/fe1.contoso.test";
const AES: &str = "aes256-cts-hmac-sha1-96";

/// Longer than the library takes for an answer on the loopback, shorter than it waits for one that never comes.
const LIMIT: Duration = Duration::from_secs(5);

type Outcome = Result<SecContext, SecContextError>;

/// The other process: does nothing where it was not asked to.
#[tokio::test]
#[ignore = "started by the others"]
async fn process_of_its_own() {
    let Ok(service) = std::env::var(SERVICE) else { return };
    let sockets = sockets();
    let io: &dyn Io = &sockets;
    let outcome = io.init_sec_context(&service, None, LIMIT).await;
    let line = serde_json::to_string(&outcome).expect("it is data");
    writeln!(std::io::stdout(), "\n{MARK}{line}").expect("somebody reads it");
    if let Ok(keytab) = std::env::var(KEYTAB) {
        let keytab = Keytab::read(&std::fs::read(keytab).expect("it is there")).expect("a keytab");
        let acceptor = Service::new(keytab).allowing(&EncryptionType::KNOWN);
        judged(io, outcome.expect("a context"), &acceptor);
        let channel = channel();
        let again = io.init_sec_context(&service, Some(channel.application_data()), LIMIT).await;
        wrapped(io, again.expect("another context"), channel, &acceptor);
    }
}

fn sockets() -> Sockets {
    let dns = Some(([127, 0, 0, 1], 53).into());
    Sockets::new(Config { dns, system_roots: false, ..Config::default() }).expect("sockets")
}

/// What ties proofs to connections to some server.
fn channel() -> ChannelBindings {
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = rcgen::CertificateParams::default().self_signed(&key).expect("it can sign itself");
    ChannelBindings::of_certificate(certificate.der()).expect("ECDSA with SHA-256")
}

fn accepted(io: &dyn Io, token: &[u8], acceptor: &Service) -> Accepted {
    let now = Now { unix_seconds: io.now().unix_seconds, microseconds: io.now().since_start.subsec_micros() };
    let random = |bytes: &mut [u8]| io.fill_random(bytes);
    let accepted = acceptor.accept(token, now, &mut ReplayCache::default(), &random).expect("our acceptor takes it");
    assert_eq!(accepted.client.to_string(), "alice@CONTOSO.TEST");
    accepted
}

/// The token bare, and signatures both ways, also out of turn.
fn judged(io: &dyn Io, context: SecContext, acceptor: &Service) {
    assert_eq!(context.client, "alice@CONTOSO.TEST");
    let calls = context.calls.expect("it is not of a record");
    let request = ApRequest::of_context(context.token, ApOptions::default(), calls);
    let (token, mut theirs) = request.into_parts();
    let Accepted { keys: mut ours, channel, .. } = accepted(io, &token, acceptor);
    assert_eq!(channel, None);
    let texts: [&[u8]; 4] = [b"<Kerberos><8a0f1b2c><1>", b"x", &[0xff; 1000], b"<Kerberos><8a0f1b2c><1>"];
    for text in texts {
        let signature = theirs.sign(Side::Client, text);
        assert!(ours.verify(Side::Client, text, &signature), "their signature");
        assert!(!ours.verify(Side::Client, b"altered", &signature));
        let signature = ours.sign(Side::Server, text);
        assert!(theirs.verify(Side::Server, text, &signature), "our signature");
        assert!(!theirs.verify(Side::Server, b"altered", &signature));
        assert!(theirs.verify(Side::Server, text, &signature), "as often as is asked: the window is not theirs");
    }
    let own = ours.sign(Side::Client, b"text");
    assert!(!theirs.verify(Side::Server, b"text", &own), "a client's signature, sent back");
    let (first, second) = (ours.sign(Side::Server, b"first"), ours.sign(Side::Server, b"second"));
    assert!(theirs.verify(Side::Server, b"second", &second) && theirs.verify(Side::Server, b"first", &first));
}

/// The token in SPNEGO, for one TLS connection, as HTTP has it.
fn wrapped(io: &dyn Io, context: SecContext, channel: ChannelBindings, acceptor: &Service) {
    let calls = context.calls.expect("it is not of a record");
    let request = ApRequest::of_context(context.token, ApOptions { spnego: true, channel: Some(channel) }, calls);
    assert_eq!(accepted(io, request.token(), acceptor).channel, Some(*channel.as_bytes()));
}

/// Begins a context for a service in a process of its own, which knows what `command` says.
fn begun(command: &mut Command, service: &str, keytab: Option<&Path>) -> Outcome {
    command.args(["--exact", "process_of_its_own", "--ignored", "--nocapture"]).env(SERVICE, service);
    command.envs(keytab.map(|file| (KEYTAB, file)));
    let output = command.output().expect("this program runs");
    let (said, erred) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{erred}");
    let outcome = said.lines().find_map(|line| line.strip_prefix(MARK)).unwrap_or_else(|| panic!("{said}{erred}"));
    serde_json::from_str(outcome).expect("an outcome")
}

fn this_program() -> std::path::PathBuf {
    std::env::current_exe().expect("it has a name")
}

/// A realm with the service, and its keytab in a file.
fn realm_and_keytab() -> (Realm, tempfile::NamedTempFile) {
    let realm = Realm::start();
    realm.service(SIP, AES);
    let keytab = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(keytab.path(), realm.keytab(&[SIP])).expect("written");
    (realm, keytab)
}

#[test]
#[ignore = "needs MIT Kerberos; run by make test"]
fn its_tokens_and_signatures_of_every_type_are_ours() {
    let realm = Realm::start();
    for etype in [AES, "aes128-cts-hmac-sha1-96", "arcfour-hmac"] {
        let service = format!("sip/{etype}.contoso.test");
        realm.service_of_one_type(&service, etype);
        realm.sign_in();
        let keytab = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(keytab.path(), realm.keytab(&[&service])).expect("written");
        let context = begun(&mut realm.surround(this_program()), &service, Some(keytab.path()));
        let context = context.unwrap_or_else(|error| panic!("{etype}: {error:?}"));
        assert_eq!(context.client, "alice@CONTOSO.TEST");
        assert!(context.token.len() > 300 && context.calls.is_none(), "as a record has it");
    }
}

/// Every kind that lasts longer than a process. The kernel's keyrings are refused in some containers.
#[test]
#[ignore = "needs MIT Kerberos; run by make test"]
fn every_kind_of_cache_that_outlives_a_process() {
    let (realm, keytab) = realm_and_keytab();
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("collection")).expect("made");
    let here = folder.path().display();
    let keyring = format!("KEYRING:session:signpost-{}", std::process::id());
    for name in [format!("FILE:{here}/file"), format!("DIR:{here}/collection"), keyring] {
        let kinit = typed(realm.surround("kinit").arg("alice").env("KRB5CCNAME", &name), PASSWORD);
        let words = String::from_utf8_lossy(&kinit.stderr);
        if name.starts_with("KEYRING") && !kinit.status.success() {
            writeln!(std::io::stderr(), "NOT TRIED: keyrings, which kinit is refused here: {words}").expect("told");
            continue;
        }
        assert!(kinit.status.success(), "{name}: {words}");
        let context = begun(realm.surround(this_program()).env("KRB5CCNAME", &name), SIP, Some(keytab.path()));
        assert!(context.is_ok(), "{name}: {context:?}");
        let _ = realm.surround("kdestroy").env("KRB5CCNAME", &name).output();
    }
}

#[test]
#[ignore = "needs MIT Kerberos; run by make test"]
fn what_is_not_to_be_had_is_told() {
    let (realm, _) = realm_and_keytab();
    let folder = tempfile::tempdir().expect("a folder");
    let begin =
        |service: &str, cache: &str| begun(realm.surround(this_program()).env("KRB5CCNAME", cache), service, None);

    let nowhere = format!("DIR:{}", folder.path().join("nowhere").display());
    assert!(matches!(begin(SIP, &nowhere), Err(SecContextError::NoTicket(words)) if !words.is_empty()));
    for bad in ["UNHEARD:of", "KCM:", "MEMORY:empty"] {
        let none = begin(SIP, bad).expect_err("nobody keeps tickets there");
        assert!(matches!(&none, SecContextError::NoTicket(_)), "{bad}: {none:?}");
    }

    let cache = format!("DIR:{}", folder.path().display());
    let kinit = |more: &[&str]| {
        let kinit = typed(realm.surround("kinit").args(more).arg("alice").env("KRB5CCNAME", &cache), PASSWORD);
        assert!(kinit.status.success(), "{}", String::from_utf8_lossy(&kinit.stderr));
    };
    kinit(&[]);
    let refused = begin("sip/unknown.contoso.test", &cache).expect_err("no such service");
    let SecContextError::Refused { client: Some(client), code: 7, words } = refused else { panic!("{refused:?}") };
    assert!(client == "alice@CONTOSO.TEST" && words.contains("sip/unknown.contoso.test"), "{client}: {words}");
    // The server may say whatever it likes; it cannot name another realm.
    let refused = begin(&format!("sip/{HOST}@OTHER.TEST"), &cache).expect_err("no such service");
    assert!(matches!(refused, SecContextError::Refused { code: 7, .. }), "{refused:?}");
    assert!(begin(SIP, &cache).is_ok());

    kinit(&["-l", "2s"]);
    std::thread::sleep(Duration::from_secs(3));
    let expired = begin(SIP, &cache).expect_err("the ticket is over");
    assert!(matches!(&expired, SecContextError::NoTicket(words) if words.contains("expired")), "{expired:?}");
}

#[test]
#[ignore = "needs MIT Kerberos; run by make test"]
fn a_kdc_that_is_gone_or_silent_is_told_within_the_limit() {
    let (realm, _) = realm_and_keytab();
    realm.sign_in();
    let (tcp, udp) = silent_kdc();
    let folder = tempfile::tempdir().expect("a folder");
    let conf = folder.path().join("krb5.conf");
    let begin = |port: u16| {
        let text = format!(
            "[libdefaults]\n default_realm = CONTOSO.TEST\n dns_lookup_kdc = false\n[realms]\n CONTOSO.TEST = {{\n  \
             kdc = 127.0.0.1:{port}\n }}\n"
        );
        std::fs::write(&conf, text).expect("written");
        begun(realm.surround(this_program()).env("KRB5_CONFIG", &conf), SIP, None)
    };
    let gone = begin(1).expect_err("nobody is there");
    assert!(matches!(&gone, SecContextError::Unreachable(words) if words.contains("CONTOSO.TEST")), "{gone:?}");
    let began = Instant::now();
    assert_eq!(begin(tcp.local_addr().expect("bound").port()), Err(SecContextError::Timeout));
    assert!(began.elapsed() < LIMIT + Duration::from_secs(3), "and the program ends with it: {:?}", began.elapsed());
    drop((tcp, udp));
}

/// Sockets that nobody reads.
fn silent_kdc() -> (TcpListener, UdpSocket) {
    for _ in 0..50 {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().expect("bound")) {
            return (tcp, udp);
        }
    }
    panic!("no port is free for both");
}
