//! Kerberos in a domain: the keytab as the controller exports it, the tickets it issues, and whose they are.

use crate::domain_controller::{DomainController, PASSWORD, REALM, domain_controller};
use crate::{block_on, directory};
use mechanism::Side;
use mechanism::kerberos::crypto::EncryptionType;
use mechanism::kerberos::keytab::Keytab;
use mechanism::kerberos::name::Principal;
use mechanism::kerberos::{ApOptions, ApRequest, AsExchange, AsStep, Now, ReplayCache, Service, TgsExchange};
use net::server::SystemSurroundings;
use signin::authenticate::verifier::KerberosVerifier;
use signin::service::Surroundings;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn run(dc: &DomainController, program: &str, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .env("KRB5_CONFIG", dc.krb5_conf())
        .env("KRB5CCNAME", dc.folder().join("tickets"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} (package krb5-user): {error}"));
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

#[test]
#[ignore = "needs Samba; run by make test"]
fn the_keytab_opens_the_tickets() {
    let dc = domain_controller();
    let kinit = run(&dc, "kinit", &[&format!("alice@{REALM}")], &format!("{PASSWORD}\n"));
    assert!(kinit.status.success(), "{}", String::from_utf8_lossy(&kinit.stderr));
    let keytab = dc.keytab();
    for service in ["sip/pool1.contoso.test", "http/pool1.contoso.test"] {
        let kvno = run(&dc, "kvno", &["-k", &keytab.display().to_string(), &format!("{service}@{REALM}")], "");
        let said = String::from_utf8_lossy(&kvno.stdout);
        assert!(
            kvno.status.success() && said.contains("keytab entry valid"),
            "{said}{}",
            String::from_utf8_lossy(&kvno.stderr)
        );
    }
}

/// One request of a KDC over TCP. RFC 4120 §7.2.2.
async fn ask_controller(request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect("127.0.0.1:88").await.expect("it serves");
    let length = u32::try_from(request.len()).expect("it is short");
    stream.write_all(&[&length.to_be_bytes(), request].concat()).await.expect("it reads");
    let mut reply = vec![0; stream.read_u32().await.expect("a length") as usize];
    stream.read_exact(&mut reply).await.expect("all of it");
    reply
}

/// The token with which alice logs on to a service.
async fn token_of_alice(service: &str) -> ApRequest {
    let surroundings = SystemSurroundings::new();
    let now = Now { unix_seconds: surroundings.now().unix_seconds, microseconds: 0 };
    let random = |bytes: &mut [u8]| surroundings.fill_random(bytes);
    let alice = Principal::parse(&format!("alice@{REALM}")).expect("a principal");
    let (mut exchange, mut request) =
        AsExchange::begin(alice, &EncryptionType::KNOWN, now, &random).expect("it can begin");
    let granting = loop {
        let reply = ask_controller(&request).await;
        match exchange.answer(&reply, PASSWORD, now, &random).expect("the password is right") {
            AsStep::Send(next, bytes) => (exchange, request) = (*next, bytes),
            AsStep::Done(ticket) => break ticket,
        }
    };
    let service = Principal::service("sip", service, REALM).expect("a principal");
    let (exchange, request) =
        TgsExchange::begin(&granting, service, &EncryptionType::KNOWN, now, &random).expect("it can begin");
    let ticket = exchange.answer(&ask_controller(&request).await).expect("there is such a service");
    ticket.ap_request(now, &random, ApOptions::default()).expect("a token")
}

pub(crate) fn verifier(dc: &DomainController, allowed: Option<&[EncryptionType]>) -> KerberosVerifier {
    let keytab = Keytab::read(&std::fs::read(dc.keytab()).expect("it was exported")).expect("it can be read");
    let service = Service::new(keytab).serving("sip");
    let service = match allowed {
        Some(types) => service.allowing(types),
        None => service,
    };
    let replays = Arc::new(Mutex::new(ReplayCache::new(100)));
    KerberosVerifier::new(service, replays, Arc::new(SystemSurroundings::new()))
}

#[test]
#[ignore = "needs Samba; run by make test"]
fn from_the_password_to_the_user_of_the_directory() {
    let dc = domain_controller();
    let verifier = verifier(&dc, None);
    let directory = directory::open(directory::settings(&dc));
    let services = ["sip/pool1.contoso.test".to_owned()];
    block_on(async {
        let (token, mut keys) = token_of_alice("pool1.contoso.test").await.into_parts();
        let proof = verifier.verify(&token, &services).expect("the keytab opens it");
        assert!(proof.keys.verify(Side::Client, b"REGISTER", &keys.sign(Side::Client, b"REGISTER")));
        let user = directory.user_of_account(&proof.account).await.expect("it answers").expect("she is there");
        assert_eq!(user.aor.as_str(), "alice@contoso.test", "{}", proof.account);
        verifier.verify(&token, &services).expect_err("once is enough");
    });
}

#[test]
#[ignore = "needs Samba; run by make test"]
fn a_ticket_with_rc4_is_for_those_who_allow_it() {
    let dc = domain_controller();
    let services = ["sip/old.contoso.test".to_owned()];
    block_on(async {
        let token = token_of_alice("old.contoso.test").await;
        let refusal = verifier(&dc, None).verify(token.token(), &services).expect_err("AES only").to_string();
        assert!(refusal.contains("arcfour-hmac"), "{refusal}");
        let proof =
            verifier(&dc, Some(&EncryptionType::KNOWN)).verify(token.token(), &services).expect("it is allowed");
        assert_eq!(proof.account.to_string(), format!("alice@{REALM}"));
    });
}
