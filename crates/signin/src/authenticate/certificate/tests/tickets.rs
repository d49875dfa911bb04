//! Web tickets by certificate: both halves, and every message that is not taken.

use super::{Deployment, KEY, WEB, asked, authority};
use crate::authenticate::certificate::client::{Applicant, obtain as obtain_certificate};
use crate::authenticate::certificate::published::{Publication, PublishedCertificates};
use crate::authenticate::keyring::UserCertificate;
use crate::discover::client::{Ask, Discovery};
use crate::discover::tests::deployment::{PASSWORD, aor, log_on};
use crate::http::{Limits, Web};
use crate::io::{HttpResponse, Io, Operation};
use crate::log_on::LogOn;
use crate::service::HttpService;
use crate::testing::{EPOCH, says};
use crate::web_ticket::client::{Ticket, TicketError, TicketMeans, obtain};
use crate::web_ticket::diagnostics::Diagnostics;
use crate::web_ticket::message::{TokenRequest, TokenResponse};
use crate::web_ticket::metadata::Metadata;
use crate::web_ticket::{DIAGNOSTICS_HEADER, signed};
use mechanism::user_certificate::{
    CertificateRequest, Order, RequestLimits, UserCertificateAuthority, new_key, request,
};
use std::sync::atomic::Ordering;
use std::time::Duration;
use url::Url;
use uuid::Uuid;
use zeroize::Zeroizing;

const SERVICE: &str = "/WebTicket/WebTicketService.svc";
const PORT: &str = "/WebTicket/WebTicketService.svc/cert";
const DAY: i64 = 86_400;

fn issued_by(authority: &UserCertificateAuthority, name: &str, begins: i64) -> UserCertificate {
    let asked = request::write("alice@contoso.test", &KEY).expect("a request");
    let asked = CertificateRequest::read(&asked, &RequestLimits::default()).expect("a request");
    let (address, lifetime) = (aor(name), Duration::from_secs(DAY.unsigned_abs()));
    let order = Order { address: address.as_str(), request: &asked, serial: [1; 16], now: begins, lifetime };
    let certificate = authority.issue(&order).expect("a certificate");
    UserCertificate { certificate, key: KEY.clone(), begins: 0, ends: i64::MAX }
}

impl Deployment {
    /// A certificate of that user, published.
    fn certificate_of(&self, name: &str, begins: i64) -> UserCertificate {
        let kept = issued_by(&authority(), name, begins);
        self.publish(name, &kept);
        kept
    }

    fn publish(&self, name: &str, kept: &UserCertificate) {
        let certificate = kept.certificate.clone();
        let publication = Publication { aor: aor(name), device: Uuid::nil(), certificate, not_after: 0 };
        self.world.run(self.register.publish(publication)).expect("published");
    }

    fn ticket(&self, certificate: Option<&UserCertificate>, log_on: Option<&LogOn>) -> Result<Ticket, TicketError> {
        let web = Web::new(Limits::default(), Duration::from_secs(60), None);
        let url = |path: &str| Url::parse(&format!("https://{WEB}{path}")).expect("a URL");
        let (service, user) = (url(SERVICE), url("/x"));
        let means = TicketMeans { certificate, log_on };
        self.world.run(async {
            let outcome = obtain(&self.world, &web, &service, &user, &aor("alice"), means).await;
            web.close(&self.world).await;
            outcome
        })
    }

    /// What one service answers to these messages, one after the other.
    fn answers(&self, bodies: &[String]) -> Vec<HttpResponse> {
        let services = self.services(true);
        let post = |body: &String| {
            let mut conversation = services.clone().conversation(([192, 0, 2, 9], 4711).into());
            self.world.run(conversation.answer(asked("POST", PORT, body)))
        };
        bodies.iter().map(post).collect()
    }

    /// The paths that were asked for, and whether a credential was in the request.
    fn requests(&self) -> Vec<(String, bool)> {
        let exchange = |operation: Operation| match operation {
            Operation::Exchange { request, .. } => {
                let shown = request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
                Some((request.path, shown))
            }
            _ => None,
        };
        self.world.operations().into_iter().filter_map(exchange).collect()
    }
}

fn wish(name: &str) -> TokenRequest {
    TokenRequest {
        context: None,
        token_type: None,
        applies_to: format!("https://{WEB}/x"),
        claim: format!("sip:{name}@contoso.test"),
        entropy: Some(Zeroizing::new(vec![7; 32])),
        key_type: None,
    }
}

fn message(wish: &TokenRequest, kept: &UserCertificate) -> String {
    signed::write(wish, &kept.certificate, &kept.key, EPOCH).expect("a message")
}

/// Status, error id and cause, as the header tells them; the fault tells the same id.
fn told(response: &HttpResponse) -> (u16, u32, Option<String>) {
    let header = Diagnostics::of_header(response.header(DIAGNOSTICS_HEADER).unwrap_or_default());
    let fault = Diagnostics::of_fault(&response.body).expect("a fault");
    assert_eq!((header.id, &header.reason), (fault.id, &fault.reason));
    (response.status, header.id.unwrap_or_default(), header.cause)
}

#[test]
fn the_metadata_names_the_port_where_there_are_certificates() {
    let deployment = Deployment::new();
    let ports = |deployment: &Deployment| {
        let mut conversation = deployment.services(true).conversation(([192, 0, 2, 9], 4711).into());
        let metadata = deployment.world.run(conversation.answer(asked("GET", &format!("{SERVICE}/mex"), "")));
        let post = deployment.world.run(conversation.answer(asked("POST", PORT, "")));
        (Metadata::read(&metadata.body).expect("metadata").ports, post.status)
    };
    let (named, status) = ports(&deployment);
    let names: Vec<&str> = named.iter().map(|port| port.name.as_str()).collect();
    assert_eq!(names, ["WebTicketServiceWinNegotiate", "WebTicketServiceCert"]);
    assert_eq!((named[1].location.as_str(), status), (&*format!("https://{WEB}{PORT}"), 500));
    let backing = crate::web::Backing { certification: None, ..deployment.backing.clone() };
    let without = Deployment { backing, ..deployment };
    let (named, status) = ports(&without);
    assert_eq!((named.len(), status), (1, 404));
}

#[test]
fn a_certificate_is_enough() {
    let deployment = Deployment::new().open();
    let kept = deployment.certificate_of("alice", EPOCH);
    let ticket = deployment.ticket(Some(&kept), None).expect("a ticket");
    let audience = format!("https://{WEB}/");
    let verified = deployment.backing.authority.check(ticket.assertion(), &audience, EPOCH).expect("one of ours");
    assert_eq!(verified.aor(), &aor("alice"));
    assert_eq!(ticket.proof_key().expect("a key").reveal(), verified.proof_key().reveal(), "both have the same key");
    assert_eq!(deployment.requests(), [(format!("{SERVICE}/mex"), false), (PORT.to_owned(), false)]);
    let with_password = deployment.ticket(Some(&kept), Some(&log_on("alice", PASSWORD)));
    assert!(with_password.is_ok() && deployment.requests().iter().all(|(_, shown)| !shown), "none is sent");
    deployment.ticket(Some(&kept), None).expect("another message, another ticket");
}

#[test]
fn what_refuses_the_certificate_is_asked_by_password() {
    let deployment = Deployment::new().open();
    let kept = deployment.certificate_of("alice", EPOCH);
    deployment.register.revoked.store(true, Ordering::SeqCst);
    let refused = deployment.ticket(Some(&kept), None).expect_err("revoked").verdict();
    assert_eq!(refused.id, "dsk-cert-revoked", "{}", refused.sentence);
    assert!(deployment.ticket(Some(&kept), Some(&log_on("alice", PASSWORD))).is_ok());
    let told = format!("{:?}", deployment.world.events());
    assert!(told.contains("not by certificate") && told.contains("was revoked"), "{told}");
    let wrong = deployment.ticket(Some(&kept), Some(&log_on("alice", "wrong"))).expect_err("neither").verdict();
    assert_eq!(wrong.id, "wt-401-loop");
    // A service without such a port is not asked by certificate at all.
    let old = Deployment::new().altered(|path, answer| match path.ends_with("/mex") {
        true => says(200, &[], &String::from_utf8_lossy(&answer.body).replace("WebTicketServiceCert", "Other")),
        false => answer,
    });
    assert!(old.ticket(Some(&kept), Some(&log_on("alice", PASSWORD))).is_ok());
    assert!(old.requests().iter().all(|(path, _)| path != PORT));
    let nothing = old.ticket(Some(&kept), None).expect_err("nothing it takes").verdict();
    assert_eq!(nothing.id, "auth-no-common-scheme");
}

#[test]
fn a_port_elsewhere_gets_nothing() {
    let foreign = Deployment::new().altered(|path, answer| match path.ends_with("/mex") {
        true => says(200, &[], &String::from_utf8_lossy(&answer.body).replace(PORT, "/x").replace(WEB, "evil.example")),
        false => answer,
    });
    let kept = foreign.certificate_of("alice", EPOCH);
    assert_eq!(foreign.ticket(Some(&kept), None).expect_err("no").verdict().id, "wt-mex-bad");
    assert_eq!(foreign.requests().len(), 1, "only the metadata was asked for");
}

#[test]
fn each_refusal_has_its_id() {
    let deployment = Deployment::new();
    let alice = deployment.certificate_of("alice", EPOCH);
    let bob = deployment.certificate_of("bob", EPOCH);
    let erin = deployment.certificate_of("erin", EPOCH);
    let over = deployment.certificate_of("alice", EPOCH - 2 * DAY);
    let early = deployment.certificate_of("alice", EPOCH + DAY);
    let unpublished = issued_by(&authority(), "alice", EPOCH - 60);
    let strange_key = new_key(2048).expect("a key");
    let lifetime = Duration::from_secs(3650 * DAY.unsigned_abs());
    let self_signed = UserCertificateAuthority::certify(&strange_key, [4; 16], EPOCH, lifetime).expect("DER");
    let stranger = UserCertificateAuthority::new(&self_signed, &strange_key).expect("an authority");
    let foreign = issued_by(&stranger, "alice", EPOCH);
    let own = UserCertificate { certificate: self_signed, key: strange_key.clone(), begins: 0, ends: i64::MAX };
    let no_key = UserCertificate { key: strange_key, ..alice.clone() };
    let good = message(&wish("alice"), &alice);
    let elsewhere = TokenRequest { applies_to: "https://pool2.contoso.test/x".to_owned(), ..wish("alice") };
    let old = signed::write(&wish("alice"), &alice.certificate, &alice.key, EPOCH - 601).expect("a message");
    let later = signed::write(&wish("alice"), &alice.certificate, &alice.key, EPOCH + 301).expect("a message");
    let by = |kept: &UserCertificate| message(&wish("alice"), kept);
    let cause = |id: &str| (403, 28909, Some(id.to_owned()));
    let table = [
        ("expired", by(&over), cause("dsk-cert-expired")),
        ("not yet valid", by(&early), cause("auth-clock-skew")),
        ("not published", by(&unpublished), cause("dsk-cert-unknown")),
        ("of another deployment", by(&foreign), cause("dsk-cert-foreign")),
        ("signed by its holder", by(&own), cause("dsk-cert-self-signed")),
        ("without its key", by(&no_key), (500, 28902, None)),
        ("altered", good.replace("sip:alice@", "sip:bob@"), (500, 28902, None)),
        ("unsigned", wish("alice").write(), (500, 28020, None)),
        ("made too long ago", old, (500, 28904, None)),
        ("made in the future", later, (500, 28904, None)),
        ("another's address", message(&wish("bob"), &alice), (403, 28905, None)),
        ("another's certificate", by(&bob), (403, 28905, None)),
        ("not enabled for SIP", message(&wish("erin"), &erin), (403, 28000, None)),
        ("for another service", message(&elsewhere, &alice), (500, 28906, None)),
        ("no message", "nonsense".to_owned(), (500, 28906, None)),
        ("nothing", String::new(), (500, 28906, None)),
    ];
    for (what, body, expected) in table {
        assert_ne!(body, good, "{what}");
        assert_eq!(told(&deployment.answers(&[body])[0]), expected, "{what}");
    }
    deployment.register.revoked.store(true, Ordering::SeqCst);
    assert_eq!(told(&deployment.answers(&[good])[0]), cause("dsk-cert-revoked"));
}

#[test]
fn a_message_is_taken_once() {
    let deployment = Deployment::new();
    let alice = deployment.certificate_of("alice", EPOCH);
    let good = message(&wish("alice"), &alice);
    let respelt = good.replace("<s:Body ", "<s:Body  ");
    let other = message(&TokenRequest { context: Some("2".to_owned()), ..wish("alice") }, &alice);
    let answers = deployment.answers(&[good.clone(), good.clone(), respelt, other]);
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 500, 500, 200]);
    assert!(TokenResponse::read(&answers[0].body).is_ok());
    assert_eq!(told(&answers[1]), (500, 28903, None));
    assert_eq!(told(&answers[2]), (500, 28903, None));
}

#[test]
fn a_certificate_renews_itself_and_finds_its_server_without_a_password() {
    let deployment = Deployment::new().open();
    let kept = deployment.certificate_of("alice", EPOCH);
    let web = Web::new(Limits::default(), Duration::from_secs(60), None);
    let sts = Url::parse(&format!("https://{WEB}/CertProv/CertProvisioningService.svc")).expect("a URL");
    let key = new_key(2048).expect("a key");
    let means = TicketMeans { certificate: Some(&kept), log_on: None };
    let address = aor("alice");
    let applicant = Applicant { aor: &address, means, device: Uuid::from_u128(7), private_key: &key };
    let renewed = deployment.world.run(obtain_certificate(&deployment.world, &web, &sts, &applicant));
    assert_eq!(renewed.expect("a certificate").facts.common_name(), Some("alice@contoso.test"));

    deployment.world.host("lyncdiscoverinternal.contoso.test", &["10.0.0.1"]);
    deployment.world.host("pool1.contoso.test", &["10.0.0.1"]);
    deployment.world.listen_tls("10.0.0.1:443", &[WEB, "lyncdiscoverinternal.contoso.test"], deployment.services(true));
    let mut discovery = Discovery::new(aor("alice"), Ask::default(), None).with_certificate(Some(kept));
    let candidate = deployment.world.run(discovery.next(&deployment.world)).expect("a server");
    assert_eq!((candidate.host.as_str(), candidate.port), ("pool1.contoso.test", 5061));
    assert!(deployment.requests().iter().any(|(path, _)| path == PORT), "found by the user's own document");
    assert!(deployment.requests().iter().all(|(_, shown)| !shown));
    deployment.world.run(discovery.close(&deployment.world));
    assert_eq!(Io::now(&deployment.world).unix_seconds, EPOCH, "all of it in a moment");
}
