//! Both halves, and the client against services that are not what they should be.

use super::{Deployment, KEY, WEB, authority};
use crate::authenticate::certificate::client::{Applicant, CertificateError, MARGIN_SECONDS, Obtained, obtain};
use crate::authenticate::certificate::message::{PublishResponse, ServiceMetadata};
use crate::authenticate::certificate::published::PublishedCertificates;
use crate::discover::tests::deployment::{PASSWORD, aor, log_on};
use crate::http::{Limits, Web};
use crate::io::{HttpRequest, HttpResponse, Pending};
use crate::name::Aor;
use crate::service::{HttpConversation, HttpService};
use crate::testing::{EPOCH, NO_ANSWER, Scripted, World, says};
use crate::web_ticket::client::TicketMeans;
use crate::web_ticket::diagnostics::Diagnostics;
use crate::web_ticket::security::ProofHash;
use mechanism::user_certificate::{CertificateRequest, Fingerprint, Order, RequestLimits, new_key, request};
use std::sync::Arc;
use std::time::Duration;
use url::Url;
use uuid::Uuid;

const DEVICE: Uuid = Uuid::from_u128(7);

impl Deployment {
    /// The deployment listens.
    pub(super) fn open(self) -> Deployment {
        self.world.host(WEB, &["10.0.0.1"]);
        self.world.listen_tls("10.0.0.1:443", &[WEB], self.services(true));
        self
    }

    /// The same, and what it answers is altered on its way: the path asked for, and the answer.
    pub(super) fn altered(
        self,
        alter: impl Fn(&str, HttpResponse) -> HttpResponse + Send + Sync + 'static,
    ) -> Deployment {
        let between = Arc::new(Between { services: self.services(true), alter: Box::new(alter) });
        self.world.host(WEB, &["10.0.0.1"]);
        self.world.listen_tls("10.0.0.1:443", &[WEB], between);
        self
    }

    fn obtain_as(&self, user: &str, address: &Aor, password: &str) -> Result<Obtained, CertificateError> {
        let log_on = log_on(user, password);
        let applicant = Applicant {
            aor: address,
            means: TicketMeans { log_on: Some(&log_on), certificate: None },
            device: DEVICE,
            private_key: &KEY,
        };
        obtain_at(&self.world, &format!("https://{WEB}:443/CertProv/CertProvisioningService.svc"), &applicant)
    }

    fn obtain(&self) -> Result<Obtained, CertificateError> {
        self.obtain_as("alice", &aor("alice"), PASSWORD)
    }
}

fn obtain_at(world: &World, sts: &str, applicant: &Applicant<'_>) -> Result<Obtained, CertificateError> {
    let web = Web::new(Limits::default(), Duration::from_secs(60), None);
    let sts = Url::parse(sts).expect("a URL");
    let outcome = world.run(async {
        let outcome = obtain(world, &web, &sts, applicant).await;
        web.close(world).await;
        outcome
    });
    assert_eq!(world.open_connections(), 0, "every connection is closed in the end");
    outcome
}

/// From the path asked for and the answer to another answer.
type Alter = Box<dyn Fn(&str, HttpResponse) -> HttpResponse + Send + Sync>;

/// Somebody between client and services.
struct Between {
    services: Arc<dyn HttpService>,
    alter: Alter,
}

impl HttpService for Between {
    fn conversation(self: Arc<Self>, remote: std::net::SocketAddr) -> Box<dyn HttpConversation> {
        let inner = self.services.clone().conversation(remote);
        Box::new(Altering { between: self, inner })
    }
}

struct Altering {
    between: Arc<Between>,
    inner: Box<dyn HttpConversation>,
}

impl HttpConversation for Altering {
    fn answer(&mut self, request: HttpRequest) -> Pending<'_, HttpResponse> {
        let path = request.path.clone();
        let Altering { between, inner } = self;
        Box::pin(async move { (between.alter)(&path, inner.answer(request).await) })
    }
}

fn is_metadata(path: &str) -> bool {
    path.starts_with("/CertProv/") && path.ends_with("/mex")
}

fn is_port(path: &str) -> bool {
    path.ends_with("/WebTicket_Proof_SHA1")
}

fn replaced(mut response: HttpResponse, from: &str, to: &str) -> HttpResponse {
    response.body = String::from_utf8(response.body).expect("text").replace(from, to).into_bytes();
    response
}

fn verdict(outcome: Result<Obtained, CertificateError>) -> (String, String) {
    let verdict = outcome.expect_err("it fails").verdict();
    assert!(!verdict.fix.is_empty() && !verdict.sentence.is_empty());
    assert!(!format!("{verdict:?}").contains(PASSWORD));
    (verdict.id, verdict.sentence)
}

#[test]
fn a_certificate_is_obtained_and_published() {
    let deployment = Deployment::new().open();
    let obtained = deployment.obtain().expect("a certificate");
    assert!(authority().recognises(&obtained.facts));
    assert_eq!(obtained.facts.fingerprint(), Fingerprint::of(&obtained.certificate));
    assert_eq!(deployment.register.devices(), [(aor("alice"), DEVICE)]);
    let found = deployment.register.find(&obtained.facts.fingerprint());
    assert!(deployment.world.run(found).expect("an answer").is_some());
    assert_eq!(deployment.world.connections_opened(), 1, "all of it on one connection");
    assert!(!format!("{:?}", deployment.world.events()).contains(PASSWORD));
    deployment.obtain().expect("another one, with another ticket");
}

#[test]
fn refusals_of_the_real_services() {
    let deployment = Deployment::new().open();
    let alice = aor("alice");
    assert_eq!(verdict(deployment.obtain_as("alice", &alice, "wrong")).0, "wt-401-loop");
    assert_eq!(verdict(deployment.obtain_as("bob", &alice, PASSWORD)).0, "wt-claim-mismatch");
    assert_eq!(verdict(deployment.obtain_as("erin", &aor("erin"), PASSWORD)).0, "user-not-sip-enabled");

    let weak = new_key(768).expect("a key");
    let log_on = log_on("alice", PASSWORD);
    let applicant = Applicant {
        aor: &alice,
        means: TicketMeans { log_on: Some(&log_on), certificate: None },
        device: DEVICE,
        private_key: &weak,
    };
    let sts = format!("https://{WEB}/CertProv/CertProvisioningService.svc/");
    let (id, sentence) = verdict(obtain_at(&deployment.world, &sts, &applicant));
    assert_eq!(id, "cp-csr-rejected");
    assert!(sentence.contains("768 bits"), "{sentence}");
    let no_key = Applicant { private_key: b"no key", ..applicant };
    assert_eq!(verdict(obtain_at(&deployment.world, &sts, &no_key)).0, "dsk-private-key-lost");
    let plain = format!("http://{WEB}/CertProv/CertProvisioningService.svc");
    let before = deployment.world.operations().len();
    assert_eq!(verdict(obtain_at(&deployment.world, &plain, &applicant)).0, "wt-mex-bad");
    assert_eq!(deployment.world.operations().len(), before, "nobody was asked");
}

#[test]
fn services_that_cannot_be_reached() {
    let unknown = Deployment::new();
    assert_eq!(verdict(unknown.obtain()).0, "wt-sts-internal-name");
    let refusing = Deployment::new();
    refusing.world.host(WEB, &["10.0.0.1"]);
    assert_eq!(verdict(refusing.obtain()).0, "wt-unreachable");
    refusing.world.silent("10.0.0.1:443");
    assert_eq!(verdict(refusing.obtain()).0, "wt-unreachable");
    assert!(refusing.world.elapsed() < Duration::from_secs(60));
    let renamed = Deployment::new();
    renamed.world.host(WEB, &["10.0.0.1"]);
    renamed.world.listen_tls("10.0.0.1:443", &["other.contoso.test"], renamed.services(true));
    assert_eq!(verdict(renamed.obtain()).0, "tls-name-mismatch");
    let silent =
        Deployment::new().altered(|path, response| if is_port(path) { says(NO_ANSWER, &[], "") } else { response });
    assert_eq!(verdict(silent.obtain()).0, "cp-unreachable");
    let without = Deployment::new();
    let without = Deployment { backing: crate::web::Backing { certification: None, ..without.backing }, ..without };
    assert_eq!(verdict(without.open().obtain()).0, "cp-unreachable");
}

#[test]
fn metadata_that_cannot_be_used() {
    let table: [(&str, &str, &str); 7] = [
        ("<wsdl:port name=\"CertProvisioningServiceWebTicketProof_SHA1\"", "<wsdl:port name=\"Other\"", "cp-disabled"),
        ("sp:Issuer", "sp:Nobody", "wt-mex-bad"),
        ("https://pool1.contoso.test/WebTicket", "https://evil.example/WebTicket", "wt-mex-bad"),
        ("https://pool1.contoso.test/CertProv", "https://evil.example/CertProv", "wt-mex-bad"),
        ("https://pool1.contoso.test/WebTicket", "http://pool1.contoso.test/WebTicket", "wt-mex-bad"),
        ("https://pool1.contoso.test/CertProv", "no URL", "wt-mex-bad"),
        ("</wsdl:definitions>", "", "wt-mex-bad"),
    ];
    for (from, to, id) in table {
        let deployment = Deployment::new()
            .altered(move |path, response| if is_metadata(path) { replaced(response, from, to) } else { response });
        assert_eq!(verdict(deployment.obtain()).0, id, "{from} -> {to}");
        let told = format!("{:?}", deployment.world.operations());
        assert!(!told.contains("Authorization") && !told.contains("evil.example\", kind"), "nothing was given away");
    }
}

#[test]
fn services_that_are_down_slow_or_wrong_at_each_stage() {
    const STAGES: [&str; 4] = [
        "/CertProv/CertProvisioningService.svc/mex",
        "/WebTicket/WebTicketService.svc/mex",
        "/WebTicket/WebTicketService.svc",
        "/CertProv/CertProvisioningService.svc/WebTicket_Proof_SHA1",
    ];
    let page = "<html><body>Please log on</body></html>";
    let table = [
        (NO_ANSWER, "", ["cp-unreachable", "wt-unreachable", "wt-unreachable", "cp-unreachable"]),
        (500, "", ["wt-5xx"; 4]),
        (503, page, ["wt-5xx"; 4]),
        (404, "", ["cp-unreachable", "wt-mex-bad", "wt-5xx", "cp-unreachable"]),
        (200, page, ["wt-mex-bad", "wt-mex-bad", "wt-5xx", "wt-5xx"]),
        (200, "\u{0}\u{1} no XML", ["wt-mex-bad", "wt-mex-bad", "wt-5xx", "wt-5xx"]),
    ];
    for (status, body, ids) in table {
        for (stage, id) in STAGES.into_iter().zip(ids) {
            let deployment = Deployment::new()
                .altered(move |path, response| if path == stage { says(status, &[], body) } else { response });
            let (found, sentence) = verdict(deployment.obtain());
            assert_eq!(found, id, "{stage} {status}: {sentence}");
            assert!(sentence.contains(WEB), "names nobody: {sentence}");
            let limit = Limits::default().http + Duration::from_secs(1);
            assert!(deployment.world.elapsed() < limit, "{stage} {status} took {:?}", deployment.world.elapsed());
        }
    }
}

#[test]
fn answers_that_refuse() {
    let fault = |id: u32, code: &str| {
        let diagnostics = Diagnostics {
            id: Some(id),
            reason: "Because.".to_owned(),
            source: None,
            fault: Some(code.to_owned()),
            cause: None,
        };
        (500, diagnostics.fault())
    };
    let rejected = PublishResponse::Rejected("key size".to_owned()).write();
    let table = [
        (fault(28020, "wsse:InvalidSecurityToken"), "wt-invalid-token"),
        (fault(28032, "wsse:InvalidSecurityToken"), "wt-invalid-token"),
        (fault(28033, "wsse:MessageExpired"), "wt-expired"),
        (fault(0, "wsse:MessageExpired"), "wt-clock"),
        (fault(28904, "wsse:MessageExpired"), "wt-clock"),
        (fault(28000, "wsse:FailedAuthentication"), "user-not-sip-enabled"),
        (fault(28907, "wst:InvalidRequest"), "cp-csr-rejected"),
        (fault(0, "wst:BadRequest"), "cp-csr-rejected"),
        (fault(28903, "wsse:FailedCheck"), "wt-invalid-token"),
        ((500, "<html>Runtime error</html>".to_owned()), "wt-5xx"),
        ((503, String::new()), "wt-5xx"),
        ((403, String::new()), "wt-claim-mismatch"),
        ((401, String::new()), "wt-invalid-token"),
        ((404, String::new()), "cp-unreachable"),
        ((200, rejected), "cp-csr-rejected"),
        ((200, "<html>Please log on</html>".to_owned()), "wt-5xx"),
    ];
    for ((status, body), id) in table {
        let answer = body.clone();
        let deployment = Deployment::new().altered(
            move |path, response| {
                if is_port(path) { says(status, &[], &answer) } else { response }
            },
        );
        assert_eq!(verdict(deployment.obtain()).0, id, "{status} {body}");
    }
}

/// What a service certifies that is not what it was asked for.
#[test]
fn certificates_that_are_not_ours() {
    let publish = |key: &[u8], address: &str, now: i64, lifetime: i64| {
        let pkcs10 = request::write(address, key).expect("a request");
        let pkcs10 = CertificateRequest::read(&pkcs10, &RequestLimits::default()).expect("a request");
        let lifetime = Duration::from_secs(lifetime.unsigned_abs());
        let order = Order { address, request: &pkcs10, serial: [5; 16], now, lifetime };
        authority().issue(&order).expect("a certificate")
    };
    let strange = new_key(1024).expect("a key");
    let alice = "alice@contoso.test";
    let table = [
        (publish(&KEY, alice, EPOCH, MARGIN_SECONDS + 60), None),
        (publish(&strange, alice, EPOCH, 86_400), Some("dsk-wrong-user-cert")),
        (publish(&KEY, "bob@contoso.test", EPOCH, 86_400), Some("dsk-wrong-user-cert")),
        (authority().certificate().expect("DER"), Some("dsk-wrong-user-cert")),
        (b"no certificate".to_vec(), Some("dsk-wrong-user-cert")),
        (publish(&KEY, alice, EPOCH, MARGIN_SECONDS - 60), Some("wt-clock")),
        (publish(&KEY, alice, EPOCH + 86_400, 86_400), Some("wt-clock")),
    ];
    for (certificate, id) in table {
        let response =
            PublishResponse::Published { device: String::new(), entity: String::new(), certificate, request_id: None };
        let deployment = Deployment::new()
            .altered(move |path, answer| if is_port(path) { says(200, &[], &response.write()) } else { answer });
        let outcome = deployment.obtain().map_err(|error| error.verdict().id);
        assert_eq!(outcome.err().as_deref(), id);
    }
}

/// A ticket without a key proves nothing, so nothing is asked with it.
#[test]
fn a_ticket_without_a_key() {
    let deployment = Deployment::new().altered(|path, response| {
        let proof = "<RequestedProofToken>";
        let keyless = path.contains("/WebTicket/") && String::from_utf8_lossy(&response.body).contains(proof);
        if keyless {
            replaced(replaced(response, proof, "<Other>"), "</RequestedProofToken>", "</Other>")
        } else {
            response
        }
    });
    assert_eq!(verdict(deployment.obtain()).0, "wt-invalid-token");
    assert!(deployment.register.devices().is_empty());
}

#[test]
fn metadata_of_a_stranger_leads_nowhere_else() {
    let world = World::new();
    world.host(WEB, &["10.0.0.1"]);
    let metadata = ServiceMetadata {
        issuer: "https://pool2.contoso.test/".to_owned(),
        location: format!("https://{WEB}/"),
        hash: ProofHash::Sha1,
    };
    let written = metadata.write();
    world.listen_tls("10.0.0.1:443", &[WEB], Arc::new(Scripted(move |_: &HttpRequest| says(200, &[], &written))));
    let (alice, log_on) = (aor("alice"), log_on("alice", PASSWORD));
    let applicant = Applicant {
        aor: &alice,
        means: TicketMeans { log_on: Some(&log_on), certificate: None },
        device: DEVICE,
        private_key: &KEY,
    };
    let outcome = obtain_at(&world, &format!("https://{WEB}/x"), &applicant);
    assert!(matches!(outcome, Err(CertificateError::Foreign { .. })));
}
