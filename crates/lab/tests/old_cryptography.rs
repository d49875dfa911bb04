//! Old cryptography switched off, over real sockets: the sign-in that needs it is told so, and the others work.

mod support;

use lab::{Lab, LabConfig};
use mechanism::tls_dsk::{self, Policy, Protocol};
use mechanism::user_certificate::{UserCertificateAuthority, new_key};
use openssl::ssl::{SslConnector, SslMethod};
use signin::authenticate::client::Choice;
use signin::authenticate::message::{Credentials, Scheme, Version};
use signin::io::Operation;
use signin::old_cryptography::{OldAlgorithm, OldCryptography};
use signin::register::client::Registration;
use signin::reply::Told;
use signin::tickets::{Source, Tickets};
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;
use support::{Attempt, Outcome, Pocket};
use trace::record::What;

async fn lab_with(old_cryptography: OldCryptography) -> Lab {
    Lab::start(&LabConfig { old_cryptography, ..LabConfig::default() }).await.expect("a lab")
}

/// Alice with one mechanism, an empty keyring, and tickets where she may have them.
async fn sign_in(lab: &Lab, scheme: Scheme, tickets: bool) -> Outcome {
    let mut attempt = Attempt::of(lab, "alice").at("fe02.contoso.test");
    attempt.sign_in.choice = Choice::Only(scheme);
    attempt.sign_in.keyring = Some(Arc::new(Pocket::default()));
    let source = Source { realm: Some(lab.ready().realm.clone()), ..Source::default() };
    if let Some(log_on) = &mut attempt.sign_in.log_on {
        log_on.tickets = tickets.then(|| Arc::new(Tickets::new(source)));
    }
    attempt.run().await
}

/// What `fe02` offers, in the words of the sign-in.
fn offered(outcome: &Outcome) -> String {
    let proofs = outcome.report.steps.iter().flat_map(|step| &step.evidence);
    let offers = proofs.clone().find_map(|line| line.strip_prefix("fe02.contoso.test offers "));
    offers.unwrap_or_else(|| panic!("it offers nothing: {:?}", proofs.collect::<Vec<_>>())).to_owned()
}

/// Which hash the proof of the web ticket has, for which the certificate was given out: its service names a port for it.
fn proof(outcome: &Outcome) -> &'static str {
    let asked = outcome.record.entries.iter().filter_map(|entry| match &entry.what {
        What::Asked { operation: Operation::Exchange { request, .. }, .. } => Some(request),
        _ => None,
    });
    let mut port = asked.filter(|request| request.path.contains("CertProv") && !request.body.is_empty());
    let port = port.next().expect("a certificate was asked for");
    match port.path.rsplit_once('/') {
        Some((_, "WebTicket_Proof_SHA1")) => "SHA-1",
        Some((_, "WebTicket_Proof")) => "SHA-256",
        _ => panic!("{}", port.path),
    }
}

/// Whether `fe02` goes on with an inner handshake whose client speaks nothing newer than TLS 1.0; else the cause it tells.
fn tls_1_0(lab: &Lab) -> Result<(), String> {
    let key = new_key(2048).expect("a key");
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs()).expect("before the end");
    let hour = Duration::from_secs(3600);
    let certificate = UserCertificateAuthority::certify(&key, [1; 16], now, hour).expect("a certificate");
    let policy = Policy { max: Protocol::Tls10, ..Policy::default() };
    let client = tls_dsk::Client::new(&certificate, &key, policy).expect("a client");

    let host = lab.ready().hosts.iter().find(|host| host.fqdn == "fe02.contoso.test").expect("it is there");
    let stream = std::net::TcpStream::connect(host.sip.expect("a registrar")).expect("it listens");
    let mut connector = SslConnector::builder(SslMethod::tls_client()).expect("OpenSSL works");
    connector.set_ca_file(&lab.ready().ca).expect("the lab's root");
    let mut stream =
        connector.build().connect("fe02.contoso.test", stream).expect("TLS of the connection is untouched");
    let (aor, epid) = ("alice@contoso.test".parse().expect("an address"), "a0ae9e6cb0".parse().expect("an epid"));
    let registration = Registration::new(aor, epid, "test".to_owned(), [7; 24]);
    let mut register = registration.request(1, "127.0.0.1:5".parse().expect("an address"), None);
    register.header(
        "Authorization",
        Credentials {
            scheme: Scheme::TlsDsk,
            realm: "SIP Communications Service".to_owned(),
            target_name: "fe02.contoso.test".to_owned(),
            version: Some(Version::V4),
            opaque: None,
            gssapi_data: Some(client.begin().expect("a flight").1),
            signature: None,
        },
    );
    stream.write_all(&register.finish()).expect("it reads");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("it answers");
        answer.extend(byte);
    }
    let message = sip::Message::parse(&answer).expect("SIP");
    assert_eq!(message.status(), Some(401), "{}", String::from_utf8_lossy(&answer));
    let mut challenges = message.all(sip::Name::WwwAuthenticate);
    match challenges.any(|value| value.starts_with("TLS-DSK") && value.contains("gssapi-data=\"")) {
        true => Ok(()),
        false => Err(Told::by(&message).cause.unwrap_or_else(|| String::from_utf8_lossy(&answer).into_owned())),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_switch_stops_what_needs_it_and_nothing_else() {
    const FINE: &str = "signed in";
    const EVERYTHING: &str = "TLS-DSK, Kerberos, NTLM";
    let default = OldCryptography::default();
    let without = |algorithm| default.without(algorithm);
    // NTLM; Kerberos; TLS-DSK with a certificate that is had by ticket; the same by password.
    let no_ntlm = ["auth-no-common-scheme", FINE, FINE, "ntlm-off-on-server"];
    let too_old = Err("dsk-inner-version".to_owned());
    // What is offered, what is done with TLS 1.0, and which hash a certificate is asked for with.
    let table = [
        ("all of it", OldCryptography::ALL, [FINE; 4], EVERYTHING, Ok(()), "SHA-1"),
        ("the default", default, [FINE; 4], EVERYTHING, Ok(()), "SHA-1"),
        ("no MD4", without(OldAlgorithm::Md4), no_ntlm, "TLS-DSK, Kerberos", Ok(()), "SHA-1"),
        ("no RC4", without(OldAlgorithm::Rc4), no_ntlm, "TLS-DSK, Kerberos", Ok(()), "SHA-1"),
        ("no TLS 1.0", without(OldAlgorithm::Tls10), [FINE; 4], EVERYTHING, too_old.clone(), "SHA-1"),
        ("no SHA-1", without(OldAlgorithm::Sha1), [FINE; 4], EVERYTHING, Ok(()), "SHA-256"),
        ("nothing old", OldCryptography::NONE, no_ntlm, "TLS-DSK, Kerberos", too_old, "SHA-256"),
    ];
    for (what, old, expected, offers, with_tls_1_0, hash) in table {
        let lab = lab_with(old).await;
        let ways = [(Scheme::Ntlm, false), (Scheme::Kerberos, true), (Scheme::TlsDsk, true), (Scheme::TlsDsk, false)];
        for (nth, ((scheme, tickets), id)) in ways.into_iter().zip(expected).enumerate() {
            let outcome = sign_in(&lab, scheme.clone(), tickets).await;
            assert_eq!(outcome.id(), id, "{what}, {scheme}: {}", outcome.sentence());
            let verdict = outcome.report.verdict.as_ref();
            assert!(verdict.is_none_or(|verdict| !verdict.fix.is_empty() && outcome.sentence().contains("NTLM")));
            assert_eq!(offered(&outcome), offers, "{what}");
            if nth == 2 {
                assert_eq!(proof(&outcome), hash, "{what}");
            }
        }
        assert_eq!(tokio::task::block_in_place(|| tls_1_0(&lab)), with_tls_1_0, "{what}");
    }
}
